//! Monitors that are stopped (SIGSTOP): whatever is asked of them ends, soon and with a word that
//! helps. Ours and Debian's.

use crate::machine::{Machine, Outcome, eventually};
use crate::protocol::{theirs, without_lxc};
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
    let waiting = waiting.stderr(std::process::Stdio::piped()).spawn().unwrap();
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
