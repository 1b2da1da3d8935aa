//! lxc-push and lxc-pull: what arrives, whose it is, and what a hostile container cannot do.

use crate::machine::{Machine, Outcome, run};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const QUIET: &str = "lxc.net.0.type = empty\n";
const MAPPED: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";

fn push(m: &Machine, c: &str, words: &[&str]) -> Outcome {
    m.lxc("push", &[&["-n", c], words].concat())
}

fn pull(m: &Machine, c: &str, words: &[&str]) -> Outcome {
    m.lxc("pull", &[&["-n", c], words].concat())
}

/// A tree with everything that a copy can lose.
fn tree(m: &Machine) -> PathBuf {
    let top = m.dir.join("tree");
    fs::create_dir_all(top.join("sub/deep")).unwrap();
    fs::write(top.join("a"), "text").unwrap();
    fs::hard_link(top.join("a"), top.join("sub/b")).unwrap();
    symlink("../a", top.join("sub/link")).unwrap();
    symlink("/etc/passwd", top.join("absolute")).unwrap();
    fs::set_permissions(top.join("a"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(top.join("sub"), fs::Permissions::from_mode(0o750)).unwrap();
    let sparse = fs::File::create(top.join("sub/deep/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    m.sh(&format!("cd {} && chown 1000:1001 a && mkfifo sub/pipe", top.display())).ok();
    top
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// No half file under a made-up name anywhere.
fn no_rest(dir: &Path) {
    let found = std::process::Command::new("find").arg(dir).args(["-name", ".lxc-copy-*"]).output();
    assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout), "");
}

fn both_ways(m: &Machine, c: &str, base: u32) {
    let top = tree(m);
    let root = m.lxcpath().join(c).join("rootfs");
    let file = text(&top.join("a"));
    assert_eq!(push(m, c, &[&file, "/tmp/one"]).ok(), "");
    assert_eq!(
        push(m, c, &["--uid", "5", "--gid", "6", "--mode", "0600", &file, "/tmp/"]).ok(),
        ""
    );
    push(m, c, &[&file, "/tmp/no/such/x"]).fails(1);
    push(m, c, &["-p", &file, "/tmp/no/such/x"]).ok();
    assert!(push(m, c, &[&text(&top), "/tmp"]).fails(1).contains("-r"));
    let said = push(m, c, &["-r", &text(&top), "/tmp"]).fails(1);
    assert!(said.contains("sub/pipe") && said.lines().count() == 1, "{said}");
    fs::remove_file(top.join("sub/pipe")).unwrap();
    push(m, c, &["-r", &text(&top), "/tmp"]).ok();
    let is = |path: &str, uid: u32, mode: u32| {
        let meta = fs::symlink_metadata(root.join(path)).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (base + uid, mode), "{path}");
        meta
    };
    is("tmp/one", 1000, 0o640);
    is("tmp/a", 5, 0o600);
    is("tmp/no/such", 0, 0o755);
    let first = is("tmp/tree/a", 1000, 0o640);
    assert_eq!(is("tmp/tree/sub/b", 1000, 0o640).ino(), first.ino(), "links stay links");
    is("tmp/tree/sub", 0, 0o750);
    assert!(is("tmp/tree/sub/deep/sparse", 0, 0o644).blocks() < 1000, "holes stay holes");
    let link = |path: &str| fs::read_link(root.join(path)).unwrap();
    assert_eq!(link("tmp/tree/sub/link"), Path::new("../a"));
    assert_eq!(link("tmp/tree/absolute"), Path::new("/etc/passwd"));
    // Standard input and output.
    let mut command = m.lxc_command("push", &["-n", c, "-", "/tmp/in"]);
    run({
        command.stdin(Stdio::from(fs::File::open(top.join("a")).unwrap()));
        command
    })
    .ok();
    is("tmp/in", 0, 0o644);
    assert_eq!(pull(m, c, &["/tmp/in", "-"]).ok(), "text");
    // And back; what comes out is root's.
    let out = m.dir.join("out");
    fs::set_permissions(root.join("tmp/one"), fs::Permissions::from_mode(0o6755)).unwrap();
    pull(m, c, &["/tmp/one", "/tmp/a", &text(&out)]).fails(1);
    pull(m, c, &["-p", "/tmp/one", "/tmp/a", &format!("{}/", text(&out))]).ok();
    let meta = fs::metadata(out.join("one")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o755), "no set-id bits");
    pull(m, c, &["-a", "/tmp/one", &text(&out)]).ok();
    let meta = fs::metadata(out.join("one")).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (1000, 0o6755), "unless asked for");
    pull(m, c, &["-r", "/tmp/tree", &text(&out)]).ok();
    assert_eq!(fs::read_to_string(out.join("tree/sub/b")).unwrap(), "text");
    assert!(pull(m, c, &["/tmp/tree", &text(&out)]).fails(1).contains("-r"));
    pull(m, c, &["/tmp/missing", &text(&out)]).fails(1);
    no_rest(&root);
    no_rest(&out);
}

