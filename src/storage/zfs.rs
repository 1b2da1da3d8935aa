//! The `zfs` backend: a dataset, made, cloned and removed by ZFS's own tool. It is mounted as the
//! root file system by the container's start alone, as LXC does, or used where it is mounted.
//!
//! Clones never keep their source from being destroyed: they are promoted first, which gives them
//! the blocks that they share.

use super::tool::{self, Said};
use super::{Backend, Fault, Kind, Made, StorageError};
use crate::mount::{RootSource, unescape_octal};
use crate::sys::{event, fd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// LXC's parent of all datasets.
const DEFAULT_ROOT: &str = "lxc";
pub(super) const TOOL: (&str, &str) = ("zfs", "zfsutils-linux");
/// Clones that a dataset may have.
const MAX_CLONES: usize = 1000;
/// How often and at what distance a busy dataset is tried again: five seconds in all.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// A dataset, `POOL/…/NAME`, or in LXC's first spelling the directory that it is mounted on.
pub struct Dataset {
    name: PathBuf,
    /// Where a new one is to be mounted.
    point: PathBuf,
}

impl Dataset {
    /// The one of that name.
    pub fn existing(name: PathBuf) -> Self {
        Self { name, point: PathBuf::new() }
    }

    /// One for a new container, named as it.
    pub(super) fn fresh(dir: &Path, made: &Made) -> Result<Self, StorageError> {
        let root = made.dataset.as_deref().unwrap_or(DEFAULT_ROOT);
        let volume = super::volume_name(dir, made);
        if volume.is_empty() || root.is_empty() || root.starts_with(['-', '/']) {
            let name = format!("{root}/{volume}");
            return Err(Box::new(Fault::BadName { kind: Kind::Zfs, name }));
        }
        let new = Self { name: Path::new(root).join(volume), point: dir.join("rootfs") };
        tool::need(TOOL)?;
        match new.exists()? {
            true => Err(Box::new(Fault::Exists { what: new.location() })),
            false => Ok(new),
        }
    }

    /// As ZFS calls it.
    fn text(&self) -> String {
        if self.name.is_absolute() {
            let found = mounts(&|_, point| Path::new(point) == self.name);
            return found.map_or_else(|| self.name.display().to_string(), |(source, _)| source);
        }
        self.name.display().to_string()
    }

    fn exists(&self) -> Result<bool, StorageError> {
        Ok(table(&self.text())?.iter().any(|(name, _)| *name == self.text()))
    }

    fn mount_option(&self) -> String {
        format!("mountpoint={}", self.point.display())
    }

    /// A ZFS that is a program (zfs-fuse) mounts by itself, or nobody does.
    fn show(&self) -> Result<(), StorageError> {
        match self.root_source() {
            RootSource::Dataset(_) if !in_kernel() => zfs(&["mount", &self.text()]).map(drop),
            _ => Ok(()),
        }
    }
}

/// True if the kernel has it now.
fn in_kernel() -> bool {
    let types = fd::read_to_string("/proc/filesystems").unwrap_or_default();
    types.lines().any(|line| line.ends_with("\tzfs"))
}

fn zfs(args: &[&str]) -> Result<String, StorageError> {
    tool::run(TOOL, args, Said::First)
}

/// True if the program failed with that complaint.
fn says(error: &Fault, what: &str) -> bool {
    matches!(error, Fault::Failed { said, .. } if said.contains(what))
}

/// Removes a dataset and what is below it. A mount of it in a namespace that has just ended keeps
/// it busy until the kernel has taken that down: that is waited for.
fn remove(name: &str) -> Result<(), StorageError> {
    let mut tries = BUSY_TRIES;
    loop {
        match zfs(&["destroy", "-r", name]) {
            Err(error) if tries > 0 && says(&error, "is busy") => {
                event::sleep(BUSY_PAUSE);
                tries -= 1;
            }
            done => return done.map(drop),
        }
    }
}

/// What stands after the last slash.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// All datasets of the pool of `name` with their origins; none if there is no such pool.
fn table(name: &str) -> Result<Vec<(String, String)>, StorageError> {
    let pool = name.split('/').next().unwrap_or(name);
    let all = match zfs(&["list", "-H", "-r", "-t", "filesystem", "-o", "name,origin", pool]) {
        Err(error) if says(&error, "does not exist") => String::new(),
        all => all?,
    };
    let row = |line: &str| {
        line.split_once('\t').map(|(name, origin)| (name.to_owned(), origin.trim().to_owned()))
    };
    Ok(all.lines().filter_map(row).collect())
}

/// The first mount that `wanted` takes, as source and directory.
fn mounts(wanted: &dyn Fn(&str, &str) -> bool) -> Option<(String, String)> {
    let table = fd::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = unescape_octal(left.split(' ').nth(4)?);
        let source = unescape_octal(right.split(' ').nth(1)?);
        wanted(&source, &point).then_some((source, point))
    })
}

