//! The terminals below the new root: a devpts instance of its own, /dev/console, /dev/tty1 and up.
//!
//! Every pair is opened in the devpts that was just mounted, by descriptor, and every slave is
//! bound by descriptor: a rootfs that swaps names under us gets an error (CVE-2025-52565). The
//! monitor's side of the pairs is `crate::tty`.

use super::fd::{BindHow, BindSource, NewFs, Target, bind};
use super::{MountError, RootMount};
use crate::config::{Config, ConsolePath};
use crate::sys::error::Result as SysResult;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::mount::{self as sysmount, ATTR_NOEXEC, ATTR_NOSUID};
use crate::sys::path::{self as syspath, Lookup, Root};
use crate::sys::term::{self, Pty};
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Group `tty` of every distribution; where it is not mapped the kernel refuses it, and slaves
/// then have the group of who opens them (LXC goes without, too).
const TTY_GID: &str = "5";

/// Which terminals a container gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalPlan {
    /// `lxc.pty.max`.
    pub pty_max: u32,
    /// `lxc.tty.max`, 0 without a root file system.
    pub ttys: u32,
    /// `lxc.tty.dir`: below /dev.
    pub dir: Option<String>,
    /// Where the console's pair comes from.
    pub console: ConsoleFrom,
    /// The root is the host's: nothing is bound on its /dev.
    pub host_root: bool,
}

/// Where the console's pair comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsoleFrom {
    /// `lxc.console.path = none`.
    #[default]
    Nowhere,
    /// The host's devpts, made by the parent (`lxc.pty.max` of 0 or 1).
    Host,
    /// The container's own devpts.
    Container,
}

impl TerminalPlan {
    /// From the configuration. Pure.
    pub fn new(config: &Config) -> Self {
        let host_root = config.rootfs.path.is_none();
        let console = match config.console.path {
            Some(ConsolePath::None) => ConsoleFrom::Nowhere,
            _ if config.pty_max > 1 => ConsoleFrom::Container,
            _ => ConsoleFrom::Host,
        };
        Self {
            pty_max: config.pty_max,
            ttys: if host_root { 0 } else { config.tty_max },
            dir: config.tty_dir.clone().filter(|dir| !dir.is_empty()),
            console,
            host_root,
        }
    }
}

/// What the child keeps and what it sends to the monitor.
#[derive(Debug, Default)]
pub struct Terminals {
    /// The root of the container's devpts, when it stays mounted.
    pub devpts: Option<OwnedFd>,
    /// The console's pair, when it is of the container's devpts.
    pub console: Option<Pty>,
    /// The pairs of tty1 and up.
    pub ttys: Vec<Pty>,
}

impl Terminals {
    /// `pts/1 pts/2`: the value of `container_ttys`, which tells systemd where to put gettys.
    pub fn names(&self) -> String {
        let names: Vec<String> = self.ttys.iter().map(|t| format!("pts/{}", t.index)).collect();
        names.join(" ")
    }
}

/// Makes and binds all of them. `host_console` is the slave of a pair of the host's devpts.
///
/// # In the child
/// After the device nodes, before the links in /dev and pivot_root.
pub fn terminals(
    plan: &TerminalPlan,
    rm: &RootMount,
    host_console: Option<(&OwnedFd, u32)>,
) -> Result<Terminals, MountError> {
    let mut made = Terminals::default();
    let own_console = plan.console == ConsoleFrom::Container;
    if plan.pty_max > 0 || plan.ttys > 0 {
        let devpts = devpts(plan, rm)?;
        let open = || {
            term::open_pty_in(devpts.as_fd())
                .map_err(|source| refused("a terminal of its devpts", "dev/pts", source))
        };
        if own_console {
            made.console = Some(open()?);
        }
        for _ in 0..plan.ttys {
            made.ttys.push(open()?);
        }
        made.devpts = Some(devpts);
    }
    let console = match (&made.console, host_console) {
        (Some(pty), _) => Some(sysfd::dup_above(pty.slave.as_fd(), 3)),
        (None, Some((slave, index))) => Some(reopen_host_slave(slave, index)),
        (None, None) => None,
    };
    let console =
        console.transpose().map_err(|source| refused("the console", "dev/console", source))?;
    if !plan.host_root {
        if let Some(slave) = &console {
            place(plan, rm, "console", slave)?;
        }
        for (number, tty) in (1..).zip(&made.ttys) {
            place(plan, rm, &format!("tty{number}"), &tty.slave)?;
        }
    }
    if plan.pty_max == 0 {
        if let Some(devpts) = made.devpts.take() {
            // Only the terminals were wanted; their binds keep the instance alive.
            sysmount::detach(devpts.as_fd())
                .map_err(|source| refused("the terminals", "dev/pts", source))?;
        }
    }
    Ok(made)
}

fn refused(what: &'static str, target: &str, source: SysError) -> MountError {
    match source.errno {
        errno::ELOOP => MountError::LinkedDir { dir: target.to_owned(), source },
        _ => MountError::Auto { what, target: target.to_owned(), source },
    }
}

/// The directory that stands for /dev, and the prefix of names below it.
fn dev_of(rm: &RootMount) -> (&Root, &'static str) {
    rm.dev().map_or((&rm.root, "dev/"), |dev| (dev, ""))
}

