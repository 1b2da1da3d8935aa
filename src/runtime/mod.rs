//! Being written.
pub mod attach;
pub mod child;
pub mod daemon;
pub mod monitor;
pub mod plan;
pub mod start;
pub mod sync;
