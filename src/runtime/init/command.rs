//! The classic lxc-init: run one command as a child, pass signals on, reap whatever is orphaned,
//! end with the command's status.

use super::{InitError, exec_search, sig, signal_all};
use crate::sys::event::{ALL_SIGNALS, Ready, SignalFd, poll};
use crate::sys::process::{self, Fork, Pid, Wait};
use crate::sys::{fd, pid1, signal};
use crate::util::quote::quoted;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// LXC's init leaves with this when the command cannot be executed.
const EXEC_FAILED: i32 = 255;
/// After SIGTERM or SIGPWR processes get this long, counted anew whenever one of them ends.
const GRACE: Duration = Duration::from_secs(1);

/// Runs `argv` and everything it leaves behind until nothing is left; gives back the command's
/// status, 128 plus the signal if one ended it. With `quiet` the status alone tells that it cannot
/// be executed.
///
/// # Errors
/// Only failures before the command is started; a command that cannot be executed ends with 255.
pub fn run(argv: &[OsString], env: &[(OsString, OsString)], quiet: bool) -> Result<u8, InitError> {
    signal::block_all().map_err(|e| InitError::Setup("blocking signals", e))?;
    let signals =
        SignalFd::new(ALL_SIGNALS).map_err(|e| InitError::Setup("opening a signalfd", e))?;
    let command = match process::fork().map_err(|e| InitError::Setup("starting the command", e))? {
        Fork::Child => {
            let error = start(argv, env);
            // The parent cannot say it: its standard error is the same, its status ours.
            if !quiet {
                let program = argv.first().cloned().unwrap_or_default();
                let text = format!("lxc-init: running {}: {error}\n", quoted(&program));
                let _ = fd::write_all(std::io::stderr().as_fd(), text.as_bytes());
            }
            process::exit_now(EXEC_FAILED)
        }
        Fork::Parent(pid) => pid,
    };
    if let Err(e) = crate::sys::title::set_title("init") {
        log::debug!("{e}");
    }
    supervise(&signals, command)
}

/// # In the child
/// A session of its own; a terminal on standard input becomes the controlling one.
fn start(argv: &[OsString], env: &[(OsString, OsString)]) -> crate::sys::SysError {
    let session = process::setsid();
    let stdin = std::io::stdin();
    if session.is_ok() && crate::sys::term::is_tty(stdin.as_fd()) {
        // It may belong to a session outside of the container: then it stays there.
        let _ = crate::sys::term::set_controlling(stdin.as_fd());
    }
    match fd::seal_above(3, &[], fd::Seal::CloseOnExec) {
        Ok(()) => exec_search(argv, env),
        Err(e) => e,
    }
}

fn supervise(signals: &SignalFd, command: Pid) -> Result<u8, InitError> {
    let mut status: Option<Wait> = None;
    let mut kill_at: Option<Instant> = None;
    let failed = |e| InitError::Setup("waiting for processes", e);
    loop {
        while let Some((pid, how)) = process::reap_any().map_err(failed)? {
            if pid == command {
                status = Some(how);
            }
            if kill_at.is_some() {
                kill_at = Some(Instant::now() + GRACE);
            }
        }
        // Orphans live on after the command, as with LXC: the container ends with its last process.
        if let (Some(how), false) = (status, pid1::has_children().map_err(failed)?) {
            return Ok(how.exit_code());
        }
        let ready = poll(signals.as_fd(), Ready::READ, kill_at).map_err(failed)?;
        if !ready.read {
            signal_all(sig::KILL, Some(command));
            kill_at = None;
            continue;
        }
        while let Some(info) = signals.read().map_err(failed)? {
            match info.signo {
                sig::CHLD => {}
                // lxc-stop takes an init that blocks SIGRTMIN+3 for systemd, and we block all.
                sig::TERM | sig::PWR | sig::RTMIN_3 | sig::RTMIN_4 => {
                    signal_all(sig::TERM, Some(command));
                    kill_at = kill_at.or(Some(Instant::now() + GRACE));
                }
                other if status.is_none() => {
                    if let Err(e) = process::kill(command, other) {
                        log::debug!("{e}");
                    }
                }
                _ => {}
            }
        }
    }
}
