//! Reading and writing one file of a container's limit cgroup by its name, for `lxc-cgroup` and
//! `lxc-config --live`. Start reading at [`read`] and [`write()`].

use super::error::{CgroupError, Fault};
use super::layout::{Hierarchy, Layout, Version, controller_of};
use super::stat::Finder;
use super::translate::{self, Candidates, Untranslatable};
use crate::sys::errno::ENOENT;
use crate::sys::{SysError, dirs, fd};
use crate::util::blame::Explain as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes.
const MAX: usize = 1 << 20;

/// What v1 shows for no limit: the largest number of whole pages.
const UNLIMITED: u64 = (i64::MAX as u64) & !0xffff;

/// What a name like `memory.max` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A file of the limit cgroup in this hierarchy.
    File(&'a Hierarchy),
    /// `devices.allow` or `devices.deny` where devices are restricted by a program: the monitor
    /// must be asked (ADD_BPF_DEVICE_CGROUP). They cannot be read.
    DeviceProgram {
        /// The verdict.
        allow: bool,
    },
}

/// Which hierarchy has the file `name`.
///
/// # Errors
/// [`Fault::NoController`] with the reason; [`Fault::BadValue`] for what is no name.
pub fn find<'a>(layout: &'a Layout, name: &str) -> Result<Item<'a>, CgroupError> {
    if name.is_empty() || name.contains('/') {
        return Err(unusable(name, "", "not the name of a cgroup file"));
    }
    let controller = controller_of(name);
    let with = |version: Version| {
        layout.hierarchies.iter().find(|h| h.version == version && h.has(controller))
    };
    if let Some(hierarchy) = with(Version::V1).or_else(|| with(Version::V2)) {
        return Ok(Item::File(hierarchy));
    }
    match (layout.unified(), name) {
        (Some(_), "devices.allow") => Ok(Item::DeviceProgram { allow: true }),
        (Some(_), "devices.deny") => Ok(Item::DeviceProgram { allow: false }),
        // Core files, and the pressure and statistics that every cgroup has.
        (Some(unified), _) if controller == "cgroup" || name.ends_with(".pressure") => {
            Ok(Item::File(unified))
        }
        (Some(unified), "cpu.stat" | "cpu.stat.local") => Ok(Item::File(unified)),
        _ => Err(Box::new(Fault::NoController {
            key: name.to_owned(),
            controller: controller.to_owned(),
            why: layout.why_missing(controller),
            origin: None,
        })),
    }
}

/// The content of `name` in the container's limit cgroup, which `dir` finds. A name of the other
/// cgroup version is answered from what this host has for it, in that version's words.
///
/// # Errors
/// No hierarchy has it, the host's version has nothing like it, or it cannot be read.
pub fn read(layout: &Layout, dir: &mut Finder<'_>, name: &str) -> Result<String, CgroupError> {
    let found = find(layout, name);
    let missing = match &found {
        Ok(Item::File(hierarchy)) => {
            let path = dir(hierarchy).unwrap_or_else(|| hierarchy.mount.clone()).join(name);
            match content(&path) {
                Ok(text) => return Ok(text),
                Err(source) => Box::new(Fault::Read { path, source }),
            }
        }
        Ok(Item::DeviceProgram { .. }) => {
            return Err(unusable(
                name,
                "",
                "a program decides on devices here: it can be set, not read",
            ));
        }
        Err(_) => unusable(name, "", "nothing to be read"),
    };
    let absent = missing.errno().is_none_or(|errno| errno == ENOENT);
    if let Some(dialect) = translate::dialect(name).filter(|_| absent) {
        let mut text = String::new();
        for (_, _, value) in
            known(layout, dir, name).0.iter().filter(|v| v.0 == dialect && v.1 == name)
        {
            text.extend([value.as_str(), "\n"]);
        }
        if !text.is_empty() {
            return Ok(text);
        }
    }
    Err(found.err().unwrap_or(missing))
}

