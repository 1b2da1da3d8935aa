//! Type veth: a pair of devices, one end in the container, the other on the host: a port of a
//! bridge, a hop of the host's routing (mode router), or left for the user's script. Both ends
//! come to life in one request, each in its namespace and with its name, so there is nothing to
//! move or rename.

use crate::config::{NetConfig, VethVlan};
use crate::net::error::{Blame, Fault, blame, kernel, refused};
use crate::net::plan::{Hop, Nic, Note};
use crate::net::reply::Bridge;
use crate::net::rtnl::{
    Change, Common, LinkKind, NewLink, NewRoute, PortVlan, Rtnl, RtnlError, Target,
};
use crate::net::rules::check_name;
use crate::net::undo::Undo;
use crate::net::{Made, Sides, configure, leaving, ovs, random_name, sysctl};
use crate::sys::netlink::errno as net_errno;
use crate::sys::{SysError, dirs, errno, random};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

/// How often another random name is tried.
const NAME_TRIES: u32 = 16;

/// The most ports of a bridge: the kernel's BR_MAX_PORTS without its number 0.
const PORTS_MAX: usize = 1023;

/// What is special about a veth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VethPlan {
    /// `veth.mode = router`.
    pub router: bool,
    /// `veth.pair`: name of the host's end; a random `vethXXXXXX` otherwise.
    pub pair: Option<String>,
    /// `veth.n_rxqueues`.
    pub rx_queues: Option<u32>,
    /// `veth.n_txqueues`.
    pub tx_queues: Option<u32>,
    /// `veth.vlan.id`: the untagged VLAN of the bridge port.
    pub vlan: Option<VethVlan>,
    /// `veth.vlan.tagged.id`.
    pub vlan_tagged: Vec<u16>,
    /// `veth.ipv4.route` and `veth.ipv6.route`: what the host routes to the container.
    pub routes: Vec<(IpAddr, u8)>,
}

/// Plans the veth part of one interface; an error comes with the key to blame.
pub(super) fn plan(net: &NetConfig) -> Result<VethPlan, Blame> {
    let veth = &net.veth;
    if let Some(pair) = &veth.pair {
        check_name(pair).map_err(blame("veth.pair"))?;
    }
    let vlans = veth.vlan_id.is_some() || !veth.vlan_tagged.is_empty();
    if vlans && (veth.router || net.link.is_none()) {
        return Err(blame("veth.vlan.id")(Fault::VlanNeedsBridge));
    }
    let vlan_tagged: Vec<u16> = veth.vlan_tagged.iter().map(|v| v.value).collect();
    let untagged = match veth.vlan_id {
        Some(VethVlan::Id(id)) => Some(id),
        _ => None,
    };
    for (i, id) in vlan_tagged.iter().copied().chain(untagged).enumerate() {
        if !(1..=4094).contains(&id) {
            return Err(blame("veth.vlan.id")(Fault::VlanRange { id }));
        }
        if vlan_tagged.iter().take(i).any(|other| *other == id) {
            return Err(blame("veth.vlan.id")(Fault::VlanTwice { id }));
        }
    }
    let v4 = veth.ipv4_routes.iter().map(|r| (IpAddr::from(r.value.0), r.value.1));
    let v6 = veth.ipv6_routes.iter().map(|r| (IpAddr::from(r.value.0), r.value.1));
    // 0 is LXC 7's word for the kernel's default.
    let queues = |n: Option<u32>| n.filter(|n| *n > 0);
    Ok(VethPlan {
        router: veth.router,
        pair: veth.pair.clone(),
        rx_queues: queues(veth.rx_queues),
        tx_queues: queues(veth.tx_queues),
        vlan: veth.vlan_id,
        vlan_tagged,
        routes: v4.chain(v6).collect(),
    })
}

/// Where the host's end belongs.
enum Place {
    /// A port of a bridge of the kernel.
    Port { index: u32, bridge: Bridge, up: bool },
    /// A port of an Open vSwitch bridge.
    Ovs,
    /// Nowhere but the host's routing.
    Free,
}

