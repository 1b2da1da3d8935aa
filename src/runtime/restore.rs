//! A container out of criu's images instead of a start: criu makes the processes, as children of
//! the monitor, which supervises them as if it had started them.

use super::criu::{self, CriuError, Images, Line};
use super::start::{Ground, Live, keep_namespaces};
use super::sync::{During, Failure, Step};
use crate::config::{HookKind, NsKind};
use crate::hook::{self, HookContext};
use crate::net::Network;
use crate::storage::{self, Pin};
use crate::sys::process::{self, KillOnDrop};
use crate::sys::{dirs, errno, fd, ns as sysns, term};
use crate::util::sentence::sentence;
use crate::{mount, ns};
use std::os::fd::{AsFd, AsRawFd};

/// Where LXC notes the console of a dumped container, below the images.
pub const TTY_INFO: &str = "tty.info";

/// Restores the container once.
///
/// # Errors
/// The first failure; nothing of this restore is left then but the ground.
pub fn restore(
    ground: &mut Ground<'_>,
    hooks: &mut HookContext,
    images: &Images,
) -> Result<Live, Failure> {
    let plan = ground.plan;
    let config = &plan.config;
    let program = criu::find().during(Step::Restore)?;
    hook::run(HookKind::PreStart, config.hooks(HookKind::PreStart), hooks, &[])
        .during(Step::PreStartHooks)?;
    let backend = storage::open(config).during(Step::Rootfs)?;
    let pin = match &backend {
        Some(backend) => Pin::rootfs(config, backend.as_ref()).during(Step::Rootfs)?,
        None => None,
    };
    ground.cgroups.create_payload().during(Step::Cgroups)?;
    ground.cgroups.apply_limits().during(Step::CgroupLimits)?;
    let (mut network, external) = Network::for_restore(&plan.net).during(Step::Network)?;

    let mut line = Line::new(&program, "restore", images, config).during(Step::Restore)?;
    for hierarchy in ground.cgroups.hierarchies() {
        let path = ground.cgroups.path(hierarchy.query_name().unwrap_or("unified"));
        if let Some(path) = path {
            line.cgroup(hierarchy, &path);
        }
    }
    let root = match &plan.mounts.root {
        Some(_) => plan.mounts.mount_point().to_string_lossy().into_owned(),
        None => "/".to_owned(),
    };
    line.add(&["--root", &root, "--restore-detached", "--restore-sibling"]);
    if let Some(label) = plan.lsm.label() {
        line.add(&["--lsm-profile", &format!("apparmor:{label}")]);
    }
    for device in &external {
        line.add(&["--external", device]);
    }
    // The console that the container had is a new terminal of the host.
    let tty = match fd::read_to_string(images.dir.join(TTY_INFO)) {
        Err(e) if e.is(errno::ENOENT) => String::new(),
        tty => tty.during(Step::Restore)?,
    };
    let console = match tty.trim() {
        "" => None,
        _ => Some(term::open_pty().during(Step::Console)?),
    };
    if let Some(pty) = &console {
        line.add(&["--inherit-fd", &format!("fd[{}]:{}", pty.slave.as_raw_fd(), tty.trim())]);
    }
    let pidfile = images.dir.join("restore.pid");
    drop(dirs::unlink(&pidfile));
    line.add(&["--pidfile", &pidfile.to_string_lossy()]);
    let own_mounts = || -> Result<(), String> {
        sysns::unshare(ns::flag(NsKind::Mnt) as i32).map_err(|e| e.to_string())?;
        mount::slave_all().map_err(|e| e.to_string())?;
        mount::rootfs::rootfs(&plan.mounts, None).map(drop).map_err(|e| sentence(&e))
    };
    let keep: Vec<_> = console.iter().map(|pty| pty.slave.as_fd()).collect();
    line.run(&keep, &own_mounts).during(Step::Restore)?;
    let text = fd::read_to_string(&pidfile).map_err(CriuError::Run).during(Step::Restore);
    drop(dirs::unlink(&pidfile));
    let pid = text?.trim().parse().map_err(|_| CriuError::NoPid).during(Step::Restore)?;
    let init = KillOnDrop::new(pid, process::pidfd_open(pid).ok());
    hooks.pid = Some(pid);
    network.restored(&plan.net, &hooks.script_context()).during(Step::Network)?;
    ground.cgroups.attach_devices().during(Step::Devices)?;
    let namespaces = keep_namespaces(plan, pid).during(Step::Running)?;
    Ok(Live {
        init,
        network: Some(network),
        namespaces,
        console,
        ttys: Vec::new(),
        devpts: None,
        seccomp: None,
        pin,
        profile: None,
        device: None,
    })
}
