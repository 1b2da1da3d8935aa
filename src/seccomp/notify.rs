//! Handing seccomp notifications to a proxy, for the monitor's event loop.
//!
//! The messages are those of LXC (`struct seccomp_notify_proxy_msg`), so its proxies serve. Unlike
//! LXC's handler, which waits up to 30 s for each answer, this one keeps any number of requests
//! open and never waits: a slow proxy holds up its caller, not the monitor. Everything hides
//! behind one pollable descriptor. Start reading at [`Notifier`].

use super::Proxy;
use crate::config::Origin;
use crate::sys::event::{Epoll, Event, Ready, Timer};
use crate::sys::fd::OpenFlags;
use crate::sys::procfs::ProcFs;
use crate::sys::seccomp::{self, NotifSizes};
use crate::sys::unix::{self, Block, Kind};
use crate::sys::{self, SysError, errno};
use crate::util::blame::Explain;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a proxy may take for an answer; then the call fails with ENOSYS.
const PATIENCE: Duration = Duration::from_secs(30);

/// The fixed part of a message: reserved word, pids of monitor and init, the kernel's three
/// struct sizes, length of the cookie.
const HEADER: usize = 32;

/// Where a proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAddress {
    /// `unix:/PATH`.
    Path(PathBuf),
    /// `unix:@NAME`: in the abstract namespace, without padding.
    Abstract(String),
}

/// Longest name that struct sockaddr_un holds, with its NUL or leading NUL.
const MAX_NAME: usize = 107;

impl ProxyAddress {
    /// Parses the value of `lxc.seccomp.notify.proxy`.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("unix:").filter(|name| name.len() <= MAX_NAME)?;
        match name.strip_prefix('@') {
            Some("") => None,
            Some(name) => Some(Self::Abstract(name.into())),
            None => name.starts_with('/').then(|| Self::Path(name.into())),
        }
    }

    fn connect(&self) -> sys::Result<OwnedFd> {
        match self {
            Self::Path(path) => unix::connect_path(Kind::SeqPacket, path),
            Self::Abstract(name) => seccomp::connect_abstract_proxy(name.as_bytes()),
        }
    }
}

/// The proxy or the kernel is not ready for notifications.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Nobody listens at the address.
    #[error("connecting to the seccomp proxy of lxc.seccomp.notify.proxy")]
    Connect {
        /// The failed call.
        #[source]
        source: SysError,
        /// Of the key.
        origin: Option<Origin>,
    },
    /// Another call that is needed.
    #[error("preparing seccomp notifications")]
    Prepare {
        /// The failed call.
        #[source]
        source: SysError,
    },
}

impl Explain for NotifyError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Connect { source, .. } | Self::Prepare { source } => Some(source.errno),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Connect { origin, .. } => origin.as_ref(),
            Self::Prepare { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { .. } => {
                Some("ss -xlp | grep v_seq; the proxy listens on a SOCK_SEQPACKET socket".into())
            }
            Self::Prepare { .. } => None,
        }
    }
}

/// A request that the proxy has not answered yet.
struct Pending {
    id: u64,
    listener: usize,
    until: Instant,
}

/// Whether the monitor goes on polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Yes.
    Open,
    /// No process is left that could notify.
    Ended,
}

const PROXY: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// The listeners of a container and its proxy. Poll [`Self::fd`] for reading, call
/// [`Self::on_readable`] then.
pub struct Notifier {
    epoll: Epoll,
    timer: Timer,
    proxy: Proxy,
    socket: Option<OwnedFd>,
    /// A listener that has ended leaves a hole, for the numbers of the others are tokens.
    listeners: Vec<Option<OwnedFd>>,
    sizes: NotifSizes,
    init_pid: i32,
    pending: Vec<Pending>,
    buffer: Vec<u64>,
}

impl Notifier {
    /// Connects to the proxy: before the container is made, so that a missing one is found then.
    /// `origin` is that of `lxc.seccomp.notify.proxy`.
    pub fn connect(proxy: &Proxy, origin: Option<&Origin>) -> Result<Self, NotifyError> {
        let prepare = |source| NotifyError::Prepare { source };
        let sizes = seccomp::notif_sizes().map_err(prepare)?;
        let epoll = Epoll::new().map_err(prepare)?;
        let timer = Timer::new().map_err(prepare)?;
        epoll.add(timer.as_fd(), TIMER, Ready::READ).map_err(prepare)?;
        let mut notifier = Self {
            epoll,
            timer,
            proxy: proxy.clone(),
            socket: None,
            listeners: Vec::new(),
            sizes,
            init_pid: 0,
            pending: Vec::new(),
            buffer: Vec::new(),
        };
        notifier
            .reconnect()
            .map_err(|source| NotifyError::Connect { source, origin: origin.cloned() })?;
        Ok(notifier)
    }

