//! The options that every tool shares, and what they mean: one place.
//!
//! A tool declares them by a line with `*` (see [`super::command`]). `cli` turns the command line into matches by GNU's rules and
//! those into a [`Context`].

use super::command::{ArgMatches, Command};
use super::report::{self, Failure};
use crate::util::blame::Explain;
use crate::util::ere::Ere;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Ids of the arguments of this file. On those starting with `@` the option parser of `cli` acts
/// at once.
pub mod id {
    #![allow(missing_docs, reason = "each is the option of the same name")]
    pub const NAME: &str = "name";
    /// `-n` of a tool that works without: lxc-ls, lxc-autostart.
    pub const NAME_OPTIONAL: &str = "name-optional";
    /// `-n` of a tool that looks at many: a regular expression.
    pub const PATTERN: &str = "pattern";
    pub const QUIET: &str = "quiet";
    pub const LOGFILE: &str = "logfile";
    pub const LOGPRIORITY: &str = "logpriority";
    pub const LXCPATH: &str = "lxcpath";
    pub const RCFILE: &str = "rcfile";
    /// What is left after the options. Declare it to accept any.
    pub const REST: &str = "rest";
    pub const HELP: &str = "@help";
    pub const USAGE: &str = "@usage";
    pub const VERSION: &str = "@version";
}

/// How output is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As LXC's tools have it.
    Text,
    /// JSON, with exact numbers.
    Json,
}

/// What `--format` says.
pub fn get_format(ctx: &Context, matches: &ArgMatches) -> Result<Format, Failure> {
    match get_text(ctx, matches, "format")? {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => {
            Err(Failure::usage(ctx.prog, format!("unknown format \"{other}\": text or json")))
        }
    }
}

/// The containers meant by `-n` or the one argument of a tool that looks at many, anchored at both ends as in LXC; `None`: all.
pub fn pattern(ctx: &Context, matches: &ArgMatches) -> Result<Option<Ere>, Failure> {
    let text = match (get_text(ctx, matches, id::PATTERN)?, ctx.rest.as_slice()) {
        (Some(text), []) => text.to_owned(),
        (None, [word]) => word.to_string_lossy().into_owned(),
        (None, []) => return Ok(None),
        (_, [.., extra]) => {
            return Err(Failure::usage(ctx.prog, format!("unexpected argument {}", quoted(extra))));
        }
    };
    let wrong = |e| Failure::usage(ctx.prog, format!("the expression \"{text}\": {e}"));
    Ere::new(&format!("^({text})$")).map(Some).map_err(wrong)
}

/// Every `-P`, or the system's default.
pub fn lxcpaths(ctx: &Context, matches: &ArgMatches) -> Vec<PathBuf> {
    let given: Vec<PathBuf> = matches.get_many(id::LXCPATH).filter_map(strip_slashes).collect();
    if given.is_empty() { vec![ctx.lxcpath.clone()] } else { given }
}

/// What the shared options say. Handed to every applet.
pub struct Context {
    /// The name messages begin with: `lxc-start`.
    pub prog: &'static str,
    /// The container; see [`Context::name`].
    pub container: Option<String>,
    /// The directory of the containers: `-P` or the system's default. No trailing slashes.
    pub lxcpath: PathBuf,
    /// True when `-P` was not given.
    pub lxcpath_is_default: bool,
    /// `-q`.
    pub quiet: bool,
    /// `--rcfile`.
    pub rcfile: Option<PathBuf>,
    /// `-o`.
    pub logfile: Option<PathBuf>,
    /// `-l`.
    pub logpriority: Option<crate::logging::Priority>,
    /// What is left after the options and the name.
    pub rest: Vec<OsString>,
}

impl Context {
    /// The container's name. A tool that declares [`id::NAME`] is not run without one, so it is
    /// empty only elsewhere.
    pub fn name(&self) -> &str {
        self.container.as_deref().unwrap_or_default()
    }

    /// Tells the user something that is not the end, unless `-q`. Logged as a warning.
    pub fn warn(&self, text: &str) {
        log::warn!("{text}");
        if !self.quiet {
            report::say(self.prog, self.container.as_deref(), text);
        }
    }

    /// As [`Context::warn`] of another container than the tool's own.
    pub fn warn_about(&self, container: &str, text: &str) {
        log::warn!("{container}: {text}");
        if !self.quiet {
            report::say(self.prog, Some(container), text);
        }
    }

    /// Tells the user of an error that is not the end, with its hint, unless `-q`.
    pub fn warn_error(&self, error: &dyn Explain) {
        self.warn(&report::sentence(error));
        if let (Some(hint), false) = (error.hint(), self.quiet) {
            report::stderr_line(&format!("hint: {hint}"));
        }
    }

    /// Prints the failure unless `-q`, and logs it.
    pub fn report(&self, failure: &Failure) {
        if failure.speaks() {
            log::error!("{}", failure.text());
            if !self.quiet {
                report::print(self.prog, self.container.as_deref(), failure);
            }
        }
    }
}

