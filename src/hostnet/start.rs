//! Making the network and taking it back. Every step looks whether its work is done already, so
//! that a second start only adds what is missing; every step is noted before it is done, so that
//! a failure takes back what this start has made, and a stop all of it.

use super::error::Fault;
use crate::hostnet::dnsmasq;
use crate::hostnet::error::{HostNetError, kernel, system};
use crate::hostnet::firewall::{self, Firewall};
use crate::hostnet::made::{self, Item, Made, read_sysctl};
use crate::hostnet::ports;
use crate::hostnet::settings::{Settings, Side};
use crate::hostnet::subnet::Subnet;
use crate::net::reply::Link;
use crate::net::rtnl::{Change, Common, LOOPBACK, LinkKind, NewLink, Rtnl, Target};
use crate::sys::lock::{self, Wait};
use crate::sys::{cred, dirs, errno};
use crate::util::blame::Sourced;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// One start or stop at a time.
fn locked() -> Result<OwnedFd, HostNetError> {
    if cred::euid() != 0 {
        return Err(Box::new(Fault::NotRoot));
    }
    let failed = || system("waiting for another lxc-net");
    let file = lock::open_lock_file(Path::new("/run"), Path::new("lxc"), "lxc-net.lock".as_ref())
        .map_err(failed())?;
    lock::lock(file.as_fd(), Wait::Yes).map_err(failed())?;
    Ok(file)
}

fn open() -> Result<Rtnl, HostNetError> {
    Rtnl::open().map_err(kernel("opening rtnetlink"))
}

/// Makes what is missing of the network.
///
/// # Errors
/// The first failure, after everything that this call has made is gone again.
pub fn start(s: &Settings) -> Result<Vec<String>, HostNetError> {
    let _lock = locked()?;
    let mut host = open()?;
    let programs = (dnsmasq::find()?, firewall::find(s)?);
    check(s, &mut host)?;
    let mut made = Made::load(&s.bridge.value)?;
    let before = made.items().len();
    let mut notes = Vec::new();
    if let Some(item) = made.items().iter().find(|item| !belongs(item, s)) {
        return Err(Box::new(Fault::Changed { what: item.to_string() }));
    }
    apply(s, &programs.0, &programs.1, &mut host, &mut made).inspect_err(|_| {
        for error in made.undo(before, &mut host, &mut notes) {
            log::warn!("{}", crate::util::sentence::sentence(&error));
        }
    })?;
    Ok(notes)
}

/// False for what a start with other settings has made.
fn belongs(item: &Item, s: &Settings) -> bool {
    let bridge = &s.bridge.value;
    match item {
        Item::Bridge(name) | Item::WasDown(name) => name == bridge,
        Item::Address(name, address, prefix) => {
            name == bridge
                && s.sides()
                    .any(|side| (side.value.address, side.value.prefix) == (*address, *prefix))
        }
        _ => true,
    }
}

/// Finds what would make the network fail or break that of the host, before anything is made.
fn check(s: &Settings, host: &mut Rtnl) -> Result<(), HostNetError> {
    let name = &s.bridge.value;
    let links = host.links().map_err(kernel("looking for the bridge"))?;
    let own = links.iter().find(|link| link.name == *name);
    if let Some(link) = own.filter(|link| link.kind.as_deref() != Some("bridge")) {
        let kind = match &link.kind {
            Some(kind) => format!("a device of type {kind}"),
            None => "a device of the host".to_owned(),
        };
        let origin = s.bridge.origin.clone();
        return Err(Box::new(Fault::NotABridge { name: name.clone(), kind, origin }));
    }
    if let Some(v6) = s.v6.as_ref().filter(|_| read_sysctl("net/ipv6/conf/all/forwarding").is_err())
    {
        return Err(Box::new(Fault::NoIpv6 { origin: v6.origin.clone() }));
    }
    let addresses = host.addresses().map_err(kernel("looking for other networks"))?;
    for side in s.sides() {
        let net = side.value.subnet();
        let others = addresses.iter().filter(|a| a.link != LOOPBACK);
        let others = others.filter(|a| own.is_none_or(|own| own.index != a.link));
        for address in others {
            let other = Subnet::of(address.address, address.prefix);
            // A wider one leaves us the part of it: the more exact route counts.
            if !net.contains(other.first) || other.prefix < net.prefix {
                continue;
            }
            let link = links.iter().find(|link| link.index == address.link && link.is_up());
            if let Some(link) = link {
                return Err(overlap(side, &net, &other, &link.name));
            }
        }
    }
    Ok(())
}

fn overlap(side: &Sourced<Side>, net: &Subnet, other: &Subnet, link: &str) -> HostNetError {
    Box::new(Fault::Overlap {
        network: net.to_string(),
        other: format!("{other}, the network of \"{link}\""),
        variable: if net.first.is_ipv6() { "LXC_IPV6_ADDR" } else { "LXC_ADDR" },
        origin: side.origin.clone(),
    })
}

fn apply(
    s: &Settings,
    dnsmasq: &str,
    firewall: &Firewall,
    host: &mut Rtnl,
    made: &mut Made,
) -> Result<(), HostNetError> {
    bridge(s, host, made)?;
    forwarding(s, host, made)?;
    match firewall {
        Firewall::Nft(nft) => {
            made.push(Item::Tables)?;
            firewall::make_tables(nft, s)?;
        }
        Firewall::Iptables => {
            for rule in firewall::rules(s) {
                if !firewall::has_rule(&rule) {
                    made.push(Item::Rule(rule.clone()))?;
                    firewall::add_rule(&rule)?;
                }
            }
        }
    }
    made.push(Item::Dnsmasq)?;
    dnsmasq::start(dnsmasq, s).map_err(|e| taken(e, s))?;
    dirs::write_file(Path::new(made::UP), b"").map_err(system("telling that the network is up"))
}

