//! Copies, snapshots, renames, creations and removals that get a signal at any change of the file
//! system: they are done or were never begun, and say so.

use crate::interrupted::{at_every_change, small, small_layer, there};
use crate::machine::{Machine, Outcome};
use std::fs;

/// `^C` and `kill`: the signal comes at the call number `when`, which is made.
const STOPS: [(&str, i32); 2] = [("INT", 130), ("TERM", 143)];

/// Sends a tool these signals at every change. Where one came the tool has said so, or was ended by
/// it before it began or after it was done.
fn stopped_at_every_change(
    machine: &Machine,
    tool: &str,
    args: &[&str],
    mut check: impl FnMut(&str, &Outcome),
) {
    for (signal, status) in STOPS {
        let mut said = 0;
        at_every_change(machine, signal, tool, args, |when, done| {
            if done.status != 0 {
                assert_eq!(done.status, status, "{when}: {done:?}");
                let line = format!("interrupted by signal {}", status - 128);
                assert!(done.stderr.is_empty() || done.stderr.contains(&line), "{when}: {done:?}");
                assert!(done.stderr.lines().count() < 2, "{when}: {done:?}");
                said += i32::from(!done.stderr.is_empty());
            }
            check(when, done);
        });
        assert!(said > 2, "{tool} said only {said} times that it was interrupted");
    }
}

/// All of a directory but the times: names, modes, sizes.
fn listing(machine: &Machine, name: &str) -> String {
    let dir = machine.lxcpath().join(name);
    machine.sh(&format!("cd {} && find . -printf '%p %M %n %s\\n' | sort", dir.display())).ok()
}

#[test]
fn a_copy_stopped_anywhere_leaves_nothing() {
    let machine = Machine::new();
    let name = small(&machine, "src");
    let copy = machine.name("copy");
    let layer = small_layer(&machine, &name);
    // A list that was written anew has another mode.
    for name in [&name, &layer] {
        machine.lxc("copy", &["-n", name, "-N", &copy, "-s"]).ok();
        machine.lxc("destroy", &["-n", &copy]).ok();
    }
    let before = [listing(&machine, &name), listing(&machine, &layer)];
    for (source, options) in
        [(&name, &[][..]), (&name, &["-s"][..]), (&layer, &[][..]), (&layer, &["-s"][..])]
    {
        let args = [&["-n", source, "-N", &copy], options].concat();
        stopped_at_every_change(&machine, "copy", &args, |when, done| {
            let dir = machine.lxcpath().join(&copy);
            // A signal at the very last step finds a copy that is whole.
            let whole = dir.join("config").exists() && !dir.join("partial").exists();
            assert!(whole || !dir.exists(), "{when}: {done:?}");
            assert!(done.status == 0 || !whole || done.stderr.is_empty(), "{when}: {done:?}");
            if whole {
                machine.lxc("destroy", &["-n", &copy]).ok();
            }
            let now = [listing(&machine, &name), listing(&machine, &layer)];
            assert_eq!(now, before, "{when}: {done:?}");
        });
    }
    assert_eq!(there(&machine).len(), 2);
}

#[test]
fn a_snapshot_stopped_anywhere_is_taken_or_not() {
    let machine = Machine::new();
    let name = small(&machine, "c");
    let layer = small_layer(&machine, &name);
    for source in [&name, &layer] {
        let before = listing(&machine, source);
        let snaps = machine.lxcpath().join(source).join("snaps");
        stopped_at_every_change(&machine, "snapshot", &["-n", source], |when, done| {
            if snaps.join("snap0/ts").exists() {
                assert!(!snaps.join("snap0/partial").exists(), "{when}: {done:?}");
                machine.lxc("snapshot", &["-n", source, "-d", "snap0"]).ok();
            }
            assert_eq!(listing(&machine, source), before, "{when}: {done:?}");
        });
    }
}

