//! Where the cgroup hierarchies are mounted, which controllers each has, and below which cgroup
//! of it containers are made: on cgroup v1, v2 and hybrid hosts.
//!
//! Read from /proc/self/mountinfo and /proc/PID/cgroup; nothing is made here. Start reading at
//! [`Layout::probe`].

use super::error::{CgroupError, Fault, Missing};
use crate::sys::{dir, fd};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The two kinds of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One or some controllers each, or a name (`name=systemd`).
    V1,
    /// The unified hierarchy.
    V2,
}

/// What a host has as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutKind {
    /// Only v1 hierarchies.
    Legacy,
    /// v1 hierarchies and the unified one.
    Hybrid,
    /// Only the unified hierarchy.
    Unified,
}

/// Below whose cgroup containers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// That of process 1, as LXC does for root.
    Init,
    /// The caller's own: `lxc.cgroup.relative = 1`, and users.
    Own,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// v1 or v2.
    pub version: Version,
    /// v1: the controllers mounted together, or the one `name=NAME`. v2: those that the base
    /// cgroup may use.
    pub controllers: Vec<String>,
    /// Mount point on the host.
    pub mount: PathBuf,
    /// The base cgroup below the mount point, without slashes at its ends; empty for the top.
    pub base: String,
}

impl Hierarchy {
    /// True if `controller` is one of this hierarchy's; the unified one is also called that.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
            || self.version == Version::V2 && matches!(controller, "unified" | "cgroup2")
    }

    /// The controller to name in a request to a monitor about this hierarchy; `None` asks for the
    /// unified one.
    pub fn query_name(&self) -> Option<&str> {
        match self.version {
            Version::V1 => self.controllers.first().map(String::as_str),
            Version::V2 => None,
        }
    }

    /// The base cgroup's directory.
    pub fn base_dir(&self) -> PathBuf {
        if self.base.is_empty() { self.mount.clone() } else { self.mount.join(&self.base) }
    }
}

/// The controller that a file's name begins with.
pub(super) fn controller_of(file: &str) -> &str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}

/// The hierarchies that containers can be put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// v1 hierarchies in the kernel's order, then the unified one.
    pub hierarchies: Vec<Hierarchy>,
    root: PathBuf,
}

/// How [`Layout::probe_in`] looks at the host; `Default` is this host as it is.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// Prefix of /proc and of every mount point, for tests on a tree of files.
    pub root: &'a Path,
    /// Whose cgroup is the base.
    pub base: Base,
    /// `lxc.cgroup.use`: only these controllers; empty for all.
    pub only: &'a [String],
}

/// The controllers that kernels have or had.
const KNOWN: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "dmem",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
];

const CGROUP1_MAGIC: u64 = 0x0027_e0eb;

impl Layout {
    /// This host's hierarchies, those only in which the base cgroup is writable.
    ///
    /// `only` is `lxc.cgroup.use` (empty: all).
    ///
    /// # Errors
    /// [`Fault::NoHierarchy`] if there is none, [`Fault::UseMissing`] if one of
    /// `only` is not there, [`Fault::Read`].
    pub fn probe(base: Base, only: &[String]) -> Result<Self, CgroupError> {
        Self::probe_in(&Probe { root: Path::new("/"), base, only })
    }

