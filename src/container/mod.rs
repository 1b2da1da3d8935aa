//! A named container below a container path: where its files are, loading and locking it,
//! enumerating, and the life-cycle verbs that are not a start.

pub mod autostart;
pub mod checkpoint;
pub mod console;
pub mod copy;
pub mod create;
pub mod depends;
pub mod destroy;
pub mod device;
pub mod guest;
pub mod info;
mod interrupts;
pub mod list;
pub mod live;
pub mod lock;
pub mod logs;
pub mod mend;
mod nested;
pub mod observe;
pub mod power;
pub mod restore;
pub mod settings;
pub mod snapshot;
pub mod start;
pub mod survey;
pub mod template;
pub mod transfer;
pub mod usage;

use crate::config::ConfigError;
use crate::config::document::{self, Loaded};
use crate::config::keys::Options;
use crate::config::path::{self, System, Who};
use crate::sys::{cred, errno};
use crate::util::name::{self, NameError};
use std::path::{Path, PathBuf};

/// Whose containers and settings this process works with.
pub fn who() -> Who {
    Who::new(cred::euid(), std::env::var_os("HOME").map(PathBuf::from))
}

/// The host's settings, from lxc.conf.
pub fn system() -> Result<System, ConfigError> {
    System::load(who())
}

/// Where run-time files of this user are.
pub fn run_dir() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    path::run_dir(cred::euid(), cred::egid(), var("XDG_RUNTIME_DIR"), var("HOME"))
}

/// A container by path and name; it need not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    lxcpath: PathBuf,
    name: String,
    /// Read in the place of the config file.
    rcfile: Option<PathBuf>,
}

impl Container {
    /// Errors: a name that no container can have.
    pub fn new(lxcpath: PathBuf, container: &str) -> Result<Self, NameError> {
        name::check(container)?;
        Ok(Self { lxcpath, name: container.to_owned(), rcfile: None })
    }

    /// The same container, whose configuration is read from `rcfile` if there is one. What is
    /// written goes to its own file.
    #[must_use]
    pub fn with_rcfile(mut self, rcfile: Option<PathBuf>) -> Self {
        self.rcfile = rcfile;
        self
    }

    /// The directory that holds the container's directory.
    pub fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `LXCPATH/NAME`.
    pub fn dir(&self) -> PathBuf {
        self.lxcpath.join(&self.name)
    }

    /// `LXCPATH/NAME/config`.
    pub fn config_file(&self) -> PathBuf {
        self.dir().join("config")
    }

    /// `LXCPATH/NAME/rootfs`: where the dir backend keeps the root file system.
    pub fn rootfs_dir(&self) -> PathBuf {
        self.dir().join("rootfs")
    }

    /// `LXCPATH/NAME/snaps`, or `LXCPATHsnaps/NAME` where LXC 1 made that.
    pub fn snaps_dir(&self) -> PathBuf {
        let mut old = self.lxcpath.clone().into_os_string();
        old.push("snaps");
        let old = PathBuf::from(old).join(&self.name);
        if old.is_dir() { old } else { self.dir().join("snaps") }
    }

    /// Reads its configuration.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let own = || self.config_file();
        document::load(&self.rcfile.clone().unwrap_or_else(own), &Options::default())
    }

    /// The same for one that runs: lxc-execute makes containers without a file.
    ///
    /// # Errors
    /// There is a file, and it cannot be read or understood.
    pub fn load_of_running(&self) -> Result<Loaded, ConfigError> {
        match self.load() {
            Err(ConfigError::Read { cause, .. }) if cause.is(errno::ENOENT) => {
                Ok(Loaded::default())
            }
            loaded => loaded,
        }
    }

    /// True if it has a config file that we may read (LXC's "defined").
    pub fn is_defined(&self) -> bool {
        crate::sys::dirs::is_readable_file(&self.config_file())
    }

    /// True if it is defined or has a configuration in the place of that.
    pub fn has_config(&self) -> bool {
        self.rcfile.is_some() || self.is_defined()
    }
}
