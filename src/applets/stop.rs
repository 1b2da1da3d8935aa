//! lxc-stop.

use super::Applet;
use crate::container::Container;
use crate::container::guest::Request;
use crate::container::info::{self, State};
use crate::container::power::{self, Asked, PowerError};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, report};
use crate::util::time::Patience;
use std::process::ExitCode;
use std::time::Duration;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-stop", about: "shuts a container down, reboots or kills it", run };

/// How long a container has to halt unless told otherwise.
const DEFAULT_SECONDS: i64 = 60;
/// After this long it is said what we wait for.
const QUIET: Duration = Duration::from_secs(2);
/// What LXC returns for a container that does not run.
const NOT_RUNNING: u8 = 2;

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let [reboot, nowait, kill, nokill, nolock] =
        ["reboot", "nowait", "kill", "nokill", "nolock"].map(|id| matches.get_flag(id));
    let timeout = super::seconds(ctx, matches, "timeout")?;
    let conflict = [
        (timeout.is_some_and(|t| t < -1), "invalid timeout"),
        (nolock && !kill, "--nolock may only be used with -k"),
        (kill && nokill, "-k can't be used with --nokill"),
        (kill && reboot, "-k can't be used with -r"),
        (kill && timeout.is_some_and(|t| t != 0), "-k doesn't allow timeouts"),
    ];
    if let Some((_, text)) = conflict.into_iter().find(|(there, _)| *there) {
        return Err(Failure::usage(ctx.prog, text));
    }
    let container = super::container(ctx)?;
    let client = container.client();
    let not_running = || Failure::new("container is not running").status(NOT_RUNNING);
    if kill {
        return match power::kill_running(&client, Patience::Forever) {
            Err(e) if e.is_not_running() => Err(not_running()),
            done => Ok(done.map(|_| ExitCode::SUCCESS)?),
        };
    }
    let state = info::state(&client)?;
    if state == State::Stopped {
        return Err(not_running());
    }
    let seconds = if nowait { 0 } else { timeout.unwrap_or(DEFAULT_SECONDS) };
    if state == State::Frozen {
        // A frozen init would hear the signal after the timeout only.
        ctx.warn("the container is frozen; letting it run so that it can halt");
        power::unfreeze(&container)?;
    }
    let request = if reboot { Request::Reboot } else { Request::Halt };
    let patience = Patience::seconds(seconds);
    let asked = match power::ask(&container, request, patience) {
        // It ended meanwhile, or does so now.
        Err(e) if e.is_not_running() && !reboot => {
            return match power::wait(&container, &[State::Stopped], patience)? {
                false if seconds != 0 => {
                    Err(Failure::new(format!("it is still STOPPING after {seconds} seconds")))
                }
                _ => Ok(ExitCode::SUCCESS),
            };
        }
        asked => asked?,
    };
    if seconds == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    match wait(ctx, &container, asked) {
        Err(e @ PowerError::TooSlow { .. }) if !reboot && !nokill => {
            power::kill(&client, Patience::Forever)?;
            ctx.warn(&format!("{}; it was killed", report::sentence(&e)));
            Ok(ExitCode::SUCCESS)
        }
        done => {
            done?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Waits, and after a while says for whom.
fn wait(ctx: &Context, container: &Container, asked: Asked) -> Result<(), PowerError> {
    let text = asked.describe();
    asked.wait_telling(container, QUIET, || {
        if !ctx.quiet {
            report::say(ctx.prog, Some(container.name()), &text);
        }
    })
}
