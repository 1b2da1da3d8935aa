//! Tools that watch: lxc-monitor with its daemon beside Debian's, and lxc-top.

use crate::console::Session;
use crate::machine::{BINARY, Machine, eventually, run};
use crate::protocol::without_lxc;
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};

const EMPTY: &str = "lxc.net.0.type = empty\n";

/// An lxc-monitor that writes to a file.
struct Monitor {
    child: Child,
    file: PathBuf,
}

impl Monitor {
    /// With `program` as lxc-monitor; comes back when the machine has `clients` connections to
    /// lxc-monitord.
    fn start(m: &Machine, program: &[&str], args: &[&str], clients: usize) -> Self {
        let file = m.dir.join(format!("monitor.{clients}"));
        let mut command = m.command(program[0]);
        command.args(&program[1..]).arg("-P").arg(m.lxcpath()).args(args);
        command.stdout(fs::File::create(&file).unwrap());
        let child = command.spawn().unwrap();
        // State 03 is connected, and the socket's name is the daemon's.
        let count = format!("grep -c ' 03 .*@lxc/.*{}$' /proc/net/unix", m.lxcpath().display());
        eventually(15, "the connection to lxc-monitord", || {
            (m.sh(&count).stdout.trim() == clients.to_string()).then_some(())
        });
        Self { child, file }
    }

