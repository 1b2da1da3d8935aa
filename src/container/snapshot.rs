//! Snapshots of a container, in LXC's layout: `snaps/snapN` is a container of its own with a
//! time stamp `ts` and maybe a `comment`.

use super::copy::{self, CopyError, Keep, Made, Request, text};
use super::destroy::{self, Options};
use super::interrupts::Interrupts;
use super::lock::Lock;
use super::{Container, depends};
use crate::config::HookKind;
use crate::config::document;
use crate::config::keys::Options as LoadOptions;
use crate::control::state::State;
use crate::hook::{self, HookContext};
use crate::storage::{self, Backend, clone::Wish};
use crate::sys::copy::Copied;
use crate::sys::lock::Wait;
use crate::sys::{clock, dirs, fd};
use std::path::{Path, PathBuf};

/// Time stamp, local time.
const STAMP: &str = "ts";
const COMMENT: &str = "comment";
const CONFIG: &str = "config";
/// Where a restored container is put together, in the container's directory.
const STAGE: &str = "restored";
/// Where what it replaces waits to be removed.
const REPLACED: &str = "replaced";

/// One snapshot.
pub struct Snapshot {
    /// `snap0`.
    pub name: String,
    /// The directory that holds it.
    pub dir: PathBuf,
    /// `YYYY:MM:DD HH:MM:SS`, or nothing.
    pub stamp: String,
    /// Text of the comment.
    pub comment: Option<String>,
}

/// Takes a snapshot; gives back its name and what the user should know.
///
/// # Errors
/// As a copy's.
pub fn take(
    container: &Container,
    comment: Option<&Path>,
    progress: &mut dyn FnMut(&Copied),
) -> Result<(String, Made), CopyError> {
    let mut files = vec![(
        STAMP,
        clock::local_stamp().map_err(|e| CopyError::Make(STAMP.into(), e))?.into_bytes(),
    )];
    if let Some(file) = comment {
        let text = fd::read(file).map_err(|e| CopyError::File(file.to_owned(), e))?;
        files.push((COMMENT, text));
    }
    // The directory of the snapshots goes too where none was taken.
    let _interrupts = Interrupts::hold().map_err(CopyError::Signals)?;
    let snaps = container.snaps_dir();
    let free = (0u32..).map(|n| format!("snap{n}")).find(|name| !dirs::exists(&snaps.join(name)));
    let name = free.unwrap_or_default();
    let target = at(container, &name)?;
    let mut request = Request {
        source: container,
        target: &target,
        wish: volume(Some(format!("{}_{name}", container.name()))),
        keep: Keep { name: true, mac: true },
        allow_running: false,
        hook_args: &[],
        hook_name: None,
        files,
        ephemeral: None,
        progress,
    };
    let made = copy::copy(&mut request);
    if made.is_err() {
        // Fails if there are others.
        let _ = dirs::remove_empty(&snaps);
    }
    Ok((name, made?))
}

/// All snapshots by their names.
///
/// # Errors
/// The container is not there, or the directory cannot be read.
pub fn list(container: &Container) -> Result<Vec<Snapshot>, CopyError> {
    if !container.is_defined() {
        return Err(CopyError::Undefined(container.name().to_owned()));
    }
    let dir = container.snaps_dir();
    let names = match dirs::names(&dir) {
        Err(e) if e.is(crate::sys::errno::ENOENT) => return Ok(Vec::new()),
        names => names.map_err(|e| CopyError::File(dir.clone(), e))?,
    };
    let mut found = Vec::new();
    for name in names {
        let Some(snapshot) = name.to_str().and_then(|name| at(container, name).ok()) else {
            continue;
        };
        if !snapshot.is_defined() {
            continue;
        }
        let text = |file| fd::read_to_string(snapshot.dir().join(file)).ok();
        found.push(Snapshot {
            name: snapshot.name().to_owned(),
            dir: dir.clone(),
            stamp: text(STAMP).unwrap_or_default().trim_end().to_owned(),
            comment: text(COMMENT),
        });
    }
    // snap10 after snap9.
    found.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
    Ok(found)
}

