//! One line on a terminal about work that takes longer than a second.

use super::size;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Silence at the beginning, and between two lines.
const QUIET: Duration = Duration::from_secs(1);

/// The line; it is removed at the end, also when a child of this process showed it.
pub struct Progress {
    first: Option<Instant>,
    next: Option<Instant>,
}

impl Progress {
    /// Nothing is ever shown with `quiet`, or when standard error is no terminal.
    pub fn new(quiet: bool) -> Self {
        let speaks = !quiet && std::io::stderr().is_terminal();
        let first = speaks.then(|| Instant::now() + QUIET);
        Self { first, next: first }
    }

    /// What was done so far.
    pub fn show(&mut self, objects: u64, bytes: u64) {
        let now = Instant::now();
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + QUIET);
        let line = format!("\r{objects} files, {} copied\x1b[K", size::human(bytes));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.first.is_some_and(|first| Instant::now() >= first) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
