//! Why a root file system cannot be used, made, copied or removed.

use super::Kind;
use crate::sys::SysError;
use crate::util::blame::{Explain, Origin};
use std::path::PathBuf;

/// A root file system that cannot be used, made or removed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The word before the colon is no type.
    #[error("unknown storage type \"{word}\"")]
    UnknownType {
        /// The word.
        word: String,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
    },
    /// A type that is planned.
    #[error("the storage type {} of \"{}\" is not supported yet", kind.name(), path.display())]
    NotBuilt {
        /// The type.
        kind: Kind,
        /// The path.
        path: PathBuf,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
    },
    /// `overlay:` without two absolute directories.
    #[error("\"{text}\" is not LOWER[:LOWER]:UPPER with absolute paths")]
    OverlayPath {
        /// What stands after `overlay:`.
        text: String,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
    },
    /// It cannot be made.
    #[error("cannot make the root file system \"{}\"", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// It cannot be removed.
    #[error("cannot remove the root file system \"{}\"", path.display())]
    Destroy {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// Something is mounted in it.
    #[error("\"{mount}\" is mounted inside the root file system")]
    Mounted {
        /// The mount point.
        mount: String,
    },
    /// Its type has no snapshots.
    #[error("a root file system of type {} cannot be {what}", kind.name())]
    NoSnapshot {
        /// The type.
        kind: Kind,
        /// What was asked for.
        what: &'static str,
    },
    /// It cannot be copied.
    #[error("copying the root file system \"{what}\"")]
    Copy {
        /// The source.
        what: String,
        /// Why.
        source: SysError,
    },
    /// Its content cannot be reached.
    #[error("opening the root file system \"{what}\"")]
    Open {
        /// As configured.
        what: String,
        /// Why.
        source: SysError,
    },
    /// A program of another package is missing.
    #[error("{program} is not installed")]
    NoProgram {
        /// Its name.
        program: String,
        /// The package, in Debian's words.
        package: &'static str,
    },
    /// A program cannot be run.
    #[error("running {program}")]
    Program {
        /// Its name.
        program: String,
        /// Why.
        source: SysError,
    },
    /// A program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: String,
        /// The last line it printed.
        said: String,
    },
    /// It cannot be kept busy while the container runs.
    #[error("cannot open the root file system \"{}\"", path.display())]
    Pin {
        /// The directory.
        path: PathBuf,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
}

impl Explain for StorageError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Create { source, .. }
            | Self::Destroy { source, .. }
            | Self::Copy { source, .. }
            | Self::Open { source, .. }
            | Self::Program { source, .. }
            | Self::Pin { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::UnknownType { origin, .. }
            | Self::NotBuilt { origin, .. }
            | Self::OverlayPath { origin, .. }
            | Self::Pin { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownType { .. } => {
                let words: Vec<_> = Kind::WORDS.iter().map(|(word, _)| *word).collect();
                Some(format!("the types are {}", words.join(", ")))
            }
            Self::NotBuilt { .. } => {
                Some("mount it on a directory and set lxc.rootfs.path = dir:DIRECTORY".to_owned())
            }
            Self::NoProgram { package, .. } => Some(format!("the package {package} has it")),
            Self::NoSnapshot { .. } => Some("leave -s out to copy it".to_owned()),
            Self::Mounted { mount } => Some(format!("umount -R {mount}")),
            Self::Destroy { source, .. } if source.is(crate::sys::errno::EBUSY) => {
                Some("something is mounted there: see /proc/self/mountinfo".to_owned())
            }
            Self::Pin { path, source, .. } if source.is(crate::sys::errno::ENOENT) => {
                Some(format!("ls -ld {}", path.display()))
            }
            _ => None,
        }
    }
}
