//! Containers that attack: a root file system full of links to the host, a process inside that
//! wants the host's binary, its terminal, its descriptors or its monitor. Each against the usual
//! kernel, and the file system's part once more without openat2.

#![allow(unsafe_code, reason = "renameat2 of the racing renamer")]

use crate::machine::{BINARY, Machine, Outcome, libraries, run};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

fn root(m: &Machine, name: &str) -> PathBuf {
    m.lxcpath().join(name).join("rootfs")
}

/// A directory of the host that must not change, with something in it.
fn outside(m: &Machine) -> PathBuf {
    let dir = m.dir.join("outside");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("file"), "precious").unwrap();
    dir
}

/// Everything below a directory: path, kind, mode, size.
fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let facts = entry.metadata().unwrap();
        let mode = facts.permissions().mode();
        all.push(format!("{} {mode:o} {}", entry.path().display(), facts.len()));
        if facts.is_dir() {
            all.extend(listing(&entry.path()));
        }
    }
    all.sort();
    all
}

#[track_caller]
fn refused(m: &Machine, name: &str, needles: &[&str]) {
    let done = m.lxc("start", &["-n", name]);
    assert_eq!(done.status, 1, "started with {needles:?}\n{}", done.stderr);
    for needle in needles {
        assert!(done.stderr.contains(needle), "no {needle:?} in:\n{}", done.stderr);
    }
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const EMPTY: &str = "lxc.net.0.type = empty\n";
const AUTO: &str = "lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed\n";

fn linked_directories(m: &Machine) {
    let out = outside(m);
    let before = listing(&out);
    let c = m.container("linked", &format!("{EMPTY}{AUTO}lxc.tty.max = 2\n"));
    let root = root(m, &c);
    for dir in ["dev", "proc", "sys"] {
        // To an absolute place, to a relative one, to one inside, and to nothing.
        for target in [out.to_str().unwrap(), "../../../outside", "tmp", "/nosuch"] {
            fs::remove_dir(root.join(dir)).unwrap();
            symlink(target, root.join(dir)).unwrap();
            refused(m, &c, &[&format!("\"/{dir}\""), "symbolic link"]);
            fs::remove_file(root.join(dir)).unwrap();
            fs::create_dir(root.join(dir)).unwrap();
        }
        assert_eq!(listing(&out), before, "/{dir} as a link");
    }
    // No link, but no directory either.
    fs::remove_dir(root.join("dev")).unwrap();
    fs::write(root.join("dev"), "").unwrap();
    refused(m, &c, &["\"/dev\"", "ENOTDIR"]);
    fs::remove_file(root.join("dev")).unwrap();
    fs::create_dir(root.join("dev")).unwrap();
    // Only a part of the way is a link, below directories of the root file system itself.
    fs::create_dir(out.join("cgroup")).unwrap();
    let before = listing(&out);
    let base = fs::read_to_string(m.config(&c)).unwrap().replace(AUTO, "");
    symlink(&out, root.join("sys/fs")).unwrap();
    let text = format!("{base}lxc.mount.auto = cgroup:mixed:force\n");
    fs::write(m.config(&c), text).unwrap();
    refused(m, &c, &["sys/fs/cgroup"]);
    assert_eq!(listing(&out), before, "/sys/fs as a link");
    fs::remove_file(root.join("sys/fs")).unwrap();
    symlink(out.join("sub"), root.join("dev/lxc")).unwrap();
    let text = format!("{base}lxc.autodev = 0\nlxc.tty.dir = lxc\n");
    fs::write(m.config(&c), text).unwrap();
    refused(m, &c, &["/dev/lxc"]);
    assert_eq!(listing(&out), before, "/dev/lxc as a link");
    fs::write(m.config(&c), base + AUTO).unwrap();
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(listing(&out), before);
}

fn linked_terminals(m: &Machine) {
    let out = outside(m);
    let before = listing(&out);
    let c = m.container("linkedtty", &format!("{EMPTY}{AUTO}lxc.autodev = 0\nlxc.tty.max = 2\n"));
    let dev = root(m, &c).join("dev");
    let files = ["console", "tty1", "tty2", "ptmx"];
    let fresh = || {
        let _ = fs::remove_dir_all(&dev);
        fs::create_dir_all(dev.join("pts")).unwrap();
        for file in files {
            fs::write(dev.join(file), "").unwrap();
        }
    };
    fresh();
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    for name in ["pts", "console", "tty1", "tty2"] {
        let end = if name == "pts" { "sub" } else { "file" };
        for target in [out.join(end), Path::new("../../../../outside").join(end)] {
            fresh();
            let _ = fs::remove_dir(dev.join(name));
            let _ = fs::remove_file(dev.join(name));
            symlink(&target, dev.join(name)).unwrap();
            let done = m.lxc("start", &["-n", &c]);
            // A link that is replaced by the real thing is as good as a refusal.
            if done.status == 0 {
                m.lxc("stop", &["-n", &c, "-k"]).ok();
                println!("/dev/{name}: replaced");
            } else {
                let want = format!("/dev/{name}");
                assert!(done.stderr.contains(&want), "no {want} in:\n{}", done.stderr);
            }
            assert_eq!(listing(&out), before, "/dev/{name} as a link");
        }
    }
}

fn linked_entries(m: &Machine) {
    let out = outside(m);
    let before = listing(&out);
    let c = m.container("entries", "");
    let root = root(m, &c);
    symlink(&out, root.join("abs")).unwrap();
    symlink("../../../outside", root.join("rel")).unwrap();
    symlink("/tmp", root.join("inner")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink(out.join("file"), root.join("onfile")).unwrap();
    let base = fs::read_to_string(m.config(&c)).unwrap() + EMPTY;
    let cases = [
        ("tmpfs abs tmpfs rw", "\"/abs\""),
        ("tmpfs abs/sub tmpfs rw", "\"/abs/sub\""),
        ("tmpfs rel/sub tmpfs rw", "\"/rel/sub\""),
        ("tmpfs inner tmpfs rw", "\"/inner\""),
        ("tmpfs dangling tmpfs create=dir", "\"/dangling\""),
        ("tmpfs dangling/x tmpfs create=dir", "\"/dangling/x\""),
        ("tmpfs abs/new tmpfs create=dir", "\"/abs/new\""),
        ("tmpfs rel/new/deep tmpfs create=dir", "\"/rel/new/deep\""),
        ("tmpfs inner/new tmpfs create=dir", "\"/inner/new\""),
        ("/etc/passwd abs/new none bind,create=file", "\"/abs/new\""),
        ("/etc/passwd rel/new/deep none bind,create=file", "\"/rel/new/deep\""),
        ("/etc/passwd dangling none bind,create=file", "\"/dangling\""),
        ("/etc/passwd onfile none bind", "\"/onfile\""),
        ("/etc/passwd onfile none bind,create=file", "\"/onfile\""),
        ("tmpfs ../outside/sub tmpfs rw", "../outside/sub"),
        ("tmpfs tmp/../../../../outside/sub tmpfs rw", "outside/sub"),
        ("tmpfs ../outside/new tmpfs create=dir", "../outside/new"),
        ("tmpfs tmp/../../../../outside/new tmpfs create=dir", "outside/new"),
        ("/etc/passwd tmp/../../../../outside/new none bind,create=file", "outside/new"),
        ("tmpfs proc/1/root/mnt tmpfs rw", "proc/1/root/mnt"),
        ("tmpfs proc/self/cwd/sub tmpfs rw", "proc/self/cwd/sub"),
    ];
    for (entry, needle) in cases {
        let text = format!("{base}{AUTO}lxc.mount.entry = {entry} 0 0\n");
        let line = format!("config:{}", text.lines().count());
        fs::write(m.config(&c), text).unwrap();
        refused(m, &c, &[needle, &line]);
        assert_eq!(listing(&out), before, "{entry}");
        assert!(!root.join("nowhere").exists() && !root.join("tmp/new").exists(), "{entry}");
    }
    fs::write(m.config(&c), format!("{base}lxc.mount.entry = tmpfs mnt tmpfs rw 0 0\n")).unwrap();
    m.start(&c);
}

/// Swaps two names until told to stop; gives back how often.
fn swap_until(stop: &AtomicBool, one: &Path, other: &Path) -> u64 {
    let name = |path: &Path| std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let (one, other) = (name(one), name(other));
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: both are strings that end with NUL and outlive the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_renameat2,
                libc::AT_FDCWD,
                one.as_ptr(),
                libc::AT_FDCWD,
                other.as_ptr(),
                libc::RENAME_EXCHANGE,
            )
        };
        assert_eq!(done, 0, "renameat2: {}", std::io::Error::last_os_error());
        count += 1;
    }
    count
}

