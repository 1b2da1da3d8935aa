//! Standard input, output and error of the attached process: passed through as they are, except
//! that no terminal of the host ever is. Those are replaced by a new terminal, preferably of the
//! container's own devpts, whose outer end [`super::relay`] connects to the host's.

use super::error::AttachError;
use crate::config::{IdKind, NsKind};
use crate::idmap::{HostId, IdMap, NsId};
use crate::ns::{NsSet, Target};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::path::{Lookup, Root};
use crate::sys::{stdstream, term};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Which standard descriptors are replaced, and how. Pure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streams {
    /// Those that are terminals.
    pub(super) replace: [bool; 3],
    /// True when standard input is one: only then is there somebody who types, the new terminal
    /// controls the session and the host's is switched to raw mode.
    pub(super) interactive: bool,
}

impl Streams {
    /// From which of 0, 1 and 2 are terminals.
    pub(super) fn plan(is_tty: [bool; 3]) -> Self {
        Self { replace: is_tty, interactive: is_tty[0] }
    }

    /// From this process's descriptors.
    pub(super) fn probe() -> Self {
        Self::plan([0, 1, 2].map(|n| term::is_tty(fd::borrow(n))))
    }

    /// True if a terminal is needed at all.
    pub(super) fn any(self) -> bool {
        self.replace.contains(&true)
    }

    /// The descriptor on which what the new terminal shows is written: output if it is one, else
    /// errors, else the terminal that is read from.
    pub(super) fn shown_on(self) -> i32 {
        match self.replace {
            [_, true, _] => 1,
            [_, false, true] => 2,
            _ => 0,
        }
    }
}

/// A new terminal.
pub(super) struct Terminal {
    /// The relay's end.
    pub(super) master: OwnedFd,
    /// The attached process's end. The relay keeps it open too, so that the outer end never
    /// reports a hang-up while the command, or what it left behind, may open it again.
    pub(super) slave: OwnedFd,
}

/// Makes the terminal: from the container's devpts where that can be had, so that it has a name
/// inside, else from the host's.
///
/// # Errors
/// No terminal is left on the host either.
pub(super) fn open_terminal(
    target: &Target,
    join: NsSet,
    streams: Streams,
) -> Result<Terminal, AttachError> {
    let inside = join.has(NsKind::Mnt).then(|| open_inside(target)).and_then(Result::ok);
    let pty = match inside {
        Some(pty) => pty,
        None => term::open_pty().map_err(AttachError::Terminal)?,
    };
    if let Ok(size) = term::winsize(fd::borrow(streams.shown_on())) {
        term::set_winsize(pty.master.as_fd(), size).map_err(AttachError::Terminal)?;
    }
    if !streams.interactive {
        // The host's terminal is not in raw mode then, and does the output processing itself.
        stdstream::output_unprocessed(pty.slave.as_fd()).map_err(AttachError::Terminal)?;
    }
    Ok(Terminal { master: pty.master, slave: pty.slave })
}

/// From the devpts on the container's /dev/pts. What is mounted there is the container's choice;
/// `open_pty_in` takes nothing but a devpts and devices of it.
fn open_inside(target: &Target) -> crate::sys::Result<term::Pty> {
    let root = Root::from_fd(fd::open_at(
        target.dir(),
        "root",
        OpenFlags::PATH | OpenFlags::DIRECTORY,
        0,
    )?);
    let devpts = root.resolve_dir(Path::new("dev/pts"), Lookup::InRoot)?;
    term::open_pty_in(devpts.as_fd())
}

/// The id on the host of one in the container; `None` when it is not mapped.
pub(super) fn host_id(map: Option<&IdMap>, kind: IdKind, id: u32) -> Option<HostId> {
    match map {
        Some(map) => map.to_host(kind, NsId(id)),
        None => Some(HostId(id)),
    }
}

/// Lets the user who the command runs as open its own standard descriptors again (`/dev/stderr`):
/// gives them the terminal, and pipes that have no name. What has a name on the host, a file above
/// all, stays as it is; LXC changes its owner and mode.
///
/// # Errors
/// The terminal cannot be given.
pub(super) fn give_to_user(
    streams: Streams,
    slave: Option<BorrowedFd<'_>>,
    uid: Option<HostId>,
    own_uid: u32,
) -> Result<(), AttachError> {
    let Some(HostId(uid)) = uid.filter(|uid| uid.0 != own_uid) else { return Ok(()) };
    if let Some(slave) = slave {
        // The group and the mode come from the mount options of the devpts.
        stdstream::give(slave, uid).map_err(AttachError::Terminal)?;
    }
    for (number, _) in (0..).zip(streams.replace).filter(|(_, replaced)| !replaced) {
        let stream = fd::borrow(number);
        if stdstream::is_nameless_pipe(stream) {
            // A pipe of another user, through su: it was not to be had before either.
            let _ = stdstream::give(stream, uid);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_are_replaced() {
        let all = Streams::plan([true; 3]);
        assert!(all.interactive && all.any());
        assert_eq!(all.shown_on(), 1);
        let piped = Streams::plan([true, false, false]);
        assert!(piped.interactive);
        assert_eq!(piped.shown_on(), 0);
        let fed = Streams::plan([false, true, true]);
        assert!(!fed.interactive && fed.any());
        assert_eq!(Streams::plan([false, false, true]).shown_on(), 2);
        assert!(!Streams::plan([false; 3]).any());
    }
}
