//! Unix sockets: abstract stream sockets of the command protocol, sequenced-packet pairs between
//! a parent and its child, and the descriptors and credentials that travel with a message.
//!
//! Ancillary data is parsed by hand from a buffer that can hold whatever the kernel sends, so
//! nothing is cut off silently: surplus descriptors are closed, and a message whose descriptors
//! could not be installed (a full descriptor table) says so. Start reading at [`recv`].

#![allow(unsafe_code, reason = "sendmsg, recvmsg and the credential options need raw structures")]

use super::error::{At, Result, SysError};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most descriptors one message may carry here; the kernel's own bound is 253.
pub const MAX_FDS: usize = 64;

/// What the kernel lets through in one message: SCM_MAX_FD descriptors and credentials.
const CONTROL_BYTES: usize = 1152;

/// Process, user and group of a peer, seen from our own namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creds {
    /// Process id; 0 if the process is not visible in our pid namespace.
    pub pid: i32,
    /// User id; the overflow id if it is not mapped in our user namespace.
    pub uid: u32,
    /// Group id, likewise.
    pub gid: u32,
}

impl Creds {
    /// What this process sends with SCM_CREDENTIALS: its pid and effective ids.
    pub fn own() -> Self {
        Self {
            pid: rustix::process::getpid().as_raw_pid(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.uid.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.gid.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        Some(Self {
            pid: i32::from_ne_bytes(word(0)?),
            uid: u32::from_ne_bytes(word(4)?),
            gid: u32::from_ne_bytes(word(8)?),
        })
    }
}

/// Whether a call may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// As the socket's own mode says.
    Wait,
    /// EAGAIN instead of sleeping, whatever the socket's mode.
    DontWait,
}

/// One received message, or a piece of a stream.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes put into the buffer; 0 is the end of the connection.
    pub len: usize,
    /// Descriptors that came along, close-on-exec, at most as many as were asked for.
    pub fds: Vec<OwnedFd>,
    /// Who sent it, when SO_PASSCRED is on.
    pub creds: Option<Creds>,
    /// The message was longer than the buffer (packet sockets).
    pub truncated: bool,
    /// Descriptors were sent that could not be installed, or were more than asked for.
    pub fds_lost: bool,
}

/// A listening stream socket on the abstract name (the bytes after the leading NUL), non-blocking,
/// that receives its clients' credentials.
///
/// EADDRINUSE means that somebody else serves the name.
pub fn listen_abstract(name: &[u8], backlog: i32) -> Result<OwnedFd> {
    let fd = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    // Before bind: a client's first message must not arrive without credentials.
    sockopt::set_socket_passcred(&fd, true).at("setsockopt", || "SO_PASSCRED")?;
    rustix::net::bind(&fd, &address(name)?).at("bind", || shown(name))?;
    rustix::net::listen(&fd, backlog).at("listen", || shown(name))?;
    Ok(fd)
}

/// Connects to an abstract name; EAGAIN if its backlog is still full at the deadline.
///
/// The socket is non-blocking: nothing that is done with it later can hang.
pub fn connect_abstract(name: &[u8], deadline: Option<Instant>) -> Result<OwnedFd> {
    let fd = stream(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let address = address(name)?;
    loop {
        match rustix::net::connect(&fd, &address) {
            Err(rustix::io::Errno::INTR) => {}
            // A full backlog cannot be polled for.
            Err(rustix::io::Errno::AGAIN) if deadline.is_none_or(|d| Instant::now() < d) => {
                super::event::sleep(Duration::from_millis(5));
            }
            done => return done.at("connect", || shown(name)).map(|()| fd),
        }
    }
}

/// True if somebody listens on an abstract name. Connects to find out.
pub fn is_listening(name: &[u8]) -> bool {
    match connect_abstract(name, Some(Instant::now())) {
        Ok(_) => true,
        // So many others wait that there is no room.
        Err(e) => e.is(libc::EAGAIN),
    }
}

/// Connects to a socket file, of stream type.
pub fn connect_path(kind: Kind, path: &std::path::Path) -> Result<OwnedFd> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, kind.raw(), SocketFlags::CLOEXEC, None)
        .at("socket", || "AF_UNIX")?;
    let address = SocketAddrUnix::new(path).at("connect", || path.display())?;
    rustix::net::connect(&fd, &address).at("connect", || path.display())?;
    Ok(fd)
}

