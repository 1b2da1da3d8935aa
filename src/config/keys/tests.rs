//! The laws that every row obeys, and the finding of keys.

use super::*;
use std::collections::BTreeSet;

fn options() -> Options {
    Options { random: || Ok([0xff; 17]), env: |name| (name == "SET").then(|| "here".to_owned()) }
}

fn put(config: &mut Config, key: &str, value: &str) -> Result<(), ValueError> {
    let found = find(config, key).map_err(|e| e.expect("a known key"))?;
    assign(config, &found, value, &Origin::label("test"), &options()).map(drop)
}

/// A configuration with this line, and with the network type that the key needs.
fn with(reference: &Reference) -> (Config, String, String) {
    let (key, value) = reference.example.split_once('=').unwrap();
    let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
    let mut config = Config::default();
    if key.starts_with("lxc.net.0.") {
        let kind = key.split('.').nth(3).filter(|k| matches!(*k, "vlan" | "macvlan" | "ipvlan"));
        put(&mut config, "lxc.net.0.type", kind.unwrap_or("veth")).unwrap();
    }
    put(&mut config, &key, &value).unwrap_or_else(|e| panic!("{key} = {value}: {e}"));
    (config, key, value)
}

#[test]
fn names_are_unique_and_documented() {
    let mut seen = BTreeSet::new();
    for row in reference() {
        assert!(seen.insert(row.key.clone()), "{} is there twice", row.key);
        assert!(row.key.starts_with("lxc.") && !row.key.ends_with('.'), "{}", row.key);
        assert!(!row.doc.is_empty() && row.doc.len() < 90, "{}", row.key);
        assert!(!row.doc.ends_with('.') && !row.value.is_empty(), "{}", row.key);
        assert!(
            row.doc.starts_with(|c: char| !c.is_uppercase())
                || row.doc.starts_with("AppArmor")
                || row.doc.starts_with("SELinux")
                || row.doc.starts_with("VLAN"),
            "{}",
            row.key
        );
    }
}

#[test]
fn rows_are_sorted() {
    let names: [Vec<&str>; 2] = [
        table::KEYS.iter().map(|key| key.name).collect(),
        net::KEYS.iter().map(|key| key.name).collect(),
    ];
    for pair in names.iter().flat_map(|names| names.windows(2)) {
        assert!(pair[0] < pair[1], "{} stands before {}", pair[0], pair[1]);
    }
}

#[test]
fn every_example_parses_and_changes_something() {
    for row in reference() {
        let (config, key, value) = with(&row);
        if !value.is_empty() && key != "lxc.include" {
            let (mut base, kind) = (Config::default(), get(&config, "lxc.net.0.type"));
            if key.starts_with("lxc.net.0.") && key != "lxc.net.0.type" {
                put(&mut base, "lxc.net.0.type", &kind.unwrap()).unwrap();
            }
            assert_ne!(config, base, "{key} = {value} is the default");
        }
    }
}

#[test]
fn set_get_set_is_a_fixed_point() {
    for row in reference() {
        let (first, key, value) = with(&row);
        if value.is_empty() || key == "lxc.include" {
            continue;
        }
        let read = get(&first, &key).unwrap();
        assert!(!read.is_empty(), "{key}");
        let mut second = first.clone();
        put(&mut second, &key, "").unwrap();
        for line in read.lines() {
            if key == "lxc.net.0.type" {
                put(&mut second, &key, "veth").unwrap();
            }
            put(&mut second, &key, line).unwrap();
        }
        assert_eq!(get(&second, &key).unwrap(), read, "{key}");
        // Reading leaves the storage type out, as LXC does.
        second.rootfs.backend = first.rootfs.backend.clone();
        assert_eq!(second, first, "{key}");
    }
}

#[test]
fn an_empty_value_clears() {
    for row in reference() {
        let (mut config, key, value) = with(&row);
        let mut base = Config::default();
        if key.starts_with("lxc.net.0.") && key != "lxc.net.0.type" {
            put(&mut base, "lxc.net.0.type", &get(&config, "lxc.net.0.type").unwrap()).unwrap();
        }
        let found = find(&config, &key).map_err(drop).unwrap();
        clear(&mut config, &found);
        assert_eq!(config, base, "{key} = {value}");
    }
}

