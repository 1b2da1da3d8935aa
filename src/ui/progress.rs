//! One line on a terminal about work that takes longer than a second.

use super::size;
use crate::sys::tree;
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

    /// What was copied so far.
    pub fn show(&mut self, objects: u64, bytes: u64) {
        if self.is_time() {
            let bytes = size::human(bytes);
            self.write(&match objects {
                0 => format!("{bytes} copied"),
                _ => format!("{objects} files, {bytes} copied"),
            });
        }
    }

    /// What was removed so far.
    pub fn show_removed(&mut self, objects: u64) {
        if self.is_time() {
            self.write(&format!("{objects} files removed"));
        }
    }

    fn is_time(&mut self) -> bool {
        let now = Instant::now();
        let is_time = self.next.is_some_and(|next| now >= next);
        if is_time {
            self.next = Some(now + QUIET);
        }
        is_time
    }

    fn write(&self, line: &str) {
        let _ = std::io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
    }
}

/// While it lives, what the process removes is shown.
pub struct Removals;

impl Removals {
    /// As [`Progress::new`].
    pub fn show(quiet: bool) -> Self {
        let mut progress = Progress::new(quiet);
        tree::watch(Some(Box::new(move |objects| progress.show_removed(objects))));
        Self
    }
}

impl Drop for Removals {
    fn drop(&mut self) {
        tree::watch(None);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.first.is_some_and(|first| Instant::now() >= first) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
