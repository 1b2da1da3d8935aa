//! Files into a container and out of it, whether it runs or not: lxc-push and lxc-pull.
//!
//! A running container is seen through its init's root, with all that is mounted there, a stopped
//! one through its root file system, mounted here alone. Paths inside are resolved once, as the
//! container would, by [`Root`]; from there on all is done by descriptors, and a file gets its name
//! when it is complete. Ids are those of the container: where it has a user namespace, they are
//! translated.

use super::Container;
use super::info::{self, State};
use super::interrupts::{Interrupted, Interrupts};
use super::live::LiveError;
use super::lock::Lock;
use crate::config::{Config, IdKind, NsKind};
use crate::idmap::{HostId, IdMap, Mapped, NsId};
use crate::mount::{self, RootSource};
use crate::ns::{self, NsSet, Target};
use crate::runtime::attach::{AttachError, hold};
use crate::storage;
use crate::sys::copy::{self, Copied, Rules};
use crate::sys::event::{self, Watch};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::lock::Wait;
use crate::sys::path::{self, Lookup, Root};
use crate::sys::{SysError, cred, dirs, errno, ns as sys_ns, process};
use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The word for standard input or output.
const DASH: &str = "-";
/// How the kernel shows an id that a namespace has not.
const UNMAPPED: u32 = 65534;
/// Bytes that are read at once from a stream.
const CHUNK: usize = 256 << 10;

/// What is wished of a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Directories too.
    pub recursive: bool,
    /// Make the target's directory and its parents.
    pub parents: bool,
    /// Owners, set-id bits, device nodes, pipes and all attributes.
    pub archive: bool,
    /// The owner inside, instead of the source's.
    pub uid: Option<u32>,
    /// The group inside.
    pub gid: Option<u32>,
    /// The mode of files.
    pub mode: Option<u32>,
}

/// What is told of the work: called now and then.
pub type Progress<'a> = &'a mut dyn FnMut(&Copied);

/// Copies files of the host into the container.
///
/// # Errors
/// A source or the target cannot be had; an owner has no id in the container; a signal came. What
/// is not complete has no name then.
pub fn push(
    container: &Container,
    sources: &[OsString],
    target: &OsStr,
    options: Options,
    progress: Progress<'_>,
) -> Result<Copied, LiveError> {
    let inside = Inside::open(container)?;
    let target = Path::new(target);
    let open = |path: &Path| {
        let flags = OpenFlags::RDONLY | OpenFlags::DIRECTORY;
        inside.root.open_at(path, flags, 0, Lookup::InRoot)
    };
    let make = |path: &Path| {
        let umask = process::umask(0o022);
        let made = inside.root.mkdir_all(path, 0o755);
        process::umask(umask);
        made.map(drop)
    };
    let owner = |uid: u32, gid: u32| {
        let (uid, gid) = inside.known(uid, gid);
        let (uid, gid) = (options.uid.unwrap_or(uid), options.gid.unwrap_or(gid));
        inside.to_host(uid, gid)
    };
    let rules =
        Rules { owner: &owner, modes: 0o7777, mode: options.mode, special: options.archive };
    let mut work = Work::new(options, rules, progress)?;
    let place = Place::find(target, sources.len(), options, &open, &make)?;
    for source in sources {
        if source == DASH {
            let name = place.name(Path::new("/"), target)?;
            let owner = owner(0, 0);
            let owner =
                owner.ok_or_else(|| unfit(target, "that owner has no id in the container"))?;
            let mode = options.mode.unwrap_or(0o644);
            let mut next = || work.read(fd::borrow(0));
            copy::stream(&mut next, &place.dir, name, owner, mode)
                .map_err(|e| work.failed("writing", target, e))?;
            continue;
        }
        let path = Path::new(source);
        let object = fd::open(path, OpenFlags::PATH, 0).map_err(|e| failed("opening", path, e))?;
        work.copy(object, path, &place, target)?;
    }
    Ok(work.done)
}

