//! The types of `lxc.net.N.*`.

use super::Sourced;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `lxc.net.N.*` for one N.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetConfig {
    /// `type`; a start without it fails.
    pub kind: Option<NetKind>,
    /// `flags = up`.
    pub up: bool,
    /// `link`.
    pub link: Option<String>,
    /// `l2proxy`.
    pub l2proxy: bool,
    /// `name`.
    pub name: Option<String>,
    /// `hwaddr`, x/X templates already expanded.
    pub hwaddr: Option<[u8; 6]>,
    /// `mtu`.
    pub mtu: Option<u32>,
    /// `ipv4.address`.
    pub ipv4: Vec<Sourced<Ipv4Config>>,
    /// `ipv4.gateway`.
    pub ipv4_gateway: Option<Gateway<Ipv4Addr>>,
    /// `ipv6.address`.
    pub ipv6: Vec<Sourced<Ipv6Config>>,
    /// `ipv6.gateway`.
    pub ipv6_gateway: Option<Gateway<Ipv6Addr>>,
    /// `script.up`.
    pub script_up: Option<String>,
    /// `script.down`.
    pub script_down: Option<String>,
    /// `veth.*`.
    pub veth: Veth,
    /// `vlan.id`.
    pub vlan_id: Option<u16>,
    /// `macvlan.mode`; default private.
    pub macvlan_mode: MacvlanMode,
    /// `ipvlan.mode`; default l2 as LXC's code has it.
    pub ipvlan_mode: IpvlanMode,
    /// `ipvlan.isolation`; default bridge.
    pub ipvlan_isolation: IpvlanIsolation,
}

/// `lxc.net.N.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of lxc.net.N.type")]
pub enum NetKind {
    None,
    Empty,
    Veth,
    Vlan,
    Macvlan,
    Ipvlan,
    Phys,
}

impl NetKind {
    /// The word of `lxc.net.N.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Empty => "empty",
            Self::Veth => "veth",
            Self::Vlan => "vlan",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Phys => "phys",
        }
    }
}

/// One IPv4 address with its prefix length and broadcast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Config {
    /// The address.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
    /// As written or computed; `None` for /31 and /32.
    pub broadcast: Option<Ipv4Addr>,
    /// No prefix length was written.
    pub implied: bool,
}

/// One IPv6 address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Config {
    /// The address.
    pub address: Ipv6Addr,
    /// 0 to 128.
    pub prefix: u8,
    /// No prefix length was written.
    pub implied: bool,
}

/// `ipv4.gateway`, `ipv6.gateway`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway<A> {
    /// The link's own first address.
    Auto,
    /// A device route without a next hop.
    Dev,
    /// An address.
    Address(A),
}

/// `lxc.net.N.veth.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Veth {
    /// `mode = router` instead of bridge.
    pub router: bool,
    /// `pair`: the name on the host.
    pub pair: Option<String>,
    /// `n_rxqueues`.
    pub rx_queues: Option<u32>,
    /// `n_txqueues`.
    pub tx_queues: Option<u32>,
    /// `ipv4.route`.
    pub ipv4_routes: Vec<Sourced<(Ipv4Addr, u8)>>,
    /// `ipv6.route`.
    pub ipv6_routes: Vec<Sourced<(Ipv6Addr, u8)>>,
    /// `vlan.id`.
    pub vlan_id: Option<VethVlan>,
    /// `vlan.tagged.id`.
    pub vlan_tagged: Vec<Sourced<u16>>,
}

/// `veth.vlan.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VethVlan {
    /// `none`: only remove the default.
    None,
    /// Untagged VLAN of the bridge port.
    Id(u16),
}

/// `macvlan.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum MacvlanMode {
    #[default]
    Private,
    Vepa,
    Bridge,
    Passthru,
}

/// `ipvlan.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum IpvlanMode {
    #[default]
    L2,
    L3,
    L3s,
}

/// `ipvlan.isolation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum IpvlanIsolation {
    #[default]
    Bridge,
    Private,
    Vepa,
}
