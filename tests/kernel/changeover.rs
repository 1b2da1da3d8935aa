//! A host is changed over while its containers run: five kinds of them, started by Debian's lxc,
//! are listed, entered, frozen, stopped and started again by ours; and the other way round.

use crate::machine::{Machine, Outcome, eventually};
use crate::protocol::{theirs, without_lxc};
use std::fs;

type Tool = fn(&Machine, &str, &[&str]) -> Outcome;

fn ours(m: &Machine, tool: &str, args: &[&str]) -> Outcome {
    m.lxc(tool, args)
}

const VETH: &str = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n";

struct Kind {
    name: String,
    address: &'static str,
}

/// One with an address on a bridge, one with a user namespace, one on an overlay, one with limits
/// and terminals, and one that shares the network of the first.
fn kinds(m: &Machine, tag: &str) -> Vec<Kind> {
    let name = |short: &str| format!("{tag}{short}");
    let veth = m.container(
        &name("veth"),
        &format!("{VETH}lxc.net.0.ipv4.address = 10.80.0.2/24\nlxc.start.auto = 1\n"),
    );
    let user = m.container(
        &name("user"),
        &format!(
            "{VETH}lxc.net.0.ipv4.address = 10.80.0.3/24\nlxc.idmap = u 0 100000 65536\n\
             lxc.idmap = g 0 100000 65536\nlxc.pty.max = 8\n"
        ),
    );
    m.sh(&format!("chown -R 100000:100000 {}", m.lxcpath().join(&user).display())).ok();
    let overlay = m.container(&name("overlay"), "lxc.net.0.type = empty\n");
    let dir = m.lxcpath().join(&overlay);
    for part in ["delta", "work"] {
        fs::create_dir_all(dir.join("overlay").join(part)).unwrap();
    }
    let lower = dir.join("rootfs").display().to_string();
    let text = fs::read_to_string(m.config(&overlay)).unwrap().replace(
        &format!("dir:{lower}"),
        &format!("overlay:{lower}:{}/overlay/delta", dir.display()),
    );
    fs::write(m.config(&overlay), text).unwrap();
    let limits = m.container(
        &name("limits"),
        "lxc.net.0.type = empty\nlxc.cgroup.pids.max = 77\nlxc.cgroup.devices.deny = a\n\
         lxc.cgroup.devices.allow = c 1:3 rwm\nlxc.cgroup.devices.allow = c 5:* rwm\n\
         lxc.cgroup.devices.allow = c 136:* rwm\nlxc.cgroup.memory.limit_in_bytes = 200M\n\
         lxc.tty.max = 2\nlxc.pty.max = 9\nlxc.mount.auto = proc:mixed\nlxc.cap.drop = sys_time\n\
         lxc.prlimit.nofile = 1000\n",
    );
    let shares = m.container(&name("shares"), &format!("lxc.namespace.share.net = {veth}\n"));
    [(veth, "10.80.0.2"), (user, "10.80.0.3"), (overlay, ""), (limits, ""), (shares, "10.80.0.2")]
        .map(|(name, address)| Kind { name, address })
        .into()
}

/// A bridge, and ids that LXC's newuidmap lets root have.
fn prepare(m: &Machine) {
    m.sh("ip link add br0 type bridge && ip addr add 10.80.0.1/24 dev br0 && ip link set br0 up")
        .ok();
    let ids = m.dir.join("subids");
    fs::write(&ids, "root:100000:65536\n").unwrap();
    for file in ["/etc/subuid", "/etc/subgid"] {
        m.sh(&format!("mount --bind {} {file}", ids.display())).ok();
    }
}

fn change_over(m: &Machine, tag: &str, before: Tool, after: Tool) {
    let kinds = kinds(m, tag);
    for kind in &kinds {
        before(m, "start", &["-n", &kind.name]).ok();
    }
    // All of it is seen.
    let table = after(m, "ls", &["-f", "-F", "NAME,STATE,PID,IPV4,UNPRIVILEGED"]).ok();
    for kind in &kinds {
        let row = table.lines().find(|line| line.starts_with(&format!("{} ", kind.name)));
        let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
        let pid = before(m, "info", &["-n", &kind.name, "-pH"]).ok();
        let address = if kind.address.is_empty() { "-" } else { kind.address };
        let user = if kind.name.ends_with("user") { "true" } else { "false" };
        assert_eq!(row, [&kind.name, "RUNNING", pid.trim(), address, user], "{table}");
    }
    for Kind { name, .. } in &kinds {
        // Entered, with the limits it has.
        let args = ["-n", name, "--", "/bin/sh", "-c", "hostname"];
        let said = after(m, "attach", &args).ok();
        assert_eq!(Some(said.trim()), name.rsplit('-').next(), "{name}");
        if name.ends_with("limits") {
            let args = ["-n", name, "--", "sh", "-c", "ulimit -n; grep CapBnd /proc/self/status"];
            let caps = after(m, "attach", &args).ok();
            let bits = u64::from_str_radix(caps.split_whitespace().last().unwrap(), 16).unwrap();
            assert_eq!(bits >> 25 & 1, 0, "sys_time is dropped: {caps}");
        }
        after(m, "freeze", &["-n", name]).ok();
        assert_eq!(before(m, "info", &["-n", name, "-sH"]).ok(), "FROZEN\n");
        after(m, "unfreeze", &["-n", name]).ok();
        assert_eq!(before(m, "info", &["-n", name, "-sH"]).ok(), "RUNNING\n");
    }
    // A file that was written before is there after the change.
    let overlay = &kinds[2].name;
    before(m, "attach", &["-n", overlay, "--", "touch", "/root/kept"]).ok();
    for Kind { name, .. } in &kinds {
        if name.ends_with("shares") {
            after(m, "stop", &["-n", name, "-k"]).ok();
        }
    }
    for Kind { name, .. } in kinds.iter().filter(|kind| !kind.name.ends_with("shares")) {
        after(m, "stop", &["-n", name, "-t", "30"]).ok();
    }
    let table = after(m, "ls", &["-f", "--running"]).ok();
    assert!(kinds.iter().all(|kind| !table.contains(&kind.name)), "{table}");
    // Started again, by the new one.
    for Kind { name, .. } in &kinds {
        after(m, "start", &["-n", name]).ok();
        after(m, "wait", &["-n", name, "-s", "RUNNING", "-t", "20"]).ok();
        assert_eq!(after(m, "info", &["-n", name, "-sH"]).ok(), "RUNNING\n");
    }
    after(m, "attach", &["-n", overlay, "--", "test", "-e", "/root/kept"]).ok();
    eventually(10, "the address", || {
        let said = after(m, "info", &["-n", &kinds[0].name, "-iH"]).ok();
        (said == "10.80.0.2\n").then_some(())
    });
    // The old ones' last word: they are still understood by what was there before.
    for Kind { name, .. } in kinds.iter().rev() {
        before(m, "stop", &["-n", name, "-k"]).ok();
    }
}

#[test]
fn from_debians_lxc_to_ours() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    prepare(&m);
    change_over(&m, "d", theirs, ours);
}

#[test]
fn and_back() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    prepare(&m);
    change_over(&m, "o", ours, theirs);
}