    /// As [`Self::probe`], on the tree below `options.root`.
    pub fn probe_in(options: &Probe<'_>) -> Result<Self, CgroupError> {
        let live = options.root == Path::new("/");
        let read = |name: &str| {
            let path = options.root.join(name);
            fd::read_to_string(&path).map_err(|source| Box::new(Fault::Read { path, source }))
        };
        let mounts = read("proc/self/mountinfo")?;
        let membership = match options.base {
            Base::Init => read("proc/1/cgroup")?,
            Base::Own => read("proc/self/cgroup")?,
        };
        let mut hierarchies = Vec::new();
        let mut found_unwritable = None;
        for Place { names, mount, below: base } in places(&mounts, &membership) {
            let base = match options.base {
                Base::Init => base.strip_suffix("init.scope").unwrap_or(base),
                Base::Own => base,
            };
            let base = base.trim_matches('/').to_owned();
            let point = options.root.join(mount.point.trim_start_matches('/'));
            let version = if names.is_empty() { Version::V2 } else { Version::V1 };
            let mut found = Hierarchy {
                version,
                controllers: names
                    .split(',')
                    .filter(|n| !n.is_empty())
                    .map(str::to_owned)
                    .collect(),
                mount: point,
                base,
            };
            if live && !is_visible(&found) {
                continue;
            }
            let dir = found.base_dir();
            if mount.read_only || !dir::writable(&dir) {
                found_unwritable.get_or_insert(dir);
                continue;
            }
            if version == Version::V2 {
                let file = dir.join("cgroup.controllers");
                let text = fd::read_to_string(&file)
                    .map_err(|source| Box::new(Fault::Read { path: file, source }))?;
                found.controllers = text.split_whitespace().map(str::to_owned).collect();
            } else if !options.only.is_empty()
                && !found.controllers.iter().all(|c| options.only.contains(c))
            {
                continue;
            }
            hierarchies.push(found);
        }
        let layout = Self { hierarchies, root: options.root.to_owned() };
        if let Some(name) = options.only.iter().find(|name| layout.find(name).is_none()) {
            return Err(Box::new(Fault::UseMissing { controller: name.clone() }));
        }
        if layout.hierarchies.is_empty() {
            return Err(Box::new(Fault::NoHierarchy { unwritable: found_unwritable }));
        }
        Ok(layout)
    }

    /// v1, hybrid or v2.
    pub fn kind(&self) -> LayoutKind {
        let v1 = self.hierarchies.iter().any(|h| h.version == Version::V1);
        match (v1, self.unified().is_some()) {
            (true, true) => LayoutKind::Hybrid,
            (true, false) => LayoutKind::Legacy,
            (false, _) => LayoutKind::Unified,
        }
    }

    /// The unified hierarchy.
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.version == Version::V2)
    }

    /// The hierarchy that has `controller`: `memory`, `name=systemd`, also `systemd` and `unified`.
    pub fn find(&self, controller: &str) -> Option<&Hierarchy> {
        self.index(controller).map(|at| &self.hierarchies[at])
    }

    /// Position of [`Self::find`] in [`Self::hierarchies`].
    pub fn index(&self, controller: &str) -> Option<usize> {
        let by = |name: &str| self.hierarchies.iter().position(|h| h.has(name));
        by(controller).or_else(|| {
            let plain = !controller.is_empty() && !controller.contains('=');
            plain.then(|| by(&format!("name={controller}"))).flatten()
        })
    }

    /// Directory of the cgroup that a monitor named for `controller` in answer to
    /// GET_CGROUP or GET_LIMIT_CGROUP: `reply` is the path below the mount point.
    pub fn locate(&self, controller: &str, reply: &str) -> Option<PathBuf> {
        let hierarchy = self.find(controller)?;
        let path = reply.trim_matches('/');
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        Some(hierarchy.mount.join(path))
    }

    /// Mount point, version and path below it of every hierarchy that `pid` is in.
    pub fn membership(&self, pid: i32) -> Result<Vec<(PathBuf, Version, String)>, CgroupError> {
        let read = |name: &str| {
            let path = self.root.join(name);
            fd::read_to_string(&path).map_err(|source| Box::new(Fault::Read { path, source }))
        };
        let mounts = read("proc/self/mountinfo")?;
        let text = read(&format!("proc/{pid}/cgroup"))?;
        let mut out = Vec::new();
        for Place { mount, below, .. } in places(&mounts, &text) {
            let point = self.root.join(mount.point.trim_start_matches('/'));
            let known = self.hierarchies.iter().find(|h| h.mount == point);
            if let Some(hierarchy) = known {
                out.push((point, hierarchy.version, below.trim_matches('/').to_owned()));
            }
        }
        Ok(out)
    }

    /// Why `controller` cannot be used here.
    pub fn why_missing(&self, controller: &str) -> Missing {
        if let Some(unified) = self.unified() {
            let top = fd::read_to_string(unified.mount.join("cgroup.controllers"));
            if top.is_ok_and(|text| text.split_whitespace().any(|c| c == controller)) {
                return Missing::NotDelegated(unified.base_dir());
            }
        }
        let v1_name = if controller == "io" { "blkio" } else { controller };
        if !KNOWN.contains(&v1_name) {
            return Missing::Unknown;
        }
        let table = fd::read_to_string(self.root.join("proc/cgroups")).unwrap_or_default();
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        match row.into_iter().find(|row| row.first() == Some(&v1_name)) {
            Some(row) if row.get(3) == Some(&"0") => return Missing::Disabled,
            Some(_) => return Missing::NotMounted,
            None => {}
        }
        let cmdline = fd::read_to_string(self.root.join("proc/cmdline")).unwrap_or_default();
        let disabled = cmdline.split_whitespace().filter_map(|w| w.strip_prefix("cgroup_disable="));
        if disabled.flat_map(|list| list.split(',')).any(|name| name == v1_name) {
            return Missing::Disabled;
        }
        Missing::NotBuilt
    }
}

