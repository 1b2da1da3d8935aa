//! The tools themselves beside Debian's: the same command lines, wrong ones included, and exit
//! status, standard output, and whether standard error says something.
//!
//! A scene defines some containers and runs its lines one after the other, as a user's script
//! would: each is a line of shell with the containers' names in `$a` and `$b`, at the default
//! place (/var/lib/lxc is the machine's own). What a run cannot repeat (process numbers, figures)
//! is taken out by `settled`. To add an invocation, add a line. Differences are explained in
//! `expected/` under the scene's name, with the line as the key.

use crate::compare::{self, Difference, Report, Side};
use crate::machine::{self, BINARY, Machine};
use std::fs;

/// Lines that are run in a row.
pub struct Scene {
    pub name: &'static str,
    /// Configuration lines of `$a` and, if there are two, of `$b`.
    pub containers: &'static [&'static str],
    /// Run first, not compared; the tools of the side that is looked at are on the PATH.
    pub setup: &'static str,
    pub lines: &'static [&'static str],
    /// Lines with `TOOL` in the place of each tool's name.
    pub every_tool: &'static [&'static str],
    /// Who runs them, but for the setup.
    pub who: Who,
    /// Lines with `KEY` in the place of each key of `$a`'s own lines, and of some more.
    pub every_key: &'static [&'static str],
}

pub const NOTHING: Scene = Scene {
    name: "",
    containers: &[],
    setup: "",
    lines: &[],
    every_tool: &[],
    who: Who::Root,
    every_key: &[],
};

/// The user of a scene.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Root,
    /// An ordinary user with a range of ids in /etc/subuid and cgroups to divide.
    Ids,
    /// One without both.
    Plain,
}

const UID: u32 = 54321;

impl Who {
    /// Makes the user in the machine, who is known by the machine's name.
    fn make(self, m: &Machine) {
        if self == Self::Root {
            return;
        }
        let home = m.dir.join("home");
        fs::create_dir_all(home.join(".config/lxc")).unwrap();
        let ids = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n";
        let ids = if self == Self::Ids { ids } else { "" };
        let base = format!("lxc.net.0.type = empty\n{ids}");
        fs::write(home.join(".config/lxc/default.conf"), base).unwrap();
        let subids = if self == Self::Ids { "someone:200000:65536" } else { "" };
        m.sh(&format!(
            r#"
            set -e
            cd {dir}
            echo {subids} >subids
            mount --bind subids /etc/subuid
            mount --bind subids /etc/subgid
            (cat /etc/passwd; echo someone:x:{UID}:{UID}::{home}:/bin/sh) >users
            mount --bind users /etc/passwd
            (cat /etc/group; echo someone:x:{UID}:) >groups
            mount --bind groups /etc/group
            mkdir -p /run/user/{UID}
            chown -R {UID}:{UID} home /run/user/{UID}"#,
            dir = m.dir.display(),
            home = home.display(),
        ))
        .ok();
    }

    /// What runs `script` as the user.
    fn shell(self, m: &Machine, script: &str) -> String {
        if self == Self::Root {
            return script.to_owned();
        }
        let home = m.dir.join("home").display().to_string();
        let script = script.replace('\'', "'\\''");
        format!(
            "for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                 [ ! -e $h/{cgroup}/cgroup.procs ] || echo $$ >$h/{cgroup}/cgroup.procs
             done
             cd {home}
             exec setpriv --reuid {UID} --regid {UID} --clear-groups env HOME={home} \
                 XDG_RUNTIME_DIR=/run/user/{UID} USER=someone sh -c '{script}'",
            cgroup = m.name("user"),
        )
    }

    /// Gives the user cgroups to divide.
    fn delegate(self, m: &Machine) {
        if self != Self::Ids {
            return;
        }
        let cgroup = m.name("user");
        m.sh(&format!(
            "for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                [ -e $h/cgroup.procs ] || continue
                mkdir $h/{cgroup} || exit
                for f in cpuset.cpus cpuset.mems; do
                    [ ! -e $h/$f ] || [ -e $h/cgroup.controllers ] || cat $h/$f >$h/{cgroup}/$f
                done
                chown -R {UID}:{UID} $h/{cgroup}
            done"
        ))
        .ok();
    }

