//! lxc-attach: what the attached process is, has and may do; terminals; and containers that try
//! to get at the host through it.

use crate::machine::{BINARY, Machine, Outcome, eventually, run};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const QUIET: &str = "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:ro\n";
/// A devpts of the container's own; without it the host's gives the terminals.
const PTYS: &str = "lxc.pty.max = 10\n";
const MAPPED: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";

/// A privileged and an idmapped container, started.
fn both(m: &Machine, lines: &str) -> [String; 2] {
    ["priv", "mapped"].map(|kind| {
        let ids = if kind == "mapped" { MAPPED } else { "" };
        let c = m.container(kind, &format!("{QUIET}{ids}{lines}"));
        if kind == "mapped" {
            m.sh(&format!("chown -R 100000:100000 {}", root(m, &c).display())).ok();
        }
        m.start(&c);
        c
    })
}

fn root(m: &Machine, name: &str) -> PathBuf {
    m.lxcpath().join(name).join("rootfs")
}

fn attach(m: &Machine, name: &str, args: &[&str]) -> Outcome {
    m.lxc("attach", &[&["-n", name], args].concat())
}

/// Runs a command with input; gives back its status and the bytes of its output.
fn fed(mut command: Command, input: &[u8]) -> (i32, Vec<u8>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("nsenter");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("wait");
    let _ = writer.join();
    (status(output.status), output.stdout)
}

fn status(how: std::process::ExitStatus) -> i32 {
    how.code().unwrap_or(128 + how.signal().unwrap_or(0))
}

/// A terminal of the host with a session in it.
struct Terminal {
    master: File,
    slave: PathBuf,
}

impl Terminal {
    fn new() -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("a terminal");
        let size = rustix::termios::Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).expect("a terminal");
        Self { master: File::from(master), slave: PathBuf::from(name.into_string().expect("name")) }
    }

    fn open(&self) -> File {
        File::options().read(true).write(true).open(&self.slave).expect("the terminal")
    }

    /// Runs `command` in a session that this terminal controls, with those of its standard
    /// descriptors on it that `on` names. Types `typed` when `marker` has been shown.
    fn run(self, command: &Command, on: [bool; 3], marker: &str, typed: &[u8]) -> (i32, String) {
        let mut session = Command::new("setsid");
        session.args(["-c", "-w"]).arg(command.get_program()).args(command.get_args());
        let stream = |yes: bool| if yes { Stdio::from(self.open()) } else { Stdio::null() };
        // setsid -c takes standard input for the controlling terminal.
        if on[0] {
            session.stdin(stream(true));
        } else {
            session = Command::new("setsid");
            session.args(["-c", "-w", "sh", "-c", "exec \"$@\" </dev/null", "sh"]);
            session.arg(command.get_program()).args(command.get_args()).stdin(stream(true));
        }
        session.stdout(stream(on[1])).stderr(stream(on[2]));
        // Keeps the terminal from hanging up before its last output is read.
        let keep = self.open();
        let mut child = session.spawn().expect("setsid (util-linux)");
        drop(session);
        let mut master = self.master;
        let mut typing = master.try_clone().expect("dup");
        let (sender, shown) = std::sync::mpsc::channel::<Vec<u8>>();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = master.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut output = Vec::new();
        let mut typed = (!typed.is_empty()).then_some(typed);
        let how = eventually(60, "the command on a terminal", || {
            output.extend(shown.try_iter().flatten());
            if String::from_utf8_lossy(&output).contains(marker) {
                if let Some(keys) = typed.take() {
                    typing.write_all(keys).expect("typing");
                }
            }
            child.try_wait().expect("wait")
        });
        drop(keep);
        let _ = reader.join();
        output.extend(shown.try_iter().flatten());
        (status(how), String::from_utf8_lossy(&output).into_owned())
    }
}

const ALL: [bool; 3] = [true; 3];

fn shell(m: &Machine, name: &str, script: &str) -> Command {
    m.lxc_command("attach", &["-n", name, "--", "/bin/sh", "-c", script])
}

