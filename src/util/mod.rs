//! Pure functions and data: no files, no clocks, no system calls. Anything may use it.

pub mod blame;
pub mod captab;
pub mod ere;
pub mod name;
pub mod quote;
pub mod sentence;
pub mod sha1;
pub mod sha256;
pub mod signames;
pub mod sorted;
pub mod texts;
pub mod time;
pub mod words;