/// A datagram socket that is bound to a new file which everybody who sees it may send to.
pub fn bind_datagram(path: &std::path::Path) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .at("socket", || "AF_UNIX")?;
    let address = SocketAddrUnix::new(path).at("bind", || path.display())?;
    rustix::net::bind(&fd, &address).at("bind", || path.display())?;
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o666))
        .at("chmod", || path.display())?;
    Ok(fd)
}

/// Whoever sends to this socket from now on gets EPIPE, also where copies of the descriptor are
/// left open.
pub fn stop_receiving(sock: BorrowedFd<'_>) -> Result<()> {
    rustix::net::shutdown(sock, rustix::net::Shutdown::Read).at("shutdown", || "SHUT_RD")
}

/// Stream or sequenced packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SOCK_STREAM.
    Stream,
    /// SOCK_SEQPACKET.
    SeqPacket,
}

impl Kind {
    fn raw(self) -> SocketType {
        match self {
            Self::Stream => SocketType::STREAM,
            Self::SeqPacket => SocketType::SEQPACKET,
        }
    }
}

/// The next waiting client, non-blocking and close-on-exec; `None` if there is none (any more).
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    match rustix::net::accept_with(listener, flags) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::AGAIN | Errno::CONNABORTED | Errno::INTR) => Ok(None),
        Err(e) => Err(SysError::rustix("accept4", "", e)),
    }
}

/// A connected pair of blocking, close-on-exec sockets.
pub fn pair(kind: Kind) -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, kind.raw(), SocketFlags::CLOEXEC, None)
        .at("socketpair", || "AF_UNIX")
}

/// Makes every message that arrives carry its sender's credentials.
pub fn set_passcred(sock: BorrowedFd<'_>) -> Result<()> {
    sockopt::set_socket_passcred(sock, true).at("setsockopt", || "SO_PASSCRED")
}

/// Limits how long a send may sleep; EAGAIN afterwards. `None` is for ever.
pub fn set_send_timeout(sock: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<()> {
    sockopt::set_socket_timeout(sock, sockopt::Timeout::Send, timeout)
        .at("setsockopt", || "SO_SNDTIMEO")
}

/// Limits how long a receive may sleep; EAGAIN afterwards. `None` is for ever.
pub fn set_recv_timeout(sock: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<()> {
    sockopt::set_socket_timeout(sock, sockopt::Timeout::Recv, timeout)
        .at("setsockopt", || "SO_RCVTIMEO")
}

/// Who connected (SO_PEERCRED): the credentials at the time of connect or socketpair.
pub fn peer_creds(sock: BorrowedFd<'_>) -> Result<Creds> {
    // rustix's own wrapper has a non-zero pid type, and a peer outside our pid namespace has 0.
    let mut raw = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    getsockopt(sock, libc::SO_PEERCRED, "SO_PEERCRED", &mut raw)?;
    Ok(Creds { pid: raw.pid, uid: raw.uid, gid: raw.gid })
}

/// A pidfd of the process that connected, pinned at that moment; `None` if this kernel cannot
/// tell or the process is gone.
pub fn peer_pidfd(sock: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    const SO_PEERPIDFD: i32 = 77;
    let mut raw: i32 = -1;
    match getsockopt(sock, SO_PEERPIDFD, "SO_PEERPIDFD", &mut raw) {
        // SAFETY: the kernel has just installed this descriptor for us; nobody else owns it.
        Ok(()) if raw >= 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) })),
        Ok(()) => Ok(None),
        // EINVAL, ESRCH: the peer was reaped already. ENODATA: no peer.
        Err(e) if e.is(libc::EINVAL) || e.is(libc::ESRCH) || e.is(libc::ENODATA) => Ok(None),
        // FALLBACK(<6.5): open it by number; the number could only have been reused between the
        // peer's connect and our accept.
        Err(e) if e.is(libc::ENOPROTOOPT) => {
            let pid = rustix::process::Pid::from_raw(peer_creds(sock)?.pid);
            let flags = rustix::process::PidfdFlags::empty();
            Ok(pid.and_then(|pid| rustix::process::pidfd_open(pid, flags).ok()))
        }
        Err(e) => Err(e),
    }
}

