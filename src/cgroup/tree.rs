//! The cgroups of one running container: made, entered, limited, handed over, removed.
//!
//! [`CgroupTree`] is a guard: dropped, it takes away what it made. Names are relative to one
//! descriptor per hierarchy, so that each cgroup costs one system call to make and three to enter.
//!
//! Moving another process costs a grace period of the kernel (5 ms and more), whatever is moved.
//! Four ways round it, which a start and an attach should take:
//! - the unified hierarchy: clone with CLONE_INTO_CGROUP ([`CgroupTree::payload_fd`],
//!   [`CgroupTree::monitor_fd`]);
//! - v1: a process with one thread moves itself ([`CgroupTree::enter_payload_self`] in the child,
//!   [`CgroupTree::enter_monitor_self`]);
//! - a monitor that was there before its cgroup: children born in that, itself when the container
//!   has run for a while ([`CgroupTree::settle`]);
//! - leaving: a child cloned into [`CgroupTree::pivot_fd`] outlives the monitor and removes the
//!   monitor's cgroup ([`CgroupTree::remove_monitor`]).

use super::error::{CgroupError, Fault};
use super::freezer;
use super::layout::Hierarchy;
use super::place::{Inside, MODE, Place, Placed};
use super::plan::{CgroupPlan, DevicePlan, Name};
use super::prune::Patience;
use super::v1::{self, join};
use crate::sys::dir::{age_at, mkdir_at, open_path, open_path_at, pause, rmdir_at};
use crate::sys::errno::{EEXIST, ENODEV, ENOENT};
use crate::sys::lock::lock_dir_at;
use crate::sys::process::{self, Pid};
use crate::sys::{SysError, cradle};
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Names are numbered up to here, as in LXC.
const HIGHEST_NUMBER: u32 = 999;

/// A cgroup that this program made, in every hierarchy.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) path: String,
    /// Parents made on the way, outermost first, per hierarchy.
    pub(super) parents: Vec<(usize, String)>,
    /// Held until all of it is gone: nobody else takes the path for a left-over. Of the first
    /// hierarchy, where it is made first and removed last.
    _lock: Option<OwnedFd>,
}

/// The paths of a name in the order in which they are tried.
pub(super) fn candidates(name: &Name) -> impl Iterator<Item = String> + use<> {
    let path = name.path.clone();
    (0..=if name.numbered { HIGHEST_NUMBER } else { 0 }).map(move |number| match number {
        0 => path.clone(),
        n => format!("{path}-{n}"),
    })
}

/// How long a path without a number may take to be given up by the run that had it before.
const FOR_LAST_RUN: Duration = Duration::from_secs(2);

/// How long an empty path with a number is left alone.
const NEW: Duration = Duration::from_secs(5);

/// What kept a cgroup from being made.
fn failed_with(made: &Result<Made, CgroupError>) -> Option<i32> {
    match made.as_ref().err().map(|e| &**e) {
        Some(Fault::Create { source, .. } | Fault::Prepare { source, .. }) => Some(source.errno),
        _ => None,
    }
}

/// Removes `path` everywhere if nobody is in it, `patience` for each: what a monitor that was killed
/// left behind. A run that starts, or ends just now, has its lock.
pub(super) fn remove_left_over(places: &[Place], path: &str, patience: Duration) -> bool {
    let lock = places.first().map(|place| lock_dir_at(place.base(), path));
    !matches!(lock, Some(Ok(None)))
        && places.iter().rev().all(|place| place.remove_empty(path, patience))
}

/// The monitor's and the payload's cgroups in all hierarchies.
#[derive(Debug)]
pub struct CgroupTree {
    pub(super) plan: CgroupPlan,
    pub(super) places: Vec<Place>,
    pub(super) monitor: Option<Made>,
    pub(super) payload: Option<Made>,
    /// Where init is: the payload, or the inner cgroup within it.
    pub(super) init_path: String,
    pub(super) unified_payload: Option<OwnedFd>,
    pub(super) undelegated: Option<(PathBuf, SysError)>,
    pub(super) program: Option<OwnedFd>,
    pub(super) devices_applied: bool,
    /// Where the owner is.
    pub(super) inside: Cell<Inside>,
    pub(super) owner: Pid,
}

