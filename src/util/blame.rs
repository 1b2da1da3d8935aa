//! Who is to blame: the place in a configuration file a value came from, and the trait that
//! lets every error in the program say errno, origin and a hint to the one reporter
//! (`ui::report`) and to the wire between a container's child and its monitor.
//!
//! Pure data. Start reading at [`Explain`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The hint where something cannot be made in a container's /dev for want of room, in whichever
/// module that is found.
pub const DEV_FULL: &str = "the container's /dev is full: a hook or a mount entry filled it, or \
                            lxc.autodev.tmpfs.size is too small";

/// File and line that a configuration value was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was opened; `--define` and the like for values given on a command line.
    pub file: Rc<Path>,
    /// Line number, from 1; 0 when the source has no lines (a command-line value).
    pub line: u32,
}

impl Origin {
    /// An origin without a line: a command-line option or a built-in default.
    pub fn label(text: &str) -> Self {
        Self { file: PathBuf::from(text).into(), line: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            n => write!(f, "{}:{n}", self.file.display()),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value together with where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub origin: Origin,
}

/// What an error can tell beside its sentence. Every error enum of L0-L4 implements it.
///
/// `Display` is one lower-case sentence without a full stop that names the object; the cause
/// (often a `SysError`) is `source()` and not repeated in the sentence.
pub trait Explain: std::error::Error {
    /// The system's error number, when a system call failed.
    fn errno(&self) -> Option<i32> {
        None
    }
    /// The configuration line to blame.
    fn origin(&self) -> Option<&Origin> {
        None
    }
    /// A command or an edit that mends it, without the word `hint:`.
    fn hint(&self) -> Option<String> {
        None
    }
}

impl<T: Explain> Explain for Box<T> {
    fn errno(&self) -> Option<i32> {
        (**self).errno()
    }
    fn origin(&self) -> Option<&Origin> {
        (**self).origin()
    }
    fn hint(&self) -> Option<String> {
        (**self).hint()
    }
}

/// `From` for errors of other modules, which are boxed: a result should not be as large as its rarest
/// error. `boxed! { CopyError: Lock(LockError), Config(ConfigError) }`
macro_rules! boxed {
    ($owner:ident: $($variant:ident($error:ty)),* $(,)?) => {$(
        impl From<$error> for $owner {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}
pub(crate) use boxed;
