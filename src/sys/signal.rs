//! Signal mask and dispositions of this process.
#![allow(unsafe_code, reason = "sigprocmask and sigaction")]

use super::error::{Result, SysError};

/// A saved signal mask.
#[derive(Clone, Copy)]
pub struct Mask(libc::sigset_t);

/// Highest signal number.
const MAX_SIGNAL: i32 = 64;

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

/// Waits for one of these signals, which must be blocked, and takes it.
pub fn wait(signals: &[i32]) -> Result<i32> {
    let mut set = empty_set();
    for &signal in signals {
        // SAFETY: the set is initialised and outlives the call.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    loop {
        // SAFETY: the set outlives the call, and nothing is to be filled in.
        match unsafe { libc::sigwaitinfo(&set, std::ptr::null_mut()) } {
            -1 => {
                let error = SysError::last("sigwaitinfo", "");
                if !error.is(libc::EINTR) {
                    return Err(error);
                }
            }
            signal => return Ok(signal),
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

/// Resets every disposition to the default and empties the mask: what a new program expects.
/// Rust starts with SIGPIPE ignored, and exec passes that on.
///
/// # In the child
/// Right before exec.
pub fn reset_for_exec() -> Result<()> {
    for signal in 1..=MAX_SIGNAL {
        // SAFETY: as in `set_ignored`. KILL, STOP and the C library's own two refuse; they have
        // nothing to reset.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_all()
}
