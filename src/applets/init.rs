//! lxc-init: process 1 of a container that has none. Runs inside the container.

use super::Applet;
use crate::runtime::init;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-init",
    about: "process 1 of a container: runs a command and reaps what it leaves",
    run,
};

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if matches.get_flag("system") {
        return Ok(ExitCode::from(init::system::run()?));
    }
    if ctx.rest.is_empty() {
        return Err(Failure::usage(ctx.prog, "missing a command to execute"));
    }
    let env: Vec<_> = std::env::vars_os().collect();
    Ok(ExitCode::from(init::command::run(&ctx.rest, &env, ctx.quiet)?))
}
