//! Being written.
pub mod apparmor;
pub mod selinux;
