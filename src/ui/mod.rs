//! Being written.
pub mod args;
pub mod table;
pub mod report;
pub mod size;
pub mod json;
