//! What id maps need of the system: a process that only holds a user namespace, and whether a
//! program is allowed to write id maps.
#![allow(unsafe_code, reason = "pause has no safe wrapper")]

use super::error::{At, Result};
use super::process::{self, Cloned, KillOnDrop, Parent, Pid};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const CLONE_NEWUSER: u64 = 0x1000_0000;

/// Number of CAP_SETGID, which newgidmap needs.
pub const CAP_SETGID: u8 = 6;
/// Number of CAP_SETUID, which newuidmap needs.
pub const CAP_SETUID: u8 = 7;

/// Makes a process in a new user namespace that does nothing until it is killed, which dropping
/// the guard does. It dies with its parent.
///
/// # Errors
/// EPERM where user namespaces are switched off, ENOSPC at their limit, EDEADLK with threads.
pub fn holder() -> Result<KillOnDrop> {
    let parent = process::own_pid();
    match process::clone3(CLONE_NEWUSER, Parent::Caller, None, &mut false)? {
        Cloned::Parent { pid, pidfd } => Ok(KillOnDrop::new(pid, pidfd)),
        Cloned::Child => hold(parent),
    }
}

/// Stays until it is killed, or until `parent` has ended.
///
/// # In the child
/// Never returns; runs nothing but three system calls.
pub fn hold(parent: Pid) -> ! {
    let kill = rustix::process::Signal::KILL;
    let tied = rustix::process::set_parent_process_death_signal(Some(kill));
    let alive = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent);
    // A parent that died before the line above never kills us: then go now.
    while tied.is_ok() && alive {
        // SAFETY: waits for a signal; touches no memory.
        unsafe { libc::pause() };
    }
    process::exit_now(1)
}

/// True if the program at `path` runs with capability `cap` whoever calls it: it is setuid root,
/// or has the capability as a file capability.
///
/// # Errors
/// It cannot be looked at.
pub fn is_privileged(path: &Path, cap: u8) -> Result<bool> {
    let stat = rustix::fs::stat(path).at("stat", || format!("\"{}\"", path.display()))?;
    if stat.st_mode & libc::S_ISUID != 0 && stat.st_uid == 0 {
        return Ok(true);
    }
    let mut buffer = [0u8; 24];
    match rustix::fs::getxattr(path.as_os_str().as_bytes(), "security.capability", &mut buffer) {
        Ok(len) => Ok(permits(buffer.get(..len).unwrap_or_default(), cap)),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(e) => Err(e).at("getxattr", || format!("\"{}\"", path.display())),
    }
}

/// Reads the kernel's `struct vfs_cap_data`: a word with the version, then pairs of permitted and
/// inheritable words, little-endian.
fn permits(data: &[u8], cap: u8) -> bool {
    let at = 4 + usize::from(cap / 32) * 8;
    let word = data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    word.is_some_and(|bytes| u32::from_le_bytes(bytes) & (1 << (cap % 32)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_capability_words() {
        // What `setcap cap_setuid=ep` writes: version 2 with the effective bit, 0x80 permitted.
        let setuid = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(permits(&setuid, CAP_SETUID));
        assert!(!permits(&setuid, CAP_SETGID));
        assert!(!permits(&setuid[..4], CAP_SETUID));
        assert!(!permits(&[], 40));
    }
}
