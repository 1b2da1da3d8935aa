//! What there is of the network right now.

use crate::hostnet::dnsmasq::{self, Lease};
use crate::hostnet::error::{HostNetError, kernel};
use crate::hostnet::firewall;
use crate::hostnet::made::{self, read_sysctl};
use crate::hostnet::settings::{Settings, Side};
use crate::net::rtnl::{Rtnl, Target};
use crate::sys::process::Pid;
use std::path::Path;

/// The bridge as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its index.
    pub index: u32,
    /// IFF_UP is set.
    pub up: bool,
    /// How many ports it has.
    pub ports: usize,
    /// Its addresses but those of the link alone, with prefix lengths.
    pub addresses: Vec<String>,
    /// Its type, if that is not bridge.
    pub other_kind: Option<String>,
}

/// One family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// What is wanted.
    pub side: Side,
    /// The bridge has the address.
    pub address: bool,
    /// The host forwards.
    pub forwarding: bool,
    /// It is masqueraded.
    pub nat: bool,
}

/// What there is.
#[derive(Clone, Debug)]
pub struct Status {
    /// LXC's sign that the network is up.
    pub marked: bool,
    /// The bridge, if there is one.
    pub bridge: Option<Bridge>,
    /// IPv4 and, if wanted, IPv6.
    pub families: Vec<Family>,
    /// The DHCP and DNS service.
    pub dnsmasq: Option<Pid>,
    /// What it gave away.
    pub leases: Vec<Lease>,
}

impl Status {
    /// True if everything that is wanted is there.
    pub fn complete(&self) -> bool {
        let family = |f: &Family| f.address && f.forwarding && (f.nat || !f.side.nat);
        self.bridge.as_ref().is_some_and(|bridge| bridge.up)
            && self.dnsmasq.is_some()
            && self.families.iter().all(family)
    }
}

/// Looks at everything, changes nothing.
pub fn survey(s: &Settings, host: &mut Rtnl) -> Result<Status, HostNetError> {
    let name = &s.bridge.value;
    let link = host.link(Target::Name(name)).map_err(kernel("looking for the bridge"))?;
    let all = host.addresses().map_err(kernel("reading the addresses"))?;
    let index = link.as_ref().map(|link| link.index);
    let own: Vec<_> = all.iter().filter(|a| Some(a.link) == index).collect();
    let bridge = match link {
        None => None,
        Some(link) => Some(Bridge {
            index: link.index,
            up: link.is_up(),
            ports: made::ports(link.index, host)?,
            addresses: own
                .iter()
                .filter(|a| a.scope == 0)
                .map(|a| format!("{}/{}", a.address, a.prefix))
                .collect(),
            other_kind: link.kind.filter(|kind| kind != "bridge"),
        }),
    };
    let family = |side: &Side| {
        let path = match side.address.is_ipv6() {
            true => "net/ipv6/conf/all/forwarding",
            false => "net/ipv4/ip_forward",
        };
        Family {
            side: *side,
            address: own.iter().any(|a| a.address == side.address),
            forwarding: read_sysctl(path).is_ok_and(|value| value != "0"),
            nat: firewall::masquerades(side, s),
        }
    };
    Ok(Status {
        marked: Path::new(made::UP).exists(),
        bridge,
        families: s.sides().map(|side| family(&side.value)).collect(),
        dnsmasq: dnsmasq::running(),
        leases: dnsmasq::leases(name),
    })
}
