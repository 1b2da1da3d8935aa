//! Being written.
pub mod devices;
pub mod freezer;
pub mod layout;
pub mod plan;
pub mod stat;
pub mod v1;
pub mod v2;
