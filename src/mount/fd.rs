//! The mount primitives of the steps: a file system or a bind, complete with its attributes,
//! attached to a target that is already open.
//!
//! Everything is made as a detached tree first and attached last, so nothing half-done is ever
//! visible and no path is looked up again. Kernels without the calls go to `legacy.rs`.

use super::legacy;
use crate::sys::error::Result;
use crate::sys::mount::{self as sysmount, AttrChange, FsContext, Reach};
use crate::sys::path::Root;
use crate::sys::{SysError, errno};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where something is mounted: the open target, and how it was found.
pub(super) struct Target<'a> {
    /// The root file system.
    pub(super) root: &'a Root,
    /// The name below it; only used again by kernels that cannot do without.
    pub(super) rel: &'a Path,
    /// The object itself.
    pub(super) fd: BorrowedFd<'a>,
}

/// A file system to be made.
pub(super) struct NewFs<'a> {
    /// Its type.
    pub(super) kind: &'static str,
    /// What mountinfo shows as its source; LXC's words.
    pub(super) source: &'static str,
    /// `key`, or `key` and `value`.
    pub(super) options: &'a [(&'a str, Option<&'a str>)],
    /// `ATTR_*` of its mount.
    pub(super) attrs: u64,
    /// statfs(2) magic.
    pub(super) magic: u64,
}

/// proc, sysfs and their like never hold set-uid programs, devices or code.
pub(super) const KERNEL_FS: u64 =
    sysmount::ATTR_NOSUID | sysmount::ATTR_NODEV | sysmount::ATTR_NOEXEC;

impl NewFs<'_> {
    /// A detached mount of it.
    pub(super) fn detached(&self) -> Result<OwnedFd> {
        let fs = FsContext::open(self.kind)?;
        fs.string("source", self.source)?;
        for (key, value) in self.options {
            match value {
                Some(value) => fs.string(key, value)?,
                None => fs.flag(key)?,
            }
        }
        fs.mount(self.attrs)
    }

    /// Mounts it and returns the root of the mount.
    pub(super) fn mount(&self, target: &Target<'_>) -> Result<OwnedFd> {
        match self.detached() {
            Ok(tree) => {
                sysmount::attach(tree.as_fd(), target.fd)?;
                Ok(tree)
            }
            // FALLBACK(<5.2): no fsopen.
            Err(e) if e.is(errno::ENOSYS) => legacy::mount_fs(self, target),
            Err(e) => Err(e),
        }
    }
}

