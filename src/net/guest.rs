//! What the container's own system will do to the addresses that the configuration gives: looks
//! into its root file system for the network service that sets up the same interface. Start at
//! [`notes`].
//!
//! The tree belongs to the container: it is read by [`Root`] alone, a bounded part of it, and what
//! it says is only ever a remark.

use crate::net::error::{kind_name, mac_text};
use crate::net::plan::{NetPlan, Nic, Note};
use crate::sys::errno;
use crate::sys::path::{Lookup, Root};
use crate::util::sorted::Map;
use std::path::Path;

/// The longest file that is looked at.
const MAX_FILE: usize = 64 << 10;
/// How many files of a directory are looked at.
const MAX_FILES: usize = 128;

/// Remarks on the interfaces with addresses of the configuration that the system in `layers` sets
/// up too. The topmost layer comes first; what cannot be read is passed over.
pub fn notes(plan: &NetPlan, layers: &[Root]) -> Vec<Note> {
    let guest = Guest { layers };
    let mut notes = Vec::new();
    for nic in &plan.nics {
        let Some(first) = nic.addresses.first() else { continue };
        if let Some(file) = guest.rival(nic) {
            let name = &nic.name;
            let text = format!(
                "the container's own /{file} sets up {name} too: its network service may take the \
                 addresses that are given here away, or add others"
            );
            notes.push(Note { index: nic.index, text, origin: Some(first.origin.clone()) });
        }
    }
    notes
}

/// The system inside.
struct Guest<'a> {
    layers: &'a [Root],
}

impl Guest<'_> {
    fn read(&self, path: &str) -> Option<String> {
        for layer in self.layers {
            match layer.read(Path::new(path), MAX_FILE) {
                Ok(bytes) => return Some(String::from_utf8_lossy(&bytes).into_owned()),
                Err(e) if e.is(errno::ENOENT) => {}
                // A whiteout, among others.
                Err(_) => return None,
            }
        }
        None
    }

    /// True if something is there, be it a link that leads nowhere.
    fn has(&self, path: &str) -> bool {
        let path = Path::new(path);
        self.layers.iter().any(|layer| {
            layer.readlink(path).is_ok() || layer.resolve(path, Lookup::InRoot).is_ok()
        })
    }

    fn has_any(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.has(path))
    }

    /// The paths of the files in some directories whose names end in `end`, in the order of these
    /// names; of two with one name that of the later directory.
    fn files(&self, dirs: &[&str], end: &str) -> impl Iterator<Item = String> + use<> {
        let mut found = Map::default();
        for dir in dirs {
            for layer in self.layers {
                let names = layer.list(Path::new(dir), MAX_FILES).unwrap_or_default();
                for name in names.into_iter().filter(|name| name.ends_with(end)) {
                    let path = format!("{dir}/{name}");
                    found.insert(name, path);
                }
            }
        }
        found.into_iter().map(|(_, path)| path)
    }

    /// The file that sets up the interface differently.
    fn rival(&self, nic: &Nic) -> Option<String> {
        let found = self
            .ifupdown(nic)
            .or_else(|| self.netplan(nic))
            .or_else(|| self.networkd(nic))
            .or_else(|| self.network_manager(nic))
            .or_else(|| self.small(nic))?;
        // What gives the same addresses undoes nothing.
        let text = self.read(&found).unwrap_or_default();
        let other = |c: char| !c.is_ascii_hexdigit() && c != '.' && c != ':';
        let given = |address: String| text.split(other).any(|word| word == address);
        let same = nic.addresses.iter().all(|a| given(a.value.address.to_string()));
        (!same).then_some(found)
    }

    /// ifupdown of Debian, and that of Alpine, where a service has to be in a runlevel.
    fn ifupdown(&self, nic: &Nic) -> Option<String> {
        let services = ["etc/runlevels/boot/networking", "etc/runlevels/default/networking"];
        if self.has("etc/runlevels") && !self.has_any(&services) {
            return None;
        }
        let (mut automatic, mut found) = (false, None);
        let more = self.files(&["etc/network/interfaces.d"], "");
        for file in std::iter::once("etc/network/interfaces".to_owned()).chain(more) {
            for line in self.read(&file).unwrap_or_default().lines() {
                let mut words = line.split_ascii_whitespace();
                match words.next() {
                    Some("auto" | "allow-auto" | "allow-hotplug") => {
                        automatic |= words.any(|word| glob(word, &nic.name));
                    }
                    Some("iface") if words.next() == Some(&nic.name) => {
                        let ipv6 = words.next() == Some("inet6");
                        let method = words.next();
                        if nic.addresses.iter().any(|a| a.value.address.is_ipv6() == ipv6)
                            && matches!(method, Some("dhcp" | "static"))
                        {
                            found = Some(file.clone());
                        }
                    }
                    _ => {}
                }
            }
        }
        found.filter(|_| automatic)
    }

    fn netplan(&self, nic: &Nic) -> Option<String> {
        self.files(&["lib/netplan", "etc/netplan"], ".yaml").find(|file| {
            self.read(file).unwrap_or_default().lines().any(|line| {
                let line = line.trim();
                let value = line.strip_prefix("name:").or(line.strip_suffix(':'));
                value.is_some_and(|v| glob(v.trim().trim_matches(['"', '\'']), &nic.name))
            })
        })
    }

    /// systemd-networkd takes the first file that matches, and away what the file does not give.
    fn networkd(&self, nic: &Nic) -> Option<String> {
        let enabled = [
            "etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
            "etc/systemd/system/sockets.target.wants/systemd-networkd.socket",
            "etc/systemd/system/dbus-org.freedesktop.network1.service",
        ];
        if !self.has_any(&enabled) {
            return None;
        }
        let dirs = ["lib/systemd/network", "usr/lib/systemd/network", "etc/systemd/network"];
        for file in self.files(&dirs, ".network") {
            let text = self.read(&file).unwrap_or_default();
            if !wanted_by(&text, nic) {
                continue;
            }
            let keeps = settings(&text).any(|(_, key, value)| {
                let yes = matches!(value, "yes" | "true" | "1" | "on");
                key == "Unmanaged" && yes
                    || key == "KeepConfiguration" && (yes || value == "static")
            });
            return (!keeps).then_some(file);
        }
        None
    }

    /// NetworkManager leaves alone what has addresses already, unless a profile is for it.
    fn network_manager(&self, nic: &Nic) -> Option<String> {
        let enabled = [
            "etc/systemd/system/multi-user.target.wants/NetworkManager.service",
            "etc/runlevels/default/networkmanager",
        ];
        if !self.has_any(&enabled) {
            return None;
        }
        self.files(&["etc/NetworkManager/system-connections"], "").find(|file| {
            let text = self.read(file).unwrap_or_default();
            let mut ethernet = false;
            for (section, key, value) in settings(&text) {
                match (section, key) {
                    ("connection", "type") => ethernet = value.ends_with("ethernet"),
                    ("connection", "interface-name") if value != nic.name => return false,
                    ("connection", "autoconnect") if value == "false" => return false,
                    (_, "mac-address") if !has_mac(value, nic) => return false,
                    _ => {}
                }
            }
            ethernet
        })
    }

    /// Those with one file for one interface or for all.
    fn small(&self, nic: &Nic) -> Option<String> {
        let name = &nic.name;
        for dir in ["etc/sysconfig/network-scripts", "etc/sysconfig/network"] {
            let file = format!("{dir}/ifcfg-{name}");
            let off = |line: &str| {
                let (key, value) = line.split_once('=').unwrap_or_default();
                let value = value.trim_matches(['"', '\'']);
                matches!((key, value), ("ONBOOT", "no") | ("STARTMODE", "off" | "manual"))
            };
            if let Some(text) = self.read(&file) {
                return (!text.lines().any(off)).then_some(file);
            }
        }
        if self.has(&format!("etc/runlevels/default/net.{name}")) {
            return Some("etc/conf.d/net".to_owned());
        }
        if self.read("etc/config/network").is_some_and(|text| openwrt(&text, name)) {
            return Some("etc/config/network".to_owned());
        }
        // The DHCP client of busybox on its own, as templates of LXC have it.
        let client = self.read("etc/init.d/rcS").is_some_and(|text| text.contains("udhcpc"));
        let script = "usr/share/udhcpc/default.script";
        (client
            && name == "eth0"
            && self.read(script).is_some_and(|text| text.contains("addr flush dev")))
        .then(|| script.to_owned())
    }
}

