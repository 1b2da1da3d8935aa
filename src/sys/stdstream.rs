//! Reading and writing the streams that a process was given, which may be non-blocking, and what
//! is needed to give them away.

use super::error::{At, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// statfs(2) magic of pipes made by pipe(2).
const PIPEFS_MAGIC: i64 = 0x5049_5045;

/// read(2), repeated when interrupted. EAGAIN is an error like others.
pub fn read(from: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match rustix::io::read(from, &mut *buffer) {
            Err(Errno::INTR) => {}
            done => return done.at("read", || ""),
        }
    }
}

/// write(2), repeated when interrupted; may be short. EAGAIN is an error like others.
pub fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    loop {
        match rustix::io::write(to, bytes) {
            Err(Errno::INTR) => {}
            done => return done.at("write", || ""),
        }
    }
}

/// Makes an open file description of our own non-blocking; one that others share would be made so
/// for them too.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).at("fcntl", || "F_GETFL")?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).at("fcntl", || "F_SETFL")
}

/// Switches off the output processing of a terminal: a line feed stays one byte.
pub fn output_unprocessed(fd: BorrowedFd<'_>) -> Result<()> {
    use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};
    let mut modes = tcgetattr(fd).at("tcgetattr", || "")?;
    modes.output_modes.remove(OutputModes::OPOST);
    tcsetattr(fd, OptionalActions::Now, &modes).at("tcsetattr", || "")
}

/// True for a pipe from pipe(2), which nobody can open by a name.
pub fn is_nameless_pipe(fd: BorrowedFd<'_>) -> bool {
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between targets")]
    rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type as i64 == PIPEFS_MAGIC)
}

/// Makes `uid` the owner.
pub fn give(fd: BorrowedFd<'_>, uid: u32) -> Result<()> {
    rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None).at("fchown", || uid)
}
