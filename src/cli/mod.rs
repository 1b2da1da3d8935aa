//! From a command line to an exit status: which applet, its options by GNU's rules, the log, and
//! the one report of a failure.
//!
//! Start reading at [`main`].

#[cfg(debug_assertions)]
mod generate;
pub mod getopt;
mod multicall;

use crate::applets::{self, Applet};
use crate::config::document;
use crate::config::keys::Options;
use crate::sys::signal;
use crate::ui::args::{self, Context, Invocation};
use crate::ui::command::Command;
use crate::ui::{Failure, help, out, report};
use getopt::Parsed;
use std::ffi::OsString;
use std::process::ExitCode;

/// What `--version` prints.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs what the process was called as or asked for.
pub fn main() -> ExitCode {
    signal::hear_of_children();
    multicall::main(&std::env::args_os().collect::<Vec<_>>())
}

/// Runs one applet with the words after its name.
fn run(applet: &'static Applet, words: &[OsString]) -> ExitCode {
    let command = Command::new(applet.name);
    let order = getopt::order_from(std::env::var_os("POSIXLY_CORRECT").as_deref());
    let matches = match getopt::parse(&command, words, order) {
        Ok(Parsed::Run(matches)) => matches,
        Ok(Parsed::Help) => return help_text(applet, ExitCode::SUCCESS),
        Ok(Parsed::HelpFailing) => return help_text(applet, ExitCode::FAILURE),
        Ok(Parsed::Usage) => {
            report::stderr_text(&help::usage(&command));
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Version) => {
            return finish(applet, None, out::line(VERSION).map(|()| ExitCode::SUCCESS));
        }
        Err(e) => return finish(applet, None, Err(Failure::usage(applet.name, e.to_string()))),
    };
    let default_lxcpath = || Ok(crate::container::system()?.lxcpath());
    let invocation = Invocation { prog: applet.name, default_lxcpath: &default_lxcpath };
    let ctx = match args::context(&invocation, &command, &matches) {
        Ok(ctx) => ctx,
        Err(failure) => return finish(applet, None, Err(failure)),
    };
    let result = start_log(&ctx)
        .and_then(|()| check_rcfile(&ctx, &command))
        .and_then(|()| applets::mend(&ctx, &ctx.lxcpath, ctx.container.as_deref()))
        .and_then(|()| (applet.run)(&ctx, &matches));
    finish(applet, Some(&ctx), result)
}

fn start_log(ctx: &Context) -> Result<(), Failure> {
    crate::logging::start(&crate::logging::Setup {
        prog: ctx.prog,
        container: ctx.container.as_deref(),
        lxcpath: &ctx.lxcpath,
        file: ctx.logfile.as_deref(),
        priority: ctx.logpriority,
        default_place: if ctx.lxcpath_is_default {
            crate::logging::DefaultPlace::System
        } else {
            crate::logging::DefaultPlace::Container
        },
    })?;
    Ok(())
}

/// A file that cannot be read or understood is an error also for a tool that needs nothing of it.
fn check_rcfile(ctx: &Context, command: &Command) -> Result<(), Failure> {
    match &ctx.rcfile {
        Some(file) if command.find(args::id::NAME).is_some() => {
            document::load(file, &Options::default())?;
        }
        _ => {}
    }
    Ok(())
}

fn help_text(applet: &Applet, status: ExitCode) -> ExitCode {
    report::stderr_text(&help::help(&Command::explained(applet.name), applet.about));
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
