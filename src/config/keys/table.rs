//! The rows of a container, sorted by name. A flat table; the few keys that
//! are more than a field and a codec have their functions at the end.

use super::access::{
    Access, Arg, Holds, Slot as _, clear_named, family, many, nothing, one, put_all, put_named,
    show_all, show_named,
};
use crate::config::value::{self, *};
use crate::config::{Cap, Config, HookKind, NsKind, Sourced};

use super::Live;

type Key = super::Key<Config>;

/// The hooks of one kind.
macro_rules! hook {
    ($name:literal, $kind:ident, $doc:literal) => {
        Key::new(
            $name,
            Access {
                holds: Holds::Many,
                repeats: true,
                readable: true,
                shape: COMMAND_ITEM.shape,
                set: |c, arg| {
                    c.hooks.or_default(HookKind::$kind).put(arg.value.to_owned(), arg.origin);
                    Ok(())
                },
                get: |c, _, out| {
                    c.hooks(HookKind::$kind).iter().for_each(|h| out.extend([&h.value, "\n"]));
                },
                clear: |c, _, _| {
                    c.hooks.remove(&HookKind::$kind);
                },
                ..nothing()
            },
            "/usr/share/lxc/hooks/example --now",
            $doc,
        )
    };
}

/// `lxc.environment*`.
macro_rules! environment {
    ($($field:ident).+) => {
        Access {
            holds: Holds::Many,
            repeats: true,
            readable: true,
            shape: "NAME=VALUE|NAME",
            set: |c, arg| {
                c.$($field).+.push(variable(arg)?);
                Ok(())
            },
            get: |c, _, out| {
                c.$($field).+.iter().for_each(|(n, v)| out.extend([n, "=", v, "\n"]));
            },
            clear: |c, _, _| c.$($field).+.clear(),
            ..nothing()
        }
    };
}

