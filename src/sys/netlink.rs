//! The transport of netlink: a raw socket, in the caller's network namespace or in another one. It moves whole datagrams between us and the kernel and refuses those of
//! anybody else; what is in them is the business of `net::codec`. Start at [`Socket`].
#![allow(unsafe_code, reason = "setsockopt for netlink's own options")]

use super::error::{At, Result, SysError};
use super::{ns, nsfile, process, spawn, unix};
use rustix::fs::{Mode, OFlags};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Error numbers that only rtnetlink answers with; the others are in `sys::errno`.
pub mod errno {
    pub use libc::{EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, EXFULL};
}

/// The kernel sizes the parts of a dump by the buffer offered, up to this.
const BUFFER: usize = 32 * 1024;

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// NETLINK_ROUTE.
    Route,
    /// NETLINK_GENERIC.
    Generic,
    /// NETLINK_NETFILTER.
    Netfilter,
}

/// One netlink socket. It stays in the network namespace it was opened in.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// An rtnetlink socket in the caller's network namespace.
    pub fn open() -> Result<Self> {
        Self::open_protocol(Protocol::Route)
    }

    /// A socket for `protocol` in the caller's network namespace.
    pub fn open_protocol(protocol: Protocol) -> Result<Self> {
        let (name, raw) = match protocol {
            Protocol::Route => ("Route", None),
            Protocol::Generic => ("Generic", Some(rustix::net::netlink::GENERIC)),
            Protocol::Netfilter => ("Netfilter", Some(rustix::net::netlink::NETFILTER)),
        };
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        let fd = rustix::net::socket_with(family, SocketType::RAW, flags, raw)
            .at("socket", || format!("AF_NETLINK, {name}"))?;
        // FALLBACK(<4.12): without extended acks an error is its number only.
        let _ = set_option(&fd, libc::NETLINK_EXT_ACK);
        Ok(Self::over(fd))
    }

    fn over(fd: OwnedFd) -> Self {
        Self { fd, sequence: 0, buffer: Vec::new() }
    }

    /// The number of the next request; never 0, which is what notifications carry.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.checked_add(1).unwrap_or(1);
        self.sequence
    }

    /// Sends one datagram of one or more requests.
    pub fn send(&self, datagram: &[u8]) -> Result<()> {
        let sent = retry(|| rustix::net::send(&self.fd, datagram, SendFlags::empty()))
            .at("send", || "netlink")?;
        if sent == datagram.len() {
            Ok(())
        } else {
            Err(SysError::new("send", "netlink", libc::EIO))
        }
    }

    /// Receives the kernel's next datagram; waits for it.
    ///
    /// # Errors
    /// EMSGSIZE if it was longer than the buffer and so came in part, ENOBUFS if the kernel had
    /// to drop one.
    pub fn receive(&mut self) -> Result<&[u8]> {
        if self.buffer.is_empty() {
            // Fresh from the kernel, and hardly any of it is ever touched.
            self.buffer = vec![0; BUFFER];
        }
        loop {
            let (_, len, from) =
                retry(|| rustix::net::recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC))
                    .at("recvfrom", || "netlink")?;
            // Another process may write to this socket; only port 0 is the kernel.
            let kernel = from
                .and_then(|any| SocketAddrNetlink::try_from(any).ok())
                .is_some_and(|addr| addr.pid() == 0);
            if !kernel {
                continue;
            }
            return match self.buffer.get(..len) {
                Some(datagram) => Ok(datagram),
                None => Err(SysError::new("recvfrom", "netlink", libc::EMSGSIZE)),
            };
        }
    }

    /// True if there is a link called `name`; asked without the lock of all links.
    pub fn has_link(&self, name: &str) -> bool {
        rustix::net::netdevice::name_to_index(&self.fd, name).is_ok()
    }

    /// Gives the buffer back to the allocator; a socket that stays open for later needs none.
    pub fn release_buffer(&mut self) {
        self.buffer = Vec::new();
    }
}

/// Opens sockets in other network namespaces and always comes home.
///
/// Reading many namespaces in turn costs one change of namespace each, and one at the end.
#[derive(Debug)]
pub struct Traveller {
    home: Option<OwnedFd>,
    away: bool,
}