/// False if another mount hides this one, as `ip netns exec` does with its own /sys.
fn is_visible(hierarchy: &Hierarchy) -> bool {
    let expected = match hierarchy.version {
        Version::V1 => CGROUP1_MAGIC,
        Version::V2 => dir::CGROUP2_MAGIC,
    };
    dir::magic_of(&hierarchy.mount).is_ok_and(|magic| magic == expected)
}

/// A cgroup line of mountinfo.
#[derive(Clone, Debug)]
pub struct Mount<'a> {
    /// The cgroup that is seen at `point`.
    pub root: Cow<'a, str>,
    /// Mount point.
    pub point: Cow<'a, str>,
    /// Of the mount or of the file system.
    pub read_only: bool,
    /// The unified hierarchy.
    pub v2: bool,
    options: &'a str,
}

/// One hierarchy of a process, and where its cgroup there is seen.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// v1: the controllers with commas, or `name=NAME`. Empty for the unified hierarchy.
    pub names: &'a str,
    /// The mount that shows it.
    pub mount: Mount<'a>,
    /// The cgroup below that mount's root.
    pub below: &'a str,
}

/// The cgroups in the text of a /proc/PID/cgroup that some mount of a mountinfo text shows.
pub fn places<'a>(mountinfo: &'a str, membership: &'a str) -> Vec<Place<'a>> {
    let mounts = parse_mounts(mountinfo);
    let place = |(names, path)| {
        let (mount, below) = find_mount(&mounts, names, path)?;
        Some(Place { names, mount: mount.clone(), below })
    };
    parse_membership(membership).filter_map(place).collect()
}

fn parse_mounts(text: &str) -> Vec<Mount<'_>> {
    text.lines().filter_map(parse_mount).collect()
}

/// `31 23 0:28 ROOT POINT OPTIONS [FIELD]... - TYPE SOURCE SUPER-OPTIONS`
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let v2 = match right.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = right.nth(1)?;
    let mut left = left.split(' ').skip(3);
    let (root, point, flags) = (left.next()?, left.next()?, left.next()?);
    let ro = |list: &str| list.split(',').any(|word| word == "ro");
    let read_only = ro(flags) || ro(options);
    Some(Mount { root: unescape(root), point: unescape(point), read_only, v2, options })
}

/// Undoes `\040` and the like.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|d| first == b'\\' && d.iter().all(u8::is_ascii_digit));
        let code = code.and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// (controllers separated by commas, path) of each line `ID:CONTROLLERS:PATH`; no controllers for
