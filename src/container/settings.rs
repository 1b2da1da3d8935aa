//! One key of a container's configuration: in its file, and in the container that runs.
//!
//! The key table says for each key what a running container does with a new value
//! ([`Live`]). A change is parsed first, applied then, and saved last: what the kernel refuses is
//! not in the file. The monitor is told at the end, so that a reboot from inside keeps it. What holds
//! at the moment is asked of the kernel, not of the monitor.

use super::Container;
use super::live::{Cgroups, LiveError, running};
use super::lock::Lock;
use crate::config::document::{self, Loaded};
use crate::config::keys::{self, Live, LiveKey, Options};
use crate::config::{Config, NetConfig, NsKind};
use crate::control::client::{Client, ClientError};
use crate::limits::{self, LimitError};
use crate::net::{self, Place, Property};
use crate::ns::{self, NsSet, Target};
use crate::runtime::attach::{AttachError, hold};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::lock::Wait as LockWait;
use crate::sys::process::{self, Fork, Pid, Wait};
use crate::sys::procfs::ProcFs;
use crate::sys::{SysError, dirs, errno, ns as sys_ns, unix};
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

/// What a reboot from inside does to a value that the running container has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// It stays.
    Keeps,
    /// It goes back to that of the start: the monitor is LXC's, or an older one of ours.
    Forgets,
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
) -> Result<Reboot, LiveError> {
    let _lock = Lock::acquire(container, LockWait::Yes)?;
    let mut loaded = container.load()?;
    let before = container.load()?.config;
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
    loaded.save(&file)?;
    if !live || found.live == Live::Read {
        return Ok(Reboot::Keeps);
    }
    let values = keys::get(&after, &found.key).unwrap_or_default();
    match container.client().set_config_item(&found.key, &values) {
        Ok(false) => Ok(Reboot::Forgets),
        // It has ended meanwhile, and the next start reads the file.
        Ok(true) | Err(ClientError::NotRunning { .. }) => Ok(Reboot::Keeps),
        Err(e) => Err(e.into()),
    }
}

/// The value that holds in the running container now, whoever set it: asked of the kernel for what
/// can change while it runs, of its file for what is read there when it is needed, and else of
/// the monitor, which knows what it was started with.
///
/// # Errors
/// It does not run; no such key; the kernel has no such setting.
pub fn current(container: &Container, key: &str) -> Result<Option<String>, LiveError> {
    let client = running(container)?;
    let found = keys::live(&Config::default(), key)?;
    let read = |source| failed("reading", &found.key, source);
    let family = matches!(found.live, Live::Cgroup | Live::Prlimit | Live::Sysctl | Live::Proc);
    if family && found.name.is_empty() {
        let why = "has many values while the container runs: name one of them";
        return Err(LiveError::Unfit { path: found.key.into(), why });
    }
    Ok(Some(match found.live {
        Live::Restart => return Ok(client.config_item(&found.key)?),
        Live::Read => container.load()?.get(&found.key)?,
        Live::Cgroup => Cgroups::open(container)?.get(&found.name)?,
        Live::Prlimit => limits::current_rlimit(hold(&client)?.pid(), &found.name)?,
        Live::Proc => {
            let path = limits::proc_path(&found.name)?;
            let proc = ProcFs::open().map_err(read)?;
            proc.read(&format!("{}/{path}", hold(&client)?.pid())).map_err(read)?
        }
        Live::Sysctl | Live::HostName => {
            let host_name = found.live == Live::HostName;
            let name = if host_name { "kernel.hostname" } else { &found.name };
            let (path, kind) = limits::sysctl_path(name)?;
            let path = format!("sys/{path}");
            within(&hold(&client)?, kind, |proc| proc.read(&path)).map_err(read)?
        }
        Live::Net => of_interface(&client, &found)?,
    }))
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
            let write = |proc: &ProcFs| {
                let done = plan.apply_sysctls(proc).map(|()| String::new());
                let number = |e: LimitError| e.errno().unwrap_or(errno::EINVAL);
                done.map_err(|e| SysError::new("write", "in the container", number(e)))
            };
            within(&target, Some(kind), write).map_err(|e| failed("setting", &found.key, e))?;
            Ok(())
        }
    }
}

