//! Directories and files of the host that are not in a container's hands: the container path,
//! run directories, installed links. What is below a rootfs goes through [`super::path`].

use super::{At, Result, SysError};
use crate::util::quote::quoted;
use rustix::fs::OFlags;
use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// The file that this process runs, by its absolute name.
pub fn own_binary() -> Result<PathBuf> {
    fs::read_link("/proc/self/exe").at("readlink", || "/proc/self/exe")
}

/// Makes `link` point to `target`, atomically; an existing symbolic link is replaced.
///
/// Errors: EEXIST when `link` is there and no symbolic link.
pub fn replace_symlink(target: &Path, link: &Path) -> Result<()> {
    let operand = || format!("{}, {}", quoted(target), quoted(link));
    match fs::symlink_metadata(link) {
        Ok(meta) if !meta.file_type().is_symlink() => {
            return Err(SysError::new("symlink", operand(), super::errno::EEXIST));
        }
        _ => {}
    }
    let mut name = link.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}", std::process::id()));
    let fresh = link.with_file_name(name);
    symlink(target, &fresh).at("symlink", operand)?;
    fs::rename(&fresh, link)
        .at("rename", || format!("{}, {}", quoted(&fresh), quoted(link)))
        .inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
}

/// Makes a directory and its parents; those that exist stay as they are.
pub fn make_all(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).at("mkdir", || quoted(path))
}

/// Makes a fifo unless something of that name is there.
pub fn make_fifo(path: &Path, mode: u32) -> Result<()> {
    let kind = rustix::fs::FileType::Fifo;
    match rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode.into(), 0) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        done => done.at("mknod", || quoted(path)),
    }
}

/// The names in a directory, sorted by bytes (strcmp, as LXC sorts containers).
pub fn names(path: &Path) -> Result<Vec<OsString>> {
    let operand = || quoted(path);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).at("open", operand)? {
        names.push(entry.at("getdents", operand)?.file_name());
    }
    names.sort();
    Ok(names)
}

/// Opens a file for appending, made with `mode` if it is not there. The last component may not be
/// a symbolic link that dangles or a FIFO that blocks.
pub fn open_append(path: &Path, mode: u32) -> Result<OwnedFd> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY;
    super::fd::open(path, flags, mode)
}

/// True if something by that name can be reached; a symbolic link is followed.
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// What a symbolic link says; nothing if it is none or cannot be read.
pub fn link_target(path: &Path) -> OsString {
    fs::read_link(path).map(PathBuf::into_os_string).unwrap_or_default()
}

/// True if `path` is a regular file that this process may read.
pub fn is_readable_file(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// An unnamed file in memory with this content, open for reading and writing.
pub fn memory_file(name: &str, content: &[u8]) -> Result<OwnedFd> {
    use std::os::fd::AsFd;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let file = rustix::fs::memfd_create(name, flags).at("memfd_create", || name.to_owned())?;
    super::fd::write_all(file.as_fd(), content)?;
    Ok(file)
}

/// Owner and group of `path` itself, not of what a link names.
pub fn chown(path: &Path, uid: u32, gid: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
        .at("lchown", || format!("{}, {uid}, {gid}", quoted(path)))
}

/// Mode of `path`, a directory or file of ours.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("chmod", || quoted(path))
}

/// Renames `from` to `to`, which must not be there (EEXIST).
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let operand = || format!("{}, {}", quoted(from), quoted(to));
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot promise it.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
            fs::rename(from, to).at("rename", operand)
        }
        result => result.at("rename", operand),
    }
}

/// Writes a file of ours that is not there yet, with this mode.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::os::fd::AsFd;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let file = super::fd::open(path, flags, mode)?;
    super::fd::write_all(file.as_fd(), bytes)
}

/// Makes one directory with exactly this mode, whatever the umask. EEXIST when it is there.
pub fn make(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().mode(mode).create(path).at("mkdir", || quoted(path))?;
    set_mode(path, mode)
}

/// True if `path` is a regular file that this process may execute.
pub fn is_executable_file(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Removes a file or a link.
pub fn unlink(path: &Path) -> Result<()> {
    fs::remove_file(path).at("unlink", || quoted(path))
}

/// Makes the current directory the root of this process.
pub fn chroot_here() -> Result<()> {
    rustix::process::chroot(".").at("chroot", || ".")
}

/// Removes an empty directory.
pub fn remove_empty(path: &Path) -> Result<()> {
    fs::remove_dir(path).at("rmdir", || quoted(path))
}

/// Replaces a file's content: written beside it, synced, renamed over it.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let operand = || quoted(&fresh);
    let _ = fs::remove_file(&fresh);
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o640).open(&fresh).at("open", operand)?;
    file.write_all(bytes).at("write", operand)?;
    file.sync_all().at("fsync", operand)?;
    fs::rename(&fresh, path).at("rename", || format!("{}, {}", quoted(&fresh), quoted(path)))
}

/// Writes a whole file, new or old, by the umask.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).at("write", || quoted(path))
}
