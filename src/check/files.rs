//! The host's own side: id ranges, the programs that map them, the way to the containers, the
//! bridge and what serves it.

use super::host::Host;
use super::trial::Refusal;
use super::{State, Verdict};
use crate::config::path::SYSCONFDIR;
use crate::hostnet::{self, Settings, Wanted, doctor};
use crate::net::user::{NO_BRIDGE, helper_below};
use crate::sys::passwd::{self, Group};
use crate::sys::spawn::shell_quote;
use crate::sys::{cred, dirs, probe, userns};
use crate::usernic::policy::{self, Named};
use crate::util::blame::Explain;
use crate::util::sentence::sentence;
use std::path::{Path, PathBuf};

/// What a container wants.
const IDS: u64 = 65536;

pub(super) fn modules(host: &Host) -> Verdict {
    let of_others = dirs::names(&host.path("lib/modules")).is_ok_and(|names| !names.is_empty());
    match host.modules.are_lost() {
        true if !of_others => {
            Verdict::absent("none are installed: what is built in is all there is")
        }
        true => Verdict::blocked(
            format!(
                "/lib/modules/{} is missing: the kernel was replaced since it was booted, and \
                 nothing can be loaded",
                host.release
            ),
            "reboot",
        ),
        false => Verdict::works(""),
    }
}

pub(super) fn subuid(host: &Host) -> Verdict {
    range(host, "etc/subuid")
}

pub(super) fn subgid(host: &Host) -> Verdict {
    range(host, "etc/subgid")
}

