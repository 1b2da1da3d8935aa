//! The rtnetlink verbs: get, create, change and delete links, addresses and routes, in one
//! network namespace. Each call is one request and waits for its answer; an error carries the
//! verb, the object's name, errno and the kernel's own words. The wire format is `codec`, what a
//! reply holds is read in `reply`. Start at [`Rtnl`].

use crate::net::codec::{Malformed, Message, Request, TooLong, messages, nl, parse_ack};
use crate::net::reply::{Address, Link, Route, parse_address, parse_link, parse_route};
use crate::sys::error::errno_text;
use crate::sys::netlink::{Socket, open_in};
use crate::sys::{SysError, errno};
use crate::util::blame::Explain;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Names of `linux/if_link.h`, `linux/rtnetlink.h` and their kin that are used here.
#[allow(missing_docs, reason = "the kernel's names")]
pub mod uapi {
    pub const RTM_NEWLINK: u16 = 16;
    pub const RTM_DELLINK: u16 = 17;
    pub const RTM_GETLINK: u16 = 18;
    pub const RTM_SETLINK: u16 = 19;
    pub const RTM_NEWADDR: u16 = 20;
    pub const RTM_GETADDR: u16 = 22;
    pub const RTM_NEWROUTE: u16 = 24;
    pub const RTM_DELROUTE: u16 = 25;
    pub const RTM_GETROUTE: u16 = 26;
    pub const AF_UNSPEC: u8 = 0;
    pub const AF_INET: u8 = 2;
    pub const AF_INET6: u8 = 10;
    pub const IFF_UP: u32 = 1;
    pub const IFLA_ADDRESS: u16 = 1;
    pub const IFLA_IFNAME: u16 = 3;
    pub const IFLA_MTU: u16 = 4;
    pub const IFLA_LINK: u16 = 5;
    pub const IFLA_MASTER: u16 = 10;
    pub const IFLA_LINKINFO: u16 = 18;
    pub const IFLA_STATS64: u16 = 23;
    pub const IFLA_NET_NS_FD: u16 = 28;
    pub const IFLA_EXT_MASK: u16 = 29;
    pub const IFLA_NUM_TX_QUEUES: u16 = 31;
    pub const IFLA_NUM_RX_QUEUES: u16 = 32;
    pub const IFLA_PROP_LIST: u16 = 52;
    pub const IFLA_ALT_IFNAME: u16 = 53;
    pub const IFLA_INFO_KIND: u16 = 1;
    pub const IFLA_INFO_DATA: u16 = 2;
    pub const VETH_INFO_PEER: u16 = 1;
    pub const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
    pub const IFA_ADDRESS: u16 = 1;
    pub const IFA_LOCAL: u16 = 2;
    pub const IFA_BROADCAST: u16 = 4;
    pub const IFA_FLAGS: u16 = 8;
    pub const RTA_DST: u16 = 1;
    pub const RTA_OIF: u16 = 4;
    pub const RTA_GATEWAY: u16 = 5;
    pub const RT_TABLE_MAIN: u8 = 254;
    pub const RTPROT_BOOT: u8 = 3;
    pub const RT_SCOPE_UNIVERSE: u8 = 0;
    pub const RT_SCOPE_LINK: u8 = 253;
    pub const RTN_UNICAST: u8 = 1;
}
use uapi::*;

/// The index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;

/// How often a dump is taken again when the table changed under it.
const DUMP_TRIES: u32 = 20;

