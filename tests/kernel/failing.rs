//! Failing well: each step of a start is made to fail, and every time there is one precise line on
//! standard error, exit status 1, nothing left behind, and the next start works.

use crate::machine::{Machine, eventually, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// Starts `name`, wants it to fail with one sentence that holds all of `needles`, and nothing to
/// be left behind. Gives back standard error.
#[track_caller]
fn start_fails(m: &Machine, name: &str, needles: &[&str]) -> String {
    let stderr = m.lxc("start", &["-n", name]).fails(1);
    one_precise_line(&stderr, name, needles);
    assert_eq!(m.settle(), Vec::<String>::new(), "after: {stderr}");
    stderr
}

#[track_caller]
fn one_precise_line(stderr: &str, name: &str, needles: &[&str]) {
    let lines: Vec<&str> = stderr.lines().collect();
    let said: Vec<&&str> = lines.iter().filter(|l| !l.starts_with("hint: ")).collect();
    assert_eq!(said.len(), 1, "not one line:\n{stderr}");
    assert!(said[0].starts_with(&format!("lxc-start: {name}: ")), "{stderr}");
    for needle in needles {
        assert!(said[0].contains(needle), "no {needle:?} in:\n{stderr}");
    }
}

/// Replaces the configuration's further lines and checks that the container starts then.
#[track_caller]
fn starts_with(m: &Machine, name: &str, lines: &str) {
    let root = m.lxcpath().join(name).join("rootfs");
    let text = format!("lxc.rootfs.path = dir:{}\n{lines}\n", root.display());
    fs::write(m.config(name), text).unwrap();
    m.lxc("start", &["-n", name]).ok();
    assert_eq!(m.state(name), "RUNNING");
    m.lxc("stop", &["-n", name, "-k"]).ok();
}

#[test]
fn an_option_is_blamed_by_its_name() {
    let m = Machine::new();
    let c = m.container("options", "");
    for (option, value, step) in [
        ("--console", "/nosuch/device", "setting up the console"),
        ("--console-log", "/nosuch/log", "setting up the console"),
        ("--share-net", "nosuchcontainer", "joining shared namespaces"),
        ("--define", "lxc.hook.pre-start=/bin/false", "running the pre-start hooks"),
    ] {
        let said = m.lxc("start", &["-n", &c, option, value]).fails(1);
        one_precise_line(&said, &c, &[step, value.rsplit('=').next().unwrap()]);
        assert!(said.contains(&format!("(set in {option})")), "{said}");
    }
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn a_missing_bridge_is_named_with_its_line() {
    let m = Machine::new();
    let c = m.container("nobridge", "lxc.net.0.type = veth\nlxc.net.0.link = nosuchbr\n");
    let said = start_fails(&m, &c, &["nosuchbr", "lxc.net.0", "config:6"]);
    assert!(said.contains("hint: "), "{said}");
    m.sh("ip link add nosuchbr type bridge && ip link set nosuchbr up").ok();
    m.start(&c);
}

#[test]
fn a_missing_rootfs_is_named() {
    let m = Machine::new();
    let c = m.container("noroot", "");
    let root = m.lxcpath().join(&c).join("rootfs");
    let away = m.lxcpath().join(&c).join("away");
    fs::rename(&root, &away).unwrap();
    start_fails(&m, &c, &["lxc.rootfs.path", "config:1", "ENOENT"]);
    fs::rename(&away, &root).unwrap();
    m.start(&c);
}

#[test]
fn an_init_that_is_missing_or_not_executable_is_named() {
    let m = Machine::new();
    let c = m.container("noinit", "lxc.init.cmd = /sbin/nosuchinit\n");
    start_fails(&m, &c, &["starting init", "/sbin/nosuchinit", "ENOENT"]);
    let program = m.lxcpath().join(&c).join("rootfs/bin/plain");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(
        m.config(&c),
        fs::read_to_string(m.config(&c)).unwrap().replace("/sbin/nosuchinit", "/bin/plain"),
    )
    .unwrap();
    start_fails(&m, &c, &["starting init", "/bin/plain", "EACCES"]);
    // By its name alone: a directory of that name, or a file in the place of one, is passed over.
    let root = m.lxcpath().join(&c).join("rootfs");
    let named = |init: &str| {
        let text = fs::read_to_string(m.config(&c)).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("lxc.init.cmd"));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(m.config(&c), format!("{lines}lxc.init.cmd = {init}\n")).unwrap();
    };
    fs::create_dir_all(root.join("local/bin/sleep")).unwrap();
    fs::write(root.join("local/sbin"), "").unwrap();
    named("sleep 100");
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    named("plain");
    start_fails(&m, &c, &["starting init", "bin/plain", "EACCES"]);
    starts_with(&m, &c, "");
}

#[test]
fn every_hook_that_fails_stops_the_start_and_shows_what_it_said() {
    let m = Machine::new();
    let c = m.container("hooks", "");
    let script = m.dir.join("hook.sh");
    fs::write(&script, "#!/bin/sh\necho the reason >&2\nexit 3\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let inside = m.lxcpath().join(&c).join("rootfs/bin/hook");
    fs::copy(&script, &inside).unwrap();
    let base = fs::read_to_string(m.config(&c)).unwrap();
    for kind in ["pre-start", "pre-mount", "mount", "autodev", "start-host"] {
        fs::write(m.config(&c), format!("{base}lxc.hook.{kind} = {}\n", script.display())).unwrap();
        start_fails(&m, &c, &[kind, "hook.sh", "status 3", "the reason", "config:5"]);
    }
    fs::write(m.config(&c), format!("{base}lxc.hook.start = /bin/hook\n")).unwrap();
    start_fails(&m, &c, &["start", "/bin/hook", "status 3", "the reason", "config:5"]);
    fs::write(m.config(&c), format!("{base}lxc.hook.start = /bin/nosuchhook\n")).unwrap();
    start_fails(&m, &c, &["start", "/bin/nosuchhook", "config:5"]);
    m.sh("ip link add br9 type bridge && ip link set br9 up").ok();
    let net = format!(
        "{base}lxc.net.0.type = veth\nlxc.net.0.link = br9\nlxc.net.0.script.up = {}\n",
        script.display()
    );
    fs::write(m.config(&c), net).unwrap();
    start_fails(&m, &c, &["script.up", "hook.sh", "status 3", "config:7"]);
    assert_eq!(m.sh("ip -br link show master br9").ok(), "");
    starts_with(&m, &c, "");
}

#[test]
fn a_failed_start_runs_the_stop_hooks_as_lxc_does() {
    let m = Machine::new();
    let c = m.container("undo", "");
    let base = fs::read_to_string(m.config(&c)).unwrap();
    let log = m.dir.join("log");
    let script = m.dir.join("hook.sh");
    let text = format!("#!/bin/sh\necho $3 $LXC_TARGET ${{LXC_PID:+pid}} >> {}\n", log.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks: String = ["stop", "post-stop"]
        .map(|kind| format!("lxc.hook.{kind} = {}\n", script.display()))
        .concat();
    for (kind, seen) in [
        ("pre-start", "stop stop\npost-stop stop\n"),
        ("mount", "stop stop pid\npost-stop stop pid\n"),
        ("start-host", "stop stop pid\npost-stop stop pid\n"),
    ] {
        fs::write(m.config(&c), format!("{base}{hooks}lxc.hook.{kind} = /bin/false\n")).unwrap();
        let _ = fs::remove_file(&log);
        start_fails(&m, &c, &[kind, "status 1", "config:7"]);
        assert_eq!(fs::read_to_string(&log).unwrap(), seen, "{kind}");
    }
}

#[test]
fn values_that_cannot_be_had_are_found_by_the_plan() {
    let m = Machine::new();
    let c = m.container("values", "");
    let base = fs::read_to_string(m.config(&c)).unwrap();
    let policy = m.dir.join("policy");
    fs::write(&policy, "2\ndenylist\n[all]\nmount bogus\n").unwrap();
    let cases: &[(String, &[&str])] = &[
        ("lxc.cap.drop = sys_nonsense".into(), &["sys_nonsense", "lxc.cap.drop"]),
        ("lxc.cap.drop = 63".into(), &["capability 63"]),
        ("lxc.prlimit.nonsense = 1".into(), &["lxc.prlimit.nonsense"]),
        (format!("lxc.seccomp.profile = {}", policy.display()), &["policy:4", "bogus"]),
        ("lxc.seccomp.profile = /nosuch/policy".into(), &["/nosuch/policy", "ENOENT"]),
        ("lxc.mount.fstab = /nosuch/fstab".into(), &["/nosuch/fstab", "ENOENT"]),
        ("lxc.mount.entry = only two".into(), &["only two"]),
        ("lxc.nonsense = 1".into(), &["lxc.nonsense"]),
        ("lxc.idmap = u 0 100000 65536".into(), &["lxc.idmap"]),
        ("lxc.namespace.share.net = nosuchcontainer".into(), &["nosuchcontainer"]),
        ("lxc.cgroup2.nosuch.file = 1".into(), &["nosuch.file"]),
        ("lxc.cgroup.memory.nosuchfile = 1".into(), &["memory.nosuchfile"]),
        ("lxc.rootfs.options = idmap=container".into(), &["idmap=container"]),
        ("lxc.init.cmd = 'open".into(), &["lxc.init.cmd"]),
    ];
    for (line, needles) in cases {
        fs::write(m.config(&c), format!("{base}{line}\n")).unwrap();
        let mut needles = needles.to_vec();
        needles.push("config:5");
        if line.contains("seccomp.profile = /") && line.contains("policy:") {
            needles.pop();
        }
        if line.contains(&policy.display().to_string()) {
            needles.retain(|n| *n != "config:5");
        }
        start_fails(&m, &c, &needles);
    }
    starts_with(&m, &c, "");
}

#[test]
fn what_the_kernel_refuses_is_told_with_the_call() {
    let m = Machine::new();
    let c = m.container("refuse", "");
    let base = fs::read_to_string(m.config(&c)).unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("lxc.cgroup.memory.limit_in_bytes = lots", &["memory.limit_in_bytes", "EINVAL"]),
        ("lxc.mount.entry = /nosuch/source mnt none bind 0 0", &["/nosuch/source", "ENOENT"]),
        ("lxc.mount.entry = tmpfs nosuchdir tmpfs rw 0 0", &["nosuchdir", "ENOENT"]),
        ("lxc.sysctl.net.ipv4.nosuch = 1", &["net.ipv4.nosuch", "ENOENT"]),
        ("lxc.proc.nosuchfile = 1", &["nosuchfile", "ENOENT"]),
        ("lxc.console.path = /etc/passwd", &["/etc/passwd"]),
    ];
    for (line, needles) in cases {
        fs::write(m.config(&c), format!("{base}{line}\n")).unwrap();
        let mut needles = needles.to_vec();
        needles.push("config:5");
        start_fails(&m, &c, &needles);
    }
    starts_with(&m, &c, "lxc.mount.entry = /nosuch/source mnt none bind,optional 0 0");
}

#[test]
fn a_full_dev_is_an_error_of_the_hook_that_filled_it() {
    let m = Machine::new();
    let script = m.dir.join("fill.sh");
    let text = "#!/bin/sh\nexec dd if=/dev/zero of=$LXC_ROOTFS_MOUNT/dev/fill bs=4096 count=9\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let lines = format!("lxc.autodev.tmpfs.size = 4096\nlxc.hook.autodev = {}\n", script.display());
    let c = m.container("fulldev", &lines);
    start_fails(&m, &c, &["autodev", "No space left on device", "config:6"]);
    starts_with(&m, &c, "");
}

#[test]
fn a_dev_without_room_is_told_with_the_file() {
    let m = Machine::new();
    let script = m.dir.join("shrink.sh");
    let text = "#!/bin/sh\nexec mount -o remount,nr_inodes=$1 \"$LXC_ROOTFS_MOUNT/dev\"\n";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let c = m.container("noroom", "");
    let base = fs::read_to_string(m.config(&c)).unwrap();
    // The directory itself is one; every node, directory and link is another.
    let mut told = String::new();
    for inodes in 2..=10 {
        let hook = format!("lxc.hook.autodev = {} {inodes}\n", script.display());
        fs::write(m.config(&c), format!("{base}lxc.pty.max = 5\n{hook}")).unwrap();
        let said = start_fails(&m, &c, &["/dev/", "ENOSPC"]);
        assert!(said.contains("\nhint: ") && said.contains("lxc.autodev.tmpfs.size"), "{said}");
        told.push_str(&said);
    }
    for file in ["/dev/null", "/dev/zero", "/dev/console", "/dev/fd"] {
        assert!(told.contains(file), "no {file} in:\n{told}");
    }
    starts_with(&m, &c, "");
}

#[test]
fn a_flag_that_a_user_namespace_may_not_set_has_a_hint() {
    let m = Machine::new();
    let c = m.container(
        "atime",
        "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
         lxc.mount.entry = /usr mnt none bind,strictatime 0 0\n",
    );
    m.sh(&format!("chown -R 100000:100000 {}", m.lxcpath().join(&c).display())).ok();
    let said = start_fails(&m, &c, &["/usr", "EPERM", "config:7"]);
    assert!(said.contains("\nhint: ") && said.contains("strictatime"), "{said}");
    let text = fs::read_to_string(m.config(&c)).unwrap().replace("strictatime", "ro,optional");
    fs::write(m.config(&c), text).unwrap();
    m.start(&c);
}

#[test]
fn cgroups_that_cannot_be_written_are_named() {
    let m = Machine::new();
    let c = m.container("rocgroup", "lxc.cgroup.pids.max = 100\n");
    let pids = if fs::exists("/sys/fs/cgroup/pids").unwrap() { "/pids" } else { "" };
    let place = format!("/sys/fs/cgroup{pids}");
    m.sh(&format!("mount --bind {place} {place} && mount -o remount,bind,ro {place}")).ok();
    start_fails(&m, &c, &["cgroup"]);
    m.sh(&format!("umount {place}")).ok();
    m.start(&c);
}

#[test]
fn too_few_descriptors_are_told_as_such() {
    let m = Machine::new();
    let c = m.container("emfile", "lxc.tty.max = 4\nlxc.pty.max = 64\n");
    let mut failed = 0;
    for limit in 4..40 {
        let mut command = m.command("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(crate::machine::BINARY);
        command.args(["lxc-start", "-P"]).arg(m.lxcpath()).args(["-n", &c]);
        let done = run(command);
        if done.status == 0 {
            assert_eq!(m.state(&c), "RUNNING", "limit {limit}");
            m.inside(&c, "true").ok();
            m.lxc("stop", &["-n", &c, "-k"]).ok();
            continue;
        }
        failed += 1;
        assert!(done.stderr.contains("EMFILE"), "limit {limit}: {}", done.stderr);
        // The sealed copy of the tool itself comes before the start.
        if limit > 8 {
            one_precise_line(&done.stderr, &c, &["EMFILE"]);
            assert!(done.stderr.contains("ulimit -n"), "limit {limit}: {}", done.stderr);
        }
        assert_eq!(m.settle(), Vec::<String>::new(), "limit {limit}: {}", done.stderr);
    }
    assert!(failed >= 2, "no limit was low enough");
    m.start(&c);
}

#[test]
fn a_second_start_says_so_and_succeeds() {
    let m = Machine::new();
    let c = m.container("twice", "");
    m.start(&c);
    let again = m.lxc("start", &["-n", &c]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stderr.contains("already running"), "{}", again.stderr);
}

/// A hook that says where it is and waits until the test lets it go.
fn waiting_hook(m: &Machine) -> String {
    let script = m.dir.join("wait.sh");
    let text = format!(
        "#!/bin/sh\ntouch {0}/reached\nwhile ! [ -e {0}/go ]; do sleep 0.05; done\n",
        m.dir.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script.display().to_string()
}

#[test]
fn the_monitor_killed_during_a_start_leaves_nothing() {
    for kind in ["pre-start", "mount", "start-host"] {
        let m = Machine::new();
        let c = m.container("killmon", "");
        m.sh("ip link add br0 type bridge && ip link set br0 up").ok();
        let hook = waiting_hook(&m);
        let base = fs::read_to_string(m.config(&c)).unwrap();
        let net = "lxc.net.0.type = veth\nlxc.net.0.link = br0\n";
        fs::write(m.config(&c), format!("{base}{net}lxc.hook.{kind} = {hook}\n")).unwrap();
        let mut command = m.lxc_command("start", &["-n", &c]);
        let starter = command.stderr(Stdio::piped()).spawn().unwrap();
        eventually(20, "the hook", || m.dir.join("reached").exists().then_some(()));
        let monitor = eventually(5, "the monitor", || m.monitor_pid(&c));
        m.sh(&format!("kill -9 {monitor}")).ok();
        let out = starter.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{stderr}");
        one_precise_line(&stderr, &c, &["monitor", "SIGKILL"]);
        fs::write(m.dir.join("go"), "").unwrap();
        assert_eq!(m.settle(), Vec::<String>::new(), "{kind}: {stderr}");
        // The kernel takes a network namespace down in its own time.
        eventually(10, "the end of the device", || {
            m.sh("ip -br link show master br0").ok().is_empty().then_some(())
        });
        starts_with(&m, &c, "");
    }
}

#[test]
fn init_killed_during_a_start_is_told() {
    let m = Machine::new();
    let c = m.container("killinit", "");
    let hook = waiting_hook(&m);
    let base = fs::read_to_string(m.config(&c)).unwrap();
    fs::write(
        m.config(&c),
        format!(
            "{base}lxc.hook.start-host = sh -c 'echo $LXC_PID >{0}/pid; exec {hook}'\n",
            m.dir.display()
        ),
    )
    .unwrap();
    let mut command = m.lxc_command("start", &["-n", &c]);
    let starter = command.stderr(Stdio::piped()).spawn().unwrap();
    eventually(20, "the hook", || m.dir.join("reached").exists().then_some(()));
    let pid = fs::read_to_string(m.dir.join("pid")).unwrap();
    m.sh(&format!("kill -9 {}", pid.trim())).ok();
    fs::write(m.dir.join("go"), "").unwrap();
    let out = starter.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{stderr}");
    one_precise_line(&stderr, &c, &["SIGKILL"]);
    assert_eq!(m.settle(), Vec::<String>::new());
    starts_with(&m, &c, "");
}

#[test]
fn the_starter_killed_during_a_start_leaves_a_managed_container() {
    let m = Machine::new();
    let c = m.container("killstart", "");
    let hook = waiting_hook(&m);
    let base = fs::read_to_string(m.config(&c)).unwrap();
    fs::write(m.config(&c), format!("{base}lxc.hook.pre-start = {hook}\n")).unwrap();
    // The binary itself, so that the signal reaches the starter and not nsenter.
    let mut starter = m.lxc_command("start", &["-n", &c]).stderr(Stdio::null()).spawn().unwrap();
    eventually(20, "the hook", || m.dir.join("reached").exists().then_some(()));
    starter.kill().unwrap();
    starter.wait().unwrap();
    fs::write(m.dir.join("go"), "").unwrap();
    eventually(10, "the container", || (m.state(&c) == "RUNNING").then_some(()));
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn the_monitor_killed_later_takes_the_container_with_it() {
    let m = Machine::new();
    m.sh("ip link add br0 type bridge && ip link set br0 up").ok();
    let c = m.container("orphan", "lxc.net.0.type = veth\nlxc.net.0.link = br0\n");
    m.start(&c);
    let init = m.init_pid(&c);
    let monitor = m.monitor_pid(&c).expect("a monitor with LXC's title");
    m.sh(&format!("kill -9 {monitor}")).ok();
    eventually(10, "init's end", || (!fs::exists(format!("/proc/{init}")).unwrap()).then_some(()));
    assert_eq!(m.state(&c), "STOPPED");
    // Nobody is left to remove the empty cgroups; the next start takes them over.
    m.start(&c);
    assert_eq!(m.state(&c), "RUNNING");
    assert!(m.leftovers().iter().all(|l| !l.contains("-1")), "{:?}", m.leftovers());
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
}

/// A monitor gives up its name before its cgroups. Whoever starts then does not take their place
/// while they are being removed, and is not moved out of its own.
#[test]
fn a_start_during_the_end_of_the_last_run_has_cgroups_of_its_own() {
    let m = Machine::new();
    let c = m.container("again", "lxc.net.0.type = empty\n");
    let mut placed = 0;
    for _ in 0..3 {
        // Each removal takes 100 ms more.
        m.sh(&format!(
            "strace -D -f -qq -o /dev/null -e trace=unlinkat -e inject=unlinkat:delay_enter=100000 \
             {} lxc-start -P {} -n {c} </dev/null >/dev/null 2>&1",
            crate::machine::BINARY,
            m.lxcpath().display()
        ))
        .ok();
        let mut stopping = m.lxc_command("stop", &["-n", &c, "-k"]).spawn().unwrap();
        // A monitor that strace delays looks stopped.
        let state = || m.lxc("info", &["-n", &c, "-sH"]).stdout;
        eventually(30, "the end", || (state().trim() == "STOPPED").then_some(()));
        m.lxc("start", &["-n", &c]).ok();
        let status = fs::read_to_string(format!("/proc/{}/status", m.init_pid(&c))).unwrap();
        let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        let own = || fs::read_to_string(format!("/proc/{monitor}/cgroup")).unwrap();
        let before = own();
        let name = format!("/lxc.monitor.{c}");
        let is_own = |line: &&str| line.contains(&name);
        // Hierarchies that are not mounted have nothing of ours.
        assert!(before.lines().filter(is_own).count() > 1, "{before}");
        placed += usize::from(before.contains(&format!("{name}-")));
        assert!(stopping.wait().unwrap().success());
        assert_eq!(own(), before);
        let there = m.leftovers();
        for line in before.lines().filter(is_own) {
            let path = line.splitn(3, ':').nth(2).unwrap();
            assert!(there.iter().any(|l| l.ends_with(path)), "{path} is gone: {there:?}");
        }
        m.lxc("stop", &["-n", &c, "-k"]).ok();
        assert_eq!(m.settle(), Vec::<String>::new());
    }
    assert!(placed > 0, "no start met the end of another");
}
