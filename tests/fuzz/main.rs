//! The fuzz targets as a regular test: every one is compiled by the stable compiler without
//! libFuzzer and run over its seeds and over what is near them, the same inputs each time.
//! `make fuzz` is what searches.

#![allow(unused_attributes, reason = "each target is a program of its own where it is fuzzed")]
#![allow(clippy::print_stderr, reason = "the input that failed is said")]

// What the targets import there.
extern crate self as libfuzzer_sys;
extern crate self as lxcbox_fuzz;

#[path = "src/program.rs"]
mod program;

mod fuzz_targets {
    mod command_frame;
    mod config_text;
    // These two compare with glibc: `make glibc` runs them.
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "it calls the C library")]
    mod extended_regex;
    mod fstab_line;
    #[cfg(target_env = "gnu")]
    #[allow(unsafe_code, reason = "it calls the C library")]
    mod getopt;
    mod guest_files;
    mod host_files;
    mod id_map;
    mod mountinfo;
    mod netlink_reply;
    mod seccomp_policy;
    mod user_nic;
}

pub use program::{interpret, verify};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Inputs for each target.
const RUNS: usize = 1500;

thread_local! {
    static SEEDS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static NOW: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static SCRATCH: Cell<Option<TempDir>> = const { Cell::new(None) };
}

/// libFuzzer's macro, in the one form that the targets use.
#[macro_export]
macro_rules! fuzz_target {
    (init: $init:expr, |$input:ident: $type:ty| $body:block) => {
        fn target($input: $type) $body

        #[test]
        fn runs_on_its_seeds_and_what_is_near_them() {
            $init;
            $crate::replay(|bytes| target($crate::Input::of(bytes)));
        }
    };
}

/// What a target takes: bytes, or as much of them as is text.
pub trait Input<'a> {
    /// The input that these bytes are.
    fn of(bytes: &'a [u8]) -> Self;
}

impl<'a> Input<'a> for &'a [u8] {
    fn of(bytes: &'a [u8]) -> Self {
        bytes
    }
}

impl<'a> Input<'a> for &'a str {
    fn of(bytes: &'a [u8]) -> Self {
        bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
    }
}

/// Keeps a target's seeds for [`replay`].
pub fn seed<S: AsRef<[u8]>>(seeds: impl IntoIterator<Item = S>) {
    SEEDS.set(seeds.into_iter().map(|seed| seed.as_ref().to_vec()).collect());
}

/// A directory for a target's own files, which [`replay`] removes.
pub fn scratch() -> PathBuf {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_owned();
    SCRATCH.set(Some(dir));
    path
}

/// Says which input failed, and removes what the target wrote.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: b\"{}\"", NOW.take().escape_ascii());
        }
        drop(SCRATCH.take());
    }
}

/// Runs a target on each seed, and then on seeds that were changed in a few places.
pub fn replay(target: impl Fn(&[u8])) {
    let seeds = SEEDS.take();
    assert!(!seeds.is_empty(), "a target has seeds");
    let _end = End;
    let run = |input: &[u8]| {
        NOW.set(input.to_vec());
        target(input);
    };
    run(b"");
    seeds.iter().for_each(|seed| run(seed));
    let mut random = Random(seeds.len() as u64);
    for n in seeds.len()..RUNS {
        let mut input = seeds[n % seeds.len()].clone();
        for _ in 0..=random.below(3) {
            change(&mut input, &seeds, &mut random);
        }
        run(&input);
    }
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(8) + 1);
    match random.below(6) {
        0 => drop(input.drain(at..end)),
        1 => input.truncate(at),
        2 => {
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        3 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            input.splice(at.., other[from..].iter().copied());
        }
        4 => input.insert(at, random.below(256) as u8),
        _ => input[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
    }
}

/// Marsaglia's xorshift: the same inputs each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

#[test]
fn every_target_is_here_and_is_fuzzed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fuzz_targets");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("the targets") {
        let path = entry.expect("a target").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        count += 1;
        assert!(include_str!("main.rs").contains(&format!("    mod {name};\n")), "{name}");
        assert!(include_str!("Cargo.toml").contains(&format!("\nname = \"{name}\"\n")), "{name}");
    }
    assert_eq!(include_str!("Cargo.toml").matches("[[bin]]").count(), count);
}
