//! lxc-config: the settings of the host, from lxc.conf, and those of one container.

use super::Applet;
use crate::config::keys;
use crate::config::path::{SYSTEM_KEYS, SystemRow};
use crate::container::Container;
use crate::container::settings::{self, Reboot, Verb};
use crate::ui::args::{get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use crate::util::quote::quoted;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-config",
    about: "prints the settings of the host; reads and changes a container's",
    run,
};

/// As LXC's tool it takes none of the common options and prints its help on standard output.
fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let verbs = ["get", "set", "add", "unset"];
    let verb = ctx.rest.first().and_then(|word| verbs.iter().find(|verb| *word == **verb));
    match verb {
        Some(verb) if !matches.get_flag("help") => container(ctx, matches, verb),
        _ => host(ctx, matches),
    }
}

/// A verb about one container.
fn container(ctx: &Context, matches: &ArgMatches, verb: &str) -> Result<ExitCode, Failure> {
    let usage = |text: &str| Failure::usage(ctx.prog, text);
    let name = get_text(ctx, matches, "container")?;
    let name = name.ok_or_else(|| usage(&format!("{verb} needs the container's name: -n NAME")))?;
    let lxcpath = match get(matches, "path") {
        Some(path) => std::path::absolute(path).map_err(|_| usage("-P is no path"))?,
        None => crate::container::system()?.lxcpath(),
    };
    super::mend(ctx, &lxcpath, Some(name))?;
    let container = Container::new(lxcpath, name)?;
    if !container.is_defined() {
        return Err(Failure::new(format!("container {} is not defined", quoted(name))));
    }
    let words: Option<Vec<String>> =
        ctx.rest.iter().skip(1).map(|word| word.to_str().map(str::to_owned)).collect();
    let words = words.ok_or_else(|| usage("a word is not UTF-8"))?;
    let live = matches.get_flag("live");
    let (verb, key, values) = match (verb, words.as_slice()) {
        ("get", []) => return list(&container),
        ("get", [key]) => return show(&container, key, live),
        ("unset", [key]) => (Verb::Unset, key, &[][..]),
        ("set", [key, values @ ..]) if !values.is_empty() => (Verb::Set, key, values),
        ("add", [key, values @ ..]) if !values.is_empty() => (Verb::Add, key, values),
        _ => return Err(usage(&format!("{verb}: wrong number of words"))),
    };
    if verb != Verb::Unset && values.iter().any(String::is_empty) {
        return Err(usage("an empty value is none: unset KEY"));
    }
    if settings::change(&container, verb, key, values, live)? == Reboot::Forgets {
        ctx.warn(
            "its monitor is LXC's or an older one: a reboot from inside goes back to the value of \
             the start",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// All keys that are not at their default, as a file could have them.
fn list(container: &Container) -> Result<ExitCode, Failure> {
    let loaded = container.load()?;
    let mut out = out::Out::new();
    for key in keys::list(&loaded.config, "") {
        for value in loaded.get(&key)?.lines() {
            out.line(&format!("{key} = {value}"))?;
        }
    }
    out.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn show(container: &Container, key: &str, live: bool) -> Result<ExitCode, Failure> {
    let value = match live {
        true => settings::current(container, key)?.unwrap_or_default(),
        false => container.load()?.get(key)?,
    };
    match value.trim_end() {
        "" => Err(Failure::new(format!("{key} is not set"))),
        text => out::line(text).map(|()| ExitCode::SUCCESS),
    }
}

fn host(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if matches.get_flag("list") {
        let mut out = out::Out::new();
        for row in SYSTEM_KEYS.iter().filter(|row| row.listed) {
            out.line(row.name)?;
        }
        out.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = match ctx.rest.first() {
        Some(key) if !matches.get_flag("help") && !key.is_empty() => key.to_string_lossy(),
        _ => {
            out::line("Usage: lxc-config -l: list all available configuration items")?;
            out::line("       lxc-config item: print configuration item")?;
            if matches.get_flag("help") {
                out::line("       lxc-config get -n NAME [--live] [KEY]: print a container's")?;
                out::line(
                    "       lxc-config set|add|unset -n NAME [--live] KEY [VALUE]...: change it",
                )?;
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    // The beginning of a name is enough, as in LXC: the first one in the list counts.
    let begins = |row: &&SystemRow| row.listed && row.name.starts_with(key.as_ref());
    let exact = SYSTEM_KEYS.iter().find(|row| row.name == key);
    let Some(row) = exact.or_else(|| SYSTEM_KEYS.iter().find(begins)) else {
        // On standard output, as LXC has it: scripts look there.
        out::line(&format!("Unknown configuration item: {key}"))?;
        return Ok(ExitCode::FAILURE);
    };
    match crate::container::system()?.get(row.key) {
        Some(value) => out::line(&value)?,
        None => out::line(&format!("{key} is not set."))?,
    }
    Ok(ExitCode::SUCCESS)
}
