//! Mounts by descriptor: trees that are detached until they are complete, attached to a
//! directory or file that is already open.
//!
//! The new mount API comes first; `classic.rs` has mount(2) for kernels before 5.2 (no
//! fsopen, open_tree, move_mount) and 5.12 (no mount_setattr), whose targets and sources are
//! descriptors too. Which one to use is the caller's choice by [`SysError::is`]`(ENOSYS)`.
#![allow(unsafe_code, reason = "mount_setattr has no wrapper; adopting descriptors")]

mod classic;

pub use classic::{
    MS_BIND, MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_MOVE, MS_PRIVATE, MS_RDONLY, MS_REC,
    MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_SYNCHRONOUS, MS_UNBINDABLE, Source, attrs_to_ms, mount_on,
    ms_to_attrs, remount_bind, source_attrs,
};

use super::error::{At, Result, SysError};
use super::fd;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Read-only (`MOUNT_ATTR_*` of linux/mount.h; these are attributes of one mount, not of the
/// file system behind it).
pub const ATTR_RDONLY: u64 = 0x1;
/// No set-user-ID.
pub const ATTR_NOSUID: u64 = 0x2;
/// No device nodes.
pub const ATTR_NODEV: u64 = 0x4;
/// No execution.
pub const ATTR_NOEXEC: u64 = 0x8;
/// Mask of the three access-time modes; must be cleared when one of them is set.
pub const ATTR_ATIME: u64 = 0x70;
/// No access times.
pub const ATTR_NOATIME: u64 = 0x10;
/// Always access times.
pub const ATTR_STRICTATIME: u64 = 0x20;
/// No access times of directories.
pub const ATTR_NODIRATIME: u64 = 0x80;
/// Ids are mapped through a user namespace.
const ATTR_IDMAP: u64 = 0x10_0000;
/// Symbolic links are not followed.
pub const ATTR_NOSYMFOLLOW: u64 = 0x20_0000;

/// How mount events travel (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum Propagation {
    Shared,
    Private,
    Slave,
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Unbindable => MS_UNBINDABLE,
            Self::Private => MS_PRIVATE,
            Self::Slave => MS_SLAVE,
            Self::Shared => MS_SHARED,
        }
    }
}

/// One mount or a tree of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// This mount.
    One,
    /// This mount and all below.
    Tree,
}

/// Attributes to change with one mount_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// `ATTR_*` to set.
    pub set: u64,
    /// `ATTR_*` to clear.
    pub clear: u64,
    /// Propagation to give.
    pub propagation: Option<Propagation>,
}

impl AttrChange {
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// mount_setattr(2) on the mount whose root `mount` is.
///
/// # Errors
/// ENOSYS before 5.12; EPERM for a flag that a user namespace locked.
pub fn set_attrs(mount: BorrowedFd<'_>, change: &AttrChange, reach: Reach) -> Result<()> {
    let mut clear = change.clear;
    if change.set & ATTR_ATIME != 0 {
        clear |= ATTR_ATIME;
    }
    let attr = MountAttr {
        set: change.set,
        clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        userns_fd: 0,
    };
    mount_setattr(mount, &attr, reach)
}

/// Maps the ids of a detached mount through a user namespace. Needs privilege over the file
/// system, so the parent of a container does it for the child.
///
/// # Errors
/// ENOSYS before 5.12; EINVAL for a file system that cannot map ids, or a mount that is already
/// attached or mapped.
pub fn set_idmap(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, reach: Reach) -> Result<()> {
    let userns_fd = u64::try_from(userns.as_raw_fd()).unwrap_or(u64::MAX);
    let attr = MountAttr { set: ATTR_IDMAP, clear: 0, propagation: 0, userns_fd };
    mount_setattr(mount, &attr, reach)
}

fn mount_setattr(mount: BorrowedFd<'_>, attr: &MountAttr, reach: Reach) -> Result<()> {
    let recursive = if reach == Reach::Tree { OpenTreeFlags::AT_RECURSIVE.bits() } else { 0 };
    let flags = AtFlags::EMPTY_PATH.bits() | recursive;
    // SAFETY: the path is a static C string and `attr` a live struct of the size given; the
    // kernel only reads both.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(SysError::last("mount_setattr", "tree")) }
}

/// A detached copy of the mount (or the tree of mounts) at the object that `at` is: a bind mount
/// that is not attached yet (open_tree(2)).
pub fn clone_tree(at: BorrowedFd<'_>, reach: Reach) -> Result<OwnedFd> {
    open_tree(at, "", OpenTreeFlags::AT_EMPTY_PATH, reach).at("open_tree", || "open file")
}

/// As [`clone_tree`], for the object `name` below `at`; `name` must be trusted not to be a link.
pub fn clone_tree_at(at: BorrowedFd<'_>, name: &str, reach: Reach) -> Result<OwnedFd> {
    open_tree(at, name, OpenTreeFlags::AT_SYMLINK_NOFOLLOW, reach)
        .at("open_tree", || format!("\"{name}\""))
}

/// As [`clone_tree`], for a path on the host.
pub fn clone_tree_path(path: &Path, reach: Reach) -> Result<OwnedFd> {
    open_tree(CWD, path, OpenTreeFlags::empty(), reach)
        .at("open_tree", || format!("\"{}\"", path.display()))
}

fn open_tree(
    at: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    extra: OpenTreeFlags,
    reach: Reach,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = extra | OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if reach == Reach::Tree {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(at, path, flags)
}

/// Attaches a detached tree onto the object that `target` is.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", target, "", flags).at("move_mount", || "tree, target")
}

/// Attaches a detached tree onto `name` below `dir`, a directory of the kernel's own (proc, sys),
/// where no link can be planted.
pub fn attach_at(tree: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", dir, name, flags).at("move_mount", || format!("\"{name}\""))
}