#[test]
fn the_exit_status_is_the_commands() {
    let m = Machine::new();
    for c in both(&m, "") {
        m.inside(&c, "exit 7").fails(7);
        m.inside(&c, "kill -9 $$").fails(137);
        m.inside(&c, "kill -TERM $$").fails(143);
        let text = attach(&m, &c, &["--", "nosuch"]).fails(127);
        assert!(text.contains("\"nosuch\"") && text.contains("ENOENT"), "{text}");
        attach(&m, &c, &["--", "/etc/passwd"]).fails(126);
        attach(&m, &c, &["--", "/etc"]).fails(126);
        // execvp's rule: a file that is no program is a script.
        m.inside(&c, "echo 'exit 9' > /tmp/plain; chmod 755 /tmp/plain").ok();
        attach(&m, &c, &["--", "/tmp/plain"]).fails(9);
    }
    let stopped = m.container("stopped", QUIET);
    let text = attach(&m, &stopped, &["--", "true"]).fails(1);
    assert!(text.contains("not running"), "{text}");
}

#[test]
fn bytes_pass_unchanged_and_whole() {
    let m = Machine::new();
    let input: Vec<u8> = (0..2_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    for c in both(&m, "") {
        let cat = m.lxc_command("attach", &["-n", &c, "--", "cat"]);
        let (status, output) = fed(cat, &input);
        assert_eq!((status, output == input), (0, true));
        // A login shell that reads its script from a pipe.
        let login = m.lxc_command("attach", &["-n", &c]);
        assert_eq!(fed(login, b"echo $0 $HOME; exit 4\n"), (4, b"-sh /root\n".to_vec()));
    }
}

#[test]
fn nothing_is_open_but_the_standard_descriptors() {
    let m = Machine::new();
    for c in both(&m, "") {
        let line = format!(
            "exec 5</ 7</etc/passwd 9<>/dev/null; exec {BINARY} attach -P {} -n {c} -- \
             sh -c 'cd /proc/self/fd && echo *'",
            m.lxcpath().display()
        );
        // The shell's own descriptor of the directory is gone when echo prints.
        let seen = m.sh(&line).ok();
        assert!(seen.split_whitespace().all(|n| ["0", "1", "2", "3"].contains(&n)), "{seen}");
        let seen = attach(&m, &c, &["--", "ls", "-l", "/proc/self/fd"]).ok();
        assert!(!seen.contains("socket:") && !seen.contains("memfd:"), "{seen}");
    }
}

#[test]
fn ids_are_exact() {
    let m = Machine::new();
    let [privileged, mapped] = both(&m, "");
    for c in [&privileged, &mapped] {
        let ids = "id -u; id -g; grep ^Groups: /proc/self/status";
        let seen = attach(&m, c, &["-u", "1000", "-g", "5", "--", "sh", "-c", ids]).ok();
        assert_eq!(seen.split_whitespace().collect::<Vec<_>>(), ["1000", "5", "Groups:"]);
        for bad in ["0x0", "+0", "-1", "", "1000:", "root", "4294967295", "99999999999"] {
            attach(&m, c, &[&format!("--uid={bad}"), "--", "true"]).fails(1);
        }
        // What the user was given can be opened again by name, although it was made by another.
        let again = "echo out > /proc/self/fd/1; echo err > /dev/fd/2 || echo err >&2";
        let out = attach(&m, c, &["-u", "1000", "--", "sh", "-c", again]);
        assert_eq!((out.status, out.stdout.as_str()), (0, "out\n"), "{}", out.stderr);
    }
    let text = attach(&m, &mapped, &["-u", "70000", "--", "true"]).fails(1);
    assert!(text.contains("setresuid(70000)") && text.contains("lxc.idmap"), "{text}");
}

#[test]
fn confined_as_init_is() {
    let m = Machine::new();
    let policy = m.dir.join("policy");
    fs::write(&policy, "2\ndenylist\nmkdir errno 77\nmkdirat errno 77\n").expect("test directory");
    let lines = format!(
        "lxc.cap.drop = sys_time sys_module\nlxc.no_new_privs = 1\nlxc.prlimit.nofile = 123:456\n\
         lxc.proc.oom_score_adj = 300\nlxc.environment = COLOUR=deep blue\n\
         lxc.seccomp.profile = {}\n",
        policy.display()
    );
    for c in both(&m, &lines) {
        let look = "grep -E '^(CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/$P/status";
        let init = m.inside(&c, &look.replace("$P", "1")).ok();
        assert_eq!(m.inside(&c, &look.replace("$P", "self")).ok(), init);
        assert!(init.contains("Seccomp:\t2") && init.contains("NoNewPrivs:\t1"), "{init}");
        assert!(init.contains("CapInh:\t0000000000000000"), "{init}");
        for user in ["0", "1000"] {
            let script = "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; echo $COLOUR; \
                          mkdir /tmp/never 2>/dev/null || echo denied";
            let seen = attach(&m, &c, &["-u", user, "--", "sh", "-c", script]).ok();
            assert_eq!(seen, "123\n456\n300\ndeep blue\ndenied\n", "user {user}");
        }
        let free = attach(&m, &c, &["-e", "--", "sh", "-c", "mkdir /tmp/made && echo made"]).ok();
        assert_eq!(free, "made\n");
        let seen = attach(&m, &c, &["-eCAP", "--", "grep", "CapBnd", "/proc/self/status"]).ok();
        assert!(!init.contains(seen.trim()), "{seen}");
    }
}

#[test]
fn in_the_containers_cgroups() {
    let m = Machine::new();
    for c in both(&m, "") {
        let seen = m.inside(&c, "cat /proc/self/cgroup").ok();
        // Seen from the container's cgroup namespace: at its top, or in the leaf for attached ones.
        assert!(
            seen.lines().all(|line| line.ends_with(":/") || line.ends_with(":/.lxc")),
            "{seen}"
        );
        let outside = attach(&m, &c, &["-eCGROUP", "--", "cat", "/proc/self/cgroup"]).ok();
        assert_ne!(outside, seen);
    }
}

#[test]
fn the_environment_follows_the_options() {
    let m = Machine::new();
    let [c, _] = both(&m, "lxc.environment = A=config\nlxc.environment = B=config\n");
    let args = ["--clear-env", "--keep-var", "KEPT", "-v", "B=given", "-v", "C=x y", "--", "env"];
    let mut command = m.lxc_command("attach", &["-n", &c]);
    command.args(args).env("KEPT", "1").env("LOST", "2");
    let seen = run(command).ok();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        ["KEPT=1", path, "container=lxc", "A=config", "B=given", "C=x y"]
    );
    let mut command = m.lxc_command("attach", &["-n", &c, "--", "env"]);
    command.env("LEFT", "3");
    assert!(run(command).ok().contains("LEFT=3\n"));
    attach(&m, &c, &["-v", "novalue", "--", "true"]).fails(1);
}

