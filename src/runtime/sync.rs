//! What the two halves of a start say to each other: the steps by name, the messages, and one
//! typed end for each side.
//!
//! One SOCK_SEQPACKET pair. The child announces the steps at which it waits ([`Message::Reached`])
//! and the parent releases it ([`Message::Go`]); descriptors travel with [`Message::Fds`]; a
//! failure travels whole ([`Failure`]), so that the parent prints the sentence the child would
//! have printed. End of file after [`Step::Exec`] was released means that exec succeeded.

use crate::sys::errno::{EBADMSG, EMFILE};
use crate::sys::error::{Result as SysResult, SysError};
use crate::sys::meanwhile;
use crate::sys::unix::{self, Block, Kind};
use crate::util::blame::{Explain, Origin};
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The steps of a start, in order; both halves, the log and the messages use these names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Step { $($(#[$doc])* $name,)* }

        impl Step {
            /// All steps, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What is being done, as a sentence's beginning: `mounting the rootfs`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

steps! {
    /// Parent: reading the configuration and checking it against this kernel.
    Plan = "planning the start",
    /// Parent: binding the command socket.
    Socket = "opening the command socket",
    /// Parent: forking the monitor.
    Monitor = "starting the monitor",
    /// Parent: `lxc.hook.pre-start`.
    PreStartHooks = "running the pre-start hooks",
    /// Parent: console pty, peer and log.
    Console = "setting up the console",
    /// Parent: AppArmor or SELinux profile.
    LsmPrepare = "preparing the security label",
    /// Parent: monitor and payload cgroups.
    Cgroups = "creating the cgroups",
    /// Parent: opening the namespaces to share.
    ShareNamespaces = "joining shared namespaces",
    /// Parent: clone3.
    Clone = "creating the container's process",
    /// Parent: uid_map and gid_map.
    IdMap = "writing the id map",
    /// Parent: moving the child into its cgroups.
    CgroupEnter = "entering the cgroups",
    /// Parent: writing the limits.
    CgroupLimits = "setting the cgroup limits",
    /// Both: the child waits here until it may begin.
    Begin = "waiting for the monitor",
    /// Parent: devices, addresses, routes, up scripts.
    Network = "setting up the network",
    /// Parent: `lxc.prlimit.*`.
    Prlimit = "setting resource limits",
    /// Parent: `lxc.proc.*`.
    ProcFiles = "writing /proc files",
    /// Child: ids of the user namespace.
    Ids = "changing to the container's ids",
    /// Child: cgroup and time namespaces.
    LateNamespaces = "creating namespaces",
    /// Child: `lxc.hook.pre-mount`.
    PreMountHooks = "running the pre-mount hooks",
    /// Both: trees whose ids the parent maps.
    IdMappedMounts = "mapping the ids of mounts",
    /// Child: the root file system.
    Rootfs = "mounting the rootfs",
    /// Child: `lxc.uts.name`.
    Hostname = "setting the hostname",
    /// Child: session keyring.
    Keyring = "creating the session keyring",
    /// Child: tmpfs on /dev.
    Dev = "mounting /dev",
    /// Child: /proc and /sys of `lxc.mount.auto`.
    ProcSys = "mounting /proc and /sys",
    /// Child: `lxc.mount.fstab` and `lxc.mount.entry`.
    MountEntries = "mounting the entries",
    /// Child: cgroups of `lxc.mount.auto`.
    CgroupMount = "mounting the cgroups",
    /// Child: `lxc.hook.mount`.
    MountHooks = "running the mount hooks",
    /// Child: `lxc.hook.autodev`.
    AutodevHooks = "running the autodev hooks",
    /// Child: device nodes.
    DevNodes = "creating the device nodes",
    /// Child: devpts, console and ttys.
    Ttys = "setting up the ttys",
    /// Child: pivot_root.
    Pivot = "changing the root",
    /// Child: `lxc.arch`.
    Personality = "setting the personality",
    /// Child: `lxc.sysctl.*`.
    Sysctl = "setting sysctls",
    /// Child: bounding set.
    Caps = "dropping capabilities",
    /// Child: label for exec.
    Lsm = "setting the security label",
    /// Child: the filter.
    Seccomp = "loading the seccomp policy",
    /// Child: `lxc.hook.start`.
    StartHooks = "running the start hooks",
    /// Child: standard streams, session, working directory.
    Stdio = "setting up init's streams",
    /// Both: the child is set up and waits; the parent attaches the device program.
    Ready = "waiting for the final go",
    /// Parent: device program of cgroup v2.
    Devices = "setting the device rules",
    /// Parent: `lxc.hook.start-host`.
    StartHostHooks = "running the start-host hooks",
    /// Child: ids and groups of init.
    Credentials = "changing to init's ids",
    /// Child: exec of init.
    Exec = "starting init",
    /// Parent: criu, instead of all that.
    Restore = "restoring the checkpoint",
    /// Parent: supervising.
    Running = "supervising the container",
}

impl Step {
    fn from_u8(n: u8) -> Option<Self> {
        Self::ALL.get(usize::from(n)).copied()
    }
}

/// A failed start as it travels from the child to the monitor and from the monitor to the
/// starter, and as the user reads it. One word, so that every result with it is handed up in
/// registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(Box<Failed>);

/// What a [`Failure`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where.
    pub step: Step,
    /// The whole chain of sentences, joined by ": ".
    pub message: String,
    /// The system's error number.
    pub errno: Option<i32>,
    /// The configuration line to blame.
    pub origin: Option<Origin>,
    /// What mends it.
    pub hint: Option<String>,
}

impl Deref for Failure {
    type Target = Failed;

    fn deref(&self) -> &Failed {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Failed {
        &mut self.0
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self(Box::new(failed))
    }
}

impl Failure {
    /// Flattens an error into its sentences, errno, origin and hint.
    pub fn new(step: Step, error: &dyn Explain) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::from(Failed {
            step,
            message,
            errno: error.errno(),
            origin: error.origin().cloned(),
            // Whatever is made at the time, this has one reason and one remedy.
            hint: error.hint().or_else(|| {
                let few = "too few file descriptors: ulimit -n 1024, LimitNOFILE= of a service";
                (error.errno() == Some(EMFILE)).then(|| few.to_owned())
            }),
        })
    }

    /// A failure with a sentence of its own.
    pub fn text(step: Step, message: impl Into<String>) -> Self {
        Self::from(Failed { step, message: message.into(), errno: None, origin: None, hint: None })
    }

    /// The command socket of this name answers already.
    pub fn already_running() -> Self {
        Self::text(Step::Socket, ALREADY_RUNNING)
    }

    /// True for [`Failure::already_running`].
    pub fn is_already_running(&self) -> bool {
        self.step == Step::Socket && self.message == ALREADY_RUNNING
    }

    /// Adds a hint if there is none.
    pub fn or_hint(mut self, hint: impl FnOnce() -> Option<String>) -> Self {
        self.hint = self.hint.take().or_else(hint);
        self
    }

    /// The same with the configuration line to blame, where none is known yet.
    pub fn or_origin(mut self, origin: Option<&Origin>) -> Self {
        self.origin = self.origin.take().or_else(|| origin.cloned());
        self
    }

    /// The same with this hint.
    pub fn with_hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }

    /// Packs the failure into at most [`MAX_MESSAGE`] bytes; the sentence is cut if need be.
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.step as u8);
        out.extend_from_slice(&self.errno.unwrap_or(0).to_ne_bytes());
        let (file, line) = match &self.origin {
            Some(o) => (o.file.as_os_str().as_encoded_bytes(), o.line),
            None => (&b""[..], u32::MAX),
        };
        out.extend_from_slice(&line.to_ne_bytes());
        let hint = self.hint.as_deref().unwrap_or("").as_bytes();
        for part in [file, hint, self.message.as_bytes()] {
            let part = &part[..part.len().min(MAX_PART)];
            out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(0).to_ne_bytes());
            out.extend_from_slice(part);
        }
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let step = Step::from_u8(take(&mut bytes, 1)?[0])?;
        let errno = i32::from_ne_bytes(take_array(&mut bytes)?);
        let line = u32::from_ne_bytes(take_array(&mut bytes)?);
        let mut parts = [const { String::new() }; 3];
        for part in &mut parts {
            let len = usize::from(u16::from_ne_bytes(take_array(&mut bytes)?));
            *part = String::from_utf8_lossy(take(&mut bytes, len)?).into_owned();
        }
        let [file, hint, message] = parts;
        Some(Self::from(Failed {
            step,
            message,
            errno: (errno != 0).then_some(errno),
            origin: (line != u32::MAX).then(|| Origin { file: Path::new(&file).into(), line }),
            hint: (!hint.is_empty()).then_some(hint),
        }))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.name(), self.message)
    }
}

