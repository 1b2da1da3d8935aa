//! How a failure reaches the person: one line that says what was attempted, on what, and why,
//! then at most one `hint:` line. Every error of the program ends here or on the wire of a
//! starting container, never in both.

use crate::util::blame::Explain;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

/// Why an applet ends without success, and the exit status it ends with.
///
/// Any error that implements [`Explain`] becomes one with `?` (status 1).
pub struct Failure {
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
        Self { status: 1, text: text.into(), hint: None, kind: Kind::Said }
    }

    /// A wrong command line: `text`, and where to look.
    pub fn usage(prog: &str, text: impl Into<String>) -> Self {
        Self::new(text).hint(format!("{prog} --help lists the options"))
    }

    /// Ends with `status` and prints nothing.
    pub fn silent(status: u8) -> Self {
        Self { status, text: String::new(), hint: None, kind: Kind::Silent }
    }

    /// Standard output was closed by its reader.
    pub(super) fn broken_pipe() -> Self {
        Self { status: 0, text: String::new(), hint: None, kind: Kind::BrokenPipe }
    }

    /// The same with another exit status.
    pub fn status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The same with a `hint:` line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        self.status
    }

    /// The sentence with causes and origin, as it is printed after `PROG: NAME: `.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if there is something to print.
    pub fn speaks(&self) -> bool {
        self.kind == Kind::Said
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut failure = Self::new(sentence(&error));
        failure.hint = error.hint();
        failure
    }
}

/// The error, its causes, and the configuration line to blame, in one line.
pub fn sentence(error: &dyn Explain) -> String {
    let mut text = error.to_string();
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        // thiserror's `transparent` repeats its cause's sentence; say it once.
        if !text.ends_with(&more) {
            let _ = write!(text, ": {more}");
        }
        cause = e.source();
    }
    if let Some(origin) = error.origin() {
        let origin = origin.to_string();
        if !text.contains(&origin) {
            let _ = write!(text, " (set in {origin})");
        }
    }
    one_line(text)
}

/// Control characters in names or causes must not forge further lines or move the cursor.
fn one_line(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut clean = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => clean.push(' '),
            c if c.is_control() => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    clean
}

/// Prints `PROG: NAME: TEXT` and the hint on standard error.
pub fn print(prog: &str, name: Option<&str>, failure: &Failure) {
    if failure.kind != Kind::Said {
        return;
    }
    say(prog, name, &failure.text);
    if let Some(hint) = &failure.hint {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::SysError;
    use crate::util::blame::Origin;

    #[derive(Debug, thiserror::Error)]
    #[error("mounting {what}")]
    struct Mounting {
        what: &'static str,
        origin: Option<Origin>,
        #[source]
        cause: SysError,
    }

    impl Explain for Mounting {
        fn origin(&self) -> Option<&Origin> {
            self.origin.as_ref()
        }
        fn hint(&self) -> Option<String> {
            Some("umount it first".into())
        }
    }

    #[test]
    fn a_sentence_has_object_cause_errno_and_origin() {
        let cause = SysError::new("mount", "proc, \"/x/proc\"", libc_eperm());
        let mut error = Mounting { what: "/proc", origin: None, cause };
        assert_eq!(
            sentence(&error),
            "mounting /proc: mount(proc, \"/x/proc\"): Operation not permitted (EPERM)"
        );
        error.origin = Some(Origin { file: std::path::Path::new("/c/config").into(), line: 7 });
        let failure = Failure::from(error);
        assert!(failure.text().ends_with("(EPERM) (set in /c/config:7)"));
        assert_eq!(failure.hint_text(), Some("umount it first"));
        assert_eq!(failure.exit_status(), 1);
    }

    #[test]
    fn a_name_cannot_forge_a_second_line() {
        assert_eq!(one_line("a\nhint: rm -rf \u{1b}[2J".into()), "a hint: rm -rf \\u{1b}[2J");
    }

    fn libc_eperm() -> i32 {
        1
    }
}
