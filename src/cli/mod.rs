//! From a command line to an exit status: which applet, its options by GNU's rules, the log, and
//! the one report of a failure.
//!
//! Start reading at [`main`].

mod generate;
pub mod getopt;
mod multicall;

use crate::applets::Applet;
use crate::ui::args::{self, Context, Invocation, id};
use crate::ui::{Failure, help, out, report};
use getopt::Parsed;
use std::ffi::OsString;
use std::process::ExitCode;

/// What `--version` prints.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs what the process was called as or asked for.
pub fn main() -> ExitCode {
    multicall::main(&std::env::args_os().collect::<Vec<_>>())
}

/// Runs one applet with the words after its name.
fn run(applet: &'static Applet, words: &[OsString]) -> ExitCode {
    let command = command_of(applet);
    let order = getopt::order_from(std::env::var_os("POSIXLY_CORRECT").as_deref());
    let canonical = match getopt::parse(&command, words, order) {
        Ok(Parsed::Run(canonical)) => canonical,
        Ok(Parsed::Help) => return help_text(applet, &command, ExitCode::SUCCESS),
        Ok(Parsed::HelpFailing) => return help_text(applet, &command, ExitCode::FAILURE),
        Ok(Parsed::Usage) => {
            report::stderr_text(&help::usage(&command));
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Version) => {
            return finish(applet, None, out::line(VERSION).map(|()| ExitCode::SUCCESS));
        }
        Err(e) => return finish(applet, None, Err(Failure::usage(applet.name, e.to_string()))),
    };
    let ctx = match context(applet, command, canonical) {
        Ok(ctx) => ctx,
        Err(failure) => return finish(applet, None, Err(failure)),
    };
    let (ctx, matches) = ctx;
    let result = start_log(&ctx).and_then(|()| (applet.run)(&ctx, &matches));
    finish(applet, Some(&ctx), result)
}

/// The applet's command as clap sees it: nothing of clap's own.
pub fn command_of(applet: &Applet) -> clap::Command {
    let mut command = (applet.command)()
        .name(applet.name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .mut_args(last_one_counts);
    if !command.get_arguments().any(|arg| arg.get_id() == id::REST) {
        command = command.arg(args::rest("ARG").hide(true));
    }
    command
}

/// As getopt has it: an option may be repeated.
fn last_one_counts(arg: clap::Arg) -> clap::Arg {
    match arg.get_action() {
        clap::ArgAction::Set | clap::ArgAction::SetTrue if !arg.is_positional() => {
            let id = arg.get_id().clone();
            arg.overrides_with(id)
        }
        _ => arg,
    }
}

fn context(
    applet: &'static Applet,
    command: clap::Command,
    canonical: Vec<OsString>,
) -> Result<(Context, clap::ArgMatches), Failure> {
    let mut command = command;
    let matches = command
        .try_get_matches_from_mut(canonical)
        .map_err(|e| Failure::usage(applet.name, clap_sentence(&e)))?;
    let default_lxcpath = || Ok(crate::container::system()?.lxcpath());
    let invocation = Invocation { prog: applet.name, default_lxcpath: &default_lxcpath };
    let ctx = args::context(&invocation, &command, &matches)?;
    Ok((ctx, matches))
}

/// What is left for clap to complain of is values outside of a declared set.
fn clap_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).replace('\'', "\"")
}

fn start_log(ctx: &Context) -> Result<(), Failure> {
    crate::log::start(&crate::log::Setup {
        prog: ctx.prog,
        container: ctx.container.as_deref(),
        lxcpath: &ctx.lxcpath,
        file: ctx.logfile.as_deref(),
        priority: ctx.logpriority,
        default_place: if ctx.lxcpath_is_default {
            crate::log::DefaultPlace::System
        } else {
            crate::log::DefaultPlace::Container
        },
    })?;
    Ok(())
}

fn help_text(applet: &Applet, command: &clap::Command, status: ExitCode) -> ExitCode {
    report::stderr_text(&help::help(command, applet.about));
    status
}

/// The one place where a failure becomes words and a status.
fn finish(applet: &Applet, ctx: Option<&Context>, result: Result<ExitCode, Failure>) -> ExitCode {
    match result {
        Ok(status) => status,
        Err(failure) => {
            match ctx {
                Some(ctx) => ctx.report(&failure),
                None => report::print(applet.name, None, &failure),
            }
            ExitCode::from(failure.exit_status())
        }
    }
}
