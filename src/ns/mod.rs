//! The table of the eight namespaces, which of them a container gets, and opening those of a
//! running process.
//!
//! `plan` is pure: it turns `lxc.namespace.*` and LXC's defaults into a [`NsPlan`] or says which
//! line contradicts which. [`Target`] is a process whose namespaces are joined; it cannot be
//! confused with a later process of the same number.

mod error;
mod plan;

pub use error::NsError;
pub use plan::{NsJoin, NsPlan, NsSource, open_joins, plan};

use crate::config::NsKind;
use crate::sys::error::SysError;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Pid};
use crate::sys::{errno, nsfile};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One row of the table of namespaces.
struct Row {
    kind: NsKind,
    /// `CLONE_NEW*`.
    flag: u64,
    /// Link below `/proc/PID/ns` that a joining process opens.
    link: &'static str,
    /// Link that shows what children get, where the kernel has one.
    for_children: Option<&'static str>,
}

const fn row(kind: NsKind, flag: u64, link: &'static str) -> Row {
    Row { kind, flag, link, for_children: None }
}

/// In the order of `NsKind`, which is LXC's order of descriptors and LXC_*_NS variables.
const TABLE: [Row; 8] = [
    row(NsKind::User, 0x1000_0000, "ns/user"),
    row(NsKind::Mnt, 0x0002_0000, "ns/mnt"),
    Row {
        kind: NsKind::Pid,
        flag: 0x2000_0000,
        link: "ns/pid",
        for_children: Some("ns/pid_for_children"),
    },
    row(NsKind::Uts, 0x0400_0000, "ns/uts"),
    row(NsKind::Ipc, 0x0800_0000, "ns/ipc"),
    row(NsKind::Net, 0x4000_0000, "ns/net"),
    row(NsKind::Cgroup, 0x0200_0000, "ns/cgroup"),
    Row {
        kind: NsKind::Time,
        flag: 0x0000_0080,
        link: "ns/time",
        for_children: Some("ns/time_for_children"),
    },
];

fn table(kind: NsKind) -> &'static Row {
    &TABLE[kind as usize]
}

/// The `CLONE_NEW*` flag of a namespace.
pub fn flag(kind: NsKind) -> u64 {
    table(kind).flag
}

/// The link below `/proc/PID` of a namespace, as `ns/mnt`.
pub fn link(kind: NsKind) -> &'static str {
    table(kind).link
}

/// The link of the namespace that the *children* of a process get: `ns/time_for_children` is
/// where a process finds the time namespace that it has just unshared.
pub fn link_for_children(kind: NsKind) -> &'static str {
    let row = table(kind);
    row.for_children.unwrap_or(row.link)
}

/// A set of namespaces.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NsSet(u8);

impl NsSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All eight.
    pub const ALL: Self = Self(0xff);

    /// Of the given kinds.
    pub fn of(kinds: &[NsKind]) -> Self {
        kinds.iter().fold(Self::EMPTY, |set, &kind| set.with(kind))
    }

    /// From `CLONE_NEW*` bits; other bits are not looked at.
    pub fn from_flags(flags: u64) -> Self {
        TABLE.iter().filter(|row| flags & row.flag != 0).fold(Self::EMPTY, |s, r| s.with(r.kind))
    }

    /// As `CLONE_NEW*` bits.
    pub fn flags(self) -> u64 {
        self.iter().fold(0, |flags, kind| flags | flag(kind))
    }

    /// True if `kind` is in the set.
    pub fn has(self, kind: NsKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The set and `kind`.
    #[must_use]
    pub fn with(self, kind: NsKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// The set without `kind`.
    #[must_use]
    pub fn without(self, kind: NsKind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// True if nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in LXC's order.
    pub fn iter(self) -> impl Iterator<Item = NsKind> {
        NsKind::ALL.into_iter().filter(move |&kind| self.has(kind))
    }
}

impl fmt::Display for NsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, kind) in self.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, kind.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for NsSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NsSet({self})")
    }
}

/// What the running kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Available {
    /// Kinds of namespaces that exist.
    pub kinds: NsSet,
}

