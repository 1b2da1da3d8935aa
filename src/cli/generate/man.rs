//! Manual pages (man(7) macros): one per tool, one for the binary, those of
//! docs/manual.txt alone.

use super::{File, Opt, Tool, tools};
use crate::config::keys;
use crate::config::path::SYSTEM_KEYS;
use crate::ui::command::Takes;
use crate::util::time::Utc;
use std::fmt::Write as _;

/// What the declarations do not say: for each page its sections. `= NAME` begins a page, a line of
/// capitals a section, `$ ` a command, two blanks a line that stays as it is, and `WORD | text` an
/// entry of a list; what stands between backquotes is bold. The words of an option's entry in OPTIONS
/// follow those of its help, and `@help` in DESCRIPTION is the end of the help text.
const MANUAL: &str = concat!("\n", include_str!("../../../docs/manual.txt"));

/// What the table of keys does not say, for the keys that need it: `= KEY`, then `since` the version
/// of LXC that brought it, `linux` the version that its effect needs, `default` where nothing
/// written means something else than it reads back as, and lines of text.
const KEYS: &str = concat!("\n", include_str!("../../../docs/keys.txt"));

/// The section of that heading in the manual of `page`; empty if there is none.
fn section(page: &str, heading: &str) -> String {
    let mut pages = MANUAL.split("\n= ").skip(1);
    let lines = pages.find_map(|text| text.strip_prefix(page)?.strip_prefix('\n')).unwrap_or("");
    let is_heading = |line: &str| {
        !line.is_empty()
            && !line.starts_with(' ')
            && line.bytes().all(|b| b.is_ascii_uppercase() || b == b' ')
    };
    let after = lines.lines().skip_while(|line| *line != heading).skip(1);
    let own: Vec<&str> = after.take_while(|line| !is_heading(line)).collect();
    own.join("\n").trim_end().to_owned()
}

/// An entry of a list: its word, and the text.
fn entry(line: &str) -> Option<(&str, &str)> {
    line.split_once(" | ").filter(|(term, _)| !term.contains('`'))
}

/// Heading and text, if there is one.
fn add(out: &mut String, heading: &str, text: &str) {
    if text.trim().is_empty() {
        return;
    }
    let _ = writeln!(out, ".SH {heading}");
    let (mut list, mut first) = (false, true);
    let mut lines = text.trim_matches('\n').lines().peekable();
    while let Some(line) = lines.next() {
        let shown = |line: &str| line.starts_with("  ") || line.starts_with("$ ");
        if shown(line) {
            out.push_str(if first { ".RS 4\n.nf\n" } else { ".RS 4\n.sp\n.nf\n" });
            let mut next = Some(line);
            while let Some(line) = next {
                let line = line.strip_prefix("  ").unwrap_or(line);
                out.push_str(&literal(line));
                out.push('\n');
                next = lines.next_if(|line| shown(line));
            }
            out.push_str(".fi\n.RE\n");
        } else if line.is_empty() {
            // What follows a list, or begins one, is a paragraph by itself.
            if !list && lines.peek().is_some_and(|next| !shown(next) && entry(next).is_none()) {
                out.push_str(".PP\n");
            }
        } else if let Some((term, rest)) = entry(line) {
            let _ = write!(out, ".TP\n\\fB{}\\fR\n{}\n", literal(term), inline(rest));
            list = true;
        } else {
            if list {
                out.push_str(".PP\n");
                list = false;
            }
            out.push_str(&inline(line));
            out.push('\n');
        }
        first = false;
    }
}

/// A line with its backquotes as bold words, and names of pages too.
fn inline(line: &str) -> String {
    let mut out = String::new();
    for (at, part) in line.split('`').enumerate() {
        let text = literal(part);
        if at % 2 == 1 {
            let _ = write!(out, "\\fB{text}\\fR");
        } else {
            for word in text.split_inclusive(' ') {
                match word.split_once('(').filter(|(_, rest)| is_section(rest)) {
                    Some((name, rest)) if !name.is_empty() => {
                        let _ = write!(out, "\\fB{name}\\fR({rest}");
                    }
                    _ => out.push_str(word),
                }
            }
        }
    }
    out
}

