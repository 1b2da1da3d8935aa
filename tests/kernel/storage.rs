//! Root file systems outside of directories: volumes of LVM and ZFS, images under an id map, and
//! what is refused. Volumes need another kernel or programs that this machine may lack: `make vm`
//! runs those tests in the emulated machine.

use super::machine::{Machine, Outcome, eventually};
use std::fs;
use std::path::Path;

/// A line of shell in the machine that says if the test can run.
fn can(machine: &Machine, what: &str, line: &str) -> bool {
    if machine.sh(line).status == 0 {
        return true;
    }
    assert!(std::env::var_os("LXCBOX_TEST_VM").is_none(), "the emulated machine has no {what}");
    println!("skipped: this machine has no {what}; `make vm` runs it on one that has");
    false
}

fn tool(machine: &Machine, name: &str, args: &[&str]) -> Outcome {
    machine.lxc(name, args)
}

fn config(machine: &Machine, name: &str) -> String {
    fs::read_to_string(machine.config(name)).unwrap()
}

/// Starts the container, writes and reads in it, and stops it again.
fn lives(machine: &Machine, name: &str, file: &str) -> String {
    let text = config(machine, name).replace("lxc.net.0.type = veth", "lxc.net.0.type = empty");
    let text: String =
        text.lines().filter(|l| !l.starts_with("lxc.net.0.l")).map(|l| format!("{l}\n")).collect();
    fs::write(machine.config(name), text).unwrap();
    machine.start(name);
    // An emulated machine may take longer than a monitor has for an answer.
    let said = eventually(20, "an answer", || {
        let said = machine.inside(name, &format!("touch /{file}; ls /; hostname"));
        (said.status == 0).then_some(said.stdout)
    });
    tool(machine, "stop", &["-n", name, "-k"]).ok();
    said
}

/// The names of the volumes that there are, sorted.
type Volumes<'a> = &'a dyn Fn() -> Vec<String>;

/// A container's whole life on volumes: `args` make it, `all` lists the volumes.
fn life_on_volumes(machine: &Machine, kind: &str, args: &[&str], all: Volumes<'_>) {
    let name = machine.name("vol");
    let create = [&["-n", &name, "-t", "busybox", "-B", kind], args].concat();
    tool(machine, "create", &create).ok();
    assert_eq!(all(), [name.as_str()]);
    let line = config(machine, &name);
    let line = line.lines().find(|l| l.starts_with("lxc.rootfs.path")).unwrap().to_owned();
    assert!(line.contains(&format!("= {kind}:")) && line.ends_with(&name), "{line}");
    assert!(lives(machine, &name, "first").contains("first"));
    // A second one of the name is refused, and takes nothing away.
    let volume = line.rsplit('/').next().unwrap();
    assert_eq!(volume, name);

    // A copy, and a copy that shares.
    let (copy, shared) = (machine.name("copy"), machine.name("shared"));
    tool(machine, "copy", &["-n", &name, "-N", &copy]).ok();
    tool(machine, "copy", &["-n", &name, "-N", &shared, "-s"]).ok();
    for other in [&copy, &shared] {
        let said = lives(machine, other, other);
        assert!(said.contains("first") && said.ends_with(&format!("{other}\n")), "{said}");
    }
    assert!(!lives(machine, &name, "second").contains(copy.as_str()));
    let refused = tool(machine, "copy", &["-n", &name, "-N", &copy]).fails(1);
    assert!(refused.contains("exists"), "{refused}");
    assert_eq!(all().len(), 3);

    // Snapshots, there and back again twice.
    tool(machine, "snapshot", &["-n", &name]).ok();
    assert!(all().contains(&format!("{name}_snap0")), "{:?}", all());
    for round in ["a", "b"] {
        let said = lives(machine, &name, round);
        assert!(said.contains("second") && said.lines().filter(|l| *l == "a").count() < 2);
        let clones = tool(machine, "snapshot", &["-n", &name, "-r", "snap0"]);
        if clones.status != 0 {
            // A volume that is not thin goes with its source.
            assert!(clones.stderr.contains("has clones"), "{clones:?}");
            tool(machine, "destroy", &["-n", &shared]).ok();
            tool(machine, "snapshot", &["-n", &name, "-r", "snap0"]).ok();
        }
        let said = lives(machine, &name, "c");
        assert!(said.contains("second") && !said.lines().any(|l| l == round), "{said}");
    }
    let new = machine.name("new");
    tool(machine, "snapshot", &["-n", &name, "-r", "snap0", "-N", &new]).ok();
    assert!(lives(machine, &new, "d").contains("second"));

    // Another name: the volume is copied or cloned and the old one goes.
    let other = machine.name("other");
    tool(machine, "copy", &["-n", &new, "-N", &other, "-R"]).ok();
    assert!(lives(machine, &other, "e").contains("second"));
    assert!(all().contains(&other) && !all().contains(&new));

    // Whatever came from it stays when it goes.
    tool(machine, "destroy", &["-n", &name]).fails(1);
    tool(machine, "destroy", &["-n", &name, "-s"]).ok();
    assert!(lives(machine, &copy, "f").contains("first"));
    for name in [&copy, &other] {
        tool(machine, "destroy", &["-n", name]).ok();
    }
    if machine.lxcpath().join(&shared).exists() {
        tool(machine, "destroy", &["-n", &shared]).ok();
    }
    assert_eq!(all(), [""; 0]);

    // A creation that fails leaves no volume.
    let create = [&["-n", &name, "-t", "/bin/false", "-B", kind], args].concat();
    tool(machine, "create", &create).fails(1);
    assert_eq!(all(), [""; 0]);
    killed_creations(machine, kind, args, all);
    killed_restorations(machine, kind, args, all);
}

