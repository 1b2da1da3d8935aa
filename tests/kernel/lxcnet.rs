//! lxc-net: a bridge with DHCP, DNS and NAT out of /etc/default/lxc-net, real containers on it and
//! a second namespace as the world outside. Each test has a /etc/default, /run and /var/lib/misc of
//! its own.

use crate::machine::{BINARY, Machine, Outcome, eventually, run};
use std::fs;
use std::ops::Deref;

/// A machine with these settings and a world outside at 10.1.1.2 and fd01::2, which knows no way
/// back to containers.
pub struct Net(Machine);

impl Deref for Net {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.0
    }
}

/// What `udhcpc` does with what it gets.
const DHCP_SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr add $ip/$mask dev $interface\n\
    ip route add default via $router\nprintf 'search %s\\nnameserver %s\\n' \"$domain\" $dns \
    >/etc/resolv.conf\n";

const OUTSIDE: &str = "ip netns add outside && \
    ip link add up0 type veth peer name up1 netns outside && ip link set up0 up && \
    ip addr add 10.1.1.1/24 dev up0 && ip addr add fd01::1/64 dev up0 nodad && \
    ip netns exec outside sh -c 'ip link set lo up; ip link set up1 up; \
    ip addr add 10.1.1.2/24 dev up1; ip addr add fd01::2/64 dev up1 nodad' && \
    ip route add default via 10.1.1.2 && ip -6 route add default via fd01::2";

impl Net {
    fn new(settings: &str) -> Self {
        Self::on(Machine::new(), settings)
    }

    pub fn on(m: Machine, settings: &str) -> Self {
        fs::create_dir_all(m.dir.join("default")).unwrap();
        fs::create_dir_all(m.dir.join("misc")).unwrap();
        m.sh(&format!(
            "mount --bind {0}/default /etc/default && mount --bind {0}/misc /var/lib/misc",
            m.dir.display()
        ))
        .ok();
        m.sh(OUTSIDE).ok();
        let net = Self(m);
        net.settings(settings);
        net
    }

    fn settings(&self, text: &str) {
        fs::write(self.dir.join("default/lxc-net"), text).unwrap();
    }

    pub fn net(&self, verb: &str) -> Outcome {
        let mut command = self.command(BINARY);
        command.args(["lxc-net", verb]);
        run(command)
    }

    pub fn doctor(&self, status: i32) -> String {
        let done = self.net("doctor");
        assert_eq!(done.status, status, "{}{}", done.stdout, done.stderr);
        done.stdout
    }

    /// Everything that lxc-net could leave behind, as text.
    fn host(&self) -> String {
        self.sh("ip -br link | cut -d' ' -f1; ip -br addr | grep -v ^up; nft -s list ruleset; \
             cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding \
             /proc/sys/net/ipv6/conf/*/accept_ra; ls /run/lxc | grep -v lock; \
             { ip route; ip -6 route; } | sed 's/ linkdown//'")
            .ok()
    }

    /// A busybox container on the bridge that knows how to ask for an address.
    pub fn guest(&self, short: &str, last: u8) -> String {
        let lines = format!(
            "lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n\
             lxc.net.0.hwaddr = 02:00:00:00:00:{last:02x}\n"
        );
        let name = self.container(short, &lines);
        let script = self.lxcpath().join(&name).join("rootfs/etc/dhcp");
        fs::write(&script, DHCP_SCRIPT).unwrap();
        self.sh(&format!("chmod 755 '{}'", script.display())).ok();
        self.start(&name);
        name
    }

    pub fn dhcp(&self, guest: &str, hostname: &str) -> String {
        self.inside(
            guest,
            &format!("udhcpc -n -q -t 5 -i eth0 -s /etc/dhcp -x hostname:{hostname}"),
        )
        .ok();
        let shown = self.inside(guest, "ip -o -4 addr show dev eth0").ok();
        let address = shown.split_whitespace().nth(3).unwrap().split('/').next().unwrap();
        address.to_owned()
    }

