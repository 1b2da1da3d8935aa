//! A configuration file: the text as it was written beside what it means.
//!
//! [`load`] reads a file with everything it includes; [`Loaded::set`] and [`Loaded::clear`]
//! change text and meaning together; [`Loaded::save`] replaces the file. The lines of the file
//! itself are kept byte for byte, the lines of included files are not part of the text. This
//! file and `path.rs` are the only ones of the configuration that open anything.

use super::error::ConfigError;
use super::keys::{self, Found, Options};
use super::{Config, Origin, embedded};
use crate::sys::error::{At as _, Result as SysResult, SysError};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// No configuration is larger; a wrong path such as /dev/zero ends here.
const MAX_BYTES: u64 = 16 << 20;
/// Files within files.
const MAX_DEPTH: usize = 16;
/// Files in all: a few that include one another twice would otherwise multiply.
const MAX_FILES: usize = 1024;

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
    included: Vec<String>,
}

/// The text of one file, line by line.
#[derive(Clone, Debug, Default)]
pub struct Document {
    lines: Vec<Line>,
    /// Number for the next line that is added; numbers are never used twice.
    next: u32,
    /// What origins of added lines name.
    file: Option<Rc<Path>>,
}

#[derive(Clone, Debug)]
struct Line {
    /// As written, with its line end.
    raw: Vec<u8>,
    /// Its number when the file was read.
    number: u32,
    /// The key it assigns, in today's spelling with numbers filled in.
    key: Option<String>,
}

impl Document {
    /// The text as it would be saved.
    pub fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.raw).copied().collect()
    }

    fn file(&self) -> Rc<Path> {
        self.file.clone().unwrap_or_else(|| Path::new("new configuration").into())
    }

    fn push(&mut self, raw: Vec<u8>, key: Option<String>) {
        // A file without a line end at its end would swallow the new line.
        if let Some(last) = self.lines.last_mut()
            && !last.raw.ends_with(b"\n")
        {
            last.raw.push(b'\n');
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

/// One line, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Parsed<'a> {
    /// Blank, a comment, or not ours.
    Other,
    /// `lxc.` and no `=`.
    NoEquals(&'a str),
    /// `lxc.` and bytes that are no text.
    NotText,
    Assignment(&'a str, &'a str),
}

/// Takes a line apart: blanks around key and value do not count, one pair of matching quotes
/// around the value is removed, lines that do not begin with `lxc.` belong to somebody else.
fn parse_line(raw: &[u8]) -> Parsed<'_> {
    let line = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    let line = line.trim_ascii();
    if !line.starts_with(b"lxc.") {
        return Parsed::Other;
    }
    let Some(line) = std::str::from_utf8(line).ok().filter(|line| !line.contains('\0')) else {
        return Parsed::NotText;
    };
    let Some((key, value)) = line.split_once('=') else {
        return Parsed::NoEquals(line);
    };
    let blank = |c: char| c.is_ascii_whitespace();
    let (key, value) = (key.trim_end_matches(blank), value.trim_start_matches(blank));
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
    Parsed::Assignment(key, unquoted.unwrap_or(value))
}

/// The line that [`parse_line`] takes apart into `key` and `value`.
fn write_line(key: &str, value: &str) -> Result<Vec<u8>, ConfigError> {
    if value.contains(['\n', '\0']) || key.contains(['\n', '\0', '=']) {
        return Err(ConfigError::Unwritable { key: key.escape_default().to_string() });
    }
    let plain = format!("{key} = {value}\n");
    if parse_line(plain.as_bytes()) == Parsed::Assignment(key, value) {
        return Ok(plain.into_bytes());
    }
    // Blanks or a pair of quotes at the ends, which would be taken off.
    let quoted = format!("{key} = \"{value}\"\n").into_bytes();
    match parse_line(&quoted) == Parsed::Assignment(key, value) {
        true => Ok(quoted),
        false => Err(ConfigError::Unwritable { key: key.escape_default().to_string() }),
    }
}

/// Reads a configuration file with everything it includes.
///
/// # Errors
/// The first line that cannot be understood ends it (`lxc_config_read`).
pub fn load(path: &Path, options: &Options) -> Result<Loaded, ConfigError> {
    let unreadable = |cause| ConfigError::Read { path: path.to_owned(), cause };
    let mut file = File::open(path).at("open", || quoted(path)).map_err(unreadable)?;
    let bytes = read_all(&mut file, path).map_err(unreadable)?;
    let mut loader = Loader::new(Config::default(), options, false);
    loader.enter(&file);
    let loaded = loader.document(bytes.ok_or_else(|| too_large(path))?, path)?;
    Ok(loaded)
}

/// The same for text that is at hand; `file` is what origins name.
///
/// # Errors
/// As [`load`].
pub fn parse(text: Vec<u8>, file: &Path, options: &Options) -> Result<Loaded, ConfigError> {
    Loader::new(Config::default(), options, false).document(text, file)
}

/// Every error of a file and of what it includes, instead of the first.
pub fn check(path: &Path, options: &Options) -> Vec<ConfigError> {
    let unreadable = |cause| ConfigError::Read { path: path.to_owned(), cause };
    let read = File::open(path).at("open", || quoted(path)).and_then(|mut file| {
        let bytes = read_all(&mut file, path)?;
        Ok((file, bytes))
    });
    let (file, bytes) = match read {
        Ok((file, Some(bytes))) => (file, bytes),
        Ok((_, None)) => return vec![too_large(path)],
        Err(cause) => return vec![unreadable(cause)],
    };
    let mut loader = Loader::new(Config::default(), options, true);
    loader.enter(&file);
    let (mut errors, mut lines) = (Vec::new(), Vec::new());
    errors.extend(loader.text(bytes, &Rc::from(path), Some(&mut lines)).err());
    errors.append(&mut loader.errors);
    errors
}

fn too_large(path: &Path) -> ConfigError {
    ConfigError::TooLarge { path: path.to_owned() }
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// `None` when there is more than a configuration can have.
fn read_all(file: &mut File, path: &Path) -> SysResult<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).at("read", || quoted(path))?;
    Ok((bytes.len() as u64 <= MAX_BYTES).then_some(bytes))
}