#[test]
fn only_the_namespaces_that_are_named() {
    let m = Machine::new();
    for c in both(&m, "") {
        let own = |kind: &str| m.sh(&format!("readlink /proc/self/ns/{kind}")).ok();
        let links = "readlink /proc/self/ns/mnt; readlink /proc/self/ns/net";
        let seen = attach(&m, &c, &["-s", "NETWORK", "--", "sh", "-c", links]).ok();
        let (mnt, net) = seen.split_once('\n').expect("two lines");
        assert_eq!(mnt, own("mnt").trim());
        assert_ne!(net, own("net"));
        let count = "ls /proc | grep -c '^[0-9]'";
        let all = attach(&m, &c, &["-s", "PID", "--", "sh", "-c", count]).ok();
        let few = attach(&m, &c, &["-s", "PID", "-R", "--", "sh", "-c", count]).ok();
        let number = |text: &str| text.trim().parse::<u32>().expect("a number");
        assert!(number(&few) < 10 && number(&few) < number(&all), "{few} {all}");
        attach(&m, &c, &["-s", "NET|WORK", "--", "true"]).fails(1);
    }
}

#[test]
fn the_working_directory_never_leads_outside() {
    let m = Machine::new();
    let trap = m.dir.join("trap");
    fs::create_dir(&trap).expect("test directory");
    fs::write(trap.join("secret"), "").expect("test directory");
    for c in both(&m, "") {
        let inside = |path: &Path| root(&m, &c).join(path.strip_prefix("/").expect("absolute"));
        let at = |path: &Path| {
            let mut command = m.lxc_command("attach", &["-n", &c]);
            command.args(["--", "sh", "-c", "readlink /proc/self/cwd; ls"]).current_dir(path);
            // The directory is entered inside the machine: one of the host's mount namespace has
            // no path there, and musl's getcwd says so.
            let words: Vec<_> = command.get_args().map(|a| a.to_os_string()).collect();
            let split = words.iter().position(|word| word == "--").expect("nsenter's end") + 1;
            let mut nsenter = Command::new("nsenter");
            nsenter.args(&words[..split]).args(["sh", "-c", "cd \"$0\" && exec \"$@\""]);
            nsenter.arg(path).args(&words[split..]).stdin(Stdio::null());
            run(nsenter).ok()
        };
        assert!(at(Path::new("/etc")).starts_with("/etc\n"));
        assert!(at(&trap).starts_with("/\n"));
        fs::create_dir_all(inside(&m.dir)).expect("rootfs");
        let link = inside(&trap);
        let mut targets: Vec<String> = (3..40).map(|n| format!("/proc/self/fd/{n}")).collect();
        targets.extend(["/proc/self/fd/7/../..".into(), "/proc/1/cwd".into(), "../..".into()]);
        for target in targets {
            symlink(&target, &link).expect("rootfs");
            let seen = at(&trap);
            assert!(seen.starts_with('/') && !seen.contains("secret"), "{target}: {seen}");
            fs::remove_file(&link).expect("rootfs");
        }
    }
}