#[test]
fn what_is_listed_reads_back_to_the_same() {
    for row in reference() {
        let (config, key, value) = with(&row);
        let mut copy = Config::default();
        for name in list(&config, "") {
            for line in get(&config, &name).unwrap().lines() {
                put(&mut copy, &name, line).unwrap();
            }
        }
        copy.rootfs.backend = config.rootfs.backend.clone();
        assert_eq!(copy, config, "{key} = {value}");
    }
}

#[test]
fn a_list_adds_and_a_scalar_replaces() {
    for row in reference().iter().filter(|row| !row.example.ends_with('=')) {
        let (mut config, key, value) = with(row);
        if ["lxc.include", "lxc.mount.auto", "lxc.namespace.clone", "lxc.namespace.keep"]
            .contains(&key.as_str())
        {
            continue;
        }
        let once = get(&config, &key).unwrap();
        put(&mut config, &key, &value).unwrap();
        let expected = match (row.repeats, once.ends_with('\n')) {
            (false, _) => once.clone(),
            (true, true) => once.repeat(2),
            (true, false) if key == "lxc.init.groups" => format!("{once},{once}"),
            (true, false) => format!("{once}\n{once}"),
        };
        assert_eq!(get(&config, &key).unwrap(), expected, "{key}");
    }
}

#[test]
fn a_refused_value_changes_nothing() {
    let refused = [
        ("lxc.tty.max", "-1"),
        ("lxc.tty.max", "1 2"),
        ("lxc.tty.max", "0x"),
        ("lxc.tty.max", "08"),
        ("lxc.tty.max", "4294967296"),
        ("lxc.autodev", "2"),
        ("lxc.ephemeral", "yes"),
        ("lxc.start.order", "--1"),
        ("lxc.start.after", "a ../b"),
        ("lxc.start.ready", "soon"),
        ("lxc.start.ready", "/bin/test 'x"),
        ("lxc.hook.version", "2"),
        ("lxc.idmap", "b 0 1 2"),
        ("lxc.idmap", "u 0 1"),
        ("lxc.idmap", "u 0 1 2 3"),
        ("lxc.idmap", "u 0 1 0"),
        ("lxc.idmap", "u 0 4294967295 2"),
        ("lxc.cap.drop", "kill FOO"),
        ("lxc.cap.drop", "none"),
        ("lxc.namespace.clone", "user,net"),
        ("lxc.namespace.share.foo", "1"),
        ("lxc.mount.auto", "proc:mixed:x"),
        ("lxc.mount.auto", "proc:"),
        ("lxc.mount.auto", "cgroup2:mixed"),
        ("lxc.mount.auto", "cgroup:force:ro"),
        ("lxc.mount.auto", "proc:rw nonsense"),
        ("lxc.mount.auto", "shmounts:"),
        ("lxc.seccomp.notify.proxy", "/x"),
        ("lxc.signal.halt", "PWR"),
        ("lxc.rootfs.options", "ro,optional"),
        ("lxc.rootfs.path", "dir:"),
        ("lxc.time.offset.boot", "5"),
        ("lxc.time.offset.boot", "9223372036854775807h"),
        ("lxc.prlimit.nofile", "many"),
        ("lxc.cgroup.dir", "../x"),
        ("lxc.cgroup.dir.container.inner", "a/b"),
        ("lxc.log.level", "9"),
        ("lxc.log.syslog", "local8"),
        ("lxc.console.size", "1TB"),
        ("lxc.arch", "pdp11"),
        ("lxc.environment", "UNSET"),
        ("lxc.environment", "=x"),
        ("lxc.hook", "x"),
        ("lxc.net", "x"),
        ("lxc.net.0", "x"),
        ("lxc.sysctl", "x"),
        ("lxc.net.0.type", "token-ring"),
        ("lxc.net.0.flags", "down"),
        ("lxc.net.0.link", "sixteen-letters-"),
        ("lxc.net.0.link", "a/b"),
        ("lxc.net.0.hwaddr", "01:00:00:00:00:00"),
        ("lxc.net.0.hwaddr", "00:16:3e:00:00"),
        ("lxc.net.0.mtu", "67"),
        ("lxc.net.0.ipv4.address", "1.2.3.4/33"),
        ("lxc.net.0.ipv4.address", "1.2.3.4/"),
        ("lxc.net.0.ipv4.gateway", "fe80::1"),
        ("lxc.net.0.veth.ipv4.route", "1.2.3.4"),
        ("lxc.net.0.veth.vlan.id", "4095"),
        ("lxc.net.0.vlan.id", "5"),
        ("lxc.uts.name", "sixty-five-letters-make-a-host-name-that-the-kernel-does-not-take-"),
    ];
    let mut config = Config::default();
    put(&mut config, "lxc.net.0.type", "veth").unwrap();
    for (key, value) in refused {
        let before = config.clone();
        assert!(put(&mut config, key, value).is_err(), "{key} = {value}");
        assert_eq!(config, before, "{key} = {value}");
    }
}

