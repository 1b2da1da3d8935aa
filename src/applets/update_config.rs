//! lxc-update-config: a configuration of LXC 1 or 2 in today's keys.

use super::Applet;
use crate::config::update_file;
use crate::ui::args::get;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-update-config",
    about: "rewrites a configuration of LXC 1 or 2 in today's keys",
    run,
};

/// As LXC's tool it takes none of the common options and prints its help on standard output.
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
