//! The trials: each lets the kernel do the thing once, in a process that ends with it. They run
//! as whoever asks, and once more in a user namespace for an ordinary user who was refused.

use super::culprit;
use super::host::Host;
use super::modules::Presence;
use super::trial::{Refusal, become_nobody, enter, enter_user_namespace};
use super::{State, Verdict};
use crate::config::NsKind;
use crate::net::codec::{Request, messages, nl, parse_ack};
use crate::net::rtnl::{Common, LOOPBACK, LinkKind, NewLink, Rtnl, Target};
use crate::net::uapi::{AF_INET, NESTED};
use crate::sys::fd::OpenFlags;
use crate::sys::mount::{Propagation, Reach};
use crate::sys::netlink::{Protocol, Socket};
use crate::sys::process::{self, Fork};
use crate::sys::seccomp::{self, Insn, Listener};
use crate::sys::{self, SysError, dirs, errno, fd, prctl, probe, procfs, userns};
use std::os::fd::AsFd;
use std::path::Path;

type Result = std::result::Result<Verdict, Refusal>;

fn works() -> Result {
    Ok(Verdict::works(""))
}

fn own(kind: NsKind) -> Result {
    enter(kind)?;
    works()
}

pub(super) fn mnt(_: &Host) -> Result {
    own(NsKind::Mnt)
}

pub(super) fn uts(_: &Host) -> Result {
    enter(NsKind::Uts)?;
    process::sethostname("check")?;
    works()
}

pub(super) fn ipc(_: &Host) -> Result {
    own(NsKind::Ipc)
}

/// The first child is process 1 of the namespace.
pub(super) fn pid(_: &Host) -> Result {
    enter(NsKind::Pid)?;
    match process::fork()? {
        Fork::Child => process::exit_now(i32::from(process::own_pid() != 1)),
        Fork::Parent(pid) => match process::wait(pid)? {
            process::Wait::Exited(0) => works(),
            end => Ok(Verdict::unknown(end.to_string())),
        },
    }
}

pub(super) fn net(_: &Host) -> Result {
    enter(NsKind::Net)?;
    Rtnl::open()?.link(Target::Index(LOOPBACK, "lo"))?;
    works()
}

pub(super) fn cgroup(_: &Host) -> Result {
    own(NsKind::Cgroup)
}

pub(super) fn time(_: &Host) -> Result {
    own(NsKind::Time)
}

/// For the caller.
pub(super) fn user(host: &Host) -> Result {
    tried_user_namespace(host, host.euid, host.egid)
}

/// For somebody without rights.
pub(super) fn user_unprivileged(host: &Host) -> Result {
    let uid = become_nobody()?;
    tried_user_namespace(host, uid, if uid == host.euid { host.egid } else { uid })
}

/// A user namespace is worth something only if its root may do what root may in it: AppArmor's
/// restriction lets it be made and takes every right away.
fn tried_user_namespace(host: &Host, uid: u32, gid: u32) -> Result {
    let made = enter_user_namespace(uid, gid);
    let used = made.and_then(|()| enter(NsKind::Uts)).and_then(|()| process::sethostname("check"));
    match used {
        Ok(()) => works(),
        Err(e) => Ok(culprit::of_user_namespace(host, uid, &e)),
    }
}

/// Makes a link in a network namespace of its own.
fn link(kind: LinkKind<'_>) -> Result {
    enter(NsKind::Net)?;
    let link = NewLink { name: "c", kind, common: Common::default() };
    Rtnl::open()?.create_link(&link)?;
    works()
}

fn pair(peer_name: &str) -> LinkKind<'_> {
    LinkKind::Veth { peer_name, peer: Common::default() }
}

