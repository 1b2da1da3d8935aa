//! The server against the client and against raw frames, over a real socket.

use super::*;
use crate::control::client::{Client as Asker, ClientError, Watch};
use crate::control::proto::{HEADER_BYTES, Header, Layout, Opcode, Request};
use crate::sys::unix::Block;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// A container of which everything is known.
struct Known {
    frozen: Cell<bool>,
    refuses_to_freeze: bool,
    holds_everybody: bool,
    stopped: bool,
    reserved: Vec<u32>,
    log: Vec<u8>,
}

impl Known {
    fn new() -> Self {
        Self {
            frozen: Cell::new(false),
            refuses_to_freeze: false,
            holds_everybody: false,
            stopped: false,
            reserved: Vec::new(),
            log: vec![b'x'; 300_000],
        }
    }
}

const INFO: CgroupInfo =
    CgroupInfo { layout: Layout::Hybrid, devices: false, freezer: true, v2: false };

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

impl Container for Known {
    fn name(&self) -> &str {
        "known"
    }
    fn lxcpath(&self) -> &Path {
        Path::new("/some/path")
    }
    fn init_pid(&self) -> Option<i32> {
        Some(4242)
    }
    fn init_pidfd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn clone_flags(&self) -> u32 {
        0x6c02_0000
    }
    fn config_item(&self, key: &str) -> Option<String> {
        (key == "lxc.uts.name").then(|| "known".to_owned())
    }
    fn cgroup_path(&self, controller: Option<&str>, _: Which) -> Option<String> {
        (controller == Some("memory")).then(|| "/lxc.payload.known".to_owned())
    }
    fn cgroup_fd(&self, controller: &str, _: Which) -> Option<(OwnedFd, CgroupInfo)> {
        (controller == "freezer").then(|| (null(), INFO))
    }
    fn cgroup2_fd(&self, _: Which) -> Option<OwnedFd> {
        None
    }
    fn cgroups(&self) -> (CgroupInfo, Vec<OwnedFd>) {
        (INFO, vec![null(), null()])
    }
    fn holds(&self, _: i32) -> bool {
        self.holds_everybody
    }
    fn stop(&mut self) -> std::result::Result<(), i32> {
        self.stopped = true;
        Ok(())
    }
    fn request_freeze(&mut self, frozen: bool) -> std::result::Result<(), i32> {
        self.frozen.set(frozen && !self.refuses_to_freeze);
        Ok(())
    }
    fn freeze_reached(&self, frozen: bool) -> std::result::Result<bool, i32> {
        Ok(self.frozen.get() == frozen)
    }
    fn add_device_rule(&mut self, _: DeviceRule) -> std::result::Result<(), i32> {
        Err(errno::EOPNOTSUPP)
    }
    fn devpts_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn seccomp_notify_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn add_seccomp_listener(&mut self, _: OwnedFd) -> std::result::Result<(), i32> {
        Ok(())
    }
}

/// The terminals, apart from the container as in the monitor.
struct Ttys(Vec<u32>, Vec<u8>);

impl Terminals for Ttys {
    fn reserve(&mut self, number: i32, client: u32) -> std::result::Result<(i32, OwnedFd), i32> {
        if !self.0.is_empty() {
            return Err(errno::EBUSY);
        }
        self.0.push(client);
        Ok((number.max(1), null()))
    }
    fn release(&mut self, client: u32) {
        self.0.retain(|c| *c != client);
    }
    fn console_log(&mut self, what: ConsoleLog) -> std::result::Result<Vec<u8>, i32> {
        if what.read { Ok(self.1.clone()) } else { Err(errno::ENODATA) }
    }
}

/// Runs a server in this thread while `ask` runs in another.
fn with_server(
    known: &mut Known,
    name: &str,
    ask: impl FnOnce(&Path, &str) + Send,
) -> (Server, Ttys) {
    let dir = format!("/lxcbox-test-{}", std::process::id());
    let lxcpath = Path::new(&dir);
    let mut server = Server::bind(lxcpath, name).unwrap();
    server.set_state(State::Running);
    let mut ttys = Ttys(known.reserved.clone(), known.log.clone());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The other thread must see the end also when an assertion fails here.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                ask(lxcpath, name);
            }));
            done.store(true, Ordering::SeqCst);
            result.unwrap();
        });
        while !done.load(Ordering::SeqCst) {
            let limit = server.timeout().unwrap_or(Duration::MAX).min(Duration::from_millis(5));
            let until = Some(Instant::now() + limit);
            crate::sys::event::poll(server.as_fd(), Ready::READ, until).unwrap();
            server.serve(known, &mut ttys).unwrap();
        }
    });
    // What the client's going has left to do.
    server.serve(known, &mut ttys).unwrap();
    (server, ttys)
}

