//! An error as one line for a person: what failed, its causes, the configuration line to blame.

use super::blame::Explain;
use std::error::Error;
use std::fmt::Write as _;

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
pub fn one_line(text: String) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::blame::Origin;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("mounting {what}")]
    struct Mounting {
        what: &'static str,
        origin: Option<Origin>,
        #[source]
        cause: io::Error,
    }

    impl Explain for Mounting {
        fn origin(&self) -> Option<&Origin> {
            self.origin.as_ref()
        }
    }

    #[test]
    fn a_sentence_has_object_cause_errno_and_origin() {
        let cause = io::Error::other("mount(proc): Operation not permitted (EPERM)");
        let mut error = Mounting { what: "/proc", origin: None, cause };
        assert_eq!(
            sentence(&error),
            "mounting /proc: mount(proc): Operation not permitted (EPERM)"
        );
        error.origin = Some(Origin { file: std::path::Path::new("/c/config").into(), line: 7 });
        assert!(sentence(&error).ends_with("(EPERM) (set in /c/config:7)"));
    }

    #[test]
    fn a_name_cannot_forge_a_second_line() {
        assert_eq!(one_line("a\nhint: rm -rf \u{1b}[2J".into()), "a hint: rm -rf \\u{1b}[2J");
    }
}
