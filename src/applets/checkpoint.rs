//! lxc-checkpoint: dump and restore, by criu.

use super::Applet;
use crate::config::document;
use crate::config::keys::Options;
use crate::container::Container;
use crate::container::checkpoint::{self, Dump};
use crate::container::info::{self, State};
use crate::container::start::Start;
use crate::runtime::criu::Images;
use crate::runtime::daemon::Mode;
use crate::ui::args::{get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::path::PathBuf;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-checkpoint",
    about: "writes a running container to a directory, or restores it (criu)",
    run,
};

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let usage = |text: &str| Failure::usage(ctx.prog, text);
    let [restore, stop, pre, daemon, foreground] =
        ["restore", "stop", "pre-dump", "daemon", "foreground"].map(|id| matches.get_flag(id));
    let before = get_text(ctx, matches, "predump-dir")?.map(str::to_owned);
    let Some(dir) = get(matches, "dir").filter(|dir| !dir.is_empty()) else {
        return Err(usage("-D is required"));
    };
    let conflict = [
        (restore && stop, "-s is not compatible with -r"),
        (restore && pre, "-p is not compatible with -r"),
        (restore && before.is_some(), "--predump-dir is not compatible with -r"),
        (!restore && (daemon || foreground), "-d and -F need -r"),
        (pre && stop, "-s is not compatible with -p"),
    ];
    if let Some((_, text)) = conflict.into_iter().find(|(there, _)| *there) {
        return Err(usage(text));
    }
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let images = Images {
        dir: absolute(PathBuf::from(dir)),
        verbose: matches.get_flag("verbose"),
        action_script: get(matches, "action-script").map(|path| absolute(PathBuf::from(path))),
    };
    let container = Container::new(ctx.lxcpath.clone(), ctx.name())?;
    let state = info::state(&container.client())?;
    if state == State::Stopped && !container.is_defined() && ctx.rcfile.is_none() {
        return Err(super::unknown());
    }
    match (restore, state) {
        (true, State::Stopped) => {}
        (true, _) => return Err(Failure::new("container is running already")),
        (false, State::Stopped) => return Err(Failure::new("container is not running")),
        (false, _) => {
            let loaded = match &ctx.rcfile {
                Some(file) => document::load(file, &Options::default())?,
                None => container.load()?,
            };
            checkpoint::dump(&container, &loaded.config, &images, &Dump { pre, before, stop })?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    if !foreground {
        super::start::close_inherited()?;
    }
    let start = Start {
        container,
        rcfile: ctx.rcfile.clone(),
        defines: Vec::new(),
        command: Vec::new(),
        execute: false,
        quiet: false,
        mode: if foreground { Mode::Foreground } else { Mode::Daemon },
        pidfile: None,
    };
    let prepared = start.prepare()?;
    prepared.warnings.iter().for_each(|warning| ctx.warn(warning));
    checkpoint::check(&prepared.config)?;
    let mut plan = start.plan(prepared)?;
    plan.request.restore = Some(images);
    start.run(plan, &|| ctx.warn("waiting for another tool that works on the container"))?;
    Ok(ExitCode::SUCCESS)
}
