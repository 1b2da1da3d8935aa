//! Manual pages and shell completions out of the registry and the key table, for `make install`.
//! Whatever an applet declares is in all of them; there is no second list to forget.

mod completions;
mod man;

use crate::applets;
use crate::sys::{SysError, dirs};
use crate::ui::Failure;
use crate::ui::command::{Command, Takes};
use crate::ui::help;
use crate::util::blame::Explain;
use crate::util::quote::quoted;
use std::path::{Path, PathBuf};

/// A file to be written.
struct File {
    name: String,
    text: String,
}

#[derive(Debug, thiserror::Error)]
#[error("writing {}", quoted(.0))]
struct WriteError(PathBuf, #[source] SysError);

impl Explain for WriteError {
    fn errno(&self) -> Option<i32> {
        Some(self.1.errno)
    }
}

/// `lxcbox --generate man|bash|zsh|fish DIR`.
pub(super) fn generate(what: &str, dir: &Path) -> Result<(), Failure> {
    let files = match what {
        "man" => man::pages(),
        "bash" => completions::bash(),
        "zsh" => completions::zsh(),
        "fish" => completions::fish(),
        _ => return Err(Failure::new("--generate takes man, bash, zsh or fish, and a directory")),
    };
    dirs::make_all(dir, 0o755).map_err(|e| WriteError(dir.to_owned(), e))?;
    for file in files {
        let path = dir.join(file.name);
        dirs::write_file(&path, file.text.as_bytes()).map_err(|e| WriteError(path, e))?;
    }
    Ok(())
}

/// An option as the generators see it.
struct Opt {
    short: Option<char>,
    long: Option<String>,
    takes: Takes,
    value: String,
    help: String,
    common: bool,
}

impl Opt {
    /// If somebody may write it so: `-n`, `--name`.
    fn is(&self, spelling: &str) -> bool {
        let of = |prefix| spelling.strip_prefix(prefix);
        of("--").is_some_and(|long| self.long.as_deref() == Some(long))
            || of("-").is_some_and(|short| self.short.is_some_and(|c| short == c.to_string()))
    }
}

/// A tool as the generators see it.
struct Tool {
    name: &'static str,
    about: &'static str,
    synopsis: String,
    options: Vec<Opt>,
    notes: String,
    /// It works on a container.
    named: bool,
}

fn tools() -> Vec<Tool> {
    applets::ALL
        .iter()
        .map(|applet| {
            let command = Command::explained(applet.name);
            let options = help::options(&command).map(|arg| Opt {
                short: arg.short,
                long: arg.long.map(str::to_owned),
                takes: arg.takes,
                value: arg.value_name.to_owned(),
                help: arg.help.to_owned(),
                common: arg.common,
            });
            Tool {
                name: applet.name,
                about: applet.about,
                synopsis: help::synopsis(&command),
                options: options.collect(),
                named: command.find(crate::ui::args::id::NAME).is_some(),
                notes: command.notes.to_owned(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_every_generated_text() {
        let all = |files: Vec<File>| -> String { files.into_iter().map(|f| f.text).collect() };
        let (man, bash) = (man::pages(), all(completions::bash()));
        let (zsh, fish) = (all(completions::zsh()), completions::fish());
        for tool in tools() {
            let page = man.iter().find(|f| f.name == format!("{}.1", tool.name)).unwrap();
            let fish = fish.iter().find(|f| f.name == format!("{}.fish", tool.name)).unwrap();
            for long in tool.options.iter().filter_map(|o| o.long.as_deref()) {
                let option = format!("--{long}");
                assert!(page.text.replace('\\', "").contains(&option), "man {} {long}", tool.name);
                assert!(bash.contains(&option), "bash {} {long}", tool.name);
                assert!(zsh.contains(&option), "zsh {} {long}", tool.name);
                assert!(fish.text.contains(&format!("-l {long} ")), "fish {} {long}", tool.name);
            }
        }
    }

    #[test]
    fn the_manual_speaks_of_options_and_keys_that_exist() {
        for tool in tools() {
            for (spelled, _) in man::options_of(tool.name) {
                let known = tool.options.iter().any(|option| option.is(spelled));
                assert!(known, "{} {spelled}", tool.name);
            }
        }
        let keys = crate::config::keys::reference();
        let (mut seen, described) = (Vec::new(), man::keys_described());
        for name in described {
            assert!(keys.iter().any(|key| key.key == name), "docs/keys.txt: {name}");
            assert!(!seen.contains(&name), "docs/keys.txt: {name} twice");
            seen.push(name);
        }
        assert!(seen.len() > 50);
    }

    #[test]
    fn every_key_is_in_the_manual() {
        let page = man::pages().into_iter().find(|f| f.name == "lxc.container.conf.5").unwrap();
        let text = page.text.replace('\\', "");
        for key in crate::config::keys::reference() {
            assert!(text.contains(&key.key), "{}", key.key);
        }
    }
}
