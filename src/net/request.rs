//! What the verbs of `rtnl` are told, and how it is written into requests. Pure.

use crate::net::codec::{Request, nl};
use crate::net::uapi::*;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A link that is to be made.
#[derive(Clone, Debug)]
pub struct NewLink<'a> {
    /// Its name.
    pub name: &'a str,
    /// Type and what the type needs.
    pub kind: LinkKind<'a>,
    /// Attributes that all types share.
    pub common: Common<'a>,
}

/// Attributes of a new link, or of a veth's peer. `Default` leaves all to the kernel.
#[derive(Clone, Debug, Default)]
pub struct Common<'a> {
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Made in this network namespace instead of the socket's.
    pub netns: Option<BorrowedFd<'a>>,
    /// Index of the parent (macvlan, ipvlan, vlan), in the socket's namespace.
    pub parent: Option<u32>,
    /// Up at once.
    pub up: bool,
    /// Receive queues.
    pub rx_queues: Option<u32>,
    /// Transmit queues.
    pub tx_queues: Option<u32>,
}

/// The type of a new link.
#[derive(Clone, Debug)]
pub enum LinkKind<'a> {
    /// A pair; the new link is one end.
    Veth {
        /// Name of the other end.
        peer_name: &'a str,
        /// Attributes of the other end.
        peer: Common<'a>,
    },
    /// A bridge.
    Bridge,
    /// A device with its own address on a parent.
    Macvlan {
        /// `MACVLAN_MODE_*`.
        mode: u32,
    },
    /// A device with its parent's address.
    Ipvlan {
        /// `IPVLAN_MODE_*`.
        mode: u16,
        /// `IPVLAN_F_*`.
        flags: u16,
    },
    /// One VLAN of a parent.
    Vlan {
        /// 802.1Q identifier.
        id: u16,
    },
    /// A tunnel over UDP.
    Vxlan {
        /// Its network identifier, 24 bits.
        id: u32,
    },
    /// A type of that name, which needs nothing more.
    Plain(&'static str),
}

/// Which link a verb is about.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// By name.
    Name(&'a str),
    /// By index; the name is for error messages.
    Index(u32, &'a str),
}

impl<'a> Target<'a> {
    /// What errors call it.
    pub fn name(self) -> &'a str {
        match self {
            Self::Name(name) | Self::Index(_, name) => name,
        }
    }
}

/// What to change of a link; `Default` changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Change<'a> {
    /// New name; needs [`Target::Index`].
    pub rename: Option<&'a str>,
    /// New MTU.
    pub mtu: Option<u32>,
    /// New hardware address.
    pub mac: Option<[u8; 6]>,
    /// Index of the new master; 0 takes it out of its master.
    pub master: Option<u32>,
    /// Moves it to this network namespace.
    pub netns: Option<BorrowedFd<'a>>,
    /// Up or down.
    pub up: Option<bool>,
}

/// A route in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRoute {
    /// Network and prefix length; `None` is the default route.
    pub destination: Option<(IpAddr, u8)>,
    /// Next hop; `None` is the device itself.
    pub gateway: Option<IpAddr>,
    /// Index of the device.
    pub device: u32,
    /// Only looked at when neither of the addresses is there: true is IPv6.
    pub ipv6: bool,
}

impl fmt::Display for NewRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destination {
            Some((net, prefix)) => write!(f, "{net}/{prefix}")?,
            None => f.write_str("default")?,
        }
        self.gateway.map_or(Ok(()), |gateway| write!(f, " via {gateway}"))
    }
}

/// One VLAN of a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortVlan {
    /// 1 to 4094.
    pub id: u16,
    /// What arrives untagged belongs to it, and it leaves untagged.
    pub untagged: bool,
}

impl LinkKind<'_> {
    /// The kernel's name of the type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::Bridge => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Vlan { .. } => "vlan",
            Self::Vxlan { .. } => "vxlan",
            Self::Plain(name) => name,
        }
    }
}