/// Starts while somebody swaps a directory of the rootfs with a link to the outside.
fn races(m: &Machine, starts: u32) {
    let out = outside(m);
    let before = listing(&out);
    let hook = m.dir.join("hook");
    let caught = m.dir.join("caught");
    // Nothing may be mounted on the outside in the container's namespace either.
    write_program(
        &hook,
        &format!(
            "#!/bin/sh\ngrep -F {} /proc/self/mountinfo >> {}\n:\n",
            out.display(),
            caught.display()
        ),
    );
    let c = m.container(
        "race",
        &format!(
            "{EMPTY}lxc.mount.entry = tmpfs race/made/dir tmpfs create=dir 0 0\n\
             lxc.mount.entry = /etc/passwd race/made/file none bind,create=file 0 0\n\
             lxc.mount.entry = tmpfs race/sub tmpfs rw 0 0\n\
             lxc.mount.entry = /etc/passwd race/file none bind 0 0\n\
             lxc.hook.mount = {}\nlxc.init.cmd = /bin/true\n",
            hook.display()
        ),
    );
    let root = root(m, &c);
    fs::create_dir_all(root.join("race/sub")).unwrap();
    fs::write(root.join("race/file"), "").unwrap();
    symlink(&out, root.join("link")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut good, mut bad) = (0, 0);
    let swaps = std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap_until(&stop, &root.join("race"), &root.join("link")));
        for _ in 0..starts {
            let done = m.lxc("start", &["-n", &c, "-F"]);
            match done.status {
                0 => good += 1,
                _ => bad += 1,
            }
            if listing(&out) != before || caught.metadata().is_ok_and(|f| f.len() > 0) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap()
    });
    println!("{swaps} swaps during {good} good and {bad} refused starts");
    assert_eq!(listing(&out), before);
    assert_eq!(fs::read_to_string(&caught).unwrap_or_default(), "");
    assert!(swaps > 100, "only {swaps} swaps");
}

