//! Type macvlan: a device with an address of its own on a parent, seen by its neighbours as one
//! more machine on the wire.

use crate::config::MacvlanMode;
use crate::net::rtnl::LinkKind;

/// The kernel's description of one.
pub(super) fn kind(mode: MacvlanMode) -> LinkKind<'static> {
    // MACVLAN_MODE_* of linux/if_link.h.
    let mode = match mode {
        MacvlanMode::Private => 1,
        MacvlanMode::Vepa => 2,
        MacvlanMode::Bridge => 4,
        MacvlanMode::Passthru => 8,
    };
    LinkKind::Macvlan { mode }
}
