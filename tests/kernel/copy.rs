//! lxc-copy and lxc-snapshot with containers that run afterwards.

use crate::machine::{Machine, eventually};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's own tools.
fn peer(tool: &str) -> String {
    let path = format!("/usr/bin/{tool}");
    assert!(Path::new(&path).exists(), "{path} is missing: install lxc (make test-packages)");
    path
}

fn hostname(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.lxcpath().join(name).join("rootfs/etc/hostname")).unwrap()
}

/// A hook that waits as long as a file is there; gives back the file.
fn waiting_hook(machine: &Machine) -> std::path::PathBuf {
    let flag = machine.lxcpath().join("flag");
    fs::write(&flag, "").unwrap();
    let script = machine.lxcpath().join("wait");
    let text = format!(
        "#!/bin/sh\ntouch {0}.seen\nwhile [ -e {0} ]; do sleep 0.05; done\n",
        flag.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    flag
}

#[test]
fn a_copy_runs_under_its_own_name_and_address() {
    let machine = Machine::new();
    let source = machine.container(
        "src",
        "lxc.mount.auto = sys:ro\nlxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 10:66:6a:01:02:03\n",
    );
    let copy = machine.name("copy");
    fs::write(machine.lxcpath().join(&source).join("rootfs/etc/hostname"), "src\n").unwrap();
    machine.start(&source);
    let refused = machine.lxc("copy", &["-n", &source, "-N", &copy]);
    assert!(refused.status == 1 && refused.stderr.contains("is running"), "{refused:?}");
    assert!(!machine.lxcpath().join(&copy).exists());
    machine.lxc("copy", &["-n", &source, "-N", &copy, "-a"]).ok();
    machine.start(&copy);
    assert_eq!(machine.inside(&copy, "hostname").ok().trim(), copy);
    assert_eq!(hostname(&machine, &copy), copy);
    let macs = [&source, &copy].map(|n| machine.inside(n, "cat /sys/class/net/eth0/address").ok());
    assert_ne!(macs[0], macs[1]);
    assert_eq!(macs[0].trim(), "10:66:6a:01:02:03");
    machine.lxc("stop", &["-n", &copy, "-k"]).ok();
    machine.lxc("stop", &["-n", &source, "-k"]).ok();
    let again = machine.lxc("copy", &["-n", &source, "-N", &copy]);
    assert!(again.status == 1 && again.stderr.contains("already exists"), "{again:?}");
    machine.lxc("destroy", &["-n", &copy]).ok();
}

#[test]
fn a_hostile_tree_is_copied_and_nothing_else() {
    let machine = Machine::new();
    let source = machine.container("src", "");
    let outside = machine.lxcpath().join("outside");
    fs::write(&outside, "host").unwrap();
    let root = machine.lxcpath().join(&source).join("rootfs");
    symlink(&outside, root.join("etc/hostname")).unwrap();
    symlink("../../../..", root.join("up")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    fs::write(root.join("etc/a"), "x").unwrap();
    fs::hard_link(root.join("etc/a"), root.join("var/b")).unwrap();
    machine
        .sh(&format!("mkfifo {0}/pipe; mknod {0}/null c 1 3; chown -R 7:8 {0}/tmp", root.display()))
        .ok();
    let copy = machine.name("copy");
    machine.lxc("copy", &["-n", &source, "-N", &copy]).ok();
    assert_eq!(fs::read_to_string(&outside).unwrap(), "host");
    let made = machine.lxcpath().join(&copy).join("rootfs");
    let diff =
        format!("cd {} && find . -printf '%P %y %m %U %G %l %n %T@\\n' | sort", root.display());
    let other = diff.replace(&source, &copy);
    assert_eq!(machine.sh(&diff).ok(), machine.sh(&other).ok());
    assert_eq!(
        fs::metadata(made.join("null")).unwrap().rdev(),
        fs::metadata("/dev/null").unwrap().rdev()
    );
    machine.start(&copy);
    machine.lxc("stop", &["-n", &copy, "-k"]).ok();
}

#[test]
fn clones_share_the_files_of_their_original() {
    let machine = Machine::new();
    let source = machine.container("src", "");
    let [clone, second] = ["clone", "second"].map(|short| machine.name(short));
    machine.lxc("copy", &["-n", &source, "-N", &clone, "-s"]).ok();
    machine.start(&clone);
    machine.inside(&clone, "echo changed > /etc/motd; rm /etc/group").ok();
    machine.lxc("stop", &["-n", &clone, "-k"]).ok();
    let root = machine.lxcpath().join(&source).join("rootfs");
    assert!(root.join("etc/group").exists() && !root.join("etc/motd").exists());
    machine.lxc("copy", &["-n", &clone, "-N", &second, "-s"]).ok();
    machine.start(&second);
    let seen = machine.inside(&second, "cat /etc/motd; test ! -e /etc/group && hostname").ok();
    assert_eq!(seen, format!("changed\n{second}\n"));
    machine.lxc("stop", &["-n", &second, "-k"]).ok();
    let refused = machine.lxc("destroy", &["-n", &source]);
    assert!(refused.status == 1 && refused.stderr.contains("has clones"), "{refused:?}");
    machine.lxc("destroy", &["-n", &second]).ok();
    machine.lxc("destroy", &["-n", &source, "-s"]).ok();
    for name in [&source, &clone] {
        assert!(!machine.lxcpath().join(name).exists(), "{name}");
    }
}

#[test]
fn a_snapshot_brings_back_what_was_there() {
    let machine = Machine::new();
    let name = machine.container("snap", "lxc.net.0.type = empty\n");
    let root = machine.lxcpath().join(&name).join("rootfs");
    fs::write(root.join("etc/kept"), "one").unwrap();
    let comment = machine.lxcpath().join("why");
    fs::write(&comment, "before the upgrade\n").unwrap();
    let config = fs::read_to_string(machine.config(&name)).unwrap();
    machine.lxc("snapshot", &["-n", &name, "-c", comment.to_str().unwrap()]).ok();
    machine.start(&name);
    machine.inside(&name, "rm /etc/kept; echo x > /etc/new").ok();
    let refused = machine.lxc("snapshot", &["-n", &name, "-r", "snap0"]);
    assert!(refused.status == 1 && refused.stderr.contains("is running"), "{refused:?}");
    machine.lxc("stop", &["-n", &name, "-k"]).ok();
    let list = machine.lxc("snapshot", &["-n", &name, "-L", "-C"]).ok();
    assert!(list.starts_with("snap0 (") && list.ends_with("before the upgrade\n"), "{list}");
    machine.lxc("snapshot", &["-n", &name, "-r", "snap0"]).ok();
    assert!(root.join("etc/kept").exists() && !root.join("etc/new").exists());
    assert_eq!(fs::read_to_string(machine.config(&name)).unwrap(), config);
    machine.start(&name);
    machine.lxc("stop", &["-n", &name, "-k"]).ok();
    let other = machine.name("other");
    machine.lxc("snapshot", &["-n", &name, "-r", "snap0", &other]).ok();
    machine.start(&other);
    assert_eq!(machine.inside(&other, "hostname").ok().trim(), other);
    machine.lxc("stop", &["-n", &other, "-k"]).ok();
    let refused = machine.lxc("destroy", &["-n", &name]);
    assert!(refused.status == 1 && refused.stderr.contains("has snapshots"), "{refused:?}");
    machine.lxc("snapshot", &["-n", &name, "-d", "snap0"]).ok();
    assert_eq!(machine.lxc("snapshot", &["-n", &name, "-L"]).ok(), "No snapshots\n");
    machine.lxc("destroy", &["-n", &name]).ok();
}

#[test]
fn snapshots_are_exchanged_with_debian() {
    let machine = Machine::new();
    let name = machine.container("snap", "");
    let base = machine.lxcpath();
    let theirs = |args: &str| {
        let line =
            format!("timeout 60 {} -P {} -n {name} {args}", peer("lxc-snapshot"), base.display());
        machine.sh(&line).ok()
    };
    let ours = |args: &[&str]| machine.lxc("snapshot", &[&["-n", &name], args].concat()).ok();
    let kept = base.join(&name).join("rootfs/etc/kept");
    for turn in ["ours", "theirs"] {
        fs::write(&kept, turn).unwrap();
        match turn {
            "ours" => ours(&[]),
            _ => theirs(""),
        };
    }
    let sorted = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(ours(&["-L"])), sorted(theirs("-L")));
    // Each restores the other's.
    ours(&["-r", "snap1"]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "theirs");
    theirs("-r snap0");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "ours");
    machine.start(&name);
    machine.lxc("stop", &["-n", &name, "-k"]).ok();
    theirs("-d snap0");
    ours(&["-d", "snap1"]);
    assert!(!base.join(&name).join("snaps").exists());
    // Clones too: theirs is known to us, ours to them.
    let [a, b] = ["a", "b"].map(|short| machine.name(short));
    machine.lxc("copy", &["-n", &name, "-N", &a, "-s"]).ok();
    let copy = format!("timeout 60 {} -P {} -n {name} -N {b} -s", peer("lxc-copy"), base.display());
    machine.sh(&copy).ok();
    let records = |of: &str, file| fs::read_to_string(base.join(of).join(file)).unwrap();
    let record = |of: &str| format!("{}\n{of}\n", base.display());
    assert_eq!(records(&name, "lxc_snapshots"), record(&a) + &record(&b));
    assert_eq!(records(&a, "lxc_rdepends"), records(&b, "lxc_rdepends"));
    machine.start(&b);
    machine.lxc("stop", &["-n", &b, "-k"]).ok();
    let destroy = format!("timeout 60 {} -P {} -n {a}", peer("lxc-destroy"), base.display());
    machine.sh(&destroy).ok();
    assert_eq!(records(&name, "lxc_snapshots"), record(&b));
    machine.lxc("destroy", &["-n", &b]).ok();
    machine.lxc("destroy", &["-n", &name]).ok();
}

