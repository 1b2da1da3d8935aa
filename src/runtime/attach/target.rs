//! The running container as an attach sees it: its init, taken hold of so that it cannot become
//! another process, and what init's /proc and the monitor tell of its confinement.

use super::error::AttachError;
use super::options::Options;
use super::plan::Facts;
use crate::caps::{self, Bounding};
use crate::config::{Config, NsKind};
use crate::control::client::{CgroupCtx, Client};
use crate::lsm::{self, LsmPlan};
use crate::ns::{NsSet, Target};
use crate::seccomp::{self, SeccompPlan};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::passwd::{self, User};
use crate::sys::path::Root;
use crate::sys::prctl::Personality;
use crate::sys::process::Pid;
use crate::sys::procfs::{self, ProcFs};
use crate::sys::{errno, nsfile};
use crate::util::blame::Explain;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Longest /proc file and passwd file that is read.
const MAX_FILE: usize = 1 << 20;

/// Takes hold of the container's init.
///
/// # Errors
/// The container is not running, or its monitor does not answer.
pub fn hold(client: &Client) -> Result<Target, AttachError> {
    take(client, client.init_pidfd()?)
}

/// As [`hold`], and takes the container's cgroups if the monitor tells them at once.
///
/// # Errors
/// As [`hold`].
pub(super) fn hold_all(client: &Client) -> Result<(Target, Option<CgroupCtx>), AttachError> {
    let (pidfd, ctx) = client.init_and_cgroups()?;
    Ok((take(client, pidfd)?, ctx))
}

fn take(client: &Client, pidfd: Option<OwnedFd>) -> Result<Target, AttachError> {
    if let Some(pidfd) = pidfd {
        if let Some(pid) = nsfile::pid_of_pidfd(pidfd.as_fd()) {
            return open(pid, Some(pidfd));
        }
    }
    // FALLBACK(<5.3), and monitors of LXC before 4.0: no pidfd.
    open(client.init_pid()?, None)
}

/// A text file of init's /proc.
fn read(target: &Target, what: &'static str) -> Result<String, AttachError> {
    fd::read_at(target.dir(), what, MAX_FILE)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| AttachError::Init { what, source })
}

/// init's /proc/PID/status.
///
/// # Errors
/// Init is gone, or may not be looked at.
pub(super) fn status(target: &Target) -> Result<String, AttachError> {
    read(target, "status")
}

/// The number of init's parent.
pub(super) fn parent(status: &str) -> Option<Pid> {
    procfs::status_field(status, "PPid")?.parse().ok()
}

fn open(pid: Pid, pidfd: Option<OwnedFd>) -> Result<Target, AttachError> {
    Target::open(pid, pidfd).map_err(|e| match e.errno() {
        // It ended since the monitor named it.
        Some(errno::ESRCH | errno::ENOENT) => AttachError::Stopped,
        _ => e.into(),
    })
}

/// What is known of init before anything is asked.
#[derive(Clone, Copy)]
pub(super) struct Init<'a> {
    /// Init itself.
    pub(super) target: &'a Target,
    /// The namespaces that it does not share with the caller.
    pub(super) differing: NsSet,
    /// Its [`status`].
    pub(super) status: &'a str,
}

/// Looks at everything that confines init.
///
/// # Errors
/// Init is gone; a seccomp policy that init has cannot be had.
pub(super) fn facts(
    Init { target, differing, status }: Init<'_>,
    client: &Client,
    config: &Config,
    options: &Options,
    proc: &ProcFs,
) -> Result<Facts, AttachError> {
    let bounding = Bounding::of_status(status, caps::last_cap());
    if bounding.is_none() && !options.elevated.caps {
        return Err(AttachError::Unconfinable { what: "CapBnd" });
    }
    // The monitor is only asked for what init shows signs of: a question costs more than all of
    // /proc together.
    let no_new_privs = procfs::status_field(status, "NoNewPrivs") == Some("1")
        && client.config_item("lxc.no_new_privs")?.as_deref() == Some("1");
    let filtered = procfs::status_field(status, "Seccomp") == Some("2");
    let seccomp = if filtered && !options.elevated.lsm {
        policy(config, client.config_item("lxc.seccomp.profile")?, status)?
    } else {
        SeccompPlan::default()
    };
    let lsm_facts = lsm::Facts::probe(Path::new("/sys"), proc);
    let lsm = match &options.label {
        Some(label) => chosen_label(label, &lsm_facts)?,
        None => LsmPlan::of_process(&lsm_facts, proc, target.pid())
            .map_err(|source| AttachError::Init { what: "the label", source })?,
    };
    // Only root may read it; who may not has the usual personality himself.
    let personality = read(target, "personality").ok().as_deref().and_then(parse_personality);
    let user =
        if options.command.is_empty() { login_user(target, differing, options)? } else { None };
    Ok(Facts {
        differing,
        bounding,
        personality,
        no_new_privs,
        lsm,
        seccomp,
        user,
        cwd: std::env::current_dir().ok(),
    })
}

