//! lxc-checkconfig on configurations of other kernels: no kernel is asked.

use crate::harness::{BINARY, Dir};
use std::path::Path;
use std::process::{Command, Output};

fn check(config: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("lxc-checkconfig").args(args).env_clear().env("CONFIG", config).output().unwrap()
}

fn board(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/boards/{name}.config"))
}

#[test]
fn another_kernels_configuration_is_enough() {
    let done = check(&board("raspberry-pi-6.1"), &[]);
    assert_eq!(done.status.code(), Some(0));
    let text = String::from_utf8(done.stdout).unwrap();
    for line in [
        "User namespace: enabled",
        "Cgroup memory controller: enabled",
        "Veth pair device: enabled, module",
        "checkpoint restore: missing, CONFIG_CHECKPOINT_RESTORE is not set",
        "everything that is required works",
        "usage : CONFIG=/path/to/config lxc-checkconfig",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    // Nothing is said about the machine that we are on.
    for word in ["mount points", "System calls", "Files and programs", "Room"] {
        assert!(!text.contains(word), "{word}\n{text}");
    }
}

#[test]
fn the_exit_status_is_the_answer() {
    let status = |board: &std::path::Path, args: &[&str]| check(board, args).status.code();
    assert_eq!(status(&board("rockchip-4.4"), &[]), Some(0));
    assert_eq!(status(&board("rockchip-4.4"), &["--for", "unprivileged"]), Some(1));
    assert_eq!(status(&board("android-4.14"), &["--format", "json"]), Some(1));
    assert_eq!(status(&board("openwrt-5.15"), &["--for", "docker-inside"]), Some(0));
    assert_eq!(status(Path::new("/nonexistent/config"), &[]), Some(2));
    let dir = Dir::new();
    assert_eq!(status(&dir.file("text", "no configuration\n"), &[]), Some(2));
    // Nor is one what a kernel's build has made of it.
    assert_eq!(status(&dir.file("autoconf.h", "#define CONFIG_VETH 1\n"), &[]), Some(2));
    // An answer that nobody gets to read is none.
    let mut command = Command::new(BINARY);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    command.arg("lxc-checkconfig").env("CONFIG", board("rockchip-4.4")).stdout(full);
    assert_eq!(command.output().unwrap().status.code(), Some(2));
    assert_eq!(status(&board("openwrt-5.15"), &["--for", "fun"]), Some(1));
}

/// No symbol tells whether a kernel has cgroup namespaces, and this one has none.
#[test]
fn what_no_symbol_tells_is_not_said() {
    let text = String::from_utf8(check(&board("rockchip-4.4"), &[]).stdout).unwrap();
    assert!(text.contains("Cgroups: enabled") && !text.contains("Cgroup namespace"), "{text}");
}

#[test]
fn what_to_build_is_listed() {
    let done = check(&board("android-4.14"), &["--fix"]);
    let text = String::from_utf8(done.stdout).unwrap();
    for symbol in ["PID_NS", "IPC_NS", "UTS_NS", "VETH"] {
        assert!(text.lines().any(|l| l == format!("#   CONFIG_{symbol}=y")), "{symbol}\n{text}");
    }
}
