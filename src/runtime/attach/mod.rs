//! Running a command in a running container: lxc-attach.
//!
//! `options` says what is asked for, `target` what the container is like, `plan` puts both
//! together; `child` are the two processes that become the command, `wire` what they tell this
//! one, `stdio` and `relay` the terminal between. Start reading at
//! [`Attachment`].

mod child;
mod env;
mod error;
mod options;
mod plan;
mod relay;
mod remount;
mod stdio;
mod target;
mod wire;

pub use error::AttachError;
pub use options::{Elevated, EnvRules, Options, parse_id, parse_namespaces};
pub use target::hold;
pub use wire::{Remote, Step};

use crate::cgroup::attach::AttachCgroups;
use crate::cgroup::{Base, Layout};
use crate::config::{Config, IdKind, NsKind};
use crate::control::client::{CgroupCtx, Client, ClientError};
use crate::idmap::{HostId, IdMap};
use crate::ns::{NsSet, Target};
use crate::sys::process::{self, Cloned, KillOnDrop, Pid, Wait};
use crate::sys::procfs::ProcFs;
use crate::sys::sealed::{self, Binary, Method};
use crate::sys::{cred, dirs, procfs, vfork};
use crate::util::quote::quoted;
use child::Hands;
use plan::AttachPlan;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use stdio::Streams;
use wire::{ChildEnd, Left, Message, ParentEnd};

/// A running container that a command can be run in.
pub struct Attachment {
    client: Client,
    target: Target,
    /// Namespaces that init does not share with the caller.
    differing: NsSet,
    /// Of init, from its /proc.
    status: String,
    /// Of init, when its user namespace is not the caller's.
    map: Option<IdMap>,
    /// What the monitor has told of its cgroups already.
    cgroups: Option<CgroupCtx>,
}

impl Attachment {
    /// Asks the monitor of container `name` below `lxcpath` what [`Attachment::open`] wants to
    /// know: there is time for something else then, while it works on its answer.
    pub fn ask(lxcpath: &Path, name: &str) -> Client {
        let client = Client::new(lxcpath, name);
        client.ask_init_and_cgroups();
        client
    }

    /// Takes hold of the container.
    ///
    /// May execute this program anew from a sealed copy, so it comes before all that must not
    /// happen twice, and before all that takes time.
    ///
    /// # Errors
    /// The container is not running, or may not be looked at.
    pub fn open(client: Client) -> Result<Self, AttachError> {
        let (target, cgroups) = target::hold_all(&client)?;
        let look = || {
            let differing = target.different(&Target::own()?, NsSet::ALL)?;
            let map = match differing.has(NsKind::User) {
                true => Some(IdMap::of_process(target.pid())?),
                false => None,
            };
            let status = target::status(&target)?;
            seal(&target, &status, map.as_ref())?;
            Ok((differing, map, status))
        };
        let (differing, map, status) = look()
            .map_err(|e| if procfs::is_ending(target.dir()) { AttachError::Stopped } else { e })?;
        Ok(Self { client, target, differing, status, map, cgroups })
    }

    /// Runs a command and waits for its end. `config` is the container's configuration file (or
    /// the one to use instead), for the environment, limits and /proc settings; what confines the
    /// container is taken from the container itself. Standard input, output and error are the
    /// command's, see `stdio`.
    ///
    /// # Errors
    /// Anything that keeps the command from running; [`AttachError::exit_status`] is then the
    /// status.
    pub fn run(mut self, config: &Config, options: &Options) -> Result<Wait, AttachError> {
        let done = self.attempt(config, options);
        match done {
            Ok(Wait::Exited(_)) => done,
            done if !procfs::is_ending(self.target.dir()) => done,
            // With its container, and the exit status alone would not tell.
            Ok(how) => Err(AttachError::Ended { how }),
            Err(_) => Err(AttachError::Stopped),
        }
    }

