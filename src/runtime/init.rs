//! Process 1 of a container that has no init of its own: reaping, signals, and either one command
//! (lxc-init as LXC has it, behind lxc-execute) or a small system with shells on the terminals.
//!
//! Runs inside the container, single-threaded, after exec; what it reads there is the container's.

pub mod command;
pub mod system;
mod terminals;

use crate::sys::process::{self, CStrings, Pid};
use crate::sys::{SysError, errno, signal};
use crate::util::blame::Explain;
use crate::util::quote::quoted;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What commands get as PATH when the container's environment has none (as lxc-attach).
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Signals as numbers of this architecture's ABI (the generic ones, signal(7)).
mod sig {
    pub(super) const HUP: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const KILL: i32 = 9;
    pub(super) const TERM: i32 = 15;
    pub(super) const CHLD: i32 = 17;
    pub(super) const CONT: i32 = 18;
    pub(super) const PWR: i32 = 30;
    /// systemd's requests (systemd(1)): halt, poweroff, reboot.
    pub(super) const RTMIN_3: i32 = 37;
    pub(super) const RTMIN_4: i32 = 38;
    pub(super) const RTMIN_5: i32 = 39;
}

/// Why init cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Started outside of a container.
    #[error("the system mode of lxc-init only runs as process 1 of a container")]
    NotInit,
    /// Setting up the event loop or a child failed.
    #[error("{0}")]
    Setup(&'static str, #[source] SysError),
    /// The command is not there or cannot be run.
    #[error("running {}", quoted(.0))]
    Exec(OsString, #[source] SysError),
}

impl Explain for InitError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::NotInit => None,
            Self::Setup(_, e) | Self::Exec(_, e) => Some(e.errno),
        }
    }
}

/// Sends a signal to every process of the container but ourselves. Only process 1 of a PID
/// namespace may: elsewhere -1 means every process of the machine.
fn signal_all(signal: i32, command: Option<Pid>) {
    let target = match (process::own_pid(), command) {
        (1, _) => -1,
        (_, Some(pid)) => -pid,
        _ => return,
    };
    // ESRCH: nobody is left.
    if let Err(e) = process::kill(target, signal) {
        log::debug!("{e}");
    }
}

/// Executes `argv` with the given environment, searching its PATH. Returns only on failure.
///
/// # In the child
/// Resets signals first; descriptors above 2 must be close-on-exec already.
pub fn exec_search(argv: &[OsString], env: &[(OsString, OsString)]) -> SysError {
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default().as_bytes();
    if program.contains(&b'/') {
        return exec_named(program, argv, env);
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let shown = String::from_utf8_lossy(program);
    let mut worst = SysError::new("execve", quoted(&*shown), errno::ENOENT);
    for dir in path.as_bytes().split(|b| *b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let error = exec_named(&[dir, b"/", program].concat(), argv, env);
        // As the shell: a file that is there but cannot be run says more than "not found".
        if !error.is(errno::ENOENT) && !error.is(errno::ENOTDIR) {
            worst = error;
        }
    }
    worst
}

/// The same for the file `path`, whatever `argv[0]` is.
fn exec_named(path: &[u8], argv: &[OsString], env: &[(OsString, OsString)]) -> SysError {
    let prepare = || -> Result<(CStrings, CStrings), SysError> {
        signal::reset_for_exec()?;
        let env = env.iter().map(|(name, value)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            pair
        });
        Ok((CStrings::new(argv)?, CStrings::new(env)?))
    };
    match (prepare(), CString::new(path)) {
        (Ok((args, envp)), Ok(path)) => process::exec(&path, &args, &envp),
        (Err(e), _) => e,
        (_, Err(_)) => SysError::new("execve", "a NUL byte in the name", errno::EINVAL),
    }
}
