//! lxc-config: the settings of the host, from lxc.conf.

use super::Applet;
use crate::config::path::SYSTEM_KEYS;
use crate::ui::args::{flag, rest};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::{Context, Failure, out};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-config",
    about: "prints the settings of the host out of lxc.conf",
    command,
    run,
};

/// As LXC's tool it takes none of the common options and prints its help on standard output.
fn command() -> Command {
    Command::new(APPLET.name)
        .arg(flag("list", "list").short('l').help("list all settings"))
        .arg(flag("help", "help").short('h').help("print the usage and exit"))
        .arg(rest("KEY"))
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if matches.get_flag("list") {
        let mut out = out::Out::new();
        for row in SYSTEM_KEYS.iter().filter(|row| row.listed) {
            out.line(row.name)?;
        }
        out.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = match ctx.rest.first() {
        Some(key) if !matches.get_flag("help") => key.to_string_lossy(),
        _ => {
            out::line("Usage: lxc-config -l: list all available configuration items")?;
            out::line("       lxc-config item: print configuration item")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let Some(row) = SYSTEM_KEYS.iter().find(|row| row.name == key) else {
        // On standard output, as LXC has it: scripts look there.
        out::line(&format!("Unknown configuration item: {key}"))?;
        return Ok(ExitCode::FAILURE);
    };
    match crate::container::system()?.get(row.key) {
        Some(value) => out::line(&value)?,
        None => out::line(&format!("{key} is not set."))?,
    }
    Ok(ExitCode::SUCCESS)
}
