//! The abstract names of LXC's sockets.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A name this long or longer does not fit; LXC then uses a hash.
const TOO_LONG: usize = 106;

/// The bytes behind the leading NUL of the command socket of `name` below `lxcpath`:
/// `LXCPATH/NAME/command`, or `lxc/HASH/command` when that would be too long. The
/// address length that LXC passes to bind counts one NUL, and that is the leading one.
pub fn command_socket(lxcpath: &Path, name: &str) -> Vec<u8> {
    let mut out = lxcpath.as_os_str().as_bytes().to_vec();
    out.push(b'/');
    out.extend_from_slice(name.as_bytes());
    if out.len() + b"/command".len() >= TOO_LONG {
        out = format!("lxc/{:016x}", fnv1a(&out)).into_bytes();
    }
    out.extend_from_slice(b"/command");
    out
}

/// The abstract names that somebody listens on, with their inodes, in a text of /proc/net/unix's
/// format.
pub fn listening(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().skip(1).filter_map(|line| {
        // The eighth column is the name; it may hold blanks, as a path may.
        let at = line.find(" @")?;
        let mut columns = line.split_whitespace();
        // Connected sockets of the same name are its clients' other ends.
        let listens = columns.nth(3) == Some("00010000");
        let inode = columns.nth(2).filter(|_| listens)?;
        Some((inode, line[at + 2..].trim_end_matches('@')))
    })
}

/// Likewise of the socket of lxc-monitord for `lxcpath`: a hash and as much of the path as fits.
pub fn monitor_socket(lxcpath: &Path) -> Vec<u8> {
    let path = lxcpath.as_os_str().as_bytes();
    let hash = fnv1a(&[b"lxc/", path, b"/monitor-sock"].concat());
    let mut out = format!("lxc/{hash:016x}/").into_bytes();
    out.extend_from_slice(path);
    out.truncate(TOO_LONG - 1);
    out
}

/// 64-bit FNV-1a.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_plain() {
        assert_eq!(command_socket(Path::new("/var/lib/lxc"), "c1"), b"/var/lib/lxc/c1/command");
    }

    #[test]
    fn long_names_are_hashed() {
        let plain = |n: usize| command_socket(Path::new("/p"), &"n".repeat(n));
        // "/p/" + n + "/command"
        assert!(plain(105 - 11).starts_with(b"/p/"));
        let hashed = plain(106 - 11);
        assert!(hashed.starts_with(b"lxc/") && hashed.ends_with(b"/command"));
        assert_eq!(hashed.len(), 4 + 16 + 8);
    }

    #[test]
    fn the_socket_of_lxc_monitord() {
        // As /proc/net/unix shows it with LXC 5.0.2.
        let name = monitor_socket(Path::new("/var/tmp/watch/lxc"));
        assert_eq!(name, b"lxc/01a665e99bba74af//var/tmp/watch/lxc");
        assert_eq!(monitor_socket(Path::new(&"/p".repeat(80))).len(), 105);
    }

    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
