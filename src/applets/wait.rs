//! lxc-wait.

use super::Applet;
use crate::container::info::State;
use crate::container::power;
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use crate::util::time::Patience;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-wait", about: "waits for a state of a container", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some(text) = get_text(ctx, matches, "state")? else {
        return Err(Failure::usage(ctx.prog, "missing state option to wait for"));
    };
    // As in LXC a separator too many is none. No state at all would be waited for for ever.
    let words: Vec<&str> = text.split('|').filter(|word| !word.trim().is_empty()).collect();
    if words.is_empty() {
        return Err(Failure::usage(ctx.prog, "missing state option to wait for"));
    }
    let states: Vec<State> = words
        .into_iter()
        .map(|word| {
            let state = State::parse(word.trim());
            state.ok_or_else(|| Failure::usage(ctx.prog, format!("invalid state \"{word}\"")))
        })
        .collect::<Result<_, _>>()?;
    let seconds = super::seconds(ctx, matches, "timeout")?.unwrap_or(-1);
    let container = super::container(ctx)?;
    let reached = power::wait(&container, &states, Patience::seconds(seconds))?;
    // A timeout is an answer, not a failure to be explained.
    if reached { Ok(ExitCode::SUCCESS) } else { Err(Failure::silent(1)) }
}
