//! From what is asked for and what is known of the container to everything the attached process
//! needs, ready for the kernel. Pure.

use super::env::{self, Variables};
use super::error::AttachError;
use super::options::Options;
use crate::caps::Bounding;
use crate::config::{Config, NsKind};
use crate::limits::{self, LimitPlan};
use crate::lsm::LsmPlan;
use crate::ns::NsSet;
use crate::seccomp::SeccompPlan;
use crate::sys::passwd::User;
use crate::sys::prctl::Personality;
use crate::sys::process::CStrings;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What the container's init and the caller are like.
pub(super) struct Facts {
    /// Namespaces that init does not share with the caller.
    pub(super) differing: NsSet,
    /// Init's bounding set; `None` when it cannot be told.
    pub(super) bounding: Option<Bounding>,
    /// Init's personality, if it is another than the usual one.
    pub(super) personality: Option<Personality>,
    /// `lxc.no_new_privs` of the running container.
    pub(super) no_new_privs: bool,
    /// The label of init, or the one asked for.
    pub(super) lsm: LsmPlan,
    /// `lxc.seccomp.*` of the running container.
    pub(super) seccomp: SeccompPlan,
    /// The container's passwd entry of the user; looked up for a login shell only.
    pub(super) user: Option<User>,
    /// The caller's working directory.
    pub(super) cwd: Option<PathBuf>,
}

/// The whole of an attach, but for descriptors.
pub(super) struct AttachPlan {
    /// Namespaces to join.
    pub(super) join: NsSet,
    /// Enter the container's cgroups.
    pub(super) cgroup: bool,
    /// `lxc.prlimit.*` and `lxc.proc.*`.
    pub(super) limits: LimitPlan,
    /// Whether init's core scheduling cookie is taken.
    pub(super) sched_core: bool,
    /// To change to, when it exists inside.
    pub(super) cwd: Option<PathBuf>,
    /// Fresh /proc and /sys in a private mount namespace.
    pub(super) remount: bool,
    /// To set.
    pub(super) personality: Option<Personality>,
    /// What is left of the capabilities.
    pub(super) bounding: Option<Bounding>,
    /// The label to take at exec.
    pub(super) lsm: LsmPlan,
    /// Set it.
    pub(super) no_new_privs: bool,
    /// To load.
    pub(super) seccomp: SeccompPlan,
    /// In the container.
    pub(super) uid: u32,
    /// In the container.
    pub(super) gid: u32,
    /// Files to try in turn.
    pub(super) programs: Vec<CString>,
    /// Arguments, the first being the program's name.
    pub(super) argv: CStrings,
    /// For a file that is no program: /bin/sh and it (execvp(3)); parallel to `programs`.
    pub(super) script_argv: Vec<CStrings>,
    /// Environment.
    pub(super) envp: CStrings,
    /// The command as messages name it.
    pub(super) shown: String,
}

impl AttachPlan {
    /// True if the command is inside another pid namespace than the caller's, which only a child
    /// of a process that joined can be.
    pub(super) fn needs_clone(&self) -> bool {
        self.join.has(NsKind::Pid)
    }

    /// True if the process in the container needs nothing from this one on its way to the command.
    pub(super) fn is_alone(&self) -> bool {
        self.lsm.label().is_none() && !self.seccomp.is_active()
    }
}

/// The user whose login shell is run and the shell, `/bin/sh` if passwd names none.
const FALLBACK_SHELL: &str = "/bin/sh";

