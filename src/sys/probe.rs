//! Finding out what the kernel does by letting it do it: a throw-away process with a time limit,
//! and the odd calls that only such a process makes.
#![allow(unsafe_code, reason = "raw calls whose only purpose is their error number")]

use super::error::{At, Result, SysError};
use super::event::{self, Ready};
use super::process::{self, Fork, Pid, Wait};
use super::{fd, ns};
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// The longest answer of a trial, in bytes: what one write to a pipe delivers whole.
pub const MAX_ANSWER: usize = 4000;

/// The signal by which a seccomp filter kills.
pub const SIGSYS: i32 = libc::SIGSYS;

/// What became of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum Tried {
    /// It said this.
    Said(Vec<u8>),
    /// It did not end in time and was killed.
    Late,
    /// A signal ended it: SIGSYS is a seccomp filter's.
    Killed(i32),
    /// It could not be begun.
    Failed(SysError),
}

/// How long a killed trial may take to go; one that the kernel does not let go is left behind.
const GRACE: Duration = Duration::from_millis(200);

/// How long a question of a plan may take.
const ASKING: Duration = Duration::from_secs(5);

/// Runs `body` in a child of its own session, at most for `limit`, and gives back what it answers.
/// Whatever it and its own children did to themselves ends with them.
pub fn run(limit: Duration, body: &mut dyn FnMut() -> Vec<u8>) -> Tried {
    match start(limit, body) {
        Ok((pid, reader)) => {
            let answer = listen(&reader, Instant::now() + limit);
            // The child leads a process group of its own, which nobody else joins.
            let _ = process::kill(-pid, libc::SIGKILL);
            let _ = process::kill(pid, libc::SIGKILL);
            let end = reap(pid);
            match (answer, end) {
                (Some(bytes), _) if !bytes.is_empty() => Tried::Said(bytes),
                (None, _) => Tried::Late,
                (_, Wait::Signaled(signal)) => Tried::Killed(signal),
                _ => Tried::Said(Vec::new()),
            }
        }
        Err(error) => Tried::Failed(error),
    }
}

fn start(
    limit: Duration,
    body: &mut dyn FnMut() -> Vec<u8>,
) -> Result<(Pid, std::os::fd::OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).at("pipe2", || "")?;
    match process::fork()? {
        Fork::Child => {
            drop(reader);
            let _ = process::setsid();
            // Whoever waits for it may be killed: it still ends as it would, and takes away what it
            // has made, or is ended here.
            let seconds = u32::try_from(limit.as_secs()).unwrap_or_default() + 2;
            // SAFETY: a number; no handler is set, and none of ours would be.
            unsafe { libc::alarm(seconds) };
            let mut answer = body();
            answer.truncate(MAX_ANSWER);
            let _ = fd::write_once(writer.as_fd(), &answer);
            process::exit_now(0)
        }
        Fork::Parent(pid) => Ok((pid, reader)),
    }
}

/// `None` when the deadline passes first; nothing when the child ends without a word.
fn listen(reader: &std::os::fd::OwnedFd, deadline: Instant) -> Option<Vec<u8>> {
    let ready = event::poll(reader.as_fd(), Ready::READ, Some(deadline)).ok()?;
    if ready == Ready::NONE {
        return None;
    }
    let mut buffer = vec![0; MAX_ANSWER];
    let len = rustix::io::read(reader, &mut buffer).unwrap_or(0);
    buffer.truncate(len);
    Some(buffer)
}

fn reap(pid: Pid) -> Wait {
    let deadline = Instant::now() + GRACE;
    loop {
        match process::try_wait(pid) {
            Ok(Wait::Running) if Instant::now() < deadline => {
                event::sleep(Duration::from_micros(500));
            }
            Ok(end) => return end,
            Err(_) => return Wait::Running,
        }
    }
}