/// Writes `value` to `name` of the container's limit cgroup, or what means the same on this host.
/// Not for devices.allow and devices.deny: see [`find`].
///
/// # Errors
/// As [`read`], and for a value that cannot be translated or that the kernel refuses.
pub fn write(
    layout: &Layout,
    dir: &mut Finder<'_>,
    name: &str,
    value: &str,
) -> Result<(), CgroupError> {
    let found = find(layout, name);
    let setting = |path: PathBuf, source| {
        Box::new(Fault::Setting {
            key: name.into(),
            value: value.into(),
            path: path.into(),
            source,
            origin: None,
        })
    };
    let put = |dir: PathBuf, candidates: &Candidates| {
        let there = |(file, _): &&(String, String)| dirs::exists(&dir.join(file));
        match candidates.iter().find(there) {
            Some((file, text)) => fd::write_file(dir.join(file), text.as_bytes()),
            None => Err(SysError::new("open", name, ENOENT)),
        }
        .map_err(|source| setting(dir, source))
    };
    let mut missing = None;
    if let Ok(Item::File(hierarchy)) = &found {
        let place = dir(hierarchy).unwrap_or_else(|| hierarchy.mount.clone());
        match put(place, &translate::native_candidates(name, value)) {
            Err(error) if error.errno() == Some(ENOENT) => missing = Some(error),
            done => return done,
        }
    }
    let give_up = |found: Result<Item<'_>, CgroupError>, missing: Option<CgroupError>| {
        let other = || unusable(name, value, "not a file of a container's cgroup");
        Err(found.err().or(missing).unwrap_or_else(other))
    };
    let Some(dialect) = translate::dialect(name) else { return give_up(found, missing) };
    let mut values = known(layout, dir, name);
    values.0.push((dialect, name.to_owned(), value.to_owned()));
    let (other, done) = match dialect {
        Version::V1 => (Version::V2, translate::to_v2(name, value, &values)),
        Version::V2 => (Version::V1, translate::to_v1(name, value, &values)),
    };
    let settings = match done {
        Ok(settings) => settings,
        Err(Untranslatable::Value(reason)) => return Err(unusable(name, value, reason)),
        Err(Untranslatable::NoMeaning) if translate::already_so(dialect, name, value) => {
            return Ok(());
        }
        Err(Untranslatable::NoMeaning) => return give_up(found, missing),
    };
    for candidates in &settings {
        let file = candidates.first().map_or("", |(file, _)| file.as_str());
        let Some(place) = hierarchy_of(layout, other, file).and_then(&mut *dir) else {
            return give_up(found, missing);
        };
        put(place, candidates)?;
    }
    Ok(())
}

/// What the files of a container say now, in the words of both versions.
struct Values(Vec<(Version, String, String)>);

impl translate::Context for Values {
    fn value(&self, version: Version, file: &str) -> Option<&str> {
        let same = |v: &&(Version, String, String)| v.0 == version && v.1 == file;
        self.0.iter().rev().find(same).map(|(.., value)| value.as_str())
    }
}

/// The values of everything that `name` has to do with: the files of its controller that have a
/// counterpart, and what each would be called in the other version.
fn known(layout: &Layout, dir: &mut Finder<'_>, name: &str) -> Values {
    let mut values = Values(Vec::new());
    for (version, file) in translate::relatives(name) {
        let place = hierarchy_of(layout, version, &file).and_then(&mut *dir);
        let Some(Ok(text)) = place.map(|dir| content(&dir.join(&file))) else { continue };
        // A line for each device.
        for line in text.lines().map(str::trim) {
            let limit = version == Version::V1 && file.ends_with("limit_in_bytes");
            let unlimited = limit && line.parse::<u64>().is_ok_and(|n| n >= UNLIMITED);
            let value = if unlimited { "-1" } else { line };
            values.0.push((version, file.clone(), value.to_owned()));
        }
    }
    for at in 0..values.0.len() {
        let (version, file, value) = &values.0[at];
        let (other, done) = match version {
            Version::V1 => (Version::V2, translate::to_v2(file, value, &values)),
            Version::V2 => (Version::V1, translate::to_v1(file, value, &values)),
        };
        let all = done.unwrap_or_default().into_iter().flatten();
        let mut all: Vec<_> = all.map(|(file, value)| (other, file, value)).collect();
        all.retain(|new| !values.0.contains(new));
        values.0.extend(all);
    }
    values
}

fn hierarchy_of<'a>(layout: &'a Layout, version: Version, file: &str) -> Option<&'a Hierarchy> {
    let controller = controller_of(file);
    let core =
        |h: &Hierarchy| version == Version::V2 && controller == "cgroup" && h.version == version;
    layout.hierarchies.iter().find(|h| h.version == version && h.has(controller) || core(h))
}

