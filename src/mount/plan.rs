//! From the configuration to the list of mounts: pure, and complete enough to be printed.
//!
//! [`plan`] decides everything that can be decided without touching a file: the targets below
//! the root file system, which mounts need an id map, the mode of the cgroup mounts. The steps
//! of `mod.rs` carry it out.

use super::fstab::{self, Create, Entry, FstabProblem, IdMapFrom, Options};
use super::{Fault, Inputs, MountError, RootSource};
use crate::config::{
    AutoCgroup, AutoCgroupKind, AutoCgroupMode, AutoProc, AutoSys, Cap, Config, ShMounts,
};
use crate::sys::mount::Reach;
use crate::util::blame::Origin;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// All mounts of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct MountPlan {
    /// The root file system; `None` uses the host's root in a private mount namespace.
    pub root: Option<RootPlan>,
    /// Size in bytes of the tmpfs on /dev, when `lxc.autodev` is on.
    pub dev: Option<u64>,
    /// How /proc is mounted.
    pub proc: Option<AutoProc>,
    /// /proc/sys/net stays writable (CAP_NET_ADMIN is kept).
    pub proc_net: bool,
    /// How /sys is mounted.
    pub sys: Option<AutoSys>,
    /// How /sys/fs/cgroup is mounted.
    pub cgroup: Option<CgroupAuto>,
    /// The shared-mounts directory.
    pub shmounts: Option<ShMounts>,
    /// fstab lines, then entries, then what nesting adds; targets are checked and relative to
    /// the root.
    pub entries: Vec<Entry>,
    /// The container has a user namespace of its own.
    pub user_ns: bool,
    /// Things to say that are no errors.
    pub warnings: Vec<String>,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq)]
pub struct RootPlan {
    /// What is mounted.
    pub source: RootSource,
    /// Where: `LXC_ROOTFS_MOUNT`.
    pub mount_point: PathBuf,
    /// `lxc.rootfs.options`.
    pub options: Options,
    /// Line of `lxc.rootfs.path`.
    pub origin: Option<Origin>,
}

/// `cgroup:`, `cgroup-full:` and `cgroup2:` with the default mode filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupAuto {
    /// Which word asked for it.
    pub kind: AutoCgroupKind,
    /// Never `None`.
    pub mode: AutoCgroupMode,
    /// Mount even when init could do it itself.
    pub force: bool,
}

impl MountPlan {
    /// The path where the root file system is seen before pivot_root: `LXC_ROOTFS_MOUNT`.
    pub fn mount_point(&self) -> &Path {
        self.root.as_ref().map_or(Path::new("/"), |root| &root.mount_point)
    }

    /// The entries that need an id map, in order.
    pub fn idmapped(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.options.idmap.is_some())
    }

    /// Whose id map the root file system takes.
    pub fn root_idmap(&self) -> Option<&IdMapFrom> {
        self.root.as_ref()?.options.idmap.as_ref()
    }
}

/// Plans all mounts. `inputs` carries what had to be read first.
///
/// # Errors
/// A line that cannot be parsed or carried out, with its origin.
pub fn plan(config: &Config, inputs: &Inputs<'_>) -> Result<MountPlan, MountError> {
    let user_ns = !config.idmap.is_empty();
    let mut plan = MountPlan {
        root: plan_root(config, inputs, user_ns)?,
        dev: config.autodev.enabled.then_some(match config.autodev.tmpfs_size {
            0 => 500_000,
            size => size,
        }),
        proc: config.mount_auto.proc,
        proc_net: config.caps.keeps(Cap::NET_ADMIN),
        sys: config.mount_auto.sys,
        cgroup: config.mount_auto.cgroup.map(|auto| plan_cgroup(auto, config)),
        shmounts: config.mount_auto.shmounts.clone(),
        entries: Vec::new(),
        user_ns,
        warnings: Vec::new(),
    };
    if let Some(shmounts) = &mut plan.shmounts {
        shmounts.container = below_root(&shmounts.container).map_err(|problem| Fault::Setting {
            key: "lxc.mount.auto",
            origin: auto_origin(config),
            problem,
        })?;
    }
    let lines = inputs.fstab.iter().cloned().chain(fstab::parse_entries(&config.mount_entries)?);
    for entry in lines {
        plan_entry(&mut plan, entry, inputs)?;
    }
    if config.apparmor.allow_nesting {
        plan.entries.extend(nesting_entries());
    }
    Ok(plan)
}

