//! Namespace files: the links of /proc/PID/ns and what the kernel tells about an open one.
#![allow(unsafe_code, reason = "the namespace ioctls have no wrapper")]

use super::error::{At, Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `NS_GET_USERNS` of ioctl_ns(2), 4.9.
const NS_GET_USERNS: libc::c_ulong = 0xb701;
/// `NS_GET_NSTYPE` of ioctl_ns(2), 4.11.
const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// Device and inode of what the link `path` below `dir` leads to.
pub fn identity_at(dir: BorrowedFd<'_>, path: &str) -> Result<(u64, u64)> {
    let stat = rustix::fs::statat(dir, path, rustix::fs::AtFlags::empty())
        .at("stat", || format!("\"{path}\""))?;
    #[allow(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
    Ok((u64::from(stat.st_dev), u64::from(stat.st_ino)))
}

/// The number of the namespace that the link `path` below `dir` leads to: equal for two processes
/// that share the namespace. Taken from the link's text (`net:[4026531840]`): to follow it, as a
/// stat does, makes the kernel build an inode.
pub fn number_at(dir: BorrowedFd<'_>, path: &str) -> Result<u64> {
    let mut text = [0u8; 64];
    let len = rustix::fs::readlinkat_raw(dir, path, &mut text)
        .at("readlink", || format!("\"{path}\""))?;
    parse_link(text.get(..len).unwrap_or_default())
        .ok_or_else(|| SysError::new("readlink", format!("\"{path}\""), libc::EBADMSG))
}

fn parse_link(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
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
    let mut info = PidfdInfo { mask: PIDFD_INFO_PID, ..PidfdInfo::default() };
    // SAFETY: the structure has the size that the request names and outlives the call.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    if done == 0 && info.mask & PIDFD_INFO_PID != 0 && info.pid > 0 {
        return Some(info.pid);
    }
    // FALLBACK(<6.13): pidfds know no such request; and one that it refuses may be told here.
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = super::fd::read_to_string(path).ok()?;
    parse_fdinfo(&text)
}

/// `PIDFD_GET_INFO`: 0xff, 11, of the 64 bytes that the structure had at first.
const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
/// Asks for the numbers of the process.
const PIDFD_INFO_PID: u64 = 1;

/// The kernel's `struct pidfd_info` as of 6.13.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: i32,
    tgid: i32,
    ppid: i32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `Pid:` is -1 for an ended process and 0 for an invisible one.
fn parse_fdinfo(text: &str) -> Option<super::process::Pid> {
    let number = super::procfs::status_field(text, "Pid")?;
    number.parse().ok().filter(|&pid| pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn links_of_namespaces() {
        assert_eq!(parse_link(b"net:[4026531840]"), Some(4_026_531_840));
        for other in [&b"net:[]"[..], b"net:[1", b"/proc", b"net:[\xff]", b""] {
            assert_eq!(parse_link(other), None);
        }
        let own = super::super::fd::open("/proc/self", rustix::fs::OFlags::PATH, 0).unwrap();
        let inode = identity_at(own.as_fd(), "ns/net").unwrap().1;
        assert_eq!(number_at(own.as_fd(), "ns/net").unwrap(), inode);
    }

    #[test]
    fn the_process_of_a_pidfd() {
        let own = super::super::process::own_pid();
        // FALLBACK(<5.3): no pidfd_open.
        if let Ok(pidfd) = super::super::process::pidfd_open(own) {
            assert_eq!(pid_of_pidfd(pidfd.as_fd()), Some(own));
        }
        let file = super::super::fd::open("/proc/self/exe", rustix::fs::OFlags::RDONLY, 0).unwrap();
        assert_eq!(pid_of_pidfd(file.as_fd()), None);
    }

    #[test]
    fn fdinfo_of_pidfds() {
        assert_eq!(parse_fdinfo("pos:\t0\nflags:\t02000002\nPid:\t77\nNSpid:\t77\n"), Some(77));
        for gone in ["Pid:\t-1\n", "Pid:\t0\n", "pos:\t0\n", "Pid:\tx\n"] {
            assert_eq!(parse_fdinfo(gone), None);
        }
    }
}
