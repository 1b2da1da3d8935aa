//! lxc-push: files of the host into a container.

use crate::util::quote::quoted;
use super::Applet;
use crate::container::Container;
use crate::container::live::LiveError;
use crate::container::transfer::{self, Options};
use crate::sys::copy::Copied;
use crate::ui::args::{flag, get_text, rest, shared, value};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::progress::Progress;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-push",
    about: "copies files into a container, whether it runs or not",
    command,
    run,
};

/// The flags that both directions have.
pub(super) fn flags(command: Command, archive: &'static str) -> Command {
    command
        .arg(flag("recursive", "recursive").short('r').help("directories with all that is in them"))
        .arg(flag("create-dirs", "create-dirs").short('p').help("make the target's directories"))
        .arg(flag("archive", "archive").short('a').help(archive))
}

fn command() -> Command {
    let command = Command::new(APPLET.name)
        .arg(value("uid", "uid", "NUMBER").help("owner inside (default: the source's, 0 for -)"))
        .arg(value("gid", "gid", "NUMBER").help("group inside, likewise"))
        .arg(value("mode", "mode", "MODE").help("mode of files (default: the source's, 644 for -)"));
    shared(
        flags(command, "device nodes, pipes and all attributes, too").arg(rest("SOURCE... TARGET"))
            .after_help(
                "SOURCE - is standard input. Several go into the directory TARGET. A file that is\n\
                 there is replaced when the new one is complete; a link, too.",
            ),
    )
}

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
        ctx.warn(&format!("{} is another file system: only its mount point was copied", quoted(path)));
    }
    for path in &done.skipped {
        ctx.warn(&format!("{} was left out: a device, a pipe or a socket; -a copies it", quoted(path)));
    }
    match done.skipped.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Failure::silent(1)),
    }
}
