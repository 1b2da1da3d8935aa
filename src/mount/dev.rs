//! /dev: the tmpfs of `lxc.autodev`, the minimal nodes, the links, and the boot id.

use super::auto::{PROC_MAGIC, TMPFS_MAGIC, open_dir};
use super::fd::{BindHow, BindSource, KERNEL_FS, NewFs, Target, bind, detached_bind};
use super::plan::MountPlan;
use super::{Fault, MountError, RootMount};
use crate::sys::error::Result as SysResult;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::mount::{self as sysmount, ATTR_RDONLY};
use crate::sys::path::{self as syspath, Lookup, NodeKind, Root};
use crate::sys::{SysError, errno, process};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The nodes of `lxc.autodev`: name, major, minor; all 0666.
const NODES: [(&str, u32, u32); 6] = [
    ("full", 1, 7),
    ("null", 1, 3),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];

/// Links that every /dev has.
const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Mounts the tmpfs of `lxc.autodev` on /dev; does nothing without it.
///
/// # In the child
/// After [`super::rootfs()`]. The tmpfs stays open in `rm` for the steps that fill it.
pub fn dev_tmpfs(plan: &MountPlan, rm: &mut RootMount) -> Result<(), MountError> {
    let Some(size) = plan.dev else { return Ok(()) };
    let dir = open_dir(rm, "dev")?;
    let size = size.to_string();
    let fs = NewFs {
        kind: "tmpfs",
        source: "none",
        options: &[("size", Some(&size)), ("mode", Some("755"))],
        attrs: 0,
        magic: TMPFS_MAGIC,
    };
    let target = Target { root: &rm.root, rel: Path::new("dev"), fd: dir.as_fd() };
    let dev = fs.mount(&target).map_err(|source| Fault::Auto {
        what: "the tmpfs for devices",
        target: "dev".to_owned(),
        source,
    })?;
    rm.dev = Some(Root::from_fd(dev));
    Ok(())
}

/// Makes the nodes that every program expects; where the kernel does not let us, or does not let
/// them be opened, the host's are bound. Does nothing without `lxc.autodev`.
///
/// # In the child
/// After the autodev hooks, whose nodes are left alone; the host's /dev is still visible.
pub fn dev_nodes(plan: &MountPlan, rm: &RootMount) -> Result<(), MountError> {
    let Some(dev) = &rm.dev else { return Ok(()) };
    let umask = process::umask(0);
    let made = make_nodes(dev, plan.user_ns);
    process::umask(umask);
    made
}

fn make_nodes(dev: &Root, user_ns: bool) -> Result<(), MountError> {
    let mut can_make = !user_ns;
    for (index, (name, major, minor)) in NODES.into_iter().enumerate() {
        let rel = Path::new(name);
        if can_make {
            match dev.mknod(rel, NodeKind::Char, 0o666, syspath::makedev(major, minor)) {
                Err(e) if e.is(errno::EPERM) => can_make = false,
                Err(e) if e.is(errno::EEXIST) => continue,
                Err(source) => return Err(Box::new(Fault::Node { name, source })),
                // A mount that a user namespace owns has nodes that nobody can open: one tells.
                Ok(()) if index == 0 && !opens(dev, rel) => {
                    dev.unlink(rel).map_err(|source| Fault::Node { name, source })?;
                    can_make = false;
                }
                Ok(()) => continue,
            }
        }
        bind_node(dev, name, major, minor)?;
    }
    // For an init that mounts its own devpts; an autodev hook may have put something else there.
    if let Err(e) = dev.mkdir_all(Path::new("pts"), 0o755) {
        log::debug!("no directory for a devpts: {e}");
    }
    Ok(())
}

fn opens(dev: &Root, rel: &Path) -> bool {
    dev.open_at(rel, OpenFlags::RDONLY, 0, Lookup::NoSymlinks).is_ok()
}

