//! Interfaces of every type that this kernel has, their addresses and routes, scripts, and their
//! way home. Each test makes its bridges and devices in its own machine.

use crate::machine::{Machine, eventually};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A bridge `br0` with addresses of both families.
const BRIDGE: &str = "ip link add br0 type bridge && ip addr add 10.9.8.1/24 dev br0 && \
                      ip addr add fd00:9::1/64 dev br0 nodad && ip link set br0 up";

pub(super) const VETH: &str = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n";

/// A machine with that bridge.
pub(super) fn with_bridge() -> Machine {
    let m = Machine::new();
    m.sh(BRIDGE).ok();
    m
}

/// The interfaces inside, one line each as busybox's ip prints them.
fn links(m: &Machine, container: &str) -> String {
    m.inside(container, "ip -o link").ok()
}

/// A program for script.up and script.down that writes what it is told to a file.
fn recorder(m: &Machine) -> (PathBuf, PathBuf) {
    let (script, record) = (m.dir.join("recorder"), m.dir.join("record"));
    let text = format!(
        "#!/bin/sh\n{{ echo \"args: $*\"; env | grep ^LXC_ | sort; echo end; }} >> {}\n",
        record.display()
    );
    fs::write(&script, text).expect("test directory");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("test directory");
    (script, record)
}

/// Names of the links of the machine.
pub(super) fn host_links(m: &Machine) -> String {
    // Without the state of operation, which the kernel brings up to date when it has time.
    m.sh("ip -br link | awk '{ $2 = \"\"; print }'").ok()
}

#[test]
fn without_lxc_net_there_is_a_loopback_that_is_down() {
    let m = Machine::new();
    let c = m.container("bare", "");
    m.start(&c);
    let links = links(&m, &c);
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && !links.contains("UP"), "{links}");
}

#[test]
fn empty_has_a_loopback_that_is_up() {
    let m = Machine::new();
    let c = m.container("empty", "lxc.net.0.type = empty\nlxc.net.0.flags = up\n");
    m.start(&c);
    let links = links(&m, &c);
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && links.contains("UP"), "{links}");
}

#[test]
fn none_sees_the_machines_network() {
    let m = with_bridge();
    let c = m.container("none", "lxc.net.0.type = none\n");
    m.start(&c);
    assert!(m.inside(&c, "ip -o -4 addr").ok().contains("10.9.8.1"));
    let mixed = m.container("mixed", "lxc.net.0.type = none\nlxc.net.1.type = empty\n");
    let said = m.lxc("start", &["-n", &mixed]).fails(1);
    assert!(said.contains("config:5") && said.contains("none"), "{said}");
}

#[test]
fn veth_is_complete_when_init_starts() {
    let m = with_bridge();
    let c = m.container(
        "veth",
        &format!(
            "{VETH}lxc.net.0.name = lan0\nlxc.net.0.hwaddr = 02:00:00:0a:0b:0c\n\
             lxc.net.0.mtu = 1400\nlxc.net.0.veth.pair = hostend\n\
             lxc.net.0.ipv4.address = 10.9.8.5/24\nlxc.net.0.ipv4.gateway = auto\n\
             lxc.net.0.ipv6.address = fd00:9::5/64\nlxc.net.0.ipv6.gateway = fd00:9::1\n"
        ),
    );
    m.start(&c);
    let addresses = m.inside(&c, "ip addr show lan0").ok();
    for part in
        ["UP", "mtu 1400", "02:00:00:0a:0b:0c", "10.9.8.5/24 brd 10.9.8.255", "fd00:9::5/64"]
    {
        assert!(addresses.contains(part), "no {part} in {addresses}");
    }
    assert!(m.inside(&c, "ip route").ok().contains("default via 10.9.8.1 dev lan0"));
    assert!(m.inside(&c, "ip -6 route").ok().contains("default via fd00:9::1 dev lan0"));
    m.inside(&c, "ping -c 1 -W 2 10.9.8.1").ok();
    m.sh("ping -c 1 -W 2 10.9.8.5").ok();
    let host = m.sh("ip -d link show hostend").ok();
    for part in ["master br0", "link/ether fe:", "mtu 1400", "UP"] {
        assert!(host.contains(part), "no {part} in {host}");
    }
    assert_eq!(m.sh("ip -6 -o address show dev hostend").ok(), "");
    assert!(m.lxc("info", &["-n", &c, "-i", "-H"]).ok().contains("10.9.8.5"));
    assert!(m.lxc("info", &["-n", &c]).ok().contains("hostend"));
    let shown = m.lxc("ls", &["-f"]).ok();
    assert!(shown.contains("10.9.8.5") && shown.contains("fd00:9::5"), "{shown}");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    eventually(5, "the host's end to go", || (!host_links(&m).contains("hostend")).then_some(()));
}