    fn dnsmasq(&self) -> Option<u32> {
        self.sh("cat /run/lxc/dnsmasq.pid").stdout.trim().parse().ok()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.net("stop");
        if let Some(pid) = self.dnsmasq() {
            let _ = self.sh(&format!("kill {pid}"));
        }
    }
}

const ON: &str = "USE_LXC_BRIDGE=\"true\"\n";

#[test]
fn containers_get_address_name_and_the_way_out() {
    let m = Net::new("LXC_DOMAIN=\"lxc\"\nLXC_DHCP_PING=false\n");
    m.net("start").ok();
    let (one, two) = (m.guest("one", 1), m.guest("two", 2));
    let (first, second) = (m.dhcp(&one, "one"), m.dhcp(&two, "two"));
    assert!(first.starts_with("10.0.3.") && second.starts_with("10.0.3."), "{first} {second}");
    assert!(m.inside(&one, "ip route").ok().contains("default via 10.0.3.1"));
    assert_eq!(m.inside(&one, "cat /etc/resolv.conf").ok(), "search lxc\nnameserver 10.0.3.1\n");
    let answer = m.inside(&one, "busybox nslookup two.lxc").ok();
    assert!(answer.contains(&second), "{answer}");
    // Host and container, container and container, and the outside without a way back.
    m.sh(&format!("ping -c 1 -W 2 {first}")).ok();
    m.inside(&one, "ping -c 1 -W 2 10.0.3.1").ok();
    m.inside(&two, &format!("ping -c 1 -W 2 {first}")).ok();
    m.inside(&two, "ping -c 1 -W 2 10.1.1.2").ok();
    m.sh("ip netns exec outside ping -c 1 -W 1 10.0.3.1").fails(2);
    let leases = fs::read_to_string(m.dir.join("misc/dnsmasq.lxcbr0.leases")).unwrap();
    assert!(leases.contains(&format!("02:00:00:00:00:01 {first} one")), "{leases}");
    let status = m.net("status").ok();
    for part in ["lxcbr0, up, 2 ports", "10.0.3.1/24", "masqueraded", &format!("{second} 02:")] {
        assert!(status.contains(part), "no {part} in {status}");
    }
    let mut command = m.command(BINARY);
    command.args(["lxc-net", "status", "--format", "json"]);
    let json = run(command).ok();
    assert!(json.contains("\"complete\": true") && json.contains("\"name\": \"two\""), "{json}");
    m.doctor(0);

    // The bridge stays for those who are on it; the next start has it work again.
    let said = m.net("stop");
    assert!(said.stderr.contains("2 interfaces of running containers"), "{}", said.stderr);
    assert_eq!(said.status, 0);
    assert!(!m.sh("ip addr show lxcbr0").ok().contains("10.0.3.1"));
    m.net("start").ok();
    m.inside(&one, "ping -c 1 -W 2 10.1.1.2").ok();
    for guest in [&one, &two] {
        m.lxc("stop", &["-n", guest, "-k"]).ok();
    }
    eventually(5, "the ports to go", || {
        m.sh("ip -br link show master lxcbr0").ok().is_empty().then_some(())
    });
    m.net("stop").ok();
    m.sh("ip link show lxcbr0").fails(1);
}

/// The first packet may be lost while neighbours get to know each other.
fn reaches(m: &Net, guest: &str, address: &str) {
    let ping = format!("ping -c 1 -W 1 {address}");
    eventually(10, address, || (m.inside(guest, &ping).status == 0).then_some(()));
}

