//! What is examined: this host, a tree of files that looks like one, or another kernel's .config.

use super::kconfig::{self, Kconfig};
use super::modules::Modules;
use crate::sys::passwd::{self, User};
use crate::sys::{cred, fd, probe};
use std::path::{Path, PathBuf};

/// Where the kernel's configuration is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// This file.
    Found(PathBuf),
    /// None of the usual places has it.
    Nowhere,
}

/// What is examined, with what was read of it beforehand.
pub struct Host {
    root: PathBuf,
    /// The kernel runs: it can be asked. Else only its configuration is there.
    pub live: bool,
    /// Who asks.
    pub(super) euid: u32,
    pub(super) egid: u32,
    pub(super) user: Option<User>,
    /// Where containers are.
    pub(super) lxcpath: PathBuf,
    /// `uname -r`.
    pub release: String,
    /// The words that the kernel was booted with.
    pub cmdline: String,
    pub(super) config: Option<Kconfig>,
    pub(super) modules: Modules,
    pub(super) mountinfo: String,
}

/// A configuration that was asked for and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CONFIG: {0}")]
pub struct ConfigError(String);

impl crate::util::blame::Explain for ConfigError {}

impl Host {
    /// This host, whose containers are in `lxcpath`.
    pub fn this(lxcpath: &Path) -> Self {
        Self::below(Path::new("/"), lxcpath, &probe::release(), cred::euid())
    }

    /// A host whose files are below `root`, seen by the user `euid`.
    pub(super) fn below(root: &Path, lxcpath: &Path, release: &str, euid: u32) -> Self {
        let read = |name: &str| fd::read_to_string(root.join(name)).unwrap_or_default();
        let places = kconfig::places(root, release);
        let users = passwd::parse_users(&read("etc/passwd"));
        Self {
            live: true,
            euid,
            egid: cred::egid(),
            user: passwd::by_uid(&users, euid).cloned(),
            lxcpath: lxcpath.to_owned(),
            release: release.to_owned(),
            cmdline: read("proc/cmdline").trim().to_owned(),
            config: places.iter().find_map(|place| Kconfig::read(place).ok()),
            modules: Modules::read(root, release),
            mountinfo: read("proc/self/mountinfo"),
            root: root.to_owned(),
        }
    }

    /// Another kernel: nothing is known of it but this configuration.
    ///
    /// # Errors
    /// It cannot be read or is none.
    pub fn other(config: &Path) -> Result<Self, ConfigError> {
        let config = Kconfig::read(config).map_err(|e| ConfigError(e.to_string()))?;
        Ok(Self {
            root: PathBuf::new(),
            live: false,
            euid: 0,
            egid: 0,
            user: None,
            lxcpath: PathBuf::new(),
            release: String::new(),
            cmdline: String::new(),
            config: Some(config),
            modules: Modules::default(),
            mountinfo: String::new(),
        })
    }

    /// The file that says how the kernel was built.
    pub fn config_source(&self) -> ConfigSource {
        self.config.as_ref().map_or(ConfigSource::Nowhere, |c| ConfigSource::Found(c.path.clone()))
    }

    /// True if this is the machine that we run on, so that trials mean something.
    pub(super) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A path of the host.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The content of a file of the host without white space around it.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        fd::read_to_string(self.path(name)).ok().map(|text| text.trim().to_owned())
    }

    /// The first number in a file of the host.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.read(name)?.split_whitespace().next()?.parse().ok()
    }

    /// Points where a cgroup file system of version 1 or 2 is mounted.
    pub(super) fn cgroup_mounts(&self, v2: bool) -> Vec<&str> {
        let mut found = Vec::new();
        for line in self.mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let kind = right.split(' ').next();
            let point = left.split(' ').nth(4);
            if let (Some(kind), Some(point)) = (kind, point) {
                if kind == if v2 { "cgroup2" } else { "cgroup" } && !found.contains(&point) {
                    found.push(point);
                }
            }
        }
        found
    }

    /// True if a hierarchy of version 1 is mounted.
    pub(super) fn has_v1(&self) -> bool {
        !self.cgroup_mounts(false).is_empty()
    }
}
