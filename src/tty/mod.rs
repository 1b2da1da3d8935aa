//! The terminals of a container: its devpts, /dev/console and /dev/ttyN, and on the monitor's side
//! the console with its log, its peer and those who connect to it.
//!
//! `plan` says what is wanted, [`child`] sets it up below the new root and hands the descriptors
//! over, [`host`] opens what belongs to the host, [`monitor`] keeps it all running.

pub mod child;
mod error;
pub mod host;
pub mod monitor;
#[cfg(test)]
mod monitor_tests;
mod pipe;
pub mod record;
pub mod relay;

pub use error::TtyError;

use crate::config::{Config, ConsolePath};
use crate::sys::cred;
use std::path::{Component, Path, PathBuf};

/// What is wanted, from the configuration alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtyPlan {
    /// The container's own devpts, and how many terminals it may have.
    pub devpts: Option<Devpts>,
    /// Where /dev/console comes from.
    pub console: ConsoleSource,
    /// How many /dev/ttyN there are.
    pub ttys: u32,
    /// `lxc.tty.dir`: below /dev, checked.
    pub dir: Option<PathBuf>,
}

/// A devpts instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Devpts {
    /// Most terminals in it.
    pub max: u32,
    /// It stays on /dev/pts; otherwise it goes when the terminals have been made.
    pub stays: bool,
}

/// Where the console's pty comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleSource {
    /// `lxc.console.path = none`.
    None,
    /// The host's devpts: the container has none, or no room in it.
    Host,
    /// The container's devpts.
    Container,
}

/// The most `lxc.pty.max` and `lxc.tty.max` together: the kernel's own NR_UNIX98_PTY_MAX.
const PTYS_MAX: u32 = 1 << 20;

/// Works out what the configuration asks for. `rootfs`: the container has a root file system of
/// its own; without one, nothing is bound in /dev.
///
/// # Errors
/// A `lxc.tty.dir` that leaves /dev, or more terminals than the kernel has.
pub fn plan(config: &Config, rootfs: bool) -> Result<TtyPlan, TtyError> {
    let ttys = if rootfs { config.tty_max } else { 0 };
    // A terminal of the host's cannot be given to an id of the container's by an ordinary user.
    let inside = config.pty_max <= 1 && cred::euid() != 0 && !config.idmap.is_empty();
    let max = config
        .pty_max
        .checked_add(ttys)
        .and_then(|max| max.checked_add(u32::from(inside)))
        .filter(|max| *max <= PTYS_MAX)
        .ok_or_else(|| TtyError::TooMany { origin: config.origin("lxc.pty.max").cloned() })?;
    let console = match &config.console.path {
        Some(ConsolePath::None) => ConsoleSource::None,
        _ if config.pty_max > 1 || inside => ConsoleSource::Container,
        _ => ConsoleSource::Host,
    };
    let dir = match config.tty_dir.as_deref() {
        Some(dir) if rootfs => Some(tty_dir(dir).ok_or_else(|| TtyError::Dir {
            dir: dir.to_owned(),
            origin: config.origin("lxc.tty.dir").cloned(),
        })?),
        _ => None,
    };
    let devpts = (max > 0).then_some(Devpts { max, stays: config.pty_max > 0 });
    Ok(TtyPlan { devpts, console, ttys, dir })
}

/// A relative path of plain names; LXC also takes a leading slash.
fn tty_dir(text: &str) -> Option<PathBuf> {
    let path = Path::new(text.trim_start_matches('/'));
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    let mut clean = PathBuf::new();
    path.components().all(plain).then(|| {
        clean.extend(path.components().filter(|c| matches!(c, Component::Normal(_))));
    })?;
    (!clean.as_os_str().is_empty()).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_follow_the_numbers() {
        let config = |pty_max, tty_max| Config { pty_max, tty_max, ..Config::default() };
        let of = |config: &Config| plan(config, true).unwrap();
        let nothing = of(&config(0, 0));
        assert_eq!((nothing.devpts, nothing.console), (None, ConsoleSource::Host));
        let ttys = of(&config(0, 4));
        assert_eq!(ttys.devpts, Some(Devpts { max: 4, stays: false }));
        let one = of(&config(1, 4));
        assert_eq!(one.devpts, Some(Devpts { max: 5, stays: true }));
        assert_eq!(one.console, ConsoleSource::Host);
        let many = of(&config(1024, 4));
        assert_eq!(many.console, ConsoleSource::Container);
        let mut none = config(1024, 4);
        none.console.path = Some(ConsolePath::None);
        assert_eq!(of(&none).console, ConsoleSource::None);
        assert_eq!(plan(&many_ttys(), false).unwrap().ttys, 0);
        assert!(plan(&config(u32::MAX, 1), true).is_err());
        assert!(plan(&config(1 << 20, 1), true).is_err());
    }

    fn many_ttys() -> Config {
        Config { tty_max: 7, tty_dir: Some("..".into()), ..Config::default() }
    }

    #[test]
    fn directories_stay_below_dev() {
        assert_eq!(tty_dir("lxc"), Some("lxc".into()));
        assert_eq!(tty_dir("/lxc/./a/"), Some("lxc/a".into()));
        for bad in ["", "/", ".", "..", "a/../..", "../dev"] {
            assert_eq!(tty_dir(bad), None, "{bad}");
        }
        assert!(matches!(plan(&many_ttys(), true), Err(TtyError::Dir { .. })));
    }
}
