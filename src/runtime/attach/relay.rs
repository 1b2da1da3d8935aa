//! The attaching process while the command runs: passes bytes between the host's terminal and the
//! new one, signals on to the command, and the window's size with them, until the command ends.
//!
//! What the command wrote before it ended is always shown: the kernel hands over all of it before a
//! poll says that there is no more. Nothing waits for a process that the command left behind.

use super::error::AttachError;
use super::stdio::{Streams, Terminal};
use crate::sys::event::{Epoll, Event, Ready, SignalFd, poll, signal_bit};
use crate::sys::process::{self, Pid, Wait};
use crate::sys::{Result as SysResult, errno, fd, procfs, signal, stdstream, term};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

// Numbers of signal(7), the same on every architecture we build for.
const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const KILL: i32 = 9;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const CHLD: i32 = 17;
const WINCH: i32 = 28;

/// What the relay waits for; all but the last two are passed on to the command.
const WATCHED: [i32; 8] = [HUP, INT, QUIT, TERM, USR1, USR2, CHLD, WINCH];

/// Bytes moved at a time.
const CHUNK: usize = 8192;

const SIGNALS: u64 = 0;
const MASTER: u64 = 1;
const INPUT: u64 = 2;

/// Blocks the signals that the relay reads. Before the processes are made, so that none is lost.
///
/// # Errors
/// None that a correct kernel gives.
pub(super) fn block_signals() -> SysResult<()> {
    signal::block(&WATCHED).map(drop)
}

/// Waits for the command while passing on signals and, with a terminal, bytes. One without a
/// terminal is killed at the deadline.
///
/// # Errors
/// Only failures of waiting itself: streams that break end the passing, not the command.
pub(super) fn run(
    pid: Pid,
    terminal: Option<Terminal>,
    streams: Streams,
    log: Option<OwnedFd>,
    deadline: Option<Instant>,
) -> Result<Wait, AttachError> {
    let failed = |source| AttachError::Process { what: "waiting for the command", source };
    // Dropped, and the host's terminal restored, on every way out.
    let _raw = match (&terminal, streams.interactive) {
        (Some(_), true) => Some(make_raw(fd::borrow(0)).map_err(AttachError::Terminal)?),
        _ => None,
    };
    let input = Vec::new();
    let mut relay = Relay { pid, terminal, streams, log, input, hung_up: false, never_ran: false };
    let how = match relay.terminal {
        Some(_) => relay.run(),
        None => relay.wait(deadline),
    };
    let how = how.map_err(failed)?;
    if relay.never_ran { Err(AttachError::Died { how }) } else { Ok(how) }
}

/// Raw in both directions: the new terminal has put the carriage returns in already.
fn make_raw(terminal: BorrowedFd<'_>) -> SysResult<term::RawMode> {
    let guard = term::RawMode::enter(terminal)?;
    stdstream::output_unprocessed(terminal)?;
    Ok(guard)
}

struct Relay {
    pid: Pid,
    terminal: Option<Terminal>,
    streams: Streams,
    log: Option<OwnedFd>,
    /// Read from the host's terminal and not taken by the new one yet.
    input: Vec<u8>,
    /// The host's terminal is gone.
    hung_up: bool,
    /// The process was killed before it was the command.
    never_ran: bool,
}

impl Relay {
    /// Without a terminal there are only signals, and the command's time.
    fn wait(&mut self, mut deadline: Option<Instant>) -> SysResult<Wait> {
        loop {
            let Some(signo) = signal::wait(&WATCHED, deadline)? else {
                // With what it has started, as long as that is in its group.
                let _ = process::kill(-self.pid, KILL);
                deadline = None;
                continue;
            };
            if let Some(how) = self.take_signal(signo)? {
                return Ok(how);
            }
        }
    }

    fn run(&mut self) -> SysResult<Wait> {
        let signals = SignalFd::new(WATCHED.iter().fold(0, |set, &signo| set | signal_bit(signo)))?;
        let epoll = Epoll::new()?;
        epoll.add(signals.as_fd(), SIGNALS, Ready::READ)?;
        if let Some(terminal) = &self.terminal {
            stdstream::set_nonblocking(terminal.master.as_fd())?;
            epoll.add(terminal.master.as_fd(), MASTER, Ready::READ)?;
            if self.streams.interactive {
                epoll.add(fd::borrow(0), INPUT, Ready::READ)?;
            }
        }
        // The command may have ended before the loop; its SIGCHLD is pending then.
        let mut events = [Event::EMPTY; 8];
        loop {
            let n = epoll.wait(&mut events, None)?;
            let mut ended = None;
            for event in events.iter().take(n) {
                match event.token {
                    SIGNALS => {
                        while let Some(info) = signals.read()? {
                            // Nothing is asked about a command that was reaped.
                            if ended.is_none() {
                                ended = self.take_signal(info.signo)?;
                            }
                        }
                    }
                    MASTER => self.serve_master(&epoll, event.ready)?,
                    _ => self.serve_input(&epoll)?,
                }
            }
            if let Some(how) = ended {
                self.drain();
                return Ok(how);
            }
            if self.hung_up {
                // Nobody is left to work for. Closing the outer end hangs up the command's
                // terminal; what ignores that lives on without us.
                self.terminal = None;
                let _ = process::kill(-self.pid, HUP);
                return Ok(Wait::Signaled(HUP));
            }
        }
    }

