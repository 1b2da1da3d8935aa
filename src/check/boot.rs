//! The words that the kernel is booted with: which of them switched something off, and the exact
//! line to put into the file that this machine's boot loader reads.

use super::Verdict;
use super::host::Host;
use crate::sys::{dirs, fd};
use std::path::{Path, PathBuf};

/// What switched a controller off, by the order of the words: the kernels that know `cgroup_enable=`
/// take them one after the other, and a Raspberry Pi's firmware puts its own in front.
pub(super) fn disabled(host: &Host, controller: &str) -> Verdict {
    let words: Vec<&str> = host.cmdline.split_whitespace().collect();
    let io = controller == "io";
    let names = |word: &str, key: &str| {
        let list = word.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
        list.is_some_and(|list| {
            list.split(',').any(|name| name == controller || io && name == "blkio")
        })
    };
    let last = |key: &str| words.iter().rposition(|word| names(word, key));
    let enable = format!("boot with: cgroup_enable={controller}");
    let (off, on) = (last("cgroup_disable"), last("cgroup_enable"));
    let at = |n: usize| format!("{} is word {} of /proc/cmdline", words[n], n + 1);
    match (off, on) {
        (Some(off), None) => {
            let line = ["boot/firmware/cmdline.txt", "boot/cmdline.txt"];
            let line = line.iter().find_map(|name| host.read(name)).unwrap_or_default();
            let foreign = !line.is_empty() && !line.split_whitespace().any(|w| w == words[off]);
            // What is in the file can be taken out of it; what the firmware adds only outdone.
            match foreign {
                true => Verdict::blocked(
                    format!("{}, put there by the board's firmware", at(off)),
                    enable,
                ),
                false => Verdict::blocked(at(off), format!("boot without: {}", words[off])),
            }
        }
        (Some(off), Some(on)) if on < off => Verdict::blocked(
            format!("{}, after {}, and the later one counts", at(off), words[on]),
            enable,
        ),
        (Some(off), Some(on)) => Verdict::blocked(
            format!("{}; this kernel does not know {}", at(off), words[on]),
            format!("boot without: {}", words[off]),
        ),
        (None, _) => {
            let v1 = words.iter().find(|word| {
                names(word, "cgroup_no_v1") || word.strip_prefix("cgroup_no_v1=") == Some("all")
            });
            match v1 {
                Some(word) => Verdict::blocked(
                    format!("{word} in /proc/cmdline"),
                    format!("boot without: {word}"),
                ),
                None => Verdict::blocked("the kernel has it switched off by default", enable),
            }
        }
    }
}

/// How a boot loader's file holds the words.
#[derive(Clone, Copy)]
enum Form {
    /// The first line is all words.
    Line,
    /// `KEY="words"` or `KEY=words`.
    Setting(&'static str),
    /// `KEY words`, maybe indented.
    Word(&'static str),
}

/// The files, in the order to look; what is to be run after a change.
const FILES: &[(&str, Form, &str)] = &[
    ("boot/firmware/cmdline.txt", Form::Line, ""),
    ("boot/cmdline.txt", Form::Line, ""),
    ("boot/armbianEnv.txt", Form::Setting("extraargs"), ""),
    ("boot/orangepiEnv.txt", Form::Setting("extraargs"), ""),
    ("boot/dietpiEnv.txt", Form::Setting("extraargs"), ""),
    ("boot/uEnv.txt", Form::Setting("cmdline"), ""),
    ("boot/boot.ini", Form::Setting("setenv bootargs"), ""),
    // Where this is, the next one is made from it.
    ("etc/default/u-boot", Form::Setting("U_BOOT_PARAMETERS"), "u-boot-update"),
    ("boot/extlinux/extlinux.conf", Form::Word("append"), ""),
    ("etc/default/grub", Form::Setting("GRUB_CMDLINE_LINUX"), "update-grub"),
    ("etc/default/grub", Form::Setting("GRUB_CMDLINE_LINUX_DEFAULT"), "update-grub"),
    ("etc/kernel/cmdline", Form::Line, "kernel-install add-all"),
    ("boot/loader/entries/linux.conf", Form::Word("options"), ""),
];

/// A line of a boot loader's file as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file.
    pub path: PathBuf,
    /// The number of the line, from 1; `None` if it is to be added.
    pub line: Option<usize>,
    /// What it has to say.
    pub text: String,
    /// The command that puts it into effect, if there is one; then a reboot.
    pub then: &'static str,
}

/// The changes that the answers' commands `boot with:` and `boot without:` come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// To be added.
    pub add: Vec<String>,
    /// To be taken away.
    pub remove: Vec<String>,
}

