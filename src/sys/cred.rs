//! User and group ids of this process, set by raw per-thread system calls: the C library's
//! wrappers would signal other threads, of which there are none.
#![allow(unsafe_code, reason = "set*id without the C library's process-wide wrappers")]

use super::error::{At, Result, SysError};

// 32-bit ids: the plain numbers take 16 bits on 32-bit arm and x86.
#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
use libc::{
    SYS_setfsgid as SETFSGID, SYS_setfsuid as SETFSUID, SYS_setgroups as SETGROUPS,
    SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID,
};
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
use libc::{
    SYS_setfsgid32 as SETFSGID, SYS_setfsuid32 as SETFSUID, SYS_setgroups32 as SETGROUPS,
    SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID,
};

/// Effective user id.
pub fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The ids that new files get from here on; the capabilities stay. In a file system of a user
/// namespace, which has no place for the ids of others, the host's root can make files only so.
///
/// # Errors
/// EPERM for an ordinary user.
pub fn set_fs_ids(uid: u32, gid: u32) -> Result<()> {
    let failed = |e| SysError::rustix("capset", "", e);
    let sets = rustix::thread::capabilities(None).map_err(failed)?;
    // SAFETY: plain numbers.
    unsafe { libc::syscall(SETFSGID, gid) };
    // SAFETY: plain numbers.
    unsafe { libc::syscall(SETFSUID, uid) };
    // Neither says whether it was done; an impossible id changes nothing and tells the present one.
    // SAFETY: plain numbers.
    let now = unsafe { libc::syscall(SETFSUID, -1) };
    if now != i64::from(uid) as libc::c_long {
        return Err(SysError::new("setfsuid", uid.to_string(), libc::EPERM));
    }
    // Another id than root's has lost those about files.
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// Effective group id.
pub fn egid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Real user id.
pub fn ruid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Real group id.
pub fn rgid() -> u32 {
    rustix::process::getgid().as_raw()
}

/// The supplementary groups.
pub fn groups() -> Result<Vec<u32>> {
    let groups = rustix::process::getgroups().at("getgroups", || "")?;
    Ok(groups.into_iter().map(rustix::process::Gid::as_raw).collect())
}

/// Changes the effective user id alone, and with it what opening a file is allowed to do; the
/// saved one stays, so there is a way back.
pub fn set_effective_uid(uid: u32) -> Result<()> {
    let same = u32::MAX;
    // SAFETY: plain numbers.
    let done = unsafe { libc::syscall(SETRESUID, same, uid, same) };
    if done == 0 { Ok(()) } else { Err(SysError::last("setresuid", uid)) }
}

/// Replaces the supplementary groups.
pub fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the length belong to `groups`, which outlives the call.
    let done = unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) };
    if done == 0 {
        Ok(())
    } else {
        Err(SysError::last("setgroups", format!("{} groups", groups.len())))
    }
}

/// Real, effective and saved group id at once.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: plain numbers.
    let done = unsafe { libc::syscall(SETRESGID, gid, gid, gid) };
    if done == 0 { Ok(()) } else { Err(SysError::last("setresgid", gid)) }
}

/// Real, effective and saved user id at once.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: plain numbers.
    let done = unsafe { libc::syscall(SETRESUID, uid, uid, uid) };
    if done == 0 { Ok(()) } else { Err(SysError::last("setresuid", uid)) }
}
