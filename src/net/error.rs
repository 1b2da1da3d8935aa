//! What can be wrong with an interface of a container, with the config line to blame and the
//! command that mends it. Start at [`NetError`].

use crate::config::NetKind;
use crate::net::rtnl::RtnlError;
use crate::sys::SysError;
use crate::sys::errno;
use crate::util::blame::{Explain, Origin};
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

/// A fault of one `lxc.net.N`, or of the network as a whole. One word, so that every result with
/// it is handed up in a register.
#[derive(Debug)]
pub struct NetError(Box<Blamed>);

/// What a [`NetError`] says.
#[derive(Debug)]
pub struct Blamed {
    /// The N, unless the fault is of none in particular.
    pub index: Option<u32>,
    /// The line to blame.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub fault: Box<Fault>,
}

impl Deref for NetError {
    type Target = Blamed;

    fn deref(&self) -> &Blamed {
        &self.0
    }
}

impl NetError {
    /// A fault of interface `index`, blamed on `origin`.
    pub fn new(index: Option<u32>, origin: Option<Origin>, fault: Fault) -> Self {
        Self::boxed(index, origin, Box::new(fault))
    }

    /// The same of a fault that is on the heap already.
    pub(super) fn boxed(index: Option<u32>, origin: Option<Origin>, fault: Box<Fault>) -> Self {
        Self(Box::new(Blamed { index, origin, fault }))
    }
}

/// A fault and the key (`link`, `veth.pair`) to blame for it, on its way to a [`NetError`].
#[derive(Debug)]
pub(super) struct Blame {
    pub(super) key: &'static str,
    pub(super) fault: Box<Fault>,
}

/// For `map_err`: blames `key`.
pub(super) fn blame(key: &'static str) -> impl FnOnce(Fault) -> Blame {
    move |fault| Blame { key, fault: Box::new(fault) }
}

/// A fault of the kernel in `step`, blamed on `key`.
pub(super) fn refused(key: &'static str, step: &'static str) -> impl FnOnce(RtnlError) -> Blame {
    move |cause| blame(key)(Fault::Kernel { step, cause })
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "lxc.net.{index}: {}", self.fault),
            None => write!(f, "network: {}", self.fault),
        }
    }
}

impl std::error::Error for NetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

