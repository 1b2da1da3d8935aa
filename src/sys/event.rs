//! Waiting: epoll for the monitor's loop, a plain poll with a deadline for clients, signalfd,
//! timerfd, and pidfd readiness. No callbacks: the caller's loop matches on tokens.

#![allow(unsafe_code, reason = "signalfd has no wrapper in rustix")]

use super::error::{At, Result, SysError};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What to wait for, and what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read (also: end of file, a connection to accept, a dead process).
    pub read: bool,
    /// Something can be written.
    pub write: bool,
    /// The other side is gone or the descriptor is in error; always watched, never asked for.
    pub hangup: bool,
}

impl Ready {
    /// Interest in reading.
    pub const READ: Self = Self { read: true, write: false, hangup: false };
    /// Interest in writing.
    pub const WRITE: Self = Self { read: false, write: true, hangup: false };
    /// Interest in errors only.
    pub const NONE: Self = Self { read: false, write: false, hangup: false };
    /// Interest in both.
    pub const BOTH: Self = Self { read: true, write: true, hangup: false };

    fn epoll(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// One event of an [`Epoll`].
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What the descriptor was added with.
    pub token: u64,
    /// What happened to it.
    pub ready: Ready,
}

/// A level-triggered epoll set.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty set, close-on-exec.
    pub fn new() -> Result<Self> {
        epoll::create(epoll::CreateFlags::CLOEXEC).at("epoll_create1", || "").map(Self)
    }

    /// Watches `fd`; its events carry `token`. EPERM for what cannot be waited for (a file).
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Ready) -> Result<()> {
        epoll::add(&self.0, fd, EventData::new_u64(token), interest.epoll())
            .at("epoll_ctl", || "EPOLL_CTL_ADD")
    }

    /// Changes what is watched for.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Ready) -> Result<()> {
        epoll::modify(&self.0, fd, EventData::new_u64(token), interest.epoll())
            .at("epoll_ctl", || "EPOLL_CTL_MOD")
    }

    /// Stops watching. Needed before closing a descriptor that other processes also hold, for
    /// epoll watches the open file, not the number.
    pub fn delete(&self, fd: BorrowedFd<'_>) -> Result<()> {
        epoll::delete(&self.0, fd).at("epoll_ctl", || "EPOLL_CTL_DEL")
    }

    /// Waits for events, at most `timeout`; fills `out` from the front and returns how many. An
    /// interrupted wait returns 0.
    pub fn wait(&self, out: &mut [Event; 8], timeout: Option<Duration>) -> Result<usize> {
        let empty = epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut raw = [empty; 8];
        let limit = timeout.map(timespec);
        let n = match epoll::wait(&self.0, raw.as_mut_slice(), limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => 0,
            done => done.at("epoll_wait", || "")?,
        };
        for (event, raw) in out.iter_mut().zip(raw.iter().take(n)) {
            let flags = raw.flags;
            *event = Event {
                token: raw.data.u64(),
                ready: Ready {
                    read: flags.contains(EventFlags::IN),
                    write: flags.contains(EventFlags::OUT),
                    hangup: flags.intersects(EventFlags::HUP | EventFlags::ERR),
                },
            };
        }
        Ok(n.min(out.len()))
    }
}

impl Event {
    /// A place for [`Epoll::wait`] to fill.
    pub const EMPTY: Self = Self { token: 0, ready: Ready::NONE };
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until `fd` is ready or `deadline` has passed (`None`: for ever); at the deadline all
/// fields are false.
pub fn poll(fd: BorrowedFd<'_>, interest: Ready, deadline: Option<Instant>) -> Result<Ready> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.read);
    flags.set(PollFlags::OUT, interest.write);
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    loop {
        let left = deadline.map(|d| timespec(d.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(SysError::rustix("poll", "", e)),
            Ok(_) => {
                let got = fds[0].revents();
                return Ok(Ready {
                    read: got.contains(PollFlags::IN),
                    write: got.contains(PollFlags::OUT),
                    hangup: got.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
                });
            }
        }
    }
}

/// A descriptor and what it is watched for.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The descriptor.
    pub fd: BorrowedFd<'a>,
    /// To be read.
    pub read: bool,
    /// To be written.
    pub write: bool,
}

/// Sleeps until one of at most 16 descriptors is ready or `timeout` has passed; the answer has a
/// bit for each that is ready (or broken), by place. Absent ones, and those that are watched for
/// nothing, are left out: a terminal that hung up would else end every sleep.
pub fn poll_all(watches: &[Option<Watch<'_>>], timeout: Option<Duration>) -> Result<u32> {
    use rustix::event::{PollFd, PollFlags};
    let mut fds = Vec::with_capacity(watches.len());
    let mut places = Vec::with_capacity(watches.len());
    for (place, watch) in (0..16).zip(watches) {
        let Some(watch) = watch.filter(|w| w.read || w.write) else { continue };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, watch.read);
        flags.set(PollFlags::OUT, watch.write);
        fds.push(PollFd::from_borrowed_fd(watch.fd, flags));
        places.push(place);
    }
    let timeout = timeout.and_then(|t| rustix::event::Timespec::try_from(t).ok());
    match rustix::event::poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(0),
        Err(e) => return Err(SysError::rustix("poll", "", e)),
    }
    let ready = fds.iter().zip(places).filter(|(fd, _)| !fd.revents().is_empty());
    Ok(ready.fold(0, |mask, (_, place)| mask | 1 << place))
}

