//! Help and usage texts out of a clap `Command`, in the layout LXC's users know. The man pages
//! and completions read the same declarations.

use super::args::COMMON_HEADING;
use super::table::width;
use clap::{Arg, Command};

/// How an option wants its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// No value.
    Nothing,
    /// A value, attached or as the next argument.
    Value,
    /// A value only when attached (`-eCAP`, `--nesting=3`).
    Attached,
}

/// What clap was told about the option.
pub fn takes(arg: &Arg) -> Takes {
    if !arg.get_action().takes_values() {
        return Takes::Nothing;
    }
    match arg.get_num_args() {
        Some(range) if range.min_values() == 0 => Takes::Attached,
        _ => Takes::Value,
    }
}

/// The options of a command that a person may use, in the order of declaration.
pub fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

/// The word for an option's value: `FILE`.
pub fn value_name(arg: &Arg) -> &str {
    arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str())
}

/// One line of help for an option.
pub fn option_help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

/// `-n, --name=NAME`.
pub fn spelling(arg: &Arg) -> String {
    let mut text = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(_)) => format!("-{short}, "),
        (Some(short), None) => format!("-{short}"),
        (None, _) => "    ".to_owned(),
    };
    if let Some(long) = arg.get_long() {
        text.push_str("--");
        text.push_str(long);
    }
    let name = value_name(arg);
    match (takes(arg), arg.get_long()) {
        (Takes::Nothing, _) => {}
        (Takes::Value, Some(_)) => text.extend(["=", name]),
        (Takes::Value, None) => text.extend([" ", name]),
        (Takes::Attached, Some(_)) => text.extend(["[=", name, "]"]),
        (Takes::Attached, None) => text.extend(["[", name, "]"]),
    }
    text
}

/// `lxc-start [OPTIONS] [NAME] [COMMAND...]`, or what the command overrides it with.
pub fn synopsis(command: &Command) -> String {
    let mut text = format!("{} [OPTION]...", command.get_name());
    if command.get_arguments().any(|arg| arg.get_id() == super::args::id::NAME) {
        text = format!("{} [-n] NAME [OPTION]...", command.get_name());
    }
    for arg in command.get_arguments().filter(|a| a.is_positional() && !a.is_hide_set()) {
        let dots = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
        text.push_str(&format!(" [{}{}]", value_name(arg), if dots { "..." } else { "" }));
    }
    text
}

/// The whole help text.
pub fn help(command: &Command, about: &str) -> String {
    let mut text = format!("Usage: {}\n\n{}: {about}\n", synopsis(command), command.get_name());
    let (common, own): (Vec<_>, Vec<_>) =
        options(command).partition(|arg| arg.get_help_heading() == Some(COMMON_HEADING));
    section(&mut text, "Options", &own);
    section(&mut text, COMMON_HEADING, &common);
    if let Some(after) = command.get_after_help() {
        text.push('\n');
        text.push_str(after.to_string().trim_end());
        text.push('\n');
    }
    text
}

const HELP_COLUMN: usize = 32;
const LINE_WIDTH: usize = 92;

fn section(text: &mut String, heading: &str, options: &[&Arg]) {
    if options.is_empty() {
        return;
    }
    text.push_str(&format!("\n{heading}:\n"));
    for arg in options {
        let left = format!("  {}", spelling(arg));
        text.push_str(&left);
        let mut column = width(&left);
        if column + 2 > HELP_COLUMN {
            text.push('\n');
            column = 0;
        }
        for word in option_help(arg).split_whitespace() {
            let at_start = column < HELP_COLUMN;
            if !at_start && column + 1 + width(word) > LINE_WIDTH {
                text.push('\n');
                column = 0;
            }
            if column < HELP_COLUMN {
                text.extend(std::iter::repeat_n(' ', HELP_COLUMN - column));
                column = HELP_COLUMN;
            } else {
                text.push(' ');
                column += 1;
            }
            text.push_str(word);
            column += width(word);
        }
        text.push('\n');
    }
}

/// The short text of `--usage`: every option in brackets.
pub fn usage(command: &Command) -> String {
    let mut text = format!("Usage: {}", command.get_name());
    let mut column = width(&text);
    for arg in options(command) {
        let spelled = spelling(arg);
        let word = format!("[{}]", spelled.trim_start().replacen(", ", "|", 1));
        if column + 1 + width(&word) > LINE_WIDTH {
            text.push_str("\n       ");
            column = 7;
        }
        text.push(' ');
        text.push_str(&word);
        column += 1 + width(&word);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::args::{flag, rest, shared, value};

    fn command() -> Command {
        shared(
            Command::new("lxc-x")
                .arg(flag("fast", "fast").short('f').help("be fast"))
                .arg(value("depth", "depth", "N").num_args(0..=1).help("how deep"))
                .arg(rest("COMMAND")),
        )
    }

    #[test]
    fn options_are_spelled_as_getopt_takes_them() {
        let command = command();
        let spelled: Vec<String> = options(&command).take(3).map(spelling).collect();
        assert_eq!(spelled, ["-f, --fast", "    --depth[=N]", "-n, --name=NAME"]);
        assert_eq!(synopsis(&command), "lxc-x [-n] NAME [OPTION]... [COMMAND...]");
    }

    #[test]
    fn help_lines_fit_and_keep_every_word() {
        let text = help(&command(), "test");
        assert!(text.lines().all(|line| line.len() <= LINE_WIDTH), "{text}");
        assert!(text.contains("  -f, --fast                    be fast\n"), "{text}");
        assert!(text.contains("without -o the default log file"), "{text}");
        assert!(usage(&command()).contains("[-n|--name=NAME]"));
    }
}
