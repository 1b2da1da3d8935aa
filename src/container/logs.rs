//! What a container has said: its console, from the log file or the monitor's buffer, and its own
//! log, printed or followed. Files are looked at twice a second while they are followed; a rotated
//! or truncated one is read on from its beginning.

use super::Container;
use super::live::LiveError;
use crate::control::client::{Client, ClientError};
use crate::control::proto::ConsoleLog;
use crate::logging::LOGPATH;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::{SysError, dirs, errno, event, path as syspath};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at what is followed.
const PAUSE: Duration = Duration::from_millis(500);
const CHUNK: usize = 64 << 10;

/// Where something is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file; before it `FILE.1`, if it is there.
    File(PathBuf),
    /// The monitor's ring buffer of the console.
    Buffer,
}

/// Takes what is read.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), SysError>;

/// Where the console of the container is recorded, and where its log is.
///
/// # Errors
/// Its configuration cannot be read.
pub fn sources(container: &Container) -> Result<(Option<Source>, Option<Source>), LiveError> {
    let client = container.client();
    let config = container.load()?.config;
    // What the running container was started with counts, if there is one.
    let asked = |key: &str| client.config_item(key).ok().flatten().filter(|text| !text.is_empty());
    let file = |key: &str, own: Option<PathBuf>| asked(key).map(PathBuf::from).or(own);
    let runs = asked("lxc.rootfs.path").is_some() || client.init_pid().is_ok();
    let console = match file("lxc.console.logfile", config.console.logfile) {
        Some(path) => Some(Source::File(path)),
        None => {
            let size = asked("lxc.console.buffer.size").filter(|size| size != "0");
            size.filter(|_| runs).map(|_| Source::Buffer)
        }
    };
    let name = format!("{}.log", container.name());
    let usual = [Path::new(LOGPATH).join(&name), container.dir().join(&name)];
    let log = file("lxc.log.file", config.log.file);
    let log = log.or_else(|| usual.into_iter().find(|path| dirs::exists(path)));
    Ok((console, log.map(Source::File)))
}

/// Prints the last `lines` (all without), and what comes then with `follow`: until a signal ends
/// the program, or the monitor whose buffer it is has gone.
///
/// # Errors
/// The file cannot be read, the monitor does not answer, or `sink` fails.
pub fn show(
    container: &Container,
    source: &Source,
    lines: Option<u64>,
    follow: bool,
    sink: Sink<'_>,
) -> Result<(), LiveError> {
    match source {
        Source::File(path) => show_file(path, lines, follow, sink)
            .map_err(|source| LiveError::System { what: "reading", path: path.clone(), source }),
        Source::Buffer => show_buffer(&container.client(), lines, follow, sink),
    }
}

/// Empties the monitor's buffer.
///
/// # Errors
/// There is none.
pub fn clear(container: &Container) -> Result<(), LiveError> {
    let what = ConsoleLog { clear: true, read: false, read_max: 0, keep: false };
    Ok(container.client().console_log(what).map(drop)?)
}

fn open(path: &Path) -> Result<File, SysError> {
    // A pipe or a terminal in its place must not hold us up.
    let file = fd::open(path, OpenFlags::RDONLY | OpenFlags::NONBLOCK | OpenFlags::NOCTTY, 0)?;
    match syspath::facts(file.as_fd())?.is_file() {
        true => Ok(File::from(file)),
        false => Err(SysError::new("open", "not a file", errno::EINVAL)),
    }
}

fn show_file(
    path: &Path,
    lines: Option<u64>,
    follow: bool,
    sink: Sink<'_>,
) -> Result<(), SysError> {
    let mut left = lines;
    let mut old = path.as_os_str().to_owned();
    old.push(".1");
    let mut file = open(path)?;
    let (mut at, found) = begin(&file, left)?;
    if let (Ok(rotated), true) = (open(Path::new(&old)), at == 0) {
        left = left.map(|lines| lines.saturating_sub(found));
        copy(&rotated, begin(&rotated, left)?.0, sink)?;
    }
    loop {
        at = copy(&file, at, sink)?;
        if !follow {
            return Ok(());
        }
        event::sleep(PAUSE);
        let facts = syspath::facts(file.as_fd())?;
        if facts.size < at {
            at = 0;
        }
        // It was renamed, and another has its name: the rest of the old one first.
        if let Ok(new) = open(path) {
            if fd::identity(new.as_fd())? != (facts.dev, facts.ino) {
                copy(&file, at, sink)?;
                (file, at) = (new, 0);
            }
        }
    }
}

