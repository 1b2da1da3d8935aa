//! A small process that brings a host's device home when the monitor is killed.
//!
//! It holds the container's network namespace and waits at a socket. A byte says that the monitor
//! has done it; its end without one says that there is no monitor any more.

use crate::net::phys::Home;
use crate::sys::process::{self, Fork, Pid};
use crate::sys::{Result, SysError, errno, fd, signal, title, unix};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The monitor's end.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: Pid,
    line: OwnedFd,
}

impl Keeper {
    /// Starts the process for one device.
    pub(super) fn start(
        container: &str,
        home: &Home,
        netns: &OwnedFd,
        host_ns: BorrowedFd<'_>,
    ) -> Result<Self> {
        let (reader, writer) = unix::pair(unix::Kind::Stream)?;
        match process::fork()? {
            Fork::Parent(pid) => Ok(Self { pid, line: writer }),
            Fork::Child => {
                let keep = [netns.as_raw_fd(), host_ns.as_raw_fd(), reader.as_raw_fd()];
                let code = match watch(container, home, netns, host_ns, &reader, &keep) {
                    Ok(()) => 0,
                    Err(_) => 1,
                };
                process::exit_now(code);
            }
        }
    }

    /// Tells the process that there is nothing left to do, and waits until it has ended.
    pub(super) fn dismiss(self) {
        // If it is gone already there is nobody to tell.
        let _ = unix::send(self.line.as_fd(), b"x", &[], None, unix::Block::Wait);
        drop(self.line);
        let _ = process::wait(self.pid);
    }
}

/// # In the child
/// Everything but `keep` is closed under the objects that own it, so the caller must not return
/// into code that drops them.
fn watch(
    container: &str,
    home: &Home,
    netns: &OwnedFd,
    host_ns: BorrowedFd<'_>,
    reader: &OwnedFd,
    keep: &[i32],
) -> Result<()> {
    fd::seal_above(3, keep, fd::Seal::Close)?;
    let null = fd::open("/dev/null", fd::OpenFlags::RDWR, 0)?;
    for target in 0..3 {
        fd::dup_to_stdio(null.as_fd(), target)?;
    }
    drop(null);
    // Away from the terminal's and the service manager's signals to the monitor.
    let _ = process::setsid();
    let _ = signal::block_all();
    let _ = process::chdir(std::path::Path::new("/"));
    let _ = title::set_title(&format!("[lxc keeper] {container} {}", home.name));
    match fd::read_fd(reader.as_fd(), 1) {
        Ok(bytes) if bytes.is_empty() => {}
        Ok(_) => return Ok(()),
        Err(e) => return Err(e),
    }
    match home.bring_from(netns, host_ns).is_empty() {
        true => Ok(()),
        false => Err(SysError::new("keeper", &home.name, errno::EIO)),
    }
}
