//! Values of `lxc.net.N.*`: names, hardware addresses, addresses and routes.

use super::{Codec, Parsed, ValueError, number, show_text};
use crate::config::{
    Gateway, Ipv4Config, Ipv6Config, IpvlanIsolation, IpvlanMode, MacvlanMode, NetKind, VethVlan,
};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A word for each value of an enum.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $type:ty = $shape:literal, $list:literal; $($word:literal => $value:expr,)+) => {
        $(#[$doc])*
        pub const $name: Codec<$type> = Codec {
            shape: $shape,
            parse: |value| match value {
                $($word => Ok($value),)+
                _ => Err(ValueError::Word { value: value.to_owned(), words: $list }),
            },
            show: |value, out| {
                $(if *value == $value {
                    out.push_str($word);
                })+
            },
        };
    };
}

words! {
    /// `type`.
    KIND: Option<NetKind> = "none|empty|veth|vlan|macvlan|ipvlan|phys",
        "none empty veth vlan macvlan ipvlan phys";
    "none" => Some(NetKind::None),
    "empty" => Some(NetKind::Empty),
    "veth" => Some(NetKind::Veth),
    "vlan" => Some(NetKind::Vlan),
    "macvlan" => Some(NetKind::Macvlan),
    "ipvlan" => Some(NetKind::Ipvlan),
    "phys" => Some(NetKind::Phys),
}

words! {
    /// `veth.mode`; true is router.
    VETH_ROUTER: bool = "bridge|router", "bridge router";
    "bridge" => false,
    "router" => true,
}

words! {
    /// `macvlan.mode`.
    MACVLAN_MODE: MacvlanMode = "private|vepa|bridge|passthru", "private vepa bridge passthru";
    "private" => MacvlanMode::Private,
    "vepa" => MacvlanMode::Vepa,
    "bridge" => MacvlanMode::Bridge,
    "passthru" => MacvlanMode::Passthru,
}

words! {
    /// `ipvlan.mode`.
    IPVLAN_MODE: IpvlanMode = "l2|l3|l3s", "l2 l3 l3s";
    "l2" => IpvlanMode::L2,
    "l3" => IpvlanMode::L3,
    "l3s" => IpvlanMode::L3s,
}

words! {
    /// `ipvlan.isolation`.
    IPVLAN_ISOLATION: IpvlanIsolation = "bridge|private|vepa", "bridge private vepa";
    "bridge" => IpvlanIsolation::Bridge,
    "private" => IpvlanIsolation::Private,
    "vepa" => IpvlanIsolation::Vepa,
}

/// `flags`. LXC takes any text for "up"; a word that says something else is refused here.
pub const FLAGS: Codec<bool> = Codec {
    shape: "up",
    parse: |value| match value.eq_ignore_ascii_case("up") {
        true => Ok(true),
        false => Err(ValueError::Word { value: value.to_owned(), words: "up" }),
    },
    show: |up, out| out.push_str(if *up { "up" } else { "" }),
};

/// An interface name: what the kernel's dev_valid_name takes. LXC cuts a longer one and goes on
/// with a device that nobody named.
pub const IFNAME: Codec<Option<String>> = Codec {
    shape: "interface",
    parse: |value| {
        if value.len() > 15 {
            return Err(ValueError::Long { value: value.to_owned(), max: 15 });
        }
        let bad = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace();
        if matches!(value, "." | "..") || value.contains(bad) {
            return Err(ValueError::shape(value, "an interface name"));
        }
        Ok(Some(value.to_owned()))
    },
    show: show_text,
};

/// `hwaddr`, templates expanded before.
pub const HWADDR: Codec<Option<[u8; 6]>> = Codec {
    shape: "MAC address, x for a random digit",
    parse: |value| {
        let mut mac = [0; 6];
        let mut octets = value.split(':');
        for byte in &mut mac {
            *byte = octets
                .next()
                .filter(|o| matches!(o.len(), 1 | 2) && !o.starts_with('+'))
                .and_then(|o| u8::from_str_radix(o, 16).ok())
                .ok_or_else(|| ValueError::shape(value, "a hardware address"))?;
        }
        // The kernel's is_valid_ether_addr: neither a group address nor all zero.
        if octets.next().is_some() || mac[0] & 1 == 1 || mac == [0; 6] {
            return Err(ValueError::shape(value, "the hardware address of one device"));
        }
        Ok(Some(mac))
    },
    show: |mac, out| {
        for (at, byte) in mac.iter().flatten().enumerate() {
            let _ = write!(out, "{}{byte:02x}", if at == 0 { "" } else { ":" });
        }
    },
};

