//! The two processes of an attach: the outer one enters the cgroups and the namespaces, the inner
//! one is born inside the container's pid namespace and becomes the command.
//!
//! The inner one is the first that the container can see, and it is born with everything joined
//! already, so that /proc/PID/root and the like never lead to the host. Both are non-dumpable
//! (CVE-2016-9962) and the inner one closes every descriptor but a socket and its terminal at
//! once (CVE-2016-8649, CVE-2024-21626).

use super::plan::AttachPlan;
use super::stdio::Streams;
use super::wire::{ChildEnd, Step};
use crate::cgroup::attach::AttachCgroups;
use crate::config::{Explain, NsKind};
use crate::ns::Target;
use crate::sys::error::{Result as SysResult, SysError};
use crate::sys::path::{Lookup, Root};
use crate::sys::process::{self, Fork};
use crate::sys::procfs::ProcFs;
use crate::sys::{cred, errno, fd, ns, prctl, signal, term, vfork};
use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// What the plan cannot hold: descriptors, made by the attaching process.
pub(super) struct Hands<'a> {
    /// The container's init.
    pub(super) target: &'a Target,
    /// Its cgroups; `None` to stay outside.
    pub(super) cgroups: Option<&'a AttachCgroups>,
    /// True if the clone put the process into the unified hierarchy's cgroup already.
    pub(super) placed: bool,
    /// The host's procfs, when `lxc.proc.*` are to be written.
    pub(super) proc: Option<&'a ProcFs>,
    /// The new terminal's inner end.
    pub(super) slave: Option<BorrowedFd<'a>>,
    /// Which of the standard descriptors it replaces, and whether it controls the session.
    pub(super) streams: Streams,
}

/// Why the process gives up.
struct Failure {
    step: Step,
    error: SysError,
}

/// Runs one step; its error names it.
fn at(step: Step, done: SysResult<()>) -> Result<(), Failure> {
    done.map_err(|error| Failure { step, error })
}

/// The same for an error of another module, whose sentence becomes the call.
fn explained<E: Explain>(step: Step, done: Result<(), E>) -> Result<(), Failure> {
    done.map_err(|e| {
        let call = match e.source().and_then(|cause| cause.downcast_ref::<SysError>()) {
            Some(cause) => format!("{e}: {}({})", cause.call, cause.operand),
            None => e.to_string(),
        };
        let error = SysError::new("", call, e.errno().unwrap_or(errno::EINVAL));
        Failure { step, error }
    })
}

/// # In the child
/// Of a fork; never returns. Leaves nothing but the command, or a word about why not.
pub(super) fn run(plan: &AttachPlan, hands: &Hands<'_>, end: &ChildEnd<'_>) -> ! {
    let Err(failure) = outer(plan, hands, end);
    give_up(end, &failure)
}

fn give_up(end: &ChildEnd, failure: &Failure) -> ! {
    end.failed(failure.step, &failure.error);
    process::exit_now(1)
}

