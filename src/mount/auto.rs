//! `lxc.mount.auto`: proc, sysfs, the shared-mounts directory, and the cgroup tree.

use super::fd::{BindHow, BindSource, KERNEL_FS, NewFs, Target, add_attrs, bind, piece};
use super::plan::{CgroupAuto, MountPlan};
use super::{Fault, MountError, RootMount};
use crate::config::{AutoCgroupKind, AutoCgroupMode, AutoProc, AutoSys};
use crate::sys::error::Result as SysResult;
use crate::sys::mount::{self as sysmount, ATTR_RDONLY, Reach};
use crate::sys::path::{Lookup, Root};
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// statfs(2) magics of what is mounted here.
pub(super) const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
pub(super) const TMPFS_MAGIC: u64 = 0x0102_1994;
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// How many mounts may be stacked on a directory of the rootfs before we stop peeling.
const MAX_STACKED: u32 = 16;

/// Opens the directory `rel` as a mount target, made 0755 when missing. A link anywhere in it is
/// an attack, or a mistake in the rootfs: `LinkedDir`.
pub(super) fn open_dir(rm: &RootMount, rel: &str) -> Result<OwnedFd, MountError> {
    rm.root.mkdir_all(Path::new(rel), 0o755).map_err(|source| {
        Box::new(match source.errno {
            errno::ELOOP => Fault::LinkedDir { dir: rel.to_owned(), source },
            _ => Fault::Target { verb: "open", target: rel.to_owned(), origin: None, source },
        })
    })
}

/// As [`open_dir`], and what is already mounted there is detached first.
fn open_bare_dir(rm: &RootMount, rel: &str, own_root: bool) -> Result<OwnedFd, MountError> {
    let mut dir = open_dir(rm, rel)?;
    for _ in 0..MAX_STACKED {
        // The host's own /proc and /sys stay below ours: a user namespace may need to see them.
        if !own_root || !sysmount::is_mount_root(dir.as_fd(), rm.root.fd()).unwrap_or(false) {
            break;
        }
        // A mount that a user namespace locked cannot be detached (EINVAL); it is covered then.
        if sysmount::detach(dir.as_fd()).is_err() {
            break;
        }
        dir = open_dir(rm, rel)?;
    }
    Ok(dir)
}

/// Mounts /proc, /sys and the shared-mounts directory as `lxc.mount.auto` says.
///
/// # In the child
/// After [`super::dev_tmpfs`], in the new pid and network namespaces. A procfs mounted here is
/// kept open in `rm` for [`super::boot_id`].
pub fn proc_sys(plan: &MountPlan, rm: &mut RootMount) -> Result<(), MountError> {
    if let Some(mode) = plan.proc {
        rm.proc = Some(mount_proc(plan, rm, mode)?);
    }
    if let Some(mode) = plan.sys {
        mount_sys(plan, rm, mode)?;
    }
    if let Some(shmounts) = &plan.shmounts {
        let target = shmounts.container.to_string_lossy();
        let dir = open_dir(rm, &target)?;
        let at = Target { root: &rm.root, rel: &shmounts.container, fd: dir.as_fd() };
        let how = BindHow { reach: Reach::Tree, ..BindHow::one(0) };
        bind(&BindSource::Host(&shmounts.host), &how, &at)
            .map_err(|source| auto_error("the shared-mounts directory", &target, source))?;
    }
    Ok(())
}

fn auto_error(what: &'static str, target: &str, source: SysError) -> MountError {
    Box::new(Fault::Auto { what, target: target.to_owned(), source })
}

fn mount_proc(plan: &MountPlan, rm: &RootMount, mode: AutoProc) -> Result<OwnedFd, MountError> {
    let dir = open_bare_dir(rm, "proc", plan.root.is_some())?;
    let target = Target { root: &rm.root, rel: Path::new("proc"), fd: dir.as_fd() };
    let fs =
        NewFs { kind: "proc", source: "proc", options: &[], attrs: KERNEL_FS, magic: PROC_MAGIC };
    let proc = fs.mount(&target).map_err(|source| auto_error("proc", "proc", source))?;
    if mode == AutoProc::Mixed {
        mask_proc(proc.as_fd(), plan.proc_net)
            .map_err(|source| auto_error("read-only parts of proc", "proc", source))?;
    }
    Ok(proc)
}

