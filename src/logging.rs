//! The log: which level, which file, LXC's line format, and the macros `log::error!`, `warn!`,
//! `info!` and `debug!`, which take what `format!` takes.
//!
//! A log line is `PROG NAME YYYYMMDDHHMMSS.mmm LEVEL    category - file:func:line - message`,
//! UTC. Until [`start`] or [`configure`] opens something, nothing is formatted at all. A starting
//! container's child redirects its lines with [`set_sink`] to its monitor.

use crate::sys::{self, SysError};
use crate::util::blame::Explain;
use crate::util::quote::quoted;
use crate::util::time::Utc;
use std::fmt::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where LXC writes the logs of containers in the default path.
pub const LOGPATH: &str = "/var/log/lxc";

/// LXC's nine levels; the numbers are those of `lxc.log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "LXC's names")]
pub enum Priority {
    Trace = 0,
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
    Alert,
    Fatal,
}

/// What a line of ours can have; the graver, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was asked for failed.
    Error = 1,
    /// It is done, but not quite as asked.
    Warn,
    /// What happened.
    Info,
    /// How it happened.
    Debug,
}

impl Level {
    /// By its number; what is none is the least grave.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Error,
            2 => Self::Warn,
            3 => Self::Info,
            _ => Self::Debug,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

/// The [`Level`] up to which lines are written; 0 while nothing is open.
static MAX: AtomicU8 = AtomicU8::new(0);

/// Whether lines of that level are written, so that others need not be formatted.
pub fn wanted(level: Level) -> bool {
    level as u8 <= MAX.load(Ordering::Relaxed)
}

/// Writes a line of the level from `file` and `line`, which is not part of it: `log::warn!(…)`.
#[macro_export]
macro_rules! log_line {
    ($level:ident, $($arg:tt)+) => {
        if $crate::logging::wanted($crate::logging::Level::$level) {
            let level = $crate::logging::Level::$level;
            $crate::logging::line(level, file!(), line!(), format_args!($($arg)+));
        }
    };
}

/// Logs that something failed.
#[macro_export]
macro_rules! error { ($($arg:tt)+) => { $crate::log_line!(Error, $($arg)+) } }

/// Logs what is not quite as asked.
#[macro_export]
macro_rules! warn { ($($arg:tt)+) => { $crate::log_line!(Warn, $($arg)+) } }

/// Logs what happened.
#[macro_export]
macro_rules! info { ($($arg:tt)+) => { $crate::log_line!(Info, $($arg)+) } }

/// Logs how it happened.
#[macro_export]
macro_rules! debug { ($($arg:tt)+) => { $crate::log_line!(Debug, $($arg)+) } }

const PRIORITIES: [(Priority, &str); 9] = [
    (Priority::Trace, "TRACE"),
    (Priority::Debug, "DEBUG"),
    (Priority::Info, "INFO"),
    (Priority::Notice, "NOTICE"),
    (Priority::Warn, "WARN"),
    (Priority::Error, "ERROR"),
    (Priority::Crit, "CRIT"),
    (Priority::Alert, "ALERT"),
    (Priority::Fatal, "FATAL"),
];

impl Priority {
    /// By name, any case.
    pub fn parse(text: &str) -> Option<Self> {
        PRIORITIES.iter().find(|(_, n)| n.eq_ignore_ascii_case(text)).map(|&(p, _)| p)
    }

    /// By LXC's number (`lxc.log.level = 1`).
    pub fn from_number(number: u8) -> Option<Self> {
        PRIORITIES.get(usize::from(number)).map(|&(p, _)| p)
    }

    /// Upper case.
    pub fn name(self) -> &'static str {
        PRIORITIES.iter().find(|(p, _)| *p == self).map_or("", |&(_, n)| n)
    }

    /// Ours is a coarser scale: what lies between is counted to the more talkative side.
    fn level(self) -> Level {
        match self {
            Self::Trace | Self::Debug => Level::Debug,
            Self::Info | Self::Notice => Level::Info,
            Self::Warn => Level::Warn,
            _ => Level::Error,
        }
    }
}

/// What a tool's command line says about its log.
pub struct Setup<'a> {
    /// The tool.
    pub prog: &'a str,
    /// The container.
    pub container: Option<&'a str>,
    /// Its path.
    pub lxcpath: &'a Path,
    /// `-o`.
    pub file: Option<&'a Path>,
    /// `-l`.
    pub priority: Option<Priority>,
    /// Where the log goes when only `-l` was given.
    pub default_place: DefaultPlace,
}

