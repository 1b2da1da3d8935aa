//! Signal mask and dispositions of this process.
#![allow(unsafe_code, reason = "sigprocmask and sigaction")]

use super::error::{Result, SysError};
use std::time::Instant;

/// A saved signal mask.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

/// Highest signal number.
const MAX_SIGNAL: i32 = 64;
/// A set of them in the kernel's eyes.
const SET_BYTES: usize = MAX_SIGNAL as usize / 8;

fn full_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: initialised by the line above.
    unsafe { set.assume_init() }
}

fn empty_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised by the line above.
    unsafe { set.assume_init() }
}

fn change(how: i32, set: &libc::sigset_t) -> Result<Mask> {
    let mut old = empty_set();
    // SAFETY: both sets outlive the call.
    if unsafe { libc::sigprocmask(how, set, &mut old) } == 0 {
        Ok(Mask(old))
    } else {
        Err(SysError::last("sigprocmask", how))
    }
}

/// Blocks every signal that can be blocked; returns the mask before.
pub fn block_all() -> Result<Mask> {
    change(libc::SIG_SETMASK, &full_set())
}

/// Blocks all but `except`; returns the mask before.
pub fn block_all_but(except: &[i32]) -> Result<Mask> {
    let mut set = full_set();
    for &signal in except {
        // SAFETY: the set is initialised and outlives the call.
        unsafe { libc::sigdelset(&mut set, signal) };
    }
    change(libc::SIG_SETMASK, &set)
}

/// Blocks these signals in addition; returns the mask before.
pub fn block(signals: &[i32]) -> Result<Mask> {
    let mut set = empty_set();
    for &signal in signals {
        // SAFETY: the set is initialised and outlives the call.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    change(libc::SIG_BLOCK, &set)
}

/// Waits for one of these signals, which must be blocked, and takes it; `None` at the deadline.
pub fn wait(signals: &[i32], deadline: Option<Instant>) -> Result<Option<i32>> {
    let mut set = empty_set();
    for &signal in signals {
        // SAFETY: the set is initialised and outlives the call.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    loop {
        let left = deadline.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            // SAFETY: zeros are a valid timespec, which has unnamed members on some machines.
            let mut time: libc::timespec = unsafe { std::mem::zeroed() };
            // Fields of the machine's own width: 68 years at most.
            time.tv_sec = left.as_secs().min(i32::MAX as u64) as _;
            time.tv_nsec = left.subsec_nanos() as _;
            time
        });
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the set and the time outlive the call, and nothing is to be filled in.
        match unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), left) } {
            -1 => {
                let error = SysError::last("sigtimedwait", "");
                if error.is(libc::EAGAIN) {
                    return Ok(None);
                }
                if !error.is(libc::EINTR) {
                    return Err(error);
                }
            }
            signal => return Ok(Some(signal)),
        }
    }
}

/// Puts a saved mask back.
pub fn restore(mask: &Mask) -> Result<()> {
    change(libc::SIG_SETMASK, &mask.0).map(drop)
}

/// Unblocks everything.
pub fn unblock_all() -> Result<()> {
    change(libc::SIG_SETMASK, &empty_set()).map(drop)
}

/// Sets one disposition to ignore or to the default.
pub fn set_ignored(signal: i32, ignored: bool) -> Result<()> {
    let action = if ignored { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: no handler function is installed, so nothing of ours runs in signal context.
    if unsafe { libc::signal(signal, action) } == libc::SIG_ERR {
        return Err(SysError::last("signal", signal));
    }
    Ok(())
}

/// Who starts this program may have SIGCHLD ignored, which execve(2) hands on: the kernel would reap
/// our children before anybody waits for them (ECHILD), and never tell of their end.
pub fn hear_of_children() {
    // It cannot fail for a signal that there is.
    let _ = set_ignored(libc::SIGCHLD, false);
}

/// Resets every disposition to the default and empties the mask: what a new program expects.
/// Rust starts with SIGPIPE ignored, and exec passes that on.
///
/// # In the child
/// Right before exec.
pub fn reset_for_exec() -> Result<()> {
    // Longer than the kernel's structure is anywhere; all zero, it is the default.
    let default = [0usize; 8];
    for signal in 1..=MAX_SIGNAL {
        // Not signal(3): the C library keeps two or three for itself, which are others in the next
        // program's. SAFETY: as in `set_ignored`, from memory that outlives the call. KILL and STOP
        // are refused, and have nothing to reset.
        unsafe {
            let (new, old) = (default.as_ptr(), std::ptr::null_mut::<usize>());
            libc::syscall(libc::SYS_rt_sigaction, signal, new, old, SET_BYTES);
        }
    }
    unblock_all()
}
