//! Manual pages (man(7) macros): one per tool, one for the binary, two for the configuration.

use super::{File, Opt, Tool, tools};
use crate::config::keys;
use crate::config::path::SYSTEM_KEYS;
use crate::ui::command::Takes;
use std::fmt::Write as _;

pub(super) fn pages() -> Vec<File> {
    let tools = tools();
    let mut files: Vec<File> = tools.iter().map(tool_page).collect();
    files.push(binary_page(&tools));
    files.push(container_conf());
    files.push(system_conf());
    files
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
                c => out.push(c),
            }
        }
    }
    out
}

fn head(name: &str, section: u8, about: &str) -> String {
    format!(
        ".TH {} {section} \"\" \"lxcbox {}\" \"lxcbox\"\n.SH NAME\n{} \\- {}\n",
        literal(&name.to_uppercase()),
        crate::cli::VERSION,
        literal(name),
        literal(about)
    )
}

fn option_lines(out: &mut String, options: &[&Opt]) {
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
        let _ = write!(out, ".TP\n{}{value}\n{}\n", words.join(", "), literal(&option.help));
    }
}

fn tool_page(tool: &Tool) -> File {
    let mut text = head(tool.name, 1, tool.about);
    let _ = write!(text, ".SH SYNOPSIS\n\\fB{}\\fR\n", literal(&tool.synopsis));
    let (common, own): (Vec<_>, Vec<_>) = tool.options.iter().partition(|o| o.common);
    for (heading, options) in [("OPTIONS", own), ("COMMON OPTIONS", common)] {
        if !options.is_empty() {
            let _ = writeln!(text, ".SH {heading}");
            option_lines(&mut text, &options);
        }
    }
    if !tool.notes.is_empty() {
        let _ = write!(text, ".SH NOTES\n{}\n", literal(&tool.notes));
    }
    text.push_str(
        ".SH SEE ALSO\n\\fBlxcbox\\fR(1), \\fBlxc.container.conf\\fR(5), \\fBlxc.system.conf\\fR(5)\n",
    );
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
    File { name: "lxcbox.1".into(), text }
}

fn container_conf() -> File {
    let mut text = head("lxc.container.conf", 5, "configuration of a container");
    text.push_str(
        ".SH DESCRIPTION\nEach line is \\fIkey\\fR = \\fIvalue\\fR. Lines that do not begin with \
         lxc. and lines that begin with # are not looked at. One pair of quotes around the value is \
         taken off. A key that is not known is an error.\n.SH KEYS\n",
    );
    for key in keys::reference() {
        let _ = write!(text, ".TP\n\\fB{}\\fR = {}\n", literal(&key.key), literal(key.value));
        let _ = write!(text, "{}.", literal(&sentence_case(key.doc)));
        if key.repeats {
            text.push_str(" Each line adds one.");
        }
        if !key.default.is_empty() {
            let _ = write!(text, " Default: {}.", literal(key.default.trim()));
        }
        let _ = write!(text, "\n.br\nExample: {}\n", literal(&key.example));
    }
    File { name: "lxc.container.conf.5".into(), text }
}

fn system_conf() -> File {
    let mut text = head("lxc.system.conf", 5, "settings of the host for its containers");
    text.push_str(
        ".SH DESCRIPTION\n/etc/lxc/lxc.conf, or ~/.config/lxc/lxc.conf of an ordinary user. Each \
         line is \\fIkey\\fR = \\fIvalue\\fR; the first line of a key counts. \
         \\fBlxc\\-config\\fR(1) prints them.\n.SH KEYS\n",
    );
    for row in &SYSTEM_KEYS {
        let doc = literal(&sentence_case(row.doc));
        let _ = write!(text, ".TP\n\\fB{}\\fR\n{doc}.\n", literal(row.name));
    }
    File { name: "lxc.system.conf.5".into(), text }
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
