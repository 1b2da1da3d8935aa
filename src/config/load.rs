//! Reading: lines taken apart, keys assigned, includes followed.

use super::document::{Document, Line, Loaded};
use super::error::ConfigError;
use super::keys::{self, Found, Options};
use super::{Config, Origin, embedded};
use crate::sys::errno::{EISDIR, ENOENT};
use crate::sys::error::{At as _, Result as SysResult, SysError};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// No configuration is larger; a wrong path such as /dev/zero ends here.
const MAX_BYTES: u64 = 16 << 20;
/// Files within files.
const MAX_DEPTH: usize = 16;
/// Files in all: a few that include one another twice would otherwise multiply.
const MAX_FILES: usize = 1024;

/// Reads a configuration file with everything it includes.
///
/// # Errors
/// The first line that cannot be understood ends it (`lxc_config_read`).
pub fn load(path: &Path, options: &Options) -> Result<Loaded, ConfigError> {
    let source = top(path)?;
    let mut loader = Loader::new(Config::default(), options, false);
    loader.stack.push(source.identity);
    loader.document(source.bytes, path)
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
    let source = match top(path) {
        Ok(source) => source,
        Err(error) => return vec![error],
    };
    let mut loader = Loader::new(Config::default(), options, true);
    loader.stack.push(source.identity);
    let file = Rc::from(path);
    let mut errors: Vec<_> = loader.text(&source.bytes, &file, None).err().into_iter().collect();
    errors.append(&mut loader.errors);
    errors
}

/// A file's content, and which file it is.
struct Source {
    bytes: Vec<u8>,
    /// Device and inode.
    identity: (u64, u64),
}

enum Opened {
    File(Source),
    Directory,
    TooLarge,
}

fn open(path: &Path) -> SysResult<Opened> {
    let mut file = File::open(path).at("open", || quoted(path))?;
    let meta = file.metadata().at("fstat", || quoted(path))?;
    if meta.is_dir() {
        return Ok(Opened::Directory);
    }
    // A pipe has no length; one byte of room more lets the end be seen without growing.
    let mut bytes = Vec::with_capacity(meta.len().min(MAX_BYTES) as usize + 1);
    (&mut file).take(MAX_BYTES + 1).read_to_end(&mut bytes).at("read", || quoted(path))?;
    Ok(match bytes.len() as u64 <= MAX_BYTES {
        true => Opened::File(Source { bytes, identity: (meta.dev(), meta.ino()) }),
        false => Opened::TooLarge,
    })
}

/// The file that a caller names.
fn top(path: &Path) -> Result<Source, ConfigError> {
    let unreadable = |cause| ConfigError::Read { path: path.to_owned(), cause };
    match open(path).map_err(unreadable)? {
        Opened::File(source) => Ok(source),
        Opened::TooLarge => Err(ConfigError::TooLarge { origin: None, path: path.to_owned() }),
        Opened::Directory => Err(unreadable(SysError::new("read", quoted(path), EISDIR))),
    }
}

pub(super) fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// Reads lines into a configuration; one for a whole load.
pub(super) struct Loader<'o> {
    pub(super) config: Config,
    options: &'o Options,
    warnings: Vec<String>,
    pub(super) included: Vec<String>,
    /// Device and inode of the files being read, outermost first.
    stack: Vec<(u64, u64)>,
    files: usize,
    /// The row of the line before.
    last: Option<Found>,
    /// Go on after an error and keep it in `errors`.
    collect: bool,
    errors: Vec<ConfigError>,
}

impl<'o> Loader<'o> {
    pub(super) fn new(config: Config, options: &'o Options, collect: bool) -> Self {
        Self {
            config,
            options,
            warnings: Vec::new(),
            included: Vec::new(),
            stack: Vec::new(),
            files: 0,
            last: None,
            collect,
            errors: Vec::new(),
        }
    }

