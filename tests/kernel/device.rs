//! lxc-device and lxc-cgroup on real containers: nodes, interfaces, values of both cgroup versions.

use crate::machine::Machine;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

const QUIET: &str = "lxc.net.0.type = empty\n";
const STRICT: &str = "lxc.net.0.type = empty\nlxc.cgroup.devices.deny = a\n\
                      lxc.cgroup.devices.allow = c 1:3 rwm\n";
const MAPPED: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";

/// True if the container may open `path` for writing and the kernel answers as /dev/full does.
fn is_full(m: &Machine, c: &str, path: &str) -> bool {
    m.inside(c, &format!("echo x > {path}")).stderr.contains("No space left")
}

#[test]
fn a_node_comes_and_goes_with_its_permission() {
    let m = Machine::new();
    let c = m.container("node", STRICT);
    m.start(&c);
    assert!(!is_full(&m, &c, "/dev/full"), "denied at first");
    let device = |words: &[&str]| m.lxc("device", &[&["-n", &c], words].concat());
    for _ in 0..2 {
        assert_eq!(device(&["--", "add", "/dev/full", "/dev/dir/mine"]).ok(), "");
    }
    assert!(is_full(&m, &c, "/dev/dir/mine"));
    let seen = m.inside(&c, "stat -c '%F %a %u:%g' /dev/dir/mine; ls -A /dev/dir").ok();
    assert_eq!(seen, "character special file 666 0:0\nmine\n");
    for _ in 0..2 {
        device(&["del", "/dev/full", "/dev/dir/mine"]).ok();
    }
    assert_eq!(m.inside(&c, "ls -A /dev/dir").ok(), "");
    assert!(!is_full(&m, &c, "/dev/full"), "denied again");
}

#[test]
fn a_node_can_be_opened_in_a_user_namespace() {
    let m = Machine::new();
    let c = m.container("mapped", &format!("{STRICT}{MAPPED}"));
    m.sh(&format!("chown -R 100000:100000 {}/{c}/rootfs", m.lxcpath().display())).ok();
    m.sh(&format!("chmod 755 {}/{c}", m.lxcpath().display())).ok();
    m.start(&c);
    if m.lacks("open_tree") {
        let said = m.lxc("device", &["-n", &c, "add", "/dev/full", "/dev/dir/mine"]).fails(1);
        assert!(said.contains("before Linux 5.2"), "{said}");
        return;
    }
    for _ in 0..2 {
        m.lxc("device", &["-n", &c, "add", "/dev/full", "/dev/dir/mine"]).ok();
    }
    assert!(is_full(&m, &c, "/dev/dir/mine"));
    assert_eq!(m.inside(&c, "stat -c '%a %u:%g' /dev/dir/mine").ok(), "666 0:0\n");
    m.lxc("device", &["-n", &c, "del", "/dev/full", "/dev/dir/mine"]).ok();
    assert_eq!(m.inside(&c, "ls -A /dev/dir").ok(), "");
    let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", m.init_pid(&c))).unwrap();
    assert!(!mounts.contains("/dev/dir"), "{mounts}");
}

#[test]
fn a_hostile_container_keeps_what_is_not_its_own() {
    let m = Machine::new();
    let c = m.container("hostile", QUIET);
    m.start(&c);
    let outside = m.dir.join("precious");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("null"), "x").unwrap();
    // Links in the container's own tree, as its root would make them.
    let root = PathBuf::from(format!("/proc/{}/root", m.init_pid(&c)));
    symlink(&outside, root.join("dev/way")).unwrap();
    symlink(outside.join("null"), root.join("dev/link")).unwrap();
    let device = |words: &[&str]| m.lxc("device", &[&["-n", &c], words].concat());
    for target in ["/dev/way/full", "/dev/link", "/../full", "/dev/../../full"] {
        let text = device(&["add", "/dev/full", target]).fails(1);
        assert!(text.contains(target), "{text}");
    }
    for target in ["/dev/way/null", "/dev/link", "/bin/busybox", "/etc"] {
        device(&["del", "/dev/null", target]).fails(1);
    }
    assert_eq!(std::fs::read_to_string(outside.join("null")).unwrap(), "x");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert!(device(&["add", "/dev/full", "/etc/passwd"]).fails(1).contains("no device"));
    assert_eq!(m.inside(&c, "ls -A /dev | grep lxc-device; cat /etc/passwd | wc -l").stdout, "1\n");
}

