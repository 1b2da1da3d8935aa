//! Paths below a directory whose content belongs to an attacker.
//!
//! [`Root`] is the only way this program touches anything inside a rootfs: a path is resolved
//! once, by the kernel's openat2 or by the checked walk of `walk.rs`, and everything else goes
//! through the descriptor that came out of it. Objects are created and removed by the descriptor
//! of their parent and one last component. Start reading at [`Root::resolve`].

mod walk;

use super::error::{At, Result, SysError};
use super::fd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// How symbolic links in a path below the root are treated. Magic links of procfs are never
/// followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Links are followed as a process chrooted into the root would: an absolute one starts at
    /// the root, `..` stops there.
    InRoot,
    /// Any link anywhere in the path is ELOOP, and `..` may not leave the root (EXDEV). The rule
    /// for mount targets (LXC's `open_without_symlink`).
    NoSymlinks,
}

/// What [`Root::mknod`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// An empty regular file.
    Regular,
}

/// What an open object is, from fstat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `S_IFMT` part of the mode.
    pub kind: FileType,
    /// Permission bits with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device that holds it.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Device number of a device node.
    pub rdev: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Facts {
    /// A directory.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// A regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// A symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// A block device.
    pub fn is_block_device(&self) -> bool {
        self.kind == FileType::BlockDevice
    }

    /// A character device.
    pub fn is_char_device(&self) -> bool {
        self.kind == FileType::CharacterDevice
    }
}

/// fstat(2) of any descriptor, `O_PATH` ones included.
pub fn facts(fd: BorrowedFd<'_>) -> Result<Facts> {
    let stat = rustix::fs::fstat(fd).at("fstat", || "")?;
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        reason = "the fields' widths differ between targets"
    )]
    Ok(Facts {
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: u32::from(stat.st_mode) & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        dev: stat.st_dev as u64,
        ino: stat.st_ino as u64,
        rdev: stat.st_rdev as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    })
}

/// fchown(2); not for `O_PATH` descriptors.
pub fn set_owner(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::fchown(fd, Some(uid), Some(gid)).at("fchown", || format!("{}", uid.as_raw()))
}

/// A device number from its two halves.
pub fn makedev(major: u32, minor: u32) -> u64 {
    rustix::fs::makedev(major, minor)
}

/// An `O_PATH` directory; names below it are resolved as [`Lookup`] says.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

/// Set once openat2 was found missing; never cleared.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// How often a lookup that raced with a rename is repeated (openat2 answers EAGAIN when `..` met
/// a concurrent change anywhere in the system).
const RACE_RETRIES: u32 = 256;

impl Root {
    /// Opens a directory of the host, following links as usual.
    pub fn open(host_path: &Path) -> Result<Self> {
        fd::open(host_path, OFlags::PATH | OFlags::DIRECTORY, 0).map(|fd| Self { fd })
    }

    /// Takes an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The directory itself.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The directory itself, given away.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// A second handle on the same directory.
    pub fn try_clone(&self) -> Result<Self> {
        fd::dup_above(self.fd(), 3).map(Self::from_fd)
    }

    /// The object named by `rel` as an `O_PATH` descriptor.
    ///
    /// # Errors
    /// ELOOP for a forbidden or a looping link, EXDEV for a path that leaves the root, else
    /// open's own.
    pub fn resolve(&self, rel: &Path, lookup: Lookup) -> Result<OwnedFd> {
        self.open_at(rel, OFlags::PATH, 0, lookup)
    }

    /// As [`Root::resolve`], and the object must be a directory (ENOTDIR).
    pub fn resolve_dir(&self, rel: &Path, lookup: Lookup) -> Result<OwnedFd> {
        self.open_at(rel, OFlags::PATH | OFlags::DIRECTORY, 0, lookup)
    }

