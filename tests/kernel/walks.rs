//! The walk-throughs of docs/networks.md, run as they are written there: the commands come out of
//! the page, containers' names are made this test's own, and `enp1s0` and `enp2s0` lead to a
//! namespace that is the world. What a command shows is looked at here beside its exit status.

use crate::machine::{BINARY, Machine, eventually, run};
use crate::parents::{count_frames, frames, kernel_has};
use std::fmt::Write as _;
use std::fs;

const PAGE: &str = include_str!("../../docs/networks.md");

/// The house's wire and a second one, with a router that is also the world.
const WORLD: &str = "ip netns add world; \
    ip link add enp1s0 type veth peer name w1 netns world; \
    ip link add enp2s0 type veth peer name w2 netns world; \
    ip link set enp1s0 up; ip addr add 192.168.1.10/24 dev enp1s0; \
    ip addr add 2001:db8:0:1::10/64 dev enp1s0 nodad; ip route add default via 192.168.1.1; \
    ip netns exec world sh -c 'ip link set lo up; ip addr add 9.9.9.9/32 dev lo; \
    ip link set w1 up; ip addr add 192.168.1.1/24 dev w1; \
    ip addr add 2001:db8:0:1::1/64 dev w1 nodad; ip link set w2 up; \
    ip addr add 192.168.2.1/24 dev w2; \
    ip -6 route add 2001:db8:0:10::/60 via 2001:db8:0:1::10'";

/// A machine with that, the tools in its PATH, and files of its own below /etc.
struct House {
    m: Machine,
}

impl House {
    fn new() -> Self {
        let m = Machine::new();
        let dir = m.dir.display();
        for sub in ["default", "misc", "etc-lxc", "tools", "work"] {
            fs::create_dir_all(m.dir.join(sub)).unwrap();
        }
        let conf = format!("lxc.lxcpath = {}\n", m.lxcpath().display());
        fs::write(m.dir.join("etc-lxc/lxc.conf"), conf).unwrap();
        m.sh(&format!(
            "mount --bind {dir}/default /etc/default && mount --bind {dir}/misc /var/lib/misc && \
             mkdir -p /etc/lxc && mount --bind {dir}/etc-lxc /etc/lxc && \
             mount -t tmpfs none /usr/share/lxc 2>/dev/null || true; \
             {BINARY} --install {dir}/tools"
        ))
        .ok();
        m.sh(&format!("set -e; {WORLD}")).ok();
        Self { m }
    }

    /// Makes the names of the page this test's own.
    fn own(&self, text: &str) -> String {
        let lxcpath = self.m.lxcpath().display().to_string();
        let mut text = text.replace("/var/lib/lxc", &lxcpath);
        for name in ["alpha", "beta", "gamma", "delta"] {
            text = text.replace(name, &self.m.name(name));
            for n in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "20"] {
                self.m.name(&format!("{name}{n}"));
            }
        }
        text
    }

    /// Runs shell lines in the machine as a person would type them.
    fn types(&self, script: &str) -> String {
        let mut command = self.m.command("sh");
        let text = self.own(script);
        let path = format!("{}/tools:/usr/sbin:/usr/bin:/sbin:/bin", self.m.dir.display());
        let work = self.m.dir.join("work").display().to_string();
        command.args(["-c", &format!("set -e; PATH={path}; cd {work}\n{text}")]);
        run(command).ok()
    }

    /// Runs the section of the page that begins with this heading.
    fn walk(&self, heading: &str) -> String {
        self.types(&commands(heading))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let stop =
            "for f in /run/lxc/dnsmasq.pid /run/ra.pid; do [ ! -e $f ] || kill $(cat $f); done";
        let _ = self.m.sh(&format!("{BINARY} lxc-net stop; {stop}"));
    }
}

/// The commands of a section, as a script that ends at the first one that does not do what the
/// page says.
fn commands(heading: &str) -> String {
    let section = PAGE.split(&format!("# {heading}")).nth(1);
    let section = section.unwrap_or_else(|| panic!("no section {heading:?}"));
    let section = section.split("\n##").next().unwrap_or_default();
    let mut script = String::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        // A shell goes on after a command with an exclamation mark, whatever its status.
        let _ = match line.strip_prefix("! ") {
            Some(command) => writeln!(script, "if {command}\nthen echo not refused; exit 1; fi"),
            None => writeln!(script, "{line}"),
        };
    }
    assert!(script.lines().count() > 2, "{heading}: {script}");
    script
}