impl Words {
    /// Takes in what mends an answer; false if that is no word for the kernel.
    pub fn take(&mut self, mend: &str) -> bool {
        let (list, word) =
            match (mend.strip_prefix("boot with: "), mend.strip_prefix("boot without: ")) {
                (Some(word), _) => (&mut self.add, word),
                (_, Some(word)) => (&mut self.remove, word),
                _ => return false,
            };
        if !list.iter().any(|known| known == word) {
            list.push(word.to_owned());
        }
        true
    }

    /// True if there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// The words of a line with the changes made.
    fn applied(&self, words: &str) -> String {
        let clashes = |word: &str| {
            self.remove.iter().any(|gone| gone == word) || self.add.iter().any(|new| new == word)
        };
        let kept = words.split_whitespace().filter(|word| !clashes(word));
        let all: Vec<&str> = kept.chain(self.add.iter().map(String::as_str)).collect();
        all.join(" ")
    }

    /// The line to write, in the first boot loader's file below `root`; `None` if none is known, or
    /// none has what is to be taken away.
    pub fn edit(&self, root: &Path) -> Option<Edit> {
        FILES.iter().find_map(|(name, form, then)| {
            let path = root.join(name);
            if !dirs::is_readable_file(&path) {
                return None;
            }
            let text = fd::read_to_string(&path).ok()?;
            let (line, edited) = self.line(&text, *form);
            let old = line.and_then(|n: usize| text.lines().nth(n - 1)).unwrap_or_default();
            let does = !self.add.is_empty() || self.remove.iter().any(|word| old.contains(word));
            does.then_some(Edit { path, line, text: edited, then })
        })
    }

    fn line(&self, text: &str, form: Form) -> (Option<usize>, String) {
        let mut lines = (1..).zip(text.lines());
        let fresh = self.applied("");
        match form {
            Form::Line => match lines.find(|(_, line)| !line.trim().is_empty()) {
                Some((n, line)) => (Some(n), self.applied(line)),
                None => (None, fresh),
            },
            Form::Setting(key) => {
                let found = lines.find_map(|(n, line)| {
                    let rest = line.trim_start().strip_prefix(key)?;
                    let value = rest.strip_prefix(['=', ' '])?.trim();
                    let between = &rest[..1];
                    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
                    let quote = quote.map(String::from).unwrap_or_default();
                    let words = self.applied(value.trim_matches(['"', '\'']));
                    Some((Some(n), format!("{key}{between}{quote}{words}{quote}")))
                });
                let quoted =
                    if key.starts_with("GRUB") || key.starts_with("U_BOOT") { "\"" } else { "" };
                found.unwrap_or_else(|| (None, format!("{key}={quoted}{fresh}{quoted}")))
            }
            Form::Word(key) => {
                let found = lines.find_map(|(n, line)| {
                    let start = line.len() - line.trim_start().len();
                    let (word, rest) = line.trim_start().split_once([' ', '\t'])?;
                    let hit = word.eq_ignore_ascii_case(key);
                    hit.then(|| {
                        (Some(n), format!("{}{word} {}", &line[..start], self.applied(rest)))
                    })
                });
                found.unwrap_or_else(|| (None, format!("{key} {fresh}")))
            }
        }
    }
}
