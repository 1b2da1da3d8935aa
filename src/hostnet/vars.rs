//! The variables of /etc/default/lxc and /etc/default/lxc-net: files that are written for a shell,
//! read without one. Assignments with the shell's quotes, escapes and `$NAME`, and the inclusion of
//! another file are understood; whatever would need a command to be run is an error that names
//! file and line, never passed over. Pure but for the reading of files in [`Variables::load`].

use super::error::Fault;
use crate::hostnet::error::HostNetError;
use crate::sys::{errno, fd};
use crate::util::blame::{Origin, Sourced};
use std::path::Path;
use std::rc::Rc;

/// Files within files, at most.
const DEPTH: u32 = 4;

/// What the files say, in their order; the last one of a name counts.
#[derive(Debug, Default)]
pub struct Variables(Vec<(String, Sourced<String>)>);

/// What ends a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// A newline or a semicolon.
    Plain,
    /// `&&` or `||`.
    Operator,
}

/// A line of the file that a shell would have to run.
type Wrong = (u32, String);

impl Variables {
    /// Reads the files that are there, in this order.
    pub fn load(files: &[&str]) -> Result<Self, HostNetError> {
        let mut all = Self::default();
        for file in files {
            all.read(file, DEPTH, true)?;
        }
        Ok(all)
    }

    /// One file's text by itself: that it includes another is an error.
    pub fn of(text: &str) -> Result<Self, HostNetError> {
        let mut all = Self::default();
        all.parse(text, &Rc::from(Path::new("lxc-net")), 0)?;
        Ok(all)
    }

    /// The value of `name`; an empty one counts as none.
    pub fn get(&self, name: &str) -> Option<&Sourced<String>> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v).filter(|v| !v.value.is_empty())
    }

    /// All names, with the place of each.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &value.origin))
    }

    fn read(&mut self, file: &str, depth: u32, optional: bool) -> Result<(), HostNetError> {
        match fd::read_to_string(file) {
            Ok(text) => self.parse(&text, &Rc::from(Path::new(file)), depth),
            Err(e) if optional && e.is(errno::ENOENT) => Ok(()),
            Err(cause) => Err(Box::new(Fault::System { step: "reading the settings", cause })),
        }
    }

    fn parse(&mut self, text: &str, file: &Rc<Path>, depth: u32) -> Result<(), HostNetError> {
        let blamed = |(line, what)| {
            Box::new(Fault::Line { what, origin: Origin { file: file.clone(), line } })
        };
        let mut lexer = Lexer { rest: text, line: 1 };
        let mut after_test = false;
        loop {
            let line = lexer.line;
            let Some((words, end)) = lexer.command(self).map_err(blamed)? else { return Ok(()) };
            let mut words = words.iter().map(String::as_str);
            let first = words.next();
            let rest: Vec<&str> = words.collect();
            match (first, rest.as_slice()) {
                (None, _) => {}
                (Some("." | "source"), [path]) if depth > 0 => {
                    self.read(path, depth - 1, after_test)?;
                }
                // Only the usual guard of an inclusion; whether the file is there is asked anyway.
                (Some("[" | "test"), _) if end == End::Operator => {}
                (Some(first), rest) => {
                    let named = if first == "export" { None } else { Some(first) };
                    for word in named.into_iter().chain(rest.iter().copied()) {
                        let Some((name, value)) = assignment(word) else {
                            let what = format!("\"{word}\" is not an assignment");
                            return Err(blamed((line, what)));
                        };
                        let origin = Origin { file: file.clone(), line };
                        let value = Sourced { value: value.to_owned(), origin };
                        self.0.push((name.to_owned(), value));
                    }
                }
            }
            after_test = end == End::Operator;
        }
    }
}