/// the unified hierarchy, which comes last in the kernel's list.
pub(super) fn parse_membership(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// The mount of the hierarchy with these controllers that shows `path`, and `path` below it.
fn find_mount<'m, 'a, 'p>(
    mounts: &'m [Mount<'a>],
    names: &str,
    path: &'p str,
) -> Option<(&'m Mount<'a>, &'p str)> {
    let mut best: Option<(&'m Mount<'a>, &'p str)> = None;
    for mount in mounts {
        let right_kind = match names.is_empty() {
            true => mount.v2,
            false => {
                !mount.v2 && names.split(',').all(|n| mount.options.split(',').any(|o| o == n))
            }
        };
        let Some(below) = below(path, &mount.root).filter(|_| right_kind) else { continue };
        let standard = |m: &Mount<'_>| m.point.starts_with("/sys/fs/cgroup");
        if best.is_none_or(|(old, _)| standard(mount) && !standard(old)) {
            best = Some((mount, below));
        }
    }
    best
}

/// `path` relative to `root`, both absolute; `None` if it is not below it.
fn below<'p>(path: &'p str, root: &str) -> Option<&'p str> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let rest = path.strip_prefix(root.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, hybrid, legacy, unified};
    use super::*;

    fn paths(layout: &Layout, fixture: &Fixture) -> Vec<(String, String, String)> {
        let strip = |h: &Hierarchy| h.mount.strip_prefix(fixture.path()).unwrap().to_owned();
        let line = |h: &Hierarchy| {
            (h.controllers.join(","), strip(h).display().to_string(), h.base.clone())
        };
        layout.hierarchies.iter().map(line).collect()
    }

    #[test]
    fn legacy_with_controllers_mounted_together() {
        let fixture = legacy();
        let layout = fixture.layout(Base::Init);
        assert_eq!(layout.kind(), LayoutKind::Legacy);
        let found = paths(&layout, &fixture);
        assert!(found.contains(&(
            "cpu,cpuacct".into(),
            "sys/fs/cgroup/cpu,cpuacct".into(),
            "".into()
        )));
        assert!(found.contains(&(
            "name=systemd".into(),
            "sys/fs/cgroup/systemd".into(),
            "".into()
        )));
        assert!(layout.find("cpuacct").is_some());
        assert!(layout.find("systemd").is_some());
        assert!(layout.find("unified").is_none());
    }

    #[test]
    fn hybrid_and_bases() {
        let fixture = hybrid();
        let layout = fixture.layout(Base::Init);
        assert_eq!(layout.kind(), LayoutKind::Hybrid);
        assert_eq!(layout.find("memory").unwrap().base, "");
        assert_eq!(layout.unified().unwrap().controllers, ["hugetlb"]);
        let own = fixture.layout(Base::Own);
        assert_eq!(own.find("memory").unwrap().base, "session/one");
    }

    #[test]
    fn unified_below_init_scope() {
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        assert_eq!(layout.kind(), LayoutKind::Unified);
        assert_eq!(layout.unified().unwrap().base, "");
        assert!(layout.find("memory").is_some());
        assert_eq!(layout.index("unified"), Some(0));
        assert_eq!(
            layout.locate("memory", "/lxc.payload.c1"),
            Some(fixture.path().join("sys/fs/cgroup/lxc.payload.c1"))
        );
        assert_eq!(layout.locate("memory", "/../../etc"), None);
    }

    #[test]
    fn only_the_listed_controllers() {
        let fixture = hybrid();
        let probe = |list: &[&str]| {
            let only: Vec<String> = list.iter().map(|&s| s.into()).collect();
            Layout::probe_in(&Probe { root: fixture.path(), base: Base::Init, only: &only })
        };
        let layout = probe(&["memory", "pids"]).unwrap();
        assert_eq!(layout.hierarchies.len(), 3);
        assert!(matches!(
            probe(&["memory", "nonesuch"]).map_err(|e| *e),
            Err(Fault::UseMissing { controller }) if controller == "nonesuch"
        ));
    }

    #[test]
    fn why_a_controller_is_missing() {
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        assert_eq!(layout.why_missing("rdma"), Missing::Disabled);
        assert_eq!(layout.why_missing("net_cls"), Missing::NotMounted);
        assert_eq!(layout.why_missing("misc"), Missing::NotBuilt);
        assert_eq!(layout.why_missing("memroy"), Missing::Unknown);
        fixture.write("proc/cmdline", "cgroup_disable=misc,other quiet");
        assert_eq!(layout.why_missing("misc"), Missing::Disabled);
    }

    #[test]
    fn a_bind_of_a_part_of_the_hierarchy() {
        let line = r"40 30 0:32 /lxc/c1 /sys/fs/cgroup/my\040mem rw - cgroup cgroup rw,memory";
        let mounts = parse_mounts(line);
        let (mount, rest) = find_mount(&mounts, "memory", "/lxc/c1/sub").unwrap();
        assert_eq!((&*mount.point, rest), ("/sys/fs/cgroup/my mem", "/sub"));
        assert!(find_mount(&mounts, "memory", "/lxc/c12").is_none());
        assert!(find_mount(&mounts, "memory", "/..").is_none());
        assert!(find_mount(&mounts, "cpu", "/lxc/c1").is_none());
        assert!(find_mount(&mounts, "", "/lxc/c1").is_none());
    }
}
