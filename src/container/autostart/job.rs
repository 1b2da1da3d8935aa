//! What is done to one container, in a process of its own: start and wait until it is ready,
//! reboot, shut down, kill. What becomes of it goes to the parent as messages.

use super::plan::Action;
use crate::config::Readiness;
use crate::container::guest::Request;
use crate::container::guest::{self, Inside};
use crate::container::power::{self, Asked, PowerError};
use crate::container::start::{Start, StartError};
use crate::container::{Container, info};
use crate::control::state::State;
use crate::runtime::daemon::Mode;
use crate::sys::event::{self, Ready};
use crate::sys::process::Wait;
use crate::sys::unix::{self, Block, Kind};
use crate::sys::{SysError, cred, dirs, process};
use crate::util::blame::Explain;
use crate::util::sentence::sentence;
use crate::util::time::Patience;
use crate::util::words;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How it ended for a container.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Outcome {
    Started,
    Ready,
    Rebooted,
    /// Init was asked, and nobody waits.
    Asked,
    Stopped,
    /// It did not stop in time, and was killed; why.
    Killed(String),
    /// With a hint, if there is one.
    Failed(String, Option<String>),
}

impl Outcome {
    /// False if what was asked for did not happen.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Failed(..))
    }
}

/// What a process says of its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Something odd, or what takes long.
    Warning(String),
    /// The container runs; what follows costs nothing but time.
    Runs,
    /// The end.
    Done(Outcome),
}

/// Room for a sentence.
const MESSAGE_BYTES: usize = 8 << 10;
/// Between the sentence and the hint of a failure.
const HINT: char = '\0';

impl Message {
    fn encode(&self) -> Vec<u8> {
        let (tag, text, hint) = match self {
            Self::Warning(text) => (b'w', text.as_str(), None),
            Self::Runs => (b'r', "", None),
            Self::Done(Outcome::Started) => (b'S', "", None),
            Self::Done(Outcome::Ready) => (b'R', "", None),
            Self::Done(Outcome::Rebooted) => (b'B', "", None),
            Self::Done(Outcome::Asked) => (b'A', "", None),
            Self::Done(Outcome::Stopped) => (b'H', "", None),
            Self::Done(Outcome::Killed(text)) => (b'K', text.as_str(), None),
            Self::Done(Outcome::Failed(text, hint)) => (b'F', text.as_str(), hint.as_deref()),
        };
        let mut bytes = vec![tag];
        bytes.extend_from_slice(text.as_bytes());
        if let Some(hint) = hint {
            bytes.push(HINT as u8);
            bytes.extend_from_slice(hint.as_bytes());
        }
        bytes.truncate(MESSAGE_BYTES);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, text) = bytes.split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(match tag {
            b'w' => Self::Warning(text),
            b'r' => Self::Runs,
            b'S' => Self::Done(Outcome::Started),
            b'R' => Self::Done(Outcome::Ready),
            b'B' => Self::Done(Outcome::Rebooted),
            b'A' => Self::Done(Outcome::Asked),
            b'H' => Self::Done(Outcome::Stopped),
            b'K' => Self::Done(Outcome::Killed(text)),
            b'F' => Self::Done(match text.split_once(HINT) {
                Some((text, hint)) => Outcome::Failed(text.into(), Some(hint.into())),
                None => Outcome::Failed(text, None),
            }),
            _ => return None,
        })
    }
}

/// The two ends between a process and its parent.
pub(super) fn link() -> Result<(OwnedFd, OwnedFd), SysError> {
    unix::pair(Kind::SeqPacket)
}

/// The next message; the outer `None` when there is none yet, the inner one at the end.
pub(super) fn receive(link: BorrowedFd<'_>) -> Option<Option<Message>> {
    let mut buffer = [0; MESSAGE_BYTES];
    match unix::recv(link, &mut buffer, 0, Block::DontWait) {
        Ok(got) => Some(Message::decode(buffer.get(..got.len).unwrap_or_default())),
        Err(e) if e.is(crate::sys::errno::EAGAIN) => None,
        Err(_) => Some(None),
    }
}

/// The work on one container.
pub(super) struct Job {
    /// Which.
    pub container: Container,
    /// `None`: it runs already, and only its readiness is waited for.
    pub action: Option<Action>,
    /// When it is ready.
    pub ready: Readiness,
    /// How long it may take.
    pub patience: Patience,
}

/// After this long it is said what is waited for.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// How often a container is looked at that does not tell by itself: at first, and later.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// How long a monitor may take to clean up after a kill.
const KILL_PATIENCE: Patience = Patience::For(Duration::from_secs(15));

impl Job {
    /// # In the child
    /// Does the work, tells of it and gives back the exit status.
    pub(super) fn run(&self, link: &OwnedFd) -> i32 {
        let outcome = match guest::quiet_streams() {
            Ok(()) => self.work(link).unwrap_or_else(|failed| failed),
            Err(e) => Outcome::Failed(e.to_string(), None),
        };
        tell(link, &Message::Done(outcome));
        0
    }

