//! The network of a container: from `lxc.net.N.*` to devices, addresses and routes, and back to
//! nothing.
//!
//! [`plan::plan`] is pure, [`check`] asks the kernel what would fail, [`Network::create`] makes it
//! all from the parent: host side over a socket of its own, container side over one inside the
//! container's namespace. `rtnl` has the netlink verbs over `codec`; every device type has a
//! file. It never enters the container and runs nothing but the configured scripts and, for a
//! bridge of Open vSwitch, its tool.

pub mod addr;
pub mod codec;
mod configure;
mod draft;
pub mod error;
pub mod guest;
mod ipvlan;
mod keeper;
mod l2proxy;
mod leaving;
mod macvlan;
mod nl80211;
mod ovs;
mod parent;
pub mod phys;
pub mod plan;
pub mod plug;
pub mod reply;
pub mod request;
pub mod rtnl;
mod rules;
mod script;
mod sysctl;
pub mod uapi;
mod undo;
pub mod user;
pub mod veth;
mod vlan;

pub use error::{Fault, NetError};
pub use phys::Way;
pub use plan::{Namespace, NetPlan, Note, plan};

use crate::config::{NetKind, Sourced};
use crate::sys::netlink::Traveller;
use crate::sys::process::Pid;
use crate::sys::random;
use crate::sys::spawn::ScriptContext;
use crate::util::sentence::sentence;
use error::Blame;
use plan::{Device, Hop, Nic};
use reply::{Address, Link};
use rtnl::{Change, Rtnl, RtnlError, Target};
use script::Which;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use undo::Undo;

/// Moves a device between the host and a running container's network namespace, for lxc-device;
/// it is down then and keeps nothing of its addresses. False if there is none of that name.
///
/// # Errors
/// The new name is taken, or the device cannot be moved.
pub fn hand_over(
    way: Way,
    name: &str,
    new_name: &str,
    netns: BorrowedFd<'_>,
) -> Result<bool, NetError> {
    phys::hand_over(way, name, new_name, netns).map_err(whole)
}

/// What [`reconfigure`] changes of an interface.
pub enum Property<'a> {
    /// `hwaddr`.
    Mac([u8; 6]),
    /// `mtu`.
    Mtu(u32),
    /// `flags`.
    Up(bool),
    /// Addresses with prefix and broadcast address: those to be gone and those to be there.
    Addresses(&'a [Place], &'a [Place]),
}

/// An address, its prefix length, its broadcast address.
pub type Place = (IpAddr, u8, Option<IpAddr>);

/// Changes an interface of a running container: the one behind the device `pair` of the host, or
/// the one that is called `name` inside.
///
/// # Errors
/// It is not there, or the kernel refuses.
pub fn reconfigure(
    netns: BorrowedFd<'_>,
    pair: Option<&str>,
    name: &str,
    property: &Property<'_>,
) -> Result<(), NetError> {
    let step = "changing the interface";
    let kernel = |cause: RtnlError| whole(Fault::Kernel { step, cause });
    let mut sides = Sides::open(netns).map_err(kernel)?;
    let (outer, link) = both_ends(&mut sides, pair, name)?;
    let Sides { mut host, mut inside, .. } = sides;
    let mut change = Change::default();
    match property {
        Property::Mac(mac) => change.mac = Some(*mac),
        Property::Up(up) => change.up = Some(*up),
        Property::Mtu(mtu) => {
            change.mtu = Some(*mtu);
            if let Some(outer) = &outer {
                let target = Target::Index(outer.index, &outer.name);
                host.set_link(target, &change).map_err(kernel)?;
            }
        }
        Property::Addresses(gone, there) => {
            for (address, prefix, _) in gone.iter().filter(|old| !there.contains(old)) {
                inside.delete_address(link.index, *address, *prefix).map_err(kernel)?;
            }
            for (address, prefix, broadcast) in *there {
                match inside.add_address(link.index, *address, *prefix, *broadcast) {
                    Err(e) if e.is(crate::sys::errno::EEXIST) => {}
                    done => done.map_err(kernel)?,
                }
            }
            return Ok(());
        }
    }
    inside.set_link(Target::Index(link.index, &link.name), &change).map_err(kernel)
}

