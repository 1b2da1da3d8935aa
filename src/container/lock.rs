//! The lock of one container and the marker of an unfinished creation. There is no lock that two
//! containers share.

use super::Container;
use crate::sys::lock::{self as file_lock, Wait};
use crate::sys::{SysError, errno};
use crate::util::blame::Explain;
use crate::util::quote::quoted;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another tool works on the container.
    #[error("another tool is changing container {}", quoted(.0))]
    Busy(String),
    /// The lock file cannot be opened or locked.
    #[error("locking container {} by {}", quoted(.0), quoted(.1))]
    File(String, PathBuf, #[source] SysError),
}

impl Explain for LockError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::File(_, _, e) => Some(e.errno),
            _ => None,
        }
    }
}

/// Held while a container is created, destroyed or its config rewritten. LXC's tools respect it:
/// same file (`RUNDIR/lxc/lock/LXCPATH/.NAME`), same kind of lock.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
    path: PathBuf,
}

impl Lock {
    /// Takes the container's lock.
    pub fn acquire(container: &Container, wait: Wait) -> Result<Self, LockError> {
        let run_dir = super::run_dir();
        let failed = |e| LockError::File(container.name().to_owned(), run_dir.clone(), e);
        crate::sys::dirs::make_all(&run_dir, 0o700).map_err(failed)?;
        Self::acquire_in(&run_dir, container, wait)
    }

    /// The same below another run directory.
    pub fn acquire_in(
        run_dir: &Path,
        container: &Container,
        wait: Wait,
    ) -> Result<Self, LockError> {
        let (dirs, file_name) = (directories(container), format!(".{}", container.name()));
        let path = run_dir.join(&dirs).join(&file_name);
        let failed = |e: SysError| LockError::File(container.name().to_owned(), path.clone(), e);
        loop {
            let file =
                file_lock::open_lock_file(run_dir, &dirs, file_name.as_ref()).map_err(&failed)?;
            match file_lock::lock(file.as_fd(), wait) {
                Ok(()) => {}
                Err(e) if e.is(errno::EAGAIN) => {
                    return Err(LockError::Busy(container.name().to_owned()));
                }
                Err(e) => return Err(failed(e)),
            }
            // A destroyer removes the file: whoever waited for it then holds a lock on nothing.
            if file_lock::is_same_file(file.as_fd(), &path).map_err(&failed)? {
                return Ok(Self { _file: file, path });
            }
        }
    }

    /// Lets go and removes the lock file: the container is gone.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the lock file is below the run directory.
fn directories(container: &Container) -> PathBuf {
    let mut dirs = PathBuf::from("lxc/lock");
    for part in container.lxcpath().components() {
        match part {
            Component::Normal(name) => dirs.push(name),
            // Below our own directory there are no links: what the path says is what it is.
            Component::ParentDir => drop(dirs.pop()),
            _ => {}
        }
    }
    dirs
}

/// A lock that another process has.
pub struct Held(OwnedFd);

impl Held {
    /// Waits until it is free.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn wait(self) -> Result<(), SysError> {
        file_lock::lock(self.0.as_fd(), Wait::Yes)
    }
}

/// The container's lock if somebody has it. Nothing is made and nothing taken; a lock file that
/// cannot be opened locks nobody out.
pub fn held(container: &Container) -> Option<Held> {
    use crate::sys::fd::{OpenFlags, open};
    let path = super::run_dir().join(directories(container)).join(format!(".{}", container.name()));
    let file = open(&path, OpenFlags::RDWR | OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK, 0).ok()?;
    file_lock::is_locked(file.as_fd()).ok()?.then_some(Held(file))
}

/// The state of `LXCPATH/NAME/partial`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// No marker: the container is whole.
    None,
    /// Locked: lxc-create is at work.
    Running,
    /// Not locked: its lxc-create was killed, and what is there is rubbish.
    Aborted,
}

/// Looks at the marker. LXC asks for the lock but never looks at the answer, so any leftover
/// marker blocks a start there.
pub fn partial(container: &Container) -> Result<Partial, SysError> {
    use crate::sys::fd::{OpenFlags, open};
    let path = container.dir().join("partial");
    let marker = match open(&path, OpenFlags::RDWR | OpenFlags::NOFOLLOW, 0) {
        Ok(marker) => marker,
        Err(e) if e.is(errno::ENOENT) || e.is(errno::ENOTDIR) => return Ok(Partial::None),
        Err(e) => return Err(e),
    };
    let locked = file_lock::is_locked(marker.as_fd())?;
    Ok(if locked { Partial::Running } else { Partial::Aborted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_no_file_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let container = Container::new("/x/lxc".into(), "c1").unwrap();
        let lock = Lock::acquire_in(dir.path(), &container, Wait::No).unwrap();
        let busy = Lock::acquire_in(dir.path(), &container, Wait::No).unwrap_err();
        assert!(matches!(busy, LockError::Busy(_)));
        let other = Container::new("/x/lxc".into(), "c2").unwrap();
        Lock::acquire_in(dir.path(), &other, Wait::No).unwrap();
        assert!(dir.path().join("lxc/lock/x/lxc/.c1").exists());
        lock.remove();
        assert!(!dir.path().join("lxc/lock/x/lxc/.c1").exists());
        Lock::acquire_in(dir.path(), &container, Wait::No).unwrap();
        // Another way to the same.
        let _held = Lock::acquire_in(dir.path(), &container, Wait::No).unwrap();
        let same = Container::new("/x/y/../lxc".into(), "c1").unwrap();
        let busy = Lock::acquire_in(dir.path(), &same, Wait::No).unwrap_err();
        assert!(matches!(busy, LockError::Busy(_)));
    }

    #[test]
    fn a_marker_tells_running_from_aborted() {
        let dir = tempfile::tempdir().unwrap();
        let container = Container::new(dir.path().into(), "c1").unwrap();
        assert_eq!(partial(&container).unwrap(), Partial::None);
        std::fs::create_dir(container.dir()).unwrap();
        let marker = file_lock::create_marker(&container.dir().join("partial")).unwrap();
        if crate::sys::cred::euid() != 0 {
            return; // Mode 0000: only root can look.
        }
        assert_eq!(partial(&container).unwrap(), Partial::Running);
        drop(marker);
        assert_eq!(partial(&container).unwrap(), Partial::Aborted);
    }
}