/// True if the process of `pidfd` has ended (also when it is not reaped yet).
pub fn pidfd_ended(pidfd: BorrowedFd<'_>) -> Result<bool> {
    poll(pidfd, Ready::READ, Some(Instant::now())).map(|r| r.read || r.hangup)
}

/// Sleeps, through interruptions.
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// A signal that a [`SignalFd`] delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalInfo {
    /// Which signal.
    pub signo: i32,
    /// `si_code`: for SIGCHLD, CLD_EXITED, CLD_KILLED, CLD_STOPPED and so on.
    pub code: i32,
    /// Who sent it, or which child changed state.
    pub pid: i32,
    /// The sender's real user id.
    pub uid: u32,
    /// SIGCHLD: exit status or signal.
    pub status: i32,
}

/// Signals as a readable descriptor. The signals must be blocked by the caller.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// Every signal.
pub const ALL_SIGNALS: u64 = u64::MAX;

/// The bit of `signo` (1 to 64) in the mask of [`SignalFd::new`]; 0 for anything else.
pub const fn signal_bit(signo: i32) -> u64 {
    if signo >= 1 && signo <= 64 { 1 << (signo - 1) } else { 0 }
}

impl SignalFd {
    /// Accepts the signals of `mask` ([`signal_bit`]), non-blocking, close-on-exec.
    pub fn new(mask: u64) -> Result<Self> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // The raw call: libc's sigset_t is 128 bytes, the kernel's 8, also on 32-bit machines.
        let set = mask.to_ne_bytes();
        // SAFETY: set is 8 readable bytes, which is the size passed; -1 asks for a new descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, set.as_ptr(), set.len(), flags) };
        match i32::try_from(fd) {
            // SAFETY: signalfd4 has just created this descriptor for us.
            Ok(fd) if fd >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            _ => Err(SysError::last("signalfd4", "")),
        }
    }

    /// The next pending signal; `None` when there is none.
    pub fn read(&self) -> Result<Option<SignalInfo>> {
        let mut buf = [0u8; 128];
        let n = loop {
            match rustix::io::read(&self.0, &mut buf) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                done => break done.at("read", || "signalfd")?,
            }
        };
        if n != buf.len() {
            return Err(SysError::new("read", "signalfd", libc::EIO));
        }
        // struct signalfd_siginfo: signo, errno, code, pid, uid, fd, tid, band, overrun, trapno,
        // status, each of four bytes.
        let word = |i: usize| {
            i32::from_ne_bytes([buf[4 * i], buf[4 * i + 1], buf[4 * i + 2], buf[4 * i + 3]])
        };
        Ok(Some(SignalInfo {
            signo: word(0),
            code: word(2),
            pid: word(3),
            uid: word(4) as u32,
            status: word(10),
        }))
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A one-shot timer as a readable descriptor, on the monotonic clock.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        timerfd_create(TimerfdClockId::Monotonic, flags).at("timerfd_create", || "").map(Self)
    }

    /// Becomes readable after `time`; `None` disarms it.
    pub fn set(&self, time: Option<Duration>) -> Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, timerfd_settime};
        // A zero it_value would disarm.
        let value = time.map_or(timespec(Duration::ZERO), |t| timespec(t.max(NANOSECOND)));
        let spec = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)
            .at("timerfd_settime", || "")
            .map(drop)
    }

    /// Takes the expiry; true if the timer had expired.
    pub fn take(&self) -> bool {
        let mut count = [0u8; 8];
        matches!(rustix::io::read(&self.0, &mut count), Ok(8))
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);

fn timespec(time: Duration) -> Timespec {
    // poll and epoll_wait take an int of milliseconds on older kernels: stay below it, about
    // three weeks; every caller loops.
    let secs = time.as_secs().min(2_000_000);
    Timespec { tv_sec: secs as i64, tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_bits() {
        assert_eq!(signal_bit(1), 1);
        assert_eq!(signal_bit(64), 1 << 63);
        assert_eq!((signal_bit(0), signal_bit(65), signal_bit(-3)), (0, 0, 0));
    }

    #[test]
    fn epoll_reports_token_and_hangup() {
        let (a, b) = crate::sys::unix::pair(crate::sys::unix::Kind::Stream).unwrap();
        let set = Epoll::new().unwrap();
        set.add(a.as_fd(), 42, Ready::READ).unwrap();
        let mut out = [Event::EMPTY; 8];
        assert_eq!(set.wait(&mut out, Some(Duration::ZERO)).unwrap(), 0);
        drop(b);
        assert_eq!(set.wait(&mut out, None).unwrap(), 1);
        assert_eq!(out[0].token, 42);
        assert!(out[0].ready.read && out[0].ready.hangup);
        set.delete(a.as_fd()).unwrap();
        assert_eq!(set.wait(&mut out, Some(Duration::ZERO)).unwrap(), 0);
    }

    #[test]
    fn timer_expires_once() {
        let timer = Timer::new().unwrap();
        assert!(!timer.take());
        timer.set(Some(Duration::ZERO)).unwrap();
        let soon = Instant::now() + Duration::from_secs(5);
        assert!(poll(timer.as_fd(), Ready::READ, Some(soon)).unwrap().read);
        assert!(timer.take() && !timer.take());
        timer.set(Some(Duration::from_secs(100))).unwrap();
        timer.set(None).unwrap();
        let now = Some(Instant::now());
        assert_eq!(poll(timer.as_fd(), Ready::READ, now).unwrap(), Ready::NONE);
    }
}