#[test]
fn walk_1_nothing_but_a_loopback() {
    let house = House::new();
    let shown = house.walk("1. ");
    let links: Vec<&str> = shown.lines().filter(|line| line.contains("inet")).collect();
    assert!(!links.is_empty() && links.iter().all(|line| line.contains(" lo ")), "{shown}");
}

#[test]
fn walk_2_a_bridge_with_dhcp_dns_and_nat() {
    let house = House::new();
    let shown = house.walk("2. ");
    for part in ["default via 10.0.3.1 dev eth0", "nameserver 10.0.3.1", "master lxcbr0"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(shown.matches(" 0% packet loss").count(), 3, "{shown}");
    let before = house.types("lxc-info -n alpha -iH");
    house.types("lxc-stop -n alpha -k; lxc-start -n alpha; until lxc-info -n alpha -i | grep 10.0.3.; do sleep 0.1; done");
    assert_eq!(house.types("lxc-info -n alpha -iH"), before);

    // More of them, one a copy of another: each has an address of its own, whatever the order.
    house.types(
        "grep -v pair veth.conf >more.conf; lxc-stop -n alpha -k
         for n in 1 2; do lxc-create -n alpha$n -t busybox -f more.conf; done
         lxc-copy -n alpha1 -N alpha3",
    );
    let restarted = |order: &str| {
        house.types(&format!(
            "for n in {order}; do lxc-start -n alpha$n
             until lxc-info -n alpha$n -i | grep 10.0.3.; do sleep 0.1; done; done"
        ));
        let shown = house.types("for n in '' 1 2 3; do lxc-info -n alpha$n -iH; done");
        house.types("for n in '' 1 2 3; do lxc-stop -n alpha$n -k; done");
        shown
    };
    let first = restarted("'' 1 2 3");
    let mut each: Vec<&str> = first.lines().collect();
    each.sort_unstable();
    each.dedup();
    assert_eq!(each.len(), 4, "{first}");
    assert_eq!(restarted("3 2 '' 1"), first);
}

#[test]
fn walk_3_macvlan_and_a_dmz() {
    let house = House::new();
    let shown = house.walk("3. ");
    assert_eq!(shown.matches(" 0% packet loss").count(), 6, "{shown}");
    assert_eq!(shown.matches(" 100% packet loss").count(), 2, "{shown}");
}

#[test]
fn walk_4_vlans_of_a_bridge() {
    let house = House::new();
    if kernel_has(&house.m, "type bridge vlan_filtering 1") {
        house.walk("4. ");
        let shown = house.types("lxc-attach -n alpha1 -- ping -c 1 10.10.0.2");
        assert!(shown.contains(" 0% packet loss"), "{shown}");
    }
}

#[test]
fn walk_4b_vlans_of_a_trunk() {
    let house = House::new();
    if !kernel_has(&house.m, "link enp1s0 type vlan id 9") {
        return;
    }
    // The other end of the trunk answers what is tagged, and only that.
    for n in [10, 20, 30] {
        house
            .m
            .sh(&format!(
                "ip netns exec world sh -c 'ip link add link w1 name w1.{n} type vlan id {n}; \
                 ip addr add 10.{n}.0.1/24 dev w1.{n}; ip link set w1.{n} up'"
            ))
            .ok();
    }
    count_frames(&house.m, "w1", &[10, 20, 30]);
    let shown = house.walk("4b. ");
    for n in [10, 20, 30] {
        assert!(frames(&house.m, &format!("vlan id {n}")) > 0, "no frame of VLAN {n} on the wire");
    }
    assert_eq!(shown.matches(" 0% packet loss").count(), 4, "{shown}");
    // One VLAN of the trunk is taken by the host's device, one by a running container's.
    for n in [30, 10] {
        let c = house.m.container(
            &format!("taken{n}"),
            &format!(
                "lxc.net.0.type = vlan\nlxc.net.0.link = enp1s0\nlxc.net.0.flags = up\n\
                 lxc.net.0.vlan.id = {n}\n"
            ),
        );
        let said = house.m.lxc("start", &["-n", &c]).fails(1);
        assert!(said.contains(&format!("VLAN {n} ")) && said.contains("config:8"), "{said}");
    }
}

#[test]
fn walk_4c_ipvlan_on_the_houses_wire() {
    let house = House::new();
    if !kernel_has(&house.m, "link enp1s0 type ipvlan mode l2") {
        return;
    }
    let shown = house.walk("4c. ");
    assert_eq!(shown.matches(" 0% packet loss").count(), 3, "{shown}");
    assert_eq!(shown.matches(" 100% packet loss").count(), 1, "{shown}");
}

#[test]
fn walk_5_a_network_card() {
    let house = House::new();
    let before = house.types("ip -br link show enp2s0 | tr -s ' ' | cut -d' ' -f3");
    let shown = house.walk("5. ");
    assert!(shown.contains("default via 192.168.2.1 dev eth0"), "{shown}");
    assert!(shown.contains(" 0% packet loss"), "{shown}");
    assert_eq!(house.types("ip -br link show enp2s0 | tr -s ' ' | cut -d' ' -f3"), before);
}

#[test]
fn walk_6_the_hosts_own_network() {
    let house = House::new();
    let shown = house.walk("6. ");
    assert!(shown.contains("192.168.1.10/24"), "{shown}");
}

#[test]
fn walk_7_a_farm_on_the_houses_prefix() {
    let house = House::new();
    house
        .m
        .sh("ip netns exec world dnsmasq --conf-file=/dev/null --port=0 --interface=w1 \
             --bind-interfaces --dhcp-range=2001:db8:0:1::,ra-only --enable-ra \
             --ra-param=w1,5 --pid-file=/run/ra.pid")
        .ok();
    let shown = house.walk("7. ");
    let addresses = |house: &House| -> Vec<String> {
        (0..10)
            .map(|n| {
                let wanted = format!("lxc-info -n alpha{n} -iH | grep 2001:db8:");
                eventually(20, "an address by an advertisement", || {
                    let got = house.types(&format!("{wanted} || true"));
                    got.lines().next().map(str::to_owned)
                })
            })
            .collect()
    };
    let first = addresses(&house);
    for (n, address) in first.iter().enumerate() {
        assert!(shown.contains(address), "{address} is not in {shown}");
        // Derived from the hardware address that is written in the configuration.
        let config = fs::read_to_string(house.m.config(&house.own(&format!("alpha{n}")))).unwrap();
        let mac = config.lines().find_map(|l| l.strip_prefix("lxc.net.0.hwaddr = ")).unwrap();
        let mac: Vec<u8> = mac.split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
        let suffix =
            u64::from_be_bytes([mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]]);
        let wanted = std::net::Ipv6Addr::from(0x2001_0db8_0000_0001 << 64 | u128::from(suffix));
        assert_eq!(*address, wanted.to_string());
        let fetch = format!("ip netns exec world busybox wget -q -O - http://[{address}]/");
        eventually(10, "the container to answer", || {
            let done = house.m.sh(&fetch);
            (done.stdout == format!("this is {n}\n")).then_some(())
        });
    }
    house.types(
        "for n in 0 1 2 3 4 5 6 7 8 9; do lxc-stop -n alpha$n -k; done; \
         for n in 3 9 1 0 8 2 7 5 4 6; do lxc-start -n alpha$n; done",
    );
    assert_eq!(addresses(&house), first);
}

