//! What can go wrong with terminals.

use crate::sys::{SysError, errno};
use crate::util::blame::{DEV_FULL, Explain, Origin};
use std::path::PathBuf;
use thiserror::Error;

/// A terminal that was asked for and cannot be had.
#[derive(Debug, Error)]
pub enum TtyError {
    /// `lxc.tty.dir` is no directory below /dev.
    #[error("lxc.tty.dir \"{dir}\" is not a directory below /dev")]
    Dir {
        /// As written.
        dir: String,
        /// Where.
        origin: Option<Origin>,
    },
    /// More than the kernel can have.
    #[error("lxc.pty.max and lxc.tty.max are more than the kernel's 1048576 terminals")]
    TooMany {
        /// Where.
        origin: Option<Origin>,
    },
    /// `lxc.console.path` cannot be used.
    #[error("console device \"{}\" cannot be used", path.display())]
    Peer {
        /// Which.
        path: PathBuf,
        /// Where.
        origin: Option<Origin>,
        /// Why.
        #[source]
        source: SysError,
    },
    /// `lxc.console.logfile` cannot be written.
    #[error("console log \"{}\" cannot be opened", path.display())]
    Log {
        /// Which.
        path: PathBuf,
        /// Where.
        origin: Option<Origin>,
        /// Why.
        #[source]
        source: SysError,
    },
    /// The devpts of the container.
    #[error("cannot mount a devpts on /dev/pts")]
    Devpts {
        /// Why.
        #[source]
        source: SysError,
    },
    /// A pty.
    #[error("cannot get a pseudo-terminal for {what}")]
    Pty {
        /// For what.
        what: String,
        /// Why.
        #[source]
        source: SysError,
    },
    /// A place in the container's /dev.
    #[error("cannot set up /dev/{} in the container", name.display())]
    Place {
        /// Below /dev.
        name: PathBuf,
        /// Why.
        #[source]
        source: SysError,
    },
    /// The loop of the monitor.
    #[error("cannot attend to the terminals")]
    Loop {
        /// Why.
        #[source]
        source: SysError,
    },
}

impl TtyError {
    pub(super) fn pty(what: impl Into<String>) -> impl FnOnce(SysError) -> Self {
        let what = what.into();
        |source| Self::Pty { what, source }
    }

    pub(super) fn place(name: impl Into<PathBuf>) -> impl FnOnce(SysError) -> Self {
        let name = name.into();
        |source| Self::Place { name, source }
    }

    fn cause(&self) -> Option<&SysError> {
        match self {
            Self::Dir { .. } | Self::TooMany { .. } => None,
            Self::Peer { source, .. }
            | Self::Log { source, .. }
            | Self::Devpts { source }
            | Self::Pty { source, .. }
            | Self::Place { source, .. }
            | Self::Loop { source } => Some(source),
        }
    }
}

impl Explain for TtyError {
    fn errno(&self) -> Option<i32> {
        self.cause().map(|e| e.errno)
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Dir { origin, .. }
            | Self::TooMany { origin }
            | Self::Peer { origin, .. }
            | Self::Log { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let errno = self.errno();
        match self {
            Self::Pty { .. } if errno == Some(errno::ENOSPC) => Some(
                "all pseudo-terminals are in use: sysctl kernel.pty.max, kernel.pty.nr".to_owned(),
            ),
            Self::Place { .. } if errno == Some(errno::ENOSPC) => Some(DEV_FULL.to_owned()),
            Self::Place { .. } if errno == Some(errno::EROFS) => Some(
                "set lxc.autodev = 1, for /dev of the root file system is read-only".to_owned(),
            ),
            Self::Place { .. } if errno == Some(errno::ELOOP) => {
                Some("/dev of the root file system holds a symbolic link; remove it".to_owned())
            }
            Self::Peer { .. } if errno == Some(errno::ENOTTY) => {
                Some("name a terminal device, or none".to_owned())
            }
            _ => None,
        }
    }
}
