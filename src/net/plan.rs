//! From the `lxc.net.*` keys to what is to be made: pure, complete, and where every fault that
//! the configuration alone shows is found. Start at [`plan`].

use crate::config::{
    Config, Gateway, IpvlanIsolation, IpvlanMode, MacvlanMode, NetConfig, NetKind, Origin, Sourced,
};
use crate::net::error::{Blame, Fault, NetError, kind_name, mac_text};
pub use crate::net::rules::contains;
use crate::net::rules::{
    check_address, check_name, check_route, check_template, is_link_local, is_unicast,
};
use crate::net::{ipvlan, phys, veth, vlan};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The smallest MTU that the kernel lets an Ethernet device have.
const MTU_MIN: u32 = 68;
/// The largest.
const MTU_MAX: u32 = 65_535;
/// RFC 8200, section 5.
const MTU_IPV6: u32 = 1280;

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
    origins: Vec<(String, Origin)>,
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
        NetError { index: Some(self.index), origin: self.origin(&[key]), fault }
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
        let draft = Draft { index, net, origins: origins(config, index) };
        let nic = draft.nic(&mut plan.notes)?;
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

/// The scalar keys of one interface with their lines.
fn origins(config: &Config, index: u32) -> Vec<(String, Origin)> {
    let prefix = format!("lxc.net.{index}.");
    config
        .origins
        .iter()
        .filter_map(|(key, origin)| Some((key.strip_prefix(&prefix)?.to_owned(), origin.clone())))
        .collect()
}

/// One interface of the configuration on its way to a [`Nic`].
struct Draft<'a> {
    index: u32,
    net: &'a NetConfig,
    origins: Vec<(String, Origin)>,
}