    /// The number that messages carry as init's.
    pub fn set_init_pid(&mut self, pid: i32) {
        self.init_pid = pid;
    }

    /// Takes a listener: init's, or that of an attached process (command
    /// SECCOMP_NOTIFY_ADD_LISTENER).
    pub fn add_listener(&mut self, listener: OwnedFd) -> Result<(), NotifyError> {
        let token = self.listeners.len() as u64;
        self.epoll
            .add(listener.as_fd(), token, Ready::READ)
            .map_err(|source| NotifyError::Prepare { source })?;
        self.listeners.push(Some(listener));
        Ok(())
    }

    /// Init's listener, for command GET_SECCOMP_NOTIFY_FD.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listeners.first()?.as_ref().map(AsFd::as_fd)
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Does whatever can be done without waiting. Failures are answered to the process that made
    /// the call (ENOSYS) and logged; none of them is the monitor's concern.
    pub fn on_readable(&mut self) -> State {
        let mut events = [Event::EMPTY; 8];
        let ready = match self.epoll.wait(&mut events, Some(Duration::ZERO)) {
            Ok(ready) => ready,
            Err(e) => {
                log::debug!("seccomp notifications: {e}");
                return State::Ended;
            }
        };
        for event in events.iter().take(ready) {
            match event.token {
                PROXY => self.take_answer(),
                TIMER => {
                    self.timer.take();
                }
                token => self.serve(usize::try_from(token).unwrap_or(usize::MAX), event.ready),
            }
        }
        self.give_up_late();
        if self.listeners.iter().all(Option::is_none) { State::Ended } else { State::Open }
    }

    fn serve(&mut self, index: usize, ready: Ready) {
        let Some(Some(listener)) = self.listeners.get(index) else { return };
        if !ready.read {
            if ready.hangup {
                // The last process under this filter is gone.
                let _ = self.epoll.delete(listener.as_fd());
                self.listeners[index] = None;
                self.pending.retain(|p| p.listener != index);
            }
            return;
        }
        let words = usize::from(self.sizes.notif).max(seccomp::MIN_NOTIF).div_ceil(8);
        self.buffer.resize(words, 0);
        if let Err(e) = seccomp::receive(listener.as_fd(), &mut self.buffer) {
            log::debug!("seccomp notification: {e}");
            return;
        }
        let id = self.buffer[0];
        match self.forward(index) {
            Ok(()) => {
                self.pending.push(Pending {
                    id,
                    listener: index,
                    until: Instant::now() + PATIENCE,
                });
                self.arm();
            }
            Err(e) => {
                log::debug!("seccomp notification {id:#x}: {e}");
                self.refuse(index, id);
            }
        }
    }

