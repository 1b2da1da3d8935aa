//! lxc-checkconfig.

use super::Applet;
use crate::check::table::Group;
use crate::check::text::{self, Style};
use crate::check::{self, Answer, Capacity, ConfigSource, Host, Outcome, Purpose, Room, State};
use crate::container::Container;
use crate::container::start::{Start, StartError};
use crate::runtime::daemon::Mode;
use crate::sys::errno;
use crate::ui::args::{Format, get_format, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::json::Value;
use crate::ui::{Context, Failure, out};
use crate::util::blame::Explain;
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-checkconfig",
    about: "finds out whether this kernel and host run containers",
    run,
};

/// As the exit statuses of the help text.
const UNFIT: u8 = 1;
const UNCHECKED: u8 = 2;

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let format = get_format(ctx, matches)?;
    let purpose = purpose(ctx, matches)?;
    let host = match std::env::var_os("CONFIG").filter(|file| !file.is_empty()) {
        Some(file) => {
            Host::other(Path::new(&file)).map_err(|error| Failure::from(error).status(UNCHECKED))?
        }
        None => Host::this(&ctx.lxcpath),
    };
    let answers = check::examine(&host, purpose);
    let capacity = if host.live { check::capacity(&host, purpose) } else { Capacity::default() };
    if ctx.container.is_some() && !host.live {
        ctx.warn("a container is planned on the kernel that runs; -n has no effect beside CONFIG");
    }
    let planned = ctx.container.as_ref().filter(|_| host.live).map(|_| plan(ctx, &answers));
    let mut all;
    if matches.get_flag("fix") {
        all = text::fixes(&answers, purpose, Path::new("/"));
        if let Some(Err(failure)) = &planned {
            // Hints are for people: not each of them is a command.
            let hint = failure.hint_text().unwrap_or_default();
            let text = format!("{}: {}\n{hint}", ctx.name(), failure.text());
            text::remark(&mut all, text.trim_end());
        }
    } else if format == Format::Json {
        all = json(&host, purpose, &answers, &capacity, planned.as_ref()).pretty();
        all.push('\n');
    } else {
        let terminal = out::terminal_width().is_some();
        let style = if terminal { Style::Terminal } else { Style::Plain };
        all = text::text(&host, purpose, &answers, &capacity, style);
        if let Some(planned) = &planned {
            all.push_str(&format!("\n--- Container {} ---\n", ctx.name()));
            match planned {
                Ok(notes) => {
                    all.push_str("Start: enabled\n");
                    notes.iter().for_each(|note| all.push_str(&format!("note: {note}\n")));
                }
                Err(failure) => {
                    all.push_str(&format!("Start: required, blocked by {}\n", failure.text()));
                    let hint = failure.hint_text();
                    hint.iter().for_each(|hint| all.push_str(&format!("hint: {hint}\n")));
                }
            }
        }
    }
    out::bytes(all.as_bytes()).map_err(|failure| match failure.speaks() {
        true => failure.status(UNCHECKED),
        false => failure,
    })?;
    let status = match check::outcome(&answers, purpose) {
        Outcome::Fit => 0,
        Outcome::Unfit => UNFIT,
        Outcome::Open => UNCHECKED,
    };
    // What does not work weighs more than what could not be checked.
    Ok(ExitCode::from(match planned.map(|planned| planned.map_err(|f| f.exit_status())) {
        Some(Err(other)) if status != UNFIT => other,
        _ => status,
    }))
}

fn purpose(ctx: &Context, matches: &ArgMatches) -> Result<Purpose, Failure> {
    let Some(wanted) = get_text(ctx, matches, "for")? else { return Ok(Purpose::Plain) };
    let found = Purpose::NAMES.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, purpose)| *purpose).ok_or_else(|| {
        let names: Vec<&str> = Purpose::NAMES.iter().map(|(name, _)| *name).collect();
        Failure::usage(ctx.prog, format!("unknown purpose \"{wanted}\": {}", names.join(", ")))
    })
}

