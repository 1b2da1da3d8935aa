//! Linux security modules: which one the kernel has, which label the container's init gets, and
//! how it is set.
//!
//! [`Facts::probe`] asks the kernel, [`plan`] is pure, [`LsmPlan::prepare`] makes ready what must
//! be there before init runs (a generated AppArmor profile), [`LsmPlan::label_exec`] runs in the
//! child. Labels are written through a verified procfs, never through the container's /proc
//! (CVE-2015-1334, CVE-2019-16884). `apparmor.rs` and `selinux.rs` hold what differs.

pub mod apparmor;
pub mod profile;
pub mod selinux;

use crate::config::{Config, Origin};
use crate::sys::fd::OpenFlags;
use crate::sys::process::Pid;
use crate::sys::procfs::ProcFs;
use crate::sys::{SysError, errno, fd};
use crate::util::blame::Explain;
use apparmor::{Features, Generated, Loaded};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The security module that labels processes here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// None: every `lxc.apparmor.*` and `lxc.selinux.*` key is without effect.
    #[default]
    None,
    /// AppArmor.
    AppArmor,
    /// SELinux.
    Selinux,
}

/// What the running kernel has, and how this process is labelled.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Which module.
    pub kind: Kind,
    /// Of AppArmor.
    pub apparmor: Features,
    /// This process's own label, `unconfined` if it has none.
    pub own_label: String,
}

impl Facts {
    /// Asks the kernel; `sys` is `/sys` and `proc` the host's procfs.
    pub fn probe(sys: &Path, proc: &ProcFs) -> Self {
        let kind = if apparmor::is_enabled(sys) {
            Kind::AppArmor
        } else if selinux::is_enabled(sys) {
            Kind::Selinux
        } else {
            return Self::default();
        };
        let own_label = current_label(proc, "self", kind).unwrap_or_default();
        let apparmor = match kind {
            Kind::AppArmor => Features::probe(sys),
            _ => Features::default(),
        };
        Self { kind, apparmor, own_label }
    }
}

/// The label of a container and what has to be loaded for it.
#[derive(Clone, Debug, Default)]
pub struct LsmPlan {
    kind: Kind,
    exec_label: Option<String>,
    keyring_label: Option<String>,
    generated: Option<Generated>,
    origin: Option<Origin>,
    /// Remarks for the one who reads the plan: settings without effect here.
    pub notes: Vec<String>,
    /// What whoever starts the container has to hear: protection that is usual and not there.
    pub warnings: Vec<String>,
}

/// Why a label cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LsmError {
    /// The kernel's AppArmor does not mediate mount(2), which the profile relies on.
    #[error("AppArmor of this kernel does not mediate mounts, so profile '{profile}' cannot hold")]
    Incomplete {
        /// Its name.
        profile: String,
        /// Of `lxc.apparmor.profile`.
        origin: Option<Origin>,
    },
    /// The starting process has a label of its own and cannot leave it.
    #[error("confined by AppArmor profile '{own}', which cannot be left for '{profile}'")]
    Confined {
        /// The label of this process.
        own: String,
        /// The one asked for.
        profile: String,
        /// Of `lxc.apparmor.profile`.
        origin: Option<Origin>,
    },
    /// A named profile is not loaded.
    #[error("AppArmor profile '{profile}' is not loaded")]
    NotLoaded {
        /// Its name.
        profile: String,
        /// Of `lxc.apparmor.profile`.
        origin: Option<Origin>,
    },
    /// `generated` without the parser.
    #[error("lxc.apparmor.profile = generated needs apparmor_parser")]
    NoParser {
        /// Of `lxc.apparmor.profile`.
        origin: Option<Origin>,
    },
    /// The parser did not take the generated profile.
    #[error("apparmor_parser refused {file}: {said}")]
    Parser {
        /// The profile's file.
        file: String,
        /// What it printed.
        said: String,
        /// Of `lxc.apparmor.profile`.
        origin: Option<Origin>,
    },
    /// A file or directory of the generated profile.
    #[error("preparing AppArmor profile '{profile}'")]
    Prepare {
        /// Its name.
        profile: String,
        /// The failed call.
        #[source]
        source: SysError,
    },
    /// The label was refused.
    #[error("setting label '{label}' for what runs next")]
    Label {
        /// The label.
        label: String,
        /// The failed call.
        #[source]
        source: SysError,
        /// Of the key that asked for it.
        origin: Option<Origin>,
    },
}

