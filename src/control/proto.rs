//! The command protocol of LXC's monitors: the table of opcodes, and the frames in both
//! directions.
//!
//! A request is the C structure `{int cmd; int datalen; const void *data}` in the machine's own
//! layout, followed by `datalen` bytes; a number travels in the pointer itself, with `datalen` 0.
//! A reply is `{int ret; int datalen; void *data}` likewise; descriptors come with its structure.
//! Nothing here does I/O, and every frame is taken as hostile. Start reading at [`OPCODES`].

use super::state::{COUNT, State};
use super::structs::{CONTROLLER_BYTES, RawCgroupCtx, RawCgroupFd};
use std::mem::{offset_of, size_of};
use thiserror::Error;

pub use super::structs::{
    CGROUP_CTX_BYTES, CGROUP_CTX_FDS, CGROUP_FD_BYTES, CgroupInfo, ConsoleLog, DeviceRule, Layout,
};

/// Most bytes behind a frame, but for a CONSOLE_LOG reply.
pub const DATA_MAX: usize = 8192;
/// Bytes of a frame's structure: 16 on 64-bit machines, 12 on 32-bit ones.
pub const HEADER_BYTES: usize = 8 + size_of::<usize>();

macro_rules! opcodes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal: $arg:ident -> $reply:ident;)*) => {
        /// The commands, numbered as in LXC; the numbers never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Opcode { $($(#[$doc])* $variant = $number,)* }

        /// Every command with the shape of its request and reply, by number.
        pub static OPCODES: &[Row] = &[
            $(Row { op: Opcode::$variant, name: $name, arg: Arg::$arg, reply: Reply::$reply },)*
        ];
    };
}

opcodes! {
    /// A terminal; 0 is the console, -1 the first free one. The connection holds it.
    GetTtyFd = 0 "get_tty_fd": Number -> Fd;
    /// Without effect; kept for its number.
    TerminalWinch = 1 "terminal_winch": Nothing -> Status;
    /// Kill init with the stop signal; the end of the connection is the answer.
    Stop = 2 "stop": Nothing -> Silence;
    /// The state, as a number.
    GetState = 3 "get_state": Nothing -> Number;
    /// Init's pid.
    GetInitPid = 4 "get_init_pid": Nothing -> Number;
    /// The CLONE_NEW flags of the namespaces that the container has of its own.
    GetCloneFlags = 5 "get_clone_flags": Nothing -> Number;
    /// The container's cgroup path in the hierarchy of a controller.
    GetCgroup = 6 "get_cgroup": MaybeText -> Text;
    /// The value of a configuration key, as the monitor has it in memory.
    GetConfigItem = 7 "get_config_item": Text -> Text;
    /// The container's name.
    GetName = 8 "get_name": Nothing -> Text;
    /// The container path.
    GetLxcpath = 9 "get_lxcpath": Nothing -> Text;
    /// Be told of the next wanted state; the connection waits for it.
    AddStateClient = 10 "add_state_client": States -> Number;
    /// Read or clear the console's ring buffer.
    ConsoleLog = 11 "console_log": ConsoleLog -> Bytes;
    /// Announce a state to the state clients (a freeze done by the caller).
    ServeStateClients = 12 "serve_state_clients": Number -> Status;
    /// Hand over a seccomp notify descriptor.
    SeccompNotifyAddListener = 13 "seccomp_notify_add_listener": Number -> Status;
    /// Change the device program.
    AddBpfDeviceCgroup = 14 "add_bpf_device_cgroup": Device -> Status;
    /// Freeze; seconds to wait, -1 for ever.
    Freeze = 15 "freeze": Number -> Status;
    /// Thaw, likewise.
    Unfreeze = 16 "unfreeze": Number -> Status;
    /// The container's cgroup on a host with cgroup2 only.
    GetCgroup2Fd = 17 "get_cgroup2_fd": Nothing -> Fd;
    /// A pidfd of init.
    GetInitPidfd = 18 "get_init_pidfd": Nothing -> Fd;
    /// As GetCgroup, of the cgroup that holds the limits.
    GetLimitCgroup = 19 "get_limit_cgroup": MaybeText -> Text;
    /// As GetCgroup2Fd, of the cgroup that holds the limits.
    GetLimitCgroup2Fd = 20 "get_limit_cgroup2_fd": Nothing -> Fd;
    /// The root of the container's devpts.
    GetDevptsFd = 21 "get_devpts_fd": Nothing -> Fd;
    /// The seccomp notify descriptor.
    GetSeccompNotifyFd = 22 "get_seccomp_notify_fd": Nothing -> Fd;
    /// All the container's cgroups at once.
    GetCgroupCtx = 23 "get_cgroup_ctx": Struct -> CgroupCtx;
    /// The container's cgroup in the hierarchy of a controller.
    GetCgroupFd = 24 "get_cgroup_fd": Struct -> CgroupFd;
    /// As GetCgroupFd, of the cgroup that holds the limits.
    GetLimitCgroupFd = 25 "get_limit_cgroup_fd": Struct -> CgroupFd;
    /// The systemd scope the container runs in.
    GetSystemdScope = 26 "get_systemd_scope": Nothing -> Text;
    /// `KEY`, and a line for each of its values: those that the container has been given by now, so
    /// that a reboot from inside keeps them. Ours alone, with a number that LXC does not come to.
    SetConfigItem = 0x6c78_6362 "set_config_item": Text -> Status;
    /// What the console's ring buffer has, and a socket that gives what comes; likewise ours.
    FollowConsole = 0x6c78_6363 "follow_console": Nothing -> Stream;
}

