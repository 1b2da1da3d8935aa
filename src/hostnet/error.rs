//! What can be wrong with the host's bridge, and what mends it.

use crate::net::rtnl::RtnlError;
use crate::sys::SysError;
use crate::util::blame::{Explain, Origin};

/// Why lxc-net cannot do what it is asked for, in one word: every result with it is handed up in
/// registers.
pub type HostNetError = Box<Fault>;

/// What a [`HostNetError`] says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentence of each variant says what it and its fields are")]
pub enum Fault {
    #[error("{what}; lxc-net reads variables and runs no shell")]
    Line { what: String, origin: Origin },
    #[error("{name}: \"{value}\" {why}")]
    Value { name: &'static str, value: String, why: String, origin: Origin },
    #[error("this needs root")]
    NotRoot,
    #[error("\"{name}\" is {kind}, not a bridge")]
    NotABridge { name: String, kind: String, origin: Origin },
    #[error("{network} overlaps {other}")]
    Overlap { network: String, other: String, variable: &'static str, origin: Origin },
    #[error("lxc-net is running with other settings: {what} is of an earlier start")]
    Changed { what: String },
    #[error("{program} is not installed")]
    NoProgram { program: &'static str, package: &'static str },
    #[error("the kernel has no IPv6")]
    NoIpv6 { origin: Origin },
    #[error("{program} {how}{output}")]
    Program { program: String, how: String, output: String, hint: Option<String> },
    #[error("{step}")]
    System {
        step: &'static str,
        #[source]
        cause: SysError,
    },
    #[error("{step}")]
    Kernel {
        step: &'static str,
        #[source]
        cause: RtnlError,
    },
}

/// For `map_err`.
pub(super) fn system(step: &'static str) -> impl FnOnce(SysError) -> HostNetError {
    move |cause| Box::new(Fault::System { step, cause })
}

/// For `map_err`.
pub(super) fn kernel(step: &'static str) -> impl FnOnce(RtnlError) -> HostNetError {
    move |cause| Box::new(Fault::Kernel { step, cause })
}

impl Explain for Fault {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::System { cause, .. } => Some(cause.errno),
            Self::Kernel { cause, .. } => cause.errno(),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Line { origin, .. }
            | Self::Value { origin, .. }
            | Self::NotABridge { origin, .. }
            | Self::Overlap { origin, .. }
            | Self::NoIpv6 { origin } => Some(origin),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotRoot => "sudo lxc-net …".into(),
            Self::NotABridge { name, .. } => {
                format!("ip link show {name}; another name goes into LXC_BRIDGE")
            }
            Self::Overlap { variable, .. } => format!("give {variable} another network"),
            Self::Changed { .. } => "lxc-net restart".into(),
            Self::NoProgram { package, .. } => format!("apt-get install {package}"),
            Self::Program { hint, .. } => return hint.clone(),
            _ => return None,
        })
    }
}
