//! seccomp(2): installing a filter, and the descriptor through which a supervisor answers calls.
#![allow(unsafe_code, reason = "seccomp(2) and its ioctls have no wrapper")]

use super::error::{At, Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction of a classic BPF program (struct sock_filter).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip when a comparison holds.
    pub jt: u8,
    /// And when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Longest program that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSNS: usize = 4096;

/// struct sock_fprog.
#[repr(C)]
struct Program {
    len: u16,
    filter: *const Insn,
}

const SET_MODE_FILTER: libc::c_uint = 1;
const GET_NOTIF_SIZES: libc::c_uint = 3;
const FLAG_NEW_LISTENER: libc::c_uint = 1 << 3;

/// Whether [`install`] returns a descriptor for notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// No.
    None,
    /// Yes. EINVAL before 5.0, EBUSY when an earlier filter has one.
    New,
}

/// Adds `program` to the filters of the calling process, for good. no_new_privs is not touched,
/// so the caller needs CAP_SYS_ADMIN in its user namespace (EACCES otherwise).
///
/// # In the child
/// Whatever the program forbids fails from here on, exit and write included.
pub fn install(program: &[Insn], listener: Listener) -> Result<Option<OwnedFd>> {
    let operand = || format!("SECCOMP_SET_MODE_FILTER, {} instructions", program.len());
    let Some(len) = u16::try_from(program.len()).ok().filter(|n| usize::from(*n) <= MAX_INSNS)
    else {
        return Err(SysError::new("seccomp", operand(), libc::EINVAL));
    };
    let prog = Program { len, filter: program.as_ptr() };
    let flags = if listener == Listener::New { FLAG_NEW_LISTENER } else { 0 };
    let prog = std::ptr::from_ref(&prog);
    // SAFETY: `prog` and the instructions that it points to outlive the call; `len` is theirs.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, prog) };
    match i32::try_from(done) {
        Ok(fd) if fd >= 0 && listener == Listener::New => {
            // SAFETY: with NEW_LISTENER the result is a new descriptor that nobody else knows.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        _ => Err(SysError::last("seccomp", operand())),
    }
}

/// How large the kernel's notification structs are (struct seccomp_notif_sizes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifSizes {
    /// struct seccomp_notif.
    pub notif: u16,
    /// struct seccomp_notif_resp.
    pub response: u16,
    /// struct seccomp_data.
    pub data: u16,
}

/// Asks the kernel for its struct sizes. EINVAL before 5.0.
pub fn notif_sizes() -> Result<NotifSizes> {
    let mut sizes = NotifSizes::default();
    let pointer = std::ptr::from_mut(&mut sizes);
    // SAFETY: `sizes` outlives the call and has the kernel's layout.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, GET_NOTIF_SIZES, 0, pointer) };
    if done == 0 { Ok(sizes) } else { Err(SysError::last("seccomp", "SECCOMP_GET_NOTIF_SIZES")) }
}

/// `_IOC(dir, '!', nr, size)`; the kernel encodes the sizes of the structs of its first version.
const fn ioc(dir: u32, nr: u32, size: u32) -> u32 {
    dir << 30 | size << 16 | (b'!' as u32) << 8 | nr
}
/// Of the first version: 80 and 24 bytes.
const NOTIF_RECV: u32 = ioc(3, 0, 80);
const NOTIF_SEND: u32 = ioc(3, 1, 24);
const NOTIF_ID_VALID: u32 = ioc(1, 2, 8);

/// Smallest buffers that [`receive`] and [`respond`] take: struct seccomp_notif and
/// struct seccomp_notif_resp of the first version.
pub const MIN_NOTIF: usize = 80;
/// See [`MIN_NOTIF`].
pub const MIN_RESPONSE: usize = 24;

fn ioctl(listener: BorrowedFd<'_>, request: u32, data: *mut u64, name: &'static str) -> Result<()> {
    // SAFETY: `data` points to a buffer that is at least as long as the struct of `request`,
    // which every caller below has checked, and aligned for it.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), request as _, data) };
    if done == 0 { Ok(()) } else { Err(SysError::last("ioctl", name)) }
}

/// Takes the next notification into `buffer` (struct seccomp_notif, sized by [`notif_sizes`]).
/// ENOENT when its caller was killed meanwhile.
pub fn receive(listener: BorrowedFd<'_>, buffer: &mut [u64]) -> Result<()> {
    if buffer.len() * 8 < MIN_NOTIF.max(usize::from(notif_sizes()?.notif)) {
        return Err(SysError::new("ioctl", "SECCOMP_IOCTL_NOTIF_RECV", libc::EINVAL));
    }
    // The kernel refuses a buffer that is not zeroed.
    buffer.fill(0);
    ioctl(listener, NOTIF_RECV, buffer.as_mut_ptr(), "SECCOMP_IOCTL_NOTIF_RECV")
}

/// Answers a notification (struct seccomp_notif_resp). ENOENT when its caller is gone.
pub fn respond(listener: BorrowedFd<'_>, buffer: &mut [u64]) -> Result<()> {
    if buffer.len() * 8 < MIN_RESPONSE {
        return Err(SysError::new("ioctl", "SECCOMP_IOCTL_NOTIF_SEND", libc::EINVAL));
    }
    ioctl(listener, NOTIF_SEND, buffer.as_mut_ptr(), "SECCOMP_IOCTL_NOTIF_SEND")
}

/// Fails with ENOENT when the caller of notification `id` is gone: what was opened under its
/// process number may then belong to another process.
pub fn id_valid(listener: BorrowedFd<'_>, id: u64) -> Result<()> {
    let mut id = id;
    ioctl(listener, NOTIF_ID_VALID, &mut id, "SECCOMP_IOCTL_NOTIF_ID_VALID")
}

/// Connects to a proxy's SOCK_SEQPACKET socket of that name in the abstract namespace.
pub fn connect_abstract_proxy(name: &[u8]) -> Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let shown = || format!("@{}", String::from_utf8_lossy(name));
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .at("socket", || "AF_UNIX")?;
    let address = SocketAddrUnix::new_abstract_name(name).at("connect", shown)?;
    rustix::net::connect(&socket, &address).at("connect", shown)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_and_requests_are_the_kernels() {
        assert_eq!(size_of::<Insn>(), 8);
        assert_eq!(size_of::<NotifSizes>(), 6);
        // linux/seccomp.h on x86-64.
        assert_eq!(NOTIF_RECV, 0xc050_2100);
        assert_eq!(NOTIF_SEND, 0xc018_2101);
        assert_eq!(NOTIF_ID_VALID, 0x4008_2102);
    }

    #[test]
    fn too_long_a_program_is_refused_before_the_kernel_sees_it() {
        let program = vec![Insn { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }; MAX_INSNS + 1];
        assert_eq!(install(&program, Listener::None).unwrap_err().errno, libc::EINVAL);
    }
}
