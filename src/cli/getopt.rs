//! GNU getopt_long's rules over the options an applet declared: permutation, unique abbreviations
//! of long options, clusters, values attached or separate, optional values only attached, `--`,
//! POSIXLY_CORRECT.

use crate::ui::args::id;
use crate::ui::command::{Arg, ArgMatches, Command, Takes};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Run, with these.
    Run(ArgMatches),
    /// `-h`, `--help`.
    Help,
    /// `-?`: help, but exit status 1.
    HelpFailing,
    /// `--usage`.
    Usage,
    /// `--version`.
    Version,
}

/// A command line that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// `-x` is not declared.
    #[error("unknown option \"-{0}\"")]
    UnknownShort(char),
    /// `--xyz` is not declared; the nearest that is.
    #[error("unknown option \"--{0}\"{hint}", hint = suggestion(.1.as_deref()))]
    UnknownLong(String, Option<String>),
    /// `--x` is the beginning of several.
    #[error("option \"--{0}\" is ambiguous: --{list}", list = .1.join(" --"))]
    Ambiguous(String, Vec<String>),
    /// The last word lacks its value.
    #[error("option \"{0}\" requires an argument")]
    Missing(String),
    /// `--flag=value`.
    #[error("option \"--{0}\" doesn't allow an argument")]
    Surplus(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|n| format!(" (did you mean \"--{n}\"?)")).unwrap_or_default()
}

/// Whether options may follow arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// GNU: yes.
    Permute,
    /// POSIXLY_CORRECT is set: the first argument ends the options.
    Posix,
}

/// Reads `args` (without the program's name).
pub fn parse(command: &Command, args: &[OsString], order: Order) -> Result<Parsed, Error> {
    let mut reader = Reader {
        options: command.args.iter().filter(|a| !a.is_positional()).collect(),
        found: ArgMatches::new(command),
        args: args.iter(),
    };
    while let Some(arg) = reader.args.next() {
        let special = match arg.as_bytes() {
            b"--" => {
                reader.found.rest.extend(reader.args.by_ref().cloned());
                break;
            }
            [b'-', b'-', long @ ..] => reader.long(long)?,
            [b'-', cluster @ ..] if !cluster.is_empty() => reader.cluster(cluster)?,
            _ => {
                reader.found.rest.push(arg.clone());
                if order == Order::Posix {
                    reader.found.rest.extend(reader.args.by_ref().cloned());
                    break;
                }
                None
            }
        };
        if let Some(special) = special {
            return Ok(special);
        }
    }
    Ok(Parsed::Run(reader.found))
}

struct Reader<'a> {
    options: Vec<&'a Arg>,
    found: ArgMatches,
    args: std::slice::Iter<'a, OsString>,
}

impl<'a> Reader<'a> {
    fn long(&mut self, word: &[u8]) -> Result<Option<Parsed>, Error> {
        let (name, value) = match word.iter().position(|b| *b == b'=') {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let arg = self.find_long(name)?;
        let long = arg.long.unwrap_or_default();
        match (arg.takes, value) {
            (Takes::Nothing, Some(_)) => return Err(Error::Surplus(long.to_owned())),
            (Takes::Nothing, None) => {
                if let Some(special) = special(arg) {
                    return Ok(Some(special));
                }
                self.push(arg, None);
            }
            (_, Some(value)) => self.push(arg, Some(value)),
            (Takes::Attached, None) => self.push(arg, None),
            (Takes::Value, None) => {
                let value = self.args.next().ok_or_else(|| Error::Missing(format!("--{long}")))?;
                self.push(arg, Some(value.as_bytes()));
            }
        }
        Ok(None)
    }

    /// Exact, or a beginning that fits one option only.
    fn find_long(&self, name: &[u8]) -> Result<&'a Arg, Error> {
        let longs = || self.options.iter().filter_map(|arg| Some((arg.long?, *arg)));
        if let Some((_, arg)) = longs().find(|(long, _)| long.as_bytes() == name) {
            return Ok(arg);
        }
        let fits: Vec<_> = longs().filter(|(long, _)| long.as_bytes().starts_with(name)).collect();
        let shown = || String::from_utf8_lossy(name).into_owned();
        match fits.as_slice() {
            [(_, arg)] => Ok(arg),
            [] => {
                let shown = shown();
                let nearest = longs()
                    .map(|(long, _)| (distance(long, &shown), long))
                    .filter(|(away, long)| *away <= 2 && *away < long.len())
                    .min();
                let nearest = nearest.map(|(_, long)| long.to_owned());
                Err(Error::UnknownLong(shown, nearest))
            }
            many => {
                let names = many.iter().map(|(long, _)| (*long).to_owned()).collect();
                Err(Error::Ambiguous(shown(), names))
            }
        }
    }

    /// `-qn c1`, `-nc1`, `-eCAP`.
    fn cluster(&mut self, cluster: &[u8]) -> Result<Option<Parsed>, Error> {
        let mut left = cluster;
        while let [letter, more @ ..] = left {
            left = more;
            if *letter == b'?' {
                return Ok(Some(Parsed::HelpFailing));
            }
            let letter = if letter.is_ascii() { char::from(*letter) } else { '\u{fffd}' };
            let arg = *self
                .options
                .iter()
                .find(|arg| arg.short == Some(letter))
                .ok_or(Error::UnknownShort(letter))?;
            match (arg.takes, left) {
                (Takes::Nothing, _) => {
                    if let Some(special) = special(arg) {
                        return Ok(Some(special));
                    }
                    self.push(arg, None);
                    continue;
                }
                (Takes::Value, []) => {
                    let value =
                        self.args.next().ok_or_else(|| Error::Missing(format!("-{letter}")))?;
                    self.push(arg, Some(value.as_bytes()));
                }
                (Takes::Attached, []) => self.push(arg, None),
                (_, value) => self.push(arg, Some(value)),
            }
            return Ok(None);
        }
        Ok(None)
    }

