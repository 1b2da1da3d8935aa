//! `Config` → [`StartPlan`]: everything that a start will do, decided before the first change.
//!
//! Making a plan asks the kernel what it has and reads the files that the configuration names;
//! it changes nothing. What cannot be had is an error here, with the line to blame; a start that
//! got past its plan fails only for what nobody could know. `lxc-start --dry-run` prints it.

use super::command;
use super::sync::{During, Failure, Step};
use crate::config::document::Loaded;
use crate::config::{Config, ConfigError, HookKind, IdKind, NsKind, Origin, keys};
use crate::net::rtnl::Rtnl;
use crate::sys::cred;
use crate::sys::path::Root;
use crate::sys::procfs::ProcFs;
use crate::{caps, cgroup, idmap, limits, lsm, mount, net, ns, seccomp, storage, tty};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the caller of a start says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The container's name.
    pub name: String,
    /// The directory that holds it.
    pub lxcpath: PathBuf,
    /// Its configuration file; `None` when the start was defined on the command line alone.
    pub config_file: Option<PathBuf>,
    /// The program to run as init and its arguments; empty for `lxc.init.cmd`.
    pub command: Vec<String>,
    /// Run `command` below our own small init (lxc-execute).
    pub execute: bool,
    /// Which then says nothing.
    pub quiet: bool,
    /// `lxc.cgroup.pattern` of lxc.conf.
    pub cgroup_pattern: Option<String>,
    /// `lxc.cgroup.use` of lxc.conf.
    pub cgroup_use: Option<Vec<String>>,
    /// Standard streams of the caller stay init's (foreground without a console).
    pub foreground: bool,
    /// The first boot is out of these images.
    pub restore: Option<super::criu::Images>,
}

/// A complete start.
pub struct StartPlan {
    /// What was asked.
    pub request: Request,
    /// The configuration it was made from; what GET_CONFIG_ITEM answers.
    pub config: Config,
    /// Namespaces to create and to join.
    pub ns: ns::NsPlan,
    /// The id map and who writes it.
    pub idmap: Option<(idmap::IdMap, idmap::Writer)>,
    /// Cgroups and limits.
    pub cgroup: cgroup::CgroupPlan,
    /// Mounts, /dev and root.
    pub mounts: mount::MountPlan,
    /// Console, ttys and ptys.
    pub terminals: tty::TtyPlan,
    /// Devices and addresses.
    pub net: net::NetPlan,
    /// Bounding set.
    pub caps: caps::Bounding,
    /// rlimits, sysctls, /proc files, personality, keyring.
    pub limits: limits::LimitPlan,
    /// The compiled policy.
    pub seccomp: seccomp::SeccompPlan,
    /// Profile or context.
    pub lsm: lsm::LsmPlan,
    /// What runs as init.
    pub init: InitPlan,
    /// Remarks for the reader of `--dry-run`; none keeps the container from starting.
    pub notes: Vec<String>,
}

/// The program of process 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitPlan {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// NAME=VALUE, all of it.
    pub env: Vec<(String, String)>,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Working directory in the container.
    pub cwd: Option<PathBuf>,
    /// The line that names the program, if one does.
    pub origin: Option<Origin>,
}

impl InitPlan {
    fn new(config: &Config, request: &Request) -> Result<Self, Failure> {
        let (argv, origin) = command::init(config, request)?;
        let mut env = config.environment.both.clone();
        env.extend(config.environment.runtime.iter().cloned());
        env.push(("container".into(), "lxc".into()));
        let init = &config.init;
        Ok(Self {
            argv,
            env,
            uid: init.uid,
            gid: init.gid,
            groups: init.groups.clone(),
            cwd: init.cwd.clone(),
            origin,
        })
    }
}

