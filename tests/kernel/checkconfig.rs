//! lxc-checkconfig on the real kernel: as root, as an ordinary user, with nothing else installed,
//! and with things that hang, are filtered or taken away.

use crate::machine::{BINARY, Machine, Outcome, run};
use std::fs;
use std::path::Path;

/// The state of a label: what follows it up to a comma.
fn state<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(": "))?;
    rest.split(',').next()
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line}\n{text}");
}

/// Runs a copy of the binary that everybody may execute, by this shell line, as `$BOX`.
fn shell(machine: &Machine, script: &str) -> Outcome {
    let copy = machine.dir.join("lxcbox");
    if !copy.exists() {
        fs::copy(BINARY, &copy).unwrap();
    }
    let mut command = machine.command("sh");
    command.env("BOX", copy).args(["-c", script]);
    run(command)
}

/// Groups of a trial that are left below any hierarchy.
fn left_groups(dir: &Path, depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if entry.file_name().to_string_lossy().starts_with("lxcbox.check") {
            found.push(entry.path().display().to_string());
        } else if is_dir && depth > 0 {
            left_groups(&entry.path(), depth - 1, found);
        }
    }
}

/// One that runs at the same time has groups of its own for a moment.
#[track_caller]
fn no_groups_stay() {
    crate::machine::eventually(10, "the trials' groups to go", || {
        let mut left = Vec::new();
        left_groups(Path::new("/sys/fs/cgroup"), 2, &mut left);
        left.is_empty().then_some(())
    });
}

#[test]
fn checkconfig_needs_nothing_and_leaves_nothing() {
    let machine = Machine::new();
    let modules = || fs::read_to_string("/proc/modules").unwrap_or_default().lines().count();
    let before = modules();
    let text = shell(&machine, "exec env -i \"$BOX\" lxc-checkconfig -P /var/lib/lxc").ok();
    for label in ["Namespaces", "Pid namespace", "Network namespace", "Cgroups", "Cgroup device"] {
        assert_eq!(state(&text, label), Some("enabled"), "{label}\n{text}");
    }
    has(&text, "everything that is required works");
    assert!(text.contains("first limit: ") && !text.contains('\x1b'), "{text}");
    assert_eq!(modules(), before, "modules were loaded");
    no_groups_stay();
}

/// Wherever LXC's own script says something, ours says the same on this kernel, which has no
/// switched-off controller and no user namespace restriction.
#[test]
fn checkconfig_agrees_with_lxc_where_its_labels_are() {
    let machine = Machine::new();
    if !Path::new("/usr/bin/lxc-checkconfig").exists() {
        println!("skipped: Debian's lxc is not installed");
        return;
    }
    let theirs = machine.sh("exec /usr/bin/lxc-checkconfig").ok();
    let ours = machine.lxc("checkconfig", &[]).ok();
    let mut compared = 0;
    for line in theirs.lines() {
        let Some((label, rest)) = line.split_once(": ") else { continue };
        let word = rest.split(',').next().unwrap_or_default().trim();
        if ["enabled", "missing", "required"].contains(&word) {
            assert_eq!(state(&ours, label), Some(word), "{label}\n{ours}");
            compared += 1;
        }
    }
    assert!(compared > 25, "only {compared} lines compared\n{theirs}");
}

#[test]
fn checkconfig_as_an_ordinary_user() {
    let machine = Machine::new();
    let user = "setpriv --reuid 54321 --regid 54321 --clear-groups env -i \"$BOX\" lxc-checkconfig \
                -P /var/lib/lxc";
    let open = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    assert_ne!(open.trim(), "0");
    let text = shell(&machine, &format!("exec {user}")).ok();
    assert_eq!(state(&text, "User namespace"), Some("enabled"));
    has(&text, "Veth pair device: enabled, in a user namespace");
    assert!(text.contains("Cgroups: enabled, for root only: "), "{text}");
    // No line in /etc/subuid: an ordinary user's containers cannot be had, and it is said how.
    let text = shell(&machine, &format!("{user} --for unprivileged; test $? = 1")).ok();
    assert!(text.contains("required: subordinate users: "), "{text}");
    let text = shell(&machine, &format!("{user} --for unprivileged --fix; test $? = 1")).ok();
    assert!(text.lines().any(|line| line.starts_with("echo 54321:100000:65536 >>")), "{text}");
}

/// A file system that never answers, as a network's whose server is gone.
#[test]
fn checkconfig_cuts_off_what_hangs() {
    let machine = Machine::new();
    let script = format!(
        "exec 3<>/dev/fuse && mkdir {0}/dead && \
         mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none {0}/dead && \
         {{ \"$BOX\" lxc-checkconfig -P {0}/dead/lxc; s=$?; umount -l {0}/dead; exit $s; }}",
        machine.dir.display()
    );
    let text = shell(&machine, &script).ok();
    for label in ["way to the containers", "id-mapped mounts of the container path"] {
        has(&text, &format!("{label}: unknown, the trial did not end in time"));
    }
}

