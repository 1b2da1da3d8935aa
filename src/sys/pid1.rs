//! What only process 1 of a container needs: reboot(2), to know whether anybody is left, and not
//! to have a terminal of its own.
#![allow(unsafe_code, reason = "TIOCNOTTY has no wrapper")]

use super::{At, Result, SysError};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the kernel for a restart. In a PID namespace of its own this ends the namespace's init
/// with SIGHUP, which the monitor takes for "start again" (pid_namespaces(7)).
///
/// # Errors
/// EPERM without CAP_SYS_BOOT, and for a process that is not init of a PID namespace: there it
/// would restart the machine.
pub fn restart_container() -> Result<()> {
    if super::process::own_pid() != 1 {
        return Err(SysError::new("reboot", "not process 1", super::errno::EPERM));
    }
    rustix::system::reboot(rustix::system::RebootCommand::Restart).at("reboot", || "RB_AUTOBOOT")
}

/// True while this process has children, running or not yet reaped.
pub fn has_children() -> Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::All, look) {
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::CHILD) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("waitid", "all", e)),
        }
    }
}

/// Takes what can be read now, at most a few lines, and says how much it was; 0 is end of file
/// or a terminal whose other side is gone.
pub fn discard_input(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut buffer = [0u8; 4096];
    match rustix::io::read(fd, &mut buffer) {
        Err(rustix::io::Errno::IO) => Ok(0),
        other => other.at("read", || "a terminal"),
    }
}

/// Gives up the controlling terminal, if `fd` is it: a shell wants to have it.
///
/// # Errors
/// ENOTTY when this process has none, or `fd` is not it.
pub fn give_up_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCNOTTY takes no argument; `fd` is open.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCNOTTY as _) } < 0 {
        return Err(SysError::last("ioctl", "TIOCNOTTY"));
    }
    Ok(())
}
