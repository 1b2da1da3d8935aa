//! The record of what a start has made, so that a stop takes back exactly that: also after a crash
//! half way, and when the settings have changed meanwhile. It is written before the step it is
//! about, in /run, and so is gone with what it is about at a reboot.

use crate::hostnet::dnsmasq;
use crate::hostnet::error::{HostNetError, kernel, system};
use crate::hostnet::firewall;
use crate::net::rtnl::{Change, Rtnl, Target};
use crate::sys::{dirs, errno, fd};
use crate::util::quote::quoted;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;

/// LXC's sign that the network is up.
pub(super) const UP: &str = "/run/lxc/network_up";
const RECORD: &str = "/run/lxc/lxc-net.made";

/// One thing that was made or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A bridge.
    Bridge(String),
    /// A bridge of somebody else was down.
    WasDown(String),
    /// An address with its prefix length on a bridge.
    Address(String, IpAddr, u8),
    /// A setting below /proc/sys, and what it was.
    Sysctl(String, String),
    /// Our tables.
    Tables,
    /// A rule of iptables: program, table, chain, and what it says.
    Rule(Vec<String>),
    /// The DHCP and DNS service.
    Dnsmasq,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::WasDown(name) => write!(f, "was-down {name}"),
            Self::Address(name, address, prefix) => write!(f, "address {name} {address} {prefix}"),
            Self::Sysctl(path, old) => write!(f, "sysctl {path} {old}"),
            Self::Tables => f.write_str("tables"),
            Self::Rule(words) => write!(f, "rule {}", words.join(" ")),
            Self::Dnsmasq => f.write_str("dnsmasq"),
        }
    }
}

impl Item {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        Some(match words[..] {
            ["bridge", name] => Self::Bridge(name.to_owned()),
            ["was-down", name] => Self::WasDown(name.to_owned()),
            ["address", name, address, prefix] => {
                Self::Address(name.to_owned(), address.parse().ok()?, prefix.parse().ok()?)
            }
            ["sysctl", path, old] => Self::Sysctl(path.to_owned(), old.to_owned()),
            ["tables"] => Self::Tables,
            ["rule", ref rule @ ..] => Self::Rule(rule.iter().map(|&w| w.to_owned()).collect()),
            ["dnsmasq"] => Self::Dnsmasq,
            _ => return None,
        })
    }

    /// True if both are about the same thing: the older record has the older value.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sysctl(a, _), Self::Sysctl(b, _)) => a == b,
            _ => self == other,
        }
    }
}

/// The record.
#[derive(Debug)]
pub(super) struct Made(Vec<Item>);

impl Made {
    /// What was made, in order. Without a record but with LXC's sign its own script has started
    /// the network, and what that leaves is known.
    pub(super) fn load(bridge: &str) -> Result<Self, HostNetError> {
        let items = match fd::read_to_string(RECORD) {
            Ok(text) => text.lines().filter_map(Self::known).collect(),
            Err(e) if !e.is(errno::ENOENT) => return Err(system("reading the record")(e)),
            Err(_) if Path::new(UP).exists() => {
                vec![Item::Bridge(bridge.to_owned()), Item::Tables, Item::Dnsmasq]
            }
            Err(_) => Vec::new(),
        };
        Ok(Self(items))
    }

    /// What another version noted, or somebody else, is not ours to take back.
    fn known(line: &str) -> Option<Item> {
        let item = Item::parse(line);
        if item.is_none() {
            log::error!("{RECORD}: what this line is about is left alone: {}", quoted(line));
        }
        item
    }

    /// The items.
    pub(super) fn items(&self) -> &[Item] {
        &self.0
    }

    /// True if the bridge is one of ours.
    pub(super) fn has(&self, item: &Item) -> bool {
        self.0.iter().any(|other| other.same(item))
    }

    /// Notes what is about to be made; nothing if it is noted already.
    pub(super) fn push(&mut self, item: Item) -> Result<(), HostNetError> {
        if self.has(&item) {
            return Ok(());
        }
        self.0.push(item);
        self.save()
    }

    fn save(&self) -> Result<(), HostNetError> {
        let text: String = self.0.iter().map(|item| format!("{item}\n")).collect();
        let path = Path::new(RECORD);
        let written = match self.0.is_empty() {
            false => dirs::replace_file(path, text.as_bytes()),
            true => {
                dirs::unlink(path).or_else(|e| if e.is(errno::ENOENT) { Ok(()) } else { Err(e) })
            }
        };
        written.map_err(system("writing the record"))
    }

    /// Takes back everything from item `from` on, the newest first, and goes on after an error.
    /// What could not be taken back stays in the record. The notes say what was left on purpose.
    pub(super) fn undo(
        &mut self,
        from: usize,
        host: &mut Rtnl,
        notes: &mut Vec<String>,
    ) -> Vec<HostNetError> {
        let mut errors = Vec::new();
        let mut kept = Vec::new();
        let own = self.0.iter().find_map(|item| match item {
            Item::Bridge(name) | Item::Address(name, ..) => Some(name.clone()),
            _ => None,
        });
        for item in self.0.split_off(from.min(self.0.len())).into_iter().rev() {
            match item.undo(own.as_deref(), host, notes) {
                Ok(true) => {}
                Ok(false) => kept.push(item),
                Err(e) => {
                    errors.push(e);
                    kept.push(item);
                }
            }
        }
        self.0.extend(kept.into_iter().rev());
        errors.extend(self.save().err());
        errors
    }
}

