//! What types macvlan, ipvlan and vlan have in common: a device that sits on a parent of the
//! host. It is made directly in the container's namespace, under its name there, and dies with
//! that namespace. What differs is in the files of the three.

use crate::config::{MacvlanMode, NetKind};
use crate::net::error::{Blame, Fault, blame, refused};
use crate::net::plan::{Device, Nic};
use crate::net::reply::Link;
use crate::net::rtnl::{Common, LinkKind, NewLink, Rtnl, Target};
use crate::net::{Sides, macvlan};
use crate::sys::errno;
use crate::sys::netlink::errno as net_errno;
use std::os::fd::BorrowedFd;

/// IFF_LOOPBACK.
const LOOPBACK: u32 = 8;
/// ARPHRD_ETHER.
const ETHERNET: u16 = 1;
/// Masters that take every frame of their port before a device on it could.
const GREEDY: [&str; 5] = ["bridge", "bond", "team", "openvswitch", "ovs-system"];

/// Finds what would make [`create`] fail.
pub(super) fn check(nic: &Nic, host: &mut Rtnl) -> Result<(), Blame> {
    let parent = find(nic, host)?;
    let name = || parent.name.clone();
    // The kernel's own condition for a macvlan; a vlan it answers with a missing driver.
    let alien = nic.kind == NetKind::Macvlan && parent.hardware != ETHERNET;
    if parent.flags & LOOPBACK != 0 || alien {
        return Err(blame("link")(Fault::BadParent { name: name() }));
    }
    beside(nic, &parent, host)?;
    if nic.up && !parent.is_up() {
        return Err(blame("link")(Fault::ParentDown { name: name() }));
    }
    let same_mac = nic.hwaddr.is_some() && nic.hwaddr == parent.mac;
    let passthru = nic.device == Device::Macvlan(MacvlanMode::Passthru);
    if nic.kind == NetKind::Macvlan && same_mac && !passthru {
        return Err(blame("hwaddr")(Fault::MacTaken { name: name() }));
    }
    match nic.mtu {
        Some(mtu) if mtu > parent.mtu => {
            let fault = Fault::MtuOfParent { mtu, parent_mtu: parent.mtu, name: name() };
            Err(blame("mtu")(fault))
        }
        _ => Ok(()),
    }
}

/// Finds what on the host excludes the device: the parent's master, other devices on the parent.
/// Those that are in other containers are not seen from here; [`create`] meets them.
fn beside(nic: &Nic, parent: &Link, host: &mut Rtnl) -> Result<(), Blame> {
    let step = "looking at what is on the parent";
    if let Some(master) = parent.master.filter(|_| nic.kind != NetKind::Vlan) {
        let kind = host.link(Target::Index(master, "")).map_err(refused("link", step))?;
        let kind = kind.and_then(|master| master.kind).unwrap_or_default();
        if GREEDY.contains(&kind.as_str()) {
            return Err(blame("link")(nic.busy()));
        }
    }
    let (mode, id) = match &nic.device {
        Device::Macvlan(mode) => (Some(*mode), None),
        Device::Vlan(id) => (None, Some(u32::from(*id))),
        _ => (None, None),
    };
    for other in host.links().map_err(refused("link", step))? {
        if other.parent != Some(parent.index) || other.parent_elsewhere {
            continue;
        }
        let passthru = other.detail == Some(macvlan::PASSTHRU);
        let busy = match (nic.kind, other.kind.as_deref()) {
            (NetKind::Macvlan, Some("ipvlan" | "ipvtap"))
            | (NetKind::Ipvlan, Some("macvlan" | "macvtap")) => true,
            (NetKind::Macvlan, Some("macvlan" | "macvtap")) => {
                passthru || mode == Some(MacvlanMode::Passthru)
            }
            (NetKind::Vlan, Some("vlan")) if other.detail == id => {
                let id = id.and_then(|id| u16::try_from(id).ok()).unwrap_or_default();
                let name = parent.name.clone();
                return Err(blame("vlan.id")(Fault::VlanTaken { id, name }));
            }
            _ => false,
        };
        if busy {
            return Err(blame("link")(nic.busy()));
        }
    }
    Ok(())
}

fn find(nic: &Nic, host: &mut Rtnl) -> Result<Link, Blame> {
    let name = nic.link.as_deref().unwrap_or_default();
    let link = host.link(Target::Name(name)).map_err(refused("link", "looking for the parent"))?;
    link.ok_or_else(|| blame("link")(Fault::NoParent { name: name.to_owned() }))
}

/// Makes the device.
pub(super) fn create(
    nic: &Nic,
    kind: LinkKind<'_>,
    sides: &mut Sides,
    netns: BorrowedFd<'_>,
) -> Result<(), Blame> {
    let parent = find(nic, &mut sides.host)?;
    let common = Common {
        mtu: nic.mtu,
        mac: nic.hwaddr,
        netns: Some(netns),
        parent: Some(parent.index),
        up: nic.up,
        ..Common::default()
    };
    let what = kind.name();
    let vlan = if let LinkKind::Vlan { id } = kind { Some(id) } else { None };
    let new = NewLink { name: &nic.name, kind, common };
    let Err(cause) = sides.host.create_link(&new) else {
        return Ok(());
    };
    let name = parent.name;
    Err(match cause.errno().unwrap_or_default() {
        errno::EOPNOTSUPP => blame("type")(Fault::NoDriver { what }),
        errno::EBUSY => blame("link")(Fault::ParentBusy { name, what }),
        // The kernel's answer to a second device beside one in mode passthru.
        errno::EINVAL if nic.device == Device::Macvlan(MacvlanMode::Passthru) => {
            blame("macvlan.mode")(Fault::ParentBusy { name, what })
        }
        errno::EADDRINUSE => blame("hwaddr")(Fault::MacTaken { name }),
        net_errno::ENETDOWN => blame("link")(Fault::ParentDown { name }),
        errno::EEXIST => {
            let inside = sides.inside.link(Target::Name(&nic.name));
            match (inside, vlan) {
                (Ok(Some(_)), _) | (_, None) => {
                    blame("name")(Fault::NameTakenInside { name: nic.name.clone() })
                }
                (_, Some(id)) => blame("vlan.id")(Fault::VlanTaken { id, name }),
            }
        }
        _ => refused("type", "making the device")(cause),
    })
}
