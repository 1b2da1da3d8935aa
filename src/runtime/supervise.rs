//! The supervising process of one container: start, event loop, end, and again at a reboot.

use super::daemon::{self, Fate, Mode, PidFile};
use super::monitor::{ConsoleEnds, Monitor};
use super::plan::StartPlan;
use super::restore;
use super::start::{self, Ground, Live};
use super::sync::{During, End, Failure, Step};
use crate::cgroup::{CgroupTree, Placed};
use crate::config::path::run_dir;
use crate::config::{Explain, HookKind, NsKind};
use crate::control::server::Server;
use crate::control::state::{State, monitor_fifo};
use crate::hook::{self, HookContext, Target};
use crate::net::Network;
use crate::sys::error::Result as SysResult;
use crate::sys::event::{self, Ready};
use crate::sys::fd::{self, OpenFlags};
use crate::sys::process::{self, Cloned, Parent, Wait};
use crate::sys::procfs::ProcFs;
use crate::sys::signal::Mask;
use crate::sys::{cred, errno, ns as sysns, signal, title};
use crate::util::sentence::sentence;
use crate::util::signames::Signal;
use crate::{cgroup, mount, ns};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// What a start needs besides its plan.
pub struct Supervise {
    /// The plan.
    pub plan: Box<StartPlan>,
    /// Where to write the supervisor's number.
    pub pidfile: Option<PathBuf>,
    /// Destroys the container at its end, for `lxc.ephemeral`.
    pub destroy: Box<dyn FnOnce() -> Result<(), String>>,
}

/// How a container ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The end of its init.
    pub how: Wait,
}

/// Takes the container's name: from here on it is not STOPPED for anybody who asks.
///
/// # Errors
/// [`Failure::already_running`], or the socket's.
pub fn bind(plan: &StartPlan) -> Result<Server, Failure> {
    Server::bind(&plan.request.lxcpath, &plan.request.name).map_err(|e| {
        if e.is(errno::EADDRINUSE) {
            return Failure::already_running();
        }
        Failure::new(Step::Socket, &e)
    })
}

/// Starts the container under its name and supervises it, in this process or in a daemon.
///
/// # Errors
/// The failure of the start, after everything has been undone.
pub fn start(what: Supervise, server: Server, mode: Mode) -> Result<Option<Ended>, Failure> {
    // A signal that ends us waits until there is a monitor, which takes it, or a starter that has
    // nothing to remove.
    let mask = signal::block_all_but(&FATAL).during(Step::Monitor)?;
    let done = start_blocked(what, server, mode, &mask);
    if mode == Mode::Daemon {
        let _ = signal::restore(&mask);
    }
    done
}

fn start_blocked(
    what: Supervise,
    server: Server,
    mode: Mode,
    mask: &Mask,
) -> Result<Option<Ended>, Failure> {
    // Made here, so that the monitor can be born in it: to move a process costs the kernel a
    // grace period of milliseconds.
    let cgroups = CgroupTree::create_monitor(&what.plan.cgroup).during(Step::Cgroups)?;
    let into = cgroups.monitor_fd();
    // The socket is the monitor's alone: one that is gone must not be taken for one that sleeps, nor
    // keep the next from its name.
    let release = |(what, _, cgroups): (Supervise, Server, CgroupTree)| {
        let _ = signal::restore(mask);
        (what, cgroups)
    };
    let after = |(what, cgroups): (Supervise, CgroupTree), fate| {
        if fate == Fate::Killed {
            drop(cgroups);
            cgroup::remove_leftovers(&what.plan.cgroup, AFTER_KILL);
        } else {
            cgroups.disarm();
        }
    };
    let run = |(what, server, cgroups), end, placed| supervise(what, server, cgroups, end, placed);
    daemon::launch(mode, (what, server, cgroups), into, run, release, after)
}

/// How long the processes of a killed monitor's container may take to die with it.
const AFTER_KILL: Duration = Duration::from_secs(2);

fn supervise(
    mut what: Supervise,
    mut server: Server,
    mut cgroups: CgroupTree,
    report: Option<End>,
    placed: Placed,
) -> Result<Ended, Failure> {
    cgroups.take_over();
    let dir = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let run_dir = run_dir(cred::euid(), cred::egid(), dir("XDG_RUNTIME_DIR"), dir("HOME"));
    server.set_monitord_fifo(monitor_fifo(&run_dir, &what.plan.request.lxcpath));
    let prepared = prepare(&what, &cgroups, placed)
        .and_then(|prepared| Ok((prepared, Box::new(Monitor::new(&what.plan, server)?))));
    let done = prepared.and_then(|((pidfile, proc, reserve), monitor)| {
        let mut session = Session {
            reserve,
            hooks: hook_context(&what.plan),
            plan: &mut what.plan,
            proc,
            cgroups,
            monitor,
            report: report.as_ref(),
            daemon: report.is_some(),
            pidfile,
            network: None,
            restored: false,
        };
        let how = session.run()?;
        Ok((how, session))
    });
    match done {
        Ok((how, session)) => {
            if session.plan.config.ephemeral {
                if let Err(e) = (what.destroy)() {
                    log::error!("destroying the ephemeral container: {e}");
                }
            }
            session.farewell();
            Ok(Ended { how })
        }
        Err(failure) => {
            if let Some(report) = &report {
                report.fail(&failure);
            }
            Err(failure)
        }
    }
}