#[test]
fn a_snapshot_stopped_while_it_is_put_back_is_there_or_not() {
    let machine = Machine::new();
    let name = small(&machine, "c");
    let layer = small_layer(&machine, &name);
    for (source, file) in [(&layer, "overlay/delta/etc/deep/file"), (&name, "rootfs/etc/deep/file")]
    {
        if source == &name {
            machine.lxc("destroy", &["-n", &layer, "-s"]).ok();
        }
        machine.lxc("snapshot", &["-n", source]).ok();
        let file = machine.lxcpath().join(source).join(file);
        let first = fs::read_to_string(&file).unwrap();
        fs::write(&file, "second").unwrap();
        let sides = |text: &str| text.replace("upper", "first") == "first";
        let before = listing(&machine, source);
        let restore = ["-n", source, "-r", "snap0"];
        stopped_at_every_change(&machine, "snapshot", &restore, |when, done| {
            let now = fs::read_to_string(&file).unwrap();
            let late = done.stderr.contains("too late");
            assert_eq!(sides(&now), late || done.status == 0, "{when}: {now} {done:?}");
            fs::write(&file, "second").unwrap();
            assert_eq!(listing(&machine, source), before.as_str(), "{when}: {done:?}");
        });
        machine.lxc("snapshot", &restore).ok();
        assert_eq!(fs::read_to_string(&file).unwrap(), first);
    }
}

#[test]
fn a_container_stopped_while_it_is_renamed_has_one_name() {
    let machine = Machine::new();
    let names = [small(&machine, "a"), machine.name("b")];
    let args = |from: usize, to: usize| ["-n", &names[from], "-N", &names[to], "-R"];
    for (from, to) in [(0, 1), (1, 0)] {
        machine.lxc("copy", &args(from, to)).ok();
    }
    let before = listing(&machine, &names[0]);
    stopped_at_every_change(&machine, "copy", &args(0, 1), |when, done| {
        if there(&machine) == [names[1].as_str()] {
            assert!(done.stderr.is_empty(), "{when}: {done:?}");
            machine.lxc("copy", &args(1, 0)).ok();
        }
        assert_eq!(there(&machine), [names[0].as_str()], "{when}: {done:?}");
        assert_eq!(listing(&machine, &names[0]), before, "{when}: {done:?}");
    });
    // To another file system, where it is copied and then removed.
    let far = machine.dir.join("far");
    fs::create_dir(&far).unwrap();
    let far = far.to_str().unwrap();
    machine.sh(&format!("mount -t tmpfs far {far}")).ok();
    let away = [&args(0, 1)[..], &["-p", far]].concat();
    stopped_at_every_change(&machine, "copy", &away, |when, done| {
        let now = machine.sh(&format!("ls -A {far}")).ok();
        let moved = now.trim() == names[1];
        assert!(moved || now.is_empty(), "{when}: {now} {done:?}");
        assert_eq!(there(&machine).is_empty(), moved, "{when}: {now} {done:?}");
        if moved {
            machine.sh(&format!("rm -r {far}/*")).ok();
            small(&machine, "a");
        }
    });
    machine.sh(&format!("umount {far}")).ok();
}

#[test]
fn creations_and_removals_stopped_anywhere_are_whole_or_not_there() {
    let machine = Machine::new();
    let name = machine.name("c");
    let create = ["-n", &name, "-t", "/bin/true"];
    stopped_at_every_change(&machine, "create", &create, |when, done| {
        if there(&machine).contains(&name) {
            assert!(done.stderr.is_empty(), "{when}: {done:?}");
            assert!(!machine.lxcpath().join(&name).join("partial").exists(), "{when}");
            machine.lxc("destroy", &["-n", &name]).ok();
        }
        assert_eq!(there(&machine), [""; 0], "{when}: {done:?}");
    });
    let below = small(&machine, "c");
    let layer = small_layer(&machine, &below);
    for name in [&layer, &below] {
        let others: Vec<_> = there(&machine).into_iter().filter(|other| other != name).collect();
        let whole = listing(&machine, name);
        stopped_at_every_change(&machine, "destroy", &["-n", name], |when, done| {
            let late = done.stderr.contains("too late");
            let gone = there(&machine) == others;
            assert!(gone || !late, "{when}: {done:?}");
            if gone {
                assert!(late || done.stderr.is_empty(), "{when}: {done:?}");
                if name == &layer {
                    small_layer(&machine, &below);
                } else {
                    small(&machine, "c");
                }
            }
            assert_eq!(listing(&machine, name), whole, "{when}: {done:?}");
        });
        machine.lxc("destroy", &["-n", name]).ok();
    }
}
