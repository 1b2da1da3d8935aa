//! Being written.
pub mod dir;
