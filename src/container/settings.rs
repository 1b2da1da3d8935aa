//! One key of a container's configuration: in its file, and in the container that runs.
//!
//! The key table says for each key what a running container does with a new value
//! ([`Live`]). A change is parsed first, applied then, and saved last: what the kernel refuses is
//! not in the file.

use super::Container;
use super::live::{Cgroups, LiveError, running};
use super::lock::Lock;
use crate::config::document::{self, Loaded};
use crate::config::keys::{self, Live, LiveKey, Options};
use crate::config::{Config, NetConfig, NsKind};
use crate::control::client::Client;
use crate::limits::{self, LimitPlan};
use crate::net::{self, Place, Property};
use crate::ns::{self, NsSet, Target};
use crate::runtime::attach::{AttachError, hold};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::lock::Wait as LockWait;
use crate::sys::process::{self, Fork, Pid, Wait};
use crate::sys::procfs::ProcFs;
use crate::sys::{SysError, dirs, errno, ns as sys_ns};
use crate::util::blame::{Explain as _, Origin, Sourced};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

/// What happens to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It gets these values and no others.
    Set,
    /// It gets these beside those it has.
    Add,
    /// It goes back to the default.
    Unset,
}

/// Changes a key in the container's file and, with `live`, in the container that runs.
///
/// # Errors
/// The value is refused; a running container cannot take it; the file cannot be written. Nothing
/// is changed, but for a file that cannot be written after the container took the value.
pub fn change(
    container: &Container,
    verb: Verb,
    key: &str,
    values: &[String],
    live: bool,
) -> Result<(), LiveError> {
    let _lock = Lock::acquire(container, LockWait::Yes)?;
    let mut loaded = container.load()?;
    let before = loaded.config.clone();
    let found = keys::live(&before, key)?;
    if found.single && (values.len() > 1 || verb == Verb::Add) {
        let why = "has one value: set it";
        return Err(LiveError::Unfit { path: found.key.into(), why });
    }
    let options = Options::default();
    match verb {
        Verb::Set => loaded.replace(key, values, &options)?,
        Verb::Add => values.iter().try_for_each(|value| loaded.set(key, value, &options))?,
        Verb::Unset => loaded.clear(key)?,
    }
    // What was written must be read again: some lines are only good together.
    let file = container.config_file();
    let after = document::parse(loaded.document.bytes(), &file, &options)?.config;
    if live {
        apply(container, &found, verb, &before, &after, values)?;
    }
    Ok(loaded.save(&file)?)
}

/// The value that the running container has.
///
/// # Errors
/// It does not run; no such key.
pub fn current(container: &Container, key: &str) -> Result<Option<String>, LiveError> {
    let client = running(container)?;
    let found = keys::live(&Config::default(), key)?;
    let proc = |path: &str| {
        let text = ProcFs::open().and_then(|proc| proc.read(path));
        text.map(Some).map_err(|e| failed("reading", path, e))
    };
    Ok(match found.live {
        Live::Cgroup if !found.name.is_empty() => Some(Cgroups::open(container)?.get(&found.name)?),
        Live::Proc if !found.name.is_empty() => {
            proc(&format!("{}/{}", client.init_pid()?, found.name.replace('.', "/")))?
        }
        _ => client.config_item(&found.key)?,
    })
}

fn apply(
    container: &Container,
    found: &LiveKey,
    verb: Verb,
    before: &Config,
    config: &Config,
    values: &[String],
) -> Result<(), LiveError> {
    let client = running(container)?;
    let mut wanted = Config::default();
    // Not a line of the file yet, so none is to blame.
    let origin = Origin::label("the command line");
    let text = |value: &str| Sourced { value: value.to_owned(), origin: origin.clone() };
    let of = |all: &[(String, Sourced<String>)]| {
        let last = all.iter().rfind(|(name, _)| *name == found.name);
        last.map(|(name, value)| (name.clone(), text(&value.value)))
    };
    match found.live {
        Live::Restart => return Err(LiveError::Fixed { key: found.key.clone() }),
        Live::Read => return Ok(()),
        Live::Net => return interface(&client, found, before, config),
        _ if verb == Verb::Unset || found.name.is_empty() && found.live != Live::HostName => {
            let why = "has nothing to go back to while the container runs: set a value";
            return Err(LiveError::Unfit { path: found.key.clone().into(), why });
        }
        Live::Cgroup => {
            let cgroups = Cgroups::open(container)?;
            return values.iter().try_for_each(|value| cgroups.set(&found.name, value));
        }
        Live::Prlimit => {
            let last = config.prlimits.iter().rfind(|(name, _)| *name == found.name);
            let limit = |limit: &Sourced<_>| Sourced { value: limit.value, origin: origin.clone() };
            wanted.prlimits.extend(last.map(|(name, value)| (name.clone(), limit(value))));
        }
        Live::Proc => wanted.procs.extend(of(&config.procs)),
        Live::Sysctl => wanted.sysctls.extend(of(&config.sysctls)),
        Live::HostName => {
            let name = config.uts_name.as_deref().unwrap_or_default();
            wanted.sysctls.push(("kernel.hostname".to_owned(), text(name)));
        }
    }
    let target = hold(&client)?;
    let own = Target::own().map_err(AttachError::from)?;
    let differing = target.different(&own, NsSet::ALL).map_err(AttachError::from)?;
    let kinds: Vec<NsKind> = differing.iter().collect();
    let plan = limits::plan(&wanted, &kinds)?;
    match found.live {
        Live::Prlimit => {
            plan.apply_rlimits(target.pid())?;
            for pid in processes(&target) {
                match plan.apply_rlimits(pid) {
                    Err(e) if e.errno() == Some(errno::ESRCH) => {}
                    done => done?,
                }
            }
            Ok(())
        }
        Live::Proc => {
            let proc = ProcFs::open().map_err(|e| failed("opening", "/proc", e))?;
            Ok(plan.apply_procs(&proc, target.pid())?)
        }
        _ => {
            let of = |kind: &NsKind| limits::plan(&wanted, &[*kind]).is_ok();
            let kind = kinds.into_iter().find(of).unwrap_or(NsKind::Net);
            sysctl(&plan, &target, kind).map_err(|e| failed("setting", &found.key, e))
        }
    }
}

