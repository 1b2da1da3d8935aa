//! Type vlan: one 802.1Q VLAN of a parent, untagged in the container.

use crate::config::NetConfig;
use crate::net::error::{Blame, Fault, blame};

/// The identifier of the VLAN.
///
/// # Errors
/// None was given (LXC takes 0, which is no VLAN), or it is outside 1 to 4094.
pub(super) fn plan(net: &NetConfig) -> Result<u16, Blame> {
    match net.vlan_id {
        Some(id @ 1..=4094) => Ok(id),
        Some(id) => Err(blame("vlan.id")(Fault::VlanRange { id })),
        None => Err(blame("type")(Fault::NoVlanId)),
    }
}