/// Copies files of the container to the host; `write` takes what goes to standard output.
///
/// # Errors
/// As [`push`].
pub fn pull(
    container: &Container,
    sources: &[OsString],
    target: &OsStr,
    options: Options,
    progress: Progress<'_>,
    write: &mut dyn FnMut(&[u8]) -> Result<(), SysError>,
) -> Result<Copied, LiveError> {
    let inside = Inside::open(container)?;
    inside.leave().map_err(|e| failed("taking the ids of", Path::new("root"), e))?;
    let target = Path::new(target);
    // The caller's own ids for what is made here. Root can have the container's.
    let owner = |of_uid: u32, of_gid: u32| match (options.archive, &inside.caller) {
        (true, None) => inside.to_inside(of_uid, of_gid),
        _ => Some(inside.before),
    };
    // A program that runs as somebody else must not come out of a container unasked.
    let modes = if options.archive { 0o7777 } else { 0o777 };
    let rules = Rules { owner: &owner, modes, mode: None, special: options.archive };
    let mut work = Work::new(options, rules, progress)?;
    let open = |path: &Path| fd::open(path, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0);
    let make = |path: &Path| {
        let (uid, gid) = inside.before;
        cred::set_fs_ids(uid, gid)?;
        let made = dirs::make_all(path, 0o755);
        // Root of the container's ids again, which reads what is the container's.
        inside.caller.as_ref().map_or(Ok(()), |_| cred::set_fs_ids(0, 0)).and(made)
    };
    let place = match target == Path::new(DASH) {
        true => None,
        false => Some(Place::find(target, sources.len(), options, &open, &make)?),
    };
    for source in sources {
        let path = Path::new(source);
        let object = inside.root.resolve(path, Lookup::InRoot);
        let object = object.map_err(|e| failed("opening in the container", path, e))?;
        match &place {
            Some(place) => work.copy(object, path, place, target)?,
            None => work.show(object, path, write)?,
        }
    }
    Ok(work.done)
}

struct Work<'a> {
    options: Options,
    rules: Rules<'a>,
    interrupts: Interrupts,
    signal: Cell<Option<Interrupted>>,
    progress: RefCell<Progress<'a>>,
    done: Copied,
}

impl<'a> Work<'a> {
    fn new(options: Options, rules: Rules<'a>, progress: Progress<'a>) -> Result<Self, LiveError> {
        let interrupts =
            Interrupts::hold().map_err(|e| failed("preparing for", Path::new("signals"), e))?;
        let (signal, progress) = (Cell::new(None), RefCell::new(progress));
        Ok(Self { options, rules, interrupts, signal, progress, done: Copied::default() })
    }

    /// One source into its place.
    fn copy(
        &mut self,
        object: OwnedFd,
        source: &Path,
        place: &Place,
        target: &Path,
    ) -> Result<(), LiveError> {
        let facts = path::facts(object.as_fd()).map_err(|e| failed("looking at", source, e))?;
        if facts.is_dir() && !self.options.recursive {
            return Err(unfit(source, "is a directory: -r copies it with its content"));
        }
        if !facts.is_dir() && !facts.is_file() && !self.options.archive {
            return Err(unfit(source, "is neither a file nor a directory: -a copies it"));
        }
        let name = place.name(source, target)?;
        let before = &self.done;
        let mut tick = |now: &Copied| {
            let (objects, bytes) = (before.objects + now.objects, before.bytes + now.bytes);
            (self.progress.borrow_mut())(&Copied { objects, bytes, ..Copied::default() });
            self.check()
        };
        let done = copy::entry(object, &place.dir, name, &self.rules, &mut tick);
        let done = done.map_err(|e| self.failed("copying", source, e))?;
        self.done.objects += done.objects;
        self.done.bytes += done.bytes;
        let full = |path: &PathBuf| source.join(path);
        self.done.mounts.extend(done.mounts.iter().map(full));
        self.done.skipped.extend(done.skipped.iter().map(full));
        Ok(())
    }

    /// A file of the container to standard output.
    fn show(
        &mut self,
        object: OwnedFd,
        source: &Path,
        write: &mut dyn FnMut(&[u8]) -> Result<(), SysError>,
    ) -> Result<(), LiveError> {
        let reading = |e| failed("reading", source, e);
        if !path::facts(object.as_fd()).map_err(reading)?.is_file() {
            return Err(unfit(source, "is not a file"));
        }
        let file = path::reopen(object.as_fd(), OpenFlags::RDONLY).map_err(reading)?;
        loop {
            let chunk = self.read(file.as_fd()).map_err(|e| self.failed("reading", source, e))?;
            if chunk.is_empty() {
                return Ok(());
            }
            write(&chunk).map_err(|e| failed("writing", Path::new("standard output"), e))?;
        }
    }

