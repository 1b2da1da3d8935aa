//! Any bytes as a datagram of rtnetlink: walked to an end, nothing read out of bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lxcbox::net::reply::walk(data));
