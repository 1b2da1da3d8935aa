//! The differences that are on purpose, or where LXC's own behaviour is not fixed, each with its
//! reason. An entry that matches nothing fails the run.

use crate::compare::Difference;

/// One explained difference. Each pattern may hold `*` for any text.
#[derive(Debug)]
pub struct Expected {
    /// Names of rows.
    pub case: &'static str,
    pub key: &'static str,
    pub ours: &'static str,
    pub theirs: &'static str,
    #[allow(dead_code, reason = "printed with the entry, and for whoever reads the table")]
    pub why: &'static str,
}

const fn row(
    case: &'static str,
    key: &'static str,
    ours: &'static str,
    theirs: &'static str,
    why: &'static str,
) -> Expected {
    Expected { case, key, ours, theirs, why }
}

/// The table.
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
    // The tools.
    row(
        "tools-words",
        "* lxc-config *",
        "*",
        "*",
        "lxc-config takes options as keys and complains on standard output; ours says on standard \
         error that there is no such option. The status is the same",
    ),
    row(
        "tools-words",
        "* lxc-info --name=missing -q => stderr",
        "silent",
        "says something",
        "-q is quiet; the status says it",
    ),
    row(
        "tools-stopped",
        "* lxc-ls '[' => stderr",
        "says something",
        "silent",
        "what is no regular expression is told, not an empty list",
    ),
    row(
        "tools-running",
        "* lxc-wait -n $a -s STOPPED -t 1 => stderr",
        "silent",
        "says something",
        "a timeout that was asked for is the status, no error",
    ),
    row(
        "tools-keys",
        "* -c 'lxc.cap.keep' => stdout",
        "lxc.cap.keep =",
        "lxc.cap.keep = sys_module *",
        "LXC answers lxc.cap.keep with the list of lxc.cap.drop",
    ),
    row("tools-keys", "* => stdout", "* =", "* = (null)", "LXC prints a null pointer for unset"),
    row(
        "tools-keys",
        "* -c 'lxc.network' => * | * -c 'lxc.utsname' => *",
        "*",
        "*",
        "the keys of LXC 1 are read, so they can also be asked for",
    ),
    row(
        "tools-keys",
        "* -c 'lxc.seccomp.notify.proxy' => stdout",
        "* = unix:/run/proxy",
        "* = /run/proxy",
        "what can be read can be written again",
    ),
    row(
        "tools-keys",
        "* -c 'lxc.time.offset.*' => stdout",
        "lxc.time.offset.*0 s",
        "lxc.time.offset.* ; ",
        "LXC ends these two with a line break of their own, and writes the unit in two ways",
    ),
    row(
        "tools-create",
        "*config* => stdout",
        "*lxc.net.0.flags = up ;  ; lxc.apparmor.profile*",
        "*lxc.net.0.flags = up ; lxc.apparmor.profile*",
        "the lines of default.conf are kept as they are, blank ones too",
    ),
    row(
        "tools-create",
        "* ls -A /var/lib/lxc * wc -l => stdout",
        "2",
        "3",
        "a name with a dot in front is refused, because lxc-ls would never show it",
    ),
    row("tools-create", "* ls -A /var/lib/lxc => stdout", "x y", ".x ; x y", "the same"),
    row("tools-create", "* lxc-create -n .x -t none => status", "1", "0", "the same"),
    row(
        "tools-create",
        "* lxc-create -n .x -t none => stderr",
        "says something",
        "silent",
        "the same",
    ),
    row(
        "tools-create",
        "* -f /proc/none; * => status",
        "1",
        "0",
        "a configuration that cannot be read is an error; LXC makes the container without it",
    ),
    row(
        "tools-running",
        "* lxc-stop -n $a --nokill -t 5 => stderr | * lxc-stop -n $a -t 5 => stderr | \
         * lxc-stop -n $a -r => stderr",
        "says something",
        "silent",
        "lxc-stop says after two seconds what it waits for, and that the container had to be killed",
    ),
    row(
        "tools-words",
        "* lxc-create -n missing => * | * lxc-destroy -n missing => *",
        "*",
        "*",
        "without -t, lxc-create takes the template `host`: the container is made, and lxc-destroy \
         finds it",
    ),
    row(
        "tools-words",
        "* lxc-ls -n '' => * | * lxc-stop -n '' => status",
        "*",
        "*",
        "an empty name is an error of its own for every tool",
    ),
    row(
        "tools-stopped",
        "* -l BOGUS => *",
        "*",
        "*",
        "a log level that is none is an error; LXC goes on without a log",
    ),
    row(
        "tools-stopped",
        "* lxc-wait -n $a -s '' => *",
        "*",
        "*",
        "no state at all is an error; LXC waits for it, for ever",
    ),
    row(
        "tools-stopped",
        "* lxc-wait -n $a -s STOPPED -t x => *",
        "*",
        "*",
        "LXC reads what is no number as 0",
    ),
    row(
        "tools-running",
        "* lxc-wait -n $a -s STOPPED -t 0 => status",
        "1",
        "124",
        "a timeout of 0 asks once; LXC 5.0.2 waits for ever",
    ),
    row(
        "tools-running",
        "* lxc-attach -n $a -v bogus -- true => *",
        "*",
        "*",
        "-v without a value is an error; LXC leaves it out",
    ),
    row(
        "tools-stopped",
        "* lxc-execute -n $a -- /missing => stderr | * lxc-execute -n $a -- /etc/passwd => stderr | \
         * lxc-execute -n $a -- pwd => stderr",
        "says something",
        "silent",
        "why the command could not be run is said; the status (255) is the same",
    ),
    row(
        "tools-stopped",
        "* lxc-execute -n $a => *",
        "*",
        "*",
        "without a command ours says so; LXC crashes",
    ),
    row(
        "live-device",
        "* lxc-device *add * => stderr",
        "silent",
        "says something",
        "Debian's looks into the network namespace of process 1 first, which not even root may open \
         on the machine of the tests, and says so",
    ),
    row(
        "live-device",
        "* add vt1 => status | * del vt1 => *",
        "*",
        "*",
        "the same: it finds no interface",
    ),
    row(
        "live-device",
        "* /dev/nowhere => status",
        "0",
        "1",
        "the device is the host's; LXC looks for the one that the host has by the name inside",
    ),
    row(
        "live-device live-cgroup",
        "* too many => * | * x y => *",
        "*",
        "*",
        "words too many are an error; LXC leaves them out",
    ),
    row(
        "live-device",
        "* -- a /dev/full => * | * -- d /dev/full => *",
        "*",
        "*",
        "LXC takes the beginning of a word for the word",
    ),
    row(
        "live-cgroup",
        "* lxc-cgroup -n $a memory.max => * | * lxc-cgroup -n $a memory.max 200M => *",
        "*",
        "*",
        "a name of the other cgroup version means what that version's keys mean; LXC has no file \
         for it",
    ),
    row(
        "live-cgroup",
        "* lxc-cgroup -n $a cgroup.freeze => *",
        "*",
        "*",
        "the unified hierarchy of a hybrid host is one too; LXC asks only those of version 1",
    ),
    row(
        "live-cgroup",
        "* devices.allow /dev/null => *",
        "*",
        "*",
        "a device's path is good here as it is in the configuration",
    ),
    row(
        "update-config",
        "* --config=plain; * => * | * -c limits; * => stdout",
        "*",
        "*",
        "only keys are rewritten, not words in prose; and lxc.limit.NAME and the addresses of a \
         numbered network too, which LXC's script forgets",
    ),
    row(
        "live-config",
        "* lxc-config -h => stdout | * lxc-config --help => stdout",
        "*set|add|unset*",
        "*",
        "what lxc-config does with a container is in its help",
    ),
    row("update-config", "* -c old extra => *", "*", "*", "a word too many is an error"),
    row(
        "tools-watch",
        "* lxc-monitor -Q => stderr | * lxc-monitor -n '[' => stderr | * lxc-monitor -Q; * => stderr",
        "says something",
        "silent",
        "what cannot be done is said, not only in the status",
    ),
    row(
        "tools-watch",
        "* lxc-monitor -l BOGUS => *",
        "*",
        "*",
        "a log priority that does not exist is an error",
    ),
    row(
        "tools-watch",
        "* lxc-top -b -d 1 * => *",
        "*",
        "*",
        "LXC's wants a terminal to type on also in batch mode",
    ),
    row(
        "tools-namespaces",
        "* -i nope -- true => status",
        "1",
        "0",
        "a command is not run without the interface that it was to have",
    ),
    row("tools-namespaces", "* -u 5555 *", "*", "*", "a number need not be in /etc/passwd"),
    row(
        "tools-namespaces",
        "* lxc-usernsexec -h * | * lxc-usernsexec -m *:*id => stderr | * -m x * | * -m '' *",
        "says something",
        "silent",
        "LXC's says nothing of a wrong map, and its usage is lost where no terminal is",
    ),
    row(
        "tools-namespaces",
        "* -m u:0:100000:65536 -m g:0:200000:65536 -- id *",
        "*",
        "*",
        "root may map what it likes; LXC's asks newuidmap, which refuses",
    ),
    row(
        "tools-namespaces",
        "* lxc-usernsexec -- sh -c 'kill * => status",
        "1*",
        "0",
        "a command that was killed was no success",
    ),
    row(
        "tools-copy tools-snapshot",
        "* => stderr",
        "says something",
        "silent",
        "LXC's lxc-copy and lxc-snapshot say nothing of most errors; the status is the same",
    ),
    row(
        "options-rcfile options-more options-odd",
        "* lxc-copy * => stderr | * lxc-snapshot * => stderr",
        "says something",
        "silent",
        "the same",
    ),
    row(
        "options-odd",
        "* lxc-autostart -P /none => stderr",
        "says something",
        "silent",
        "that a path is not there is said",
    ),
    row("options-odd", "* >/dev/full => *", "*", "*", "output that cannot be written is an error"),
    row(
        "options-odd",
        "* -P lxc -s => stdout",
        "*",
        "*",
        "a relative -P means the same container for all that a tool does; LXC asks its monitor by \
         another name",
    ),
    row(
        "options-odd",
        "* -- extra => * | * lxc-ls -1 one two => *",
        "*",
        "*",
        "words too many are an error; LXC leaves them out",
    ),
    row(
        "options-odd",
        "* lxc-attach -n $a -- echo x >&- => *",
        "*",
        "*",
        "a closed descriptor is closed for the command too; LXC's fails",
    ),
    row(
        "options-more",
        "* lxc-attach -n $a -L * => stderr",
        "says something",
        "silent",
        "where no terminal is there is nothing to log, which is said; the file is made as by LXC",
    ),
    row(
        "options-more",
        "* -B lvm * => * | * lxc-ls -1 => stdout",
        "*",
        "*",
        "a volume group that is not there is an error; for a container without a template LXC \
         makes no storage and leaves out what was asked for",
    ),
    row(
        "options-autostart",
        "* lxc-autostart * => stdout",
        "*",
        "",
        "lxc-autostart says what became of each container",
    ),
    row(
        "options-autostart",
        "* --shutdown -g web * => stderr | * -r -g web * => stderr",
        "says something",
        "silent",
        "as lxc-stop it says after two seconds what it waits for; LXC does not wait for a reboot",
    ),
    row(
        "options-autostart",
        "* -L -a -g web => stderr",
        "says something",
        "silent",
        "that -g has no effect beside -a is said",
    ),
    row(
        "tools-snapshot",
        "* grep -e path -e uts * => stdout",
        "*",
        "*",
        "the lines of a configuration keep their order; LXC puts the root file system last",
    ),
    row(
        "tools-copy",
        "* -e -R => status | * ls -A /var/lib/lxc => stdout",
        "*",
        "*",
        "-e and -R contradict each other, which is an error; LXC renames",
    ),
];

/// The number of the entry that explains a difference.
pub fn explains(case: &str, found: &Difference) -> Option<usize> {
    DIFFERENCES.iter().position(|entry| {
        entry.case.split(' ').any(|pattern| matches(pattern, case))
            && entry.key.split(" | ").any(|pattern| matches(pattern, &found.key))
            && matches(entry.ours, &found.ours)
            && matches(entry.theirs, &found.theirs)
    })
}

/// Whether `text` is `pattern`, where `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len())
                .filter(|i| text.is_char_boundary(*i))
                .any(|i| matches(rest, &text[i..]))
        }),
    }
}
