//! Container states, lists of them as lxc-wait takes them, and the message that announces a
//! change to state clients and to the fifo of LXC's lxc-monitord.

use crate::sys::{Result, SysError, errno, fd, unix};
use std::fmt;
use std::path::{Path, PathBuf};

/// How many states there are; also LXC's value for "none of them" in a reply.
pub const COUNT: usize = 8;

/// What a container is doing. The numbers are those of LXC's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum State {
    /// No monitor answers.
    Stopped = 0,
    /// From before the pre-start hooks until init runs.
    Starting = 1,
    /// Init was executed.
    Running = 2,
    /// Init is gone and the clean-up has begun.
    Stopping = 3,
    /// The start failed; what was made is being undone.
    Aborting = 4,
    /// A freeze was asked for.
    Freezing = 5,
    /// All processes are frozen.
    Frozen = 6,
    /// Announced when a freeze ends; the container's state is then [`State::Running`].
    Thawed = 7,
}

impl State {
    /// All states, by number.
    pub const ALL: [Self; COUNT] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Aborting,
        Self::Freezing,
        Self::Frozen,
        Self::Thawed,
    ];

    /// The number in the protocol.
    pub fn number(self) -> i32 {
        self as i32
    }

    /// From the number in the protocol.
    pub fn from_number(n: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(n).ok()?).copied()
    }

    /// `STOPPED` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Aborting => "ABORTING",
            Self::Freezing => "FREEZING",
            Self::Frozen => "FROZEN",
            Self::Thawed => "THAWED",
        }
    }

    /// By exact name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == text)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSet(u8);

impl StateSet {
    /// The set of one state.
    pub fn of(state: State) -> Self {
        Self(1 << state as u8)
    }

    /// With one more.
    pub fn with(self, state: State) -> Self {
        Self(self.0 | 1 << state as u8)
    }

    /// Membership.
    pub fn contains(self, state: State) -> bool {
        self.0 & 1 << state as u8 != 0
    }

    /// Parses `A|B|C` as lxc-wait's `-s`; `Err` is the word that is no state.
    pub fn parse(text: &str) -> std::result::Result<Self, &str> {
        let mut set = Self::default();
        for word in text.split('|') {
            set = set.with(State::parse(word.trim()).ok_or(word)?);
        }
        Ok(set)
    }
}

impl fmt::Display for StateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bar = "";
        for state in State::ALL.into_iter().filter(|s| self.contains(*s)) {
            write!(f, "{bar}{state}")?;
            bar = "|";
        }
        Ok(())
    }
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The container entered a state.
    State(State),
    /// Init ended with this wait status (only sent to lxc-monitord).
    ExitStatus(i32),
}

/// The C structure `{int type; char name[256]; int value}`.
pub const NOTICE_BYTES: usize = 4 + NAME_BYTES + 4;
const NAME_BYTES: usize = 256;
const TYPE_STATE: i32 = 0;
const TYPE_EXIT: i32 = 2;

impl Notice {
    /// As sent on the wire.
    pub fn encode(self, name: &str) -> [u8; NOTICE_BYTES] {
        let (kind, value) = match self {
            Self::State(state) => (TYPE_STATE, state.number()),
            Self::ExitStatus(status) => (TYPE_EXIT, status),
        };
        let mut out = [0; NOTICE_BYTES];
        out[..4].copy_from_slice(&kind.to_ne_bytes());
        // The last byte stays NUL; a name cannot be longer than a directory's anyway.
        let n = name.len().min(NAME_BYTES - 1);
        out[4..4 + n].copy_from_slice(&name.as_bytes()[..n]);
        out[4 + NAME_BYTES..].copy_from_slice(&value.to_ne_bytes());
        out
    }

    /// From the wire; `None` for a type or state that is not known. The name is not looked at:
    /// a state client has asked about one container.
    pub fn decode(bytes: &[u8; NOTICE_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let value = word(4 + NAME_BYTES);
        match word(0) {
            TYPE_STATE => State::from_number(value.into()).map(Self::State),
            TYPE_EXIT => Some(Self::ExitStatus(value)),
            _ => None,
        }
    }
}

impl Notice {
    /// The container that a message is about; bytes that are no UTF-8 are replaced.
    pub fn name(bytes: &[u8; NOTICE_BYTES]) -> String {
        let field = &bytes[4..4 + NAME_BYTES];
        let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }
}

/// The fifo that lxc-monitord reads for all containers of `lxcpath`.
pub fn monitor_fifo(run_dir: &Path, lxcpath: &Path) -> PathBuf {
    let below = lxcpath.strip_prefix("/").unwrap_or(lxcpath);
    run_dir.join("lxc").join(below).join("monitor-fifo")
}

/// Tells lxc-monitord, if one is running; that there is none is no error. Never sleeps: a
/// message that does not fit into the fifo is lost, as LXC's would be.
pub fn notify_monitord(fifo: &Path, name: &str, notice: Notice) -> Result<()> {
    use fd::OpenFlags;
    use std::os::fd::AsFd;
    let flags = OpenFlags::WRONLY | OpenFlags::NONBLOCK | OpenFlags::NOFOLLOW;
    let file = match fd::open(fifo, flags, 0) {
        Ok(file) => file,
        Err(e) if e.is(errno::ENOENT) || e.is(errno::ENXIO) || e.is(errno::ENOTDIR) => {
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    if !unix::is_fifo(file.as_fd())? {
        return Err(SysError::new("open", fifo.display(), errno::EINVAL));
    }
    match fd::write_once(file.as_fd(), &notice.encode(name)) {
        Err(e) if e.is(errno::EAGAIN) || e.is(errno::EPIPE) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (n, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(State::from_number(n as i64), Some(state));
            assert_eq!(State::parse(state.name()), Some(state));
        }
        assert_eq!(State::from_number(8), None);
        assert_eq!(State::from_number(-1), None);
        assert_eq!(State::parse("running"), None);
    }

    #[test]
    fn lists() {
        let set = StateSet::parse("STOPPED|FROZEN").unwrap();
        assert!(set.contains(State::Stopped) && set.contains(State::Frozen));
        assert!(!set.contains(State::Running));
        assert_eq!(set.to_string(), "STOPPED|FROZEN");
        assert_eq!(StateSet::parse("RUNNING|DEAD"), Err("DEAD"));
        assert!(StateSet::parse("").is_err());
    }

    #[test]
    fn notices_round_trip() {
        for notice in [Notice::State(State::Thawed), Notice::ExitStatus(256)] {
            let bytes = notice.encode("c1");
            assert_eq!(&bytes[4..7], b"c1\0");
            assert_eq!(Notice::decode(&bytes), Some(notice));
            assert_eq!(Notice::name(&bytes), "c1");
        }
        let mut bytes = Notice::State(State::Running).encode(&"x".repeat(300));
        assert_eq!(bytes[4 + 255], 0);
        bytes[0] = 9;
        assert_eq!(Notice::decode(&bytes), None);
    }

    #[test]
    fn no_monitord_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = monitor_fifo(dir.path(), Path::new("/var/lib/lxc"));
        assert!(fifo.ends_with("lxc/var/lib/lxc/monitor-fifo"));
        notify_monitord(&fifo, "c1", Notice::State(State::Running)).unwrap();
        std::fs::create_dir_all(fifo.parent().unwrap()).unwrap();
        std::fs::write(&fifo, "").unwrap();
        assert!(notify_monitord(&fifo, "c1", Notice::State(State::Running)).is_err());
        assert_eq!(std::fs::read(&fifo).unwrap(), b"");
    }
}
