//! Terminals: pseudo-terminal pairs from the host's or from a given devpts instance, raw mode,
//! window size, controlling terminal.
//!
//! A devpts instance inside a container is hostile ground until its file-system type has been
//! checked; [`open_pty_in`] never follows a link and never trusts a name for the other end.

#![allow(unsafe_code, reason = "TIOCGPTN, TIOCSPTLCK and TIOCSCTTY have no wrapper in rustix")]

use super::error::{At, Result, SysError};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The file-system magic number of devpts.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Both ends of a pseudo-terminal, close-on-exec, not a controlling terminal of anybody.
#[derive(Debug)]
pub struct Pty {
    /// The end the program's side reads and writes.
    pub master: OwnedFd,
    /// The end that looks like a terminal.
    pub slave: OwnedFd,
    /// N of `pts/N` in its devpts instance.
    pub index: u32,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WinSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub cols: u16,
}

/// A pair from the devpts instance that this process sees at /dev/pts.
pub fn open_pty() -> Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::open(c"/dev/ptmx", flags, Mode::empty()).at("open", || "/dev/ptmx")?;
    let index = unlock(master.as_fd())?;
    let slave = peer(master.as_fd(), || {
        let name = format!("/dev/pts/{index}");
        rustix::fs::open(&name, flags | OFlags::NOFOLLOW, Mode::empty()).at("open", || name)
    })?;
    verify_slave(slave.as_fd(), index)?;
    Ok(Pty { master, slave, index })
}

/// A pair from the devpts instance whose root directory is `devpts`.
///
/// EXDEV if `devpts` is no devpts, or if its `ptmx` or the new terminal is not in it.
///
/// # In the child
/// Allowed. Also allowed from another mount namespace than that of the instance.
pub fn open_pty_in(devpts: BorrowedFd<'_>) -> Result<Pty> {
    verify_devpts(devpts)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let at = |name: &str| {
        rustix::fs::openat(devpts, name, flags, Mode::empty())
            .at("openat", || format!("pts/{name}"))
    };
    let master = at("ptmx")?;
    same_devpts(devpts, master.as_fd(), "ptmx")?;
    let index = unlock(master.as_fd())?;
    let slave = peer(master.as_fd(), || at(&index.to_string()))?;
    same_devpts(devpts, slave.as_fd(), "terminal")?;
    verify_slave(slave.as_fd(), index)?;
    Ok(Pty { master, slave, index })
}

/// EXDEV unless `dir` lies on a devpts file system.
pub fn verify_devpts(dir: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstatfs(dir).at("fstatfs", || "devpts")?;
    // The field's type differs between architectures.
    #[allow(clippy::unnecessary_cast, reason = "i32 on 32-bit machines")]
    let magic = stat.f_type as i64;
    if magic == DEVPTS_MAGIC {
        Ok(())
    } else {
        Err(SysError::new("fstatfs", "devpts", libc::EXDEV))
    }
}

/// EXDEV unless `fd` is a device of the same devpts instance as `devpts`.
pub fn same_devpts(devpts: BorrowedFd<'_>, fd: BorrowedFd<'_>, what: &'static str) -> Result<()> {
    verify_devpts(fd)?;
    let dir = rustix::fs::fstat(devpts).at("fstat", || "devpts")?;
    let file = rustix::fs::fstat(fd).at("fstat", || what)?;
    if dir.st_dev == file.st_dev {
        Ok(())
    } else {
        Err(SysError::new("fstat", format_args!("{what} outside its devpts"), libc::EXDEV))
    }
}

/// EXDEV unless `fd` is the slave device number `index`.
fn verify_slave(fd: BorrowedFd<'_>, index: u32) -> Result<()> {
    let stat = rustix::fs::fstat(fd).at("fstat", || "pty")?;
    // devpts gives every slave UNIX98_PTY_SLAVE_MAJOR and its number as minor.
    let is_char =
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if is_char && device == (136, index) {
        Ok(())
    } else {
        Err(SysError::new("fstat", format_args!("pts/{index} is another device"), libc::EXDEV))
    }
}

