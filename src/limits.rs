//! Limits and single kernel settings of a container: `lxc.prlimit.*`, `lxc.sysctl.*`,
//! `lxc.proc.*`, `lxc.arch`, `lxc.sched.core` and `lxc.keyring.session`.
//!
//! [`plan`] is pure and finds every bad name; the `apply_` functions say in which process they
//! belong. Values are written as they are written in the configuration, each by one write(2).

use crate::config::{Arch, Config, Limit, NsKind, Origin};
use crate::sys::prctl::{self, Personality, Rlimit};
use crate::sys::process::Pid;
use crate::sys::procfs::ProcFs;
use crate::sys::{SysError, error::errno_name};
use crate::util::blame::Explain;

/// Names of setrlimit(2), at their numbers (the generic ones: x86, arm, arm64).
const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// What a bad setting is, or what the kernel said to a good one.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// `lxc.prlimit.NAME` of a name that setrlimit(2) does not have.
    #[error("unknown limit lxc.prlimit.{name}{}", nearest(.name))]
    UnknownLimit {
        /// As written.
        name: String,
        /// Where.
        origin: Origin,
    },
    /// A soft limit above the hard one.
    #[error("lxc.prlimit.{name}: soft limit {soft} is above the hard limit {hard}")]
    Order {
        /// As written.
        name: String,
        /// Soft.
        soft: String,
        /// Hard.
        hard: String,
        /// Where.
        origin: Origin,
    },
    /// A name that is no path of plain components.
    #[error("{key} names no file below {below}")]
    Name {
        /// The key.
        key: String,
        /// `/proc/sys` or `/proc/PID`.
        below: &'static str,
        /// Where.
        origin: Origin,
    },
    /// A setting that is not the container's own: the host, or whoever it shares the namespace
    /// with, would get it too.
    #[error("{key} would change the host, not only the container")]
    Shared {
        /// The key.
        key: String,
        /// Where.
        origin: Origin,
    },
    /// `lxc.sched.core` without a pid namespace of the container's own.
    #[error("lxc.sched.core needs a pid namespace of the container's own")]
    CoreNeedsPidNs {
        /// Where.
        origin: Option<Origin>,
    },
    /// A limit that the kernel refused.
    #[error("setting lxc.prlimit.{wanted}")]
    Limit {
        /// `NAME to SOFT:HARD`.
        wanted: String,
        /// The hard limit that init has, when it is the reason.
        has: Option<String>,
        /// The failed call.
        #[source]
        source: SysError,
        /// Where.
        origin: Origin,
    },
    /// A file that could not be written.
    #[error("setting {key} to '{value}'")]
    Write {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// The failed call.
        #[source]
        source: SysError,
        /// Where.
        origin: Origin,
    },
    /// Anything else that was asked for by one key.
    #[error("applying {key}")]
    Property {
        /// The key.
        key: &'static str,
        /// The failed call.
        #[source]
        source: SysError,
        /// Where, when it was written at all.
        origin: Option<Origin>,
    },
}

/// `; did you mean …` for a misspelt limit: the same letters but one, or a name it begins with.
fn nearest(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let close =
        |known: &&&str| bare == **known || bare.starts_with(**known) || known.starts_with(bare);
    match RESOURCES.iter().find(close) {
        Some(known) if !bare.is_empty() => format!("; did you mean lxc.prlimit.{known}?"),
        _ => String::new(),
    }
}

