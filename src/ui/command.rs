//! What a tool declares of its command line, and what the line then had. The parser (`cli`), the
//! help texts, the man pages and the completions read the same declaration: a file of
//! `share/options`, in the words of the help text. A line is an option, two blanks, what it means:
//!
//! ```text
//! -f, --fancy                 no value
//! -F, --columns=LIST          a value, attached or as the next argument
//!     --nesting[=N]5          a value only when attached, otherwise 5
//! map: -m RANGES              what the tool asks for it by, where that is not its long name
//! rest: COMMAND               the arguments that are no options, shown so
//! * -n, --name=NAME           the container; the options that most tools share (`common`) follow
//! ```
//!
//! What is behind an empty line ends the help text as it is.

use crate::util::texts;
use std::ffi::{OsStr, OsString};

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

/// An option, or all arguments that are none.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// What the applet asks for it by.
    pub id: &'static str,
    /// `-x`.
    pub short: Option<char>,
    /// `--xyz`.
    pub long: Option<&'static str>,
    /// Its value.
    pub takes: Takes,
    /// The word for the value in help texts: `FILE`.
    pub value_name: &'static str,
    /// The value that it has when none is attached, with [`Takes::Attached`].
    pub missing: &'static str,
    /// One line; empty where the help text is not asked for.
    pub help: &'static str,
    /// It is listed with those that every tool has.
    pub common: bool,
}

impl Arg {
    /// Reads a line of a declaration, without its `*`.
    fn read(line: &'static str, common: bool) -> Self {
        let line = line.trim_start();
        let (spelled, help) = line.split_once("  ").unwrap_or((line, ""));
        let (id, spelled) = spelled.split_once(": ").unwrap_or(("", spelled));
        let (short, behind) = match spelled.as_bytes() {
            [b'-', letter, ..] if *letter != b'-' => (Some(char::from(*letter)), &spelled[2..]),
            _ => (None, spelled),
        };
        let (long, value) = match behind.trim_start_matches(", ").strip_prefix("--") {
            Some(long) if id != super::args::id::REST => {
                let (name, value) = long.split_at(long.find(['=', '[']).unwrap_or(long.len()));
                (Some(name), value)
            }
            _ => (None, behind),
        };
        let (takes, value_name, missing) = match value.strip_prefix("[=") {
            Some(value) => {
                let (name, missing) = value.split_once(']').unwrap_or((value, ""));
                (Takes::Attached, name, missing)
            }
            None if value.is_empty() => (Takes::Nothing, "", ""),
            None => (Takes::Value, value.trim_start_matches(['=', ' ']), ""),
        };
        let id = if id.is_empty() { long.unwrap_or_default() } else { id };
        Self { id, short, long, takes, value_name, missing, help: help.trim_start(), common }
    }

    /// No option: it stands for what is left after them.
    pub fn is_positional(&self) -> bool {
        self.short.is_none() && self.long.is_none()
    }
}

/// A tool's whole command line.
#[derive(Clone, Debug)]
pub struct Command {
    /// The tool: `lxc-start`.
    pub name: &'static str,
    /// In the order of the help text.
    pub args: Vec<Arg>,
    /// What the help text says after the options.
    pub notes: &'static str,
}

impl Command {
    /// What the tool declares, without the words for a help text.
    pub fn new(name: &'static str) -> Self {
        Self::read(name, texts::options(name).unwrap_or_default(), &texts::options)
    }

    /// All that the tool declares.
    pub fn explained(name: &'static str) -> Self {
        let text = |name: &str| texts::find(texts::OPTIONS_DIR, name);
        Self::read(name, text(name).unwrap_or_default(), &text)
    }

    /// Reads a declaration; `text` has the one of the common options.
    pub fn read(
        name: &'static str,
        declared: &'static str,
        text: &dyn Fn(&str) -> Option<&'static str>,
    ) -> Self {
        let (options, notes) = declared.split_once("\n\n").unwrap_or((declared, ""));
        let mut args: Vec<Arg> = Vec::new();
        for line in options.lines() {
            let Some(name) = line.strip_prefix("* ") else {
                args.push(Arg::read(line, false));
                continue;
            };
            args.push(Arg::read(name, true));
            for line in text("common").unwrap_or_default().lines() {
                let arg = Arg::read(line, true);
                // A tool may have its own.
                if args.iter().all(|own| own.long != arg.long) {
                    args.push(arg);
                }
            }
        }
        Self { name, args, notes: notes.trim_end() }
    }

    /// The declaration of that id.
    pub fn find(&self, id: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.id == id)
    }
}

/// What a command line had. As getopt has it, an option may be repeated.
#[derive(Debug, PartialEq, Eq)]
pub struct ArgMatches {
    given: Vec<(&'static str, OsString)>,
    /// What is left after the options.
    pub rest: Vec<OsString>,
    declared: Vec<&'static str>,
}

impl ArgMatches {
    /// An empty line for the command.
    pub fn new(command: &Command) -> Self {
        let declared = command.args.iter().map(|arg| arg.id).collect();
        Self { given: Vec::new(), rest: Vec::new(), declared }
    }

    /// One more option of the line, with its value if that is there.
    pub fn push(&mut self, arg: &Arg, value: Option<&OsStr>) {
        self.given.push((arg.id, value.unwrap_or(OsStr::new(arg.missing)).to_owned()));
    }

    /// If the option was given.
    pub fn get_flag(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// The value of the option; the last one counts.
    pub fn get(&self, id: &str) -> Option<&OsStr> {
        self.get_many(id).last()
    }

    /// All values of the option, in their order.
    pub fn get_many(&self, id: &str) -> impl Iterator<Item = &OsStr> {
        debug_assert!(self.declared.contains(&id), "the option {id} is not declared");
        self.given.iter().filter(move |(of, _)| *of == id).map(|(_, value)| value.as_os_str())
    }
}