/// /proc/sys and /proc/sysrq-trigger read-only; /proc/sys/net stays writable for a container
/// that may configure its network.
fn mask_proc(proc: BorrowedFd<'_>, net: bool) -> SysResult<()> {
    // Taken before /proc/sys is covered, so that it is not read-only itself.
    let sys_net = if net { piece(proc, "sys/net", 0)? } else { None };
    for name in ["sys", "sysrq-trigger"] {
        if let Some(piece) = piece(proc, name, ATTR_RDONLY)? {
            piece.put(proc, name)?;
        }
    }
    match sys_net {
        Some(piece) => piece.put(proc, "sys/net"),
        None => Ok(()),
    }
}

fn mount_sys(plan: &MountPlan, rm: &RootMount, mode: AutoSys) -> Result<(), MountError> {
    let dir = open_bare_dir(rm, "sys", plan.root.is_some())?;
    let target = Target { root: &rm.root, rel: Path::new("sys"), fd: dir.as_fd() };
    let attrs = if mode == AutoSys::Ro { KERNEL_FS | ATTR_RDONLY } else { KERNEL_FS };
    let fs = NewFs { kind: "sysfs", source: "sysfs", options: &[], attrs, magic: SYSFS_MAGIC };
    let sys = fs.mount(&target).map_err(|source| auto_error("sysfs", "sys", source))?;
    if mode == AutoSys::Mixed {
        mask_sys(sys.as_fd())
            .map_err(|source| auto_error("read-only parts of sysfs", "sys", source))?;
    }
    Ok(())
}

/// All of sysfs read-only but the settings of virtual network devices.
fn mask_sys(sys: BorrowedFd<'_>) -> SysResult<()> {
    const NET: &str = "devices/virtual/net";
    let net = piece(sys, NET, 0)?;
    add_attrs(sys, ATTR_RDONLY)?;
    match net {
        Some(piece) => piece.put(sys, NET),
        None => Ok(()),
    }
}

/// What [`cgroup_auto`] has to know of the machine's cgroups and of the container's place in
/// them; plain data, filled from `cgroup::CgroupView` by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupMountView {
    /// The container has a cgroup namespace of its own, and this process is in it.
    pub cgroup_ns: bool,
    /// cgroup2 is all there is, at /sys/fs/cgroup.
    pub unified_only: bool,
    /// The hierarchies, in the order to mount them.
    pub hierarchies: Vec<CgroupHierarchy>,
}

/// One mounted hierarchy of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupHierarchy {
    /// It is cgroup2.
    pub v2: bool,
    /// Its directory in /sys/fs/cgroup: `memory`, `cpu,cpuacct`, `systemd`, `unified`.
    pub dir: String,
    /// Links beside it that point to it: `cpu`, `cpuacct`.
    pub links: Vec<String>,
    /// Mount options: `cpu,cpuacct`, `none,name=systemd`; empty for cgroup2.
    pub options: String,
    /// Where the host has it mounted.
    pub host: PathBuf,
    /// The container's cgroup below `host`, without a leading slash.
    pub own: String,
}

const CGROUP_DIR: &str = "sys/fs/cgroup";

/// Mounts the cgroup tree as `lxc.mount.auto` says.
///
/// As LXC 5.0 does on v1 and hybrid hosts: in a cgroup namespace nothing is mounted unless
/// forced (init does it), else a tmpfs with every hierarchy; without the namespace the
/// container's own cgroup is bound at its path, everything above it read-only in `mixed`. As
/// LXC 7 does on unified hosts: always cgroup2 at /sys/fs/cgroup.
///
/// # In the child
/// After the entries, in the cgroup namespace and the payload cgroup.
pub fn cgroup_auto(
    plan: &MountPlan,
    rm: &RootMount,
    view: &CgroupMountView,
) -> Result<(), MountError> {
    let Some(auto) = plan.cgroup else { return Ok(()) };
    let unified = view.hierarchies.iter().find(|h| h.v2);
    if view.unified_only || auto.kind == AutoCgroupKind::Unified {
        let Some(hierarchy) = unified else { return Err(Box::new(Fault::NoUnified)) };
        let dir = open_dir(rm, CGROUP_DIR)?;
        return mount_one(&rm.root, Path::new(CGROUP_DIR), dir.as_fd(), hierarchy, auto, view)
            .map_err(|source| auto_error("cgroup2", CGROUP_DIR, source));
    }
    if view.hierarchies.is_empty() || (view.cgroup_ns && !auto.force) {
        return Ok(());
    }
    let dir = open_dir(rm, CGROUP_DIR)?;
    mount_tree(rm, dir.as_fd(), auto, view)
        .map_err(|source| auto_error("the cgroup hierarchies", CGROUP_DIR, source))
}

