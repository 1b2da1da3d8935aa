//! What each command is answered. Every arm ends in a reply, or in the phase in which the client
//! waits for one.

use super::client::{Gone, Message, Phase};
use super::{Container, Freezing, Server, Terminals, Which};
use crate::control::proto::{FrameError, Opcode, Request, encode_reply};
use crate::control::state::{COUNT, State};
use crate::sys::errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// `ret`, or the phase in which the client stays without one.
type Answer = Result<Option<Phase>, Gone>;

impl Server {
    /// Answers one request; the phase the client changes to, if it does.
    pub(super) fn answer(
        &mut self,
        at: usize,
        message: Message,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> Answer {
        let request = match message.request {
            Ok(request) => request,
            Err(FrameError::UnknownCommand(_)) => {
                self.clients[at].reply(-errno::ENOSYS)?;
                return Ok(Some(Phase::Closing));
            }
            Err(_) => return self.status(at, Err(errno::EINVAL)),
        };
        match request {
            Request::Plain(Opcode::FollowConsole) => match terminals.follow_console() {
                Ok((bytes, stream)) => self.data(at, bytes, vec![stream]),
                Err(number) => self.status(at, Err(number)),
            },
            Request::Plain(op) => self.plain(at, op, container),
            Request::Number(op, n) => self.with_number(at, op, n, message.fd, container, terminals),
            Request::Text(op, text) => match op {
                Opcode::GetConfigItem => self.text(at, container.config_item(&text)),
                Opcode::GetLimitCgroup => {
                    self.text(at, container.cgroup_path(Some(&text), Which::Limit))
                }
                Opcode::SetConfigItem => self.status(at, container.set_config_item(&text)),
                _ => self.text(at, container.cgroup_path(Some(&text), Which::Payload)),
            },
            Request::States(wanted) => self.watch(at, wanted),
            Request::ConsoleLog(what) => match terminals.console_log(what) {
                Ok(bytes) => self.data(at, bytes, Vec::new()),
                Err(number) => self.status(at, Err(number)),
            },
            Request::Device(rule) => self.status(at, container.add_device_rule(rule)),
            Request::CgroupCtx(len) => {
                let (info, fds) = container.cgroups();
                match fds.is_empty() {
                    true => self.status(at, Err(errno::ENOENT)),
                    false => self.data(at, info.encode_ctx(fds.len(), len), fds),
                }
            }
            Request::CgroupFd(op, controller, len) => {
                let which = match op {
                    Opcode::GetLimitCgroupFd => Which::Limit,
                    _ => Which::Payload,
                };
                match container.cgroup_fd(&controller, which) {
                    Some((fd, info)) => self.data(at, info.encode_fd(&controller, len), vec![fd]),
                    None => self.status(at, Err(errno::ENOENT)),
                }
            }
        }
    }

    fn plain(&mut self, at: usize, op: Opcode, container: &mut dyn Container) -> Answer {
        match op {
            Opcode::GetState => self.number(at, self.state.number()),
            Opcode::GetInitPid => self.number(at, container.init_pid().unwrap_or(0)),
            #[allow(clippy::cast_possible_wrap, reason = "the protocol carries flags as int")]
            Opcode::GetCloneFlags => self.number(at, container.clone_flags() as i32),
            Opcode::GetCgroup => self.text(at, container.cgroup_path(None, Which::Payload)),
            Opcode::GetLimitCgroup => self.text(at, container.cgroup_path(None, Which::Limit)),
            Opcode::GetName => self.text(at, Some(container.name().to_owned())),
            Opcode::GetLxcpath => {
                use std::os::unix::ffi::OsStrExt;
                let mut bytes = container.lxcpath().as_os_str().as_bytes().to_vec();
                bytes.push(0);
                self.data(at, bytes, Vec::new())
            }
            Opcode::GetSystemdScope => self.text(at, container.systemd_scope()),
            Opcode::GetCgroup2Fd => {
                self.fd(at, container.cgroup2_fd(Which::Payload), errno::EINVAL)
            }
            Opcode::GetLimitCgroup2Fd => {
                self.fd(at, container.cgroup2_fd(Which::Limit), errno::EINVAL)
            }
            Opcode::GetInitPidfd => self.fd(at, owned(container.init_pidfd()), errno::EBADF),
            Opcode::GetDevptsFd => self.fd(at, owned(container.devpts_fd()), errno::EBADF),
            Opcode::GetSeccompNotifyFd => {
                self.fd(at, owned(container.seccomp_notify_fd()), errno::EBADF)
            }
            // The client waits for the end of the connection.
            Opcode::Stop => match container.stop() {
                Ok(()) => Ok(Some(Phase::Holding)),
                Err(number) => self.status(at, Err(number)),
            },
            // Without effect, as in LXC.
            _ => self.status(at, Ok(())),
        }
    }

    fn with_number(
        &mut self,
        at: usize,
        op: Opcode,
        n: i32,
        fd: Option<OwnedFd>,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> Answer {
        match op {
            Opcode::GetTtyFd => match terminals.reserve(n, self.clients[at].id) {
                Ok((number, master)) => {
                    self.clients[at].queue(encode_reply(0, number, &[]), vec![master])?;
                    Ok(Some(Phase::Holding))
                }
                Err(number) => self.status(at, Err(number)),
            },
            Opcode::Freeze => self.freeze(at, true, n, container, terminals),
            Opcode::Unfreeze => self.freeze(at, false, n, container, terminals),
            // What a client may have brought about by itself, through the cgroup.
            Opcode::ServeStateClients => match State::from_number(n.into()) {
                Some(
                    state @ (State::Running | State::Freezing | State::Frozen | State::Thawed),
                ) if self.is_up() => {
                    self.set_state(state);
                    self.status(at, Ok(()))
                }
                _ => self.status(at, Err(errno::EINVAL)),
            },
            Opcode::SeccompNotifyAddListener => match fd {
                Some(fd) => self.status(at, container.add_seccomp_listener(fd)),
                None => self.status(at, Err(errno::EINVAL)),
            },
            _ => self.status(at, Err(errno::ENOSYS)),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Running | State::Freezing | State::Frozen)
    }

    /// LXC's `lxc_add_state_client`: present and wanted with 1 is answered at once, 2 waits for
    /// the next time.
    fn watch(&mut self, at: usize, wanted: [i32; COUNT]) -> Answer {
        let present = wanted[self.state as usize] == 1;
        let answer = if present { self.state.number() } else { COUNT as i32 };
        self.clients[at].queue(encode_reply(answer, answer, &[]), Vec::new())?;
        Ok((!present).then_some(Phase::Watching(wanted)))
    }

    fn freeze(
        &mut self,
        at: usize,
        frozen: bool,
        seconds: i32,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> Answer {
        if !self.is_up() {
            return self.status(at, Err(errno::EINVAL));
        }
        if self.freeze.as_ref().is_none_or(|f| f.frozen != frozen) {
            if let Err(number) = container.request_freeze(frozen) {
                return self.status(at, Err(number));
            }
            // Whoever waited for the opposite does not get it.
            self.freeze_done(-errno::EAGAIN, terminals);
            if frozen {
                self.set_state(State::Freezing);
            }
            self.freeze = Some(Freezing {
                frozen,
                next: Instant::now(),
                pause: Duration::from_millis(1),
                waiting: Vec::new(),
            });
        }
        // LXC: 0 does not wait, a negative time is for ever.
        if seconds == 0 {
            return self.status(at, Ok(()));
        }
        let until = u64::try_from(seconds)
            .ok()
            .and_then(|s| Instant::now().checked_add(Duration::from_secs(s)));
        let id = self.clients[at].id;
        if let Some(freeze) = &mut self.freeze {
            freeze.waiting.push((id, until));
        }
        Ok(Some(Phase::Freezing))
    }

    fn status(&mut self, at: usize, result: Result<(), i32>) -> Answer {
        self.clients[at].reply(result.map_or_else(|number| -number, |()| 0))?;
        Ok(None)
    }

    fn number(&mut self, at: usize, n: i32) -> Answer {
        self.clients[at].queue(encode_reply(0, n, &[]), Vec::new())?;
        Ok(None)
    }

    fn text(&mut self, at: usize, text: Option<String>) -> Answer {
        match text {
            Some(text) => {
                let mut bytes = text.into_bytes();
                bytes.push(0);
                self.data(at, bytes, Vec::new())
            }
            None => self.status(at, Err(errno::ENOENT)),
        }
    }

    fn data(&mut self, at: usize, data: Vec<u8>, fds: Vec<OwnedFd>) -> Answer {
        self.clients[at].queue(encode_reply(0, 0, &data), fds)?;
        Ok(None)
    }

    fn fd(&mut self, at: usize, fd: Option<OwnedFd>, otherwise: i32) -> Answer {
        match fd {
            Some(fd) => {
                self.clients[at].queue(encode_reply(0, 0, &[]), vec![fd])?;
                Ok(None)
            }
            None => self.status(at, Err(otherwise)),
        }
    }
}

fn owned(fd: Option<BorrowedFd<'_>>) -> Option<OwnedFd> {
    fd?.try_clone_to_owned().ok()
}
