//! criu: the command lines that LXC runs it with, so that its images are ours and the other way
//! round, and what it says when it fails.

use crate::cgroup::{Hierarchy, Version};
use crate::config::{Config, Explain};
use crate::hook;
use crate::mount::{self, MountError, fstab};
use crate::sys::process::Wait;
use crate::sys::{SysError, dirs, fd, spawn};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where the images are and what is wanted of criu in any case.
#[derive(Clone, Debug)]
pub struct Images {
    /// `-D`, absolute.
    pub dir: PathBuf,
    /// `-v`.
    pub verbose: bool,
    /// `-A`.
    pub action_script: Option<PathBuf>,
}

/// Why a checkpoint was not made or restored.
#[derive(Debug, Error)]
pub enum CriuError {
    /// No criu.
    #[error("criu is not installed")]
    Missing,
    /// It does not even start.
    #[error("\"{program} --version\" {how}: {text}")]
    Broken {
        /// Its path.
        program: String,
        /// Its end.
        how: Wait,
        /// What it said.
        text: String,
    },
    /// LXC needs 2.0, too.
    #[error("criu {0} is too old; 2.0 is needed")]
    Old(String),
    /// It failed.
    #[error("criu {action} {how}{}{text}", if text.is_empty() { "" } else { ": " })]
    Failed {
        /// `dump`, `pre-dump` or `restore`.
        action: &'static str,
        /// Its end.
        how: Wait,
        /// The last error in its log.
        text: String,
        /// The log.
        log: PathBuf,
    },
    /// It succeeded, and where is what it made?
    #[error("criu restore has not told the number of the process")]
    NoPid,
    /// A line of the configuration.
    #[error(transparent)]
    Mounts(#[from] MountError),
    /// It cannot be run.
    #[error("running criu")]
    Run(#[source] SysError),
}

impl Explain for CriuError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Run(e) => Some(e.errno),
            Self::Mounts(e) => e.errno(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing => Some("apt install criu".into()),
            Self::Failed { log, .. } => Some(format!("the whole log is {}", log.display())),
            Self::Broken { .. } | Self::Old(_) => {
                Some("criu check tells what it lacks on this kernel".into())
            }
            _ => None,
        }
    }
}

/// The installed criu.
///
/// # Errors
/// There is none, it does not start, or it is older than 2.0.
pub fn find() -> Result<PathBuf, CriuError> {
    let places = std::env::var_os("PATH").unwrap_or_default();
    let mut all = std::env::split_paths(&places).map(|dir| dir.join("criu"));
    let path = all.find(|path| dirs::is_executable_file(path));
    let path = path.ok_or(CriuError::Missing)?;
    let program = path.to_string_lossy().into_owned();
    let done = spawn::run_program(&[&program, "--version"], &hook::inherited(), &[]);
    let done = done.map_err(CriuError::Run)?;
    let text = String::from_utf8_lossy(&done.text).trim().to_owned();
    if done.status != Wait::Exited(0) {
        let text = text.lines().last().unwrap_or_default().to_owned();
        return Err(CriuError::Broken { program, how: done.status, text });
    }
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Version:"));
    let version = version.unwrap_or_default().trim().trim_start_matches('v').to_owned();
    let major = version.split('.').next().and_then(|n| n.parse::<u32>().ok());
    if major.unwrap_or(0) < 2 {
        return Err(CriuError::Old(version));
    }
    Ok(path)
}

/// A command line that grows.
pub struct Line {
    words: Vec<String>,
    action: &'static str,
    log: PathBuf,
}