#[test]
fn of_a_stopped_container() {
    let m = Machine::new();
    let c = m.container("stopped", QUIET);
    both_ways(&m, &c, 0);
    for wrong in [&[][..], &["x"], &["--mode", "9", "/bin/sh", "/tmp"], &["--uid", "x", "a", "b"]] {
        push(&m, &c, wrong).fails(1);
    }
    push(&m, "missing", &["/bin/sh", "/tmp"]).fails(1);
}

#[test]
fn of_a_running_container() {
    let m = Machine::new();
    let c = m.container("running", QUIET);
    m.start(&c);
    both_ways(&m, &c, 0);
}

#[test]
fn of_a_mapped_container() {
    let m = Machine::new();
    let c = m.container("mapped", &format!("{QUIET}{MAPPED}"));
    m.sh(&format!("chown -R 100000:100000 {}/{c}/rootfs", m.lxcpath().display())).ok();
    m.sh(&format!("chmod 755 {}/{c}", m.lxcpath().display())).ok();
    both_ways(&m, &c, 100_000);
    m.sh(&format!(
        "rm -rf {0}/{c}/rootfs/tmp/* {1}/out {1}/tree",
        m.lxcpath().display(),
        m.dir.display()
    ))
    .ok();
    m.start(&c);
    both_ways(&m, &c, 100_000);
    // In a file system of the container's own, and with an id that it has not.
    let file = text(&m.dir.join("tree/a"));
    push(&m, &c, &[&file, "/dev/file"]).ok();
    assert_eq!(m.inside(&c, "stat -c '%u:%g %a' /dev/file").ok(), "1000:1001 640\n");
    assert!(push(&m, &c, &["--uid", "70000", &file, "/tmp/x"]).fails(1).contains("EOVERFLOW"));
    assert!(!m.lxcpath().join(&c).join("rootfs/tmp/x").exists());
}

#[test]
fn of_an_overlay() {
    let m = Machine::new();
    let c = m.container("base", QUIET);
    let copy = m.name("over");
    m.lxc("copy", &["-n", &c, "-N", &copy, "-s"]).ok();
    let file = m.dir.join("file");
    fs::write(&file, "text").unwrap();
    push(&m, &copy, &[&text(&file), "/etc/new"]).ok();
    assert_eq!(pull(&m, &copy, &["/etc/new", "-"]).ok(), "text");
    assert!(pull(&m, &copy, &["/etc/passwd", "-"]).ok().contains("root"));
    assert!(!m.lxcpath().join(&c).join("rootfs/etc/new").exists(), "the layer below is left alone");
}

#[test]
fn a_hostile_tree_stays_inside() {
    let m = Machine::new();
    let c = m.container("hostile", QUIET);
    let root = m.lxcpath().join(&c).join("rootfs");
    let outside = m.dir.join("precious");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    // Links that lead out, absolute and by "..", the file of that name in the container's own root.
    symlink(&outside, root.join("tmp/way")).unwrap();
    symlink("../../../../../../../../..", root.join("tmp/up")).unwrap();
    symlink(outside.join("secret"), root.join("tmp/secret")).unwrap();
    symlink("/proc/self/root", root.join("tmp/magic")).unwrap();
    m.sh(&format!("mkfifo {0}/tmp/pipe; mknod {0}/tmp/zero c 1 5", root.display())).ok();
    let out = m.dir.join("out");
    fs::create_dir(&out).unwrap();
    let file = m.dir.join("file");
    fs::write(&file, "mine").unwrap();
    for start in [false, true] {
        if start {
            m.start(&c);
        }
        for path in ["/tmp/secret", "/tmp/way/secret", "/tmp/pipe", "/tmp/zero", "/tmp/magic/etc"] {
            pull(&m, &c, &[path, &text(&out)]).fails(1);
        }
        assert_eq!(
            pull(&m, &c, &["/tmp/up/etc/passwd", "-"]).ok(),
            "root:x:0:0:root:/root:/bin/sh\n"
        );
        push(&m, &c, &[&text(&file), "/tmp/way/secret"]).fails(1);
        push(&m, &c, &["-p", &text(&file), "/tmp/way/dir/file"]).fails(1);
        push(&m, &c, &[&text(&file), "/tmp/up/top"]).ok();
        assert_eq!(fs::read_to_string(root.join("top")).unwrap(), "mine");
        // The link is replaced, not what it leads to.
        push(&m, &c, &[&text(&file), "/tmp/secret"]).ok();
        assert_eq!(fs::read_to_string(root.join("tmp/secret")).unwrap(), "mine");
        fs::remove_file(root.join("tmp/secret")).unwrap();
        symlink(outside.join("secret"), root.join("tmp/secret")).unwrap();
        // A directory that is a link inside is not walked through.
        let tree = m.dir.join("tree/way");
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join("secret"), "mine").unwrap();
        push(&m, &c, &["-r", &text(&m.dir.join("tree/way")), "/tmp"]).fails(1);
        let said = pull(&m, &c, &["-r", "/tmp", &text(&out)]).fails(1);
        assert!(said.contains("pipe") && said.contains("zero"), "{said}");
        assert_eq!(fs::read_link(out.join("tmp/way")).unwrap(), outside);
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }
    no_rest(&root);
}

