//! Any bytes on the command socket: as one frame, which is refused or means the same when it is
//! sent again; as a reply; and as a stream, cut anywhere, to a running server, which answers or
//! hangs up, and still knows its state afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::control::address::command_socket;
use lxcbox::control::proto::{
    CgroupInfo, ConsoleLog, DeviceRule, HEADER_BYTES, Header, Layout, OPCODES, Request, reply_len,
};
use lxcbox::control::server::{Container, Server, Terminals, Which};
use lxcbox::control::state::{NOTICE_BYTES, Notice, State};
use lxcbox::sys::unix::{self, Block};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    as_frame(bytes);
    as_reply(bytes);
    as_stream(bytes);
});

fn split(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (header, data) = bytes.split_at_checked(HEADER_BYTES)?;
    Some((Header::decode(header.try_into().ok()?), data))
}

fn as_frame(bytes: &[u8]) {
    let Some((mut header, data)) = split(bytes) else { return };
    header.datalen = data.len() as i32;
    if Request::data_len(&header).is_err() {
        return;
    }
    if let Ok(request) = Request::decode(&header, data) {
        let frame = request.encode();
        let (header, data) = split(&frame).expect("what is encoded has a header");
        assert_eq!(Request::data_len(&header), Ok(data.len()));
        assert_eq!(Request::decode(&header, data), Ok(request));
    }
}

fn as_reply(bytes: &[u8]) {
    let Some((header, data)) = split(bytes) else { return };
    for row in OPCODES {
        let _ = reply_len(row, &header);
    }
    let _ = CgroupInfo::decode_fd(data);
    let _ = CgroupInfo::decode_ctx(data);
    if let Ok(notice) = <&[u8; NOTICE_BYTES]>::try_from(data) {
        let _ = Notice::decode(notice);
    }
}

fn as_stream(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let (path, name) = (Path::new("/lxcbox-fuzz"), std::process::id().to_string());
    let mut server = Server::bind(path, &name).expect("the name is ours");
    server.set_state(State::Running);
    let client = unix::connect_abstract(&command_socket(path, &name), None).expect("it listens");
    let mut known = Known { frozen: false };
    let mut ttys = NoTtys;
    for piece in bytes.chunks(usize::from(cut).max(1)) {
        if unix::send(client.as_fd(), piece, &[], None, Block::DontWait).is_err() {
            break;
        }
        server.serve(&mut known, &mut ttys).expect("a client cannot break the loop");
    }
    drop(client);
    server.serve(&mut known, &mut ttys).expect("a client cannot break the loop");
    let up = [State::Running, State::Freezing, State::Frozen];
    assert!(up.contains(&server.state()));
}

struct Known {
    frozen: bool,
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").expect("it is there").into()
}

const INFO: CgroupInfo =
    CgroupInfo { layout: Layout::Hybrid, devices: false, freezer: true, v2: false };

impl Container for Known {
    fn name(&self) -> &str {
        "fuzz"
    }
    fn lxcpath(&self) -> &Path {
        Path::new("/lxcbox-fuzz")
    }
    fn init_pid(&self) -> Option<i32> {
        Some(1)
    }
    fn init_pidfd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn clone_flags(&self) -> u32 {
        0
    }
    fn config_item(&self, key: &str) -> Option<String> {
        Some(key.to_owned())
    }
    fn cgroup_path(&self, controller: Option<&str>, _: Which) -> Option<String> {
        controller.map(str::to_owned)
    }
    fn cgroup_fd(&self, _: &str, _: Which) -> Option<(OwnedFd, CgroupInfo)> {
        Some((null(), INFO))
    }
    fn cgroup2_fd(&self, _: Which) -> Option<OwnedFd> {
        None
    }
    fn cgroups(&self) -> (CgroupInfo, Vec<OwnedFd>) {
        (INFO, vec![null()])
    }
    fn holds(&self, _: i32) -> bool {
        false
    }
    fn stop(&mut self) -> Result<(), i32> {
        Ok(())
    }
    fn request_freeze(&mut self, frozen: bool) -> Result<(), i32> {
        self.frozen = frozen;
        Ok(())
    }
    fn freeze_reached(&self, frozen: bool) -> Result<bool, i32> {
        Ok(self.frozen == frozen)
    }
    fn add_device_rule(&mut self, rule: DeviceRule) -> Result<(), i32> {
        assert!(matches!(rule.kind, b'a' | b'b' | b'c'));
        Ok(())
    }
    fn devpts_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn seccomp_notify_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn add_seccomp_listener(&mut self, _: OwnedFd) -> Result<(), i32> {
        Ok(())
    }
}

struct NoTtys;

impl Terminals for NoTtys {
    fn reserve(&mut self, number: i32, _: u32) -> Result<(i32, OwnedFd), i32> {
        Ok((number, null()))
    }
    fn release(&mut self, _: u32) {}
    fn console_log(&mut self, what: ConsoleLog) -> Result<Vec<u8>, i32> {
        Ok(if what.read { vec![b'x'; 1000] } else { Vec::new() })
    }
}
