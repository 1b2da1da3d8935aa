//! What a start says of interfaces before it makes any: mistakes, doubts, what is taken or full, and
//! what the kernel lacks.

use super::net::{VETH, host_links, with_bridge};
use crate::machine::{Machine, eventually};
use std::fs;

#[test]
fn names_and_addresses_that_are_taken_are_named() {
    let m = with_bridge();
    m.sh("ip link add taken type bridge").ok();
    let c = m.container("taken", &format!("{VETH}lxc.net.0.veth.pair = taken\n"));
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("\"taken\"") && said.contains("config:8"), "{said}");

    let mac = "lxc.net.0.hwaddr = 02:00:00:0a:0b:0e\n";
    let first = m.container(
        "first",
        &format!(
            "{VETH}{mac}lxc.net.0.veth.pair = v-first\nlxc.net.0.ipv4.address = 10.9.8.8/24\n"
        ),
    );
    m.start(&first);
    m.sh("ping -c 1 -W 2 10.9.8.8").ok();
    let second = m.container("second", &format!("{VETH}{mac}"));
    let said = m.lxc("start", &["-n", &second]).fails(1);
    assert!(said.contains("v-first") && said.contains("config:8"), "{said}");
}

#[test]
fn a_full_bridge_says_so() {
    let m = with_bridge();
    // 1023 ports, from both ends of 512 pairs; the last does not fit any more.
    m.sh("for i in $(seq 512); do echo link add p$i type veth peer name q$i; \
          echo link set p$i master br0; echo link set q$i master br0; done | \
          ip -force -batch - 2>/dev/null; true")
        .ok();
    assert_eq!(m.sh("ip -o link show master br0 | wc -l").ok().trim(), "1023");
    let c = m.container("full", VETH);
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("1023 ports") && said.contains("config:6"), "{said}");
    assert!(said.contains("hint: "), "{said}");
}

#[test]
fn types_that_the_kernel_lacks_are_told_with_their_module() {
    let m = with_bridge();
    if m.sh("ip link add link br0 name probe type vlan id 5").status == 0 {
        return; // It has them; the VM's suite covers these.
    }
    let c =
        m.container("vlan", "lxc.net.0.type = vlan\nlxc.net.0.link = br0\nlxc.net.0.vlan.id = 5\n");
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("config:5") && said.contains("8021q"), "{said}");
}

