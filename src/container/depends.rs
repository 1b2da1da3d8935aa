//! Which containers were cloned from which: `lxc_snapshots` in the original's directory names the
//! clones, `lxc_rdepends` in the clone's names the originals, as two lines each, container path
//! and name.

use super::Container;
use crate::sys::fd::OpenFlags;
use crate::sys::lock::{Wait, is_same_file, lock};
use crate::sys::{SysError, dirs, errno, fd};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Names the clones of a container.
const CLONES: &str = "lxc_snapshots";
/// Names the containers that a clone needs.
const ORIGINALS: &str = "lxc_rdepends";

/// True if the file of clones is there, whatever it says: LXC's oldest format was a number.
pub fn has_clones(container: &Container) -> bool {
    dirs::exists(&container.dir().join(CLONES))
}

/// The clones of a container; those with names that no container has are left out.
///
/// # Errors
/// The file is there and cannot be read.
pub fn clones(container: &Container) -> Result<Vec<Container>, SysError> {
    Ok(parse(&read(&container.dir().join(CLONES))?))
}

/// Takes a container that is being removed out of the lists of those it was cloned from.
///
/// # Errors
/// A list cannot be read or written.
pub fn forget(container: &Container) -> Result<(), SysError> {
    take_out(&container.dir().join(ORIGINALS), container)
}

/// Takes `container` out of the lists of those that the file `originals` names.
fn take_out(originals: &Path, container: &Container) -> Result<(), SysError> {
    for original in parse(&read(originals)?) {
        let file = original.dir().join(CLONES);
        if !dirs::exists(&file) {
            continue;
        }
        let _held = open_locked(&file)?;
        match without(&read(&file)?, container) {
            Some(left) => dirs::replace_file(&file, left.as_bytes())?,
            None => dirs::unlink(&file)?,
        }
    }
    Ok(())
}

/// Notes in the directory of `clone` what it needs: what `source` needs, and with `directly` the
/// source itself.
///
/// # Errors
/// A list cannot be read or written.
pub fn inherit(clone: &Container, source: &Container, directly: bool) -> Result<(), SysError> {
    let mut text = read(&source.dir().join(ORIGINALS))?;
    if directly {
        text.push_str(&record(source));
    }
    match text.is_empty() {
        true => Ok(()),
        false => dirs::write_new(&clone.dir().join(ORIGINALS), text.as_bytes(), 0o644),
    }
}

/// Puts a container into the lists of all that it needs (LXC's `mod_all_rdeps`).
///
/// # Errors
/// A list cannot be read or written.
pub fn register(clone: &Container) -> Result<(), SysError> {
    for original in parse(&read(&clone.dir().join(ORIGINALS))?) {
        if !dirs::exists(&original.dir()) {
            continue;
        }
        let file = open_locked(&original.dir().join(CLONES))?;
        fd::write_all(file.as_fd(), record(clone).as_bytes())?;
    }
    Ok(())
}

/// A container that needs others has another name now; its own list came along.
///
/// # Errors
/// A list cannot be read or written.
pub fn renamed(old: &Container, new: &Container) -> Result<(), SysError> {
    take_out(&new.dir().join(ORIGINALS), old)?;
    register(new)
}

fn record(container: &Container) -> String {
    format!("{}\n{}\n", container.lxcpath().display(), container.name())
}

/// Opens a list for appending, and keeps the other tools of ours from it.
fn open_locked(path: &Path) -> Result<OwnedFd, SysError> {
    loop {
        let flags = OpenFlags::RDWR | OpenFlags::APPEND | OpenFlags::CREATE | OpenFlags::NOFOLLOW;
        let file = fd::open(path, flags, 0o644)?;
        lock(file.as_fd(), Wait::Yes)?;
        // Whoever removed the last record removed the file.
        if is_same_file(file.as_fd(), path)? {
            return Ok(file);
        }
    }
}

fn read(file: &Path) -> Result<String, SysError> {
    match fd::read_to_string(file) {
        Err(e) if e.is(errno::ENOENT) => Ok(String::new()),
        other => other,
    }
}

fn parse(text: &str) -> Vec<Container> {
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let (Some(path), Some(name)) = (lines.next(), lines.next()) {
        let path = PathBuf::from(path);
        found.extend(Container::new(path.clone(), name).ok().filter(|_| path.is_absolute()));
    }
    found
}

/// The text without one record of the container; `None` when nothing is left. The oldest format,
/// a number, counts down.
fn without(text: &str, container: &Container) -> Option<String> {
    if let Ok(count) = text.trim().parse::<u64>() {
        return (count > 1).then(|| (count - 1).to_string());
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut left = String::new();
    let mut removed = false;
    for record in lines.chunks(2) {
        let is_it = matches!(record, [path, name]
            if Path::new(path) == container.lxcpath() && *name == container.name());
        if is_it && !removed {
            removed = true;
            continue;
        }
        for line in record {
            left.push_str(line);
            left.push('\n');
        }
    }
    (!left.is_empty()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_is_taken_out() {
        let clone = Container::new("/l".into(), "b").unwrap();
        assert_eq!(without("/l\na\n/l\nb\n", &clone).as_deref(), Some("/l\na\n"));
        assert_eq!(without("/l\nb\n", &clone), None);
        assert_eq!(without("/other\nb\n", &clone).as_deref(), Some("/other\nb\n"));
        assert_eq!(without("2", &clone).as_deref(), Some("1"));
        assert_eq!(without("1\n", &clone), None);
    }

    #[test]
    fn originals_forget_a_clone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name| Container::new(dir.path().into(), name).unwrap();
        let (original, clone) = (at("a"), at("b"));
        let record = |name| format!("{}\n{name}\n", dir.path().display());
        for container in [&original, &clone] {
            std::fs::create_dir(container.dir()).unwrap();
        }
        std::fs::write(original.dir().join(CLONES), record("b") + &record("c")).unwrap();
        std::fs::write(clone.dir().join(ORIGINALS), record("a")).unwrap();
        assert_eq!(clones(&original).unwrap(), [clone.clone(), at("c")]);
        forget(&clone).unwrap();
        assert_eq!(clones(&original).unwrap(), [at("c")]);
        let next = at("d");
        std::fs::create_dir(next.dir()).unwrap();
        inherit(&next, &clone, true).unwrap();
        assert_eq!(read(&next.dir().join(ORIGINALS)).unwrap(), record("a") + &record("b"));
        register(&next).unwrap();
        assert_eq!(clones(&original).unwrap(), [at("c"), next.clone()]);
        assert_eq!(clones(&clone).unwrap(), std::slice::from_ref(&next));
        forget(&next).unwrap();
        assert!(!has_clones(&clone));
        assert!(has_clones(&original) && !has_clones(&clone));
    }
}