    /// Opens `rel` with `flags` (`O_CLOEXEC` is added). Beware of device nodes and pipes when
    /// the tree is hostile: opening one has effects; use [`Root::read`] for files.
    pub fn open_at(&self, rel: &Path, flags: OFlags, mode: u32, lookup: Lookup) -> Result<OwnedFd> {
        let mut flags = flags | OFlags::CLOEXEC;
        if !flags.contains(OFlags::PATH) {
            // openat2 refuses O_PATH with anything it has no meaning for.
            flags |= OFlags::NOCTTY;
        }
        let mode = if flags.contains(OFlags::CREATE) { mode } else { 0 };
        if !NO_OPENAT2.load(Ordering::Relaxed) {
            let result = openat2(self.fd(), rel, flags, Mode::from_raw_mode(mode), lookup);
            match result {
                // FALLBACK(<5.6): no openat2; EPERM is what some seccomp policies answer for it.
                Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
                Err(Errno::PERM) if openat2_is_filtered(self.fd()) => {
                    NO_OPENAT2.store(true, Ordering::Relaxed);
                }
                result => return result.at("openat2", || quoted(rel)),
            }
        }
        walk::open(self.fd(), rel, flags, mode, lookup).at("openat", || quoted(rel))
    }

    /// Makes the directory `rel` and its parents where missing (mode subject to the umask) and
    /// opens it `O_PATH`. No link may be part of the path.
    pub fn mkdir_all(&self, rel: &Path, mode: u32) -> Result<OwnedFd> {
        match self.resolve_dir(rel, Lookup::NoSymlinks) {
            Err(e) if e.is(libc::ENOENT) => {}
            result => return result,
        }
        let mut at = fd::dup_above(self.fd(), 3)?;
        for part in plain_components(rel)? {
            at = self.step(&at, part, mode).at("mkdir", || quoted(rel))?;
        }
        Ok(at)
    }

    /// One directory down, made if missing.
    fn step(&self, at: &OwnedFd, part: &OsStr, mode: u32) -> rustix::io::Result<OwnedFd> {
        // O_NOFOLLOW with O_DIRECTORY answers ENOTDIR for a link; the rule here is ELOOP.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(at, part, flags, Mode::empty());
        match open() {
            Err(Errno::NOENT) => match rustix::fs::mkdirat(at, part, Mode::from_raw_mode(mode)) {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(e) => Err(e),
            },
            result => result,
        }
        .map_err(|e| if e == Errno::NOTDIR && is_link(at.as_fd(), part) { Errno::LOOP } else { e })
    }

