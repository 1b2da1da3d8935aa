//! A running container as it can be changed: the limits and devices of its cgroups. The monitor
//! is asked where they are, and told where it decides itself.

use super::Container;
use super::info::{self, State};
use super::interrupts::Interrupted;
use super::lock::LockError;
use crate::cgroup::devices::{DeviceLine, DeviceLineError};
use crate::cgroup::item::{self, Item};
use crate::cgroup::{Base, CgroupError, Fault, Hierarchy, Layout};
use crate::config::ConfigError;
use crate::control::client::{Client, ClientError};
use crate::control::proto::DeviceRule;
use crate::limits::LimitError;
use crate::mount::MountError;
use crate::net::NetError;
use crate::runtime::attach::AttachError;
use crate::storage::StorageError;
use crate::sys::{SysError, cred};
use crate::util::blame::{Explain, Origin, boxed};
use std::path::PathBuf;

/// Why a running container cannot be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// There is nothing that runs.
    #[error("'{}:{name}' is not running", lxcpath.display())]
    NotRunning {
        /// Its path.
        lxcpath: PathBuf,
        /// Its name.
        name: String,
    },
    /// The monitor.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Its init.
    #[error(transparent)]
    Hold(Box<AttachError>),
    /// A network device.
    #[error(transparent)]
    Net(Box<NetError>),
    /// Something of the host or of the container.
    #[error("{what} {}", path.display())]
    System {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: SysError,
    },
    /// Its configuration.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// A limit of its processes or a setting of its namespaces.
    #[error(transparent)]
    Limit(Box<LimitError>),
    /// Another tool works on it.
    #[error(transparent)]
    Lock(Box<LockError>),
    /// Its root file system.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Mounting it.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A signal came.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A key that only a start looks at.
    #[error("{key} cannot be changed while the container runs: it needs a restart")]
    Fixed {
        /// The key.
        key: String,
    },
    /// What is named is not what it has to be.
    #[error("{}: {why}", path.display())]
    Unfit {
        /// What.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
}

boxed! {
    LiveError: Hold(AttachError), Net(NetError), Config(ConfigError), Limit(LimitError),
    Lock(LockError),
}

impl LiveError {
    /// The signal that ended the work.
    pub fn interrupted(&self) -> Option<i32> {
        match self {
            Self::Interrupted(Interrupted(signal)) => Some(*signal),
            _ => None,
        }
    }

    fn inner(&self) -> Option<&dyn Explain> {
        match self {
            Self::Client(e) => Some(e),
            Self::Cgroup(e) => Some(&**e),
            Self::Hold(e) => Some(&**e),
            Self::Net(e) => Some(&**e),
            Self::Config(e) => Some(&**e),
            Self::Limit(e) => Some(&**e),
            Self::Lock(e) => Some(&**e),
            Self::Storage(e) => Some(&**e),
            Self::Mount(e) => Some(&**e),
            _ => None,
        }
    }
}

impl Explain for LiveError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::System { source, .. } => Some(source.errno),
            _ => self.inner()?.errno(),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        self.inner()?.origin()
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => Some("lxc-ls -f lists what runs".to_owned()),
            Self::Fixed { .. } => {
                Some("without --live the file is changed, for the next start".to_owned())
            }
            _ => self.inner()?.hint(),
        }
    }
}

/// The cgroups of a running container.
pub struct Cgroups {
    client: Client,
    layout: Layout,
}

/// The way to the monitor of a container that runs.
///
/// # Errors
/// It does not, or the monitor does not answer.
pub fn running(container: &Container) -> Result<Client, LiveError> {
    let client = container.client();
    match info::state(&client)? {
        State::Stopped => Err(LiveError::NotRunning {
            lxcpath: container.lxcpath().to_owned(),
            name: container.name().to_owned(),
        }),
        _ => Ok(client),
    }
}

impl Cgroups {
    /// Of a container.
    ///
    /// # Errors
    /// It does not run, or this host has no cgroups that can be used.
    pub fn open(container: &Container) -> Result<Self, LiveError> {
        let client = running(container)?;
        let base = if cred::euid() == 0 { Base::Init } else { Base::Own };
        Ok(Self { client, layout: Layout::probe(base, &[])? })
    }

    /// The content of a file, see [`item::read`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, name: &str) -> Result<String, LiveError> {
        Ok(item::read(&self.layout, &mut self.finder(), name)?)
    }

    /// Writes a file, see [`item::write`]; `devices.allow` and `devices.deny` may be a device's path.
    ///
    /// # Errors
    /// As there.
    pub fn set(&self, name: &str, value: &str) -> Result<(), LiveError> {
        let allow = match name {
            "devices.allow" => true,
            "devices.deny" => false,
            _ => return Ok(item::write(&self.layout, &mut self.finder(), name, value)?),
        };
        let bad = |reason| {
            Box::new(Fault::BadValue {
                key: name.to_owned(),
                value: value.to_owned(),
                reason,
                origin: None,
            })
        };
        // In v1 whatever follows `a` says nothing.
        let text = if value.trim_start().starts_with('a') { "a" } else { value };
        let line = DeviceLine::parse(text, allow).map_err(|e| match e {
            DeviceLineError::Syntax => bad("must be `a` or `TYPE MAJOR:MINOR ACCESS`"),
            DeviceLineError::NoDevice => bad("not a device of the host"),
        });
        self.set_device(line?)
    }

    /// Allows or forbids devices.
    ///
    /// # Errors
    /// The kernel or the monitor refuses.
    pub fn set_device(&self, line: DeviceLine) -> Result<(), LiveError> {
        let name = if line.allow() { "devices.allow" } else { "devices.deny" };
        match item::find(&self.layout, name)? {
            Item::File(_) => {
                Ok(item::write(&self.layout, &mut self.finder(), name, &line.v1_text())?)
            }
            Item::DeviceProgram { .. } => Ok(self.client.add_device_rule(wire(line))?),
        }
    }

    fn finder(&self) -> impl FnMut(&Hierarchy) -> Option<PathBuf> {
        |hierarchy| info::locate(&self.layout, hierarchy, &self.client)
    }
}

/// The rule as monitors take it.
fn wire(line: DeviceLine) -> DeviceRule {
    let text = line.v1_text();
    let (device, access) = text.rsplit_once(' ').unwrap_or(("a *:*", "rwm"));
    let (kind, numbers) = device.split_at(1);
    let (major, minor) = numbers.trim().split_once(':').unwrap_or_default();
    let number = |text: &str| text.parse().unwrap_or(-1);
    let mut letters = [0; 3];
    letters.iter_mut().zip(access.bytes()).for_each(|(to, from)| *to = from);
    DeviceRule {
        kind: kind.as_bytes().first().copied().unwrap_or(b'a'),
        major: number(major),
        minor: number(minor),
        access: letters,
        allow: line.allow(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_for_the_monitor() {
        let rule = |text: &str, allow| wire(DeviceLine::parse(text, allow).unwrap());
        let access = *b"rwm";
        let all = DeviceRule { kind: b'a', major: -1, minor: -1, access, allow: false };
        assert_eq!(rule("a", false), all);
        let pts = DeviceRule { kind: b'c', major: 136, minor: -1, access: *b"rw\0", allow: true };
        assert_eq!(rule("c 136:* rw", true), pts);
    }
}
