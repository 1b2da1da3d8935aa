//! What a container that has just ended still has for a moment (a name, an address, a VLAN): the
//! kernel takes a network namespace down on its own time, and tells nobody when it is done. A stop
//! removes what excludes others itself; this is for the pairs that it leaves for later, and for
//! monitors that were killed.

use std::thread::sleep;
use std::time::Duration;

/// The pauses between two looks, in milliseconds: 1 s in all.
const PAUSES: &[u64] = &[2, 8, 20, 70, 200, 700];

/// Asks `free` until it is true, or for a second: false then. An error ends the wait at once.
pub(super) fn wait<E>(free: &mut dyn FnMut() -> Result<bool, E>) -> Result<bool, E> {
    for pause in PAUSES {
        if free()? {
            return Ok(true);
        }
        sleep(Duration::from_millis(*pause));
    }
    free()
}
