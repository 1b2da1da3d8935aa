//! The monitor's half: passes bytes between the console and its peer, records them, and lends
//! the terminals out. An epoll set of its own inside the monitor's; nothing here sleeps.
//!
//! A pty's inner end stays open here as well, so that its master never hangs up while nobody in
//! the container has it open. Start reading at [`Terminals::serve`].

use super::TtyError;
use super::pipe::{Got, Pipe};
use super::record::{Followers, Record};
use crate::sys::event::{Epoll, Event, Ready};
use crate::sys::term::{self, Pty, RawMode, WinSize};
use crate::sys::{SysError, errno, stdstream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

const MASTER: u64 = 1;
const PEER: u64 = 2;

/// How long output waits for a peer that does not read. A console must not stop the programs that
/// print on it because somebody went away from his lxc-console.
const PATIENCE: Duration = Duration::from_secs(1);

/// Chunks that are moved before the rest of the monitor gets a turn.
const CHUNKS: usize = 64;

/// The console and the terminals of a running container.
pub struct Terminals {
    epoll: Epoll,
    console: Option<Console>,
    ttys: Vec<Tty>,
    /// Between two boots: who follows the console.
    followers: Followers,
}

struct Tty {
    pty: Pty,
    holder: Option<u32>,
}

struct Console {
    pty: Pty,
    record: Record,
    peer: Option<Peer>,
    /// From the container to the peer.
    output: Pipe,
    /// From the peer to the container.
    input: Pipe,
    /// Since when the peer has not taken its output.
    stalled: Option<Instant>,
    watched: Ready,
}

struct Peer {
    fd: OwnedFd,
    kind: PeerKind,
    watched: Ready,
    /// Output is thrown away until it reads again.
    lossy: bool,
    size: WinSize,
}

enum PeerKind {
    /// A terminal, restored when it is let go.
    Terminal { _raw: RawMode },
    /// The inner end of a pty whose outer end a client has.
    Client(u32),
}

impl Terminals {
    /// None yet.
    pub fn new() -> Result<Self, TtyError> {
        let epoll = Epoll::new().map_err(|source| TtyError::Loop { source })?;
        Ok(Self { epoll, console: None, ttys: Vec::new(), followers: Followers::default() })
    }

    /// Starts to attend to the console. `peer` is the terminal it is shown on; it is switched to
    /// raw mode and gives its size.
    pub fn set_console(
        &mut self,
        pty: Pty,
        mut record: Record,
        peer: Option<OwnedFd>,
    ) -> Result<(), TtyError> {
        record.followers = std::mem::take(&mut self.followers);
        let failed = |source| TtyError::Loop { source };
        stdstream::set_nonblocking(pty.master.as_fd()).map_err(failed)?;
        self.epoll.add(pty.master.as_fd(), MASTER, Ready::READ).map_err(failed)?;
        let mut console = Console {
            pty,
            record,
            peer: None,
            output: Pipe::new(),
            input: Pipe::new(),
            stalled: None,
            watched: Ready::READ,
        };
        if let Some(fd) = peer {
            let kind = PeerKind::Terminal { _raw: RawMode::enter(fd.as_fd()).map_err(failed)? };
            console.connect(&self.epoll, fd, kind).map_err(failed)?;
        }
        self.console = Some(console);
        Ok(())
    }

    /// Takes the container's ttys, number 1 first.
    pub fn set_ttys(&mut self, ttys: Vec<Pty>) {
        self.ttys = ttys.into_iter().map(|pty| Tty { pty, holder: None }).collect();
    }

    /// The number of the console's and the ttys' ptys in the container's devpts are of no use to
    /// a monitor that has ended one run: takes everything down. The last words of the container
    /// are recorded and shown, a terminal gets its settings back. To be called before a reboot
    /// and at the end.
    pub fn finish(&mut self) {
        if let Some(console) = &mut self.console {
            for _ in 0..CHUNKS {
                if !console.pump_output() {
                    break;
                }
            }
            drop(self.epoll.delete(console.pty.master.as_fd()));
            console.disconnect(&self.epoll);
            self.followers = std::mem::take(&mut console.record.followers);
        }
        self.console = None;
        self.ttys = Vec::new();
    }

    /// How long the loop may sleep before [`Terminals::serve`] wants to be called again.
    pub fn timeout(&self) -> Option<Duration> {
        let stalled = self.console.as_ref()?.stalled?;
        Some((stalled + PATIENCE).saturating_duration_since(Instant::now()))
    }

    /// Moves what can be moved now. Call it when the set is readable ([`AsFd`]) or
    /// [`Terminals::timeout`] has passed.
    pub fn serve(&mut self) -> Result<(), TtyError> {
        let mut events = [Event::EMPTY; 8];
        let n = self
            .epoll
            .wait(&mut events, Some(Duration::ZERO))
            .map_err(|source| TtyError::Loop { source })?;
        let Some(console) = &mut self.console else { return Ok(()) };
        for event in &events[..n] {
            match event.token {
                PEER => console.peer_ready(&self.epoll, event.ready),
                _ => console.master_ready(event.ready),
            }
        }
        console.lose_patience();
        console.update(&self.epoll).map_err(|source| TtyError::Loop { source })
    }

    /// The peer's window has changed (SIGWINCH).
    pub fn resize(&mut self) {
        if let Some(console) = &mut self.console {
            console.copy_size();
        }
    }

    /// Reserves a terminal for `client`: 0 the console, -1 the first free one. Returns its number
    /// and its master.
    ///
    /// # Errors
    /// EBUSY, ENXIO for one that is not there, ENODEV for a container without a console.
    pub fn reserve(&mut self, number: i32, client: u32) -> Result<(i32, OwnedFd), i32> {
        if number == 0 {
            let console = self.console.as_mut().ok_or(errno::ENODEV)?;
            return console.proxy(&self.epoll, client).map(|master| (0, master));
        }
        let (at, tty) = match usize::try_from(number) {
            Ok(n) => (n, self.ttys.get_mut(n - 1).ok_or(errno::ENXIO)?),
            Err(_) => {
                let free = |(_, tty): &(usize, &mut Tty)| tty.holder.is_none();
                (1..).zip(&mut self.ttys).find(free).ok_or(errno::EBUSY)?
            }
        };
        if tty.holder.is_some() {
            return Err(errno::EBUSY);
        }
        let master = tty.pty.master.try_clone().map_err(|_| errno::EMFILE)?;
        tty.holder = Some(client);
        Ok((i32::try_from(at).unwrap_or(i32::MAX), master))
    }

    /// Frees what `client` holds.
    pub fn release(&mut self, client: u32) {
        for tty in &mut self.ttys {
            if tty.holder == Some(client) {
                tty.holder = None;
            }
        }
        if let Some(console) = &mut self.console {
            let holds = |p: &Peer| matches!(p.kind, PeerKind::Client(c) if c == client);
            if console.peer.as_ref().is_some_and(holds) {
                console.disconnect(&self.epoll);
                if let Err(e) = console.update(&self.epoll) {
                    log::debug!("console: {e}");
                }
            }
        }
    }

    /// Reads (`max` bytes, 0 all) or clears the console's ring buffer.
    ///
    /// # Errors
    /// EFAULT without a buffer, ENODATA when it is empty.
    pub fn console_log(
        &mut self,
        read: bool,
        clear: bool,
        max: u64,
        keep: bool,
    ) -> Result<Vec<u8>, i32> {
        let console = self.console.as_mut().ok_or(errno::EFAULT)?;
        // What was printed just before belongs to it.
        console.pump_output();
        console.record.take(read, clear, max, keep)
    }

    /// All of the console's ring buffer, and a socket that gives what comes.
    ///
    /// # Errors
    /// EFAULT without a buffer, EMFILE when too many follow.
    pub fn follow_console(&mut self) -> Result<(Vec<u8>, OwnedFd), i32> {
        let console = self.console.as_mut().ok_or(errno::EFAULT)?;
        console.pump_output();
        console.record.follow()
    }
}

impl AsFd for Terminals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Console {
    fn connect(&mut self, epoll: &Epoll, fd: OwnedFd, kind: PeerKind) -> Result<(), SysError> {
        stdstream::set_nonblocking(fd.as_fd())?;
        epoll.add(fd.as_fd(), PEER, Ready::READ)?;
        let size = WinSize::default();
        self.peer = Some(Peer { fd, kind, watched: Ready::READ, lossy: false, size });
        self.copy_size();
        Ok(())
    }

    fn disconnect(&mut self, epoll: &Epoll) {
        if let Some(peer) = self.peer.take() {
            drop(epoll.delete(peer.fd.as_fd()));
        }
        self.output.clear();
        self.input.clear();
        self.stalled = None;
    }

    /// A new pty between the console and a client, as LXC's `lxc_terminal_proxy_alloc`: so the
    /// log goes on, and the client cannot hold up the console.
    fn proxy(&mut self, epoll: &Epoll, client: u32) -> Result<OwnedFd, i32> {
        if self.peer.is_some() {
            return Err(errno::EBUSY);
        }
        let number = |e: SysError| e.errno;
        let pty = term::open_pty().map_err(number)?;
        // Both ends are only a pipe: echo and line editing happen in the console itself.
        term::set_raw(pty.slave.as_fd()).map_err(number)?;
        self.connect(epoll, pty.slave, PeerKind::Client(client)).map_err(number)?;
        Ok(pty.master)
    }

    /// Hands the peer's window size on when it has changed.
    fn copy_size(&mut self) {
        let Some(peer) = &mut self.peer else { return };
        match term::winsize(peer.fd.as_fd()) {
            Ok(size) if size != peer.size && size != WinSize::default() => {
                peer.size = size;
                drop(term::set_winsize(self.pty.master.as_fd(), size));
            }
            _ => {}
        }
    }

    fn master_ready(&mut self, ready: Ready) {
        if ready.write {
            self.push_input();
        }
        if ready.read {
            for _ in 0..CHUNKS {
                if !self.pump_output() {
                    break;
                }
            }
        }
    }

    /// Moves one chunk from the console to its record and its peer; false if there was none, or
    /// the peer has to take the last one first.
    fn pump_output(&mut self) -> bool {
        if !self.output.is_empty()
            || !matches!(self.output.fill(self.pty.master.as_fd()), Got::Bytes)
        {
            return false;
        }
        self.record.write(self.output.content());
        match &self.peer {
            Some(peer) if !peer.lossy => self.push_output(),
            _ => {
                self.output.clear();
                true
            }
        }
    }

    /// Gives the peer its output; true if it took all.
    fn push_output(&mut self) -> bool {
        let Some(peer) = &self.peer else { return true };
        match self.output.drain(peer.fd.as_fd()) {
            Ok(true) => {
                self.stalled = None;
                true
            }
            Ok(false) => {
                self.stalled = self.stalled.or_else(|| Some(Instant::now()));
                false
            }
            // The event that follows tells whether it is gone.
            Err(e) => {
                log::debug!("console peer: {e}");
                self.output.clear();
                true
            }
        }
    }

    fn push_input(&mut self) -> bool {
        match self.input.drain(self.pty.master.as_fd()) {
            Ok(done) => done,
            Err(e) => {
                log::debug!("console: {e}");
                self.input.clear();
                true
            }
        }
    }

    fn peer_ready(&mut self, epoll: &Epoll, ready: Ready) {
        if ready.write {
            if let Some(peer) = &mut self.peer {
                peer.lossy = false;
            }
            self.push_output();
        }
        if ready.read {
            self.copy_size();
            for _ in 0..CHUNKS {
                let Some(peer) = &self.peer else { return };
                if !self.input.is_empty() {
                    return;
                }
                match self.input.fill(peer.fd.as_fd()) {
                    Got::Bytes => {
                        if !self.push_input() {
                            return;
                        }
                    }
                    Got::Nothing => return,
                    Got::End => return self.disconnect(epoll),
                }
            }
        } else if ready.hangup {
            self.disconnect(epoll);
        }
    }

    fn lose_patience(&mut self) {
        if self.stalled.is_some_and(|since| since.elapsed() >= PATIENCE) {
            self.stalled = None;
            self.output.clear();
            if let Some(peer) = &mut self.peer {
                peer.lossy = true;
            }
        }
    }

    /// Watches each end for what is useful now: nothing is read that cannot be passed on.
    fn update(&mut self, epoll: &Epoll) -> Result<(), SysError> {
        let want =
            Ready { read: self.output.is_empty(), write: !self.input.is_empty(), hangup: false };
        if want != self.watched {
            epoll.modify(self.pty.master.as_fd(), MASTER, want)?;
            self.watched = want;
        }
        if let Some(peer) = &mut self.peer {
            let want = Ready {
                read: self.input.is_empty(),
                write: !self.output.is_empty() || peer.lossy,
                hangup: false,
            };
            if want != peer.watched {
                epoll.modify(peer.fd.as_fd(), PEER, want)?;
                peer.watched = want;
            }
        }
        Ok(())
    }
}
