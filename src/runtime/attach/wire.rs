//! What the attaching process and the two it makes tell one another. Those that run on its memory
//! leave it there ([`Left`]); others send one packet each over a sequenced-packet pair. The other
//! end of the pair is closed by the exec of the command: end of file after [`Message::Born`] is
//! success, earlier it is a death that waitpid explains.

use crate::sys::SysError;
use crate::sys::process::Pid;
use crate::sys::unix::{self, Block, Kind};
use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What an attached process does before it becomes the command, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Make itself invisible to ptrace, and mortal with its parent.
    Hide,
    /// Enter the container's cgroups.
    Cgroup,
    /// Take on `lxc.prlimit.*` and `lxc.proc.*`.
    Limits,
    /// Join the namespaces.
    Join,
    /// Find the working directory.
    Cwd,
    /// Make the process that is inside the pid namespace.
    Clone,
    /// Leave the caller's session, for the new terminal if there is one.
    Session,
    /// Mount fresh /proc and /sys.
    Remount,
    /// Set the personality.
    Personality,
    /// Cut down the capabilities.
    Caps,
    /// Take the label.
    Label,
    /// Set no_new_privs.
    NoNewPrivs,
    /// Load the seccomp policy.
    Seccomp,
    /// Become the user.
    Ids,
    /// Put the standard descriptors in place.
    Stdio,
    /// Execute the command.
    Exec,
}

impl Step {
    const ALL: [Self; 16] = [
        Self::Hide,
        Self::Cgroup,
        Self::Limits,
        Self::Join,
        Self::Cwd,
        Self::Clone,
        Self::Session,
        Self::Remount,
        Self::Personality,
        Self::Caps,
        Self::Label,
        Self::NoNewPrivs,
        Self::Seccomp,
        Self::Ids,
        Self::Stdio,
        Self::Exec,
    ];

    /// As messages say it.
    pub fn doing(self) -> &'static str {
        match self {
            Self::Hide => "preparing the attached process",
            Self::Cgroup => "entering the container's cgroups",
            Self::Limits => "applying the container's limits",
            Self::Join => "joining the container's namespaces",
            Self::Cwd => "changing to the working directory",
            Self::Clone => "making a process in the container",
            Self::Session => "making a session for the attached process",
            Self::Remount => "mounting fresh /proc and /sys",
            Self::Personality => "setting the personality",
            Self::Caps => "dropping capabilities",
            Self::Label => "taking the container's label",
            Self::NoNewPrivs => "setting no_new_privs",
            Self::Seccomp => "loading the container's seccomp policy",
            Self::Ids => "becoming the user",
            Self::Stdio => "setting up standard input and output",
            Self::Exec => "running the command",
        }
    }
}

/// A system call that failed in the other process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `setns(0x2)`.
    pub call: String,
    /// The error number.
    pub errno: i32,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, crate::sys::error::errno_text(self.errno))
    }
}

impl std::error::Error for Remote {}

/// One packet.
#[derive(Debug)]
pub(super) enum Message {
    /// The process that will be the command exists, with this number on the host.
    Born(Pid),
    /// It wants the file of its /proc directory that sets its label at the next exec.
    WantLabel,
    /// The listener of its seccomp policy.
    Listener(OwnedFd),
    /// It gave up.
    Failed(Step, Remote),
}

const BORN: u8 = b'B';
const WANT_LABEL: u8 = b'L';
const LISTENER: u8 = b'N';
const FAILED: u8 = b'F';
const GO: &[u8] = b"G";

/// Longest text of a failure; longer operands are cut.
const MAX_TEXT: usize = 1024;

/// The attaching process's end.
pub(super) struct ParentEnd(OwnedFd);

/// What processes on the attaching process's memory have left there when they are gone from it.
#[derive(Default)]
pub(super) struct Left {
    /// The process that is or was to be the command.
    pub(super) born: Cell<Option<Pid>>,
    /// Why it is not.
    pub(super) failed: Cell<Option<(Step, Remote)>>,
}

/// The attached processes' end.
pub(super) enum ChildEnd<'a> {
    /// The memory that they share with the attaching process, which asks and is asked nothing.
    Memory(&'a Left),
    /// A socket.
    Socket(OwnedFd),
}

/// A new pair; each process drops the end that is not its own.
pub(super) fn pair() -> Result<(ParentEnd, ChildEnd<'static>), SysError> {
    let (parent, child) = unix::pair(Kind::SeqPacket)?;
    Ok((ParentEnd(parent), ChildEnd::Socket(child)))
}

impl ParentEnd {
    /// The next packet; `None` at the end. A packet that is none of ours counts as the end: only
    /// our own code writes to the other end.
    pub(super) fn receive(&self) -> Result<Option<Message>, SysError> {
        let mut buffer = [0u8; MAX_TEXT + 16];
        let got = unix::recv(self.0.as_fd(), &mut buffer, 1, Block::Wait)?;
        Ok(decode(buffer.get(..got.len).unwrap_or_default(), got.fds))
    }

    /// Answers [`Message::WantLabel`] with the file.
    pub(super) fn give_label(&self, file: BorrowedFd<'_>) -> Result<(), SysError> {
        unix::send(self.0.as_fd(), GO, &[file], None, Block::Wait).map(drop)
    }
}

