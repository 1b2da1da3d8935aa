//! Being written.
pub mod proto;
pub mod client;
pub mod server;
pub mod state;
