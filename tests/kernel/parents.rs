//! Interfaces of kinds that many kernels lack: VLANs of a trunk, ipvlan, dummies. Where the kernel
//! has not got them, these tests run in the emulated machine of `make vm`.

use crate::machine::{Machine, eventually};

/// True if the kernel makes such a link. In the emulated machine every kernel feature is there.
pub fn kernel_has(m: &Machine, link: &str) -> bool {
    let made = m.sh(&format!("ip link add probe0 {link} && ip link del probe0"));
    if made.status != 0 {
        assert!(std::env::var_os("LXCBOX_TEST_VM").is_none(), "{link}: {}", made.stderr);
        println!("skipped: this kernel has no {link}; `make vm` runs it on one that has");
    }
    made.status == 0
}

/// A wire from `trunk` to `far` in the namespace `world`.
const TRUNK: &str = "ip netns add world && \
    ip link add trunk type veth peer name far netns world && \
    ip link set trunk up && ip netns exec world ip link set far up";

/// A machine with that wire.
fn with_trunk() -> Machine {
    let m = Machine::new();
    m.sh(TRUNK).ok();
    m
}

/// Counts what comes in at the far end of a wire, by VLAN.
pub fn count_frames(m: &Machine, far: &str, vlans: &[u16]) {
    let mut rules = String::new();
    for id in vlans {
        rules.push_str(&format!("add rule netdev seen come vlan id {id} counter accept\n"));
    }
    m.sh(&format!(
        "ip netns exec world nft -f - <<END\nadd table netdev seen\n\
         add chain netdev seen come {{ type filter hook ingress device {far} priority 0; }}\n\
         {rules}add rule netdev seen come ether type arp counter\nEND\n"
    ))
    .ok();
}

/// How many frames of the VLAN have come since.
pub fn frames(m: &Machine, vlan: &str) -> u64 {
    let text = m.sh("ip netns exec world nft list table netdev seen").ok();
    let line = text.lines().find(|line| line.contains(vlan));
    let count = line.and_then(|l| l.split("packets ").nth(1)?.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no counter of {vlan}: {text}"))
}

fn vlan(id: u16, host: u8) -> String {
    format!(
        "lxc.net.0.type = vlan\nlxc.net.0.link = trunk\nlxc.net.0.vlan.id = {id}\n\
         lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.{id}.0.{host}/24\n"
    )
}

#[test]
fn frames_of_a_vlan_are_tagged_on_the_trunk() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type vlan id 9") {
        return;
    }
    count_frames(&m, "far", &[10, 20]);
    let (ten, twenty) = (m.container("ten", &vlan(10, 2)), m.container("twenty", &vlan(20, 2)));
    m.start(&ten);
    m.inside(&ten, "ping -c 1 -W 1 10.10.0.1").fails(1);
    assert!(frames(&m, "vlan id 10") > 0);
    // The other is there only after its own start.
    assert_eq!(frames(&m, "vlan id 20"), 0);
    m.start(&twenty);
    for id in [10, 20] {
        m.sh(&format!(
            "ip netns exec world sh -c 'ip link add link far name far.{id} type vlan id {id} && \
             ip addr add 10.{id}.0.1/24 dev far.{id} && ip link set far.{id} up'"
        ))
        .ok();
    }
    m.inside(&ten, "ping -c 1 -W 2 10.10.0.1").ok();
    m.inside(&twenty, "ping -c 1 -W 2 10.20.0.1").ok();
    assert!(frames(&m, "vlan id 20") > 0);
    assert_eq!(frames(&m, "ether type arp"), 0, "frames without a tag");
    // Each sees only its own; the host has neither of them.
    let inside = m.inside(&twenty, "ip -o addr").ok();
    assert!(inside.contains("10.20.0.2/24") && !inside.contains("10.10.0."), "{inside}");
    let host = m.sh("ip -o link").ok();
    assert!(host.contains("trunk") && host.lines().count() == 2, "{host}");
}

