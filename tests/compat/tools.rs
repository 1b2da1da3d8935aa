//! The tools themselves beside Debian's: the same command lines, wrong ones included, and exit
//! status, standard output, and whether standard error says something.
//!
//! A scene defines some containers and runs its lines one after the other, as a user's script
//! would: each is a line of shell with the containers' names in `$a` and `$b`, at the default
//! place (/var/lib/lxc is the machine's own). What a run cannot repeat (process numbers, figures)
//! is taken out by `settled`. To add an invocation, add a line. Differences are explained in
//! `expected.rs` under the scene's name, with the line as the key.

use crate::compare::{self, Difference, Report, Side};
use crate::machine::{self, BINARY, Machine};
use std::fs;

/// Lines that are run in a row.
pub struct Scene {
    pub name: &'static str,
    /// Configuration lines of `$a` and, if there are two, of `$b`.
    pub containers: &'static [&'static str],
    /// Run first, not compared; the tools of the side that is looked at are on the PATH.
    pub setup: &'static str,
    pub lines: &'static [&'static str],
    /// Lines with `TOOL` in the place of each tool's name.
    pub every_tool: &'static [&'static str],
    /// Lines with `KEY` in the place of each key of `$a`'s own lines, and of some more.
    pub every_key: &'static [&'static str],
}

pub const NOTHING: Scene =
    Scene { name: "", containers: &[], setup: "", lines: &[], every_tool: &[], every_key: &[] };

/// The tools that `every_tool` stands for: those that change nothing when words are wrong come
/// before lxc-destroy.
const TOOLS: [&str; 15] = [
    "attach", "cgroup", "config", "console", "device", "execute", "freeze", "info", "ls", "start",
    "stop", "unfreeze", "wait", "create", "destroy",
];

pub const EMPTY: &str = "lxc.net.0.type = empty\n";

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

