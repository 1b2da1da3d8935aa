//! The multicall binary; everything is in the library.

fn main() -> std::process::ExitCode {
    lxcbox::cli::main()
}

#[global_allocator]
static HEAP: lxcbox::sys::heap::Heap = lxcbox::sys::heap::Heap;
