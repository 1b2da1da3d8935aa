//! What can go wrong between a tool and a monitor.

use super::holder::Holder;
use super::proto::FrameError;
use crate::sys::error::errno_text;
use crate::sys::{SysError, errno};
use crate::util::blame::Explain;
use thiserror::Error;

/// Why a monitor could not be asked, or what it said no to.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens on the command socket.
    #[error("container \"{name}\" is not running")]
    NotRunning {
        /// The container.
        name: String,
    },
    /// The monitor does not obey this user.
    #[error("the monitor of \"{name}\" denies {command} to this user")]
    Denied {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
    },
    /// No answer in time.
    #[error("the monitor of \"{name}\"{} did not answer {command}", shown(*monitor))]
    Timeout {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
        /// Who should have answered, if that can be seen.
        monitor: Option<Holder>,
    },
    /// No answer in time, for it is not RUNNING yet.
    #[error("container \"{name}\" is STARTING: {command} is for one that runs")]
    NotYet {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
    },
    /// The connection ended without an answer: the monitor is ending, or too old for the command.
    #[error("the monitor of \"{name}\" gave no answer to {command}")]
    NoReply {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
    },
    /// The monitor answered with an error.
    #[error("the monitor of \"{name}\" failed {command}: {}", errno_text(*errno))]
    Failed {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
        /// The error number it gave.
        errno: i32,
    },
    /// The answer makes no sense.
    #[error("the monitor of \"{name}\" gave a malformed answer to {command}")]
    Malformed {
        /// The container.
        name: String,
        /// What was asked.
        command: &'static str,
        /// What is wrong with the frame.
        #[source]
        source: FrameError,
    },
    /// The socket failed.
    #[error("cannot ask the monitor of \"{name}\"")]
    Socket {
        /// The container.
        name: String,
        /// The failed call.
        #[source]
        source: SysError,
    },
}

impl ClientError {
    /// True if no answer came because the monitor is stopped.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Timeout { monitor: Some(one), .. } if one.is_stopped())
    }
}

/// The process, for a sentence.
fn shown(monitor: Option<Holder>) -> String {
    match monitor {
        None => String::new(),
        Some(one) if one.is_stopped() => format!(" (process {}) is stopped and", one.pid),
        Some(one) => format!(" (process {})", one.pid),
    }
}

impl Explain for ClientError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::NotRunning { .. } => Some(errno::ECONNREFUSED),
            Self::Denied { .. } => Some(errno::EPERM),
            Self::Timeout { .. } | Self::NotYet { .. } => Some(errno::ETIMEDOUT),
            Self::Failed { errno, .. } => Some(*errno),
            Self::Socket { source, .. } => Some(source.errno),
            Self::NoReply { .. } | Self::Malformed { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied { .. } => {
                Some("run this as root or as the user who started the container".to_owned())
            }
            Self::Timeout { monitor: Some(Holder { pid, .. }), .. } if self.is_stopped() => {
                Some(format!("kill -CONT {pid} lets it go on"))
            }
            // A hook that it waits for is a child of it.
            Self::Timeout { monitor: Some(Holder { pid, .. }), .. } => Some(format!(
                "see what it is doing: ps -o pid,stat,wchan:20,args -p {pid} --ppid {pid}"
            )),
            Self::Timeout { name, .. } => {
                Some(format!("root may see what it is doing: ps axo pid,stat,args | grep {name}"))
            }
            Self::NotYet { name, .. } => {
                Some(format!("lxc-wait -n {name} -s RUNNING waits for the end of its start"))
            }
            _ => None,
        }
    }
}