/// Finds what would make [`create`] fail.
pub(super) fn check(
    nic: &Nic,
    plan: &VethPlan,
    host: &mut Rtnl,
    notes: &mut Vec<Note>,
) -> Result<(), Blame> {
    let (place, _) = place(nic, plan, host)?;
    if let (Place::Port { up: false, .. }, Some(name)) = (&place, &nic.link) {
        notes.push(nic.note("link", format!("the bridge \"{name}\" is down")));
    }
    if let (Place::Port { .. }, Some(name)) = (&place, &nic.link) {
        // The devices of containers that have just stopped go in a moment.
        let free = leaving::wait(&mut || Ok(ports(name) < PORTS_MAX));
        if !free? {
            return Err(blame("link")(Fault::BridgeFull { name: name.clone() }));
        }
    }
    if let (Place::Port { index, bridge, .. }, Some(mac)) = (&place, nic.hwaddr) {
        let name = nic.link.as_deref().unwrap_or_default();
        let vlan = match plan.vlan {
            Some(VethVlan::Id(id)) => Some(id),
            _ => Some(bridge.default_pvid).filter(|id| *id != 0),
        };
        check_mac(*index, name, mac, vlan.filter(|_| bridge.vlan_filtering), host)?;
    }
    match &plan.pair {
        Some(name) if !becomes_free(name, host)? => {
            return Err(blame("veth.pair")(Fault::NameTaken { name: name.clone() }));
        }
        _ => {}
    }
    if plan.router && nic.gateways.iter().any(|g| g.ipv6) {
        // The setting of one device alone makes the kernel forward nothing.
        sysctl::require("ipv6", "all", "forwarding").map_err(blame("ipv6.gateway"))?;
    }
    if plan.router
        && nic.gateways.iter().any(|g| !g.ipv6)
        && !sysctl::is_on("ipv4", "all", "forwarding")
    {
        let text = "net.ipv4.ip_forward is off: no answer comes back to it through this host";
        notes.push(nic.note("ipv4.gateway", text.to_owned()));
    }
    Ok(())
}

/// How many ports a bridge has, as far as sysfs tells (it may be that of another namespace): the
/// kernel has the last word when the port is added.
fn ports(bridge: &str) -> usize {
    let dir = format!("/sys/class/net/{bridge}/brif");
    dirs::names(Path::new(&dir)).map_or(0, |names| names.len())
}

/// A second container with the same address on a bridge takes turns in being unreachable.
fn check_mac(
    bridge: u32,
    name: &str,
    mac: [u8; 6],
    vlan: Option<u16>,
    host: &mut Rtnl,
) -> Result<(), Blame> {
    let step = "asking the bridge for the address";
    let mut taken = None;
    let free = leaving::wait(&mut || {
        let port = host.fdb_port(bridge, name, mac, vlan).map_err(refused("hwaddr", step))?;
        let Some(port) = port else { return Ok(true) };
        let link = host.link(Target::Index(port, name)).map_err(refused("hwaddr", step))?;
        // Behind any other device it may be this container, on the machine it came from.
        taken = link.filter(|link| link.kind.as_deref() == Some("veth")).map(|link| link.name);
        // Or it is its own old pair, see below.
        Ok(taken.is_none())
    })?;
    match taken {
        Some(name) if !free => Err(blame("hwaddr")(Fault::MacTaken { name })),
        _ => Ok(()),
    }
}

/// True if the host has no link called `name`, or none any more in a moment: the kernel is still
/// at work on the pair of a container that has just stopped, maybe this one.
fn becomes_free(name: &str, host: &mut Rtnl) -> Result<bool, Blame> {
    let mut foreign = false;
    let over = leaving::wait(&mut || {
        let found = host.link(Target::Name(name));
        let found = found.map_err(refused("veth.pair", "looking for a free name"))?;
        foreign = found.as_ref().is_some_and(|link| link.kind.as_deref() != Some("veth"));
        Ok(found.is_none() || foreign)
    })?;
    Ok(over && !foreign)
}

