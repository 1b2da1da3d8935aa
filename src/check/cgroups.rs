//! The trials of cgroups: a group is made where containers would have theirs, its files are written
//! to, and it is removed again. Nothing is switched on for others: `cgroup.subtree_control` of
//! groups that are not ours stays as it is.

use super::boot;
use super::host::Host;
use super::trial::Refusal;
use super::{State, Verdict};
use crate::cgroup::devices::DeviceList;
use crate::cgroup::error::{Fault, Missing};
use crate::cgroup::layout::{Base, Hierarchy, Layout, Version};
use crate::sys::fd::OpenFlags;
use crate::sys::process::{self, Fork, Pid};
use crate::sys::{SysError, bpf, dirs, errno, event, fd, userns};
use crate::util::sentence::sentence;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Result = std::result::Result<Verdict, Refusal>;

/// Where containers of the caller would have their groups.
fn layout(host: &Host) -> std::result::Result<Layout, Verdict> {
    let base = if host.euid == 0 { Base::Init } else { Base::Own };
    Layout::probe(base, &[]).map_err(|error| match *error {
        Fault::NoHierarchy { unwritable: Some(dir) } => closed(host, &dir.to_string_lossy()),
        Fault::NoHierarchy { .. } => Verdict::blocked(
            "no cgroup file system is mounted",
            match dirs::exists(Path::new("/sys/kernel/cgroup")) {
                true => "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
                // FALLBACK(<4.15): version 2 knows neither cpu nor devices.
                false => {
                    "cd /sys/fs/cgroup && mount -t tmpfs cgroup . && cd . && for c in $(sed 1d /proc/cgroups \
                     | cut -f1); do mkdir $c && mount -t cgroup -o $c cgroup $c; done"
                }
            },
        ),
        other => Verdict::unknown(sentence(&other)),
    })
}

/// A hierarchy that is there and not to be written in.
fn closed(host: &Host, dir: &str) -> Verdict {
    match host.euid {
        0 => Verdict::blocked(format!("{dir} is read-only"), ""),
        _ => Verdict::new(State::RootOnly, format!("{dir} is not this user's to write in")).mend(
            "# systemd-run --user --scope -p Delegate=yes -- lxc-start …  (without systemd root \
             gives the user a cgroup: mkdir, chown, and the shell's number into cgroup.procs)",
        ),
    }
}

/// The hierarchy of a controller.
fn find(host: &Host, name: &str) -> std::result::Result<Hierarchy, Verdict> {
    let layout = layout(host)?;
    if let Some(found) = layout.find(name) {
        return Ok(found.clone());
    }
    Err(match layout.why_missing(name) {
        Missing::Disabled => boot::disabled(host, name),
        Missing::NotMounted => {
            let name = if name == "io" { "blkio" } else { name };
            let point = host.mountinfo.lines().find_map(|line| {
                let (left, right) = line.split_once(" - cgroup ")?;
                let has = right.split([' ', ',']).any(|word| word == name);
                left.split(' ').nth(4).filter(|_| has)
            });
            // Some of the hierarchies are this user's, and not that.
            if let Some(dir) = point {
                return Err(closed(host, dir));
            }
            let mend = format!(
                "mkdir -p /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}"
            );
            Verdict::blocked("no hierarchy that has it is mounted", mend)
        }
        Missing::NotDelegated(dir) => Verdict::blocked(
            format!("it is not delegated to {}", dir.display()),
            "d=/etc/systemd/system/user@.service.d; mkdir -p $d && printf '[Service]\\nDelegate=yes\\n' \
             >$d/lxc.conf && systemctl daemon-reload # and log in again",
        ),
        Missing::NotBuilt | Missing::Unknown => {
            Verdict::absent("not built into this kernel, or of another cgroup version")
        }
    })
}

/// A group of the trial's own, removed when dropped.
struct Group {
    dir: PathBuf,
}

