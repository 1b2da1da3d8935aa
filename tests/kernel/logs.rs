//! lxc-logs on real containers: console file, console buffer, the container's log.

use crate::machine::{Machine, eventually};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

const QUIET: &str = "lxc.net.0.type = empty\n";

/// Has init print lines on the console.
fn say(m: &Machine, c: &str, text: &str) {
    m.inside(c, &format!("printf '{text}' > /dev/console")).ok();
}

/// An lxc-logs that follows, from the last line on.
struct Follower {
    child: Child,
    text: BufReader<ChildStdout>,
}

impl Follower {
    fn new(m: &Machine, c: &str, words: &[&str]) -> Self {
        let all = [&["-n", c, "-f", "--lines", "1"], words].concat();
        let mut child = m.lxc_command("logs", &all).stdout(Stdio::piped()).spawn().unwrap();
        let text = BufReader::new(child.stdout.take().unwrap());
        Self { child, text }
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.text.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Passes lines over.
    #[track_caller]
    fn until(&mut self, wanted: &str) {
        loop {
            let mut line = String::new();
            assert_ne!(self.text.read_line(&mut line).unwrap(), 0, "it ends before {wanted}");
            if line.trim_end() == wanted {
                return;
            }
        }
    }

    fn ends_well(mut self) {
        assert_eq!(self.line(), "", "nothing comes after the end");
        assert!(self.child.wait().unwrap().success());
    }

    /// How often it has slept and been woken.
    fn wakings(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_buffer_is_read_and_stays() {
    let m = Machine::new();
    let c = m.container("ring", &format!("{QUIET}lxc.console.buffer.size = auto\n"));
    let logs = |words: &[&str]| m.lxc("logs", &[&["-n", &c], words].concat());
    assert!(logs(&[]).fails(1).contains("not recorded"));
    m.start(&c);
    say(&m, &c, "one\\ntwo\\nthree\\n");
    let all =
        eventually(10, "the console", || Some(logs(&[]).ok()).filter(|t| t.contains("three")));
    assert!(all.contains("one"), "{all}");
    assert_eq!(logs(&["--console"]).ok(), all, "reading takes nothing away");
    let lines = logs(&["--lines", "2"]).ok().replace('\r', "");
    assert_eq!(lines, "two\nthree\n");
    let mut follower = Follower::new(&m, &c, &[]);
    assert_eq!(follower.line(), "three");
    say(&m, &c, "four\\n");
    assert_eq!(follower.line(), "four");
    logs(&["--clear"]).ok();
    assert_eq!(logs(&[]).ok(), "");
    say(&m, &c, "five\\n");
    assert_eq!(follower.line(), "five");
    // The buffer is a new one after a reboot, and who follows stays.
    m.reboot_inside(&c, "reboot");
    say(&m, &c, "six\\n");
    follower.until("six");
    // Who does not read is let go, and goes on with what the buffer has then: all of a reader's
    // pipe, of the socket and more than the buffer holds.
    say(&m, &c, "seven\\n");
    m.inside(&c, "yes 0123456789012345678901234567890123456789 | head -n 20000 > /dev/console")
        .ok();
    say(&m, &c, "eight\\n");
    follower.until("eight");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    // The end of the monitor is the end.
    follower.ends_well();
    for wrong in [&["--lines", "x"][..], &["extra"], &["--clear"]] {
        logs(wrong).fails(1);
    }
}

#[test]
fn files_are_followed_through_their_rotation() {
    let m = Machine::new();
    let file = m.dir.join("console");
    let config = format!("{QUIET}lxc.console.logfile = {}\n", file.display());
    let c = m.container("file", &format!("{config}lxc.log.file = {}/own.log\n", m.dir.display()));
    let logs = |words: &[&str]| m.lxc("logs", &[&["-n", &c], words].concat());
    m.start(&c);
    say(&m, &c, "one\\ntwo\\n");
    eventually(10, "the file", || fs::read_to_string(&file).unwrap().contains("two").then_some(()));
    assert!(logs(&["--console"]).ok().contains("one"));
    fs::write(m.dir.join("own.log"), "logged\n").unwrap();
    let both = logs(&[]).ok();
    assert!(
        both.starts_with("==> console <==\n") && both.contains("==> log <==\nlogged\n"),
        "{both}"
    );
    assert_eq!(logs(&["--log", "--lines", "1"]).ok(), "logged\n");
    let mut follower = Follower::new(&m, &c, &[]);
    assert_eq!(follower.line(), "two");
    say(&m, &c, "three\\n");
    assert_eq!(follower.line(), "three");
    // To another directory, so that writing to the old one is no change of the new one's.
    let other = m.dir.join("other");
    fs::create_dir(&other).unwrap();
    fs::rename(&file, other.join("console.1")).unwrap();
    say(&m, &c, "late\\n");
    assert_eq!(follower.line(), "late");
    fs::rename(other.join("console.1"), m.dir.join("console.1")).unwrap();
    fs::write(&file, "after\n").unwrap();
    assert_eq!(follower.line(), "after");
    fs::write(&file, "").unwrap();
    append(&file, "cut\n");
    assert_eq!(follower.line(), "cut");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "after\n").unwrap();
    assert_eq!(follower.line(), "after");
    let all = logs(&["--console"]).ok().replace('\r', "");
    assert!(all.contains("one\ntwo\nthree\nlate\nafter\n"), "{all}");
    assert!(logs(&["--clear"]).fails(1).contains("console_log"));
    // Stopped, it is the files that are left; a pipe in their place holds nobody up.
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(logs(&["--console"]).ok().contains("after"));
    // It is followed into the next start, and nobody wakes who follows in between.
    let before = follower.wakings();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(follower.wakings(), before, "it sleeps until something comes");
    m.start(&c);
    say(&m, &c, "again\\n");
    follower.until("again");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    m.sh(&format!("rm {0} && mkfifo {0}", file.display())).ok();
    assert!(logs(&["--console"]).fails(1).contains("not a file"));
    let plain = m.container("plain", QUIET);
    for words in [&[][..], &["--console"], &["--log"]] {
        let said = m.lxc("logs", &[&["-n", &plain], words].concat()).fails(1);
        assert!(said.contains("lxc-config set"), "{said}");
    }
    m.lxc("logs", &["-n", "missing"]).fails(1);
}

fn append(file: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// Where inotify cannot be had, where the name is a link, and when the directory goes.
#[test]
fn files_are_followed_in_other_places() {
    let m = Machine::new();
    let (dir, real) = (m.dir.join("logs"), m.dir.join("real"));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&real).unwrap();
    fs::write(real.join("log"), "one\n").unwrap();
    std::os::unix::fs::symlink(real.join("log"), dir.join("log")).unwrap();
    let c = m.container("link", &format!("{QUIET}lxc.log.file = {}/log\n", dir.display()));
    let mut follower = Follower::new(&m, &c, &["--log"]);
    assert_eq!(follower.line(), "one");
    append(&real.join("log"), "two\n");
    assert_eq!(follower.line(), "two");
    fs::rename(real.join("log"), real.join("old")).unwrap();
    fs::write(real.join("log"), "three\n").unwrap();
    assert_eq!(follower.line(), "three");
    fs::remove_dir_all(&dir).unwrap();
    follower.ends_well();

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("log"), "one\n").unwrap();
    let limit = "/proc/sys/user/max_inotify_instances";
    let script = format!(
        "unshare -U -r sh -c 'echo 0 > {limit} && exec {} lxc-logs -P {} -n {c} -f'",
        crate::machine::BINARY,
        m.lxcpath().display()
    );
    let mut command = m.command("sh");
    command.args(["-c", &script]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = BufReader::new(child.stdout.take().unwrap());
    let mut follower = Follower { child, text };
    assert_eq!(follower.line(), "one");
    append(&dir.join("log"), "two\n");
    assert_eq!(follower.line(), "two");
    fs::remove_dir_all(&dir).unwrap();
    follower.ends_well();
}
