//! Trees of files that look like hosts, and the lines of real boards' configurations.

use super::boot::{Edit, Words};
use super::table::{How, ITEMS};
use super::text::{self, Style};
use super::*;
use crate::sys::SysError;
use crate::sys::errno;
use std::path::{Path, PathBuf};

const BOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/boards");

fn board(name: &str) -> Host {
    Host::other(&Path::new(BOARDS).join(format!("{name}.config"))).unwrap()
}

/// A host of these files, seen by the user `euid`.
fn host(files: &[(&str, &str)], euid: u32) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let host = Host::below(dir.path(), &dir.path().join("var/lib/lxc"), "6.1.0", euid);
    (dir, host)
}

fn ids(answers: &[Answer], want: impl Fn(&Answer) -> bool) -> Vec<&'static str> {
    answers.iter().filter(|a| want(a)).map(|a| a.item.id).collect()
}

#[test]
fn every_row_is_its_own() {
    for (n, item) in ITEMS.iter().enumerate() {
        assert!(!item.id.is_empty() && !item.label.is_empty(), "row {n}");
        assert!(ITEMS[..n].iter().all(|other| other.id != item.id), "{} twice", item.id);
        if matches!(item.how, How::Config) {
            assert!(!item.symbols.is_empty(), "{}: nothing to look at", item.id);
        }
        for symbol in item.symbols.split_whitespace() {
            assert!(!symbol.starts_with("CONFIG_"), "{symbol}");
        }
    }
    for id in table::EITHER.iter().flatten() {
        assert!(ITEMS.iter().any(|item| item.id == *id), "{id}");
    }
    // In the order of their sections, which is that of the output.
    let groups: Vec<usize> = ITEMS.iter().map(|item| item.group as usize).collect();
    assert!(groups.is_sorted());
}

/// (board, what fails for root's containers, what fails for an ordinary user's)
const JUDGED: &[(&str, &[&str], &[&str])] = &[
    ("raspberry-pi-6.1", &[], &[]),
    ("armbian-sunxi-4.9", &[], &["user"]),
    ("rockchip-4.4", &[], &["user"]),
    ("rockchip-5.10", &[], &[]),
    ("odroid-xu4-5.4", &[], &[]),
    ("beaglebone-5.10-ti", &[], &[]),
    ("openwrt-5.15", &[], &[]),
    ("android-4.14", &["uts", "ipc", "pid"], &["uts", "ipc", "pid", "user"]),
];

#[test]
fn boards_are_judged_by_their_configuration() {
    for (name, plain, unprivileged) in JUDGED {
        let host = board(name);
        for (purpose, wanted) in [(Purpose::Plain, plain), (Purpose::Unprivileged, unprivileged)] {
            let answers = examine(&host, purpose);
            assert_eq!(ids(&answers, |a| a.fails(purpose)), **wanted, "{name}, {purpose:?}");
            let outcome = if wanted.is_empty() { Outcome::Fit } else { Outcome::Unfit };
            assert_eq!(super::outcome(&answers, purpose), outcome, "{name}");
        }
    }
}

#[test]
fn what_a_board_lacks_is_named() {
    let answers = examine(&board("rockchip-4.4"), Purpose::Plain);
    let lacks = ids(&answers, |a| a.lacks(Purpose::Plain));
    for id in ["user", "cgroup-memory", "cgroup-pids", "veth", "nat-nft", "nat-iptables"] {
        assert!(lacks.contains(&id), "{id} in {lacks:?}");
    }
    // On a kernel with iptables only, nftables is no fault.
    let answers = examine(&board("rockchip-5.10"), Purpose::Plain);
    assert!(!ids(&answers, |a| a.lacks(Purpose::Plain)).contains(&"nat-nft"));
    // And in the text, as LXC has it.
    let host = board("android-4.14");
    let answers = examine(&host, Purpose::Plain);
    let text = text::text(&host, Purpose::Plain, &answers, &Capacity::default(), Style::Plain);
    let has = |line: &str| text.lines().any(|l| l == line || l.starts_with(&format!("{line},")));
    for line in [
        "Namespaces: enabled",
        "Ipc namespace: required",
        "Pid namespace: required",
        "Utsname namespace: missing",
        "Veth pair device: missing",
        "Bridges: enabled",
    ] {
        assert!(has(line), "{line}\n{text}");
    }
    assert!(!text.contains('\x1b'));
    assert!(!text.contains("unknown"), "{text}");
}

