//! A sealed copy of this program, run in its place before it shows itself inside a container
//! (CVE-2019-5736).
//!
//! A privileged container's root is the host's root: when it makes us execute `/proc/self/exe`, or
//! catches our process before its exec, it may open the file that we run for writing, which would
//! be the host's binary. So what runs is a memfd that nobody can write any more.
//!
//! A read-only bind mount of the binary that is mounted nowhere would cost nothing and cannot be
//! written either, but it hands out a mount of the host's file system, through which a
//! privileged container opens any file by its handle. It is the fallback where memfds cannot be
//! executed. The copy takes half a millisecond, so callers ask [`writable_for`] first.

#![allow(unsafe_code, reason = "open_tree and mount_setattr of an open file")]

use super::error::{At, Result, SysError};
use super::fd;
use super::process::{self, CStrings};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The seals that a copy has: no write, no change of size, no change of the seals.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Bytes copied at a time; more makes it slower (the buffer leaves the cache).
const CHUNK: usize = 64 << 10;

/// True if a process whose user and group ids on the host are among those that `has_uid` and
/// `has_gid` accept, and that has no capability in the initial user namespace, may write the file
/// that this process runs.
///
/// # Errors
/// /proc is not there.
pub fn writable_for(has_uid: impl Fn(u32) -> bool, has_gid: impl Fn(u32) -> bool) -> Result<bool> {
    let stat = rustix::fs::stat("/proc/self/exe").at("stat", || "\"/proc/self/exe\"")?;
    let mode = stat.st_mode;
    Ok(has_uid(stat.st_uid) || mode & 0o002 != 0 || (mode & 0o020 != 0 && has_gid(stat.st_gid)))
}

/// Makes sure that this process runs from a sealed copy: returns if it does, else executes the copy
/// with the same words and environment and does not return.
///
/// # Errors
/// The copy cannot be made or executed; the process must not go near a container then.
pub fn ensure(name: &str) -> Result<()> {
    let own = fd::open("/proc/self/exe", OFlags::RDONLY, 0)?;
    if rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SEALS)) {
        // The kernel named the process after the descriptor's number.
        if let Ok(name) = std::ffi::CString::new(name) {
            let _ = rustix::thread::set_name(&name);
        }
        return Ok(());
    }
    let failed = copy(own.as_fd(), name).and_then(|copy| rerun(copy.as_fd()));
    let Err(failed) = failed;
    // FALLBACK(<3.17): no memfds; and where vm.memfd_noexec forbids to execute them (EACCES).
    if !matches!(failed.errno, libc::ENOSYS | libc::EACCES) {
        return Err(failed);
    }
    if is_read_only_mount(own.as_fd())? {
        return Ok(());
    }
    let mount = detached_read_only(own.as_fd())?;
    // The mount must be gone from every namespace before a container can see this process, or its
    // flags could be changed through /proc/PID/exe: exec closes the descriptor, which does that.
    let Err(failed) = rerun(mount.as_fd());
    Err(failed)
}

/// As [`ensure`], for a program that a whole container's life depends on: what runs then is the
/// binary itself by a read-only mount of its own, whose pages all monitors share. A container
/// that gets hold of it gets no more than its rootfs, a mount of the same host, gives it already.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_shared(name: &str) -> Result<()> {
    let own = fd::open("/proc/self/exe", OFlags::RDONLY, 0)?;
    if super::cred::euid() != 0 || is_read_only_mount(own.as_fd())? {
        // The kernel named the process after the descriptor's number.
        if let Ok(name) = std::ffi::CString::new(name) {
            let _ = rustix::thread::set_name(&name);
        }
        return Ok(());
    }
    match detached_read_only(own.as_fd()).and_then(|mount| rerun(mount.as_fd())) {
        // FALLBACK(<5.12): no mount_setattr; the copy has to do.
        Err(e) if matches!(e.errno, libc::ENOSYS | libc::EPERM | libc::EINVAL) => ensure(name),
        Err(e) => Err(e),
    }
}

/// Executes `program` with this process's own words and environment. Returns only on failure.
fn rerun(program: BorrowedFd<'_>) -> Result<std::convert::Infallible> {
    let argv = CStrings::new(std::env::args_os())?;
    let envp = CStrings::new(std::env::vars_os().map(|(key, value)| {
        let mut entry = OsString::with_capacity(key.len() + value.len() + 1);
        entry.push(key);
        entry.push("=");
        entry.push(value);
        entry
    }))?;
    Err(process::exec_fd(program, &argv, &envp))
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
    rustix::fs::fcntl_add_seals(&memfd, SEALS).at("fcntl", || "F_ADD_SEALS")?;
    Ok(memfd)
}

fn is_read_only_mount(own: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::fstatvfs(own).at("fstatvfs", || "\"/proc/self/exe\"")?;
    Ok(stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
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
    if done == 0 { Ok(mount) } else { Err(SysError::last("mount_setattr", "MOUNT_ATTR_RDONLY")) }
}
