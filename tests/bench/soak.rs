//! Many processes that start, stop, enter and list many containers at once: no deadlock, no wrong
//! state, nothing left behind. `make bench CASES=soak` has ten minutes of it, a kernel test less.
//!
//! Three of four containers belong to one worker each, who therefore knows what their state has to
//! be in every list, whatever the others do; the rest are fought over by all. Of those every no has
//! to be one of [`MAY_SAY`]: that a monitor does not answer, or that a start met something of the run
//! before it, is wrong however well it is said.

use super::machine::{Machine, Outcome, run};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may be said of a container that is fought over: tool, status, and the sentence after the
/// container's name, `…` for the name itself.
const MAY_SAY: [(&str, i32, &str); 7] = [
    ("start", 0, "Container is already running"),
    ("stop", 2, "container is not running"),
    ("stop", 1, "container \"…\" is STARTING: stop is for one that runs"),
    ("attach", 1, "container \"…\" is not running"),
    ("attach", 1, "container \"…\" is STARTING: get_init_pidfd is for one that runs"),
    ("attach", 1, "the container was stopped meanwhile"),
    ("attach", 137, "the command was killed by SIGKILL: the container was stopped meanwhile"),
];

/// States that such a container can be found in.
const STATES: [&str; 4] = ["STOPPED", "STARTING", "RUNNING", "STOPPING"];

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub workers: usize,
    pub containers: usize,
    pub time: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Figures {
    /// Runs and the longest of them, by what was run.
    runs: BTreeMap<&'static str, (usize, Duration)>,
    /// Sentences with which one of those that are fought over said no, which is right.
    refused: BTreeMap<String, usize>,
    /// What must not be.
    pub wrong: Vec<String>,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.runs.values().map(|(count, _)| count).sum();
        writeln!(f, "  {all} runs")?;
        for (what, (count, longest)) in &self.runs {
            writeln!(f, "  {what:<10} {count:>8}   longest {:>8.3} s", longest.as_secs_f64())?;
        }
        let mut refused: Vec<_> = self.refused.iter().collect();
        refused.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        for (text, count) in refused.into_iter().take(20) {
            writeln!(f, "  {count:>8} x {text}")?;
        }
        writeln!(f, "  wrong: {}", self.wrong.len())?;
        self.wrong.iter().take(20).try_for_each(|text| writeln!(f, "    {text}"))
    }
}

/// Does it all, and stops what still runs.
pub fn soak(m: &Machine, size: Size) -> Figures {
    m.sh("ip link add brs type bridge && ip link set brs up").ok();
    let root = m.rootfs(&m.name("root"));
    let define = |n: usize| {
        let name = m.name(&format!("s{n}"));
        let net = match n % 4 {
            0 => "lxc.net.0.type = veth\nlxc.net.0.link = brs\nlxc.net.0.flags = up\n",
            _ => "lxc.net.0.type = empty\n",
        };
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.uts.name = s{n}\nlxc.pty.max = 4\n\
             lxc.init.cmd = /bin/sleep 100000\n{net}",
            root.display()
        );
        std::fs::create_dir_all(m.lxcpath().join(&name)).expect("directory");
        std::fs::write(m.config(&name), config).expect("config");
        name
    };
    let names: Vec<String> = (0..size.containers).map(define).collect();
    let figures = Mutex::new(Figures::default());
    let (owned, shared) = names.split_at(size.containers * 3 / 4);
    let end = Instant::now() + size.time;
    std::thread::scope(|scope| {
        for number in 0..size.workers {
            let own: Vec<(&str, bool)> = owned
                .iter()
                .skip(number)
                .step_by(size.workers)
                .map(|name| (name.as_str(), false))
                .collect();
            let figures = &figures;
            scope.spawn(move || {
                let random = 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1);
                let mut worker = Worker { m, own, shared, figures, random };
                while Instant::now() < end {
                    worker.turn();
                }
                worker.finish();
            });
        }
    });
    for name in shared {
        let said = m.lxc("stop", &["-n", name, "-k"]);
        if ![0, 2].contains(&said.status) {
            let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
            figures.wrong.push(format!("{}: {} {}", said.what, said.status, said.stderr));
        }
    }
    let mut figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let running = m.lxc("ls", &["--active", "-1"]).stdout;
    figures.wrong.extend(running.lines().map(|name| format!("{name} runs at the end")));
    figures
}

struct Worker<'a> {
    m: &'a Machine,
    /// Its own, and whether they run.
    own: Vec<(&'a str, bool)>,
    shared: &'a [String],
    figures: &'a Mutex<Figures>,
    random: u64,
}

