//! The container's side, done by the parent over a socket inside the container's network
//! namespace: `lo`, addresses, default routes.

use crate::net::error::{Fault, NetError, kernel};
use crate::net::plan::{Hop, NetPlan, Nic, PlannedGateway};
use crate::net::rtnl::{Change, LOOPBACK, NewRoute, Rtnl, Target};
use crate::net::{Made, Sides, leaving, whole};
use crate::sys::errno;
use std::net::IpAddr;

/// Brings `lo` up and gives every interface its addresses and routes.
pub(super) fn configure<'a>(
    plan: &NetPlan,
    made: impl Iterator<Item = &'a Made>,
    sides: &mut Sides,
) -> Result<(), NetError> {
    let Sides { host, inside, .. } = sides;
    let up = Change { up: Some(true), ..Change::default() };
    inside
        .set_link(Target::Index(LOOPBACK, "lo"), &up)
        .map_err(|cause| whole(Fault::Kernel { step: "bringing lo up in the container", cause }))?;
    for (nic, made) in plan.nics.iter().zip(made) {
        if nic.addresses.is_empty() && nic.gateways.is_empty() {
            continue;
        }
        let found = inside.link(Target::Name(&made.container));
        let found = found.map_err(|cause| {
            nic.fault(&["name"], Fault::Kernel { step: "looking for it in the container", cause })
        })?;
        let gone = || nic.fault(&["name"], Fault::Vanished { name: made.container.clone() });
        let device = found.ok_or_else(gone)?.index;
        addresses(nic, device, inside)?;
        for gateway in &nic.gateways {
            default_route(nic, gateway, device, host, inside)
                .map_err(|f| nic.fault(&[gateway.key()], f))?;
        }
    }
    Ok(())
}

fn addresses(nic: &Nic, device: u32, inside: &mut Rtnl) -> Result<(), NetError> {
    for planned in &nic.addresses {
        let address = planned.value;
        let broadcast = address.broadcast.map(IpAddr::from);
        let failed = |cause| {
            let fault = Fault::Kernel { step: "giving it its address", cause };
            NetError::new(Some(nic.index), Some(planned.origin.clone()), fault)
        };
        // Of an ipvlan parent's devices one has the address: maybe that of a container whose
        // monitor was killed just now.
        let mut taken = None;
        leaving::wait(&mut || {
            match inside.add_address(device, address.address, address.prefix, broadcast) {
                Err(cause) if cause.is(errno::EADDRINUSE) => {
                    taken = Some(cause);
                    return Ok(false);
                }
                done => done.map_err(failed)?,
            }
            taken = None;
            Ok(true)
        })?;
        if let Some(cause) = taken {
            return Err(failed(cause));
        }
    }
    Ok(())
}

fn default_route(
    nic: &Nic,
    planned: &PlannedGateway,
    device: u32,
    host: &mut Rtnl,
    inside: &mut Rtnl,
) -> Result<(), Fault> {
    let ipv6 = planned.ipv6;
    let (gateway, off_link) = match planned.hop {
        Hop::Device => (None, false),
        Hop::Via { gateway, off_link } => (Some(gateway), off_link),
        Hop::Auto => {
            let gateway = address_of_link(nic.link.as_deref().unwrap_or_default(), ipv6, host)?;
            let reachable = nic
                .addresses
                .iter()
                .any(|a| super::plan::contains(a.value.address, a.value.prefix, gateway));
            (Some(gateway), !reachable)
        }
    };
    if let (Some(gateway), true) = (gateway, off_link) {
        let prefix = if ipv6 { 128 } else { 32 };
        let route = NewRoute { destination: Some((gateway, prefix)), gateway: None, device, ipv6 };
        inside.add_route(&route).map_err(kernel("adding a host route to its gateway"))?;
    }
    let route = NewRoute { destination: None, gateway, device, ipv6 };
    inside.add_route(&route).map_err(kernel("adding its default route"))
}

/// The first address of a link of the host; for IPv6 a global one rather than a link-local one.
pub(super) fn address_of_link(link: &str, ipv6: bool, host: &mut Rtnl) -> Result<IpAddr, Fault> {
    const SCOPE_LINK: u8 = 253;
    let family = if ipv6 { "IPv6" } else { "IPv4" };
    let none = || Fault::NoAutoGateway { link: link.to_owned(), family };
    let found = host.link(Target::Name(link)).map_err(kernel("looking for the link"))?;
    let index = found.ok_or_else(none)?.index;
    let all = host.addresses().map_err(kernel("reading the link's addresses"))?;
    let mut own = all.iter().filter(|a| a.link == index && a.address.is_ipv6() == ipv6);
    let first = own.clone().next();
    own.find(|a| a.scope != SCOPE_LINK).or(first).map(|a| a.address).ok_or_else(none)
}