/// What the options mean depends on this beside the matches.
pub struct Invocation<'a> {
    /// The tool's name in messages.
    pub prog: &'static str,
    /// What `-P` falls back to; not asked when it is given.
    pub default_lxcpath: &'a dyn Fn() -> Result<PathBuf, Failure>,
}

/// The meaning of the shared options.
///
/// Errors: no name where one is needed, a name that cannot be a container's, several `-P`, an
/// unknown `-l`, arguments that the tool has no use for.
pub fn context(
    inv: &Invocation<'_>,
    command: &Command,
    matches: &ArgMatches,
) -> Result<Context, Failure> {
    let prog = inv.prog;
    let named = command.find(id::NAME).is_some();
    let unnamed = command.find(id::NAME_OPTIONAL).is_some();
    let many = command.find(id::PATTERN).is_some();
    let mut rest = matches.rest.clone();
    let mut ctx = Context {
        prog,
        container: None,
        lxcpath: PathBuf::new(),
        lxcpath_is_default: true,
        quiet: false,
        rcfile: None,
        logfile: None,
        logpriority: None,
        rest: Vec::new(),
    };
    if named || unnamed || many {
        ctx.quiet = matches.get_flag(id::QUIET);
        ctx.rcfile = get(matches, id::RCFILE).map(PathBuf::from);
        ctx.logfile = get(matches, id::LOGFILE).map(PathBuf::from);
        if let Some(level) = get(matches, id::LOGPRIORITY) {
            let parsed = level.to_str().and_then(crate::logging::Priority::parse);
            ctx.logpriority = Some(parsed.ok_or_else(|| {
                Failure::usage(prog, format!("unknown log priority {}", quoted(level)))
            })?);
        }
        // Several, to tell the user that the second one would have been ignored.
        let mut paths = matches.get_many(id::LXCPATH);
        match paths.next() {
            Some(path) => {
                ctx.lxcpath = strip_slashes(path)
                    .ok_or_else(|| Failure::usage(prog, "the container path of -P is empty"))?;
                ctx.lxcpath_is_default = false;
            }
            None => ctx.lxcpath = (inv.default_lxcpath)()?,
        }
        if paths.next().is_some() && !many {
            return Err(Failure::usage(prog, "this command only accepts 1 -P,--lxcpath argument"));
        }
    }
    let mut name = match (named, unnamed) {
        (true, _) => get(matches, id::NAME).map(OsStr::to_os_string),
        (_, true) => get(matches, id::NAME_OPTIONAL).map(OsStr::to_os_string),
        _ => None,
    };
    if named && name.is_none() && !rest.is_empty() {
        name = Some(rest.remove(0));
    }
    match name {
        Some(name) => {
            let text = name.to_str().ok_or_else(|| {
                Failure::new(format!("the container name {} is not UTF-8", quoted(&name)))
            })?;
            crate::util::name::check(text)?;
            ctx.container = Some(text.to_owned());
        }
        // A tool that handles -h itself is asked for nothing else.
        None if named && command.find("help").is_some() && matches.get_flag("help") => {}
        None if named => {
            return Err(Failure::usage(prog, "no container name specified"));
        }
        None => {}
    }
    // LXC's tools ignore what they do not understand here; `lxc-stop a b` then stops only a.
    if let (None, Some(extra)) = (command.find(id::REST), rest.first()) {
        return Err(Failure::usage(prog, format!("unexpected argument {}", quoted(extra))));
    }
    ctx.rest = rest;
    Ok(ctx)
}

/// The value of an option.
pub fn get<'a>(matches: &'a ArgMatches, id: &str) -> Option<&'a OsStr> {
    matches.get(id)
}

/// The value of an option, which must be UTF-8.
pub fn get_text<'a>(
    ctx: &Context,
    matches: &'a ArgMatches,
    id: &str,
) -> Result<Option<&'a str>, Failure> {
    match get(matches, id) {
        None => Ok(None),
        Some(raw) => raw.to_str().map(Some).ok_or_else(|| {
            Failure::usage(ctx.prog, format!("the value {} is not UTF-8", quoted(raw)))
        }),
    }
}

/// `"value"` for messages; bytes that are no UTF-8 are shown replaced.
pub fn quoted(value: &OsStr) -> String {
    format!("\"{}\"", value.to_string_lossy())
}

/// Trailing slashes removed as LXC does: they would change the command socket's name.
fn strip_slashes(path: &OsStr) -> Option<PathBuf> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = path.as_bytes();
    if bytes.is_empty() {
        return None;
    }
    while let [head @ .., b'/'] = bytes {
        if head.is_empty() {
            break;
        }
        bytes = head;
    }
    let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
    Some(absolute(&path))
}

/// A relative path means the directory the tool was called in; the monitor changes to `/`.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
