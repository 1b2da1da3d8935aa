//! lxc-checkpoint: what it refuses, what it asks of criu and says of its failures, and, where criu
//! works (in the emulated machine), a container that is dumped and restored.

use crate::machine::{BINARY, Machine, Outcome, eventually, run};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

const PLAIN: &str = "lxc.net.0.type = empty\nlxc.console.path = none\nlxc.tty.max = 0\n\
                     lxc.pty.max = 4\nlxc.mount.auto = proc:mixed\n";

/// lxc-checkpoint with `dir` first on the PATH.
fn checkpoint(m: &Machine, dir: &str, args: &[&str]) -> Outcome {
    let mut command = m.command("env");
    // A variable that is no text is nothing to stumble over.
    command.arg(OsStr::from_bytes(b"ODD=\xff"));
    command.arg(format!("PATH={dir}:/usr/sbin:/usr/bin:/sbin:/bin")).arg(BINARY);
    command.arg("lxc-checkpoint").arg("-P").arg(m.lxcpath()).args(args);
    run(command)
}

#[test]
fn lxc_checkpoint_refuses_what_makes_no_sense() {
    let m = Machine::new();
    let c = m.container("c", PLAIN);
    let says = |args: &[&str], wanted: &str| {
        let said = m.lxc("checkpoint", args).fails(1);
        assert!(said.contains(wanted), "{args:?}: {said}");
    };
    says(&["-n", &c], "-D is required");
    says(&["-n", &c, "-D", "/run/x"], "not running");
    says(&["-n", "nosuch", "-D", "/run/x"], "doesn't exist");
    says(&["-n", "nosuch", "-r", "-D", "/run/x"], "doesn't exist");
    for (wrong, wanted) in [
        (&["-r", "-s"][..], "-s is not compatible"),
        (&["-r", "-p"], "-p is not compatible"),
        (&["-r", "--predump-dir", "a"], "--predump-dir is not compatible"),
        (&["-d"], "-d and -F need -r"),
        (&["-F"], "-d and -F need -r"),
        (&["-p", "-s"], "-s is not compatible with -p"),
    ] {
        says(&[&["-n", &c, "-D", "/run/x"], wrong].concat(), wanted);
    }
    m.start(&c);
    says(&["-n", &c, "-r", "-D", "/run/x"], "running already");
    let said = checkpoint(&m, "/run", &["-n", &c, "-D", "/run/x"]);
    if !std::path::Path::new("/usr/sbin/criu").exists() {
        let said = said.fails(1);
        assert!(
            said.contains("criu is not installed") && said.contains("apt install criu"),
            "{said}"
        );
        m.sh("test -e /run/x").fails(1);
    }
    let c =
        m.container("vlan", "lxc.net.0.type = phys\nlxc.net.0.link = d0\nlxc.net.0.flags = up\n");
    m.sh("ip link add d0 type veth peer name d1").ok();
    m.start(&c);
    says(&["-n", &c, "-D", "/run/x"], "lxc.net.0 is of type phys");
}