impl Explain for LsmError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Prepare { source, .. } | Self::Label { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Incomplete { origin, .. }
            | Self::Confined { origin, .. }
            | Self::NotLoaded { origin, .. }
            | Self::NoParser { origin }
            | Self::Parser { origin, .. }
            | Self::Label { origin, .. } => origin.as_ref(),
            Self::Prepare { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Incomplete { .. } => {
                Some("to start with less protection: lxc.apparmor.allow_incomplete = 1".into())
            }
            Self::Confined { .. } => Some("lxc.apparmor.profile = unchanged".into()),
            Self::NotLoaded { profile, .. } => Some(format!(
                "apparmor_parser -r FILE, the one in /etc/apparmor.d that has profile {profile}"
            )),
            Self::NoParser { .. } => {
                Some("apt install apparmor, or lxc.apparmor.profile = unconfined".into())
            }
            Self::Parser { file, .. } => Some(format!("apparmor_parser -Q {file}")),
            Self::Label { source, .. } if source.errno == errno::ENOENT => {
                Some("is the profile loaded? aa-status".into())
            }
            Self::Prepare { .. } | Self::Label { .. } => None,
        }
    }
}

/// Decides on the label of container `name` below `lxcpath`.
///
/// Without a security module the keys are accepted and have no effect, as in LXC: Debian's
/// default.conf writes `lxc.apparmor.profile = generated` into every container, on every kernel.
/// A note says so.
///
/// # Errors
/// What AppArmor here cannot give: see [`LsmError`].
pub fn plan(
    config: &Config,
    facts: &Facts,
    name: &str,
    lxcpath: &Path,
) -> Result<LsmPlan, LsmError> {
    let mut plan = match facts.kind {
        Kind::AppArmor => apparmor::plan(config, facts, name, lxcpath)?,
        Kind::Selinux => selinux::plan(config),
        Kind::None => LsmPlan::default(),
    };
    match &config.apparmor.profile {
        Some(profile)
            if facts.kind != Kind::AppArmor
                && profile != "unconfined"
                && profile != "unchanged" =>
        {
            plan.notes.push(format!(
                "AppArmor is not active in this kernel: profile {profile} has no effect"
            ));
        }
        _ => {}
    }
    match &config.selinux.context {
        Some(context) if facts.kind != Kind::Selinux => plan
            .notes
            .push(format!("SELinux is not active in this kernel: context {context} has no effect")),
        _ => {}
    }
    Ok(plan)
}

impl LsmPlan {
    /// The plan that gives a process the label that `init` has, for attach. `proc` is the host's
    /// procfs.
    pub fn of_process(facts: &Facts, proc: &ProcFs, init: Pid) -> crate::sys::Result<Self> {
        if facts.kind == Kind::None {
            return Ok(Self::default());
        }
        let label = current_label(proc, &init.to_string(), facts.kind)?;
        let unlabelled = label.is_empty() || label == "unconfined" || label == facts.own_label;
        Ok(Self { kind: facts.kind, exec_label: (!unlabelled).then_some(label), ..Self::default() })
    }

    /// The label that exec will set; `None` changes nothing.
    pub fn label(&self) -> Option<&str> {
        self.exec_label.as_deref()
    }

    /// Writes and loads a generated profile, in the parent before the child runs. The value
    /// unloads it when dropped: keep it as long as the container.
    pub fn prepare(&self) -> Result<Option<Loaded>, LsmError> {
        match &self.generated {
            Some(generated) => generated.load(self.origin.as_ref()).map(Some),
            None => Ok(None),
        }
    }

    /// Sets the label that the next exec of this process takes.
    ///
    /// # In the child
    /// Before seccomp; `proc` is a procfs of the child's own pid namespace. Leaves nothing open.
    pub fn label_exec(&self, proc: &ProcFs) -> Result<(), LsmError> {
        match &self.exec_label {
            Some(label) => {
                let file = open_exec_attr(proc, "self", self.kind);
                file.and_then(|file| write_label(file.as_fd(), self.kind, label))
                    .map_err(|source| self.refused(label, source))
            }
            None => Ok(()),
        }
    }

