//! Tests of `plan`.

use super::*;
use crate::config::{Gateway, Ipv4Config, Ipv6Config, NetConfig, VethVlan};
use crate::util::blame::Explain;
use std::path::Path;
use std::rc::Rc;

fn at(line: u32) -> Origin {
    Origin { file: Rc::from(Path::new("/c/config")), line }
}

/// A configuration from (N, interface), each `type` on line 10*N+1 and the given keys behind it.
fn config(nets: Vec<(u32, NetConfig)>, keys: &[(&str, u32)]) -> Config {
    let mut config = Config::default();
    for (n, net) in nets {
        config.origins.insert(format!("lxc.net.{n}.type"), at(10 * n + 1));
        config.net.insert(n, net);
    }
    for (key, line) in keys {
        config.origins.insert(format!("lxc.net.{key}"), at(*line));
    }
    config
}

fn veth() -> NetConfig {
    NetConfig {
        kind: Some(NetKind::Veth),
        up: true,
        link: Some("br0".into()),
        ..NetConfig::default()
    }
}

fn v4(address: &str, prefix: u8) -> Sourced<Ipv4Config> {
    let address = address.parse().unwrap();
    let value = Ipv4Config { address, prefix, broadcast: None, implied: false };
    Sourced { value, origin: at(77) }
}

fn v6(address: &str, prefix: u8) -> Sourced<Ipv6Config> {
    let address = address.parse().unwrap();
    Sourced { value: Ipv6Config { address, prefix, implied: false }, origin: at(78) }
}

fn one(net: NetConfig) -> Result<NetPlan, NetError> {
    plan(&config(vec![(0, net)], &[]), "c1")
}

fn says(result: Result<NetPlan, NetError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn no_interfaces_is_a_bare_namespace() {
    let planned = plan(&Config::default(), "c1").unwrap();
    assert_eq!((planned.namespace, planned.nics.len()), (Namespace::Bare, 0));
    assert!(!planned.shares_host());
}

#[test]
fn none_shares_the_host_only_when_alone() {
    let none = NetConfig { kind: Some(NetKind::None), up: true, ..NetConfig::default() };
    assert!(one(none.clone()).unwrap().shares_host());
    let both = config(vec![(0, none.clone()), (3, none.clone())], &[]);
    assert!(plan(&both, "c1").unwrap().shares_host());
    let error = plan(&config(vec![(0, veth()), (1, none)], &[]), "c1").unwrap_err();
    assert!(matches!(*error.fault, Fault::NoneMixed));
    assert_eq!(error.origin().unwrap().line, 11);
}

#[test]
fn a_nic_without_type_is_blamed_on_its_first_key() {
    let mut config = config(vec![(2, NetConfig { kind: None, ..veth() })], &[("2.link", 9)]);
    config.origins.remove("lxc.net.2.type");
    let error = plan(&config, "c1").unwrap_err();
    assert_eq!((error.index, error.origin().unwrap().line), (Some(2), 9));
}

#[test]
fn explicit_names_come_first() {
    let named = |name: Option<&str>| NetConfig { name: name.map(Into::into), ..veth() };
    let nets = vec![
        (0, named(None)),
        (1, named(Some("eth0"))),
        (2, named(Some("lan%d"))),
        (3, named(Some("eth%d"))),
        (4, named(None)),
        (7, NetConfig { kind: Some(NetKind::Empty), ..NetConfig::default() }),
    ];
    let planned = plan(&config(nets, &[]), "c1").unwrap();
    let names: Vec<_> = planned.nics.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["eth1", "eth0", "lan0", "eth2", "eth3", ""]);
}

