//! The mounts of `lxc.mount.fstab` and `lxc.mount.entry`, plain and idmapped.

use super::fd::{BindHow, BindSource, Target, bind, detached_bind};
use super::fstab::{Create, Entry, IdMapFrom};
use super::plan::MountPlan;
use super::{Fault, MountError, RootMount, RootSource};
use crate::sys::error::Result as SysResult;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::mount::{self as sysmount, Reach, Source};
use crate::sys::path::{Lookup, Root};
use crate::sys::{SysError, errno, probe};
use crate::util::blame::Origin;
use crate::util::sentence::sentence;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Carries out the entries that need no id map, in order.
///
/// # In the child
/// After [`super::proc_sys`].
pub fn entries(plan: &MountPlan, rm: &RootMount) -> Result<(), MountError> {
    for entry in plan.entries.iter().filter(|entry| entry.options.idmap.is_none()) {
        optional(entry, mount_entry(entry, rm))?;
    }
    Ok(())
}

/// `optional` entries may fail.
fn optional<T>(entry: &Entry, done: Result<T, MountError>) -> Result<Option<T>, MountError> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(e) if entry.options.optional => {
            log::debug!("optional mount left out: {}", sentence(&e));
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn target_text(entry: &Entry) -> String {
    entry.target.display().to_string()
}

/// Opens the target of an entry, made when it says so.
fn open_target(entry: &Entry, root: &Root) -> Result<OwnedFd, MountError> {
    let (verb, opened) = match entry.options.create {
        Some(Create::Dir) => ("make", root.mkdir_all(&entry.target, 0o755)),
        Some(Create::File) => ("make", root.create_file(&entry.target, 0)),
        None => ("open", root.resolve(&entry.target, Lookup::NoSymlinks)),
    };
    opened.map_err(|source| {
        Box::new(Fault::Target {
            verb,
            target: target_text(entry),
            origin: Some(entry.origin.clone()),
            source,
        })
    })
}

fn failed(entry: &Entry, source: SysError) -> MountError {
    let is_source = matches!(source.call, "open_tree" | "open" | "openat2" | "openat");
    if is_source && entry.options.bind.is_some() {
        return Box::new(Fault::Source {
            path: entry.source.clone(),
            target: target_text(entry),
            origin: Some(entry.origin.clone()),
            source,
        });
    }
    let name = entry.source.display();
    let what = match entry.options.bind {
        Some(_) => format!("\"{name}\""),
        None => format!("\"{name}\" ({})", entry.fs_type),
    };
    Box::new(Fault::Entry {
        what,
        target: target_text(entry),
        origin: entry.origin.clone(),
        source,
    })
}

fn how(entry: &Entry, reach: Reach) -> BindHow {
    BindHow {
        reach,
        change: entry.options.attrs,
        propagation_reach: entry.options.propagation_reach.unwrap_or(Reach::One),
    }
}

fn mount_entry(entry: &Entry, rm: &RootMount) -> Result<(), MountError> {
    let fd = open_target(entry, &rm.root)?;
    let target = Target { root: &rm.root, rel: &entry.target, fd: fd.as_fd() };
    let done = match entry.options.bind {
        Some(reach) => bind_entry(entry, reach, &target),
        None if entry.options.moved => move_entry(entry, &target),
        None => fs_entry(entry, &target),
    };
    done.map_err(|source| failed(entry, source))
}

fn bind_entry(entry: &Entry, reach: Reach, target: &Target<'_>) -> SysResult<()> {
    if entry.options.relative {
        let source = target.root.resolve(&entry.source, Lookup::NoSymlinks)?;
        return bind(&BindSource::Open(source.as_fd()), &how(entry, reach), target);
    }
    bind(&BindSource::Host(&entry.source), &how(entry, reach), target)
}

fn move_entry(entry: &Entry, target: &Target<'_>) -> SysResult<()> {
    let source = if entry.options.relative {
        target.root.resolve(&entry.source, Lookup::NoSymlinks)?
    } else {
        sysfd::open(&entry.source, OpenFlags::PATH, 0)?
    };
    sysmount::mount_on(&Source::Fd(source.as_fd()), target.fd, "", sysmount::MS_MOVE, "")
}

/// A file system goes through mount(2): its options are free text, of any length.
fn fs_entry(entry: &Entry, target: &Target<'_>) -> SysResult<()> {
    if is_overlay(entry) {
        make_overlay_dirs(&entry.options.data)?;
    }
    let flags = entry.options.fs_flags | sysmount::attrs_to_ms(entry.options.attrs.set);
    let source = Source::Text(&entry.source);
    sysmount::mount_on(&source, target.fd, &entry.fs_type, flags, &entry.options.data)?;
    if let Some(propagation) = entry.options.attrs.propagation {
        let mounted = target.root.resolve(target.rel, Lookup::NoSymlinks)?;
        if !sysmount::is_mount_root(mounted.as_fd(), target.fd)? {
            return Err(super::fd::raced("the target"));
        }
        let reach = entry.options.propagation_reach.unwrap_or(Reach::One);
        sysmount::propagate_fd(mounted.as_fd(), propagation, reach)?;
    }
    Ok(())
}

/// LXC makes the writable directories of an overlay entry.
fn make_overlay_dirs(data: &str) -> SysResult<()> {
    use crate::sys::At;
    for word in data.split(',') {
        let dir = word.strip_prefix("upperdir=").or_else(|| word.strip_prefix("workdir="));
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).at("mkdir", || format!("\"{dir}\""))?;
        }
    }
    Ok(())
}

