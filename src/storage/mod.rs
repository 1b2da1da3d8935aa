//! Where root file systems come from: the backends behind `lxc.rootfs.path`.
//!
//! [`open`] finds the backend by the type prefix, or by what the path is; everything else goes
//! through the [`Backend`] trait. One file per backend; a new one is a file, a `Kind` and a line
//! in [`open`].

pub mod btrfs;
pub mod clone;
pub mod device;
pub mod dir;
mod error;
pub mod image;
pub mod nbd;
pub mod overlay;
pub mod pin;
pub mod tool;
pub mod zfs;

pub use error::{Fault, StorageError};
pub use nbd::Attached;
pub use pin::Pin;
pub use tool::Format;

use crate::config::Config;
use crate::mount::RootSource;
use crate::sys::path as syspath;
use crate::util::blame::Origin;
use std::os::fd::AsFd;
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

    /// Those of new containers.
    pub const NEW: [Self; 5] = [Self::Dir, Self::Btrfs, Self::Zfs, Self::Lvm, Self::Loop];

    /// By its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
    }

    /// True if it is outside of the container's directory, and made and removed by itself.
    pub fn is_volume(self) -> bool {
        matches!(self, Self::Lvm | Self::Zfs)
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

    /// The value of `lxc.rootfs.path`.
    fn location(&self) -> String {
        format!("{}:{}", self.kind().name(), self.path().display())
    }

    /// What the child mounts.
    fn root_source(&self) -> RootSource {
        let path = self.path().to_owned();
        match self.kind() {
            Kind::Dir | Kind::Btrfs | Kind::Overlay => RootSource::Dir(path),
            Kind::Loop => RootSource::Image(path),
            Kind::Lvm | Kind::Rbd | Kind::Nbd => RootSource::Block(path),
            Kind::Zfs => RootSource::Dataset(path),
        }
    }

    /// Looks if it can be mounted, as far as that can be seen without doing anything.
    fn check(&self) -> Result<(), StorageError> {
        self.check_device()
    }

    /// Fails if it is on a device that is not there.
    fn check_device(&self) -> Result<(), StorageError> {
        device_is_there(self.kind(), self.root_source())
    }

    /// Makes a device of what is none by itself, for as long as the result lives; `None` where
    /// [`Backend::root_source`] can be mounted as it is.
    fn attach(&self) -> Result<Option<Attached>, StorageError> {
        Ok(None)
    }

    /// Makes the empty root file system, owned by `owner` (uid and gid on the host). What exists
    /// is left alone. Unless a backend can, only the tools of its type do this.
    fn create(&self, _owner: (u32, u32)) -> Result<(), StorageError> {
        Err(Box::new(Fault::Foreign { kind: self.kind() }))
    }

    /// Makes it share everything with `source`, a volume of the same type.
    fn share(&self, _source: &Path) -> Result<(), StorageError> {
        Err(Box::new(Fault::NoSnapshot { kind: self.kind(), what: "snapshotted" }))
    }

    /// Removes it with all its content. Something that is gone already is no error. Unless a backend
    /// can, only the tools of its type do this.
    fn destroy(&self) -> Result<(), StorageError> {
        Err(Box::new(Fault::Foreign { kind: self.kind() }))
    }

    /// Unmounts it from where the host sees it.
    fn detach(&self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Its container's directory was moved: it belongs on `rootfs` now.
    fn settle(&self, _rootfs: &Path) -> Result<(), StorageError> {
        Ok(())
    }
}

/// See [`Backend::attach`].
pub fn attach(config: &Config) -> Result<Option<Attached>, StorageError> {
    open(config)?.map_or(Ok(None), |backend| backend.attach())
}

fn device_is_there(kind: Kind, source: RootSource) -> Result<(), StorageError> {
    use std::os::unix::fs::FileTypeExt;
    let device = |path| std::fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device());
    match source {
        RootSource::Block(path) if !device(&path) => Err(Box::new(Fault::NoDevice { kind, path })),
        _ => Ok(()),
    }
}

/// The backend of `lxc.rootfs.path`; `None` when it is not set.
///
/// # Errors
/// An unknown type, or a path that is none of its type.
pub fn open(config: &Config) -> Result<Option<Box<dyn Backend>>, StorageError> {
    let Some(path) = &config.rootfs.path else { return Ok(None) };
    let origin = config.origin("lxc.rootfs.path").cloned();
    let kind = match config.rootfs.backend.as_deref() {
        Some(word) => match Kind::parse(word) {
            Some(kind) => kind,
            None => return Err(Box::new(Fault::UnknownType { word: word.to_owned(), origin })),
        },
        None => detect(path),
    };
    Ok(Some(of_kind(kind, path.clone(), origin)?))
}

