//! The table of the eight namespaces, which of them a container gets, and opening those of a
//! running process.
//!
//! [`plan`] is pure: it turns `lxc.namespace.*` and LXC's defaults into a [`NsPlan`] or says which
//! line contradicts which. [`Target`] is a process whose namespaces are joined; it cannot be
//! confused with a later process of the same number.

use crate::config::{Config, Explain, NetKind, NsKind, Origin, Sourced};
use crate::sys::error::SysError;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Pid};
use crate::sys::{nsfile, procfs};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

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
            match nsfile::identity_at(own.as_fd(), row.link) {
                Ok(_) => kinds = kinds.with(row.kind),
                Err(e) if e.is(libc_enoent()) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Self { kinds })
    }
}

/// Where a namespace that is joined comes from (`lxc.namespace.share.*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NsSource {
    /// A process of the host.
    Process(Pid),
    /// The init of a container in the same lxcpath.
    Container(String),
    /// A file of /proc/PID/ns or a bind mount of one.
    File(PathBuf),
}

/// A namespace that is joined instead of created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NsJoin {
    /// Which.
    pub kind: NsKind,
    /// From where.
    pub source: NsSource,
    /// The line that asks for it.
    pub origin: Origin,
}

/// What happens to each of the eight namespaces. What is in neither part is kept from the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NsPlan {
    /// Created anew.
    pub create: NsSet,
    /// Joined, in LXC's order.
    pub join: Vec<NsJoin>,
}

impl NsPlan {
    /// `CLONE_NEW*` of what is created; what GET_CLONE_FLAGS answers.
    pub fn flags(&self) -> u64 {
        self.create.flags()
    }

    /// True if `kind` is created.
    pub fn creates(&self, kind: NsKind) -> bool {
        self.create.has(kind)
    }

    /// True if `kind` is another than the caller's: created or joined.
    pub fn separate(&self, kind: NsKind) -> bool {
        self.creates(kind) || self.join.iter().any(|j| j.kind == kind)
    }
}

