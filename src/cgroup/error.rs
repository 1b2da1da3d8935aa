//! What can go wrong with cgroups, with the configuration line to blame and what mends it.

use crate::sys::SysError;
use crate::util::blame::{Explain, Origin};
use crate::util::time::seconds;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a controller is not there ([`super::layout::Layout::why_missing`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Switched off on the kernel's command line or by its default.
    Disabled,
    /// The kernel has it, but no hierarchy with it is mounted (or it is not writable).
    NotMounted,
    /// Not built into the kernel.
    NotBuilt,
    /// No kernel has a controller of that name.
    Unknown,
    /// The cgroup below which containers are made may not use it.
    NotDelegated(PathBuf),
}

/// An error of the cgroup modules: one word, that every result with it is handed up in registers.
pub type CgroupError = Box<Fault>;

/// What a [`CgroupError`] says.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file of /proc or of a cgroup cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// No hierarchy can be used.
    #[error("no cgroup hierarchy is mounted that this user may create cgroups in{}",
        .unwritable.as_ref().map(|p| format!(" ({} is not writable)", p.display())).unwrap_or_default())]
    NoHierarchy {
        /// One that is there but not writable.
        unwritable: Option<PathBuf>,
    },
    /// `lxc.cgroup.use` names what is not there.
    #[error("lxc.cgroup.use names the controller '{controller}', which no writable hierarchy has")]
    UseMissing {
        /// The name.
        controller: String,
    },
    /// Two keys that exclude one another.
    #[error("{key} cannot be combined with {other}")]
    Conflict {
        /// One key.
        key: &'static str,
        /// The other.
        other: &'static str,
        /// Where the first is.
        origin: Option<Origin>,
    },
    /// A key that is nothing without another.
    #[error("{key} needs {needs} to be set too")]
    Requires {
        /// The key.
        key: &'static str,
        /// The one that is missing.
        needs: &'static str,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A path that would leave the base cgroup.
    #[error("{key} = {value}: not a path below the cgroup of the host")]
    BadPath {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where it is.
        origin: Option<Origin>,
    },
    /// A setting whose controller is not available.
    #[error("{key}: the cgroup controller '{controller}' {}", missing_text(.why))]
    NoController {
        /// The key as written.
        key: String,
        /// Its controller.
        controller: String,
        /// Why not.
        why: Missing,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A setting of the other cgroup version that has no counterpart.
    #[error("{key}: no setting of cgroup {host} means the same")]
    NoMeaning {
        /// The key as written.
        key: String,
        /// `v1` or `v2`: what this host has for that controller.
        host: &'static str,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A value that cannot be understood or translated.
    #[error("{key} = {value}: {reason}")]
    BadValue {
        /// The key as written.
        key: String,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: &'static str,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A device named by its path is not there.
    #[error("{key} = {value}: not a device of the host")]
    NoDevice {
        /// The key as written.
        key: String,
        /// Its value.
        value: String,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A hierarchy's base directory cannot be opened, or a cgroup not made.
    #[error("creating the cgroup {}", path.display())]
    Create {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// A cgroup's own files could not be prepared.
    #[error("preparing the cgroup {}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// A thousand cgroups of that name exist.
    #[error("the cgroups {} to {}-999 all exist", path.display(), path.display())]
    Exhausted {
        /// The name without a number.
        path: PathBuf,
    },
    /// A process cannot be moved into a cgroup.
    #[error("entering the cgroup {}", path.display())]
    Enter {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// The kernel refused a limit.
    #[error("setting {key} = {value} in {}", path.display())]
    Setting {
        /// The key as written.
        key: Box<str>,
        /// The value as written.
        value: Box<str>,
        /// The limit cgroup.
        path: Box<Path>,
        /// Why.
        source: SysError,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// A limit needs a controller that could not be passed down to the container's cgroup.
    #[error("{key}: enabling controllers in {}", path.display())]
    Delegate {
        /// The key as written.
        key: String,
        /// The cgroup whose subtree_control refused.
        path: PathBuf,
        /// Why.
        source: SysError,
        /// Where the key is.
        origin: Option<Origin>,
    },
    /// The device program was refused.
    #[error("restricting devices in {}", path.display())]
    Devices {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
        /// The first device line.
        origin: Option<Origin>,
    },
    /// Freezing or thawing failed.
    #[error("{} the cgroup {}", if *.frozen { "freezing" } else { "thawing" }, path.display())]
    Freeze {
        /// What was asked.
        frozen: bool,
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// Freezing or thawing was not complete in time; a freeze is undone.
    #[error("the cgroup {} was not {} within {} s", path.display(), if *.frozen { "frozen" } else { "thawed" }, seconds(*.after))]
    FreezeTimeout {
        /// What was asked.
        frozen: bool,
        /// The cgroup.
        path: PathBuf,
        /// How long it was given.
        after: Duration,
    },
    /// A process of the container survived SIGKILL.
    #[error("killing what is left in the cgroup {}", path.display())]
    Kill {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// A cgroup cannot be removed.
    #[error("removing the cgroup {}", path.display())]
    Remove {
        /// The cgroup.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
    /// A file of a cgroup cannot be given to the container's root.
    #[error("giving {} to the container", path.display())]
    Chown {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SysError,
    },
}

fn missing_text(why: &Missing) -> String {
    match why {
        Missing::Disabled => "is disabled in this kernel".into(),
        Missing::NotMounted => "is not mounted in a hierarchy that containers can use".into(),
        Missing::NotBuilt => "is not built into this kernel".into(),
        Missing::Unknown => "does not exist".into(),
        Missing::NotDelegated(path) => format!("is not available in {}", path.display()),
    }
}

impl Fault {
    /// The same error, blaming `origin` where no line is known yet.
    pub fn blame(mut self, origin: &Origin) -> Self {
        match &mut self {
            Self::NoController { origin: at, .. }
            | Self::NoMeaning { origin: at, .. }
            | Self::BadValue { origin: at, .. }
            | Self::NoDevice { origin: at, .. } => {
                at.get_or_insert_with(|| origin.clone());
            }
            _ => {}
        }
        self
    }

    fn cause(&self) -> Option<&SysError> {
        match self {
            Self::Read { source, .. }
            | Self::Create { source, .. }
            | Self::Prepare { source, .. }
            | Self::Enter { source, .. }
            | Self::Setting { source, .. }
            | Self::Delegate { source, .. }
            | Self::Devices { source, .. }
            | Self::Freeze { source, .. }
            | Self::Kill { source, .. }
            | Self::Remove { source, .. }
            | Self::Chown { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Explain for Fault {
    fn errno(&self) -> Option<i32> {
        self.cause().map(|cause| cause.errno)
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Conflict { origin, .. }
            | Self::Requires { origin, .. }
            | Self::BadPath { origin, .. }
            | Self::NoController { origin, .. }
            | Self::NoMeaning { origin, .. }
            | Self::BadValue { origin, .. }
            | Self::NoDevice { origin, .. }
            | Self::Setting { origin, .. }
            | Self::Delegate { origin, .. }
            | Self::Devices { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        use crate::sys::errno::{EBUSY, EEXIST, EINVAL, ENOENT, ENOSPC, ENOSYS, EPERM};
        let errno = self.errno().unwrap_or(0);
        let text = match self {
            Self::NoHierarchy { unwritable: Some(_) } => {
                "run it in a cgroup of your own: systemd-run --user --scope -p Delegate=yes COMMAND".into()
            }
            Self::NoHierarchy { unwritable: None } => {
                "mount -t cgroup2 none /sys/fs/cgroup (within `ip netns exec` the cgroups are hidden: \
                 use nsenter --net=/run/netns/NAME)"
                    .into()
            }
            Self::UseMissing { .. } => "correct lxc.cgroup.use in lxc.conf; /proc/cgroups lists the names".into(),
            Self::NoController { controller, why, .. } => controller_hint(controller, why),
            Self::NoMeaning { host, .. } => {
                let prefix = if *host == "v1" { "lxc.cgroup." } else { "lxc.cgroup2." };
                format!("say it with a {prefix}* key that this host has, or remove the line")
            }
            Self::Create { path, .. } if errno == EEXIST => {
                format!("another container may use it; else: rmdir {}", path.display())
            }
            Self::Create { .. } if errno == ENOSPC => {
                "the parent's cgroup.max.descendants, or the kernel's limit of cgroups, is reached".into()
            }
            Self::Delegate { path, .. } if errno == EBUSY => format!(
                "{} has processes of its own: move them to a sub-cgroup first, or set lxc.cgroup.relative = 0",
                path.display()
            ),
            Self::Setting { key, .. } if errno == EPERM && key.contains(".devices.") => {
                "the cgroup that this host runs in may not use that device itself; below a user \
                 namespace there are no rules: lxc.include = /usr/share/lxc/config/userns.conf".into()
            }
            Self::Setting { .. } if errno == ENOENT => {
                "the kernel has no such file in that controller: see `ls` of the cgroup's directory".into()
            }
            Self::Setting { .. } if errno == EINVAL => "the kernel does not accept that value".into(),
            Self::Devices { .. } if errno == ENOSYS || errno == EINVAL => {
                "device rules on cgroup v2 need Linux 4.15 with CONFIG_CGROUP_BPF=y".into()
            }
            Self::Devices { .. } if errno == EPERM => {
                "only root can load device programs: remove the devices lines".into()
            }
            Self::Freeze { .. } if errno == ENOENT => {
                "the kernel needs the v1 freezer, or cgroup v2 of Linux 5.2 or later".into()
            }
            Self::FreezeTimeout { frozen: true, .. } => {
                "a process in an uninterruptible wait cannot be frozen: ps -eo pid,stat,wchan,comm".into()
            }
            Self::FreezeTimeout { frozen: false, .. } => {
                "a parent cgroup may be frozen: thaw it first".into()
            }
            Self::Remove { path, .. } if errno == EBUSY => {
                format!("cat {}/cgroup.procs shows what still runs there", path.display())
            }
            _ => return None,
        };
        Some(text)
    }
}

fn controller_hint(controller: &str, why: &Missing) -> String {
    match why {
        Missing::Disabled => {
            let pi = ["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"];
            let file = pi.into_iter().find(|p| Path::new(p).exists());
            let place = file.unwrap_or("the kernel's command line");
            format!("add cgroup_enable={controller} to {place} and reboot")
        }
        Missing::NotMounted => format!(
            "mkdir -p /sys/fs/cgroup/{controller} && mount -t cgroup -o {controller} none /sys/fs/cgroup/{controller}"
        ),
        Missing::NotBuilt => {
            format!("use a kernel that has the {controller} controller, or remove the line")
        }
        Missing::Unknown => {
            "/proc/cgroups and cgroup.controllers list the names, as in memory.max".into()
        }
        Missing::NotDelegated(path) => {
            format!("echo +{controller} > the cgroup.subtree_control above {}", path.display())
        }
    }
}
