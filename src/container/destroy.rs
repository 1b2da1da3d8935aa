//! Removing a container: nothing is touched before every reason against it has been looked for.

use super::copy::CopyError;
use super::interrupts::{Interrupted, Interrupts};
use super::lock::{Lock, LockError, Partial, partial};
use super::{Container, depends, info, power, restore};
use crate::config::{Config, ConfigError, HookKind, Origin};
use crate::control::client::ClientError;
use crate::control::state::State;
use crate::hook::{self, HookContext, HookError};
use crate::idmap::{IdMap, with_rights_over};
use crate::storage::{self, Backend, Fault, StorageError, dir::Dir};
use crate::sys::lock::Wait;
use crate::sys::{SysError, cred, dirs, errno, fd, tree};
use crate::util::blame::{Explain, boxed};
use crate::util::quote::quoted;
use crate::util::sentence::sentence;
use crate::util::time::Patience;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// How determined the caller is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Stop it first; take a broken config as no reason against it.
    pub force: bool,
    /// Destroy its snapshots and clones too.
    pub snapshots: bool,
}

/// Why the container is still there.
#[derive(Debug, thiserror::Error)]
pub enum DestroyError {
    /// There is none.
    #[error("container is not defined")]
    Undefined,
    /// An lxc-create makes it just now.
    #[error("another lxc-create is making it just now")]
    InProgress,
    /// Others were cloned from it and use its files.
    #[error("container has clones")]
    Clones,
    /// It has snapshots.
    #[error("container has snapshots")]
    Snapshots,
    /// It runs.
    #[error("container is running")]
    Running,
    /// Its root file system holds more than the container.
    #[error("refusing to remove the root file system {}: {why}", quoted(path))]
    Rootfs {
        /// As configured.
        path: PathBuf,
        /// What else is there.
        why: &'static str,
        /// Where it was configured.
        origin: Option<Origin>,
    },
    /// We were told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// The same, when it was half removed.
    #[error("{0} too late: container {1} is removed")]
    Late(Interrupted, String),
    /// What a killed restoration left.
    #[error("finishing a restoration that was killed")]
    Unfinished(#[source] Box<CopyError>),
    /// Waiting for signals.
    #[error("preparing for signals")]
    Signals(#[source] SysError),
    /// The list of clones.
    #[error("reading which containers depend on it")]
    Dependents(#[source] SysError),
    /// Its directory.
    #[error("removing {}", quoted(.0))]
    Directory(PathBuf, #[source] SysError),
    /// The lock.
    #[error(transparent)]
    Lock(Box<LockError>),
    /// The config.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// Its monitor.
    #[error(transparent)]
    Client(Box<ClientError>),
    /// Stopping it.
    #[error(transparent)]
    Power(Box<power::PowerError>),
    /// A destroy hook said no.
    #[error(transparent)]
    Hook(Box<HookError>),
    /// Its storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

boxed! {
    DestroyError:
    Lock(LockError), Config(ConfigError), Client(ClientError), Power(power::PowerError),
    Hook(HookError),
}

impl DestroyError {
    /// The signal that ended it, if one did.
    pub fn interrupted(&self) -> Option<i32> {
        match self {
            Self::Interrupted(Interrupted(signal)) | Self::Late(Interrupted(signal), _) => {
                Some(*signal)
            }
            _ => None,
        }
    }
}

impl Explain for DestroyError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Dependents(e) | Self::Directory(_, e) | Self::Signals(e) => Some(e.errno),
            Self::Lock(e) => e.errno(),
            Self::Config(e) => e.errno(),
            Self::Client(e) => e.errno(),
            Self::Unfinished(e) => e.errno(),
            Self::Power(e) => e.errno(),
            Self::Hook(e) => e.errno(),
            Self::Storage(e) => e.errno(),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Rootfs { origin, .. } => origin.as_ref(),
            Self::Config(e) => e.origin(),
            Self::Hook(e) => e.origin(),
            Self::Storage(e) => e.origin(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Undefined => Some("lxc-ls lists what there is".into()),
            Self::Clones | Self::Snapshots => Some("-s destroys them too".into()),
            Self::Running => Some("-f stops it first".into()),
            Self::Config(_) => {
                Some("mend the line, or use -f to remove the container's directory as it is".into())
            }
            Self::Lock(e) => e.hint(),
            Self::Client(e) => e.hint(),
            Self::Unfinished(e) => {
                e.hint().or(Some("-f removes the container's directory as it is".into()))
            }
            Self::Power(e) => e.hint(),
            Self::Hook(e) => e.hint(),
            Self::Storage(e) => e.hint(),
            _ => None,
        }
    }
}

/// What happened beside the removal.
#[derive(Debug, Default)]
pub struct Destroyed {
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Destroys a container.
///
/// # Errors
/// In LXC's order: it is not there, has clones, has snapshots, runs; then what fails on the way.
pub fn destroy(container: &Container, options: Options) -> Result<Destroyed, DestroyError> {
    let state = info::state(&container.client())?;
    let mut done = Destroyed::default();
    match restore::mend(container) {
        Err(e) if options.force => done.notes.push(sentence(&e)),
        mended => drop(mended.map_err(|e| DestroyError::Unfinished(Box::new(e)))?),
    }
    if state == State::Stopped {
        match partial(container).map_err(|e| DestroyError::Directory(container.dir(), e))? {
            Partial::Running => return Err(DestroyError::InProgress),
            Partial::Aborted => {
                let lock = Lock::acquire(container, Wait::No)?;
                remove_partial(container)?;
                lock.remove();
                return Ok(Destroyed::default());
            }
            // As LXC does: what was started by `lxc-start -f` has its storage in that file alone.
            Partial::None if container.has_config() => {}
            // What is left where a removal was killed at its very end.
            Partial::None if !dirs::exists(&container.config_file()) => {
                let gone = dirs::remove_empty(&container.dir());
                return gone.map(|()| Destroyed::default()).map_err(|_| DestroyError::Undefined);
            }
            Partial::None => return Err(DestroyError::Undefined),
        }
    }
    destroy_dependents(container, options, &mut done)?;
    if state != State::Stopped {
        if !options.force {
            return Err(DestroyError::Running);
        }
        power::kill(&container.client(), Patience::Forever)?;
    }
    // Not before: the monitor of an ephemeral container takes it to destroy it at its end.
    remove_locked(container, options, &mut done, Heed::Signals)?;
    Ok(done)
}

/// Removes what a creation or a copy left that was killed.
pub(super) fn remove_partial(container: &Container) -> Result<(), DestroyError> {
    depends::forget(container).map_err(DestroyError::Dependents)?;
    // What is not in the directory: the marker names it, or, in a copy that is whole, the config.
    let volume = match fd::read_to_string(container.dir().join("partial")) {
        Ok(noted) => storage::noted(&noted),
        Err(_) => container.load().ok().and_then(|loaded| storage::open(&loaded.config).ok()?),
    };
    if let Some(volume) = volume.filter(|volume| volume.kind().is_volume()) {
        volume.destroy()?;
    }
    let config = container.load().ok().map(|loaded| loaded.config);
    with_rights(container, config.as_ref(), &mut || remove_directory(container))
}

/// Destroys an ephemeral container whose init has ended; for its monitor.
///
/// # Errors
/// As [`destroy`]; that somebody else has destroyed it is none.
pub fn destroy_ended(container: &Container) -> Result<(), DestroyError> {
    remove_locked(container, Options::default(), &mut Destroyed::default(), Heed::Nothing)
}

/// Removes one of the two containers that a renaming has by copying; the caller holds the signals.
pub(super) fn destroy_copy(container: &Container) -> Result<Destroyed, DestroyError> {
    let mut done = Destroyed::default();
    remove_locked(container, Options::default(), &mut done, Heed::Caller)?;
    Ok(done)
}

/// Whom a removal obeys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heed {
    /// The signals that end a tool.
    Signals,
    /// The caller, who has them.
    Caller,
    /// Nobody: the monitor has its own.
    Nothing,
}

fn remove_locked(
    container: &Container,
    options: Options,
    done: &mut Destroyed,
    heed: Heed,
) -> Result<(), DestroyError> {
    let lock = Lock::acquire(container, Wait::Yes)?;
    // A start that was faster; from now on it waits.
    if heed != Heed::Nothing && info::state(&container.client())? != State::Stopped {
        return Err(DestroyError::Running);
    }
    let result = match dirs::exists(&container.dir()) || container.has_config() {
        true => remove(container, options, done, heed),
        false => Ok(()),
    };
    if !dirs::exists(&container.dir()) {
        lock.remove();
    }
    result
}

/// Clones and snapshots: refused, or with `-s` destroyed first.
fn destroy_dependents(
    container: &Container,
    options: Options,
    done: &mut Destroyed,
) -> Result<(), DestroyError> {
    if depends::has_clones(container) {
        if !options.snapshots {
            return Err(DestroyError::Clones);
        }
        for clone in depends::clones(container).map_err(DestroyError::Dependents)? {
            if clone.is_defined() && clone.dir() != container.dir() {
                done.notes.extend(destroy(&clone, options)?.notes);
            }
        }
    }
    let snaps = container.snaps_dir();
    // An empty directory is removed on the way, as in LXC.
    match dirs::remove_empty(&snaps) {
        Ok(()) => return Ok(()),
        Err(e) if e.is(errno::ENOENT) => return Ok(()),
        Err(_) if !options.snapshots => return Err(DestroyError::Snapshots),
        Err(_) => {}
    }
    for name in dirs::names(&snaps).map_err(|e| DestroyError::Directory(snaps.clone(), e))? {
        let snapshot = name.to_str().and_then(|name| Container::new(snaps.clone(), name).ok());
        if let Some(snapshot) = snapshot.filter(Container::is_defined) {
            done.notes.extend(destroy(&snapshot, options)?.notes);
        }
    }
    remove_tree(&snaps)
}

/// Hooks, dependencies, storage, directory: the order of LXC.
fn remove(
    container: &Container,
    options: Options,
    done: &mut Destroyed,
    heed: Heed,
) -> Result<(), DestroyError> {
    let interrupts = match heed {
        Heed::Signals => Some(Interrupts::hold().map_err(DestroyError::Signals)?),
        Heed::Caller | Heed::Nothing => None,
    };
    let mut rootfs = None;
    let config = match container.load() {
        Ok(loaded) => Some(loaded.config),
        Err(e) if options.force => {
            done.notes.push(format!(
                "{e}; its hooks were not run, and a root file system outside of {} stays",
                quoted(&container.dir())
            ));
            None
        }
        Err(e) => return Err(e.into()),
    };
    if let Some(config) = &config {
        rootfs = removable_rootfs(container, config)?;
        let context = HookContext::new(config, container.name(), Some(&container.config_file()));
        hook::run(HookKind::Destroy, config.hooks(HookKind::Destroy), &context, &[])?;
        if !config.rootfs.managed {
            done.notes
                .push("lxc.rootfs.managed = 0: root file system and configuration are left".into());
            return Ok(());
        }
    }
    let work = || remove_files(container, config.as_ref(), rootfs.as_deref());
    let Some(interrupts) = interrupts else { return work() };
    interrupts.check()?;
    let (removed, late) = interrupts.finish(work);
    removed?;
    late.map_or(Ok(()), |signal| Err(DestroyError::Late(signal, container.name().to_owned())))
}

fn remove_files(
    container: &Container,
    config: Option<&Config>,
    rootfs: Option<&dyn Backend>,
) -> Result<(), DestroyError> {
    if config.is_some() {
        depends::forget(container).map_err(DestroyError::Dependents)?;
    }
    if let Some(rootfs) = rootfs {
        with_rights(container, config, &mut || Ok(rootfs.destroy()?))?;
        log::info!("the root file system {} is removed", rootfs.location());
    }
    with_rights(container, config, &mut || remove_directory(container))
}

/// Removes the container's directory, and last of it what it is known by: who is killed meanwhile
/// leaves something that can be destroyed again.
pub(super) fn remove_directory(container: &Container) -> Result<(), DestroyError> {
    let dir = container.dir();
    let failed = |e| DestroyError::Directory(dir.clone(), e);
    // A link in its place is removed as one.
    if std::fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir()) {
        let real = tree::real_path(&dir).map_err(failed)?;
        storage::dir::no_mounts(&real)?;
        let open = tree::open(&real).map_err(failed)?;
        let last = ["config", "partial"];
        tree::empty(open.as_fd(), &last.map(OsStr::new)).map_err(failed)?;
        for name in last {
            tree::remove(open.as_fd(), OsStr::new(name)).map_err(failed)?;
        }
    }
    remove_tree(&dir)?;
    log::info!("{} is removed", quoted(&dir));
    Ok(())
}

/// Removes something of a container whose files are not the caller's own.
fn with_rights(
    container: &Container,
    config: Option<&Config>,
    work: &mut dyn FnMut() -> Result<(), DestroyError>,
) -> Result<(), DestroyError> {
    let map = config.and_then(|config| IdMap::from_config(config).ok().flatten());
    if map.is_none() || cred::euid() == 0 {
        return work();
    }
    let removed = with_rights_over(map.as_ref(), &mut || {
        work().map_err(|e| {
            log::error!("{}", sentence(&e));
            SysError::new("unlink", "", e.errno().unwrap_or(errno::EIO))
        })
    });
    removed.map_err(|e| DestroyError::Directory(container.dir(), e))
}

/// The storage to remove; `None` when there is none. A root file system that also holds this
/// container's directory, or the host, is not a container's own.
fn removable_rootfs(
    container: &Container,
    config: &Config,
) -> Result<Option<Box<dyn Backend>>, DestroyError> {
    if !config.rootfs.managed {
        return Ok(None);
    }
    let Some(backend) = storage::open(config)? else { return Ok(None) };
    if backend.kind() == storage::Kind::Dir {
        let path = backend.path();
        let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let own = std::fs::canonicalize(container.dir()).unwrap_or_else(|_| container.dir());
        let why = match () {
            () if real == Path::new("/") => Some("it is the host's"),
            () if own.starts_with(&real) && own != real => Some("the container path is in it"),
            () => None,
        };
        if let Some(why) = why {
            let origin = config.origin("lxc.rootfs.path").cloned();
            return Err(DestroyError::Rootfs { path: path.to_owned(), why, origin });
        }
    }
    Ok(Some(backend))
}

/// Removes a tree or a file, never through a link or into another file system.
pub(super) fn remove_tree(path: &Path) -> Result<(), DestroyError> {
    Dir::new(path.to_owned(), None).destroy().map_err(|error| match *error {
        Fault::Destroy { path, source } => DestroyError::Directory(path, source),
        other => DestroyError::Storage(Box::new(other)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn container(dir: &Path, config: &str) -> Container {
        let container = Container::new(dir.join("lxc"), "c1").unwrap();
        fs::create_dir_all(container.rootfs_dir()).unwrap();
        fs::write(container.config_file(), config).unwrap();
        container
    }

    fn remove_with(container: &Container, options: Options) -> Result<Destroyed, DestroyError> {
        let mut done = Destroyed::default();
        destroy_dependents(container, options, &mut done)?;
        remove(container, options, &mut done, Heed::Nothing).map(|()| done)
    }

    #[test]
    fn storage_and_directory_go() {
        let temp = tempfile::tempdir().unwrap();
        let elsewhere = temp.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("etc")).unwrap();
        let line = format!("lxc.rootfs.path = dir:{}\n", elsewhere.display());
        let container = container(temp.path(), &line);
        remove_with(&container, Options::default()).unwrap();
        assert!(!container.dir().exists() && !elsewhere.exists());
    }

    #[test]
    fn what_is_not_managed_stays() {
        let temp = tempfile::tempdir().unwrap();
        let container = container(temp.path(), "lxc.rootfs.managed = 0\n");
        let done = remove_with(&container, Options::default()).unwrap();
        assert!(container.is_defined() && done.notes.len() == 1);
    }

    #[test]
    fn a_rootfs_around_the_container_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        for rootfs in [temp.path(), Path::new("/")] {
            let line = format!("lxc.rootfs.path = dir:{}\n", rootfs.display());
            let container = container(temp.path(), &line);
            let error = remove_with(&container, Options::default()).unwrap_err();
            assert!(matches!(error, DestroyError::Rootfs { .. }), "{error}");
            assert!(container.is_defined());
        }
    }

    #[test]
    fn snapshots_and_clones_are_reasons_against_it() {
        let temp = tempfile::tempdir().unwrap();
        let container = container(temp.path(), "");
        fs::create_dir(container.snaps_dir()).unwrap();
        fs::create_dir(container.snaps_dir().join("snap0")).unwrap();
        let error = remove_with(&container, Options::default()).unwrap_err();
        assert!(matches!(error, DestroyError::Snapshots));
        fs::write(container.dir().join("lxc_snapshots"), "").unwrap();
        let error = remove_with(&container, Options::default()).unwrap_err();
        assert!(matches!(error, DestroyError::Clones));
        remove_with(&container, Options { snapshots: true, ..Options::default() }).unwrap();
        assert!(!container.dir().exists());
    }

    #[test]
    fn a_broken_config_needs_force() {
        let temp = tempfile::tempdir().unwrap();
        let container = container(temp.path(), "lxc.nonsense = 1\n");
        let error = remove_with(&container, Options::default()).unwrap_err();
        assert!(matches!(error, DestroyError::Config(_)));
        let forced = remove_with(&container, Options { force: true, ..Options::default() });
        assert_eq!(forced.unwrap().notes.len(), 1);
        assert!(!container.dir().exists());
    }

    #[test]
    fn a_hook_can_refuse() {
        let temp = tempfile::tempdir().unwrap();
        let container = container(temp.path(), "lxc.hook.destroy = /bin/false\n");
        assert!(matches!(
            remove_with(&container, Options::default()).unwrap_err(),
            DestroyError::Hook(_)
        ));
        assert!(container.is_defined());
    }
}
