//! The few settings below /proc/sys/net that have no netlink message. /proc/sys/net always shows
//! the network namespace of the process that opens it, which here is the host's.

use crate::net::error::Fault;
use crate::sys::{Result, errno, fd};

/// Writes `value`. A kernel without IPv6 has no such file, and in a nested container it may not
/// be ours to write: both are for the caller to weigh.
pub(super) fn set(family: &str, device: &str, setting: &str, value: &str) -> Result<()> {
    fd::write_file(path(family, device, setting), value.as_bytes())
}

/// As [`set`], for what is only hygiene: quietly nothing where it cannot be written.
pub(super) fn try_set(family: &str, device: &str, setting: &str, value: &str) -> Result<()> {
    match set(family, device, setting, value) {
        Err(e) if e.is(errno::ENOENT) || e.is(errno::EROFS) || e.is(errno::EACCES) => {
            log::debug!("net.{family}.conf.{device}.{setting} stays as it is: {e}");
            Ok(())
        }
        other => other,
    }
}

/// True if the setting is on; false too if there is none.
pub(super) fn is_on(family: &str, device: &str, setting: &str) -> bool {
    fd::read_to_string(path(family, device, setting)).is_ok_and(|text| text.trim() != "0")
}

/// An error unless the setting is on.
pub(super) fn require(family: &str, device: &str, setting: &str) -> std::result::Result<(), Fault> {
    if is_on(family, device, setting) {
        return Ok(());
    }
    Err(Fault::SysctlOff { name: format!("net/{family}/conf/{device}/{setting}") })
}

fn path(family: &str, device: &str, setting: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{device}/{setting}")
}
