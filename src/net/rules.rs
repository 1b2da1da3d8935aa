//! What names and addresses an interface may have; pure.

use crate::net::error::Fault;
use crate::net::plan::PlannedAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IFNAMSIZ without the terminating zero.
const NAME_MAX: usize = 15;

/// What the kernel accepts as the name of an interface (`dev_valid_name`).
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let why = if name.is_empty() || name == "." || name == ".." {
        "it is reserved"
    } else if name.len() > NAME_MAX {
        "it is longer than 15 characters"
    } else if name.bytes().any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == b'%') {
        "it holds a space, a slash, a colon or a percent sign"
    } else if name.bytes().any(|b| b.is_ascii_control()) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    Err(Fault::BadName { name: name.to_owned(), why })
}

/// A name, or one with a single `%d` for the lowest free number.
pub(super) fn check_template(name: &str) -> Result<(), Fault> {
    match name.split_once("%d") {
        Some((before, after)) => check_name(&format!("{before}0{after}"))
            .map_err(|_| check_name(name).err().unwrap_or(Fault::NoType)),
        None => check_name(name),
    }
}

/// What keeps an address from being a host's.
pub(super) fn check_address(planned: &PlannedAddress) -> Option<Fault> {
    let &PlannedAddress { address, prefix, broadcast } = planned;
    if !is_unicast(address) {
        return Some(Fault::BadAddress { address });
    }
    let IpAddr::V4(v4) = address else { return None };
    if prefix >= 31 {
        return None;
    }
    let host = u32::from(v4) & !mask4(prefix);
    let what = match host {
        0 => Some("network"),
        _ if host == !mask4(prefix) => Some("broadcast"),
        _ => None,
    };
    if let Some(what) = what {
        return Some(Fault::NotAHost { address, prefix, what });
    }
    broadcast
        .filter(|b| *b != Ipv4Addr::BROADCAST && !contains(address, prefix, (*b).into()))
        .map(|b| Fault::Broadcast { broadcast: b.into(), address, prefix })
}

/// What keeps a network from being a route's destination: the kernel takes none with host bits.
pub(super) fn check_route(net: IpAddr, prefix: u8) -> Option<Fault> {
    let network: IpAddr = match net {
        IpAddr::V4(v4) => Ipv4Addr::from(u32::from(v4) & mask4(prefix)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & mask6(prefix)).into(),
    };
    (network != net).then_some(Fault::HostBits { address: net, prefix, network })
}

/// True if `other` is in the network of `address`/`prefix`.
pub fn contains(address: IpAddr, prefix: u8, other: IpAddr) -> bool {
    match (address, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)) & mask4(prefix) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)) & mask6(prefix) == 0,
        _ => false,
    }
}

fn mask4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

/// True if packets to it reach one host.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !a.is_unspecified() && !a.is_multicast() && !a.is_broadcast(),
        IpAddr::V6(a) => !a.is_unspecified() && !a.is_multicast(),
    }
}

/// True for the IPv6 addresses that need no network.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(a) => contains(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10, a.into()),
    }
}