impl std::error::Error for Failure {}

impl Explain for Failure {
    fn errno(&self) -> Option<i32> {
        self.errno
    }
    fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

const ALREADY_RUNNING: &str = "the container is already running";

/// Names the step at which a lower layer's error happened.
pub trait During<T> {
    /// Converts the error into a [`Failure`] at `step`.
    fn during(self, step: Step) -> Result<T, Failure>;
}

impl<T, E: Explain> During<T> for Result<T, E> {
    fn during(self, step: Step) -> Result<T, Failure> {
        match self {
            Ok(value) => {
                log_step(step);
                Ok(value)
            }
            Err(e) => Err(Failure::new(step, &e)),
        }
    }
}

/// One line of the log for each step that this process comes to.
fn log_step(step: Step) {
    static LAST: AtomicU8 = AtomicU8::new(u8::MAX);
    if LAST.swap(step as u8, Ordering::Relaxed) != step as u8 {
        log::debug!("{}", step.name());
    }
}

/// Which descriptors a [`Message::Fds`] carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdKind {
    /// The console's master.
    Console = 1,
    /// Masters of tty1 and up, in order.
    Ttys = 2,
    /// The root of the container's devpts.
    Devpts = 3,
    /// The seccomp listener.
    SeccompNotify = 4,
    /// A detached tree that needs an id map; none stands for one that could not be opened.
    IdMapped = 5,
}

