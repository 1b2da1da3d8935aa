//! Copying directory trees whose content belongs to an attacker.
//!
//! Every object is opened once, `O_PATH` and not through a link, looked at, and then read through
//! that descriptor; the copy is made by the descriptor of its directory and one name. Nothing but
//! a regular file or a directory is ever opened for reading. Hard links, holes, extended
//! attributes (and with them ACLs), owners, modes and times are kept; blocks are shared where the
//! file system can. The walk keeps a bounded number of directories open. Start reading at
//! [`tree`].

use super::error::{Result, SysError};
use super::{fd, mount, path};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Levels whose directories stay open; those above are opened again on the way back.
const MAX_OPEN: usize = 64;
/// Bytes between two looks at the caller's `tick`.
const CHUNK: u64 = 16 << 20;
/// Objects between two looks at the caller's `tick`.
const TICK_OBJECTS: u64 = 64;

/// What was copied so far.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// Files, directories and all other objects.
    pub objects: u64,
    /// Content, holes not counted.
    pub bytes: u64,
    /// Mount points that were met, as paths below the source: only the directory was made.
    pub mounts: Vec<PathBuf>,
}

/// Called now and then; an error ends the copy and is what it returns.
pub type Tick<'a> = &'a mut dyn FnMut(&Copied) -> Result<()>;

/// Copies the content of the directory `from`, and its own attributes, into the empty directory
/// `to`. Both must be open for reading. Other file systems below `from` are not entered.
///
/// # Errors
/// The first call that fails, with the path below `from`; what was made until then stays.
pub fn tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, tick: Tick<'_>) -> Result<Copied> {
    // What the attributes go through must be the kernel's.
    path::self_fd_dir()?;
    let top = |call, e| SysError::rustix(call, "\".\"", e);
    let mut copy = Copy::new(mount::mount_id(from)?, to, tick);
    let first = Level {
        name: OsString::new(),
        stat: rustix::fs::fstat(from).map_err(|e| top("fstat", e))?,
        made: identity(to).map_err(|e| top("fstat", e))?,
        left: names(from).map_err(|e| top("getdents", e))?,
        from: open_dir(from, OsStr::new(".")).map_err(|e| top("open", e))?.into(),
        to: open_dir(to, OsStr::new(".")).map_err(|e| top("open", e))?.into(),
    };
    let result = copy.walk(first);
    copy.remove_seeds();
    match (result, copy.stopped) {
        (_, Some(stopped)) => Err(stopped),
        (Err(Failure { call, at, errno }), None) => {
            Err(SysError::rustix(call, format!("\"{}\"", at.display()), errno))
        }
        (Ok(()), None) => Ok(copy.done),
    }
}

/// Copies the content of one open file into another, empty one; holes stay holes.
pub fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, tick: Tick<'_>) -> Result<()> {
    let mut copy = Copy::new(0, to, tick);
    let size = rustix::fs::fstat(from).map_err(|e| SysError::rustix("fstat", "", e))?.st_size;
    let result = copy.data(from, to, u64::try_from(size).unwrap_or(0));
    match (result, copy.stopped) {
        (_, Some(stopped)) => Err(stopped),
        (Err((call, errno)), None) => Err(SysError::rustix(call, "", errno)),
        (Ok(()), None) => Ok(()),
    }
}

/// What went wrong and where.
struct Failure {
    call: &'static str,
    at: PathBuf,
    errno: Errno,
}

type Call<T> = std::result::Result<T, (&'static str, Errno)>;

/// Names a failed call.
fn call<T>(name: &'static str, result: rustix::io::Result<T>) -> Call<T> {
    result.map_err(|errno| (name, errno))
}

/// One directory on the way down.
struct Level {
    name: OsString,
    stat: Stat,
    /// Device and inode of the copy.
    made: (u64, u64),
    /// Names that are still to be copied.
    left: Vec<OsString>,
    /// `None` while it is far above.
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
}

struct Copy<'a> {
    mount: u64,
    /// A directory in `to`, until the end, with one name for each object that has several: its
    /// device and inode.
    seeds: Option<(OwnedFd, OsString)>,
    to: BorrowedFd<'a>,
    can_clone: bool,
    can_range: bool,
    done: Copied,
    tick: Tick<'a>,
    /// What `tick` said.
    stopped: Option<SysError>,
}