impl Item {
    /// False if it has to stay for now. `own` is the bridge that it all is about.
    fn undo(
        &self,
        own: Option<&str>,
        host: &mut Rtnl,
        notes: &mut Vec<String>,
    ) -> Result<bool, HostNetError> {
        match self {
            Self::Bridge(name) => return remove_bridge(name, host, notes),
            Self::WasDown(name) => set_down(name, host)?,
            Self::Address(name, address, prefix) => {
                let step = "taking back the address";
                if let Some(link) = host.link(Target::Name(name)).map_err(kernel(step))? {
                    host.delete_address(link.index, *address, *prefix).map_err(kernel(step))?;
                }
            }
            Self::Sysctl(path, old) => {
                let forwarding = path.ends_with("ip_forward") || path.ends_with("/forwarding");
                if let (true, Some(other)) = (forwarding, other_router(own, host)?) {
                    notes.push(format!("{path} stays on: \"{other}\" may need it"));
                    return Ok(true);
                }
                match write_sysctl(path, old) {
                    // It went with its device.
                    Err(e) if e.is(errno::ENOENT) => {}
                    other => other.map_err(system("setting back what was changed"))?,
                }
            }
            Self::Tables => firewall::delete_tables()?,
            Self::Rule(words) => firewall::delete_rule(words)?,
            Self::Dnsmasq => dnsmasq::stop()?,
        }
        Ok(true)
    }
}

/// A bridge with containers on it is left to them, without addresses and down, as LXC leaves it.
fn remove_bridge(
    name: &str,
    host: &mut Rtnl,
    notes: &mut Vec<String>,
) -> Result<bool, HostNetError> {
    let step = "removing the bridge";
    let Some(link) = host.link(Target::Name(name)).map_err(kernel(step))? else { return Ok(true) };
    let ports = ports(link.index, host)?;
    if ports == 0 {
        host.delete_link(Target::Index(link.index, name)).map_err(kernel(step))?;
        return Ok(true);
    }
    for address in host.addresses().map_err(kernel(step))? {
        if address.link == link.index && address.scope == 0 {
            host.delete_address(link.index, address.address, address.prefix)
                .map_err(kernel(step))?;
        }
    }
    set_down(name, host)?;
    notes.push(format!(
        "\"{name}\" stays, down: {ports} interfaces of running containers are on it"
    ));
    Ok(false)
}

fn set_down(name: &str, host: &mut Rtnl) -> Result<(), HostNetError> {
    match host.set_link(Target::Name(name), &Change { up: Some(false), ..Change::default() }) {
        Err(e) if e.is(errno::ENODEV) => Ok(()),
        other => other.map_err(kernel("setting the bridge down")),
    }
}

/// How many ports the bridge with this index has.
pub(super) fn ports(bridge: u32, host: &mut Rtnl) -> Result<usize, HostNetError> {
    let links = host.links().map_err(kernel("counting the ports"))?;
    Ok(links.iter().filter(|link| link.master == Some(bridge)).count())
}

/// Another device whose traffic the host forwards: what was turned on for one is relied on by
/// the other by now.
fn other_router(own: Option<&str>, host: &mut Rtnl) -> Result<Option<String>, HostNetError> {
    let routes = |kind: &str| matches!(kind, "bridge" | "wireguard" | "tun");
    let links = host.links().map_err(kernel("looking for other bridges"))?;
    let other = links.into_iter().find(|link| {
        link.is_up() && Some(link.name.as_str()) != own && link.kind.as_deref().is_some_and(routes)
    });
    Ok(other.map(|link| link.name))
}

/// The value of a setting below /proc/sys, without its newline.
pub(super) fn read_sysctl(path: &str) -> crate::sys::Result<String> {
    Ok(fd::read_to_string(format!("/proc/sys/{path}"))?.trim_end().to_owned())
}

/// Writes a setting below /proc/sys.
pub(super) fn write_sysctl(path: &str, value: &str) -> crate::sys::Result<()> {
    fd::write_file(format!("/proc/sys/{path}"), value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_reads_what_it_writes() {
        let items = [
            Item::Bridge("lxcbr0".into()),
            Item::WasDown("br0".into()),
            Item::Address("lxcbr0".into(), "fd00::1".parse().unwrap(), 64),
            Item::Sysctl("net/ipv4/ip_forward".into(), "0".into()),
            Item::Tables,
            Item::Rule(["iptables", "nat", "POSTROUTING", "-j", "X"].map(String::from).to_vec()),
            Item::Dnsmasq,
        ];
        for item in items {
            assert_eq!(Item::parse(&item.to_string()), Some(item));
        }
        assert_eq!(Item::parse("bridge"), None);
        assert_eq!(Item::parse("address lxcbr0 x 24"), None);
        assert_eq!(Item::parse(""), None);
    }

    #[test]
    fn an_older_value_of_a_setting_counts() {
        let made = Made(vec![Item::Sysctl("a".into(), "0".into())]);
        assert!(made.has(&Item::Sysctl("a".into(), "1".into())));
        assert!(!made.has(&Item::Sysctl("b".into(), "0".into())) && !made.has(&Item::Tables));
    }
}
