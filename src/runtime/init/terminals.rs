//! Login shells on the console and the terminals of a container without an init system. A
//! terminal nobody uses costs no process: its shell starts when somebody presses Enter there.

use super::exec_named;
use crate::sys::process::{self, Fork, Pid};
use crate::sys::{SysError, fd, passwd, pid1, term};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A shell that lived shorter than this is not started again at once.
const TOO_SHORT: Duration = Duration::from_secs(2);
/// How long it waits then.
const BACK_OFF: Duration = Duration::from_secs(5);

/// One terminal and what happens on it.
pub(super) struct Terminal {
    path: PathBuf,
    state: State,
}

enum State {
    /// Open, waiting for Enter.
    Asking(OwnedFd),
    /// A shell runs since then.
    Shell(Pid, Instant),
    /// Its shell ended too soon; next try then.
    Resting(Instant),
    /// Cannot be opened any more.
    Gone,
}

/// The terminals of the container: the console and /dev/tty1 and on, as far as they are there.
pub(super) fn find(dev: &Path) -> Vec<Terminal> {
    let mut found = Vec::new();
    let console = dev.join("console");
    if term::open_tty(&console).is_ok() {
        let now = Instant::now();
        found.push(Terminal { path: console, state: State::Resting(now) });
    }
    for n in 1..=64 {
        let path = dev.join(format!("tty{n}"));
        let Ok(tty) = term::open_tty(&path) else { break };
        let mut terminal = Terminal { path, state: State::Gone };
        terminal.ask(tty);
        found.push(terminal);
    }
    found
}

impl Terminal {
    fn ask(&mut self, tty: OwnedFd) {
        let text = b"\r\nPress Enter for a shell.\r\n";
        self.state = match fd::write_once(tty.as_fd(), text) {
            Ok(()) => State::Asking(tty),
            Err(e) => {
                log::debug!("{e}");
                State::Gone
            }
        };
    }

    /// What to wait for before [`Terminal::input_arrived`].
    pub(super) fn input(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Asking(tty) => Some(tty.as_fd()),
            _ => None,
        }
    }

    /// When [`Terminal::wake_if_due`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            _ => None,
        }
    }

    /// Somebody pressed Enter, or the terminal hung up.
    pub(super) fn input_arrived(&mut self, now: Instant) {
        let State::Asking(tty) = &self.state else { return };
        // The line that was typed is not the shell's.
        match pid1::discard_input(tty.as_fd()) {
            Ok(0) => self.state = State::Resting(now + BACK_OFF),
            Ok(_) => self.start_shell(now),
            Err(e) => {
                log::debug!("{e}");
                self.state = State::Resting(now + BACK_OFF);
            }
        }
    }

    /// The rest is over: the console gets a shell, a terminal asks again.
    pub(super) fn wake_if_due(&mut self, now: Instant) {
        if !matches!(self.state, State::Resting(until) if until <= now) {
            return;
        }
        if self.is_console() {
            return self.start_shell(now);
        }
        match term::open_tty(&self.path) {
            Ok(tty) => self.ask(tty),
            Err(_) => self.state = State::Gone,
        }
    }

    /// A child ended; true if it was the shell of this terminal.
    pub(super) fn ended(&mut self, pid: Pid, now: Instant) -> bool {
        match self.state {
            State::Shell(shell, since) if shell == pid => {
                let rest = if now - since < TOO_SHORT { BACK_OFF } else { Duration::ZERO };
                self.state = State::Resting(now + rest);
                true
            }
            _ => false,
        }
    }

    fn is_console(&self) -> bool {
        self.path.ends_with("console")
    }

    fn start_shell(&mut self, now: Instant) {
        // The waiting descriptor is closed with this state; the shell opens its own.
        self.state = match process::fork() {
            Ok(Fork::Child) => {
                let error = shell(&self.path);
                log::debug!("{error}");
                process::exit_now(127)
            }
            Ok(Fork::Parent(pid)) => State::Shell(pid, now),
            Err(e) => {
                log::debug!("{e}");
                State::Resting(now + BACK_OFF)
            }
        };
    }
}

/// # In the child
/// Becomes the login shell of root on that terminal; returns only on failure.
fn shell(path: &Path) -> SysError {
    let prepare = || -> Result<(), SysError> {
        process::setsid()?;
        let tty = fd::open(path, fd::OpenFlags::RDWR | fd::OpenFlags::NOCTTY, 0)?;
        term::set_controlling(tty.as_fd())?;
        for number in 0..3 {
            fd::dup_to_stdio(tty.as_fd(), number)?;
        }
        drop(tty);
        fd::seal_above(3, &[], fd::Seal::CloseOnExec)
    };
    if let Err(e) = prepare() {
        return e;
    }
    let users = passwd::users(Path::new("/etc/passwd")).unwrap_or_default();
    let root = passwd::by_uid(&users, 0);
    let field = |value: Option<&str>, default: &str| {
        OsString::from(value.filter(|text| !text.is_empty()).unwrap_or(default))
    };
    let home = field(root.map(|user| user.home.as_str()), "/root");
    let name = field(root.map(|user| user.name.as_str()), "root");
    let mut program = field(root.map(|user| user.shell.as_str()), "/bin/sh");
    if !Path::new(&program).exists() {
        program = "/bin/sh".into();
    }
    if process::chdir(Path::new(&home)).is_err() {
        let _ = process::chdir(Path::new("/"));
    }
    let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let ours = [("HOME", &home), ("USER", &name), ("LOGNAME", &name), ("SHELL", &program)];
    env.retain(|(key, _)| !ours.iter().any(|(name, _)| key == name));
    env.extend(ours.map(|(key, value)| (key.into(), value.clone())));
    for (key, default) in [("TERM", "linux"), ("PATH", super::DEFAULT_PATH)] {
        if !env.iter().any(|(name, _)| name == key) {
            env.push((key.into(), default.into()));
        }
    }
    // A login shell is told by the dash before its name.
    let base = Path::new(&program).file_name().unwrap_or_default();
    let mut login = OsString::from("-");
    login.push(base);
    exec_named(program.as_bytes(), &[login], &env)
}