/// RTM_NEWLINK that makes a link.
pub(super) fn new_link(new: &NewLink<'_>) -> Request {
    let mut request = Request::new(RTM_NEWLINK, nl::CREATE | nl::EXCL);
    put_new(&mut request, new.name, &new.common);
    let info = request.begin(IFLA_LINKINFO);
    request.string(IFLA_INFO_KIND, new.kind.name());
    let data = request.begin(IFLA_INFO_DATA);
    match &new.kind {
        LinkKind::Veth { peer_name, peer } => {
            let nest = request.begin(VETH_INFO_PEER);
            put_new(&mut request, peer_name, peer);
            request.end(nest);
        }
        LinkKind::Bridge | LinkKind::Plain(_) => {}
        LinkKind::Vxlan { id } => _ = request.u32(IFLA_VXLAN_ID, *id),
        LinkKind::Macvlan { mode } => _ = request.u32(IFLA_MACVLAN_MODE, *mode),
        LinkKind::Ipvlan { mode, flags } => {
            request.u16(IFLA_IPVLAN_MODE, *mode);
            // FALLBACK(<4.15): the attribute is newer than the type, and 0 is its default.
            if *flags != 0 {
                request.u16(IFLA_IPVLAN_FLAGS, *flags);
            }
        }
        LinkKind::Vlan { id } => _ = request.u16(IFLA_VLAN_ID, *id),
    }
    request.end(data).end(info);
    request
}

fn put_new(request: &mut Request, name: &str, common: &Common<'_>) {
    let flags = if common.up { IFF_UP } else { 0 };
    request.fixed(&ifinfo(0, flags, flags)).string(IFLA_IFNAME, name);
    put_common(request, common);
}

/// A request about one link.
pub(super) fn about_link(kind: u16, target: Target<'_>, flags: u32, mask: u32) -> Request {
    let mut request = Request::new(kind, 0);
    match target {
        Target::Index(index, _) => request.fixed(&ifinfo(index, flags, mask)),
        Target::Name(name) => request.fixed(&ifinfo(0, flags, mask)).string(IFLA_IFNAME, name),
    };
    request
}

/// RTM_SETLINK. The kernel applies namespace, MAC, MTU, name, master and flags in this order,
/// whatever their order in the request.
pub(super) fn set_link(target: Target<'_>, change: &Change<'_>) -> Request {
    let (flags, mask) = match change.up {
        Some(true) => (IFF_UP, IFF_UP),
        Some(false) => (0, IFF_UP),
        None => (0, 0),
    };
    let mut request = about_link(RTM_SETLINK, target, flags, mask);
    if let Some(name) = change.rename {
        request.string(IFLA_IFNAME, name);
    }
    if let Some(master) = change.master {
        request.u32(IFLA_MASTER, master);
    }
    let common =
        Common { mtu: change.mtu, mac: change.mac, netns: change.netns, ..Common::default() };
    put_common(&mut request, &common);
    request
}

