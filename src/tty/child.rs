//! The child's half: devpts, /dev/console and /dev/ttyN below the new root.
//!
//! The terminals are allocated from the devpts that was mounted here, by descriptor, and each one
//! is checked to be in it; names in the container's /dev are only ever targets, resolved without
//! following links (CVE-2025-52565 was a console looked up by name).

use super::host::{same_slave, set_console_mode};
use super::{ConsoleSource, Devpts, TtyError, TtyPlan};
use crate::sys::mount::{
    self as sysmount, ATTR_NOEXEC, ATTR_NOSUID, FsContext, MS_BIND, Reach, Source, attrs_to_ms,
    mount_on,
};
use crate::sys::path::{Lookup, Root};
use crate::sys::term::{self, Pty};
use crate::sys::{SysError, errno, process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The group `tty`, in every distribution.
const TTY_GID: u32 = 5;

/// What the child has made, for the monitor.
#[derive(Debug, Default)]
pub struct ChildTtys {
    /// The root of the devpts, if it stays.
    pub devpts: Option<OwnedFd>,
    /// The console, if it is in that devpts.
    pub console: Option<Pty>,
    /// /dev/tty1 and on.
    pub ttys: Vec<Pty>,
}

impl ChildTtys {
    /// `pts/1 pts/2 …`, the value of LXC's variable `container_ttys`; `None` without any.
    pub fn names(&self) -> Option<String> {
        let names: Vec<_> = self.ttys.iter().map(|tty| format!("pts/{}", tty.index)).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }
}

/// Mounts the devpts, allocates the terminals and binds them to their places.
///
/// `root` is the new root, `dev` the tmpfs on its /dev if there is one, `host` the console's pty
/// when it comes from the host. `bind` is false for a container without a root file system, whose
/// /dev is the host's: it gets its devpts, and nothing else is touched.
///
/// # In the child
/// After all mounts, before pivot_root: the host's /dev/pts must still be there under its name.
pub fn setup(
    plan: &TtyPlan,
    root: &Root,
    dev: Option<&Root>,
    host: Option<&Pty>,
    bind: bool,
) -> Result<ChildTtys, TtyError> {
    let binds_console = bind && plan.console != ConsoleSource::None;
    if plan.devpts.is_none() && !binds_console {
        return Ok(ChildTtys::default());
    }
    // Directories and files of /dev have their modes whatever the caller's umask is.
    let umask = process::umask(0);
    let made = setup_all(plan, root, dev, host, bind);
    process::umask(umask);
    made
}

fn setup_all(
    plan: &TtyPlan,
    root: &Root,
    dev: Option<&Root>,
    host: Option<&Pty>,
    bind: bool,
) -> Result<ChildTtys, TtyError> {
    let mut made = ChildTtys::default();
    let binds_console = bind && plan.console != ConsoleSource::None;
    let own;
    let dev = match dev {
        Some(dev) => dev,
        None => {
            let dir = root.resolve_dir(Path::new("dev"), Lookup::NoSymlinks);
            own = Root::from_fd(dir.map_err(TtyError::place(""))?);
            &own
        }
    };
    // Found while it is certain that nothing covers the host's /dev/pts, which a container
    // without a root file system is about to do.
    let host_slave = match host {
        Some(pty) if binds_console => {
            Some(same_slave(&pty.slave, pty.index).map_err(TtyError::pty("the console"))?)
        }
        _ => None,
    };
    let devpts = match plan.devpts {
        Some(wanted) => Some(mount_devpts(wanted, dev)?),
        None => None,
    };
    if let (Some(devpts), Some(Devpts { stays: true, .. }), true) = (&devpts, plan.devpts, bind) {
        place_ptmx(dev, devpts.as_fd())?;
    }
    if let Some(devpts) = &devpts {
        if plan.console == ConsoleSource::Container {
            let pty = term::open_pty_in(devpts.as_fd()).and_then(|pty| {
                set_console_mode(&pty)?;
                Ok(pty)
            });
            made.console = Some(pty.map_err(TtyError::pty("the console"))?);
        }
        for n in 1..=plan.ttys {
            let pty = term::open_pty_in(devpts.as_fd());
            made.ttys.push(pty.map_err(TtyError::pty(format!("/dev/tty{n}")))?);
        }
    }
    if binds_console {
        let slave = made.console.as_ref().map(|pty| pty.slave.as_fd());
        if let Some(slave) = slave.or(host_slave.as_ref().map(AsFd::as_fd)) {
            bind_console(plan, dev, slave)?;
        }
    }
    if bind {
        for (n, pty) in (1..).zip(&made.ttys) {
            bind_tty(plan, dev, n, pty.slave.as_fd())?;
        }
    }
    match (devpts, plan.devpts) {
        (Some(devpts), Some(Devpts { stays: true, .. })) => {
            made.devpts = Some(devpts);
        }
        // The bound terminals keep it alive as long as they are needed.
        (Some(devpts), _) => {
            sysmount::detach(devpts.as_fd()).map_err(|source| TtyError::Devpts { source })?
        }
        (None, _) => {}
    }
    Ok(made)
}

/// A new instance on /dev/pts; returns its root.
fn mount_devpts(wanted: Devpts, dev: &Root) -> Result<OwnedFd, TtyError> {
    let rel = Path::new("pts");
    let mut dir = dev.mkdir_all(rel, 0o755).map_err(TtyError::place(rel))?;
    let failed = |source| TtyError::Devpts { source };
    // What an lxc.mount.entry or the root file system brought along.
    while term::verify_devpts(dir.as_fd()).is_ok() {
        sysmount::detach(dir.as_fd()).map_err(failed)?;
        dir = dev.resolve_dir(rel, Lookup::NoSymlinks).map_err(TtyError::place(rel))?;
    }
    let mounted = match new_instance(wanted, dir.as_fd(), Some(TTY_GID)) {
        // The group is not mapped into this user namespace.
        Err(e) if e.is(errno::EINVAL) => new_instance(wanted, dir.as_fd(), None),
        mounted => mounted,
    };
    let devpts = match mounted.map_err(failed)? {
        Some(root) => root,
        None => dev.resolve_dir(rel, Lookup::NoSymlinks).map_err(TtyError::place(rel))?,
    };
    term::verify_devpts(devpts.as_fd()).map_err(failed)?;
    Ok(devpts)
}

/// Mounts it on `target`; its root, where the kernel gives it out.
fn new_instance(
    wanted: Devpts,
    target: BorrowedFd<'_>,
    gid: Option<u32>,
) -> Result<Option<OwnedFd>, SysError> {
    let attrs = ATTR_NOSUID | ATTR_NOEXEC;
    let fs = match FsContext::open("devpts") {
        Ok(fs) => fs,
        // FALLBACK(<5.2): no fsopen.
        Err(e) if e.is(errno::ENOSYS) => {
            let gid = gid.map(|gid| format!(",gid={gid}")).unwrap_or_default();
            let data = format!("newinstance,ptmxmode=0666,mode=0620{gid},max={}", wanted.max);
            let source = Source::Text(Path::new("devpts"));
            mount_on(&source, target, "devpts", attrs_to_ms(attrs), &data)?;
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    fs.string("source", "devpts")?;
    fs.flag("newinstance")?;
    fs.string("ptmxmode", "0666")?;
    fs.string("mode", "0620")?;
    if let Some(gid) = gid {
        fs.string("gid", &gid.to_string())?;
    }
    fs.string("max", &wanted.max.to_string())?;
    let root = fs.mount(attrs)?;
    sysmount::attach(root.as_fd(), target)?;
    Ok(Some(root))
}

/// /dev/ptmx: the one of the devpts, bound; a link where that cannot be.
fn place_ptmx(dev: &Root, devpts: BorrowedFd<'_>) -> Result<(), TtyError> {
    let rel = Path::new("ptmx");
    match dev.unlink(rel) {
        Ok(()) => {}
        Err(e) if e.is(errno::ENOENT) || e.is(errno::EROFS) || e.is(errno::EBUSY) => {}
        Err(e) => return Err(TtyError::place(rel)(e)),
    }
    let ptmx =
        Root::from_fd(devpts.try_clone_to_owned().map_err(|e| TtyError::Devpts {
            source: SysError::io("fcntl", "F_DUPFD_CLOEXEC", &e),
        })?);
    let bound =
        ptmx.resolve(rel, Lookup::NoSymlinks).and_then(|source| bind_on(source.as_fd(), dev, rel));
    match bound {
        Ok(()) => Ok(()),
        Err(e) => {
            log::debug!("/dev/ptmx becomes a link, for it cannot be bound: {e}");
            match dev.unlink(rel) {
                Err(e) if !e.is(errno::ENOENT) => return Err(TtyError::place(rel)(e)),
                _ => {}
            }
            dev.symlink(Path::new("pts/ptmx"), rel).map_err(TtyError::place(rel))
        }
    }
}

fn bind_console(plan: &TtyPlan, dev: &Root, slave: BorrowedFd<'_>) -> Result<(), TtyError> {
    let rel = PathBuf::from("console");
    if let Some(dir) = &plan.dir {
        // LXC has it at both places.
        let rel = dir.join(&rel);
        bind_on(slave, dev, &rel).map_err(TtyError::place(rel))?;
    }
    bind_on(slave, dev, &rel).map_err(TtyError::place(rel))
}

fn bind_tty(plan: &TtyPlan, dev: &Root, n: u32, slave: BorrowedFd<'_>) -> Result<(), TtyError> {
    let name = PathBuf::from(format!("tty{n}"));
    let Some(dir) = &plan.dir else {
        return bind_on(slave, dev, &name).map_err(TtyError::place(name));
    };
    let real = dir.join(&name);
    bind_on(slave, dev, &real).map_err(TtyError::place(&real))?;
    match dev.unlink(&name) {
        Err(e) if !e.is(errno::ENOENT) => return Err(TtyError::place(name)(e)),
        _ => {}
    }
    dev.symlink(&real, &name).map_err(TtyError::place(name))
}

/// Binds the object `source` over `rel`, where an empty file is made if nothing is there.
fn bind_on(source: BorrowedFd<'_>, dev: &Root, rel: &Path) -> Result<(), SysError> {
    let target = dev.create_file(rel, 0)?;
    match sysmount::clone_tree(source, Reach::One) {
        Ok(tree) => sysmount::attach(tree.as_fd(), target.as_fd()),
        // FALLBACK(<5.2): no open_tree.
        Err(e) if e.is(errno::ENOSYS) => {
            mount_on(&Source::Fd(source), target.as_fd(), "", MS_BIND, "")
        }
        Err(e) => Err(e),
    }
}
