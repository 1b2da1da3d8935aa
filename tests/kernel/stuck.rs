//! Monitors that are stopped (SIGSTOP): whatever is asked of them ends, soon and with a word that
//! helps. Ours and Debian's.

use crate::machine::{Machine, Outcome, eventually};
use crate::protocol::{theirs, without_lxc};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Far more than the second that it takes, for a machine with much to do, and far less than for
/// ever.
const ENDS: Duration = Duration::from_secs(20);

struct Stuck<'a> {
    m: &'a Machine,
    name: String,
    monitor: u32,
}

impl<'a> Stuck<'a> {
    fn new(m: &'a Machine, name: &str) -> Self {
        let monitor = eventually(10, "the monitor", || m.monitor_pid(name));
        m.sh(&format!("kill -STOP {monitor}")).ok();
        Self { m, name: name.to_owned(), monitor }
    }

    /// The tool fails in time, names the process and how to let it go on.
    #[track_caller]
    fn fails(&self, tool: &str, args: &[&str], status: i32) -> String {
        let began = Instant::now();
        let said = self.m.lxc(tool, args);
        assert!(began.elapsed() < ENDS, "lxc-{tool} took {:?}", began.elapsed());
        let Outcome { stdout, stderr, .. } = &said;
        assert!(!format!("{stdout}{stderr}").contains("UNKNOWN"), "{stdout}{stderr}");
        let word = format!("(process {}) is stopped and did not answer", self.monitor);
        assert!(stderr.contains(&word), "lxc-{tool} {args:?}: {stdout}{stderr}");
        assert_eq!(said.status, status, "lxc-{tool} {args:?}: {stdout}{stderr}");
        said.stdout + &said.stderr
    }

    /// The same, with the hint of an error.
    #[track_caller]
    fn hints(&self, tool: &str, args: &[&str]) {
        let said = self.fails(tool, args, 1);
        assert!(said.contains(&format!("hint: kill -CONT {}", self.monitor)), "{tool}: {said}");
    }

    fn go_on(&self) {
        self.m.sh(&format!("kill -CONT {}", self.monitor)).ok();
        assert_eq!(self.m.state(&self.name), "RUNNING");
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.m.sh(&format!("kill -CONT {}", self.monitor));
    }
}