#[test]
fn a_fixed_host_name_can_be_used_again_at_once() {
    let m = with_bridge();
    let mac = "lxc.net.0.hwaddr = 02:00:00:0a:0b:0d\n";
    let c = m.container("again", &format!("{VETH}{mac}lxc.net.0.veth.pair = again0\n"));
    for _ in 0..5 {
        m.start(&c);
        m.lxc("stop", &["-n", &c, "-k"]).ok();
    }
}

#[test]
fn several_interfaces_in_the_old_and_the_new_spelling() {
    let m = with_bridge();
    let c = m.container(
        "several",
        &format!(
            "{VETH}lxc.net.3.type = veth\nlxc.net.3.name = eth0\nlxc.net.5.type = empty\n\
             lxc.net.7.type = veth\nlxc.net.7.name = wan%d\nlxc.net.7.flags = up\n"
        ),
    );
    m.start(&c);
    let text = links(&m, &c);
    // The given name comes first, so that the unnamed one is the next.
    let line = |name: &str| {
        text.lines().find(|l| l.contains(&format!(": {name}@"))).unwrap_or_default().to_owned()
    };
    assert!(line("eth1").contains("UP"), "{text}");
    assert!(!line("eth0").is_empty() && !line("eth0").contains("UP"), "{text}");
    assert!(line("wan0").contains("UP"), "{text}");
    let old = m.container(
        "old",
        "lxc.network.type = veth\nlxc.network.link = br0\nlxc.network.flags = up\n\
         lxc.network.ipv4 = 10.9.8.6/24 10.9.8.255\nlxc.network.ipv4.gateway = 10.9.8.1\n\
         lxc.network.type = veth\nlxc.network.name = second\n",
    );
    m.start(&old);
    let text = m.inside(&old, "ip addr").ok();
    assert!(text.contains("10.9.8.6/24") && text.contains("second"), "{text}");
}

#[test]
fn a_gateway_outside_the_network_gets_a_host_route() {
    let m = with_bridge();
    let c = m.container(
        "offlink",
        &format!("{VETH}lxc.net.0.ipv4.address = 10.9.8.5/32\nlxc.net.0.ipv4.gateway = 10.9.8.1\n"),
    );
    m.start(&c);
    let routes = m.inside(&c, "ip route").ok();
    assert!(routes.contains("default via 10.9.8.1"), "{routes}");
    assert!(routes.contains("10.9.8.1 dev eth0 scope link"), "{routes}");
    m.inside(&c, "ping -c 1 -W 2 10.9.8.1").ok();
    let device = m.container(
        "device",
        &format!("{VETH}lxc.net.0.ipv4.address = 10.9.8.6/32\nlxc.net.0.ipv4.gateway = dev\n"),
    );
    m.start(&device);
    assert!(m.inside(&device, "ip route").ok().contains("default dev eth0"));
}

