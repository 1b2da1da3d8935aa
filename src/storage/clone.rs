//! How the root file system of a copy comes from that of its source: shared, or copied. The plan
//! is pure; [`Fresh::fill`] carries it out.

use super::overlay::Overlay;
use super::{Attached, Backend, Fault, Kind, Made, StorageError, device, fresh, image};
use crate::mount::{RootSource, open_source};
use crate::sys::copy::{self, Copied, Tick};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::{SysError, dirs, errno, path as syspath};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// `-B`; `None` is the source's own type.
    pub store: Option<Kind>,
    /// `-s`: share the source's blocks or layers.
    pub snapshot: bool,
    /// The layers of an overlay go below the new one instead of being copied.
    pub stack: bool,
    /// `--fssize` was given.
    pub resize: bool,
    /// Options of a new block device.
    pub made: Made,
}

/// A root file system to be.
pub struct Fresh {
    /// Where.
    pub backend: Box<dyn Backend>,
    method: Method,
}

#[derive(Clone, Copy)]
enum Method {
    /// A new empty layer on top of the source.
    Layer,
    /// The upper layer of the source is copied, the lower ones are shared.
    Delta,
    /// A snapshot of the subvolume.
    Subvolume,
    /// A clone of the dataset.
    Dataset,
    /// A snapshot of the volume; one that is not thin goes with its source.
    Volume { thin: bool },
    /// The image is copied as it is.
    Image,
    /// Object by object.
    Tree,
}

/// Decides where the copy for the container directory `dir` goes and how.
///
/// # Errors
/// What the storage types cannot do.
pub fn plan(source: &dyn Backend, dir: &Path, wish: &Wish) -> Result<Fresh, StorageError> {
    let kind = source.kind();
    let store = wish.store.unwrap_or(kind);
    let upper = dir.join("overlay/delta");
    let layered = |lower: Vec<PathBuf>, method| {
        // It stands between the layers in lxc.rootfs.path.
        let has_colon = |path: &PathBuf| path.as_os_str().as_encoded_bytes().contains(&b':');
        if lower.iter().any(has_colon) || has_colon(&upper) {
            let what = "a layer of an overlay, or have one below it, with a colon in its path";
            return Err(Box::new(Fault::NoSnapshot { kind, what }));
        }
        let backend = Box::new(Overlay::new(lower, upper.clone()));
        Ok(Fresh { backend, method })
    };
    match (kind, store, source.root_source()) {
        (Kind::Dir, Kind::Dir | Kind::Overlay, RootSource::Dir(path)) if wish.snapshot => {
            layered(vec![path], Method::Layer)
        }
        (_, Kind::Overlay, RootSource::Overlay { mut lower, upper, .. }) => match wish.stack {
            true => {
                lower.insert(0, upper);
                layered(lower, Method::Layer)
            }
            false => layered(lower, Method::Delta),
        },
        (_, Kind::Overlay, _) if wish.snapshot => {
            Err(Box::new(Fault::NoSnapshot { kind, what: "the lower layer of an overlay" }))
        }
        (_, Kind::Overlay, _) => {
            Err(Box::new(Fault::NoSnapshot { kind, what: "copied into an overlay without -s" }))
        }
        (Kind::Btrfs, Kind::Btrfs, _) => {
            Ok(Fresh { backend: fresh(store, dir, &wish.made)?, method: Method::Subvolume })
        }
        (Kind::Zfs, Kind::Zfs, _) => {
            let mut made = wish.made.clone();
            let parent = source.path().parent().filter(|_| !source.path().is_absolute());
            made.dataset = parent.map(|parent| parent.display().to_string()).or(made.dataset);
            Ok(Fresh { backend: fresh(store, dir, &made)?, method: Method::Dataset })
        }
        (Kind::Lvm, Kind::Lvm, _) => {
            let from = device::Volume::existing(source.path().to_owned());
            let mut made = wish.made.clone();
            made.group = Some(from.group());
            as_large_as(&mut made, source, wish);
            let thin = from.is_thin()?;
            let shared = thin && !wish.resize || wish.snapshot;
            let method = if shared { Method::Volume { thin } } else { Method::Tree };
            Ok(Fresh { backend: fresh(store, dir, &made)?, method })
        }
        _ if wish.snapshot => Err(Box::new(Fault::NoSnapshot { kind, what: "snapshotted" })),
        (Kind::Loop, Kind::Loop, _) if !wish.resize => {
            Ok(Fresh { backend: fresh(store, dir, &wish.made)?, method: Method::Image })
        }
        _ => {
            let mut made = wish.made.clone();
            as_large_as(&mut made, source, wish);
            let backend = fresh(store, dir, &made)?;
            source.check()?;
            Ok(Fresh { backend, method: Method::Tree })
        }
    }
}