/// The scenes.
pub const SCENES: &[Scene] = &[
    Scene { name: "tools-words", containers: &[EMPTY], every_tool: WORDS, ..NOTHING },
    Scene {
        name: "tools-stopped",
        containers: &[EMPTY, "lxc.net.0.type = empty\nlxc.group = web\nlxc.start.auto = 1\n"],
        lines: &[
            "lxc-info -n $a",
            "lxc-info -n $a -s",
            "lxc-info -n $a -sH",
            "lxc-info -n $a -p",
            "lxc-info -n $a -pH",
            "lxc-info -n $a -i",
            "lxc-info -n $a -iH",
            "lxc-info -n $a -S",
            "lxc-info -n $a -SH",
            "lxc-info -n $a -c lxc.uts.name",
            "lxc-info -n $a -H -c lxc.uts.name",
            "lxc-info -n $a -c lxc.uts.name -c lxc.net.0.type",
            "lxc-info -n $a -c lxc.bogus",
            "lxc-info $a",
            "lxc-info -s $a",
            "lxc-info -n $a -s -p -i -H",
            "lxc-info -n $a -s -l BOGUS",
            "lxc-info -n $a -s -l DEBUG",
            "lxc-ls -1 -l BOGUS",
            "lxc-stop -n $a -l BOGUS",
            "lxc-ls",
            "lxc-ls -1",
            "lxc-ls -f",
            "lxc-ls --fancy -F NAME,STATE",
            "lxc-ls -f -F name,state,pid",
            "lxc-ls -f -F NAME,BOGUS",
            "lxc-ls -F NAME",
            "lxc-ls -f -F STATE,NAME,AUTOSTART,GROUPS,INTERFACE,IPV4,IPV6,UNPRIVILEGED",
            "lxc-ls --active",
            "lxc-ls --running",
            "lxc-ls --frozen",
            "lxc-ls --stopped",
            "lxc-ls --defined",
            "lxc-ls --stopped --running",
            "lxc-ls --groups web",
            "lxc-ls -g web -1",
            "lxc-ls -g other",
            "lxc-ls -g web,other",
            "lxc-ls $a",
            "lxc-ls '.*-a$'",
            "lxc-ls nothing",
            "lxc-ls '['",
            "lxc-ls -1 --filter '.*-b$'",
            "lxc-ls -L",
            "lxc-ls --line --active",
            "lxc-stop -n $a",
            "lxc-stop -n $a -k",
            "lxc-stop -n $a -r",
            "lxc-stop -n $a -W",
            "lxc-stop -n $a -t 1",
            "lxc-stop -n $a -t x",
            "lxc-stop $a",
            "lxc-freeze -n $a",
            "lxc-unfreeze -n $a",
            "lxc-unfreeze $a",
            "lxc-wait -n $a -s STOPPED",
            "lxc-wait -n $a -s 'STOPPED|RUNNING'",
            "lxc-wait -n $a -s RUNNING -t 0",
            "lxc-wait -n $a -s RUNNING -t 1",
            "lxc-wait -n $a -s BOGUS",
            "timeout 2 lxc-wait -n $a -s ''",
            "lxc-wait -n $a",
            "lxc-wait -n $a -s stopped",
            "lxc-wait -n $a -s STOPPED -t x",
            "lxc-attach -n $a",
            "lxc-attach -n $a -- true",
            "lxc-console -n $a",
            "lxc-console -n $a -t 99",
            "lxc-start -n $a -f /proc/none",
            "lxc-start -n $a -s lxc.bogus=1",
            "lxc-start -n $a -s bogus",
            "lxc-start -n $a -c /proc/none/file",
            "lxc-start -n $a -p /proc/none/dir/pid",
            "lxc-start -n $a --share-net missing",
            "lxc-start -n $a -s lxc.init.cmd=/missing",
            "lxc-start -F -n $a -s lxc.init.cmd=/missing",
            "lxc-start -F -n $a -- /bin/true",
            "lxc-start -F -n $a -- /bin/sh -c 'exit 3'",
            "lxc-start -F -n $a -- /bin/sh -c 'kill -9 $$; exit 4'",
            "lxc-start -F -n $a -- /bin/echo hello",
            "lxc-execute -n $a -- true",
            "lxc-execute -n $a -- sh -c 'exit 7'",
            "lxc-execute -n $a -- sh -c 'kill -TERM $$'",
            "lxc-execute -n $a -- sh -c 'kill -KILL $$'",
            "lxc-execute -n $a -- echo out",
            "lxc-execute -n $a -- sh -c 'echo err >&2'",
            "echo in | lxc-execute -n $a -- cat",
            "lxc-execute -n $a -- /missing",
            "lxc-execute -n $a -- /etc/passwd",
            "lxc-execute -n $a",
            "lxc-execute -n $a -- id -u",
            "lxc-execute -n $a -u 1000 -g 1000 -- id",
            "lxc-execute -n $a -u x -- id -u",
            "lxc-execute -n $a -s lxc.environment=A=b -- sh -c 'echo $A'",
            "lxc-execute -n $a -- sh -c 'echo $$'",
            "lxc-execute -n $a -- pwd",
            "lxc-execute -n nobody-$a -- /bin/true",
            "lxc-start -n $a -s lxc.net.0.type=veth -s lxc.net.0.link=missing",
            "lxc-wait -n $a -s STOPPED -t 10 2>/dev/null",
            "lxc-config -l | sort | head -3",
            "lxc-config lxc.lxcpath",
            "lxc-config lxc.default_config",
            "lxc-config lxc.bdev.lvm.vg",
            "lxc-config lxc.bdev.lvm.thin_pool",
            "lxc-config lxc.bdev.zfs.root",
            "lxc-config lxc.cgroup.use",
            "lxc-config lxc.cgroup.pattern",
            "lxc-config lxc.bogus",
            "lxc-config lxc.lxcpath lxc.bdev.lvm.vg",
            "lxc-destroy -n $a -s",
            "lxc-destroy -n $a",
            "lxc-destroy -n $b -f",
            "lxc-ls",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-running",
        containers: &[
            "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\nlxc.pty.max = 4\nlxc.tty.max = 2\n",
            EMPTY,
        ],
        setup: "lxc-start -n $a",
        lines: &[
            "lxc-start -n $a",
            "lxc-start -F -n $a",
            "lxc-execute -n $a -- true",
            "lxc-info -n $a -s",
            "lxc-info -n $a -sH",
            "lxc-info -n $a -pH | grep -c '^[0-9]*$'",
            "lxc-info -n $a | grep -c PID",
            "lxc-info -n $a -i",
            "lxc-info -n $a -c lxc.uts.name -c lxc.tty.max",
            "lxc-info -n $a -c lxc.bogus",
            "lxc-info -n $a -Hc lxc.pty.max",
            "lxc-info -n $a | sed 's/:.*//'",
            "lxc-ls",
            "lxc-ls -1",
            "lxc-ls -1 --active",
            "lxc-ls -1 --running",
            "lxc-ls -1 --stopped",
            "lxc-ls -1 --frozen",
            "lxc-ls -1 --active --defined",
            "lxc-ls -f",
            "lxc-ls -f -F NAME,STATE,TTYS,INIT",
            "lxc-ls -f -F STATE,NAME",
            "lxc-wait -n $a -s RUNNING",
            "lxc-wait -n $a -s 'RUNNING|FROZEN' -t 5",
            "lxc-wait -n $a -s STOPPED -t 1",
            "timeout 2 lxc-wait -n $a -s STOPPED -t 0",
            "lxc-destroy -n $a",
            "lxc-destroy -n $a -s",
            "lxc-attach -n $a -- true",
            "lxc-attach -n $a -- false",
            "lxc-attach -n $a -- sh -c 'exit 42'",
            "lxc-attach -n $a -- sh -c 'kill -9 $$'",
            "lxc-attach -n $a -- sh -c 'kill -TERM $$'",
            "lxc-attach -n $a -- /missing",
            "lxc-attach -n $a -- missing",
            "lxc-attach -n $a -- /etc/passwd",
            "lxc-attach -n $a -- /etc",
            "lxc-attach -n $a -- echo one two",
            "lxc-attach -n $a echo without dashes",
            "lxc-attach -n $a -- sh -c 'echo err >&2'",
            "echo input | lxc-attach -n $a -- cat",
            "echo 'echo from a shell; exit 5' | lxc-attach -n $a",
            "lxc-attach -n $a -- pwd",
            "cd /etc && lxc-attach -n $a -- pwd",
            "cd /usr/share && lxc-attach -n $a -- pwd",
            "lxc-attach -n $a -- hostname | sed 's/.*-//'",
            "lxc-attach -n $a -- id -u",
            "lxc-attach -n $a -u 1000 -g 1001 -- id",
            "lxc-attach -n $a -u 1000 -- id -u",
            "lxc-attach -n $a -g 1001 -- id -g",
            "lxc-attach -n $a -u x -- id",
            "lxc-attach -n $a -u -1 -- id -u",
            "lxc-attach -n $a --clear-env -- env",
            "lxc-attach -n $a -v X=1 -v Y=2 -- sh -c 'echo $X$Y'",
            "lxc-attach -n $a -v bogus -- true",
            "lxc-attach -n $a --keep-var HOME --clear-env -- sh -c 'echo $HOME'",
            "lxc-attach -n $a -a bogus -- true",
            "lxc-attach -n $a -a i686 -- uname -m",
            "lxc-attach -n $a -s NETWORK -- true",
            "lxc-attach -n $a -s BOGUS -- true",
            "lxc-attach -n $a -s 'NETWORK|BOGUS' -- true",
            "lxc-attach -n $a -e -- true",
            "lxc-attach -n $a -eCAP -- true",
            "lxc-attach -n $a -eBOGUS -- true",
            "lxc-attach -n $a -R -s 'PID|MOUNT' -- true",
            "lxc-attach -n $a -f /proc/none -- true",
            "lxc-attach -n $a -f /var/lib/lxc/$a/config -- true",
            "lxc-attach -n $a --rcfile /var/lib/lxc/$a/config -- true",
            "lxc-attach -n $a -- sh -c 'exec >&-; exec 2>&-; exit 6'",
            "lxc-attach -n $a -- yes 2>/dev/null | head -1",
            "lxc-attach -n $a -- head -c 100000 /dev/zero | wc -c",
            "lxc-console -n $a -t 99",
            "lxc-console -n $a -t x",
            "lxc-console -n $a -e bogus",
            "lxc-freeze -n $a",
            "lxc-info -n $a -sH",
            "lxc-ls -1 --frozen",
            "lxc-ls -1 --active",
            "lxc-ls -1 --running",
            "lxc-wait -n $a -s FROZEN",
            "lxc-freeze -n $a",
            "lxc-start -n $a",
            "lxc-unfreeze -n $a",
            "lxc-unfreeze -n $a",
            "lxc-info -n $a -sH",
            "lxc-stop -n $a -r -W",
            "lxc-wait -n $a -s RUNNING -t 5",
            "lxc-stop -n $a -r",
            "lxc-info -n $a -sH",
            "lxc-stop -n $a --nokill -t 5",
            "lxc-info -n $a -sH",
            "lxc-start -n $a -d",
            "lxc-stop -n $a -t 5",
            "lxc-start -n $a -p /run/pid && grep -c . /run/pid",
            "lxc-stop -n $a -k -W",
            "lxc-wait -n $a -s STOPPED -t 5",
            "test -e /run/pid",
            "lxc-start -n $a && lxc-freeze -n $a && lxc-stop -n $a -k",
            "lxc-start -n $a && lxc-destroy -n $a -f",
            "lxc-ls -1",
            "lxc-info -n $a",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-keys",
        containers: &[KEYS],
        every_key: &["lxc-info -n $a -c 'KEY'"],
        ..NOTHING
    },
    Scene {
        name: "tools-copy",
        containers: &["lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:01:02:03\n"],
        setup: "mkdir -p /var/lib/lxc/$a/rootfs/etc; echo old > /var/lib/lxc/$a/rootfs/etc/hostname",
        lines: &[
            "lxc-copy",
            "lxc-copy -n $a",
            "lxc-copy -N c-$a",
            "lxc-copy -n missing -N c-$a",
            "lxc-copy -n $a -N c-$a",
            "grep -v hwaddr /var/lib/lxc/c-$a/config | sort",
            "grep -c 'hwaddr = 00:16:3e:01:02:03' /var/lib/lxc/c-$a/config",
            "cat /var/lib/lxc/c-$a/rootfs/etc/hostname; ls -A /var/lib/lxc/c-$a",
            "lxc-copy -n $a -N c-$a",
            "lxc-destroy -n c-$a",
            "lxc-copy --name=$a --newname=k-$a --keepname --keepmac -q",
            "grep -e uts -e hwaddr /var/lib/lxc/k-$a/config; cat /var/lib/lxc/k-$a/rootfs/etc/hostname",
            "lxc-destroy -n k-$a",
            "lxc-copy -n $a -N s-$a -s",
            "grep rootfs.path /var/lib/lxc/s-$a/config; ls -A /var/lib/lxc/s-$a",
            "cat /var/lib/lxc/$a/lxc_snapshots /var/lib/lxc/s-$a/lxc_rdepends",
            "lxc-copy -n s-$a -N t-$a --snapshot",
            "cat /var/lib/lxc/*/lxc_snapshots /var/lib/lxc/t-$a/lxc_rdepends",
            "grep rootfs.path /var/lib/lxc/t-$a/config",
            "lxc-destroy -n $a",
            "lxc-copy -n $a -N x-$a -R",
            "lxc-destroy -n t-$a",
            "lxc-destroy -n s-$a",
            "ls -A /var/lib/lxc/$a",
            "lxc-copy -n $a -N r-$a --rename",
            "ls -A /var/lib/lxc; grep -e path -e uts -e hwaddr /var/lib/lxc/r-$a/config | sort",
            "lxc-copy -n r-$a -N $a -R",
            "lxc-copy -n $a -N x-$a -B overlay",
            "lxc-copy -n $a -N o-$a -B overlayfs -s",
            "grep rootfs.path /var/lib/lxc/o-$a/config",
            "lxc-destroy -n o-$a",
            "lxc-copy -n $a -N x-$a -B bogus",
            "lxc-copy -n $a -N x-$a --backingstorage=zfs",
            "lxc-copy -n $a -N x-$a -B rbd",
            "lxc-copy -n $a -N x-$a -B nbd",
            "lxc-copy -n $a -N x-$a -B btrfs -s",
            "lxc-copy -n $a -N l-$a -L 5M -d -D",
            "ls -A /var/lib/lxc/l-$a",
            "lxc-destroy -n l-$a",
            "lxc-copy -n $a -N w-$a --allowrunning more words",
            "lxc-destroy -n w-$a",
            "mkdir -p /run/p; lxc-copy -n $a -N p-$a -p /run/p",
            "lxc-destroy -n p-$a -P /run/p; ls -A /run/p",
            "lxc-copy -n $a -N x-$a -e -R",
            "ls -A /var/lib/lxc",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-snapshot",
        containers: &[EMPTY],
        setup: "echo because > /run/why",
        lines: &[
            "lxc-snapshot",
            "lxc-snapshot -L",
            "lxc-snapshot -n missing",
            "lxc-snapshot -n missing -L",
            "lxc-snapshot -n $a --list",
            "lxc-snapshot -n $a",
            "lxc-snapshot -n $a -L | sed 's/20.*//'",
            "ls -A /var/lib/lxc/$a /var/lib/lxc/$a/snaps/snap0",
            "grep -e path -e uts /var/lib/lxc/$a/snaps/snap0/config",
            "lxc-snapshot -n $a -c /run/why",
            "lxc-snapshot -n $a -L -C | sed 's/20.*//' | sort",
            "lxc-snapshot -n $a -c /proc/none/why",
            "lxc-snapshot -n $a -r nosuch",
            "lxc-snapshot -n $a -d nosuch",
            "lxc-snapshot -n $a -r snap0 n-$a",
            "grep -e path -e uts /var/lib/lxc/n-$a/config | sort",
            "lxc-snapshot -n $a -r snap0 -N n-$a",
            "lxc-snapshot -n $a -r snap0 --newname=m-$a",
            "lxc-snapshot -n $a -r snap0 x-$a more",
            "lxc-snapshot -n $a --restore=snap1",
            "ls -A /var/lib/lxc/$a",
            "lxc-destroy -n $a",
            "lxc-snapshot -n $a --destroy=snap1",
            "lxc-snapshot -n $a -d ALL",
            "lxc-snapshot -n $a -L",
            "lxc-destroy -n n-$a; lxc-destroy -n m-$a",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-create",
        containers: &[EMPTY],
        setup: "mkdir -p /run/roots/r; echo 'lxc.net.0.type = empty' > /run/base.conf",
        lines: &[
            "lxc-create -n $a -t none",
            "lxc-create -n new-$a -t none",
            "cat /var/lib/lxc/new-$a/config | grep -v '^#'",
            "ls -A /var/lib/lxc/new-$a",
            "stat -c '%A %u:%g' /var/lib/lxc/new-$a /var/lib/lxc/new-$a/config",
            "lxc-ls -1",
            "lxc-info -n new-$a -s",
            "lxc-destroy -n new-$a",
            "ls -A /var/lib/lxc | wc -l",
            "lxc-create -n new-$a -t none -f /run/base.conf",
            "grep -v '^#' /var/lib/lxc/new-$a/config",
            "lxc-destroy -n new-$a",
            "lxc-create -n new-$a -t none -f /proc/none; r=$?; rm -rf /var/lib/lxc/new-$a; exit $r",
            "lxc-create -n new-$a -t missing",
            "lxc-create -n new-$a -t /proc/none/template",
            "lxc-create -n new-$a -t none -B bogus",
            "lxc-create -n new-$a -t none -B dir --dir /run/roots/r",
            "grep rootfs /var/lib/lxc/new-$a/config",
            "lxc-destroy -n new-$a",
            "lxc-create -n new-$a -t none -B none",
            "lxc-destroy -n new-$a",
            "lxc-create -n new-$a -t /bin/true",
            "grep -v '^#' /var/lib/lxc/new-$a/config",
            "lxc-destroy -n new-$a",
            "lxc-create -n new-$a -t /bin/false",
            "ls -A /var/lib/lxc | wc -l",
            "printf '#!/bin/sh\\nfor w in \"$@\"; do echo \"$w\"; done | sed s,$HOME,HOME,\\n' \
             > /run/t; chmod +x /run/t; lxc-create -n new-$a -t /run/t -- -x y | sort",
            "lxc-destroy -n new-$a",
            "lxc-create -n new-$a -t busybox >/dev/null",
            "ls /var/lib/lxc/new-$a",
            "lxc-start -n new-$a -F -- /bin/true",
            "lxc-destroy -n new-$a",
            "lxc-create -n 'x y' -t none",
            "lxc-create -n ../x -t none",
            "lxc-create -n .x -t none",
            "lxc-create -n new-$a -t none -q",
            "lxc-create -n new-$a -t none",
            "mkdir -p /var/lib/lxc/new-$a/snaps/snap0; lxc-destroy -n new-$a",
            "rm -r /var/lib/lxc/new-$a/snaps; lxc-destroy -n new-$a -s",
            "lxc-destroy -n new-$a",
            "ls -A /var/lib/lxc | wc -l",
            "lxc-destroy -n $a -q",
            "ls -A /var/lib/lxc",
        ],
        ..NOTHING
    },
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
const MORE_KEYS: &[&str] = &[
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

impl Scene {
    /// All its lines, with the tools' and keys' names in their places.
    pub fn all_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_string()).collect();
        for tool in TOOLS {
            let full = format!("lxc-{tool}");
            lines.extend(self.every_tool.iter().map(|line| line.replace("TOOL", &full)));
        }
        let own = self.containers.first().copied().unwrap_or_default();
        let mut keys: Vec<&str> = own.lines().filter_map(|l| Some(l.split_once(" =")?.0)).collect();
        keys.extend(MORE_KEYS);
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            lines.extend(self.every_key.iter().map(|line| line.replace("KEY", key)));
        }
        lines
    }
}

/// All differences of a scene.
pub fn scene(scene: &Scene, print: bool) -> Vec<Difference> {
    let m = Machine::new();
    let lxcpath = m.lxcpath().display().to_string();
    m.sh(&format!("mkdir -p /var/lib/lxc; mount --bind {lxcpath} /var/lib/lxc")).ok();
    // LXC's lxc-execute changes owner and mode of what its streams are; not the host's, please.
    let full = m.dir.join("full").display().to_string();
    m.sh(&format!("mknod -m 666 {full} c 1 7 && mount --bind {full} /dev/full")).ok();
    let bin = m.dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    m.sh(&format!("{BINARY} --install {}", bin.display())).ok();
    let lines = scene.all_lines();
    let ours = run(&m, scene, &lines, Side::Ours);
    let theirs = run(&m, scene, &lines, Side::Theirs);
    compare::report_differences(&ours, &theirs, print)
}

fn run(m: &Machine, scene: &Scene, lines: &[String], side: Side) -> Report {
    let names: Vec<String> = ["a", "b"].iter().map(|short| m.name(short)).collect();
    for (short, config) in ["a", "b"].iter().zip(scene.containers) {
        m.container(short, config);
    }
    let bin = m.dir.join("bin").display().to_string();
    let shell = |script: &str| {
        // For what hangs, not for what is slow on a machine under load. Sooner than that of machine::run,
        // which ends this program alone and not what holds its pipes.
        let mut command = m.command("timeout");
        command.args(["-k", "1", "60", "sh", "-c", script]).env_clear();
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        command.env("PATH", if side == Side::Ours { format!("{bin}:{path}") } else { path.into() });
        command.env("HOME", "/root").env("TERM", "vt102");
        command.env("a", &names[0]).env("b", &names[1]);
        machine::run(command)
    };
    if !scene.setup.is_empty() {
        shell(scene.setup).ok();
    }
    let mut report = Report::new();
    let tag = names[0].trim_end_matches('a').to_string();
    for (number, line) in lines.iter().enumerate() {
        let outcome = shell(line);
        let key = |what: &str| format!("{number:03} {line} => {what}");
        report.insert(key("status"), outcome.status.to_string());
        let said = if outcome.stderr.trim().is_empty() { "silent" } else { "says something" };
        report.insert(key("stderr"), said.to_string());
        report.insert(key("stdout"), settled(&outcome.stdout, &tag));
    }
    for name in &names {
        shell(&format!("lxc-stop -k -n {name}; lxc-stop -k -n new-{name}"));
    }
    compare::left_behind(m, side, &mut report);
    m.sh("rm -rf /var/lib/lxc/* /run/pid").ok();
    report
}

/// An output without what differs from run to run.
fn settled(text: &str, tag: &str) -> String {
    let mut lines = Vec::new();
    for line in text.replace(tag, "").lines() {
        let figures = ["PID:", "CPU use:", "BlkIO use:", "Memory use:", "KMem use:", "Link:"];
        let line = match figures.iter().find(|word| line.trim_start().starts_with(**word)) {
            Some(word) => format!("{word} N"),
            None => line.to_string(),
        };
        lines.push(line);
    }
    lines.join(" ; ")
}