#[test]
fn values_mean_what_lxc_says() {
    let cases = [
        ("lxc.tty.max", "0x10", "16"),
        ("lxc.tty.max", "010", "8"),
        ("lxc.start.order", "-0x10", "-16"),
        ("lxc.console.size", "1", "4096"),
        ("lxc.console.size", "5000", "8192"),
        ("lxc.console.size", "1 MB", "1048576"),
        ("lxc.console.buffer.size", "auto", "131072"),
        ("lxc.prlimit.nofile", "100 : unlimited", "100:unlimited"),
        ("lxc.prlimit.core", "7:7", "7"),
        ("lxc.signal.halt", "SIGRTMIN+3", "37"),
        ("lxc.arch", "armhf", "i686"),
        ("lxc.log.level", "debug", "DEBUG"),
        ("lxc.log.level", "5", "ERROR"),
        ("lxc.log.syslog", "LOCAL1", "local1"),
        (
            "lxc.mount.auto",
            "proc sys cgroup-full:rw:force",
            "proc:mixed sys:mixed cgroup-full:rw:force",
        ),
        ("lxc.idmap", "g\t0  100000 65536", "g 0 100000 65536"),
        ("lxc.time.offset.boot", "90m", "5400 s"),
        ("lxc.time.offset.monotonic", "-10ms", "-10000000 ns"),
        ("lxc.rootfs.path", "overlay:/a:/b", "/a:/b"),
        ("lxc.rootfs.path", "/srv/a:b", "/srv/a:b"),
        ("lxc.environment", "SET", "SET=here\n"),
        ("lxc.cgroup.dir", "/lxc", "lxc"),
        ("lxc.net.0.mtu", "0x5dc", "1500"),
        ("lxc.net.0.ipv4.address", "10.0.3.4", "10.0.3.4/8"),
        ("lxc.net.1.ipv4.address", "172.16.3.4", "172.16.3.4/16"),
        ("lxc.net.2.ipv4.address", "192.168.3.4/31", "192.168.3.4/31"),
        ("lxc.net.0.ipv6.address", "fd00::1", "fd00::1/64"),
        ("lxc.prlimit.memlock", "-1", "unlimited"),
        ("lxc.namespace.keep", "net ipc net", "ipc\nnet\n"),
        ("lxc.proc.oom_score_adj", "10", "10"),
        ("lxc.init.groups", "27, 100,", "27,100"),
        ("lxc.net.007.name", "x", "x"),
    ];
    for (key, value, reads) in cases {
        let mut config = Config::default();
        put(&mut config, key, value).unwrap_or_else(|e| panic!("{key} = {value}: {e}"));
        assert_eq!(get(&config, key).unwrap(), reads, "{key} = {value}");
    }
}

#[test]
fn the_empty_autodev_of_a_file_is_off() {
    let mut config = Config::default();
    put(&mut config, "lxc.autodev", "").unwrap();
    assert!(!config.autodev.enabled);
}

#[test]
fn lists_that_exclude_each_other_say_so() {
    let mut config = Config::default();
    put(&mut config, "lxc.cap.drop", "kill").unwrap();
    let error = put(&mut config, "lxc.cap.keep", "chown").unwrap_err();
    assert_eq!(error, ValueError::Excluded("lxc.cap.drop"));
    put(&mut config, "lxc.cap.drop", "").unwrap();
    put(&mut config, "lxc.cap.keep", "none").unwrap();
    assert_eq!(config.caps.keep, Some(vec![]));
    put(&mut config, "lxc.cap.keep", "chown").unwrap();
    assert_eq!(get(&config, "lxc.cap.keep").unwrap(), "chown\n");
}