/// Where the host's end belongs, and the MTU that it has to suit.
fn place(nic: &Nic, plan: &VethPlan, host: &mut Rtnl) -> Result<(Place, Option<u32>), Blame> {
    let Some(name) = &nic.link else { return Ok((Place::Free, nic.mtu)) };
    let found = host.link(Target::Name(name)).map_err(refused("link", "looking for the bridge"))?;
    if plan.router {
        let link = found.ok_or_else(|| blame("link")(Fault::NoParent { name: name.clone() }))?;
        return Ok((Place::Free, nic.mtu.or(Some(link.mtu))));
    }
    let link = found.ok_or_else(|| blame("link")(Fault::NoBridge { name: name.clone() }))?;
    let mtu = nic.mtu.or(Some(link.mtu));
    if let (Some("bridge"), Some(bridge)) = (link.kind.as_deref(), link.bridge) {
        let vlans = plan.vlan.is_some() || !plan.vlan_tagged.is_empty();
        if vlans && !bridge.vlan_filtering {
            return Err(blame("link")(Fault::NoVlanFiltering { name: name.clone() }));
        }
        let up = link.is_up();
        return Ok((Place::Port { index: link.index, bridge, up }, mtu));
    }
    // The datapath in the kernel makes links of its own type, the one in user space taps.
    if ovs::is_bridge(name).map_err(blame("link"))? {
        return Ok((Place::Ovs, mtu));
    }
    if link.kind.as_deref() == Some("openvswitch") {
        return Err(blame("link")(Fault::NoOvs));
    }
    let kind =
        link.kind.map_or_else(|| "a hardware device".to_owned(), |k| format!("a {k} device"));
    Err(blame("link")(Fault::NotABridge { name: name.clone(), kind }))
}

/// Makes the pair and puts the host's end in its place; `undo` grows with every step.
pub(super) fn create(
    nic: &Nic,
    plan: &VethPlan,
    sides: &mut Sides,
    made: &mut Made,
    undo: &mut Vec<Undo>,
) -> Result<(), Blame> {
    let (place, mtu) = place(nic, plan, &mut sides.host)?;
    let name = make_pair(nic, plan, mtu, sides)?;
    let bound = plan.pair.is_some() || plan.router || !plan.routes.is_empty();
    undo.push(match place {
        Place::Port { .. } if !bound => Undo::Leftover(name.clone()),
        _ => Undo::Link(name.clone()),
    });
    made.host = Some(name.clone());
    let host = &mut sides.host;
    // What the kernel must not do while the device is up is turned off before.
    let step = "setting up the host's end";
    match place {
        // A port needs no address of its own.
        Place::Port { .. } | Place::Ovs => {
            host.no_link_local(&name).map_err(refused("type", step))?;
        }
        // A router advertisement from the container must not change the host's routes.
        Place::Free => sysctl::try_set("ipv6", &name, "accept_ra", "0")
            .map_err(|cause| blame("type")(Fault::System { step, cause }))?,
    }
    // Not part of the creating request: before 4.11 the kernel ignores a master there, and the
    // device must not be up before the above.
    let mut change = Change { up: Some(true), ..Change::default() };
    let step = "bringing the host's end up";
    match place {
        Place::Port { index, bridge, .. } => {
            change.master = Some(index);
            if plan.vlan.is_some() || !plan.vlan_tagged.is_empty() {
                // VLANs before it is up: nothing may pass in the wrong one.
                let only_master = Change { up: None, ..change.clone() };
                attach(nic, &name, &only_master, host)?;
                port_vlans(plan, &name, bridge, host)?;
                change.master = None;
            }
            attach(nic, &name, &change, host)?;
        }
        Place::Ovs => {
            let bridge = nic.link.clone().unwrap_or_default();
            ovs::add_port(&bridge, &name, plan, host).map_err(blame("link"))?;
            undo.push(Undo::OvsPort { bridge, port: name.clone() });
            host.set_link(Target::Name(&name), &change).map_err(refused("link", step))?;
        }
        Place::Free => {
            host.set_link(Target::Name(&name), &change).map_err(refused("type", step))?;
        }
    }
    if plan.router || !plan.routes.is_empty() {
        routes(nic, plan, &name, host, undo)?;
    }
    Ok(())
}

