//! Type ipvlan: a device that shares its parent's hardware address and is told apart by its IP
//! addresses, for networks that let only one hardware address through.

use crate::config::{IpvlanIsolation, IpvlanMode, NetConfig};
use crate::net::error::{Blame, Fault, blame};
use crate::net::rtnl::LinkKind;

/// Checks what is special about an ipvlan.
pub(super) fn plan(net: &NetConfig) -> Result<(), Blame> {
    if net.hwaddr.is_some() {
        return Err(blame("hwaddr")(Fault::MacOfParent));
    }
    if net.l2proxy && net.ipvlan_mode != IpvlanMode::L3s {
        return Err(blame("l2proxy")(Fault::ProxyMode));
    }
    Ok(())
}

/// The kernel's description of one.
pub(super) fn kind(mode: IpvlanMode, isolation: IpvlanIsolation) -> LinkKind<'static> {
    // IPVLAN_MODE_* and IPVLAN_F_* of linux/if_link.h.
    let mode = match mode {
        IpvlanMode::L2 => 0,
        IpvlanMode::L3 => 1,
        IpvlanMode::L3s => 2,
    };
    let flags = match isolation {
        IpvlanIsolation::Bridge => 0,
        IpvlanIsolation::Private => 1,
        IpvlanIsolation::Vepa => 2,
    };
    LinkKind::Ipvlan { mode, flags }
}