    fn push(&mut self, arg: &Arg, value: Option<&[u8]>) {
        self.found.push(arg, value.map(OsStr::from_bytes));
    }
}

/// Options that are acted upon as soon as they are read, as LXC's tools do.
fn special(arg: &Arg) -> Option<Parsed> {
    match arg.id {
        id::HELP => Some(Parsed::Help),
        id::USAGE => Some(Parsed::Usage),
        id::VERSION => Some(Parsed::Version),
        _ => None,
    }
}

/// Edit distance (Levenshtein), for suggestions.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}

/// True if the environment asks for POSIX's order. Only its presence counts.
pub fn order_from(posixly_correct: Option<&OsStr>) -> Order {
    if posixly_correct.is_some() { Order::Posix } else { Order::Permute }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARED: &str = "-d, --daemon\n--define\n-e, --elevated[=WHAT]ALL\n-u, --uid=N\n\
                            m: -m VALUE\nrest: COMMAND\n* -n, --name=NAME\n";

    fn command() -> Command {
        Command::read("lxc-x", DECLARED, &crate::util::texts::options)
    }

    /// `--id=value` of each option by its declaration, `--`, the arguments.
    fn shown(found: &ArgMatches) -> String {
        let mut words = Vec::new();
        for arg in command().args.iter().filter(|arg| !arg.is_positional()) {
            words.extend(found.get_many(arg.id).map(|value| match value.to_string_lossy() {
                value if arg.takes == Takes::Nothing => format!("--{}{value}", arg.id),
                value => format!("--{}={value}", arg.id),
            }));
        }
        words.push("--".to_owned());
        words.extend(found.rest.iter().map(|word| word.to_string_lossy().into_owned()));
        words.join(" ")
    }

    fn run(words: &[&str]) -> Result<String, Error> {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        parse(&command(), &args, Order::Permute).map(|parsed| match parsed {
            Parsed::Run(found) => shown(&found),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn values_and_clusters_take_one_form() {
        for words in
            [&["-n", "c1"][..], &["-nc1"], &["--name", "c1"], &["--name=c1"], &["--nam=c1"]]
        {
            assert_eq!(run(words).unwrap(), "--name=c1 --", "{words:?}");
        }
        assert_eq!(run(&["-dqnc1"]).unwrap(), "--daemon --name=c1 --quiet --");
        assert_eq!(run(&["-mA", "-m", "-B"]).unwrap(), "--m=A --m=-B --");
        assert_eq!(run(&["-u", "-1"]).unwrap(), "--uid=-1 --");
        assert_eq!(run(&["--uid="]).unwrap(), "--uid= --");
    }

    #[test]
    fn optional_values_are_only_taken_attached() {
        assert_eq!(run(&["-eCAP|LSM"]).unwrap(), "--elevated=CAP|LSM --");
        assert_eq!(run(&["--e=CAP"]).unwrap(), "--elevated=CAP --");
        assert_eq!(run(&["-e", "CAP"]).unwrap(), "--elevated=ALL -- CAP");
        assert_eq!(run(&["-de", "x"]).unwrap(), "--daemon --elevated=ALL -- x");
    }

    #[test]
    fn operands_may_come_first_unless_posix() {
        assert_eq!(run(&["c1", "-d", "ls", "--", "-l"]).unwrap(), "--daemon -- c1 ls -l");
        assert_eq!(run(&["c1", "-", "-d"]).unwrap(), "--daemon -- c1 -");
        let args: Vec<OsString> = ["-d", "c1", "ls", "-l"].iter().map(OsString::from).collect();
        let Parsed::Run(found) = parse(&command(), &args, Order::Posix).unwrap() else { panic!() };
        assert_eq!(shown(&found), "--daemon -- c1 ls -l");
    }

    #[test]
    fn wrong_words_are_named() {
        let text = |words| run(words).unwrap_err().to_string();
        assert_eq!(text(&["-Z"]), "unknown option \"-Z\"");
        assert_eq!(text(&["--nmae=1"]), "unknown option \"--nmae\" (did you mean \"--name\"?)");
        assert_eq!(text(&["--zzzzzz"]), "unknown option \"--zzzzzz\"");
        assert_eq!(text(&["--d"]), "option \"--d\" is ambiguous: --daemon --define");
        assert_eq!(text(&["-n"]), "option \"-n\" requires an argument");
        assert_eq!(text(&["--daemon=1"]), "option \"--daemon\" doesn't allow an argument");
    }

    #[test]
    fn help_and_its_kin_act_at_once() {
        assert_eq!(run(&["-d", "-h", "-Z"]).unwrap(), "Help");
        assert_eq!(run(&["-?"]).unwrap(), "HelpFailing");
        assert_eq!(run(&["--usage"]).unwrap(), "Usage");
        assert_eq!(run(&["--vers"]).unwrap(), "Version");
        assert_eq!(run(&["--", "-h"]).unwrap(), "-- -h");
    }

    proptest::proptest! {
        #[test]
        fn every_command_line_is_read_or_refused(
            words in proptest::collection::vec("-{0,3}[a-z=?\u{e9}]{0,8}", 0..6)
        ) {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            // Each word that is no option's is an argument, in its order.
            if let Ok(Parsed::Run(found)) = parse(&command(), &args, Order::Permute) {
                let mut left = args.iter();
                proptest::prop_assert!(found.rest.iter().all(|word| left.any(|arg| arg == word)));
            }
        }
    }
}
