//! Joining and leaving namespaces.
#![allow(unsafe_code, reason = "unshare and setns change what the whole process sees")]

use super::error::{Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd};

/// setns(2): joins the namespace (or, with several flags and a pidfd, the namespaces) of `fd`.
pub fn setns(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: a borrowed descriptor and plain flags; memory is not touched.
    if unsafe { libc::setns(fd.as_raw_fd(), flags) } == 0 {
        Ok(())
    } else {
        Err(SysError::last("setns", format!("{flags:#x}")))
    }
}

/// unshare(2).
pub fn unshare(flags: i32) -> Result<()> {
    // SAFETY: plain flags; CLONE_FILES and CLONE_VM are no part of what callers pass, so Rust's
    // view of descriptors and memory stays true.
    if unsafe { libc::unshare(flags) } == 0 {
        Ok(())
    } else {
        Err(SysError::last("unshare", format!("{flags:#x}")))
    }
}
