//! The cgroups of one running container: made, entered, limited, handed over, removed.
//!
//! [`CgroupTree`] is a guard: dropped, it takes away what it made. Names are relative to one
//! descriptor per hierarchy, so that each cgroup costs one system call to make and three to enter.
//!
//! Moving another process costs a grace period of the kernel (5 ms and more), whatever is moved.
//! Three ways round it, which a start and an attach should take:
//! - the unified hierarchy: clone with CLONE_INTO_CGROUP ([`CgroupTree::payload_fd`],
//!   [`CgroupTree::monitor_fd`]);
//! - v1: a process with one thread moves itself ([`CgroupTree::enter_payload_self`] in the child,
//!   [`CgroupTree::enter_monitor_self`]);
//! - leaving: a child cloned into [`CgroupTree::pivot_fd`] outlives the monitor and removes the
//!   monitor's cgroup ([`CgroupTree::remove_monitor`]).

use super::devices::{DeviceLine, DeviceList};
use super::error::CgroupError;
use super::freezer;
use super::layout::{Hierarchy, Version};
use super::plan::{CgroupPlan, DevicePlan, DeviceSetting, Name, Setting};
use super::v1::{self, Cpuset, join};
use super::{prune, v2};
use crate::sys::dir::{mkdir_at, open_path, open_path_at, own_at, rmdir_at};
use crate::sys::errno::{EEXIST, ENOENT};
use crate::sys::process::{self, Pid};
use crate::sys::{SysError, bpf, fd};
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

const MODE: u32 = 0o755;
const HIGHEST_NUMBER: u32 = 999;

/// Whether clone3 has put the process into its unified cgroup already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// By CLONE_INTO_CGROUP.
    InUnified,
    /// Not at all.
    Nowhere,
}

/// One hierarchy and its base cgroup.
#[derive(Debug)]
struct Place {
    hierarchy: Hierarchy,
    base: OwnedFd,
    /// Of the base, once it has been read.
    cpuset: OnceCell<Cpuset>,
}

impl Place {
    fn path(&self, below: &str) -> PathBuf {
        self.hierarchy.base_dir().join(below)
    }

    fn is_v2(&self) -> bool {
        self.hierarchy.version == Version::V2
    }

    fn is_cpuset_v1(&self) -> bool {
        !self.is_v2() && self.hierarchy.has("cpuset")
    }
}

/// A cgroup that this program made, in every hierarchy.
#[derive(Debug)]
struct Made {
    path: String,
    /// Parents made on the way, outermost first, per hierarchy.
    parents: Vec<(usize, String)>,
}

/// The monitor's and the payload's cgroups in all hierarchies.
#[derive(Debug)]
pub struct CgroupTree {
    plan: CgroupPlan,
    places: Vec<Place>,
    monitor: Option<Made>,
    payload: Option<Made>,
    /// Where init is: the payload, or the inner cgroup within it.
    init_path: String,
    unified_payload: Option<OwnedFd>,
    undelegated: Option<(PathBuf, SysError)>,
    program: Option<OwnedFd>,
    devices_applied: bool,
    owner: Pid,
}