/// Writes the settings from within a namespace, in a process of its own.
fn sysctl(plan: &LimitPlan, target: &Target, kind: NsKind) -> Result<(), SysError> {
    let namespace = fd::open_at(target.dir(), ns::link(kind), OpenFlags::RDONLY, 0)?;
    let work = || -> Result<(), i32> {
        #[allow(clippy::cast_possible_truncation, reason = "CLONE_NEW* flags fit")]
        sys_ns::setns(namespace.as_fd(), ns::flag(kind) as i32).map_err(|e| e.errno)?;
        let proc = ProcFs::open().map_err(|e| e.errno)?;
        plan.apply_sysctls(&proc).map_err(|e| e.errno().unwrap_or(errno::EINVAL))
    };
    match process::fork()? {
        Fork::Child => process::exit_now(work().err().unwrap_or(0)),
        Fork::Parent(pid) => match process::wait(pid)? {
            Wait::Exited(0) => Ok(()),
            Wait::Exited(number) => Err(SysError::new("write", "in the container", number)),
            _ => Err(SysError::new("write", "in the container", errno::EINTR)),
        },
    }
}

/// The processes of init's pid namespace.
fn processes(target: &Target) -> Vec<Pid> {
    let Ok(Some(own)) = target.identity(NsKind::Pid) else { return Vec::new() };
    let names = dirs::names(Path::new("/proc")).unwrap_or_default();
    let pids = names.iter().filter_map(|name| name.to_str()?.parse::<Pid>().ok());
    let same = |pid: &Pid| {
        let process = Target::open(*pid, None).ok();
        process.is_some_and(|process| process.identity(NsKind::Pid).ok().flatten() == Some(own))
    };
    pids.filter(same).collect()
}

/// A property of network N.
fn interface(
    client: &Client,
    found: &LiveKey,
    before: &Config,
    after: &Config,
) -> Result<(), LiveError> {
    let n = found.net.unwrap_or_default();
    let asked = |key: &str| client.config_item(&format!("lxc.net.{n}.{key}"));
    let missing = |why| LiveError::Unfit { path: found.key.clone().into(), why };
    if asked("type")?.is_none() {
        return Err(missing("the container was started without that network"));
    }
    let unset = || missing("has nothing to go back to while the container runs: set a value");
    let new = after.net.get(&n).ok_or_else(unset)?;
    let (gone, there);
    let tail = found.key.rsplit_once(&format!("lxc.net.{n}.")).map_or("", |(_, tail)| tail);
    let property = match tail {
        "mtu" => Property::Mtu(new.mtu.ok_or_else(unset)?),
        "hwaddr" => Property::Mac(new.hwaddr.ok_or_else(unset)?),
        "flags" => Property::Up(new.up),
        _ => {
            let v6 = tail.starts_with("ipv6");
            // Those of the file, and those it was started with.
            let mut started = Loaded::new(Path::new("the running container"));
            let _ = started.set(&format!("lxc.net.{n}.type"), "empty", &Options::default());
            for line in asked(tail)?.unwrap_or_default().lines() {
                let _ = started.set(&found.key, line, &Options::default());
            }
            let of =
                |config: &Config| config.net.get(&n).map_or(Vec::new(), |net| addresses(net, v6));
            gone = [of(before), of(&started.config)].concat();
            there = addresses(new, v6);
            Property::Addresses(&gone, &there)
        }
    };
    let pair = asked("veth.pair")?.filter(|name| !name.is_empty());
    let name = asked("name")?.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("eth{n}"));
    let target = hold(client)?;
    let netns = target.open_namespace(NsKind::Net).map_err(AttachError::from)?;
    Ok(net::reconfigure(netns.as_fd(), pair.as_deref(), &name, &property)?)
}

fn addresses(net: &NetConfig, v6: bool) -> Vec<Place> {
    match v6 {
        true => {
            net.ipv6.iter().map(|a| (IpAddr::V6(a.value.address), a.value.prefix, None)).collect()
        }
        false => {
            let place = |a: &crate::config::Ipv4Config| {
                (IpAddr::V4(a.address), a.prefix, a.broadcast.map(IpAddr::V4))
            };
            net.ipv4.iter().map(|a| place(&a.value)).collect()
        }
    }
}

fn failed(what: &'static str, path: impl AsRef<Path>, source: SysError) -> LiveError {
    LiveError::System { what, path: path.as_ref().to_owned(), source }
}
