//! Why a process could not be attached, and the exit status that lxc-attach gives for it.

use super::wire::{Remote, Step};
use crate::cgroup::CgroupError;
use crate::config::{Explain, Origin};
use crate::control::client::ClientError;
use crate::idmap::IdMapError;
use crate::limits::LimitError;
use crate::lsm::LsmError;
use crate::ns::NsError;
use crate::seccomp::SeccompError;
use crate::sys::process::Wait;
use crate::sys::{SysError, errno};
use crate::util::blame::boxed;
use std::path::PathBuf;

/// What stopped an attach.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The monitor: above all, nobody answers on the command socket.
    #[error(transparent)]
    Control(Box<ClientError>),
    /// -c on a kernel without labels.
    #[error("label \"{label}\" cannot be set: this kernel runs neither AppArmor nor SELinux")]
    NoLabels {
        /// As given.
        label: String,
    },
    /// Init's /proc does not tell how it is confined.
    #[error("the status of the container's init has no {what}")]
    Unconfinable {
        /// The missing line.
        what: &'static str,
    },
    /// The container's cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its label.
    #[error(transparent)]
    Lsm(Box<LsmError>),
    /// -c with -e LSM.
    #[error("a label cannot be set for a process that is not to be labelled")]
    LabelElevated,
    /// A program argument or variable that exec cannot take.
    #[error("preparing the command")]
    Strings(#[source] SysError),
    /// Looking at the container's init.
    #[error("reading {what} of the container's init")]
    Init {
        /// Which file.
        what: &'static str,
        /// Why.
        #[source]
        source: SysError,
    },
    /// The sealed copy of this program.
    #[error("running from a sealed copy of this program")]
    Seal(#[source] SysError),
    /// The new terminal.
    #[error("making a terminal")]
    Terminal(#[source] SysError),
    /// The log of the terminal.
    #[error("opening the terminal's log \"{}\"", path.display())]
    PtyLog {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: SysError,
    },
    /// Making or watching the processes.
    #[error("{what}")]
    Process {
        /// What was being done.
        what: &'static str,
        /// Why.
        #[source]
        source: SysError,
    },
    /// Namespaces of init.
    #[error(transparent)]
    Ns(Box<NsError>),
    /// Its id maps.
    #[error(transparent)]
    IdMap(Box<IdMapError>),
    /// `lxc.prlimit.*`, `lxc.proc.*`.
    #[error(transparent)]
    Limits(Box<LimitError>),
    /// `lxc.seccomp.*`.
    #[error(transparent)]
    Seccomp(Box<SeccompError>),
    /// A step of the attached process.
    #[error("{}", step.doing())]
    Inside {
        /// Which.
        step: Step,
        /// Why.
        #[source]
        source: Remote,
    },
    /// The command could not be executed.
    #[error("running \"{program}\"")]
    Exec {
        /// As given.
        program: String,
        /// Why.
        #[source]
        source: Remote,
    },
    /// It ended under the attach, which shows as a cgroup, a file of /proc or a process that is
    /// not there.
    #[error("the container was stopped meanwhile")]
    Stopped,
    /// The command was killed with its container.
    #[error("the command {how}: the container was stopped meanwhile")]
    Ended {
        /// How.
        how: Wait,
    },
    /// The transient process is gone without a word.
    #[error("the attached process {how} before it ran the command")]
    Died {
        /// How.
        how: Wait,
    },
}

boxed! {
    AttachError:
    Control(ClientError),
    Ns(NsError),
    IdMap(IdMapError),
    Lsm(LsmError),
    Limits(LimitError),
    Seccomp(SeccompError),
}

impl AttachError {
    /// The exit status of lxc-attach: 127 for a command that is not there, 126 for one that cannot
    /// be run, the command's own for one that was killed, 1 for all else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Exec { source, .. } => match source.errno {
                errno::ENOENT | errno::ENOTDIR => 127,
                _ => 126,
            },
            Self::Ended { how } => how.exit_code(),
            _ => 1,
        }
    }
}

impl Explain for AttachError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Strings(source)
            | Self::Init { source, .. }
            | Self::Seal(source)
            | Self::Terminal(source)
            | Self::PtyLog { source, .. }
            | Self::Process { source, .. } => Some(source.errno),
            Self::Inside { source, .. } | Self::Exec { source, .. } => Some(source.errno),
            Self::Ns(e) => e.errno(),
            Self::IdMap(e) => e.errno(),
            Self::Control(e) => e.errno(),
            Self::Cgroup(e) => e.errno(),
            Self::Lsm(e) => e.errno(),
            Self::Limits(e) => e.errno(),
            Self::Seccomp(e) => e.errno(),
            Self::NoLabels { .. }
            | Self::Unconfinable { .. }
            | Self::LabelElevated
            | Self::Stopped
            | Self::Ended { .. }
            | Self::Died { .. } => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Ns(e) => e.origin(),
            Self::Limits(e) => e.origin(),
            Self::Seccomp(e) => e.origin(),
            Self::Control(e) => e.origin(),
            Self::Cgroup(e) => e.origin(),
            Self::Lsm(e) => e.origin(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Ns(e) => e.hint(),
            Self::IdMap(e) => e.hint(),
            Self::Control(e) => e.hint(),
            Self::Cgroup(e) => e.hint(),
            Self::Lsm(e) => e.hint(),
            Self::Limits(e) => e.hint(),
            Self::Seccomp(e) => e.hint(),
            Self::LabelElevated => Some("leave out -c, or LSM of -e".into()),
            Self::Inside { step: Step::Ids, source } if source.errno == errno::EINVAL => {
                Some("the id is not mapped in this container: see lxc.idmap".into())
            }
            Self::Inside { step: Step::Join, source } if source.errno == errno::EPERM => {
                Some("attach as root, or as the user who started the container".into())
            }
            _ => None,
        }
    }
}
