//! One binary, many names: `lxc-start …`, `lxcbox lxc-start …`, `lxcbox start …`, `lxc start …`.

use super::VERSION;
use crate::applets::{self, Applet};
use crate::sys::SysError;
use crate::ui::{Failure, out, report};
use crate::util::blame::Explain;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Chooses by the name that the process was called by, then by the first word.
pub(super) fn main(argv: &[OsString]) -> ExitCode {
    let called = argv.first().map(|word| base_name(word)).unwrap_or_default();
    let words = argv.get(1..).unwrap_or_default();
    if let Some(applet) = applets::ALL.iter().find(|applet| applet.name == called) {
        return super::run(applet, words);
    }
    if called == "lxc" { lxc(words) } else { lxcbox(words) }
}

fn base_name(word: &OsStr) -> &str {
    Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or_default()
}

/// LXC's own multicall name: `lxc CMD`. Without a known command the list, status 1.
fn lxc(words: &[OsString]) -> ExitCode {
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    // LXC takes the short names here only.
    if let Some(applet) = applets::ALL.iter().find(|applet| applet.short_name() == first) {
        return super::run(applet, words.get(1..).unwrap_or_default());
    }
    let mut text = String::new();
    if !matches!(first, "" | "-h" | "--help") {
        text.push_str(&format!("Unsupported command '{first}'\n"));
    } else {
        text.push_str("Usage: lxc COMMAND [OPTION]...\n");
        text.push_str("All the lxc-COMMAND tools in one: call it by their name or name one.\n");
    }
    text.push_str("\nKnown commands:\n");
    text.push_str(&index());
    report::stderr_text(&text);
    ExitCode::FAILURE
}

fn lxcbox(words: &[OsString]) -> ExitCode {
    let first = words.first().and_then(|word| word.to_str()).unwrap_or_default();
    let rest = words.get(1..).unwrap_or_default();
    let result = match (first, rest) {
        ("--list", []) => list(),
        ("--install", [dir]) => install(Path::new(dir)),
        ("--install", _) => Err(usage("--install takes one directory")),
        // For make install; not in the help text and not in a release.
        #[cfg(debug_assertions)]
        ("--generate", [what, dir]) => {
            super::generate::generate(&what.to_string_lossy(), Path::new(dir))
        }
        ("--version", _) => out::line(&format!("lxcbox {VERSION}")),
        ("" | "-h" | "--help" | "help", _) => {
            report::stderr_text(&help());
            return if first.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
        _ => match applets::find(first) {
            Some(applet) => return super::run(applet, rest),
            None => Err(usage(&format!("there is no tool \"{first}\""))),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print("lxcbox", None, &failure);
            ExitCode::from(failure.exit_status())
        }
    }
}

fn usage(text: &str) -> Failure {
    Failure::new(text).hint("lxcbox --help lists the tools")
}

fn help() -> String {
    let mut text = String::from(
        "Usage: lxcbox TOOL [OPTION]...\n\
         \x20      lxc-TOOL [OPTION]...      called by a link of that name\n\
         \x20      lxcbox --list             print the names of the tools\n\
         \x20      lxcbox --install DIR      make a link for each of them in DIR\n\
         \x20      lxcbox --version\n\n\
         lxcbox: the classic LXC toolset as one static binary\n\nTools:\n",
    );
    text.push_str(&index());
    text.push_str("\nlxcbox TOOL --help describes the options of a tool.\n");
    text
}

fn index() -> String {
    let mut text = String::new();
    for applet in applets::ALL {
        text.push_str(&format!("  {:<14} {}\n", applet.short_name(), applet.about));
    }
    text
}

fn list() -> Result<(), Failure> {
    let mut out = out::Out::new();
    for applet in applets::ALL {
        out.line(applet.name)?;
    }
    out.finish()
}

/// Makes a link to this binary for each applet. Links that point elsewhere are replaced, files
/// are not: they are somebody's LXC.
fn install(dir: &Path) -> Result<(), Failure> {
    let binary = crate::sys::dirs::own_binary()?;
    for applet in applets::ALL {
        link(&binary, dir, applet)?;
    }
    Ok(())
}

fn link(binary: &Path, dir: &Path, applet: &Applet) -> Result<(), Failure> {
    let link = dir.join(applet.name);
    crate::sys::dirs::replace_symlink(binary, &link)
        .map_err(|cause| InstallError { link, cause }.into())
}

#[derive(Debug, thiserror::Error)]
#[error("making the link {}", .link.display())]
struct InstallError {
    link: PathBuf,
    #[source]
    cause: SysError,
}

impl Explain for InstallError {
    fn errno(&self) -> Option<i32> {
        Some(self.cause.errno)
    }

    fn hint(&self) -> Option<String> {
        self.cause.is(crate::sys::errno::EEXIST).then(|| "remove the file that is there".into())
    }
}
