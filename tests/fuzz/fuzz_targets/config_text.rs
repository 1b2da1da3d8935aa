//! Any bytes as a configuration: loading never panics; what loads is saved as it was and means
//! the same when it is read again; and every edit changes text and meaning alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::document::{Loaded, parse};
use lxcbox::config::embedded;
use lxcbox::config::keys::{self, OLD_NAMES, Options};
use std::path::Path;

/// Most keys of one input that are edited.
const EDITS: usize = 12;

fn options() -> Options {
    Options { random: || Ok([0x5a; 17]), env: |_| None }
}

fn read(bytes: Vec<u8>) -> Option<Loaded> {
    parse(bytes, Path::new("fuzz"), &options()).ok()
}

/// Each row's example, all that go together, and the files that come with the program.
fn seeds() -> Vec<String> {
    let rows = keys::reference().into_iter().map(|row| format!("{}\n", row.example));
    let kind = |line: &str| match line.split('.').nth(3) {
        Some("vlan") => "lxc.net.0.type = vlan\n",
        Some("macvlan") => "lxc.net.0.type = macvlan\n",
        Some("ipvlan") => "lxc.net.0.type = ipvlan\n",
        _ if line.starts_with("lxc.net.0.") => "lxc.net.0.type = veth\n",
        _ => "",
    };
    let mut seeds: Vec<String> = rows.map(|line| format!("{}{line}", kind(&line))).collect();
    let mut all = String::new();
    for line in &seeds {
        let longer = format!("{all}{line}");
        if !line.starts_with("lxc.include") && read(longer.clone().into()).is_some() {
            all = longer;
        }
    }
    seeds.push(all);
    seeds.extend(OLD_NAMES.iter().map(|old| format!("{} = 1\n", old.old)));
    for name in ["common.conf", "userns.conf", "debian.common.conf", "openwrt.common.conf"] {
        let text = embedded::find(&Path::new("/usr/share/lxc/config").join(name));
        seeds.push(text.expect("it is in the program").to_owned());
    }
    seeds.push(embedded::default_conf().to_owned());
    seeds
}

/// Values and lists, without where they were written.
fn meaning(loaded: &Loaded) -> Vec<(String, String)> {
    let keys = keys::list(&loaded.config, "").into_iter();
    keys.map(|key| (loaded.get(&key).expect("what is listed can be read"), key)).collect()
}

fn same_after_saving(loaded: &Loaded, edit: &str) {
    let text = loaded.document.bytes();
    let again = read(text.clone()).unwrap_or_else(|| panic!("after {edit}: {text:?}"));
    assert_eq!(meaning(&again), meaning(loaded), "after {edit}: {}", text.escape_ascii());
    assert_eq!(again.config.rootfs, loaded.config.rootfs, "after {edit}");
}

fuzz_target!(init: lxcbox_fuzz::seed(seeds()), |bytes: &[u8]| {
    // Including the files of the machine that fuzzes tells nothing.
    if bytes.windows(11).any(|window| window == b"lxc.include") {
        return;
    }
    let Some(loaded) = read(bytes.to_vec()) else { return };
    let text = loaded.document.bytes();
    let again = read(text.clone()).expect("what was saved loads");
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.document.bytes(), text);
    let listed = meaning(&loaded);
    for (value, key) in listed.iter().take(EDITS) {
        let mut edited = loaded.clone();
        edited.clear(key).expect("what is listed can be cleared");
        same_after_saving(&edited, &format!("clearing {key}"));
        for line in value.lines() {
            // A value that a line cannot hold is refused and nothing changes.
            let _ = edited.set(key, line, &options());
            same_after_saving(&edited, &format!("setting {key} to {line:?}"));
        }
    }
});