#[test]
fn checkconfig_sees_what_is_taken_away() {
    let machine = Machine::without(&["clone3", "openat2", "mount_setattr"]);
    let text = machine.lxc("checkconfig", &[]).ok();
    for label in ["clone3 (else clone)", "openat2 (else a checked walk)"] {
        assert_eq!(state(&text, label), Some("missing"), "{text}");
    }
    assert_eq!(state(&text, "statx (else fdinfo)"), Some("enabled"));
    assert_eq!(state(&text, "id-mapped mounts of the container path"), Some("missing"));
    drop(machine);
    // A root without the rights of root.
    let machine = Machine::new();
    let bare = "setpriv --bounding-set -sys_admin --inh-caps -sys_admin \"$BOX\" lxc-checkconfig";
    let text = shell(&machine, &format!("{bare}; test $? = 1")).ok();
    assert!(text.contains("Namespaces: required, blocked by the lack of CAP_SYS_ADMIN"), "{text}");
    assert!(
        machine.lacks("fsopen")
            || text.contains("fsopen (else mount): missing, blocked by the lack of CAP_SYS_ADMIN")
    );
    let text = shell(&machine, &format!("{bare} --fix; test $? = 1")).ok();
    assert!(text.contains("# Namespaces: the lack of CAP_SYS_ADMIN"), "{text}");
}

/// A user to whom some hierarchies of version 1 are given is not told to mount the others.
#[test]
fn checkconfig_of_a_user_with_one_hierarchy() {
    let machine = Machine::new();
    let top = Path::new("/sys/fs/cgroup/systemd");
    if !top.join("cgroup.procs").exists() || !Path::new("/sys/fs/cgroup/memory").exists() {
        println!("skipped: no hierarchies systemd and memory of version 1 here");
        return;
    }
    let group = top.join(machine.name("given"));
    let script = format!(
        "mkdir {0} && chown -R 54321 {0} && sh -c 'echo $$ >{0}/cgroup.procs; exec setpriv --reuid \
         54321 --regid 54321 --clear-groups env -i \"$BOX\" lxc-checkconfig -P /var/lib/lxc'; rmdir {0}",
        group.display()
    );
    let text = shell(&machine, &script).ok();
    assert_eq!(state(&text, "Cgroups"), Some("enabled"), "{text}");
    let closed = "Cgroup memory controller: enabled, for root only: /sys/fs/cgroup/memory is not this \
                  user's to write in";
    has(&text, closed);
}

/// A filter may say that there is no such call where the kernel has it.
#[test]
fn checkconfig_blames_the_filter_and_not_the_kernel() {
    let machine = Machine::new();
    let copy = shell(&machine, "echo $BOX").ok();
    let mut command = machine.command(copy.trim());
    command.args(["lxc-checkconfig", "-P", "/var/lib/lxc"]);
    Machine::forbid(&mut command, &["unshare"]);
    let text = run(command).stdout;
    for label in ["Namespaces: required", "User namespace: missing", "Veth pair device: missing"] {
        has(&text, &format!("{label}, blocked by a seccomp filter of this process"));
    }
}

