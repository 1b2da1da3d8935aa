//! Why there is no copy.

use crate::config::{ConfigError, Origin};
use crate::container::create::CreateError;
use crate::container::destroy::DestroyError;
use crate::container::interrupts::Interrupted;
use crate::container::lock::LockError;
use crate::control::client::ClientError;
use crate::hook::HookError;
use crate::idmap::IdMapError;
use crate::storage::StorageError;
use crate::sys::SysError;
use crate::util::blame::{Explain, boxed};
use crate::util::quote::quoted;
use std::path::PathBuf;

/// Why there is no copy, snapshot or renamed container.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// No source.
    #[error("container {} is not defined", quoted(.0))]
    Undefined(String),
    /// The source is being made, or its creation was interrupted.
    #[error("container {} is incomplete: its creation goes on or was interrupted", quoted(.0))]
    Incomplete(String),
    /// The source runs.
    #[error("container {} is running", quoted(.0))]
    Running(String),
    /// The target is there.
    #[error("container {} already exists", quoted(.0))]
    Exists(String),
    /// Others use its files.
    #[error("container {} has clones", quoted(.0))]
    Clones(String),
    /// It has snapshots, which belong to its name.
    #[error("container {} has snapshots", quoted(.0))]
    Snapshots(String),
    /// No such snapshot.
    #[error("container {} has no snapshot {}", quoted(container), quoted(snapshot))]
    NoSnapshot {
        /// Of what.
        container: String,
        /// Which.
        snapshot: String,
    },
    /// `-m`.
    #[error("\"{text}\" is no mount: {why}")]
    Mount {
        /// As given.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// `-t` without an overlay.
    #[error("only an overlay can be kept in memory, not {0}")]
    NoTmpfs(&'static str),
    /// A file or directory of the target.
    #[error("making {}", quoted(.0))]
    Make(PathBuf, #[source] SysError),
    /// A file of the source's configuration.
    #[error("copying {}", quoted(.0))]
    File(PathBuf, #[source] SysError),
    /// The lists of clones.
    #[error("noting which containers depend on which")]
    Dependents(#[source] SysError),
    /// Waiting for signals, and for the process that copies.
    #[error("preparing for signals")]
    Signals(#[source] SysError),
    /// The process that copies.
    #[error("starting the process that copies")]
    Process(#[source] SysError),
    /// What that process said.
    #[error("{0}")]
    Told(String),
    /// We were told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The same, when it could only be finished.
    #[error("{0} too late: {1}")]
    Late(Interrupted, &'static str),
    /// The lock.
    #[error(transparent)]
    Lock(Box<LockError>),
    /// A config.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The id map.
    #[error(transparent)]
    IdMap(Box<IdMapError>),
    /// The source's monitor.
    #[error(transparent)]
    Client(Box<ClientError>),
    /// A storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A hook.
    #[error(transparent)]
    Hook(Box<HookError>),
    /// What is done as for a new container.
    #[error(transparent)]
    Create(Box<CreateError>),
    /// Removing something.
    #[error(transparent)]
    Destroy(Box<DestroyError>),
}

boxed! {
    CopyError:
    Lock(LockError), Config(ConfigError), IdMap(IdMapError), Client(ClientError),
    Hook(HookError), Destroy(DestroyError),
}

impl CopyError {
    /// What lxc-create would say, in our words.
    pub(super) fn from_create(error: CreateError) -> Self {
        Self::Create(Box::new(error))
    }

    /// The signal that ended it, if one did.
    pub fn interrupted(&self) -> Option<i32> {
        match self {
            Self::Interrupted(Interrupted(signal)) | Self::Late(Interrupted(signal), _) => {
                Some(*signal)
            }
            Self::Destroy(e) => e.interrupted(),
            _ => None,
        }
    }
}

impl Explain for CopyError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Make(_, e) | Self::File(_, e) | Self::Dependents(e) => Some(e.errno),
            Self::Signals(e) | Self::Process(e) => Some(e.errno),
            Self::Lock(e) => e.errno(),
            Self::Config(e) => e.errno(),
            Self::IdMap(e) => e.errno(),
            Self::Client(e) => e.errno(),
            Self::Storage(e) => e.errno(),
            Self::Hook(e) => e.errno(),
            Self::Create(e) => e.errno(),
            Self::Destroy(e) => e.errno(),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Config(e) => e.origin(),
            Self::IdMap(e) => e.origin(),
            Self::Storage(e) => e.origin(),
            Self::Hook(e) => e.origin(),
            Self::Create(e) => e.origin(),
            Self::Destroy(e) => e.origin(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Undefined(_) => Some("lxc-ls lists what there is".into()),
            Self::Running(name) => Some(format!("lxc-stop -n {name} first; lxc-copy also has -a")),
            Self::Snapshots(name) => Some(format!("lxc-snapshot -n {name} -L lists them")),
            Self::Clones(name) => {
                Some(format!("lxc_snapshots in the directory of {name} names them"))
            }
            Self::NoSnapshot { container, .. } => {
                Some(format!("lxc-snapshot -n {container} -L lists them"))
            }
            Self::Mount { .. } => {
                Some("bind=SOURCE[:TARGET][:ro|rw] and overlay=SOURCE[:TARGET] are mounts".into())
            }
            Self::Lock(e) => e.hint(),
            Self::Config(e) => e.hint(),
            Self::IdMap(e) => e.hint(),
            Self::Client(e) => e.hint(),
            Self::Storage(e) => e.hint(),
            Self::Hook(e) => e.hint(),
            Self::Create(e) => e.hint(),
            Self::Destroy(e) => e.hint(),
            _ => None,
        }
    }
}
