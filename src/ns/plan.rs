//! Which namespaces a container gets: `lxc.namespace.*` against LXC's defaults, the rest of the
//! configuration and the kernel. All pure but [`open_joins`].

use super::{Available, NsError, NsSet, flag};
use crate::config::{Config, NetKind, NsKind, Origin, Sourced};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::Pid;
use crate::sys::{nsfile, procfs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

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

impl std::fmt::Display for NsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Container(name) => write!(f, "container {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
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
    if let Some(offset) = offset.filter(|_| !create.has(NsKind::Time)) {
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
    if let Some(first) = config.idmap.first().filter(|_| kept(NsKind::User)) {
        return Err(NsError::MapWithoutUser { key, origin: Some(first.origin.clone()) });
    }
    if kept(NsKind::Mnt) {
        return Err(NsError::HostMounts { key, origin: key_origin() });
    }
    let device = config.net.iter().find(|(_, nic)| makes_device(nic.kind));
    if let Some((&index, _)) = device.filter(|_| kept(NsKind::Net)) {
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