impl Available {
    /// Asks the kernel: each kind it has is a link in /proc/self/ns.
    ///
    /// # Errors
    /// /proc cannot be opened.
    pub fn probe() -> Result<Self, SysError> {
        let own = fd::open("/proc/self", OpenFlags::PATH | OpenFlags::DIRECTORY, 0)?;
        let mut kinds = NsSet::EMPTY;
        for row in &TABLE {
            match nsfile::number_at(own.as_fd(), row.link) {
                Ok(_) => kinds = kinds.with(row.kind),
                Err(e) if e.is(errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Self { kinds })
    }
}

/// A process whose namespaces are looked at or joined. Its /proc directory stays open: once the
/// process has ended, every use of it fails, even if the number belongs to another by then.
pub struct Target {
    pid: Pid,
    dir: OwnedFd,
    pidfd: Option<OwnedFd>,
}

impl Target {
    /// Takes hold of a process. A `pidfd` that the caller already has proves that the number is
    /// still the same process's; without one, the number is taken as it is now.
    ///
    /// # Errors
    /// ESRCH or ENOENT when the process is gone.
    pub fn open(pid: Pid, pidfd: Option<OwnedFd>) -> Result<Self, NsError> {
        let fail = |source| NsError::Process { pid, source };
        let dir = fd::open(format!("/proc/{pid}"), OpenFlags::PATH | OpenFlags::DIRECTORY, 0)
            .map_err(fail)?;
        let pidfd = match pidfd {
            Some(pidfd) => {
                // Alive after the directory was opened: so the number was not used again before.
                process::send_signal(pid, Some(pidfd.as_fd()), 0).map_err(fail)?;
                Some(pidfd)
            }
            None => {
                let pidfd = process::pidfd_open(pid).ok();
                // The other way round here: the directory is the older, and must still be alive
                // for the pidfd to mean the same process.
                nsfile::number_at(dir.as_fd(), link(NsKind::Mnt)).map_err(fail)?;
                pidfd
            }
        };
        Ok(Self { pid, dir, pidfd })
    }

    /// This process itself.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn own() -> Result<Self, NsError> {
        let pid = process::own_pid();
        let dir = fd::open("/proc/self", OpenFlags::PATH | OpenFlags::DIRECTORY, 0)
            .map_err(|source| NsError::Process { pid, source })?;
        Ok(Self { pid, dir, pidfd: None })
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its /proc/PID directory (O_PATH).
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its pidfd, from 5.3 on.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The number of one of its namespaces; `None` when the kernel has no such kind.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn identity(&self, kind: NsKind) -> Result<Option<u64>, NsError> {
        match nsfile::number_at(self.dir.as_fd(), link(kind)) {
            Ok(id) => Ok(Some(id)),
            Err(e) if e.is(errno::ENOENT) && kind != NsKind::Mnt => Ok(None),
            Err(source) => Err(NsError::Open { kind, pid: self.pid, source }),
        }
    }

    /// Device and inode of its root directory.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn root_identity(&self) -> Result<(u64, u64), NsError> {
        nsfile::identity_at(self.dir.as_fd(), "root")
            .map_err(|source| NsError::Process { pid: self.pid, source })
    }

    /// The kinds among `wanted` of which this process and `other` have different ones.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn different(&self, other: &Self, wanted: NsSet) -> Result<NsSet, NsError> {
        let mut out = NsSet::EMPTY;
        for kind in wanted.iter() {
            if self.identity(kind)? != other.identity(kind)? {
                out = out.with(kind);
            }
        }
        Ok(out)
    }

    /// Opens one of its namespaces.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn open_namespace(&self, kind: NsKind) -> Result<OwnedFd, NsError> {
        fd::open_at(self.dir.as_fd(), link(kind), OpenFlags::RDONLY, 0)
            .map_err(|source| NsError::Open { kind, pid: self.pid, source })
    }

    /// Opens several, in the order in which they are joined.
    ///
    /// # Errors
    /// As [`Self::identity`].
    pub fn open_namespaces(&self, kinds: NsSet) -> Result<Vec<(NsKind, OwnedFd)>, NsError> {
        kinds.iter().map(|kind| Ok((kind, self.open_namespace(kind)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_kinds_and_flags_round_trip() {
        for (row, kind) in TABLE.iter().zip(NsKind::ALL) {
            assert_eq!(row.kind, kind);
            assert_eq!(row.link, format!("ns/{}", kind.name()));
            assert_eq!(NsSet::from_flags(row.flag), NsSet::of(&[kind]));
        }
        assert_eq!(NsSet::from_flags(NsSet::ALL.flags()), NsSet::ALL);
    }
}