/// Where the last `lines` begin, and how many there are.
fn begin(file: &File, lines: Option<u64>) -> Result<(u64, u64), SysError> {
    let Some(lines) = lines else { return Ok((0, 0)) };
    let mut at = syspath::facts(file.as_fd())?.size;
    let end = at;
    let mut found = 0;
    let mut buffer = vec![0; CHUNK];
    while at > 0 {
        let start = at.saturating_sub(CHUNK as u64);
        let part = &mut buffer[..usize::try_from(at - start).unwrap_or(CHUNK)];
        file.read_exact_at(part, start).map_err(|e| SysError::io("read", "", &e))?;
        for (n, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + n as u64 + 1;
            // The line's own end at the end of the file begins none.
            if after < end {
                found += 1;
                if found >= lines {
                    return Ok((after, found));
                }
            }
        }
        at = start;
    }
    Ok((0, if end > 0 { found + 1 } else { 0 }))
}

/// Gives all from `at` on to the sink; where the end is.
fn copy(file: &File, mut at: u64, sink: Sink<'_>) -> Result<u64, SysError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = file.read_at(&mut buffer, at).map_err(|e| SysError::io("read", "", &e))?;
        if n == 0 {
            return Ok(at);
        }
        sink(&buffer[..n])?;
        at += n as u64;
    }
}

fn show_buffer(
    client: &Client,
    lines: Option<u64>,
    follow: bool,
    sink: Sink<'_>,
) -> Result<(), LiveError> {
    let mut writing = |bytes: &[u8]| {
        let path = PathBuf::from("standard output");
        sink(bytes).map_err(|source| LiveError::System { what: "writing", path, source })
    };
    let what = ConsoleLog { clear: false, read: true, read_max: 0, keep: true };
    let mut before: Vec<u8> = Vec::new();
    let mut first = true;
    loop {
        let now = match client.console_log(what) {
            Ok(bytes) => bytes,
            Err(ClientError::Failed { errno: errno::ENODATA, .. }) => Vec::new(),
            Err(ClientError::NotRunning { .. } | ClientError::NoReply { .. }) if !first => {
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let new = match (first, lines) {
            (true, Some(lines)) => last_lines(&now, lines),
            (true, None) => &now,
            (false, _) => fresh(&before, &now),
        };
        writing(new)?;
        if !follow {
            return Ok(());
        }
        first = false;
        before = now;
        event::sleep(PAUSE);
    }
}

/// What has come since: the buffer loses its beginning as it grows at its end.
fn fresh<'a>(before: &[u8], now: &'a [u8]) -> &'a [u8] {
    let lost = (0..before.len()).find(|lost| now.starts_with(&before[*lost..]));
    &now[lost.map_or(0, |lost| before.len() - lost)..]
}

fn last_lines(text: &[u8], lines: u64) -> &[u8] {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
    match (wanted, ends.map(|(n, _)| n + 1).nth(wanted.saturating_sub(1))) {
        (0, _) => &[],
        (_, start) => &text[start.unwrap_or(0)..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_in_a_ring() {
        for (before, now, new) in [
            ("", "abc", "abc"),
            ("abc", "abc", ""),
            ("abc", "abcd", "d"),
            ("abcd", "cdef", "ef"),
            ("abcd", "wxyz", "wxyz"),
            ("abc", "", ""),
        ] {
            assert_eq!(fresh(before.as_bytes(), now.as_bytes()), new.as_bytes());
        }
    }

    #[test]
    fn the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for text in ["a\nb\nc\n", "a\nb\nc", "", "\n\n"] {
            std::fs::write(&path, text).unwrap();
            for lines in 0..5 {
                let all: Vec<&str> = text.split_inclusive('\n').collect();
                let wanted = all[all.len().saturating_sub(lines)..].concat();
                let lines = lines as u64;
                assert_eq!(
                    last_lines(text.as_bytes(), lines),
                    wanted.as_bytes(),
                    "{text:?} {lines}"
                );
                let mut got = Vec::new();
                if lines > 0 {
                    let mut sink = |bytes: &[u8]| {
                        got.extend_from_slice(bytes);
                        Ok(())
                    };
                    show_file(&path, Some(lines), false, &mut sink).unwrap();
                    assert_eq!(got, wanted.as_bytes(), "{text:?} {lines}");
                }
            }
        }
        std::fs::write(dir.path().join("log.1"), "x\ny\n").unwrap();
        std::fs::write(&path, "a\n").unwrap();
        let mut got = Vec::new();
        let mut sink = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        show_file(&path, Some(2), false, &mut sink).unwrap();
        show_file(&path, None, false, &mut sink).unwrap();
        assert_eq!(got, b"y\na\nx\ny\na\n");
    }
}
