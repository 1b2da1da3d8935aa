//! The keys of LXC 1 and 2, still in the world's files. Each leads to the key of today; the
//! document warns with the new spelling.

use super::{Found, Row, find_current, table};
use crate::config::Config;
use crate::config::value::ValueError;

/// A key that was renamed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldName {
    /// As files have it. One that ends in `.` begins a family.
    pub old: &'static str,
    /// Today's key, or `None` if the key has no effect any more.
    pub new: Option<&'static str>,
}

const fn renamed(old: &'static str, new: &'static str) -> OldName {
    OldName { old, new: Some(new) }
}

/// All of them but `lxc.network.*`, which `find` translates by its parts. What
/// lxc-update-config knows, and LXC 1's own earlier spellings.
pub static OLD_NAMES: &[OldName] = &[
    renamed("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    renamed("lxc.aa_profile", "lxc.apparmor.profile"),
    renamed("lxc.console", "lxc.console.path"),
    renamed("lxc.console.buffer.logfile", "lxc.console.logfile"),
    renamed("lxc.devttydir", "lxc.tty.dir"),
    renamed("lxc.haltsignal", "lxc.signal.halt"),
    renamed("lxc.id_map", "lxc.idmap"),
    renamed("lxc.init_cmd", "lxc.init.cmd"),
    renamed("lxc.init_gid", "lxc.init.gid"),
    renamed("lxc.init_uid", "lxc.init.uid"),
    renamed("lxc.limit", "lxc.prlimit"),
    renamed("lxc.limit.", "lxc.prlimit."),
    renamed("lxc.logfile", "lxc.log.file"),
    renamed("lxc.loglevel", "lxc.log.level"),
    renamed("lxc.mount", "lxc.mount.fstab"),
    renamed("lxc.network", "lxc.net"),
    renamed("lxc.pts", "lxc.pty.max"),
    renamed("lxc.rebootsignal", "lxc.signal.reboot"),
    renamed("lxc.rootfs", "lxc.rootfs.path"),
    renamed("lxc.rootfs.backend", "lxc.rootfs.path"),
    renamed("lxc.se_context", "lxc.selinux.context"),
    renamed("lxc.seccomp", "lxc.seccomp.profile"),
    renamed("lxc.stopsignal", "lxc.signal.stop"),
    renamed("lxc.syslog", "lxc.log.syslog"),
    renamed("lxc.tty", "lxc.tty.max"),
    renamed("lxc.utsname", "lxc.uts.name"),
    OldName { old: "lxc.kmsg", new: None },
    OldName { old: "lxc.pivotdir", new: None },
];

/// Finds a key of LXC 1 or 2; as [`super::find`].
pub(super) fn find(config: &Config, name: &str) -> Result<Found, Option<ValueError>> {
    let current = |name: &str| {
        let found = find_current(name).ok_or(None)?;
        Ok(Found { old: true, ..found })
    };
    if name == table::ROOTFS_BACKEND.name {
        return Ok(single(name, false));
    }
    match today(name, config.net.keys().next_back().copied())? {
        Some(new) => current(&new),
        None => Ok(single(name, true)),
    }
}

/// Today's name of an old key, `None` for one without any effect any more; `last` is the number
/// of the last network so far.
///
/// # Errors
/// As [`super::find`].
pub(crate) fn today(name: &str, last: Option<u32>) -> Result<Option<String>, Option<ValueError>> {
    if let Some(rest) = name.strip_prefix("lxc.network.") {
        return network(last, rest).map(Some);
    }
    for old in OLD_NAMES {
        let rest = match name.strip_prefix(old.old) {
            Some("") => "",
            Some(rest) if old.old.ends_with('.') => rest,
            _ => continue,
        };
        return Ok(old.new.map(|new| format!("{new}{rest}")));
    }
    Err(None)
}

/// The storage type, or a key that does nothing any more.
fn single(name: &str, ignored: bool) -> Found {
    Found {
        row: Row::Container(&table::ROOTFS_BACKEND),
        canonical: name.to_owned(),
        suffix: name.len(),
        old: true,
        ignored,
    }
}

/// `lxc.net.N.KEY` for what follows `lxc.network.`.
///
/// Without a number, `type` begins a new network after the last one and the other keys belong
/// to the last one.
fn network(last: Option<u32>, rest: &str) -> Result<String, Option<ValueError>> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, key) = match rest.split_at(digits) {
        ("", "type") => (last.map_or(Some(0), |n| n.checked_add(1)).ok_or(None)?, "type"),
        ("", key) => (last.ok_or(Some(ValueError::NoNetwork))?, key),
        (number, "") => (number.parse().map_err(|_| None)?, ""),
        (number, key) => (number.parse().map_err(|_| None)?, key.strip_prefix('.').ok_or(None)?),
    };
    Ok(match key {
        "" => format!("lxc.net.{number}"),
        "ipv4" | "ipv6" => format!("lxc.net.{number}.{key}.address"),
        key => format!("lxc.net.{number}.{key}"),
    })
}
