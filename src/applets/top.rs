//! lxc-top: on a terminal until `q`, or as lines of CSV or JSON. What a line looks like is in
//! `top/table.rs`.

mod table;

use self::table::{Key, Screen};
use super::Applet;
use crate::container::info::Meter;
use crate::container::usage::{self, User};
use crate::sys::event::{self, SignalFd, Watch, signal_bit};
use crate::sys::term::{self, RawMode, WinSize};
use crate::sys::{fd, process, signal, stdstream};
use crate::ui::args::{Format, get_format, get_text, lxcpaths, pattern};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use crate::util::ere::Ere;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-top", about: "shows what the running containers use", run };

const DELAY: i64 = 3;
const BATCH_DELAY: i64 = 300;
/// HUP, INT, QUIT, TERM, TSTP, WINCH.
const SIGNALS: [i32; 6] = [1, 2, 3, 15, TSTP, WINCH];
const TSTP: i32 = 20;
const WINCH: i32 = 28;

/// Where to look.
struct Look {
    paths: Vec<PathBuf>,
    only: Option<Ere>,
    meter: Meter,
}

impl Look {
    fn users(&mut self) -> Result<Vec<User>, Failure> {
        let mut users = Vec::new();
        for path in &self.paths {
            users.extend(usage::users(path, self.only.as_ref(), &mut self.meter)?);
        }
        Ok(users)
    }
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let usage = |text: String| Failure::usage(ctx.prog, text);
    let format = get_format(ctx, matches)?;
    let (batch, once) = (matches.get_flag("batch"), matches.get_flag("once"));
    if (once || format == Format::Json) && !batch {
        return Err(usage("--once and --format belong to -b".into()));
    }
    let default = if batch { BATCH_DELAY } else { DELAY };
    let seconds = super::seconds(ctx, matches, "delay")?.unwrap_or(default);
    let delay = match u32::try_from(seconds) {
        Ok(seconds @ 1..) => Duration::from_secs(seconds.into()),
        _ => return Err(usage(format!("-d: \"{seconds}\" is no number of seconds"))),
    };
    let sort = match get_text(ctx, matches, "sort")? {
        None => Key::Name,
        Some(text) => {
            let mut letters = text.bytes();
            let key = letters.next().and_then(Key::of).filter(|_| letters.next().is_none());
            key.ok_or_else(|| usage(format!("-s: \"{text}\" is none of n, c, b, m, s, k")))?
        }
    };
    let only = pattern(ctx, matches)?;
    let mut look = Look { paths: lxcpaths(ctx, matches), only, meter: Meter::default() };
    let mut screen = Screen { sort, reverse: matches.get_flag("reverse") };
    match batch {
        true => lines(ctx, &mut look, &screen, format, (!once).then_some(delay)),
        false => live(&mut look, &mut screen, delay),
    }
}

fn lines(
    ctx: &Context,
    look: &mut Look,
    screen: &Screen,
    format: Format,
    delay: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let mut out = out::Out::new();
    let mut told: Vec<String> = Vec::new();
    if format == Format::Text {
        out.line(table::CSV_HEADER)?;
    }
    loop {
        let mut users = look.users()?;
        screen.order(&mut users);
        for User { name, usage } in &users {
            match usage {
                Err(text) if !told.contains(name) => {
                    ctx.warn_about(name, text);
                    told.push(name.clone());
                }
                Ok(_) => told.retain(|other| other != name),
                Err(_) => {}
            }
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        match format {
            Format::Text => users.iter().try_for_each(|user| out.line(&table::csv(now, user)))?,
            Format::Json => out.line(&table::json(now, &users).pretty())?,
        }
        out.flush()?;
        let Some(delay) = delay else {
            // As in lxc-ls: the list is not whole.
            return Ok(ExitCode::from(u8::from(!told.is_empty())));
        };
        event::sleep(delay);
    }
}

/// What ends or wakes a wait for the next look.
enum Woken {
    Time,
    Redraw,
    End(ExitCode),
}

fn live(look: &mut Look, screen: &mut Screen, delay: Duration) -> Result<ExitCode, Failure> {
    let input = fd::borrow(0);
    if !term::is_tty(input) {
        return Err(Failure::new("standard input is no terminal")
            .hint("lxc-top -b prints lines for a file or a program"));
    }
    let mask = signal::block(&SIGNALS)?;
    let set = SIGNALS.iter().fold(0, |set, signo| set | signal_bit(*signo));
    let signals = SignalFd::new(set)?;
    let keys = RawMode::enter_keys(input)?;
    let done = (|| {
        let mut users = look.users()?;
        let mut next = Instant::now() + delay;
        loop {
            screen.order(&mut users);
            show(&screen.lines(&users, size()))?;
            match wait(&keys, &signals, &mask, screen, next)? {
                Woken::Redraw => {}
                Woken::End(status) => return Ok(status),
                Woken::Time => {
                    users = look.users()?;
                    next = Instant::now() + delay;
                }
            }
        }
    })();
    drop(keys);
    signal::restore(&mask)?;
    // The shell's prompt comes below the table.
    drop(out::line(""));
    done
}

fn size() -> WinSize {
    let known = [1, 0].into_iter().find_map(|stream| term::winsize(fd::borrow(stream)).ok());
    known.filter(|size| size.rows > 0 && size.cols > 0).unwrap_or(WinSize { rows: 24, cols: 80 })
}

/// Home, the lines (each clears the rest of what was there), and nothing below.
fn show(lines: &[String]) -> Result<(), Failure> {
    let mut out = out::Out::new();
    out.text("\x1b[H")?;
    out.text(&lines.join("\x1b[K\n"))?;
    out.text("\x1b[K\x1b[J")?;
    out.finish()
}

fn wait(
    keys: &RawMode,
    signals: &SignalFd,
    mask: &signal::Mask,
    screen: &mut Screen,
    next: Instant,
) -> Result<Woken, Failure> {
    let input = fd::borrow(0);
    let watch = |fd| Some(Watch { fd, read: true, write: false });
    let left = next.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(Woken::Time);
    }
    let ready = event::poll_all(&[watch(signals.as_fd()), watch(input)], Some(left))?;
    while let (true, Some(info)) = (ready & 1 != 0, signals.read()?) {
        match info.signo {
            WINCH => {}
            TSTP => {
                // The shell gets its terminal as it was. The signal comes once more and stops us,
                // if there is somebody to continue us, when it is not blocked.
                keys.restore()?;
                process::kill(process::own_pid(), TSTP)?;
                signal::restore(mask)?;
                signal::block(&SIGNALS)?;
                keys.again()?;
            }
            // The keys that end it, as in LXC: no failure.
            2 | 3 => return Ok(Woken::End(ExitCode::SUCCESS)),
            signo => {
                return Ok(Woken::End(ExitCode::from(u8::try_from(128 + signo).unwrap_or(1))));
            }
        }
    }
    if ready & 2 != 0 {
        let mut typed = [0; 64];
        let n = stdstream::read(input, &mut typed)?;
        if n == 0 {
            return Ok(Woken::End(ExitCode::SUCCESS));
        }
        for key in &typed[..n] {
            match (*key, Key::of(*key)) {
                (b'q', _) => return Ok(Woken::End(ExitCode::SUCCESS)),
                (b'r', _) => screen.reverse = !screen.reverse,
                (_, Some(key)) => screen.sort = key,
                _ => {}
            }
        }
    }
    Ok(Woken::Redraw)
}
