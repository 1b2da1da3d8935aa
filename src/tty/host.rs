//! What the monitor opens on the host's side before the container is made: the pty of a console
//! that is not to be in the container's devpts, and the terminal the console is shown on.

use super::{ConsoleSource, TtyError, TtyPlan};
use crate::config::{Config, ConsolePath};
use crate::sys::term::{self, Pty};
use crate::sys::{SysError, errno, fd};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// LXC's mode of a console.
const CONSOLE_MODE: u32 = 0o620;

/// The console's pty from the host's devpts, if the plan wants it there. `owner` and `group` are
/// the host's ids of the container's root, where it is another than the host's.
pub fn console_pty(
    plan: &TtyPlan,
    owner: Option<u32>,
    group: Option<u32>,
) -> Result<Option<Pty>, TtyError> {
    if plan.console != ConsoleSource::Host {
        return Ok(None);
    }
    let made = term::open_pty().and_then(|pty| {
        term::set_owner_mode(pty.slave.as_fd(), owner, group, CONSOLE_MODE)?;
        Ok(pty)
    });
    made.map(Some).map_err(TtyError::pty("the console"))
}

/// Whether the container is started in the foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The console goes to the caller's terminal, if there is one.
    Foreground,
    /// It goes nowhere unless a device is configured.
    Daemon,
}

/// The terminal that the console is shown on: `lxc.console.path`, which must be one, else the
/// caller's in the foreground, else none.
pub fn open_peer(config: &Config, ground: Ground) -> Result<Option<OwnedFd>, TtyError> {
    match &config.console.path {
        Some(ConsolePath::None) => Ok(None),
        Some(ConsolePath::Path(path)) => {
            let opened = term::open_tty(path);
            opened.map(Some).map_err(|source| peer_error(config, path.clone(), source))
        }
        None if ground == Ground::Daemon => Ok(None),
        None => match term::open_tty(Path::new("/dev/tty")) {
            Ok(tty) => Ok(Some(tty)),
            // Started without a terminal, by a service manager for example.
            Err(e) if e.is(errno::ENXIO) || e.is(errno::ENOENT) || e.is(errno::ENOTTY) => Ok(None),
            Err(source) => Err(peer_error(config, "/dev/tty".into(), source)),
        },
    }
}

fn peer_error(config: &Config, path: PathBuf, source: SysError) -> TtyError {
    TtyError::Peer { path, origin: config.origin("lxc.console.path").cloned(), source }
}

/// The slave of a pty of the host, found again under its name: a descriptor from the other side
/// of a clone belongs to a mount of another mount namespace, which cannot be bound from.
///
/// # In the child
/// While the host's tree is still visible.
pub(super) fn same_slave(pty: &OwnedFd, index: u32) -> Result<OwnedFd, SysError> {
    let name = format!("/dev/pts/{index}");
    let flags = fd::OpenFlags::PATH | fd::OpenFlags::NOFOLLOW;
    let found = fd::open(&name, flags, 0)?;
    if fd::identity(found.as_fd())? == fd::identity(pty.as_fd())? {
        Ok(found)
    } else {
        let what = format!("\"{name}\" is not the console's");
        Err(SysError::new("open", what, errno::EXDEV))
    }
}

/// Sets LXC's mode on a console that the container's devpts has made.
pub(super) fn set_console_mode(pty: &Pty) -> Result<(), SysError> {
    term::set_owner_mode(pty.slave.as_fd(), None, None, CONSOLE_MODE)
}
