//! Processes: fork, clone3, pidfds, wait, exec, exit.
//!
//! The program is single-threaded, always: a fork-like clone that goes on to allocate is only
//! sound then. [`fork`] and [`clone3`] check it.
#![allow(unsafe_code, reason = "fork, clone3, execve and wait have no safe form")]

use super::error::{At, Result, SysError};
use super::{cradle, meanwhile};
use crate::util::signames::Signal;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// A process number as this process sees it.
pub type Pid = i32;

/// On how many processors this process may run; 1 if that cannot be known.
pub fn cpus() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

/// Which side of a fork the caller is on.
pub enum Fork {
    /// The new process.
    Child,
    /// The caller, with the new process's number.
    Parent(Pid),
}

/// Refuses to go on when this process has more than one thread.
fn assert_one_thread(call: &'static str) -> Result<()> {
    // proc(5): the link count of /proc/self/task is 2 plus the number of threads. A process
    // without /proc cannot be checked, and none of ours makes a thread.
    match rustix::fs::stat("/proc/self/task") {
        #[allow(clippy::unnecessary_cast, reason = "the field's width differs between targets")]
        Ok(stat) if stat.st_nlink as u64 > 3 => {
            Err(SysError::new(call, "more than one thread", libc::EDEADLK))
        }
        _ => Ok(()),
    }
}

/// fork(2), into the cradle where there is one.
///
/// # Errors
/// EDEADLK when the process has several threads; else fork's own.
pub fn fork() -> Result<Fork> {
    if let Some(cradle) = cradle::get() {
        let mut placed = false;
        return match clone3(0, Parent::Caller, Some(cradle.as_fd()), &mut placed)? {
            Cloned::Parent { pid, .. } => Ok(Fork::Parent(pid)),
            Cloned::Child => {
                if !placed {
                    cradle::enter(cradle.as_fd());
                }
                Ok(Fork::Child)
            }
        };
    }
    assert_one_thread("fork")?;
    #[allow(clippy::disallowed_methods, reason = "this is the wrapper that makes the check")]
    // SAFETY: the process has one thread, checked above, so the child may do whatever the parent
    // could have done.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(SysError::last("fork", "")),
        0 => {
            meanwhile::forget();
            Ok(Fork::Child)
        }
        pid => Ok(Fork::Parent(pid)),
    }
}

/// The result of [`clone3`].
pub enum Cloned {
    /// The new process.
    Child,
    /// The caller.
    Parent {
        /// The child's number.
        pid: Pid,
        /// Its pidfd; `None` on kernels before 5.2.
        pidfd: Option<OwnedFd>,
    },
}

/// The kernel's `struct clone_args`, as of 5.7.
#[repr(C, align(8))]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_ARGS_SIZE_VER0: usize = 64;

/// Whose child the new process is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// The caller's.
    Caller,
    /// The caller's parent's, which reaps it (CLONE_PARENT).
    Callers,
}

/// Fork-like clone into new namespaces (`flags` of CLONE_NEW* only), and into the cgroup that
/// `cgroup` names where the kernel can.
///
/// Returns whether the child is in that cgroup already through `placed`.
///
/// # Errors
/// EDEADLK with several threads; EPERM, EINVAL, ENOSPC (namespace limits), ENOMEM of clone(2).
pub fn clone3(
    flags: u64,
    parent: Parent,
    cgroup: Option<BorrowedFd<'_>>,
    placed: &mut bool,
) -> Result<Cloned> {
    assert_one_thread("clone3")?;
    let flags = if parent == Parent::Callers { flags | CLONE_PARENT } else { flags };
    *placed = false;
    if let Some(dir) = cgroup {
        let fd = dir.as_raw_fd();
        match clone3_once(flags | CLONE_INTO_CGROUP, Some(fd)) {
            Err(e) if retry_without_cgroup(e.errno) => {}
            done => {
                *placed = true;
                return done;
            }
        }
    }
    clone_unplaced(flags)
}

/// As [`fork`], but the new process is a child of the caller's parent, which reaps it and gets its
/// SIGCHLD. For a caller that comes from fork or [`clone3`] itself, where /proc, which would tell
/// of threads, may be a container's.
///
/// # Errors
/// EAGAIN, ENOMEM of clone(2); EINVAL when the caller is the init of its pid namespace.
pub fn fork_sibling() -> Result<Fork> {
    match clone_unplaced(CLONE_PARENT)? {
        Cloned::Child => Ok(Fork::Child),
        Cloned::Parent { pid, .. } => Ok(Fork::Parent(pid)),
    }
}

fn clone_unplaced(flags: u64) -> Result<Cloned> {
    match clone3_once(flags, None) {
        // FALLBACK(<5.3): clone3 is missing, or hidden by a seccomp filter.
        Err(e) if e.is(libc::ENOSYS) => clone_legacy(flags),
        done => done,
    }
}

