//! Any content of the files in a container's root that the plan of a start looks at, to find out
//! which network service sets its interfaces up: at most one remark for each interface, on a file
//! that is there, without a character that steers a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::keys::Options;
use lxcbox::net::{self, NetPlan};
use lxcbox::sys::path::Root;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file each; those without a content are not there.
const FILES: [&str; 13] = [
    "etc/network/interfaces",
    "etc/network/interfaces.d/more",
    "etc/netplan/a.yaml",
    "etc/systemd/network/a.network",
    "lib/systemd/network/b.network",
    "etc/NetworkManager/system-connections/a",
    "etc/sysconfig/network-scripts/ifcfg-eth0",
    "etc/sysconfig/network/ifcfg-eth0",
    "etc/config/network",
    "etc/init.d/rcS",
    "usr/share/udhcpc/default.script",
    "etc/runlevels/default/net.eth0",
    "etc/runlevels/boot/networking",
];
/// These are there always.
const SERVICES: [&str; 2] = [
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
    "etc/systemd/system/multi-user.target.wants/NetworkManager.service",
];
const CONFIG: &str = "lxc.net.0.type = veth\nlxc.net.0.name = eth0\n\
    lxc.net.0.hwaddr = 02:00:00:00:00:ab\nlxc.net.0.ipv4.address = 10.0.3.5/24\n\
    lxc.net.1.type = empty\nlxc.net.2.type = veth\nlxc.net.2.ipv6.address = fd00::5/64\n";
/// Between two files.
const BETWEEN: char = '\x1e';

fn seeds() -> Vec<String> {
    let texts = [
        "auto eth0\niface eth0 inet dhcp\n",
        "allow-hotplug et*\niface eth0 inet6 static\n",
        "network:\n  ethernets:\n    eth0:\n      dhcp4: true\n",
        "[Match]\nName=e* !x\nType=ether\nMACAddress=02:00:00:00:00:AB\n[Network]\nDHCP=yes\n",
        "[Match]\nKind=veth\n[Network]\nKeepConfiguration=static\n",
        "[connection]\ntype=802-3-ethernet\ninterface-name=eth0\n",
        "ONBOOT=\"yes\"\n",
        "STARTMODE='auto'\n",
        "config interface lan\n\toption device 'eth0'\n\toption proto 'dhcp'\n",
        "udhcpc -i eth0\n",
        "ip addr flush dev eth0\n",
    ];
    let alone = (0..texts.len()).map(|n| BETWEEN.to_string().repeat(n) + texts[n]);
    alone.chain([texts.join(&BETWEEN.to_string())]).collect()
}

fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = lxcbox_fuzz::scratch().join("root");
        for file in FILES.iter().chain(&SERVICES).map(|file| root.join(file)) {
            std::fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        }
        for file in SERVICES {
            std::fs::write(root.join(file), "").expect("a file");
        }
        root
    })
}

fn plan() -> NetPlan {
    let options = Options { random: || Ok([0; 17]), env: |_| None };
    let loaded = lxcbox::config::document::parse(CONFIG.into(), Path::new("fuzz"), &options);
    net::plan(&loaded.expect("it is one").config, "c1").expect("it can be had")
}

fuzz_target!(init: lxcbox_fuzz::seed(seeds()), |text: &str| {
    let mut parts = text.split(BETWEEN);
    for file in FILES {
        let file = root().join(file);
        match parts.next().filter(|part| !part.is_empty()) {
            Some(part) => std::fs::write(file, part).expect("a file"),
            None => drop(std::fs::remove_file(file)),
        }
    }
    let notes = net::guest::notes(&plan(), &[Root::open(root()).expect("it is there")]);
    assert!(notes.len() <= 2, "one for each with addresses");
    for note in notes {
        assert!(matches!(note.index, 0 | 2));
        assert!(note.text.chars().all(|c| !c.is_control()), "{:?}", note.text);
        let named = FILES.iter().any(|file| note.text.contains(&format!("/{file} ")));
        assert!(named || note.text.contains("/etc/conf.d/net "), "{:?}", note.text);
    }
});
