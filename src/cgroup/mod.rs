//! Cgroups on v1, v2 and hybrid hosts: discovery ([`layout`]), what a configuration asks for
//! ([`mod@plan`]), the cgroups of a running container ([`tree`]), and what tools ask of them
//! ([`freezer`], [`stat`], [`item`], [`attach`]).
//!
//! Nothing here starts or knows a container; `runtime` does.

mod apply;
pub mod attach;
pub mod devices;
mod end;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod freezer;
pub mod item;
pub mod layout;
mod place;
pub mod plan;
mod prune;
pub mod stat;
mod translate;
pub mod tree;
mod v1;
mod v2;
pub mod view;

pub use end::remove_leftovers;
pub use error::{CgroupError, Fault, Missing};
pub use layout::{Base, Hierarchy, Layout, LayoutKind, Version};
pub use place::Placed;
pub use plan::{CgroupPlan, plan};
pub use tree::CgroupTree;
pub use view::CgroupView;
