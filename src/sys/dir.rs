//! Directories of the host's kernel file systems, relative to an open one: make, remove, list,
//! own, and wait for a file of theirs to change.
//!
//! For anything below a rootfs use [`super::path`], never this module.

use super::error::{At, Result, SysError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Magic number of a cgroup v2 file system (statfs(2)).
pub const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Opens a directory as `O_PATH`.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    super::fd::open(path, OFlags::PATH | OFlags::DIRECTORY, 0)
}

/// Opens the directory `name` below `dir` as `O_PATH`, not through a symbolic link.
pub fn open_path_at(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    super::fd::open_at(dir, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, 0)
}

/// mkdirat(2).
pub fn mkdir_at(dir: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode))
        .at("mkdirat", || format!("\"{name}\""))
}

/// unlinkat(2) with AT_REMOVEDIR.
pub fn rmdir_at(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).at("rmdir", || format!("\"{name}\""))
}

/// Owner and mode of `name` below `dir`; symbolic links are not followed by the first.
pub fn own_at(dir: BorrowedFd<'_>, name: &str, uid: u32, gid: u32, mode: u32) -> Result<()> {
    let ids = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(dir, name, Some(ids.0), Some(ids.1), AtFlags::SYMLINK_NOFOLLOW)
        .at("fchownat", || format!("\"{name}\", {uid}, {gid}"))?;
    rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())
        .at("fchmodat", || format!("\"{name}\", {mode:04o}"))
}

/// True if the calling user may write to `path` (access(2) with the effective ids).
pub fn writable(path: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS)
        .is_ok()
}

/// True if `name` exists below `dir`.
pub fn exists_at(dir: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::accessat(dir, name, rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

/// How long ago the directory was made, or last got another owner or mode; `None` if it is not
/// there. The kernel makes a cgroup younger when it has forgotten the directory meanwhile.
pub fn age_at(dir: BorrowedFd<'_>, name: &str) -> Option<Duration> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let changed = UNIX_EPOCH.checked_add(Duration::from_secs(stat.st_ctime.try_into().ok()?))?;
    Some(SystemTime::now().duration_since(changed).unwrap_or_default())
}

/// The magic number of the file system that `path` is on.
pub fn magic_of(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statfs(path).at("statfs", || format!("\"{}\"", path.display()))?;
    #[allow(clippy::cast_sign_loss, reason = "magic numbers are 32 bits wide, here sign-extended")]
    Ok(stat.f_type as u64 & 0xffff_ffff)
}

/// True if the directory is one of a cgroup v2 file system.
pub fn is_cgroup2(fd: BorrowedFd<'_>) -> bool {
    #[allow(clippy::cast_sign_loss, reason = "magic numbers are 32 bits wide, here sign-extended")]
    rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type as u64 & 0xffff_ffff == CGROUP2_MAGIC)
}

/// The names of the directories within `dir` (an `O_PATH` descriptor will do), or of everything.
pub fn list_at(dir: BorrowedFd<'_>, only_dirs: bool) -> Result<Vec<String>> {
    let fd = super::fd::open_at(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let mut out = Vec::new();
    for entry in rustix::fs::Dir::new(fd).at("getdents", || "")? {
        let entry = entry.at("getdents", || "")?;
        if only_dirs && entry.file_type() != FileType::Directory {
            continue;
        }
        let name = entry.file_name().to_str().ok().filter(|name| !matches!(*name, "." | ".."));
        out.extend(name.map(str::to_owned));
    }
    Ok(out)
}

/// Opens `name` below `dir` for [`wait_change`].
pub fn open_watch(dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    super::fd::open_at(dir, name, OFlags::RDONLY, 0)
}

/// The content of a kernfs file from its start, with one read.
pub fn reread(fd: BorrowedFd<'_>) -> Result<String> {
    let mut buf = [0u8; 512];
    let n = rustix::io::pread(fd, &mut buf, 0).at("pread", || "")?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}

/// Waits until the kernel notifies a change of the file since it was last read, or `deadline`.
/// `false` is the timeout.
pub fn wait_change(fd: BorrowedFd<'_>, deadline: Option<Instant>) -> Result<bool> {
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(fd, rustix::event::PollFlags::PRI)];
    loop {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(|d| rustix::fs::Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: d.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(n) => return Ok(n > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("poll", "", e)),
        }
    }
}

/// Sleeps; signals do not shorten it.
pub fn pause(time: Duration) {
    if super::meanwhile::wait(&[], Some(time)).is_err() {
        std::thread::sleep(time);
    }
}

/// A second descriptor for the same open file.
pub fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    super::fd::dup_above(fd.as_fd(), 3)
}

/// Major and minor number of a device number.
pub fn split_device(dev: u64) -> (u32, u32) {
    (rustix::fs::major(dev), rustix::fs::minor(dev))
}
