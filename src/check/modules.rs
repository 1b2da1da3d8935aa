//! The kernel's modules, out of the files about them: nothing is loaded to find out.

use crate::sys::{dirs, fd};
use std::path::{Path, PathBuf};

/// What is known of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Part of the kernel.
    BuiltIn,
    /// In use.
    Loaded,
    /// A file that the kernel can load.
    OnDisk,
    /// Nothing says that it is there.
    Unseen,
}

/// The lists of the running kernel.
#[derive(Clone, Debug, Default)]
pub(super) struct Modules {
    /// `/lib/modules/RELEASE`, if there is one.
    dir: Option<PathBuf>,
    builtin: String,
    dep: String,
    sys: PathBuf,
    /// The kernel takes no module (CONFIG_MODULES off, or locked).
    pub(super) no_loading: bool,
}

impl Modules {
    /// Reads the lists below `root`.
    pub(super) fn read(root: &Path, release: &str) -> Self {
        let dirs = ["lib/modules", "usr/lib/modules"].map(|dir| root.join(dir).join(release));
        let dir = dirs.into_iter().find(|dir| dir.is_dir());
        let list = |name: &str| {
            let path = dir.as_ref().map(|dir| dir.join(name));
            path.and_then(|path| fd::read_to_string(path).ok()).unwrap_or_default()
        };
        let (builtin, dep) = (list("modules.builtin"), list("modules.dep"));
        let locked = fd::read_to_string(root.join("proc/sys/kernel/modules_disabled"));
        let takes = dirs::exists(&root.join("proc/modules"));
        let no_loading = !takes || locked.is_ok_and(|text| text.trim() == "1");
        Self { dir, builtin, dep, sys: root.join("sys/module"), no_loading }
    }

    /// True if the kernel can load modules but its directory of them is not there.
    pub(super) fn are_lost(&self) -> bool {
        self.dir.is_none() && !self.no_loading
    }

    /// What is known of the module `name`; `-` and `_` are the same in names.
    pub(super) fn presence(&self, name: &str) -> Presence {
        if lists(&self.builtin, name) {
            Presence::BuiltIn
        } else if dirs::exists(&self.sys.join(name)) {
            Presence::Loaded
        } else if lists(&self.dep, name) {
            Presence::OnDisk
        } else {
            Presence::Unseen
        }
    }
}

/// True if a line of modules.builtin or modules.dep begins with the path of the module.
fn lists(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        let stem = file.split(".ko").next().unwrap_or_default();
        stem.len() == name.len()
            && stem.bytes().zip(name.bytes()).all(|(a, b)| a == b || a == b'-' && b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_lists() {
        let dep = "kernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz\n\
                   kernel/drivers/net/ipvlan/ipvlan.ko:\nkernel/net/sched/act-x.ko.zst:\n";
        assert!(lists(dep, "8021q") && lists(dep, "ipvlan") && lists(dep, "act_x"));
        assert!(!lists(dep, "mrp") && !lists(dep, "vlan") && !lists("", "vlan"));
    }
}
