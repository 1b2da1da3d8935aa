//! A configuration file: the text as it was written beside what it means.
//!
//! [`load`] reads a file with everything it includes; [`Loaded::set`] and [`Loaded::clear`]
//! change text and meaning together; [`Loaded::save`] replaces the file. The lines of the file
//! itself are kept byte for byte, the lines of included files are not part of the text.

pub use super::load::{check, load, parse};

use super::error::ConfigError;
use super::keys::{self, Found, Options};
use super::load::{Loader, Parsed, parse_line, quoted, write_line};
use super::{Config, Origin};
use crate::sys::error::{At as _, Result as SysResult};
use crate::util::quote;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::rc::Rc;

/// A configuration: its meaning, its text, and what should be said about it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// What the lines mean.
    pub config: Config,
    /// The lines of the file itself.
    pub document: Document,
    /// One sentence per line in an old spelling, with its place and the new one.
    pub warnings: Vec<String>,
    /// Keys that included files set, in today's spelling.
    pub(super) included: Vec<String>,
}

/// The text of one file, line by line.
#[derive(Clone, Debug, Default)]
pub struct Document {
    pub(super) lines: Vec<Line>,
    /// Number for the next line that is added; numbers are never used twice.
    pub(super) next: u32,
    /// What origins of added lines name.
    pub(super) file: Option<Rc<Path>>,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    /// As written, with its line end.
    pub(super) raw: Vec<u8>,
    /// Its number when the file was read.
    pub(super) number: u32,
    /// The key it assigns, in today's spelling with numbers filled in.
    pub(super) key: Option<String>,
}

impl Document {
    /// The text as it would be saved.
    pub fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.raw).copied().collect()
    }

    /// The text with other values: `change` is asked for each assignment with the key in today's
    /// spelling; lines that it leaves alone stay as they are.
    ///
    /// # Errors
    /// A value that no line can hold.
    pub fn rewritten(
        &self,
        change: &mut dyn FnMut(&str, &str) -> Option<String>,
    ) -> Result<Vec<u8>, ConfigError> {
        let mut text = Vec::new();
        for line in &self.lines {
            let value = match (&line.key, parse_line(&line.raw)) {
                (Some(key), Parsed::Assignment(written, value)) => {
                    change(key, value).map(|value| write_line(written, &value)).transpose()?
                }
                _ => None,
            };
            text.extend_from_slice(value.as_deref().unwrap_or(&line.raw));
        }
        Ok(text)
    }

    fn file(&self) -> Rc<Path> {
        self.file.clone().unwrap_or_else(|| Path::new("new configuration").into())
    }

    fn push(&mut self, raw: Vec<u8>, key: Option<String>) {
        // A file without a line end at its end would swallow the new line.
        match self.lines.last_mut() {
            Some(last) if !last.raw.ends_with(b"\n") => last.raw.push(b'\n'),
            _ => {}
        }
        self.lines.push(Line { raw, number: self.next, key });
        self.next = self.next.saturating_add(1);
    }

    /// Removes the lines that `gone` covers. Old lines that count networks by their order get
    /// the number they had, so that they stay what they are.
    fn remove(&mut self, gone: impl Fn(&str) -> bool) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| !line.key.as_deref().is_some_and(&gone));
        let removed = self.lines.len() < before;
        if removed {
            for line in &mut self.lines {
                line.number_network();
            }
        }
        removed
    }
}

impl Line {
    /// `lxc.network.link = x` becomes `lxc.net.1.link = x`.
    fn number_network(&mut self) {
        let Some(key) = self.key.as_deref().filter(|key| key.starts_with("lxc.net.")) else {
            return;
        };
        let start = self.raw.len() - self.raw.trim_ascii_start().len();
        let unnumbered = self.raw.get(start..).is_some_and(|text| {
            text.starts_with(b"lxc.network.") && !text.get(12).is_some_and(u8::is_ascii_digit)
        });
        let Some(equals) = self.raw.iter().position(|b| *b == b'=').filter(|_| unnumbered) else {
            return;
        };
        let mut raw = self.raw.get(..start).unwrap_or_default().to_vec();
        raw.extend(key.bytes());
        raw.push(b' ');
        raw.extend(self.raw.get(equals..).unwrap_or_default());
        self.raw = raw;
    }
}

impl Loaded {
    /// A configuration with no lines, to be filled and saved as a new file.
    pub fn new(file: &Path) -> Self {
        let document = Document { lines: Vec::new(), next: 1, file: Some(file.into()) };
        Self { document, ..Self::default() }
    }