/// Reads lines into a configuration; one for a whole load.
struct Loader<'o> {
    config: Config,
    options: &'o Options,
    warnings: Vec<String>,
    included: Vec<String>,
    /// Device and inode of the files being read, outermost first.
    stack: Vec<(u64, u64)>,
    files: usize,
    /// Go on after an error and keep it in `errors`.
    collect: bool,
    errors: Vec<ConfigError>,
}

impl<'o> Loader<'o> {
    fn new(config: Config, options: &'o Options, collect: bool) -> Self {
        let (warnings, included, stack) = (Vec::new(), Vec::new(), Vec::new());
        Self { config, options, warnings, included, stack, files: 0, collect, errors: Vec::new() }
    }

    /// False if the file is being read already.
    fn enter(&mut self, file: &File) -> bool {
        let identity = file.metadata().map_or((0, 0), |meta| (meta.dev(), meta.ino()));
        let new = !self.stack.contains(&identity);
        self.stack.push(identity);
        new
    }

    fn document(mut self, bytes: Vec<u8>, path: &Path) -> Result<Loaded, ConfigError> {
        let file: Rc<Path> = path.into();
        let mut lines = Vec::new();
        self.text(bytes, &file, Some(&mut lines))?;
        let next = u32::try_from(lines.len()).unwrap_or(u32::MAX).saturating_add(1);
        Ok(Loaded {
            config: self.config,
            document: Document { lines, next, file: Some(file) },
            warnings: self.warnings,
            included: self.included,
        })
    }

    /// Reads one file's text. `lines` takes the lines of the file that is loaded; an included
    /// file has none.
    fn text(
        &mut self,
        bytes: Vec<u8>,
        file: &Rc<Path>,
        mut lines: Option<&mut Vec<Line>>,
    ) -> Result<(), ConfigError> {
        for (number, raw) in (1..).zip(bytes.split_inclusive(|b| *b == b'\n')) {
            let origin = || Origin { file: file.clone(), line: number };
            let mut line = lines.as_ref().map(|_| Line { raw: raw.to_vec(), number, key: None });
            let outcome = match parse_line(raw) {
                Parsed::Other => Ok(()),
                Parsed::NotText => Err(ConfigError::NotText { origin: origin() }),
                Parsed::NoEquals(text) => {
                    Err(ConfigError::NoEquals { origin: origin(), text: text.to_owned() })
                }
                Parsed::Assignment(key, value) => self.line(key, value, origin(), line.as_mut()),
            };
            match outcome {
                Err(error) if self.collect => self.errors.push(error),
                other => other?,
            }
            if let (Some(lines), Some(line)) = (lines.as_mut(), line) {
                lines.push(line);
            }
        }
        Ok(())
    }

