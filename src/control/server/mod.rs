//! The answering side of the command socket: an epoll set of its own inside the monitor's, a small
//! state machine per client, and the list of those who wait for a state.
//!
//! Nothing a client does can make the monitor sleep: sockets are non-blocking, unread answers stay
//! with their client, a freeze is asked for and looked after again. Who may ask is decided in
//! `admit`, what is answered in `answer`, and in `alone` while the container is made or taken down.
//! Start reading at [`Server::serve`].

mod admit;
mod alone;
mod answer;
mod client;
#[cfg(test)]
mod tests;

pub use admit::Gate;

use self::alone::Nobody;
use self::client::{Client, Phase};
use super::address;
use super::proto::{CgroupInfo, ConsoleLog, DeviceRule, encode_reply};
use super::state::{Notice, State, notify_monitord};
use crate::sys::event::{Epoll, Event, Ready};
use crate::sys::{Result, errno, unix};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Clients that may ask something, at once.
const MAX_CLIENTS: usize = 128;
/// Clients that may not and have not been told yet.
const MAX_STRANGERS: usize = 8;
/// Requests of one client that are answered before others get a turn.
const REQUESTS_AT_ONCE: usize = 16;
/// Rounds of events before the rest of the monitor gets a turn.
const ROUNDS: usize = 4;
/// As LXC's.
const BACKLOG: i32 = 100;
/// The listener's token; clients count from 1.
const LISTENER: u64 = 0;

/// Which of a container's two cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one its processes are in.
    Payload,
    /// The one that holds the limits; often the same.
    Limit,
}

/// What the server asks about the container. Errors are error numbers, as the client gets them.
pub trait Container {
    /// Its name.
    fn name(&self) -> &str;
    /// Its container path.
    fn lxcpath(&self) -> &Path;
    /// Init's pid, while there is one.
    fn init_pid(&self) -> Option<i32>;
    /// Init's pidfd, where the kernel has them.
    fn init_pidfd(&self) -> Option<BorrowedFd<'_>>;
    /// The CLONE_NEW flags of the container's own namespaces.
    fn clone_flags(&self) -> u32;
    /// A configuration value as lxc-info -c prints it; `None` if unset or unknown.
    fn config_item(&self, key: &str) -> Option<String>;
    /// New values of a key, for the boot after the next reboot: the key, and a line for each.
    fn set_config_item(&mut self, _item: &str) -> std::result::Result<(), i32> {
        Err(errno::ENOSYS)
    }
    /// The cgroup path in a controller's hierarchy (`None`: the first), from the hierarchy's root.
    fn cgroup_path(&self, controller: Option<&str>, which: Which) -> Option<String>;
    /// The cgroup directory in a controller's hierarchy.
    fn cgroup_fd(&self, controller: &str, which: Which) -> Option<(OwnedFd, CgroupInfo)>;
    /// The cgroup2 directory, but only on a host without version 1: LXC's tools take an answer
    /// to mean that no other cgroup matters.
    fn cgroup2_fd(&self, which: Which) -> Option<OwnedFd>;
    /// One directory per hierarchy.
    fn cgroups(&self) -> (CgroupInfo, Vec<OwnedFd>);
    /// True if the host process `pid` belongs to the container (by its cgroup). Only asked when
    /// its namespaces do not tell, for a container that shares the host's.
    fn holds(&self, pid: i32) -> bool;
    /// Sends init the stop signal and thaws the container.
    fn stop(&mut self) -> std::result::Result<(), i32>;
    /// Asks the kernel to freeze or thaw, without waiting.
    fn request_freeze(&mut self, frozen: bool) -> std::result::Result<(), i32>;
    /// Whether that has happened.
    fn freeze_reached(&self, frozen: bool) -> std::result::Result<bool, i32>;
    /// Adds a rule to the device program.
    fn add_device_rule(&mut self, rule: DeviceRule) -> std::result::Result<(), i32>;
    /// The root of the container's devpts.
    fn devpts_fd(&self) -> Option<BorrowedFd<'_>>;
    /// The seccomp notify descriptor.
    fn seccomp_notify_fd(&self) -> Option<BorrowedFd<'_>>;
    /// Takes over the notify descriptor of an attached process.
    fn add_seccomp_listener(&mut self, notify: OwnedFd) -> std::result::Result<(), i32>;
    /// The systemd scope it runs in.
    fn systemd_scope(&self) -> Option<String> {
        None
    }
}

