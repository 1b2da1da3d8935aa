//! Everything between clone and exec, in the container's own process. Nothing here parses or asks
//! the host's configuration: [`StartPlan`] holds all of it.
//!
//! Read it beside `start.rs`: the same steps in the same order. `run` never returns; what goes
//! wrong travels to the parent as a [`Failure`] and the process leaves by `_exit`.

use super::plan::StartPlan;
use super::sync::{During, End, Failure, FdKind, Step};
use crate::cgroup::{CgroupTree, Placed};
use crate::config::{HookKind, NsKind};
use crate::hook::{self, HookContext};
use crate::mount::{self, CgroupMountView, RootMount};
use crate::ns;
use crate::sys::error::SysError;
use crate::sys::fd::{self, OpenFlags, Seal};
use crate::sys::path::Root;
use crate::sys::process::{self, CStrings};
use crate::sys::procfs::ProcFs;
use crate::sys::term::{self, Pty};
use crate::sys::{cred, errno, ns as sysns, prctl, signal};
use crate::tty::child::{self as terminals, ChildTtys};
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What the parent prepared for the child besides the plan.
pub(super) struct Inherited<'a> {
    /// The child's end of the pair.
    pub(super) end: End,
    /// The host's /proc, for what must be written before the container has one.
    pub(super) proc: &'a ProcFs,
    /// Where the child moves itself to.
    pub(super) cgroups: &'a CgroupTree,
    /// Whether clone3 put it into the unified one already.
    pub(super) placed: Placed,
    /// The root file system where only the parent could open it.
    pub(super) root: Option<BorrowedFd<'a>>,
    /// How the cgroups are mounted.
    pub(super) view: CgroupMountView,
    /// The console's pair when it is of the host's devpts.
    pub(super) console: Option<&'a Pty>,
    /// Which of the caller's streams init keeps.
    pub(super) keep_streams: [bool; 3],
    /// Our own binary is init (lxc-execute).
    pub(super) own_binary: Option<OwnedFd>,
    /// For the hooks of the child.
    pub(super) hooks: &'a HookContext,
}

/// The child's whole life before init.
///
/// # In the child
/// Starts with every signal blocked and every descriptor of the parent's still open.
pub(super) fn run(plan: &StartPlan, from: &Inherited<'_>) -> ! {
    let Err(failure) = steps(plan, from);
    from.end.fail(&failure);
    process::exit_now(255)
}

fn steps(plan: &StartPlan, from: &Inherited<'_>) -> Result<Infallible, Failure> {
    let end = &from.end;
    prctl::set_parent_death_signal(KILL).during(Step::Begin)?;
    // By itself, because the kernel then needs no grace period to move it.
    from.cgroups.enter_payload_self(from.placed).during(Step::CgroupEnter)?;
    if plan.idmap.is_some() {
        // Blocks until the map is written. If the parent died before the line above, the socket
        // is at its end.
        end.wait_go(Step::Begin)?;
        if plan.network_after_ids() {
            sysns::unshare(flag(NsKind::Net)).during(Step::LateNamespaces)?;
        }
        become_namespace_root(plan)?;
        if plan.network_after_ids() {
            // Not before: while ids change, an ordinary user's monitor may not look at this process.
            end.reached(Step::LateNamespaces).during(Step::LateNamespaces)?;
        }
    }
    late_namespaces(plan, from)?;
    if plan.network_first() {
        end.wait_go(Step::Network)?;
    }

    let terminals = build_root(plan, from)?;
    if !plan.network_first() {
        end.wait_go(Step::Network)?;
    }
    restrict(plan, from)?;
    run_hooks(plan, from, HookKind::Start, Step::StartHooks)?;

    streams(plan, from, &terminals)?;
    send_terminals(from, &terminals)?;
    end.reached(Step::Ready).during(Step::Ready)?;
    end.wait_go(Step::Ready)?;
    let names = terminals.names().unwrap_or_default();
    drop(terminals);
    become_init_user(plan)?;
    execute(plan, from, &names)
}

