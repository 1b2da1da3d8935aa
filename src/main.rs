//! The multicall binary; everything is in the library.

fn main() -> std::process::ExitCode {
    lxcbox::cli::main()
}
