//! Any text as a mount entry: refused, or planned with a target that stays below the root file
//! system whatever its dots and slashes were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::Config;
use lxcbox::mount::{Inputs, RootSource, plan};
use lxcbox::util::blame::{Origin, Sourced};
use std::path::{Component, Path};

fuzz_target!(|line: &str| {
    for root in [None, Some(RootSource::Dir("/srv/root".into()))] {
        let mut config = Config::default();
        config.mount_entries.push(Sourced { value: line.to_owned(), origin: Origin::label("fuzz") });
        config.rootfs.options = Some(line.to_owned());
        let inputs = Inputs {
            lxcpath: Path::new("/var/lib/lxc"),
            name: "c",
            root,
            mount_point: Path::new("/mnt"),
            fstab: Vec::new(),
        };
        let whole = plan::plan(&config, &inputs);
        config.rootfs.options = None;
        for plan in whole.into_iter().chain(plan::plan(&config, &inputs)) {
            let _ = plan.to_string();
            for entry in &plan.entries {
                let plain = |part| matches!(part, Component::Normal(_));
                assert!(entry.target.components().all(plain), "{entry:?}");
                assert_ne!(entry.target, Path::new(""));
            }
        }
    }
});