#[test]
fn a_mapped_root_has_its_network_too() {
    let m = with_bridge();
    let c = m.container(
        "mapped",
        &format!(
            "{VETH}lxc.net.0.ipv4.address = 10.9.8.7/24\nlxc.idmap = u 0 100000 65536\n\
             lxc.idmap = g 0 100000 65536\nlxc.mount.auto = proc:mixed sys:ro\n"
        ),
    );
    let root = m.lxcpath().join(&c).join("rootfs");
    m.sh(&format!(
        "chown -R 100000:100000 '{}' && chmod 755 '{}'",
        root.display(),
        m.dir.display()
    ))
    .ok();
    m.start(&c);
    m.sh("ping -c 1 -W 2 10.9.8.7").ok();
}

#[test]
fn scripts_are_told_by_arguments_and_environment() {
    let m = with_bridge();
    let (script, record) = recorder(&m);
    let scripts = |n: u32| {
        let path = script.display();
        format!("lxc.net.{n}.script.up = {path} extra\nlxc.net.{n}.script.down = {path}\n")
    };
    let nets = format!(
        "{VETH}lxc.net.0.veth.pair = scripted\n{}lxc.net.1.type = empty\n{}",
        scripts(0),
        scripts(1)
    );
    let c = m.container("script0", &nets);
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let text = fs::read_to_string(&record).unwrap();
    let args: Vec<_> = text.lines().filter(|l| l.starts_with("args: ")).collect();
    assert_eq!(
        args,
        [
            format!("args: extra {c} net up veth br0 scripted"),
            format!("args: extra {c} net up empty"),
            format!("args: {c} net down veth br0 scripted"),
            format!("args: {c} net down empty"),
        ]
    );
    assert!(text.contains(&format!("LXC_NAME={c}")) && !text.contains("LXC_NET_TYPE"), "{text}");

    fs::remove_file(&record).unwrap();
    let c = m.container("script1", &format!("lxc.hook.version = 1\n{nets}"));
    m.start(&c);
    let text = fs::read_to_string(&record).unwrap();
    let first = text.split("end\n").next().unwrap();
    for part in [
        "args: extra veth br0 scripted\n",
        "LXC_HOOK_TYPE=up\n",
        "LXC_HOOK_SECTION=net\n",
        "LXC_NET_TYPE=veth\n",
        "LXC_NET_PARENT=br0\n",
        "LXC_NET_PEER=scripted\n",
        &format!("LXC_PID={}\n", m.init_pid(&c)),
    ] {
        assert!(first.contains(part), "no {part:?} in {first}");
    }
}

#[test]
fn a_failing_script_up_stops_the_start_and_leaves_nothing() {
    let m = with_bridge();
    let c = m.container(
        "badscript",
        &format!("{VETH}lxc.net.0.script.up = sh -c 'echo no such luck; exit 7'\n"),
    );
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("status 7: no such luck") && said.contains("config:8"), "{said}");
    eventually(5, "the pair to go", || (!host_links(&m).contains("veth")).then_some(()));
}

#[test]
fn macvlans_of_one_parent() {
    let m = Machine::new();
    m.sh("ip link add parent type veth peer name wire && ip link set parent up && \
          ip link set wire up && ip addr add 10.7.0.1/24 dev parent")
        .ok();
    let define = |name: &str, host: u8, mode: &str| {
        m.container(
            name,
            &format!(
                "lxc.net.0.type = macvlan\nlxc.net.0.link = parent\nlxc.net.0.flags = up\n\
                 lxc.net.0.macvlan.mode = {mode}\nlxc.net.0.ipv4.address = 10.7.0.{host}/24\n"
            ),
        )
    };
    let (a, b) = (define("mv-a", 2, "bridge"), define("mv-b", 3, "bridge"));
    m.start(&a);
    m.start(&b);
    m.inside(&a, "ping -c 1 -W 2 10.7.0.3").ok();
    // Never the host itself, and in private mode not each other.
    m.inside(&a, "ping -c 1 -W 1 10.7.0.1").fails(1);
    let lone = define("mv-c", 4, "private");
    m.start(&lone);
    m.inside(&lone, "ping -c 1 -W 1 10.7.0.2").fails(1);
    let links = host_links(&m);
    assert_eq!(links.lines().count(), 3, "nothing of them is on the host: {links}");
    m.sh("ip link set parent down").ok();
    m.lxc("stop", &["-n", &lone, "-k"]).ok();
    let said = m.lxc("start", &["-n", &lone]).fails(1);
    assert!(said.contains("\"parent\" is down") && said.contains("config:6"), "{said}");
}