    fn attempt(&mut self, config: &Config, options: &Options) -> Result<Wait, AttachError> {
        let Self { client, target, differing, status, map, cgroups } = self;
        let proc = ProcFs::open()
            .map_err(|source| AttachError::Process { what: "opening /proc", source })?;
        let init = target::Init { target, differing: *differing, status };
        let facts = target::facts(init, client, config, options, &proc)?;
        let plan = plan::plan(options, config, facts, std::env::vars_os())?;

        let map = map.as_ref().filter(|_| plan.join.has(NsKind::User));
        let streams = Streams::probe();
        let terminal = match streams.any() {
            true => Some(stdio::open_terminal(target, plan.join, streams)?),
            false => None,
        };
        let log = pty_log(options)?;
        let slave = || terminal.as_ref().map(|t| t.slave.as_fd());
        let uid = stdio::host_id(map, IdKind::Uid, plan.uid);
        stdio::give_to_user(streams, slave(), uid, cred::euid())?;
        let cgroups = match plan.cgroup {
            true => Some(match cgroups.take() {
                Some(ctx) => AttachCgroups::from_fds(ctx.fds),
                None => ask_cgroups(client)?,
            }),
            false => None,
        };
        // A dozen descriptors, which the end of this process closes cheaper.
        let cgroups = ManuallyDrop::new(cgroups);
        relay::block_signals()
            .map_err(|source| AttachError::Process { what: "blocking signals", source })?;
        let hands = Hands {
            target,
            cgroups: cgroups.as_ref(),
            placed: false,
            proc: plan.limits.has_procs().then_some(&proc),
            slave: slave(),
            streams,
        };
        let pid = start(&plan, hands, client, &proc)?;
        let init = target.pid();
        log::info!("{} is process {pid}, in the namespaces of {init}", quoted(&plan.shown));
        let how = relay::run(pid, terminal, streams, log, options.deadline)?;
        log::info!("process {pid} {how}");
        Ok(how)
    }
}

/// True if an attached process would get a terminal: one of the standard descriptors is one.
pub fn has_terminal() -> bool {
    Streams::probe().any()
}

/// Runs out of the container's reach from here on, unless nobody in it could write our binary: the
/// root of a user namespace that does not map the file's owner cannot.
fn seal(target: &Target, status: &str, map: Option<&IdMap>) -> Result<(), AttachError> {
    let binary = Binary::own().map_err(AttachError::Seal)?;
    if let Some(map) = map {
        let mapped = |kind, id| map.to_ns(kind, HostId(id)).is_some();
        if !binary.writable_for(|uid| mapped(IdKind::Uid, uid), |gid| mapped(IdKind::Gid, gid)) {
            return Ok(());
        }
    }
    if target.root_identity()?.0 != binary.device {
        return sealed::ensure("lxc-attach").map_err(AttachError::Seal);
    }
    // The container's monitor, init's parent, runs that way already.
    if target::parent(status).is_some_and(sealed::ensure_like) {
        return Ok(());
    }
    sealed::ensure_by("lxc-attach", Method::Mount).map_err(AttachError::Seal)
}

/// As in LXC the file is made also where no terminal fills it; what is typed may be a secret.
fn pty_log(options: &Options) -> Result<Option<OwnedFd>, AttachError> {
    let Some(path) = &options.pty_log else { return Ok(None) };
    dirs::open_append(path, 0o600)
        .map(Some)
        .map_err(|source| AttachError::PtyLog { path: path.clone(), source })
}

/// The container's cgroups: all at once, or one question per hierarchy of the host.
fn ask_cgroups(client: &Client) -> Result<AttachCgroups, AttachError> {
    match client.cgroup_ctx() {
        Ok(ctx) => Ok(AttachCgroups::from_fds(ctx.fds)),
        // LXC before 4.0.10 does not know the command.
        Err(ClientError::NoReply { .. } | ClientError::Failed { .. }) => {
            let layout = Layout::probe(Base::Init, &[])?;
            let ask = |controller: Option<&str>| client.cgroup_path(controller).ok().flatten();
            Ok(AttachCgroups::ask(&layout, ask)?)
        }
        Err(e) => Err(e.into()),
    }
}

