//! Which program becomes process 1, and with which arguments. Pure.

use super::plan::Request;
use super::sync::{Failure, Step};
use crate::config::{Config, NsKind, Origin};
use crate::util::words;

/// What LXC runs when nothing is configured.
const DEFAULT_INIT: &str = "/sbin/init";

/// Our small init, as process 1 of lxc-execute is called; see `applets::init`.
pub const EXECUTE_INIT: &str = "lxc-init";

/// Arguments of init and the line that chose them: the command of the caller, else
/// `lxc.execute.cmd` (lxc-execute) or `lxc.init.cmd`, else /sbin/init.
///
/// # Errors
/// A quote that is not closed; lxc-execute without any command; no command and no root file
/// system, for the host's own init would boot on the host's root then (as LXC lets it), where it
/// empties /tmp and more.
pub fn init(config: &Config, request: &Request) -> Result<(Vec<String>, Option<Origin>), Failure> {
    let (key, line) = if request.execute {
        ("lxc.execute.cmd", config.execute_cmd.as_deref())
    } else {
        ("lxc.init.cmd", config.init.cmd.as_deref())
    };
    let (words, origin) = if !request.command.is_empty() {
        (request.command.clone(), None)
    } else if let Some(line) = line {
        let origin = config.origin(key).cloned();
        let words = words::split(line).map_err(|e| {
            Failure::text(Step::Plan, format!("{key} = {line}: {e}")).or_origin(origin.as_ref())
        })?;
        (words, origin)
    } else if request.execute {
        return Err(Failure::text(Step::Plan, "there is no command to execute")
            .with_hint("lxc-execute -n NAME -- COMMAND, or set lxc.execute.cmd"));
    } else if config.rootfs.path.is_none() && !config.namespaces.share.contains_key(&NsKind::Mnt) {
        return Err(Failure::text(
            Step::Plan,
            "the host's init would boot on the host's root: there is \
             neither lxc.rootfs.path nor a program to run",
        )
        .with_hint("set lxc.rootfs.path, or lxc.init.cmd to a program of the host"));
    } else {
        (vec![DEFAULT_INIT.to_string()], None)
    };
    if !request.execute {
        return Ok((words, origin));
    }
    let mut argv: Vec<String> = [EXECUTE_INIT, "--name"].map(str::to_string).to_vec();
    argv.push(request.name.clone());
    if request.quiet {
        argv.push("--quiet".to_string());
    }
    argv.push("--".to_string());
    argv.extend(words);
    Ok((argv, origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sourced;

    fn request(command: &[&str], execute: bool) -> Request {
        let command = command.iter().map(|s| s.to_string()).collect();
        Request { name: "c1".into(), command, execute, ..Request::default() }
    }

    #[test]
    fn the_callers_command_wins() {
        let mut config = Config::default();
        config.init.cmd = Some("/bin/other".into());
        assert_eq!(
            init(&config, &request(&["/bin/sh", "-l"], false)).unwrap().0,
            ["/bin/sh", "-l"]
        );
        assert_eq!(init(&config, &request(&[], false)).unwrap().0, ["/bin/other"]);
        config.init.cmd = None;
        config.rootfs.path = Some("/srv/root".into());
        assert_eq!(init(&config, &request(&[], false)).unwrap().0, ["/sbin/init"]);
    }

    #[test]
    fn the_hosts_init_is_not_booted_on_the_hosts_root() {
        let mut config = Config::default();
        let refused = init(&config, &request(&[], false)).unwrap_err();
        assert!(refused.message.contains("neither lxc.rootfs.path nor"), "{refused}");
        assert!(init(&config, &request(&["/bin/true"], false)).is_ok());
        // Another container's mounts, and its init.
        let sourced = Sourced { value: "c2".into(), origin: Origin::label("test") };
        config.namespaces.share.insert(NsKind::Mnt, sourced);
        assert!(init(&config, &request(&[], false)).is_ok());
    }

    #[test]
    fn execute_wraps_the_command_in_our_init() {
        let mut config = Config::default();
        assert!(init(&config, &request(&[], true)).is_err());
        config.execute_cmd = Some("sleep '1 2'".into());
        assert_eq!(
            init(&config, &request(&[], true)).unwrap().0,
            ["lxc-init", "--name", "c1", "--", "sleep", "1 2"]
        );
        let quiet = Request { quiet: true, ..request(&[], true) };
        let words = init(&config, &quiet).unwrap().0;
        assert_eq!(words[2..], ["c1", "--quiet", "--", "sleep", "1 2"]);
    }
}
