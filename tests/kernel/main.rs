//! Tests on the real kernel, as root: real containers, bridges, cgroups and signals, each test in
//! a mount and network namespace of its own. `make test` runs them; see `machine.rs`.

#![allow(clippy::disallowed_methods, reason = "the harness may use threads: it never clones")]

mod attach;
mod cgroups;
mod confinement;
mod enosys;
mod failing;
mod hostile;
mod lifecycle;
mod machine;
mod net;
mod runtime;
mod systemd;