/// Why namespaces cannot be had as the configuration asks, or not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NsError {
    /// Both lists are set.
    #[error("lxc.namespace.clone and lxc.namespace.keep are both set")]
    CloneAndKeep {
        /// The later of the two lines.
        origin: Option<Origin>,
    },
    /// The kernel has no such namespace.
    #[error("this kernel has no {} namespaces, and {key} asks for one", kind.name())]
    KernelLacks {
        /// Which.
        kind: NsKind,
        /// The key that asks.
        key: String,
        /// Its line.
        origin: Option<Origin>,
    },
    /// A user namespace without ids.
    #[error("{key} creates a user namespace, but there is no lxc.idmap for it")]
    UserWithoutMap {
        /// The key that asks.
        key: &'static str,
        /// Its line.
        origin: Option<Origin>,
    },
    /// Ids without a user namespace.
    #[error("lxc.idmap is set, but {key} keeps the user namespace of the host")]
    MapWithoutUser {
        /// The key that forbids.
        key: &'static str,
        /// Line of the map.
        origin: Option<Origin>,
    },
    /// The container would change the host's mounts.
    #[error("{key} keeps the mount namespace of the host, whose mounts the container would change")]
    HostMounts {
        /// The key that says so.
        key: &'static str,
        /// Its line.
        origin: Option<Origin>,
    },
    /// Devices without a network namespace.
    #[error("lxc.net.{index}.type asks for a device, but {key} keeps the network of the host")]
    NicWithoutNet {
        /// N of lxc.net.N.
        index: u32,
        /// The key that forbids.
        key: &'static str,
        /// Line of the type.
        origin: Option<Origin>,
    },
    /// Offsets without a time namespace of the container's own.
    #[error("lxc.time.offset is set, but {key} gives the container no time namespace of its own")]
    OffsetWithoutTime {
        /// The key that forbids.
        key: &'static str,
        /// Line of the offset.
        origin: Option<Origin>,
    },
    /// Core scheduling needs to know which processes belong together.
    #[error("lxc.sched.core needs a new pid namespace, and {key} forbids it")]
    CoreWithoutPid {
        /// The key that forbids.
        key: &'static str,
        /// Line of lxc.sched.core.
        origin: Option<Origin>,
    },
    /// The value of a share key.
    #[error("lxc.namespace.share.{} = \"{value}\" names no process, container or file", kind.name())]
    BadShare {
        /// Which.
        kind: NsKind,
        /// As written.
        value: String,
        /// Its line.
        origin: Origin,
    },
    /// The container to share with does not run.
    #[error("container \"{name}\", whose {} namespace is to be shared, is not running", kind.name())]
    NotRunning {
        /// Which.
        kind: NsKind,
        /// Its name.
        name: String,
        /// The line.
        origin: Origin,
    },
    /// A file that is to be joined is no such namespace.
    #[error("\"{file}\" is no {} namespace", kind.name())]
    WrongKind {
        /// Which was expected.
        kind: NsKind,
        /// The file.
        file: String,
        /// The line.
        origin: Origin,
    },
    /// A namespace to share cannot be opened.
    #[error("opening the {} namespace of \"{of}\"", kind.name())]
    OpenShared {
        /// Which.
        kind: NsKind,
        /// Process or file, as written.
        of: String,
        /// The line.
        origin: Origin,
        /// Why.
        #[source]
        source: SysError,
    },
    /// A namespace of a process cannot be opened or looked at.
    #[error("opening the {} namespace of process {pid}", kind.name())]
    Open {
        /// Which.
        kind: NsKind,
        /// Whose.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
    /// A process is not there any more.
    #[error("looking at process {pid}")]
    Process {
        /// Its number.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
    /// setns failed.
    #[error("joining the {kinds} namespaces of process {pid}")]
    Join {
        /// Which.
        kinds: NsSet,
        /// Whose.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
}

impl Explain for NsError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::OpenShared { source, .. }
            | Self::Open { source, .. }
            | Self::Process { source, .. }
            | Self::Join { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::CloneAndKeep { origin }
            | Self::KernelLacks { origin, .. }
            | Self::UserWithoutMap { origin, .. }
            | Self::MapWithoutUser { origin, .. }
            | Self::HostMounts { origin, .. }
            | Self::NicWithoutNet { origin, .. }
            | Self::OffsetWithoutTime { origin, .. }
            | Self::CoreWithoutPid { origin, .. } => origin.as_ref(),
            Self::BadShare { origin, .. }
            | Self::NotRunning { origin, .. }
            | Self::WrongKind { origin, .. }
            | Self::OpenShared { origin, .. } => Some(origin),
            Self::Open { .. } | Self::Process { .. } | Self::Join { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CloneAndKeep { .. } => "remove one of the two".into(),
            Self::KernelLacks { kind, .. } => match kind {
                NsKind::Time => "remove the key, or use a kernel with CONFIG_TIME_NS=y".into(),
                kind => format!(
                    "remove the key, or use a kernel with CONFIG_{}_NS=y",
                    kind.name().to_uppercase()
                ),
            },
            Self::UserWithoutMap { .. } => {
                "add \"user\" to lxc.namespace.keep, or lines as lxc.idmap = u 0 100000 65536"
                    .into()
            }
            Self::MapWithoutUser { .. } => "remove lxc.idmap, or let user be created".into(),
            Self::HostMounts { .. } => "let mnt be created".into(),
            Self::NicWithoutNet { index, .. } => format!("set lxc.net.{index}.type = none"),
            Self::NotRunning { name, .. } => format!("lxc-start -n {name}"),
            _ => return None,
        })
    }
}

/// The key that took a namespace away from the container, for messages.
fn limiting_key(config: &Config) -> &'static str {
    if config.namespaces.keep.is_empty() { "lxc.namespace.clone" } else { "lxc.namespace.keep" }
}

