//! FALLBACK(<5.6): path resolution without openat2, one component at a time.
//!
//! Every step is an `O_PATH | O_NOFOLLOW` open of a single name. The directories passed on the
//! way down are kept open on a stack and `..` goes back to the one below, so the kernel's idea
//! of a parent (which a racing rename can move out of the root) is never asked for, and nothing
//! has to be checked twice. Links are read through their own descriptor and resolved here.

use super::Lookup;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As many links as the kernel follows in one lookup.
const MAX_LINKS: u32 = 40;
/// Open directories at most: deeper paths than this are an attack on the descriptor table.
const MAX_DEPTH: usize = 256;

/// Opens `rel` below `root`; `flags` and `mode` are for the last component only.
pub(super) fn open(
    root: BorrowedFd<'_>,
    rel: &Path,
    flags: OFlags,
    mode: u32,
    lookup: Lookup,
) -> Result<OwnedFd> {
    let mut stack: Vec<OwnedFd> = Vec::new();
    // Components still to do, the next one last.
    let mut todo = Vec::new();
    push_components(&mut todo, rel.as_os_str().as_bytes());
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let at = stack.last().map_or(root, AsFd::as_fd);
        match part.as_slice() {
            b".." => {
                if stack.pop().is_none() && lookup == Lookup::NoSymlinks {
                    return Err(Errno::XDEV);
                }
                continue;
            }
            name => {
                let name = OsStr::from_bytes(name);
                let last = todo.is_empty();
                match open_one(at, name, last.then_some((flags, mode)))? {
                    One::Last(fd) => return Ok(fd),
                    One::Dir(fd) if stack.len() < MAX_DEPTH => stack.push(fd),
                    One::Dir(_) => return Err(Errno::NAMETOOLONG),
                    One::Link(_) if lookup == Lookup::NoSymlinks => return Err(Errno::LOOP),
                    One::Link(_) if links == MAX_LINKS => return Err(Errno::LOOP),
                    One::Link(text) => {
                        links += 1;
                        if text.first() == Some(&b'/') {
                            stack.clear();
                        }
                        push_components(&mut todo, &text);
                    }
                }
            }
        }
    }
    // The path ended on `..`, on the root itself, or on a link to one of them.
    let at = stack.last().map_or(root, AsFd::as_fd);
    rustix::fs::openat(at, ".", flags - OFlags::NOFOLLOW, Mode::from_raw_mode(mode))
}

/// What one component was.
enum One {
    /// The final object, opened as asked.
    Last(OwnedFd),
    /// A directory on the way (or at the end, before it is opened as asked).
    Dir(OwnedFd),
    /// A link and its text.
    Link(Vec<u8>),
}

/// Opens the single name `name`; `wanted` is given for the last component.
fn open_one(at: BorrowedFd<'_>, name: &OsStr, wanted: Option<(OFlags, u32)>) -> Result<One> {
    if let Some((flags, mode)) = wanted {
        if !flags.contains(OFlags::PATH) {
            // Without O_PATH the kernel itself refuses to open a link.
            match rustix::fs::openat(at, name, flags | OFlags::NOFOLLOW, Mode::from_raw_mode(mode))
            {
                Ok(fd) => return Ok(One::Last(fd)),
                Err(e @ (Errno::LOOP | Errno::NOTDIR)) => {
                    return match read_link(at, name)? {
                        Some(text) => Ok(One::Link(text)),
                        None => Err(e),
                    };
                }
                Err(e) => return Err(e),
            }
        }
    }
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(at, name, nofollow, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    match (kind, wanted) {
        (FileType::Symlink, _) => link_text(&fd).map(One::Link),
        (FileType::Directory, None) => Ok(One::Dir(fd)),
        (FileType::Directory, Some(_)) => Ok(One::Last(fd)),
        (_, None) => Err(Errno::NOTDIR),
        (_, Some((flags, _))) if flags.contains(OFlags::DIRECTORY) => Err(Errno::NOTDIR),
        (_, Some(_)) => Ok(One::Last(fd)),
    }
}

/// The text of the link `name`, or `None` if it is something else.
fn read_link(at: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Vec<u8>>> {
    let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(at, name, nofollow, Mode::empty())?;
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::Symlink => link_text(&fd).map(Some),
        _ => Ok(None),
    }
}

/// The text behind an `O_PATH` descriptor of a link. A magic link's text is only text here:
/// what it names is looked up inside the root like any other.
fn link_text(fd: &OwnedFd) -> Result<Vec<u8>> {
    let text = rustix::fs::readlinkat(fd, "", Vec::new())?.into_bytes();
    if text.is_empty() { Err(Errno::NOENT) } else { Ok(text) }
}

/// Puts the components of `path` on top of `todo`, first one topmost.
fn push_components(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
    let at = todo.len();
    todo.extend(parts.map(<[u8]>::to_vec));
    todo[at..].reverse();
}