/// The host's end of a running container's interface and the one inside, which may have another
/// name by now than it was started with.
fn both_ends(
    sides: &mut Sides,
    pair: Option<&str>,
    name: &str,
) -> Result<(Option<Link>, Link), NetError> {
    let step = "looking for the interface";
    let kernel = |cause: RtnlError| whole(Fault::Kernel { step, cause });
    let outer = match pair {
        Some(pair) => sides.host.link(Target::Name(pair)).map_err(kernel)?,
        None => None,
    };
    let target = match outer.as_ref().and_then(|link| link.parent) {
        Some(index) => Target::Index(index, name),
        None => Target::Name(name),
    };
    let link = sides.inside.link(target).map_err(kernel)?;
    Ok((outer, link.ok_or_else(|| whole(Fault::Vanished { name: name.to_owned() }))?))
}

/// What a running container's interface is like at the moment, and its addresses but for IPv6's
/// link-local ones, which the kernel makes; names as for [`reconfigure`].
///
/// # Errors
/// It is not there any more; the kernel's.
pub fn inspect(
    netns: BorrowedFd<'_>,
    pair: Option<&str>,
    name: &str,
) -> Result<(Link, Vec<Address>), NetError> {
    const SCOPE_LINK: u8 = 253;
    let step = "asking for the interface";
    let kernel = |cause: RtnlError| whole(Fault::Kernel { step, cause });
    let mut sides = Sides::open(netns).map_err(kernel)?;
    let (_, link) = both_ends(&mut sides, pair, name)?;
    let mut all = sides.inside.addresses().map_err(kernel)?;
    all.retain(|a| a.link == link.index && !(a.address.is_ipv6() && a.scope == SCOPE_LINK));
    Ok((link, all))
}

/// One interface that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The N of `lxc.net.N`.
    pub index: u32,
    /// Its type.
    pub kind: NetKind,
    /// Name of the host's end, for veth: `lxc.net.N.veth.pair` of the running container.
    pub host: Option<String>,
    /// Name inside; empty for type empty.
    pub container: String,
    /// Bridge, parent or device on the host: `lxc.net.N.link`.
    pub link: Option<String>,
}

/// Asks the kernel for what would make [`Network::create`] fail, before anything is made. Gives
/// back remarks beside those of the plan.
pub fn check(plan: &NetPlan, host: &mut Rtnl) -> Result<Vec<Note>, NetError> {
    let mut notes = Vec::new();
    for nic in &plan.nics {
        let checked = match &nic.device {
            Device::Empty => Ok(()),
            _ if user::is_ordinary() => user::check(nic, host),
            Device::Veth(veth) => veth::check(nic, veth, host, &mut notes),
            Device::Phys(phys) => phys::check(nic, phys, host),
            Device::Macvlan(_) | Device::Ipvlan(..) | Device::Vlan(_) => parent::check(nic, host),
        };
        checked.map_err(|b| nic.blamed(b))?;
        if nic.l2proxy {
            l2proxy::check(nic).map_err(|b| nic.blamed(b))?;
        }
        for gateway in nic.gateways.iter().filter(|g| g.hop == Hop::Auto) {
            let link = nic.link.as_deref().unwrap_or_default();
            configure::address_of_link(link, gateway.ipv6, host)
                .map_err(|fault| nic.fault(&[gateway.key()], fault))?;
        }
    }
    Ok(notes)
}

/// Whose network is made: what the helper of ordinary users is told.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// A process in the container's network namespace.
    pub init: Pid,
    /// Where the container is.
    pub lxcpath: &'a Path,
    /// Its name.
    pub name: &'a str,
}

/// The network of a container that was made. Dropping it takes everything away again.
#[derive(Debug)]
pub struct Network {
    entries: Vec<Entry>,
    /// For the scripts of a start that fails; `None` when there are none.
    context: Option<ScriptContext>,
    /// The host's network namespace, when something has to come back to it.
    host_ns: Option<OwnedFd>,
}

/// One interface, and what its teardown needs.
#[derive(Debug)]
struct Entry {
    made: Made,
    /// Set before script.up is run: what never came up is not brought down.
    script_down: Option<Sourced<String>>,
    /// What to take back, in the order in which it was done.
    undo: Vec<Undo>,
}