fn of_kind(
    kind: Kind,
    path: PathBuf,
    origin: Option<Origin>,
) -> Result<Box<dyn Backend>, StorageError> {
    Ok(match kind {
        Kind::Dir => Box::new(dir::Dir::new(path, origin)),
        Kind::Overlay => Box::new(overlay::Overlay::parse(&path, origin)?),
        Kind::Btrfs => Box::new(btrfs::Btrfs::new(path)),
        Kind::Loop => Box::new(image::Image::new(path, Format::default())),
        Kind::Lvm => Box::new(device::Volume::existing(path)),
        Kind::Zfs => Box::new(zfs::Dataset::existing(path)),
        Kind::Nbd => Box::new(nbd::Nbd::new(path)),
        Kind::Rbd => Box::new(device::Foreign::new(path)),
    })
}

/// The volume of a [`Backend::location`] that was noted while it was made.
pub fn noted(location: &str) -> Option<Box<dyn Backend>> {
    let (word, path) = location.trim().split_once(':')?;
    let kind = Kind::parse(word).filter(|kind| kind.is_volume())?;
    of_kind(kind, path.into(), None).ok()
}

/// Where the backend of a new container keeps its root file system, in the container's directory
/// or as `made` says.
///
/// # Errors
/// A type that has to be there already (nbd, rbd), a program that is missing, a volume that is
/// there already.
pub fn fresh(kind: Kind, container: &Path, made: &Made) -> Result<Box<dyn Backend>, StorageError> {
    let format = made.format.clone();
    Ok(match kind {
        Kind::Dir => Box::new(dir::Dir::new(made_dir(container, made), None)),
        Kind::Btrfs => Box::new(btrfs::Btrfs::new(made_dir(container, made))),
        Kind::Loop => Box::new(image::Image::new(container.join("rootdev"), format)),
        Kind::Lvm => Box::new(device::Volume::fresh(container, made)?),
        Kind::Zfs => Box::new(zfs::Dataset::fresh(container, made)?),
        kind => return Err(Box::new(Fault::NotNew { kind })),
    })
}

/// Fails if a program that makes volumes of the type is missing.
pub fn need(kind: Kind) -> Result<(), StorageError> {
    match kind {
        Kind::Lvm => tool::need(device::MAKE).map(drop),
        Kind::Zfs => tool::need(zfs::TOOL).map(drop),
        _ => Ok(()),
    }
}

/// What a new volume is called.
fn volume_name<'a>(container: &'a Path, made: &'a Made) -> &'a str {
    let name = container.file_name().and_then(|name| name.to_str());
    made.volume.as_deref().or(name).unwrap_or_default()
}

fn made_dir(container: &Path, made: &Made) -> PathBuf {
    made.dir.clone().unwrap_or_else(|| container.join("rootfs"))
}

/// Options of a new root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// `--dir`.
    pub dir: Option<PathBuf>,
    /// `--fstype`, `--fssize`.
    pub format: Format,
    /// `--vgname`.
    pub group: Option<String>,
    /// `--lvname`, of zfs too.
    pub volume: Option<String>,
    /// `--thinpool`.
    pub pool: Option<String>,
    /// The pool that is taken without it, if there is one.
    pub usual_pool: Option<String>,
    /// `--zfsroot`.
    pub dataset: Option<String>,
}

/// True if subvolumes can be made in the directory.
pub fn has_subvolumes(dir: &Path) -> bool {
    btrfs::is_at(dir)
}

/// Gives the top directory of a root file system to the container's root.
fn own_root(source: &RootSource, owner: (u32, u32)) -> Result<(), StorageError> {
    if owner == (0, 0) {
        return Ok(());
    }
    let own = || {
        let (_mount, top) = crate::mount::open_source(source)?;
        syspath::set_owner(top.as_fd(), owner.0, owner.1)
    };
    own().map_err(|cause| Box::new(Fault::Open { what: source.to_string(), source: cause }))
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
        let found = open(&config(None, image.to_str().unwrap())).unwrap().unwrap();
        assert_eq!(found.root_source(), RootSource::Image(image.clone()));
        for word in ["lvm", "rbd", "nbd"] {
            let refused =
                open(&config(Some(word), "/dev/x")).unwrap().unwrap().check().unwrap_err();
            assert!(refused.to_string().contains(&format!("{word}:/dev/x")), "{refused}");
        }
        let refused = open(&config(Some("aufs"), "/x")).err().unwrap();
        assert!(matches!(*refused, Fault::UnknownType { .. }));
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
        let wish = clone::Wish { snapshot: true, ..clone::Wish::default() };
        let plan = |source: &str, dir: &str| {
            let source = open(&config(None, source)).unwrap().unwrap();
            clone::plan(&*source, Path::new(dir), &wish).map(|fresh| fresh.backend.location())
        };
        assert_eq!(plan("/none", "/new").unwrap(), "overlay:/none:/new/overlay/delta");
        for (source, dir) in [("/no:ne", "/new"), ("/none", "/n:ew")] {
            assert!(matches!(*plan(source, dir).unwrap_err(), Fault::NoSnapshot { .. }));
        }
        for bad in ["/a", "a:/b", "/a:b", "", ":", "/a::/b"] {
            assert!(open(&config(Some("overlay"), bad)).is_err(), "{bad}");
        }
    }
}