/// Mounts a fresh devpts on /dev/pts and makes /dev/ptmx lead to it.
fn devpts(plan: &TerminalPlan, rm: &RootMount) -> Result<OwnedFd, MountError> {
    let (root, prefix) = dev_of(rm);
    let rel = PathBuf::from(format!("{prefix}pts"));
    let fail = |source| refused("devpts", "dev/pts", source);
    let dir = root.mkdir_all(&rel, 0o755).map_err(fail)?;
    let max = plan.pty_max.saturating_add(plan.ttys).to_string();
    let all = [
        ("gid", Some(TTY_GID)),
        ("mode", Some("0620")),
        ("ptmxmode", Some("0666")),
        ("max", Some(max.as_str())),
        ("newinstance", None),
    ];
    let mount = |options: &[(&str, Option<&str>)]| {
        let fs = NewFs {
            kind: "devpts",
            source: "devpts",
            options,
            attrs: ATTR_NOSUID | ATTR_NOEXEC,
            magic: DEVPTS_MAGIC,
        };
        fs.mount(&Target { root, rel: &rel, fd: dir.as_fd() })
    };
    let devpts = match mount(&all) {
        Err(e) if e.is(errno::EINVAL) => mount(&all[1..]),
        done => done,
    }
    .map_err(fail)?;
    if plan.pty_max > 0 {
        ptmx(root, prefix, &devpts).map_err(|source| refused("ptmx", "dev/ptmx", source))?;
    }
    Ok(devpts)
}

/// /dev/ptmx is a bind of the instance's own, or a link where that cannot be bound.
fn ptmx(root: &Root, prefix: &str, devpts: &OwnedFd) -> SysResult<()> {
    let rel = PathBuf::from(format!("{prefix}ptmx"));
    match root.unlink(&rel) {
        Err(e) if !e.is(errno::ENOENT) && !e.is(errno::EROFS) && !e.is(errno::EBUSY) => {
            return Err(e);
        }
        _ => {}
    }
    let file = root.create_file(&rel, 0)?;
    let inner = Root::from_fd(sysfd::dup_above(devpts.as_fd(), 3)?);
    let source = inner.resolve(Path::new("ptmx"), Lookup::NoSymlinks)?;
    let target = Target { root, rel: &rel, fd: file.as_fd() };
    match bind(&BindSource::Open(source.as_fd()), &BindHow::one(0), &target) {
        Err(_) => {
            root.unlink(&rel)?;
            root.symlink(Path::new("pts/ptmx"), &rel)
        }
        done => done,
    }
}

/// Binds a slave as /dev/NAME, or as /dev/DIR/NAME with a link (ttys) or a second bind (console)
/// at /dev/NAME, as `lxc.tty.dir` asks.
fn place(
    plan: &TerminalPlan,
    rm: &RootMount,
    name: &str,
    slave: &OwnedFd,
) -> Result<(), MountError> {
    let shown = format!("dev/{name}");
    let done = place_at(plan, rm, name, slave);
    done.map_err(|source| refused("a terminal", &shown, source))
}

fn place_at(plan: &TerminalPlan, rm: &RootMount, name: &str, slave: &OwnedFd) -> SysResult<()> {
    let (root, prefix) = dev_of(rm);
    let plain = PathBuf::from(format!("{prefix}{name}"));
    let Some(dir) = &plan.dir else {
        return bind_slave(root, &plain, slave);
    };
    root.mkdir_all(Path::new(&format!("{prefix}{dir}")), 0o755)?;
    bind_slave(root, &PathBuf::from(format!("{prefix}{dir}/{name}")), slave)?;
    if name == "console" {
        return bind_slave(root, &plain, slave);
    }
    match root.unlink(&plain) {
        Err(e) if !e.is(errno::ENOENT) => return Err(e),
        _ => {}
    }
    root.symlink(Path::new(&format!("{dir}/{name}")), &plain)
}

fn bind_slave(root: &Root, rel: &Path, slave: &OwnedFd) -> SysResult<()> {
    let file = root.create_file(rel, 0)?;
    if syspath::facts(file.as_fd())?.is_link() {
        return Err(SysError::new("mount", format!("\"{}\"", rel.display()), errno::ELOOP));
    }
    let target = Target { root, rel, fd: file.as_fd() };
    bind(&BindSource::Open(slave.as_fd()), &BindHow::one(0), &target)
}

/// The same device as the inherited slave, opened in this mount namespace so that it can be
/// bound. The host's /dev is still visible.
fn reopen_host_slave(slave: &OwnedFd, index: u32) -> SysResult<OwnedFd> {
    let path = format!("/dev/pts/{index}");
    let here = sysfd::open(&path, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0)?;
    let (wanted, found) = (syspath::facts(slave.as_fd())?, syspath::facts(here.as_fd())?);
    if (wanted.dev, wanted.ino, wanted.rdev) != (found.dev, found.ino, found.rdev) {
        return Err(SysError::new("open", format!("\"{path}\" is another device"), errno::ENODEV));
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_comes_from_where_lxc_takes_it() {
        let mut config = Config::default();
        assert_eq!(TerminalPlan::new(&config).console, ConsoleFrom::Host);
        config.pty_max = 2;
        assert_eq!(TerminalPlan::new(&config).console, ConsoleFrom::Container);
        config.console.path = Some(ConsolePath::None);
        assert_eq!(TerminalPlan::new(&config).console, ConsoleFrom::Nowhere);
    }

    #[test]
    fn ttys_need_a_root_file_system() {
        let mut config = Config { tty_max: 4, ..Config::default() };
        assert_eq!(TerminalPlan::new(&config).ttys, 0);
        config.rootfs.path = Some("/r".into());
        assert_eq!(TerminalPlan::new(&config).ttys, 4);
    }
}
