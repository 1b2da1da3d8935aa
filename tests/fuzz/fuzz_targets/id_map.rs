//! Any lines as `lxc.idmap`: refused, or a map that no id is in twice, that reads back to itself,
//! and that leads from the container to the host and home again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::document::parse;
use lxcbox::config::keys::Options;
use lxcbox::config::{Config, IdKind};
use lxcbox::idmap::{HostId, IdMap, NsId};
use std::path::Path;

const SEEDS: [&str; 4] = [
    "u 0 100000 65536\ng 0 100000 65536\n",
    "u 0 100000 1000\nu 1000 1000 1\nu 1001 101001 64535\ng 0 200000 4294767295\n",
    "g 0 0 1\nu 0 0 1\n",
    "u 4294967290 5 5\ng 5 4294967290 5\nu 0 1 2\nu 1 9 2\n",
];

fn config(lines: &str) -> Option<Config> {
    let text: String = lines.lines().map(|line| format!("lxc.idmap = {line}\n")).collect();
    let options = Options { random: || Ok([0; 17]), env: |_| None };
    parse(text.into(), Path::new("fuzz"), &options).ok().map(|loaded| loaded.config)
}

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |lines: &str| {
    let Some(config) = config(lines) else { return };
    let Ok(Some(map)) = IdMap::from_config(&config) else { return };
    for kind in [IdKind::Uid, IdKind::Gid] {
        let extents = map.extents(kind);
        assert!((1..=340).contains(&extents.len()));
        for (n, e) in extents.iter().enumerate() {
            assert!(e.count > 0);
            let (ns_end, host_end) = (e.ns.0.checked_add(e.count), e.host.0.checked_add(e.count));
            let (ns_end, host_end) = (ns_end.expect("in range"), host_end.expect("in range"));
            for other in &extents[..n] {
                assert!(ns_end <= other.ns.0 || e.ns.0 >= other.ns.0 + other.count);
                assert!(host_end <= other.host.0 || e.host.0 >= other.host.0 + other.count);
            }
            for offset in [0, e.count / 2, e.count - 1] {
                let (ns, host) = (NsId(e.ns.0 + offset), HostId(e.host.0 + offset));
                assert_eq!(map.to_host(kind, ns), Some(host));
                assert_eq!(map.to_ns(kind, host), Some(ns));
            }
            // The id behind the last one is another extent's, or nobody's.
            if let Some(host) = map.to_host(kind, NsId(ns_end)) {
                assert_eq!(map.to_ns(kind, host), Some(NsId(ns_end)));
            }
        }
        assert_eq!(map.to_host(kind, NsId(u32::MAX)), None);
        assert_eq!(map.to_ns(kind, HostId(u32::MAX)), None);
        assert_eq!(map.text(kind).lines().count(), extents.len());
    }
    let again = self::config(&map.to_string()).expect("what is shown can be written");
    assert_eq!(IdMap::from_config(&again).expect("it is the same map"), Some(map));
});