    /// The value of a key, see [`keys::get`].
    ///
    /// # Errors
    /// No such key, or one without a value.
    pub fn get(&self, key: &str) -> Result<String, ConfigError> {
        keys::get(&self.config, key)
    }

    /// Sets a key in text and meaning: the line that holds its only value is replaced, else a
    /// line is added at the end. An empty value clears, see [`Loaded::clear`].
    ///
    /// # Errors
    /// The key or the value is refused; nothing is changed then.
    pub fn set(&mut self, key: &str, value: &str, options: &Options) -> Result<(), ConfigError> {
        let origin = Origin { file: self.document.file(), line: self.document.next };
        self.set_from(key, value, &origin, options).map_err(|error| match error {
            // The line is not there yet, so it is not to blame.
            ConfigError::UnknownKey { key, nearest, .. } => {
                ConfigError::UnknownKey { origin: None, key, nearest }
            }
            ConfigError::Value { origin: Some(place), key, cause } if place == origin => {
                ConfigError::Value { origin: None, key, cause }
            }
            other => other,
        })
    }

    /// Gives a key these values and no others, in the place of its first line.
    ///
    /// # Errors
    /// As [`Loaded::set`]; nothing is changed then.
    pub fn replace(
        &mut self,
        key: &str,
        values: &[String],
        options: &Options,
    ) -> Result<(), ConfigError> {
        let mut changed = self.again(options)?;
        let found = changed.find(key, None)?;
        let holder = |line: &&mut Line| line.key.as_deref() == Some(&found.canonical);
        let line = changed.document.lines.iter_mut().find(holder);
        if let ([value], Some(line)) = (values, line.filter(|_| found.is("lxc.net.N.type"))) {
            // To set a type is to begin anew; here the lines below have to fit the new one.
            line.raw = write_line(&found.canonical, value)?;
            let file = changed.document.file();
            *self = super::load::parse(changed.document.bytes(), &file, options)?;
            return Ok(());
        }
        // One value has its own rule, which leaves the comment behind it where it is.
        if !found.single() {
            let is_first = |line: &Line| line.key.as_deref().is_some_and(|key| found.covers(key));
            let at = changed.document.lines.iter().position(is_first);
            let kept = changed.document.lines.iter().filter(|line| !is_first(line)).count();
            changed.clear(key)?;
            for value in values {
                changed.set(key, value, options)?;
            }
            if let Some(at) = at {
                let fresh = changed.document.lines.split_off(kept);
                changed.document.lines.splice(at..at, fresh);
            }
        } else {
            let last = values.last().map_or("", String::as_str);
            changed.set(key, last, options)?;
        }
        *self = changed;
        Ok(())
    }

    /// The same for a value from elsewhere: `lxc-start -s` names its option as the origin.
    ///
    /// # Errors
    /// As [`Loaded::set`].
    pub fn set_from(
        &mut self,
        key: &str,
        value: &str,
        origin: &Origin,
        options: &Options,
    ) -> Result<(), ConfigError> {
        if value.is_empty() {
            return self.clear(key);
        }
        write_line(key, value)?;
        let found = self.find(key, Some(origin))?;
        let key = found.canonical.as_str();
        let holder = self.line_of(key);
        let mut loader = Loader::new(std::mem::take(&mut self.config), options, false);
        let outcome = loader.assign(&found, key, value, origin);
        let (config, included) = (loader.config, loader.included);
        let rewritten = match outcome {
            Ok(rewritten) => rewritten,
            Err(error) => {
                self.config = config;
                // Half of an included file stays behind where it is in error; of all else nothing.
                if found.is("lxc.include") {
                    self.config = self.again(options)?.config;
                }
                return Err(error);
            }
        };
        self.config = config;
        self.included.extend(included);
        let value = rewritten.as_deref().unwrap_or(value);
        let raw = write_line(&found.canonical, value)?;
        match holder.filter(|_| found.single()) {
            Some(number) => {
                let at = self.document.lines.iter().position(|line| line.number == number);
                if let Some(line) = at.and_then(|at| self.document.lines.get_mut(at)) {
                    line.raw = raw;
                    line.key = Some(found.canonical.clone());
                    line.number = self.document.next;
                    self.document.next = self.document.next.saturating_add(1);
                }
                let same = found.canonical.clone();
                self.document.remove(|line| found.covers(line) && line != same);
            }
            None => self.document.push(raw, Some(found.canonical)),
        }
        Ok(())
    }

    /// The same, from its text.
    fn again(&self, options: &Options) -> Result<Self, ConfigError> {
        super::load::parse(self.document.bytes(), &self.document.file(), options)
    }

