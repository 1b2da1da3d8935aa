//! Freezing, waiting for states, shutting down, rebooting, killing: what is done to a running
//! container through its monitor.

use super::Container;
use super::guest::{self, Inside, Looks, Means, Request};
use super::info::State;
use crate::cgroup::freezer::Freezer;
use crate::cgroup::{Base, CgroupError, Layout, Version};
use crate::config::Signal;
use crate::control::client::{Client, ClientError, Watch};
use crate::runtime::attach::AttachError;
use crate::sys::event::Ready;
use crate::sys::process::Wait;
use crate::sys::{SysError, cred, errno, event, process};
use crate::util::blame::{Explain, Origin};
use crate::util::quote::quoted;
use crate::util::time::Patience;
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
    Cgroup(#[from] CgroupError),
    /// Waiting for the monitor's word.
    #[error("waiting for the state of container {}", quoted(name))]
    Wait {
        /// The container.
        name: String,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// Its init cannot be signalled.
    #[error("sending {signal} to init (process {pid}) of container {}", quoted(name))]
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
    #[error("this host has no cgroup freezer that container {} is in", quoted(.0))]
    NoFreezer(String),
    /// It did not come back from a reboot.
    #[error("container {} stopped instead of rebooting", quoted(name))]
    Stopped {
        /// The container.
        name: String,
    },
    /// The wait was too short.
    #[error("container {} did not {what} within {seconds} seconds after {means}", quoted(name))]
    TooSlow {
        /// The container.
        name: String,
        /// `halt` or `reboot`.
        what: &'static str,
        /// How long it had.
        seconds: u64,
        /// How init was asked.
        means: Means,
    },
    /// A command of init's own cannot be run.
    #[error("asking init of container {}", quoted(name))]
    Attach {
        /// The container.
        name: String,
        /// Why.
        #[source]
        cause: Box<AttachError>,
    },
}

impl PowerError {
    /// True if the container is not running, or not any more.
    pub fn is_not_running(&self) -> bool {
        use ClientError::{NoReply, NotRunning};
        matches!(self, Self::Client(NotRunning { .. } | NoReply { .. }))
    }
}

impl Explain for PowerError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Client(e) => e.errno(),
            Self::Cgroup(e) => e.errno(),
            Self::Wait { cause, .. } | Self::Signal { cause, .. } => Some(cause.errno),
            Self::NoFreezer(_) | Self::Stopped { .. } => None,
            Self::Attach { cause, .. } => cause.errno(),
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
            Self::TooSlow { name, what, .. } => Some(format!(
                "lxc-stop -k -n {name} ends it at once; lxc.signal.{what} names the signal that \
                 its init understands"
            )),
            _ => None,
        }
    }
}

/// Freezes a running container and waits until it is so.
pub fn freeze(container: &Container) -> Result<(), PowerError> {
    change_frozen(container, true)?;
    log::info!("the container is frozen");
    Ok(())
}

/// Lets it run again.
pub fn unfreeze(container: &Container) -> Result<(), PowerError> {
    change_frozen(container, false)?;
    log::info!("the container is thawed");
    Ok(())
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
                match stream.next(deadline)? {
                    Some(state) if states.contains(&state) => return Ok(true),
                    None => return Ok(false),
                    // Its monitor ended without reaching it.
                    Some(_) => {}
                }
            }
            Err(ClientError::NotRunning { .. } | ClientError::NoReply { .. }) => {}
            // Asleep, so in a hook of the start or the end: that ends, too.
            Err(ClientError::Timeout { monitor: Some(one), .. })
                if !one.is_stopped() && !one.is_busy() => {}
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

/// A request that init has been sent.
pub struct Asked {
    /// How.
    pub means: Means,
    /// Init.
    pub pid: i32,
    /// The name of init's program, cut at 15 characters; empty if it cannot be seen.
    pub init: String,
    /// What it is asked for.
    pub request: Request,
    patience: Patience,
    begun: Instant,
    watch: Watch,
}