/// What the server asks about the container's terminals. `client` tells holders apart.
pub trait Terminals {
    /// Reserves a terminal (0 the console, -1 the first free one): its number and master.
    fn reserve(&mut self, number: i32, client: u32) -> std::result::Result<(i32, OwnedFd), i32>;
    /// Frees what `client` has reserved, if anything.
    fn release(&mut self, client: u32);
    /// Reads or clears the console's ring buffer.
    fn console_log(&mut self, what: ConsoleLog) -> std::result::Result<Vec<u8>, i32>;
    /// What the ring buffer has, and a socket that gives what comes.
    fn follow_console(&mut self) -> std::result::Result<(Vec<u8>, OwnedFd), i32> {
        Err(errno::ENOSYS)
    }
}

/// The command socket with its clients, and the container's state.
pub struct Server {
    listener: Option<OwnedFd>,
    epoll: Epoll,
    gate: Gate,
    name: String,
    fifo: Option<PathBuf>,
    state: State,
    clients: Vec<Client>,
    next_id: u32,
    freeze: Option<Freezing>,
    /// For as long as there is no container to be asked; lent out while it answers.
    nobody: Option<Box<Nobody>>,
}

/// A freeze or thaw that is under way.
struct Freezing {
    frozen: bool,
    /// When to look next, and how long to wait after that.
    next: Instant,
    pause: Duration,
    /// Clients waiting for it, with the end of their patience.
    waiting: Vec<(u32, Option<Instant>)>,
}

impl Server {
    /// Takes the command socket's name. EADDRINUSE: the container is running.
    pub fn bind(lxcpath: &Path, name: &str) -> Result<Self> {
        let listener = unix::listen_abstract(&address::command_socket(lxcpath, name), BACKLOG)?;
        let epoll = Epoll::new()?;
        epoll.add(listener.as_fd(), LISTENER, Ready::READ)?;
        Ok(Self {
            listener: Some(listener),
            epoll,
            gate: Gate::default(),
            name: name.to_owned(),
            fifo: None,
            state: State::Stopped,
            clients: Vec::new(),
            next_id: 1,
            freeze: None,
            nobody: Some(Box::new(Nobody::new(lxcpath, name))),
        })
    }

    /// Has state changes also written to the fifo of LXC's lxc-monitord.
    pub fn set_monitord_fifo(&mut self, fifo: PathBuf) {
        self.fifo = Some(fifo);
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Enters a state and tells everybody who waits for it. [`State::Thawed`] is announced and
    /// followed by [`State::Running`].
    pub fn set_state(&mut self, state: State) {
        log::info!("the container is {state}");
        self.state = state;
        self.announce(Notice::State(state));
        let name = &self.name;
        self.clients.retain(|client| match &client.phase {
            Phase::Watching(wanted) if wanted[state as usize] != 0 => {
                // The connection is fresh and empty: the message fits, or the client is gone.
                let message = Notice::State(state).encode(name);
                let done =
                    unix::send(client.fd.as_fd(), &message, &[], None, unix::Block::DontWait);
                match done {
                    Ok(_) => log::debug!("client {} told of {state}", client.id),
                    Err(e) => log::debug!("client {} not told of {state}: {e}", client.id),
                }
                false
            }
            _ => true,
        });
        if state == State::Thawed {
            self.set_state(State::Running);
        }
    }

    /// Tells lxc-monitord the wait status that init ended with.
    pub fn announce_exit(&mut self, status: i32) {
        self.announce(Notice::ExitStatus(status));
    }

    fn announce(&self, notice: Notice) {
        if let Some(fifo) = &self.fifo {
            if let Err(e) = notify_monitord(fifo, &self.name, notice) {
                log::debug!("lxc-monitord was not told: {e}");
            }
        }
    }

    /// Before a reboot: everybody is disconnected but those who asked to be told of the next
    /// RUNNING, also after a reboot (LXC's value 2).
    pub fn keep_for_reboot(&mut self, terminals: &mut dyn Terminals) {
        self.freeze = None;
        self.clients.retain(|client| {
            let keep = matches!(&client.phase,
                Phase::Watching(wanted) if wanted[State::Running as usize] == 2);
            if !keep {
                terminals.release(client.id);
            }
            keep
        });
    }

    /// Gives up the socket's name, so the container is STOPPED for everybody who asks; lxc-monitord
    /// is told. The clients that are still connected learn it from the end of their connections,
    /// when the server is dropped.
    pub fn close_socket(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Other processes (hooks) never have it, so closing ends it; epoll forgets it too.
            drop(self.epoll.delete(listener.as_fd()));
            self.state = State::Stopped;
            self.announce(Notice::State(State::Stopped));
        }
    }