/// The policy of the running container: its file's name comes from the monitor, for the config may
/// have been edited since the start; how it is loaded from the config.
///
/// A caller who is confined himself loads it where init has more filters than its monitor: then
/// init got it too, and not only what it inherited.
fn policy(
    config: &Config,
    profile: Option<String>,
    init: &str,
) -> Result<SeccompPlan, AttachError> {
    let profile = profile.filter(|text| !text.is_empty());
    let Some(profile) = profile else { return Ok(SeccompPlan::default()) };
    let mut running = Config { seccomp: config.seccomp.clone(), ..Config::default() };
    running.seccomp.profile = Some(profile.into());
    let own = fd::read_to_string("/proc/self/status")
        .map_err(|source| AttachError::Init { what: "the caller's status, for that", source })?;
    let number = |status: &str, field| procfs::status_field(status, field)?.parse::<i32>().ok();
    let monitor = number(init, "PPid").and_then(|pid| procfs::status(pid).ok());
    // FALLBACK(<5.9): without the count, it is seen only where the monitor has none at all.
    let filters = |status: &str| (number(status, "Seccomp"), number(status, "Seccomp_filters"));
    running.seccomp.allow_nesting |= monitor.is_some_and(|m| filters(init) > filters(&m));
    Ok(seccomp::prepare(&running, &own)?)
}

/// `-c`: whatever the kernel has takes the text as its label.
fn chosen_label(label: &str, facts: &lsm::Facts) -> Result<LsmPlan, AttachError> {
    if facts.kind == lsm::Kind::None {
        return Err(AttachError::NoLabels { label: label.to_owned() });
    }
    let mut config = Config::default();
    config.selinux.context = Some(label.to_owned());
    config.apparmor.profile = Some(label.to_owned());
    Ok(lsm::plan(&config, facts, "", Path::new("/"))?)
}

/// /proc/PID/personality: hexadecimal, the low byte being the execution domain (personality(2)).
fn parse_personality(text: &str) -> Option<Personality> {
    let bits = u32::from_str_radix(text.trim(), 16).ok()?;
    (bits & 0xff == 0x08).then_some(Personality::Linux32)
}

/// The passwd entry of the user, from the root file system that the shell will see; read by us, as
/// a file of a hostile tree.
fn login_user(
    target: &Target,
    differing: NsSet,
    options: &Options,
) -> Result<Option<User>, AttachError> {
    let inside = options.namespaces.is_none_or(|set| set.has(NsKind::Mnt));
    let root = if inside && differing.has(NsKind::Mnt) {
        fd::open_at(target.dir(), "root", OpenFlags::PATH | OpenFlags::DIRECTORY, 0)
            .map(Root::from_fd)
    } else {
        Root::open(Path::new("/"))
    };
    let root = root.map_err(|source| AttachError::Init { what: "the root directory", source })?;
    // A container without passwd has no names, but /bin/sh all the same.
    let text = root.read(Path::new("etc/passwd"), MAX_FILE).unwrap_or_default();
    let users = passwd::parse_users(&String::from_utf8_lossy(&text));
    Ok(passwd::by_uid(&users, options.uid.unwrap_or(0)).cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personalities() {
        assert_eq!(parse_personality("00000000\n"), None);
        assert_eq!(parse_personality("00000008\n"), Some(Personality::Linux32));
        // PER_LINUX32 with ADDR_NO_RANDOMIZE.
        assert_eq!(parse_personality("00040008\n"), Some(Personality::Linux32));
        assert_eq!(parse_personality("zz"), None);
    }
}
