//! The helper of ordinary users: a program of its own, since it is installed setuid root and the
//! multicall binary never may be. Everything is in the library.

fn main() -> std::process::ExitCode {
    lxcbox::usernic::main()
}
