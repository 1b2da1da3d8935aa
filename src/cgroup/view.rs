//! What `lxc.mount.auto = cgroup` needs to know, as data: module `mount` does the mounting.

use super::layout::{Hierarchy, LayoutKind, Version};
use super::tree::CgroupTree;
use std::path::PathBuf;

/// The cgroup file systems of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupView {
    /// What the host has.
    pub kind: LayoutKind,
    /// True if the container has a cgroup namespace: what it mounts begins at its own cgroup.
    pub own_namespace: bool,
    /// In the host's order.
    pub hierarchies: Vec<ViewHierarchy>,
}

/// One hierarchy as the container is to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewHierarchy {
    /// v1 or v2.
    pub version: Version,
    /// Directory below /sys/fs/cgroup (`cpu,cpuacct`, `systemd`, `unified`); empty for v2 on a
    /// host that has only that, which is mounted on /sys/fs/cgroup itself.
    pub dir: String,
    /// Symbolic links beside it that point to it: `cpu` and `cpuacct`.
    pub links: Vec<String>,
    /// `cgroup` or `cgroup2`.
    pub fs_type: &'static str,
    /// Mount options of the file system: `cpu,cpuacct`, `none,name=systemd`, or nothing.
    pub fs_options: String,
    /// Where the host has it mounted.
    pub host_mount: PathBuf,
    /// Init's cgroup below that, without a leading slash.
    pub own_path: String,
    /// The base that containers are made below, likewise.
    pub base: String,
}

impl CgroupTree {
    /// What the host has.
    pub fn layout(&self) -> LayoutKind {
        let v1 = self.hierarchies().any(|h| h.version == Version::V1);
        let v2 = self.hierarchies().any(|h| h.version == Version::V2);
        match (v1, v2) {
            (true, true) => LayoutKind::Hybrid,
            (true, false) => LayoutKind::Legacy,
            (false, _) => LayoutKind::Unified,
        }
    }

    /// True if `controller` is of the unified hierarchy.
    pub fn is_v2(&self, controller: &str) -> bool {
        let of = |h: &&Hierarchy| h.has(controller) || h.query_name() == Some(controller);
        self.hierarchies().find(of).is_none_or(|h| h.version == Version::V2)
    }

    /// The container's view of its cgroups.
    pub fn view(&self, own_namespace: bool) -> CgroupView {
        let kind = self.layout();
        let hierarchies = self.hierarchies().map(|h| {
            let name = h.mount.file_name().map(|n| n.to_string_lossy().into_owned());
            let named = h.controllers.iter().any(|c| c.starts_with("name="));
            let joined = h.controllers.join(",");
            let (dir, fs_type, fs_options) = match h.version {
                Version::V1 if named => (name, "cgroup", format!("none,{joined}")),
                Version::V1 => (Some(joined.clone()), "cgroup", joined),
                Version::V2 if kind == LayoutKind::Unified => (None, "cgroup2", String::new()),
                Version::V2 => (name, "cgroup2", String::new()),
            };
            let several = h.version == Version::V1 && h.controllers.len() > 1;
            ViewHierarchy {
                version: h.version,
                dir: dir.unwrap_or_default(),
                links: if several { h.controllers.clone() } else { Vec::new() },
                fs_type,
                fs_options,
                host_mount: h.mount.clone(),
                own_path: super::v1::join(&h.base, self.init_name()),
                base: h.base.clone(),
            }
        });
        CgroupView { kind, own_namespace, hierarchies: hierarchies.collect() }
    }
}
