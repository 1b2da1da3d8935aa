//! Tests of `guest`: trees of the distributions that there are.

use super::*;
use crate::config::{Config, Ipv4Config, NetConfig, NetKind, Origin, Sourced};
use crate::net::plan::plan;
use std::fs;
use std::os::unix::fs::symlink;

/// An eth0 with 10.0.3.5/24.
fn planned() -> NetPlan {
    let value = Ipv4Config {
        address: "10.0.3.5".parse().unwrap(),
        prefix: 24,
        broadcast: None,
        implied: false,
    };
    let net = NetConfig {
        kind: Some(NetKind::Veth),
        hwaddr: Some([2, 0, 0, 0, 0, 0xab]),
        ipv4: vec![Sourced { value, origin: Origin::label("there") }],
        ..NetConfig::default()
    };
    let mut config = Config::default();
    config.net.insert(0, net);
    plan(&config, "c1").unwrap()
}

/// What is said of a tree of these files; a text that begins with `->` is a link's.
fn said(files: &[(&str, &str)]) -> Option<String> {
    let temp = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = temp.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text.strip_prefix("->") {
            Some(target) => symlink(target, path).unwrap(),
            None => fs::write(path, text).unwrap(),
        }
    }
    let notes = notes(&planned(), &[Root::open(temp.path()).unwrap()]);
    assert!(notes.len() < 2, "{notes:?}");
    notes.first().map(ToString::to_string)
}

#[track_caller]
fn named(file: &str, files: &[(&str, &str)]) {
    let text = said(files).unwrap_or_else(|| panic!("nothing is said of {files:?}"));
    assert!(text.starts_with("there: lxc.net.0: "), "{text}");
    assert!(text.contains(&format!("/{file} sets up eth0")), "{text}");
}

const INTERFACES: &str = "etc/network/interfaces";

#[test]
fn an_empty_tree_undoes_nothing() {
    assert_eq!(said(&[]), None);
    assert_eq!(said(&[("etc/hostname", "x")]), None);
}

#[test]
fn ifupdown_and_openrc() {
    let dhcp = "auto lo eth0\niface lo inet loopback\niface eth0 inet dhcp\n";
    named(INTERFACES, &[(INTERFACES, dhcp)]);
    let part = "etc/network/interfaces.d/lan";
    named(
        part,
        &[(INTERFACES, "auto eth0\n"), (part, "iface eth0 inet static\naddress 1.2.3.4\n")],
    );
    for fine in [
        "auto eth0\niface eth0 inet manual\n",
        "auto eth0\niface eth0 inet static\n  address 10.0.3.5/24\n",
        "auto eth0\niface eth0 inet6 dhcp\n",
        "auto eth1\niface eth0 inet dhcp\n",
        "auto eth1\niface eth1 inet dhcp\n",
    ] {
        assert_eq!(said(&[(INTERFACES, fine)]), None, "{fine}");
    }
    let other = "auto eth0\niface eth0 inet static\n  address 10.0.3.55/24\n";
    assert!(said(&[(INTERFACES, other)]).is_some());
    // Alpine: only as a service.
    let sshd = ("etc/runlevels/default/sshd", "->/etc/init.d/sshd");
    assert_eq!(said(&[(INTERFACES, dhcp), sshd]), None);
    let networking = ("etc/runlevels/boot/networking", "->/etc/init.d/networking");
    named(INTERFACES, &[(INTERFACES, dhcp), networking]);
}

#[test]
fn systemd_networkd() {
    const ON: (&str, &str) = (
        "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
        "->/usr/lib/systemd/system/systemd-networkd.service",
    );
    const FILE: &str = "etc/systemd/network/20-lan.network";
    let dhcp = |matches: &str| format!("# x\n[Match]\n{matches}\n\n[Network]\nDHCP=yes\n");
    for matches in [
        "Name=eth0",
        "Name=en* eth*",
        "Name=!lo",
        "Type=ether",
        "Kind=veth",
        "MACAddress=02:00:00:00:00:AB",
        "Virtualization=container\nName=eth?",
    ] {
        named(FILE, &[ON, (FILE, &dhcp(matches))]);
        assert_eq!(said(&[(FILE, &dhcp(matches))]), None, "not enabled");
    }
    for matches in ["Name=host0", "Name=!eth0", "Type=wlan", "MACAddress=02:00:00:00:00:ac", ""] {
        assert_eq!(said(&[ON, (FILE, &dhcp(matches))]), None, "{matches}");
    }
    // The first that matches decides.
    let first = |text| ("usr/lib/systemd/network/10-first.network", text);
    let all = dhcp("Name=eth0");
    for fine in [
        "[Match]\nName=eth0\n[Link]\nUnmanaged=yes\n",
        "[Match]\nName=eth0\n[Network]\nKeepConfiguration=static\n",
        "[Match]\nName=eth0\n[Network]\nAddress=10.0.3.5/24\n",
    ] {
        assert_eq!(said(&[ON, (FILE, &all), first(fine)]), None, "{fine}");
    }
    // A file of /etc goes before one of the same name, and a link to /dev/null takes it away.
    let masked = ("etc/systemd/network/10-first.network", "->/dev/null");
    assert_eq!(said(&[ON, first(&all), masked]), None);
}

