//! A container's life on kernels that lack a group of system calls; see `missing.rs`. Every other
//! test runs so with `LXCBOX_TEST_ENOSYS=openat2,clone3,…`.

use crate::machine::{BINARY, Machine, libraries, missing, run};

/// Start, look, enter, freeze, stop; with everything that has a fallback in it.
fn lives(missing: &[&str]) {
    let m = Machine::without(missing);
    let lines = "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\n\
                 lxc.mount.entry = tmpfs made/deep tmpfs size=1m,mode=711,create=dir 0 0\n\
                 lxc.mount.entry = /etc mnt none rbind,ro 0 0\nlxc.tty.max = 2\n\
                 lxc.pty.max = 16\nlxc.cap.drop = sys_module\n";
    let c = m.container("life", &(lines.to_owned() + &libraries()));
    m.start(&c);
    assert_eq!(m.state(&c), "RUNNING");
    let seen = m.inside(
        &c,
        "hostname; stat -c %a /made/deep; touch /mnt/x 2>&1; ls /proc/self/fd | wc -l; \
         ls -d /dev/tty2 /dev/console /dev/ptmx /dev/null; echo 1 > /proc/sys/kernel/panic",
    );
    assert!(
        seen.stdout.starts_with("life\n711\ntouch: /mnt/x: Read-only file system\n4\n"),
        "{missing:?}: {seen:?}"
    );
    for node in ["/dev/tty2", "/dev/console", "/dev/ptmx", "/dev/null"] {
        assert!(seen.stdout.contains(&format!("{node}\n")), "{missing:?}: {seen:?}");
    }
    assert!(seen.stderr.contains("Read-only file system"), "{missing:?}: {seen:?}");
    assert_eq!(m.lxc("attach", &["-n", &c, "--", "/bin/sh", "-c", "exit 7"]).status, 7);
    m.lxc("freeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "FROZEN");
    m.lxc("unfreeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "STOPPED");
    assert_eq!(m.settle(), Vec::<String>::new(), "{missing:?}");
    // No procfs inside, and then a false one.
    let bare = m.container("bare", "lxc.net.0.type = empty\n");
    let proc = m.lxcpath().join(&bare).join("rootfs/proc");
    m.start(&bare);
    m.inside(&bare, "true").ok();
    m.lxc("stop", &["-n", &bare, "-k"]).ok();
    std::fs::create_dir_all(proc.join("self/fd")).unwrap();
    m.start(&bare);
    let mut command = m.command("sh");
    command.arg("-c").arg("exec 7</; exec \"$@\"").arg("sh").arg(BINARY);
    command.args(["lxc-attach", "-P"]).arg(m.lxcpath()).args(["-n", &bare, "--"]);
    command.args(["/bin/sh", "-c", "(echo <&7) 2>/dev/null || echo closed"]);
    assert_eq!(run(command).ok(), "closed\n", "{missing:?}");
    m.lxc("stop", &["-n", &bare, "-k"]).ok();
    assert_eq!(m.lxc("execute", &["-n", &c, "--", "/bin/sh", "-c", "exit 3"]).status, 3);
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
}

#[test]
fn life_without_openat2() {
    lives(&["openat2"]);
}

#[test]
fn life_without_clone3() {
    lives(&["clone3"]);
}

#[test]
fn life_without_pidfds() {
    lives(&["pidfd"]);
}

#[test]
fn life_without_close_range() {
    lives(&["close_range"]);
}

#[test]
fn life_without_the_new_mount_calls() {
    lives(&["mount-api"]);
    lives(&["mount_setattr"]);
}

#[test]
fn life_on_linux_4_9() {
    lives(&["4.9"]);
}

/// What a kernel has not got is an error of the plan, with the version that brought it.
#[test]
fn what_a_kernel_lacks_is_found_in_the_plan() {
    let m = Machine::without(&["4.9", "seccomp-notify", "overlay-userns"]);
    let text =
        |short: &str, lines: &str| m.container(short, &format!("lxc.net.0.type = empty\n{lines}"));
    let refused = |short: &str, lines: &str, wanted: &[&str]| {
        let c = text(short, lines);
        let said = m.lxc("start", &["-n", &c, "--dry-run"]).fails(1);
        for part in [&["planning the start: ", "config:"], wanted].concat() {
            assert!(said.contains(part), "{part} not in {said}");
        }
    };
    let ids = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
    let mapped = format!("{ids}lxc.rootfs.options = idmap=container\n");
    refused("ids", &mapped, &["cannot map the ids of", "Linux 5.12"]);
    refused("cap", "lxc.cap.drop = 63\n", &["unknown to this kernel", "Linux 5.8"]);
    let policy = m.lxcpath().join("notifies");
    std::fs::write(&policy, "2\ndenylist\nmkdir notify\n").unwrap();
    let policy = format!("lxc.seccomp.profile = {}\n", policy.display());
    let notify = format!("{policy}lxc.seccomp.notify.proxy = unix:/run/none\n");
    refused("notify", &notify, &["SECCOMP_GET_NOTIF_SIZES", "EINVAL", "Linux 5.0"]);
    let layers = m.lxcpath().join("layers");
    std::fs::create_dir_all(layers.join("below")).unwrap();
    let below = layers.join("below");
    let root = format!("lxc.rootfs.path = overlay:{0}:{0}\n", below.display());
    let wanted = ["in a user namespace", "EPERM", "Linux 5.11"];
    refused("top", &format!("{root}{ids}"), &wanted);
    let entry = |options: &str| {
        let below = below.display();
        format!("{ids}lxc.mount.entry = o mnt overlay lowerdir={below}{options} 0 0\n")
    };
    refused("entry", &entry(""), &wanted);
    for (short, lines) in
        [("host", entry("").replace(ids, "")), ("maybe", entry(",optional")), ("bare", ids.into())]
    {
        m.lxc("start", &["-n", &text(short, &lines), "--dry-run"]).ok();
    }
    // No system call of its own: this kernel itself has it, or has it not.
    match missing::has_core_scheduling() {
        true => println!("skipped: this kernel has core scheduling"),
        false => refused("core", "lxc.sched.core = 1\n", &["lxc.sched.core", "Linux 5.14"]),
    }
}