    fn line(
        &mut self,
        key: &str,
        value: &str,
        origin: Origin,
        line: Option<&mut Line>,
    ) -> Result<(), ConfigError> {
        let (found, rewritten) = self.assign(key, value, &origin)?;
        if found.old {
            self.warnings.push(old_spelling(key, &found, &origin));
        }
        match line {
            Some(line) => {
                if let Some(value) = rewritten {
                    line.raw = write_line(key, &value)?;
                }
                line.key = Some(found.canonical);
            }
            None if !self.included.contains(&found.canonical) => {
                self.included.push(found.canonical);
            }
            None => {}
        }
        Ok(())
    }

    /// One assignment. Gives back the value that was stored, if it is not the one written.
    fn assign(
        &mut self,
        key: &str,
        value: &str,
        origin: &Origin,
    ) -> Result<(Found, Option<String>), ConfigError> {
        let refused =
            |cause| ConfigError::Value { origin: origin.clone(), key: key.to_owned(), cause };
        // LXC 1: a type without a value drops all networks.
        let key = match (key, value) {
            ("lxc.network.type", "") => "lxc.network",
            _ => key,
        };
        let found = keys::find(&self.config, key).map_err(|cause| match cause {
            Some(cause) => refused(cause),
            None => ConfigError::UnknownKey {
                origin: Some(origin.clone()),
                key: key.to_owned(),
                nearest: keys::nearest(key),
            },
        })?;
        let rewritten =
            keys::assign(&mut self.config, &found, value, origin, self.options).map_err(refused)?;
        if found.is("lxc.include") && !value.is_empty() {
            self.include(value, origin)?;
        }
        Ok((found, rewritten))
    }

    fn include(&mut self, written: &str, origin: &Origin) -> Result<(), ConfigError> {
        let path = Path::new(written);
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.include_directory(path, origin),
            // LXC takes the slash as "all files there are", and none is not an error.
            Err(e) if written.ends_with('/') && e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            _ => self.include_file(path, origin),
        }
    }

    /// Every file whose name ends in `.conf`, in the order of the names.
    fn include_directory(&mut self, dir: &Path, origin: &Origin) -> Result<(), ConfigError> {
        let unreadable = |e: std::io::Error| ConfigError::Include {
            origin: origin.clone(),
            path: dir.to_owned(),
            cause: SysError::io("opendir", quoted(dir), &e),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let bytes = name.as_encoded_bytes();
            if bytes.len() > ".conf".len() && bytes.ends_with(b".conf") {
                names.push(name);
            }
        }
        names.sort();
        names.iter().try_for_each(|name| self.include_file(&dir.join(name), origin))
    }

    fn include_file(&mut self, path: &Path, origin: &Origin) -> Result<(), ConfigError> {
        self.files += 1;
        let what = match () {
            () if self.files > MAX_FILES => Some("1024 files"),
            () if self.stack.len() >= MAX_DEPTH => Some("16 files within one another"),
            () => None,
        };
        if let Some(what) = what {
            return Err(ConfigError::TooMany { origin: origin.clone(), what });
        }
        let failed =
            |cause| ConfigError::Include { origin: origin.clone(), path: path.to_owned(), cause };
        let missing = |cause: SysError| match embedded::find(path) {
            Some(text) if cause.is(crate::sys::errno::ENOENT) => Ok(text),
            _ => Err(failed(cause)),
        };
        let depth = self.stack.len();
        let outcome = match File::open(path).at("open", || quoted(path)) {
            Ok(mut file) => {
                if !self.enter(&file) {
                    return Err(ConfigError::Loop {
                        origin: origin.clone(),
                        path: path.to_owned(),
                    });
                }
                match read_all(&mut file, path).map_err(failed)? {
                    Some(bytes) => self.text(bytes, &Rc::from(path), None),
                    None => Err(too_large(path)),
                }
            }
            Err(cause) => {
                let text = missing(cause)?;
                // Their own includes are straight down, so no identity is needed.
                self.stack.push((0, depth as u64));
                let mut name = path.as_os_str().to_owned();
                name.push(" (built in)");
                self.text(text.as_bytes().to_vec(), &Rc::from(PathBuf::from(name)), None)
            }
        };
        self.stack.truncate(depth);
        outcome
    }
}

