//! Running this program from something that a container cannot write (CVE-2019-5736).
//!
//! A privileged container's root is the host's root: when it makes us execute `/proc/self/exe`, or
//! catches our process before its exec, it may open the file that we run for writing, which would
//! be the host's binary. [`ensure_by`] makes it something else, in one of two ways.
//!
//! [`Method::Copy`] is a memfd with seals, as in LXC and runc: nobody can write it, and it leads
//! nowhere. It costs the copy, one to two milliseconds for a megabyte in fresh memory.
//!
//! [`Method::Mount`] is a read-only bind mount of the binary alone that is in no namespace: nobody
//! can write through it or change its flags, and it costs nothing. But it is a mount of the host's
//! file system, and root may open any file of a file system by its handle through any mount of it
//! (and change the options of the whole). So it is for containers whose root file system is on that
//! file system anyway.

#![allow(unsafe_code, reason = "mount_setattr of an open file")]

use super::error::{At, Result, SysError};
use super::fd;
use super::image;
use super::process::{self, CStrings};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The seals that a copy has: no write, no change of size, no change of the seals.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Bytes copied at a time; more makes it slower (the buffer leaves the cache).
const CHUNK: usize = 64 << 10;

/// How the program gets out of a container's reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A sealed copy in memory.
    Copy,
    /// A detached read-only mount; a copy where the kernel cannot (before 5.12).
    Mount,
}

/// What matters of the file that this process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Its file system.
    pub device: u64,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
}

impl Binary {
    /// Looks at this process's own.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn own() -> Result<Self> {
        let stat = rustix::fs::stat("/proc/self/exe").at("stat", || "\"/proc/self/exe\"")?;
        #[allow(clippy::useless_conversion, reason = "the field is 32 bits wide on some targets")]
        let device = u64::from(stat.st_dev);
        Ok(Self { device, uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 })
    }

    /// True if root of a user namespace, without any capability in the initial one, may write it:
    /// the answers are whether the namespace maps an id of the host.
    pub fn writable_for(
        &self,
        maps_uid: impl Fn(u32) -> bool,
        maps_gid: impl Fn(u32) -> bool,
    ) -> bool {
        let by_group = self.mode & 0o020 != 0 && maps_gid(self.gid);
        self.mode & 0o002 != 0 || by_group || maps_uid(self.uid)
    }
}

/// Returns when this process runs out of reach: because it does already, or has been made to in
/// place. Where that cannot be done it executes itself that way, with the same words and
/// environment, and does not return. `name` is what `ps` shows then.
///
/// # Errors
/// It cannot be done; the process must not go near the container then.
pub fn ensure_by(name: &str, method: Method) -> Result<()> {
    let own = fd::open("/proc/self/exe", OFlags::RDONLY, 0)?;
    let sealed = rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SEALS));
    if sealed || is_own_mount(own.as_fd()) {
        // The kernel named the process after the descriptor's number.
        if let Ok(name) = std::ffi::CString::new(name) {
            let _ = rustix::thread::set_name(&name);
        }
        return Ok(());
    }
    match method {
        // FALLBACK(<3.17): no memfds; and EACCES where vm.memfd_noexec forbids to execute one.
        Method::Copy => match copy(own.as_fd(), name).and_then(go_on_from) {
            Err(e) if matches!(e.errno, libc::ENOSYS | libc::EACCES) => {
                go_on_from(detached_read_only(own.as_fd())?)
            }
            done => done,
        },
        // FALLBACK(<5.12): no mount_setattr, or (EPERM) not root.
        Method::Mount => match detached_read_only(own.as_fd()) {
            Ok(mount) => go_on_from(mount),
            Err(_) => go_on_from(copy(own.as_fd(), name)?),
        },
    }
}

/// Makes this process run from what process `pid` runs, if that is the same file behind a mount
/// that [`ensure_by`] has made: then there is none to be made. False if it is not, or cannot be.
pub fn ensure_like(pid: process::Pid) -> bool {
    let same = |file: &OwnedFd| {
        let stat = |path| rustix::fs::stat(path).map(|stat| (stat.st_dev, stat.st_ino));
        let its = rustix::fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino));
        is_own_mount(file.as_fd()) && its.is_ok() && its == stat("/proc/self/exe")
    };
    fd::open(format!("/proc/{pid}/exe"), OFlags::RDONLY, 0)
        .is_ok_and(|file| same(&file) && image::run_from(file.as_fd()).is_ok())
}

