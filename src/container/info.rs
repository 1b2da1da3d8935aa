//! What tools tell of a container: state, init's pid, addresses, usage. Everything is asked for:
//! the monitor by its command socket, the kernel by /proc, netlink and the cgroup files; there is
//! no state file. No fork, and a second at most for a monitor that does not answer.

use super::Container;
use crate::cgroup::stat::{self, BlockIo, Cpu, Memory};
use crate::cgroup::{Base, Hierarchy, Layout};
use crate::control::client::{Client, ClientError, Status};
use crate::net::addr::{self, Reader};
use crate::net::rtnl::Rtnl;
use crate::sys::{SysError, cred, procfs};
use crate::util::sentence::sentence;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use crate::control::state::State;

/// What a running container uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Block devices.
    pub block_io: BlockIo,
}

/// Traffic of one interface, as the container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUse {
    /// The interface's name on the host.
    pub name: String,
    /// Bytes that the container sent.
    pub tx: u64,
    /// Bytes that it received.
    pub rx: u64,
}

impl Container {
    /// The way to its monitor.
    pub fn client(&self) -> Client {
        Client::new(self.lxcpath(), self.name())
    }
}

/// The state and, while there is one, init's pid. No monitor is [`State::Stopped`].
pub fn status(client: &Client) -> Result<Status, ClientError> {
    let mut deadline = None;
    loop {
        match client.status() {
            // It hung up on us: it is ending, and gone in a moment. From then on, for to get there
            // may have taken longer on a machine with much to do.
            Err(ClientError::NoReply { .. })
                if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + ENDING) =>
            {
                crate::sys::event::sleep(RETRY);
            }
            answer => return answer,
        }
    }
}

/// The state alone.
pub fn state(client: &Client) -> Result<State, ClientError> {
    status(client).map(|status| status.state)
}

/// How long a monitor may take from closing its connections to its end.
const ENDING: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(10);

/// The name and path behind a hashed command socket.
pub fn identify(address: &str) -> Option<(PathBuf, String)> {
    let client = Client::shown(address);
    Some((client.lxcpath().ok()?, client.name().ok()?))
}

/// The names of the active containers of a path, of which these are `defined`.
pub fn active(lxcpath: &Path, defined: &[String]) -> Result<Vec<String>, SysError> {
    super::list::active(lxcpath, defined, identify)
}

/// Looks up figures of containers; keeps what is the same for all of them.
#[derive(Default)]
pub struct Meter {
    layout: Option<Layout>,
}

impl Meter {
    /// The host's cgroup layout; `None` on a host without one that we can read.
    fn layout(&mut self) -> Option<&Layout> {
        if self.layout.is_none() {
            let base = if cred::euid() == 0 { Base::Init } else { Base::Own };
            self.layout =
                Layout::probe(base, &[]).inspect_err(|e| log::debug!("{}", sentence(e))).ok();
        }
        self.layout.as_ref()
    }

    /// Processor, memory and block devices.
    pub fn usage(&mut self, client: &Client) -> Usage {
        let Some(layout) = self.layout() else { return Usage::default() };
        let mut find = |hierarchy: &Hierarchy| locate(layout, hierarchy, client);
        Usage {
            cpu: stat::cpu(layout, &mut find),
            memory: stat::memory(layout, &mut find),
            block_io: stat::block_io(layout, &mut find),
        }
    }

    /// Memory alone, for lists.
    pub fn memory(&mut self, client: &Client) -> Memory {
        let Some(layout) = self.layout() else { return Memory::default() };
        stat::memory(layout, &mut |hierarchy| locate(layout, hierarchy, client))
    }
}

/// The directory of a container's limit cgroup in a hierarchy.
pub(super) fn locate(layout: &Layout, hierarchy: &Hierarchy, client: &Client) -> Option<PathBuf> {
    let reply = client.limit_cgroup_path(hierarchy.query_name()).ok()??;
    layout.locate(hierarchy.query_name().unwrap_or("unified"), &reply)
}

/// The network namespace of a process.
pub fn network_of(pid: i32) -> Option<OwnedFd> {
    procfs::open_namespace(pid, "net").inspect_err(|e| log::debug!("{e}")).ok()
}

/// Interfaces and addresses of many containers in turn. While it is at work the process is in
/// their namespaces: ask monitors before, for their sockets are in ours.
pub struct Networks {
    reader: Reader,
}

impl Networks {
    /// Remembers the way home.
    pub fn new() -> Option<Self> {
        let reader = Reader::new().inspect_err(|e| log::debug!("{e}")).ok()?;
        Some(Self { reader })
    }

    /// Addresses other than the loopback's, IPv4 first, of IPv6 the global ones.
    pub fn addresses(&mut self, netns: &OwnedFd) -> Vec<IpAddr> {
        self.reader.shown(netns.as_fd()).inspect_err(|e| log::debug!("{e}")).unwrap_or_default()
    }

    /// Names of the interfaces.
    pub fn interfaces(&mut self, netns: &OwnedFd) -> Vec<String> {
        let names = self.reader.interfaces(netns.as_fd());
        names.inspect_err(|e| log::debug!("{e}")).unwrap_or_default()
    }

    /// Goes home.
    ///
    /// # Errors
    /// The process is still in a container's namespace and must end.
    pub fn finish(self) -> Result<(), crate::net::rtnl::RtnlError> {
        self.reader.finish()
    }
}

/// Addresses of one container.
pub fn addresses(pid: i32) -> Vec<IpAddr> {
    let Some(netns) = network_of(pid) else { return Vec::new() };
    addr::shown_in(netns.as_fd()).inspect_err(|e| log::debug!("{e}")).unwrap_or_default()
}

/// Traffic of the container's interfaces, by their host sides. As LXC's tool it asks the monitor
/// for networks 0, 1, … until one has no type.
pub fn links(client: &Client) -> Vec<LinkUse> {
    let Ok(mut host) = Rtnl::open() else { return Vec::new() };
    let mut links = Vec::new();
    for n in 0..1024 {
        let item = |key: &str| {
            let value = client.config_item(&format!("lxc.net.{n}.{key}")).ok().flatten();
            value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let Some(kind) = item("type") else { break };
        let name = if kind == "veth" { item("veth.pair") } else { item("link") };
        let Some(name) = name else { continue };
        if let Ok(Some(counters)) = addr::counters(&mut host, &name) {
            // What the host's side received is what the container sent.
            links.push(LinkUse { name, tx: counters.rx_bytes, rx: counters.tx_bytes });
        }
    }
    links
}