/// One command.
#[derive(Debug)]
pub struct Row {
    /// Which.
    pub op: Opcode,
    /// Its name in messages.
    pub name: &'static str,
    /// What the request carries.
    pub arg: Arg,
    /// What the reply carries.
    pub reply: Reply,
}

/// The shape of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// No data.
    Nothing,
    /// A number in the pointer.
    Number,
    /// A NUL-terminated string.
    Text,
    /// A string or nothing.
    MaybeText,
    /// `int[8]`, one per state.
    States,
    /// [`ConsoleLog`].
    ConsoleLog,
    /// [`DeviceRule`].
    Device,
    /// A structure whose size the client chooses; the reply has at most that many bytes.
    Struct,
}

/// The shape of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Only `ret`.
    Status,
    /// None: the connection ends when it is done.
    Silence,
    /// A number in the pointer.
    Number,
    /// A NUL-terminated string.
    Text,
    /// Any bytes, of any length.
    Bytes,
    /// One descriptor (and perhaps a number).
    Fd,
    /// Any bytes, of any length, and one descriptor.
    Stream,
    /// `CgroupFd` with one descriptor.
    CgroupFd,
    /// `CgroupCtx` with up to [`CGROUP_CTX_FDS`] descriptors.
    CgroupCtx,
}

impl Reply {
    /// How many descriptors may come.
    pub fn max_fds(self) -> usize {
        match self {
            Self::Fd | Self::Stream | Self::CgroupFd => 1,
            Self::CgroupCtx => CGROUP_CTX_FDS,
            _ => 0,
        }
    }
}

impl Opcode {
    /// The row of a number.
    pub fn row_of(number: i32) -> Option<&'static Row> {
        OPCODES.iter().find(|row| row.op as i32 == number)
    }

    /// This command's row.
    pub fn row(self) -> &'static Row {
        // The macro makes one for each.
        let at = OPCODES.iter().position(|row| row.op == self);
        &OPCODES[at.unwrap_or_default()]
    }
}

/// Why a frame was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// No such command.
    #[error("command {0} is not known")]
    UnknownCommand(i32),
    /// More data than allowed, or a negative length.
    #[error("{what} announces {len} bytes of data")]
    Length {
        /// Which command or reply.
        what: &'static str,
        /// What it announced.
        len: i32,
    },
    /// Data of the wrong size or content.
    #[error("{what} carries malformed data")]
    Malformed {
        /// Which command or reply.
        what: &'static str,
    },
}

