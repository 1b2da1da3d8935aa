//! Which names a container can have.

use super::blame::Explain;
use crate::util::quote::quoted;

/// Why a name cannot be a container's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing.
    #[error("the container name is empty")]
    Empty,
    /// A character that a directory or a line-based file cannot hold.
    #[error("the container name {} contains '{}'", quoted(.0), .1.escape_debug())]
    Character(String, char),
    /// A leading dot: never listed.
    #[error("the container name {} begins with a dot", quoted(.0))]
    Dot(String),
    /// Longer than a file name.
    #[error(
        "the container name is {0} bytes long; at most 254 fit a file name with the dot of its lock"
    )]
    TooLong(usize),
}

impl Explain for NameError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty => None,
            _ => Some("use letters, digits, - and _".into()),
        }
    }
}

/// Accepts what can be a directory below the container path and is listed there. LXC has no
/// such check: a slash fails later for want of a directory, `.x` is made and never listed, and a
/// newline ends up in files that are read line by line.
pub fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(c) = name.chars().find(|c| *c == '/' || c.is_control()) {
        return Err(NameError::Character(name.to_owned(), c));
    }
    if name.starts_with('.') {
        return Err(NameError::Dot(name.to_owned()));
    }
    if name.len() > 254 {
        return Err(NameError::TooLong(name.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "web-1", "a b", "ü", "a.b", "-x", "0"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", ".x", "a/b", "a\nb", "a\0b", "a\u{7f}", &"x".repeat(255)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
