//! Type phys: a device of the host that lives in the container while it runs.
//!
//! A device without a driver of its own to remake it must come home: the kernel would put real
//! hardware into the initial namespace under whatever name it has then, and delete a VLAN or
//! any other made device together with the container's namespace. So the way back is kept
//! (`Home`) with a descriptor of the container's namespace, and `keeper` walks it if the monitor
//! cannot.

use crate::net::error::{Blame, Fault, NetError, blame, refused};
use crate::net::keeper::Keeper;
use crate::net::nl80211::Nl80211;
use crate::net::plan::Nic;
use crate::net::reply::Link;
use crate::net::rtnl::{Change, Rtnl, RtnlError, Target};
use crate::net::undo::{Away, Undo};
use crate::net::{Made, Sides, random_name};
use crate::sys::{SysError, errno, fd};
use crate::util::sentence::sentence;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What is special about a phys.
#[derive(Clone, Debug, PartialEq)]
pub struct PhysPlan {
    /// `link = NAME+`: the last device whose name begins with this, instead of one name.
    pub prefix: Option<String>,
}

/// A device that is away, and all that is needed to bring it home.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// Its name on the host.
    pub(super) name: String,
    /// Its index inside; names can change there.
    index: u32,
    mtu: u32,
    mac: Option<[u8; 6]>,
    alt_names: Vec<String>,
    /// What moves, if it is a wireless device.
    radio: Option<u32>,
}

/// Finds what would make [`take`] fail.
pub(super) fn check(nic: &Nic, plan: &PhysPlan, host: &mut Rtnl) -> Result<(), Blame> {
    let link = find(nic, plan, host)?;
    if link.flags & 8 != 0 || matches!(link.kind.as_deref(), Some("bridge")) {
        return Err(blame("link")(Fault::CannotMove { name: link.name }));
    }
    Ok(())
}

fn find(nic: &Nic, plan: &PhysPlan, host: &mut Rtnl) -> Result<Link, Blame> {
    let step = "looking for the device";
    let name = nic.link.as_deref().unwrap_or_default();
    let found = match &plan.prefix {
        None => host.link(Target::Name(name)).map_err(refused("link", step))?,
        Some(prefix) => {
            let all = host.links().map_err(refused("link", step))?;
            all.into_iter().rfind(|link| link.name.starts_with(prefix.as_str()))
        }
    };
    found.ok_or_else(|| blame("link")(Fault::NoDevice { name: name.to_owned() }))
}

/// The radio of a wireless device: what moves then, with all devices on it.
fn radio_of(link: &Link) -> Result<Option<u32>, RtnlError> {
    // A device that was made has no radio: dummies, VLANs and their kin need not be asked for.
    match (&link.kind, Nl80211::open()?) {
        (None, Some(mut wireless)) => wireless.radio(link.index, &link.name),
        _ => Ok(None),
    }
}

/// Moves `link` from one namespace into another and renames it. That is one request, but for a
/// radio, which takes its devices along under the names that they have.
fn shift(
    radio: Option<(Nl80211, u32)>,
    link: &Link,
    new_name: &str,
    from: &mut Rtnl,
    into: &mut Rtnl,
    into_ns: BorrowedFd<'_>,
) -> Result<(), RtnlError> {
    let Some((mut wireless, radio)) = radio else {
        let netns = Some(into_ns);
        let change = Change { netns, rename: Some(new_name), ..Change::default() };
        return from.set_link(Target::Index(link.index, &link.name), &change);
    };
    wireless.move_radio(radio, &link.name, into_ns)?;
    // The kernel keeps the index where it is free, and the name likewise.
    let same = |found: &Link| found.mac == link.mac && found.name == link.name;
    let moved = match into.link(Target::Index(link.index, &link.name))?.filter(same) {
        Some(moved) => Some(moved),
        None => into.link(Target::Name(&link.name))?,
    };
    match moved {
        Some(moved) if moved.name != new_name => {
            let change = Change { rename: Some(new_name), up: Some(false), ..Change::default() };
            into.set_link(Target::Index(moved.index, &link.name), &change)
        }
        _ => Ok(()),
    }
}

