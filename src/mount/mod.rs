//! Being written.
pub mod plan;
pub mod fd;
pub mod legacy;
pub mod auto;
pub mod fstab;
pub mod dev;