/// A frame's structure, of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// `cmd` or `ret`.
    pub first: i32,
    /// Bytes that follow.
    pub datalen: i32,
    /// The pointer.
    pub word: isize,
}

impl Header {
    /// From the wire.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let mut word = [0; size_of::<usize>()];
        word.copy_from_slice(&bytes[8..]);
        Self {
            first: i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            datalen: i32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            word: isize::from_ne_bytes(word),
        }
    }

    /// To the wire.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&self.first.to_ne_bytes());
        out[4..8].copy_from_slice(&self.datalen.to_ne_bytes());
        out[8..].copy_from_slice(&self.word.to_ne_bytes());
        out
    }

    /// The number in the pointer, cut to an `int` as LXC does.
    #[allow(clippy::cast_possible_truncation, reason = "the protocol's own conversion")]
    pub fn number(self) -> i32 {
        self.word as i32
    }
}

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A command without data.
    Plain(Opcode),
    /// A command with a number.
    Number(Opcode, i32),
    /// A command with a string.
    Text(Opcode, String),
    /// ADD_STATE_CLIENT: per state 0, 1 (wanted) or 2 (wanted, also after a reboot).
    States([i32; COUNT]),
    /// CONSOLE_LOG.
    ConsoleLog(ConsoleLog),
    /// ADD_BPF_DEVICE_CGROUP.
    Device(DeviceRule),
    /// GET_CGROUP_CTX, with the size of the client's structure.
    CgroupCtx(usize),
    /// GET_CGROUP_FD and GET_LIMIT_CGROUP_FD: controller and size of the client's structure.
    CgroupFd(Opcode, String, usize),
}

impl Request {
    /// Which command it is.
    pub fn opcode(&self) -> Opcode {
        match self {
            Self::Plain(op) | Self::Number(op, _) | Self::Text(op, _) => *op,
            Self::CgroupFd(op, _, _) => *op,
            Self::States(_) => Opcode::AddStateClient,
            Self::ConsoleLog(_) => Opcode::ConsoleLog,
            Self::Device(_) => Opcode::AddBpfDeviceCgroup,
            Self::CgroupCtx(_) => Opcode::GetCgroupCtx,
        }
    }

    /// How many bytes follow `header`, which must be those of a known command.
    ///
    /// # Errors
    /// An unknown command, or a length that no command has.
    pub fn data_len(header: &Header) -> Result<usize, FrameError> {
        let row = Opcode::row_of(header.first).ok_or(FrameError::UnknownCommand(header.first))?;
        let error = FrameError::Length { what: row.name, len: header.datalen };
        match usize::try_from(header.datalen) {
            Ok(len) if len <= DATA_MAX => Ok(len),
            _ => Err(error),
        }
    }