/// Asks init for `request`: by the signal that the running container's configuration names, else
/// in the way of that init. The state is watched from before that, and `patience` begins then: what
/// is asked by a command has less time for what follows.
///
/// Must come before all that may not happen twice: it may execute this program anew, see
/// [`Inside::open`].
pub fn ask(
    container: &Container,
    request: Request,
    patience: Patience,
) -> Result<Asked, PowerError> {
    let client = container.client();
    let pid = client.init_pid()?;
    let pidfd = match client.init_pidfd()? {
        Some(pidfd) => Some(pidfd),
        // FALLBACK(<5.3): by number.
        None => process::pidfd_open(pid).ok(),
    };
    let looks = Looks::of(pid);
    let mut means = match configured(&client, request) {
        Some(signal) => Means::Signal(signal),
        None => guest::means(&looks, request),
    };
    let name = || container.name().to_owned();
    let inside = match means {
        Means::Signal(_) => None,
        Means::Command(words, _) => Some(
            Inside::open(container, words)
                .map_err(|e| PowerError::Attach { name: name(), cause: Box::new(e) })?,
        ),
    };
    let watch = match request {
        Request::Halt => client.watch(&[State::Stopped], false)?,
        Request::Reboot => client.watch(&[State::Running], true)?,
    };
    let begun = Instant::now();
    if let (Some(inside), Means::Command(_, signal)) = (inside, means) {
        let ran = inside
            .run(Patience::For(command_time(patience)))
            .map_err(|cause| wait_error(container, cause))?;
        let ended = || pidfd.as_ref().is_some_and(|p| event::pidfd_ended(p.as_fd()) == Ok(true));
        if ran != Wait::Exited(0) && !ended() {
            log::warn!("{means} in container {}: no success; sending {signal}", quoted(&name()));
            means = Means::Signal(signal);
        }
    }
    if let Means::Signal(signal) = means {
        process::send_signal(pid, pidfd.as_ref().map(AsFd::as_fd), signal.0)
            .map_err(|cause| PowerError::Signal { name: name(), signal, pid, cause })?;
    }
    log::info!("{} (process {pid}) was asked by {means} to {}", looks.name, request.what());
    Ok(Asked { means, pid, init: looks.name, request, patience, begun, watch })
}

/// How long init's own program for halt and reboot may take to tell it: half of a short time, so
/// that init has the rest for the signal that is sent instead.
fn command_time(patience: Patience) -> Duration {
    const MOST: Duration = Duration::from_secs(10);
    match patience {
        Patience::For(time) if !time.is_zero() => MOST.min(time / 2),
        _ => MOST,
    }
}

/// What the running container's configuration says.
fn configured(client: &Client, request: Request) -> Option<Signal> {
    let text = client.config_item(request.key()).ok().flatten()?;
    Signal::parse(text.trim()).filter(|signal| signal.0 != 0)
}

impl Asked {
    /// Waits for what was asked for.
    ///
    /// # Errors
    /// [`PowerError::TooSlow`] when it was not reached in time.
    pub fn wait(self, container: &Container) -> Result<(), PowerError> {
        self.wait_telling(container, Duration::MAX, || {})
    }

    /// The same, calling `tell` once if it takes longer than `quiet` since it was asked.
    ///
    /// # Errors
    /// As [`Asked::wait`].
    pub fn wait_telling(
        self,
        container: &Container,
        quiet: Duration,
        tell: impl FnOnce(),
    ) -> Result<(), PowerError> {
        let failed = |cause| wait_error(container, cause);
        let deadline = match self.patience {
            Patience::Forever => None,
            Patience::For(time) => self.begun.checked_add(time),
        };
        let reached = match self.watch {
            Watch::Reached(state) => Some(state),
            Watch::Pending(stream) => {
                let early = self.begun.checked_add(quiet);
                let early = early.filter(|early| deadline.is_none_or(|end| *early < end));
                if let Some(early) = early {
                    let ready = event::poll(stream.as_fd(), Ready::READ, Some(early));
                    if ready.map_err(failed)? == Ready::NONE {
                        tell();
                    }
                }
                stream.next(deadline)?
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
        let seconds = self.patience.whole_seconds();
        Err(PowerError::TooSlow { name, what, seconds, means: self.means })
    }
}

/// Has the monitor end the container with its stop signal (SIGKILL unless configured) and waits
/// until the monitor has cleaned up; false if it has not in time. One that is not running is
/// an error that says so.
pub fn kill_running(client: &Client, patience: Patience) -> Result<bool, PowerError> {
    let stopped = client.stop(patience.deadline())?;
    log::info!("the container was killed");
    Ok(stopped)
}

/// As [`kill_running`], for those who only want it to be over.
pub fn kill(client: &Client, patience: Patience) -> Result<bool, PowerError> {
    match kill_running(client, patience) {
        Err(e) if e.is_not_running() => Ok(true),
        done => done,
    }
}

impl Asked {
    /// What we wait for, for a person.
    pub fn describe(&self) -> String {
        let Self { means, pid, init, request, patience, .. } = self;
        let what = request.what();
        let limit = match patience {
            Patience::Forever => "as long as it takes".to_owned(),
            Patience::For(_) => format!("up to {} seconds", patience.whole_seconds()),
        };
        let init = if init.is_empty() { "init" } else { init };
        format!("{init} (process {pid}) was asked by {means} to {what}; waiting {limit} for it")
    }
}
