//! A file of LXC 1 or 2 rewritten in today's keys, for lxc-update-config: the names come from the
//! table of old keys, everything else of a line stays. Lines that are commented out are rewritten
//! too. Start reading at [`update`].

use super::ConfigError;
use super::document::replace;
use super::keys::{ROOTFS_BACKEND, today};
use crate::sys::error::At as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Rewrites the file; its old text is in FILE.backup then. A file that has no old key is left
/// alone, and so is a backup that it has.
///
/// # Errors
/// It cannot be read, or one of the two not be written; the file is untouched then.
pub fn update_file(path: &Path) -> Result<(), ConfigError> {
    let at = |path: &Path| format!("\"{}\"", path.display());
    let read = |cause| ConfigError::Read { path: path.to_owned(), cause };
    let old = fs::read(path).at("open", || at(path)).map_err(read)?;
    let new = update(&old);
    let mut backup = path.as_os_str().to_owned();
    backup.push(".backup");
    let backup = PathBuf::from(backup);
    if old != new || fs::symlink_metadata(&backup).is_err() {
        let save = |path: &Path, bytes: &[u8]| {
            replace(path, bytes).map_err(|cause| ConfigError::Save { path: path.to_owned(), cause })
        };
        save(&backup, &old)?;
        // As cp would: who may read the one may read the other.
        if let Ok(meta) = fs::metadata(path) {
            let _ = fs::set_permissions(&backup, meta.permissions());
        }
        if old != new {
            save(path, &new)?;
        }
    }
    Ok(())
}

/// The text with today's keys. Lines whose key is not old stay as they are, to the byte; a key
/// without any effect today is left out with its line.
pub fn update(text: &[u8]) -> Vec<u8> {
    let lines = || text.split_inclusive(|&b| b == b'\n').map(|raw| (raw, Line::parse(raw)));
    let live = |line: &Line<'_>| !line.comment && line.key == ROOTFS_BACKEND;
    let backend = lines().filter_map(|(_, line)| line.filter(live)).next_back();
    let backend = backend.map(|line| line.value.trim_ascii().to_vec());
    let mut out = Vec::with_capacity(text.len());
    let mut networks = Networks::default();
    for (raw, line) in lines() {
        let Some(line) = line else {
            out.extend_from_slice(raw);
            continue;
        };
        let last = networks.last(line.comment);
        let new = match line.key {
            ROOTFS_BACKEND => continue,
            key => match today(key, last) {
                Ok(Some(new)) => new,
                Ok(None) => continue,
                // A key of today, or none at all.
                Err(_) => key.to_owned(),
            },
        };
        networks.saw(&line, &new);
        let typed = new == "lxc.rootfs.path" && (line.key != new || backend.is_some());
        let prefix = match backend.as_deref().filter(|_| typed) {
            Some(backend) => line.without_type().then_some(backend),
            None => (typed && line.is_directory()).then_some(&b"dir"[..]),
        };
        out.extend_from_slice(line.head);
        out.extend_from_slice(new.as_bytes());
        out.extend_from_slice(line.equals);
        if let Some(prefix) = prefix {
            out.extend_from_slice(prefix);
            out.push(b':');
        }
        out.extend_from_slice(line.value);
    }
    out
}

/// A line with a key, commented out or not.
struct Line<'a> {
    comment: bool,
    /// What is before the key: blanks and `#`.
    head: &'a [u8],
    key: &'a str,
    /// What is between key and value.
    equals: &'a [u8],
    /// With the line's end.
    value: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(raw: &'a [u8]) -> Option<Self> {
        let before = raw.iter().take_while(|&&b| b == b'#' || b == b' ' || b == b'\t').count();
        let (head, rest) = raw.split_at(before);
        if !rest.starts_with(b"lxc.") {
            return None;
        }
        let equals = rest.iter().position(|&b| b == b'=')?;
        let key = rest.get(..equals)?.trim_ascii_end();
        let value = equals + 1;
        let blank = rest.get(value..)?.iter().take_while(|&&b| b == b' ' || b == b'\t').count();
        Some(Self {
            comment: head.contains(&b'#'),
            head,
            // Prose that happens to have an equals sign is no assignment.
            key: std::str::from_utf8(key).ok().filter(|key| !key.contains([' ', '\t']))?,
            equals: rest.get(key.len()..value + blank)?,
            value: rest.get(value + blank..)?,
        })
    }

    /// A path without a storage type in front.
    fn without_type(&self) -> bool {
        self.value.first() == Some(&b'/')
    }

    /// A path that is a directory, or would be; for a block device or an image no type may be said.
    fn is_directory(&self) -> bool {
        let path = String::from_utf8_lossy(self.value.trim_ascii());
        self.without_type() && fs::metadata(&*path).map_or(true, |meta| meta.is_dir())
    }
}

/// The number that an unnumbered `lxc.network.*` line has.
#[derive(Default)]
struct Networks {
    last: Option<u32>,
    /// Of a network that is commented out as a whole.
    comment: Option<u32>,
}

impl Networks {
    fn last(&self, comment: bool) -> Option<u32> {
        self.comment.filter(|_| comment).or(self.last)
    }

