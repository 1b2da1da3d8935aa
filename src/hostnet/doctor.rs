//! What blocks the traffic of containers on the bridge, each with the command that mends it. The
//! kernel itself is asked which way a container's packet would go, rather than guessed at.

use super::error::Fault;
use crate::hostnet::dnsmasq;
use crate::hostnet::error::{HostNetError, kernel};
use crate::hostnet::firewall;
use crate::hostnet::made::read_sysctl;
use crate::hostnet::ports::{self, Holder};
use crate::hostnet::program;
use crate::hostnet::settings::{Settings, Side};
use crate::hostnet::start::outside;
use crate::hostnet::status::{Family, Status, survey};
use crate::hostnet::subnet::Subnet;
use crate::hostnet::walls::{Hook, from_iptables, walls};
use crate::net::reply::{Address, Link};
use crate::net::rtnl::{LOOPBACK, Rtnl};
use crate::sys::netlink::errno as net_errno;
use crate::sys::spawn::shell_quote;
use crate::sys::{cred, errno, fd};
use crate::util::blame::Explain;
use crate::util::sentence::sentence;

/// The kernel's limit of ports of a bridge (BR_MAX_PORTS, less the one that is not given out).
pub const MAX_PORTS: usize = 1023;

const START: &str = "lxc-net start";

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One sentence that names the object.
    pub what: String,
    /// The command that mends it.
    pub mend: String,
    /// Traffic is blocked; else it is worth knowing only.
    pub blocks: bool,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn blocks(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { what: what.into(), mend: mend.into(), blocks: true });
    }

    fn note(&mut self, what: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Finding { what: what.into(), mend: mend.into(), blocks: false });
    }
}

/// Looks at everything that a container's packet meets on its way.
pub fn examine(s: &Settings) -> Result<Vec<Finding>, HostNetError> {
    if cred::euid() != 0 {
        return Err(Box::new(Fault::NotRoot));
    }
    let mut host = Rtnl::open().map_err(kernel("opening rtnetlink"))?;
    let status = survey(s, &mut host)?;
    let mut found = Findings::default();
    programs(s, &mut found);
    bridge(s, &status, &mut found);
    service(s, &status, &mut found);
    for family in &status.families {
        routing(s, &status, family, &mut host, &mut found);
    }
    others(s, &status, &mut host, &mut found)?;
    foreign_rules(s, &mut found);
    remarks(s, &status, &mut host, &mut found)?;
    Ok(found.0)
}

/// Who holds `port` where dnsmasq needs it.
pub fn port(s: &Settings, port: u16) -> Option<Finding> {
    let holder = ports::holder(port, s.v4.value.address)?;
    Some(Finding { what: holder.sentence(), mend: holder.mend(s), blocks: true })
}

/// The rules of others that drop containers' traffic.
pub fn firewall(s: &Settings) -> Vec<Finding> {
    let mut found = Findings::default();
    foreign_rules(s, &mut found);
    found.0
}

fn programs(s: &Settings, found: &mut Findings) {
    for error in [dnsmasq::find().err(), firewall::find(s).err()].into_iter().flatten() {
        found.blocks(error.to_string(), error.hint().unwrap_or_default());
    }
}

fn bridge(s: &Settings, status: &Status, found: &mut Findings) {
    let name = &s.bridge.value;
    let Some(bridge) = &status.bridge else {
        found.blocks(format!("the bridge \"{name}\" is missing"), START);
        return;
    };
    if let Some(kind) = &bridge.other_kind {
        found.blocks(
            format!("\"{name}\" is of type {kind}, not a bridge"),
            "echo LXC_BRIDGE=lxcbr1 >>/etc/default/lxc-net && lxc-net start",
        );
        return;
    }
    if !bridge.up {
        found.blocks(format!("the bridge \"{name}\" is down"), format!("ip link set {name} up"));
    }
    if bridge.ports >= MAX_PORTS {
        found.blocks(
            format!(
                "the bridge \"{name}\" is full: it has all {MAX_PORTS} ports of the kernel's limit"
            ),
            "ip link add lxcbr1 type bridge && ip link set lxcbr1 up; lxc.net.0.link = lxcbr1 in \
             further containers",
        );
    }
    for family in status.families.iter().filter(|family| !family.address) {
        let Side { address, prefix, .. } = family.side;
        found
            .blocks(format!("the bridge \"{name}\" has not the address {address}/{prefix}"), START);
    }
}

/// DHCP and DNS.
fn service(s: &Settings, status: &Status, found: &mut Findings) {
    if status.dnsmasq.is_some() {
        return;
    }
    let before = found.0.len();
    for port in [53, 67] {
        if let Some(holder) = ports::holder(port, s.v4.value.address) {
            found.blocks(holder.sentence(), holder.mend(s));
        }
    }
    if found.0.len() == before {
        found.blocks("dnsmasq, the DHCP and DNS service of the bridge, is not running", START);
    }
}

