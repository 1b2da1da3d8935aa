//! Bridges of Open vSwitch: Debian's switch with its datapath in user space, of which every
//! kernel has what it needs.

use crate::machine::{Machine, eventually};

/// A running switch with the bridge ovs0 at 10.8.0.1.
pub struct Switch<'a>(&'a Machine);

const START: &str = "set -e; mkdir -p /run/openvswitch; cd /run/openvswitch
    ovsdb-tool create conf.db /usr/share/openvswitch/vswitch.ovsschema
    ovsdb-server conf.db --remote=punix:/run/openvswitch/db.sock --detach --no-chdir \
        --pidfile=/run/openvswitch/ovsdb-server.pid --log-file=/run/openvswitch/db.log -vconsole:off
    ovs-vsctl --timeout=10 --no-wait init
    PATH=/usr/lib/openvswitch-switch:$PATH ovs-vswitchd --detach --no-chdir -vconsole:off \
        --pidfile=/run/openvswitch/ovs-vswitchd.pid --log-file=/run/openvswitch/switch.log
    ovs-vsctl --timeout=20 add-br ovs0 -- set bridge ovs0 datapath_type=netdev
    ip addr add 10.8.0.1/24 dev ovs0; ip link set ovs0 up";

impl<'a> Switch<'a> {
    pub fn on(m: &'a Machine) -> Self {
        let log = "</dev/null >/run/start.log 2>&1 || { cat /run/start.log; exit 1; }";
        m.sh(&format!("({START}) {log}")).ok();
        Self(m)
    }

    pub fn tell(&self, words: &str) -> String {
        self.0.sh(&format!("ovs-vsctl --timeout=10 {words}")).ok()
    }
}

impl Drop for Switch<'_> {
    fn drop(&mut self) {
        let _ = self.0.sh(
            "cd /run/openvswitch; for f in ovs-vswitchd ovsdb-server; do kill $(cat $f.pid); done",
        );
    }
}

fn lines(last: u8, more: &str) -> String {
    format!(
        "lxc.net.0.type = veth\nlxc.net.0.link = ovs0\nlxc.net.0.flags = up\n\
         lxc.net.0.veth.pair = port{last}\nlxc.net.0.hwaddr = 02:00:00:00:00:0{last}\nlxc.net.0.ipv4.address = 10.8.0.{last}/24\n{more}"
    )
}

#[test]
fn ports_of_a_switch_come_and_go() {
    let Some(m) = Machine::with_debs() else { return };
    let s = Switch::on(&m);
    let vlan = |id, tagged: &str| format!("lxc.net.0.veth.vlan.id = {id}\n{tagged}");
    let plain = m.container("plain", &lines(2, ""));
    let [one, two] = [3, 4].map(|n| m.container(&format!("ten{n}"), &lines(n, &vlan("10", ""))));
    let trunk = "lxc.net.0.veth.vlan.tagged.id = 30\nlxc.net.0.veth.vlan.tagged.id = 31\n";
    let other = m.container("twenty", &lines(5, &vlan("20", trunk)));
    for name in [&plain, &one, &two, &other] {
        m.start(name);
    }
    let ping = |from: &str, to: &str| m.inside(from, &format!("ping -c 1 -W 1 10.8.0.{to}")).status;
    // A switch learns of the state of its ports in its own time.
    let reaches = |from: &str, to: &str| {
        eventually(10, &format!("{to} to answer {from}"), || (ping(from, to) == 0).then_some(()));
    };
    reaches(&plain, "1");
    reaches(&one, "4");
    reaches(&two, "3");
    assert_eq!((ping(&one, "5"), ping(&one, "1")), (1, 1), "VLANs are apart");
    let port = |n: u8| s.tell(&format!("--bare --columns=vlan_mode,tag,trunks list port port{n}"));
    assert_eq!(port(2).trim(), "");
    assert_eq!(port(3).split_whitespace().collect::<Vec<_>>(), ["access", "10"]);
    let words = port(5).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words, ["native-untagged", "20", "30", "31"]);

    // A stop takes the port out; a name that was made up works as well.
    m.lxc("stop", &["-n", &two, "-k"]).ok();
    assert!(!s.tell("list-ports ovs0").contains("port4"));
    m.start(&two);
    reaches(&one, "4");
    // The switch keeps the port of a device that is gone with a killed monitor: the next start of
    // whichever container takes it out.
    let config = std::fs::read_to_string(m.config(&two)).unwrap();
    let config = config.replace("lxc.net.0.veth.pair = port4\n", "");
    std::fs::write(m.config(&two), config).unwrap();
    m.lxc("stop", &["-n", &two, "-k"]).ok();
    m.start(&two);
    reaches(&one, "4");
    let made_up = |n: usize| {
        let ports = s.tell("list-ports ovs0");
        let ports: Vec<String> =
            ports.lines().filter(|p| p.starts_with("veth")).map(str::to_owned).collect();
        assert_eq!(ports.len(), n, "{ports:?}");
        ports
    };
    let old = made_up(1);
    m.sh(&format!("kill -9 {}", m.monitor_pid(&two).expect("a monitor"))).ok();
    eventually(10, "the device to go", || {
        (m.sh(&format!("ip link show {}", old[0])).status != 0).then_some(())
    });
    assert_eq!(made_up(1), old);
    m.start(&two);
    assert_ne!(made_up(1), old);
    reaches(&one, "4");
    for name in [&plain, &one, &two, &other] {
        m.lxc("stop", &["-n", name, "-k"]).ok();
    }
    assert_eq!(s.tell("list-ports ovs0"), "");
    // Without the switch the start says so in time.
    m.sh("kill $(cat /run/openvswitch/ovsdb-server.pid)").ok();
    let said = m.lxc("start", &["-n", &plain]).fails(1);
    assert!(said.contains("lxc.net.0") && said.contains("ovs0"), "{said}");
}