    /// Nothing of the user's stays for the other side.
    fn clean(self, m: &Machine) {
        if self == Self::Root {
            return;
        }
        let (dir, cgroup) = (m.dir.display(), m.name("user"));
        m.sh(&format!(
            "rm -rf {dir}/home/.local {dir}/home/.cache {dir}/home/[a-z]* /run/user/{UID}/*
             for try in $(seq 50); do
                 all=$(find /sys/fs/cgroup -maxdepth 2 -name {cgroup})
                 [ -n \"$all\" ] || exit 0
                 kill -9 $(find $all -name cgroup.procs -exec cat {{}} +) 2>/dev/null
                 sleep 0.2
                 find $all -depth -type d -exec rmdir {{}} \\;
             done"
        ));
    }
}

/// The tools that `every_tool` stands for: those that change nothing when words are wrong come
/// before lxc-destroy.
const TOOLS: [&str; 15] = [
    "attach", "cgroup", "config", "console", "device", "execute", "freeze", "info", "ls", "start",
    "stop", "unfreeze", "wait", "create", "destroy",
];

pub const EMPTY: &str = "lxc.net.0.type = empty\n";

impl Scene {
    /// All its lines, with the tools' and keys' names in their places.
    pub fn all_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_string()).collect();
        for tool in TOOLS {
            let full = format!("lxc-{tool}");
            lines.extend(self.every_tool.iter().map(|line| line.replace("TOOL", &full)));
        }
        let own = self.containers.first().copied().unwrap_or_default();
        let mut keys: Vec<&str> = own.lines().filter_map(|l| Some(l.split_once(" =")?.0)).collect();
        keys.extend(crate::keys::MORE);
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            lines.extend(self.every_key.iter().map(|line| line.replace("KEY", key)));
        }
        lines
    }
}

/// All differences of a scene.
pub fn differences(scene: &Scene, print: bool) -> Vec<Difference> {
    let m = Machine::new();
    let lxcpath = m.lxcpath().display().to_string();
    m.sh(&format!("mkdir -p /var/lib/lxc; mount --bind {lxcpath} /var/lib/lxc")).ok();
    // LXC's lxc-execute changes owner and mode of what its streams are; not the host's, please.
    let full = m.dir.join("full").display().to_string();
    m.sh(&format!("mknod -m 666 {full} c 1 7 && mount --bind {full} /dev/full")).ok();
    let bin = m.dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    // Where an ordinary user can reach it. Not copied by this process: whatever another thread starts
    // meanwhile would have it open for writing, and it could not be run.
    let binary = m.dir.join("lxcbox").display().to_string();
    m.sh(&format!("cp {BINARY} {binary} && {binary} --install {}", bin.display())).ok();
    scene.who.make(&m);
    let lines = scene.all_lines();
    let ours = run(&m, scene, &lines, Side::Ours);
    let theirs = run(&m, scene, &lines, Side::Theirs);
    compare::report_differences(&ours, &theirs, print)
}

fn run(m: &Machine, scene: &Scene, lines: &[String], side: Side) -> Report {
    let names: Vec<String> = ["a", "b"].iter().map(|short| m.name(short)).collect();
    for (short, config) in ["a", "b"].iter().zip(scene.containers) {
        m.container(short, config);
    }
    let bin = m.dir.join("bin").display().to_string();
    let shell = |script: &str| {
        // For what hangs, not for what is slow on a machine under load. Sooner than that of machine::run,
        // which ends this program alone and not what holds its pipes.
        let mut command = m.command("timeout");
        command.args(["-k", "1", "60", "sh", "-c", script]).env_clear();
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", if side == Side::Ours { format!("{bin}:{path}") } else { path.into() });
        command.env("HOME", "/root").env("TERM", "vt102");
        command.env("a", &names[0]).env("b", &names[1]);
        machine::run(command)
    };
    scene.who.delegate(m);
    if !scene.setup.is_empty() {
        shell(scene.setup).ok();
    }
    let mut report = Report::new();
    let tag = names[0].trim_end_matches('a').to_string();
    for (number, line) in lines.iter().enumerate() {
        let outcome = shell(&scene.who.shell(m, line));
        let key = |what: &str| format!("{number:03} {line} => {what}");
        report.insert(key("status"), outcome.status.to_string());
        let said = if outcome.stderr.trim().is_empty() { "silent" } else { "says something" };
        report.insert(key("stderr"), said.to_string());
        report.insert(key("stdout"), settled(&outcome.stdout, &tag));
    }
    for name in &names {
        shell(&scene.who.shell(m, &format!("lxc-stop -k -n {name}")));
        shell(&format!("lxc-stop -k -n {name}; lxc-stop -k -n new-{name}"));
    }
    scene.who.clean(m);
    compare::left_behind(m, side, &mut report);
    m.sh("rm -rf /var/lib/lxc/* /run/pid").ok();
    report
}

/// An output without what differs from run to run.
fn settled(text: &str, tag: &str) -> String {
    let mut lines = Vec::new();
    for line in text.replace(tag, "").lines() {
        let figures = ["PID:", "CPU use:", "BlkIO use:", "Memory use:", "KMem use:", "Link:"];
        let line = match figures.iter().find(|word| line.trim_start().starts_with(**word)) {
            Some(word) => format!("{word} N"),
            None => line.to_string(),
        };
        lines.push(line);
    }
    lines.join(" ; ")
}
