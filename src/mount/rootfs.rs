//! The first steps: the mount namespace's own tree, and the root file system in it.

use super::fd::{BindHow, BindSource, detached_bind};
use super::fstab::Options;
use super::legacy;
use super::plan::{MountPlan, RootPlan};
use super::{Fault, MountError, RootMount, RootSource, block};
use crate::sys::error::Result as SysResult;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::mount::{self as sysmount, FsContext, Propagation, Reach, Source};
use crate::sys::path::Root;
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Keeps mounts made here from travelling to the host, while those of the host still arrive.
///
/// # In the child
/// The first step in the new mount namespace; /proc is still the host's.
pub fn slave_all() -> SysResult<()> {
    match sysmount::propagate("/", Propagation::Slave, Reach::Tree) {
        // The root is not a mount: we run in a chroot. Each shared mount by itself, then.
        Err(e) if e.is(errno::EINVAL) => {
            let table = sysfd::read_to_string("/proc/self/mountinfo")?;
            shared_mounts(&table)
                .iter()
                .try_for_each(|path| sysmount::propagate(path, Propagation::Slave, Reach::One))
        }
        result => result,
    }
}

/// Mount points of a mountinfo table whose mount is shared.
fn shared_mounts(table: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for line in table.lines() {
        let mut fields = line.split(' ').skip(4);
        let Some(path) = fields.next() else { continue };
        if fields.skip(1).take_while(|f| *f != "-").any(|f| f.starts_with("shared:")) {
            paths.push(unescape_octal(path));
        }
    }
    paths
}

