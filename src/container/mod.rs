//! Being written.
pub mod create;
pub mod destroy;
pub mod events;
pub mod info;
pub mod list;
pub mod lock;
pub mod template;
