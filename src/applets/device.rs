//! lxc-device.

use super::Applet;
use crate::container::device;
use crate::sys::cred;
use crate::ui::args::quoted;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-device",
    about: "gives a running container a device of the host, or takes it away",
    run,
};

fn run(ctx: &Context, _: &ArgMatches) -> Result<ExitCode, Failure> {
    if cred::euid() != 0 {
        return Err(Failure::new("lxc-device must be run as root"));
    }
    let usage = |text: String| Err(Failure::usage(ctx.prog, text));
    let (verb, what, other) = match ctx.rest.as_slice() {
        [verb, what] => (verb, what, what),
        [verb, what, other] => (verb, what, other),
        [_, _, _, extra, ..] => return usage(format!("unexpected argument {}", quoted(extra))),
        _ => return usage("no command given: add DEVICE or del DEVICE".to_owned()),
    };
    let act = match verb.to_str() {
        Some("add") => device::add,
        Some("del") => device::remove,
        _ => return usage(format!("please use add or del, not {}", quoted(verb))),
    };
    act(&super::container(ctx)?, Path::new(what), Path::new(other))?;
    Ok(ExitCode::SUCCESS)
}