fn old_spelling(key: &str, found: &Found, origin: &Origin) -> String {
    match (found.ignored, key) {
        (true, _) => format!("{origin}: {key} has no effect any more; remove the line"),
        (false, "lxc.rootfs.backend") => {
            format!("{origin}: {key} is an old key; write lxc.rootfs.path = TYPE:PATH")
        }
        (false, _) => format!("{origin}: {key} is an old key; write {}", found.canonical),
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
        self.set_from(key, value, &origin, options)
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
        let holder = self.line_of(key);
        // An error in the middle of an included file must not leave half of it behind.
        let before = self.config.clone();
        let mut loader = Loader::new(std::mem::take(&mut self.config), options, false);
        let outcome = loader.assign(key, value, origin);
        let (config, included) = (loader.config, loader.included);
        let (found, rewritten) = match outcome {
            Ok(done) => done,
            Err(error) => {
                self.config = before;
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

    /// The number of the line in this file that gives `key` its value now.
    fn line_of(&self, key: &str) -> Option<u32> {
        let found = keys::find(&self.config, key).ok()?;
        let origin = self.config.origin(&found.canonical)?;
        let same_file = self.document.file.as_deref() == Some(&*origin.file);
        let holds = |line: &&Line| {
            line.number == origin.line && line.key.as_ref() == Some(&found.canonical)
        };
        self.document.lines.iter().filter(|_| same_file).find(holds).map(|line| line.number)
    }

    /// Back to the default: removes the key's lines. If an included file sets it too, a line
    /// that clears it is added, for else its value would come back with the next load.
    ///
    /// # Errors
    /// No such key.
    pub fn clear(&mut self, key: &str) -> Result<(), ConfigError> {
        let found = keys::find(&self.config, key).map_err(|cause| match cause {
            Some(cause) => ConfigError::Value {
                origin: Origin { file: self.document.file(), line: 0 },
                key: key.to_owned(),
                cause,
            },
            None => ConfigError::UnknownKey {
                origin: None,
                key: key.to_owned(),
                nearest: keys::nearest(key),
            },
        })?;
        keys::clear(&mut self.config, &found);
        self.document.remove(|line| found.covers(line));
        if self.included.iter().any(|line| found.covers(line)) {
            let raw = write_line(&found.canonical, &found.cleared_text())?;
            self.document.push(raw, Some(found.canonical));
        }
        Ok(())
    }

    /// Replaces `path` by the text: a new file beside it, mode 0640, synced, then renamed over
    /// it. A crash leaves the old file or the new one. The owner of the old file stays; a
    /// symbolic link is followed.
    ///
    /// # Errors
    /// What the system says; the old file is untouched then.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let failed = |cause| ConfigError::Save { path: path.to_owned(), cause };
        replace(path, &self.document.bytes()).map_err(failed)
    }
}

fn replace(path: &Path, bytes: &[u8]) -> SysResult<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
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
    let mut file = match create() {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_file(fresh).at("unlink", operand)?;
            create()
        }
        other => other,
    }
    .at("open", operand)?;
    file.write_all(bytes).at("write", operand)?;
    if let Ok(old) = fs::metadata(target) {
        let new = file.metadata().at("fstat", operand)?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))
                .at("fchown", operand)?;
        }
    }
    file.set_permissions(fs::Permissions::from_mode(0o640)).at("fchmod", operand)?;
    file.sync_all().at("fsync", operand)?;
    fs::rename(fresh, target).at("rename", || format!("{fresh:?}, {target:?}"))?;
    // The rename itself must survive a crash too; a directory that cannot be synced
    // (some network file systems) is no reason to fail after it.
    if let Some(dir) = target.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
    Ok(())
}