/// Device and inode of a namespace (`pid`, `cgroup`, …) of a process, of our own for `None`: equal
/// for processes that share it. EACCES if this user may not look at the process, ENOENT if the
/// kernel has no such namespaces or the process is gone.
pub fn namespace_of(pid: Option<i32>, kind: &str) -> Result<(u64, u64)> {
    let path = match pid {
        Some(pid) => format!("/proc/{pid}/ns/{kind}"),
        None => format!("/proc/self/ns/{kind}"),
    };
    let stat = rustix::fs::stat(&path).at("stat", || path)?;
    #[allow(clippy::useless_conversion, reason = "the fields are 32 bits wide on some targets")]
    Ok((u64::from(stat.st_dev), u64::from(stat.st_ino)))
}

/// Sends `bytes` with descriptors and, if given, credentials; returns how many bytes went out.
///
/// A broken connection is EPIPE, never SIGPIPE. More than [`MAX_FDS`] descriptors are EINVAL.
///
/// # In the child
/// Allowed: no allocation, no locks.
pub fn send(
    sock: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    creds: Option<Creds>,
    block: Block,
) -> Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(SysError::new("sendmsg", "SCM_RIGHTS", libc::EINVAL));
    }
    let mut control = Control([0; CONTROL_BYTES]);
    let mut used = 0;
    if !fds.is_empty() {
        let mut raw = [0u8; MAX_FDS * 4];
        for (slot, fd) in raw.chunks_exact_mut(4).zip(fds) {
            slot.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        }
        used = control.push(used, libc::SCM_RIGHTS, raw.get(..fds.len() * 4).unwrap_or_default());
    }
    if let Some(creds) = creds {
        used = control.push(used, libc::SCM_CREDENTIALS, &creds.to_bytes());
    }
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is a valid, empty one.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    if used > 0 {
        msg.msg_control = control.0.as_mut_ptr().cast();
        msg.msg_controllen = used as _;
    }
    let flags = libc::MSG_NOSIGNAL | block.raw();
    loop {
        // SAFETY: msg points at iov, bytes and control, which all outlive the call; sendmsg only
        // reads them.
        let n = unsafe { libc::sendmsg(sock.as_raw_fd(), &raw const msg, flags) };
        match usize::try_from(n) {
            Ok(n) => return Ok(n),
            Err(_) => {
                let e = SysError::last("sendmsg", "");
                if !e.is(libc::EINTR) {
                    return Err(e);
                }
            }
        }
    }
}