pub(super) static KEYS: &[Key] = &[
    Key::new(
        "lxc.apparmor.allow_incomplete",
        one!(apparmor.allow_incomplete, BOOL),
        "1",
        "start though the kernel's AppArmor cannot confine mounts",
    ),
    Key::new(
        "lxc.apparmor.allow_nesting",
        one!(apparmor.allow_nesting, BOOL),
        "1",
        "let the generated profile permit containers in the container",
    ),
    Key::new(
        "lxc.apparmor.profile",
        one!(apparmor.profile, TEXT),
        "generated",
        "AppArmor profile: a name, unconfined, unchanged or generated",
    ),
    Key::new(
        "lxc.apparmor.raw",
        many!(apparmor.raw, ITEM),
        "deny mount fstype=debugfs,",
        "a line for the generated profile",
    ),
    Key::new("lxc.arch", one!(arch, ARCH), "x86_64", "architecture that init believes to run on"),
    Key::new("lxc.autodev", one!(autodev.enabled, BOOL), "0", "make a /dev on a tmpfs")
        .empty_means("0"),
    Key::new(
        "lxc.autodev.tmpfs.size",
        one!(autodev.tmpfs_size, SIZE),
        "1000000",
        "size of that tmpfs",
    ),
    Key::new(
        "lxc.cap.drop",
        Access { set: drop_caps, clear: clear_caps, ..many!(words caps.drop, CAP) },
        "sys_module mac_admin",
        "capabilities that nobody in the container can have",
    ),
    Key::new(
        "lxc.cap.keep",
        Access {
            holds: Holds::Many,
            repeats: true,
            readable: true,
            shape: "none|capability",
            set: keep_caps,
            get: |c, _, out| match &c.caps.keep {
                Some(keep) if keep.is_empty() => out.push_str("none\n"),
                Some(keep) => show_all(keep, CAP.show, out),
                None => {}
            },
            clear: clear_caps,
            ..nothing()
        },
        "chown kill setuid setgid",
        "the only capabilities that the container can have; none for none at all",
    ),
    Key::new(
        "lxc.cgroup",
        family!("lxc.cgroup", cgroup.v1, ITEM, false),
        "memory.limit_in_bytes = 512M",
        "written to this file of a version 1 cgroup, or what is the same on version 2",
    )
    .live(Live::Cgroup),
    Key::new(
        "lxc.cgroup.dir",
        one!(cgroup.dir, CGROUP_PATH),
        "containers",
        "parent of the cgroups of container and monitor",
    ),
    Key::new(
        "lxc.cgroup.dir.container",
        one!(cgroup.dir_container, CGROUP_PATH),
        "lxc/web",
        "cgroup of the container; goes with lxc.cgroup.dir.monitor",
    ),
    Key::new(
        "lxc.cgroup.dir.container.inner",
        one!(cgroup.dir_container_inner, COMPONENT),
        "ns",
        "cgroup below that one which the container takes for the root",
    ),
    Key::new(
        "lxc.cgroup.dir.monitor",
        one!(cgroup.dir_monitor, CGROUP_PATH),
        "lxc/web.monitor",
        "cgroup of the monitor; goes with lxc.cgroup.dir.container",
    ),
    Key::new(
        "lxc.cgroup.dir.monitor.pivot",
        one!(cgroup.dir_monitor_pivot, CGROUP_PATH),
        "lxc/pivot",
        "where the monitor goes while its cgroup is removed",
    ),
    Key::new(
        "lxc.cgroup.relative",
        one!(cgroup.relative, BOOL),
        "1",
        "make the cgroups below the caller's, not below the one of pid 1",
    ),
    Key::new(
        "lxc.cgroup2",
        family!("lxc.cgroup2", cgroup.v2, ITEM, false),
        "memory.max = 512M",
        "written to this file of a version 2 cgroup, or what is the same on version 1",
    )
    .live(Live::Cgroup),
    Key::new(
        "lxc.console.buffer.size",
        one!(console.buffer_size, BUFFER_SIZE),
        "auto",
        "size of the console's ring buffer in memory; 0 is off",
    ),
    Key::new(
        "lxc.console.logfile",
        one!(console.logfile, PATH),
        "/var/log/lxc/web.console",
        "file that takes the console's output",
    ),
    Key::new(
        "lxc.console.path",
        one!(console.path, CONSOLE_PATH),
        "/dev/tty8",
        "terminal that the console is shown on; none for no console",
    ),
    Key::new(
        "lxc.console.rotate",
        one!(console.rotate, BOOL),
        "1",
        "keep a full console log as LOGFILE.1",
    ),
    Key::new(
        "lxc.console.size",
        one!(console.size, BUFFER_SIZE),
        "1MB",
        "largest console log; 0 is unlimited",
    ),
    Key::new(
        "lxc.environment",
        environment!(environment.both),
        "LANG=C.UTF-8",
        "variable of init and of the hooks run in the child; a bare NAME takes the caller's",
    ),
    Key::new(
        "lxc.environment.hooks",
        environment!(environment.hooks),
        "DEBUG=1",
        "variable of the hooks run in the child only",
    ),
    Key::new(
        "lxc.environment.runtime",
        environment!(environment.runtime),
        "LANG=C.UTF-8",
        "variable of init only",
    ),
    Key::new("lxc.ephemeral", one!(ephemeral, BOOL), "1", "destroy the container when it stops"),
    Key::new(
        "lxc.execute.cmd",
        one!(execute_cmd, COMMAND),
        "/usr/bin/app --serve",
        "what lxc-execute runs when it is given no command",
    ),
    Key::new("lxc.group", many!(words groups, ITEM), "onboot web", "groups for lxc-autostart")
        .live(Live::Read),
    Key::new(
        "lxc.hook",
        Access { clear: |c, _, _| c.hooks.clear(), ..nothing() },
        "",
        "with an empty value: removes all hooks",
    ),
    hook!("lxc.hook.autodev", Autodev, "in the container's mounts, before /dev is filled"),
    hook!("lxc.hook.clone", Clone, "on the host, with the rootfs of a copy mounted")
        .live(Live::Read),
    hook!("lxc.hook.destroy", Destroy, "on the host, before the container is destroyed")
        .live(Live::Read),
    hook!("lxc.hook.mount", Mount, "in the container's mounts, when all is mounted"),
    hook!("lxc.hook.post-stop", PostStop, "on the host, after the container has stopped"),
    hook!("lxc.hook.pre-mount", PreMount, "in the container's mounts, before the rootfs"),
    hook!("lxc.hook.pre-start", PreStart, "on the host, before anything is made"),
    hook!("lxc.hook.start", Start, "in the container, right before init"),
    hook!("lxc.hook.start-host", StartHost, "on the host, right before init"),
    hook!("lxc.hook.stop", Stop, "on the host, with the namespaces still there"),
    Key::new(
        "lxc.hook.version",
        one!(hook_version, HOOK_VERSION),
        "1",
        "hooks get their information as arguments (0) or in the environment (1)",
    ),
    Key::new(
        "lxc.idmap",
        Access {
            get: |c, _, out| {
                // No line break after the last one: what LXC's own tools expect to read.
                show_all(&c.idmap, ID_MAP.show, out);
                out.pop();
            },
            ..many!(idmap, ID_MAP)
        },
        "u 0 100000 65536",
        "a range of users or groups of the container and where it begins on the host",
    ),
    Key::new(
        "lxc.include",
        Access { repeats: true, shape: "path", set: |_, _| Ok(()), ..nothing() },
        "/usr/share/lxc/config/common.conf",
        "reads a file, or all *.conf files of a directory, in this place",
    ),
    Key::new("lxc.init.cmd", one!(init.cmd, COMMAND), "/sbin/init", "init of lxc-start"),
    Key::new("lxc.init.cwd", one!(init.cwd, PATH), "/srv", "directory that init starts in"),
    Key::new("lxc.init.gid", one!(init.gid, UINT), "1000", "group of init"),
    Key::new(
        "lxc.init.groups",
        Access {
            shape: "number,number",
            set: |c, arg| {
                put_all(
                    &mut c.init.groups,
                    arg.value.split(',').map(str::trim).filter(|group| !group.is_empty()),
                    UINT.parse,
                    arg.origin,
                )
            },
            get: |c, _, out| {
                show_all(&c.init.groups, UINT.show, out);
                *out = out.trim_end().replace('\n', ",");
            },
            ..many!(init.groups, UINT)
        },
        "27,100",
        "more groups of init; none if not set",
    ),
    Key::new("lxc.init.uid", one!(init.uid, UINT), "1000", "user of init"),
    Key::new(
        "lxc.keyring.session",
        one!(keyring_session, MAYBE_BOOL),
        "1",
        "a session keyring for the container",
    ),
    Key::new("lxc.log.file", one!(log.file, PATH), "/var/log/lxc/web.log", "log of the container"),
    Key::new("lxc.log.level", one!(log.level, LOG_LEVEL), "INFO", "least level that is logged"),
    Key::new("lxc.log.syslog", one!(log.syslog, FACILITY), "daemon", "log to syslog as well"),
    Key::new(
        "lxc.monitor.signal.pdeath",
        one!(monitor_pdeath, DEATH_SIGNAL),
        "15",
        "signal to init when its monitor dies; 0 for none",
    ),
    Key::new(
        "lxc.monitor.unshare",
        one!(monitor_unshare, NONZERO),
        "1",
        "give the monitor a mount namespace before its hooks run",
    ),
    Key::new(
        "lxc.mount.auto",
        Access {
            holds: Holds::Many,
            repeats: true,
            readable: true,
            shape: "proc[:MODE] sys[:MODE] cgroup[:MODE][:force] cgroup-full.. cgroup2.. shmounts:..",
            set: |c, arg| value::mount_auto(&mut c.mount_auto, arg.value),
            get: |c, _, out| show_mount_auto(&c.mount_auto, out),
            clear: |c, fresh, _| std::mem::swap(&mut c.mount_auto, &mut fresh.mount_auto),
            ..nothing()
        },
        "proc:mixed sys:mixed cgroup:mixed",
        "file systems that are mounted without an entry",
    ),
    Key::new(
        "lxc.mount.entry",
        many!(mount_entries, FSTAB_LINE),
        "/srv/data srv/data none bind,create=dir 0 0",
        "a mount, its target below the rootfs",
    ),
    Key::new(
        "lxc.mount.fstab",
        one!(mount_fstab, PATH),
        "/var/lib/lxc/web/fstab",
        "file with mount entries",
    ),
    Key::new(
        "lxc.namespace.clone",
        Access { set: clone_namespaces, ..many!(words namespaces.clone, NAMESPACE) },
        "mnt pid uts ipc net",
        "the only namespaces that are made new",
    ),
    Key::new(
        "lxc.namespace.keep",
        Access { set: keep_namespaces, ..many!(words namespaces.keep, NAMESPACE) },
        "net ipc",
        "namespaces that stay the creator's",
    ),
    Key::new(
        "lxc.namespace.share",
        Access {
            holds: Holds::Family,
            repeats: false,
            readable: true,
            shape: "PID|container|path",
            set: share_namespace,
            get: |c, name, out| {
                for (ns, shared) in &c.namespaces.share {
                    if name.is_empty() {
                        out.extend(["lxc.namespace.share.", ns.name(), " = ", &shared.value, "\n"]);
                    } else if name == ns.name() {
                        out.push_str(&shared.value);
                    }
                }
            },
            clear: |c, _, name| {
                c.namespaces.share.retain(|ns, _| !name.is_empty() && ns.name() != name);
            },
            names: |c, f| c.namespaces.share.keys().for_each(|ns| f(ns.name())),
        },
        "net = other",
        "joins the namespace of a process, of a container or of a file",
    ),
    Key::new(
        "lxc.net",
        Access {
            readable: true,
            get: |c, _, out| {
                for net in c.net.values() {
                    out.extend([net.kind.map_or("", |kind| kind.name()), "\n"]);
                }
            },
            clear: |c, _, _| c.net.clear(),
            ..nothing()
        },
        "",
        "with an empty value: removes all networks",
    ),
    Key::new(
        "lxc.no_new_privs",
        one!(no_new_privs, BOOL),
        "1",
        "set-user-ID programs gain nothing in the container",
    ),
    Key::new(
        "lxc.prlimit",
        family!("lxc.prlimit", prlimits, LIMIT, true),
        "nofile = 1024:4096",
        "resource limit of init, see getrlimit(2)",
    )
    .live(Live::Prlimit),
    Key::new(
        "lxc.proc",
        Access {
            get: |c, name, out| {
                show_named(&c.procs, ("lxc.proc", name), ITEM.show, false, out);
                if !name.is_empty() {
                    out.pop();
                }
            },
            ..family!("lxc.proc", procs, ITEM, false)
        },
        "oom_score_adj = 10",
        "written to /proc/PID of init",
    )
    .live(Live::Proc),
    Key::new("lxc.pty.max", one!(pty_max, UINT), "1024", "how many ptys there can be"),
    Key::new(
        "lxc.rootfs.managed",
        one!(rootfs.managed, BOOL),
        "0",
        "the storage belongs to the container and is destroyed with it",
    )
    .live(Live::Read),
    Key::new(
        "lxc.rootfs.mount",
        Access {
            get: |c, _, out| match &c.rootfs.mount {
                Some(path) => out.push_str(&path.to_string_lossy()),
                None => out.push_str(crate::config::path::ROOTFS_MOUNT),
            },
            ..one!(rootfs.mount, PATH)
        },
        "/mnt/rootfs",
        "where the rootfs is mounted before the container enters it",
    ),
    Key::new(
        "lxc.rootfs.options",
        one!(rootfs.options, ROOTFS_OPTIONS),
        "nosuid,noatime",
        "options of that mount",
    ),
    Key::new(
        "lxc.rootfs.path",
        Access {
            shape: "[TYPE:]PATH",
            set: rootfs_path,
            clear: |c, _, _| {
                c.rootfs.path = None;
                c.rootfs.backend = None;
            },
            ..one!(rootfs.path, PATH)
        },
        "dir:/var/lib/lxc/web/rootfs",
        "the root file system, with its storage type before a colon",
    ),
    Key::new("lxc.sched.core", one!(sched_core, BOOL), "1", "a core scheduling domain of its own"),
    Key::new(
        "lxc.seccomp.allow_nesting",
        one!(seccomp.allow_nesting, BOOL),
        "1",
        "load the policy though one is in force already",
    ),
    Key::new(
        "lxc.seccomp.notify.cookie",
        one!(seccomp.notify_cookie, TEXT),
        "web",
        "sent with each message to the notify proxy",
    ),
    Key::new(
        "lxc.seccomp.notify.proxy",
        one!(seccomp.notify_proxy, PROXY),
        "unix:/run/proxy.sock",
        "who answers the system calls that the policy marks notify",
    ),
    Key::new(
        "lxc.seccomp.profile",
        one!(seccomp.profile, PATH),
        "/usr/share/lxc/config/common.seccomp",
        "file with the system call policy",
    ),
    Key::new(
        "lxc.selinux.context",
        one!(selinux.context, TEXT),
        "system_u:system_r:lxc_t:s0:c22",
        "SELinux context of init",
    ),
    Key::new(
        "lxc.selinux.context.keyring",
        one!(selinux.keyring, TEXT),
        "system_u:system_r:lxc_t:s0:c22",
        "SELinux context of the session keyring",
    ),
    Key::new("lxc.signal.halt", one!(signals.halt, SIGNAL), "37", "asks init to shut down"),
    Key::new("lxc.signal.reboot", one!(signals.reboot, SIGNAL), "2", "asks init to reboot"),
    Key::new("lxc.signal.stop", one!(signals.stop, SIGNAL), "9", "ends the container at once"),
    Key::new(
        "lxc.start.after",
        many!(words start.after, CONTAINER),
        "database cache",
        "lxc-autostart starts it when these are ready; LXC's tools refuse a file with this key",
    )
    .live(Live::Read),
    Key::new("lxc.start.auto", one!(start.auto, BOOL), "1", "lxc-autostart starts it")
        .live(Live::Read),
    Key::new("lxc.start.delay", one!(start.delay, UINT), "5", "seconds to wait after its start")
        .live(Live::Read),
    Key::new("lxc.start.order", one!(start.order, INT), "-10", "low numbers start first")
        .live(Live::Read),
    Key::new(
        "lxc.start.ready",
        one!(start.ready, READINESS),
        "/usr/bin/pg_isready -q",
        "when what comes after it may start; LXC's tools refuse a file with this key",
    )
    .live(Live::Read),
    Key::new(
        "lxc.sysctl",
        family!("lxc.sysctl", sysctls, ITEM, true),
        "net.ipv4.ip_forward = 1",
        "written to /proc/sys in the container",
    )
    .live(Live::Sysctl),
    Key::new(
        "lxc.time.offset.boot",
        one!(time_offset.boot, DURATION),
        "10 s",
        "offset of the clock that counts since boot",
    ),
    Key::new(
        "lxc.time.offset.monotonic",
        one!(time_offset.monotonic, DURATION),
        "10 s",
        "offset of the monotonic clock",
    ),
    Key::new("lxc.tty.dir", one!(tty_dir, DEV_DIR), "lxc", "directory below /dev for the ttys"),
    Key::new("lxc.tty.max", one!(tty_max, UINT), "4", "how many /dev/ttyN there are"),
    Key::new("lxc.uts.name", one!(uts_name, HOSTNAME), "web", "host name in the container")
        .live(Live::HostName),
];

