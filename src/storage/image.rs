//! The `loop` backend: a file with a file system in it.

use super::tool::{self, Format};
use super::{Backend, Fault, Kind, StorageError, dir};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::{SysError, dirs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A file, and how it is formatted when it is made.
pub struct Image {
    path: PathBuf,
    format: Format,
}

impl Image {
    /// The file `path`, which need not exist yet.
    pub fn new(path: PathBuf, format: Format) -> Self {
        Self { path, format }
    }

    /// The empty file, which must not be there.
    pub(super) fn make_file(&self) -> Result<OwnedFd, SysError> {
        let (above, _) = dir::parent_of(&self.path)?;
        dirs::make_all(above, 0o755)?;
        let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL | OpenFlags::NOFOLLOW;
        fd::open(&self.path, flags, 0o600)
    }
}

impl Backend for Image {
    fn kind(&self) -> Kind {
        Kind::Loop
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        let fail = |source| Box::new(Fault::Create { path: self.path.clone(), source });
        let file = self.make_file().map_err(fail)?;
        fd::set_size(file.as_fd(), self.format.bytes).map_err(fail)?;
        drop(file);
        tool::make_file_system(&self.path, &self.format)?;
        super::own_root(&self.root_source(), owner)
    }

    fn destroy(&self) -> Result<(), StorageError> {
        dir::remove(&self.path)
    }
}
