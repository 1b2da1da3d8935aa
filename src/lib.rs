//! lxcbox: the classic LXC toolset as one static multicall binary.
//!
//! The modules form layers; each may use only what is below it (`tests/cli/layers.rs` holds the
//! table): applets → ui, container, runtime and check → control, then the siblings ns idmap cgroup mount
//! storage net tty caps seccomp lsm hook limits, then config, log, sys, util.

pub mod applets;
pub mod caps;
pub mod cgroup;
pub mod check;
pub mod cli;
pub mod config;
pub mod container;
pub mod control;
pub mod hook;
pub mod hostnet;
pub mod idmap;
pub mod limits;
pub mod log;
pub mod lsm;
pub mod mount;
pub mod net;
pub mod ns;
pub mod runtime;
pub mod seccomp;
pub mod storage;
pub mod sys;
pub mod tty;
pub mod ui;
pub mod util;
