//! Scenes of the tools that change a running container or its configuration; see `scene.rs`.

use crate::scene::{EMPTY, NOTHING, Scene};

/// The scenes.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "live-cgroup",
        containers: &[EMPTY],
        setup: "lxc-start -n $a",
        lines: &[
            "lxc-cgroup -n $a memory.limit_in_bytes",
            "lxc-cgroup -n $a memory.limit_in_bytes 100M",
            "lxc-cgroup -n $a memory.limit_in_bytes",
            "lxc-cgroup $a memory.limit_in_bytes",
            "lxc-cgroup memory.limit_in_bytes -n $a",
            "lxc-cgroup -n $a -- memory.limit_in_bytes",
            "lxc-cgroup -n $a memory.limit_in_bytes xx",
            "lxc-cgroup -n $a memory.max",
            "lxc-cgroup -n $a memory.max 200M",
            "lxc-cgroup -n $a memory.high 200M",
            "lxc-cgroup -n $a pids.max 100",
            "lxc-cgroup -n $a pids.max",
            "lxc-cgroup -n $a pids.max 100 x y",
            "lxc-cgroup -n $a cpu.shares 512; lxc-cgroup -n $a cpu.shares",
            "lxc-cgroup -n $a cpuset.cpus",
            "lxc-cgroup -n $a freezer.state",
            "lxc-cgroup -n $a hugetlb.2MB.max",
            "lxc-cgroup -n $a cgroup.freeze",
            "lxc-cgroup -n $a bogus.x",
            "lxc-cgroup -n $a bogus.x 1",
            "lxc-cgroup -n $a bogus",
            "lxc-cgroup -n $a ../x",
            "lxc-cgroup -n $a ''",
            "lxc-cgroup -n $a devices.list",
            "lxc-cgroup -n $a devices.deny a",
            "lxc-cgroup -n $a devices.list",
            "lxc-cgroup -n $a devices.allow 'c 10:229 rwm'",
            "lxc-cgroup -n $a devices.allow 'b 8:* r'",
            "lxc-cgroup -n $a devices.allow 'c 1:3'",
            "lxc-cgroup -n $a devices.list",
            "lxc-cgroup -n $a devices.allow",
            "lxc-cgroup -n $a devices.allow /dev/null",
            "lxc-cgroup -n $a",
            "lxc-cgroup -q -n $a bogus.x",
            "lxc-cgroup -n missing pids.max",
            "lxc-stop -n $a -k",
            "lxc-cgroup -n $a pids.max",
            "lxc-cgroup -n $a pids.max 1",
        ],
        ..NOTHING
    },
    Scene {
        name: "live-device",
        containers: &["lxc.net.0.type = empty\nlxc.cgroup.devices.deny = a\n\
                       lxc.cgroup.devices.allow = c 1:3 rwm\n"],
        setup: "lxc-start -n $a; ip link add vt0 type veth peer name vt1",
        lines: &[
            "lxc-device -n $a",
            "lxc-device -n $a add",
            "lxc-device -n $a -- add",
            "lxc-device -n $a foo /dev/zero",
            "lxc-device -n $a add /dev/zero",
            "lxc-attach -n $a -- stat -c '%t:%T %F' /dev/zero",
            "lxc-cgroup -n $a devices.list",
            "lxc-device -n $a -- add /dev/zero",
            "lxc-device $a add /dev/full",
            "lxc-cgroup -n $a devices.list",
            "lxc-device -n $a -- add /dev/full /dev/nowhere",
            "lxc-device -n $a -- add /dev/full /dev/full too many",
            "lxc-device -n $a -- a /dev/full",
            "lxc-device -n $a -- add /dev/missing",
            "lxc-device -n $a -- add /etc/passwd",
            "lxc-device -n $a -- add /etc",
            "lxc-device -n $a -- del /dev/zero",
            "lxc-attach -n $a -- test -e /dev/zero",
            "lxc-device -n $a -- del /dev/zero",
            "lxc-device -n $a -- del /dev/missing",
            "lxc-device -n $a -- d /dev/full",
            "lxc-device -n $a -- del /dev/full",
            "lxc-cgroup -n $a devices.list",
            "lxc-device -n $a -- add vt1",
            "lxc-device -n $a -- del lo",
            "lxc-device -n $a -- del vt1",
            "lxc-device -n missing -- add /dev/zero",
            "lxc-device -q -n missing -- add /dev/zero",
            "lxc-stop -n $a -k; ip link del vt0",
            "lxc-device -n $a -- add /dev/zero",
            "lxc-device -n $a -- bogus",
        ],
        ..NOTHING
    },
    Scene {
        name: "live-config",
        containers: &[EMPTY],
        lines: &[
            "lxc-config lxc.lx",
            "lxc-config lxc.lxcpath",
            "lxc-config lxc.",
            "lxc-config lxc",
            "lxc-config l",
            "lxc-config ''",
            "lxc-config lxc.cgroup",
            "lxc-config lxc.cgroup.use",
            "lxc-config lxc.bdev",
            "lxc-config lxc.bdev.zfs",
            "lxc-config lxc.bdev.zfs.root.more",
            "lxc-config bogus",
            "lxc-config LXC.LXCPATH",
            "lxc-config lxc.lxcpath lxc.cgroup.use",
            "lxc-config -l",
            "lxc-config -l x",
            "lxc-config",
            "lxc-config -h",
            "lxc-config --help",
        ],
        ..NOTHING
    },
    Scene {
        name: "update-config",
        containers: &[EMPTY],
        setup: OLD_FILES,
        lines: &[
            "cd /var/lib/lxc; lxc-update-config -c old && cat old && cat old.backup",
            "cd /var/lib/lxc; lxc-update-config -c old && cat old",
            "cd /var/lib/lxc; lxc-update-config --config net; cat net; ls -A",
            "cd /var/lib/lxc; lxc-update-config --config=plain; cat plain; cmp plain plain.backup",
            "cd /var/lib/lxc; lxc-update-config -c limits; cat limits",
            "cd /var/lib/lxc; lxc-update-config -c overlay; cat overlay",
            "cd /var/lib/lxc; stat -c '%a %n' private; lxc-update-config -c private; stat -c '%a %n' private*",
            "lxc-update-config -c /var/lib/lxc/missing",
            "lxc-update-config -c /var/lib/lxc",
            "lxc-update-config -c",
            "lxc-update-config -x",
            "lxc-update-config /var/lib/lxc/old",
            "cd /var/lib/lxc; lxc-update-config -c old extra",
            "lxc-update-config | tail -1",
            "lxc-update-config -h | tail -1",
            "lxc-update-config --help | tail -1",
        ],
        ..NOTHING
    },
];