/// Moves the device into the container and gives it its name, MTU and address there. The way
/// home is on `undo` as soon as there is something to bring.
pub(super) fn take(
    nic: &Nic,
    plan: &PhysPlan,
    sides: &mut Sides,
    netns: BorrowedFd<'_>,
    container: &str,
    made: &mut Made,
    undo: &mut Vec<Undo>,
) -> Result<(), Blame> {
    let link = find(nic, plan, &mut sides.host)?;
    let name = if nic.name.is_empty() { link.name.clone() } else { nic.name.clone() };
    made.container.clone_from(&name);
    made.link = Some(link.name.clone());
    if matches!(sides.inside.link(Target::Name(&name)), Ok(Some(_))) {
        return Err(blame("name")(Fault::NameTakenInside { name }));
    }
    let system = |step| move |cause: SysError| blame("link")(Fault::System { step, cause });
    let held = fd::dup_above(netns, 3).map_err(system("keeping the container's namespace"))?;
    let mut home = Home {
        name: link.name.clone(),
        index: link.index,
        mtu: link.mtu,
        mac: link.mac,
        alt_names: link.alt_names.clone(),
        radio: radio_of(&link).map_err(refused("link", "asking for its radio"))?,
    };
    // Other names would stay with it and could clash inside, or on the way back.
    if !link.alt_names.is_empty() {
        let deleted = sides.host.delete_alt_names(link.index, &link.alt_names);
        deleted.map_err(refused("link", "putting its other names away"))?;
        undo.push(Undo::AltNames { device: link.index, names: link.alt_names.clone() });
    }
    let radio = match home.radio {
        Some(radio) => {
            let wireless = Nl80211::open().map_err(refused("link", "opening nl80211"))?;
            wireless.map(|wireless| (wireless, radio))
        }
        None => None,
    };
    let Sides { host, inside, host_ns } = sides;
    if let Err(cause) = shift(radio, &link, &name, host, inside, netns) {
        // A rename that fails comes after the move.
        if let Ok(Some(_)) = inside.link(Target::Name(&link.name)) {
            home.bring_after_failure(inside, netns, host, host_ns.as_fd());
        }
        return Err(match cause.errno().unwrap_or_default() {
            errno::EINVAL => blame("link")(Fault::CannotMove { name: link.name }),
            _ => refused("link", "moving it into the container")(cause),
        });
    }
    undo.clear();
    if let Ok(Some(moved)) = inside.link(Target::Name(&name)) {
        home.index = moved.index;
    }
    let keeper = match Keeper::start(container, &home, &held, host_ns.as_fd()) {
        Ok(keeper) => keeper,
        Err(cause) => {
            home.bring_after_failure(inside, netns, host, host_ns.as_fd());
            return Err(system("starting its keeper")(cause));
        }
    };
    let index = home.index;
    undo.push(Undo::Home(Box::new(Away { home, netns: held, keeper })));
    let change = Change { mtu: nic.mtu, mac: nic.hwaddr, up: Some(nic.up), ..Change::default() };
    inside
        .set_link(Target::Index(index, &name), &change)
        .map_err(refused("link", "setting it up in the container"))
}

/// Moves the device `name` of the host into the network namespace `netns` of a running container,
/// or ([`Way::Home`]) back, as `new_name` and down. False if there is none of that name.
pub(super) fn hand_over(
    way: Way,
    name: &str,
    new_name: &str,
    netns: BorrowedFd<'_>,
) -> Result<bool, Fault> {
    let step = "moving the device";
    let kernel = |cause: RtnlError| match cause.errno().unwrap_or_default() {
        errno::EINVAL => Fault::CannotMove { name: name.to_owned() },
        _ => Fault::Kernel { step, cause },
    };
    let Sides { mut host, host_ns, mut inside } = Sides::open(netns).map_err(kernel)?;
    let (from, into, from_ns, into_ns) = match way {
        Way::Inside => (&mut host, &mut inside, host_ns.as_fd(), netns),
        Way::Home => (&mut inside, &mut host, netns, host_ns.as_fd()),
    };
    let Some(link) = from.link(Target::Name(name)).map_err(kernel)? else { return Ok(false) };
    if link.flags & 8 != 0 || link.kind.as_deref() == Some("bridge") {
        return Err(Fault::CannotMove { name: link.name });
    }
    if into.link(Target::Name(new_name)).map_err(kernel)?.is_some() {
        let name = new_name.to_owned();
        return Err(match way {
            Way::Inside => Fault::NameTakenInside { name },
            Way::Home => Fault::NameTaken { name },
        });
    }
    // Drivers refuse some changes of a device that runs.
    let down = Change { up: Some(false), ..Change::default() };
    from.set_link(Target::Index(link.index, name), &down).map_err(kernel)?;
    let radio = match (&link.kind, Nl80211::open_in(from_ns).map_err(kernel)?) {
        (None, Some(mut wireless)) => {
            let radio = wireless.radio(link.index, name).map_err(kernel)?;
            radio.map(|radio| (wireless, radio))
        }
        _ => None,
    };
    shift(radio, &link, new_name, from, into, into_ns).map_err(kernel)?;
    Ok(true)
}

/// Which way `hand_over` moves a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Into the container.
    Inside,
    /// Back to the host.
    Home,
}

