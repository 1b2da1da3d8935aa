//! Copies, snapshots, renames, creations and removals that end in the middle: killed at any change
//! of the file system, without room, beside things that cannot be removed. Nothing half-made stays,
//! and the next command works.

use super::machine::{Machine, Outcome, eventually, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Calls that change what is there, before each of which a process may be killed. strace counts
/// each of them by itself.
const CHANGES: [&str; 13] = [
    "mkdir",
    "mkdirat",
    "unlink",
    "unlinkat",
    "rmdir",
    "rename",
    "renameat",
    "renameat2",
    "linkat",
    "symlinkat",
    "mknodat",
    "fchownat",
    "utimensat",
];

/// Runs a tool with something done to it at some of its `calls`, in strace's words.
fn tampered(machine: &Machine, calls: &str, how: &str, tool: &str, args: &[&str]) -> Outcome {
    let mut command = machine.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
    command.arg("-e").arg(format!("inject={calls}:{how}"));
    command.arg(crate::machine::BINARY).arg(format!("lxc-{tool}"));
    command.arg("-P").arg(machine.lxcpath()).args(args);
    run(command)
}

/// Names in the container path, but for the test's own.
pub fn there(machine: &Machine) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(machine.lxcpath())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

/// A small container: killed at every step it has to be short.
pub fn small(machine: &Machine, short: &str) -> String {
    let name = machine.name(short);
    let root = machine.lxcpath().join(&name).join("rootfs");
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/hostname"), short).unwrap();
    fs::write(root.join("etc/deep/file"), "first").unwrap();
    fs::hard_link(root.join("etc/deep/file"), root.join("etc/same")).unwrap();
    let text = format!("lxc.rootfs.path = dir:{}\nlxc.uts.name = {short}\n", root.display());
    fs::write(machine.config(&name), text).unwrap();
    fs::set_permissions(machine.config(&name), fs::Permissions::from_mode(0o640)).unwrap();
    name
}

/// A small container with a writable layer of its own above another one's root.
pub fn small_layer(machine: &Machine, below: &str) -> String {
    let name = machine.name("layer");
    machine.lxc("copy", &["-n", below, "-N", &name, "-s"]).ok();
    let file = machine.lxcpath().join(&name).join("overlay/delta/etc/deep/file");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, "upper").unwrap();
    name
}

fn content(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.lxcpath().join(name).join("rootfs/etc/deep/file")).unwrap()
}

/// Runs a tool again and again, and sends it (or its child) a signal at each change in turn: KILL
/// comes instead of the call, others when it is made. `check` looks each time, and gives the tool
/// something to do again.
pub fn at_every_change(
    machine: &Machine,
    signal: &str,
    tool: &str,
    args: &[&str],
    mut check: impl FnMut(&str, &Outcome),
) {
    let mut steps = 0;
    for call in CHANGES {
        for when in 1..400 {
            let how = format!("signal={signal}:when={when}");
            let done = tampered(machine, call, &how, tool, args);
            check(&format!("SIG{signal} at {call} {when}"), &done);
            if done.status == 0 {
                break;
            }
            steps += 1;
        }
    }
    assert!(steps > 5, "{tool} changed only {steps} things");
}

#[test]
fn a_copy_killed_anywhere_is_made_anew() {
    let machine = Machine::new();
    let name = small(&machine, "src");
    let copy = machine.name("copy");
    for options in [&[][..], &["-s"][..]] {
        let args = [&["-n", &name, "-N", &copy], options].concat();
        at_every_change(&machine, "KILL", "copy", &args, |when, done| {
            let dir = machine.lxcpath().join(&copy);
            if done.status == 1 {
                assert!(!dir.exists(), "{when}: the tool lived and left something: {done:?}");
            }
            let whole = dir.join("config").exists() && !dir.join("partial").exists();
            if !whole {
                machine.lxc("copy", &args).ok();
            }
            machine.lxc("destroy", &["-n", &copy]).ok();
            let left = machine.lxcpath().join(&name).join("lxc_snapshots");
            assert!(!left.exists(), "{when}: {:?}", fs::read_to_string(left));
        });
    }
    assert_eq!(there(&machine), [name.as_str()]);
    assert_eq!(content(&machine, &name), "first");
}

#[test]
fn a_snapshot_put_back_and_killed_anywhere_loses_nothing() {
    let machine = Machine::new();
    let name = small(&machine, "c");
    machine.lxc("snapshot", &["-n", &name]).ok();
    let file = machine.lxcpath().join(&name).join("rootfs/etc/deep/file");
    let restore = ["-n", &name, "-r", "snap0"];
    at_every_change(&machine, "KILL", "snapshot", &restore, |when, done| {
        machine.lxc("snapshot", &restore).ok();
        assert_eq!(content(&machine, &name), "first", "{when}");
        let mut inside: Vec<_> =
            fs::read_dir(machine.lxcpath().join(&name)).unwrap().flatten().collect();
        inside.sort_by_key(fs::DirEntry::file_name);
        let inside: Vec<_> = inside.iter().map(|e| e.file_name().into_string().unwrap()).collect();
        assert_eq!(inside, ["config", "rootfs", "snaps"], "{when}: {done:?}");
        fs::write(&file, "second").unwrap();
    });
}

