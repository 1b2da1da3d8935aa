//! seccomp: policy files (`policy`), their compiler (`compile`), system call numbers (`names`)
//! and the hand-over of notifications to a proxy (`notify`).
//!
//! [`prepare`] turns `lxc.seccomp.*` into a [`SeccompPlan`] before anything runs;
//! [`SeccompPlan::load`] installs it in the container's first process, or in an attached one.

pub mod compile;
pub mod names;
pub mod notify;
pub mod policy;

use crate::config::{Config, Origin, embedded};
use crate::sys::errno::ENOENT;
use crate::sys::error::{Result as SysResult, errno_name};
use crate::sys::seccomp::{self, Insn, Listener, MAX_INSNS, install};
use crate::sys::{SysError, fd, procfs};
use crate::util::blame::Explain;
use notify::ProxyAddress;
use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What `lxc.seccomp.*` comes to on this machine.
#[derive(Clone, Debug, Default)]
pub struct SeccompPlan {
    program: Vec<Insn>,
    /// The proxy that answers notifications: `Some` exactly when the policy asks for them.
    pub proxy: Option<Proxy>,
    /// Remarks for the one who reads the plan: lines without effect.
    pub notes: Vec<String>,
    /// Why a policy that was asked for is not loaded; whoever starts the container must hear it.
    pub left_out: Option<String>,
}

/// `lxc.seccomp.notify.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it listens.
    pub address: ProxyAddress,
    /// What every message carries at its end.
    pub cookie: Option<String>,
}

/// Why a policy cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The policy file cannot be read.
    #[error("reading lxc.seccomp.profile")]
    Read {
        /// The failed call.
        #[source]
        source: SysError,
        /// Of `lxc.seccomp.profile`.
        origin: Option<Origin>,
    },
    /// A line of it means nothing.
    #[error("seccomp policy {}:{line}: {what}", .file.file.display(), line = .file.line)]
    Policy {
        /// The policy file and the line.
        file: Origin,
        /// A lower-case sentence.
        what: String,
    },
    /// Its program is longer than the kernel takes.
    #[error(
        "seccomp policy {} needs {length} BPF instructions, the kernel takes {MAX_INSNS}",
        .file.display()
    )]
    TooLong {
        /// The policy file.
        file: PathBuf,
        /// Instructions.
        length: usize,
    },
    /// `notify` in the policy, but nobody to notify.
    #[error("seccomp policy {} uses notify, but lxc.seccomp.notify.proxy is not set", .file.display())]
    NoProxy {
        /// The policy file.
        file: PathBuf,
        /// Of `lxc.seccomp.profile`.
        origin: Option<Origin>,
    },
    /// `lxc.seccomp.notify.proxy` is not `unix:PATH`.
    #[error("lxc.seccomp.notify.proxy '{value}' is not unix:/PATH or unix:@NAME")]
    ProxyAddress {
        /// As written.
        value: String,
        /// Where.
        origin: Option<Origin>,
    },
    /// The kernel refused the program.
    #[error("loading the seccomp policy")]
    Load {
        /// The failed call.
        #[source]
        source: SysError,
        /// Whether a listener was asked for.
        notifies: bool,
        /// Of `lxc.seccomp.profile`, where the plan found it.
        origin: Option<Origin>,
    },
}

