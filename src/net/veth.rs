//! Type veth: a pair of devices, one end in the container, the other on the host and, with a
//! link, a port of that bridge. Both ends come to life in one request, each
//! in its namespace and with its name, so there is nothing to move or rename.

use crate::config::{NetConfig, NetKind};
use crate::net::error::{Blame, Fault, blame, kernel, refused};
use crate::net::plan::{Nic, check_name};
use crate::net::rtnl::{Change, Common, LinkKind, NewLink, Rtnl, RtnlError, Target};
use crate::net::{Made, Sides};
use crate::sys::netlink::errno as net_errno;
use crate::sys::{errno, fd, random};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

/// How often another random name is tried.
const NAME_TRIES: u32 = 16;

/// How long a veth of the wanted name is given to vanish, step by step: 0.3 s.
const LEAVING: &[Duration] = &[
    Duration::from_millis(2),
    Duration::from_millis(8),
    Duration::from_millis(20),
    Duration::from_millis(70),
    Duration::from_millis(200),
    Duration::ZERO,
];

/// What is special about a veth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VethPlan {
    /// `veth.pair`: name of the host's end; a random `vethXXXXXX` otherwise.
    pub pair: Option<String>,
    /// `veth.n_rxqueues`.
    pub rx_queues: Option<u32>,
    /// `veth.n_txqueues`.
    pub tx_queues: Option<u32>,
}

/// Plans the veth part of one interface; an error comes with the key to blame.
pub(super) fn plan(net: &NetConfig) -> Result<VethPlan, Blame> {
    let veth = &net.veth;
    if let Some(pair) = &veth.pair {
        check_name(pair).map_err(blame("veth.pair"))?;
    }
    if veth.router {
        return Err(blame("veth.mode")(Fault::NotBuilt { what: "veth.mode = router" }));
    }
    if veth.vlan_id.is_some() || !veth.vlan_tagged.is_empty() {
        return Err(blame("veth.vlan.id")(Fault::NotBuilt { what: "VLANs of a bridge port" }));
    }
    if !veth.ipv4_routes.is_empty() || !veth.ipv6_routes.is_empty() {
        return Err(blame("veth.mode")(Fault::NotBuilt { what: "lxc.net.*.veth.ipv*.route" }));
    }
    // 0 is LXC 7's word for the kernel's default.
    let queues = |n: Option<u32>| n.filter(|n| *n > 0);
    Ok(VethPlan {
        pair: veth.pair.clone(),
        rx_queues: queues(veth.rx_queues),
        tx_queues: queues(veth.tx_queues),
    })
}

/// Finds what would make [`create`] fail.
pub(super) fn check(nic: &Nic, plan: &VethPlan, host: &mut Rtnl) -> Result<(), Blame> {
    if let Some(name) = &nic.link {
        bridge(name, host).map_err(blame("link"))?;
    }
    if let Some(name) = &plan.pair {
        if !becomes_free(name, host)? {
            return Err(blame("veth.pair")(Fault::NameTaken { name: name.clone() }));
        }
    }
    Ok(())
}

/// True if the host has no link called `name`, or none any more in a moment: the kernel is still
/// at work on the pair of a container that has just stopped, maybe this one.
fn becomes_free(name: &str, host: &mut Rtnl) -> Result<bool, Blame> {
    for wait in LEAVING {
        let found = host.link(Target::Name(name));
        match found.map_err(refused("veth.pair", "looking for a free name"))? {
            None => return Ok(true),
            Some(link) if link.kind.as_deref() != Some("veth") => return Ok(false),
            Some(_) => sleep(*wait),
        }
    }
    Ok(false)
}

/// Index and MTU of the bridge called `name`.
fn bridge(name: &str, host: &mut Rtnl) -> Result<(u32, u32), Fault> {
    let link = host.link(Target::Name(name)).map_err(kernel("looking for the bridge"))?;
    let link = link.ok_or_else(|| Fault::NoBridge { name: name.to_owned() })?;
    match link.kind.as_deref() {
        Some("bridge") => Ok((link.index, link.mtu)),
        Some("openvswitch") => Err(Fault::NotBuilt { what: "a port of an Open vSwitch bridge" }),
        kind => Err(Fault::NotABridge {
            name: name.to_owned(),
            kind: kind.map_or_else(|| "a hardware device".to_owned(), |k| format!("a {k} device")),
        }),
    }
}

/// Makes the pair. The host's end stays down and unattached until [`attach`].
pub(super) fn create(
    nic: &Nic,
    plan: &VethPlan,
    sides: &mut Sides,
) -> Result<(Made, Option<u32>), Blame> {
    let bridge = match &nic.link {
        Some(name) => Some(bridge(name, &mut sides.host).map_err(blame("link"))?),
        None => None,
    };
    let mtu = nic.mtu.or(bridge.map(|(_, mtu)| mtu));
    for _ in 0..NAME_TRIES {
        let random = random::bytes::<11>().map_err(|cause| {
            blame("veth.pair")(Fault::System { step: "choosing a name", cause })
        })?;
        let (digits, tail) = random.split_at(6);
        let name = plan.pair.clone().unwrap_or_else(|| host_name(digits));
        // A bridge takes the lowest address of its ports: a high one keeps it from changing its
        // own with every start (LXC's setup_private_host_hw_addr).
        let mut mac = [0xfe; 6];
        mac[1..].copy_from_slice(tail);
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
            Ok(()) => {
                let made = Made {
                    index: nic.index,
                    kind: NetKind::Veth,
                    host: Some(name),
                    container: nic.name.clone(),
                    link: nic.link.clone(),
                };
                return Ok((made, bridge.map(|(index, _)| index)));
            }
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
            Err(cause) => return Err(refused("type", "making the pair")(cause)),
        }
    }
    Err(blame("veth.pair")(Fault::NameTaken { name: "vethXXXXXX".to_owned() }))
}

/// Makes the host's end a port of its bridge and brings it up.
pub(super) fn attach(
    nic: &Nic,
    made: &Made,
    bridge: Option<u32>,
    host: &mut Rtnl,
) -> Result<(), Blame> {
    let name = made.host.as_deref().unwrap_or_default();
    if bridge.is_some() {
        disable_ipv6(name).map_err(|cause| {
            blame("link")(Fault::System { step: "turning IPv6 off on the host's end", cause })
        })?;
    }
    // Not part of the creating request: before 4.11 the kernel ignores a master there, and the
    // device must not be up before IPv6 is off.
    let change = Change { master: bridge, up: Some(true), ..Change::default() };
    host.set_link(Target::Name(name), &change).map_err(|cause| {
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

/// A port of a bridge needs no address of its own, and must not take one from a router
/// advertisement that the container sends.
fn disable_ipv6(name: &str) -> crate::sys::Result<()> {
    match fd::write_file(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), b"1") {
        // A kernel without IPv6, or (in a nested container) a /proc/sys that cannot be written,
        // where the outer container's owner decides.
        Err(e) if e.is(errno::ENOENT) || e.is(errno::EROFS) || e.is(errno::EACCES) => {
            log::debug!("IPv6 stays as it is on {name}: {e}");
            Ok(())
        }
        other => other,
    }
}

/// `veth` and six characters, as LXC has it.
fn host_name(random: &[u8]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digit = |b: &u8| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]);
    std::iter::once("veth".to_owned()).chain(random.iter().map(|b| digit(b).to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_look_like_lxcs() {
        assert_eq!(host_name(&[0, 1, 10, 35, 61, 62]), "veth01azZ0");
    }
}
