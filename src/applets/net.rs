//! lxc-net.

use super::Applet;
use crate::hostnet::status::{Status, survey};
use crate::hostnet::{self, Settings, Stopped, Wanted, doctor};
use crate::net::rtnl::Rtnl;
use crate::ui::args::{Format, get_format};
use crate::ui::command::ArgMatches;
use crate::ui::json::Value;
use crate::ui::{Context, Failure, out};
use std::fmt::Write as _;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-net",
    about: "makes the host's bridge for containers, with DHCP, DNS and NAT",
    run,
};

/// As init scripts have it (LSB): the service is not running.
const NOT_RUNNING: u8 = 3;
/// As LXC's script: a verb that it does not know.
const USAGE: u8 = 2;

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let format = get_format(ctx, matches)?;
    if ctx.container.is_some() || ctx.rcfile.is_some() {
        return Err(Failure::usage(ctx.prog, "this is about the host: no container, no --rcfile"));
    }
    let verbs = ctx.rest.iter().map(|word| word.to_str().unwrap_or_default());
    match verbs.collect::<Vec<_>>()[..] {
        ["start"] => start(ctx),
        ["stop"] => stop(ctx),
        ["restart" | "reload" | "force-reload"] => {
            stop(ctx)?;
            start(ctx)
        }
        ["status"] => status(ctx, format),
        ["doctor"] => examine(ctx, format),
        _ => Err(Failure::new("start, stop, restart, status or doctor?")
            .status(USAGE)
            .hint("lxc-net --help")),
    }
}

/// The settings; `None`, and a word on it, when they turn lxc-net off.
fn settings(ctx: &Context) -> Result<Option<Box<Settings>>, Failure> {
    let (wanted, notes) = hostnet::load()?;
    notes.iter().for_each(|note| ctx.warn(note));
    match wanted {
        Wanted::On(settings) => Ok(Some(settings)),
        Wanted::Off(origin) => {
            ctx.warn(&format!("nothing to do: USE_LXC_BRIDGE is not \"true\" ({origin})"));
            Ok(None)
        }
    }
}

fn start(ctx: &Context) -> Result<ExitCode, Failure> {
    if let Some(settings) = settings(ctx)? {
        let notes = hostnet::start(&settings)?;
        notes.iter().for_each(|note| ctx.warn(note));
    }
    Ok(ExitCode::SUCCESS)
}

/// Works without the settings: what was made is on record.
fn stop(ctx: &Context) -> Result<ExitCode, Failure> {
    let bridge = match hostnet::load() {
        Ok((Wanted::On(settings), _)) => settings.bridge.value,
        _ => "lxcbr0".to_owned(),
    };
    let mut notes = Vec::new();
    let (stopped, errors) = hostnet::stop(&bridge, &mut notes)?;
    notes.iter().for_each(|note| ctx.warn(note));
    if stopped == Stopped::Before {
        ctx.warn("lxc-net isn't running");
    }
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return Ok(ExitCode::SUCCESS) };
    errors.for_each(|error| ctx.warn_error(&error));
    Err(first.into())
}

fn status(ctx: &Context, format: Format) -> Result<ExitCode, Failure> {
    let Some(settings) = settings(ctx)? else { return Ok(ExitCode::from(NOT_RUNNING)) };
    let mut host = Rtnl::open()?;
    let status = survey(&settings, &mut host)?;
    match format {
        Format::Text => out::line(text(&settings, &status).trim_end())?,
        Format::Json => out::line(&json(&settings, &status).pretty())?,
    }
    let code = if status.complete() { 0 } else { NOT_RUNNING };
    Ok(ExitCode::from(code))
}

fn text(settings: &Settings, status: &Status) -> String {
    let mut lines = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(lines, "{label:<12} {value}");
    };
    let name = &settings.bridge.value;
    match &status.bridge {
        None => line("bridge:", &format!("{name} is missing")),
        Some(bridge) => {
            let state = if bridge.up { "up" } else { "down" };
            line("bridge:", &format!("{name}, {state}, {} ports", bridge.ports));
            bridge.addresses.iter().for_each(|address| line("address:", address));
        }
    }
    for family in &status.families {
        let label = if family.side.address.is_ipv6() { "IPv6:" } else { "IPv4:" };
        let forwards = if family.forwarding { "forwarded" } else { "not forwarded" };
        let nat = match (family.nat, family.side.nat) {
            (true, _) => "masqueraded",
            (false, true) => "not masqueraded",
            (false, false) => "routed, no NAT",
        };
        line(label, &format!("{}, {forwards}, {nat}", family.side.network));
    }
    match status.dnsmasq {
        Some(pid) => line("dnsmasq:", &format!("running, process {pid}")),
        None => line("dnsmasq:", "not running"),
    }
    line("leases:", &status.leases.len().to_string());
    for lease in &status.leases {
        let name = lease.name.as_deref().unwrap_or("-");
        line("", &format!("{} {} {name}", lease.address, lease.mac));
    }
    lines
}

fn json(settings: &Settings, status: &Status) -> Value {
    let family = |family: &hostnet::status::Family| {
        Value::from(vec![
            ("network", family.side.network.to_string().into()),
            ("address", family.side.address.to_string().into()),
            ("on_bridge", family.address.into()),
            ("forwarding", family.forwarding.into()),
            ("nat_wanted", family.side.nat.into()),
            ("nat", family.nat.into()),
        ])
    };
    let bridge = status.bridge.as_ref();
    let addresses = bridge.into_iter().flat_map(|b| &b.addresses);
    let leases = status.leases.iter().map(|lease| {
        Value::from(vec![
            ("until", lease.until.into()),
            ("mac", lease.mac.as_str().into()),
            ("address", lease.address.as_str().into()),
            ("name", lease.name.clone().into()),
        ])
    });
    Value::from(vec![
        ("bridge", settings.bridge.value.as_str().into()),
        ("complete", status.complete().into()),
        ("marked_up", status.marked.into()),
        ("exists", bridge.is_some().into()),
        ("up", bridge.is_some_and(|b| b.up).into()),
        ("ports", bridge.map_or(0, |b| b.ports as u64).into()),
        ("addresses", addresses.map(|a| a.as_str().into()).collect()),
        ("networks", status.families.iter().map(family).collect()),
        ("dnsmasq_pid", status.dnsmasq.into()),
        ("leases", leases.collect()),
    ])
}

fn examine(ctx: &Context, format: Format) -> Result<ExitCode, Failure> {
    let Some(settings) = settings(ctx)? else { return Ok(ExitCode::FAILURE) };
    let findings = doctor::examine(&settings)?;
    let blocked = findings.iter().any(|finding| finding.blocks);
    match format {
        Format::Text => {
            let mut out = out::Out::new();
            for finding in &findings {
                let word = if finding.blocks { "blocked" } else { "note" };
                out.line(&format!("{word}: {}\n  {}", finding.what, finding.mend))?;
            }
            if !blocked {
                out.line(&format!("nothing blocks \"{}\"", settings.bridge.value))?;
            }
            out.finish()?;
        }
        Format::Json => {
            let findings = findings.iter().map(|finding| {
                Value::from(vec![
                    ("what", finding.what.as_str().into()),
                    ("command", finding.mend.as_str().into()),
                    ("blocks", finding.blocks.into()),
                ])
            });
            out::line(&findings.collect::<Value>().pretty())?;
        }
    }
    Ok(if blocked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
