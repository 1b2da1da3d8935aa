//! A clone that becomes the caller's sibling: the child of the caller's parent.
#![allow(unsafe_code, reason = "clone has no safe form")]

use super::error::{Result, SysError};
use super::process::{Fork, Pid};

const CLONE_PARENT: u64 = 0x8000;

/// The kernel's `struct clone_args`, first version.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// As [`super::process::fork`], but the new process is a child of the caller's parent, which reaps
/// it and gets its SIGCHLD. The caller must itself come from `fork` and have one thread.
///
/// # Errors
/// EAGAIN, ENOMEM of clone(2); EINVAL when the caller is the init of its pid namespace.
pub fn fork_sibling() -> Result<Fork> {
    let mut args = CloneArgs { flags: CLONE_PARENT, ..CloneArgs::default() };
    let size = size_of::<CloneArgs>();
    // SAFETY: `args` outlives the call; no CLONE_VM and no stack, so the child runs on a copy of
    // this stack as after fork, in a process that has one thread because it comes from fork.
    let mut pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size) };
    if pid < 0 && SysError::last("clone3", "").is(libc::ENOSYS) {
        // FALLBACK(<5.3): no clone3. The old call wants an exit signal, and with CLONE_PARENT uses
        // the caller's.
        let flags = CLONE_PARENT as libc::c_ulong | libc::SIGCHLD as libc::c_ulong;
        let null = std::ptr::null_mut::<u8>();
        // SAFETY: as above.
        pid = unsafe { libc::syscall(libc::SYS_clone, flags, null, null, null, 0usize) };
    }
    match pid {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Ok(Fork::Parent(pid as Pid)),
        _ => Err(SysError::last("clone3", "CLONE_PARENT")),
    }
}
