//! The text for people and for the scripts that read LXC's: the first four sections have LXC's
//! labels, and `enabled`, `missing` and `required` mean what they do there.

use super::table::Group;
use super::{Answer, Capacity, ConfigSource, Host, Need, Outcome, Purpose, State, outcome};
use std::fmt::Write as _;

/// LXC says `required` of these alone when they are missing, and so do we: its other labels are
/// `missing`.
const LXC_REQUIRES: [&str; 3] = ["namespaces", "ipc", "pid"];

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With colours.
    Terminal,
    /// Without.
    Plain,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";

fn paint(out: &mut String, style: Style, colour: &str, text: &str) {
    match style {
        Style::Terminal => {
            let _ = write!(out, "\x1b[1;{colour}m{text}\x1b[0m");
        }
        Style::Plain => out.push_str(text),
    }
}

/// Everything.
pub fn text(
    host: &Host,
    purpose: Purpose,
    answers: &[Answer],
    capacity: &Capacity,
    style: Style,
) -> String {
    let mut out = format!("LXC version {}\n", env!("CARGO_PKG_VERSION"));
    match host.config_source() {
        ConfigSource::Found(path) => {
            let _ = writeln!(out, "Kernel configuration found at {}", path.display());
        }
        ConfigSource::Nowhere => {
            let _ = writeln!(
                out,
                "Kernel configuration not found (`modprobe configs` may bring it); the kernel \
                 itself was asked"
            );
        }
    }
    for group in Group::ALL {
        let of_group: Vec<&Answer> = answers.iter().filter(|a| a.item.group == group).collect();
        if of_group.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n--- {} ---", group.title());
        for answer in of_group {
            line(&mut out, answer, style);
            if answer.item.id == "cgroup-ns" && host.live {
                mounts(&mut out, host);
            }
        }
    }
    if host.live {
        rooms(&mut out, capacity);
    }
    summary(&mut out, purpose, answers, style);
    out.push_str(
        "\nNote : the configuration of a kernel that does not run yet can be checked too\n\
         usage : CONFIG=/path/to/config lxc-checkconfig\n",
    );
    out
}

/// `Label: state[, detail]`.
fn line(out: &mut String, answer: &Answer, style: Style) {
    let Answer { item, verdict, .. } = answer;
    let _ = write!(out, "{}: ", item.label);
    let lacking = match answer.need {
        Need::Required if Group::ALL[..4].contains(&item.group) => {
            match LXC_REQUIRES.contains(&item.id) {
                true => ("required", RED),
                false => ("missing", RED),
            }
        }
        Need::Required => ("required", RED),
        _ => ("missing", YELLOW),
    };
    let (word, colour) = match verdict.state {
        State::Works | State::RootOnly => ("enabled", GREEN),
        State::Blocked | State::Absent => lacking,
        State::Unknown => ("unknown", YELLOW),
    };
    paint(out, style, colour, word);
    if let (true, Some(loaded)) = (verdict.is_there(), answer.loaded) {
        out.push_str(if loaded { ", loaded" } else { ", not loaded" });
    }
    match verdict.state {
        State::RootOnly => out.push_str(", for root only"),
        State::Blocked => out.push_str(", blocked by"),
        _ => {}
    }
    if !verdict.detail.is_empty() {
        out.push_str(match verdict.state {
            State::Blocked => " ",
            State::RootOnly => ": ",
            _ => ", ",
        });
        out.push_str(&verdict.detail);
    }
    out.push('\n');
}

fn mounts(out: &mut String, host: &Host) {
    for (label, v2) in [("Cgroup v1 mount points: ", false), ("Cgroup v2 mount points: ", true)] {
        let _ = writeln!(out, "{label}");
        for point in host.cgroup_mounts(v2) {
            let _ = writeln!(out, " - {point}");
        }
    }
}

