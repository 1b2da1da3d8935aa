//! What an object has beside its content, put on its copy.

use super::{Call, Rules, by_number, call};
use rustix::fs::{AtFlags, FileType, Mode, Stat, XattrFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

/// Owner, extended attributes, mode, times, in the order in which none undoes another.
pub(super) fn attributes(
    stat: &Stat,
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    rules: Option<&Rules<'_>>,
) -> Call<()> {
    let owner = match rules {
        Some(rules) => (rules.owner)(stat.st_uid, stat.st_gid).ok_or(("chown", Errno::OVERFLOW))?,
        None => (stat.st_uid, stat.st_gid),
    };
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    let empty = AtFlags::EMPTY_PATH;
    call("chown", rustix::fs::chownat(to, "", Some(uid), Some(gid), empty))?;
    // By /proc, which was checked to be one: the only way for `O_PATH` descriptors.
    let (source, made) = (by_number(from), by_number(to));
    xattrs(&source, &made, rules.is_none_or(|rules| rules.special))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Symlink {
        let own = stat.st_mode & rules.map_or(0o7777, |rules| rules.modes);
        let wanted = rules.and_then(|rules| rules.mode).filter(|_| kind == FileType::RegularFile);
        let mode = Mode::from_raw_mode(wanted.unwrap_or(own));
        call("chmod", rustix::fs::chmod(made.as_str(), mode))?;
    }
    #[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between targets")]
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime as i64,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    let none = AtFlags::empty();
    call("utimensat", rustix::fs::utimensat(rustix::fs::CWD, made.as_str(), &times, none))
}

fn xattrs(from: &str, to: &str, all: bool) -> Call<()> {
    // Not empty: the length that is asked for with no room does not come back through the wrapper.
    let mut room: Vec<u8> = vec![0; 4096];
    let list = loop {
        match rustix::fs::listxattr(from, room.as_mut_slice()) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            Ok(n) if n <= room.len() => break room[..n].to_vec(),
            Ok(n) => room.resize(n + 256, 0),
            Err(Errno::RANGE) => room.resize(room.len() + 4096, 0),
            Err(e) => return Err(("listxattr", e)),
        }
    };
    for name in list.split_inclusive(|&b| b == 0) {
        let Ok(name) = CString::from_vec_with_nul(name.to_vec()) else { continue };
        if !all && !name.to_bytes().starts_with(b"user.") {
            continue;
        }
        let mut value = vec![0u8; 64 << 10];
        let n = match rustix::fs::getxattr(from, name.as_c_str(), value.as_mut_slice()) {
            // Removed meanwhile, or one that only privilege may read.
            Err(Errno::NODATA | Errno::PERM) => continue,
            result => call("getxattr", result)?,
        };
        match rustix::fs::setxattr(to, name.as_c_str(), &value[..n], XattrFlags::empty()) {
            Ok(()) => {}
            // One of the source's file system alone, such as btrfs.compression.
            Err(Errno::OPNOTSUPP | Errno::INVAL) if !is_common(name.to_bytes()) => {}
            Err(e) => return Err(("setxattr", e)),
        }
    }
    Ok(())
}

/// Attributes that every file system is expected to keep.
fn is_common(name: &[u8]) -> bool {
    let common: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl"];
    common.iter().any(|prefix| name.starts_with(prefix))
}