fn auto_origin(config: &Config) -> Option<Origin> {
    config.origin("lxc.mount.auto").cloned()
}

fn plan_root(
    config: &Config,
    inputs: &Inputs<'_>,
    user_ns: bool,
) -> Result<Option<RootPlan>, MountError> {
    let origin = config.origin("lxc.rootfs.options").cloned();
    let refuse = |problem| {
        Box::new(Fault::Setting { key: "lxc.rootfs.options", origin: origin.clone(), problem })
    };
    let options = Options::parse(config.rootfs.options.as_deref().unwrap_or("")).map_err(refuse)?;
    let alien = [
        (options.create.is_some(), "create="),
        (options.optional, "optional"),
        (options.relative, "relative"),
        (options.moved, "move"),
    ];
    if let Some((_, word)) = alien.iter().find(|(given, _)| *given) {
        return Err(refuse(FstabProblem::NotForRootfs(word)));
    }
    let Some(source) = inputs.root.clone() else { return Ok(None) };
    match &source {
        RootSource::Dir(_) if !options.data.is_empty() => {
            return Err(refuse(FstabProblem::BindData(options.data)));
        }
        RootSource::Dir(_) => {}
        RootSource::Overlay { .. } if options.idmap.is_some() => {
            return Err(refuse(FstabProblem::IdMapNotBind));
        }
        _ => {}
    }
    if options.idmap == Some(IdMapFrom::Container) && !user_ns {
        return Err(Box::new(Fault::NoIdMap { origin }));
    }
    Ok(Some(RootPlan {
        source,
        mount_point: inputs.mount_point.to_owned(),
        options,
        origin: config.origin("lxc.rootfs.path").cloned(),
    }))
}

/// LXC: without a mode it is rw where the container may remount anyway, mixed where it may not.
fn plan_cgroup(auto: AutoCgroup, config: &Config) -> CgroupAuto {
    let may_remount = config.caps.keeps(Cap::SYS_ADMIN);
    let default = match auto.kind {
        AutoCgroupKind::Unified => AutoCgroupMode::Rw,
        _ if may_remount => AutoCgroupMode::Rw,
        _ => AutoCgroupMode::Mixed,
    };
    CgroupAuto {
        kind: auto.kind,
        mode: auto.mode.unwrap_or(default),
        force: auto.force || auto.kind == AutoCgroupKind::Unified || !may_remount,
    }
}

fn plan_entry(
    plan: &mut MountPlan,
    mut entry: Entry,
    inputs: &Inputs<'_>,
) -> Result<(), MountError> {
    let checked = place(plan, &entry, inputs);
    let target = match checked {
        Ok(target) => target,
        Err(problem) if entry.options.optional => {
            let warning = format!("{}: optional mount entry left out: it {problem}", entry.origin);
            plan.warnings.push(warning);
            return Ok(());
        }
        Err(problem) => {
            let text = format!("{} {}", entry.source.display(), entry.target.display());
            return Err(Box::new(Fault::Line { text, origin: entry.origin, problem }));
        }
    };
    if entry.options.idmap == Some(IdMapFrom::Container) && !plan.user_ns {
        return Err(Box::new(Fault::NoIdMap { origin: Some(entry.origin) }));
    }
    if entry.options.relative {
        let source = below_root(&entry.source).map_err(|_| Fault::Line {
            text: entry.source.display().to_string(),
            origin: entry.origin.clone(),
            problem: FstabProblem::SourceEscapes,
        })?;
        entry.source = source;
    }
    entry.target = target;
    plan.entries.push(entry);
    Ok(())
}

/// The target of `entry`, relative to the root.
fn place(plan: &MountPlan, entry: &Entry, inputs: &Inputs<'_>) -> Result<PathBuf, FstabProblem> {
    let target = entry.target.as_path();
    if plan.root.is_none() || !target.is_absolute() {
        return below_root(target);
    }
    let container_rootfs = inputs.lxcpath.join(inputs.name).join("rootfs");
    let mut prefixes = vec![container_rootfs];
    match &inputs.root {
        Some(RootSource::Dir(dir)) => prefixes.push(dir.clone()),
        Some(RootSource::Overlay { upper, .. }) => prefixes.push(upper.clone()),
        Some(_) | None => {}
    }
    prefixes.push(inputs.mount_point.to_owned());
    let rest = prefixes.iter().find_map(|prefix| after(target, prefix));
    rest.map_or_else(|| Err(FstabProblem::TargetElsewhere(target.to_owned())), below_root)
}