impl Home {
    /// Brings the device back from the namespace of `inside`, with the name, MTU, address and
    /// other names that it had. Goes on after an error; gives back all of them.
    pub(super) fn bring(
        &self,
        inside: &mut Rtnl,
        inside_ns: BorrowedFd<'_>,
        host: &mut Rtnl,
        host_ns: BorrowedFd<'_>,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        let target = Target::Index(self.index, &self.name);
        let link = match inside.link(target) {
            Ok(Some(link)) => link,
            Ok(None) => return vec![Fault::Vanished { name: self.name.clone() }],
            Err(cause) => return vec![failed("looking for it in the container", cause)],
        };
        let mut collect = |step, result: Result<(), RtnlError>| {
            faults.extend(result.err().map(|cause| failed(step, cause)));
        };
        if !link.alt_names.is_empty() {
            let deleted = inside.delete_alt_names(self.index, &link.alt_names);
            collect("taking the container's names from it", deleted);
        }
        // Down first: drivers refuse some changes of a device that runs.
        let down = Change { up: Some(false), ..Change::default() };
        collect("bringing it down", inside.set_link(target, &down));
        let change = Change {
            mtu: (link.mtu != self.mtu).then_some(self.mtu),
            mac: self.mac.filter(|_| link.mac != self.mac),
            ..Change::default()
        };
        if change.mtu.is_some() || change.mac.is_some() {
            collect("restoring its MTU and address", inside.set_link(target, &change));
        }
        let radio = match self.radio.map(|radio| (Nl80211::open_in(inside_ns), radio)) {
            Some((Ok(Some(wireless)), radio)) => Some((wireless, radio)),
            Some((Err(cause), _)) => {
                collect("opening nl80211", Err(cause));
                return faults;
            }
            _ => None,
        };
        if let Err(cause) = shift(radio, &link, &self.name, inside, host, host_ns) {
            let taken = cause.is(errno::EEXIST);
            collect("bringing it back to the host", Err(cause));
            if taken {
                faults.extend(self.come_under_another_name(&link.name, inside, host, host_ns));
            }
            return faults;
        }
        if !self.alt_names.is_empty() {
            let names = host.link(Target::Name(&self.name)).and_then(|link| match link {
                Some(link) => host.add_alt_names(link.index, &self.alt_names),
                None => Ok(()),
            });
            collect("giving it its other names back", names);
        }
        faults
    }

    /// [`Home::bring`] when the start fails for something else, which is what is told; the log has
    /// why a device is not as it was.
    fn bring_after_failure(
        &self,
        inside: &mut Rtnl,
        inside_ns: BorrowedFd<'_>,
        host: &mut Rtnl,
        host_ns: BorrowedFd<'_>,
    ) {
        for fault in self.bring(inside, inside_ns, host, host_ns) {
            log::warn!("{}: {}", self.name, sentence(&NetError::new(None, None, fault)));
        }
    }

    /// The name was given to another device meanwhile. Better home under a strange name than
    /// deleted with the container's namespace, but not under one that the container chose.
    fn come_under_another_name(
        &self,
        inside_name: &str,
        inside: &mut Rtnl,
        host: &mut Rtnl,
        host_ns: BorrowedFd<'_>,
    ) -> Option<Fault> {
        let now = match random_name("phys") {
            Ok(now) => now,
            Err(cause) => return Some(Fault::System { step: "choosing a name", cause }),
        };
        let rename = Change { rename: Some(&now), ..Change::default() };
        // The kernel moves before it renames: if the inside name was free, it is home already.
        let done = match inside.link(Target::Index(self.index, &self.name)) {
            Ok(Some(_)) => {
                let move_it = Change { netns: Some(host_ns), ..rename };
                inside.set_link(Target::Index(self.index, &self.name), &move_it)
            }
            Ok(None) => host.link(Target::Name(inside_name)).and_then(|link| {
                let index = link.map(|link| link.index).unwrap_or_default();
                host.set_link(Target::Index(index, inside_name), &rename)
            }),
            Err(cause) => Err(cause),
        };
        Some(match done {
            Ok(()) => Fault::Renamed { name: self.name.clone(), now },
            Err(cause) => failed("bringing it back under another name", cause),
        })
    }

    /// [`Home::bring`] over new sockets.
    pub(super) fn bring_from(&self, netns: &OwnedFd, host_ns: BorrowedFd<'_>) -> Vec<Fault> {
        let sockets = Rtnl::open().and_then(|host| Ok((host, Rtnl::open_in(netns.as_fd())?)));
        match sockets {
            Ok((mut host, mut inside)) => {
                self.bring(&mut inside, netns.as_fd(), &mut host, host_ns)
            }
            Err(cause) => vec![failed("opening rtnetlink", cause)],
        }
    }
}

fn failed(step: &'static str, cause: RtnlError) -> Fault {
    Fault::Kernel { step, cause }
}
