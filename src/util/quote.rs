//! Words and paths in quotation marks, for messages.

use std::ffi::OsStr;
use std::fmt;

/// Shows a text as `{:?}` does, which itself prints nothing in a release build (the Makefile's
/// `-Zfmt-debug=none`).
pub struct Quoted<'a>(&'a OsStr);

/// `text` in quotation marks; what cannot be printed, and a quotation mark, is escaped.
pub fn quoted(text: &(impl AsRef<OsStr> + ?Sized)) -> Quoted<'_> {
    Quoted(text.as_ref())
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        assert_eq!(quoted("it's \"a\"\n").to_string(), r#""it's \"a\"\n""#);
        assert_eq!(quoted(OsStr::from_bytes(b"/\xffx")).to_string(), r#""/\xFFx""#);
    }
}
