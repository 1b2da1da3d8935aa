//! Starting a container: from what the user said to a running monitor. Used by lxc-start and
//! lxc-execute.

use super::lock::{self, Partial};
use super::{Container, destroy};
use crate::config::document::{self, Loaded};
use crate::config::keys::Options;
use crate::config::path::{System, Who};
use crate::config::{Config, ConfigError, Explain, Origin};
use crate::logging::LogError;
use crate::runtime::daemon::Mode;
use crate::runtime::plan::{Request, StartPlan};
use crate::runtime::supervise::{self, Ended, Supervise};
use crate::runtime::sync::Failure;
use crate::sys::error::SysError;
use crate::sys::{cred, heap};
use crate::util::sentence::sentence;
use std::path::PathBuf;

/// What the caller wants.
#[derive(Debug)]
pub struct Start {
    /// The container.
    pub container: Container,
    /// A configuration file instead of the container's own.
    pub rcfile: Option<PathBuf>,
    /// `KEY=VALUE` of the command line with the option each came from, applied after loading.
    pub defines: Vec<(String, &'static str)>,
    /// The program to run instead of the configured one.
    pub command: Vec<String>,
    /// Run it below our own init.
    pub execute: bool,
    /// Which then says nothing.
    pub quiet: bool,
    /// In the background or on the caller's terminal.
    pub mode: Mode,
    /// Where to write the supervisor's number.
    pub pidfile: Option<PathBuf>,
}

/// Why there is nothing to start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No such container.
    #[error("there is no container of this name: no configuration file \"{}\"", file.display())]
    Undefined {
        /// The file that is missing.
        file: PathBuf,
    },
    /// Only settings of the command line, and no file.
    #[error("starting with no configuration file would run the container on the host's root")]
    NoFile,
    /// The configuration is broken.
    #[error("the configuration cannot be used")]
    Config(#[source] ConfigError),
    /// lxc-create is at it, or was interrupted.
    #[error("{}", if *running { "lxc-create is still at work on it" } else { "its creation was interrupted: it is incomplete" })]
    Partial {
        /// It goes on right now.
        running: bool,
        /// The container's name.
        name: String,
    },
    /// The marker cannot be read.
    #[error("its creation marker cannot be checked")]
    Marker(#[source] SysError),
    /// The log that the configuration names.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The start itself.
    #[error(transparent)]
    Start(#[from] Failure),
}

impl Explain for StartError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Config(e) => e.errno(),
            Self::Start(e) => e.errno(),
            Self::Log(e) => e.errno(),
            Self::Marker(e) => e.errno(),
            _ => None,
        }
    }
    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Config(e) => e.origin(),
            Self::Start(e) => e.origin(),
            _ => None,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Config(e) => e.hint(),
            Self::Start(e) => e.hint(),
            Self::Undefined { .. } => {
                Some("lxc-ls shows what there is; lxc-create makes one".into())
            }
            Self::NoFile => Some("give one with --rcfile FILE".into()),
            Self::Partial { running: false, name } => {
                Some(format!("lxc-destroy -n {name}, then lxc-create it again"))
            }
            _ => None,
        }
    }
}

/// A configuration that is ready to be planned, with what should be said about it.
pub struct Prepared {
    /// The plan's input.
    pub config: Config,
    /// Old spellings and the like.
    pub warnings: Vec<String>,
    request: Request,
}

impl Start {
    /// Loads the configuration, applies the settings of the command line and the host's.
    ///
    /// # Errors
    /// No such container, a broken configuration, an interrupted creation.
    pub fn prepare(&self) -> Result<Prepared, StartError> {
        // What is read and planned here ends up in the monitor.
        heap::live_on();
        let name = self.container.name().to_string();
        match lock::partial(&self.container).map_err(StartError::Marker)? {
            Partial::None => {}
            Partial::Running => return Err(StartError::Partial { running: true, name }),
            Partial::Aborted => return Err(StartError::Partial { running: false, name }),
        }
        let options = Options::default();
        let file = self.rcfile.clone().unwrap_or_else(|| self.container.config_file());
        let exists = self.rcfile.is_some() || file.exists();
        let mut loaded = if exists {
            document::load(&file, &options).map_err(StartError::Config)?
        } else if self.defines.is_empty() {
            return Err(StartError::Undefined { file });
        } else {
            Loaded::new(&file)
        };
        for (text, option) in &self.defines {
            loaded.define(text, &Origin::label(option), &options).map_err(StartError::Config)?;
        }
        if !exists && loaded.config.rootfs.path.is_none() {
            return Err(StartError::NoFile);
        }
        let who = Who::new(cred::euid(), std::env::var_os("HOME").map(PathBuf::from));
        let system = System::load(who).map_err(StartError::Config)?;
        let mut warnings = loaded.warnings;
        warnings.extend(system.warnings.iter().cloned());
        let request = Request {
            name,
            lxcpath: self.container.lxcpath().to_path_buf(),
            config_file: exists.then_some(file),
            command: self.command.clone(),
            execute: self.execute,
            quiet: self.quiet,
            cgroup_pattern: system.cgroup_pattern().map(str::to_string),
            cgroup_use: system
                .cgroup_use()
                .map(|all| all.into_iter().map(str::to_string).collect()),
            foreground: self.mode == Mode::Foreground,
            restore: None,
        };
        Ok(Prepared { config: loaded.config, warnings, request })
    }

    /// Plans what was prepared; from here on its `lxc.log.*` are obeyed.
    ///
    /// # Errors
    /// The log cannot be opened; what the plan refuses.
    pub fn plan(&self, prepared: Prepared) -> Result<Box<StartPlan>, StartError> {
        let log = &prepared.config.log;
        crate::logging::adopt(log.file.as_deref(), log.level, log.syslog.as_deref())?;
        let plan = StartPlan::new(prepared.config, prepared.request)?;
        plan.notes.iter().for_each(|note| log::warn!("{note}"));
        Ok(plan)
    }

    /// Starts what was planned. `None` when a daemon supervises it now; else how init ended.
    /// A tool that works on the files of the stopped container is waited for, and `waits` called.
    ///
    /// # Errors
    /// The failure, after everything has been undone.
    pub fn run(
        self,
        mut plan: Box<StartPlan>,
        waits: &dyn Fn(),
    ) -> Result<Option<Ended>, StartError> {
        let server = loop {
            let server = supervise::bind(&plan).map_err(StartError::Start)?;
            // Such a tool takes the lock and then looks if the container is stopped: one of us sees
            // the other. The name is not kept meanwhile, as nobody would answer for it.
            let Some(held) = lock::held(&self.container) else { break server };
            drop(server);
            waits();
            held.wait().map_err(StartError::Marker)?;
            let restore = plan.request.restore.take();
            plan = self.plan(self.prepare()?)?;
            plan.request.restore = restore;
        };
        let container = self.container;
        let supervise = Supervise {
            plan,
            pidfile: self.pidfile,
            destroy: Box::new(move || destroy::destroy_ended(&container).map_err(|e| sentence(&e))),
        };
        supervise::start(supervise, server, self.mode).map_err(StartError::Start)
    }
}

impl Prepared {
    /// The plan alone, for `--dry-run`.
    ///
    /// # Errors
    /// What a start would refuse.
    pub fn plan(self) -> Result<Box<StartPlan>, Failure> {
        StartPlan::new(self.config, self.request)
    }
}
