//! What the variables mean: every value checked, every missing one worked out from those that are
//! there. Pure; the one thing asked of the host is its machine-id, for a prefix of its own.

use super::error::Fault;
use crate::config::value::net::HWADDR;
use crate::hostnet::error::HostNetError;
use crate::hostnet::subnet::Subnet;
use crate::hostnet::vars::Variables;
use crate::util::blame::{Origin, Sourced};
use crate::util::sha256;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Every variable that means something here or in LXC's other scripts.
const VARIABLES: [&str; 18] = [
    "USE_LXC_BRIDGE",
    "LXC_BRIDGE",
    "LXC_BRIDGE_MAC",
    "LXC_ADDR",
    "LXC_NETMASK",
    "LXC_NETWORK",
    "LXC_DHCP_RANGE",
    "LXC_DHCP_MAX",
    "LXC_DHCP_CONFILE",
    "LXC_DHCP_PING",
    "LXC_DOMAIN",
    "LXC_USE_NFT",
    "LXC_IPV6_ENABLE",
    "LXC_IPV6_PREFIX",
    "LXC_IPV6_ADDR",
    "LXC_IPV6_MASK",
    "LXC_IPV6_NETWORK",
    "LXC_IPV6_NAT",
];

/// Variables of the same files that belong to others.
const FOREIGN: [&str; 6] =
    ["LXC_AUTO", "BOOTGROUPS", "SHUTDOWNDELAY", "OPTIONS", "STOPOPTS", "LXC_SHUTDOWN_TIMEOUT"];

/// One family on the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The bridge's address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// What is masqueraded; never narrower than the bridge's own network.
    pub network: Subnet,
    /// Whether it is masqueraded.
    pub nat: bool,
}

impl Side {
    /// The network that is on the bridge.
    pub fn subnet(&self) -> Subnet {
        Subnet::of(self.address, self.prefix)
    }
}

/// What lxc-net is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the bridge, and the line that gives it.
    pub bridge: Sourced<String>,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// IPv4.
    pub v4: Sourced<Side>,
    /// IPv6, if wanted.
    pub v6: Option<Sourced<Side>>,
    /// For dnsmasq: `FIRST,LAST[,…]`.
    pub dhcp_range: String,
    /// Leases at most.
    pub dhcp_max: u32,
    /// File for dnsmasq.
    pub confile: Option<String>,
    /// Look whether an address answers before it is given out.
    pub ping: bool,
    /// Domain of the containers.
    pub domain: Option<String>,
    /// nft where it is there.
    pub nft: bool,
}

impl Settings {
    /// IPv4 and, if wanted, IPv6.
    pub fn sides(&self) -> impl Iterator<Item = &Sourced<Side>> {
        std::iter::once(&self.v4).chain(&self.v6)
    }
}

/// The settings and remarks on what is not understood; `Err` of the inner result holds the place
/// that turns lxc-net off.
pub fn settings(vars: &Variables) -> Result<(Result<Settings, Origin>, Vec<String>), HostNetError> {
    let known = |name: &str| VARIABLES.contains(&name) || FOREIGN.contains(&name);
    let strange = vars.names().filter(|(n, _)| n.contains("LXC") && !known(n));
    let notes = strange.map(|(n, origin)| format!("{n} means nothing here ({origin})")).collect();
    if let Some(on) = vars.get("USE_LXC_BRIDGE").filter(|v| v.value != "true") {
        return Ok((Err(on.origin.clone()), notes));
    }
    Ok((Ok(checked(vars)?), notes))
}

/// A fault of `name`, as it is written or, when it is not, as it is by default.
fn wrong(vars: &Variables, name: &'static str, why: impl Into<String>) -> HostNetError {
    let (value, origin) = match vars.get(name) {
        Some(v) => (v.value.clone(), v.origin.clone()),
        None => (String::new(), default_origin()),
    };
    Box::new(Fault::Value { name, value, why: why.into(), origin })
}

fn default_origin() -> Origin {
    Origin::label("lxc-net's defaults")
}

/// A value given to `parse`, or what holds by default.
fn read<T>(
    vars: &Variables,
    name: &'static str,
    why: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
    default: impl FnOnce() -> T,
) -> Result<T, HostNetError> {
    match vars.get(name) {
        None => Ok(default()),
        Some(v) => parse(&v.value).ok_or_else(|| wrong(vars, name, why)),
    }
}