impl Explain for SeccompError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { source, .. } | Self::Load { source, .. } => Some(source.errno),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Read { origin, .. }
            | Self::NoProxy { origin, .. }
            | Self::Load { origin, .. }
            | Self::ProxyAddress { origin, .. } => origin.as_ref(),
            Self::Policy { file, .. } => Some(file),
            Self::TooLong { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoProxy { .. } => Some("lxc.seccomp.notify.proxy = unix:/path/to/socket".into()),
            Self::TooLong { .. } => Some("split rules with many conditions into fewer".into()),
            Self::Load { source, notifies, .. } => match errno_name(source.errno)? {
                "EINVAL" if *notifies => Some("seccomp notifications need Linux 5.0".into()),
                "EBUSY" if *notifies => {
                    Some("another filter of this process has a listener already".into())
                }
                "EINVAL" | "ENOSYS" => Some("the kernel needs CONFIG_SECCOMP_FILTER".into()),
                "EACCES" => {
                    Some("loading a policy needs CAP_SYS_ADMIN or lxc.no_new_privs = 1".into())
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads and compiles the policy of `config`. `status` is the text of the caller's own
/// /proc/self/status.
///
/// As in LXC no policy is loaded where the kernel has no seccomp, or into a process that is
/// confined already unless `lxc.seccomp.allow_nesting = 1`: a container in a container could not
/// start otherwise, and the outer policy holds. `left_out` says so.
///
/// # Errors
/// An unreadable file, a bad line, `notify` without a proxy, a program that is too long.
pub fn prepare(config: &Config, status: &str) -> Result<SeccompPlan, SeccompError> {
    let mut plan = SeccompPlan::default();
    let Some(path) = &config.seccomp.profile else { return Ok(plan) };
    let origin = || config.origin("lxc.seccomp.profile").cloned();
    let reason = match procfs::status_field(status, "Seccomp") {
        _ if config.seccomp.allow_nesting => None,
        None => Some("this kernel has no seccomp"),
        Some("0") => None,
        Some(_) => Some("already confined by a policy, and lxc.seccomp.allow_nesting is not set"),
    };
    let (text, file) =
        read(path).map_err(|source| SeccompError::Read { source, origin: origin() })?;
    let policy = policy::parse(&text, compile::NATIVE).map_err(|e| {
        let file = Origin { file: Rc::from(file.as_ref()), line: e.line };
        SeccompError::Policy { file, what: e.what }
    })?;
    let shown = file.display();
    if let Some(reason) = reason {
        plan.left_out = Some(format!("seccomp policy {shown} is not loaded: {reason}"));
        return Ok(plan);
    }
    plan.notes.extend(policy.warnings.iter().map(|w| format!("seccomp policy {shown}, {w}")));
    if compile::notifies(&policy) {
        plan.proxy = Some(proxy(config, &file)?);
        seccomp::notif_sizes().map_err(|source| SeccompError::Load {
            source,
            notifies: true,
            origin: origin(),
        })?;
    }
    plan.program = compile::compile(&policy, compile::Family::NATIVE)
        .map_err(|e| SeccompError::TooLong { file: file.to_path_buf(), length: e.length })?;
    Ok(plan)
}

/// A policy's text and what messages call its file. LXC's own policy is in the binary: a container
/// made elsewhere names it by a path that a machine with only us does not have.
fn read(path: &Path) -> SysResult<(Cow<'static, str>, Cow<'_, Path>)> {
    match fd::read_to_string(path) {
        Ok(text) => Ok((text.into(), path.into())),
        Err(cause) => {
            let text = embedded::find(path).filter(|_| cause.is(ENOENT)).ok_or(cause)?;
            let mut name = path.as_os_str().to_owned();
            name.push(" (built in)");
            Ok((text.into(), PathBuf::from(name).into()))
        }
    }
}

fn proxy(config: &Config, file: &Path) -> Result<Proxy, SeccompError> {
    let Some(value) = &config.seccomp.notify_proxy else {
        let origin = config.origin("lxc.seccomp.profile").cloned();
        return Err(SeccompError::NoProxy { file: file.into(), origin });
    };
    let address = ProxyAddress::parse(value).ok_or_else(|| SeccompError::ProxyAddress {
        value: value.clone(),
        origin: config.origin("lxc.seccomp.notify.proxy").cloned(),
    })?;
    Ok(Proxy { address, cookie: config.seccomp.notify_cookie.clone() })
}

impl SeccompPlan {
    /// True if there is a policy to load.
    pub fn is_active(&self) -> bool {
        !self.program.is_empty()
    }

    /// Installs the policy; the descriptor, present when the policy notifies, belongs to the
    /// monitor ([`notify::Notifier`]).
    ///
    /// # In the child
    /// After everything that the policy may forbid: only exec and what leads to it comes after.
    /// Needs CAP_SYS_ADMIN in the user namespace, so before the user ids change, or no_new_privs.
    pub fn load(&self) -> Result<Option<OwnedFd>, SeccompError> {
        if !self.is_active() {
            return Ok(None);
        }
        let notifies = self.proxy.is_some();
        let listener = if notifies { Listener::New } else { Listener::None };
        install(&self.program, listener).map_err(|source| SeccompError::Load {
            source,
            notifies,
            origin: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn config(text: &str) -> (tempfile::NamedTempFile, Config) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut config = Config::default();
        config.seccomp.profile = Some(file.path().into());
        (file, config)
    }

    const FREE: &str = "Name:\tx\nSeccomp:\t0\n";

    #[test]
    fn a_policy_is_compiled() {
        let (_file, config) = config("2\ndenylist\nmkdir\nfoobar\n");
        let plan = prepare(&config, FREE).unwrap();
        assert!(plan.is_active() && plan.proxy.is_none());
        assert!(plan.notes[0].contains("line 4: no system call is named 'foobar'"));
        assert!(!prepare(&Config::default(), FREE).unwrap().is_active());
    }

    #[test]
    fn a_confined_caller_keeps_what_it_has() {
        let (_file, mut config) = config("2\ndenylist\nmkdir\n");
        for status in ["Seccomp:\t2\n", "Name:\tx\n"] {
            let plan = prepare(&config, status).unwrap();
            assert!(!plan.is_active() && plan.left_out.is_some());
        }
        config.seccomp.allow_nesting = true;
        assert!(prepare(&config, "Seccomp:\t2\n").unwrap().is_active());
    }

    #[test]
    fn errors_name_file_and_line() {
        let (file, config) = config("2\ndenylist\nmkdir blah\n");
        let error = prepare(&config, FREE).unwrap_err();
        let want = format!("seccomp policy {}:3: 'blah' is no action", file.path().display());
        assert!(error.to_string().starts_with(&want), "{error}");
        assert_eq!(error.origin().unwrap().line, 3);
        let mut config = Config::default();
        config.seccomp.profile = Some("/nonexistent/policy".into());
        assert_eq!(prepare(&config, FREE).unwrap_err().errno(), Some(2));
    }

    #[test]
    fn a_policy_of_lxc_that_is_not_there_is_built_in() {
        let mut config = Config::default();
        config.seccomp.profile = Some("/no/such/lxc/config/common.seccomp".into());
        let plan = prepare(&config, FREE).unwrap();
        assert!(plan.is_active());
        let confined = prepare(&config, "Seccomp:\t2\n").unwrap();
        let want = "seccomp policy /no/such/lxc/config/common.seccomp (built in) is not loaded";
        assert!(confined.left_out.is_some_and(|text| text.starts_with(want)));

        // A file that is there wins, and a file that cannot be read is not passed over.
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("lxc/config");
        std::fs::create_dir_all(&own).unwrap();
        let policy = own.join("common.seccomp");
        std::fs::write(&policy, "2\ndenylist\nfoobar\n").unwrap();
        config.seccomp.profile = Some(policy.clone());
        assert!(prepare(&config, FREE).unwrap().notes[0].contains("'foobar'"));
        std::fs::remove_file(&policy).unwrap();
        std::fs::create_dir(&policy).unwrap();
        assert!(matches!(prepare(&config, FREE), Err(SeccompError::Read { .. })));
    }

    #[test]
    fn notify_needs_somebody_to_notify() {
        let (_file, mut config) = config("2\ndenylist\nmknod notify\n");
        assert!(matches!(prepare(&config, FREE), Err(SeccompError::NoProxy { .. })));
        config.seccomp.notify_proxy = Some("tcp:1".into());
        assert!(matches!(prepare(&config, FREE), Err(SeccompError::ProxyAddress { .. })));
        config.seccomp.notify_proxy = Some("unix:/run/proxy".into());
        assert!(prepare(&config, FREE).unwrap().proxy.is_some());
    }
}
