//! Addresses and counters of running containers, read by netlink inside their network
//! namespaces: no fork, no thread, one change of namespace per container. Start at [`Reader`].

use crate::net::reply::{Address, Counters, Link};
use crate::net::rtnl::{LOOPBACK, Result, Rtnl};
use crate::sys::netlink::Traveller;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

/// Reads many network namespaces in turn. The process is in the last one that was read until
/// [`Reader::finish`].
#[derive(Debug)]
pub struct Reader {
    traveller: Traveller,
}

impl Reader {
    /// Remembers the way home.
    pub fn new() -> Result<Self> {
        Ok(Self { traveller: Traveller::new()? })
    }

    /// The addresses that `lxc-ls` and `lxc-info` show: all but those of `lo`, and of IPv6 only
    /// those with global scope. IPv4 first.
    pub fn shown(&mut self, netns: BorrowedFd<'_>) -> Result<Vec<IpAddr>> {
        let mut rtnl = Rtnl::over(self.traveller.open_in(netns)?);
        Ok(shown(&rtnl.addresses()?))
    }

    /// Names of all interfaces, in the kernel's order (`eth0, lo` sorted is up to the caller).
    pub fn interfaces(&mut self, netns: BorrowedFd<'_>) -> Result<Vec<String>> {
        let mut rtnl = Rtnl::over(self.traveller.open_in(netns)?);
        Ok(rtnl.links()?.into_iter().map(|link| link.name).collect())
    }

    /// Links and addresses, for those who want all of it.
    pub fn all(&mut self, netns: BorrowedFd<'_>) -> Result<(Vec<Link>, Vec<Address>)> {
        let mut rtnl = Rtnl::over(self.traveller.open_in(netns)?);
        Ok((rtnl.links()?, rtnl.addresses()?))
    }

    /// Goes home.
    ///
    /// # Errors
    /// The process is still in a container's namespace and must not go on.
    pub fn finish(self) -> Result<()> {
        self.traveller.return_home()?;
        Ok(())
    }
}

/// As [`Reader::shown`], for one container.
pub fn shown_in(netns: BorrowedFd<'_>) -> Result<Vec<IpAddr>> {
    let mut reader = Reader::new()?;
    let shown = reader.shown(netns);
    reader.finish()?;
    shown
}

/// Traffic through a link of the host, as the host sees it; `None` if there is no such link. What
/// the host receives from a veth is what the container sent: `lxc-info` prints `rx_bytes` as
/// `TX bytes`.
pub fn counters(host: &mut Rtnl, name: &str) -> Result<Option<Counters>> {
    Ok(host.link_with_counters(name)?.and_then(|link| link.counters))
}

fn shown(addresses: &[Address]) -> Vec<IpAddr> {
    const GLOBAL: u8 = 0;
    let wanted = |a: &&Address| a.link != LOOPBACK && (a.address.is_ipv4() || a.scope == GLOBAL);
    let (mut v4, v6): (Vec<_>, Vec<_>) =
        addresses.iter().filter(wanted).map(|a| a.address).partition(|a| a.is_ipv4());
    v4.extend(v6);
    v4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_use_is_shown() {
        let address = |link, address: &str, scope| Address {
            link,
            address: address.parse().unwrap(),
            prefix: 64,
            scope,
            flags: 0,
        };
        let list = [
            address(1, "127.0.0.1", 254),
            address(1, "::1", 254),
            address(2, "fd00::5", 0),
            address(2, "fe80::5", 253),
            address(2, "10.0.3.7", 0),
            address(3, "169.254.1.1", 253),
        ];
        let text: Vec<_> = shown(&list).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["10.0.3.7", "169.254.1.1", "fd00::5"]);
    }
}
