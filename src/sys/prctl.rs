//! Properties of a process that have calls of their own: capabilities, limits, personality,
//! keyring, core scheduling, death signal, dumpable, no_new_privs.
#![allow(unsafe_code, reason = "prctl, prlimit64, personality and keyctl take plain numbers")]

use super::error::{At, Result, SysError};
use super::process::Pid;

fn prctl(option: libc::c_int, args: [libc::c_ulong; 4], operand: &str) -> Result<libc::c_int> {
    // SAFETY: every option used in this file takes numbers only.
    let done = unsafe { libc::prctl(option, args[0], args[1], args[2], args[3]) };
    if done < 0 { Err(SysError::last("prctl", operand)) } else { Ok(done) }
}

/// Removes capability `cap` from this thread's bounding set. EINVAL for a number that the kernel
/// does not know, EPERM without CAP_SETPCAP.
pub fn bounding_drop(cap: u8) -> Result<()> {
    prctl(libc::PR_CAPBSET_DROP, [cap.into(), 0, 0, 0], "PR_CAPBSET_DROP").map(drop)
}

/// Whether capability `cap` is in this thread's bounding set. EINVAL for a number that the kernel
/// does not know.
pub fn bounding_has(cap: u8) -> Result<bool> {
    prctl(libc::PR_CAPBSET_READ, [cap.into(), 0, 0, 0], "PR_CAPBSET_READ").map(|has| has == 1)
}

/// Empties the ambient set.
pub fn ambient_clear() -> Result<()> {
    const CLEAR: libc::c_ulong = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, [CLEAR, 0, 0, 0], "PR_CAP_AMBIENT_CLEAR_ALL").map(drop)
}

/// Empties the inheritable set; permitted and effective stay.
pub fn inheritable_clear() -> Result<()> {
    let mut sets = rustix::thread::capabilities(None).at("capget", || "")?;
    if sets.inheritable.is_empty() {
        return Ok(());
    }
    sets.inheritable = rustix::thread::CapabilitySet::empty();
    rustix::thread::set_capabilities(None, sets).at("capset", || "inheritable: none")
}

/// The effective set as a bit mask.
pub fn effective_caps() -> Result<u64> {
    rustix::thread::capabilities(None).at("capget", || "").map(|sets| sets.effective.bits())
}

/// Sets no_new_privs; it cannot be unset.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0], "PR_SET_NO_NEW_PRIVS").map(drop)
}

/// Whether others of the same user may ptrace this process and read its /proc files.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, [on.into(), 0, 0, 0], "PR_SET_DUMPABLE").map(drop)
}

/// The signal that this process gets when its parent dies; 0 is none. Changing ids resets it.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    let number = libc::c_ulong::from(signal.unsigned_abs());
    prctl(libc::PR_SET_PDEATHSIG, [number, 0, 0, 0], "PR_SET_PDEATHSIG").map(drop)
}

/// Keeps permitted capabilities over the next change of user ids away from 0.
pub fn set_keep_caps(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, [on.into(), 0, 0, 0], "PR_SET_KEEPCAPS").map(drop)
}

/// What `uname -m` and the address layout pretend (personality(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// PER_LINUX.
    Linux,
    /// PER_LINUX32.
    Linux32,
}

/// Sets the execution domain of this process.
pub fn set_personality(personality: Personality) -> Result<()> {
    let (number, name) = match personality {
        Personality::Linux => (0x0000, "PER_LINUX"),
        Personality::Linux32 => (0x0008, "PER_LINUX32"),
    };
    // SAFETY: a plain number.
    if unsafe { libc::personality(number) } < 0 {
        return Err(SysError::last("personality", name));
    }
    Ok(())
}

/// One resource's limits; `u64::MAX` is unlimited (RLIM64_INFINITY).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Reads and, with `new`, replaces limit number `resource` of process `pid` (0: this one).
/// Returns what it was. 64-bit on every architecture.
pub fn prlimit(pid: Pid, resource: u32, new: Option<Rlimit>) -> Result<Rlimit> {
    let mut old = Rlimit { soft: 0, hard: 0 };
    let new_pointer = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both structs have the kernel's rlimit64 layout and outlive the call.
    let done = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, new_pointer, std::ptr::from_mut(&mut old))
    };
    if done == 0 {
        return Ok(old);
    }
    Err(SysError::last("prlimit", format!("{pid}, resource {resource}")))
}

/// Gives this process a new anonymous session keyring. ENOSYS in a kernel without keys.
pub fn join_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for an anonymous keyring.
    if unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, none) } < 0 {
        return Err(SysError::last("keyctl", "KEYCTL_JOIN_SESSION_KEYRING"));
    }
    Ok(())
}

const PR_SCHED_CORE: libc::c_int = 62;
const PR_SCHED_CORE_GET: libc::c_ulong = 0;
const PR_SCHED_CORE_CREATE: libc::c_ulong = 1;
const PR_SCHED_CORE_SHARE_FROM: libc::c_ulong = 3;
const SCOPE_THREAD: libc::c_ulong = 0;
const SCOPE_THREAD_GROUP: libc::c_ulong = 1;

/// Whether the kernel has core scheduling: asks for this thread's cookie and changes nothing.
/// Errors as [`core_sched_create`].
pub fn core_sched_probe() -> Result<()> {
    let own: libc::c_ulong = 0;
    let mut cookie = 0u64;
    let pointer = std::ptr::from_mut(&mut cookie);
    // SAFETY: the kernel writes one u64 to `cookie`, which outlives the call.
    let done = unsafe { libc::prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, own, SCOPE_THREAD, pointer) };
    if done == 0 { Ok(()) } else { Err(SysError::last("prctl", "PR_SCHED_CORE_GET")) }
}

/// Gives process `pid` a core-scheduling cookie of its own. EINVAL in a kernel without core
/// scheduling (< 5.14 or not configured), ENODEV on a machine without SMT.
pub fn core_sched_create(pid: Pid) -> Result<()> {
    let pid = libc::c_ulong::from(pid.unsigned_abs());
    let args = [PR_SCHED_CORE_CREATE, pid, SCOPE_THREAD_GROUP, 0];
    prctl(PR_SCHED_CORE, args, "PR_SCHED_CORE_CREATE").map(drop)
}

/// Takes over the cookie of process `pid`. Errors as [`core_sched_create`].
pub fn core_sched_join(pid: Pid) -> Result<()> {
    let pid = libc::c_ulong::from(pid.unsigned_abs());
    let args = [PR_SCHED_CORE_SHARE_FROM, pid, SCOPE_THREAD, 0];
    prctl(PR_SCHED_CORE, args, "PR_SCHED_CORE_SHARE_FROM").map(drop)
}