/// A device `nic` whose other end is in the bridge, as an Ethernet card is at a switch.
const NIC: &str = "ip link add nic type veth peer name port && ip link set port master br0 up && \
                   ip link set nic mtu 1300 address 02:00:00:11:22:33";

const PHYS: &str = "lxc.net.0.type = phys\nlxc.net.0.link = nic\nlxc.net.0.name = eth0\n\
                    lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.9.8.9/24\n\
                    lxc.net.0.hwaddr = 02:00:00:99:99:99\nlxc.net.0.mtu = 1200\n";

/// Waits until the device is back with all that it had.
fn nic_is_home(m: &Machine) {
    eventually(5, "the device to come home", || {
        let shown = m.sh("ip link show nic 2>/dev/null; true").ok();
        ["mtu 1300", "02:00:00:11:22:33", "altname first-name", "altname second-name"]
            .iter()
            .all(|part| shown.contains(part))
            .then_some(())
    });
    eventually(5, "its keeper to end", || {
        let keepers = m.sh("ps ax -o args | grep '^.lxc keeper. .* nic$'; true").ok();
        keepers.is_empty().then_some(())
    });
}

#[test]
fn a_device_of_the_host_goes_in_and_comes_back() {
    let m = with_bridge();
    m.sh(NIC).ok();
    m.sh("ip link property add dev nic altname first-name altname second-name").ok();
    let c = m.container("phys", PHYS);
    m.start(&c);
    assert!(!host_links(&m).contains("nic@"), "{}", host_links(&m));
    m.inside(&c, "ping -c 1 -W 2 10.9.8.1").ok();
    let inside = m.inside(&c, "ip link show eth0").ok();
    assert!(inside.contains("mtu 1200") && inside.contains("02:00:00:99:99:99"), "{inside}");
    // The container may do with it what it likes.
    m.inside(&c, "ip link set eth0 down && ip link set eth0 name evil mtu 1100").ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    nic_is_home(&m);

    m.start(&c);
    let init = m.init_pid(&c);
    m.sh(&format!("kill -9 {init}")).ok();
    nic_is_home(&m);

    eventually(5, "the container to stop", || (m.state(&c) == "STOPPED").then_some(()));
    m.start(&c);
    let monitor = m.monitor_pid(&c).expect("a monitor");
    m.sh(&format!("kill -9 {monitor}")).ok();
    nic_is_home(&m);

    // The next start takes it again, and takes over what the dead monitor left.
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    nic_is_home(&m);
    m.sh("ip link del nic").ok();
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("\"nic\"") && said.contains("config:6"), "{said}");
}

