//! Being written.
pub mod client;
pub mod proto;
pub mod server;
pub mod state;
