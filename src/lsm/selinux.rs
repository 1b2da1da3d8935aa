//! SELinux: the context of init and of its keyrings, as written in the configuration.

use super::{Kind, LsmPlan};
use crate::config::Config;
use crate::sys::dirs;
use std::path::Path;

/// LXC's default context; it means "no change".
const NO_CHANGE: &str = "unconfined_t";

/// True if selinuxfs is mounted, which is so exactly when SELinux is active.
pub(super) fn is_enabled(sys: &Path) -> bool {
    dirs::exists(&sys.join("fs/selinux/enforce"))
}

/// `lxc.selinux.*`.
pub(super) fn plan(config: &Config) -> LsmPlan {
    let context = config.selinux.context.clone().filter(|context| context != NO_CHANGE);
    let keyring_label = config.selinux.keyring.clone().or_else(|| context.clone());
    LsmPlan {
        kind: Kind::Selinux,
        exec_label: context,
        keyring_label,
        origin: config.origin("lxc.selinux.context").cloned(),
        ..LsmPlan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts() {
        let mut config = Config::default();
        assert_eq!(plan(&config).label(), None);
        config.selinux.context = Some("unconfined_t".into());
        assert_eq!(plan(&config).label(), None);
        config.selinux.context = Some("a:b:c:s0".into());
        assert_eq!(plan(&config).label(), Some("a:b:c:s0"));
        assert_eq!(plan(&config).keyring_label.as_deref(), Some("a:b:c:s0"));
        config.selinux.keyring = Some("k:k:k:s0".into());
        assert_eq!(plan(&config).keyring_label.as_deref(), Some("k:k:k:s0"));
    }
}
