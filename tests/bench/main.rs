//! `make bench`: times beside the peers that are installed and beside the raw floor, in pairs of
//! one run: A, B, A, B, … Prints medians and ratios; the machine's noise hits both.
//!
//! Everything runs in the same kind of machine as the kernel tests. Arguments: names of the
//! cases to run (all but `soak` without any; that takes `workers=N`, `containers=N`, `seconds=N`),
//! `rounds=N`, `many=N`, `dense=N`, `rest=MS` between two runs (60).
//!
//! The rest matters, and starts and attaches are measured with and without it: a cgroup change that
//! follows another closely takes a short cut in the kernel (a percpu semaphore that is still in its
//! slow mode), one after a rest waits for a grace period of RCU unless it is made by the process
//! itself. On the other hand the kernel still tears down what the run before had.

#![allow(clippy::disallowed_methods, reason = "the harness may use threads: it never clones")]
#![allow(clippy::print_stdout, reason = "its figures are its output")]

#[path = "../kernel/machine.rs"]
#[allow(dead_code, reason = "shared with the tests, which use all of it")]
mod machine;
mod soak;

mod boot;

use machine::Machine;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One side of a pair: its name and what to run; `before` and `after` are not timed.
struct Side<'a> {
    name: &'a str,
    run: Box<dyn FnMut() + 'a>,
}

