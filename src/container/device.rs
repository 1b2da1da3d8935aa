//! Devices of the host in a running container and out of it again: nodes and network interfaces.
//!
//! A node is made by the descriptor of its directory below init's root, under a made-up name, and
//! gets its own when the cgroup allows it. Where the container has a user namespace, a node in a
//! file system of its own cannot be opened; then one of a tmpfs of ours is mounted there.

use super::Container;
use super::live::{Cgroups, LiveError, running};
use crate::cgroup::devices::{Access, DeviceKind, DeviceLine, DeviceRule};
use crate::config::NsKind;
use crate::idmap::IdMap;
use crate::net::{self, Way};
use crate::ns::{self, NsSet, Target};
use crate::runtime::attach::{AttachError, hold};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::mount::{self, FsContext, Reach};
use crate::sys::path::{self, Facts, Lookup, NodeKind, Root};
use crate::sys::process::{self, Fork, Wait};
use crate::sys::{SysError, cred, dir, errno, ns as sys_ns};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The longest name of an interface (IFNAMSIZ without its NUL).
const LONGEST_INTERFACE: usize = 15;

/// Gives the container a device of the host: an interface of that name, else the node `device`, as
/// `inside`.
///
/// # Errors
/// It does not run; there is no such device; its name inside is taken; the kernel refuses.
pub fn add(container: &Container, device: &Path, inside: &Path) -> Result<(), LiveError> {
    let running = Running::open(container)?;
    if running.interface(Way::Inside, device, inside)? {
        return Ok(());
    }
    let host = fd::open(device, OpenFlags::PATH, 0)
        .map_err(|source| failed("there is neither an interface nor a device", device, source))?;
    let node = facts(&host, device)?;
    let Some((kind, line)) = rule(&node, true) else {
        return Err(unfit(device, "not a device"));
    };
    let making = |source| failed("making", inside, source);
    // Where the container has a user namespace we could not give it another name afterwards.
    let direct = running.owner.is_some();
    if direct
        && mount::clone_tree(running.root.fd(), Reach::One).is_err_and(|e| e.is(errno::ENOSYS))
    {
        return Err(unfit(
            inside,
            "cannot be made in a user namespace before Linux 5.2 (open_tree)",
        ));
    }
    if let Some((at, name)) = running.place(inside)? {
        if let Some(old) = present(&at, name, inside)? {
            rule(&old, true)
                .ok_or_else(|| unfit(inside, "is there in the container, and no device"))?;
            if direct {
                at.unlink(name).map_err(making)?;
            }
        }
    }
    let fresh = match direct {
        true => inside.to_owned(),
        false => split(inside)?.0.join(net::random_name(".lxc-device-").map_err(making)?),
    };
    let made = running.make(&fresh, kind, &node).map_err(making);
    let mut done = made.and_then(|()| Cgroups::open(container)?.set_device(line));
    if !direct && done.is_ok() {
        done = running.root.rename(&fresh, inside).map_err(making);
    }
    if done.is_err() {
        let _ = running.root.unlink(&fresh);
    }
    done
}

/// Takes a device away: the interface comes back to the host as `other`; the node `other` is
/// removed and `device` forbidden.
///
/// # Errors
/// As [`add`].
pub fn remove(container: &Container, device: &Path, other: &Path) -> Result<(), LiveError> {
    let running = Running::open(container)?;
    if running.interface(Way::Home, device, other)? {
        return Ok(());
    }
    let found = running.place(other)?;
    let inside = match &found {
        Some((at, name)) => present(at, name, other)?,
        None => None,
    };
    let inside_rule = inside.as_ref().and_then(|node| rule(node, false));
    if inside.is_some() && inside_rule.is_none() {
        return Err(unfit(other, "is no device in the container"));
    }
    // The host's word comes first, for the container may have another node of that name.
    let (_, line) = match fd::open(device, OpenFlags::PATH, 0) {
        Ok(host) => {
            rule(&facts(&host, device)?, false).ok_or_else(|| unfit(device, "not a device"))
        }
        Err(source) => inside_rule
            .ok_or_else(|| failed("there is neither an interface nor a device", device, source)),
    }?;
    Cgroups::open(container)?.set_device(line)?;
    match (found, inside) {
        (Some((at, name)), Some(_)) => at.unlink(name).map_err(|e| failed("removing", other, e)),
        _ => Ok(()),
    }
}

/// The container's init, and its root.
struct Running {
    target: Target,
    root: Root,
    /// Host's ids of its root user, if it has a user namespace.
    owner: Option<(u32, u32)>,
}

impl Running {
    fn open(container: &Container) -> Result<Self, LiveError> {
        let target = hold(&running(container)?)?;
        let own = Target::own().map_err(AttachError::from)?;
        let user = NsSet::of(&[NsKind::User]);
        let owner = match target.different(&own, user).map_err(AttachError::from)?.is_empty() {
            true => None,
            false => {
                let (uid, gid) = IdMap::of_process(target.pid()).map_err(AttachError::from)?.root();
                Some((uid.map_or(0, |id| id.0), gid.map_or(0, |id| id.0)))
            }
        };
        let root = fd::open_at(target.dir(), "root", OpenFlags::PATH | OpenFlags::DIRECTORY, 0)
            .map_err(|e| failed("opening the root of", Path::new(container.name()), e))?;
        Ok(Self { target, root: Root::from_fd(root), owner })
    }

