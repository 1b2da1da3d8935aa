//! Id maps: from `lxc.idmap` to a validated [`IdMap`], to the kernel's files of a process (written
//! by us or by newuidmap and newgidmap), and to a user namespace that only serves as a map for
//! idmapped mounts.
//!
//! [`HostId`] and [`NsId`] keep the two sides apart. Start reading at [`IdMap::from_config`].

mod mapped;

pub use self::mapped::{Mapped, with_rights_over};

use crate::config::{Config, Explain, IdKind, Origin};
use crate::sys::error::SysError;
use crate::sys::process::{Pid, Wait};
use crate::sys::{errno, fd, procfs, spawn, userns};
use std::fmt::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A user or group id as the host (the caller's user namespace) sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub u32);

/// A user or group id as the container sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NsId(pub u32);

/// `count` ids from `ns` on are the host's from `host` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First id in the container.
    pub ns: NsId,
    /// First id on the host.
    pub host: HostId,
    /// How many; neither side goes beyond 4294967294.
    pub count: u32,
}

/// A map of users and groups; both sides have at least one extent and none overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

/// UID_GID_MAP_MAX_EXTENTS of the kernel, 4.15 on (five before).
const MAX_EXTENTS: usize = 340;

/// What is wrong with a map, or with writing it.
#[derive(Debug, thiserror::Error)]
pub enum IdMapError {
    /// A line maps nothing.
    #[error("lxc.idmap has a range of 0 ids")]
    Nothing {
        /// The line.
        origin: Origin,
    },
    /// Beyond the last id.
    #[error("lxc.idmap goes beyond id 4294967294 with {count} ids from {first} on")]
    TooHigh {
        /// First id of that side.
        first: u32,
        /// How many.
        count: u32,
        /// The line.
        origin: Origin,
    },
    /// Two lines claim the same id.
    #[error("lxc.idmap maps {what} {id} twice, here and at {other}")]
    Overlap {
        /// `container uid` and so on.
        what: &'static str,
        /// The first such id.
        id: u32,
        /// The earlier line.
        other: Origin,
        /// The later line.
        origin: Origin,
    },
    /// Only one of the two sides.
    #[error("lxc.idmap has no line for {}", side(*missing))]
    OneSided {
        /// The side that is missing.
        missing: IdKind,
        /// The first line of the other side.
        origin: Origin,
    },
    /// More than the kernel takes.
    #[error("lxc.idmap has {count} lines for {}, and the kernel takes {MAX_EXTENTS}", side(*kind))]
    TooMany {
        /// Which side.
        kind: IdKind,
        /// How many.
        count: usize,
        /// The last line.
        origin: Origin,
    },
    /// The kernel refused the map.
    #[error("writing the map of {} of process {pid}", side(*kind))]
    Write {
        /// Which side.
        kind: IdKind,
        /// Whose.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
    /// setgroups(2) could not be switched off, without which an ordinary user maps no group.
    #[error("denying setgroups to process {pid}")]
    Setgroups {
        /// Whose.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
    /// No number is left for the caller.
    #[error("every container id is in use, none is left for the caller's own")]
    NoneFree,
    /// newuidmap or newgidmap is not installed.
    #[error("{program} is not installed, and only it may map ids for an ordinary user")]
    NoProgram {
        /// Its name.
        program: &'static str,
    },
    /// It is there, but may do no more than we.
    #[error("\"{}\" is neither setuid root nor has it the file capability it needs", path.display())]
    NotPrivileged {
        /// Its path.
        path: PathBuf,
    },
    /// It cannot be looked at or run.
    #[error("running \"{}\"", path.display())]
    Run {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: SysError,
    },
    /// It ran and refused.
    #[error("\"{}\" refused the map: {text}", path.display())]
    Refused {
        /// Its path.
        path: PathBuf,
        /// What it said.
        text: String,
    },
    /// No user namespace to hold a map.
    #[error("making a user namespace")]
    Namespace {
        /// Why.
        #[source]
        source: SysError,
    },
    /// The maps of a running process.
    #[error("reading the map of {} of process {pid}", side(*kind))]
    Read {
        /// Which side.
        kind: IdKind,
        /// Whose.
        pid: Pid,
        /// Why.
        #[source]
        source: SysError,
    },
}

fn side(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Uid => "users (u)",
        IdKind::Gid => "groups (g)",
    }
}

impl Explain for IdMapError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Write { source, .. }
            | Self::Setgroups { source, .. }
            | Self::Run { source, .. }
            | Self::Namespace { source }
            | Self::Read { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Nothing { origin }
            | Self::TooHigh { origin, .. }
            | Self::Overlap { origin, .. }
            | Self::OneSided { origin, .. }
            | Self::TooMany { origin, .. } => Some(origin),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OneSided { missing, .. } => {
                let letter = if *missing == IdKind::Uid { 'u' } else { 'g' };
                format!("add a line as lxc.idmap = {letter} 0 100000 65536")
            }
            Self::NoProgram { .. } => "apt install uidmap".into(),
            Self::NotPrivileged { path } => format!("chmod u+s {}", path.display()),
            Self::Refused { path, .. } => {
                let file = if path.ends_with("newgidmap") { "/etc/subgid" } else { "/etc/subuid" };
                format!("give the ids to this user in {file}")
            }
            Self::Write { source, .. } if source.errno == errno::EINVAL => {
                "kernels before 4.15 take five lines, later ones 340 and 4095 bytes".into()
            }
            Self::Namespace { source } if source.errno == errno::ENOSPC => {
                "sysctl -w user.max_user_namespaces=15000".into()
            }
            Self::Namespace { source } if source.errno == errno::EPERM => {
                "sysctl -w kernel.unprivileged_userns_clone=1".into()
            }
            _ => return None,
        })
    }
}

