//! lxc-user-nic: gives an ordinary user's container a veth, as far as /etc/lxc/lxc-usernet allows.
//! It runs setuid root and trusts nothing of its caller: no variable of the environment is read,
//! paths are opened with the caller's own rights and answered alike whatever is there, and the
//! network namespace has to be the caller's in the eyes of the kernel. Start at [`main`].
//!
//! Command line, output and database are LXC's (`src/lxc/cmd/lxc_user_nic.c`): either program's
//! callers can use the other.

mod caller;
pub mod nics;
pub mod policy;

use crate::config::path::SYSCONFDIR;
use crate::net::plug;
use crate::net::user::NO_BRIDGE;
use crate::sys::{SysError, cred, fd, random, signal};
use caller::Caller;
use nics::{Entry, Nics};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

const USAGE: &str = "usage: lxc-user-nic create LXCPATH NAME PID veth BRIDGE [NIC]
       lxc-user-nic delete LXCPATH NAME /proc/PID/ns/net veth BRIDGE NIC

Gives a container of an ordinary user a network device, as far as /etc/lxc/lxc-usernet
allows; lxc-start calls it. BRIDGE may be none.
";

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the sentence of each variant says what it is")]
pub enum Error {
    #[error("{USAGE}")]
    Usage,
    #[error("it has to be owned by root and setuid (chown root FILE && chmod u+s FILE)")]
    NotSetuid,
    /// One sentence for all reasons: what there is at a path the caller may not learn here.
    #[error("uid {uid} may not use that network namespace")]
    Namespace { uid: u32 },
    #[error("uid {uid} has no name in /etc/passwd")]
    Nobody { uid: u32 },
    #[error("\"{word}\" cannot be the name of an interface")]
    Name { word: String },
    #[error(
        "Quota reached: {user} may have {limit} of type {kind} on \"{bridge}\" by \
         /etc/lxc/lxc-usernet"
    )]
    Quota { user: String, kind: String, bridge: String, limit: u32 },
    #[error("\"{nic}\" on \"{bridge}\" is not {user}'s")]
    NotYours { user: String, nic: String, bridge: String },
    #[error("only ports of Open vSwitch are deleted; \"{bridge}\" is none")]
    NotOvs { bridge: String },
    #[error("{0}")]
    Net(#[from] crate::net::NetError),
    #[error("{what}: {cause}")]
    System { what: &'static str, cause: SysError },
}

fn system(what: &'static str) -> impl FnOnce(SysError) -> Error {
    move |cause| Error::System { what, cause }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the usage")]
pub enum Verb {
    Create { pid: u32, nic: Option<String> },
    Delete { netns: String, nic: String },
}

/// A command line. LXCPATH and NAME are there for LXC's sake, and mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the usage")]
pub struct Request {
    pub verb: Verb,
    pub kind: String,
    pub bridge: String,
}

/// Runs the program.
pub fn main() -> ExitCode {
    signal::hear_of_children();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&words) {
        Ok(line) => match fd::write_all(fd::borrow(1), line.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            let text = match &error {
                Error::Usage => USAGE.to_owned(),
                Error::Net(e) => format!("lxc-user-nic: {error}{}\n", cause(e)),
                _ => format!("lxc-user-nic: {error}\n"),
            };
            let _ = fd::write_all(fd::borrow(2), text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
}

fn run(words: &[OsString]) -> Result<String, Error> {
    let request = parse(words)?;
    if cred::euid() != 0 {
        return Err(Error::NotSetuid);
    }
    let caller = Caller::identify()?;
    let path = match &request.verb {
        Verb::Create { pid, .. } => format!("/proc/{pid}/ns/net"),
        Verb::Delete { netns, .. } => netns.clone(),
    };
    // Before anything else is looked at, so that who may nothing learns nothing.
    let netns = caller.open_namespace(&path)?;
    caller::become_root().map_err(system("becoming root"))?;
    let named = caller.named()?;
    let text = fd::read_to_string(format!("{SYSCONFDIR}/lxc-usernet")).unwrap_or_default();
    let grants = policy::grants(&text, &named, &request.kind, &request.bridge);
    let mut nics = Nics::open().map_err(system("opening /run/lxc/nics"))?;
    match request.verb {
        Verb::Create { nic, .. } => {
            let wanted = nic.as_deref().unwrap_or("eth%d");
            let pair = (&*request.kind, &*request.bridge);
            create(&caller, &named.user, &grants, &mut nics, &netns, pair, wanted)
        }
        Verb::Delete { nic, .. } => {
            let entry = find(&caller, &grants, &nics, &request.kind, &request.bridge, &nic);
            let bridge = request.bridge;
            let Some(entry) = entry else {
                return Err(Error::NotYours { user: named.user, nic, bridge });
            };
            if !plug::unplug_ovs(&bridge, &nic)? {
                return Err(Error::NotOvs { bridge });
            }
            nics.remove(&entry);
            nics.save().map_err(system("writing /run/lxc/nics"))?;
            Ok(String::new())
        }
    }
}

/// Counts, makes, writes down, and tells.
fn create(
    caller: &Caller,
    user: &str,
    grants: &[policy::Grant],
    nics: &mut Nics,
    netns: &OwnedFd,
    (kind, bridge): (&str, &str),
    wanted: &str,
) -> Result<String, Error> {
    nics.cull(grants, kind, bridge, &mut |nic| plug::exists(nic).unwrap_or(true));
    let room = grants.iter().find(|g| nics.count(&g.owner, kind, bridge) < g.limit as usize);
    let Some(grant) = room else {
        // Those that are gone are not counted the next time either.
        nics.save().map_err(system("writing /run/lxc/nics"))?;
        let limit = grants.iter().map(|g| g.limit).fold(0, u32::saturating_add);
        let (user, kind, bridge) = (user.to_owned(), kind.to_owned(), bridge.to_owned());
        return Err(Error::Quota { user, kind, bridge, limit });
    };
    let host = caller.host_name(&random::bytes().map_err(system("choosing a name"))?);
    let entry = Entry::new(&grant.owner, kind, bridge, &host);
    // Before it is made: who manages to end this program in between has one more counted until it
    // is found to be gone, and not one less.
    nics.add(&entry);
    nics.save().map_err(system("writing /run/lxc/nics"))?;
    let link = (bridge != NO_BRIDGE).then_some(bridge);
    match plug::plug(netns.as_fd(), link, host, wanted) {
        Ok(p) => Ok(format!("{}:{}:{}:{}\n", p.inside, p.inside_index, p.host, p.host_index)),
        Err(error) => {
            nics.remove(&entry);
            nics.save().map_err(system("writing /run/lxc/nics"))?;
            Err(error.into())
        }
    }
}

/// The entry of a device of the caller's: every field has to be the same (CVE-2026-39402: LXC
/// looked at the name alone), and of a group's the device has to bear the caller's number.
fn find(
    caller: &Caller,
    grants: &[policy::Grant],
    nics: &Nics,
    kind: &str,
    bridge: &str,
    nic: &str,
) -> Option<Entry> {
    let own = grants.iter().filter(|g| !g.owner.starts_with('@') || caller.made(nic));
    own.map(|g| Entry::new(&g.owner, kind, bridge, nic)).find(|entry| nics.has(entry))
}

/// Reads the command line.
///
/// # Errors
/// It is none of the two of the usage, or what has to be the name of an interface is none.
pub fn parse(words: &[OsString]) -> Result<Request, Error> {
    // Anything that is no text means something else to somebody.
    let words: Option<Vec<&str>> =
        words.iter().map(|w| std::str::from_utf8(w.as_bytes()).ok()).collect();
    let words = words.ok_or(Error::Usage)?;
    let (verb, kind, bridge) = match words[..] {
        ["create", _, _, pid, kind, bridge] => (create_verb(pid, None)?, kind, bridge),
        ["create", _, _, pid, kind, bridge, nic] => (create_verb(pid, Some(nic))?, kind, bridge),
        ["delete", _, _, netns, kind, bridge, nic] => {
            named(nic)?;
            let (netns, nic) = (netns.to_owned(), nic.to_owned());
            (Verb::Delete { netns, nic }, kind, bridge)
        }
        _ => return Err(Error::Usage),
    };
    named(bridge)?;
    if kind != "veth" {
        return Err(Error::Usage);
    }
    Ok(Request { verb, kind: kind.to_owned(), bridge: bridge.to_owned() })
}

fn create_verb(pid: &str, nic: Option<&str>) -> Result<Verb, Error> {
    // Digits alone: what else the number's parser takes has no place in a path.
    let digits = pid.bytes().all(|b| b.is_ascii_digit());
    let pid = pid.parse().ok().filter(|_| digits).ok_or(Error::Usage)?;
    if let Some(nic) = nic.filter(|nic| !nic.contains('%')) {
        named(nic)?;
    }
    Ok(Verb::Create { pid, nic: nic.map(str::to_owned) })
}

fn named(word: &str) -> Result<(), Error> {
    if plug::is_name(word) { Ok(()) } else { Err(Error::Name { word: word.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, Error> {
        parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn command_lines_are_lxcs() {
        let made = parsed("create /p c1 12 veth br0 eth0").unwrap();
        assert_eq!(made.verb, Verb::Create { pid: 12, nic: Some("eth0".into()) });
        assert_eq!(made.bridge, "br0");
        assert!(parsed("create /p c1 12 veth none").is_ok());
        assert!(parsed("create /p c1 12 veth br0 eth%d").is_ok());
        assert!(parsed("delete /p c1 /proc/12/ns/net veth ovs0 veth1000_AbCd").is_ok());
        for wrong in [
            "",
            "create",
            "create /p c1 12 veth",
            "create /p c1 +12 veth br0",
            "create /p c1 12/../1 veth br0",
            "create /p c1 12 macvlan br0",
            "create /p c1 12 veth --br0",
            "create /p c1 12 veth br0 a/b",
            "create /p c1 12 veth br0 eth0 more",
            "delete /p c1 /proc/12/ns/net veth br0",
            "delete /p c1 /proc/12/ns/net veth br0 -x",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