/// Everything between the first mount and the change of root, in LXC's order (`lxc_setup`).
fn build_root(plan: &StartPlan, from: &Inherited<'_>) -> Result<ChildTtys, Failure> {
    if !plan.ns.creates(NsKind::Mnt) {
        // A shared mount namespace is somebody else's, complete with its root.
        identity(plan, from)?;
        return Ok(ChildTtys::default());
    }
    let mounts = &plan.mounts;
    mount::slave_all().map_err(mount::Fault::Slave).during(Step::Rootfs)?;
    run_hooks(plan, from, HookKind::PreMount, Step::PreMountHooks)?;
    let (root, mapped) = idmapped_trees(plan, from)?;
    let mut rm = mount::rootfs(mounts, root).during(Step::Rootfs)?;
    identity(plan, from)?;
    mount::dev_tmpfs(mounts, &mut rm).during(Step::Dev)?;
    mount::proc_sys(mounts, &mut rm).during(Step::ProcSys)?;
    mount::entries(mounts, &rm).during(Step::MountEntries)?;
    mount::attach_idmapped(mounts, &rm, &mapped).during(Step::MountEntries)?;
    mount::cgroup_auto(mounts, &rm, &from.view).during(Step::CgroupMount)?;
    run_hooks(plan, from, HookKind::Mount, Step::MountHooks)?;
    mount::check_not_covered(mounts, &rm).during(Step::MountHooks)?;
    if plan.config.autodev.enabled {
        run_hooks(plan, from, HookKind::Autodev, Step::AutodevHooks)?;
    }
    mount::dev_nodes(mounts, &rm).during(Step::DevNodes)?;
    check_start_hooks(plan, &rm)?;
    let bind = mounts.root.is_some();
    let made = terminals::setup(&plan.terminals, &rm.root, rm.dev(), from.console, bind)
        .during(Step::Ttys)?;
    mount::dev_links(&rm).during(Step::DevNodes)?;
    mount::boot_id(&rm);
    mount::pivot(mounts, rm).during(Step::Pivot)?;
    mount::after_pivot(mounts).during(Step::Pivot)?;
    Ok(made)
}

/// The name of the machine and the session keyring.
fn identity(plan: &StartPlan, from: &Inherited<'_>) -> Result<(), Failure> {
    if let Some(name) = plan.config.uts_name.as_deref().filter(|_| plan.ns.creates(NsKind::Uts)) {
        process::sethostname(name).during(Step::Hostname)?;
    }
    if plan.limits.makes_keyring() {
        plan.lsm.label_keyrings(from.proc).during(Step::Keyring)?;
    }
    plan.limits.apply_keyring().during(Step::Keyring)
}

/// Trees that need an id map are opened here, mapped by the parent, which has the privilege, and
/// mounted here: the root file system's, and those of the entries.
#[allow(clippy::type_complexity, reason = "the two halves of one answer")]
fn idmapped_trees(
    plan: &StartPlan,
    from: &Inherited<'_>,
) -> Result<(Option<OwnedFd>, Vec<Option<OwnedFd>>), Failure> {
    let mut trees = mount::open_idmapped(&plan.mounts, from.root).during(Step::IdMappedMounts)?;
    if trees.is_empty() {
        return Ok((given(from)?, trees));
    }
    for tree in &trees {
        let one: Vec<BorrowedFd<'_>> = tree.iter().map(AsFd::as_fd).collect();
        from.end.send_some_fds(FdKind::IdMapped, &one).during(Step::IdMappedMounts)?;
    }
    from.end.reached(Step::IdMappedMounts).during(Step::IdMappedMounts)?;
    let verdicts = from.end.wait_verdicts(Step::IdMappedMounts)?;
    for (tree, good) in trees.iter_mut().zip(verdicts) {
        if !good {
            *tree = None;
        }
    }
    let root = match plan.mounts.root_idmap() {
        Some(_) => trees.remove(0),
        None => given(from)?,
    };
    Ok((root, trees))
}

fn given(from: &Inherited<'_>) -> Result<Option<OwnedFd>, Failure> {
    from.root.map(mount::dup_tree).transpose().during(Step::Rootfs)
}

/// A start hook is a program of the container; that it is missing is told before the change of
/// root, as LXC does.
fn check_start_hooks(plan: &StartPlan, rm: &RootMount) -> Result<(), Failure> {
    use crate::sys::path::Lookup;
    for hook in plan.config.hooks(HookKind::Start) {
        let Some(program) = hook.value.split_whitespace().next().filter(|p| p.starts_with('/'))
        else {
            continue;
        };
        rm.root.resolve(Path::new(program), Lookup::InRoot).map_err(|e| {
            Failure::new(Step::StartHooks, &e)
                .or_origin(Some(&hook.origin))
                .with_hint("start hooks run inside the container: the program must be there")
        })?;
    }
    Ok(())
}

fn send_terminals(from: &Inherited<'_>, terminals: &ChildTtys) -> Result<(), Failure> {
    let send = || -> Result<(), SysError> {
        if let Some(pty) = &terminals.console {
            from.end.send_fds(FdKind::Console, &[pty.master.as_fd(), pty.slave.as_fd()])?;
        }
        let ttys: Vec<BorrowedFd<'_>> =
            terminals.ttys.iter().flat_map(|tty| [tty.master.as_fd(), tty.slave.as_fd()]).collect();
        from.end.send_fds(FdKind::Ttys, &ttys)?;
        if let Some(devpts) = &terminals.devpts {
            from.end.send_fds(FdKind::Devpts, &[devpts.as_fd()])?;
        }
        Ok(())
    };
    send().during(Step::Ttys)
}

