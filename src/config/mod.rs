//! The typed configuration of one container: what the `lxc.*` lines mean, before anything is
//! asked of the kernel.
//!
//! `keys/` is the one table of keys (parse, get, clear, list, docs come from its rows),
//! `value/` the value parsers, `document.rs` the text as the user wrote it with its comments,
//! `load.rs` reading with includes, `embedded.rs` the shared files they name, `path.rs` the search
//! paths and lxc.conf. Nothing here opens a file but `load.rs`, `document.rs` and `path.rs`.

pub mod document;
pub mod embedded;
pub mod error;
pub mod keys;
mod load;
mod network;
pub mod path;
mod update;
pub mod value;

pub use error::ConfigError;
pub use network::*;
pub use update::{update, update_file};

pub use crate::util::blame::{Explain, Origin, Sourced};
pub use crate::util::captab::Cap;
pub use crate::util::signames::Signal;

use crate::util::sorted::Map;
use std::path::PathBuf;

/// Every container-scope key of `lxc.container.conf`, typed. `Default` is LXC's default.
///
/// Lists carry the line of each element; scalars look theirs up with [`Config::origin`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `lxc.arch`.
    pub arch: Option<Arch>,
    /// `lxc.apparmor.*`.
    pub apparmor: AppArmor,
    /// `lxc.autodev*`.
    pub autodev: Autodev,
    /// `lxc.cap.*`.
    pub caps: CapLists,
    /// `lxc.cgroup*`.
    pub cgroup: CgroupConfig,
    /// `lxc.console.*`.
    pub console: Console,
    /// `lxc.sched.core`.
    pub sched_core: bool,
    /// `lxc.environment`, `.runtime`, `.hooks`.
    pub environment: Environment,
    /// `lxc.ephemeral`.
    pub ephemeral: bool,
    /// `lxc.execute.cmd`, as written.
    pub execute_cmd: Option<String>,
    /// `lxc.group`.
    pub groups: Vec<String>,
    /// `lxc.hook.*`, each list in order.
    pub hooks: Map<HookKind, Vec<Sourced<String>>>,
    /// `lxc.hook.version`: 0 or 1.
    pub hook_version: u8,
    /// `lxc.idmap`.
    pub idmap: Vec<Sourced<IdMapEntry>>,
    /// `lxc.init.*`.
    pub init: Init,
    /// `lxc.keyring.session`. `None` is the default: a new session keyring is made.
    pub keyring_session: Option<bool>,
    /// `lxc.log.*`.
    pub log: LogConfig,
    /// `lxc.monitor.unshare`.
    pub monitor_unshare: bool,
    /// `lxc.monitor.signal.pdeath`; `Signal(0)` is none. Default SIGKILL.
    pub monitor_pdeath: Option<Signal>,
    /// `lxc.mount.auto`.
    pub mount_auto: MountAuto,
    /// `lxc.mount.entry`: fstab lines, unparsed (`mount::fstab` parses them for the plan).
    pub mount_entries: Vec<Sourced<String>>,
    /// `lxc.mount.fstab`.
    pub mount_fstab: Option<PathBuf>,
    /// `lxc.namespace.*`.
    pub namespaces: NamespaceConfig,
    /// `lxc.time.offset.*`, in nanoseconds.
    pub time_offset: TimeOffset,
    /// `lxc.net.N.*`, by N.
    pub net: Map<u32, NetConfig>,
    /// `lxc.no_new_privs`.
    pub no_new_privs: bool,
    /// `lxc.prlimit.NAME`, in order of first appearance; NAME as written.
    pub prlimits: Vec<(String, Sourced<Limit>)>,
    /// `lxc.pty.max`.
    pub pty_max: u32,
    /// `lxc.rootfs.*`.
    pub rootfs: RootfsConfig,
    /// `lxc.seccomp.*`.
    pub seccomp: SeccompConfig,
    /// `lxc.selinux.*`.
    pub selinux: Selinux,
    /// `lxc.signal.*`.
    pub signals: Signals,
    /// `lxc.start.*`.
    pub start: Autostart,
    /// `lxc.tty.dir`.
    pub tty_dir: Option<String>,
    /// `lxc.tty.max`.
    pub tty_max: u32,
    /// `lxc.uts.name`.
    pub uts_name: Option<String>,
    /// `lxc.sysctl.NAME`, NAME with dots as written.
    pub sysctls: Vec<(String, Sourced<String>)>,
    /// `lxc.proc.FILE`, FILE with dots as written.
    pub procs: Vec<(String, Sourced<String>)>,
    /// Where each scalar key was last set, by its canonical name (`lxc.net.0.link`).
    pub origins: Map<String, Origin>,
}

