//! One interface of the configuration: its keys become a [`Nic`], or the first of its faults. Pure,
//! as all of `plan`. Start at [`nic`].

use crate::config::{Config, Gateway, NetConfig, NetKind, Origin, Sourced};
use crate::net::error::{Blame, Fault, NetError, kind_name, mac_text};
use crate::net::plan::{Device, Hop, Nic, Note, PlannedAddress, PlannedGateway};
use crate::net::rules::{
    check_address, check_name, check_route, check_template, contains, is_link_local, is_unicast,
};
use crate::net::{ipvlan, phys, veth, vlan};
use std::net::IpAddr;

/// The smallest MTU that the kernel lets an Ethernet device have.
const MTU_MIN: u32 = 68;
/// The largest.
const MTU_MAX: u32 = 65_535;
/// RFC 8200, section 5.
const MTU_IPV6: u32 = 1280;

/// Plans interface `index`, without a name unless it is given one.
pub(super) fn nic(
    config: &Config,
    index: u32,
    net: &NetConfig,
    notes: &mut Vec<Note>,
) -> Result<Nic, NetError> {
    Draft { index, net, origins: origins(config, index) }.nic(notes)
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
            let any = || self.origins.first().map(|(_, o)| o.clone());
            let origin = self.origin("type").or_else(any);
            return Err(NetError::new(Some(self.index), origin, Fault::NoType));
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
        let blamed = |b: Blame| {
            let origin = self.origin(b.key).or_else(|| self.origin("type"));
            NetError::boxed(Some(self.index), origin, b.fault)
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
