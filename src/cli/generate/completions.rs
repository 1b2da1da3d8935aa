//! Completions for bash, zsh and fish. What a value can be is told from its name in the help
//! text; container names come from `lxc-ls -1`, which takes milliseconds.

use super::{File, Opt, Tool, tools};
use crate::config::keys;
use crate::control::state::State;
use crate::ui::command::Takes;
use std::fmt::Write as _;

/// Options of the binary itself.
const OWN: &str = "--list --install --version --help";

/// What can stand for a value.
enum Values {
    /// Names of files and directories.
    Files,
    /// Names of containers.
    Containers,
    /// Keys of a container's configuration.
    Keys,
    /// These words.
    Words(String),
    /// One or more of them, with this character between.
    List(char, String),
    /// Nothing that could be offered.
    Free,
}

fn values(option: &Opt) -> Values {
    match (option.value.as_str(), option.long.as_deref()) {
        (_, Some("name")) => Values::Containers,
        ("FILE" | "PATH" | "DIR", _) => Values::Files,
        ("KEY" | "KEY=VALUE" | "KEY=VAL", _) => Values::Keys,
        ("LEVEL", _) => Values::Words("trace debug info notice warn error crit alert fatal".into()),
        ("FORMAT", _) => Values::Words("text json".into()),
        ("COLUMNS", _) => Values::List(
            ',',
            "NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED".into(),
        ),
        ("STATE|STATE", _) => Values::List('|', State::ALL.map(State::name).join(" ")),
        (_, Some("namespaces")) => {
            Values::List('|', "MOUNT PID UTSNAME IPC USER NETWORK CGROUP TIME".into())
        }
        ("TEMPLATE", _) => {
            let ours = crate::container::template::EMBEDDED.join(" ");
            Values::Words(ours + " none debian download local oci")
        }
        ("STORE", _) => Values::List(',', "dir none best btrfs loop lvm zfs".into()),
        (_, Some("backingstorage")) => Values::Words("dir btrfs loop lvm overlay zfs".into()),
        _ => Values::Free,
    }
}

/// Which containers make sense for a tool.
fn which(tool: &str) -> &'static str {
    match tool {
        "lxc-attach" | "lxc-console" | "lxc-stop" | "lxc-freeze" => "--running",
        "lxc-unfreeze" => "--frozen",
        "lxc-start" => "--stopped",
        _ => "",
    }
}

fn key_words() -> String {
    keys::names().map(|name| name.replace("lxc.net.N", "lxc.net.0")).collect::<Vec<_>>().join(" ")
}

/// Every spelling of the options that `pick` chooses.
fn spellings<'a>(options: impl Iterator<Item = &'a Opt>) -> Vec<String> {
    let both = options.flat_map(|option| {
        let short = option.short.map(|c| format!("-{c}"));
        [short, option.long.as_ref().map(|long| format!("--{long}"))]
    });
    both.flatten().collect()
}