/// Files with keys of LXC 1 and 2.
const OLD_FILES: &str = r"cd /var/lib/lxc
printf '%s\n' '# a comment' 'lxc.rootfs = /var/lib/lxc/a/rootfs' '  lxc.utsname=a   ' \
    '#lxc.utsname = b' '# lxc.tty = 4' 'lxc.tty=4' 'lxc.pts   = 1024' 'lxc.devttydir =' \
    'lxc.id_map = u 0 100000 65536' 'lxc.aa_profile = unconfined' 'lxc.aa_allow_incomplete = 1' \
    'lxc.se_context = x' 'lxc.seccomp = /p' 'lxc.mount = /etc/fstab' \
    'lxc.mount.entry = proc proc proc 0 0' 'lxc.console = none' 'lxc.console.logfile = /x' \
    'lxc.haltsignal = SIGPWR' 'lxc.rebootsignal = 2' 'lxc.stopsignal = 9' 'lxc.syslog = daemon' \
    'lxc.loglevel = 3' 'lxc.logfile = /var/x' 'lxc.init_cmd = /sbin/init' 'lxc.init_uid = 0' \
    'lxc.init_gid = 0' 'lxc.pivotdir = lxc_putold' 'lxc.kmsg = 0' 'lxc.start.auto = 1' \
    'lxc.cgroup.memory.limit_in_bytes = 1G' 'lxc.rootfs.mount = /mnt' >old
printf '%s\n' 'lxc.network.type = veth' 'lxc.network.link = lxcbr0' \
    'lxc.network.ipv4 = 10.0.3.2/24' 'lxc.network.ipv4.gateway = auto' \
    'lxc.network.hwaddr = 00:16:3e:00:00:01' '#lxc.network.mtu = 1500' \
    'lxc.network.type = empty' 'lxc.network.ipv6 = fd00::1/64' 'lxc.network.3.type = veth' \
    'lxc.network.3.link = br3' 'lxc.network = ' >net
printf '%s\n' 'lxc.uts.name = x' 'lxc.net.0.type = empty' '# lxc.tty in prose' >plain
printf '%s\n' 'lxc.limit.nofile = 5' 'lxc.network.7.ipv4 = 10.0.0.1/8' >limits
printf '%s\n' 'lxc.rootfs = /a:/b' 'lxc.rootfs.backend = overlay' >overlay
cp old private; chmod 600 private
";
