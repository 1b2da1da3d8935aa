//! /proc, trusted: descriptors that are verified to be procfs before anything is read from or
//! written to them (CVE-2015-1334, CVE-2025-52881: a container that over-mounts /proc must not be
//! able to redirect a write).

use super::error::{At, Result, SysError};
use super::fd;
use super::process::Pid;
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// statfs(2) magic of procfs.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// An open root directory of a procfs instance.
pub struct ProcFs(OwnedFd);

impl ProcFs {
    /// The host's /proc, opened before anything of a container is mounted.
    pub fn open() -> Result<Self> {
        Self::verified(fd::open("/proc", OFlags::PATH | OFlags::DIRECTORY, 0)?)
    }

    /// A private procfs of the current pid namespace that is mounted nowhere.
    ///
    /// # Errors
    /// ENOSYS before 5.2; EPERM without CAP_SYS_ADMIN in the pid namespace's owner.
    pub fn private() -> Result<Self> {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
        let fs =
            rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).at("fsopen", || "proc")?;
        rustix::mount::fsconfig_create(fs.as_fd()).at("fsconfig", || "proc")?;
        let attrs = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let root = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attrs)
            .at("fsmount", || "proc")?;
        Self::verified(root)
    }

    /// Takes a descriptor after checking that it is procfs (EXDEV otherwise).
    pub fn verified(dir: OwnedFd) -> Result<Self> {
        let stat = rustix::fs::fstatfs(&dir).at("fstatfs", || "\"/proc\"")?;
        #[allow(clippy::unnecessary_cast, reason = "the field's type differs between targets")]
        if stat.f_type as i64 != PROC_SUPER_MAGIC {
            return Err(SysError::new("fstatfs", "\"/proc\" is not procfs", libc::EXDEV));
        }
        Ok(Self(dir))
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens a file below, never crossing into another mount (ENOSYS from openat2 falls back to
    /// opening and checking the file system of the result).
    pub fn open_file(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        use rustix::fs::{Mode, ResolveFlags};
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        // `self` is a symlink, hence BENEATH rather than NO_SYMLINKS.
        match rustix::fs::openat2(&self.0, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => Ok(file),
            // FALLBACK(<5.6): no openat2.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                let file = fd::open_at(self.fd(), path, flags, 0)?;
                Self::verified(rustix::io::dup(&file).at("dup", || path)?)?;
                Ok(file)
            }
            Err(e) => Err(SysError::rustix("openat2", format!("\"/proc/{path}\""), e)),
        }
    }

    /// Reads a file, at most 1 MiB.
    pub fn read(&self, path: &str) -> Result<String> {
        let file = self.open_file(path, OFlags::RDONLY)?;
        let bytes = fd::read_fd(file.as_fd(), 1 << 20)
            .map_err(|e| SysError::new("read", format!("\"/proc/{path}\""), e.errno))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file with a single write(2).
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        fd::write_once(file.as_fd(), bytes).map_err(|e| {
            let text = String::from_utf8_lossy(bytes);
            SysError::new("write", format!("\"/proc/{path}\", \"{}\"", text.trim()), e.errno)
        })
    }
}

/// One line of /proc/PID/status without its label, trimmed: `status_field(text, "CapBnd")`.
pub fn status_field<'a>(status: &'a str, label: &str) -> Option<&'a str> {
    let mut rest = status;
    loop {
        let value = rest.strip_prefix(label).and_then(|text| text.strip_prefix(':'));
        let (line, next) = rest.split_once('\n').unwrap_or((rest, ""));
        if value.is_some() {
            return line.get(label.len() + 1..).map(str::trim);
        }
        if next.is_empty() {
            return None;
        }
        rest = next;
    }
}

/// The text of /proc/PID/status on the host.
pub fn status(pid: Pid) -> Result<String> {
    fd::read_to_string(format!("/proc/{pid}/status"))
}

/// What a process is doing: the letter after its name in proc_pid_stat(5). `None` if it is gone.
pub fn run_state(pid: Pid) -> Option<u8> {
    let text = fd::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(") ")?.1.bytes().next()
}

/// Flags of a process as the kernel keeps them, of its /proc directory.
fn flags(dir: BorrowedFd<'_>) -> Option<u64> {
    let text = fd::read_at(dir, "stat", 4096).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.rsplit_once(") ")?.1.split(' ').nth(6)?.parse().ok()
}

/// False for a fork, alive or not reaped yet, that has not executed a program (PF_FORKNOEXEC).
pub fn has_execed(pid: Pid) -> bool {
    let dir = super::dir::open_path(&Path::new("/proc").join(pid.to_string()));
    dir.ok().and_then(|dir| flags(dir.as_fd())).is_none_or(|flags| flags & 0x40 == 0)
}

/// True if the process of this /proc directory is on its way out (PF_EXITING) or gone.
pub fn is_ending(dir: BorrowedFd<'_>) -> bool {
    flags(dir).is_none_or(|flags| flags & 4 != 0)
}

/// The processes with a descriptor whose link says `target`, as far as this user may look.
pub fn holders_of(target: &str) -> Vec<Pid> {
    let has = |pid: &Pid| {
        let dir = Path::new("/proc").join(pid.to_string()).join("fd");
        let names = super::dirs::names(&dir).unwrap_or_default();
        names.iter().any(|name| super::dirs::link_target(&dir.join(name)) == target)
    };
    let names = super::dirs::names(Path::new("/proc")).unwrap_or_default();
    names.iter().filter_map(|name| name.to_str()?.parse().ok()).filter(has).collect()
}

/// Start time of a process in clock ticks since boot (field 22 of proc_pid_stat(5)); with the
/// number it identifies a process where pidfds are missing.
pub fn start_time(pid: Pid) -> Result<u64> {
    let text = fd::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name
        .split_whitespace()
        .nth(19)
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| SysError::new("read", format!("\"/proc/{pid}/stat\""), libc::EBADMSG))
}

/// Opens a namespace file of a process: `net` of 12 is /proc/12/ns/net.
pub fn open_namespace(pid: Pid, link: &str) -> Result<OwnedFd> {
    fd::open(Path::new(&format!("/proc/{pid}/ns/{link}")), OFlags::RDONLY, 0)
}
