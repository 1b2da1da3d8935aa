//! A process that answers for everything it started: orphans come back to it and can be ended.

use super::process::{self, Pid, Wait};
use super::{At, Result, procfs};
use std::time::{Duration, Instant};

/// From here on descendants whose parent ends become children of this process (prctl(2)).
pub fn become_subreaper() -> Result<()> {
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).at("prctl", || "PR_SET_CHILD_SUBREAPER")
}

/// Gives that up again.
pub fn cease() -> Result<()> {
    rustix::process::set_child_subreaper(None).at("prctl", || "PR_SET_CHILD_SUBREAPER")
}

/// Ends and reaps every child of this process, and what becomes its child by that, until none is
/// left or five seconds have passed.
pub fn end_all(signal: i32) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut signal = signal;
    loop {
        for pid in children() {
            // It may be gone already.
            let _ = process::kill(pid, signal);
            let _ = process::kill(pid, CONTINUE);
        }
        let round = Instant::now() + Duration::from_millis(500);
        while Instant::now() < round {
            match process::reap_any() {
                Ok(Some(_)) => continue,
                _ if !super::pid1::has_children().unwrap_or(false) => return,
                _ => super::event::sleep(Duration::from_millis(5)),
            }
        }
        if Instant::now() >= deadline {
            return;
        }
        signal = KILL;
    }
}

const KILL: i32 = 9;
const CONTINUE: i32 = 18;

/// The children of this process, found by their parent's number in /proc.
fn children() -> Vec<Pid> {
    let own = process::own_pid().to_string();
    let Ok(names) = super::dirs::names(std::path::Path::new("/proc")) else { return Vec::new() };
    let pids = names.iter().filter_map(|name| name.to_str()?.parse::<Pid>().ok());
    pids.filter(|pid| {
        let status = procfs::status(*pid).unwrap_or_default();
        procfs::status_field(&status, "PPid") == Some(&own)
    })
    .collect()
}

/// Waits for one child among others, without stopping for the others.
pub fn ended(pid: Pid) -> Result<Option<Wait>> {
    match process::try_wait(pid)? {
        Wait::Running => Ok(None),
        how => Ok(Some(how)),
    }
}
