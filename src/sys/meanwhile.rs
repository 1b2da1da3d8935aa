//! What a process does while it waits for another: the monitor of a container answers on its
//! command socket while a hook runs or the container is set up. The waits of `sys` for other
//! processes are made through here, so that nobody above has to think of it.
//!
//! There is one thread, so one service is all there is; a new process has none.

use super::error::Result;
use super::event::{self, Watch};
use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// Who is served.
pub trait Service {
    /// Can be read when there is something to do; `None` while this service has other hands.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Does it, without waiting for anything.
    fn serve(&mut self);
}

thread_local! {
    static SERVICE: RefCell<Option<Weak<RefCell<dyn Service>>>> = const { RefCell::new(None) };
}

/// From now on `service` is served, for as long as it lives.
pub fn serve<S: Service + 'static>(service: &Rc<RefCell<S>>) {
    let weak: Weak<RefCell<dyn Service>> = Rc::<RefCell<S>>::downgrade(service);
    SERVICE.set(Some(weak));
}

/// # In the child
/// What its parent serves is none of its business.
pub(super) fn forget() {
    SERVICE.set(None);
}

fn service() -> Option<Rc<RefCell<dyn Service>>> {
    SERVICE.with_borrow(|service| service.as_ref()?.upgrade())
}

/// Sleeps until one of at most 15 descriptors can be read or `timeout` has passed: the mask of
/// [`event::poll_all`].
///
/// # Errors
/// Those of poll(2).
pub fn wait(fds: &[Option<BorrowedFd<'_>>], timeout: Option<Duration>) -> Result<u32> {
    let end = timeout.and_then(|time| Instant::now().checked_add(time));
    loop {
        let service = service();
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let ready = {
            let lent = service.as_ref().and_then(|s| s.try_borrow().ok());
            let mut watches = vec![lent.as_ref().and_then(|s| s.fd()).map(reading)];
            watches.extend(fds.iter().map(|fd| fd.map(reading)));
            event::poll_all(&watches, left)?
        };
        if ready & 1 != 0 {
            if let Some(mut service) = service.as_ref().and_then(|s| s.try_borrow_mut().ok()) {
                service.serve();
            }
        }
        if ready >> 1 != 0 || left.is_some_and(|left| left.is_zero()) {
            return Ok(ready >> 1);
        }
    }
}

fn reading(fd: BorrowedFd<'_>) -> Watch<'_> {
    Watch { fd, read: true, write: false }
}

/// Before a call that waits until `fd` can be read; that call says what is wrong, if anything is.
pub fn until_readable(fd: Option<BorrowedFd<'_>>) {
    if fd.is_some() && service().is_some() {
        let _that_call_says_why = wait(&[fd], None);
    }
}
