//! Putting a plan's limits and device rules on the payload, and handing it to the container.

use super::devices::{DeviceLine, DeviceList};
use super::error::{CgroupError, Fault};
use super::place::Place;
use super::plan::{CgroupPlan, DevicePlan, DeviceSetting, Setting};
use super::tree::CgroupTree;
use super::v1::{self, join};
use super::v2;
use crate::sys::dir::{open_path_at, own_at};
use crate::sys::errno::ENOENT;
use crate::sys::{SysError, bpf, fd};
use std::os::fd::{AsFd, OwnedFd};

impl CgroupTree {
    /// Writes the limits, in order; devices come with [`Self::attach_devices`].
    pub fn apply_limits(&self) -> Result<(), CgroupError> {
        self.plan.settings.iter().try_for_each(|setting| self.apply(setting))
    }

    fn apply(&self, setting: &Setting) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(setting.hierarchy) else { return Ok(()) };
        let limit = self.limit_path_below();
        let mut failed = None;
        for (file, value) in &setting.candidates {
            match fd::write_at(place.base(), &join(limit, file), value.as_bytes()) {
                Ok(()) => return Ok(()),
                Err(e) if e.is(ENOENT) => {
                    failed.get_or_insert(e);
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        let Some(source) = failed else { return Ok(()) };
        let (key, origin) = (setting.key.clone(), Some(setting.origin.clone()));
        let undelegated = self.undelegated.as_ref().filter(|_| place.is_v2() && source.is(ENOENT));
        if let Some((path, refused)) = undelegated {
            let (path, source) = (path.clone(), refused.clone());
            return Err(Box::new(Fault::Delegate { key, path, source, origin }));
        }
        let (value, path) = (setting.written.as_str().into(), place.path(limit).into());
        Err(Box::new(Fault::Setting { key: key.into(), value, path, source, origin }))
    }

    /// Takes the settings of a new plan for the same container, for the next payload. A program for
    /// devices has them already, and what else was allowed since.
    pub fn replan(&mut self, plan: CgroupPlan) {
        self.plan.settings = plan.settings;
        if !matches!(self.plan.devices, DevicePlan::Program { .. }) {
            self.plan.devices = plan.devices;
        }
    }

    /// Restricts devices: v1 lines, or the program on the unified hierarchy. To be called when
    /// the child has set itself up, as LXC does.
    pub fn attach_devices(&mut self) -> Result<(), CgroupError> {
        if self.devices_applied { Ok(()) } else { self.apply_devices() }
    }

    pub(super) fn apply_devices(&mut self) -> Result<(), CgroupError> {
        match &self.plan.devices {
            DevicePlan::None => {}
            DevicePlan::V1 { hierarchy, lines } => self.write_device_lines(*hierarchy, lines)?,
            DevicePlan::Program { list, .. } => {
                let list = list.clone();
                self.load_program(&list)?;
            }
        }
        self.devices_applied = true;
        Ok(())
    }

    fn write_device_lines(&self, at: usize, lines: &[DeviceSetting]) -> Result<(), CgroupError> {
        let Some(place) = self.places.get(at) else { return Ok(()) };
        let limit = self.limit_path_below();
        let open =
            |name: &str| fd::open_at(place.base(), &join(limit, name), fd::OpenFlags::WRONLY, 0);
        let mut files: [Option<OwnedFd>; 2] = [None, None];
        for line in lines {
            let name = if line.allow { "devices.allow" } else { "devices.deny" };
            let fail = |source: SysError| {
                Box::new(Fault::Setting {
                    key: format!("lxc.cgroup.{name}").into(),
                    value: line.line.as_str().into(),
                    path: place.path(limit).into(),
                    source,
                    origin: Some(line.origin.clone()),
                })
            };
            let file = &mut files[usize::from(line.allow)];
            if file.is_none() {
                *file = Some(open(name).map_err(fail)?);
            }
            if let Some(file) = file {
                fd::write_once(file.as_fd(), line.line.as_bytes()).map_err(fail)?;
            }
        }
        Ok(())
    }

    fn load_program(&mut self, list: &DeviceList) -> Result<(), CgroupError> {
        let DevicePlan::Program { hierarchy, origin, .. } = &self.plan.devices else {
            return Ok(());
        };
        let Some(place) = self.places.get(*hierarchy) else { return Ok(()) };
        let limit = self.limit_path_below();
        let fail = |source| {
            Box::new(Fault::Devices {
                path: place.path(limit),
                source,
                origin: Some(origin.clone()),
            })
        };
        let program = bpf::load_device_program(&list.compile()).map_err(fail)?;
        let cgroup = open_path_at(place.base(), limit).map_err(fail)?;
        let old = self.program.as_ref().map(AsFd::as_fd);
        bpf::attach_device_program(cgroup.as_fd(), program.as_fd(), old).map_err(fail)?;
        self.program = Some(program);
        Ok(())
    }

    /// Changes the device rules of a running container (command ADD_BPF_DEVICE_CGROUP; on a host
    /// with v1 devices the line is written to the kernel's list).
    pub fn update_devices(&mut self, line: DeviceLine) -> Result<(), CgroupError> {
        let origin = crate::util::blame::Origin::label("a request to the monitor");
        if let Some(at) = self.v1_at("devices") {
            let lines = [DeviceSetting { allow: line.allow(), line: line.v1_text(), origin }];
            return self.write_device_lines(at, &lines);
        }
        if matches!(self.plan.devices, DevicePlan::None) {
            let found = self.places.iter().position(Place::is_v2);
            let Some(hierarchy) = found else {
                return Err(Box::new(Fault::NoHierarchy { unwritable: None }));
            };
            let list = DeviceList::with_default(true);
            self.plan.devices = DevicePlan::Program { hierarchy, list, origin };
        }
        let DevicePlan::Program { list, .. } = &self.plan.devices else { return Ok(()) };
        let mut changed = list.clone();
        changed.push(line);
        if self.program.is_some() || !changed.is_permissive() {
            self.load_program(&changed)?;
        }
        if let DevicePlan::Program { list, .. } = &mut self.plan.devices {
            *list = changed;
        }
        Ok(())
    }

    /// Gives the payload to the root of the container's user namespace: `uid` owns, `gid` is the
    /// group of the directory and of the files that a delegate may write.
    ///
    /// All are tried; the errors are for the log, as a container runs without (LXC ignores them).
    pub fn chown(&self, uid: u32, gid: u32) -> Vec<CgroupError> {
        let mut errors = Vec::new();
        let unified_files = v2::delegated_files();
        let v1_files = ["cgroup.procs", "tasks"].map(str::to_owned);
        // With an inner cgroup the limits stay root's: only where init is, is handed over.
        let dir = &self.init_path;
        for place in &self.places {
            let files = if place.is_v2() { unified_files.as_slice() } else { &v1_files };
            let all = std::iter::once((dir.clone(), 0o775))
                .chain(files.iter().map(|file| (join(dir, file), 0o664)));
            for (path, mode) in all {
                let done = v1::optional(own_at(place.base(), &path, uid, gid, mode));
                let failed = |source| Box::new(Fault::Chown { path: place.path(&path), source });
                errors.extend(done.err().map(failed));
            }
        }
        errors
    }
}
