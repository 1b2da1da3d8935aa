//! Many containers at once, for lists: which there are, and of each only what is wanted. No fork
//! per container; monitors are asked before any network namespace is entered.

use super::Container;
use super::info::{self, Meter, Networks, State};
use super::nested;
use crate::cgroup::stat::Memory;
use crate::config::ConfigError;
use crate::control::client::{Client, ClientError};
use crate::sys::{SysError, errno};
use crate::util::ere::Ere;
use crate::util::sentence::sentence;
use crate::util::sorted::set;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Which containers are meant. All conditions have to hold.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only those with a monitor.
    pub only_active: bool,
    /// Only those with a config file.
    pub only_defined: bool,
    /// Only in these states.
    pub states: Option<States>,
    /// Only names that match.
    pub filter: Option<Ere>,
    /// Only members of all these groups.
    pub groups: Vec<String>,
    /// How many levels of containers within containers to go down.
    pub nesting: u32,
}

/// Conditions on the state; those that are set have to hold together, as in LXC.
#[derive(Clone, Copy, Debug, Default)]
pub struct States {
    /// Not stopped; a frozen one runs.
    pub running: bool,
    /// Frozen.
    pub frozen: bool,
    /// Stopped.
    pub stopped: bool,
}

impl States {
    fn hold(self, one: &Found) -> bool {
        // Not known, so only that it is not stopped, for somebody holds its socket.
        let Some(state) = one.state else { return one.stuck && !self.stopped };
        (!self.running || state != State::Stopped)
            && (!self.frozen || state == State::Frozen)
            && (!self.stopped || state == State::Stopped)
    }
}

/// What is to be found out of each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// State and init's pid.
    pub state: bool,
    /// The settings of its config.
    pub config: bool,
    /// Memory in use.
    pub memory: bool,
    /// Names of its interfaces.
    pub interfaces: bool,
    /// Its addresses.
    pub addresses: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Self =
        Self { state: true, config: true, memory: true, interfaces: true, addresses: true };

    fn network(self) -> bool {
        self.interfaces || self.addresses
    }

    fn live(self) -> bool {
        self.state || self.memory || self.network()
    }
}

/// A container that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// 0, or how deep in other containers.
    pub level: u32,
    /// The containers that it is in, outermost first.
    pub parents: Vec<String>,
    /// Its name.
    pub name: String,
    /// Its state, if asked for and known.
    pub state: Option<State>,
    /// Init's pid, as its monitor says.
    pub pid: Option<i32>,
    /// Memory.
    pub memory: Memory,
    /// Out of its config; `None` if not asked for or not readable.
    pub settings: Option<Settings>,
    /// Names of interfaces.
    pub interfaces: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// What could not be found out, in sentences.
    pub problems: Vec<String>,
    /// The config is there and cannot be understood.
    pub broken: bool,
    /// It has a monitor, which does not answer; the state is not known.
    pub stuck: bool,
}

/// What lists say for the state of a container whose monitor does not answer.
pub const STUCK: &str = "STUCK";

/// What lists show of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `lxc.start.auto`.
    pub autostart: bool,
    /// `lxc.group`.
    pub groups: Vec<String>,
    /// It has `lxc.idmap`.
    pub unprivileged: bool,
}

impl Found {
    /// `outer/inner/name`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for parent in &self.parents {
            path.push_str(parent);
            path.push('/');
        }
        path + &self.name
    }

    /// True if its config cannot be understood.
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

/// Continues in a sealed copy of this program, before it enters containers: their root could
/// otherwise write to the host's binary through /proc/PID/exe (CVE-2019-5736).
pub fn seal(prog: &str) -> Result<(), SysError> {
    crate::sys::sealed::ensure(prog)
}

/// Monitors that are asked at the same time.
const ASKED_AT_ONCE: usize = 128;

/// Network namespaces that are held open before they are visited in turn: well below the usual
/// limit of descriptors.
const OPEN_AT_ONCE: usize = 256;

