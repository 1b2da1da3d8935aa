//! Who is to blame for a refusal: the kernel says EPERM for a dozen reasons, and the files of
//! /proc/sys and the process's own state tell which.

use super::host::Host;
use super::{State, Verdict};
use crate::sys::{SysError, errno, procfs};

/// What refuses calls in the kernel's place.
pub(super) const FILTER: &str = "a seccomp filter of this process";

/// A limit of namespaces below this was lowered by somebody.
const FEW: u64 = 100;

/// What kept a user namespace from being made or used by `uid`.
pub(super) fn of_user_namespace(host: &Host, uid: u32, error: &SysError) -> Verdict {
    let is = |path: &str, value: u64| host.number(path) == Some(value);
    const LIMIT: &str = "proc/sys/user/max_user_namespaces";
    const CLONE: &str = "proc/sys/kernel/unprivileged_userns_clone";
    const APPARMOR: &str = "proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let blocked = |by: &str, mend: &str| Verdict::blocked(by, mend);
    match error.errno {
        // EUSERS until 4.8.
        errno::ENOSPC | errno::EUSERS => match host.number(LIMIT) {
            Some(n) if n < FEW => Verdict::blocked(
                format!("user.max_user_namespaces = {n}"),
                keep("user.max_user_namespaces=15000"),
            ),
            _ => blocked("user namespaces nested too deep, or all of the user's in use", ""),
        },
        errno::EINVAL => Verdict::absent("built without CONFIG_USER_NS"),
        _ if uid != 0 && is(CLONE, 0) => blocked(
            "kernel.unprivileged_userns_clone = 0",
            &keep("kernel.unprivileged_userns_clone=1"),
        ),
        _ if uid != 0 && is(APPARMOR, 1) => blocked(
            "AppArmor: kernel.apparmor_restrict_unprivileged_userns = 1",
            &keep("kernel.apparmor_restrict_unprivileged_userns=0"),
        ),
        // What security modules answer; the kernel itself and filters say EPERM.
        errno::EACCES if label(host).is_some() => {
            Verdict::blocked(label(host).unwrap_or_default(), "")
        }
        _ if is_filtered(host) => blocked(FILTER, ""),
        _ if is_in_chroot(host) => blocked("a chroot: from one no user namespace can be made", ""),
        _ => Verdict::new(State::Blocked, error.to_string()),
    }
}

/// The security module's profile of this process, if that is one which may refuse anything.
fn label(host: &Host) -> Option<String> {
    let (module, text) = match host.read("proc/self/attr/apparmor/current") {
        Some(text) => ("AppArmor: profile ", text),
        None if host.read("sys/fs/selinux/enforce").is_some() => {
            ("SELinux: ", host.read("proc/self/attr/current")?)
        }
        None => ("AppArmor: profile ", host.read("proc/self/attr/current")?),
    };
    let name = text.trim_end_matches(['\0', '\n']);
    (!name.is_empty() && name != "unconfined").then(|| format!("{module}{name}"))
}

/// A command that sets a sysctl now and at every boot.
pub(super) fn keep(setting: &str) -> String {
    format!("echo {setting} >>/etc/sysctl.d/60-lxc.conf && sysctl -p /etc/sysctl.d/60-lxc.conf")
}

/// Which limit an ENOSPC comes from: that of namespaces which somebody has lowered.
pub(super) fn of_limit(host: &Host, text: &str) -> Verdict {
    for kind in ["mnt", "uts", "ipc", "pid", "net", "cgroup", "time"] {
        let name = format!("max_{kind}_namespaces");
        if host.number(&format!("proc/sys/user/{name}")).is_some_and(|limit| limit < FEW) {
            let by = format!("a low limit user.{name}: {text}");
            return Verdict::blocked(by, keep(&format!("user.{name}=15000")));
        }
    }
    Verdict::blocked(format!("a limit of the kernel: {text}"), "")
}

/// What keeps root from doing what root may.
pub(super) fn of_root(host: &Host, text: &str) -> Verdict {
    match confined(host) {
        Some(by) => Verdict::blocked(by, "").with(text),
        None => Verdict::new(State::Blocked, text),
    }
}

impl Verdict {
    fn with(mut self, text: &str) -> Self {
        self.detail = format!("{} ({text})", self.detail);
        self
    }
}

fn own_status(host: &Host, field: &str) -> Option<String> {
    let status = host.read("proc/self/status")?;
    procfs::status_field(&status, field).map(str::to_owned)
}

/// True if a seccomp filter judges this process's calls.
pub(super) fn is_filtered(host: &Host) -> bool {
    own_status(host, "Seccomp").is_some_and(|mode| mode == "2")
}

/// Without a parent directory's mount the root directory is no mount's root: a chroot. The mount
/// table then has no line for `/`.
fn is_in_chroot(host: &Host) -> bool {
    !host.mountinfo.is_empty()
        && !host.mountinfo.lines().any(|line| line.split(' ').nth(4) == Some("/"))
}

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_NET_ADMIN: u64 = 1 << 12;

fn confined(host: &Host) -> Option<&'static str> {
    let caps = own_status(host, "CapEff").and_then(|text| u64::from_str_radix(&text, 16).ok());
    match caps {
        Some(caps) if caps & CAP_SYS_ADMIN == 0 => Some("the lack of CAP_SYS_ADMIN"),
        Some(caps) if caps & CAP_NET_ADMIN == 0 => Some("the lack of CAP_NET_ADMIN"),
        _ if is_filtered(host) => Some(FILTER),
        _ if is_in_user_namespace(host) => Some("the user namespace that this root is in"),
        _ => None,
    }
}

fn is_in_user_namespace(host: &Host) -> bool {
    let map = host.read("proc/self/uid_map").unwrap_or_default();
    let all: Vec<&str> = map.split_whitespace().collect();
    !all.is_empty() && all != ["0", "0", "4294967295"]
}

/// Whether what was found out is about the machine or about the box that we are in.
pub(super) fn confinement(host: &Host) -> Verdict {
    let boxed = match host.euid {
        0 => confined(host),
        _ if is_filtered(host) => Some(FILTER),
        _ if is_in_user_namespace(host) => Some("a user namespace"),
        _ => None,
    };
    match boxed {
        Some(by) => Verdict::new(State::Blocked, by),
        None => Verdict::works(""),
    }
}
