//! Where things are: the search paths of root and of ordinary users, and lxc.conf, the few
//! settings of the host itself (`lxc.lxcpath`, `lxc.cgroup.pattern`, …; lxc.system.conf(5)).

use super::error::ConfigError;
use super::value::ValueError;
use crate::sys::error::{At as _, SysError};
use crate::util::blame::Origin;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where LXC's packages of this architecture mount a rootfs before the container enters it.
///
/// On a machine without LXC the directory is missing. When the configuration does not name one
/// either, the runtime uses a directory of its own; this constant is what the key reads as.
pub const ROOTFS_MOUNT: &str = if cfg!(target_arch = "x86_64") {
    "/usr/lib/x86_64-linux-gnu/lxc/rootfs"
} else if cfg!(target_arch = "aarch64") {
    "/usr/lib/aarch64-linux-gnu/lxc/rootfs"
} else if cfg!(target_arch = "arm") {
    "/usr/lib/arm-linux-gnueabihf/lxc/rootfs"
} else {
    "/usr/lib/lxc/rootfs"
};

/// Below it are `lxc/config`, `lxc/templates` and `lxc/hooks`.
pub const DATADIR: &str = match option_env!("LXCBOX_DATADIR") {
    Some(dir) => dir,
    None => "/usr/share",
};

/// The host's configuration, `lxc.conf` and `default.conf`.
pub const SYSCONFDIR: &str = match option_env!("LXCBOX_SYSCONFDIR") {
    Some(dir) => dir,
    None => "/etc/lxc",
};

/// Below it is `lxc/lxc-user-nic`.
pub const LIBEXECDIR: &str = match option_env!("LXCBOX_LIBEXECDIR") {
    Some(dir) => dir,
    None => "/usr/libexec",
};

/// Root's containers.
pub const LXCPATH: &str = "/var/lib/lxc";

/// Logs of root's containers.
pub const LOGPATH: &str = "/var/log/lxc";

/// Whose paths are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Effective user 0.
    Root,
    /// Anybody else, with the home directory.
    User(PathBuf),
}

impl Who {
    /// By effective user id and `$HOME`; a user without a home has `/`, as in LXC.
    pub fn new(euid: u32, home: Option<PathBuf>) -> Self {
        match euid {
            0 => Self::Root,
            _ => Self::User(home.unwrap_or_else(|| "/".into())),
        }
    }

    /// `lxc.conf`.
    pub fn system_conf(&self) -> PathBuf {
        match self {
            Self::Root => Path::new(SYSCONFDIR).join("lxc.conf"),
            Self::User(home) => home.join(".config/lxc/lxc.conf"),
        }
    }

    /// `default.conf`, where lxc.conf does not name another.
    pub fn default_conf(&self) -> PathBuf {
        match self {
            Self::Root => Path::new(SYSCONFDIR).join("default.conf"),
            Self::User(home) => home.join(".config/lxc/default.conf"),
        }
    }

    /// Where containers are, where lxc.conf does not name another place.
    pub fn lxcpath(&self) -> PathBuf {
        match self {
            Self::Root => LXCPATH.into(),
            Self::User(home) => home.join(".local/share/lxc"),
        }
    }
}

/// A setting of lxc.conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemKey {
    /// `lxc.default_config`.
    DefaultConfig,
    /// `lxc.lxcpath`.
    LxcPath,
    /// `lxc.bdev.lvm.vg`.
    LvmVg,
    /// `lxc.bdev.lvm.thin_pool`.
    LvmThinPool,
    /// `lxc.bdev.zfs.root`.
    ZfsRoot,
    /// `lxc.bdev.rbd.rbdpool`.
    RbdPool,
    /// `lxc.bdev.rbd.rbduser`.
    RbdUser,
    /// `lxc.cgroup.use`.
    CgroupUse,
    /// `lxc.cgroup.pattern`.
    CgroupPattern,
}

/// A row of the table of lxc.conf.
pub struct SystemRow {
    /// Which.
    pub key: SystemKey,
    /// As it is written.
    pub name: &'static str,
    /// One line.
    pub doc: &'static str,
    /// Shown by `lxc-config -l`, which leaves the two of Ceph out.
    pub listed: bool,
}

const fn row(key: SystemKey, name: &'static str, doc: &'static str) -> SystemRow {
    let listed = !matches!(key, SystemKey::RbdPool | SystemKey::RbdUser);
    SystemRow { key, name, doc, listed }
}

