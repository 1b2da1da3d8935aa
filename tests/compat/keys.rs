//! Scenes over tables: words that every tool must answer alike, and each key of a configuration.

use crate::scene::{EMPTY, NOTHING, Scene};

/// The scenes.
pub const SCENES: &[Scene] = &[
    Scene { name: "tools-words", containers: &[EMPTY], every_tool: WORDS, ..NOTHING },
    Scene {
        name: "tools-keys",
        containers: &[KEYS],
        every_key: &["lxc-info -n $a -c 'KEY'"],
        ..NOTHING
    },
];

/// Wrong or unusual words that every tool must answer in the same way.
const WORDS: &[&str] = &[
    "TOOL",
    "TOOL --bogus",
    "TOOL -n",
    "TOOL --name",
    "TOOL --help >/dev/null",
    "TOOL --usage >/dev/null",
    "TOOL --version >/dev/null",
    "TOOL -n missing",
    "TOOL --name=missing -q",
    "TOOL -n ''",
    "TOOL -n $a -P /proc/none",
    "TOOL -n $a -o /proc/none/log",
    "TOOL -n $a -n missing",
    "TOOL -n $a --lxcpath",
    "TOOL -Z -n $a",
];

/// A value for every key that LXC 5.0.2 has.
const KEYS: &str = "lxc.arch = x86_64
lxc.apparmor.profile = unconfined
lxc.apparmor.allow_incomplete = 1
lxc.apparmor.allow_nesting = 1
lxc.apparmor.raw = deny mount,
lxc.apparmor.raw = deny ptrace,
lxc.autodev = 1
lxc.autodev.tmpfs.size = 600000
lxc.cap.drop = sys_module mac_admin
lxc.cap.drop = sys_time
lxc.cgroup.memory.limit_in_bytes = 1G
lxc.cgroup.devices.deny = a
lxc.cgroup.devices.allow = c 1:3 rwm
lxc.cgroup2.memory.high = 1G
lxc.cgroup.relative = 1
lxc.cgroup.dir = some/where
lxc.console.buffer.size = auto
lxc.console.size = 2MB
lxc.console.logfile = /run/console.log
lxc.console.rotate = 1
lxc.console.path = none
lxc.environment = A=1
lxc.environment = B=two words
lxc.ephemeral = 0
lxc.execute.cmd = /bin/ls -l
lxc.group = web
lxc.group = db cache
lxc.hook.version = 1
lxc.hook.pre-start = /bin/true
lxc.hook.pre-start = /bin/echo hello
lxc.hook.pre-mount = /bin/true
lxc.hook.mount = /bin/true
lxc.hook.autodev = /bin/true
lxc.hook.start = /bin/true
lxc.hook.start-host = /bin/true
lxc.hook.stop = /bin/true
lxc.hook.post-stop = /bin/true
lxc.hook.clone = /bin/true
lxc.hook.destroy = /bin/true
lxc.idmap = u 0 100000 65536
lxc.idmap = g 0 100000 65536
lxc.init.cmd = /sbin/init --log \"a b\"
lxc.init.uid = 10
lxc.init.gid = 11
lxc.init.groups = 1,2,3
lxc.init.cwd = /root
lxc.keyring.session = 0
lxc.log.level = WARN
lxc.log.syslog = daemon
lxc.log.file = /run/c.log
lxc.monitor.unshare = 1
lxc.monitor.signal.pdeath = SIGTERM
lxc.mount.auto = proc:mixed sys:ro cgroup:mixed
lxc.mount.entry = none tmp tmpfs rw 0 0
lxc.mount.entry = /srv srv none bind,ro 0 0
lxc.mount.fstab = /run/fstab
lxc.namespace.keep = ipc uts
lxc.namespace.share.net = 1
lxc.time.offset.boot = 2h
lxc.time.offset.monotonic = 30s
lxc.no_new_privs = 1
lxc.prlimit.nofile = 1024:2048
lxc.prlimit.core = unlimited
lxc.proc.oom_score_adj = 7
lxc.pty.max = 12
lxc.rootfs.managed = 0
lxc.rootfs.options = noatime
lxc.seccomp.allow_nesting = 1
lxc.seccomp.notify.cookie = biscuit
lxc.seccomp.notify.proxy = unix:/run/proxy
lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp
lxc.selinux.context = a:b:c:d
lxc.selinux.context.keyring = e:f:g:h
lxc.signal.halt = SIGRTMIN+3
lxc.signal.reboot = 15
lxc.signal.stop = SIGQUIT
lxc.start.auto = 1
lxc.start.delay = 5
lxc.start.order = -3
lxc.sysctl.net.ipv4.ip_forward = 1
lxc.sysctl.kernel.domainname = d
lxc.tty.dir = lxc
lxc.tty.max = 3
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.link = br0
lxc.net.0.name = eth7
lxc.net.0.hwaddr = 00:16:3e:01:02:03
lxc.net.0.mtu = 1400
lxc.net.0.ipv4.address = 10.0.0.2/24
lxc.net.0.ipv4.address = 10.0.1.2/24 10.0.1.255
lxc.net.0.ipv4.gateway = 10.0.0.1
lxc.net.0.ipv6.address = fd00::2/64
lxc.net.0.ipv6.gateway = fd00::1
lxc.net.0.script.up = /bin/up
lxc.net.0.script.down = /bin/down
lxc.net.0.veth.mode = router
lxc.net.0.veth.pair = v7
lxc.net.0.veth.ipv4.route = 10.2.0.0/24
lxc.net.0.veth.ipv6.route = fd02::/64
lxc.net.0.veth.vlan.id = 5
lxc.net.0.veth.vlan.tagged.id = 6
lxc.net.0.veth.vlan.tagged.id = 7
lxc.net.1.type = macvlan
lxc.net.1.link = eth0
lxc.net.1.macvlan.mode = vepa
lxc.net.1.ipv4.gateway = auto
lxc.net.2.type = vlan
lxc.net.2.vlan.id = 12
lxc.net.3.type = ipvlan
lxc.net.3.ipvlan.mode = l3s
lxc.net.3.ipvlan.isolation = private
lxc.net.3.ipv4.gateway = dev
lxc.net.3.l2proxy = 1
lxc.net.4.type = phys
lxc.net.5.type = empty
lxc.net.6.type = none
";

/// Keys that are asked for beside those of the configuration.
pub const MORE: &[&str] = &[
    "lxc.net",
    "lxc.net.0",
    "lxc.net.1",
    "lxc.net.9",
    "lxc.net.9.type",
    "lxc.hook",
    "lxc.cgroup",
    "lxc.cgroup.devices",
    "lxc.cgroup2",
    "lxc.prlimit",
    "lxc.sysctl",
    "lxc.proc",
    "lxc.cap.keep",
    "lxc.namespace.clone",
    "lxc.namespace.share.ipc",
    "lxc.rootfs.path",
    "lxc.rootfs.mount",
    "lxc.include",
    "lxc.uts.name",
    "lxc.network",
    "lxc.utsname",
    "lxc",
    "",
    "lxc.cgroup.dir.monitor",
    "lxc.net.1.veth.pair",
    "lxc.net.1.macvlan.mode",
    "lxc.net.0.macvlan.mode",
    "lxc.sched.core",
];
