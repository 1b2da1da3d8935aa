//! The monitor's half of a start, in order, and its undoing. Read it beside `child.rs`.
//!
//! A start is a stack of guards: the network, the cgroups, the process. Whatever fails, the
//! values that were made until then are dropped and take back what they stand for.

use super::child::{self, Inherited};
use super::plan::StartPlan;
use super::sync::{self, During, End, Failure, FdKind, Message, Step};
use crate::cgroup::{CgroupTree, CgroupView, Placed, Version};
use crate::config::{Config, HookKind, NsKind};
use crate::control::client::Client;
use crate::hook::{self, HookContext};
use crate::idmap::{IdMap, Mapped};
use crate::lsm::apparmor;
use crate::mount::{self, CgroupHierarchy, CgroupMountView};
use crate::net::{Network, Owner};
use crate::storage::{self, Attached, Pin};
use crate::sys::error::{Result as SysResult, SysError};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Cloned, Fork, KillOnDrop, Parent, Pid, Wait};
use crate::sys::procfs::{self, ProcFs};
use crate::sys::term::{self, Pty};
use crate::sys::{cred, errno, ns as sysns};
use crate::util::sentence::sentence;
use crate::util::signames::Signal;
use crate::{idmap, ns, tty};
use std::os::fd::{AsFd, OwnedFd};

/// Everything that a running container holds open in its monitor. Dropping it ends the container
/// and removes all of it.
pub struct Live {
    /// Process 1.
    pub init: KillOnDrop,
    /// Devices on the host.
    pub network: Option<Network>,
    /// The container's namespaces, for hooks and for what outlives init.
    pub namespaces: Vec<(NsKind, OwnedFd)>,
    /// The console's pair, `None` with `lxc.console.path = none`.
    pub console: Option<Pty>,
    /// The pairs of tty1 and up.
    pub ttys: Vec<Pty>,
    /// The root of its devpts.
    pub devpts: Option<OwnedFd>,
    /// The seccomp listener.
    pub seccomp: Option<OwnedFd>,
    /// Keeps the file system of the root from being made read-only under the container.
    pub pin: Option<Pin>,
    /// The generated profile.
    pub profile: Option<apparmor::Loaded>,
    /// The device of an image; the last to go.
    pub device: Option<Attached>,
}

/// What lives longer than one boot of the container.
pub struct Ground<'a> {
    /// The plan.
    pub plan: &'a StartPlan,
    /// Its cgroups; the monitor is in its own already.
    pub cgroups: &'a mut CgroupTree,
    /// The host's /proc.
    pub proc: &'a ProcFs,
    /// Streams of the caller that init keeps.
    pub keep_streams: [bool; 3],
}

/// Cgroups that the container's root may divide. What an ordinary user made stays the user's, who
/// attaches to it, and is the group's of the container's root.
fn give_cgroups(cgroups: &CgroupTree, map: &IdMap) {
    let give =
        |uid, gid| cgroups.chown(uid, gid).iter().for_each(|e| log::debug!("{}", sentence(e)));
    let done = match map.root() {
        (Some(uid), Some(gid)) if cred::euid() == 0 => {
            give(uid.0, gid.0);
            Ok(())
        }
        (Some(_), Some(_)) => Mapped::with_caller(map).map(|mapped| {
            let mut work = || {
                give(mapped.caller.0, 0);
                Ok(())
            };
            mapped.run(&mut work).unwrap_or_else(|e| log::debug!("{e}"));
        }),
        _ => Ok(()),
    };
    done.unwrap_or_else(|e| log::debug!("{}", sentence(&e)));
}

