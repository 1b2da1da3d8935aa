//! lxc-create and lxc-destroy with templates that need no privilege.

use crate::harness::Dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A template that records what it was given.
fn template(dir: &Dir, body: &str) -> PathBuf {
    let path = dir.file("template", &format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const FIND_PATH: &str = "for a; do case $a in --path=*) path=${a#*=};; --rootfs=*) rootfs=${a#*=};; \
                         esac; done";

#[test]
fn a_template_gets_lxcs_arguments_and_its_lines_are_kept() {
    let dir = Dir::new();
    let body = format!(
        "{FIND_PATH}\nprintf '%s\\n' \"$0\" \"$@\" >\"$rootfs/args\"\numask >>\"$rootfs/args\"\n\
         echo 'lxc.uts.name = from-template' >>\"$path/config\""
    );
    let script = template(&dir, &body);
    let base = dir.file("base.conf", "# kept\nlxc.net.0.type = empty\n\nlxc.tty.max = 2\n");
    let (script, base) = (script.to_str().unwrap(), base.to_str().unwrap());
    dir.tool("lxc-create", &["c1", "-t", script, "-f", base, "--", "--release", "x y"])
        .ends(0)
        .silent();
    let container = dir.lxcpath().join("c1");
    let rootfs = container.join("rootfs");
    let args = fs::read_to_string(rootfs.join("args")).unwrap();
    let expected = format!(
        "{script}\n--path={}\n--name=c1\n--rootfs={}\n--release\nx y\n0022\n",
        container.display(),
        rootfs.display()
    );
    assert_eq!(args, expected);
    let config = fs::read_to_string(container.join("config")).unwrap();
    let lines: Vec<&str> = config.lines().collect();
    assert_eq!(lines[0], format!("# Template used to create this container: {script}"));
    assert_eq!(lines[1], "# Parameters passed to the template: --release x y");
    assert!(lines[2].starts_with("# Template script checksum (SHA-1): "), "{config}");
    assert_eq!(lines[3], "# For additional config options, please look at lxc.container.conf(5)");
    let path = format!("lxc.rootfs.path = dir:{}", rootfs.display());
    for line in ["# kept", "lxc.tty.max = 2", &path, "lxc.uts.name = from-template"] {
        assert!(lines.contains(&line), "{line}: {config}");
    }
    assert_eq!(fs::metadata(&container).unwrap().permissions().mode() & 0o7777, 0o770);
    let mode = fs::metadata(container.join("config")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert!(!container.join("partial").exists());
    dir.tool("lxc-create", &["c1", "-t", "none"]).ends(1).says("container already exists");
    dir.tool("lxc-destroy", &["c1"]).ends(0).silent().prints("");
    assert!(!container.exists());
}

#[test]
fn whatever_fails_nothing_is_left() {
    let dir = Dir::new();
    let base = dir.file("base.conf", "lxc.net.0.type = empty\n");
    let base = base.to_str().unwrap();
    let elsewhere = dir.path().join("elsewhere");
    for (body, status, text) in [
        ("exit 3", 1, "failed with status 3"),
        ("kill -9 $$", 1, "was ended by signal 9"),
        ("echo 'lxc.nonsense = 1' >>\"$path/config\"", 1, "unknown key 'lxc.nonsense'"),
        ("mkdir -p \"$rootfs/a/b\"; ln -s / \"$rootfs/a/root\"; exit 1", 1, "with status 1"),
    ] {
        let script = template(&dir, &format!("{FIND_PATH}\n{body}"));
        let script = script.to_str().unwrap();
        let dir_option = format!("--dir={}", elsewhere.display());
        for more in [&[][..], &[dir_option.as_str()]] {
            let args = [&["c1", "-t", script, "-f", base], more].concat();
            dir.tool("lxc-create", &args).ends(status).says(text);
            let left: Vec<_> = fs::read_dir(dir.lxcpath()).unwrap().collect();
            assert!(left.is_empty() && !elsewhere.exists(), "{body}: {left:?}");
        }
    }
    for (args, text) in [
        (&["-t", "no-such-template"][..], "template \"no-such-template\" not found"),
        (&["-t", "/no/such/template"], "template \"/no/such/template\" not found"),
        (&["-t", "../../bin/true"], "not found"),
        (&["-t", "none", "-f", "/no/such/file"], "/no/such/file"),
        (&["-t", "none", "-B", "cloud"], "\"cloud\" is not a valid backing storage type"),
        (
            &["-t", "none", "-B", "nbd"],
            "a root file system of type nbd is made by its own tools alone",
        ),
        (&["-t", "none", "--dir", "relative"], "--dir should use absolute path"),
        (&["-t", "none", "--fssize", "1G"], "--fssize is only valid with"),
    ] {
        let args = [&["c1"], args].concat();
        dir.tool("lxc-create", &args).ends(1).says(text);
        assert!(!dir.lxcpath().join("c1").exists());
    }
}

#[test]
fn what_was_there_before_a_failure_stays() {
    let dir = Dir::new();
    let prepared = dir.lxcpath().join("c1/rootfs/etc");
    fs::create_dir_all(&prepared).unwrap();
    let script = template(&dir, "exit 1");
    let base = dir.file("base.conf", "");
    let args = ["c1", "-t", script.to_str().unwrap(), "-f", base.to_str().unwrap()];
    dir.tool("lxc-create", &args).ends(1);
    assert!(prepared.exists() && !dir.lxcpath().join("c1/config").exists());
    dir.tool("lxc-create", &["c1", "-t", "none", "-f", base.to_str().unwrap()]).ends(0).silent();
    assert!(prepared.exists());
}

#[test]
fn without_a_template_there_is_a_config_and_no_more() {
    let dir = Dir::new();
    let base =
        dir.file("base.conf", "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n");
    dir.tool("lxc-create", &["c1", "-t", "none", "-f", base.to_str().unwrap()]).ends(0).silent();
    let container = dir.lxcpath().join("c1");
    let names: Vec<_> = fs::read_dir(&container).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["config"]);
    let config = fs::read_to_string(container.join("config")).unwrap();
    let mac = config.lines().find_map(|line| line.strip_prefix("lxc.net.0.hwaddr = ")).unwrap();
    assert!(mac.starts_with("00:16:3e:") && !mac.contains('x') && mac.len() == 17, "{config}");
}

#[test]
fn an_interrupted_creation_is_undone() {
    let dir = Dir::new();
    let script = template(&dir, &format!("{FIND_PATH}\necho ready\nsleep 100 & wait"));
    let base = dir.file("base.conf", "");
    let lxcpath = dir.lxcpath();
    let mut child = dir
        .command()
        .args(["lxc-create", "-P", lxcpath.to_str().unwrap(), "c1", "-t"])
        .arg(&script)
        .arg("-f")
        .arg(&base)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0u8; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    assert!(lxcpath.join("c1/partial").exists());
    dir.tool("lxc-create", &["c1", "-t", "none"]).ends(1).says("another tool is changing");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 15));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("interrupted by signal 15"), "{text}");
    assert!(!lxcpath.join("c1").exists());
}