/// The source of a bind mount.
pub(super) enum BindSource<'a> {
    /// A path of the host.
    Host(&'a Path),
    /// Something open.
    Open(BorrowedFd<'a>),
}

/// How a bind mount differs from its source.
#[derive(Clone, Copy)]
pub(super) struct BindHow {
    /// With everything mounted below, or not.
    pub(super) reach: Reach,
    /// Attributes of the topmost mount.
    pub(super) change: AttrChange,
    /// How far the propagation in `change` reaches.
    pub(super) propagation_reach: Reach,
}

impl BindHow {
    /// One mount with `attrs` added to those of its source.
    pub(super) fn one(attrs: u64) -> Self {
        let change = AttrChange { set: attrs, ..AttrChange::default() };
        Self { reach: Reach::One, change, propagation_reach: Reach::One }
    }
}

/// A detached bind mount, its attributes set.
///
/// # Errors
/// ENOSYS before 5.2, or before 5.12 when there are attributes to change.
pub(super) fn detached_bind(source: &BindSource<'_>, how: &BindHow) -> Result<OwnedFd> {
    let tree = match source {
        BindSource::Host(path) => sysmount::clone_tree_path(path, how.reach)?,
        BindSource::Open(fd) => sysmount::clone_tree(*fd, how.reach)?,
    };
    change_attrs(tree.as_fd(), how)?;
    Ok(tree)
}

fn change_attrs(tree: BorrowedFd<'_>, how: &BindHow) -> Result<()> {
    let mut change = how.change;
    let spread = change.propagation.filter(|_| how.propagation_reach == Reach::Tree);
    if spread.is_some() {
        change.propagation = None;
    }
    if !change.is_empty() {
        match sysmount::set_attrs(tree, &change, Reach::One) {
            // A flag that a user namespace locked stays; so does LXC leave it.
            Err(e) if e.is(errno::EPERM) && change.clear & !sysmount::ATTR_ATIME != 0 => {
                change.clear &= sysmount::ATTR_ATIME;
                sysmount::set_attrs(tree, &change, Reach::One)?;
            }
            result => result?,
        }
    }
    match spread {
        Some(propagation) => sysmount::propagate_fd(tree, propagation, Reach::Tree),
        None => Ok(()),
    }
}

/// Binds `source` on `target`.
pub(super) fn bind(source: &BindSource<'_>, how: &BindHow, target: &Target<'_>) -> Result<()> {
    match detached_bind(source, how) {
        Ok(tree) => sysmount::attach(tree.as_fd(), target.fd),
        // FALLBACK(<5.12): no mount_setattr, or not even open_tree.
        Err(e) if e.is(errno::ENOSYS) => {
            let opened;
            let from = match source {
                BindSource::Open(fd) => *fd,
                BindSource::Host(path) => {
                    opened = crate::sys::fd::open(path, crate::sys::fd::OpenFlags::PATH, 0)?;
                    opened.as_fd()
                }
            };
            legacy::bind(from, how, target)
        }
        Err(e) => Err(e),
    }
}

/// A copy of `from` (below `dir`, a mounted proc or sysfs, where names can be trusted), to be put
/// over `to` by [`Piece::put`]. `None` when this kernel has no such file.
pub(super) fn piece(dir: BorrowedFd<'_>, from: &str, attrs: u64) -> Result<Option<Piece>> {
    let made = sysmount::clone_tree_at(dir, from, Reach::One).and_then(|tree| {
        change_attrs(tree.as_fd(), &BindHow::one(attrs))?;
        Ok(Piece::Tree(tree))
    });
    match made {
        // FALLBACK(<5.12).
        Err(e) if e.is(errno::ENOSYS) => absent_is_none(legacy::piece(dir, from, attrs)),
        made => absent_is_none(made),
    }
}

fn absent_is_none(made: Result<Piece>) -> Result<Option<Piece>> {
    match made {
        Ok(piece) => Ok(Some(piece)),
        Err(e) if e.is(errno::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A part of proc or sysfs on its way to its place.
pub(super) enum Piece {
    /// Detached.
    Tree(OwnedFd),
    /// The open source, and all the attributes that its mount shall have.
    Classic(OwnedFd, u64),
}

impl Piece {
    /// Mounts it over `to` below `dir`.
    pub(super) fn put(&self, dir: BorrowedFd<'_>, to: &str) -> Result<()> {
        match self {
            Self::Tree(tree) => sysmount::attach_at(tree.as_fd(), dir, to),
            Self::Classic(from, attrs) => legacy::put(from.as_fd(), *attrs, dir, to),
        }
    }
}

/// Adds attributes to the mount whose root `mount` is.
pub(super) fn add_attrs(mount: BorrowedFd<'_>, attrs: u64) -> Result<()> {
    let change = AttrChange { set: attrs, ..AttrChange::default() };
    match sysmount::set_attrs(mount, &change, Reach::One) {
        // FALLBACK(<5.12).
        Err(e) if e.is(errno::ENOSYS) => {
            sysmount::remount_bind(mount, sysmount::source_attrs(mount)? | attrs)
        }
        result => result,
    }
}

/// The error of a target that changed under us.
pub(super) fn raced(what: &str) -> SysError {
    SysError::new("mount", format!("{what} was replaced meanwhile"), errno::ELOOP)
}