/// Runs from `file` from here on: in place, which costs a tenth of an exec, or by one. The
/// descriptor is closed by both, which takes a detached mount out of reach of mount_setattr: no
/// container may see the process before.
fn go_on_from(file: OwnedFd) -> Result<()> {
    match image::run_from(file.as_fd()) {
        Ok(()) => Ok(()),
        Err(_) => Err(execute(&file)),
    }
}

/// [`ensure_by`] a copy: out of reach of every container.
///
/// # Errors
/// As [`ensure_by`].
pub fn ensure(name: &str) -> Result<()> {
    ensure_by(name, Method::Copy)
}

/// [`ensure_by`] [`Method::Mount`], for a program that a whole container's life depends on: the
/// pages of the binary are shared by all monitors then. Users who are not root have nothing that a
/// container of theirs could write and they could not.
///
/// # Errors
/// As [`ensure_by`].
pub fn ensure_shared(name: &str) -> Result<()> {
    if super::cred::euid() == 0 { ensure_by(name, Method::Mount) } else { Ok(()) }
}

/// Executes `file` in place of this process.
fn execute(file: &OwnedFd) -> SysError {
    let environment = std::env::vars_os().map(|(key, value)| {
        let mut entry = OsString::with_capacity(key.len() + value.len() + 1);
        entry.push(key);
        entry.push("=");
        entry.push(value);
        entry
    });
    match (CStrings::new(std::env::args_os()), CStrings::new(environment)) {
        (Ok(argv), Ok(envp)) => process::exec_fd(file.as_fd(), &argv, &envp),
        (Err(e), _) | (_, Err(e)) => e,
    }
}

fn copy(own: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // FALLBACK(<6.3): MFD_EXEC is unknown, and every memfd can be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        done => done,
    }
    .at("memfd_create", || format!("\"{name}\""))?;
    let mut buffer = vec![0u8; CHUNK];
    loop {
        match rustix::io::read(own, &mut buffer) {
            Ok(0) => break,
            Ok(n) => fd::write_all(memfd.as_fd(), &buffer[..n])?,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("read", "\"/proc/self/exe\"", e)),
        }
    }
    // A page that the kernel has in hand at the moment makes it EBUSY, after 150 ms of its own.
    let mut tries = 20;
    loop {
        match rustix::fs::fcntl_add_seals(&memfd, SEALS) {
            Err(rustix::io::Errno::BUSY) if tries > 0 => tries -= 1,
            done => return done.at("fcntl", || "F_ADD_SEALS").map(|()| memfd),
        }
    }
}

/// True if the file is the root of a mount of its own that is read-only: what
/// [`detached_read_only`] makes.
fn is_own_mount(own: BorrowedFd<'_>) -> bool {
    use rustix::fs::{AtFlags, StatVfsMountFlags, StatxAttributes, StatxFlags, statx};
    let read_only =
        rustix::fs::fstatvfs(own).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only
        && statx(own, "", AtFlags::EMPTY_PATH, StatxFlags::empty())
            .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn detached_read_only(own: BorrowedFd<'_>) -> Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount =
        rustix::mount::open_tree(own, "", flags).at("open_tree", || "\"/proc/self/exe\"")?;
    /// The kernel's `struct mount_attr`.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: the structure has the kernel's layout and outlives the call; the path is the empty
    // string.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attr),
            size_of::<MountAttr>(),
        )
    };
    if done != 0 {
        return Err(SysError::last("mount_setattr", "MOUNT_ATTR_RDONLY"));
    }
    // The one so far is a place only (O_PATH), and cannot be mapped.
    fd::open(format!("/proc/self/fd/{}", mount.as_raw_fd()), OFlags::RDONLY, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_write_a_binary() {
        let binary = Binary { device: 1, uid: 0, gid: 0, mode: 0o755 };
        let nobody = |_| false;
        assert!(!binary.writable_for(nobody, nobody));
        assert!(!binary.writable_for(nobody, |gid| gid == 0));
        assert!(binary.writable_for(|uid| uid == 0, nobody));
        assert!(Binary { mode: 0o757, ..binary }.writable_for(nobody, nobody));
        let group = Binary { mode: 0o775, ..binary };
        assert!(group.writable_for(nobody, |gid| gid == 0));
        assert!(!group.writable_for(nobody, |gid| gid == 1));
    }
}