    /// Moves the interface, if there is one of that name.
    fn interface(&self, way: Way, name: &Path, new_name: &Path) -> Result<bool, LiveError> {
        let text = |path: &Path| {
            let name = path.to_str().filter(|n| n.len() <= LONGEST_INTERFACE && !n.contains('/'));
            name.map(str::to_owned)
        };
        let Some(name) = text(name) else { return Ok(false) };
        let netns = self.target.open_namespace(NsKind::Net).map_err(AttachError::from)?;
        let bad = || unfit(new_name, "cannot be the name of an interface");
        let Some(new_name) = text(new_name) else { return Err(bad()) };
        Ok(net::hand_over(way, &name, &new_name, netns.as_fd())?)
    }

    /// The directory of a path in the container, if it is there, and the last component.
    fn place<'a>(&self, inside: &'a Path) -> Result<Option<(Root, &'a Path)>, LiveError> {
        let (above, name) = split(inside)?;
        match self.root.resolve_dir(above, Lookup::NoSymlinks) {
            Ok(dir) => Ok(Some((Root::from_fd(dir), name))),
            Err(e) if e.is(errno::ENOENT) => Ok(None),
            Err(e) => Err(failed("opening the directory of", inside, e)),
        }
    }

    /// A node that can be opened in the container, with the host's mode; root's there.
    fn make(&self, inside: &Path, kind: NodeKind, node: &Facts) -> Result<(), SysError> {
        let above = inside.parent().unwrap_or(Path::new(""));
        let exact = |root: &Root, name: &Path| {
            let umask = process::umask(0);
            let made = root
                .mkdir_all(name.parent().unwrap_or(above), 0o755)
                .and_then(|_| root.mknod(name, kind, node.mode, node.rdev));
            process::umask(umask);
            made
        };
        let Some((uid, gid)) = self.owner else { return exact(&self.root, inside) };
        let open = |kind| {
            #[allow(clippy::cast_possible_truncation, reason = "CLONE_NEW* flags fit")]
            let flag = ns::flag(kind) as i32;
            fd::open_at(self.target.dir(), ns::link(kind), OpenFlags::RDONLY, 0).map(|f| (f, flag))
        };
        let (mounts, newns) = open(NsKind::Mnt)?;
        let (user, newuser) = open(NsKind::User)?;
        let work = || -> Result<(), SysError> {
            sys_ns::unshare(newns)?;
            crate::mount::slave_all()?;
            let ours = FsContext::open("tmpfs")?.mount(0)?;
            // Only what is attached can be cloned; this namespace ends with this process.
            mount::attach(ours.as_fd(), fd::open("/proc", OpenFlags::PATH, 0)?.as_fd())?;
            let ours = Root::from_fd(ours);
            exact(&ours, Path::new("node"))?;
            dir::own_at(ours.fd(), "node", uid, gid, node.mode)?;
            let tree = mount::clone_tree_at(ours.fd(), "node", Reach::One)?;
            sys_ns::setns(mounts.as_fd(), newns)?;
            // The host's root cannot make anything in a file system of that user namespace.
            sys_ns::setns(user.as_fd(), newuser)?;
            cred::setgroups(&[])?;
            cred::set_gid(0)?;
            cred::set_uid(0)?;
            let over = self.root.create_file(inside, 0o600)?;
            mount::attach(tree.as_fd(), over.as_fd())
        };
        match process::fork()? {
            Fork::Child => process::exit_now(work().err().map_or(0, |e| e.errno)),
            Fork::Parent(pid) => match process::wait(pid)? {
                Wait::Exited(0) => Ok(()),
                Wait::Exited(number) => Err(SysError::new("mount", "a device", number)),
                _ => Err(SysError::new("mount", "a device", errno::EINTR)),
            },
        }
    }
}

/// The directory and the last component of a path in the container.
fn split(inside: &Path) -> Result<(&Path, &Path), LiveError> {
    let name = inside.file_name().ok_or_else(|| unfit(inside, "not the path of a device"))?;
    Ok((inside.parent().unwrap_or(Path::new("")), Path::new(name)))
}

/// What is there, if anything is.
fn present(at: &Root, name: &Path, shown: &Path) -> Result<Option<Facts>, LiveError> {
    match at.resolve(name, Lookup::NoSymlinks) {
        Ok(found) => facts(&found, shown).map(Some),
        Err(e) if e.is(errno::ENOENT) => Ok(None),
        Err(e) => Err(failed("looking at", shown, e)),
    }
}

fn facts(open: &OwnedFd, path: &Path) -> Result<Facts, LiveError> {
    path::facts(open.as_fd()).map_err(|e| failed("looking at", path, e))
}

/// What kind of node it is, and the line about all access to it; `None` if it is no device.
fn rule(node: &Facts, allow: bool) -> Option<(NodeKind, DeviceLine)> {
    let (made, kind) = match (node.is_char_device(), node.is_block_device()) {
        (true, _) => (NodeKind::Char, DeviceKind::Char),
        (_, true) => (NodeKind::Block, DeviceKind::Block),
        _ => return None,
    };
    let (major, minor) = dir::split_device(node.rdev);
    let (major, minor) = (Some(major), Some(minor));
    Some((made, DeviceLine::One(DeviceRule { kind, major, minor, access: Access::ALL, allow })))
}

fn failed(what: &'static str, path: &Path, source: SysError) -> LiveError {
    LiveError::System { what, path: path.to_owned(), source }
}

fn unfit(path: &Path, why: &'static str) -> LiveError {
    LiveError::Unfit { path: path.to_owned(), why }
}