/// A verb that failed.
#[derive(Debug, thiserror::Error)]
pub enum RtnlError {
    /// The socket failed.
    #[error(transparent)]
    Socket(#[from] SysError),
    /// The kernel said no.
    #[error("{verb}({object}): {}{}", errno_text(*errno), KernelText(text))]
    Refused {
        /// `create link` and the like.
        verb: &'static str,
        /// The name of the link, address or route.
        object: String,
        /// The error number.
        errno: i32,
        /// What the extended ack adds.
        text: Option<String>,
    },
    /// The request was too long for the wire.
    #[error("{verb}({object}): {cause}")]
    TooLong {
        /// As above.
        verb: &'static str,
        /// As above.
        object: String,
        /// Which attribute.
        cause: TooLong,
    },
    /// The reply was not what the format allows.
    #[error("{verb}({object}): {cause}")]
    Malformed {
        /// As above.
        verb: &'static str,
        /// As above.
        object: String,
        /// What is wrong with it.
        cause: Malformed,
    },
    /// A table changed each time that it was read.
    #[error("{verb}: the table kept changing while it was read")]
    Unsettled {
        /// As above.
        verb: &'static str,
    },
}

impl RtnlError {
    /// The error number of the kernel's answer or of the socket.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket(e) => Some(e.errno),
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// True if the kernel refused with `errno`.
    pub fn is(&self, wanted: i32) -> bool {
        matches!(self, Self::Refused { errno, .. } if *errno == wanted)
    }
}

impl Explain for RtnlError {
    fn errno(&self) -> Option<i32> {
        self.errno()
    }
}

/// `: words` or nothing.
struct KernelText<'a>(&'a Option<String>);

impl fmt::Display for KernelText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// What every verb returns.
pub type Result<T> = std::result::Result<T, RtnlError>;

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
    /// Index of the parent (macvlan, ipvlan, vlan).
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
    fn name(self) -> &'a str {
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

/// A route that is to be made; in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRoute {
    /// Network and prefix length; `None` is the default route of `gateway`'s or `family`'s kind.
    pub destination: Option<(IpAddr, u8)>,
    /// Next hop; `None` is the device itself.
    pub gateway: Option<IpAddr>,
    /// Index of the device.
    pub device: u32,
    /// Only looked at when neither of the addresses is there: true is IPv6.
    pub ipv6: bool,
}

/// One rtnetlink socket.
#[derive(Debug)]
pub struct Rtnl {
    socket: Socket,
}

