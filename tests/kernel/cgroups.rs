//! Cgroups of real containers: names, limits, devices, and what is left when they end.

use crate::machine::{Machine, eventually, run};
use std::fs;
use std::path::PathBuf;

const QUIET: &str = "lxc.net.0.type = empty\n";

/// The directory of `controller`'s hierarchy: v1, or the unified one.
fn hierarchy(controller: &str) -> (PathBuf, bool) {
    let v1 = PathBuf::from("/sys/fs/cgroup").join(controller);
    if v1.join("cgroup.procs").exists() {
        return (v1, false);
    }
    (PathBuf::from("/sys/fs/cgroup"), true)
}

/// The first of `files` (v1, v2) in the payload of a container.
fn limit(name: &str, controller: &str, v1: &str, v2: &str) -> String {
    let (dir, unified) = hierarchy(controller);
    let file = dir.join(format!("lxc.payload.{name}")).join(if unified { v2 } else { v1 });
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.trim().to_owned()
}

fn memberships(pid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    text.lines().filter_map(|l| l.splitn(3, ':').nth(2)).map(str::to_owned).collect()
}

#[test]
fn monitor_and_init_are_in_their_cgroups_in_every_hierarchy() {
    let m = Machine::new();
    let c = m.container("where", QUIET);
    m.start(&c);
    let init = memberships(m.init_pid(&c));
    assert!(init.iter().all(|p| p.ends_with(&format!("/lxc.payload.{c}"))), "{init:?}");
    let monitor = memberships(m.monitor_pid(&c).expect("a monitor"));
    assert!(monitor.iter().all(|p| p.ends_with(&format!("/lxc.monitor.{c}"))), "{monitor:?}");
}