/// A push from a pipe that has begun, and has "half" so far.
fn half_pushed(m: &Machine, c: &str) -> Child {
    let mut child = m
        .lxc_command("push", &["-n", c, "-", "/tmp/file"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"half").unwrap();
    let tmp = m.lxcpath().join(c).join("rootfs/tmp");
    crate::machine::eventually(15, "the copy to begin", || {
        let mut names = fs::read_dir(&tmp).unwrap().flatten().map(|e| e.file_name());
        names.any(|n| n.to_string_lossy().starts_with(".lxc-copy")).then_some(())
    });
    child
}

#[test]
fn an_interrupted_copy_leaves_nothing_half_made() {
    let m = Machine::new();
    let c = m.container("stop", QUIET);
    let root = m.lxcpath().join(&c).join("rootfs");
    fs::write(root.join("tmp/file"), "old").unwrap();
    let child = half_pushed(&m, &c);
    assert_eq!(fs::read_to_string(root.join("tmp/file")).unwrap(), "old");
    m.sh(&format!("kill -TERM {}", child.id())).ok();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{ended:?}");
    assert_eq!(fs::read_to_string(root.join("tmp/file")).unwrap(), "old");
    no_rest(&root);
}

#[test]
fn a_start_waits_for_who_works_on_the_files() {
    let m = Machine::new();
    let hook = m.dir.join("hook");
    let script = "#!/bin/sh\n[ ! -e slow ] || touch began\nwhile [ -e slow ]; do sleep 0.1; done\n";
    let script = script
        .replace("slow", &text(&m.dir.join("slow")))
        .replace("began", &text(&m.dir.join("began")));
    fs::write(&hook, script).unwrap();
    m.sh(&format!("chmod 755 {}", hook.display())).ok();
    let c = m.container("late", &format!("{QUIET}lxc.hook.pre-start = {}\n", hook.display()));
    let mut pusher = half_pushed(&m, &c);
    let mut starter = m.lxc_command("start", &["-n", &c]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(starter.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    assert!(line.contains("waiting for another tool"), "{line}");
    assert!(m.lxc("info", &["-n", &c, "-s"]).ok().contains("STOPPED"));
    assert!(starter.try_wait().unwrap().is_none());
    drop(pusher.stdin.take());
    assert!(pusher.wait().unwrap().success() && starter.wait().unwrap().success());
    assert_eq!(m.inside(&c, "cat /tmp/file").ok(), "half");
    m.lxc("stop", &["-n", &c, "-k"]).ok();

    // While it starts nobody takes it for stopped: it is waited for, a while.
    fs::write(m.dir.join("slow"), "").unwrap();
    let mut starter = m.lxc_command("start", &["-n", &c]).spawn().unwrap();
    crate::machine::eventually(15, "the hook", || m.dir.join("began").exists().then_some(()));
    let said = push(&m, &c, &["/bin/sh", "/tmp/x"]);
    fs::remove_file(m.dir.join("slow")).unwrap();
    assert!(starter.wait().unwrap().success());
    let said = said.fails(1);
    assert!(said.contains("is STARTING") && said.contains("lxc-wait"), "{said}");
}