fn nobody_hangs(m: &Machine, c: &str) {
    let other = m.container("other", "lxc.net.0.type = empty\n");
    m.start(&other);
    let stuck = Stuck::new(m, c);
    for args in [&["-n", c][..], &["-n", c, "-sH"], &["-n", c, "-i"], &["-n", c, "-S"]] {
        stuck.hints("info", args);
    }
    stuck.hints("wait", &["-n", c, "-s", "STOPPED"]);
    stuck.hints("wait", &["-n", c, "-s", "RUNNING|FROZEN", "-t", "30"]);
    stuck.hints("stop", &["-n", c]);
    stuck.hints("stop", &["-n", c, "-k"]);
    stuck.hints("stop", &["-n", c, "-r"]);
    stuck.hints("attach", &["-n", c, "--", "true"]);
    stuck.hints("console", &["-n", c, "-t", "0"]);
    stuck.hints("freeze", &["-n", c]);
    stuck.hints("unfreeze", &["-n", c]);
    stuck.hints("start", &["-n", c]);
    stuck.hints("destroy", &["-n", c, "-f"]);
    for how in ["-k", "-s", "-r"] {
        stuck.fails("autostart", &["-a", how, "-t", "5"], 1);
    }
    stuck.hints("cgroup", &["-n", c, "pids.max"]);
    stuck.hints("device", &["-n", c, "add", "/dev/null"]);
    stuck.hints("copy", &["-n", c, "-N", "copy"]);
    stuck.hints("snapshot", &["-n", c]);
    stuck.hints("push", &["-n", c, "/etc/hostname", "/tmp"]);
    stuck.hints("pull", &["-n", c, "/etc/hostname", "/tmp"]);
    stuck.hints("checkpoint", &["-n", c, "-s", "-D", "/nowhere"]);
    stuck.hints("config", &["get", "--live", "-n", c, "lxc.uts.name"]);
    stuck.hints("config", &["set", "--live", "-n", c, "lxc.uts.name", "x"]);
    stuck.hints("logs", &["-n", c]);
    let figures = stuck.fails("top", &["-b", "--once"], 1);
    assert!(figures.contains(&format!(",{c},,")) && figures.contains(&format!(",{other},")));
    // What is in files can be read.
    m.sh(&format!("echo line > {}/{c}/{c}.log", m.lxcpath().display())).ok();
    assert!(stuck.fails("logs", &["-n", c], 0).starts_with("line\n"));
    // It is somewhere in every list, and the other one is told of as ever.
    let all = stuck.fails("ls", &["-f"], 1);
    let has = |text: &str, name: &str, state: &str| {
        let row = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert_eq!(row.and_then(|row| row.split_whitespace().nth(1)), Some(state), "{text}");
    };
    has(&all, c, "STUCK");
    has(&all, &other, "RUNNING");
    let running = stuck.fails("ls", &["-f", "--running", "-F", "NAME,STATE,PID"], 1);
    has(&running, c, "STUCK");
    let json = stuck.fails("ls", &["--format", "json"], 1);
    assert!(json.contains("\"state\": \"STUCK\""), "{json}");
    // Certainly not stopped, and its name can be had without it.
    let stopped = m.lxc("ls", &["--stopped", "-1"]);
    assert!(!stopped.stdout.contains(c), "{}", stopped.stdout);
    assert!(m.lxc("ls", &["-1"]).ok().contains(c));
    stuck.go_on();
    // One that stops while it is waited for.
    let mut waiting = m.lxc_command("wait", &["-n", c, "-s", "STOPPED"]);
    let waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    let watched = format!("@{}/{c}/command", m.lxcpath().display());
    eventually(10, "the watch", || {
        let sockets = m.sh("cat /proc/net/unix").ok();
        sockets.lines().any(|l| l.ends_with(&watched) && l.contains(" 03 ")).then_some(())
    });
    let stuck = Stuck::new(m, c);
    let began = Instant::now();
    let out = waiting.wait_with_output().unwrap();
    assert!(began.elapsed() < ENDS);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("is stopped and did not answer"));
    stuck.go_on();
    m.lxc("stop", &["-n", c, "-k"]).ok();
}

const AUTO: &str = "lxc.net.0.type = empty\nlxc.start.auto = 1\nlxc.pty.max = 8\n";

#[test]
fn a_monitor_of_ours_that_is_stopped_hangs_nobody() {
    let m = Machine::new();
    let c = m.container("stuck", AUTO);
    m.start(&c);
    nobody_hangs(&m, &c);
}

#[test]
fn a_monitor_of_debians_that_is_stopped_hangs_nobody() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("stuck", AUTO);
    theirs(&m, "start", &["-n", &c]).ok();
    nobody_hangs(&m, &c);
}

/// Long paths have sockets of another kind, whose monitors are asked who they are. A list takes a
/// second for all of them, and none is called stopped.
#[test]
fn many_are_stopped_under_long_names() {
    let m = Machine::new();
    let long = "n".repeat(90);
    let define = |n| {
        let c = m.container(&format!("{n}{long}"), "lxc.net.0.type = empty\n");
        let config = std::fs::read_to_string(m.config(&c)).unwrap();
        std::fs::write(m.config(&c), config.replace("lxc.uts.name", "#")).unwrap();
        c
    };
    let all: Vec<String> = (0..5).map(define).collect();
    all.iter().for_each(|c| m.start(c));
    let stuck: Vec<Stuck> = all.iter().map(|c| Stuck::new(&m, c)).collect();
    let table = stuck[0].fails("ls", &["-f"], 1);
    assert_eq!(table.matches("STUCK").count(), all.len(), "{table}");
    drop(stuck);
    assert_eq!(m.lxc("ls", &["-f"]).ok().matches("RUNNING").count(), all.len());
}

/// A monitor that waits for a hook answers late. That is no reason to give up waiting for it.
#[test]
fn a_slow_hook_is_waited_for() {
    let m = Machine::new();
    let c = m.container("slow", "lxc.net.0.type = empty\nlxc.hook.pre-start = sh -c 'sleep 4'\n");
    let mut starting = m.lxc_command("start", &["-n", &c]).spawn().unwrap();
    eventually(10, "the monitor", || m.monitor_pid(&c));
    m.lxc("wait", &["-n", &c, "-s", "RUNNING", "-t", "60"]).ok();
    starting.wait().unwrap();
    assert_eq!(m.state(&c), "RUNNING");
}

