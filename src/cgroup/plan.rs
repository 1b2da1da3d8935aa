//! From the configuration to what will be done with cgroups: names, settings per hierarchy in
//! order, device rules. Pure but for the device nodes that a rule names by path.
//!
//! Everything that cannot be had on this host is an error here, with the line to blame. Start
//! reading at [`plan`].

use super::devices::{DeviceLine, DeviceLineError, DeviceList};
use super::error::{CgroupError, Fault};
use super::layout::{Hierarchy, Layout, Version, controller_of};
use super::translate::{self, Candidates, Context, Untranslatable};
use crate::config::{CgroupConfig, Config, Origin, Sourced};
use crate::sys::{bpf, errno};
use std::fmt;
use std::path::Path;

/// One file of the limit cgroup and what is written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Position in [`CgroupPlan::hierarchies`].
    pub hierarchy: usize,
    /// File and value; where kernels differ in the name, the next is tried when one is missing.
    pub candidates: Vec<(String, String)>,
    /// The key as written.
    pub key: String,
    /// The value as written.
    pub written: String,
    /// Where it is written.
    pub origin: Origin,
}

/// How devices are restricted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevicePlan {
    /// Not at all.
    None,
    /// Lines for devices.allow and devices.deny of a v1 hierarchy.
    V1 {
        /// Position in [`CgroupPlan::hierarchies`].
        hierarchy: usize,
        /// In order.
        lines: Vec<DeviceSetting>,
    },
    /// A program on the unified hierarchy.
    Program {
        /// Position in [`CgroupPlan::hierarchies`].
        hierarchy: usize,
        /// The rules.
        list: DeviceList,
        /// Where the first rule is written.
        origin: Origin,
    },
}

/// One line for a v1 devices cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSetting {
    /// `devices.allow` or `devices.deny`.
    pub allow: bool,
    /// The text.
    pub line: String,
    /// Where it is written.
    pub origin: Origin,
}

/// A cgroup's name below the base of every hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Relative path.
    pub path: String,
    /// True if `-1` … `-999` may be appended when it exists.
    pub numbered: bool,
}

/// All that [`super::tree::CgroupTree`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlan {
    /// Where cgroups are made.
    pub hierarchies: Vec<Hierarchy>,
    /// The monitor's.
    pub monitor: Name,
    /// The container's; limits go here.
    pub payload: Name,
    /// Child of the former that init is in, when it is not the same.
    pub inner: Option<String>,
    /// Where the monitor goes to leave its own (relative path).
    pub pivot: String,
    /// Set by the user: always goes through `pivot`.
    pub pivot_wanted: bool,
    /// In order.
    pub settings: Vec<Setting>,
    /// Device rules.
    pub devices: DevicePlan,
}

/// Plans the cgroups of container `name`.
///
/// `pattern` is `lxc.cgroup.pattern` (`%n` is the name).
///
/// # Errors
/// Names that conflict or leave the base cgroup; settings without a controller, without a
/// counterpart in this host's cgroup version, or with a value that cannot be translated.
pub fn plan(
    config: &Config,
    name: &str,
    layout: &Layout,
    pattern: Option<&str>,
) -> Result<CgroupPlan, CgroupError> {
    let names = plan_names(config, name, pattern)?;
    let (settings, devices) = plan_settings(&config.cgroup, layout)?;
    Ok(CgroupPlan { hierarchies: layout.hierarchies.clone(), settings, devices, ..names })
}

impl CgroupPlan {
    /// Finds what this kernel has not got.
    ///
    /// # Errors
    /// Device rules where they would be a program, which the kernel does not know.
    pub fn check_kernel(&self) -> Result<(), CgroupError> {
        let DevicePlan::Program { hierarchy, origin, .. } = &self.devices else { return Ok(()) };
        match bpf::load_device_program(&DeviceList::with_default(true).compile()) {
            Err(source) if source.is(errno::EINVAL) || source.is(errno::ENOSYS) => {
                let path = self.hierarchies.get(*hierarchy).map(Hierarchy::base_dir);
                let (path, origin) = (path.unwrap_or_default(), Some(origin.clone()));
                Err(Box::new(Fault::Devices { path, source, origin }))
            }
            _ => Ok(()),
        }
    }
}

