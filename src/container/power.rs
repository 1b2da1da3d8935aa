//! Freezing, waiting for states, shutting down, rebooting, killing: what is done to a running
//! container through its monitor.

use super::Container;
use super::info::State;
use crate::cgroup::freezer::Freezer;
use crate::cgroup::{Base, CgroupError, Layout, Version};
use crate::config::Signal;
use crate::control::client::{Client, ClientError, Watch};
use crate::sys::event::Ready;
use crate::sys::{SysError, cred, errno, event, process, procfs};
use crate::util::blame::{Explain, Origin};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Why a running container does not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// The monitor.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(Box<CgroupError>),
    /// Waiting for the monitor's word.
    #[error("waiting for the state of container {name:?}")]
    Wait {
        /// The container.
        name: String,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// Its init cannot be signalled.
    #[error("sending {signal} to init (process {pid}) of container {name:?}")]
    Signal {
        /// The container.
        name: String,
        /// Which signal.
        signal: Signal,
        /// Init.
        pid: i32,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// There is no freezer.
    #[error("this host has no cgroup freezer that container {0:?} is in")]
    NoFreezer(String),
    /// It did not come back from a reboot.
    #[error("container {name:?} stopped instead of rebooting")]
    Stopped {
        /// The container.
        name: String,
    },
    /// The wait was too short.
    #[error("container {name:?} did not {what} within {seconds} seconds after {signal}")]
    TooSlow {
        /// The container.
        name: String,
        /// `halt` or `reboot`.
        what: &'static str,
        /// How long it had.
        seconds: u64,
        /// What init was sent.
        signal: Signal,
    },
}

impl PowerError {
    /// True if the container is not running, or not any more.
    pub fn is_not_running(&self) -> bool {
        matches!(self, Self::Client(ClientError::NotRunning { .. }))
    }
}

impl From<CgroupError> for PowerError {
    fn from(error: CgroupError) -> Self {
        Self::Cgroup(Box::new(error))
    }
}

impl Explain for PowerError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Client(e) => e.errno(),
            Self::Cgroup(e) => e.errno(),
            Self::Wait { cause, .. } | Self::Signal { cause, .. } => Some(cause.errno),
            Self::NoFreezer(_) | Self::Stopped { .. } => None,
            Self::TooSlow { .. } => Some(errno::ETIMEDOUT),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Cgroup(e) => e.origin(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Client(e) => e.hint(),
            Self::Cgroup(e) => e.hint(),
            Self::TooSlow { name, .. } => Some(format!(
                "lxc-stop -k -n {name} ends it at once; lxc.signal.halt names the signal that its \
                 init understands"
            )),
            _ => None,
        }
    }
}

/// A length of time, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Forever,
    /// That long.
    For(Duration),
}

impl Patience {
    /// LXC's seconds: negative is for ever.
    pub fn seconds(seconds: i64) -> Self {
        u64::try_from(seconds).map_or(Self::Forever, |s| Self::For(Duration::from_secs(s)))
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Forever => None,
            Self::For(time) => Instant::now().checked_add(time),
        }
    }
}

/// Freezes a running container and waits until it is so.
pub fn freeze(container: &Container) -> Result<(), PowerError> {
    change_frozen(container, true)
}

/// Lets it run again.
pub fn unfreeze(container: &Container) -> Result<(), PowerError> {
    change_frozen(container, false)
}

fn change_frozen(container: &Container, frozen: bool) -> Result<(), PowerError> {
    let client = container.client();
    let asked =
        if frozen { client.freeze(FREEZE_TIMEOUT) } else { client.unfreeze(FREEZE_TIMEOUT) };
    match asked {
        // LXC's monitors only do it themselves on a host with nothing but cgroup2.
        Err(ClientError::Failed { .. } | ClientError::NoReply { .. }) => {}
        done => return Ok(done?),
    }
    let base = if cred::euid() == 0 { Base::Init } else { Base::Own };
    let layout = Layout::probe(base, &[])?;
    let none = || PowerError::NoFreezer(container.name().to_owned());
    let (query, version) = match layout.find("freezer") {
        Some(hierarchy) if hierarchy.version == Version::V1 => (Some("freezer"), Version::V1),
        _ => (None, Version::V2),
    };
    let path = client.cgroup_path(query)?.ok_or_else(none)?;
    let dir = layout.locate(query.unwrap_or("unified"), &path).ok_or_else(none)?;
    let freezer = Freezer::open(dir, version)?;
    let (before, after) =
        if frozen { (State::Freezing, State::Frozen) } else { (State::Thawed, State::Running) };
    if frozen {
        client.announce(before)?;
        // What cannot be frozen is thawed again, and the observers have to hear that too.
        if let Err(e) = freezer.freeze(Some(FREEZE_PATIENCE)) {
            let _ = client.announce(State::Running);
            return Err(e.into());
        }
    } else {
        freezer.thaw(Some(FREEZE_PATIENCE))?;
        client.announce(before)?;
    }
    Ok(client.announce(after)?)
}

