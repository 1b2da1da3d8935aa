//! The shared configuration files of `share/config`, in the binary: a container's
//! `lxc.include = /usr/share/lxc/config/common.conf` works on a machine that has only us.

use crate::util::texts;
use std::path::Path;

/// What `lxc-create` starts from when there is no default.conf on the machine.
pub fn default_conf() -> &'static str {
    texts::find("share", "default.conf").unwrap_or_default()
}

/// Our text for a file of LXC that is not there: any `…/lxc/config/NAME`, whatever the prefix.
/// The caller looks for the file first.
pub fn find(path: &Path) -> Option<&'static str> {
    let parent = path.parent()?;
    if !parent.ends_with("lxc/config") {
        return None;
    }
    texts::find("share/config", path.file_name()?.to_str()?)
}