impl CgroupTree {
    /// Makes the monitor's and the payload's cgroup.
    ///
    /// # Errors
    /// [`Fault::Create`], [`Fault::Exhausted`], [`Fault::Prepare`]; nothing is
    /// left behind then.
    pub fn create(plan: &CgroupPlan) -> Result<Self, CgroupError> {
        let mut tree = Self::create_monitor(plan)?;
        tree.create_payload()?;
        Ok(tree)
    }

    /// Makes the monitor's cgroup only.
    pub fn create_monitor(plan: &CgroupPlan) -> Result<Self, CgroupError> {
        let mut places = Vec::with_capacity(plan.hierarchies.len());
        for hierarchy in &plan.hierarchies {
            places.push(Place::open(hierarchy)?);
        }
        let mut tree = Self {
            plan: plan.clone(),
            places,
            monitor: None,
            payload: None,
            init_path: String::new(),
            unified_payload: None,
            undelegated: None,
            program: None,
            devices_applied: false,
            inside: Cell::new(Inside::Nowhere),
            owner: process::own_pid(),
        };
        if let Some(unified) = tree.places.iter().find(|p| p.is_v2()) {
            tree.undelegated = unified.delegate("");
        }
        let name = tree.plan.monitor.clone();
        tree.monitor = Some(tree.make(&name)?);
        Ok(tree)
    }

    /// Makes the payload's cgroup (and the inner one): at a start, and again at a reboot after
    /// [`Self::remove_payload`].
    pub fn create_payload(&mut self) -> Result<(), CgroupError> {
        let name = self.plan.payload.clone();
        let made = self.make(&name)?;
        let path = made.path.clone();
        self.payload = Some(made);
        self.devices_applied = false;
        for place in &self.places {
            let prepare = |file: &str, source| {
                Box::new(Fault::Prepare { path: place.path(&path).join(file), source })
            };
            if place.is_v2() {
                continue;
            }
            if place.hierarchy.has("cpuset") {
                v1::clone_children(place.base(), &path)
                    .map_err(|e| prepare("cgroup.clone_children", e))?;
            }
            if place.hierarchy.has("memory") {
                v1::use_hierarchy(place.base(), &path)
                    .map_err(|e| prepare("memory.use_hierarchy", e))?;
            }
        }
        self.init_path = path.clone();
        if let Some(inner) = self.plan.inner.clone() {
            // A v1 devices cgroup takes no new default once it has children.
            if matches!(self.plan.devices, DevicePlan::V1 { .. }) {
                self.apply_devices()?;
            }
            self.make_inner(&path, &inner)?;
        }
        self.unified_payload = match self.places.iter().find(|p| p.is_v2()) {
            None => None,
            Some(place) => {
                let opened = open_path_at(place.base(), &self.init_path);
                let path = place.path(&self.init_path);
                Some(opened.map_err(|source| Box::new(Fault::Create { path, source }))?)
            }
        };
        Ok(())
    }

    fn make_inner(&mut self, path: &str, inner: &str) -> Result<(), CgroupError> {
        let below = join(path, inner);
        for place in &self.places {
            if let Some(failed) = place.is_v2().then(|| place.delegate(path)).flatten() {
                self.undelegated.get_or_insert(failed);
            }
            mkdir_at(place.base(), &below, MODE)
                .map_err(|source| Box::new(Fault::Create { path: place.path(&below), source }))?;
        }
        self.init_path = below;
        Ok(())
    }

