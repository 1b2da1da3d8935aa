//! lxc-console.

use super::Applet;
use crate::container::console::{self, End};
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, report};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-console", about: "connects to a terminal of a running container", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let number = match get_text(ctx, matches, "tty")? {
        Some(text) => text.trim().parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
            Failure::usage(ctx.prog, format!("-t: \"{text}\" is not the number of a tty"))
        })?,
        None => -1,
    };
    let text = get_text(ctx, matches, "escape")?.unwrap_or("^a");
    let letter = escape_letter(text).ok_or_else(|| {
        Failure::usage(ctx.prog, format!("-e: \"{text}\" is not a letter, nor ^ and a letter"))
    })?;
    let session = console::open(&super::container(ctx)?, number)?;
    log::info!("connected to tty {}", session.number());
    tell(
        ctx,
        &format!(
            "\nConnected to tty {}\nType <Ctrl+{letter} q> to exit the console, \
         <Ctrl+{letter} Ctrl+{letter}> to enter Ctrl+{letter} itself",
            session.number()
        ),
    );
    let escape = u8::try_from(letter).unwrap_or(b'a') & 0x1f;
    match session.run(escape)? {
        End::Escape | End::Container | End::Caller => {
            // The container's last line is seldom complete.
            tell(ctx, "");
            Ok(ExitCode::SUCCESS)
        }
        End::Signal(signo) => {
            tell(ctx, "");
            Err(Failure::silent(u8::try_from(128 + signo).unwrap_or(1)))
        }
    }
}

fn tell(ctx: &Context, text: &str) {
    if !ctx.quiet {
        report::stderr_line(text);
    }
}

/// The letter of `^a`, `a`, `^A` or `A`, in lower case.
fn escape_letter(text: &str) -> Option<char> {
    let letter = text.strip_prefix('^').unwrap_or(text);
    let mut chars = letter.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii_alphabetic() => Some(c.to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for (text, letter) in [("^a", 'a'), ("b", 'b'), ("^Z", 'z'), ("C", 'c')] {
            assert_eq!(escape_letter(text), Some(letter));
        }
        for bad in ["", "^", "ab", "^ab", "1", "^[", "é"] {
            assert_eq!(escape_letter(bad), None, "{bad}");
        }
    }
}