/// RTM_SETLINK that keeps a link which is down from getting an IPv6 link-local address.
pub(super) fn no_link_local(target: Target<'_>) -> Request {
    let mut request = about_link(RTM_SETLINK, target, 0, 0);
    let spec = request.begin(IFLA_AF_SPEC | NESTED);
    let inet6 = request.begin(u16::from(AF_INET6) | NESTED);
    request.attr(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    request.end(inet6).end(spec);
    request
}

/// RTM_NEWLINKPROP or RTM_DELLINKPROP for alternative names.
pub(super) fn alt_names(kind: u16, index: u32, names: &[String]) -> Request {
    let flags = if kind == RTM_NEWLINKPROP { nl::CREATE | nl::EXCL } else { 0 };
    let mut request = Request::new(kind, flags);
    request.fixed(&ifinfo(index, 0, 0));
    let list = request.begin(IFLA_PROP_LIST | NESTED);
    for name in names {
        request.string(IFLA_ALT_IFNAME, name);
    }
    request.end(list);
    request
}

/// RTM_SETLINK or RTM_DELLINK for VLANs of a bridge port.
pub(super) fn port_vlans(kind: u16, port: u32, vlans: &[PortVlan]) -> Request {
    let mut request = Request::new(kind, 0);
    let mut info = ifinfo(port, 0, 0);
    info[0] = AF_BRIDGE;
    request.fixed(&info);
    let spec = request.begin(IFLA_AF_SPEC | NESTED);
    for vlan in vlans {
        let flags =
            if vlan.untagged { BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED } else { 0 };
        let [f0, f1] = flags.to_ne_bytes();
        let [v0, v1] = vlan.id.to_ne_bytes();
        request.attr(IFLA_BRIDGE_VLAN_INFO, &[f0, f1, v0, v1]);
    }
    request.end(spec);
    request
}

/// RTM_NEWADDR or RTM_DELADDR.
pub(super) fn address(
    kind: u16,
    device: u32,
    address: IpAddr,
    prefix: u8,
    broadcast: Option<IpAddr>,
) -> Request {
    let flags = if kind == RTM_NEWADDR { nl::CREATE | nl::EXCL } else { 0 };
    let mut request = Request::new(kind, flags);
    let index = device.to_ne_bytes();
    request.fixed(&[family(address), prefix, 0, 0, index[0], index[1], index[2], index[3]]);
    put_ip(&mut request, IFA_LOCAL, address);
    put_ip(&mut request, IFA_ADDRESS, address);
    if let Some(broadcast) = broadcast {
        put_ip(&mut request, IFA_BROADCAST, broadcast);
    }
    request
}

/// RTM_NEWROUTE or RTM_DELROUTE.
pub(super) fn route(kind: u16, route: &NewRoute) -> Request {
    let flags = if kind == RTM_NEWROUTE { nl::CREATE | nl::EXCL } else { 0 };
    let sample = route.gateway.or(route.destination.map(|(net, _)| net));
    let ipv6 = sample.map_or(route.ipv6, |ip| ip.is_ipv6());
    let family = if ipv6 { AF_INET6 } else { AF_INET };
    let scope = if route.gateway.is_some() { RT_SCOPE_UNIVERSE } else { RT_SCOPE_LINK };
    let prefix = route.destination.map_or(0, |(_, prefix)| prefix);
    let mut request = Request::new(kind, flags);
    // struct rtmsg: family, destination and source length, TOS, table, protocol, scope, type.
    request.fixed(&[family, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST]);
    request.fixed(&[0; 4]);
    if let Some((net, _)) = route.destination {
        put_ip(&mut request, RTA_DST, net);
    }
    if let Some(gateway) = route.gateway {
        put_ip(&mut request, RTA_GATEWAY, gateway);
    }
    request.u32(RTA_OIF, route.device);
    request
}

/// RTM_GETROUTE for the way of a packet from `source` that comes in by the link `device`.
pub(super) fn way(source: IpAddr, destination: IpAddr, device: u32) -> Request {
    let bits = if source.is_ipv6() { 128 } else { 32 };
    let mut request = Request::new(RTM_GETROUTE, 0);
    request.fixed(&[family(source), bits, bits, 0, 0, 0, 0, 0]).fixed(&[0; 4]);
    put_ip(&mut request, RTA_DST, destination);
    put_ip(&mut request, RTA_SRC, source);
    request.u32(RTA_IIF, device);
    request
}

/// RTM_NEWNEIGH or RTM_DELNEIGH for an address that the host answers for on `device`.
pub(super) fn proxy(kind: u16, device: u32, address: IpAddr) -> Request {
    let flags = if kind == RTM_NEWNEIGH { nl::CREATE | nl::REPLACE } else { 0 };
    let mut request = Request::new(kind, flags);
    request.fixed(&ndmsg(family(address), device, NTF_PROXY));
    put_ip(&mut request, NDA_DST, address);
    request
}

/// RTM_GETNEIGH for the port of the bridge `bridge` behind which `mac` was seen.
pub(super) fn get_fdb(bridge: u32, mac: [u8; 6], vlan: Option<u16>) -> Request {
    let mut request = Request::new(RTM_GETNEIGH, 0);
    request.fixed(&ndmsg(AF_BRIDGE, 0, 0));
    request.attr(NDA_LLADDR, &mac).u32(NDA_MASTER, bridge);
    if let Some(vlan) = vlan {
        request.u16(NDA_VLAN, vlan);
    }
    request
}

/// `struct ifinfomsg`.
pub(super) fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

/// `struct ndmsg`.
fn ndmsg(family: u8, device: u32, flags: u8) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&device.to_ne_bytes());
    bytes[10] = flags;
    bytes
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv6() { AF_INET6 } else { AF_INET }
}

