//! The server while there is no container to be asked: it is being made or taken down, and whoever
//! does that is waiting for a hook, for a process or for the kernel (`sys::meanwhile`).
//!
//! The state and the names are told at once. During a start all other requests wait until the
//! container runs, as with LXC's monitors; at the end there is nothing more to be had.

use super::client::Message;
use super::{Container, Server, State, Terminals, Which};
use crate::control::proto::{CgroupInfo, ConsoleLog, DeviceRule, Layout, Opcode, Request};
use crate::sys::errno;
use crate::sys::meanwhile::Service;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

impl Service for Server {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.is_alone().then(|| self.as_fd())
    }

    fn serve(&mut self) {
        let Some(mut nobody) = self.nobody.take() else { return };
        if let Err(e) = self.rounds(&mut *nobody, &mut NoTerminals) {
            log::error!("command socket: {e}");
        }
        self.nobody = Some(nobody);
    }
}

impl Server {
    /// True before the container is RUNNING and after.
    pub(super) fn is_alone(&self) -> bool {
        !matches!(self.state, State::Running | State::Freezing | State::Frozen | State::Thawed)
    }

    /// True for a request that only a container that runs can answer, while it starts or is between
    /// two boots.
    pub(super) fn must_wait(&self, message: &Message) -> bool {
        let starts = match self.state {
            State::Starting => true,
            State::Stopped => self.listener.is_some(),
            _ => false,
        };
        use Opcode::{GetLxcpath, GetName, GetState};
        let told = matches!(
            message.request,
            Ok(Request::Plain(GetState | GetName | GetLxcpath) | Request::States(_)) | Err(_)
        );
        starts && !told
    }

    /// Who was admitted while the container's processes could not be told from others is looked at
    /// once more when they can.
    pub(super) fn admit_again(&mut self, at: usize, container: &dyn Container) {
        if self.is_alone() || !self.clients[at].alone {
            return;
        }
        let client = &mut self.clients[at];
        client.alone = false;
        client.admitted &= self.gate.admits_peer(client.fd.as_fd(), client.peer, container);
    }
}

/// What is known of a container that is not there.
pub(super) struct Nobody {
    name: String,
    lxcpath: PathBuf,
}

impl Nobody {
    pub(super) fn new(lxcpath: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), lxcpath: lxcpath.to_path_buf() }
    }
}

impl Container for Nobody {
    fn name(&self) -> &str {
        &self.name
    }

    fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    fn init_pid(&self) -> Option<i32> {
        None
    }

    fn init_pidfd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn clone_flags(&self) -> u32 {
        0
    }

    fn config_item(&self, _: &str) -> Option<String> {
        None
    }

    fn cgroup_path(&self, _: Option<&str>, _: Which) -> Option<String> {
        None
    }

    fn cgroup_fd(&self, _: &str, _: Which) -> Option<(OwnedFd, CgroupInfo)> {
        None
    }

    fn cgroup2_fd(&self, _: Which) -> Option<OwnedFd> {
        None
    }

    fn cgroups(&self) -> (CgroupInfo, Vec<OwnedFd>) {
        let info = CgroupInfo { layout: Layout::Unified, devices: false, freezer: false, v2: true };
        (info, Vec::new())
    }

    fn holds(&self, _: i32) -> bool {
        false
    }

    /// It ends already: that is waited for.
    fn stop(&mut self) -> Result<(), i32> {
        Ok(())
    }

    fn request_freeze(&mut self, _: bool) -> Result<(), i32> {
        Err(errno::EINVAL)
    }

    fn freeze_reached(&self, _: bool) -> Result<bool, i32> {
        Err(errno::EINVAL)
    }

    fn add_device_rule(&mut self, _: DeviceRule) -> Result<(), i32> {
        Err(errno::EINVAL)
    }

    fn devpts_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn seccomp_notify_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn add_seccomp_listener(&mut self, _: OwnedFd) -> Result<(), i32> {
        Err(errno::EINVAL)
    }
}

/// They went with the boot that had them.
struct NoTerminals;

impl Terminals for NoTerminals {
    fn reserve(&mut self, _: i32, _: u32) -> Result<(i32, OwnedFd), i32> {
        Err(errno::EBADF)
    }

    fn release(&mut self, _: u32) {}

    fn console_log(&mut self, _: ConsoleLog) -> Result<Vec<u8>, i32> {
        Err(errno::ENODATA)
    }
}
