//! Which containers there are below a container path: the defined ones (a directory with a
//! config file) and the active ones (a monitor listens on its command socket).

use super::{Container, lock, restore};
use crate::control::address;
use crate::sys::{SysError, dirs, errno, fd, unix};
use crate::util::sorted::set;
use std::path::{Path, PathBuf};

/// The names of the defined containers, sorted. A restoration that was killed half way is
/// completed or undone first. A container path that is not there has none.
pub fn defined(lxcpath: &Path) -> Result<Vec<String>, SysError> {
    let names = match dirs::names(lxcpath) {
        Ok(names) => names,
        Err(e) if e.is(errno::ENOENT) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    let mut found = Vec::new();
    for name in names {
        let Ok(container) = Container::new(lxcpath.to_owned(), &name) else { continue };
        let half_done = restore::is_half_done(&container);
        if half_done && lock::held(&container).is_none() {
            // What fails here is told by the tool that is told of the container.
            let _ = restore::mend(&container);
        }
        if half_done || container.is_defined() {
            found.push(name);
        }
    }
    Ok(found)
}

/// What a line of /proc/net/unix says about a command socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// `@LXCPATH/NAME/command` of a container in the path asked for.
    Named(String),
    /// `@lxc/HASH/command`, used for long paths: the monitor has to be asked who it is. The
    /// address is without its leading NUL.
    Hashed(String),
}

/// The names of the active containers of a path, sorted. `identify` asks the monitor behind a
/// hashed address for its container path and name, when it is of none of the `defined` ones.
///
/// # Errors
/// There is no table of sockets: an unmounted /proc, as below a root file system.
pub fn active(
    lxcpath: &Path,
    defined: &[String],
    identify: impl Fn(&str) -> Option<(PathBuf, String)>,
) -> Result<Vec<String>, SysError> {
    let known = |wanted: &str| {
        let is = |name: &&String| address::command_socket(lxcpath, name) == wanted.as_bytes();
        defined.iter().find(is).map(|name| (lxcpath.to_owned(), name.clone()))
    };
    let identify = |address: &str| known(address).or_else(|| identify(address));
    let mut names = active_in(&fd::read_to_string("/proc/net/unix")?, lxcpath, identify);
    // The table comes in pages and leaves sockets out when others go between two of them, but the
    // kernel does know whether somebody listens.
    for name in defined {
        if let Err(at) = names.binary_search(name) {
            if unix::is_listening(&address::command_socket(lxcpath, name)) {
                names.insert(at, name.clone());
            }
        }
    }
    Ok(names)
}

fn active_in(
    sockets: &str,
    lxcpath: &Path,
    identify: impl Fn(&str) -> Option<(PathBuf, String)>,
) -> Vec<String> {
    let mut names = Vec::new();
    for socket in parse_sockets(sockets, lxcpath) {
        match socket {
            Socket::Named(name) => {
                names.push(name);
            }
            Socket::Hashed(address) => {
                if let Some((path, name)) = identify(&address) {
                    if path == lxcpath && crate::util::name::check(&name).is_ok() {
                        names.push(name);
                    }
                }
            }
        }
    }
    set(names)
}

/// The command sockets in a text of /proc/net/unix's format that may belong to `lxcpath`.
pub fn parse_sockets(text: &str, lxcpath: &Path) -> Vec<Socket> {
    let prefix = format!("{}/", lxcpath.display());
    let mut found = Vec::new();
    for (_, name) in address::listening(text) {
        if let Some(rest) = name.strip_prefix(&prefix) {
            if let Some(name) = rest.strip_suffix("/command") {
                if crate::util::name::check(name).is_ok() {
                    found.push(Socket::Named(name.to_owned()));
                }
            }
        } else if let Some(hash) =
            name.strip_prefix("lxc/").and_then(|rest| rest.strip_suffix("/command"))
        {
            if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) {
                found.push(Socket::Hashed(name.to_owned()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Num       RefCount Protocol Flags    Type St Inode Path
00000000b2f9141e: 00000002 00000000 00010000 0001 01 60453 @/var/lib/lxc/c2/command
0000000000000001: 00000002 00000000 00010000 0001 01 60454 @/var/lib/lxc/a b/command@
0000000000000002: 00000003 00000000 00000000 0001 03 60455 @/var/lib/lxc/c2/command
0000000000000003: 00000002 00000000 00010000 0001 01 60456 @/var/lib/lxc2/c3/command
0000000000000004: 00000002 00000000 00010000 0001 01 60457 @lxc/00112233aabbccdd/command
0000000000000005: 00000002 00000000 00010000 0001 01 60458 @lxc/xyz/command
0000000000000006: 00000002 00000000 00010000 0001 01 60459 /run/x.sock
0000000000000007: 00000002 00000000 00010000 0001 01 60460 @/var/lib/lxc/../x/command
0000000000000008: 00000002 00000000 00010000 0001 01 60461
";

    #[test]
    fn listening_command_sockets_of_the_path_are_found() {
        let names = active_in(TABLE, Path::new("/var/lib/lxc"), |address| {
            assert_eq!(address, "lxc/00112233aabbccdd/command");
            Some(("/var/lib/lxc".into(), "long".into()))
        });
        assert!(names.iter().eq(["a b", "c2", "long"]));
        let elsewhere = active_in(TABLE, Path::new("/var/lib/lxc2"), |_| {
            Some(("/var/lib/lxc".into(), "long".into()))
        });
        assert!(elsewhere.iter().eq(["c3"]));
    }

    #[test]
    fn defined_means_a_config_file_that_is_not_hidden() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".hidden", "empty"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["b", "a", ".hidden"] {
            std::fs::write(dir.path().join(name).join("config"), "").unwrap();
        }
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(defined(dir.path()).unwrap(), ["a", "b"]);
        assert!(defined(&dir.path().join("nowhere")).unwrap().is_empty());
    }
}