/// What the name of a group begins with; the number of the program's run follows.
const NAME: &str = "lxcbox.check.";

impl Group {
    fn make(hierarchy: &Hierarchy) -> std::result::Result<Self, Refusal> {
        let dir = hierarchy.base_dir().join(format!("{NAME}{}", process::parent_pid()));
        match dirs::make(&dir, 0o755) {
            Err(e) if !e.is(errno::EEXIST) => Err(e.into()),
            _ => Ok(Self { dir }),
        }
    }

    fn write(&self, file: &str, value: &str) -> std::result::Result<(), SysError> {
        fd::write_file(self.dir.join(file), value.as_bytes())
    }

    fn has(&self, file: &str) -> bool {
        dirs::exists(&self.dir.join(file))
    }

    fn read(&self, file: &str) -> String {
        fd::read_to_string(self.dir.join(file)).unwrap_or_default()
    }

    /// Waits until a word stands in a file; the trial's own limit ends it.
    fn until(&self, file: &str, word: &str) {
        while !self.read(file).contains(word) {
            event::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = dirs::remove_empty(&self.dir);
    }
}

/// Removes what a trial that was cut off has left, and a run of this program that was killed.
pub(super) fn clean_up() {
    for base in [Base::Init, Base::Own] {
        let Ok(layout) = Layout::probe(base, &[]) else { continue };
        for hierarchy in &layout.hierarchies {
            let base = hierarchy.base_dir();
            for group in dirs::names(&base).unwrap_or_default() {
                let pid = group.to_str().and_then(|n| n.strip_prefix(NAME)?.parse::<Pid>().ok());
                if pid.is_some_and(|pid| pid == process::own_pid() || is_gone(pid)) {
                    remove(&base.join(group));
                }
            }
        }
    }
}

fn is_gone(pid: Pid) -> bool {
    process::kill(pid, 0).is_err_and(|e| e.is(errno::ESRCH))
}

/// Removes a group whose process has been killed: one that is frozen ends when it is let go, and
/// not at once.
fn remove(group: &Path) {
    let _ = fd::write_file(group.join("freezer.state"), b"THAWED");
    for _ in 0..50 {
        match dirs::remove_empty(group) {
            Err(e) if e.is(errno::EBUSY) => event::sleep(Duration::from_millis(2)),
            _ => break,
        }
    }
}

/// A process in a group, killed and reaped when dropped.
struct Member(Pid);

impl Member {
    fn join(group: &Group) -> std::result::Result<Self, Refusal> {
        let parent = process::own_pid();
        match process::fork()? {
            Fork::Child => userns::hold(parent),
            Fork::Parent(pid) => {
                let member = Self(pid);
                group.write("cgroup.procs", &pid.to_string())?;
                Ok(member)
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        const SIGKILL: i32 = 9;
        let _ = process::kill(self.0, SIGKILL);
        let _ = process::wait(self.0);
    }
}

/// Any group at all.
pub(super) fn group(host: &Host) -> Result {
    let layout = match layout(host) {
        Ok(layout) => layout,
        Err(verdict) => return Ok(verdict),
    };
    for hierarchy in &layout.hierarchies {
        Group::make(hierarchy)?;
    }
    let kind = match layout.kind() {
        crate::cgroup::layout::LayoutKind::Legacy => "version 1",
        crate::cgroup::layout::LayoutKind::Hybrid => "version 1 with version 2 beside it",
        crate::cgroup::layout::LayoutKind::Unified => "version 2",
    };
    // What chose it, where the kernel's words did.
    let chose = [
        "systemd.unified_cgroup_hierarchy",
        "systemd.legacy_systemd_cgroup_controller",
        "cgroup_no_v1",
    ];
    let word = host
        .cmdline
        .split_whitespace()
        .find(|word| word.split('=').next().is_some_and(|key| chose.contains(&key)));
    Ok(Verdict::works(match word {
        Some(word) => format!("{kind} ({word} in /proc/cmdline)"),
        None => kind.to_owned(),
    }))
}

/// Makes a group of the controller's and writes `value` to its file of either version; an empty
/// value only asks whether the file is there.
fn write(host: &Host, controller: [&str; 2], files: [&str; 2], value: &str) -> Result {
    // The name that both have says why it is missing.
    let found = find(host, controller[0]).or_else(|_| find(host, controller[1]));
    let hierarchy = match found {
        Ok(hierarchy) => hierarchy,
        Err(verdict) => return Ok(verdict),
    };
    let group = Group::make(&hierarchy)?;
    let file = files[usize::from(hierarchy.version == Version::V2)];
    if group.has(file) {
        if !value.is_empty() {
            group.write(file, value)?;
        }
        return Ok(Verdict::works(""));
    }
    if hierarchy.version == Version::V1 {
        return Ok(Verdict::new(State::Absent, format!("a group has no {file}")));
    }
    Ok(switched_off(&hierarchy, controller[1], file))
}

/// Version 2 gives a group the files of what is switched on in its parent; a start does that.
fn switched_off(hierarchy: &Hierarchy, controller: &str, file: &str) -> Verdict {
    let base = hierarchy.base_dir();
    let read = |name: &str| fd::read_to_string(base.join(name)).unwrap_or_default();
    let on = read("cgroup.subtree_control").split_whitespace().any(|word| word == controller);
    let crowded = !hierarchy.base.is_empty() && !read("cgroup.procs").trim().is_empty();
    match (on, crowded) {
        (true, _) => Verdict::absent(format!("a group has no {file}")),
        (false, true) => Verdict::blocked(
            format!("processes in {}: what has any may not pass controllers on", base.display()),
            "",
        ),
        (false, false) => Verdict::works("switched on by the first start"),
    }
}

pub(super) fn memory(host: &Host) -> Result {
    let files = ["memory.limit_in_bytes", "memory.max"];
    let mut verdict = write(host, ["memory"; 2], files, "67108864")?;
    if verdict.state == State::Works && verdict.detail.is_empty() {
        let swap =
            write(host, ["memory"; 2], ["memory.memsw.limit_in_bytes", "memory.swap.max"], "")?;
        if swap.state != State::Works && host.read("proc/swaps").is_some() {
            verdict.detail =
                "swap is not limited: swapaccount=1 is not in the kernel's words".into();
        }
    }
    Ok(verdict)
}

pub(super) fn cpu(host: &Host) -> Result {
    write(host, ["cpu"; 2], ["cpu.shares", "cpu.weight"], "50")
}

/// Of version 2 every group has the account.
pub(super) fn cpuacct(host: &Host) -> Result {
    match find(host, "cpuacct") {
        Ok(_) => write(host, ["cpuacct"; 2], ["cpuacct.usage", ""], ""),
        Err(missing) => match find(host, "unified") {
            Ok(unified) if Group::make(&unified)?.has("cpu.stat") => Ok(Verdict::works("")),
            _ => Ok(missing),
        },
    }
}

pub(super) fn cpuset(host: &Host) -> Result {
    write(host, ["cpuset"; 2], ["cpuset.cpus", "cpuset.cpus"], "")
}

pub(super) fn pids(host: &Host) -> Result {
    write(host, ["pids"; 2], ["pids.max", "pids.max"], "100")
}

pub(super) fn io(host: &Host) -> Result {
    let files = ["blkio.throttle.read_bps_device", "io.max"];
    write(host, ["blkio", "io"], files, "")
}

/// Version 1 has files for it, version 2 a program.
pub(super) fn devices(host: &Host) -> Result {
    let missing = match find(host, "devices") {
        Ok(hierarchy) => {
            let group = Group::make(&hierarchy)?;
            group.write("devices.deny", "c 1:3 rwm")?;
            group.write("devices.allow", "c 1:3 rwm")?;
            return Ok(Verdict::works(""));
        }
        Err(missing) => missing,
    };
    let unified = match find(host, "unified") {
        Ok(unified) => unified,
        Err(_) => return Ok(missing),
    };
    let group = Group::make(&unified)?;
    let dir = fd::open(&group.dir, OpenFlags::RDONLY | OpenFlags::DIRECTORY, 0)?;
    let attached = bpf::load_device_program(&DeviceList::with_default(true).compile())
        .and_then(|program| bpf::attach_device_program(dir.as_fd(), program.as_fd(), None));
    match attached {
        // Without the system call, without programs of that kind, without groups that take any.
        Err(e) if [errno::ENOSYS, errno::EINVAL].contains(&e.errno) => {
            Ok(Verdict::absent(format!("CONFIG_CGROUP_BPF (Linux 4.15): {e}")))
        }
        done => done.map(|()| Verdict::works("as a program")).map_err(Refusal::from),
    }
}

/// Stops a process and lets it go on.
pub(super) fn freezer(host: &Host) -> Result {
    let v1 = find(host, "freezer");
    let hierarchy = match v1 {
        Ok(hierarchy) => hierarchy,
        Err(missing) => match find(host, "unified") {
            Ok(unified) => unified,
            Err(_) => return Ok(missing),
        },
    };
    let group = Group::make(&hierarchy)?;
    let [file, stop, seen, done, go] = match hierarchy.version {
        Version::V1 => ["freezer.state", "FROZEN", "freezer.state", "FROZEN", "THAWED"],
        Version::V2 => ["cgroup.freeze", "1", "cgroup.events", "frozen 1", "0"],
    };
    if !group.has(file) {
        return Ok(Verdict::absent("no cgroup.freeze (Linux 5.2)"));
    }
    let member = Member::join(&group)?;
    group.write(file, stop)?;
    group.until(seen, done);
    group.write(file, go)?;
    drop(member);
    Ok(Verdict::works(""))
}

/// Kills a group at once.
pub(super) fn kill(host: &Host) -> Result {
    let unified = match find(host, "unified") {
        Ok(unified) => unified,
        Err(missing) if missing.state != State::Absent => return Ok(missing),
        Err(_) => return Ok(Verdict::absent("of version 2 only; processes are killed one by one")),
    };
    let group = Group::make(&unified)?;
    if !group.has("cgroup.kill") {
        return Ok(Verdict::absent("Linux 5.14; processes are killed one by one"));
    }
    let member = Member::join(&group)?;
    group.write("cgroup.kill", "1")?;
    process::wait(member.0)?;
    std::mem::forget(member);
    Ok(Verdict::works(""))
}

/// systemd in a container keeps its groups there on a host of version 1.
pub(super) fn systemd(host: &Host) -> Verdict {
    let named = host.mountinfo.lines().any(|line| line.contains("name=systemd"));
    match named || !host.cgroup_mounts(true).is_empty() {
        true if named => Verdict::works(""),
        true => Verdict::works("by the hierarchy of version 2"),
        false => Verdict::absent("no hierarchy of that name").mend(
            "mkdir -p /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd",
        ),
    }
}

pub(super) fn clone_children(host: &Host) -> Verdict {
    let any = |point: &&str| {
        let dir = Path::new(point.trim_start_matches('/'));
        dirs::exists(&host.path("").join(dir).join("cgroup.clone_children"))
    };
    match host.cgroup_mounts(false).iter().any(any) {
        true => Verdict::works(""),
        false => Verdict::absent(""),
    }
}

/// Limit and count of processes of the group below which containers are made, if it has a limit.
pub(super) fn pids_left(host: &Host) -> Option<(u64, u64)> {
    if !host.is_real() {
        return None;
    }
    let dir = find(host, "pids").ok()?.base_dir();
    let read = |name: &str| fd::read_to_string(dir.join(name)).ok()?.trim().parse().ok();
    Some((read("pids.max")?, read("pids.current")?))
}
