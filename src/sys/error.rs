//! The one error of the system-call layer: which call, on what, which errno.

use crate::util::blame::Explain;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A failed system call with its operand, as in `mount(proc, "/rootfs/proc")`. One word, so that
/// every result with it is handed up in registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError(Box<Failed>);

/// What a [`SysError`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The call's name as in section 2 of the manual.
    pub call: &'static str,
    /// Its arguments as a person wants to read them; may be empty.
    pub operand: String,
    /// The error number.
    pub errno: i32,
}

impl Deref for SysError {
    type Target = Failed;

    fn deref(&self) -> &Failed {
        &self.0
    }
}

impl DerefMut for SysError {
    fn deref_mut(&mut self) -> &mut Failed {
        &mut self.0
    }
}

/// What every function of `sys` returns.
pub type Result<T> = std::result::Result<T, SysError>;

impl SysError {
    /// An error of `call` on `operand`.
    pub fn new(call: &'static str, operand: impl fmt::Display, errno: i32) -> Self {
        Self::make(call, &operand, errno)
    }

    #[cold]
    #[inline(never)]
    fn make(call: &'static str, operand: &dyn fmt::Display, errno: i32) -> Self {
        Self(Box::new(Failed { call, operand: operand.to_string(), errno }))
    }

    /// The error that errno holds after a raw call.
    pub fn last(call: &'static str, operand: impl fmt::Display) -> Self {
        Self::io(call, operand, &std::io::Error::last_os_error())
    }

    /// From a rustix error.
    pub fn rustix(call: &'static str, operand: impl fmt::Display, e: rustix::io::Errno) -> Self {
        Self::make(call, &operand, e.raw_os_error())
    }

    /// From a std I/O error; an error without number (unexpected end of file) is EIO.
    pub fn io(call: &'static str, operand: impl fmt::Display, e: &std::io::Error) -> Self {
        Self::make(call, &operand, e.raw_os_error().unwrap_or(libc::EIO))
    }

    /// The same with another number.
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = errno;
        self
    }

    /// The same of another operand.
    pub fn with_operand(mut self, operand: impl fmt::Display) -> Self {
        self.operand = operand.to_string();
        self
    }

    /// True if the error number is `errno`.
    pub fn is(&self, errno: i32) -> bool {
        self.errno == errno
    }
}

/// `Operation not permitted (EPERM)` for 1.
pub fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match errno_name(errno) {
        Some(name) => format!("{text} ({name})"),
        None => format!("{text} (errno {errno})"),
    }
}

/// The symbolic name of the error numbers that this program meets (errno(3)).
pub fn errno_name(errno: i32) -> Option<&'static str> {
    macro_rules! names { ($($n:ident)*) => { match errno { $(libc::$n => Some(stringify!($n)),)* _ => None } } }
    names!(EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES
        EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY
        EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS
        ENOTEMPTY ELOOP ENODATA ETIME EPROTO EBADMSG EOVERFLOW EILSEQ EUSERS ENOTSOCK EDESTADDRREQ
        EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT
        EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ECONNABORTED ECONNRESET ENOBUFS EISCONN
        ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EDQUOT
        ENOKEY EKEYEXPIRED EKEYREJECTED)
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}): {}", self.call, self.operand, errno_text(self.errno))
    }
}

impl std::error::Error for SysError {}

impl Explain for SysError {
    fn errno(&self) -> Option<i32> {
        Some(self.errno)
    }
}

/// Attaches call and operand to a raw result.
pub trait At<T> {
    /// `Err` becomes a [`SysError`]; `operand` is only formatted then.
    fn at<D: fmt::Display>(self, call: &'static str, operand: impl FnOnce() -> D) -> Result<T>;
}

impl<T> At<T> for std::result::Result<T, rustix::io::Errno> {
    fn at<D: fmt::Display>(self, call: &'static str, operand: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| SysError::rustix(call, operand(), e))
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at<D: fmt::Display>(self, call: &'static str, operand: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| SysError::io(call, operand(), &e))
    }
}