fn decode(packet: &[u8], mut fds: Vec<OwnedFd>) -> Option<Message> {
    let (&tag, body) = packet.split_first()?;
    let word = |at: usize| {
        let bytes = body.get(at..at + 4)?;
        Some(i32::from_ne_bytes(bytes.try_into().ok()?))
    };
    match tag {
        BORN => Some(Message::Born(word(0)?)),
        WANT_LABEL => Some(Message::WantLabel),
        LISTENER => fds.pop().map(Message::Listener),
        FAILED => {
            let step = *Step::ALL.get(usize::from(*body.get(4)?))?;
            let call = String::from_utf8_lossy(body.get(5..)?).into_owned();
            Some(Message::Failed(step, Remote { call, errno: word(0)? }))
        }
        _ => None,
    }
}

impl ChildEnd<'_> {
    /// The descriptor, for those who close all others.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Memory(_) => None,
            Self::Socket(socket) => Some(socket.as_fd()),
        }
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, SysError> {
        self.fd().ok_or_else(|| SysError::new("sendmsg", "no socket", crate::sys::errno::EPIPE))
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SysError> {
        unix::send(self.socket()?, bytes, fds, None, Block::Wait).map(drop)
    }

    /// Tells the number of the process that will be the command.
    pub(super) fn born(&self, pid: Pid) -> Result<(), SysError> {
        if let Self::Memory(left) = self {
            left.born.set(Some(pid));
            return Ok(());
        }
        let mut packet = [BORN; 5];
        packet[1..].copy_from_slice(&pid.to_ne_bytes());
        self.send(&packet, &[])
    }

    /// Asks for the file that sets this process's label, and waits for it.
    pub(super) fn label_file(&self) -> Result<OwnedFd, SysError> {
        self.send(&[WANT_LABEL], &[])?;
        let mut buffer = [0u8; 4];
        let got = unix::recv(self.socket()?, &mut buffer, 1, Block::Wait)?;
        let lost = || SysError::new("recvmsg", "the label file", crate::sys::errno::EPIPE);
        got.fds.into_iter().next().ok_or_else(lost)
    }

    /// Hands over the listener of the seccomp policy.
    pub(super) fn listener(&self, listener: BorrowedFd<'_>) -> Result<(), SysError> {
        self.send(&[LISTENER], &[listener])
    }

    /// Tells why this process gives up; an error without a call is a sentence of another module.
    /// Nobody may be left to hear it.
    pub(super) fn failed(&self, step: Step, error: &SysError) {
        let text = match error.call {
            "" => error.operand.clone(),
            call => format!("{call}({})", error.operand),
        };
        if let Self::Memory(left) = self {
            left.failed.set(Some((step, Remote { call: text, errno: error.errno })));
            return;
        }
        let text = text.as_bytes().get(..MAX_TEXT).unwrap_or(text.as_bytes());
        let mut packet = Vec::with_capacity(6 + text.len());
        packet.push(FAILED);
        packet.extend_from_slice(&error.errno.to_ne_bytes());
        packet.push(step as u8);
        packet.extend_from_slice(text);
        let _ = self.send(&packet, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_round_trip() {
        let (parent, child) = pair().unwrap();
        child.born(-7).unwrap();
        child.failed(Step::Exec, &SysError::new("execve", "\"x\"", 2));
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Some(Message::Born(-7))));
        match parent.receive().unwrap() {
            Some(Message::Failed(Step::Exec, remote)) => {
                assert_eq!(remote.to_string(), "execve(\"x\"): No such file or directory (ENOENT)")
            }
            other => panic!("{other:?}"),
        }
        assert!(parent.receive().unwrap().is_none());
    }

    #[test]
    fn memory_holds_the_same() {
        let left = Left::default();
        let child = ChildEnd::Memory(&left);
        assert!(child.fd().is_none());
        child.born(7).unwrap();
        child.failed(Step::Join, &SysError::new("setns", "0x2", 1));
        assert_eq!(left.born.get(), Some(7));
        let (step, remote) = left.failed.take().unwrap();
        assert_eq!(
            (step, remote.to_string().as_str()),
            (Step::Join, "setns(0x2): Operation not permitted (EPERM)")
        );
        assert!(child.label_file().is_err());
    }

    #[test]
    fn steps_are_numbered_in_order() {
        for (i, step) in Step::ALL.iter().enumerate() {
            assert_eq!(*step as usize, i);
        }
    }

    #[test]
    fn what_is_no_packet_is_the_end() {
        for packet in [&b""[..], b"B", b"B\x01", b"F\0\0\0\0", b"F\0\0\0\0\xff", b"N", b"zzz"] {
            assert!(decode(packet, Vec::new()).is_none(), "{packet:?}");
        }
    }

    #[test]
    fn long_operands_are_cut() {
        let (parent, child) = pair().unwrap();
        child.failed(Step::Cwd, &SysError::new("openat2", "x".repeat(9000), 40));
        match parent.receive().unwrap() {
            Some(Message::Failed(Step::Cwd, remote)) => assert_eq!(remote.call.len(), MAX_TEXT),
            other => panic!("{other:?}"),
        }
    }
}