/// Session, standard streams and working directory of init. A stream that the caller keeps stays
/// what it is; the others are the console, or /dev/null without one.
fn streams(plan: &StartPlan, from: &Inherited<'_>, terminals: &ChildTtys) -> Result<(), Failure> {
    let set = || -> Result<(), SysError> {
        process::setsid()?;
        let null;
        let console = match (&terminals.console, from.console) {
            (Some(pty), _) => Some(pty.slave.as_fd()),
            (None, Some(pty)) => Some(pty.slave.as_fd()),
            (None, None) => None,
        };
        let stream = match console {
            Some(console) => console,
            None => {
                null = fd::open("/dev/null", OpenFlags::RDWR, 0)?;
                null.as_fd()
            }
        };
        for (number, keep) in (0..).zip(from.keep_streams) {
            if !keep {
                fd::dup_to_stdio(stream, number)?;
            }
        }
        if console.is_some() {
            // It stays free, as in LXC: the shell that init puts on it takes it as its controlling
            // terminal, and an interrupt typed before that is no signal to init.
            let _ = term::set_owner_mode(stream, Some(plan.init.uid), None, 0o620);
        }
        if let Some(cwd) = &plan.init.cwd {
            // After the change of root: "/" is the container's.
            let root = Root::open(Path::new("/"))?;
            root.mkdir_all(cwd.strip_prefix("/").unwrap_or(cwd), 0o755)
                .map(drop)
                .or_else(|e| if e.is(errno::ELOOP) { Ok(()) } else { Err(e) })?;
            process::chdir(cwd)?;
        }
        Ok(())
    };
    set().map_err(|e| {
        let mut failure = Failure::new(Step::Stdio, &e);
        failure.origin = plan.config.origin("lxc.init.cwd").cloned();
        failure
    })
}

/// With a user namespace: become its root, so that everything made from here on belongs to it.
/// lxc.init.uid and gid stand in where 0 is not mapped.
fn become_namespace_root(plan: &StartPlan) -> Result<(), Failure> {
    let Some((map, _)) = &plan.idmap else { return Ok(()) };
    let (uid, gid) = map.root();
    let uid = if uid.is_some() { 0 } else { plan.init.uid };
    let gid = if gid.is_some() { 0 } else { plan.init.gid };
    let set = || -> Result<(), SysError> {
        match cred::setgroups(&[]) {
            // Denied by /proc/PID/setgroups: an unprivileged map without newgidmap.
            Err(e) if e.is(errno::EPERM) => {}
            done => done?,
        }
        cred::set_gid(gid)?;
        cred::set_uid(uid)?;
        // Changing ids made the process undumpable, and its /proc files root's.
        prctl::set_dumpable(true)?;
        prctl::set_parent_death_signal(KILL)
    };
    set().during(Step::Ids)
}

/// The cgroup namespace can only be right once the process is in its cgroups; the time namespace
/// only takes offsets while nobody is in it.
fn late_namespaces(plan: &StartPlan, from: &Inherited<'_>) -> Result<(), Failure> {
    // Cloned into a cgroup namespace, its root would be what the process was in before.
    if plan.ns.creates(NsKind::Cgroup) {
        sysns::unshare(flag(NsKind::Cgroup)).during(Step::LateNamespaces)?;
    }
    if !plan.ns.creates(NsKind::Time) {
        return Ok(());
    }
    let make = || -> Result<(), SysError> {
        sysns::unshare(flag(NsKind::Time))?;
        let offsets = plan.config.time_offset;
        let line = |clock: &str, nanos: Option<i64>| {
            let nanos = nanos.unwrap_or(0);
            format!("{clock} {} {}\n", nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND))
        };
        let text = line("monotonic", offsets.monotonic) + &line("boottime", offsets.boot);
        from.proc.write("self/timens_offsets", text.as_bytes())?;
        let file = fd::open_at(from.proc.fd(), "self/ns/time_for_children", OpenFlags::RDONLY, 0)?;
        sysns::setns(file.as_fd(), flag(NsKind::Time))
    };
    make().map_err(|e| {
        Failure::new(Step::LateNamespaces, &e).or_hint(|| {
            Some("lxc.time.offset.*: a clock cannot be set before zero or beyond its range".into())
        })
    })
}