/// `lxc.rootfs.backend` of LXC 2, the storage type on its own line. Not a row of the reference.
pub(super) static ROOTFS_BACKEND: Key =
    Key::new(super::ROOTFS_BACKEND, one!(rootfs.backend, TEXT), "dir", "");

fn variable(arg: &Arg<'_>) -> Parsed<(String, String)> {
    let (name, value) = match arg.value.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let found = (arg.options.env)(arg.value);
            (arg.value, found.ok_or_else(|| ValueError::Unset(arg.value.to_owned()))?)
        }
    };
    match name {
        "" => Err(ValueError::shape(arg.value, "NAME=VALUE")),
        name => Ok((name.to_owned(), value)),
    }
}

fn drop_caps(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    if c.caps.keep.is_some() {
        return Err(ValueError::Excluded("lxc.cap.keep"));
    }
    put_all(&mut c.caps.drop, arg.value.split_ascii_whitespace(), CAP.parse, arg.origin)
}

/// Either key with an empty value clears both lists, as in LXC.
fn clear_caps(c: &mut Config, fresh: &mut Config, _: &str) {
    std::mem::swap(&mut c.caps, &mut fresh.caps);
}

/// `none` empties the list, so that alone it keeps nothing.
fn keep_caps(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    if !c.caps.drop.is_empty() {
        return Err(ValueError::Excluded("lxc.cap.drop"));
    }
    let mut keep: Vec<Sourced<Cap>> = c.caps.keep.clone().unwrap_or_default();
    for word in arg.value.split_ascii_whitespace() {
        match word {
            "none" => keep.clear(),
            name => keep.put((CAP.parse)(name)?, arg.origin),
        }
    }
    c.caps.keep = Some(keep);
    Ok(())
}

