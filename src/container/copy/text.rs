//! The configuration of a copy: the text of the source with what must differ, and the files that
//! it names in the source's directory.

use super::{CopyError, Keep, moved, set};
use crate::config::document::{self, Loaded};
use crate::config::keys::Options;
use crate::container::Container;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::{SysError, copy, dirs, path as syspath, random};
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

/// The first half of LXC's addresses.
const MAC_PREFIX: &str = "10:66:6a";
/// Length of an address in text.
const MAC_LENGTH: usize = 17;

/// What differs.
pub(in crate::container) struct Change<'a> {
    pub(in crate::container) source: &'a Container,
    pub(in crate::container) target: &'a Container,
    pub(in crate::container) keep: Keep,
    /// `lxc.rootfs.path`.
    pub(in crate::container) location: Option<&'a str>,
}

/// A configuration for the target.
pub(in crate::container) struct Rewritten {
    pub(in crate::container) loaded: Loaded,
    /// Files to copy.
    pub(in crate::container) files: Vec<File>,
    /// Sentences for the user.
    pub(in crate::container) notes: Vec<String>,
}

/// A file that the configuration names.
pub(in crate::container) struct File {
    from: PathBuf,
    to: PathBuf,
    /// Its lines are mounts.
    is_fstab: bool,
}

/// Writes the configuration of the target.
pub(in crate::container) fn rewrite(
    source: &Loaded,
    change: &Change<'_>,
) -> Result<Rewritten, CopyError> {
    let (old, new) = (change.source.dir(), change.target.dir());
    let mut files = Vec::new();
    let mut notes = Vec::new();
    let mut failed = None;
    let text = source.document.rewritten(&mut |key, value| match key {
        _ if key.starts_with("lxc.net.") && key.ends_with(".hwaddr") && !change.keep.mac => {
            if value.len() != MAC_LENGTH {
                notes.push(format!("{key} = {value} is kept: it is no address of 17 characters"));
                return None;
            }
            fresh_mac().map_err(|e| failed = Some(e)).ok()
        }
        "lxc.mount.fstab" => {
            let from = PathBuf::from(value);
            let to = new.join(from.file_name()?);
            let text = to.to_str()?.to_owned();
            files.push(File { from, to, is_fstab: true });
            Some(text)
        }
        "lxc.mount.entry" => Some(entry(value, change)),
        "lxc.hook.version" => None,
        _ if key.starts_with("lxc.hook.") => {
            let program = value.split_ascii_whitespace().next()?;
            let from = PathBuf::from(program);
            // One with `..` in it is somewhere else.
            let plain = !from.components().any(|part| part == Component::ParentDir);
            let to = moved(&from, &old, &new).filter(|_| plain)?;
            let text = format!("{}{}", to.to_str()?, value.strip_prefix(program)?);
            files.push(File { from, to, is_fstab: false });
            Some(text)
        }
        _ => None,
    })?;
    if let Some(error) = failed {
        return Err(CopyError::Make(change.target.config_file(), error));
    }
    let mut loaded = document::parse(text, &change.target.config_file(), &Options::default())?;
    notes.append(&mut loaded.warnings);
    if let Some(location) = change.location {
        set(&mut loaded, "lxc.rootfs.path", location)?;
    }
    if !change.keep.name {
        set(&mut loaded, "lxc.uts.name", change.target.name())?;
    }
    Ok(Rewritten { loaded, files, notes })
}

/// The configuration of a container whose directory is renamed from `old` to `new`.
pub(in crate::container) fn relocated(
    loaded: &Loaded,
    old: &Path,
    new: &Path,
) -> Result<Loaded, CopyError> {
    let (old, new) = (format!("{}/", old.display()), format!("{}/", new.display()));
    let text = loaded
        .document
        .rewritten(&mut |_, value| value.contains(&old).then(|| value.replace(&old, &new)))?;
    Ok(document::parse(text, Path::new("config"), &Options::default())?)
}

/// A mount line with the target, and the layers of an overlay, in the new directory. The source
/// of a bind mount stays: that is shared on purpose.
fn entry(line: &str, change: &Change<'_>) -> String {
    let (old, new) = (change.source.dir(), change.target.dir());
    let mut fields: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
    if let Some(target) = fields.get_mut(1) {
        let place = moved(Path::new(target.as_str()), &old, &new);
        *target = place.map_or_else(|| target.clone(), |place| place.display().to_string());
    }
    if let Some(options) = fields.get_mut(3) {
        let words = options.split(',').map(|word| {
            let layer = ["upperdir=", "workdir="].into_iter().find_map(|key| {
                let place = moved(Path::new(word.strip_prefix(key)?), &old, &new)?;
                Some(format!("{key}{}", place.display()))
            });
            layer.unwrap_or_else(|| word.to_owned())
        });
        *options = words.collect::<Vec<_>>().join(",");
    }
    // Unchanged, it stays as it was written.
    match fields.iter().map(String::as_str).eq(line.split_ascii_whitespace()) {
        true => line.to_owned(),
        false => fields.join(" "),
    }
}

fn fresh_mac() -> Result<String, SysError> {
    let [a, b, c] = random::bytes::<3>()?;
    Ok(format!("{MAC_PREFIX}:{a:02x}:{b:02x}:{c:02x}"))
}

