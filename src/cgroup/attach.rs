//! Joining the cgroups of a running container, for lxc-attach.
//!
//! On v1 the attaching process (one thread) moves itself before it enters namespaces. In the
//! unified hierarchy a cgroup that has controllers enabled for its children takes no processes,
//! so attached ones go to a leaf `.lxc` within the payload, by CLONE_INTO_CGROUP if possible.

use super::error::{CgroupError, Fault};
use super::layout::{Layout, Version};
use super::plan::Name;
use super::tree::candidates;
use crate::sys::dir::{mkdir_at, open_path, open_path_at};
use crate::sys::errno::{EBUSY, EEXIST, ENOENT, EOPNOTSUPP};
use crate::sys::process::Pid;
use crate::sys::{SysError, dir, fd};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

const LEAF: &str = ".lxc";

/// The payload's cgroups, opened.
#[derive(Debug, Default)]
pub struct AttachCgroups {
    v1: Vec<(PathBuf, OwnedFd)>,
    unified: Option<(PathBuf, OwnedFd)>,
}

impl AttachCgroups {
    /// From the descriptors that GET_CGROUP_CTX brought.
    pub fn from_fds(fds: Vec<OwnedFd>) -> Self {
        let mut out = Self::default();
        for (n, fd) in fds.into_iter().enumerate() {
            let path = PathBuf::from(format!("number {n} of the container"));
            match dir::is_cgroup2(fd.as_fd()) {
                true => out.unified = Some((path, fd)),
                false => out.v1.push((path, fd)),
            }
        }
        out
    }

    /// From the paths below the mount points that `ask` gets for each hierarchy: the answer to
    /// GET_CGROUP for a v1 controller, or for `None` (the unified hierarchy). Hierarchies that the
    /// monitor does not know are left out.
    pub fn ask(
        layout: &Layout,
        mut ask: impl FnMut(Option<&str>) -> Option<String>,
    ) -> Result<Self, CgroupError> {
        let mut out = Self::default();
        for hierarchy in &layout.hierarchies {
            let Some(path) = ask(hierarchy.query_name()) else { continue };
            let path = hierarchy.mount.join(path.trim_matches('/'));
            out.add(path, hierarchy.version)?;
        }
        Ok(out)
    }

    /// From /proc/PID/cgroup of init: exact for a container whose init has not moved itself, and
    /// the way to find the unified cgroup on a hybrid host with LXC's own monitor.
    pub fn of_process(layout: &Layout, pid: Pid) -> Result<Self, CgroupError> {
        let mut out = Self::default();
        for (mount, version, path) in layout.membership(pid)? {
            out.add(mount.join(path), version)?;
        }
        Ok(out)
    }

    fn add(&mut self, path: PathBuf, version: Version) -> Result<(), CgroupError> {
        let dir = match open_path(&path) {
            Ok(dir) => dir,
            Err(source) => return Err(Box::new(Fault::Enter { path, source })),
        };
        match version {
            Version::V1 => self.v1.push((path, dir)),
            Version::V2 => self.unified = Some((path, dir)),
        }
        Ok(())
    }

    /// Moves the calling process (one thread) into the v1 cgroups.
    pub fn enter_v1_self(&self) -> Result<(), CgroupError> {
        self.v1.iter().try_for_each(|(path, dir)| {
            fd::write_at(dir.as_fd(), "tasks", b"0")
                .map_err(|source| Box::new(Fault::Enter { path: path.clone(), source }))
        })
    }

    /// The leaf for CLONE_INTO_CGROUP, made if it is not there; `None` without a unified
    /// hierarchy. When the clone answers EBUSY, the leaf has become a parent itself:
    /// [`Self::move_process`] finds the next.
    pub fn leaf(&self) -> Result<Option<OwnedFd>, CgroupError> {
        match &self.unified {
            Some((path, payload)) => make_leaf(path, payload, LEAF).map(Some),
            None => Ok(None),
        }
    }

    /// Moves `pid` into the unified leaf: `.lxc`, then `.lxc-1` up to `.lxc-999`. Nothing without
    /// a unified hierarchy. For 0, the calling process.
    pub fn move_process(&self, pid: Pid) -> Result<(), CgroupError> {
        let Some((path, payload)) = &self.unified else { return Ok(()) };
        let mut last = None;
        for name in candidates(&Name { path: LEAF.to_owned(), numbered: true }) {
            let leaf = make_leaf(path, payload, &name)?;
            match fd::write_at(leaf.as_fd(), "cgroup.procs", pid.to_string().as_bytes()) {
                Ok(()) => return Ok(()),
                Err(e) if matches!(e.errno, EBUSY | EOPNOTSUPP) => last = Some(e),
                Err(source) => {
                    return Err(Box::new(Fault::Enter { path: path.join(name), source }));
                }
            }
        }
        let source = last.unwrap_or_else(|| SysError::new("write", "cgroup.procs", EBUSY));
        Err(Box::new(Fault::Enter { path: path.clone(), source }))
    }

    /// Moves `pid` in every hierarchy: for a process that cannot do it itself. Costs a grace
    /// period of the kernel.
    pub fn move_everywhere(&self, pid: Pid) -> Result<(), CgroupError> {
        for (path, dir) in &self.v1 {
            fd::write_at(dir.as_fd(), "cgroup.procs", pid.to_string().as_bytes())
                .map_err(|source| Box::new(Fault::Enter { path: path.clone(), source }))?;
        }
        self.move_process(pid)
    }
}

fn make_leaf(
    path: &std::path::Path,
    payload: &OwnedFd,
    name: &str,
) -> Result<OwnedFd, CgroupError> {
    let fail = |source| Box::new(Fault::Create { path: path.join(name), source });
    match open_path_at(payload.as_fd(), name) {
        Err(e) if e.is(ENOENT) => {}
        done => return done.map_err(fail),
    }
    match mkdir_at(payload.as_fd(), name, 0o755) {
        Err(e) if !e.is(EEXIST) => Err(fail(e)),
        _ => open_path_at(payload.as_fd(), name).map_err(fail),
    }
}
