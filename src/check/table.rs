//! What is looked at: one row each, in the order of the output.

use super::trial::Tries;
use super::{Need, Verdict, cgroups, culprit, files, kernel};
use crate::check::Host;
use crate::sys::probe;
use Need::{None as N, Optional as O, Recommended as C, Required as R};

/// The sections of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their titles are in `title`")]
pub enum Group {
    Namespaces,
    Cgroups,
    Misc,
    Checkpoint,
    Network,
    Files,
    Security,
    Calls,
    Setup,
}

impl Group {
    /// All, in their order. The first four are LXC's.
    pub const ALL: [Self; 9] = [
        Self::Namespaces,
        Self::Cgroups,
        Self::Misc,
        Self::Checkpoint,
        Self::Network,
        Self::Files,
        Self::Security,
        Self::Calls,
        Self::Setup,
    ];

    /// The line above the section, without its dashes.
    pub fn title(self) -> &'static str {
        [
            "Namespaces",
            "Control groups",
            "Misc",
            "Checkpoint/Restore",
            "Network",
            "File systems",
            "Security",
            "System calls",
            "Files and programs",
        ][self as usize]
    }
}

/// How an item is looked at.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// A trial in a process of its own; in a user namespace too for an ordinary user.
    Try(Tries),
    /// A trial as the caller only.
    Alone(Tries),
    /// Reading files of the host.
    Look(fn(&Host) -> Verdict),
    /// As `Look`, on hosts with cgroup v1 only.
    V1(fn(&Host) -> Verdict),
    /// Whether the kernel knows the system call.
    Call(probe::Call),
    /// The configuration and the lists of modules only.
    Config,
}

/// One thing to look at.
pub struct Item {
    /// Its name in JSON; no other has it.
    pub id: &'static str,
    /// Its name in text.
    pub label: &'static str,
    /// The section.
    pub group: Group,
    /// How much each [`super::Purpose`] needs it, in their order.
    pub needs: [Need; 4],
    /// Symbols of the kernel's configuration without `CONFIG_`, all of them; `A|B` is either.
    pub symbols: &'static str,
    /// Modules that it needs where it is not built in, the first of them the one to name.
    pub modules: &'static str,
    /// How it is looked at.
    pub(super) how: How,
}

const fn row(
    group: Group,
    id: &'static str,
    label: &'static str,
    needs: [Need; 4],
    symbols: &'static str,
    modules: &'static str,
    how: How,
) -> Item {
    Item { id, label, group, needs, symbols, modules, how }
}

const fn asks(call: &str) -> How {
    How::Call(probe::Call::of(call))
}

/// Items that stand in for one another.
pub(super) const EITHER: &[[&str; 2]] =
    &[["nat-nft", "nat-iptables"], ["nat-nft", "xt-masquerade"], ["cgroup-kill", "cgroup-freezer"]];

const ALL: [Need; 4] = [R, R, R, R];
const WANTED: [Need; 4] = [C, C, C, C];
const NICE: [Need; 4] = [O, O, O, O];

