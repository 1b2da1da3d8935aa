//! Being written.
pub mod addr;
pub mod bridge;
pub mod plan;
pub mod rtnl;
pub mod veth;
