//! lxc-autostart and the stopping of guests: order, parallel starts, readiness, what fails or
//! hangs, and how each init is asked.

use crate::machine::{Machine, Outcome, eventually};
use crate::systemd::{debian, with_copy};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// Busybox's init told by nothing but its looks.
const NO_SIGNALS: &str = "lxc.signal.halt =\nlxc.signal.reboot =\n";

fn autostart(m: &Machine, args: &[&str]) -> Outcome {
    m.lxc("autostart", args)
}

/// A container that writes its short name to `log` when it starts.
fn logged(m: &Machine, short: &str, lines: &str) -> String {
    m.container(
        short,
        &format!(
            "lxc.start.auto = 1\nlxc.net.0.type = empty\n\
             lxc.hook.start-host = sh -c 'echo {short} >> {}'\n{lines}",
            m.dir.join("log").display()
        ),
    )
}

fn log(m: &Machine) -> String {
    let text = fs::read_to_string(m.dir.join("log")).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The summary's word for a container.
fn word(stdout: &str, name: &str) -> String {
    let line = stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    let line = line.unwrap_or_else(|| panic!("no line for {name} in:\n{stdout}"));
    line.split(" (").next().unwrap_or_default().to_owned()
}

/// lxc-autostart in the background, its output in files.
struct Background {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Background {
    fn new(m: &Machine, args: &[&str]) -> Self {
        let (out, err) = (m.dir.join("out"), m.dir.join("err"));
        let mut command = m.lxc_command("autostart", args);
        command.stdout(Stdio::from(fs::File::create(&out).unwrap()));
        command.stderr(Stdio::from(fs::File::create(&err).unwrap()));
        Self { child: command.spawn().unwrap(), out, err }
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    fn end(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        (status.code().unwrap(), fs::read_to_string(&self.out).unwrap())
    }
}

#[test]
fn containers_start_in_order_and_stop_in_reverse() {
    let m = Machine::new();
    let last = logged(&m, "last", "lxc.start.order = 5\n");
    let first = logged(&m, "first", "lxc.start.order = -5\n");
    let middle = logged(&m, "middle", "");
    let grouped = logged(&m, "grouped", "lxc.group = web\n");
    let manual = m.container("manual", "lxc.net.0.type = empty\n");

    let listed = autostart(&m, &["-L", "-g", ",web"]).ok();
    assert_eq!(listed, format!("{first} 0\n{middle} 0\n{last} 0\n{grouped} 0\n"));
    let said = autostart(&m, &[]).ok();
    assert_eq!(log(&m), "first middle last");
    for name in [&first, &middle, &last] {
        assert_eq!(word(&said, name), "started");
    }
    assert_eq!((m.state(&grouped), m.state(&manual)), ("STOPPED".into(), "STOPPED".into()));
    // Nothing is left to do, and that is no failure.
    assert_eq!(autostart(&m, &[]).ok(), "");
    assert_eq!(autostart(&m, &["-g", "web"]).ok().lines().count(), 1);

    let stop = autostart(&m, &["-L", "-s", "-a", "-A"]).ok();
    assert_eq!(stop.lines().collect::<Vec<_>>(), [&last, &middle, &grouped, &first]);
    let said = autostart(&m, &["-s", "-a", "-A"]).ok();
    let order: Vec<&str> = said.lines().filter_map(|l| l.split(": ").next()).collect();
    assert_eq!((order[0], order[3]), (last.as_str(), first.as_str()));
    assert!(said.lines().all(|line| line.contains(": stopped (")), "{said}");
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn equal_orders_start_together_up_to_the_cap() {
    let m = Machine::new();
    let dir = m.dir.join("meet");
    fs::create_dir(&dir).unwrap();
    // Each waits for all three: one after the other they would never start.
    let meet = format!(
        "lxc.hook.pre-start = sh -c 'touch {0}/$LXC_NAME; \
         until [ $(ls {0} | wc -l) = 3 ]; do sleep 0.02; done'\n",
        dir.display()
    );
    for short in ["a", "b", "c"] {
        logged(&m, short, &meet);
    }
    assert_eq!(autostart(&m, &["--jobs", "3"]).ok().lines().count(), 3);
    autostart(&m, &["-k"]).ok();

    // With a cap of one nobody finds another one at it.
    let alone = m.dir.join("alone");
    let alone = format!(
        "lxc.hook.pre-start = sh -c 'mkdir {0}'\nlxc.hook.start-host = sh -c 'rmdir {0}'\n",
        alone.display()
    );
    for short in ["a", "b", "c"] {
        let name = m.name(short);
        let config = fs::read_to_string(m.config(&name)).unwrap();
        let others = config.lines().filter(|line| !line.contains("lxc.hook"));
        let config = others.flat_map(|line| [line, "\n"]).collect::<String>() + &alone;
        fs::write(m.config(&name), config).unwrap();
    }
    autostart(&m, &["-j", "1"]).ok();
}

#[test]
fn a_broken_or_slow_container_holds_up_nobody() {
    let m = Machine::new();
    let gate = m.dir.join("gate");
    let broken = logged(&m, "broken", "lxc.net.1.type = veth\nlxc.net.1.link = nosuch0\n");
    let nonsense = logged(&m, "nonsense", "lxc.nonsense = 1\n");
    let slow = logged(
        &m,
        "slow",
        &format!(
            "lxc.hook.pre-start = sh -c 'until [ -e {} ]; do sleep 0.02; done'\n",
            gate.display()
        ),
    );
    let good = logged(&m, "good", "lxc.start.order = 1\n");
    let said = autostart(&m, &["-t", "1"]);
    let (out, err) = (said.stdout.clone(), said.fails(2));
    for name in [&broken, &nonsense, &slow] {
        assert_eq!(word(&out, name), "failed");
    }
    assert_eq!(word(&out, &good), "started");
    assert!(err.contains("bridge \"nosuch0\" does not exist"), "{err}");
    assert!(err.contains("hint: "), "{err}");
    assert!(err.contains("lxc.nonsense"), "{err}");
    assert!(err.contains("not started after 1 seconds; left to go on"), "{err}");
    fs::write(&gate, "").unwrap();
    eventually(10, "the slow one", || (m.state(&slow) == "RUNNING").then_some(()));
    // Only what fails is left.
    autostart(&m, &[]).fails(1);
}

#[test]
fn one_waits_for_another_until_it_is_ready() {
    let m = Machine::new();
    let db = m.name("db");
    let web = logged(&m, "web", &format!("lxc.start.after = {db} nosuch\n"));
    logged(&m, "db", "lxc.start.order = 9\nlxc.start.ready = /bin/test -e /tmp/ready\n");
    let plan = autostart(&m, &["--dry-run"]);
    assert!(plan.stderr.contains("names \"nosuch\", which does not exist"), "{}", plan.stderr);
    let plan = plan.ok();
    assert!(plan.contains(&format!("{web} after {db}")), "{plan}");
    assert!(plan.contains("ready when '/bin/test -e /tmp/ready' succeeds"), "{plan}");
    assert_eq!(m.state(&db), "STOPPED");

    let run = Background::new(&m, &[]);
    let waits = format!("{web}: waits for {db}");
    eventually(10, "a word on what is waited for", || run.stderr().contains(&waits).then_some(()));
    let waits = format!("{db}: runs; waiting for success of '/bin/test -e /tmp/ready'");
    eventually(10, "the other word", || run.stderr().contains(&waits).then_some(()));
    assert_eq!(log(&m), "db");
    m.inside(&db, "touch /tmp/ready").ok();
    let (status, out) = run.end();
    assert_eq!(status, 0, "{out}");
    assert_eq!((word(&out, &db), word(&out, &web)), ("ready".into(), "started".into()));
    assert_eq!(log(&m), "db web");
}

#[test]
fn who_is_not_ready_in_time_is_a_failure_and_the_others_go_on() {
    let m = Machine::new();
    let db = logged(&m, "db", "lxc.start.ready = address\n");
    let web = logged(&m, "web", &format!("lxc.start.after = {db}\n"));
    let said = autostart(&m, &["-t", "1"]);
    let out = said.stdout.clone();
    let err = said.fails(2);
    assert!(err.contains("runs, but is not ready after 1 seconds: no address"), "{err}");
    assert_eq!((word(&out, &db), word(&out, &web)), ("failed".into(), "started".into()));
    assert_eq!(m.state(&db), "RUNNING");
}

/// The command has its time and no more, with what it started; also where nothing tells the end of
/// a process but its parent's wait (before Linux 5.3).
#[test]
fn a_command_that_never_ends_does_not_stay_in_the_container() {
    for m in [Machine::new(), Machine::without(&["pidfd"])] {
        let db = logged(&m, "db", "lxc.start.ready = /bin/sh -c \"sleep 777; true\"\n");
        let err = autostart(&m, &["-t", "1"]).fails(1);
        assert!(err.contains("not ready after 1 seconds: no success of '/bin/sh"), "{err}");
        assert_eq!(m.state(&db), "RUNNING");
        eventually(5, "the end of the command", || {
            let all = m.inside(&db, "cat /proc/[0-9]*/cmdline").stdout;
            (!all.contains("777")).then_some(())
        });
        m.lxc("stop", &["-k", "-n", &db]).ok();
    }
}

/// A command may well wait by itself: what is waited for is said while it does.
#[test]
fn a_command_that_waits_is_named_meanwhile() {
    let m = Machine::new();
    let waits = "lxc.start.ready = /bin/sh -c \"until test -e /tmp/go; do sleep 0.1; done\"\n";
    let db = logged(&m, "db", waits);
    let run = Background::new(&m, &[]);
    let waits = format!("{db}: runs; waiting for success of '/bin/sh -c");
    eventually(10, "a word on the command", || run.stderr().contains(&waits).then_some(()));
    m.inside(&db, "touch /tmp/go").ok();
    let (status, out) = run.end();
    assert_eq!((status, word(&out, &db)), (0, "ready".into()));
}

/// More than a process may have descriptors for.
#[test]
fn hundreds_at_a_time_are_no_more_than_there_are_descriptors_for() {
    let m = Machine::new();
    for n in 0..520 {
        let dir = m.lxcpath().join(format!("n{n}"));
        fs::create_dir(&dir).unwrap();
        let hook =
            "lxc.rootfs.path = dir:/nonexistent\nlxc.hook.pre-start = sh -c 'sleep 2; exit 9'\n";
        fs::write(dir.join("config"), format!("lxc.start.auto = 1\n{hook}")).unwrap();
    }
    let limited = format!(
        "ulimit -n 1024; exec {} lxc-autostart -P {} -j 9999",
        crate::machine::BINARY,
        m.lxcpath().display()
    );
    let said = m.sh(&limited);
    assert_eq!(said.stdout.lines().count(), 520);
    let err = said.fails(1);
    let hooks = err.lines().filter(|line| line.contains("exited with status 9")).count();
    assert_eq!(hooks, 520, "{err}");
}

#[test]
fn an_address_makes_it_ready() {
    let m = Machine::new();
    m.sh("ip link add br0 type bridge && ip link set br0 up").ok();
    let net = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n\
               lxc.start.auto = 1\nlxc.start.ready = address\n";
    let name = m.container("net", net);
    fs::write(
        m.lxcpath().join(&name).join("rootfs/etc/inittab"),
        "::sysinit:/bin/sh -c 'sleep 0.3; ip addr add 10.9.8.7/24 dev eth0'\n",
    )
    .unwrap();
    assert_eq!(word(&autostart(&m, &[]).ok(), &name), "ready");
    assert!(m.lxc("ls", &["-f"]).ok().contains("10.9.8.7"));
}

#[test]
fn circles_are_refused() {
    let m = Machine::new();
    let (a, b) = (m.name("a"), m.name("b"));
    logged(&m, "a", &format!("lxc.start.after = {b}\n"));
    logged(&m, "b", &format!("lxc.start.after = {a}\n"));
    logged(&m, "c", &format!("lxc.start.after = {a}\n"));
    let err = autostart(&m, &[]).fails(2);
    assert!(err.contains(&format!("goes in a circle: {a} after {b} after {a}")), "{err}");
    assert_eq!(log(&m), "c");
}

#[test]
fn who_does_not_halt_is_killed_within_the_time_for_all() {
    let m = Machine::new();
    let deaf = "lxc.init.cmd = /bin/sleep 1000\nlxc.signal.halt = SIGUSR2\n";
    let one = logged(&m, "one", &format!("{deaf}lxc.start.order = 2\n"));
    let two = logged(&m, "two", &format!("{deaf}lxc.start.order = 1\n"));
    let well = logged(&m, "well", "");
    let frozen = logged(&m, "frozen", "");
    autostart(&m, &[]).ok();
    m.lxc("freeze", &["-n", &frozen]).ok();
    let said = autostart(&m, &["-s", "-t", "18"]);
    let err = said.stderr.clone();
    let out = said.ok();
    for name in [&one, &two] {
        assert_eq!(word(&out, name), "killed");
        assert!(err.contains(&format!("{name}: container \"{name}\" did not halt")), "{err}");
    }
    assert!(err.contains("after SIGUSR2; it was killed"), "{err}");
    // Each had a part of it: a third.
    assert!(err.contains("within 6 seconds"), "{err}");
    for name in [&well, &frozen] {
        assert_eq!(word(&out, name), "stopped");
    }
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn a_reboot_and_a_kill_of_all() {
    let m = Machine::new();
    let name = logged(&m, "again", "");
    let off = logged(&m, "off", "");
    autostart(&m, &[]).ok();
    m.lxc("stop", &["-n", &off, "-k"]).ok();
    let before = m.init_pid(&name);
    assert_eq!(word(&autostart(&m, &["-r"]).ok(), &name), "rebooted");
    assert_ne!(m.init_pid(&name), before);
    assert_eq!(m.state(&off), "STOPPED");
    assert_eq!(word(&autostart(&m, &["-k"]).ok(), &name), "stopped");
}

#[test]
fn the_inits_are_known_without_a_configured_signal() {
    let m = Machine::new();
    // Busybox's init takes SIGPWR for nothing.
    let busybox = m.container("busybox", &format!("lxc.net.0.type = empty\n{NO_SIGNALS}"));
    // A program that is no init, and ends on SIGTERM.
    let program = m.container(
        "program",
        &format!("lxc.net.0.type = empty\n{NO_SIGNALS}lxc.init.cmd = /bin/sh /term\n"),
    );
    let script = "trap 'exit 0' TERM\necho > /ready\nwhile :; do sleep 0.05; done\n";
    let root = m.lxcpath().join(&program).join("rootfs");
    fs::write(root.join("term"), script).unwrap();
    for name in [&busybox, &program] {
        m.start(name);
    }
    let before = m.init_pid(&busybox);
    m.lxc("stop", &["-n", &busybox, "-r"]).ok();
    assert_ne!(m.init_pid(&busybox), before);
    eventually(5, "the trap", || root.join("ready").exists().then_some(()));
    // An upgrade inside has replaced its file: it is still what it was.
    m.inside(&busybox, "cp /bin/busybox /bin/new && mv /bin/new /bin/busybox").ok();
    let exe = format!("/proc/{}/exe", m.init_pid(&busybox));
    assert!(fs::read_link(exe).unwrap().to_string_lossy().ends_with("busybox (deleted)"));
    for name in [&busybox, &program] {
        let said = m.lxc("stop", &["-n", name]);
        assert!(!said.stderr.contains("killed"), "{}", said.stderr);
        said.ok();
    }
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn lxc_stop_says_what_it_waits_for() {
    let m = Machine::new();
    let name = m.container("deaf", "lxc.net.0.type = empty\nlxc.init.cmd = /bin/sleep 1000\n");
    m.start(&name);
    let said = m.lxc("stop", &["-n", &name, "-t", "3"]);
    let err = said.stderr.clone();
    said.ok();
    assert!(err.contains("sleep (process "), "{err}");
    assert!(err.contains("was asked by SIGUSR1 to halt; waiting up to 3 seconds for it"), "{err}");
    assert!(err.contains("it was killed"), "{err}");
}

/// What asks init is the container's, and may hang: its time is a part of the whole, and what comes
/// after it is killed.
#[test]
fn a_halting_command_that_hangs_keeps_to_the_time() {
    let m = Machine::new();
    let lines = format!("{NO_SIGNALS}lxc.init.cmd = /bin/runit\n");
    let name = logged(&m, "runit", &lines);
    let bin = m.lxcpath().join(&name).join("rootfs/bin");
    for program in ["runit", "runit-init"] {
        fs::write(bin.join(program), "#!/bin/sh\ntrap '' INT\nwhile :; do sleep 1; done\n")
            .unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let stops: [(&str, &[&str]); 2] = [("stop", &["-n", &name]), ("autostart", &["-s"])];
    for (tool, args) in stops {
        m.start(&name);
        let begun = std::time::Instant::now();
        let said = m.lxc(tool, &[args, &["-t", "2"]].concat());
        let took = begun.elapsed().as_secs();
        let killed = "did not halt within 2 seconds after SIGCONT; it was killed";
        assert!(said.stderr.contains(killed) && took < 6, "{took} s: {}", said.stderr);
        said.ok();
    }
    m.start(&name);
    let err = m.lxc("autostart", &["-r", "-t", "2"]).fails(1);
    assert!(err.contains("did not reboot within 2 seconds after SIGINT"), "{err}");
}

/// The name of init is the container's to choose, and is shown on the caller's terminal.
#[test]
fn the_name_of_init_does_not_reach_the_terminal() {
    let m = Machine::new();
    let lines = "lxc.net.0.type = empty\nlxc.mount.auto = proc\nlxc.init.cmd = /bin/sh /evil\n";
    let name = m.container("evil", lines);
    let root = m.lxcpath().join(&name).join("rootfs");
    let evil = "printf 'e\\033[2J' >/proc/1/comm\n>/ready\nwhile :; do sleep 1; done\n";
    fs::write(root.join("evil"), evil).unwrap();
    m.start(&name);
    eventually(5, "its name", || root.join("ready").exists().then_some(()));
    let said = m.lxc("stop", &["-n", &name, "-t", "3"]);
    assert!(said.stderr.contains(r"e\u{1b}[2J (process "), "{}", said.stderr);
    assert!(!said.stderr.contains('\x1b'));
}

#[test]
fn systemd_says_when_it_is_ready() {
    let (m, name) = with_copy(&debian(), "notify", "lxc.start.auto = 1\nlxc.start.ready = notify");
    assert_eq!(word(&autostart(&m, &[]).ok(), &name), "ready");
    let state = m.lxc("attach", &["-n", &name, "--", "systemctl", "is-system-running"]);
    assert_eq!(state.stdout.trim(), "running");
    crate::systemd::stops(&m, &name);
}

/// A generator of small numbers that is the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }
}

/// What LXC's own tool would start, and in which order, of made-up directories: the same list.
#[test]
fn lists_of_any_configuration_are_lxcs() {
    let m = Machine::new();
    if !std::path::Path::new("/usr/bin/lxc-autostart").exists() {
        println!("skipped: Debian's lxc is not installed");
        return;
    }
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let lines = [
        &["", "lxc.start.auto = 1\n", "lxc.start.auto = 1\n", "lxc.start.auto = 0\n"][..],
        &["", "", "lxc.start.order = 2\n", "lxc.start.order = -7\n", "lxc.start.order = 11\n"],
        &["", "", "lxc.start.delay = 3\n", "lxc.start.delay = 0\n"],
        &["", "", "lxc.group = web\n", "lxc.group = onboot db\n", "lxc.group = db\n"],
        &["", "", "", "", "lxc.group = onboot\n", "lxc.group =\n"],
    ];
    let groups = ["onboot", "onboot,", "web,db", "db,web,", "nobody", "db", "onboot,web,"];
    let (mut compared, mut listed) = (0, 0);
    for round in 0..150 {
        let path = m.dir.join(format!("random{round}"));
        let mut good = false;
        for n in 0..1 + dice.roll(7) {
            // Names in another order than they are made in.
            let dir = path.join(format!("c{}{n}", dice.pick(&["b", "a", "c"])));
            fs::create_dir_all(&dir).unwrap();
            let text: String = lines.iter().map(|all| dice.pick(all)).collect();
            let broken = if dice.roll(12) == 0 { "lxc.nonsense = 1\n" } else { "" };
            good |= broken.is_empty();
            fs::write(dir.join("config"), format!("lxc.uts.name = x\n{text}{broken}")).unwrap();
        }
        let mut words = vec!["-P", path.to_str().unwrap(), "-L"];
        for option in ["-a", "-A", "-s", "-r", "-k"] {
            if dice.roll(4) == 0 {
                words.push(option);
            }
        }
        if dice.roll(2) == 0 {
            words.extend(["-g", dice.pick(&groups)]);
        }
        let asked = |program: &str, first: &[&str]| {
            let mut command = m.command(program);
            command.args(first).args(&words);
            crate::machine::run(command)
        };
        let theirs = asked("/usr/bin/lxc-autostart", &[]);
        let ours = asked(crate::machine::BINARY, &["lxc-autostart"]);
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}\n{}{}", ours.stderr, theirs.stderr);
        // Where it can read none LXC fails, as if there were no such directory.
        let want = if good { theirs.status } else { 0 };
        assert_eq!(ours.status, want, "{words:?}\n{}{}", ours.stderr, theirs.stderr);
        compared += 1;
        listed += ours.stdout.lines().count();
        fs::remove_dir_all(&path).unwrap();
    }
    assert!(compared == 150 && listed > 100, "{listed} lines in {compared} lists");
}
