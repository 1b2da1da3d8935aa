//! The veth of an ordinary user's container: a program that is installed setuid root makes it, as
//! far as /etc/lxc/lxc-usernet allows (ours of `usernic`, or LXC's: they are called and answer
//! alike). The container's end then belongs to the user's own namespace, and the rest is done here.

use crate::config::path;
use crate::net::error::{Blame, Fault, blame, refused};
use crate::net::plan::{Device, Nic};
use crate::net::rtnl::{Change, Rtnl, Target};
use crate::net::undo::Undo;
use crate::net::veth::VethPlan;
use crate::net::{Entry, Owner, Sides};
use crate::sys::process::{Wait, own_pid};
use crate::sys::spawn::run_program;
use crate::sys::{SysError, cred, fd};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// What the helper is told for no bridge.
pub const NO_BRIDGE: &str = "none";

/// True if this process needs the helper.
pub(super) fn is_ordinary() -> bool {
    cred::euid() != 0
}

/// The helper of the host whose files are below `root`: ours, then where distributions have LXC's.
pub fn helper_below(root: &Path) -> Option<PathBuf> {
    let places = [
        path::LIBEXECDIR,
        "/usr/local/libexec",
        "/usr/libexec",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib/arm-linux-gnueabihf",
        "/usr/lib",
    ];
    let at = |dir: &&str| root.join(dir.trim_start_matches('/')).join("lxc/lxc-user-nic");
    places.iter().map(at).find(|path| path.exists())
}

fn helper() -> Option<String> {
    helper_below(Path::new("/")).map(|path| path.to_string_lossy().into_owned())
}

/// Finds what only root can have, and a bridge that is missing.
pub(super) fn check(nic: &Nic, host: &mut Rtnl) -> Result<(), Blame> {
    let only_root = |key, what| Err(blame(key)(Fault::NotForUsers { what }));
    if nic.l2proxy {
        return only_root("l2proxy", "l2proxy");
    }
    let Device::Veth(plan) = &nic.device else {
        return only_root("type", "an interface of this type, only veth, empty and none");
    };
    let unset = VethPlan::default();
    if plan.router || plan.routes != unset.routes {
        return only_root("veth.mode", "routes on the host");
    }
    if plan.pair.is_some() {
        return only_root("veth.pair", "a chosen name on the host");
    }
    if *plan != unset {
        return only_root("veth.vlan.id", "VLANs or queues of its own");
    }
    if helper().is_none() {
        return Err(blame("type")(Fault::NoUserNic));
    }
    if let Some(name) = &nic.link {
        let found = host.link(Target::Name(name)).map_err(refused("link", "looking for it"))?;
        found.ok_or_else(|| blame("link")(Fault::NoBridge { name: name.clone() }))?;
    }
    Ok(())
}

/// What the helper has made and can take back: only a port of Open vSwitch outlives its device.
#[derive(Debug)]
pub(super) struct Port {
    lxcpath: String,
    name: String,
    bridge: String,
    port: String,
}

/// Runs the helper; gives back the last line of what it printed.
fn run(words: &[&str]) -> Result<String, Fault> {
    let program = helper().ok_or(Fault::NoUserNic)?;
    let mut argv = vec![program.as_str()];
    argv.extend_from_slice(words);
    let step = "running lxc-user-nic";
    let output = run_program(&argv, &[], &[]).map_err(|cause| Fault::System { step, cause })?;
    let text = String::from_utf8_lossy(&output.text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line = line.trim().to_owned();
    match output.status {
        Wait::Exited(0) => Ok(line),
        _ => Err(Fault::UserNic { program, line }),
    }
}

/// Has the pair made, and sets up the container's end.
pub(super) fn create(
    nic: &Nic,
    sides: &mut Sides,
    netns: BorrowedFd<'_>,
    owner: &Owner<'_>,
    entry: &mut Entry,
) -> Result<(), Blame> {
    let bridge = nic.link.as_deref().unwrap_or(NO_BRIDGE);
    let lxcpath = owner.lxcpath.to_string_lossy().into_owned();
    let init = owner.init.to_string();
    let line = run(&["create", &lxcpath, owner.name, &init, "veth", bridge, &nic.name])
        .map_err(blame("link"))?;
    let parts: Vec<&str> = line.split(':').collect();
    let [inside, index, host, _] = parts[..] else {
        let program = "lxc-user-nic".to_owned();
        return Err(blame("link")(Fault::UserNic { program, line }));
    };
    entry.made.container = inside.to_owned();
    entry.made.host = Some(host.to_owned());
    let system = |cause: SysError| {
        blame("type")(Fault::System { step: "keeping the container's namespace", cause })
    };
    let held = fd::dup_above(netns, 3).map_err(system)?;
    let (name, bridge, port) = (owner.name.to_owned(), bridge.to_owned(), host.to_owned());
    entry.undo.push(Undo::UserPort { netns: held, port: Port { lxcpath, name, bridge, port } });
    let index = index.parse().unwrap_or_default();
    let change = Change { mtu: nic.mtu, mac: nic.hwaddr, up: Some(nic.up), ..Change::default() };
    let step = "setting it up in the container";
    sides.inside.set_link(Target::Index(index, inside), &change).map_err(refused("type", step))
}

impl Port {
    /// Has the port taken out of a switch of Open vSwitch; in any other bridge it goes by itself.
    pub(super) fn delete(&self, netns: BorrowedFd<'_>) -> Result<(), Fault> {
        // Only the switch keeps ports of devices that are gone.
        if !Path::new("/run/openvswitch").exists() || self.bridge == NO_BRIDGE {
            return Ok(());
        }
        let link = Rtnl::open().and_then(|mut host| host.link(Target::Name(&self.bridge)));
        if link.ok().flatten().is_none_or(|link| link.kind.as_deref() == Some("bridge")) {
            return Ok(());
        }
        let netns = format!("/proc/{}/fd/{}", own_pid(), netns.as_fd().as_raw_fd());
        let Self { lxcpath, name, bridge, port } = self;
        run(&["delete", lxcpath, name, &netns, "veth", bridge, port]).map(drop)
    }
}
