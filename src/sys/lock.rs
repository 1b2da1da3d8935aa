//! Advisory locks that belong to an open file (OFD locks, fcntl_locking(2)): they are not lost
//! when some other descriptor of the same file is closed, and end with the process.
#![allow(unsafe_code, reason = "neither rustix nor std has OFD locks")]

use super::{At, Result, SysError};
use crate::util::quote::quoted;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What to do when somebody else has the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// EAGAIN.
    No,
    /// Sleep until it is free.
    Yes,
}

/// Takes a write lock on the whole of an open file.
pub fn lock(fd: BorrowedFd<'_>, wait: Wait) -> Result<()> {
    let command = if wait == Wait::Yes { libc::F_OFD_SETLKW } else { libc::F_OFD_SETLK };
    loop {
        match fcntl(fd, command, libc::F_WRLCK) {
            Err(e) if e.errno == libc::EINTR => {}
            Err(e) if e.errno == libc::EACCES => {
                return Err(e.with_errno(libc::EAGAIN));
            }
            other => return other.map(drop),
        }
    }
}

/// True if somebody else holds a lock on the file (the type that the kernel reports back).
pub fn is_locked(fd: BorrowedFd<'_>) -> Result<bool> {
    let kind = fcntl(fd, libc::F_OFD_GETLK, libc::F_WRLCK)?;
    Ok(i32::from(kind) != libc::F_UNLCK)
}

fn fcntl(fd: BorrowedFd<'_>, command: i32, kind: i32) -> Result<libc::c_short> {
    // SAFETY: flock is plain old data, for which all zeros are a valid value; l_pid must be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the three commands take a pointer to a flock, which outlives the call; `fd` is open.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
    if result < 0 {
        return Err(SysError::last("fcntl", "a record lock"));
    }
    Ok(lock.l_type)
}

/// Opens the directory `name` below `dir` with the lock of flock(2), which does not need to write to
/// it. It is shared by all forks and free when the last of them has closed it. `None` if somebody
/// else has it.
///
/// # Errors
/// ENOENT also when the directory was replaced meanwhile; those of flock(2) where directories cannot
/// be locked.
pub fn lock_dir_at(dir: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, name, flags, Mode::empty()).at("openat", || name)?;
    match rustix::fs::flock(&opened, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        done => done.at("flock", || name)?,
    }
    // Whoever had the lock before may have removed it.
    let now = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).at("stat", || name)?;
    let own = rustix::fs::fstat(&opened).at("fstat", || name)?;
    if (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino) {
        return Err(SysError::new("openat", name, libc::ENOENT));
    }
    Ok(Some(opened))
}

/// Opens the lock file `name` below `dir`, making the directories (0755) and the file (0600). No
/// component below `top` may be a symbolic link: `top` is where the administrator trusts, what
/// is below may have been prepared by somebody.
pub fn open_lock_file(top: &Path, dirs: &Path, name: &std::ffi::OsStr) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(top, flags, Mode::empty()).at("open", || quoted(top))?;
    for part in dirs.components() {
        let std::path::Component::Normal(part) = part else { continue };
        match rustix::fs::mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => return Err(SysError::rustix("mkdirat", quoted(part), e)),
        }
        at = rustix::fs::openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty())
            .at("openat", || quoted(part))?;
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(&at, name, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o600))
        .at("openat", || quoted(name))
}

/// True if `path` still names the open file: a lock on a file that was unlinked protects nothing.
pub fn is_same_file(fd: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    let open = rustix::fs::fstat(fd).at("fstat", || quoted(path))?;
    match rustix::fs::statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(SysError::rustix("stat", quoted(path), e)),
    }
}

/// Makes `path` (O_EXCL) with no permissions at all and locks it.
pub fn create_marker(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags | OFlags::NOFOLLOW, Mode::empty())
        .at("open", || quoted(path))?;
    lock(fd.as_fd(), Wait::No)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_seen_by_others_and_ends_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let open = || open_lock_file(dir.path(), Path::new("/a/b"), ".c1".as_ref()).unwrap();
        let (one, two) = (open(), open());
        lock(one.as_fd(), Wait::No).unwrap();
        assert!(is_locked(two.as_fd()).unwrap());
        assert!(!is_locked(one.as_fd()).unwrap());
        assert_eq!(lock(two.as_fd(), Wait::No).unwrap_err().errno, libc::EAGAIN);
        drop(one);
        assert!(!is_locked(two.as_fd()).unwrap());
        lock(two.as_fd(), Wait::Yes).unwrap();
        let path = dir.path().join("a/b/.c1");
        assert!(is_same_file(two.as_fd(), &path).unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!is_same_file(two.as_fd(), &path).unwrap());
    }

    #[test]
    fn links_on_the_way_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("a")).unwrap();
        assert!(open_lock_file(dir.path(), Path::new("a"), "x".as_ref()).is_err());
        std::os::unix::fs::symlink("/tmp/y", dir.path().join("l")).unwrap();
        assert!(open_lock_file(dir.path(), Path::new(""), "l".as_ref()).is_err());
    }
}
