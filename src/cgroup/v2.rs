//! What the unified hierarchy needs beside a mkdir: controllers enabled down the path, and the
//! files that a container's root must own.

use super::v1::join;
use crate::sys::dir::exists_at;
use crate::sys::errno::EBUSY;
use crate::sys::{Result, SysError, fd};
use std::os::fd::BorrowedFd;

/// Enables every one of `controllers` for the children of the cgroup `path` below `base`.
///
/// # Errors
/// EBUSY, and none is enabled, if it has processes; else the kernel's answer for the first that
/// could not be enabled; the others are.
pub(super) fn delegate(base: BorrowedFd<'_>, path: &str, controllers: &[String]) -> Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let file = join(path, "cgroup.subtree_control");
    let enabled = fd::read_at(base, &file, 4096)?;
    let enabled = String::from_utf8_lossy(&enabled);
    let missing = |c: &&String| !enabled.split_whitespace().any(|e| e == *c);
    let words: Vec<String> = controllers.iter().filter(missing).map(|c| format!("+{c}")).collect();
    if words.is_empty() {
        return Ok(());
    }
    // The kernel refuses memory to a cgroup with processes, and takes cpu and pids for a wish to
    // divide threads: its children are of no use then. The first cgroup of all has no type.
    let crowded = |procs: Vec<u8>| !procs.is_empty();
    if exists_at(base, &join(path, "cgroup.type"))
        && fd::read_at(base, &join(path, "cgroup.procs"), 4096).map_or(true, crowded)
    {
        return Err(SysError::new("write", file, EBUSY));
    }
    if fd::write_at(base, &file, words.join(" ").as_bytes()).is_ok() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_has_processes_passes_nothing_on() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let passed = || std::fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap();
        let base = std::fs::File::open(dir.path()).unwrap();
        let delegate = || delegate(base.as_fd(), "", &["cpu".into(), "pids".into()]);
        put("cgroup.subtree_control", "");
        put("cgroup.procs", "1\n");
        put("cgroup.type", "domain\n");
        assert_eq!(delegate().unwrap_err().errno, EBUSY);
        assert_eq!(passed(), "");
        put("cgroup.procs", "");
        delegate().unwrap();
        assert_eq!(passed(), "+cpu +pids");
        // The first cgroup of all.
        put("cgroup.subtree_control", "");
        put("cgroup.procs", "1\n");
        std::fs::remove_file(dir.path().join("cgroup.type")).unwrap();
        delegate().unwrap();
        assert_eq!(passed(), "+cpu +pids");
    }
}
