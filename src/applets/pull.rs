//! lxc-pull: files of a container to the host.

use super::Applet;
use super::push::{end, flags, options};
use crate::container::Container;
use crate::container::transfer;
use crate::sys::copy::Copied;
use crate::sys::{SysError, fd};
use crate::ui::args::{rest, shared};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::progress::Progress;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-pull",
    about: "copies files out of a container, whether it runs or not",
    command,
    run,
};

fn command() -> Command {
    let archive = "the container's owners, set-id bits, device nodes, pipes and attributes, too";
    shared(flags(Command::new(APPLET.name), archive).arg(rest("SOURCE... TARGET")).after_help(
        "TARGET - is standard output. Several go into the directory TARGET. What is made belongs to\n\
         root and has no set-id bits, unless -a is given: only for containers that you trust.",
    ))
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((target, sources @ [_, ..])) = ctx.rest.split_last() else {
        return Err(Failure::usage(ctx.prog, "what to copy and where to: SOURCE... TARGET"));
    };
    let container = Container::new(ctx.lxcpath.clone(), ctx.name())?;
    let mut progress = Progress::new(ctx.quiet);
    let mut show = |done: &Copied| progress.show(done.objects, done.bytes);
    let mut write = |bytes: &[u8]| -> Result<(), SysError> { fd::write_all(fd::borrow(1), bytes) };
    let wish = options(matches);
    let done = transfer::pull(&container, sources, target, wish, &mut show, &mut write);
    drop(progress);
    end(ctx, done)
}
