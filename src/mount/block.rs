//! Root file systems in images and on block devices, of whatever type they are.

use super::plan::RootPlan;
use crate::sys::error::Result as SysResult;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::loopdev::{self, LoopDevice};
use crate::sys::mount::{self as sysmount, FsContext, MS_RDONLY, Source};
use crate::sys::path::{Root, facts};
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The image as a loop device. A link in its place is not followed: its directory may belong to
/// the container's root.
pub(super) fn attach_image(image: &Path, root: &RootPlan) -> SysResult<LoopDevice> {
    let read_only = is_read_only(root);
    let access = if read_only { OpenFlags::RDONLY } else { OpenFlags::RDWR };
    let file = sysfd::open(image, access | OpenFlags::NOFOLLOW | OpenFlags::NONBLOCK, 0)?;
    if !facts(file.as_fd())?.is_file() {
        let text = format!("\"{}\": not a file", image.display());
        return Err(SysError::new("open", text, errno::EINVAL));
    }
    loopdev::attach(file.as_fd(), read_only)
}

/// The one type to try, with an option of its own; `None` tries all that the kernel has.
pub(super) type Known = Option<(&'static str, &'static str)>;

/// The file system of a device as a detached mount.
pub(super) fn detached(device: &Path, known: Known, root: &RootPlan) -> SysResult<OwnedFd> {
    each_type(device, known, |kind, own| {
        let fs = FsContext::open(kind)?;
        fs.string("source", &device.display().to_string())?;
        if is_read_only(root) {
            fs.flag("ro")?;
        }
        fs.options(own)?;
        fs.options(&root.options.data)?;
        fs.mount(root.options.attrs.set)
    })
}

/// FALLBACK(<5.2): mount(2) of a device onto an open directory.
pub(super) fn classic(device: &Path, known: Known, point: &Root, root: &RootPlan) -> SysResult<()> {
    let mut flags = sysmount::attrs_to_ms(root.options.attrs.set);
    if is_read_only(root) {
        flags |= MS_RDONLY;
    }
    each_type(device, known, |kind, own| {
        let data = [own, &root.options.data].join(",");
        let source = Source::Text(device);
        sysmount::mount_on(&source, point.fd(), kind, flags, data.trim_matches(','))
    })
}

fn is_read_only(root: &RootPlan) -> bool {
    root.options.fs_flags & MS_RDONLY != 0 || root.options.attrs.set & sysmount::ATTR_RDONLY != 0
}

/// Types that may be modules which nobody has loaded yet; to ask for one loads it. The first takes
/// precedence: those that the kernel lists before it take some of its file systems too, with less.
const MODULES: [&str; 5] = ["ext4", "xfs", "btrfs", "f2fs", "squashfs"];

/// Tries the kernel's types until one takes the device; the error is that of the type which came
/// furthest.
fn each_type<T>(
    device: &Path,
    known: Known,
    mut attempt: impl FnMut(&str, &str) -> SysResult<T>,
) -> SysResult<T> {
    if let Some((kind, own)) = known {
        return attempt(kind, own);
    }
    let table = sysfd::read_to_string("/proc/filesystems")?;
    let mut types: Vec<&str> =
        table.lines().filter(|line| !line.starts_with("nodev")).map(str::trim).collect();
    types.retain(|kind| !MODULES.contains(kind));
    types.insert(0, MODULES[0]);
    types.extend(&MODULES[1..]);
    let nothing = "no file system of a type that this kernel has";
    let mut furthest =
        SysError::new("mount", format!("\"{}\": {nothing}", device.display()), errno::EINVAL);
    for kind in types.into_iter().filter(|kind| !kind.starts_with("fuse")) {
        match attempt(kind, "") {
            Ok(done) => return Ok(done),
            Err(e) if e.is(errno::ENOSYS) => return Err(e),
            Err(e) if e.is(errno::EINVAL) || e.is(errno::ENODEV) => {}
            Err(e) => furthest = e,
        }
    }
    Err(furthest)
}