/// A tmpfs with one directory for each hierarchy.
fn mount_tree(
    rm: &RootMount,
    dir: BorrowedFd<'_>,
    auto: CgroupAuto,
    view: &CgroupMountView,
) -> SysResult<()> {
    let fs = NewFs {
        kind: "tmpfs",
        source: "none",
        options: &[("size", Some("10240k")), ("mode", Some("755"))],
        attrs: KERNEL_FS,
        magic: TMPFS_MAGIC,
    };
    let target = Target { root: &rm.root, rel: Path::new(CGROUP_DIR), fd: dir };
    let top = Root::from_fd(fs.mount(&target)?);
    for hierarchy in &view.hierarchies {
        let name = Path::new(&hierarchy.dir);
        let place = top.mkdir_all(name, 0o755)?;
        let own_part = !view.cgroup_ns && auto.kind == AutoCgroupKind::Own;
        if own_part {
            mount_own(&top, name, place.as_fd(), hierarchy, auto.mode)?;
        } else {
            mount_one(&top, name, place.as_fd(), hierarchy, auto, view)?;
        }
        for link in &hierarchy.links {
            top.symlink(name, Path::new(link))?;
        }
    }
    Ok(())
}

/// One hierarchy on `place`: of the cgroup namespace, or the host's.
fn mount_one(
    root: &Root,
    rel: &Path,
    place: BorrowedFd<'_>,
    hierarchy: &CgroupHierarchy,
    auto: CgroupAuto,
    view: &CgroupMountView,
) -> SysResult<()> {
    let target = Target { root, rel, fd: place };
    let read_only = if auto.mode == AutoCgroupMode::Ro { ATTR_RDONLY } else { 0 };
    if view.cgroup_ns {
        let options: Vec<_> = hierarchy
            .options
            .split(',')
            .filter(|word| !word.is_empty())
            .map(|word| match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            })
            .collect();
        let (kind, magic) =
            if hierarchy.v2 { ("cgroup2", CGROUP2_MAGIC) } else { ("cgroup", CGROUP_MAGIC) };
        let fs =
            NewFs { kind, source: "none", options: &options, attrs: KERNEL_FS | read_only, magic };
        return fs.mount(&target).map(drop);
    }
    if auto.kind != AutoCgroupKind::Full {
        let own = hierarchy.host.join(&hierarchy.own);
        return bind(&BindSource::Host(&own), &BindHow::one(KERNEL_FS | read_only), &target);
    }
    let masked = if auto.mode == AutoCgroupMode::Rw { 0 } else { ATTR_RDONLY };
    bind(&BindSource::Host(&hierarchy.host), &BindHow::one(KERNEL_FS | masked), &target)?;
    if auto.mode == AutoCgroupMode::Mixed {
        // The container's own part is writable: the one use of `mixed`.
        let own = root.resolve_dir(&rel.join(&hierarchy.own), Lookup::NoSymlinks)?;
        let target = Target { root, rel: &rel.join(&hierarchy.own), fd: own.as_fd() };
        let source = hierarchy.host.join(&hierarchy.own);
        bind(&BindSource::Host(&source), &BindHow::one(KERNEL_FS), &target)?;
    }
    Ok(())
}

/// The container's own cgroup at its full path, for want of a cgroup namespace.
fn mount_own(
    top: &Root,
    name: &Path,
    place: BorrowedFd<'_>,
    hierarchy: &CgroupHierarchy,
    mode: AutoCgroupMode,
) -> SysResult<()> {
    let rel = name.join(&hierarchy.own);
    drop(top.mkdir_all(&rel, 0o755)?);
    if mode != AutoCgroupMode::Rw {
        let target = Target { root: top, rel: name, fd: place };
        bind(&BindSource::Open(place), &BindHow::one(KERNEL_FS | ATTR_RDONLY), &target)?;
    }
    // Looked up again: what was covered read-only has the directory too.
    let own = top.resolve_dir(&rel, Lookup::NoSymlinks)?;
    let read_only = if mode == AutoCgroupMode::Ro { ATTR_RDONLY } else { 0 };
    let target = Target { root: top, rel: &rel, fd: own.as_fd() };
    let source = hierarchy.host.join(&hierarchy.own);
    bind(&BindSource::Host(&source), &BindHow::one(KERNEL_FS | read_only), &target)
}