impl StartPlan {
    /// Makes the plan, in a box: the monitor's stack stays small.
    ///
    /// # Errors
    /// Everything that can be known beforehand to be impossible.
    pub fn new(config: Config, request: Request) -> Result<Box<Self>, Failure> {
        let available = ns::Available::probe().during(Step::Plan)?;
        let ns = ns::plan(&config, &available).during(Step::Plan)?;
        let idmap = plan_ids(&config)?;
        let caps = caps::plan(&config.caps, caps::last_cap()).during(Step::Plan)?;
        let own: Vec<NsKind> = ns.create.iter().collect();
        let limits = limits::plan(&config, &own).during(Step::Plan)?;
        limits.check_kernel().during(Step::Plan)?;
        let init = InitPlan::new(&config, &request)?;
        let mut notes: Vec<String> = Vec::new();
        let mounts = plan_mounts(&config, &request)?;
        let mut net = net::plan(&config, &request.name).during(Step::Plan)?;
        let cgroup = plan_cgroups(&config, &request)?;
        cgroup.check_kernel().during(Step::Plan)?;
        let proc = ProcFs::open().during(Step::Plan)?;
        let status = proc.read("self/status").during(Step::Plan)?;
        let seccomp = seccomp::prepare(&config, &status).during(Step::Plan)?;
        let facts = lsm::Facts::probe(Path::new("/sys"), &proc);
        let lsm = lsm::plan(&config, &facts, &request.name, &request.lxcpath).during(Step::Plan)?;
        if ns.creates(NsKind::Net) && !net.nics.is_empty() {
            let mut host = Rtnl::open().during(Step::Plan)?;
            let found = net::check(&net, &mut host).during(Step::Plan)?;
            net.notes.extend(found);
            // Whatever else is run will hardly look at the system's network settings.
            if request.command.is_empty() {
                let found = net::guest::notes(&net, &layers(&mounts));
                net.notes.extend(found);
            }
        }
        notes.extend(net.notes.iter().map(ToString::to_string));
        notes.extend(seccomp.notes.iter().chain(&seccomp.left_out).cloned());
        notes.extend(lsm.notes.iter().chain(&lsm.warnings).cloned());
        notes.extend(mounts.warnings.iter().cloned());
        let terminals = tty::plan(&config, config.rootfs.path.is_some()).during(Step::Plan)?;
        let plan = Box::new(Self {
            request,
            config,
            ns,
            idmap,
            cgroup,
            mounts,
            terminals,
            net,
            caps,
            limits,
            seccomp,
            lsm,
            init,
            notes,
        });
        Ok(plan)
    }