fn outer(plan: &AttachPlan, hands: &Hands<'_>, end: &ChildEnd<'_>) -> Result<Infallible, Failure> {
    at(Step::Hide, prctl::set_dumpable(false))?;
    // What the caller left open goes no further than the exec. Told now, while /proc, which old
    // kernels need for it, is still the host's.
    at(Step::Hide, fd::seal_above(3, &[], fd::Seal::CloseOnExec))?;
    if let Some(cgroups) = hands.cgroups {
        // By itself: moving another process costs milliseconds, see `cgroup::attach`.
        explained(Step::Cgroup, cgroups.enter_v1_self())?;
        if !hands.placed {
            explained(Step::Cgroup, cgroups.move_process(0))?;
        }
    }
    if plan.sched_core {
        explained(Step::Limits, plan.limits.join_sched_core(hands.target.pid()))?;
    }
    explained(Step::Limits, plan.limits.apply_rlimits(0))?;
    if let Some(proc) = hands.proc {
        explained(Step::Limits, plan.limits.apply_procs(proc, process::own_pid()))?;
    }
    at(Step::Join, join(plan, hands.target))?;
    if plan.join.has(NsKind::User) {
        at(Step::Join, become_root_inside())?;
    }
    if let Some(cwd) = &plan.cwd {
        at(Step::Cwd, enter_directory(cwd))?;
    }
    if !plan.needs_clone() {
        at(Step::Clone, end.born(process::own_pid()))?;
        return inner(plan, hands, end);
    }
    if plan.is_alone() {
        let mut become_command = || {
            let Err(failure) = inner(plan, hands, end);
            give_up(end, &failure)
        };
        let pid = vfork::spawn_sibling(&mut become_command)
            .map_err(|error| Failure { step: Step::Clone, error })?;
        at(Step::Clone, end.born(pid))?;
        process::exit_now(0)
    }
    match process::fork_sibling() {
        Ok(Fork::Child) => inner(plan, hands, end),
        Ok(Fork::Parent(pid)) => {
            at(Step::Clone, end.born(pid))?;
            process::exit_now(0)
        }
        Err(error) => Err(Failure { step: Step::Clone, error }),
    }
}

/// Joins all namespaces at once, or one after the other.
fn join(plan: &AttachPlan, target: &Target) -> SysResult<()> {
    if plan.join.is_empty() {
        return Ok(());
    }
    if let Some(pidfd) = target.pidfd() {
        // All flags are below 2^31.
        match ns::setns(pidfd, plan.join.flags() as i32) {
            // FALLBACK(<5.8): setns takes no pidfd.
            Err(e) if e.is(errno::EINVAL) => {}
            done => return done,
        }
    }
    let mut kinds: Vec<NsKind> = plan.join.iter().collect();
    if cred::euid() == 0 {
        // The host's root may join whatever the container shares with others, but only as long
        // as it has not become the root of the container's user namespace.
        kinds.sort_by_key(|&kind| kind == NsKind::User);
    }
    let mut files = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let link = crate::ns::link(kind);
        let file = fd::open_at(target.dir(), link, fd::OpenFlags::RDONLY, 0)?;
        files.push((kind, file));
    }
    for (kind, file) in &files {
        ns::setns(file.as_fd(), crate::ns::flag(*kind) as i32)?;
    }
    Ok(())
}

/// After joining a user namespace the ids are still the host's, and mean nobody inside.
fn become_root_inside() -> SysResult<()> {
    drop_groups()?;
    // A namespace without an id 0 keeps what it cannot change; the user's own ids come later.
    match cred::set_gid(0).and_then(|()| cred::set_uid(0)) {
        Err(e) if !e.is(errno::EINVAL) => return Err(e),
        _ => {}
    }
    // Changing the user makes a process dumpable again where fs.suid_dumpable says so.
    prctl::set_dumpable(false)
}

/// Drops the supplementary groups; where setgroups is denied there is nothing to be had by it.
fn drop_groups() -> SysResult<()> {
    match cred::setgroups(&[]) {
        Err(e) if e.is(errno::EPERM) => Ok(()),
        done => done,
    }
}

/// Changes to the caller's directory if it exists inside. It is resolved below the container's
/// root without magic links, so that a link to /proc/self/fd cannot lead outside.
fn enter_directory(cwd: &Path) -> SysResult<()> {
    let Ok(below) = cwd.strip_prefix("/") else { return Ok(()) };
    if below.as_os_str().is_empty() {
        return Ok(());
    }
    let root = Root::open(Path::new("/"))?;
    match root.resolve_dir(below, Lookup::InRoot) {
        Ok(dir) => process::fchdir(dir.as_fd()),
        // setns has changed to the container's root already.
        Err(_) => Ok(()),
    }
}