/// A monitor in the foreground enters its unified cgroup when the container has run for a while, but
/// what it starts is there from the begin.
#[test]
fn a_foreground_monitor_and_its_hooks_are_in_its_cgroups() {
    let m = Machine::new();
    let c = m.name("front");
    let note = m.dir.join("hook");
    let lines = format!(
        "{QUIET}lxc.hook.pre-start = /bin/sh -c 'cat /proc/self/cgroup > {0}'\n\
         lxc.hook.post-stop = /bin/sh -c 'cat /proc/self/cgroup >> {0}'\n",
        note.display()
    );
    assert_eq!(m.container("front", &lines), c);
    let there = |text: &str| {
        let mut paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        paths.all(|path| path.ends_with(&format!("/lxc.monitor.{c}")))
    };
    // One that ends before, and one that lives on.
    m.lxc("execute", &["-n", &c, "--", "/bin/true"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    let mut monitor = m.lxc_command("start", &["-n", &c, "-F"]).spawn().expect("lxc-start");
    eventually(10, "the monitor in its cgroups", || {
        let own = fs::read_to_string(format!("/proc/{}/cgroup", monitor.id())).ok()?;
        there(&own).then_some(())
    });
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(monitor.wait().expect("the monitor").success());
    assert_eq!(m.settle(), Vec::<String>::new());
    let hooks = fs::read_to_string(&note).expect("the hooks' note");
    assert!(there(&hooks) && hooks.lines().count() >= 2, "{hooks}");
}

/// A signal while they are made, before there is a monitor that takes signals.
#[test]
fn a_signal_leaves_no_cgroup_without_its_monitor() {
    let m = Machine::new();
    let c = m.container("signal", QUIET);
    for when in [1, 2, 6, 10, 11] {
        for signal in ["TERM", "INT"] {
            for tool in ["execute", "start"] {
                let mut command = m.command("strace");
                command.args(["-qq", "-o", "/dev/null", "-e", "trace=mkdirat", "-e"]);
                command.arg(format!("inject=mkdirat:signal={signal}:when={when}"));
                command.arg(crate::machine::BINARY).arg(format!("lxc-{tool}"));
                command.arg("-P").arg(m.lxcpath()).args(["-n", &c, "--", "/bin/sleep", "0.1"]);
                let done = run(command);
                // A daemon was made in the meantime and goes on.
                m.lxc("stop", &["-n", &c, "-k"]);
                assert_eq!(m.settle(), Vec::<String>::new(), "{signal} {when}: {done:?}");
            }
        }
    }
}

#[test]
fn figures_of_a_running_container() {
    let m = Machine::new();
    let c = m.container("figures", QUIET);
    m.start(&c);
    let text = m.lxc("info", &["-n", &c, "-S"]).ok();
    assert!(text.contains("CPU use:") && text.contains("Memory use:"), "{text}");
}

#[test]
fn limits_of_either_version_hold() {
    let m = Machine::new();
    let lines = "lxc.cgroup2.memory.max = 64M\nlxc.cgroup.pids.max = 77\n\
                 lxc.cgroup2.cpu.max = 50000 100000\nlxc.cgroup.cpu.shares = 512\n";
    let c = m.container("limit", &format!("{QUIET}{lines}"));
    m.start(&c);
    assert_eq!(limit(&c, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(limit(&c, "pids", "pids.max", "pids.max"), "77");
    let (_, unified) = hierarchy("cpu");
    if unified {
        assert_eq!(limit(&c, "cpu", "", "cpu.max"), "50000 100000");
        assert_eq!(limit(&c, "cpu", "", "cpu.weight"), "50");
    } else {
        assert_eq!(limit(&c, "cpu", "cpu.cfs_quota_us", ""), "50000");
        assert_eq!(limit(&c, "cpu", "cpu.shares", ""), "512");
    }
}

#[test]
fn a_limit_that_cannot_be_had_fails_with_its_line() {
    let m = Machine::new();
    let c = m.container("nolimit", QUIET);
    let config = fs::read_to_string(m.config(&c)).expect("config");
    let line = config.lines().count() + 1;
    for (setting, word) in [
        ("lxc.cgroup2.memory.nonesuch = 1", "memory.nonesuch"),
        ("lxc.cgroup.nonesuch.limit = 1", "nonesuch"),
        ("lxc.cgroup.memory.limit_in_bytes = plenty", "memory.limit_in_bytes"),
        ("lxc.cgroup.devices.deny = everything", "devices.deny"),
        ("lxc.cgroup.dir = ../elsewhere", "lxc.cgroup.dir"),
        ("lxc.cgroup.dir.monitor = alone", "lxc.cgroup.dir.container"),
    ] {
        fs::write(m.config(&c), format!("{config}{setting}\n")).expect("config");
        let text = m.lxc("start", &["-n", &c]).fails(1);
        assert!(text.contains(word), "{setting}: {text}");
        assert!(text.contains(&format!("config:{line}")), "{setting}: {text}");
        assert_eq!(m.settle(), Vec::<String>::new(), "{setting}");
    }
}

#[test]
fn devices_are_restricted() {
    let m = Machine::new();
    let lines = "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm\n\
                 lxc.cgroup.devices.allow = c *:* m\nlxc.cgroup2.devices.deny = a\n\
                 lxc.cgroup2.devices.allow = c 1:3 rwm\nlxc.cgroup2.devices.allow = c *:* m\n";
    let c = m.container("devices", &format!("{QUIET}{lines}"));
    m.start(&c);
    m.inside(&c, "echo x > /dev/null && mknod /tmp/port c 1 4").ok();
    m.inside(&c, "head -c 1 /dev/zero").fails(1);
    m.inside(&c, "mknod /tmp/disk b 8 0").fails(1);
}

#[test]
fn only_the_new_kind_of_device_rules() {
    let m = Machine::new();
    let lines = "lxc.cgroup2.devices.allow = c 1:3 rwm\nlxc.cgroup2.devices.allow = /dev/full r\n";
    let c = m.container("newdev", &format!("{QUIET}{lines}"));
    m.start(&c);
    m.inside(&c, "echo x > /dev/null && head -c 1 /dev/full").ok();
    m.inside(&c, "head -c 1 /dev/zero").fails(1);
}

#[test]
fn directories_of_the_users_choice() {
    let m = Machine::new();
    let c = m.container("dirs", QUIET);
    let config = fs::read_to_string(m.config(&c)).expect("config");
    let chosen = format!(
        "lxc.cgroup.dir.monitor = {c}-m/one\nlxc.cgroup.dir.container = {c}-p\n\
         lxc.cgroup.dir.container.inner = ns\nlxc.cgroup2.memory.max = 64M\n\
         lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c *:* rwm\n"
    );
    fs::write(m.config(&c), format!("{config}{chosen}")).expect("config");
    m.start(&c);
    let init = memberships(m.init_pid(&c));
    assert!(init.iter().all(|p| p.ends_with(&format!("/{c}-p/ns"))), "{init:?}");
    let (dir, unified) = hierarchy("memory");
    let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
    let text = fs::read_to_string(dir.join(format!("{c}-p")).join(file)).expect("limit");
    assert_eq!(text.trim(), "67108864");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    fs::write(m.config(&c), format!("{config}lxc.cgroup.dir = {c}/deep\n")).expect("config");
    m.start(&c);
    let init = memberships(m.init_pid(&c));
    assert!(init.iter().all(|p| p.ends_with(&format!("/{c}/deep/lxc.payload.{c}"))), "{init:?}");
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let m = Machine::new();
    let c = m.container("taken", QUIET);
    let (dir, _) = hierarchy("pids");
    let taken = dir.join(format!("lxc.payload.{c}"));
    fs::create_dir(&taken).expect("cgroup");
    // Somebody is in it: an empty one would be taken for what a killed monitor left behind.
    let mut holder = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
    fs::write(taken.join("cgroup.procs"), holder.id().to_string()).expect("entered");
    m.start(&c);
    let init = memberships(m.init_pid(&c));
    let wanted = format!("/lxc.payload.{c}-1");
    assert!(init.iter().all(|p| p.ends_with(&wanted)), "{init:?}");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    holder.kill().expect("still there");
    holder.wait().expect("reaped");
    fs::remove_dir(&taken).expect("nobody else removes it");
}

#[test]
fn nothing_is_left_of_cgroups_made_inside() {
    let m = Machine::new();
    let c = m.container("inside", &format!("{QUIET}lxc.mount.auto = cgroup:rw:force\n"));
    m.start(&c);
    let (dir, _) = hierarchy("memory");
    let payload = dir.join(format!("lxc.payload.{c}"));
    let deep = payload.join("a/b/c/d");
    fs::create_dir_all(&deep).expect("cgroups");
    fs::create_dir_all(payload.join("e/f")).expect("cgroups");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn a_frozen_container_can_be_killed() {
    let m = Machine::new();
    let c = m.container("frozen", QUIET);
    m.start(&c);
    m.lxc("freeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    m.start(&c);
    assert_eq!(m.state(&c), "RUNNING");
}

#[test]
fn a_daemon_that_a_hook_left_keeps_neither_the_start_nor_the_cgroup() {
    left_behind(&Machine::new());
}

/// Before Linux 5.3.
#[test]
fn nor_where_the_end_of_the_hook_is_not_told() {
    left_behind(&Machine::without(&["pidfd"]));
}

/// It has the pipe that the hook's words come by.
fn left_behind(m: &Machine) {
    let note = m.dir.join("pid");
    let hook = m.dir.join("hook");
    let script = format!("#!/bin/sh\nsleep 600 &\necho $! > {}\n", note.display());
    fs::write(&hook, script).expect("hook");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&hook, mode).expect("hook");
    let lines = format!("{QUIET}lxc.hook.start-host = {}\n", hook.display());
    let c = m.container("daemon", &lines);
    m.start(&c);
    let pid: u32 =
        eventually(5, "the hook's daemon", || fs::read_to_string(&note).ok()?.trim().parse().ok());
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok(), "it is the host's and lives on");
    m.sh(&format!("kill {pid}")).ok();
}

/// Version 2 restricts devices by a program alone: where there is none the plan says so, and nothing
/// has been made.
#[test]
fn device_rules_need_programs_on_version_2() {
    if !hierarchy("devices").1 {
        println!("skipped: this host restricts devices by cgroup v1");
        return;
    }
    let m = Machine::without(&["bpf"]);
    let c = m.container("nobpf", &format!("{QUIET}lxc.cgroup2.devices.allow = c 1:3 rwm\n"));
    for args in [&["-n", &c, "--dry-run"][..], &["-n", &c]] {
        let said = m.lxc("start", args).fails(1);
        assert!(
            said.contains("planning the start: restricting devices in /sys/fs/cgroup"),
            "{said}"
        );
        assert!(
            said.contains("config:")
                && said.contains("hint: device rules on cgroup v2 need Linux 4.15"),
            "{said}"
        );
    }
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn what_a_killed_monitor_left_under_a_number_goes_with_the_next_start() {
    let m = Machine::new();
    let c = m.container("left", QUIET);
    m.start(&c);
    // Where this host has them; a run may get a number while the one before it ends.
    let own = || m.sh(&format!("find /sys/fs/cgroup -type d -name 'lxc.monitor.{c}'")).stdout;
    let made = own();
    let numbered: Vec<String> = made.lines().map(|dir| format!("{dir}-1")).collect();
    assert!(!numbered.is_empty());
    m.sh(&format!("mkdir {}", numbered.join(" "))).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    eventually(10, "the end", || own().is_empty().then_some(()));
    // It may be the new cgroup of a container with that very name, and is left alone at first.
    let left = || m.sh(&format!("find /sys/fs/cgroup -type d -name 'lxc.*.{c}-1'")).stdout;
    let restart = || {
        m.start(&c);
        m.lxc("stop", &["-n", &c, "-k"]).ok();
    };
    eventually(30, "the next starts", || {
        restart();
        left().is_empty().then_some(())
    });
}

/// A cgroup of version 2 that has processes, as that of a user's session, passes no controller on.
/// The kernel would make a domain of threads of it, whose children nobody may enter.
#[test]
fn a_container_starts_beside_processes_in_the_base() {
    let m = Machine::new();
    let top = PathBuf::from("/sys/fs/cgroup");
    let passed = fs::read_to_string(top.join("cgroup.subtree_control")).unwrap_or_default();
    if !passed.contains("pids") {
        println!("skipped: no unified hierarchy with a controller of threads");
        return;
    }
    let base = top.join(m.name("crowd"));
    let c = m.container("beside", &format!("{QUIET}lxc.cgroup.relative = 1\n"));
    let limit = "lxc.cgroup2.memory.max=64M";
    let script = format!(
        "mkdir {0} && sh -c 'echo $$ >{0}/cgroup.procs; \"$@\" lxc-execute -P {1} -n {2} -- /bin/true; \
         echo status $?; \"$@\" lxc-execute -P {1} -n {2} -s {limit} -- /bin/true; echo limited $?; \
         cat {0}/cgroup.type' sh {3}; rmdir {0}/lxc.pivot {0}",
        base.display(),
        m.lxcpath().display(),
        c,
        crate::machine::BINARY
    );
    let text = m.sh(&script).ok();
    assert!(text.contains("status 0\n") && text.contains("limited 1\n"), "{text}");
    assert!(text.ends_with("domain\n"), "{text}");
    assert!(!base.exists(), "something is left in {}", base.display());
}
