//! Running a program of the host or of the container and collecting what it says: hooks, network
//! scripts, templates' helpers.

use super::error::{At, Result, SysError};
use super::process::{self, CStrings, Fork, Pid, Wait};
use super::{fd, meanwhile, signal};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Bytes of a script's output that are kept; the rest is read and dropped.
const KEEP_OUTPUT: usize = 16 << 10;
/// How often it is looked for the end of a program where the kernel does not tell of it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a script is run with besides its own words.
#[derive(Clone, Debug, Default)]
pub struct ScriptContext {
    /// The container's name.
    pub name: String,
    /// `lxc.hook.version`.
    pub hook_version: u8,
    /// The whole environment.
    pub env: Vec<(String, String)>,
}

/// A command line of a configuration file, run by `/bin/sh -c 'exec COMMAND ARGS'`.
pub struct Script<'a> {
    /// The command as written; it may hold arguments and shell syntax.
    pub command: &'a str,
    /// Arguments appended, each quoted for the shell here.
    pub args: &'a [String],
    /// The whole environment.
    pub env: &'a [(String, String)],
    /// Descriptors that stay open in the script, at their numbers.
    pub fds: &'a [BorrowedFd<'a>],
}

/// How a script ended and the first 16 KiB of what it wrote to standard output and error.
pub struct Output {
    /// How it ended.
    pub status: Wait,
    /// Output, cut.
    pub text: Vec<u8>,
}

/// `'it'\''s'` for `it's`.
pub fn shell_quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Runs a script and waits for it.
///
/// # Errors
/// Only failures to run it at all; its own status is in the result.
pub fn run_script(script: &Script<'_>) -> Result<Output> {
    let mut line = format!("exec {}", script.command);
    for arg in script.args {
        line.push(' ');
        line.push_str(&shell_quote(arg));
    }
    run_program(&["/bin/sh", "-c", &line], script.env, script.fds)
}