impl Config {
    /// Where the scalar `key` (canonical spelling) was last set.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.get(key)
    }

    /// The hooks of one kind, in order.
    pub fn hooks(&self, kind: HookKind) -> &[Sourced<String>] {
        self.hooks.get(&kind).map_or(&[], Vec::as_slice)
    }
}

/// `lxc.arch`: which personality init gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// PER_LINUX32; reads back as `i686`.
    Bits32,
    /// PER_LINUX; reads back as `x86_64`.
    Bits64,
}

/// `lxc.apparmor.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppArmor {
    /// Profile name, `unconfined`, `unchanged` or `generated`; `None` chooses LXC's default.
    pub profile: Option<String>,
    /// Start even if the kernel lacks mount mediation.
    pub allow_incomplete: bool,
    /// Permit nesting; also mounts proc and sysfs below /dev/.lxc.
    pub allow_nesting: bool,
    /// Extra lines of a generated profile.
    pub raw: Vec<String>,
}

/// `lxc.autodev` and `lxc.autodev.tmpfs.size`.
#[derive(Clone, Debug, PartialEq)]
pub struct Autodev {
    /// Mount a tmpfs on /dev and fill it. Default true.
    pub enabled: bool,
    /// Bytes; default 500000.
    pub tmpfs_size: u64,
}

impl Default for Autodev {
    fn default() -> Self {
        Self { enabled: true, tmpfs_size: 500_000 }
    }
}

/// `lxc.cap.drop` and `lxc.cap.keep`; at most one of them is in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CapLists {
    /// Removed from the bounding set.
    pub drop: Vec<Sourced<Cap>>,
    /// All that stays, when `Some`; an empty list (`none`) keeps nothing.
    pub keep: Option<Vec<Sourced<Cap>>>,
}

impl CapLists {
    /// True if `cap` is still in the bounding set when init runs.
    pub fn keeps(&self, cap: Cap) -> bool {
        match &self.keep {
            Some(keep) => keep.iter().any(|c| c.value == cap),
            None => !self.drop.iter().any(|c| c.value == cap),
        }
    }
}

/// `lxc.cgroup.*` and `lxc.cgroup2.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CgroupConfig {
    /// `lxc.cgroup.FILE = VALUE` in order (v1 files: `memory.limit_in_bytes`).
    pub v1: Vec<(String, Sourced<String>)>,
    /// `lxc.cgroup2.FILE = VALUE` in order (v2 files: `memory.max`, `devices.allow`).
    pub v2: Vec<(String, Sourced<String>)>,
    /// `lxc.cgroup.dir`.
    pub dir: Option<String>,
    /// `lxc.cgroup.dir.monitor`.
    pub dir_monitor: Option<String>,
    /// `lxc.cgroup.dir.monitor.pivot`.
    pub dir_monitor_pivot: Option<String>,
    /// `lxc.cgroup.dir.container`.
    pub dir_container: Option<String>,
    /// `lxc.cgroup.dir.container.inner`.
    pub dir_container_inner: Option<String>,
    /// `lxc.cgroup.relative`.
    pub relative: bool,
}

