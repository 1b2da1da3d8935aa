//! Type macvlan: a device with an address of its own on a parent, seen by its neighbours as one
//! more machine on the wire.

use crate::config::MacvlanMode;
use crate::net::rtnl::LinkKind;

/// MACVLAN_MODE_PASSTHRU of linux/if_link.h: the only device on its parent.
pub(super) const PASSTHRU: u32 = 8;

/// The kernel's description of one.
pub(super) fn kind(mode: MacvlanMode) -> LinkKind<'static> {
    // MACVLAN_MODE_* too.
    let mode = match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => PASSTHRU,
    };
    LinkKind::Macvlan { mode }
}
