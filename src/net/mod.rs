//! Being written.
pub mod rtnl;
pub mod veth;
pub mod bridge;
pub mod plan;
pub mod addr;