/// `1)` and what a sentence has behind it.
fn is_section(rest: &str) -> bool {
    matches!(rest.as_bytes(), [b'1'..=b'8', b')', ..])
}

/// `name(1), other(5)` with the names in bold.
fn pages_named(text: &str) -> String {
    let each = text.split(", ").map(|page| {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        format!("\\%\\fB{}\\fR({section}", literal(name))
    });
    each.collect::<Vec<_>>().join(",\n")
}

pub(super) fn pages() -> Vec<File> {
    let tools = tools();
    let mut files: Vec<File> = tools.iter().map(tool_page).collect();
    files.push(binary_page(&tools));
    files.push(container_conf());
    files.push(system_conf());
    files.push(text_page("lxc-user-nic", 1, "a network device for an ordinary user's container"));
    files.push(text_page("lxc.conf", 5, "the configuration files of LXC"));
    files.push(text_page("lxc-usernet", 5, "which users may use which bridges"));
    files
}

/// A page that is all in the manual.
fn text_page(name: &str, part: u8, about: &str) -> File {
    let mut text = head(name, part, about);
    for heading in ["SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        add(&mut text, heading, &section(name, heading));
    }
    see_also(&mut text, name, "lxcbox(1)");
    File { name: format!("{name}.{part}"), text }
}

fn see_also(out: &mut String, page: &str, others: &str) {
    let own = section(page, "SEE ALSO");
    let all = if own.is_empty() { others.to_owned() } else { format!("{own}, {others}") };
    let _ = write!(out, ".SH SEE ALSO\n{}\n", pages_named(&all));
}

/// Text that roff takes literally: no escapes, hyphens that can be copied, no control lines.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for line in text.split_inclusive('\n') {
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for c in line.chars() {
            match c {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '…' => out.push_str("..."),
                c if !c.is_ascii() => {
                    let _ = write!(out, "\\[u{:04X}]", u32::from(c));
                }
                c => out.push(c),
            }
        }
    }
    out
}

/// Of the build, or what SOURCE_DATE_EPOCH says.
fn date() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let since = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = || since().ok().and_then(|since| i64::try_from(since.as_secs()).ok());
    let day = Utc::from_unix(fixed.or_else(now).unwrap_or_default());
    format!("{:04}-{:02}-{:02}", day.year, day.month, day.day)
}

fn head(name: &str, section: u8, about: &str) -> String {
    format!(
        ".TH {} {section} {} \"lxcbox {}\" \"lxcbox\"\n.SH NAME\n{} \\- {}\n",
        literal(&name.to_uppercase()),
        date(),
        crate::cli::VERSION,
        literal(name),
        literal(about)
    )
}

fn option_lines(out: &mut String, options: &[&Opt], more: &str) {
    for option in options {
        let mut words = Vec::new();
        if let Some(short) = option.short {
            words.push(format!("\\fB\\-{short}\\fR"));
        }
        if let Some(long) = &option.long {
            words.push(format!("\\fB\\-\\-{}\\fR", literal(long)));
        }
        let value = match option.takes {
            Takes::Nothing => String::new(),
            Takes::Value => format!("=\\fI{}\\fR", literal(&option.value)),
            Takes::Attached => format!("[=\\fI{}\\fR]", literal(&option.value)),
        };
        let help = option.help.replace("this text", "a summary of the options");
        let _ = write!(out, ".TP\n{}{value}\n{}", words.join(", "), literal(&help));
        if let Some((_, text)) = more.lines().filter_map(entry).find(|(of, _)| option.is(of)) {
            let _ = write!(out, ". {}", inline(text));
        }
        out.push('\n');
    }
}