/// Copies hooks and fstab. A file of several keys is copied once; one that is not there is not
/// missed before somebody needs it.
pub(in crate::container) fn copy_files(
    files: &[File],
    change: &Change<'_>,
) -> Result<(), CopyError> {
    for file in files {
        if dirs::exists(&file.from) && !dirs::exists(&file.to) {
            copy_file(file, change).map_err(|e| CopyError::File(file.from.clone(), e))?;
        }
    }
    Ok(())
}

fn copy_file(file: &File, change: &Change<'_>) -> Result<(), SysError> {
    if let Some(above) = file.to.parent() {
        dirs::make_all(above, 0o755)?;
    }
    let source = fd::open(&file.from, OpenFlags::RDONLY | OpenFlags::NONBLOCK, 0)?;
    let facts = syspath::facts(source.as_fd())?;
    if file.is_fstab {
        let text = fd::read_to_string(&file.from)?;
        let lines = text.lines().map(|line| fstab_line(line, change) + "\n");
        let text: String = lines.collect();
        return dirs::write_new(&file.to, text.as_bytes(), facts.mode);
    }
    dirs::write_new(&file.to, b"", 0o600)?;
    let made = fd::open(&file.to, OpenFlags::WRONLY | OpenFlags::NOFOLLOW, 0)?;
    copy::file(source.as_fd(), made.as_fd(), &mut |_| Ok(()))?;
    dirs::set_mode(&file.to, facts.mode)
}

/// Puts the new directory into an fstab that came along with it.
pub(in crate::container) fn rewrite_fstabs(
    files: &[File],
    change: &Change<'_>,
) -> Result<(), CopyError> {
    for file in files.iter().filter(|file| file.is_fstab && !dirs::exists(&file.from)) {
        let rewritten = || {
            let text = fd::read_to_string(&file.to)?;
            let lines = text.lines().map(|line| fstab_line(line, change) + "\n");
            dirs::replace_file(&file.to, lines.collect::<String>().as_bytes())
        };
        if dirs::exists(&file.to) {
            rewritten().map_err(|e| CopyError::File(file.to.clone(), e))?;
        }
    }
    Ok(())
}

fn fstab_line(line: &str, change: &Change<'_>) -> String {
    match line.trim_start().starts_with('#') {
        true => line.to_owned(),
        false => entry(line, change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers() -> (Container, Container) {
        let at = |name| Container::new("/l".into(), name).unwrap();
        (at("old"), at("new"))
    }

    #[test]
    fn addresses_names_and_paths_change() {
        let (source, target) = containers();
        let text = "# old\nlxc.rootfs.path = dir:/l/old/rootfs\nlxc.net.0.type = veth\n\
            lxc.net.0.hwaddr = 10:66:6a:01:02:03\nlxc.uts.name = old\n\
            lxc.hook.start-host = /l/old/hook --x /l/old\nlxc.hook.stop = /bin/x /l/old/y\n\
            lxc.hook.version = 1\nlxc.mount.fstab = /etc/my.fstab\n\
            lxc.mount.entry = /l/old/share mnt none bind 0 0\n\
            lxc.mount.entry = /a /l/old/rootfs/b none bind 0 0\n\
            lxc.mount.entry = o y overlay lowerdir=/y,upperdir=/l/old/d,workdir=/l/oldx/w 0 0\n";
        let loaded = document::parse(text.into(), Path::new("/l/old/config"), &Options::default());
        let loaded = loaded.unwrap();
        let keep = Keep::default();
        let location = Some("overlay:/l/old/rootfs:/l/new/overlay/delta");
        let change = Change { source: &source, target: &target, keep, location };
        let new = rewrite(&loaded, &change).unwrap();
        let got = String::from_utf8(new.loaded.document.bytes()).unwrap();
        let mac = new.loaded.get("lxc.net.0.hwaddr").unwrap();
        assert!(mac.starts_with("10:66:6a:") && mac != "10:66:6a:01:02:03", "{mac}");
        let want = text
            .replace("10:66:6a:01:02:03", &mac)
            .replace("dir:/l/old/rootfs", "overlay:/l/old/rootfs:/l/new/overlay/delta")
            .replace("uts.name = old", "uts.name = new")
            .replace("= /l/old/hook", "= /l/new/hook")
            .replace("/etc/my.fstab", "/l/new/my.fstab")
            .replace("/l/old/rootfs/b", "/l/new/rootfs/b")
            .replace("upperdir=/l/old/d", "upperdir=/l/new/d");
        assert_eq!(got, want);
        let files: Vec<_> = new.files.iter().map(|file| file.to.to_str().unwrap()).collect();
        assert_eq!(files, ["/l/new/hook", "/l/new/my.fstab"]);
    }

    #[test]
    fn what_is_kept_is_kept() {
        let (source, target) = containers();
        let text = "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 10:66:6a:01:02:03\n";
        let loaded = document::parse(text.into(), Path::new("/x"), &Options::default()).unwrap();
        let keep = Keep { name: true, mac: true };
        let change = Change { source: &source, target: &target, keep, location: None };
        let new = rewrite(&loaded, &change).unwrap();
        assert_eq!(new.loaded.document.bytes(), text.as_bytes());
    }
}