/// `lxc.console.*`. Sizes are bytes, already rounded as LXC rounds them; 0 is off or unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Console {
    /// Ring buffer size; 0 is off.
    pub buffer_size: u64,
    /// Log file.
    pub logfile: Option<PathBuf>,
    /// Peer of the console.
    pub path: Option<ConsolePath>,
    /// Rotate the log to `.1` when full, instead of truncating it.
    pub rotate: bool,
    /// Largest log size; 0 is unlimited.
    pub size: u64,
}

/// `lxc.console.path`.
#[derive(Clone, Debug, PartialEq)]
pub enum ConsolePath {
    /// `none`: no console at all.
    None,
    /// A terminal device.
    Path(PathBuf),
}

/// `lxc.environment*`: NAME and VALUE pairs in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// Hooks run in the child, init and attach.
    pub both: Vec<(String, String)>,
    /// Init and attach only.
    pub runtime: Vec<(String, String)>,
    /// Hooks run in the child only.
    pub hooks: Vec<(String, String)>,
}

/// A kind of hook; `name()` is the last part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each variant is the key of the same name")]
pub enum HookKind {
    Autodev,
    Clone,
    Destroy,
    Mount,
    PostStop,
    PreMount,
    PreStart,
    Start,
    StartHost,
    Stop,
}

impl HookKind {
    /// Every kind with its name, in the order of the manual.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Autodev, "autodev"),
        (Self::Clone, "clone"),
        (Self::Destroy, "destroy"),
        (Self::Mount, "mount"),
        (Self::PostStop, "post-stop"),
        (Self::PreMount, "pre-mount"),
        (Self::PreStart, "pre-start"),
        (Self::Start, "start"),
        (Self::StartHost, "start-host"),
        (Self::Stop, "stop"),
    ];

    /// `pre-start` and so on.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(k, _)| *k == self).map_or("", |(_, n)| n)
    }
}

/// One `lxc.idmap` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMapEntry {
    /// Users or groups.
    pub kind: IdKind,
    /// First id in the namespace.
    pub ns: u32,
    /// First id on the host.
    pub host: u32,
    /// How many.
    pub range: u32,
}

/// `u` or `g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Users.
    Uid,
    /// Groups.
    Gid,
}

/// `lxc.init.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Init {
    /// Command line as written; `None` is /sbin/init.
    pub cmd: Option<String>,
    /// User id in the container.
    pub uid: u32,
    /// Group id in the container.
    pub gid: u32,
    /// Supplementary groups; empty drops all.
    pub groups: Vec<u32>,
    /// Working directory in the container.
    pub cwd: Option<PathBuf>,
}

/// `lxc.log.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogConfig {
    /// Log file.
    pub file: Option<PathBuf>,
    /// 0 trace to 8 fatal.
    pub level: Option<u8>,
    /// Facility name, lower case (`daemon`, `local0`).
    pub syslog: Option<String>,
}

/// `lxc.mount.auto`, one setting per group; `None` mounts nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MountAuto {
    /// `proc:*`.
    pub proc: Option<AutoProc>,
    /// `sys:*`.
    pub sys: Option<AutoSys>,
    /// `cgroup:*`, `cgroup-full:*`, `cgroup2:*`.
    pub cgroup: Option<AutoCgroup>,
    /// `shmounts:HOST[:CONT]`.
    pub shmounts: Option<ShMounts>,
}

/// How `/proc` is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.mount.auto")]
pub enum AutoProc {
    Mixed,
    Rw,
}

/// How `/sys` is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.mount.auto")]
pub enum AutoSys {
    Ro,
    Mixed,
    Rw,
}

/// How `/sys/fs/cgroup` is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoCgroup {
    /// `cgroup`, `cgroup-full` or `cgroup2`.
    pub kind: AutoCgroupKind,
    /// `None` when no mode was written: rw with CAP_SYS_ADMIN, mixed without.
    pub mode: Option<AutoCgroupMode>,
    /// `:force`.
    pub force: bool,
}

