//! Being written.
pub mod args;
pub mod json;
pub mod report;
pub mod size;
pub mod table;