    /// As [`Self::label_exec`], in two halves for attach: the parent opens the file of process
    /// `pid` in its own /proc, for the child cannot trust the one it sees. `None`: no label.
    pub fn open_exec_label(&self, proc: &ProcFs, pid: Pid) -> Result<Option<OwnedFd>, LsmError> {
        let Some(label) = &self.exec_label else { return Ok(None) };
        open_exec_attr(proc, &pid.to_string(), self.kind)
            .map(Some)
            .map_err(|source| self.refused(label, source))
    }

    /// The other half: process `pid` itself writes. Any other writer is refused by the kernel.
    ///
    /// # In the child
    /// The descriptor must be closed before exec; it is born close-on-exec.
    pub fn write_exec_label(&self, file: BorrowedFd<'_>) -> Result<(), LsmError> {
        let Some(label) = &self.exec_label else { return Ok(()) };
        write_label(file, self.kind, label).map_err(|source| self.refused(label, source))
    }

    /// Labels the keyrings that this process makes (SELinux only).
    ///
    /// # In the child
    /// Before the session keyring is made.
    pub fn label_keyrings(&self, proc: &ProcFs) -> Result<(), LsmError> {
        let Some(label) = &self.keyring_label else { return Ok(()) };
        proc.write("self/attr/keycreate", label.as_bytes())
            .map_err(|source| self.refused(label, source))
    }

    fn refused(&self, label: &str, source: SysError) -> LsmError {
        LsmError::Label { label: label.into(), source, origin: self.origin.clone() }
    }
}

/// The label of a process; `who` is a pid or `self`. AppArmor's mode in parentheses is cut off.
fn current_label(proc: &ProcFs, who: &str, kind: Kind) -> crate::sys::Result<String> {
    let text = match kind {
        // FALLBACK(<5.8): the directory of each module is newer than the shared file.
        Kind::AppArmor => match proc.read(&format!("{who}/attr/apparmor/current")) {
            Err(e) if e.errno == errno::ENOENT => proc.read(&format!("{who}/attr/current"))?,
            done => done?,
        },
        _ => proc.read(&format!("{who}/attr/current"))?,
    };
    let text = text.trim_end_matches(['\n', '\0']);
    let bare = match text.rsplit_once(" (") {
        Some((label, mode)) if kind == Kind::AppArmor && mode.ends_with(')') => label,
        _ => text,
    };
    Ok(bare.to_owned())
}

fn open_exec_attr(proc: &ProcFs, who: &str, kind: Kind) -> crate::sys::Result<OwnedFd> {
    if kind == Kind::AppArmor {
        // With stacked modules the shared file may belong to another one.
        match proc.open_file(&format!("{who}/attr/apparmor/exec"), OpenFlags::WRONLY) {
            Err(e) if e.errno == errno::ENOENT => {}
            done => return done,
        }
    }
    proc.open_file(&format!("{who}/attr/exec"), OpenFlags::WRONLY)
}

fn write_label(file: BorrowedFd<'_>, kind: Kind, label: &str) -> crate::sys::Result<()> {
    let text = match kind {
        Kind::AppArmor => format!("exec {label}"),
        _ => label.to_owned(),
    };
    fd::write_once(file, text.as_bytes())
        .map_err(|e| SysError::new("write", format!("attr/exec, \"{text}\""), e.errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_without_a_module_are_only_remarked() {
        let mut config = Config::default();
        config.apparmor.profile = Some("generated".into());
        config.selinux.context = Some("system_u:system_r:lxc_t:s0".into());
        let plan = super::plan(&config, &Facts::default(), "c1", Path::new("/lxc")).unwrap();
        assert_eq!(plan.label(), None);
        assert_eq!(plan.notes.len(), 2);
        config.apparmor.profile = Some("unconfined".into());
        config.selinux.context = None;
        let plan = super::plan(&config, &Facts::default(), "c1", Path::new("/lxc")).unwrap();
        assert!(plan.notes.is_empty());
    }
}