#[test]
fn a_packed_configuration_is_read() {
    // printf 'CONFIG_VETH=m\n# CONFIG_TUN is not set\nCONFIG_NAMESPACES=y\n' | gzip -9
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.gz");
    std::fs::write(&file, PACKED).unwrap();
    let config = kconfig::Kconfig::read(&file).unwrap();
    use kconfig::Built;
    assert_eq!(config.built("VETH"), Built::Module);
    assert_eq!(config.built("TUN"), Built::Not);
    assert_eq!(config.built("TUN|NAMESPACES"), Built::In);
    assert_eq!(config.all("NAMESPACES VETH"), (Built::Module, "VETH"));
    assert_eq!(config.all("NAMESPACES TUN VETH"), (Built::Not, "TUN"));
    for cut in [0, 5, 12, PACKED.len() / 2] {
        std::fs::write(&file, &PACKED[..cut]).unwrap();
        assert!(kconfig::Kconfig::read(&file).is_err(), "{cut} bytes");
    }
}

const PACKED: &[u8] = include_bytes!("../../tests/boards/packed.gz");

/// A Raspberry Pi's words: the firmware's first, then those of cmdline.txt.
const PI: &str = "reboot=w coherent_pool=1M 8250.nr_uarts=1 cgroup_disable=memory \
                  console=tty1 root=PARTUUID=1-02 rootwait";

#[test]
fn the_word_that_switched_memory_off_is_named_with_its_order() {
    let judge = |cmdline: &str, file: &str| {
        let (_dir, host) =
            host(&[("proc/cmdline", cmdline), ("boot/firmware/cmdline.txt", file)], 0);
        boot::disabled(&host, "memory")
    };
    let found = judge(PI, "console=tty1 root=PARTUUID=1-02 rootwait");
    assert_eq!(
        (found.detail.as_str(), found.mend.as_str()),
        (
            "cgroup_disable=memory is word 4 of /proc/cmdline, put there by the board's firmware",
            "boot with: cgroup_enable=memory"
        )
    );
    let found = judge("a cgroup_disable=cpu,memory", "a cgroup_disable=cpu,memory");
    assert_eq!(found.detail, "cgroup_disable=cpu,memory is word 2 of /proc/cmdline");
    let found = judge("cgroup_enable=memory cgroup_disable=memory", "");
    assert!(found.detail.ends_with("after cgroup_enable=memory, and the later one counts"));
    let found = judge("cgroup_disable=memory cgroup_enable=memory", "");
    assert_eq!(found.mend, "boot without: cgroup_disable=memory");
    assert!(found.detail.contains("does not know cgroup_enable=memory"), "{}", found.detail);
    let found = judge("cgroup_no_v1=cpu,memory", "");
    assert_eq!(found.mend, "boot without: cgroup_no_v1=cpu,memory");
    assert_eq!(judge("quiet", "").mend, "boot with: cgroup_enable=memory");
    // The name of version 1 switches the controller of version 2 off, too.
    let (_dir, io) = host(&[("proc/cmdline", "cgroup_disable=blkio")], 0);
    assert_eq!(boot::disabled(&io, "io").mend, "boot without: cgroup_disable=blkio");
}

