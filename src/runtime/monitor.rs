//! The event loop of the supervising process.

use super::plan::StartPlan;
use super::start::Live;
use super::sync::{During, Failure, Step};
use crate::cgroup::CgroupTree;
use crate::control::state::State;
use crate::sys::process::Wait;
use std::os::fd::OwnedFd;

/// The loop.
pub struct Monitor {
    listener: Option<OwnedFd>,
}

impl Monitor {
    /// New.
    pub fn new(_plan: &StartPlan, listener: OwnedFd) -> Result<Self, Failure> {
        Ok(Self { listener: Some(listener) })
    }
    /// State.
    pub fn set_state(&mut self, _state: State) {}
    /// Close.
    pub fn close(&mut self) {
        self.listener = None;
    }
    /// Run.
    pub fn run(
        &mut self,
        _plan: &StartPlan,
        live: &mut Live,
        _cgroups: &mut CgroupTree,
    ) -> Result<Wait, Failure> {
        live.init.wait().during(Step::Running)
    }
}
