//! Any bytes as a configuration: loading never panics, and what loads is saved as it was and
//! means the same when it is read again. Seeds: the examples of the key table and of
//! config-examples.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::document::{Loaded, parse};
use lxcbox::config::keys::{self, Options};
use std::path::Path;

fn read(bytes: Vec<u8>) -> Option<Loaded> {
    let options = Options { random: || Ok([0x5a; 17]), env: |_| None };
    parse(bytes, Path::new("fuzz"), &options).ok()
}

fuzz_target!(|bytes: &[u8]| {
    // Including the files of the machine that fuzzes tells nothing.
    if bytes.windows(11).any(|window| window == b"lxc.include") {
        return;
    }
    let Some(loaded) = read(bytes.to_vec()) else { return };
    let text = loaded.document.bytes();
    let again = read(text.clone()).expect("what was saved loads");
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.document.bytes(), text);
    for key in keys::list(&loaded.config, "") {
        loaded.get(&key).expect("what is listed can be read");
    }
});