/// `NAME=value`.
fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let good = !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
    (good && name.chars().all(is_name)).then_some((name, value))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Lexer<'a> {
    rest: &'a str,
    line: u32,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// The words up to the end of a command, and what ended it; `None` at the end of the file.
    fn command(&mut self, known: &Variables) -> Result<Option<(Vec<String>, End)>, Wrong> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let line = self.line;
        loop {
            let Some(c) = self.next() else {
                words.extend(word.take());
                return Ok((!words.is_empty()).then_some((words, End::Plain)));
            };
            match c {
                ' ' | '\t' => {
                    words.extend(word.take());
                    // A shell assigns one after the other: the next may name this one.
                    if matches!(words.as_slice(), [only] if assignment(only).is_some()) {
                        return Ok(Some((words, End::Plain)));
                    }
                }
                '\n' | ';' => {
                    words.extend(word.take());
                    return Ok(Some((words, End::Plain)));
                }
                '&' | '|' if self.peek() == Some(c) => {
                    self.next();
                    words.extend(word.take());
                    return Ok(Some((words, End::Operator)));
                }
                '#' if word.is_none() => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '\\' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => word.get_or_insert_default().push(c),
                },
                '\'' => self.quoted('\'', word.get_or_insert_default(), known, line)?,
                '"' => self.quoted('"', word.get_or_insert_default(), known, line)?,
                '$' => self.expand(word.get_or_insert_default(), known, line)?,
                '`' | '&' | '|' | '<' | '>' | '(' | ')' => {
                    return Err((line, format!("\"{c}\" needs a shell")));
                }
                c => word.get_or_insert_default().push(c),
            }
        }
    }

    fn quoted(
        &mut self,
        quote: char,
        out: &mut String,
        known: &Variables,
        line: u32,
    ) -> Result<(), Wrong> {
        loop {
            match self.next() {
                None => return Err((line, "a quote is not closed".into())),
                Some(c) if c == quote => return Ok(()),
                Some('$') if quote == '"' => self.expand(out, known, line)?,
                Some('`') if quote == '"' => return Err((line, "\"`\" needs a shell".into())),
                Some('\\') if quote == '"' => match self.next() {
                    Some('\n') | None => {}
                    Some(c) => {
                        if !matches!(c, '$' | '`' | '"' | '\\') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                },
                Some(c) => out.push(c),
            }
        }
    }

    /// `NAME` or `{NAME}` after a dollar; unset is nothing, as in a shell.
    fn expand(&mut self, out: &mut String, known: &Variables, line: u32) -> Result<(), Wrong> {
        let braces = self.peek() == Some('{');
        if braces {
            self.next();
        }
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_name(*c)) {
            name.push(c);
            self.next();
        }
        let closed = !braces || self.next() == Some('}');
        match (name.is_empty(), closed) {
            (true, true) if !braces && self.peek() != Some('(') => out.push('$'),
            (false, true) => out.push_str(known.get(&name).map_or("", |v| &v.value)),
            _ => return Err((line, "this \"$\" needs a shell".into())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::blame::Explain;

    #[test]
    fn assignments_are_read_as_a_shell_would() {
        let text = "# comment\nUSE_LXC_BRIDGE=\"true\"  # why\nexport LXC_BRIDGE='br 0'; A=1 B=2\n\
                    C=\"a\\\"b\\z$A\"${B}x\\ y # end\nLXC_DOMAIN=lxc#no\nD=one\\\ntwo\nE=\nF=$\n\
                    H='2 3' I=${H}4 # more\nexport J=x K=$J\nLXC_ADDR=10.0.4.1\nLXC_ADDR=10.0.5.1";
        let vars = Variables::of(text).unwrap();
        let get = |name: &str| vars.get(name).map(|v| v.value.as_str());
        assert_eq!(get("USE_LXC_BRIDGE"), Some("true"));
        assert_eq!(get("LXC_BRIDGE"), Some("br 0"));
        assert_eq!((get("A"), get("B"), get("C")), (Some("1"), Some("2"), Some("a\"b\\z12x y")));
        assert_eq!((get("LXC_DOMAIN"), get("D")), (Some("lxc#no"), Some("onetwo")));
        assert_eq!((get("E"), get("F"), get("G")), (None, Some("$"), None));
        assert_eq!((get("H"), get("I"), get("J")), (Some("2 3"), Some("2 34"), Some("x")));
        assert_eq!(get("K"), None);
        let last = vars.get("LXC_ADDR").unwrap();
        assert_eq!((last.value.as_str(), last.origin.line), ("10.0.5.1", 13));
    }

    #[test]
    fn what_needs_a_shell_is_an_error_with_its_line() {
        for (text, line, part) in [
            ("A=1\nB=$(id)\n", 2, "\"$\""),
            ("A=`id`\n", 1, "`"),
            ("\n\nif true; then\n", 3, "\"if\""),
            ("A=1\nifconfig eth0\n", 2, "ifconfig"),
            ("A='1\n\n", 1, "not closed"),
            ("A=\"${B:-x}\"\n", 1, "\"$\""),
            ("A=1 > /dev/null\n", 1, ">"),
            ("[ -n \"$X\" ]\n", 1, "\"[\""),
            ("1A=2\n", 1, "1A=2"),
        ] {
            let error = Variables::of(text).unwrap_err();
            assert_eq!(error.origin().map(|o| o.line), Some(line), "{text}");
            assert!(error.to_string().contains(part), "{error} in {text}");
        }
    }

    #[test]
    fn files_include_files_as_debians_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (outer, inner) = (path("lxc"), path("lxc-net"));
        std::fs::write(&outer, format!("X=1\nY=1\n[ ! -f {inner} ] || . {inner}\n")).unwrap();
        let read = || Variables::load(&[&outer, &path("missing")]);
        assert_eq!(read().unwrap().get("X").unwrap().value, "1");
        std::fs::write(&inner, "\nX=2\n").unwrap();
        let vars = read().unwrap();
        assert_eq!((vars.get("X").unwrap().value.as_str(), vars.names().count()), ("2", 3));
        assert_eq!(vars.get("X").unwrap().origin.to_string(), format!("{inner}:2"));
        std::fs::write(&outer, format!(". {}\n", path("missing"))).unwrap();
        assert_eq!(read().unwrap_err().errno(), Some(errno::ENOENT));
        std::fs::write(&outer, format!(". {outer}\n")).unwrap();
        assert!(read().is_err());
    }
}