/// Plans the start of the container of `-n` on a kernel that gave these answers, and gives the
/// plan's remarks.
///
/// # Errors
/// What would keep it from starting (status 1), or that it is not there or not to be read (2).
fn plan(ctx: &Context, answers: &[Answer]) -> Result<Vec<String>, Failure> {
    let start = Start {
        container: Container::new(ctx.lxcpath.clone(), ctx.name())?,
        rcfile: ctx.rcfile.clone(),
        defines: Vec::new(),
        command: Vec::new(),
        execute: false,
        quiet: false,
        mode: Mode::Daemon,
        pidfile: None,
    };
    let prepared = start.prepare().map_err(|error| {
        // What may not be read says nothing of the kernel.
        let unchecked =
            matches!(error, StartError::Undefined { .. }) || error.errno() == Some(errno::EACCES);
        Failure::from(error).status(if unchecked { UNCHECKED } else { UNFIT })
    })?;
    let mut notes = prepared.warnings.clone();
    let plan = prepared.plan()?;
    for answer in answers {
        let id = answer.item.id;
        // Of a limit, `lxc.cgroup2.cpu.max`.
        let controller =
            if id == "cgroup-sched" { "cpu" } else { id.trim_start_matches("cgroup-") };
        let wanted = plan.net.nics.iter().any(|nic| nic.kind.name() == id)
            || plan.cgroup.settings.iter().any(|s| s.key.split('.').nth(2) == Some(controller))
            || id == "user" && plan.idmap.is_some();
        if wanted && matches!(answer.verdict.state, State::Absent | State::Blocked) {
            let text = format!("{}: {}", answer.item.label, answer.verdict.detail);
            return Err(match answer.verdict.mend.as_str() {
                "" => Failure::new(text),
                mend => Failure::new(text).hint(mend),
            });
        }
    }
    notes.extend(plan.notes);
    Ok(notes)
}

fn json(
    host: &Host,
    purpose: Purpose,
    answers: &[Answer],
    capacity: &Capacity,
    planned: Option<&Result<Vec<String>, Failure>>,
) -> Value {
    let item = |answer: &Answer| {
        let verdict = &answer.verdict;
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let settled = verdict.is_there() && !answer.lacks(purpose);
        let symbols =
            answer.item.symbols.split_whitespace().map(|s| Value::from(format!("CONFIG_{s}")));
        Value::from(vec![
            ("id", answer.item.id.into()),
            ("label", answer.item.label.into()),
            ("group", Group::title(answer.item.group).into()),
            ("state", verdict.state.word().into()),
            ("need", answer.need.word().into()),
            ("detail", text(&verdict.detail).into()),
            ("mend", text(if settled { "" } else { &verdict.mend }).into()),
            ("module_loaded", answer.loaded.into()),
            ("symbols", symbols.collect()),
        ])
    };
    let room = |room: &Room| {
        Value::from(vec![
            ("what", room.what.into()),
            ("limit", room.limit.into()),
            ("max", room.max.into()),
            ("used", room.used.into()),
            ("each", room.each.into()),
            ("more", room.more().into()),
        ])
    };
    let start = |planned: &Result<Vec<String>, Failure>| {
        let failure = planned.as_ref().err();
        let notes = planned.iter().flatten().map(|note| note.as_str().into());
        Value::from(vec![
            ("works", failure.is_none().into()),
            ("error", failure.map(|f| f.text().to_owned()).into()),
            ("mend", failure.and_then(|f| f.hint_text().map(str::to_owned)).into()),
            ("notes", notes.collect()),
        ])
    };
    let config = match host.config_source() {
        ConfigSource::Found(path) => Some(path.display().to_string()),
        ConfigSource::Nowhere => None,
    };
    let outcome = match check::outcome(answers, purpose) {
        Outcome::Fit => "fit",
        Outcome::Unfit => "unfit",
        Outcome::Open => "unchecked",
    };
    Value::from(vec![
        ("version", 1.into()),
        ("purpose", Purpose::NAMES[purpose as usize].0.into()),
        ("result", outcome.into()),
        ("running", host.live.into()),
        ("release", Some(host.release.clone()).filter(|r| !r.is_empty()).into()),
        ("config", config.into()),
        ("items", answers.iter().map(item).collect()),
        ("room", capacity.rooms.iter().map(room).collect()),
        ("start", planned.map(start).into()),
        ("first_limit", capacity.first().map(|room| room.what.to_owned()).into()),
    ])
}
