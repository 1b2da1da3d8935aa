//! `lxc-config get|set|add|unset` on real containers: the file, and the container that runs.

use crate::machine::{Machine, eventually};
use crate::protocol::{theirs, without_lxc};
use std::fs;

const LINES: &str = "# mine\nlxc.net.0.type = veth\nlxc.net.0.flags = up\n\
                     lxc.net.0.ipv4.address = 10.9.8.7/24\nlxc.cap.drop = sys_module\n\
                     lxc.cap.drop = mac_admin\n# end\n";

fn config(m: &Machine, c: &str, words: &[&str]) -> crate::machine::Outcome {
    let mut command = m.command(crate::machine::BINARY);
    command.arg("lxc-config").args(words).args(["-n", c, "-P"]).arg(m.lxcpath());
    crate::machine::run(command)
}

#[test]
fn the_file_keeps_what_is_not_meant() {
    let m = Machine::new();
    let c = m.container("file", LINES);
    let set = |words: &[&str]| config(&m, &c, words);
    set(&["set", "lxc.cap.drop", "sys_time", "mknod"]).ok();
    set(&["add", "lxc.cap.drop", "sys_boot"]).ok();
    set(&["set", "lxc.uts.name", "web"]).ok();
    for value in ["64M", "65M"] {
        set(&["set", "lxc.cgroup2.memory.max", value]).ok();
    }
    set(&["unset", "lxc.net.0.flags"]).ok();
    set(&["set", "lxc.net.0.type", "veth"]).ok();
    let text = fs::read_to_string(m.config(&c)).unwrap();
    let after = text.split_once("# mine").unwrap().1;
    assert_eq!(
        after,
        "\nlxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.9.8.7/24\nlxc.cap.drop = sys_time\n\
         lxc.cap.drop = mknod\n# end\nlxc.cap.drop = sys_boot\nlxc.cgroup2.memory.max = 65M\n"
    );
    assert!(text.contains("lxc.uts.name = web\n"));
    assert_eq!(set(&["get", "lxc.cap.drop"]).ok(), "sys_time\nmknod\nsys_boot\n");
    assert!(set(&["get"]).ok().contains("lxc.cgroup2.memory.max = 65M\n"));
    // What is refused changes nothing.
    for wrong in [
        &["set", "lxc.cap.drop", "nonsense"][..],
        &["set", "lxc.tty.max", "many"],
        &["set", "lxc.tty.max", "1", "2"],
        &["set", "lxc.tty.max"],
        &["set", "lxc.tty.max", ""],
        &["add", "lxc.tty.max", "1"],
        &["set", "lxc.bogus", "1"],
        &["unset", "lxc.bogus"],
        &["unset"],
        &["get", "lxc.bogus"],
        &["get", "lxc.console.logfile"],
        &["set", "lxc.net.1.veth.pair", "x"],
        &["set", "--live", "lxc.tty.max", "1"],
    ] {
        set(wrong).fails(1);
    }
    assert_eq!(fs::read_to_string(m.config(&c)).unwrap(), text);
    // Lines below a type that do not fit another are not dropped.
    set(&["set", "lxc.net.0.veth.pair", "pair0"]).ok();
    assert!(set(&["set", "lxc.net.0.type", "macvlan"]).fails(1).contains("veth"));
    assert!(config(&m, "missing", &["get"]).fails(1).contains("not defined"));
}