#[test]
fn the_line_for_the_boot_loader_is_exact() {
    let words = Words { add: vec!["cgroup_enable=memory".into()], remove: vec!["x=0".into()] };
    let cases = [
        ("boot/firmware/cmdline.txt", "a b x=0 c\n", Some(1), "a b c cgroup_enable=memory", ""),
        (
            "boot/cmdline.txt",
            "\nroot=/dev/mmcblk0p2\n",
            Some(2),
            "root=/dev/mmcblk0p2 cgroup_enable=memory",
            "",
        ),
        (
            "etc/default/grub",
            "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"x=0\"\n",
            Some(2),
            "GRUB_CMDLINE_LINUX=\"cgroup_enable=memory\"",
            "update-grub",
        ),
        ("boot/armbianEnv.txt", "verbosity=1\n", None, "extraargs=cgroup_enable=memory", ""),
        (
            "boot/armbianEnv.txt",
            "extraargs=quiet\n",
            Some(1),
            "extraargs=quiet cgroup_enable=memory",
            "",
        ),
        (
            "boot/uEnv.txt",
            "cmdline=coherent_pool=1M\n",
            Some(1),
            "cmdline=coherent_pool=1M cgroup_enable=memory",
            "",
        ),
        (
            "boot/boot.ini",
            "setenv bootargs \"console=tty1\"\n",
            Some(1),
            "setenv bootargs \"console=tty1 cgroup_enable=memory\"",
            "",
        ),
        (
            "boot/extlinux/extlinux.conf",
            "label l0\n    append root=/dev/vda x=0\n",
            Some(2),
            "    append root=/dev/vda cgroup_enable=memory",
            "",
        ),
    ];
    for (file, text, line, wanted, then) in cases {
        let (dir, _) = host(&[(file, text)], 0);
        let edit = words.edit(dir.path()).unwrap();
        let path = dir.path().join(file);
        assert_eq!(edit, Edit { path, line, text: wanted.into(), then }, "{file}");
        assert_eq!(std::fs::read_to_string(&edit.path).unwrap(), text, "nothing is changed");
    }
    let (dir, _) = host(&[("etc/other", "")], 0);
    assert_eq!(words.edit(dir.path()), None);
    // What is to go is looked for where it is; u-boot's menu is made from the settings.
    let files = [
        ("etc/default/grub", "GRUB_CMDLINE_LINUX=\"\"\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet x=0\"\n"),
        ("boot/extlinux/extlinux.conf", "append root=/dev/vda y=0\n"),
        ("etc/default/u-boot", "U_BOOT_PARAMETERS=\"ro\"\n"),
    ];
    let (dir, _) = host(&files, 0);
    let less = |word: &str| {
        let edit = Words { add: Vec::new(), remove: vec![word.into()] }.edit(dir.path())?;
        Some((edit.path.strip_prefix(dir.path()).unwrap().display().to_string(), edit.text))
    };
    let in_grub = "GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"".to_owned();
    assert_eq!(less("x=0"), Some(("etc/default/grub".into(), in_grub)));
    assert_eq!(less("y=0").unwrap().0, "boot/extlinux/extlinux.conf");
    assert_eq!(less("z=0"), None);
    let edit = words.edit(dir.path()).unwrap();
    assert_eq!(edit.text, "U_BOOT_PARAMETERS=\"ro cgroup_enable=memory\"");
}

