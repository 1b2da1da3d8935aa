//! How the init of a running container is asked to halt or to reboot when its configuration names
//! no signal: each init has its own way. Also runs a command in a container with a time limit.
//!
//! What init looks like is the container's word. It decides only what that container is asked by.

use super::Container;
use crate::runtime::attach::{AttachError, Attachment, EnvRules, Options};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Fork, KillOnDrop, Pid, Wait};
use crate::sys::{SysError, dirs, event, procfs, signal};
use crate::util::sentence::{one_line, sentence};
use crate::util::signames::Signal;
use crate::util::time::Patience;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// What an attaching process may take longer than its command before it is killed, too.
const GRACE: Duration = Duration::from_millis(500);

/// What a running container is asked to do by a signal to its init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the two words")]
pub enum Request {
    Halt,
    Reboot,
}

impl Request {
    /// The word for it.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Reboot => "reboot",
        }
    }

    /// The key that names its signal.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Halt => "lxc.signal.halt",
            Self::Reboot => "lxc.signal.reboot",
        }
    }
}

/// What can be seen of a container's process 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// The name of its program, cut at 15 characters; empty if it cannot be seen.
    pub name: String,
    /// The last part of its program's path.
    pub program: String,
    /// The signals it has blocked, a bit each ([`event::signal_bit`]).
    pub blocked: u64,
    /// Those that it has handlers for.
    pub caught: u64,
}

impl Looks {
    /// Of process `pid`. What cannot be seen is left empty.
    pub fn of(pid: Pid) -> Self {
        let status = procfs::status(pid).unwrap_or_default();
        let field = |label| procfs::status_field(&status, label).unwrap_or_default();
        let mask = |label| u64::from_str_radix(field(label), 16).unwrap_or(0);
        let path = dirs::link_target(Path::new(&format!("/proc/{pid}/exe")));
        let program = Path::new(&path).file_name().unwrap_or_default().to_string_lossy();
        Self {
            // The kernel lets some control characters pass.
            name: one_line(field("Name").to_owned()),
            // It was replaced by an upgrade while it runs.
            program: program.strip_suffix(" (deleted)").unwrap_or(&program).to_owned(),
            blocked: mask("SigBlk"),
            caught: mask("SigCgt"),
        }
    }

    fn catches(&self, signal: Signal) -> bool {
        self.caught & event::signal_bit(signal.0) != 0
    }

    fn blocks(&self, signal: Signal) -> bool {
        self.blocked & event::signal_bit(signal.0) != 0
    }
}

/// The way in which an init is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// A signal to it.
    Signal(Signal),
    /// A command in the container; the signal where it cannot be run.
    Command(&'static [&'static str], Signal),
}

impl std::fmt::Display for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "{signal}"),
            Self::Command(words, _) => write!(f, "'{}'", words.join(" ")),
        }
    }
}

/// How this init is asked.
pub fn means(looks: &Looks, request: Request) -> Means {
    let halt = request == Request::Halt;
    let signal = |of_halt, of_reboot| Means::Signal(if halt { of_halt } else { of_reboot });
    let command = |of_halt, of_reboot, signal_of_halt| match halt {
        true => Means::Command(of_halt, signal_of_halt),
        false => Means::Command(of_reboot, Signal::INT),
    };
    match (looks.name.as_str(), looks.program.as_str()) {
        // Not its shell, which is the same program.
        ("init" | "linuxrc" | "busybox", "busybox") => signal(Signal::USR1, Signal::TERM),
        // systemd: SIGPWR says that the power fails, SIGINT that Ctrl-Alt-Del was pressed.
        ("systemd", _) => signal(Signal::SYSTEMD_HALT, Signal::SYSTEMD_REBOOT),
        ("lxc-init", _) => signal(Signal::PWR, Signal::INT),
        // What stage 2 does on SIGCONT depends on files that its own program makes.
        ("runit", _) | (_, "runit") => {
            command(&["runit-init", "0"], &["runit-init", "6"], Signal::CONT)
        }
        // Its first versions knew no signal for halt and blocked all others.
        ("openrc-init", _) | (_, "openrc-init") => match halt && !looks.catches(Signal::TERM) {
            true => Means::Command(&["openrc-shutdown", "--poweroff", "now"], Signal::TERM),
            false => signal(Signal::TERM, Signal::INT),
        },
        // Not only systemd: whoever blocks this one reads it from a descriptor.
        _ if halt && looks.blocks(Signal::SYSTEMD_HALT) => Means::Signal(Signal::SYSTEMD_HALT),
        // SIGPWR and SIGINT do what inittab says, and that may be nothing.
        ("init", "init") if looks.catches(Signal::PWR) => {
            command(&["telinit", "0"], &["telinit", "6"], Signal::PWR)
        }
        // A program that is no init: the kernel drops what its process 1 has no handler for.
        _ if halt
            && !looks.catches(Signal::PWR)
            && !looks.blocks(Signal::PWR)
            && looks.catches(Signal::TERM) =>
        {
            Means::Signal(Signal::TERM)
        }
        _ => signal(Signal::PWR, Signal::INT),
    }
}