    /// How long the loop may sleep before [`Server::serve`] wants to be called again.
    pub fn timeout(&self) -> Option<Duration> {
        if self.clients.iter().any(|client| client.held.is_some()) {
            return Some(Duration::ZERO);
        }
        Some(self.freeze.as_ref()?.next.saturating_duration_since(Instant::now()))
    }

    /// Does whatever there is to do now; never sleeps. Call it when the server is readable
    /// ([`AsFd`]) or [`Server::timeout`] has passed.
    pub fn serve(
        &mut self,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> Result<()> {
        self.rounds(container, terminals)?;
        // Who did not wait for it is gone by now.
        let held = self.clients.iter().filter(|c| c.held.is_some()).map(|c| c.id.into());
        for id in held.collect::<Vec<u64>>() {
            self.client_ready(id, Ready::READ, container, terminals);
        }
        self.watch_freeze(container, terminals);
        Ok(())
    }

    fn rounds(
        &mut self,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> Result<()> {
        let mut events = [Event::EMPTY; 8];
        for _ in 0..ROUNDS {
            let n = self.epoll.wait(&mut events, Some(Duration::ZERO))?;
            for event in &events[..n] {
                match event.token {
                    LISTENER => self.accept(container, terminals)?,
                    id => self.client_ready(id, event.ready, container, terminals),
                }
            }
            if n < events.len() {
                break;
            }
        }
        Ok(())
    }

    fn accept(&mut self, container: &dyn Container, terminals: &mut dyn Terminals) -> Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let fd = match unix::accept(listener.as_fd()) {
            Ok(Some(fd)) => fd,
            Ok(None) => return Ok(()),
            // Out of descriptors: level-triggered, so let go of the longest idle client rather
            // than spin.
            Err(e) if e.is(errno::EMFILE) || e.is(errno::ENFILE) || e.is(errno::ENOMEM) => {
                self.evict(terminals, |_| true);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let Ok(peer) = unix::peer_creds(fd.as_fd()) else { return Ok(()) };
        let admitted = self.gate.admits_peer(fd.as_fd(), peer, container);
        let same = self.clients.iter().filter(|c| c.admitted == admitted).count();
        if same >= if admitted { MAX_CLIENTS } else { MAX_STRANGERS }
            && !self.evict(terminals, |c| c.admitted == admitted)
        {
            return Ok(());
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1).max(1);
        match self.epoll.add(fd.as_fd(), id.into(), Ready::READ) {
            Ok(()) => {
                let mut client = Client::new(id, fd, peer, admitted);
                client.alone = self.is_alone();
                self.clients.push(client);
            }
            Err(e) => log::debug!("client dropped: {e}"),
        }
        Ok(())
    }

    /// Drops the oldest of those that have nothing under way; false if there is none.
    fn evict(&mut self, terminals: &mut dyn Terminals, which: impl Fn(&Client) -> bool) -> bool {
        let idle =
            |c: &Client| matches!(c.phase, Phase::Reading(_)) && c.held.is_none() && which(c);
        match self.clients.iter().position(idle) {
            Some(at) => {
                self.remove(at, terminals);
                true
            }
            None => false,
        }
    }

    fn remove(&mut self, at: usize, terminals: &mut dyn Terminals) {
        let client = self.clients.remove(at);
        terminals.release(client.id);
        if let Some(freeze) = &mut self.freeze {
            freeze.waiting.retain(|(id, _)| *id != client.id);
        }
    }

    fn client_ready(
        &mut self,
        token: u64,
        ready: Ready,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) {
        // Not found: closed earlier in the same round.
        let Some(at) = self.clients.iter().position(|c| u64::from(c.id) == token) else { return };
        if self.step(at, ready, container, terminals).is_err() {
            self.remove(at, terminals);
        }
    }

    /// Moves one client on as far as it goes; `Err` ends its connection.
    fn step(
        &mut self,
        at: usize,
        ready: Ready,
        container: &mut dyn Container,
        terminals: &mut dyn Terminals,
    ) -> std::result::Result<(), client::Gone> {
        if ready.write {
            self.clients[at].flush()?;
            self.update_interest(at);
        }
        if !ready.read && !ready.hangup {
            return Ok(());
        }
        self.admit_again(at, container);
        // Several requests may have been sent at once. Not all in one go: others wait, too.
        for _ in 0..REQUESTS_AT_ONCE {
            let client = &mut self.clients[at];
            if ready.hangup && client.held.is_some() {
                return Err(client::Gone);
            }
            let held = client.held.take();
            let Some(message) = held.map_or_else(|| client.read(), |m| Ok(Some(m)))? else { break };
            if self.must_wait(&message) {
                self.clients[at].held = Some(message);
                break;
            }
            let Client { id, peer, admitted, .. } = self.clients[at];
            let admitted = admitted && self.gate.admits_sender(message.creds, peer, container);
            let next = match admitted {
                true => self.answer(at, message, container, terminals)?,
                false => {
                    self.clients[at].queue(encode_reply(-errno::EPERM, 0, &[]), Vec::new())?;
                    self.clients[at].phase = Phase::Closing;
                    None
                }
            };
            if let Some(phase) = next {
                self.clients[at].phase = phase;
            }
            log::debug!("client {id} is now {}", self.clients[at].phase.name());
            if matches!(self.clients[at].phase, Phase::Closing) && !self.clients[at].unsent() {
                return Err(client::Gone);
            }
        }
        self.update_interest(at);
        Ok(())
    }

    fn update_interest(&mut self, at: usize) {
        let client = &mut self.clients[at];
        // Not both: a client that asks on without reading would wake us for ever.
        let interest = match (client.unsent(), &client.held) {
            (true, _) => Ready::WRITE,
            (false, Some(_)) => Ready::NONE,
            (false, None) => Ready::READ,
        };
        if client.interest != interest {
            client.interest = interest;
            if let Err(e) = self.epoll.modify(client.fd.as_fd(), client.id.into(), interest) {
                log::debug!("client {}: {e}", client.id);
            }
        }
    }

    /// Looks after a freeze or thaw under way.
    fn watch_freeze(&mut self, container: &mut dyn Container, terminals: &mut dyn Terminals) {
        let Some(freeze) = &mut self.freeze else { return };
        let now = Instant::now();
        if now < freeze.next {
            return;
        }
        let frozen = freeze.frozen;
        match container.freeze_reached(frozen) {
            Ok(true) => {
                self.freeze_done(0, terminals);
                self.set_state(if frozen { State::Frozen } else { State::Thawed });
            }
            Ok(false) => {
                freeze.next = now + freeze.pause;
                freeze.pause = (freeze.pause * 2).min(Duration::from_millis(50));
                let late = |(_, until): &(u32, Option<Instant>)| until.is_some_and(|t| t <= now);
                let over: Vec<u32> =
                    freeze.waiting.iter().filter(|w| late(w)).map(|(id, _)| *id).collect();
                freeze.waiting.retain(|w| !late(w));
                let abandoned = !over.is_empty() && freeze.waiting.is_empty();
                over.into_iter().for_each(|id| self.finish(id, -errno::ETIMEDOUT, terminals));
                if abandoned && frozen {
                    // Nobody waits for it any more; half-frozen helps nobody.
                    self.abandon_freeze(container, terminals);
                }
            }
            Err(number) => {
                self.freeze_done(-number, terminals);
                if frozen {
                    self.abandon_freeze(container, terminals);
                }
            }
        }
    }

    fn abandon_freeze(&mut self, container: &mut dyn Container, terminals: &mut dyn Terminals) {
        if let Err(number) = container.request_freeze(false) {
            log::debug!("thaw after a failed freeze: error {number}");
        }
        self.freeze_done(-errno::ETIMEDOUT, terminals);
        self.set_state(State::Thawed);
    }

    fn freeze_done(&mut self, ret: i32, terminals: &mut dyn Terminals) {
        let waiting = self.freeze.take().map(|f| f.waiting).unwrap_or_default();
        waiting.into_iter().for_each(|(id, _)| self.finish(id, ret, terminals));
    }

    /// The late answer to a client that has waited.
    fn finish(&mut self, id: u32, ret: i32, terminals: &mut dyn Terminals) {
        let Some(at) = self.clients.iter().position(|c| c.id == id) else { return };
        let client = &mut self.clients[at];
        client.phase = Phase::reading();
        match client.queue(encode_reply(ret, 0, &[]), Vec::new()) {
            Ok(()) => self.update_interest(at),
            Err(client::Gone) => self.remove(at, terminals),
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
