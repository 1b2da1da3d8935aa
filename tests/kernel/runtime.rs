//! Keys that act at run time, each looked at from inside: namespaces, id maps, mounts, devices,
//! terminals, environment, init's identity, signals, reboot, ephemeral containers, lxc-execute.
//! Confinement (seccomp, capabilities, limits, settings) and the hooks are in `confinement.rs`.

use crate::machine::{Machine, eventually, libraries, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const EMPTY: &str = "lxc.net.0.type = empty\n";
const PROC: &str = "lxc.mount.auto = proc:mixed\n";

fn root(m: &Machine, name: &str) -> PathBuf {
    m.lxcpath().join(name).join("rootfs")
}

/// Runs a container whose init is a shell script; gives back what it printed.
#[track_caller]
fn sees(m: &Machine, name: &str, script: &str) -> String {
    let root = root(m, name);
    fs::write(root.join("probe"), format!("exec > /seen 2>&1\n{script}\n")).unwrap();
    m.lxc("start", &["-n", name, "-F", "-s", "lxc.init.cmd=/bin/sh /probe"]).ok();
    fs::read_to_string(root.join("seen")).unwrap_or_default()
}

/// A container with these lines, run once with a script as init.
#[track_caller]
fn once(m: &Machine, short: &str, lines: &str, script: &str) -> String {
    let c = m.container(short, lines);
    sees(m, &c, script)
}

const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// The namespaces' names, in the order of [`KINDS`].
const NAMES: &str = "for n in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done";

/// Which of [`KINDS`] are the same on both sides.
fn same(m: &Machine, inside: &str) -> Vec<&'static str> {
    let outside = m.sh(NAMES).ok();
    assert_eq!(inside.lines().count(), KINDS.len(), "{inside}");
    let pairs = inside.lines().zip(outside.lines()).zip(KINDS);
    pairs.filter(|((a, b), _)| a == b).map(|(_, kind)| kind).collect()
}

#[test]
fn namespaces_are_made_or_kept_as_asked() {
    let m = Machine::new();
    let usual = once(&m, "usual", &format!("{EMPTY}{PROC}"), NAMES);
    assert_eq!(same(&m, &usual), ["user"]);
    let kept = once(&m, "kept", &format!("{PROC}lxc.namespace.keep = net ipc user\n"), NAMES);
    assert_eq!(same(&m, &kept), ["ipc", "net", "user"]);
    let made = once(&m, "made", &format!("{PROC}lxc.namespace.clone = mnt pid uts\n"), NAMES);
    assert_eq!(same(&m, &made), ["cgroup", "ipc", "net", "user"]);
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let m = Machine::new();
    let a = m.container("lender", &format!("{EMPTY}{PROC}"));
    m.start(&a);
    let init = m.init_pid(&a);
    m.sh(&format!("nsenter -t {init} -n ip link add shared0 type bridge")).ok();
    for (short, from) in [
        ("byname", a.clone()),
        ("bypid", init.to_string()),
        ("bypath", format!("/proc/{init}/ns/net")),
    ] {
        let c = m.container(short, &format!("{PROC}lxc.namespace.share.net = {from}\n"));
        let seen = sees(&m, &c, "ip link show shared0; readlink /proc/self/ns/net");
        let link = fs::read_link(format!("/proc/{init}/ns/net")).unwrap();
        assert!(
            seen.contains("shared0") && seen.ends_with(&format!("{}\n", link.display())),
            "{seen}"
        );
    }
    // An ipc namespace beside an own network.
    let c = m.container("ipc", &format!("{EMPTY}{PROC}lxc.namespace.share.ipc = {a}\n"));
    let seen = sees(&m, &c, "readlink /proc/self/ns/ipc");
    let link = fs::read_link(format!("/proc/{init}/ns/ipc")).unwrap();
    assert_eq!(seen.trim(), link.display().to_string());
}

#[test]
fn clocks_are_moved() {
    let m = Machine::new();
    if !fs::exists("/proc/self/ns/time").unwrap() {
        println!("skipped: no time namespaces");
        return;
    }
    let lines = format!("{EMPTY}{PROC}lxc.time.offset.boot = 500000s\n");
    let seen = once(&m, "clock", &lines, "cat /proc/uptime");
    let uptime: f64 = seen.split(' ').next().unwrap().parse().expect(&seen);
    assert!(uptime > 500_000.0, "{seen}");
}

