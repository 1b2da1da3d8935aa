//! lxc-info.

use super::Applet;
use crate::config::document::Loaded;
use crate::container::Container;
use crate::container::info::{self, LinkUse, Meter, State, Usage};
use crate::ui::args::{Format, get_format};
use crate::ui::command::ArgMatches;
use crate::ui::json::Value;
use crate::ui::{Context, Failure, out, size};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-info",
    about: "tells of a container: state, addresses, usage, configuration",
    run,
};

/// What is asked for.
struct Asked {
    state: bool,
    pid: bool,
    ips: bool,
    stats: bool,
    keys: Vec<String>,
    /// Everything but keys, because nothing was named.
    all: bool,
    human: bool,
}

impl Asked {
    fn new(matches: &ArgMatches) -> Self {
        let [state, pid, ips, stats] =
            ["state", "pid", "ips", "stats"].map(|id| matches.get_flag(id));
        let keys = matches.get_many("config");
        let keys: Vec<String> = keys.map(|key| key.to_string_lossy().into_owned()).collect();
        let all = !(state || pid || ips || stats) && keys.is_empty();
        let human = !matches.get_flag("no-humanize");
        Self {
            state: state || all,
            pid: pid || all,
            ips: ips || all,
            stats: stats || all,
            keys,
            all,
            human,
        }
    }

    /// With -H and one thing asked for, scripts want the value alone.
    fn labelled(&self) -> bool {
        let things = [self.state, self.pid, self.ips].iter().filter(|asked| **asked).count();
        self.human || self.stats || things > 1
    }
}

/// What was found out.
struct Facts {
    state: State,
    pid: Option<i32>,
    ips: Vec<String>,
    usage: Usage,
    links: Vec<LinkUse>,
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let asked = Asked::new(matches);
    let format = get_format(ctx, matches)?;
    let container = super::container(ctx)?;
    let client = container.client();
    let status = info::status(&client)?;
    // A file that was given has been read.
    if status.state == State::Stopped && ctx.rcfile.is_none() {
        if !container.is_defined() {
            return Err(super::unknown());
        }
        // One that runs can be told of without its file; of this one the file is all there is.
        container.load()?;
    }
    let mut facts = Facts {
        state: status.state,
        pid: status.init_pid,
        ips: Vec::new(),
        usage: Usage::default(),
        links: Vec::new(),
    };
    if let Some(pid) = facts.pid {
        if asked.ips {
            facts.ips = info::addresses(pid).iter().map(ToString::to_string).collect();
        }
        if asked.stats {
            facts.usage = Meter::default().usage(&client);
            facts.links = info::links(&client);
        }
    }
    let values = config_values(ctx, &container, &asked)?;
    match format {
        Format::Text => print(&container, &asked, &facts, &values)?,
        Format::Json => out::line(&json(&container, &asked, &facts, &values).pretty())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The values of `-c` from the file, not from the monitor, as LXC has it. An unknown key is said
/// on standard error and does not change the status.
fn config_values(
    ctx: &Context,
    container: &Container,
    asked: &Asked,
) -> Result<Vec<(String, String)>, Failure> {
    if asked.keys.is_empty() {
        return Ok(Vec::new());
    }
    let loaded = match ctx.rcfile.is_some() || container.is_defined() {
        true => container.load()?,
        // A running container without a file: everything has its default.
        false => Loaded::default(),
    };
    let mut values = Vec::new();
    for key in &asked.keys {
        match loaded.get(key) {
            Ok(value) => values.push((key.clone(), value)),
            Err(e) => {
                log::debug!("{e}");
                ctx.warn(&format!("{key} invalid"));
            }
        }
    }
    Ok(values)
}

fn print(
    container: &Container,
    asked: &Asked,
    facts: &Facts,
    values: &[(String, String)],
) -> Result<(), Failure> {
    let mut out = out::Out::new();
    let labelled = asked.labelled();
    let mut line = |label: &str, value: &str| match labelled {
        true => out.line(&format!("{label:<15} {value}")),
        false => out.line(value),
    };
    if asked.all {
        line("Name:", container.name())?;
    }
    if asked.state {
        line("State:", facts.state.name())?;
    }
    if let (true, Some(pid)) = (asked.pid, facts.pid) {
        line("PID:", &pid.to_string())?;
    }
    for ip in &facts.ips {
        line("IP:", ip)?;
    }
    if asked.stats {
        for (label, value) in stats(facts, asked.human) {
            line(label, &value)?;
        }
    }
    let single = !asked.human && values.len() == 1 && asked.keys.len() == 1;
    for (key, value) in values {
        match (single, value.is_empty()) {
            (true, _) => out.line(value)?,
            (false, true) => out.line(&format!("{key} ="))?,
            (false, false) => out.line(&format!("{key} = {value}"))?,
        }
    }
    out.finish()
}

/// The lines of usage that the kernel has figures for.
fn stats(facts: &Facts, human: bool) -> Vec<(&'static str, String)> {
    let Usage { cpu, memory, block_io } = &facts.usage;
    let bytes = |n: u64| if human { size::human(n) } else { n.to_string() };
    let mut lines = Vec::new();
    if let Some(ns) = cpu.total {
        lines.push(("CPU use:", if human { size::cpu_seconds(ns) } else { ns.to_string() }));
    }
    let amounts = [
        ("BlkIO use:", block_io.bytes),
        ("Memory use:", memory.used),
        ("KMem use:", memory.kernel),
    ];
    for (label, amount) in amounts {
        lines.extend(amount.map(|n| (label, bytes(n))));
    }
    for link in &facts.links {
        lines.push(("Link:", link.name.clone()));
        lines.push((" TX bytes:", bytes(link.tx)));
        lines.push((" RX bytes:", bytes(link.rx)));
        lines.push((" Total bytes:", bytes(link.tx.saturating_add(link.rx))));
    }
    lines
}

fn json(container: &Container, asked: &Asked, facts: &Facts, values: &[(String, String)]) -> Value {
    let mut members: Vec<(&'static str, Value)> = vec![("name", container.name().into())];
    if asked.state {
        members.push(("state", facts.state.name().into()));
    }
    if asked.pid {
        members.push(("pid", facts.pid.into()));
    }
    if asked.ips {
        members.push(("ips", facts.ips.iter().map(|ip| ip.as_str().into()).collect()));
    }
    if asked.stats {
        let Usage { cpu, memory, block_io } = &facts.usage;
        members.extend([
            ("cpu_ns", cpu.total.into()),
            ("blkio_bytes", block_io.bytes.into()),
            ("memory_bytes", memory.used.into()),
            ("swap_bytes", memory.swap.into()),
            ("kernel_memory_bytes", memory.kernel.into()),
            ("links", facts.links.iter().map(link_json).collect()),
        ]);
    }
    if !asked.keys.is_empty() {
        let values = values
            .iter()
            .map(|(key, value)| (key.clone().into(), Value::from(value.trim_end_matches('\n'))));
        members.push(("config", Value::Object(values.collect())));
    }
    members.into()
}

fn link_json(link: &LinkUse) -> Value {
    Value::from(vec![
        ("name", link.name.as_str().into()),
        ("tx_bytes", link.tx.into()),
        ("rx_bytes", link.rx.into()),
    ])
}
