//! The ids of a container with the caller's own beside them: a template runs with these, and what
//! an ordinary user does to files of the container's root is done by a process that has them.

use super::{Extent, HostId, IdMap, IdMapError, NsId, plan_writer, user_namespace};
use crate::config::IdKind;
use crate::sys::error::{Result as SysResult, SysError};
use crate::sys::process::Wait;
use crate::sys::{cred, errno, ns, spawn};
use crate::util::sentence::sentence;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// CLONE_NEWUSER.
const NEW_USER: i32 = 0x1000_0000;

/// A user namespace that has the ids of a container and those of the caller.
pub struct Mapped {
    /// The map of the container plus the caller's own ids.
    pub map: IdMap,
    /// An open namespace with that map.
    pub namespace: OwnedFd,
    /// The caller's user and group inside.
    pub caller: (u32, u32),
}

impl Mapped {
    /// The caller's ids are added at the first free numbers, if they are not in the map.
    ///
    /// # Errors
    /// There is no free number, or the map cannot be written.
    pub fn with_caller(map: &IdMap) -> Result<Self, IdMapError> {
        let (euid, egid) = (cred::euid(), cred::egid());
        let mut all = map.clone();
        let mut caller = |kind, host| -> Result<u32, IdMapError> {
            if let Some(id) = map.to_ns(kind, HostId(host)) {
                return Ok(id.0);
            }
            let free = first_free(map, kind).ok_or(IdMapError::NoneFree)?;
            let extents = if kind == IdKind::Uid { &mut all.uids } else { &mut all.gids };
            extents.push(Extent { ns: NsId(free), host: HostId(host), count: 1 });
            Ok(free)
        };
        let caller = (caller(IdKind::Uid, euid)?, caller(IdKind::Gid, egid)?);
        let search = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"].map(PathBuf::from);
        let writer = plan_writer(&all, euid, egid, &search)?;
        let namespace = user_namespace(&all, &writer)?;
        Ok(Self { map: all, namespace, caller })
    }

    /// Makes this process root there, for good. It keeps the caller's groups, and so the right to
    /// read what the caller may read.
    ///
    /// # Errors
    /// Those of setns(2), setgid(2) and setuid(2).
    pub fn enter(&self) -> SysResult<()> {
        ns::setns(self.namespace.as_fd(), NEW_USER)?;
        cred::set_gid(0)?;
        cred::set_uid(0)
    }

    /// Has a process that is root there do `work`. What fails in it comes back as its error
    /// number; the rest of the error is in the log.
    pub fn run(&self, work: &mut dyn FnMut() -> SysResult<()>) -> SysResult<()> {
        let inside = || {
            let done = ns::setns(self.namespace.as_fd(), NEW_USER)
                .and_then(|()| cred::setgroups(&[]))
                .and_then(|()| cred::set_gid(0))
                .and_then(|()| cred::set_uid(0))
                .and_then(|()| work());
            let failed = done.inspect_err(|e| log::debug!("as the container's root: {e}"));
            failed.map_or_else(|e| e.errno, |()| 0)
        };
        match spawn::in_child(inside)? {
            Wait::Exited(0) => Ok(()),
            Wait::Exited(number) => Err(SysError::new("unlink", "as the container's root", number)),
            _ => Err(SysError::new("waitpid", "", errno::ECHILD)),
        }
    }
}

/// Does `work` with the right over all files of a container: root has it, an ordinary user only
/// as the root of a namespace with the container's ids.
pub fn with_rights_over(
    map: Option<&IdMap>,
    work: &mut dyn FnMut() -> SysResult<()>,
) -> SysResult<()> {
    match map {
        Some(map) if cred::euid() != 0 => match Mapped::with_caller(map) {
            Ok(mapped) => mapped.run(work),
            // What is the user's own can be had all the same.
            Err(e) => work().inspect_err(|_| log::error!("{}", sentence(&e))),
        },
        _ => work(),
    }
}

/// The lowest container id that nothing is mapped to.
fn first_free(map: &IdMap, kind: IdKind) -> Option<u32> {
    let mut free = 0u32;
    let mut extents = map.extents(kind).to_vec();
    extents.sort_by_key(|extent| extent.ns.0);
    for extent in extents {
        if free < extent.ns.0 {
            break;
        }
        free = free.max(extent.ns.0.checked_add(extent.count)?);
    }
    Some(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_gets_the_first_id_that_is_free() {
        let extents = |all: &[(u32, u32)]| -> Vec<Extent> {
            let one = |&(ns, count)| Extent { ns: NsId(ns), host: HostId(ns + 100_000), count };
            all.iter().map(one).collect()
        };
        let map =
            IdMap { uids: extents(&[(0, 65536)]), gids: extents(&[(10, 10), (0, 5), (5, 1)]) };
        assert_eq!(first_free(&map, IdKind::Uid), Some(65536));
        assert_eq!(first_free(&map, IdKind::Gid), Some(6));
    }
}
