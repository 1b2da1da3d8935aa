//! Random bytes from the kernel.

use super::error::{Result, SysError};
use super::fd::{self, OpenFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// `N` random bytes, for names and ids: they make no keys, so none is waited for. Before Linux 5.6
/// getrandom(2) waits until the kernel has gathered enough noise, which on a board without a source
/// of it comes minutes after containers were to start.
///
/// # Errors
/// Those of opening and reading /dev/urandom, where the kernel is not ready yet.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut have = 0;
    while have < N {
        match getrandom(&mut bytes[have..], GetRandomFlags::NONBLOCK) {
            Ok(n) => have += n,
            Err(Errno::INTR) => {}
            // FALLBACK(<5.6): not yet seeded; this one answers all the same.
            Err(Errno::AGAIN) => {
                let file = fd::open("/dev/urandom", OpenFlags::RDONLY, 0)?;
                return rustix::io::read(&file, &mut bytes)
                    .and_then(|n| if n == N { Ok(bytes) } else { Err(Errno::IO) })
                    .map_err(|e| SysError::rustix("read", "/dev/urandom", e));
            }
            Err(e) => return Err(SysError::rustix("getrandom", "", e)),
        }
    }
    Ok(bytes)
}