    fn saw(&mut self, line: &Line<'_>, new: &str) {
        if new == "lxc.net" && !line.comment && line.value.trim_ascii().is_empty() {
            *self = Self::default();
        }
        let Some(rest) = new.strip_prefix("lxc.net.") else { return };
        let number = rest.split('.').next().and_then(|number| number.parse().ok());
        let Some(number): Option<u32> = number else { return };
        match line.comment {
            true if new.ends_with(".type") => self.comment = Some(number),
            true => {}
            false => {
                self.last = self.last.max(Some(number));
                self.comment = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::parse;
    use crate::config::keys::{OLD_NAMES, Options, get, list};

    fn updated(text: &str) -> String {
        String::from_utf8(update(text.as_bytes())).unwrap()
    }

    #[test]
    fn lines_keep_their_shape() {
        for (old, new) in [
            ("  lxc.utsname=a  # x\n", "  lxc.uts.name=a  # x\n"),
            ("#lxc.utsname = b\n", "#lxc.uts.name = b\n"),
            ("# lxc.tty\t= 4", "# lxc.tty.max\t= 4"),
            ("lxc.limit.nofile = 5\n", "lxc.prlimit.nofile = 5\n"),
            ("lxc.network =\n", "lxc.net =\n"),
            ("lxc.pivotdir = x\nlxc.kmsg = 0\n#lxc.kmsg = 0\n", ""),
            ("lxc.environment = A=lxc.tty\n", "lxc.environment = A=lxc.tty\n"),
            ("# write lxc.tty = 4 here\n", "# write lxc.tty = 4 here\n"),
            ("lxc.cgroup.cpu.shares = 5\r\n", "lxc.cgroup.cpu.shares = 5\r\n"),
            (
                "lxc.console = none\nlxc.console.path = x\n",
                "lxc.console.path = none\nlxc.console.path = x\n",
            ),
            ("lxc.tty.max 5\nlxc.tty\n=\n", "lxc.tty.max 5\nlxc.tty\n=\n"),
        ] {
            assert_eq!(updated(old), new);
            assert_eq!(updated(new), new, "twice is once");
        }
    }

    #[test]
    fn storage_type_and_path_become_one_value() {
        for (old, new) in [
            ("lxc.rootfs = /nowhere/c1\n", "lxc.rootfs.path = dir:/nowhere/c1\n"),
            (
                "lxc.rootfs = /a:/b\nlxc.rootfs.backend = overlay\n",
                "lxc.rootfs.path = overlay:/a:/b\n",
            ),
            ("lxc.rootfs = overlay:/a:/b\n", "lxc.rootfs.path = overlay:/a:/b\n"),
            ("lxc.rootfs = /dev/null\n", "lxc.rootfs.path = /dev/null\n"),
            ("lxc.rootfs.path = /x\n", "lxc.rootfs.path = /x\n"),
            ("lxc.rootfs.path = /x\nlxc.rootfs.backend = lvm\n", "lxc.rootfs.path = lvm:/x\n"),
        ] {
            assert_eq!(updated(old), new);
        }
    }

    #[test]
    fn networks_keep_their_numbers() {
        let old = "lxc.network.type = veth\nlxc.network.ipv4 = 10.0.0.2/24\n#lxc.network.mtu = 9\n\
                   #lxc.network.type = phys\n#lxc.network.link = eth0\nlxc.network.type = empty\n\
                   lxc.network.5.type = veth\nlxc.network.5.ipv6 = fd00::2/64\n\
                   lxc.network.type = macvlan\nlxc.network.link = eth1\n";
        let new = "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.2/24\n#lxc.net.0.mtu = 9\n\
                   #lxc.net.1.type = phys\n#lxc.net.1.link = eth0\nlxc.net.1.type = empty\n\
                   lxc.net.5.type = veth\nlxc.net.5.ipv6.address = fd00::2/64\n\
                   lxc.net.6.type = macvlan\nlxc.net.6.link = eth1\n";
        assert_eq!(updated(old), new);
    }

    /// Every old key, with the example of its row: what it means stays, and nothing old is left.
    #[test]
    fn the_meaning_stays() {
        let examples = crate::config::keys::reference();
        let mut text = String::from("lxc.network.type = veth\nlxc.network.flags = up\n");
        for old in OLD_NAMES.iter().filter(|old| !old.old.ends_with('.')) {
            let row = examples.iter().find(|row| Some(row.key.as_str()) == old.new);
            let value = row.and_then(|row| row.example.split_once(" = ")).map(|(_, value)| value);
            let value = if old.old == ROOTFS_BACKEND { Some("dir") } else { value };
            if let Some(value) = value {
                text += &format!("{} = {value}\n", old.old);
            }
        }
        let parsed = |text: &str| {
            let file = Path::new("file");
            let loaded = parse(text.as_bytes().to_vec(), file, &Options::default()).unwrap();
            let keys = list(&loaded.config, "");
            let values =
                keys.iter().map(|key| format!("{key} {}", get(&loaded.config, key).unwrap()));
            (values.collect::<Vec<_>>(), loaded.warnings)
        };
        let (before, warnings) = parsed(&text);
        assert!(warnings.len() > 20, "{warnings:?}");
        assert_eq!(parsed(&updated(&text)), (before, Vec::new()));
    }
}
