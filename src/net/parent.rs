//! What types macvlan, ipvlan and vlan have in common: a device that sits on a parent of the
//! host. It is made directly in the container's namespace, under its name there, and dies with
//! that namespace. What differs is in the files of the three.

use crate::config::{MacvlanMode, NetKind};
use crate::net::Sides;
use crate::net::error::{Blame, Fault, blame, refused};
use crate::net::plan::{Device, Nic};
use crate::net::reply::Link;
use crate::net::rtnl::{Common, LinkKind, NewLink, Rtnl, Target};
use crate::sys::errno;
use crate::sys::netlink::errno as net_errno;
use std::os::fd::BorrowedFd;

/// IFF_LOOPBACK.
const LOOPBACK: u32 = 8;

/// Finds what would make [`create`] fail.
pub(super) fn check(nic: &Nic, host: &mut Rtnl) -> Result<(), Blame> {
    let parent = find(nic, host)?;
    let name = || parent.name.clone();
    if parent.flags & LOOPBACK != 0 {
        return Err(blame("link")(Fault::BadParent { name: name() }));
    }
    if nic.up && !parent.is_up() {
        return Err(blame("link")(Fault::ParentDown { name: name() }));
    }
    if let (NetKind::Macvlan, Some(_), true) = (nic.kind, nic.hwaddr, nic.hwaddr == parent.mac)
        && nic.device != Device::Macvlan(MacvlanMode::Passthru)
    {
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