    /// Some bytes, or none at the end; EINTR when a signal came.
    fn read(&self, from: std::os::fd::BorrowedFd<'_>) -> Result<Vec<u8>, SysError> {
        let watch = |fd| Some(Watch { fd, read: true, write: false });
        event::poll_all(&[watch(from), watch(self.interrupts.as_fd())], None)?;
        self.check()?;
        fd::read_some(from, CHUNK)
    }

    /// EINTR when a signal came, which is remembered.
    fn check(&self) -> Result<(), SysError> {
        self.interrupts.check().map_err(|signal| {
            self.signal.set(Some(signal));
            SysError::new("copy", "interrupted", errno::EINTR)
        })
    }

    /// The signal that ended the work, or what failed.
    fn failed(&self, what: &'static str, path: &Path, source: SysError) -> LiveError {
        match self.signal.get() {
            Some(signal) => signal.into(),
            None => failed(what, path, source),
        }
    }
}

/// Where the copies go.
struct Place {
    dir: OwnedFd,
    /// The one copy's name; `None`: each has its source's.
    name: Option<OsString>,
}

impl Place {
    /// The directory `target`, if it is one or has to be, else the name in its directory.
    fn find(
        target: &Path,
        sources: usize,
        options: Options,
        open: &dyn Fn(&Path) -> Result<OwnedFd, SysError>,
        make: &dyn Fn(&Path) -> Result<(), SysError>,
    ) -> Result<Self, LiveError> {
        let must = sources > 1 || target.as_os_str().as_encoded_bytes().ends_with(b"/");
        let missing = |e: &SysError| e.is(errno::ENOENT) && options.parents;
        match open(target) {
            Ok(dir) => return Ok(Self { dir, name: None }),
            Err(e) if must && missing(&e) => {
                let dir = make(target).and_then(|()| open(target));
                let dir = dir.map_err(|e| failed("making the directory", target, e))?;
                return Ok(Self { dir, name: None });
            }
            Err(e) if must => return Err(failed("opening the directory", target, e)),
            Err(_) => {}
        }
        let name = target.file_name().ok_or_else(|| unfit(target, "cannot be a file's name"))?;
        let above = match target.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        let dir = match open(above) {
            Err(e) if missing(&e) => make(above).and_then(|()| open(above)),
            dir => dir,
        };
        let dir = dir.map_err(|e| failed("opening the directory", above, e))?;
        Ok(Self { dir, name: Some(name.to_owned()) })
    }

    fn name<'a>(&'a self, source: &'a Path, target: &Path) -> Result<&'a OsStr, LiveError> {
        let name = self.name.as_deref().or(source.file_name());
        name.ok_or_else(|| unfit(target, "is a directory: a name is needed"))
    }
}

/// The container's files.
struct Inside {
    root: Root,
    map: Option<IdMap>,
    /// The caller's ids, as this process has them now.
    before: (u32, u32),
    /// The caller's ids on the host, of an ordinary user.
    caller: Option<(u32, u32)>,
    /// Of a container that is stopped and has to stay so.
    _lock: Option<Lock>,
}

impl Inside {
    fn open(container: &Container) -> Result<Self, LiveError> {
        let name = Path::new(container.name());
        let taking = |e| failed("taking the ids of", name, e);
        let caller = (cred::euid(), cred::egid());
        let mapped = match cred::euid() {
            0 => None,
            _ => {
                let map =
                    IdMap::from_config(&container.load()?.config).map_err(AttachError::from)?;
                let why = "has no lxc.idmap: its files can be reached by root only";
                let map = map.ok_or_else(|| unfit(name, why))?;
                Some(Mapped::with_caller(&map).map_err(AttachError::from)?)
            }
        };
        let state = || info::state(&container.client());
        let lock = match state()? {
            State::Stopped => {
                container.load()?;
                let lock = Lock::acquire(container, Wait::Yes)?;
                // Not started before it was locked? From now on a start waits.
                Some(lock).filter(|_| matches!(state(), Ok(State::Stopped)))
            }
            _ => None,
        };
        // The user reaches the root of a process below a namespace of the user's, but not from
        // another such namespace.
        let live = if lock.is_none() { Some(running(container)?) } else { None };
        mapped.as_ref().map_or(Ok(()), Mapped::enter).map_err(taking)?;
        let (root, map) = live.map_or_else(|| stopped(container), Ok)?;
        let (before, map, caller) = match mapped {
            None => (caller, map, None),
            // In the namespace ids are the container's.
            Some(mapped) => (mapped.caller, None, Some(caller)),
        };
        let inside = Self { root, map, before, caller, _lock: lock };
        if let Some((uid, gid)) = inside.to_host(0, 0) {
            cred::set_fs_ids(uid, gid).map_err(taking)?;
        }
        Ok(inside)
    }

