//! The structures behind some frames, as C lays them out on this machine.

use std::mem::{offset_of, size_of};

/// Most descriptors with a GET_CGROUP_CTX reply (LXC's CGROUP_CTX_MAX_FD).
pub const CGROUP_CTX_FDS: usize = 20;

/// What CONSOLE_LOG is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsoleLog {
    /// Empty the buffer.
    pub clear: bool,
    /// Give its content.
    pub read: bool,
    /// At most this many bytes; 0 is all.
    pub read_max: u64,
    /// Leave in the buffer what is read. Monitors of LXC, where the field is `write_logfile` and
    /// does nothing today, take it out.
    pub keep: bool,
}

/// The C layout of [`ConsoleLog`]; bools as bytes, for a hostile 2 is no bool.
#[repr(C)]
struct RawConsoleLog {
    clear: u8,
    read: u8,
    read_max: u64,
    write_logfile: u8,
}

impl ConsoleLog {
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        if data.len() != size_of::<RawConsoleLog>() {
            return None;
        }
        let byte = |at: usize| data.get(at).is_some_and(|b| *b != 0);
        let at = offset_of!(RawConsoleLog, read_max);
        Some(Self {
            clear: byte(offset_of!(RawConsoleLog, clear)),
            read: byte(offset_of!(RawConsoleLog, read)),
            read_max: u64::from_ne_bytes(data.get(at..at + 8)?.try_into().ok()?),
            keep: byte(offset_of!(RawConsoleLog, write_logfile)),
        })
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let mut raw = [0u8; size_of::<RawConsoleLog>()];
        raw[offset_of!(RawConsoleLog, clear)] = u8::from(self.clear);
        raw[offset_of!(RawConsoleLog, read)] = u8::from(self.read);
        let at = offset_of!(RawConsoleLog, read_max);
        raw[at..at + 8].copy_from_slice(&self.read_max.to_ne_bytes());
        raw[offset_of!(RawConsoleLog, write_logfile)] = u8::from(self.keep);
        out.extend_from_slice(&raw);
    }
}

/// A device rule, as in `devices.allow` and `devices.deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: u8,
    /// Major number; -1 is any.
    pub major: i32,
    /// Minor number; -1 is any.
    pub minor: i32,
    /// Of `r`, `w`, `m`, the rest NUL.
    pub access: [u8; 3],
    /// Allow or deny.
    pub allow: bool,
}

/// The C layout of [`DeviceRule`]: two list pointers follow, which nobody reads.
#[repr(C)]
struct RawDevice {
    kind: u8,
    major: i32,
    minor: i32,
    access: [u8; 4],
    allow: i32,
    list: [usize; 2],
}

impl DeviceRule {
    /// Also takes the structure without its list pointers, as older clients have it.
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let sizes = offset_of!(RawDevice, list)..=size_of::<RawDevice>();
        if !sizes.contains(&data.len()) {
            return None;
        }
        let int = |at: usize| Some(i32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
        let at = offset_of!(RawDevice, access);
        let [a, b, c, end]: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
        let access = [a, b, c];
        let rule = Self {
            kind: *data.first()?,
            major: int(offset_of!(RawDevice, major))?,
            minor: int(offset_of!(RawDevice, minor))?,
            access,
            allow: int(offset_of!(RawDevice, allow))? != 0,
        };
        let known = access.iter().all(|b| matches!(b, b'r' | b'w' | b'm' | 0));
        (end == 0 && known && matches!(rule.kind, b'a' | b'b' | b'c')).then_some(rule)
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let mut raw = [0u8; size_of::<RawDevice>()];
        raw[offset_of!(RawDevice, kind)] = self.kind;
        let mut put = |at: usize, bytes: &[u8]| raw[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(RawDevice, major), &self.major.to_ne_bytes());
        put(offset_of!(RawDevice, minor), &self.minor.to_ne_bytes());
        put(offset_of!(RawDevice, access), &self.access);
        put(offset_of!(RawDevice, allow), &i32::from(self.allow).to_ne_bytes());
        out.extend_from_slice(&raw);
    }
}

/// Longest controller name with its NUL (the kernel's MAX_CGROUP_ROOT_NAMELEN).
pub(super) const CONTROLLER_BYTES: usize = 64;

/// Which cgroup file systems a host has; LXC's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Layout {
    /// Version 1 only.
    Legacy = 0,
    /// Controllers in version 1, and a version 2 tree.
    Hybrid = 1,
    /// Version 2 only.
    Unified = 2,
}

