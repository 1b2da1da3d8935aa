//! Changes of files, as inotify(7) tells them: that there was one, not what it was. Whoever is woken
//! looks.

use super::error::{At, Result};
use super::event::{self, Ready};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What is watched.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Nothing yet.
    ///
    /// # Errors
    /// EMFILE: the user has as many of them as fs.inotify.max_user_instances allows.
    pub fn new() -> Result<Self> {
        let flags = CreateFlags::CLOEXEC | CreateFlags::NONBLOCK;
        inotify::init(flags).at("inotify_init1", || "").map(Self)
    }

    /// Watches what comes into a directory and what leaves it, and its own end.
    ///
    /// # Errors
    /// There is no such directory; ENOSPC: too many are watched.
    pub fn of_directory(&self, path: &Path) -> Result<()> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watch = inotify::add_watch(&self.0, path, flags);
        watch.at("inotify_add_watch", || path.display()).map(drop)
    }

    /// Watches what is written to an open file, whatever its name is, until it is removed.
    ///
    /// # Errors
    /// ENOSPC: too many are watched.
    pub fn of_file(&self, file: BorrowedFd<'_>) -> Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = inotify::add_watch(&self.0, path.as_str(), WatchFlags::MODIFY);
        watch.at("inotify_add_watch", || path).map(drop)
    }

    /// Sleeps until there is a change since the last call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self) -> Result<()> {
        event::poll(self.0.as_fd(), Ready::READ, None)?;
        let mut some = [0u8; 4096];
        while matches!(rustix::io::read(&self.0, &mut some), Ok(n) if n > 0) {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Instant;

    #[test]
    fn changes_of_a_file_and_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let file = fs::File::create(&path).unwrap();
        let changes = Changes::new().unwrap();
        let some =
            || event::poll(changes.0.as_fd(), Ready::READ, Some(Instant::now())).unwrap().read;
        changes.of_directory(dir.path()).unwrap();
        changes.of_file(file.as_fd()).unwrap();
        let works: [&dyn Fn(); 4] = [
            &|| fs::write(&path, "x").unwrap(),
            &|| file.set_len(0).unwrap(),
            &|| fs::rename(&path, dir.path().join("log.1")).unwrap(),
            &|| fs::write(&path, "").unwrap(),
        ];
        for work in works {
            assert!(!some());
            work();
            assert!(some());
            changes.wait().unwrap();
        }
        assert!(changes.of_directory(&path).is_err(), "it is none");
    }
}
