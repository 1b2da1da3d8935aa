//! Ports of an Open vSwitch bridge, by its own tool: the switch keeps its ports in a database that
//! only `ovs-vsctl` should write to.

use crate::config::VethVlan;
use crate::net::error::Fault;
use crate::net::rtnl::{Rtnl, Target};
use crate::net::veth::VethPlan;
use crate::sys::process::Wait;
use crate::sys::spawn::{Output, run_program};
use std::path::Path;

/// Where distributions put the tool.
const PLACES: [&str; 4] =
    ["/usr/bin/ovs-vsctl", "/usr/sbin/ovs-vsctl", "/usr/local/bin/ovs-vsctl", "/bin/ovs-vsctl"];

fn tool() -> Option<&'static str> {
    PLACES.into_iter().find(|path| Path::new(path).exists())
}

fn run(tool: &str, args: &[&str]) -> Result<Output, Fault> {
    // A switch that is not running must not hold up a start.
    let mut argv = vec![tool, "--timeout=10"];
    argv.extend_from_slice(args);
    let env = [("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())];
    run_program(&argv, &env, &[])
        .map_err(|cause| Fault::System { step: "running ovs-vsctl", cause })
}

/// True if `name` is a bridge of Open vSwitch. Without the tool there is no way to tell, and none
/// to add a port either.
pub(super) fn is_bridge(name: &str) -> Result<bool, Fault> {
    match tool() {
        Some(tool) => Ok(run(tool, &["br-exists", name])?.status == Wait::Exited(0)),
        None => Ok(false),
    }
}

/// What a port of ours is known by in the switch's database.
const MARK: &str = "external_ids:lxc=container";

/// Makes `port` a port of `bridge` in the VLANs of the plan, and takes out those of containers whose
/// monitor was killed: the switch keeps the port of a device that is gone, for ever.
pub(super) fn add_port(
    bridge: &str,
    port: &str,
    plan: &VethPlan,
    host: &mut Rtnl,
) -> Result<(), Fault> {
    let find = ["--bare", "--columns=name", "find", "interface", MARK];
    let known = checked(&find.map(str::to_owned))?;
    let mut args = Vec::new();
    for name in known.lines().filter(|name| !name.is_empty() && *name != port) {
        if let Ok(None) = host.link(Target::Name(name)) {
            args.extend(["--if-exists", "del-port", name, "--"].map(str::to_owned));
        }
    }
    args.extend(["--may-exist", "add-port", bridge, port].map(str::to_owned));
    args.extend(port_settings(plan));
    args.extend(["--", "set", "interface", port, MARK].map(str::to_owned));
    checked(&args).map(drop)
}

/// Takes `port` out of `bridge`; it may be gone.
pub(super) fn delete_port(bridge: &str, port: &str) -> Result<(), Fault> {
    checked(&["--if-exists".to_owned(), "del-port".into(), bridge.into(), port.into()]).map(drop)
}

/// Runs the tool; gives back what it says.
fn checked(args: &[String]) -> Result<String, Fault> {
    let tool = tool().ok_or(Fault::NoOvs)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = run(tool, &args)?;
    let text = String::from_utf8_lossy(&output.text);
    if output.status == Wait::Exited(0) {
        return Ok(text.into_owned());
    }
    let line = text.lines().next().unwrap_or("no reason given").trim().to_owned();
    Err(Fault::Ovs { line })
}

/// The columns of the port's record that its VLANs need (LXC's lxc_ovs_setup_bridge_vlan_exec).
fn port_settings(plan: &VethPlan) -> Vec<String> {
    let tagged: Vec<String> = plan.vlan_tagged.iter().map(ToString::to_string).collect();
    let mode = match (plan.vlan, tagged.is_empty()) {
        (Some(VethVlan::Id(_)), true) => "access",
        (Some(VethVlan::Id(_)), false) => "native-untagged",
        (_, false) => "trunk",
        (_, true) => return Vec::new(),
    };
    let mut settings = vec![format!("vlan_mode={mode}")];
    if let Some(VethVlan::Id(id)) = plan.vlan {
        settings.push(format!("tag={id}"));
    }
    if !tagged.is_empty() {
        settings.push(format!("trunks={}", tagged.join(",")));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_become_columns() {
        let plan = |vlan, tagged: &[u16]| VethPlan {
            vlan,
            vlan_tagged: tagged.to_vec(),
            ..VethPlan::default()
        };
        assert!(port_settings(&plan(None, &[])).is_empty());
        assert!(port_settings(&plan(Some(VethVlan::None), &[])).is_empty());
        assert_eq!(port_settings(&plan(Some(VethVlan::Id(5)), &[])), ["vlan_mode=access", "tag=5"]);
        assert_eq!(
            port_settings(&plan(Some(VethVlan::Id(5)), &[6, 7])),
            ["vlan_mode=native-untagged", "tag=5", "trunks=6,7"]
        );
        assert_eq!(
            port_settings(&plan(Some(VethVlan::None), &[6])),
            ["vlan_mode=trunk", "trunks=6"]
        );
    }
}