#[test]
fn an_interface_moves_in_and_back() {
    let m = Machine::new();
    let c = m.container("nic", QUIET);
    m.start(&c);
    m.sh("ip link add vt0 type veth peer name vt1 && ip link set vt1 up && ip link add br7 type bridge")
        .ok();
    let device = |words: &[&str]| m.lxc("device", &[&["-n", &c], words].concat());
    device(&["add", "vt1", "eth7"]).ok();
    let inside = m.inside(&c, "ip link show eth7").ok();
    assert!(inside.contains("eth7") && !inside.contains(",UP"), "{inside}");
    assert!(!m.sh("ip link show vt1").stderr.is_empty(), "it left the host");
    assert!(device(&["del", "eth7", "vt0"]).fails(1).contains("taken"));
    assert!(device(&["del", "vt1"]).fails(1).contains("neither"));
    device(&["del", "eth7", "vt1"]).ok();
    m.sh("ip link show vt1").ok();
    device(&["add", "vt1"]).ok();
    device(&["del", "vt1"]).ok();
    assert!(device(&["add", "vt1", "lo"]).fails(1).contains("taken"));
    for stuck in ["lo", "br7"] {
        assert!(device(&["add", stuck]).fails(1).contains("cannot be moved"));
    }
    for wrong in
        [&["add"][..], &["foo", "vt1"], &["add", "vt1", "e", "f"], &[], &["add", "vt1", "a/b"]]
    {
        device(wrong).fails(1);
    }
    assert!(m.lxc("device", &["-n", "missing", "add", "vt1"]).fails(1).contains("not running"));
    m.sh("ip link del vt0; ip link del br7").ok();
}

#[test]
fn cgroup_values_of_both_versions() {
    let m = Machine::new();
    let c = m.container("value", QUIET);
    m.start(&c);
    let cgroup = |words: &[&str]| m.lxc("cgroup", &[&["-n", &c], words].concat());
    for (name, other, value, seen, seen_other) in [
        ("memory.max", "memory.limit_in_bytes", "64M", "67108864", "67108864"),
        ("memory.limit_in_bytes", "memory.max", "32M", "33554432", "33554432"),
        ("cpu.weight", "cpu.shares", "50", "50", "512"),
        ("cpu.max", "cpu.cfs_quota_us", "20000 50000", "20000 50000", "20000"),
        ("cpu.cfs_quota_us", "cpu.max", "30000", "30000", "30000 50000"),
        ("pids.max", "pids.max", "88", "88", "88"),
    ] {
        assert_eq!(cgroup(&[name, value]).ok(), "");
        assert_eq!(cgroup(&[name]).ok(), format!("{seen}\n\n"), "{name}");
        assert_eq!(cgroup(&[other]).ok(), format!("{seen_other}\n\n"), "{other}");
    }
    assert!(cgroup(&["pids.max", "many"]).fails(1).contains("EINVAL"));
    assert!(cgroup(&["memory.max", "much"]).fails(1).contains("memory.max = much"));
    assert!(cgroup(&[]).fails(1).contains("Missing state object"));
    for wrong in
        [&["bogus.max"][..], &["bogus.max", "1"], &["../x"], &["pids.max", "1", "2"], &[""]]
    {
        cgroup(wrong).fails(1);
    }
    // Devices: by the list of v1 or by the program of v2.
    let opens = || is_full(&m, &c, "/dev/full");
    assert!(opens());
    cgroup(&["devices.deny", "c 1:7 rwm"]).ok();
    assert!(!opens());
    cgroup(&["devices.allow", "/dev/full w"]).ok();
    assert!(opens());
    cgroup(&["devices.deny", "a"]).ok();
    assert!(!opens());
    cgroup(&["devices.allow", "a"]).ok();
    assert!(opens());
    assert!(cgroup(&["devices.allow", "nonsense"]).fails(1).contains("must be"));
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(cgroup(&["pids.max"]).fails(1).contains("is not running"));
}
