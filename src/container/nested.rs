//! Containers in containers. A process of ours enters the container (or, when it is stopped, its
//! root file system) and surveys what is there; what it reports back is checked like any other
//! word of a stranger, and it has five seconds.

use super::Container;
use super::info::State;
use super::survey::{Found, STUCK, Scope, Settings, Wanted, survey};
use crate::cgroup::stat::Memory;
use crate::config::NsKind;
use crate::ns::{NsSet, Target};
use crate::sys::event::{Ready, poll};
use crate::sys::process::{self, Fork};
use crate::sys::{SysError, cred, fd, ns, prctl, unix};
use crate::util::sentence::one_line;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a report that are read.
const MAX_REPORT: usize = 4 << 20;
/// Containers of one container that are believed.
const MAX_CONTAINERS: usize = 4096;
/// Separates fields, records and elements of lists: none of them can be in a name.
const FIELD: char = '\x1f';
const RECORD: char = '\x1e';
const ITEM: char = '\x1d';

/// Inserts after each container those within it.
pub(super) fn descend(
    lxcpath: &Path,
    found: Vec<Found>,
    scope: &Scope,
    wanted: Wanted,
) -> Vec<Found> {
    let mut all = Vec::new();
    for outer in found {
        let place = match (outer.pid, outer.state) {
            (Some(pid), _) => Some(Place::Process(pid)),
            (None, Some(State::Stopped)) => rootfs_of(lxcpath, &outer.name).map(Place::Directory),
            _ => None,
        };
        let inner = place.map(|place| look_into(&place, scope, wanted));
        let name = outer.name.clone();
        all.push(outer);
        for mut one in inner.into_iter().flatten() {
            one.level += 1;
            one.parents.insert(0, name.clone());
            all.push(one);
        }
    }
    all
}

enum Place {
    Process(i32),
    Directory(PathBuf),
}

/// The root file system of a stopped container, when it is a directory.
fn rootfs_of(lxcpath: &Path, name: &str) -> Option<PathBuf> {
    let container = Container::new(lxcpath.to_owned(), name).ok()?;
    let rootfs = container.load().ok()?.config.rootfs;
    let is_dir = rootfs.backend.as_deref().is_none_or(|backend| backend == "dir");
    rootfs.path.filter(|path| is_dir && path.is_dir() && path != Path::new("/"))
}

fn look_into(place: &Place, scope: &Scope, wanted: Wanted) -> Vec<Found> {
    let report = || -> Result<Vec<Found>, SysError> {
        let (reader, writer) = unix::pair(unix::Kind::Stream)?;
        match process::fork()? {
            Fork::Child => {
                drop(reader);
                let done = enter(place)
                    .and_then(|()| in_new_pid_namespace(|| tell(&writer, scope, wanted)));
                process::exit_now(i32::from(done.is_err()))
            }
            Fork::Parent(pid) => {
                let mut child = process::KillOnDrop::new(pid, process::pidfd_open(pid).ok());
                drop(writer);
                let text = listen(&reader)?;
                child.wait()?;
                Ok(parse(&text))
            }
        }
    };
    report().inspect_err(|e| log::debug!("looking into a container: {e}")).unwrap_or_default()
}

/// # In the child
/// Enters the container for good.
fn enter(place: &Place) -> Result<(), SysError> {
    // Nobody in there gets to trace us; a sealed copy runs, see `survey::seal`.
    prctl::set_dumpable(false)?;
    match place {
        Place::Directory(rootfs) => {
            process::chdir(rootfs)?;
            crate::sys::dirs::chroot_here()
        }
        Place::Process(pid) => {
            let gone = |e: crate::ns::NsError| {
                log::debug!("{e}");
                SysError::new("open", format!("namespaces of {pid}"), crate::sys::errno::ESRCH)
            };
            let target = Target::open(*pid, None).map_err(gone)?;
            let kinds =
                target.different(&Target::own().map_err(gone)?, NsSet::ALL).map_err(gone)?;
            for (kind, file) in target.open_namespaces(kinds).map_err(gone)? {
                let flag = i32::try_from(crate::ns::flag(kind)).unwrap_or_default();
                ns::setns(file.as_fd(), flag)?;
                if kind == NsKind::User {
                    cred::setgroups(&[])?;
                    cred::set_gid(0)?;
                    cred::set_uid(0)?;
                }
            }
            Ok(())
        }
    }
}

/// A joined PID namespace is entered by the children only, and /proc/self needs it.
fn in_new_pid_namespace(work: impl FnOnce() -> Result<(), SysError>) -> Result<(), SysError> {
    match process::fork()? {
        Fork::Child => {
            // Dies with the outer child, which dies with us.
            let tied = prctl::set_parent_death_signal(9);
            process::exit_now(i32::from(tied.and_then(|()| work()).is_err()))
        }
        Fork::Parent(pid) => process::wait(pid).map(drop),
    }
}

