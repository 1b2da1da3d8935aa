//! The rows of one network, `lxc.net.N.*`, sorted by name.

use super::access::{Access, Holds, Slot as _, many, nothing, one, show_all};
use crate::config::value::{net as value, *};
use crate::config::{NetConfig, NetKind};

use super::Live;

type Key = super::Key<NetConfig>;

/// `lxc.net.N.hwaddr`: random digits are drawn here, and the text is given back so that they are
/// kept when the configuration is saved.
const HWADDR: Access<NetConfig> = Access {
    set: |net, arg| {
        let expanded = value::expand_hwaddr(arg.value, || (arg.options.random)().ok())?;
        net.hwaddr = (value::HWADDR.parse)(expanded.as_deref().unwrap_or(arg.value))?;
        arg.rewritten = expanded;
        Ok(())
    },
    ..one!(hwaddr, value::HWADDR)
};

pub(super) static KEYS: &[Key] = &[
    Key::new("lxc.net.N", nothing(), "", "with an empty value: removes this network"),
    Key::new("lxc.net.N.flags", one!(up, value::FLAGS), "up", "bring the interface and lo up")
        .live(Live::Net),
    Key::new(
        "lxc.net.N.hwaddr",
        HWADDR,
        "10:66:6a:12:34:56",
        "hardware address; each x becomes a random digit and is then saved",
    )
    .live(Live::Net),
    Key::new(
        "lxc.net.N.ipv4.address",
        many!(ipv4, value::IPV4),
        "10.0.3.2/24 10.0.3.127",
        "an address, with its broadcast address if it is an unusual one",
    )
    .live(Live::Net),
    Key::new(
        "lxc.net.N.ipv4.gateway",
        one!(ipv4_gateway, value::GATEWAY4),
        "10.0.3.1",
        "default route: an address, the link's own (auto) or the device (dev)",
    ),
    Key::new("lxc.net.N.ipv6.address", many!(ipv6, value::IPV6), "fd00:3::2/64", "an address")
        .live(Live::Net),
    Key::new(
        "lxc.net.N.ipv6.gateway",
        one!(ipv6_gateway, value::GATEWAY6),
        "auto",
        "default route: an address, the link's own (auto) or the device (dev)",
    ),
    Key::new(
        "lxc.net.N.ipvlan.isolation",
        one!(ipvlan_isolation, value::IPVLAN_ISOLATION),
        "private",
        "who may talk to whom on the same link",
    )
    .needs(NetKind::Ipvlan),
    Key::new(
        "lxc.net.N.ipvlan.mode",
        one!(ipvlan_mode, value::IPVLAN_MODE),
        "l3s",
        "layer that the link works on",
    )
    .needs(NetKind::Ipvlan),
    Key::new(
        "lxc.net.N.l2proxy",
        one!(l2proxy, BOOL),
        "1",
        "answer for the container's addresses on the link (proxy ARP and NDP)",
    ),
    Key::new(
        "lxc.net.N.link",
        one!(link, value::IFNAME),
        "lxcbr0",
        "bridge, parent or device on the host",
    ),
    Key::new(
        "lxc.net.N.macvlan.mode",
        one!(macvlan_mode, value::MACVLAN_MODE),
        "bridge",
        "who may talk to whom on the same link",
    )
    .needs(NetKind::Macvlan),
    Key::new("lxc.net.N.mtu", one!(mtu, value::MTU), "1500", "largest packet, for both ends")
        .live(Live::Net),
    Key::new("lxc.net.N.name", one!(name, value::IFNAME), "eth0", "name in the container"),
    Key::new(
        "lxc.net.N.script.down",
        one!(script_down, COMMAND),
        "/usr/local/sbin/net-down",
        "run on the host before the device goes",
    ),
    Key::new(
        "lxc.net.N.script.up",
        one!(script_up, COMMAND),
        "/usr/local/sbin/net-up",
        "run on the host when the device is made; its failure ends the start",
    ),
    Key::new(
        "lxc.net.N.type",
        one!(kind, value::KIND),
        "veth",
        "kind of network; resets the other keys of N, so it comes first",
    ),
    Key::new(
        "lxc.net.N.veth.ipv4.route",
        many!(veth.ipv4_routes, value::ROUTE4),
        "192.0.2.0/24",
        "a route on the host to the host end",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.ipv6.route",
        many!(veth.ipv6_routes, value::ROUTE6),
        "2001:db8::/64",
        "a route on the host to the host end",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.mode",
        one!(veth.router, value::VETH_ROUTER),
        "router",
        "attach the host end to a bridge, or route to it",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.n_rxqueues",
        one!(veth.rx_queues, value::QUEUES),
        "4",
        "number of receive queues",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.n_txqueues",
        one!(veth.tx_queues, value::QUEUES),
        "4",
        "number of transmit queues",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.pair",
        one!(veth.pair, value::IFNAME),
        "vethweb",
        "name of the host end; random if not set",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.vlan.id",
        one!(veth.vlan_id, value::VETH_VLAN),
        "10",
        "untagged VLAN of the bridge port; none removes the bridge's default",
    )
    .needs(NetKind::Veth),
    Key::new(
        "lxc.net.N.veth.vlan.tagged.id",
        many!(veth.vlan_tagged, value::TAGGED_VLAN),
        "20",
        "a tagged VLAN of the bridge port",
    )
    .needs(NetKind::Veth),
    Key::new("lxc.net.N.vlan.id", one!(vlan_id, value::VLAN_ID), "42", "VLAN of a type vlan")
        .needs(NetKind::Vlan),
];
