//! Any pattern over any text: refused or answered; and where the C library knows the pattern too,
//! it gives the same answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::util::ere::{Ere, EreError};
use std::ffi::CString;
use std::mem::MaybeUninit;

const SEEDS: [&str; 13] = [
    "^web[0-9]+$\nweb42",
    "^(a|bc)*d$\nabcbcad",
    "^a{2,3}b{2}c{1,}$\naabbc",
    "^[]x^-]$\n]",
    "[^]x]\ny",
    "^[[:alpha:]_]+[[:digit:][:blank:]]*$\nab_c 1",
    "[[:alnum:]][[:cntrl:]][[:graph:]][[:lower:]][[:print:]][[:punct:]][[:space:]]\na",
    "[[:upper:]][[:xdigit:]]\nAF",
    "^[[.-.][=x=]]$\n-",
    "a\\.b\\w\\W\\s\\S\na.b_- x",
    "(a*)*b|(c+)+d?|.\naaaa",
    "(|x)y\nzy",
    "^(){9}{9,}a{,3}b{1}{1}c***$\nac",
];

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |input: &str| {
    let (pattern, text) = input.split_once('\n').unwrap_or((input, ""));
    let ours = Ere::new(pattern).map(|ere| ere.is_match(text));
    // A group around it, and an alternative that is the same, change nothing.
    if pattern.len() < 100 && !pattern.contains(')') {
        let twice = Ere::new(&format!("({pattern})|({pattern})"));
        if let (Ok(matched), Ok(twice)) = (&ours, twice) {
            assert_eq!(twice.is_match(text), *matched, "{pattern:?} on {text:?}");
        }
    }
    if is_common(pattern) && is_plain(text) {
        match (ours, libc_match(pattern, text)) {
            (Ok(ours), Some(theirs)) => assert_eq!(ours, theirs, "{pattern:?} on {text:?}"),
            (Err(EreError::BackReference), _) | (Err(_), None) => {}
            // What the standard leaves undefined, such as `^*`, may be accepted.
            (Ok(_), None) => {}
            (Err(e), Some(_)) => panic!("{pattern:?}: {e}"),
        }
    }
});

/// A line: at the end of one glibc takes the next one's first character for behind the end of the text,
/// which names of containers have not got.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.contains(['\0', '\n']) && text.len() <= 64
}

/// Left out: what costs the C library much time or memory, and its own words behind a backslash.
fn is_common(pattern: &str) -> bool {
    let mut numbers = pattern.split(|c: char| !c.is_ascii_digit());
    let escape = |pair: &[u8]| pair[0] == b'\\' && b"bB<>`'".contains(&pair[1]);
    is_plain(pattern)
        && pattern.bytes().filter(|b| b"{+".contains(b)).count() <= 3
        && pattern.bytes().filter(|b| *b == b'{').count() <= 1
        && numbers.all(|digits| digits.len() <= 1)
        && !pattern.as_bytes().windows(2).any(escape)
}

fn libc_match(pattern: &str, text: &str) -> Option<bool> {
    let (pattern, text) = (CString::new(pattern).ok()?, CString::new(text).ok()?);
    let mut compiled = MaybeUninit::<libc::regex_t>::uninit();
    let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
    // SAFETY: both are valid for the call.
    if unsafe { libc::regcomp(compiled.as_mut_ptr(), pattern.as_ptr(), flags) } != 0 {
        return None;
    }
    // SAFETY: regcomp filled it, as it returned 0.
    let mut compiled = unsafe { compiled.assume_init() };
    let none = std::ptr::null_mut();
    // SAFETY: both are valid for the call, and no place for matches is given.
    let found = unsafe { libc::regexec(&raw const compiled, text.as_ptr(), 0, none, 0) };
    // SAFETY: freed once, and not used any more.
    unsafe { libc::regfree(&raw mut compiled) };
    Some(found == 0)
}
