//! The monitor's half with ptys of the host in place of a container's.

use super::monitor::Terminals;
use super::record::Record;
use crate::config::{Config, Console};
use crate::sys::event::{Ready, poll};
use crate::sys::term::{self, Pty, WinSize};
use crate::sys::{errno, stdstream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

fn pty() -> Pty {
    let pty = term::open_pty().unwrap();
    term::set_raw(pty.slave.as_fd()).unwrap();
    pty
}

fn config(log: Option<&Path>, buffer_size: u64) -> Config {
    let console =
        Console { logfile: log.map(Path::to_path_buf), buffer_size, ..Console::default() };
    Config { console, ..Config::default() }
}

/// A console; also the end that the container would have open.
fn console(config: &Config, peer: Option<OwnedFd>) -> (Terminals, OwnedFd) {
    let pty = pty();
    let inside = pty.slave.try_clone().unwrap();
    let mut terminals = Terminals::new().unwrap();
    terminals.set_console(pty, Record::open(config).unwrap(), peer).unwrap();
    (terminals, inside)
}

fn serve_until(terminals: &mut Terminals, mut done: impl FnMut(&mut Terminals) -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done(terminals) {
        assert!(Instant::now() < end, "nothing happened");
        let pause = terminals.timeout().unwrap_or(Duration::MAX).min(Duration::from_millis(10));
        poll(terminals.as_fd(), Ready::READ, Some(Instant::now() + pause)).unwrap();
        terminals.serve().unwrap();
    }
}

fn read(from: BorrowedFd<'_>) -> Vec<u8> {
    let mut buf = [0; 256];
    match poll(from, Ready::READ, Some(Instant::now())).unwrap().read {
        true => stdstream::read(from, &mut buf).map_or(Vec::new(), |n| buf[..n].to_vec()),
        false => Vec::new(),
    }
}

fn write(to: &OwnedFd, bytes: &[u8]) {
    assert_eq!(stdstream::write(to.as_fd(), bytes).unwrap(), bytes.len());
}

#[test]
fn output_is_recorded_without_a_peer() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("console.log");
    let (mut t, inside) = console(&config(Some(&log), 4096), None);
    write(&inside, b"hello");
    serve_until(&mut t, |_| std::fs::read(&log).unwrap() == b"hello");
    // Not served yet, but asked for.
    write(&inside, b" world");
    let end = Instant::now() + Duration::from_secs(5);
    let mut all = Vec::new();
    while all.len() < 11 && Instant::now() < end {
        all.extend(t.console_log(true, false, 0, false).unwrap_or_default());
    }
    assert_eq!(all, b"hello world");
    assert_eq!(t.console_log(true, false, 0, false), Err(errno::ENODATA));
    write(&inside, b"!");
    // Let the line discipline hand it over, as the end of a container's processes does.
    crate::sys::event::sleep(Duration::from_millis(20));
    t.finish();
    assert_eq!(std::fs::read(&log).unwrap(), b"hello world!");
}

#[test]
fn a_terminal_shows_the_console() {
    let outer = pty();
    let size = WinSize { rows: 40, cols: 132 };
    term::set_winsize(outer.master.as_fd(), size).unwrap();
    let (mut t, inside) = console(&config(None, 0), Some(outer.slave.try_clone().unwrap()));
    assert_eq!(term::winsize(inside.as_fd()).unwrap(), size);
    write(&inside, b"login: ");
    let mut seen = Vec::new();
    serve_until(&mut t, |_| {
        seen.extend(read(outer.master.as_fd()));
        seen == b"login: "
    });
    write(&outer.master, b"\x03root");
    let mut seen = Vec::new();
    serve_until(&mut t, |_| {
        seen.extend(read(inside.as_fd()));
        seen == b"\x03root"
    });
    let size = WinSize { rows: 10, cols: 20 };
    term::set_winsize(outer.master.as_fd(), size).unwrap();
    t.resize();
    assert_eq!(term::winsize(inside.as_fd()).unwrap(), size);
    // It is taken, and when it goes away the console stays.
    assert_eq!(t.reserve(0, 7).unwrap_err(), errno::EBUSY);
    drop(outer);
    serve_until(&mut t, |t| t.reserve(0, 7).is_ok());
    t.finish();
}

#[test]
fn clients_share_the_console_one_after_the_other() {
    let (mut t, inside) = console(&config(None, 0), None);
    let (number, master) = t.reserve(0, 1).unwrap();
    assert_eq!(number, 0);
    assert_eq!(t.reserve(0, 2).unwrap_err(), errno::EBUSY);
    write(&inside, b"one");
    let mut seen = Vec::new();
    serve_until(&mut t, |_| {
        seen.extend(read(master.as_fd()));
        seen == b"one"
    });
    t.release(2);
    assert_eq!(t.reserve(0, 2).unwrap_err(), errno::EBUSY);
    t.release(1);
    let (_, master) = t.reserve(0, 2).unwrap();
    write(&master, b"two");
    let mut seen = Vec::new();
    serve_until(&mut t, |_| {
        seen.extend(read(inside.as_fd()));
        seen == b"two"
    });
    // Its pty is closed without a word to the monitor.
    drop(master);
    serve_until(&mut t, |t| t.reserve(0, 3).is_ok());
}

#[test]
fn a_client_that_does_not_read_does_not_stop_the_console() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("console.log");
    let (mut t, inside) = console(&config(Some(&log), 0), None);
    let (_, master) = t.reserve(0, 1).unwrap();
    stdstream::set_nonblocking(inside.as_fd()).unwrap();
    let mut sent = 0;
    let size = || std::fs::metadata(&log).unwrap().len();
    serve_until(&mut t, |_| {
        if sent < 300_000 {
            sent += stdstream::write(inside.as_fd(), &[b'x'; 512]).unwrap_or(0) as u64;
        }
        sent >= 300_000 && size() == sent
    });
    // When it reads again, it sees what comes.
    while !read(master.as_fd()).is_empty() {}
    let mut seen = Vec::new();
    serve_until(&mut t, |_| {
        drop(stdstream::write(inside.as_fd(), b"@"));
        seen.extend(read(master.as_fd()));
        seen.contains(&b'@')
    });
}

#[test]
fn ttys_are_lent_once() {
    let mut t = Terminals::new().unwrap();
    assert_eq!(t.reserve(-1, 1).unwrap_err(), errno::EBUSY);
    assert_eq!(t.reserve(0, 1).unwrap_err(), errno::ENODEV);
    t.set_ttys(vec![pty(), pty()]);
    assert_eq!(t.reserve(-1, 1).unwrap().0, 1);
    assert_eq!(t.reserve(1, 2).unwrap_err(), errno::EBUSY);
    assert_eq!(t.reserve(2, 2).unwrap().0, 2);
    assert_eq!(t.reserve(-1, 3).unwrap_err(), errno::EBUSY);
    for bad in [3, i32::MAX] {
        assert_eq!(t.reserve(bad, 3).unwrap_err(), errno::ENXIO);
    }
    t.release(1);
    assert_eq!(t.reserve(-5, 3).unwrap().0, 1);
    t.finish();
    assert_eq!(t.reserve(1, 4).unwrap_err(), errno::ENXIO);
}
