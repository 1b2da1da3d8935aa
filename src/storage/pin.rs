//! Keeping the root file system busy while the container runs, so that nobody on the host can
//! remount it read-only under it (LXC's `pin_rootfs`).

use super::{Backend, Fault, Kind, StorageError};
use crate::config::Config;
use crate::sys::errno;
use crate::sys::fd::OpenFlags;
use crate::sys::mount;
use crate::sys::path::{Lookup, Root};
use std::os::fd::OwnedFd;
use std::path::Path;

/// statfs(2) magic of NFS, where an unlinked open file becomes a visible one.
const NFS_MAGIC: u64 = 0x6969;
const NAME: &str = ".lxc_keep";

/// An unlinked file, open for writing, in the root file system. Dropping it lets go.
pub struct Pin {
    _file: OwnedFd,
}

impl Pin {
    /// Pins the root file system of a container, in the monitor. `None` where LXC pins nothing
    /// either: ids are mapped, an overlay, something that is no directory, a read-only file
    /// system.
    ///
    /// The name is only a name: a link that the container left there is removed, not followed,
    /// and anything else than a fresh file of ours is not opened.
    ///
    /// # Errors
    /// The root file system cannot be opened.
    pub fn rootfs(config: &Config, backend: &dyn Backend) -> Result<Option<Self>, StorageError> {
        if !config.idmap.is_empty() || backend.kind() != Kind::Dir {
            return Ok(None);
        }
        let root = Root::open(backend.path()).map_err(|source| Fault::Pin {
            path: backend.path().to_owned(),
            origin: config.origin("lxc.rootfs.path").cloned(),
            source,
        })?;
        Ok(try_pin(&root))
    }
}

/// Best effort: a container whose disk is full, or read-only, starts all the same.
fn try_pin(root: &Root) -> Option<Pin> {
    let name = Path::new(NAME);
    let flags = OpenFlags::RDWR | OpenFlags::CREATE | OpenFlags::EXCL | OpenFlags::NOFOLLOW;
    let mut made = root.open_at(name, flags, 0o600, Lookup::NoSymlinks);
    if made.as_ref().is_err_and(|e| e.is(errno::EEXIST)) {
        // Left by a monitor that was killed on NFS, or planted.
        made =
            root.unlink(name).and_then(|()| root.open_at(name, flags, 0o600, Lookup::NoSymlinks));
    }
    match made {
        Ok(file) => {
            if !matches!(mount::fs_magic(root.fd()), Ok(NFS_MAGIC)) {
                if let Err(e) = root.unlink(name) {
                    log::debug!("the rootfs stays with {NAME}: {e}");
                }
            }
            Some(Pin { _file: file })
        }
        Err(e) => {
            log::debug!("the rootfs is not pinned: {e}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_name_is_replaced_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let outside = temp.path().join("outside");
        std::os::unix::fs::symlink("../outside", root.join(NAME)).unwrap();
        let open = Root::open(&root).unwrap();
        assert!(try_pin(&open).is_some());
        assert!(!outside.exists() && !root.join(NAME).exists());
        open.mknod(Path::new(NAME), crate::sys::path::NodeKind::Fifo, 0o600, 0).unwrap();
        assert!(try_pin(&open).is_some());
        std::fs::create_dir(root.join(NAME)).unwrap();
        assert!(try_pin(&open).is_none());
    }
}
