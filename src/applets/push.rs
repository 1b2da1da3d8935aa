//! lxc-push: files of the host into a container.

use super::Applet;
use crate::container::Container;
use crate::container::live::LiveError;
use crate::container::transfer::{self, Options};
use crate::sys::copy::Copied;
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::progress::Progress;
use crate::ui::{Context, Failure};
use crate::util::quote::quoted;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-push",
    about: "copies files into a container, whether it runs or not",
    run,
};

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let number = |id: &str, radix: u32, max: u32| {
        let text = get_text(ctx, matches, id)?;
        let parse = |text: &str| u32::from_str_radix(text, radix).ok().filter(|n| *n <= max);
        let wrong = |text| Failure::usage(ctx.prog, format!("--{id}: \"{text}\" is not possible"));
        text.map(|text| parse(text).ok_or_else(|| wrong(text))).transpose()
    };
    let options = Options {
        uid: number("uid", 10, u32::MAX - 1)?,
        gid: number("gid", 10, u32::MAX - 1)?,
        mode: number("mode", 8, 0o7777)?,
        ..options(matches)
    };
    let Some((target, sources @ [_, ..])) = ctx.rest.split_last() else {
        return Err(Failure::usage(ctx.prog, "what to copy and where to: SOURCE... TARGET"));
    };
    let container = Container::new(ctx.lxcpath.clone(), ctx.name())?;
    let mut progress = Progress::new(ctx.quiet);
    let mut show = |done: &Copied| progress.show(done.objects, done.bytes);
    let done = transfer::push(&container, sources, target, options, &mut show);
    drop(progress);
    end(ctx, done)
}

/// What the flags say.
pub(super) fn options(matches: &ArgMatches) -> Options {
    Options {
        recursive: matches.get_flag("recursive"),
        parents: matches.get_flag("create-dirs"),
        archive: matches.get_flag("archive"),
        ..Options::default()
    }
}

/// Tells what was left out, which is a failure of its own.
pub(super) fn end(ctx: &Context, done: Result<Copied, LiveError>) -> Result<ExitCode, Failure> {
    let done = done.map_err(|error| {
        let signal = error.interrupted();
        super::interrupted_or(error, signal)
    })?;
    for path in &done.mounts {
        ctx.warn(&format!(
            "{} is another file system: only its mount point was copied",
            quoted(path)
        ));
    }
    for path in &done.skipped {
        ctx.warn(&format!(
            "{} was left out: a device, a pipe or a socket; -a copies it",
            quoted(path)
        ));
    }
    match done.skipped.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::silent(1)),
    }
}
