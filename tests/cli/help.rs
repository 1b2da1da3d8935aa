//! Help, usage and version of every tool; completions that agree with them.

use crate::harness::{Dir, tools};

/// The tools that take none of the common options, as in LXC.
const BARE: [&str; 4] = ["lxc-config", "lxc-monitord", "lxc-update-config", "lxc-usernsexec"];

/// The long options that a help text describes.
fn options(help: &str) -> Vec<String> {
    let words = help.lines().filter(|line| line.starts_with("  ")).flat_map(|line| {
        // Those of the last line of the common options have no words behind them.
        let left =
            if line.starts_with("  -q, --quiet ") { line } else { line.get(..27).unwrap_or(line) };
        left.split([' ', ','])
            .filter(|word| word.starts_with("--"))
            .map(|word| word.split(['=', '[']).next().unwrap_or_default().to_owned())
    });
    words.collect()
}

#[test]
fn help_goes_to_standard_error_and_is_success() {
    let dir = Dir::new();
    for tool in tools().iter().filter(|tool| !BARE.contains(&tool.as_str())) {
        for flag in ["-h", "--help", "--hel"] {
            let ran = dir.run(&[tool, flag]).ends(0).prints("");
            assert!(ran.stderr.starts_with(&format!("Usage: {tool}")), "{tool} {flag}");
            for common in ["--name", "--lxcpath", "--logfile", "--logpriority", "--quiet"] {
                assert!(ran.stderr.contains(common), "{tool} {common}");
            }
        }
        dir.run(&[tool, "-?"]).ends(1).prints("").says("Usage: ");
        dir.run(&[tool, "--usage"]).ends(0).prints("").says("[--usage]");
        dir.run(&[tool, "--version"]).ends(0).silent().prints("0.1.0\n");
    }
}

/// As wide as a terminal, and not longer than a large one.
#[test]
fn a_help_text_fits_a_screen() {
    let dir = Dir::new();
    for tool in tools() {
        let ran = dir.run(&[&tool, "--help"]);
        let text = ran.stderr + &ran.stdout;
        assert!(text.lines().count() <= 45, "{tool}: {}", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{tool}: {line}");
        }
    }
}

#[test]
fn an_option_nobody_knows_is_named_and_the_status_is_1() {
    let dir = Dir::new();
    for tool in tools() {
        dir.run(&[&tool, "--no-such-option"])
            .ends(1)
            .prints("")
            .says(&format!("{tool}: unknown option \"--no-such-option\""))
            .says(&format!("hint: {tool} --help"));
        dir.run(&[&tool, "-Z"]).ends(1).prints("").says("unknown option \"-Z\"");
    }
}

#[test]
fn completions_have_every_option_of_the_help() {
    let dir = Dir::new();
    let path = |what: &str| dir.path().join(what).to_str().unwrap().to_owned();
    for what in ["bash", "zsh", "fish", "man"] {
        dir.run(&["--generate", what, &path(what)]).ends(0).silent();
    }
    let read = |file: String| std::fs::read_to_string(file).unwrap();
    let bash = read(path("bash") + "/lxcbox");
    let zsh = read(path("zsh") + "/_lxcbox");
    for tool in tools() {
        let ran = dir.run(&[&tool, "--help"]);
        let listed = options(&(ran.stderr + &ran.stdout));
        assert!(BARE.contains(&tool.as_str()) || listed.len() >= 8, "{tool} {listed:?}");
        let fish = read(format!("{}/{tool}.fish", path("fish")));
        let man = read(format!("{}/{tool}.1", path("man"))).replace('\\', "");
        let section = |text: &str| {
            let (_, rest) = text.split_once(&format!("{tool})\n")).unwrap();
            rest.to_owned()
        };
        for option in listed {
            assert!(section(&bash).contains(&option), "bash {tool} {option}");
            assert!(section(&zsh).contains(&option), "zsh {tool} {option}");
            assert!(fish.contains(&format!("-l {} ", &option[2..])), "fish {tool} {option}");
            assert!(man.contains(&option), "man {tool} {option}");
        }
    }
}

#[test]
fn the_shells_can_read_their_completions() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        let out = dir.path().join(shell);
        dir.run(&["--generate", shell, out.to_str().unwrap()]).ends(0).silent();
        for file in std::fs::read_dir(&out).unwrap() {
            let file = file.unwrap().path();
            let Ok(checked) = std::process::Command::new(shell).arg("-n").arg(&file).output()
            else {
                println!("skipped: {shell} is not installed");
                break;
            };
            assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}");
        }
    }
}