/// What follows `prefix` in `path`, wherever `prefix` begins in it (LXC searches for a
/// substring), when it ends there at a component.
fn after<'a>(path: &'a Path, prefix: &Path) -> Option<&'a Path> {
    let (path, prefix) = (path.as_os_str().as_bytes(), prefix.as_os_str().as_bytes());
    let prefix = prefix.strip_suffix(b"/").unwrap_or(prefix);
    if prefix.is_empty() {
        return None;
    }
    let start = path.windows(prefix.len()).position(|window| window == prefix)?;
    let rest = &path[start + prefix.len()..];
    (rest.is_empty() || rest[0] == b'/').then(|| Path::new(OsStr::from_bytes(rest)))
}

/// `path` without `.`, `..` and superfluous slashes. Resolving `..` by text is exact here: no
/// link is allowed in a target.
fn below_root(path: &Path) -> Result<PathBuf, FstabProblem> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.as_os_str().as_bytes().split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or(FstabProblem::TargetEscapes)?;
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(FstabProblem::TargetIsRoot);
    }
    Ok(PathBuf::from(OsStr::from_bytes(&parts.join(&b'/'))))
}

/// Unmasked proc and sysfs, so that a container inside may mount its own.
fn nesting_entries() -> [Entry; 2] {
    let entry = |fs: &str, target: &str| Entry {
        source: PathBuf::from(fs),
        target: PathBuf::from(target),
        fs_type: fs.to_owned(),
        options: Options { create: Some(Create::Dir), optional: true, ..Options::default() },
        origin: Origin::label("lxc.apparmor.allow_nesting"),
    };
    [entry("proc", "dev/.lxc/proc"), entry("sysfs", "dev/.lxc/sys")]
}

impl fmt::Display for MountPlan {
    /// One line per mount, in order, as `lxc-start --dry-run` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Some(root) => {
                let at = root.mount_point.display();
                let how = if root.options.attrs.set & 1 != 0 { " (ro)" } else { "" };
                let idmap = if root.options.idmap.is_some() { " (idmapped)" } else { "" };
                writeln!(f, "mount / from {} at {at}{how}{idmap}", root.source)?;
            }
            None => writeln!(f, "mount / is the host's, in a private mount namespace")?,
        }
        if let Some(size) = self.dev {
            writeln!(f, "mount /dev tmpfs size={size}")?;
        }
        if let Some(proc) = self.proc {
            let net = if self.proc_net { ", /proc/sys/net rw" } else { "" };
            match proc {
                AutoProc::Rw => writeln!(f, "mount /proc proc rw")?,
                AutoProc::Mixed => writeln!(f, "mount /proc proc, /proc/sys ro{net}")?,
            }
        }
        match self.sys {
            Some(AutoSys::Rw) => writeln!(f, "mount /sys sysfs rw")?,
            Some(AutoSys::Ro) => writeln!(f, "mount /sys sysfs ro")?,
            Some(AutoSys::Mixed) => {
                writeln!(f, "mount /sys sysfs ro, /sys/devices/virtual/net rw")?;
            }
            None => {}
        }
        if let Some(shmounts) = &self.shmounts {
            let to = shmounts.container.display();
            writeln!(f, "mount /{to} from {} (slave)", shmounts.host.display())?;
        }
        for entry in &self.entries {
            let kind = match entry.options.bind {
                Some(Reach::One) => "bind",
                Some(Reach::Tree) => "rbind",
                None => entry.fs_type.as_str(),
            };
            let optional = if entry.options.optional { " (optional)" } else { "" };
            let (to, from) = (entry.target.display(), entry.source.display());
            writeln!(f, "mount /{to} from {from} {kind}{optional} [{}]", entry.origin)?;
        }
        if let Some(cgroup) = self.cgroup {
            let what = match cgroup.kind {
                AutoCgroupKind::Own => "own cgroup",
                AutoCgroupKind::Full => "all cgroups",
                AutoCgroupKind::Unified => "cgroup2",
            };
            let mode = match cgroup.mode {
                AutoCgroupMode::Ro => "ro",
                AutoCgroupMode::Mixed => "mixed",
                AutoCgroupMode::Rw => "rw",
            };
            let force = if cgroup.force { "" } else { " (left to init in a cgroup namespace)" };
            writeln!(f, "mount /sys/fs/cgroup {what} {mode}{force}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