#[test]
fn a_running_container_takes_what_it_can() {
    let m = Machine::new();
    let c = m.container("live", &format!("{LINES}lxc.mount.auto = proc:mixed\n"));
    m.start(&c);
    let live = |words: &[&str]| config(&m, &c, &[&["--live"], words].concat());
    live(&["set", "lxc.cgroup2.memory.max", "70M"]).ok();
    live(&["set", "lxc.cgroup.pids.max", "99"]).ok();
    assert_eq!(live(&["get", "lxc.cgroup.memory.limit_in_bytes"]).ok(), "73400320\n");
    assert_eq!(live(&["get", "lxc.cgroup2.pids.max"]).ok(), "99\n");
    live(&["set", "lxc.prlimit.nofile", "1000:2000"]).ok();
    let limits = m.inside(&c, "cat /proc/1/limits").ok();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().skip(3).collect::<Vec<_>>(), ["1000", "2000", "files"]);
    live(&["set", "lxc.proc.oom_score_adj", "123"]).ok();
    assert_eq!(live(&["get", "lxc.proc.oom_score_adj"]).ok(), "123\n");
    live(&["set", "lxc.sysctl.net.ipv4.ip_forward", "1"]).ok();
    live(&["set", "lxc.sysctl.kernel.shmmax", "123456"]).ok();
    live(&["set", "lxc.uts.name", "other"]).ok();
    let seen = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax; hostname";
    assert_eq!(m.inside(&c, seen).ok(), "1\n123456\nother\n");
    assert_eq!(m.sh("cat /proc/sys/net/ipv4/ip_forward").ok(), "0\n", "the host keeps its own");
    assert_eq!(live(&["get", "lxc.prlimit.nofile"]).ok(), "1000:2000\n");
    // Whoever changed it.
    m.inside(&c, "hostname third; echo 0 > /proc/sys/net/ipv4/ip_forward; ulimit -n").ok();
    assert_eq!(live(&["get", "lxc.uts.name"]).ok(), "third\n");
    assert_eq!(live(&["get", "lxc.sysctl.net.ipv4.ip_forward"]).ok(), "0\n");
    assert_eq!(live(&["get", "lxc.sysctl.kernel.shmmax"]).ok(), "123456\n");
    let host = m.sh("cat /proc/sys/vm/swappiness").ok();
    assert_eq!(live(&["get", "lxc.sysctl.vm.swappiness"]).ok(), host);
    // Its own mounts are not what is asked.
    m.inside(&c, "echo lie > /tmp/lie; mount --bind /tmp/lie /proc/sys/net/ipv4/ip_forward").ok();
    assert_eq!(live(&["get", "lxc.sysctl.net.ipv4.ip_forward"]).ok(), "0\n");
    for (key, part) in [
        ("lxc.sysctl.net.ipv4.bogus", "ENOENT"),
        ("lxc.sysctl.net/../../1/environ", "names no file"),
        ("lxc.proc.root/etc/passwd", "lxc.proc.root/etc/passwd"),
        ("lxc.proc.../mounts", "names no file"),
        ("lxc.prlimit.bogus", "unknown limit"),
        ("lxc.prlimit", "name one of them"),
        ("lxc.cgroup2", "name one of them"),
        ("lxc.net.3.mtu", "without that network"),
    ] {
        let said = live(&["get", key]).fails(1);
        assert!(said.contains(part), "{key}: {said}");
    }
    // Interfaces.
    live(&["set", "lxc.net.0.mtu", "1400"]).ok();
    live(&["set", "lxc.net.0.hwaddr", "00:16:3e:11:22:33"]).ok();
    live(&["set", "lxc.net.0.ipv4.address", "10.9.8.9/24"]).ok();
    config(&m, &c, &["set", "lxc.net.0.ipv6.address", "fd00::5/64"]).ok();
    live(&["add", "lxc.net.0.ipv6.address", "fd00::6/64"]).ok();
    let seen = m.inside(&c, "ip addr show eth0").ok();
    for part in ["mtu 1400", "00:16:3e:11:22:33", "10.9.8.9/24", "fd00::5/64", "fd00::6/64"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert!(!seen.contains("10.9.8.7"), "{seen}");
    for (key, value) in [
        ("mtu", "1400\n"),
        ("hwaddr", "00:16:3e:11:22:33\n"),
        ("flags", "up\n"),
        ("ipv4.address", "10.9.8.9/24\n"),
    ] {
        assert_eq!(live(&["get", &format!("lxc.net.0.{key}")]).ok(), value);
    }
    m.inside(
        &c,
        "ip addr add 10.9.8.77/32 dev eth0 && ip link set eth0 down && ip link set eth0 name x0",
    )
    .ok();
    assert_eq!(live(&["get", "lxc.net.0.ipv4.address"]).ok(), "10.9.8.9/24\n10.9.8.77/32\n");
    live(&["get", "lxc.net.0.flags"]).fails(1);
    m.inside(&c, "ip link set x0 name eth0 && ip link set eth0 up").ok();
    live(&["unset", "lxc.net.0.flags"]).ok();
    let down = || (!m.inside(&c, "ip link show eth0").stdout.contains("UP")).then_some(());
    eventually(10, "the interface to be down", down);
    // Refused, and not in the file either.
    let text = fs::read_to_string(m.config(&c)).unwrap();
    for (words, part) in [
        (&["set", "lxc.tty.max", "3"][..], "restart"),
        (&["set", "lxc.mount.entry", "/srv srv none bind"], "restart"),
        (&["unset", "lxc.cgroup2.memory.max"], "nothing to go back to"),
        (&["set", "lxc.net.3.mtu", "1400"], "without that network"),
        (&["set", "lxc.sysctl.vm.swappiness", "10"], "would change the host"),
        (&["set", "lxc.sysctl.net.ipv4.bogus", "1"], "ENOENT"),
        (&["set", "lxc.prlimit.nofile", "3:2"], "above"),
        (&["set", "lxc.cgroup2.pids.max", "many"], "EINVAL"),
    ] {
        let said = live(words).fails(1);
        assert!(said.contains(part) && !said.contains("/config:"), "{words:?}: {said}");
    }
    assert_eq!(fs::read_to_string(m.config(&c)).unwrap(), text);
    live(&["set", "lxc.start.auto", "1"]).ok();
    assert_eq!(config(&m, &c, &["get", "lxc.start.auto"]).ok(), "1\n");
    assert_eq!(live(&["get", "lxc.start.auto"]).ok(), "1\n");
    assert_eq!(live(&["get", "lxc.tty.max"]).ok(), "0\n");
    // The next start takes all of it.
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(live(&["set", "lxc.cgroup2.pids.max", "5"]).fails(1).contains("not running"));
    m.start(&c);
    assert_eq!(live(&["get", "lxc.cgroup2.pids.max"]).ok(), "99\n");
}

