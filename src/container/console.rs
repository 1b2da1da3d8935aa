//! A terminal of a running container, borrowed from its monitor and connected to the caller's.

use super::Container;
use crate::control::client::{Client, ClientError, Tty};
use crate::sys::event::{Epoll, Ready, SignalFd, signal_bit};
use crate::sys::{SysError, errno, fd, signal};
use crate::tty::relay::Relay;
use crate::util::blame::Explain;
use std::os::fd::AsFd;
use thiserror::Error;

pub use crate::tty::relay::End;

// Numbers of signal(7), the same on every architecture we build for: HUP, INT, QUIT, TERM, WINCH.
const SIGNALS: [i32; 5] = [1, 2, 3, 15, 28];

/// Why there is no terminal.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// The monitor lends none.
    #[error("{what} of \"{name}\" cannot be had")]
    Refused {
        /// The container.
        name: String,
        /// `tty 3`, `a tty`, `the console`.
        what: String,
        /// EBUSY, ENXIO and so on.
        errno: i32,
    },
    /// The monitor cannot be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard input is a file or /dev/null, where nobody can type and which has no end to wait
    /// for.
    #[error("standard input cannot be waited for")]
    Input(#[source] SysError),
    /// The passing of bytes ended in an error.
    #[error("the connection to a terminal of \"{name}\" broke")]
    Broken {
        /// The container.
        name: String,
        /// The failed call.
        #[source]
        source: SysError,
    },
}

impl Explain for ConsoleError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Client(e) => e.errno(),
            Self::Broken { source, .. } | Self::Input(source) => Some(source.errno),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { name, errno, .. } => Some(match *errno {
                // LXC's own monitors say EBADF for all of them.
                errno::EBUSY | errno::EBADF => format!(
                    "somebody else is connected, or lxc.tty.max is too small; \
                     lxc-console -n {name} -t 0 is the console, lxc-attach -n {name} a shell"
                ),
                errno::ENXIO => "lxc.tty.max is the number of the last tty".to_owned(),
                _ => format!("lxc-attach -n {name} gives a shell without a terminal of its own"),
            }),
            Self::Client(e) => e.hint(),
            Self::Input(_) => {
                Some("a terminal or a pipe can be; lxc-logs prints what a console had".to_owned())
            }
            Self::Broken { .. } => None,
        }
    }
}

/// A borrowed terminal; it is given back when this is dropped.
#[derive(Debug)]
pub struct Session {
    name: String,
    tty: Tty,
}

/// Borrows terminal `number`: 0 is the console, a negative one the first free tty.
pub fn open(container: &Container, number: i32) -> Result<Session, ConsoleError> {
    let client = Client::new(container.lxcpath(), container.name());
    match client.tty(number.max(-1)) {
        Ok(tty) => {
            // As LXC, which also ends then.
            let typed = Epoll::new().and_then(|epoll| epoll.add(fd::borrow(0), 0, Ready::READ));
            typed.map_err(ConsoleError::Input)?;
            Ok(Session { name: container.name().to_owned(), tty })
        }
        Err(ClientError::Failed { name, errno, .. }) => {
            let what = match number {
                0 => "the console".to_owned(),
                n if n < 0 => "a tty".to_owned(),
                n => format!("tty {n}"),
            };
            Err(ConsoleError::Refused { name, what, errno })
        }
        Err(e) => Err(e.into()),
    }
}

impl Session {
    /// The terminal's number.
    pub fn number(&self) -> i32 {
        self.tty.number
    }

    /// Passes bytes between it and standard input and output until the end. `escape` and then
    /// `q` ends it.
    pub fn run(&self, escape: u8) -> Result<End, ConsoleError> {
        let broken = |source| ConsoleError::Broken { name: self.name.clone(), source };
        let mask = signal::block(&SIGNALS).map_err(broken)?;
        let set = SIGNALS.iter().fold(0, |set, signo| set | signal_bit(*signo));
        let signals = SignalFd::new(set).map_err(broken)?;
        let relay = Relay {
            input: fd::borrow(0),
            output: fd::borrow(1),
            master: self.tty.master.as_fd(),
            holder: self.tty.connection.as_fd(),
            escape: Some(escape),
            signals: &signals,
        };
        let end = relay.run().map_err(broken);
        signal::restore(&mask).map_err(broken)?;
        end
    }
}
