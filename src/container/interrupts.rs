//! Signals that ask a tool to stop, held back while it changes a container: what is half-made is
//! undone, and what cannot be undone any more is finished first.

use crate::sys::event::{Ready, SignalFd, poll, signal_bit};
use crate::sys::process::{self, Pid, Wait};
use crate::sys::{SysError, signal, subreaper, tree};
use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

/// HUP, INT, QUIT and TERM.
const INTERRUPTS: [i32; 4] = [1, 2, 3, 15];
const SIGCHLD: i32 = 17;
pub(super) const SIGTERM: i32 = 15;

/// A signal that told us to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interrupted by signal {0}")]
pub struct Interrupted(pub i32);

/// Signals that stop a tool, held back while it works: the caller undoes it, then ends.
pub struct Interrupts {
    signals: SignalFd,
    mask: signal::Mask,
}

impl Interrupts {
    /// From here on HUP, INT, QUIT and TERM wait to be asked for.
    ///
    /// # Errors
    /// Those of sigprocmask(2) and signalfd(2).
    pub fn hold() -> Result<Self, SysError> {
        let all = [INTERRUPTS.as_slice(), &[SIGCHLD]].concat();
        let mask = signal::block(&all)?;
        let bits = all.iter().fold(0, |bits, signal| bits | signal_bit(*signal));
        Ok(Self { signals: SignalFd::new(bits)?, mask })
    }

    /// The signal that arrived, if one did.
    ///
    /// # Errors
    /// One did.
    pub fn check(&self) -> Result<(), Interrupted> {
        while let Ok(Some(info)) = self.signals.read() {
            if INTERRUPTS.contains(&info.signo) {
                return Err(Interrupted(info.signo));
            }
        }
        Ok(())
    }

    /// Waits for a child; a signal that arrives meanwhile is handed on to it. Gives back how it
    /// ended and the first signal.
    pub(super) fn wait_for(&self, pid: Pid) -> Result<(Wait, Option<Interrupted>), SysError> {
        let mut first = None;
        loop {
            if let Some(how) = subreaper::ended(pid)? {
                return Ok((how, first));
            }
            poll(self.signals.as_fd(), Ready::READ, None)?;
            if let Err(signal) = self.check() {
                let _ = process::kill(pid, SIGTERM);
                first = first.or(Some(signal));
            }
        }
    }

    /// Does what cannot be undone to its end, and gives back the signal that came meanwhile. In a
    /// long removal the second one ends the process: the next tool finds what is left then.
    pub(super) fn finish<T>(self, work: impl FnOnce() -> T) -> (T, Option<Interrupted>) {
        let held = Rc::new(self);
        let came = Rc::new(Cell::new(None));
        let before = Rc::new(RefCell::new(tree::watch(None)));
        let (tell, signals, first) = (Rc::clone(&before), Rc::clone(&held), Rc::clone(&came));
        tree::watch(Some(Box::new(move |removed| {
            if let Some(tell) = tell.borrow_mut().as_mut() {
                tell(removed);
            }
            if let (None, Err(signal)) = (first.get(), signals.check()) {
                first.set(Some(signal));
                signals.let_go();
            }
        })));
        let done = work();
        tree::watch(before.take());
        (done, came.get().or(held.check().err()))
    }

    fn let_go(&self) {
        // Fails only for an invalid mask; this one came from the kernel.
        let _ = signal::restore(&self.mask);
    }
}

impl AsFd for Interrupts {
    /// Readable when something may have arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.let_go();
    }
}
