//! Files and descriptors of the host: small whole-file reads and writes, duplication, sealing.
//!
//! For anything below a rootfs use [`super::path`], never this module.
#![allow(unsafe_code, reason = "adopting descriptors that the kernel handed over")]

use super::error::{At, Result, SysError};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

pub use rustix::fs::{Mode as FileMode, OFlags as OpenFlags};

/// Largest file that [`read_to_string`] takes, in bytes: nothing of /proc, /sys or /etc that
/// this program reads comes near.
const MAX_READ: usize = 4 << 20;

/// Opens `path` on the host; `O_CLOEXEC` is added.
pub fn open(path: impl AsRef<Path>, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    // Once, and not for each type that is a path; the others below do the same.
    fn open(path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
            .at("open", || format!("\"{}\"", path.display()))
    }
    open(path.as_ref(), flags, mode)
}

/// Opens `path` relative to `dir`; `O_CLOEXEC` is added.
pub fn open_at(dir: BorrowedFd<'_>, path: &str, flags: OFlags, mode: u32) -> Result<OwnedFd> {
    rustix::fs::openat(dir, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(mode))
        .at("openat", || format!("\"{path}\""))
}

/// The whole content of an open file, at most `max` bytes (EFBIG beyond).
pub fn read_fd(fd: BorrowedFd<'_>, max: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        match rustix::io::read(fd, &mut chunk) {
            Ok(0) => return Ok(out),
            Ok(n) if out.len() + n > max => return Err(SysError::new("read", "", libc::EFBIG)),
            Ok(n) => out.extend_from_slice(&chunk[..n]),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("read", "", e)),
        }
    }
}

/// What one read(2) gives, at most `max` bytes; nothing at the end.
pub fn read_some(fd: BorrowedFd<'_>, max: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; max];
    loop {
        match rustix::io::read(fd, bytes.as_mut_slice()) {
            Err(rustix::io::Errno::INTR) => {}
            read => {
                bytes.truncate(read.at("read", || "")?);
                return Ok(bytes);
            }
        }
    }
}

/// The whole content of a host file, at most 4 MiB.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    fn read(path: &Path) -> Result<Vec<u8>> {
        let fd = open(path, OFlags::RDONLY, 0)?;
        read_fd(fd.as_fd(), MAX_READ)
            .map_err(|e| SysError::new("read", format!("\"{}\"", path.display()), e.errno))
    }
    read(path.as_ref())
}

/// As [`read`]; bytes that are not UTF-8 are replaced.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    fn text(path: &Path) -> Result<String> {
        read(path).map(|bytes| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        })
    }
    text(path.as_ref())
}

/// The content of `name` below `dir`, at most `max` bytes.
pub fn read_at(dir: BorrowedFd<'_>, name: &str, max: usize) -> Result<Vec<u8>> {
    let fd = open_at(dir, name, OFlags::RDONLY, 0)?;
    read_fd(fd.as_fd(), max).map_err(|e| SysError::new("read", format!("\"{name}\""), e.errno))
}

/// Writes `bytes` with one write(2): what /proc, /sys and cgroup files ask for. A short write is
/// EIO. The file must exist.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    fn write(path: &Path, bytes: &[u8]) -> Result<()> {
        let fd = open(path, OFlags::WRONLY, 0)?;
        write_once(fd.as_fd(), bytes).map_err(|e| {
            let text = String::from_utf8_lossy(bytes);
            let what = format!("\"{}\", \"{}\"", path.display(), text.trim());
            SysError::new("write", what, e.errno)
        })
    }
    write(path.as_ref(), bytes)
}

/// As [`write_file`], below `dir`.
pub fn write_at(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let fd = open_at(dir, name, OFlags::WRONLY, 0)?;
    write_once(fd.as_fd(), bytes).map_err(|e| {
        let what = format!("\"{name}\", \"{}\"", String::from_utf8_lossy(bytes).trim());
        SysError::new("write", what, e.errno)
    })
}

/// One write(2), retried only for EINTR.
pub fn write_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    loop {
        match rustix::io::write(fd, bytes) {
            Ok(n) if n == bytes.len() => return Ok(()),
            Ok(_) => return Err(SysError::new("write", "", libc::EIO)),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("write", "", e)),
        }
    }
}

/// Writes all of `bytes` to a blocking descriptor.
pub fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("write", "", e)),
        }
    }
    Ok(())
}

/// ftruncate(2).
pub fn set_size(fd: BorrowedFd<'_>, bytes: u64) -> Result<()> {
    rustix::fs::ftruncate(fd, bytes).at("ftruncate", || bytes)
}

/// Replaces the content of a regular file that is open for writing.
pub fn rewrite(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0)).at("lseek", || 0)?;
    write_all(fd, bytes)?;
    set_size(fd, bytes.len() as u64)
}

