//! Standard output, buffered. A reader that went away (`lxc-ls | head -1`) is success.

use super::report::Failure;
use crate::sys::SysError;
use crate::util::blame::Explain;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

/// Collects output and writes it in one go at [`Out::finish`] or when it grows large.
#[derive(Default)]
pub struct Out {
    buffer: Vec<u8>,
}

const FLUSH_AT: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("writing the output")]
struct OutError(#[source] SysError);

impl Explain for OutError {
    fn errno(&self) -> Option<i32> {
        Some(self.0.errno)
    }
}

impl Out {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `text` and a newline.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b'\n');
        self.flush_if_large()
    }

    /// Appends `text` as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_large()
    }

    fn flush_if_large(&mut self) -> Result<(), Failure> {
        if self.buffer.len() >= FLUSH_AT { self.flush() } else { Ok(()) }
    }

    /// Writes what is buffered.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let bytes = std::mem::take(&mut self.buffer);
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(&bytes).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::broken_pipe()),
            Err(e) => Err(OutError(SysError::io("write", "standard output", &e)).into()),
        }
    }

    /// Writes the rest. Consumes the buffer, so that nothing can be forgotten after it.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()
    }
}

/// Writes `text` and a newline at once.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = Out::new();
    out.line(text)?;
    out.finish()
}

/// Writes bytes as they are, at once.
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = Out::new();
    out.bytes(bytes)?;
    out.finish()
}

/// The width of the terminal on standard output; `None` if it is none.
pub fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    crate::sys::term::winsize(stdout.as_fd()).ok().map(|size| size.cols.into())
}
