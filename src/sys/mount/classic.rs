//! mount(2) with descriptors for source and target.
//!
//! Used where it is the better call (one system call for a file system with free-form data), and
//! as FALLBACK(<5.2) for the rest. mount(2) only takes paths, so objects are named by their
//! number in a /proc/self/fd that is verified to be procfs, which is the working directory at
//! that moment where both ends are descriptors. The caller's working directory is put back.

use super::super::error::{At, Result, SysError};
use super::super::{fd, path, process};
use super::{
    ATTR_ATIME, ATTR_NOATIME, ATTR_NODEV, ATTR_NODIRATIME, ATTR_NOEXEC, ATTR_NOSUID,
    ATTR_NOSYMFOLLOW, ATTR_RDONLY, ATTR_STRICTATIME,
};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// Read-only file system and mount (`MS_*` of mount(2)).
pub const MS_RDONLY: u64 = 0x1;
const MS_NOSUID: u64 = 0x2;
const MS_NODEV: u64 = 0x4;
const MS_NOEXEC: u64 = 0x8;
/// Synchronous writes.
pub const MS_SYNCHRONOUS: u64 = 0x10;
/// Change flags of what is mounted.
pub const MS_REMOUNT: u64 = 0x20;
/// Mandatory locks.
pub const MS_MANDLOCK: u64 = 0x40;
/// Synchronous directory changes.
pub const MS_DIRSYNC: u64 = 0x80;
const MS_NOSYMFOLLOW: u64 = 0x100;
const MS_NOATIME: u64 = 0x400;
const MS_NODIRATIME: u64 = 0x800;
/// Bind mount.
pub const MS_BIND: u64 = 0x1000;
/// Move a mount.
pub const MS_MOVE: u64 = 0x2000;
/// The whole tree.
pub const MS_REC: u64 = 0x4000;
/// Propagation type.
pub const MS_UNBINDABLE: u64 = 0x2_0000;
/// Propagation type.
pub const MS_PRIVATE: u64 = 0x4_0000;
/// Propagation type.
pub const MS_SLAVE: u64 = 0x8_0000;
/// Propagation type.
pub const MS_SHARED: u64 = 0x10_0000;
const MS_RELATIME: u64 = 0x20_0000;
const MS_STRICTATIME: u64 = 0x100_0000;
/// Lazy time stamps.
pub const MS_LAZYTIME: u64 = 0x200_0000;

/// Mount attributes and the flags of mount(2) that mean the same.
const PAIRS: [(u64, u64); 8] = [
    (ATTR_RDONLY, MS_RDONLY),
    (ATTR_NOSUID, MS_NOSUID),
    (ATTR_NODEV, MS_NODEV),
    (ATTR_NOEXEC, MS_NOEXEC),
    (ATTR_NOATIME, MS_NOATIME),
    (ATTR_STRICTATIME, MS_STRICTATIME),
    (ATTR_NODIRATIME, MS_NODIRATIME),
    (ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW),
];

/// `ATTR_*` as `MS_*`.
pub fn attrs_to_ms(attrs: u64) -> u64 {
    PAIRS.iter().filter(|(attr, _)| attrs & attr != 0).fold(0, |all, (_, ms)| all | ms)
}

/// `MS_*` as `ATTR_*`, flags without such a meaning left out.
pub fn ms_to_attrs(flags: u64) -> u64 {
    PAIRS.iter().filter(|(_, ms)| flags & ms != 0).fold(0, |all, (attr, _)| all | attr)
}

/// The attributes of the mount that `fd` is on, as `ATTR_*`.
pub fn source_attrs(fd: BorrowedFd<'_>) -> Result<u64> {
    let stat = rustix::fs::fstatvfs(fd).at("fstatvfs", || "")?;
    // The ST_* bits of statvfs(3) up to NODIRATIME have the values of MS_*, but RELATIME.
    #[allow(clippy::unnecessary_cast, reason = "the flags' width differs between targets")]
    let flags = stat.f_flag.bits() as u64;
    let mut attrs = ms_to_attrs(flags & !(MS_NOSYMFOLLOW | MS_STRICTATIME));
    let relatime = flags & 0x1000 != 0;
    if !relatime && attrs & ATTR_ATIME == 0 {
        attrs |= ATTR_STRICTATIME;
    }
    if flags & 0x2000 != 0 {
        attrs |= ATTR_NOSYMFOLLOW;
    }
    Ok(attrs)
}