/// Opens a detached tree, attributes set, for each thing that needs an id map: the root file
/// system first when it does, then the entries in order. `None` is an optional entry that cannot
/// be opened. `root` is the root file system's if it was opened already. Empty when the plan has no id map at all.
///
/// # In the child
/// After the pre-mount hooks and before [`super::rootfs()`]; the descriptors go to the parent for
/// [`apply_idmaps`] and are kept for [`super::rootfs()`] and [`attach_idmapped`].
pub fn open_idmapped(
    plan: &MountPlan,
    root: Option<BorrowedFd<'_>>,
) -> Result<Vec<Option<OwnedFd>>, MountError> {
    let mut trees = Vec::new();
    if plan.root_idmap().is_some() {
        trees.push(match root {
            Some(root) => Some(super::dup_tree(root)?),
            None => super::open_rootfs(plan, None)?,
        });
    }
    for entry in plan.idmapped() {
        let reach = entry.options.bind.unwrap_or(Reach::One);
        let opened = open_tree(entry, reach, plan).map_err(|source| failed(entry, source));
        trees.push(optional(entry, opened)?);
    }
    Ok(trees)
}

fn open_tree(entry: &Entry, reach: Reach, plan: &MountPlan) -> SysResult<OwnedFd> {
    let how = how(entry, reach);
    if !entry.options.relative {
        return detached_bind(&BindSource::Host(&entry.source), &how);
    }
    // The root file system is not mounted yet, but its directory is there.
    let root = match plan.root.as_ref().map(|root| &root.source) {
        Some(RootSource::Dir(dir)) => Root::open(dir)?,
        Some(_) => {
            return Err(SysError::new(
                "open",
                "relative source on this storage",
                errno::EOPNOTSUPP,
            ));
        }
        None => Root::open(Path::new("/"))?,
    };
    let source = root.resolve(&entry.source, Lookup::NoSymlinks)?;
    detached_bind(&BindSource::Open(source.as_fd()), &how)
}

/// Maps the ids of the trees of [`open_idmapped`]; `container` is the container's user
/// namespace. The answer says for each tree whether it may be attached: an optional entry whose
/// file system cannot map ids may not.
///
/// Called by the parent, which has the privilege, once the id maps of the container are written.
pub fn apply_idmaps(
    plan: &MountPlan,
    trees: &[Option<OwnedFd>],
    container: Option<BorrowedFd<'_>>,
) -> Result<Vec<bool>, MountError> {
    let mut usable = Vec::with_capacity(trees.len());
    for (mapped, tree) in all_mapped(plan).into_iter().zip(trees) {
        let done = match tree {
            Some(tree) => mapped.apply(tree.as_fd(), container),
            None => {
                usable.push(false);
                continue;
            }
        };
        match done {
            Ok(()) => usable.push(true),
            Err(e) if mapped.optional => {
                log::debug!("optional mount left out: {e}");
                usable.push(false);
            }
            Err(source) => {
                let origin = mapped.origin.cloned();
                return Err(Box::new(Fault::IdMap { what: mapped.what, origin, source }));
            }
        }
    }
    Ok(usable)
}

