//! The `lvm` backend: a logical volume, made and removed by LVM's own tools. Any other block
//! device with a file system starts the same way.

use super::tool::{self, Format};
use super::{Backend, Kind, Made, StorageError};
use crate::mount::RootSource;
use crate::sys::dirs;
use std::path::{Path, PathBuf};

/// LXC's group of volumes.
const DEFAULT_GROUP: &str = "lxc";
/// The package of the tools.
const PACKAGE: &str = "lvm2";

/// A logical volume, `/dev/GROUP/NAME`.
pub struct Volume {
    path: PathBuf,
    /// What it is made with.
    format: Format,
    pool: Option<String>,
}

impl Volume {
    /// The device `path`.
    pub fn existing(path: PathBuf) -> Self {
        Self { path, format: Format::default(), pool: None }
    }

    /// One for a new container, named as it.
    pub(super) fn fresh(container: &Path, made: &Made) -> Result<Self, StorageError> {
        let group = made.group.as_deref().unwrap_or(DEFAULT_GROUP);
        let name = container.file_name().and_then(|name| name.to_str());
        let name = made.volume.as_deref().or(name).unwrap_or_default();
        if [group, name].iter().any(|part| part.is_empty() || part.starts_with(['-', '.'])) {
            return Err(StorageError::Failed {
                program: "lvcreate".into(),
                said: format!("\"{group}/{name}\" cannot be a logical volume"),
            });
        }
        let path = Path::new("/dev").join(group).join(name);
        Ok(Self { path, format: made.format.clone(), pool: made.pool.clone() })
    }

    /// Group and name.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        (text(self.path.parent().and_then(Path::file_name)), text(self.path.file_name()))
    }
}

impl Backend for Volume {
    fn kind(&self) -> Kind {
        Kind::Lvm
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn root_source(&self) -> RootSource {
        RootSource::Block(self.path.clone())
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        let (group, name) = self.parts();
        let size = format!("{}b", self.format.bytes);
        let pool = self.pool.as_ref().map(|pool| format!("{group}/{pool}"));
        let args: Vec<&str> = match &pool {
            Some(pool) => vec!["-y", "--thinpool", pool, "-V", &size, "-n", &name],
            None => vec!["-y", "-L", &size, "-n", &name, &group],
        };
        tool::run("lvcreate", PACKAGE, &args)?;
        let made = tool::make_file_system(&self.path, &self.format)
            .and_then(|()| super::own_root(&self.root_source(), owner));
        if made.is_err() {
            self.destroy()?;
        }
        made
    }

    fn destroy(&self) -> Result<(), StorageError> {
        if !dirs::exists(&self.path) {
            return Ok(());
        }
        tool::run("lvremove", PACKAGE, &["-f", &self.path.display().to_string()]).map(drop)
    }
}