/// In the order of `lxc-config -l`, and of [`SystemKey`].
pub static SYSTEM_KEYS: [SystemRow; 9] = [
    row(SystemKey::DefaultConfig, "lxc.default_config", "what lxc-create starts from"),
    row(SystemKey::LxcPath, "lxc.lxcpath", "where containers are"),
    row(SystemKey::LvmVg, "lxc.bdev.lvm.vg", "volume group for new containers"),
    row(SystemKey::LvmThinPool, "lxc.bdev.lvm.thin_pool", "thin pool for new containers"),
    row(SystemKey::ZfsRoot, "lxc.bdev.zfs.root", "parent dataset for new containers"),
    row(SystemKey::RbdPool, "lxc.bdev.rbd.rbdpool", "Ceph pool for new containers"),
    row(SystemKey::RbdUser, "lxc.bdev.rbd.rbduser", "Ceph user for new containers"),
    row(SystemKey::CgroupUse, "lxc.cgroup.use", "the only controllers to use, with commas"),
    row(
        SystemKey::CgroupPattern,
        "lxc.cgroup.pattern",
        "cgroup of a container, %n for its name; below it monitor and payload",
    ),
];

/// The settings of the host.
#[derive(Clone, Debug)]
pub struct System {
    who: Who,
    set: Vec<(SystemKey, String, Origin)>,
    /// One sentence per line in an old spelling, and per `lxc.` line that nobody knows.
    pub warnings: Vec<String>,
}

impl System {
    /// Nothing set.
    pub fn new(who: Who) -> Self {
        Self { who, set: Vec::new(), warnings: Vec::new() }
    }

    /// Reads lxc.conf; a file that is not there, or that the user may not open, sets nothing.
    ///
    /// # Errors
    /// The file is there and cannot be read, or sets something impossible.
    pub fn load(who: Who) -> Result<Self, ConfigError> {
        let path = who.system_conf();
        match fs::read(&path).at("open", || format!("\"{}\"", path.display())) {
            Ok(bytes) => Self::parse(who, &String::from_utf8_lossy(&bytes), &path),
            Err(e) if absent(&e) => Ok(Self::new(who)),
            // HOME is often another user's: `runuser` and some `sudo` keep it. LXC goes on too.
            Err(cause) if cause.is(crate::sys::errno::EACCES) => {
                let mut system = Self::new(who);
                system.warnings.push(format!("{} is left out: {cause}", path.display()));
                Ok(system)
            }
            Err(cause) => Err(ConfigError::Read { path, cause }),
        }
    }

    /// Reads the text of lxc.conf. The first line of a key counts, as in LXC.
    ///
    /// # Errors
    /// A path that is not absolute, a cgroup pattern with `..`.
    pub fn parse(who: Who, text: &str, file: &Path) -> Result<Self, ConfigError> {
        let mut system = Self::new(who);
        let file: Rc<Path> = file.into();
        for (line, text) in (1..).zip(text.lines()) {
            let origin = Origin { file: file.clone(), line };
            let Some((name, value)) = text.trim_start().split_once('=') else { continue };
            let (mut name, value) = (name.trim_end(), value.trim());
            if name == "lxcpath" {
                system.warnings.push(format!("{origin}: lxcpath is an old key; write lxc.lxcpath"));
                name = "lxc.lxcpath";
            }
            let Some(row) = SYSTEM_KEYS.iter().find(|row| row.name == name) else {
                if name.starts_with("lxc.") {
                    system.warnings.push(format!("{origin}: {name} is no key of lxc.conf"));
                }
                continue;
            };
            if value.is_empty() || system.value(row.key).is_some() {
                continue;
            }
            check(row.key, value).map_err(|cause| ConfigError::Value {
                origin: Some(origin.clone()),
                key: name.to_owned(),
                cause,
            })?;
            system.set.push((row.key, value.to_owned(), origin));
        }
        Ok(system)
    }

    /// The value written for a key.
    fn value(&self, key: SystemKey) -> Option<&str> {
        self.set.iter().find(|(k, ..)| *k == key).map(|(_, value, _)| value.as_str())
    }

    /// Where a key was written.
    pub fn origin(&self, key: SystemKey) -> Option<&Origin> {
        self.set.iter().find(|(k, ..)| *k == key).map(|(.., origin)| origin)
    }

    /// What `lxc-config KEY` prints; `None` for a key that has neither value nor default.
    pub fn get(&self, key: SystemKey) -> Option<String> {
        let text = |path: PathBuf| Some(path.to_string_lossy().into_owned());
        match key {
            SystemKey::LxcPath => text(self.lxcpath()),
            SystemKey::DefaultConfig => text(self.default_config()),
            SystemKey::LvmVg | SystemKey::LvmThinPool | SystemKey::ZfsRoot | SystemKey::RbdPool => {
                Some(self.value(key).unwrap_or("lxc").to_owned())
            }
            SystemKey::RbdUser | SystemKey::CgroupUse | SystemKey::CgroupPattern => {
                self.value(key).map(str::to_owned)
            }
        }
    }

    /// Where containers are.
    pub fn lxcpath(&self) -> PathBuf {
        match self.value(SystemKey::LxcPath) {
            Some(path) => strip_slashes(path).into(),
            None => self.who.lxcpath(),
        }
    }