/// Whichever tool comes first after a tool that was killed finds a container that is whole.
#[test]
fn whoever_comes_next_mends_what_was_killed() {
    let machine = Machine::new();
    let name = small(&machine, "c");
    let dir = machine.lxcpath().join(&name);
    machine.lxc("snapshot", &["-n", &name]).ok();
    let restore = ["-n", &name, "-r", "snap0"];
    let whole = || {
        let path = format!("dir:{}/rootfs", dir.display());
        let config = fs::read_to_string(dir.join("config")).unwrap_or_default();
        config.contains(&path) && dir.join("rootfs/etc/hostname").exists()
    };
    let tools: [(&str, &[&str]); 6] = [
        ("start", &["-n", &name, "--dry-run"]),
        ("ls", &["-1"]),
        ("info", &["-n", &name]),
        ("autostart", &["-L"]),
        ("config", &["-n", &name, "get", "lxc.uts.name"]),
        ("snapshot", &["-n", &name, "-L"]),
    ];
    let mut mended = [0; 6];
    for (which, (tool, args)) in tools.iter().enumerate() {
        for when in 1..20 {
            let how = format!("signal=KILL:when={when}");
            let done = tampered(&machine, "renameat2", &how, "snapshot", &restore);
            let half = ["replaced", "restored"].iter().all(|name| dir.join(name).exists());
            let said = machine.lxc(tool, args);
            assert!(whole(), "{tool} after {when}: {done:?} {said:?}");
            if half {
                mended[which] += 1;
                let silent = matches!(*tool, "ls" | "autostart");
                assert!(silent || said.stderr.contains("killed half way"), "{when}: {said:?}");
                assert!(said.status == 0 || *tool == "start", "{when}: {said:?}");
            }
            machine.lxc("snapshot", &restore).ok();
            if done.status == 0 {
                break;
            }
        }
    }
    assert!(mended.iter().all(|&times| times >= 2), "{mended:?}");
    machine.lxc("destroy", &["-n", &name, "-s"]).ok();

    // A renaming, told of by the one name or by the other.
    let (old, new) = (small(&machine, "a"), machine.name("b"));
    let rename = ["-n", &old, "-N", &new, "-R"];
    for asked in [&old, &new] {
        let mut mended = 0;
        for when in 1..20 {
            let how = format!("signal=KILL:when={when}");
            let calls = "renameat,renameat2,unlink,unlinkat";
            let done = tampered(&machine, calls, &how, "copy", &rename);
            if machine.lxcpath().join(&new).join("config.renamed").exists() {
                mended += 1;
                let said = machine.lxc("info", &["-n", asked]);
                assert!(said.stderr.contains("killed half way"), "{when}: {said:?}");
                assert_eq!(said.status == 0, asked == &old, "{when}: {said:?}");
                assert_eq!(there(&machine), [old.as_str()], "{when}");
                assert!(!machine.lxcpath().join(&old).join("config.renamed").exists());
                assert!(fs::read_to_string(machine.config(&old)).unwrap().contains("/rootfs"));
            } else if there(&machine) == [new.as_str()] {
                machine.lxc("copy", &["-n", &new, "-N", &old, "-R"]).ok();
            }
            if done.status == 0 {
                break;
            }
        }
        assert!(mended > 0, "{asked}");
    }
}

#[test]
fn a_container_killed_while_it_is_put_back_can_be_destroyed() {
    let machine = Machine::new();
    let disk = super::copy::btrfs(&machine);
    let (disk, path) = (disk.display(), machine.lxcpath());
    let path = path.display();
    for kind in ["dir", "loop", "btrfs"] {
        if kind == "loop" && machine.lacks("fsopen") {
            println!("skipped: an image, which needs fsopen of Linux 5.2");
            continue;
        }
        if kind == "btrfs" {
            machine.sh(&format!("mount --bind {disk} {path}")).ok();
        }
        let name = machine.name(kind);
        let made = || {
            let size: &[&str] = if kind == "loop" { &["--fssize", "4M"] } else { &[] };
            let create = ["-n", &name, "-B", kind, "-t", "/bin/true"];
            machine.lxc("create", &[&create, size].concat()).ok();
            machine.lxc("snapshot", &["-n", &name]).ok();
        };
        made();
        let restore = ["-n", &name, "-r", "snap0"];
        at_every_change(&machine, "KILL", "snapshot", &restore, |when, done| {
            machine.lxc("destroy", &["-n", &name, "-s"]).ok();
            let left = machine.sh(&format!("ls -A {path}; btrfs subvolume list {disk}"));
            assert_eq!(left.stdout, "", "{when} {kind}: {done:?}");
            made();
        });
        machine.lxc("destroy", &["-n", &name, "-s"]).ok();
    }
    machine.sh(&format!("umount {path} {disk}")).ok();
}