/// What is needed before the first state is announced.
#[allow(clippy::type_complexity, reason = "the parts of a session, made in order")]
fn prepare(
    what: &Supervise,
    cgroups: &CgroupTree,
    placed: Placed,
) -> Result<(Option<PidFile>, ProcFs, Vec<OwnedFd>), Failure> {
    let plan = &what.plan;
    let pidfile = what.pidfile.as_deref().map(PidFile::write).transpose().during(Step::Monitor)?;
    let request = &plan.request;
    // Cosmetic: without CONFIG_CHECKPOINT_RESTORE the kernel refuses it.
    let _ =
        title::set_title(&format!("[lxc monitor] {} {}", request.lxcpath.display(), request.name));
    if plan.config.monitor_unshare {
        sysns::unshare(ns::flag(NsKind::Mnt) as i32).during(Step::Monitor)?;
        mount::slave_all().map_err(mount::Fault::Slave).during(Step::Monitor)?;
    }
    let proc = ProcFs::open().during(Step::Monitor)?;
    let reserve = reserve().during(Step::Monitor)?;
    if let Err(failure) = cgroups.enter_monitor_self(placed).during(Step::Cgroups) {
        // Before the tree is dropped, which may need them.
        drop(reserve);
        return Err(failure);
    }
    Ok((pidfile, proc, reserve))
}

/// Descriptors that are given up when a start fails, so that undoing it works even where it
/// failed for want of descriptors, and when it is done: a container that runs can then be asked
/// and stopped however few its starter was allowed.
fn reserve() -> SysResult<Vec<OwnedFd>> {
    let null = fd::open("/dev/null", OpenFlags::PATH, 0)?;
    let more = (0..7).map(|_| fd::dup_above(null.as_fd(), 3));
    let mut all: Vec<OwnedFd> = more.collect::<SysResult<_>>()?;
    all.push(null);
    Ok(all)
}

/// Signals that LXC's monitor leaves alone: faults of its own.
const FATAL: [i32; 3] = [4, 7, 11];

fn hook_context(plan: &StartPlan) -> HookContext {
    let request = &plan.request;
    let mut hooks = HookContext::new(&plan.config, &request.name, request.config_file.as_deref());
    hooks.rootfs_mount = Some(plan.mounts.mount_point().to_path_buf());
    hooks
}

/// One container over all its boots.
struct Session<'a> {
    plan: &'a mut StartPlan,
    proc: ProcFs,
    cgroups: CgroupTree,
    hooks: HookContext,
    monitor: Box<Monitor>,
    report: Option<&'a End>,
    /// The process ends with the container.
    daemon: bool,
    reserve: Vec<OwnedFd>,
    pidfile: Option<PidFile>,
    /// The boot out of a checkpoint is over; what follows a reboot is a start.
    restored: bool,
    /// After the last boot: devices whose removal nobody has to wait for.
    network: Option<Network>,
}

