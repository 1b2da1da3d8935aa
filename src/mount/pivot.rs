//! The last steps: into the new root, and what can only be done there.

use super::auto::TMPFS_MAGIC;
use super::plan::MountPlan;
use super::rootfs::unescape_octal;
use super::{Fault, MountError, RootMount};
use crate::sys::error::Result as SysResult;
use crate::sys::fd as sysfd;
use crate::sys::mount::{self as sysmount, Propagation, Reach};
use crate::sys::path::{Lookup, Root};
use crate::sys::{errno, process};
use std::os::fd::AsFd;
use std::path::Path;

/// statfs(2) magic of a root that, as tmpfs, pivot_root cannot leave.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// Makes the mounted tree the root of the mount namespace, lets go of the host's, and shares the
/// new mounts among themselves as LXC does. Working directory afterwards: `/`. Without a root
/// file system of its own the container keeps the host's tree, and nothing is changed.
///
/// # In the child
/// After everything that needs the host's paths. No descriptor of the old root stays open here.
pub fn pivot(plan: &MountPlan, mut rm: RootMount) -> Result<(), MountError> {
    let failed = |source| Box::new(Fault::Pivot(source));
    if plan.root.is_none() {
        return process::fchdir(rm.root.fd()).map_err(failed);
    }
    // In a chroot pivot_root would change that mount only. The namespace would keep the host's tree
    // as its root, and whoever enters it, lxc-attach or a program inside, would stand there.
    match sysmount::leave_chroot() {
        Ok(root) => rm.old_root = root,
        Err(e) => log::debug!("{e}"),
    }
    match sysmount::pivot(rm.root.fd(), rm.old_root.as_fd()) {
        Err(e) if e.is(errno::EINVAL) && on_initramfs(&rm) => move_root(&rm),
        result => result,
    }
    .and_then(|()| sysmount::propagate_fd(rm.root.fd(), Propagation::Shared, Reach::Tree))
    .and_then(|()| propagate_as_asked(plan, &rm.root))
    .map_err(failed)
}

/// Sharing everything undid what single mounts were asked to be (LXC leaves it at that).
fn propagate_as_asked(plan: &MountPlan, root: &Root) -> SysResult<()> {
    let own = plan.root.iter().map(|root| (Path::new(""), &root.options));
    let entries = plan.entries.iter().map(|entry| (entry.target.as_path(), &entry.options));
    for (target, options) in own.chain(entries) {
        let Some(propagation) = options.attrs.propagation else { continue };
        // What is not there was optional.
        let Ok(mounted) = root.resolve(target, Lookup::NoSymlinks) else { continue };
        let reach = options.propagation_reach.unwrap_or(Reach::One);
        match sysmount::propagate_fd(mounted.as_fd(), propagation, reach) {
            // Not a mount, for it was optional.
            Err(e) if e.is(errno::EINVAL) => {}
            result => result?,
        }
    }
    Ok(())
}

fn on_initramfs(rm: &RootMount) -> bool {
    let magic = sysmount::fs_magic(rm.old_root.as_fd());
    matches!(magic, Ok(RAMFS_MAGIC | TMPFS_MAGIC))
}

/// The host runs from its initramfs, whose root mount can be neither pivoted nor moved: every
/// other mount of the host is detached, and the new root is moved over it.
fn move_root(rm: &RootMount) -> SysResult<()> {
    let table = sysfd::read_to_string("/proc/self/mountinfo")?;
    for path in foreign_mounts(&table, sysmount::mount_id(rm.root.fd())?).iter().rev() {
        // What lies below one that is gone already is gone too.
        if let Err(e) = sysmount::detach_path(Path::new(path)) {
            log::debug!("{e}");
        }
    }
    sysmount::move_to_root(rm.root.fd())
}

/// Mount points of the table, but the root and the tree of mounts that starts at `keep`.
fn foreign_mounts(table: &str, keep: u64) -> Vec<String> {
    let mut kept = vec![keep];
    let mut paths = Vec::new();
    // A mount can stand before the one that it is mounted on: repeat until nothing is added.
    loop {
        let before = kept.len();
        paths.clear();
        for line in table.lines() {
            let mut fields = line.split(' ');
            let id = fields.next().and_then(|id| id.parse::<u64>().ok());
            let parent = fields.next().and_then(|id| id.parse::<u64>().ok());
            let (Some(id), Some(parent), Some(path)) = (id, parent, fields.nth(2)) else {
                continue;
            };
            if kept.contains(&id) {
                continue;
            }
            if kept.contains(&parent) {
                kept.push(id);
            } else if path != "/" {
                paths.push(unescape_octal(path));
            }
        }
        if kept.len() == before {
            return paths;
        }
    }
}

/// Cuts the way back from the shared-mounts directory to the host.
///
/// # In the child
/// After [`pivot`].
pub fn after_pivot(plan: &MountPlan) -> Result<(), MountError> {
    let Some(shmounts) = &plan.shmounts else { return Ok(()) };
    let cut = || -> SysResult<()> {
        let root = Root::from_fd(sysmount::open_root()?);
        let dir = root.resolve_dir(&shmounts.container, Lookup::NoSymlinks)?;
        sysmount::propagate_fd(dir.as_fd(), Propagation::Slave, Reach::Tree)
    };
    let target = shmounts.container.display().to_string();
    cut().map_err(|source| Box::new(Fault::ShMounts { target, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_mounts_are_foreign() {
        let table = "1 0 0:1 / / rw - rootfs rootfs rw\n\
            5 1 0:2 / /proc rw - proc proc rw\n\
            9 8 0:3 / /mnt/c/proc rw - proc proc rw\n\
            8 1 0:4 / /mnt/c rw - ext4 x rw\n\
            10 9 0:4 / /mnt/c/proc/sys rw - proc x rw\n\
            6 1 0:2 / /a\\040b rw - proc proc rw\n\
            bad line\n";
        assert_eq!(foreign_mounts(table, 8), ["/proc", "/a b"]);
    }
}