#[test]
fn a_layer_killed_while_it_is_put_back_stays_known_below() {
    let machine = Machine::new();
    let below = small(&machine, "c");
    let layer = small_layer(&machine, &below);
    machine.lxc("snapshot", &["-n", &layer]).ok();
    let clones = || {
        fs::read_to_string(machine.lxcpath().join(&below).join("lxc_snapshots")).unwrap_or_default()
    };
    let restore = ["-n", &layer, "-r", "snap0"];
    at_every_change(&machine, "KILL", "snapshot", &restore, |when, done| {
        // Nobody has taken the lower layer away from it, and the next one leaves no record behind.
        machine.lxc("snapshot", &restore).ok();
        let all = clones();
        assert!(all.lines().any(|line| line == layer), "{when}: {all} {done:?}");
        machine.lxc("destroy", &["-n", &layer, "-s"]).ok();
        assert_eq!((clones().as_str(), there(&machine).len()), ("", 1), "{when}: {done:?}");
        small_layer(&machine, &below);
        machine.lxc("snapshot", &["-n", &layer]).ok();
    });
}

#[test]
fn a_container_killed_while_it_is_renamed_has_one_name() {
    let machine = Machine::new();
    let names = [small(&machine, "a"), machine.name("b")];
    let args = |from: usize, to: usize| ["-n", &names[from], "-N", &names[to], "-R"];
    let lines = |name: &str| fs::read_to_string(machine.config(name)).unwrap().lines().count();
    let before = lines(&names[0]);
    at_every_change(&machine, "KILL", "copy", &args(0, 1), |when, _| {
        let whole = |name: &str| {
            let dir = machine.lxcpath().join(name);
            fs::read_to_string(dir.join("config"))
                .is_ok_and(|t| t.contains(&format!("{name}/rootfs")))
                && !dir.join("config.renamed").exists()
        };
        if !whole(&names[1]) {
            machine.lxc("copy", &args(0, 1)).ok();
        }
        assert!(whole(&names[1]) && there(&machine).len() == 1, "{when}: {:?}", there(&machine));
        assert_eq!(content(&machine, &names[1]), "first");
        machine.lxc("copy", &args(1, 0)).ok();
        assert_eq!(lines(&names[0]), before);
    });
}

#[test]
fn creations_and_removals_killed_anywhere_can_be_repeated() {
    let machine = Machine::new();
    let name = machine.name("c");
    let create = ["-n", &name, "-t", "/bin/true"];
    at_every_change(&machine, "KILL", "create", &create, |when, done| {
        let dir = machine.lxcpath().join(&name);
        assert!(done.status != 1 || !dir.exists(), "{when}: {done:?}");
        if !dir.join("config").exists() || dir.join("partial").exists() {
            machine.lxc("create", &create).ok();
        }
        machine.lxc("destroy", &["-n", &name]).ok();
        assert_eq!(there(&machine), [""; 0], "{when}");
    });
    small(&machine, "c");
    at_every_change(&machine, "KILL", "destroy", &["-n", &name], |when, done| {
        if done.status != 0 {
            // What is left of it is still a container, up to the last moment.
            let again = machine.lxc("destroy", &["-n", &name]);
            assert!(again.status == 0 || again.stderr.contains("not defined"), "{when}: {again:?}");
        }
        assert_eq!(there(&machine), [""; 0], "{when}");
        small(&machine, "c");
    });
}
#[test]
fn without_room_nothing_half_made_stays() {
    let machine = Machine::new();
    let name = small(&machine, "src");
    let root = machine.lxcpath().join(&name).join("rootfs");
    fs::write(root.join("big"), vec![7u8; 6 << 20]).unwrap();
    let full = machine.dir.join("full");
    fs::create_dir(&full).unwrap();
    machine.sh(&format!("mount -t tmpfs -o size=4m full {}", full.display())).ok();
    let copy = machine.name("copy");
    let path = full.to_str().unwrap();
    let refused = machine.lxc("copy", &["-n", &name, "-N", &copy, "-p", path]).fails(1);
    assert!(refused.contains("ENOSPC") && refused.contains("big"), "{refused}");
    assert_eq!(machine.sh(&format!("ls -A {path}")).ok(), "");
    // The same for one that cannot be read.
    let reads = "copy_file_range,pread64";
    let refused = tampered(&machine, reads, "error=EIO:when=1+", "snapshot", &["-n", &name]);
    if refused.status != 0 {
        // Where blocks are shared nothing is read.
        assert!(refused.stderr.contains("EIO"), "{refused:?}");
        assert!(!machine.lxcpath().join(&name).join("snaps").exists());
    }
    machine.sh(&format!("umount {path}")).ok();
}