#[test]
fn the_help_of_a_template_follows_that_of_lxc_create() {
    let dir = Dir::new();
    for name in ["host", "busybox"] {
        let ran = dir.run(&["lxc-create", "-t", name, "-h"]).ends(0);
        let help = ran.stderr.clone() + &ran.stdout;
        assert!(help.contains("Usage: lxc-create [-n] NAME"), "{help}");
        assert!(help.contains("--help"), "{help}");
    }
    dir.run(&["lxc-create", "-h"]).ends(0).says("-t, --template=TEMPLATE");
}

#[test]
fn lxc_destroy_refuses_in_lxcs_order() {
    let dir = Dir::new();
    dir.tool("lxc-destroy", &["c1"]).ends(1).says("container is not defined");
    dir.container("c1", "lxc.rootfs.path = dir:/\n");
    let container = dir.lxcpath().join("c1");
    fs::create_dir_all(container.join("snaps/snap0")).unwrap();
    fs::write(container.join("lxc_snapshots"), "").unwrap();
    dir.tool("lxc-destroy", &["c1"]).ends(1).says("container has clones").says("hint: -s");
    fs::remove_file(container.join("lxc_snapshots")).unwrap();
    dir.tool("lxc-destroy", &["c1"]).ends(1).says("container has snapshots");
    fs::remove_dir(container.join("snaps/snap0")).unwrap();
    let refused = dir.tool("lxc-destroy", &["c1"]).ends(1);
    refused.says("refusing to remove the root file system \"/\"").says("config:1");
    assert!(!container.join("snaps").exists() && container.join("config").exists());
}

#[test]
fn the_destroy_hook_has_lxcs_environment() {
    let dir = Dir::new();
    let (out, rootfs) = (dir.lxcpath().join("out"), dir.lxcpath().join("c1/rootfs"));
    let config = format!(
        "lxc.rootfs.path = dir:{}\nlxc.hook.destroy = sh -c 'env >{}'\n",
        rootfs.display(),
        out.display()
    );
    dir.container("c1", &config);
    fs::create_dir(&rootfs).unwrap();
    dir.tool("lxc-destroy", &["c1"]).ends(0);
    let env = fs::read_to_string(out).unwrap();
    for line in [
        "LXC_NAME=c1",
        &format!("LXC_CONFIG_FILE={}", dir.lxcpath().join("c1/config").display()),
        &format!("LXC_ROOTFS_PATH={}", rootfs.display()),
    ] {
        assert!(env.lines().any(|have| have == line), "{line}: {env}");
    }
    assert!(env.contains("\nLXC_ROOTFS_MOUNT=/usr/lib/"), "{env}");
}
