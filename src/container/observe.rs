//! What all containers of a path do, as lxc-monitor tells it: a connection to the path's
//! lxc-monitord, which is started when there is none.

use crate::control::monitord::{Daemon, IDLE, Observer};
use crate::sys::event::{self, Ready, SignalFd, signal_bit};
use crate::sys::fd::{self, OpenFlags, Seal};
use crate::sys::process::{self, Fork};
use crate::sys::{SysError, errno, signal, stdstream, title, unix};
use crate::util::blame::Explain;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

pub use crate::control::monitord::Heard;
pub use crate::control::state::Notice;

/// A daemon that listens answers at once; one second is for a stopped one.
const PATIENCE: Duration = Duration::from_secs(1);
/// For a new one on a busy machine.
const STARTING: Duration = Duration::from_secs(10);
/// A daemon may end between its start and the connection, but not for ever.
const TRIES: u32 = 3;

/// Why nothing can be observed.
#[derive(Debug, Error)]
pub enum ObserveError {
    /// It cannot be started.
    #[error("starting lxc-monitord for {}", path.display())]
    Start {
        /// The container path.
        path: PathBuf,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// It has said why it ended.
    #[error("starting lxc-monitord for {}: {text}", path.display())]
    Ended {
        /// The container path.
        path: PathBuf,
        /// Its words.
        text: String,
    },
    /// It runs and cannot be connected to.
    #[error("connecting to lxc-monitord for {}", path.display())]
    Connect {
        /// The container path.
        path: PathBuf,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// It will not answer before it is continued.
    #[error("lxc-monitord for {}, process {pid}, is stopped", path.display())]
    Stopped {
        /// The container path.
        path: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// It does not end.
    #[error("ending lxc-monitord for {}", path.display())]
    Quit {
        /// The container path.
        path: PathBuf,
        /// The failed call.
        #[source]
        cause: SysError,
    },
    /// This process is it, and cannot go on.
    #[error("serving those who observe {}", path.display())]
    Serve {
        /// The container path.
        path: PathBuf,
        /// The failed call.
        #[source]
        cause: SysError,
    },
}

impl Explain for ObserveError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Ended { .. } | Self::Stopped { .. } => None,
            Self::Start { cause, .. }
            | Self::Connect { cause, .. }
            | Self::Quit { cause, .. }
            | Self::Serve { cause, .. } => Some(cause.errno),
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::Stopped { pid, .. } = self {
            return Some(format!("kill -CONT {pid}"));
        }
        let (Self::Connect { cause, .. } | Self::Quit { cause, .. } | Self::Serve { cause, .. }) =
            self
        else {
            return None;
        };
        match (self, cause.errno) {
            (Self::Serve { .. }, errno::EAGAIN | errno::EADDRINUSE) => {
                Some("another lxc-monitord serves this path already".into())
            }
            (_, errno::EAGAIN | errno::ETIMEDOUT) => {
                Some("it is stuck: ps -o pid,stat,args -C lxc-monitord".into())
            }
            (_, errno::ECONNREFUSED) => Some("none is running".into()),
            _ => None,
        }
    }
}

/// Connects to the daemon of `lxcpath`, after starting one if there is none.
pub fn observe(lxcpath: &Path) -> Result<Observer, ObserveError> {
    let path = || lxcpath.to_owned();
    let mut last_words = String::new();
    for _ in 0..TRIES {
        match connect(lxcpath) {
            Err(ObserveError::Connect { cause, .. }) if cause.is(errno::ECONNREFUSED) => {}
            done => return done,
        }
        // What it says matters only if somebody else has not started one meanwhile.
        last_words = start(lxcpath).map_err(|cause| ObserveError::Start { path: path(), cause })?;
    }
    Err(ObserveError::Ended { path: path(), text: last_words })
}

/// Has the daemon of `lxcpath` end. ECONNREFUSED: there is none.
pub fn quit(lxcpath: &Path) -> Result<(), ObserveError> {
    let quit = connect(lxcpath)?.quit(Instant::now() + PATIENCE);
    quit.map_err(|cause| ObserveError::Quit { path: lxcpath.to_owned(), cause })
}

fn connect(lxcpath: &Path) -> Result<Observer, ObserveError> {
    let path = || lxcpath.to_owned();
    let observer = Observer::connect(lxcpath, Instant::now() + PATIENCE)
        .map_err(|cause| ObserveError::Connect { path: path(), cause })?;
    match observer.stopped() {
        Some(pid) => Err(ObserveError::Stopped { path: path(), pid }),
        None => Ok(observer),
    }
}

/// Starts a daemon that nobody has to reap; what it said instead of getting ready.
fn start(lxcpath: &Path) -> Result<String, SysError> {
    let (ours, theirs) = unix::pair(unix::Kind::Stream)?;
    match process::fork()? {
        Fork::Child => {
            let grandchild = process::setsid().and_then(|()| process::fork());
            if let Ok(Fork::Child) = grandchild {
                process::exit_now(daemon(lxcpath, theirs.as_fd()));
            }
            process::exit_now(0)
        }
        Fork::Parent(pid) => {
            drop(theirs);
            process::wait(pid)?;
        }
    }
    let deadline = Instant::now() + STARTING;
    let mut said = Vec::new();
    let mut chunk = [0; 512];
    loop {
        let ready = event::poll(ours.as_fd(), Ready::READ, Some(deadline))?;
        if !ready.read && !ready.hangup {
            return Err(SysError::new("poll", "", errno::ETIMEDOUT));
        }
        match stdstream::read(ours.as_fd(), &mut chunk)? {
            n if n > 0 && said.is_empty() && chunk[0] == READY => return Ok(String::new()),
            0 => return Ok(String::from_utf8_lossy(&said).into_owned()),
            n => said.extend_from_slice(&chunk[..n]),
        }
    }
}

/// What the daemon sends to its starter when clients can connect.
const READY: u8 = b'S';

/// # In the child
/// Never comes back to what the parent was doing.
fn daemon(lxcpath: &Path, ready: BorrowedFd<'_>) -> i32 {
    let prepare = || -> Result<(), SysError> {
        process::chdir(Path::new("/"))?;
        let null = fd::open("/dev/null", OpenFlags::RDWR, 0)?;
        (0..3).try_for_each(|stream| fd::dup_to_stdio(null.as_fd(), stream))?;
        drop(null);
        fd::seal_above(3, &[ready.as_raw_fd()], Seal::Close)?;
        let _ = title::set_title(&format!("lxc-monitord {}", lxcpath.display()));
        title::set_name(c"lxc-monitord");
        Ok(())
    };
    let path = || lxcpath.to_owned();
    let done = prepare()
        .map_err(|cause| ObserveError::Serve { path: path(), cause })
        .and_then(|()| serve(lxcpath, Some(ready), Some(IDLE)));
    match done {
        Ok(()) => 0,
        Err(e) => {
            let _ = fd::write_all(ready, crate::util::sentence::sentence(&e).as_bytes());
            1
        }
    }
}

/// Is the daemon of `lxcpath` until it is told to end, by a client or by SIGTERM, SIGINT, SIGQUIT
/// or SIGHUP, or nobody has been connected for `idle`. `ready` gets one byte when clients can
/// connect; it is not used any more after that.
pub fn serve(
    lxcpath: &Path,
    ready: Option<BorrowedFd<'_>>,
    idle: Option<Duration>,
) -> Result<(), ObserveError> {
    let run = || -> Result<(), SysError> {
        let _mask = signal::block_all()?;
        let set = [1, 2, 3, 15].into_iter().fold(0, |set, signo| set | signal_bit(signo));
        let signals = SignalFd::new(set)?;
        let mut daemon = Daemon::open(&super::run_dir(), lxcpath)?;
        if let Some(ready) = ready {
            match fd::write_all(ready, &[READY]) {
                // The starter did not wait.
                Err(e) if e.is(errno::EPIPE) => {}
                done => done?,
            }
        }
        daemon.serve(idle, &signals)
    };
    run().map_err(|cause| ObserveError::Serve { path: lxcpath.to_owned(), cause })
}
