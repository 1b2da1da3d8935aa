//! The client's end of a terminal of the container: lxc-console's loop between the caller's
//! terminal and a pty, until the escape is typed or one side goes away.

use super::pipe::{Got, Pipe};
use crate::sys::event::{self, Epoll, Event, Ready, SignalFd};
use crate::sys::term::{self, RawMode};
use crate::sys::{SysError, errno, stdstream};
use std::os::fd::{AsFd, BorrowedFd};

const SIGNALS: u64 = 0;
const MASTER: u64 = 1;
const INPUT: u64 = 2;
const HOLDER: u64 = 3;
/// SIGWINCH, the same on every architecture we build for.
const WINCH: i32 = 28;

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The escape was typed.
    Escape,
    /// The terminal of the container, or its monitor, is gone.
    Container,
    /// The caller's terminal is gone.
    Caller,
    /// This signal arrived.
    Signal(i32),
}

/// The two sides.
pub struct Relay<'a> {
    /// What the caller types.
    pub input: BorrowedFd<'a>,
    /// Where he looks.
    pub output: BorrowedFd<'a>,
    /// The container's terminal.
    pub master: BorrowedFd<'a>,
    /// The connection to the monitor that holds the terminal; its end is the end.
    pub holder: BorrowedFd<'a>,
    /// The byte after which `q` ends the relay; twice it is passed once. `None`: no escape.
    pub escape: Option<u8>,
    /// SIGWINCH and the signals that end the relay, blocked by the caller.
    pub signals: &'a SignalFd,
}

/// What is typed into a container that does not read is kept up to here.
const PENDING_MAX: usize = 64 * 1024;

impl Relay<'_> {
    /// Passes bytes until the end. The caller's terminal is raw meanwhile.
    pub fn run(&self) -> Result<End, SysError> {
        let _raw = match term::is_tty(self.input) {
            true => Some(RawMode::enter(self.input)?),
            false => None,
        };
        // The monitor lends the same open file to the next client: given back as it was.
        let _mode = term::NonBlocking::enter(self.master)?;
        self.copy_size();
        let epoll = Epoll::new()?;
        epoll.add(self.signals.as_fd(), SIGNALS, Ready::READ)?;
        epoll.add(self.master, MASTER, Ready::READ)?;
        epoll.add(self.holder, HOLDER, Ready::READ)?;
        epoll.add(self.input, INPUT, Ready::READ)?;
        let mut state = State {
            relay: self,
            pipe: Pipe::new(),
            typed: Typed { escape: self.escape, pending: false },
            pending: Vec::new(),
        };
        let mut events = [Event::EMPTY; 8];
        let mut waits = false;
        loop {
            let n = epoll.wait(&mut events, None)?;
            for event in &events[..n] {
                if let Some(end) = state.step(*event)? {
                    return Ok(end);
                }
            }
            let wait = !state.pending.is_empty();
            if wait != waits {
                epoll.modify(self.master, MASTER, if wait { Ready::BOTH } else { Ready::READ })?;
                waits = wait;
            }
        }
    }

    fn copy_size(&self) {
        if let Ok(size) = term::winsize(self.output).or_else(|_| term::winsize(self.input)) {
            drop(term::set_winsize(self.master, size));
        }
    }
}

struct State<'a> {
    relay: &'a Relay<'a>,
    pipe: Pipe,
    typed: Typed,
    /// Typed, and not taken by the container yet.
    pending: Vec<u8>,
}

impl State<'_> {
    fn step(&mut self, event: Event) -> Result<Option<End>, SysError> {
        match event.token {
            SIGNALS => {
                while let Some(signal) = self.relay.signals.read()? {
                    match signal.signo {
                        WINCH => self.relay.copy_size(),
                        signo => return Ok(Some(End::Signal(signo))),
                    }
                }
                Ok(None)
            }
            MASTER => {
                if event.ready.write {
                    self.push()?;
                }
                if event.ready.read {
                    match self.pipe.fill(self.relay.master) {
                        Got::Bytes => write_patiently(self.relay.output, self.pipe.content())?,
                        Got::Nothing => {}
                        Got::End => return Ok(Some(End::Container)),
                    }
                }
                Ok((event.ready.hangup && !event.ready.read).then_some(End::Container))
            }
            INPUT => match self.pipe.fill(self.relay.input) {
                Got::Bytes => {
                    let (bytes, ends) = self.typed.pass(self.pipe.content());
                    if self.pending.len() + bytes.len() <= PENDING_MAX {
                        self.pending.extend_from_slice(&bytes);
                    }
                    self.push()?;
                    Ok(ends.then_some(End::Escape))
                }
                Got::Nothing => Ok(None),
                Got::End => Ok(Some(End::Caller)),
            },
            // The monitor says nothing on this connection but that it ends.
            _ => Ok(Some(End::Container)),
        }
    }

    fn push(&mut self) -> Result<(), SysError> {
        while !self.pending.is_empty() {
            match stdstream::write(self.relay.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(e) if e.is(errno::EAGAIN) => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// The escape on its way.
struct Typed {
    escape: Option<u8>,
    /// The escape was typed, its second byte was not.
    pending: bool,
}

impl Typed {
    /// What is passed of what was typed, and whether it ends the relay. As in LXC, an escape
    /// before anything but `q` or itself passes with it.
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let Some(escape) = self.escape else { return (typed.to_vec(), false) };
        let mut out = Vec::with_capacity(typed.len() + 1);
        for &byte in typed {
            match (self.pending, byte) {
                (true, b'q') => return (out, true),
                (true, byte) => {
                    self.pending = false;
                    out.push(escape);
                    if byte != escape {
                        out.push(byte);
                    }
                }
                (false, byte) if byte == escape => self.pending = true,
                (false, byte) => out.push(byte),
            }
        }
        (out, false)
    }
}

/// Writes all, also where somebody has made the stream non-blocking.
fn write_patiently(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), SysError> {
    while !bytes.is_empty() {
        match stdstream::write(to, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.is(errno::EAGAIN) => {
                event::poll(to, Ready::WRITE, None)?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let pass = |parts: &[&[u8]]| {
            let mut typed = Typed { escape: Some(1), pending: false };
            let mut all = Vec::new();
            for part in parts {
                let (out, ends) = typed.pass(part);
                all.extend(out);
                if ends {
                    return (all, true);
                }
            }
            (all, false)
        };
        assert_eq!(pass(&[b"ab\x01qcd"]), (b"ab".to_vec(), true));
        assert_eq!(pass(&[b"a\x01", b"q"]), (b"a".to_vec(), true));
        assert_eq!(pass(&[b"\x01\x01q"]), (b"\x01q".to_vec(), false));
        assert_eq!(pass(&[b"\x01x\x01"]), (b"\x01x".to_vec(), false));
        let mut none = Typed { escape: None, pending: false };
        assert_eq!(none.pass(b"\x01q"), (b"\x01q".to_vec(), false));
    }
}