/// The largest range that a file like /etc/subuid gives the caller.
fn range(host: &Host, file: &str) -> Verdict {
    let text = host.read(file).unwrap_or_default();
    let number = host.euid.to_string();
    // A user without a line in /etc/passwd goes by the number.
    let name = host.user.as_ref().map_or(number.as_str(), |user| user.name.as_str());
    let name = if host.euid == 0 { "root" } else { name };
    let mut best = (0, 0);
    let mut end = 100_000;
    for line in text.lines() {
        let mut fields = line.split(':');
        let (Some(who), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (Ok(first), Ok(count)) = (first.parse::<u64>(), count.trim().parse::<u64>()) else {
            continue;
        };
        end = end.max(first.saturating_add(count));
        if (who == name || who == number) && count > best.1 {
            best = (first, count);
        }
    }
    // usermod is not everywhere, and knows no user without a name.
    let mend = format!("echo {name}:{end}:{IDS} >>/{file}");
    match best {
        (first, count) if count >= IDS => {
            Verdict::works(format!("{name} has {count} from {first} on"))
        }
        // Root needs no leave; LXC takes the line as the range to use.
        _ if host.euid == 0 => Verdict::works("root maps any; no range is set aside for it"),
        (_, 0) => Verdict::absent(format!("/{file} has no line for {name}")).mend(mend),
        (_, count) => Verdict::new(
            State::Blocked,
            format!("/{file} gives {name} {count} ids, and a container wants {IDS}"),
        )
        .mend(mend),
    }
}

pub(super) fn newuidmap(host: &Host) -> Verdict {
    mapper(host, "newuidmap", userns::CAP_SETUID, "cap_setuid")
}

pub(super) fn newgidmap(host: &Host) -> Verdict {
    mapper(host, "newgidmap", userns::CAP_SETGID, "cap_setgid")
}

const SETUID: u32 = 0o4000;

/// Of a program for ordinary users, which root can do without.
fn not_installed(host: &Host, otherwise: &str, mend: &str) -> Verdict {
    match host.euid {
        0 => Verdict::works("not installed; root needs none"),
        _ => Verdict::absent(format!("not installed, and only it may {otherwise}")).mend(mend),
    }
}

/// A program that has to have more rights than its caller.
fn mapper(host: &Host, program: &str, cap: u8, cap_name: &str) -> Verdict {
    let places = ["usr/bin", "bin", "usr/local/bin"].map(|dir| host.path(dir).join(program));
    let Some(path) = places.into_iter().find(|path| path.is_file()) else {
        return not_installed(host, "map ids for an ordinary user", "apt install uidmap");
    };
    let mode = probe::mode_of(&path).map_or((0, 0, 0), |found| found);
    match userns::is_privileged(&path, cap) {
        Ok(true) if mode.0 & SETUID != 0 => Verdict::works("setuid root"),
        Ok(true) => Verdict::works("by file capability"),
        Ok(false) => Verdict::blocked(
            format!("{} is neither setuid root nor has it {cap_name}", path.display()),
            format!("setcap {cap_name}=ep {} || chmod u+s {}", path.display(), path.display()),
        ),
        Err(e) => Verdict::unknown(e.to_string()),
    }
}

/// The helper that makes the devices: it works as root and with nothing less.
pub(super) fn user_nic(host: &Host) -> Verdict {
    let Some(path) = helper_below(&host.path("")) else {
        let what = "plug an ordinary user's container into a bridge";
        return not_installed(host, what, "apt install liblxc-common");
    };
    let shown = path.display();
    match probe::mode_of(&path) {
        Ok((mode, 0, _)) if mode & SETUID != 0 => Verdict::works(format!("{shown} is setuid root")),
        Ok(_) => Verdict::blocked(
            format!("{shown} is not setuid root"),
            format!("chown root {shown} && chmod u+s {shown}"),
        ),
        Err(e) => Verdict::unknown(e.to_string()),
    }
}

/// A line that lets the caller, or a group of the caller's, plug into a bridge that exists.
pub(super) fn usernet(host: &Host) -> Verdict {
    if host.euid == 0 {
        return Verdict::works("root needs none");
    }
    let file = Path::new(SYSCONFDIR).join("lxc-usernet");
    let shown = file.display();
    let Some(user) = &host.user else {
        let who = host.euid;
        return Verdict::absent(format!("user {who} has no name in /etc/passwd for {shown}"));
    };
    let settings = hostnet::load();
    let usual = match &settings {
        Ok((Wanted::On(settings), _)) => &settings.bridge.value,
        _ => "lxcbr0",
    };
    let text = file.to_str().and_then(|name| host.read(name.trim_start_matches('/')));
    let text = text.unwrap_or_default();
    let groups = passwd::parse_groups(&host.read("etc/group").unwrap_or_default());
    let session = cred::groups().unwrap_or_default();
    // The helper goes by what the processes of the session have.
    let has = |g: &Group| g.gid == host.egid || session.contains(&g.gid);
    let member = |g: &&Group| {
        g.gid == user.gid || g.members.contains(&user.name) || host.is_real() && has(g)
    };
    let named = Named {
        user: user.name.clone(),
        groups: groups.iter().filter(member).map(|g| g.name.clone()).collect(),
    };
    let counts = |owner: &str| {
        let Some(name) = owner.strip_prefix('@').filter(|_| host.is_real()) else { return true };
        groups.iter().any(|g| g.name == name && has(g))
    };
    let name = &user.name;
    let mut found = Verdict::absent(format!("{shown} has no line for {name}"))
        .mend(format!("echo '{name} veth {usual} 10' >>{shown}"));
    for policy::Line { owner, kind, bridge, count } in policy::lines(&text, &named) {
        if kind != "veth" || count == 0 || bridge == NO_BRIDGE {
            continue;
        }
        let exists = dirs::exists(&host.path("sys/class/net").join(bridge));
        if !counts(owner) {
            let group = owner.trim_start_matches('@');
            let by = format!("this session, which is not in group {group} yet: {shown} names it");
            found = Verdict::blocked(by, "# log in again");
        } else if exists {
            return Verdict::works(format!("{count} devices on {bridge} for {owner}"));
        } else {
            let mend = match bridge == usual {
                true => "lxc-net start".to_owned(),
                false => format!("ip link add {bridge} type bridge && ip link set {bridge} up"),
            };
            found = Verdict::blocked(format!("{shown} names {bridge}, which is not there"), mend);
        }
    }
    found
}

/// The root of a container with an id map is somebody else to the host: every directory on the way
/// to its files must let others through.
pub(super) fn way(host: &Host) -> Result<Verdict, Refusal> {
    const OTHERS_THROUGH: u32 = 0o001;
    let mut closed: Vec<String> = Vec::new();
    let mut path = PathBuf::new();
    for part in host.lxcpath.components() {
        path.push(part);
        if let Ok((mode, ..)) = probe::mode_of(&path) {
            if mode & OTHERS_THROUGH == 0 {
                closed.push(path.display().to_string());
            }
        }
    }
    let quoted: Vec<String> = closed.iter().map(|path| shell_quote(path)).collect();
    Ok(match closed.is_empty() {
        true => Verdict::works(""),
        false => Verdict::blocked(
            format!("not open to a container's ids (no x for others): {}", closed.join(" ")),
            format!("chmod o+x {}", quoted.join(" ")),
        ),
    })
}

/// What there is to say by the settings of lxc-net, unless they turn it off or cannot be used.
fn by_settings(judge: &dyn Fn(&Settings) -> Verdict) -> Verdict {
    match hostnet::load() {
        Ok((Wanted::On(settings), _)) => judge(&settings),
        Ok(_) => Verdict::works("lxc-net is turned off in its settings"),
        Err(e) => Verdict::blocked(sentence(&e), ""),
    }
}

pub(super) fn bridge(host: &Host) -> Verdict {
    by_settings(&|settings| bridge_of(host, settings))
}

fn bridge_of(host: &Host, settings: &Settings) -> Verdict {
    const IFF_UP: u64 = 1;
    let name = &settings.bridge.value;
    let dir = format!("sys/class/net/{name}");
    let flags = host.read(&format!("{dir}/flags"));
    let flags = flags.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok());
    match flags {
        None => Verdict::absent(format!("there is no {name}")).mend("lxc-net start"),
        Some(_) if !dirs::exists(&host.path(&dir).join("bridge")) => {
            Verdict::blocked(format!("{name} is no bridge"), "")
        }
        Some(flags) if flags & IFF_UP == 0 => {
            Verdict::blocked(format!("{name} is down"), format!("ip link set {name} up"))
        }
        Some(_) => Verdict::works(format!("{name} is up")),
    }
}

