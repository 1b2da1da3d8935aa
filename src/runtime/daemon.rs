//! From the tool that starts a container to the process that supervises it: fork, session,
//! pidfile, and the one answer that the starter waits for.
//!
//! In foreground mode the starter itself is the supervisor.

use super::sync::{self, During, End, Failure, Message, Step};
use crate::cgroup::Placed;
use crate::sys::error::SysError;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Cloned, Parent, Wait};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Who supervises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A process of its own in the background.
    Daemon,
    /// The caller, with the console on its terminal.
    Foreground,
}

/// What became of the daemon, for the starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It supervises the container.
    Lives,
    /// It gave up and undid everything.
    Undone,
    /// It was killed in the middle of it.
    Killed,
}

/// Runs `supervise` on `what` in this process, or in a daemon whose start it waits for. `release`
/// drops the starter's hold on what is the daemon's then. If the daemon is killed meanwhile, `after`
/// is told to remove what it left behind. `cgroup` is where the daemon is made, if the kernel can.
///
/// `supervise` gets the end on which it reports RUNNING (none in foreground mode) and returns
/// what became of the container. In daemon mode the answer is `Ok(None)` once the container runs.
///
/// # Errors
/// The failure of the start, after everything has been undone and the daemon is gone.
pub fn launch<W, L, T>(
    mode: Mode,
    what: W,
    cgroup: Option<OwnedFd>,
    supervise: impl FnOnce(W, Option<End>, Placed) -> Result<T, Failure>,
    release: impl FnOnce(W) -> L,
    after: impl FnOnce(L, Fate),
) -> Result<Option<T>, Failure> {
    if mode == Mode::Foreground {
        return supervise(what, None, Placed::Later).map(Some);
    }
    let (ours, theirs) = sync::pair().during(Step::Monitor)?;
    let mut placed = false;
    let into = cgroup.as_ref().map(AsFd::as_fd);
    match process::clone3(0, Parent::Caller, into, &mut placed).during(Step::Monitor)? {
        Cloned::Child => {
            drop(ours);
            let placed = if placed { Placed::InUnified } else { Placed::Nowhere };
            let code = daemon(theirs, |report| supervise(what, report, placed));
            process::exit_now(code)
        }
        Cloned::Parent { pid, .. } => {
            drop(theirs);
            let what = release(what);
            let answer = ours.receive().during(Step::Monitor)?;
            match answer {
                Some(Message::Reached(Step::Running)) => {
                    after(what, Fate::Lives);
                    Ok(None)
                }
                Some(Message::Failed(failure)) => {
                    // The daemon undid everything before it spoke; its end is the last leftover.
                    let _ = process::wait(pid);
                    after(what, Fate::Undone);
                    Err(failure)
                }
                _ => {
                    let end = process::wait(pid);
                    after(what, Fate::Killed);
                    Err(how_it_died(end))
                }
            }
        }
    }
}

fn how_it_died(end: Result<Wait, SysError>) -> Failure {
    let text = match end {
        Ok(Wait::Signaled(signal)) => {
            format!("the monitor was killed by {}", crate::util::signames::Signal(signal))
        }
        Ok(Wait::Exited(code)) => format!("the monitor ended with status {code} without a word"),
        Ok(Wait::Running) | Err(_) => "the monitor is gone".to_string(),
    };
    Failure::text(Step::Monitor, text)
}

/// The daemon's life: a session of its own, the root directory, no streams of the starter's.
fn daemon<T>(report: End, supervise: impl FnOnce(Option<End>) -> Result<T, Failure>) -> i32 {
    let prepare = || -> Result<(), SysError> {
        process::setsid()?;
        process::chdir(Path::new("/"))?;
        let null = fd::open("/dev/null", OpenFlags::RDWR, 0)?;
        for stream in 0..3 {
            fd::dup_to_stdio(null.as_fd(), stream)?;
        }
        Ok(())
    };
    if let Err(e) = prepare() {
        report.fail(&Failure::new(Step::Monitor, &e));
        return 1;
    }
    // Failures are told through `report` by the supervisor, which still has it.
    match supervise(Some(report)) {
        Ok(_) => 0,
        Err(_) => 1,
    }
}

/// The file of `lxc-start -p`: the supervisor's number, removed at the end.
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, 0600, without a newline as LXC does.
    pub fn write(path: &Path) -> Result<Self, SysError> {
        let flags = OpenFlags::WRONLY | OpenFlags::CREATE | OpenFlags::TRUNC | OpenFlags::NOFOLLOW;
        let file = fd::open(path, flags, 0o600)?;
        fd::write_all(file.as_fd(), process::own_pid().to_string().as_bytes())?;
        Ok(Self(path.to_path_buf()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; that is not our failure.
        let _ = std::fs::remove_file(&self.0);
    }
}