/// Starts the container once; at a reboot it is called again with the same ground.
///
/// # Errors
/// The first failure; nothing of this start is left then but the ground.
pub fn start(ground: &mut Ground<'_>, hooks: &mut HookContext) -> Result<Live, Failure> {
    let plan = ground.plan;
    let config = &plan.config;
    hook::run(HookKind::PreStart, config.hooks(HookKind::PreStart), hooks, &[])
        .during(Step::PreStartHooks)?;
    let (uid, gid) = plan.idmap.as_ref().map_or((None, None), |(map, _)| map.root());
    let host_console =
        tty::host::console_pty(&plan.terminals, uid.map(|id| id.0), gid.map(|id| id.0))
            .during(Step::Console)?;
    let profile = plan.lsm.prepare().during(Step::LsmPrepare)?;
    ground.cgroups.create_payload().during(Step::Cgroups)?;
    ground.cgroups.apply_limits().during(Step::CgroupLimits)?;
    let joins =
        ns::open_joins(&plan.ns, |name| Client::new(&plan.request.lxcpath, name).init_pid().ok())
            .during(Step::ShareNamespaces)?;

    // A device is mounted by who is root on the host; the child is not.
    let device = storage::attach(config).during(Step::Rootfs)?;
    let alien = device.is_some()
        || plan.mounts.user_ns && plan.mounts.root.as_ref().is_some_and(|r| r.source.needs_host());
    let tree = match alien {
        true => {
            let source = device.as_ref().map(Attached::source);
            mount::open_rootfs(&plan.mounts, source).during(Step::Rootfs)?
        }
        false => None,
    };

    let (end, init) = clone_child(ground, hooks, &host_console, &joins, tree.as_ref())?;
    drop(tree);
    let pid = init.pid();
    log::info!("init is process {pid}");
    hooks.pid = Some(pid);
    if let Some((map, writer)) = &plan.idmap {
        idmap::write(map, writer, pid).during(Step::IdMap)?;
        give_cgroups(ground.cgroups, map);
        end.go(Step::Begin).during(Step::Begin)?;
    }
    let mut parts = Parts { end, init, trees: Vec::new(), live: Received::default() };
    if plan.network_after_ids() {
        parts.until_own_network()?;
    }
    let network = make_network(plan, hooks, &mut parts)?;
    apply_limits(ground, pid).map_err(|own| parts.blame(own))?;
    let _ = parts.end.go(Step::Network);
    // While the child is at work.
    let pin = pin_root(config).map_err(|own| parts.blame(own))?;
    parts.until_ready(plan)?;
    ground.cgroups.attach_devices().during(Step::Devices)?;
    let namespaces = keep_namespaces(plan, pid).during(Step::Running)?;
    hook::run(HookKind::StartHost, config.hooks(HookKind::StartHost), hooks, &[])
        .during(Step::StartHostHooks)?;
    // A child that died meanwhile is told by the next line's reader.
    let _ = parts.end.go(Step::Ready);
    parts.until_exec()?;
    let Parts { init, live, .. } = parts;
    let console = pairs(live.console).pop().or(host_console);
    Ok(Live {
        init,
        network,
        namespaces,
        console,
        ttys: pairs(live.ttys),
        devpts: live.devpts,
        seccomp: live.seccomp,
        pin,
        profile,
        device,
    })
}

/// Makes the container's process and gives back the parent's end.
fn clone_child(
    ground: &Ground<'_>,
    hooks: &HookContext,
    console: &Option<Pty>,
    joins: &[(NsKind, OwnedFd)],
    root: Option<&OwnedFd>,
) -> Result<(End, KillOnDrop), Failure> {
    let plan = ground.plan;
    let own_binary = if plan.request.execute {
        Some(fd::open("/proc/self/exe", OpenFlags::PATH, 0).during(Step::Clone)?)
    } else {
        None
    };
    let view = mount_view(&ground.cgroups.view(plan.ns.creates(NsKind::Cgroup)));
    let mut late = ns::flag(NsKind::Cgroup) | ns::flag(NsKind::Time);
    if plan.network_after_ids() {
        late |= ns::flag(NsKind::Net);
    }
    let flags = plan.ns.flags() & !late;
    let (parent_end, child_end) = sync::pair().during(Step::Clone)?;
    let mut inherited = Inherited {
        end: child_end,
        proc: ground.proc,
        cgroups: ground.cgroups,
        placed: Placed::Nowhere,
        root: root.map(AsFd::as_fd),
        view,
        console: console.as_ref(),
        keep_streams: ground.keep_streams,
        own_binary,
        hooks,
    };
    if !joins.is_empty() {
        return clone_joined(plan, inherited, parent_end, joins, flags);
    }
    let mut placed = false;
    let cgroup = ground.cgroups.payload_fd();
    match process::clone3(flags, Parent::Caller, cgroup, &mut placed).map_err(clone_failed)? {
        Cloned::Child => {
            drop(parent_end);
            inherited.placed = if placed { Placed::InUnified } else { Placed::Nowhere };
            child::run(plan, &inherited)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(inherited);
            Ok((parent_end, KillOnDrop::new(pid, pidfd)))
        }
    }
}

