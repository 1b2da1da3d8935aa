//! An older kernel: a filter that refuses chosen system calls (ENOSYS) or what they do, installed between fork
//! and exec of a command, so that the tools have to take their fallbacks.

#![allow(unsafe_code, reason = "prctl between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// System calls that came together, by a name for them; `4.9` has everything that came after it.
const GROUPS: [(&str, &[&str]); 3] = [
    ("pidfd", &["pidfd_open", "pidfd_send_signal", "pidfd_getfd"]),
    ("mount-api", &["fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree"]),
    ("4.9", &["statx", "rseq", AFTER_4_9]),
];

/// Since 5.1 a new system call has the same number everywhere, and this was the first.
const AFTER_4_9: &str = "all after 5.0";

/// Numbers of system calls: of one, or of one and all above it; or what one does when one of its
/// arguments has a value.
#[derive(Clone, Copy)]
pub struct Missing {
    number: u32,
    and_above: bool,
    only: Option<Only>,
}

/// The argument, from 0, its value, and the error number instead of ENOSYS.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Only {
    argument: u32,
    value: u32,
    errno: i32,
}

impl Missing {
    /// True if the kernel itself answers ENOSYS for it: -1 is good for no argument of any.
    pub fn is_unknown_here(&self) -> bool {
        // SAFETY: -1 is no address that is written to: each call fails by its flags or by EFAULT.
        let done = unsafe { libc::syscall(self.number.into(), -1, -1, -1, -1, -1, -1) };
        done == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
    }

    /// True if it is one of these.
    pub fn is_in(&self, list: &[Self]) -> bool {
        list.iter().any(|one| {
            let whole = one.only.is_none() || one.only == self.only;
            whole && one.number == self.number || one.and_above && one.number < self.number
        })
    }
}

/// The system calls of a name or of a group's name.
#[track_caller]
pub fn numbers(name: &str) -> Vec<Missing> {
    if let Some((_, names)) = GROUPS.iter().find(|(group, _)| *group == name) {
        return names.iter().flat_map(|name| numbers(name)).collect();
    }
    let (number, only) = match name {
        // SECCOMP_GET_NOTIF_SIZES is 3.
        "seccomp-notify" => {
            (libc::SYS_seccomp, Some(Only { argument: 0, value: 3, errno: libc::EINVAL }))
        }
        // The only mount with these flags alone is the one that asks.
        "overlay-userns" => {
            let value = libc::MS_SILENT as u32;
            (libc::SYS_mount, Some(Only { argument: 3, value, errno: libc::EPERM }))
        }
        _ => (number(name), None),
    };
    vec![Missing { number: number as u32, and_above: name == AFTER_4_9, only }]
}

#[track_caller]
fn number(name: &str) -> libc::c_long {
    match name {
        "openat2" => libc::SYS_openat2,
        "clone3" => libc::SYS_clone3,
        "pidfd_open" => libc::SYS_pidfd_open,
        "pidfd_send_signal" | AFTER_4_9 => libc::SYS_pidfd_send_signal,
        "pidfd_getfd" => libc::SYS_pidfd_getfd,
        "close_range" => libc::SYS_close_range,
        "fsopen" => libc::SYS_fsopen,
        "fsconfig" => libc::SYS_fsconfig,
        "fsmount" => libc::SYS_fsmount,
        "fspick" => libc::SYS_fspick,
        "move_mount" => libc::SYS_move_mount,
        "open_tree" => libc::SYS_open_tree,
        "mount_setattr" => libc::SYS_mount_setattr,
        "epoll_pwait2" => libc::SYS_epoll_pwait2,
        "statx" => libc::SYS_statx,
        "bpf" => libc::SYS_bpf,
        "rseq" => libc::SYS_rseq,
        "unshare" => libc::SYS_unshare,
        _ => panic!("no system call {name:?} in this list"),
    }
}

/// What the kernel calls the machine that the numbers are of (linux/audit.h).
const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0x4000_0028
};

/// Makes `command` run without these system calls. Programs of the machine's other kind (32 bits)
/// have other numbers and keep all.
pub fn forbid(command: &mut Command, missing: &[Missing]) {
    if missing.is_empty() {
        return;
    }
    let op = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: u32| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let answer = |what: u32| op(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    // A filter sees the number first, then the machine's kind.
    let mut program = vec![
        load(4),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, AUDIT_ARCH),
        answer(libc::SECCOMP_RET_ALLOW),
        load(0),
    ];
    let error = |errno: i32| answer(libc::SECCOMP_RET_ERRNO | errno as u32);
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    for Missing { number, and_above, only } in missing {
        match only {
            None => {
                let test = if *and_above { libc::BPF_JGE } else { libc::BPF_JEQ };
                program.push(op(libc::BPF_JMP | test | libc::BPF_K, 0, 1, *number));
                program.push(error(libc::ENOSYS));
            }
            // The lower half of the argument, which comes first here; then the number again.
            Some(only) => program.extend([
                op(equal, 0, 4, *number),
                load(16 + 8 * only.argument),
                op(equal, 0, 1, only.value),
                error(only.errno),
                load(0),
            ]),
        }
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
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

/// True if the kernel separates hyper-threads by cookies (5.14, CONFIG_SCHED_CORE), or would if the
/// machine had some.
pub fn has_core_scheduling() -> bool {
    const PR_SCHED_CORE: libc::c_int = 62;
    const GET: libc::c_ulong = 0;
    let (zero, mut cookie): (libc::c_ulong, u64) = (0, 0);
    // SAFETY: the kernel writes one u64 to `cookie`, which outlives the call.
    let done = unsafe { libc::prctl(PR_SCHED_CORE, GET, zero, zero, &raw mut cookie) };
    done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
}
