//! The network of a container: from `lxc.net.N.*` to devices, addresses and routes, and back to
//! nothing.
//!
//! [`plan::plan`] is pure, [`check`] asks the kernel what would fail, [`Network::create`] makes it
//! all from the parent: host side over a socket of its own, container side over one inside the
//! container's namespace. `rtnl` has the netlink verbs over `codec`; every device type has a
//! file. It never enters the container and runs nothing but the configured scripts.

pub mod addr;
pub mod codec;
mod configure;
pub mod error;
pub mod plan;
pub mod reply;
pub mod rtnl;
mod script;
pub mod veth;

pub use error::{Fault, NetError};
pub use plan::{Namespace, NetPlan, Note, plan};

use crate::config::{NetKind, Sourced};
use crate::sys::netlink::Traveller;
use crate::sys::spawn::ScriptContext;
use plan::{Device, Hop, Nic};
use rtnl::{Rtnl, RtnlError, Target};
use script::Which;
use std::os::fd::{BorrowedFd, OwnedFd};

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
    /// Bridge or parent: `lxc.net.N.link`.
    pub link: Option<String>,
}

/// Asks the kernel for what would make [`Network::create`] fail, before anything is made. Gives
/// back remarks beside those of the plan.
pub fn check(plan: &NetPlan, host: &mut Rtnl) -> Result<Vec<Note>, NetError> {
    let notes = Vec::new();
    for nic in &plan.nics {
        let checked = match &nic.device {
            Device::Empty => Ok(()),
            Device::Veth(veth) => veth::check(nic, veth, host),
        };
        checked.map_err(|b| nic.blamed(b))?;
        for gateway in nic.gateways.iter().filter(|g| g.hop == Hop::Auto) {
            let key = if gateway.ipv6 { "ipv6.gateway" } else { "ipv4.gateway" };
            let link = nic.link.as_deref().unwrap_or_default();
            configure::address_of_link(link, gateway.ipv6, host)
                .map_err(|fault| nic.fault(&[key], fault))?;
        }
    }
    Ok(notes)
}

/// The network of a container that was made. Dropping it takes everything away again.
#[derive(Debug)]
pub struct Network {
    entries: Vec<Entry>,
    made: Vec<Made>,
    /// For the scripts of a start that fails; `None` when there are none.
    context: Option<ScriptContext>,
}

/// What the teardown of one interface needs beside its [`Made`].
#[derive(Debug)]
struct Entry {
    /// Set once script.up was run or there is none: what never came up is not brought down.
    script_down: Option<Sourced<String>>,
}

impl Network {
    /// Makes the network of `plan` for the namespace `netns`.
    ///
    /// # Errors
    /// The first failure, after everything that was made until then is gone again.
    pub fn create(
        plan: &NetPlan,
        netns: BorrowedFd<'_>,
        context: &ScriptContext,
    ) -> Result<Self, NetError> {
        let scripts = plan.nics.iter().any(|n| n.script_down.is_some());
        let mut network = Self {
            entries: Vec::with_capacity(plan.nics.len()),
            made: Vec::with_capacity(plan.nics.len()),
            context: scripts.then(|| context.clone()),
        };
        if plan.nics.is_empty() {
            return Ok(network);
        }
        let mut sides = Sides::open(netns)
            .map_err(|cause| whole(Fault::Kernel { step: "opening rtnetlink", cause }))?;
        for nic in &plan.nics {
            network.add(nic, &mut sides, context)?;
        }
        configure::configure(plan, &mut sides)?;
        Ok(network)
    }

    /// Makes the host's side of one interface and runs its script.
    fn add(
        &mut self,
        nic: &Nic,
        sides: &mut Sides,
        context: &ScriptContext,
    ) -> Result<(), NetError> {
        match &nic.device {
            Device::Empty => self.push(Made {
                index: nic.index,
                kind: NetKind::Empty,
                host: None,
                container: String::new(),
                link: None,
            }),
            Device::Veth(veth) => {
                let (made, bridge) = veth::create(nic, veth, sides).map_err(|b| nic.blamed(b))?;
                // On the list before the next step can fail, so that it is taken away then.
                self.push(made.clone());
                veth::attach(nic, &made, bridge, &mut sides.host).map_err(|b| nic.blamed(b))?;
            }
        }
        let (Some(entry), Some(made)) = (self.entries.last_mut(), self.made.last()) else {
            return Ok(());
        };
        entry.script_down.clone_from(&nic.script_down);
        match &nic.script_up {
            Some(command) => script::run(Which::Up, command, made, context),
            None => Ok(()),
        }
    }

    fn push(&mut self, made: Made) {
        self.made.push(made);
        self.entries.push(Entry { script_down: None });
    }

    /// The interfaces, in the order of the configuration.
    pub fn devices(&self) -> &[Made] {
        &self.made
    }

    /// Runs script.down of every interface. Goes on after an error; gives back all of them.
    ///
    /// What a stop must wait for; [`Network::teardown`] does the rest, which can be left for after
    /// the container was reported as stopped: the kernel takes some 15 ms to delete a veth, and
    /// nobody needs to wait for them.
    pub fn down(&mut self, context: &ScriptContext) -> Vec<NetError> {
        self.bring_down(Some(context))
    }

    /// [`Network::down`] if that was not done, and removes the devices that are left on the host.
    /// Goes on after an error; gives back all of them.
    pub fn teardown(mut self, context: &ScriptContext) -> Vec<NetError> {
        self.take_away(Some(context))
    }

    /// Leaves everything as it is.
    pub fn disarm(mut self) {
        self.made.clear();
        self.entries.clear();
    }

    fn bring_down(&mut self, context: Option<&ScriptContext>) -> Vec<NetError> {
        let mut errors = Vec::new();
        for (made, entry) in self.made.iter().zip(&mut self.entries) {
            if let (Some(command), Some(context)) = (entry.script_down.take(), context) {
                errors.extend(script::run(Which::Down, &command, made, context).err());
            }
        }
        errors
    }

    fn take_away(&mut self, context: Option<&ScriptContext>) -> Vec<NetError> {
        let mut errors = self.bring_down(context);
        let mut host = None;
        self.entries.clear();
        for made in self.made.drain(..) {
            if let Err(cause) = remove(&made, &mut host) {
                let fault = Fault::Kernel { step: "removing it from the host", cause };
                errors.push(NetError::new(Some(made.index), None, fault));
            }
        }
        errors
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let context = self.context.take();
        for error in self.take_away(context.as_ref()) {
            log::debug!("{error}");
        }
    }
}

/// Removes what one interface left on the host; it may be gone with its namespace already.
fn remove(made: &Made, host: &mut Option<Rtnl>) -> Result<(), RtnlError> {
    let Some(name) = &made.host else { return Ok(()) };
    let host = match host {
        Some(host) => host,
        None => host.insert(Rtnl::open()?),
    };
    host.delete_link(Target::Name(name)).map(drop)
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

/// An error of no interface in particular.
fn whole(fault: Fault) -> NetError {
    NetError::new(None, None, fault)
}