/// Makes the processes and waits until the command is executed; returns its number.
fn start(
    plan: &AttachPlan,
    mut hands: Hands<'_>,
    client: &Client,
    proc: &ProcFs,
) -> Result<Pid, AttachError> {
    let failed = |what| move |source| AttachError::Process { what, source };
    let leaf = match hands.cgroups {
        Some(cgroups) => cgroups.leaf()?,
        None => None,
    };
    let leaf = leaf.as_ref().map(AsFd::as_fd);
    // A time namespace takes nobody in who shares his memory (EUSERS).
    if plan.is_alone() && plan.needs_clone() && !plan.join.has(NsKind::Time) {
        let left = Left::default();
        let end = ChildEnd::Memory(&left);
        hands.placed = leaf.is_some();
        let mut outer = || child::run(plan, &hands, &end);
        if let Ok(pid) = vfork::spawn_into(leaf, &mut outer) {
            let outer = KillOnDrop::new(pid, None);
            let inner = left.born.get().map(|pid| KillOnDrop::new(pid, None));
            return match left.failed.take() {
                Some((step, source)) => Err(gave_up(plan, step, source)),
                None => finish(outer, inner),
            };
        }
    }
    let (parent, child) = wire::pair().map_err(failed("making a socket pair"))?;
    let mut placed = false;
    let cloned = process::clone3(0, process::Parent::Caller, leaf, &mut placed);
    match cloned.map_err(failed("making a process"))? {
        Cloned::Child => {
            drop(parent);
            hands.placed = placed;
            child::run(plan, &hands, &child)
        }
        Cloned::Parent { pid, pidfd } => {
            let outer = KillOnDrop::new(pid, pidfd);
            let _: () = drop::<ChildEnd<'_>>(child);
            follow(plan, outer, &parent, client, proc)
        }
    }
}

fn gave_up(plan: &AttachPlan, step: Step, source: Remote) -> AttachError {
    match step {
        Step::Exec => AttachError::Exec { program: plan.shown.clone(), source },
        _ => AttachError::Inside { step, source },
    }
}

/// Reaps the outer process, which is done; the inner one is the command.
fn finish(mut outer: KillOnDrop, inner: Option<KillOnDrop>) -> Result<Pid, AttachError> {
    let what = "waiting for the joining process";
    let how = outer.wait().map_err(|source| AttachError::Process { what, source })?;
    match inner {
        Some(inner) if how == Wait::Exited(0) => Ok(inner.disarm().0),
        _ => Err(AttachError::Died { how }),
    }
}

/// Serves the two processes until the inner one has become the command.
fn follow(
    plan: &AttachPlan,
    outer: KillOnDrop,
    parent: &ParentEnd,
    client: &Client,
    proc: &ProcFs,
) -> Result<Pid, AttachError> {
    let failed = |what| move |source| AttachError::Process { what, source };
    let mut inner: Option<KillOnDrop> = None;
    let mut wanted = false;
    loop {
        let message = parent.receive().map_err(failed("listening to the attached process"))?;
        match message {
            Some(Message::Born(pid)) if pid == outer.pid() && !plan.needs_clone() => {}
            Some(Message::Born(pid)) => inner = Some(KillOnDrop::new(pid, None)),
            Some(Message::WantLabel) => wanted = true,
            Some(Message::Listener(listener)) => {
                client.add_seccomp_listener(listener.as_fd())?;
            }
            Some(Message::Failed(step, source)) => return Err(gave_up(plan, step, source)),
            None => break,
        }
        // The inner one asks as soon as it runs: the outer one may not have said yet who that is.
        let labelled = if plan.needs_clone() { inner.as_ref() } else { Some(&outer) };
        if let Some(process) = labelled.filter(|_| std::mem::take(&mut wanted)) {
            if let Some(file) = plan.lsm.open_exec_label(proc, process.pid())? {
                parent.give_label(file.as_fd()).map_err(failed("handing over the label"))?;
            }
        }
    }
    if !plan.needs_clone() {
        return Ok(outer.disarm().0);
    }
    finish(outer, inner)
}
