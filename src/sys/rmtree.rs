//! Removing a directory tree whose content is hostile: by descriptor, never through a symbolic
//! link, never into another file system, with a bounded number of descriptors however deep it is.

use super::{At, Result, SysError};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Below this depth directories are moved up to the top and removed from there: a container can
/// nest a hundred thousand of them, and each level holds a descriptor.
const MAX_DEPTH: usize = 32;
/// Errors that are reported; more of the same help nobody.
const MAX_ERRORS: usize = 8;

/// Removes `path` with all that is below it. What is not there is not an error.
///
/// # Errors
/// All failures, at most eight; whatever could be removed is gone then. A mount point on the way
/// is EBUSY and stays with what is mounted there.
pub fn remove(path: &Path) -> std::result::Result<(), Vec<SysError>> {
    remove_but(path, None)
}

/// The same, but keeps the entry `keep` of the top directory, and then the top itself.
pub fn remove_but(path: &Path, keep: Option<&str>) -> std::result::Result<(), Vec<SysError>> {
    let one = |e| vec![e];
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return std::fs::remove_file(path).at("unlink", || format!("{path:?}")).map_err(one);
        }
        Err(e) => return Err(one(SysError::rustix("open", format!("{path:?}"), e))),
    };
    let device = rustix::fs::fstat(&top).at("fstat", || format!("{path:?}")).map_err(one)?.st_dev;
    let mut walk = Walk { top: &top, device: device as u64, moved: 0, errors: Vec::new() };
    let keep = keep.and_then(|name| CString::new(name).ok());
    loop {
        let moved = walk.moved;
        walk.empty(top.as_fd(), keep.as_deref(), 0);
        // Directories that were moved up are entries of the top now.
        if walk.moved == moved || !walk.errors.is_empty() {
            break;
        }
    }
    if keep.is_none() && walk.errors.is_empty() {
        if let Err(e) = std::fs::remove_dir(path).at("rmdir", || format!("{path:?}")) {
            walk.errors.push(e);
        }
    }
    if walk.errors.is_empty() { Ok(()) } else { Err(walk.errors) }
}

struct Walk<'a> {
    top: &'a OwnedFd,
    device: u64,
    moved: u64,
    errors: Vec<SysError>,
}

impl Walk<'_> {
    fn failed(&mut self, error: SysError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn empty(&mut self, dir: BorrowedFd<'_>, keep: Option<&CStr>, depth: usize) {
        let names = match entries(dir) {
            Ok(names) => names,
            Err(e) => return self.failed(e),
        };
        for (name, kind) in names {
            if keep == Some(name.as_c_str()) {
                continue;
            }
            if let Err(e) = self.remove_entry(dir, &name, kind, depth) {
                self.failed(e);
            }
        }
    }

    fn remove_entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> Result<()> {
        let operand = || format!("{name:?}");
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // A directory on a file system that does not tell types.
                Err(Errno::ISDIR | Errno::PERM) if kind == FileType::Unknown => {}
                Err(e) => return Err(SysError::rustix("unlinkat", operand(), e)),
            }
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(SysError::rustix("rmdir", operand(), e)),
        }
        if depth >= MAX_DEPTH {
            let aside = format!(".removing-{}-{}", std::process::id(), self.moved);
            self.moved += 1;
            return rustix::fs::renameat(dir, name, self.top, &aside).at("renameat", operand);
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let child = rustix::fs::openat(dir, name, flags, Mode::empty()).at("openat", operand)?;
        let stat = rustix::fs::fstat(&child).at("fstat", operand)?;
        if stat.st_dev as u64 != self.device {
            return Err(SysError::new("rmdir", operand(), super::errno::EBUSY));
        }
        let errors = self.errors.len();
        let moved = self.moved;
        self.empty(child.as_fd(), None, depth + 1);
        drop(child);
        if self.errors.len() > errors {
            return Ok(());
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // Somebody writes while we remove: one more round takes it.
            Err(Errno::NOTEMPTY) if self.moved == moved => {
                Err(SysError::rustix("rmdir", operand(), Errno::NOTEMPTY))
            }
            Err(e) => Err(SysError::rustix("rmdir", operand(), e)),
        }
    }
}

fn entries(dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).at("getdents", || "")? {
        let entry = entry.at("getdents", || "")?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        remove(&tree).unwrap();
        assert!(!tree.exists() && outside.join("precious").exists());
        remove(&tree).unwrap();
        symlink(&outside, &tree).unwrap();
        remove(&tree).unwrap();
        assert!(outside.join("precious").exists());
    }

    #[test]
    fn depth_costs_no_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at: OwnedFd =
            rustix::fs::open(&tree, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn an_entry_can_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("snaps/s")).unwrap();
        fs::create_dir_all(dir.path().join("rootfs/snaps")).unwrap();
        remove_but(dir.path(), Some("snaps")).unwrap();
        assert!(dir.path().join("snaps/s").exists() && !dir.path().join("rootfs").exists());
    }
}
