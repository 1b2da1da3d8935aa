//! What a tool that was killed left half done is completed or undone by the next one that is told of
//! the container.

use super::copy::{CopyError, rename};
use super::{Container, restore};

/// Completes or undoes it; what the user should know of it.
///
/// # Errors
/// As those of what was left half done.
pub fn mend(container: &Container) -> Result<Option<&'static str>, CopyError> {
    if restore::is_half_done(container) && restore::mend(container)? {
        return Ok(Some("lxc-snapshot -r was killed half way: that is completed or undone now"));
    }
    let undone = rename::mend(container)?;
    Ok(undone.then_some("lxc-copy -R was killed half way: it has its old name again"))
}