#[test]
fn what_cannot_be_removed_is_removed_or_told() {
    let machine = Machine::new();
    // Files that the file system keeps from being removed.
    let name = small(&machine, "locked");
    let dir = machine.lxcpath().join(&name);
    let text = dir.display();
    if machine
        .sh(&format!("chattr +i {text}/rootfs/etc/deep/file && chattr +a {text}/rootfs/etc/deep"))
        .status
        == 0
    {
        machine.lxc("destroy", &["-n", &name]).ok();
        assert!(!dir.exists());
    } else {
        println!("skipped: this file system has no immutable files");
        machine.lxc("destroy", &["-n", &name]).ok();
    }

    // Something is mounted in it: told before anything is touched.
    let name = small(&machine, "mounted");
    let dir = machine.lxcpath().join(&name);
    let point = dir.join("rootfs/etc/deep");
    machine.sh(&format!("mount -t tmpfs x {0} && echo host > {0}/precious", point.display())).ok();
    let refused = machine.lxc("destroy", &["-n", &name]).fails(1);
    assert!(refused.contains("is mounted inside") && refused.contains("umount -R"), "{refused}");
    assert!(dir.join("rootfs/etc/hostname").exists());
    assert_eq!(machine.sh(&format!("cat {}/precious", point.display())).ok(), "host\n");
    machine.sh(&format!("umount {}", point.display())).ok();
    machine.lxc("destroy", &["-n", &name]).ok();

    // A root file system that is a link: the link goes, what it names is another's.
    let name = small(&machine, "link");
    let dir = machine.lxcpath().join(&name);
    let other = machine.dir.join("other");
    fs::rename(dir.join("rootfs"), &other).unwrap();
    std::os::unix::fs::symlink(&other, dir.join("rootfs")).unwrap();
    machine.lxc("destroy", &["-n", &name]).ok();
    assert!(!dir.exists() && other.join("etc/hostname").exists());

    // Many files.
    let name = small(&machine, "many");
    let root = machine.lxcpath().join(&name).join("rootfs/many");
    fs::create_dir(&root).unwrap();
    for n in 0..100 {
        fs::create_dir(root.join(n.to_string())).unwrap();
        for m in 0..1000 {
            fs::write(root.join(format!("{n}/{m}")), "").unwrap();
        }
    }
    let copy = machine.name("copy");
    machine.lxc("copy", &["-n", &name, "-N", &copy]).ok();
    let count = machine
        .sh(&format!("find {}/{copy}/rootfs/many -type f | wc -l", machine.lxcpath().display()));
    assert_eq!(count.ok().trim(), "100000");
    for name in [&name, &copy] {
        machine.lxc("destroy", &["-n", name]).ok();
    }
    assert_eq!(there(&machine), [""; 0]);
}

#[test]
fn progress_is_shown_on_a_terminal_alone() {
    let machine = Machine::new();
    // A hook takes the time; the copy looks at the clock between files.
    let name = small(&machine, "slow");
    let root = machine.lxcpath().join(&name).join("rootfs");
    for n in 0..2000 {
        fs::write(root.join(n.to_string()), "").unwrap();
    }
    let copy = machine.name("copy");
    // Each file takes 2 ms more.
    let tool = |args: &str| {
        format!(
            "strace -f -qq -o /dev/null -e trace=utimensat,unlinkat -e \
             inject=utimensat,unlinkat:delay_exit=2000 {} {args} -P {}",
            crate::machine::BINARY,
            machine.lxcpath().display()
        )
    };
    let on_terminal =
        |line: &str| machine.sh(&format!("script -qec '{line}' /dev/null </dev/null")).ok();
    let said = on_terminal(&tool(&format!("lxc-copy -n {name} -N {copy}")));
    assert!(said.contains(" files, ") && said.ends_with("\x1b[K"), "{said:?}");
    let said = on_terminal(&tool(&format!("lxc-destroy -n {copy}")));
    assert!(said.contains(" files removed") && said.ends_with("\x1b[K"), "{said:?}");
    let said = on_terminal(&tool(&format!("lxc-copy -q -n {name} -N {copy}")));
    assert_eq!(said, "");
    let said = machine.sh(&tool(&format!("lxc-destroy -n {copy}")));
    assert_eq!((said.status, said.stdout.as_str(), said.stderr.as_str()), (0, "", ""));
    eventually(1, "nothing", || {
        (!Path::new(&machine.lxcpath().join(&copy)).exists()).then_some(())
    });
}
