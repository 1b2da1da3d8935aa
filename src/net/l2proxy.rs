//! `l2proxy = 1`: the host answers ARP and neighbour solicitations on the link for the
//! container's addresses, so that they can be addresses of the link's own network.

use crate::config::NetKind;
use crate::net::error::{Blame, Fault, blame, refused};
use crate::net::plan::Nic;
use crate::net::rtnl::{LOOPBACK, NewRoute, Rtnl, Target};
use crate::net::sysctl;
use crate::net::undo::Undo;

/// The settings of the link that make a proxy entry work, for the families in use.
pub(super) fn check(nic: &Nic) -> Result<(), Blame> {
    let link = nic.link.as_deref().unwrap_or_default();
    let has = |ipv6| nic.addresses.iter().any(|a| a.value.address.is_ipv6() == ipv6);
    if has(false) {
        sysctl::require("ipv4", link, "forwarding").map_err(blame("l2proxy"))?;
    }
    if has(true) {
        sysctl::require("ipv6", link, "proxy_ndp").map_err(blame("l2proxy"))?;
        sysctl::require("ipv6", link, "forwarding").map_err(blame("l2proxy"))?;
    }
    Ok(())
}

/// Makes the entries; what was made is on `undo` even after an error.
pub(super) fn create(nic: &Nic, host: &mut Rtnl, undo: &mut Vec<Undo>) -> Result<(), Blame> {
    check(nic)?;
    let name = nic.link.as_deref().unwrap_or_default();
    let link = host.link(Target::Name(name)).map_err(refused("link", "looking for the link"))?;
    let link = link.ok_or_else(|| blame("link")(Fault::NoParent { name: name.to_owned() }))?;
    for planned in &nic.addresses {
        let address = planned.value.address;
        if nic.kind == NetKind::Ipvlan {
            // In mode l3s the host hands over what it routes to the address; without a route to
            // itself it would send it to the link's network instead.
            let prefix = if address.is_ipv6() { 128 } else { 32 };
            let route = NewRoute {
                destination: Some((address, prefix)),
                gateway: None,
                device: LOOPBACK,
                ipv6: address.is_ipv6(),
            };
            host.add_route(&route).map_err(refused("l2proxy", "adding a route through lo"))?;
            undo.push(Undo::Route(route));
        }
        host.add_proxy(link.index, address)
            .map_err(refused("l2proxy", "adding a proxy entry to the link"))?;
        undo.push(Undo::Proxy { device: link.index, address });
    }
    Ok(())
}
