//! lxc-init: process 1 of a container that has none. Runs inside the container.

use super::Applet;
use crate::runtime::init;
use crate::ui::args::{flag, rest, shared_unnamed};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-init",
    about: "process 1 of a container: runs a command and reaps what it leaves",
    command,
    run,
};

fn command() -> Command {
    shared_unnamed(
        Command::new(APPLET.name)
            .arg(
                flag("system", "system")
                    .help("no command: shells on the console and terminals, /etc/rc.local at boot"),
            )
            .arg(rest("COMMAND"))
            .after_help(
                "Without --system: COMMAND runs in a session of its own; SIGTERM and SIGPWR end \
                 all processes,\nother signals are passed on to COMMAND; the exit status is \
                 COMMAND's, or 128 plus the signal\nthat ended it, or 255 if it cannot be run.\n\
                 With --system: SIGPWR and SIGTERM halt, SIGINT reboots.",
            ),
    )
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if matches.get_flag("system") {
        return Ok(ExitCode::from(init::system::run()?));
    }
    if ctx.rest.is_empty() {
        return Err(Failure::usage(ctx.prog, "missing a command to execute"));
    }
    let env: Vec<_> = std::env::vars_os().collect();
    Ok(ExitCode::from(init::command::run(&ctx.rest, &env)?))
}