impl Layout {
    /// From LXC's number.
    pub fn from_number(n: i32) -> Option<Self> {
        [Self::Legacy, Self::Hybrid, Self::Unified].get(usize::try_from(n).ok()?).copied()
    }
}

/// What comes with the descriptor of GET_CGROUP_FD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupInfo {
    /// The host's layout.
    pub layout: Layout,
    /// A device program can be loaded here.
    pub devices: bool,
    /// `cgroup.freeze` is here.
    pub freezer: bool,
    /// The hierarchy is of version 2.
    pub v2: bool,
}

/// LXC's `struct cgroup_fd`.
#[repr(C, align(8))]
pub(super) struct RawCgroupFd {
    layout: i32,
    utilities: u32,
    kind: i32,
    fd: i32,
    pub(super) controller: [u8; CONTROLLER_BYTES],
}

/// LXC's `struct cgroup_ctx`.
#[repr(C, align(8))]
pub(super) struct RawCgroupCtx {
    layout: i32,
    utilities: u32,
    fd_len: u32,
    fd: [i32; CGROUP_CTX_FDS],
}

/// Size of the structure that GET_CGROUP_FD's request and reply carry.
pub const CGROUP_FD_BYTES: usize = size_of::<RawCgroupFd>();
/// Size of the structure that GET_CGROUP_CTX's request and reply carry.
pub const CGROUP_CTX_BYTES: usize = size_of::<RawCgroupCtx>();

const CGROUP_SUPER_MAGIC: i32 = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: i32 = 0x6367_7270;
const UTILITY_DEVICES: u32 = 1;
const UTILITY_FREEZER: u32 = 2;

impl CgroupInfo {
    fn utilities(self) -> u32 {
        u32::from(self.devices) * UTILITY_DEVICES + u32::from(self.freezer) * UTILITY_FREEZER
    }

    /// The data of a GET_CGROUP_FD reply, cut to `len` bytes.
    pub fn encode_fd(self, controller: &str, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(CGROUP_FD_BYTES);
        out.extend_from_slice(&(self.layout as i32).to_ne_bytes());
        out.extend_from_slice(&self.utilities().to_ne_bytes());
        let kind = if self.v2 { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
        out.extend_from_slice(&kind.to_ne_bytes());
        out.extend_from_slice(&(-1i32).to_ne_bytes());
        let room = CONTROLLER_BYTES - 1;
        out.extend_from_slice(&controller.as_bytes()[..controller.len().min(room)]);
        out.resize(CGROUP_FD_BYTES, 0);
        out.truncate(len);
        out
    }

    /// From the data of a GET_CGROUP_FD reply.
    pub fn decode_fd(data: &[u8]) -> Option<Self> {
        let int = |at: usize| Some(i32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
        let utilities = int(4)? as u32;
        Some(Self {
            layout: Layout::from_number(int(0)?)?,
            devices: utilities & UTILITY_DEVICES != 0,
            freezer: utilities & UTILITY_FREEZER != 0,
            v2: int(8)? == CGROUP2_SUPER_MAGIC,
        })
    }

    /// The data of a GET_CGROUP_CTX reply with `fds` descriptors, cut to `len` bytes.
    pub fn encode_ctx(self, fds: usize, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(CGROUP_CTX_BYTES);
        out.extend_from_slice(&(self.layout as i32).to_ne_bytes());
        out.extend_from_slice(&self.utilities().to_ne_bytes());
        out.extend_from_slice(&(fds as u32).to_ne_bytes());
        for _ in 0..CGROUP_CTX_FDS {
            out.extend_from_slice(&(-1i32).to_ne_bytes());
        }
        out.resize(CGROUP_CTX_BYTES, 0);
        out.truncate(len);
        out
    }

    /// From the data of a GET_CGROUP_CTX reply: the layout and how many descriptors came.
    pub fn decode_ctx(data: &[u8]) -> Option<(Self, usize)> {
        let int = |at: usize| Some(i32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?));
        let layout = Layout::from_number(int(0)?)?;
        let utilities = int(4)? as u32;
        let info = Self {
            layout,
            devices: utilities & UTILITY_DEVICES != 0,
            freezer: utilities & UTILITY_FREEZER != 0,
            v2: layout == Layout::Unified,
        };
        Some((info, usize::try_from(int(8)?).ok()?))
    }
}