#[test]
fn a_type_starts_its_network_from_nothing() {
    let mut config = Config::default();
    put(&mut config, "lxc.net.1.link", "br0").unwrap();
    put(&mut config, "lxc.net.1.type", "veth").unwrap();
    assert_eq!(config.net[&1].link, None);
    assert_eq!(config.origin("lxc.net.1.link"), None);
    assert!(config.origin("lxc.net.1.type").is_some());
    put(&mut config, "lxc.net", "").unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn exact_names_win_over_families() {
    let mut config = Config::default();
    put(&mut config, "lxc.cgroup.dir", "a").unwrap();
    put(&mut config, "lxc.cgroup.dirty", "b").unwrap();
    assert_eq!(config.cgroup.dir.as_deref(), Some("a"));
    assert_eq!(get(&config, "lxc.cgroup").unwrap(), "lxc.cgroup.dirty = b\n");
}

#[test]
fn a_family_is_read_by_name_and_whole() {
    let mut config = Config::default();
    put(&mut config, "lxc.cgroup2.memory.max", "1").unwrap();
    put(&mut config, "lxc.cgroup2.memory.max", "2").unwrap();
    put(&mut config, "lxc.sysctl.a.b", "1").unwrap();
    put(&mut config, "lxc.sysctl.a.b", "2").unwrap();
    assert_eq!(get(&config, "lxc.cgroup2.memory.max").unwrap(), "1\n2\n");
    assert_eq!(get(&config, "lxc.sysctl.a.b").unwrap(), "2");
    assert_eq!(list(&config, "lxc.cgroup2"), ["lxc.cgroup2.memory.max"]);
    assert_eq!(list(&config, ""), ["lxc.cgroup2.memory.max", "lxc.sysctl.a.b"]);
    put(&mut config, "lxc.cgroup2", "").unwrap();
    put(&mut config, "lxc.sysctl.a.b", "").unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn random_digits_make_no_group_address() {
    let mut config = Config::default();
    let found = find(&config, "lxc.net.0.hwaddr").map_err(drop).unwrap();
    let stored =
        assign(&mut config, &found, "xX:16:3e:xx:Xx:x0", &Origin::label("t"), &options()).unwrap();
    assert_eq!(stored.as_deref(), Some("fe:16:3e:ff:ff:f0"));
    assert_eq!(get(&config, "lxc.net.0.hwaddr").unwrap(), "fe:16:3e:ff:ff:f0");
}

#[test]
fn keys_without_a_value_cannot_be_read() {
    let mut config = Config::default();
    put(&mut config, "lxc.net.0.type", "veth").unwrap();
    for key in ["lxc.include", "lxc.hook", "lxc.net.0", "lxc.net.4.type", "lxc.net.0.macvlan.mode"]
    {
        assert!(matches!(get(&config, key), Err(ConfigError::Unreadable { .. })), "{key}");
    }
    assert!(matches!(get(&config, "lxc.foo"), Err(ConfigError::UnknownKey { .. })));
    assert_eq!(get(&Config::default(), "lxc.net").unwrap(), "");
    assert_eq!(get(&config, "lxc.net.0.veth.pair").unwrap(), "");
    assert_eq!(get(&config, "lxc.rootfs.mount").unwrap(), crate::config::path::ROOTFS_MOUNT);
}

#[test]
fn a_misspelt_key_finds_its_neighbour() {
    let cases = [
        ("lxc.tty.mx", Some("lxc.tty.max")),
        ("lxc.network.0.type", Some("lxc.net.0.type")),
        ("lxc.net.3.lnk", Some("lxc.net.3.link")),
        ("lxc.uts.nmae", Some("lxc.uts.name")),
        ("lxc.cgroups2", Some("lxc.cgroup2")),
        ("lxc.apparmour.profile", Some("lxc.apparmor.profile")),
        ("lxc.quite.something.else", None),
        ("lxc.", None),
        ("lxc.net.", None),
        ("lxc.net.99999999999.type", None),
    ];
    for (key, expected) in cases {
        let found = nearest(key);
        if let Some(expected) = expected {
            assert_eq!(found.as_deref(), Some(expected), "{key}");
        } else {
            assert!(found.is_none_or(|f| (1..=6).contains(&edit_distance(key, &f))), "{key}");
        }
    }
}

#[test]
fn every_old_name_leads_to_a_row() {
    let config = Config::default();
    for old in OLD_NAMES {
        let name = format!("{}{}", old.old, if old.old.ends_with('.') { "nofile" } else { "" });
        let found = find(&config, &name).map_err(drop).unwrap_or_else(|()| panic!("{name}"));
        assert!(found.old && find_current(&name).is_none(), "{name}");
        assert_eq!(found.ignored, old.new.is_none(), "{name}");
    }
}

#[test]
fn unnumbered_networks_count_up() {
    let mut config = Config::default();
    assert_eq!(put(&mut config, "lxc.network.link", "a"), Err(ValueError::NoNetwork));
    for (key, value) in [
        ("lxc.network.type", "veth"),
        ("lxc.network.link", "br0"),
        ("lxc.network.type", "macvlan"),
        ("lxc.network.link", "eth0"),
        ("lxc.network.ipv4", "10.0.0.2/24 10.0.0.255"),
        ("lxc.network.ipv6", "fd00::2"),
        ("lxc.network.ipv4.gateway", "auto"),
        ("lxc.network.7.type", "empty"),
        ("lxc.network.script.up", "/bin/true"),
    ] {
        put(&mut config, key, value).unwrap();
    }
    assert_eq!(config.net.keys().copied().collect::<Vec<_>>(), [0, 1, 7]);
    assert_eq!(config.net[&0].link.as_deref(), Some("br0"));
    assert_eq!(get(&config, "lxc.network.1.ipv4").unwrap(), "10.0.0.2/24");
    assert_eq!(config.net[&7].script_up.as_deref(), Some("/bin/true"));
}

#[test]
fn what_a_key_covers() {
    let config = Config::default();
    let covers = |key: &str, line: &str| find(&config, key).map_err(drop).unwrap().covers(line);
    assert!(covers("lxc.net", "lxc.net.0.link"));
    assert!(covers("lxc.net.1", "lxc.net.1.link"));
    assert!(!covers("lxc.net.1", "lxc.net.11.link"));
    assert!(covers("lxc.net.1.type", "lxc.net.1.link"));
    assert!(!covers("lxc.net.1.veth.vlan.id", "lxc.net.1.veth.vlan.id.x"));
    assert!(covers("lxc.hook", "lxc.hook.start"));
    assert!(!covers("lxc.hook", "lxc.hook.version"));
    assert!(!covers("lxc.hook.start", "lxc.hook.start-host"));
    assert!(covers("lxc.cgroup", "lxc.cgroup.memory.max"));
    assert!(!covers("lxc.cgroup", "lxc.cgroup.dir"));
    assert!(!covers("lxc.cgroup", "lxc.cgroup2.memory.max"));
    assert!(covers("lxc.sysctl.a", "lxc.sysctl.a"));
    assert!(!covers("lxc.sysctl.a", "lxc.sysctl.a.b"));
    assert!(!covers("lxc.environment", "lxc.environment.hooks"));
}

#[test]
fn a_number_out_of_range_is_told_from_no_number() {
    let cases = [
        ("lxc.tty.max", "-1", "-1 is not between 0 and 4294967295"),
        ("lxc.tty.max", "4294967296", "4294967296 is not between 0 and 4294967295"),
        (
            "lxc.console.size",
            "99999999999999999999",
            "99999999999999999999 is not between 0 and 18446744073709551615",
        ),
        ("lxc.autodev", "-1", "-1 is not between 0 and 1"),
        ("lxc.autodev", "+-1", "'+-1' is not a number"),
        ("lxc.tty.max", "0x", "'0x' is not a number"),
        ("lxc.start.order", "-99999999999999999999", "-99999999999999999999 is not between"),
        ("lxc.time.offset.boot", "9223372036854775807 h", "9223372036854775807 is not between -2"),
        ("lxc.net.0.mtu", "99999999999", "99999999999 is not between 68 and 2147483647"),
        ("lxc.net.0.ipv6.address", "fd00::1/999", "999 is not between 0 and 128"),
        ("lxc.net.0.ipv6.address", "fd00::1/010", "'010' is not a prefix length"),
        ("lxc.net.0.veth.vlan.id", "-1", "-1 is not between 0 and 4094"),
        ("lxc.log.level", "-1", "-1 is not between 0 and 8"),
        ("lxc.prlimit.nofile", "-2", "-2 is not between 0 and"),
    ];
    let mut config = Config::default();
    put(&mut config, "lxc.net.0.type", "veth").unwrap();
    for (key, value, says) in cases {
        let error = put(&mut config, key, value).unwrap_err().to_string();
        assert!(error.starts_with(says), "{key} = {value}: {error}");
    }
}

#[test]
fn either_capability_list_clears_both() {
    let mut config = Config::default();
    put(&mut config, "lxc.cap.keep", "chown").unwrap();
    put(&mut config, "lxc.cap.drop", "").unwrap();
    put(&mut config, "lxc.cap.drop", "kill").unwrap();
    put(&mut config, "lxc.cap.keep", "").unwrap();
    assert_eq!(config.caps, Config::default().caps);
}
