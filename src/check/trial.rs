//! What the trials of the table are made of: what they give, and where they go. They run in
//! processes of their own, which are thrown away.

use super::Verdict;
use super::host::Host;
use crate::config::NsKind;
use crate::net::rtnl::RtnlError;
use crate::ns;
use crate::sys::{SysError, cred, errno, fd};

/// A trial that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errno: i32,
    /// The call and its object.
    pub(super) text: String,
}

impl From<SysError> for Refusal {
    fn from(error: SysError) -> Self {
        Self { errno: error.errno, text: error.to_string() }
    }
}

impl From<RtnlError> for Refusal {
    fn from(error: RtnlError) -> Self {
        Self { errno: error.errno().unwrap_or(errno::EIO), text: error.to_string() }
    }
}

/// What a trial gives.
pub(super) type Tries = fn(&Host) -> Result<Verdict, Refusal>;

/// Leaves for a user namespace in which the caller is root.
///
/// # In the child
pub(super) fn enter_user_namespace(uid: u32, gid: u32) -> Result<(), SysError> {
    enter(NsKind::User)?;
    // FALLBACK(<3.19): no such file, and no need for it.
    match fd::write_file("/proc/self/setgroups", b"deny") {
        Err(e) if !e.is(errno::ENOENT) => return Err(e),
        _ => {}
    }
    fd::write_file("/proc/self/uid_map", format!("0 {uid} 1").as_bytes())?;
    fd::write_file("/proc/self/gid_map", format!("0 {gid} 1").as_bytes())
}

/// Leaves for a new namespace.
///
/// # In the child
pub(super) fn enter(kind: NsKind) -> Result<(), SysError> {
    let flags = i32::try_from(ns::flag(kind)).unwrap_or_default();
    crate::sys::ns::unshare(flags)
}

/// Becomes a user that has no rights and is nobody in particular, if the caller is root.
///
/// # In the child
pub(super) fn become_nobody() -> Result<u32, SysError> {
    const NOBODY: u32 = 65534;
    if cred::euid() != 0 {
        return Ok(cred::euid());
    }
    cred::setgroups(&[])?;
    cred::set_gid(NOBODY)?;
    cred::set_uid(NOBODY)?;
    // A change of ids makes /proc/self root's, and the id maps could not be written.
    crate::sys::prctl::set_dumpable(true)?;
    Ok(NOBODY)
}
