//! Any text as /proc/self/mountinfo and /proc/PID/cgroup: each hierarchy is found in a mount of
//! its kind, at a path that does not lead out of it; and paths with blanks come back whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::cgroup::layout::places;
use lxcbox::sys::tree::mounts_below;
use std::ffi::OsStr;

/// mountinfo, an empty line, cgroup: of a host with both versions, of one with v2 only, of a bind
/// of a part.
const SEEDS: [&str; 3] = [
    "23 1 0:20 / / rw - ext4 /dev/root rw\n\
     30 23 0:1 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
     31 23 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
     90 23 0:9 / /sys/fs/cgroup/unified ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\n\
     2:name=systemd:/init.scope\n1:cpu,cpuacct:/session/one\n0::/\n",
    "90 23 0:9 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\n0::/init.scope\n",
    "40 30 0:32 /lxc/c1 /sys/fs/cgroup/my\\040mem rw - cgroup cgroup rw,memory\n\n\
     3:memory:/lxc/c1/sub\n",
];

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |text: &str| {
    let (mountinfo, membership) = text.split_once("\n\n").unwrap_or((text, ""));
    let found = places(mountinfo, membership);
    assert!(found.len() <= membership.lines().count());
    for place in found {
        assert!(place.below.is_empty() || place.below.starts_with('/'), "{place:?}");
        assert!(place.below.split('/').all(|part| part != ".."), "{place:?}");
        assert_eq!(place.names.is_empty(), place.mount.v2, "{place:?}");
        let root = place.mount.root.trim_end_matches('/');
        let line = format!(":{}:{root}{}", place.names, place.below);
        assert!(membership.lines().any(|text| text.ends_with(&line)), "{place:?}");
    }
    for path in ["", "/sys", "/a b"] {
        for point in mounts_below(mountinfo, OsStr::new(path)) {
            let rest = point.strip_prefix(path).expect("it is below");
            assert!(rest.is_empty() || rest.starts_with('/') || path.is_empty());
        }
    }
    comes_back(mountinfo, membership);
});

/// The kernel writes a path with its blanks and backslashes as `\ooo`.
fn comes_back(point: &str, below: &str) {
    let kernel = |text: &str| {
        let escape = |c: char| match c {
            ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", c as u32),
            _ => c.to_string(),
        };
        text.chars().map(escape).collect::<String>()
    };
    let (point, below) = (format!("/{point}"), format!("/{below}"));
    // Kernels write a carriage return as it is, but std takes one before a line feed for its part.
    if below.contains(['\n', '\r']) || below.split('/').any(|part| part == "..") {
        return;
    }
    let mountinfo = format!("90 23 0:9 / {} rw - cgroup2 cgroup2 rw\n", kernel(&point));
    let membership = format!("0::{below}\n");
    let found = places(&mountinfo, &membership);
    let [place] = found.as_slice() else { panic!("{mountinfo:?}") };
    assert_eq!((place.mount.point.as_ref(), place.below), (point.as_str(), below.as_str()));
    assert!(place.mount.v2 && !place.mount.read_only);
    assert_eq!(mounts_below(&mountinfo, OsStr::new(&point)), [point]);
}