/// Undoes the `\ooo` escapes of mountinfo.
pub(crate) fn unescape_octal(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let value = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match value {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The root file system as a detached tree with all its attributes but the id map, which needs
/// a privilege that only the parent has. For `idmap=`; else [`rootfs`] does it.
///
/// # In the child
/// After [`slave_all`]; the descriptor is then mapped by the parent and given to [`rootfs`]. What
/// [`RootSource::needs_host`] is opened by the parent before; `device` is one that was made of it.
pub fn open_rootfs(
    plan: &MountPlan,
    device: Option<RootSource>,
) -> Result<Option<OwnedFd>, MountError> {
    match &plan.root {
        Some(root) => {
            let source = device.as_ref().unwrap_or(&root.source);
            detached(source, root, plan.user_ns).map(Some).map_err(|e| failed(root, e))
        }
        None => Ok(None),
    }
}

/// Mounts the root file system on its mount point, or opens the host's root when there is none.
/// `prepared` is the tree of an idmapped root file system.
///
/// # In the child
/// After [`slave_all`] and the pre-mount hooks. Leaves a descriptor of the old root open, which
/// [`super::pivot()`] closes.
pub fn rootfs(plan: &MountPlan, prepared: Option<OwnedFd>) -> Result<RootMount, MountError> {
    let old_root = sysmount::open_root().map_err(Fault::Pivot)?;
    let Some(root) = &plan.root else {
        let top = sysfd::dup_above(old_root.as_fd(), 3).map_err(Fault::Pivot)?;
        return Ok(RootMount { root: Root::from_fd(top), dev: None, proc: None, old_root });
    };
    let top = mount_root(root, prepared, plan.user_ns)?;
    Ok(RootMount { root: top, dev: None, proc: None, old_root })
}

fn mount_root(
    root: &RootPlan,
    prepared: Option<OwnedFd>,
    user_ns: bool,
) -> Result<Root, MountError> {
    let point = Root::open(&root.mount_point).map_err(|source| Fault::MountPoint {
        path: root.mount_point.clone(),
        origin: None,
        source,
    })?;
    let tree = match prepared {
        Some(tree) => Ok(tree),
        None => detached(&root.source, root, user_ns),
    };
    let mounted = match tree {
        Ok(tree) => sysmount::attach(tree.as_fd(), point.fd()).map(|()| Root::from_fd(tree)),
        // FALLBACK(<5.12): no detached trees; ENAMETOOLONG is our own, for layers that are too
        // long for fsconfig.
        Err(e) if e.is(errno::ENOSYS) || e.is(errno::ENAMETOOLONG) => {
            mount_classic(root, &point, user_ns)
        }
        Err(e) => Err(e),
    };
    mounted.map_err(|e| failed(root, e))
}

/// A root file system that no container runs from: for those who copy or fill it.
fn plain(source: &RootSource, mount_point: &Path) -> RootPlan {
    RootPlan {
        source: source.clone(),
        mount_point: mount_point.to_owned(),
        options: Options::default(),
        origin: None,
    }
}

/// Opens the content of a root file system without mounting it anywhere; it stays as long as one
/// of the two descriptors does: the mount, and its top directory open for reading.
///
/// # Errors
/// ENOSYS before 5.2 for anything but a directory.
pub fn open_source(source: &RootSource) -> SysResult<(Option<OwnedFd>, OwnedFd)> {
    let flags = OpenFlags::RDONLY | OpenFlags::DIRECTORY;
    if let RootSource::Dir(path) = source {
        return Ok((None, sysfd::open(path, flags, 0)?));
    }
    let tree = detached(source, &plain(source, Path::new("/")), false)?;
    let top = sysfd::open_at(tree.as_fd(), ".", flags, 0)?;
    Ok((Some(tree), top))
}

/// Mounts a root file system on `point`, in a mount namespace of the caller's own.
pub fn mount_source(source: &RootSource, point: &Path) -> Result<Root, MountError> {
    mount_root(&plain(source, point), None, false)
}

fn failed(root: &RootPlan, source: SysError) -> MountError {
    Box::new(Fault::Rootfs { what: root.source.to_string(), origin: root.origin.clone(), source })
}

fn how(root: &RootPlan) -> BindHow {
    BindHow {
        reach: Reach::Tree,
        change: root.options.attrs,
        propagation_reach: root.options.propagation_reach.unwrap_or(Reach::One),
    }
}

fn detached(source: &RootSource, root: &RootPlan, user_ns: bool) -> SysResult<OwnedFd> {
    match source {
        RootSource::Dir(path) => detached_bind(&BindSource::Host(path), &how(root)),
        RootSource::Overlay { lower, upper, work } => {
            make_work(work)?;
            let layers = overlay_options(lower, upper, work);
            if layers.iter().any(|(_, value)| value.len() > 255) {
                return Err(SysError::new("fsconfig", "overlay", errno::ENAMETOOLONG));
            }
            let fs = FsContext::open("overlay")?;
            fs.string("source", "overlay")?;
            for (key, value) in &layers {
                fs.string(key, value)?;
            }
            if user_ns {
                // The other attributes need privilege on the host (since 5.11).
                fs.flag("userxattr")?;
            }
            fs.options(&root.options.data)?;
            fs.mount(root.options.attrs.set)
        }
        RootSource::Image(image) => {
            let device = block::attach_image(image, root)?;
            block::detached(&device.path, None, root)
        }
        RootSource::Block(device) => block::detached(device, None, root),
        RootSource::Dataset(name) => block::detached(name, ZFS, root),
    }
}

/// The type and the option by which ZFS takes a dataset that has a mount point of its own.
const ZFS: Option<(&str, &str)> = Some(("zfs", "zfsutil"));

/// The scratch directory is not kept by those who copy containers; LXC makes it too.
fn make_work(work: &Path) -> SysResult<()> {
    use crate::sys::At;
    std::fs::create_dir_all(work).at("mkdir", || format!("\"{}\"", work.display()))
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> [(&'static str, String); 3] {
    let escaped =
        |path: &PathBuf| path.display().to_string().replace('\\', "\\\\").replace(':', "\\:");
    let lower = lower.iter().map(escaped).collect::<Vec<_>>().join(":");
    [
        ("lowerdir", lower),
        ("upperdir", upper.display().to_string()),
        ("workdir", work.display().to_string()),
    ]
}

/// mount(2) onto the mount point, which is then opened again: a path of the host, trusted.
fn mount_classic(root: &RootPlan, point: &Root, user_ns: bool) -> SysResult<Root> {
    match &root.source {
        RootSource::Dir(path) => {
            let source = sysfd::open(path, OpenFlags::PATH | OpenFlags::DIRECTORY, 0)?;
            let flags = sysmount::MS_BIND | sysmount::MS_REC;
            sysmount::mount_on(&Source::Fd(source.as_fd()), point.fd(), "", flags, "")?;
        }
        RootSource::Overlay { lower, upper, work } => {
            let mut words: Vec<String> = overlay_options(lower, upper, work)
                .into_iter()
                .map(|(key, value)| format!("{key}={}", value.replace(',', "\\,")))
                .collect();
            if user_ns {
                words.push("userxattr".to_owned());
            }
            if !root.options.data.is_empty() {
                words.push(root.options.data.clone());
            }
            let flags = sysmount::attrs_to_ms(root.options.attrs.set);
            let name = Source::Text(Path::new("overlay"));
            sysmount::mount_on(&name, point.fd(), "overlay", flags, &words.join(","))?;
        }
        RootSource::Image(image) => {
            let device = block::attach_image(image, root)?;
            block::classic(&device.path, None, point, root)?;
        }
        RootSource::Block(device) => block::classic(device, None, point, root)?,
        RootSource::Dataset(name) => block::classic(name, ZFS, point, root)?,
    }
    let top = Root::open(&root.mount_point)?;
    legacy::finish(top.fd(), &how(root))?;
    Ok(top)
}

/// Fails if an entry or a hook mounted something over the root file system: the container
/// would start in another tree than the one that was set up.
///
/// # In the child
/// After the mount hooks.
pub fn check_not_covered(plan: &MountPlan, rm: &RootMount) -> Result<(), MountError> {
    let Some(root) = &plan.root else { return Ok(()) };
    let same = || -> SysResult<bool> {
        let seen = sysfd::open(&root.mount_point, OpenFlags::PATH | OpenFlags::DIRECTORY, 0)?;
        Ok(sysmount::mount_id(seen.as_fd())? == sysmount::mount_id(rm.root.fd())?)
    };
    match same() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Box::new(Fault::Covered { path: root.mount_point.clone() })),
        Err(e) => Err(failed(root, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_mounts_are_found_and_unescaped() {
        let table = "22 27 0:21 / /proc rw - proc proc rw\n\
            27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            28 1 254:0 / /a\\040b rw,relatime master:3 shared:9 - ext4 x rw\n\
            29 1 254:0 / /shared:7 rw master:1 - ext4 shared:1 rw\n\
            broken\n";
        assert_eq!(shared_mounts(table), ["/", "/a b"]);
        assert_eq!(unescape_octal("\\"), "\\");
        assert_eq!(unescape_octal("\\0"), "\\0");
        assert_eq!(unescape_octal("a\\134b\\999"), "a\\b\\999");
    }

    #[test]
    fn overlay_layers_are_escaped() {
        let lower = [PathBuf::from("/a:b"), PathBuf::from("/c\\d")];
        let options = overlay_options(&lower, Path::new("/u"), Path::new("/w"));
        assert_eq!(options[0].1, "/a\\:b:/c\\\\d");
    }
}
