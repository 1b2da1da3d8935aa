//! lxc-unshare.

use super::Applet;
use crate::config::NsKind;
use crate::net::request::{Change, Target};
use crate::net::rtnl::Rtnl;
use crate::runtime::attach::{parse_id, parse_namespaces};
use crate::runtime::unshare::{self, Step, UnshareError};
use crate::sys::process::{Pid, Wait};
use crate::sys::{cred, fd, passwd, procfs};
use crate::ui::args::get_text;
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-unshare", about: "runs a command in new namespaces", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let usage = |text: &str| Failure::usage(ctx.prog, text);
    if ctx.rest.is_empty() {
        return Err(usage("a command to execute in the new namespace is required"));
    }
    let list = get_text(ctx, matches, "namespaces")?.unwrap_or_default();
    // As LXC: empty words between the bars are nothing.
    let words: Vec<&str> = list.split('|').filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(usage("a namespace to execute the command in is required: -s"));
    }
    let set = parse_namespaces(&words.join("|"))
        .map_err(|word| usage(&format!("-s: \"{word}\" is no namespace")))?;
    let hostname = get_text(ctx, matches, "hostname")?;
    let devices: Vec<_> = matches.get_many("ifname").map(|name| name.to_string_lossy()).collect();
    let user = get_text(ctx, matches, "user")?;
    let remount = matches.get_flag("remount");
    for (given, kind, text) in [
        (hostname.is_some(), NsKind::Uts, "-H needs -s UTSNAME"),
        (!devices.is_empty(), NsKind::Net, "-i needs -s NETWORK"),
        (remount, NsKind::Mnt, "-M needs -s MOUNT"),
        (user.is_some(), NsKind::User, "-u needs -s USER"),
    ] {
        if given && !set.has(kind) {
            return Err(usage(text));
        }
    }
    let uid = user.map(|user| id_of(ctx, user)).transpose()?;
    let caller = cred::ruid();
    let outside = |pid: Pid| -> Result<(), UnshareError> {
        if let Some(uid) = uid {
            let map = format!("{uid} {caller} 1");
            fd::write_file(format!("/proc/{pid}/uid_map"), map.as_bytes())
                .step("mapping the user")?;
        }
        devices.iter().try_for_each(|name| move_in(name, pid))
    };
    let inside = || -> Result<(), UnshareError> {
        if set.has(NsKind::Mnt) {
            unshare::separate()?;
        }
        if remount {
            unshare::remount(set.has(NsKind::Ipc))?;
        }
        if let Some(name) = hostname {
            crate::sys::process::sethostname(name).step("setting the host name")?;
        }
        uid.map_or(Ok(()), |uid| cred::set_uid(uid).step("becoming the user"))
    };
    let namespaces = set.flags();
    let argv = &ctx.rest;
    let child =
        unshare::start(&unshare::Command { namespaces, argv, outside: &outside, inside: &inside })?;
    if matches.get_flag("daemon") {
        child.disarm();
        return Ok(ExitCode::SUCCESS);
    }
    match unshare::wait(child)? {
        Wait::Exited(0) => Ok(ExitCode::SUCCESS),
        how => {
            let program = argv.first().map(|word| word.to_string_lossy()).unwrap_or_default();
            ctx.warn(&format!("\"{program}\" {how}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// LXC takes only users of /etc/passwd; a number needs none.
fn id_of(ctx: &Context, user: &str) -> Result<u32, Failure> {
    if let Some(id) = parse_id(user) {
        return Ok(id);
    }
    let users = passwd::users(Path::new("/etc/passwd"))?;
    let found = users.iter().find(|one| one.name == user);
    let unknown = || Failure::usage(ctx.prog, format!("-u: there is no user \"{user}\""));
    found.map(|one| one.uid).ok_or_else(unknown)
}

fn move_in(name: &str, pid: Pid) -> Result<(), UnshareError> {
    let failed = |cause| UnshareError::Device { name: name.to_owned(), cause };
    let mut rtnl = Rtnl::open().map_err(failed)?;
    if rtnl.link(Target::Name(name)).map_err(failed)?.is_none() {
        return Err(UnshareError::NoDevice(name.to_owned()));
    }
    let netns = procfs::open_namespace(pid, "net").step("opening the network namespace")?;
    let change = Change { netns: Some(netns.as_fd()), ..Change::default() };
    rtnl.set_link(Target::Name(name), &change).map_err(failed)
}
