//! Names and numbers of capabilities (capabilities(7), include/uapi/linux/capability.h).

/// A capability number, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cap(pub u8);

impl Cap {
    /// CAP_NET_ADMIN.
    pub const NET_ADMIN: Self = Self(12);
    /// CAP_SYS_ADMIN.
    pub const SYS_ADMIN: Self = Self(21);
    /// CAP_SYS_MODULE.
    pub const SYS_MODULE: Self = Self(16);
    /// CAP_MKNOD.
    pub const MKNOD: Self = Self(27);
    /// CAP_SETGID.
    pub const SETGID: Self = Self(6);

    /// The name without `cap_`, lower case; `None` for a number newer than this table.
    pub fn name(self) -> Option<&'static str> {
        NAMES.get(usize::from(self.0)).copied()
    }

    /// A lower-case name without `cap_`, or a number up to 63. The upper bound of the running
    /// kernel (cap_last_cap) is checked by the plan, not here.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(n) = text.parse::<u8>() {
            return (n < 64).then_some(Self(n));
        }
        let at = NAMES.iter().position(|name| *name == text)?;
        u8::try_from(at).ok().map(Self)
    }
}

/// Indexed by capability number.
pub const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(Cap::parse("sys_admin"), Some(Cap::SYS_ADMIN));
        assert_eq!(Cap::parse("net_admin"), Some(Cap::NET_ADMIN));
        assert_eq!(Cap::parse("mknod"), Some(Cap::MKNOD));
        assert_eq!(Cap::parse("40"), Some(Cap(40)));
        assert_eq!(Cap::parse("CAP_CHOWN"), None);
        assert_eq!(Cap::parse("64"), None);
    }
}
