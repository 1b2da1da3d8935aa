//! What types macvlan, ipvlan and vlan have in common: a device that sits on a parent of the
//! host. It is made directly in the container's namespace, under its name there, and deleted there
//! at the stop: it would die with the namespace, but only when the kernel comes round to that, and
//! until then nobody else gets its VLAN or address. What differs is in the files of the three.

use crate::config::{MacvlanMode, NetKind};
use crate::net::error::{Blame, Fault, blame, refused};
use crate::net::plan::{Device, Nic};
use crate::net::reply::Link;
use crate::net::rtnl::{Common, LinkKind, NewLink, Rtnl, RtnlError, Target};
use crate::net::undo::Undo;
use crate::net::{Sides, leaving, macvlan};
use crate::sys::netlink::errno as net_errno;
use crate::sys::{SysError, errno, fd};
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
    undo: &mut Vec<Undo>,
) -> Result<(), Blame> {
    let parent = find(nic, &mut sides.host)?;
    let system = |cause: SysError| {
        blame("type")(Fault::System { step: "keeping the container's namespace", cause })
    };
    let held = fd::dup_above(netns, 3).map_err(system)?;
    let common = Common {
        mtu: nic.mtu,
        mac: nic.hwaddr,
        netns: Some(netns),
        parent: Some(parent.index),
        up: nic.up,
        ..Common::default()
    };
    let new = NewLink { name: &nic.name, kind, common };
    let mut refusal = None;
    leaving::wait(&mut || match sides.host.create_link(&new) {
        Ok(()) => {
            refusal = None;
            Ok(true)
        }
        // Another device has the VLAN or the address: maybe that of a container whose monitor was
        // killed just now.
        Err(cause) if cause.is(errno::EADDRINUSE) || cause.is(errno::EEXIST) => {
            let same = sides.inside.link(Target::Name(&nic.name));
            refusal = Some(cause);
            Ok(matches!(same, Ok(Some(_))))
        }
        Err(cause) => Err(not_made(nic, &new, &parent, sides, cause)),
    })?;
    if let Some(cause) = refusal {
        return Err(not_made(nic, &new, &parent, sides, cause));
    }
    let made = sides.inside.link(Target::Name(&nic.name));
    let made = made.map_err(refused("name", "looking for it in the container"))?;
    let gone = || blame("name")(Fault::Vanished { name: nic.name.clone() });
    undo.push(Undo::Inside { netns: held, index: made.ok_or_else(gone)?.index });
    Ok(())
}

/// What the kernel's refusal means.
fn not_made(
    nic: &Nic,
    new: &NewLink<'_>,
    parent: &Link,
    sides: &mut Sides,
    cause: RtnlError,
) -> Blame {
    let what = new.kind.name();
    let name = parent.name.clone();
    match cause.errno().unwrap_or_default() {
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
            match (inside, &new.kind) {
                (Ok(None), LinkKind::Vlan { id }) => {
                    blame("vlan.id")(Fault::VlanTaken { id: *id, name })
                }
                _ => blame("name")(Fault::NameTakenInside { name: nic.name.clone() }),
            }
        }
        _ => refused("type", "making the device")(cause),
    }
}
