//! lxc-start: runs a container's init below a monitor.

use super::Applet;
use crate::config::NsKind;
use crate::container::Container;
use crate::container::start::{Prepared, Start, StartError};
use crate::control::client::{Client, ClientError};
use crate::control::state::State;
use crate::runtime::daemon::Mode;
use crate::runtime::supervise::Ended;
use crate::sys::{fd, sealed};
use crate::ui::args::{absolute, get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet { name: "lxc-start", about: "starts a container", run };

/// The namespaces that `--share-*` offers, as LXC has them.
const SHARED: [(&str, NsKind); 4] = [
    ("--share-net", NsKind::Net),
    ("--share-ipc", NsKind::Ipc),
    ("--share-uts", NsKind::Uts),
    ("--share-pid", NsKind::Pid),
];

/// The settings that the options stand for, each with its option's name.
pub(super) fn defined(
    ctx: &Context,
    matches: &ArgMatches,
) -> Result<Vec<(String, &'static str)>, Failure> {
    let mut all = Vec::new();
    for text in matches.get_many("define") {
        let text = text.to_str().ok_or_else(|| Failure::new("--define wants text"))?;
        all.push((text.to_string(), "--define"));
    }
    for (option, kind) in SHARED {
        if let Some(from) = get_text(ctx, matches, option.trim_start_matches('-'))? {
            all.push((format!("lxc.namespace.share.{} = {from}", kind.name()), option));
        }
    }
    Ok(all)
}

/// The words of the command after the options.
pub(super) fn words(ctx: &Context) -> Result<Vec<String>, Failure> {
    let text = |word: &std::ffi::OsString| {
        word.to_str().map(str::to_string).ok_or_else(|| Failure::new("the command is not UTF-8"))
    };
    ctx.rest.iter().map(text).collect()
}

/// Closes what the caller left open but the log (LXC's `lxc_check_inherited`): a monitor would
/// hold a script's pipe or lock for as long as the container runs. For the beginning of a tool.
pub(super) fn close_inherited() -> Result<(), Failure> {
    let log = crate::logging::file_number();
    Ok(fd::seal_above(3, log.as_slice(), fd::Seal::Close)?)
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if !matches.get_flag("dry-run") {
        // The child is process 1 of the container for a moment: it must not be a way to the
        // host's binary (CVE-2019-5736).
        sealed::ensure_shared("lxc-start")?;
    }
    let foreground = matches.get_flag("foreground") && !matches.get_flag("daemon");
    if !foreground || matches.get_flag("close-all-fds") {
        close_inherited()?;
    }
    let mut all = Vec::new();
    for (option, key) in
        [("--console", "lxc.console.path"), ("--console-log", "lxc.console.logfile")]
    {
        if let Some(path) = get_text(ctx, matches, option.trim_start_matches('-'))? {
            // A terminal has its whole path, or it is the word "none".
            let path = match option {
                "--console-log" => absolute(Path::new(path)),
                _ => path.into(),
            };
            all.push((format!("{key} = {}", path.display()), option));
        }
    }
    all.extend(defined(ctx, matches)?);
    let start = Start {
        container: Container::new(ctx.lxcpath.clone(), ctx.name())?,
        rcfile: ctx.rcfile.clone(),
        defines: all,
        command: words(ctx)?,
        execute: false,
        quiet: ctx.quiet,
        mode: if foreground { Mode::Foreground } else { Mode::Daemon },
        pidfile: get(matches, "pidfile").map(|path| absolute(Path::new(path))),
    };
    // Before the plan, which would find the running container's own devices in its way. A dry run
    // too says what a start would do: nothing.
    let client = Client::new(&ctx.lxcpath, ctx.name());
    match client.state() {
        // It has a monitor, but who can tell what of.
        Err(e) if e.is_stopped() || matches!(e, ClientError::Denied { .. }) => {
            return Err(e.into());
        }
        Ok(State::Stopped) | Err(_) => {}
        Ok(_) => {
            ctx.warn("Container is already running");
            return Ok(ExitCode::SUCCESS);
        }
    }
    let prepared = start.prepare()?;
    prepared.warnings.iter().for_each(|warning| ctx.warn(warning));
    if matches.get_flag("dry-run") {
        out::line(prepared.plan()?.to_string().trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    finish(ctx, go(ctx, start, prepared)).map(|_| ExitCode::SUCCESS)
}

/// Plans and starts; says what of the container's confinement is left out, and what of
/// its network will not be as it seems.
pub(super) fn go(
    ctx: &Context,
    start: Start,
    prepared: Prepared,
) -> Result<Option<Ended>, StartError> {
    let plan = start.plan(prepared)?;
    plan.seccomp.left_out.iter().chain(&plan.lsm.warnings).for_each(|text| ctx.warn(text));
    plan.net.notes.iter().for_each(|note| ctx.warn(&note.to_string()));
    start.run(plan, &|| ctx.warn("waiting for another tool that works on the container"))
}

/// Turns the end of a start into the tool's: "already running" is no failure.
fn finish<T: Default>(ctx: &Context, done: Result<T, StartError>) -> Result<T, Failure> {
    match done {
        Err(StartError::Start(failure)) if failure.is_already_running() => {
            ctx.warn("Container is already running");
            Ok(T::default())
        }
        done => Ok(done?),
    }
}
