//! lxc-usernsexec.

use super::Applet;
use crate::config::{Config, IdKind, IdMapEntry, Origin, Sourced};
use crate::idmap::{self, IdMap, NsId, Writer};
use crate::runtime::attach::parse_id;
use crate::runtime::unshare::{self, UnshareError};
use crate::sys::{cred, fd, passwd};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-usernsexec", about: "runs a command as root of a new user namespace", run };

/// As LXC's it takes none of the common options.
fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let number = |id: &str, letter: char| match matches.get(id) {
        None => Ok(0),
        Some(text) => text.to_str().and_then(parse_id).ok_or_else(|| {
            let text = text.to_string_lossy();
            Failure::usage(ctx.prog, format!("-{letter}: \"{text}\" is no id"))
        }),
    };
    let (uid, gid) = (number("uid", 'u')?, number("gid", 'g')?);
    let mut config = Config::default();
    for text in matches.get_many("map") {
        let wrong = || {
            let text = text.to_string_lossy();
            Failure::usage(ctx.prog, format!("-m: \"{text}\" is not of the form u:0:100000:65536"))
        };
        add(&mut config, text).ok_or_else(wrong)?;
    }
    if config.idmap.is_empty() {
        add_default(&mut config)?;
    }
    if matches.get_flag("self") {
        for (kind, host) in [(IdKind::Uid, cred::euid()), (IdKind::Gid, cred::egid())] {
            let ends = config.idmap.iter().filter(|line| line.value.kind == kind);
            let ns = ends.filter_map(|line| line.value.ns.checked_add(line.value.range)).max();
            push(&mut config, IdMapEntry { kind, ns: ns.unwrap_or(0), host, range: 1 }, "-s");
        }
    }
    let Some(map) = IdMap::from_config(&config)? else {
        return Err(Failure::new("nothing is mapped"));
    };
    for (kind, id, what) in [(IdKind::Uid, uid, "user"), (IdKind::Gid, gid, "group")] {
        if map.to_host(kind, NsId(id)).is_none() {
            return Err(Failure::new(format!("{what} {id} is not mapped in there")));
        }
    }
    let dirs = ["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from);
    let writer = idmap::plan_writer(&map, cred::euid(), cred::egid(), &dirs)?;
    let groups = writer != Writer::Direct { deny_setgroups: true };
    let shell = [OsString::from("/bin/sh")];
    let argv = if ctx.rest.is_empty() { &shell[..] } else { &ctx.rest };
    let outside = |pid| idmap::write(&map, &writer, pid).map_err(UnshareError::IdMap);
    let inside = || {
        unshare::separate()?;
        unshare::switch_to(uid, gid, groups)
    };
    // A user and a mount namespace.
    let namespaces = 0x1000_0000 | 0x0002_0000;
    let command = unshare::Command { namespaces, argv, outside: &outside, inside: &inside };
    let child = unshare::start(&command)?;
    Ok(ExitCode::from(unshare::wait(child)?.exit_code()))
}

fn push(config: &mut Config, value: IdMapEntry, label: &str) {
    config.idmap.push(Sourced { value, origin: Origin::label(label) });
}

/// One `-m`.
fn add(config: &mut Config, text: &OsStr) -> Option<()> {
    let text = text.to_str()?;
    let mut fields = text.split(':');
    let kinds = match fields.next()? {
        "u" => &[IdKind::Uid][..],
        "g" => &[IdKind::Gid],
        "b" => &[IdKind::Uid, IdKind::Gid],
        _ => return None,
    };
    let mut number = || fields.next()?.parse::<u32>().ok();
    let (ns, host, range) = (number()?, number()?, number()?);
    if fields.next().is_some() {
        return None;
    }
    for kind in kinds {
        push(config, IdMapEntry { kind: *kind, ns, host, range }, &format!("-m {text}"));
    }
    Some(())
}

/// The first line of each file that is the caller's, by name or number.
fn add_default(config: &mut Config) -> Result<(), Failure> {
    let number = cred::ruid().to_string();
    let users = passwd::users(Path::new("/etc/passwd")).unwrap_or_default();
    let name = passwd::by_uid(&users, cred::ruid()).map_or(&*number, |user| &*user.name);
    for (kind, file) in [(IdKind::Uid, "/etc/subuid"), (IdKind::Gid, "/etc/subgid")] {
        let text = fd::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| {
            let mut fields = line.split(':');
            fields.next().filter(|who| *who == name || *who == number)?;
            let host = fields.next()?.parse().ok()?;
            let range = fields.next()?.trim().parse().ok()?;
            Some(IdMapEntry { kind, ns: 0, host, range })
        });
        let Some(entry) = line else {
            return Err(Failure::new(format!("{file} gives {name} no ids")).hint(format!(
                "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}, or -m"
            )));
        };
        push(config, entry, file);
    }
    Ok(())
}
