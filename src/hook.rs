//! Hook scripts: what each kind is given (arguments and environment, in both `lxc.hook.version`s),
//! in which order they run, and how a failure is told. Running itself is `sys::spawn`.
//!
//! It never decides when a hook runs: the start, stop, copy and destroy code calls [`run`] at the
//! place that runtime order demands. Start reading at [`HookContext`].

use crate::config::path::ROOTFS_MOUNT;
use crate::config::{Config, HookKind, NsKind, Origin, Sourced};
use crate::sys::SysError;
use crate::sys::process::Wait;
use crate::sys::spawn::{Script, ScriptContext, run_script};
use crate::util::blame::Explain;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How much of a failing hook's output its error repeats.
const TAIL_LINES: usize = 4;
const TAIL_BYTES: usize = 400;

/// What a stop is for: `LXC_TARGET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The container ends.
    Stop,
    /// It starts again in the same monitor.
    Reboot,
}

impl Target {
    /// The value of `LXC_TARGET`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Reboot => "reboot",
        }
    }
}

/// Everything a hook may be told. `None` leaves the variable unset, as LXC does.
#[derive(Clone, Debug, Default)]
pub struct HookContext {
    /// `LXC_NAME`.
    pub name: String,
    /// `LXC_CONFIG_FILE`.
    pub config_file: Option<PathBuf>,
    /// `LXC_ROOTFS_MOUNT`: where the root file system is mounted during the start.
    pub rootfs_mount: Option<PathBuf>,
    /// `LXC_ROOTFS_PATH`: its source, without `dir:` at a start and with it for clone hooks.
    pub rootfs_path: Option<PathBuf>,
    /// `LXC_CONSOLE`: `lxc.console.path`.
    pub console: Option<PathBuf>,
    /// `LXC_CONSOLE_LOGPATH`: `lxc.console.logfile`.
    pub console_log: Option<PathBuf>,
    /// `LXC_LOG_LEVEL`, upper case.
    pub log_level: &'static str,
    /// `lxc.hook.version`.
    pub version: u8,
    /// `LXC_PID`: init's pid as the host sees it, from the start-host hook on.
    pub pid: Option<i32>,
    /// `LXC_TARGET`, for stop and post-stop, and for what follows a reboot.
    pub target: Option<Target>,
    /// `LXC_SRC_NAME`, for clone.
    pub source_name: Option<String>,
    /// The container's namespaces as descriptors of the process that calls [`run`]: `LXC_*_NS`
    /// of stop and post-stop, and the stop hook's extra arguments in version 0.
    pub namespaces: Vec<(NsKind, i32)>,
    /// `lxc.environment` and `lxc.environment.hooks`: only hooks that run in the child get them.
    pub environment: Vec<(String, String)>,
}

impl HookContext {
    /// What is known before the start: names, paths, version and environment of `config`.
    pub fn new(config: &Config, name: &str, config_file: Option<&Path>) -> Self {
        let console = match &config.console.path {
            Some(crate::config::ConsolePath::Path(path)) => Some(path.clone()),
            Some(crate::config::ConsolePath::None) => Some(PathBuf::from("none")),
            None => None,
        };
        let environment = &config.environment;
        Self {
            name: name.to_owned(),
            config_file: config_file.map(Path::to_path_buf),
            rootfs_mount: config.rootfs.mount.clone().or_else(|| Some(ROOTFS_MOUNT.into())),
            rootfs_path: config.rootfs.path.clone(),
            console,
            console_log: config.console.logfile.clone(),
            log_level: level_name(config.log.level),
            version: config.hook_version,
            environment: environment.both.iter().chain(&environment.hooks).cloned().collect(),
            ..Self::default()
        }
    }

    /// The variables of every script, whatever its kind: the base set.
    fn base_env(&self, env: &mut Vec<(String, String)>) {
        let mut set = |key: &str, value: String| env.push((key.to_owned(), value));
        set("LXC_NAME", self.name.clone());
        let paths = [
            ("LXC_CONFIG_FILE", &self.config_file),
            ("LXC_ROOTFS_MOUNT", &self.rootfs_mount),
            ("LXC_ROOTFS_PATH", &self.rootfs_path),
            ("LXC_CONSOLE", &self.console),
            ("LXC_CONSOLE_LOGPATH", &self.console_log),
        ];
        for (key, path) in paths {
            if let Some(path) = path {
                set(key, path.to_string_lossy().into_owned());
            }
        }
        set("LXC_CGNS_AWARE", "1".to_owned());
        if !self.log_level.is_empty() {
            set("LXC_LOG_LEVEL", self.log_level.to_owned());
        }
        set("LXC_HOOK_VERSION", self.version.to_string());
        if let Some(pid) = self.pid {
            set("LXC_PID", pid.to_string());
        }
        if let Some(target) = self.target {
            set("LXC_TARGET", target.name().to_owned());
        }
        if let Some(source) = &self.source_name {
            set("LXC_SRC_NAME", source.clone());
        }
    }

