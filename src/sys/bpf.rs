//! bpf(2), as much of it as a device filter of a cgroup needs: load, attach, replace, detach.
#![allow(unsafe_code, reason = "bpf(2) has no wrapper")]

use super::error::{Result, SysError};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction as the kernel's `struct bpf_insn` has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half byte, source register in the high one.
    pub regs: u8,
    /// Jump distance, or offset of a load.
    pub off: i16,
    /// Immediate value.
    pub imm: i32,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;
const F_REPLACE: u32 = 4;

#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE.
///
/// # Errors
/// EINVAL (kernel before 4.15, or a program that the verifier refuses), ENOSYS (a kernel without
/// bpf), EPERM.
pub fn load_device_program(program: &[Insn]) -> Result<OwnedFd> {
    let attr = LoadAttr {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).unwrap_or(u32::MAX),
        insns: program.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `attr`, the instructions and the licence it points at outlive the call, which only
    // reads them.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, std::ptr::from_ref(&attr), size_of::<LoadAttr>())
    };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that only this call knows.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(SysError::last("bpf", "BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE")),
    }
}

/// Attaches a device program to a cgroup of the unified hierarchy, in place of `old` in one step
/// where the kernel can.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    old: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let Some(old) = old else {
        return command(PROG_ATTACH, cgroup, program, F_ALLOW_MULTI, None);
    };
    let flags = F_ALLOW_MULTI | F_REPLACE;
    match command(PROG_ATTACH, cgroup, program, flags, Some(old)) {
        // FALLBACK(<5.6): no BPF_F_REPLACE. Both are attached for a moment, and a device is only
        // open to the container if both agree: stricter, never laxer.
        Err(e) if e.is(libc::EINVAL) => {
            command(PROG_ATTACH, cgroup, program, F_ALLOW_MULTI, None)?;
            command(PROG_DETACH, cgroup, old, 0, None)
        }
        done => done,
    }
}

fn command(
    what: libc::c_long,
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    attach_flags: u32,
    replace: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().unsigned_abs();
    let attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: CGROUP_DEVICE,
        attach_flags,
        replace_bpf_fd: replace.map_or(0, number),
    };
    // FALLBACK(<5.6): an older kernel takes the longer struct only while the new field is zero,
    // which it is unless a replacement is asked for.
    // SAFETY: `attr` outlives the call, which only reads it.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, what, std::ptr::from_ref(&attr), size_of::<AttachAttr>())
    };
    if done == 0 {
        return Ok(());
    }
    let name = if what == PROG_DETACH { "BPF_PROG_DETACH" } else { "BPF_PROG_ATTACH" };
    Err(SysError::last("bpf", format!("{name}, BPF_CGROUP_DEVICE")))
}
