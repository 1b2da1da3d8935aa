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

/// How long removals may wait, all together: the clock starts with the first that must.
pub(super) struct Patience {
    limit: Duration,
    end: Option<Instant>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, end: None }
    }

    pub(super) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.end.get_or_insert(now + self.limit)
    }
}

/// Removes the cgroup `path` below `base` with everything in it. "Already gone" is success.
///
/// `vacate` is called once if processes are in the way, then their going is waited for.
///
/// # Errors
/// EBUSY when there still are processes after the wait; others of rmdir(2).
pub(super) fn remove(
    base: BorrowedFd<'_>,
    path: &str,
    patience: &mut Patience,
    mut vacate: impl FnMut(),
) -> Result<()> {
    let mut wait = Duration::from_micros(100);
    let mut vacated = false;
    loop {
        let error = match rmdir_at(base, path) {
            Ok(()) => return Ok(()),
            Err(e) if gone(e.errno) => return Ok(()),
            Err(e) if !matches!(e.errno, EBUSY | ENOTEMPTY) => return Err(e),
            Err(e) => e,
        };
        if prune_children(base, path)? && rmdir_at(base, path).is_ok() {
            return Ok(());
        }
        if !std::mem::replace(&mut vacated, true) {
            vacate();
            continue;
        }
        if patience.is_over() {
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

/// The processes in the cgroup `path` below `base` that can be named in our pid namespace.
pub(super) fn listed(base: BorrowedFd<'_>, path: &str) -> Result<Vec<process::Pid>> {
    let text = match fd::read_at(base, &super::v1::join(path, "cgroup.procs"), 1 << 20) {
        Ok(text) => text,
        // A threaded cgroup has no list of its own; its domain's has them.
        Err(e) if gone(e.errno) || e.is(EOPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let text = String::from_utf8_lossy(&text);
    // Others are listed as 0: to signal that would be to signal ourselves.
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect())
}

fn kill_listed(top: BorrowedFd<'_>, below: &str) -> Result<bool> {
    let own = process::own_pid();
    let mut any = false;
    for pid in listed(top, below)?.into_iter().filter(|&pid| pid != 1 && pid != own) {
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