#[test]
fn no_terminal_of_the_host_is_inside() {
    let m = Machine::new();
    let [own, _] = both(&m, PTYS);
    let [none, mapped] = ["none", "nonemapped"].map(|short| m.container(short, QUIET));
    fs::write(m.config(&mapped), fs::read_to_string(m.config(&mapped)).expect("config") + MAPPED)
        .expect("config");
    m.sh(&format!("chown -R 100000:100000 {}", root(&m, &mapped).display())).ok();
    for c in [&none, &mapped] {
        m.start(c);
    }
    for c in [&own, &none, &mapped] {
        for on in [ALL, [false, true, true], [false, false, true], [true, false, false]] {
            let terminal = Terminal::new();
            let host = fs::metadata(&terminal.slave).expect("terminal");
            let (major, minor) = (rustix::fs::major(host.rdev()), rustix::fs::minor(host.rdev()));
            let host = format!("{} {major:x} {minor:x}", host.dev());
            // Where the results go cannot be a terminal that is looked at.
            let script = "for n in 0 1 2; do stat -L -c '%d %t %T' /proc/self/fd/$n; done \
                          > /tmp/seen; (stat -L -c '%d %t %T' /proc/self/fd/0 < /dev/tty) \
                          2>/dev/null >> /tmp/seen; true";
            let (status, shown) = terminal.run(&shell(&m, c, script), on, "", b"");
            assert_eq!(status, 0, "{on:?}: {shown}");
            let seen = fs::read_to_string(root(&m, c).join("tmp/seen")).expect("rootfs");
            assert_eq!(seen.lines().count(), if on[0] { 4 } else { 3 }, "{on:?}: {seen}");
            assert!(seen.lines().all(|device| device != host), "{on:?}: {seen}");
        }
    }
}

