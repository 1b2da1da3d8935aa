//! Tests on the real kernel, as root: real containers, bridges, cgroups and signals, each test in
//! a mount and network namespace of its own. `make test` runs them; see `machine.rs`.

#![allow(clippy::disallowed_methods, reason = "the harness may use threads: it never clones")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "skips and counts are said")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up fails there")]

mod apparmor;
mod attach;
mod autostart;
mod boot;
mod cgroups;
mod changeover;
mod checkconfig;
mod checkpoint;
mod confinement;
mod console;
mod copy;
mod device;
mod docker;
mod enosys;
mod failing;
mod firewalls;
mod hostile;
mod interrupted;
mod lifecycle;
mod logs;
mod lxcnet;
mod machine;
mod namespaces;
mod nested;
mod net;
mod netplan;
mod opcodes;
mod openrc;
mod ordinary;
mod others;
mod ovs;
mod parents;
mod protocol;
mod runtime;
mod settings;
mod soak;
mod stopped;
mod storage;
mod stuck;
mod systemd;
mod transfer;
mod usernic;
mod walks;
mod watching;
