//! What a container and the host see that is different on purpose.

use super::{Expected, row};

pub const DIFFERENCES: &[Expected] = &[
    // Network.
    row(
        "*",
        "host machine veth *",
        "*bridge_slave addrgenmode none*",
        "*bridge_slave addrgenmode eui64*",
        "a port of a bridge needs no IPv6 address of its own, at which the host would be reachable \
         past the bridge's; LXC leaves it one",
    ),
    // Terminals.
    row(
        "*",
        "init fd 0 | init fd 1 | init fd 2",
        "/dev/pts/N rw",
        "*/null rw",
        "with lxc.pty.max of 0 or 1 the console is a pty of the host, and LXC's daemon then gives \
         init /dev/null although it binds /dev/console: what init says is lost, also for the log. \
         Ours gives it the console, as both do with a devpts",
    ),
    row(
        "*",
        "init terminal 0 | init terminal 1 | init terminal 2",
        "true",
        "false",
        "the same: init's streams are the console",
    ),
    row(
        "init-ids init-groups execute-ids",
        "* file /dev/console",
        "20620 1000:0 device 136:N",
        "20620 0:0 device 136:N",
        "the same: the console is init's, so init's user owns it",
    ),
    row(
        "*",
        "* file /dev/console | * file /dev/lxc/console | * file /dev/pts/0 | * file /dev/pts/1",
        "20620 * device 136:N",
        "20700 * device 136:N",
        "LXC means 0620, as for a pty of the host, and sets 0700 by a slip where the pty is the \
         container's",
    ),
    row(
        "*",
        "* file /dev/pts/",
        "40755 0:0",
        "40644 0:0",
        "LXC makes the directory without a search bit, so that nobody but root can use what is \
         mounted there with a mode of its own",
    ),
    row(
        "ttys",
        "* file /dev/tty*",
        "20620 0:5 device 136:N",
        "20600 0:0 device 136:N",
        "LXC 7's way: ttys come from a devpts of the container also when it keeps none, with the \
         group and mode that a terminal has; 5.0.2 takes the host's",
    ),
    row("ttys", "* mount /dev/tty*", "devpts *gid=5,mode=620*", "devpts *mode=600*", "the same"),
    row(
        "*",
        "* env container_ttys",
        "pts/*",
        "-",
        "LXC 7 tells init its terminals in this variable; 5.0.2 does not",
    ),
    // Mounts.
    row(
        "*",
        "* mount /sys",
        "sysfs source=sysfs root=/ * super=rw [shared] on / *",
        "sysfs source=sysfs root=/ * super=* [shared] on / *",
        "sys:rw and sys:ro have the flags of sys:mixed too: nothing in sysfs is a program or a \
         device. sys:ro is read-only at the mount, not at the superblock",
    ),
    row(
        "*",
        "* mount /proc/sys",
        "proc source=proc root=/sys ro,nosuid,nodev,noexec,relatime super=rw [shared] on /proc *",
        "proc source=proc root=/sys ro,relatime super=rw [shared] on /proc *",
        "the read-only bind keeps the flags of /proc; LXC's remount drops them",
    ),
    row(
        "entries",
        "* mount /mnt/strict",
        "* rw,nosuid,nodev,noexec,noatime *",
        "* rw,relatime *",
        "a bind mount needs a second call for its flags, which LXC leaves out unless `ro` is among \
         them; what was asked for is had",
    ),
    row(
        "entries",
        "* mount /mnt/private | * mount /mnt/rslave | * mount /mnt/rslave/sub",
        "* [] *",
        "* [shared] *",
        "LXC makes the whole tree shared at the end, over what the entry asked for",
    ),
    row("entries", "* mount /mnt/unbindable", "* [unbindable] *", "* [shared] *", "the same"),
    // The process.
    row(
        "*",
        "attach * session | attach * process group",
        "own",
        "outside",
        "a process attached without a pty stays in the caller's session under LXC and can reach \
         its terminal by TIOCSTI; ours has a session of its own",
    ),
    row(
        "init-ids init-groups",
        "init parent death signal",
        "9",
        "0",
        "the kernel forgets it when ids change; ours sets it again, so that a killed monitor never \
         leaves a container behind",
    ),
    row(
        "keyring-0",
        "init session keyring is",
        "*_uid_ses.0",
        "*_ses",
        "lxc.keyring.session: the manual and the code of LXC contradict each other; the README says \
         that the manual holds",
    ),
    row("keyring-1", "init session keyring is", "*_ses", "*_uid_ses.0", "the same"),
    row(
        "execute*",
        "command init comm | command processes",
        "lxcbox",
        "lxc-execute",
        "the program that is init there has another name",
    ),
    // Network.
    row(
        "*",
        "host links 0",
        "lo: <LOOPBACK,UP,LOWER_UP> *",
        "lo: <LOOPBACK> *",
        "type empty is documented as having the loopback interface, and without it up nothing can \
         be reached there; LXC leaves it down unless flags = up",
    ),
    row("*", "host addresses 0", "lo    inet 127.0.0.1/8 *", "-", "the same"),
    row("*", "host addresses 1", "lo    inet6 ::1/128 *", "-", "the same"),
    row(
        "veth veth-free macvlan-vepa phys net-mixed net-no-prefix",
        "host addresses 2",
        "* brd 10.*",
        "* brd 0.*",
        "LXC computes the broadcast address of a prefix without the network's part",
    ),
    row(
        "router veth-free veth-routes net-no-prefix",
        "host machine settings *",
        "ipv6/conf/vr7/accept_ra:0",
        "ipv6/conf/vr7/accept_ra:1",
        "a router advertisement from the container must not change the host's routes",
    ),
    row(
        "router net-no-prefix",
        "start stderr",
        "says something",
        "silent",
        "a gateway in none of the networks and an address without a prefix length are told",
    ),
    row(
        "net-mixed",
        "host links 2 | host links 3 | host routes *",
        "*",
        "*",
        "a macvlan is made inside at once, so that its number and routes come before those of a device that \
         comes from the host; LXC moves both",
    ),
    // Cgroups.
    row(
        "userns* attach-userns",
        "host cgroup owner *",
        "* 100000:100000",
        "* 0:100000",
        "the container's root owns its cgroups, as delegation is documented; LXC leaves the owner \
         and opens them to the group",
    ),
    row(
        "attach-pty*",
        "attach * status SigIgn",
        "*0000",
        "*300000",
        "LXC ignores SIGTTIN and SIGTTOU while it takes the terminal, and hands that on to what it \
         runs, which then is not stopped when it reads in the background",
    ),
    // What is refused.
    row(
        "init-cwd-new",
        "start status",
        "0",
        "1",
        "LXC 7's way: a missing lxc.init.cwd is made; 5.0.2 refuses",
    ),
    row(
        "attach-options",
        "attach context status",
        "1",
        "0",
        "a security context that this kernel cannot give is an error",
    ),
];