    /// The whole environment of a hook of `kind`, inherited variables first; a later entry of the
    /// same name has replaced an earlier one.
    pub fn env(&self, kind: HookKind) -> Vec<(String, String)> {
        let mut env = inherited();
        if runs_in_child(kind) {
            env.extend_from_slice(&self.environment);
        }
        self.base_env(&mut env);
        let mut set = |key: &str, value: String| env.push((key.to_owned(), value));
        if matches!(kind, HookKind::Stop | HookKind::PostStop) {
            // LXC's manual promises these for version 1; its code sets them in both.
            for &(ns, fd) in &self.namespaces {
                set(&ns_variable(ns), fd_path(fd));
            }
        }
        if self.version >= 1 {
            set("LXC_HOOK_TYPE", kind.name().to_owned());
            set("LXC_HOOK_SECTION", "lxc".to_owned());
        }
        last_wins(env)
    }

    /// What network scripts get: name, version and the environment without the variables that
    /// the network code adds itself (`LXC_HOOK_TYPE`, `LXC_NET_*`).
    pub fn script_context(&self) -> ScriptContext {
        let mut env = inherited();
        self.base_env(&mut env);
        for &(ns, fd) in &self.namespaces {
            env.push((ns_variable(ns), fd_path(fd)));
        }
        ScriptContext { name: self.name.clone(), hook_version: self.version, env: last_wins(env) }
    }

    /// The arguments of a hook of `kind`, after those written in the configuration.
    pub fn args(&self, kind: HookKind, extra: &[String]) -> Vec<String> {
        let mut args = Vec::with_capacity(3 + extra.len() + self.namespaces.len());
        if self.version == 0 {
            args.extend([self.name.clone(), "lxc".to_owned(), kind.name().to_owned()]);
            if kind == HookKind::Stop {
                let namespaces = self.namespaces.iter();
                args.extend(namespaces.map(|(ns, fd)| format!("{}:{}", ns.name(), fd_path(*fd))));
            }
        }
        args.extend_from_slice(extra);
        args
    }
}

/// The calling process's descriptor as any process of the host can open it.
fn fd_path(fd: i32) -> String {
    format!("/proc/{}/fd/{fd}", std::process::id())
}

fn ns_variable(ns: NsKind) -> String {
    format!("LXC_{}_NS", ns.name().to_uppercase())
}

/// This process's own variables. One that is not UTF-8 is left out: no script of LXC's can
/// depend on it, and everything that is handed on is text.
pub fn inherited() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect()
}

/// Removes every entry that a later one of the same name replaces: a shell takes the last of two,
/// other programs the first.
fn last_wins(mut env: Vec<(String, String)>) -> Vec<(String, String)> {
    for at in (0..env.len()).rev() {
        let later = env[at + 1..].iter().any(|(key, _)| *key == env[at].0);
        if later {
            env.remove(at);
        }
    }
    env
}

/// The words of LXC's log levels, as in `LXC_LOG_LEVEL`; ERROR when `lxc.log.level` is not set.
fn level_name(level: Option<u8>) -> &'static str {
    const NAMES: [&str; 9] =
        ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "FATAL"];
    level.and_then(|l| NAMES.get(usize::from(l)).copied()).unwrap_or("ERROR")
}

/// True for the hooks that run in the container's namespaces, from the child.
pub fn runs_in_child(kind: HookKind) -> bool {
    matches!(kind, HookKind::PreMount | HookKind::Mount | HookKind::Autodev | HookKind::Start)
}

/// A hook that failed. The order of hooks ends with it.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// The script ended with another status than 0.
    #[error("hook {kind} '{script}' {end}{said}")]
    Failed {
        /// `pre-start` and so on.
        kind: &'static str,
        /// The command as written.
        script: String,
        /// `exited with status 1` or `was killed by SIGKILL`.
        end: String,
        /// `: ` and the last lines it printed; empty if it was silent.
        said: String,
        /// The exit status; `None` after a signal.
        status: Option<i32>,
        /// Where it was configured.
        origin: Origin,
    },
    /// The script could not be run at all.
    #[error("running hook {kind} '{script}'")]
    Run {
        /// `pre-start` and so on.
        kind: &'static str,
        /// The command as written.
        script: String,
        /// The failed call.
        #[source]
        source: SysError,
        /// Where it was configured.
        origin: Origin,
    },
}

impl Explain for HookError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Failed { .. } => None,
            Self::Run { source, .. } => Some(source.errno),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Failed { origin, .. } | Self::Run { origin, .. } => Some(origin),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { status: Some(126), script, .. } => {
                Some(format!("chmod +x {}", program(script)))
            }
            Self::Failed { status: Some(127), script, .. } => {
                Some(format!("ls -l {}; a path that does not exist?", program(script)))
            }
            _ => None,
        }
    }
}

