//! The processes of a running container written to a directory, by criu.

use super::Container;
use super::info::{self, State};
use super::power::{self, PowerError};
use crate::cgroup::{Base, CgroupError, Layout};
use crate::config::{Config, ConsolePath, Explain, NetKind};
use crate::control::client::ClientError;
use crate::runtime::criu::{self, CriuError, Images, Line};
use crate::runtime::restore::TTY_INFO;
use crate::sys::fd::OpenFlags;
use crate::sys::path::{self, Lookup, Root};
use crate::sys::{SysError, cred, dirs};
use crate::util::time::Patience;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How a container is to be dumped.
pub struct Dump {
    /// Only its memory; it goes on, and a later dump is small.
    pub pre: bool,
    /// Where such a dump is, from the images' directory.
    pub before: Option<String>,
    /// The container does not go on.
    pub stop: bool,
}

/// Why there is no checkpoint.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// An ordinary user.
    #[error("only root can checkpoint and restore")]
    NotRoot,
    /// An interface that criu cannot make again.
    #[error("lxc.net.{index} is of type {kind}, which criu cannot dump")]
    Network {
        /// Its number.
        index: u32,
        /// Its type.
        kind: &'static str,
    },
    /// Images are there.
    #[error("{} holds a dump already", .0.display())]
    Used(PathBuf),
    /// It runs no more, or not yet.
    #[error("the container is {0}")]
    State(State),
    /// criu.
    #[error(transparent)]
    Criu(#[from] CriuError),
    /// Its monitor.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The host's cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its end, after a dump.
    #[error(transparent)]
    Power(#[from] PowerError),
    /// Something of ours.
    #[error("{what}")]
    Step {
        /// What was being done.
        what: &'static str,
        /// The failed call.
        #[source]
        cause: SysError,
    },
}

impl Explain for CheckpointError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Criu(e) => e.errno(),
            Self::Client(e) => e.errno(),
            Self::Cgroup(e) => e.errno(),
            Self::Power(e) => e.errno(),
            Self::Step { cause, .. } => Some(cause.errno),
            Self::NotRoot | Self::Network { .. } | Self::Used(_) | Self::State(_) => None,
        }
    }

    fn origin(&self) -> Option<&crate::config::Origin> {
        if let Self::Criu(e) = self { e.origin() } else { None }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Criu(e) => e.hint(),
            Self::Client(e) => e.hint(),
            Self::Used(_) => Some("use a fresh directory".into()),
            Self::Network { .. } => Some("veth, macvlan, empty and none can be".into()),
            _ => None,
        }
    }
}

/// What dump and restore need before anything else.
///
/// # Errors
/// Not root; an interface that cannot be dumped; no criu.
pub fn check(config: &Config) -> Result<PathBuf, CheckpointError> {
    if cred::euid() != 0 {
        return Err(CheckpointError::NotRoot);
    }
    for (&index, net) in &config.net {
        let kind = net.kind.unwrap_or(NetKind::Empty);
        if !matches!(kind, NetKind::Veth | NetKind::Macvlan | NetKind::Empty | NetKind::None) {
            return Err(CheckpointError::Network { index, kind: kind.name() });
        }
    }
    Ok(criu::find()?)
}

/// Dumps a running container.
///
/// # Errors
/// It does not run; what [`check`] finds; criu's. The container goes on as it was then.
pub fn dump(
    container: &Container,
    config: &Config,
    images: &Images,
    how: &Dump,
) -> Result<(), CheckpointError> {
    let step = |what| move |cause| CheckpointError::Step { what, cause };
    let client = container.client();
    let status = info::status(&client)?;
    let (State::Running | State::Frozen, Some(init)) = (status.state, status.init_pid) else {
        return Err(CheckpointError::State(status.state));
    };
    let program = check(config)?;
    dirs::make_all(&images.dir, 0o700).map_err(step("making the directory"))?;
    if dirs::exists(&images.dir.join("inventory.img")) {
        return Err(CheckpointError::Used(images.dir.clone()));
    }
    let action = if how.pre { "pre-dump" } else { "dump" };
    let mut line = Line::new(&program, action, images, config)?;
    let layout = Layout::probe(Base::Init, &[])?;
    for hierarchy in &layout.hierarchies {
        let Some(path) = client.cgroup_path(hierarchy.query_name())? else { continue };
        line.cgroup(hierarchy, &path);
        if hierarchy.has("freezer") || layout.find("freezer").is_none() {
            let dir = hierarchy.mount.join(path.trim_start_matches('/'));
            line.add(&["--freeze-cgroup", &dir.to_string_lossy()]);
        }
    }
    line.add(&["-t", &init.to_string()]);
    if let Some(console) = console(config, init).map_err(step("looking at its console"))? {
        line.add(&["--external", &console]);
        let file = images.dir.join(TTY_INFO);
        dirs::replace_file(&file, console.as_bytes()).map_err(step("noting its console"))?;
    }
    if let Some(before) = &how.before {
        line.add(&["--prev-images-dir", before]);
    }
    if how.pre || how.before.is_some() {
        line.add(&["--track-mem"]);
    }
    if !how.pre {
        line.add(&["--skip-in-flight"]);
        if !how.stop {
            line.add(&["--leave-running"]);
        }
    }
    line.run(&[], &|| Ok(()))?;
    if how.stop && !how.pre {
        // criu has killed it; its monitor cleans up.
        power::wait(container, &[State::Stopped], Patience::seconds(60))?;
    }
    Ok(())
}

/// `tty[RDEV:DEV]` of the container's console, by which criu knows it; `None` without one.
fn console(config: &Config, init: i32) -> Result<Option<String>, SysError> {
    if config.console.path == Some(ConsolePath::None) {
        return Ok(None);
    }
    let root = Root::open(Path::new(&format!("/proc/{init}/root")))?;
    let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
    let Ok(file) = root.open_at(Path::new("dev/console"), flags, 0, Lookup::NoSymlinks) else {
        return Ok(None);
    };
    let facts = path::facts(file.as_fd())?;
    Ok(facts.is_char_device().then(|| format!("tty[{:x}:{:x}]", facts.rdev, facts.dev)))
}
