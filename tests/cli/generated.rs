//! Manual pages and completions, read by the programs they are for.

use crate::harness::Dir;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn generate(dir: &Dir, what: &str) -> PathBuf {
    let path = dir.path().join(what);
    dir.run(&["--generate", what, path.to_str().unwrap()]).ends(0).silent();
    path
}

#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
/// What a program of the host answers; `None`, which is said, where it is not installed.
fn host(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {:?} is not installed", command.get_program());
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn every_page_is_complete_and_two_programs_render_it() {
    let dir = Dir::new();
    let pages: Vec<PathBuf> =
        std::fs::read_dir(generate(&dir, "man")).unwrap().map(|f| f.unwrap().path()).collect();
    let listed = dir.run(&["--list"]).ends(0).stdout;
    assert!(pages.len() >= listed.lines().count() + 5);
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        let is_tool = page.to_str().unwrap().ends_with(".1");
        let common = ["NAME", "DESCRIPTION", "SEE ALSO"];
        let of_tool = ["SYNOPSIS", "EXIT STATUS"];
        for section in common.iter().chain(of_tool.iter().filter(|_| is_tool)) {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{}: {section}", page.display());
        }
        for name in text.split("\\fB").skip(1).filter_map(|rest| rest.split_once("\\fR(1)")) {
            let name = name.0.replace('\\', "");
            let ours = name.starts_with("lxc-") && name != "lxc-user-nic";
            // A tool that a page names and this program does not have would be a dead end.
            assert!(!ours || listed.lines().any(|tool| tool == name), "{} {name}", page.display());
        }
        let groff = ["-man", "-ww", "-z", "-Tutf8"];
        if let Some(output) = host(Command::new("groff").args(groff).arg(page)) {
            assert_eq!((output.status.success(), said(&output)), (true, String::new()));
        }
        if let Some(output) = host(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(page)) {
            assert_eq!((output.status.success(), said(&output)), (true, String::new()));
        }
    }
}

/// Two containers, the tools in `bin`, and a PATH with them.
fn scene(dir: &Dir) -> (PathBuf, String) {
    let lxcpath = dir.path().join("lxc");
    for name in ["only1", "other"] {
        std::fs::create_dir_all(lxcpath.join(name)).unwrap();
        std::fs::write(lxcpath.join(name).join("config"), "lxc.uts.name = x\n").unwrap();
    }
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    dir.run(&["--install", bin.to_str().unwrap()]).ends(0);
    (lxcpath, format!("{}:/usr/bin:/bin", bin.display()))
}

/// What somebody types, and the words that are offered.
fn questions(lxcpath: &Path) -> Vec<(String, &'static [&'static str])> {
    let path = lxcpath.display();
    vec![
        (format!("lxc-start -P {path} -n o"), &["only1", "other"]),
        (format!("lxc-start -P {path} -n on"), &["only1"]),
        ("lxc-start --def".into(), &["--define"]),
        ("lxc-start -l de".into(), &["debug"]),
        ("lxc-start -s lxc.ut".into(), &["lxc.uts.name"]),
        ("lxc-wait -s FRO".into(), &["FROZEN"]),
        ("lxc-ls --format js".into(), &["json"]),
        ("lxc-create -t ho".into(), &["host"]),
        ("lxc-ls -f -F UNP".into(), &["UNPRIVILEGED"]),
        ("lxc-ls -f -F NAME,UNP".into(), &["NAME,UNPRIVILEGED"]),
        ("lxc-ls -f -F NAME,PID,STA".into(), &["NAME,PID,STATE"]),
        ("lxc-create -B bt".into(), &["btrfs"]),
        ("lxc-create -B zfs,btrfs,lo".into(), &["zfs,btrfs,loop"]),
        ("lxc-copy -B ov".into(), &["overlay"]),
        // The shell would take a bar that is not quoted for a pipe.
        ("lxc-wait -s \"FROZEN|THA".into(), &["FROZEN|THAWED"]),
        ("lxc-wait -s \"FROZEN|STOPPED|RU".into(), &["FROZEN|STOPPED|RUNNING"]),
        ("lxc-attach -s \"MOUNT|UT".into(), &["MOUNT|UTSNAME"]),
        ("lxc-unshare -s \"PID|NETWORK|US".into(), &["PID|NETWORK|USER"]),
    ]
}