    /// `KEY=VALUE` as a line of a file would have it, for options such as `lxc-start -s`.
    ///
    /// # Errors
    /// As [`Loaded::set`], and for text that is no assignment to an `lxc.` key.
    pub fn define(
        &mut self,
        text: &str,
        origin: &Origin,
        options: &Options,
    ) -> Result<(), ConfigError> {
        match parse_line(text.as_bytes()) {
            Parsed::Assignment(key, value) => self.set_from(key, value, origin, options),
            Parsed::NotText => Err(ConfigError::NotText { origin: origin.clone() }),
            Parsed::NoEquals(_) => {
                Err(ConfigError::NoEquals { origin: origin.clone(), text: text.to_owned() })
            }
            Parsed::Other => Err(ConfigError::UnknownKey {
                origin: Some(origin.clone()),
                key: text.split('=').next().unwrap_or_default().trim().to_owned(),
                nearest: None,
            }),
        }
    }

    /// The row of a key that is to be edited: an old spelling is as good as the new one, which is
    /// what will be written. `lxc.rootfs.backend` is for old files only.
    fn find(&self, key: &str, origin: Option<&Origin>) -> Result<Found, ConfigError> {
        let mut found = keys::find_asked(&self.config, key, origin)?;
        found.old = false;
        match found.is(keys::ROOTFS_BACKEND) {
            false => Ok(found),
            true => Err(ConfigError::UnknownKey {
                origin: origin.cloned(),
                key: key.to_owned(),
                nearest: Some("lxc.rootfs.path".to_owned()),
            }),
        }
    }

    /// The number of the line in this file that gives `key` its value now.
    fn line_of(&self, key: &str) -> Option<u32> {
        let origin = self.config.origin(key)?;
        let same_file = self.document.file.as_deref() == Some(&*origin.file);
        let holds = |line: &&Line| line.number == origin.line && line.key.as_deref() == Some(key);
        self.document.lines.iter().filter(|_| same_file).find(holds).map(|line| line.number)
    }

    /// Back to the default: removes the key's lines. If an included file sets it too, a line
    /// that clears it is added, for else its value would come back with the next load.
    ///
    /// # Errors
    /// No such key.
    pub fn clear(&mut self, key: &str) -> Result<(), ConfigError> {
        let found = self.find(key, None)?;
        keys::clear(&mut self.config, &found);
        self.document.remove(|line| found.covers(line));
        if self.included.iter().any(|line| found.covers(line)) {
            let raw = write_line(&found.canonical, &found.cleared_text())?;
            self.document.push(raw, Some(found.canonical));
        }
        Ok(())
    }

    /// Replaces `path` by the text: a new file beside it, synced, then renamed over it. A crash
    /// leaves the old file or the new one. Owner and mode of the old file stay, a new one has 0640;
    /// the user's own symbolic link is followed.
    ///
    /// # Errors
    /// What the system says; the old file is untouched then.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let failed = |cause| ConfigError::Save { path: path.to_owned(), cause };
        replace(path, &self.document.bytes()).map_err(failed)
    }
}

/// [`Loaded::save`] for text that is at hand.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> SysResult<()> {
    // A link that somebody else made in a directory of theirs is replaced, not followed.
    let own_link = fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.is_symlink() && meta.uid() == crate::sys::cred::euid());
    let target = match own_link {
        true => fs::canonicalize(path).at("readlink", || quoted(path))?,
        false => path.to_owned(),
    };
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = target.with_file_name(name);
    write_fresh(&target, &fresh, bytes).inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

fn write_fresh(target: &Path, fresh: &Path, bytes: &[u8]) -> SysResult<()> {
    let operand = || quoted(fresh);
    // The directory may belong to the container's root: nothing that is there already is written
    // to (create_new is O_EXCL, which does not follow a link either).
    let create = || fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(fresh);
    let old = fs::metadata(target).ok();
    let mut file = match create() {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_file(fresh).at("unlink", operand)?;
            create()
        }
        other => other,
    }
    .at("open", operand)?;
    file.write_all(bytes).at("write", operand)?;
    if let Some(old) = &old {
        let new = file.metadata().at("fstat", operand)?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))
                .at("fchown", operand)?;
        }
    }
    let mode = old.map_or(0o640, |old| old.mode() & 0o777);
    file.set_permissions(fs::Permissions::from_mode(mode)).at("fchmod", operand)?;
    file.sync_all().at("fsync", operand)?;
    fs::rename(fresh, target)
        .at("rename", || format!("{}, {}", quote::quoted(fresh), quote::quoted(target)))?;
    // The rename itself must survive a crash too; a directory that cannot be synced
    // (some network file systems) is no reason to fail after it.
    if let Some(dir) = target.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
