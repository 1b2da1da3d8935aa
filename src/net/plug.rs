//! One pair with its end in a bridge, as the helper of ordinary users makes it: the work of
//! `lxc.net` of type veth without a configuration. Runs as root.

use crate::config::NetKind;
use crate::net::error::{Fault, NetError, kernel};
use crate::net::plan::{Device, Nic};
use crate::net::rtnl::{Rtnl, Target};
use crate::net::rules::{check_name, check_template};
use crate::net::undo::{self, Undo};
use crate::net::veth::{self, VethPlan};
use crate::net::{Made, Sides, ovs, whole};
use std::os::fd::BorrowedFd;

/// Both ends of a pair that was made.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct Pair {
    pub inside: String,
    pub inside_index: u32,
    pub host: String,
    pub host_index: u32,
}

/// Makes `host`, a port of `bridge` if there is one, with its other end in `netns` under the name
/// or template `inside`.
///
/// # Errors
/// Whatever it is, nothing of the pair is left.
pub fn plug(
    netns: BorrowedFd<'_>,
    bridge: Option<&str>,
    host: String,
    inside: &str,
) -> Result<Pair, NetError> {
    check_template(inside).map_err(whole)?;
    let plan = VethPlan { pair: Some(host.clone()), ..VethPlan::default() };
    let nic = Nic::bare(NetKind::Veth, Device::Veth(plan.clone()), inside, bridge);
    let opening = |cause| whole(Fault::Kernel { step: "opening rtnetlink", cause });
    let mut sides = Sides::open(netns).map_err(opening)?;
    let mut made = Made {
        index: 0,
        kind: NetKind::Veth,
        host: None,
        container: inside.to_owned(),
        link: nic.link.clone(),
    };
    let mut steps = Vec::new();
    let done = veth::create(&nic, &plan, &mut sides, &mut made, &mut steps)
        .map_err(|blame| whole(*blame.fault))
        .and_then(|()| ends(&host, &mut sides).map_err(whole));
    if done.is_err() {
        undo::all(&made, steps, None, &mut None, &mut Vec::new());
    }
    done
}

/// The names and numbers of both ends.
fn ends(host: &str, sides: &mut Sides) -> Result<Pair, Fault> {
    let step = "looking for the new pair";
    let gone = || Fault::Vanished { name: host.to_owned() };
    let outer = sides.host.link(Target::Name(host)).map_err(kernel(step))?.ok_or_else(gone)?;
    let index = outer.parent.ok_or_else(gone)?;
    let inner = sides.inside.link(Target::Index(index, host)).map_err(kernel(step))?;
    Ok(Pair {
        inside: inner.ok_or_else(gone)?.name,
        inside_index: index,
        host: host.to_owned(),
        host_index: outer.index,
    })
}

/// True if the host has a link of that name.
///
/// # Errors
/// The kernel cannot be asked.
pub fn exists(name: &str) -> Result<bool, NetError> {
    let found = Rtnl::open().and_then(|mut host| host.link(Target::Name(name)));
    found.map(|link| link.is_some()).map_err(|e| whole(kernel("looking for a link")(e)))
}

/// Takes a port out of a bridge of Open vSwitch, and deletes its device; `false` if the bridge is
/// none of those.
///
/// # Errors
/// The switch's own.
pub fn unplug_ovs(bridge: &str, port: &str) -> Result<bool, NetError> {
    if !ovs::is_bridge(bridge).map_err(whole)? {
        return Ok(false);
    }
    ovs::delete_port(bridge, port).map_err(whole)?;
    let nobody =
        Made { index: 0, kind: NetKind::Veth, host: None, container: String::new(), link: None };
    let mut errors = Vec::new();
    undo::all(&nobody, vec![Undo::Link(port.to_owned())], None, &mut None, &mut errors);
    errors.pop().map_or(Ok(true), Err)
}

/// True if the kernel takes it as the name of a link, and no program as an option.
pub fn is_name(name: &str) -> bool {
    check_name(name).is_ok() && !name.starts_with('-')
}
