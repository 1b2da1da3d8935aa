//! lxc-logs on real containers: console file, console buffer, the container's log.

use crate::machine::{Machine, eventually};
use std::fs;
use std::process::Stdio;

const QUIET: &str = "lxc.net.0.type = empty\n";

/// Has init print lines on the console.
fn say(m: &Machine, c: &str, text: &str) {
    m.inside(c, &format!("printf '{text}' > /dev/console")).ok();
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
    let mut command = m.lxc_command("logs", &["-n", &c, "-f", "--lines", "1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut text = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut text, &mut line).unwrap();
        line.trim_end().to_owned()
    };
    assert_eq!(line(), "three");
    say(&m, &c, "four\\n");
    assert_eq!(line(), "four");
    logs(&["--clear"]).ok();
    assert_eq!(logs(&[]).ok(), "");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(line(), "", "the end of the monitor is the end");
    assert!(child.wait().unwrap().success());
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
    let mut command = m.lxc_command("logs", &["-n", &c, "-f", "--lines", "1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut text = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut text, &mut line).unwrap();
        line.trim_end().to_owned()
    };
    assert_eq!(line(), "two");
    say(&m, &c, "three\\n");
    assert_eq!(line(), "three");
    fs::rename(&file, m.dir.join("console.1")).unwrap();
    fs::write(&file, "after\n").unwrap();
    assert_eq!(line(), "after");
    let _ = child.kill();
    let _ = child.wait();
    let all = logs(&["--console"]).ok().replace('\r', "");
    assert!(all.contains("one\ntwo\nthree\nafter\n"), "{all}");
    assert!(logs(&["--clear"]).fails(1).contains("console_log"));
    // Stopped, it is the files that are left; a pipe in their place holds nobody up.
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(logs(&["--console"]).ok().contains("after"));
    m.sh(&format!("rm {0} && mkfifo {0}", file.display())).ok();
    assert!(logs(&["--console"]).fails(1).contains("not a file"));
    let plain = m.container("plain", QUIET);
    for words in [&[][..], &["--console"], &["--log"]] {
        let said = m.lxc("logs", &[&["-n", &plain], words].concat()).fails(1);
        assert!(said.contains("lxc-config set"), "{said}");
    }
    m.lxc("logs", &["-n", "missing"]).fails(1);
}