/// A new device is as large as the source's, unless another size is asked for.
fn as_large_as(made: &mut Made, source: &dyn Backend, wish: &Wish) {
    use std::io::Seek as _;
    let device = matches!(source.root_source(), RootSource::Image(_) | RootSource::Block(_));
    // The file of an image for nbd has another size than what is in it.
    let device = device && (source.kind() != Kind::Nbd || source.check_device().is_ok());
    if let (true, false) = (device, wish.resize) {
        let size = std::fs::File::open(source.path())
            .and_then(|mut file| file.seek(std::io::SeekFrom::End(0)));
        made.format.bytes = size.unwrap_or(made.format.bytes).max(1);
    }
}

impl Fresh {
    /// True if it uses files of the source, which must then stay.
    pub fn depends(&self) -> bool {
        matches!(self.method, Method::Layer | Method::Delta | Method::Volume { thin: false })
    }

    /// True if it has the source itself below it.
    pub fn is_layer(&self) -> bool {
        matches!(self.method, Method::Layer | Method::Volume { .. })
    }

    /// True if it is filled by copying: what may take long.
    pub fn copies(&self) -> bool {
        !matches!(self.method, Method::Layer)
    }

    /// Makes it and fills it from `source`.
    ///
    /// # Errors
    /// What the system or `tick` says; what was made stays for [`Backend::destroy`].
    pub fn fill(
        &self,
        source: &dyn Backend,
        owner: (u32, u32),
        tick: Tick<'_>,
    ) -> Result<Copied, StorageError> {
        let failed = |cause| {
            Box::new(Fault::Copy { what: source.path().display().to_string(), source: cause })
        };
        let from = source.root_source();
        let to = self.backend.root_source();
        match (self.method, &from, &to) {
            (Method::Layer, _, RootSource::Overlay { lower, upper, .. }) => {
                self.backend.create(owner)?;
                let lowest = lower.first().map_or(upper, |first| first);
                like(lowest, upper).map_err(failed)?;
                Ok(Copied::default())
            }
            (
                Method::Delta,
                RootSource::Overlay { upper: from, .. },
                RootSource::Overlay { upper: to, .. },
            ) => {
                self.backend.create(owner)?;
                tree_at(from, to, tick).map_err(failed)
            }
            (Method::Subvolume, RootSource::Dir(from), RootSource::Dir(to)) => {
                match super::btrfs::Btrfs::new(to.clone()).snapshot_of(from) {
                    Ok(()) => Ok(Copied::default()),
                    // Another file system, or a directory that is no subvolume.
                    Err(e) if e.is(errno::EXDEV) || e.is(errno::EINVAL) => {
                        self.backend.create(owner)?;
                        tree_at(from, to, tick).map_err(failed)
                    }
                    Err(e) => Err(failed(e)),
                }
            }
            (Method::Dataset | Method::Volume { .. }, ..) => {
                self.backend.share(source.path())?;
                Ok(Copied::default())
            }
            (Method::Image, RootSource::Image(from), RootSource::Image(to)) => {
                let made = image::Image::new(to.clone(), super::Format::default());
                let mut copied = || {
                    let from = fd::open(from, OpenFlags::RDONLY | OpenFlags::NOFOLLOW, 0)?;
                    copy::file(from.as_fd(), made.make_file()?.as_fd(), tick)
                };
                copied().map_err(failed)?;
                Ok(Copied::default())
            }
            _ => {
                self.backend.create(owner)?;
                let device = source.attach()?;
                let from = device.as_ref().map_or(from, Attached::source);
                let mut copied = || {
                    let (_from, from) = open_source(&from)?;
                    let (_to, to) = open_source(&to)?;
                    copy::tree(from.as_fd(), to.as_fd(), tick)
                };
                copied().map_err(failed)
            }
        }
    }
}

fn tree_at(from: &Path, to: &Path, tick: Tick<'_>) -> Result<Copied, SysError> {
    copy::tree(copy::open(from)?.as_fd(), copy::open(to)?.as_fd(), tick)
}

/// The top directory of an overlay has the mode and the owner of its upper layer.
fn like(lower: &Path, upper: &Path) -> Result<(), SysError> {
    let facts = syspath::facts(copy::open(lower)?.as_fd())?;
    dirs::chown(upper, facts.uid, facts.gid)?;
    dirs::set_mode(upper, facts.mode)
}
