//! The kernel's .config: where it may be, and what it says about a symbol.

use crate::sys::fd;
use std::path::{Path, PathBuf};

/// How a symbol was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Built {
    /// `=y`.
    In,
    /// `=m`.
    Module,
    /// Not set.
    Not,
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub(super) struct Kconfig {
    /// The file.
    pub(super) path: PathBuf,
    /// Its lines that say y or m.
    lines: Vec<String>,
}

/// Why a file is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub(super) struct NotOne {
    path: PathBuf,
    why: String,
}

impl Kconfig {
    /// Reads a .config, packed by gzip or not.
    pub(super) fn read(path: &Path) -> Result<Self, NotOne> {
        let no = |why: &str| NotOne { path: path.to_owned(), why: why.to_owned() };
        let bytes = fd::read(path).map_err(|e| no(&e.to_string()))?;
        let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => unpack(&bytes).ok_or_else(|| no("it is no whole gzip file"))?,
            false => bytes,
        };
        let text = String::from_utf8_lossy(&bytes);
        let said = |line: &&str| line.starts_with("CONFIG_") && line.ends_with(['y', 'm']);
        let mut lines: Vec<String> = text.lines().filter(said).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(no("there is no line of a kernel's configuration in it"));
        }
        lines.sort_unstable();
        Ok(Self { path: path.to_owned(), lines })
    }

    /// `A` or `A|B`: the best of them. Names go without their `CONFIG_`.
    pub(super) fn built(&self, symbols: &str) -> Built {
        let has = |letter: char| {
            symbols.split('|').any(|symbol| {
                let line = format!("CONFIG_{symbol}={letter}");
                self.lines.binary_search(&line).is_ok()
            })
        };
        if has('y') {
            Built::In
        } else if has('m') {
            Built::Module
        } else {
            Built::Not
        }
    }

    /// All of them, each as [`Self::built`]; the least counts, and the one that is missing is named.
    pub(super) fn all(&self, symbols: &'static str) -> (Built, &'static str) {
        let mut least = (Built::In, "");
        for symbol in symbols.split_whitespace() {
            match (self.built(symbol), least.0) {
                (Built::Not, _) => return (Built::Not, symbol),
                (Built::Module, Built::In) => least = (Built::Module, symbol),
                _ => {}
            }
        }
        least
    }
}

/// The files that may be the configuration of the kernel `release`, in the order to try.
pub(super) fn places(root: &Path, release: &str) -> [PathBuf; 6] {
    [
        "proc/config.gz".to_owned(),
        format!("boot/config-{release}"),
        format!("lib/modules/{release}/config"),
        format!("lib/modules/{release}/build/.config"),
        format!("usr/lib/modules/{release}/config"),
        format!("usr/src/linux-headers-{release}/.config"),
    ]
    .map(|place| root.join(place))
}

/// More than any configuration has, so that a broken file is no way to fill the memory.
const MAX_UNPACKED: usize = 4 << 20;

/// The content of a gzip file (RFC 1952) of one member.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const CHECKSUM: u8 = 2;
    let flags = *bytes.get(3)?;
    let mut rest = bytes.get(10..)?;
    if flags & EXTRA != 0 {
        let len = u16::from_le_bytes(rest.get(..2)?.try_into().ok()?);
        rest = rest.get(2 + usize::from(len)..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    miniz_oxide::inflate::decompress_to_vec_with_limit(rest, MAX_UNPACKED).ok()
}