#[test]
fn bad_names_are_refused() {
    let named = |name: &str| one(NetConfig { name: Some(name.into()), ..veth() });
    for name in ["a b", "a/b", "..", "sixteen-letters1", "a:b", "a%s", "a%d%d", "", "lo"] {
        if name.is_empty() {
            continue; // an empty value clears the key
        }
        let error = named(name).unwrap_err();
        assert!(matches!(*error.fault, Fault::BadName { .. }), "{name}: {error}");
    }
    assert!(named("fifteen-letters").is_ok());
    let twice = |name: &str| NetConfig { name: Some(name.into()), ..veth() };
    let both = config(vec![(0, twice("x")), (1, twice("x"))], &[("1.name", 14)]);
    let error = plan(&both, "c1").unwrap_err();
    assert_eq!(error.to_string(), "lxc.net.1: \"x\" is the name of lxc.net.0 too");
    assert_eq!(error.origin().unwrap().line, 14);
    let link = NetConfig { link: Some("a-very-long-bridge".into()), ..veth() };
    assert!(says(one(link)).contains("longer than 15"));
}

#[test]
fn hardware_addresses_are_checked() {
    let with = |mac| NetConfig { hwaddr: Some(mac), ..veth() };
    assert!(says(one(with([1, 0, 0, 0, 0, 1]))).contains("01:00:00:00:00:01 is a multicast"));
    assert!(says(one(with([0; 6]))).contains("no address"));
    let mac = [2, 0, 0, 0, 0, 1];
    assert!(one(with(mac)).is_ok());
    let twice = plan(&config(vec![(0, with(mac)), (1, with(mac))], &[]), "c1");
    assert!(says(twice).contains("that of lxc.net.0 too"));
}

#[test]
fn the_mtu_has_limits() {
    let with = |mtu| NetConfig { mtu: Some(mtu), ..veth() };
    assert!(one(with(67)).is_err() && one(with(65_536)).is_err());
    assert!(one(with(68)).is_ok() && one(with(65_535)).is_ok());
    let small = NetConfig { ipv6: vec![v6("fd00::1", 64)], ..with(1279) };
    assert!(says(one(small)).contains("IPv6"));
}

#[test]
fn addresses_must_be_a_hosts() {
    let with = |address, prefix| NetConfig { ipv4: vec![v4(address, prefix)], ..veth() };
    assert!(says(one(with("10.0.3.0", 24))).contains("the network address"));
    assert!(says(one(with("10.0.3.255", 24))).contains("the broadcast address"));
    assert!(says(one(with("224.0.0.1", 24))).contains("not an address"));
    for (address, prefix) in [("10.0.3.7", 24), ("10.0.3.0", 31), ("10.0.3.0", 32), ("10.0.3.0", 8)]
    {
        assert!(one(with(address, prefix)).is_ok(), "{address}/{prefix}");
    }
    let mut odd = with("10.0.3.7", 24);
    odd.ipv4[0].value.broadcast = Some("10.0.4.255".parse().unwrap());
    let error = one(odd).unwrap_err();
    assert_eq!(error.origin().unwrap().line, 77);
    let twice = NetConfig { ipv6: vec![v6("fd00::1", 64), v6("fd00::1", 48)], ..veth() };
    assert!(says(one(twice)).contains("given twice"));
}

#[test]
fn what_an_address_without_a_prefix_length_becomes_is_told() {
    let mut net = NetConfig {
        ipv4: vec![v4("10.0.3.7", 8), v4("10.1.3.7", 24)],
        ipv6: vec![v6("fd00::1", 64)],
        ..veth()
    };
    assert_eq!(one(net.clone()).unwrap().notes, []);
    net.ipv4[0].value.implied = true;
    net.ipv6[0].value.implied = true;
    let said: Vec<_> = one(net).unwrap().notes.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with("/c/config:77: lxc.net.0: ") && said[0].contains(" 10.0.3.7/8"));
    assert!(said[1].starts_with("/c/config:78: lxc.net.0: ") && said[1].contains(" fd00::1/64"));
}

