//! Giving a container another name: its directory is renamed, whatever its size; what cannot be
//! (another file system, a volume of its own) is copied and the original destroyed.

use super::child::{self, Job};
use super::text::{Change, rewrite};
use super::{CopyError, Keep, Made, Request, check_source, copy, moved};
use crate::config::HookKind;
use crate::config::document::Loaded;
use crate::container::destroy;
use crate::container::interrupts::Interrupts;
use crate::container::lock::Lock;
use crate::container::{Container, depends, info};
use crate::control::state::State;
use crate::hook::{self, HookContext};
use crate::mount::RootSource;
use crate::storage::{self, Backend};
use crate::sys::lock::Wait;
use crate::sys::{dirs, errno, fd};
use crate::util::sentence::sentence;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The config as it was, while the renaming goes on.
const OLD_CONFIG: &str = "config.renamed";

/// Renames. Of the request only names, `keep.name` and the words for the hooks count.
///
/// # Errors
/// It runs, has clones or snapshots, the name is taken; else what fails, and then it has its old
/// name again.
pub fn rename(request: &mut Request<'_>) -> Result<Made, CopyError> {
    let (source, target) = (request.source, request.target);
    request.keep.mac = true;
    // The target may be of another container path.
    if !dirs::exists(&source.dir()) {
        undo_killed(source, target)?;
    }
    check_source(source, false)?;
    if depends::has_clones(source) {
        return Err(CopyError::Clones(source.name().to_owned()));
    }
    if dirs::names(&source.snaps_dir()).is_ok_and(|names| !names.is_empty()) {
        return Err(CopyError::Snapshots(source.name().to_owned()));
    }
    if dirs::exists(&target.dir()) {
        return Err(CopyError::Exists(target.name().to_owned()));
    }
    dirs::make_all(target.lxcpath(), 0o755)
        .map_err(|e| CopyError::Make(target.lxcpath().to_owned(), e))?;
    let new_lock = Lock::acquire(target, Wait::No)?;
    let old_lock = Lock::acquire(source, Wait::No)?;
    let result = check_source(source, false).and_then(|()| in_place(request));
    if !dirs::exists(&target.dir()) {
        new_lock.remove();
    } else {
        drop(new_lock);
    }
    match result {
        Ok(Some(made)) => {
            old_lock.remove();
            Ok(made)
        }
        Ok(None) => {
            drop(old_lock);
            let interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
            let mut made = copy(request)?;
            if let Err(signal) = interrupts.check() {
                destroy::destroy_copy(target)?;
                return Err(signal.into());
            }
            let (removed, late) = interrupts.finish(|| destroy::destroy_copy(source));
            made.notes.extend(removed?.notes);
            late.map_or(Ok(made), |signal| Err(CopyError::Late(signal, "the container is renamed")))
        }
        Err(e) => Err(e),
    }
}

/// `None` when that is not possible.
fn in_place(request: &Request<'_>) -> Result<Option<Made>, CopyError> {
    let (source, target) = (request.source, request.target);
    let interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
    let loaded = source.load()?;
    let backend = storage::open(&loaded.config)?;
    if backend.as_ref().is_some_and(|backend| backend.kind().is_volume()) {
        return Ok(None);
    }
    backend.as_ref().map_or(Ok(()), |backend| backend.check())?;
    let root = backend.as_ref().map(|backend| moved_root(backend.root_source(), source, target));
    let location = match (&backend, &root) {
        (Some(backend), Some(root)) => Some(location(backend.as_ref(), root)),
        _ => None,
    };
    let keep = Keep { mac: true, ..request.keep };
    let change = Change { source, target, keep, location: location.as_deref() };
    let mut new = rewrite(&loaded, &change)?;
    let note = source.dir().join(OLD_CONFIG);
    let before = [old_name(source).as_bytes(), &loaded.document.bytes()].concat();
    dirs::replace_file(&note, &before).map_err(|e| CopyError::Make(note, e))?;
    match dirs::rename_new(&source.dir(), &target.dir()) {
        Ok(()) => {}
        Err(e) if e.is(errno::EXDEV) => return Ok(None),
        Err(e) if e.is(errno::EEXIST) => return Err(CopyError::Exists(target.name().to_owned())),
        Err(e) => return Err(CopyError::Make(target.dir(), e)),
    }
    let mut undo = Undo { source, target, loaded: &loaded, armed: true };
    new.loaded.save(&target.config_file())?;
    super::text::copy_files(&new.files, &change)?;
    super::text::rewrite_fstabs(&new.files, &change)?;
    let mut notes = std::mem::take(&mut new.notes);
    if let (Some(root), Some(location)) = (root, location) {
        let job = Job {
            loaded: &new.loaded,
            target,
            name: target.name(),
            source: Some(source),
            root: &|| root.clone(),
            location,
            rename: !keep.name,
            hook_args: request.hook_args,
            mapped: None,
        };
        notes.extend(child::run(&job, &interrupts, &mut |_| Ok(Default::default()))?);
    }
    let config = &loaded.config;
    let context = HookContext::new(config, source.name(), Some(&target.config_file()));
    hook::run(HookKind::Destroy, config.hooks(HookKind::Destroy), &context, &[])?;
    interrupts.check()?;
    undo.armed = false;
    depends::renamed(source, target).map_err(CopyError::Dependents)?;
    let note = target.dir().join(OLD_CONFIG);
    dirs::unlink(&note).map_err(|e| CopyError::Make(note, e))?;
    Ok(Some(Made { notes }))
}

