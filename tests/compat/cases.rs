//! The configurations that are run under both implementations. See `main.rs` on adding one.

/// How a row's container runs.
#[derive(Clone, Copy)]
pub enum How {
    /// lxc-start as a daemon; the row's `attach` are run, then lxc-stop.
    Start,
    /// lxc-start -F, without a terminal; the container ends by itself.
    Foreground,
    /// lxc-execute, without a terminal.
    Execute,
}

/// One lxc-attach.
pub struct Attach {
    pub name: &'static str,
    pub options: &'static [&'static str],
    /// The caller has a terminal.
    pub terminal: bool,
}

/// One row. In `config`, `prepare`, `setup` and `options`, `{dir}` is the machine's directory,
/// `{root}` the root file system and `{name}` the container.
pub struct Case {
    pub name: &'static str,
    /// Lines beside lxc.rootfs.path, lxc.uts.name and the signals that busybox wants.
    pub config: &'static str,
    pub how: How,
    /// Options of lxc-start or lxc-execute.
    pub options: &'static [&'static str],
    /// A script that is run in the machine once.
    pub setup: &'static str,
    /// A script that is run before each of the two runs, when the root file system is there.
    pub prepare: &'static str,
    pub attach: &'static [Attach],
    /// Where the container writes its report, and the same place below `{root}` on the host.
    pub inside: &'static str,
    pub seen: &'static str,
}

const PLAIN: Case = Case {
    name: "",
    config: "",
    how: How::Start,
    options: &[],
    setup: "",
    prepare: "",
    attach: &[],
    inside: "report/it",
    seen: "report/it",
};

