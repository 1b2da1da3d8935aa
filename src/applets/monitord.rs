//! lxc-monitord: what lxc-monitor listens to. LXC's lxc-monitor starts it as
//! `LIBEXEC/lxc/lxc-monitord LXCPATH PIPEFD`.

use super::Applet;
use crate::container::observe;
use crate::sys::fd;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::path::PathBuf;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-monitord",
    about: "collects the states of all containers of a path for lxc-monitor",
    run,
};

/// As LXC's it takes none of the common options.
fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let stays = matches.get_flag("daemon");
    let usage = |text: &str| Failure::usage(ctx.prog, text);
    let (path, pipe) = match (ctx.rest.as_slice(), stays) {
        ([], true) => (crate::container::system()?.lxcpath(), None),
        ([path], true) => (PathBuf::from(path), None),
        ([path, pipe], false) => {
            let number = pipe.to_str().and_then(|text| text.parse::<i32>().ok());
            let open = number.filter(|n| *n >= 0).map(fd::borrow);
            let open = open.filter(|pipe| fd::set_cloexec(*pipe, true).is_ok());
            (PathBuf::from(path), Some(open.ok_or_else(|| usage("PIPEFD is not open"))?))
        }
        _ => return Err(usage("LXCPATH and PIPEFD, or --daemon and at most LXCPATH, are needed")),
    };
    observe::serve(&path, pipe, (!stays).then_some(crate::control::monitord::IDLE))?;
    Ok(ExitCode::SUCCESS)
}
