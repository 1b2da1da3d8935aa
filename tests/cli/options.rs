//! The shared options and GNU's rules, seen from outside.

use crate::harness::Dir;

#[test]
fn a_name_is_needed_and_taken_from_where_it_stands() {
    let dir = Dir::new();
    dir.container("c1", "");
    dir.tool("lxc-info", &[]).ends(1).says("lxc-info: no container name specified");
    for args in
        [&["c1"][..], &["-n", "c1"], &["-nc1"], &["--name=c1"], &["--nam", "c1"], &["--", "c1"]]
    {
        let ran = dir.tool("lxc-info", args).ends(0).silent();
        assert_eq!(ran.stdout, "Name:           c1\nState:          STOPPED\n", "{args:?}");
    }
    dir.tool("lxc-info", &["c1", "-s", "-H"]).ends(0).prints("STOPPED\n");
}

#[test]
fn names_that_no_container_can_have_are_refused() {
    let dir = Dir::new();
    for name in ["a/b", "..", ".x", "a\nb", ""] {
        let ran = dir.tool("lxc-info", &["-n", name]).ends(1).prints("");
        assert!(ran.stderr.starts_with("lxc-info: the container name"), "{ran:?}");
    }
}

#[test]
fn what_a_tool_has_no_use_for_is_an_error() {
    let dir = Dir::new();
    dir.container("c1", "").container("c2", "");
    dir.tool("lxc-stop", &["c1", "c2"]).ends(1).says("unexpected argument \"c2\"");
}

#[test]
fn one_container_path_only() {
    let dir = Dir::new();
    dir.tool("lxc-ls", &["-P", "/other"]).ends(1).says("only accepts 1 -P,--lxcpath");
    dir.run(&["lxc-ls", "-P", ""]).ends(1).says("is empty");
}

#[test]
fn quiet_says_nothing_but_the_status() {
    let dir = Dir::new();
    dir.tool("lxc-info", &["-q", "nope"]).ends(1).silent().prints("");
    dir.tool("lxc-stop", &["-q", "nope"]).ends(2).silent().prints("");
}

#[test]
fn posixly_correct_ends_the_options_at_the_first_argument() {
    let dir = Dir::new();
    dir.container("c1", "");
    let lxcpath = dir.lxcpath();
    let args = ["lxc-info", "-P", lxcpath.to_str().unwrap(), "c1", "-s"];
    let ran = crate::harness::run(dir.command().args(args).env("POSIXLY_CORRECT", "1"));
    ran.ends(1).says("unexpected argument \"-s\"");
    dir.run(&args).ends(0).prints("State:          STOPPED\n");
}

#[test]
fn the_log_has_lxcs_format_and_the_level_that_was_asked_for() {
    let dir = Dir::new();
    let log = dir.path().join("log");
    let log_text = log.to_str().unwrap();
    dir.tool("lxc-info", &["-o", log_text, "-q", "nope"]).ends(1);
    let text = std::fs::read_to_string(&log).unwrap();
    let line = text.lines().next().unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(&fields[..2], ["lxc-info", "nope"], "{line}");
    let (date, millis) = fields[2].split_once('.').unwrap();
    assert!(date.len() == 14 && millis.len() == 3, "{line}");
    assert_eq!(fields[3], "ERROR", "{line}");
    assert!(line.ends_with("container doesn't exist"), "{line}");
    dir.tool("lxc-info", &["-l", "chatty", "nope"]).ends(1).says("unknown log priority");
    dir.tool("lxc-info", &["-o", "/nonexistent/log", "nope"]).ends(1).says("(ENOENT)");
}

#[test]
fn conflicting_options_of_lxc_stop() {
    let dir = Dir::new();
    for (args, text) in [
        (&["-t", "-2"][..], "invalid timeout"),
        (&["-t", "soon"], "not a number"),
        (&["--nolock"], "--nolock may only be used with -k"),
        (&["-k", "--nokill"], "-k can't be used with --nokill"),
        (&["-k", "-r"], "-k can't be used with -r"),
        (&["-k", "-t", "5"], "-k doesn't allow timeouts"),
    ] {
        let args = [&["c1"], args].concat();
        dir.tool("lxc-stop", &args).ends(1).says(text);
    }
    dir.tool("lxc-stop", &["-k", "-t", "0", "c1"]).ends(2).says("container is not running");
}

#[test]
fn lxc_wait_knows_its_states() {
    let dir = Dir::new();
    dir.tool("lxc-wait", &["c1"]).ends(1).says("missing state option");
    dir.tool("lxc-wait", &["c1", "-s", "SLEEPING"]).ends(1).says("invalid state \"SLEEPING\"");
    dir.tool("lxc-wait", &["c1", "-s", "STOPPED"]).ends(0).silent();
    dir.tool("lxc-wait", &["c1", "-s", "RUNNING|STOPPED"]).ends(0).silent();
    dir.tool("lxc-wait", &["c1", "-s", "RUNNING", "-t", "0"]).ends(1).silent();
}

#[test]
fn freezing_what_does_not_run() {
    let dir = Dir::new();
    dir.tool("lxc-freeze", &["c1"]).ends(1).says("is not running");
    dir.tool("lxc-unfreeze", &["c1"]).ends(1).says("is not running");
    dir.container("c1", "lxc.uts.name = c1\n");
    dir.tool("lxc-freeze", &["c1"]).ends(1).says("is not running");
    dir.tool("lxc-unfreeze", &["c1"]).ends(0).silent();
}

#[test]
fn lxc_config_speaks_on_standard_output() {
    let dir = Dir::new();
    let usage = "Usage: lxc-config -l: list all available configuration items\n       \
                 lxc-config item: print configuration item\n";
    dir.run(&["lxc-config"]).ends(0).silent().prints(usage);
    for help in ["-h", "--help"] {
        let text = dir.run(&["lxc-config", help]).ends(0).stdout;
        assert!(text.starts_with(usage) && text.contains("set|add|unset -n NAME"), "{text}");
    }
    dir.run(&["lxc-config", "-l"]).ends(0).silent().prints(
        "lxc.default_config\nlxc.lxcpath\nlxc.bdev.lvm.vg\nlxc.bdev.lvm.thin_pool\n\
         lxc.bdev.zfs.root\nlxc.cgroup.use\nlxc.cgroup.pattern\n",
    );
    dir.run(&["lxc-config", "lxc.foo"])
        .ends(1)
        .silent()
        .prints("Unknown configuration item: lxc.foo\n");
    dir.run(&["lxc-config", "lxc.bdev.zfs.root"]).ends(0).silent().prints("lxc\n");
}