#[test]
fn ipv6_is_routed_and_masqueraded_only_if_asked() {
    let routed = format!("{ON}LXC_IPV6_ADDR=fd42:0:0:7::1\nLXC_IPV6_NETWORK=fd42::/60\n");
    let m = Net::new(&routed);
    m.net("start").ok();
    let guest = m.guest("six", 3);
    let has = "ip -6 addr show dev eth0 scope global | grep fd42::7:0:ff:fe00:3/64";
    eventually(20, "an address by a router's advertisement", || {
        (m.inside(&guest, has).status == 0).then_some(())
    });
    assert!(m.inside(&guest, "ip -6 route").ok().contains("default via fe80::"));
    // An address is on probation for a second.
    eventually(10, "the bridge to answer", || {
        (m.inside(&guest, "ping -c 1 -W 1 fd42:0:0:7::1").status == 0).then_some(())
    });
    // The world sees the container's own address, so it has to know the way back.
    m.inside(&guest, "ping -c 1 -W 1 fd01::2").fails(1);
    m.sh("ip netns exec outside ip -6 route add fd42::/60 via fd01::1").ok();
    reaches(&m, &guest, "fd01::2");
    m.sh("ip netns exec outside ping -c 1 -w 10 fd42::7:0:ff:fe00:3").ok();
    assert!(!m.sh("nft list tables").ok().contains("ip6"));
    m.doctor(0);
    // Containers do not configure the host, and the host keeps its own way out.
    assert_eq!(m.sh("cat /proc/sys/net/ipv6/conf/lxcbr0/accept_ra").ok(), "0\n");
    assert_eq!(m.sh("cat /proc/sys/net/ipv6/conf/up0/accept_ra").ok(), "2\n");

    m.sh("ip netns exec outside ip -6 route del fd42::/60 via fd01::1").ok();
    m.settings(&format!("{routed}LXC_IPV6_NAT=true\n"));
    m.net("start").ok();
    reaches(&m, &guest, "fd01::2");
    assert!(m.net("status").ok().contains("fd42::/60, forwarded, masqueraded"));
}

#[test]
fn rules_of_others_stay_byte_for_byte() {
    let m = Net::new(&format!("{ON}LXC_IPV6_ADDR=fd42::1\nLXC_IPV6_NAT=true\n"));
    let rules = "table ip filter {\n chain DOCKER-USER {\n return\n }\n chain FORWARD {\n type filter \
        hook forward priority filter; policy drop;\n jump DOCKER-USER\n ct state established,related \
        accept\n }\n}\ntable inet firewalld {\n set s {\n type ipv4_addr\n elements = { 1.1.1.1 }\n }\n \
        chain f {\n type filter hook forward priority 10; policy accept;\n ip saddr @s drop\n }\n}\n\
        table ip nat {\n chain POSTROUTING {\n type nat hook postrouting priority srcnat; policy \
        accept;\n ip saddr 172.17.0.0/16 masquerade\n }\n}\n";
    fs::write(m.dir.join("rules"), rules).unwrap();
    m.sh(&format!("nft -f {}", m.dir.join("rules").display())).ok();
    let before = m.sh("nft -a list ruleset").ok();
    m.net("start").ok();
    let with = m.sh("nft -a list ruleset").ok();
    assert!(with.starts_with(&before) && with.contains("table ip6 lxc"), "{with}");
    let said = m.doctor(1);
    assert!(said.contains("\"ip filter FORWARD\" drops what containers send"), "{said}");
    let mend = "nft insert rule ip filter DOCKER-USER iifname lxcbr0 accept";
    assert!(said.contains("iptables -I DOCKER-USER -i lxcbr0 -j ACCEPT"), "{said}");
    let guest = m.guest("walled", 4);
    m.dhcp(&guest, "walled");
    m.inside(&guest, "ping -c 1 -W 1 10.1.1.2").fails(1);
    m.sh(mend).ok();
    m.inside(&guest, "ping -c 1 -W 2 10.1.1.2").ok();
    m.doctor(0);
    m.sh("nft flush chain ip filter DOCKER-USER && nft add rule ip filter DOCKER-USER return").ok();
    m.lxc("stop", &["-n", &guest, "-k"]).ok();
    m.net("stop").ok();
    m.sh(&format!("nft flush ruleset; nft -f {}", m.dir.join("rules").display())).ok();
    let plain = m.sh("nft list ruleset").ok();
    m.net("start").ok();
    m.net("stop").ok();
    assert_eq!(m.sh("nft list ruleset").ok(), plain);
}

