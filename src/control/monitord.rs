//! LXC's lxc-monitord: reads what the monitors of a container path write to its fifo and passes it
//! on to everybody who is connected. [`Daemon`] is that process, [`Observer`] its client; each
//! works with LXC's own counterpart.
//!
//! Nobody waits for anybody: a monitor's message that does not fit into the fifo is lost (as with
//! LXC), a client that does not read is let go.

use super::address;
use super::state::{NOTICE_BYTES, Notice, monitor_fifo};
use crate::sys::event::{self, Epoll, Event, Ready, SignalFd};
use crate::sys::fd::OpenFlags;
use crate::sys::lock::{self, Wait};
use crate::sys::unix::{self, Block, Creds};
use crate::sys::{Result, SysError, cred, dirs, errno, fd, path, procfs, stdstream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the daemon stays without clients, unless it was started to stay.
pub const IDLE: Duration = Duration::from_secs(30);
/// What ends the daemon when a client sends it.
const QUIT: &[u8] = b"quit";
/// Clients at once; each is a person in front of a terminal, or a script.
const MAX_CLIENTS: usize = 512;
const BACKLOG: i32 = 100;

const LISTENER: u64 = 0;
const FIFO: u64 = 1;
const SIGNALS: u64 = 2;
const FIRST_CLIENT: u64 = 3;

/// The daemon of one container path.
pub struct Daemon {
    listener: OwnedFd,
    fifo: OwnedFd,
    path: PathBuf,
    epoll: Epoll,
    clients: Vec<(u64, OwnedFd)>,
    next: u64,
}

impl Daemon {
    /// Takes the fifo and the socket of `lxcpath`.
    ///
    /// # Errors
    /// EAGAIN, EADDRINUSE: another one has them. ENAMETOOLONG cannot be: long paths are hashed.
    pub fn open(run_dir: &Path, lxcpath: &Path) -> Result<Self> {
        let path = monitor_fifo(run_dir, lxcpath);
        if let Some(dir) = path.parent() {
            dirs::make_all(dir, 0o755)?;
        }
        let fifo = take_fifo(&path)?;
        let listener = unix::listen_abstract(&address::monitor_socket(lxcpath), BACKLOG)?;
        let epoll = Epoll::new()?;
        epoll.add(listener.as_fd(), LISTENER, Ready::READ)?;
        epoll.add(fifo.as_fd(), FIFO, Ready::READ)?;
        Ok(Self { listener, fifo, path, epoll, clients: Vec::new(), next: FIRST_CLIENT })
    }

    /// Serves until a client sends `quit`, one of `signals` arrives, or nobody has been connected
    /// for `idle` (`None`: for ever).
    pub fn serve(&mut self, idle: Option<Duration>, signals: &SignalFd) -> Result<()> {
        self.epoll.add(signals.as_fd(), SIGNALS, Ready::READ)?;
        let mut events = [Event::EMPTY; 8];
        let mut alone_since = Instant::now();
        loop {
            let left = idle.filter(|_| self.clients.is_empty());
            let left = left.map(|idle| idle.saturating_sub(alone_since.elapsed()));
            let n = self.epoll.wait(&mut events, left)?;
            if n == 0 && left.is_some_and(|_| idle.is_some_and(|i| alone_since.elapsed() >= i)) {
                return Ok(());
            }
            for event in &events[..n] {
                match event.token {
                    LISTENER => self.accept(),
                    FIFO => self.pass_on()?,
                    SIGNALS => return Ok(()),
                    id => {
                        if self.hear(id) {
                            return Ok(());
                        }
                    }
                }
            }
            if !self.clients.is_empty() {
                alone_since = Instant::now();
            }
        }
    }

    fn accept(&mut self) {
        let Ok(Some(client)) = unix::accept(self.listener.as_fd()) else { return };
        let id = self.next;
        if self.clients.len() < MAX_CLIENTS
            && admits(client.as_fd())
            && self.epoll.add(client.as_fd(), id, Ready::READ).is_ok()
        {
            self.next += 1;
            self.clients.push((id, client));
        }
    }

    /// Passes all complete messages of the fifo on.
    fn pass_on(&mut self) -> Result<()> {
        // Messages are smaller than PIPE_BUF, so each was written at once and comes whole.
        while let Some(message) = read_notice(self.fifo.as_fd())? {
            self.clients.retain(|(_, client)| {
                matches!(unix::send(client.as_fd(), &message, &[], None, Block::DontWait),
                    Ok(n) if n == message.len())
            });
        }
        Ok(())
    }

    /// True if the client wants the daemon to end.
    fn hear(&mut self, id: u64) -> bool {
        let Some(at) = self.clients.iter().position(|(of, _)| *of == id) else { return false };
        let mut word = [0; 4];
        match unix::recv(self.clients[at].1.as_fd(), &mut word, 0, Block::DontWait) {
            Ok(got) if word.get(..got.len) == Some(QUIT) => return true,
            Ok(got) if got.len > 0 => {}
            Err(e) if e.is(errno::EAGAIN) => {}
            _ => drop(self.clients.remove(at)),
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The lock is still held: nobody else has made it meanwhile.
        drop(dirs::unlink(&self.path));
    }
}

/// Makes and locks the fifo; a daemon that ended in between has removed the one that was opened.
fn take_fifo(path: &Path) -> Result<OwnedFd> {
    let flags = OpenFlags::RDWR | OpenFlags::NONBLOCK | OpenFlags::NOFOLLOW;
    loop {
        dirs::make_fifo(path, 0o600)?;
        // Read and write: the end of the last writer is not the end of the file.
        let fifo = fd::open(path, flags, 0)?;
        if !unix::is_fifo(fifo.as_fd())? {
            return Err(SysError::new("open", path.display(), errno::EINVAL));
        }
        lock::lock(fifo.as_fd(), Wait::No)?;
        let there = fd::open(path, flags, 0).and_then(|now| fd::identity(now.as_fd()));
        if there.ok() == fd::identity(fifo.as_fd()).ok() {
            return Ok(fifo);
        }
    }
}

/// As LXC: root and the daemon's own user. Not from inside a container that shares the network.
fn admits(client: BorrowedFd<'_>) -> bool {
    let Ok(peer) = unix::peer_creds(client) else { return false };
    let pids = |pid| unix::namespace_of(pid, "pid").ok();
    let inside = pids(Some(peer.pid)).is_some_and(|theirs| Some(theirs) != pids(None));
    peer.pid != 0 && !inside && (peer.uid == 0 || peer.uid == cred::euid())
}

fn read_notice(from: BorrowedFd<'_>) -> Result<Option<[u8; NOTICE_BYTES]>> {
    let mut message = [0; NOTICE_BYTES];
    match stdstream::read(from, &mut message) {
        Ok(n) if n == message.len() => Ok(Some(message)),
        // Somebody else has written to the fifo: what there is of it is dropped.
        Ok(_) => Ok(None),
        Err(e) if e.is(errno::EAGAIN) => Ok(None),
        Err(e) => Err(e),
    }
}

/// A client of the daemon of one path.
pub struct Observer {
    connection: OwnedFd,
    message: [u8; NOTICE_BYTES],
    have: usize,
}

/// What a client is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// Of this container.
    Notice(String, Notice),
    /// Nothing more for now.
    Nothing,
    /// The daemon has ended.
    End,
}

impl Observer {
    /// Connects. ECONNREFUSED: there is no daemon; EAGAIN: it has not answered until `deadline`;
    /// EPERM: it is somebody's who has no business with the path. Anybody can take an abstract name.
    pub fn connect(lxcpath: &Path, deadline: Instant) -> Result<Self> {
        let connection = unix::connect_abstract(&address::monitor_socket(lxcpath), Some(deadline))?;
        let Creds { uid, pid, .. } = unix::peer_creds(connection.as_fd())?;
        let owns = || -> Result<bool> {
            let dir = fd::open(lxcpath, OpenFlags::PATH, 0)?;
            Ok(path::facts(dir.as_fd())?.uid == uid)
        };
        if uid != 0 && uid != cred::euid() && !owns().unwrap_or(false) {
            let whose = format!("process {pid} of uid {uid}");
            return Err(SysError::new("connect", whose, errno::EPERM));
        }
        Ok(Self { connection, message: [0; NOTICE_BYTES], have: 0 })
    }

    /// The daemon's process, if a signal or a debugger has stopped it: nothing will be heard then.
    pub fn stopped(&self) -> Option<i32> {
        let pid = unix::peer_creds(self.connection.as_fd()).ok()?.pid;
        procfs::run_state(pid).filter(|state| matches!(state, b'T' | b't')).map(|_| pid)
    }

    /// Tells the daemon to end and waits for that until `deadline`.
    pub fn quit(self, deadline: Instant) -> Result<()> {
        unix::send(self.connection.as_fd(), QUIT, &[], None, Block::DontWait)?;
        let mut buffer = [0; NOTICE_BYTES];
        loop {
            let ready = event::poll(self.connection.as_fd(), Ready::READ, Some(deadline))?;
            if !ready.read && !ready.hangup {
                return Err(SysError::new("poll", "lxc-monitord", errno::ETIMEDOUT));
            }
            match unix::recv(self.connection.as_fd(), &mut buffer, 0, Block::DontWait) {
                Ok(got) if got.len > 0 => {}
                Err(e) if e.is(errno::EAGAIN) => {}
                _ => return Ok(()),
            }
        }
    }

    /// The next piece of news, without waiting. Kinds that we do not know are passed over.
    pub fn hear(&mut self) -> Result<Heard> {
        loop {
            let rest = &mut self.message[self.have..];
            match unix::recv(self.connection.as_fd(), rest, 0, Block::DontWait) {
                Ok(got) if got.len == 0 => return Ok(Heard::End),
                Ok(got) => self.have += got.len,
                Err(e) if e.is(errno::EAGAIN) => return Ok(Heard::Nothing),
                Err(e) if e.is(errno::ECONNRESET) => return Ok(Heard::End),
                Err(e) => return Err(e),
            }
            if self.have == NOTICE_BYTES {
                self.have = 0;
                if let Some(notice) = Notice::decode(&self.message) {
                    return Ok(Heard::Notice(Notice::name(&self.message), notice));
                }
            }
        }
    }
}

impl AsFd for Observer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::{State, notify_monitord};
    use super::*;

    #[test]
    fn one_daemon_per_path_passes_on_and_is_gone_after_quit() {
        let dir = tempfile::tempdir().unwrap();
        let lxcpath = dir.path().join("lxc");
        let mut daemon = Daemon::open(dir.path(), &lxcpath).unwrap();
        let second = Daemon::open(dir.path(), &lxcpath).err().unwrap();
        assert!(second.is(errno::EAGAIN), "{second}");
        let soon = Instant::now() + Duration::from_secs(5);
        let mut observer = Observer::connect(&lxcpath, soon).unwrap();
        daemon.accept();
        let fifo = monitor_fifo(dir.path(), &lxcpath);
        for notice in [Notice::State(State::Running), Notice::ExitStatus(256)] {
            notify_monitord(&fifo, "c1", notice).unwrap();
        }
        // Half a message of somebody else's.
        fd::write_once(fd::open(&fifo, OpenFlags::WRONLY, 0).unwrap().as_fd(), b"x").unwrap();
        daemon.pass_on().unwrap();
        let named = |notice| Heard::Notice("c1".into(), notice);
        assert_eq!(observer.hear().unwrap(), named(Notice::State(State::Running)));
        assert_eq!(observer.hear().unwrap(), named(Notice::ExitStatus(256)));
        assert_eq!(observer.hear().unwrap(), Heard::Nothing);
        let signals = SignalFd::new(0).unwrap();
        unix::send(observer.as_fd(), QUIT, &[], None, Block::DontWait).unwrap();
        daemon.serve(None, &signals).unwrap();
        drop(daemon);
        assert!(!fifo.exists());
        assert_eq!(observer.hear().unwrap(), Heard::End);
        assert!(Observer::connect(&lxcpath, soon).err().unwrap().is(errno::ECONNREFUSED));
    }

    #[test]
    fn nobody_there_for_a_while_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = Daemon::open(dir.path(), dir.path()).unwrap();
        let signals = SignalFd::new(0).unwrap();
        daemon.serve(Some(Duration::from_millis(10)), &signals).unwrap();
    }
}