#[test]
fn a_terminal_works_and_loses_nothing() {
    let m = Machine::new();
    for c in both(&m, PTYS) {
        let on_terminal = |script: &str, marker: &str, typed: &[u8]| {
            Terminal::new().run(&shell(&m, &c, script), ALL, marker, typed)
        };
        let (status, shown) = on_terminal("tty; stty size; exit 5", "", b"");
        assert_eq!(status, 5);
        assert!(shown.starts_with("/dev/pts/") && shown.ends_with("\r\n33 101\r\n"), "{shown}");
        // Issue lxc#4546: the last lines of a command that ends at once.
        let script = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done";
        for _ in 0..20 {
            let (status, shown) = on_terminal(script, "", b"");
            assert_eq!((status, shown.lines().count()), (0, 500));
            assert!(shown.ends_with("line 499\r\n"), "{shown}");
        }
        let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done";
        let (status, shown) = on_terminal(script, "ready", b"\x03");
        assert_eq!(status, 3);
        assert!(shown.contains("caught"), "{shown}");
        // What is left behind does not hold the caller up.
        let (status, shown) = on_terminal("sleep 300 & echo gone", "", b"");
        assert_eq!((status, shown.as_str()), (0, "gone\r\n"));
        // Pipes stay pipes although there is a terminal (lxc#3879).
        let mut command = shell(&m, &c, "echo one; echo two");
        let words: Vec<_> = command.get_args().map(|a| a.to_os_string()).collect();
        command = Command::new("sh");
        command.args(["-c", "\"$@\" | od -c", "sh", "nsenter"]).args(words);
        let (_, shown) = Terminal::new().run(&command, ALL, "", b"");
        assert!(!shown.contains("\\r"), "{shown}");
    }
}

#[test]
fn many_at_once_and_a_stop_in_between() {
    let m = Machine::new();
    let c = m.container("crowd", QUIET);
    m.start(&c);
    let ask = |n: usize| {
        let mut command = shell(&m, &c, &format!("echo {n}; exit {}", n % 7));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let own = |n: usize| i32::try_from(n % 7).unwrap();
    let all: Vec<_> = (0..40).map(ask).collect();
    for (n, child) in all.into_iter().enumerate() {
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!((status(done.status), said), (own(n), format!("{n}\n")));
    }
    // Whoever comes while the container ends is told so, also if its command is killed with it.
    let all: Vec<_> = (0..20).map(ask).collect();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    for (n, child) in all.into_iter().enumerate() {
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        match status(done.status) {
            137 => assert!(said.contains(&format!("lxc-attach: {c}: {KILLED}")), "{said}"),
            1 if !done.stderr.is_empty() => assert_eq!(said.matches("lxc-attach: ").count(), 1),
            how => assert_eq!(how, own(n), "{said}"),
        }
        assert!(!said.contains("Signaled"), "{said}");
    }
}

const KILLED: &str = "the command was killed by SIGKILL: the container was stopped meanwhile";

/// The exit status of a command that was killed does not tell by whom, nor that it never ran.
#[test]
fn who_is_killed_with_the_container_is_told_so() {
    let m = Machine::new();
    let c = m.container("ends", QUIET);
    m.start(&c);
    let mut command = shell(&m, &c, "echo here; sleep 1000");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut here = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut here).unwrap();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!((status(done.status), said), (137, format!("lxc-attach: {c}: {KILLED}\n")));
    // By somebody else's hand, before it was the command. The container is as it was.
    m.start(&c);
    for call in ["setns", "setsid"] {
        let mut command = m.command("strace");
        let inject = format!("inject={call}:signal=KILL");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, crate::machine::BINARY]);
        command.arg("lxc-attach").arg("-P").arg(m.lxcpath()).args(["-n", &c, "--", "true"]);
        let said = crate::machine::run(command).fails(1);
        let word = "the attached process was killed by SIGKILL before it ran the command";
        assert_eq!(said, format!("lxc-attach: {c}: {word}\n"), "{call}");
    }
    assert_eq!(m.inside(&c, "echo fine").ok(), "fine\n");
}

#[test]
fn a_fake_devpts_gives_no_terminal() {
    let m = Machine::new();
    let [c, _] = both(&m, PTYS);
    m.inside(&c, "mount -t tmpfs x /dev/pts && ln -s /dev/null /dev/pts/ptmx").ok();
    let (status, shown) = Terminal::new().run(&shell(&m, &c, "stty size"), ALL, "", b"");
    assert_eq!((status, shown.as_str()), (0, "33 101\r\n"));
    m.inside(&c, "rm /dev/pts/ptmx; mkfifo /dev/pts/ptmx 2>/dev/null || mknod /dev/pts/ptmx p")
        .ok();
    let (status, _) = Terminal::new().run(&shell(&m, &c, "stty size"), ALL, "", b"");
    assert_eq!(status, 0);
    // Over-mounted /proc: what confines was read before, through the host's.
    m.inside(&c, "mount -t tmpfs x /proc").ok();
    m.inside(&c, "true").ok();
}