impl Network {
    /// Makes the network of `plan` for the namespace `netns`.
    ///
    /// # Errors
    /// The first failure, after everything that was made until then is gone again.
    pub fn create(
        plan: &NetPlan,
        netns: BorrowedFd<'_>,
        owner: &Owner<'_>,
        context: &ScriptContext,
    ) -> Result<Self, NetError> {
        let scripts = plan.nics.iter().any(|n| n.script_down.is_some());
        let mut network = Self {
            entries: Vec::with_capacity(plan.nics.len()),
            context: scripts.then(|| context.clone()),
            host_ns: None,
        };
        if plan.nics.is_empty() {
            return Ok(network);
        }
        let step = "opening rtnetlink";
        let mut sides = Sides::open(netns).map_err(|cause| whole(Fault::Kernel { step, cause }))?;
        if plan.nics.iter().any(|nic| matches!(nic.device, Device::Phys(_))) {
            let own = crate::sys::fd::dup_above(sides.host_ns.as_fd(), 3);
            network.host_ns = Some(own.map_err(|cause| whole(Fault::System { step, cause }))?);
        }
        for nic in &plan.nics {
            network.add(nic, &mut sides, netns, owner, context)?;
        }
        configure::configure(plan, network.devices(), &mut sides)?;
        Ok(network)
    }

    /// The network that criu makes when it restores a container, with what it is to be told: a
    /// value of `--external` for each interface that ends on the host.
    pub fn for_restore(plan: &NetPlan) -> crate::sys::Result<(Self, Vec<String>)> {
        let mut network = Self { entries: Vec::new(), context: None, host_ns: None };
        let mut external = Vec::new();
        for nic in &plan.nics {
            let (name, link) = (&nic.name, nic.link.as_deref());
            let mut undo = Vec::new();
            let mut host = None;
            match &nic.device {
                Device::Veth(veth) => {
                    let pair = veth.pair.clone().map_or_else(|| random_name("veth"), Ok)?;
                    let bridge = link.map_or(String::new(), |link| format!("@{link}"));
                    external.push(format!("veth[{name}]:{pair}{bridge}"));
                    undo.push(Undo::Link(pair.clone()));
                    host = Some(pair);
                }
                Device::Macvlan(_) => {
                    external.push(format!("macvlan[{name}]:{}", link.unwrap_or_default()));
                }
                _ => {}
            }
            let (index, kind, link) = (nic.index, nic.kind, nic.link.clone());
            let made = Made { index, kind, host, container: name.clone(), link };
            network.entries.push(Entry { made, script_down: None, undo });
        }
        Ok((network, external))
    }

    /// After criu has made it: runs the scripts.
    ///
    /// # Errors
    /// A script fails.
    pub fn restored(&mut self, plan: &NetPlan, context: &ScriptContext) -> Result<(), NetError> {
        self.context = Some(context.clone());
        for (nic, entry) in plan.nics.iter().zip(&mut self.entries) {
            entry.script_down.clone_from(&nic.script_down);
            if let Some(command) = &nic.script_up {
                script::run(Which::Up, command, &entry.made, context)?;
            }
        }
        Ok(())
    }

    /// Makes the host's side of one interface and runs its script.
    fn add(
        &mut self,
        nic: &Nic,
        sides: &mut Sides,
        netns: BorrowedFd<'_>,
        owner: &Owner<'_>,
        context: &ScriptContext,
    ) -> Result<(), NetError> {
        let made = Made {
            index: nic.index,
            kind: nic.kind,
            host: None,
            container: nic.name.clone(),
            link: nic.link.clone(),
        };
        // In the list before anything is made: a step that fails leaves what was done before it.
        self.entries.push(Entry { made, script_down: None, undo: Vec::new() });
        let Some(entry) = self.entries.last_mut() else { return Ok(()) };
        let made = match &nic.device {
            Device::Veth(_) if user::is_ordinary() => user::create(nic, sides, netns, owner, entry),
            _ => create(nic, sides, netns, &context.name, entry),
        };
        made.map_err(|b| nic.blamed(b))?;
        if nic.l2proxy {
            l2proxy::create(nic, &mut sides.host, &mut entry.undo).map_err(|b| nic.blamed(b))?;
        }
        entry.script_down.clone_from(&nic.script_down);
        match &nic.script_up {
            Some(command) => script::run(Which::Up, command, &entry.made, context),
            None => Ok(()),
        }
    }

    /// The interfaces, in the order of the configuration.
    pub fn devices(&self) -> impl Iterator<Item = &Made> {
        self.entries.iter().map(|entry| &entry.made)
    }