fn rooms(out: &mut String, capacity: &Capacity) {
    if capacity.rooms.is_empty() {
        return;
    }
    out.push_str("\n--- Room for more containers ---\n");
    for room in &capacity.rooms {
        let _ = writeln!(
            out,
            "{}: {} more ({} of {} used, {} each; {})",
            room.what,
            room.more(),
            room.used,
            room.max,
            room.each,
            room.limit
        );
    }
    if let Some(first) = capacity.first() {
        let _ = writeln!(out, "first limit: {} ({} more)", first.what, first.more());
    }
}

/// What it comes to, and why.
fn summary(out: &mut String, purpose: Purpose, answers: &[Answer], style: Style) {
    let name = Purpose::NAMES[purpose as usize].0;
    let _ = write!(out, "\n--- Result for {name} containers ---\n");
    let colour = |need: Need| if need == Need::Required { RED } else { YELLOW };
    for need in [Need::Required, Need::Recommended] {
        for answer in answers.iter().filter(|a| a.need == need && a.lacks(purpose)) {
            paint(out, style, colour(need), need.word());
            let _ = write!(out, ": {}", answer.item.label);
            if !answer.verdict.detail.is_empty() {
                let _ = write!(out, ": {}", answer.verdict.detail);
            }
            out.push('\n');
        }
    }
    let said = match outcome(answers, purpose) {
        Outcome::Fit => "everything that is required works",
        Outcome::Unfit => "something that is required does not work (lxc-checkconfig --fix)",
        Outcome::Open => "something that is required could not be checked",
    };
    let _ = writeln!(out, "{said}");
}

/// A line that no shell runs, whatever is in it.
pub fn remark(out: &mut String, text: &str) {
    let _ = writeln!(out, "# {}", text.replace('\n', "\n# "));
}

/// What `--fix` prints, for a shell as it is: commands, and as remarks what cannot be had by a
/// command, the lines of files among it.
pub fn fixes(answers: &[Answer], purpose: Purpose, root: &std::path::Path) -> String {
    let mut out = String::new();
    let mut words = super::boot::Words::default();
    let mut symbols: Vec<&str> = Vec::new();
    for answer in answers {
        if !answer.lacks(purpose) {
            continue;
        }
        let mend = answer.verdict.mend.as_str();
        remark(&mut out, &format!("{}: {}", answer.item.label, answer.verdict.detail));
        if words.take(mend) {
            remark(&mut out, "see the boot words below");
        } else if mend.starts_with('#') || mend == "reboot" {
            remark(&mut out, mend.trim_start_matches("# "));
        } else if !mend.is_empty() {
            // Once for all that it mends.
            if !out.lines().any(|line| line == mend) {
                let _ = writeln!(out, "{mend}");
            }
        } else if answer.verdict.state == State::Absent {
            let first = answer.item.symbols.split_whitespace().filter_map(|s| s.split('|').next());
            symbols.extend(first);
        }
    }
    symbols.dedup();
    if !symbols.is_empty() {
        remark(&mut out, "a kernel built with:");
        symbols.iter().for_each(|symbol| remark(&mut out, &format!("  CONFIG_{symbol}=y")));
    }
    if !words.is_empty() {
        out.push_str(&boot(&words, root));
    }
    if out.is_empty() {
        remark(&mut out, "nothing to change");
    }
    out
}

fn boot(words: &super::boot::Words, root: &std::path::Path) -> String {
    let Some(edit) = words.edit(root) else {
        let list = |label: &str, list: &[String]| match list {
            [] => String::new(),
            list => format!("#   {label} {}\n", list.join(" ")),
        };
        return format!(
            "# the kernel's boot words, in the boot loader's settings (none that is known was found):\n{}{}",
            list("add", &words.add),
            list("take away", &words.remove)
        );
    };
    let path = edit.path.display();
    let what = match edit.line {
        Some(n) => format!("line {n} is to be"),
        None => "a line is to be added".to_owned(),
    };
    let then = if edit.then.is_empty() { "" } else { " && " };
    // The line is for an editor, and what follows is of use only after that.
    format!("# {path}: {what}\n#   {}\n# then {}{then}reboot\n", edit.text, edit.then)
}