/// A file system being configured (fsopen(2)); the kernel's own words about a failure end up in
/// the error's operand.
pub struct FsContext {
    fs: OwnedFd,
    kind: String,
}

impl FsContext {
    /// A new instance of the file system type `kind`.
    ///
    /// # Errors
    /// ENOSYS before 5.2; ENODEV for a type that the kernel does not have.
    pub fn open(kind: &str) -> Result<Self> {
        let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at("fsopen", || kind)?;
        Ok(Self { fs, kind: kind.to_owned() })
    }

    /// `key=value`; values over 255 bytes are EINVAL.
    pub fn string(&self, key: &str, value: &str) -> Result<()> {
        rustix::mount::fsconfig_set_string(&self.fs, key, value)
            .map_err(|e| self.error("fsconfig", &format!("{key}={value}"), e))
    }

    /// An option without value.
    pub fn flag(&self, key: &str) -> Result<()> {
        rustix::mount::fsconfig_set_flag(&self.fs, key).map_err(|e| self.error("fsconfig", key, e))
    }

    /// Options as mount(8) takes them: words with or without a value, between commas.
    pub fn options(&self, data: &str) -> Result<()> {
        data.split(',').filter(|word| !word.is_empty()).try_for_each(|word| {
            match word.split_once('=') {
                Some((key, value)) => self.string(key, value),
                None => self.flag(word),
            }
        })
    }

    /// Makes the file system and a detached mount of it with `ATTR_*` attributes.
    pub fn mount(self, attrs: u64) -> Result<OwnedFd> {
        rustix::mount::fsconfig_create(&self.fs).map_err(|e| self.error("fsconfig", "", e))?;
        #[allow(clippy::cast_possible_truncation, reason = "fsmount takes 32 bits of attributes")]
        let attrs = MountAttrFlags::from_bits_retain(attrs as u32);
        rustix::mount::fsmount(&self.fs, FsMountFlags::FSMOUNT_CLOEXEC, attrs)
            .map_err(|e| self.error("fsmount", "", e))
    }

    fn error(&self, call: &'static str, what: &str, e: rustix::io::Errno) -> SysError {
        // Reading the context gives one message per read, "e text"; ENODATA when there is none.
        let mut buf = [0u8; 512];
        let said = rustix::io::read(&self.fs, &mut buf).unwrap_or(0);
        let said = String::from_utf8_lossy(&buf[..said]);
        let said = said.trim().trim_start_matches("e ");
        let comma = if what.is_empty() { "" } else { ", " };
        let colon = if said.is_empty() { "" } else { ": " };
        SysError::rustix(call, format!("{}{comma}{what}{colon}{said}", self.kind), e)
    }
}

/// Gives the mounts at `path` (a trusted path of this namespace) a propagation.
pub fn propagate(path: &str, propagation: Propagation, reach: Reach) -> Result<()> {
    let rec = if reach == Reach::Tree { MS_REC } else { 0 };
    classic::mount_path("", path, "", propagation.bits() | rec, "")
}

/// Gives the mount whose root `mount` is a propagation.
pub fn propagate_fd(mount: BorrowedFd<'_>, propagation: Propagation, reach: Reach) -> Result<()> {
    let change = AttrChange { propagation: Some(propagation), ..AttrChange::default() };
    match set_attrs(mount, &change, reach) {
        // FALLBACK(<5.12): no mount_setattr.
        Err(e) if e.is(libc::ENOSYS) => {
            let rec = if reach == Reach::Tree { MS_REC } else { 0 };
            classic::change(mount, propagation.bits() | rec)
        }
        result => result,
    }
}

