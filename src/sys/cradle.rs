//! The unified cgroup that this process's children are born in, while it is in another itself: a
//! monitor in the foreground has what it starts in there long before it comes in, which would cost
//! it a grace period of the kernel.
//!
//! There is one thread, so one cradle is all there is; a new process has none, and its children are
//! where it is.

use super::fd;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

thread_local! {
    static CRADLE: RefCell<Option<Rc<OwnedFd>>> = const { RefCell::new(None) };
}

/// From now on children are born there, or again where this process is.
pub fn set(cgroup: Option<OwnedFd>) {
    CRADLE.set(cgroup.map(Rc::new));
}

pub(super) fn get() -> Option<Rc<OwnedFd>> {
    CRADLE.with_borrow(Clone::clone)
}

/// # In the child
/// FALLBACK(<5.7): it was not born there, and moves itself.
pub(super) fn enter(cgroup: BorrowedFd<'_>) {
    if let Err(e) = fd::write_at(cgroup.as_fd(), "cgroup.procs", b"0") {
        log::debug!("{e}");
    }
}