    /// Makes `name` in all hierarchies, with one number for all if it is taken in any.
    fn make(&mut self, name: &Name) -> Result<Made, CgroupError> {
        let mut paths = candidates(name);
        while let Some(path) = paths.next() {
            let mut patience = Patience::new(FOR_LAST_RUN);
            let made = loop {
                let made = self.make_everywhere(&path);
                match failed_with(&made) {
                    Some(EEXIST)
                        if (path == name.path || self.is_old(&path))
                            && remove_left_over(&self.places, &path, Duration::ZERO) => {}
                    Some(EEXIST) if name.numbered => break made,
                    // Its last run ends, or another's end has just taken a parent away.
                    Some(EEXIST | ENOENT | ENODEV) => pause(Duration::from_millis(5)),
                    _ => break made,
                }
                if patience.is_over() {
                    break made;
                }
            };
            if failed_with(&made) != Some(EEXIST) || !name.numbered {
                if made.is_ok() {
                    self.sweep(paths);
                }
                return made;
            }
        }
        let path = self.places.first().map(|p| p.path(&name.path)).unwrap_or_default();
        Err(Box::new(Fault::Exhausted { path }))
    }

    /// What killed monitors left behind under the next numbers, which this run does not need.
    fn sweep(&self, paths: impl Iterator<Item = String>) {
        let Some(first) = self.places.first() else { return };
        for path in paths.take_while(|path| first.exists(path)).filter(|path| self.is_old(path)) {
            remove_left_over(&self.places, &path, Duration::ZERO);
        }
    }

    /// False while `path`, which has a number, may be the new cgroup of a container that is called
    /// so: LXC's monitors lock nothing, and nobody is in their cgroups when they have just made them.
    fn is_old(&self, path: &str) -> bool {
        let ages = self.places.iter().filter_map(|place| age_at(place.base(), path));
        ages.min().is_some_and(|least| least >= NEW)
    }

    fn make_everywhere(&mut self, path: &str) -> Result<Made, CgroupError> {
        let mut made = Made { path: path.to_owned(), parents: Vec::new(), _lock: None };
        for at in 0..self.places.len() {
            let mut done = self.make_one(at, &mut made);
            if at == 0 && done.is_ok() {
                done = self.claim(&mut made);
            }
            if let Err(error) = done {
                // The one that failed made nothing itself, but maybe its parents.
                let own = self.places.get(..at).unwrap_or_default();
                for place in own.iter().rev() {
                    let _nothing_inside_yet = rmdir_at(place.base(), path);
                }
                self.remove_parents(&made);
                return Err(error);
            }
        }
        Ok(made)
    }

    /// Locks what has just been made in the first hierarchy. Somebody who was faster takes it for a
    /// left-over, and away.
    fn claim(&self, made: &mut Made) -> Result<(), CgroupError> {
        let Some(place) = self.places.first() else { return Ok(()) };
        match lock_dir_at(place.base(), &made.path) {
            Ok(Some(lock)) => made._lock = Some(lock),
            Ok(None) => {
                let source = SysError::new("flock", made.path.as_str(), EEXIST);
                return Err(Box::new(Fault::Create { path: place.path(&made.path), source }));
            }
            Err(source) if source.is(ENOENT) => {
                return Err(Box::new(Fault::Create { path: place.path(&made.path), source }));
            }
            Err(e) => log::debug!("{e}"),
        }
        Ok(())
    }