/// Destroys a snapshot.
///
/// # Errors
/// There is none of that name; else as the destruction of a container.
pub fn destroy(container: &Container, name: &str) -> Result<Vec<String>, CopyError> {
    let snapshot = existing(container, name)?;
    let done = destroy::destroy(&snapshot, Options::default())?;
    let _ = dirs::remove_empty(&container.snaps_dir());
    Ok(done.notes)
}

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
    if over && dirs::exists(&container.dir().join(REPLACED)) {
        let _lock = Lock::acquire(container, Wait::Yes)?;
        finish_killed(container)?;
    }
    let snapshot = existing(container, name)?;
    let stage = match over {
        true => Container::new(container.dir(), STAGE).map_err(|_| no_snapshot(container, name))?,
        false => target.clone(),
    };
    let _lock = match over {
        true => {
            if super::info::state(&container.client())? != State::Stopped {
                return Err(CopyError::Running(container.name().to_owned()));
            }
            if depends::has_clones(container) {
                return Err(CopyError::Clones(container.name().to_owned()));
            }
            let lock = Lock::acquire(container, Wait::No)?;
            // Of a restoration that was killed before it replaced anything.
            discard(&stage)?;
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
    let made = copy::copy(&mut request)?;
    if over {
        let result = replace(container, &stage);
        if result.is_err() {
            let _ = discard(&stage);
        }
        result?;
    }
    Ok(made)
}

fn volume(name: Option<String>) -> Wish {
    Wish { made: storage::Made { volume: name, ..Default::default() }, ..Wish::default() }
}

/// What the volume of a restored container is called while the one that it replaces is there.
fn other_name(container: &Container) -> Result<String, CopyError> {
    let now = storage::open(&container.load()?.config)?;
    Ok(match now.is_some_and(|now| now.path().ends_with(container.name())) {
        true => format!("{}_{STAGE}", container.name()),
        false => container.name().to_owned(),
    })
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
    let failed = |e| CopyError::Make(container.dir(), e);
    let stage =
        Container::new(container.dir(), STAGE).map_err(|_| no_snapshot(container, STAGE))?;
    let trash = container.dir().join(REPLACED);
    let has = |dir: &Path| dirs::exists(&dir.join(CONFIG));
    match (has(&container.dir()), has(&stage.dir())) {
        // Not everything is in the trash yet, or nothing came in its place.
        (true, true) | (false, false) => {
            move_all(&trash, &container.dir(), &[]).map_err(failed)?;
            discard(&stage)?;
        }
        _ if dirs::exists(&stage.dir()) => complete(container, &stage)?,
        _ => {}
    }
    drop_replaced(&trash)
}

/// The second half of a replacement.
fn complete(container: &Container, stage: &Container) -> Result<(), CopyError> {
    let failed = |e| CopyError::Make(container.dir(), e);
    if dirs::exists(&stage.config_file()) {
        dirs::rename_new(&stage.config_file(), &container.config_file()).map_err(failed)?;
    }
    move_all(&stage.dir(), &container.dir(), &[]).map_err(failed)?;
    dirs::remove_empty(&stage.dir()).map_err(failed)?;
    depends::register(container).map_err(CopyError::Dependents)?;
    match volume_of(container)? {
        Some(volume) => Ok(volume.settle(&container.rootfs_dir())?),
        None => Ok(()),
    }
}

/// Removes what was replaced, with its volume.
fn drop_replaced(trash: &Path) -> Result<(), CopyError> {
    let config = document::load(&trash.join(CONFIG), &LoadOptions::default());
    if let Some(volume) = config.ok().and_then(|old| storage::open(&old.config).ok()?) {
        if volume.kind().is_volume() {
            volume.destroy()?;
        }
    }
    Ok(destroy::remove_tree(trash)?)
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
    late.map_or(Ok(()), |signal| Err(CopyError::Late(signal)))
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
    move_all(&container.dir(), &trash, &stays).map_err(failed)?;
    dirs::rename_new(&container.config_file(), &trash.join(CONFIG)).map_err(failed)?;
    complete(container, stage)?;
    drop_replaced(&trash)
}

fn move_all(from: &Path, to: &Path, stays: &[&str]) -> Result<(), crate::sys::SysError> {
    for name in dirs::names(from)? {
        if !stays.iter().any(|stay| name == *stay) {
            dirs::rename_new(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

fn at(container: &Container, name: &str) -> Result<Container, CopyError> {
    Container::new(container.snaps_dir(), name).map_err(|_| no_snapshot(container, name))
}

fn existing(container: &Container, name: &str) -> Result<Container, CopyError> {
    if !container.is_defined() {
        return Err(CopyError::Undefined(container.name().to_owned()));
    }
    let snapshot = at(container, name)?;
    match snapshot.is_defined() || dirs::exists(&snapshot.dir().join("partial")) {
        true => Ok(snapshot),
        false => Err(no_snapshot(container, name)),
    }
}

fn no_snapshot(container: &Container, snapshot: &str) -> CopyError {
    CopyError::NoSnapshot { container: container.name().to_owned(), snapshot: snapshot.to_owned() }
}
