//! The mounts of a container: a pure plan, and the steps that carry it out in the child.
//!
//! [`plan::plan`] turns the configuration into a [`MountPlan`]; the steps below it are called by
//! the child in the order in which they are listed there (LXC's `lxc_setup`). Every target below
//! the root file system is opened once, without following links, and mounted on by descriptor.
//! `fd.rs` has the mount primitives with the new API, `legacy.rs` those of kernels before 5.12.

pub mod auto;
mod block;
pub mod dev;
pub mod entry;
pub mod error;
pub mod fd;
pub mod fstab;
pub mod legacy;
pub mod pivot;
pub mod plan;
pub mod rootfs;

pub use auto::{CgroupHierarchy, CgroupMountView, cgroup_auto, proc_sys};
pub use dev::{boot_id, dev_links, dev_nodes, dev_tmpfs};
pub use entry::{apply_idmaps, ask_idmaps, ask_overlay, attach_idmapped, entries, open_idmapped};
pub use error::{Fault, MountError};
pub use pivot::{after_pivot, pivot};
pub use plan::MountPlan;
pub(crate) use rootfs::unescape_octal;
pub use rootfs::{check_not_covered, mount_source, open_rootfs, open_source, rootfs, slave_all};

use crate::config::Config;
use crate::sys::path::Root;
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where LXC (and `make install`) keeps the directory that root file systems are mounted on.
pub const DEFAULT_MOUNT_POINT: &str = match option_env!("LXCBOX_ROOTFS_MOUNT") {
    Some(path) => path,
    None => "/usr/lib/lxc/rootfs",
};

/// What becomes the root file system, as the storage backend says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A directory, bound with everything mounted below it.
    Dir(PathBuf),
    /// overlayfs.
    Overlay {
        /// Read-only layers, the topmost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The kernel's scratch directory, on the file system of `upper`.
        work: PathBuf,
    },
    /// A file that holds a file system of any type.
    Image(PathBuf),
    /// A block device with one.
    Block(PathBuf),
    /// A dataset of ZFS.
    Dataset(PathBuf),
}

impl RootSource {
    /// True if to mount it takes privilege on the host: whoever is root in a user namespace alone
    /// is given the mount.
    pub fn needs_host(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Block(_) | Self::Dataset(_))
    }

    /// The directory to fall back on as mount point.
    fn own_directory(&self, config: &Config) -> PathBuf {
        match self {
            Self::Dir(path) | Self::Overlay { upper: path, .. } => path.clone(),
            // LXC makes it beside the config and the image.
            Self::Image(path) => path.with_file_name("rootfs"),
            Self::Block(_) | Self::Dataset(_) => config
                .origin("lxc.rootfs.path")
                .map_or_else(PathBuf::new, |origin| origin.file.with_file_name("rootfs")),
        }
    }
}

impl fmt::Display for RootSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
            Self::Image(path) => write!(f, "loop:{}", path.display()),
            Self::Block(path) => write!(f, "{}", path.display()),
            Self::Dataset(name) => write!(f, "zfs:{}", name.display()),
            Self::Overlay { lower, upper, .. } => {
                f.write_str("overlay")?;
                lower.iter().try_for_each(|path| write!(f, ":{}", path.display()))?;
                write!(f, ":{}", upper.display())
            }
        }
    }
}

/// What [`plan::plan`] needs beside the configuration.
pub struct Inputs<'a> {
    /// The directory of containers.
    pub lxcpath: &'a Path,
    /// The container's name.
    pub name: &'a str,
    /// The root file system, from `storage`.
    pub root: Option<RootSource>,
    /// From [`load_mount_point`].
    pub mount_point: &'a Path,
    /// From [`load_fstab`].
    pub fstab: Vec<fstab::Entry>,
}

/// Reads `lxc.mount.fstab`; no entries when it is not set.
pub fn load_fstab(config: &Config) -> Result<Vec<fstab::Entry>, MountError> {
    config.mount_fstab.as_deref().map_or(Ok(Vec::new()), fstab::load)
}

/// The directory on which the root file system is mounted until pivot_root, `LXC_ROOTFS_MOUNT`:
/// `lxc.rootfs.mount`, else LXC's own if this machine has it, else the root file system's own
/// directory, which needs nothing to be installed.
///
/// # Errors
/// `lxc.rootfs.mount` names something that is not a directory.
pub fn load_mount_point(config: &Config, root: Option<&RootSource>) -> Result<PathBuf, MountError> {
    if let Some(path) = &config.rootfs.mount {
        return match Root::open(path) {
            Ok(_) => Ok(path.clone()),
            Err(source) => Err(Box::new(Fault::MountPoint {
                path: path.clone(),
                origin: config.origin("lxc.rootfs.mount").cloned(),
                source,
            })),
        };
    }
    let default = Path::new(DEFAULT_MOUNT_POINT);
    match root {
        Some(root) if Root::open(default).is_err() => Ok(root.own_directory(config)),
        _ => Ok(default.to_owned()),
    }
}

/// Another descriptor of a tree.
///
/// # In the child
pub fn dup_tree(tree: BorrowedFd<'_>) -> Result<OwnedFd, MountError> {
    crate::sys::fd::dup_above(tree, 3).map_err(|source| Box::new(Fault::Slave(source)))
}

/// The root file system while it is being set up, in the child.
pub struct RootMount {
    /// The root of the mounted tree; names below it are resolved without following links.
    pub root: Root,
    /// The tmpfs on /dev, when it is ours.
    dev: Option<Root>,
    /// The procfs that `lxc.mount.auto` mounted.
    proc: Option<OwnedFd>,
    /// The host's root.
    old_root: OwnedFd,
}

impl RootMount {
    /// The tmpfs on /dev, when `lxc.autodev` made one.
    pub fn dev(&self) -> Option<&Root> {
        self.dev.as_ref()
    }
}
