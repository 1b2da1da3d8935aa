//! Fresh /proc and /sys for a process that is in the container's pid or network namespace but not
//! in its mount namespace (`lxc_attach_remount_sys_proc`).

use crate::config::NsKind;
use crate::sys::error::Result as SysResult;
use crate::sys::mount::{self, FsContext};
use crate::sys::path::Root;
use crate::sys::{errno, ns, probe};
use std::os::fd::AsFd;
use std::path::Path;

/// Makes a private copy of the mount namespace and mounts both anew in it.
///
/// # In the child
/// Inside the joined namespaces, whose /proc and /sys these become.
pub(super) fn proc_and_sys() -> SysResult<()> {
    // The flag is below 2^31.
    ns::unshare(crate::ns::flag(NsKind::Mnt) as i32)?;
    crate::mount::slave_all()?;
    for (fs_type, path) in [("proc", "/proc"), ("sysfs", "/sys")] {
        match mount::detach_path(Path::new(path)) {
            // Not a mount point.
            Err(e) if !e.is(errno::EINVAL) => return Err(e),
            _ => {}
        }
        match FsContext::open(fs_type) {
            Ok(fs) => {
                let target = Root::open(Path::new(path))?;
                mount::attach(fs.mount(0)?.as_fd(), target.fd())?;
            }
            // FALLBACK(<5.2): no fsopen. By its path: /proc/self/fd is gone, and these mounts are
            // copies of the caller's own.
            Err(e) if e.is(errno::ENOSYS) => probe::mount(fs_type, path, "")?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