/// Runs a program by its full path with standard input from /dev/null, and waits for it.
pub fn run_program(
    argv: &[&str],
    env: &[(String, String)],
    fds: &[BorrowedFd<'_>],
) -> Result<Output> {
    run_keeping(argv, env, fds, KEEP_OUTPUT)
}

/// As [`run_program`], for those who read what it prints: the first `keep` bytes are kept.
pub fn run_keeping(
    argv: &[&str],
    env: &[(String, String)],
    fds: &[BorrowedFd<'_>],
    keep: usize,
) -> Result<Output> {
    run(argv, env, fds, keep, &|| Ok(()))
}

/// As [`run_program`]; `prepare` is done in the program's process before. What it says is the
/// output then, and the status 126.
pub fn run_prepared(
    argv: &[&str],
    env: &[(String, String)],
    fds: &[BorrowedFd<'_>],
    prepare: &dyn Fn() -> std::result::Result<(), String>,
) -> Result<Output> {
    run(argv, env, fds, KEEP_OUTPUT, prepare)
}

fn run(
    argv: &[&str],
    env: &[(String, String)],
    fds: &[BorrowedFd<'_>],
    keep: usize,
    prepare: &dyn Fn() -> std::result::Result<(), String>,
) -> Result<Output> {
    let argv_c = CStrings::new(argv)?;
    let path = std::ffi::CString::new(argv[0])
        .map_err(|_| SysError::new("execve", argv[0], libc::EINVAL))?;
    let env_c = CStrings::new(env.iter().map(|(k, v)| format!("{k}={v}")))?;
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("pipe2", || "")?;
    match process::fork()? {
        Fork::Child => {
            if let Err(text) = prepare() {
                let _ = fd::write_all(writer.as_fd(), text.as_bytes());
                process::exit_now(126);
            }
            let error = exec_with_output(&path, &argv_c, &env_c, &writer, fds);
            let text = format!("{}: {error}\n", argv[0]);
            // The parent reads this as output; the status is the shell's for "cannot run".
            let _ = fd::write_all(writer.as_fd(), text.as_bytes());
            process::exit_now(if error.is(libc::ENOENT) { 127 } else { 126 });
        }
        Fork::Parent(pid) => {
            drop(writer);
            let text = drain(&reader, pid, keep);
            let status = process::wait(pid)?;
            Ok(Output { status, text: text? })
        }
    }
}

/// # In the child
/// The forked child of [`run_program`]; returns only on failure.
fn exec_with_output(
    path: &std::ffi::CStr,
    argv: &CStrings,
    env: &CStrings,
    writer: &OwnedFd,
    keep: &[BorrowedFd<'_>],
) -> SysError {
    use std::os::fd::AsRawFd;
    let prepare = || -> Result<()> {
        let null = fd::open("/dev/null", rustix::fs::OFlags::RDWR, 0).ok();
        if let Some(null) = &null {
            fd::dup_to_stdio(null.as_fd(), 0)?;
        }
        fd::dup_to_stdio(writer.as_fd(), 1)?;
        fd::dup_to_stdio(writer.as_fd(), 2)?;
        let numbers: Vec<i32> = keep.iter().map(AsRawFd::as_raw_fd).collect();
        fd::seal_above(3, &numbers, fd::Seal::CloseOnExec)?;
        for fd in keep {
            super::fd::set_cloexec(*fd, false)?;
        }
        signal::reset_for_exec()
    };
    match prepare() {
        Ok(()) => process::exec(path, argv, env),
        Err(e) => e,
    }
}

/// Reads until the end of the pipe or of the process, whichever is first: a daemon that a hook
/// leaves behind with our pipe must not hold up the start. Keeps the first `keep` bytes.
fn drain(reader: &OwnedFd, pid: Pid, keep: usize) -> Result<Vec<u8>> {
    let mut kept = Vec::new();
    // FALLBACK(<5.3): without a pidfd it is looked at again and again.
    let pidfd = process::pidfd_open(pid).ok();
    let pause = pidfd.is_none().then_some(LOOK_AGAIN);
    rustix::io::ioctl_fionbio(reader, true).at("ioctl", || "FIONBIO")?;
    let mut pipe = Some(reader.as_fd());
    loop {
        let ready = meanwhile::wait(&[pipe, pidfd.as_ref().map(AsFd::as_fd)], pause)?;
        let ended = ready & 2 != 0 || pause.is_some() && process::peek(pid)? != Wait::Running;
        while pipe.is_some() {
            match read_some(reader, &mut kept, keep)? {
                Progress::More if ended => {}
                Progress::End => pipe = None,
                Progress::More | Progress::Nothing => break,
            }
        }
        if ended {
            return Ok(kept);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Nothing,
    End,
}

fn read_some(reader: &OwnedFd, kept: &mut Vec<u8>, keep: usize) -> Result<Progress> {
    let mut chunk = [0u8; 4096];
    match rustix::io::read(reader, &mut chunk) {
        Ok(0) => Ok(Progress::End),
        Ok(n) => {
            let room = keep - kept.len();
            kept.extend_from_slice(&chunk[..n.min(room)]);
            Ok(Progress::More)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Progress::Nothing),
        Err(e) => Err(SysError::rustix("read", "pipe", e)),
    }
}

/// Runs `body` in a forked child and gives back its status; for work that must happen under
/// other credentials or in other namespaces.
pub fn in_child(body: impl FnOnce() -> i32) -> Result<Wait> {
    match process::fork()? {
        Fork::Child => process::exit_now(body()),
        Fork::Parent(pid) => process::wait(pid),
    }
}

/// The number of a child started for the caller, see [`in_child`].
pub fn start_child(body: impl FnOnce() -> i32) -> Result<Pid> {
    match process::fork()? {
        Fork::Child => process::exit_now(body()),
        Fork::Parent(pid) => Ok(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_survive_the_shell() {
        assert_eq!(shell_quote("a b"), "'a b'");
        assert_eq!(shell_quote("it's"), "'it'\\''s'");
    }
}