/// Names who has the port, where dnsmasq only says that somebody has.
fn taken(mut error: HostNetError, s: &Settings) -> HostNetError {
    match &mut *error {
        Fault::Program { output, hint, .. } if output.contains("in use") => {
            let holder = [53, 67].into_iter().find_map(|p| ports::holder(p, s.v4.value.address));
            if let Some(holder) = &holder {
                output.push_str(&format!("; {}", holder.sentence()));
            }
            *hint = holder.map(|holder| holder.mend(s));
        }
        _ => {}
    }
    error
}

/// The bridge with its addresses, up.
fn bridge(s: &Settings, host: &mut Rtnl, made: &mut Made) -> Result<(), HostNetError> {
    let name = &s.bridge.value;
    let step = "making the bridge";
    let own = Item::Bridge(name.clone());
    let link = match find(name, host)? {
        Some(link) => link,
        None => {
            made.push(own.clone())?;
            let common = Common { mac: Some(s.mac), ..Common::default() };
            host.create_link(&NewLink { name, kind: LinkKind::Bridge, common })
                .map_err(kernel(step))?;
            find(name, host)?.unwrap_or_default()
        }
    };
    if !link.is_up() && !made.has(&own) {
        made.push(Item::WasDown(name.clone()))?;
    }
    // Advertisements of a container would else reconfigure the host (CVE-2020-13401), and nobody
    // answers to a check for duplicates on a bridge without ports.
    for setting in ["accept_ra", "accept_dad", "autoconf"] {
        set(&format!("net/ipv6/conf/{name}/{setting}"), "0", made)?;
    }
    if s.v6.is_some() {
        set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0", made)?;
    }
    let there = host.addresses().map_err(kernel(step))?;
    for side in s.sides().map(|side| &side.value) {
        if there.iter().any(|a| a.link == link.index && a.address == side.address) {
            continue;
        }
        made.push(Item::Address(name.clone(), side.address, side.prefix))?;
        let broadcast = side.address.is_ipv4().then(|| side.subnet().last());
        host.add_address(link.index, side.address, side.prefix, broadcast)
            .map_err(kernel("giving the bridge its address"))?;
    }
    let up = Change { up: Some(true), ..Change::default() };
    host.set_link(Target::Index(link.index, name), &up).map_err(kernel(step))
}

fn find(name: &str, host: &mut Rtnl) -> Result<Option<Link>, HostNetError> {
    host.link(Target::Name(name)).map_err(kernel("looking for the bridge"))
}

/// The host becomes a router, without losing the way out that it has itself by advertisements:
/// the kernel drops such routes when forwarding is turned on, unless accept_ra is 2.
fn forwarding(s: &Settings, host: &mut Rtnl, made: &mut Made) -> Result<(), HostNetError> {
    set("net/ipv4/ip_forward", "1", made)?;
    let all = "net/ipv6/conf/all/forwarding";
    if s.v6.is_none() || read_sysctl(all).is_ok_and(|value| value == "1") {
        return Ok(());
    }
    for link in host.links().map_err(kernel("looking for the ways out"))? {
        let path = format!("net/ipv6/conf/{}/accept_ra", link.name);
        let free = link.master.is_none() && link.index != LOOPBACK;
        if free && read_sysctl(&path).is_ok_and(|value| value == "1") {
            set(&path, "2", made)?;
        }
    }
    set(all, "1", made)
}

/// Changes a setting, if it is there and another.
fn set(path: &str, value: &str, made: &mut Made) -> Result<(), HostNetError> {
    let step = "changing a setting of the kernel";
    match made::read_sysctl(path) {
        Ok(old) if old == value => Ok(()),
        Ok(old) => {
            made.push(Item::Sysctl(path.to_owned(), old))?;
            made::write_sysctl(path, value).map_err(system(step))
        }
        // A kernel without IPv6; it was found out before whether that is wanted.
        Err(e) if e.is(errno::ENOENT) => Ok(()),
        Err(e) => Err(system(step)(e)),
    }
}

/// What a stop found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Something was taken back.
    Now,
    /// There was nothing.
    Before,
}

/// Takes back everything that was made. The notes say what was left on purpose; the errors are
/// all that there were.
pub fn stop(
    bridge: &str,
    notes: &mut Vec<String>,
) -> Result<(Stopped, Vec<HostNetError>), HostNetError> {
    let _lock = locked()?;
    let mut host = open()?;
    let mut made = Made::load(bridge)?;
    let found = if made.items().is_empty() { Stopped::Before } else { Stopped::Now };
    let mut errors = made.undo(0, &mut host, notes);
    match dirs::unlink(Path::new(made::UP)) {
        Err(e) if !e.is(errno::ENOENT) => errors.push(system("telling that it is down")(e)),
        _ => {}
    }
    Ok((found, errors))
}

/// Somewhere outside, of the same family: an address for documentation (RFC 5737, RFC 3849).
pub(super) fn outside(ipv6: bool) -> IpAddr {
    match ipv6 {
        true => std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1).into(),
        false => Ipv4Addr::new(203, 0, 113, 1).into(),
    }
}