/// As [`link`], on a parent device of a kind that the kernel has without loading anything.
fn link_on_parent(host: &Host, kind: LinkKind<'_>) -> Result {
    enter(NsKind::Net)?;
    let mut net = Rtnl::open()?;
    let parents =
        [("bridge", LinkKind::Bridge), ("veth", pair("q")), ("dummy", LinkKind::Plain("dummy"))];
    for (module, kind) in parents {
        if host.modules.presence(module) != Presence::OnDisk {
            let link = NewLink { name: "p", kind, common: Common::default() };
            if net.create_link(&link).is_ok() {
                break;
            }
        }
    }
    let Some(parent) = net.link(Target::Name("p"))? else {
        return Ok(Verdict::unknown("there is no device to try it on"));
    };
    let common = Common { parent: Some(parent.index), ..Common::default() };
    net.create_link(&NewLink { name: "c", kind, common })?;
    works()
}

pub(super) fn veth(_: &Host) -> Result {
    link(pair("d"))
}

pub(super) fn bridge(_: &Host) -> Result {
    link(LinkKind::Bridge)
}

pub(super) fn macvlan(host: &Host) -> Result {
    const MODE_BRIDGE: u32 = 4;
    link_on_parent(host, LinkKind::Macvlan { mode: MODE_BRIDGE })
}

pub(super) fn ipvlan(host: &Host) -> Result {
    link_on_parent(host, LinkKind::Ipvlan { mode: 0, flags: 0 })
}

pub(super) fn vlan(host: &Host) -> Result {
    link_on_parent(host, LinkKind::Vlan { id: 5 })
}

pub(super) fn vxlan(_: &Host) -> Result {
    link(LinkKind::Vxlan { id: 5 })
}

pub(super) fn dummy(_: &Host) -> Result {
    link(LinkKind::Plain("dummy"))
}

pub(super) fn tun(_: &Host) -> Result {
    enter(NsKind::Net)?;
    match probe::tun() {
        Err(e) if e.is(errno::ENOENT) => Ok(Verdict::new(State::Blocked, "no /dev/net/tun")
            .mend("mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200")),
        done => done.map(|()| Verdict::works("")).map_err(Refusal::from),
    }
}

pub(super) fn nat_iptables(_: &Host) -> Result {
    enter(NsKind::Net)?;
    probe::iptables("nat")?;
    works()
}

/// Makes a table with a chain of type nat and a masquerading rule, in one transaction.
pub(super) fn nat_nft(_: &Host) -> Result {
    enter(NsKind::Net)?;
    let mut socket = Socket::open_protocol(Protocol::Netfilter)?;
    let mut batch = Vec::new();
    for (n, request) in (1..).zip(nat_requests()) {
        let bytes = request.finish(n).map_err(|_| SysError::new("send", "nft", errno::EINVAL))?;
        batch.extend_from_slice(&bytes);
    }
    socket.send(&batch)?;
    loop {
        for message in messages(socket.receive()?).flatten() {
            let ack = parse_ack(&message).map_err(|_| SysError::new("recv", "nft", errno::EIO))?;
            if ack.errno != 0 {
                let part = ["", "", "table", "chain of type nat", "masquerading rule", ""];
                let part =
                    usize::try_from(message.sequence).ok().and_then(|n| part.get(n).copied());
                return Err(SysError::new("nft", part.unwrap_or_default(), ack.errno).into());
            }
            if message.sequence == RULE {
                return works();
            }
        }
    }
}

/// The sequence number of the rule in the batch, the only message that asks for an answer.
const RULE: u32 = 4;