/// Mistakes that cost people hours: each is told with the interface and the line, before anything
/// is made.
#[test]
fn mistakes_are_told_with_interface_and_line() {
    let m = with_bridge();
    m.sh("ip link add nic type veth peer name wire && ip link set nic up && ip link set wire up && \
          ip link add dead type veth peer name end && ip link add mine type veth peer name yours && \
          ip link set yours address 02:00:00:00:00:99 master br0 up && ip link set mine up && \
          ip link set mine address 02:00:00:00:00:98 && \
          ip link add beside link nic type macvlan mode bridge && ping -c 1 -W 1 10.9.8.9; true")
        .ok();
    let veth = "type = veth\nlink = br0\nflags = up\n";
    let macvlan = |link: &str| format!("type = macvlan\nlink = {link}\nflags = up\n");
    let before = host_links(&m);
    let cases = [
        // (lines of lxc.net.3, the line to blame after the three of every container, what is said)
        (macvlan("nope"), 2, "\"nope\" does not exist"),
        (macvlan("lo"), 2, "\"lo\" cannot be the parent"),
        (macvlan("dead"), 2, "\"dead\" is down"),
        (macvlan("yours"), 2, "\"yours\" is in use in a way that excludes type macvlan"),
        (format!("{}macvlan.mode = passthru\n", macvlan("nic")), 2, "excludes type macvlan"),
        ("type = ipvlan\nlink = nic\nflags = up\n".into(), 2, "excludes type ipvlan"),
        ("type = veth\nlink = nope\n".into(), 2, "bridge \"nope\" does not exist"),
        ("type = veth\nlink = nic\n".into(), 2, "\"nic\" is a veth device, not a bridge"),
        ("type = phys\nlink = nope\n".into(), 2, "no device \"nope\" is on the host"),
        ("type = phys\nlink = lo\n".into(), 1, "it is the loopback's"),
        (format!("{veth}veth.pair = nic\n"), 4, "\"nic\" is taken"),
        (format!("{}hwaddr = 02:00:00:00:00:98\n", macvlan("mine")), 4, "is taken by \"mine\""),
        (format!("{veth}hwaddr = 01:00:00:00:00:01\n"), 4, "hardware address"),
        (format!("{veth}ipv4.address = 10.9.8.0/24\n"), 4, "10.9.8.0/24 is the network address"),
        (format!("{veth}ipv4.address = 10.9.8.255/24\n"), 4, "is the broadcast address"),
        (format!("{veth}ipv4.address = 10.9.8.5/33\n"), 4, "33"),
        (format!("{veth}ipv4.address = 10.9.8\n"), 4, "an IPv4 address"),
        (format!("{veth}veth.ipv4.route = 10.9.7.5/24\n"), 4, "10.9.7.0/24"),
        (format!("{veth}veth.ipv6.route = fd00:8::5/64\n"), 4, "fd00:8::/64"),
        (format!("{veth}ipv4.gateway = 10.9.8.1\n"), 4, "gateway needs an IPv4 address"),
        (
            format!("{veth}ipv4.address = 10.9.8.5/24\nipv4.gateway = 10.9.8.5\n"),
            5,
            "is the container's own address",
        ),
        (
            "type = veth\nlink = br0\nipv4.address = 10.9.8.5/24\nipv4.gateway = 10.9.8.1\n".into(),
            4,
            "flags = up",
        ),
        (format!("{veth}veth.ipv4.route = 10.9.7.0\n"), 4, "ADDRESS/PREFIX"),
        (format!("{veth}veth.vlan.id = 10\n"), 2, "\"br0\" has no VLAN filtering"),
        (format!("{veth}mtu = 40\n"), 4, "68"),
        (format!("{}mtu = 9000\n", macvlan("nic")), 4, "larger than the 1500 of \"nic\""),
        (format!("{veth}macvlan.mode = bridge\n"), 4, "needs 'lxc.net.3.type = macvlan'"),
        ("type = vlan\nlink = nic\nvlan.id = 4095\n".into(), 3, "4095"),
        ("type = vlan\nlink = nic\n".into(), 1, "vlan.id is missing"),
    ];
    let mut wrong = Vec::new();
    for (n, (lines, line, part)) in cases.into_iter().enumerate() {
        let lines: String = lines.lines().map(|line| format!("lxc.net.3.{line}\n")).collect();
        let c = m.container(&format!("mistake{n}"), &lines);
        let said = m.lxc("start", &["-n", &c]).fails(1);
        // Four lines are there before them.
        let place = format!("config:{}", 4 + line);
        if ![part, "lxc.net.3", &place].iter().all(|p| said.contains(p)) {
            wrong.push(format!("no {part:?} at {place}:\n{lines}{said}"));
        }
        assert_eq!(host_links(&m), before, "{lines}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is no mistake for certain is said, and done.
#[test]
fn doubts_are_told_with_interface_and_line() {
    let m = with_bridge();
    let c = m.container(
        "doubts",
        &format!(
            "{VETH}lxc.net.0.ipv4.address = 10.9.8.5\nlxc.net.0.ipv6.address = fd00:9::5\n\
             lxc.net.0.ipv4.gateway = 192.168.77.1\n"
        ),
    );
    let etc = m.lxcpath().join(&c).join("rootfs/etc/network");
    fs::create_dir_all(&etc).unwrap();
    fs::write(etc.join("interfaces"), "auto eth0\niface eth0 inet dhcp\n").unwrap();
    let plan = m.lxc("start", &["-n", &c, "--dry-run"]).ok();
    assert!(plan.contains("becomes 10.9.8.5/8"), "{plan}");
    let started = m.lxc("start", &["-n", &c]);
    let said = started.stderr.clone();
    started.ok();
    for part in [
        "config:8: lxc.net.0: the address 10.9.8.5 has no prefix length and becomes 10.9.8.5/8",
        "config:9: lxc.net.0: the address fd00:9::5 has no prefix length and becomes fd00:9::5/64",
        "config:10: lxc.net.0: the gateway 192.168.77.1 is in none of the interface's networks",
        "config:8: lxc.net.0: the container's own /etc/network/interfaces sets up eth0 too",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let shown = m.inside(&c, "ip addr show eth0").ok();
    assert!(shown.contains("10.9.8.5/8") && shown.contains("fd00:9::5/64"), "{shown}");
}

/// A bridge takes 1023 ports. The next start says so in its plan, and what to do does it.
#[test]
fn a_full_bridge_is_told_and_other_ways_are_open() {
    let m = Machine::new();
    m.sh("ip link add full type bridge && ip addr add 10.5.0.1/16 dev full && ip link set full up && \
          ip link add second type bridge && ip link set second up || exit
          sysctl -qw net.ipv4.ip_forward=1
          for n in $(seq 1023); do echo link add p$n type veth peer name q$n; done >/run/batch
          for n in $(seq 1023); do echo link set p$n master full; done >>/run/batch
          ip -batch /run/batch; ip link set p2 up; ip link set q2 up")
        .ok();
    let veth = |link: &str| format!("lxc.net.0.type = veth\nlxc.net.0.link = {link}\n");
    let c = m.container("full", &veth("full"));
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(
        said.contains("planning the start") && said.contains("bridge \"full\" is full"),
        "{said}"
    );
    assert!(said.contains("lxc.net.0") && said.contains("config:6"), "{said}");
    assert!(said.contains("hint: use a second bridge, veth.mode = router or macvlan"), "{said}");
    let up = "lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.6.0.";
    let router = format!("{}lxc.net.0.veth.mode = router\n{up}2/32\n", veth("full"));
    let macvlan = format!(
        "lxc.net.0.type = macvlan\nlxc.net.0.macvlan.mode = bridge\nlxc.net.0.link = full\n{up}"
    );
    let others = [
        m.container("second", &veth("second")),
        m.container("router", &format!("{router}lxc.net.0.ipv4.gateway = dev\n")),
        m.container("mac1", &format!("{macvlan}3/24\n")),
        m.container("mac2", &format!("{macvlan}4/24\n")),
    ];
    for name in &others {
        m.start(name);
    }
    m.sh("ping -c 1 -W 2 10.6.0.2").ok();
    eventually(10, "the other macvlan to answer", || {
        (m.inside(&others[2], "ping -c 1 -W 1 10.6.0.4").status == 0).then_some(())
    });
    // One port less, and it starts; a stop makes room for the next.
    m.sh("ip link set p1 nomaster").ok();
    let next = m.container("next", &veth("full"));
    for name in [&c, &next, &c] {
        m.start(name);
        m.lxc("stop", &["-n", name, "-k"]).ok();
    }
    // The kernel has the last word, and a start that fails there leaves nothing.
    eventually(10, "the last stop's port to go", || {
        (m.sh("ip link set p1 master full").status == 0).then_some(())
    });
    m.sh("mount -t tmpfs none /sys/class/net").ok();
    let before = m.sh("ip -br link | wc -l").ok();
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("bridge \"full\" is full"), "{said}");
    assert_eq!(m.sh("ip -br link | wc -l").ok(), before);
}