const MAP: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";

#[test]
fn an_id_map_holds_for_init_attach_files_and_devices() {
    let m = Machine::new();
    let lines = format!(
        "{EMPTY}{MAP}lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\nlxc.tty.max = 2\n\
         lxc.pty.max = 16\nlxc.cap.drop = sys_module\n"
    );
    let c = m.container("mapped", &lines);
    let root = root(&m, &c);
    m.sh(&format!("chown -hR 100000:100000 {}", root.display())).ok();
    m.start(&c);
    let init = m.init_pid(&c);
    assert_eq!(fs::metadata(format!("/proc/{init}")).unwrap().uid(), 100_000);
    let seen = m
        .inside(
            &c,
            "id -u; awk '{print $1,$2,$3}' /proc/self/uid_map /proc/self/gid_map; touch /tmp/new\n\
             chown 7:8 /tmp/new; echo x > /dev/null && echo null; head -c 1 /dev/zero | wc -c\n\
             stat -c '%n %u:%g %a' /dev/console /dev/tty1 /dev/null /dev /proc/self /sys/fs/cgroup\n\
             mknod /tmp/sda b 8 0 2>/dev/null || echo nonode",
        )
        .ok();
    let mut lines = seen.lines();
    for want in ["0", "0 100000 65536", "0 100000 65536", "null", "1"] {
        assert_eq!(lines.next(), Some(want), "{seen}");
    }
    assert!(seen.contains("/dev/console 0:") && seen.contains("/dev/tty1 0:"), "{seen}");
    assert!(seen.ends_with("nonode\n"), "{seen}");
    let new = fs::metadata(root.join("tmp/new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (100_007, 100_008));
    m.lxc("stop", &["-n", &c]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
}

#[test]
fn an_id_map_of_the_rootfs_keeps_the_files_owners() {
    let m = Machine::new();
    let lines = format!("{EMPTY}{MAP}{PROC}lxc.rootfs.options = idmap=container\n");
    let c = m.container("idrootfs", &lines);
    let done = m.lxc("start", &["-n", &c]);
    if done.stderr.contains("ENOSYS") {
        println!("skipped: {}", done.stderr);
        return;
    }
    done.ok();
    let seen = m.inside(&c, "stat -c %u:%g /etc/passwd; touch /new && chown 3:4 /new").ok();
    assert_eq!(seen, "0:0\n");
    let new = fs::metadata(root(&m, &c).join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (3, 4));
}

#[test]
fn a_read_only_rootfs_with_a_writable_dev() {
    let m = Machine::new();
    let c = m.container("ro", &format!("{EMPTY}{PROC}lxc.rootfs.options = ro,nosuid\n"));
    m.start(&c);
    let seen = m.inside(&c, "touch /x; touch /dev/x && echo dev; grep ' / ' /proc/mounts").stdout;
    assert!(seen.starts_with("dev\n") && seen.contains(" ro,nosuid"), "{seen}");
    assert!(!root(&m, &c).join("x").exists());
}

#[test]
fn dev_is_made_or_left_alone() {
    let m = Machine::new();
    let list = "cd /dev; stat -c '%n %t:%T %a' full null random tty urandom zero; readlink fd\n\
                readlink ptmx; grep -c ' /dev tmpfs' /proc/mounts; grep ' /dev/pts ' /proc/mounts";
    let lines =
        format!("{EMPTY}{PROC}lxc.autodev = 1\nlxc.autodev.tmpfs.size = 65536\nlxc.pty.max = 7\n");
    let seen = once(&m, "autodev", &format!("{lines}lxc.tty.max = 0\n"), list);
    let want = "full 1:7 666\nnull 1:3 666\nrandom 1:8 666\ntty 5:0 666\nurandom 1:9 666\nzero 1:5 666\n\
                /proc/self/fd\n";
    assert!(seen.starts_with(want), "{seen}");
    assert!(seen.contains("gid=5,mode=620,ptmxmode=666,max=7"), "{seen}");
    let c = m.container("noauto", &format!("{EMPTY}{PROC}lxc.autodev = 0\n"));
    fs::write(root(&m, &c).join("dev/own"), "").unwrap();
    let seen = sees(&m, &c, "ls /dev/own; grep -c ' /dev tmpfs' /proc/mounts");
    assert_eq!(seen, "/dev/own\n0\n");
}

#[test]
fn automatic_mounts_are_as_writable_as_asked() {
    let m = Machine::new();
    let script = "w() { (echo > $1) 2>/dev/null; [ -w $1 ] && echo $1; }\n\
                  rw() { grep -q \" $1 [^ ]* rw\" /proc/mounts && echo $1; }\n\
                  rw /proc; rw /proc/sys; rw /proc/sysrq-trigger; rw /sys; rw /sys/devices/virtual/net; true";
    let cases = [
        ("proc:rw sys:rw", "/proc\n/sys\n"),
        ("proc:mixed sys:ro", "/proc\n"),
        ("proc sys", "/proc\n/sys/devices/virtual/net\n"),
        ("proc:mixed sys:mixed", "/proc\n/sys/devices/virtual/net\n"),
    ];
    for (number, (auto, want)) in cases.into_iter().enumerate() {
        let lines = format!("{EMPTY}lxc.mount.auto = {auto}\n");
        assert_eq!(once(&m, &format!("auto{number}"), &lines, script), want, "{auto}");
    }
}

#[test]
fn cgroups_are_mounted_as_writable_as_asked() {
    let m = Machine::new();
    // The first hierarchy that is there tells: a group can be made in it, or not.
    let script = "ls /sys/fs/cgroup | head -n 1 | grep -q . && echo some\n\
                  d=$(grep -E '^(cgroup|cgroup2|none) [^ ]* cgroup' /proc/mounts | head -n 1 | cut -d' ' -f2)\n\
                  [ \"$d\" ] && mkdir $d/sub 2>/dev/null && rmdir $d/sub && echo own";
    // Where there is nothing but version 2 it is always mounted: many an init does not (LXC's
    // cgfsng_mount).
    let pure = Path::new("/sys/fs/cgroup/cgroup.procs").exists();
    for (auto, want) in [
        ("cgroup:mixed:force", "some\nown\n"),
        ("cgroup:rw:force", "some\nown\n"),
        ("cgroup:ro:force", "some\n"),
        ("cgroup:rw", if pure { "some\nown\n" } else { "" }),
        ("cgroup-full:rw:force", "some\nown\n"),
        ("cgroup-full:ro:force", "some\n"),
    ] {
        let short = auto.replace(':', "");
        let lines = format!("{EMPTY}lxc.mount.auto = proc:mixed sys:mixed {auto}\n");
        let c = m.container(&short, &lines);
        std::os::unix::fs::symlink("busybox", root(&m, &c).join("bin/cut")).unwrap();
        std::os::unix::fs::symlink("busybox", root(&m, &c).join("bin/rmdir")).unwrap();
        let seen = sees(&m, &c, script);
        assert_eq!(seen, want, "{auto}");
    }
}

#[test]
fn mount_entries_get_their_options() {
    let m = Machine::new();
    let data = m.dir.join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::write(data.join("file"), "hello\n").unwrap();
    let d = data.display();
    let lines = format!(
        "{EMPTY}{PROC}lxc.mount.entry = tmpfs mnt tmpfs ro,nosuid,nodev,noexec,size=64k,mode=711 0 0\n\
         lxc.mount.entry = {d} made/dir none bind,ro,create=dir 0 0\n\
         lxc.mount.entry = {d}/file made/file none bind,create=file 0 0\n\
         lxc.mount.entry = {d}/nosuch tmp none bind,optional 0 0\n\
         lxc.mount.entry = tmpfs nosuch tmpfs optional 0 0\n\
         lxc.mount.entry = {d}/sub var none rbind,private 0 0\n\
         lxc.mount.entry = made/dir run none bind,relative,ro 0 0\n\
         lxc.mount.fstab = {d}/fstab\n"
    );
    fs::write(data.join("fstab"), "# comment\ntmpfs root tmpfs rw,nodev 0 0\n").unwrap();
    // `relative`: the source is below the rootfs too.
    let lines =
        lines.replace("lxc.mount.entry = made/dir run none", "lxc.mount.entry = etc run none");
    let seen = once(
        &m,
        "entries",
        &lines,
        "grep ' /mnt ' /proc/mounts; stat -c %a /mnt; cat /made/dir/file; touch /made/dir/x\n\
         echo there >> /made/file; ls /nosuch; ls /run/passwd; grep ' /root ' /proc/mounts",
    );
    assert!(seen.contains("/mnt tmpfs ro,nosuid,nodev,noexec"), "{seen}");
    assert!(seen.contains("size=64k,mode=711"), "{seen}");
    assert!(seen.contains("\n711\nhello\n"), "{seen}");
    assert!(seen.contains("/made/dir/x: Read-only file system"), "{seen}");
    assert!(seen.contains("/run/passwd\ntmpfs /root tmpfs rw,nodev"), "{seen}");
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "hello\nthere\n");
}

#[test]
fn terminals_are_where_they_are_asked_for() {
    let m = Machine::new();
    let lines = format!("{EMPTY}{PROC}lxc.tty.max = 3\nlxc.tty.dir = lxc\nlxc.pty.max = 16\n");
    let seen = once(
        &m,
        "ttydir",
        &lines,
        "cd /dev; for t in lxc/tty1 lxc/tty3 lxc/console console; do test -c $t && echo $t; done\n\
         readlink tty1; test -e lxc/tty4 || echo nomore; echo \"$container_ttys|$container\"",
    );
    assert!(seen.starts_with("lxc/tty1\nlxc/tty3\nlxc/console\nconsole\n"), "{seen}");
    assert!(seen.contains("lxc/tty1\nnomore\n") && seen.ends_with("|lxc\n"), "{seen}");
    let lines = format!("{EMPTY}{PROC}lxc.tty.max = 2\nlxc.pty.max = 16\n");
    let seen = once(
        &m,
        "ttys",
        &lines,
        "for t in 1 2; do echo x > /dev/tty$t && echo $t; done; ls /dev/pts; test -e /dev/tty3",
    );
    assert!(seen.starts_with("1\n2\n"), "{seen}");
}

#[test]
fn the_console_is_none_or_is_logged() {
    let m = Machine::new();
    let lines = format!("{EMPTY}{PROC}lxc.console.path = none\n");
    let c = m.container("noconsole", &lines);
    m.start(&c);
    let seen = m.inside(&c, "readlink /proc/1/fd/0; test -c /dev/console && echo console").stdout;
    assert!(seen.starts_with("/dev/null\n"), "{seen}");
    let log = m.dir.join("console.log");
    let lines = format!(
        "{EMPTY}{PROC}lxc.console.logfile = {}\nlxc.console.buffer.size = 4096\n\
         lxc.init.cmd = /bin/talk\n",
        log.display()
    );
    let c = m.container("logged", &lines);
    let talk = root(&m, &c).join("bin/talk");
    fs::write(
        &talk,
        "#!/bin/sh\necho on stdout\necho on console > /dev/console\nexec sleep 1000\n",
    )
    .unwrap();
    fs::set_permissions(&talk, fs::Permissions::from_mode(0o755)).unwrap();
    m.start(&c);
    eventually(10, "the log", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        (text.contains("on stdout") && text.contains("on console")).then_some(())
    });
}

#[test]
fn init_gets_its_environment_identity_and_place() {
    let m = Machine::new();
    let lines = format!(
        "{EMPTY}{PROC}lxc.environment = ONE=1\nlxc.environment.runtime = TWO=2 two\n\
         lxc.environment.hooks = THREE=3\nlxc.init.uid = 1000\nlxc.init.gid = 1001\n\
         lxc.init.groups = 10,20\nlxc.init.cwd = /tmp\n"
    );
    let c = m.container("ident", &lines);
    let root = root(&m, &c);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    let seen = sees(&m, &c, "id -u; id -g; id -G; pwd; echo \"$ONE|$TWO|$THREE|$container\"; env");
    assert!(seen.starts_with("1000\n1001\n1001 10 20\n/tmp\n1|2 two||lxc\n"), "{seen}");
    assert!(!seen.contains("CARGO") && !seen.contains("LXC_ROOTFS_MOUNT"), "{seen}");
}

#[test]
fn an_ephemeral_container_is_gone_after_its_stop() {
    let m = Machine::new();
    let c = m.container("ephemeral", &format!("{EMPTY}{PROC}lxc.ephemeral = 1\n"));
    m.start(&c);
    let init = m.init_pid(&c);
    m.lxc("stop", &["-n", &c]).ok();
    eventually(10, "the removal", || (!m.lxcpath().join(&c).exists()).then_some(()));
    assert!(!fs::exists(format!("/proc/{init}")).unwrap());
}

#[test]
fn a_reboot_from_inside_keeps_the_monitor() {
    let m = Machine::new();
    let log = m.dir.join("log");
    let hook = format!("sh -c 'echo $LXC_HOOK_TYPE$1 >> {}' --", log.display());
    let mut lines = format!("{EMPTY}{PROC}lxc.hook.version = 1\n");
    for kind in ["pre-start", "start-host", "stop", "post-stop"] {
        lines.push_str(&format!("lxc.hook.{kind} = {hook}\n"));
    }
    let c = m.container("reboot", &lines);
    m.start(&c);
    let (first, monitor) = (m.init_pid(&c), m.monitor_pid(&c).unwrap());
    let _ = m.inside(&c, "reboot -f");
    let second = eventually(15, "another init", || {
        let text = m.lxc("info", &["-n", &c, "-p", "-H"]).stdout;
        let pid: u32 = text.trim().parse().ok()?;
        (pid != first).then_some(pid)
    });
    assert_ne!(second, first);
    eventually(10, "the state", || (m.state(&c) == "RUNNING").then_some(()));
    assert_eq!(m.monitor_pid(&c), Some(monitor));
    m.inside(&c, "true").ok();
    // From the outside too: the signal makes busybox's init reboot.
    m.lxc("stop", &["-n", &c, "-r"]).ok();
    eventually(15, "a third init", || {
        let text = m.lxc("info", &["-n", &c, "-p", "-H"]).stdout;
        text.trim().parse().ok().filter(|pid: &u32| *pid != second)
    });
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    let told = fs::read_to_string(&log).unwrap();
    let count = |kind: &str| told.lines().filter(|line| *line == kind).count();
    assert_eq!((count("start-host"), count("stop")), (3, 3), "{told}");
    assert_eq!(count("pre-start"), 3, "{told}");
}

#[test]
fn the_signals_of_the_configuration_are_sent() {
    let m = Machine::new();
    let lines = format!("{EMPTY}{PROC}lxc.init.cmd = /bin/first\n");
    let c = m.container("signals", &lines);
    let text = fs::read_to_string(m.config(&c)).unwrap();
    let text =
        text.replace("halt = SIGUSR1", "halt = SIGUSR2").replace("reboot = SIGTERM", "reboot = 10");
    fs::write(m.config(&c), text).unwrap();
    let first = root(&m, &c).join("bin/first");
    let script = "#!/bin/sh\ntrap 'echo halt >> /got; exit 0' USR2\ntrap 'echo reboot >> /got' USR1\n\
                  touch /ready\nwhile :; do sleep 0.1; done\n";
    fs::write(&first, script).unwrap();
    fs::set_permissions(&first, fs::Permissions::from_mode(0o755)).unwrap();
    m.start(&c);
    let root = root(&m, &c);
    eventually(10, "init", || root.join("ready").exists().then_some(()));
    m.lxc("stop", &["-n", &c, "-r", "-W"]).ok();
    eventually(10, "the reboot signal", || root.join("got").exists().then_some(()));
    m.lxc("stop", &["-n", &c]).ok();
    assert_eq!(fs::read_to_string(root.join("got")).unwrap(), "reboot\nhalt\n");
    assert_eq!(m.state(&c), "STOPPED");
}

/// Gives `command` a session keyring with a key in it that only its possessor can see.
#[allow(unsafe_code, reason = "keyctl between fork and exec")]
fn with_key(command: &mut Command) {
    use std::io::{Error, Result};
    let call = |done: libc::c_long| match done {
        -1 => Err(Error::last_os_error()),
        done => Ok(done),
    };
    let give = move || -> Result<()> {
        const JOIN: libc::c_long = 1;
        const SETPERM: libc::c_long = 5;
        const SESSION: libc::c_long = -3;
        const POSSESSOR: libc::c_long = 0x3f00_0000;
        let (kind, name) = (c"user".as_ptr(), c"lxcbox-probe".as_ptr());
        // SAFETY: null asks for a keyring without a name.
        call(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, 0) })?;
        // SAFETY: the strings are constants and the length is that of the payload.
        let key = call(unsafe { libc::syscall(libc::SYS_add_key, kind, name, name, 4, SESSION) })?;
        // SAFETY: plain numbers.
        call(unsafe { libc::syscall(libc::SYS_keyctl, SETPERM, key, POSSESSOR) }).map(drop)
    };
    // SAFETY: the closure makes three system calls and allocates nothing.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, give) };
}

