//! Bytes on their way between two non-blocking terminals: what one gave and the other has not
//! taken yet.

use crate::sys::{SysError, errno, stdstream};
use std::os::fd::BorrowedFd;

const SIZE: usize = 1024;

/// A small buffer with a reading and a writing end.
pub(super) struct Pipe {
    bytes: [u8; SIZE],
    start: usize,
    end: usize,
}

/// What a read brought.
pub(super) enum Got {
    /// Bytes are in the pipe.
    Bytes,
    /// Nothing now.
    Nothing,
    /// Nothing any more: the end, or an error that will not go away.
    End,
}

impl Pipe {
    pub(super) fn new() -> Self {
        Self { bytes: [0; SIZE], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// What is in it.
    pub(super) fn content(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Forgets what is in it.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Reads once into the empty pipe.
    pub(super) fn fill(&mut self, from: BorrowedFd<'_>) -> Got {
        self.clear();
        match stdstream::read(from, &mut self.bytes) {
            Ok(0) => Got::End,
            Ok(n) => {
                self.end = n;
                Got::Bytes
            }
            Err(e) if e.is(errno::EAGAIN) => Got::Nothing,
            Err(e) => {
                log::debug!("a terminal is gone: {e}");
                Got::End
            }
        }
    }

    /// Writes what the other side takes; true if the pipe is empty then.
    pub(super) fn drain(&mut self, to: BorrowedFd<'_>) -> Result<bool, SysError> {
        while !self.is_empty() {
            match stdstream::write(to, self.content()) {
                Ok(n) => self.start += n,
                Err(e) if e.is(errno::EAGAIN) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        self.clear();
        Ok(true)
    }
}