/// Which word was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.mount.auto")]
pub enum AutoCgroupKind {
    Own,
    Full,
    Unified,
}

/// ro, mixed or rw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.mount.auto")]
pub enum AutoCgroupMode {
    Ro,
    Mixed,
    Rw,
}

/// `shmounts:HOST[:CONT]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ShMounts {
    /// Directory on the host.
    pub host: PathBuf,
    /// Directory in the container; default /dev/.lxc-mounts.
    pub container: PathBuf,
}

/// A kind of namespace, in LXC's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's names")]
pub enum NsKind {
    User,
    Mnt,
    Pid,
    Uts,
    Ipc,
    Net,
    Cgroup,
    Time,
}

impl NsKind {
    /// All, in the order of file descriptors and LXC_*_NS variables.
    pub const ALL: [Self; 8] = [
        Self::User,
        Self::Mnt,
        Self::Pid,
        Self::Uts,
        Self::Ipc,
        Self::Net,
        Self::Cgroup,
        Self::Time,
    ];

    /// The name in /proc/PID/ns and in `lxc.namespace.*`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mnt => "mnt",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// By name, any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ns| ns.name().eq_ignore_ascii_case(text))
    }
}

/// `lxc.namespace.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceConfig {
    /// Exactly these are created, when not empty.
    pub clone: Vec<NsKind>,
    /// These are kept from the creator; all others are created.
    pub keep: Vec<NsKind>,
    /// Namespaces to join: a PID, a container's name, or the path of a namespace file.
    pub share: Map<NsKind, Sourced<String>>,
}

/// `lxc.time.offset.*` in nanoseconds, `None` when not set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeOffset {
    /// CLOCK_BOOTTIME.
    pub boot: Option<i64>,
    /// CLOCK_MONOTONIC.
    pub monotonic: Option<i64>,
}

/// One `lxc.prlimit.*` value; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// `lxc.rootfs.*`.
#[derive(Clone, Debug, PartialEq)]
pub struct RootfsConfig {
    /// `managed`; default true.
    pub managed: bool,
    /// `mount`; `None` is the built-in default.
    pub mount: Option<PathBuf>,
    /// `options`, as written.
    pub options: Option<String>,
    /// `path` without its type.
    pub path: Option<PathBuf>,
    /// Type before the first colon of `path` (`dir`, `overlay`, …), when written.
    pub backend: Option<String>,
}

impl Default for RootfsConfig {
    fn default() -> Self {
        Self { managed: true, mount: None, options: None, path: None, backend: None }
    }
}

/// `lxc.seccomp.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeccompConfig {
    /// `allow_nesting`.
    pub allow_nesting: bool,
    /// `notify.cookie`.
    pub notify_cookie: Option<String>,
    /// `notify.proxy`, with its `unix:`.
    pub notify_proxy: Option<String>,
    /// `profile`.
    pub profile: Option<PathBuf>,
}

/// `lxc.selinux.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selinux {
    /// `context`.
    pub context: Option<String>,
    /// `context.keyring`.
    pub keyring: Option<String>,
}

/// `lxc.signal.*`; `None` is LXC's default for each.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    /// Clean shutdown.
    pub halt: Option<Signal>,
    /// Reboot.
    pub reboot: Option<Signal>,
    /// Hard stop.
    pub stop: Option<Signal>,
}

/// `lxc.start.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Autostart {
    /// `after`: containers that have to be ready before.
    pub after: Vec<Sourced<String>>,
    /// `auto`.
    pub auto: bool,
    /// `delay`, seconds.
    pub delay: u32,
    /// `order`.
    pub order: i32,
    /// `ready`.
    pub ready: Readiness,
}

/// When a container that was started is ready for those that wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// As soon as its init runs.
    #[default]
    Running,
    /// When it has an address.
    Address,
    /// When something in it says so on the socket that is named by `NOTIFY_SOCKET`.
    Notify,
    /// When this command line, run in it again and again, ends with status 0.
    Command(String),
}