fn inner(plan: &AttachPlan, hands: &Hands<'_>, end: &ChildEnd<'_>) -> Result<Infallible, Failure> {
    let keep = [end.fd(), hands.slave].into_iter().flatten().map(|fd| fd.as_raw_fd());
    let keep: Vec<_> = keep.collect();
    // Descriptors that objects of the attaching process own are closed under them; this process
    // ends in exec or exit and drops none of them. FALLBACK(<5.9): without close_range the list
    // is the container's /proc, which may be missing or lie; exec closes them all the same.
    if let Err(e) = fd::seal_above(3, &keep, fd::Seal::Close) {
        log::debug!("descriptors stay open until exec: {e}");
    }
    // Always a session of its own: neither the caller's terminal (TIOCSTI, CVE-2016-10124) nor its
    // process group (kill 0) is reachable from inside.
    at(Step::Session, process::setsid())?;
    if let (Some(slave), true) = (hands.slave, hands.streams.interactive) {
        at(Step::Session, term::set_controlling(slave))?;
    }
    if plan.remount {
        at(Step::Remount, super::remount::proc_and_sys())?;
    }
    if let Some(personality) = plan.personality {
        at(Step::Personality, prctl::set_personality(personality))?;
    }
    if let Some(bounding) = plan.bounding {
        explained(Step::Caps, bounding.apply())?;
    }
    if plan.lsm.label().is_some() {
        let file = end.label_file().map_err(|error| Failure { step: Step::Label, error })?;
        explained(Step::Label, plan.lsm.write_exec_label(file.as_fd()))?;
    }
    if plan.no_new_privs {
        at(Step::NoNewPrivs, prctl::set_no_new_privs())?;
    }
    // The policy comes last, unless loading it needs what the change of ids takes away.
    let policy_first = plan.uid != 0 && !plan.no_new_privs;
    if policy_first {
        load_policy(plan, end)?;
    }
    at(Step::Ids, become_user(plan))?;
    if let Some(slave) = hands.slave {
        for (target, _) in (0..).zip(hands.streams.replace).filter(|(_, replace)| *replace) {
            at(Step::Stdio, fd::dup_to_stdio(slave, target))?;
        }
    }
    at(Step::Exec, signal::reset_for_exec())?;
    if !policy_first {
        load_policy(plan, end)?;
    }
    Err(Failure { step: Step::Exec, error: exec(plan) })
}

fn become_user(plan: &AttachPlan) -> SysResult<()> {
    drop_groups()?;
    cred::set_gid(plan.gid)?;
    cred::set_uid(plan.uid)?;
    prctl::set_dumpable(false)
}

fn load_policy(plan: &AttachPlan, end: &ChildEnd<'_>) -> Result<(), Failure> {
    if !plan.seccomp.is_active() {
        return Ok(());
    }
    match plan.seccomp.load() {
        Ok(None) => Ok(()),
        Ok(Some(listener)) => at(Step::Seccomp, end.listener(listener.as_fd())),
        Err(e) => explained(Step::Seccomp, Err(e)),
    }
}

/// execvp(3) over the prepared names: the first that can be executed; a file that is no program is
/// a script of /bin/sh; "permission denied" is said only if nothing else was found.
fn exec(plan: &AttachPlan) -> SysError {
    let mut denied = None;
    let mut missing = None;
    for (program, script_argv) in plan.programs.iter().zip(&plan.script_argv) {
        let error = process::exec(program, &plan.argv, &plan.envp);
        match error.errno {
            errno::ENOEXEC => {
                process::exec(c"/bin/sh", script_argv, &plan.envp);
                return error;
            }
            errno::EACCES => denied = denied.or(Some(error)),
            errno::ENOENT | errno::ENOTDIR => missing = Some(error),
            _ => return error,
        }
    }
    match (denied, missing) {
        (Some(error), _) => error,
        (None, Some(error)) if plan.programs.len() == 1 => error,
        _ => SysError::new("execve", "nowhere in PATH", errno::ENOENT),
    }
}