    /// `Err` is an outcome as well.
    fn work(&self, link: &OwnedFd) -> Result<Outcome, Outcome> {
        let deadline = self.patience.deadline();
        match self.action {
            Some(Action::Start) => {
                let notify = self.start(link)?;
                self.wait_ready(notify, deadline)
            }
            None => self.wait_ready(None, deadline),
            Some(Action::Reboot) => {
                self.ask(link, Request::Reboot)?;
                // A notification may only come from a start of ours.
                match self.ready {
                    Readiness::Running | Readiness::Notify => {}
                    _ => {
                        tell(link, &Message::Runs);
                        self.wait_ready(None, deadline)?;
                    }
                }
                Ok(Outcome::Rebooted)
            }
            Some(Action::Shutdown) => self.ask(link, Request::Halt),
            Some(Action::Kill) => self.kill().map(|()| Outcome::Stopped),
        }
    }

    fn start(&self, link: &OwnedFd) -> Result<Option<Notify>, Outcome> {
        let notify = match self.ready {
            Readiness::Notify => Some(Notify::open().map_err(|e| failed(&e))?),
            _ => None,
        };
        let start = Start {
            container: self.container.clone(),
            rcfile: None,
            defines: notify.as_ref().map(Notify::defines).unwrap_or_default(),
            command: Vec::new(),
            execute: false,
            quiet: false,
            mode: Mode::Daemon,
            pidfile: None,
        };
        let warn = |text: &String| tell(link, &Message::Warning(text.clone()));
        let done = start.prepare().and_then(|prepared| {
            prepared.warnings.iter().for_each(warn);
            let plan = start.plan(prepared)?;
            plan.seccomp.left_out.iter().chain(&plan.lsm.warnings).for_each(warn);
            let waits = || warn(&"waiting for another tool that works on it".to_owned());
            start.run(plan, &waits)
        });
        match done {
            // Somebody was faster.
            Err(StartError::Start(failure)) if failure.is_already_running() => {}
            Err(e) => return Err(failed(&e)),
            Ok(_) => {}
        }
        tell(link, &Message::Runs);
        Ok(notify)
    }

    /// Waits until the running container is ready; a command may take all the time, so the parent
    /// says what is waited for.
    fn wait_ready(
        &self,
        notify: Option<Notify>,
        deadline: Option<Instant>,
    ) -> Result<Outcome, Outcome> {
        let command = match &self.ready {
            Readiness::Running => return Ok(Outcome::Started),
            Readiness::Command(line) => words::split(line).unwrap_or_default(),
            Readiness::Address | Readiness::Notify => Vec::new(),
        };
        let what = awaited(&self.ready);
        let mut pause = POLL.0;
        loop {
            let ready = match &self.ready {
                Readiness::Running => true,
                Readiness::Address => self.has_address(),
                // Who notified before we came cannot be asked.
                Readiness::Notify => notify.as_ref().is_none_or(Notify::arrived),
                Readiness::Command(_) => self.command_succeeds(&command, deadline),
            };
            if ready {
                return Ok(Outcome::Ready);
            }
            if info::state(&self.container.client()).is_ok_and(|state| state == State::Stopped) {
                return Err(Outcome::Failed(format!("stopped while {what} was waited for"), None));
            }
            let now = Instant::now();
            if deadline.is_some_and(|end| now >= end) {
                let seconds = self.patience.whole_seconds();
                let text = format!("runs, but is not ready after {seconds} seconds: no {what}");
                return Err(Outcome::Failed(text, None));
            }
            let until = deadline.map_or(now + pause, |end| end.min(now + pause));
            match &notify {
                Some(notify) => notify.sleep(until),
                None => event::sleep(until.saturating_duration_since(now)),
            }
            pause = (pause * 2).min(POLL.1);
        }
    }

    fn has_address(&self) -> bool {
        let pid = self.container.client().init_pid();
        pid.is_ok_and(|pid| !info::addresses(pid).is_empty())
    }

    fn command_succeeds(&self, words: &[String], deadline: Option<Instant>) -> bool {
        let left = deadline.map_or(Patience::Forever, |end| {
            Patience::For(end.saturating_duration_since(Instant::now()))
        });
        Inside::open(&self.container, words)
            .is_ok_and(|inside| inside.run(left).is_ok_and(|how| how == Wait::Exited(0)))
    }

