//! The same configuration under Debian's lxc and under ours: what a container sees must be equal.
//!
//! Each row of `cases.rs` is run twice in a machine of its own, first by our tools and then by
//! Debian's (5.0.2): the container's init, every lxc-attach of the row and the host's side are
//! reported (`reporter.rs`) and compared line by line (`compare.rs`). Every difference must be
//! explained by an entry of `expected/`; one that is not explained fails the run and is printed with
//! both sides, and an entry that explains nothing any more fails it too. No row is run again: one
//! that differs from run to run has a cause, which is to be found.
//!
//! To add a configuration: add a row to `CASES` in `cases.rs` and run
//!
//! ```text
//! cargo test --test compat -- NAME            # rows whose name contains NAME
//! cargo test --test compat -- NAME --print    # and the two whole reports
//! ```
//!
//! then look at each difference that is printed. LXC's users would expect LXC's behaviour: mend
//! `src`. It is on purpose, or LXC's own is random: an entry in `expected/` says why.
//!
//! `scene.rs` compares the tools themselves in the same way: exit status, output and whether
//! standard error says something, for a table of invocations, wrong ones included.
//!
//! Needs root and Debian's lxc. Without it the run is skipped and says so; with
//! `LXCBOX_TEST_NO_SKIPS` set that is a failure.

#![allow(clippy::disallowed_methods, reason = "the harness may use threads: it never clones")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "differences and counts are said")]
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up fails there")]
#![allow(
    unsafe_code,
    reason = "the reporter asks the kernel directly, and starts without Rust's \
         own start-up, which would change the signals and descriptors that it reports"
)]
#![no_main]

mod cases;
mod compare;
mod expected;
mod keys;
mod live;
#[path = "../kernel/machine.rs"]
#[allow(dead_code, reason = "shared with the kernel suite, which needs more of it")]
mod machine;
mod options;
mod ordinary;
mod reporter;
mod scene;
mod tools;
mod watch;

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The C library's entry: see the `no_main` above.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    // SAFETY: the C library gives `count` pointers in a row.
    let words = unsafe { std::slice::from_raw_parts(words, usize::try_from(count).unwrap_or(0)) };
    let text = |word: &*const c_char| {
        // SAFETY: each of them is a string that lives as long as the process.
        unsafe { CStr::from_ptr(*word) }.to_string_lossy().into_owned()
    };
    let args: Vec<String> = words.iter().skip(1).map(text).collect();
    match args.first().map(String::as_str) {
        Some("report") => reporter::main(&args[1..]),
        _ => run(&args),
    }
}

/// What is run under both implementations.
enum Row {
    Case(&'static cases::Case),
    Scene(&'static scene::Scene),
}

impl Row {
    fn name(&self) -> &'static str {
        match self {
            Self::Case(case) => case.name,
            Self::Scene(scene) => scene.name,
        }
    }

    fn differences(&self, print: bool) -> Vec<compare::Difference> {
        match self {
            Self::Case(case) => compare::case(case, print),
            Self::Scene(scene) => scene::differences(scene, print),
        }
    }
}

/// Runs the rows that `args` choose; 0 when all is as expected.
fn run(args: &[String]) -> c_int {
    if !Path::new("/usr/bin/lxc-attach").exists() {
        println!("compat: skipped: Debian's lxc is not installed (apt-get install lxc)");
        return c_int::from(std::env::var_os("LXCBOX_TEST_NO_SKIPS").is_some());
    }
    let mut words = Vec::new();
    // Most of a row is waiting.
    let mut threads = 4;
    let mut options = args.iter();
    while let Some(word) = options.next() {
        match word.as_str() {
            "--test-threads" => threads = options.next().and_then(|n| n.parse().ok()).unwrap_or(4),
            word if word.starts_with('-') => {}
            word => words.push(word.to_string()),
        }
    }
    // What the caller ignores or left open is his; LXC would hand it on to whatever is attached.
    machine::hear_signals();
    // SAFETY: marks descriptors close-on-exec, which takes nothing from anybody in this process.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */)
    };
    let print = args.iter().any(|word| word == "--print");
    let wanted = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let cases = cases::CASES.iter().map(Row::Case);
    let scenes = keys::SCENES.iter().chain(tools::SCENES).chain(live::SCENES);
    let scenes = scenes.chain(watch::SCENES).chain(options::SCENES).chain(ordinary::SCENES);
    let (count, lines) =
        scenes.clone().fold((0, 0), |(n, all), s| (n + 1, all + s.all_lines().len()));
    let rows = scenes.map(Row::Scene).chain(cases);
    let chosen: Vec<Row> = rows.filter(|row| wanted(row.name())).collect();

    let (next, bad) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let used = Mutex::new(vec![0usize; expected::all().count()]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(row) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut text = String::new();
                    for difference in row.differences(print) {
                        match expected::explains(row.name(), &difference) {
                            Some(entry) => used.lock().unwrap()[entry] += 1,
                            None => text.push_str(&difference.to_string()),
                        }
                    }
                    if text.is_empty() {
                        continue;
                    }
                    bad.fetch_add(1, Ordering::Relaxed);
                    println!("compat: {}: unexplained differences\n{text}", row.name());
                }
            });
        }
    });

    let mut bad = bad.into_inner();
    if words.is_empty() {
        let used = used.into_inner().unwrap();
        for (entry, _) in expected::all().zip(used).filter(|(_, count)| *count == 0) {
            bad += 1;
            println!("compat: expected/ explains what is no difference any more: {entry:?}");
        }
    }
    println!("compat: {} rows compared, {bad} faults", chosen.len());
    println!(
        "compat: all rows: {lines} invocations in {count} scenes, {} configurations",
        cases::CASES.len()
    );
    c_int::from(bad != 0)
}