#[test]
fn a_renamed_container_is_whole() {
    let machine = Machine::new();
    let name =
        machine.container("old", "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 10:66:6a:01:02:03\n");
    let new = machine.name("new");
    let inode =
        |name: &str| fs::metadata(machine.lxcpath().join(name).join("rootfs")).unwrap().ino();
    let before = inode(&name);
    machine.lxc("copy", &["-n", &name, "-N", &new, "-R"]).ok();
    assert_eq!(inode(&new), before, "moved, not copied");
    assert!(!machine.lxcpath().join(&name).exists());
    assert!(fs::read_to_string(machine.config(&new)).unwrap().contains("10:66:6a:01:02:03"));
    machine.start(&new);
    assert_eq!(machine.inside(&new, "hostname").ok().trim(), new);
    machine.lxc("stop", &["-n", &new, "-k"]).ok();
    // A hook that says no: everything is as it was.
    let config =
        fs::read_to_string(machine.config(&new)).unwrap() + "lxc.hook.clone = /bin/false\n";
    fs::write(machine.config(&new), &config).unwrap();
    let refused = machine.lxc("copy", &["-n", &new, "-N", &name, "-R"]);
    assert!(refused.status == 1 && refused.stderr.contains("hook clone"), "{refused:?}");
    assert_eq!(fs::read_to_string(machine.config(&new)).unwrap(), config);
    assert!(!machine.lxcpath().join(&name).exists());
}

