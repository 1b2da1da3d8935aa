//! The `nbd` backend: a device that is there already, or an image of whatever format qemu-nbd
//! knows, `IMAGE[:PARTITION]`, which is a device while somebody uses it.

use super::tool::{self, Said};
use super::{Backend, Fault, Kind, StorageError};
use crate::mount::RootSource;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::{SysError, dirs, event};
use crate::util::sentence::sentence;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOOL: (&str, &str) = ("qemu-nbd", "qemu-utils");
/// How often and at what distance it is looked if a device has come or is free: five seconds.
const TRIES: u32 = 250;
const PAUSE: Duration = Duration::from_millis(20);

/// What stands after `nbd:`.
pub struct Nbd {
    path: PathBuf,
}

impl Nbd {
    /// That device or image.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The image and what the name of its device gets for the partition; `None` for a device.
    fn image(&self) -> Option<(String, String)> {
        if self.path.starts_with("/dev") {
            return None;
        }
        let text = self.path.display().to_string();
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        Some(match text.rsplit_once(':').filter(|(_, part)| number(part)) {
            Some((image, part)) => (image.to_owned(), format!("p{part}")),
            None => (text, String::new()),
        })
    }

    fn none_free(&self) -> StorageError {
        Box::new(Fault::NoDevice { kind: Kind::Nbd, path: self.path.clone() })
    }
}

impl Backend for Nbd {
    fn kind(&self) -> Kind {
        Kind::Nbd
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn check(&self) -> Result<(), StorageError> {
        let Some((image, _)) = self.image() else { return self.check_device() };
        fd::open(Path::new(&image), OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0)
            .map_err(|source| Fault::Open { what: self.location(), source })?;
        tool::need(TOOL)?;
        match dirs::exists(Path::new("/sys/block/nbd0")) {
            true => Ok(()),
            false => Err(self.none_free()),
        }
    }

    fn attach(&self) -> Result<Option<Attached>, StorageError> {
        let Some((image, part)) = self.image() else { return Ok(None) };
        self.check()?;
        for number in 0.. {
            let device = format!("/dev/nbd{number}");
            if !dirs::exists(Path::new(&device)) {
                break;
            }
            if server(&device).is_some() {
                continue;
            }
            if let Err(e) = tool::run(TOOL, &["-c", &device, &image], Said::Last) {
                // Somebody else was faster.
                if server(&device).is_some() {
                    continue;
                }
                return Err(e);
            }
            let node = PathBuf::from(device.clone() + &part);
            let new = Attached { device, node };
            new.settle()?;
            return Ok(Some(new));
        }
        Err(self.none_free())
    }
}

/// An image that is a device until this is dropped.
pub struct Attached {
    device: String,
    /// The device, or the partition's.
    node: PathBuf,
}

impl Attached {
    /// What is to be mounted.
    pub fn source(&self) -> RootSource {
        RootSource::Block(self.node.clone())
    }

    /// Waits until it can be mounted: the program is done before the kernel is.
    fn settle(&self) -> Result<(), StorageError> {
        // Who opens it has the kernel look for partitions.
        let open = |path: &Path| fd::open(path, OpenFlags::RDONLY, 0);
        let device = Path::new(&self.device);
        let come = || server(&self.device).is_some() && open(device).is_ok();
        wait(&|| come() && dirs::exists(&self.node));
        match open(&self.node) {
            Ok(_) => Ok(()),
            Err(source) => Err(fault(&self.node, source)),
        }
    }
}

impl Drop for Attached {
    /// Not while it is mounted anywhere: what the file system still has to write would be lost.
    fn drop(&mut self) {
        let device = Path::new(&self.device);
        let free = || fd::open(device, OpenFlags::RDONLY | OpenFlags::EXCL, 0);
        wait(&|| free().is_ok());
        let server = server(&self.device).unwrap_or_default();
        let done = match free() {
            Ok(_) => tool::run(TOOL, &["-d", &self.device], Said::Last),
            Err(source) => Err(fault(device, source)),
        };
        match done {
            // It writes what it has in memory, and is in the caller's cgroup.
            Ok(_) => wait(&|| !dirs::exists(&server)),
            Err(e) => log::error!("{}; later: qemu-nbd -d {}", sentence(&e), self.device),
        }
    }
}

fn fault(path: &Path, source: SysError) -> StorageError {
    Box::new(Fault::Open { what: path.display().to_string(), source })
}

/// The directory in /proc of the thread that serves a device; `None` if the device is free.
fn server(device: &str) -> Option<PathBuf> {
    let pid = fd::read_to_string(device.replace("/dev", "/sys/block") + "/pid").ok()?;
    Some(Path::new("/proc").join(pid.trim()))
}

fn wait(done: &dyn Fn() -> bool) {
    let mut tries = TRIES;
    while !done() && tries > 0 {
        event::sleep(PAUSE);
        tries -= 1;
    }
}