/// A command to be run in a running container, as root there, without terminal, input and output.
pub struct Inside {
    attachment: Attachment,
    container: Container,
    options: Options,
}

impl Inside {
    /// Takes hold of the container. May execute this program anew, see [`Attachment::open`].
    ///
    /// # Errors
    /// It is not running, or may not be looked at.
    pub fn open<S: AsRef<str>>(container: &Container, words: &[S]) -> Result<Self, AttachError> {
        Ok(Self {
            attachment: Attachment::open(Attachment::ask(container.lxcpath(), container.name()))?,
            container: container.clone(),
            options: Options {
                command: words.iter().map(|word| word.as_ref().into()).collect(),
                environment: EnvRules { clear: true, ..EnvRules::default() },
                ..Options::default()
            },
        })
    }

    /// Runs it; what has not ended in time is killed, with the processes of its group.
    ///
    /// # Errors
    /// No process can be made. What keeps the command from running gives status 126 or 127.
    pub fn run(mut self, patience: Patience) -> Result<Wait, SysError> {
        self.options.deadline = patience.deadline();
        let end = self.options.deadline.and_then(|end| end.checked_add(GRACE));
        let mask = signal::block(&[Signal::CHLD.0])?;
        let how = match process::fork()? {
            Fork::Child => process::exit_now(self.command()),
            Fork::Parent(pid) => wait(&mut KillOnDrop::new(pid, None), end),
        };
        signal::restore(&mask)?;
        how
    }

    /// # In the child
    /// Runs the command and gives back its status.
    fn command(self) -> i32 {
        if quiet_streams().is_err() {
            return 126;
        }
        let (said, status) = match self.container.load_of_running() {
            Ok(loaded) => match self.attachment.run(&loaded.config, &self.options) {
                Ok(how) => return how.exit_code().into(),
                Err(e) => (sentence(&e), e.exit_status().into()),
            },
            Err(e) => (sentence(&e), 126),
        };
        log::info!("{said}");
        status
    }
}

/// Waits for a child; kills it at the deadline.
fn wait(child: &mut KillOnDrop, deadline: Option<Instant>) -> Result<Wait, SysError> {
    loop {
        match process::peek(child.pid())? {
            Wait::Running if signal::wait(&[Signal::CHLD.0], deadline)?.is_none() => {
                process::kill(child.pid(), Signal::KILL.0)?;
                return child.wait();
            }
            Wait::Running => {}
            _ => return child.wait(),
        }
    }
}

/// Input, output and errors of this process become /dev/null.
pub(super) fn quiet_streams() -> Result<(), SysError> {
    let null = fd::open("/dev/null", OpenFlags::RDWR, 0)?;
    (0..3).try_for_each(|stream| fd::dup_to_stdio(null.as_fd(), stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(name: &str, program: &str, blocked: &[Signal], caught: &[Signal]) -> Looks {
        let mask = |all: &[Signal]| all.iter().map(|s| event::signal_bit(s.0)).sum();
        Looks {
            name: name.into(),
            program: program.into(),
            blocked: mask(blocked),
            caught: mask(caught),
        }
    }

    /// The words for halt and reboot.
    fn asked(looks: &Looks) -> String {
        format!("{} {}", means(looks, Request::Halt), means(looks, Request::Reboot))
    }

    #[test]
    fn each_init_is_asked_in_its_way() {
        let rt3 = Signal::SYSTEMD_HALT;
        let (pwr, term, int) = (Signal::PWR, Signal::TERM, Signal::INT);
        let cases = [
            (looks("systemd", "systemd", &[rt3], &[]), "SIGRTMIN+3 SIGRTMIN+5"),
            (looks("init", "busybox", &[], &[term, int]), "SIGUSR1 SIGTERM"),
            (looks("init", "init", &[], &[pwr, int]), "'telinit 0' 'telinit 6'"),
            (looks("init", "lxcbox", &[rt3, pwr], &[]), "SIGRTMIN+3 SIGINT"),
            (looks("lxc-init", "lxcbox", &[], &[pwr, term]), "SIGPWR SIGINT"),
            (looks("runit", "runit", &[], &[term]), "'runit-init 0' 'runit-init 6'"),
            (
                looks("openrc-init", "openrc-init", &[rt3, pwr, term], &[int]),
                "'openrc-shutdown --poweroff now' SIGINT",
            ),
            (looks("init", "openrc-init", &[], &[term, int]), "SIGTERM SIGINT"),
            (looks("sh", "busybox", &[], &[term, int]), "SIGTERM SIGINT"),
            (looks("nginx", "nginx", &[], &[term, int]), "SIGTERM SIGINT"),
            (looks("sleep", "sleep", &[], &[]), "SIGPWR SIGINT"),
            (looks("", "", &[], &[]), "SIGPWR SIGINT"),
        ];
        for (looks, want) in cases {
            assert_eq!(asked(&looks), want, "{looks:?}");
        }
    }
}
