//! What v1 hierarchies need beside a mkdir: cpusets start empty and take no process until they
//! are filled, memory cgroups of old kernels do not count their children.

use crate::sys::dir::exists_at;
use crate::sys::errno::{EBUSY, EINVAL, ENOENT};
use crate::sys::{Result, fd};
use std::os::fd::BorrowedFd;

/// `cpuset.cpus` and `cpuset.mems` of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpuset {
    cpus: Vec<u8>,
    mems: Vec<u8>,
}

impl Cpuset {
    /// Those of the cgroup `path` below `base` (empty: `base` itself).
    pub(super) fn read(base: BorrowedFd<'_>, path: &str) -> Result<Self> {
        let file = |name: &str| -> Result<Vec<u8>> {
            let mut value = fd::read_at(base, &join(path, name), 4096)?;
            value.truncate(value.trim_ascii_end().len());
            Ok(value)
        };
        Ok(Self { cpus: file("cpuset.cpus")?, mems: file("cpuset.mems")? })
    }

    /// False while no process can enter.
    pub(super) fn is_filled(&self) -> bool {
        !self.cpus.is_empty() && !self.mems.is_empty()
    }

    /// Gives the cgroup `path` below `base` the same.
    pub(super) fn write(&self, base: BorrowedFd<'_>, path: &str) -> Result<()> {
        fd::write_at(base, &join(path, "cpuset.cpus"), &self.cpus)?;
        fd::write_at(base, &join(path, "cpuset.mems"), &self.mems)
    }
}

/// Cgroups that the container makes start filled (LXC does the same).
pub(super) fn clone_children(base: BorrowedFd<'_>, path: &str) -> Result<()> {
    fd::write_at(base, &join(path, "cgroup.clone_children"), b"1")
}

/// FALLBACK(<5.11): makes a memory limit hold for cgroups that the container makes as well; newer
/// kernels always do, and accept or lack the file.
pub(super) fn use_hierarchy(base: BorrowedFd<'_>, path: &str) -> Result<()> {
    match fd::write_at(base, &join(path, "memory.use_hierarchy"), b"1") {
        Err(e) if matches!(e.errno, ENOENT | EINVAL | EBUSY) => Ok(()),
        done => done,
    }
}

/// Moves the calling process. The kernel moves a single thread that names itself with 0 without
/// waiting for a grace period (5.6 and later), which `cgroup.procs` with a pid costs: some
/// milliseconds. We have one thread, so `tasks` says the same.
pub(super) fn enter_self(base: BorrowedFd<'_>, path: &str) -> Result<()> {
    fd::write_at(base, &join(path, "tasks"), b"0")
}

/// `path/name`, or `name` for the base itself.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// True if the cgroup is there.
pub(super) fn exists(base: BorrowedFd<'_>, path: &str) -> bool {
    exists_at(base, path)
}

/// ENOENT as `None`.
pub(super) fn optional<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.is(ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}