/// Which default log file comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultPlace {
    /// [`LOGPATH`]`/NAME.log`: the system's container path, as root.
    System,
    /// `LXCPATH/NAME/NAME.log`.
    Container,
}

/// The log cannot be written where the user wants it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Opening the file failed.
    #[error("opening the log file {}", quoted(.0))]
    Open(PathBuf, #[source] SysError),
    /// Reaching the system log failed.
    #[error("opening the system log for facility {}", quoted(.0))]
    Syslog(String, #[source] SysError),
    /// Not one of syslog's facilities.
    #[error("unknown syslog facility {}", quoted(.0))]
    Facility(String),
}

impl Explain for LogError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Open(_, e) | Self::Syslog(_, e) => Some(e.errno),
            Self::Facility(_) => None,
        }
    }
}

/// A line on its way out, for a sink.
pub struct Line<'a> {
    /// How grave.
    pub level: Level,
    /// The text, one line.
    pub text: &'a str,
}

/// Takes lines elsewhere than to the file.
pub type Sink = Box<dyn FnMut(&Line<'_>) + Send>;

struct State {
    prog: String,
    container: Option<String>,
    /// What the command line asked for.
    priority: Option<Priority>,
    file: Option<OwnedFd>,
    syslog: Option<Syslog>,
    sink: Option<Sink>,
}

struct Syslog {
    socket: std::os::unix::net::UnixDatagram,
    facility: u8,
}

/// One thread, so never contended.
static STATE: Mutex<State> = Mutex::new(State {
    prog: String::new(),
    container: None,
    priority: None,
    file: None,
    syslog: None,
    sink: None,
});

/// Takes the command line's word: with `-o` that file, with `-l` alone the default one, with
/// neither no log at all.
///
/// Errors: the file of `-o` cannot be opened. Trouble with a default file is ignored, as in LXC.
pub fn start(setup: &Setup<'_>) -> Result<(), LogError> {
    with_state(|state| {
        state.prog = setup.prog.to_owned();
        state.container = setup.container.map(str::to_owned);
        state.priority = setup.priority;
    });
    if let Some(file) = setup.file {
        return configure(Some(file), setup.priority);
    }
    let Some(priority) = setup.priority else { return Ok(()) };
    let Some(name) = setup.container else { return Ok(()) };
    let system = Path::new(LOGPATH).join(format!("{name}.log"));
    let own = setup.lxcpath.join(name).join(format!("{name}.log"));
    let places = match setup.default_place {
        DefaultPlace::System if sys::cred::euid() == 0 => [system.clone(), own, system],
        _ => [own.clone(), system, own],
    };
    for (n, place) in places.iter().take(2).enumerate() {
        // Only the system's log directory is made; a missing container directory stays so.
        if place.starts_with(LOGPATH) {
            let _ = sys::dirs::make_all(Path::new(LOGPATH), 0o755);
        }
        match configure(Some(place), Some(priority)) {
            Ok(()) => break,
            Err(e) => log::debug!("log file {n}: {e}"),
        }
    }
    Ok(())
}

/// Opens `file` for appending (0640) in place of the present one and sets the level (default
/// error). Used for `-o` and, in a monitor, for `lxc.log.file` and `lxc.log.level`.
pub fn configure(file: Option<&Path>, priority: Option<Priority>) -> Result<(), LogError> {
    if let Some(path) = file {
        let fd =
            sys::dirs::open_append(path, 0o640).map_err(|e| LogError::Open(path.to_owned(), e))?;
        with_state(|state| state.file = Some(fd));
    }
    enable(priority.unwrap_or(Priority::Error));
    Ok(())
}

/// Takes a configuration's word on the log (`lxc.log.file`, `lxc.log.level`, `lxc.log.syslog`)
/// where the command line said nothing: `-o` and `-l` win, as in LXC.
///
/// # Errors
/// The file or the system log cannot be opened, or the facility is none.
pub fn adopt(file: Option<&Path>, level: Option<u8>, syslog: Option<&str>) -> Result<(), LogError> {
    let (has_file, asked) = with_state(|state| (state.file.is_some(), state.priority));
    let priority = asked.or(level.and_then(Priority::from_number));
    if let Some(file) = file.filter(|_| !has_file) {
        configure(Some(file), priority)?;
    } else if has_file {
        enable(priority.unwrap_or(Priority::Error));
    }
    if let Some(facility) = syslog {
        configure_syslog(facility)?;
        enable(priority.unwrap_or(Priority::Error));
    }
    Ok(())
}

/// Sends lines to the system log as well (`lxc.log.syslog`).
pub fn configure_syslog(facility: &str) -> Result<(), LogError> {
    let number = FACILITIES
        .iter()
        .find(|(name, _)| *name == facility)
        .map(|&(_, n)| n)
        .ok_or_else(|| LogError::Facility(facility.to_owned()))?;
    let failed = |e: std::io::Error| {
        LogError::Syslog(facility.to_owned(), SysError::io("connect", "/dev/log", &e))
    };
    let socket = std::os::unix::net::UnixDatagram::unbound().map_err(failed)?;
    socket.connect("/dev/log").map_err(failed)?;
    with_state(|state| state.syslog = Some(Syslog { socket, facility: number }));
    if !wanted(Level::Error) {
        enable(Priority::Error);
    }
    Ok(())
}

/// syslog(3).
const FACILITIES: [(&str, u8); 17] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

fn enable(priority: Priority) {
    MAX.store(priority.level() as u8, Ordering::Relaxed);
}

/// From here on lines go to `sink` and neither to the file nor to syslog.
///
/// # In the child
/// The sink owns what it writes to; it must not fail loudly and must not log.
pub fn set_sink(sink: Sink) {
    with_state(|state| state.sink = Some(sink));
}

/// Writes a line that another process logged (a child, over its socket).
pub fn forward(level: u8, text: &str) {
    let level = Level::from_number(level);
    if wanted(level) {
        write_line(level, "", 0, text);
    }
}

/// The open log file, which must survive a daemon's closing of descriptors.
pub fn file_number() -> Option<i32> {
    use std::os::fd::AsRawFd;
    with_state(|state| state.file.as_ref().map(AsRawFd::as_raw_fd))
}

fn with_state<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(&mut STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Writes a line; for the macros, which have asked whether it is [`wanted`].
pub fn line(level: Level, file: &'static str, line: u32, text: fmt::Arguments<'_>) {
    write_line(level, file, line, &text.to_string());
}

fn write_line(level: Level, file: &str, line: u32, text: &str) {
    // A value from a config or a rootfs must not forge a line of its own.
    let text = text.replace(['\n', '\r'], " ");
    // A sink or a failing write that logs again would find the lock taken: drop that line.
    let Ok(mut state) = STATE.try_lock() else { return };
    let state = &mut *state;
    if let Some(sink) = &mut state.sink {
        sink(&Line { level, text: &text });
        return;
    }
    if let Some(syslog) = &state.syslog {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug => 7,
        };
        let priority = (syslog.facility << 3) | severity;
        let name = state.container.as_deref().unwrap_or_default();
        let message = format!("<{priority}>{}: {name}: {text}", state.prog);
        let _ = syslog.socket.send(message.as_bytes());
    }
    if let Some(fd) = &state.file {
        let entry =
            format_line(&state.prog, state.container.as_deref(), now(), level, file, line, &text);
        let _ = sys::fd::write_once(fd.as_fd(), entry.as_bytes());
    }
}

fn now() -> (i64, u32) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or_default(), since.subsec_millis())
}

