//! Removing directory trees whose content belongs to an attacker.
//!
//! Everything goes by the descriptor of the directory that holds it and one name; links are
//! removed, never followed; another file system is never entered. The walk keeps a bounded
//! number of directories open: what is nested deeper is first renamed to the top of the tree.
//! Start reading at [`remove`].

use super::error::{At, Result, SysError};
use super::{btrfs, fd, mount, path};
use rustix::fs::{AtFlags, FileType, IFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Directories open at the same time.
const MAX_OPEN: usize = 64;
/// btrfs subvolumes nested in each other.
const MAX_SUBVOLUMES: u32 = 32;
/// How often a directory that something keeps filling is read again.
const MAX_ROUNDS: u32 = 32;

/// Objects between two words to who watches.
const WATCH_OBJECTS: u64 = 256;

/// Told now and then how many objects were removed.
pub type Watcher = Box<dyn FnMut(u64)>;

// musl has room for 112 bytes of thread-locals in its own data. More of them, with those of the
// standard library, cost a mapping at each start of the program.
thread_local! {
    static WATCHER: Cell<Option<Watcher>> = const { Cell::new(None) };
}

/// Objects removed so far.
static REMOVED: AtomicUsize = AtomicUsize::new(0);

/// Has every removal of this process watched from now on; gives back who watched before.
pub fn watch(watcher: Option<Watcher>) -> Option<Watcher> {
    WATCHER.replace(watcher)
}

fn count() {
    let removed = REMOVED.fetch_add(1, Relaxed) as u64 + 1;
    if removed % WATCH_OBJECTS == 0 {
        let mut watcher = WATCHER.take();
        watcher.iter_mut().for_each(|tell| tell(removed));
        WATCHER.set(watcher);
    }
}

/// Removes `name` in `dir`, whatever it is, with everything below it. Something that does not
/// exist is no error. `dir` must not be `O_PATH`.
///
/// # Errors
/// EBUSY for a mount point and EXDEV for another file system inside the tree, which is then
/// partly removed (see [`mounts_below`]); else unlink's own, after immutable and append-only
/// flags were cleared where that is allowed. The operand is the path below `dir`.
pub fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let mut walk = Walk::default();
    walk.remove(dir, name, 0).map_err(|e| walk.error(e, name))
}

/// Removes everything in `dir` but the names in `keep`. Errors as [`remove`].
pub fn empty(dir: BorrowedFd<'_>, keep: &[&OsStr]) -> Result<()> {
    let mut walk = Walk::default();
    walk.empty(dir, keep, 0).map_err(|e| walk.error(e, OsStr::new("")))
}

/// Mount points below the directory `path` (itself included) in this mount namespace, from the
/// text of /proc/self/mountinfo: what must be unmounted before the tree can be removed. `path`
/// must be absolute and free of links.
pub fn mounts_below(mountinfo: &str, path: &OsStr) -> Vec<String> {
    let path = path.as_bytes();
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some(field) = line.split(' ').nth(4) else { continue };
        let point = unescape(field);
        let inside = point.strip_prefix(path).is_some_and(|r| r.is_empty() || r[0] == b'/');
        if inside {
            found.push(String::from_utf8_lossy(&point).into_owned());
        }
    }
    found
}

/// Undoes the `\ooo` escapes of mountinfo.
fn unescape(field: &str) -> Vec<u8> {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 4).filter(|_| bytes[at] == b'\\');
        let byte = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 4 } else { 1 };
    }
    out
}

/// What went wrong, before it gets its path.
struct Failure {
    call: &'static str,
    at: PathBuf,
    errno: Errno,
}

type Step<T> = std::result::Result<T, Failure>;

#[derive(Default)]
struct Walk {
    /// For unique names of directories that were moved to the top.
    moved: u64,
}

/// One open directory.
struct Level {
    dir: OwnedFd,
    name: OsString,
    place: Place,
    /// Directories in it that are still to be removed.
    left: Vec<OsString>,
    rounds: u32,
}