#[test]
fn the_others() {
    let netplan = "network:\n  ethernets:\n    \"eth0\":\n      dhcp4: true\n";
    named("etc/netplan/10-lxc.yaml", &[("etc/netplan/10-lxc.yaml", netplan)]);
    let matched = "network:\n  ethernets:\n    all:\n      match:\n        name: \"e*\"\n";
    named("etc/netplan/10-lxc.yaml", &[("etc/netplan/10-lxc.yaml", matched)]);
    assert_eq!(said(&[("etc/netplan/10-lxc.yaml", "network:\n  version: 2\n")]), None);

    const NM: (&str, &str) =
        ("etc/systemd/system/multi-user.target.wants/NetworkManager.service", "->/usr/lib/x");
    const PROFILE: &str = "etc/NetworkManager/system-connections/lan.nmconnection";
    let profile = "[connection]\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n";
    named(PROFILE, &[NM, (PROFILE, profile)]);
    assert_eq!(said(&[(PROFILE, profile)]), None);
    assert_eq!(said(&[NM]), None);
    assert_eq!(said(&[NM, (PROFILE, &profile.replace("eth0", "eth1"))]), None);

    const IFCFG: &str = "etc/sysconfig/network-scripts/ifcfg-eth0";
    named(IFCFG, &[(IFCFG, "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=yes\n")]);
    assert_eq!(said(&[(IFCFG, "DEVICE=eth0\nBOOTPROTO=dhcp\nONBOOT=\"no\"\n")]), None);

    const UCI: &str = "etc/config/network";
    let wan = "config interface 'loopback'\n\toption device 'lo'\n\nconfig interface 'wan'\n\
               \toption device 'eth0'\n\toption proto 'dhcp'\n";
    named(UCI, &[(UCI, wan)]);
    named(UCI, &[(UCI, "config device\n\toption name 'br-lan'\n\tlist ports 'eth0'\n")]);
    assert_eq!(said(&[(UCI, &wan.replace("'dhcp'", "'none'"))]), None);
    assert_eq!(said(&[(UCI, &wan.replace("eth0", "eth1"))]), None);

    named("etc/conf.d/net", &[("etc/runlevels/default/net.eth0", "->/etc/init.d/net.lo")]);
    const SCRIPT: &str = "usr/share/udhcpc/default.script";
    let client = ("etc/init.d/rcS", "#!/bin/sh\n/bin/udhcpc\n");
    named(SCRIPT, &[client, (SCRIPT, "ip addr flush dev $interface\n")]);
    assert_eq!(said(&[client, (SCRIPT, "ip -4 addr flush to 10.0.0.0/8 dev x\n")]), None);
}

#[test]
fn the_upper_layer_goes_first() {
    let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dhcp = "auto eth0\niface eth0 inet dhcp\n";
    for (dir, text) in [(&upper, "auto lo\n"), (&lower, dhcp)] {
        fs::create_dir_all(dir.path().join("etc/network")).unwrap();
        fs::write(dir.path().join(INTERFACES), text).unwrap();
    }
    let layers = [Root::open(upper.path()).unwrap(), Root::open(lower.path()).unwrap()];
    assert_eq!(notes(&planned(), &layers), []);
    assert_eq!(notes(&planned(), &layers[1..]).len(), 1);
}

#[test]
fn a_hostile_tree_is_only_passed_over() {
    // Links that leave, that loop, directories where files belong.
    assert_eq!(said(&[(INTERFACES, "->/proc/self/environ"), ("etc/config", "->..")]), None);
    assert_eq!(said(&[(INTERFACES, "->interfaces"), ("etc/netplan", "->/dev")]), None);
    assert_eq!(said(&[("etc/network/interfaces/x", "auto eth0")]), None);
}

#[test]
fn globs() {
    for (pattern, text, is) in [
        ("eth0", "eth0", true),
        ("eth*", "eth0", true),
        ("*0", "eth0", true),
        ("e?h*0*", "eth10", true),
        ("eth", "eth0", false),
        ("eth0?", "eth0", false),
        ("", "eth0", false),
        ("*a*b*c", "xaybzbc", true),
    ] {
        assert_eq!(glob(pattern, text), is, "{pattern} {text}");
    }
}
