//! Any text as a mount entry: refused, or planned with a target that stays below the root file
//! system whatever its dots and slashes were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::Config;
use lxcbox::mount::fstab::parse_line;
use lxcbox::mount::{Inputs, RootSource, plan};
use lxcbox::util::blame::{Origin, Sourced};
use std::path::{Component, Path};

const SEEDS: [&str; 10] = [
    "proc proc proc nodev,noexec,nosuid 0 0",
    "sysfs sys sysfs ro,strictatime 0 0 # read only",
    "/home/a\\040b home/a\\134b none bind,create=dir,optional 0 0",
    "/etc/hosts /srv/root/etc/hosts none rbind,ro,create=file",
    "srv/x ../srv/./y none bind,relative,idmap=container",
    "/data /data none bind,idmap=/proc/1/ns/user,rslave",
    "tmpfs run tmpfs size=1m,mode=755,noatime,sync,lazytime,x-systemd.automount",
    "overlay mnt overlay lowerdir=/a:/b\\\\:c,upperdir=/u,workdir=/w",
    "/dev/sda1 mnt ext4 move,shared,dirsync,mand,nosymfollow\n# one\n\nproc proc proc",
    "none / tmpfs defaults",
];

/// As fstab(5) writes a field.
fn escape(path: &Path) -> String {
    let escape = |c: char| match c {
        ' ' | '\t' | '\n' | '\\' => format!("\\{:03o}", c as u32),
        _ => c.to_string(),
    };
    path.to_str().expect("it came from text").chars().map(escape).collect()
}

/// What was read is written and read again: the same.
fn reads_back(line: &str) {
    let origin = Origin::label("fuzz");
    let Ok(Some(entry)) = parse_line(line, &origin) else { return };
    // A comment, or no field at all, is what these would become.
    let odd = |field: &str| field.is_empty() || field.contains(['\r', '\x0c', '#']);
    let (source, target) = (escape(&entry.source), escape(&entry.target));
    let fs_type = escape(Path::new(&entry.fs_type));
    if [&source, &target, &fs_type].into_iter().any(|field| odd(field)) {
        return;
    }
    let Some(options) = line.split_ascii_whitespace().nth(3) else { return };
    let again = format!("{source} {target} {fs_type} {options}");
    let again = parse_line(&again, &origin).expect("a line").expect("not a comment");
    assert_eq!(again, entry);
}

fuzz_target!(init: lxcbox_fuzz::seed(SEEDS), |line: &str| {
    reads_back(line);
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