impl IdMap {
    /// The map of `lxc.idmap`; `None` when there are no such lines.
    ///
    /// # Errors
    /// A line that maps nothing, too much, or what another line maps; users without groups or the
    /// other way round.
    pub fn from_config(config: &Config) -> Result<Option<Self>, IdMapError> {
        let Some(first) = config.idmap.first() else { return Ok(None) };
        let mut map = Self { uids: Vec::new(), gids: Vec::new() };
        for (i, line) in config.idmap.iter().enumerate() {
            let entry = line.value;
            if entry.range == 0 {
                return Err(IdMapError::Nothing { origin: line.origin.clone() });
            }
            for first in [entry.ns, entry.host] {
                // The last 32-bit id means "no id" to the kernel, so the end must not wrap.
                if first.checked_add(entry.range).is_none() {
                    let origin = line.origin.clone();
                    return Err(IdMapError::TooHigh { first, count: entry.range, origin });
                }
            }
            for earlier in config.idmap[..i].iter().filter(|e| e.value.kind == entry.kind) {
                let e = earlier.value;
                let sides = [(e.ns, entry.ns, false), (e.host, entry.host, true)];
                for (a, b, on_host) in sides {
                    if let Some(id) = first_common(a, e.range, b, entry.range) {
                        let what = match (entry.kind, on_host) {
                            (IdKind::Uid, false) => "container uid",
                            (IdKind::Uid, true) => "host uid",
                            (IdKind::Gid, false) => "container gid",
                            (IdKind::Gid, true) => "host gid",
                        };
                        let (other, origin) = (earlier.origin.clone(), line.origin.clone());
                        return Err(IdMapError::Overlap { what, id, other, origin });
                    }
                }
            }
            let extent =
                Extent { ns: NsId(entry.ns), host: HostId(entry.host), count: entry.range };
            let list = map.list(entry.kind);
            if list.len() == MAX_EXTENTS {
                let count = config.idmap.iter().filter(|l| l.value.kind == entry.kind).count();
                let origin = line.origin.clone();
                return Err(IdMapError::TooMany { kind: entry.kind, count, origin });
            }
            list.push(extent);
        }
        for missing in [IdKind::Uid, IdKind::Gid] {
            if map.extents(missing).is_empty() {
                return Err(IdMapError::OneSided { missing, origin: first.origin.clone() });
            }
        }
        Ok(Some(map))
    }