/// Receives one message (or what a stream has) with at most `max_fds` descriptors.
///
/// # In the child
/// Allowed; allocates only when descriptors arrive.
pub fn recv(
    sock: BorrowedFd<'_>,
    buf: &mut [u8],
    max_fds: usize,
    block: Block,
) -> Result<Received> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: an all-zero msghdr is a valid, empty one.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    msg.msg_iov = &raw mut iov;
    msg.msg_iovlen = 1;
    let flags = libc::MSG_CMSG_CLOEXEC | block.raw();
    let mut reset = false;
    let len = loop {
        msg.msg_control = control.0.as_mut_ptr().cast();
        msg.msg_controllen = CONTROL_BYTES as _;
        // SAFETY: msg points at iov, buf and control, which all outlive the call and are not
        // used meanwhile; their lengths are those of the buffers.
        let n = unsafe { libc::recvmsg(sock.as_raw_fd(), &raw mut msg, flags) };
        match usize::try_from(n) {
            Ok(n) => break n,
            Err(_) => {
                let e = SysError::last("recvmsg", "");
                // A peer that went without reading all is told first, and once; what it had sent
                // before comes after.
                let retry = e.is(libc::EINTR) || e.is(libc::ECONNRESET) && !reset;
                reset |= e.is(libc::ECONNRESET);
                if !retry {
                    return Err(e);
                }
            }
        }
    };
    let used = (msg.msg_controllen as usize).min(CONTROL_BYTES);
    let mut out = Received {
        len: len.min(buf.len()),
        truncated: msg.msg_flags & libc::MSG_TRUNC != 0,
        fds_lost: msg.msg_flags & libc::MSG_CTRUNC != 0,
        ..Received::default()
    };
    for (kind, data) in Messages(control.0.get(..used).unwrap_or_default()) {
        match kind {
            libc::SCM_RIGHTS => {
                for raw in data.chunks_exact(4) {
                    let raw = i32::from_ne_bytes([raw[0], raw[1], raw[2], raw[3]]);
                    if raw < 0 {
                        continue;
                    }
                    // SAFETY: recvmsg has installed this descriptor for us just now; taking it
                    // here exactly once also closes it when it is one too many.
                    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
                    match out.fds.len() < max_fds {
                        true => out.fds.push(fd),
                        false => out.fds_lost = true,
                    }
                }
            }
            libc::SCM_CREDENTIALS => out.creds = Creds::from_bytes(data),
            _ => {}
        }
    }
    Ok(out)
}

/// True if `fd` is a pipe or fifo.
pub fn is_fifo(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).at("fstat", || "")?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo)
}

impl Block {
    fn raw(self) -> i32 {
        match self {
            Self::Wait => 0,
            Self::DontWait => libc::MSG_DONTWAIT,
        }
    }
}

/// A control buffer aligned as the kernel's `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Size of `cmsghdr`: a length of the word size, level and type.
const CMSG_HEADER: usize = align(size_of::<usize>() + 8);

const fn align(n: usize) -> usize {
    (n + size_of::<usize>() - 1) & !(size_of::<usize>() - 1)
}

impl Control {
    /// Writes one SOL_SOCKET message at `at`, returns the offset behind it. The callers' data is
    /// bounded by constants far below the buffer's size.
    fn push(&mut self, at: usize, kind: i32, data: &[u8]) -> usize {
        let len = CMSG_HEADER + data.len();
        let end = at + align(len);
        if let Some(space) = self.0.get_mut(at..end) {
            space[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            space[size_of::<usize>()..][..4].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
            space[size_of::<usize>() + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
            space[CMSG_HEADER..len].copy_from_slice(data);
        }
        end
    }
}

/// Walks the SOL_SOCKET messages of a control buffer: type and data. Stops at what does not fit.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (i32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let word = size_of::<usize>();
            let len = usize::from_ne_bytes(self.0.get(..word)?.try_into().ok()?);
            let level = i32::from_ne_bytes(self.0.get(word..word + 4)?.try_into().ok()?);
            let kind = i32::from_ne_bytes(self.0.get(word + 4..word + 8)?.try_into().ok()?);
            let data = self.0.get(CMSG_HEADER..len)?;
            self.0 = self.0.get(len.checked_next_multiple_of(word)?..).unwrap_or_default();
            if level == libc::SOL_SOCKET {
                return Some((kind, data));
            }
        }
    }
}

fn stream(flags: SocketFlags) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .at("socket", || "AF_UNIX")
}