/// System calls with arguments that no kernel accepts: each has failed before it does anything.
const CALLS: &[(&str, libc::c_long, [i8; 5])] = &[
    ("clone3", libc::SYS_clone3, [0; 5]),
    ("openat2", libc::SYS_openat2, [NO_FD, 0, 0, 0, 0]),
    ("pidfd_open", libc::SYS_pidfd_open, [0; 5]),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [NO_FD, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [NO_FD, 0, 0, 0, 0]),
    ("close_range", libc::SYS_close_range, [2, 1, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [0, NO_FD, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [NO_FD, 0, NO_FD, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [NO_FD, 0, NO_FD, 0, NO_FD]),
    ("mount_setattr", libc::SYS_mount_setattr, [NO_FD, 0, NO_FD, 0, 0]),
    ("epoll_pwait2", libc::SYS_epoll_pwait2, [NO_FD, 0, 0, 0, 0]),
    ("memfd_create", libc::SYS_memfd_create, [0, NO_FD, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [NO_FD, 0, 0, 0, 0]),
    ("seccomp", libc::SYS_seccomp, [NO_FD, 0, 0, 0, 0]),
    ("statx", libc::SYS_statx, [NO_FD, 0, NO_FD, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [NO_FD, 0, 0, 0, NO_FD]),
    ("eventfd2", libc::SYS_eventfd2, [0, NO_FD, 0, 0, 0]),
    ("epoll_create1", libc::SYS_epoll_create1, [NO_FD, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [NO_FD, 0, 0, 0, 0]),
    ("execveat", libc::SYS_execveat, [NO_FD, 0, 0, 0, NO_FD]),
];
const NO_FD: i8 = -1;

/// A system call that can be asked for: its row in the table.
#[derive(Clone, Copy)]
pub struct Call(u8);

impl Call {
    /// That of the name. In a constant a name that is not in the table is no program.
    pub const fn of(name: &str) -> Self {
        let mut row = 0;
        while !is_same(CALLS[row as usize].0, name) {
            row += 1;
        }
        Self(row)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        CALLS[usize::from(self.0)].0
    }

    /// The error number that it answers when it is asked for something impossible.
    ///
    /// # In the child
    /// A seccomp filter may kill the caller for it.
    pub fn ask(self) -> i32 {
        let (_, number, arguments) = CALLS[usize::from(self.0)];
        let [a, b, c, d, e] = arguments.map(isize::from);
        // SAFETY: every row's arguments are refused (no such descriptor, a null pointer, unknown
        // flags), so no memory is touched and nothing is made.
        let done = unsafe { libc::syscall(number, a, b, c, d, e) };
        if done < 0 { SysError::last("", "").errno } else { 0 }
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// mount(2) of a new file system of type `kind` on `target`, in the caller's own mount namespace.
///
/// # Errors
/// ENODEV for a type that the kernel does not have, else mount's own.
pub fn mount(kind: &str, target: &str, options: &str) -> Result<()> {
    let data = std::ffi::CString::new(options)
        .map_err(|_| SysError::new("mount", options, libc::EINVAL))?;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount(kind, target, kind, flags, data.as_c_str())
        .at("mount", || format!("{kind}, \"{target}\""))
}

/// False if the kernel does not let the root of a user namespace mount an overlay. One without layers
/// is asked for: it is refused in any case, and what may not be is so by another error.
pub fn overlay_in_user_namespace() -> bool {
    let mut ask = || {
        use rustix::mount::{MountFlags, mount};
        let namespaces = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
        let asked = ns::unshare(namespaces)
            .map(|()| mount("overlay", "/", "overlay", MountFlags::SILENT, c""));
        if matches!(asked, Ok(Err(rustix::io::Errno::PERM))) { b"no".to_vec() } else { Vec::new() }
    };
    run(ASKING, &mut ask) != Tried::Said(b"no".to_vec())
}

/// `struct ifreq`, as much of it as TUNSETIFF reads.
#[repr(C)]
struct Ifreq {
    name: [u8; 16],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes a TUN device of this network namespace that goes with the descriptor it is made on.
///
/// # Errors
/// /dev/net/tun is missing (ENOENT) or nothing behind it (ENODEV, ENXIO); EPERM.
pub fn tun() -> Result<()> {
    const TUNSETIFF: u32 = 0x4004_54ca;
    const IFF_TUN_NO_PI: libc::c_short = 0x1001;
    let device = fd::open("/dev/net/tun", fd::OpenFlags::RDWR, 0)?;
    let mut request = Ifreq { name: [0; 16], flags: IFF_TUN_NO_PI, rest: [0; 22] };
    let pointer = std::ptr::from_mut(&mut request);
    // SAFETY: `request` outlives the call and is as long as the kernel's struct ifreq.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF as _, pointer) };
    if done == 0 { Ok(()) } else { Err(SysError::last("ioctl", "TUNSETIFF")) }
}

/// Asks the kernel's own iptables (not that of nftables) for `table`.
///
/// # Errors
/// ENOPROTOOPT without iptables, ENOENT without the table, EPERM.
pub fn iptables(table: &str) -> Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
    const IPT_SO_GET_INFO: libc::c_int = 64;
    // struct ipt_getinfo: the name, then 13 numbers that the kernel fills in.
    let mut info = [0u8; 84];
    info[..table.len().min(31)].copy_from_slice(&table.as_bytes()[..table.len().min(31)]);
    let mut len: libc::socklen_t = 84;
    let kind = SocketType::RAW;
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, Some(ipproto::RAW))
        .at("socket", || "AF_INET, SOCK_RAW")?;
    let (to, size) = (info.as_mut_ptr(), std::ptr::from_mut(&mut len));
    // SAFETY: `info` is as long as `len` says and as the kernel's struct; both outlive the call.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_IP, IPT_SO_GET_INFO, to.cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(SysError::last("getsockopt", table)) }
}

/// The kernel's release, as `uname -r` prints it.
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Type, permission bits and owner of what `path` leads to: (mode, uid, gid).
///
/// # Errors
/// stat's.
pub fn mode_of(path: &std::path::Path) -> Result<(u32, u32, u32)> {
    let stat = rustix::fs::stat(path).at("stat", || format!("\"{}\"", path.display()))?;
    Ok((stat.st_mode, stat.st_uid, stat.st_gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_must_fail_do() {
        for (name, ..) in CALLS {
            let call = Call::of(name);
            assert_eq!(call.name(), *name);
            assert_ne!(call.ask(), 0, "{name}");
        }
    }

    #[test]
    fn ifreq_has_the_kernels_size() {
        assert_eq!(size_of::<Ifreq>(), 40);
    }
}