impl Backend for Dataset {
    fn kind(&self) -> Kind {
        Kind::Zfs
    }

    fn path(&self) -> &Path {
        &self.name
    }

    fn root_source(&self) -> RootSource {
        if self.name.is_absolute() {
            return RootSource::Dir(self.name.clone());
        }
        match mounts(&|source, _| Path::new(source) == self.name) {
            Some((_, point)) => RootSource::Dir(point.into()),
            None => RootSource::Dataset(self.name.clone()),
        }
    }

    fn check(&self) -> Result<(), StorageError> {
        match self.root_source() {
            RootSource::Dataset(path) if !in_kernel() => {
                Err(Box::new(Fault::NoDevice { kind: Kind::Zfs, path }))
            }
            _ => Ok(()),
        }
    }

    fn create(&self, owner: (u32, u32)) -> Result<(), StorageError> {
        let (name, point) = (self.text(), self.mount_option());
        zfs(&["create", "-o", &point, "-o", "canmount=noauto", "-p", &name])?;
        self.show()?;
        super::own_root(&self.root_source(), owner)
    }

    fn share(&self, source: &Path) -> Result<(), StorageError> {
        let name = self.text();
        let origin = format!("{}@{}", Self::existing(source.to_owned()).text(), last(&name));
        if zfs(&["snapshot", &origin]).is_err() {
            // Left by a copy that was killed; if not, the next line says what is wrong.
            let _ = zfs(&["destroy", &origin]);
            zfs(&["snapshot", &origin])?;
        }
        let point = self.mount_option();
        let cloned = zfs(&["clone", "-p", "-o", "canmount=noauto", "-o", &point, &origin, &name]);
        if cloned.is_err() {
            let _ = zfs(&["destroy", &origin]);
        }
        cloned?;
        self.show()
    }

    fn destroy(&self) -> Result<(), StorageError> {
        let name = self.text();
        let below = format!("{name}/");
        let mut spent = Vec::new();
        let origin = loop {
            let all = table(&name)?;
            let Some((_, origin)) = all.iter().find(|(one, _)| *one == name) else {
                return Ok(());
            };
            let clone = all.iter().find(|(one, origin)| {
                let of = origin.split('@').next().unwrap_or(origin);
                (of == name || of.starts_with(&below)) && !one.starts_with(&below)
            });
            match clone.filter(|_| spent.len() < MAX_CLONES) {
                Some((clone, its)) => {
                    zfs(&["promote", clone])?;
                    spent.extend(its.split_once('@').map(|(_, snap)| format!("{clone}@{snap}")));
                }
                None => break origin.clone(),
            }
        };
        remove(&name)?;
        spent.push(origin);
        for snapshot in spent {
            // Those that were made for a clone, by us or by LXC; others may need it still.
            let made_for = snapshot.split_once('@').map_or("", |(_, made_for)| made_for);
            let known = made_for == last(&name)
                || snapshot.split('@').next().is_some_and(|clone| last(clone) == made_for);
            if known && !made_for.is_empty() {
                let _ = zfs(&["destroy", &snapshot]);
            }
        }
        Ok(())
    }

    fn detach(&self) -> Result<(), StorageError> {
        match self.root_source() {
            RootSource::Dir(_) => zfs(&["unmount", &self.text()]).map(drop),
            _ => Ok(()),
        }
    }

    fn settle(&self, rootfs: &Path) -> Result<(), StorageError> {
        zfs(&["set", &format!("mountpoint={}", rootfs.display()), &self.text()])?;
        self.show()
    }
}