/// FALLBACK(<5.7): CLONE_INTO_CGROUP is unknown (E2BIG or EINVAL); the unified hierarchy may also
/// refuse it (EBUSY, EOPNOTSUPP, EACCES, ENODEV once it is removed), and the caller then moves the
/// child by hand.
fn retry_without_cgroup(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOSYS
            | libc::E2BIG
            | libc::EINVAL
            | libc::EBUSY
            | libc::EOPNOTSUPP
            | libc::EACCES
            | libc::EBADF
            | libc::ENODEV
    )
}

fn clone3_once(flags: u64, cgroup: Option<RawFd>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: flags | CLONE_PIDFD,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        // A sibling takes the exit signal of the caller, and clone3 wants none named.
        exit_signal: if flags & CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..CloneArgs::default()
    };
    let size = match cgroup {
        Some(fd) => {
            args.cgroup = u64::from(fd.unsigned_abs());
            size_of::<CloneArgs>()
        }
        None => CLONE_ARGS_SIZE_VER0,
    };
    // SAFETY: `args` and `pidfd` outlive the call; no CLONE_VM and no stack, so the child runs on
    // a copy of this stack as after fork, and the process has one thread (checked by the caller).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size) };
    finish_clone("clone3", pid, flags, pidfd)
}

fn clone_legacy(flags: u64) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let both = (flags | CLONE_PIDFD) as libc::c_ulong | libc::SIGCHLD as libc::c_ulong;
    // SAFETY: as clone3: a null stack without CLONE_VM is fork-like; the third argument is where
    // CLONE_PIDFD stores the descriptor, on every architecture we build for.
    let mut pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            both,
            std::ptr::null_mut::<u8>(),
            std::ptr::from_mut(&mut pidfd),
            std::ptr::null_mut::<u8>(),
            0usize,
        )
    };
    if pid < 0 && SysError::last("clone", "").is(libc::EINVAL) {
        // FALLBACK(<5.2): no CLONE_PIDFD.
        let plain = flags as libc::c_ulong | libc::SIGCHLD as libc::c_ulong;
        let null = std::ptr::null_mut::<u8>();
        // SAFETY: as above, without the descriptor.
        pid = unsafe { libc::syscall(libc::SYS_clone, plain, null, null, null, 0usize) };
    }
    finish_clone("clone", pid, flags, pidfd)
}

fn finish_clone(call: &'static str, pid: libc::c_long, flags: u64, pidfd: RawFd) -> Result<Cloned> {
    match pid {
        0 => {
            meanwhile::forget();
            cradle::set(None);
            Ok(Cloned::Child)
        }
        pid if pid > 0 => {
            let pidfd = (pidfd >= 0).then(|| {
                // SAFETY: the kernel has just stored a new descriptor that nobody else knows.
                unsafe { OwnedFd::from_raw_fd(pidfd) }
            });
            Ok(Cloned::Parent { pid: pid as Pid, pidfd })
        }
        _ => Err(SysError::last(call, format!("flags {flags:#x}"))),
    }
}

/// pidfd_open(2). ENOSYS before 5.3.
pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    let number = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| SysError::new("pidfd_open", pid, libc::EINVAL))?;
    rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())
        .at("pidfd_open", || pid)
}

/// Sends `signal` by pidfd, or by number where that is missing. Gone already (ESRCH) is an error.
pub fn send_signal(pid: Pid, pidfd: Option<BorrowedFd<'_>>, signal: i32) -> Result<()> {
    if let Some(fd) = pidfd {
        // SAFETY: plain numbers and a null siginfo, which pidfd_send_signal(2) allows.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                fd.as_raw_fd(),
                signal,
                std::ptr::null::<u8>(),
                0u32,
            )
        };
        if done == 0 {
            return Ok(());
        }
        let error = SysError::last("pidfd_send_signal", format!("{pid}, {signal}"));
        // FALLBACK(<5.1): no pidfd_send_signal.
        if !error.is(libc::ENOSYS) {
            return Err(error);
        }
    }
    kill(pid, signal)
}

/// kill(2).
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: plain numbers.
    if unsafe { libc::kill(pid, signal) } == 0 {
        Ok(())
    } else {
        Err(SysError::last("kill", format!("{pid}, {signal}")))
    }
}

/// How a process ended, or what it did (waitpid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It called exit with this status, 0 to 255.
    Exited(i32),
    /// A signal ended it.
    Signaled(i32),
    /// Still running, and the caller asked not to wait.
    Running,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Signaled(signal) => write!(f, "was killed by {}", Signal(signal)),
            Self::Running => f.write_str("still runs"),
        }
    }
}

impl Wait {
    /// The shell's convention: the status, or 128 plus the signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
            Self::Signaled(signal) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(u8::MAX),
            Self::Running => 0,
        }
    }

    /// From the raw status word of wait(2).
    fn from_raw(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signaled(libc::WTERMSIG(status))
        } else {
            Self::Exited(libc::WEXITSTATUS(status))
        }
    }
}

/// Waits for one child until it ends. EINTR is retried.
pub fn wait(pid: Pid) -> Result<Wait> {
    wait_flags(pid, libc::__WALL)
}

/// As [`wait`], without waiting.
pub fn try_wait(pid: Pid) -> Result<Wait> {
    wait_flags(pid, libc::__WALL | libc::WNOHANG)
}