#[test]
fn devices_of_one_parent_that_exclude_each_other() {
    let of = |kind| NetConfig { kind: Some(kind), link: Some("eno1".into()), ..veth() };
    let macvlan = |macvlan_mode| NetConfig { macvlan_mode, ..of(NetKind::Macvlan) };
    let vlan = |id| NetConfig { vlan_id: Some(id), ..of(NetKind::Vlan) };
    let two = |a: &NetConfig, b: NetConfig| {
        let keys: &[_] = if b.vlan_id.is_some() { &[("1.vlan.id", 5)] } else { &[] };
        plan(&config(vec![(0, a.clone()), (1, b)], keys), "c1")
    };
    let (bridge, alone) = (macvlan(MacvlanMode::Bridge), macvlan(MacvlanMode::Passthru));
    assert!(says(two(&bridge, of(NetKind::Ipvlan))).contains("excludes type ipvlan"));
    assert!(says(two(&alone, bridge.clone())).contains("excludes type macvlan"));
    assert!(says(two(&bridge, alone)).contains("excludes type macvlan"));
    let error = two(&vlan(7), vlan(7)).unwrap_err();
    assert!(error.to_string().contains("VLAN 7"), "{error}");
    assert_eq!(error.origin().unwrap().line, 5);
    for fine in
        [bridge.clone(), vlan(7), NetConfig { link: Some("b".into()), ..of(NetKind::Ipvlan) }]
    {
        assert!(two(&bridge, fine).is_ok());
    }
    assert!(two(&vlan(7), vlan(8)).is_ok());
}

#[test]
fn gateways_are_checked_and_placed() {
    let base = NetConfig { ipv4: vec![v4("10.0.3.7", 24)], ..veth() };
    let with = |gateway: &str| NetConfig {
        ipv4_gateway: Some(Gateway::Address(gateway.parse().unwrap())),
        ..base.clone()
    };
    let hop = |result: Result<NetPlan, NetError>| result.unwrap().nics[0].gateways[0].hop;
    let on: IpAddr = "10.0.3.1".parse().unwrap();
    assert_eq!(hop(one(with("10.0.3.1"))), Hop::Via { gateway: on, off_link: false });
    let off = one(with("10.9.9.1")).unwrap();
    assert_eq!(off.notes.len(), 1);
    assert!(matches!(off.nics[0].gateways[0].hop, Hop::Via { off_link: true, .. }));
    assert!(says(one(with("10.0.3.7"))).contains("own address"));
    assert!(says(one(with("224.0.0.1"))).contains("cannot be a gateway"));
    assert!(says(one(NetConfig { up: false, ..with("10.0.3.1") })).contains("flags = up"));
    assert!(says(one(NetConfig { ipv4: vec![], ..with("10.0.3.1") })).contains("IPv4 address"));
    let auto = NetConfig { ipv4_gateway: Some(Gateway::Auto), ..base.clone() };
    assert_eq!(hop(one(auto.clone())), Hop::Auto);
    assert!(matches!(
        *one(NetConfig { link: None, ..auto }).unwrap_err().fault,
        Fault::GatewayAuto
    ));
    let dev = NetConfig { ipv4_gateway: Some(Gateway::Dev), ..base.clone() };
    assert_eq!(hop(one(dev)), Hop::Device);
    // A link-local IPv6 gateway needs no address.
    let local = Gateway::Address("fe80::1".parse().unwrap());
    let local = NetConfig { ipv6_gateway: Some(local), ..veth() };
    assert!(matches!(hop(one(local)), Hop::Via { off_link: false, .. }));
    let two = plan(&config(vec![(0, with("10.0.3.1")), (1, with("10.0.3.1"))], &[]), "c1");
    assert!(says(two).contains("lxc.net.0 has an IPv4 default gateway already"));
}

