//! lxc-ls: what it shows and how. The facts come from `container::survey`.

use super::Applet;
use crate::container::info::State;
use crate::container::survey::{self, Found, Scope, Wanted};
use crate::ui::args::{Format, get, get_format, get_text, quoted};
use crate::ui::command::ArgMatches;
use crate::ui::json::Value;
use crate::ui::table::{Align, Column, Table, width};
use crate::ui::{Context, Failure, out, size};
use crate::util::ere::Ere;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet { name: "lxc-ls", about: "lists containers", run };

/// Levels of containers in containers that `--nesting` without a number shows.
const DEFAULT_NESTING: u32 = 5;
const DEFAULT_COLUMNS: &str = "NAME,STATE,AUTOSTART,GROUPS,IPV4,IPV6,UNPRIVILEGED";

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    State,
    Pid,
    Ram,
    Swap,
    Autostart,
    Groups,
    Interface,
    Ipv4,
    Ipv6,
    Unprivileged,
}

const FIELDS: [(Field, &str); 11] = [
    (Field::Name, "NAME"),
    (Field::State, "STATE"),
    (Field::Pid, "PID"),
    (Field::Ram, "RAM"),
    (Field::Swap, "SWAP"),
    (Field::Autostart, "AUTOSTART"),
    (Field::Groups, "GROUPS"),
    (Field::Interface, "INTERFACE"),
    (Field::Ipv4, "IPV4"),
    (Field::Ipv6, "IPV6"),
    (Field::Unprivileged, "UNPRIVILEGED"),
];

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let format = get_format(ctx, matches)?;
    let table = matches.get_flag("fancy");
    let mut fields = Vec::new();
    if table {
        let columns = get_text(ctx, matches, "fancy-format")?.unwrap_or(DEFAULT_COLUMNS);
        for word in columns.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match FIELDS.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)) {
                Some((field, _)) => fields.push(*field),
                None => {
                    // LXC shows nothing then, and calls it success.
                    ctx.warn(&format!("Invalid key: {word}"));
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
    }
    let Some(scope) = scope(ctx, matches)? else { return Ok(ExitCode::SUCCESS) };
    let wanted = if format == Format::Json { Wanted::ALL } else { wanted(&fields, &scope) };
    if scope.nesting > 0 {
        // We are about to enter containers: not with a binary that they could write to.
        survey::seal(ctx.prog)?;
    }
    let found = survey::survey(&ctx.lxcpath, &scope, wanted)?;
    for container in &found {
        for problem in &container.problems {
            ctx.warn_about(&container.path(), problem);
        }
    }
    match (format, table) {
        (Format::Json, _) => out::line(&json(&found).pretty())?,
        (Format::Text, true) => print_table(&fields, &found)?,
        (Format::Text, false) => print_names(&found, matches.get_flag("line"))?,
    }
    Ok(ExitCode::from(u8::from(found.iter().any(|container| container.stuck))))
}

/// Which containers are meant; `None` when no container can be.
fn scope(ctx: &Context, matches: &ArgMatches) -> Result<Option<Scope>, Failure> {
    let [active, running, frozen, stopped, defined] =
        ["active", "running", "frozen", "stopped", "defined"].map(|id| matches.get_flag(id));
    if let Some(extra) = ctx.rest.get(1) {
        return Err(Failure::usage(ctx.prog, format!("unexpected argument {}", quoted(extra))));
    }
    let filter = match get(matches, "filter").or(ctx.rest.first().map(|arg| arg.as_os_str())) {
        None => None,
        Some(pattern) => {
            let shown = pattern.to_string_lossy();
            match Ere::new(&shown) {
                Ok(filter) => Some(filter),
                Err(e) => {
                    // Matches nothing, as in LXC, which does not say so.
                    ctx.warn(&format!("the pattern \"{shown}\" matches nothing: {e}"));
                    return Ok(None);
                }
            }
        }
    };
    let groups = get_text(ctx, matches, "groups")?.unwrap_or_default();
    let nesting = match get_text(ctx, matches, "nesting")? {
        None => 0,
        Some("") => DEFAULT_NESTING,
        Some(text) => text.parse().map_err(|_| {
            Failure::usage(ctx.prog, format!("--nesting: \"{text}\" is not a number"))
        })?,
    };
    Ok(Some(Scope {
        only_active: active || frozen,
        only_defined: defined,
        states: match (running, frozen && !active, stopped) {
            (false, false, false) => None,
            (running, frozen, stopped) => Some(survey::States { running, frozen, stopped }),
        },
        filter,
        groups: groups.split(',').filter(|g| !g.is_empty()).map(str::to_owned).collect(),
        nesting,
    }))
}

fn wanted(fields: &[Field], scope: &Scope) -> Wanted {
    let any = |of: &[Field]| fields.iter().any(|field| of.contains(field));
    Wanted {
        state: scope.states.is_some() || any(&[Field::State, Field::Pid]),
        config: !scope.groups.is_empty()
            || any(&[Field::Autostart, Field::Groups, Field::Unprivileged]),
        memory: any(&[Field::Ram, Field::Swap]),
        interfaces: any(&[Field::Interface]),
        addresses: any(&[Field::Ipv4, Field::Ipv6]),
    }
}

