//! The process that works on the new root file system, in a mount namespace of its own: fills
//! it, mounts it, runs the clone hooks and writes the host name. What it finds in there belongs to
//! an attacker: everything goes through [`crate::sys::path`].

use super::CopyError;
use crate::config::HookKind;
use crate::config::document::Loaded;
use crate::container::Container;
use crate::container::interrupts::{Interrupted, Interrupts};
use crate::hook::{self, HookContext};
use crate::idmap::Mapped;
use crate::mount::{self, RootSource};
use crate::storage::StorageError;
use crate::sys::copy::Copied;
use crate::sys::path::{Lookup, Root};
use crate::sys::process::Wait;
use crate::sys::{SysError, cred, errno, fd, ns, prctl, spawn, unix};
use crate::util::quote::quoted;
use crate::util::sentence::sentence;
use std::cell::Cell;
use std::os::fd::AsFd;
use std::path::Path;

const SIGKILL: i32 = 9;
/// Below the root; LXC writes it without a line end.
const HOSTNAME: &str = "etc/hostname";
/// Mount points that are told.
const MAX_NOTES: usize = 16;
/// Marks the last line, if it is a failure.
const FAILED: char = '!';
/// Comes before the number of a signal that this process alone was sent.
const STOPPED: char = '^';

/// What is done beside filling.
pub(super) struct Job<'a> {
    /// The target's configuration.
    pub(super) loaded: &'a Loaded,
    pub(super) target: &'a Container,
    /// `LXC_NAME`.
    pub(super) name: &'a str,
    /// `None` for a rename.
    pub(super) source: Option<&'a Container>,
    /// The new root file system, once it is there.
    pub(super) root: &'a dyn Fn() -> RootSource,
    /// `LXC_ROOTFS_PATH`.
    pub(super) location: String,
    /// Write the host name.
    pub(super) rename: bool,
    pub(super) hook_args: &'a [String],
    /// For an ordinary user.
    pub(super) mapped: Option<&'a Mapped>,
}

/// Asks if the work shall stop: an error ends it.
pub(super) type Stop<'a> = &'a dyn Fn() -> Result<(), SysError>;

/// Runs `fill`, the hooks and the rest in a process; gives back what the user should know.
pub(super) fn run(
    job: &Job<'_>,
    interrupts: &Interrupts,
    fill: &mut dyn FnMut(Stop<'_>) -> Result<Copied, StorageError>,
) -> Result<Vec<String>, CopyError> {
    let (reader, writer) = unix::pair(unix::Kind::Stream).map_err(CopyError::Process)?;
    let pid = spawn::start_child(|| {
        let came = Cell::new(None);
        let stop = || {
            interrupts.check().map_err(|Interrupted(signal)| {
                came.set(Some(signal));
                SysError::new("copy", "interrupted", errno::EINTR)
            })
        };
        let text = match (work(job, &stop, fill), came.get()) {
            (Ok(notes), _) => notes.join("\n"),
            (Err(_), Some(signal)) => format!("{STOPPED}{signal}"),
            (Err(text), None) => format!("{FAILED}{text}"),
        };
        // Read back by the parent.
        let _ = fd::write_all(writer.as_fd(), text.as_bytes());
        0
    })
    .map_err(CopyError::Process)?;
    drop(writer);
    let (how, signal) = interrupts.wait_for(pid).map_err(CopyError::Signals)?;
    let text = fd::read_fd(reader.as_fd(), 1 << 20).map_err(CopyError::Process)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let stopped = text.strip_prefix(STOPPED).and_then(|signal| signal.parse().ok());
    match (signal.or(stopped.map(Interrupted)), text.strip_prefix(FAILED), how) {
        (Some(signal), ..) => Err(signal.into()),
        (None, Some(failed), _) => Err(CopyError::Told(failed.to_owned())),
        (None, None, Wait::Exited(0)) => Ok(text.lines().map(str::to_owned).collect()),
        (None, None, how) => Err(CopyError::Told(format!("the process that copies {how}"))),
    }
}

/// # In the child
fn work(
    job: &Job<'_>,
    stop: Stop<'_>,
    fill: &mut dyn FnMut(Stop<'_>) -> Result<Copied, StorageError>,
) -> Result<Vec<String>, String> {
    let told = |e: SysError| e.to_string();
    enter(job).map_err(told)?;
    let copied = fill(stop).map_err(|e| sentence(&e))?;
    let mut notes: Vec<String> = copied
        .mounts
        .iter()
        .take(MAX_NOTES)
        .map(|path| {
            format!("{} is another file system: only its mount point was copied", quoted(path))
        })
        .collect();
    stop().map_err(told)?;
    let (root, place) = open_root(job)?;
    let config = &job.loaded.config;
    let mut context = HookContext::new(config, job.name, Some(&job.target.config_file()));
    context.rootfs_mount = Some(place);
    context.rootfs_path = Some(job.location.clone().into());
    context.source_name = job.source.map(|source| source.name().to_owned());
    hook::run(HookKind::Clone, config.hooks(HookKind::Clone), &context, job.hook_args)
        .map_err(|e| sentence(&e))?;
    if job.rename {
        let file = Path::new(HOSTNAME);
        match root.resolve(file, Lookup::InRoot) {
            Ok(_) => {
                if let Err(e) = root.write(file, job.target.name().as_bytes(), 0o644) {
                    notes.push(format!("{HOSTNAME} keeps the old name: {e}"));
                }
            }
            Err(e) => log::debug!("{HOSTNAME} is left alone: {e}"),
        }
    }
    stop().map_err(told)?;
    Ok(notes)
}

/// The ids and the mount namespace that the work needs.
fn enter(job: &Job<'_>) -> Result<(), SysError> {
    const NEWNS: i32 = 0x2_0000;
    const NEWUSER: i32 = 0x1000_0000;
    if let Some(mapped) = job.mapped {
        ns::setns(mapped.namespace.as_fd(), NEWUSER)?;
        cred::setgroups(&[])?;
        cred::set_gid(0)?;
        cred::set_uid(0)?;
    }
    // After the ids: changing them clears it.
    prctl::set_parent_death_signal(SIGKILL)?;
    if cred::euid() != 0 {
        return Ok(());
    }
    ns::unshare(NEWNS)?;
    mount::slave_all()
}

/// The root file system, mounted where it has to be, and `LXC_ROOTFS_MOUNT`.
fn open_root(job: &Job<'_>) -> Result<(Root, std::path::PathBuf), String> {
    let source = (job.root)();
    if let RootSource::Dir(path) = source {
        let root = Root::open(&path).map_err(|e| e.to_string())?;
        return Ok((root, path));
    }
    let config = &job.loaded.config;
    let point = mount::load_mount_point(config, Some(&source)).map_err(|e| sentence(&e))?;
    let root = mount::mount_source(&source, &point).map_err(|e| sentence(&e))?;
    Ok((root, point))
}
