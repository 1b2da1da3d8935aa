//! What several fuzz targets share. `../main.rs` has the same for the regular test.

mod program;

pub use program::{interpret, verify};
use std::path::PathBuf;

/// Writes a target's seeds into the directory that `FUZZ_SEEDS` names. libFuzzer calls a target's
/// `init` before it reads that directory, so nothing that can be made from a table is kept in the
/// repository.
pub fn seed<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) {
    let Some(dir) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&dir).expect("the directory of the seeds");
    for (n, seed) in seeds.into_iter().enumerate() {
        std::fs::write(dir.join(format!("seed-{n:03}")), seed).expect("a seed");
    }
}

/// A directory for a target's own files, which `run.sh` removes.
pub fn scratch() -> PathBuf {
    std::env::var_os("FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from)
}