#[test]
fn a_second_start_changes_nothing_and_a_stop_leaves_nothing() {
    let m = Net::new(&format!("{ON}LXC_IPV6_ADDR=fd42::1\nLXC_IPV6_NAT=true\n"));
    m.sh("nft list ruleset >/dev/null; mkdir -p /run/lxc").ok();
    let before = m.host();
    m.net("status").fails(3);
    m.net("start").ok();
    let (made, pid) = (m.host(), m.dnsmasq().unwrap());
    assert!(made.contains("lxcbr0") && made.contains("network_up") && made != before, "{made}");
    assert_eq!(m.net("start").stderr, "");
    assert_eq!((m.host(), m.dnsmasq()), (made.clone(), Some(pid)));
    m.net("restart").ok();
    assert_eq!(m.host(), made);
    m.net("stop").ok();
    assert_eq!(m.host(), before);
    assert!(m.net("stop").stderr.contains("isn't running"));
    assert_eq!(m.host(), before);
}

#[test]
fn what_is_missing_is_made_again() {
    let m = Net::new(&format!("{ON}LXC_IPV6_ADDR=fd42::1\nLXC_IPV6_NAT=true\n"));
    m.net("start").ok();
    let made = m.host();
    for damage in [
        // Its end, which gives the port back, takes a moment.
        format!(
            "kill -9 {0}; while grep -qs '^State:.[^ZX]' /proc/{0}/status; do sleep 0.05; done",
            m.dnsmasq().unwrap()
        ),
        "nft delete table ip lxc".into(),
        "nft delete table ip6 lxc".into(),
        "ip addr del 10.0.3.1/24 dev lxcbr0".into(),
        "ip -6 addr del fd42::1/64 dev lxcbr0".into(),
        "ip link set lxcbr0 down".into(),
        "ip link del lxcbr0".into(),
        "rm /run/lxc/network_up".into(),
        "sysctl -qw net.ipv4.ip_forward=0".into(),
        "sysctl -qw net.ipv6.conf.all.forwarding=0".into(),
        "rm /run/lxc/dnsmasq.pid".into(),
    ] {
        m.sh(&damage).ok();
        m.net("start").ok();
        eventually(5, &format!("the same after {damage}"), || (m.host() == made).then_some(()));
        let pid = m.dnsmasq().expect("a pid file");
        assert!(fs::metadata(format!("/proc/{pid}")).is_ok(), "{damage}");
        m.doctor(0);
    }
}

#[test]
fn a_bridge_of_somebody_else_is_used_and_left() {
    let m = Net::new(&format!("{ON}LXC_BRIDGE=br7\nLXC_ADDR=10.0.7.1\nLXC_NETMASK=28\n"));
    m.sh("ip link add br7 type bridge && ip addr add 10.77.0.1/24 dev br7 && mkdir -p /run/lxc")
        .ok();
    let before = m.host();
    m.net("start").ok();
    let shown = m.sh("ip addr show br7").ok();
    assert!(shown.contains("10.0.7.1/28 brd 10.0.7.15") && shown.contains(",UP"), "{shown}");
    m.net("stop").ok();
    assert_eq!(m.host(), before);
}

