//! lxcbox: the classic LXC toolset as one static multicall binary.
//!
//! The modules form layers; each may use only what is below it (`tests/cli/layers.rs` holds the
//! table): applets → ui, container, runtime and check → control, hostnet and usernic, then the siblings
//! ns idmap cgroup mount storage net tty caps seccomp lsm hook limits, then config, logging, sys, util.

// The macros of `logging` are at the root of this crate: `log::warn!(…)` everywhere.
extern crate self as log;

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
pub mod logging;
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
pub mod usernic;
pub mod util;
