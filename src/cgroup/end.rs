//! The end of a container's cgroups: kill what is left, remove everything, leave.

use super::error::{CgroupError, Fault};
use super::place::{Inside, Place, Placed};
use super::plan::CgroupPlan;
use super::prune::{self, Patience};
use super::tree::{CgroupTree, Made, candidates, remove_left_over};
use crate::sys::dir::{exists_at, rmdir_at};
use crate::sys::{cradle, process};
use crate::util::sentence::sentence;
use std::time::Duration;

/// How long processes may take to die of SIGKILL, all hierarchies together.
const FOR_KILLED: Duration = Duration::from_secs(5);
/// How long a monitor may take to be gone.
const FOR_LEAVING: Duration = Duration::from_secs(1);

/// Removes the empty cgroups that a killed monitor left behind, waiting up to `patience` for
/// processes that are still dying. Cgroups that are in use stay.
pub fn remove_leftovers(plan: &CgroupPlan, patience: Duration) {
    let places = plan.hierarchies.iter().filter_map(|hierarchy| Place::open(hierarchy).ok());
    let places: Vec<Place> = places.collect();
    for name in [&plan.payload, &plan.monitor] {
        for (number, path) in candidates(name).enumerate() {
            if number > 0 && !places.iter().any(|place| place.exists(&path)) {
                break;
            }
            remove_left_over(&places, &path, patience);
        }
    }
}

impl CgroupTree {
    /// Sends SIGKILL to everything in the payload, without waiting.
    pub fn kill(&self) -> Vec<CgroupError> {
        let mut errors: Vec<CgroupError> = self.thaw_v1().into_iter().collect();
        let unified = self.places.iter().find(|p| p.is_v2());
        // Each has all processes that nobody moved; the second look is for kernels before 5.14.
        let any_v1 = self.places.iter().find(|p| !p.is_v2());
        for place in [unified, any_v1].into_iter().flatten() {
            errors.extend(self.kill_in(place));
        }
        errors
    }

    /// A v1 freezer holds its tasks even against SIGKILL.
    fn thaw_v1(&self) -> Option<CgroupError> {
        self.v1_at("freezer").and_then(|_| self.freezer())?.request(false).err()
    }

    fn kill_in(&self, place: &Place) -> Option<CgroupError> {
        let path = self.limit_path_below();
        let source = prune::kill(place.base(), path, place.is_v2()).err()?;
        Some(Box::new(Fault::Kill { path: place.path(path), source }))
    }

    /// Removes the payload with everything in it; what still runs there is killed first.
    pub fn remove_payload(&mut self) -> Vec<CgroupError> {
        self.unified_payload = None;
        self.program = None;
        let mut errors = Vec::new();
        let mut patience = Patience::new(FOR_KILLED);
        let mut thawed = false;
        let path = self.limit_path_below();
        for place in self.places.iter().rev().filter(|_| self.payload.is_some()) {
            let kill = || {
                if !std::mem::replace(&mut thawed, true) {
                    errors.extend(self.thaw_v1());
                }
                errors.extend(self.kill_in(place));
            };
            if let Err(source) = prune::remove(place.base(), path, &mut patience, kill) {
                errors.push(Box::new(Fault::Remove { path: place.path(path), source }));
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
        cradle::set(None);
        let placed = match self.inside.replace(Inside::Nowhere) {
            Inside::V1 => Placed::InUnified,
            _ => placed,
        };
        let leave = |place: &Place| {
            let path = self.pivot_of(place);
            place.make_all(path).and_then(|()| place.enter_self(path, placed)).err()
        };
        self.places.iter().filter_map(leave).collect()
    }

    /// The path to leave to: the base itself, where processes may stay. A v2 cgroup with
    /// controllers enabled for its children takes no processes unless it is the root, which is
    /// the one without a cgroup.events.
    pub(super) fn pivot_of(&self, place: &Place) -> &str {
        let free = !place.is_v2() || !exists_at(place.base(), "cgroup.events");
        if free && !self.plan.pivot_wanted { "" } else { &self.plan.pivot }
    }

    /// Removes the monitor's cgroup, which must have been left. A process that is on its way out
    /// is waited for; one that stays (a hook's daemon) is moved where the monitor went.
    pub fn remove_monitor(&mut self) -> Vec<CgroupError> {
        let Some(made) = self.monitor.take() else { return Vec::new() };
        let mut errors = Vec::new();
        let mut patience = Patience::new(FOR_LEAVING);
        for place in self.places.iter().rev() {
            let path = &made.path;
            let evict = || {
                let to = self.pivot_of(place);
                let ready = place.make_all(to);
                let moved = ready.map(|()| prune::listed(place.base(), path).unwrap_or_default());
                for pid in moved.unwrap_or_default() {
                    let _gone_meanwhile = place.enter(to, pid, Placed::Nowhere);
                }
            };
            if let Err(source) = prune::remove(place.base(), path, &mut patience, evict) {
                errors.push(Box::new(Fault::Remove { path: place.path(path), source }));
            }
        }
        self.remove_parents(&made);
        errors
    }

    /// Removes everything, the calling process leaving the monitor's cgroup for it if it is
    /// there. All errors of the way; what could be removed is.
    pub fn remove(&mut self) -> Vec<CgroupError> {
        let mut errors = self.remove_payload();
        if self.inside.get() != Inside::Nowhere {
            errors.extend(self.leave_monitor(Placed::Nowhere));
        }
        errors.extend(self.remove_monitor());
        errors
    }

    /// Parents are shared with other containers: those that are in use stay.
    pub(super) fn remove_parents(&self, made: &Made) {
        for (at, path) in made.parents.iter().rev() {
            if let Some(place) = self.places.get(*at) {
                let _in_use_or_gone = rmdir_at(place.base(), path);
            }
        }
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        let left = self.monitor.is_some() || self.payload.is_some();
        if left && process::own_pid() == self.owner {
            for error in self.remove() {
                log::debug!("{}", sentence(&error));
            }
        }
    }
}