const DIR: &str = "lxc.cgroup.dir";
const MONITOR: &str = "lxc.cgroup.dir.monitor";
const PIVOT: &str = "lxc.cgroup.dir.monitor.pivot";
const CONTAINER: &str = "lxc.cgroup.dir.container";
const INNER: &str = "lxc.cgroup.dir.container.inner";

fn plan_names(
    config: &Config,
    name: &str,
    pattern: Option<&str>,
) -> Result<CgroupPlan, CgroupError> {
    let cgroup = &config.cgroup;
    let at = |key: &str| config.origin(key).cloned();
    let path = |key: &'static str, value: &Option<String>| {
        value.as_deref().filter(|v| !v.is_empty()).map(|v| relative(config, key, v)).transpose()
    };
    let dir = path(DIR, &cgroup.dir)?;
    let monitor = path(MONITOR, &cgroup.dir_monitor)?;
    let container = path(CONTAINER, &cgroup.dir_container)?;
    let inner = path(INNER, &cgroup.dir_container_inner)?;
    let pivot = path(PIVOT, &cgroup.dir_monitor_pivot)?;
    if let Some(inner) = inner.as_ref().filter(|i| i.contains('/')) {
        let (value, origin) = (inner.clone(), at(INNER));
        return Err(Box::new(Fault::BadPath { key: INNER, value, origin }));
    }
    let conflict = |key, other| Box::new(Fault::Conflict { key, other, origin: at(key) });
    let requires = |key, needs| Box::new(Fault::Requires { key, needs, origin: at(key) });
    match (&dir, &monitor, &container, &inner) {
        (Some(_), Some(_), _, _) => return Err(conflict(MONITOR, DIR)),
        (Some(_), _, Some(_), _) => return Err(conflict(CONTAINER, DIR)),
        (_, Some(_), None, _) => return Err(requires(MONITOR, CONTAINER)),
        (_, None, Some(_), _) => return Err(requires(CONTAINER, MONITOR)),
        (_, _, None, Some(_)) => return Err(requires(INNER, CONTAINER)),
        (_, Some(m), Some(c), _) if m == c => return Err(conflict(MONITOR, CONTAINER)),
        _ => {}
    }
    let below = |parent: &Option<String>, leaf: &str| match parent {
        Some(parent) => format!("{parent}/{leaf}"),
        None => leaf.to_owned(),
    };
    let numbered = |path| Name { path, numbered: true };
    let (monitor, payload) = match (monitor, container) {
        (Some(monitor), Some(container)) => {
            (Name { path: monitor, numbered: false }, Name { path: container, numbered: false })
        }
        _ => match pattern.filter(|p| dir.is_none() && !p.is_empty()) {
            Some(pattern) => {
                let path = relative(config, "lxc.cgroup.pattern", &pattern.replace("%n", name))?;
                (numbered(format!("{path}/monitor")), numbered(format!("{path}/payload")))
            }
            None => (
                numbered(below(&dir, &format!("lxc.monitor.{name}"))),
                numbered(below(&dir, &format!("lxc.payload.{name}"))),
            ),
        },
    };
    let pivot_wanted = pivot.is_some();
    let pivot = below(&pivot.or(dir), "lxc.pivot");
    Ok(CgroupPlan {
        hierarchies: Vec::new(),
        monitor,
        payload,
        inner,
        pivot,
        pivot_wanted,
        settings: Vec::new(),
        devices: DevicePlan::None,
    })
}