    /// The map that a running process lives in, as this process's user namespace sees it.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of_process(pid: Pid) -> Result<Self, IdMapError> {
        let read = |kind| {
            let path = format!("/proc/{pid}/{}", file_of(kind));
            let text = fd::read_to_string(path).map_err(|source| IdMapError::Read {
                kind,
                pid,
                source,
            })?;
            Ok(parse_kernel(&text))
        };
        Ok(Self { uids: read(IdKind::Uid)?, gids: read(IdKind::Gid)? })
    }

    fn list(&mut self, kind: IdKind) -> &mut Vec<Extent> {
        match kind {
            IdKind::Uid => &mut self.uids,
            IdKind::Gid => &mut self.gids,
        }
    }

    /// One side, in the order written.
    pub fn extents(&self, kind: IdKind) -> &[Extent] {
        match kind {
            IdKind::Uid => &self.uids,
            IdKind::Gid => &self.gids,
        }
    }

    /// The host's id of a container's user or group; `None` when it is not mapped.
    pub fn to_host(&self, kind: IdKind, id: NsId) -> Option<HostId> {
        self.extents(kind).iter().find_map(|e| {
            let offset = id.0.checked_sub(e.ns.0).filter(|&o| o < e.count)?;
            Some(HostId(e.host.0 + offset))
        })
    }

    /// The container's id of a host's user or group; `None` when it is not mapped.
    pub fn to_ns(&self, kind: IdKind, id: HostId) -> Option<NsId> {
        self.extents(kind).iter().find_map(|e| {
            let offset = id.0.checked_sub(e.host.0).filter(|&o| o < e.count)?;
            Some(NsId(e.ns.0 + offset))
        })
    }

    /// The host's user and group of the container's root; `None` for what is not mapped.
    pub fn root(&self) -> (Option<HostId>, Option<HostId>) {
        (self.to_host(IdKind::Uid, NsId(0)), self.to_host(IdKind::Gid, NsId(0)))
    }

    /// The text for `/proc/PID/uid_map` or `gid_map`.
    pub fn text(&self, kind: IdKind) -> String {
        let mut out = String::new();
        for e in self.extents(kind) {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{} {} {}", e.ns.0, e.host.0, e.count);
        }
        out
    }

    /// True if this side maps `id` alone, which its owner may do without any privilege.
    fn only(&self, kind: IdKind, id: u32) -> bool {
        matches!(self.extents(kind), [one] if one.count == 1 && one.host == HostId(id))
    }
}

/// The smallest id in both ranges, which do not wrap.
fn first_common(a: u32, a_count: u32, b: u32, b_count: u32) -> Option<u32> {
    let start = a.max(b);
    let end = (a + a_count).min(b + b_count);
    (start < end).then_some(start)
}

fn file_of(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Uid => "uid_map",
        IdKind::Gid => "gid_map",
    }
}

/// Reads the kernel's form of a map. A line that is none is left out; the initial namespace's one
/// extent of 4294967295 ids from 0 on is taken as it is.
fn parse_kernel(text: &str) -> Vec<Extent> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(|f| f.parse::<u32>().ok());
        let (ns, host, count) = (fields.next()??, fields.next()??, fields.next()??);
        ns.checked_add(count)?;
        host.checked_add(count)?;
        Some(Extent { ns: NsId(ns), host: HostId(host), count })
    };
    text.lines().filter_map(line).collect()
}

/// Who writes a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writer {
    /// This process. `deny_setgroups` when it maps its own group without privilege.
    Direct {
        /// Write `deny` to /proc/PID/setgroups first.
        deny_setgroups: bool,
    },
    /// newuidmap and newgidmap, at these paths.
    Programs {
        /// newuidmap.
        uid: PathBuf,
        /// newgidmap.
        gid: PathBuf,
    },
}

