//! How many more containers the kernel's limits let in, and which limit comes first.
//!
//! What one container takes is an assumption: of busybox's init for the plain kind, of Debian's
//! systemd for the other. It is printed with the result.

use super::host::Host;
use super::{Purpose, cgroups};
use crate::hostnet::{self, Wanted, doctor};
use crate::sys::{dirs, probe};
use std::path::Path;

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// What it limits.
    pub what: &'static str,
    /// Where it is set.
    pub limit: &'static str,
    /// The limit.
    pub max: u64,
    /// How much of it is in use.
    pub used: u64,
    /// What one more container is taken to need.
    pub each: u64,
}

impl Room {
    /// How many more containers fit.
    pub fn more(&self) -> u64 {
        self.max.saturating_sub(self.used) / self.each.max(1)
    }
}

/// All limits that are known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// One by one.
    pub rooms: Vec<Room>,
}

impl Capacity {
    /// The limit that is reached first.
    pub fn first(&self) -> Option<&Room> {
        self.rooms.iter().min_by_key(|room| room.more())
    }
}

/// (what, limit, needs of a plain container, of one with systemd).
type Row = (&'static str, &'static str, u64, u64, fn(&Host) -> Option<(u64, u64)>);

const ROWS: &[Row] = &[
    ("inotify instances", "fs.inotify.max_user_instances", 1, 12, inotify),
    ("processes", "kernel.pid_max, kernel.threads-max, pids.max", 4, 30, processes),
    ("keys", "kernel.keys.maxkeys, root_maxkeys", 1, 20, keys),
    ("open files", "fs.file-max", 60, 600, open_files),
    ("terminals", "kernel.pty.max", 5, 6, terminals),
    ("bridge ports", "1023 of a Linux bridge", 1, 1, ports),
    ("memory in kB", "MemAvailable", 1500, 45_000, memory),
];

/// Reads them; what cannot be read is left out.
pub fn capacity(host: &Host, purpose: Purpose) -> Capacity {
    let heavy = matches!(purpose, Purpose::SystemdGuest | Purpose::DockerInside);
    let rooms = ROWS.iter().filter_map(|&(what, limit, plain, systemd, read)| {
        let (max, used) = read(host)?;
        Some(Room { what, limit, max, used, each: if heavy { systemd } else { plain } })
    });
    Capacity { rooms: rooms.collect() }
}

/// Counted for each user; those of root for all containers without an id map.
fn inotify(host: &Host) -> Option<(u64, u64)> {
    let max = host.number("proc/sys/fs/inotify/max_user_instances")?;
    let mut used = 0;
    for pid in dirs::names(&host.path("proc")).unwrap_or_default() {
        let dir = host.path("proc").join(&pid);
        let is_number = pid.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if !is_number || probe::mode_of(&dir).is_ok_and(|(_, uid, _)| uid != host.euid) {
            continue;
        }
        let fds = dir.join("fd");
        for name in dirs::names(&fds).unwrap_or_default() {
            used += u64::from(dirs::link_target(&fds.join(name)) == "anon_inode:inotify");
        }
    }
    Some((max, used))
}

/// /proc/loadavg has `running/all` of the tasks.
fn processes(host: &Host) -> Option<(u64, u64)> {
    let loadavg = host.read("proc/loadavg")?;
    let used: u64 = loadavg.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()?;
    let limits = ["proc/sys/kernel/pid_max", "proc/sys/kernel/threads-max"];
    let max = limits.iter().filter_map(|name| host.number(name)).min()?;
    match cgroups::pids_left(host) {
        Some((max_here, used_here)) if max_here.saturating_sub(used_here) < max - used.min(max) => {
            Some((max_here, used_here))
        }
        _ => Some((max, used)),
    }
}

/// `UID: USAGE NKEYS/NIKEYS QNKEYS/MAXKEYS QNBYTES/MAXBYTES`.
fn keys(host: &Host) -> Option<(u64, u64)> {
    let text = host.read("proc/key-users")?;
    let line = text.lines().find_map(|line| {
        let (uid, rest) = line.split_once(':')?;
        (uid.trim().parse() == Ok(host.euid)).then_some(rest)
    })?;
    let (used, max) = line.split_whitespace().nth(2)?.split_once('/')?;
    Some((max.parse().ok()?, used.parse().ok()?))
}

fn open_files(host: &Host) -> Option<(u64, u64)> {
    Some((host.number("proc/sys/fs/file-max")?, host.number("proc/sys/fs/file-nr")?))
}

fn terminals(host: &Host) -> Option<(u64, u64)> {
    Some((host.number("proc/sys/kernel/pty/max")?, host.number("proc/sys/kernel/pty/nr")?))
}

fn ports(host: &Host) -> Option<(u64, u64)> {
    let Ok((Wanted::On(settings), _)) = hostnet::load() else { return None };
    let dir = Path::new("sys/class/net").join(&settings.bridge.value).join("brif");
    let names = dirs::names(&host.path("").join(dir)).ok()?;
    Some((doctor::MAX_PORTS as u64, names.len() as u64))
}

fn memory(host: &Host) -> Option<(u64, u64)> {
    let text = host.read("proc/meminfo")?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let total = field("MemTotal")?;
    Some((total, total.saturating_sub(field("MemAvailable")?)))
}
