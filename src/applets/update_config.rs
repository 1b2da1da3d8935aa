//! lxc-update-config: a configuration of LXC 1 or 2 in today's keys.

use super::Applet;
use crate::config::update_file;
use crate::ui::args::{flag, get, value};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::{Context, Failure, out};
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-update-config",
    about: "rewrites a configuration of LXC 1 or 2 in today's keys",
    command,
    run,
};

/// As LXC's tool it takes none of the common options and prints its help on standard output.
fn command() -> Command {
    Command::new(APPLET.name)
        .arg(value("config", "config", "FILE").short('c').help("the file; FILE.backup keeps the old"))
        .arg(flag("help", "help").short('h').help("print the usage and exit"))
}

fn run(_: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let file = get(matches, "config").filter(|_| !matches.get_flag("help"));
    // A word that is no option has been refused already: without -c there is nothing at all.
    let Some(file) = file else {
        out::line("Usage: lxc-update-config -h|--help [-c|--config]")?;
        out::line("config: the container configuration to update")?;
        return Ok(ExitCode::SUCCESS);
    };
    update_file(Path::new(file))?;
    Ok(ExitCode::SUCCESS)
}
