//! lxc-cgroup.

use super::Applet;
use crate::container::live::Cgroups;
use crate::ui::args::quoted;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-cgroup",
    about: "prints or sets a cgroup value of a running container",
    run,
};

fn run(ctx: &Context, _: &ArgMatches) -> Result<ExitCode, Failure> {
    let words: Vec<String> =
        ctx.rest.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (object, value) = match words.as_slice() {
        [] => return Err(Failure::usage(ctx.prog, "Missing state object")),
        [object] => (object, None),
        [object, value] => (object, Some(value)),
        [_, _, extra, ..] => {
            let extra = quoted(extra.as_ref());
            return Err(Failure::usage(ctx.prog, format!("unexpected argument {extra}")));
        }
    };
    let cgroups = Cgroups::open(&super::container(ctx)?)?;
    match value {
        // The file's own newline and one more, as LXC has it.
        None => out::line(&cgroups.get(object)?)?,
        Some(value) => cgroups.set(object, value)?,
    }
    Ok(ExitCode::SUCCESS)
}
