//! One running container, from the plan to the end: [`plan`] decides, [`supervise`] and [`monitor`]
//! are the process that keeps it, [`start`] and [`child`] the two halves of a start, which talk by
//! [`sync`]. Beside them [`attach`], commands without a container ([`unshare`]), and criu's work.

pub mod attach;
pub mod child;
pub mod command;
pub mod criu;
pub mod daemon;
pub mod init;
pub mod monitor;
pub mod plan;
pub mod restore;
pub mod start;
pub mod supervise;
pub mod sync;
pub mod unshare;