impl Rtnl {
    /// In the caller's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open()? })
    }

    /// In another network namespace; the caller stays where it is.
    pub fn open_in(netns: BorrowedFd<'_>) -> Result<Self> {
        Ok(Self { socket: open_in(netns)? })
    }

    /// On a socket that is open already.
    pub fn over(socket: Socket) -> Self {
        Self { socket }
    }

    /// The link called `name`, if there is one.
    pub fn link(&mut self, target: Target<'_>) -> Result<Option<Link>> {
        let mut request = link_request(RTM_GETLINK, 0, target, 0, 0);
        request.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        self.get_one("get link", target.name(), request, &mut parse_link)
    }

    /// The link called `name` with its counters.
    pub fn link_with_counters(&mut self, name: &str) -> Result<Option<Link>> {
        let request = link_request(RTM_GETLINK, 0, Target::Name(name), 0, 0);
        self.get_one("get link", name, request, &mut parse_link)
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut request = Request::new(RTM_GETLINK, nl::DUMP);
        request.fixed(&ifinfo(0, 0, 0)).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        self.dump("list links", RTM_NEWLINK, request, &mut parse_link)
    }

    /// All addresses of both families.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let mut request = Request::new(RTM_GETADDR, nl::DUMP);
        request.fixed(&[AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0]);
        self.dump("list addresses", RTM_NEWADDR, request, &mut parse_address)
    }

    /// All routes of both families, of all tables.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut request = Request::new(RTM_GETROUTE, nl::DUMP);
        request.fixed(&[0; 12]);
        self.dump("list routes", RTM_NEWROUTE, request, &mut parse_route)
    }

    /// Makes a link.
    pub fn create_link(&mut self, new: &NewLink<'_>) -> Result<()> {
        let flags = if new.common.up { IFF_UP } else { 0 };
        let mut request = Request::new(RTM_NEWLINK, nl::CREATE | nl::EXCL);
        request.fixed(&ifinfo(0, flags, flags)).string(IFLA_IFNAME, new.name);
        put_common(&mut request, &new.common);
        let info = request.begin(IFLA_LINKINFO);
        request.string(IFLA_INFO_KIND, new.kind.name());
        let data = request.begin(IFLA_INFO_DATA);
        match &new.kind {
            LinkKind::Veth { peer_name, peer } => {
                let flags = if peer.up { IFF_UP } else { 0 };
                let nest = request.begin(VETH_INFO_PEER);
                request.fixed(&ifinfo(0, flags, flags)).string(IFLA_IFNAME, peer_name);
                put_common(&mut request, peer);
                request.end(nest);
            }
            LinkKind::Bridge => {}
        }
        request.end(data).end(info);
        self.act("create link", new.name, request)
    }

    /// Changes a link. The parts are applied in the kernel's order: namespace, MAC, MTU, name,
    /// master, up.
    pub fn set_link(&mut self, target: Target<'_>, change: &Change<'_>) -> Result<()> {
        let (flags, mask) = match change.up {
            Some(true) => (IFF_UP, IFF_UP),
            Some(false) => (0, IFF_UP),
            None => (0, 0),
        };
        let mut request = link_request(RTM_SETLINK, 0, target, flags, mask);
        if let Some(name) = change.rename {
            request.string(IFLA_IFNAME, name);
        }
        if let Some(master) = change.master {
            request.u32(IFLA_MASTER, master);
        }
        let common =
            Common { mtu: change.mtu, mac: change.mac, netns: change.netns, ..Common::default() };
        put_common(&mut request, &common);
        self.act("set link", target.name(), request)
    }

    /// Deletes a link; false if there was none.
    pub fn delete_link(&mut self, target: Target<'_>) -> Result<bool> {
        let request = link_request(RTM_DELLINK, 0, target, 0, 0);
        match self.act("delete link", target.name(), request) {
            Ok(()) => Ok(true),
            Err(e) if e.is(errno::ENODEV) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Puts an address on the link with index `device`.
    pub fn add_address(
        &mut self,
        device: u32,
        address: IpAddr,
        prefix: u8,
        broadcast: Option<IpAddr>,
    ) -> Result<()> {
        let family = if address.is_ipv6() { AF_INET6 } else { AF_INET };
        let mut request = Request::new(RTM_NEWADDR, nl::CREATE | nl::EXCL);
        let index = device.to_ne_bytes();
        request.fixed(&[family, prefix, 0, 0, index[0], index[1], index[2], index[3]]);
        put_ip(&mut request, IFA_LOCAL, address);
        put_ip(&mut request, IFA_ADDRESS, address);
        if let Some(broadcast) = broadcast {
            put_ip(&mut request, IFA_BROADCAST, broadcast);
        }
        self.act("add address", &format!("{address}/{prefix}"), request)
    }

    /// Makes a route.
    pub fn add_route(&mut self, route: &NewRoute) -> Result<()> {
        self.act("add route", &route.to_string(), route_request(RTM_NEWROUTE, route))
    }

    /// Removes a route; false if there was none.
    pub fn delete_route(&mut self, route: &NewRoute) -> Result<bool> {
        let request = route_request(RTM_DELROUTE, route);
        match self.act("delete route", &route.to_string(), request) {
            Ok(()) => Ok(true),
            Err(e) if e.is(errno::ESRCH) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Frees what is only needed during a request.
    pub fn release_buffer(&mut self) {
        self.socket.release_buffer();
    }

    /// Sends `request` and waits until the kernel acknowledges it.
    fn act(&mut self, verb: &'static str, object: &str, mut request: Request) -> Result<()> {
        request.add_flags(nl::ACK);
        self.exchange(verb, object, request, Until::Ack, &mut |_| Ok(()))?;
        Ok(())
    }

    /// Sends `request` and reads the one object that it asks for; `None` for ENODEV.
    fn get_one<T>(
        &mut self,
        verb: &'static str,
        object: &str,
        request: Request,
        parse: &mut dyn FnMut(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let mut found = None;
        // No acknowledgement is asked for: the object itself is the answer.
        match self.exchange(verb, object, request, Until::Object, &mut |message| {
            found = Some(parse(message.payload)?);
            Ok(())
        }) {
            Ok(_) => Ok(found),
            Err(e) if e.is(errno::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads a whole table; again when it changed meanwhile.
    fn dump<T>(
        &mut self,
        verb: &'static str,
        wanted: u16,
        request: Request,
        parse: &mut dyn FnMut(&[u8]) -> std::result::Result<T, Malformed>,
    ) -> Result<Vec<T>> {
        for _ in 0..DUMP_TRIES {
            let mut rows = Vec::new();
            let settled = self.exchange(verb, "", request.clone(), Until::Ack, &mut |message| {
                if message.kind == wanted {
                    rows.push(parse(message.payload)?);
                }
                Ok(())
            })?;
            if settled {
                return Ok(rows);
            }
        }
        Err(RtnlError::Unsettled { verb })
    }

    /// One request and its answer. False if the kernel marked the dump as interrupted.
    fn exchange(
        &mut self,
        verb: &'static str,
        object: &str,
        request: Request,
        until: Until,
        take: &mut dyn FnMut(&Message<'_>) -> std::result::Result<(), Malformed>,
    ) -> Result<bool> {
        let object = || object.to_owned();
        let malformed = |cause| RtnlError::Malformed { verb, object: object(), cause };
        let sequence = self.socket.next_sequence();
        let datagram = request.finish(sequence).map_err(|cause| RtnlError::TooLong {
            verb,
            object: object(),
            cause,
        })?;
        self.socket.send(&datagram)?;
        let mut settled = true;
        loop {
            for message in messages(self.socket.receive()?) {
                let message = message.map_err(malformed)?;
                // What is left of an earlier request that failed half way.
                if message.sequence != sequence {
                    continue;
                }
                settled &= message.flags & nl::DUMP_INTR == 0;
                match message.kind {
                    nl::ERROR | nl::DONE => {
                        let ack = parse_ack(&message).map_err(malformed)?;
                        return match ack.errno {
                            0 => Ok(settled),
                            errno => Err(RtnlError::Refused {
                                verb,
                                object: object(),
                                errno,
                                text: ack.text,
                            }),
                        };
                    }
                    nl::OVERRUN => return Err(malformed(Malformed("overrun"))),
                    // NLMSG_NOOP and what else the netlink layer keeps for itself.
                    ..nl::FIRST_FAMILY => {}
                    _ => {
                        take(&message).map_err(malformed)?;
                        if until == Until::Object {
                            return Ok(settled);
                        }
                    }
                }
            }
        }
    }
}

/// What ends the answer to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The acknowledgement, or the end of the dump.
    Ack,
    /// The first object.
    Object,
}

impl LinkKind<'_> {
    /// The kernel's name of the type.
    fn name(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::Bridge => "bridge",
        }
    }
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

/// `struct ifinfomsg`.
fn ifinfo(index: u32, flags: u32, mask: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&mask.to_ne_bytes());
    bytes
}

fn link_request(kind: u16, nl_flags: u16, target: Target<'_>, flags: u32, mask: u32) -> Request {
    let mut request = Request::new(kind, nl_flags);
    match target {
        Target::Index(index, _) => request.fixed(&ifinfo(index, flags, mask)),
        Target::Name(name) => request.fixed(&ifinfo(0, flags, mask)).string(IFLA_IFNAME, name),
    };
    request
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

fn route_request(kind: u16, route: &NewRoute) -> Request {
    let flags = if kind == RTM_NEWROUTE { nl::CREATE | nl::EXCL } else { 0 };
    let sample = route.gateway.or(route.destination.map(|(net, _)| net));
    let family = if sample.map_or(route.ipv6, |ip| ip.is_ipv6()) { AF_INET6 } else { AF_INET };
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
