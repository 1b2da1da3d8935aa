//! What the kernel notes of a process's memory: the title that ps(1) shows, the file that it runs.

#![allow(unsafe_code, reason = "prctl(PR_SET_MM_MAP) and the break address")]

use super::error::{Result, SysError};
use super::fd;
use std::mem::size_of;
use std::os::fd::RawFd;

/// `struct prctl_mm_map` of <linux/prctl.h>.
#[repr(C)]
struct MmMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Shows `title` in /proc/self/cmdline. The text stays allocated for the life of the process.
///
/// The argument area is moved to new memory (PR_SET_MM_MAP), so the title may be of any length
/// and the environment stays as it is.
///
/// ENOSYS or EINVAL on a kernel without CONFIG_CHECKPOINT_RESTORE: the title is cosmetic, and
/// the caller goes on without.
pub fn set_title(title: &str) -> Result<()> {
    let mut map = present()?;
    let mut text = Vec::with_capacity(title.len() + 1);
    text.extend_from_slice(title.as_bytes());
    text.push(0);
    // The kernel reads this memory whenever somebody looks at /proc/PID/cmdline.
    let text: &'static [u8] = text.leak();
    map.arg_start = text.as_ptr() as u64;
    map.arg_end = map.arg_start + text.len() as u64;
    set(&map)
}

/// Notes `file` as the one that the process runs; for `image`, which has removed every mapping of
/// the one before.
///
/// EBUSY if one is left, EPERM without CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE, else as
/// [`set_title`].
pub(super) fn set_file(file: RawFd) -> Result<()> {
    let mut map = present()?;
    map.exe_fd = file.unsigned_abs();
    set(&map)
}

fn present() -> Result<MmMap> {
    let stat = fd::read_to_string("/proc/self/stat")?;
    let mut map =
        parse_stat(&stat).ok_or_else(|| SysError::new("read", "/proc/self/stat", libc::EBADMSG))?;
    // SAFETY: sbrk(0) only reports the current break.
    map.brk = unsafe { libc::sbrk(0) } as u64;
    Ok(map)
}

fn set(map: &MmMap) -> Result<()> {
    // SAFETY: map is a complete prctl_mm_map that outlives the call and its size is the one
    // passed; the kernel checks every address. A new argument area is leaked memory.
    let rc = unsafe {
        libc::prctl(
            libc::PR_SET_MM,
            libc::PR_SET_MM_MAP as libc::c_ulong,
            std::ptr::from_ref(map),
            size_of::<MmMap>() as libc::c_ulong,
            0 as libc::c_ulong,
        )
    };
    if rc < 0 { Err(SysError::last("prctl", "PR_SET_MM_MAP")) } else { Ok(()) }
}

/// The short name of /proc/self/comm, by which pgrep(1) and `ps -C` find a process; cut to 15 bytes.
pub fn set_name(name: &std::ffi::CStr) {
    // Fails for nothing but a bad address.
    let _ = rustix::thread::set_name(name);
}

/// The addresses in /proc/PID/stat (proc(5), fields 26 to 51); the break is not among them.
fn parse_stat(stat: &str) -> Option<MmMap> {
    // The command name in parentheses may hold anything; the last one ends it.
    let fields: Vec<u64> = stat
        .rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .map(|f| f.parse().unwrap_or_default())
        .collect();
    let field = |n: usize| fields.get(n - 3).copied();
    Some(MmMap {
        start_code: field(26)?,
        end_code: field(27)?,
        start_stack: field(28)?,
        start_data: field(45)?,
        end_data: field(46)?,
        start_brk: field(47)?,
        brk: 0,
        arg_start: field(48)?,
        arg_end: field(49)?,
        env_start: field(50)?,
        env_end: field(51)?,
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_fields_are_found_behind_a_hostile_name() {
        let numbers: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = format!("1 (a) b) S {}", numbers.join(" "));
        let map = parse_stat(&stat).unwrap();
        assert_eq!((map.start_code, map.start_data, map.env_end), (26, 45, 51));
        assert!(parse_stat("1 (a) S 1 2 3").is_none());
    }
}