impl Walk {
    fn error(&self, failure: Failure, top: &OsStr) -> SysError {
        let at = PathBuf::from(top).join(failure.at);
        SysError::rustix(failure.call, format!("\"{}\"", at.display()), failure.errno)
    }

    /// Removes one name.
    fn remove(&mut self, dir: BorrowedFd<'_>, name: &OsStr, depth: u32) -> Step<()> {
        let fail = |call, errno| Failure { call, at: PathBuf::new(), errno };
        match unlink(dir, name) {
            Ok(()) => return Ok(()),
            Err(Errno::ISDIR) => {}
            Err(e) => return Err(fail("unlink", e)),
        }
        let child = match open_dir(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            result => result.map_err(|e| fail("open", e))?,
        };
        let above = place(dir).map_err(|e| fail("statx", e))?;
        let below = place(child.as_fd()).map_err(|e| fail("statx", e))?;
        match relation(above, below, child.as_fd()) {
            Relation::Same => {
                self.empty(child.as_fd(), &[], depth)?;
                rmdir(dir, name).map_err(|e| fail("rmdir", e))
            }
            Relation::Subvolume => self.subvolume(dir, name, &child, depth),
            Relation::Mount => Err(fail("rmdir", Errno::BUSY)),
            Relation::Foreign => Err(fail("rmdir", Errno::XDEV)),
        }
    }

    /// Removes what is in `top`.
    fn empty(&mut self, top: BorrowedFd<'_>, keep: &[&OsStr], depth: u32) -> Step<()> {
        let first = open_dir(top, OsStr::new(".")).map_err(|errno| Failure {
            call: "open",
            at: PathBuf::new(),
            errno,
        })?;
        let mut levels = vec![read_level(first, OsString::new(), keep)?];
        loop {
            let deepest = levels.len() - 1;
            let Some(name) = levels[deepest].left.pop() else {
                let Some(done) = levels.pop().filter(|_| deepest > 0) else { return Ok(()) };
                let parent = levels[deepest - 1].dir.as_fd();
                match rmdir(parent, &done.name) {
                    Ok(()) => count(),
                    Err(Errno::NOTEMPTY | Errno::EXIST) if done.rounds < MAX_ROUNDS => {
                        let again = read_level(done.dir, done.name, &[])?;
                        levels.push(Level { rounds: done.rounds + 1, ..again });
                    }
                    Err(errno) => {
                        let at = path_of(&levels, &done.name);
                        return Err(Failure { call: "rmdir", at, errno });
                    }
                }
                continue;
            };
            let fail = |call, errno| Failure { call, at: path_of(&levels, &name), errno };
            let dir = levels[deepest].dir.as_fd();
            let child = match open_dir(dir, &name) {
                Err(Errno::NOENT) => continue,
                result => result.map_err(|e| fail("open", e))?,
            };
            let here = place(child.as_fd()).map_err(|e| fail("statx", e))?;
            match relation(levels[deepest].place, here, child.as_fd()) {
                Relation::Same if levels.len() >= MAX_OPEN => {
                    let moved = self.move_up(&levels, &name).map_err(|e| fail("rename", e))?;
                    levels[0].left.push(moved);
                }
                Relation::Same => levels.push(read_level(child, name, &[])?),
                Relation::Subvolume => self
                    .subvolume(dir, &name, &child, depth)
                    .map_err(|f| Failure { at: path_of(&levels, &name).join(f.at), ..f })?,
                Relation::Mount => return Err(fail("rmdir", Errno::BUSY)),
                Relation::Foreign => return Err(fail("rmdir", Errno::XDEV)),
            }
        }
    }