/// A duplicate with `O_CLOEXEC`, at the lowest number that is not below `min`.
pub fn dup_above(fd: BorrowedFd<'_>, min: RawFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, min).at("fcntl", || "F_DUPFD_CLOEXEC")
}

/// Makes `fd` standard input, output or error (0 to 2), kept over exec.
pub fn dup_to_stdio(fd: BorrowedFd<'_>, target: RawFd) -> Result<()> {
    let done = match target {
        0 => rustix::stdio::dup2_stdin(fd),
        1 => rustix::stdio::dup2_stdout(fd),
        _ => rustix::stdio::dup2_stderr(fd),
    };
    done.at("dup2", || target)
}

/// Opens /dev/null and puts it on each of 0, 1 and 2 that is closed, so that no descriptor of
/// ours is ever taken for standard output.
pub fn ensure_stdio() -> Result<()> {
    for target in 0..3 {
        // SAFETY: the number is only asked for its flags; nothing is owned or closed.
        let fd = unsafe { BorrowedFd::borrow_raw(target) };
        if rustix::io::fcntl_getfd(fd).is_err() {
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
                .at("open", || "\"/dev/null\"")?;
            if null.as_raw_fd() == target {
                let _kept_open = std::os::fd::IntoRawFd::into_raw_fd(null);
            } else {
                dup_to_stdio(null.as_fd(), target)?;
            }
        }
    }
    Ok(())
}

/// Sets or clears the close-on-exec flag.
pub fn set_cloexec(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    let flags = if on { rustix::io::FdFlags::CLOEXEC } else { rustix::io::FdFlags::empty() };
    rustix::io::fcntl_setfd(fd, flags).at("fcntl", || "F_SETFD")
}

/// What [`seal_above`] does with each descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// Closed now.
    Close,
    /// Closed by the next exec.
    CloseOnExec,
}

/// Closes (or marks close-on-exec) every descriptor from `first` up, but those in `keep`, which
/// need not be sorted.
pub fn seal_above(first: RawFd, keep: &[RawFd], how: Seal) -> Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|&fd| fd >= first).collect();
    keep.sort_unstable();
    let mut from = first;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1, how)?;
        }
        from = fd + 1;
    }
    close_range(from, RawFd::MAX, how)
}

fn close_range(first: RawFd, last: RawFd, how: Seal) -> Result<()> {
    let flags = if how == Seal::CloseOnExec { libc::CLOSE_RANGE_CLOEXEC as libc::c_int } else { 0 };
    // SAFETY: plain numbers. Descriptors that Rust objects own may be closed under them: the
    // callers are about to exec or have just been forked for that, and say so.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if done == 0 {
        return Ok(());
    }
    let error = SysError::last("close_range", format!("{first}, {last}"));
    // FALLBACK(<5.11): CLOSE_RANGE_CLOEXEC is newer (EINVAL) than close_range of 5.9 (ENOSYS).
    if !error.is(libc::ENOSYS) && !error.is(libc::EINVAL) {
        return Err(error);
    }
    for fd in open_numbers() {
        if fd < first || fd > last {
            continue;
        }
        if how == Seal::Close {
            // SAFETY: as above.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        } else {
            // SAFETY: the number was open a moment ago in this single-threaded process.
            set_cloexec(unsafe { BorrowedFd::borrow_raw(fd) }, true)?;
        }
    }
    Ok(())
}

/// The open descriptors of this process, without the one used to read the list. What is mounted
/// on /proc may be a container's choice, or nothing: only a procfs is believed, else all numbers
/// are tried.
fn open_numbers() -> Vec<RawFd> {
    const PROC_MAGIC: u64 = 0x9fa0;
    let listed = open(Path::new("/proc/self/fd"), OFlags::RDONLY | OFlags::DIRECTORY, 0)
        .ok()
        .filter(|dir| super::mount::fs_magic(dir.as_fd()).is_ok_and(|magic| magic == PROC_MAGIC))
        .and_then(|dir| super::dir::list_at(dir.as_fd(), false).ok());
    let mut out: Vec<RawFd> = match listed {
        Some(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
        None => {
            // The limit may have been lowered since they were opened.
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            let limit = limit.unwrap_or(u64::MAX).clamp(1 << 16, 1 << 20);
            (0..RawFd::try_from(limit).unwrap_or(1 << 20)).collect()
        }
    };
    // The directory's own descriptor is closed by now; closing it again would be EBADF at worst.
    out.retain(|&fd| {
        // SAFETY: only asked for its flags.
        rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok()
    });
    out
}

/// Borrows a descriptor that another program promised to leave open for us (LISTEN_FDS, 0 to 2).
pub fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the caller names a descriptor that lives as long as the process: standard input,
    // output and error, which `ensure_stdio` opened.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Device and inode number: two descriptors with the same pair are the same object.
pub fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = rustix::fs::fstat(fd).at("fstat", || "")?;
    #[allow(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
    Ok((u64::from(stat.st_dev), u64::from(stat.st_ino)))
}