/// Words behind what is typed already of a list, which ends with the separator. Where that is `|` the
/// word is quoted, or the shell would take it for a pipe: bash itself closes an open quote.
const BASH_LIST: &str = "\
_lxcbox_list() {
\tlocal between=$1 before= word
\tshift
\tcur=${cur#[\\\"\\']}
\t[[ $cur == *\"$between\"* ]] && before=${cur%\"$between\"*}$between
\tfor word in \"$@\"; do
\t\t[[ $word == \"${cur##*\"$between\"}\"* ]] && COMPREPLY+=(\"$before$word\")
\tdone
}

";

/// One file, to be found under the name of each tool: bash-completion looks for that.
pub(super) fn bash() -> Vec<File> {
    let mut text = String::from(
        "# bash completion for lxcbox and its tools. Generated; see lxcbox --generate.\n\n\
         _lxcbox_names() {\n\
         \tlocal path= i\n\
         \tfor ((i = 1; i < COMP_CWORD; i++)); do\n\
         \t\tcase ${COMP_WORDS[i]} in\n\
         \t\t-P | --lxcpath)\n\
         \t\t\tpath=${COMP_WORDS[i + 1]}\n\
         \t\t\t[[ $path == = ]] && path=${COMP_WORDS[i + 2]}\n\
         \t\t\t;;\n\
         \t\tesac\n\
         \tdone\n\
         \tlxc-ls -q -1 ${path:+-P \"$path\"} \"$@\" 2>/dev/null ||\n\
         \t\tlxcbox ls -q -1 ${path:+-P \"$path\"} \"$@\" 2>/dev/null\n\
         }\n\n",
    );
    text.push_str(BASH_LIST);
    let _ = write!(
        text,
        "_lxcbox_keys='{}'\n\n\
         _lxcbox() {{\n\
         \tlocal cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} tool=${{COMP_WORDS[0]##*/}}\n\
         \tlocal first=1 before=\n\
         \tCOMPREPLY=()\n\
         \tif [[ $tool == lxcbox || $tool == lxc ]]; then\n\
         \t\tif ((COMP_CWORD == 1)); then\n\
         \t\t\tCOMPREPLY=($(compgen -W '{} {OWN}' -- \"$cur\"))\n\
         \t\t\treturn\n\
         \t\tfi\n\
         \t\ttool=lxc-${{COMP_WORDS[1]#lxc-}}\n\
         \t\tfirst=2\n\
         \tfi\n\
         \t[[ $cur == = ]] && cur=\n\
         \t[[ $prev == = ]] && prev=${{COMP_WORDS[COMP_CWORD - 2]}}\n\
         \tcase $tool in\n",
        key_words(),
        tools().iter().map(|t| t.name.trim_start_matches("lxc-")).collect::<Vec<_>>().join(" "),
    );
    for tool in tools() {
        bash_tool(&mut text, &tool);
    }
    text.push_str("\tesac\n}\n\n");
    let names: Vec<_> = tools().iter().map(|tool| tool.name).collect();
    let _ = writeln!(text, "complete -F _lxcbox lxcbox {}", names.join(" "));
    vec![File { name: "lxcbox".into(), text }]
}

fn bash_tool(text: &mut String, tool: &Tool) {
    let _ = write!(text, "\t{})\n\t\tcase $prev in\n", tool.name);
    for option in tool.options.iter().filter(|option| option.takes == Takes::Value) {
        let action = match values(option) {
            Values::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Values::Containers => format!(
                "COMPREPLY=($(compgen -W \"$(_lxcbox_names {})\" -- \"$cur\"))",
                which(tool.name)
            ),
            Values::Keys => "COMPREPLY=($(compgen -W \"$_lxcbox_keys\" -- \"$cur\"))".to_owned(),
            Values::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))"),
            Values::List(between, words) => format!("_lxcbox_list '{between}' {words}"),
            Values::Free => ":".to_owned(),
        };
        let spelled = spellings(std::iter::once(option)).join(" | ");
        let _ = write!(text, "\t\t{spelled})\n\t\t\t{action}\n\t\t\treturn\n\t\t\t;;\n");
    }
    let all = spellings(tool.options.iter()).join(" ");
    let _ = write!(
        text,
        "\t\tesac\n\
         \t\tif [[ $cur == -* ]]; then\n\
         \t\t\tCOMPREPLY=($(compgen -W '{all}' -- \"$cur\"))\n"
    );
    if tool.named {
        let _ = write!(
            text,
            "\t\telif ((COMP_CWORD == first)); then\n\
             \t\t\tCOMPREPLY=($(compgen -W \"$(_lxcbox_names {})\" -- \"$cur\"))\n",
            which(tool.name)
        );
    }
    text.push_str("\t\telse\n\t\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\t\tfi\n\t\t;;\n");
}

/// One file for all names.
pub(super) fn zsh() -> Vec<File> {
    let tools = tools();
    let names: Vec<_> = tools.iter().map(|tool| tool.name).collect();
    let mut text = format!(
        "#compdef lxcbox {}\n\
         # zsh completion for lxcbox and its tools. Generated; see lxcbox --generate.\n\n\
         _lxcbox_names() {{\n\
         \tlocal -a names where\n\
         \tlocal at=${{words[(i)(-P|--lxcpath)]}} long=${{words[(r)--lxcpath=*]}}\n\
         \t((at < CURRENT)) && where=(-P ${{words[at+1]}})\n\
         \t[[ -n $long ]] && where=(-P ${{long#*=}})\n\
         \tnames=(${{(f)\"$(lxc-ls -q -1 $where \"$@\" 2>/dev/null ||\n\
         \t\tlxcbox ls -q -1 $where \"$@\" 2>/dev/null)\"}})\n\
         \tcompadd -a names\n\
         }}\n\n\
         _lxcbox_keys() {{\n\tcompadd {}\n}}\n\n\
         local tool=${{service:t}}\n\
         if [[ $tool == lxcbox ]]; then\n\
         \tif ((CURRENT == 2)); then\n\
         \t\tcompadd {} {OWN}\n\
         \t\treturn\n\
         \tfi\n\
         \ttool=lxc-${{words[2]#lxc-}}\n\
         \tshift words\n\
         \t((CURRENT--))\n\
         fi\n\
         case $tool in\n",
        names.join(" "),
        key_words(),
        names.iter().map(|name| name.trim_start_matches("lxc-")).collect::<Vec<_>>().join(" "),
    );
    for tool in &tools {
        let _ = write!(text, "{})\n\t_arguments -s -S", tool.name);
        for option in &tool.options {
            let _ = write!(text, " \\\n\t\t{}", zsh_option(option, tool.name));
        }
        if tool.named {
            let _ = write!(text, " \\\n\t\t'1:container:{}'", zsh_names(tool.name));
        }
        text.push_str(" \\\n\t\t'*::argument:_files'\n\t;;\n");
    }
    text.push_str("esac\n");
    vec![File { name: "_lxcbox".into(), text }]
}

fn zsh_names(tool: &str) -> String {
    match which(tool) {
        "" => "_lxcbox_names".to_owned(),
        filter => format!("{{_lxcbox_names {filter}}}"),
    }
}

fn zsh_option(option: &Opt, tool: &str) -> String {
    let help = option.help.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]");
    let help = help.replace(':', "\\:");
    let spelled = spellings(std::iter::once(option));
    let action = match values(option) {
        Values::Files => "_files".to_owned(),
        Values::Containers => zsh_names(tool),
        Values::Keys => "_lxcbox_keys".to_owned(),
        Values::Words(words) => format!("({words})"),
        Values::List(between, words) => {
            format!("{{_values -s \"{between}\" word {words}}}")
        }
        Values::Free => String::new(),
    };
    let value = match option.takes {
        Takes::Nothing => String::new(),
        Takes::Value => format!(":{}:{action}", option.value.replace(':', "\\:")),
        Takes::Attached => format!("::{}:{action}", option.value.replace(':', "\\:")),
    };
    let each = spelled.iter().map(|word| {
        let tail = match option.takes {
            Takes::Nothing => "",
            Takes::Attached => "-",
            Takes::Value if word.starts_with("--") => "=",
            Takes::Value => "+",
        };
        let tail =
            if option.takes == Takes::Attached && word.starts_with("--") { "=-" } else { tail };
        format!("'*{word}{tail}[{help}]{value}'")
    });
    each.collect::<Vec<_>>().join(" ")
}

/// The names of containers in the directory that the words before say.
const FISH_NAMES: &str = "\
function __lxcbox_names
    set -l words (commandline -opc)
    set -l where
    for at in (seq (count $words))
        switch $words[$at]
            case -P --lxcpath
                set where -P $words[(math $at + 1)]
            case '--lxcpath=*'
                set where -P (string replace -- --lxcpath= '' $words[$at])
        end
    end
    lxc-ls -q -1 $where $argv 2>/dev/null
end
";

/// Words behind the commas, or what stands between, of the word that is typed; fish compares with
/// that word as the command will see it, without quotes.
const FISH_LIST: &str = "\
function __lxcbox_list
    set -l typed (commandline -ct | string replace -r -- '^(-[A-Za-z]|--[^=]*=)' '')
    set -l before (string replace -ra -- '[\\'\"\\\\\\\\]' '' \"$typed\" | string match -r \".*[$argv[1]]\")
    for word in $argv[2..]
        echo \"$before$word\"
    end
end
";

/// One file for each name: fish looks for that.
pub(super) fn fish() -> Vec<File> {
    let mut files: Vec<File> = tools().iter().map(fish_tool).collect();
    let mut text = String::from("# Generated; see lxcbox --generate.\n");
    let first = "__fish_is_first_arg";
    for tool in tools() {
        let short = tool.name.trim_start_matches("lxc-");
        let _ = writeln!(
            text,
            "complete -c lxcbox -f -n {first} -a {short} -d {}",
            fish_quote(tool.about)
        );
    }
    for option in OWN.split(' ') {
        let _ = writeln!(text, "complete -c lxcbox -f -n {first} -l {}", &option[2..]);
    }
    files.push(File { name: "lxcbox.fish".into(), text });
    files
}

fn fish_quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn fish_tool(tool: &Tool) -> File {
    let mut text = String::from("# Generated; see lxcbox --generate.\n");
    text.push_str(FISH_NAMES);
    if tool.options.iter().any(|option| matches!(values(option), Values::List(..))) {
        text.push_str(FISH_LIST);
    }
    let names = format!("'(__lxcbox_names {})'", which(tool.name));
    if tool.named {
        let _ = writeln!(text, "complete -c {} -n __fish_is_first_arg -f -a {names}", tool.name);
    }
    for option in &tool.options {
        let _ = write!(text, "complete -c {}", tool.name);
        if let Some(short) = option.short {
            let _ = write!(text, " -s {short}");
        }
        if let Some(long) = &option.long {
            let _ = write!(text, " -l {long}");
        }
        let _ = write!(text, " -d {}", fish_quote(&option.help));
        if option.takes == Takes::Value {
            match values(option) {
                Values::Files => text.push_str(" -r -F"),
                Values::Containers => {
                    let _ = write!(text, " -x -a {names}");
                }
                Values::Keys => {
                    let _ = write!(text, " -x -a {}", fish_quote(&key_words()));
                }
                Values::Words(words) => {
                    let _ = write!(text, " -x -a {}", fish_quote(&words));
                }
                Values::List(between, words) => {
                    let _ = write!(text, " -x -a '(__lxcbox_list \"{between}\" {words})'");
                }
                Values::Free => text.push_str(" -x"),
            }
        }
        text.push('\n');
    }
    File { name: format!("{}.fish", tool.name), text }
}