    /// Moves a directory that is nested too deeply to the top of the tree.
    fn move_up(&mut self, levels: &[Level], name: &OsStr) -> rustix::io::Result<OsString> {
        let (Some(first), Some(last)) = (levels.first(), levels.last()) else {
            return Err(Errno::INVAL);
        };
        loop {
            self.moved += 1;
            let fresh = OsString::from(format!(".removing-{}-{}", std::process::id(), self.moved));
            match rustix::fs::renameat(&last.dir, name, &first.dir, &fresh) {
                Ok(()) => return Ok(fresh),
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(Errno::PERM) if unlock(last.dir.as_fd(), name) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Removes a btrfs subvolume: at once, or emptied first when it holds others.
    fn subvolume(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        child: &OwnedFd,
        depth: u32,
    ) -> Step<()> {
        let fail = |call, errno| Failure { call, at: PathBuf::new(), errno };
        let id = btrfs::id(child.as_fd());
        if btrfs::destroy(dir, name).is_ok() {
            btrfs::forget_quota(dir, id);
            return Ok(());
        }
        if depth >= MAX_SUBVOLUMES {
            return Err(fail("rmdir", Errno::NAMETOOLONG));
        }
        self.empty(child.as_fd(), &[], depth + 1)?;
        // Since 4.18 an empty subvolume can be removed like a directory, by anyone who may.
        rmdir(dir, name)
            .or_else(|_| btrfs::destroy(dir, name))
            .map_err(|e| fail("BTRFS_IOC_SNAP_DESTROY", e))?;
        btrfs::forget_quota(dir, id);
        Ok(())
    }
}

/// Reads a directory, removes what is no directory and remembers the rest.
fn read_level(dir: OwnedFd, name: OsString, keep: &[&OsStr]) -> Step<Level> {
    let fail = |call, errno| Failure { call, at: PathBuf::from(&name), errno };
    rustix::fs::seek(&dir, rustix::fs::SeekFrom::Start(0)).map_err(|e| fail("lseek", e))?;
    let mut left = Vec::new();
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|e| fail("getdents", e))?;
        let file = OsStr::from_bytes(entry.file_name().to_bytes());
        if file == "." || file == ".." || keep.contains(&file) {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            left.push(file.to_owned());
            continue;
        }
        match unlink(dir.as_fd(), file) {
            Ok(()) => count(),
            Err(Errno::ISDIR) => left.push(file.to_owned()),
            Err(errno) => {
                return Err(Failure { call: "unlink", at: PathBuf::from(&name).join(file), errno });
            }
        }
    }
    let place = place(dir.as_fd()).map_err(|e| fail("statx", e))?;
    Ok(Level { dir, name, place, left, rounds: 0 })
}

/// The path below the top, for an error.
fn path_of(levels: &[Level], name: &OsStr) -> PathBuf {
    let mut path: PathBuf = levels.iter().map(|level| level.name.as_os_str()).collect();
    path.push(name);
    path
}

/// Where a directory is.
#[derive(Clone, Copy)]
struct Place {
    mount: u64,
    dev: u64,
}

/// Where a directory is, seen from the one that holds it.
enum Relation {
    /// The same file system.
    Same,
    /// A btrfs subvolume in the same file system.
    Subvolume,
    /// Something is mounted on it.
    Mount,
    /// Another file system, though not another mount.
    Foreign,
}

fn place(dir: BorrowedFd<'_>) -> rustix::io::Result<Place> {
    let errno = |e: SysError| Errno::from_raw_os_error(e.errno);
    let facts = path::facts(dir).map_err(errno)?;
    let mount = mount::mount_id(dir).map_err(errno)?;
    Ok(Place { mount, dev: facts.dev })
}

fn relation(above: Place, below: Place, child: BorrowedFd<'_>) -> Relation {
    if above.mount != below.mount {
        return Relation::Mount;
    }
    if above.dev == below.dev {
        return Relation::Same;
    }
    if btrfs::is_subvolume(child) { Relation::Subvolume } else { Relation::Foreign }
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Unlinks what is no directory; ISDIR for one.
fn unlink(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // POSIX answers EPERM for a directory, and so do some file systems.
        Err(Errno::PERM) if is_dir(dir, name) => Err(Errno::ISDIR),
        Err(Errno::PERM) if unlock(dir, name) => rustix::fs::unlinkat(dir, name, AtFlags::empty()),
        result => result,
    }
}

fn rmdir(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::PERM) if unlock(dir, name) => {
            rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
        }
        result => result,
    }
}

