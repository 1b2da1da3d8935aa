//! Being written.
pub mod create;
pub mod destroy;
pub mod list;
pub mod lock;
pub mod info;
pub mod events;
pub mod template;
