//! A command in new namespaces without a container: lxc-unshare and lxc-usernsexec.
//!
//! The child waits until its parent has done what only somebody outside can do (write id maps,
//! move devices in), does the rest itself and executes the command. What fails in the child comes
//! back as a sentence over the socket, whose end is the exec.

use super::init::exec_search;
use crate::config::Explain;
use crate::idmap::IdMapError;
use crate::mount::rootfs::slave_all;
use crate::net::rtnl::RtnlError;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::mount::{self, Source};
use crate::sys::process::{self, Cloned, KillOnDrop, Parent, Pid};
use crate::sys::{SysError, cred, errno, signal, stdstream, unix};
use crate::util::sentence::sentence;
use std::convert::Infallible;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use thiserror::Error;

/// Why the command does not run.
#[derive(Debug, Error)]
pub enum UnshareError {
    /// A step of ours.
    #[error("{what}")]
    Step {
        /// Which.
        what: String,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// The id map.
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    /// A device could not be moved in.
    #[error("moving the interface \"{name}\" into the namespace")]
    Device {
        /// Its name.
        name: String,
        /// What the kernel says.
        #[source]
        cause: RtnlError,
    },
    /// There is no such device.
    #[error("there is no interface \"{0}\"")]
    NoDevice(String),
    /// Told by the child.
    #[error("{0}")]
    Child(String),
}

impl Explain for UnshareError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Step { cause, .. } => Some(cause.errno),
            Self::IdMap(e) => e.errno(),
            Self::Device { cause, .. } => cause.errno(),
            Self::NoDevice(_) | Self::Child(_) => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::IdMap(e) => e.hint(),
            Self::NoDevice(_) => Some("ip link lists those that there are".into()),
            Self::Step { cause, .. } if cause.is(errno::EPERM) && cred::euid() != 0 => {
                Some("an ordinary user needs USER among the namespaces".into())
            }
            _ => None,
        }
    }
}

/// Names the step of a failure.
pub trait Step<T> {
    /// `what` failed.
    fn step(self, what: &str) -> Result<T, UnshareError>;
}

impl<T> Step<T> for Result<T, SysError> {
    fn step(self, what: &str) -> Result<T, UnshareError> {
        self.map_err(|cause| UnshareError::Step { what: what.to_owned(), cause })
    }
}

/// What is to be run.
pub struct Command<'a> {
    /// CLONE_NEW* flags.
    pub namespaces: u64,
    /// The program, searched in PATH, and its words.
    pub argv: &'a [OsString],
    /// Done by the caller for the child before that goes on.
    pub outside: &'a dyn Fn(Pid) -> Result<(), UnshareError>,
    /// Done by the child before it executes the program.
    pub inside: &'a dyn Fn() -> Result<(), UnshareError>,
}

/// Runs it; the program runs when this is back, and is killed when the guard is dropped.
///
/// # Errors
/// The program does not run, and nothing is left of it.
pub fn start(command: &Command<'_>) -> Result<KillOnDrop, UnshareError> {
    let (ours, theirs) = unix::pair(unix::Kind::Stream).step("making a socket")?;
    let cloned = process::clone3(command.namespaces, Parent::Caller, None, &mut false);
    let child = match cloned.step("making the namespaces")? {
        Cloned::Child => {
            drop(ours);
            let Err(e) = child(command, &theirs);
            let _ = fd::write_all(theirs.as_fd(), sentence(&e).as_bytes());
            process::exit_now(1)
        }
        Cloned::Parent { pid, pidfd } => KillOnDrop::new(pid, pidfd),
    };
    drop(theirs);
    (command.outside)(child.pid())?;
    fd::write_all(ours.as_fd(), b"!").step("letting the child go on")?;
    let mut said = Vec::new();
    let mut chunk = [0; 512];
    loop {
        match stdstream::read(ours.as_fd(), &mut chunk).step("waiting for the child")? {
            0 if said.is_empty() => return Ok(child),
            0 => return Err(UnshareError::Child(String::from_utf8_lossy(&said).into_owned())),
            n => said.extend_from_slice(&chunk[..n]),
        }
    }
}

/// # In the child
/// All of it.
fn child(command: &Command<'_>, parent: &OwnedFd) -> Result<Infallible, UnshareError> {
    let mut word = [0];
    if stdstream::read(parent.as_fd(), &mut word).step("waiting for the parent")? == 0 {
        // It says itself why it gave up.
        process::exit_now(1);
    }
    (command.inside)()?;
    let env: Vec<_> = std::env::vars_os().collect();
    let program = command.argv.first().cloned().unwrap_or_default();
    let error = exec_search(command.argv, &env);
    Err(error).step(&format!("running \"{}\"", program.to_string_lossy()))
}

/// Waits for the end of a command; keys that interrupt are for it alone.
pub fn wait(mut child: KillOnDrop) -> Result<process::Wait, UnshareError> {
    for signo in [2, 3] {
        signal::set_ignored(signo, true).step("ignoring a signal")?;
    }
    child.wait().step("waiting for the command")
}

/// Mounts the file systems that show namespaces: /proc, and where there are the directories
/// /dev/shm and /dev/mqueue (the latter only in an IPC namespace of our own).
///
/// # In the child
/// After [`separate`].
pub fn remount(own_ipc: bool) -> Result<(), UnshareError> {
    let all =
        [("proc", "/proc", true), ("tmpfs", "/dev/shm", true), ("mqueue", "/dev/mqueue", own_ipc)];
    for (kind, dir, wanted) in all {
        let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
        match fd::open(dir, flags, 0) {
            Ok(target) if wanted => {
                let source = Source::Text(Path::new(kind));
                // MS_NOSUID | MS_NODEV.
                mount::mount_on(&source, target.as_fd(), kind, 0x6, "")
                    .step(&format!("mounting {dir}"))?;
            }
            Err(e) if kind == "proc" => return Err(e).step("mounting /proc"),
            _ => {}
        }
    }
    Ok(())
}

/// Keeps mounts of a new mount namespace from travelling to the old one.
///
/// # In the child
/// The first thing.
pub fn separate() -> Result<(), UnshareError> {
    slave_all().step("separating the mounts from the host's")
}

/// Becomes a user and group of the namespace. Without `groups` the supplementary groups stay as
/// they are, for an ordinary user's own map denies to change them.
///
/// # In the child
/// After the maps are written.
pub fn switch_to(uid: u32, gid: u32, groups: bool) -> Result<(), UnshareError> {
    if groups {
        cred::setgroups(&[]).step("giving up the groups")?;
    }
    cred::set_gid(gid).step(&format!("becoming group {gid} of the namespace"))?;
    cred::set_uid(uid).step(&format!("becoming user {uid} of the namespace"))
}