#[test]
fn a_vlan_in_use_is_told_with_its_line() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type vlan id 9") {
        return;
    }
    m.sh("ip link add link trunk name trunk.10 type vlan id 10").ok();
    let c = m.container("used", &vlan(10, 2));
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("VLAN 10 of \"trunk\" is in use"), "{said}");
    assert!(said.contains("lxc.net.0") && said.contains("config:7"), "{said}");
    // Another container that has it is told in the same way; it gets it after the first's end.
    m.sh("ip link del trunk.10").ok();
    m.start(&c);
    let second = m.container("second", &vlan(10, 3));
    let said = m.lxc("start", &["-n", &second]).fails(1);
    assert!(said.contains("VLAN 10 of \"trunk\" is in use"), "{said}");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    m.start(&second);
    // Only the kernel can remove that of a killed monitor, in its own time.
    m.sh(&format!("kill -9 {}", m.monitor_pid(&second).expect("a monitor"))).ok();
    eventually(10, "the VLAN to be free", || {
        (m.lxc("start", &["-n", &second]).status == 0).then_some(())
    });
}

#[test]
fn a_trunk_that_is_down_or_too_narrow_is_told() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type vlan id 9") {
        return;
    }
    let wide = m.container("wide", &format!("{}lxc.net.0.mtu = 9000\n", vlan(10, 2)));
    let said = m.lxc("start", &["-n", &wide]).fails(1);
    assert!(said.contains("9000 is larger than the 1500 of \"trunk\""), "{said}");
    m.sh("ip link set trunk down").ok();
    let c = m.container("down", &vlan(10, 2));
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("\"trunk\" is down") && said.contains("config:6"), "{said}");
}

/// Two containers on one parent, in this mode and isolation; their names.
fn ipvlans(m: &Machine, mode: &str, isolation: &str) -> [String; 2] {
    [2, 3].map(|host| {
        let c = m.container(
            &format!("{mode}-{isolation}-{host}"),
            &format!(
                "lxc.net.0.type = ipvlan\nlxc.net.0.link = trunk\nlxc.net.0.flags = up\n\
                 lxc.net.0.ipvlan.mode = {mode}\nlxc.net.0.ipvlan.isolation = {isolation}\n\
                 lxc.net.0.ipv4.address = 10.7.0.{host}/24\nlxc.net.0.ipv6.address = fd07::{host}/64\n"
            ),
        );
        m.start(&c);
        c
    })
}

/// Each mode with each isolation: what the kernel says of the device, and who reaches whom.
#[test]
fn ipvlan_has_its_modes_and_isolations() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type ipvlan mode l2") {
        return;
    }
    m.sh("ip netns exec world ip addr add 10.7.0.1/24 dev far").ok();
    let mac = m.sh("cat /sys/class/net/trunk/address").ok();
    for mode in ["l2", "l3", "l3s"] {
        for isolation in ["bridge", "private", "vepa"] {
            let [first, second] = ipvlans(&m, mode, isolation);
            let details = format!("nsenter -t {} -n ip -d link show eth0", m.init_pid(&first));
            let device = m.sh(&details).ok();
            let wanted = format!("ipvlan  mode {mode} {isolation}");
            assert!(device.contains(&wanted), "no {wanted:?} in {device}");
            assert!(device.contains(mac.trim()), "the parent's address {mac} is not in {device}");
            let ping = m.inside(&first, "ping -c 1 -W 1 10.7.0.3");
            let reached = u8::from(ping.status == 0);
            assert_eq!(reached, u8::from(isolation == "bridge"), "{mode} {isolation}: {ping:?}");
            if mode == "l2" {
                m.inside(&first, "ping -c 1 -W 2 10.7.0.1").ok();
            }
            for name in [first, second] {
                m.lxc("stop", &["-n", &name, "-k"]).ok();
            }
            assert_eq!(m.settle(), Vec::<String>::new());
        }
    }
}

#[test]
fn ipvlan_and_macvlan_exclude_each_other_on_a_parent() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type ipvlan mode l2") {
        return;
    }
    m.sh("ip link add mv0 link trunk type macvlan").ok();
    let c = m.container("busy", "lxc.net.0.type = ipvlan\nlxc.net.0.link = trunk\n");
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("\"trunk\"") && said.contains("config:6"), "{said}");
    assert!(said.contains("macvlan and ipvlan exclude each other"), "{said}");
}