    fn make_one(&mut self, at: usize, made: &mut Made) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at) else { return Ok(()) };
        let path = made.path.as_str();
        let fail = |below: &str| {
            let path = place.path(below);
            move |source| Box::new(Fault::Create { path, source })
        };
        match mkdir_at(place.base(), path, MODE) {
            Err(e) if e.is(ENOENT) => {}
            done => {
                done.map_err(fail(path))?;
                place.prepare_new(path)?;
                return self.delegate_parents(at, path);
            }
        }
        // A parent is missing (or another container's end has just taken it away).
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match mkdir_at(place.base(), parent, MODE) {
                Ok(()) => {
                    made.parents.push((at, parent.to_owned()));
                    place.after_mkdir(parent)?;
                }
                Err(e) if e.is(EEXIST) => {}
                Err(e) => return Err(fail(parent)(e)),
            }
        }
        mkdir_at(place.base(), path, MODE).map_err(fail(path))?;
        place.prepare_new(path)?;
        self.delegate_parents(at, path)
    }

    /// Passes controllers on from the base to the parent of `path`.
    fn delegate_parents(&mut self, at: usize, path: &str) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at).filter(|p| p.is_v2()) else { return Ok(()) };
        for (end, _) in path.match_indices('/') {
            if let Some(failed) = place.delegate(&path[..end]) {
                self.undelegated.get_or_insert(failed);
            }
        }
        Ok(())
    }

    /// The process that removes everything when the tree is dropped: call it after a fork, in the
    /// process that keeps the tree. A tree dropped by any other process does nothing.
    pub fn take_over(&mut self) {
        self.owner = process::own_pid();
    }

    /// The monitor's unified cgroup, for CLONE_INTO_CGROUP.
    pub fn monitor_fd(&self) -> Option<OwnedFd> {
        let place = self.places.iter().find(|p| p.is_v2())?;
        open_path_at(place.base(), &self.monitor.as_ref()?.path).ok()
    }

    /// The unified cgroup that init belongs in, for CLONE_INTO_CGROUP.
    pub fn payload_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified_payload.as_ref().map(AsFd::as_fd)
    }

    /// The unified cgroup that a process which must outlive the monitor's cgroup is cloned into:
    /// the base where it may have processes, else the pivot, made if needed.
    pub fn pivot_fd(&self) -> Option<OwnedFd> {
        let place = self.places.iter().find(|p| p.is_v2())?;
        let path = self.pivot_of(place);
        if !path.is_empty() {
            let _the_open_says_why = place.make_all(path);
            return open_path_at(place.base(), path).ok();
        }
        open_path(&place.hierarchy.base_dir()).ok()
    }

    /// Moves the calling process (one thread) into the monitor's cgroup.
    ///
    /// A monitor of LXC's, whose cgroup had the same path and which does not lock it, may take away
    /// ours at its end, as long as nobody is in it. It does so once.
    ///
    /// With [`Placed::Later`] the unified one is left to [`Self::settle`]; what the process starts
    /// until then is born in it.
    pub fn enter_monitor_self(&self, placed: Placed) -> Result<(), CgroupError> {
        let path = self.monitor.as_ref().map_or("", |m| m.path.as_str());
        self.inside.set(Inside::Everywhere);
        if let (Placed::Later, Some(unified)) = (placed, self.monitor_fd()) {
            self.inside.set(Inside::V1);
            cradle::set(Some(unified));
        }
        let placed = if self.is_unsettled() { Placed::InUnified } else { placed };
        self.places.iter().try_for_each(|place| match place.enter_self(path, placed) {
            Err(e) if matches!(&*e, Fault::Enter { source, .. } if matches!(source.errno, ENOENT | ENODEV)) => {
                place.make_all(path)?;
                place.enter_self(path, placed)
            }
            done => done,
        })
    }

    /// True while the process is not in the monitor's unified cgroup, and belongs there.
    pub fn is_unsettled(&self) -> bool {
        self.inside.get() == Inside::V1
    }

    /// Moves the calling process into the monitor's unified cgroup, where that was put off.
    pub fn settle(&self) -> Result<(), CgroupError> {
        if !self.is_unsettled() {
            return Ok(());
        }
        cradle::set(None);
        self.enter_monitor_self(Placed::Nowhere)
    }

    /// Moves the calling process (one thread) into the payload.
    ///
    /// # In the child
    /// To be called right after clone, before any namespace of cgroups is made: costs no grace
    /// period, unlike [`Self::enter_payload`] in the parent. Needs the descriptors of the tree,
    /// which the child has; closes what it opens.
    pub fn enter_payload_self(&self, placed: Placed) -> Result<(), CgroupError> {
        self.places.iter().try_for_each(|place| place.enter_self(&self.init_path, placed))
    }

    /// Moves another process into the monitor's cgroup.
    pub fn enter_monitor(&self, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
        let path = self.monitor.as_ref().map_or("", |m| m.path.as_str());
        self.places.iter().try_for_each(|place| place.enter(path, pid, placed))
    }

    /// Moves another process into the payload.
    pub fn enter_payload(&self, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
        self.places.iter().try_for_each(|place| place.enter(&self.init_path, pid, placed))
    }

    pub(super) fn limit_path_below(&self) -> &str {
        self.payload.as_ref().map_or("", |m| m.path.as_str())
    }

    pub(super) fn v1_at(&self, controller: &str) -> Option<usize> {
        self.places.iter().position(|p| !p.is_v2() && p.hierarchy.has(controller))
    }

    fn place(&self, controller: &str) -> Option<&Place> {
        let by = |name: &str| self.places.iter().find(|p| p.hierarchy.has(name));
        match controller {
            // LXC answers a request without a controller with the unified hierarchy.
            "" => self.places.iter().find(|p| p.is_v2()),
            // Where v2 is all there is, it does what these two did.
            "devices" | "freezer" => {
                by(controller).or_else(|| self.places.iter().find(|p| p.is_v2()))
            }
            name => by(name).or_else(|| by(&format!("name={name}"))),
        }
    }

    /// Path of init's cgroup below the mount point of `controller`'s hierarchy, with a leading
    /// slash: the answer to GET_CGROUP. `""` asks for the unified hierarchy.
    pub fn path(&self, controller: &str) -> Option<String> {
        self.place(controller).map(|place| place.below_mount(&self.init_path))
    }

    /// As [`Self::path`] for the cgroup that the limits are on: GET_LIMIT_CGROUP.
    pub fn limit_path(&self, controller: &str) -> Option<String> {
        self.place(controller).map(|place| place.below_mount(self.limit_path_below()))
    }

    /// Init's cgroup in `controller`'s hierarchy, opened: GET_CGROUP_FD, GET_CGROUP2_FD with `""`.
    pub fn fd(&self, controller: &str) -> Option<OwnedFd> {
        let place = self.place(controller)?;
        open_path_at(place.base(), &self.init_path).ok()
    }

    /// As [`Self::fd`] for the cgroup that the limits are on: GET_LIMIT_CGROUP_FD.
    pub fn limit_fd(&self, controller: &str) -> Option<OwnedFd> {
        let place = self.place(controller)?;
        open_path_at(place.base(), self.limit_path_below()).ok()
    }

    /// Every hierarchy with init's cgroup in it opened: GET_CGROUP_CTX.
    pub fn fds(&self) -> Vec<(&Hierarchy, OwnedFd)> {
        let mut out = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let opened = open_path_at(place.base(), &self.init_path);
            out.extend(opened.ok().map(|fd| (&place.hierarchy, fd)));
        }
        out
    }

    /// The hierarchies in use.
    pub fn hierarchies(&self) -> impl Iterator<Item = &Hierarchy> {
        self.places.iter().map(|place| &place.hierarchy)
    }

    /// Name of the monitor's cgroup below each base.
    pub fn monitor_name(&self) -> Option<&str> {
        self.monitor.as_ref().map(|made| made.path.as_str())
    }

    /// Name of init's cgroup below each base.
    pub fn init_name(&self) -> &str {
        &self.init_path
    }

    /// The cgroup to freeze: v1's freezer where there is one, else the unified.
    pub fn freezer(&self) -> Option<freezer::Freezer> {
        let v1 = self.v1_at("freezer").and_then(|at| self.places.get(at));
        let place = v1.or_else(|| self.places.iter().find(|p| p.is_v2()))?;
        let limit = self.limit_path_below();
        let dir = open_path_at(place.base(), limit).ok()?;
        Some(freezer::Freezer::new(dir, place.hierarchy.version, place.path(limit)))
    }

    /// Freezes the payload; `None` waits for ever. See [`freezer::Freezer`] for an event loop.
    pub fn freeze(&self, timeout: Option<Duration>) -> Result<(), CgroupError> {
        self.require_freezer()?.freeze(timeout)
    }

    /// Thaws the payload.
    pub fn thaw(&self, timeout: Option<Duration>) -> Result<(), CgroupError> {
        self.require_freezer()?.thaw(timeout)
    }

    fn require_freezer(&self) -> Result<freezer::Freezer, CgroupError> {
        self.freezer().ok_or(Box::new(Fault::NoHierarchy { unwritable: None }))
    }

    /// Leaves everything in place when dropped.
    pub fn disarm(mut self) {
        self.payload = None;
        self.monitor = None;
    }
}
