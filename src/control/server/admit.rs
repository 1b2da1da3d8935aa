//! Who may ask a monitor: root and the user it runs as, but nobody from inside a container.
//!
//! The socket is abstract, so whoever shares the monitor's network namespace can connect to it,
//! and the root of a privileged container with `lxc.net.0.type = none` is uid 0 there (the lesson
//! of CVE-2020-15257). Therefore a peer must also be in the monitor's own pid and cgroup namespaces,
//! and not in the container's cgroup in case the container shares those.

use super::Container;
use crate::sys::unix::{self, Creds};
use crate::sys::{errno, event, fd, procfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Decides about peers. Learns the monitor's own pid namespace when first asked, which is after
/// the monitor has been forked.
#[derive(Debug, Default)]
pub struct Gate {
    own: Option<Own>,
}

#[derive(Clone, Copy, Debug)]
struct Own {
    creds: Creds,
    pid_ns: (u64, u64),
    /// `None` on a kernel without them.
    cgroup_ns: Option<(u64, u64)>,
}

impl Gate {
    /// May the process at the other end, `peer`, ask anything?
    pub(super) fn admits_peer(
        &mut self,
        sock: BorrowedFd<'_>,
        peer: Creds,
        container: &dyn Container,
    ) -> bool {
        // Pins the peer: a pid that is reused between here and there belongs to somebody else.
        let pidfd = match unix::peer_pidfd(sock) {
            Ok(pidfd) => pidfd,
            Err(e) => {
                log::debug!("peer {}: {e}", peer.pid);
                return false;
            }
        };
        self.admits(peer, pidfd, container)
    }

    /// May the sender of a message ask, who need not be the process that connected?
    pub(super) fn admits_sender(
        &mut self,
        sender: Option<Creds>,
        peer: Creds,
        container: &dyn Container,
    ) -> bool {
        match sender {
            // The kernel adds credentials to every message, so there are always some.
            None => false,
            Some(sender) if sender == peer => true,
            Some(sender) => self.admits(sender, None, container),
        }
    }

    fn admits(&mut self, peer: Creds, pidfd: Option<OwnedFd>, container: &dyn Container) -> bool {
        let Some(own) = self.own() else { return false };
        let allowed = ids_allowed(peer, own.creds)
            && !inside(peer, own, container)
            && pidfd.is_none_or(|fd| !event::pidfd_ended(fd.as_fd()).unwrap_or(true));
        if !allowed {
            log::debug!("peer {} (uid {}) may not control the container", peer.pid, peer.uid);
        }
        allowed
    }

    fn own(&mut self) -> Option<Own> {
        if self.own.is_none() {
            let pid_ns = unix::namespace_of(None, "pid").ok()?;
            let cgroup_ns = match unix::namespace_of(None, "cgroup") {
                Ok(ns) => Some(ns),
                // FALLBACK(<4.6), or built without: there are none to tell apart.
                Err(e) if e.is(errno::ENOENT) => None,
                Err(_) => return None,
            };
            self.own = Some(Own { creds: Creds::own(), pid_ns, cgroup_ns });
        }
        self.own
    }
}

fn ids_allowed(peer: Creds, own: Creds) -> bool {
    peer.uid == 0 || (peer.uid == own.uid && peer.gid == own.gid)
}

/// True unless the peer is certainly outside every container.
fn inside(peer: Creds, own: Own, container: &dyn Container) -> bool {
    // In another pid namespace that is not below ours: it might be a container's all the same.
    if peer.pid <= 0 {
        return true;
    }
    let of_peer = |kind| unix::namespace_of(Some(peer.pid), kind);
    let cgroup_ns = own.cgroup_ns.map(|_| of_peer("cgroup")).transpose();
    match of_peer("pid").and_then(|pid_ns| Ok((pid_ns, cgroup_ns?))) {
        Ok(found) => found != (own.pid_ns, own.cgroup_ns) || container.holds(peer.pid),
        // A user's monitor may not look at root's processes. Real root is not in a user's
        // container: no user can map it.
        Err(e) if e.is(errno::EACCES) => {
            peer.uid != 0 || own.creds.uid == 0 && !from_above(peer.pid)
        }
        Err(_) => true,
    }
}

/// True for a process of the host's that has come into our user namespace (lxc-ls --nesting): our
/// root may not look at it, and it is in our pid namespace, and in a cgroup above the root of our
/// cgroup namespace. To be one or the other, a program that our root may not read would do, or a
/// shared pid namespace; but out of the cgroup namespace only the host can put a process, for the
/// cgroups above are not ours to write.
fn from_above(pid: i32) -> bool {
    let read = |file: &str| fd::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    is_from_above(&read("status"), &read("cgroup"))
}

fn is_from_above(status: &str, cgroup: &str) -> bool {
    // One number for each pid namespace from ours on down.
    let numbers = procfs::status_field(status, "NSpid").unwrap_or_default();
    let above = |line: &str| {
        let path = line.splitn(3, ':').nth(2);
        path.is_some_and(|path| path == "/.." || path.starts_with("/../"))
    };
    numbers.split_whitespace().count() == 1 && cgroup.lines().any(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_puts_a_process_above() {
        let (ours, below) = ("Name:\tx\nNSpid:\t12\n", "NSpid:\t12\t1\n");
        let host = "9:name=systemd:/../../user.slice\n0::/..\n";
        assert!(is_from_above(ours, host) && is_from_above(ours, "0::/../lxc.payload.x\n"));
        assert!(!is_from_above(below, host) && !is_from_above("", host));
        for inside in ["", "0::/\n", "0::/..x\n", "9:cpu:/a/..\n0::/a/../..\n", "1:a:/x:/..\n"] {
            assert!(!is_from_above(ours, inside), "{inside}");
        }
    }

    #[test]
    fn root_and_same_user_only() {
        let own = Creds { pid: 1, uid: 1000, gid: 1000 };
        let who = |uid, gid| ids_allowed(Creds { pid: 2, uid, gid }, own);
        assert!(who(0, 0) && who(0, 7) && who(1000, 1000));
        assert!(!who(1000, 7) && !who(1001, 1000) && !who(65534, 65534));
    }
}
