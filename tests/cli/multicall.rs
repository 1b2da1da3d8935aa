//! One binary by many names.

use crate::harness::{BINARY, Dir, run, tools};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

#[test]
fn every_tool_is_found_by_each_of_its_names() {
    let dir = Dir::new();
    for tool in tools() {
        let short = tool.strip_prefix("lxc-").unwrap();
        for name in [tool.as_str(), short] {
            let ran = dir.run(&[name, "--help"]).ends(0);
            let text = ran.stderr + &ran.stdout;
            assert!(text.contains(&format!("Usage: {tool}")), "{name}: {text}");
        }
        let link = dir.path().join(&tool);
        symlink(BINARY, &link).unwrap();
        let ran = run(Command::new(&link).arg("--help")).ends(0);
        assert!((ran.stderr + &ran.stdout).contains(&format!("Usage: {tool}")));
    }
}

#[test]
fn install_makes_links_and_leaves_files_alone() {
    let dir = Dir::new();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let bin_text = bin.to_str().unwrap();
    for _ in 0..2 {
        dir.run(&["--install", bin_text]).ends(0).silent();
    }
    for tool in tools() {
        assert_eq!(std::fs::read_link(bin.join(tool)).unwrap().to_str(), Some(BINARY));
    }
    std::fs::remove_file(bin.join("lxc-ls")).unwrap();
    std::fs::write(bin.join("lxc-ls"), "somebody else's").unwrap();
    dir.run(&["--install", bin_text]).ends(1).says("File exists (EEXIST)").says("hint:");
    assert_eq!(std::fs::read(bin.join("lxc-ls")).unwrap(), b"somebody else's");
    dir.run(&["--install"]).ends(1).says("--install takes one directory");
}

#[test]
fn an_unknown_tool_is_named() {
    let dir = Dir::new();
    dir.run(&["nonsense"]).ends(1).says("there is no tool \"nonsense\"");
    dir.run(&[]).ends(1).says("Usage: lxcbox");
    dir.run(&["--help"]).ends(0).says("Usage: lxcbox");
}

#[test]
fn called_as_lxc_it_is_lxcs_own_multicall() {
    let dir = Dir::new();
    let lxc = dir.path().join("lxc-link");
    std::fs::create_dir(&lxc).unwrap();
    let lxc = lxc.join("lxc");
    symlink(BINARY, &lxc).unwrap();
    for args in [&[][..], &["-h"], &["--help"]] {
        run(Command::new(&lxc).args(args)).ends(1).says("Known commands:");
    }
    let unknown = run(Command::new(&lxc).arg("lxc-ls")).ends(1);
    unknown.says("Unsupported command 'lxc-ls'").says("Known commands:");
    run(Command::new(&lxc).args(["config", "lxc.foo"])).ends(1);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dir = Dir::new();
    for n in 0..200 {
        dir.container(&format!("c{n:0100}"), "");
    }
    let lxcpath = dir.lxcpath();
    let mut child = dir
        .command()
        .args(["lxc-ls", "-1", "-P", lxcpath.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_full_disk_is_one() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let dir = Dir::new();
    let ran = run(dir.command().args(["lxc-config", "-l"]).stdout(full));
    ran.ends(1).says("lxc-config: writing the output: ").says("(ENOSPC)");
}
