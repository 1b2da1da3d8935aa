//! Handing seccomp notifications to a proxy.

use std::path::PathBuf;

/// Where a proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAddress {
    /// `unix:/PATH`.
    Path(PathBuf),
    /// `unix:@NAME`: in the abstract namespace.
    Abstract(String),
}

/// Longest name that struct sockaddr_un holds, with its NUL or leading NUL.
const MAX_NAME: usize = 107;

impl ProxyAddress {
    /// Parses the value of `lxc.seccomp.notify.proxy`.
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("unix:").filter(|name| name.len() <= MAX_NAME)?;
        match name.strip_prefix('@') {
            Some("") => None,
            Some(name) => Some(Self::Abstract(name.into())),
            None => name.starts_with('/').then(|| Self::Path(name.into())),
        }
    }
}
