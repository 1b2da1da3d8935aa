//! Which containers were cloned from which: `lxc_snapshots` in the original's directory names the
//! clones, `lxc_rdepends` in the clone's names the originals, as two lines each, container path
//! and name.

use super::Container;
use crate::sys::{SysError, dirs, errno, fd};
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
    for original in parse(&read(&container.dir().join(ORIGINALS))?) {
        let file = original.dir().join(CLONES);
        let text = read(&file)?;
        if text.is_empty() {
            continue;
        }
        match without(&text, container) {
            Some(left) => dirs::replace_file(&file, left.as_bytes())?,
            None => dirs::unlink(&file)?,
        }
    }
    Ok(())
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
        assert!(has_clones(&original) && !has_clones(&clone));
    }
}