    /// From a header and the data behind it.
    pub fn decode(header: &Header, data: &[u8]) -> Result<Self, FrameError> {
        let row = Opcode::row_of(header.first).ok_or(FrameError::UnknownCommand(header.first))?;
        let malformed = || FrameError::Malformed { what: row.name };
        let text = || c_text(data).map(str::to_owned).ok_or_else(malformed);
        Ok(match row.arg {
            Arg::Nothing => Self::Plain(row.op),
            Arg::Number => Self::Number(row.op, header.number()),
            Arg::Text => Self::Text(row.op, text()?),
            Arg::MaybeText if data.is_empty() => Self::Plain(row.op),
            Arg::MaybeText => Self::Text(row.op, text()?),
            Arg::States => {
                let mut states = [0; COUNT];
                if data.len() != size_of_val(&states) {
                    return Err(malformed());
                }
                for (state, bytes) in states.iter_mut().zip(data.chunks_exact(4)) {
                    *state = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                }
                Self::States(states)
            }
            Arg::ConsoleLog => Self::ConsoleLog(ConsoleLog::decode(data).ok_or_else(malformed)?),
            Arg::Device => Self::Device(DeviceRule::decode(data).ok_or_else(malformed)?),
            Arg::Struct if row.op == Opcode::GetCgroupCtx => {
                // Extensible as clone_args is: what a newer client has more must be zero.
                let tail = data.get(size_of::<RawCgroupCtx>()..).unwrap_or_default();
                if data.is_empty() || tail.iter().any(|b| *b != 0) {
                    return Err(malformed());
                }
                Self::CgroupCtx(data.len())
            }
            Arg::Struct => {
                let tail = data.get(size_of::<RawCgroupFd>()..).unwrap_or_default();
                let controller = data
                    .get(
                        offset_of!(RawCgroupFd, controller)
                            ..data.len().min(size_of::<RawCgroupFd>()),
                    )
                    .ok_or_else(malformed)?;
                let end = controller.iter().position(|b| *b == 0).ok_or_else(malformed)?;
                let controller =
                    std::str::from_utf8(&controller[..end]).map_err(|_| malformed())?;
                if controller.is_empty() || tail.iter().any(|b| *b != 0) {
                    return Err(malformed());
                }
                Self::CgroupFd(row.op, controller.to_owned(), data.len())
            }
        })
    }

    /// The whole frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut word = 0;
        let mut data = Vec::new();
        match self {
            Self::Plain(_) => {}
            Self::Number(_, n) => word = *n as isize,
            Self::Text(_, text) => {
                data.extend_from_slice(text.as_bytes());
                data.push(0);
            }
            Self::States(states) => {
                states.iter().for_each(|s| data.extend_from_slice(&s.to_ne_bytes()));
            }
            Self::ConsoleLog(log) => log.encode(&mut data),
            Self::Device(rule) => rule.encode(&mut data),
            Self::CgroupCtx(len) => data.resize(*len, 0),
            Self::CgroupFd(_, controller, len) => {
                data.resize(offset_of!(RawCgroupFd, controller), 0);
                let room = CONTROLLER_BYTES - 1;
                data.extend_from_slice(&controller.as_bytes()[..controller.len().min(room)]);
                data.resize(*len, 0);
            }
        }
        let header = Header {
            first: self.opcode() as i32,
            datalen: i32::try_from(data.len()).unwrap_or(i32::MAX),
            word,
        };
        let mut out = header.encode().to_vec();
        out.append(&mut data);
        out
    }
}

/// How many bytes follow the reply header of `row`.
pub fn reply_len(row: &Row, header: &Header) -> Result<usize, FrameError> {
    let error = FrameError::Length { what: row.name, len: header.datalen };
    match usize::try_from(header.datalen) {
        Ok(len) if len <= DATA_MAX || matches!(row.reply, Reply::Bytes | Reply::Stream) => Ok(len),
        _ => Err(error),
    }
}

/// The whole frame of a reply without descriptors' help: `ret`, a number or data.
pub fn encode_reply(ret: i32, number: i32, data: &[u8]) -> Vec<u8> {
    let datalen = i32::try_from(data.len()).unwrap_or(i32::MAX);
    let mut out = Vec::with_capacity(HEADER_BYTES + data.len());
    out.extend_from_slice(&Header { first: ret, datalen, word: number as isize }.encode());
    out.extend_from_slice(data);
    out
}

/// The text of a NUL-terminated string that fills `data` exactly.
pub fn c_text(data: &[u8]) -> Option<&str> {
    let (last, text) = data.split_last()?;
    if *last != 0 || text.contains(&0) {
        return None;
    }
    std::str::from_utf8(text).ok()
}

/// The state in a number of GET_STATE or ADD_STATE_CLIENT; `None` is "not yet" (8) or nonsense.
pub fn state_of(number: i32) -> Option<State> {
    State::from_number(number.into())
}
