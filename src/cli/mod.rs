//! Dispatch by argv[0] or first word.

/// Runs the applet that was asked for.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
