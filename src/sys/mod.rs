//! Every system call and every `unsafe` of the program; the only place that names rustix or
//! libc. Functions take and give `OwnedFd`/`BorrowedFd` and return [`error::SysError`], which
//! carries the call, its operand and errno. Nothing here knows what a container is.

pub mod bpf;
pub mod btrfs;
pub mod clock;
pub mod copy;
pub mod cradle;
pub mod cred;
pub mod dir;
pub mod dirs;
pub mod errno;
pub mod error;
pub mod event;
pub mod fd;
pub mod heap;
mod image;
pub mod inotify;
pub mod lock;
pub mod loopdev;
pub mod meanwhile;
pub mod memory;
pub mod mount;
pub mod netlink;
pub mod ns;
pub mod nsfile;
pub mod passwd;
pub mod path;
pub mod pid1;
pub mod prctl;
pub mod probe;
pub mod process;
pub mod procfs;
pub mod random;
pub mod sealed;
pub mod seccomp;
pub mod signal;
pub mod spawn;
pub mod stdstream;
pub mod subreaper;
pub mod term;
pub mod title;
pub mod tree;
pub mod unix;
pub mod userns;
pub mod vfork;

pub use error::{At, Result, SysError};
