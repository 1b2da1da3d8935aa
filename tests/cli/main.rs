//! The real binary on the command line: no root, no kernel features, a private container path.
//!
//! One binary for all of it; `harness` gives each test a directory and a command.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on has failed")]

mod autostart;
mod checkconfig;
mod examples;
mod generated;
mod harness;
mod help;
mod layers;
mod listing;
mod multicall;
mod options;
mod templates;
