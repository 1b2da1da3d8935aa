//! Being written.
pub mod compile;
pub mod names;
pub mod notify;
pub mod policy;