/// With namespaces to join, a process in between joins them and clones a child of ours: this
/// process could not leave a user or pid namespace again.
fn clone_joined(
    plan: &StartPlan,
    inherited: Inherited<'_>,
    parent_end: End,
    joins: &[(NsKind, OwnedFd)],
    flags: u64,
) -> Result<(End, KillOnDrop), Failure> {
    let (news, teller) = sync::pair().during(Step::Clone)?;
    match process::fork().during(Step::Clone)? {
        Fork::Child => {
            drop(news);
            drop(parent_end);
            let failed = join_and_clone(plan, &inherited, joins, flags, &teller);
            let Err(failure) = failed else { process::exit_now(0) };
            teller.fail(&failure);
            process::exit_now(1)
        }
        Fork::Parent(between) => {
            drop(teller);
            drop(inherited);
            let told = news.receive().during(Step::Clone);
            let end = process::wait(between).during(Step::Clone)?;
            match told? {
                Some(Message::Pid(pid, pidfd)) => Ok((parent_end, KillOnDrop::new(pid, pidfd))),
                Some(Message::Failed(failure)) => Err(failure),
                _ => Err(died(Step::ShareNamespaces, end)),
            }
        }
    }
}

/// # In the child
/// The process in between. Returns in it once the container's process exists.
fn join_and_clone(
    plan: &StartPlan,
    inherited: &Inherited<'_>,
    joins: &[(NsKind, OwnedFd)],
    flags: u64,
    teller: &End,
) -> Result<(), Failure> {
    for (kind, file) in joins {
        sysns::setns(file.as_fd(), ns::flag(*kind) as i32).map_err(|e| {
            let mut failure = Failure::new(Step::ShareNamespaces, &e);
            let join = plan.ns.join.iter().find(|join| join.kind == *kind);
            failure.origin = join.map(|join| join.origin.clone());
            failure
        })?;
    }
    let mut placed = false;
    match process::clone3(flags, Parent::Callers, None, &mut placed).map_err(clone_failed)? {
        Cloned::Child => child::run(plan, inherited),
        Cloned::Parent { pid, pidfd } => {
            teller.send_pid(pid, pidfd.as_ref().map(AsFd::as_fd)).during(Step::Clone)
        }
    }
}

/// clone(2) uses few numbers for many reasons; the likely one is the hint.
fn clone_failed(e: SysError) -> Failure {
    let hint = match e.errno {
        errno::EPERM => Some(
            "root is needed, or user namespaces are forbidden here: sysctl \
             kernel.unprivileged_userns_clone kernel.apparmor_restrict_unprivileged_userns",
        ),
        errno::EINVAL => {
            Some("this kernel lacks one of the namespaces: lxc-checkconfig tells which")
        }
        errno::ENOSPC => Some("too many namespaces: sysctl user.max_*_namespaces"),
        errno::EAGAIN => Some("too many processes: ulimit -u, pids.max, sysctl kernel.pid_max"),
        _ => None,
    };
    Failure::new(Step::Clone, &e).or_hint(|| hint.map(str::to_string))
}

fn died(step: Step, end: Wait) -> Failure {
    let text = match end {
        Wait::Signaled(signal) => {
            format!("the container's process was killed by {}", Signal(signal))
        }
        Wait::Exited(code) => format!("the container's process ended with status {code}"),
        Wait::Running => "the container's process closed its channel".to_string(),
    };
    Failure::text(step, text)
}