    /// An empty file at `rel` where nothing is yet, its parents made 0755, as LXC prepares the
    /// target of a bind mount. What exists is left alone, unless it is a link (ELOOP). The
    /// descriptor may be `O_PATH`.
    pub fn create_file(&self, rel: &Path, mode: u32) -> Result<OwnedFd> {
        match self.resolve(rel, Lookup::NoSymlinks) {
            Err(e) if e.is(libc::ENOENT) => {}
            result => return result,
        }
        let (dir, name) = self.make_parent(rel)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => self.resolve(rel, Lookup::NoSymlinks),
            result => result.at("openat", || quoted(rel)),
        }
    }

    /// Makes a node; mode subject to the umask. No link may be part of the path.
    pub fn mknod(&self, rel: &Path, kind: NodeKind, mode: u32, rdev: u64) -> Result<()> {
        let (dir, name) = self.parent(rel)?;
        let kind = match kind {
            NodeKind::Char => FileType::CharacterDevice,
            NodeKind::Block => FileType::BlockDevice,
            NodeKind::Fifo => FileType::Fifo,
            NodeKind::Regular => FileType::RegularFile,
        };
        rustix::fs::mknodat(&dir, name, kind, Mode::from_raw_mode(mode), rdev)
            .at("mknod", || quoted(rel))
    }

    /// Makes the link `rel` with the text `target`. No link may be part of the path to it.
    pub fn symlink(&self, target: &Path, rel: &Path) -> Result<()> {
        let (dir, name) = self.parent(rel)?;
        rustix::fs::symlinkat(target, &dir, name).at("symlink", || quoted(rel))
    }

    /// The text of the link `rel`, EINVAL for anything else.
    pub fn readlink(&self, rel: &Path) -> Result<PathBuf> {
        let (dir, name) = self.parent(rel)?;
        rustix::fs::readlinkat(&dir, name, Vec::new())
            .map(|text| PathBuf::from(OsStr::from_bytes(text.as_bytes())))
            .at("readlink", || quoted(rel))
    }

    /// Removes anything but a directory.
    pub fn unlink(&self, rel: &Path) -> Result<()> {
        let (dir, name) = self.parent(rel)?;
        rustix::fs::unlinkat(&dir, name, AtFlags::empty()).at("unlink", || quoted(rel))
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, rel: &Path) -> Result<()> {
        let (dir, name) = self.parent(rel)?;
        rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR).at("rmdir", || quoted(rel))
    }

    /// Renames within the root, replacing the target.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        rustix::fs::renameat(&from_dir, from_name, &to_dir, to_name)
            .at("rename", || format!("{}, {}", quoted(from), quoted(to)))
    }

    /// The content of a regular file, links followed inside the root; EFBIG over `max` bytes,
    /// EINVAL for a device, pipe or directory (which is never opened).
    pub fn read(&self, rel: &Path, max: usize) -> Result<Vec<u8>> {
        let path_fd = self.resolve(rel, Lookup::InRoot)?;
        let file = reopen_regular(path_fd, OFlags::RDONLY, rel)?;
        fd::read_fd(file.as_fd(), max).map_err(|e| SysError::new("read", quoted(rel), e.errno))
    }

    /// The names within the directory `rel`, sorted, links followed inside the root; at most `max`
    /// of them are looked at.
    pub fn list(&self, rel: &Path, max: usize) -> Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = self.open_at(rel, flags, 0, Lookup::InRoot)?;
        let entries = rustix::fs::Dir::new(dir).at("getdents", || quoted(rel))?;
        let names = entries.take(max).filter_map(std::result::Result::ok);
        let mut names: Vec<String> =
            names.filter_map(|e| e.file_name().to_str().ok().map(str::to_owned)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Replaces the content of a regular file, made with `mode` if missing; links are followed
    /// inside the root. A device, pipe or directory is EINVAL and never opened.
    pub fn write(&self, rel: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        let file = loop {
            match self.resolve(rel, Lookup::InRoot) {
                Ok(path_fd) => {
                    break reopen_regular(path_fd, OFlags::WRONLY | OFlags::TRUNC, rel)?;
                }
                Err(e) if e.is(libc::ENOENT) => {}
                Err(e) => return Err(e),
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            match self.open_at(rel, flags, mode, Lookup::InRoot) {
                // A dangling link: O_EXCL does not follow it, and the guest's tree is not ours
                // to complete.
                Err(e) if e.is(libc::EEXIST) && self.resolve(rel, Lookup::InRoot).is_err() => {
                    return Err(e);
                }
                Err(e) if e.is(libc::EEXIST) => {}
                result => break result?,
            }
        };
        fd::write_all(file.as_fd(), bytes).map_err(|e| SysError::new("write", quoted(rel), e.errno))
    }

    /// The directory that holds `rel`, and the last component.
    fn parent<'p>(&self, rel: &'p Path) -> Result<(Parent<'_>, &'p OsStr)> {
        let (dir, name) = split_last(rel)?;
        if dir.as_os_str().is_empty() {
            return Ok((Parent::Root(self.fd()), name));
        }
        Ok((Parent::Below(self.resolve_dir(dir, Lookup::NoSymlinks)?), name))
    }

    /// As [`Root::parent`], directories made 0755 where missing.
    fn make_parent<'p>(&self, rel: &'p Path) -> Result<(Parent<'_>, &'p OsStr)> {
        let (dir, name) = split_last(rel)?;
        if dir.as_os_str().is_empty() {
            return Ok((Parent::Root(self.fd()), name));
        }
        Ok((Parent::Below(self.mkdir_all(dir, 0o755)?), name))
    }
}

