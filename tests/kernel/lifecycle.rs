//! Create, start, look, enter, freeze, stop, destroy.

use crate::machine::{BINARY, Machine, run};

#[test]
fn a_busybox_container_lives_and_dies() {
    let m = Machine::new();
    let c = m.container("life", "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:ro\n");
    m.start(&c);
    assert_eq!(m.state(&c), "RUNNING");
    let plan = m.lxc("start", &["-n", &c, "--dry-run"]);
    assert!(plan.stderr.contains("already running") && plan.stdout.is_empty(), "{plan:?}");
    assert_eq!(plan.status, 0);
    assert_eq!(m.inside(&c, "hostname").ok(), "life\n");
    assert!(m.lxc("ls", &["--running", "-1"]).ok().contains(&c));
    m.lxc("freeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "FROZEN");
    m.lxc("unfreeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "STOPPED");
    assert_eq!(m.settle(), Vec::<String>::new());
}

/// With the umask of a careful root nobody but root could look up a name in the container.
#[test]
fn everybody_inside_passes_the_root_whatever_the_umask() {
    let m = Machine::new();
    let (c, path) = (m.name("masked"), m.lxcpath());
    let create = format!("umask 077; {BINARY} lxc-create -P {} -n {c}", path.display());
    m.sh(&format!("{create} -t busybox -f /dev/null")).ok();
    let config = m.config(&c).display().to_string();
    m.sh(&format!("sed -i /lxc.net/d {config}; echo lxc.net.0.type = empty >>{config}")).ok();
    m.start(&c);
    let user = ["-u", "1000", "-g", "1000", "--", "cat", "/etc/inittab"];
    let said = m.lxc("attach", &[&["-n", &c], &user[..]].concat()).ok();
    assert!(said.contains("sysinit"), "{said}");
}

/// Who starts a tool may have SIGCHLD ignored (a careless daemon does): the kernel would reap what
/// the tool waits for. What runs in the container begins with all signals as the kernel has them.
#[test]
fn what_the_caller_ignores_changes_nothing() {
    let m = Machine::new();
    let c = m.container("deaf", "lxc.net.0.type = empty\nlxc.mount.auto = proc\n");
    let copy = m.name("copy");
    let deaf = |words: &[&str]| {
        let mut command = m.command("env");
        command.arg("--ignore-signal").args(words);
        run(command)
    };
    let ignored = deaf(&["grep", "SigIgn", "/proc/self/status"]).ok();
    let mask = u64::from_str_radix(ignored.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_ne!(mask & 1 << (17 - 1), 0, "{ignored}");

    let path = m.lxcpath();
    let lxc = |tool: &str, args: &[&str]| {
        deaf(&[&[BINARY, tool, "-P", path.to_str().unwrap()], args].concat())
    };
    lxc("lxc-start", &["-n", &c]).ok();
    lxc("lxc-attach", &["-n", &c, "--", "sh", "-c", "exit 7"]).fails(7);
    for process in ["1", "self"] {
        let status = format!("/proc/{process}/status");
        let said = lxc("lxc-attach", &["-n", &c, "--", "grep", "SigIgn", &status]).ok();
        assert!(said.ends_with("\t0000000000000000\n"), "{process}: {said}");
    }
    lxc("lxc-stop", &["-n", &c]).ok();
    lxc("lxc-copy", &["-n", &c, "-N", &copy]).ok();
    lxc("lxc-start", &["-F", "-n", &copy, "--", "/bin/true"]).ok();
    lxc("lxc-destroy", &["-n", &copy]).ok();
}

/// Files that are named on the command line are where the caller is, not where the monitor goes; and
/// what was optional and is left out is in the log with its reason.
#[test]
fn relative_files_and_reasons_in_the_log() {
    let m = Machine::new();
    let missing = "lxc.mount.entry = /nonexistent mnt none bind,optional 0 0\n";
    let c = m.container("files", &format!("lxc.net.0.type = empty\n{missing}"));
    let dir = m.lxcpath().join("here");
    std::fs::create_dir_all(&dir).unwrap();
    let start = format!("cd {} && {BINARY} lxc-start -P {}", dir.display(), m.lxcpath().display());
    m.sh(&format!("{start} -n {c} -p pid -L console -o log -l DEBUG")).ok();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let monitor = read("pid").parse::<u32>().expect("a number without a newline");
    let title = std::fs::read_to_string(format!("/proc/{monitor}/cmdline")).unwrap();
    assert!(title.contains(&c), "{title}");
    assert!(dir.join("console").exists());
    let log = read("log");
    let left_out = log.lines().find(|line| line.contains("optional mount left out")).unwrap();
    assert!(left_out.contains("open_tree") || left_out.contains("open("), "{left_out}");
    assert!(left_out.contains("ENOENT"), "{left_out}");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert!(!dir.join("pid").exists());
}

/// A board: busybox, our binary and nothing else, no file of LXC's and no PATH. The containers it
/// makes start; a root directory that is no mount of its own (a chroot) is no reason to refuse.
#[test]
fn the_binary_alone_is_enough_on_a_board() {
    let m = Machine::new();
    let board = m.rootfs(&m.name("board"));
    let (host, busybox) = (m.name("h"), m.name("b"));
    std::fs::copy(BINARY, board.join("lxcbox")).unwrap();
    let life = format!(
        "set -e\n\
         /lxcbox create -n {busybox} -t busybox\n\
         PATH= /lxcbox create {host}\n\
         [ -z \"$1\" ] || exit 0\n\
         for c in {host} {busybox}; do\n\
         env -i /lxcbox start $c\n\
         env -i /lxcbox attach $c -- \
         /bin/sh -c 'echo in $(hostname) $(ls -d /old /lxcbox.sh /var/lib/dpkg 2>/dev/null)'\n\
         /lxcbox stop -k $c\n\
         /lxcbox destroy $c\n\
         done\n"
    );
    std::fs::write(board.join("lxcbox.sh"), life).unwrap();
    let board = board.display();
    let prepare = format!(
        "set -e; cd {board}; rm usr; mkdir -p usr/bin old var/lib; ./lxcbox --version || exit 77\n\
         for a in $(bin/busybox --list); do [ -e bin/$a ] || ln -s busybox bin/$a; done\n"
    );
    let prepared = m.sh(&prepare);
    if prepared.status == 77 {
        println!("skipped: a board has no libraries, and this binary needs some");
        return;
    }
    prepared.ok();
    let enter =
        |then: &str| m.sh(&format!("exec unshare -m sh -c 'set -e; cd {board}; {then}' board"));
    enter(
        "mount -t proc proc proc; mount --rbind /dev dev; \
         exec chroot . /bin/sh /lxcbox.sh create-only",
    )
    .ok();
    assert!(m.sh(&format!("rm -r {board}/var/lib/lxc/*")).ok().is_empty());
    let life = format!("in {host}\nin {busybox}\n");
    // A chroot to a mount of its own: the namespace's root is the host's, and must not stay it.
    let said = enter(
        "mount --bind . .; cd $PWD; mount -t proc proc proc; mount --rbind /sys sys; \
         mount --rbind /dev dev; exec chroot . /bin/sh /lxcbox.sh",
    );
    assert_eq!(said.ok(), life);
    let said = enter(
        "mount --bind . .; cd $PWD; mount -t proc proc proc; mount --rbind /sys sys; \
         mount --rbind /dev dev; pivot_root . old; umount -l old; exec /bin/sh /lxcbox.sh",
    );
    assert_eq!(said.ok(), life);
}

#[test]
fn containers_in_containers_are_listed() {
    let m = Machine::new();
    let c = m.container("outer", "lxc.net.0.type = empty\n");
    let inner = m.lxcpath().join(&c).join("rootfs/var/lib/lxc/in1");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("config"), "lxc.group = deep\n").unwrap();
    // Looked into from outside, then from within.
    for running in [false, true] {
        if running {
            m.start(&c);
        }
        let names = m.lxc("ls", &["--nesting", "-1"]).ok();
        assert_eq!(names, format!("{c}\n{c}/in1\n"));
        let table = m.lxc("ls", &["--nesting=1", "-f", "-F", "NAME,STATE,GROUPS"]).ok();
        let cells: Vec<&str> = table.lines().nth(2).unwrap_or("").split_whitespace().collect();
        assert_eq!(cells, ["\\in1", "STOPPED", "deep"], "{table}");
        assert_eq!(m.lxc("ls", &["-1"]).ok(), format!("{c}\n"));
    }
}

/// What a script holds open (a lock, the end of a pipe) does not live on in the monitor.
#[test]
fn the_monitor_keeps_nothing_of_the_callers() {
    let m = Machine::new();
    let c = m.container("inherited", "lxc.net.0.type = empty\n");
    let path = m.lxcpath().display().to_string();
    m.sh(&format!(
        "exec 7>{0}/lock; flock -n 7 || exit 9; {BINARY} lxc-start -P {path} -n {c}",
        m.dir.display()
    ))
    .ok();
    m.sh(&format!("flock -n {}/lock true", m.dir.display())).ok();
    let monitor = m.monitor_pid(&c).expect("a monitor");
    let held = std::fs::read_link(format!("/proc/{monitor}/fd/7"));
    assert!(!held.is_ok_and(|to| to.ends_with("lock")));
}