/// Asks the kernel whether it can map the ids of mounts, if the plan has such that are not
/// optional. Called before anything is made.
pub fn ask_idmaps(plan: &MountPlan) -> Result<(), MountError> {
    const CALLS: [probe::Call; 2] =
        [probe::Call::of("mount_setattr"), probe::Call::of("open_tree")];
    // FALLBACK(<5.12): there is none.
    match all_mapped(plan).into_iter().find(|mapped| !mapped.optional) {
        Some(Mapped { what, origin, .. })
            if CALLS.map(probe::Call::ask).contains(&errno::ENOSYS) =>
        {
            let source = SysError::new("mount_setattr", "", errno::ENOSYS);
            Err(Box::new(Fault::IdMap { what, origin: origin.cloned(), source }))
        }
        _ => Ok(()),
    }
}

/// Asks the kernel whether the root of a user namespace may mount an overlay, if the plan has one
/// there that is not optional. Called before anything is made.
pub fn ask_overlay(plan: &MountPlan) -> Result<(), MountError> {
    let root = plan.root.iter().filter(|root| matches!(root.source, RootSource::Overlay { .. }));
    let root = root.map(|root| (root.source.to_string(), root.origin.as_ref()));
    let entries = plan.entries.iter().filter(|entry| is_overlay(entry) && !entry.options.optional);
    let entries = entries.map(|e| (format!("overlay on /{}", target_text(e)), Some(&e.origin)));
    match root.chain(entries).next() {
        // FALLBACK(<5.11): only the host's root may.
        Some((what, origin)) if plan.user_ns && !probe::overlay_in_user_namespace() => {
            let source = SysError::new("mount", "overlay", errno::EPERM);
            Err(Box::new(Fault::UserOverlay { what, origin: origin.cloned(), source }))
        }
        _ => Ok(()),
    }
}

fn is_overlay(entry: &Entry) -> bool {
    let has_type = entry.options.bind.is_none() && !entry.options.moved;
    has_type && (entry.fs_type == "overlay" || entry.fs_type == "overlayfs")
}

/// The root file system first.
fn all_mapped(plan: &MountPlan) -> Vec<Mapped<'_>> {
    let root = plan.root.as_ref().filter(|root| root.options.idmap.is_some());
    let root = root.map(|root| Mapped {
        what: root.source.to_string(),
        from: root.options.idmap.as_ref(),
        reach: Reach::Tree,
        optional: false,
        origin: root.origin.as_ref(),
    });
    let entries = plan.idmapped().map(|entry| Mapped {
        what: entry.source.display().to_string(),
        from: entry.options.idmap.as_ref(),
        reach: entry.options.bind.unwrap_or(Reach::One),
        optional: entry.options.optional,
        origin: Some(&entry.origin),
    });
    root.into_iter().chain(entries).collect()
}

/// One thing to map.
struct Mapped<'a> {
    what: String,
    from: Option<&'a IdMapFrom>,
    reach: Reach,
    optional: bool,
    origin: Option<&'a Origin>,
}

impl Mapped<'_> {
    fn apply(&self, tree: BorrowedFd<'_>, container: Option<BorrowedFd<'_>>) -> SysResult<()> {
        match (self.from, container) {
            (Some(IdMapFrom::Path(path)), _) => {
                let userns = sysfd::open(path, OpenFlags::RDONLY, 0)?;
                sysmount::set_idmap(tree, userns.as_fd(), self.reach)
            }
            (_, Some(userns)) => sysmount::set_idmap(tree, userns, self.reach),
            (_, None) => Err(SysError::new("mount_setattr", "no user namespace", errno::EINVAL)),
        }
    }
}

/// Attaches the mapped trees of the entries: those of [`open_idmapped`] without the root file
/// system's, and without what [`apply_idmaps`] refused (`None`).
///
/// # In the child
/// After [`entries`].
pub fn attach_idmapped(
    plan: &MountPlan,
    rm: &RootMount,
    trees: &[Option<OwnedFd>],
) -> Result<(), MountError> {
    for (entry, tree) in plan.idmapped().zip(trees) {
        let Some(tree) = tree else { continue };
        let attached = open_target(entry, &rm.root).and_then(|target| {
            sysmount::attach(tree.as_fd(), target.as_fd()).map_err(|source| failed(entry, source))
        });
        optional(entry, attached)?;
    }
    Ok(())
}