    /// Asks init and waits; a container that does not halt is killed.
    fn ask(&self, link: &OwnedFd, request: Request) -> Result<Outcome, Outcome> {
        let ended = |e: PowerError| match request {
            // Its end may still be under way.
            Request::Halt if e.is_not_running() => {
                match power::wait(&self.container, &[State::Stopped], self.patience) {
                    Ok(true) => Outcome::Stopped,
                    _ => failed(&e),
                }
            }
            _ => failed(&e),
        };
        if info::state(&self.container.client()).is_ok_and(|state| state == State::Frozen) {
            // A frozen init would hear the signal after the timeout only.
            power::unfreeze(&self.container).map_err(ended)?;
        }
        let asked = power::ask(&self.container, request, self.patience).map_err(ended)?;
        if self.patience == Patience::For(Duration::ZERO) {
            return Ok(Outcome::Asked);
        }
        match self.wait(link, asked) {
            Ok(()) if request == Request::Halt => Ok(Outcome::Stopped),
            Ok(()) => Ok(Outcome::Rebooted),
            Err(e @ PowerError::TooSlow { .. }) if request == Request::Halt => {
                self.kill()?;
                Ok(Outcome::Killed(sentence(&e)))
            }
            Err(e) => Err(ended(e)),
        }
    }

    fn wait(&self, link: &OwnedFd, asked: Asked) -> Result<(), PowerError> {
        let text = asked.describe();
        asked.wait_telling(&self.container, QUIET, || {
            tell(link, &Message::Warning(text));
        })
    }

    fn kill(&self) -> Result<(), Outcome> {
        match power::kill(&self.container.client(), KILL_PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Outcome::Failed("its monitor does not end it".into(), None)),
            Err(e) => Err(failed(&e)),
        }
    }
}

fn failed(error: &dyn Explain) -> Outcome {
    Outcome::Failed(sentence(error), error.hint())
}

/// What has to be there for it to be ready.
pub(super) fn awaited(ready: &Readiness) -> String {
    match ready {
        Readiness::Running => "init".into(),
        Readiness::Address => "address".into(),
        Readiness::Notify => "notification".into(),
        Readiness::Command(line) => format!("success of '{line}'"),
    }
}

/// A parent that is gone has nothing to be told.
fn tell(link: &OwnedFd, message: &Message) {
    let _ = unix::send(link.as_fd(), &message.encode(), &[], None, Block::Wait);
}

/// The socket on which a container says that it is ready (sd_notify(3)). It is in the container as
/// [`Notify::INSIDE`] for as long as that runs, and nobody listens any more when it is ready.
struct Notify {
    socket: OwnedFd,
    path: PathBuf,
}

impl Notify {
    /// In /dev, where no init mounts anything over it.
    const INSIDE: &str = "dev/.lxc-notify";

    fn open() -> Result<Self, SysError> {
        // An ordinary user's own directories are closed to the container's root.
        let dir = Path::new(if cred::euid() == 0 { "/run/lxc" } else { "/tmp" });
        dirs::make_all(dir, 0o755)?;
        let path = dir.join(format!(".lxc-notify-{}", process::own_pid()));
        let _ = dirs::unlink(&path);
        Ok(Self { socket: unix::bind_datagram(&path)?, path })
    }

    /// The settings of the start. A reboot finds the file gone, and that is no reason to fail.
    fn defines(&self) -> Vec<(String, &'static str)> {
        let (path, inside) = (self.path.display(), Self::INSIDE);
        let entry = format!("lxc.mount.entry = {path} {inside} none bind,create=file,optional 0 0");
        let variable = format!("lxc.environment.runtime = NOTIFY_SOCKET=/{inside}");
        vec![(entry, "lxc.start.ready"), (variable, "lxc.start.ready")]
    }

    /// True if the word has come.
    fn arrived(&self) -> bool {
        let mut buffer = [0; 4096];
        while let Ok(got) = unix::recv(self.socket.as_fd(), &mut buffer, 0, Block::DontWait) {
            let text = buffer.get(..got.len).unwrap_or_default();
            if text.split(|&b| b == b'\n').any(|line| line == b"READY=1") {
                return true;
            }
        }
        false
    }

    /// Until something comes.
    fn sleep(&self, until: Instant) {
        let _ = event::poll(self.socket.as_fd(), Ready::READ, Some(until));
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        // The monitor has a copy of the descriptor that it never reads: nobody in the container
        // may fill that and sleep.
        let _ = unix::stop_receiving(self.socket.as_fd());
        let _ = dirs::unlink(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let all = [
            Message::Warning("wö".into()),
            Message::Runs,
            Message::Done(Outcome::Started),
            Message::Done(Outcome::Ready),
            Message::Done(Outcome::Rebooted),
            Message::Done(Outcome::Asked),
            Message::Done(Outcome::Stopped),
            Message::Done(Outcome::Killed("why".into())),
            Message::Done(Outcome::Failed("why".into(), None)),
            Message::Done(Outcome::Failed("why".into(), Some("hint".into()))),
        ];
        let (ours, theirs) = link().unwrap();
        assert_eq!(receive(ours.as_fd()), None);
        for message in all {
            tell(&theirs, &message);
            assert_eq!(receive(ours.as_fd()), Some(Some(message)));
        }
        drop(theirs);
        assert_eq!(receive(ours.as_fd()), Some(None));
    }
}