impl Explain for NetError {
    fn errno(&self) -> Option<i32> {
        self.fault.errno()
    }
    fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
    fn hint(&self) -> Option<String> {
        self.fault.hint()
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentence of each variant says what it and its fields are")]
pub enum Fault {
    // Of the configuration alone, found by `plan`.
    #[error("no lxc.net.*.type is set for it")]
    NoType,
    #[error("type none shares the host's network and cannot be combined with other interfaces")]
    NoneMixed,
    #[error("\"{key}\" means nothing for type {kind}", kind = kind_name(*kind))]
    KeyOfOtherType { key: String, kind: NetKind },
    #[error("\"{name}\" cannot be the name of an interface: {why}")]
    BadName { name: String, why: &'static str },
    #[error("\"{name}\" is the name of lxc.net.{other} too")]
    DuplicateName { name: String, other: u32 },
    #[error("hwaddr {mac} is a multicast address; the first byte must be even")]
    MulticastMac { mac: String },
    #[error("hwaddr 00:00:00:00:00:00 is no address")]
    ZeroMac,
    #[error("hwaddr {mac} is that of lxc.net.{other} too")]
    DuplicateMac { mac: String, other: u32 },
    #[error("mtu {mtu} is outside {min} to {max}")]
    Mtu { mtu: u32, min: u32, max: u32 },
    #[error("mtu {mtu} is too small for IPv6, which needs 1280")]
    MtuIpv6 { mtu: u32 },
    #[error("{address}/{prefix} is the {what} address of its network, not a host's")]
    NotAHost { address: IpAddr, prefix: u8, what: &'static str },
    #[error("{address} is not an address an interface can have")]
    BadAddress { address: IpAddr },
    #[error("broadcast address {broadcast} is not in the network of {address}/{prefix}")]
    Broadcast { broadcast: IpAddr, address: IpAddr, prefix: u8 },
    #[error("{address}/{prefix} is an address in a network, not a network: {network}/{prefix}")]
    HostBits { address: IpAddr, prefix: u8, network: IpAddr },
    #[error("address {address} is given twice")]
    DuplicateAddress { address: IpAddr },
    #[error("the {family} gateway needs the interface up: lxc.net.*.flags = up is missing")]
    GatewayNeedsUp { family: &'static str },
    #[error("the {family} gateway needs an {family} address")]
    GatewayNeedsAddress { family: &'static str },
    #[error("the gateway {gateway} is the container's own address")]
    GatewayIsOwn { gateway: IpAddr },
    #[error("{gateway} cannot be a gateway")]
    BadGateway { gateway: IpAddr },
    #[error("gateway auto needs lxc.net.*.link and type veth or macvlan")]
    GatewayAuto,
    #[error("lxc.net.{other} has an {family} default gateway already")]
    SecondGateway { family: &'static str, other: u32 },
    #[error("vlan.id is missing")]
    NoVlanId,
    #[error("VLAN {id} is outside 1 to 4094")]
    VlanRange { id: u16 },
    #[error("VLAN {id} is given twice")]
    VlanTwice { id: u16 },
    #[error("VLANs of a bridge port need a bridge as link and mode bridge")]
    VlanNeedsBridge,
    #[error("an ipvlan has its parent's address; hwaddr cannot be set")]
    MacOfParent,
    #[error("l2proxy of type ipvlan needs ipvlan.mode = l3s")]
    ProxyMode,
    #[error("l2proxy has no ipv4.address or ipv6.address to answer for")]
    ProxyOfNothing,
    #[error("l2proxy needs lxc.net.*.link")]
    ProxyNeedsLink,
    #[error("\"{name}\" is given to lxc.net.{other} too")]
    DuplicateDevice { name: String, other: u32 },
    #[error("type {kind} needs lxc.net.*.link", kind = kind_name(*kind))]
    NoLink { kind: NetKind },

    // Of the host, found by `check` or on the way.
    #[error("bridge \"{name}\" does not exist")]
    NoBridge { name: String },
    #[error("\"{name}\" is {kind}, not a bridge")]
    NotABridge { name: String, kind: String },
    #[error("the name \"{name}\" is taken on the host")]
    NameTaken { name: String },
    #[error("the name \"{name}\" is taken in the container's network namespace")]
    NameTakenInside { name: String },
    #[error("bridge \"{name}\" is full: the kernel allows 1023 ports")]
    BridgeFull { name: String },
    #[error("mtu {mtu} is larger than the {parent_mtu} of \"{name}\"")]
    MtuOfParent { mtu: u32, parent_mtu: u32, name: String },
    #[error("\"{name}\" does not exist")]
    NoParent { name: String },
    #[error("no device \"{name}\" is on the host")]
    NoDevice { name: String },
    #[error("\"{name}\" is down")]
    ParentDown { name: String },
    #[error("\"{name}\" cannot be the parent of another device")]
    BadParent { name: String },
    #[error("\"{name}\" is in use in a way that excludes type {what} on it")]
    ParentBusy { name: String, what: &'static str },
    #[error("the kernel has no driver for type {what}")]
    NoDriver { what: &'static str },
    #[error("the address is taken by \"{name}\"")]
    MacTaken { name: String },
    #[error("VLAN {id} of \"{name}\" is in use on the host")]
    VlanTaken { id: u16, name: String },
    #[error("bridge \"{name}\" has no VLAN filtering")]
    NoVlanFiltering { name: String },
    #[error("\"{name}\" cannot be moved to another network namespace")]
    CannotMove { name: String },
    #[error("its name \"{name}\" is taken on the host; it is called \"{now}\" now")]
    Renamed { name: String, now: String },
    #[error("{name} is off")]
    SysctlOff { name: String },
    #[error("an ordinary user's container cannot have {what}")]
    NotForUsers { what: &'static str },
    #[error("lxc-user-nic is not installed, without which an ordinary user has no veth")]
    NoUserNic,
    #[error("{program} failed: {line}")]
    UserNic { program: String, line: String },
    #[error("ovs-vsctl is not installed")]
    NoOvs,
    #[error("ovs-vsctl failed: {line}")]
    Ovs { line: String },
    #[error("gateway auto: \"{link}\" has no {family} address")]
    NoAutoGateway { link: String, family: &'static str },
    #[error("\"{name}\" is not in the container's network namespace")]
    Vanished { name: String },
    #[error("{step}")]
    Kernel {
        step: &'static str,
        #[source]
        cause: RtnlError,
    },
    #[error("{step}")]
    System {
        step: &'static str,
        #[source]
        cause: SysError,
    },
    #[error("{which} {command} {how}{output}")]
    Script { which: &'static str, command: String, how: String, output: String },
}

impl Fault {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { cause, .. } => cause.errno(),
            Self::System { cause, .. } => Some(cause.errno),
            Self::NameTaken { .. } => Some(errno::EEXIST),
            Self::NoBridge { .. } | Self::NoParent { .. } | Self::NoDevice { .. } => {
                Some(errno::ENODEV)
            }
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoType => "add lxc.net.N.type = veth (or empty, none, macvlan, phys …)".into(),
            Self::NoneMixed => "remove the other lxc.net.* or give this one type empty".into(),
            Self::NoBridge { name } if name == "lxcbr0" => {
                "lxc-net start makes it, with DHCP, DNS and NAT".into()
            }
            Self::NoBridge { name } => {
                format!("ip link add {name} type bridge && ip link set {name} up makes a plain one")
            }
            Self::NotABridge { name, .. } => {
                format!("ip link add br0 type bridge && ip link set {name} master br0")
            }
            Self::NameTaken { name } => format!("ip -d link show {name}"),
            Self::BridgeFull { .. } => "use a second bridge, veth.mode = router or macvlan".into(),
            Self::MulticastMac { .. } | Self::ZeroMac => {
                "lxc.net.N.hwaddr = 10:66:6a:xx:xx:xx lets lxc-create choose one".into()
            }
            Self::NoAutoGateway { link, .. } => format!("ip addr show dev {link}"),
            Self::MtuOfParent { name, mtu, .. } => format!("ip link set {name} mtu {mtu}"),
            Self::NoParent { .. } => "ip link lists the links of the host".into(),
            Self::NoDevice { name } => {
                format!(
                    "ip link; it may be in a running container: lxc-ls -f -F NAME,INTERFACE | \
                         grep {name}"
                )
            }
            Self::ParentDown { name } => format!("ip link set {name} up"),
            Self::ParentBusy { name, .. } => format!(
                "ip -d link show {name}: a port of a bridge or bond takes none, and macvlan and \
                 ipvlan exclude each other, as does passthru any other"
            ),
            Self::NoDriver { what } => {
                let module = if *what == "vlan" { "8021q" } else { what };
                format!("modprobe {module}; lxc-checkconfig tells what the kernel has")
            }
            Self::VlanTaken { name, .. } => format!(
                "ip -d link show type vlan | grep @{name}; it may be in a running container too: \
                 containers in one VLAN need a bridge with its device as port"
            ),
            Self::NoVlanFiltering { name } => {
                format!("ip link set {name} type bridge vlan_filtering 1")
            }
            Self::SysctlOff { name } => format!("sysctl -w {}=1", dotted(name)),
            Self::Renamed { name, now } => format!("ip link set {now} name {name}"),
            Self::NotForUsers { .. } => "root's containers can have it".into(),
            Self::NoUserNic => "make install puts it into libexec/lxc".into(),
            Self::UserNic { line, .. } if line.contains("Quota") => {
                "root has to allow it in /etc/lxc/lxc-usernet: USER veth BRIDGE COUNT".into()
            }
            Self::NoOvs => "apt-get install openvswitch-switch".into(),
            Self::Kernel { cause, .. } if cause.is(errno::EOPNOTSUPP) => {
                "the kernel may lack the driver of this type: lxc-checkconfig".into()
            }
            Self::Kernel { cause, .. } if cause.is(errno::EPERM) => {
                "this takes CAP_NET_ADMIN on the host: be root, and no container's".into()
            }
            Self::MacTaken { name } => format!("ip link show {name}; hwaddr has to be another one"),
            Self::BadParent { .. } => "ip -br link lists the host's devices".into(),
            _ => return None,
        })
    }
}

/// A fault of the whole network that is one of the kernel's.
pub(super) fn kernel(step: &'static str) -> impl FnOnce(RtnlError) -> Fault {
    move |cause| Fault::Kernel { step, cause }
}

/// `net.ipv6.conf.all.forwarding` for the path of the setting; a device with a dot in its name
/// keeps the slashes, which sysctl(8) takes too.
fn dotted(path: &str) -> String {
    if path.contains('.') { path.to_owned() } else { path.replace('/', ".") }
}

/// `veth` and so on.
pub fn kind_name(kind: NetKind) -> &'static str {
    match kind {
        NetKind::None => "none",
        NetKind::Empty => "empty",
        NetKind::Veth => "veth",
        NetKind::Vlan => "vlan",
        NetKind::Macvlan => "macvlan",
        NetKind::Ipvlan => "ipvlan",
        NetKind::Phys => "phys",
    }
}

/// `00:16:3e:01:02:03`.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}
