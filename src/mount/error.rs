//! What can go wrong with the mounts, and what to do about it.

use super::fstab::FstabProblem;
use crate::sys::errno;
use crate::sys::error::SysError;
use crate::util::blame::{DEV_FULL, Explain, Origin};
use std::path::PathBuf;

/// A mount that cannot be had, in one word: every result with it is handed up in registers.
pub type MountError = Box<Fault>;

/// What a [`MountError`] says.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// `lxc.mount.fstab` cannot be read.
    #[error("cannot read the fstab file \"{}\"", path.display())]
    FstabFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// A line of the fstab file, or an entry, makes no sense.
    #[error("the mount entry \"{text}\" {problem}")]
    Line {
        /// The line.
        text: String,
        /// Where it is.
        origin: Origin,
        /// What is wrong.
        problem: FstabProblem,
    },
    /// The value of a key makes no sense.
    #[error("{key} {problem}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Where it is set.
        origin: Option<Origin>,
        /// What is wrong.
        problem: FstabProblem,
    },
    /// `idmap=container` without `lxc.idmap`.
    #[error("idmap=container needs a container with lxc.idmap")]
    NoIdMap {
        /// Where it is asked for.
        origin: Option<Origin>,
    },
    /// The mount point of the root file system is missing.
    #[error("cannot use \"{}\" as mount point of the root file system", path.display())]
    MountPoint {
        /// The directory.
        path: PathBuf,
        /// Line of `lxc.rootfs.mount`.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// The host's mounts cannot be made to keep the container's to itself.
    #[error("cannot make the mounts of the new mount namespace slaves of the host's")]
    Slave(#[source] SysError),
    /// The root file system cannot be mounted.
    #[error("cannot mount the root file system {what}")]
    Rootfs {
        /// Type and path.
        what: String,
        /// Line of `lxc.rootfs.path`.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// A hook or an entry mounted something over the root file system.
    #[error("the root file system at \"{}\" was covered by another mount", path.display())]
    Covered {
        /// The mount point.
        path: PathBuf,
    },
    /// /dev, /proc or /sys of the root file system is a link.
    #[error("\"/{dir}\" of the root file system is a symbolic link or goes through one")]
    LinkedDir {
        /// Without the leading slash.
        dir: String,
        /// Why.
        source: SysError,
    },
    /// A mount that `lxc.mount.auto` or `lxc.autodev` asks for.
    #[error("cannot mount {what} on \"/{target}\"")]
    Auto {
        /// What is mounted.
        what: &'static str,
        /// Where, without the leading slash.
        target: String,
        /// Why.
        source: SysError,
    },
    /// The target directory or file of a mount cannot be opened or made.
    #[error("cannot {verb} \"/{target}\" of the root file system")]
    Target {
        /// `open` or `make`.
        verb: &'static str,
        /// Without the leading slash.
        target: String,
        /// Line of the mount, when it has one.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// The source of a bind mount cannot be opened.
    #[error("cannot open \"{}\" to mount it on \"/{target}\"", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Without the leading slash.
        target: String,
        /// Line of the mount.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// An entry cannot be mounted.
    #[error("cannot mount {what} on \"/{target}\"")]
    Entry {
        /// The source, quoted, and the file system.
        what: String,
        /// Without the leading slash.
        target: String,
        /// Line of the mount.
        origin: Origin,
        /// Why.
        source: SysError,
    },
    /// The ids of a mount cannot be mapped.
    #[error("cannot map the ids of \"{what}\"")]
    IdMap {
        /// The source.
        what: String,
        /// Line of the mount.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// An overlay that the kernel lets only the host's root mount.
    #[error("cannot mount {what} in a user namespace")]
    UserOverlay {
        /// The root file system, or the target.
        what: String,
        /// Line of the mount.
        origin: Option<Origin>,
        /// Why.
        source: SysError,
    },
    /// A device node, or one of the links in /dev.
    #[error("cannot make \"/dev/{name}\"")]
    Node {
        /// Its name.
        name: &'static str,
        /// Why.
        source: SysError,
    },
    /// A device that cannot be made cannot be bound from the host either.
    #[error("\"/dev/{name}\" of the host is not the device {major}:{minor}")]
    HostNode {
        /// Its name.
        name: &'static str,
        /// What it should be.
        major: u32,
        /// What it should be.
        minor: u32,
    },
    /// The cgroup mounts that were asked for do not exist on this machine.
    #[error("lxc.mount.auto asks for cgroup2, which this machine does not have mounted")]
    NoUnified,
    /// pivot_root or its replacement.
    #[error("cannot change to the new root directory")]
    Pivot(#[source] SysError),
    /// The shared-mounts directory after pivot_root.
    #[error("cannot make the shared mounts at \"/{target}\" a slave of the host's")]
    ShMounts {
        /// Without the leading slash.
        target: String,
        /// Why.
        source: SysError,
    },
}

impl Fault {
    fn cause(&self) -> Option<&SysError> {
        match self {
            Self::FstabFile { source, .. }
            | Self::MountPoint { source, .. }
            | Self::Slave(source)
            | Self::Rootfs { source, .. }
            | Self::LinkedDir { source, .. }
            | Self::Auto { source, .. }
            | Self::Target { source, .. }
            | Self::Source { source, .. }
            | Self::Entry { source, .. }
            | Self::IdMap { source, .. }
            | Self::UserOverlay { source, .. }
            | Self::Node { source, .. }
            | Self::Pivot(source)
            | Self::ShMounts { source, .. } => Some(source),
            Self::Line { .. }
            | Self::Setting { .. }
            | Self::NoIdMap { .. }
            | Self::Covered { .. }
            | Self::HostNode { .. }
            | Self::NoUnified => None,
        }
    }
}

impl Explain for Fault {
    fn errno(&self) -> Option<i32> {
        self.cause().map(|cause| cause.errno)
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Line { origin, .. } | Self::Entry { origin, .. } => Some(origin),
            Self::Setting { origin, .. }
            | Self::NoIdMap { origin }
            | Self::MountPoint { origin, .. }
            | Self::Rootfs { origin, .. }
            | Self::Target { origin, .. }
            | Self::Source { origin, .. }
            | Self::UserOverlay { origin, .. }
            | Self::IdMap { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let number = self.errno().unwrap_or(0);
        let hint = match self {
            // mount(2) says "no space" when the namespace may hold no more mounts.
            Self::Auto { .. } | Self::Entry { .. } | Self::Rootfs { .. }
                if number == errno::ENOSPC =>
            {
                "too many mounts: sysctl -w fs.mount-max=200000".to_owned()
            }
            Self::Node { .. } if number == errno::ENOSPC => DEV_FULL.to_owned(),
            Self::MountPoint { path, .. } if number == errno::EACCES => {
                format!(
                    "the container's root must reach it: chmod a+x the directories of {}",
                    path.display()
                )
            }
            Self::MountPoint { path, .. } => format!("mkdir -p {}", path.display()),
            Self::Line { problem: FstabProblem::TargetElsewhere(target), .. } => {
                let target = target.to_string_lossy();
                format!(
                    "write the target relative to the rootfs: {}",
                    target.trim_start_matches('/')
                )
            }
            Self::Line { problem: FstabProblem::ExtraField(_), .. } => {
                "write \\040 for a blank in a path".to_owned()
            }
            Self::LinkedDir { dir, .. } => {
                format!("replace it by a real directory: rm ROOTFS/{dir} && mkdir ROOTFS/{dir}")
            }
            Self::Target { origin: Some(_), .. } if number == errno::ENOENT => {
                "add create=dir or create=file to the options of the entry".to_owned()
            }
            Self::Target { .. } if number == errno::ELOOP => {
                "a mount target may not go through a symbolic link: name the real path".to_owned()
            }
            Self::Source { path, .. } if number == errno::ENOENT => {
                format!("mkdir -p {}, or add optional to the options", path.display())
            }
            Self::Rootfs { .. } if number == errno::EACCES => {
                "every directory above the rootfs needs the x bit for the container's root: \
                 chmod o+x DIRECTORY"
                    .to_owned()
            }
            Self::Entry { source, .. }
                if (source.call, number) == ("move_mount", errno::EINVAL)
                    || (source.call, number) == ("mount", errno::ENOTDIR) =>
            {
                "a directory goes on a directory, a file on a file (create=dir, create=file)"
                    .to_owned()
            }
            Self::Entry { .. } if number == errno::ENODEV => {
                "this kernel has no such file system, see /proc/filesystems: modprobe TYPE"
                    .to_owned()
            }
            Self::Entry { source, .. }
                if matches!(source.call, "mount_setattr" | "mount") && number == errno::EPERM =>
            {
                "a user namespace may not loosen what the host has mounted, nor change its access \
                 times: remove noatime, strictatime, rw, dev, suid or exec"
                    .to_owned()
            }
            Self::IdMap { .. } if number == errno::EINVAL => {
                "this file system cannot map ids on this kernel: remove idmap=, or keep the files \
                 on ext4, xfs or btrfs"
                    .to_owned()
            }
            Self::IdMap { .. } if number == errno::EPERM => {
                "the user namespace of idmap= must not be the host's own".to_owned()
            }
            Self::IdMap { .. } if number == errno::ENOSYS => {
                "mapping the ids of a mount needs Linux 5.12: remove idmap=".to_owned()
            }
            Self::UserOverlay { .. } => {
                "this needs Linux 5.11: remove lxc.idmap, or lxc-copy -B dir as root".to_owned()
            }
            Self::Auto { what: "sysfs", .. } if number == errno::EPERM => {
                "a user namespace without its own network namespace cannot mount sysfs: use \
                 lxc.mount.entry = /sys sys none rbind,optional 0 0"
                    .to_owned()
            }
            Self::NoUnified => "mount -t cgroup2 none /sys/fs/cgroup/unified".to_owned(),
            _ => return None,
        };
        Some(hint)
    }
}
