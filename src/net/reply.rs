//! What the kernel's rtnetlink objects hold: links, addresses, routes, read from reply messages.
//! Pure; unknown attributes are skipped, short ones are an error. Start at [`parse_link`].

use crate::net::codec::{
    Attr, Malformed, attrs, attrs_after, messages, parse_ack, u16_at, u32_at, u64_at,
};
use crate::net::uapi::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// IFF_* bits.
    pub flags: u32,
    /// `ARPHRD_*`.
    pub hardware: u16,
    /// MTU in bytes.
    pub mtu: u32,
    /// Hardware address, if it is a six-byte one.
    pub mac: Option<[u8; 6]>,
    /// Index of the bridge (or bond …) that it is a port of.
    pub master: Option<u32>,
    /// Index of the link below it, or of the other end of a veth.
    pub parent: Option<u32>,
    /// That one is in another network namespace, and the index is that namespace's.
    pub parent_elsewhere: bool,
    /// The type that it was created with (`veth`, `bridge`); `None` for real hardware.
    pub kind: Option<String>,
    /// Its other names.
    pub alt_names: Vec<String>,
    /// Settings of a bridge.
    pub bridge: Option<Bridge>,
    /// The number of a vlan, the mode of a macvlan.
    pub detail: Option<u32>,
    /// Bytes and packets, when they were asked for.
    pub counters: Option<Counters>,
}

impl Link {
    /// True if IFF_UP is set.
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }
}

/// What a bridge says of its VLANs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// Ports are kept apart by VLAN.
    pub vlan_filtering: bool,
    /// The VLAN that a new port is in; 0 is none.
    pub default_pvid: u16,
}

/// Traffic of a link, as the link itself sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// One address of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address itself.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// 0 global, 253 link, 254 host.
    pub scope: u8,
    /// IFA_F_* bits.
    pub flags: u32,
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// True for IPv6.
    pub ipv6: bool,
    /// Network and prefix length; `None` is a default route.
    pub destination: Option<(IpAddr, u8)>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Index of the device.
    pub device: Option<u32>,
    /// Routing table, 254 is main.
    pub table: u8,
}

/// Reads an RTM_NEWLINK message.
pub fn parse_link(payload: &[u8]) -> Result<Link, Malformed> {
    let short = Malformed("short link message");
    let mut link = Link {
        hardware: u16_at(payload, 2).ok_or(short)?,
        index: u32_at(payload, 4).ok_or(short)?,
        flags: u32_at(payload, 8).ok_or(short)?,
        ..Link::default()
    };
    for attr in attrs_after(payload, 16)? {
        let attr = attr?;
        match attr.kind {
            IFLA_ADDRESS => link.mac = attr.data.try_into().ok(),
            IFLA_IFNAME => link.name = attr.string(),
            IFLA_MTU => link.mtu = attr.u32()?,
            IFLA_LINK => link.parent = Some(attr.u32()?),
            IFLA_LINK_NETNSID => link.parent_elsewhere = true,
            IFLA_MASTER => link.master = Some(attr.u32()?),
            IFLA_LINKINFO => parse_info(&attr, &mut link)?,
            IFLA_PROP_LIST => {
                for prop in attr.nested() {
                    let prop = prop?;
                    if prop.kind == IFLA_ALT_IFNAME {
                        link.alt_names.push(prop.string());
                    }
                }
            }
            // struct rtnl_link_stats64: packets in and out, then bytes in and out.
            IFLA_STATS64 => {
                let short = Malformed("short counters");
                link.counters = Some(Counters {
                    rx_bytes: u64_at(attr.data, 16).ok_or(short)?,
                    tx_bytes: u64_at(attr.data, 24).ok_or(short)?,
                });
            }
            _ => {}
        }
    }
    Ok(link)
}