#[test]
fn bash_completes() {
    let dir = Dir::new();
    let (lxcpath, path) = scene(&dir);
    let script = format!(
        "source {}/lxcbox; COMP_WORDS=($1); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _lxcbox; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        generate(&dir, "bash").display()
    );
    let mut asked = questions(&lxcpath);
    asked.push((format!("lxcbox start -P {} -n on", lxcpath.display()), &["only1"]));
    asked.push(("lxcbox unf".into(), &["unfreeze"]));
    for (typed, offered) in asked {
        let mut bash = Command::new("bash");
        let Some(output) = host(bash.env("PATH", &path).args(["-c", &script, "bash", &typed]))
        else {
            return;
        };
        assert!(said(&output).lines().eq(offered.iter().copied()), "{typed}: {}", said(&output));
    }
}

/// With the tab key, on a terminal, and what the tool is given then: quotes are closed, and what is
/// escaped stays so.
#[test]
fn bash_completes_on_a_terminal() {
    let dir = Dir::new();
    let (_, path) = scene(&dir);
    let asked = [
        ("lxc-wait -s 'FROZEN|THA", "<-s><FROZEN|THAWED>"),
        ("lxc-wait -s \"FROZEN|THA", "<-s><FROZEN|THAWED>"),
        ("lxc-wait -s FROZEN\\|THA", "<-s><FROZEN|THAWED>"),
        ("lxc-create -B zfs,lo", "<-B><zfs,loop>"),
        ("lxc-ls --fancy-format=NAME,UNP", "<--fancy-format=NAME,UNPRIVILEGED>"),
    ];
    let (rc, keys) = (dir.path().join("rc"), dir.path().join("keys"));
    let files = generate(&dir, "bash");
    let tools = "for t in lxc-wait lxc-create lxc-ls; do\n\
                 eval \"$t() { printf '<%s>' \\\"\\$@\\\"; echo; }\"\ndone\n";
    std::fs::write(&rc, format!("source {}/lxcbox\n{tools}", files.display())).unwrap();
    let typed: String = asked.iter().map(|(typed, _)| format!("{typed}\t\n")).collect();
    std::fs::write(&keys, typed + "exit\n").unwrap();
    let mut script = Command::new("timeout");
    script.env("PATH", &path).env("HOME", dir.path()).env("TERM", "dumb");
    script.args(["120", "script", "-qec"]);
    script.arg(format!("bash --noprofile --rcfile {} -i", rc.display())).arg("/dev/null");
    let output = script.stdin(std::fs::File::open(keys).unwrap()).output().unwrap();
    let text = said(&output);
    let given: Vec<&str> =
        text.lines().filter(|line| line.starts_with('<')).map(str::trim).collect();
    assert_eq!(given, asked.map(|(_, given)| given), "{text}");
}

#[test]
fn fish_completes() {
    let dir = Dir::new();
    let (lxcpath, path) = scene(&dir);
    let files = generate(&dir, "fish");
    for (typed, offered) in questions(&lxcpath) {
        let tool = typed.split(' ').next().unwrap();
        let script = format!("source {}/{tool}.fish; complete -C '{typed}'", files.display());
        let mut fish = Command::new("fish");
        fish.env("PATH", &path).env("HOME", dir.path()).args(["--no-config", "-c", &script]);
        let Some(output) = host(&mut fish) else { return };
        let text = said(&output);
        let words = text.lines().map(|line| line.split('\t').next().unwrap());
        assert!(words.eq(offered.iter().copied()), "{typed}: {text}");
    }
}

/// A real zsh on a terminal, with the tab key. It types what is the only choice.
#[test]
fn zsh_completes() {
    let dir = Dir::new();
    let (lxcpath, path) = scene(&dir);
    let mut script = format!(
        "zmodload zsh/zpty || exit 9\nzpty -b z zsh -f -i\nzpty -w z \"PS1='%% '; \
         unsetopt prompt_sp; fpath=({} \\$fpath); autoload -Uz compinit; compinit -u -D; \
         bindkey -e; echo rea'dy'\"\nzpty -r -m z out '*ready*'\n",
        generate(&dir, "zsh").display()
    );
    for (typed, offered) in questions(&lxcpath) {
        let [word] = offered else { continue };
        let pattern = word.replace('|', "\\|");
        // The line is thrown away after that.
        script.push_str(&format!(
            "zpty -w -n z '{typed}'$'\\t'\nzpty -r -m z out '*{pattern}*'\n\
             print -r -- '{typed}' '{word}'\nzpty -w -n z $'\\x15'\n"
        ));
    }
    let mut zsh = Command::new("timeout");
    zsh.env("PATH", &path).env("HOME", dir.path()).env("TERM", "dumb");
    if host(Command::new("zsh").arg("--version")).is_none() {
        return;
    }
    let output = zsh.args(["120", "zsh", "-f", "-c", &script]).output().unwrap();
    let text = said(&output);
    for (typed, offered) in questions(&lxcpath) {
        if let [word] = offered {
            assert!(text.contains(&format!("{typed} {word}\n")), "{typed}: {text}");
        }
    }
}