#[test]
fn keys_of_another_type_are_refused() {
    let empty = NetConfig { kind: Some(NetKind::Empty), ..NetConfig::default() };
    for key in ["0.link", "0.mtu", "0.veth.pair", "0.ipv4.gateway"] {
        let error = plan(&config(vec![(0, empty.clone())], &[(key, 5)]), "c1").unwrap_err();
        assert_eq!(error.origin().unwrap().line, 5, "{key}");
    }
    let address = NetConfig { ipv4: vec![v4("10.0.0.2", 8)], ..empty.clone() };
    assert_eq!(one(address).unwrap_err().origin().unwrap().line, 77);
    let fine = config(vec![(0, empty)], &[("0.flags", 5), ("0.script.up", 6)]);
    assert!(plan(&fine, "c1").is_ok());
    let error = plan(&config(vec![(0, veth())], &[("0.macvlan.mode", 5)]), "c1").unwrap_err();
    assert!(error.to_string().contains("\"lxc.net.0.macvlan.mode\" means nothing for type veth"));
    assert!(plan(&config(vec![(0, veth())], &[("0.veth.pair", 5)]), "c1").is_ok());
}

#[test]
fn a_key_of_interface_10_is_not_one_of_1() {
    let nets = vec![(1, veth()), (10, veth())];
    let planned = plan(&config(nets, &[("10.link", 33), ("1.link", 22)]), "c1").unwrap();
    assert_eq!(planned.nics[0].origin(&["link"]).unwrap().line, 22);
    assert_eq!(planned.nics[1].origin(&["link"]).unwrap().line, 33);
    assert_eq!(planned.nics[1].origin(&["name"]).unwrap().line, 101);
}

fn of(kind: NetKind) -> NetConfig {
    NetConfig { kind: Some(kind), ..veth() }
}

#[test]
fn types_on_a_parent_need_one() {
    for kind in [NetKind::Vlan, NetKind::Ipvlan, NetKind::Macvlan, NetKind::Phys] {
        let error = one(NetConfig { link: None, ..of(kind) }).unwrap_err();
        assert!(matches!(*error.fault, Fault::NoLink { .. }), "{error}");
        assert_eq!(error.origin().unwrap().line, 1);
    }
    assert!(one(NetConfig { link: None, ..veth() }).is_ok());
}

#[test]
fn a_vlan_needs_its_number() {
    assert!(matches!(*one(of(NetKind::Vlan)).unwrap_err().fault, Fault::NoVlanId));
    let with = |id| one(NetConfig { vlan_id: Some(id), ..of(NetKind::Vlan) });
    assert!(matches!(*with(0).unwrap_err().fault, Fault::VlanRange { id: 0 }));
    assert!(with(4095).is_err());
    assert_eq!(with(4094).unwrap().nics[0].device, Device::Vlan(4094));
}

#[test]
fn an_ipvlan_has_no_address_of_its_own() {
    let net = NetConfig { hwaddr: Some([2, 0, 0, 0, 0, 1]), ..of(NetKind::Ipvlan) };
    assert!(matches!(*one(net).unwrap_err().fault, Fault::MacOfParent));
    assert!(one(of(NetKind::Ipvlan)).is_ok());
}

#[test]
fn a_proxy_needs_link_and_addresses() {
    let proxy = NetConfig { l2proxy: true, ..veth() };
    assert!(matches!(*one(proxy.clone()).unwrap_err().fault, Fault::ProxyOfNothing));
    let full = NetConfig { ipv4: vec![v4("10.0.3.7", 24)], ..proxy };
    assert!(one(full.clone()).unwrap().nics[0].l2proxy);
    let alone = NetConfig { link: None, ..full.clone() };
    assert!(matches!(*one(alone).unwrap_err().fault, Fault::ProxyNeedsLink));
    let ipvlan = NetConfig { kind: Some(NetKind::Ipvlan), ..full };
    assert!(matches!(*one(ipvlan.clone()).unwrap_err().fault, Fault::ProxyMode));
    assert!(one(NetConfig { ipvlan_mode: IpvlanMode::L3s, ..ipvlan }).is_ok());
}