/// Decides about each of the eight namespaces (LXC's `resolve_clone_flags`), and refuses what
/// contradicts itself or the kernel.
///
/// # Errors
/// The contradiction, with its line.
pub fn plan(config: &Config, available: &Available) -> Result<NsPlan, NsError> {
    let ns = &config.namespaces;
    let key = limiting_key(config);
    let key_origin = || config.origin(key).cloned();
    if !ns.clone.is_empty() && !ns.keep.is_empty() {
        return Err(NsError::CloneAndKeep { origin: key_origin() });
    }
    let explicit = !ns.clone.is_empty() || !ns.keep.is_empty();
    let mut create = if !ns.clone.is_empty() {
        NsSet::of(&ns.clone)
    } else if !ns.keep.is_empty() {
        ns.keep.iter().fold(NsSet::ALL, |set, &kind| set.without(kind))
    } else {
        defaults(config)
    };
    for &kind in ns.share.keys() {
        create = create.without(kind);
    }

    let offset = offset_key(config);
    if let Some(offset) = offset
        && !create.has(NsKind::Time)
    {
        let key =
            if ns.share.contains_key(&NsKind::Time) { "lxc.namespace.share.time" } else { key };
        return Err(NsError::OffsetWithoutTime { key, origin: config.origin(offset).cloned() });
    }
    create = require(config, available, create, offset)?;

    if create.has(NsKind::User) && config.idmap.is_empty() {
        return Err(NsError::UserWithoutMap { key, origin: key_origin() });
    }
    let shares = |kind| ns.share.contains_key(&kind);
    let kept = |kind| explicit && !create.has(kind) && !shares(kind);
    if let Some(first) = config.idmap.first()
        && kept(NsKind::User)
    {
        return Err(NsError::MapWithoutUser { key, origin: Some(first.origin.clone()) });
    }
    if kept(NsKind::Mnt) {
        return Err(NsError::HostMounts { key, origin: key_origin() });
    }
    if kept(NsKind::Net)
        && let Some((&index, _)) = config.net.iter().find(|(_, nic)| makes_device(nic.kind))
    {
        let origin = config.origin(&format!("lxc.net.{index}.type")).cloned();
        return Err(NsError::NicWithoutNet { index, key, origin });
    }
    if config.sched_core && !create.has(NsKind::Pid) {
        let key = if shares(NsKind::Pid) { "lxc.namespace.share.pid" } else { key };
        let origin = config.origin("lxc.sched.core").cloned();
        return Err(NsError::CoreWithoutPid { key, origin });
    }
    let join = ns.share.iter().map(|(&kind, value)| parse_share(kind, value));
    Ok(NsPlan { create, join: join.collect::<Result<_, _>>()? })
}

/// What is created when neither clone nor keep says anything.
fn defaults(config: &Config) -> NsSet {
    let mut create = NsSet::ALL;
    if config.idmap.is_empty() {
        create = create.without(NsKind::User);
    }
    // LXC's lxc_requests_empty_network: only lines of type none, and at least one.
    let none = |kind| kind == Some(NetKind::None);
    if !config.net.is_empty() && config.net.values().all(|nic| none(nic.kind)) {
        create = create.without(NsKind::Net);
    }
    if offset_key(config).is_none() {
        create = create.without(NsKind::Time);
    }
    create
}

/// The time offset key that is set, if one is.
fn offset_key(config: &Config) -> Option<&'static str> {
    let set = |value: Option<i64>| value.is_some_and(|ns| ns != 0);
    if set(config.time_offset.boot) {
        Some("lxc.time.offset.boot")
    } else if set(config.time_offset.monotonic) {
        Some("lxc.time.offset.monotonic")
    } else {
        None
    }
}

/// Takes out what this kernel lacks where LXC's defaults say "if supported"; what a key names must
/// be there. `keep` names what is not created, so its complement is also only "if supported".
fn require(
    config: &Config,
    available: &Available,
    create: NsSet,
    offset: Option<&'static str>,
) -> Result<NsSet, NsError> {
    let ns = &config.namespaces;
    let mut out = create;
    for kind in create.iter().filter(|&kind| !available.kinds.has(kind)) {
        let key = if ns.clone.contains(&kind) {
            "lxc.namespace.clone".into()
        } else if let (NsKind::Time, Some(offset)) = (kind, offset) {
            offset.into()
        } else if kind == NsKind::User && !config.idmap.is_empty() {
            "lxc.idmap".into()
        } else if matches!(kind, NsKind::Cgroup | NsKind::Time | NsKind::User) {
            out = out.without(kind);
            continue;
        } else {
            "every container".to_string()
        };
        let origin = match key.as_str() {
            "lxc.idmap" => config.idmap.first().map(|line| line.origin.clone()),
            key => config.origin(key).cloned(),
        };
        return Err(NsError::KernelLacks { kind, key, origin });
    }
    if let Some((&kind, value)) = ns.share.iter().find(|(k, _)| !available.kinds.has(**k)) {
        let key = format!("lxc.namespace.share.{}", kind.name());
        return Err(NsError::KernelLacks { kind, key, origin: Some(value.origin.clone()) });
    }
    Ok(out)
}

/// True for the network types that need a namespace of the container's own.
fn makes_device(kind: Option<NetKind>) -> bool {
    !matches!(kind, None | Some(NetKind::None | NetKind::Empty))
}