/// Does `work` with the host's /proc from within a namespace, in a process of its own: what is below
/// /proc/sys is the namespace's of whoever opens it. The container's own mounts are never looked at.
fn within(
    target: &Target,
    kind: Option<NsKind>,
    work: impl FnOnce(&ProcFs) -> Result<String, SysError>,
) -> Result<String, SysError> {
    let open = |kind| fd::open_at(target.dir(), ns::link(kind), OpenFlags::RDONLY, 0);
    let namespace = kind.map(open).transpose()?;
    let (ours, theirs) = unix::pair(unix::Kind::Stream)?;
    let all = || -> Result<(), SysError> {
        if let (Some(kind), Some(namespace)) = (kind, &namespace) {
            #[allow(clippy::cast_possible_truncation, reason = "CLONE_NEW* flags fit")]
            sys_ns::setns(namespace.as_fd(), ns::flag(kind) as i32)?;
        }
        fd::write_all(theirs.as_fd(), work(&ProcFs::open()?)?.as_bytes())
    };
    let pid = match process::fork()? {
        Fork::Child => process::exit_now(all().err().map_or(0, |e| e.errno)),
        Fork::Parent(pid) => pid,
    };
    drop(theirs);
    let text = fd::read_fd(ours.as_fd(), MAX_SETTING);
    let failed = |number| Err(SysError::new("open or write", "in the container", number));
    match process::wait(pid)? {
        Wait::Exited(0) => Ok(String::from_utf8_lossy(&text?).into_owned()),
        Wait::Exited(number) => failed(number),
        _ => failed(errno::EINTR),
    }
}

/// Most bytes of a setting of the kernel.
const MAX_SETTING: usize = 1 << 20;

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

/// What an interface has at the moment.
fn of_interface(client: &Client, found: &LiveKey) -> Result<String, LiveError> {
    let n = found.net.unwrap_or_default();
    let (pair, name) = ends(client, n)?;
    let target = hold(client)?;
    let netns = target.open_namespace(NsKind::Net).map_err(AttachError::from)?;
    let (link, addresses) = net::inspect(netns.as_fd(), pair.as_deref(), &name)?;
    let property = found.key.rsplit_once(&format!("lxc.net.{n}.")).map_or("", |(_, tail)| tail);
    Ok(match property {
        "mtu" => link.mtu.to_string(),
        "hwaddr" => link.mac.map(net::error::mac_text).unwrap_or_default(),
        "flags" => if link.is_up() { "up" } else { "" }.to_owned(),
        _ => {
            let v6 = property.starts_with("ipv6");
            let own = addresses.iter().filter(|a| a.address.is_ipv6() == v6);
            let lines: Vec<String> = own.map(|a| format!("{}/{}", a.address, a.prefix)).collect();
            lines.join("\n")
        }
    })
}

/// The host's end of network N's pair, if it is one, and the name that the other had at the start.
fn ends(client: &Client, n: u32) -> Result<(Option<String>, String), LiveError> {
    let asked = |key: &str| client.config_item(&format!("lxc.net.{n}.{key}"));
    if asked("type")?.is_none() {
        let why = "the container was started without that network";
        return Err(LiveError::Unfit { path: format!("lxc.net.{n}").into(), why });
    }
    let pair = asked("veth.pair")?.filter(|name| !name.is_empty());
    let name = asked("name")?.filter(|name| !name.is_empty());
    Ok((pair, name.unwrap_or_else(|| format!("eth{n}"))))
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
    let (pair, name) = ends(client, n)?;
    let unset = || {
        let why = "has nothing to go back to while the container runs: set a value";
        LiveError::Unfit { path: found.key.clone().into(), why }
    };
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
