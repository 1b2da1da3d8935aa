//! Runs one row of `cases.rs` under both implementations and finds the lines that differ.

use crate::cases::{Case, How};
use crate::machine::{self, BINARY, Machine, Outcome, eventually};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Whose tools are run.
#[derive(Clone, Copy, PartialEq)]
pub enum Side {
    Ours,
    Theirs,
}

/// One line of the report that is not equal. A side that lacks the line has `-`.
#[derive(Debug)]
pub struct Difference {
    pub key: String,
    pub ours: String,
    pub theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}\n    ours   {}\n    theirs {}", self.key, self.ours, self.theirs)
    }
}

/// What was found, by what it is about.
pub type Report = BTreeMap<String, String>;

/// All differences of a row.
pub fn case(case: &Case, print: bool) -> Vec<Difference> {
    let m = Machine::new();
    // With newuidmap there LXC maps only what these files give to root.
    m.sh("echo root:100000:65536 >/run/sub; for f in subuid subgid; do \
          [ ! -e /etc/$f ] || mount --bind /run/sub /etc/$f; done")
        .ok();
    if !case.setup.is_empty() {
        m.sh(&fill(case.setup, &m, "")).ok();
    }
    let ours = collect(&m, case, Side::Ours);
    let theirs = collect(&m, case, Side::Theirs);
    without_failed(report_differences(&ours, &theirs, print))
}

/// Where one side failed, what the other one saw says nothing more.
fn without_failed(mut all: Vec<Difference>) -> Vec<Difference> {
    let statuses = all.iter().filter_map(|d| d.key.strip_suffix(" status"));
    let mut failed: Vec<String> = statuses.map(|who| format!("{who} ")).collect();
    if failed.iter().any(|who| who == "start " || who == "execute ") {
        failed.extend(
            ["init ", "command ", "host ", "attach ", "stop ", "changed "].map(String::from),
        );
    }
    all.retain(|d| {
        d.key == "start status"
            || d.key == "execute status"
            || (d.key.starts_with("attach ") && d.key.ends_with(" status"))
            || !failed.iter().any(|who| d.key.starts_with(who.as_str()))
    });
    all
}

/// The differences of two reports, which are printed first if that is wanted.
pub fn report_differences(ours: &Report, theirs: &Report, print: bool) -> Vec<Difference> {
    if print {
        for (side, report) in [("ours", ours), ("theirs", theirs)] {
            for (key, value) in report {
                println!("{side} {key}: {value}");
            }
        }
    }
    differences(ours, theirs)
}

fn differences(ours: &Report, theirs: &Report) -> Vec<Difference> {
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    let value = |report: &Report, key: &str| report.get(key).cloned().unwrap_or_else(|| "-".into());
    let all = keys.into_iter().map(|key| Difference {
        key: key.clone(),
        ours: value(ours, key),
        theirs: value(theirs, key),
    });
    all.filter(|d| d.ours != d.theirs).collect()
}

fn tool(m: &Machine, side: Side, tool: &str, args: &[&str]) -> Outcome {
    finish(m, side, m.command("env"), tool, args)
}

/// The same from a terminal that script(1) makes.
fn typed_tool(m: &Machine, side: Side, tool: &str, args: &[&str]) -> Outcome {
    let mut command = m.command("sh");
    // The command's words reach script's shell as they are: none of them has a special character.
    // Nothing is typed, and the input never ends: script would type an end of file.
    let fifo = m.dir.join("typed").display().to_string();
    let line = "[ -p $0 ] || mkfifo $0; exec script -qec \"$*\" /dev/null 0<>$0";
    command.args(["-c", line, &fifo]);
    let mut outcome = finish(m, side, command, tool, args);
    outcome.stdout = outcome.stdout.replace("\r\n", "\n");
    outcome
}