impl Holder {
    /// Who has which port.
    pub(super) fn sentence(&self) -> String {
        let Self { protocol, address, port, .. } = self;
        let who = match &self.process {
            Some((pid, name)) => format!("\"{name}\" (process {pid})"),
            None => "a process that is not to be seen from here".to_owned(),
        };
        format!("port {port} of {protocol} is taken: {who} listens at {address}")
    }

    /// What frees it.
    pub(super) fn mend(&self, s: &Settings) -> String {
        let bridge = &s.bridge.value;
        match &self.process {
            Some((_, name)) if name == "dnsmasq" => format!(
                "printf 'bind-interfaces\\nexcept-interface={bridge}\\n' >/etc/dnsmasq.d/lxc-net && \
                 systemctl restart dnsmasq && lxc-net start"
            ),
            Some((pid, name)) => {
                format!("systemctl stop {} || kill {pid}; lxc-net start", shell_quote(name))
            }
            None => format!("ss -lnp 'sport = :{}' # as root of the host", self.port),
        }
    }
}

/// Forwarding, the way out and back, NAT.
fn routing(s: &Settings, status: &Status, family: &Family, host: &mut Rtnl, found: &mut Findings) {
    let side = &family.side;
    let ipv6 = side.address.is_ipv6();
    let word = if ipv6 { "IPv6" } else { "IPv4" };
    if !family.forwarding {
        let name = if ipv6 { "net.ipv6.conf.all.forwarding" } else { "net.ipv4.ip_forward" };
        found.blocks(
            format!("the host does not forward {word}: {name} is 0"),
            format!("sysctl -w {name}=1"),
        );
    }
    if side.nat && !family.nat {
        found.blocks(format!("nothing masquerades {}: {word} has no NAT", side.network), START);
    }
    let Some(bridge) = status.bridge.as_ref().filter(|b| b.up && family.address) else { return };
    let source = container_address(side);
    let Err(error) = host.way(source, outside(ipv6), bridge.index) else { return };
    let name = &s.bridge.value;
    let filter = |device: &str| format!("net/ipv4/conf/{device}/rp_filter");
    let strict = |device: &str| read_sysctl(&filter(device)).is_ok_and(|value| value == "1");
    let is_strict = !ipv6 && (strict(name) || strict("all"));
    match error.errno().unwrap_or_default() {
        // EINVAL since Linux 6.13, for whatever reason the packet would be dropped.
        errno::EXDEV | errno::EINVAL if is_strict => {
            let [own, all] = [filter(name), filter("all")].map(|path| path.replace('/', "."));
            found.blocks(
                format!(
                    "the reverse-path filter drops what comes from {source} by \"{name}\": {own} or \
                     {all} is 1 and the way back is another"
                ),
                format!("sysctl -w {all}=2 {own}=2"),
            );
        }
        net_errno::ENETUNREACH => found.blocks(
            format!("the host itself has no {word} route to the outside"),
            format!("ip {}route add default via GATEWAY", if ipv6 { "-6 " } else { "" }),
        ),
        // Without forwarding, which was told.
        _ if !family.forwarding => {}
        _ => found.blocks(
            format!("the host drops what comes from {source} by \"{name}\": {error}"),
            format!("ip route get {} from {source} iif {name}", outside(ipv6)),
        ),
    }
}

/// An address that a container may have.
fn container_address(side: &Side) -> std::net::IpAddr {
    let net = side.subnet();
    let n = if net.host(2) == side.address { 3 } else { 2 };
    net.host(n)
}