#[test]
fn a_start_that_fails_leaves_nothing_and_says_why() {
    let m = Net::new(ON);
    m.sh("mkdir -p /run/lxc").ok();
    let before = m.host();
    // A DNS server at all addresses, as Debian's dnsmasq or named is.
    m.sh("dnsmasq --conf-file=/dev/null --pid-file=/run/other.pid --no-resolv --no-hosts").ok();
    let said = m.net("start").fails(1);
    assert!(said.contains("port 53 of ") && said.contains("\"dnsmasq\" (process "), "{said}");
    assert!(said.contains("hint: ") && said.contains("except-interface=lxcbr0"), "{said}");
    assert_eq!(m.host(), before);
    let said = m.doctor(1);
    assert!(said.contains("port 53 of ") && said.contains("(process "), "{said}");
    m.sh("kill $(cat /run/other.pid)").ok();
    for (settings, part, place) in [
        ("\nLXC_ADDR=10.0.3\n", "LXC_ADDR: \"10.0.3\"", "lxc-net:2"),
        ("LXC_ADDR=$(hostname -I)\n", "needs a shell", "lxc-net:1"),
        ("LXC_ADDR=10.1.1.77\n", "10.1.1.0/24 overlaps", "lxc-net:1"),
        ("LXC_BRIDGE=up0\n", "\"up0\" is a device of type veth, not a bridge", "lxc-net:1"),
        ("LXC_IPV6_ADDR=fd01::9\n", "fd01::/64 overlaps", "lxc-net:1"),
    ] {
        m.settings(settings);
        let said = m.net("start").fails(1);
        assert!(said.contains(part) && said.contains(place), "{said}");
        assert_eq!(m.host(), before, "{settings}");
    }
    m.settings("USE_LXC_BRIDGE=false\n");
    assert!(m.net("start").stderr.contains("USE_LXC_BRIDGE"));
    assert_eq!(m.host(), before);
    m.settings(ON);
    m.net("frobnicate").fails(2);
    let named = m.sh(&format!("{BINARY} lxc-net -n c1 start")).fails(1);
    assert!(named.contains("about the host"), "{named}");
    let user =
        m.sh(&format!("env -u HOME setpriv --reuid 65534 --clear-groups {BINARY} lxc-net start"));
    assert!(user.fails(1).contains("needs root"));
    m.net("start").ok();
    m.settings("LXC_ADDR=10.0.9.1\n");
    let said = m.net("start").fails(1);
    assert!(said.contains("other settings") && said.contains("hint: lxc-net restart"), "{said}");
    m.net("restart").ok();
    assert!(m.sh("ip addr show lxcbr0").ok().contains("10.0.9.1/24"));
    m.net("stop").ok();
    assert_eq!(m.host(), before);
}

#[test]
fn programs_that_are_missing_are_named_with_their_package() {
    let m = Net::new(ON);
    let hide = |name: &str| {
        let dir = m.dir.join(name);
        fs::create_dir_all(dir.join("all")).unwrap();
        fs::create_dir_all(dir.join("some")).unwrap();
        let script = format!(
            "cd {0} && mount --bind /usr/sbin all && cp -as $PWD/all/. some/ && rm -f some/{name} && \
             mount --bind some /usr/sbin",
            dir.display()
        );
        m.sh(&script).ok();
    };
    hide("dnsmasq");
    let said = m.net("start").fails(1);
    assert!(said.contains("dnsmasq is not installed") && said.contains("dnsmasq-base"), "{said}");
    assert!(m.doctor(1).contains("dnsmasq is not installed\n  apt-get install dnsmasq-base"));
    m.sh("umount /usr/sbin").ok();
    m.settings("LXC_USE_NFT=false\n");
    hide("iptables");
    let said = m.net("start").fails(1);
    assert!(said.contains("iptables is not installed"), "{said}");
    m.sh("umount /usr/sbin").ok();
    m.settings(ON);
    m.net("start").ok();
}

