//! Namespace files: the links of /proc/PID/ns and what the kernel tells about an open one.
#![allow(unsafe_code, reason = "the namespace ioctls have no wrapper")]

use super::error::{At, Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `NS_GET_NSTYPE` of ioctl_ns(2), 4.11.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// Device and inode of what the link `path` below `dir` leads to: equal for two processes that
/// share the namespace.
pub fn identity_at(dir: BorrowedFd<'_>, path: &str) -> Result<(u64, u64)> {
    let stat = rustix::fs::statat(dir, path, rustix::fs::AtFlags::empty())
        .at("stat", || format!("\"{path}\""))?;
    #[allow(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
    Ok((u64::from(stat.st_dev), u64::from(stat.st_ino)))
}

/// statfs(2) magic of the file system of namespaces.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// True if the open file is a namespace of the kind whose `CLONE_NEW*` flag is `flag`.
pub fn is_namespace(file: BorrowedFd<'_>, flag: u64) -> Result<bool> {
    let stat = rustix::fs::fstatfs(file).at("fstatfs", || "a namespace file")?;
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between targets")]
    if stat.f_type as i64 != NSFS_MAGIC {
        return Ok(false);
    }
    // SAFETY: the request takes no argument and answers in the return value.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    if kind >= 0 {
        return Ok(u64::from(kind.unsigned_abs()) == flag);
    }
    let error = SysError::last("ioctl", "NS_GET_NSTYPE");
    // FALLBACK(<4.11): the kernel cannot tell; setns with the flag will.
    if error.is(libc::ENOTTY) { Ok(true) } else { Err(error) }
}
