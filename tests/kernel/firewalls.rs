//! lxc-net beside the firewalls that people have: the real ufw and firewalld, and the rules that
//! Docker puts into iptables. Each is let be byte for byte, the doctor names what drops, and the
//! command that it gives lets containers through.

use crate::lxcnet::Net;
use crate::machine::{Machine, eventually};
use std::fs;

const SETTINGS: &str = "LXC_DHCP_PING=false\n";

/// What the rules of others are, without their counters and the times of their listing.
fn rules_of_others(m: &Machine) -> String {
    m.sh("iptables-save | sed 's/^#.*//; s/\\[[0-9]*:[0-9]*\\]//'; ip6-tables-save 2>/dev/null; \
          for t in $(nft list tables | grep -v ' lxc$' | sed 's/^table //; s/ /:/'); do \
          nft -s list table ${t%:*} ${t#*:}; done 2>/dev/null")
        .ok()
}

/// The commands below the lines with `blocked:`.
fn mending(said: &str) -> Vec<String> {
    let mut lines = said.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("blocked:") {
            let command = lines.next().expect("a command").trim().to_owned();
            if !found.contains(&command) {
                found.push(command);
            }
        }
    }
    found
}

/// The whole life of the bridge beside a firewall that is on already. `blocks`: what the doctor
/// has to name.
fn beside(m: &Net, blocks: &[&str]) {
    let before = rules_of_others(m);
    // Not a ping: ufw forwards those.
    m.sh("mkdir -p /run/www; echo out >/run/www/index.html; (ip netns exec outside timeout 120 \
          busybox httpd -f -p 80 -h /run/www & echo $! >/run/www.pid) </dev/null >/dev/null 2>&1")
        .ok();
    const OUT: &str =
        "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 10.1.1.2 80 | grep -x out";
    m.net("start").ok();
    assert_eq!(rules_of_others(m), before, "lxc-net changed the rules of others");
    let said = m.doctor(1);
    for part in blocks {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let guest = m.guest("walled", 4);
    m.inside(&guest, "ip addr add 10.0.3.77/24 dev eth0; ip route add default via 10.0.3.1").ok();
    m.inside(&guest, OUT).fails(1);
    m.inside(&guest, "ip addr flush dev eth0").ok();
    let mends = mending(&said);
    assert!(!mends.is_empty(), "{said}");
    for mend in &mends {
        m.sh(mend).ok();
    }
    m.doctor(0);
    m.dhcp(&guest, "walled");
    assert_eq!(m.inside(&guest, OUT).ok(), "out\n");
    m.inside(&guest, "busybox nslookup walled 10.0.3.1").ok();
    let mended = rules_of_others(m);
    m.net("restart").ok();
    assert_eq!(rules_of_others(m), mended);
    eventually(10, "the way out after a restart", || {
        (m.inside(&guest, OUT).status == 0).then_some(())
    });
    m.sh("kill $(cat /run/www.pid)").ok();
    m.lxc("stop", &["-n", &guest, "-k"]).ok();
    m.net("stop").ok();
    assert_eq!(rules_of_others(m), mended, "lxc-net stop changed the rules of others");
}

#[test]
fn the_real_ufw() {
    let Some(m) = Machine::with_debs() else { return };
    // What the package's maintainer script does.
    m.sh("cd /etc/ufw; for f in before after user; do for v in '' 6; do \
          [ -e $f$v.rules ] || cp /usr/share/ufw/iptables/$f$v.rules .; done; done; \
          [ -e ufw.conf ] || cp /usr/share/ufw/ufw.conf .; \
          [ -e /etc/default/ufw ] || cp /usr/share/ufw/default /etc/default/ufw; \
          cp /etc/default/ufw /run/ufw.default")
        .ok();
    let m = Net::on(m, SETTINGS);
    m.sh("cp /run/ufw.default /etc/default/ufw; ufw --force enable").ok();
    beside(
        &m,
        &["\"ip filter INPUT\" drops DHCP and DNS", "\"ip filter FORWARD\" drops", "ufw route"],
    );
    let status = m.sh("ufw status").ok();
    assert!(status.contains("Anywhere on lxcbr0"), "{status}");
    m.sh("ufw disable").ok();
}

const BUS: &str = "<busconfig><type>system</type>\
    <listen>unix:path=/run/dbus/system_bus_socket</listen><policy context=\"default\">\
    <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
    <allow receive_sender=\"*\"/></policy></busconfig>";

/// Ends firewalld and its bus, also when the test fails.
struct Running<'a>(&'a Machine);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.0.sh("for f in firewalld bus; do kill $(cat /run/$f.pid); done");
    }
}

