//! The wall clock in the host's time zone.
#![allow(unsafe_code, reason = "std knows no time zones")]

use super::error::{Result, SysError};

/// Now as `YYYY:MM:DD HH:MM:SS`, local time (LXC's stamp of a snapshot).
pub fn local_stamp() -> Result<String> {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: a null pointer asks for the result only.
    let now = unsafe { libc::time(std::ptr::null_mut()) };
    // SAFETY: both pointers are live for the call; the program has one thread.
    if unsafe { libc::localtime_r(&now, parts.as_mut_ptr()) }.is_null() {
        return Err(SysError::last("localtime", now));
    }
    // SAFETY: localtime_r filled it; all zeros are a valid value before that.
    let tm = unsafe { parts.assume_init() };
    Ok(format!(
        "{:04}:{:02}:{:02} {:02}:{:02}:{:02}",
        tm.tm_year + 1900,
        tm.tm_mon + 1,
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stamp_has_its_shape() {
        let stamp = super::local_stamp().unwrap();
        let shape: String =
            stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000:00:00 00:00:00");
    }
}
