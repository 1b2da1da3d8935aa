//! Reading and writing one file of a container's limit cgroup by its name, for `lxc-cgroup`.

use super::error::CgroupError;
use super::layout::{Hierarchy, Layout, Version};
use super::plan::controller_of;
use crate::sys::fd;
use std::path::Path;

/// Largest file that is read, in bytes.
const MAX: usize = 1 << 20;

/// What a name like `memory.max` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A file of the limit cgroup in this hierarchy.
    File(&'a Hierarchy),
    /// `devices.allow` or `devices.deny` where devices are restricted by a program: the monitor
    /// must be asked (ADD_BPF_DEVICE_CGROUP). They cannot be read.
    DeviceProgram {
        /// The verdict.
        allow: bool,
    },
}

/// Which hierarchy has the file `name`.
///
/// # Errors
/// [`CgroupError::NoController`] with the reason; [`CgroupError::BadValue`] for what is no name.
pub fn find<'a>(layout: &'a Layout, name: &str) -> Result<Item<'a>, CgroupError> {
    if name.is_empty() || name.contains('/') {
        return Err(CgroupError::BadValue {
            key: name.to_owned(),
            value: String::new(),
            reason: "not the name of a cgroup file",
            origin: None,
        });
    }
    let controller = controller_of(name);
    let with = |version: Version| {
        layout.hierarchies.iter().find(|h| h.version == version && h.has(controller))
    };
    if let Some(hierarchy) = with(Version::V1).or_else(|| with(Version::V2)) {
        return Ok(Item::File(hierarchy));
    }
    match (layout.unified(), name) {
        (Some(_), "devices.allow") => Ok(Item::DeviceProgram { allow: true }),
        (Some(_), "devices.deny") => Ok(Item::DeviceProgram { allow: false }),
        // Core files, and the pressure and statistics that every cgroup has.
        (Some(unified), _) if controller == "cgroup" || name.ends_with(".pressure") => {
            Ok(Item::File(unified))
        }
        (Some(unified), "cpu.stat" | "cpu.stat.local") => Ok(Item::File(unified)),
        _ => Err(CgroupError::NoController {
            key: name.to_owned(),
            controller: controller.to_owned(),
            why: layout.why_missing(controller),
            origin: None,
        }),
    }
}

/// The file's content.
pub fn get(limit_dir: &Path, name: &str) -> Result<String, CgroupError> {
    let path = limit_dir.join(name);
    let read = || {
        let file = fd::open(&path, fd::OpenFlags::RDONLY, 0)?;
        fd::read_fd(std::os::fd::AsFd::as_fd(&file), MAX)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

/// Writes `value` with one write(2).
pub fn set(limit_dir: &Path, name: &str, value: &str) -> Result<(), CgroupError> {
    fd::write_file(limit_dir.join(name), value.as_bytes()).map_err(|source| CgroupError::Setting {
        key: name.into(),
        value: value.into(),
        path: limit_dir.into(),
        source,
        origin: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{hybrid, legacy, unified};
    use super::super::layout::Base;
    use super::*;

    #[test]
    fn names_lead_to_hierarchies() {
        let fixture = hybrid();
        let layout = fixture.layout(Base::Init);
        let dir = |name: &str| match find(&layout, name).unwrap() {
            Item::File(h) => h.mount.file_name().unwrap().to_str().unwrap().to_owned(),
            Item::DeviceProgram { .. } => "program".into(),
        };
        assert_eq!(dir("memory.limit_in_bytes"), "memory");
        assert_eq!(dir("devices.allow"), "devices");
        assert_eq!(dir("cgroup.freeze"), "unified");
        assert_eq!(dir("hugetlb.2MB.max"), "unified");
        assert_eq!(dir("io.pressure"), "unified");
        assert!(find(&layout, "net_cls.classid").is_err());
        assert!(find(&layout, "../x").is_err());
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        assert_eq!(find(&layout, "devices.deny").unwrap(), Item::DeviceProgram { allow: false });
        assert!(find(&layout, "devices.list").is_err());
        let fixture = legacy();
        assert!(find(&fixture.layout(Base::Init), "cgroup.freeze").is_err());
    }

    #[test]
    fn get_and_set() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pids.max"), "max\n").unwrap();
        assert_eq!(get(dir.path(), "pids.max").unwrap(), "max\n");
        set(dir.path(), "pids.max", "7777").unwrap();
        assert_eq!(get(dir.path(), "pids.max").unwrap(), "7777");
        assert!(matches!(get(dir.path(), "x"), Err(CgroupError::Read { .. })));
        assert!(matches!(set(dir.path(), "x", "1"), Err(CgroupError::Setting { .. })));
    }
}
