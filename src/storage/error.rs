//! Why a root file system cannot be used, made, copied or removed.

use super::Kind;
use crate::sys::SysError;
use crate::util::blame::{Explain, Origin};
use std::path::PathBuf;

/// A root file system that cannot be used, made or removed, in one word: every result with it is
/// handed up in registers.
pub type StorageError = Box<Fault>;

/// What a [`StorageError`] says.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The word before the colon is no type.
    #[error("unknown storage type \"{word}\"")]
    UnknownType {
        /// The word.
        word: String,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
    },
    /// Its device, or what the kernel needs for it, is not there.
    #[error("the root file system \"{}:{}\" cannot be mounted: {}", kind.name(), path.display(),
        match kind {
            Kind::Zfs => "it is not, and this kernel has no ZFS",
            Kind::Nbd if !path.starts_with("/dev") => "no network block device is free",
            _ => "there is no such block device",
        })]
    NoDevice {
        /// The type.
        kind: Kind,
        /// The device.
        path: PathBuf,
    },
    /// A type whose volumes others make and remove.
    #[error("a root file system of type {} is made and removed by its own tools alone", kind.name())]
    Foreign {
        /// The type.
        kind: Kind,
    },
    /// A type that has none for a new container.
    #[error("a root file system of type {} is made by its own tools alone", kind.name())]
    NotNew {
        /// The type.
        kind: Kind,
    },
    /// No volume can be called that.
    #[error("\"{name}\" cannot be a volume of type {}", kind.name())]
    BadName {
        /// The type.
        kind: Kind,
        /// Group or parent, and name.
        name: String,
    },
    /// Somebody else's.
    #[error("\"{what}\" already exists")]
    Exists {
        /// The volume.
        what: String,
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

impl Explain for Fault {
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
            Self::NoDevice { kind, path } => Some(match kind {
                Kind::Zfs => {
                    format!("modprobe zfs (package zfs-dkms), or: zfs mount {}", path.display())
                }
                Kind::Rbd => "rbd map POOL/NAME (package ceph-common)".to_owned(),
                Kind::Nbd if !path.starts_with("/dev") => "modprobe nbd nbds_max=64".to_owned(),
                Kind::Nbd => format!("qemu-nbd -c {} IMAGE (package qemu-utils)", path.display()),
                _ => format!("lvchange -ay {}", path.display()),
            }),
            Self::Foreign { .. } => Some("lxc.rootfs.managed = 0 leaves it alone".to_owned()),
            Self::NotNew { .. } => {
                Some("those for a new one are dir, btrfs, zfs, lvm, loop".to_owned())
            }
            Self::NoProgram { package, .. } => Some(format!("the package {package} has it")),
            Self::NoSnapshot { .. } => Some("leave -s out to copy it".to_owned()),
            Self::Mounted { mount } => Some(format!("umount -R {mount}")),
            Self::Create { source, .. } if source.is(crate::sys::errno::ENOTTY) => {
                Some("only a btrfs has subvolumes: -P or --dir has to be on one".to_owned())
            }
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