impl Draft<'_> {
    fn origin(&self, key: &str) -> Option<Origin> {
        self.origins.iter().find(|(k, _)| k == key).map(|(_, o)| o.clone())
    }

    fn fault(&self, key: &str, fault: Fault) -> NetError {
        let origin = self.origin(key).or_else(|| self.origin("type"));
        NetError::new(Some(self.index), origin, fault)
    }

    fn nic(self, notes: &mut Vec<Note>) -> Result<Nic, NetError> {
        let net = self.net;
        let Some(kind) = net.kind else {
            let mut error = self.fault("type", Fault::NoType);
            error.origin = error.origin.or_else(|| self.origins.first().map(|(_, o)| o.clone()));
            return Err(error);
        };
        self.only_keys_of(kind)?;
        if let Some(link) = &net.link {
            let name = if kind == NetKind::Phys { link.strip_suffix('+') } else { None };
            check_name(name.unwrap_or(link)).map_err(|f| self.fault("link", f))?;
        } else if matches!(kind, NetKind::Vlan | NetKind::Macvlan | NetKind::Ipvlan | NetKind::Phys)
        {
            return Err(self.fault("type", Fault::NoLink { kind }));
        }
        if let Some(name) = &net.name {
            check_template(name).map_err(|f| self.fault("name", f))?;
        }
        self.check_mac_and_mtu()?;
        self.check_proxy()?;
        let addresses = self.addresses(notes)?;
        let gateways = self.gateways(kind, &addresses, notes)?;
        let device = self.device(kind)?;
        let name = match (&net.name, &device) {
            (Some(name), _) => name.clone(),
            // A device of the host keeps its name, which with a prefix only the host can tell.
            (None, Device::Phys(phys::PhysPlan { prefix: None })) => {
                net.link.clone().unwrap_or_default()
            }
            (None, _) => String::new(),
        };
        let script = |key: &str, command: &Option<String>| {
            command.as_ref().map(|value| Sourced {
                value: value.clone(),
                origin: self.origin(key).unwrap_or_else(|| Origin::label("lxc.net")),
            })
        };
        Ok(Nic {
            index: self.index,
            kind,
            device,
            name,
            link: net.link.clone(),
            l2proxy: net.l2proxy,
            up: net.up,
            hwaddr: net.hwaddr,
            mtu: net.mtu,
            addresses,
            gateways,
            script_up: script("script.up", &net.script_up),
            script_down: script("script.down", &net.script_down),
            origins: self.origins,
        })
    }

    fn device(&self, kind: NetKind) -> Result<Device, NetError> {
        let net = self.net;
        let blamed = |b: Blame| NetError {
            index: Some(self.index),
            origin: self.origin(b.key).or_else(|| self.origin("type")),
            fault: b.fault,
        };
        Ok(match kind {
            NetKind::None | NetKind::Empty => Device::Empty,
            NetKind::Veth => Device::Veth(veth::plan(net).map_err(blamed)?),
            NetKind::Macvlan => Device::Macvlan(net.macvlan_mode),
            NetKind::Vlan => Device::Vlan(vlan::plan(net).map_err(blamed)?),
            NetKind::Ipvlan => {
                ipvlan::plan(net).map_err(blamed)?;
                Device::Ipvlan(net.ipvlan_mode, net.ipvlan_isolation)
            }
            NetKind::Phys => {
                let prefix = net.link.as_deref().and_then(|link| link.strip_suffix('+'));
                Device::Phys(phys::PhysPlan { prefix: prefix.map(str::to_owned) })
            }
        })
    }

    fn check_proxy(&self) -> Result<(), NetError> {
        let net = self.net;
        if !net.l2proxy {
            Ok(())
        } else if net.link.is_none() {
            Err(self.fault("l2proxy", Fault::ProxyNeedsLink))
        } else if net.ipv4.is_empty() && net.ipv6.is_empty() {
            Err(self.fault("l2proxy", Fault::ProxyOfNothing))
        } else {
            Ok(())
        }
    }

    /// A key that the type has no use for is a mistake, not decoration.
    fn only_keys_of(&self, kind: NetKind) -> Result<(), NetError> {
        let net = self.net;
        let device = !matches!(kind, NetKind::None | NetKind::Empty);
        let wrong = |key: &str| {
            let key = format!("lxc.net.{}.{key}", self.index);
            Fault::KeyOfOtherType { key, kind }
        };
        for (key, origin) in &self.origins {
            let fits = match key.as_str() {
                "type" | "flags" => true,
                "script.up" | "script.down" => kind != NetKind::None,
                _ => match key.split_once('.').map(|(family, _)| family) {
                    Some("veth" | "vlan" | "macvlan" | "ipvlan") => {
                        key.split('.').next() == Some(kind_name(kind))
                    }
                    _ => device,
                },
            };
            if !fits {
                let origin = Some(origin.clone());
                return Err(NetError::new(Some(self.index), origin, wrong(key)));
            }
        }
        // Lists carry their lines in their elements.
        let veth = &net.veth;
        let lists = [
            (device, "ipv4.address", net.ipv4.first().map(|a| &a.origin)),
            (device, "ipv6.address", net.ipv6.first().map(|a| &a.origin)),
            (kind == NetKind::Veth, "veth.ipv4.route", veth.ipv4_routes.first().map(|a| &a.origin)),
            (kind == NetKind::Veth, "veth.ipv6.route", veth.ipv6_routes.first().map(|a| &a.origin)),
            (
                kind == NetKind::Veth,
                "veth.vlan.tagged.id",
                veth.vlan_tagged.first().map(|a| &a.origin),
            ),
        ];
        for (fits, key, origin) in lists {
            if let (false, Some(origin)) = (fits, origin) {
                let origin = Some(origin.clone());
                return Err(NetError::new(Some(self.index), origin, wrong(key)));
            }
        }
        Ok(())
    }

    fn check_mac_and_mtu(&self) -> Result<(), NetError> {
        if let Some(mac) = self.net.hwaddr {
            if mac == [0; 6] {
                return Err(self.fault("hwaddr", Fault::ZeroMac));
            }
            if mac[0] & 1 == 1 {
                return Err(self.fault("hwaddr", Fault::MulticastMac { mac: mac_text(mac) }));
            }
        }
        if let Some(mtu) = self.net.mtu {
            if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
                let fault = Fault::Mtu { mtu, min: MTU_MIN, max: MTU_MAX };
                return Err(self.fault("mtu", fault));
            }
            if mtu < MTU_IPV6 && (!self.net.ipv6.is_empty() || self.net.ipv6_gateway.is_some()) {
                return Err(self.fault("mtu", Fault::MtuIpv6 { mtu }));
            }
        }
        Ok(())
    }

    fn addresses(&self, notes: &mut Vec<Note>) -> Result<Vec<Sourced<PlannedAddress>>, NetError> {
        let v4 = self.net.ipv4.iter().map(|a| Sourced {
            value: PlannedAddress {
                address: a.value.address.into(),
                prefix: a.value.prefix,
                broadcast: a.value.broadcast,
            },
            origin: a.origin.clone(),
        });
        let v6 = self.net.ipv6.iter().map(|a| Sourced {
            value: PlannedAddress {
                address: a.value.address.into(),
                prefix: a.value.prefix,
                broadcast: None,
            },
            origin: a.origin.clone(),
        });
        let all: Vec<_> = v4.chain(v6).collect();
        let implied = self.net.ipv4.iter().map(|a| a.value.implied);
        let implied = implied.chain(self.net.ipv6.iter().map(|a| a.value.implied));
        for ((i, address), implied) in all.iter().enumerate().zip(implied) {
            let PlannedAddress { address: ip, prefix, .. } = address.value;
            if implied {
                let rule = if ip.is_ipv4() { "as its old class has it" } else { "the usual one" };
                let text = format!(
                    "the address {ip} has no prefix length and becomes {ip}/{prefix}, {rule}"
                );
                let origin = Some(address.origin.clone());
                notes.push(Note { index: self.index, text, origin });
            }
            let twice = all.iter().take(i).any(|a| a.value.address == address.value.address);
            let fault = if twice {
                Some(Fault::DuplicateAddress { address: address.value.address })
            } else {
                check_address(&address.value)
            };
            if let Some(fault) = fault {
                let origin = Some(address.origin.clone());
                return Err(NetError::new(Some(self.index), origin, fault));
            }
        }
        let veth = &self.net.veth;
        let v4 = veth.ipv4_routes.iter().map(|r| (r.value.0.into(), r.value.1, &r.origin));
        let v6 = veth.ipv6_routes.iter().map(|r| (r.value.0.into(), r.value.1, &r.origin));
        for (net, prefix, origin) in v4.chain(v6) {
            if let Some(fault) = check_route(net, prefix) {
                return Err(NetError::new(Some(self.index), Some(origin.clone()), fault));
            }
        }
        Ok(all)
    }

    fn gateways(
        &self,
        kind: NetKind,
        addresses: &[Sourced<PlannedAddress>],
        notes: &mut Vec<Note>,
    ) -> Result<Vec<PlannedGateway>, NetError> {
        let v4 = self.net.ipv4_gateway.map(|g| match g {
            Gateway::Auto => Gateway::Auto,
            Gateway::Dev => Gateway::Dev,
            Gateway::Address(a) => Gateway::Address(IpAddr::from(a)),
        });
        let v6 = self.net.ipv6_gateway.map(|g| match g {
            Gateway::Auto => Gateway::Auto,
            Gateway::Dev => Gateway::Dev,
            Gateway::Address(a) => Gateway::Address(IpAddr::from(a)),
        });
        let mut planned = Vec::new();
        for (ipv6, key, family, gateway) in
            [(false, "ipv4.gateway", "IPv4", v4), (true, "ipv6.gateway", "IPv6", v6)]
        {
            let Some(gateway) = gateway else { continue };
            if !self.net.up {
                return Err(self.fault(key, Fault::GatewayNeedsUp { family }));
            }
            let own = || addresses.iter().map(|a| &a.value).filter(|a| a.address.is_ipv6() == ipv6);
            let link_local = matches!(gateway, Gateway::Address(g) if is_link_local(g));
            if own().next().is_none() && !link_local {
                return Err(self.fault(key, Fault::GatewayNeedsAddress { family }));
            }
            let hop = match gateway {
                Gateway::Dev => Hop::Device,
                Gateway::Auto => {
                    let can = matches!(kind, NetKind::Veth | NetKind::Macvlan);
                    if !can || self.net.link.is_none() {
                        return Err(self.fault(key, Fault::GatewayAuto));
                    }
                    Hop::Auto
                }
                Gateway::Address(gateway) => {
                    if own().any(|a| a.address == gateway) {
                        return Err(self.fault(key, Fault::GatewayIsOwn { gateway }));
                    }
                    if !is_unicast(gateway) {
                        return Err(self.fault(key, Fault::BadGateway { gateway }));
                    }
                    let off_link =
                        !link_local && !own().any(|a| contains(a.address, a.prefix, gateway));
                    if off_link {
                        notes.push(Note {
                            index: self.index,
                            text: format!(
                                "the gateway {gateway} is in none of the interface's networks; a \
                                 host route to it is added"
                            ),
                            origin: self.origin(key),
                        });
                    }
                    Hop::Via { gateway, off_link }
                }
            };
            planned.push(PlannedGateway { ipv6, hop });
        }
        Ok(planned)
    }
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