    /// Takes new values of a key that the running container has been given, for the boot that
    /// follows a reboot from inside; the plan of its cgroups is handed back.
    ///
    /// # Errors
    /// The key needs a restart, or a value is none. Nothing is changed then.
    pub fn take<'v>(
        &mut self,
        key: &str,
        values: impl Iterator<Item = &'v str>,
    ) -> Result<cgroup::CgroupPlan, Failure> {
        let changed = keys::live(&self.config, key).during(Step::Plan)?;
        if matches!(changed.live, keys::Live::Restart | keys::Live::Read) {
            return Err(Failure::text(Step::Plan, "needs a restart"));
        }
        let origin = Origin::label("a change while it ran");
        let before = keys::get(&self.config, key).unwrap_or_default();
        let mut loaded = Loaded::default();
        loaded.config = std::mem::take(&mut self.config);
        let give = |loaded: &mut Loaded, values: &mut dyn Iterator<Item = &str>| {
            loaded.clear(key)?;
            for value in values {
                loaded.set_from(key, value, &origin, &keys::Options::default())?;
            }
            Ok::<(), ConfigError>(())
        };
        let given = give(&mut loaded, &mut { values }).during(Step::Plan);
        let planned = given.and_then(|()| self.planned(&loaded.config));
        if planned.is_err() {
            let _ = give(&mut loaded, &mut before.lines());
        }
        self.config = loaded.config;
        let (limits, net, cgroup) = planned?;
        (self.limits, self.net) = (limits, net);
        Ok(cgroup)
    }

    /// What changes with a configuration that changes while the container runs.
    fn planned(
        &self,
        config: &Config,
    ) -> Result<(limits::LimitPlan, net::NetPlan, cgroup::CgroupPlan), Failure> {
        let own: Vec<NsKind> = self.ns.create.iter().collect();
        let limits = limits::plan(config, &own).during(Step::Plan)?;
        let net = net::plan(config, &self.request.name).during(Step::Plan)?;
        Ok((limits, net, plan_cgroups(config, &self.request)?))
    }

    /// True if the child must not build its root before the network is complete: its hooks may
    /// look at it, and so may the script of an interface look at the hooks' work.
    pub fn network_first(&self) -> bool {
        let hooks = [HookKind::PreMount, HookKind::Mount, HookKind::Autodev];
        hooks.iter().any(|&kind| !self.config.hooks(kind).is_empty())
            || self.net.nics.iter().any(|nic| nic.script_up.is_some())
    }

    /// True if there is a network to be made in a namespace of the container's own.
    pub fn makes_network(&self) -> bool {
        self.ns.creates(NsKind::Net) && !self.net.nics.is_empty()
    }

    /// True if the network namespace must be made once the id map is written: the kernel gives the
    /// files of /proc/net and of `lo` in sysfs to the root of the user namespace at that moment, and
    /// to the host's root as long as there is none.
    pub fn network_after_ids(&self) -> bool {
        self.idmap.is_some() && self.ns.creates(NsKind::User) && self.ns.creates(NsKind::Net)
    }

    /// Where the container lives.
    pub fn directory(&self) -> PathBuf {
        self.request.lxcpath.join(&self.request.name)
    }
}

/// The id map and its writer.
fn plan_ids(config: &Config) -> Result<Option<(idmap::IdMap, idmap::Writer)>, Failure> {
    let Some(map) = idmap::IdMap::from_config(config).during(Step::Plan)? else {
        return Ok(None);
    };
    let dirs: Vec<PathBuf> =
        ["/usr/bin", "/bin", "/usr/local/bin"].iter().map(PathBuf::from).collect();
    let writer = idmap::plan_writer(&map, cred::euid(), cred::egid(), &dirs).during(Step::Plan)?;
    Ok(Some((map, writer)))
}

fn plan_mounts(config: &Config, request: &Request) -> Result<mount::MountPlan, Failure> {
    let backend = storage::open(config).during(Step::Plan)?;
    let root = backend.as_ref().map(|backend| backend.root_source());
    let hooks = config.hooks(HookKind::PreStart);
    if let (Some(backend), []) = (&backend, hooks) {
        backend
            .check()
            .during(Step::Plan)
            .map_err(|failure| failure.or_origin(config.origin("lxc.rootfs.path")))?;
    }
    if let (Some(root), true) = (root.as_ref().filter(|r| r.needs_host()), cred::euid() != 0) {
        let text = format!("lxc.rootfs.path = {root}: only root can mount an image or a device");
        return Err(Failure::text(Step::Plan, text)
            .or_origin(config.origin("lxc.rootfs.path"))
            .with_hint("as root: lxc-copy -n NAME -N NEW -B dir"));
    }
    // A pre-start hook may be what makes it appear.
    if let (Some(mount::RootSource::Dir(dir)), []) = (&root, hooks) {
        Root::open(dir).map_err(|e| {
            let mut failure = Failure::new(Step::Plan, &e);
            failure.message = format!("lxc.rootfs.path cannot be used: {e}");
            failure.or_origin(config.origin("lxc.rootfs.path"))
        })?;
    }
    let point = mount::load_mount_point(config, root.as_ref()).during(Step::Plan)?;
    let inputs = mount::Inputs {
        lxcpath: &request.lxcpath,
        name: &request.name,
        root,
        mount_point: &point,
        fstab: mount::load_fstab(config)
            .during(Step::Plan)
            .map_err(|failure| failure.or_origin(config.origin("lxc.mount.fstab")))?,
    };
    let plan = mount::plan::plan(config, &inputs).during(Step::Plan)?;
    mount::ask_idmaps(&plan).during(Step::Plan)?;
    mount::ask_overlay(&plan).during(Step::Plan)?;
    Ok(plan)
}

