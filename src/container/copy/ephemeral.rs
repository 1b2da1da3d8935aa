//! Throw-away copies: what `-m`, `-t` and `-D` add to the configuration of a snapshot.

use super::{CopyError, set};
use crate::container::Container;
use crate::idmap::IdMap;
use crate::storage::Kind;
use crate::storage::clone::Fresh;
use crate::sys::{SysError, dirs, random};
use std::path::{Path, PathBuf};

/// What a throw-away copy gets.
#[derive(Clone, Debug, Default)]
pub struct Ephemeral {
    /// `-D`: it is not destroyed at its end.
    pub keep: bool,
    /// `-t`: the writable layer is in memory.
    pub tmpfs: bool,
    /// `-m`.
    pub mounts: Vec<Mount>,
}

/// One mount of `-m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// A directory or file of the host.
    Bind {
        /// On the host.
        source: PathBuf,
        /// Below the root.
        target: PathBuf,
        /// `ro` or `rw`.
        mode: &'static str,
    },
    /// A directory of the host below a writable layer.
    Overlay {
        /// On the host.
        source: PathBuf,
        /// Below the root.
        target: PathBuf,
    },
}

impl Mount {
    /// `TYPE=SOURCE[:TARGET][:ro|rw]`, several separated by commas.
    ///
    /// # Errors
    /// Another type, a path that is not absolute, words that are too many.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, CopyError> {
        text.split(',').map(Self::parse).collect()
    }

    fn parse(text: &str) -> Result<Self, CopyError> {
        let wrong = |why| CopyError::Mount { text: text.to_owned(), why };
        let (kind, rest) = text.split_once('=').ok_or_else(|| wrong("it has no type"))?;
        let mut words: Vec<&str> = rest.split(':').collect();
        let mode = match words.last() {
            Some(&"ro") if words.len() > 1 => Some("ro"),
            Some(&"rw") if words.len() > 1 => Some("rw"),
            _ => None,
        };
        if mode.is_some() {
            words.pop();
        }
        let (source, target) = match words.as_slice() {
            [source] => (*source, *source),
            [source, target] => (*source, *target),
            _ => return Err(wrong("it has too many parts")),
        };
        let absolute = |path: &str| {
            let blank = path.chars().any(|c| c.is_whitespace() || c.is_control());
            path.starts_with('/') && !blank
        };
        if !absolute(source) || !absolute(target) {
            return Err(wrong("paths are absolute and have no blanks"));
        }
        let target = PathBuf::from(target.trim_start_matches('/'));
        let source = PathBuf::from(source);
        match (kind, mode) {
            ("bind", mode) => Ok(Self::Bind { source, target, mode: mode.unwrap_or("rw") }),
            ("overlay" | "overlayfs", None) => Ok(Self::Overlay { source, target }),
            ("overlay" | "overlayfs", Some(_)) => Err(wrong("ro and rw are for bind")),
            _ => Err(wrong("its type is neither bind nor overlay")),
        }
    }

    /// Its `lxc.mount.entry`; the layers of an overlay are made in the container's directory.
    fn entry(&self, target: &Container, map: Option<&IdMap>) -> Result<String, CopyError> {
        match self {
            Self::Bind { source, target, mode } => {
                let create = if source.is_dir() { "dir" } else { "file" };
                let (source, target) = (source.display(), target.display());
                Ok(format!("{source} {target} none bind,optional,{mode},create={create} 0 0"))
            }
            Self::Overlay { source, target: place } => {
                let make = |what| {
                    let path = target.dir().join(format!("{what}#{}", suffix()?));
                    dirs::make(&path, 0o755)?;
                    Ok(path)
                };
                let failed = |e: SysError| CopyError::Make(target.dir(), e);
                let (delta, work) = (make("delta").map_err(failed)?, make("work").map_err(failed)?);
                for path in [&delta, &work] {
                    super::chown_to_root(path, map).map_err(CopyError::from_create)?;
                }
                Ok(format!(
                    "{source} {place} overlay lowerdir={source},upperdir={},workdir={},\
                     create=dir 0 0",
                    delta.display(),
                    work.display(),
                    source = source.display(),
                    place = place.display(),
                ))
            }
        }
    }
}

/// Six letters that make a name unique, as mkdtemp(3) has them.
pub fn suffix() -> Result<String, SysError> {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let bytes = random::bytes::<6>()?;
    Ok(bytes.iter().map(|&byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()])).collect())
}

impl Ephemeral {
    /// Adds the settings and makes the files that they name.
    pub(super) fn dress(
        &self,
        target: &Container,
        loaded: &mut crate::config::document::Loaded,
        fresh: Option<&Fresh>,
        map: Option<&IdMap>,
    ) -> Result<(), CopyError> {
        if self.tmpfs {
            let kind = fresh.map_or(Kind::Dir, |fresh| fresh.backend.kind());
            if kind != Kind::Overlay {
                return Err(CopyError::NoTmpfs(kind.name()));
            }
            let name = suffix().map_err(|e| CopyError::Make(target.dir(), e))?;
            let script = target.dir().join(format!("pre-start-{name}"));
            dirs::write_new(&script, tmpfs_script(&target.dir()).as_bytes(), 0o755)
                .map_err(|e| CopyError::Make(script.clone(), e))?;
            set(loaded, "lxc.hook.pre-mount", &script.display().to_string())?;
        }
        for mount in &self.mounts {
            set(loaded, "lxc.mount.entry", &mount.entry(target, map)?)?;
        }
        if !self.keep {
            set(loaded, "lxc.ephemeral", "1")?;
        }
        Ok(())
    }
}

/// The hook that puts the writable layer into memory, in the container's mount namespace.
fn tmpfs_script(dir: &Path) -> String {
    let layers = crate::sys::spawn::shell_quote(&dir.join("overlay").display().to_string());
    format!(
        "#!/bin/sh\n# Written by lxc-copy: the writable layer of this container is in memory.\n\
         set -e\ncd {layers}\nmount -n -t tmpfs -o mode=0755 none .\ncd {layers}\n\
         mkdir delta work\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let bind = |source: &str, target: &str, mode| Mount::Bind {
            source: source.into(),
            target: target.into(),
            mode,
        };
        let all = Mount::parse_all("bind=/a,bind=/a:/b/c,bind=/a:ro,overlay=/x:/y").unwrap();
        let overlay = Mount::Overlay { source: "/x".into(), target: "y".into() };
        let want = [bind("/a", "a", "rw"), bind("/a", "b/c", "rw"), bind("/a", "a", "ro"), overlay];
        assert_eq!(all, want);
        for bad in [
            "",
            "/a",
            "bind=",
            "bind=a",
            "bind=/a:b",
            "bind=/a:/b:/c",
            "aufs=/a",
            "overlay=/a:ro",
            "bind=/a b",
            "bind=/a:/b:rx",
        ] {
            assert!(Mount::parse_all(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_unique() {
        let (a, b) = (suffix().unwrap(), suffix().unwrap());
        assert!(a.len() == 6 && a != b);
    }
}
