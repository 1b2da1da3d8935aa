//! Who listens at a port of this network namespace, out of /proc.

use crate::hostnet::dnsmasq::processes;
use crate::sys::process::Pid;
use crate::sys::{dirs, fd};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A socket in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process and its name; `None` if it is not to be seen from here.
    pub process: Option<(Pid, String)>,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Where it listens.
    pub address: IpAddr,
    /// At which port.
    pub port: u16,
}

/// The first socket at `port` that `wanted` could not be bound beside.
pub fn holder(port: u16, wanted: IpAddr) -> Option<Holder> {
    let tables = [("udp", "udp"), ("udp6", "udp"), ("tcp", "tcp"), ("tcp6", "tcp")];
    tables.into_iter().find_map(|(table, protocol)| {
        let text = fd::read_to_string(format!("/proc/self/net/{table}")).ok()?;
        let in_the_way = |address: &IpAddr| address.is_unspecified() || *address == wanted;
        let (address, inode) =
            text.lines().filter_map(|line| listener(line, port)).find(|(a, _)| in_the_way(a))?;
        Some(Holder { process: owner(inode), protocol, address, port })
    })
}

/// Address and inode of a line of /proc/net/udp and its like, if it listens at `port`.
fn listener(line: &str, port: u16) -> Option<(IpAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, number) = fields.get(1)?.split_once(':')?;
    // 07 is a UDP socket without a peer, 0A a listening one of TCP.
    let listening = matches!(*fields.get(3)?, "07" | "0A");
    let here = u16::from_str_radix(number, 16) == Ok(port);
    (listening && here).then_some((address_of(address)?, fields.get(9)?.parse().ok()?))
}

/// The kernel prints each word of an address as a number of the machine's.
fn address_of(hex: &str) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    let words = hex.len() / 8;
    for (n, place) in bytes.chunks_exact_mut(4).enumerate().take(words) {
        let word = u32::from_str_radix(hex.get(n * 8..n * 8 + 8)?, 16).ok()?;
        place.copy_from_slice(&word.to_ne_bytes());
    }
    match words {
        1 => Some(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()),
        4 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

fn owner(inode: u64) -> Option<(Pid, String)> {
    let wanted = format!("socket:[{inode}]");
    let holds = |pid: &Pid| {
        let dir = format!("/proc/{pid}/fd");
        let names = dirs::names(Path::new(&dir)).unwrap_or_default();
        names.iter().any(|name| *dirs::link_target(&Path::new(&dir).join(name)) == *wanted)
    };
    let pid = processes().find(holds)?;
    let name = fd::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let loopback = if cfg!(target_endian = "little") { "0100007F" } else { "7F000001" };
        let line = |address: &str, state: &str| {
            format!("  12: {address}:0035 00000000:0000 {state} 0:0 00:0 0 0 0 4711 2 x")
        };
        let found = listener(&line(loopback, "07"), 53).unwrap();
        assert_eq!(found, (Ipv4Addr::LOCALHOST.into(), 4711));
        assert_eq!(listener(&line(loopback, "07"), 54), None);
        assert_eq!(listener(&line("00000000", "01"), 53), None);
        let any = listener(&line(&"0".repeat(32), "0A"), 53).unwrap();
        assert!(any.0.is_unspecified() && any.0.is_ipv6());
        assert_eq!(listener("  sl  local_address rem_address   st", 53), None);
        assert_eq!((address_of("0"), address_of("zzzzzzzz")), (None, None));
    }
}
