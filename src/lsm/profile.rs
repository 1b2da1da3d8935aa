//! The text of a generated AppArmor profile (`lxc.apparmor.profile = generated`).
//!
//! A container may do everything inside its own namespaces. The profile takes away the few things
//! that reach the host although they look like the container's: kernel settings under /proc and
//! /sys, and mounts that would show those again elsewhere. In a container with an id map the
//! kernel itself refuses all of that, so its profile only marks the processes. Pure.

use crate::util::sorted::set;
use std::fmt::Write as _;

/// What a profile is generated for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `lxc.apparmor.allow_nesting`.
    pub nesting: bool,
    /// The container has an id map.
    pub unprivileged: bool,
    /// The kernel mediates user namespaces.
    pub userns: bool,
    /// `lxc.apparmor.raw`.
    pub raw: Vec<String>,
}

/// Settings below /proc/sys that belong to the container's own namespaces.
const OWN_SYSCTLS: [&str; 7] = [
    "fs/mqueue/",
    "kernel/domainname",
    "kernel/hostname",
    "kernel/msg",
    "kernel/sem",
    "kernel/shm",
    "net/",
];

/// What may be written below /sys: cgroups and the container's own network devices.
const OWN_SYS: [&str; 3] = ["class/net/", "devices/virtual/net/", "fs/cgroup/"];

/// The profile of that name. `namespace` is the policy namespace whose profiles it may enter.
pub fn text(name: &str, namespace: Option<&str>, wanted: &Wanted) -> String {
    let mut out = String::with_capacity(16 << 10);
    let _ = writeln!(out, "# Generated at each start; changes are lost.");
    let _ = writeln!(out, "profile \"{name}\" flags=(attach_disconnected,mediate_deleted) {{");
    rules(
        &mut out,
        &["file", "network", "capability", "dbus", "unix", "umount", "pivot_root"],
        "everything is allowed that is not taken away below",
    );
    // The host may signal and trace what is inside, never the other way round.
    let own: Vec<String> = match namespace {
        Some(namespace) => {
            let stacked = format!("\"{name}//&:{namespace}:*\"");
            vec![format!("\"{name}\""), stacked, format!("\":{namespace}:*\"")]
        }
        None => vec![format!("\"{name}\"")],
    };
    rules(&mut out, &["signal (receive)", "ptrace (readby, tracedby)"], "what others do to it");
    for peer in &own {
        let _ = writeln!(out, "  signal peer={peer},\n  ptrace peer={peer},");
    }
    if let Some(namespace) = namespace {
        let _ = writeln!(out, "  change_profile -> \":{namespace}:*\",");
        let _ = writeln!(out, "  change_profile -> \":{namespace}://*\",");
    }
    if wanted.userns {
        rules(&mut out, &["userns", "mqueue", "io_uring"], "mediated since AppArmor 4");
    }
    if wanted.unprivileged || wanted.nesting {
        rules(&mut out, &["mount"], "mounts are the user namespace's business, or nesting's");
    } else {
        mounts(&mut out);
    }
    if !wanted.unprivileged {
        host_files(&mut out, wanted.nesting);
    }
    if !wanted.raw.is_empty() {
        let _ = writeln!(out, "\n  # lxc.apparmor.raw");
        for line in &wanted.raw {
            let _ = writeln!(out, "  {line}");
        }
    }
    out.push_str("}\n");
    out
}

fn rules(out: &mut String, rules: &[&str], why: &str) {
    let _ = writeln!(out, "\n  # {why}");
    for rule in rules {
        let _ = writeln!(out, "  {rule},");
    }
}

/// Privileged and without nesting: /proc and /sys are shown nowhere else, for the rules of
/// [`host_files`] go by path.
///
/// Denials on top of `mount`, not a list of what is allowed: apparmor_parser before 3.0.9 widens
/// allowing rules with `rw,make-…` to new mounts and loses the flag of `remount` (CVE-2016-1585),
/// while denials come out as written.
fn mounts(out: &mut String) {
    let _ = writeln!(out, "\n  # mounts, but of /proc and /sys only where they belong\n  mount,");
    for (fstype, place) in [("proc", "proc/"), ("sysfs", "sys/")] {
        let elsewhere = complement("", &[place]).join(",");
        let _ = writeln!(out, "  deny mount fstype={fstype} -> /{{{elsewhere}}},");
    }
    let how = "options in (bind,rbind,move,rw,ro)";
    let _ = writeln!(out, "  deny mount {how} /{{proc,sys}}/{{,**}} -> **,");
    for how in ["rbind", "move"] {
        let _ = writeln!(out, "  deny mount options=(rw,{how}) / -> **,");
    }
}