impl CgroupTree {
    /// Makes the monitor's and the payload's cgroup.
    ///
    /// # Errors
    /// [`CgroupError::Create`], [`CgroupError::Exhausted`], [`CgroupError::Prepare`]; nothing is
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
            let path = hierarchy.base_dir();
            let base = open_path(&path).map_err(|source| CgroupError::Create { path, source })?;
            let (hierarchy, cpuset) = (hierarchy.clone(), OnceCell::new());
            places.push(Place { hierarchy, base, cpuset });
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
            owner: process::own_pid(),
        };
        if let Some(unified) = tree.places.iter().find(|p| p.is_v2()) {
            tree.undelegated = delegate(unified, "");
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
            let prepare = |file: &str, source| CgroupError::Prepare {
                path: place.path(&path).join(file),
                source,
            };
            if place.is_v2() {
                continue;
            }
            if place.hierarchy.has("cpuset") {
                v1::clone_children(place.base.as_fd(), &path)
                    .map_err(|e| prepare("cgroup.clone_children", e))?;
            }
            if place.hierarchy.has("memory") {
                v1::use_hierarchy(place.base.as_fd(), &path)
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
                let opened = open_path_at(place.base.as_fd(), &self.init_path);
                let path = place.path(&self.init_path);
                Some(opened.map_err(|source| CgroupError::Create { path, source })?)
            }
        };
        Ok(())
    }

    fn make_inner(&mut self, path: &str, inner: &str) -> Result<(), CgroupError> {
        let below = join(path, inner);
        for place in &self.places {
            if let Some(failed) = place.is_v2().then(|| delegate(place, path)).flatten() {
                self.undelegated.get_or_insert(failed);
            }
            mkdir_at(place.base.as_fd(), &below, MODE)
                .map_err(|source| CgroupError::Create { path: place.path(&below), source })?;
        }
        self.init_path = below;
        Ok(())
    }

    /// Makes `name` in all hierarchies, with one number for all if it is taken in any.
    fn make(&mut self, name: &Name) -> Result<Made, CgroupError> {
        let last = if name.numbered { HIGHEST_NUMBER } else { 0 };
        for number in 0..=last {
            let path = match number {
                0 => name.path.clone(),
                n => format!("{}-{n}", name.path),
            };
            match self.make_everywhere(&path) {
                Err(CgroupError::Create { source, .. }) if source.is(EEXIST) && name.numbered => {}
                done => return done,
            }
        }
        let path = self.places.first().map(|p| p.path(&name.path)).unwrap_or_default();
        Err(CgroupError::Exhausted { path })
    }

    fn make_everywhere(&mut self, path: &str) -> Result<Made, CgroupError> {
        let mut made = Made { path: path.to_owned(), parents: Vec::new() };
        for at in 0..self.places.len() {
            if let Err(error) = self.make_one(at, &mut made) {
                // The one that failed made nothing itself, but maybe its parents.
                let own = self.places.get(..at).unwrap_or_default();
                for place in own.iter().rev() {
                    let _nothing_inside_yet = rmdir_at(place.base.as_fd(), path);
                }
                self.remove_parents(&made);
                return Err(error);
            }
        }
        Ok(made)
    }

    fn make_one(&mut self, at: usize, made: &mut Made) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at) else { return Ok(()) };
        let path = made.path.as_str();
        let fail = |below: &str| {
            let path = place.path(below);
            move |source| CgroupError::Create { path, source }
        };
        match mkdir_at(place.base.as_fd(), path, MODE) {
            Err(e) if e.is(ENOENT) => {}
            done => {
                done.map_err(fail(path))?;
                let refused = after_mkdir(place, path);
                if let Err(e) = refused {
                    let _not_ours_any_more = rmdir_at(place.base.as_fd(), path);
                    return Err(e);
                }
                return self.delegate_parents(at, path);
            }
        }
        // A parent is missing (or another container's end has just taken it away).
        for (end, _) in path.match_indices('/') {
            let parent = &path[..end];
            match mkdir_at(place.base.as_fd(), parent, MODE) {
                Ok(()) => {
                    made.parents.push((at, parent.to_owned()));
                    after_mkdir(place, parent)?;
                }
                Err(e) if e.is(EEXIST) => {}
                Err(e) => return Err(fail(parent)(e)),
            }
        }
        mkdir_at(place.base.as_fd(), path, MODE).map_err(fail(path))?;
        after_mkdir(place, path)?;
        self.delegate_parents(at, path)
    }

    /// Passes controllers on from the base to the parent of `path`.
    fn delegate_parents(&mut self, at: usize, path: &str) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at).filter(|p| p.is_v2()) else { return Ok(()) };
        for (end, _) in path.match_indices('/') {
            if let Some(failed) = delegate(place, &path[..end]) {
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
        open_path_at(place.base.as_fd(), &self.monitor.as_ref()?.path).ok()
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
            let _the_open_says_why = make_all(place, path);
            return open_path_at(place.base.as_fd(), path).ok();
        }
        open_path(&place.hierarchy.base_dir()).ok()
    }

    /// Moves the calling process (one thread) into the monitor's cgroup.
    pub fn enter_monitor_self(&self, placed: Placed) -> Result<(), CgroupError> {
        let path = self.monitor.as_ref().map_or("", |m| m.path.as_str());
        self.places.iter().try_for_each(|place| enter_self(place, path, placed))
    }

    /// Moves the calling process (one thread) into the payload.
    ///
    /// # In the child
    /// To be called right after clone, before any namespace of cgroups is made: costs no grace
    /// period, unlike [`Self::enter_payload`] in the parent. Needs the descriptors of the tree,
    /// which the child has; closes what it opens.
    pub fn enter_payload_self(&self, placed: Placed) -> Result<(), CgroupError> {
        self.places.iter().try_for_each(|place| enter_self(place, &self.init_path, placed))
    }

    /// Moves another process into the monitor's cgroup.
    pub fn enter_monitor(&self, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
        let path = self.monitor.as_ref().map_or("", |m| m.path.as_str());
        self.places.iter().try_for_each(|place| enter(place, path, pid, placed))
    }

    /// Moves another process into the payload.
    pub fn enter_payload(&self, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
        self.places.iter().try_for_each(|place| enter(place, &self.init_path, pid, placed))
    }

    fn limit_path_below(&self) -> &str {
        self.payload.as_ref().map_or("", |m| m.path.as_str())
    }

    /// Writes the limits, in order; devices come with [`Self::attach_devices`].
    pub fn apply_limits(&self) -> Result<(), CgroupError> {
        self.plan.settings.iter().try_for_each(|setting| self.apply(setting))
    }

    fn apply(&self, setting: &Setting) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(setting.hierarchy) else { return Ok(()) };
        let limit = self.limit_path_below();
        let mut failed = None;
        for (file, value) in &setting.candidates {
            match fd::write_at(place.base.as_fd(), &join(limit, file), value.as_bytes()) {
                Ok(()) => return Ok(()),
                Err(e) if e.is(ENOENT) => {
                    failed.get_or_insert(e);
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        let Some(source) = failed else { return Ok(()) };
        let (key, origin) = (setting.key.clone(), Some(setting.origin.clone()));
        let undelegated = self.undelegated.as_ref().filter(|_| place.is_v2() && source.is(ENOENT));
        if let Some((path, refused)) = undelegated {
            let (path, source) = (path.clone(), refused.clone());
            return Err(CgroupError::Delegate { key, path, source, origin });
        }
        let (value, path) = (setting.written.as_str().into(), place.path(limit).into());
        Err(CgroupError::Setting { key: key.into(), value, path, source, origin })
    }

    /// Restricts devices: v1 lines, or the program on the unified hierarchy. To be called when
    /// the child has set itself up, as LXC does.
    pub fn attach_devices(&mut self) -> Result<(), CgroupError> {
        if self.devices_applied { Ok(()) } else { self.apply_devices() }
    }

    fn apply_devices(&mut self) -> Result<(), CgroupError> {
        match &self.plan.devices {
            DevicePlan::None => {}
            DevicePlan::V1 { hierarchy, lines } => self.write_device_lines(*hierarchy, lines)?,
            DevicePlan::Program { list, .. } => {
                let list = list.clone();
                self.load_program(&list)?;
            }
        }
        self.devices_applied = true;
        Ok(())
    }

    fn write_device_lines(&self, at: usize, lines: &[DeviceSetting]) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at) else { return Ok(()) };
        let limit = self.limit_path_below();
        let open = |name: &str| {
            fd::open_at(place.base.as_fd(), &join(limit, name), fd::OpenFlags::WRONLY, 0)
        };
        let mut files: [Option<OwnedFd>; 2] = [None, None];
        for line in lines {
            let name = if line.allow { "devices.allow" } else { "devices.deny" };
            let fail = |source: SysError| CgroupError::Setting {
                key: format!("lxc.cgroup.{name}").into(),
                value: line.line.as_str().into(),
                path: place.path(limit).into(),
                source,
                origin: Some(line.origin.clone()),
            };
            let file = &mut files[usize::from(line.allow)];
            if file.is_none() {
                *file = Some(open(name).map_err(fail)?);
            }
            if let Some(file) = file {
                fd::write_once(file.as_fd(), line.line.as_bytes()).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn load_program(&mut self, list: &DeviceList) -> Result<(), CgroupError> {
        let DevicePlan::Program { hierarchy, origin, .. } = &self.plan.devices else {
            return Ok(());
        };
        let Some(place) = self.places.get(*hierarchy) else { return Ok(()) };
        let limit = self.limit_path_below();
        let fail = |source| CgroupError::Devices {
            path: place.path(limit),
            source,
            origin: Some(origin.clone()),
        };
        let program = bpf::load_device_program(&list.compile()).map_err(fail)?;
        let cgroup = open_path_at(place.base.as_fd(), limit).map_err(fail)?;
        let old = self.program.as_ref().map(AsFd::as_fd);
        bpf::attach_device_program(cgroup.as_fd(), program.as_fd(), old).map_err(fail)?;
        self.program = Some(program);
        Ok(())
    }

    /// Changes the device rules of a running container (command ADD_BPF_DEVICE_CGROUP; on a host
    /// with v1 devices the line is written to the kernel's list).
    pub fn update_devices(&mut self, line: DeviceLine) -> Result<(), CgroupError> {
        let origin = crate::util::blame::Origin::label("a request to the monitor");
        if let Some(at) = self.v1_at("devices") {
            let lines = [DeviceSetting { allow: line.allow(), line: line.v1_text(), origin }];
            return self.write_device_lines(at, &lines);
        }
        if matches!(self.plan.devices, DevicePlan::None) {
            let found = self.places.iter().position(Place::is_v2);
            let Some(hierarchy) = found else {
                return Err(CgroupError::NoHierarchy { unwritable: None });
            };
            let list = DeviceList::with_default(true);
            self.plan.devices = DevicePlan::Program { hierarchy, list, origin };
        }
        let DevicePlan::Program { list, .. } = &self.plan.devices else { return Ok(()) };
        let mut changed = list.clone();
        changed.push(line);
        self.load_program(&changed)?;
        if let DevicePlan::Program { list, .. } = &mut self.plan.devices {
            *list = changed;
        }
        Ok(())
    }

    fn v1_at(&self, controller: &str) -> Option<usize> {
        self.places.iter().position(|p| !p.is_v2() && p.hierarchy.has(controller))
    }

    /// Gives the payload to the root of the container's user namespace: `uid` owns, `gid` is the
    /// group of the directory and of the files that a delegate may write.
    ///
    /// All are tried; the errors are for the log, as a container runs without (LXC ignores them).
    pub fn chown(&self, uid: u32, gid: u32) -> Vec<CgroupError> {
        let mut errors = Vec::new();
        let unified_files = v2::delegated_files();
        let v1_files = ["cgroup.procs", "tasks"].map(str::to_owned);
        // With an inner cgroup the limits stay root's: only where init is, is handed over.
        let dir = &self.init_path;
        for place in &self.places {
            let files = if place.is_v2() { unified_files.as_slice() } else { &v1_files };
            let all = std::iter::once((dir.clone(), 0o775))
                .chain(files.iter().map(|file| (join(dir, file), 0o664)));
            for (path, mode) in all {
                let done = v1::optional(own_at(place.base.as_fd(), &path, uid, gid, mode));
                let failed = |source| CgroupError::Chown { path: place.path(&path), source };
                errors.extend(done.err().map(failed));
            }
        }
        errors
    }

    fn place(&self, controller: &str) -> Option<&Place> {
        let by = |name: &str| self.places.iter().find(|p| p.hierarchy.has(name));
        match controller {
            // LXC answers a request without a controller with the unified hierarchy.
            "" => self.places.iter().find(|p| p.is_v2()),
            name => by(name).or_else(|| by(&format!("name={name}"))),
        }
    }

    /// Path of init's cgroup below the mount point of `controller`'s hierarchy, with a leading
    /// slash: the answer to GET_CGROUP. `""` asks for the unified hierarchy.
    pub fn path(&self, controller: &str) -> Option<String> {
        self.place(controller).map(|place| below_mount(place, &self.init_path))
    }

    /// As [`Self::path`] for the cgroup that the limits are on: GET_LIMIT_CGROUP.
    pub fn limit_path(&self, controller: &str) -> Option<String> {
        self.place(controller).map(|place| below_mount(place, self.limit_path_below()))
    }

    /// Init's cgroup in `controller`'s hierarchy, opened: GET_CGROUP_FD, GET_CGROUP2_FD with `""`.
    pub fn fd(&self, controller: &str) -> Option<OwnedFd> {
        let place = self.place(controller)?;
        open_path_at(place.base.as_fd(), &self.init_path).ok()
    }

    /// As [`Self::fd`] for the cgroup that the limits are on: GET_LIMIT_CGROUP_FD.
    pub fn limit_fd(&self, controller: &str) -> Option<OwnedFd> {
        let place = self.place(controller)?;
        open_path_at(place.base.as_fd(), self.limit_path_below()).ok()
    }

    /// Every hierarchy with init's cgroup in it opened: GET_CGROUP_CTX.
    pub fn fds(&self) -> Vec<(&Hierarchy, OwnedFd)> {
        let mut out = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let opened = open_path_at(place.base.as_fd(), &self.init_path);
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
        let dir = open_path_at(place.base.as_fd(), limit).ok()?;
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
        self.freezer().ok_or(CgroupError::NoHierarchy { unwritable: None })
    }

    /// Sends SIGKILL to everything in the payload, without waiting.
    pub fn kill(&self) -> Vec<CgroupError> {
        let mut errors = Vec::new();
        // A v1 freezer holds its tasks even against SIGKILL.
        let v1_freezer = self.v1_at("freezer").and_then(|_| self.freezer());
        errors.extend(v1_freezer.and_then(|freezer| freezer.request(false).err()));
        let path = self.limit_path_below();
        let unified = self.places.iter().find(|p| p.is_v2());
        // One v1 hierarchy has them all; the unified one as well, but on kernels before 5.14, or
        // for processes that were moved in v1 only, a second look finds more.
        let any_v1 = self.places.iter().find(|p| !p.is_v2());
        for place in [unified, any_v1].into_iter().flatten() {
            if let Err(source) = prune::kill(place.base.as_fd(), path, place.is_v2()) {
                errors.push(CgroupError::Kill { path: place.path(path), source });
            }
        }
        errors
    }

    /// Removes the payload with everything in it; what still runs there is killed first.
    pub fn remove_payload(&mut self) -> Vec<CgroupError> {
        let Some(made) = self.payload.take() else { return Vec::new() };
        self.unified_payload = None;
        self.program = None;
        let path = made.path.clone();
        let mut errors = Vec::new();
        let mut killed = false;
        // `kill` looks at the payload that has just been taken.
        self.payload = Some(made);
        for place in &self.places {
            let kill = || {
                if !std::mem::replace(&mut killed, true) {
                    errors.extend(self.kill());
                }
            };
            if let Err(source) = prune::remove(place.base.as_fd(), &path, kill) {
                errors.push(CgroupError::Remove { path: place.path(&path), source });
            }
        }
        if let Some(made) = self.payload.take() {
            self.remove_parents(&made);
        }
        self.init_path.clear();
        errors
    }

    /// Moves the calling process (one thread) out of the monitor's cgroup, into the base or the
    /// pivot. `InUnified` says that it is a child cloned into [`Self::pivot_fd`].
    pub fn leave_monitor(&self, placed: Placed) -> Vec<CgroupError> {
        if self.monitor.is_none() {
            return Vec::new();
        }
        let leave = |place: &Place| {
            let path = self.pivot_of(place);
            make_all(place, path).and_then(|()| enter_self(place, path, placed)).err()
        };
        self.places.iter().filter_map(leave).collect()
    }

    /// The path to leave to: the base itself, where processes may stay. A v2 cgroup with
    /// controllers enabled for its children takes no processes unless it is the root.
    fn pivot_of(&self, place: &Place) -> &str {
        let free = !place.is_v2() || place.hierarchy.base.is_empty();
        if free && !self.plan.pivot_wanted { "" } else { &self.plan.pivot }
    }

    /// Removes the monitor's cgroup, which must have been left; waits for a process that is on
    /// its way out.
    pub fn remove_monitor(&mut self) -> Vec<CgroupError> {
        let Some(made) = self.monitor.take() else { return Vec::new() };
        let mut errors = Vec::new();
        for place in &self.places {
            let path = &made.path;
            if let Err(source) = prune::remove(place.base.as_fd(), path, || {}) {
                errors.push(CgroupError::Remove { path: place.path(path), source });
            }
        }
        self.remove_parents(&made);
        errors
    }

    /// Removes everything, the calling process leaving the monitor's cgroup for it. All errors of
    /// the way; what could be removed is.
    pub fn remove(&mut self) -> Vec<CgroupError> {
        let mut errors = self.remove_payload();
        errors.extend(self.leave_monitor(Placed::Nowhere));
        errors.extend(self.remove_monitor());
        errors
    }

    /// Parents are shared with other containers: those that are in use stay.
    fn remove_parents(&self, made: &Made) {
        for (at, path) in made.parents.iter().rev() {
            if let Some(place) = self.places.get(*at) {
                let _in_use_or_gone = rmdir_at(place.base.as_fd(), path);
            }
        }
    }

    /// Leaves everything in place when dropped.
    pub fn disarm(mut self) {
        self.payload = None;
        self.monitor = None;
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        let left = self.monitor.is_some() || self.payload.is_some();
        if left && process::own_pid() == self.owner {
            for error in self.remove() {
                log::debug!("{error}");
            }
        }
    }
}

fn below_mount(place: &Place, path: &str) -> String {
    format!("/{}", join(&place.hierarchy.base, path))
}

fn delegate(place: &Place, path: &str) -> Option<(PathBuf, SysError)> {
    let failed = v2::delegate(place.base.as_fd(), path, &place.hierarchy.controllers).err()?;
    Some((place.path(path), failed))
}

/// What a new cgroup needs before processes or children can use it.
fn after_mkdir(place: &Place, path: &str) -> Result<(), CgroupError> {
    if !place.is_cpuset_v1() {
        return Ok(());
    }
    let fail = |source| CgroupError::Prepare { path: place.path(path), source };
    let base = place.base.as_fd();
    // The nearest ancestor that is filled: one that another tool made may not be.
    let mut ancestor = path;
    let filled = loop {
        ancestor = ancestor.rsplit_once('/').map_or("", |(parent, _)| parent);
        if ancestor.is_empty() {
            if place.cpuset.get().is_none() {
                let _only_once = place.cpuset.set(Cpuset::read(base, "").map_err(fail)?);
            }
            break place.cpuset.get().cloned().unwrap_or_default();
        }
        let found = Cpuset::read(base, ancestor).map_err(fail)?;
        if found.is_filled() {
            break found;
        }
    };
    let unfilled = path.match_indices('/').map(|(end, _)| &path[..end]);
    for parent in unfilled.filter(|p| p.len() > ancestor.len()) {
        filled.write(base, parent).map_err(fail)?;
    }
    filled.write(base, path).map_err(fail)
}

/// mkdir -p below the base; existing ones are fine.
fn make_all(place: &Place, path: &str) -> Result<(), CgroupError> {
    if path.is_empty() || v1::exists(place.base.as_fd(), path) {
        return Ok(());
    }
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    for end in ends {
        let part = &path[..end];
        match mkdir_at(place.base.as_fd(), part, MODE) {
            Ok(()) => after_mkdir(place, part)?,
            Err(e) if e.is(EEXIST) => {}
            Err(source) => return Err(CgroupError::Create { path: place.path(part), source }),
        }
    }
    Ok(())
}

fn enter_self(place: &Place, path: &str, placed: Placed) -> Result<(), CgroupError> {
    let done = match (place.is_v2(), placed) {
        (true, Placed::InUnified) => return Ok(()),
        (true, Placed::Nowhere) => {
            fd::write_at(place.base.as_fd(), &join(path, "cgroup.procs"), b"0")
        }
        (false, _) => v1::enter_self(place.base.as_fd(), path),
    };
    done.map_err(|source| CgroupError::Enter { path: place.path(path), source })
}

fn enter(place: &Place, path: &str, pid: Pid, placed: Placed) -> Result<(), CgroupError> {
    if place.is_v2() && placed == Placed::InUnified {
        return Ok(());
    }
    fd::write_at(place.base.as_fd(), &join(path, "cgroup.procs"), pid.to_string().as_bytes())
        .map_err(|source| CgroupError::Enter { path: place.path(path), source })
}
