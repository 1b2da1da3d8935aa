//! The shared configuration files of `share/config`, in the binary: a container's
//! `lxc.include = /usr/share/lxc/config/common.conf` works on a machine that has only us.

use std::path::Path;

macro_rules! files {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../share/config/", $name)))),+]
    };
}

/// Name and text of each file, for `make install` and for [`find`].
pub static FILES: &[(&str, &str)] = files! {
    "alpine.common.conf"
    "alpine.userns.conf"
    "archlinux.common.conf"
    "archlinux.userns.conf"
    "centos.common.conf"
    "centos.userns.conf"
    "common.conf"
    "common.seccomp"
    "debian.common.conf"
    "debian.userns.conf"
    "devuan.common.conf"
    "devuan.userns.conf"
    "fedora.common.conf"
    "fedora.userns.conf"
    "gentoo.common.conf"
    "gentoo.moresecure.conf"
    "gentoo.userns.conf"
    "kali.common.conf"
    "kali.userns.conf"
    "nesting.conf"
    "oci.common.conf"
    "opensuse.common.conf"
    "opensuse.userns.conf"
    "openwrt.common.conf"
    "oracle.common.conf"
    "oracle.userns.conf"
    "plamo.common.conf"
    "plamo.userns.conf"
    "sabayon.common.conf"
    "sabayon.userns.conf"
    "slackware.common.conf"
    "slackware.userns.conf"
    "sparclinux.common.conf"
    "sparclinux.userns.conf"
    "ubuntu-cloud.common.conf"
    "ubuntu-cloud.lucid.conf"
    "ubuntu-cloud.userns.conf"
    "ubuntu.common.conf"
    "ubuntu.lucid.conf"
    "ubuntu.userns.conf"
    "userns.conf"
    "voidlinux.common.conf"
    "voidlinux.userns.conf"
};

/// What `lxc-create` starts from when there is no default.conf on the machine.
pub static DEFAULT_CONF: &str = include_str!("../../share/default.conf");

/// Our text for a file of LXC that is not there: any `…/lxc/config/NAME`, whatever the prefix.
/// The caller looks for the file first.
pub fn find(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let parent = path.parent()?;
    if !parent.ends_with("lxc/config") {
        return None;
    }
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
