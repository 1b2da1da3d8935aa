//! Trees of files that look like the /proc and /sys of three hosts, for tests.

use super::layout::{Base, Layout, Probe};
use std::path::Path;

/// A temporary tree.
pub(super) struct Fixture(tempfile::TempDir);

impl Fixture {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    pub(super) fn layout(&self, base: Base) -> Layout {
        Layout::probe_in(&Probe { root: self.path(), base, only: &[] }).unwrap()
    }
}

/// (directory below /sys/fs/cgroup, super options) of each v1 hierarchy, then /proc files.
fn build(v1: &[(&str, &str)], unified: Option<(&str, &str)>, init: &str, own: &str) -> Fixture {
    let fixture = Fixture(tempfile::tempdir().unwrap());
    let mut mounts = String::from("23 1 0:20 / / rw - ext4 /dev/root rw\n");
    for (n, (dir, options)) in v1.iter().enumerate() {
        let point = format!("sys/fs/cgroup/{dir}");
        mounts += &format!(
            "{} 23 0:{n} / /{point} rw,nosuid shared:9 - cgroup cgroup rw,xattr,{options}\n",
            n + 30
        );
        fixture.write(&format!("{point}/cgroup.procs"), "");
        std::fs::create_dir_all(fixture.path().join(&point).join("session/one")).unwrap();
    }
    if let Some((dir, controllers)) = unified {
        let point = format!("sys/fs/cgroup/{dir}");
        let point = point.trim_end_matches('/');
        mounts += &format!("90 23 0:90 / /{point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n");
        for below in ["", "session/one/"] {
            fixture.write(&format!("{point}/{below}cgroup.controllers"), controllers);
            fixture.write(&format!("{point}/{below}cgroup.subtree_control"), "");
        }
    }
    fixture.write("proc/self/mountinfo", &mounts);
    fixture.write("proc/1/cgroup", init);
    fixture.write("proc/self/cgroup", own);
    fixture.write("proc/cmdline", "quiet");
    fixture.write(
        "proc/cgroups",
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t4\t15\t1\nnet_cls\t0\t1\t1\nrdma\t0\t1\t0\n",
    );
    fixture
}

/// Only v1, with cpu and cpuacct mounted together.
pub(super) fn legacy() -> Fixture {
    build(
        &[
            ("cpu,cpuacct", "cpu,cpuacct"),
            ("cpuset", "cpuset"),
            ("memory", "memory"),
            ("devices", "devices"),
            ("freezer", "freezer"),
            ("blkio", "blkio"),
            ("pids", "pids"),
            ("systemd", "name=systemd"),
        ],
        None,
        "8:name=systemd:/init.scope\n7:pids:/init.scope\n6:blkio:/\n5:freezer:/\n4:devices:/\n3:memory:/\n2:cpuset:/\n1:cpu,cpuacct:/\n",
        "8:name=systemd:/session/one\n7:pids:/session/one\n6:blkio:/\n5:freezer:/\n4:devices:/\n3:memory:/session/one\n2:cpuset:/\n1:cpu,cpuacct:/\n",
    )
}

/// v1 controllers with v2 beside them that has hugetlb only.
pub(super) fn hybrid() -> Fixture {
    build(
        &[
            ("cpu", "cpu"),
            ("cpuset", "cpuset"),
            ("memory", "memory"),
            ("devices", "devices"),
            ("freezer", "freezer"),
            ("pids", "pids"),
        ],
        Some(("unified", "hugetlb\n")),
        "6:pids:/\n5:freezer:/\n4:devices:/\n3:memory:/\n2:cpuset:/\n1:cpu:/\n0::/\n",
        "6:pids:/\n5:freezer:/\n4:devices:/\n3:memory:/session/one\n2:cpuset:/\n1:cpu:/\n0::/\n",
    )
}

/// Only v2, under systemd.
pub(super) fn unified() -> Fixture {
    build(
        &[],
        Some(("", "cpuset cpu io memory hugetlb pids\n")),
        "0::/init.scope\n",
        "0::/session/one\n",
    )
}
