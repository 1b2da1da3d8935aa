//! The command socket of a container's monitor, from both sides: LXC's names, structures and
//! numbers, so that its tools manage our containers and ours its.
//!
//! [`proto`] has the table of commands, [`client`] asks, [`server`] answers through the trait
//! [`server::Container`], [`state`] are the states and their announcements, [`monitord`] is who
//! collects those of all containers.

pub mod address;
pub mod client;
pub mod error;
mod holder;
pub mod monitord;
pub mod proto;
pub mod server;
pub mod state;
mod structs;

#[cfg(test)]
mod proto_tests;
