//! The one error of the configuration layer.

use super::value::ValueError;
use crate::sys::error::SysError;
use crate::util::blame::{Explain, Origin};
use std::path::PathBuf;

/// Why a configuration cannot be loaded, changed, read or saved. The sentence begins with
/// file and line where there are any; [`Explain::origin`] has them too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file named by the caller cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: SysError,
    },
    /// The file or directory of an `lxc.include` cannot be read.
    #[error("{origin}: cannot include {}", path.display())]
    Include {
        /// The line with `lxc.include`.
        origin: Origin,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: SysError,
    },
    /// A file that is being read is included once more.
    #[error("{origin}: {} includes itself", path.display())]
    Loop {
        /// The line that closes the circle.
        origin: Origin,
        /// The file.
        path: PathBuf,
    },
    /// Too many files, or too deep.
    #[error("{origin}: lxc.include: more than {what}")]
    TooMany {
        /// The line that went too far.
        origin: Origin,
        /// The limit in words.
        what: &'static str,
    },
    /// A file that cannot be a configuration.
    #[error("{}the configuration {} is larger than 16 MiB", place(origin), path.display())]
    TooLarge {
        /// The line with `lxc.include`, if it is not the file that the caller named.
        origin: Option<Origin>,
        /// The file.
        path: PathBuf,
    },
    /// An `lxc.` line without `=`.
    #[error("{origin}: '{text}' is not of the form 'key = value'")]
    NoEquals {
        /// Where.
        origin: Origin,
        /// The line.
        text: String,
    },
    /// An `lxc.` line with bytes that no value can have.
    #[error("{origin}: the line has a NUL byte or is not UTF-8")]
    NotText {
        /// Where.
        origin: Origin,
    },
    /// No row of the table matches.
    #[error("{}unknown key '{key}'", place(origin))]
    UnknownKey {
        /// Where, unless a caller asked for it.
        origin: Option<Origin>,
        /// As written.
        key: String,
        /// The known key that is spelled most like it.
        nearest: Option<String>,
    },
    /// The key is known, its value is not.
    #[error("{}{key}: {cause}", place(origin))]
    Value {
        /// Where, unless a caller asked for it.
        origin: Option<Origin>,
        /// As written.
        key: String,
        /// Why.
        cause: ValueError,
    },
    /// A key or a value that would become more than one line of a file (CVE-2026-23953).
    #[error("{key}: a line break or a NUL byte cannot be part of a configuration line")]
    Unwritable {
        /// The key, made printable.
        key: String,
    },
    /// A key that has no value to read: `lxc.include`, `lxc.hook`, `lxc.net.N`, or one of a network
    /// that is not there or is of another type.
    #[error("'{key}' has no value to read")]
    Unreadable {
        /// The key.
        key: String,
    },
    /// The file cannot be replaced.
    #[error("cannot save the configuration {}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: SysError,
    },
}

fn place(origin: &Option<Origin>) -> String {
    origin.as_ref().map_or_else(String::new, |origin| format!("{origin}: "))
}

impl Explain for ConfigError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { cause, .. } | Self::Include { cause, .. } | Self::Save { cause, .. } => {
                Some(cause.errno)
            }
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Include { origin, .. }
            | Self::Loop { origin, .. }
            | Self::TooMany { origin, .. }
            | Self::NoEquals { origin, .. }
            | Self::NotText { origin } => Some(origin),
            Self::TooLarge { origin, .. }
            | Self::UnknownKey { origin, .. }
            | Self::Value { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { nearest: Some(key), .. } => Some(format!("did you mean '{key}'?")),
            Self::Value { cause: ValueError::Excluded(other), .. } => {
                Some(format!("empty the other list first: '{other} ='"))
            }
            Self::NoEquals { text, .. } => Some(format!("write '{text} = VALUE'")),
            _ => None,
        }
    }
}