/// Runs every hook of `kind` in the order of the configuration; the first failure ends it.
/// `extra` are the arguments after `--` of lxc-copy, empty elsewhere.
///
/// # In the child
/// Forks and waits; assumes one thread. Leaves no descriptor open and no process behind.
pub fn run(
    kind: HookKind,
    hooks: &[Sourced<String>],
    context: &HookContext,
    extra: &[String],
) -> Result<(), HookError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let env = context.env(kind);
    let args = context.args(kind, extra);
    for hook in hooks {
        log::debug!("running hook {} '{}' ({})", kind.name(), hook.value, hook.origin);
        let script = Script { command: &hook.value, args: &args, env: &env, fds: &[] };
        let output = run_script(&script).map_err(|source| HookError::Run {
            kind: kind.name(),
            script: hook.value.clone(),
            source,
            origin: hook.origin.clone(),
        })?;
        for line in String::from_utf8_lossy(&output.text).lines() {
            log::debug!("hook {} '{}': {line}", kind.name(), hook.value);
        }
        let status = match output.status {
            Wait::Exited(0) | Wait::Running => continue,
            Wait::Exited(n) => Some(n),
            Wait::Signaled(_) => None,
        };
        return Err(HookError::Failed {
            kind: kind.name(),
            script: hook.value.clone(),
            end: output.status.to_string(),
            said: tail(&output.text),
            status,
            origin: hook.origin.clone(),
        });
    }
    Ok(())
}

/// The program of a hook's command line: its first word. Shell quoting is not undone: a command
/// that begins with it is left to the shell.
fn program(command: &str) -> &str {
    command.split_ascii_whitespace().next().unwrap_or_default()
}

/// `: ` and the last lines of `text`, joined by ` | `, with control characters made visible: what
/// a script prints must not move the reader's cursor.
fn tail(text: &[u8]) -> String {
    let text = &text[text.len().saturating_sub(TAIL_BYTES)..];
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let lines = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let mut out = String::new();
    for (n, line) in lines.iter().enumerate() {
        out.push_str(if n == 0 { ": " } else { " | " });
        for c in line.chars() {
            if c.is_control() {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            } else {
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(version: u8) -> HookContext {
        HookContext {
            name: "c1".into(),
            config_file: Some("/lxc/c1/config".into()),
            rootfs_mount: Some("/m".into()),
            rootfs_path: Some("/lxc/c1/rootfs".into()),
            log_level: "ERROR",
            version,
            pid: Some(7),
            target: Some(Target::Reboot),
            namespaces: vec![(NsKind::Mnt, 5), (NsKind::Net, 6)],
            environment: vec![("FOO".into(), "bar".into())],
            ..HookContext::default()
        }
    }

    fn get<'a>(env: &'a [(String, String)], key: &str) -> Option<&'a str> {
        env.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    #[test]
    fn version_0_tells_by_arguments() {
        let context = context(0);
        let me = std::process::id();
        let extra = ["x".to_owned()];
        assert_eq!(context.args(HookKind::PreStart, &extra), ["c1", "lxc", "pre-start", "x"]);
        let stop = context.args(HookKind::Stop, &[]);
        let want = [format!("mnt:/proc/{me}/fd/5"), format!("net:/proc/{me}/fd/6")];
        assert_eq!(stop[3..], want);
        let env = context.env(HookKind::PreStart);
        assert_eq!(get(&env, "LXC_HOOK_TYPE"), None);
        assert_eq!(get(&env, "LXC_HOOK_VERSION"), Some("0"));
        assert_eq!(get(&env, "LXC_CONSOLE"), None);
        assert_eq!(get(&env, "LXC_TARGET"), Some("reboot"));
        assert_eq!(get(&env, "FOO"), None, "host hooks do not get lxc.environment");
    }

    #[test]
    fn version_1_tells_by_environment() {
        let context = context(1);
        assert!(context.args(HookKind::Stop, &[]).is_empty());
        let env = context.env(HookKind::Mount);
        assert_eq!(get(&env, "LXC_HOOK_TYPE"), Some("mount"));
        assert_eq!(get(&env, "LXC_HOOK_SECTION"), Some("lxc"));
        assert_eq!(get(&env, "FOO"), Some("bar"));
        assert_eq!(get(&env, "LXC_MNT_NS"), None);
        let env = context.env(HookKind::PostStop);
        assert!(get(&env, "LXC_NET_NS").is_some_and(|v| v.ends_with("/fd/6")));
    }

    #[test]
    fn lxc_environment_cannot_pose_as_lxc_name() {
        let mut context = context(0);
        context.environment.push(("LXC_NAME".into(), "other".into()));
        assert_eq!(get(&context.env(HookKind::Start), "LXC_NAME"), Some("c1"));
    }

    #[test]
    fn the_last_lines_are_repeated_and_harmless() {
        assert_eq!(tail(b""), "");
        assert_eq!(tail(b"1\n2\n3\n\n4\n\x1b[2J5\n"), ": 2 | 3 | 4 | \\x1b[2J5");
        let long = tail(&[b'x'; 5000]);
        assert_eq!(long.len(), TAIL_BYTES + 2);
    }
}