    fn document(mut self, bytes: Vec<u8>, path: &Path) -> Result<Loaded, ConfigError> {
        let file: Rc<Path> = path.into();
        let mut lines = Vec::new();
        self.text(&bytes, &file, Some(&mut lines))?;
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
        bytes: &[u8],
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
        // LXC 1: a type without a value drops all networks.
        let key = match (key, value) {
            ("lxc.network.type", "") => "lxc.network",
            _ => key,
        };
        // Device rules come a dozen in a row; an old key's place depends on the lines before it.
        let found = match self.last.take() {
            Some(found) if found.canonical == key && !found.old => found,
            _ => keys::find_asked(&self.config, key, Some(&origin))?,
        };
        let rewritten = self.assign(&found, key, value, &origin)?;
        if found.old {
            self.warnings.push(old_spelling(key, &found, &origin));
        }
        match line {
            Some(line) => {
                if let Some(value) = rewritten {
                    line.raw = write_line(key, &value)?;
                }
                line.key = Some(found.canonical.clone());
            }
            None if self.included.last() != Some(&found.canonical) => {
                self.included.push(found.canonical.clone());
            }
            None => {}
        }
        self.last = Some(found);
        Ok(())
    }

    /// One assignment; `key` is what an error names. Gives back the value that was stored, if it
    /// is not the one written.
    pub(super) fn assign(
        &mut self,
        found: &Found,
        key: &str,
        value: &str,
        origin: &Origin,
    ) -> Result<Option<String>, ConfigError> {
        let rewritten = keys::assign(&mut self.config, found, value, origin, self.options)
            .map_err(|cause| ConfigError::Value {
                origin: Some(origin.clone()),
                key: key.to_owned(),
                cause,
            })?;
        if found.is("lxc.include") && !value.is_empty() {
            self.include(value, origin)?;
        }
        Ok(rewritten)
    }

    fn include(&mut self, written: &str, origin: &Origin) -> Result<(), ConfigError> {
        let path = Path::new(written);
        match open(path) {
            Ok(Opened::Directory) => self.include_directory(path, origin),
            // LXC takes the slash as "all files there are", and none is not an error.
            Err(e) if written.ends_with('/') && e.is(ENOENT) => Ok(()),
            opened => self.include_file(opened, path, origin),
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
        names
            .iter()
            .map(|name| dir.join(name))
            .try_for_each(|path| self.include_file(open(&path), &path, origin))
    }

    fn include_file(
        &mut self,
        opened: SysResult<Opened>,
        path: &Path,
        origin: &Origin,
    ) -> Result<(), ConfigError> {
        self.files += 1;
        let what = match () {
            () if self.files > MAX_FILES => Some("1024 files"),
            () if self.stack.len() >= MAX_DEPTH => Some("16 files within one another"),
            () => None,
        };
        if let Some(what) = what {
            return Err(ConfigError::TooMany { origin: origin.clone(), what });
        }
        let failed = |cause| {
            Err(ConfigError::Include { origin: origin.clone(), path: path.to_owned(), cause })
        };
        let depth = self.stack.len();
        let outcome = match opened {
            Ok(Opened::File(Source { identity, .. })) if self.stack.contains(&identity) => {
                return Err(ConfigError::Loop { origin: origin.clone(), path: path.to_owned() });
            }
            Ok(Opened::File(source)) => {
                self.stack.push(source.identity);
                self.text(&source.bytes, &Rc::from(path), None)
            }
            Ok(Opened::TooLarge) => {
                let origin = Some(origin.clone());
                return Err(ConfigError::TooLarge { origin, path: path.to_owned() });
            }
            Ok(Opened::Directory) => return failed(SysError::new("read", quoted(path), EISDIR)),
            Err(cause) => {
                let Some(text) = embedded::find(path).filter(|_| cause.is(ENOENT)) else {
                    return failed(cause);
                };
                // No file has inode 0, and these do not include one another in a circle.
                self.stack.push((0, 0));
                let mut name = path.as_os_str().to_owned();
                name.push(" (built in)");
                self.text(text.as_bytes(), &Rc::from(PathBuf::from(name)), None)
            }
        };
        self.stack.truncate(depth);
        outcome
    }
}

fn old_spelling(key: &str, found: &Found, origin: &Origin) -> String {
    match (found.ignored, key) {
        (true, _) => format!("{origin}: {key} has no effect any more; remove the line"),
        (false, keys::ROOTFS_BACKEND) => {
            format!("{origin}: {key} is an old key; write lxc.rootfs.path = TYPE:PATH")
        }
        (false, _) => format!("{origin}: {key} is an old key; write {}", found.canonical),
    }
}

/// One line, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
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
pub(super) fn parse_line(raw: &[u8]) -> Parsed<'_> {
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
pub(super) fn write_line(key: &str, value: &str) -> Result<Vec<u8>, ConfigError> {
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
