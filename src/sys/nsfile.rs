//! Namespace files: the links of /proc/PID/ns and what the kernel tells about an open one.
#![allow(unsafe_code, reason = "the namespace ioctls have no wrapper")]

use super::error::{At, Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_USERNS` of ioctl_ns(2), 4.9.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
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

/// The user namespace that the namespace `file` belongs to (4.9).
///
/// # Errors
/// EPERM if that is outside of the caller's.
pub fn owner(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument and answers with a new descriptor.
    let fd = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_USERNS as _) };
    if fd < 0 {
        return Err(SysError::last("ioctl", "NS_GET_USERNS"));
    }
    // SAFETY: the kernel has just opened it for us and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The process of a pidfd as this pid namespace numbers it; `None` when it has ended or is not
/// visible here.
pub fn pid_of_pidfd(pidfd: BorrowedFd<'_>) -> Option<super::process::Pid> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = super::fd::read_to_string(path).ok()?;
    parse_fdinfo(&text)
}

/// `Pid:` is -1 for an ended process and 0 for an invisible one.
fn parse_fdinfo(text: &str) -> Option<super::process::Pid> {
    let number = super::procfs::status_field(text, "Pid")?;
    number.parse().ok().filter(|&pid| pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_of_pidfds() {
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t02000002\nPid:\t77\nNSpid:\t77\n"), Some(77));
        for gone in ["Pid:\t-1\n", "Pid:\t0\n", "pos:\t0\n", "Pid:\tx\n"] {
            assert_eq!(parse_fdinfo(gone), None);
        }
    }
}