/// Chooses who writes `map` for a process of user `euid` and group `egid`: root writes itself; so
/// does a user who maps only the own ids; all else is for newuidmap and newgidmap, which are
/// looked for in `dirs`.
///
/// # Errors
/// They are not installed, or not privileged.
pub fn plan_writer(
    map: &IdMap,
    euid: u32,
    egid: u32,
    dirs: &[PathBuf],
) -> Result<Writer, IdMapError> {
    if euid == 0 {
        return Ok(Writer::Direct { deny_setgroups: false });
    }
    if map.only(IdKind::Uid, euid) && map.only(IdKind::Gid, egid) {
        return Ok(Writer::Direct { deny_setgroups: true });
    }
    Ok(Writer::Programs {
        uid: find_program("newuidmap", userns::CAP_SETUID, dirs)?,
        gid: find_program("newgidmap", userns::CAP_SETGID, dirs)?,
    })
}

fn find_program(program: &'static str, cap: u8, dirs: &[PathBuf]) -> Result<PathBuf, IdMapError> {
    let path = dirs.iter().map(|dir| dir.join(program)).find(|path| path.is_file());
    let path = path.ok_or(IdMapError::NoProgram { program })?;
    match userns::is_privileged(&path, cap) {
        Ok(true) => Ok(path),
        Ok(false) => Err(IdMapError::NotPrivileged { path }),
        Err(source) => Err(IdMapError::Run { path, source }),
    }
}

/// Writes both maps of a process that has just been made in a new user namespace.
///
/// # Errors
/// The kernel or the helper program refuses.
pub fn write(map: &IdMap, writer: &Writer, pid: Pid) -> Result<(), IdMapError> {
    match writer {
        Writer::Direct { deny_setgroups } => {
            write_direct(map, IdKind::Uid, pid)?;
            if *deny_setgroups {
                fd::write_file(format!("/proc/{pid}/setgroups"), b"deny")
                    .map_err(|source| IdMapError::Setgroups { pid, source })?;
            }
            write_direct(map, IdKind::Gid, pid)
        }
        Writer::Programs { uid, gid } => {
            run_program(map, IdKind::Uid, uid, pid)?;
            run_program(map, IdKind::Gid, gid, pid)
        }
    }
}

fn write_direct(map: &IdMap, kind: IdKind, pid: Pid) -> Result<(), IdMapError> {
    // The kernel takes a map in one write, at offset 0, and only once.
    fd::write_file(format!("/proc/{pid}/{}", file_of(kind)), map.text(kind).as_bytes())
        .map_err(|source| IdMapError::Write { kind, pid, source })
}

fn run_program(map: &IdMap, kind: IdKind, path: &Path, pid: Pid) -> Result<(), IdMapError> {
    let text = map.text(kind);
    let (program, number) = (path.to_string_lossy(), pid.to_string());
    let argv: Vec<&str> =
        [program.as_ref(), &number].into_iter().chain(text.split_ascii_whitespace()).collect();
    let path = path.to_path_buf();
    match spawn::run_program(&argv, &[], &[]) {
        Ok(done) if done.status == Wait::Exited(0) => Ok(()),
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.text).trim().to_string();
            Err(IdMapError::Refused { path, text })
        }
        Err(source) => Err(IdMapError::Run { path, source }),
    }
}

