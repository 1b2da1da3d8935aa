//! Copying directory trees whose content belongs to an attacker.
//!
//! Every object is opened once, `O_PATH` and not through a link, looked at, and then read through
//! that descriptor; the copy is made by the descriptor of its directory and one name. Nothing but
//! a regular file or a directory is ever opened for reading. Hard links, holes, extended
//! attributes (and with them ACLs), owners, modes and times are kept; blocks are shared where the
//! file system can (`content.rs`, `attributes.rs`). The walk keeps a bounded number of directories
//! open. Start reading at [`tree`].

mod attributes;
mod content;

use super::error::{Result, SysError};
use super::{fd, mount, path};
use crate::util::quote::quoted;
use attributes::attributes;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, SeekFrom, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Levels whose directories stay open; those above are opened again on the way back.
const MAX_OPEN: usize = 64;
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
    /// What was left out by [`Rules::special`], likewise.
    pub skipped: Vec<PathBuf>,
}

/// How the copy of one object differs from its source, see [`entry`].
pub struct Rules<'a> {
    /// Owner and group of a copy; EOVERFLOW where there are none.
    pub owner: &'a dyn Fn(u32, u32) -> Option<(u32, u32)>,
    /// The bits of a mode that are kept.
    pub modes: u32,
    /// The mode of files, instead of their own.
    pub mode: Option<u32>,
    /// Device nodes, pipes and sockets are made, and all attributes kept; else only those of the
    /// user.
    pub special: bool,
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
        kept: false,
        left: names(from).map_err(|e| top("getdents", e))?,
        from: open_dir(from, OsStr::new(".")).map_err(|e| top("open", e))?.into(),
        to: open_dir(to, OsStr::new(".")).map_err(|e| top("open", e))?.into(),
    };
    let result = copy.walk(first);
    copy.end(result)
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

/// Copies the object `from` (`O_PATH`), with all that is below it, to `name` in the directory `to`.
/// Directories that are there already are filled; everything else is replaced at once, when its
/// copy is complete.
///
/// # Errors
/// As [`tree`]. A copy that is not complete is removed.
pub fn entry(
    from: OwnedFd,
    to: &OwnedFd,
    name: &OsStr,
    rules: &Rules<'_>,
    tick: Tick<'_>,
) -> Result<Copied> {
    path::self_fd_dir()?;
    let stat = rustix::fs::fstat(&from).map_err(|e| SysError::rustix("fstat", "", e))?;
    let mut copy = Copy::new(mount::mount_id(from.as_fd())?, to.as_fd(), tick);
    copy.rules = Some(rules);
    let failed = |(call, errno)| Failure { call, at: PathBuf::new(), errno };
    let result = match copy.copy(from, stat, to, name).map_err(failed) {
        Ok(Some(level)) => copy.walk(level),
        done => done.map(drop),
    };
    copy.end(result)
}