impl Worker<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % n.max(1) as u64) as usize
    }

    fn run(&self, what: &'static str, args: &[&str]) -> Outcome {
        let began = Instant::now();
        let said = run(self.m.lxc_command(what, args));
        let took = began.elapsed();
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = figures.runs.entry(what).or_default();
        *entry = (entry.0 + 1, entry.1.max(took));
        said
    }

    fn wrong(&self, text: String) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).wrong.push(text);
    }

    fn turn(&mut self) {
        let mine = !self.own.is_empty() && self.below(4) > 0;
        match (self.below(8), mine) {
            (0, _) => self.list(),
            (_, true) => {
                let at = self.below(self.own.len());
                self.one_of_mine(at);
            }
            (_, false) => self.one_of_all(),
        }
    }

    /// Everything that is certain about one that nobody else touches.
    fn one_of_mine(&mut self, at: usize) {
        let (name, runs) = self.own[at];
        let hostname = name.rsplit('-').next().unwrap_or_default();
        let (what, args, output): (_, &[&str], _) = match (self.random % 4, runs) {
            (0, false) => ("info", &["-sH"], "STOPPED"),
            (_, false) => ("start", &[], ""),
            (0, true) => ("stop", &["-k"], ""),
            (1, true) => ("info", &["-sH"], "RUNNING"),
            (_, true) => ("attach", &["--", "hostname"], hostname),
        };
        let said = self.run(what, &[&["-n", name], args].concat());
        if said.status != 0 || said.stdout.trim() != output || !said.stderr.is_empty() {
            let Outcome { what, status, stdout, stderr } = said;
            self.wrong(format!("{what}: {status} {stdout}{stderr}"));
        }
        self.own[at].1 = match what {
            "start" => true,
            "stop" => false,
            _ => runs,
        };
    }

    /// Who is fought over may say no, but only what is true of one that others start and stop.
    fn one_of_all(&mut self) {
        if self.shared.is_empty() {
            return;
        }
        let name = &self.shared[self.below(self.shared.len())];
        let (what, args): (_, &[&str]) = match self.below(4) {
            0 => ("start", &[]),
            1 => ("stop", &["-k"]),
            2 => ("attach", &["--", "true"]),
            _ => ("info", &["-sH"]),
        };
        let Outcome { what: line, status, stdout, stderr } =
            self.run(what, &[&["-n", name], args].concat());
        let no = stderr.lines().next().unwrap_or_default();
        let no = no.strip_prefix(&format!("lxc-{what}: {name}: ")).map(|no| no.replace(name, "…"));
        let known = match &no {
            Some(no) => MAY_SAY.iter().any(|may| *may == (what, status, no)),
            None => status == 0 && stderr.is_empty(),
        };
        let told = if what == "info" { STATES.contains(&stdout.trim()) } else { stdout.is_empty() };
        if !known || !told {
            self.wrong(format!("{line}: {status} {stdout}{stderr}"));
        } else if let Some(no) = no {
            let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
            *figures.refused.entry(format!("lxc-{what}: {no}")).or_default() += 1;
        }
    }

    fn list(&mut self) {
        let said = self.run("ls", &["-f", "-F", "NAME,STATE"]);
        if said.status != 0 || !said.stderr.is_empty() {
            self.wrong(format!("lxc-ls: {} {}", said.status, said.stderr));
        }
        let rows: Vec<(&str, &str)> = said
            .stdout
            .lines()
            .filter_map(|line| line.trim_end().split_once(' '))
            .map(|(name, state)| (name, state.trim()))
            .collect();
        let state_of = |wanted: &str| {
            let found: Vec<_> = rows.iter().filter(|(name, _)| *name == wanted).collect();
            if let [(_, state)] = found[..] { *state } else { "no row of its own" }
        };
        for (name, runs) in &self.own {
            let wanted = if *runs { "RUNNING" } else { "STOPPED" };
            if state_of(name) != wanted {
                self.wrong(format!("a list has {} for {name}: {wanted}", state_of(name)));
            }
        }
        for name in self.shared {
            if !STATES.contains(&state_of(name)) {
                self.wrong(format!("a list has {} for {name}", state_of(name)));
            }
        }
    }

    fn finish(&mut self) {
        for (name, _) in self.own.iter().filter(|(_, runs)| *runs) {
            let said = self.run("stop", &["-n", name, "-k"]);
            if said.status != 0 || !said.stderr.is_empty() {
                self.wrong(format!("{name} at the end: {} {}", said.status, said.stderr));
            }
        }
    }
}
