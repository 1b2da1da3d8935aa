//! Being written.
pub mod plan;
pub mod start;
pub mod child;
pub mod sync;
pub mod attach;
pub mod monitor;
pub mod daemon;
