//! Subvolumes of btrfs, by ioctl: made, copied and removed relative to an open directory.
#![allow(unsafe_code, reason = "these ioctls have no wrapper")]

use super::error::{At, Result, SysError};
use super::{mount, path};
use crate::util::quote::quoted;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

/// statfs(2) magic.
const MAGIC: u64 = 0x9123_683e;
/// Inode of the root of every subvolume.
const ROOT_INODE: u64 = 256;

/// `struct btrfs_ioctl_vol_args` of linux/btrfs.h.
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Lookup {
    tree: u64,
    inode: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct Quota {
    create: u64,
    id: u64,
}

const WRITE: u32 = 1;
const READ: u32 = 2;

/// `_IOC(direction, 0x94, number, T)`.
const fn request<T>(direction: u32, number: u32) -> u32 {
    (direction << 30) | ((size_of::<T>() as u32) << 16) | (0x94 << 8) | number
}

fn ioctl(dir: BorrowedFd<'_>, number: u32, fd: i64, name: &OsStr) -> rustix::io::Result<()> {
    let mut args = VolArgs { fd, name: [0; 4088] };
    let name = name.as_bytes();
    if name.len() >= args.name.len() {
        return Err(Errno::NAMETOOLONG);
    }
    args.name[..name.len()].copy_from_slice(name);
    let request = request::<VolArgs>(WRITE, number);
    // SAFETY: the request says that the kernel reads as many bytes as `args` has, which outlives
    // the call.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, std::ptr::from_ref(&args)) };
    if done == 0 {
        return Ok(());
    }
    Err(Errno::from_raw_os_error(SysError::last("ioctl", "").errno))
}

/// True if the directory is the root of a subvolume.
pub fn is_subvolume(dir: BorrowedFd<'_>) -> bool {
    mount::fs_magic(dir).is_ok_and(|magic| magic == MAGIC)
        && path::facts(dir).is_ok_and(|facts| facts.ino == ROOT_INODE)
}

/// True if the directory is on btrfs.
pub fn is_on(dir: BorrowedFd<'_>) -> bool {
    mount::fs_magic(dir).is_ok_and(|magic| magic == MAGIC)
}

/// Makes the empty subvolume `name` in `dir`, which must be open for reading. ENOTTY elsewhere.
pub fn create(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    ioctl(dir, 14, 0, name).at("BTRFS_IOC_SUBVOL_CREATE", || quoted(name))
}

/// Makes `name` in `dir` a writable copy of the subvolume `source`, sharing all its blocks;
/// subvolumes in it become empty directories. EXDEV on another file system.
pub fn snapshot(source: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    ioctl(dir, 1, source.as_raw_fd().into(), name).at("BTRFS_IOC_SNAP_CREATE", || quoted(name))
}

/// The number of the subvolume that the directory is in.
pub(super) fn id(dir: BorrowedFd<'_>) -> Option<u64> {
    let mut args = Lookup { tree: 0, inode: ROOT_INODE, name: [0; 4080] };
    let request = request::<Lookup>(READ | WRITE, 18);
    // SAFETY: the request says that the kernel reads and writes as many bytes as `args` has, which
    // outlives the call.
    let done = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, &raw mut args) };
    (done == 0).then_some(args.tree)
}

/// Removes the quota group of a subvolume that is gone, by a directory of its file system. There is
/// none where quotas are off, and kernels from 6.11 on remove it by themselves: nothing is told.
pub(super) fn forget_quota(dir: BorrowedFd<'_>, id: Option<u64>) {
    let Some(id) = id else { return };
    let args = Quota { create: 0, id };
    let request = request::<Quota>(WRITE, 42);
    // SAFETY: the request says that the kernel reads as many bytes as `args` has, which outlives
    // the call.
    let _ = unsafe { libc::ioctl(dir.as_raw_fd(), request as _, std::ptr::from_ref(&args)) };
}

/// Removes the subvolume `name` in `dir` with its content; ENOTEMPTY when it holds others.
pub(super) fn destroy(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    ioctl(dir, 15, 0, name)
}