/// Whenever it is interrupted or killed: what is tried outlives it by a moment only. If a trial was
/// killed itself, the next run takes its groups away, also one whose process was frozen.
#[test]
fn checkconfig_that_is_cut_short_leaves_nothing() {
    let machine = Machine::new();
    let script = "for signal in TERM KILL; do for after in $(seq 0.003 0.006 0.2); do \
                  \"$BOX\" lxc-checkconfig -P /var/lib/lxc >/dev/null 2>&1 & \
                  sleep $after; kill -$signal $!; wait $!; done; done; echo done";
    assert!(shell(&machine, script).stdout.contains("done"));
    let binary = machine.dir.join("lxcbox");
    let runs = || {
        let exes = fs::read_dir("/proc").unwrap().flatten();
        exes.filter(|e| fs::read_link(e.path().join("exe")).is_ok_and(|exe| exe == binary)).count()
    };
    crate::machine::eventually(10, "its processes to go", || (runs() == 0).then_some(()));
    no_groups_stay();
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    let group = freezer.join("lxcbox.check.999999999");
    if freezer.join("cgroup.procs").exists() {
        fs::create_dir(&group).unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(group.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        fs::write(group.join("freezer.state"), "FROZEN").unwrap();
        sleeper.kill().unwrap();
        std::thread::spawn(move || sleeper.wait());
    } else {
        println!("no freezer of version 1 here: only groups of version 2 were tried");
    }
    machine.lxc("checkconfig", &[]).ok();
    assert!(!group.exists(), "the frozen group is still there");
}

/// Settings of lxc-net that cannot be used are not settings that turn it off.
#[test]
fn checkconfig_tells_of_broken_settings() {
    let machine = Machine::new();
    let script = "mount -t tmpfs none /etc/default && echo 'LXC_BRIDGE=\"open' >/etc/default/lxc-net && \
                  exec \"$BOX\" lxc-checkconfig -P /var/lib/lxc";
    let text =
        shell(&machine, &format!("unshare -m sh -c '{}'", script.replace('\'', "'\\''"))).ok();
    assert!(
        text.contains("bridge of the host: missing, blocked by a quote is not closed"),
        "{text}"
    );
}

/// A link to another file system: that one is asked and named.
#[test]
fn checkconfig_names_the_file_system_behind_a_link() {
    let machine = Machine::new();
    if machine.cannot_map_mounts() {
        println!("skipped: this kernel maps no ids of mounts");
        return;
    }
    let dir = machine.dir.display();
    let script = format!(
        "mkdir {dir}/t && mount -t tmpfs none {dir}/t && ln -s {dir}/t {dir}/link && \
         \"$BOX\" lxc-checkconfig -P {dir}/link/lxc; s=$?; umount {dir}/t; exit $s"
    );
    let text = shell(&machine, &script).ok();
    assert!(text.contains(&format!(", {dir}/t on tmpfs\n")), "{text}");
}

/// A limit of the machine itself is lowered in a user namespace of the test's own.
#[test]
fn checkconfig_names_the_limit_of_user_namespaces() {
    let machine = Machine::new();
    let script = "unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; \
                  \"$BOX\" lxc-checkconfig -P /var/lib/lxc --for unprivileged --format json; exit 0'";
    let text = shell(&machine, script).ok();
    assert!(text.contains("\"detail\": \"user.max_user_namespaces = 0\""), "{text}");
    assert!(text.contains("\"result\": \"unfit\""), "{text}");
    assert!(text.contains("echo user.max_user_namespaces=15000 >>"), "{text}");
    let text = shell(&machine, &script.replace("max_user_", "max_net_")).ok();
    assert!(text.contains("\"detail\": \"a low limit user.max_net_namespaces: "), "{text}");
}

#[test]
fn checkconfig_of_a_container_is_its_plan() {
    let machine = Machine::new();
    let good = machine.container("good", "lxc.net.0.type = empty\n");
    let text = machine.lxc("checkconfig", &["-n", &good]).ok();
    has(&text, &format!("--- Container {good} ---"));
    has(&text, "Start: enabled");
    let bad = machine.container("bad", "lxc.net.0.type = veth\nlxc.net.0.link = nobridge\n");
    let checked = machine.lxc("checkconfig", &["-n", &bad]);
    assert_eq!(checked.status, 1);
    assert!(checked.stdout.contains("Start: required, blocked by "), "{}", checked.stdout);
    assert!(checked.stdout.contains("nobridge"), "{}", checked.stdout);
    // The hint is for people, and --fix for a shell.
    let fix = machine.lxc("checkconfig", &["-n", &bad, "--fix"]).stdout;
    assert!(fix.lines().any(|l| l.starts_with("# ip link add nobridge ")), "{fix}");
    // The plan is made for this kernel and its modules.
    machine.sh("ip link add p0 type veth peer name p1").ok();
    let all = machine.lxc("checkconfig", &[]).ok();
    let kinds = [("vlan", "Vlan"), ("ipvlan", "Ipvlan"), ("macvlan", "Macvlan")];
    for (kind, label) in kinds {
        let lines =
            format!("lxc.net.0.type = {kind}\nlxc.net.0.link = p0\nlxc.net.0.vlan.id = 3\n");
        let lines =
            if kind == "vlan" { lines } else { lines.replace("lxc.net.0.vlan.id = 3\n", "") };
        let name = machine.container(kind, &lines);
        let checked = machine.lxc("checkconfig", &["-n", &name]);
        let missing = state(&all, label) == Some("missing");
        let said = checked.stdout.contains(&format!("Start: required, blocked by {label}: "));
        assert_eq!((said, checked.status), (missing, i32::from(missing)), "{}", checked.stdout);
    }
    let checked = machine.lxc("checkconfig", &["-n", "nobody-made-this"]);
    assert_eq!(checked.status, 2, "{}", checked.stdout);
    // Nor can be said what a user may not read.
    let user = format!(
        "chmod 700 {0}/{good} && setpriv --reuid 54321 --regid 54321 --clear-groups env -i \"$BOX\" \
         lxc-checkconfig -P {0} -n {good}; test $? = 2",
        machine.lxcpath().display()
    );
    assert!(shell(&machine, &user).ok().contains("Permission denied"));
}