#[test]
fn a_phys_keeps_its_name() {
    let net = |link: &str| NetConfig { link: Some(link.into()), ..of(NetKind::Phys) };
    let nets = vec![(0, net("enp3s0")), (1, veth()), (2, net("wwan+"))];
    let planned = plan(&config(nets, &[]), "c1").unwrap();
    let names: Vec<_> = planned.nics.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["enp3s0", "eth0", ""]);
    let prefix = |n: usize| match &planned.nics[n].device {
        Device::Phys(plan) => plan.prefix.clone(),
        _ => None,
    };
    assert_eq!((prefix(0), prefix(2).as_deref()), (None, Some("wwan")));
    let both =
        config(vec![(0, net("e1")), (1, NetConfig { name: Some("x".into()), ..net("e1") })], &[]);
    let error = plan(&both, "c1").unwrap_err();
    assert!(matches!(*error.fault, Fault::DuplicateDevice { other: 0, .. }), "{error}");
}

#[test]
fn vlans_of_a_port_are_checked() {
    let sourced = |value| Sourced { value, origin: at(9) };
    let with = |id: Option<VethVlan>, tagged: &[u16]| {
        let mut net = veth();
        net.veth.vlan_id = id;
        net.veth.vlan_tagged = tagged.iter().map(|v| sourced(*v)).collect();
        net
    };
    let planned = one(with(Some(VethVlan::Id(5)), &[6, 7])).unwrap();
    let Device::Veth(plan) = &planned.nics[0].device else { panic!() };
    assert_eq!((plan.vlan, plan.vlan_tagged.as_slice()), (Some(VethVlan::Id(5)), &[6, 7][..]));
    assert!(one(with(Some(VethVlan::None), &[6])).is_ok());
    assert!(matches!(
        *one(with(Some(VethVlan::Id(6)), &[6])).unwrap_err().fault,
        Fault::VlanTwice { id: 6 }
    ));
    assert!(one(with(None, &[6, 6])).is_err() && one(with(None, &[0])).is_err());
    let mut router = with(None, &[6]);
    router.veth.router = true;
    assert!(matches!(*one(router).unwrap_err().fault, Fault::VlanNeedsBridge));
    let unattached = NetConfig { link: None, ..with(Some(VethVlan::Id(5)), &[]) };
    assert!(matches!(*one(unattached).unwrap_err().fault, Fault::VlanNeedsBridge));
}

#[test]
fn scripts_keep_their_lines() {
    let net = NetConfig { script_up: Some("/x a".into()), ..veth() };
    let planned = plan(&config(vec![(0, net)], &[("0.script.up", 8)]), "c1").unwrap();
    let script = planned.nics[0].script_up.as_ref().unwrap();
    assert_eq!((script.value.as_str(), script.origin.line), ("/x a", 8));
    assert!(planned.nics[0].script_down.is_none());
}

#[test]
fn networks_hold_their_addresses() {
    let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
    assert!(contains(ip("10.0.3.7"), 24, ip("10.0.3.255")));
    assert!(!contains(ip("10.0.3.7"), 24, ip("10.0.4.1")));
    assert!(contains(ip("10.0.3.7"), 0, ip("1.2.3.4")));
    assert!(!contains(ip("10.0.3.7"), 32, ip("10.0.3.6")));
    assert!(contains(ip("fd00::1"), 64, ip("fd00::ffff")));
    assert!(!contains(ip("fd00::1"), 128, ip("fd00::2")));
    assert!(!contains(ip("fd00::1"), 0, ip("10.0.0.1")));
}

#[test]
fn every_example_can_be_planned() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config-examples"));
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("net-") {
            continue;
        }
        let loaded = crate::config::document::load(&path, &Default::default()).unwrap();
        assert_eq!(loaded.warnings.len(), 0, "{name}");
        let planned = plan(&loaded.config, "c1").unwrap_or_else(|e| panic!("{name}: {e}"));
        seen.extend(planned.nics.iter().map(|nic| nic.kind));
        seen.extend(planned.shares_host().then_some(NetKind::None));
    }
    for kind in [
        NetKind::None,
        NetKind::Empty,
        NetKind::Veth,
        NetKind::Vlan,
        NetKind::Macvlan,
        NetKind::Ipvlan,
        NetKind::Phys,
    ] {
        assert!(seen.contains(&kind), "no example of {kind:?}");
    }
}