fn address(name: &[u8]) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(name).at("bind", || shown(name))
}

/// `@name`, as /proc/net/unix shows it.
fn shown(name: &[u8]) -> String {
    format!("@{}", String::from_utf8_lossy(name))
}

fn getsockopt<T>(
    sock: BorrowedFd<'_>,
    option: i32,
    name: &'static str,
    value: &mut T,
) -> Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: value is writable for len bytes, and every T used here (ucred, i32) is plain data
    // for which any bytes are valid.
    let rc = unsafe {
        libc::getsockopt(
            sock.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut len,
        )
    };
    if rc < 0 { Err(SysError::last("getsockopt", name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_round_trip() {
        let mut c = Control([0; CONTROL_BYTES]);
        let creds = Creds { pid: 7, uid: 8, gid: 9 };
        let mut used = c.push(0, libc::SCM_RIGHTS, &5i32.to_ne_bytes());
        used = c.push(used, libc::SCM_CREDENTIALS, &creds.to_bytes());
        let all: Vec<_> = Messages(&c.0[..used]).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], (libc::SCM_RIGHTS, &5i32.to_ne_bytes()[..]));
        assert_eq!(Creds::from_bytes(all[1].1), Some(creds));
    }

    #[test]
    fn hostile_control_lengths_end_the_walk() {
        for len in [0usize, 1, 15, usize::MAX, usize::MAX - 7, 4096] {
            let mut c = Control([0; CONTROL_BYTES]);
            let used = c.push(0, libc::SCM_RIGHTS, &[0; 4]);
            c.0[..size_of::<usize>()].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(Messages(&c.0[..used]).count(), 0, "{len}");
        }
    }

    #[test]
    fn descriptors_and_credentials_travel() {
        let (a, b) = pair(Kind::SeqPacket).unwrap();
        set_passcred(b.as_fd()).unwrap();
        let fds = [a.as_fd(), b.as_fd(), a.as_fd()];
        send(a.as_fd(), b"hello", &fds, None, Block::Wait).unwrap();
        let mut buf = [0; 3];
        let got = recv(b.as_fd(), &mut buf, 2, Block::Wait).unwrap();
        assert_eq!((got.len, got.fds.len()), (3, 2));
        assert!(got.truncated && got.fds_lost);
        let creds = got.creds.unwrap();
        assert_eq!(creds.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(peer_creds(b.as_fd()).unwrap(), Creds::own());
        // One of the received descriptors is a second `a`.
        drop((a, got));
        assert_eq!(recv(b.as_fd(), &mut buf, 0, Block::Wait).unwrap().len, 0);
    }

    #[test]
    fn abstract_names_count_every_byte() {
        let name = format!("lxcbox-test-{}/command\0", std::process::id());
        let listener = listen_abstract(name.as_bytes(), 4).unwrap();
        assert!(listen_abstract(name.as_bytes(), 4).unwrap_err().is(libc::EADDRINUSE));
        let shorter = &name.as_bytes()[..name.len() - 1];
        assert!(connect_abstract(shorter, None).unwrap_err().is(libc::ECONNREFUSED));
        assert!(accept(listener.as_fd()).unwrap().is_none());
        let client = connect_abstract(name.as_bytes(), Some(Instant::now())).unwrap();
        let server = accept(listener.as_fd()).unwrap().unwrap();
        send(client.as_fd(), b"x", &[], Some(Creds::own()), Block::Wait).unwrap();
        let mut buf = [0; 8];
        let got = recv(server.as_fd(), &mut buf, 0, Block::DontWait).unwrap();
        assert_eq!(got.creds, Some(Creds::own()));
        let e = recv(server.as_fd(), &mut buf, 0, Block::DontWait).unwrap_err();
        assert!(e.is(libc::EAGAIN));
        assert!(peer_pidfd(server.as_fd()).unwrap().is_some());
    }
}
