//! The `overlay` backend: read-only layers below a writable one.

use super::{Backend, Fault, Kind, StorageError, dir};
use crate::mount::RootSource;
use crate::util::blame::Origin;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `LOWER[:LOWER]:UPPER`. The scratch directory is `work` beside the upper one, as in LXC.
pub struct Overlay {
    text: PathBuf,
    lower: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
}

impl Overlay {
    /// A new writable layer on top of these.
    pub(super) fn new(lower: Vec<PathBuf>, upper: PathBuf) -> Self {
        let layers: Vec<&OsStr> =
            lower.iter().chain([&upper]).map(|layer| layer.as_os_str()).collect();
        let work = upper.with_file_name("work");
        Self { text: layers.join(OsStr::new(":")).into(), lower, upper, work }
    }

    /// Parses what stands after `overlay:`.
    pub fn parse(text: &Path, origin: Option<Origin>) -> Result<Self, StorageError> {
        let mut layers: Vec<PathBuf> = text
            .as_os_str()
            .as_bytes()
            .split(|&b| b == b':')
            .map(|layer| PathBuf::from(OsStr::from_bytes(layer)))
            .collect();
        let absolute = layers.iter().all(|layer| layer.is_absolute());
        match layers.pop() {
            Some(upper) if absolute && !layers.is_empty() && upper.parent().is_some() => {
                let work = upper.with_file_name("work");
                Ok(Self { text: text.to_owned(), lower: layers, upper, work })
            }
            _ => Err(Box::new(Fault::OverlayPath { text: text.display().to_string(), origin })),
        }
    }
}

impl Backend for Overlay {
    fn kind(&self) -> Kind {
        Kind::Overlay
    }

    fn path(&self) -> &Path {
        &self.text
    }

    fn root_source(&self) -> RootSource {
        RootSource::Overlay {
            lower: self.lower.clone(),
            upper: self.upper.clone(),
            work: self.work.clone(),
        }
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        dir::make_owned(&self.upper, owner)?;
        dir::make_owned(&self.work, owner)
    }

    /// The layers below belong to someone else and stay.
    fn destroy(&self) -> Result<(), StorageError> {
        dir::remove(&self.upper)?;
        dir::remove(&self.work)
    }
}