    /// Does what a signal asks for; `Some` when the command has ended.
    fn take_signal(&mut self, signo: i32) -> SysResult<Option<Wait>> {
        match signo {
            CHLD => {
                if let Wait::Signaled(_) = process::peek(self.pid)? {
                    self.never_ran = !procfs::has_execed(self.pid);
                }
                match process::try_wait(self.pid)? {
                    Wait::Running => {}
                    how => return Ok(Some(how)),
                }
            }
            WINCH => {
                let size = term::winsize(fd::borrow(self.streams.shown_on()));
                if let (Some(terminal), Ok(size)) = (&self.terminal, size) {
                    let _ = term::set_winsize(terminal.master.as_fd(), size);
                }
            }
            HUP if self.terminal.is_some() => self.hung_up = true,
            signo => self.forward(signo),
        }
        Ok(None)
    }

    /// The command leads a process group of its own, which gets what a terminal sends to groups.
    fn forward(&self, signo: i32) {
        let to_group = matches!(signo, INT | QUIT);
        let to = if to_group { -self.pid } else { self.pid };
        // It may have ended just now; the next SIGCHLD tells.
        let _ = process::kill(to, signo);
    }

    /// Output of the command, and room for its input.
    fn serve_master(&mut self, epoll: &Epoll, ready: Ready) -> SysResult<()> {
        if ready.read {
            self.show_once();
        }
        if ready.write {
            self.give_input(epoll)?;
        }
        if ready.hangup && !ready.read {
            // Not while the inner end is held open here; should a kernel say so, do not spin.
            if let Some(terminal) = &self.terminal {
                epoll.delete(terminal.master.as_fd())?;
            }
        }
        Ok(())
    }

    /// Moves one chunk to the host's terminal; false when there was none.
    fn show_once(&mut self) -> bool {
        let Some(terminal) = &self.terminal else { return false };
        let mut buffer = [0u8; CHUNK];
        let Ok(n) = stdstream::read(terminal.master.as_fd(), &mut buffer) else { return false };
        let bytes = buffer.get(..n).unwrap_or_default();
        let failed = |log: &OwnedFd| fd::write_all(log.as_fd(), bytes).is_err();
        if self.log.as_ref().is_some_and(failed) {
            log::debug!("the terminal's log cannot be written any more");
            self.log = None;
        }
        if write_patiently(fd::borrow(self.streams.shown_on()), bytes).is_err() {
            self.hung_up = true;
        }
        n > 0
    }

    /// What is left after the command has ended. A poll flushes what the line discipline still
    /// holds, so "nothing to read" is final for all that was written before.
    fn drain(&mut self) {
        while !self.hung_up {
            let Some(terminal) = &self.terminal else { return };
            let more = poll(terminal.master.as_fd(), Ready::READ, Some(Instant::now()));
            if !more.is_ok_and(|ready| ready.read) || !self.show_once() {
                return;
            }
        }
    }

    /// What somebody typed.
    fn serve_input(&mut self, epoll: &Epoll) -> SysResult<()> {
        let mut buffer = [0u8; CHUNK];
        match stdstream::read(fd::borrow(0), &mut buffer) {
            Ok(n) if n > 0 => {
                self.input.extend_from_slice(buffer.get(..n).unwrap_or_default());
                self.give_input(epoll)
            }
            Err(e) if e.is(errno::EAGAIN) => Ok(()),
            // End of file or EIO: the terminal is gone.
            _ => {
                self.hung_up = true;
                epoll.delete(fd::borrow(0))
            }
        }
    }

    /// Writes pending input; while some is left, no more is read and the room is waited for.
    fn give_input(&mut self, epoll: &Epoll) -> SysResult<()> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        let master = terminal.master.as_fd();
        let had = !self.input.is_empty();
        while !self.input.is_empty() {
            match stdstream::write(master, &self.input) {
                Ok(n) => drop(self.input.drain(..n)),
                Err(e) if e.is(errno::EAGAIN) => break,
                Err(_) => self.input.clear(),
            }
        }
        if had && self.streams.interactive {
            let blocked = !self.input.is_empty();
            let (on_master, on_input) =
                if blocked { (Ready::BOTH, Ready::NONE) } else { (Ready::READ, Ready::READ) };
            epoll.modify(master, MASTER, on_master)?;
            if !self.hung_up {
                epoll.modify(fd::borrow(0), INPUT, on_input)?;
            }
        }
        Ok(())
    }
}

/// Writes all of `bytes`, waiting for room where the stream was made non-blocking by somebody
/// else (the shell's other programs share it): giving up there is how output gets lost.
fn write_patiently(to: BorrowedFd<'_>, mut bytes: &[u8]) -> SysResult<()> {
    while !bytes.is_empty() {
        match stdstream::write(to, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.is(errno::EAGAIN) => {
                poll(to, Ready::WRITE, None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