/// Surveys the containers of a path, in the order of their names, each followed by those in it.
///
/// # Errors
/// The container path cannot be read. What fails for one container is in its `problems`.
pub fn survey(lxcpath: &Path, scope: &Scope, wanted: Wanted) -> Result<Vec<Found>, SysError> {
    let (all, active) = names(lxcpath, scope)?;
    let mut meter = Meter::default();
    let mut found = Vec::new();
    let mut namespaces: Vec<(usize, OwnedFd)> = Vec::new();
    let named = all.into_iter().filter(|name| match &scope.filter {
        Some(filter) => filter.is_match(name),
        None => true,
    });
    let containers: Vec<Container> =
        named.filter_map(|name| Container::new(lxcpath.to_owned(), &name).ok()).collect();
    let live = wanted.live() || scope.nesting > 0;
    let asked = containers.chunks(ASKED_AT_ONCE).flat_map(|chunk| {
        // All monitors of a chunk work on their answers while we read the first configs.
        let client = |container: &Container| {
            let known = active.binary_search_by(|name| name.as_str().cmp(container.name()));
            let client = known.is_ok().then(|| container.client());
            client.inspect(|client| {
                if live {
                    client.ask_status()
                }
            })
        };
        let clients: Vec<Option<Client>> = chunk.iter().map(client).collect();
        chunk.iter().zip(clients)
    });
    for (container, client) in asked {
        if scope.only_defined && !container.is_defined() {
            continue;
        }
        let mut one = Found {
            name: container.name().to_owned(),
            state: Some(State::Stopped),
            ..Found::default()
        };
        if let Some(client) = client.as_ref().filter(|_| live) {
            ask(&mut one, client);
        }
        if scope.states.is_some_and(|states| !states.hold(&one)) {
            continue;
        }
        // Whether one that does not run could be started at all is always told.
        if wanted.config || client.is_none() {
            read_settings(&mut one, container);
        }
        let member = |group| one.settings.as_ref().is_some_and(|s| s.groups.contains(group));
        if !scope.groups.iter().all(member) {
            continue;
        }
        if let (Some(client), Some(pid)) = (&client, one.pid) {
            if wanted.memory {
                one.memory = meter.memory(client);
            }
            if wanted.network() {
                namespaces.extend(info::network_of(pid).map(|netns| (found.len(), netns)));
            }
        }
        found.push(one);
        if namespaces.len() >= OPEN_AT_ONCE {
            read_networks(&mut found, &namespaces, wanted)?;
            namespaces.clear();
        }
    }
    read_networks(&mut found, &namespaces, wanted)?;
    if scope.nesting > 0 {
        found = nested::descend(lxcpath, found, scope, wanted);
    }
    Ok(found)
}

/// The names to look at, and which of them have a monitor.
fn names(lxcpath: &Path, scope: &Scope) -> Result<(Vec<String>, Vec<String>), SysError> {
    // A stopped system (a rootfs that is looked into) has no table of sockets.
    let defined = super::list::defined(lxcpath)?;
    let active = info::active(lxcpath, &defined).unwrap_or_default();
    if scope.only_active {
        return Ok((active.clone(), active));
    }
    let all = set(active.iter().cloned().chain(defined));
    Ok((all, active))
}

fn ask(one: &mut Found, client: &Client) {
    match info::status(client) {
        Ok(status) => {
            one.state = Some(status.state);
            one.pid = status.init_pid;
        }
        Err(e) => {
            one.state = None;
            one.stuck = matches!(e, ClientError::Timeout { .. });
            one.problems.push(sentence(&e));
        }
    }
}

fn read_settings(one: &mut Found, container: &Container) {
    match container.load() {
        // It runs with a configuration from elsewhere.
        Err(ConfigError::Read { cause, .. }) if cause.is(errno::ENOENT) => {
            one.settings = Some(Settings::default());
        }
        Ok(loaded) => {
            one.settings = Some(Settings {
                autostart: loaded.config.start.auto,
                unprivileged: !loaded.config.idmap.is_empty(),
                groups: loaded.config.groups,
            });
        }
        Err(e) => {
            one.broken = true;
            one.problems.push(sentence(&e));
        }
    }
}

fn read_networks(
    found: &mut [Found],
    namespaces: &[(usize, OwnedFd)],
    wanted: Wanted,
) -> Result<(), SysError> {
    if namespaces.is_empty() {
        return Ok(());
    }
    let Some(mut networks) = Networks::new() else { return Ok(()) };
    for (at, netns) in namespaces {
        let Some(one) = found.get_mut(*at) else { continue };
        if wanted.interfaces {
            one.interfaces = networks.interfaces(netns);
            one.interfaces.sort();
        }
        if wanted.addresses {
            one.addresses = networks.addresses(netns);
        }
    }
    networks.finish().map_err(|e| {
        log::error!("{e}");
        SysError::new("setns", "the own network namespace", crate::sys::errno::EIO)
    })
}
