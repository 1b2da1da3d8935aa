//! FALLBACK(<5.12): the primitives of `fd.rs` with mount(2).
//!
//! mount(2) attaches first and sets flags afterwards, so the new mount has to be looked up: by
//! the same rule (no links), and what is found must be the thing that was mounted, or the start
//! fails.

use super::fd::{BindHow, NewFs, Piece, Target, raced};
use crate::sys::errno;
use crate::sys::error::Result;
use crate::sys::fd::{self as sysfd, OpenFlags};
use crate::sys::mount::{self as sysmount, ATTR_ATIME, Reach, Source};
use crate::sys::path::Lookup;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Mounts a file system and finds its root again.
pub(super) fn mount_fs(fs: &NewFs<'_>, target: &Target<'_>) -> Result<OwnedFd> {
    let words = fs.options.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => (*key).to_owned(),
    });
    let data = words.collect::<Vec<_>>().join(",");
    let flags = sysmount::attrs_to_ms(fs.attrs);
    let source = Source::Text(Path::new(fs.source));
    sysmount::mount_on(&source, target.fd, fs.kind, flags, &data)?;
    let mounted = target.root.resolve_dir(target.rel, Lookup::NoSymlinks)?;
    let ours = sysmount::fs_magic(mounted.as_fd())? == fs.magic
        && sysmount::is_mount_root(mounted.as_fd(), target.fd)?;
    if ours { Ok(mounted) } else { Err(raced(fs.kind)) }
}

/// Binds and sets attributes afterwards.
pub(super) fn bind(from: BorrowedFd<'_>, how: &BindHow, target: &Target<'_>) -> Result<()> {
    let rec = if how.reach == Reach::Tree { sysmount::MS_REC } else { 0 };
    sysmount::mount_on(&Source::Fd(from), target.fd, "", sysmount::MS_BIND | rec, "")?;
    if how.change.is_empty() {
        return Ok(());
    }
    let mounted = target.root.resolve(target.rel, Lookup::NoSymlinks)?;
    if sysfd::identity(mounted.as_fd())? != sysfd::identity(from)? {
        return Err(raced("the target"));
    }
    finish(mounted.as_fd(), how)
}

/// Sets the attributes and the propagation of a fresh bind mount.
pub(super) fn finish(mounted: BorrowedFd<'_>, how: &BindHow) -> Result<()> {
    let change = how.change;
    if change.set | change.clear != 0 {
        let has = sysmount::source_attrs(mounted)?;
        let clear =
            if change.set & ATTR_ATIME == 0 { change.clear } else { change.clear | ATTR_ATIME };
        match sysmount::remount_bind(mounted, (has & !clear) | change.set) {
            // A flag that a user namespace locked stays.
            Err(e) if e.is(errno::EPERM) && change.clear != 0 => {
                sysmount::remount_bind(mounted, has | change.set)?;
            }
            result => result?,
        }
    }
    match change.propagation {
        Some(propagation) => sysmount::propagate_fd(mounted, propagation, how.propagation_reach),
        None => Ok(()),
    }
}

/// Opens the source of a [`Piece`] in the mount that it is in now.
pub(super) fn piece(dir: BorrowedFd<'_>, from: &str, attrs: u64) -> Result<Piece> {
    let source = sysfd::open_at(dir, from, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0)?;
    // As they are now: the mount it comes from may be read-only when the piece is put.
    let attrs = sysmount::source_attrs(source.as_fd())? | attrs;
    Ok(Piece::Classic(source, attrs))
}

/// Binds `from` over `to`, a name in proc or sysfs, with exactly the attributes `attrs`.
pub(super) fn put(from: BorrowedFd<'_>, attrs: u64, dir: BorrowedFd<'_>, to: &str) -> Result<()> {
    let open = || sysfd::open_at(dir, to, OpenFlags::PATH | OpenFlags::NOFOLLOW, 0);
    let target = open()?;
    sysmount::mount_on(&Source::Fd(from), target.as_fd(), "", sysmount::MS_BIND, "")?;
    sysmount::remount_bind(open()?.as_fd(), attrs)
}
