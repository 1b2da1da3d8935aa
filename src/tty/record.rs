//! What the console has printed: the log file with its size limit, and the ring buffer that
//! the CONSOLE_LOG command reads.
//!
//! Everything goes to both as it comes, so there is nothing left to write when the container ends.
//! (LXC truncates the file then, to write the ring buffer into it.)

use super::TtyError;
use crate::config::Config;
use crate::sys::event::{self, Ready};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::unix::{self, Block};
use crate::sys::{At, SysError, errno, path as syspath};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Mode of a new log file, subject to the umask.
const LOG_MODE: u32 = 0o640;

/// Log file and ring buffer, as far as configured.
#[derive(Debug, Default)]
pub struct Record {
    log: Option<LogFile>,
    ring: Option<Ring>,
    /// Who is told what comes. They outlive the record at a reboot.
    pub(super) followers: Followers,
}

/// Ends of sockets whose others are read by those who follow the console (lxc-logs -f).
#[derive(Debug, Default)]
pub struct Followers(Vec<OwnedFd>);

/// Each is a descriptor of the monitor's.
const MAX_FOLLOWERS: usize = 32;

impl Followers {
    /// Who has gone, or does not read, is let go, and has to ask again.
    fn write(&mut self, bytes: &[u8]) {
        self.0.retain(|end| {
            let sent = unix::send(end.as_fd(), bytes, &[], None, Block::DontWait);
            sent.is_ok_and(|n| n == bytes.len())
        });
    }

    fn add(&mut self) -> Result<OwnedFd, i32> {
        if self.0.len() >= MAX_FOLLOWERS {
            // Of those who have gone without a word since.
            self.0.retain(|end| {
                let now = Some(Instant::now());
                !event::poll(end.as_fd(), Ready::NONE, now).is_ok_and(|ready| ready.hangup)
            });
        }
        if self.0.len() >= MAX_FOLLOWERS {
            return Err(errno::EMFILE);
        }
        let (ours, theirs) = unix::pair(unix::Kind::Stream).map_err(|e| e.errno)?;
        self.0.push(ours);
        Ok(theirs)
    }
}

impl Record {
    /// Opens what `lxc.console.logfile` and `lxc.console.buffer.size` ask for.
    pub fn open(config: &Config) -> Result<Self, TtyError> {
        let console = &config.console;
        let log = match &console.logfile {
            Some(path) => {
                Some(LogFile::open(path, console.size, console.rotate).map_err(|source| {
                    TtyError::Log {
                        path: path.clone(),
                        origin: config.origin("lxc.console.logfile").cloned(),
                        source,
                    }
                })?)
            }
            None => None,
        };
        let limit = usize::try_from(console.buffer_size).unwrap_or(usize::MAX);
        let ring = (limit > 0).then(|| Ring { limit, bytes: VecDeque::new() });
        Ok(Self { log, ring, followers: Followers::default() })
    }

    /// Takes what the console has printed. A log that cannot be written is given up: the
    /// container must not suffer from a full disk.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if let Some(ring) = &mut self.ring {
            ring.write(bytes);
            self.followers.write(bytes);
        }
        if let Some(log) = &mut self.log {
            if let Err(e) = log.write(bytes) {
                log::warn!("console log \"{}\": {e}", log.path.display());
                if !e.is(errno::ENOSPC) && !e.is(errno::EAGAIN) {
                    self.log = None;
                }
            }
        }
    }

    /// All of the ring, which keeps it, and a socket for what comes.
    pub(super) fn follow(&mut self) -> Result<(Vec<u8>, OwnedFd), i32> {
        let ring = self.ring.as_ref().ok_or(errno::EFAULT)?;
        let bytes = ring.bytes.iter().copied().collect();
        Ok((bytes, self.followers.add()?))
    }

    /// CONSOLE_LOG as LXC's monitor does it: reading takes the bytes out, unless `keep`. EFAULT
    /// without a buffer, ENODATA when there is nothing to read.
    pub(super) fn take(
        &mut self,
        read: bool,
        clear: bool,
        max: u64,
        keep: bool,
    ) -> Result<Vec<u8>, i32> {
        let ring = self.ring.as_mut().ok_or(errno::EFAULT)?;
        if read && ring.bytes.is_empty() {
            return Err(errno::ENODATA);
        }
        let mut len = if read { ring.bytes.len() } else { 0 };
        if max > 0 {
            len = usize::try_from(max).map_or(len, |max| len.min(max));
        }
        let out = match keep {
            true => ring.bytes.iter().take(len).copied().collect(),
            false => ring.bytes.drain(..len).collect(),
        };
        if clear {
            ring.bytes = VecDeque::new();
        }
        Ok(out)
    }
}

