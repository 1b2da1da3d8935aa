//! lxc-execute: runs one command below our own small init.

use super::Applet;
use super::start::{close_inherited, defined, go, words};
use crate::container::Container;
use crate::container::start::Start;
use crate::runtime::daemon::Mode;
use crate::sys::process::{self, Wait};
use crate::sys::sealed;
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-execute", about: "runs a command in a container of its own", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    // What runs as process 1 is this very program.
    sealed::ensure_shared("lxc-execute")?;
    let mut all = defined(ctx, matches)?;
    for (option, key) in [("--uid", "lxc.init.uid"), ("--gid", "lxc.init.gid")] {
        if let Some(id) = get_text(ctx, matches, option.trim_start_matches('-'))? {
            all.push((format!("{key} = {id}"), option));
        }
    }
    let daemon = matches.get_flag("daemon");
    if daemon {
        close_inherited()?;
    }
    let start = Start {
        container: Container::new(ctx.lxcpath.clone(), ctx.name())?,
        rcfile: ctx.rcfile.clone(),
        defines: all,
        command: words(ctx)?,
        execute: true,
        quiet: ctx.quiet,
        mode: if daemon { Mode::Daemon } else { Mode::Foreground },
        pidfile: None,
    };
    let prepared = start.prepare()?;
    prepared.warnings.iter().for_each(|warning| ctx.warn(warning));
    // Unlike a start, this is a failure when the container runs already: COMMAND did not.
    match go(ctx, start, prepared)? {
        None => Ok(ExitCode::SUCCESS),
        Some(ended) => Ok(status(ended.how)),
    }
}

/// LXC's tool dies of the signal that ended the command, so that a shell sees it.
fn status(how: Wait) -> ExitCode {
    if let Wait::Signaled(signal) = how {
        let _ = crate::sys::signal::unblock_all();
        let _ = process::kill(process::own_pid(), signal);
    }
    ExitCode::from(how.exit_code())
}