/// linux/netfilter/nfnetlink.h and nf_tables.h.
fn nat_requests() -> [Request; 5] {
    const SUBSYSTEM: u8 = 10;
    const NEWTABLE: u16 = 10 << 8;
    const NEWCHAIN: u16 = NEWTABLE | 3;
    const NEWRULE: u16 = NEWTABLE | 6;
    const BEGIN: u16 = 16;
    const END: u16 = 17;
    const POSTROUTING: u32 = 4;
    let message = |kind: u16, flags: u16, family: u8, resource: u8| {
        let mut request = Request::new(kind, flags);
        request.fixed(&[family, 0, 0, resource]);
        request
    };
    let mut table = message(NEWTABLE, nl::CREATE, AF_INET, 0);
    table.string(1, "c");
    let mut chain = message(NEWCHAIN, nl::CREATE, AF_INET, 0);
    chain.string(1, "c").string(3, "c");
    let hook = chain.begin(4 | NESTED);
    chain.attr(1, &POSTROUTING.to_be_bytes()).attr(2, &100u32.to_be_bytes()).end(hook);
    chain.string(7, "nat");
    let mut rule = message(NEWRULE, nl::CREATE | nl::ACK, AF_INET, 0);
    rule.string(1, "c").string(2, "c");
    let list = rule.begin(4 | NESTED);
    let element = rule.begin(1 | NESTED);
    rule.string(1, "masq");
    let data = rule.begin(2 | NESTED);
    rule.end(data).end(element).end(list);
    [message(BEGIN, 0, 0, SUBSYSTEM), table, chain, rule, message(END, 0, 0, SUBSYSTEM)]
}

/// A mount namespace of its own from which nothing travels, with an empty tmpfs somewhere.
fn scratch() -> std::result::Result<&'static str, Refusal> {
    enter(NsKind::Mnt)?;
    sys::mount::propagate("/", Propagation::Private, Reach::Tree)?;
    let places = ["/mnt", "/tmp", "/run", "/dev", "/sys"];
    let place = places.into_iter().find(|place| Path::new(place).is_dir()).unwrap_or("/");
    probe::mount("tmpfs", place, "mode=755")?;
    Ok(place)
}

/// Mounts a file system of that type once.
fn mounts(kind: &str, options: &str) -> Result {
    let place = scratch()?;
    probe::mount(kind, place, options)?;
    works()
}

pub(super) fn tmpfs(_: &Host) -> Result {
    scratch()?;
    works()
}

pub(super) fn devpts(_: &Host) -> Result {
    mounts("devpts", "newinstance,ptmxmode=0666,mode=0620")
}

pub(super) fn mqueue(_: &Host) -> Result {
    enter(NsKind::Ipc)?;
    mounts("mqueue", "")
}

pub(super) fn overlay(_: &Host) -> Result {
    let place = scratch()?;
    for dir in ["l", "u", "w", "m"] {
        dirs::make(&Path::new(place).join(dir), 0o755)?;
    }
    let options = format!("lowerdir={place}/l,upperdir={place}/u,workdir={place}/w");
    probe::mount("overlay", &format!("{place}/m"), &options)?;
    works()
}

pub(super) fn overlay_userns(host: &Host) -> Result {
    // That the module is there says nothing of users.
    if host.modules.presence("overlay") == Presence::OnDisk {
        return Ok(Verdict::unknown("overlay is not loaded").mend("modprobe overlay"));
    }
    let uid = become_nobody()?;
    enter_user_namespace(uid, if uid == host.euid { host.egid } else { uid })?;
    match overlay(host) {
        Err(refusal) if refusal.errno == errno::EPERM => {
            Ok(Verdict::absent("the kernel mounts it for the host's root only (until 5.11)"))
        }
        done => done,
    }
}

/// Maps the ids of a mount of the file system that containers are on.
pub(super) fn idmapped(host: &Host) -> Result {
    if host.euid != 0 {
        const SETATTR: probe::Call = probe::Call::of("mount_setattr");
        return Ok(match SETATTR.ask() {
            errno::ENOSYS => Verdict::absent("Linux 5.12"),
            _ => Verdict::new(State::RootOnly, ""),
        });
    }
    let mut path = host.lxcpath.as_path();
    while !dirs::exists(path) {
        path = path.parent().unwrap_or(Path::new("/"));
    }
    // The mount that it is on has the name without links.
    let real = std::fs::canonicalize(path).unwrap_or_default();
    let path = real.as_path();
    let on = || format!("{} on {}", path.display(), file_system(host, path));
    enter(NsKind::Mnt)?;
    let holder = userns::holder()?;
    for file in ["uid_map", "gid_map"] {
        fd::write_file(format!("/proc/{}/{file}", holder.pid()), b"0 100000 65536")?;
    }
    let namespace = procfs::open_namespace(holder.pid(), "user")?;
    let tree = sys::mount::clone_tree_path(path, Reach::One)?;
    match sys::mount::set_idmap(tree.as_fd(), namespace.as_fd(), Reach::One) {
        Ok(()) => Ok(Verdict::works(on())),
        Err(e) if e.is(errno::EINVAL) => {
            Ok(Verdict::absent(format!("{} cannot map ids on this kernel", on())))
        }
        Err(e) => Err(e.into()),
    }
}