#[test]
fn a_session_keyring_of_its_own_or_not() {
    let m = Machine::new();
    if !fs::exists("/proc/keys").unwrap() {
        println!("skipped: no keyrings");
        return;
    }
    let lines = [
        ("fresh", "", false),
        ("wanted", "lxc.keyring.session = 1\n", false),
        ("inherited", "lxc.keyring.session = 0\n", true),
    ];
    for (short, line, seen) in lines {
        let c = m.container(short, &format!("{EMPTY}{PROC}{}{line}", libraries()));
        let script = "cat /proc/keys; echo end";
        let args = ["-n", &c, "--", "/bin/sh", "-c", script];
        let mut command = m.lxc_command("execute", &args);
        with_key(&mut command);
        let keys = run(command).ok();
        assert!(keys.ends_with("end\n"), "{keys}");
        assert_eq!(keys.contains("lxcbox-probe"), seen, "{short}: {keys}");
    }
}

#[test]
fn a_borrowed_mount_namespace_has_its_own_name_and_keys_all_the_same() {
    let m = Machine::new();
    let lender = m.container("lender", &format!("{EMPTY}{PROC}"));
    m.start(&lender);
    let c = m.container("guest", &format!("{EMPTY}lxc.namespace.share.mnt = {lender}\n"));
    fs::write(root(&m, &lender).join("probe"), "hostname > /seen\n").unwrap();
    m.lxc("start", &["-n", &c, "-F", "-s", "lxc.init.cmd=/bin/sh /probe"]).ok();
    assert_eq!(fs::read_to_string(root(&m, &lender).join("seen")).unwrap(), "guest\n");
}