/// Replaces each `x` and `X` by a random digit; `None` if there are none.
///
/// The second digit of the first octet is made even: an odd one would be a group address
/// (`rand_complete_hwaddr` of LXC).
///
/// # Errors
/// `random` has no bytes.
pub fn expand_hwaddr(
    template: &str,
    random: impl FnOnce() -> Option<[u8; 17]>,
) -> Parsed<Option<String>> {
    if !template.contains(['x', 'X']) || template.len() > 17 {
        return Ok(None);
    }
    let bytes = random().ok_or_else(|| ValueError::Random(template.to_owned()))?;
    let digit = |(at, (c, byte)): (usize, (char, u8))| match c {
        'x' | 'X' => {
            let nibble = if at == 1 { byte & 0x0e } else { byte & 0x0f };
            char::from_digit(u32::from(nibble), 16).unwrap_or('0')
        }
        other => other,
    };
    Ok(Some(template.chars().zip(bytes).enumerate().map(digit).collect()))
}

/// `mtu`: from the least that IPv4 takes.
pub const MTU: Codec<Option<u32>> = Codec {
    shape: "number",
    parse: |value| number(value, 68, 0x7fff_ffff).map(|mtu| Some(mtu as u32)),
    show: super::MAYBE_UINT.show,
};

/// A number of queues, at least 1.
pub const QUEUES: Codec<Option<u32>> = Codec {
    shape: "number",
    parse: |value| number(value, 1, u32::MAX.into()).map(|n| Some(n as u32)),
    show: super::MAYBE_UINT.show,
};

fn prefix(value: &str, max: u8) -> Parsed<u8> {
    match number(value, 0, max.into()) {
        // 010 is eight for strtoul and ten for everybody else.
        Ok(bits) if value.len() == 1 || !value.starts_with('0') => Ok(bits as u8),
        Err(ValueError::Range { value, min, max }) => Err(ValueError::Range { value, min, max }),
        _ => Err(ValueError::shape(value, "a prefix length")),
    }
}

fn ipv4(value: &str) -> Parsed<Ipv4Addr> {
    value.parse().map_err(|_| ValueError::shape(value, "an IPv4 address"))
}

fn ipv6(value: &str) -> Parsed<Ipv6Addr> {
    value.parse().map_err(|_| ValueError::shape(value, "an IPv6 address"))
}

/// `ipv4.address`: `A.B.C.D[/P] [BROADCAST]`.
///
/// Without a prefix length the old address classes decide, as LXC meant to do (it looks at the
/// bytes in the wrong order on little-endian machines).
pub const IPV4: Codec<Ipv4Config> = Codec {
    shape: "ADDRESS[/PREFIX] [BROADCAST]",
    parse: |value| {
        let mut fields = value.split_ascii_whitespace();
        let first = fields.next().unwrap_or_default();
        let (address, bits) = first.split_once('/').unwrap_or((first, ""));
        let address = ipv4(address)?;
        let prefix = match (bits, address.octets()[0]) {
            ("", _) if first.contains('/') => {
                return Err(ValueError::shape(first, "an address with a prefix length"));
            }
            ("", 0..=127) => 8,
            ("", 128..=191) => 16,
            ("", _) => 24,
            (bits, _) => prefix(bits, 32)?,
        };
        let broadcast = match fields.next() {
            Some(written) => Some(ipv4(written)?),
            None => default_broadcast(address, prefix),
        };
        match fields.next() {
            None => Ok(Ipv4Config { address, prefix, broadcast, implied: bits.is_empty() }),
            Some(_) => Err(ValueError::shape(value, "an address and at most a broadcast address")),
        }
    },
    show: |v, out| {
        let _ = write!(out, "{}/{}", v.address, v.prefix);
        if let Some(written) =
            v.broadcast.filter(|b| Some(*b) != default_broadcast(v.address, v.prefix))
        {
            let _ = write!(out, " {written}");
        }
    },
};