fn finish(m: &Machine, side: Side, mut command: Command, tool: &str, args: &[&str]) -> Outcome {
    match side {
        Side::Ours => command.arg(BINARY).arg(format!("lxc-{tool}")),
        Side::Theirs => command.arg(format!("/usr/bin/lxc-{tool}")),
    };
    command.arg("-P").arg(m.lxcpath()).args(args);
    // The same for every caller, whatever shell ran the test.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
    command.env("TERM", "vt102").env("CALLER", "yes");
    machine::run(command)
}

/// `{dir}`, `{root}` and `{name}` of a row's texts.
fn fill(text: &str, m: &Machine, name: &str) -> String {
    let root = m.lxcpath().join(name).join("rootfs").display().to_string();
    let text = text.replace("{dir}", &m.dir.display().to_string());
    text.replace("{root}", &root).replace("{name}", name)
}

/// Runs the row under one implementation.
fn collect(m: &Machine, case: &Case, side: Side) -> Report {
    let name = m.name("c");
    let home = m.lxcpath().join(&name);
    let _ = fs::remove_dir_all(&home);
    m.container("c", &fill(case.config, m, &name));
    let root = home.join("rootfs");
    fs::copy(std::env::current_exe().unwrap(), root.join("compat")).unwrap();
    for dir in ["report", "dev/pts", "home"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    if !cfg!(target_feature = "crt-static") {
        let config = fs::read_to_string(m.config(&name)).unwrap();
        fs::write(m.config(&name), config + &machine::libraries()).unwrap();
    }
    m.sh(&format!("chmod 777 {0}/report; chmod 755 {1} {0}", root.display(), home.display())).ok();
    if !case.prepare.is_empty() {
        m.sh(&fill(case.prepare, m, &name)).ok();
    }
    let before = files(&root);

    let mut report = Report::new();
    let report_file = root.join(case.seen);
    let inside = format!("/{}", case.inside);
    let options: Vec<String> = case.options.iter().map(|o| fill(o, m, &name)).collect();
    let mut args = vec!["-n", &name];
    args.extend(options.iter().map(String::as_str));
    match case.how {
        How::Start => {
            args.extend(["--", "/compat", "report", &inside, "stay"]);
            let outcome = tool(m, side, "start", &args);
            let started = outcome.status == 0;
            command(&mut report, "start", &outcome);
            if started {
                eventually(10, "the container's report", || report_file.exists().then_some(()));
                running(m, case, side, &name, &report_file, &mut report);
                command(&mut report, "stop", &tool(m, side, "stop", &["-n", &name, "-k"]));
            }
        }
        How::Foreground => {
            args.extend(["-F", "--", "/compat", "report", &inside]);
            command(&mut report, "start", &tool(m, side, "start", &args));
            add(&mut report, "init", &read(&report_file), &[]);
        }
        How::Execute => {
            args.extend(["--", "/compat", "report", &inside]);
            command(&mut report, "execute", &tool(m, side, "execute", &args));
            add(&mut report, "command", &read(&report_file), &[]);
        }
    }
    left_behind(m, side, &mut report);
    if root.exists() {
        changes(&before, &files(&root), &mut report);
    }
    report.insert("kept".to_string(), home.exists().to_string());
    let _ = fs::remove_file(report_file);

    let dir = m.dir.display().to_string();
    let words = |text: &str| text.replace(&name, "NAME").replace(&dir, "DIR");
    report.into_iter().map(|(key, value)| (words(&key), terminals(&words(&value)))).collect()
}

/// The number of a pseudo-terminal depends on who else has one.
fn terminals(text: &str) -> String {
    let mut text = text.to_string();
    for before in ["136:", "/dev/pts/", "devpts root=/"] {
        let parts: Vec<&str> = text.split(before).collect();
        let rest = parts[1..].iter().map(|part| {
            let other = part.trim_start_matches(|c: char| c.is_ascii_digit());
            if other.len() == part.len() { (*part).to_string() } else { format!("N{other}") }
        });
        let rest: Vec<String> = rest.collect();
        text = [parts[0].to_string()].into_iter().chain(rest).collect::<Vec<_>>().join(before);
    }
    text
}

/// What ours has not taken away is part of its report, and a fault. LXC leaves cgroups behind after
/// most failed starts, some of the time; they only must not disturb the next run.
pub fn left_behind(m: &Machine, side: Side, report: &mut Report) {
    for what in &m.settle() {
        if let Some(path) = what.strip_prefix("cgroup ") {
            // It may just be going.
            m.sh(&format!("find {path} -depth -type d -exec rmdir {{}} ';'"));
        }
        if side == Side::Ours {
            report.insert(format!("left behind {what}"), "yes".to_string());
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What a tool did, as far as it must be equal.
fn command(report: &mut Report, what: &str, outcome: &Outcome) {
    report.insert(format!("{what} status"), outcome.status.to_string());
    let silent = if outcome.stderr.is_empty() { "silent" } else { "says something" };
    report.insert(format!("{what} stderr"), silent.to_string());
    // A failure is to be read by whoever looks at the difference.
    if outcome.status != 0 {
        eprintln!("{}\n{}", outcome.what, outcome.stderr);
    }
}

/// The report of a running container: its init's, each attach's, and what the host sees.
fn running(m: &Machine, case: &Case, side: Side, name: &str, seen: &Path, report: &mut Report) {
    let pid = tool(m, side, "info", &["-n", name, "-p", "-H"]).ok().trim().to_string();
    let spaces: Vec<(String, String)> =
        ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
            .iter()
            .flat_map(|kind| {
                let of = |path: String| {
                    fs::read_link(path).map_or(String::new(), |l| l.display().to_string())
                };
                // The machine's own mount and network namespace count as the host's.
                let host =
                    m.sh(&format!("readlink /proc/self/ns/{kind}")).stdout.trim().to_string();
                [
                    (host, "host's".to_string()),
                    (of(format!("/proc/{pid}/ns/{kind}")), "own".to_string()),
                ]
            })
            .collect();
    add(report, "init", &read(seen), &spaces);
    outside(m, &pid, name, report);
    for attach in case.attach {
        let mut args = vec!["-n", name];
        args.extend_from_slice(attach.options);
        args.extend(["--", "/compat", "report"]);
        let key = format!("attach {}", attach.name);
        let run = if attach.terminal { typed_tool } else { tool };
        let outcome = run(m, side, "attach", &args);
        command(report, &key, &outcome);
        add(report, &key, &outcome.stdout, &spaces);
    }
}

/// Puts a text of `key: value` lines into the report, namespaces said in words.
fn add(report: &mut Report, who: &str, text: &str, spaces: &[(String, String)]) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once(": ").or(line.split_once(':')) else { continue };
        let mut value = value.to_string();
        if key.starts_with("ns ") {
            let known = spaces.iter().find(|(inode, _)| *inode == value);
            value = known.map_or("another".to_string(), |(_, word)| word.clone());
        } else if key == "session keyring" {
            value = if value.starts_with('-') { value } else { "has one".to_string() };
        }
        report.insert(format!("{who} {key}"), value);
    }
}

/// What is seen of the container from the host. The kernel tells of a carrier up to a second after it
/// has come: a device may still have NO-CARRIER beside LOWER_UP.
fn outside(m: &Machine, pid: &str, name: &str, report: &mut Report) {
    for (key, script) in [
        ("cgroup", format!("cat /proc/{pid}/cgroup | sed 's/^[0-9]*://' | sort")),
        (
            "links",
            format!(
                "nsenter -t {pid} -n ip -d -o link | sed 's/^[0-9]*: //; s/@if[0-9]*//; \
            s/ qlen [0-9]*//; s/link-netnsid [0-9]*//; s/state U[A-Z]*//; s/NO-CARRIER,//'"
            ),
        ),
        (
            "addresses",
            format!(
                "nsenter -t {pid} -n ip -o addr | sed 's/^[0-9]*: //; \
            s/ fe80:[^ ]*/ fe80::/; s/ tentative//'"
            ),
        ),
        (
            "routes",
            format!(
                "nsenter -t {pid} -n sh -c 'ip route; ip -6 route' | \
            sed 's/fe80:[^ ]*/fe80::/'"
            ),
        ),
        (
            "machine veth",
            "ip -d -o link show type veth | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/ qlen [0-9]*//; \
             s/link-netnsid [0-9]*//; s/state [A-Z]*//; s/veth[A-Za-z0-9]\\{6\\}/vethXXXXXX/; \
             s/ether fe:[^ ]*/ether fe:/; s/NO-CARRIER,//; s/,LOWER_UP//; \
             s/bridge_slave.*addrgenmode/bridge_slave addrgenmode/' | sort"
                .to_string(),
        ),
        (
            "machine routes",
            "ip route; ip -6 route | grep -v ^fe80; \
             ip neigh show proxy; ip -6 neigh show proxy"
                .to_string(),
        ),
        (
            "machine settings",
            "cd /proc/sys/net; grep -s . ipv[46]/conf/vr7/forwarding ipv4/conf/vr7/proxy_arp \
             ipv6/conf/vr7/proxy_ndp ipv6/conf/vr7/accept_ra; true"
                .to_string(),
        ),
        (
            "devices cgroup",
            format!(
                "cat /sys/fs/cgroup/devices/*{name}*/devices.list \
            /sys/fs/cgroup/devices/*{name}*/*/devices.list 2>/dev/null"
            ),
        ),
        (
            "memory limit",
            format!("cat /sys/fs/cgroup/memory/lxc.payload.{name}/memory.limit_in_bytes"),
        ),
        ("pids limit", format!("cat /sys/fs/cgroup/pids/lxc.payload.{name}/pids.max")),
        ("cpu shares", format!("cat /sys/fs/cgroup/cpu*/lxc.payload.{name}/cpu.shares")),
        ("cpus", format!("cat /sys/fs/cgroup/cpuset/lxc.payload.{name}/cpuset.cpus")),
        (
            "cgroup owner",
            format!(
                "cd /sys/fs/cgroup; for d in */lxc.payload.{name}; do \
                 stat -c '%n %A %u:%g' $d $d/cgroup.procs $d/tasks 2>/dev/null; done | \
                 sed 's/^[^ ]*payload[^ /]*//' | sort -u"
            ),
        ),
        (
            "clone children",
            format!("cat /sys/fs/cgroup/*/lxc.payload.{name}/cgroup.clone_children"),
        ),
    ] {
        let text = m.sh(&script).stdout;
        for (number, line) in text.lines().enumerate() {
            report.insert(format!("host {key} {number}"), line.trim().to_string());
        }
    }
}

/// Every path below the root file system with its kind, mode, owner and size.
fn files(root: &Path) -> Report {
    let mut found = Report::new();
    let script = "find . -xdev -printf '%P|%y %m %U:%G %l %s\\n'";
    let output =
        std::process::Command::new("sh").args(["-c", script]).current_dir(root).output().unwrap();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((path, what)) = line.split_once('|') else { continue };
        let mut what = what.to_string();
        if what.starts_with('d') {
            // A directory's size is the file system's business.
            what.truncate(what.rfind(' ').unwrap_or(what.len()));
        }
        found.insert(path.to_string(), what);
    }
    found
}

/// What the run has left changed in the root file system.
fn changes(before: &Report, after: &Report, report: &mut Report) {
    for difference in differences(after, before) {
        if !difference.key.starts_with("report/") {
            let mut text = String::new();
            let _ = write!(text, "{} (was {})", difference.ours.trim(), difference.theirs.trim());
            report.insert(format!("changed {}", difference.key), text);
        }
    }
}