/// A directory to create or remove something in.
enum Parent<'a> {
    /// The root itself.
    Root(BorrowedFd<'a>),
    /// One that was resolved below it.
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// One openat2 with the flags of `lookup`, repeated while it races with renames.
fn openat2(
    root: BorrowedFd<'_>,
    rel: &Path,
    flags: OFlags,
    mode: Mode,
    lookup: Lookup,
) -> rustix::io::Result<OwnedFd> {
    let bytes = rel.as_os_str().as_bytes();
    let (bytes, resolve) = match lookup {
        Lookup::InRoot => (bytes, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS),
        Lookup::NoSymlinks => {
            let start = bytes.iter().position(|&b| b != b'/').unwrap_or(bytes.len());
            let policy =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            (&bytes[start..], policy)
        }
    };
    let path: &[u8] = if bytes.is_empty() { b"." } else { bytes };
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags, mode, resolve) {
            Err(Errno::AGAIN) if tries < RACE_RETRIES => tries += 1,
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// True if openat2 is refused even for what is always allowed.
fn openat2_is_filtered(root: BorrowedFd<'_>) -> bool {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let probe = rustix::fs::openat2(root, ".", flags, Mode::empty(), ResolveFlags::empty());
    matches!(probe, Err(Errno::PERM | Errno::NOSYS))
}

/// Opens what `path_fd` is with real access, if it is a regular file.
fn reopen_regular(path_fd: OwnedFd, flags: OFlags, rel: &Path) -> Result<OwnedFd> {
    if facts(path_fd.as_fd())?.kind != FileType::RegularFile {
        return Err(SysError::new("open", format!("{}: not a file", quoted(rel)), libc::EINVAL));
    }
    reopen(path_fd.as_fd(), flags).map_err(|e| SysError::new("open", quoted(rel), e.errno))
}

/// Opens the object behind a descriptor again with other `flags`, by a /proc/self/fd that is
/// verified to be procfs. The object is exactly the same one, wherever it was moved meanwhile.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let links = self_fd_dir()?;
    fd::open_at(links.as_fd(), &fd.as_raw_fd().to_string(), flags | OFlags::NOCTTY, 0)
}

/// /proc/self/fd as a directory, verified to be procfs.
pub(super) fn self_fd_dir() -> Result<OwnedFd> {
    let dir = fd::open("/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY, 0)?;
    super::procfs::ProcFs::verified(fd::dup_above(dir.as_fd(), 3)?)?;
    Ok(dir)
}

/// Parent path and last component of `rel`; EINVAL when the last one is missing, `.` or `..`.
fn split_last(rel: &Path) -> Result<(&Path, &OsStr)> {
    let bytes = rel.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
    let start = bytes[..end].iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
    let name = &bytes[start..end];
    if name.is_empty() || name == b"." || name == b".." {
        return Err(SysError::new("open", quoted(rel), libc::EINVAL));
    }
    Ok((Path::new(OsStr::from_bytes(&bytes[..start])), OsStr::from_bytes(name)))
}

/// The components of `rel` without empty and `.` ones; EXDEV for `..`, which no caller that
/// creates things has a use for.
fn plain_components(rel: &Path) -> Result<Vec<&OsStr>> {
    let mut parts = Vec::new();
    for part in rel.as_os_str().as_bytes().split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(SysError::new("mkdir", quoted(rel), libc::EXDEV)),
            part => parts.push(OsStr::from_bytes(part)),
        }
    }
    Ok(parts)
}

/// True if `name` in `dir` is a symbolic link.
fn is_link(dir: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests;