#[test]
fn a_refused_user_namespace_has_a_culprit() {
    let judge = |files: &[(&str, &str)], uid: u32, number: i32| {
        let (_dir, host) = host(files, uid);
        let error = SysError::new("unshare", "", number);
        culprit::of_user_namespace(&host, uid, &error)
    };
    const LIMIT: &str = "proc/sys/user/max_user_namespaces";
    const CLONE: &str = "proc/sys/kernel/unprivileged_userns_clone";
    const APPARMOR: &str = "proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    type Case = (&'static [(&'static str, &'static str)], i32, &'static str, &'static str);
    let cases: [Case; 9] = [
        (
            &[("proc/self/status", "Seccomp:\t2\n")],
            errno::ENOSYS,
            "a seccomp filter of this process",
            "",
        ),
        (
            &[(APPARMOR, "0\n"), ("proc/self/attr/apparmor/current", "box//inner (enforce)\n")],
            errno::EACCES,
            "AppArmor: profile box//inner (enforce)",
            "",
        ),
        (
            &[("sys/fs/selinux/enforce", "1"), ("proc/self/attr/current", "u:r:t:s0\0")],
            errno::EACCES,
            "SELinux: u:r:t:s0",
            "",
        ),
        (
            &[(LIMIT, "0\n")],
            errno::ENOSPC,
            "user.max_user_namespaces = 0",
            "user.max_user_namespaces=15000",
        ),
        (
            &[(CLONE, "0\n")],
            errno::EPERM,
            "kernel.unprivileged_userns_clone = 0",
            "unprivileged_userns_clone=1",
        ),
        (
            &[(CLONE, "1\n"), (APPARMOR, "1\n")],
            errno::EACCES,
            "AppArmor: kernel.apparmor_restrict_unprivileged_userns = 1",
            "restrict_unprivileged_userns=0",
        ),
        (
            &[(APPARMOR, "0\n"), ("proc/self/status", "Seccomp:\t2\n")],
            errno::EPERM,
            "a seccomp filter of this process",
            "",
        ),
        (
            &[("proc/self/mountinfo", "22 1 0:1 / /proc rw - proc proc rw\n")],
            errno::EPERM,
            "a chroot: from one no user namespace can be made",
            "",
        ),
        (
            &[(LIMIT, "9000\n")],
            errno::ENOSPC,
            "user namespaces nested too deep, or all of the user's in use",
            "",
        ),
    ];
    for (files, number, by, mend) in cases {
        let found = judge(files, 1000, number);
        assert_eq!((found.state, found.detail.as_str()), (State::Blocked, by));
        assert!(found.mend.contains(mend), "{}", found.mend);
    }
    assert_eq!(judge(&[], 1000, errno::EINVAL).state, State::Absent);
    // Root is not held by what holds ordinary users.
    assert!(!judge(&[(CLONE, "0\n")], 0, errno::EPERM).detail.contains("clone"));
}

#[test]
fn id_ranges_are_the_callers_and_large_enough() {
    let passwd = ("etc/passwd", "root:x:0:0::/root:/bin/sh\npi:x:1000:1000::/home/pi:/bin/sh\n");
    let judge = |subuid: &str| {
        let (_dir, host) = host(&[passwd, ("etc/subuid", subuid)], 1000);
        files::subuid(&host)
    };
    assert_eq!(judge("pi:100000:65536\n").detail, "pi has 65536 from 100000 on");
    assert_eq!(judge("1000:100000:65536\n").state, State::Works);
    let few = judge("pi:100000:1000\nbob:165536:65536\n");
    assert_eq!(
        (few.state, few.mend.as_str()),
        (State::Blocked, "echo pi:231072:65536 >>/etc/subuid")
    );
    let none = judge("# nothing\nbob:100000:65536\n");
    assert_eq!(
        (none.state, none.mend.as_str()),
        (State::Absent, "echo pi:165536:65536 >>/etc/subuid")
    );
}