fn side<'a>(name: &'a str, run: impl FnMut() + 'a) -> Side<'a> {
    Side { name, run: Box::new(run) }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Runs all sides in turn, `rounds` times, and prints the medians; ratios are to the first. After
/// each run `rest` passes: the kernel still tears down what that run had, and the next run would
/// wait for it.
fn compare(title: &str, rounds: usize, rest: Duration, mut sides: Vec<Side<'_>>) {
    let mut times = vec![Vec::with_capacity(rounds); sides.len()];
    for side in &mut sides {
        (side.run)();
    }
    for _ in 0..rounds {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            std::thread::sleep(rest);
            let begin = Instant::now();
            (side.run)();
            times.push(begin.elapsed());
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|t| median(t)).collect();
    println!("{title} ({rounds} rounds, {} ms between)", rest.as_millis());
    println!("  {:<18} {:>12} {:>12} {:>7}", "", "median", "least", "ratio");
    for ((side, took), times) in sides.iter().zip(&medians).zip(&times) {
        let ratio = took.as_secs_f64() / medians[0].as_secs_f64();
        let ms = |t: Duration| t.as_secs_f64() * 1e3;
        println!("  {:<18} {:>9.2} ms {:>9.2} ms {ratio:>7.2}", side.name, ms(*took), ms(times[0]));
    }
}

/// Runs a command that must succeed, output thrown away. The namespaces are entered already.
fn must(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}

fn installed(program: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/sbin"].iter().any(|d| Path::new(d).join(program).exists())
}

struct Bench {
    machine: Machine,
    rounds: usize,
    many: usize,
    dense: usize,
    rest: Duration,
    floor: Option<PathBuf>,
}

impl Bench {
    /// A tool of ours or of Debian's on this bench's lxcpath.
    fn tool(&self, theirs: bool, tool: &str, args: &[&str]) -> Command {
        let mut command = if theirs {
            Command::new(format!("/usr/bin/lxc-{tool}"))
        } else {
            let mut own = Command::new(machine::BINARY);
            own.arg(format!("lxc-{tool}"));
            own
        };
        command.arg("-P").arg(self.machine.lxcpath()).args(args);
        command
    }

    fn define(&self, short: &str) -> String {
        self.machine.container(
            short,
            "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n\
             lxc.net.0.name = eth0\nlxc.mount.auto = proc:mixed sys:ro\nlxc.pty.max = 16\n\
             lxc.init.cmd = /bin/sleep 100000\n",
        )
    }

    /// The rests between runs that matter.
    fn rests(&self) -> [Duration; 2] {
        [self.rest, Duration::ZERO]
    }

    /// The raw system calls, in one process or with a supervisor and two commands.
    fn floor(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.floor.as_ref().expect("the floor was built"));
        command.args(words);
        command
    }

    /// Starts and kills a container; `theirs` is LXC's.
    fn cycle(&self, theirs: bool, name: &str) {
        must(&mut self.tool(theirs, "start", &["-n", name]));
        must(&mut self.tool(theirs, "stop", &["-n", name, "-k"]));
    }

    /// Sides that start and kill: the floor, ours, LXC's, with names of their own.
    fn cycles<'a>(&'a self, short: &str, one_process: bool) -> Vec<Side<'a>> {
        let ours = self.define(short);
        let mut sides = Vec::new();
        if self.floor.is_some() {
            let root = self.machine.dir.join(format!("floor-{short}"));
            std::fs::create_dir_all(&root).expect("floor root");
            let from = self.machine.lxcpath().join(&ours).join("rootfs/.");
            must(Command::new("cp").arg("-a").arg(from).arg(&root));
            let root = root.display().to_string();
            let name = self.machine.name(&format!("{short}-floor"));
            let (root_too, name_too) = (root.clone(), name.clone());
            sides.push(side("floor", move || {
                let init = ["br0", "1", "/bin/sleep", "100000"];
                must(self.floor(&["start", &name, &root]).args(init));
                must(&mut self.floor(&["stop", &name]));
            }));
            if one_process {
                sides.push(side("floor, no monitor", move || {
                    must(self.floor(&["run", &name_too, &root_too]).args([
                        "br0",
                        "1",
                        "/bin/true",
                    ]));
                }));
            }
        }
        sides.push(side("lxcbox", move || self.cycle(false, &ours)));
        if installed("lxc-start") {
            let theirs = self.define(&format!("{short}-lxc"));
            sides.push(side("lxc", move || self.cycle(true, &theirs)));
        }
        sides
    }

    fn start_stop(&self) {
        for (rest, short) in self.rests().into_iter().zip(["cycle", "close"]) {
            let title = "start + stop -k, veth on a bridge";
            compare(title, self.rounds, rest, self.cycles(short, true));
        }
    }

    fn attach_and_info(&self) {
        let ours = self.define("att");
        let theirs = self.define("attlxc");
        let lxc = installed("lxc-start");
        must(&mut self.tool(false, "start", &["-n", &ours]));
        if lxc {
            must(&mut self.tool(true, "start", &["-n", &theirs]));
        }
        let args = |name: &str| ["-n".to_string(), name.to_string()];
        let [rest, none] = self.rests();
        for (title, tool, more, rest) in [
            ("attach /bin/true", "attach", &["--", "/bin/true"][..], rest),
            ("attach /bin/true", "attach", &["--", "/bin/true"][..], none),
            ("info", "info", &[][..], rest),
        ] {
            let run = |lxc: bool, name: &str| {
                let mut command = self.tool(lxc, tool, &[]);
                must(command.args(args(name)).args(more));
            };
            let mut sides = vec![side("lxcbox", || run(false, &ours))];
            if lxc {
                sides.push(side("lxc", || run(true, &theirs)));
            }
            compare(title, self.rounds, rest, sides);
        }
        for name in [&ours, &theirs] {
            let _ = self.tool(false, "stop", &["-n", name, "-k"]).status();
        }
    }

    fn lists(&self) {
        let mut names: Vec<String> = Vec::new();
        for count in [10, 100, 300] {
            if count > self.many {
                break;
            }
            while names.len() < count {
                let name = self.define(&format!("m{}", names.len()));
                must(&mut self.tool(false, "start", &["-n", &name]));
                names.push(name);
            }
            if count == 10 {
                self.memory("lxcbox", &names);
                if installed("lxc-start") {
                    self.their_memory(count);
                }
            }
            let rounds = (self.rounds / 2).max(3);
            let mut sides = vec![side("lxcbox", || must(&mut self.tool(false, "ls", &["-f"])))];
            if installed("lxc-ls") {
                sides.push(side("lxc", || must(&mut self.tool(true, "ls", &["-f"]))));
            }
            compare(&format!("ls -f, {count} running"), rounds, self.rest, sides);
            let title = format!("start + stop -k with {count} running");
            compare(&title, rounds, self.rest, self.cycles(&format!("extra{count}"), false));
        }
        for name in &names {
            let _ = self.tool(false, "stop", &["-n", name, "-k"]).status();
        }
    }

    /// Prints the memory of the monitors.
    fn memory(&self, whose: &str, names: &[String]) {
        let (dirty, pss) = self.monitors(names);
        let count = names.len();
        println!("monitor of {whose}, {count} running: private dirty {dirty} kB, PSS {pss} kB");
    }

    fn their_memory(&self, count: usize) {
        let names: Vec<String> = (0..count).map(|n| self.define(&format!("t{n}"))).collect();
        names.iter().for_each(|name| must(&mut self.tool(true, "start", &["-n", name])));
        self.memory("lxc", &names);
        names.iter().for_each(|name| must(&mut self.tool(true, "stop", &["-n", name, "-k"])));
    }

    /// Memory of the monitors, in kB: medians of private dirty and of the proportional set.
    fn monitors(&self, names: &[String]) -> (u64, u64) {
        let mut dirty = Vec::new();
        let mut pss = Vec::new();
        for name in names {
            let Some(pid) = self.machine.monitor_pid(name) else { continue };
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
            let text = text.unwrap_or_default();
            let field = |label: &str| -> u64 {
                let line = text.lines().find(|l| l.starts_with(label)).unwrap_or("");
                line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
            };
            dirty.push(field("Private_Dirty:"));
            pss.push(field("Pss:"));
        }
        dirty.sort_unstable();
        pss.sort_unstable();
        let middle = dirty.len() / 2;
        (dirty[middle], pss[middle])
    }

    /// Containers per machine: what a start takes and what a container costs with 1 to `dense=N`
    /// of them running, on one root file system. A bridge takes 1023 ports: every 1000 containers
    /// have one.
    fn density(&self) {
        const ROOM: usize = 1000;
        let first = self.machine.container("dense", "");
        let root = self.machine.lxcpath().join(&first).join("rootfs");
        let mut names: Vec<String> = Vec::new();
        let before = Memory::now();
        println!("one busybox root for all, veth on a bridge, /dev, mqueue, shm of their own");
        println!(
            "  {:>7} {:>10} {:>10} {:>14} {:>14} {:>14} {:>12}",
            "running", "start", "worst", "memory each", "kernel each", "monitor dirty", "PSS"
        );
        for count in [1, 100, 500, 1000, 1500] {
            if count > self.dense {
                break;
            }
            let mut times = Vec::new();
            while names.len() < count {
                let bridge = format!("dense{}", names.len() / ROOM);
                if names.len() % ROOM == 0 {
                    must(Command::new("ip").args(["link", "add", &bridge, "type", "bridge"]));
                    must(Command::new("ip").args(["link", "set", &bridge, "up"]));
                }
                let name = self.machine.name(&format!("d{}", names.len()));
                let config = format!(
                    "lxc.rootfs.path = dir:{}\nlxc.net.0.type = veth\nlxc.net.0.link = {bridge}\n\
                     lxc.net.0.flags = up\nlxc.mount.auto = proc:mixed sys:ro\nlxc.pty.max = 16\n\
                     lxc.init.cmd = /bin/sleep 100000\n",
                    root.display()
                );
                std::fs::create_dir_all(self.machine.lxcpath().join(&name)).expect("container");
                std::fs::write(self.machine.config(&name), config).expect("config");
                let begin = Instant::now();
                must(&mut self.tool(false, "start", &["-n", &name]));
                times.push(begin.elapsed());
                names.push(name);
            }
            // The last of them met almost all the others.
            let mut last = times.split_off(times.len().saturating_sub(30));
            let middle = median(&mut last);
            let worst = last.last().copied().unwrap_or_default();
            // What the kernel frees with a delay is not what a container has.
            std::thread::sleep(Duration::from_secs(2));
            let used = Memory::now();
            let each = |now: i64, before: i64| (now - before) / count as i64;
            let (dirty, pss) = self.monitors(&names[names.len().saturating_sub(100)..]);
            println!(
                "  {count:>7} {:>7.1} ms {:>7.1} ms {:>11} kB {:>11} kB {dirty:>11} kB {pss:>9} kB",
                middle.as_secs_f64() * 1e3,
                worst.as_secs_f64() * 1e3,
                each(before.available, used.available),
                each(used.kernel, before.kernel),
            );
        }
        for name in &names {
            let _ = self.tool(false, "stop", &["-n", name, "-k"]).status();
        }
    }

    fn create(&self) {
        let mut sides = Vec::new();
        for (name, lxc) in [("lxcbox", false), ("lxc", true)] {
            if lxc && !installed("lxc-create") {
                continue;
            }
            sides.push(side(name, move || {
                let container = self.machine.name(name);
                must(&mut self.tool(
                    lxc,
                    "create",
                    &["-n", &container, "-t", "busybox", "-f", "/dev/null"],
                ));
                must(&mut self.tool(lxc, "destroy", &["-n", &container]));
            }));
        }
        compare("create -t busybox + destroy", (self.rounds / 4).max(3), self.rest, sides);
    }

    /// `true` in a container, without network, for all who can do it.
    fn execute(&self) {
        let name = self.machine.container("exec", "lxc.net.0.type = empty\n");
        let root = self.machine.lxcpath().join(&name).join("rootfs");
        let root_text = root.display().to_string();
        let mut sides = vec![side("lxcbox execute", || {
            must(&mut self.tool(false, "execute", &["-n", &name, "--", "/bin/true"]));
        })];
        if installed("lxc-execute") {
            sides.push(side("lxc execute", || {
                // Without its init in the container it reports failure; only its time counts.
                let mut run = self.tool(true, "execute", &["-n", &name, "--", "/bin/true"]);
                let _ = run.stdout(Stdio::null()).stderr(Stdio::null()).status();
            }));
        }
        for runtime in ["crun", "runc"] {
            if !installed(runtime) {
                continue;
            }
            let bundle = self.machine.dir.join(runtime);
            std::fs::create_dir_all(&bundle).expect("bundle");
            must(Command::new(runtime).arg("spec").current_dir(&bundle));
            let config = bundle.join("config.json");
            let spec = std::fs::read_to_string(&config).expect("config.json");
            let spec = spec
                .replace("\"terminal\": true", "\"terminal\": false")
                .replace("\"sh\"", "\"/bin/true\"")
                .replace("\"path\": \"rootfs\"", &format!("\"path\": \"{root_text}\""));
            std::fs::write(&config, spec).expect("config.json");
            let id = self.machine.name(runtime);
            let mut works = Command::new(runtime);
            works.args(["run", &id]).current_dir(&bundle).stdin(Stdio::null());
            works.stdout(Stdio::null()).stderr(Stdio::null());
            if !works.status().is_ok_and(|s| s.success()) {
                println!("{runtime}: installed, but cannot run here");
                continue;
            }
            sides.push(side(runtime, move || {
                must(Command::new(runtime).args(["run", &id]).current_dir(&bundle));
            }));
        }
        if installed("bwrap") {
            let root = root_text.clone();
            sides.push(side("bwrap", move || {
                must(Command::new("bwrap").args([
                    "--unshare-all",
                    "--bind",
                    &root,
                    "/",
                    "--proc",
                    "/proc",
                    "--dev",
                    "/dev",
                    "/bin/true",
                ]));
            }));
        }
        if installed("systemd-nspawn") {
            let root = root_text.clone();
            sides.push(side("nspawn", move || {
                let mut run = Command::new("systemd-nspawn");
                run.args(["-q", "--register=no", "--keep-unit", "-D", &root, "/bin/true"]);
                let _ =
                    run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }));
        }
        compare("execute true", (self.rounds / 2).max(3), self.rest, sides);
    }
}

