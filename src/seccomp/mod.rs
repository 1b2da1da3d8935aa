//! Being written.
pub mod policy;
pub mod compile;
pub mod notify;
pub mod names;
