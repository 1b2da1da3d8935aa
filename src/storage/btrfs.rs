//! The `btrfs` backend: a subvolume.

use super::{Backend, Fault, Kind, StorageError, dir};
use crate::sys::{SysError, btrfs, copy, dirs, path as syspath};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A subvolume.
pub struct Btrfs {
    path: PathBuf,
}

impl Btrfs {
    /// The subvolume `path`, which need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Makes it share everything with the subvolume `source`. EXDEV on another file system.
    pub(super) fn snapshot_of(&self, source: &Path) -> Result<(), SysError> {
        let source = copy::open(source)?;
        let (above, name) = dir::parent_of(&self.path)?;
        dirs::make_all(above, 0o755)?;
        btrfs::snapshot(source.as_fd(), copy::open(above)?.as_fd(), name)
    }
}

/// True if a subvolume can be made in the directory.
pub(super) fn is_at(dir: &Path) -> bool {
    copy::open(dir).is_ok_and(|dir| btrfs::is_on(dir.as_fd()))
}

impl Backend for Btrfs {
    fn kind(&self) -> Kind {
        Kind::Btrfs
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        let make = || {
            if dirs::exists(&self.path) {
                return Ok(());
            }
            let (above, name) = dir::parent_of(&self.path)?;
            dirs::make_all(above, 0o755)?;
            btrfs::create(copy::open(above)?.as_fd(), name)?;
            dirs::set_mode(&self.path, 0o755)?;
            syspath::set_owner(copy::open(&self.path)?.as_fd(), owner.0, owner.1)
        };
        make().map_err(|source| Box::new(Fault::Create { path: self.path.clone(), source }))
    }

    fn destroy(&self) -> Result<(), StorageError> {
        dir::remove(&self.path)
    }
}