impl Line {
    /// What dump, pre-dump and restore have in common.
    ///
    /// # Errors
    /// A mount entry that cannot be read.
    pub fn new(
        criu: &Path,
        action: &'static str,
        images: &Images,
        config: &Config,
    ) -> Result<Self, CriuError> {
        let log = images.dir.join(format!("{action}.log"));
        let log_name = log.to_string_lossy().into_owned();
        let mut line = Self { words: Vec::new(), action, log };
        line.add(&[&criu.to_string_lossy(), action]);
        line.add(&["--tcp-established", "--file-locks", "--link-remap", "--manage-cgroups=full"]);
        line.add(&["--ext-mount-map", "auto", "--enable-external-sharing"]);
        line.add(&["--enable-external-masters", "--enable-fs", "hugetlbfs"]);
        line.add(&["--enable-fs", "tracefs"]);
        line.add(&["-D", &images.dir.to_string_lossy(), "-o", &log_name]);
        if images.verbose {
            line.add(&["-vvvvvv"]);
        }
        if let Some(script) = &images.action_script {
            line.add(&["--action-script", &script.to_string_lossy()]);
        }
        let mut entries = mount::load_fstab(config)?;
        entries.extend(fstab::parse_entries(&config.mount_entries)?);
        // Only what is bound from the host is not in the images.
        for entry in entries.iter().filter(|entry| entry.options.bind.is_some()) {
            let target = entry.target.to_string_lossy();
            let map = match action {
                "restore" => format!("{target}:{}", entry.source.display()),
                _ => format!("/{target}:{target}"),
            };
            line.add(&["--ext-mount-map", &map]);
        }
        Ok(line)
    }

    /// More words.
    pub fn add(&mut self, words: &[&str]) {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
    }

    /// `--cgroup-root` of a hierarchy.
    pub fn cgroup(&mut self, hierarchy: &Hierarchy, path: &str) {
        let path = format!("/{}", path.trim_start_matches('/'));
        let root = match hierarchy.version {
            Version::V1 => format!("{}:{path}", hierarchy.controllers.join(",")),
            Version::V2 => path,
        };
        self.add(&["--cgroup-root", &root]);
    }

    /// Runs it with the descriptors `keep`; `prepare` is done in its process before.
    ///
    /// # Errors
    /// With the last error line of its log.
    pub fn run(
        &self,
        keep: &[BorrowedFd<'_>],
        prepare: &dyn Fn() -> Result<(), String>,
    ) -> Result<(), CriuError> {
        log::info!("{}", self.words.join(" "));
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let done = spawn::run_prepared(&words, &hook::inherited(), keep, prepare)
            .map_err(CriuError::Run)?;
        if done.status == Wait::Exited(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.text);
        let log = fd::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let text = last_error(&log).or_else(|| said.lines().last()).unwrap_or_default();
        let text = text.trim().to_owned();
        Err(CriuError::Failed {
            action: self.action,
            how: done.status,
            text,
            log: self.log.clone(),
        })
    }
}

/// `(00.012345)     12: Error (criu/x.c:12): Can't …`: the last such line without its time, but for
/// what is said of every failure.
fn last_error(log: &str) -> Option<&str> {
    let errors = || log.lines().rev().filter_map(|line| line.find("Error (").map(|at| &line[at..]));
    let empty = |line: &&str| line.contains("FAILED") || line.contains("exited, status");
    errors().find(|line| !empty(line)).or_else(|| errors().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_that_matters_is_quoted() {
        let log = "(00.1) Warn  (a.c:1): x\n(00.2)      9: Error (criu/files.c:9): Can't dump\n\
                   (00.3) Error (criu/cr-dump.c:2): Dumping FAILED.\n(00.4) Unlock\n";
        assert_eq!(last_error(log), Some("Error (criu/files.c:9): Can't dump"));
        assert_eq!(last_error("(00.1) fine\n"), None);
        assert_eq!(last_error("Error (x): FAILED\n"), Some("Error (x): FAILED"));
    }

    #[test]
    fn bound_mounts_are_external() {
        let mut config = Config::default();
        let line = "/srv/data srv none bind,create=dir 0 0\nproc proc proc nodev 0 0";
        config.mount_entries.push(crate::config::Sourced {
            value: line.into(),
            origin: crate::config::Origin::label("test"),
        });
        let images = Images { dir: "/images".into(), verbose: false, action_script: None };
        let words = |action| Line::new(Path::new("/criu"), action, &images, &config).unwrap().words;
        let maps = |words: Vec<String>| {
            let maps = words.windows(2).filter(|pair| pair[0] == "--ext-mount-map");
            maps.map(|pair| pair[1].clone()).collect::<Vec<_>>()
        };
        assert_eq!(maps(words("dump")), ["auto", "/srv:srv"]);
        assert_eq!(maps(words("restore")), ["auto", "srv:/srv/data"]);
        assert!(words("pre-dump").contains(&"/images/pre-dump.log".to_owned()));
    }
}