fn tell(writer: &OwnedFd, scope: &Scope, wanted: Wanted) -> Result<(), SysError> {
    // Within the container we are its root.
    let system = crate::config::path::System::load(crate::config::path::Who::Root);
    let lxcpath = system.map_or_else(|_| crate::config::path::LXCPATH.into(), |s| s.lxcpath());
    let inner = Scope { nesting: scope.nesting.saturating_sub(1), ..scope.clone() };
    let found = survey(&lxcpath, &inner, wanted)?;
    let text: String = found.iter().map(encode).collect();
    fd::write_all(writer.as_fd(), text.as_bytes())
}

fn listen(reader: &OwnedFd) -> Result<String, SysError> {
    let deadline = Instant::now() + TIMEOUT;
    let mut bytes = Vec::new();
    loop {
        let ready = poll(reader.as_fd(), Ready::READ, Some(deadline))?;
        if !ready.read && !ready.hangup {
            return Err(SysError::new("poll", "a report", crate::sys::errno::ETIMEDOUT));
        }
        let mut chunk = [0u8; 8192];
        let got = unix::recv(reader.as_fd(), &mut chunk, 0, unix::Block::DontWait)?.len;
        if got == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(chunk.get(..got).unwrap_or_default());
        if bytes.len() > MAX_REPORT {
            return Err(SysError::new("read", "a report", crate::sys::errno::EFBIG));
        }
    }
}

fn encode(one: &Found) -> String {
    let clean = |text: &str| one_line(text.to_owned());
    let list = |items: &[String]| {
        items.iter().map(|item| clean(item)).collect::<Vec<_>>().join(&ITEM.to_string())
    };
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let addresses: Vec<String> = one.addresses.iter().map(ToString::to_string).collect();
    let settings = one.settings.as_ref();
    let fields = [
        one.level.to_string(),
        list(&one.parents),
        clean(&one.name),
        if one.stuck { STUCK } else { one.state.map(State::name).unwrap_or_default() }.to_owned(),
        one.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        number(one.memory.used),
        number(one.memory.swap),
        settings
            .map(|s| format!("{}{}", u8::from(s.autostart), u8::from(s.unprivileged)))
            .unwrap_or_default(),
        settings.map(|s| list(&s.groups)).unwrap_or_default(),
        list(&one.interfaces),
        list(&addresses),
        list(&one.problems),
        u8::from(one.broken).to_string(),
    ];
    fields.join(&FIELD.to_string()) + &RECORD.to_string()
}

fn parse(text: &str) -> Vec<Found> {
    text.split_terminator(RECORD).filter_map(decode).take(MAX_CONTAINERS).collect()
}

/// `None` for what our own process would not have written.
fn decode(record: &str) -> Option<Found> {
    let fields: Vec<&str> = record.split(FIELD).collect();
    let [
        level,
        parents,
        name,
        state,
        pid,
        used,
        swap,
        flags,
        groups,
        interfaces,
        addresses,
        problems,
        broken,
    ] = fields.as_slice()
    else {
        return None;
    };
    let list = |text: &str| -> Vec<String> {
        text.split(ITEM).filter(|item| !item.is_empty()).map(|t| one_line(t.to_owned())).collect()
    };
    crate::util::name::check(name).ok()?;
    let parents = list(parents);
    let level: u32 = level.parse().ok().filter(|level| *level < 1000)?;
    let flag = |at: usize| flags.as_bytes().get(at) == Some(&b'1');
    let settings = (!flags.is_empty()).then(|| Settings {
        autostart: flag(0),
        unprivileged: flag(1),
        groups: list(groups),
    });
    Some(Found {
        level,
        parents,
        name: (*name).to_owned(),
        state: State::parse(state),
        pid: pid.parse().ok().filter(|pid| *pid > 0),
        memory: Memory { used: used.parse().ok(), swap: swap.parse().ok(), ..Memory::default() },
        settings,
        interfaces: list(interfaces),
        addresses: list(addresses).iter().filter_map(|ip| ip.parse::<IpAddr>().ok()).collect(),
        problems: list(problems),
        broken: *broken == "1",
        stuck: *state == STUCK,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_the_same_after_the_way() {
        let one = Found {
            level: 1,
            parents: vec!["a".into(), "b".into()],
            name: "c".into(),
            state: Some(State::Frozen),
            pid: Some(12),
            memory: Memory { used: Some(7), ..Memory::default() },
            settings: Some(Settings {
                autostart: true,
                groups: vec!["g".into()],
                unprivileged: false,
            }),
            interfaces: vec!["eth0".into(), "lo".into()],
            addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            problems: vec!["x".into()],
            broken: true,
            stuck: false,
        };
        let other = Found { name: "d".into(), stuck: true, ..Found::default() };
        let back = parse(&(encode(&one) + &encode(&other)));
        assert_eq!(back.len(), 2);
        assert_eq!(back[0], one);
        assert_eq!((back[1].name.as_str(), back[1].state, back[1].stuck), ("d", None, true));
        assert_eq!(back[1].settings, None);
    }

    #[test]
    fn what_is_no_report_is_dropped() {
        for text in
            ["", "x", "\x1e\x1e", "0\x1f\x1f../x\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1f0\x1e"]
        {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_report_panics(text in "[0-9a-z/.\x1d\x1e\x1f]{0,200}") {
            for one in parse(&text) {
                proptest::prop_assert!(crate::util::name::check(&one.name).is_ok());
            }
        }
    }
}