#[allow(clippy::too_many_arguments, reason = "the fields of a log line, in order")]
fn format_line(
    prog: &str,
    container: Option<&str>,
    (seconds, millis): (i64, u32),
    level: Level,
    file: &str,
    line: u32,
    text: &str,
) -> String {
    // The module. A line of the child has no place.
    let module = file.strip_suffix(".rs").unwrap_or("child");
    let module = module.strip_suffix("/mod").unwrap_or(module);
    let category = module.rsplit('/').next().unwrap_or(module);
    let stamp = Utc::from_unix(seconds).compact();
    let mut entry = String::with_capacity(96 + text.len());
    let _ = write!(entry, "{prog} ");
    if let Some(name) = container {
        let _ = write!(entry, "{name} ");
    }
    let _ = writeln!(
        entry,
        "{stamp}.{millis:03} {:<8} {category} - {file}:{category}:{line} - {text}",
        level.name()
    );
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_lxcs_fields() {
        let line = format_line(
            "lxc-start",
            Some("c1"),
            (1_700_000_000, 7),
            Level::Warn,
            "src/net/veth.rs",
            12,
            "no carrier",
        );
        assert_eq!(
            line,
            "lxc-start c1 20231114221320.007 WARN     veth - src/net/veth.rs:veth:12 - no carrier\n"
        );
    }

    #[test]
    fn priorities_have_lxcs_names_and_numbers() {
        assert_eq!(Priority::parse("debug"), Some(Priority::Debug));
        assert_eq!(Priority::parse("FATAL"), Priority::from_number(8));
        assert_eq!(Priority::parse("verbose"), None);
        assert_eq!(Priority::Notice.level(), Level::Info);
        assert_eq!(Priority::from_number(9), None);
    }
}
