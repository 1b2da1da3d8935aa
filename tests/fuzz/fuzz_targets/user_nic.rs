//! What the setuid program lxc-user-nic reads: its command line, /etc/lxc/lxc-usernet and
//! /run/lxc/nics. A command line is refused or names interfaces and a process, nothing else; a line
//! counts for whom it names and nobody else; the database keeps every line that is not meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::usernic::nics::{Entry, Nics};
use lxcbox::usernic::policy::{Named, grants};
use lxcbox::usernic::{Verb, parse};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A command line, an empty line, lxc-usernet, an empty line, the database.
const SEEDS: [&[u8]; 4] = [
    b"create /p c1 12 veth br0 eth0\n\neva veth br0 2\n@net veth br0 3 # more\n\n\
      eva veth br0 veth1_a\n@net veth br0 veth1_c\nevan veth br0 veth2_a\n",
    b"create /p c1 12 veth none\n\neva veth none 4294967295\neva veth none 1\n\neva veth none x\n",
    b"delete /p c1 /proc/12/ns/net veth ovs0 veth1000_AbCd\n\n\teva  veth\tovs0 1\n\nodd line\n\n",
    b"create /p c1 012 veth br%d eth%d\n\n@eva veth br%d -1\n\n@eva veth br%d \n",
];

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |bytes: &[u8]| {
    let mut parts = [&b""[..]; 3];
    let mut rest = bytes;
    for part in &mut parts {
        let end = rest.windows(2).position(|two| two == b"\n\n").unwrap_or(rest.len());
        (*part, rest) = (&rest[..end], rest.get(end + 2..).unwrap_or_default());
    }
    let words: Vec<OsString> =
        parts[0].split(|b| *b == b' ').map(|word| OsString::from_vec(word.to_vec())).collect();
    let [usernet, database] = [parts[1], parts[2]].map(String::from_utf8_lossy);
    let mut bridge = "br0".to_owned();
    if let Ok(request) = parse(&words) {
        assert_eq!(request.kind, "veth");
        is_interface(&request.bridge);
        match &request.verb {
            Verb::Create { nic, .. } => {
                nic.iter().filter(|nic| !nic.contains('%')).for_each(|nic| is_interface(nic));
            }
            Verb::Delete { nic, .. } => is_interface(nic),
        }
        bridge = request.bridge;
    }
    // Blanks of other alphabets, and what begins a comment, no line can hold.
    if !bridge.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return;
    }
    policy(&usernet, &bridge);
    lines(&database, &usernet, &bridge);
});

fn is_interface(name: &str) {
    assert!((1..16).contains(&name.len()) && !name.starts_with('-'), "{name:?}");
    assert!(!name.contains(['/', ' ', '\n', '\t', ':', '\0']), "{name:?}");
}

fn eva() -> Named {
    Named { user: "eva".into(), groups: vec!["net".into(), "eva".into()] }
}

fn policy(usernet: &str, bridge: &str) {
    let found = grants(usernet, &eva(), "veth", bridge);
    for (n, grant) in found.iter().enumerate() {
        assert!(["eva", "@net", "@eva"].contains(&&*grant.owner), "{grant:?}");
        assert!(found[..n].iter().all(|other| other.owner != grant.owner));
    }
    // Nobody else is given anything by these lines, and no line of another takes anything away.
    let other = Named { user: "@net".into(), groups: Vec::new() };
    assert!(grants(usernet, &other, "veth", bridge).is_empty());
    let more = format!("evan veth {bridge} 7\n{usernet}\n@nets veth {bridge} 7\n");
    assert_eq!(grants(&more, &eva(), "veth", bridge), found);
    let more = format!("{usernet}\neva veth {bridge} 7\n");
    let sum = |all: &[lxcbox::usernic::policy::Grant]| {
        all.iter().find(|g| g.owner == "eva").map_or(0, |g| g.limit)
    };
    assert_eq!(sum(&grants(&more, &eva(), "veth", bridge)), sum(&found).saturating_add(7));
}

fn lines(database: &str, usernet: &str, bridge: &str) {
    let mut nics = Nics::parse(&database.replace('\r', " "));
    let before = nics.text();
    assert_eq!(Nics::parse(&before).text(), before);
    let found = grants(usernet, &eva(), "veth", bridge);
    nics.cull(&found, "veth", bridge, &mut |_| true);
    assert_eq!(nics.text(), before, "what is there is not forgotten");
    let count = nics.count("eva", "veth", bridge);
    let entry = Entry::new("eva", "veth", bridge, "veth-of-eva-0123");
    if nics.has(&entry) {
        return;
    }
    nics.add(&entry);
    assert!(nics.has(&entry));
    assert_eq!(nics.count("eva", "veth", bridge), count + 1);
    nics.remove(&entry);
    assert!(!nics.has(&entry));
    nics.cull(&found, "veth", bridge, &mut |_| false);
    let gone: Vec<String> =
        found.iter().map(|grant| format!("{} veth {bridge} ", grant.owner)).collect();
    let stays = |line: &&str| !gone.iter().any(|start| line.starts_with(start.as_str()));
    let stay: Vec<&str> = before.lines().filter(stays).collect();
    assert_eq!(nics.text().lines().collect::<Vec<_>>(), stay);
    assert!(found.iter().all(|grant| nics.count(&grant.owner, "veth", bridge) == 0));
}