/// `true` and `false` only: `LXC_IPV6_NAT=yes` means no to LXC.
fn switch(vars: &Variables, name: &'static str, default: bool) -> Result<bool, HostNetError> {
    read(vars, name, "is neither true nor false", |text| text.parse().ok(), || default)
}

fn text(vars: &Variables, name: &str) -> Option<String> {
    vars.get(name).map(|v| v.value.clone())
}

fn checked(vars: &Variables) -> Result<Settings, HostNetError> {
    let origin = |name: &str| vars.get(name).map_or_else(default_origin, |v| v.origin.clone());
    let sourced = |name: &str, value| Sourced { value, origin: origin(name) };
    let bridge = text(vars, "LXC_BRIDGE").unwrap_or_else(|| "lxcbr0".into());
    let strange = |c: char| c == '/' || c == ':' || c == '"' || c.is_whitespace() || c.is_control();
    if bridge.len() > 15 || bridge.contains(strange) || matches!(bridge.as_str(), "." | "..") {
        return Err(wrong(vars, "LXC_BRIDGE", "cannot be the name of an interface"));
    }
    let mac = read(
        vars,
        "LXC_BRIDGE_MAC",
        "is not the hardware address of one device",
        |text| (HWADDR.parse)(text).ok().flatten(),
        || [0x10, 0x66, 0x6a, 0, 0, 0],
    )?;
    let v4 = side4(vars)?;
    let subnet = v4.subnet();
    let range = dhcp_range(vars, &v4)?;
    let room = u32::try_from(subnet.size()).unwrap_or(u32::MAX).saturating_sub(2);
    let dhcp_max = read(
        vars,
        "LXC_DHCP_MAX",
        "is not a number of leases",
        |text| text.parse().ok().filter(|n| *n > 0),
        || room.clamp(1, 65536),
    )?;
    Ok(Settings {
        mac,
        v4: sourced("LXC_ADDR", v4),
        v6: side6(vars)?,
        dhcp_range: range,
        dhcp_max,
        confile: text(vars, "LXC_DHCP_CONFILE"),
        ping: switch(vars, "LXC_DHCP_PING", true)?,
        domain: text(vars, "LXC_DOMAIN"),
        nft: switch(vars, "LXC_USE_NFT", true)?,
        bridge: Sourced { value: bridge, origin: origin("LXC_BRIDGE") },
    })
}

fn side4(vars: &Variables) -> Result<Side, HostNetError> {
    let not_host = "is not the IPv4 address of a host";
    let address: Ipv4Addr =
        read(vars, "LXC_ADDR", not_host, |t| t.parse().ok(), || Ipv4Addr::new(10, 0, 3, 1))?;
    let prefix =
        read(vars, "LXC_NETMASK", "is neither a netmask nor a prefix length", netmask, || 24)?;
    if !(1..=30).contains(&prefix) {
        return Err(wrong(vars, "LXC_NETMASK", "leaves no room for containers: 1 to 30 bits"));
    }
    let own = Subnet::of(address.into(), prefix);
    if address == own.first || address == own.last() || address.is_multicast() {
        return Err(wrong(vars, "LXC_ADDR", format!("is not the address of a host in {own}")));
    }
    let network = network(vars, "LXC_NETWORK", own)?;
    Ok(Side { address: address.into(), prefix, network, nat: true })
}

