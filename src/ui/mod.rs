//! What the tools say to a person and how they are spoken to: shared options, one way to print
//! a failure, columns, sizes, JSON. The only place that writes to standard output and error.

pub mod args;
pub mod command;
pub mod help;
pub mod json;
pub mod out;
pub mod progress;
pub mod report;
pub mod size;
pub mod table;

pub use args::Context;
pub use report::Failure;
