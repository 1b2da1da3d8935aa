//! What the unified hierarchy needs beside a mkdir: controllers enabled down the path, and the
//! files that a container's root must own.

use super::v1::join;
use crate::sys::{Result, SysError, fd};
use std::os::fd::BorrowedFd;

/// Enables every one of `controllers` for the children of the cgroup `path` below `base`.
///
/// # Errors
/// The kernel's answer for the first that could not be enabled; the others are.
pub(super) fn delegate(base: BorrowedFd<'_>, path: &str, controllers: &[String]) -> Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let file = join(path, "cgroup.subtree_control");
    let enabled = fd::read_at(base, &file, 4096)?;
    let enabled = String::from_utf8_lossy(&enabled);
    let missing = |c: &&String| !enabled.split_whitespace().any(|e| e == *c);
    let words: Vec<String> = controllers.iter().filter(missing).map(|c| format!("+{c}")).collect();
    if words.is_empty() || fd::write_at(base, &file, words.join(" ").as_bytes()).is_ok() {
        return Ok(());
    }
    // One line is all or nothing: one refused controller (cpu beside real-time tasks) must not
    // cost the others.
    let mut refused: Option<SysError> = None;
    for word in words {
        if let Err(e) = fd::write_at(base, &file, word.as_bytes()) {
            refused.get_or_insert(e);
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The files besides the directory that a delegate owns; the kernel's own list where it has one.
pub(super) fn delegated_files() -> Vec<String> {
    // FALLBACK(<4.15): no list; these three are what systemd names.
    match fd::read_to_string("/sys/kernel/cgroup/delegate") {
        Ok(text) => text.lines().map(str::to_owned).filter(|l| !l.contains('/')).collect(),
        Err(_) => {
            ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"].map(str::to_owned).into()
        }
    }
}