/// A restoration that is killed leaves two volumes: whoever comes next removes the right one.
fn killed_restorations(machine: &Machine, kind: &str, args: &[&str], all: Volumes<'_>) {
    let name = machine.name("put");
    let dir = machine.lxcpath().join(&name);
    let hook = machine.lxcpath().join("killer");
    fs::write(&hook, "#!/bin/sh\n[ -e /run/spare ] || kill -9 $PPID\n").unwrap();
    machine.sh(&format!("chmod 755 {}", hook.display())).ok();
    // Killed before the exchange, when only the old config is still in its place, after that went,
    // and after the new one came: the last three are what the tool does next.
    let half = "umount rootfs restored/rootfs 2>/dev/null; mkdir replaced && mv rootfs replaced";
    let steps = ["", half, "mv config replaced", "mv restored/config ."];
    for killed in 1..=steps.len() {
        for destroy in [true, false] {
            let create = [&["-n", &name, "-t", "/bin/true", "-B", kind], args].concat();
            tool(machine, "create", &create).ok();
            tool(machine, "snapshot", &["-n", &name]).ok();
            let text = config(machine, &name);
            let text = format!("{text}lxc.hook.destroy = {}\n", hook.display());
            fs::write(machine.config(&name), text).unwrap();
            let restore = tool(machine, "snapshot", &["-n", &name, "-r", "snap0"]);
            assert_eq!((restore.status, all().len()), (137, 3), "{restore:?} {:?}", all());
            machine.sh("touch /run/spare").ok();
            for step in &steps[1..killed] {
                machine.sh(&format!("cd {} && {step}", dir.display())).ok();
            }
            if !destroy {
                tool(machine, "snapshot", &["-n", &name, "-r", "snap0"]).ok();
                assert_eq!(all().len(), 2, "{killed}: {:?}", all());
            }
            tool(machine, "destroy", &["-n", &name, "-s"]).ok();
            assert_eq!((all(), dir.exists()), (Vec::new(), false), "{killed} {destroy}");
            machine.sh("rm /run/spare").ok();
        }
    }
}

