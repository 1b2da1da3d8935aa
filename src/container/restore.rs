//! A container is put back to a snapshot: what it is to be is put together beside it, and exchanged
//! for it by renames. Who is killed meanwhile loses nothing: `mend` completes it or undoes it.

use super::copy::{self, CopyError, Keep, Made, Request, text};
use super::destroy::{self, DestroyError};
use super::interrupts::Interrupts;
use super::lock::Lock;
use super::snapshot::{existing, no_snapshot, volume};
use super::{Container, depends};
use crate::config::HookKind;
use crate::config::document;
use crate::config::keys::Options as LoadOptions;
use crate::control::state::State;
use crate::hook::{self, HookContext};
use crate::idmap::{IdMap, with_rights_over};
use crate::mount::RootSource;
use crate::storage::{self, Backend};
use crate::sys::copy::Copied;
use crate::sys::lock::Wait;
use crate::sys::{SysError, dirs, errno};
use crate::util::quote::quoted;
use crate::util::sentence::sentence;
use std::path::Path;

const CONFIG: &str = "config";
/// Where a restored container is put together, in the container's directory.
const STAGE: &str = "restored";
/// Where what it replaces waits to be removed.
const REPLACED: &str = "replaced";

/// Puts a container back to a snapshot, or makes a new one of it.
///
/// # Errors
/// No such snapshot; the container runs or has clones; else as a copy's. The container is as it
/// was then.
pub fn restore(
    container: &Container,
    name: &str,
    target: &Container,
    progress: &mut dyn FnMut(&Copied),
) -> Result<Made, CopyError> {
    let over = target == container;
    if over {
        mend(container)?;
    }
    let snapshot = existing(container, name)?;
    let stage = if over { stage_of(container)? } else { target.clone() };
    let _lock = match over {
        true => {
            let lock = Lock::acquire(container, Wait::No)?;
            if super::info::state(&container.client())? != State::Stopped {
                return Err(CopyError::Running(container.name().to_owned()));
            }
            if depends::has_clones(container) {
                return Err(CopyError::Clones(container.name().to_owned()));
            }
            Some(lock)
        }
        false => None,
    };
    let mut request = Request {
        source: &snapshot,
        target: &stage,
        wish: volume(if over { Some(other_name(container)?) } else { None }),
        // The same container again has the same name and addresses.
        keep: Keep { name: over, mac: over },
        allow_running: false,
        hook_args: &[],
        hook_name: Some(target.name()),
        files: Vec::new(),
        ephemeral: None,
        progress,
    };
    // Between the copy and the exchange too: what was put together does not stay.
    let _interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
    let mut made = copy::copy(&mut request)?;
    if over {
        made.notes.extend(left_behind(container)?);
        let result = replace(container, &stage);
        if result.is_err() {
            let undone = match dirs::exists(&container.dir().join(REPLACED)) {
                true => finish_killed(container),
                false => discard(&stage),
            };
            undone.unwrap_or_else(|e| log::error!("{}", sentence(&e)));
        }
        result?;
    }
    Ok(made)
}

/// A root file system outside of the container's directory is nobody's afterwards: LXC removes it,
/// we say so.
fn left_behind(container: &Container) -> Result<Option<String>, CopyError> {
    let Some(backend) = storage::open(&container.load()?.config)? else { return Ok(None) };
    let (RootSource::Dir(path) | RootSource::Image(path)) = backend.root_source() else {
        return Ok(None);
    };
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let inside = backend.kind().is_volume() || real(&path).starts_with(real(&container.dir()));
    Ok((!inside).then(|| format!("{} stays, and is no longer its root file system", quoted(&path))))
}

/// What the volume of a restored container is called while the one that it replaces is there.
fn other_name(container: &Container) -> Result<String, CopyError> {
    let now = storage::open(&container.load()?.config)?;
    Ok(match now.is_some_and(|now| now.path().ends_with(container.name())) {
        true => format!("{}_{STAGE}", container.name()),
        false => container.name().to_owned(),
    })
}

fn stage_of(container: &Container) -> Result<Container, CopyError> {
    Container::new(container.dir(), STAGE).map_err(|_| no_snapshot(container, STAGE))
}

/// Completes or undoes a restoration of the container that was killed; false if there was none.
///
/// # Errors
/// As a restoration's.
pub(super) fn mend(container: &Container) -> Result<bool, CopyError> {
    let has = |name| dirs::exists(&container.dir().join(name));
    if !has(REPLACED) && !has(STAGE) {
        return Ok(false);
    }
    let _lock = Lock::acquire(container, Wait::Yes)?;
    match (has(REPLACED), has(STAGE)) {
        (true, _) => finish_killed(container)?,
        (false, true) => discard(&stage_of(container)?)?,
        // It was not killed, and is done.
        (false, false) => return Ok(false),
    }
    Ok(true)
}

/// True if neither what was replaced nor what replaces it is whole in its place.
pub(super) fn is_half_done(container: &Container) -> bool {
    [REPLACED, STAGE].iter().all(|name| dirs::exists(&container.dir().join(name)))
}

/// Removes what was put together, with its volume.
fn discard(stage: &Container) -> Result<(), CopyError> {
    if !dirs::exists(&stage.dir()) {
        return Ok(());
    }
    destroy::remove_partial(stage)?;
    Ok(())
}