/// Unlocks the slave of `master` and returns its number.
fn unlock(master: BorrowedFd<'_>) -> Result<u32> {
    let zero: i32 = 0;
    // SAFETY: TIOCSPTLCK reads one int, which lives through the call.
    let rc = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const zero) };
    if rc < 0 {
        return Err(SysError::last("ioctl", "TIOCSPTLCK"));
    }
    let mut index: u32 = 0;
    // SAFETY: TIOCGPTN writes one unsigned int, which lives through the call.
    let rc = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN as _, &raw mut index) };
    if rc < 0 { Err(SysError::last("ioctl", "TIOCGPTN")) } else { Ok(index) }
}

/// The other end of `master`, by ioctl, or by `open` on a kernel without it.
fn peer(master: BorrowedFd<'_>, open: impl FnOnce() -> Result<OwnedFd>) -> Result<OwnedFd> {
    use rustix::pty::OpenptFlags;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    match rustix::pty::ioctl_tiocgptpeer(master, flags) {
        Ok(slave) => Ok(slave),
        // FALLBACK(<4.13): the number's file in the same devpts, whose identity the caller checks.
        Err(rustix::io::Errno::NOTTY | rustix::io::Errno::INVAL) => open(),
        Err(e) => Err(SysError::rustix("ioctl", "TIOCGPTPEER", e)),
    }
}

/// True if `fd` is a terminal.
pub fn is_tty(fd: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(fd)
}

/// Opens an existing terminal for reading and writing; ENOTTY if it is none.
pub fn open_tty(path: &Path) -> Result<OwnedFd> {
    // Non-blocking for the open itself: a serial line without carrier would sleep.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty()).at("open", || path.display())?;
    if is_tty(fd.as_fd()) {
        Ok(fd)
    } else {
        Err(SysError::new("open", path.display(), libc::ENOTTY))
    }
}

/// The window size of a terminal.
pub fn winsize(fd: BorrowedFd<'_>) -> Result<WinSize> {
    let size = rustix::termios::tcgetwinsize(fd).at("ioctl", || "TIOCGWINSZ")?;
    Ok(WinSize { rows: size.ws_row, cols: size.ws_col })
}

/// Sets the window size; processes in it get SIGWINCH.
pub fn set_winsize(fd: BorrowedFd<'_>, size: WinSize) -> Result<()> {
    let raw = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(fd, raw).at("ioctl", || "TIOCSWINSZ")
}

/// Makes `fd` the controlling terminal of this session leader.
///
/// # In the child
/// After setsid.
pub fn set_controlling(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer, no pointer; 0 does not steal the terminal.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY as _, 0) };
    if rc < 0 { Err(SysError::last("ioctl", "TIOCSCTTY")) } else { Ok(()) }
}

/// Owner, group and mode of a terminal, by descriptor. `None` leaves an id.
pub fn set_owner_mode(
    fd: BorrowedFd<'_>,
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
) -> Result<()> {
    if uid.is_some() || gid.is_some() {
        let uid = uid.map(rustix::fs::Uid::from_raw);
        let gid = gid.map(rustix::fs::Gid::from_raw);
        rustix::fs::fchown(fd, uid, gid).at("fchown", || "terminal")?;
    }
    rustix::fs::fchmod(fd, Mode::from_bits_truncate(mode)).at("fchmod", || "terminal")
}

/// Switches a terminal to raw mode for good: bytes pass unchanged in both directions.
pub fn set_raw(fd: BorrowedFd<'_>) -> Result<()> {
    let mut mode = rustix::termios::tcgetattr(fd).at("tcgetattr", || "")?;
    mode.make_raw();
    rustix::termios::tcsetattr(fd, OptionalActions::Now, &mode).at("tcsetattr", || "")
}

/// A descriptor in non-blocking mode, put back on drop if it was not before. The mode belongs to
/// the open file, which others may share.
pub struct NonBlocking<'a> {
    fd: BorrowedFd<'a>,
    old: OFlags,
}

impl<'a> NonBlocking<'a> {
    /// Switches it.
    pub fn enter(fd: BorrowedFd<'a>) -> Result<Self> {
        let old = rustix::fs::fcntl_getfl(fd).at("fcntl", || "F_GETFL")?;
        rustix::fs::fcntl_setfl(fd, old | OFlags::NONBLOCK).at("fcntl", || "F_SETFL")?;
        Ok(Self { fd, old })
    }
}