/// The type of the file system that `path` is on.
fn file_system(host: &Host, path: &Path) -> String {
    let mounts = host.mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?;
        path.starts_with(point).then_some((point.len(), right.split(' ').next()?))
    });
    mounts.max_by_key(|found| found.0).map_or("?", |found| found.1).to_owned()
}

pub(super) fn fuse(_: &Host) -> Result {
    match fd::open("/dev/fuse", OpenFlags::RDWR, 0) {
        Err(e) if e.is(errno::ENOENT) => {
            Ok(Verdict::blocked("no /dev/fuse", "modprobe fuse || mknod -m 666 /dev/fuse c 10 229"))
        }
        done => done.map(|_| Verdict::works("")).map_err(Refusal::from),
    }
}

pub(super) fn binfmt_misc(host: &Host) -> Verdict {
    let types = host.read("proc/filesystems").unwrap_or_default();
    let has = types.split_whitespace().any(|word| word == "binfmt_misc");
    match (has, host.modules.presence("binfmt_misc")) {
        (true, _) | (_, Presence::BuiltIn | Presence::Loaded) => Verdict::works(""),
        (_, Presence::OnDisk) => Verdict::works("module"),
        (false, Presence::Unseen) => Verdict::absent(""),
    }
}

/// The file is there in kernels that were built for it, and only in those.
pub(super) fn checkpoint(host: &Host) -> Verdict {
    match dirs::exists(&host.path("proc/sys/kernel/ns_last_pid")) {
        true => Verdict::works(""),
        false => Verdict::absent("no /proc/sys/kernel/ns_last_pid"),
    }
}

pub(super) fn file_caps(host: &Host) -> Verdict {
    if host.cmdline.split_whitespace().any(|word| word == "no_file_caps") {
        Verdict::blocked("no_file_caps in /proc/cmdline", "")
    } else if dirs::exists(&host.path("proc/sys/kernel/cap_last_cap")) {
        Verdict::works("")
    } else {
        Verdict::unknown("no /proc/sys/kernel/cap_last_cap")
    }
}

/// SECCOMP_RET_ALLOW for every call.
const ALLOW: [Insn; 1] = [Insn { code: 6, jt: 0, jf: 0, k: 0x7fff_0000 }];

pub(super) fn seccomp_filter(_: &Host) -> Result {
    prctl::set_no_new_privs()?;
    seccomp::install(&ALLOW, Listener::None)?;
    works()
}

pub(super) fn seccomp_notify(_: &Host) -> Result {
    prctl::set_no_new_privs()?;
    match seccomp::install(&ALLOW, Listener::New) {
        Err(e) if e.is(errno::EBUSY) => {
            Ok(Verdict::blocked("a seccomp filter of this process that has a listener", ""))
        }
        done => done.map(|_| Verdict::works("")).map_err(Refusal::from),
    }
}

pub(super) fn lsm(host: &Host) -> Verdict {
    let on = |path: &str, value: &str| host.read(path).is_some_and(|text| text == value);
    let listed = host.read("sys/kernel/security/lsm").unwrap_or_default();
    let has = |name: &str| listed.split(',').any(|word| word == name);
    if has("apparmor") || on("sys/module/apparmor/parameters/enabled", "Y") {
        Verdict::works("AppArmor")
    } else if has("selinux") || dirs::exists(&host.path("sys/fs/selinux/enforce")) {
        Verdict::works("SELinux")
    } else {
        Verdict::absent("neither AppArmor nor SELinux: capabilities and seccomp confine containers")
    }
}