/// Makes the pair; gives back the name of the host's end.
fn make_pair(
    nic: &Nic,
    plan: &VethPlan,
    mtu: Option<u32>,
    sides: &mut Sides,
) -> Result<String, Blame> {
    let chosen =
        |cause: SysError| blame("veth.pair")(Fault::System { step: "choosing a name", cause });
    for _ in 0..NAME_TRIES {
        let name = match &plan.pair {
            Some(pair) => pair.clone(),
            None => random_name("veth").map_err(chosen)?,
        };
        // A bridge takes the lowest address of its ports: a high one keeps it from changing its
        // own with every start (LXC's setup_private_host_hw_addr).
        let mut mac = random::bytes::<6>().map_err(chosen)?;
        mac[0] = 0xfe;
        let common = Common {
            mtu,
            rx_queues: plan.rx_queues,
            tx_queues: plan.tx_queues,
            ..Common::default()
        };
        let host_ns = Some(sides.host_ns.as_fd());
        let peer = Common { mac: Some(mac), netns: host_ns, ..common.clone() };
        // Asked for inside, with the host's end as the peer: the kernel brings up only the first
        // of a new pair.
        let new = NewLink {
            name: &nic.name,
            kind: LinkKind::Veth { peer_name: &name, peer },
            common: Common { mac: nic.hwaddr, up: nic.up, ..common },
        };
        match sides.inside.create_link(&new) {
            Ok(()) => return Ok(name),
            Err(e) if e.is(errno::EEXIST) => {
                // One of the two names is taken; the answer does not say which.
                let inside = sides.inside.link(Target::Name(&nic.name));
                if matches!(inside, Ok(Some(_))) {
                    return Err(blame("name")(Fault::NameTakenInside { name: nic.name.clone() }));
                }
                if plan.pair.is_some() && !becomes_free(&name, &mut sides.host)? {
                    return Err(blame("veth.pair")(Fault::NameTaken { name }));
                }
            }
            Err(e) if e.is(errno::EOPNOTSUPP) => {
                return Err(blame("type")(Fault::NoDriver { what: "veth" }));
            }
            Err(cause) => return Err(refused("type", "making the pair")(cause)),
        }
    }
    Err(blame("veth.pair")(Fault::NameTaken { name: "vethXXXXXX".to_owned() }))
}

/// Makes the host's end a port of its bridge, or brings it up, or both.
fn attach(nic: &Nic, name: &str, change: &Change<'_>, host: &mut Rtnl) -> Result<(), Blame> {
    host.set_link(Target::Name(name), change).map_err(|cause| {
        let link = nic.link.clone().unwrap_or_default();
        blame("link")(attach_fault(link, cause))
    })
}

fn attach_fault(link: String, cause: RtnlError) -> Fault {
    if cause.is(net_errno::EXFULL) {
        Fault::BridgeFull { name: link }
    } else {
        Fault::Kernel { step: "attaching the host's end to the bridge", cause }
    }
}

/// Puts the port into its VLANs: out of the bridge's default one unless that is the wanted one,
/// then into those of the configuration (LXC's setup_veth_native_bridge_vlan).
fn port_vlans(plan: &VethPlan, name: &str, bridge: Bridge, host: &mut Rtnl) -> Result<(), Blame> {
    let link = host.link(Target::Name(name)).map_err(refused("veth.vlan.id", "looking for it"))?;
    let port = link.map(|link| link.index).unwrap_or_default();
    let untagged = match plan.vlan {
        Some(VethVlan::Id(id)) => Some(id),
        _ => None,
    };
    let default = bridge.default_pvid;
    if plan.vlan.is_some() && default != 0 && untagged != Some(default) {
        let old = [PortVlan { id: default, untagged: false }];
        host.delete_port_vlans(port, name, &old)
            .map_err(refused("veth.vlan.id", "leaving the bridge's default VLAN"))?;
    }
    let vlans: Vec<_> = untagged
        .map(|id| PortVlan { id, untagged: true })
        .into_iter()
        .chain(plan.vlan_tagged.iter().map(|id| PortVlan { id: *id, untagged: false }))
        .collect();
    if vlans.is_empty() {
        return Ok(());
    }
    host.add_port_vlans(port, name, &vlans).map_err(refused("veth.vlan.id", "joining its VLANs"))
}