/// Detaches whatever is mounted on top of the directory `dir` (an `O_PATH` descriptor of the
/// mount's root), with everything below it.
pub fn detach(dir: BorrowedFd<'_>) -> Result<()> {
    // umount2 takes a path only; the working directory is one that cannot be raced with.
    classic::in_dir(dir, || {
        rustix::mount::unmount(".", UnmountFlags::DETACH).at("umount2", || "MNT_DETACH")
    })
}

/// Detaches the mount at a trusted path.
pub fn detach_path(path: &Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH)
        .at("umount2", || format!("\"{}\", MNT_DETACH", path.display()))
}

/// Makes `new_root` (a mount's root) the root of this mount namespace and lets go of the old
/// one, of which `old_root` is a descriptor. The working directory becomes the new root.
pub fn pivot(new_root: BorrowedFd<'_>, old_root: BorrowedFd<'_>) -> Result<()> {
    super::process::fchdir(new_root)?;
    // With the same directory for both, the old root ends up on top of the new one
    // (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(".", ".").at("pivot_root", || "\".\", \".\"")?;
    super::process::fchdir(old_root)?;
    // A hook may have made something below the old root shared: its unmounting must not travel.
    propagate(".", Propagation::Slave, Reach::Tree)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).at("umount2", || "\".\", MNT_DETACH")?;
    super::process::fchdir(new_root)
}

/// Moves the mount whose root `new_root` is over `/` and changes root into it: for a host that
/// runs from its initramfs, which pivot_root cannot leave.
pub fn move_to_root(new_root: BorrowedFd<'_>) -> Result<()> {
    super::process::fchdir(new_root)?;
    classic::mount_path(".", "/", "", MS_MOVE, "")?;
    rustix::process::chroot(".").at("chroot", || "\".\"")
}

/// The number of the mount that `fd` is on, unique while that mount exists.
pub fn mount_id(fd: BorrowedFd<'_>) -> Result<u64> {
    if let Ok(stat) = statx(fd, StatxFlags::MNT_ID) {
        if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
            return Ok(stat.stx_mnt_id);
        }
    }
    // FALLBACK(<5.8): STATX_MNT_ID. /proc/PID/fdinfo has the number since 3.15.
    let info = super::procfs::ProcFs::open()?.read(&format!("self/fdinfo/{}", fd.as_raw_fd()))?;
    super::procfs::status_field(&info, "mnt_id")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| SysError::new("read", "mnt_id of /proc/self/fdinfo", libc::EBADMSG))
}

/// True if `fd` is the root of a mount. Before 5.8 the kernel cannot say, and being on another
/// mount than `above` (a directory on the way to it) has to do.
pub fn is_mount_root(fd: BorrowedFd<'_>, above: BorrowedFd<'_>) -> Result<bool> {
    use rustix::fs::StatxAttributes;
    match statx(fd, StatxFlags::empty()) {
        Ok(stat) if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        // FALLBACK(<5.8): STATX_ATTR_MOUNT_ROOT, and statx itself before 4.11.
        _ => Ok(mount_id(fd)? != mount_id(above)?),
    }
}

fn statx(fd: BorrowedFd<'_>, mask: StatxFlags) -> Result<rustix::fs::Statx> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, mask).at("statx", || "")
}

/// The magic number of the file system that `fd` is on (statfs(2)).
pub fn fs_magic(fd: BorrowedFd<'_>) -> Result<u64> {
    let stat = rustix::fs::fstatfs(fd).at("fstatfs", || "")?;
    #[allow(
        clippy::cast_sign_loss,
        clippy::unnecessary_cast,
        clippy::cast_possible_truncation,
        reason = "the field's type differs between targets; magics are 32 bits"
    )]
    Ok(u64::from(stat.f_type as u32))
}

/// `cstring` for paths that go to the kernel as they are.
pub(super) fn c_path(call: &'static str, path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| SysError::new(call, format!("\"{}\"", path.display()), libc::EINVAL))
}

/// Makes the root of the mount namespace the root and the working directory of this process, and
/// gives a descriptor of it: another one than before in a chroot only.
pub fn leave_chroot() -> Result<OwnedFd> {
    let own = fd::open("/proc/self/ns/mnt", fd::OpenFlags::RDONLY, 0)?;
    super::ns::setns(own.as_fd(), 0)?;
    open_root()
}

/// A descriptor for the root of this process.
pub fn open_root() -> Result<OwnedFd> {
    fd::open("/", fd::OpenFlags::PATH | fd::OpenFlags::DIRECTORY, 0)
}