fn is_dir(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Clears the immutable and append-only flags of a directory and of the file or directory `name`
/// in it. True if something was cleared.
fn unlock(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    let above = clear_flags(dir);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(child) = rustix::fs::openat(dir, name, flags, Mode::empty()) else { return above };
    // Only these two have flags; opening anything else could do something.
    let known = path::facts(child.as_fd()).is_ok_and(|facts| facts.is_dir() || facts.is_file());
    let opened = if known {
        path::reopen(child.as_fd(), OFlags::RDONLY | OFlags::NONBLOCK).ok()
    } else {
        None
    };
    opened.is_some_and(|child| clear_flags(child.as_fd())) | above
}

fn clear_flags(fd: BorrowedFd<'_>) -> bool {
    let stuck = IFlags::IMMUTABLE | IFlags::APPEND;
    match rustix::fs::ioctl_getflags(fd) {
        Ok(flags) if flags.intersects(stuck) => {
            rustix::fs::ioctl_setflags(fd, flags - stuck).is_ok()
        }
        _ => false,
    }
}

/// Opens a directory of the host for [`remove`] and [`empty`].
pub fn open(path: &std::path::Path) -> Result<OwnedFd> {
    fd::open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// The absolute path of a directory without links, for [`mounts_below`].
pub fn real_path(path: &std::path::Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).at("realpath", || format!("\"{}\"", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    #[test]
    fn links_are_removed_not_followed() {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outer.path().join("precious/sub")).unwrap();
        std::fs::write(outer.path().join("precious/file"), "x").unwrap();
        let tree = outer.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        symlink("../precious", tree.join("link")).unwrap();
        symlink("../../precious", tree.join("a/link")).unwrap();
        symlink("/", tree.join("a/b/root")).unwrap();
        std::fs::write(tree.join("a/b/c/f"), "x").unwrap();
        let dir = open(outer.path()).unwrap();
        remove(dir.as_fd(), OsStr::new("tree")).unwrap();
        assert!(!tree.exists());
        assert!(outer.path().join("precious/file").exists());
        remove(dir.as_fd(), OsStr::new("tree")).unwrap();
        symlink("precious", outer.path().join("l")).unwrap();
        remove(dir.as_fd(), OsStr::new("l")).unwrap();
        assert!(outer.path().join("precious/sub").exists());
    }

    #[test]
    fn deep_trees_need_few_descriptors() {
        let outer = tempfile::tempdir().unwrap();
        let mut at = open(outer.path()).unwrap();
        for depth in 0..3000 {
            let name = if depth == 0 { "tree" } else { "d" };
            rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755)).unwrap();
            at = open_dir(at.as_fd(), OsStr::new(name)).unwrap();
            if depth % 100 == 0 {
                rustix::fs::symlinkat("x", &at, "l").unwrap();
            }
        }
        let dir = open(outer.path()).unwrap();
        remove(dir.as_fd(), OsStr::new("tree")).unwrap();
        assert!(!outer.path().join("tree").exists());
    }

    #[test]
    fn kept_names_stay() {
        let outer = tempfile::tempdir().unwrap();
        for name in ["snaps/s0", "rootfs/etc", "snaps2"] {
            std::fs::create_dir_all(outer.path().join(name)).unwrap();
        }
        std::fs::write(outer.path().join("config"), "x").unwrap();
        let dir = open(outer.path()).unwrap();
        empty(dir.as_fd(), &[OsStr::new("snaps")]).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(outer.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["snaps"]);
        assert!(outer.path().join("snaps/s0").exists());
    }

    #[test]
    fn mounts_below_a_path() {
        let table = "1 0 0:1 / / rw - x x rw\n2 1 0:1 / /c/rootfs rw - x x rw\n\
            3 2 0:1 / /c/rootfs/a\\040b rw - x x rw\n4 1 0:1 / /c/rootfs2 rw - x x rw\nbad\n";
        assert_eq!(mounts_below(table, OsStr::new("/c/rootfs")), ["/c/rootfs", "/c/rootfs/a b"]);
        assert!(mounts_below(table, Path::new("/c/root").as_os_str()).is_empty());
    }
}
