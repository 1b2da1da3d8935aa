//! Moving a wireless device: its radio changes its network namespace with all devices on it, by a
//! request of generic netlink's family nl80211. Start at [`Nl80211`].

use crate::net::codec::{Attr, Malformed, Request, attrs_after};
use crate::net::rtnl::{Result, Rtnl};
use crate::sys::errno;
use crate::sys::netlink::{Protocol, Socket, Traveller};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Length of `struct genlmsghdr`.
const HEADER: usize = 4;
/// `GENL_ID_CTRL`, the family that knows the others.
const CONTROL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CMD_GET_INTERFACE: u8 = 5;
const CMD_SET_WIPHY_NETNS: u8 = 49;
const ATTR_WIPHY: u16 = 1;
const ATTR_IFINDEX: u16 = 3;
const ATTR_NETNS_FD: u16 = 219;

/// A generic netlink socket and the number of the family.
pub(super) struct Nl80211 {
    socket: Rtnl,
    family: u16,
}

impl Nl80211 {
    /// In the caller's network namespace; `None` if the kernel has no wireless at all.
    pub(super) fn open() -> Result<Option<Self>> {
        Self::over(Socket::open_protocol(Protocol::Generic)?)
    }

    /// In another network namespace; the caller stays where it is.
    pub(super) fn open_in(netns: BorrowedFd<'_>) -> Result<Option<Self>> {
        let mut traveller = Traveller::new()?;
        let socket = traveller.open_protocol_in(netns, Protocol::Generic);
        traveller.return_home()?;
        Self::over(socket?)
    }

    fn over(socket: Socket) -> Result<Option<Self>> {
        let mut socket = Rtnl::over(socket);
        let mut request = begin(CONTROL, CTRL_CMD_GETFAMILY);
        request.string(CTRL_ATTR_FAMILY_NAME, "nl80211");
        let mut id = |payload: &[u8]| find(payload, CTRL_ATTR_FAMILY_ID)?.u16();
        match socket.get_one("get family", "nl80211", request, &mut id) {
            Ok(family) => Ok(family.map(|family| Self { socket, family })),
            Err(e) if e.is(errno::ENOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The radio of the device with index `device`, if it is a wireless one.
    pub(super) fn radio(&mut self, device: u32, name: &str) -> Result<Option<u32>> {
        let mut request = begin(self.family, CMD_GET_INTERFACE);
        request.u32(ATTR_IFINDEX, device);
        let mut radio = |payload: &[u8]| find(payload, ATTR_WIPHY)?.u32();
        match self.socket.get_one("get radio", name, request, &mut radio) {
            // The family's word for a device of another kind.
            Err(e) if e.is(errno::EINVAL) || e.is(errno::EOPNOTSUPP) => Ok(None),
            other => other,
        }
    }

    /// Moves a radio with all its devices to another network namespace.
    pub(super) fn move_radio(&mut self, radio: u32, name: &str, to: BorrowedFd<'_>) -> Result<()> {
        let mut request = begin(self.family, CMD_SET_WIPHY_NETNS);
        request.u32(ATTR_WIPHY, radio).attr(ATTR_NETNS_FD, &to.as_raw_fd().to_ne_bytes());
        self.socket.act("move radio", name, request)
    }
}

fn begin(family: u16, command: u8) -> Request {
    let mut request = Request::new(family, 0);
    request.fixed(&[command, 1, 0, 0]);
    request
}

/// The attribute of type `kind`.
fn find(payload: &[u8], kind: u16) -> std::result::Result<Attr<'_>, Malformed> {
    for attr in attrs_after(payload, HEADER)? {
        let attr = attr?;
        if attr.kind == kind {
            return Ok(attr);
        }
    }
    Err(Malformed("reply without what was asked for"))
}
