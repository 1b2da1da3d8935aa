//! Where root file systems come from: the backends behind `lxc.rootfs.path`.
//!
//! [`open`] finds the backend by the type prefix, or by what the path is; everything else goes
//! through the [`Backend`] trait. One file per backend; a new one is a file, a `Kind` and a line
//! in [`open`].

pub mod dir;
pub mod overlay;
pub mod pin;

pub use pin::Pin;

use crate::config::Config;
use crate::mount::RootSource;
use crate::sys::SysError;
use crate::util::blame::{Explain, Origin};
use std::path::{Path, PathBuf};

/// The types of `lxc.rootfs.path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.rootfs.path")]
pub enum Kind {
    Dir,
    Zfs,
    Lvm,
    Rbd,
    Btrfs,
    Overlay,
    Loop,
    Nbd,
}

impl Kind {
    /// Every word that may stand before the colon.
    const WORDS: [(&'static str, Self); 9] = [
        ("dir", Self::Dir),
        ("zfs", Self::Zfs),
        ("lvm", Self::Lvm),
        ("rbd", Self::Rbd),
        ("btrfs", Self::Btrfs),
        ("overlay", Self::Overlay),
        ("overlayfs", Self::Overlay),
        ("loop", Self::Loop),
        ("nbd", Self::Nbd),
    ];

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
    }

    /// Its word.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// One root file system on its backend.
pub trait Backend {
    /// Its type.
    fn kind(&self) -> Kind;

    /// The path without the type: what `LXC_ROOTFS_PATH` holds.
    fn path(&self) -> &Path;

    /// What the child mounts.
    fn root_source(&self) -> RootSource;

    /// Makes the empty root file system, owned by `owner` (uid and gid on the host). What exists
    /// is left alone.
    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError>;

    /// Removes it with all its content. Something that is gone already is no error.
    fn destroy(&self) -> Result<(), StorageError>;
}

/// The backend of `lxc.rootfs.path`; `None` when it is not set.
///
/// # Errors
/// An unknown type, a path that is of no type, or one that this version cannot handle yet.
pub fn open(config: &Config) -> Result<Option<Box<dyn Backend>>, StorageError> {
    let Some(path) = &config.rootfs.path else { return Ok(None) };
    let origin = config.origin("lxc.rootfs.path").cloned();
    let kind = match config.rootfs.backend.as_deref() {
        Some(word) => match Kind::parse(word) {
            Some(kind) => kind,
            None => return Err(StorageError::UnknownType { word: word.to_owned(), origin }),
        },
        None => detect(path),
    };
    match kind {
        Kind::Dir => Ok(Some(Box::new(dir::Dir::new(path.clone(), origin)))),
        Kind::Overlay => Ok(Some(Box::new(overlay::Overlay::parse(path, origin)?))),
        kind => Err(StorageError::NotBuilt { kind, path: path.clone(), origin }),
    }
}

/// The type of a path without prefix, in LXC's order. A missing path is a directory that is not
/// there, which is how it is then reported.
fn detect(path: &Path) -> Kind {
    use std::os::unix::fs::FileTypeExt;
    let text = path.to_string_lossy();
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => Kind::Loop,
        Ok(meta) if meta.file_type().is_block_device() && text.starts_with("/dev/rbd/") => {
            Kind::Rbd
        }
        Ok(meta) if meta.file_type().is_block_device() && text.starts_with("/dev/nbd") => Kind::Nbd,
        Ok(meta) if meta.file_type().is_block_device() => Kind::Lvm,
        _ => Kind::Dir,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(backend: Option<&str>, path: &str) -> Config {
        let mut config = Config::default();
        config.rootfs.backend = backend.map(str::to_owned);
        config.rootfs.path = Some(path.into());
        config
    }

    #[test]
    fn types_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_str().unwrap();
        let found = open(&config(None, dir)).unwrap().unwrap();
        assert_eq!((found.kind(), found.path()), (Kind::Dir, temp.path()));
        assert_eq!(found.root_source(), RootSource::Dir(temp.path().into()));
        assert_eq!(open(&config(None, "/missing")).unwrap().unwrap().kind(), Kind::Dir);
        let image = temp.path().join("image");
        std::fs::write(&image, "x").unwrap();
        let refused = open(&config(None, image.to_str().unwrap())).err().unwrap();
        assert!(matches!(refused, StorageError::NotBuilt { kind: Kind::Loop, .. }));
        for word in ["btrfs", "zfs", "lvm", "loop", "rbd", "nbd"] {
            let refused = open(&config(Some(word), "/x")).err().unwrap();
            assert!(refused.to_string().contains(word), "{refused}");
        }
        let refused = open(&config(Some("aufs"), "/x")).err().unwrap();
        assert!(matches!(refused, StorageError::UnknownType { .. }));
        assert!(open(&Config::default()).unwrap().is_none());
    }

    #[test]
    fn overlay_paths() {
        let found = open(&config(Some("overlay"), "/l1:/l2:/c/overlay/delta")).unwrap().unwrap();
        let RootSource::Overlay { lower, upper, work } = found.root_source() else { panic!() };
        assert_eq!(lower, [Path::new("/l1"), Path::new("/l2")]);
        assert_eq!(upper, Path::new("/c/overlay/delta"));
        assert_eq!(work, Path::new("/c/overlay/work"));
        assert_eq!(
            open(&config(Some("overlayfs"), "/a:/b/d")).unwrap().unwrap().kind(),
            Kind::Overlay
        );
        for bad in ["/a", "a:/b", "/a:b", "", ":", "/a::/b"] {
            assert!(open(&config(Some("overlay"), bad)).is_err(), "{bad}");
        }
    }
}