    /// What is made from here on is the host's. An ordinary user's is given away one by one.
    fn leave(&self) -> Result<(), SysError> {
        match self.caller {
            None => cred::set_fs_ids(self.before.0, self.before.1),
            Some(_) => Ok(()),
        }
    }

    /// The ids of a file of the host. In the namespace of an ordinary user the caller's have another
    /// number, and those of others none: what they have is the container's root's inside.
    fn known(&self, uid: u32, gid: u32) -> (u32, u32) {
        let Some(caller) = self.caller else { return (uid, gid) };
        let known = |id, mine, host| match id {
            id if id == mine => host,
            UNMAPPED => 0,
            id => id,
        };
        (known(uid, self.before.0, caller.0), known(gid, self.before.1, caller.1))
    }

    /// The host's ids of a user and a group of the container.
    fn to_host(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let Some(map) = &self.map else { return Some((uid, gid)) };
        let id = |kind, id| map.to_host(kind, NsId(id)).map(|id| id.0);
        Some((id(IdKind::Uid, uid)?, id(IdKind::Gid, gid)?))
    }

    fn to_inside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        let Some(map) = &self.map else { return Some((uid, gid)) };
        let id = |kind, id| map.to_ns(kind, HostId(id)).map(|id| id.0);
        Some((id(IdKind::Uid, uid)?, id(IdKind::Gid, gid)?))
    }
}

fn running(container: &Container) -> Result<(Root, Option<IdMap>), LiveError> {
    let target = hold(&container.client())?;
    let own = Target::own().map_err(AttachError::from)?;
    let user = NsSet::of(&[NsKind::User]);
    let map = match target.different(&own, user).map_err(AttachError::from)?.is_empty() {
        true => None,
        false => Some(IdMap::of_process(target.pid()).map_err(AttachError::from)?),
    };
    let root = fd::open_at(target.dir(), "root", OpenFlags::PATH | OpenFlags::DIRECTORY, 0)
        .map_err(|e| failed("opening the root of", Path::new(container.name()), e))?;
    Ok((Root::from_fd(root), map))
}

fn stopped(container: &Container) -> Result<(Root, Option<IdMap>), LiveError> {
    let config = container.load()?.config;
    let backend = storage::open(&config)?;
    let no_root = || unfit(&container.config_file(), "names no lxc.rootfs.path: it has no files");
    let backend = backend.ok_or_else(no_root)?;
    backend.check()?;
    if backend.check_device().is_err() {
        return Err(unfit(backend.path(), "has a device only while the container runs: start it"));
    }
    let source = backend.root_source();
    let at = PathBuf::from(source.to_string());
    let opening = |e| failed("opening", &at, e);
    let root = match &source {
        RootSource::Dir(path) => Root::open(path).map_err(opening)?,
        _ => {
            #[allow(clippy::cast_possible_truncation, reason = "CLONE_NEWNS fits")]
            sys_ns::unshare(ns::flag(NsKind::Mnt) as i32).map_err(opening)?;
            mount::slave_all().map_err(opening)?;
            let point = mount::load_mount_point(&config, Some(&source))?;
            mount::mount_source(&source, &point)?
        }
    };
    let map = if unshifted(&config) {
        None
    } else {
        IdMap::from_config(&config).map_err(AttachError::from)?
    };
    Ok((root, map))
}

/// The files' owners on the disk are the container's own ids.
fn unshifted(config: &Config) -> bool {
    let options = config.rootfs.options.as_deref().unwrap_or_default();
    options.split(',').any(|option| option.trim().starts_with("idmap="))
}

fn failed(what: &'static str, path: &Path, source: SysError) -> LiveError {
    LiveError::System { what, path: path.to_owned(), source }
}

fn unfit(path: &Path, why: &'static str) -> LiveError {
    LiveError::Unfit { path: path.to_owned(), why }
}