    /// Waits until exactly this was told.
    #[track_caller]
    fn told(&self, wanted: &[String]) {
        let wanted = wanted.concat();
        let mut seen = String::new();
        for _ in 0..500 {
            seen = fs::read_to_string(&self.file).unwrap();
            if seen == wanted {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("told:\n{seen}wanted:\n{wanted}");
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const OURS: [&str; 2] = [BINARY, "lxc-monitor"];
const THEIRS: [&str; 1] = ["/usr/bin/lxc-monitor"];

fn life(name: &str) -> Vec<String> {
    let state = |state: &str| format!("'{name}' changed state to [{state}]\n");
    let mut lines: Vec<String> =
        ["STARTING", "RUNNING", "FREEZING", "FROZEN", "THAWED", "RUNNING"].map(state).into();
    lines.push(format!("'{name}' exited with status [0]\n"));
    lines.extend(["STOPPING", "STOPPED"].map(state));
    lines
}

fn live(m: &Machine, name: &str) {
    m.start(name);
    m.lxc("freeze", &["-n", name]).ok();
    m.lxc("unfreeze", &["-n", name]).ok();
    m.lxc("stop", &["-n", name, "-k"]).ok();
}

#[test]
fn lxc_monitor_tells_of_the_containers_that_match() {
    let m = Machine::new();
    let (a, b) = (m.container("a", EMPTY), m.container("b", EMPTY));
    m.lxc("monitor", &["-Q"]).fails(1);
    let all = Monitor::start(&m, &OURS, &[], 1);
    // Anchored: only one of the two names is the whole of it.
    let one = Monitor::start(&m, &OURS, &["-n", &format!(".*-x|{a}")], 2);
    live(&m, &a);
    live(&m, &b);
    all.told(&[life(&a), life(&b)].concat());
    one.told(&life(&a));
    // A client that does not read is let go; it keeps nobody from hearing.
    m.sh(&format!("kill -STOP {}", one.child.id())).ok();
    live(&m, &a);
    all.told(&[life(&a), life(&b), life(&a)].concat());
    m.sh(&format!("kill -CONT {}", one.child.id())).ok();
    one.told(&[life(&a), life(&a)].concat());
    m.lxc("monitor", &["-Q"]).ok();
    for mut monitor in [all, one] {
        let end = eventually(10, "lxc-monitor's end", || monitor.child.try_wait().unwrap());
        assert_eq!(end.code(), Some(1));
    }
    let fifo = format!("test -e /run/lxc{}/monitor-fifo", m.lxcpath().display());
    m.sh(&fifo).fails(1);
    // Several paths, one of which is another's.
    let other = m.dir.join("other");
    fs::create_dir(&other).unwrap();
    let many = Monitor::start(&m, &OURS, &["-P", other.to_str().unwrap()], 1);
    live(&m, &b);
    many.told(&life(&b));
    m.lxc("monitor", &["-Q", "-P", other.to_str().unwrap()]).ok();
    let says = m.lxc("monitor", &["-n", "["]).fails(1);
    assert!(says.contains("is not closed"), "{says}");
}

#[test]
fn a_stopped_lxc_monitord_keeps_nobody_waiting() {
    let m = Machine::new();
    let monitor = Monitor::start(&m, &OURS, &[], 1);
    let path = m.lxcpath().display().to_string();
    let pid = m.sh(&format!("pgrep -f '^lxc-monitord {path}'")).ok().trim().to_owned();
    m.sh(&format!("kill -STOP {pid}")).ok();
    // It has to run once more to stop.
    let stopped = format!("grep -q '^State:.T' /proc/{pid}/status");
    eventually(10, "lxc-monitord to stop", || (m.sh(&stopped).status == 0).then_some(()));
    for args in [&[][..], &["-Q"]] {
        let says = m.lxc("monitor", args).fails(1);
        assert!(says.contains(&format!("hint: kill -CONT {pid}")), "{says}");
    }
    // Nor do containers' monitors wait for it.
    let c = m.container("c", EMPTY);
    live(&m, &c);
    m.sh(&format!("kill -CONT {pid}")).ok();
    monitor.told(&life(&c));
    m.lxc("monitor", &["-Q"]).ok();
}

#[test]
fn somebody_elses_socket_is_not_believed() {
    let m = Machine::new();
    // Its name is that of the real one, which is asked for first.
    m.lxc("monitor", &["-Q"]).fails(1);
    let c = m.container("c", EMPTY);
    let real = Monitor::start(&m, &OURS, &["-n", &c], 1);
    let path = m.lxcpath().display().to_string();
    let find = format!("sed -n 's|.* \\(@lxc/[0-9a-f]*/{path}\\)$|\\1|p' /proc/net/unix | head -1");
    let name = m.sh(&find).ok().trim().to_owned();
    assert!(name.starts_with("@lxc/"), "{name:?}");
    m.lxc("monitor", &["-Q"]).ok();
    drop(real);
    let script = "import os,socket,sys; os.setgid(65534); os.setuid(65534); \
                  s = socket.socket(socket.AF_UNIX); s.bind('\\0' + sys.argv[1][1:]); s.listen(); \
                  print(flush=True); sys.stdin.read()";
    let mut squatter = m.command("python3");
    squatter.args(["-c", script, &name]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut squatter = squatter.spawn().unwrap();
    let mut ready = [0];
    squatter.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    for args in [&[][..], &["-Q"]] {
        let says = m.lxc("monitor", args).fails(1);
        assert!(says.contains("of uid 65534"), "{says}");
    }
    drop(squatter.stdin.take());
    squatter.wait().unwrap();
}

#[test]
fn lxc_monitord_is_started_as_lxc_starts_its_own() {
    let m = Machine::new();
    let path = m.lxcpath().display().to_string();
    let fifo = format!("/run/lxc{path}/monitor-fifo");
    let script = format!(
        "{BINARY} lxc-monitord {path} 1 & pid=$!; wait_for() {{ until $1; do sleep 0.02; \
         done; }}; wait_for 'test -p {fifo}'; \
         {BINARY} lxc-monitord {path} 1; echo second $?; kill $pid; wait $pid; echo $?; \
         test -e {fifo} || echo gone"
    );
    let said = m.sh(&script).ok();
    assert!(said.ends_with("second 1\n0\ngone\n") && said.starts_with('S'), "{said:?}");
    let bad = |args: &str| m.sh(&format!("{BINARY} lxc-monitord {args}")).fails(1);
    assert!(bad("").contains("LXCPATH"), "no words");
    assert!(bad(&format!("{path} 77")).contains("PIPEFD is not open"));
    assert!(bad(&format!("--daemon {path} 1")).contains("--daemon"));
}

#[test]
fn debians_monitor_and_ours_share_one_daemon() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("c", EMPTY);
    for [first, second] in [[&OURS[..], &THEIRS[..]], [&THEIRS[..], &OURS[..]]] {
        let one = Monitor::start(&m, first, &["-n", &c], 1);
        let two = Monitor::start(&m, second, &["-n", &c], 2);
        live(&m, &c);
        one.told(&life(&c));
        two.told(&life(&c));
        let mut quit = m.command(second[0]);
        quit.args(&second[1..]).arg("-P").arg(m.lxcpath()).arg("-Q");
        run(quit).ok();
        let fifo = format!("/run/lxc{}/monitor-fifo", m.lxcpath().display());
        eventually(10, "the daemon's end", || {
            (m.sh(&format!("test -e {fifo}")).status == 1).then_some(())
        });
    }
}

/// The rows of one look, by name.
fn rows(m: &Machine, args: &[&str]) -> Vec<String> {
    let out = m.lxc("top", &[&["-b", "--once"], args].concat()).ok();
    let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
    assert!(lines.remove(0).starts_with("time_ms,container,cpu_nanos,cpu_sys_userhz,"), "{out}");
    lines.iter().map(|line| line.split_once(',').unwrap().1.to_owned()).collect()
}

#[test]
fn lxc_top_has_a_line_for_each_that_runs() {
    let m = Machine::new();
    let [a, b] = ["a", "b"].map(|short| m.container(short, EMPTY));
    assert!(rows(&m, &[]).is_empty());
    m.start(&a);
    m.start(&b);
    m.inside(&b, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").ok();
    let names = |args: &[&str]| {
        let name = |row: &String| row.split(',').next().unwrap().to_owned();
        rows(&m, args).iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), [a.clone(), b.clone()]);
    assert_eq!(names(&["-r"]), [b.clone(), a.clone()]);
    // As in LXC names come from the first on and figures from the largest on.
    assert_eq!(names(&["-s", "c"]), [b.clone(), a.clone()]);
    assert_eq!(names(&["-s", "c", "-r", "-n", ".*"]), [a.clone(), b.clone()]);
    assert_eq!(names(&["-n", &b]), [b.as_str()]);
    // The same processor time as lxc-info tells, but for what has been used since.
    let cpu = |row: &str| row.split(',').nth(1).unwrap().parse::<u64>().unwrap();
    let told = m.lxc("info", &["-n", &b, "-SH"]).ok();
    let told = told.lines().find_map(|line| line.strip_prefix("CPU use:")).unwrap();
    assert!(cpu(&rows(&m, &["-n", &b])[0]) >= told.trim().parse().unwrap());
    let json = m.lxc("top", &["-b", "--once", "--format", "json"]).ok();
    assert!(
        json.contains(&format!("\"name\": \"{a}\"")) && json.contains("\"cpu_ns\": "),
        "{json}"
    );

    // One whose monitor is stopped is not left out; it costs a second, and the status tells.
    let monitor = m.monitor_pid(&b).unwrap();
    m.sh(&format!("kill -STOP {monitor}")).ok();
    let looked = m.lxc("top", &["-b", "--once"]);
    m.sh(&format!("kill -CONT {monitor}")).ok();
    assert!(looked.stdout.contains(&format!(",{b},,,,,,,,\n")), "{}", looked.stdout);
    let said = looked.fails(1);
    assert!(said.contains(&b), "{said}");

    for wrong in [&["-d", "x"][..], &["-d", "0"], &["-s", "x"], &["--once"], &["-n", "["]] {
        m.lxc("top", wrong).fails(1);
    }
    assert!(m.lxc("top", &[]).fails(1).contains("no terminal"));
}

#[test]
fn lxc_top_is_live_and_gives_the_terminal_back() {
    let m = Machine::new();
    let [a, b] = ["a", "b"].map(|short| m.container(short, EMPTY));
    m.start(&a);
    let start = || {
        let mut top = Session::of("top", &m, ".*", &["-d", "1"]);
        top.say(b"", "TOTAL 1 of 1");
        top
    };
    let modes = |top: &Session| {
        let modes = tcgetattr(&top.terminal).unwrap().local_modes;
        [LocalModes::ICANON, LocalModes::ECHO, LocalModes::ISIG].map(|mode| modes.contains(mode))
    };
    let mut top = start();
    assert_eq!(modes(&top), [false, false, true]);
    // Comes and goes.
    m.start(&b);
    top.say(b"", "TOTAL 2 of 2");
    m.lxc("stop", &["-n", &b, "-k"]).ok();
    top.say(b"", "TOTAL 1 of 1");
    // Fits what it is shown on, at once.
    let size = |cols| Winsize { ws_row: 10, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&top.terminal, size(140)).unwrap();
    top.say(b"", "Total(Read/Write)");
    tcsetwinsize(&top.terminal, size(60)).unwrap();
    top.say(b"c", "Mem");
    let kept = top.terminal.try_clone().unwrap();
    let (status, said) = top.end(b"q");
    assert!(status == Some(0), "{said}");
    let restored = |terminal: &fs::File| {
        let modes = tcgetattr(terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
    };
    restored(&kept);
    for (signal, wanted) in [("INT", 0), ("QUIT", 0), ("TERM", 143), ("HUP", 129)] {
        let top = start();
        let kept = top.terminal.try_clone().unwrap();
        // setsid waits for the tool in its own process.
        m.sh(&format!("kill -{signal} $(pgrep -P {0} || echo {0})", top.child.id())).ok();
        assert_eq!(top.end(b"").0, Some(wanted), "{signal}");
        restored(&kept);
    }
}