/// What of /proc and /sys is the host's.
fn host_files(out: &mut String, nesting: bool) {
    let _ = writeln!(out, "\n  # the host's, although it shows inside");
    for path in ["/proc/sysrq-trigger", "/proc/mem", "/proc/kmem", "/proc/kcore"] {
        let _ = writeln!(out, "  deny {path} rwklx,");
    }
    let hidden = ["firmware/efi/efivars", "kernel/security", "kernel/debug"];
    for path in hidden {
        let _ = writeln!(out, "  deny /sys/{path}/{{,**}} rwklx,");
    }
    for fstype in ["debugfs", "securityfs", "efivarfs", "pstore"] {
        let _ = writeln!(out, "  deny mount fstype={fstype},");
    }
    if nesting {
        // Inner managers mount their own /proc and /sys anywhere: rules by path would only break
        // the units that systemd runs in mount namespaces.
        return;
    }
    let _ = writeln!(out, "  deny /proc/acpi/** wklx,");
    for path in complement("/proc/sys/", &OWN_SYSCTLS) {
        let _ = writeln!(out, "  deny {path} wklx,");
    }
    for path in complement("/sys/", &OWN_SYS) {
        let _ = writeln!(out, "  deny {path} wklx,");
    }
}

/// Globs that together match every path below `base` that begins with none of `kept`.
///
/// For each proper beginning of a kept path: what goes on with another character than a kept path
/// does, and what ends there.
fn complement(base: &str, kept: &[&str]) -> Vec<String> {
    let mut beginnings: Vec<&str> = Vec::new();
    for path in kept {
        beginnings.extend((0..path.len()).filter_map(|end| path.get(..end)));
    }
    let mut out = Vec::new();
    for beginning in set(beginnings) {
        let next = |path: &&str| path.strip_prefix(beginning)?.chars().next();
        let next: Vec<char> = set(kept.iter().filter_map(next));
        let letters: String = next.iter().filter(|c| **c != '/').collect();
        // A class never matches a slash, so it need not be listed.
        let other = if letters.is_empty() { "[^/]".to_owned() } else { format!("[^{letters}]") };
        out.push(format!("{base}{beginning}{other}{{,**}}"));
        let within_name = !beginning.is_empty() && !beginning.ends_with('/');
        if within_name && !next.contains(&'/') {
            out.push(format!("{base}{beginning}{{,/**}}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of AppArmor's globs for [`complement`]: `[^…]`, `{,**}`, `{,/**}` at the end.
    fn matches(glob: &str, path: &str) -> bool {
        if let Some(rest) = glob.strip_prefix("[^") {
            let (class, rest) = rest.split_once(']').unwrap();
            let mut chars = path.chars();
            return chars.next().is_some_and(|c| c != '/' && !class.contains(c))
                && matches(rest, chars.as_str());
        }
        match (glob, path.chars().next()) {
            ("{,**}", _) => true,
            ("{,/**}", first) => first.is_none() || first == Some('/'),
            ("", first) => first.is_none(),
            (_, Some(first)) => {
                glob.strip_prefix(first).is_some_and(|rest| matches(rest, &path[1..]))
            }
            _ => false,
        }
    }

    #[test]
    fn the_complement_is_exact() {
        let globs = complement("/proc/sys/", &OWN_SYSCTLS);
        let denied = |path: &str| globs.iter().any(|glob| matches(glob, path));
        for own in [
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/shmmax",
            "/proc/sys/kernel/msgmni",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/fs/mqueue/queues_max",
        ] {
            assert!(!denied(own), "{own}");
        }
        for host in [
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostnam",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/kernelx/hostname",
            "/proc/sys/vm/drop_caches",
            "/proc/sys/fs/binfmt_misc/register",
            "/proc/sys/fs/mqueuex",
            "/proc/sys/k/x",
            "/proc/sys/k",
            "/proc/sys/netx/y",
        ] {
            assert!(denied(host), "{host}");
        }
        let globs = complement("/", &["proc/", "sys/"]);
        let allowed = |path: &str| globs.iter().any(|glob| matches(glob, path));
        for path in ["/srv/x", "/s/proc/", "/system/", "/process", "/pro", "/home/sys/x"] {
            assert!(allowed(path), "{path}");
        }
        for path in ["/proc/", "/proc/self", "/sys/", "/sys/kernel"] {
            assert!(!allowed(path), "{path}");
        }
    }

    #[test]
    fn the_variants_differ() {
        let of = |wanted: &Wanted| text("lxc-c", Some("ns"), wanted);
        let plain = of(&Wanted::default());
        assert!(plain.contains("deny /proc/sysrq-trigger rwklx,"));
        assert!(plain.contains("deny mount fstype=proc -> /{[^p]{,**},"));
        let nesting = of(&Wanted { nesting: true, ..Wanted::default() });
        assert!(
            !nesting.contains("deny mount fstype=proc ")
                && nesting.contains("deny /proc/sysrq-trigger")
        );
        assert!(nesting.len() < plain.len() / 2);
        let raw = vec!["deny /x r,".to_owned()];
        let mapped = of(&Wanted { unprivileged: true, raw, ..Wanted::default() });
        assert!(!mapped.contains("sysrq") && mapped.contains("  deny /x r,\n}"));
        assert!(mapped.contains("change_profile -> \":ns:*\","));
    }
}