fn content(path: &Path) -> Result<String, SysError> {
    let file = fd::open(path, fd::OpenFlags::RDONLY, 0)?;
    let bytes = fd::read_fd(file.as_fd(), MAX)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unusable(name: &str, value: &str, reason: &'static str) -> CgroupError {
    Box::new(Fault::BadValue {
        key: name.to_owned(),
        value: value.to_owned(),
        reason,
        origin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hybrid, legacy, unified};
    use super::super::layout::Base;
    use super::*;

    #[test]
    fn names_lead_to_hierarchies() {
        let fixture = hybrid();
        let layout = fixture.layout(Base::Init);
        let dir = |name: &str| match find(&layout, name).unwrap() {
            Item::File(h) => h.mount.file_name().unwrap().to_str().unwrap().to_owned(),
            Item::DeviceProgram { .. } => "program".into(),
        };
        assert_eq!(dir("memory.limit_in_bytes"), "memory");
        assert_eq!(dir("devices.allow"), "devices");
        assert_eq!(dir("cgroup.freeze"), "unified");
        assert_eq!(dir("hugetlb.2MB.max"), "unified");
        assert_eq!(dir("io.pressure"), "unified");
        assert!(find(&layout, "net_cls.classid").is_err());
        assert!(find(&layout, "../x").is_err());
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        assert_eq!(find(&layout, "devices.deny").unwrap(), Item::DeviceProgram { allow: false });
        assert!(find(&layout, "devices.list").is_err());
        let fixture = legacy();
        assert!(find(&fixture.layout(Base::Init), "cgroup.freeze").is_err());
    }

    #[test]
    fn files_of_both_versions() {
        // A v1 host: what is asked in the words of v2 is translated.
        let fixture = legacy();
        let layout = fixture.layout(Base::Init);
        let mut dir = |h: &Hierarchy| Some(h.mount.clone());
        let put = |name: &str, text: &str| fixture.write(&format!("sys/fs/cgroup/{name}"), text);
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("cpu,cpuacct/cpu.shares", "1024\n");
        put("cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        put("cpu,cpuacct/cpu.cfs_period_us", "50000\n");
        put("pids/pids.max", "max\n");
        let mut get = |name: &str| read(&layout, &mut dir, name);
        assert_eq!(get("memory.limit_in_bytes").unwrap(), "9223372036854771712\n");
        assert_eq!(get("memory.max").unwrap(), "max\n");
        assert_eq!(get("cpu.weight").unwrap(), "100\n");
        assert_eq!(get("cpu.max").unwrap(), "max 50000\n");
        assert_eq!(get("pids.max").unwrap(), "max\n");
        assert!(matches!(get("memory.high").map_err(|e| *e), Err(Fault::Read { .. })));
        assert!(matches!(get("memory.bogus").map_err(|e| *e), Err(Fault::Read { .. })));
        assert!(matches!(get("bogus.max").map_err(|e| *e), Err(Fault::NoController { .. })));
        // What is written here does not shorten a file, as none of the kernel's has a length.
        for name in ["memory/memory.limit_in_bytes", "pids/pids.max"] {
            put(name, "");
        }
        for name in ["cpu.cfs_quota_us", "cpu.cfs_period_us"] {
            put(&format!("cpu,cpuacct/{name}"), "");
        }
        let mut set = |name: &str, value: &str| write(&layout, &mut dir, name, value);
        set("memory.max", "64M").unwrap();
        set("cpu.max", "20000 100000").unwrap();
        set("pids.max", "7").unwrap();
        set("memory.high", "max").unwrap();
        assert!(matches!(set("memory.high", "1M").map_err(|e| *e), Err(Fault::Setting { .. })));
        assert!(matches!(set("memory.max", "x").map_err(|e| *e), Err(Fault::BadValue { .. })));
        let text = |name: &str| fixture.read(&format!("sys/fs/cgroup/{name}"));
        assert_eq!(text("memory/memory.limit_in_bytes"), "67108864");
        assert_eq!(text("cpu,cpuacct/cpu.cfs_quota_us"), "20000");
        assert_eq!(text("cpu,cpuacct/cpu.cfs_period_us"), "100000");
        assert_eq!(text("pids/pids.max"), "7");
    }

    #[test]
    fn the_period_that_is_set_stays() {
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        let mut dir = |h: &Hierarchy| Some(h.mount.clone());
        fixture.write("sys/fs/cgroup/cpu.max", "max 50000\n");
        fixture.write("sys/fs/cgroup/memory.max", "1048576\n");
        fixture.write("sys/fs/cgroup/memory.swap.max", "max\n");
        write(&layout, &mut dir, "cpu.cfs_quota_us", "25000").unwrap();
        assert_eq!(fixture.read("sys/fs/cgroup/cpu.max"), "25000 50000");
        write(&layout, &mut dir, "memory.memsw.limit_in_bytes", "2M").unwrap();
        assert_eq!(fixture.read("sys/fs/cgroup/memory.swap.max"), "1048576");
        let shown = read(&layout, &mut dir, "cpu.cfs_quota_us").unwrap();
        assert_eq!(shown, "25000\n");
    }
}