/// A path that stays below the base, without needless slashes.
fn relative(config: &Config, key: &'static str, value: &str) -> Result<String, CgroupError> {
    let bad = || {
        Box::new(Fault::BadPath {
            key,
            value: value.to_owned(),
            origin: config.origin(key).cloned(),
        })
    };
    if value.starts_with('/') {
        return Err(bad());
    }
    let parts: Vec<&str> = value.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.is_empty() || parts.contains(&"..") {
        return Err(bad());
    }
    Ok(parts.join("/"))
}

/// A configuration line.
#[derive(Clone, Copy)]
struct Line<'a> {
    dialect: Version,
    file: &'a str,
    value: &'a Sourced<String>,
}

impl Line<'_> {
    fn key(&self) -> String {
        let prefix = match self.dialect {
            Version::V1 => "lxc.cgroup.",
            Version::V2 => "lxc.cgroup2.",
        };
        format!("{prefix}{}", self.file)
    }

    fn bad_value(&self, reason: &'static str) -> CgroupError {
        Box::new(Fault::BadValue {
            key: self.key(),
            value: self.value.value.clone(),
            reason,
            origin: Some(self.value.origin.clone()),
        })
    }
}

impl Context for CgroupConfig {
    fn value(&self, version: Version, file: &str) -> Option<&str> {
        let list = match version {
            Version::V1 => &self.v1,
            Version::V2 => &self.v2,
        };
        list.iter().rev().find(|(f, _)| f == file).map(|(_, v)| v.value.as_str())
    }
}

fn lines(config: &CgroupConfig) -> impl Iterator<Item = Line<'_>> {
    let line = |dialect| move |(file, value)| Line { dialect, file, value };
    let v1 = config.v1.iter().map(|(f, v)| (f.as_str(), v)).map(line(Version::V1));
    v1.chain(config.v2.iter().map(|(f, v)| (f.as_str(), v)).map(line(Version::V2)))
}

fn plan_settings(
    config: &CgroupConfig,
    layout: &Layout,
) -> Result<(Vec<Setting>, DevicePlan), CgroupError> {
    let devices = plan_devices(config, layout)?;
    let mut native_concepts = Vec::new();
    let mut foreign = Vec::new();
    let mut settings = Vec::new();
    for line in lines(config).filter(|line| !is_device_file(line.file)) {
        if line.file.contains('/') || line.file.is_empty() {
            return Err(line.bad_value("the key is not the name of a cgroup file"));
        }
        match native_hierarchy(layout, line) {
            Some(hierarchy) => {
                native_concepts.extend(translate::concept(line.file));
                let candidates = translate::native_candidates(line.file, &line.value.value);
                settings.push(setting(line, hierarchy, candidates));
            }
            None => foreign.push(line),
        }
    }
    let mut late = Vec::new();
    for (at, &line) in foreign.iter().enumerate() {
        let concept = translate::concept(line.file);
        if concept.as_ref().is_some_and(|c| native_concepts.contains(c)) {
            continue;
        }
        // Several v1 lines that are one file in v2 are written once, where the last one is.
        let joined = matches!(line.file, "cpu.cfs_quota_us" | "cpu.cfs_period_us");
        if joined && foreign[at + 1..].iter().any(|l| translate::concept(l.file) == concept) {
            continue;
        }
        let translated = translate_line(config, layout, line)?;
        // The kernel takes memory.memsw.limit_in_bytes only above memory.limit_in_bytes.
        let list = if line.file == "memory.swap.max" { &mut late } else { &mut settings };
        list.extend(translated);
    }
    settings.append(&mut late);
    Ok((settings, devices))
}

fn setting(line: Line<'_>, hierarchy: usize, candidates: Candidates) -> Setting {
    Setting {
        hierarchy,
        candidates,
        key: line.key(),
        written: line.value.value.clone(),
        origin: line.value.origin.clone(),
    }
}

/// The hierarchy of the line's own version that has its controller.
fn native_hierarchy(layout: &Layout, line: Line<'_>) -> Option<usize> {
    let controller = controller_of(line.file);
    layout.hierarchies.iter().position(|h| {
        h.version == line.dialect
            && (h.has(controller) || h.version == Version::V2 && controller == "cgroup")
    })
}