fn print_table(fields: &[Field], found: &[Found]) -> Result<(), Failure> {
    if found.is_empty() {
        return Ok(());
    }
    let columns = fields.iter().map(|field| {
        let header = FIELDS.iter().find(|(f, _)| f == field).map_or("", |(_, name)| name);
        let memory = matches!(field, Field::Ram | Field::Swap);
        // LXC counts the width of "0.00MB" for a container that has none.
        let (align, min) = if memory { (Align::Right, 6) } else { (Align::Left, 0) };
        Column { header, align, min }
    });
    let mut table = Table::new(columns.collect());
    for container in found {
        table.row(fields.iter().map(|field| cell(*field, container)).collect());
    }
    let mut out = out::Out::new();
    for line in table.lines() {
        out.line(&line)?;
    }
    out.finish()
}

fn cell(field: Field, container: &Found) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let megabytes = |bytes: Option<u64>| match (container.pid, bytes) {
        (Some(_), bytes) => size::megabytes(bytes.unwrap_or(0)),
        (None, _) => String::new(),
    };
    let addresses = |v4: bool| {
        let all = container.addresses.iter().filter(|ip| ip.is_ipv4() == v4);
        all.map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    or_dash(match field {
        Field::Name => {
            let level = usize::try_from(container.level).unwrap_or_default();
            let mark = if level > 0 { "\\" } else { "" };
            format!("{mark:>level$}{}", container.name)
        }
        Field::State => state(container),
        Field::Pid => container.pid.map(|pid| pid.to_string()).unwrap_or_default(),
        Field::Ram => megabytes(container.memory.used),
        Field::Swap => megabytes(container.memory.swap),
        Field::Autostart => container
            .settings
            .as_ref()
            .map(|settings| u8::from(settings.autostart).to_string())
            .unwrap_or_default(),
        Field::Groups => {
            container.settings.as_ref().map(|s| s.groups.join(", ")).unwrap_or_default()
        }
        Field::Interface => container.interfaces.join(", "),
        Field::Ipv4 => addresses(true),
        Field::Ipv6 => addresses(false),
        Field::Unprivileged => container
            .settings
            .as_ref()
            .map(|settings| settings.unprivileged.to_string())
            .unwrap_or_default(),
    })
}

/// The state; one whose configuration cannot be read and that does not run is marked.
fn state(container: &Found) -> String {
    match container.state {
        Some(State::Stopped) if container.is_broken() => "BROKEN".to_owned(),
        Some(state) => state.name().to_owned(),
        None if container.stuck => survey::STUCK.to_owned(),
        None => String::new(),
    }
}

/// Names in columns over the terminal's width; without a terminal each on a line of its own, but
/// padded all the same, as in LXC.
fn print_names(found: &[Found], one_a_line: bool) -> Result<(), Failure> {
    let mut out = out::Out::new();
    let names: Vec<String> = found.iter().map(Found::path).collect();
    if one_a_line {
        for name in &names {
            out.line(name)?;
        }
        return out.finish();
    }
    out.text(&in_columns(&names, out::terminal_width().unwrap_or(0)))?;
    out.finish()
}

/// LXC's arithmetic: a row ends when one more name would reach the terminal's width, and a row
/// that is not full ends with a space.
fn in_columns(names: &[String], terminal: usize) -> String {
    let wide = names.iter().map(|name| width(name)).max().unwrap_or(0).max(4);
    let mut text = String::new();
    let mut column = 0;
    for name in names {
        text.push_str(&format!("{name:<wide$}"));
        column += wide;
        if column + wide >= terminal {
            text.push('\n');
            column = 0;
        } else {
            text.push(' ');
            column += 1;
        }
    }
    if column > 0 {
        text.push('\n');
    }
    text
}

fn json(found: &[Found]) -> Value {
    let member = |container: &Found| {
        let settings = container.settings.as_ref();
        let stuck = container.stuck.then_some(survey::STUCK);
        let addresses = |v4: bool| -> Value {
            let all = container.addresses.iter().filter(|ip| ip.is_ipv4() == v4);
            all.map(|ip| Value::from(ip.to_string())).collect()
        };
        let texts = |list: &[String]| list.iter().map(|t| Value::from(t.as_str())).collect();
        Value::from(vec![
            ("name", container.name.as_str().into()),
            ("path", container.path().into()),
            ("state", container.state.map(State::name).or(stuck).into()),
            ("pid", container.pid.into()),
            ("memory_bytes", container.memory.used.into()),
            ("swap_bytes", container.memory.swap.into()),
            ("autostart", settings.map(|s| s.autostart).into()),
            ("groups", settings.map(|s| -> Value { texts(&s.groups) }).into()),
            ("interfaces", texts(&container.interfaces)),
            ("ipv4", addresses(true)),
            ("ipv6", addresses(false)),
            ("unprivileged", settings.map(|s| s.unprivileged).into()),
            ("error", container.problems.first().map(String::as_str).into()),
        ])
    };
    found.iter().map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_break_where_lxc_breaks_them() {
        let names = ["G1", "b1", "h1", "mbusybox", "v1"].map(str::to_owned);
        let wide = "G1       b1       h1      \nmbusybox v1       \n";
        for terminal in [26, 27, 30] {
            assert_eq!(in_columns(&names, terminal), wide, "{terminal}");
        }
        assert_eq!(in_columns(&names[..2], 0), "G1  \nb1  \n");
        assert_eq!(in_columns(&[], 80), "");
    }
}