pub(super) fn dnsmasq(_: &Host) -> Verdict {
    by_settings(&|_| match hostnet::dnsmasq_program() {
        Ok(path) => Verdict::works(path),
        Err(error) => Verdict::absent(error.to_string()).mend(error.hint().unwrap_or_default()),
    })
}

/// Who holds the port that dnsmasq needs; it is ours when lxc-net has been started.
pub(super) fn port53(_: &Host) -> Verdict {
    by_settings(&|settings| match doctor::port(settings, 53) {
        _ if hostnet::dnsmasq_running() => Verdict::works("lxc-net's dnsmasq has it"),
        None => Verdict::works("free"),
        Some(finding) => Verdict::blocked(finding.what, finding.mend),
    })
}

pub(super) fn forwarding(host: &Host) -> Verdict {
    match host.number("proc/sys/net/ipv4/ip_forward") {
        Some(0) => Verdict::blocked("net.ipv4.ip_forward = 0", "sysctl -w net.ipv4.ip_forward=1"),
        Some(_) => Verdict::works(""),
        None => Verdict::unknown("no /proc/sys/net/ipv4/ip_forward"),
    }
}

/// Rules of Docker, ufw, firewalld that drop what containers send.
pub(super) fn firewall(host: &Host) -> Result<Verdict, Refusal> {
    Ok(by_settings(&|settings| rules(host, settings)))
}

fn rules(host: &Host, settings: &Settings) -> Verdict {
    use super::modules::Presence;
    if host.euid != 0 {
        return Verdict::unknown("only root may read the rules");
    }
    // To list rules that nobody has made would load the module for them.
    if host.modules.presence("nf_tables") == Presence::OnDisk {
        return Verdict::works("nf_tables is not loaded: there are no rules");
    }
    let findings = doctor::firewall(settings);
    // Rules that could not be read are told where none of the others blocks.
    match findings.iter().find(|finding| finding.blocks).or(findings.first()) {
        Some(finding) if finding.blocks => Verdict::blocked(&*finding.what, &*finding.mend),
        Some(finding) => Verdict::unknown(&*finding.what),
        None => Verdict::works(""),
    }
}
