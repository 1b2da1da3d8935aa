//! Laws of the frames: the table, round trips, and that hostile bytes are refused.

use super::proto::*;
use super::state::State;
use proptest::prelude::*;

fn decode(frame: &[u8]) -> Result<Request, FrameError> {
    let header = Header::decode(frame[..HEADER_BYTES].try_into().unwrap());
    let len = Request::data_len(&header)?;
    Request::decode(&header, &frame[HEADER_BYTES..HEADER_BYTES + len])
}

#[test]
fn table_is_dense_and_named() {
    for (n, row) in OPCODES.iter().enumerate() {
        let number = match row.op {
            Opcode::SetConfigItem => 0x6c78_6362,
            Opcode::FollowConsole => 0x6c78_6363,
            _ => n,
        };
        assert_eq!(row.op as usize, number);
        assert_eq!(Opcode::row_of(row.op as i32).map(|row| row.op), Some(row.op));
        assert_eq!(row.op.row().name, row.name);
        assert_eq!(OPCODES.iter().filter(|r| r.name == row.name).count(), 1);
    }
    assert!(Opcode::row_of(27).is_none() && Opcode::row_of(-1).is_none());
}

#[test]
fn c_layouts_on_this_machine() {
    let pointer = size_of::<usize>();
    assert_eq!(HEADER_BYTES, 8 + pointer);
    assert_eq!((CGROUP_FD_BYTES, CGROUP_CTX_BYTES), (80, 96));
    let log = Request::ConsoleLog(ConsoleLog::default()).encode();
    let expected = if align_of::<u64>() == 8 { 24 } else { 16 };
    assert_eq!(log.len() - HEADER_BYTES, expected);
    let rule = DeviceRule { kind: b'c', major: 1, minor: 3, access: *b"rw\0", allow: true };
    let device = Request::Device(rule).encode();
    assert_eq!(device.len() - HEADER_BYTES, if pointer == 8 { 40 } else { 28 });
}

#[test]
fn every_shape_round_trips() {
    let rule = DeviceRule { kind: b'c', major: -1, minor: 3, access: *b"rwm", allow: false };
    let log = ConsoleLog { clear: true, read: true, read_max: 1 << 40, keep: false };
    let mut requests = vec![
        Request::States([0, 1, 2, 0, 0, 0, 1, 0]),
        Request::ConsoleLog(log),
        Request::Device(rule),
        Request::CgroupCtx(CGROUP_CTX_BYTES),
        Request::CgroupCtx(12),
        Request::CgroupFd(Opcode::GetCgroupFd, "freezer".into(), CGROUP_FD_BYTES),
        Request::CgroupFd(Opcode::GetLimitCgroupFd, "unified".into(), CGROUP_FD_BYTES + 8),
    ];
    for row in OPCODES {
        match row.arg {
            Arg::Nothing => requests.push(Request::Plain(row.op)),
            Arg::Number => requests.push(Request::Number(row.op, -1)),
            Arg::Text => requests.push(Request::Text(row.op, "lxc.uts.name".into())),
            Arg::MaybeText => {
                requests.push(Request::Plain(row.op));
                requests.push(Request::Text(row.op, "memory".into()));
            }
            _ => {}
        }
    }
    for request in requests {
        assert_eq!(decode(&request.encode()).as_ref(), Ok(&request));
    }
}

#[test]
fn lengths_and_strings_are_checked() {
    let frame = |cmd: i32, datalen: i32, data: &[u8]| {
        let mut out = Header { first: cmd, datalen, word: 0 }.encode().to_vec();
        out.extend_from_slice(data);
        out
    };
    let key = Opcode::GetConfigItem as i32;
    for bad in [-1, i32::MIN, 8193, i32::MAX] {
        let header = Header { first: key, datalen: bad, word: 0 };
        assert!(matches!(Request::data_len(&header), Err(FrameError::Length { .. })), "{bad}");
    }
    for bad in [&b""[..], b"x", b"a\0b\0", b"\xff\0"] {
        let e = decode(&frame(key, i32::try_from(bad.len()).unwrap(), bad)).unwrap_err();
        assert!(matches!(e, FrameError::Malformed { .. }), "{bad:?}");
    }
    assert!(decode(&frame(key, 1, b"\0")).is_ok());
    assert_eq!(decode(&frame(99, 0, b"")), Err(FrameError::UnknownCommand(99)));
    assert!(decode(&frame(Opcode::AddStateClient as i32, 4, &[0; 4])).is_err());
    assert!(decode(&frame(Opcode::GetCgroupFd as i32, 80, &[0; 80])).is_err());
    assert!(decode(&frame(Opcode::GetCgroupFd as i32, 80, &[b'x'; 80])).is_err());
    assert!(decode(&frame(Opcode::GetCgroupCtx as i32, 97, &[1; 97])).is_err());
    assert!(decode(&frame(Opcode::AddBpfDeviceCgroup as i32, 20, &[b'c'; 20])).is_err());
}

#[test]
fn cgroup_structures_round_trip() {
    let info = CgroupInfo { layout: Layout::Hybrid, devices: false, freezer: true, v2: false };
    assert_eq!(CgroupInfo::decode_fd(&info.encode_fd("freezer", 80)), Some(info));
    assert_eq!(CgroupInfo::decode_ctx(&info.encode_ctx(3, 96)), Some((info, 3)));
    assert_eq!(info.encode_fd("freezer", 10).len(), 10);
    assert_eq!(CgroupInfo::decode_fd(&[0; 11]), None);
    assert_eq!(CgroupInfo::decode_ctx(&[0xff; 96]), None);
}

#[test]
fn replies() {
    let frame = encode_reply(-13, -1, b"x\0");
    let header = Header::decode(frame[..HEADER_BYTES].try_into().unwrap());
    assert_eq!((header.first, header.datalen, header.number()), (-13, 2, -1));
    let text = Opcode::GetName.row();
    assert_eq!(reply_len(text, &header), Ok(2));
    let long = Header { datalen: 9000, ..header };
    assert!(reply_len(text, &long).is_err());
    assert_eq!(reply_len(Opcode::ConsoleLog.row(), &long), Ok(9000));
    assert!(reply_len(Opcode::ConsoleLog.row(), &Header { datalen: -1, ..header }).is_err());
    assert_eq!((state_of(2), state_of(8)), (Some(State::Running), None));
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(
        cmd in -2i32..30,
        word in any::<isize>(),
        data in proptest::collection::vec(any::<u8>(), 0..128),
    ) {
        let datalen = i32::try_from(data.len()).unwrap();
        let header = Header { first: cmd, datalen, word };
        if let Ok(request) = Request::decode(&header, &data) {
            // What was understood says the same when it is sent again.
            prop_assert_eq!(decode(&request.encode()), Ok(request));
        }
        let _ = CgroupInfo::decode_fd(&data);
        let _ = CgroupInfo::decode_ctx(&data);
    }
}
