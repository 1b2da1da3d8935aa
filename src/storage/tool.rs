//! Programs of other packages that storage needs: mkfs, the tools of LVM and ZFS.

use super::{Fault, StorageError};
use crate::sys::process::Wait;
use crate::sys::spawn;
use std::path::{Path, PathBuf};

/// Where they are looked for.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// LXC's size of a new block device.
const DEFAULT_BYTES: u64 = 1 << 30;

/// How a new block device or image is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// `ext4`: the name of a mkfs program.
    pub fs: String,
    /// Size.
    pub bytes: u64,
}

impl Default for Format {
    fn default() -> Self {
        Self { fs: "ext4".into(), bytes: DEFAULT_BYTES }
    }
}

impl Format {
    /// `--fssize`: a number of megabytes, or of what one of the letters B, K, M, G, T says (in
    /// either case). `None` for anything else, or for nothing.
    pub fn parse_size(text: &str) -> Option<u64> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
            "b" => 0,
            "k" => 10,
            "" | "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return None,
        };
        let number: u64 = digits.trim_end().parse().ok().filter(|&n| n > 0)?;
        number.checked_mul(1 << shift)
    }

    /// True for a word that can be part of a program's name.
    pub fn is_type(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }
}

/// The program by its full path.
fn find(name: &str) -> Option<PathBuf> {
    let at = |dir: &str| Path::new(dir).join(name);
    DIRECTORIES.into_iter().map(at).find(|path| crate::sys::dirs::is_executable_file(path))
}

/// The line of a failed program that is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// The first that is no warning.
    First,
    /// The last.
    Last,
}

/// Fails if the program, which the package has, is not installed.
pub(super) fn need((name, package): (&str, &'static str)) -> Result<PathBuf, StorageError> {
    find(name).ok_or_else(|| Box::new(Fault::NoProgram { program: name.to_owned(), package }))
}

/// Runs a program; what it prints is only told when it fails.
pub(super) fn run(
    (name, package): (&str, &'static str),
    args: &[&str],
    which: Said,
) -> Result<String, StorageError> {
    let program = need((name, package))?.display().to_string();
    let mut argv = vec![program.as_str()];
    argv.extend_from_slice(args);
    let env = [
        ("PATH".to_owned(), DIRECTORIES.join(":")),
        ("LC_ALL".to_owned(), "C".to_owned()),
        // LVM complains of every descriptor that it was not told of.
        ("LVM_SUPPRESS_FD_WARNINGS".to_owned(), "1".to_owned()),
    ];
    let output = spawn::run_program(&argv, &env, &[])
        .map_err(|source| Fault::Program { program: name.to_owned(), source })?;
    let said = String::from_utf8_lossy(&output.text).trim().to_owned();
    let mut lines = said.lines().map(str::trim).filter(|line| !line.starts_with("WARNING"));
    match (output.status, which) {
        (Wait::Exited(0), _) => Ok(said),
        (_, which) => {
            let line = if which == Said::First { lines.next() } else { lines.next_back() };
            let said = line.unwrap_or("no message").to_owned();
            Err(Box::new(Fault::Failed { program: name.to_owned(), said }))
        }
    }
}

/// Makes a file system on a device or in a file.
pub(super) fn make_file_system(path: &Path, format: &Format) -> Result<(), StorageError> {
    let package = match format.fs.as_str() {
        "ext2" | "ext3" | "ext4" => "e2fsprogs",
        "btrfs" => "btrfs-progs",
        "xfs" => "xfsprogs",
        _ => "for this file system",
    };
    // What mke2fs would ask about is answered; the others know -f for the same or do not ask.
    let quiet: &[&str] = match format.fs.as_str() {
        "ext2" | "ext3" | "ext4" => &["-q", "-F"],
        "btrfs" | "xfs" => &["-q", "-f"],
        _ => &[],
    };
    let path = path.display().to_string();
    let args = [quiet, &[path.as_str()]].concat();
    run((&format!("mkfs.{}", format.fs), package), &args, Said::Last).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1 << 20),
            ("7B", 7),
            ("2k", 2048),
            ("3M", 3 << 20),
            ("1G", 1 << 30),
            ("2t", 2 << 40),
        ] {
            assert_eq!(Format::parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "G", "-1", "0", "1x", "1.5G", "99999999999T", "1 1"] {
            assert_eq!(Format::parse_size(text), None, "{text}");
        }
        assert!(Format::is_type("ext4") && !Format::is_type("../x") && !Format::is_type(""));
    }
}