#[test]
fn the_doctor_names_each_thing_that_blocks() {
    let m = Net::new(&format!("{ON}LXC_IPV6_ADDR=fd42::1\nLXC_IPV6_NAT=true\n"));
    let said = m.doctor(1);
    assert!(said.contains("\"lxcbr0\" is missing\n  lxc-net start\n"), "{said}");
    m.net("start").ok();
    let said = m.doctor(0);
    assert!(said.contains("note: ") && said.contains("/etc/lxc/lxc-usernet"), "{said}");
    assert!(said.ends_with("nothing blocks \"lxcbr0\"\n"), "{said}");
    let input = "nft add table inet wall; nft add chain inet wall in '{ type filter hook input \
                 priority 0; policy drop; }'";
    let forward = "nft add table inet wall; nft add chain inet wall through '{ type filter hook forward \
                   priority 0; policy accept; }'; nft add rule inet wall through ct state established \
                   accept; nft add rule inet wall through counter reject";
    // What is done, what the doctor says, and whether its command is enough to mend it.
    for (damage, what) in [
        ("ip link set lxcbr0 down", "\"lxcbr0\" is down"),
        ("ip addr del 10.0.3.1/24 dev lxcbr0", "has not the address 10.0.3.1/24"),
        ("kill $(cat /run/lxc/dnsmasq.pid)", "dnsmasq, the DHCP and DNS service"),
        ("sysctl -qw net.ipv4.ip_forward=0", "does not forward IPv4: net.ipv4.ip_forward is 0"),
        ("sysctl -qw net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.all.forwarding is 0"),
        ("nft delete table ip lxc", "nothing masquerades 10.0.3.0/24"),
        ("nft delete table ip6 lxc", "nothing masquerades fd42::/64"),
        (input, "\"inet wall in\" drops DHCP and DNS of containers: its policy is drop"),
        (
            forward,
            "\"inet wall through\" drops what containers send and get: its last rule is \"reject",
        ),
    ] {
        m.sh(damage).ok();
        let said = eventually(5, what, || {
            let done = m.net("doctor");
            (done.status == 1 && done.stdout.contains(what)).then_some(done.stdout)
        });
        let mut lines = said.lines().skip_while(|line| !line.contains(what));
        let (found, mend) = (lines.next(), lines.next());
        assert!(found.is_some_and(|line| line.starts_with("blocked: ")), "{damage}: {said}");
        let mend = mend.unwrap().trim().replace("lxc-net ", &format!("{BINARY} lxc-net "));
        m.sh(&mend).ok();
        // A bridge that was down has lost its routes of IPv6.
        m.net("start").ok();
        m.doctor(0);
        m.sh("nft delete table inet wall 2>/dev/null; true").ok();
    }
    for (damage, what, mend, undo) in [
        (
            "ip link add far type bridge && ip link set far up && ip route add 10.0.3.2/32 dev far && \
             sysctl -qw net.ipv4.conf.lxcbr0.rp_filter=1",
            "the reverse-path filter drops what comes from 10.0.3.2",
            "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.lxcbr0.rp_filter=2",
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.lxcbr0.rp_filter=0; ip link del far",
        ),
        (
            "ip link add far type bridge && ip link set far up && ip addr add 10.0.3.129/25 dev far",
            "10.0.3.0/24 overlaps 10.0.3.128/25, which is at \"far\"",
            "echo LXC_ADDR=10.0.4.1 >>/etc/default/lxc-net && lxc-net restart",
            "ip link del far",
        ),
        (
            "ip route del default",
            "the host itself has no IPv4 route to the outside",
            "ip route add default via GATEWAY",
            "ip route add default via 10.1.1.2",
        ),
        (
            "for i in $(seq 512); do echo link add p$i type veth peer name q$i; echo link set p$i \
             master lxcbr0; echo link set q$i master lxcbr0; done | ip -force -batch - 2>/dev/null; true",
            "\"lxcbr0\" is full: it has all 1023 ports",
            "ip link add lxcbr1 type bridge",
            "for i in $(seq 512); do echo link del p$i; done | ip -force -batch - 2>/dev/null; true",
        ),
    ] {
        m.sh(damage).ok();
        let said = m.doctor(1);
        assert!(said.contains(what) && said.contains(mend), "{damage}: {said}");
        m.sh(undo).ok();
        m.doctor(0);
    }
    m.sh("sysctl -qw net.ipv6.conf.lxcbr0.accept_ra=1").ok();
    assert!(m.doctor(0).contains("accept_ra of \"lxcbr0\" is not 0"));
    let mut command = m.command(BINARY);
    command.args(["lxc-net", "doctor", "--format", "json"]);
    assert!(run(command).ok().contains("\"blocks\": false"));
}