/// How long the monitor may wait for the freezer, in seconds. LXC waits for ever; a process in
/// uninterruptible sleep would hang the tool.
const FREEZE_TIMEOUT: i32 = 60;
const FREEZE_PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the container is in one of `states`; false if it was not in time. While it does
/// not run it is looked for every second (LXC's behaviour), so that a later start is seen.
pub fn wait(
    container: &Container,
    states: &[State],
    patience: Patience,
) -> Result<bool, PowerError> {
    let deadline = patience.deadline();
    let client = container.client();
    loop {
        match client.watch(states, false) {
            Ok(Watch::Reached(_)) => return Ok(true),
            Ok(Watch::Pending(stream)) => {
                let announced =
                    stream.next(deadline).map_err(|cause| wait_error(container, cause))?;
                match announced {
                    Some(state) if states.contains(&state) => return Ok(true),
                    None => return Ok(false),
                    // Its monitor ended without reaching it.
                    Some(_) => {}
                }
            }
            Err(ClientError::NotRunning { .. } | ClientError::NoReply { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
        event::sleep(left.unwrap_or(POLL).min(POLL));
    }
}

const POLL: Duration = Duration::from_secs(1);

fn wait_error(container: &Container, cause: SysError) -> PowerError {
    PowerError::Wait { name: container.name().to_owned(), cause }
}

/// What a running container is asked to do by a signal to its init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two words")]
pub enum Request {
    Halt,
    Reboot,
}

impl Request {
    fn what(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reboot => "reboot",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Halt => "lxc.signal.halt",
            Self::Reboot => "lxc.signal.reboot",
        }
    }
}

/// A request that init has been sent.
pub struct Asked {
    /// The signal.
    pub signal: Signal,
    /// Init.
    pub pid: i32,
    /// The name of init's program, cut at 15 characters; empty if it cannot be seen.
    pub init: String,
    /// What it is asked for.
    pub request: Request,
    watch: Watch,
}

/// Sends init the signal for `request`. The state is watched from before that.
pub fn ask(container: &Container, request: Request) -> Result<Asked, PowerError> {
    let client = container.client();
    let pid = client.init_pid()?;
    let signal = signal_for(&client, request, pid);
    let pidfd = match client.init_pidfd()? {
        Some(pidfd) => Some(pidfd),
        // FALLBACK(<5.3): by number.
        None => process::pidfd_open(pid).ok(),
    };
    let status = procfs::status(pid).unwrap_or_default();
    let init = procfs::status_field(&status, "Name").unwrap_or_default().to_owned();
    let watch = match request {
        Request::Halt => client.watch(&[State::Stopped], false)?,
        Request::Reboot => client.watch(&[State::Running], true)?,
    };
    process::send_signal(pid, pidfd.as_ref().map(AsFd::as_fd), signal.0).map_err(|cause| {
        PowerError::Signal { name: container.name().to_owned(), signal, pid, cause }
    })?;
    Ok(Asked { signal, pid, init, request, watch })
}

/// What the running container's configuration says, else LXC's defaults. An init that blocks
/// SIGRTMIN+3 is systemd, which takes that for "halt" and SIGPWR for a failing power supply.
fn signal_for(client: &Client, request: Request, pid: i32) -> Signal {
    let configured = client.config_item(request.key()).ok().flatten();
    let configured = configured.and_then(|text| Signal::parse(text.trim()));
    match (configured.filter(|signal| signal.0 != 0), request) {
        (Some(signal), _) => signal,
        (None, Request::Reboot) => Signal::INT,
        (None, Request::Halt) if blocks(pid, Signal::SYSTEMD_HALT) => Signal::SYSTEMD_HALT,
        (None, Request::Halt) => Signal::PWR,
    }
}

fn blocks(pid: i32, signal: Signal) -> bool {
    let status = procfs::status(pid).unwrap_or_default();
    let mask = procfs::status_field(&status, "SigBlk");
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .is_some_and(|mask| mask & event::signal_bit(signal.0) != 0)
}

impl Asked {
    /// Waits for what was asked for.
    ///
    /// # Errors
    /// [`PowerError::TooSlow`] when it was not reached in time.
    pub fn wait(self, container: &Container, patience: Patience) -> Result<(), PowerError> {
        self.wait_telling(container, patience, Duration::MAX, || {})
    }

    /// The same, calling `tell` once if it takes longer than `quiet`.
    ///
    /// # Errors
    /// As [`Asked::wait`].
    pub fn wait_telling(
        self,
        container: &Container,
        patience: Patience,
        quiet: Duration,
        tell: impl FnOnce(),
    ) -> Result<(), PowerError> {
        let failed = |cause| wait_error(container, cause);
        let deadline = patience.deadline();
        let reached = match self.watch {
            Watch::Reached(state) => Some(state),
            Watch::Pending(stream) => {
                let early = Instant::now().checked_add(quiet);
                let early = early.filter(|early| deadline.is_none_or(|end| *early < end));
                if let Some(early) = early {
                    let ready = event::poll(stream.as_fd(), Ready::READ, Some(early));
                    if ready.map_err(failed)? == Ready::NONE {
                        tell();
                    }
                }
                stream.next(deadline).map_err(failed)?
            }
        };
        let wanted = match self.request {
            Request::Halt => State::Stopped,
            Request::Reboot => State::Running,
        };
        if reached == Some(wanted) {
            return Ok(());
        }
        let (name, what) = (container.name().to_owned(), self.request.what());
        if reached == Some(State::Stopped) {
            return Err(PowerError::Stopped { name });
        }
        let seconds = match patience {
            Patience::For(time) => time.as_secs(),
            Patience::Forever => 0,
        };
        Err(PowerError::TooSlow { name, what, seconds, signal: self.signal })
    }
}

/// Has the monitor end the container with its stop signal (SIGKILL unless configured) and waits
/// until the monitor has cleaned up.
pub fn kill(container: &Container) -> Result<(), PowerError> {
    container.client().stop(None)?;
    Ok(())
}
