//! Any bytes as a datagram of rtnetlink: walked to an end, nothing read out of bounds; and what
//! was read from it is written back to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::net::codec::{Request, attrs, messages, nl, parse_ack};
use lxcbox::net::reply;

/// A link with everything that is read of one, an address, a route, and an error with words;
/// numbers of `linux/rtnetlink.h` and its neighbours.
fn seeds() -> Vec<Vec<u8>> {
    let mut link = Request::new(16, 2);
    link.fixed(&[0, 0, 1, 0, 9, 0, 0, 0, 1, 16, 0, 0, 0, 0, 0, 0]);
    link.string(3, "veth1").u32(4, 1400).u32(5, 3).u32(10, 4).attr(1, &[0xfe, 1, 2, 3, 4, 5]);
    link.attr(23, &[7; 200]);
    let info = link.begin(18 | 0x8000);
    link.string(1, "veth");
    link.end(info);
    let names = link.begin(52);
    link.string(53, "a-long-other-name").string(53, "x");
    link.end(names);
    let mut address = Request::new(20, 2);
    address.fixed(&[2, 24, 0, 0, 2, 0, 0, 0]).attr(1, &[10, 0, 3, 1]).attr(2, &[10, 0, 3, 2]);
    address.u32(8, 0x80);
    let mut route = Request::new(24, 2);
    route.fixed(&[10, 64, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]).attr(1, &[0xfd; 16]).u32(4, 2);
    route.attr(5, &[0xfe; 16]);
    let mut error = Request::new(nl::ERROR, nl::ACK_TLVS | nl::CAPPED);
    error.fixed(&(-17i32).to_ne_bytes()).fixed(&[0; 16]).string(1, "already there");
    let mut done = Request::new(nl::DONE, 2);
    done.fixed(&0i32.to_ne_bytes());
    let all = [link, address, route, error, done].map(|one| one.finish(7).expect("short enough"));
    let dump = all.concat();
    all.into_iter().chain([dump]).collect()
}

fuzz_target!(init: lxcbox_fuzz::seed(seeds()), |data: &[u8]| {
    reply::walk(data);
    let mut count = 0;
    for message in messages(data).flatten() {
        count += 1;
        if let Ok(ack) = parse_ack(&message) {
            assert!(ack.errno >= 0);
        }
        let mut copy = Request::new(message.kind, message.flags);
        copy.fixed(message.payload);
        let copy = copy.finish(message.sequence).expect("shorter than 4 GiB");
        let back = messages(&copy).next().expect("one message").expect("a whole one");
        assert_eq!((back.kind, back.sequence), (message.kind, message.sequence));
        assert_eq!(back.flags, message.flags | nl::REQUEST);
        assert!(back.payload.starts_with(message.payload));
        let list: Vec<_> = attrs(message.payload).flatten().collect();
        assert!(list.len() <= message.payload.len() / 4 + 1);
        let mut copy = Request::new(16, 0);
        for attr in &list {
            copy.attr(attr.kind, attr.data);
        }
        let copy = copy.finish(1).expect("each fits its length");
        let back = messages(&copy).next().expect("one message").expect("a whole one");
        assert!(attrs(back.payload).map(Result::unwrap).eq(list));
    }
    assert!(count <= data.len() / 16 + 1);
    // The same bytes without a header in their way.
    let _ = (reply::parse_link(data), reply::parse_address(data), reply::parse_route(data));
});