impl Traveller {
    /// Remembers the caller's network namespace.
    pub fn new() -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let home = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .at("open", || path)?;
        Ok(Self { home: Some(home), away: false })
    }

    /// An rtnetlink socket in `netns`. The process may be in that namespace afterwards, until
    /// [`Traveller::return_home`].
    pub fn open_in(&mut self, netns: BorrowedFd<'_>) -> Result<Socket> {
        self.open_protocol_in(netns, Protocol::Route)
    }

    /// As [`Traveller::open_in`], for `protocol`.
    pub fn open_protocol_in(
        &mut self,
        netns: BorrowedFd<'_>,
        protocol: Protocol,
    ) -> Result<Socket> {
        let moved = move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
            .at("setns", || "another network namespace");
        match moved {
            Err(e) if e.is(libc::EPERM) => open_as_owner(netns, protocol).map_err(|_| e),
            Err(e) => Err(e),
            Ok(()) => {
                self.away = true;
                Socket::open_protocol(protocol)
            }
        }
    }

    /// Back to the namespace of [`Traveller::new`]; gives back its descriptor.
    ///
    /// # Errors
    /// The process is still in the other namespace; it must do nothing more with the network.
    pub fn return_home(mut self) -> Result<OwnedFd> {
        self.go_home()?;
        self.home.take().ok_or_else(|| SysError::new("setns", "", libc::EBADF))
    }

    fn go_home(&mut self) -> Result<()> {
        if let (true, Some(home)) = (self.away, &self.home) {
            move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
                .at("setns", || "the own network namespace, to come back")?;
            self.away = false;
        }
        Ok(())
    }
}

impl Drop for Traveller {
    fn drop(&mut self) {
        // Only after an error on the way, which is the one that is reported.
        let _ = self.go_home();
    }
}

/// A socket in the network namespace `netns`; the caller stays in its own.
pub fn open_in(netns: BorrowedFd<'_>) -> Result<Socket> {
    let mut traveller = Traveller::new()?;
    let socket = traveller.open_in(netns);
    traveller.return_home()?;
    socket
}

/// A socket for a caller who may not change the own network namespace but owns the user namespace
/// that `netns` belongs to, as an ordinary user does of a container: a child goes there, and the
/// kernel asks whoever uses the socket, not who has made it.
fn open_as_owner(netns: BorrowedFd<'_>, protocol: Protocol) -> Result<Socket> {
    let owner = nsfile::owner(netns)?;
    let (mine, its) = unix::pair(unix::Kind::SeqPacket)?;
    let made = || -> Result<()> {
        ns::setns(owner.as_fd(), libc::CLONE_NEWUSER)?;
        ns::setns(netns, libc::CLONE_NEWNET)?;
        let socket = Socket::open_protocol(protocol)?;
        unix::send(its.as_fd(), b"s", &[socket.fd.as_fd()], None, unix::Block::Wait).map(drop)
    };
    let status = spawn::in_child(|| made().map_or_else(|e| e.errno, |()| 0))?;
    let refused = |errno| SysError::new("setns", "a network namespace", errno);
    match status {
        process::Wait::Exited(0) => {}
        process::Wait::Exited(errno) => return Err(refused(errno)),
        _ => return Err(refused(libc::ECHILD)),
    }
    let mut byte = [0];
    let mut received = unix::recv(mine.as_fd(), &mut byte, 1, unix::Block::DontWait)?;
    let fd = received.fds.pop().ok_or_else(|| refused(libc::EBADF))?;
    Ok(Socket::over(fd))
}

/// Runs `call` again while a signal interrupts it.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Turns on one boolean option of level SOL_NETLINK.
fn set_option(fd: &OwnedFd, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(4);
    // SAFETY: `on` is a live c_int and `len` its size; the kernel only reads it.
    let rc = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), len)
    };
    if rc == 0 { Ok(()) } else { Err(SysError::last("setsockopt", "SOL_NETLINK")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_never_are_zero() {
        let mut socket = Socket::open().unwrap();
        socket.sequence = u32::MAX;
        assert_eq!(socket.next_sequence(), 1);
        assert_eq!(socket.next_sequence(), 2);
    }

    #[test]
    fn a_request_is_answered() {
        let mut socket = Socket::open().unwrap();
        // RTM_GETLINK of index 1, with an ack: 16 bytes of header, 16 of ifinfomsg.
        let mut request = vec![0u8; 32];
        request[0..4].copy_from_slice(&32u32.to_ne_bytes());
        request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
        request[6..8].copy_from_slice(&1u16.to_ne_bytes());
        request[8..12].copy_from_slice(&socket.next_sequence().to_ne_bytes());
        request[20..24].copy_from_slice(&1u32.to_ne_bytes());
        socket.send(&request).unwrap();
        assert!(socket.receive().unwrap().len() >= 32);
    }
}