/// How a child ended, without reaping it; [`Wait::Running`] when it has not. All of ours send
/// SIGCHLD: waitid(2) takes __WALL since Linux 4.7 only.
pub fn peek(pid: Pid) -> Result<Wait> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` outlives the call, which fills it or leaves it zero.
    if unsafe { libc::waitid(libc::P_PID, pid.unsigned_abs(), info.as_mut_ptr(), flags) } != 0 {
        return Err(SysError::last("waitid", pid));
    }
    // SAFETY: zeroed at first, and zero is a valid siginfo.
    let info = unsafe { info.assume_init() };
    if info.si_signo == 0 {
        return Ok(Wait::Running);
    }
    // SAFETY: waitid filled in the fields of SIGCHLD.
    let status = unsafe { info.si_status() };
    Ok(if info.si_code == libc::CLD_EXITED { Wait::Exited(status) } else { Wait::Signaled(status) })
}

fn wait_flags(pid: Pid, flags: i32) -> Result<Wait> {
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &mut status, flags) } {
            0 => return Ok(Wait::Running),
            -1 => {
                let error = SysError::last("waitpid", pid);
                if !error.is(libc::EINTR) {
                    return Err(error);
                }
            }
            _ => return Ok(Wait::from_raw(status)),
        }
    }
}

/// Reaps any one child that has ended, without waiting; `None` when there is none.
pub fn reap_any() -> Result<Option<(Pid, Wait)>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) } {
        0 => Ok(None),
        -1 => {
            let error = SysError::last("waitpid", "any");
            if error.is(libc::ECHILD) || error.is(libc::EINTR) { Ok(None) } else { Err(error) }
        }
        pid => Ok(Some((pid, Wait::from_raw(status)))),
    }
}

/// A process that is killed and reaped when the value is dropped, unless disarmed.
pub struct KillOnDrop {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    armed: bool,
}

impl KillOnDrop {
    /// Guards a child of this process.
    pub fn new(pid: Pid, pidfd: Option<OwnedFd>) -> Self {
        Self { pid, pidfd, armed: true }
    }

    /// The process number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The pidfd, where the kernel has them.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Waits for the end; the process is reaped and the guard harmless then.
    pub fn wait(&mut self) -> Result<Wait> {
        meanwhile::until_readable(self.pidfd());
        let how = wait(self.pid)?;
        self.armed = false;
        Ok(how)
    }

    /// Gives up the guard: the process lives on.
    pub fn disarm(mut self) -> (Pid, Option<OwnedFd>) {
        self.armed = false;
        (self.pid, self.pidfd.take())
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if self.armed {
            // Nobody is left to tell: either it is gone already, or it dies now.
            let _ = send_signal(self.pid, self.pidfd.as_ref().map(AsFd::as_fd), libc::SIGKILL);
            let _ = self.wait();
        }
    }
}

/// A list of C strings ready for the kernel: argv or an environment.
pub struct CStrings {
    strings: Vec<CString>,
}

impl CStrings {
    /// EINVAL when one holds a NUL byte.
    pub fn new<S: AsRef<OsStr>>(items: impl IntoIterator<Item = S>) -> Result<Self> {
        let strings: std::result::Result<Vec<_>, _> =
            items.into_iter().map(|s| CString::new(s.as_ref().as_bytes())).collect();
        match strings {
            Ok(strings) => Ok(Self { strings }),
            Err(_) => Err(SysError::new("execve", "a string holds a NUL byte", libc::EINVAL)),
        }
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// execve(2). Returns only on failure.
pub fn exec(path: &CStr, argv: &CStrings, envp: &CStrings) -> SysError {
    let argv = argv.pointers();
    let envp = envp.pointers();
    // SAFETY: both arrays end with null and point into strings that outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    SysError::last("execve", format!("\"{}\"", path.to_string_lossy()))
}

/// execveat(2) of an open file (AT_EMPTY_PATH). Returns only on failure.
pub fn exec_fd(file: BorrowedFd<'_>, argv: &CStrings, envp: &CStrings) -> SysError {
    let argv = argv.pointers();
    let envp = envp.pointers();
    // SAFETY: as `exec`; the path is the empty string.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    SysError::last("execveat", "")
}

/// `_exit(2)`: leaves a forked child without running anything of the parent's.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// This process's number.
pub fn own_pid() -> Pid {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// The number of the process that made this one; 0 when it is not to be seen from here.
pub fn parent_pid() -> Pid {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get())
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    rustix::process::setsid().map(drop).at("setsid", || "")
}

/// umask(2); returns the old mask.
pub fn umask(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).as_raw_mode()
}

/// chdir(2).
pub fn chdir(path: &std::path::Path) -> Result<()> {
    rustix::process::chdir(path).at("chdir", || format!("\"{}\"", path.display()))
}

/// fchdir(2).
pub fn fchdir(dir: BorrowedFd<'_>) -> Result<()> {
    rustix::process::fchdir(dir).at("fchdir", || "")
}

/// sethostname(2), in this process's UTS namespace.
pub fn sethostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).at("sethostname", || format!("\"{name}\""))
}