/// Memory of the machine, in kB.
struct Memory {
    /// What is left.
    available: i64,
    /// What the kernel has for its own structures.
    kernel: i64,
}

impl Memory {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
        let sum = |labels: &[&str]| -> i64 {
            let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let found = words.filter(|words| labels.contains(&words[0].trim_end_matches(':')));
            found.map(|words| words[1].parse::<i64>().expect("kB")).sum()
        };
        Self {
            available: sum(&["MemAvailable"]),
            kernel: sum(&["Slab", "KernelStack", "PageTables", "Percpu", "VmallocUsed"]),
        }
    }
}

type Case = fn(&Bench);

fn build_floor(dir: &Path) -> Option<PathBuf> {
    let out = dir.join("floor");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/floor.c");
    let built = Command::new("cc").args(["-O2", "-static", "-o"]).arg(&out).arg(source).status();
    built.is_ok_and(|s| s.success()).then_some(out)
}

fn main() {
    let mut cases: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let mut number = |key: &str, default: usize| {
        let found = cases.iter().position(|c| c.starts_with(key));
        found.map_or(default, |at| cases.remove(at)[key.len()..].parse().expect("a number"))
    };
    let rounds = number("rounds=", 40);
    let many = number("many=", 300);
    let dense = number("dense=", 1500);
    let rest = Duration::from_millis(number("rest=", 60) as u64);
    let size = soak::Size {
        workers: number("workers=", 40),
        containers: number("containers=", 200),
        time: Duration::from_secs(number("seconds=", 600) as u64),
    };
    // The commands of the sides are run directly, so this process enters the machine itself.
    if std::env::var_os("LXCBOX_BENCH_INSIDE").is_none() {
        let machine = Machine::new();
        let mut again = machine.command(std::env::current_exe().expect("own path"));
        again.args(std::env::args_os().skip(1)).env("LXCBOX_BENCH_INSIDE", "1");
        let status = again.status().expect("the bench");
        assert!(status.success(), "{status}");
        return;
    }
    let machine = Machine::new();
    // This process is in the outer machine; the inner one only lends its directories.
    must(Command::new("sh").args(["-c", "ip link add br0 type bridge; ip link set br0 up"]));
    let floor = build_floor(&machine.dir);
    if floor.is_none() {
        println!("no C compiler: the floor is not measured");
    }
    let bench = Bench { machine, rounds, many, dense, rest, floor };
    let all: [(&str, Case); 9] = [
        ("start", Bench::start_stop),
        ("attach", Bench::attach_and_info),
        ("ls", Bench::lists),
        ("create", Bench::create),
        ("execute", Bench::execute),
        ("autostart", Bench::autostart),
        ("shutdown", Bench::shutdown),
        ("checkconfig", Bench::checkconfig),
        ("density", Bench::density),
    ];
    for (name, case) in all {
        if cases.is_empty() || cases.iter().any(|c| c == name) {
            case(&bench);
        }
    }
    // By name only: it takes ten minutes, and measures nothing that others do.
    if cases.iter().any(|c| c == "soak") {
        let soak::Size { workers, containers, time } = size;
        println!("soak: {workers} at once on {containers} containers for {} s", time.as_secs());
        let figures = soak::soak(&bench.machine, size);
        print!("{figures}");
        let left = bench.machine.settle();
        assert!(figures.wrong.is_empty() && left.is_empty(), "left behind: {left:?}");
    }
}
