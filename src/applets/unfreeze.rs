//! lxc-unfreeze.

use super::Applet;
use crate::container::info::{self, State};
use crate::container::power;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-unfreeze", about: "lets a frozen container run again", run };

/// A container that does not run has nothing frozen: success, as in LXC.
fn run(ctx: &Context, _: &ArgMatches) -> Result<ExitCode, Failure> {
    let container = super::container(ctx)?;
    if info::state(&container.client())? == State::Stopped && container.has_config() {
        return Ok(ExitCode::SUCCESS);
    }
    power::unfreeze(&container)?;
    Ok(ExitCode::SUCCESS)
}
