//! The registry: one word per applet, from which the module line, the table, the symlinks, the
//! help index, the completions and the man pages come.

use crate::container::{Container, mend};
use crate::ui::{Context, Failure};
use std::path::Path;
use std::process::ExitCode;

/// One tool of the toolset.
#[derive(Clone, Copy)]
pub struct Applet {
    /// The name it is called by: `lxc-start`. The file of that name in `share/options` declares its
    /// options ([`crate::ui::command`]).
    pub name: &'static str,
    /// One line for the help index and the man page: lower case, no full stop.
    pub about: &'static str,
    /// What it does. The status is what LXC's tool of the same name would have returned.
    pub run: fn(&Context, &crate::ui::command::ArgMatches) -> Result<ExitCode, Failure>,
}

/// Declares the modules and the table. The file `x.rs` exports `pub const APPLET: Applet`.
macro_rules! applets {
    ($($module:ident)*) => {
        $(pub mod $module;)*
        /// Every applet, by name.
        pub const ALL: &[&Applet] = &[$(&$module::APPLET),*];
    };
}

applets! {
    attach
    checkconfig
    autostart
    cgroup
    checkpoint
    config
    console
    copy
    create
    destroy
    device
    execute
    freeze
    info
    init
    logs
    ls
    monitor
    monitord
    net
    pull
    push
    snapshot
    start
    stop
    top
    unfreeze
    update_config
    unshare
    usernsexec
    wait
}

impl Applet {
    /// The name without its `lxc-`, as in `lxcbox start`.
    pub fn short_name(&self) -> &'static str {
        self.name.strip_prefix("lxc-").unwrap_or(self.name)
    }
}

/// The container that the tool is about, with `--rcfile` in the place of its configuration.
fn container(ctx: &Context) -> Result<Container, Failure> {
    Ok(Container::new(ctx.lxcpath.clone(), ctx.name())?.with_rcfile(ctx.rcfile.clone()))
}

/// The container that a tool is told of may be between two steps of another that was killed.
pub fn mend(ctx: &Context, lxcpath: &Path, name: Option<&str>) -> Result<(), Failure> {
    let container = name.and_then(|name| Container::new(lxcpath.to_owned(), name).ok());
    match container.map_or(Ok(None), |container| mend::mend(&container)) {
        Ok(None) => {}
        Ok(Some(done)) => ctx.warn(done),
        // That finds it itself, and goes on if it is told to.
        Err(_) if ctx.prog == "lxc-destroy" => {}
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

/// That there is no such container.
fn unknown() -> Failure {
    Failure::new("container doesn't exist").hint("lxc-ls lists what there is")
}

/// The failure of a command that a signal may have ended: then with the status that a shell
/// reports for it.
fn interrupted_or<E: crate::util::blame::Explain>(error: E, signal: Option<i32>) -> Failure {
    let failure = Failure::from(error);
    match signal.and_then(|signal| u8::try_from(128 + signal).ok()) {
        Some(status) => failure.status(status),
        None => failure,
    }
}

/// The whole number of an option such as `--timeout`.
fn seconds(
    ctx: &Context,
    matches: &crate::ui::command::ArgMatches,
    id: &str,
) -> Result<Option<i64>, Failure> {
    let Some(text) = crate::ui::args::get_text(ctx, matches, id)? else { return Ok(None) };
    let wrong = || Failure::usage(ctx.prog, format!("--{id}: \"{text}\" is not a number"));
    text.parse().map(Some).map_err(|_| wrong())
}

/// The applet called `name`, with or without `lxc-`.
pub fn find(name: &str) -> Option<&'static Applet> {
    ALL.iter().copied().find(|applet| applet.name == name || applet.short_name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::command::Command;
    use crate::util::texts;

    #[test]
    fn each_declares_its_options_and_explains_them() {
        for applet in ALL {
            assert!(texts::options(applet.name).is_some(), "no share/options/{}", applet.name);
            for arg in Command::explained(applet.name).args.iter().filter(|a| !a.is_positional()) {
                assert!(!arg.help.is_empty(), "{}: {arg:?}", applet.name);
            }
        }
    }
}
