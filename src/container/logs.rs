//! What a container has said: its console, from the log file or the monitor's buffer, and its own
//! log, printed or followed. A followed file that is rotated, truncated or made anew is read on from its
//! beginning; what follows a monitor's buffer is told by the monitor what comes.

use super::live::LiveError;
use super::{Container, info};
use crate::control::client::{Client, ClientError};
use crate::control::proto::ConsoleLog;
use crate::logging::LOGPATH;
use crate::sys::fd::{self, OpenFlags};
use crate::sys::inotify::Changes;
use crate::sys::{SysError, dirs, errno, event, path as syspath};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at what is followed where nobody tells of changes: a monitor of LXC, or a user
/// who has no more instances of inotify.
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

/// What there is of a container.
pub struct Sources {
    /// Where its console is recorded.
    pub console: Option<Source>,
    /// Where its log is.
    pub log: Option<Source>,
    /// Why its monitor, which knows more than the configuration, could not be asked.
    pub unknown: Option<ClientError>,
}

/// Where the console of the container is recorded, and where its log is.
///
/// # Errors
/// Its configuration cannot be read.
pub fn sources(container: &Container) -> Result<Sources, LiveError> {
    let client = container.client();
    let config = container.load()?.config;
    let unknown = info::state(&client).err();
    // What the running container was started with counts, if there is one.
    let answer = |key: &str| client.config_item(key).ok().flatten();
    let asked = |key: &str| match unknown {
        None => answer(key).filter(|text| !text.is_empty()),
        Some(_) => None,
    };
    let file = |key: &str, own: Option<PathBuf>| asked(key).map(PathBuf::from).or(own);
    let runs = asked("lxc.rootfs.path").is_some() || unknown.is_none() && client.init_pid().is_ok();
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
    Ok(Sources { console, log: log.map(Source::File), unknown })
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
    let changes = if follow { Changes::new().ok() } else { None };
    let watch = |file: &File| watch(changes.as_ref(), path, file);
    let mut told = watch(&file);
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
        match &changes {
            Some(changes) if told => changes.wait()?,
            _ => event::sleep(PAUSE),
        }
        let facts = syspath::facts(file.as_fd())?;
        if facts.size < at {
            at = 0;
        }
        // It was renamed, and another has its name: the rest of the old one first.
        match open(path) {
            Ok(new) if fd::identity(new.as_fd())? != (facts.dev, facts.ino) => {
                copy(&file, at, sink)?;
                told = watch(&new);
                (file, at) = (new, 0);
            }
            // Its directory has gone, and with it whoever could write another.
            Err(_) if path.parent().is_some_and(|dir| !dirs::exists(dir)) => {
                copy(&file, at, sink)?;
                return Ok(());
            }
            _ => {}
        }
    }
}

/// Watches a file, and the directories in which another may get its name; false if not all could be.
fn watch(changes: Option<&Changes>, path: &Path, file: &File) -> bool {
    let Some(changes) = changes else { return false };
    // Where the name is a link, also those of what it leads to.
    let real = std::fs::canonicalize(path).unwrap_or_default();
    let parents = [path, &real].into_iter().filter_map(Path::parent);
    let all = parents.map(|dir| changes.of_directory(dir)).chain([changes.of_file(file.as_fd())]);
    all.fold(true, |told, done| told & done.inspect_err(|e| log::debug!("{e}")).is_ok())
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
    let mut told = follow;
    loop {
        let asked = match told.then(|| client.follow_console()) {
            Some(Ok(Some((bytes, stream)))) => Ok((bytes, Some(stream))),
            Some(Err(e)) => Err(e),
            Some(Ok(None)) | None => {
                told = false;
                client.console_log(what).map(|bytes| (bytes, None))
            }
        };
        let (now, stream) = match asked {
            Ok(answer) => answer,
            Err(ClientError::Failed { errno: errno::ENODATA, .. }) => (Vec::new(), None),
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
        let Some(stream) = stream else {
            event::sleep(PAUSE);
            continue;
        };
        // Its end is that of the monitor, or we were too slow and ask again for what there is.
        let kept = before.len().max(CHUNK);
        while let Some(new) = fd::read_some(stream.as_fd(), CHUNK).ok().filter(|n| !n.is_empty()) {
            writing(&new)?;
            before.extend_from_slice(&new);
            before.drain(..before.len().saturating_sub(kept));
        }
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