/// All host bits set; none where there is no room for one (/31 and /32, RFC 3021).
fn default_broadcast(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    (prefix < 31).then(|| Ipv4Addr::from(u32::from(address) | host_bits))
}

/// `ipv6.address`: `ADDRESS[/P]`, 64 by default.
pub const IPV6: Codec<Ipv6Config> = Codec {
    shape: "ADDRESS[/PREFIX]",
    parse: |value| match value.split_once('/') {
        Some(_) => (ROUTE6.parse)(value).map(|(address, prefix)| Ipv6Config {
            address,
            prefix,
            implied: false,
        }),
        None => Ok(Ipv6Config { address: ipv6(value)?, prefix: 64, implied: true }),
    },
    show: |v, out| {
        let _ = write!(out, "{}/{}", v.address, v.prefix);
    },
};

/// `veth.ipv4.route`: the prefix length is mandatory.
pub const ROUTE4: Codec<(Ipv4Addr, u8)> = Codec {
    shape: "ADDRESS/PREFIX",
    parse: |value| match value.split_once('/') {
        Some((address, bits)) => Ok((ipv4(address)?, prefix(bits, 32)?)),
        None => Err(ValueError::shape(value, "a route ADDRESS/PREFIX")),
    },
    show: |(address, bits), out| {
        let _ = write!(out, "{address}/{bits}");
    },
};

/// `veth.ipv6.route`: the prefix length is mandatory.
pub const ROUTE6: Codec<(Ipv6Addr, u8)> = Codec {
    shape: "ADDRESS/PREFIX",
    parse: |value| match value.split_once('/') {
        Some((address, bits)) => Ok((ipv6(address)?, prefix(bits, 128)?)),
        None => Err(ValueError::shape(value, "a route ADDRESS/PREFIX")),
    },
    show: |(address, bits), out| {
        let _ = write!(out, "{address}/{bits}");
    },
};

macro_rules! gateway {
    ($(#[$doc:meta])* $name:ident, $type:ty, $parse:path) => {
        $(#[$doc])*
        pub const $name: Codec<Option<Gateway<$type>>> = Codec {
            shape: "auto|dev|ADDRESS",
            parse: |value| Ok(Some(match value {
                "auto" => Gateway::Auto,
                "dev" => Gateway::Dev,
                address => Gateway::Address($parse(address)?),
            })),
            show: |value, out| match value {
                None => {}
                Some(Gateway::Auto) => out.push_str("auto"),
                Some(Gateway::Dev) => out.push_str("dev"),
                Some(Gateway::Address(address)) => super::display(address, out),
            },
        };
    };
}

gateway!(
    /// `ipv4.gateway`.
    GATEWAY4,
    Ipv4Addr,
    ipv4
);
gateway!(
    /// `ipv6.gateway`.
    GATEWAY6,
    Ipv6Addr,
    ipv6
);

fn vlan(value: &str) -> Parsed<u16> {
    number(value, 0, 4094).map(|id| id as u16)
}

/// `vlan.id`. LXC takes any 16 bits; the kernel does not.
pub const VLAN_ID: Codec<Option<u16>> = Codec {
    shape: "0..4094",
    parse: |value| vlan(value).map(Some),
    show: |value, out| value.iter().for_each(|id| super::display(id, out)),
};

/// `veth.vlan.tagged.id`.
pub const TAGGED_VLAN: Codec<u16> = Codec { shape: "0..4094", parse: vlan, show: super::display };

/// `veth.vlan.id`.
pub const VETH_VLAN: Codec<Option<VethVlan>> = Codec {
    shape: "none|0..4094",
    parse: |value| match value {
        "none" => Ok(Some(VethVlan::None)),
        id => vlan(id).map(|id| Some(VethVlan::Id(id))),
    },
    show: |value, out| match value {
        None => {}
        Some(VethVlan::None) => out.push_str("none"),
        Some(VethVlan::Id(id)) => super::display(id, out),
    },
};
