//! An older kernel: a filter that answers ENOSYS for chosen system calls, installed between fork
//! and exec of a command, so that the tools have to take their fallbacks.

#![allow(unsafe_code, reason = "prctl between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The number of a system call that the tools have a fallback for.
#[track_caller]
pub fn number(name: &str) -> i64 {
    let number = match name {
        "openat2" => libc::SYS_openat2,
        "clone3" => libc::SYS_clone3,
        "pidfd_open" => libc::SYS_pidfd_open,
        "pidfd_send_signal" => libc::SYS_pidfd_send_signal,
        "close_range" => libc::SYS_close_range,
        "fsopen" => libc::SYS_fsopen,
        "fsmount" => libc::SYS_fsmount,
        "move_mount" => libc::SYS_move_mount,
        "open_tree" => libc::SYS_open_tree,
        "mount_setattr" => libc::SYS_mount_setattr,
        _ => panic!("no system call {name:?} in this list"),
    };
    #[allow(clippy::useless_conversion, reason = "c_long is narrower on 32-bit machines")]
    i64::from(number)
}

/// Makes `command` run without the system calls of these numbers.
pub fn forbid(command: &mut Command, numbers: &[i64]) {
    if numbers.is_empty() {
        return;
    }
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number is the first word of what a filter sees.
    let mut program = vec![op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for number in numbers {
        program.push(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *number as u32));
        let answer = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, answer));
    }
    program.push(op(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let filter =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: `filter` and the program that it points to live until prctl returns, and the
        // kernel only reads them.
        let done = unsafe {
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(install) };
}