#[test]
fn every_question_is_answered() {
    let (_, ttys) = with_server(&mut Known::new(), "q", |path, name| {
        let c = Asker::new(path, name);
        assert_eq!(c.state().unwrap(), State::Running);
        let status = c.status().unwrap();
        assert_eq!((status.state, status.init_pid), (State::Running, Some(4242)));
        assert!(c.init_pidfd().unwrap().is_none());
        assert_eq!(c.clone_flags().unwrap(), 0x6c02_0000);
        assert_eq!(c.config_item("lxc.uts.name").unwrap().as_deref(), Some("known"));
        assert_eq!(c.config_item("lxc.nonsense").unwrap(), None);
        let path = c.cgroup_path(Some("memory")).unwrap();
        assert_eq!(path.as_deref(), Some("/lxc.payload.known"));
        assert_eq!(c.limit_cgroup_path(None).unwrap(), None);
        assert_eq!(c.cgroup_fd("freezer").unwrap().1, INFO);
        assert!(matches!(c.cgroup_fd("x"), Err(ClientError::Failed { errno: errno::ENOENT, .. })));
        assert!(c.cgroup2_fd().unwrap().is_none());
        assert_eq!(c.cgroup_ctx().unwrap().fds.len(), 2);
        assert_eq!(c.name().unwrap(), "known");
        assert_eq!(c.lxcpath().unwrap(), Path::new("/some/path"));
        assert!(c.systemd_scope().unwrap().is_none());
        let log = c.console_log(ConsoleLog { read: true, ..ConsoleLog::default() }).unwrap();
        assert_eq!(log.len(), 300_000);
        let rule = DeviceRule { kind: b'c', major: 1, minor: 3, access: *b"r\0\0", allow: true };
        assert!(matches!(c.add_device_rule(rule), Err(ClientError::Failed { .. })));
        c.add_seccomp_listener(null().as_fd()).unwrap();
        assert!(c.may_control());
    });
    assert!(ttys.0.is_empty());
}

#[test]
fn terminals_are_held_by_their_connection() {
    let (_, ttys) = with_server(&mut Known::new(), "tty", |path, name| {
        let c = Asker::new(path, name);
        let tty = c.tty(-1).unwrap();
        assert_eq!(tty.number, 1);
        assert!(matches!(c.tty(-1), Err(ClientError::Failed { errno: errno::EBUSY, .. })));
        drop(tty);
        // The server learns of it when it reads the end of the connection.
        while c.tty(-1).is_err() {}
    });
    assert!(ttys.0.is_empty());
}

#[test]
fn freezes_are_waited_for_and_announced() {
    let mut known = Known::new();
    with_server(&mut known, "fr", |path, name| {
        let c = Asker::new(path, name);
        let Watch::Pending(frozen) = c.watch(&[State::Frozen], false).unwrap() else { panic!() };
        c.freeze(5).unwrap();
        assert_eq!(c.state().unwrap(), State::Frozen);
        assert_eq!(frozen.next(None).unwrap(), Some(State::Frozen));
        let Watch::Pending(thawed) = c.watch(&[State::Thawed], false).unwrap() else { panic!() };
        c.unfreeze(-1).unwrap();
        assert_eq!(thawed.next(None).unwrap(), Some(State::Thawed));
        assert_eq!(c.state().unwrap(), State::Running);
        // Done by the caller through the cgroup, as LXC's tools do on version 1.
        c.announce(State::Frozen).unwrap();
        assert_eq!(c.state().unwrap(), State::Frozen);
        assert!(c.announce(State::Stopped).is_err());
    });
    known.refuses_to_freeze = true;
    with_server(&mut known, "fr2", |path, name| {
        let c = Asker::new(path, name);
        let e = c.freeze(1).unwrap_err();
        assert!(matches!(e, ClientError::Failed { errno: errno::ETIMEDOUT, .. }), "{e}");
        assert_eq!(c.state().unwrap(), State::Running);
    });
}

#[test]
fn stop_ends_with_the_server() {
    let mut known = Known::new();
    let (server, _) = with_server(&mut known, "stop", |path, name| {
        let c = Asker::new(path, name);
        let soon = Instant::now() + Duration::from_millis(50);
        assert!(!c.stop(Some(soon)).unwrap());
        assert!(matches!(c.watch(&[State::Running], false), Ok(Watch::Reached(State::Running))));
        assert!(matches!(c.watch(&[State::Running], true), Ok(Watch::Pending(_))));
    });
    assert!(known.stopped);
    let path = format!("/lxcbox-test-{}", std::process::id());
    let asker = Asker::new(Path::new(&path), "stop");
    drop(server);
    assert_eq!(asker.state().unwrap(), State::Stopped);
    assert!(matches!(asker.stop(None), Err(ClientError::NotRunning { .. })));
    let gone = asker.watch(&[State::Stopped], false).unwrap();
    assert!(matches!(gone, Watch::Reached(State::Stopped)));
    assert!(matches!(asker.init_pid(), Err(ClientError::NotRunning { .. })));
}