#[test]
fn throw_away_copies_vanish() {
    let machine = Machine::new();
    let source = machine.container("src", "lxc.mount.auto = proc:mixed\n");
    let shared = machine.lxcpath().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "host\n").unwrap();
    let left = || {
        let names = fs::read_dir(machine.lxcpath()).unwrap().flatten();
        names.filter(|e| e.path().join("config").exists()).count()
    };
    for options in [&[][..], &["-t"][..]] {
        let mounts = format!("bind={0}:/mnt:ro,overlay={0}:/root", shared.display());
        let mut args = vec!["-n", &source, "-e", "-m", &mounts];
        args.extend(options);
        args.extend(["--", "/bin/sh", "-c"]);
        args.push(
            "cat /mnt/file; echo x > /mnt/file 2>/dev/null || echo ro; echo own > /root/file; \
                   echo gone > /etc/motd; cat /root/file; cat /proc/mounts | grep -c ' / overlay'",
        );
        let out = machine.lxc("copy", &args).ok();
        let mut lines = out.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("Created ") && first.ends_with(&format!("as clone of {source}")));
        let said: Vec<&str> = out.lines().rev().take(4).collect();
        assert_eq!(said, ["1", "own", "ro", "host"], "{out}");
        eventually(10, "the copy to be destroyed", || (left() == 1).then_some(()));
    }
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "host\n");
    assert!(!machine.lxcpath().join(&source).join("lxc_snapshots").exists());
    assert!(!machine.lxcpath().join(&source).join("rootfs/etc/motd").exists());
    // One that stays.
    let name = machine.name("kept");
    machine.lxc("copy", &["-n", &source, "-N", &name, "-e", "-D", "-q"]).ok();
    assert_eq!(machine.state(&name), "RUNNING");
    machine.lxc("stop", &["-n", &name, "-k"]).ok();
    assert!(machine.lxcpath().join(&name).exists());
    machine.lxc("destroy", &["-n", &name]).ok();
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let machine = Machine::new();
    let flag = waiting_hook(&machine);
    let hook = machine.lxcpath().join("wait");
    let source = machine.container("src", &format!("lxc.hook.clone = {}\n", hook.display()));
    let copy = machine.name("copy");
    let dir = machine.lxcpath().join(&copy);
    let begin = || {
        let _ = fs::remove_file(flag.with_extension("seen"));
        fs::write(&flag, "").unwrap();
        let mut command = machine.lxc_command("copy", &["-n", &source, "-N", &copy, "-s"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually(10, "the hook", || flag.with_extension("seen").exists().then_some(()));
        child
    };
    // nsenter executes the tool: it is the process that was spawned.
    let signal = |child: &std::process::Child, name: &str| {
        assert!(
            Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success()
        );
    };
    let mut child = begin();
    signal(&child, "-TERM");
    fs::remove_file(&flag).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!dir.exists());
    assert!(!machine.lxcpath().join(&source).join("lxc_snapshots").exists());

    let mut child = begin();
    signal(&child, "-KILL");
    child.wait().unwrap();
    fs::remove_file(&flag).unwrap();
    assert!(dir.join("partial").exists());
    // The hook's process ends with the tool, but not in the same moment.
    let refused = eventually(10, "the end of the copy", || {
        let refused = machine.lxc("start", &["-n", &copy]);
        (!refused.stderr.contains("still at work")).then_some(refused)
    });
    assert!(refused.status == 1 && refused.stderr.contains("incomplete"), "{refused:?}");
    let mounted = || machine.sh("grep overlay /proc/*/mountinfo 2>/dev/null").stdout;
    eventually(10, "the hook's mount to go", || (!mounted().contains(&copy)).then_some(()));
    machine.lxc("destroy", &["-n", &copy]).ok();
    assert!(!dir.exists());
    // And the next copy takes the place of what a killed one left.
    let mut child = begin();
    signal(&child, "-KILL");
    child.wait().unwrap();
    fs::remove_file(&flag).unwrap();
    eventually(10, "the hook's mount to go", || (!mounted().contains(&copy)).then_some(()));
    machine.lxc("copy", &["-n", &source, "-N", &copy, "-s"]).ok();
    machine.start(&copy);
    machine.lxc("stop", &["-n", &copy, "-k"]).ok();
}