/// Binds the host's node of that name, after checking that it is the device.
fn bind_node(dev: &Root, name: &'static str, major: u32, minor: u32) -> Result<(), MountError> {
    let rel = Path::new(name);
    let refuse = |source| Box::new(Fault::Node { name, source });
    let host = sysfd::open(Path::new("/dev").join(name), OpenFlags::PATH, 0).map_err(refuse)?;
    if !is_device(&host, major, minor).map_err(refuse)? {
        return Err(Box::new(Fault::HostNode { name, major, minor }));
    }
    let file = dev.create_file(rel, 0o666).map_err(refuse)?;
    if is_device(&file, major, minor).map_err(refuse)? {
        // An autodev hook was here.
        return Ok(());
    }
    let target = Target { root: dev, rel, fd: file.as_fd() };
    bind(&BindSource::Open(host.as_fd()), &BindHow::one(0), &target).map_err(refuse)
}

fn is_device(fd: &OwnedFd, major: u32, minor: u32) -> SysResult<bool> {
    let facts = syspath::facts(fd.as_fd())?;
    Ok(facts.is_char_device() && facts.rdev == syspath::makedev(major, minor))
}

/// Makes the links `fd`, `stdin`, `stdout`, `stderr` in /dev where nothing has these names, with
/// or without `lxc.autodev`. A /dev that cannot be written is no error.
///
/// # In the child
/// After the console and the ttys.
pub fn dev_links(rm: &RootMount) -> Result<(), MountError> {
    for (name, text) in LINKS {
        let made = match &rm.dev {
            Some(dev) => dev.symlink(Path::new(text), Path::new(name)),
            None => rm.root.symlink(Path::new(text), &Path::new("dev").join(name)),
        };
        match made {
            Ok(()) => {}
            Err(e) if e.is(errno::EEXIST) => {}
            Err(e) if rm.dev.is_none() && (e.is(errno::EROFS) || e.is(errno::ENOENT)) => {
                log::debug!("no links in /dev: {e}");
                return Ok(());
            }
            Err(source) => return Err(Box::new(Fault::Node { name, source })),
        }
    }
    Ok(())
}

/// Gives the container a boot id of its own: a fresh one in /dev/.lxc-boot-id, bound over the
/// kernel's. Best effort as in LXC: failures are only logged. Only with `lxc.autodev`.
///
/// # In the child
/// Before [`super::pivot()`].
pub fn boot_id(rm: &RootMount) {
    if let Err(e) = try_boot_id(rm) {
        log::debug!("no boot id of its own: {e}");
    }
}

fn try_boot_id(rm: &RootMount) -> SysResult<()> {
    const KERNEL: &str = "sys/kernel/random/boot_id";
    let Some(dev) = &rm.dev else { return Ok(()) };
    let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::EXCL;
    let file = dev.open_at(Path::new(".lxc-boot-id"), flags, 0o444, Lookup::NoSymlinks)?;
    sysfd::write_all(file.as_fd(), uuid_text(crate::sys::random::bytes()?).as_bytes())?;
    let how = BindHow::one(KERNEL_FS | ATTR_RDONLY);
    match &rm.proc {
        Some(proc) => match detached_bind(&BindSource::Open(file.as_fd()), &how) {
            Ok(tree) => sysmount::attach_at(tree.as_fd(), proc.as_fd(), KERNEL),
            // FALLBACK(<5.12).
            Err(e) if e.is(errno::ENOSYS) => {
                super::legacy::put(file.as_fd(), how.change.set, proc.as_fd(), KERNEL)
            }
            Err(e) => Err(e),
        },
        None => {
            let rel = Path::new("proc").join(KERNEL);
            let over = rm.root.resolve(&rel, Lookup::NoSymlinks)?;
            if sysmount::fs_magic(over.as_fd())? != PROC_MAGIC {
                return Err(SysError::new("statfs", "/proc is not procfs", errno::EXDEV));
            }
            let target = Target { root: &rm.root, rel: &rel, fd: over.as_fd() };
            bind(&BindSource::Open(file.as_fd()), &how, &target)
        }
    }
}

/// A random version 4 UUID and a newline, as the kernel prints its own.
fn uuid_text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(37);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_4() {
        assert_eq!(uuid_text([0; 16]), "00000000-0000-4000-8000-000000000000\n");
        assert_eq!(uuid_text([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff\n");
    }
}