/// Every row.
pub const ITEMS: &[Item] = &{
    use Group::{Calls, Cgroups, Checkpoint, Files, Misc, Namespaces, Network, Security, Setup};
    use How::{Alone, Config, Look, Try, V1};
    const NONE: &str = "";
    [
        row(Namespaces, "namespaces", "Namespaces", ALL, "NAMESPACES", NONE, Try(kernel::mnt)),
        row(Namespaces, "uts", "Utsname namespace", ALL, "UTS_NS", NONE, Try(kernel::uts)),
        row(Namespaces, "ipc", "Ipc namespace", ALL, "IPC_NS", NONE, Try(kernel::ipc)),
        row(Namespaces, "pid", "Pid namespace", ALL, "PID_NS", NONE, Try(kernel::pid)),
        row(
            Namespaces,
            "user",
            "User namespace",
            [C, R, C, C],
            "USER_NS",
            NONE,
            Alone(kernel::user),
        ),
        row(
            Namespaces,
            "user-unprivileged",
            "User namespace of ordinary users",
            [O, R, O, O],
            NONE,
            NONE,
            Alone(kernel::user_unprivileged),
        ),
        row(Namespaces, "net", "Network namespace", ALL, "NET_NS", NONE, Try(kernel::net)),
        row(Namespaces, "time", "Time namespace", NICE, "TIME_NS", NONE, Try(kernel::time)),
        // Control groups.
        row(Cgroups, "cgroups", "Cgroups", ALL, "CGROUPS", NONE, Alone(cgroups::group)),
        row(
            Cgroups,
            "cgroup-ns",
            "Cgroup namespace",
            [C, C, R, R],
            // Of Linux 4.6, and no symbol tells.
            NONE,
            NONE,
            Try(kernel::cgroup),
        ),
        row(
            Cgroups,
            "cgroup-systemd",
            "Cgroup v1 systemd controller",
            [O, O, R, O],
            NONE,
            NONE,
            V1(cgroups::systemd),
        ),
        row(
            Cgroups,
            "cgroup-clone-children",
            "Cgroup v1 clone_children flag",
            NICE,
            NONE,
            NONE,
            V1(cgroups::clone_children),
        ),
        row(
            Cgroups,
            "cgroup-device",
            "Cgroup device",
            WANTED,
            "CGROUP_DEVICE",
            NONE,
            Alone(cgroups::devices),
        ),
        row(
            Cgroups,
            "cgroup-sched",
            "Cgroup sched",
            WANTED,
            "CGROUP_SCHED",
            NONE,
            Alone(cgroups::cpu),
        ),
        row(
            Cgroups,
            "cgroup-cpuacct",
            "Cgroup cpu account",
            NICE,
            "CGROUP_CPUACCT",
            NONE,
            Alone(cgroups::cpuacct),
        ),
        row(
            Cgroups,
            "cgroup-memory",
            "Cgroup memory controller",
            WANTED,
            "MEMCG|CGROUP_MEM_RES_CTLR",
            NONE,
            Alone(cgroups::memory),
        ),
        row(
            Cgroups,
            "cgroup-cpuset",
            "Cgroup cpuset",
            NICE,
            "CPUSETS",
            NONE,
            Alone(cgroups::cpuset),
        ),
        row(
            Cgroups,
            "cgroup-pids",
            "Cgroup pids controller",
            WANTED,
            "CGROUP_PIDS",
            NONE,
            Alone(cgroups::pids),
        ),
        row(Cgroups, "cgroup-io", "Cgroup block I/O", NICE, "BLK_CGROUP", NONE, Alone(cgroups::io)),
        row(
            Cgroups,
            "cgroup-freezer",
            "Cgroup freezer",
            WANTED,
            "CGROUP_FREEZER",
            NONE,
            Alone(cgroups::freezer),
        ),
        row(Cgroups, "cgroup-kill", "Cgroup kill", NICE, NONE, NONE, Alone(cgroups::kill)),
        // LXC's section of drivers.
        row(Misc, "veth", "Veth pair device", WANTED, "VETH", "veth", Try(kernel::veth)),
        row(Misc, "macvlan", "Macvlan", NICE, "MACVLAN", "macvlan", Try(kernel::macvlan)),
        row(Misc, "vlan", "Vlan", NICE, "VLAN_8021Q", "8021q", Try(kernel::vlan)),
        row(Misc, "bridge", "Bridges", WANTED, "BRIDGE", "bridge", Try(kernel::bridge)),
        row(
            Misc,
            "netfilter-advanced",
            "Advanced netfilter",
            NICE,
            "NETFILTER_ADVANCED",
            NONE,
            Config,
        ),
        row(
            Misc,
            "xt-masquerade",
            "CONFIG_IP_NF_TARGET_MASQUERADE",
            WANTED,
            "IP_NF_TARGET_MASQUERADE|NETFILTER_XT_TARGET_MASQUERADE",
            "xt_MASQUERADE",
            Config,
        ),
        row(
            Misc,
            "xt-masquerade6",
            "CONFIG_IP6_NF_TARGET_MASQUERADE",
            NICE,
            "IP6_NF_TARGET_MASQUERADE|NETFILTER_XT_TARGET_MASQUERADE",
            "xt_MASQUERADE",
            Config,
        ),
        row(
            Misc,
            "xt-checksum",
            "CONFIG_NETFILTER_XT_TARGET_CHECKSUM",
            NICE,
            "NETFILTER_XT_TARGET_CHECKSUM",
            "xt_CHECKSUM",
            Config,
        ),
        row(
            Misc,
            "xt-comment",
            "CONFIG_NETFILTER_XT_MATCH_COMMENT",
            NICE,
            "NETFILTER_XT_MATCH_COMMENT",
            "xt_comment",
            Config,
        ),
        row(
            Misc,
            "fuse",
            "FUSE (for use with lxcfs)",
            [O, O, C, C],
            "FUSE_FS",
            "fuse",
            Try(kernel::fuse),
        ),
        // What a checkpoint needs.
        row(
            Checkpoint,
            "checkpoint",
            "checkpoint restore",
            NICE,
            "CHECKPOINT_RESTORE",
            NONE,
            Look(kernel::checkpoint),
        ),
        row(
            Checkpoint,
            "fhandle",
            "CONFIG_FHANDLE",
            NICE,
            "FHANDLE",
            NONE,
            asks("name_to_handle_at"),
        ),
        row(Checkpoint, "eventfd", "CONFIG_EVENTFD", ALL, "EVENTFD", NONE, asks("eventfd2")),
        row(Checkpoint, "epoll", "CONFIG_EPOLL", ALL, "EPOLL", NONE, asks("epoll_create1")),
        row(Checkpoint, "unix-diag", "CONFIG_UNIX_DIAG", NICE, "UNIX_DIAG", "unix_diag", Config),
        row(Checkpoint, "inet-diag", "CONFIG_INET_DIAG", NICE, "INET_DIAG", "inet_diag", Config),
        row(
            Checkpoint,
            "packet-diag",
            "CONFIG_PACKET_DIAG",
            NICE,
            "PACKET_DIAG",
            "af_packet_diag",
            Config,
        ),
        row(
            Checkpoint,
            "netlink-diag",
            "CONFIG_NETLINK_DIAG",
            NICE,
            "NETLINK_DIAG",
            "netlink_diag",
            Config,
        ),
        row(
            Checkpoint,
            "file-caps",
            "File capabilities",
            WANTED,
            "MULTIUSER|SECURITY_FILE_CAPABILITIES",
            NONE,
            Look(kernel::file_caps),
        ),
        // More of the network.
        row(Network, "ipvlan", "Ipvlan", NICE, "IPVLAN", "ipvlan", Try(kernel::ipvlan)),
        row(Network, "vxlan", "Vxlan", [N, N, N, O], "VXLAN", "vxlan", Try(kernel::vxlan)),
        row(Network, "dummy", "Dummy device", NICE, "DUMMY", "dummy", Try(kernel::dummy)),
        row(Network, "tun", "Tun device", NICE, "TUN", "tun", Try(kernel::tun)),
        row(
            Network,
            "nat-nft",
            "NAT by nftables",
            WANTED,
            "NF_TABLES NFT_MASQ NFT_NAT",
            "nf_tables nft_masq nft_chain_nat",
            Try(kernel::nat_nft),
        ),
        row(
            Network,
            "nat-iptables",
            "NAT by iptables",
            [C, C, C, R],
            "IP_NF_IPTABLES|IP_NF_IPTABLES_LEGACY IP_NF_NAT",
            "iptable_nat ip_tables",
            Try(kernel::nat_iptables),
        ),
        row(
            Network,
            "br-netfilter",
            "Bridged packets in iptables",
            [N, N, N, C],
            "BRIDGE_NETFILTER",
            "br_netfilter",
            Config,
        ),
        // File systems.
        row(Files, "devpts", "devpts of its own", ALL, "UNIX98_PTYS", NONE, Try(kernel::devpts)),
        row(Files, "tmpfs", "tmpfs", ALL, "TMPFS", NONE, Try(kernel::tmpfs)),
        row(Files, "mqueue", "mqueue", [O, O, C, O], "POSIX_MQUEUE", NONE, Try(kernel::mqueue)),
        row(
            Files,
            "overlay",
            "overlay",
            [O, O, O, R],
            "OVERLAY_FS",
            "overlay",
            Try(kernel::overlay),
        ),
        row(
            Files,
            "overlay-userns",
            "overlay in a user namespace",
            [O, C, O, C],
            NONE,
            NONE,
            Try(kernel::overlay_userns),
        ),
        row(
            Files,
            "idmapped-mounts",
            "id-mapped mounts of the container path",
            [O, C, O, O],
            NONE,
            NONE,
            Try(kernel::idmapped),
        ),
        row(
            Files,
            "binfmt-misc",
            "binfmt_misc (programs of other processors)",
            NICE,
            "BINFMT_MISC",
            "binfmt_misc",
            Look(kernel::binfmt_misc),
        ),
        // Confinement.
        row(
            Security,
            "seccomp-filter",
            "seccomp filters",
            WANTED,
            "SECCOMP_FILTER",
            NONE,
            Alone(kernel::seccomp_filter),
        ),
        row(
            Security,
            "seccomp-notify",
            "seccomp notifications",
            NICE,
            NONE,
            NONE,
            Alone(kernel::seccomp_notify),
        ),
        row(Security, "lsm", "security module", NICE, NONE, NONE, Look(kernel::lsm)),
        row(Security, "keys", "keyrings", [O, O, C, C], "KEYS", NONE, asks("keyctl")),
        // System calls, each with what is used where it is missing.
        row(Calls, "clone3", "clone3 (else clone)", NICE, NONE, NONE, asks("clone3")),
        row(Calls, "openat2", "openat2 (else a checked walk)", NICE, NONE, NONE, asks("openat2")),
        row(Calls, "pidfd-open", "pidfd_open (else numbers)", NICE, NONE, NONE, asks("pidfd_open")),
        row(
            Calls,
            "pidfd-send-signal",
            "pidfd_send_signal (else kill)",
            NICE,
            NONE,
            NONE,
            asks("pidfd_send_signal"),
        ),
        row(
            Calls,
            "close-range",
            "close_range (else one by one)",
            NICE,
            NONE,
            NONE,
            asks("close_range"),
        ),
        row(Calls, "fsopen", "fsopen (else mount)", NICE, NONE, NONE, asks("fsopen")),
        row(
            Calls,
            "open-tree",
            "open_tree (else bind mounts)",
            NICE,
            NONE,
            NONE,
            asks("open_tree"),
        ),
        row(Calls, "move-mount", "move_mount (else mount)", NICE, NONE, NONE, asks("move_mount")),
        row(
            Calls,
            "mount-setattr",
            "mount_setattr (else remounts)",
            NICE,
            NONE,
            NONE,
            asks("mount_setattr"),
        ),
        row(Calls, "statx", "statx (else fdinfo)", NICE, NONE, NONE, asks("statx")),
        row(
            Calls,
            "memfd",
            "memfd_create (else /proc/self/exe)",
            NICE,
            NONE,
            NONE,
            asks("memfd_create"),
        ),
        row(Calls, "execveat", "execveat", NICE, NONE, NONE, asks("execveat")),
        row(Calls, "bpf", "bpf (else no devices on cgroup v2)", NICE, NONE, NONE, asks("bpf")),
        // The host's own side.
        row(Setup, "modules", "modules of this kernel", WANTED, NONE, NONE, Look(files::modules)),
        row(Setup, "subuid", "subordinate users", [O, R, O, O], NONE, NONE, Look(files::subuid)),
        row(Setup, "subgid", "subordinate groups", [O, R, O, O], NONE, NONE, Look(files::subgid)),
        row(Setup, "newuidmap", "newuidmap", [O, R, O, O], NONE, NONE, Look(files::newuidmap)),
        row(Setup, "newgidmap", "newgidmap", [O, R, O, O], NONE, NONE, Look(files::newgidmap)),
        row(
            Setup,
            "usernet",
            "bridge for ordinary users",
            [O, C, O, O],
            NONE,
            NONE,
            Look(files::usernet),
        ),
        row(Setup, "user-nic", "lxc-user-nic", [O, C, O, O], NONE, NONE, Look(files::user_nic)),
        row(Setup, "path", "way to the containers", [O, R, O, O], NONE, NONE, Alone(files::way)),
        row(Setup, "host-bridge", "bridge of the host", WANTED, NONE, NONE, Look(files::bridge)),
        row(Setup, "dnsmasq", "dnsmasq (DHCP and DNS)", WANTED, NONE, NONE, Look(files::dnsmasq)),
        row(Setup, "port-53", "port 53 of the bridge", WANTED, NONE, NONE, Look(files::port53)),
        row(Setup, "ip-forward", "IPv4 forwarding", WANTED, NONE, NONE, Look(files::forwarding)),
        row(
            Setup,
            "firewall",
            "way through the firewall",
            NICE,
            NONE,
            NONE,
            Alone(files::firewall),
        ),
        row(
            Setup,
            "confinement",
            "freedom of this process",
            NICE,
            NONE,
            NONE,
            Look(culprit::confinement),
        ),
    ]
};
