//! Being written.
pub mod layout;
pub mod v1;
pub mod v2;
pub mod devices;
pub mod freezer;
pub mod stat;
pub mod plan;