/// With a bus of its own that starts nothing else.
#[test]
fn the_real_firewalld() {
    let Some(m) = Machine::with_debs() else { return };
    fs::write(m.dir.join("bus.conf"), BUS).unwrap();
    let m = Net::on(m, SETTINGS);
    m.sh(&format!(
        "mkdir -p /run/dbus /run/firewalld /var/log/firewalld; \
         dbus-daemon --config-file={}/bus.conf --fork --nopidfile --print-pid >/run/bus.pid && \
         (firewalld --nofork --nopid >/run/firewalld.log 2>&1 & echo $! >/run/firewalld.pid)",
        m.dir.display()
    ))
    .ok();
    let _running = Running(&m);
    eventually(15, "firewalld", || (m.sh("firewall-cmd --state").status == 0).then_some(()));
    beside(
        &m,
        &["\"inet firewalld filter_INPUT\" drops", "filter_FORWARD\" drops", "firewall-cmd --perm"],
    );
    let zones = m.sh("firewall-cmd --get-active-zones").ok();
    assert!(zones.contains("trusted") && zones.contains("lxcbr0"), "{zones}");
}

/// Docker up to version 27, and since 28.
const DOCKER: [&str; 2] = [
    ":DOCKER - [0:0]\n:DOCKER-ISOLATION-STAGE-1 - [0:0]\n:DOCKER-ISOLATION-STAGE-2 - [0:0]\n\
     :DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-ISOLATION-STAGE-1\n\
     -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
     -A FORWARD -o docker0 -j DOCKER\n-A FORWARD -i docker0 ! -o docker0 -j ACCEPT\n\
     -A FORWARD -i docker0 -o docker0 -j ACCEPT\n\
     -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2\n\
     -A DOCKER-ISOLATION-STAGE-1 -j RETURN\n-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP\n\
     -A DOCKER-ISOLATION-STAGE-2 -j RETURN\n-A DOCKER-USER -j RETURN\n",
    ":DOCKER - [0:0]\n:DOCKER-BRIDGE - [0:0]\n:DOCKER-CT - [0:0]\n:DOCKER-FORWARD - [0:0]\n\
     :DOCKER-ISOLATION-STAGE-1 - [0:0]\n:DOCKER-ISOLATION-STAGE-2 - [0:0]\n:DOCKER-USER - [0:0]\n\
     -A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD\n\
     -A DOCKER ! -i docker0 -o docker0 -j DROP\n-A DOCKER-BRIDGE -o docker0 -j DOCKER\n\
     -A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
     -A DOCKER-FORWARD -j DOCKER-CT\n-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1\n\
     -A DOCKER-FORWARD -j DOCKER-BRIDGE\n-A DOCKER-FORWARD -i docker0 -j ACCEPT\n\
     -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2\n\
     -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP\n",
];

const DOCKER_NAT: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
    :POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n\
    -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\nCOMMIT\n";

/// A namespace on Docker's bridge, as one of its containers.
const DOCKED: &str = "sysctl -qw net.ipv4.ip_forward=1; ip link add docker0 type bridge && \
    ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up && ip netns add docked && \
    ip link add dock0 type veth peer name eth0 netns docked && ip link set dock0 master docker0 up && \
    ip netns exec docked sh -c 'ip addr add 172.17.0.2/16 dev eth0; ip link set eth0 up; \
    ip route add default via 172.17.0.1'";

#[test]
fn dockers_rules() {
    for filter in DOCKER {
        let m = Net::on(Machine::new(), SETTINGS);
        let rules = format!(
            "{DOCKER_NAT}*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n\
             {filter}COMMIT\n"
        );
        fs::write(m.dir.join("rules"), rules).unwrap();
        m.sh(DOCKED).ok();
        m.sh(&format!("iptables-restore <{}/rules", m.dir.display())).ok();
        let docked = || m.sh("ip netns exec docked ping -c 1 -W 2 10.1.1.2").ok();
        docked();
        beside(
            &m,
            &["\"ip filter FORWARD\" drops what containers send", "-I DOCKER-USER -i lxcbr0"],
        );
        docked();
    }
}