/// A new user namespace with this map and no process in it: what mount_setattr(2) takes for an
/// idmapped mount.
///
/// # Errors
/// User namespaces are off or used up, or the map is refused.
pub fn user_namespace(map: &IdMap, writer: &Writer) -> Result<OwnedFd, IdMapError> {
    let holder = userns::holder().map_err(|source| IdMapError::Namespace { source })?;
    write(map, writer, holder.pid())?;
    procfs::open_namespace(holder.pid(), "user").map_err(|source| IdMapError::Namespace { source })
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, list) in [('u', &self.uids), ('g', &self.gids)] {
            for e in list {
                writeln!(f, "{letter} {} {} {}", e.ns.0, e.host.0, e.count)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{IdMapEntry, Sourced};

    type Line = (IdKind, u32, u32, u32);

    fn config(lines: &[Line]) -> Config {
        let mut config = Config::default();
        for (i, &(kind, ns, host, range)) in lines.iter().enumerate() {
            let value = IdMapEntry { kind, ns, host, range };
            config.idmap.push(Sourced { value, origin: Origin::label(&format!("line{i}")) });
        }
        config
    }

    fn map(lines: &[Line]) -> Result<Option<IdMap>, String> {
        IdMap::from_config(&config(lines)).map_err(|e| e.to_string())
    }

    use IdKind::{Gid, Uid};

    #[test]
    fn ids_go_both_ways() {
        let lines = [(Uid, 0, 100_000, 1000), (Uid, 1000, 1000, 1), (Gid, 0, 200_000, 65536)];
        let map = map(&lines).unwrap().unwrap();
        assert_eq!(map.root(), (Some(HostId(100_000)), Some(HostId(200_000))));
        assert_eq!(map.to_host(Uid, NsId(1000)), Some(HostId(1000)));
        assert_eq!(map.to_host(Uid, NsId(1001)), None);
        assert_eq!(map.to_ns(Uid, HostId(100_999)), Some(NsId(999)));
        assert_eq!(map.to_ns(Uid, HostId(101_000)), None);
        assert_eq!(map.to_ns(Uid, HostId(0)), None);
        assert_eq!(map.text(Uid), "0 100000 1000\n1000 1000 1\n");
        assert_eq!(map.to_string(), "u 0 100000 1000\nu 1000 1000 1\ng 0 200000 65536\n");
        assert_eq!(parse_kernel(&map.text(Gid)), map.extents(Gid));
    }

    #[test]
    fn bad_maps_are_refused_with_their_line() {
        assert_eq!(map(&[]), Ok(None));
        let cases: [(&[Line], &str); 6] = [
            (&[(Uid, 0, 100_000, 0)], "range of 0"),
            (&[(Uid, 5, u32::MAX - 4, 5)], "beyond id 4294967294"),
            (&[(Uid, 0, 1, 1)], "no line for groups"),
            (&[(Gid, 0, 1, 1)], "no line for users"),
            (&[(Uid, 0, 1, 10), (Uid, 9, 100, 5)], "container uid 9 twice, here and at line0"),
            (&[(Gid, 0, 1, 10), (Gid, 90, 5, 1)], "host gid 5 twice"),
        ];
        for (lines, expected) in cases {
            let text = map(lines).unwrap_err();
            assert!(text.contains(expected), "{text}");
        }
        let full: Vec<_> = (0..341).map(|i| (Uid, i, i, 1)).collect();
        assert!(map(&full).unwrap_err().contains("341 lines"));
        // The last usable id, and the two sides and kinds do not disturb one another.
        assert!(map(&[(Uid, 0, u32::MAX - 5, 5), (Gid, 0, u32::MAX - 5, 5)]).is_ok());
    }

    #[test]
    fn the_writer_fits_the_caller() {
        let own = map(&[(Uid, 0, 1000, 1), (Gid, 0, 100, 1)]).unwrap().unwrap();
        let more = map(&[(Uid, 0, 1000, 1), (Gid, 0, 100_000, 9)]).unwrap().unwrap();
        let none: &[PathBuf] = &[];
        let direct = |deny| Writer::Direct { deny_setgroups: deny };
        assert_eq!(plan_writer(&more, 0, 0, none).unwrap(), direct(false));
        assert_eq!(plan_writer(&own, 1000, 100, none).unwrap(), direct(true));
        assert!(matches!(
            plan_writer(&more, 1000, 100, none),
            Err(IdMapError::NoProgram { program: "newuidmap" })
        ));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("newuidmap"), "").unwrap();
        assert!(matches!(
            plan_writer(&more, 1000, 100, &[dir.path().to_path_buf()]),
            Err(IdMapError::NotPrivileged { .. })
        ));
    }

    #[test]
    fn kernel_text_is_not_trusted() {
        assert!(parse_kernel("x\n1 2\n1 2 3x\n-1 0 1\n4294967295 0 2\n").is_empty());
        let initial = parse_kernel("         0          0 4294967295\n");
        assert_eq!(initial.len(), 1);
    }
}
