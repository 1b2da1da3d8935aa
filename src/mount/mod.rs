//! Being written.
pub mod auto;
pub mod dev;
pub mod fd;
pub mod fstab;
pub mod legacy;
pub mod plan;