fn clone_namespaces(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    if !c.namespaces.keep.is_empty() {
        return Err(ValueError::Excluded("lxc.namespace.keep"));
    }
    put_namespaces(&mut c.namespaces.clone, arg)
}

fn keep_namespaces(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    if !c.namespaces.clone.is_empty() {
        return Err(ValueError::Excluded("lxc.namespace.clone"));
    }
    put_namespaces(&mut c.namespaces.keep, arg)
}

/// A set, so twice is once.
fn put_namespaces(list: &mut Vec<NsKind>, arg: &Arg<'_>) -> Parsed<()> {
    put_all(list, arg.value.split_ascii_whitespace(), NAMESPACE.parse, arg.origin)?;
    list.sort_unstable();
    list.dedup();
    Ok(())
}

fn share_namespace(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    let ns = (NAMESPACE.parse)(arg.suffix)?;
    let shared = Sourced { value: arg.value.to_owned(), origin: arg.origin.clone() };
    c.namespaces.share.insert(ns, shared);
    Ok(())
}

/// `[TYPE:]PATH`. A colon after a slash belongs to the path (LXC takes everything before the
/// first colon for the type). The old `lxc.rootfs` leaves `lxc.rootfs.backend` in force.
fn rootfs_path(c: &mut Config, arg: &mut Arg<'_>) -> Parsed<()> {
    let typed = arg.value.split_once(':').filter(|(kind, _)| !kind.contains('/'));
    let path = match typed {
        Some((kind, path)) if !kind.is_empty() && !path.is_empty() => {
            c.rootfs.backend = Some(kind.to_owned());
            path
        }
        Some(_) => return Err(ValueError::shape(arg.value, "[TYPE:]PATH")),
        None => {
            if !arg.old {
                c.rootfs.backend = None;
            }
            arg.value
        }
    };
    c.rootfs.path = Some(path.into());
    Ok(())
}