/// One message, either way.
#[derive(Debug)]
pub enum Message {
    /// The sender waits at this step.
    Reached(Step),
    /// The receiver may go on from this step.
    Go(Step),
    /// Descriptors.
    Fds(FdKind, Vec<OwnedFd>),
    /// A process number with its pidfd, from the process that joined shared namespaces.
    Pid(i32, Option<OwnedFd>),
    /// A line for the log: level (1 error to 4 debug) and text.
    Log(u8, String),
    /// Yes or no to each of the things that were sent before.
    Verdicts(Vec<bool>),
    /// It failed.
    Failed(Failure),
}

impl Message {
    /// What kind of message it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reached(_) => "Reached",
            Self::Go(_) => "Go",
            Self::Fds(..) => "Fds",
            Self::Pid(..) => "Pid",
            Self::Log(..) => "Log",
            Self::Verdicts(_) => "Verdicts",
            Self::Failed(_) => "Failed",
        }
    }
}

/// Largest message in bytes; the kernel takes far more in one packet.
const MAX_MESSAGE: usize = 8192;
/// Largest of the three texts of a failure.
const MAX_PART: usize = 2600;
/// Descriptors that fit one message (SCM_MAX_FD is 253).
const FDS_PER_MESSAGE: usize = 16;

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(head)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    take(bytes, N)?.try_into().ok()
}