#[test]
fn lxc_execute_tells_how_the_command_ended() {
    let m = Machine::new();
    let c = m.container("execute", &format!("{EMPTY}{PROC}{}", libraries()));
    let status = |script: &str| m.lxc("execute", &["-n", &c, "--", "/bin/sh", "-c", script]).status;
    assert_eq!(status("exit 0"), 0);
    assert_eq!(status("exit 3"), 3);
    assert_eq!(status("kill -TERM $$"), 128 + 15);
    let done = m.lxc("execute", &["-n", &c, "--", "/bin/echo", "a b", "c"]);
    assert_eq!((done.status, done.stdout.as_str()), (0, "a b c\n"), "{done:?}");
    let done = m.lxc("execute", &["-n", &c, "--", "/bin/nosuch"]);
    println!("not found: {done:?}");
    assert!([127, 255].contains(&done.status), "{done:?}");
    assert!(done.stderr.contains("/bin/nosuch"), "{done:?}");
    let quiet = m.lxc("execute", &["-n", &c, "-q", "--", "/bin/nosuch"]);
    assert_eq!((quiet.status, quiet.stderr.as_str()), (done.status, ""), "{quiet:?}");
    // Its init reaps orphans and passes signals on; the last word is the command's.
    assert_eq!(status("(sleep 0.1 &) ; sleep 0.3; ps | grep -c '[Z]' ; exit 9"), 9);
    assert_eq!(m.settle(), Vec::<String>::new());
}