/// The container's process and what it has sent until now.
struct Parts {
    end: End,
    init: KillOnDrop,
    trees: Vec<Option<OwnedFd>>,
    live: Received,
}

#[derive(Default)]
struct Received {
    console: Vec<OwnedFd>,
    ttys: Vec<OwnedFd>,
    devpts: Option<OwnedFd>,
    seccomp: Option<OwnedFd>,
}

impl Parts {
    /// The next message that is not for the log.
    fn next(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            match self.end.receive().during(Step::Ready)? {
                Some(Message::Log(level, text)) => crate::logging::forward(level, &text),
                Some(Message::Failed(failure)) => {
                    // It is on its way out; its status says nothing more.
                    let _ = self.init.wait();
                    return Err(failure);
                }
                message => return Ok(message),
            }
        }
    }

    /// The child's own failure, where the parent's only says that the child is gone already.
    fn blame(&mut self, own: Failure) -> Failure {
        let _ = process::send_signal(self.init.pid(), self.init.pidfd(), Signal::KILL.0);
        // ENOENT: a zombie has no namespaces in /proc.
        if !matches!(own.errno, Some(errno::ESRCH | errno::ENOENT)) {
            return own;
        }
        loop {
            match self.next() {
                Err(childs) => return childs,
                Ok(None) => return own,
                Ok(Some(_)) => {}
            }
        }
    }

    /// Waits until the child is in its network namespace: devices go where it is.
    fn until_own_network(&mut self) -> Result<(), Failure> {
        match self.next()? {
            Some(Message::Reached(Step::LateNamespaces)) => Ok(()),
            None => Err(died(Step::LateNamespaces, self.init.wait().during(Step::Begin)?)),
            Some(other) => Err(Failure::text(
                Step::LateNamespaces,
                format!("unexpected message {}", other.name()),
            )),
        }
    }

    /// Collects what the child sends until it is set up.
    fn until_ready(&mut self, plan: &StartPlan) -> Result<(), Failure> {
        loop {
            match self.next()? {
                Some(Message::Reached(Step::Ready)) => return Ok(()),
                Some(Message::Reached(Step::IdMappedMounts)) => self.map_trees(plan)?,
                Some(Message::Fds(FdKind::IdMapped, fds)) => {
                    self.trees.push(fds.into_iter().next());
                }
                Some(Message::Fds(FdKind::Ttys, fds)) => self.live.ttys.extend(fds),
                Some(Message::Fds(FdKind::Console, fds)) => self.live.console = fds,
                Some(Message::Fds(kind, fds)) => {
                    let slot = match kind {
                        FdKind::Devpts => &mut self.live.devpts,
                        FdKind::SeccompNotify => &mut self.live.seccomp,
                        FdKind::Console | FdKind::Ttys | FdKind::IdMapped => continue,
                    };
                    *slot = fds.into_iter().next();
                }
                None => return Err(died(Step::Ready, self.init.wait().during(Step::Ready)?)),
                Some(other) => {
                    return Err(Failure::text(
                        Step::Ready,
                        format!("unexpected message {}", other.name()),
                    ));
                }
            }
        }
    }

    fn map_trees(&mut self, plan: &StartPlan) -> Result<(), Failure> {
        let user = procfs::open_namespace(self.init.pid(), "user").during(Step::IdMappedMounts)?;
        let good = mount::apply_idmaps(&plan.mounts, &self.trees, Some(user.as_fd()))
            .during(Step::IdMappedMounts)?;
        self.trees.clear();
        // A child that died meanwhile is told by the next message.
        let _ = self.end.verdicts(&good);
        Ok(())
    }

    /// Waits for the exec: the end of the channel, without a word before it.
    fn until_exec(&mut self) -> Result<(), Failure> {
        match self.next()? {
            None => match process::peek(self.init.pid()).during(Step::Exec)? {
                // An init that ends at once has been started all the same; the monitor's loop
                // sees its end. A death by SIGKILL before exec looks the same but for the mark
                // that exec leaves.
                Wait::Running | Wait::Exited(_) => Ok(()),
                Wait::Signaled(_) if procfs::has_execed(self.init.pid()) => Ok(()),
                end @ Wait::Signaled(_) => {
                    let _ = self.init.wait();
                    Err(died(Step::Exec, end))
                }
            },
            Some(other) => {
                Err(Failure::text(Step::Exec, format!("unexpected message {}", other.name())))
            }
        }
    }
}

