//! From the `lxc.net.*` keys to what is to be made: pure, complete, and where every fault that
//! the configuration alone shows is found: those of one interface in `draft`, those between several
//! here. Start at [`plan`].

use crate::config::{Config, IpvlanIsolation, IpvlanMode, MacvlanMode, NetKind, Origin, Sourced};
use crate::net::error::{Blame, Fault, NetError, kind_name, mac_text};
use crate::net::rules::check_name;
pub use crate::net::rules::contains;
use crate::net::{draft, phys, veth};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The network of one container, ready to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NetPlan {
    /// Name of the container.
    pub container: String,
    /// Which network namespace it gets.
    pub namespace: Namespace,
    /// Interfaces in the order of their N; none for [`Namespace::Host`].
    pub nics: Vec<Nic>,
    /// What the user should know and may want so.
    pub notes: Vec<Note>,
}

impl NetPlan {
    /// True if the container stays in the host's network namespace.
    pub fn shares_host(&self) -> bool {
        self.namespace == Namespace::Host
    }
}

/// Which network namespace the container gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// No `lxc.net` at all: its own, and `lo` stays down.
    Bare,
    /// Its own, with `lo` up.
    Own,
    /// The host's: every `lxc.net` is of type none.
    Host,
}

/// A remark on one interface that does not stop the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The N of `lxc.net.N`.
    pub index: u32,
    /// One sentence.
    pub text: String,
    /// The line it is about.
    pub origin: Option<Origin>,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "lxc.net.{}: {}", self.index, self.text)
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Nic {
    /// The N of `lxc.net.N`.
    pub index: u32,
    /// Its type.
    pub kind: NetKind,
    /// What its type needs.
    pub device: Device,
    /// Its name in the container, decided; empty for type empty, and for a phys by prefix that
    /// keeps its own.
    pub name: String,
    /// Bridge or parent on the host.
    pub link: Option<String>,
    /// The host answers on the link for its addresses.
    pub l2proxy: bool,
    /// Up when init starts.
    pub up: bool,
    /// Hardware address; the kernel chooses one otherwise.
    pub hwaddr: Option<[u8; 6]>,
    /// MTU; the link's, or the kernel's default otherwise.
    pub mtu: Option<u32>,
    /// Addresses of both families.
    pub addresses: Vec<Sourced<PlannedAddress>>,
    /// Default routes, at most one per family.
    pub gateways: Vec<PlannedGateway>,
    /// Run on the host when the interface is made.
    pub script_up: Option<Sourced<String>>,
    /// Run on the host before it is removed.
    pub script_down: Option<Sourced<String>>,
    /// The lines of its scalar keys, by the part after `lxc.net.N.`.
    pub(super) origins: Vec<(String, Origin)>,
}

/// The part of a plan that differs by type. Each type has a file of its own.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// Nothing but `lo`.
    Empty,
    /// A pair with one end on the host.
    Veth(veth::VethPlan),
    /// A device with its own address on a parent.
    Macvlan(MacvlanMode),
    /// A device with its parent's address.
    Ipvlan(IpvlanMode, IpvlanIsolation),
    /// The VLAN of this number of a parent.
    Vlan(u16),
    /// A device of the host.
    Phys(phys::PhysPlan),
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// IPv4 broadcast address.
    pub broadcast: Option<Ipv4Addr>,
}

impl fmt::Display for PlannedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        self.broadcast.map_or(Ok(()), |address| write!(f, " broadcast {address}"))
    }
}

/// One default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedGateway {
    /// True for IPv6.
    pub ipv6: bool,
    /// Where it leads.
    pub hop: Hop,
}

impl PlannedGateway {
    /// The key that it comes from.
    pub(super) fn key(&self) -> &'static str {
        if self.ipv6 { "ipv6.gateway" } else { "ipv4.gateway" }
    }
}

/// Where a default route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The first address of the link, looked up on the host.
    Auto,
    /// The device itself.
    Device,
    /// An address; with a host route to it first when no network of the interface holds it.
    Via {
        /// The address.
        gateway: IpAddr,
        /// Whether the host route is needed.
        off_link: bool,
    },
}

impl Nic {
    /// One of no configuration, with this name inside and this link.
    pub(super) fn bare(kind: NetKind, device: Device, name: &str, link: Option<&str>) -> Self {
        Self {
            index: 0,
            kind,
            device,
            name: name.to_owned(),
            link: link.map(str::to_owned),
            l2proxy: false,
            up: false,
            hwaddr: None,
            mtu: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            script_up: None,
            script_down: None,
            origins: Vec::new(),
        }
    }

    /// The line of the first of `keys` that was set (`link`, `veth.pair`), else that of `type`.
    pub fn origin(&self, keys: &[&str]) -> Option<Origin> {
        let find = |key: &str| self.origins.iter().find(|(k, _)| k == key).map(|(_, o)| o.clone());
        keys.iter().find_map(|key| find(key)).or_else(|| find("type"))
    }

    /// Its parent is taken by a device of another type.
    pub(super) fn busy(&self) -> Fault {
        Fault::ParentBusy {
            name: self.link.clone().unwrap_or_default(),
            what: kind_name(self.kind),
        }
    }

    /// A remark on this interface, about the line of `key`.
    pub(super) fn note(&self, key: &str, text: String) -> Note {
        Note { index: self.index, text, origin: self.origin(&[key]) }
    }

    /// The same as [`Nic::fault`] for a fault that knows its key.
    pub(super) fn blamed(&self, blame: Blame) -> NetError {
        let Blame { key, fault } = blame;
        NetError::boxed(Some(self.index), self.origin(&[key]), fault)
    }