/// Loop devices whose file is below the path.
fn loops(machine: &Machine) -> String {
    let below = machine.lxcpath().display().to_string();
    let mut found = String::new();
    for entry in fs::read_dir("/sys/block").unwrap().flatten() {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if file.contains(&below) {
            found.push_str(&file);
        }
    }
    found
}

#[test]
fn a_container_in_an_image_leaves_no_device_behind() {
    let machine = Machine::new();
    let name = machine.name("img");
    let create = ["-n", &name, "-t", "busybox", "-B", "loop", "--fssize", "32M"];
    if machine.lacks("fsopen") {
        let said = machine.lxc("create", &create).fails(1);
        assert!(said.contains("ENOSYS") && said.contains("hint: to work on an image"), "{said}");
        assert!(!machine.lxcpath().join(&name).exists() && loops(&machine).is_empty());
        return;
    }
    machine.lxc("create", &create).ok();
    assert_eq!(loops(&machine), "");
    let config = fs::read_to_string(machine.config(&name)).unwrap();
    let image = machine.lxcpath().join(&name).join("rootdev");
    assert!(config.contains(&format!("lxc.rootfs.path = loop:{}", image.display())), "{config}");
    assert_eq!(fs::metadata(&image).unwrap().len(), 32 << 20);
    let config: String =
        config.lines().filter(|l| !l.contains("lxc.net.")).map(|l| format!("{l}\n")).collect();
    fs::write(machine.config(&name), config + "lxc.net.0.type = empty\n").unwrap();
    let copy = machine.name("copy");
    machine.lxc("copy", &["-n", &name, "-N", &copy]).ok();
    for name in [&name, &copy] {
        machine.start(name);
        assert!(loops(&machine).contains(name.as_str()));
        let root =
            machine.inside(name, "echo x > /written; grep ' / ext4 ' /proc/mounts; hostname").ok();
        assert!(root.contains("ext4") && root.ends_with(&format!("{name}\n")), "{root}");
        machine.lxc("stop", &["-n", name, "-k"]).ok();
        eventually(10, "the device to be let go", || loops(&machine).is_empty().then_some(()));
        machine.lxc("destroy", &["-n", name]).ok();
    }
    // Another type: object by object.
    let source = machine.container("dir", "");
    let image = machine.name("fromdir");
    machine.lxc("copy", &["-n", &source, "-N", &image, "-B", "loop", "-L", "16M"]).ok();
    machine.start(&image);
    machine.lxc("stop", &["-n", &image, "-k"]).ok();
    eventually(10, "the device to be let go", || loops(&machine).is_empty().then_some(()));
}