    /// What `lxc-create` starts from.
    pub fn default_config(&self) -> PathBuf {
        self.value(SystemKey::DefaultConfig).map_or_else(|| self.who.default_conf(), PathBuf::from)
    }

    /// `lxc.cgroup.pattern`, `%n` not replaced yet.
    pub fn cgroup_pattern(&self) -> Option<&str> {
        self.value(SystemKey::CgroupPattern)
    }

    /// The controllers of `lxc.cgroup.use`; `None` for all.
    pub fn cgroup_use(&self) -> Option<Vec<&str>> {
        let list = self.value(SystemKey::CgroupUse)?;
        Some(list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
    }

    /// Whose settings these are.
    pub fn who(&self) -> &Who {
        &self.who
    }
}

fn absent(error: &SysError) -> bool {
    error.is(crate::sys::errno::ENOENT) || error.is(crate::sys::errno::ENOTDIR)
}

fn check(key: SystemKey, value: &str) -> Result<(), ValueError> {
    match key {
        SystemKey::LxcPath | SystemKey::DefaultConfig if !value.starts_with('/') => {
            Err(ValueError::shape(value, "an absolute path"))
        }
        SystemKey::CgroupPattern if value.split('/').any(|part| part == "..") => {
            Err(ValueError::shape(value, "a cgroup path without '..'"))
        }
        _ => Ok(()),
    }
}

/// `/srv/lxc` for `/srv/lxc//`; the root directory stays.
pub fn strip_slashes(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if !path.is_empty() => "/",
        stripped => stripped,
    }
}

/// Where locks and the like of a user are: `/run` if it belongs to the effective user or group,
/// else `$XDG_RUNTIME_DIR`, else a place in the home directory (`get_rundir` of LXC).
pub fn run_dir(euid: u32, egid: u32, xdg: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    use std::os::unix::fs::MetadataExt as _;
    let run = Path::new("/run");
    match fs::metadata(run) {
        Ok(meta) if meta.uid() == euid || meta.gid() == egid => run.to_owned(),
        _ => xdg.unwrap_or_else(|| home.unwrap_or_else(|| "/".into()).join(".cache/lxc/run")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> System {
        System::parse(Who::Root, text, Path::new("lxc.conf")).unwrap()
    }

    #[test]
    fn nothing_set_gives_the_defaults() {
        let system = parse("");
        let text: Vec<_> = SYSTEM_KEYS.iter().map(|row| system.get(row.key)).collect();
        let lxc = || Some("lxc".to_owned());
        assert_eq!(text[1].as_deref(), Some("/var/lib/lxc"));
        assert_eq!(text[2..], [lxc(), lxc(), lxc(), lxc(), None, None, None]);
    }

    #[test]
    fn a_user_has_paths_at_home() {
        let who = Who::new(1000, Some("/home/u".into()));
        assert_eq!(who.system_conf(), Path::new("/home/u/.config/lxc/lxc.conf"));
        assert_eq!(System::new(who).lxcpath(), Path::new("/home/u/.local/share/lxc"));
    }

    #[test]
    fn the_first_line_counts_and_slashes_go() {
        let system = parse(
            "# x\n lxc.lxcpath =  /srv/lxc//\nlxc.lxcpath = /other\nlxc.cgroup.use = memory, cpu,\n\
             lxc.cgroup.pattern = lxc/%n\nlxc.foo = 1\nfoo = 1\n",
        );
        assert_eq!(system.lxcpath(), Path::new("/srv/lxc"));
        assert_eq!(system.origin(SystemKey::LxcPath).unwrap().line, 2);
        assert_eq!(system.cgroup_use(), Some(vec!["memory", "cpu"]));
        assert_eq!(system.cgroup_pattern(), Some("lxc/%n"));
        assert_eq!(system.warnings, ["lxc.conf:6: lxc.foo is no key of lxc.conf"]);
    }

    #[test]
    fn the_key_of_lxc_0_9_still_works() {
        let system = parse("lxcpath=/srv\n");
        assert_eq!(system.lxcpath(), Path::new("/srv"));
        assert_eq!(system.warnings.len(), 1);
    }

    #[test]
    fn a_path_that_depends_on_the_caller_is_refused() {
        let error = System::parse(Who::Root, "lxc.lxcpath = lxc\n", Path::new("f")).unwrap_err();
        assert_eq!(error.to_string(), "f:1: lxc.lxcpath: 'lxc' is not an absolute path");
        assert!(System::parse(Who::Root, "lxc.cgroup.pattern = a/../b", Path::new("f")).is_err());
    }

    #[test]
    fn rows_are_in_the_order_of_the_enum() {
        for (at, row) in SYSTEM_KEYS.iter().enumerate() {
            assert_eq!(row.key as usize, at);
        }
    }
}
