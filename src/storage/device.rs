//! The `lvm` backend: a logical volume, made and removed by LVM's own tools. Any other block
//! device with a file system starts the same way.

use super::tool::{self, Format, Said};
use super::{Backend, Fault, Kind, Made, StorageError};
use crate::sys::dirs;
use std::path::{Path, PathBuf};

/// LXC's group of volumes.
const DEFAULT_GROUP: &str = "lxc";
pub(super) const MAKE: (&str, &str) = ("lvcreate", "lvm2");
const REMOVE: (&str, &str) = ("lvremove", "lvm2");
const ASK: (&str, &str) = ("lvs", "lvm2");

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
    pub(super) fn fresh(dir: &Path, made: &Made) -> Result<Self, StorageError> {
        let group = made.group.as_deref().unwrap_or(DEFAULT_GROUP);
        let name = super::volume_name(dir, made);
        if [group, name].iter().any(|part| part.is_empty() || part.starts_with(['-', '.'])) {
            let name = format!("{group}/{name}");
            return Err(Box::new(Fault::BadName { kind: Kind::Lvm, name }));
        }
        tool::need(MAKE)?;
        let path = Path::new("/dev").join(group).join(name);
        let mut new = Self { path, format: made.format.clone(), pool: made.pool.clone() };
        if new.is_there()? {
            return Err(Box::new(Fault::Exists { what: new.location() }));
        }
        // One that lxc.conf names or LXC would take is taken if it is there.
        if let (None, Some(pool)) = (&new.pool, &made.usual_pool) {
            let its = attributes(&format!("{group}/{pool}"))?;
            new.pool = its.starts_with('t').then(|| pool.clone());
        }
        Ok(new)
    }

    /// True if LVM knows it, active or not.
    fn is_there(&self) -> Result<bool, StorageError> {
        let (group, name) = self.parts();
        let known = || attributes(&format!("{group}/{name}")).map(|its| !its.is_empty());
        if dirs::exists(&self.path) { Ok(true) } else { known() }
    }

    /// True if it takes its blocks out of a pool.
    pub(super) fn is_thin(&self) -> Result<bool, StorageError> {
        let (group, name) = self.parts();
        attributes(&format!("{group}/{name}")).map(|its| its.starts_with('V'))
    }

    /// Its group.
    pub(super) fn group(&self) -> String {
        self.parts().0
    }

    /// Group and name.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        (text(self.path.parent().and_then(Path::file_name)), text(self.path.file_name()))
    }
}

/// What lvs(8) says of a volume; nothing if there is none. One that LVM cannot look for at the
/// moment may be there: to take it for gone would leave it behind.
fn attributes(volume: &str) -> Result<String, StorageError> {
    let none = |said: &str| said.starts_with("Failed to find") || said.ends_with("not found");
    match tool::run(ASK, &["--noheadings", "-o", "lv_attr", volume], Said::First) {
        Err(e) if matches!(&*e, Fault::Failed { said, .. } if none(said)) => Ok(String::new()),
        Err(e) if matches!(&*e, Fault::NoProgram { .. }) => Ok(String::new()),
        its => its,
    }
}

impl Backend for Volume {
    fn kind(&self) -> Kind {
        Kind::Lvm
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        let (group, name) = self.parts();
        let size = format!("{}b", self.format.bytes);
        let pool = self.pool.as_ref().map(|pool| format!("{group}/{pool}"));
        let args: Vec<&str> = match &pool {
            Some(pool) => vec!["-y", "--thinpool", pool, "-V", &size, "-n", &name],
            None => vec!["-y", "-L", &size, "-n", &name, &group],
        };
        tool::run(MAKE, &args, Said::First)?;
        let made = tool::make_file_system(&self.path, &self.format)
            .and_then(|()| super::own_root(&self.root_source(), owner));
        if made.is_err() {
            self.destroy()?;
        }
        made
    }

    /// One that is not thin needs room for what differs.
    fn share(&self, source: &Path) -> Result<(), StorageError> {
        let (group, name) = self.parts();
        let from = Self::existing(source.to_owned());
        let origin = format!("{group}/{}", from.parts().1);
        let size = format!("{}b", self.format.bytes);
        let mut args = vec!["-y", "-s", "-n", &name, &origin];
        match from.is_thin()? {
            true => args.push("-kn"),
            false => args.extend(["-L", &size]),
        }
        tool::run(MAKE, &args, Said::First).map(drop)
    }

    fn destroy(&self) -> Result<(), StorageError> {
        let (group, name) = self.parts();
        match self.is_there()? {
            true => tool::run(REMOVE, &["-f", &format!("{group}/{name}")], Said::First).map(drop),
            false => Ok(()),
        }
    }
}

/// A block device that others make and remove: of Ceph.
pub struct Foreign {
    path: PathBuf,
}

impl Foreign {
    /// The device `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Backend for Foreign {
    fn kind(&self) -> Kind {
        Kind::Rbd
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