fn translate_line(
    config: &CgroupConfig,
    layout: &Layout,
    line: Line<'_>,
) -> Result<Vec<Setting>, CgroupError> {
    let value = &line.value.value;
    let (other, done) = match line.dialect {
        Version::V1 => (Version::V2, translate::to_v2(line.file, value, config)),
        Version::V2 => (Version::V1, translate::to_v1(line.file, value, config)),
    };
    let origin = Some(line.value.origin.clone());
    let host = if other == Version::V1 { "v1" } else { "v2" };
    let translations = match done {
        Ok(list) => list,
        Err(Untranslatable::Value(reason)) => return Err(line.bad_value(reason)),
        Err(Untranslatable::NoMeaning) => {
            let controller = controller_of(line.file);
            let controller = counterpart(controller, other);
            if hierarchy_of(layout, other, controller).is_none() {
                return Err(no_controller(layout, line));
            }
            if translate::already_so(line.dialect, line.file, value.trim()) {
                return Ok(Vec::new());
            }
            return Err(Box::new(Fault::NoMeaning { key: line.key(), host, origin }));
        }
    };
    let place = |candidates: Candidates| {
        let file = candidates.first().map_or("", |(file, _)| file.as_str());
        let found = hierarchy_of(layout, other, controller_of(file));
        let hierarchy = found.ok_or_else(|| no_controller(layout, line))?;
        Ok(setting(line, hierarchy, candidates))
    };
    translations.into_iter().map(place).collect()
}

fn no_controller(layout: &Layout, line: Line<'_>) -> CgroupError {
    let own = controller_of(line.file);
    // Where there is only one kind of hierarchy, its name for the controller is the useful one.
    let name = match layout.unified() {
        Some(_) if layout.hierarchies.len() == 1 => counterpart(own, Version::V2),
        Some(_) => own,
        None => counterpart(own, Version::V1),
    };
    Box::new(Fault::NoController {
        key: line.key(),
        controller: name.to_owned(),
        why: layout.why_missing(name),
        origin: Some(line.value.origin.clone()),
    })
}

fn hierarchy_of(layout: &Layout, version: Version, controller: &str) -> Option<usize> {
    layout.hierarchies.iter().position(|h| {
        h.version == version
            && (h.has(controller) || version == Version::V2 && controller == "cgroup")
    })
}

/// What the other version calls a controller.
fn counterpart(controller: &str, version: Version) -> &str {
    match (version, controller) {
        (Version::V2, "blkio") => "io",
        (Version::V2, "freezer") => "cgroup",
        (Version::V2, "cpuacct") => "cpu",
        (Version::V1, "io") => "blkio",
        (Version::V1, "cgroup") => "freezer",
        _ => controller,
    }
}

fn is_device_file(file: &str) -> bool {
    controller_of(file) == "devices"
}

/// The version that this host restricts devices with: a v1 hierarchy where there is one.
fn plan_devices(config: &CgroupConfig, layout: &Layout) -> Result<DevicePlan, CgroupError> {
    let of = |dialect| {
        let ours = lines(config).filter(move |l| l.dialect == dialect && is_device_file(l.file));
        ours.collect::<Vec<_>>()
    };
    let (v1, v2) = (of(Version::V1), of(Version::V2));
    let Some(first) = v1.first().or(v2.first()).copied() else { return Ok(DevicePlan::None) };
    if let Some(hierarchy) = hierarchy_of(layout, Version::V1, "devices") {
        let lines = if v1.is_empty() { v2_as_v1_lines(&v2)? } else { v1_lines(&v1)? };
        return Ok(DevicePlan::V1 { hierarchy, lines });
    }
    let unified = layout.hierarchies.iter().position(|h| h.version == Version::V2);
    let Some(hierarchy) = unified else { return Err(no_controller(layout, first)) };
    // A v1 devices cgroup allows everything until told otherwise.
    let (list, lines) = match v2.is_empty() {
        true => (DeviceList::with_default(true), &v1),
        false => (DeviceList::default(), &v2),
    };
    let mut list = list;
    for &line in lines {
        list.push(device_line(line)?);
    }
    let origin =
        lines.first().map_or_else(|| first.value.origin.clone(), |l| l.value.origin.clone());
    if list.is_permissive() {
        return Ok(DevicePlan::None);
    }
    Ok(DevicePlan::Program { hierarchy, list, origin })
}

