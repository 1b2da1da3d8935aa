//! lxc-attach: runs a command in a running container.

use super::Applet;
use crate::config::{Arch, value};
use crate::runtime::attach::{self, AttachError, Attachment, Elevated, EnvRules, Options};
use crate::sys::prctl::Personality;
use crate::sys::process;
use crate::ui::args::{self, get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-attach", about: "runs a command in a running container", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let options = options(ctx, matches)?;
    let container = super::container(ctx)?;
    let asked = Attachment::ask(&ctx.lxcpath, ctx.name());
    let loaded = container.load_of_running();
    // That it does not run comes before all that is wrong with its configuration.
    let attachment = Attachment::open(asked).map_err(failure)?;
    let loaded = loaded?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let how = attachment.run(&loaded.config, &options).map_err(failure)?;
    if options.pty_log.is_some() && !attach::has_terminal() {
        ctx.warn("no log was written: standard input and output are no terminal");
    }
    // All that is left would be closed one by one, which its end does at once.
    process::exit_now(how.exit_code().into())
}

fn failure(error: AttachError) -> Failure {
    let status = error.exit_status();
    Failure::from(error).status(status)
}

fn options(ctx: &Context, matches: &ArgMatches) -> Result<Options, Failure> {
    let wrong = |text: String| Failure::usage(ctx.prog, text);
    let text = |id| get_text(ctx, matches, id);
    let mut options = Options {
        command: ctx.rest.clone(),
        remount: matches.get_flag("remount-sys-proc"),
        label: text("context")?.map(str::to_owned),
        pty_log: get(matches, "pty-log").map(PathBuf::from),
        ..Options::default()
    };
    if let Some(list) = text("elevated-privileges")? {
        options.elevated = Elevated::parse(list)
            .map_err(|word| wrong(format!("\"{word}\" of -e is none of CAP, CGROUP, LSM")))?;
    }
    if let Some(list) = text("namespaces")? {
        let set = attach::parse_namespaces(list).map_err(|word| {
            wrong(format!(
                "\"{word}\" of -s is none of MOUNT, PID, UTSNAME, IPC, USER, NETWORK, CGROUP, TIME"
            ))
        })?;
        options.namespaces = Some(set);
        // As in LXC: who leaves namespaces out wants to do what the container may not.
        options.elevated = Elevated::ALL;
    }
    if let Some(arch) = text("arch")? {
        let parsed = (value::ARCH.parse)(arch).map_err(|e| wrong(format!("-a: {e}")))?;
        options.personality = parsed.map(|arch| match arch {
            Arch::Bits32 => Personality::Linux32,
            Arch::Bits64 => Personality::Linux,
        });
    }
    for (id, field) in [("uid", &mut options.uid), ("gid", &mut options.gid)] {
        if let Some(number) = text(id)? {
            let id = attach::parse_id(number);
            *field = Some(id.ok_or_else(|| wrong(format!("\"{number}\" is no id")))?);
        }
    }
    options.environment = env_rules(ctx, matches)?;
    Ok(options)
}

fn env_rules(ctx: &Context, matches: &ArgMatches) -> Result<EnvRules, Failure> {
    let many = |id| matches.get_many(id);
    let mut rules = EnvRules {
        clear: matches.get_flag("clear-env") && !matches.get_flag("keep-env"),
        keep: many("keep-var").map(OsStr::to_os_string).collect(),
        set: Vec::new(),
    };
    for pair in many("set-var") {
        let bytes = pair.as_bytes();
        let at = bytes.iter().position(|&b| b == b'=').filter(|&at| at > 0).ok_or_else(|| {
            Failure::usage(ctx.prog, format!("{} is not NAME=VALUE", args::quoted(pair)))
        })?;
        let part = |bytes| OsStr::from_bytes(bytes).to_os_string();
        rules.set.push((part(&bytes[..at]), part(&bytes[at + 1..])));
    }
    Ok(rules)
}