/// What [`mount_on`] mounts.
pub enum Source<'a> {
    /// A device, a name, anything the file system understands.
    Text(&'a Path),
    /// An open object (bind and move).
    Fd(BorrowedFd<'a>),
}

/// mount(2) of `source` onto the object that `target` is. `data` holds the options of the file
/// system.
pub fn mount_on(
    source: &Source<'_>,
    target: BorrowedFd<'_>,
    fs_type: &str,
    flags: u64,
    data: &str,
) -> Result<()> {
    let links = path::self_fd_dir()?;
    let to = number(target);
    match source {
        // The working directory stays: file systems look up relative names in it.
        Source::Text(text) => {
            let from = super::c_path("mount", text)?;
            let to = super::c_path("mount", &Path::new("/proc/self/fd").join(to_path(&to)))?;
            raw_mount(&from, &to, fs_type, flags, data).map_err(|e| {
                SysError::new("mount", format!("\"{}\", {fs_type}", text.display()), e.errno)
            })
        }
        Source::Fd(from) => {
            let from = number(*from);
            in_dir(links.as_fd(), || raw_mount(&from, &to, fs_type, flags, data))
                .map_err(|e| SysError::new("mount", format!("{flags:#x}"), e.errno))
        }
    }
}

/// Changes the attributes of the mount whose root `mount` is, to exactly `attrs`.
pub fn remount_bind(mount: BorrowedFd<'_>, attrs: u64) -> Result<()> {
    let relatime = if attrs & ATTR_ATIME == 0 { MS_RELATIME } else { 0 };
    let flags = MS_REMOUNT | MS_BIND | attrs_to_ms(attrs) | relatime;
    change(mount, flags).map_err(|e| SysError::new("mount", "MS_REMOUNT | MS_BIND", e.errno))
}

/// Gives the mount whose root `mount` is a propagation (`MS_SHARED` and so on). For a directory
/// this works without /proc: after pivot_root there is none to trust.
pub(super) fn change(mount: BorrowedFd<'_>, flags: u64) -> Result<()> {
    if path::facts(mount)?.is_dir() {
        return in_dir(mount, || raw_mount(c"", c".", "", flags, ""));
    }
    let links = path::self_fd_dir()?;
    let at = number(mount);
    in_dir(links.as_fd(), || raw_mount(c"", &at, "", flags, ""))
}

/// mount(2) with trusted paths.
pub(super) fn mount_path(
    source: &str,
    target: &str,
    fs_type: &str,
    flags: u64,
    data: &str,
) -> Result<()> {
    let source = super::c_path("mount", Path::new(source))?;
    let c_target = super::c_path("mount", Path::new(target))?;
    raw_mount(&source, &c_target, fs_type, flags, data)
        .map_err(|e| SysError::new("mount", format!("\"{target}\", {flags:#x}"), e.errno))
}

/// Runs `body` with `dir` as working directory, and goes back.
pub(super) fn in_dir<T>(dir: BorrowedFd<'_>, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = fd::open(".", fd::OpenFlags::PATH | fd::OpenFlags::DIRECTORY, 0)?;
    process::fchdir(dir)?;
    let result = body();
    process::fchdir(before.as_fd())?;
    result
}

/// A descriptor's name in /proc/self/fd.
fn number(fd: BorrowedFd<'_>) -> CString {
    CString::new(fd.as_raw_fd().to_string()).unwrap_or_default()
}

fn to_path(number: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(number.to_bytes()))
}

fn raw_mount(source: &CStr, target: &CStr, fs_type: &str, flags: u64, data: &str) -> Result<()> {
    let fs_type = super::c_path("mount", Path::new(fs_type))?;
    let data = super::c_path("mount", Path::new(data))?;
    #[allow(clippy::cast_possible_truncation, reason = "MS_* flags are 32 bits wide")]
    let flags = rustix::mount::MountFlags::from_bits_retain(flags as u32);
    rustix::mount::mount(source, target, fs_type.as_c_str(), flags, data.as_c_str())
        .at("mount", || "")
}
