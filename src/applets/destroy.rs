//! lxc-destroy.

use super::Applet;
use crate::container::destroy::{self, Options};
use crate::ui::command::ArgMatches;
use crate::ui::progress::Removals;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-destroy", about: "removes a container and its root file system", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let container = super::container(ctx)?;
    let [force, snapshots] = ["force", "snapshots"].map(|id| matches.get_flag(id));
    let removals = Removals::show(ctx.quiet);
    let done = destroy::destroy(&container, Options { force, snapshots });
    drop(removals);
    let done = done.map_err(|e| {
        let signal = e.interrupted();
        super::interrupted_or(e, signal)
    })?;
    done.notes.iter().for_each(|note| ctx.warn(note));
    Ok(ExitCode::SUCCESS)
}
