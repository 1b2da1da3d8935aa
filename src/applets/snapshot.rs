//! lxc-snapshot: takes, lists, restores and destroys snapshots.

use super::Applet;
use crate::container::Container;
use crate::container::copy::CopyError;
use crate::container::{restore, snapshot};
use crate::sys::copy::Copied;
use crate::ui::args::{get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::out::Out;
use crate::ui::progress::{Progress, Removals};
use crate::ui::{Context, Failure};
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-snapshot",
    about: "takes, lists, restores or destroys snapshots of a container",
    run,
};

/// What `-d` takes for all of them.
const ALL: &str = "ALL";

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let container = Container::new(ctx.lxcpath.clone(), ctx.name())?;
    if ctx.rest.len() > 1 {
        return Err(Failure::usage(ctx.prog, "Too many arguments"));
    }
    let _removals = Removals::show(ctx.quiet);
    let mut progress = Progress::new(ctx.quiet);
    let mut show = |done: &Copied| progress.show(done.objects, done.bytes);
    let notes = if matches.get_flag("list") {
        return list(&super::container(ctx)?, matches.get_flag("showcomments"));
    } else if let Some(name) = get_text(ctx, matches, "destroy")? {
        destroy(&container, name).map_err(failure)?
    } else if let Some(name) = get_text(ctx, matches, "restore")? {
        let new = match get_text(ctx, matches, "newname")? {
            Some(new) => Some(new),
            None => ctx.rest.first().and_then(|word| word.to_str()),
        };
        let target = match new {
            Some(new) => Container::new(ctx.lxcpath.clone(), new)?,
            None => container.clone(),
        };
        restore::restore(&container, name, &target, &mut show).map_err(failure)?.notes
    } else if let Some(extra) = ctx.rest.first() {
        let extra = crate::ui::args::quoted(extra);
        return Err(Failure::usage(ctx.prog, format!("unexpected argument {extra}")));
    } else {
        let comment = get(matches, "comment").map(Path::new);
        let source = super::container(ctx)?;
        snapshot::take(&source, comment, &mut show).map_err(failure)?.1.notes
    };
    drop(progress);
    notes.iter().for_each(|note| ctx.warn(note));
    Ok(ExitCode::SUCCESS)
}

fn failure(error: CopyError) -> Failure {
    let signal = error.interrupted();
    super::interrupted_or(error, signal)
}

fn destroy(container: &Container, name: &str) -> Result<Vec<String>, CopyError> {
    if name != ALL {
        return snapshot::destroy(container, name);
    }
    let mut notes = Vec::new();
    for one in snapshot::list(container)? {
        notes.extend(snapshot::destroy(container, &one.name)?);
    }
    Ok(notes)
}

fn list(container: &Container, comments: bool) -> Result<ExitCode, Failure> {
    let mut out = Out::new();
    let all = snapshot::list(container)?;
    if all.is_empty() {
        out.line("No snapshots")?;
    }
    for one in all {
        out.line(&format!("{} ({}) {}", one.name, one.dir.display(), one.stamp))?;
        if let Some(comment) = one.comment.filter(|_| comments) {
            out.text(&comment)?;
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}