/// `255.255.255.0` or `24`.
fn netmask(text: &str) -> Option<u8> {
    if let Ok(prefix) = text.parse() {
        return Some(prefix).filter(|p| *p <= 32);
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let prefix = mask.leading_ones();
    (mask.count_ones() == prefix).then_some(prefix as u8)
}

/// What is masqueraded: it has to hold what is on the bridge, or NAT would miss containers.
fn network(vars: &Variables, name: &'static str, own: Subnet) -> Result<Subnet, HostNetError> {
    let net = read(vars, name, "is not a network ADDRESS/PREFIX", Subnet::parse, || own)?;
    if net.contains(own.first) && net.prefix <= own.prefix {
        Ok(net)
    } else {
        Err(wrong(vars, name, format!("does not hold {own}, the network on the bridge")))
    }
}

fn dhcp_range(vars: &Variables, v4: &Side) -> Result<String, HostNetError> {
    let name = "LXC_DHCP_RANGE";
    let net = v4.subnet();
    let Some(written) = vars.get(name) else {
        let first = if v4.address == net.host(1) { net.host(2) } else { net.host(1) };
        return Ok(format!("{first},{}", net.host(net.size() - 1)));
    };
    let mut fields = written.value.split(',').map(str::trim);
    let mut bound = || fields.next().and_then(|text| text.parse::<IpAddr>().ok());
    let (Some(first), Some(last)) = (bound(), bound()) else {
        return Err(wrong(vars, name, "is not FIRST,LAST of two addresses"));
    };
    if !net.contains(first) || !net.contains(last) || first > last {
        return Err(wrong(
            vars,
            name,
            format!("is not a range in {net}, the network on the bridge"),
        ));
    }
    Ok(written.value.clone())
}

fn side6(vars: &Variables) -> Result<Option<Sourced<Side>>, HostNetError> {
    let named = ["LXC_IPV6_ADDR", "LXC_IPV6_PREFIX"].into_iter().find(|n| vars.get(n).is_some());
    if !switch(vars, "LXC_IPV6_ENABLE", named.is_some())? {
        return Ok(None);
    }
    let nat = switch(vars, "LXC_IPV6_NAT", false)?;
    let own = || own_prefix(&crate::sys::fd::read("/etc/machine-id").unwrap_or_default());
    let not_prefix = "is not the first 64 bits of addresses, as in 2001:db8:1:2";
    let prefix = read(vars, "LXC_IPV6_PREFIX", not_prefix, prefix64, own)?;
    let not_host = "is not the IPv6 address of a host";
    let one = || Ipv6Addr::from(u128::from(prefix) | 1);
    let address = read(vars, "LXC_IPV6_ADDR", not_host, |t| t.parse().ok(), one)?;
    if address.is_multicast()
        || address.is_unspecified()
        || address.segments()[0] & 0xffc0 == 0xfe80
    {
        return Err(wrong(vars, "LXC_IPV6_ADDR", not_host));
    }
    let bits = read(
        vars,
        "LXC_IPV6_MASK",
        "is not 64: containers configure themselves from 64 bits only",
        |text| text.parse().ok().filter(|bits| *bits == 64),
        || 64,
    )?;
    let network = network(vars, "LXC_IPV6_NETWORK", Subnet::of(address.into(), bits))?;
    let origin = named.or(Some("LXC_IPV6_ENABLE")).and_then(|n| vars.get(n));
    Ok(Some(Sourced {
        value: Side { address: address.into(), prefix: bits, network, nat },
        origin: origin.map_or_else(default_origin, |v| v.origin.clone()),
    }))
}

/// `fd00:1:2:3`, also with `::` or `::/64` behind it.
fn prefix64(text: &str) -> Option<Ipv6Addr> {
    let text = text.strip_suffix("/64").unwrap_or(text);
    let text = text.trim_end_matches(':');
    let address: Ipv6Addr = format!("{text}::").parse().ok()?;
    (u128::from(address) as u64 == 0 && !address.is_unspecified()).then_some(address)
}

/// The prefix that LXC 7 gives a machine: a ULA out of its identity, so it is the same after a
/// reboot and with either program.
fn own_prefix(machine_id: &[u8]) -> Ipv6Addr {
    let mut seed = b"LXC_IPV6_PREFIX\n".to_vec();
    seed.extend_from_slice(machine_id);
    let digest = sha256::digest(&seed);
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&digest[..7]);
    octets.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::blame::Explain;

    fn of(text: &str) -> Result<Settings, HostNetError> {
        Ok(settings(&Variables::of(text)?)?.0.expect("not turned off"))
    }

    #[test]
    fn nothing_written_is_lxcs_network() {
        let s = of("").unwrap();
        assert_eq!((s.bridge.value.as_str(), s.mac[0]), ("lxcbr0", 0x10));
        assert_eq!(s.v4.value.address.to_string(), "10.0.3.1");
        assert_eq!(s.v4.value.network.to_string(), "10.0.3.0/24");
        assert_eq!((s.dhcp_range.as_str(), s.dhcp_max), ("10.0.3.2,10.0.3.254", 253));
        assert!(s.v6.is_none() && s.ping && s.nft && s.domain.is_none() && s.confile.is_none());
    }

    #[test]
    fn an_address_alone_moves_the_whole_network() {
        let s = of("LXC_ADDR=192.168.7.65\nLXC_NETMASK=255.255.255.192\n").unwrap();
        assert_eq!(s.v4.value.network.to_string(), "192.168.7.64/26");
        assert_eq!((s.dhcp_range.as_str(), s.dhcp_max), ("192.168.7.66,192.168.7.126", 61));
        assert_eq!(s.v4.origin.to_string(), "lxc-net:1");
        let s = of("LXC_ADDR=10.1.255.254\nLXC_NETMASK=16\nLXC_DHCP_RANGE=10.1.0.9,10.1.0.99,1h");
        assert_eq!(s.unwrap().dhcp_range, "10.1.0.9,10.1.0.99,1h");
    }

    #[test]
    fn ipv6_is_on_when_it_is_named() {
        let side = |text: &str| of(text).unwrap().v6.map(|v6| v6.value);
        let routed =
            side("LXC_IPV6_ADDR=2001:db8:0:11::5\nLXC_IPV6_NETWORK=2001:db8:0:10::/60\n").unwrap();
        assert_eq!(routed.subnet().to_string(), "2001:db8:0:11::/64");
        assert!(!routed.nat && routed.network.to_string() == "2001:db8:0:10::/60");
        let nat = side("LXC_IPV6_PREFIX=fd00:1:2:3::/64\nLXC_IPV6_NAT=true\n").unwrap();
        assert_eq!(nat.address.to_string(), "fd00:1:2:3::1");
        assert!(nat.nat && nat.network.to_string() == "fd00:1:2:3::/64");
        assert_eq!(side("LXC_IPV6_NAT=true\n"), None);
        assert_eq!(side("LXC_IPV6_ADDR=fd00::1\nLXC_IPV6_ENABLE=false\n"), None);
        let own = side("LXC_IPV6_ENABLE=true\n").unwrap();
        assert!(own.address.to_string().starts_with("fd") && !own.nat);
    }

    #[test]
    fn the_machines_own_prefix_is_lxcs() {
        // (echo LXC_IPV6_PREFIX; echo x) | sha256sum | cut -c1-14
        assert_eq!(own_prefix(b"x\n").to_string(), "fd6f:d29a:b8c6:c2ab::");
    }

    #[test]
    fn wrong_values_name_variable_and_line() {
        for (text, name, part) in [
            ("LXC_ADDR=10.0.3.0", "LXC_ADDR", "host in 10.0.3.0/24"),
            ("LXC_ADDR=10.0.3", "LXC_ADDR", "\"10.0.3\""),
            ("LXC_NETMASK=255.0.255.0", "LXC_NETMASK", "netmask"),
            ("LXC_NETMASK=31", "LXC_NETMASK", "no room"),
            ("LXC_NETWORK=10.0.4.0/24", "LXC_NETWORK", "10.0.3.0/24"),
            ("LXC_NETWORK=10.0.3.0/25", "LXC_NETWORK", "10.0.3.0/24"),
            ("LXC_DHCP_RANGE=10.0.3.9", "LXC_DHCP_RANGE", "FIRST,LAST"),
            ("LXC_DHCP_RANGE=10.0.3.9,10.0.4.9", "LXC_DHCP_RANGE", "10.0.3.0/24"),
            ("LXC_DHCP_MAX=many", "LXC_DHCP_MAX", "leases"),
            ("LXC_DHCP_PING=no", "LXC_DHCP_PING", "true nor false"),
            ("LXC_BRIDGE=a/b", "LXC_BRIDGE", "interface"),
            ("LXC_BRIDGE=abcdefghijklmnop", "LXC_BRIDGE", "interface"),
            ("LXC_BRIDGE_MAC=01:00:00:00:00:00", "LXC_BRIDGE_MAC", "hardware"),
            ("LXC_IPV6_ADDR=fe80::1", "LXC_IPV6_ADDR", "IPv6"),
            ("LXC_IPV6_ADDR=fd00::1 LXC_IPV6_MASK=60", "LXC_IPV6_MASK", "64"),
            ("LXC_IPV6_ADDR=fd00::1 LXC_IPV6_NETWORK=fd01::/64", "LXC_IPV6_NETWORK", "fd00::/64"),
            ("LXC_IPV6_PREFIX=fd00:1:2:3:4", "LXC_IPV6_PREFIX", "64 bits"),
        ] {
            let error = of(&format!("\n{text}\n")).unwrap_err();
            let said = error.to_string();
            assert!(said.contains(name) && said.contains(part), "{said}");
            assert_eq!(error.origin().map(|o| o.line), Some(2), "{said}");
        }
    }

    #[test]
    fn what_is_off_says_where_and_what_is_unknown_is_told() {
        let vars = Variables::of("LXC_AUTO=true\nLXC_ADRR=1\nUSE_LXC_BRIDGE=false\n").unwrap();
        let (off, notes) = settings(&vars).unwrap();
        assert_eq!(off.unwrap_err().line, 3);
        assert_eq!(notes, ["LXC_ADRR means nothing here (lxc-net:2)"]);
    }
}