#[test]
fn a_container_behind_the_hosts_routing() {
    let m = Machine::new();
    // A neighbour on the link, in a namespace of its own.
    let up = "ip link add up0 type veth peer name up1 && ip link set up0 up && \
              ip addr add 10.1.1.1/24 dev up0 && ip addr add fd01::1/64 dev up0 nodad && \
              sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1";
    m.sh(up).ok();
    let c = m.container(
        "routed",
        "lxc.net.0.type = veth\nlxc.net.0.veth.mode = router\nlxc.net.0.veth.pair = routed0\n\
         lxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.55.1.5/32\n\
         lxc.net.0.ipv4.gateway = 10.1.1.1\nlxc.net.0.ipv6.address = fd77::5/128\n\
         lxc.net.0.ipv6.gateway = fe80::1\nlxc.net.0.veth.ipv4.route = 10.66.0.0/24\n\
         lxc.net.0.veth.ipv6.route = fd78::/64\n",
    );
    m.start(&c);
    let (v4, v6) = (m.sh("ip route").ok(), m.sh("ip -6 route").ok());
    assert!(
        v4.contains("10.55.1.5 dev routed0") && v4.contains("10.66.0.0/24 dev routed0"),
        "{v4}"
    );
    assert!(
        v6.contains("fd77::5 dev routed0") && v6.contains("fd78::/64 via fd77::5 dev routed0"),
        "{v6}"
    );
    m.inside(&c, "ping -c 1 -W 3 10.1.1.1").ok();
    eventually(10, "IPv6 to answer", || {
        (m.inside(&c, "ping -c 1 -W 2 fd01::1").status == 0).then_some(())
    });
    assert_eq!(m.sh("cat /proc/sys/net/ipv6/conf/routed0/accept_ra").ok(), "0\n");
    // The kernel would forget whom it answers for when the carrier goes.
    let proxies = || m.sh("ip neigh show proxy; ip -6 neigh show proxy").ok();
    let answered = proxies();
    assert!(answered.contains("10.1.1.1 dev routed0") && answered.contains("fe80::1 dev routed0"));
    m.inside(&c, "ip link set eth0 down").ok();
    eventually(10, "the carrier to go", || {
        let state = m.sh("ip -o link show routed0").ok();
        (!state.contains("state UP")).then_some(())
    });
    assert_eq!(proxies(), answered);
    m.sh("sysctl -qw net.ipv6.conf.all.forwarding=0").ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let said = m.lxc("start", &["-n", &c]).fails(1);
    assert!(said.contains("forwarding") && said.contains("hint: sysctl -w"), "{said}");
}

#[test]
fn the_host_answers_for_the_container_on_its_link() {
    let m = Machine::new();
    m.sh("ip link add up0 type veth peer name up1 && ip link set up0 up && \
          ip addr add 10.1.1.1/24 dev up0 && sysctl -qw net.ipv4.ip_forward=1")
        .ok();
    let c = m.container(
        "proxied",
        "lxc.net.0.type = veth\nlxc.net.0.veth.mode = router\nlxc.net.0.link = up0\n\
         lxc.net.0.l2proxy = 1\nlxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.1.1.55/32\n\
         lxc.net.0.ipv4.gateway = auto\n",
    );
    m.start(&c);
    assert!(m.sh("ip neigh show proxy").ok().contains("10.1.1.55 dev up0"));
    m.inside(&c, "ping -c 1 -W 3 10.1.1.1").ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.sh("ip neigh show proxy").ok(), "");
}

#[test]
fn a_port_of_a_bridge_has_networks_routed_to_it_too() {
    let m = with_bridge();
    let c = m.container(
        "routes",
        &format!(
            "{VETH}lxc.net.0.ipv4.address = 10.9.8.5/24\nlxc.net.0.ipv6.address = fd00:9::5/64\n\
             lxc.net.0.veth.ipv4.route = 10.66.0.0/24\nlxc.net.0.veth.ipv6.route = fd78::/64\n"
        ),
    );
    let routes = "ip route show 10.66.0.0/24; ip -6 route show fd78::/64";
    m.start(&c);
    assert_eq!(m.sh(routes).ok().lines().count(), 2);
    m.inside(&c, "ip route add local 10.66.0.0/24 dev lo; ip -6 route add local fd78::/64 dev lo")
        .ok();
    for address in ["10.66.0.77", "fd78::1:2:3"] {
        eventually(10, "any address to answer", || {
            (m.sh(&format!("ping -c 1 -W 1 {address}")).status == 0).then_some(())
        });
    }
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.sh(routes).ok(), "");
}