/// The type, and what a bridge, a vlan or a macvlan says of itself.
fn parse_info(info: &Attr<'_>, link: &mut Link) -> Result<(), Malformed> {
    let mut data = None;
    for attr in info.nested() {
        let attr = attr?;
        match attr.kind {
            IFLA_INFO_KIND => link.kind = Some(attr.string()),
            IFLA_INFO_DATA => data = Some(attr),
            _ => {}
        }
    }
    let (Some(kind), Some(data)) = (link.kind.as_deref(), data) else { return Ok(()) };
    let mut bridge = Bridge::default();
    for attr in data.nested() {
        let attr = attr?;
        match (kind, attr.kind) {
            ("bridge", IFLA_BR_VLAN_FILTERING) => {
                bridge.vlan_filtering = attr.data.first() == Some(&1);
            }
            ("bridge", IFLA_BR_VLAN_DEFAULT_PVID) => bridge.default_pvid = attr.u16()?,
            ("vlan", IFLA_VLAN_ID) => link.detail = Some(attr.u16()?.into()),
            ("macvlan" | "macvtap", IFLA_MACVLAN_MODE) => link.detail = Some(attr.u32()?),
            _ => {}
        }
    }
    link.bridge = (kind == "bridge").then_some(bridge);
    Ok(())
}

/// The link of an RTM_NEWNEIGH message.
pub fn parse_neighbour_link(payload: &[u8]) -> Result<u32, Malformed> {
    payload.get(..12).and_then(|fixed| u32_at(fixed, 4)).ok_or(Malformed("short neighbour message"))
}

/// Reads an RTM_NEWADDR message.
pub fn parse_address(payload: &[u8]) -> Result<Address, Malformed> {
    let short = Malformed("short address message");
    let &[family, prefix, flags, scope] = payload.first_chunk().ok_or(short)?;
    let mut flags = u32::from(flags);
    let (mut local, mut address) = (None, None);
    for attr in attrs_after(payload, 8)? {
        let attr = attr?;
        match attr.kind {
            // The own address of a point-to-point link is LOCAL, ADDRESS is the far end.
            IFA_LOCAL => local = Some(ip(family, attr.data)?),
            IFA_ADDRESS => address = Some(ip(family, attr.data)?),
            IFA_FLAGS => flags = attr.u32()?,
            _ => {}
        }
    }
    Ok(Address {
        link: u32_at(payload, 4).ok_or(short)?,
        address: local.or(address).ok_or(Malformed("address message without address"))?,
        prefix,
        scope,
        flags,
    })
}

/// Reads an RTM_NEWROUTE message.
pub fn parse_route(payload: &[u8]) -> Result<Route, Malformed> {
    let short = Malformed("short route message");
    let &[family, prefix, _, _, table] = payload.first_chunk().ok_or(short)?;
    let mut route =
        Route { ipv6: family == AF_INET6, destination: None, gateway: None, device: None, table };
    if family != AF_INET && family != AF_INET6 {
        return Ok(route);
    }
    for attr in attrs_after(payload, 12)? {
        let attr = attr?;
        match attr.kind {
            RTA_DST => route.destination = Some((ip(family, attr.data)?, prefix)),
            RTA_GATEWAY => route.gateway = Some(ip(family, attr.data)?),
            RTA_OIF => route.device = Some(attr.u32()?),
            _ => {}
        }
    }
    Ok(route)
}

/// Reads a whole datagram as every kind of object that there is, whatever it claims to be. For
/// tests and fuzzing: a hostile reply must end in an error, not in a panic or without end.
pub fn walk(datagram: &[u8]) {
    for message in messages(datagram).flatten() {
        let _ = parse_ack(&message);
        let _ = parse_link(message.payload);
        let _ = parse_address(message.payload);
        let _ = parse_route(message.payload);
        let _ = parse_neighbour_link(message.payload);
        for attr in attrs(message.payload).flatten() {
            let _ = (attr.u16(), attr.u32(), attr.string(), attr.nested().count());
        }
    }
}