    /// A fault of this interface, blamed on the first of `keys` that was set.
    pub fn fault(&self, keys: &[&str], fault: Fault) -> NetError {
        NetError::new(Some(self.index), self.origin(keys), fault)
    }
}

/// Plans the network of the container called `container`.
///
/// # Errors
/// The first fault, in the order of the interfaces.
pub fn plan(config: &Config, container: &str) -> Result<NetPlan, NetError> {
    let mut plan = NetPlan {
        container: container.to_owned(),
        namespace: Namespace::Bare,
        nics: Vec::new(),
        notes: Vec::new(),
    };
    let mut shared = 0;
    for (&index, net) in &config.net {
        let nic = draft::nic(config, index, net, &mut plan.notes)?;
        if nic.kind == NetKind::None {
            shared += 1;
        }
        plan.nics.push(nic);
    }
    if shared > 0 {
        match plan.nics.iter().find(|n| n.kind == NetKind::None) {
            Some(none) if shared < plan.nics.len() => {
                return Err(none.fault(&["type"], Fault::NoneMixed));
            }
            _ => {}
        }
        plan.nics.clear();
        plan.namespace = Namespace::Host;
        return Ok(plan);
    }
    if !plan.nics.is_empty() {
        plan.namespace = Namespace::Own;
    }
    assign_names(&mut plan.nics)?;
    across(&plan.nics)?;
    Ok(plan)
}

/// Gives every interface its name: the given ones first, then templates and the unnamed get the
/// lowest number that is free (LXC leaves this to the kernel, with the same result in the empty
/// namespace that a container starts with).
fn assign_names(nics: &mut [Nic]) -> Result<(), NetError> {
    let mut taken: Vec<(String, u32)> = vec![("lo".to_owned(), u32::MAX)];
    for nic in nics.iter().filter(|n| !n.name.is_empty() && !n.name.contains('%')) {
        if let Some((_, other)) = taken.iter().find(|(name, _)| *name == nic.name) {
            let name = nic.name.clone();
            let fault = match *other {
                u32::MAX => Fault::BadName { name, why: "it is the loopback's" },
                other => Fault::DuplicateName { name, other },
            };
            return Err(nic.fault(&["name"], fault));
        }
        taken.push((nic.name.clone(), nic.index));
    }
    let by_prefix = |nic: &Nic| {
        let phys = matches!(&nic.device, Device::Phys(plan) if plan.prefix.is_some());
        phys && nic.name.is_empty()
    };
    for nic in nics.iter_mut().filter(|n| n.kind != NetKind::Empty && !by_prefix(n)) {
        if !nic.name.is_empty() && !nic.name.contains('%') {
            continue;
        }
        let template = if nic.name.is_empty() { "eth%d" } else { nic.name.as_str() };
        let name = (0..=taken.len())
            .map(|n| template.replacen("%d", &n.to_string(), 1))
            .find(|name| !taken.iter().any(|(t, _)| t == name))
            .unwrap_or_default();
        check_name(&name).map_err(|f| nic.fault(&["name"], f))?;
        taken.push((name.clone(), nic.index));
        nic.name = name;
    }
    Ok(())
}

/// Faults between interfaces.
fn across(nics: &[Nic]) -> Result<(), NetError> {
    for (i, nic) in nics.iter().enumerate() {
        for other in nics.iter().take(i) {
            if let (Some(mac), true) = (nic.hwaddr, nic.hwaddr == other.hwaddr) {
                let fault = Fault::DuplicateMac { mac: mac_text(mac), other: other.index };
                return Err(nic.fault(&["hwaddr"], fault));
            }
            for gateway in &nic.gateways {
                if other.gateways.iter().any(|g| g.ipv6 == gateway.ipv6) {
                    let family = if gateway.ipv6 { "IPv6" } else { "IPv4" };
                    let fault = Fault::SecondGateway { family, other: other.index };
                    return Err(nic.fault(&[gateway.key()], fault));
                }
            }
            let name = nic.link.as_ref().filter(|name| !name.ends_with('+'));
            if let (Device::Phys(_), Device::Phys(_), Some(name), true) =
                (&nic.device, &other.device, name, nic.link == other.link)
            {
                let fault = Fault::DuplicateDevice { name: name.clone(), other: other.index };
                return Err(nic.fault(&["link"], fault));
            }
            match excluded(nic, other) {
                Some((key, fault)) if nic.link == other.link => {
                    return Err(nic.fault(&[key], fault));
                }
                _ => {}
            }
            let (Device::Veth(a), Device::Veth(b)) = (&nic.device, &other.device) else { continue };
            if let Some(name) = a.pair.as_ref().filter(|_| a.pair == b.pair) {
                let fault = Fault::DuplicateName { name: name.clone(), other: other.index };
                return Err(nic.fault(&["veth.pair"], fault));
            }
        }
    }
    Ok(())
}

/// What keeps a device from being made on the parent of another one, and the key to blame.
fn excluded(nic: &Nic, other: &Nic) -> Option<(&'static str, Fault)> {
    let alone = Device::Macvlan(MacvlanMode::Passthru);
    match (&nic.device, &other.device) {
        (Device::Vlan(id), Device::Vlan(same)) if id == same => {
            Some(("vlan.id", Fault::VlanTwice { id: *id }))
        }
        (Device::Macvlan(_), Device::Ipvlan(..)) | (Device::Ipvlan(..), Device::Macvlan(_)) => {
            Some(("link", nic.busy()))
        }
        (Device::Macvlan(_), Device::Macvlan(_))
            if nic.device == alone || other.device == alone =>
        {
            Some(("link", nic.busy()))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
