//! Removing a container.

use crate::sys::SysError;
use std::path::Path;

/// Removes a directory tree or a file, whatever is in it.
pub(super) fn remove_tree(path: &Path) -> Result<(), Vec<SysError>> {
    crate::sys::rmtree::remove(path)
}