/// A creation that was killed leaves a marker that names the volume; the next one removes it.
fn killed_creations(machine: &Machine, kind: &str, args: &[&str], all: Volumes<'_>) {
    let name = machine.name("killed");
    let template = machine.lxcpath().join("slow");
    let ready = machine.lxcpath().join("ready");
    let text =
        format!("#!/bin/sh\ntouch {0}\nwhile [ -e {0} ]; do sleep 0.1; done\n", ready.display());
    fs::write(&template, text).unwrap();
    machine.sh(&format!("chmod 755 {}", template.display())).ok();
    let create = [&["-n", &name, "-t", template.to_str().unwrap(), "-B", kind], args].concat();
    let mut child = machine.lxc_command("create", &create).spawn().unwrap();
    eventually(20, "the template", || ready.exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(&ready).unwrap();
    assert_eq!(all(), [name.as_str()]);
    let create = [&["-n", &name, "-t", "busybox", "-B", kind], args].concat();
    eventually(20, "the killed creation to be taken over", || {
        (tool(machine, "create", &create).status == 0).then_some(())
    });
    tool(machine, "destroy", &["-n", &name]).ok();
    assert_eq!(all(), [""; 0]);
}

fn lines(text: &str) -> Vec<String> {
    let mut all: Vec<String> =
        text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
    all.sort();
    all
}

#[test]
fn a_life_on_logical_volumes() {
    let machine = Machine::new();
    if !can(
        &machine,
        "logical volumes",
        "command -v lvcreate && modprobe loop && modprobe dm-thin-pool",
    ) {
        return;
    }
    let group = machine.name("vg");
    let image = machine.dir.join("pv");
    let (image, end) = (image.display(), "losetup -d $(cat /run/pv)");
    let made = format!(
        "truncate -s 900M {image} && losetup -f --show {image} >/run/pv && \
         vgcreate -y {group} $(cat /run/pv) && lvcreate -y -L 300M --thinpool pool {group}"
    );
    machine.sh(&made).ok();
    let volumes = || {
        let all = machine.sh(&format!("lvs --noheadings -o lv_name {group}")).ok();
        lines(&all).into_iter().filter(|name| name != "pool").collect::<Vec<_>>()
    };
    let all = ["--vgname", &group, "--fssize", "48M"];
    // One that nobody but us may touch.
    machine.sh(&format!("lvcreate -y -L 8M -n mine {group}")).ok();
    let refused = ["-n", "mine", "-t", "busybox", "-B", "lvm", "--vgname", &group];
    assert!(tool(&machine, "create", &refused).fails(1).contains("already exists"));
    assert_eq!(volumes(), ["mine"]);
    machine.sh(&format!("lvremove -y {group}/mine")).ok();
    life_on_volumes(&machine, "lvm", &all, &volumes);
    life_on_volumes(&machine, "lvm", &[&all[..], &["--thinpool", "pool"]].concat(), &volumes);
    let none = ["-n", "x", "-t", "busybox", "-B", "lvm", "--vgname", "nosuch"];
    let said = tool(&machine, "create", &none).fails(1);
    assert!(said.contains("nosuch") && said.contains("not found"), "{said}");
    machine.sh(&format!("vgremove -y -f {group} && {end}")).ok();
}

#[test]
fn a_life_on_datasets() {
    let machine = Machine::new();
    let shared = machine.lxcpath();
    let daemon = match machine.sh("modprobe zfs && zfs version").status {
        0 => None,
        _ if can(
            &machine,
            "ZFS, neither in the kernel nor in user space (zfs-fuse)",
            "command -v zfs-fuse && modprobe fuse && mkdir -p /run/zfs",
        ) =>
        {
            // The program mounts in its own namespace; those that copy have to see it.
            let share =
                format!("mount --bind {0} {0} && mount --make-shared {0}", shared.display());
            machine.sh(&share).ok();
            let mut daemon = machine.command("zfs-fuse");
            Some(daemon.args(["--no-kstat-mount", "--no-daemon"]).spawn().unwrap())
        }
        _ => return,
    };
    let image = machine.dir.join("pool");
    let make = format!("truncate -s 300M {0} && zpool create -m none tank {0}", image.display());
    eventually(20, "the pool", || (machine.sh(&make).status == 0).then_some(()));
    let volumes = || {
        let all = machine.sh("zfs list -H -t filesystem,snapshot -o name -r tank").ok();
        lines(&all)
            .iter()
            .filter_map(|l| l.strip_prefix("tank/lxc/"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let filesystems =
        || volumes().into_iter().filter(|name| !name.contains('@')).collect::<Vec<_>>();
    if daemon.is_none() {
        // The kernel's is mounted by the start, and where nobody else sees it.
        let name = machine.name("kernel");
        let create = ["-n", &name, "-t", "busybox", "-B", "zfs", "--zfsroot", "tank/lxc"];
        tool(&machine, "create", &create).ok();
        machine
            .sh(&format!(
                "sed -i /lxc.net/d {0}; echo lxc.net.0.type = empty >>{0}",
                machine.config(&name).display()
            ))
            .ok();
        machine.start(&name);
        let mounts = machine.sh(&format!("cat /proc/{}/mountinfo", machine.init_pid(&name))).ok();
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        assert!(root.contains(&format!(" - zfs tank/lxc/{name} ")), "{mounts}");
        assert!(!machine.sh("cat /proc/self/mountinfo").ok().contains(" - zfs "));
        tool(&machine, "stop", &["-n", &name, "-k"]).ok();
        tool(&machine, "destroy", &["-n", &name]).ok();
    }
    life_on_volumes(&machine, "zfs", &["--zfsroot", "tank/lxc"], &filesystems);
    assert_eq!(volumes(), [""; 0], "no snapshot stays");
    machine.sh("zpool destroy tank").ok();
    if let Some(mut daemon) = daemon {
        machine.sh(&format!("umount {}", shared.display())).ok();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

#[test]
fn a_life_on_images_of_qemu() {
    let machine = Machine::new();
    if !can(&machine, "qemu-nbd", "command -v qemu-nbd && modprobe nbd") {
        return;
    }
    let name = machine.container("c", "lxc.mount.auto = proc:rw\n");
    let dir = machine.lxcpath().join(&name);
    let there = machine.dir.display().to_string();
    // The same content in a whole image and in the second partition of one.
    machine
        .sh(&format!(
            "cd {there} && truncate -s 40M raw && mke2fs -q -F -d {root} raw && \
             qemu-img convert -O qcow2 raw {dir}/whole.qcow2 && truncate -s 48M disk && \
             printf '2048,2048\\n4096,\\n' | sfdisk -q disk && \
             dd if=raw of=disk bs=512 seek=4096 conv=notrunc status=none && \
             qemu-img convert -O qcow2 disk {dir}/disk.qcow2 && rm -r raw disk {root} && mkdir {root}",
            root = dir.join("rootfs").display(),
            dir = dir.display(),
        ))
        .ok();
    let with = |path: &str, more: &str| {
        let text = config(&machine, &name);
        let lines = text.lines().filter(|l| !l.starts_with("lxc.rootfs.path"));
        let text: String = lines.map(|l| format!("{l}\n")).collect();
        let path = format!("lxc.rootfs.path = nbd:{}/{path}\n{more}", dir.display());
        fs::write(machine.config(&name), text + &path).unwrap();
    };
    // Somebody else's device, mounted by nobody, stays.
    machine
        .sh(&format!("cd {there} && truncate -s 1M mine && qemu-nbd -f raw -c /dev/nbd0 mine"))
        .ok();
    let nothing = || {
        let said = machine.sh("ls /sys/block/nbd*/pid; pgrep -x qemu-nbd | wc -l").stdout;
        assert_eq!(said, "/sys/block/nbd0/pid\n1\n", "more or less than one device is left");
    };
    for (path, device) in [("whole.qcow2", "/dev/nbd1 "), ("disk.qcow2:2", "/dev/nbd1p2 ")] {
        with(path, "");
        assert!(lives(&machine, &name, "first").contains("first"));
        nothing();
        machine.start(&name);
        let said = machine.inside(&name, "grep ' / ' /proc/mounts; ls /").ok();
        assert!(said.contains(device) && said.contains("first"), "{said}");
        // Nobody else writes to it meanwhile, and the device of the first stays.
        let other = machine.name("other");
        let text = config(&machine, &name);
        fs::create_dir(machine.lxcpath().join(&other)).unwrap();
        fs::write(machine.config(&other), text.replace(&format!("{name}\n"), &other)).unwrap();
        let refused = tool(&machine, "start", &["-n", &other]).fails(1);
        assert!(refused.contains("qemu-nbd failed: Is another process using"), "{refused}");
        fs::remove_dir_all(machine.lxcpath().join(&other)).unwrap();
        machine.reboot_inside(&name, "echo again >/again; reboot -f");
        let said = eventually(20, "the second boot", || {
            let said = machine.inside(&name, "cat /again");
            (said.status == 0).then_some(said.stdout)
        });
        assert_eq!(said, "again\n");
        tool(&machine, "stop", &["-n", &name, "-k"]).ok();
        nothing();
        // A copy is a directory; to copy it as an image is for its own tools.
        let copy = machine.name("copy");
        tool(&machine, "copy", &["-n", &name, "-N", &copy, "-B", "dir"]).ok();
        nothing();
        assert!(lives(&machine, &copy, "x").contains("again"));
        tool(&machine, "destroy", &["-n", &copy]).ok();
        let said = tool(&machine, "copy", &["-n", &name, "-N", &copy]).fails(1);
        assert!(said.contains("made by its own tools"), "{said}");
        let said = tool(&machine, "push", &["-n", &name, "/bin/sh", "/x"]).fails(1);
        assert!(said.contains("only while the container runs"), "{said}");
        nothing();
    }
    // Starts that fail early, in the middle and late leave no device.
    for (path, more, words) in [
        ("none.qcow2", "", &["none.qcow2", "No such file"][..]),
        ("disk.qcow2:7", "", &["/dev/nbd1p7", "No such file"]),
        ("disk.qcow2", "", &["no file system"]),
        ("whole.qcow2", "lxc.init.cmd = /none\n", &["/none"]),
        ("whole.qcow2", "lxc.hook.start-host = /bin/false\n", &["/bin/false"]),
    ] {
        with(path, more);
        let said = tool(&machine, "start", &["-n", &name]).fails(1);
        assert!(words.iter().all(|word| said.contains(word)), "{path} {more}: {said}");
        nothing();
    }
    with("whole.qcow2", "");
    machine.sh("qemu-nbd -d /dev/nbd0").ok();
    eventually(20, "the module to go", || {
        (machine.sh("modprobe -r nbd").status == 0).then_some(())
    });
    let said = tool(&machine, "start", &["-n", &name]).fails(1);
    assert!(said.contains("device is free") && said.contains("hint: modprobe nbd"), "{said}");
    let refused = tool(&machine, "destroy", &["-n", &name]).fails(1);
    assert!(refused.contains("lxc.rootfs.managed = 0") && dir.join("whole.qcow2").exists());
}

#[test]
fn an_image_under_an_id_map() {
    let machine = Machine::new();
    if machine.cannot_map_mounts() {
        return;
    }
    let name = machine.name("img");
    let base = machine.lxcpath().join("base");
    fs::write(&base, "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n").unwrap();
    let create = ["-n", &name, "-t", "busybox", "-B", "loop", "--fssize", "32M", "-f"];
    tool(&machine, "create", &[&create[..], &[base.to_str().unwrap()]].concat()).ok();
    assert!(lives(&machine, &name, "first").contains("first"));
    machine.start(&name);
    let said = machine
        .inside(&name, "cat /proc/self/uid_map; stat -c %u /bin /first; grep ' / ' /proc/mounts")
        .ok();
    assert!(
        said.contains("100000") && said.contains("\n0\n0\n") && said.contains("ext4"),
        "{said}"
    );
    tool(&machine, "stop", &["-n", &name, "-k"]).ok();
    // The ids of the image as they are, mapped by the mount.
    let plain = machine.name("plain");
    tool(&machine, "create", &["-n", &plain, "-t", "busybox", "-B", "loop", "--fssize", "32M"])
        .ok();
    let text = config(&machine, &plain)
        + &fs::read_to_string(&base).unwrap()
        + "lxc.rootfs.options = idmap=container\n";
    fs::write(machine.config(&plain), text).unwrap();
    machine.sh(&format!("chmod a+x {}", machine.lxcpath().join(&plain).display())).ok();
    assert!(lives(&machine, &plain, "second").contains("second"));
    tool(&machine, "copy", &["-n", &name, "-N", "x", "-B", "overlay"]).fails(1);
}

#[test]
fn what_cannot_be_mounted_is_told_before_anything_is_made() {
    let machine = Machine::new();
    let name = machine.container("c", "");
    let base = config(&machine, &name);
    let with = |path: &str| {
        let lines = base.lines().filter(|l| !l.starts_with("lxc.rootfs.path"));
        let text: String = lines.map(|l| format!("{l}\n")).collect();
        fs::write(machine.config(&name), format!("{text}lxc.rootfs.path = {path}\n")).unwrap();
        tool(&machine, "start", &["-n", &name]).fails(1)
    };
    for (path, words) in [
        ("zfs:tank/none", &["ZFS", "zfs mount tank/none"][..]),
        ("nbd:/none.qcow2", &["nbd:/none.qcow2", "No such file"]),
        ("nbd:/dev/nbd77", &["block device", "qemu-nbd -c /dev/nbd77 IMAGE (package qemu-utils)"]),
        ("rbd:/dev/rbd/lxc/c", &["block device", "rbd map", "ceph-common"]),
        ("lvm:/dev/lxc/none", &["block device", "lvchange -ay"]),
        ("aufs:/x", &["unknown storage type"]),
    ] {
        let said = with(path);
        assert!(words.iter().all(|word| said.contains(word)), "{path}: {said}");
        let copies: [(&str, &[&str]); 3] = [
            ("copy", &["-n", &name, "-N", "x", "-B", "dir"]),
            ("copy", &["-n", &name, "-N", "x", "-R"]),
            ("push", &["-n", &name, "/bin/sh", "/x"]),
        ];
        let alone = path.starts_with("nbd:") || path.starts_with("rbd:");
        for (program, args) in copies.iter().filter(|_| alone) {
            let said = tool(&machine, program, args).fails(1);
            assert!(words.iter().all(|word| said.contains(word)), "{program} {path}: {said}");
        }
        for args in [&["-n", name.as_str()][..], &["-n", &name, "-N", "x"]].iter().filter(|_| alone)
        {
            let program = if args.len() == 2 { "snapshot" } else { "copy" };
            let said = tool(&machine, program, args).fails(1);
            assert!(said.contains("made by its own tools") && said.contains("hint: "), "{said}");
        }
        let there: Vec<_> = fs::read_dir(machine.lxcpath()).unwrap().flatten().collect();
        assert_eq!(there.len(), 1, "{there:?}");
    }
    fs::write(machine.config(&name), base).unwrap();
    let missing = |kind: &str, package: &str| {
        let said = tool(&machine, "create", &["-n", "x", "-t", "none", "-B", kind]);
        if said.status != 0 {
            assert!(said.stderr.contains(package), "{said:?}");
        }
        assert!(!Path::new(&machine.lxcpath()).join("x/rootfs").exists());
    };
    missing("nbd", "type nbd");
    missing("rbd", "type rbd");
    missing("zfs", "zfsutils-linux");
    missing("lvm", "lvm2");
}

/// LVM's own program, in its place one of ours, says why it cannot tell.
#[test]
fn a_volume_that_lvm_cannot_look_for_is_not_taken_for_gone() {
    let m = Machine::new();
    let c = m.container("lvm", "");
    fs::write(m.config(&c), "lxc.rootfs.path = lvm:/dev/nogroup/c\n").unwrap();
    let bin = m.lxcpath().join("bin");
    fs::create_dir(&bin).unwrap();
    let said = bin.join("said");
    fs::write(bin.join("lvs"), format!("#!/bin/sh\ncat {}\nexit 5\n", said.display())).unwrap();
    let place = format!(
        "chmod +x {0}/lvs; mount -t overlay -o lowerdir={0}:/usr/sbin overlay \
                         /usr/sbin",
        bin.display()
    );
    m.sh(&place).ok();
    fs::write(&said, "  WARNING: x\n  Can't get lock for nogroup\n").unwrap();
    let refused = m.lxc("destroy", &["-n", &c]).fails(1);
    assert!(refused.contains("Can't get lock for nogroup"), "{refused}");
    assert!(m.config(&c).exists());
    fs::write(&said, "  Volume group \"nogroup\" not found\n  Cannot process it\n").unwrap();
    m.lxc("destroy", &["-n", &c]).ok();
    assert!(!m.config(&c).exists());
    m.sh("umount /usr/sbin").ok();
}
