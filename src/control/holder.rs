//! The process behind a command socket. It is looked at only when no answer comes, to tell a
//! monitor that was stopped (SIGSTOP, a debugger) from one that has too much to do.

use super::address;
use crate::sys::{fd, procfs};

/// A process that listens on a command socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: i32,
    /// The letter of proc_pid_stat(5).
    state: u8,
}

impl Holder {
    /// Who listens on an abstract address; of several one that is stopped, or else one that is busy:
    /// the process that will be init has the socket, too, until it executes that. `None` if that
    /// cannot be seen: another user's, or outside of our pid namespace.
    pub(super) fn find(address: &[u8]) -> Option<Self> {
        let address = std::str::from_utf8(address).ok()?;
        let table = fd::read_to_string("/proc/net/unix").ok()?;
        let (inode, _) = address::listening(&table).find(|(_, name)| *name == address)?;
        // The socket was made by the starter, so the kernel's word for the peer would be that one.
        let holders = procfs::holders_of(&format!("socket:[{inode}]"));
        let all: Vec<Self> = holders.into_iter().filter_map(Self::look).collect();
        let find = |is: fn(Self) -> bool| all.iter().copied().find(|one| is(*one));
        find(Self::is_stopped).or_else(|| find(Self::is_busy)).or(all.first().copied())
    }

    /// The same again, without a search when the process is known.
    pub(super) fn again(known: Option<Self>, address: &[u8]) -> Option<Self> {
        known.and_then(|one| Self::look(one.pid)).or_else(|| Self::find(address))
    }

    fn look(pid: i32) -> Option<Self> {
        procfs::run_state(pid).map(|state| Self { pid, state })
    }

    /// By a signal or a debugger: it answers nobody until it is continued.
    pub fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Computing, waiting for a processor, a disk or a lock of the kernel's: an answer will come.
    pub fn is_busy(self) -> bool {
        matches!(self.state, b'R' | b'D')
    }
}
