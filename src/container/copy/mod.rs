//! Copying a container: storage, configuration, hooks, dependencies. What is half-made is marked
//! as such and undone whole when anything fails, also by a signal; a kill -9 leaves the marker,
//! by which lxc-destroy and the next tool know it.
//!
//! `text.rs` rewrites the configuration, `child.rs` does what touches the root file system,
//! `rename.rs` and `ephemeral.rs` are the two variants of a copy.

mod child;
pub mod ephemeral;
pub mod error;
pub mod rename;
pub(super) mod text;

pub use error::CopyError;

use super::create::{self, chown_to_root, remove_marker};
use super::destroy;
use super::interrupts::Interrupts;
use super::lock::{Lock, Partial, partial};
use super::{Container, depends, info};
use crate::config::document::Loaded;
use crate::config::keys::Options;
use crate::control::state::State;
use crate::idmap::IdMap;
use crate::storage::clone::{Fresh, Wish, plan};
use crate::storage::{self, Backend};
use crate::sys::copy::Copied;
use crate::sys::lock::{Wait, create_marker};
use crate::sys::{SysError, cred, dirs};
use crate::util::quote::quoted;
use crate::util::sentence::sentence;
use ephemeral::Ephemeral;
use std::path::{Path, PathBuf};

/// What stays as it is in the source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// `lxc.uts.name` and /etc/hostname.
    pub name: bool,
    /// Hardware addresses.
    pub mac: bool,
}

/// What is to be copied, and how.
pub struct Request<'a> {
    /// From.
    pub source: &'a Container,
    /// To.
    pub target: &'a Container,
    /// Its storage.
    pub wish: Wish,
    /// What is not changed.
    pub keep: Keep,
    /// The source may run.
    pub allow_running: bool,
    /// Words for the clone hooks.
    pub hook_args: &'a [String],
    /// `LXC_NAME` for them, if it is another than the target's.
    pub hook_name: Option<&'a str>,
    /// More files in the target's directory.
    pub files: Vec<(&'a str, Vec<u8>)>,
    /// For a throw-away copy.
    pub ephemeral: Option<&'a Ephemeral>,
    /// Called while it is copied, in another process.
    pub progress: &'a mut dyn FnMut(&Copied),
}