fn put_common(request: &mut Request, common: &Common<'_>) {
    if let Some(mtu) = common.mtu {
        request.u32(IFLA_MTU, mtu);
    }
    if let Some(mac) = common.mac {
        request.attr(IFLA_ADDRESS, &mac);
    }
    if let Some(netns) = common.netns {
        request.attr(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
    }
    if let Some(parent) = common.parent {
        request.u32(IFLA_LINK, parent);
    }
    if let Some(queues) = common.rx_queues {
        request.u32(IFLA_NUM_RX_QUEUES, queues);
    }
    if let Some(queues) = common.tx_queues {
        request.u32(IFLA_NUM_TX_QUEUES, queues);
    }
}

fn put_ip(request: &mut Request, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => request.attr(kind, &v4.octets()),
        IpAddr::V6(v6) => request.attr(kind, &v6.octets()),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::codec::{Message, attrs_after, messages};

    fn with<T>(request: Request, look: impl FnOnce(&Message<'_>) -> T) -> T {
        let bytes = request.finish(1).unwrap();
        look(&messages(&bytes).next().unwrap().unwrap())
    }

    #[test]
    fn a_pair_has_its_peer_nested() {
        let peer = Common { mtu: Some(1400), ..Common::default() };
        let new = NewLink {
            name: "eth0",
            kind: LinkKind::Veth { peer_name: "vethX", peer },
            common: Common { up: true, ..Common::default() },
        };
        with(new_link(&new), |m| {
            assert_eq!((m.kind, m.flags), (RTM_NEWLINK, nl::CREATE | nl::EXCL | nl::REQUEST));
            assert_eq!(m.payload[8..12], IFF_UP.to_ne_bytes());
            let top: Vec<_> = attrs_after(m.payload, 16).unwrap().flatten().collect();
            assert_eq!(top[0].string(), "eth0");
            let info: Vec<_> = top[1].nested().flatten().collect();
            assert_eq!(info[0].string(), "veth");
            let peer = info[1].nested().next().unwrap().unwrap();
            let inner: Vec<_> = attrs_after(peer.data, 16).unwrap().flatten().collect();
            assert_eq!((inner[0].string().as_str(), inner[1].u32()), ("vethX", Ok(1400)));
        });
    }

    #[test]
    fn vlans_of_a_port_are_flagged() {
        let vlans = [PortVlan { id: 10, untagged: true }, PortVlan { id: 20, untagged: false }];
        with(port_vlans(RTM_SETLINK, 7, &vlans), |m| {
            assert_eq!((m.payload[0], m.payload[4]), (AF_BRIDGE, 7));
            let spec = attrs_after(m.payload, 16).unwrap().next().unwrap().unwrap();
            let list: Vec<_> = spec.nested().flatten().map(|a| a.u32().unwrap()).collect();
            let word = |flags: u32, id: u32| {
                if cfg!(target_endian = "little") { flags | id << 16 } else { flags << 16 | id }
            };
            assert_eq!(list, [word(6, 10), word(0, 20)]);
        });
    }

    #[test]
    fn routes_take_their_family_from_their_addresses() {
        let via = |gateway: &str, ipv6| NewRoute {
            destination: None,
            gateway: Some(gateway.parse().unwrap()),
            device: 3,
            ipv6,
        };
        with(route(RTM_NEWROUTE, &via("10.0.0.1", true)), |m| {
            assert_eq!((m.payload[0], m.payload[6]), (AF_INET, RT_SCOPE_UNIVERSE));
        });
        let device = NewRoute { destination: None, gateway: None, device: 3, ipv6: true };
        with(route(RTM_DELROUTE, &device), |m| {
            assert_eq!((m.payload[0], m.payload[6]), (AF_INET6, RT_SCOPE_LINK));
            assert_eq!(m.flags, nl::REQUEST);
        });
        assert_eq!(via("fe80::1", false).to_string(), "default via fe80::1");
        assert_eq!(device.to_string(), "default");
    }
}