fn parse_share(kind: NsKind, value: &Sourced<String>) -> Result<NsJoin, NsError> {
    let text = value.value.as_str();
    let source = if text.starts_with('/') {
        Some(NsSource::File(text.into()))
    } else if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok().filter(|&pid| pid > 0).map(NsSource::Process)
    } else if text.is_empty() || text.contains('/') {
        None
    } else {
        Some(NsSource::Container(text.into()))
    };
    match source {
        Some(source) => Ok(NsJoin { kind, source, origin: value.origin.clone() }),
        None => Err(NsError::BadShare { kind, value: text.into(), origin: value.origin.clone() }),
    }
}

/// Opens the namespaces to join, in order. `init_of` gives the init of a running container of the
/// same lxcpath.
///
/// # Errors
/// The container does not run, the process is gone, or the file is no namespace of that kind.
pub fn open_joins(
    plan: &NsPlan,
    mut init_of: impl FnMut(&str) -> Option<Pid>,
) -> Result<Vec<(NsKind, OwnedFd)>, NsError> {
    let mut out = Vec::with_capacity(plan.join.len());
    for join in &plan.join {
        let NsJoin { kind, origin, .. } = join;
        let (of, opened) = match &join.source {
            NsSource::File(path) => {
                (path.display().to_string(), fd::open(path, OpenFlags::RDONLY, 0))
            }
            NsSource::Process(pid) => (pid.to_string(), procfs::open_namespace(*pid, kind.name())),
            NsSource::Container(name) => {
                let (kind, origin) = (*kind, origin.clone());
                let Some(pid) = init_of(name) else {
                    return Err(NsError::NotRunning { kind, name: name.clone(), origin });
                };
                (name.clone(), procfs::open_namespace(pid, kind.name()))
            }
        };
        let file = match opened {
            Ok(file) => file,
            Err(source) => {
                let (kind, origin) = (*kind, origin.clone());
                return Err(NsError::OpenShared { kind, of, origin, source });
            }
        };
        if nsfile::is_namespace(file.as_fd(), flag(*kind)) != Ok(true) {
            let (kind, origin) = (*kind, origin.clone());
            return Err(NsError::WrongKind { kind, file: of, origin });
        }
        out.push((*kind, file));
    }
    Ok(out)
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
                nsfile::identity_at(dir.as_fd(), link(NsKind::Mnt)).map_err(fail)?;
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

    /// Device and inode of one of its namespaces; `None` when the kernel has no such kind.
    ///
    /// # Errors
    /// The process is gone, or may not be looked at.
    pub fn identity(&self, kind: NsKind) -> Result<Option<(u64, u64)>, NsError> {
        match nsfile::identity_at(self.dir.as_fd(), link(kind)) {
            Ok(id) => Ok(Some(id)),
            Err(e) if e.is(libc_enoent()) && kind != NsKind::Mnt => Ok(None),
            Err(source) => Err(NsError::Open { kind, pid: self.pid, source }),
        }
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

/// ENOENT; numbers of errors are libc's, which only `sys` names.
const fn libc_enoent() -> i32 {
    nsfile::ENOENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{IdKind, IdMapEntry, NetConfig};

    const EVERYTHING: Available = Available { kinds: NsSet::ALL };

    fn origin() -> Origin {
        Origin::label("test")
    }

    fn with_map(mut config: Config) -> Config {
        let value = IdMapEntry { kind: IdKind::Uid, ns: 0, host: 100_000, range: 65536 };
        config.idmap.push(Sourced { value, origin: origin() });
        config
    }

    fn net(kinds: &[NetKind]) -> Config {
        let mut config = Config::default();
        for (i, &kind) in (0u32..).zip(kinds) {
            config.net.insert(i, NetConfig { kind: Some(kind), ..NetConfig::default() });
        }
        config
    }

    fn created(config: &Config) -> String {
        plan(config, &EVERYTHING).map(|p| p.create.to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn table_is_in_the_order_of_kinds_and_flags_round_trip() {
        for (row, kind) in TABLE.iter().zip(NsKind::ALL) {
            assert_eq!(row.kind, kind);
            assert_eq!(row.link, format!("ns/{}", kind.name()));
            assert_eq!(NsSet::from_flags(row.flag), NsSet::of(&[kind]));
        }
        assert_eq!(NsSet::from_flags(NsSet::ALL.flags()), NsSet::ALL);
    }

    #[test]
    fn defaults_follow_lxc() {
        assert_eq!(created(&Config::default()), "mnt pid uts ipc net cgroup");
        assert_eq!(created(&with_map(Config::default())), "user mnt pid uts ipc net cgroup");
        assert_eq!(created(&net(&[NetKind::None])), "mnt pid uts ipc cgroup");
        assert_eq!(created(&net(&[NetKind::None, NetKind::Veth])), "mnt pid uts ipc net cgroup");
        assert_eq!(created(&net(&[NetKind::Empty])), "mnt pid uts ipc net cgroup");
        let mut config = Config::default();
        config.time_offset.boot = Some(5);
        assert_eq!(created(&config), "mnt pid uts ipc net cgroup time");
    }

    #[test]
    fn cgroup_only_where_the_kernel_has_it_but_named_kinds_must_exist() {
        let old = Available { kinds: NsSet::ALL.without(NsKind::Cgroup).without(NsKind::Time) };
        let plan_old = plan(&Config::default(), &old).unwrap();
        assert_eq!(plan_old.create.to_string(), "mnt pid uts ipc net");
        let mut config = Config::default();
        config.namespaces.clone = vec![NsKind::Mnt, NsKind::Cgroup];
        assert!(matches!(plan(&config, &old), Err(NsError::KernelLacks { .. })));
        let mut config = Config::default();
        config.time_offset.monotonic = Some(-5);
        assert!(matches!(
            plan(&config, &old),
            Err(NsError::KernelLacks { kind: NsKind::Time, .. })
        ));
    }

    #[test]
    fn clone_keep_and_share() {
        let mut config = Config::default();
        config.namespaces.clone = vec![NsKind::Mnt, NsKind::Uts];
        assert_eq!(created(&config), "mnt uts");
        config.namespaces.keep = vec![NsKind::Net];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::CloneAndKeep { .. })));
        config.namespaces.clone.clear();
        config.namespaces.keep = vec![NsKind::User, NsKind::Net];
        assert_eq!(created(&config), "mnt pid uts ipc cgroup time");
        let value = Sourced { value: "12".to_string(), origin: origin() };
        config.namespaces.share.insert(NsKind::Ipc, value);
        let plan = plan(&config, &EVERYTHING).unwrap();
        assert_eq!(plan.create.to_string(), "mnt pid uts cgroup time");
        assert_eq!(plan.join[0].source, NsSource::Process(12));
        assert!(plan.separate(NsKind::Ipc) && !plan.creates(NsKind::Ipc));
        assert!(!plan.separate(NsKind::Net));
    }

    #[test]
    fn contradictions_are_errors() {
        let mut config = Config::default();
        config.namespaces.keep = vec![NsKind::Net];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::UserWithoutMap { .. })));
        let mut config = with_map(Config::default());
        config.namespaces.keep = vec![NsKind::User];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::MapWithoutUser { .. })));
        let mut config = Config::default();
        config.namespaces.clone = vec![NsKind::Uts];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::HostMounts { .. })));
        let mut config = net(&[NetKind::Empty, NetKind::Veth]);
        config.namespaces.keep = vec![NsKind::Net, NsKind::User];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::NicWithoutNet { index: 1, .. })));
        let mut config = Config { sched_core: true, ..Config::default() };
        config.namespaces.keep = vec![NsKind::Pid, NsKind::User];
        assert!(matches!(plan(&config, &EVERYTHING), Err(NsError::CoreWithoutPid { .. })));
    }

    #[test]
    fn sharing_the_network_replaces_the_devices() {
        let mut config = net(&[NetKind::Veth]);
        let value = Sourced { value: "c1".to_string(), origin: origin() };
        config.namespaces.share.insert(NsKind::Net, value);
        assert_eq!(created(&config), "mnt pid uts ipc cgroup");
    }

    #[test]
    fn share_values() {
        let parse = |text: &str| {
            let value = Sourced { value: text.to_string(), origin: origin() };
            parse_share(NsKind::Net, &value).map(|j| j.source).ok()
        };
        assert_eq!(parse("1"), Some(NsSource::Process(1)));
        assert_eq!(parse("c1"), Some(NsSource::Container("c1".into())));
        assert_eq!(parse("/proc/1/ns/net"), Some(NsSource::File("/proc/1/ns/net".into())));
        for bad in ["", "0", "99999999999", "a/b", "../c"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
