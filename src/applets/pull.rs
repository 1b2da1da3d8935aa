//! lxc-pull: files of a container to the host.

use super::Applet;
use super::push::{end, options};
use crate::container::Container;
use crate::container::transfer;
use crate::sys::copy::Copied;
use crate::sys::{SysError, fd};
use crate::ui::command::ArgMatches;
use crate::ui::progress::Progress;
use crate::ui::{Context, Failure};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-pull",
    about: "copies files out of a container, whether it runs or not",
    run,
};

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