/// The host's routes to the container; in mode router also forwarding, and answers for the
/// container's gateways, which need be nobody's address.
fn routes(
    nic: &Nic,
    plan: &VethPlan,
    name: &str,
    host: &mut Rtnl,
    undo: &mut Vec<Undo>,
) -> Result<(), Blame> {
    // A port of a bridge has no neighbours: those of its bridge are asked.
    let bridge = nic.link.as_deref().filter(|_| !plan.router);
    let target = Target::Name(bridge.unwrap_or(name));
    let device = host.link(target).map_err(refused("type", "looking for it"))?;
    let device = device.map(|link| link.index).unwrap_or_default();
    let system = |step| move |cause: SysError| blame("veth.mode")(Fault::System { step, cause });
    if plan.router {
        for (ipv6, family) in [(false, "ipv4"), (true, "ipv6")] {
            let mine = nic.addresses.iter().any(|a| a.value.address.is_ipv6() == ipv6);
            let Some(planned) = nic.gateways.iter().find(|g| g.ipv6 == ipv6) else {
                if mine {
                    sysctl::set(family, name, "forwarding", "1")
                        .map_err(system("turning forwarding on"))?;
                }
                continue;
            };
            sysctl::set(family, name, "forwarding", "1")
                .map_err(system("turning forwarding on"))?;
            if ipv6 {
                sysctl::require("ipv6", "all", "forwarding").map_err(blame("ipv6.gateway"))?;
                sysctl::set(family, name, "proxy_ndp", "1")
                    .map_err(system("turning the neighbour proxy on"))?;
            }
            let gateway = match planned.hop {
                Hop::Device => continue,
                Hop::Via { gateway, .. } => gateway,
                Hop::Auto => {
                    let link = nic.link.as_deref().unwrap_or_default();
                    configure::address_of_link(link, ipv6, host).map_err(blame(if ipv6 {
                        "ipv6.gateway"
                    } else {
                        "ipv4.gateway"
                    }))?
                }
            };
            // Since 5.16 the kernel drops these entries with the carrier, for good: at an `ip link
            // set eth0 down` inside.
            let evict = if ipv6 { "ndisc_evict_nocarrier" } else { "arp_evict_nocarrier" };
            sysctl::try_set(family, name, evict, "0")
                .map_err(system("keeping the neighbour proxy"))?;
            host.add_proxy(device, gateway)
                .map_err(refused("veth.mode", "answering for its gateway"))?;
        }
    }
    let own = nic.addresses.iter().filter(|_| plan.router).map(|a| {
        let prefix = if a.value.address.is_ipv6() { 128 } else { 32 };
        (a.value.address, prefix)
    });
    // Of a network that is routed to it the container need not have each address (it may answer
    // for all of them, or route on), and nobody answers a neighbour solicitation for those: they
    // go by way of its own address. IPv4 needs no such hop, ARP answers for whatever is local.
    let hop = nic.addresses.iter().map(|a| a.value.address).find(IpAddr::is_ipv6);
    let own = own.map(|net| (net, None));
    let routed = plan.routes.iter().map(|net| (*net, hop.filter(|_| net.0.is_ipv6())));
    for ((net, prefix), gateway) in own.chain(routed) {
        let ipv6 = net.is_ipv6();
        let mut route = NewRoute { destination: Some((net, prefix)), gateway, device, ipv6 };
        let mut added = host.add_route(&route);
        if let (Err(_), Some(_)) = (&added, gateway) {
            // An address that the host has no way to.
            route.gateway = None;
            added = host.add_route(&route);
        }
        let key = if ipv6 { "veth.ipv6.route" } else { "veth.ipv4.route" };
        added.map_err(kernel("adding a route to it on the host")).map_err(blame(key))?;
        if bridge.is_some() {
            undo.push(Undo::Route(route));
        }
    }
    Ok(())
}