fn ip(family: u8, data: &[u8]) -> Result<IpAddr, Malformed> {
    let wrong = Malformed("address of the wrong length");
    match family {
        AF_INET => <[u8; 4]>::try_from(data).map(|b| Ipv4Addr::from(b).into()).map_err(|_| wrong),
        AF_INET6 => <[u8; 16]>::try_from(data).map(|b| Ipv6Addr::from(b).into()).map_err(|_| wrong),
        _ => Err(Malformed("address of an unknown family")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::codec::Request;
    use proptest::prelude::*;

    fn payload(request: Request) -> Vec<u8> {
        let bytes = request.finish(1).unwrap();
        messages(&bytes).next().unwrap().unwrap().payload.to_vec()
    }

    #[test]
    fn a_link_is_read_and_the_unknown_skipped() {
        let mut r = Request::new(RTM_NEWLINK, 0);
        r.fixed(&[0, 0, 1, 0, 9, 0, 0, 0, 1, 16, 0, 0, 0, 0, 0, 0]);
        r.string(IFLA_IFNAME, "veth1").u32(IFLA_MTU, 1400).attr(9999, &[1, 2, 3]);
        r.attr(IFLA_ADDRESS, &[0xfe, 1, 2, 3, 4, 5]).u32(IFLA_MASTER, 3);
        let n = r.begin(IFLA_LINKINFO | 0x8000);
        r.string(IFLA_INFO_KIND, "veth");
        r.end(n);
        let n = r.begin(IFLA_PROP_LIST);
        r.string(IFLA_ALT_IFNAME, "a-long-other-name").string(IFLA_ALT_IFNAME, "x");
        r.end(n);
        let link = parse_link(&payload(r)).unwrap();
        assert_eq!((link.index, link.mtu, link.hardware), (9, 1400, 1));
        assert_eq!((link.name.as_str(), link.kind.as_deref()), ("veth1", Some("veth")));
        assert_eq!(link.alt_names, ["a-long-other-name", "x"]);
        assert!(link.is_up() && link.master == Some(3) && link.mac.unwrap()[0] == 0xfe);
    }

    #[test]
    fn addresses_and_routes_are_read() {
        let mut r = Request::new(RTM_NEWADDR, 0);
        r.fixed(&[AF_INET, 24, 0, 0, 2, 0, 0, 0]).attr(IFA_ADDRESS, &[10, 0, 3, 1]);
        r.attr(IFA_LOCAL, &[10, 0, 3, 2]).u32(IFA_FLAGS, 0x80);
        let address = parse_address(&payload(r)).unwrap();
        assert_eq!(address.address, IpAddr::from([10, 0, 3, 2]));
        assert_eq!((address.prefix, address.link, address.flags), (24, 2, 0x80));

        let mut r = Request::new(RTM_NEWROUTE, 0);
        r.fixed(&[AF_INET6, 64, 0, 0, RT_TABLE_MAIN, 3, 0, 1, 0, 0, 0, 0]);
        r.attr(RTA_DST, &Ipv6Addr::LOCALHOST.octets()).u32(RTA_OIF, 4);
        let route = parse_route(&payload(r)).unwrap();
        assert_eq!(route.destination, Some((Ipv6Addr::LOCALHOST.into(), 64)));
        assert_eq!((route.device, route.ipv6, route.table), (Some(4), true, 254));
    }

    #[test]
    fn short_ones_are_refused() {
        assert!(parse_link(&[0; 15]).is_err());
        assert!(parse_link(&[0; 16]).is_ok());
        assert!(parse_address(&[AF_INET, 0, 0, 0, 1, 0, 0, 0]).is_err());
        let mut r = Request::new(RTM_NEWADDR, 0);
        r.fixed(&[AF_INET6, 24, 0, 0, 2, 0, 0, 0]).attr(IFA_ADDRESS, &[10, 0, 3, 1]);
        assert!(parse_address(&payload(r)).is_err());
        let mut r = Request::new(RTM_NEWLINK, 0);
        r.fixed(&[0; 16]).attr(IFLA_MTU, &[1, 2]);
        assert!(parse_link(&payload(r)).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = (parse_link(&bytes), parse_address(&bytes), parse_route(&bytes));
            walk(&bytes);
            // The same behind a header that fits.
            let mut request = Request::new(RTM_NEWLINK, 0);
            request.fixed(&bytes);
            walk(&request.finish(1).unwrap());
        }
    }
}
