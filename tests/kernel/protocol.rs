//! The command socket: hostile peers, peers from inside a container, and
//! Debian's LXC on the other end in both directions.

use crate::machine::{BINARY, Machine, eventually, run};
use rustix::process::{Gid, Uid};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

const EMPTY: &str = "lxc.net.0.type = empty\n";

/// A request's header: command, length, pointer.
fn header(cmd: i32, datalen: i32, word: isize) -> Vec<u8> {
    let mut out = cmd.to_ne_bytes().to_vec();
    out.extend_from_slice(&datalen.to_ne_bytes());
    out.extend_from_slice(&word.to_ne_bytes());
    out
}

/// What `peer` gives, run by a thread of its own in the machine's network namespace, where the
/// sockets are. With `Some` uid the thread is that user and in no other group.
pub fn as_peer<T: Send>(
    m: &Machine,
    container: &str,
    uid: Option<u32>,
    peer: impl FnOnce(&SocketAddr) -> T + Send,
) -> T {
    let address = format!("{}/{container}/command", m.lxcpath().display());
    let address = SocketAddr::from_abstract_name(address).unwrap();
    let netns = fs::File::open(format!("/proc/{}/ns/net", m.holder())).unwrap();
    let enter = || {
        rustix::thread::move_into_link_name_space(
            netns.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .unwrap();
        // These are the kernel's calls, which change the calling thread alone.
        if let Some(id) = uid {
            let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        }
        peer(&address)
    };
    std::thread::scope(|s| s.spawn(enter).join()).unwrap_or_else(|e| std::panic::resume_unwind(e))
}

fn connect(address: &SocketAddr) -> UnixStream {
    let stream = UnixStream::connect_addr(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// The first number of the answer; `None` when the connection ends without one.
fn answer(stream: &mut UnixStream) -> Option<i32> {
    let mut bytes = [0; 8 + size_of::<usize>()];
    match stream.read_exact(&mut bytes) {
        Ok(()) => Some(i32::from_ne_bytes(bytes[..4].try_into().unwrap())),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer and no end"),
        Err(_) => None,
    }
}

/// Sends what no client sends; the monitor answers in between.
fn hostile_peer(address: &SocketAddr) {
    let connect = || connect(address);
    let alive = || {
        let mut stream = connect();
        stream.write_all(&header(3, 0, 0)).unwrap();
        assert_eq!(answer(&mut stream), Some(0), "GET_STATE is answered");
    };
    // Lengths, commands and strings that no client sends.
    for datalen in [-1, i32::MIN, 8193, i32::MAX] {
        for cmd in 0..28 {
            let mut stream = connect();
            stream.write_all(&header(cmd, datalen, -1)).unwrap();
            let _ = stream.write_all(&[0xff; 64]);
            assert!(answer(&mut stream).is_none_or(|ret| ret < 0), "{cmd} {datalen}");
        }
    }
    alive();
    for cmd in [-1, 27, 99, i32::MAX] {
        let mut stream = connect();
        stream.write_all(&header(cmd, 0, 0)).unwrap();
        assert_eq!(answer(&mut stream), Some(-38), "ENOSYS for {cmd}");
    }
    for cmd in [6, 7, 10, 11, 14, 19, 23, 24, 25] {
        for data in [&b"x"[..], &[0xff; 300], b"a\0b\0", &[0; 7], b"\xff\0"] {
            let mut stream = connect();
            stream.write_all(&header(cmd, data.len() as i32, 0)).unwrap();
            stream.write_all(data).unwrap();
            let ret = answer(&mut stream);
            assert!(ret.is_some(), "{cmd} {data:?}");
        }
    }
    alive();
    // Half a frame, and many who say nothing at all.
    let mut half = connect();
    half.write_all(&header(3, 0, 0)[..5]).unwrap();
    let idle: Vec<_> = (0..300).map(|_| connect()).collect();
    alive();
    drop(idle);
    // Requests without end from somebody who reads nothing.
    let flood = connect();
    flood.set_nonblocking(true).unwrap();
    let frame = header(9, 0, 0);
    while (&flood).write(&frame).is_ok_and(|n| n == frame.len()) {}
    alive();
    // A state client that talks.
    let mut watcher = connect();
    watcher.write_all(&header(10, 32, 0)).unwrap();
    watcher.write_all(&[0; 32]).unwrap();
    assert_eq!(answer(&mut watcher), Some(8));
    watcher.write_all(&header(2, 0, 0)).unwrap();
    assert_eq!(answer(&mut watcher), None);
    alive();
}

#[test]
fn hostile_frames_change_nothing() {
    let m = Machine::new();
    let c = m.container("frames", EMPTY);
    m.start(&c);
    as_peer(&m, &c, None, hostile_peer);
    assert_eq!(m.state(&c), "RUNNING");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
}

#[test]
fn strangers_are_told_so() {
    let m = Machine::new();
    let c = m.container("strangers", EMPTY);
    m.start(&c);
    let idle = as_peer(&m, &c, Some(65534), |address| {
        // 13 comes with a second message, which is waited for.
        for cmd in (0..27).filter(|cmd| *cmd != 13) {
            let mut stream = connect(address);
            stream.write_all(&header(cmd, 0, 0)).unwrap();
            assert_eq!(answer(&mut stream), Some(-1), "EPERM for {cmd}");
        }
        (0..100).map(|_| connect(address)).collect::<Vec<_>>()
    });
    // They may wait outside, but not so many that others cannot get in.
    assert_eq!(m.state(&c), "RUNNING");
    drop(idle);
    assert_eq!(m.state(&c), "RUNNING");
}

/// What a container needs to run our own dynamically or statically linked binary.
fn with_binary(lines: &str) -> String {
    let mut config = lines.to_owned();
    for dir in ["lib", "lib64"] {
        if Path::new("/usr").join(dir).exists() {
            config.push_str(&format!(
                "lxc.mount.entry = /usr/{dir} {dir} none ro,bind,create=dir 0 0\n"
            ));
        }
    }
    config
        .push_str(&format!("lxc.mount.entry = {BINARY} bin/lxcbox none ro,bind,create=file 0 0\n"));
    config
}

/// The root of a privileged container that shares the network namespace, and with it the abstract
/// sockets, may not command any monitor (the lesson of CVE-2020-15257).
#[test]
fn nobody_inside_a_container_is_obeyed() {
    let m = Machine::new();
    let other = m.container("other", EMPTY);
    m.start(&other);
    // No init system would run there without a pid namespace.
    let shared = "lxc.net.0.type = none\nlxc.mount.auto = proc:rw\n\
                  lxc.init.cmd = /bin/sleep 1000\n";
    for (short, more) in [
        ("netns", ""),
        ("pidns", "lxc.namespace.keep = net pid user\n"),
        // Nothing but its place in the cgroup tells this one's processes from the host's.
        ("cgns", "lxc.namespace.keep = net pid user cgroup\n"),
    ] {
        let c = m.container(short, &with_binary(&format!("{shared}{more}")));
        m.start(&c);
        let path = m.lxcpath();
        let ask = |name: &str, words: &str| {
            m.inside(&c, &format!("/bin/lxcbox {words} -P {} -n {name}", path.display()))
        };
        // The tool works in there: the socket is found, and refuses.
        assert!(m.inside(&c, "cat /proc/net/unix").ok().contains(&format!("{c}/command")));
        let names = if short == "cgns" { vec![&c] } else { vec![&c, &other] };
        for name in names {
            for words in ["lxc-freeze", "lxc-stop -k", "lxc-console -t 0"] {
                let said = ask(name, words);
                assert_ne!(said.status, 0, "{short} {words} -n {name}: {}", said.stdout);
            }
            assert_eq!(m.state(name), "RUNNING", "{short}");
        }
        m.lxc("stop", &["-n", &c, "-k"]).ok();
    }
}

/// True, and a word about it, when Debian's LXC is not there to compare with.
pub fn without_lxc() -> bool {
    let missing = !Path::new("/usr/bin/lxc-info").exists();
    if missing {
        assert!(std::env::var_os("LXCBOX_TEST_NO_SKIPS").is_none(), "Debian's lxc is missing");
        eprintln!("skipped: Debian's lxc is not installed");
    }
    missing
}

/// One of Debian's tools.
pub fn theirs(m: &Machine, tool: &str, args: &[&str]) -> crate::machine::Outcome {
    let mut command = m.command(format!("/usr/bin/lxc-{tool}"));
    command.arg("-P").arg(m.lxcpath()).args(args);
    run(command)
}

#[test]
fn debians_tools_manage_our_containers() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("ours", &format!("{EMPTY}lxc.tty.max = 2\nlxc.pty.max = 8\n"));
    m.start(&c);
    assert_eq!(theirs(&m, "info", &["-n", &c, "-sH"]).ok(), "RUNNING\n");
    let pid = theirs(&m, "info", &["-n", &c, "-pH"]).ok();
    assert_eq!(pid.trim(), m.init_pid(&c).to_string());
    let table = theirs(&m, "ls", &["-f"]).ok();
    assert!(table.contains(&format!("{c} RUNNING")), "{table}");
    assert_eq!(theirs(&m, "attach", &["-n", &c, "--", "hostname"]).ok(), "ours\n");
    theirs(&m, "freeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "FROZEN");
    theirs(&m, "wait", &["-n", &c, "-s", "FROZEN", "-t", "1"]).ok();
    theirs(&m, "unfreeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "RUNNING");
    theirs(&m, "wait", &["-n", &c, "-s", "RUNNING", "-t", "1"]).ok();
    theirs(&m, "start", &["-n", &c]).ok();
    theirs(&m, "stop", &["-n", &c, "-t", "20"]).ok();
    assert_eq!(m.state(&c), "STOPPED");
    m.start(&c);
    theirs(&m, "stop", &["-n", &c, "-k"]).ok();
    theirs(&m, "wait", &["-n", &c, "-s", "STOPPED", "-t", "5"]).ok();
    assert_eq!(theirs(&m, "info", &["-n", &c, "-sH"]).ok(), "STOPPED\n");
}

#[test]
fn our_tools_manage_debians_containers() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("theirs", &format!("{EMPTY}lxc.tty.max = 2\nlxc.pty.max = 8\n"));
    let start = |m: &Machine| theirs(m, "start", &["-n", &c]).ok();
    start(&m);
    assert_eq!(m.state(&c), "RUNNING");
    let pid = theirs(&m, "info", &["-n", &c, "-pH"]).ok();
    assert_eq!(pid.trim(), m.init_pid(&c).to_string());
    assert!(m.lxc("ls", &["--running", "-1"]).ok().contains(&c));
    assert_eq!(m.inside(&c, "hostname").ok(), "theirs\n");
    m.lxc("freeze", &["-n", &c]).ok();
    assert_eq!(theirs(&m, "info", &["-n", &c, "-sH"]).ok(), "FROZEN\n");
    m.lxc("wait", &["-n", &c, "-s", "FROZEN", "-t", "1"]).ok();
    m.lxc("unfreeze", &["-n", &c]).ok();
    assert_eq!(m.state(&c), "RUNNING");
    m.lxc("start", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c, "-t", "20"]).ok();
    assert_eq!(m.state(&c), "STOPPED");
    start(&m);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    m.lxc("wait", &["-n", &c, "-s", "STOPPED", "-t", "5"]).ok();
    assert_eq!(m.state(&c), "STOPPED");
}

/// A client of lxc-monitord sees our container's life as it would see LXC's.
#[test]
fn lxc_monitor_is_told() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    let c = m.container("told", EMPTY);
    let file = m.dir.join("monitor.out");
    let log = fs::File::create(&file).unwrap();
    let mut command = m.command("/usr/bin/lxc-monitor");
    command.arg("-P").arg(m.lxcpath()).args(["-n", &c]).stdout(log);
    let mut monitor = command.spawn().unwrap();
    let ready = format!("test -p /run/lxc{}/monitor-fifo", m.lxcpath().display());
    eventually(10, "lxc-monitord", || (m.sh(&ready).status == 0).then_some(()));
    // Its client is connected a moment later.
    std::thread::sleep(Duration::from_millis(500));
    m.start(&c);
    m.lxc("freeze", &["-n", &c]).ok();
    m.lxc("unfreeze", &["-n", &c]).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let wanted = ["STARTING", "RUNNING", "FREEZING", "FROZEN", "THAWED", "RUNNING", "STOPPING"];
    let mut lines: Vec<String> =
        wanted.iter().map(|s| format!("'{c}' changed state to [{s}]")).collect();
    lines.insert(6, format!("'{c}' exited with status [0]"));
    lines.push(format!("'{c}' changed state to [STOPPED]"));
    let wanted = lines.join("\n") + "\n";
    let mut seen = String::new();
    let done = (0..250).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        seen = fs::read_to_string(&file).unwrap();
        seen == wanted
    });
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    theirs(&m, "monitor", &["-Q", "-n", &c]);
    assert!(done, "saw:\n{seen}wanted:\n{wanted}");
}