#[test]
fn processes_of_the_container_are_refused() {
    let mut known = Known::new();
    known.holds_everybody = true;
    with_server(&mut known, "in", |path, name| {
        let c = Asker::new(path, name);
        assert!(matches!(c.state(), Err(ClientError::Denied { .. })));
        assert!(!c.may_control());
        // Many of them do not keep others out, and are not served for ever either.
        let address = address::command_socket(path, name);
        let idle: Vec<_> =
            (0..40).map(|_| unix::connect_abstract(&address, None).unwrap()).collect();
        assert!(matches!(c.init_pid(), Err(ClientError::Denied { .. })));
        drop(idle);
    });
    assert!(!known.stopped);
}

#[test]
fn a_client_may_dawdle_or_talk_nonsense() {
    with_server(&mut Known::new(), "slow", |path, name| {
        let address = address::command_socket(path, name);
        let connect = || unix::connect_abstract(&address, None).unwrap();
        let send = |to: &OwnedFd, bytes: &[u8]| {
            unix::send(to.as_fd(), bytes, &[], None, Block::Wait).unwrap();
        };
        let receive = |from: &OwnedFd| -> Option<Header> {
            let mut bytes = [0; HEADER_BYTES];
            crate::sys::event::poll(from.as_fd(), Ready::READ, None).unwrap();
            match unix::recv(from.as_fd(), &mut bytes, 1, Block::DontWait) {
                Ok(got) if got.len == bytes.len() => Some(Header::decode(&bytes)),
                _ => None,
            }
        };
        // Byte by byte.
        let slow = connect();
        let frame = Request::Text(Opcode::GetConfigItem, "lxc.uts.name".into()).encode();
        for byte in &frame {
            send(&slow, &[*byte]);
            assert_eq!(Asker::new(path, name).state().unwrap(), State::Running);
        }
        assert_eq!(receive(&slow).unwrap().datalen, 6);
        // An unknown command, a length out of bounds, a string without end.
        let unknown = connect();
        send(&unknown, &Header { first: 99, datalen: 5, word: 0 }.encode());
        assert_eq!(receive(&unknown).unwrap().first, -errno::ENOSYS);
        for datalen in [-1, 8193] {
            let bad = connect();
            send(&bad, &Header { first: 7, datalen, word: 0 }.encode());
            assert!(receive(&bad).is_none());
        }
        let endless = connect();
        send(&endless, &Header { first: 7, datalen: 3, word: 0 }.encode());
        send(&endless, b"abc");
        assert_eq!(receive(&endless).unwrap().first, -errno::EINVAL);
        // Asks for much and never reads.
        let greedy = connect();
        let log = Request::ConsoleLog(ConsoleLog { read: true, ..ConsoleLog::default() }).encode();
        for _ in 0..20 {
            send(&greedy, &log);
        }
        assert_eq!(Asker::new(path, name).state().unwrap(), State::Running);
        // A wait that turns into talk.
        let watcher = connect();
        send(&watcher, &Request::States([0, 0, 0, 0, 0, 0, 1, 0]).encode());
        assert_eq!(receive(&watcher).unwrap().number(), 8);
        send(&watcher, b"x");
        assert!(receive(&watcher).is_none());
        // More clients than there is room for.
        let many: Vec<_> = (0..200).map(|_| connect()).collect();
        assert_eq!(Asker::new(path, name).state().unwrap(), State::Running);
        drop(many);
    });
}

#[test]
fn reboot_keeps_those_who_asked_for_it() {
    let mut known = Known::new();
    let path = format!("/lxcbox-test-{}", std::process::id());
    let mut streams = Vec::new();
    let (mut server, mut ttys) = with_server(&mut known, "re", |path, name| {
        let c = Asker::new(path, name);
        let Watch::Pending(kept) = c.watch(&[State::Running], true).unwrap() else { panic!() };
        let Watch::Pending(lost) = c.watch(&[State::Frozen], false).unwrap() else { panic!() };
        streams = vec![kept, lost];
    });
    server.keep_for_reboot(&mut ttys);
    let soon = || Some(Instant::now() + Duration::from_secs(5));
    assert_eq!(streams.pop().unwrap().next(soon()).unwrap(), Some(State::Stopped));
    server.set_state(State::Running);
    assert_eq!(streams.pop().unwrap().next(soon()).unwrap(), Some(State::Running));
    assert!(Server::bind(Path::new(&path), "re").err().unwrap().is(errno::EADDRINUSE));
    server.close_socket();
    assert!(Server::bind(Path::new(&path), "re").is_ok());
}