impl Drop for NonBlocking<'_> {
    fn drop(&mut self) {
        // Only fails for flags that the kernel did not give us.
        let _ = rustix::fs::fcntl_setfl(self.fd, self.old);
    }
}

/// A terminal in raw mode; the old settings come back on drop or [`RawMode::restore`].
pub struct RawMode {
    fd: OwnedFd,
    old: Termios,
    new: Termios,
}

impl RawMode {
    /// Switches the terminal `fd` to raw mode: no echo, no line editing, no signals from keys,
    /// bytes pass unchanged in both directions, for the inner terminal has treated them already.
    /// What was typed before is kept.
    pub fn enter(fd: BorrowedFd<'_>) -> Result<Self> {
        Self::with(fd, Termios::make_raw)
    }

    /// Only keys: each can be read at once and is not shown. Those that send signals still do, and
    /// output is treated as usual.
    pub fn enter_keys(fd: BorrowedFd<'_>) -> Result<Self> {
        Self::with(fd, |mode| {
            mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            mode.special_codes[SpecialCodeIndex::VMIN] = 1;
            mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        })
    }

    fn with(fd: BorrowedFd<'_>, change: fn(&mut Termios)) -> Result<Self> {
        let fd = fd.try_clone_to_owned().at("fcntl", || "F_DUPFD_CLOEXEC")?;
        let old = rustix::termios::tcgetattr(&fd).at("tcgetattr", || "")?;
        let mut new = old.clone();
        change(&mut new);
        let mode = Self { fd, old, new };
        mode.again()?;
        Ok(mode)
    }

    /// The new settings once more, after [`RawMode::restore`].
    pub fn again(&self) -> Result<()> {
        rustix::termios::tcsetattr(&self.fd, OptionalActions::Now, &self.new).at("tcsetattr", || "")
    }

    /// Puts the old settings back.
    pub fn restore(&self) -> Result<()> {
        rustix::termios::tcsetattr(&self.fd, OptionalActions::Drain, &self.old)
            .at("tcsetattr", || "")
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // The terminal may be gone; there is nobody left to tell.
        drop(self.restore());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_passes_bytes_and_size() {
        let pty = open_pty().unwrap();
        assert!(is_tty(pty.slave.as_fd()));
        let size = WinSize { rows: 33, cols: 101 };
        set_winsize(pty.master.as_fd(), size).unwrap();
        assert_eq!(winsize(pty.slave.as_fd()).unwrap(), size);
        rustix::io::write(&pty.master, b"typed\r").unwrap();
        // The kernel's line discipline takes its time, but a line that is there is kept.
        use crate::sys::event::{Ready, poll};
        assert!(poll(pty.slave.as_fd(), Ready::READ, None).unwrap().read);
        let raw = RawMode::enter(pty.slave.as_fd()).unwrap();
        let mut buf = [0; 8];
        assert_eq!(rustix::io::read(&pty.slave, &mut buf).unwrap(), 6);
        assert_eq!(&buf[..6], b"typed\n");
        rustix::io::write(&pty.master, b"\x03x").unwrap();
        assert_eq!(rustix::io::read(&pty.slave, &mut buf).unwrap(), 2);
        assert_eq!(&buf[..2], b"\x03x");
        drop(raw);
    }

    #[test]
    fn only_devpts_gives_ptys() {
        let dir = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert!(open_pty_in(dir.as_fd()).unwrap_err().is(libc::EXDEV));
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let pts = rustix::fs::open("/dev/pts", flags, Mode::empty()).unwrap();
        match open_pty_in(pts.as_fd()) {
            Ok(pty) => assert!(is_tty(pty.slave.as_fd())),
            // A host whose /dev/pts/ptmx has mode 0000, as ordinary user.
            Err(e) => assert!(e.is(libc::EACCES), "{e}"),
        }
    }

    #[test]
    fn a_file_is_no_terminal() {
        assert!(open_tty(Path::new("/dev/null")).unwrap_err().is(libc::ENOTTY));
    }
}
