//! Copies, snapshots, renames, creations and removals that end in the middle: killed at any change
//! of the file system, without room, beside things that cannot be removed. Nothing half-made stays,
//! and the next command works.

use super::machine::{Machine, Outcome, eventually, run};
use std::fs;
use std::path::Path;

/// Calls that change what is there, before each of which a process may be killed.
const CHANGES: &str = "mkdir,mkdirat,unlink,unlinkat,rmdir,rename,renameat,renameat2,linkat,\
                       symlinkat,mknodat,fchownat,utimensat";

/// Runs a tool with something done to it at some of its `calls`, in strace's words.
fn tampered(machine: &Machine, calls: &str, how: &str, tool: &str, args: &[&str]) -> Outcome {
    let mut command = machine.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
    command.arg("-e").arg(format!("inject={calls}:{how}"));
    command.arg(crate::machine::BINARY).arg(format!("lxc-{tool}"));
    command.arg("-P").arg(machine.lxcpath()).args(args);
    run(command)
}

/// Runs a tool that is killed instead of making its call number `when`.
fn killed(machine: &Machine, when: u32, tool: &str, args: &[&str]) -> Outcome {
    tampered(machine, CHANGES, &format!("signal=KILL:when={when}"), tool, args)
}

/// Names in the container path, but for the test's own.
fn there(machine: &Machine) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(machine.lxcpath())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

/// A small container: killed at every step it has to be short.
fn small(machine: &Machine, short: &str) -> String {
    let name = machine.name(short);
    let root = machine.lxcpath().join(&name).join("rootfs");
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::write(root.join("etc/hostname"), short).unwrap();
    fs::write(root.join("etc/deep/file"), "first").unwrap();
    fs::hard_link(root.join("etc/deep/file"), root.join("etc/same")).unwrap();
    let text = format!("lxc.rootfs.path = dir:{}\nlxc.uts.name = {short}\n", root.display());
    fs::write(machine.config(&name), text).unwrap();
    name
}

fn content(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.lxcpath().join(name).join("rootfs/etc/deep/file")).unwrap()
}

/// Kills a tool at its first, second, … change until it gets through; `check` looks each time.
fn at_every_change(
    machine: &Machine,
    tool: &str,
    args: &[&str],
    mut check: impl FnMut(u32, &Outcome),
) {
    for when in 1..400 {
        let done = killed(machine, when, tool, args);
        check(when, &done);
        if done.status == 0 {
            assert!(when > 5, "{tool} was killed only {when} times");
            return;
        }
    }
    panic!("{tool} never got through");
}

#[test]
fn a_copy_killed_anywhere_is_made_anew() {
    let machine = Machine::new();
    let name = small(&machine, "src");
    let copy = machine.name("copy");
    for options in [&[][..], &["-s"][..]] {
        let args = [&["-n", &name, "-N", &copy], options].concat();
        at_every_change(&machine, "copy", &args, |when, done| {
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
    at_every_change(&machine, "snapshot", &restore, |when, done| {
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

#[test]
fn a_container_killed_while_it_is_renamed_has_one_name() {
    let machine = Machine::new();
    let mut names = [small(&machine, "a"), machine.name("b")];
    let config = fs::read_to_string(machine.config(&names[0])).unwrap();
    for when in 1..100 {
        let args = ["-n", &names[0], "-N", &names[1], "-R"];
        let done = killed(&machine, when, "copy", &args);
        let whole = |name: &str| {
            let dir = machine.lxcpath().join(name);
            fs::read_to_string(dir.join("config"))
                .is_ok_and(|t| t.contains(&format!("{name}/rootfs")))
                && !dir.join("config.renamed").exists()
        };
        if !whole(&names[1]) {
            machine.lxc("copy", &args).ok();
        }
        assert!(whole(&names[1]) && there(&machine).len() == 1, "{when}: {:?}", there(&machine));
        assert_eq!(content(&machine, &names[1]), "first");
        names.swap(0, 1);
        if done.status == 0 {
            assert!(when > 3);
            let text = fs::read_to_string(machine.config(&names[0])).unwrap();
            assert_eq!(text.lines().count(), config.lines().count());
            return;
        }
    }
}

#[test]
fn creations_and_removals_killed_anywhere_can_be_repeated() {
    let machine = Machine::new();
    let name = machine.name("c");
    let create = ["-n", &name, "-t", "/bin/true"];
    at_every_change(&machine, "create", &create, |when, done| {
        let dir = machine.lxcpath().join(&name);
        assert!(done.status != 1 || !dir.exists(), "{when}: {done:?}");
        if !dir.join("config").exists() || dir.join("partial").exists() {
            machine.lxc("create", &create).ok();
        }
        machine.lxc("destroy", &["-n", &name]).ok();
        assert_eq!(there(&machine), [""; 0], "{when}");
    });
    small(&machine, "c");
    for when in 1..100 {
        let done = killed(&machine, when, "destroy", &["-n", &name]);
        if done.status == 0 {
            assert!(when > 5);
            break;
        }
        // What is left of it is still a container, up to the last moment.
        let again = machine.lxc("destroy", &["-n", &name]);
        assert!(again.status == 0 || again.stderr.contains("not defined"), "{when}: {again:?}");
        assert_eq!(there(&machine), [""; 0], "{when}");
        small(&machine, "c");
    }
    assert_eq!(there(&machine), [""; 0]);
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