/// The first line of the note.
fn old_name(source: &Container) -> String {
    format!("# {} before it was renamed\n", source.dir().display())
}

/// Gives a container whose renaming was killed its old name back; false if it was not.
fn undo_killed(source: &Container, target: &Container) -> Result<bool, CopyError> {
    let note = target.dir().join(OLD_CONFIG);
    let (old, dir) = (old_name(source), source.dir());
    let text = || fd::read_to_string(&note).unwrap_or_default();
    if !text().starts_with(&old) || dirs::exists(&dir) {
        return Ok(false);
    }
    let _locks = (Lock::acquire(target, Wait::Yes)?, Lock::acquire(source, Wait::Yes)?);
    // If it was not killed, it is done now.
    let text = text();
    let Some(config) = text.strip_prefix(&old) else { return Ok(false) };
    if info::state(&target.client())? != State::Stopped {
        return Ok(false);
    }
    let undo = || {
        dirs::replace_file(&target.config_file(), config.as_bytes())?;
        dirs::rename_new(&target.dir(), &dir)?;
        dirs::unlink(&dir.join(OLD_CONFIG))
    };
    undo().map(|()| true).map_err(|e| CopyError::Make(dir.clone(), e))
}

/// Undoes a renaming that was killed, told of its container by the old or by the new name; true if
/// there was one.
pub fn mend(container: &Container) -> Result<bool, CopyError> {
    let at = |name: &str| Container::new(container.lxcpath().to_owned(), name).ok();
    if !dirs::exists(&container.dir()) {
        let old = old_name(container);
        for name in dirs::names(container.lxcpath()).unwrap_or_default() {
            let Some(target) = name.to_str().and_then(at) else { continue };
            let text = fd::read_to_string(target.dir().join(OLD_CONFIG)).unwrap_or_default();
            if text.starts_with(&old) {
                return undo_killed(container, &target);
            }
        }
        return Ok(false);
    }
    let Ok(text) = fd::read_to_string(container.dir().join(OLD_CONFIG)) else { return Ok(false) };
    let line = text.lines().next().and_then(|line| line.strip_suffix(" before it was renamed"));
    match line.and_then(|line| at(line.rsplit('/').next()?)) {
        Some(source) => undo_killed(&source, container),
        None => Ok(false),
    }
}

/// The root file system after the directory was renamed.
fn moved_root(root: RootSource, source: &Container, target: &Container) -> RootSource {
    let (old, new) = (source.dir(), target.dir());
    let place = |path: PathBuf| {
        // The same directory may be configured by another path: a link, a bind mount.
        let real = path.ancestors().find(|above| same_directory(above, &old));
        moved(&path, real.unwrap_or(&old), &new).unwrap_or(path)
    };
    match root {
        RootSource::Dir(path) => RootSource::Dir(place(path)),
        RootSource::Image(path) => RootSource::Image(place(path)),
        root @ (RootSource::Block(_) | RootSource::Dataset(_)) => root,
        RootSource::Overlay { lower, upper, work } => RootSource::Overlay {
            lower: lower.into_iter().map(place).collect(),
            upper: place(upper),
            work: place(work),
        },
    }
}

/// True if both paths lead to one directory.
fn same_directory(one: &Path, other: &Path) -> bool {
    let id = |path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    id(one).is_some_and(|one| id(other) == Some(one))
}

/// The value of `lxc.rootfs.path` for it.
fn location(backend: &dyn Backend, root: &RootSource) -> String {
    let kind = backend.kind().name();
    match root {
        RootSource::Dir(path)
        | RootSource::Image(path)
        | RootSource::Block(path)
        | RootSource::Dataset(path) => {
            format!("{kind}:{}", path.display())
        }
        RootSource::Overlay { lower, upper, .. } => {
            let layers = lower.iter().chain([upper]);
            let layers: Vec<String> = layers.map(|path| path.display().to_string()).collect();
            format!("{kind}:{}", layers.join(":"))
        }
    }
}

/// Gives the directory its old name and the old configuration back.
struct Undo<'a> {
    source: &'a Container,
    target: &'a Container,
    loaded: &'a Loaded,
    armed: bool,
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Err(e) = dirs::rename_new(&self.target.dir(), &self.source.dir()) {
            log::error!("undoing the rename: {e}");
        }
        if let Err(e) = self.loaded.save(&self.source.config_file()) {
            log::error!("undoing the rename: {}", sentence(&e));
        }
        let _ = dirs::unlink(&self.source.dir().join(OLD_CONFIG));
    }
}