#[test]
fn a_mapped_container_takes_settings_of_its_namespaces() {
    let m = Machine::new();
    let map = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    let c = m.container("mapped", &format!("{LINES}lxc.mount.auto = proc:mixed\n{map}"));
    m.sh(&format!("chown -R 100000:100000 {}/{c}/rootfs", m.lxcpath().display())).ok();
    m.sh(&format!("chmod 755 {}/{c}", m.lxcpath().display())).ok();
    m.start(&c);
    let live = |words: &[&str]| config(&m, &c, &[&["--live"], words].concat());
    live(&["set", "lxc.sysctl.net.ipv4.ip_forward", "1"]).ok();
    live(&["set", "lxc.sysctl.user.max_user_namespaces", "7"]).ok();
    live(&["set", "lxc.prlimit.nofile", "1000:2000"]).ok();
    live(&["set", "lxc.net.0.mtu", "1400"]).ok();
    let seen = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/user/max_user_namespaces";
    assert_eq!(m.inside(&c, seen).ok(), "1\n7\n");
}

/// LXC's monitor cannot be told what a reboot from inside is to keep; that is said.
#[test]
fn what_a_monitor_of_lxc_forgets_is_said() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("theirs", "lxc.net.0.type = empty\n");
    theirs(&m, "start", &["-n", &c]).ok();
    let set = config(&m, &c, &["set", "--live", "lxc.prlimit.nofile", "1000:2000"]);
    assert!(set.stderr.contains("a reboot from inside goes back"), "{}", set.stderr);
    set.ok();
    assert_eq!(config(&m, &c, &["get", "--live", "lxc.prlimit.nofile"]).ok(), "1000:2000\n");
    theirs(&m, "stop", &["-n", &c, "-k"]).ok();
}

/// A reboot from inside keeps what was given to the running container, and nothing else that the
/// file has by now.
#[test]
fn a_reboot_from_inside_keeps_what_was_set_live() {
    let m = Machine::new();
    let c = m.container("again", &format!("{LINES}lxc.mount.auto = proc:mixed\n"));
    m.start(&c);
    let live = |words: &[&str]| config(&m, &c, &[&["--live"], words].concat());
    for (key, value) in [
        ("lxc.cgroup2.memory.max", "70M"),
        ("lxc.prlimit.nofile", "1000:2000"),
        ("lxc.proc.oom_score_adj", "123"),
        ("lxc.sysctl.net.ipv4.ip_forward", "1"),
        ("lxc.uts.name", "other"),
        ("lxc.net.0.mtu", "1400"),
        ("lxc.net.0.hwaddr", "00:16:3e:11:22:33"),
        ("lxc.net.0.ipv4.address", "10.9.8.9/24"),
    ] {
        live(&["set", key, value]).ok();
    }
    live(&["add", "lxc.net.0.ipv4.address", "10.9.8.10/24"]).ok();
    live(&["set", "lxc.cgroup2.devices.deny", "c 1:5 rwm"]).ok();
    // Saved alone: for the next start.
    config(&m, &c, &["set", "lxc.prlimit.nproc", "777"]).ok();
    config(&m, &c, &["set", "lxc.net.0.mtu", "1300"]).ok();
    m.reboot_inside(&c, "hostname fourth; reboot");
    for (key, value) in [
        ("lxc.cgroup2.memory.max", "73400320\n"),
        ("lxc.prlimit.nofile", "1000:2000\n"),
        ("lxc.proc.oom_score_adj", "123\n"),
        ("lxc.sysctl.net.ipv4.ip_forward", "1\n"),
        ("lxc.uts.name", "other\n"),
        ("lxc.net.0.mtu", "1400\n"),
        ("lxc.net.0.hwaddr", "00:16:3e:11:22:33\n"),
        ("lxc.net.0.ipv4.address", "10.9.8.9/24\n10.9.8.10/24\n"),
    ] {
        assert_eq!(live(&["get", key]).ok(), value, "{key}");
    }
    assert_ne!(live(&["get", "lxc.prlimit.nproc"]).ok(), "777\n");
    m.inside(&c, "cat /dev/zero").fails(1);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    m.start(&c);
    assert_eq!(live(&["get", "lxc.prlimit.nproc"]).ok(), "777\n");
    assert_eq!(live(&["get", "lxc.net.0.mtu"]).ok(), "1300\n");
}
