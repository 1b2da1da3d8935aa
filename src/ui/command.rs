//! What an applet declares of its command line, and what the line then had. The parser (`cli`),
//! the help texts, the man pages and the completions read the same declaration.

use std::borrow::Cow;
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
#[derive(Clone, Debug)]
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
    /// One line.
    pub help: Cow<'static, str>,
    /// It is listed with those that every tool has.
    pub common: bool,
}

impl Arg {
    /// An argument that has no names yet: without any it stands for what is left after the options.
    pub fn new(id: &'static str, takes: Takes) -> Self {
        Self {
            id,
            short: None,
            long: None,
            takes,
            value_name: "VALUE",
            missing: "",
            help: Cow::Borrowed(""),
            common: false,
        }
    }

    /// `-x`.
    pub fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    /// The value may be left off and is `missing` then; it is only taken attached.
    pub fn optional(mut self, missing: &'static str) -> Self {
        self.takes = Takes::Attached;
        self.missing = missing;
        self
    }

    /// One line for the help text.
    pub fn help(mut self, line: impl Into<Cow<'static, str>>) -> Self {
        self.help = line.into();
        self
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
    pub notes: Cow<'static, str>,
}

impl Command {
    /// A tool without options.
    pub fn new(name: &'static str) -> Self {
        Self { name, args: Vec::new(), notes: Cow::Borrowed("") }
    }

    /// Declares one more.
    pub fn arg(mut self, arg: Arg) -> Self {
        self.args.push(arg);
        self
    }

    /// What the help text says after the options.
    pub fn after_help(mut self, notes: impl Into<Cow<'static, str>>) -> Self {
        self.notes = notes.into();
        self
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