/// Everything that takes privilege away, in LXC's order; seccomp is the last.
fn restrict(plan: &StartPlan, from: &Inherited<'_>) -> Result<(), Failure> {
    plan.limits.apply_personality().during(Step::Personality)?;
    plan.limits.apply_sysctls(from.proc).during(Step::Sysctl)?;
    plan.caps.apply().during(Step::Caps)?;
    if plan.lsm.label().is_some() {
        // A procfs of this pid namespace that nobody in the container can have replaced.
        let own = ProcFs::private().or_else(|_| ProcFs::open()).during(Step::Lsm)?;
        plan.lsm.label_exec(&own).during(Step::Lsm)?;
    }
    if plan.config.no_new_privs {
        prctl::set_no_new_privs().during(Step::Seccomp)?;
    }
    if let Some(listener) = plan.seccomp.load().during(Step::Seccomp)? {
        from.end.send_fds(FdKind::SeccompNotify, &[listener.as_fd()]).during(Step::Seccomp)?;
    }
    Ok(())
}

fn run_hooks(
    plan: &StartPlan,
    from: &Inherited<'_>,
    kind: HookKind,
    step: Step,
) -> Result<(), Failure> {
    hook::run(kind, plan.config.hooks(kind), from.hooks, &[]).during(step)
}

/// The ids and groups of init, and its parent's death signal, which a change of ids clears.
fn become_init_user(plan: &StartPlan) -> Result<(), Failure> {
    let init = &plan.init;
    let set = || -> Result<(), SysError> {
        match cred::setgroups(&init.groups) {
            Err(e) if e.is(errno::EPERM) && plan.idmap.is_some() && init.groups.is_empty() => {}
            done => done?,
        }
        if plan.idmap.is_none() || init.uid != 0 || init.gid != 0 {
            cred::set_gid(init.gid)?;
            cred::set_uid(init.uid)?;
        }
        prctl::set_dumpable(true)?;
        let signal = plan.config.monitor_pdeath.map_or(KILL, |s| s.0);
        prctl::set_parent_death_signal(signal)
    };
    set().during(Step::Credentials)
}

/// Where a program without a slash is looked for in the container (environ(7), login(1)).
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The exec itself. Returns only the failure.
fn execute(plan: &StartPlan, from: &Inherited<'_>, ttys: &str) -> Result<Infallible, Failure> {
    let init = &plan.init;
    let mut env: Vec<String> = init.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if !ttys.is_empty() {
        env.push(format!("container_ttys={ttys}"));
    }
    let argv = CStrings::new(&init.argv).during(Step::Exec)?;
    let env = CStrings::new(&env).during(Step::Exec)?;
    let end = from.end.fd().as_raw_fd();
    fd::seal_above(3, &[end], Seal::CloseOnExec).during(Step::Exec)?;
    signal::reset_for_exec().during(Step::Exec)?;
    if let Some(binary) = &from.own_binary {
        return Err(Failure::new(Step::Exec, &process::exec_fd(binary.as_fd(), &argv, &env)));
    }
    let program = &init.argv[0];
    let candidates = if program.contains('/') {
        vec![program.clone()]
    } else {
        PATH.iter().map(|dir| format!("{dir}/{program}")).collect()
    };
    // As execvp(3): what cannot be executed here may be found further on, and is told if not.
    let mut last: Option<SysError> = None;
    for candidate in candidates {
        let path = CString::new(candidate.as_str())
            .map_err(|_| SysError::new("execve", program, errno::EINVAL))
            .during(Step::Exec)?;
        let error = process::exec(&path, &argv, &env);
        match error.errno {
            errno::EACCES => last = last.filter(|last| last.is(errno::EACCES)).or(Some(error)),
            errno::ENOENT | errno::ENOTDIR => last = last.or(Some(error)),
            _ => return Err(exec_failed(plan, &error)),
        }
    }
    let error = last.unwrap_or_else(|| SysError::new("execve", program, errno::ENOENT));
    Err(exec_failed(plan, &error))
}

fn exec_failed(plan: &StartPlan, error: &SysError) -> Failure {
    let root = plan.mounts.root.as_ref().map(|r| r.source.to_string());
    let root = root.as_deref().unwrap_or("/");
    let hint = match error.errno {
        errno::ENOENT => format!(
            "is the program, and its interpreter, in {root}? another one: lxc.init.cmd = /path"
        ),
        errno::EACCES => format!("chmod +x it below {root}, or mount that without noexec"),
        errno::ENOEXEC => "it is no program of this machine's architecture".to_string(),
        _ => String::new(),
    };
    let mut failure = Failure::new(Step::Exec, error);
    failure.origin = plan.init.origin.clone();
    failure.or_hint(|| (!hint.is_empty()).then_some(hint))
}

const SECOND: i64 = 1_000_000_000;
const KILL: i32 = crate::util::signames::Signal::KILL.0;

fn flag(kind: NsKind) -> i32 {
    ns::flag(kind) as i32
}
