//! Networks of both families, by arithmetic on 128 bits. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: its first address and how many bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// All host bits are zero.
    pub first: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn width(ipv6: bool) -> u8 {
    if ipv6 { 128 } else { 32 }
}

impl Subnet {
    /// The network that `address` is in; a prefix length beyond the family's is the family's.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address.is_ipv6()));
        let net = Self { first: address, prefix };
        Self { first: net.at(bits(address) & !net.hosts()), prefix }
    }

    /// `ADDRESS/PREFIX`, with or without host bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
        (prefix <= width(address.is_ipv6())).then(|| Self::of(address, prefix))
    }

    /// The bits that tell hosts apart.
    fn hosts(&self) -> u128 {
        let host_bits = u32::from(width(self.first.is_ipv6()) - self.prefix);
        u128::MAX.checked_shr(128 - host_bits).unwrap_or(0)
    }

    fn at(&self, bits: u128) -> IpAddr {
        match self.first {
            #[allow(clippy::cast_possible_truncation, reason = "of 32 bits by construction")]
            IpAddr::V4(_) => Ipv4Addr::from(bits as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from(bits).into(),
        }
    }

    /// The address `n` after the first one.
    pub fn host(&self, n: u128) -> IpAddr {
        self.at(bits(self.first) | (n & self.hosts()))
    }

    /// The last address, which in IPv4 is the broadcast address.
    pub fn last(&self) -> IpAddr {
        self.host(u128::MAX)
    }

    /// How many addresses there are, less one.
    pub fn size(&self) -> u128 {
        self.hosts()
    }

    /// True if the address is one of the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.first.is_ipv6() && *self == Self::of(address, self.prefix)
    }

    /// True if there is an address that is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_counted() {
        let net = Subnet::parse("10.0.3.7/24").unwrap();
        assert_eq!(net.to_string(), "10.0.3.0/24");
        assert_eq!(net.host(2).to_string(), "10.0.3.2");
        assert_eq!((net.last().to_string().as_str(), net.size()), ("10.0.3.255", 255));
        assert!(net.contains("10.0.3.255".parse().unwrap()));
        assert!(!net.contains("10.0.4.0".parse().unwrap()));
        assert!(!net.contains("::10.0.3.1".parse().unwrap()));
        let all = Subnet::parse("0.0.0.0/0").unwrap();
        assert!(all.overlaps(&net) && net.overlaps(&all));
        assert_eq!(Subnet::parse("1.2.3.4/32").unwrap().size(), 0);
        let v6 = Subnet::parse("fd00:1::5/64").unwrap();
        assert_eq!(
            (v6.to_string().as_str(), v6.host(1).to_string().as_str()),
            ("fd00:1::/64", "fd00:1::1")
        );
        assert!(
            Subnet::parse("fd00::/60")
                .unwrap()
                .overlaps(&Subnet::parse("fd00:0:0:f::/64").unwrap())
        );
        assert!(!v6.overlaps(&net) && Subnet::parse("::/0").unwrap().overlaps(&v6));
        for wrong in ["10.0.0.0/33", "10.0.0.0", "x/8", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Subnet::parse(wrong), None, "{wrong}");
        }
    }
}
