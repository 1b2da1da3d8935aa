//! Help and usage texts out of a `Command`, in the layout LXC's users know. The man pages and
//! completions read the same declarations.

use super::command::{Arg, Command, Takes};
use super::table::width;

/// The options of a command that a person may use, in the order of declaration.
pub fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.args.iter().filter(|arg| !arg.is_positional())
}

/// `-n, --name=NAME`.
pub fn spelling(arg: &Arg) -> String {
    let mut text = match (arg.short, arg.long) {
        (Some(short), Some(_)) => format!("-{short}, "),
        (Some(short), None) => format!("-{short}"),
        (None, _) => "    ".to_owned(),
    };
    if let Some(long) = arg.long {
        text.push_str("--");
        text.push_str(long);
    }
    let name = arg.value_name;
    match (arg.takes, arg.long) {
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
    let mut text = format!("{} [OPTION]...", command.name);
    if command.find(super::args::id::NAME).is_some() {
        text = format!("{} [-n] NAME [OPTION]...", command.name);
    }
    if let Some(rest) = command.find(super::args::id::REST) {
        let (open, close) = match rest.value_name.contains(" [") || rest.value_name.contains("...")
        {
            // It says itself what has to be there and what repeats.
            true => ("", ""),
            false => ("[", "...]"),
        };
        text.extend([" ", open, rest.value_name, close]);
    }
    text
}

/// The whole help text.
pub fn help(command: &Command, about: &str) -> String {
    let mut text = format!("Usage: {}\n\n{}: {about}\n", synopsis(command), command.name);
    let (common, own): (Vec<_>, Vec<_>) = options(command).partition(|arg| arg.common);
    section(&mut text, "Options", &own);
    // What every program has shares a line: a terminal has 24.
    let switch = |arg: &&Arg| matches!(arg.takes, Takes::Nothing);
    let (plain, common): (Vec<_>, Vec<_>) = common.into_iter().partition(switch);
    section(&mut text, "Common options", &common);
    let plain: Vec<String> = plain.into_iter().map(|arg| spelling(arg).trim().to_owned()).collect();
    if !plain.is_empty() {
        text.extend(["  ", &plain.join("   "), "\n"]);
    }
    if !command.notes.is_empty() {
        text.extend(["\n", command.notes, "\n"]);
    }
    text
}

const HELP_COLUMN: usize = 27;
/// How far an option may reach into the column of the words.
const RAGGED: usize = 12;
const LINE_WIDTH: usize = 79;

fn section(text: &mut String, heading: &str, options: &[&Arg]) {
    if options.is_empty() {
        return;
    }
    text.push_str(&format!("\n{heading}:\n"));
    for arg in options {
        let left = format!("  {}", spelling(arg));
        text.push_str(&left);
        let mut column = width(&left);
        if column + 2 > HELP_COLUMN + RAGGED {
            text.push('\n');
            column = 0;
        } else if column + 2 > HELP_COLUMN {
            text.push(' ');
            column += 1;
        }
        for word in arg.help.split_whitespace() {
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
    let mut text = format!("Usage: {}", command.name);
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

    const DECLARED: &str = "-f, --fast          be fast\n    --depth[=N]1    how deep\n\
                            rest: COMMAND\n* -n, --name=NAME   its name\n";

    fn command() -> Command {
        let common = "-l, --level=LEVEL   so much, and so very, very many words that what they \
                      say cannot be on one line";
        Command::read("lxc-x", DECLARED, &|_| Some(common))
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
        assert!(text.contains("  -f, --fast               be fast\n"), "{text}");
        assert!(text.contains("cannot be on one line"), "{text}");
        assert!(usage(&command()).contains("[-n|--name=NAME]"));
    }
}