/// Section, key and value of each setting of a file of systemd or NetworkManager.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut section = "";
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
        Some((section, key.trim(), value.trim()))
    })
}

/// True if the `[Match]` of a file of systemd-networkd fits the interface.
fn wanted_by(text: &str, nic: &Nic) -> bool {
    let mut any = false;
    for (section, key, value) in settings(text) {
        if section != "Match" {
            continue;
        }
        let one_of = |text: &str| {
            let (not, list) = value.strip_prefix('!').map_or((false, value), |list| (true, list));
            list.split_ascii_whitespace().any(|pattern| glob(pattern, text)) != not
        };
        let fits = match key {
            "Name" => one_of(&nic.name),
            "Type" => one_of("ether"),
            "Kind" | "Driver" => one_of(kind_name(nic.kind)),
            "MACAddress" | "PermanentMACAddress" => has_mac(value, nic),
            // Whatever else is asked may be so.
            _ => true,
        };
        if !fits {
            return false;
        }
        any = true;
    }
    any
}

/// True if one of the addresses in `list` is the interface's.
fn has_mac(list: &str, nic: &Nic) -> bool {
    let mac = nic.hwaddr.map(mac_text);
    mac.is_some_and(|mac| list.split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(&mac)))
}

/// True if a section of OpenWrt's file has the device, or has it as a bridge's port.
fn openwrt(text: &str, name: &str) -> bool {
    let (mut device, mut none) = (false, false);
    for line in text.lines().chain(["config"]) {
        let mut words = line.split_ascii_whitespace().map(|w| w.trim_matches(['\'', '"']));
        match (words.next(), words.next()) {
            (Some("config"), _) => {
                if device && !none {
                    return true;
                }
                (device, none) = (false, false);
            }
            (Some("option" | "list"), Some("device" | "ifname" | "ports")) => {
                device |= words.any(|word| word == name);
            }
            (Some("option"), Some("proto")) => none = words.next() == Some("none"),
            _ => {}
        }
    }
    false
}

/// True if `text` is `pattern`, where `*` is any text and `?` any character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            // The last asterisk takes one more.
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
#[path = "guest_tests.rs"]
mod tests;
