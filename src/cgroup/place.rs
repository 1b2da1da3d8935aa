//! One hierarchy with its base cgroup opened: making, preparing and entering a cgroup there.

use super::error::{CgroupError, Fault};
use super::layout::{Hierarchy, Version};
use super::prune::{self, Patience};
use super::v1::{self, Cpuset, join};
use super::v2;
use crate::sys::dir::{exists_at, mkdir_at, open_path, rmdir_at};
use crate::sys::errno::EEXIST;
use crate::sys::process::Pid;
use crate::sys::{SysError, fd};
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

pub(super) const MODE: u32 = 0o755;

/// Whether clone3 has put the process into its unified cgroup already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// By CLONE_INTO_CGROUP.
    InUnified,
    /// It was not made for it, and is where it was: it comes in when there is time.
    Later,
    /// Not at all.
    Nowhere,
}

/// Where the process is that has a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// In none of its cgroups.
    Nowhere,
    /// In the monitor's, but for the unified one.
    V1,
    /// In the monitor's.
    Everywhere,
}

/// One hierarchy and its base cgroup. Paths given to its functions are relative to the base.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) hierarchy: Hierarchy,
    base: OwnedFd,
    /// Of the base, once it has been read.
    cpuset: OnceCell<Cpuset>,
}

impl Place {
    pub(super) fn open(hierarchy: &Hierarchy) -> Result<Self, CgroupError> {
        let path = hierarchy.base_dir();
        let base = open_path(&path).map_err(|source| Box::new(Fault::Create { path, source }))?;
        Ok(Self { hierarchy: hierarchy.clone(), base, cpuset: OnceCell::new() })
    }

    /// The base cgroup's directory.
    pub(super) fn base(&self) -> BorrowedFd<'_> {
        self.base.as_fd()
    }

    /// The full path, for errors.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.hierarchy.base_dir().join(below)
    }

    pub(super) fn is_v2(&self) -> bool {
        self.hierarchy.version == Version::V2
    }

    /// The path below the mount point, with a leading slash.
    pub(super) fn below_mount(&self, path: &str) -> String {
        format!("/{}", join(&self.hierarchy.base, path))
    }

    /// True if `path` is there.
    pub(super) fn exists(&self, path: &str) -> bool {
        exists_at(self.base(), path)
    }

    /// Removes `path`, with the empty cgroups in it, unless somebody is still in it after
    /// `patience`. True if it is gone.
    pub(super) fn remove_empty(&self, path: &str, patience: Duration) -> bool {
        prune::remove(self.base(), path, &mut Patience::new(patience), || {}).is_ok()
    }

    /// Enables all controllers for the children of `path`; what refused, if anything did.
    pub(super) fn delegate(&self, path: &str) -> Option<(PathBuf, SysError)> {
        let failed = v2::delegate(self.base(), path, &self.hierarchy.controllers).err()?;
        Some((self.path(path), failed))
    }

    /// What a new cgroup needs before processes or children can use it.
    pub(super) fn after_mkdir(&self, path: &str) -> Result<(), CgroupError> {
        if self.is_v2() || !self.hierarchy.has("cpuset") {
            return Ok(());
        }
        let fail = |source| Box::new(Fault::Prepare { path: self.path(path), source });
        // The nearest ancestor that is filled: one that another tool made may not be.
        let mut ancestor = path;
        let filled = loop {
            ancestor = ancestor.rsplit_once('/').map_or("", |(parent, _)| parent);
            if ancestor.is_empty() {
                if self.cpuset.get().is_none() {
                    let read = Cpuset::read(self.base(), "").map_err(fail)?;
                    let _only_once = self.cpuset.set(read);
                }
                break self.cpuset.get().cloned().unwrap_or_default();
            }
            let found = Cpuset::read(self.base(), ancestor).map_err(fail)?;
            if found.is_filled() {
                break found;
            }
        };
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        for parent in parents.filter(|p| p.len() > ancestor.len()) {
            filled.write(self.base(), parent).map_err(fail)?;
        }
        filled.write(self.base(), path).map_err(fail)
    }

    /// [`Self::after_mkdir`] for one that has just been made, which goes if that fails.
    pub(super) fn prepare_new(&self, path: &str) -> Result<(), CgroupError> {
        self.after_mkdir(path).inspect_err(|_| {
            let _not_ours_any_more = rmdir_at(self.base(), path);
        })
    }

    /// mkdir -p; existing ones are fine.
    pub(super) fn make_all(&self, path: &str) -> Result<(), CgroupError> {
        if path.is_empty() || v1::exists(self.base(), path) {
            return Ok(());
        }
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        for end in ends {
            let part = &path[..end];
            match mkdir_at(self.base(), part, MODE) {
                Ok(()) => self.after_mkdir(part)?,
                Err(e) if e.is(EEXIST) => {}
                Err(source) => {
                    return Err(Box::new(Fault::Create { path: self.path(part), source }));
                }
            }
        }
        Ok(())
    }

    /// Moves the calling process, which has one thread.
    pub(super) fn enter_self(&self, path: &str, placed: Placed) -> Result<(), CgroupError> {
        let done = match (self.is_v2(), placed) {
            (true, Placed::InUnified) => return Ok(()),
            (true, _) => fd::write_at(self.base(), &join(path, "cgroup.procs"), b"0"),
            (false, _) => v1::enter_self(self.base(), path),
        };
        done.map_err(|source| Box::new(Fault::Enter { path: self.path(path), source }))
    }

    /// Moves another process.
    pub(super) fn enter(&self, path: &str, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
        if self.is_v2() && placed == Placed::InUnified {
            return Ok(());
        }
        let file = join(path, "cgroup.procs");
        fd::write_at(self.base(), &file, pid.to_string().as_bytes())
            .map_err(|source| Box::new(Fault::Enter { path: self.path(path), source }))
    }
}