fn tool_page(tool: &Tool) -> File {
    let mut text = head(tool.name, 1, tool.about);
    let _ = write!(text, ".SH SYNOPSIS\n\\fB{}\\fR\n", literal(&tool.synopsis));
    let own = |heading: &str| section(tool.name, heading);
    let or = |text: String, other: &str| if text.is_empty() { other.to_owned() } else { text };
    let description = or(own("DESCRIPTION"), &format!("`{}` {}.", tool.name, tool.about));
    let (notes, status) = tool.notes.split_once("Exit status: ").unwrap_or((&tool.notes, ""));
    let description = description.replace("@help", notes.trim());
    add(&mut text, "DESCRIPTION", &description);
    let (common, special): (Vec<_>, Vec<_>) = tool.options.iter().partition(|o| o.common);
    for (heading, options) in [("OPTIONS", special), ("COMMON OPTIONS", common)] {
        if !options.is_empty() {
            let _ = writeln!(text, ".SH {heading}");
            option_lines(&mut text, &options, &own("OPTIONS"));
        }
    }
    let status = or(own("EXIT STATUS"), status);
    add(&mut text, "EXIT STATUS", &or(status, "0 for success, 1 for an error."));
    add(&mut text, "ENVIRONMENT", &own("ENVIRONMENT"));
    let mut files = own("FILES");
    if tool.named {
        files.push_str(
            "\n/var/lib/lxc | LXCPATH for root; ~/.local/share/lxc for an ordinary user. \
             `lxc.lxcpath` of lxc.system.conf(5) or -P names another.",
        );
    }
    add(&mut text, "FILES", &files);
    add(&mut text, "EXAMPLES", &own("EXAMPLES"));
    see_also(&mut text, tool.name, "lxcbox(1), lxc.container.conf(5), lxc.system.conf(5)");
    File { name: format!("{}.1", tool.name), text }
}

fn binary_page(tools: &[Tool]) -> File {
    let mut text = head("lxcbox", 1, "the classic LXC toolset as one static binary");
    text.push_str(
        ".SH SYNOPSIS\n.nf\n\\fBlxcbox\\fR \\fITOOL\\fR [\\fIOPTION\\fR]...\n\
         \\fBlxcbox \\-\\-list\\fR\n\\fBlxcbox \\-\\-install\\fR \\fIDIR\\fR\n.fi\n\
         .SH DESCRIPTION\nThe tool is chosen by the name that the binary is called by, or by the \
         first word: with or without its lxc\\-. \\fB\\-\\-install\\fR makes a link for each tool.\n\
         .SH TOOLS\n",
    );
    for tool in tools {
        let _ = write!(text, ".TP\n\\fB{}\\fR(1)\n{}\n", literal(tool.name), literal(tool.about));
    }
    for heading in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
        add(&mut text, heading, &section("lxcbox", heading));
    }
    see_also(&mut text, "lxcbox", "lxc.conf(5)");
    File { name: "lxcbox.1".into(), text }
}

/// What KEYS has for a key: the words of `since`, `linux` and `default`, and the text.
fn facts(key: &str) -> (String, String, String, String) {
    let mut blocks = KEYS.split("\n= ").skip(1);
    let block = blocks.find_map(|text| text.strip_prefix(key)?.strip_prefix('\n')).unwrap_or("");
    let word = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_default().to_owned()
    };
    let named = |line: &&str| ["since ", "linux ", "default "].iter().any(|n| line.starts_with(n));
    let text: Vec<&str> = block.lines().filter(|line| !named(line) && !line.is_empty()).collect();
    (word("since"), word("linux"), word("default"), text.join("\n"))
}

/// The options that the manual has more words for.
#[cfg(test)]
pub(super) fn options_of(page: &str) -> Vec<(&'static str, &'static str)> {
    let text = section(page, "OPTIONS").leak();
    text.lines().filter_map(entry).collect()
}

/// The keys that KEYS has.
#[cfg(test)]
pub(super) fn keys_described() -> Vec<&'static str> {
    KEYS.split("\n= ").skip(1).filter_map(|text| text.lines().next()).collect()
}