#[test]
fn walk_8_a_network_for_each_container() {
    let house = House::new();
    house.walk("8. ");
    for host in ["11::1", "11:dead:beef:0:1", "11:ffff:ffff:ffff:ffff"] {
        let ping = format!("ip netns exec world ping -c 1 -W 1 2001:db8:0:{host}");
        eventually(10, "any address to answer", || (house.m.sh(&ping).status == 0).then_some(()));
    }
    // What is not routed to the container is not answered.
    house.m.sh("ip netns exec world ping -c 1 -W 1 2001:db8:0:12::1").fails(1);
}

/// The other examples, whose root file systems, hooks and disks are not there, as far as the plan.
#[test]
fn the_examples_without_a_network_are_planned() {
    let house = House::new();
    house.m.sh("ip link add lxcbr0 type bridge && ip link set lxcbr0 up").ok();
    let web = house.m.container("web", "lxc.net.0.type = empty\n");
    house.m.start(&web);
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples");
    let mut planned = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let file = entry.unwrap().path();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let conf = file.extension().is_some_and(|ext| ext == "conf");
        // One is run by lxc-execute, one is the host's.
        if !conf || stem.starts_with("net-") || matches!(stem, "application" | "lxc") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let own =
            |line: &&str| !line.starts_with("lxc.rootfs.path") && !line.starts_with("lxc.uts");
        let lines: Vec<&str> = text.lines().filter(own).collect();
        let lines = lines.join("\n").replace("share.net = web", &format!("share.net = {web}"));
        let name = house.m.container(stem, &lines.replace("lxc/outer", &house.m.name("outer")));
        let done = house.m.lxc("start", &["-n", &name, "--dry-run"]);
        // What a kernel or its cgroups lack is named, with the line.
        let lacks = done.stderr.contains("planning the start: ") && done.stderr.contains("config:");
        assert!(done.status == 0 || lacks && !may_all(stem), "{stem}: {}", done.stderr);
        planned += usize::from(done.status == 0);
    }
    assert!(planned >= 8, "only {planned}");
    house.m.lxc("stop", &["-n", &web, "-k"]).ok();
}