/// A copy that is whole.
pub struct Made {
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Makes the copy.
///
/// # Errors
/// Whatever fails: nothing is left of the target then.
pub fn copy(request: &mut Request<'_>) -> Result<Made, CopyError> {
    let target = request.target;
    let interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
    check_source(request.source, request.allow_running)?;
    // Not to wait for our own lock when it is to be its own copy.
    if dirs::exists(&target.config_file()) && matches!(partial(target), Ok(Partial::None)) {
        return Err(CopyError::Exists(target.name().to_owned()));
    }
    dirs::make_all(target.lxcpath(), 0o755)
        .map_err(|e| CopyError::Make(target.lxcpath().to_owned(), e))?;
    let lock = Lock::acquire(target, Wait::No)?;
    // Not to be destroyed or renamed meanwhile.
    let source_lock = Lock::acquire(request.source, Wait::Yes)?;
    // It may have been started before it was locked; from now on a start waits.
    let result = check_source(request.source, request.allow_running)
        .and_then(|()| copy_locked(request, &interrupts));
    drop(source_lock);
    if !dirs::exists(&target.dir()) {
        lock.remove();
    }
    result
}

/// The source must be a whole container that does not run.
fn check_source(source: &Container, allow_running: bool) -> Result<(), CopyError> {
    let state = info::state(&source.client())?;
    match partial(source).map_err(|e| CopyError::Make(source.dir(), e))? {
        Partial::None if source.is_defined() => {}
        Partial::None => return Err(CopyError::Undefined(source.name().to_owned())),
        _ => return Err(CopyError::Incomplete(source.name().to_owned())),
    }
    if state != State::Stopped && !allow_running {
        return Err(CopyError::Running(source.name().to_owned()));
    }
    Ok(())
}

fn copy_locked(request: &mut Request<'_>, interrupts: &Interrupts) -> Result<Made, CopyError> {
    let (source, target) = (request.source, request.target);
    let loaded = source.load()?;
    let backend = storage::open(&loaded.config)?;
    // First: a volume of the rest of a killed copy may have the name.
    create::clear_the_way(target).map_err(CopyError::from_create)?;
    let fresh = match &backend {
        Some(backend) => {
            let store = request.wish.store.unwrap_or(backend.kind());
            create::volume_defaults(store, &mut request.wish.made)
                .map_err(CopyError::from_create)?;
            Some(plan(backend.as_ref(), &target.dir(), &request.wish)?)
        }
        None => None,
    };
    let map = IdMap::from_config(&loaded.config)?;
    let make = |path: &Path, e: SysError| CopyError::Make(path.to_owned(), e);
    dirs::make(&target.dir(), 0o770).map_err(|e| make(&target.dir(), e))?;
    let mut undo = Undo { target, backend: None, armed: true };
    chown_to_root(&target.dir(), map.as_ref()).map_err(CopyError::from_create)?;
    let marker_path = target.dir().join("partial");
    let marker = create_marker(&marker_path).map_err(|e| make(&marker_path, e))?;

    let location = fresh.as_ref().map(|fresh| fresh.backend.location());
    let change = text::Change { source, target, keep: request.keep, location: location.as_deref() };
    let mut rewritten = text::rewrite(&loaded, &change)?;
    rewritten.loaded.save(&target.config_file())?;
    let mut notes = std::mem::take(&mut rewritten.notes);
    text::copy_files(&rewritten.files, &change)?;
    interrupts.check()?;
    if let (Some(fresh), Some(backend)) = (&fresh, &backend) {
        create::note_volume(&marker, fresh.backend.as_ref()).map_err(|e| make(&marker_path, e))?;
        undo.backend = Some(fresh.backend.as_ref());
        notes.extend(fill(
            request,
            &rewritten.loaded,
            map.as_ref(),
            fresh,
            backend.as_ref(),
            interrupts,
        )?);
    }
    if let Some(ephemeral) = request.ephemeral {
        ephemeral.dress(target, &mut rewritten.loaded, fresh.as_ref(), map.as_ref())?;
        rewritten.loaded.save(&target.config_file())?;
    }
    for (name, bytes) in &request.files {
        let path = target.dir().join(name);
        dirs::write_new(&path, bytes, 0o644).map_err(|e| make(&path, e))?;
    }
    if let Some(fresh) = fresh.as_ref().filter(|fresh| fresh.depends()) {
        let directly = request.wish.snapshot || fresh.is_layer();
        depends::inherit(target, source, directly).map_err(CopyError::Dependents)?;
        depends::register(target).map_err(CopyError::Dependents)?;
    }
    interrupts.check()?;
    undo.armed = false;
    log::info!("{} is made", quoted(&target.dir()));
    remove_marker(target, marker).map_err(CopyError::from_create)?;
    Ok(Made { notes })
}

/// The root file system: filled, hooks run, host name written.
fn fill(
    request: &mut Request<'_>,
    loaded: &Loaded,
    map: Option<&IdMap>,
    fresh: &Fresh,
    from: &dyn Backend,
    interrupts: &Interrupts,
) -> Result<Vec<String>, CopyError> {
    let point = request.target.rootfs_dir();
    if !matches!(fresh.backend.kind(), storage::Kind::Dir | storage::Kind::Btrfs) {
        // What it is mounted on where nothing better is installed; LXC makes it too.
        dirs::make(&point, 0o755).map_err(|e| CopyError::Make(point, e))?;
    }
    let mapped = match cred::euid() {
        0 => None,
        _ => create::mapped(&loaded.config).map_err(CopyError::from_create)?,
    };
    // In the namespace of an ordinary user's container its root is root.
    let owner = match (&mapped, map.map(IdMap::root)) {
        (None, Some((Some(uid), Some(gid)))) => (uid.0, gid.0),
        _ => (0, 0),
    };
    let job = child::Job {
        loaded,
        target: request.target,
        name: request.hook_name.unwrap_or(request.target.name()),
        source: Some(request.source),
        root: &|| fresh.backend.root_source(),
        location: fresh.backend.location(),
        rename: !request.keep.name,
        hook_args: request.hook_args,
        mapped: mapped.as_ref(),
    };
    let progress = &mut *request.progress;
    let copies = fresh.copies();
    child::run(&job, interrupts, &mut |stop| {
        let mut tick = |done: &Copied| {
            if copies {
                progress(done);
            }
            stop()
        };
        fresh.fill(from, owner, &mut tick)
    })
}

/// Removes everything of the target again unless it was completed.
struct Undo<'a> {
    target: &'a Container,
    backend: Option<&'a dyn Backend>,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Err(e) = depends::forget(self.target) {
            log::error!("undoing the copy: {e}");
        }
        if let Some(Err(e)) = self.backend.map(Backend::destroy) {
            log::error!("undoing the copy: {}", sentence(&e));
        }
        if let Err(e) = destroy::remove_directory(self.target) {
            log::error!("undoing the copy: {}", sentence(&e));
        }
    }
}

/// Sets one key of a configuration in text and meaning.
fn set(loaded: &mut Loaded, key: &str, value: &str) -> Result<(), CopyError> {
    Ok(loaded.set(key, value, &Options::default())?)
}

/// `path` with the directory `from` at its beginning replaced by `to`.
fn moved(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    path.strip_prefix(from).ok().map(|rest| match rest.as_os_str().is_empty() {
        true => to.to_owned(),
        false => to.join(rest),
    })
}