/// Hooks that wait at fifos, one each for the way in and out.
struct Gates<'a>(&'a Machine);

impl Gates<'_> {
    fn hook(&self, kind: &str) -> String {
        let dir = self.0.dir.display();
        self.0.sh(&format!("mkfifo {dir}/{kind}.in {dir}/{kind}.out")).ok();
        format!(
            "lxc.hook.{kind} = sh -c 'echo >{dir}/{kind}.in; read x <{dir}/{kind}.out; exit 0'\n"
        )
    }

    fn reached(&self, kind: &str) {
        self.0.sh(&format!("timeout 60 cat {}/{kind}.in", self.0.dir.display())).ok();
    }

    fn open(&self, kind: &str) {
        self.0.sh(&format!("echo >{}/{kind}.out", self.0.dir.display())).ok();
    }
}

/// The state is told while hooks run in the monitor and in the container, at the start, at a reboot
/// and at the end. What only a container that runs can answer is answered when it does.
#[test]
fn the_state_is_told_while_hooks_run() {
    let m = Machine::new();
    let gates = Gates(&m);
    let starts = ["pre-start", "pre-mount", "mount", "start-host"];
    let hooks: String = starts.iter().chain(&["stop"]).map(|kind| gates.hook(kind)).collect();
    let c = m.container("gates", &format!("lxc.net.0.type = empty\n{hooks}"));
    let told = |state: &str| {
        assert_eq!(m.state(&c), state);
        let list = m.lxc("ls", &["-f", "-F", "NAME,STATE"]);
        let row = [c.as_str(), state];
        let found = list.stdout.lines().any(|line| line.split_whitespace().eq(row));
        assert!(found && list.stderr.is_empty(), "{}{}", list.stdout, list.stderr);
    };
    let spawn = |tool: &str, args: &[&str]| {
        let mut command = m.lxc_command(tool, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let ends = |child: std::process::Child, status: i32| {
        let out = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(out.status.code(), Some(status), "{}", text(&out.stderr));
        text(&out.stdout) + &text(&out.stderr)
    };
    let starting = spawn("start", &["-n", &c]);
    gates.reached(starts[0]);
    told("STARTING");
    // Neither for ever, nor without a word.
    let no = [spawn("attach", &["-n", &c, "--", "true"]), spawn("stop", &["-n", &c, "-k"])];
    for child in no {
        let said = ends(child, 1);
        assert!(said.contains(&format!("\"{c}\" is STARTING")), "{said}");
        assert!(said.contains(&format!("hint: lxc-wait -n {c} -s RUNNING")), "{said}");
    }
    let waiting = spawn("wait", &["-n", &c, "-s", "RUNNING"]);
    gates.open(starts[0]);
    for kind in &starts[1..3] {
        gates.reached(kind);
        told("STARTING");
        gates.open(kind);
    }
    gates.reached(starts[3]);
    told("STARTING");
    let attaching = spawn("attach", &["-n", &c, "--", "hostname"]);
    gates.open(starts[3]);
    assert_eq!(ends(starting, 0), "");
    assert_eq!(ends(attaching, 0), "gates\n");
    ends(waiting, 0);
    told("RUNNING");
    let rebooting = spawn("stop", &["-n", &c, "-r"]);
    gates.reached("stop");
    told("STOPPING");
    m.lxc("attach", &["-n", &c, "--", "true"]).fails(1);
    gates.open("stop");
    for kind in starts {
        gates.reached(kind);
        told("STARTING");
        gates.open(kind);
    }
    ends(rebooting, 0);
    told("RUNNING");
    // Who comes while it ends waits for the end, however it is to be stopped.
    let stopping = spawn("stop", &["-n", &c, "-k"]);
    gates.reached("stop");
    told("STOPPING");
    let more = [&["-k"][..], &[], &["-t", "60"]];
    let more = more.map(|how| spawn("stop", &[&["-n", &c], how].concat()));
    gates.open("stop");
    ends(stopping, 0);
    for child in more {
        let out = child.wait_with_output().unwrap();
        // Or it came when all was over.
        assert!(
            matches!(out.status.code(), Some(0 | 2)),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(m.state(&c), "STOPPED");
    }
    told("STOPPED");
}