impl Explain for LimitError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Limit { source, .. }
            | Self::Write { source, .. }
            | Self::Property { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::UnknownLimit { origin, .. }
            | Self::Order { origin, .. }
            | Self::Name { origin, .. }
            | Self::Shared { origin, .. }
            | Self::Limit { origin, .. }
            | Self::Write { origin, .. } => Some(origin),
            Self::CoreNeedsPidNs { origin } | Self::Property { origin, .. } => origin.as_ref(),
        }
    }

    fn hint(&self) -> Option<String> {
        let name = self.errno().and_then(errno_name);
        match self {
            Self::Shared { key, .. } => Some(format!(
                "set it on the host: sysctl -w {}=VALUE",
                key.trim_start_matches("lxc.sysctl.")
            )),
            Self::UnknownLimit { .. } => Some(format!("known limits: {}", RESOURCES.join(" "))),
            Self::Limit { has: Some(has), .. } => Some(format!(
                "the hard limit is {has}, and raising it needs CAP_SYS_RESOURCE: \
                 grep Cap /proc/self/status"
            )),
            Self::Write { key, .. } if key.starts_with("lxc.sysctl.") => match name {
                Some("ENOENT") => {
                    let name = key.trim_start_matches("lxc.sysctl.");
                    Some(format!("sysctl {name}; a module that is not loaded, or a misspelt name"))
                }
                Some("EACCES" | "EPERM" | "EROFS") => Some(
                    "not a setting of the container's own namespaces: set it on the host with \
                     sysctl -w"
                        .into(),
                ),
                Some("EINVAL") => Some("the kernel does not take this value".into()),
                _ => None,
            },
            Self::Write { key, value, .. } if key == "lxc.proc.oom_score_adj" => match name {
                Some("EACCES" | "EPERM") => {
                    Some("lowering oom_score_adj needs CAP_SYS_RESOURCE".into())
                }
                Some("EINVAL") => Some(format!("'{value}' is not within -1000 to 1000")),
                _ => None,
            },
            Self::Property { key: "lxc.sched.core", .. } => match name {
                Some("EINVAL") => {
                    Some("core scheduling needs Linux 5.14 with CONFIG_SCHED_CORE=y".into())
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// One resource limit, ready for prlimit(2).
#[derive(Clone, Debug, PartialEq, Eq)]
struct ResourceLimit {
    name: String,
    number: u32,
    limit: Rlimit,
    origin: Origin,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    key: String,
    /// Below /proc/sys or /proc/PID.
    path: String,
    value: String,
    origin: Origin,
}

/// Everything of this module that one container asks for.
#[derive(Clone, Debug, Default)]
pub struct LimitPlan {
    resources: Vec<ResourceLimit>,
    sysctls: Vec<Setting>,
    procs: Vec<Setting>,
    personality: Option<(Personality, Option<Origin>)>,
    sched_core: Option<Option<Origin>>,
    keyring: Keyring,
}

/// `lxc.keyring.session`, as its manual has it (the code of LXC takes 1 for "no new keyring",
/// the opposite; a keyring more than wanted harms nobody, one shared with the host does).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Keyring {
    /// A new one, if the kernel has keys at all.
    #[default]
    Fresh,
    /// A new one, and an error if that fails.
    Demanded(Option<Origin>),
    /// The caller's is kept.
    Inherited,
}

/// Checks every name and makes the plan; `own` are the namespaces that the container does not
/// share.
///
/// # Errors
/// Names that do not exist, soft limits above hard ones, paths that leave their directory,
/// settings that others would share (LXC writes them, and changes its host), `lxc.sched.core`
/// without a pid namespace.
pub fn plan(config: &Config, own: &[NsKind]) -> Result<LimitPlan, LimitError> {
    let mut plan = LimitPlan::default();
    for (name, limit) in &config.prlimits {
        plan.resources.push(resource(name, limit.value, &limit.origin)?);
    }
    for (name, value) in &config.sysctls {
        let key = format!("lxc.sysctl.{name}");
        let path = relative(name, &key, "/proc/sys", &value.origin)?;
        if !namespace_of(&path).is_some_and(|ns| own.contains(&ns)) {
            return Err(LimitError::Shared { key, origin: value.origin.clone() });
        }
        let (value, origin) = (value.value.clone(), value.origin.clone());
        plan.sysctls.push(Setting { key, path, value, origin });
    }
    for (name, value) in &config.procs {
        let key = format!("lxc.proc.{name}");
        let path = relative(name, &key, "/proc/PID", &value.origin)?;
        let (value, origin) = (value.value.clone(), value.origin.clone());
        plan.procs.push(Setting { key, path, value, origin });
    }
    if let Some(arch) = config.arch {
        let personality = match arch {
            Arch::Bits32 => Personality::Linux32,
            Arch::Bits64 => Personality::Linux,
        };
        plan.personality = Some((personality, config.origin("lxc.arch").cloned()));
    }
    if config.sched_core {
        let origin = config.origin("lxc.sched.core").cloned();
        if !own.contains(&NsKind::Pid) {
            return Err(LimitError::CoreNeedsPidNs { origin });
        }
        plan.sched_core = Some(origin);
    }
    plan.keyring = match config.keyring_session {
        None => Keyring::Fresh,
        Some(true) => Keyring::Demanded(config.origin("lxc.keyring.session").cloned()),
        Some(false) => Keyring::Inherited,
    };
    Ok(plan)
}

fn resource(name: &str, limit: Limit, origin: &Origin) -> Result<ResourceLimit, LimitError> {
    let by_name = RESOURCES.iter().position(|known| *known == name);
    let by_number = name.parse().ok().filter(|n| *n < RESOURCES.len());
    let number = by_name
        .or(by_number)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or_else(|| LimitError::UnknownLimit { name: name.into(), origin: origin.clone() })?;
    let limit =
        Rlimit { soft: limit.soft.unwrap_or(u64::MAX), hard: limit.hard.unwrap_or(u64::MAX) };
    if limit.soft > limit.hard {
        return Err(LimitError::Order {
            name: name.into(),
            soft: amount(limit.soft),
            hard: amount(limit.hard),
            origin: origin.clone(),
        });
    }
    Ok(ResourceLimit { name: name.into(), number, limit, origin: origin.clone() })
}

/// The limit that a process has now, as `lxc.prlimit.NAME` is written.
///
/// # Errors
/// There is no such limit; the process is gone.
pub fn current_rlimit(pid: Pid, name: &str) -> Result<String, LimitError> {
    let wanted = resource(name, Limit { soft: None, hard: None }, &asked())?;
    let has = prctl::prlimit(pid, wanted.number, None).map_err(|source| LimitError::Property {
        key: "lxc.prlimit",
        source,
        origin: None,
    })?;
    let (soft, hard) = (amount(has.soft), amount(has.hard));
    Ok(if soft == hard { soft } else { format!("{soft}:{hard}") })
}

/// The path below /proc/sys of `lxc.sysctl.NAME`, and which namespace it belongs to (none: the host).
///
/// # Errors
/// It is no path of plain components.
pub fn sysctl_path(name: &str) -> Result<(String, Option<NsKind>), LimitError> {
    let path = relative(name, &format!("lxc.sysctl.{name}"), "/proc/sys", &asked())?;
    let kind = namespace_of(&path);
    Ok((path, kind))
}

/// The path below /proc/PID of `lxc.proc.NAME`.
///
/// # Errors
/// It is no path of plain components.
pub fn proc_path(name: &str) -> Result<String, LimitError> {
    relative(name, &format!("lxc.proc.{name}"), "/proc/PID", &asked())
}

/// No line of a file is to blame.
fn asked() -> Origin {
    Origin::label("the command line")
}

fn amount(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { limit.to_string() }
}

/// `net.ipv4.ip_forward` as a path. Dots become slashes, slashes stay; empty components, `.` and
/// `..` are refused, so the result cannot leave its directory.
fn relative(
    name: &str,
    key: &str,
    below: &'static str,
    origin: &Origin,
) -> Result<String, LimitError> {
    let path = name.replace('.', "/");
    let bad = path.split('/').any(str::is_empty) || path.contains('\0');
    if bad {
        return Err(LimitError::Name { key: key.into(), below, origin: origin.clone() });
    }
    Ok(path)
}

/// Which namespace a setting below /proc/sys belongs to (namespaces(7)); `None`: the host's.
fn namespace_of(path: &str) -> Option<NsKind> {
    const OWNERS: [(&str, NsKind); 9] = [
        ("net/", NsKind::Net),
        ("fs/mqueue/", NsKind::Ipc),
        ("kernel/auto_msgmni", NsKind::Ipc),
        ("kernel/msg", NsKind::Ipc),
        ("kernel/sem", NsKind::Ipc),
        ("kernel/shm", NsKind::Ipc),
        ("kernel/hostname", NsKind::Uts),
        ("kernel/domainname", NsKind::Uts),
        ("user/", NsKind::User),
    ];
    OWNERS.iter().find(|(start, _)| path.starts_with(start)).map(|(_, ns)| *ns)
}

impl LimitPlan {
    /// True if there is anything for [`Self::apply_procs`] to do.
    pub fn has_procs(&self) -> bool {
        !self.procs.is_empty()
    }

    /// True if there is anything for [`Self::apply_sysctls`] to do.
    pub fn has_sysctls(&self) -> bool {
        !self.sysctls.is_empty()
    }

    /// `lxc.prlimit.*` on process `pid`, from its parent (or 0, on the caller itself: attach).
    pub fn apply_rlimits(&self, pid: Pid) -> Result<(), LimitError> {
        for wanted in &self.resources {
            prctl::prlimit(pid, wanted.number, Some(wanted.limit)).map_err(|source| {
                // EPERM: raising the hard limit without CAP_SYS_RESOURCE, or nofile above
                // fs.nr_open; only the first is told by the present limit.
                let has = prctl::prlimit(pid, wanted.number, None).ok();
                let has = has.filter(|has| {
                    errno_name(source.errno) == Some("EPERM") && has.hard < wanted.limit.hard
                });
                let (soft, hard) = (amount(wanted.limit.soft), amount(wanted.limit.hard));
                LimitError::Limit {
                    wanted: format!("{} to {soft}:{hard}", wanted.name),
                    has: has.map(|has| amount(has.hard)),
                    source,
                    origin: wanted.origin.clone(),
                }
            })?;
        }
        Ok(())
    }

    /// `lxc.proc.*`, from the parent with the host's procfs.
    pub fn apply_procs(&self, proc: &ProcFs, pid: Pid) -> Result<(), LimitError> {
        self.procs.iter().try_for_each(|s| s.write(proc, &format!("{pid}/{}", s.path)))
    }

    /// `lxc.sysctl.*` with a procfs that belongs to the container's namespaces.
    ///
    /// # In the child
    /// After pivot_root and after the network was configured, for `net.*.conf.IFACE` to exist;
    /// before the capabilities go. `proc` must be verified, never the container's own /proc.
    pub fn apply_sysctls(&self, proc: &ProcFs) -> Result<(), LimitError> {
        self.sysctls.iter().try_for_each(|s| s.write(proc, &format!("sys/{}", s.path)))
    }

    /// `lxc.arch`.
    ///
    /// # In the child
    /// At any time before exec, which keeps it.
    pub fn apply_personality(&self) -> Result<(), LimitError> {
        let Some((personality, origin)) = &self.personality else { return Ok(()) };
        prctl::set_personality(*personality).map_err(|source| LimitError::Property {
            key: "lxc.arch",
            source,
            origin: origin.clone(),
        })
    }

    /// Finds what this kernel has not got.
    ///
    /// # Errors
    /// `lxc.sched.core` without core scheduling.
    pub fn check_kernel(&self) -> Result<(), LimitError> {
        self.sched_core(prctl::core_sched_probe)
    }

    /// `lxc.sched.core` for init, from its parent before it runs anything. A machine without SMT
    /// has nothing to separate.
    pub fn apply_sched_core(&self, pid: Pid) -> Result<(), LimitError> {
        self.sched_core(|| prctl::core_sched_create(pid))
    }

    /// As [`Self::apply_sched_core`], for an attaching process: it takes the cookie of init.
    pub fn join_sched_core(&self, init: Pid) -> Result<(), LimitError> {
        self.sched_core(|| prctl::core_sched_join(init))
    }

    fn sched_core(&self, call: impl FnOnce() -> crate::sys::Result<()>) -> Result<(), LimitError> {
        let Some(origin) = &self.sched_core else { return Ok(()) };
        match call() {
            Err(e) if errno_name(e.errno) == Some("ENODEV") => {
                log::debug!("lxc.sched.core: no simultaneous multithreading here");
                Ok(())
            }
            done => done.map_err(|source| LimitError::Property {
                key: "lxc.sched.core",
                source,
                origin: origin.clone(),
            }),
        }
    }

    /// True if a new session keyring is wanted.
    pub fn makes_keyring(&self) -> bool {
        self.keyring != Keyring::Inherited
    }

    /// The session keyring of `lxc.keyring.session`. By default a failure for want of kernel
    /// support or permission is passed over, as LXC does: nobody asked for a keyring.
    ///
    /// # In the child
    /// After the user namespace is entered, so that the keyring belongs to it.
    pub fn apply_keyring(&self) -> Result<(), LimitError> {
        let origin = match &self.keyring {
            Keyring::Inherited => return Ok(()),
            Keyring::Fresh => None,
            Keyring::Demanded(origin) => origin.clone(),
        };
        match prctl::join_session_keyring() {
            Err(e)
                if self.keyring == Keyring::Fresh
                    && matches!(errno_name(e.errno), Some("ENOSYS" | "EACCES" | "EPERM")) =>
            {
                log::debug!("no session keyring: {e}");
                Ok(())
            }
            done => done.map_err(|source| LimitError::Property {
                key: "lxc.keyring.session",
                source,
                origin,
            }),
        }
    }
}

impl Setting {
    fn write(&self, proc: &ProcFs, path: &str) -> Result<(), LimitError> {
        proc.write(path, self.value.as_bytes()).map_err(|source| LimitError::Write {
            key: self.key.clone(),
            value: self.value.clone(),
            source,
            origin: self.origin.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sourced;

    fn at<T>(value: T) -> Sourced<T> {
        Sourced { value, origin: Origin::label("test") }
    }

    fn limit(name: &str, soft: Option<u64>, hard: Option<u64>) -> Result<LimitPlan, LimitError> {
        let prlimits = vec![(name.into(), at(Limit { soft, hard }))];
        plan(&Config { prlimits, ..Config::default() }, &NsKind::ALL)
    }

    #[test]
    fn limits_have_the_kernels_numbers() {
        let plan = limit("nofile", Some(10), None).unwrap();
        assert_eq!(plan.resources[0].number, 7);
        assert_eq!(plan.resources[0].limit, Rlimit { soft: 10, hard: u64::MAX });
        assert_eq!(limit("7", None, None).unwrap().resources[0].number, 7);
        assert_eq!(RESOURCES[15], "rttime");
    }

    #[test]
    fn bad_limits_are_named() {
        let error = limit("nofiles", None, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown limit lxc.prlimit.nofiles; did you mean lxc.prlimit.nofile?"
        );
        assert!(error.hint().unwrap().contains("sigpending"));
        assert!(limit("16", None, None).is_err());
        let error = limit("nproc", Some(9), Some(3)).unwrap_err();
        assert_eq!(error.to_string(), "lxc.prlimit.nproc: soft limit 9 is above the hard limit 3");
    }

    #[test]
    fn sysctl_names_stay_below_their_directory() {
        let origin = Origin::label("t");
        let ok = |name| relative(name, "k", "/proc/sys", &origin);
        assert_eq!(ok("net.ipv4.ip_forward").unwrap(), "net/ipv4/ip_forward");
        assert_eq!(ok("net.ipv4.conf/eth0/forwarding").unwrap(), "net/ipv4/conf/eth0/forwarding");
        for bad in ["", "..", "../sysrq-trigger", "a..b", "/abs", "a/", "a/../b", "a\0b"] {
            assert!(ok(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_setting_that_is_shared_is_refused() {
        let with = |name: &str, own: &[NsKind]| {
            let sysctls = vec![(name.into(), at("1".into()))];
            plan(&Config { sysctls, ..Config::default() }, own)
        };
        assert!(with("kernel.msgmax", &NsKind::ALL).is_ok());
        assert!(with("net.core.somaxconn", &[NsKind::Net]).is_ok());
        for (name, own) in [
            ("kernel.core_pattern", &NsKind::ALL[..]),
            ("kernel.seccomp.actions_logged", &NsKind::ALL),
            ("fs.inotify.max_user_watches", &NsKind::ALL),
            ("net.core.somaxconn", &[NsKind::Pid, NsKind::Ipc]),
        ] {
            let error = with(name, own).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("lxc.sysctl.{name} would change the host, not only the container")
            );
        }
    }

    #[test]
    fn core_scheduling_needs_a_pid_namespace() {
        let config = Config { sched_core: true, ..Config::default() };
        assert!(matches!(plan(&config, &[NsKind::Net]), Err(LimitError::CoreNeedsPidNs { .. })));
        assert!(plan(&config, &[NsKind::Pid]).is_ok());
    }
}
