//! What a boot needs: many containers started, asked to halt and killed by lxc-autostart, and
//! lxc-checkconfig, each beside LXC's.

use super::{Bench, installed, machine, median, must};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Names of the sides.
const SIDES: [&str; 2] = ["lxcbox", "lxc"];

/// A tool of a side.
fn tool(side: usize, name: &str) -> Command {
    if side == 1 {
        return Command::new(Path::new("/usr/bin").join(name));
    }
    let mut own = Command::new(machine::BINARY);
    own.arg(name);
    own
}

fn sides(program: &str) -> usize {
    if installed(program) { 2 } else { 1 }
}

/// Prints the medians of the sides and their ratios to ours.
fn print(title: &str, times: &mut [Vec<Duration>]) {
    println!("{title} ({} rounds)", times[0].len());
    let mut first = None;
    for (name, times) in SIDES.iter().zip(times) {
        let took = median(times).as_secs_f64();
        let ratio = took / *first.get_or_insert(took);
        println!("  {name:<16} {:>9.2} ms   {ratio:>6.2}", took * 1e3);
    }
}

impl Bench {
    /// A path for each side with this many containers that start with the host. Lines that begin
    /// with one of `without` are left out of their configurations.
    fn at_boot(&self, title: &str, count: usize, without: &[&str], lines: &str) -> Vec<PathBuf> {
        let path_of = |side: &str| {
            let path = self.machine.dir.join(format!("{title}-{side}"));
            std::fs::create_dir_all(&path).expect("an lxcpath");
            for n in 0..count {
                let name = self.define(&format!("{title}{side}{n}"));
                let from = self.machine.lxcpath().join(&name);
                let to = path.join(&name);
                std::fs::rename(&from, &to).expect("a container");
                let config = std::fs::read_to_string(to.join("config")).expect("config");
                let config = config.replace(&from.display().to_string(), &to.display().to_string());
                let kept = |line: &&str| !without.iter().any(|word| line.starts_with(word));
                let config: String =
                    config.lines().filter(kept).flat_map(|line| [line, "\n"]).collect();
                let config = format!("{config}lxc.start.auto = 1\n{lines}");
                std::fs::write(to.join("config"), config).expect("config");
            }
            path
        };
        SIDES.iter().map(|side| path_of(side)).collect()
    }

    /// Starts all containers of a path and kills them. Few rounds: LXC needs seconds for each.
    /// The first, which warms up, is not counted; each is printed, for who cannot wait for the end.
    pub fn autostart(&self) {
        let count = 100.min(self.many);
        let rounds = (self.rounds / 20).max(1);
        let paths = self.at_boot("auto", count, &[], "");
        let sides = sides("lxc-autostart");
        let mut starts = vec![Vec::new(); sides];
        let mut kills = vec![Vec::new(); sides];
        for round in 0..=rounds {
            for side in 0..sides {
                let took = [&[][..], &["-k"]].map(|args| {
                    let mut command = tool(side, "lxc-autostart");
                    let begin = Instant::now();
                    must(command.arg("-P").arg(&paths[side]).args(args));
                    begin.elapsed()
                });
                println!(
                    "  round {round}, {}: start {:.2?}, kill {:.2?}",
                    SIDES[side], took[0], took[1]
                );
                if round > 0 {
                    starts[side].push(took[0]);
                    kills[side].push(took[1]);
                }
            }
        }
        let sum = |(starts, kills): (&Vec<Duration>, &Vec<Duration>)| {
            starts.iter().zip(kills).map(|(start, kill)| *start + *kill).collect()
        };
        let mut both: Vec<Vec<Duration>> = starts.iter().zip(&kills).map(sum).collect();
        print(&format!("autostart, start and kill of {count}"), &mut both);
        print(&format!("autostart, start of {count}"), &mut starts);
        print(&format!("autostart, kill of {count}"), &mut kills);
    }

    /// Asks all containers of a path to halt and waits; init is busybox's, which takes two seconds
    /// from the signal to its end. One round: LXC waits for one after the other.
    pub fn shutdown(&self) {
        let count = 100.min(self.many);
        let paths = self.at_boot("halt", count, &["lxc.init.cmd"], "");
        let sides = sides("lxc-autostart");
        let mut times = vec![Vec::new(); sides];
        for side in 0..sides {
            let run = |args: &[&str]| {
                must(tool(side, "lxc-autostart").arg("-P").arg(&paths[side]).args(args));
            };
            run(&[]);
            let begin = Instant::now();
            run(&["-s", "-t", "60"]);
            times[side].push(begin.elapsed());
        }
        print(&format!("autostart -s, graceful stop of {count}"), &mut times);
    }

    /// The time, and every line that LXC's script has too where the two differ.
    pub fn checkconfig(&self) {
        let sides = sides("lxc-checkconfig");
        let mut times = vec![Vec::new(); sides];
        let mut texts = vec![String::new(); sides];
        for _ in 0..self.rounds {
            for side in 0..sides {
                let begin = Instant::now();
                let said = tool(side, "lxc-checkconfig").output().expect("lxc-checkconfig");
                times[side].push(begin.elapsed());
                texts[side] = String::from_utf8_lossy(&said.stdout).into_owned();
            }
        }
        print("checkconfig", &mut times);
        let [ours, theirs] = &texts[..] else { return };
        let word = |text: &str, label: &str| -> Option<String> {
            let rest =
                text.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(": "))?;
            Some(rest.split(',').next().unwrap_or_default().trim().to_owned())
        };
        let (mut same, mut differ) = (0, 0);
        for line in theirs.lines() {
            let Some((label, _)) = line.split_once(": ") else { continue };
            // The last lines are about another configuration.
            if label.ends_with(' ') {
                continue;
            }
            let Some(lxc) = word(theirs, label).filter(|word| !word.is_empty()) else { continue };
            match word(ours, label) {
                Some(own) if own == lxc => same += 1,
                own => {
                    differ += 1;
                    println!("  {label}: lxc {lxc}, lxcbox {}", own.unwrap_or("no line".into()));
                }
            }
        }
        println!("  {same} lines are the same, {differ} differ");
    }
}