const fn attach(name: &'static str, options: &'static [&'static str]) -> Attach {
    Attach { name, options, terminal: false }
}

/// From a terminal, so that lxc-attach makes a pty.
const fn typed(name: &'static str, options: &'static [&'static str]) -> Attach {
    Attach { name, options, terminal: true }
}

/// A root file system of its own network, proc and sys: what most rows begin with.
macro_rules! base {
    ($($line:literal)*) => {
        concat!("lxc.net.0.type = empty\nlxc.mount.auto = proc:rw sys:rw\n", $($line, "\n"),*)
    };
}

/// Of a network that the row says.
macro_rules! wire {
    ($($line:literal)*) => {
        concat!("lxc.mount.auto = proc:rw sys:rw\n", $($line, "\n"),*)
    };
}

/// A card with a wire, whose other end is `up1`.
macro_rules! wire_setup {
    () => {
        "ip link add up0 type veth peer name up1; ip link set up0 address 00:16:3e:11:22:01; \
         ip link set up1 address 00:16:3e:11:22:02; \
         ip addr add 10.7.0.1/24 dev up0; ip addr add fd07::1/64 dev up0 nodad; \
         ip link set up0 up; ip link set up1 up; \
         sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
    };
}
const WIRE: &str = wire_setup!();

const ATTACH: Attach = attach("plain", &[]);
/// For rows where what a process attached sees is what matters.
const ATTACHED: &[Attach] = &[ATTACH];
/// The root file system belongs to the first id of the map.
const MAPPED: &str = "chown -hR 100000:100000 {root}; chown 100000:100000 {root}/..";

/// The rows.
pub const CASES: &[Case] = &[
    Case { name: "nothing-said", ..PLAIN },
    Case { name: "empty-net", config: "lxc.net.0.type = empty\n", attach: ATTACHED, ..PLAIN },
    Case {
        name: "common-conf",
        config: "lxc.include = /usr/share/lxc/config/common.conf\nlxc.net.0.type = empty\n",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "debian-conf",
        config: "lxc.include = /usr/share/lxc/config/debian.common.conf\nlxc.net.0.type = empty\n",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "userns",
        config: base!("lxc.idmap = u 0 100000 65536" "lxc.idmap = g 0 100000 65536" "lxc.pty.max = 8"),
        prepare: MAPPED,
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "userns-common-conf",
        config: "lxc.include = /usr/share/lxc/config/common.conf\n\
                 lxc.include = /usr/share/lxc/config/userns.conf\n\
                 lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
                 lxc.net.0.type = empty\n",
        prepare: MAPPED,
        attach: ATTACHED,
        ..PLAIN
    },
    // lxc.mount.auto
    Case { name: "auto-mixed", config: "lxc.mount.auto = proc:mixed sys:mixed\n", ..PLAIN },
    Case { name: "auto-ro", config: "lxc.mount.auto = proc:rw sys:ro\n", ..PLAIN },
    Case {
        name: "auto-mixed-no-net-admin",
        config: "lxc.mount.auto = proc:mixed sys:mixed\nlxc.cap.drop = net_admin\n",
        ..PLAIN
    },
    Case { name: "cgroup-plain", config: base!("lxc.mount.auto = cgroup"), ..PLAIN },
    Case { name: "cgroup-ro", config: base!("lxc.mount.auto = cgroup:ro"), ..PLAIN },
    Case { name: "cgroup-mixed", config: base!("lxc.mount.auto = cgroup:mixed"), ..PLAIN },
    Case { name: "cgroup-rw", config: base!("lxc.mount.auto = cgroup:rw"), ..PLAIN },
    Case { name: "cgroup-ro-force", config: base!("lxc.mount.auto = cgroup:ro:force"), ..PLAIN },
    Case {
        name: "cgroup-mixed-force",
        config: base!("lxc.mount.auto = cgroup:mixed:force"),
        ..PLAIN
    },
    Case { name: "cgroup-rw-force", config: base!("lxc.mount.auto = cgroup:rw:force"), ..PLAIN },
    Case {
        name: "cgroup-full-ro-force",
        config: base!("lxc.mount.auto = cgroup-full:ro:force"),
        ..PLAIN
    },
    Case {
        name: "cgroup-full-mixed-force",
        config: base!("lxc.mount.auto = cgroup-full:mixed:force"),
        ..PLAIN
    },
    Case {
        name: "cgroup-full-rw-force",
        config: base!("lxc.mount.auto = cgroup-full:rw:force"),
        ..PLAIN
    },
    Case {
        name: "shmounts",
        config: base!("lxc.mount.auto = shmounts:{dir}/shared:/shared"),
        setup: "mkdir -p {dir}/shared; mount -t tmpfs none {dir}/shared; mount --make-shared {dir}/shared",
        prepare: "mkdir {root}/shared",
        ..PLAIN
    },
    // lxc.mount.entry
    Case {
        name: "entries",
        config: base!(
            "lxc.mount.entry = {dir}/a mnt/a none bind,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/ro none bind,ro,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/strict none bind,nosuid,nodev,noexec,noatime,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/rbind none rbind,create=dir 0 0"
            "lxc.mount.entry = {dir}/a/file mnt/file none bind,create=file 0 0"
            "lxc.mount.entry = {dir}/missing mnt/optional none bind,optional,create=dir 0 0"
            "lxc.mount.entry = none mnt/tmp tmpfs size=1m,mode=0750,nosuid,create=dir 0 0"
            "lxc.mount.entry = none {root}/mnt/absolute tmpfs ro,create=dir 0 0"
            "lxc.mount.entry = a mnt/named tmpfs nodiratime,strictatime,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/rslave none rbind,rslave,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/private none bind,private,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/shared none bind,shared,create=dir 0 0"
            "lxc.mount.entry = {dir}/a mnt/unbindable none bind,unbindable,create=dir 0 0"
            "lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0"
            "lxc.mount.entry = mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0"
            "lxc.mount.entry = {dir}/sub mnt/relative none bind,relative,create=dir,optional 0 0"
        ),
        setup: "mkdir -p {dir}/a/sub; echo x > {dir}/a/file; mount -t tmpfs sub {dir}/a/sub",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "fstab",
        config: base!("lxc.mount.fstab = {dir}/fstab"),
        setup: "mkdir {dir}/a; printf '# comment\\n\\n{dir}/a mnt none bind,ro 0 0\\nnone tmp tmpfs \
                size=64k 0 0\\n' > {dir}/fstab",
        ..PLAIN
    },
    Case {
        name: "rootfs-ro",
        config: base!("lxc.rootfs.options = ro"),
        how: How::Start,
        inside: "dev/shm/it",
        seen: "../shm/it",
        prepare: "mkdir -m 777 {root}/../shm; echo 'lxc.mount.entry = {root}/../shm dev/shm none \
                  bind,create=dir 0 0' >> {root}/../config",
        ..PLAIN
    },
    // Capabilities and the like.
    Case {
        name: "cap-drop",
        config: base!("lxc.cap.drop = sys_module mac_admin sys_time 5"),
        attach: &[
            ATTACH,
            attach("elevated", &["-e"]),
            attach("elevated-cap", &["-e", "-s", "PID"]),
        ],
        ..PLAIN
    },
    Case {
        name: "cap-keep",
        config: base!("lxc.cap.keep = chown kill setuid setgid sys_admin"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case { name: "cap-none", config: base!("lxc.cap.keep = none"), attach: ATTACHED, ..PLAIN },
    Case {
        name: "limits",
        config: base!(
        "lxc.prlimit.nofile = 512:1024" "lxc.prlimit.core = 0" "lxc.prlimit.nproc = 100"
        "lxc.prlimit.stack = 4194304:unlimited" "lxc.prlimit.memlock = 65536"
        "lxc.proc.oom_score_adj = 10" "lxc.sysctl.net.ipv4.ip_forward = 1"
        "lxc.sysctl.kernel.domainname = example"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "seccomp",
        config: base!("lxc.seccomp.profile = /usr/share/lxc/config/common.seccomp"),
        attach: &[ATTACH, attach("elevated", &["-e"]), attach("elevated-lsm", &["-eLSM"])],
        ..PLAIN
    },
    Case { name: "no-new-privs", config: base!("lxc.no_new_privs = 1"), attach: ATTACHED, ..PLAIN },
    Case { name: "personality", config: base!("lxc.arch = i686"), attach: ATTACHED, ..PLAIN },
    Case { name: "keyring-0", config: base!("lxc.keyring.session = 0"), attach: ATTACHED, ..PLAIN },
    Case { name: "keyring-1", config: base!("lxc.keyring.session = 1"), attach: ATTACHED, ..PLAIN },
    // Terminals.
    Case { name: "ttys", config: base!("lxc.tty.max = 3"), attach: ATTACHED, ..PLAIN },
    Case { name: "ptys", config: base!("lxc.pty.max = 16"), attach: ATTACHED, ..PLAIN },
    Case { name: "pty-1", config: base!("lxc.pty.max = 1" "lxc.tty.max = 2"), ..PLAIN },
    Case {
        name: "tty-dir",
        config: base!("lxc.pty.max = 16" "lxc.tty.max = 2" "lxc.tty.dir = lxc"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "console-none",
        config: base!("lxc.pty.max = 16" "lxc.tty.max = 2"
        "lxc.console.path = none"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "console-log",
        config: base!("lxc.pty.max = 16" "lxc.console.logfile = {dir}/log"
        "lxc.console.buffer.size = auto"),
        ..PLAIN
    },
    Case { name: "autodev-0", config: base!("lxc.autodev = 0"), ..PLAIN },
    Case {
        name: "autodev-0-ttys",
        config: base!("lxc.autodev = 0" "lxc.pty.max = 16" "lxc.tty.max = 2"),
        prepare: "cd {root}/dev; touch console tty1 tty2; mknod null c 1 3",
        ..PLAIN
    },
    Case {
        name: "autodev-size",
        config: base!("lxc.autodev = 1" "lxc.autodev.tmpfs.size = 1000000"),
        ..PLAIN
    },
    // Init's identity.
    Case {
        name: "init-ids",
        config: base!("lxc.init.uid = 1000" "lxc.init.gid = 1001"
        "lxc.init.cwd = /home"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "init-groups",
        config: base!("lxc.init.uid = 1000" "lxc.init.gid = 1001"
        "lxc.init.groups = 4,5,6"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case { name: "init-cwd-new", config: base!("lxc.init.cwd = /fresh"), ..PLAIN },
    Case {
        name: "environment",
        config: base!("lxc.environment = A=1" "lxc.environment = EMPTY="
        "lxc.environment = CALLER" "lxc.environment = A=2"),
        attach: &[
            ATTACH,
            attach("clear", &["--clear-env"]),
            attach("keep", &["--keep-env"]),
            attach("set", &["-v", "A=9", "-v", "B=b c"]),
            attach("clear-but", &["--clear-env", "--keep-var", "CALLER", "-v", "X=y"]),
        ],
        ..PLAIN
    },
    Case {
        name: "signals-and-names",
        config: base!("lxc.uts.name = other"),
        attach: ATTACHED,
        ..PLAIN
    },
    // Namespaces.
    Case {
        name: "timens",
        config: base!("lxc.time.offset.boot = 1h" "lxc.time.offset.monotonic = 60s"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "ns-keep",
        config: "lxc.mount.auto = proc:rw\nlxc.namespace.keep = net ipc user\n",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "ns-keep-cgroup",
        config: "lxc.net.0.type = empty\nlxc.mount.auto = proc:rw\nlxc.namespace.keep = cgroup user\n",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "ns-clone",
        config: "lxc.mount.auto = proc:rw\nlxc.namespace.clone = mnt pid uts net\n",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "ns-share",
        config: "lxc.mount.auto = proc:rw\nlxc.namespace.share.net = {dir}/net\n",
        setup: "touch {dir}/net; unshare --net={dir}/net ip link add shared0 type bridge",
        attach: ATTACHED,
        ..PLAIN
    },
    // Networks.
    Case {
        name: "net-none",
        config: "lxc.net.0.type = none\nlxc.mount.auto = proc:rw sys:rw\n",
        ..PLAIN
    },
    Case {
        name: "veth",
        config: "lxc.mount.auto = proc:mixed sys:mixed\nlxc.net.0.type = veth\n\
        lxc.net.0.link = br7\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\n\
        lxc.net.0.ipv4.address = 10.7.0.2/24\nlxc.net.0.ipv4.gateway = 10.7.0.1\n\
        lxc.net.0.ipv6.address = fd07::2/64\nlxc.net.0.ipv6.gateway = fd07::1\nlxc.net.0.mtu = 1400\n\
        lxc.net.1.type = veth\nlxc.net.1.name = second\nlxc.net.1.link = br7\n\
        lxc.net.1.hwaddr = 00:16:3e:11:22:34\nlxc.net.2.type = empty\n",
        setup: "ip link add br7 type bridge; ip addr add 10.7.0.1/24 dev br7; ip link set br7 up",
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "macvlan",
        config: "lxc.net.0.type = macvlan\nlxc.net.0.link = br7\n\
        lxc.net.0.macvlan.mode = bridge\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\n\
        lxc.net.0.ipv4.address = 10.7.0.2/24 10.7.0.255\n",
        setup: "ip link add br7 type bridge; ip link set br7 up",
        ..PLAIN
    },
    Case {
        name: "macvlan-private",
        config: wire!("lxc.net.0.type = macvlan" "lxc.net.0.link = up0" "lxc.net.0.flags = up"
        "lxc.net.0.hwaddr = 00:16:3e:11:22:33" "lxc.net.0.mtu = 1300"
        "lxc.net.0.ipv6.address = fd07::2/64" "lxc.net.0.ipv6.gateway = fd07::1"),
        setup: WIRE,
        ..PLAIN
    },
    Case {
        name: "macvlan-vepa",
        config: wire!("lxc.net.0.type = macvlan" "lxc.net.0.link = up0" "lxc.net.0.flags = up"
        "lxc.net.0.macvlan.mode = vepa" "lxc.net.0.hwaddr = 00:16:3e:11:22:33"
        "lxc.net.0.name = lan0" "lxc.net.0.ipv4.address = 10.7.0.2/24"
        "lxc.net.0.ipv4.gateway = auto"),
        setup: WIRE,
        ..PLAIN
    },
    Case {
        name: "macvlan-passthru",
        config: wire!("lxc.net.0.type = macvlan" "lxc.net.0.link = up0" "lxc.net.0.flags = up"
        "lxc.net.0.macvlan.mode = passthru" "lxc.net.0.ipv4.address = 10.7.0.2/24 10.7.0.77"),
        setup: WIRE,
        ..PLAIN
    },
    Case {
        name: "phys",
        config: wire!("lxc.net.0.type = phys" "lxc.net.0.link = up0" "lxc.net.0.name = eth0"
        "lxc.net.0.flags = up" "lxc.net.0.mtu = 1300" "lxc.net.0.ipv4.address = 10.7.0.2/24"
        "lxc.net.0.ipv4.gateway = 10.7.0.1" "lxc.net.0.ipv6.address = fd07::2/64"
        "lxc.net.0.ipv6.gateway = fd07::1"),
        setup: WIRE,
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "net-mixed",
        config: wire!("lxc.net.0.type = veth" "lxc.net.0.link = br7" "lxc.net.0.name = lan0"
        "lxc.net.0.flags = up" "lxc.net.0.hwaddr = 00:16:3e:11:22:31"
        "lxc.net.0.ipv4.address = 10.8.0.2/24" "lxc.net.0.ipv4.gateway = 10.8.0.1"
        "lxc.net.1.type = macvlan" "lxc.net.1.link = nic7" "lxc.net.1.flags = up"
        "lxc.net.1.name = wan0"
        "lxc.net.1.hwaddr = 00:16:3e:11:22:32" "lxc.net.1.ipv6.address = fd07::2/64"
        "lxc.net.1.ipv6.gateway = fd07::1" "lxc.net.2.type = phys" "lxc.net.2.link = up0"
        "lxc.net.2.name = card" "lxc.net.3.type = empty"),
        setup: concat!(
            wire_setup!(),
            "; ip link add br7 type bridge; ip link set br7 up; \
                ip link add nic7 type veth peer name end7; ip link set nic7 up; \
                ip link set end7 up"
        ),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "router",
        config: wire!("lxc.net.0.type = veth" "lxc.net.0.veth.mode = router"
        "lxc.net.0.link = up0" "lxc.net.0.veth.pair = vr7" "lxc.net.0.flags = up"
        "lxc.net.0.hwaddr = 00:16:3e:11:22:33" "lxc.net.0.mtu = 1400"
        "lxc.net.0.ipv4.address = 10.55.1.5/32" "lxc.net.0.ipv4.gateway = 10.7.0.1"
        "lxc.net.0.ipv6.address = fd77::5/128" "lxc.net.0.ipv6.gateway = fd07::1"),
        // LXC brings the host's end up before the container's, and the kernel, which tells of a
        // missing carrier up to a second later, drops the proxy entries with it.
        setup: concat!(
            wire_setup!(),
            "; sysctl -qw net.ipv4.conf.default.arp_evict_nocarrier=0 \
               net.ipv6.conf.default.ndisc_evict_nocarrier=0"
        ),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "veth-routes",
        config: wire!("lxc.net.0.type = veth" "lxc.net.0.veth.mode = router"
        "lxc.net.0.veth.pair = vr7" "lxc.net.0.flags = up"
        "lxc.net.0.hwaddr = 00:16:3e:11:22:33" "lxc.net.0.veth.ipv4.route = 10.66.0.0/24"
        "lxc.net.0.veth.ipv6.route = fd78::/64"),
        setup: WIRE,
        ..PLAIN
    },
    Case {
        name: "veth-free",
        config: wire!("lxc.net.0.type = veth" "lxc.net.0.veth.pair = vr7" "lxc.net.0.flags = up"
        "lxc.net.0.veth.n_rxqueues = 2" "lxc.net.0.veth.n_txqueues = 2"
        "lxc.net.0.ipv4.address = 10.7.3.2/16" "lxc.net.0.ipv4.address = 10.7.3.3/32"
        "lxc.net.0.hwaddr = 00:16:3e:11:22:33"),
        ..PLAIN
    },
    Case {
        name: "net-no-prefix",
        config: wire!("lxc.net.0.type = veth" "lxc.net.0.veth.pair = vr7" "lxc.net.0.flags = up"
        "lxc.net.0.hwaddr = 00:16:3e:11:22:33"
        "lxc.net.0.ipv4.address = 10.7.0.2" "lxc.net.0.ipv6.address = fd07::2"),
        ..PLAIN
    },
    // Cgroups.
    Case {
        name: "cgroup-limits",
        config: base!("lxc.cgroup.memory.limit_in_bytes = 64M"
        "lxc.cgroup.pids.max = 50" "lxc.cgroup.cpu.shares = 512" "lxc.cgroup.cpuset.cpus = 0"
        "lxc.cgroup.devices.deny = a" "lxc.cgroup.devices.allow = c 1:3 rwm"
        "lxc.cgroup.devices.allow = c 5:* rw"),
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "cgroup-dir",
        config: base!("lxc.cgroup.dir = compat-{name}"),
        attach: ATTACHED,
        ..PLAIN
    },
    // Attach.
    Case {
        name: "attach-options",
        config: base!("lxc.cap.drop = sys_module" "lxc.no_new_privs = 1"
        "lxc.pty.max = 8"),
        attach: &[
            ATTACH,
            attach("elevated", &["-e"]),
            attach("elevated-cgroup", &["-eCGROUP"]),
            attach("elevated-cap", &["-eCAP"]),
            attach("elevated-lsm", &["-eLSM"]),
            attach("elevated-two", &["--elevated-privileges=CGROUP|CAP"]),
            attach("ids", &["-u", "1000", "-g", "1001"]),
            attach("uid", &["-u", "1000"]),
            attach("gid", &["-g", "1001"]),
            attach("arch", &["-a", "i686"]),
            attach("context", &["-c", "x"]),
        ],
        ..PLAIN
    },
    Case {
        name: "attach-namespaces",
        config: base!(),
        attach: &[
            attach("pid", &["-s", "PID|MOUNT"]),
            attach("net", &["-s", "NETWORK|MOUNT|PID"]),
            attach("uts", &["-s", "UTSNAME|IPC|MOUNT"]),
        ],
        ..PLAIN
    },
    Case {
        name: "attach-userns",
        config: base!("lxc.idmap = u 0 100000 65536"
        "lxc.idmap = g 0 100000 65536"),
        prepare: MAPPED,
        attach: &[
            ATTACH,
            attach("elevated", &["-e"]),
            attach("ids", &["-u", "1000", "-g", "1001"]),
        ],
        ..PLAIN
    },
    Case {
        name: "attach-pty",
        config: base!("lxc.pty.max = 8"),
        attach: &[typed("pty", &[]), typed("pty-ids", &["-u", "1000", "-g", "5"])],
        ..PLAIN
    },
    Case { name: "attach-pty-of-host", config: base!(), attach: &[typed("pty", &[])], ..PLAIN },
    // Namespaces of another process.
    Case {
        name: "share-net",
        config: "lxc.mount.auto = proc:rw\nlxc.uts.name = c\n",
        setup: "touch {dir}/net {dir}/ipc {dir}/uts; unshare --net={dir}/net --ipc={dir}/ipc \
                --uts={dir}/uts ip link add shared0 type bridge",
        options: &["--share-net", "{dir}/net", "--share-ipc", "{dir}/ipc"],
        attach: ATTACHED,
        ..PLAIN
    },
    Case {
        name: "share-uts",
        config: "lxc.mount.auto = proc:rw\nlxc.net.0.type = empty\n",
        setup: "touch {dir}/uts; unshare --uts={dir}/uts hostname theirs",
        options: &["--share-uts", "{dir}/uts"],
        ..PLAIN
    },
    // Without a daemon, and lxc-execute.
    Case { name: "foreground", config: base!("lxc.pty.max = 8"), how: How::Foreground, ..PLAIN },
    Case { name: "foreground-no-devpts", config: base!(), how: How::Foreground, ..PLAIN },
    Case {
        name: "foreground-defined",
        config: base!(),
        how: How::Foreground,
        options: &["-s", "lxc.environment=FROM=option"],
        ..PLAIN
    },
    Case { name: "execute", config: base!("lxc.pty.max = 8"), how: How::Execute, ..PLAIN },
    Case { name: "execute-no-devpts", config: base!(), how: How::Execute, ..PLAIN },
    Case {
        name: "execute-ids",
        config: base!(),
        how: How::Execute,
        options: &["-u", "1000", "-g", "1001"],
        ..PLAIN
    },
    Case {
        name: "execute-environment",
        config: base!("lxc.environment = A=1" "lxc.init.cwd = /home"),
        how: How::Execute,
        ..PLAIN
    },
    Case {
        name: "ephemeral",
        config: base!("lxc.ephemeral = 1"),
        how: How::Start,
        inside: "mnt/it",
        seen: "../../../out/it",
        setup: "mkdir -m 777 {dir}/out",
        prepare: "rm -f {dir}/out/*; echo 'lxc.mount.entry = {dir}/out mnt none bind 0 0' \
        >> {root}/../config",
        ..PLAIN
    },
];
