//! lxc-logs: what a container has said.

use super::Applet;
use crate::container::info::{self, State};
use crate::container::logs::{self, Source, Sources};
use crate::sys::{SysError, fd};
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-logs", about: "prints what a container's console and log have", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let container = super::container(ctx)?;
    let lines = get_text(ctx, matches, "lines")?;
    let wrong = |text| Failure::usage(ctx.prog, format!("--lines: \"{text}\" is not a number"));
    let lines = lines.map(|text| text.parse::<u64>().map_err(|_| wrong(text))).transpose()?;
    if !container.has_config() && info::state(&container.client())? == State::Stopped {
        return Err(super::unknown());
    }
    if matches.get_flag("clear") {
        logs::clear(&container)?;
        return Ok(ExitCode::SUCCESS);
    }
    let [follow, console, log] = ["follow", "console", "log"].map(|id| matches.get_flag(id));
    let Sources { console: of_console, log: of_log, unknown } = logs::sources(&container)?;
    let both = console == log;
    let of_console = of_console.filter(|_| both || console);
    let of_log = of_log.filter(|_| both || log);
    let mut all: Vec<(&str, Source)> = Vec::new();
    all.extend(of_console.map(|source| ("console", source)));
    all.extend(of_log.map(|source| ("log", source)));
    match (all.is_empty(), unknown) {
        (true, Some(why)) => return Err(why.into()),
        (true, None) => return Err(nothing(ctx, console, log)),
        // What the files have can be read all the same.
        (false, Some(why)) => ctx.warn_error(&why),
        (false, None) => {}
    }
    if follow {
        all.truncate(1);
    }
    let several = all.len() > 1;
    let terminal = std::io::stdout().is_terminal();
    for (what, source) in all {
        if several {
            out::line(&format!("==> {what} <=="))?;
        }
        let mut sink = |bytes: &[u8]| -> Result<(), SysError> {
            match terminal {
                true => fd::write_all(fd::borrow(1), &harmless(bytes)),
                false => fd::write_all(fd::borrow(1), bytes),
            }
        };
        match logs::show(&container, &source, lines, follow, &mut sink) {
            // The reader has what it wants.
            Err(e) if crate::util::blame::Explain::errno(&e) == Some(crate::sys::errno::EPIPE) => {
                return Ok(ExitCode::SUCCESS);
            }
            done => done?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn nothing(ctx: &Context, console: bool, log: bool) -> Failure {
    let (what, key) = match (console, log) {
        (true, false) => ("its console is not recorded", "lxc.console.buffer.size auto"),
        (false, true) => ("it has no log", "lxc.log.file FILE"),
        _ => ("its console is not recorded, and it has no log", "lxc.console.buffer.size auto"),
    };
    Failure::new(what).hint(format!("lxc-config set -n {} {key}, for the next start", ctx.name()))
}

/// What comes from a container must not steer the terminal of the host.
fn harmless(bytes: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(bytes.len());
    for letter in String::from_utf8_lossy(bytes).chars() {
        match letter {
            '\n' | '\t' => out.push(letter),
            '\r' | '\u{80}'..='\u{9f}' => {}
            '\0'..='\x1f' | '\x7f' => out.extend(['^', char::from(letter as u8 ^ 0x40)]),
            letter => out.push(letter),
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_reaches_a_terminal() {
        assert_eq!(harmless(b"a\x1b[2J\r\n\tb\x7f\xc3\xa9\xc2\x9b"), b"a^[[2J\n\tb^?\xc3\xa9");
    }
}