/// Other interfaces and routes that claim a part of the network.
fn others(
    s: &Settings,
    status: &Status,
    host: &mut Rtnl,
    found: &mut Findings,
) -> Result<(), HostNetError> {
    let step = "looking for other networks";
    let links = host.links().map_err(kernel(step))?;
    let own = status.bridge.as_ref().map(|bridge| bridge.index);
    let name_of = |index: u32| links.iter().find(|link| link.index == index);
    let addresses: Vec<Address> = host.addresses().map_err(kernel(step))?;
    let routes = host.routes().map_err(kernel(step))?;
    let global = addresses.iter().filter(|a| a.link != LOOPBACK && a.scope == 0);
    let claims = global.map(|a| (a.link, Subnet::of(a.address, a.prefix)));
    let main = routes.iter().filter(|route| route.table == 254);
    let routed = main.filter_map(|r| {
        let (address, prefix) = r.destination?;
        Some((r.device?, Subnet::of(address, prefix)))
    });
    let mut claims: Vec<(u32, Subnet)> = claims.chain(routed).collect();
    claims.dedup();
    let mut told: Vec<(u32, Subnet)> = Vec::new();
    for side in s.sides().map(|side| side.value) {
        for (index, net) in &claims {
            let link = name_of(*index).filter(|link| link.is_up() && Some(link.index) != own);
            let Some(link) = link.filter(|link| !is_containers(link, net, &side)) else { continue };
            if !net.overlaps(&side.subnet()) || told.contains(&(*index, *net)) {
                continue;
            }
            told.push((*index, *net));
            let what = format!("{} overlaps {net}, which is at \"{}\"", side.subnet(), link.name);
            let free = |n: &u8| {
                let candidate = Subnet { first: [10, 0, *n, 0].into(), prefix: 24 };
                claims.iter().all(|(_, claim)| !claim.overlaps(&candidate) || claim.prefix == 0)
            };
            let mend = match (4..=255).find(free).filter(|_| side.address.is_ipv4()) {
                Some(n) => {
                    format!("echo LXC_ADDR=10.0.{n}.1 >>/etc/default/lxc-net && lxc-net restart")
                }
                None => "another network in /etc/default/lxc-net, then lxc-net restart".to_owned(),
            };
            // The more exact route counts: of a wider one we only take a part away.
            match net.prefix >= side.prefix {
                true => found.blocks(what, mend),
                false => found.note(what, mend),
            }
        }
    }
    Ok(())
}

/// True for the route to one container behind a veth in mode router.
fn is_containers(link: &Link, net: &Subnet, side: &Side) -> bool {
    link.kind.as_deref() == Some("veth") && net.prefix > side.prefix
}

/// Rules of others.
fn foreign_rules(s: &Settings, found: &mut Findings) {
    let mut listing = String::new();
    let read = |argv: &[&str], found: &mut Findings| match program::run(argv) {
        Ok(text) => text,
        Err(e) => {
            let why = sentence(&e);
            found.note(format!("rules of a firewall cannot be read: {why}"), argv.join(" "));
            String::new()
        }
    };
    if let Some(nft) = program::find("nft") {
        listing = read(&[&nft, "list", "ruleset"], found);
    }
    // Rules of the old iptables; the files are there while it has any.
    for (family, program) in [("ip", "iptables"), ("ip6", "ip6tables")] {
        let names = format!("/proc/self/net/{family}_tables_names");
        let used =
            fd::read_to_string(names).is_ok_and(|names| names.lines().any(|n| n == "filter"));
        let legacy = program::find(&format!("{program}-legacy")).or_else(|| program::find(program));
        if let Some(legacy) = legacy.filter(|_| used) {
            listing.push_str(&from_iptables(&read(&[&legacy, "-S"], found), family));
        }
    }
    for wall in walls(&listing, &s.bridge.value, s.v6.is_some()) {
        let what = match wall.hook {
            Hook::Input => "DHCP and DNS of containers",
            Hook::Forward => "what containers send and get",
        };
        found.blocks(format!("the chain \"{}\" drops {what}: {}", wall.chain, wall.how), wall.mend);
    }
}

/// What is worth knowing.
fn remarks(
    s: &Settings,
    status: &Status,
    host: &mut Rtnl,
    found: &mut Findings,
) -> Result<(), HostNetError> {
    let name = &s.bridge.value;
    let on = |path: String, value: &str| read_sysctl(&path).is_ok_and(|text| text == value);
    if status.bridge.is_some() && !on(format!("net/ipv6/conf/{name}/accept_ra"), "0") {
        found.note(
            format!("a container can reconfigure the host: accept_ra of \"{name}\" is not 0"),
            format!("sysctl -w net.ipv6.conf.{name}.accept_ra=0"),
        );
    }
    let forwards6 = status.families.iter().any(|f| f.side.address.is_ipv6() && f.forwarding);
    if forwards6 {
        for link in host.links().map_err(kernel("looking for the ways out"))? {
            let free = link.master.is_none() && link.index != LOOPBACK && link.name != *name;
            if free && on(format!("net/ipv6/conf/{}/accept_ra", link.name), "1") {
                found.note(
                    format!(
                        "\"{}\" takes no router's advertisement while the host forwards: its \
                         accept_ra is 1",
                        link.name
                    ),
                    format!("sysctl -w net.ipv6.conf.{}.accept_ra=2", link.name),
                );
            }
        }
    }
    let usernet = fd::read_to_string("/etc/lxc/lxc-usernet").unwrap_or_default();
    let mut lines = usernet.lines().filter(|line| !line.trim_start().starts_with('#'));
    if !lines.any(|line| line.split_ascii_whitespace().nth(2) == Some(name)) {
        found.note(
            format!("no user but root may use \"{name}\": /etc/lxc/lxc-usernet has no line for it"),
            format!("echo 'USER veth {name} 10' >>/etc/lxc/lxc-usernet"),
        );
    }
    Ok(())
}