/// One end of the pair. The two sides have the same verbs; each is made by [`pair`].
pub struct End {
    socket: OwnedFd,
    /// A release that came while something else was waited for.
    early: Cell<Option<Step>>,
}

/// The two ends, close-on-exec: the first for the parent, the second for the child.
pub fn pair() -> SysResult<(End, End)> {
    let (a, b) = unix::pair(Kind::SeqPacket)?;
    let end = |socket| End { socket, early: Cell::new(None) };
    Ok((end(a), end(b)))
}

impl End {
    /// The socket, to be waited for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn send(&self, tag: u8, body: &[u8], fds: &[BorrowedFd<'_>]) -> SysResult<()> {
        let mut packet = Vec::with_capacity(1 + body.len());
        packet.push(tag);
        packet.extend_from_slice(body);
        unix::send(self.fd(), &packet, fds, None, Block::Wait).map(drop)
    }

    /// Tells the peer that this side waits at `step`.
    pub fn reached(&self, step: Step) -> SysResult<()> {
        self.send(1, &[step as u8], &[])
    }

    /// Releases the peer.
    pub fn go(&self, step: Step) -> SysResult<()> {
        self.send(2, &[step as u8], &[])
    }

    /// Sends descriptors, in as many messages as it takes.
    pub fn send_fds(&self, kind: FdKind, fds: &[BorrowedFd<'_>]) -> SysResult<()> {
        for chunk in fds.chunks(FDS_PER_MESSAGE) {
            self.send(3, &[kind as u8], chunk)?;
        }
        Ok(())
    }

    /// Sends one message with these descriptors, which may be none.
    pub fn send_some_fds(&self, kind: FdKind, fds: &[BorrowedFd<'_>]) -> SysResult<()> {
        self.send(3, &[kind as u8], fds)
    }

    /// Answers what was sent.
    pub fn verdicts(&self, all: &[bool]) -> SysResult<()> {
        let bytes: Vec<u8> = all.iter().map(|&good| u8::from(good)).collect();
        self.send(7, &bytes, &[])
    }

    /// Sends a process number and its pidfd.
    pub fn send_pid(&self, pid: i32, pidfd: Option<BorrowedFd<'_>>) -> SysResult<()> {
        self.send(4, &pid.to_ne_bytes(), pidfd.as_slice())
    }

    /// Sends a line for the log.
    pub fn log(&self, level: u8, text: &str) -> SysResult<()> {
        let mut body = vec![level];
        body.extend_from_slice(&text.as_bytes()[..text.len().min(MAX_PART)]);
        self.send(5, &body, &[])
    }

    /// Sends the failure; there is nothing more to say if that fails too.
    pub fn fail(&self, failure: &Failure) {
        let mut body = Vec::new();
        failure.encode(&mut body);
        let _ = self.send(6, &body, &[]);
    }

    /// The next message; `None` when the peer is gone or has exec-ed.
    ///
    /// # Errors
    /// EBADMSG for a packet that is none of ours.
    pub fn receive(&self) -> SysResult<Option<Message>> {
        let mut buffer = [0u8; MAX_MESSAGE];
        meanwhile::until_readable(Some(self.fd()));
        let got = unix::recv(self.fd(), &mut buffer, FDS_PER_MESSAGE, Block::Wait)?;
        if got.len == 0 {
            return Ok(None);
        }
        let bad = || SysError::new("recvmsg", "a packet of another protocol", EBADMSG);
        let (&tag, body) = buffer[..got.len].split_first().ok_or_else(bad)?;
        let step = body.first().copied().and_then(Step::from_u8);
        Ok(Some(match (tag, step) {
            (1, Some(step)) => Message::Reached(step),
            (2, Some(step)) => Message::Go(step),
            (3, _) => {
                let kind = match body.first() {
                    Some(1) => FdKind::Console,
                    Some(2) => FdKind::Ttys,
                    Some(3) => FdKind::Devpts,
                    Some(4) => FdKind::SeccompNotify,
                    Some(5) => FdKind::IdMapped,
                    _ => return Err(bad()),
                };
                Message::Fds(kind, got.fds)
            }
            (4, _) => {
                let pid = body.try_into().map(i32::from_ne_bytes).map_err(|_| bad())?;
                Message::Pid(pid, got.fds.into_iter().next())
            }
            (5, _) => {
                let (&level, text) = body.split_first().ok_or_else(bad)?;
                Message::Log(level, String::from_utf8_lossy(text).into_owned())
            }
            (6, _) => Message::Failed(Failure::decode(body).ok_or_else(bad)?),
            (7, _) => Message::Verdicts(body.iter().map(|&b| b != 0).collect()),
            _ => return Err(bad()),
        }))
    }

    /// Child's side: waits for the parent's answer. The release of a later step may come first.
    ///
    /// # Errors
    /// A failure if the parent is gone or says something else.
    pub fn wait_verdicts(&self, step: Step) -> Result<Vec<bool>, Failure> {
        loop {
            let text = match self.receive().during(step)? {
                Some(Message::Verdicts(all)) => return Ok(all),
                Some(Message::Go(early)) if self.early.get().is_none() => {
                    self.early.set(Some(early));
                    continue;
                }
                Some(other) => format!("unexpected message {}", other.name()),
                None => "the monitor is gone".to_string(),
            };
            return Err(Failure::text(step, text));
        }
    }

    /// Child's side: waits for the parent's release of exactly `step`.
    ///
    /// # Errors
    /// A failure if the parent is gone or says something else.
    pub fn wait_go(&self, step: Step) -> Result<(), Failure> {
        if self.early.get() == Some(step) {
            self.early.set(None);
            return Ok(());
        }
        match self.receive().during(step)? {
            Some(Message::Go(got)) if got == step => Ok(()),
            Some(other) => Err(Failure::text(step, format!("unexpected message {}", other.name()))),
            None => Err(Failure::text(step, "the monitor is gone")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure::from(Failed {
            step: Step::ProcSys,
            message: "mounting /proc: mount(proc): Operation not permitted (EPERM)".into(),
            errno: Some(1),
            origin: Some(Origin { file: Path::new("/var/lib/lxc/c/config").into(), line: 7 }),
            hint: Some("look here".into()),
        });
        let mut wire = Vec::new();
        failure.encode(&mut wire);
        assert!(wire.len() < MAX_MESSAGE);
        assert_eq!(Failure::decode(&wire), Some(failure));
    }

    #[test]
    fn cut_packets_are_refused() {
        let mut wire = Vec::new();
        Failure::text(Step::Exec, "x").encode(&mut wire);
        for n in 0..wire.len() {
            assert_eq!(Failure::decode(&wire[..n]), None, "{n}");
        }
    }

    #[test]
    fn long_sentences_are_cut_not_lost() {
        let failure = Failure::text(Step::Exec, "y".repeat(100_000));
        let mut wire = Vec::new();
        failure.encode(&mut wire);
        assert_eq!(Failure::decode(&wire).unwrap().message.len(), MAX_PART);
    }

    #[test]
    fn messages_pass_both_ways() {
        let (parent, child) = pair().unwrap();
        child.reached(Step::Ready).unwrap();
        assert!(matches!(parent.receive().unwrap(), Some(Message::Reached(Step::Ready))));
        parent.go(Step::Ready).unwrap();
        child.wait_go(Step::Ready).unwrap();
        child.send_fds(FdKind::Console, &[parent.fd()]).unwrap();
        match parent.receive().unwrap() {
            Some(Message::Fds(FdKind::Console, fds)) => assert_eq!(fds.len(), 1),
            other => panic!("{other:?}"),
        }
        drop(child);
        assert!(parent.receive().unwrap().is_none());
    }
}
