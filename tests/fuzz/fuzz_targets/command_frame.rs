//! Any bytes on the command socket: as one frame, which is refused or means the same when it is
//! sent again; as a reply; and as a stream, cut anywhere, to a running server, which answers or
//! hangs up, and still knows its state afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::control::address::command_socket;
use lxcbox::control::proto::{
    Arg, CGROUP_CTX_BYTES, CGROUP_CTX_FDS, CGROUP_FD_BYTES, CgroupInfo, ConsoleLog, DATA_MAX,
    DeviceRule, HEADER_BYTES, Header, Layout, OPCODES, Opcode, Reply, Request, c_text,
    encode_reply, reply_len, state_of,
};
use lxcbox::control::server::{Container, Server, Terminals, Which};
use lxcbox::control::state::{NOTICE_BYTES, Notice, State};
use lxcbox::sys::unix::{self, Block};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Every request alone and as a stream, and the replies with data.
fn seeds() -> Vec<Vec<u8>> {
    let device = DeviceRule { kind: b'c', major: -1, minor: 3, access: *b"rwm", allow: false };
    let log = ConsoleLog { clear: true, read: true, read_max: 1 << 40, keep: false };
    let mut requests = vec![
        Request::States([0, 1, 2, 0, 0, 0, 1, 0]),
        Request::ConsoleLog(log),
        Request::Device(device),
        Request::CgroupCtx(CGROUP_CTX_BYTES),
        Request::CgroupCtx(12),
        Request::CgroupFd(Opcode::GetCgroupFd, "freezer".into(), CGROUP_FD_BYTES),
        Request::CgroupFd(Opcode::GetLimitCgroupFd, "unified".into(), CGROUP_FD_BYTES + 8),
    ];
    for row in OPCODES {
        match row.arg {
            Arg::Nothing => requests.push(Request::Plain(row.op)),
            Arg::Number => requests.push(Request::Number(row.op, 1)),
            Arg::Text | Arg::MaybeText => requests.push(Request::Text(row.op, "lxc.net".into())),
            _ => {}
        }
    }
    let frames: Vec<_> = requests.iter().map(Request::encode).collect();
    let mut seeds: Vec<_> = frames.iter().map(|frame| [&[20], &frame[..]].concat()).collect();
    seeds.push([vec![7], frames.concat()].concat());
    seeds.extend(frames);
    seeds.push(encode_reply(-13, 0, b"RUNNING\0"));
    seeds.push(encode_reply(0, 0, &INFO.encode_fd("freezer", CGROUP_FD_BYTES)));
    seeds.push(encode_reply(0, 0, &INFO.encode_ctx(3, CGROUP_CTX_BYTES)));
    for notice in [Notice::State(State::Running), Notice::ExitStatus(256)] {
        seeds.push(encode_reply(0, 0, &notice.encode("c1")));
    }
    seeds
}

fuzz_target!(init: lxcbox_fuzz::seed(seeds()), |bytes: &[u8]| {
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
        if let Ok(len) = reply_len(row, &header) {
            assert_eq!(i32::try_from(len), Ok(header.datalen));
            assert!(len <= DATA_MAX || matches!(row.reply, Reply::Bytes | Reply::Stream));
        }
    }
    let frame = encode_reply(header.first, header.number(), data);
    let (again, rest) = split(&frame).expect("what is encoded has a header");
    assert_eq!((again.first, again.number(), rest), (header.first, header.number(), data));
    if let Some(text) = c_text(data) {
        assert!(data.len() == text.len() + 1 && !text.contains('\0'));
    }
    if let Some(state) = state_of(header.number()) {
        assert_eq!(state as i32, header.number());
    }
    if let Some(info) = CgroupInfo::decode_fd(data) {
        let again = info.encode_fd("freezer", CGROUP_FD_BYTES);
        assert_eq!(CgroupInfo::decode_fd(&again), Some(info));
    }
    let decoded = CgroupInfo::decode_ctx(data);
    if let Some((info, count)) = decoded.filter(|(_, count)| *count <= CGROUP_CTX_FDS) {
        let again = info.encode_ctx(count, CGROUP_CTX_BYTES);
        assert_eq!(CgroupInfo::decode_ctx(&again), Some((info, count)));
    }
    if let Ok(notice) = <&[u8; NOTICE_BYTES]>::try_from(data) {
        let name = Notice::name(notice);
        assert!(!name.contains('\0'));
        if let Some(decoded) = Notice::decode(notice) {
            let again = decoded.encode(&name);
            assert_eq!(Notice::decode(&again), Some(decoded));
            // What is no UTF-8 was replaced by what is longer, and may be cut.
            assert!(name.contains('\u{fffd}') || Notice::name(&again) == name);
        }
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