/// Completes or undoes a replacement that was killed. The container's config is the last thing that
/// goes into the trash, and the new one the first that comes: by them it is known how far it went.
fn finish_killed(container: &Container) -> Result<(), CopyError> {
    let stage = stage_of(container)?;
    let trash = container.dir().join(REPLACED);
    let has = |dir: &Path| dirs::exists(&dir.join(CONFIG));
    match (has(&container.dir()), has(&stage.dir())) {
        // Not everything is in the trash yet, or nothing came in its place.
        (true, true) | (false, false) => {
            with_rights(container, &mut || move_all(&trash, &container.dir(), &[]))?;
            depends::forget(container).map_err(CopyError::Dependents)?;
            depends::register(container).map_err(CopyError::Dependents)?;
            discard(&stage)?;
        }
        _ if dirs::exists(&stage.dir()) => complete(container, &stage)?,
        _ => {}
    }
    drop_replaced(container)
}

/// The second half of a replacement.
fn complete(container: &Container, stage: &Container) -> Result<(), CopyError> {
    with_rights(container, &mut || {
        if dirs::exists(&stage.config_file()) {
            dirs::rename_new(&stage.config_file(), &container.config_file())?;
        }
        move_all(&stage.dir(), &container.dir(), &[])?;
        dirs::remove_empty(&stage.dir())
    })?;
    depends::register(container).map_err(CopyError::Dependents)?;
    match volume_of(container)? {
        Some(volume) => Ok(volume.settle(&container.rootfs_dir())?),
        None => Ok(()),
    }
}

/// Removes what was replaced, with its volume.
fn drop_replaced(container: &Container) -> Result<(), CopyError> {
    let trash = container.dir().join(REPLACED);
    let config = document::load(&trash.join(CONFIG), &LoadOptions::default());
    if let Some(volume) = config.ok().and_then(|old| storage::open(&old.config).ok()?) {
        if volume.kind().is_volume() {
            volume.destroy()?;
        }
    }
    with_rights(container, &mut || match destroy::remove_tree(&trash) {
        Err(DestroyError::Directory(_, e)) => Err(e),
        done => done.map_err(|e| SysError::new("unlink", sentence(&e), errno::EBUSY)),
    })
}

/// Does what changes directories of the container: for an ordinary user as root of its ids.
fn with_rights(
    container: &Container,
    work: &mut dyn FnMut() -> Result<(), SysError>,
) -> Result<(), CopyError> {
    let at = |part: &&str| {
        let file = container.dir().join(part).join(CONFIG);
        document::load(&file, &LoadOptions::default()).ok()
    };
    // Wherever the configuration is just now.
    let config = ["", REPLACED, STAGE].iter().find_map(at);
    let map = config.and_then(|loaded| IdMap::from_config(&loaded.config).ok().flatten());
    with_rights_over(map.as_ref(), work).map_err(|e| CopyError::Make(container.dir(), e))
}

fn volume_of(container: &Container) -> Result<Option<Box<dyn Backend>>, CopyError> {
    Ok(storage::open(&container.load()?.config)?.filter(|backend| backend.kind().is_volume()))
}

/// Puts the content of `stage` in the place of the container's, but for its snapshots. Two rounds
/// of renames: a crash in between loses nothing.
fn replace(container: &Container, stage: &Container) -> Result<(), CopyError> {
    let failed = |e| CopyError::Make(container.dir(), e);
    let interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
    let old = container.load()?;
    let context = HookContext::new(&old.config, container.name(), Some(&container.config_file()));
    hook::run(HookKind::Destroy, old.config.hooks(HookKind::Destroy), &context, &[])?;

    let loaded = stage.load()?;
    for volume in [volume_of(container)?, volume_of(stage)?].into_iter().flatten() {
        volume.detach()?;
    }
    let real = std::fs::canonicalize(container.dir()).unwrap_or_else(|_| container.dir());
    for name in dirs::names(&real).map_err(failed)? {
        if name != "snaps" {
            storage::dir::no_mounts(&real.join(name))?;
        }
    }
    let text = text::relocated(&loaded, &stage.dir(), &container.dir())?;
    text.save(&stage.config_file())?;
    interrupts.check()?;
    let (done, late) = interrupts.finish(|| exchange(container, stage));
    done?;
    late.map_or(Ok(()), |signal| Err(CopyError::Late(signal, "the snapshot is back")))
}

/// The part of it that is finished once it has begun.
fn exchange(container: &Container, stage: &Container) -> Result<(), CopyError> {
    let failed = |e| CopyError::Make(container.dir(), e);
    depends::forget(stage).map_err(CopyError::Dependents)?;
    depends::forget(container).map_err(CopyError::Dependents)?;

    let trash = container.dir().join(REPLACED);
    destroy::remove_tree(&trash)?;
    dirs::make(&trash, 0o700).map_err(failed)?;
    let stays = ["snaps", STAGE, REPLACED, CONFIG];
    with_rights(container, &mut || {
        move_all(&container.dir(), &trash, &stays)?;
        dirs::rename_new(&container.config_file(), &trash.join(CONFIG))
    })?;
    complete(container, stage)?;
    drop_replaced(container)
}

fn move_all(from: &Path, to: &Path, stays: &[&str]) -> Result<(), SysError> {
    for name in dirs::names(from)? {
        if !stays.iter().any(|stay| name == *stay) {
            dirs::rename_new(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}
