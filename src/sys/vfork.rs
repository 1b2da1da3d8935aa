//! Processes that run on the memory of the one that makes them, which sleeps until they execute a
//! program or end (vfork(2)): nothing is copied, which is most of what a fork costs.
//!
//! What such a child changes in memory stays changed, and it must not drop what its parent owns:
//! descriptors have numbers of their own in it, but the values are the same.
#![allow(unsafe_code, reason = "a process on another's memory")]

use super::error::{Result, SysError};
use super::process::{CLONE_INTO_CGROUP, CloneArgs, Pid, exit_now};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Left between the frames of the caller and the child's: room for the calls that make it.
const GAP: usize = 4 << 10;

/// Size of a child's stack as the kernel is told, which only adds it to the begin.
const STACK: usize = 64 << 10;

/// Where a child's stack begins: below the frames of its caller, who sleeps until the child is done
/// and had all of it for himself. So it costs nothing, grows as the caller's would and ends at the
/// same guard. The first 128 kB are there from the program's begin on, whatever the limit of the
/// stack's size (`lxc.prlimit.stack`) has become since.
fn free_stack() -> *mut libc::c_void {
    let here = 0u8;
    let below = std::ptr::from_ref(&here).cast_mut().wrapping_byte_sub(GAP);
    below.map_addr(|address| address & !15).cast()
}

/// Where the child begins, on its own stack.
extern "C" fn begin(child: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the pointer is to the caller's reference, which outlives the child's use of this
    // memory: the caller sleeps in the call until then.
    let child = unsafe { &mut *child.cast::<&mut dyn FnMut()>() };
    child();
    exit_now(1)
}

/// As [`super::process::fork_sibling`], for a child that soon executes a program or ends; it ends
/// when `child` returns.
///
/// # Errors
/// As `fork_sibling`.
pub fn spawn_sibling(mut child: &mut dyn FnMut()) -> Result<Pid> {
    let argument = (&raw mut child).cast::<libc::c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT;
    // SAFETY: the child's frames are below all of this process's and it never returns from `begin`;
    // the kernel lets this only thread sleep until the child has left this memory by exec or exit.
    let pid = unsafe { libc::clone(begin, free_stack(), flags, argument) };
    if pid > 0 { Ok(pid) } else { Err(SysError::last("clone", "CLONE_VM, CLONE_PARENT")) }
}

/// A child as [`spawn_sibling`] makes it, but this process's own, and born in `cgroup`. It has left
/// this memory, by exec or by its end, when the call comes back.
///
/// # Errors
/// ENOSYS without clone3 (before 5.3), or where this is not built for the processor; as clone3's
/// else, also what the cgroup refuses. A fork may do better then.
pub fn spawn_into(cgroup: Option<BorrowedFd<'_>>, mut child: &mut dyn FnMut()) -> Result<Pid> {
    let vfork = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    let mut args = CloneArgs {
        flags: vfork | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        exit_signal: libc::SIGCHLD as u64,
        stack: free_stack().wrapping_byte_sub(STACK) as u64,
        stack_size: STACK as u64,
        cgroup: cgroup.map_or(0, |dir| u64::from(dir.as_raw_fd().unsigned_abs())),
        ..CloneArgs::default()
    };
    // SAFETY: the arguments are complete and outlive the call; the stack is as in `spawn_sibling`,
    // and the pointer lasts until the child is gone from this memory.
    match unsafe { clone3_on_stack(&mut args, (&raw mut child).cast()) } {
        pid if pid > 0 => Ok(pid as Pid),
        error => Err(SysError::new("clone3", "CLONE_VM", error.unsigned_abs() as i32)),
    }
}

/// clone3 of a child that calls [`begin`] with `argument`: the child has another stack, so it must
/// not return into this one's calls. Gives back the pid or the negative error.
///
/// # Safety
/// `args` names a stack of the child's own; `argument` is what `begin` takes.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_on_stack(args: &mut CloneArgs, argument: *mut libc::c_void) -> i64 {
    let mut result: i64 = libc::SYS_clone3;
    // SAFETY: the parent comes back with every register but the result as it was; the child goes
    // to `begin`, which does not return, on the aligned end of its stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") result,
            in("rdi") std::ptr::from_mut(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") begin as extern "C" fn(*mut libc::c_void) -> libc::c_int,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_on_stack(args: &mut CloneArgs, argument: *mut libc::c_void) -> i64 {
    let mut result = std::ptr::from_mut(args) as i64;
    // SAFETY: as above.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") result,
            in("x1") size_of::<CloneArgs>(),
            in("x20") argument,
            in("x21") begin as extern "C" fn(*mut libc::c_void) -> libc::c_int,
        );
    }
    result
}

/// As above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3_on_stack(_: &mut CloneArgs, _: *mut libc::c_void) -> i64 {
    i64::from(-libc::ENOSYS)
}