/// The newest bytes, up to a limit; memory is only used for what is there.
#[derive(Debug)]
struct Ring {
    limit: usize,
    bytes: VecDeque<u8>,
}

impl Ring {
    fn write(&mut self, new: &[u8]) {
        let new = &new[new.len().saturating_sub(self.limit)..];
        let over = (self.bytes.len() + new.len()).saturating_sub(self.limit);
        self.bytes.drain(..over);
        self.bytes.extend(new);
    }
}

/// A log file opened for appending.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    /// 0: none.
    limit: u64,
    rotate: bool,
}

impl LogFile {
    fn open(path: &Path, limit: u64, rotate: bool) -> Result<Self, SysError> {
        let file = open_append(path)?;
        Ok(Self { path: path.to_owned(), file, limit, rotate })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SysError> {
        if self.limit == 0 {
            return fd::write_all(self.file.as_fd(), bytes);
        }
        // Asked each time: others (logrotate) may have changed the file.
        let size = syspath::facts(self.file.as_fd())?.size;
        let room = usize::try_from(self.limit.saturating_sub(size)).unwrap_or(usize::MAX);
        let (now, rest) = bytes.split_at(bytes.len().min(room));
        fd::write_all(self.file.as_fd(), now)?;
        if rest.is_empty() {
            return Ok(());
        }
        if self.rotate {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            std::fs::rename(&self.path, &old)
                .map_err(|e| SysError::io("rename", self.path.display(), &e))?;
            self.file = open_append(&self.path)?;
        } else {
            self.file.set_len(0).at("ftruncate", || self.path.display())?;
        }
        // One console read is far smaller than the smallest limit, a page.
        fd::write_all(self.file.as_fd(), rest)
    }
}

fn open_append(path: &Path) -> Result<File, SysError> {
    // Non-blocking: opening a fifo that nobody reads must not put the monitor to sleep.
    let flags = OpenFlags::WRONLY
        | OpenFlags::APPEND
        | OpenFlags::CREATE
        | OpenFlags::NOCTTY
        | OpenFlags::NONBLOCK;
    fd::open(path, flags, LOG_MODE).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(limit: usize) -> Record {
        let ring = Some(Ring { limit, bytes: VecDeque::new() });
        Record { ring, ..Record::default() }
    }

    #[test]
    fn the_ring_keeps_the_newest() {
        let mut r = record(8);
        assert_eq!(r.take(true, false, 0, false), Err(errno::ENODATA));
        r.write(b"abcdef");
        r.write(b"ghij");
        assert_eq!(r.take(true, false, 0, true).unwrap(), b"cdefghij");
        assert_eq!(r.take(true, false, 3, false).unwrap(), b"cde");
        assert_eq!(r.take(true, false, 0, false).unwrap(), b"fghij");
        r.write(b"0123456789abc");
        assert_eq!(r.take(true, true, 1, false).unwrap(), b"5");
        assert_eq!(r.take(true, false, 0, false), Err(errno::ENODATA));
        assert_eq!(r.take(false, true, 0, false), Ok(Vec::new()));
        assert_eq!(Record::default().take(true, false, 0, false), Err(errno::EFAULT));
    }

    #[test]
    fn who_follows_gets_what_comes_or_is_let_go() {
        let mut record = record(4);
        record.write(b"abc");
        let (before, reader) = record.follow().unwrap();
        assert_eq!(before, b"abc");
        record.write(b"de");
        assert_eq!(fd::read_some(reader.as_fd(), 100).unwrap(), b"de");
        let gone = record.follow().unwrap().1;
        drop(gone);
        record.write(b"f");
        assert_eq!(record.followers.0.len(), 1);
        // More than a socket holds.
        for _ in 0..100 {
            record.write(&[b'x'; 10_000]);
        }
        assert_eq!(record.followers.0.len(), 0);
        let all: Vec<_> = (0..MAX_FOLLOWERS).map(|_| record.follow().unwrap()).collect();
        assert_eq!(record.follow().unwrap_err(), errno::EMFILE);
        drop(all);
        assert!(record.follow().is_ok(), "those who have gone make room");
    }

    #[test]
    fn the_log_is_rotated_or_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let mut log = LogFile::open(&path, 8, true).unwrap();
        log.write(b"abcdef").unwrap();
        log.write(b"ghijk").unwrap();
        assert_eq!((read("log.1"), read("log")), ("abcdefgh".into(), "ijk".into()));
        let mut log = LogFile::open(&path, 8, false).unwrap();
        log.write(b"lmnopqr").unwrap();
        assert_eq!(read("log"), "qr");
        let mut log = LogFile::open(&path, 0, false).unwrap();
        log.write(&[b'x'; 100]).unwrap();
        assert_eq!(read("log").len(), 102);
        assert!(LogFile::open(Path::new("/nonexistent/log"), 0, false).is_err());
    }
}
