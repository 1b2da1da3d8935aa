//! Any words as the command line of any tool: read as GNU's getopt_long reads them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::applets;
use lxcbox::cli::getopt::{Order, Parsed, parse};
use lxcbox::ui::args::id;
use lxcbox::ui::command::{Arg, ArgMatches, Command, Takes};
use std::cell::RefCell;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

unsafe extern "C" {
    static mut optind: c_int;
    static mut opterr: c_int;
    static optarg: *const c_char;
}

thread_local! {
    static COMMANDS: RefCell<Vec<Command>> = RefCell::new(commands());
}

fn commands() -> Vec<Command> {
    applets::ALL.iter().map(|applet| Command::new(applet.name)).collect()
}

/// First byte: which tool and which order; then the words, one a line.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (n, command) in (0u8..).zip(commands()) {
        for arg in command.args.iter().filter(|arg| !arg.is_positional()) {
            let mut seed = vec![n];
            if let Some(long) = arg.long {
                let near = &long[..long.len().min(4)];
                seed.extend(format!("--{long}=v\n--{near}\nx\n").bytes());
            }
            if let Some(short) = arg.short {
                seed.extend(format!("-q{short}v\n-{short}\n--\n-x\n").bytes());
            }
            seeds.push(seed.clone());
            seed[0] |= 0x80;
            seeds.push(seed);
        }
    }
    seeds
}

fuzz_target!(init: lxcbox_fuzz::seed(seeds()), |bytes: &[u8]| {
    let Some((&first, line)) = bytes.split_first() else { return };
    if line.contains(&0) {
        return;
    }
    let words: Vec<OsString> = line
        .split(|b| *b == b'\n')
        .filter(|word| !word.is_empty() || first & 0x40 != 0)
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect();
    let order = if first & 0x80 == 0 { Order::Permute } else { Order::Posix };
    COMMANDS.with_borrow(|commands| {
        let at = usize::from(first & 0x3f) % commands.len();
        let command = &commands[at];
        let ours = parse(command, &words, order);
        match (&ours, gnu(command, &words, order)) {
            (Ok(Parsed::HelpFailing) | Err(_), None) => {}
            (Ok(ours), Some(theirs)) => assert_eq!(*ours, theirs, "{words:?}"),
            (ours, theirs) => panic!("{words:?}: {ours:?}, but {theirs:?}"),
        }
    });
});

/// What glibc makes of it; `None` is its "?".
fn gnu(command: &Command, words: &[OsString], order: Order) -> Option<Parsed> {
    const FIRST_LONG: c_int = 0x1000;
    let options: Vec<&Arg> = command.args.iter().filter(|arg| !arg.is_positional()).collect();
    let mut short = String::from(if order == Order::Posix { "+" } else { "" });
    let mut names = Vec::new();
    for arg in &options {
        if let Some(c) = arg.short {
            short.push(c);
            short.push_str(match arg.takes {
                Takes::Nothing => "",
                Takes::Value => ":",
                Takes::Attached => "::",
            });
        }
        names.push(arg.long.map(|long| CString::new(long).expect("no NUL in it")));
    }
    let short = CString::new(short).expect("no NUL in it");
    let mut long = Vec::new();
    for (n, (arg, name)) in (FIRST_LONG..).zip(options.iter().zip(&names)) {
        let Some(name) = name else { continue };
        let has_arg = match arg.takes {
            Takes::Nothing => 0,
            Takes::Value => 1,
            Takes::Attached => 2,
        };
        let flag = std::ptr::null_mut();
        long.push(libc::option { name: name.as_ptr(), has_arg, flag, val: n });
    }
    let (name, flag) = (std::ptr::null(), std::ptr::null_mut());
    long.push(libc::option { name, has_arg: 0, flag, val: 0 });
    let program = OsString::from("x");
    let argv: Vec<CString> = std::iter::once(&program)
        .chain(words)
        .map(|word| CString::new(word.as_bytes()).expect("no NUL in it"))
        .collect();
    let mut argv: Vec<*mut c_char> = argv.iter().map(|word| word.as_ptr().cast_mut()).collect();
    let argc = c_int::try_from(argv.len()).expect("a short line");
    argv.push(std::ptr::null_mut());

    let mut matches = ArgMatches::new(command);
    // SAFETY: only this thread parses command lines.
    unsafe { opterr = 0 };
    // SAFETY: as above; 0 makes glibc forget the line before.
    unsafe { optind = 0 };
    loop {
        // SAFETY: every pointer is into a vector that outlives the call, and both end in a null.
        let found = unsafe {
            let index = std::ptr::null_mut();
            libc::getopt_long(argc, argv.as_ptr(), short.as_ptr(), long.as_ptr(), index)
        };
        let arg = match found {
            -1 => break,
            n if n == c_int::from(b'?') => return None,
            n if n >= FIRST_LONG => options[usize::try_from(n - FIRST_LONG).expect("positive")],
            n => *options
                .iter()
                .find(|arg| arg.short.is_some_and(|c| c as c_int == n))
                .expect("a declared letter"),
        };
        match arg.id {
            id::HELP => return Some(Parsed::Help),
            id::USAGE => return Some(Parsed::Usage),
            id::VERSION => return Some(Parsed::Version),
            _ => {}
        }
        // SAFETY: glibc set it to null or to a part of one of the words.
        let value = unsafe {
            let value = optarg;
            (!value.is_null()).then(|| CStr::from_ptr(value))
        };
        matches.push(arg, value.map(|value| OsStr::from_bytes(value.to_bytes())));
    }
    // SAFETY: as above; what is left are pointers to the words, in glibc's order.
    let left = unsafe { usize::try_from(optind).expect("positive") };
    for &word in &argv[left..argv.len() - 1] {
        // SAFETY: as above.
        let word = unsafe { CStr::from_ptr(word) };
        matches.rest.push(OsStr::from_bytes(word.to_bytes()).to_owned());
    }
    Some(Parsed::Run(matches))
}