fn device_verdict(line: Line<'_>) -> Result<bool, CgroupError> {
    match line.file {
        "devices.allow" => Ok(true),
        "devices.deny" => Ok(false),
        _ => Err(line.bad_value("only devices.allow and devices.deny can be set")),
    }
}

fn device_line(line: Line<'_>) -> Result<DeviceLine, CgroupError> {
    let allow = device_verdict(line)?;
    let text = line.value.value.trim();
    // In v1 whatever follows `a` says nothing.
    let text = if line.dialect == Version::V1 && text.starts_with('a') { "a" } else { text };
    DeviceLine::parse(text, allow).map_err(|e| match e {
        DeviceLineError::Syntax => line.bad_value("must be `a` or `TYPE MAJOR:MINOR ACCESS`"),
        DeviceLineError::NoDevice => Box::new(Fault::NoDevice {
            key: line.key(),
            value: line.value.value.clone(),
            origin: Some(line.value.origin.clone()),
        }),
    })
}

/// Native lines go to the kernel as they are written, once they are known to parse.
fn v1_lines(lines: &[Line<'_>]) -> Result<Vec<DeviceSetting>, CgroupError> {
    let one = |&line: &Line<'_>| {
        let parsed = device_line(line)?;
        let (allow, origin) = (parsed.allow(), line.value.origin.clone());
        Ok(DeviceSetting { allow, line: parsed.v1_text(), origin })
    };
    lines.iter().map(one).collect()
}

fn v2_as_v1_lines(lines: &[Line<'_>]) -> Result<Vec<DeviceSetting>, CgroupError> {
    let mut out = v1_lines(lines)?;
    // A v2 list that begins with an allow rule forbids everything else; v1 must be told.
    if let Some(first) = out.first().filter(|first| first.allow && first.line != "a") {
        let origin = first.origin.clone();
        out.insert(0, DeviceSetting { allow: false, line: "a".into(), origin });
    }
    Ok(out)
}

impl fmt::Display for CgroupPlan {
    /// One line per cgroup and setting, for `lxc-start --dry-run`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for h in &self.hierarchies {
            let names = match h.version {
                Version::V1 => h.controllers.join(","),
                Version::V2 => "unified".to_owned(),
            };
            let base = h.base_dir();
            writeln!(f, "cgroup {names}: {}", base.join(&self.payload.path).display())?;
        }
        for s in &self.settings {
            let Some((file, value)) = s.candidates.first() else { continue };
            let dir = self.dir(s.hierarchy);
            writeln!(f, "write {} {value} ({})", dir.join(file).display(), s.origin)?;
        }
        match &self.devices {
            DevicePlan::None => Ok(()),
            DevicePlan::V1 { hierarchy, lines } => lines.iter().try_for_each(|l| {
                let file = if l.allow { "devices.allow" } else { "devices.deny" };
                let file = self.dir(*hierarchy).join(file);
                writeln!(f, "write {} {} ({})", file.display(), l.line, l.origin)
            }),
            DevicePlan::Program { hierarchy, list, origin } => writeln!(
                f,
                "device program of {} instructions on {} ({origin})",
                list.compile().len(),
                self.dir(*hierarchy).display()
            ),
        }
    }
}

impl CgroupPlan {
    fn dir(&self, hierarchy: usize) -> std::path::PathBuf {
        let base = self.hierarchies.get(hierarchy).map(Hierarchy::base_dir);
        base.unwrap_or_default().join(Path::new(&self.payload.path))
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
