//! What a caller of attach asks for, and the two lists of words that lxc-attach takes. Pure.

use crate::config::NsKind;
use crate::ns::NsSet;
use crate::sys::prctl::Personality;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

/// What is to run in a container, and how confined. `Default` is a login shell as root with
/// everything that confines the container's init.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Program and arguments; empty is the login shell of the user.
    pub command: Vec<OsString>,
    /// User id in the container; `None` is 0.
    pub uid: Option<u32>,
    /// Group id in the container; `None` is 0.
    pub gid: Option<u32>,
    /// Only these namespaces; `None` is all that the container does not share with the caller.
    pub namespaces: Option<NsSet>,
    /// Which restrictions are left off.
    pub elevated: Elevated,
    /// Without the container's mount namespace: a private one with fresh /proc and /sys.
    pub remount: bool,
    /// Instead of the container's.
    pub personality: Option<Personality>,
    /// The environment.
    pub environment: EnvRules,
    /// A SELinux context or AppArmor profile instead of the container's.
    pub label: Option<String>,
    /// Where to keep what the terminal shows.
    pub pty_log: Option<PathBuf>,
    /// When a command without a terminal is killed, with its process group.
    pub deadline: Option<Instant>,
}

/// Restrictions of the container that the attached process does not get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elevated {
    /// Keep the caller's capabilities.
    pub caps: bool,
    /// Stay in the caller's cgroups.
    pub cgroup: bool,
    /// No label and, as in LXC, no seccomp policy.
    pub lsm: bool,
}

impl Elevated {
    /// All three.
    pub const ALL: Self = Self { caps: true, cgroup: true, lsm: true };

    /// `CAP|CGROUP|LSM` in any order and case (`lxc_fill_elevated_privileges`); `Err` is the word
    /// that is none of them.
    pub fn parse(text: &str) -> Result<Self, &str> {
        let mut out = Self::default();
        for word in text.split('|').map(str::trim) {
            match word.to_ascii_uppercase().as_str() {
                "CAP" => out.caps = true,
                "CGROUP" => out.cgroup = true,
                "LSM" => out.lsm = true,
                _ => return Err(word),
            }
        }
        Ok(out)
    }
}

/// `MOUNT|PID|UTSNAME|IPC|USER|NETWORK`, or the kernel's names, in any case
/// (`lxc_fill_namespace_flags`); `Err` is the word that is none of them.
pub fn parse_namespaces(text: &str) -> Result<NsSet, &str> {
    text.split('|').map(str::trim).try_fold(NsSet::EMPTY, |set, word| {
        let kind = match word.to_ascii_uppercase().as_str() {
            "MOUNT" => Some(NsKind::Mnt),
            "UTSNAME" => Some(NsKind::Uts),
            "NETWORK" => Some(NsKind::Net),
            _ => NsKind::parse(word),
        };
        kind.map(|kind| set.with(kind)).ok_or(word)
    })
}

/// A user or group id as typed: decimal digits and nothing else, so that no typing error becomes
/// root (CVE-2026-30892). 4294967295 is no id.
pub fn parse_id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|&id| id != u32::MAX)
}

/// Where the variables come from. `container=lxc`, `lxc.environment` and
/// `lxc.environment.runtime` are always set.
#[derive(Clone, Debug, Default)]
pub struct EnvRules {
    /// Start from nothing instead of from the caller's.
    pub clear: bool,
    /// With `clear`: what stays of the caller's.
    pub keep: Vec<OsString>,
    /// Set last.
    pub set: Vec<(OsString, OsString)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elevated_words() {
        assert_eq!(Elevated::parse("CAP|CGROUP|LSM"), Ok(Elevated::ALL));
        assert_eq!(Elevated::parse("cap"), Ok(Elevated { caps: true, ..Elevated::default() }));
        assert_eq!(Elevated::parse("CAP|X"), Err("X"));
        assert_eq!(Elevated::parse(""), Err(""));
    }

    #[test]
    fn namespace_words() {
        let set = parse_namespaces("MOUNT|PID|UTSNAME|IPC|USER|NETWORK").unwrap();
        assert_eq!(set.to_string(), "user mnt pid uts ipc net");
        assert_eq!(parse_namespaces("mnt|cgroup|TIME").unwrap().to_string(), "mnt cgroup time");
        assert_eq!(parse_namespaces("MOUNT|"), Err(""));
        assert_eq!(parse_namespaces("NET WORK"), Err("NET WORK"));
    }

    #[test]
    fn an_id_is_exact_or_refused() {
        assert_eq!(parse_id("0"), Some(0));
        assert_eq!(parse_id("4294967294"), Some(4_294_967_294));
        let bad = [
            "",
            "0x0",
            "+0",
            "-0",
            "-1",
            "1000:",
            "1000:1000",
            " 0",
            "0 ",
            "00",
            "01",
            "root",
            "4294967295",
            "4294967296",
            "99999999999999999999",
            "1e3",
            "١",
        ];
        for text in bad {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