    /// What a stop must wait for: runs script.down of every interface and brings the devices of
    /// the host home. Goes on after an error; gives back all of them.
    ///
    /// [`Network::teardown`] does the rest, which can be left for after the container was reported
    /// as stopped: the kernel takes some 15 ms to delete a veth, and nobody needs to wait for
    /// them.
    pub fn down(&mut self, context: &ScriptContext) -> Vec<NetError> {
        self.bring_down(Some(context))
    }

    /// [`Network::down`] if that was not done, and removes the devices that are left on the host.
    /// Goes on after an error; gives back all of them.
    pub fn teardown(mut self, context: &ScriptContext) -> Vec<NetError> {
        self.take_away(Some(context))
    }

    /// [`Network::teardown`] for when nobody has the container's namespace open any more: what
    /// dies with it is left to the kernel, and only removed if that has not done it in 3 s.
    pub fn teardown_after_namespace(mut self, context: &ScriptContext) -> Vec<NetError> {
        let mut errors = self.bring_down(Some(context));
        for entry in &mut self.entries {
            undo::forget_dying(&mut entry.undo);
        }
        errors.extend(self.take_away(Some(context)));
        errors
    }

    /// Leaves everything as it is.
    pub fn disarm(mut self) {
        self.entries.clear();
    }

    fn bring_down(&mut self, context: Option<&ScriptContext>) -> Vec<NetError> {
        let mut errors = Vec::new();
        let mut host = None;
        for entry in &mut self.entries {
            if let (Some(command), Some(context)) = (entry.script_down.take(), context) {
                errors.extend(script::run(Which::Down, &command, &entry.made, context).err());
            }
            let (later, now) = entry.undo.drain(..).partition(Undo::can_wait);
            entry.undo = later;
            undo::all(&entry.made, now, self.host_ns.as_ref(), &mut host, &mut errors);
        }
        errors
    }

    fn take_away(&mut self, context: Option<&ScriptContext>) -> Vec<NetError> {
        let mut errors = self.bring_down(context);
        let mut host = None;
        for entry in self.entries.drain(..) {
            undo::all(&entry.made, entry.undo, self.host_ns.as_ref(), &mut host, &mut errors);
        }
        errors
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let context = self.context.take();
        for error in self.take_away(context.as_ref()) {
            log::debug!("{}", sentence(&error));
        }
    }
}

/// Makes the device of one interface; `entry` says what was made and how to take it back.
fn create(
    nic: &Nic,
    sides: &mut Sides,
    netns: BorrowedFd<'_>,
    container: &str,
    entry: &mut Entry,
) -> Result<(), Blame> {
    let kind = match &nic.device {
        Device::Empty => return Ok(()),
        Device::Veth(plan) => {
            return veth::create(nic, plan, sides, &mut entry.made, &mut entry.undo);
        }
        Device::Phys(plan) => {
            return phys::take(
                nic,
                plan,
                sides,
                netns,
                container,
                &mut entry.made,
                &mut entry.undo,
            );
        }
        Device::Macvlan(mode) => macvlan::kind(*mode),
        Device::Ipvlan(mode, isolation) => ipvlan::kind(*mode, *isolation),
        Device::Vlan(id) => rtnl::LinkKind::Vlan { id: *id },
    };
    parent::create(nic, kind, sides, netns, &mut entry.undo)
}

/// The two namespaces that a network is made between.
struct Sides {
    host: Rtnl,
    host_ns: OwnedFd,
    inside: Rtnl,
}

impl Sides {
    fn open(netns: BorrowedFd<'_>) -> Result<Self, RtnlError> {
        let host = Rtnl::open()?;
        let mut traveller = Traveller::new()?;
        let inside = traveller.open_in(netns);
        let host_ns = traveller.return_home()?;
        Ok(Self { host, host_ns, inside: Rtnl::over(inside?) })
    }
}

/// `prefix` and six characters, as LXC names what needs a name.
pub fn random_name(prefix: &str) -> crate::sys::Result<String> {
    Ok(name_of(prefix, random::bytes()?))
}

pub(crate) fn name_of(prefix: &str, random: [u8; 6]) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut name = String::with_capacity(prefix.len() + random.len());
    name.push_str(prefix);
    name.extend(random.map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])));
    name
}

/// An error of no interface in particular.
fn whole(fault: Fault) -> NetError {
    NetError::new(None, None, fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_look_like_lxcs() {
        assert_eq!(name_of("veth", [0, 1, 10, 35, 61, 62]), "veth01azZ0");
        assert_eq!(random_name("veth").unwrap().len(), 10);
    }
}