/// A program in the place of criu writes down its words, and fails as criu does.
#[test]
fn what_criu_is_told_and_says() {
    let m = Machine::new();
    let data = m.dir.join("data").display().to_string();
    let lines = format!("{PLAIN}lxc.mount.entry = {data} mnt none bind,create=dir 0 0\n");
    fs::create_dir(&data).unwrap();
    let c = m.container("c", &lines);
    let bin = m.dir.join("bin").display().to_string();
    let words = m.dir.join("words").display().to_string();
    m.sh(&format!(
        "mkdir {bin}; cat >{bin}/criu <<'END'\n#!/bin/sh\n\
         [ $1 != --version ] || {{ echo Version: 3.17; exit 0; }}\n\
         echo \"$*\" >{words}\n\
         while [ $# -gt 0 ]; do case $1 in -o) log=$2 ;; esac; shift; done\n\
         echo '(00.01)     12: Error (criu/files.c:7): No such thing' >$log\n\
         echo '(00.02) Error (criu/cr-dump.c:9): Dumping FAILED.' >>$log\nexit 3\nEND\n\
         chmod +x {bin}/criu"
    ))
    .ok();
    let told = || fs::read_to_string(&words).unwrap();
    let says = |args: &[&str]| {
        let said = checkpoint(&m, &bin, &[&["-n", &c, "-D", "/run/i"], args].concat()).fails(1);
        assert!(
            said.contains("exited with status 3: Error (criu/files.c:7): No such thing"),
            "{said}"
        );
        assert!(said.contains("hint: ") && said.contains(".log"), "{said}");
    };
    m.start(&c);
    let init = m.init_pid(&c);
    says(&[]);
    let dump = told();
    for wanted in [
        "dump --tcp-established --file-locks --link-remap --manage-cgroups=full",
        "-D /run/i -o /run/i/dump.log",
        "--ext-mount-map /mnt:mnt",
        &format!("-t {init} "),
        &format!("lxc.payload.{c}"),
        "--freeze-cgroup /sys/fs/cgroup/",
        "--skip-in-flight --leave-running",
    ] {
        assert!(dump.contains(wanted), "{wanted}: {dump}");
    }
    says(&["-s", "-v", "-A", "/run/script", "--predump-dir", "../before"]);
    let dump = told();
    assert!(!dump.contains("--leave-running"), "{dump}");
    for wanted in
        ["-vvvvvv", "--action-script /run/script", "--prev-images-dir ../before --track-mem"]
    {
        assert!(dump.contains(wanted), "{wanted}: {dump}");
    }
    says(&["-p"]);
    assert!(told().contains("pre-dump ") && told().contains("-o /run/i/pre-dump.log"));
    assert_eq!(m.state(&c), "RUNNING");
    m.sh("touch /run/i/inventory.img").ok();
    let said = checkpoint(&m, &bin, &["-n", &c, "-D", "/run/i"]).fails(1);
    assert!(said.contains("holds a dump already"), "{said}");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    // A restore that fails leaves nothing; the machine looks for it at the end.
    for foreground in ["-d", "-F"] {
        says(&["-r", foreground]);
        assert_eq!(m.state(&c), "STOPPED");
    }
    let restore = told();
    for wanted in [
        "restore --tcp-established",
        &format!("--ext-mount-map mnt:{data}"),
        "--restore-detached --restore-sibling",
        &format!("lxc.payload.{c}"),
    ] {
        assert!(restore.contains(wanted), "{wanted}: {restore}");
    }
}

/// Whether criu can be used on this kernel.
fn without_criu(m: &Machine) -> bool {
    let criu = m.sh("criu --version && criu check");
    if criu.status != 0 {
        assert!(std::env::var_os("LXCBOX_TEST_VM").is_none(), "{criu:?}");
        println!("skipped: criu is missing or does not work here; `make vm` has one that does");
    }
    criu.status != 0
}

#[test]
fn a_container_is_dumped_and_restored() {
    let m = Machine::new();
    if without_criu(&m) {
        return;
    }
    m.sh("ip link add br0 type bridge && ip link set br0 up && ip addr add 10.7.0.1/24 dev br0")
        .ok();
    let net = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n\
               lxc.net.0.name = eth0\nlxc.net.0.ipv4.address = 10.7.0.2/24\n";
    let c = m.container("c", &PLAIN.replace("lxc.net.0.type = empty\n", net));
    let root = m.lxcpath().join(&c).join("rootfs");
    let count = "null::sysinit:/bin/true\nnull::respawn:/bin/sh -c 'n=0; while :; do n=$((n+1)); \
                 echo $n >/tmp/count; sleep 0.1; done'\n";
    fs::write(root.join("etc/inittab"), count).unwrap();
    m.start(&c);
    let counted = || fs::read_to_string(root.join("tmp/count")).ok()?.trim().parse::<u32>().ok();
    eventually(20, "the container to count", || counted().filter(|n| *n > 5));
    let images = m.dir.join("images").display().to_string();
    // It goes on after a dump.
    // criu's log, if it fails, is all there is to go by.
    let checkpoint = |dir: &str, log: &str, args: &[&str]| {
        let done = m.lxc("checkpoint", &[&["-n", &c, "-D", dir, "-v"], args].concat());
        if done.status != 0 {
            println!("{}", m.sh(&format!("grep -E 'Error|Warn' {dir}/{log}.log")).stdout);
        }
        done.ok();
    };
    checkpoint(&format!("{images}.1"), "dump", &[]);
    assert_eq!(m.state(&c), "RUNNING");
    let at = counted().unwrap();
    eventually(20, "the container to go on", || counted().filter(|n| *n > at + 2));
    checkpoint(&images, "dump", &["-s"]);
    assert_eq!(m.state(&c), "STOPPED");
    let at = counted().unwrap();
    assert!(at > 5);
    checkpoint(&images, "restore", &["-r"]);
    assert_eq!(m.state(&c), "RUNNING");
    // The same processes: they count on from where they were.
    eventually(20, "the container to count on", || counted().filter(|n| *n > at + 2));
    assert!(m.monitor_pid(&c).is_some());
    assert_eq!(m.inside(&c, "cat /proc/1/comm").ok(), "init\n");
    m.sh("ping -c 1 -W 5 10.7.0.2").ok();
    m.lxc("freeze", &["-n", &c]).ok();
    m.lxc("unfreeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.state(&c), "STOPPED");
}