/// A btrfs of the machine's own.
pub(super) fn btrfs(machine: &Machine) -> PathBuf {
    // Where the harness looks for mounts that were left is the lxcpath: the disk is beside it.
    let (disk, image) = (machine.lxcpath().join("../disk"), machine.lxcpath().join("../image"));
    fs::create_dir(&disk).unwrap();
    let make = format!(
        "truncate -s 300M {1} && mkfs.btrfs -q {1} && mount -o loop {1} {0}",
        disk.display(),
        image.display()
    );
    machine.sh(&make).ok();
    fs::canonicalize(&disk).unwrap()
}

#[test]
fn subvolumes_are_made_copied_and_destroyed() {
    let machine = Machine::new();
    let disk = btrfs(&machine);
    machine.sh(&format!("btrfs quota enable {}", disk.display())).ok();
    let path = disk.to_str().unwrap();
    let tool = |name: &str, args: &[&str]| {
        let mut command = machine.command(crate::machine::BINARY);
        command.arg(format!("lxc-{name}")).args(["-P", path]).args(args);
        crate::machine::run(command)
    };
    let name = machine.name("sub");
    let create = format!("lxc-create -P {path} -n {name} -t busybox -B best");
    machine.sh(&format!("umask 077; {} {create}", crate::machine::BINARY)).ok();
    assert_eq!(machine.sh(&format!("stat -c %a {path}/{name}/rootfs")).ok(), "755\n");
    let config = disk.join(&name).join("config");
    let show = |file: &Path| machine.sh(&format!("cat {}", file.display())).ok();
    assert!(show(&config).contains(&format!("lxc.rootfs.path = btrfs:{path}/{name}/rootfs")));
    machine
        .sh(&format!(
            "cd {path}/{name}; sed -i /lxc.net/d config; echo lxc.net.0.type=empty >> config; \
         dd if=/dev/urandom of=rootfs/big bs=1M count=40 2>/dev/null; sync -f .; \
         btrfs -q subvolume create rootfs/inner; btrfs -q subvolume create rootfs/inner/most; \
         btrfs -q subvolume create rootfs/fixed; echo x > rootfs/fixed/file; \
         chattr +i rootfs/fixed/file; btrfs property set rootfs/fixed ro true; \
         echo x > rootfs/inner/most/file; chattr +i rootfs/inner/most/file; chattr +a rootfs/inner"
        ))
        .ok();
    let used = || {
        machine
            .sh(&format!("sync -f {path}; df -k --output=used {path} | tail -1"))
            .ok()
            .trim()
            .parse::<u64>()
            .unwrap()
    };
    let before = used();
    let copy = machine.name("copy");
    tool("copy", &["-n", &name, "-N", &copy]).ok();
    assert!(used() < before + (10 << 10), "blocks are shared");
    tool("snapshot", &["-n", &name]).ok();
    assert!(used() < before + (20 << 10), "blocks are shared");
    tool("start", &["-n", &copy]).ok();
    tool("stop", &["-n", &copy, "-k"]).ok();
    tool("snapshot", &["-n", &name, "-r", "snap0"]).ok();
    tool("destroy", &["-n", &copy]).ok();
    tool("destroy", &["-n", &name, "-s"]).ok();
    assert_eq!(machine.sh(&format!("btrfs subvolume list {path}; ls {path}")).ok(), "");
    let quotas =
        machine.sh(&format!("btrfs subvolume sync {path} >/dev/null; btrfs qgroup show {path}"));
    assert_eq!(quotas.ok().lines().filter(|line| line.starts_with("0/")).count(), 1);
    machine.sh(&format!("umount {path}")).ok();
}