/// Makes the plan.
///
/// # Errors
/// `lxc.prlimit.*` or `lxc.proc.*` that mean nothing, a label where labels are not taken, a NUL
/// byte in a string.
pub(super) fn plan(
    options: &Options,
    config: &Config,
    facts: Facts,
    caller_env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<AttachPlan, AttachError> {
    let wanted = options.namespaces.unwrap_or(NsSet::ALL);
    let join = NsSet::of(&wanted.iter().filter(|&k| facts.differing.has(k)).collect::<Vec<_>>());
    let confined = join.has(NsKind::Mnt) && !options.elevated.lsm;
    if options.label.is_some() && options.elevated.lsm {
        return Err(AttachError::LabelElevated);
    }
    // Of the limits only those that belong to a process; sysctls are the container's own matter.
    let limits = Config {
        prlimits: config.prlimits.clone(),
        procs: config.procs.clone(),
        sched_core: config.sched_core,
        ..Config::default()
    };
    let limits = limits::plan(&limits, &NsKind::ALL)?;

    let login = options.command.is_empty();
    let user = facts.user.as_ref().filter(|_| login);
    let variables = env::variables(&options.environment, caller_env, &config.environment, user);
    let (programs, argv) = command(options, user, &variables);
    let shown = argv.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let strings = |list: Vec<OsString>| CStrings::new(list).map_err(AttachError::Strings);
    let script_argv = programs.iter().map(|program| {
        let words = [FALLBACK_SHELL.into(), program.clone()];
        strings(words.into_iter().chain(argv.iter().skip(1).cloned()).collect())
    });
    let script_argv = script_argv.collect::<Result<_, _>>()?;
    let c_string = |s: OsString| {
        CString::new(s.into_vec()).map_err(|_| {
            let error = crate::sys::errno::EINVAL;
            AttachError::Strings(crate::sys::SysError::new("execve", "a NUL byte", error))
        })
    };
    Ok(AttachPlan {
        join,
        cgroup: !options.elevated.cgroup,
        limits,
        sched_core: config.sched_core,
        cwd: facts.cwd.filter(|_| join.has(NsKind::Mnt)),
        remount: options.remount && !join.has(NsKind::Mnt),
        personality: options.personality.or(facts.personality),
        bounding: facts.bounding.filter(|_| !options.elevated.caps),
        lsm: if confined { facts.lsm } else { LsmPlan::default() },
        no_new_privs: facts.no_new_privs,
        seccomp: if confined { facts.seccomp } else { SeccompPlan::default() },
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        programs: programs.into_iter().map(c_string).collect::<Result<_, _>>()?,
        argv: strings(argv)?,
        script_argv,
        envp: strings(variables.strings().collect())?,
        shown,
    })
}

/// Files to try and the arguments.
fn command(
    options: &Options,
    user: Option<&User>,
    variables: &Variables,
) -> (Vec<OsString>, Vec<OsString>) {
    if let Some(program) = options.command.first() {
        return (env::candidates(program, variables.get("PATH")), options.command.clone());
    }
    let shell = user.map(|u| u.shell.as_str()).filter(|s| s.starts_with('/'));
    let shell = shell.unwrap_or(FALLBACK_SHELL);
    let mut programs = vec![shell.into()];
    if shell != FALLBACK_SHELL {
        programs.push(FALLBACK_SHELL.into());
    }
    // The leading dash makes every shell a login shell; -l does not.
    let name = shell.as_bytes().rsplit(|&b| b == b'/').next().unwrap_or_default();
    let mut zero = OsString::from("-");
    zero.push(OsStr::from_bytes(name));
    (programs, vec![zero])
}

#[cfg(test)]
mod tests {
    use super::super::options::Elevated;
    use super::*;

    fn facts() -> Facts {
        Facts {
            differing: NsSet::ALL.without(NsKind::Time).without(NsKind::User),
            bounding: Bounding::of_status("CapBnd:\t3\n", 5),
            personality: Some(Personality::Linux32),
            no_new_privs: true,
            lsm: LsmPlan::default(),
            seccomp: SeccompPlan::default(),
            user: None,
            cwd: Some("/x".into()),
        }
    }

    fn make(options: &Options, facts: Facts) -> AttachPlan {
        plan(options, &Config::default(), facts, std::iter::empty()).unwrap()
    }

    #[test]
    fn everything_by_default() {
        let plan = make(&Options::default(), facts());
        assert_eq!(plan.join.to_string(), "mnt pid uts ipc net cgroup");
        assert!(plan.cgroup && plan.bounding.is_some() && plan.no_new_privs && plan.needs_clone());
        assert_eq!(plan.personality, Some(Personality::Linux32));
        assert_eq!(plan.programs, [c"/bin/sh".to_owned()]);
        assert_eq!(plan.shown, "-sh");
        assert_eq!((plan.uid, plan.gid), (0, 0));
    }

    #[test]
    fn only_some_namespaces() {
        let options = Options {
            namespaces: Some(NsSet::of(&[NsKind::Net, NsKind::User])),
            elevated: Elevated::ALL,
            remount: true,
            command: vec!["id".into()],
            ..Options::default()
        };
        let plan = make(&options, facts());
        assert_eq!(plan.join.to_string(), "net");
        assert!(plan.remount && !plan.cgroup && !plan.needs_clone());
        assert!(plan.bounding.is_none() && plan.lsm.label().is_none() && plan.cwd.is_none());
        // no_new_privs cannot be left off, as in LXC.
        assert!(plan.no_new_privs);
        assert_eq!(plan.programs.len(), 6);
    }

    #[test]
    fn the_login_shell_of_the_user_with_a_fallback() {
        let user = User {
            name: "u".into(),
            uid: 0,
            gid: 0,
            home: "/root".into(),
            shell: "/usr/bin/zsh".into(),
        };
        let plan = make(&Options::default(), Facts { user: Some(user), ..facts() });
        assert_eq!(plan.programs, [c"/usr/bin/zsh".to_owned(), c"/bin/sh".to_owned()]);
        assert_eq!(plan.shown, "-zsh");
    }

    #[test]
    fn a_label_contradicts_no_label() {
        let mut options = Options { label: Some("mine".into()), ..Options::default() };
        options.elevated.lsm = true;
        let made = plan(&options, &Config::default(), facts(), std::iter::empty());
        assert!(matches!(made, Err(AttachError::LabelElevated)));
    }
}