/// Writes what `next` gives, until it gives nothing, to the file `name` in the directory `to`,
/// which has its name when it is complete.
///
/// # Errors
/// Those of `next`, and of writing.
pub fn stream(
    next: &mut dyn FnMut() -> Result<Vec<u8>>,
    to: &OwnedFd,
    name: &OsStr,
    owner: (u32, u32),
    mode: u32,
) -> Result<()> {
    let at = |call| move |e| SysError::rustix(call, quoted(name), e);
    let fresh = temporary().map_err(|(call, e)| at(call)(e))?;
    let file = create(to, &fresh).map_err(|(call, e)| at(call)(e))?;
    let mut write = || -> Result<()> {
        loop {
            match next()? {
                bytes if bytes.is_empty() => break,
                bytes => fd::write_all(file.as_fd(), &bytes)?,
            }
        }
        path::set_owner(file.as_fd(), owner.0, owner.1)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(at("fchmod"))?;
        rustix::fs::renameat(to, &fresh, to, name).map_err(at("rename"))
    };
    let done = write();
    if done.is_err() {
        let _ = rustix::fs::unlinkat(to, &fresh, AtFlags::empty());
    }
    done
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
    /// It was there before: its attributes stay.
    kept: bool,
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
    /// Of [`entry`].
    rules: Option<&'a Rules<'a>>,
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
            rules: None,
        }
    }

    /// What is told of the whole.
    fn end(mut self, result: std::result::Result<(), Failure>) -> Result<Copied> {
        self.remove_seeds();
        match (result, self.stopped) {
            (_, Some(stopped)) => Err(stopped),
            (Err(Failure { call, at, errno }), None) => {
                Err(SysError::rustix(call, format!("\"{}\"", at.display()), errno))
            }
            (Ok(()), None) => Ok(self.done),
        }
    }

    fn walk(&mut self, first: Level) -> std::result::Result<(), Failure> {
        let mut levels = vec![first];
        loop {
            let depth = levels.len();
            let Some(level) = levels.last_mut() else { return Ok(()) };
            let next = level.left.pop();
            let (Some(from), Some(to)) = (&level.from, &level.to) else { return Ok(()) };
            let told = (self.done.mounts.len(), self.done.skipped.len());
            if next.is_none() && depth == 1 {
                // Last the directory itself: what is made or removed in it changes its times.
                self.remove_seeds();
            }
            let step = match &next {
                Some(name) => self.object(from, to, name),
                None if level.kept => Ok(None),
                None => {
                    attributes(&level.stat, from.as_fd(), to.as_fd(), self.rules).map(|()| None)
                }
            };
            let above = || levels.iter().map(|level| &level.name).collect::<PathBuf>();
            for path in self.done.mounts.iter_mut().skip(told.0) {
                *path = above().join(&path);
            }
            for path in self.done.skipped.iter_mut().skip(told.1) {
                *path = above().join(&path);
            }
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
        self.copy(object, stat, to, name)
    }

    fn copy(
        &mut self,
        object: OwnedFd,
        stat: Stat,
        to: &OwnedFd,
        name: &OsStr,
    ) -> Call<Option<Level>> {
        self.done.objects += 1;
        if self.done.objects % TICK_OBJECTS == 0 {
            self.look()?;
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return self.directory(&object, to, name, stat);
        }
        let plain = matches!(kind, FileType::RegularFile | FileType::Symlink);
        if !plain && self.rules.is_some_and(|rules| !rules.special) {
            self.done.skipped.push(name.into());
            return Ok(None);
        }
        let Some(_) = self.rules else {
            return self.make(&object, &stat, kind, to, name).map(|()| None);
        };
        // Complete before it gets its name, and then in the place of what had it.
        let fresh = temporary()?;
        let made = self
            .make(&object, &stat, kind, to, &fresh)
            .and_then(|()| call("rename", rustix::fs::renameat(to, &fresh, to, name)));
        // Also left when both names were links of one file.
        let _ = rustix::fs::unlinkat(to, &fresh, AtFlags::empty());
        made.map(|()| None)
    }

    /// Makes the copy of what is no directory.
    fn make(
        &mut self,
        object: &OwnedFd,
        stat: &Stat,
        kind: FileType,
        to: &OwnedFd,
        name: &OsStr,
    ) -> Call<()> {
        let several = stat.st_nlink > 1;
        if several {
            if let Some((seeds, _)) = &self.seeds {
                let seed = seed_name(stat);
                match rustix::fs::linkat(seeds, seed, to, name, AtFlags::empty()) {
                    // It is the first name, or another file system is mounted below the target.
                    Err(Errno::NOENT | Errno::XDEV) => {}
                    done => return call("link", done),
                }
            }
        }
        let made = match kind {
            FileType::RegularFile => {
                let source = again(object, OFlags::RDONLY | OFlags::NONBLOCK)?;
                let made = create(to, name)?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                self.data(source.as_fd(), made.as_fd(), size)?;
                made
            }
            _ => {
                if kind == FileType::Symlink {
                    let text = call("readlink", rustix::fs::readlinkat(object, "", Vec::new()))?;
                    call("symlink", rustix::fs::symlinkat(text, to, name))?;
                } else {
                    let mode = Mode::from_raw_mode(0o600);
                    call("mknod", rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev))?;
                }
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                call("open", rustix::fs::openat(to, name, flags, Mode::empty()))?
            }
        };
        attributes(stat, object.as_fd(), made.as_fd(), self.rules)?;
        if several { self.seed(to, name, stat) } else { Ok(()) }
    }

    fn directory(
        &mut self,
        object: &OwnedFd,
        to: &OwnedFd,
        name: &OsStr,
        stat: Stat,
    ) -> Call<Option<Level>> {
        let kept = match rustix::fs::mkdirat(to, name, 0o700.into()) {
            Err(Errno::EXIST) if self.rules.is_some() => true,
            // A new file system may have it already.
            Err(Errno::EXIST) if name == "lost+found" => false,
            made => call("mkdir", made).map(|()| false)?,
        };
        let made = call("open", open_dir(to.as_fd(), name))?;
        let source = again(object, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mount = mount::mount_id(source.as_fd());
        if mount.map_err(|e| ("statx", Errno::from_raw_os_error(e.errno)))? != self.mount {
            self.done.mounts.push(name.into());
            if !kept {
                attributes(&stat, source.as_fd(), made.as_fd(), self.rules)?;
            }
            return Ok(None);
        }
        Ok(Some(Level {
            name: name.to_owned(),
            stat,
            made: call("fstat", identity(made.as_fd()))?,
            kept,
            left: call("getdents", names(source.as_fd()))?,
            from: Some(source),
            to: Some(made),
        }))
    }

    /// Keeps a name of an object of which more names are to come.
    fn seed(&mut self, made_in: &OwnedFd, name: &OsStr, stat: &Stat) -> Call<()> {
        if self.seeds.is_none() {
            let fresh = temporary()?;
            call("mkdir", rustix::fs::mkdirat(self.to, &fresh, 0o700.into()))?;
            let seeds = call("open", open_dir(self.to, OsStr::new(&fresh)))?;
            self.seeds = Some((seeds, fresh));
        }
        if let Some((seeds, _)) = &self.seeds {
            let none = AtFlags::empty();
            match rustix::fs::linkat(made_in, name, seeds, seed_name(stat), none) {
                // Below the target is another file system, where links do not reach; or a name of
                // it, made there, is kept already.
                Err(Errno::XDEV | Errno::EXIST) if self.rules.is_some() => {}
                done => call("link", done)?,
            }
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

    fn remove_seeds(&mut self) {
        let Some((_, name)) = self.seeds.take() else { return };
        if let Err(e) = super::tree::remove(self.to, &name) {
            log::warn!("removing {} from the copy: {e}", quoted(&name));
        }
    }
}

/// A name that nothing has yet.
fn temporary() -> Call<OsString> {
    let random = super::random::bytes::<8>();
    let random = random.map_err(|e| ("getrandom", Errno::from_raw_os_error(e.errno)))?;
    Ok(format!(".lxc-copy-{:016x}", u64::from_ne_bytes(random)).into())
}

fn create(to: &OwnedFd, name: &OsStr) -> Call<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    call("create", rustix::fs::openat(to, name, flags, 0o600.into()))
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
mod tests;
