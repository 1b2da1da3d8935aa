//! lxc-freeze.

use super::Applet;
use crate::container::power;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-freeze",
    about: "stops all processes of a container without ending them",
    run,
};

fn run(ctx: &Context, _: &ArgMatches) -> Result<ExitCode, Failure> {
    power::freeze(&super::container(ctx)?)?;
    Ok(ExitCode::SUCCESS)
}