/// lxc-usernet by user and by group, on bridges that exist, and the helper beside it.
#[test]
fn a_line_of_usernet_and_its_helper() {
    let usernet = Path::new(crate::config::path::SYSCONFDIR).join("lxc-usernet");
    let usernet = usernet.strip_prefix("/").unwrap().to_str().unwrap().to_owned();
    let passwd = ("etc/passwd", "pi:x:1000:1000::/home/pi:/bin/sh\n");
    let group = ("etc/group", "pi:x:1000:\nnet:x:50:bob,pi\nnone:x:51:bob\n");
    let judge = |uid, text: &str| {
        let files = [passwd, group, (usernet.as_str(), text), ("sys/class/net/br0/flags", "0x1")];
        let (_dir, host) = host(&files, uid);
        let found = files::usernet(&host);
        (found.state, found.detail, found.mend)
    };
    let works = |text| {
        let (state, detail, _) = judge(1000, text);
        assert_eq!(state, State::Works, "{text}");
        detail
    };
    assert_eq!(works("pi veth br9 1\npi veth br0 3\n"), "3 devices on br0 for pi");
    assert_eq!(works("@net veth br0 7 # all\n"), "7 devices on br0 for @net");
    let (state, detail, mend) = judge(1000, "pi veth br9 1\n");
    assert!(state == State::Blocked && detail.ends_with("names br9, which is not there"));
    assert_eq!(mend, "ip link add br9 type bridge && ip link set br9 up");
    for text in ["", "bob veth br0 1\n", "@none veth br0 1\n", "pi veth br0 0\n", "pi veth br0\n"] {
        let (state, _, mend) = judge(1000, text);
        assert!(state == State::Absent && mend.starts_with("echo 'pi veth "), "{text}: {mend}");
    }
    // The helper goes by names.
    assert_eq!(judge(1001, "pi veth br0 1\n").0, State::Absent);
    assert_eq!(judge(0, "").0, State::Works);
    let (dir, host) = host(&[("usr/libexec/lxc/lxc-user-nic", "")], 1000);
    let found = files::user_nic(&host);
    let path = dir.path().join("usr/libexec/lxc/lxc-user-nic");
    assert_eq!(found.detail, format!("{} is not setuid root", path.display()));
    assert!(found.mend.contains("chmod u+s"));
    std::fs::remove_file(path).unwrap();
    assert_eq!(files::user_nic(&host).state, State::Absent);
}

/// Each kind of namespace has its limit.
#[test]
fn a_lowered_limit_is_named() {
    let files = [
        ("proc/sys/user/max_net_namespaces", "0\n"),
        ("proc/sys/user/max_ipc_namespaces", "9000\n"),
        ("proc/sys/user/max_inotify_watches", "5\n"),
    ];
    let (_dir, lowered) = host(&files, 0);
    let found = culprit::of_limit(&lowered, "unshare");
    assert_eq!(found.detail, "a low limit user.max_net_namespaces: unshare");
    assert!(found.mend.starts_with("echo user.max_net_namespaces=15000 >>"));
    let (_dir, usual) = host(&files[1..], 0);
    assert_eq!(culprit::of_limit(&usual, "unshare").detail, "a limit of the kernel: unshare");
}

#[test]
fn a_closed_directory_on_the_way_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, host) = host(&[("var/lib/lxc/c1/config", "")], 1000);
    let closed = dir.path().join("var/lib");
    // The fixture itself is in a directory that others may not pass.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o750)).unwrap();
    let found = files::way(&host).unwrap();
    assert!(
        found.detail.ends_with(&format!("no x for others): {}", closed.display())),
        "{}",
        found.detail
    );
    assert_eq!(found.mend, format!("chmod o+x '{}'", closed.display()));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(files::way(&host).unwrap().state, State::Works);
}

#[test]
fn lost_and_locked_modules_are_told() {
    let of_another = ("lib/modules/6.1.1/modules.dep", "");
    let (_dir, gone) = host(&[("proc/modules", ""), of_another], 0);
    assert_eq!(files::modules(&gone).mend, "reboot");
    // A board's kernel that is all in one piece was not replaced.
    let (_dir, without) = host(&[("proc/modules", "")], 0);
    assert_eq!(
        (files::modules(&without).state, files::modules(&without).mend),
        (State::Absent, "".into())
    );
    let list = [
        ("proc/modules", ""),
        ("lib/modules/6.1.0/modules.dep", "kernel/net/ipvlan.ko.xz:\nkernel/veth.ko:\n"),
        ("lib/modules/6.1.0/modules.builtin", "kernel/bridge.ko\n"),
        ("sys/module/veth/refcnt", "1"),
    ];
    let (_dir, host) = host(&list, 0);
    assert_eq!(files::modules(&host).state, State::Works);
    let answers = examine(&host, Purpose::Plain);
    let answer = |id: &str| answers.iter().find(|a| a.item.id == id).unwrap();
    assert_eq!((answer("veth").verdict.state, answer("veth").loaded), (State::Works, Some(true)));
    assert_eq!(
        (answer("ipvlan").verdict.state, answer("ipvlan").loaded),
        (State::Works, Some(false))
    );
    assert_eq!((answer("bridge").verdict.state, answer("bridge").loaded), (State::Works, None));
    assert_eq!(answer("macvlan").verdict.state, State::Unknown);
}