#[test]
fn links_in_the_place_of_directories_are_refused() {
    linked_directories(&Machine::new());
}

#[test]
fn links_in_the_place_of_terminals_are_refused() {
    linked_terminals(&Machine::new());
}

#[test]
fn links_in_mount_targets_are_refused() {
    linked_entries(&Machine::new());
}

#[test]
fn a_racing_renamer_gets_nothing_made_outside() {
    races(&Machine::new(), 60);
}

#[test]
fn links_are_refused_without_openat2() {
    let m = Machine::without(&["openat2"]);
    linked_directories(&m);
    linked_terminals(&m);
    linked_entries(&m);
}

#[test]
fn a_racing_renamer_gets_nothing_without_openat2() {
    races(&Machine::without(&["openat2"]), 60);
}

#[test]
fn links_are_refused_without_the_new_mount_calls() {
    let missing = ["openat2", "fsopen", "fsmount", "move_mount", "open_tree", "mount_setattr"];
    let m = Machine::without(&missing);
    linked_directories(&m);
    linked_terminals(&m);
    linked_entries(&m);
    races(&m, 30);
}

/// The open descriptors that `ls -l` of /proc/self/fd shows, but for the directory it reads.
fn descriptors(listed: &str) -> Vec<String> {
    let open = listed.lines().filter(|line| line.contains(" -> "));
    open.filter(|line| !line.contains("/fd") || line.contains("/dev/fd"))
        .map(|line| line.rsplit_once(' ').map_or(line, |_| line).to_owned())
        .map(|line| {
            let at = line.find(" -> ").unwrap();
            let number = line[..at].rsplit(' ').next().unwrap();
            format!("{number}{}", &line[at..])
        })
        .collect()
}