#[test]
fn signals_reach_the_command() {
    let m = Machine::new();
    let [c, _] = both(&m, "");
    for (signal, number) in [("TERM", 1), ("INT", 2), ("USR1", 3), ("HUP", 4)] {
        let script = format!(
            "trap 'exit {number}' {signal}; echo up > /tmp/up; while :; do sleep 0.1; done"
        );
        // With a terminal a HUP would be about that.
        let mut shell = shell(&m, &c, &script);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = shell.spawn().expect("nsenter");
        let up = root(&m, &c).join("tmp/up");
        eventually(20, "the command", || up.exists().then_some(()));
        run({
            let mut kill = Command::new("kill");
            kill.args([&format!("-{signal}"), &child.id().to_string()]);
            kill
        })
        .ok();
        assert_eq!(status(child.wait().expect("wait")), number, "{signal}");
        fs::remove_file(up).expect("rootfs");
    }
}

/// CVE-2019-5736: a container's root writes whatever runs in it for a moment.
#[test]
fn our_binary_cannot_be_written_from_inside() {
    let m = Machine::new();
    let copy = m.dir.join("lxcbox");
    fs::copy(BINARY, &copy).expect("test directory");
    let before = fs::read(&copy).expect("test directory");
    let [same, mapped] = both(&m, "");
    // A root file system that has nothing to do with the file system of our binary.
    let other = m.container("other", QUIET);
    let tmpfs = m.dir.join("tmpfs");
    fs::create_dir(&tmpfs).expect("test directory");
    m.sh(&format!(
        "mount -t tmpfs x {0} && cp -a {1} {0}/",
        tmpfs.display(),
        root(&m, &other).display()
    ))
    .ok();
    let config = fs::read_to_string(m.config(&other)).expect("config");
    let moved = format!("dir:{}/rootfs", tmpfs.display());
    let config = config.replace(&format!("dir:{}", root(&m, &other).display()), &moved);
    fs::write(m.config(&other), config).expect("config");
    m.start(&other);
    for c in [&same, &mapped, &other] {
        let attack = "echo '#!/proc/self/exe' > /tmp/self; chmod 755 /tmp/self; \
                      echo > /tmp/on; while [ -e /tmp/on ]; do for p in /proc/[1-9]*; do \
                      case $(readlink $p/exe) in */busybox) ;; *) echo x 2>/dev/null > $p/exe;; \
                      esac; done; done";
        let mut attacker = shell(&m, c, attack);
        let mut attacker = attacker.stderr(Stdio::null()).spawn().expect("nsenter");
        eventually(20, "the attacker", || {
            (m.inside(c, "test -e /tmp/on").status == 0).then_some(())
        });
        for program in ["/tmp/self", "/proc/self/exe", "/bin/true"].iter().cycle().take(60) {
            let mut command = m.command(&copy);
            command.arg("attach").arg("-P").arg(m.lxcpath()).args(["-n", c, "--", program]);
            run(command);
        }
        m.inside(c, "rm /tmp/on").ok();
        let _ = attacker.wait();
        assert!(fs::read(&copy).expect("test directory") == before, "{c} wrote our binary");
        let mode = fs::metadata(&copy).expect("test directory").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
    m.lxc("stop", &["-k", "-n", &other]).ok();
    m.sh(&format!("umount {}", tmpfs.display())).ok();
}

/// Debian's tool on our containers, if it is there.
#[test]
fn lxcs_own_attach_enters_our_containers() {
    let m = Machine::new();
    if !Path::new("/usr/bin/lxc-attach").exists() {
        println!("skipped: Debian's lxc is not installed");
        return;
    }
    for c in both(&m, "") {
        let script = "id -u; cat /proc/self/cgroup; grep CapBnd /proc/self/status";
        let mut command = m.command("/usr/bin/lxc-attach");
        command.arg("-P").arg(m.lxcpath()).args(["-n", &c, "--", "sh", "-c", script]);
        assert_eq!(run(command).ok(), m.inside(&c, script).ok());
    }
}
