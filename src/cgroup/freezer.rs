//! Freezing and thawing a cgroup, on v1 (freezer.state) and v2 (cgroup.freeze).
//!
//! [`Freezer::freeze`] waits; an event loop calls [`Freezer::request`] and then asks
//! [`Freezer::reached`] until it is so.

use super::error::{CgroupError, Fault};
use super::layout::Version;
use crate::sys::dir::{open_watch, pause, reread, wait_change};
use crate::sys::{SysError, fd};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A cgroup that can be frozen.
#[derive(Debug)]
pub struct Freezer {
    dir: OwnedFd,
    version: Version,
    path: PathBuf,
}

impl Freezer {
    /// Of an opened cgroup (`O_PATH` will do): of a v1 freezer hierarchy, or the unified one.
    /// `path` is its name in errors.
    pub fn new(dir: OwnedFd, version: Version, path: PathBuf) -> Self {
        Self { dir, version, path }
    }

    /// By its directory.
    pub fn open(path: PathBuf, version: Version) -> Result<Self, CgroupError> {
        match crate::sys::dir::open_path(&path) {
            Ok(dir) => Ok(Self { dir, version, path }),
            Err(source) => Err(Box::new(Fault::Read { path, source })),
        }
    }

    /// Asks for the change without waiting for it.
    pub fn request(&self, frozen: bool) -> Result<(), CgroupError> {
        let (file, value) = match (self.version, frozen) {
            (Version::V1, true) => ("freezer.state", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED"),
            (Version::V2, true) => ("cgroup.freeze", "1"),
            (Version::V2, false) => ("cgroup.freeze", "0"),
        };
        fd::write_at(self.dir.as_fd(), file, value.as_bytes())
            .map_err(|source| self.failed(frozen, source))
    }

    /// True once every process is frozen, or thawed. A cgroup within a frozen one is frozen too.
    pub fn reached(&self, frozen: bool) -> Result<bool, CgroupError> {
        let text = self.state().map_err(|source| self.failed(frozen, source))?;
        Ok(match self.version {
            Version::V1 => text == if frozen { "FROZEN" } else { "THAWED" },
            Version::V2 => is_frozen(&text) == frozen,
        })
    }

    /// True if the cgroup is frozen now.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        self.reached(true)
    }

    fn state(&self) -> Result<String, SysError> {
        let file = match self.version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.events",
        };
        let text = fd::read_at(self.dir.as_fd(), file, 4096)?;
        Ok(String::from_utf8_lossy(text.trim_ascii()).into_owned())
    }

    fn failed(&self, frozen: bool, source: SysError) -> CgroupError {
        Box::new(Fault::Freeze { frozen, path: self.path.clone(), source })
    }

    /// Freezes and waits until it is so; `None` waits for ever. What could not be frozen in time
    /// is thawed again.
    pub fn freeze(&self, timeout: Option<Duration>) -> Result<(), CgroupError> {
        self.request(true)?;
        let done = self.wait(true, timeout);
        if done.is_err() {
            self.request(false)?;
        }
        done
    }

    /// Thaws and waits until it is so.
    pub fn thaw(&self, timeout: Option<Duration>) -> Result<(), CgroupError> {
        self.request(false)?;
        self.wait(false, timeout)
    }

    fn wait(&self, frozen: bool, timeout: Option<Duration>) -> Result<(), CgroupError> {
        let deadline = timeout.and_then(|t| Instant::now().checked_add(t));
        let late = || {
            Box::new(Fault::FreezeTimeout {
                frozen,
                path: self.path.clone(),
                after: timeout.unwrap_or_default(),
            })
        };
        match self.version {
            Version::V1 => self.wait_v1(frozen, deadline, late),
            Version::V2 => self.wait_v2(frozen, deadline, late),
        }
    }

    /// v1 tells nobody: reading the state is what makes the kernel look again.
    fn wait_v1(
        &self,
        frozen: bool,
        deadline: Option<Instant>,
        late: impl Fn() -> CgroupError,
    ) -> Result<(), CgroupError> {
        let mut step = Duration::from_micros(100);
        while !self.reached(frozen)? {
            if deadline.is_some_and(|end| Instant::now() >= end) {
                return Err(late());
            }
            pause(step);
            step = (step * 2).min(Duration::from_millis(20));
            // A process that was forked meanwhile may have escaped the first request.
            self.request(frozen)?;
        }
        Ok(())
    }

    fn wait_v2(
        &self,
        frozen: bool,
        deadline: Option<Instant>,
        late: impl Fn() -> CgroupError,
    ) -> Result<(), CgroupError> {
        let failed = |source| self.failed(frozen, source);
        let events = open_watch(self.dir.as_fd(), "cgroup.events").map_err(failed)?;
        while is_frozen(&reread(events.as_fd()).map_err(failed)?) != frozen {
            if !wait_change(events.as_fd(), deadline).map_err(failed)? {
                return Err(late());
            }
        }
        Ok(())
    }
}

/// `frozen 1` in cgroup.events.
fn is_frozen(events: &str) -> bool {
    events.lines().any(|line| line == "frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn states_of_v2() {
        let dir = fixture(&[("cgroup.events", "populated 1\nfrozen 0\n"), ("cgroup.freeze", "0")]);
        let freezer = Freezer::open(dir.path().into(), Version::V2).unwrap();
        assert!(!freezer.is_frozen().unwrap());
        assert!(freezer.reached(false).unwrap());
        freezer.request(true).unwrap();
        assert_eq!(std::fs::read(dir.path().join("cgroup.freeze")).unwrap(), b"1");
        std::fs::write(dir.path().join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        assert!(freezer.is_frozen().unwrap());
    }

    #[test]
    fn a_v1_freeze_that_hangs_is_undone() {
        // A plain file keeps what was written last, so freezing "succeeds" at once; a state that
        // cannot be read as either never does.
        let dir = fixture(&[("freezer.state", "THAWED\n")]);
        let freezer = Freezer::open(dir.path().into(), Version::V1).unwrap();
        freezer.freeze(Some(Duration::ZERO)).unwrap();
        assert!(freezer.is_frozen().unwrap());
        std::fs::write(dir.path().join("freezer.state"), "FREEZING AND MORE\n").unwrap();
        let error = freezer.freeze(Some(Duration::from_millis(1))).unwrap_err();
        assert!(matches!(*error, Fault::FreezeTimeout { frozen: true, .. }));
        let text = std::fs::read_to_string(dir.path().join("freezer.state")).unwrap();
        assert!(text.starts_with("THAWED"), "{text}");
    }

    #[test]
    fn a_kernel_without_the_file() {
        use crate::util::blame::Explain;
        let dir = fixture(&[]);
        let freezer = Freezer::open(dir.path().into(), Version::V2).unwrap();
        let error = freezer.freeze(None).unwrap_err();
        assert!(error.hint().unwrap().contains("5.2"));
    }
}
