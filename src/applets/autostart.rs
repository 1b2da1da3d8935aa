//! lxc-autostart.

use super::Applet;
use super::start::close_inherited;
use crate::config::Readiness;
use crate::container::autostart::plan::{self, Action, Plan, Role, Selection};
use crate::container::autostart::run::{self, How, News, Outcome, Tally};
use crate::container::autostart::survey;
use crate::sys::{cred, sealed};
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out, report};
use crate::util::time::{Patience, seconds};
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-autostart",
    about: "starts, reboots or stops the containers that are marked for it",
    run,
};

/// How long each container may take to start, and all together to stop.
const DEFAULT_SECONDS: i64 = 60;
/// Starts at the same time for each processor: a start waits for the kernel half of its time.
const JOBS_PER_CPU: usize = 2;
/// Some of the containers failed.
const SOME: u8 = 2;

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if ctx.container.is_some() {
        return Err(Failure::usage(ctx.prog, "works on all containers of a path, not on one"));
    }
    let [list, dry_run, all] = ["list", "dry-run", "all"].map(|id| matches.get_flag(id));
    let action = match ["shutdown", "kill", "reboot"].map(|id| matches.get_flag(id)) {
        [true, _, _] => Action::Shutdown,
        [_, true, _] => Action::Kill,
        [_, _, true] => Action::Reboot,
        _ => Action::Start,
    };
    let how = how(ctx, matches, action)?;
    let mut lists = Vec::new();
    for text in matches.get_many("groups") {
        lists.push(text.to_str().ok_or_else(|| Failure::new("-g is not UTF-8"))?);
    }
    if all && !lists.is_empty() {
        ctx.warn("-a means all groups; -g has no effect beside it");
    }
    let selection = Selection {
        action,
        groups: plan::groups(lists.into_iter()),
        all,
        ignore_auto: matches.get_flag("ignore-auto"),
    };
    let acts = !list && !dry_run;
    if acts {
        close_inherited()?;
    }
    if acts && cred::euid() == 0 {
        // As lxc-start: out of reach of the containers, and the monitors share it.
        sealed::ensure_shared(APPLET.name)?;
    } else if acts {
        // The processes that look into containers must not execute this program anew.
        sealed::ensure(APPLET.name)?;
    }
    let mut candidates = survey(&ctx.lxcpath)?;
    if how.patience == Patience::For(Duration::ZERO) {
        candidates.iter_mut().for_each(|one| one.start.ready = Readiness::Running);
    }
    let plan = Plan::new(&selection, &candidates);
    plan.warnings.iter().for_each(|text| ctx.warn(text));
    if list {
        return print_list(ctx, &plan, action);
    }
    if dry_run {
        out::line(describe(&plan, &how).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let tally = run::run(&ctx.lxcpath, &plan, how, &mut |news| tell(ctx, news))?;
    Ok(match tally {
        Tally { failed: 0, .. } => ExitCode::SUCCESS,
        Tally { good: 0, .. } => ExitCode::FAILURE,
        _ => ExitCode::from(SOME),
    })
}

fn how(ctx: &Context, matches: &ArgMatches, action: Action) -> Result<How, Failure> {
    let seconds = super::seconds(ctx, matches, "timeout")?.unwrap_or(DEFAULT_SECONDS);
    if seconds < -1 {
        return Err(Failure::usage(ctx.prog, "invalid timeout"));
    }
    let jobs = match get_text(ctx, matches, "jobs")? {
        Some(text) => match text.parse() {
            Ok(jobs) if jobs > 0 => run::WORKERS.min(jobs),
            _ => {
                let text = format!("--jobs: \"{text}\" is not a number of containers");
                return Err(Failure::usage(ctx.prog, text));
            }
        },
        // They only wait.
        None if action.ends() => run::WORKERS,
        None => crate::sys::process::cpus() * JOBS_PER_CPU,
    };
    let patience = Patience::seconds(seconds);
    Ok(How { action, jobs, patience })
}

/// LXC's lines: the name, and for what starts the delay.
fn print_list(ctx: &Context, plan: &Plan, action: Action) -> Result<ExitCode, Failure> {
    let mut out = out::Out::new();
    for node in &plan.nodes {
        match &node.role {
            Role::Act if action.ends() => out.line(&node.name)?,
            Role::Act => out.line(&format!("{} {}", node.name, node.delay.as_secs()))?,
            Role::Refuse(why) => ctx.warn_about(&node.name, why),
            Role::Await => {}
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// The plan for a person: a line for each wave, and one for each container in it.
fn describe(plan: &Plan, how: &How) -> String {
    let mut text = String::new();
    let time = match how.patience {
        Patience::Forever => "as long as it takes".to_owned(),
        patience if how.action.ends() => format!("{} seconds for all", patience.whole_seconds()),
        patience => format!("{} seconds for each", patience.whole_seconds()),
    };
    let verb = how.action.name();
    let _ = writeln!(text, "{verb}: at most {} at the same time, {time}", how.jobs);
    let mut wave = None;
    for node in &plan.nodes {
        if wave != Some(node.wave) {
            if wave.is_some() {
                text.push_str("then\n");
            }
            wave = Some(node.wave);
        }
        let _ = write!(text, "  {}", node.name);
        match &node.role {
            Role::Act => {}
            Role::Await => text.push_str(": runs already"),
            Role::Refuse(why) => {
                let _ = write!(text, ": refused: {why}");
            }
        }
        for (n, &other) in node.after.iter().enumerate() {
            let name = plan.nodes.get(other).map_or("", |node| node.name.as_str());
            let _ = write!(text, "{}{name}", if n == 0 { " after " } else { ", " });
        }
        let _ = match &node.ready {
            Readiness::Running => Ok(()),
            Readiness::Address => write!(text, "; ready with an address"),
            Readiness::Notify => write!(text, "; ready when it says so"),
            Readiness::Command(line) => write!(text, "; ready when '{line}' succeeds"),
        };
        if !node.delay.is_zero() {
            let _ = write!(text, "; then {} seconds of delay", node.delay.as_secs());
        }
        text.push('\n');
    }
    text
}

/// A line on standard output for what is done with a container, on standard error for the rest.
fn tell(ctx: &Context, news: &News<'_>) {
    match news {
        News::Warning(name, text) => ctx.warn_about(name, text),
        News::Done(name, outcome, took) => {
            if let Outcome::Killed(why) = outcome {
                ctx.warn_about(name, &format!("{why}; it was killed"));
            }
            if let Outcome::Failed(text, hint) = outcome {
                log::error!("{name}: {text}");
                if !ctx.quiet {
                    report::say(ctx.prog, Some(name), text);
                    if let Some(hint) = hint {
                        report::stderr_line(&format!("hint: {hint}"));
                    }
                }
            }
            let line = summary(name, outcome, *took);
            log::info!("{line}");
            if !ctx.quiet {
                // A reader that went away is no reason to stop half way.
                let _ = out::line(&line);
            }
        }
    }
}

fn summary(name: &str, outcome: &Outcome, took: Duration) -> String {
    let word = match outcome {
        Outcome::Started => "started",
        Outcome::Ready => "ready",
        Outcome::Rebooted => "rebooted",
        Outcome::Asked => "asked to stop",
        Outcome::Stopped => "stopped",
        Outcome::Killed(_) => "killed",
        Outcome::Failed(..) => "failed",
    };
    format!("{name}: {word} ({} s)", seconds(took))
}
