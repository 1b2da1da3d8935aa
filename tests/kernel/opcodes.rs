//! Every command of the protocol, asked of a monitor of ours and of one of Debian's that run the
//! same configuration; the answers have to mean the same.

use crate::machine::Machine;
use crate::protocol::{as_peer, theirs, without_lxc};
use lxcbox::control::client::{Client, ClientError, Watch};
use lxcbox::control::proto::{ConsoleLog, DeviceRule};
use lxcbox::control::state::State;
use std::fmt::{Debug, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

/// What an answer says, without what differs from run to run.
fn said<T>(
    out: &mut String,
    what: &str,
    answer: Result<T, ClientError>,
    show: impl Fn(T) -> String,
) {
    let text = match answer {
        Ok(value) => show(value),
        Err(ClientError::Failed { errno, .. }) => format!("fails with {errno}"),
        Err(ClientError::Denied { .. }) => "fails with 1".into(),
        Err(ClientError::NoReply { .. }) => "hangs up".into(),
        Err(e) => format!("{e}"),
    };
    let _ = writeln!(out, "{what}: {text}");
}

fn shown(value: impl Debug) -> String {
    format!("{value:?}")
}

/// What a descriptor leads to.
fn leads_to(fd: impl AsFd) -> String {
    let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    let path = std::fs::read_link(link).unwrap_or_default().display().to_string();
    if path.contains("/lxc.payload.") {
        path[path.find("/lxc.payload.").unwrap_or_default()..].to_owned()
    } else {
        path
    }
}

/// The answers to everything that changes nothing, then to what does.
fn ask_all(path: &Path, name: &str) -> String {
    let mut all = String::new();
    let out = &mut all;
    let client = Client::new(path, name);
    for number in [0, 1, 2, -1, 99] {
        if number == -1 {
            // What other tests' threads have just forked has the last connections until its exec.
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        said(out, &format!("GET_TTY_FD {number}"), client.tty(number), |tty| {
            format!("number {} and {}", tty.number, leads_to(&tty.master))
        });
    }
    said(out, "GET_STATE", client.state(), shown);
    said(out, "GET_INIT_PID", client.init_pid(), |pid| shown(pid > 1));
    said(out, "GET_CLONE_FLAGS", client.clone_flags(), |flags| format!("{flags:#x}"));
    for controller in ["memory", "freezer", "pids", "devices", "cpuset", "nonsense"] {
        let some = Some(controller);
        said(out, &format!("GET_CGROUP {controller}"), client.cgroup_path(some), shown);
        said(out, &format!("GET_LIMIT_CGROUP {controller}"), client.limit_cgroup_path(some), shown);
        for (what, answer) in [
            ("GET_CGROUP_FD", client.cgroup_fd(controller)),
            ("GET_LIMIT_CGROUP_FD", client.limit_cgroup_fd(controller)),
        ] {
            said(out, &format!("{what} {controller}"), answer, |(fd, info)| {
                format!("{} {info:?}", leads_to(fd))
            });
        }
    }
    said(out, "GET_CGROUP", client.cgroup_path(None), |path| shown(path.is_some()));
    for key in [
        "lxc.uts.name",
        "lxc.net.0.type",
        "lxc.net.0.link",
        "lxc.net.0.veth.pair",
        "lxc.cap.drop",
        "lxc.cgroup.pids.max",
        "lxc.mount.entry",
        "lxc.signal.halt",
        "lxc.environment",
        "lxc.tty.max",
        "lxc.nonsense",
    ] {
        said(out, &format!("GET_CONFIG_ITEM {key}"), client.config_item(key), |value| {
            let value = value.map(|text| text.trim().to_owned());
            let made = |text: &String| key.ends_with("veth.pair") && text.starts_with("veth");
            if value.as_ref().is_some_and(made) { "veth…".into() } else { shown(value) }
        });
    }
    said(out, "GET_NAME", client.name(), shown);
    said(out, "GET_LXCPATH", client.lxcpath(), |found| shown(found == path));
    for states in [&[State::Running][..], &[State::Frozen, State::Stopped], &[]] {
        for keep in [false, true] {
            let what = format!("ADD_STATE_CLIENT {states:?} {keep}");
            said(out, &what, client.watch(states, keep), |watch| match watch {
                Watch::Reached(state) => format!("is {state}"),
                Watch::Pending(_) => "will be told".into(),
            });
        }
    }
    for (read, clear, read_max) in
        [(true, false, 0), (true, false, 4), (false, true, 0), (true, false, 0)]
    {
        let what = ConsoleLog { read, clear, read_max, keep: false };
        said(out, &format!("CONSOLE_LOG {what:?}"), client.console_log(what), |bytes| {
            shown(String::from_utf8_lossy(&bytes))
        });
    }
    said(out, "GET_CGROUP2_FD", client.cgroup2_fd(), |fd| shown(fd.map(leads_to)));
    said(out, "GET_LIMIT_CGROUP2_FD", client.limit_cgroup2_fd(), |fd| shown(fd.map(leads_to)));
    said(out, "GET_INIT_PIDFD", client.init_pidfd(), |fd| shown(fd.map(leads_to)));
    said(out, "GET_DEVPTS_FD", client.devpts_fd(), |fd| shown(fd.map(leads_to)));
    said(out, "GET_SECCOMP_NOTIFY_FD", client.seccomp_notify_fd(), |fd| shown(fd.is_some()));
    said(out, "GET_CGROUP_CTX", client.cgroup_ctx(), |ctx| {
        let mut fds: Vec<String> = ctx.fds.iter().map(leads_to).collect();
        fds.sort();
        fds.dedup();
        format!("{:?} {fds:?}", ctx.info)
    });
    said(out, "GET_SYSTEMD_SCOPE", client.systemd_scope(), shown);
    let null = std::fs::File::open("/dev/null").unwrap();
    let listener = client.add_seccomp_listener(null.as_fd());
    said(out, "SECCOMP_NOTIFY_ADD_LISTENER", listener, shown);
    let rule = DeviceRule { kind: b'c', major: 1, minor: 3, access: *b"rwm", allow: true };
    said(out, "ADD_BPF_DEVICE_CGROUP", client.add_device_rule(rule), shown);
    said(out, "FREEZE", client.freeze(10), shown);
    said(out, "UNFREEZE", client.unfreeze(10), shown);
    for state in [State::Freezing, State::Frozen, State::Thawed, State::Running] {
        said(out, &format!("SERVE_STATE_CLIENTS {state}"), client.announce(state), shown);
        said(out, "  then GET_STATE", client.state(), shown);
    }
    said(out, "STOP", client.stop(None), shown);
    said(out, "  then GET_STATE", client.state(), shown);
    all.replace(name, "NAME")
}

/// Where ours answers otherwise on purpose: the beginning of the line, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("GET_TTY_FD 99", "ENXIO for a number that is too high, where LXC has EBADF for everything"),
    ("GET_CGROUP:", "without a controller the first hierarchy, where LXC has none but version 2's"),
    ("ADD_BPF_DEVICE_CGROUP", "version 1's list is changed where there is no device program"),
    ("FREEZE", "the monitor freezes on version 1, too, where LXC leaves it to its tools"),
    ("UNFREEZE", "likewise"),
];

#[test]
fn every_command_is_answered_as_by_lxc() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    m.sh("ip link add br0 type bridge && ip link set br0 up").ok();
    let lines = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.tty.max = 2\nlxc.pty.max = 9\n\
                 lxc.console.buffer.size = 4096\nlxc.cgroup.pids.max = 100\n\
                 lxc.cap.drop = sys_time mac_admin\nlxc.environment = A=b\n\
                 lxc.mount.entry = tmpfs mnt tmpfs rw 0 0\n\
                 lxc.init.cmd = /bin/talk\n";
    let ask = |short: &str| {
        let c = m.container("same", lines);
        let talk = m.lxcpath().join(&c).join("rootfs/bin/talk");
        std::fs::write(&talk, "#!/bin/sh\necho to the console\nexec sleep 1000\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&talk, mode).unwrap();
        // One uts name, two names.
        let name = m.name(short);
        std::fs::rename(m.lxcpath().join(&c), m.lxcpath().join(&name)).unwrap();
        let config = std::fs::read_to_string(m.config(&name)).unwrap().replace(&c, &name);
        std::fs::write(m.config(&name), config).unwrap();
        match short {
            "ours" => m.lxc("start", &["-n", &name]).ok(),
            _ => theirs(&m, "start", &["-n", &name]).ok(),
        };
        std::thread::sleep(std::time::Duration::from_millis(300));
        let path = m.lxcpath();
        as_peer(&m, &name, None, |_| ask_all(&path, &name))
    };
    let (ours, debians) = (ask("ours"), ask("debians"));
    println!("{ours}");
    assert_eq!(ours.lines().count(), debians.lines().count());
    let mut wrong = String::new();
    for (our, their) in ours.lines().zip(debians.lines()) {
        let known = DIFFERENCES.iter().any(|(line, _)| our.starts_with(line));
        if our != their && !known {
            let _ = writeln!(wrong, "ours    {our}\nDebian  {their}");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