/// Keeps the file system of the root writable.
fn pin_root(config: &Config) -> Result<Option<Pin>, Failure> {
    match storage::open(config).during(Step::Rootfs)? {
        Some(backend) => Pin::rootfs(config, backend.as_ref()).during(Step::Rootfs),
        None => Ok(None),
    }
}

/// What the parent sets of a process of which the rest is up to the child.
fn apply_limits(ground: &Ground<'_>, pid: Pid) -> Result<(), Failure> {
    let limits = &ground.plan.limits;
    limits.apply_rlimits(pid).during(Step::Prlimit)?;
    limits.apply_sched_core(pid).during(Step::Prlimit)?;
    limits.apply_procs(ground.proc, pid).during(Step::ProcFiles)
}

fn make_network(
    plan: &StartPlan,
    hooks: &HookContext,
    parts: &mut Parts,
) -> Result<Option<Network>, Failure> {
    if !plan.makes_network() {
        return Ok(None);
    }
    let made =
        procfs::open_namespace(parts.init.pid(), "net").during(Step::Network).and_then(|netns| {
            let request = &plan.request;
            let (lxcpath, name) = (&request.lxcpath, &request.name);
            let owner = Owner { init: parts.init.pid(), lxcpath, name };
            let context = hooks.script_context();
            Network::create(&plan.net, netns.as_fd(), &owner, &context).during(Step::Network)
        });
    made.map(Some).map_err(|own| parts.blame(own))
}

/// Master, slave, master, slave, … as pairs again. Their numbers matter to nobody any more.
fn pairs(ends: Vec<OwnedFd>) -> Vec<Pty> {
    let mut ends = ends.into_iter();
    let next = || ends.next().zip(ends.next());
    std::iter::from_fn(next).map(|(master, slave)| Pty { master, slave, index: 0 }).collect()
}

/// Opens the container's namespaces, those that it has of its own.
pub(super) fn keep_namespaces(plan: &StartPlan, pid: Pid) -> SysResult<Vec<(NsKind, OwnedFd)>> {
    let own = NsKind::ALL.into_iter().filter(|&kind| plan.ns.separate(kind));
    own.map(|kind| Ok((kind, procfs::open_namespace(pid, kind.name())?))).collect()
}

/// The cgroups as module `mount` wants them.
fn mount_view(view: &CgroupView) -> CgroupMountView {
    let hierarchies = view.hierarchies.iter().map(|h| CgroupHierarchy {
        v2: h.version == Version::V2,
        dir: h.dir.clone(),
        links: h.links.clone(),
        options: h.fs_options.clone(),
        host: h.host_mount.clone(),
        own: h.own_path.clone(),
    });
    CgroupMountView {
        cgroup_ns: view.own_namespace,
        unified_only: view.kind == crate::cgroup::LayoutKind::Unified,
        hierarchies: hierarchies.collect(),
    }
}

/// Which streams of the caller init keeps: those of lxc-execute in the foreground that are no
/// terminals. A terminal is never handed in (TIOCSTI, CVE-2016-10124): the console stands for it.
pub fn kept_streams(plan: &StartPlan) -> [bool; 3] {
    let keep = plan.request.execute && plan.request.foreground;
    [0, 1, 2].map(|number| keep && !term::is_tty(fd::borrow(number)))
}

/// The descriptors of `namespaces` by number, for hooks.
pub fn namespace_numbers(namespaces: &[(NsKind, OwnedFd)]) -> Vec<(NsKind, i32)> {
    use std::os::fd::AsRawFd;
    namespaces.iter().map(|(kind, file)| (*kind, file.as_fd().as_raw_fd())).collect()
}
