//! `script.up` and `script.down` of one interface: arguments and environment as LXC's
//! `run_script_argv` gives them in both hook versions.

use crate::config::Sourced;
use crate::net::Made;
use crate::net::error::{Fault, NetError, kind_name};
use crate::sys::process::Wait;
use crate::sys::spawn::{Script, ScriptContext, run_script};

/// `up` or `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Up,
    Down,
}

impl Which {
    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
    fn key(self) -> &'static str {
        match self {
            Self::Up => "script.up",
            Self::Down => "script.down",
        }
    }
}

/// Runs one script and waits for it; anything but exit status 0 is an error.
pub(super) fn run(
    which: Which,
    command: &Sourced<String>,
    made: &Made,
    context: &ScriptContext,
) -> Result<(), NetError> {
    let args = arguments(which, made, context);
    let env = environment(which, made, context);
    let script = Script { command: &command.value, args: &args, env: &env, fds: &[] };
    let error = |fault| NetError::new(Some(made.index), Some(command.origin.clone()), fault);
    let output = run_script(&script).map_err(|cause| {
        let step = match which {
            Which::Up => "running script.up",
            Which::Down => "running script.down",
        };
        error(Fault::System { step, cause })
    })?;
    let text = String::from_utf8_lossy(&output.text);
    for line in text.lines() {
        log::debug!("{}: {line}", which.key());
    }
    let how = match output.status {
        Wait::Exited(0) => return Ok(()),
        Wait::Exited(status) => format!("ended with status {status}"),
        Wait::Signaled(signal) => format!("was ended by signal {signal}"),
        Wait::Running => "did not end".to_owned(),
    };
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let output = if last.is_empty() { String::new() } else { format!(": {}", last.trim()) };
    let command = format!("\"{}\"", command.value);
    Err(error(Fault::Script { which: which.key(), command, how, output }))
}

/// Version 0 begins with `NAME net up`; both end with type, link and the host's end, as far as
/// there are any (LXC drops empty ones on the shell's way).
fn arguments(which: Which, made: &Made, context: &ScriptContext) -> Vec<String> {
    let mut args = Vec::with_capacity(6);
    if context.hook_version == 0 {
        args.push(context.name.clone());
        args.push("net".to_owned());
        args.push(which.word().to_owned());
    }
    args.push(kind_name(made.kind).to_owned());
    args.extend([&made.link, &made.host].into_iter().flatten().cloned());
    args
}

/// The caller's environment; version 1 says the same there as the arguments do.
fn environment(which: Which, made: &Made, context: &ScriptContext) -> Vec<(String, String)> {
    let mut env = context.env.clone();
    if context.hook_version == 0 {
        return env;
    }
    let mut set = |key: &str, value: &str| {
        env.retain(|(k, _)| k != key);
        env.push((key.to_owned(), value.to_owned()));
    };
    set("LXC_HOOK_TYPE", which.word());
    set("LXC_HOOK_SECTION", "net");
    set("LXC_NET_TYPE", kind_name(made.kind));
    if let Some(link) = &made.link {
        set("LXC_NET_PARENT", link);
    }
    if let Some(host) = &made.host {
        set("LXC_NET_PEER", host);
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NetKind;

    fn made(link: Option<&str>) -> Made {
        Made {
            index: 0,
            kind: NetKind::Veth,
            host: Some("vethAB".into()),
            container: "eth0".into(),
            link: link.map(str::to_owned),
        }
    }

    #[test]
    fn version_0_is_told_by_arguments() {
        let context = ScriptContext {
            name: "c1".into(),
            hook_version: 0,
            env: vec![("A".into(), "b".into())],
        };
        assert_eq!(
            arguments(Which::Up, &made(Some("br0")), &context),
            ["c1", "net", "up", "veth", "br0", "vethAB"]
        );
        assert_eq!(
            arguments(Which::Down, &made(None), &context),
            ["c1", "net", "down", "veth", "vethAB"]
        );
        assert_eq!(environment(Which::Up, &made(None), &context), context.env);
    }

    #[test]
    fn version_1_by_the_environment_too() {
        let old = ("LXC_HOOK_TYPE".to_owned(), "pre-start".to_owned());
        let context = ScriptContext { name: "c1".into(), hook_version: 1, env: vec![old] };
        assert_eq!(arguments(Which::Up, &made(Some("br0")), &context), ["veth", "br0", "vethAB"]);
        let env = environment(Which::Down, &made(Some("br0")), &context);
        let text: Vec<_> = env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            text,
            [
                "LXC_HOOK_TYPE=down",
                "LXC_HOOK_SECTION=net",
                "LXC_NET_TYPE=veth",
                "LXC_NET_PARENT=br0",
                "LXC_NET_PEER=vethAB"
            ]
        );
    }
}
