//! Snapshots of a container, in LXC's layout: `snaps/snapN` is a container of its own with a
//! time stamp `ts` and maybe a `comment`. Putting one back is in `restore.rs`.

use super::Container;
use super::copy::{self, CopyError, Keep, Made, Request};
use super::destroy::{self, Options};
use super::interrupts::Interrupts;
use crate::storage::{self, clone::Wish};
use crate::sys::copy::Copied;
use crate::sys::{clock, dirs, fd};
use std::path::{Path, PathBuf};

/// Time stamp, local time.
const STAMP: &str = "ts";
const COMMENT: &str = "comment";

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
    if !container.has_config() {
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

pub(super) fn volume(name: Option<String>) -> Wish {
    Wish { made: storage::Made { volume: name, ..Default::default() }, ..Wish::default() }
}

fn at(container: &Container, name: &str) -> Result<Container, CopyError> {
    Container::new(container.snaps_dir(), name).map_err(|_| no_snapshot(container, name))
}

pub(super) fn existing(container: &Container, name: &str) -> Result<Container, CopyError> {
    if !container.is_defined() {
        return Err(CopyError::Undefined(container.name().to_owned()));
    }
    let snapshot = at(container, name)?;
    match snapshot.is_defined() || dirs::exists(&snapshot.dir().join("partial")) {
        true => Ok(snapshot),
        false => Err(no_snapshot(container, name)),
    }
}

pub(super) fn no_snapshot(container: &Container, snapshot: &str) -> CopyError {
    CopyError::NoSnapshot { container: container.name().to_owned(), snapshot: snapshot.to_owned() }
}