#[test]
fn the_first_limit_is_found() {
    let files = [
        ("proc/sys/fs/inotify/max_user_instances", "128\n"),
        ("proc/loadavg", "0.0 0.0 0.0 1/300 77\n"),
        ("proc/sys/kernel/pid_max", "32768\n"),
        ("proc/sys/kernel/threads-max", "7000\n"),
        (
            "proc/key-users",
            "    0:    90 89/89 150/1000 1/25000\n 1000:     5 5/5 190/200 9/20000\n",
        ),
        ("proc/meminfo", "MemTotal:  1000000 kB\nMemAvailable:  900000 kB\n"),
        ("proc/sys/fs/file-max", "90000\n"),
        ("proc/sys/fs/file-nr", "1000\t0\t90000\n"),
    ];
    let (_dir, host) = host(&files, 1000);
    let capacity = super::capacity(&host, Purpose::SystemdGuest);
    let more = |what: &str| capacity.rooms.iter().find(|r| r.what == what).unwrap().more();
    assert_eq!((more("inotify instances"), more("processes")), (128 / 12, 6700 / 30));
    assert_eq!((more("keys"), more("memory in kB")), (0, 20));
    assert_eq!(capacity.first().unwrap().what, "keys");
    // Where nothing is known, nothing is said.
    let (_dir, bare) = super::tests::host(&[], 0);
    assert!(super::capacity(&bare, Purpose::Plain).rooms.iter().all(|r| r.what == "bridge ports"));
}

#[test]
fn fixes_are_lines_to_run() {
    let answer = |id: &str, verdict: Verdict| Answer {
        item: ITEMS.iter().find(|item| item.id == id).unwrap(),
        need: Need::Recommended,
        verdict,
        loaded: None,
    };
    let (dir, host) = host(&[("proc/cmdline", PI), ("boot/firmware/cmdline.txt", "rootwait")], 0);
    let answers = [
        answer("cgroup-memory", boot::disabled(&host, "memory")),
        answer("ip-forward", Verdict::blocked("net.ipv4.ip_forward = 0", "sysctl -w a=1")),
        answer("veth", Verdict::absent("CONFIG_VETH is not set")),
        answer("bridge", Verdict::works("")),
        answer("modules", Verdict::blocked("gone", "reboot")),
        answer("cgroup-freezer", Verdict::blocked("nothing mounted", "mount x")),
        answer("cgroup-pids", Verdict::blocked("nothing mounted", "mount x")),
        answer("port-53", Verdict::blocked("who is called\nrm -rf x; (y", "# stop it")),
        answer("tmpfs", Verdict::blocked("the lack of CAP_SYS_ADMIN", "")),
    ];
    let text = text::fixes(&answers, Purpose::Plain, dir.path());
    let file = PathBuf::from(dir.path()).join("boot/firmware/cmdline.txt");
    for line in [
        "# Veth pair device: CONFIG_VETH is not set".to_owned(),
        "#   CONFIG_VETH=y".to_owned(),
        format!("# {}: line 1 is to be", file.display()),
        "#   rootwait cgroup_enable=memory".to_owned(),
        "# then reboot".to_owned(),
        "# rm -rf x; (y".to_owned(),
        // What no command mends is said all the same.
        "# tmpfs: the lack of CAP_SYS_ADMIN".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(!text.contains("CONFIG_BRIDGE"));
    // A shell that gets all of it runs the commands, each once, and neither boots the machine nor
    // takes the line of a file for one.
    let commands: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(commands, ["sysctl -w a=1", "mount x"], "{text}");
}
