//! What the teardown of an interface takes back, step by step.

use crate::net::error::{Fault, NetError};
use crate::net::keeper::Keeper;
use crate::net::rtnl::{NewRoute, Rtnl, RtnlError, Target};
use crate::net::{Made, ovs, phys, user};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

/// One thing on the host to take back.
#[derive(Debug)]
pub(super) enum Undo {
    /// A link to delete.
    Link(String),
    /// A link to delete that nobody waits for: its name was made up, and nothing on the host is
    /// bound to it that the next start needs. It dies with the container's network namespace.
    Leftover(String),
    /// A port that the helper of ordinary users has made; what it left in the switch.
    UserPort { netns: OwnedFd, port: user::Port },
    /// A port of an Open vSwitch bridge.
    OvsPort { bridge: String, port: String },
    /// A device inside, the only link of that index in its namespace.
    Inside { netns: OwnedFd, index: u32 },
    /// A route of the host.
    Route(NewRoute),
    /// A proxy entry.
    Proxy { device: u32, address: IpAddr },
    /// A device to bring home.
    Home(Box<Away>),
    /// Other names of a device that is still on the host.
    AltNames { device: u32, names: Vec<String> },
}

/// A device of the host that is in the container.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) home: phys::Home,
    pub(super) netns: OwnedFd,
    pub(super) keeper: Keeper,
}

impl Undo {
    /// True if a stop need not wait for it.
    pub(super) fn can_wait(&self) -> bool {
        matches!(self, Self::Leftover(_))
    }
}

/// How long the kernel is given to take a network namespace down, step by step: 3 s.
const NAMESPACE_ENDS: [Duration; 6] = [
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(60),
    Duration::from_millis(200),
    Duration::from_millis(700),
    Duration::from_secs(2),
];

/// Forgets the leftovers that die with the container's namespace. The kernel takes down many
/// namespaces at once, with all their devices; to delete them one by one costs it more, and holds
/// up everybody else who makes a device.
pub(super) fn forget_dying(steps: &mut Vec<Undo>) {
    // Without a socket they are deleted, or that says why not.
    let Ok(host) = Rtnl::open() else { return };
    steps.retain(|step| {
        let Undo::Leftover(name) = step else { return true };
        NAMESPACE_ENDS.iter().all(|wait| {
            sleep(*wait);
            host.has_link(name)
        })
    });
}

/// Takes back all of `steps`, the last first. Goes on after an error. What is gone already is
/// none: a device may have died with the container's namespace, or by the user's hand.
pub(super) fn all(
    made: &Made,
    steps: Vec<Undo>,
    host_ns: Option<&OwnedFd>,
    host: &mut Option<Rtnl>,
    errors: &mut Vec<NetError>,
) {
    for step in steps.into_iter().rev() {
        let faults = one(step, host_ns, host);
        errors.extend(faults.into_iter().map(|f| NetError::new(Some(made.index), None, f)));
    }
}

fn one(step: Undo, host_ns: Option<&OwnedFd>, host: &mut Option<Rtnl>) -> Vec<Fault> {
    let result = match step {
        Undo::Link(name) | Undo::Leftover(name) => on(host, "removing it from the host", |host| {
            host.delete_link(Target::Name(&name)).map(drop)
        }),
        // While it is there nobody else can have its VLAN or address, and the kernel takes its time
        // with a namespace whose last process has ended.
        Undo::Inside { netns, index } => Rtnl::open_in(netns.as_fd())
            .and_then(|mut inside| inside.delete_link(Target::Index(index, "")).map(drop))
            .map_err(|cause| Fault::Kernel { step: "removing it from its namespace", cause }),
        Undo::Route(route) => {
            on(host, "removing a route", |host| host.delete_route(&route).map(drop))
        }
        Undo::Proxy { device, address } => {
            on(host, "removing a proxy entry", |host| host.delete_proxy(device, address).map(drop))
        }
        Undo::AltNames { device, names } => {
            on(host, "giving it its other names back", |host| host.add_alt_names(device, &names))
        }
        Undo::UserPort { netns, port } => port.delete(netns.as_fd()),
        Undo::OvsPort { bridge, port } => ovs::delete_port(&bridge, &port),
        Undo::Home(away) => {
            let Away { home, netns, keeper } = *away;
            let Some(host_ns) = host_ns else { return Vec::new() };
            let faults = home.bring_from(&netns, host_ns.as_fd());
            keeper.dismiss();
            return faults;
        }
    };
    result.err().into_iter().collect()
}

fn on(
    host: &mut Option<Rtnl>,
    step: &'static str,
    act: impl FnOnce(&mut Rtnl) -> Result<(), RtnlError>,
) -> Result<(), Fault> {
    let fault = |cause| Fault::Kernel { step, cause };
    let host = match host {
        Some(host) => host,
        None => host.insert(Rtnl::open().map_err(fault)?),
    };
    act(host).map_err(fault)
}