/// The directories of the root file system as far as there are any before it is mounted, the
/// topmost first.
fn layers(mounts: &mount::MountPlan) -> Vec<Root> {
    let dirs: Vec<&PathBuf> = match mounts.root.as_ref().map(|root| &root.source) {
        Some(mount::RootSource::Dir(dir)) => vec![dir],
        Some(mount::RootSource::Overlay { lower, upper, .. }) => {
            std::iter::once(upper).chain(lower).collect()
        }
        Some(mount::RootSource::Image(file)) => vec![file],
        Some(mount::RootSource::Block(_) | mount::RootSource::Dataset(_)) | None => Vec::new(),
    };
    dirs.into_iter().filter_map(|dir| Root::open(dir).ok()).collect()
}

fn plan_cgroups(config: &Config, request: &Request) -> Result<cgroup::CgroupPlan, Failure> {
    let base = if config.cgroup.relative || cred::euid() != 0 {
        cgroup::layout::Base::Own
    } else {
        cgroup::layout::Base::Init
    };
    let only = request.cgroup_use.as_deref().unwrap_or_default();
    let layout = cgroup::Layout::probe(base, only).during(Step::Plan)?;
    cgroup::plan(config, &request.name, &layout, request.cgroup_pattern.as_deref())
        .during(Step::Plan)
}

impl fmt::Display for StartPlan {
    /// What `lxc-start --dry-run` prints: one line per decision, in the order of the start.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "container {} in {}", self.request.name, self.directory().display())?;
        if let Some(file) = &self.request.config_file {
            writeln!(f, "config {}", file.display())?;
        }
        for (kind, hooks) in &self.config.hooks {
            for hook in hooks {
                writeln!(f, "hook {}: {} [{}]", kind.name(), hook.value, hook.origin)?;
            }
        }
        let names = |set: Vec<&str>| if set.is_empty() { "-".into() } else { set.join(" ") };
        let made: Vec<&str> = self.ns.create.iter().map(NsKind::name).collect();
        writeln!(f, "namespaces {}", names(made))?;
        for join in &self.ns.join {
            writeln!(f, "join {} of {} [{}]", join.kind.name(), join.source, join.origin)?;
        }
        if let Some((map, _)) = &self.idmap {
            for (kind, word) in [(IdKind::Uid, "uid"), (IdKind::Gid, "gid")] {
                for line in map.text(kind).lines() {
                    writeln!(f, "idmap {word} {line}")?;
                }
            }
        }
        writeln!(f, "{}", self.cgroup.to_string().trim_end())?;
        for nic in &self.net.nics {
            let link = nic.link.as_deref().map_or(String::new(), |link| format!(" on {link}"));
            let kind = net::error::kind_name(nic.kind);
            writeln!(f, "net {} {kind} {}{link}", nic.index, nic.name)?;
            for address in &nic.addresses {
                writeln!(f, "net {} address {}", nic.index, address.value)?;
            }
        }
        write!(f, "{}", self.mounts)?;
        if let Some(devpts) = self.terminals.devpts {
            writeln!(f, "terminals {} ttys, devpts of {}", self.terminals.ttys, devpts.max)?;
        }
        if let Some(label) = self.lsm.label() {
            writeln!(f, "label {label}")?;
        }
        if self.seccomp.is_active() {
            writeln!(f, "seccomp policy loaded")?;
        }
        writeln!(f, "init {}", self.init.argv.join(" "))?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}
