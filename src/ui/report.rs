//! How a failure reaches the person: one line that says what was attempted, on what, and why,
//! then at most one `hint:` line. Every error of the program ends here or on the wire of a
//! starting container, never in both.

use crate::util::blame::Explain;
use std::io::Write as _;

pub use crate::util::sentence::sentence;

/// Why an applet ends without success, and the exit status it ends with.
///
/// Any error that implements [`Explain`] becomes one with `?` (status 1). One word, so that every
/// result with it is handed up in registers.
pub struct Failure(Box<Ended>);

struct Ended {
    status: u8,
    text: String,
    hint: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Print the text.
    Said,
    /// Everything was said already, or the status alone is the answer.
    Silent,
    /// Nobody reads our output any more; this counts as success.
    BrokenPipe,
}

impl Failure {
    /// A failure described by one lower-case sentence without a full stop, status 1.
    pub fn new(text: impl Into<String>) -> Self {
        Self::made(1, text.into(), Kind::Said)
    }

    fn made(status: u8, text: String, kind: Kind) -> Self {
        Self(Box::new(Ended { status, text, hint: None, kind }))
    }

    /// A wrong command line: `text`, and where to look.
    pub fn usage(prog: &str, text: impl Into<String>) -> Self {
        Self::new(text).hint(format!("{prog} --help lists the options"))
    }

    /// Ends with `status` and prints nothing.
    pub fn silent(status: u8) -> Self {
        Self::made(status, String::new(), Kind::Silent)
    }

    /// Standard output was closed by its reader.
    pub(super) fn broken_pipe() -> Self {
        Self::made(0, String::new(), Kind::BrokenPipe)
    }

    fn explained(error: &dyn Explain) -> Self {
        let mut failure = Self::new(sentence(error));
        failure.0.hint = error.hint();
        failure
    }

    /// The same with another exit status.
    pub fn status(mut self, status: u8) -> Self {
        self.0.status = status;
        self
    }

    /// The same with a `hint:` line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        self.0.status
    }

    /// The sentence with causes and origin, as it is printed after `PROG: NAME: `.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// True if there is something to print.
    pub fn speaks(&self) -> bool {
        self.0.kind == Kind::Said
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::explained(&error)
    }
}

/// Prints `PROG: NAME: TEXT` and the hint on standard error.
pub fn print(prog: &str, name: Option<&str>, failure: &Failure) {
    if failure.0.kind != Kind::Said {
        return;
    }
    say(prog, name, &failure.0.text);
    if let Some(hint) = &failure.0.hint {
        stderr_line(&format!("hint: {hint}"));
    }
}

/// Prints `PROG: NAME: TEXT` on standard error.
pub fn say(prog: &str, name: Option<&str>, text: &str) {
    match name {
        Some(name) => stderr_line(&format!("{prog}: {name}: {text}")),
        None => stderr_line(&format!("{prog}: {text}")),
    }
}

/// One line on standard error. A closed standard error is nothing to fail for.
pub fn stderr_line(text: &str) {
    let mut line = String::with_capacity(text.len() + 1);
    line.push_str(text);
    line.push('\n');
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Text of several lines on standard error: help.
pub fn stderr_text(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