#[test]
fn a_dummy_goes_in_and_comes_back() {
    let m = Machine::new();
    if !kernel_has(&m, "type dummy") {
        return;
    }
    m.sh("ip link add nic type dummy && ip link set nic mtu 1300 address 02:00:00:11:22:33").ok();
    let c = m.container(
        "dummy",
        "lxc.net.0.type = phys\nlxc.net.0.link = nic\nlxc.net.0.name = lan0\n\
         lxc.net.0.flags = up\nlxc.net.0.mtu = 1200\nlxc.net.0.ipv4.address = 10.7.0.2/24\n",
    );
    let home = || {
        eventually(10, "the device to come home", || {
            let shown = m.sh("ip link show nic 2>&1; true").ok();
            (shown.contains("mtu 1300") && shown.contains("02:00:00:11:22:33")).then_some(())
        });
    };
    // The last start takes over the cgroups that a killed monitor has left.
    for how in ["stop", "monitor", "stop"] {
        m.start(&c);
        let inside = m.inside(&c, "ip addr show lan0").ok();
        assert!(inside.contains("10.7.0.2/24") && inside.contains("mtu 1200"), "{inside}");
        m.sh("ip link show nic").fails(1);
        if how == "stop" {
            m.lxc("stop", &["-n", &c, "-k"]).ok();
        } else {
            m.sh(&format!("kill -9 {}", m.monitor_pid(&c).expect("a monitor"))).ok();
        }
        home();
    }
}

/// A port of a bridge: a container with one address.
fn port(bridge: &str, address: &str, more: &str) -> String {
    format!(
        "lxc.net.0.type = veth\nlxc.net.0.link = {bridge}\nlxc.net.0.flags = up\n\
         lxc.net.0.ipv4.address = {address}/24\n{more}"
    )
}

#[test]
fn two_containers_share_a_vlan_by_way_of_a_bridge() {
    let m = with_trunk();
    if !kernel_has(&m, "link trunk type vlan id 9") {
        return;
    }
    m.sh(
        "ip link add link trunk name trunk.30 type vlan id 30 && ip link add br30 type bridge && \
          ip link set trunk.30 master br30 up && ip link set br30 up && \
          ip netns exec world sh -c 'ip link add link far name far.30 type vlan id 30 && \
          ip addr add 10.30.0.1/24 dev far.30 && ip link set far.30 up'",
    )
    .ok();
    count_frames(&m, "far", &[30]);
    let [first, second] = [2, 3].map(|n| {
        let c = m.container(&format!("shared{n}"), &port("br30", &format!("10.30.0.{n}"), ""));
        m.start(&c);
        c
    });
    m.inside(&first, "ping -c 1 -W 2 10.30.0.3").ok();
    m.inside(&second, "ping -c 1 -W 2 10.30.0.1").ok();
    assert!(frames(&m, "vlan id 30") > 0);
    assert_eq!(frames(&m, "ether type arp"), 0, "frames without a tag");
}

#[test]
fn ports_of_a_bridge_are_in_the_vlans_of_their_configuration() {
    let m = Machine::new();
    if !kernel_has(&m, "type bridge vlan_filtering 1") {
        return;
    }
    m.sh("ip link add br1 type bridge vlan_filtering 1 && ip link set br1 up").ok();
    let [first, second, other] = [(1, 10), (2, 10), (3, 20)].map(|(n, id)| {
        let more = format!(
            "lxc.net.0.veth.vlan.id = {id}\nlxc.net.0.veth.vlan.tagged.id = 3{n}\n\
             lxc.net.0.veth.pair = port{n}\n"
        );
        let c = m.container(&format!("port{n}"), &port("br1", &format!("10.10.0.{n}"), &more));
        m.start(&c);
        c
    });
    m.inside(&first, "ping -c 1 -W 2 10.10.0.2").ok();
    m.inside(&second, "ping -c 1 -W 2 10.10.0.1").ok();
    m.inside(&first, "ping -c 1 -W 1 10.10.0.3").fails(1);
    m.inside(&other, "ping -c 1 -W 1 10.10.0.2").fails(1);
    let shown = m.sh("bridge vlan show dev port1").ok();
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words.windows(3).any(|w| w == ["10", "PVID", "Egress"]), "{shown}");
    assert!(words.contains(&"31") && !words.contains(&"1"), "{shown}");
}