impl Session<'_> {
    /// Boots until a boot does not end in a reboot.
    fn run(&mut self) -> Result<Wait, Failure> {
        loop {
            self.monitor.set_state(State::Starting);
            let (mut live, ends) = match self.boot() {
                Ok(booted) => booted,
                Err(failure) => {
                    self.monitor.set_state(State::Aborting);
                    self.undo();
                    return Err(failure);
                }
            };
            self.reserve.clear();
            self.monitor.set_state(State::Running);
            if let Some(report) = self.report.take() {
                // The starter may be gone; the container runs all the same.
                let _ = report.reached(Step::Running);
            }
            let how = self.monitor.run(self.plan, &mut live, ends, &mut self.cgroups)?;
            let target = if is_reboot(how) { Target::Reboot } else { Target::Stop };
            if !self.end(live, target) || target == Target::Stop {
                return Ok(how);
            }
        }
    }

    /// The end of it all: leaves the monitor's cgroup and has it removed.
    ///
    /// A process that moves waits for a grace period of the kernel, milliseconds for whoever waits
    /// for the stop. A daemon ends instead, and a child of its own, born outside, removes the
    /// cgroup. The clients' connections end then: nothing of the container is left that the next
    /// start would meet. Devices come last, they take the kernel longer than all the rest.
    fn farewell(mut self) {
        self.pidfile = None;
        if self.daemon {
            warn_all(self.cgroups.leave_monitor(Placed::InUnified));
            if let (Some(pivot), Ok(own)) =
                (self.cgroups.pivot_fd(), process::pidfd_open(process::own_pid()))
            {
                let mut placed = false;
                let into = Some(pivot.as_fd());
                match process::clone3(0, Parent::Caller, into, &mut placed) {
                    Ok(Cloned::Parent { .. }) if placed => {
                        self.cgroups.disarm();
                        // Its streams and clients are the child's now.
                        process::exit_now(0);
                    }
                    Ok(Cloned::Child) => {
                        if placed {
                            self.cgroups.take_over();
                            let _ = event::poll(own.as_fd(), Ready::READ, None);
                            self.vanish();
                        }
                        process::exit_now(0);
                    }
                    _ => {}
                }
            }
        }
        warn_all(self.cgroups.leave_monitor(Placed::Nowhere));
        self.vanish();
    }

    fn vanish(mut self) {
        warn_all(self.cgroups.remove_monitor());
        drop(self.monitor);
        if let Some(network) = self.network {
            warn_all(network.teardown_after_namespace(&self.hooks.script_context()));
        }
    }

    fn boot(&mut self) -> Result<(Live, ConsoleEnds), Failure> {
        if self.reserve.is_empty() {
            self.reserve = reserve().during(Step::Monitor)?;
        }
        let ends = self.monitor.open_console(self.plan)?;
        // As in LXC the hooks of a boot that follows a reboot find that in LXC_TARGET.
        self.hooks.pid = None;
        self.hooks.namespaces.clear();
        let mut ground = Ground {
            plan: self.plan,
            cgroups: &mut self.cgroups,
            proc: &self.proc,
            keep_streams: start::kept_streams(self.plan),
        };
        let live = match &self.plan.request.restore {
            Some(images) if !self.restored => {
                self.restored = true;
                restore::restore(&mut ground, &mut self.hooks, images)?
            }
            _ => start::start(&mut ground, &mut self.hooks)?,
        };
        Ok((live, ends))
    }

    /// After a failed start: the stop and post-stop hooks run as after any end, however far the
    /// start came (LXC's users undo in them what pre-start did), and the cgroups go.
    fn undo(&mut self) {
        self.reserve.clear();
        self.hooks.target = Some(Target::Stop);
        let run = |kind| {
            if let Err(e) = hook::run(kind, self.plan.config.hooks(kind), &self.hooks, &[]) {
                log::error!("{}", sentence(&e));
            }
        };
        run(HookKind::Stop);
        warn_all(self.cgroups.remove());
        run(HookKind::PostStop);
    }

    /// What follows init's end, in LXC's order (`lxc_end`). False if a reboot must not follow.
    fn end(&mut self, mut live: Live, target: Target) -> bool {
        self.monitor.set_state(State::Stopping);
        let hooks = &mut self.hooks;
        hooks.namespaces = start::namespace_numbers(&live.namespaces);
        if let Some(network) = &mut live.network {
            warn_all(network.down(&hooks.script_context()));
        }
        hooks.target = Some(target);
        let config = &self.plan.config;
        let run = |kind, hooks: &HookContext| hook::run(kind, config.hooks(kind), hooks, &[]);
        if let Err(e) = run(HookKind::Stop, hooks) {
            log::error!("{}", sentence(&e));
        }
        drop(live.profile);
        if live.device.is_some() {
            // Mounted as long as somebody holds the namespace.
            hooks.namespaces.clear();
            live.namespaces.clear();
            live.device = None;
        }
        warn_all(self.cgroups.remove_payload());
        if target == Target::Stop {
            // From here on the container is STOPPED for everybody who asks.
            self.monitor.close();
            self.network = live.network;
        } else {
            self.monitor.set_state(State::Stopped);
            self.monitor.between_boots();
            if let Some(network) = live.network {
                warn_all(network.teardown(&hooks.script_context()));
            }
        }
        match run(HookKind::PostStop, hooks) {
            Ok(()) => true,
            Err(e) => {
                log::error!("{}", sentence(&e));
                false
            }
        }
    }
}

/// The kernel ends the init of a pid namespace that calls reboot(2) by SIGHUP for a restart and
/// by SIGINT for a halt (pid_namespaces(7)).
fn is_reboot(how: Wait) -> bool {
    how == Wait::Signaled(Signal::HUP.0)
}

fn warn_all<E: Explain>(errors: Vec<E>) {
    for error in errors {
        log::warn!("{}", sentence(&error));
    }
}