/// An example that asks nothing of the kernel that a test machine may lack.
fn may_all(stem: &str) -> bool {
    !matches!(stem, "limits" | "namespaces" | "nested" | "security" | "user-namespace")
}

#[test]
fn every_example_of_a_network_starts() {
    let house = House::new();
    house
        .m
        .sh("ip link add lxcbr0 type bridge && ip addr add 10.0.3.1/24 dev lxcbr0 && \
                ip -6 addr add fd00:3::1/64 dev lxcbr0 nodad && ip link set lxcbr0 up && \
                (ip link add br0 type bridge vlan_filtering 1 || ip link add br0 type bridge) && \
                ip link set br0 up && sysctl -qw net.ipv4.ip_forward=1 \
                net.ipv6.conf.all.forwarding=1 && \
                for s in up down; do ln -s /bin/true /etc/lxc/gate-$s; done")
        .ok();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config-examples");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut started, mut lacking) = (0, Vec::new());
    for file in files {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if !stem.starts_with("net-") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines: String = text
            .lines()
            .filter(|line| !line.starts_with("lxc.rootfs.path") && !line.starts_with("lxc.uts"))
            .map(|line| {
                format!("{}\n", line.replace("6a:xx:xx:xx", &format!("6a:00:00:{started:02x}")))
            })
            .collect();
        let name = house.m.container(stem, &lines);
        let done = house.m.lxc("start", &["-n", &name]);
        if done.status != 0 {
            // What this kernel lacks is named, with the line.
            let named =
                ["8021q", "ipvlan", "VLAN filtering"].iter().any(|w| done.stderr.contains(w));
            assert!(named && done.stderr.contains("config:"), "{stem}: {}", done.stderr);
            assert!(std::env::var_os("LXCBOX_TEST_VM").is_none(), "{stem}: {}", done.stderr);
            println!("skipped: {stem}: {}", done.stderr.lines().next().unwrap_or_default());
            lacking.push(stem.to_owned());
            continue;
        }
        let inside = house.m.inside(&name, "ip -o addr; ip -o link").ok();
        for line in lines.lines() {
            for key in ["ipv4.address", "ipv6.address", "name"] {
                let value =
                    line.strip_prefix("lxc.net.").and_then(|l| l.get(2..)?.strip_prefix(key));
                if let Some(value) = value.and_then(|v| v.strip_prefix(" = ")) {
                    assert!(inside.contains(value), "{stem}: no {value} in {inside}");
                }
            }
        }
        house.m.lxc("stop", &["-n", &name, "-k"]).ok();
        started += 1;
    }
    let maybe = ["net-ipvlan", "net-veth-vlan", "net-vlan"];
    assert!(lacking.iter().all(|stem| maybe.contains(&stem.as_str())), "{lacking:?}");
    assert!(started + lacking.len() >= 12, "{started} started, {lacking:?} lacking");
}
