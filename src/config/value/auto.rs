//! `lxc.mount.auto`: words, one of each group in force.

use super::{Parsed, ValueError};
use crate::config::{
    AutoCgroup, AutoCgroupKind, AutoCgroupMode, AutoProc, AutoSys, MountAuto, ShMounts,
};

const AUTO_WORDS: &str = "proc[:mixed|:rw] sys[:ro|:mixed|:rw] cgroup[:ro|:mixed|:rw][:force] \
    cgroup-full[:ro|:mixed|:rw][:force] cgroup2[:ro|:rw][:force] shmounts:HOST[:CONTAINER]";

/// Applies the words of one `lxc.mount.auto` line; a later word replaces its own group only.
///
/// # Errors
/// A word that is not known; nothing is changed then.
pub fn mount_auto(auto: &mut MountAuto, value: &str) -> Parsed<()> {
    let mut new = auto.clone();
    for word in value.split_ascii_whitespace() {
        auto_word(&mut new, word)
            .ok_or_else(|| ValueError::Word { value: word.to_owned(), words: AUTO_WORDS })?;
    }
    *auto = new;
    Ok(())
}

fn auto_word(auto: &mut MountAuto, word: &str) -> Option<()> {
    let (group, mode) = word.split_once(':').unwrap_or((word, ""));
    match (group, mode) {
        ("proc", "" | "mixed") if word != "proc:" => auto.proc = Some(AutoProc::Mixed),
        ("proc", "rw") => auto.proc = Some(AutoProc::Rw),
        ("sys", "" | "mixed") if word != "sys:" => auto.sys = Some(AutoSys::Mixed),
        ("sys", "ro") => auto.sys = Some(AutoSys::Ro),
        ("sys", "rw") => auto.sys = Some(AutoSys::Rw),
        ("shmounts", dirs) => {
            let (host, container) = dirs.split_once(':').unwrap_or((dirs, "/dev/.lxc-mounts"));
            if host.is_empty() || container.is_empty() {
                return None;
            }
            auto.shmounts = Some(ShMounts { host: host.into(), container: container.into() });
        }
        ("cgroup", _) => auto.cgroup = Some(auto_cgroup(AutoCgroupKind::Own, word)?),
        ("cgroup-full", _) => auto.cgroup = Some(auto_cgroup(AutoCgroupKind::Full, word)?),
        ("cgroup2", _) => auto.cgroup = Some(auto_cgroup(AutoCgroupKind::Unified, word)?),
        _ => return None,
    }
    Some(())
}

fn auto_cgroup(kind: AutoCgroupKind, word: &str) -> Option<AutoCgroup> {
    let mut auto = AutoCgroup { kind, mode: None, force: false };
    for part in word.split(':').skip(1) {
        // Each at most once, the mode before force.
        match part {
            _ if auto.force => return None,
            "force" => auto.force = true,
            _ if auto.mode.is_some() => return None,
            "ro" => auto.mode = Some(AutoCgroupMode::Ro),
            "rw" => auto.mode = Some(AutoCgroupMode::Rw),
            "mixed" if kind != AutoCgroupKind::Unified => auto.mode = Some(AutoCgroupMode::Mixed),
            _ => return None,
        }
    }
    Some(auto)
}

/// The words of `lxc.mount.auto`, one of each group, in LXC's order.
pub fn show_mount_auto(auto: &MountAuto, out: &mut String) {
    let mut word = |parts: &[&str]| {
        if !out.is_empty() {
            out.push(' ');
        }
        parts.iter().for_each(|p| out.push_str(p));
    };
    match auto.proc {
        Some(AutoProc::Mixed) => word(&["proc:mixed"]),
        Some(AutoProc::Rw) => word(&["proc:rw"]),
        None => {}
    }
    match auto.sys {
        Some(AutoSys::Ro) => word(&["sys:ro"]),
        Some(AutoSys::Mixed) => word(&["sys:mixed"]),
        Some(AutoSys::Rw) => word(&["sys:rw"]),
        None => {}
    }
    if let Some(cgroup) = auto.cgroup {
        let kind = match cgroup.kind {
            AutoCgroupKind::Own => "cgroup",
            AutoCgroupKind::Full => "cgroup-full",
            AutoCgroupKind::Unified => "cgroup2",
        };
        let mode = match cgroup.mode {
            None => "",
            Some(AutoCgroupMode::Ro) => ":ro",
            Some(AutoCgroupMode::Mixed) => ":mixed",
            Some(AutoCgroupMode::Rw) => ":rw",
        };
        word(&[kind, mode, if cgroup.force { ":force" } else { "" }]);
    }
    if let Some(shared) = &auto.shmounts {
        let (host, container) = (shared.host.to_string_lossy(), shared.container.to_string_lossy());
        word(&["shmounts:", &host, ":", &container]);
    }
}
