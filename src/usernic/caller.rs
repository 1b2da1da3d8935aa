//! Who calls a setuid program, and what is done with the caller's rights instead of root's.

use super::Error;
use super::policy::Named;
use crate::sys::passwd::{by_uid, groups, users};
use crate::sys::process::Wait;
use crate::sys::{Result as SysResult, cred, fd, ns, nsfile, prctl, process, signal, spawn};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const CLONE_NEWNET: u64 = 0x4000_0000;
const CLONE_NEWUSER: i32 = 0x1000_0000;
const RLIMIT_CPU: u32 = 0;
const RLIMIT_FSIZE: u32 = 1;

/// The real ids.
pub(super) struct Caller {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Caller {
    pub(super) fn identify() -> Result<Self, Error> {
        let groups = cred::groups().map_err(super::system("reading the caller's groups"))?;
        Ok(Self { uid: cred::ruid(), gid: cred::rgid(), groups })
    }

    /// Opens a network namespace that the caller may open and has every right over.
    ///
    /// # Errors
    /// Always the same, whatever is at `path` (CVE-2022-47952), which is never opened as root
    /// (CVE-2018-6556).
    pub(super) fn open_namespace(&self, path: &str) -> Result<OwnedFd, Error> {
        let opened = self.open(path).ok().filter(|netns| self.owns(netns.as_fd()));
        opened.ok_or(Error::Namespace { uid: self.uid })
    }

    fn open(&self, path: &str) -> SysResult<OwnedFd> {
        cred::set_effective_uid(self.uid)?;
        // A FIFO must not be waited for, and a terminal not become ours.
        let flags = fd::OpenFlags::NONBLOCK | fd::OpenFlags::NOCTTY;
        let opened = fd::open(path, flags, 0);
        cred::set_effective_uid(0)?;
        opened
    }

    /// True if the caller could enter the user namespace that `netns` belongs to: the kernel's own
    /// measure of who is root there. Never true for the host's (CVE-2017-5985).
    fn owns(&self, netns: BorrowedFd<'_>) -> bool {
        if !nsfile::is_namespace(netns, CLONE_NEWNET).unwrap_or(false) {
            return false;
        }
        // Root needs nobody's leave; the owner of the host's namespaces cannot be entered again.
        if self.uid == 0 {
            return true;
        }
        let Ok(owner) = nsfile::owner(netns) else { return false };
        let enter = || -> SysResult<()> {
            cred::set_gid(self.gid)?;
            cred::set_uid(self.uid)?;
            ns::setns(owner.as_fd(), CLONE_NEWUSER)
        };
        matches!(spawn::in_child(|| i32::from(enter().is_err())), Ok(Wait::Exited(0)))
    }

    /// The names under which the policy may speak of the caller.
    pub(super) fn named(&self) -> Result<Named, Error> {
        let users = users(Path::new("/etc/passwd")).unwrap_or_default();
        let user = by_uid(&users, self.uid).ok_or(Error::Nobody { uid: self.uid })?;
        let all = groups(Path::new("/etc/group")).unwrap_or_default();
        let own = all.into_iter().filter(|g| g.gid == self.gid || self.groups.contains(&g.gid));
        Ok(Named { user: user.name.clone(), groups: own.map(|g| g.name).collect() })
    }

    /// The host's end of a new pair, with the caller's number in it as far as it fits: LXC's names.
    pub(super) fn host_name(&self, random: &[u8; 6]) -> String {
        let (prefix, len) = self.prefix();
        let name = crate::net::name_of(&prefix, *random);
        name.get(..prefix.len() + len).unwrap_or_default().to_owned()
    }

    fn prefix(&self) -> (String, usize) {
        match self.uid {
            uid @ 1..=65536 => (format!("veth{uid}_"), 4),
            _ => ("veth".to_owned(), 6),
        }
    }

    /// True if a device has such a name.
    pub(super) fn made(&self, nic: &str) -> bool {
        nic.starts_with(&self.prefix().0)
    }
}

/// Wholly root, so that the caller can no more send signals to this process, deaf to those of the
/// caller's terminal, and without limits that would end it halfway.
///
/// # Errors
/// The caller limits the size of files, and root may not change that (a container's root):
/// /run/lxc/nics might be written in part, which would lose count.
pub(super) fn become_root() -> SysResult<()> {
    cred::setgroups(&[])?;
    cred::set_gid(0)?;
    cred::set_uid(0)?;
    process::umask(0o022);
    signal::block_all()?;
    let unlimited = prctl::Rlimit { soft: u64::MAX, hard: u64::MAX };
    let _ = prctl::prlimit(0, RLIMIT_CPU, Some(unlimited));
    prctl::prlimit(0, RLIMIT_FSIZE, Some(unlimited)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_hold_their_users_number() {
        let caller = |uid| Caller { uid, gid: 0, groups: Vec::new() };
        assert_eq!(caller(1000).host_name(&[0; 6]), "veth1000_0000");
        assert_eq!(caller(65536).host_name(&[0; 6]).len(), 14);
        assert_eq!(caller(100_000).host_name(&[0; 6]), "veth000000");
        assert!(caller(1000).made("veth1000_AbCd") && !caller(100).made("veth1000_AbCd"));
    }
}