    /// Sends the notification in the buffer to the proxy, with descriptors of the caller's /proc
    /// directory, of its memory and of the listener.
    fn forward(&mut self, index: usize) -> sys::Result<()> {
        let gone = || SysError::new("poll", "listener", errno::ENOENT);
        let id = self.buffer[0];
        let pid = (self.buffer[1] & u64::from(u32::MAX)) as u32;
        let proc = ProcFs::open()?;
        let dir = proc.open_file(&pid.to_string(), OpenFlags::RDONLY | OpenFlags::DIRECTORY)?;
        let memory = proc.open_file(&format!("{pid}/mem"), OpenFlags::RDWR)?;
        let message = self.message();
        let mut retried = self.socket.is_none();
        if retried {
            self.reconnect()?;
        }
        loop {
            let listener = self.listeners.get(index).and_then(Option::as_ref).ok_or_else(gone)?;
            // The number may belong to another process by now; the id tells.
            seccomp::id_valid(listener.as_fd(), id)?;
            let fds = [dir.as_fd(), memory.as_fd(), listener.as_fd()];
            let socket = self.socket.as_ref().ok_or_else(gone)?;
            match unix::send(socket.as_fd(), &message, &fds, None, Block::DontWait) {
                Ok(_) => return Ok(()),
                // A proxy that was restarted; one that does not read has no room (EAGAIN).
                Err(e) if !retried && e.errno != errno::EAGAIN => {
                    retried = true;
                    self.reconnect()?;
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn message(&self) -> Vec<u8> {
        let cookie = self.proxy.cookie.as_deref().unwrap_or_default().as_bytes();
        let (notif, response) = (usize::from(self.sizes.notif), usize::from(self.sizes.response));
        let mut out = Vec::with_capacity(HEADER + notif + response + cookie.len());
        out.extend(0u64.to_ne_bytes());
        out.extend(std::process::id().to_ne_bytes());
        out.extend(self.init_pid.to_ne_bytes());
        for size in [self.sizes.notif, self.sizes.response, self.sizes.data, 0] {
            out.extend(size.to_ne_bytes());
        }
        out.extend((cookie.len() as u64).to_ne_bytes());
        out.extend(self.buffer.iter().flat_map(|word| word.to_ne_bytes()).take(notif));
        // The response is handed over with its id filled in.
        out.extend(self.buffer.first().copied().unwrap_or_default().to_ne_bytes());
        out.resize(HEADER + notif + response, 0);
        out.extend(cookie);
        out
    }

    fn take_answer(&mut self) {
        let Some(socket) = &self.socket else { return };
        let (notif, response) = (usize::from(self.sizes.notif), usize::from(self.sizes.response));
        let expected = HEADER + notif + response;
        let mut bytes = vec![0u8; expected];
        let received = unix::recv(socket.as_fd(), &mut bytes, 0, Block::DontWait);
        match received {
            Err(e) if e.errno == errno::EAGAIN => return,
            Ok(r) if r.len == expected && !r.truncated => {}
            Ok(r) if r.len > 0 => {
                log::debug!("seccomp proxy: an answer of {} bytes, not {expected}", r.len);
                return;
            }
            end => {
                if let Err(e) = end {
                    log::debug!("seccomp proxy: {e}");
                }
                self.hang_up();
                return;
            }
        }
        let words: Vec<u64> = bytes[HEADER + notif..]
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            })
            .collect();
        let id = words.first().copied().unwrap_or_default();
        let Some(at) = self.pending.iter().position(|p| p.id == id) else {
            log::debug!("seccomp proxy: an answer to {id:#x}, which nobody asked");
            return;
        };
        let pending = self.pending.swap_remove(at);
        self.arm();
        self.answer(pending.listener, words);
    }

    /// The proxy is gone: its open requests fail; the next one reconnects.
    fn hang_up(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = self.epoll.delete(socket.as_fd());
        }
        for pending in std::mem::take(&mut self.pending) {
            self.refuse(pending.listener, pending.id);
        }
    }

    fn reconnect(&mut self) -> sys::Result<()> {
        self.hang_up();
        let socket = self.proxy.address.connect()?;
        self.epoll.add(socket.as_fd(), PROXY, Ready::READ)?;
        self.socket = Some(socket);
        Ok(())
    }

    fn give_up_late(&mut self) {
        let now = Instant::now();
        while let Some(at) = self.pending.iter().position(|p| p.until <= now) {
            let late = self.pending.swap_remove(at);
            log::debug!("seccomp proxy: no answer to {:#x} in time", late.id);
            self.refuse(late.listener, late.id);
            self.arm();
        }
    }

    /// ENOSYS, as in LXC: the program's own fallback for an old kernel takes over.
    fn refuse(&mut self, index: usize, id: u64) {
        // struct seccomp_notif_resp: id, value, then error and flags in one word.
        let error = u64::from(-errno::ENOSYS as u32);
        self.answer(index, vec![id, 0, error]);
    }

    fn answer(&mut self, index: usize, mut words: Vec<u64>) {
        let size = usize::from(self.sizes.response).max(seccomp::MIN_RESPONSE).div_ceil(8);
        words.resize(size, 0);
        if let Some(Some(listener)) = self.listeners.get(index) {
            if let Err(e) = seccomp::respond(listener.as_fd(), &mut words) {
                log::debug!("answering a seccomp notification: {e}");
            }
        }
    }

    fn arm(&self) {
        let next = self.pending.iter().map(|p| p.until).min();
        let time = next.map(|at| at.saturating_duration_since(Instant::now()));
        if let Err(e) = self.timer.set(time) {
            log::debug!("seccomp notifications: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(ProxyAddress::parse("unix:/run/p"), Some(ProxyAddress::Path("/run/p".into())));
        assert_eq!(ProxyAddress::parse("unix:@p"), Some(ProxyAddress::Abstract("p".into())));
        let long = format!("unix:/{}", "x".repeat(107));
        for bad in ["/run/p", "unix:", "unix:@", "unix:run/p", "tcp:1", long.as_str()] {
            assert_eq!(ProxyAddress::parse(bad), None, "{bad}");
        }
    }
}