#[test]
fn lxcs_own_script_and_ours_take_over_from_each_other() {
    let script = "/usr/libexec/lxc/lxc-net";
    let m = Net::new(ON);
    m.sh("printf '. /etc/default/lxc-net\\n' >/etc/default/lxc; mkdir -p /run/lxc").ok();
    if m.sh(&format!("[ -x {script} ]")).status != 0 {
        println!("skipped: LXC's lxc-net is not installed");
        return;
    }
    let before = m.host();
    m.sh(&format!("{script} start")).ok();
    m.net("status").ok();
    m.doctor(0);
    m.net("start").ok();
    m.net("stop").ok();
    // LXC's script leaves the forwarding on, which was not ours to turn off.
    m.sh("sysctl -qw net.ipv4.ip_forward=0").ok();
    assert_eq!(m.host(), before);
    m.net("start").ok();
    m.sh(&format!("{script} stop")).ok();
    assert!(!m.host().contains("lxcbr0") && !m.host().contains("table"), "{}", m.host());
    m.net("start").ok();
    m.doctor(0);
    m.net("stop").ok();
    assert_eq!(m.host(), before);
}

#[test]
fn iptables_does_it_where_nft_is_not_wanted() {
    let all = "LXC_USE_NFT=false\nLXC_IPV6_ADDR=fd42::1\nLXC_IPV6_NAT=true\n";
    let m = Net::new(&format!("{ON}{all}"));
    // A firewall that drops: in one chain with it an accept helps.
    m.sh("iptables -P FORWARD DROP && iptables -A FORWARD -s 1.2.3.4 -j ACCEPT && \
          ip6tables -P FORWARD DROP && ip6tables -t nat -A POSTROUTING -s fd99::/64 -j MASQUERADE")
        .ok();
    let save = "iptables -S; iptables -t nat -S; ip6tables -S; ip6tables -t nat -S";
    let before = m.sh(save).ok();
    m.net("start").ok();
    let with = m.sh(save).ok();
    assert!(with.contains("-A FORWARD -i lxcbr0 -j ACCEPT"), "{with}");
    m.net("start").ok();
    assert_eq!(m.sh(save).ok(), with);
    m.doctor(0);
    let guest = m.guest("tables", 5);
    m.dhcp(&guest, "tables");
    m.inside(&guest, "ping -c 1 -W 2 10.1.1.2").ok();
    eventually(20, "the world to answer by IPv6", || {
        (m.inside(&guest, "ping -c 1 -W 1 fd01::2").status == 0).then_some(())
    });
    m.lxc("stop", &["-n", &guest, "-k"]).ok();
    m.net("stop").ok();
    assert_eq!(m.sh(save).ok(), before);
}

#[test]
fn a_firewall_of_either_iptables_is_named_and_mended() {
    let m = Net::new(ON);
    m.net("start").ok();
    let guest = m.guest("behind", 6);
    m.dhcp(&guest, "behind");
    for program in ["iptables-nft", "iptables-legacy"] {
        m.sh(&format!("{program} -P FORWARD DROP")).ok();
        let said = m.doctor(1);
        assert!(said.contains("FORWARD\" drops what containers send and get"), "{said}");
        m.inside(&guest, "ping -c 1 -W 1 10.1.1.2").fails(1);
        let line = said.lines().find(|line| line.starts_with("  iptables ")).unwrap();
        assert!(line.contains("-I FORWARD -i lxcbr0 -j ACCEPT && "), "{said}");
        m.sh(&line.replace("iptables", program)).ok();
        m.doctor(0);
        m.inside(&guest, "ping -c 1 -W 2 10.1.1.2").ok();
        m.sh(&format!("{program} -F && {program} -P FORWARD ACCEPT")).ok();
    }
}

#[test]
fn the_example_of_settings_is_one() {
    let m = Net::new(include_str!("../../config-examples/lxc-net"));
    let done = m.net("start");
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    m.doctor(0);
    assert!(m.net("status").ok().contains("fd42:1:2:3::1/64"));
}
