//! The `dir` backend: a plain directory.

use super::{Backend, Fault, Kind, StorageError};
use crate::sys::{SysError, dirs, errno, fd, path as syspath, tree};
use crate::util::blame::Origin;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// A directory.
pub struct Dir {
    path: PathBuf,
    origin: Option<Origin>,
}

impl Dir {
    /// The directory `path`, which need not exist yet.
    pub fn new(path: PathBuf, origin: Option<Origin>) -> Self {
        Self { path, origin }
    }

    /// Line of `lxc.rootfs.path`.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl Backend for Dir {
    fn kind(&self) -> Kind {
        Kind::Dir
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        make_owned(&self.path, owner)
    }

    fn destroy(&self) -> Result<(), StorageError> {
        remove(&self.path)
    }
}

/// Makes a directory, its parents too, and gives it to `owner`. A new one is 0755 whatever the umask:
/// who is not root inside has to pass it.
pub(super) fn make_owned(path: &Path, owner: (u32, u32)) -> Result<(), StorageError> {
    let made = || {
        dirs::make_all(parent_of(path)?.0, 0o755)?;
        match dirs::make(path, 0o755) {
            Err(e) if !e.is(errno::EEXIST) => return Err(e),
            _ => {}
        }
        let flags = fd::OpenFlags::DIRECTORY | fd::OpenFlags::RDONLY | fd::OpenFlags::NOFOLLOW;
        let dir = fd::open(path, flags, 0)?;
        syspath::set_owner(dir.as_fd(), owner.0, owner.1)
    };
    made().map_err(|source| Box::new(Fault::Create { path: path.to_owned(), source }))
}

/// Removes a tree on one file system: links are not followed, flags that forbid removal are
/// cleared, btrfs subvolumes go too. Refused before anything is touched when something is
/// mounted in it.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    let fail = |source| Box::new(Fault::Destroy { path: path.to_owned(), source });
    let (parent, name) = parent_of(path).map_err(fail)?;
    // Links above the last component are the administrator's; the last one is removed itself.
    let parent = match tree::real_path(parent) {
        Ok(parent) => parent,
        Err(e) if e.is(errno::ENOENT) => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    no_mounts(&parent.join(name))?;
    let parent = tree::open(&parent).map_err(fail)?;
    tree::remove(parent.as_fd(), name).map_err(fail)
}

/// Fails if something is mounted in the directory, whose path has no links.
pub fn no_mounts(path: &Path) -> Result<(), StorageError> {
    let fail = |source| Box::new(Fault::Destroy { path: path.to_owned(), source });
    let table = fd::read_to_string("/proc/self/mountinfo").map_err(fail)?;
    match tree::mounts_below(&table, path.as_os_str()).pop() {
        Some(mount) => Err(Box::new(Fault::Mounted { mount })),
        None => Ok(()),
    }
}

/// The directory that holds `path`, and the name in it.
pub(super) fn parent_of(path: &Path) -> Result<(&Path, &std::ffi::OsStr), SysError> {
    let none = || SysError::new("open", format!("\"{}\"", path.display()), errno::EINVAL);
    path.parent().zip(path.file_name()).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("c/rootfs");
        let dir = Dir::new(path.clone(), None);
        dir.destroy().unwrap();
        let me = (crate::sys::cred::euid(), crate::sys::cred::egid());
        dir.create(me).unwrap();
        dir.create(me).unwrap();
        std::fs::create_dir(path.join("etc")).unwrap();
        dir.destroy().unwrap();
        assert!(!path.exists() && temp.path().join("c").exists());
    }
}
