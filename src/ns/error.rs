//! Why namespaces cannot be had as the configuration asks, or cannot be opened or joined.

use super::NsSet;
use crate::config::{Explain, NsKind, Origin};
use crate::sys::error::SysError;
use crate::sys::process::Pid;

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
            Self::KernelLacks { kind, .. } => {
                let with = match kind {
                    NsKind::Time => "5.6 with CONFIG_TIME_NS=y",
                    NsKind::Cgroup => "4.6",
                    NsKind::User => "3.8 with CONFIG_USER_NS=y",
                    _ => "with its kind configured (lxc-checkconfig)",
                };
                format!("remove the key, or use Linux {with}")
            }
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
