//! The rtnetlink verbs: get, create, change and delete links, addresses and routes, in one
//! network namespace. Each call is one request and waits for its answer; an error carries the
//! verb, the object's name, errno and the kernel's own words. The wire format is `codec`, what a
//! reply holds is read in `reply`. Start at [`Rtnl`].

use crate::net::codec::{Malformed, Message, Request, TooLong, messages, nl, parse_ack};
use crate::net::reply::{
    Address, Link, Route, parse_address, parse_link, parse_neighbour_link, parse_route,
};
use crate::net::request;
pub use crate::net::request::{Change, Common, LinkKind, NewLink, NewRoute, PortVlan, Target};
use crate::net::uapi::*;
use crate::sys::error::errno_text;
use crate::sys::netlink::{Socket, errno as net_errno, open_in};
use crate::sys::{SysError, errno};
use crate::util::blame::Explain;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// The index of `lo` in every network namespace.
pub const LOOPBACK: u32 = 1;

/// How often a dump is taken again when the table changed under it.
const DUMP_TRIES: u32 = 20;

/// A verb that failed. One word, so that every result with it is handed up in a register.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RtnlError(Box<Reason>);

impl<E: Into<Reason>> From<E> for RtnlError {
    fn from(reason: E) -> Self {
        Self(Box::new(reason.into()))
    }
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
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
        match &*self.0 {
            Reason::Socket(e) => Some(e.errno),
            Reason::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// True if the kernel refused with `errno`.
    pub fn is(&self, wanted: i32) -> bool {
        matches!(*self.0, Reason::Refused { errno, .. } if errno == wanted)
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

    /// One link, without its counters, if there is one.
    pub fn link(&mut self, target: Target<'_>) -> Result<Option<Link>> {
        let mut request = request::about_link(RTM_GETLINK, target, 0, 0);
        request.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        self.get_one("get link", target.name(), request, &mut parse_link)
    }

    /// The link called `name` with its counters.
    pub fn link_with_counters(&mut self, name: &str) -> Result<Option<Link>> {
        let request = request::about_link(RTM_GETLINK, Target::Name(name), 0, 0);
        self.get_one("get link", name, request, &mut parse_link)
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut request = Request::new(RTM_GETLINK, nl::DUMP);
        request.fixed(&request::ifinfo(0, 0, 0)).u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
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
        self.act("create link", new.name, request::new_link(new))
    }

    /// Changes a link; several changes are one request.
    pub fn set_link(&mut self, target: Target<'_>, change: &Change<'_>) -> Result<()> {
        self.act("set link", target.name(), request::set_link(target, change))
    }

    /// Keeps a link that is down from getting an IPv6 address of its own when it comes up. Does
    /// not wait for the answer: where there is no IPv6 it is an error (and before 3.17 it is not
    /// known), and neither matters. The sysctl disable_ipv6 would do more, but to write it takes
    /// the lock of all links again and again while somebody else has it.
    pub fn no_link_local(&mut self, name: &str) -> Result<()> {
        let request = request::no_link_local(Target::Name(name));
        let sequence = self.socket.next_sequence();
        let datagram = request.finish(sequence).map_err(|cause| Reason::TooLong {
            verb: "set link",
            object: name.to_owned(),
            cause,
        })?;
        Ok(self.socket.send(&datagram)?)
    }

    /// Deletes a link; false if there was none.
    pub fn delete_link(&mut self, target: Target<'_>) -> Result<bool> {
        let request = request::about_link(RTM_DELLINK, target, 0, 0);
        match self.act("delete link", target.name(), request) {
            Err(e) if e.is(errno::ENODEV) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Gives the link with index `link` alternative names.
    pub fn add_alt_names(&mut self, link: u32, names: &[String]) -> Result<()> {
        let request = request::alt_names(RTM_NEWLINKPROP, link, names);
        self.act("add alternative names", &names.join(", "), request)
    }

    /// Takes alternative names from the link with index `link`.
    pub fn delete_alt_names(&mut self, link: u32, names: &[String]) -> Result<()> {
        let request = request::alt_names(RTM_DELLINKPROP, link, names);
        self.act("delete alternative names", &names.join(", "), request)
    }

    /// Makes the bridge port with index `port` a member of VLANs.
    pub fn add_port_vlans(&mut self, port: u32, name: &str, vlans: &[PortVlan]) -> Result<()> {
        self.act("set VLANs", name, request::port_vlans(RTM_SETLINK, port, vlans))
    }

    /// Takes the bridge port with index `port` out of VLANs.
    pub fn delete_port_vlans(&mut self, port: u32, name: &str, vlans: &[PortVlan]) -> Result<()> {
        self.act("delete VLANs", name, request::port_vlans(RTM_DELLINK, port, vlans))
    }

    /// The link behind which the bridge with index `bridge` has seen `mac` in `vlan`, if any.
    pub fn fdb_port(
        &mut self,
        bridge: u32,
        name: &str,
        mac: [u8; 6],
        vlan: Option<u16>,
    ) -> Result<Option<u32>> {
        let request = request::get_fdb(bridge, mac, vlan);
        let verb = "get forwarding entry";
        match self.get_one(verb, name, request, &mut parse_neighbour_link) {
            Err(e) if e.is(errno::ENOENT) => Ok(None),
            // FALLBACK(<5.0): single entries cannot be asked for.
            Err(e) if e.is(errno::EOPNOTSUPP) || e.is(errno::EINVAL) => Ok(None),
            other => other,
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
        let request = request::address(RTM_NEWADDR, device, address, prefix, broadcast);
        self.act("add address", &format!("{address}/{prefix}"), request)
    }

    /// Takes an address from the link with index `device`; false if it was not there.
    pub fn delete_address(&mut self, device: u32, address: IpAddr, prefix: u8) -> Result<bool> {
        let request = request::address(RTM_DELADDR, device, address, prefix, None);
        match self.act("delete address", &format!("{address}/{prefix}"), request) {
            Err(e) if e.is(net_errno::EADDRNOTAVAIL) || e.is(errno::ENODEV) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Where the host sends a packet from `source` to `destination` that comes in by the link with
    /// index `device`. The kernel decides as for a real one and refuses what it would drop: EXDEV
    /// by the reverse-path filter, EHOSTUNREACH without forwarding, ENETUNREACH without a route.
    pub fn way(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        device: u32,
    ) -> Result<Option<Route>> {
        let request = request::way(source, destination, device);
        self.get_one("get route", &destination.to_string(), request, &mut parse_route)
    }

    /// Makes a route.
    pub fn add_route(&mut self, route: &NewRoute) -> Result<()> {
        self.act("add route", &route.to_string(), request::route(RTM_NEWROUTE, route))
    }

    /// Removes a route; false if there was none.
    pub fn delete_route(&mut self, route: &NewRoute) -> Result<bool> {
        let request = request::route(RTM_DELROUTE, route);
        let done = self.act("delete route", &route.to_string(), request);
        match done {
            Err(e) if e.is(errno::ESRCH) || e.is(errno::ENODEV) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Has the host answer for `address` on the link with index `device`.
    pub fn add_proxy(&mut self, device: u32, address: IpAddr) -> Result<()> {
        let request = request::proxy(RTM_NEWNEIGH, device, address);
        self.act("add proxy entry", &address.to_string(), request)
    }

    /// The reverse of [`Rtnl::add_proxy`]; false if there was none.
    pub fn delete_proxy(&mut self, device: u32, address: IpAddr) -> Result<bool> {
        let request = request::proxy(RTM_DELNEIGH, device, address);
        let done = self.act("delete proxy entry", &address.to_string(), request);
        match done {
            Err(e) if e.is(errno::ENOENT) || e.is(errno::ENODEV) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// True if there is a link called `name`, without taking the kernel's lock of all links.
    pub fn has_link(&self, name: &str) -> bool {
        self.socket.has_link(name)
    }

    /// Frees what is only needed during a request.
    pub fn release_buffer(&mut self) {
        self.socket.release_buffer();
    }

    /// Sends `request` and waits until the kernel acknowledges it.
    pub(super) fn act(
        &mut self,
        verb: &'static str,
        object: &str,
        mut request: Request,
    ) -> Result<()> {
        request.add_flags(nl::ACK);
        self.exchange(verb, object, request, Until::Ack, &mut |_| Ok(()))?;
        Ok(())
    }

    /// Sends `request` and reads the one object that it asks for; `None` for ENODEV.
    pub(super) fn get_one<T>(
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
        Err(Reason::Unsettled { verb }.into())
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
        let malformed = |cause| Reason::Malformed { verb, object: object(), cause };
        let sequence = self.socket.next_sequence();
        let datagram = request.finish(sequence).map_err(|cause| Reason::TooLong {
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
                            errno => Err(Reason::Refused {
                                verb,
                                object: object(),
                                errno,
                                text: ack.text,
                            }
                            .into()),
                        };
                    }
                    nl::OVERRUN => return Err(malformed(Malformed("overrun")).into()),
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