impl<'a> Copy<'a> {
    /// Of what lies on the mount of that number.
    fn new(mount: u64, to: BorrowedFd<'a>, tick: Tick<'a>) -> Self {
        Self {
            mount,
            seeds: None,
            to,
            can_clone: true,
            can_range: true,
            done: Copied::default(),
            tick,
            stopped: None,
        }
    }

    fn walk(&mut self, first: Level) -> std::result::Result<(), Failure> {
        let mut levels = vec![first];
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { return Ok(()) };
            let next = level.left.pop();
            let (Some(from), Some(to)) = (&level.from, &level.to) else { return Ok(()) };
            let step = match &next {
                Some(name) => self.object(from, to, name),
                // Last the directory itself: what is made or removed in it changes its times.
                None if depth == 1 => {
                    self.remove_seeds();
                    attributes(&level.stat, from.as_fd(), to.as_fd()).map(|()| None)
                }
                None => attributes(&level.stat, from.as_fd(), to.as_fd()).map(|()| None),
            };
            let failed = |(call, errno)| Failure {
                call,
                at: levels.iter().map(|l| &l.name).chain(next.as_ref()).collect(),
                errno,
            };
            match (step.map_err(failed)?, next.is_some()) {
                (Some(below), _) => {
                    levels.push(below);
                    if let Some(far) = levels.len().checked_sub(MAX_OPEN + 1) {
                        levels[far].from = None;
                        levels[far].to = None;
                    }
                }
                (None, true) => {}
                (None, false) => {
                    let Some(done) = levels.pop() else { return Ok(()) };
                    if let Some(above) = levels.last_mut().filter(|above| above.from.is_none()) {
                        reopen(above, &done).map_err(|(call, errno)| Failure {
                            call,
                            at: PathBuf::from(&done.name),
                            errno,
                        })?;
                    }
                }
            }
        }
    }

    /// Copies one object; a directory comes back to be entered.
    fn object(&mut self, from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Call<Option<Level>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let object = match rustix::fs::openat(from, name, flags, Mode::empty()) {
            // It went away meanwhile: the source may be a running container.
            Err(Errno::NOENT) => return Ok(None),
            result => call("open", result)?,
        };
        let stat = call("fstat", rustix::fs::fstat(&object))?;
        self.done.objects += 1;
        if self.done.objects % TICK_OBJECTS == 0 {
            self.look()?;
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.directory(&object, to, name, stat);
        }
        let several = stat.st_nlink > 1;
        if several {
            if let Some((seeds, _)) = &self.seeds {
                let seed = seed_name(&stat);
                match rustix::fs::linkat(seeds, seed, to, name, AtFlags::empty()) {
                    Err(Errno::NOENT) => {}
                    done => return call("link", done).map(|()| None),
                }
            }
        }
        match kind {
            FileType::RegularFile => {
                let source = again(&object, OFlags::RDONLY | OFlags::NONBLOCK)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let made = rustix::fs::openat(to, name, flags | OFlags::CLOEXEC, 0o600.into());
                let made = call("create", made)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.data(source.as_fd(), made.as_fd(), size)?;
            }
            FileType::Symlink => {
                let text = call("readlink", rustix::fs::readlinkat(&object, "", Vec::new()))?;
                call("symlink", rustix::fs::symlinkat(text, to, name))?;
            }
            _ => {
                let mode = Mode::from_raw_mode(0o600);
                call("mknod", rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev))?;
            }
        }
        let made = call("open", rustix::fs::openat(to, name, flags, Mode::empty()))?;
        attributes(&stat, object.as_fd(), made.as_fd())?;
        if several {
            self.seed(to, name, &stat)?;
        }
        Ok(None)
    }

    fn directory(
        &mut self,
        object: &OwnedFd,
        to: &OwnedFd,
        name: &OsStr,
        stat: Stat,
    ) -> Call<Option<Level>> {
        call("mkdir", rustix::fs::mkdirat(to, name, 0o700.into()))?;
        let made = call("open", open_dir(to.as_fd(), name))?;
        let source = again(object, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mount = mount::mount_id(source.as_fd());
        if mount.map_err(|e| ("statx", Errno::from_raw_os_error(e.errno)))? != self.mount {
            self.done.mounts.push(name.into());
            attributes(&stat, source.as_fd(), made.as_fd())?;
            return Ok(None);
        }
        Ok(Some(Level {
            name: name.to_owned(),
            stat,
            made: call("fstat", identity(made.as_fd()))?,
            left: call("getdents", names(source.as_fd()))?,
            from: Some(source),
            to: Some(made),
        }))
    }

    /// Keeps a name of an object of which more names are to come.
    fn seed(&mut self, made_in: &OwnedFd, name: &OsStr, stat: &Stat) -> Call<()> {
        if self.seeds.is_none() {
            let random = super::random::bytes::<8>()
                .map_err(|e| ("getrandom", Errno::from_raw_os_error(e.errno)))?;
            let fresh = format!(".lxc-copy-{:016x}", u64::from_ne_bytes(random));
            call("mkdir", rustix::fs::mkdirat(self.to, &fresh, 0o700.into()))?;
            let seeds = call("open", open_dir(self.to, OsStr::new(&fresh)))?;
            self.seeds = Some((seeds, fresh.into()));
        }
        if let Some((seeds, _)) = &self.seeds {
            let none = AtFlags::empty();
            call("link", rustix::fs::linkat(made_in, name, seeds, seed_name(stat), none))?;
        }
        Ok(())
    }

    fn look(&mut self) -> Call<()> {
        (self.tick)(&self.done).map_err(|e| {
            let errno = Errno::from_raw_os_error(e.errno);
            self.stopped = Some(e);
            ("copy", errno)
        })
    }

    /// The content of a file: shared blocks, else each range of data.
    fn data(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Call<()> {
        if self.can_clone && size > 0 {
            match rustix::fs::ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                // EINVAL may be about this file alone (no checksums on one side of btrfs).
                Err(Errno::INVAL) => {}
                Err(_) => self.can_clone = false,
            }
        }
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(Errno::NXIO) => break,
                // A file system without holes.
                Err(_) => at,
            };
            let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
            at = end.max(start + 1);
            if self.range(from, to, start, end)? == Progress::End {
                break;
            }
        }
        call("ftruncate", rustix::fs::ftruncate(to, size))
    }

    fn range(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: u64,
    ) -> Call<Progress> {
        let (mut read, mut written) = (start, start);
        let mut buffer = Vec::new();
        let mut looked = 0;
        while read < end {
            let want = usize::try_from((end - read).min(CHUNK)).unwrap_or(1 << 20);
            let before = read;
            if self.can_range {
                let (r, w) = (Some(&mut read), Some(&mut written));
                match rustix::fs::copy_file_range(from, r, to, w, want) {
                    Ok(0) => return Ok(Progress::End),
                    Ok(_) => {}
                    // FALLBACK(<5.3): between two file systems, and what cannot do it at all.
                    Err(_) => self.can_range = false,
                }
            }
            if !self.can_range {
                buffer.resize(want.min(256 << 10), 0);
                let n = call("read", rustix::io::pread(from, buffer.as_mut_slice(), read))?;
                if n == 0 {
                    return Ok(Progress::End);
                }
                let mut rest = &buffer[..n];
                while !rest.is_empty() {
                    let n = call("write", rustix::io::pwrite(to, rest, written))?;
                    rest = &rest[n..];
                    written += n as u64;
                }
                read = written;
            }
            self.done.bytes += read - before;
            looked += read - before;
            if looked >= CHUNK {
                looked = 0;
                self.look()?;
            }
        }
        Ok(Progress::More)
    }

    fn remove_seeds(&mut self) {
        let Some((_, name)) = self.seeds.take() else { return };
        if let Err(e) = super::tree::remove(self.to, &name) {
            log::warn!("removing {name:?} from the copy: {e}");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    /// The file is shorter than it was.
    End,
}

/// Owner, extended attributes, mode, times, in the order in which none undoes another.
fn attributes(stat: &Stat, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Call<()> {
    let (uid, gid) =
        (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    let empty = AtFlags::EMPTY_PATH;
    call("chown", rustix::fs::chownat(to, "", Some(uid), Some(gid), empty))?;
    // By /proc, which was checked to be one: the only way for `O_PATH` descriptors.
    let (source, made) = (by_number(from), by_number(to));
    xattrs(&source, &made)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        call("chmod", rustix::fs::chmod(made.as_str(), mode))?;
    }
    #[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between targets")]
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    let none = AtFlags::empty();
    call("utimensat", rustix::fs::utimensat(rustix::fs::CWD, made.as_str(), &times, none))
}

fn xattrs(from: &str, to: &str) -> Call<()> {
    // Not empty: the length that is asked for with no room does not come back through the wrapper.
    let mut room: Vec<u8> = vec![0; 4096];
    let list = loop {
        match rustix::fs::listxattr(from, room.as_mut_slice()) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            Ok(n) if n <= room.len() => break room[..n].to_vec(),
            Ok(n) => room.resize(n + 256, 0),
            Err(Errno::RANGE) => room.resize(room.len() + 4096, 0),
            Err(e) => return Err(("listxattr", e)),
        }
    };
    for name in list.split_inclusive(|&b| b == 0) {
        let Ok(name) = CString::from_vec_with_nul(name.to_vec()) else { continue };
        let mut value = vec![0u8; 64 << 10];
        let n = match rustix::fs::getxattr(from, name.as_c_str(), value.as_mut_slice()) {
            // Removed meanwhile, or one that only privilege may read.
            Err(Errno::NODATA | Errno::PERM) => continue,
            result => call("getxattr", result)?,
        };
        match rustix::fs::setxattr(to, name.as_c_str(), &value[..n], XattrFlags::empty()) {
            Ok(()) => {}
            // One of the source's file system alone, such as btrfs.compression.
            Err(Errno::OPNOTSUPP | Errno::INVAL) if !is_common(name.to_bytes()) => {}
            Err(e) => return Err(("setxattr", e)),
        }
    }
    Ok(())
}

/// Attributes that every file system is expected to keep.
fn is_common(name: &[u8]) -> bool {
    let common: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl"];
    common.iter().any(|prefix| name.starts_with(prefix))
}

/// Opens the directories of `above` again, from one below, and checks that they are the same: the
/// tree may have been moved meanwhile.
fn reopen(above: &mut Level, below: &Level) -> Call<()> {
    let (Some(from), Some(to)) = (&below.from, &below.to) else {
        return Err(("open", Errno::BADF));
    };
    let up = OsStr::new("..");
    let (from, to) =
        (call("open", open_dir(from.as_fd(), up))?, call("open", open_dir(to.as_fd(), up))?);
    let same = call("fstat", identity(from.as_fd()))? == id_of(&above.stat)
        && call("fstat", identity(to.as_fd()))? == above.made;
    if !same {
        return Err(("open", Errno::STALE));
    }
    (above.from, above.to) = (Some(from), Some(to));
    Ok(())
}

/// Opens what an `O_PATH` descriptor is with real access.
fn again(object: &OwnedFd, flags: OFlags) -> Call<OwnedFd> {
    let flags = flags | OFlags::NOCTTY | OFlags::CLOEXEC;
    call("open", rustix::fs::open(by_number(object.as_fd()).as_str(), flags, Mode::empty()))
}

fn by_number(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn open_dir(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

fn identity(fd: BorrowedFd<'_>) -> rustix::io::Result<(u64, u64)> {
    rustix::fs::fstat(fd).map(|stat| id_of(&stat))
}

/// What an object with several names is called among the seeds.
fn seed_name(stat: &Stat) -> String {
    let (device, inode) = id_of(stat);
    format!("{device}-{inode}")
}

#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between targets")]
fn id_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn names(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    rustix::fs::seek(dir, SeekFrom::Start(0))?;
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(16 << 10);
    let mut entries = RawDir::new(dir, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// Opens a directory of the host for [`tree`].
pub fn open(path: &std::path::Path) -> Result<OwnedFd> {
    fd::open(path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<Copied> {
        tree(open(from)?.as_fd(), open(to)?.as_fd(), &mut |_| Ok(()))
    }

    #[test]
    fn links_holes_modes_and_times_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("a"), temp.path().join("b"));
        std::fs::create_dir_all(from.join("sub/deep")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("file"), "text").unwrap();
        std::fs::hard_link(from.join("file"), from.join("sub/same")).unwrap();
        std::fs::hard_link(from.join("file"), from.join("sub/deep/same")).unwrap();
        symlink("/etc/passwd", from.join("link")).unwrap();
        std::fs::set_permissions(from.join("file"), PermissionsExt::from_mode(0o4751)).unwrap();
        let sparse = std::fs::File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"x", 8 << 20).unwrap();
        sparse.set_len(64 << 20).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        sparse.set_modified(old).unwrap();
        let done = copy(&from, &to).unwrap();
        assert_eq!(done.objects, 7);
        let meta = |name: &str| std::fs::symlink_metadata(to.join(name)).unwrap();
        assert_eq!(meta("file").mode() & 0o7777, 0o4751);
        assert_eq!(meta("file").ino(), meta("sub/same").ino());
        assert_eq!(meta("file").nlink(), 3);
        assert_eq!(meta("sparse").len(), 64 << 20);
        assert!(meta("sparse").blocks() < 1 << 12, "{}", meta("sparse").blocks());
        assert_eq!(meta("sparse").modified().unwrap(), old);
        assert_eq!(std::fs::read_link(to.join("link")).unwrap(), PathBuf::from("/etc/passwd"));
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 4);
    }

    #[test]
    fn attributes_and_nodes_are_kept() {
        // Not in memory: a tmpfs may lack some.
        let temp = tempfile::tempdir_in("/var/tmp").unwrap();
        let (from, to) = (temp.path().join("a"), temp.path().join("b"));
        std::fs::create_dir_all(from.join("dir")).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("file"), "text").unwrap();
        // Version 2; owner rw, user 7 r, group r, mask r, others none.
        let acl: Vec<u8> = [(1u16, 6u16, u32::MAX), (2, 4, 7), (4, 4, u32::MAX), (16, 4, u32::MAX)]
            .iter()
            .chain([&(32, 0, u32::MAX)])
            .fold(2u32.to_le_bytes().to_vec(), |mut all, (tag, perm, id)| {
                all.extend(tag.to_le_bytes());
                all.extend(perm.to_le_bytes());
                all.extend(id.to_le_bytes());
                all
            });
        let mut given = vec![("user.colour", b"green".to_vec())];
        given.push(("system.posix_acl_access", acl));
        if super::super::cred::euid() == 0 {
            given.push(("trusted.overlay.opaque", b"y".to_vec()));
            let kind = FileType::CharacterDevice;
            let rdev = rustix::fs::makedev(1, 3);
            rustix::fs::mknodat(rustix::fs::CWD, from.join("null"), kind, 0o620.into(), rdev)
                .unwrap();
        }
        for (name, value) in &given {
            for file in ["file", "dir"] {
                rustix::fs::setxattr(from.join(file), *name, value, XattrFlags::empty()).unwrap();
            }
        }
        copy(&from, &to).unwrap();
        for (name, value) in &given {
            for file in ["file", "dir"] {
                let mut got = vec![0; 256];
                let n = rustix::fs::getxattr(to.join(file), *name, got.as_mut_slice()).unwrap();
                assert_eq!(&got[..n], value, "{name} of {file}");
            }
        }
        if super::super::cred::euid() == 0 {
            let nodes = [&from, &to].map(|dir| std::fs::metadata(dir.join("null")).unwrap());
            let facts = nodes.map(|node| (node.rdev(), node.mode()));
            assert_eq!(facts[0], facts[1]);
        }
    }

    #[test]
    fn deep_trees_need_few_descriptors() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::create_dir(temp.path().join(name)).unwrap();
        }
        let mut at = open(&temp.path().join("a")).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&at, "d", 0o755.into()).unwrap();
            at = open_dir(at.as_fd(), OsStr::new("d")).unwrap();
        }
        let done = copy(&temp.path().join("a"), &temp.path().join("b")).unwrap();
        assert_eq!(done.objects, 2000);
        let top = open(temp.path()).unwrap();
        for name in ["a", "b"] {
            super::super::tree::remove(top.as_fd(), OsStr::new(name)).unwrap();
        }
    }

    #[test]
    fn an_interruption_ends_it() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("a"), temp.path().join("b"));
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        for n in 0..200 {
            std::fs::write(from.join(n.to_string()), "").unwrap();
        }
        let stop = SysError::new("copy", "stop", libc::EINTR);
        let told = stop.clone();
        let mut tick = |_: &Copied| Err(told.clone());
        let (from, to) = (open(&from).unwrap(), open(&to).unwrap());
        assert_eq!(tree(from.as_fd(), to.as_fd(), &mut tick).unwrap_err(), stop);
    }
}