/// The names that LXC 1 and 2 had for a key.
fn former(key: &str) -> String {
    let family = key.strip_suffix("NAME").unwrap_or(key);
    let old = keys::OLD_NAMES.iter().filter(|name| name.new == Some(family));
    let spelled = old.map(|name| match name.old.ends_with('.') {
        true => format!("{}NAME", name.old),
        false => name.old.to_owned(),
    });
    spelled.collect::<Vec<_>>().join(", ")
}

fn container_conf() -> File {
    let mut text = head("lxc.container.conf", 5, "configuration of a container");
    for heading in ["DESCRIPTION", "KEYS"] {
        add(&mut text, heading, &section("lxc.container.conf", heading));
    }
    for key in keys::reference() {
        let (since, linux, default, more) = facts(&key.key);
        let _ = write!(text, ".TP\n\\fB{}\\fR = {}\n", literal(&key.key), literal(key.value));
        let _ = write!(text, "{}.", literal(&sentence_case(key.doc)));
        if !more.is_empty() {
            let _ = write!(text, "\n{}", inline(&more));
        }
        if key.repeats {
            text.push_str("\nMay be given several times; each line adds to the ones before.");
        }
        text.push_str(match key.live {
            keys::Live::Restart => "",
            keys::Live::Read => "\nRead anew each time it is needed: a change needs no restart.",
            _ => "\n\\fBlxc\\-config \\-\\-live\\fR changes it in a running container.",
        });
        let default = if default.is_empty() { key.default.trim() } else { &default };
        let since = match since.as_str() {
            "" => String::new(),
            "ours" => "not in LXC, whose tools refuse a file with it".to_owned(),
            version => format!("since LXC {version}"),
        };
        let named = [("Default: ", default), ("Linux ", &linux), ("", &since)];
        let former = former(&key.key);
        let named = named.into_iter().chain([("in LXC 1 and 2: ", former.as_str())]);
        let told: Vec<_> = named.filter(|(_, text)| !text.is_empty()).collect();
        if !told.is_empty() {
            let line: Vec<_> = told.iter().map(|(word, text)| format!("{word}{text}")).collect();
            let _ = write!(text, "\n.br\n{}.", literal(&sentence_case(&line.join("; "))));
        }
        let _ = write!(text, "\n.br\nExample: {}\n", literal(&key.example));
    }
    for heading in [
        "CGROUPS",
        "ROOT FILE SYSTEM",
        "MOUNTS",
        "NETWORKS",
        "HOOKS",
        "FILES",
        "EXAMPLES",
        "DIFFERENCES FROM LXC",
    ] {
        add(&mut text, heading, &section("lxc.container.conf", heading));
    }
    let mut old = section("lxc.container.conf", "OLD KEYS");
    for name in keys::OLD_NAMES.iter().filter(|name| !name.old.ends_with('.')) {
        let new = name.new.unwrap_or("nothing: it has no effect");
        old.extend(["\n", name.old, " | ", new]);
    }
    add(&mut text, "OLD KEYS", &old);
    see_also(&mut text, "lxc.container.conf", "lxcbox(1)");
    File { name: "lxc.container.conf.5".into(), text }
}

fn system_conf() -> File {
    let page = "lxc.system.conf";
    let mut text = head(page, 5, "settings of the host for its containers");
    add(&mut text, "DESCRIPTION", &section(page, "DESCRIPTION"));
    text.push_str(".SH KEYS\n");
    let more = section(page, "KEYS");
    for row in &SYSTEM_KEYS {
        let doc = literal(&sentence_case(row.doc));
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{doc}.", literal(row.name));
        if let Some((_, words)) = more.lines().filter_map(entry).find(|(of, _)| *of == row.name) {
            let _ = write!(text, " {}", inline(words));
        }
        text.push('\n');
    }
    for heading in ["FILES", "EXAMPLES"] {
        add(&mut text, heading, &section(page, heading));
    }
    see_also(&mut text, page, "lxcbox(1)");
    File { name: "lxc.system.conf.5".into(), text }
}

fn sentence_case(text: &str) -> String {
    // The name of a tool stays as it is typed.
    if text.starts_with("lxc-") {
        return text.to_owned();
    }
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
