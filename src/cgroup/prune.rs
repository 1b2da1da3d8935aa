//! Taking a cgroup away: its processes killed, the cgroups that the container made within it
//! removed from the leaves up.
//!
//! What is below a payload was named by the container: any depth, any number, and it may still
//! be changing. Every wait is bounded.

use crate::sys::dir::{self, list_at, open_path_at, pause, rmdir_at};
use crate::sys::errno::{EBUSY, EINVAL, ENODEV, ENOENT, ENOTEMPTY, EOPNOTSUPP, ESRCH};
use crate::sys::{Result, SysError, fd, process};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long processes may take to die of SIGKILL before the cgroup is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Removes the cgroup `path` below `base` with everything in it. "Already gone" is success.
///
/// Processes that are still there are killed: `kill` is called then, once, before the next try.
///
/// # Errors
/// EBUSY when processes outlived SIGKILL and the wait; others of rmdir(2).
pub(super) fn remove(base: BorrowedFd<'_>, path: &str, mut kill: impl FnMut()) -> Result<()> {
    let mut deadline = None;
    let mut wait = Duration::from_micros(100);
    loop {
        let error = match rmdir_at(base, path) {
            Ok(()) => return Ok(()),
            Err(e) if gone(e.errno) => return Ok(()),
            Err(e) if !matches!(e.errno, EBUSY | ENOTEMPTY) => return Err(e),
            Err(e) => e,
        };
        let removed_some = prune_children(base, path)?;
        if removed_some && rmdir_at(base, path).is_ok() {
            return Ok(());
        }
        // A process that has just exited is counted a little longer: kill only what is listed.
        let end = *deadline.get_or_insert_with(|| {
            kill();
            Instant::now() + PATIENCE
        });
        if Instant::now() >= end {
            return Err(error);
        }
        pause(wait);
        wait = (wait * 2).min(Duration::from_millis(20));
    }
}

fn gone(errno: i32) -> bool {
    matches!(errno, ENOENT | ENODEV)
}

/// Removes what it can of the cgroups below `path`, without recursion and with two descriptors,
/// however deep they are. True if any was removed.
fn prune_children(base: BorrowedFd<'_>, path: &str) -> Result<bool> {
    let mut here = match open_path_at(base, path) {
        Ok(fd) => fd,
        Err(e) if gone(e.errno) => return Ok(false),
        Err(e) => return Err(e),
    };
    let mut removed = false;
    // Children still to visit at each level; the last of a list is the one that `here` is within.
    let mut levels = vec![list_at(here.as_fd(), true)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.last() {
            match rmdir_at(here.as_fd(), name) {
                Ok(()) => removed = true,
                Err(e) if gone(e.errno) => {}
                Err(e) if matches!(e.errno, EBUSY | ENOTEMPTY) => {
                    if let Some((child, names)) = descend(here.as_fd(), name) {
                        here = child;
                        levels.push(names);
                        continue;
                    }
                }
                Err(e) => return Err(e),
            }
            level.pop();
            continue;
        }
        levels.pop();
        // Back in the parent: one more try for the child that has been emptied.
        let Some(name) = levels.last_mut().and_then(Vec::pop) else { break };
        match open_path_at(here.as_fd(), "..") {
            Ok(parent) => here = parent,
            Err(e) if gone(e.errno) => break,
            Err(e) => return Err(e),
        }
        removed |= rmdir_at(here.as_fd(), &name).is_ok();
    }
    Ok(removed)
}

/// The child and its children, if it has any.
fn descend(here: BorrowedFd<'_>, name: &str) -> Option<(OwnedFd, Vec<String>)> {
    let child = open_path_at(here, name).ok()?;
    let names = list_at(child.as_fd(), true).ok()?;
    (!names.is_empty()).then_some((child, names))
}

/// Sends SIGKILL to every process in the cgroup `path` below `base` and below it: once, without
/// waiting. True if there was one.
pub(super) fn kill(base: BorrowedFd<'_>, path: &str, unified: bool) -> Result<bool> {
    let top = match open_path_at(base, path) {
        Ok(top) => top,
        Err(e) if gone(e.errno) => return Ok(false),
        Err(e) => return Err(e),
    };
    if unified {
        match fd::write_at(top.as_fd(), "cgroup.kill", b"1") {
            Ok(()) => return Ok(true),
            // FALLBACK(<5.14): no cgroup.kill.
            Err(e) if matches!(e.errno, ENOENT | EOPNOTSUPP | EINVAL) => {}
            Err(e) => return Err(e),
        }
    }
    let mut any = false;
    let mut todo = vec![String::new()];
    // Forks while the list is read are caught by reading it again, a few times.
    let mut rounds = 0;
    while rounds < 5 {
        let mut found = false;
        while let Some(below) = todo.pop() {
            found |= kill_listed(top.as_fd(), &below)?;
            let Ok(dir) = open_below(&top, &below) else { continue };
            for name in list_at(dir.as_fd(), true).unwrap_or_default() {
                let child = super::v1::join(&below, &name);
                // Longer paths cannot be opened in one step; the rmdir that follows reports them.
                if child.len() < 4000 {
                    todo.push(child);
                }
            }
        }
        if !found {
            break;
        }
        any = true;
        rounds += 1;
        todo.push(String::new());
    }
    Ok(any)
}

fn open_below(top: &OwnedFd, below: &str) -> Result<OwnedFd> {
    if below.is_empty() { dir::duplicate(top) } else { open_path_at(top.as_fd(), below) }
}

fn kill_listed(top: BorrowedFd<'_>, below: &str) -> Result<bool> {
    let text = match fd::read_at(top, &super::v1::join(below, "cgroup.procs"), 1 << 20) {
        Ok(text) => text,
        // A threaded cgroup has no list of its own; its domain's has them.
        Err(e) if gone(e.errno) || e.is(EOPNOTSUPP) => return Ok(false),
        Err(e) => return Err(e),
    };
    let own = process::own_pid();
    let mut any = false;
    for pid in String::from_utf8_lossy(&text).lines().filter_map(|l| l.parse::<i32>().ok()) {
        // 0 is a process that our pid namespace cannot name: killing 0 would be killing ourselves.
        if pid <= 1 || pid == own {
            continue;
        }
        any = true;
        match process::kill(pid, SIGKILL) {
            Ok(()) => {}
            Err(e) if e.is(ESRCH) => {}
            Err(e) => return Err(SysError::new(e.call, pid, e.errno)),
        }
    }
    Ok(any)
}

const SIGKILL: i32 = 9;