#[track_caller]
fn only_standard(who: &str, listed: &str) {
    let open = descriptors(listed);
    let numbers: Vec<&str> = open.iter().map(|d| d.split(' ').next().unwrap()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{who}: {open:#?}\n{listed}");
}

#[test]
fn no_descriptor_reaches_init_attach_or_hooks() {
    let m = Machine::new();
    let host_hook = m.dir.join("hook");
    let log = m.dir.join("seen");
    fs::create_dir(&log).unwrap();
    write_program(
        &host_hook,
        &format!("#!/bin/sh\nls -l /proc/self/fd > {}/$LXC_HOOK_TYPE\n", log.display()),
    );
    let kinds = ["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop"];
    let mut lines = format!(
        "{EMPTY}{AUTO}lxc.hook.version = 1\nlxc.tty.max = 2\nlxc.hook.start = /bin/hook\n\
         lxc.mount.entry = tmpfs mnt tmpfs rw 0 0\n"
    );
    for kind in kinds {
        lines.push_str(&format!("lxc.hook.{kind} = {}\n", host_hook.display()));
    }
    let c = m.container("fds", &lines);
    let root = root(&m, &c);
    write_program(&root.join("bin/hook"), "#!/bin/sh\nls -l /proc/self/fd > /tmp/start-hook\n");
    write_program(
        &root.join("bin/first"),
        "#!/bin/sh\nls -l /proc/self/fd > /tmp/init\nls -l /proc/1/fd > /tmp/one\nexec sleep 1000\n",
    );
    fs::write(
        m.config(&c),
        fs::read_to_string(m.config(&c)).unwrap() + "lxc.init.cmd = /bin/first\n",
    )
    .unwrap();
    // The caller has more open than its standard streams, of the host's root directory above all.
    let mut command = m.command("sh");
    command.arg("-c").arg("exec 7</ 9<>/dev/null; exec \"$@\"").arg("sh").arg(BINARY);
    command.args(["lxc-start", "-P"]).arg(m.lxcpath()).args(["-n", &c]);
    run(command).ok();
    crate::machine::eventually(10, "init's list", || root.join("tmp/one").exists().then_some(()));
    let leaking = |script: &str| -> Outcome {
        let mut command = m.command("sh");
        command.arg("-c").arg("exec 7</ 9<>/dev/null; exec \"$@\"").arg("sh").arg(BINARY);
        command.args(["lxc-attach", "-P"]).arg(m.lxcpath());
        command.args(["-n", &c, "--", "/bin/sh", "-c", script]);
        run(command)
    };
    only_standard("attach", &leaking("ls -l /proc/self/fd").ok());
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    for what in ["init", "start-hook"] {
        only_standard(what, &fs::read_to_string(root.join("tmp").join(what)).unwrap());
    }
    for kind in kinds {
        only_standard(kind, &fs::read_to_string(log.join(kind)).unwrap());
    }
}

fn sum(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// What a container does to the file behind /proc/PID/exe of a process of ours: keep it open, and
/// write to it when the process has gone. Prints `hacked` if it could.
const OVERWRITE: &str = "for p in /proc/[0-9]*; do (\n\
    exec 3<$p/exe\n\
    n=$(readlink /proc/self/fd/3)\n\
    case $n in */busybox|'') exit;; esac\n\
    echo seen $n\n\
    (echo hack > $p/exe) && echo hacked $n\n\
    (echo hack > /proc/self/fd/3) && echo hacked $n\n\
    ) done 2>/dev/null\n";

#[test]
fn the_binary_cannot_be_written_through_proc_self_exe() {
    let m = Machine::new();
    let own = m.dir.join("lxcbox");
    fs::copy(BINARY, &own).unwrap();
    let before = sum(&own);
    let lines = format!("{EMPTY}lxc.mount.auto = proc:rw\n{}", libraries());
    let c = m.container("exe", &lines);
    let root = root(&m, &c);
    write_program(&root.join("bin/evil"), "#!/proc/self/exe\n");
    write_program(&root.join("bin/hack"), &format!("#!/bin/sh\n{OVERWRITE}"));
    let tool = |tool: &str, args: &[&str]| {
        let mut command = m.command(&own);
        command.arg(format!("lxc-{tool}")).arg("-P").arg(m.lxcpath()).args(args);
        command
    };
    // As init, in the foreground and in the background.
    run(tool("start", &["-n", &c, "-F", "-s", "lxc.init.cmd=/bin/evil"]));
    run(tool("start", &["-n", &c, "-s", "lxc.init.cmd=/bin/evil"]));
    assert!(sum(&own) == before);
    let _ = m.settle();
    // As the command of an attach, while somebody inside waits for the process to show up.
    run(tool("start", &["-n", &c])).ok();
    let hack = "while ! [ -e /stop ]; do /bin/hack; done > /hacked";
    let mut hacker = tool("attach", &["-n", &c, "--", "/bin/sh", "-c", hack]);
    let mut hacker = hacker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..20 {
        let done = run(tool("attach", &["-n", &c, "--", "/bin/evil"]));
        assert_ne!(done.status, 0);
        run(tool("attach", &["-n", &c, "--", "/bin/true"])).ok();
    }
    fs::write(root.join("stop"), "").unwrap();
    hacker.wait().unwrap();
    let seen = fs::read_to_string(root.join("hacked")).unwrap();
    println!("{} looks at another program", seen.lines().count());
    assert!(!seen.contains("hacked"), "{seen}");
    assert!(sum(&own) == before);
    run(tool("stop", &["-n", &c, "-k"])).ok();
    // As init itself, for lxc-execute.
    let done = run(tool("execute", &["-n", &c, "--", "/bin/hack"]));
    assert!(!done.stdout.contains("hacked"), "{done:?}");
    let direct = "(echo > /proc/1/exe) 2>&1; readlink /proc/1/exe";
    let done = run(tool("execute", &["-n", &c, "--", "/bin/sh", "-c", direct]));
    assert!(done.stdout.contains("can't create"), "{done:?}");
    assert!(sum(&own) == before);
}

/// A mount so that a program of the host can run inside, with its libraries.
fn with_program(program: &str, name: &str) -> String {
    let entry = format!("lxc.mount.entry = {program} bin/{name} none bind,ro,create=file 0 0\n");
    entry + &libraries()
}

/// Types `typed` and a newline into every descriptor that is a terminal, by TIOCSTI.
const TYPER: &str = "for my $h (*STDIN, *STDOUT, *STDERR, do { open my $t, '+<', '/dev/tty'; $t }) \
    { next unless defined fileno $h; ioctl($h, 0x5412, $_) for split(//, \"typed\\n\"); } \
    if (@ARGV) { open my $f, '>>', $ARGV[0]; print $f '.' }";

#[test]
fn nothing_can_be_typed_into_the_callers_terminal() {
    let m = Machine::new();
    let lines = format!("{EMPTY}{}", with_program("/usr/bin/perl", "perl"));
    let c = m.container("sti", &lines);
    let root = root(&m, &c);
    fs::write(root.join("typer.pl"), TYPER).unwrap();
    // Runs a command in a terminal of its own, and then reads what was typed there.
    let in_terminal = |line: &str| -> String {
        let script = format!("bash -c '{line}; IFS= read -r -t 2 x; echo got:$x:'");
        // Its standard input is open and says nothing: an end would be typed as ^D.
        let mut command = m.command("sh");
        command.arg("-c").arg("rm -f $1; mkfifo $1; exec script -qec \"$2\" /dev/null <>$1");
        command.arg("sh").arg(m.dir.join("keys")).arg(script);
        run(command).stdout
    };
    let host = in_terminal(&format!("perl {}", root.join("typer.pl").display()));
    if !host.contains("got:typed:") {
        println!("skipped: no TIOCSTI here even for one's own terminal: {host}");
        return;
    }
    let lxc = |tool: &str| format!("{BINARY} lxc-{tool} -P {} -n {c}", m.lxcpath().display());
    m.start(&c);
    for redirect in ["", "</dev/null", ">/dev/null", "</dev/null >/dev/null", "2>/dev/null"] {
        let line = format!("{} -- perl /typer.pl /ran {redirect}", lxc("attach"));
        let said = in_terminal(&line);
        assert!(said.contains("got:") && !said.contains("got:typed"), "attach {redirect}: {said}");
    }
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let line = format!("{} -F -s \"lxc.init.cmd=/bin/perl /typer.pl /ran\"", lxc("start"));
    let said = in_terminal(&line);
    assert!(said.contains("got:") && !said.contains("got:typed"), "console: {said}");
    assert_eq!(fs::read_to_string(root.join("ran")).unwrap(), "......");
}

#[test]
fn attach_does_not_believe_the_containers_proc() {
    let m = Machine::new();
    let policy = m.dir.join("policy");
    fs::write(&policy, "2\ndenylist\nmkdir errno 77\nmkdirat errno 77\n").unwrap();
    let lines = format!(
        "{EMPTY}lxc.mount.auto = proc:rw\nlxc.cap.drop = sys_module sys_boot\n\
         lxc.seccomp.profile = {}\n",
        policy.display()
    );
    let c = m.container("fakeproc", &lines);
    let root = root(&m, &c);
    fs::create_dir_all(root.join("real")).unwrap();
    let confined = "/bin/mount -t proc proc /real && grep -E '^(CapBnd|Seccomp):' \
                    /real/self/status; umount /real; mkdir /x";
    m.start(&c);
    let honest = m.inside(&c, confined);
    assert!(honest.stdout.contains("Seccomp:\t2"), "{honest:?}");
    assert!(!root.join("x").exists());
    // A copy of what matters, as files that can be written, made on the host beforehand.
    let fake = root.join("fake");
    let init = m.init_pid(&c);
    for place in ["self", "1", "thread-self", &init.to_string(), "2", "3", "4", "5", "6", "7", "8"]
    {
        let dir = fake.join(place);
        fs::create_dir_all(dir.join("attr/apparmor")).unwrap();
        fs::create_dir_all(dir.join("ns")).unwrap();
        for file in ["attr/exec", "attr/current", "attr/apparmor/exec", "uid_map", "gid_map"] {
            fs::write(dir.join(file), "").unwrap();
        }
        let text = "Name:\tx\nCapBnd:\t000001ffffffffff\nSeccomp:\t0\nNoNewPrivs:\t0\n";
        fs::write(dir.join("status"), text).unwrap();
    }
    let before = listing(&fake);
    m.inside(&c, "mount --bind /fake /proc").ok();
    let done = m.inside(&c, confined);
    assert_eq!(listing(&fake), before, "something was written to the false /proc");
    if done.status == 0 || done.stdout.contains("CapBnd") {
        assert_eq!(done.stdout, honest.stdout, "{done:?}");
    } else {
        println!("attach refuses: {}", done.stderr);
        assert!(done.stderr.starts_with("lxc-attach: "), "{done:?}");
    }
    assert!(!root.join("x").exists());
}

#[test]
fn the_monitor_takes_no_orders_from_inside() {
    let m = Machine::new();
    let lxcpath = m.lxcpath();
    let lines = format!(
        "lxc.net.0.type = none\n{}lxc.mount.entry = {} {} none rbind,create=dir 0 0\n{AUTO}",
        with_program(BINARY, "lxcbox"),
        lxcpath.display(),
        lxcpath.strip_prefix("/").unwrap().display(),
    );
    let c = m.container("orders", &lines);
    m.start(&c);
    let init = m.init_pid(&c);
    // The same network namespace: the abstract socket is in sight.
    assert_ne!(m.inside(&c, "grep -c /command /proc/net/unix").ok().trim(), "0");
    let path = lxcpath.display();
    for words in [
        "info -n NAME -p -H",
        "stop -n NAME -k",
        "freeze -n NAME",
        "attach -n NAME -- id",
        "console -n NAME -t 0",
        "info -n NAME -c lxc.rootfs.path",
    ] {
        let words = words.replacen(' ', &format!(" -P {path} "), 1).replace("NAME", &c);
        let done = m.inside(&c, &format!("exec lxcbox lxc-{words}"));
        println!("{words}: {} {}{}", done.status, done.stdout, done.stderr);
        assert_ne!(done.status, 0, "{done:?}");
        assert!(!done.stdout.contains(&init.to_string()), "{done:?}");
    }
    assert_eq!(m.state(&c), "RUNNING");
    assert_eq!(m.init_pid(&c), init);
}
