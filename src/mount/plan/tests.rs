use super::*;
use crate::config::{Autodev, IdKind, IdMapEntry};
use crate::util::blame::Sourced;

fn inputs<'a>(root: Option<RootSource>, mount_point: &'a str) -> Inputs<'a> {
    Inputs {
        lxcpath: Path::new("/var/lib/lxc"),
        name: "c1",
        root,
        mount_point: Path::new(mount_point),
        fstab: Vec::new(),
    }
}

fn dir() -> Option<RootSource> {
    Some(RootSource::Dir("/srv/root".into()))
}

fn with_entry(line: &str) -> Config {
    let mut config = Config::default();
    let origin = Origin { file: Path::new("/c/config").into(), line: 7 };
    config.mount_entries.push(Sourced { value: line.to_owned(), origin });
    config
}

fn target_of(line: &str, root: Option<RootSource>) -> Result<PathBuf, FstabProblem> {
    match plan(&with_entry(line), &inputs(root, "/usr/lib/lxc/rootfs")) {
        Ok(plan) => Ok(plan.entries[0].target.clone()),
        Err(error) => match *error {
            Fault::Line { problem, origin, .. } => {
                assert_eq!(origin.line, 7);
                Err(problem)
            }
            other => panic!("{other:?}"),
        },
    }
}

#[test]
fn targets_below_the_rootfs() {
    for (target, want) in [
        ("mnt", "mnt"),
        ("./mnt//x/", "mnt/x"),
        ("a/../b", "b"),
        ("/var/lib/lxc/c1/rootfs/mnt", "mnt"),
        ("//var/lib/lxc/c1/rootfs/mnt", "mnt"),
        ("/srv/root/a/b", "a/b"),
        ("/usr/lib/lxc/rootfs/dev/shm", "dev/shm"),
    ] {
        let got = target_of(&format!("/x {target} none bind"), dir());
        assert_eq!(got, Ok(PathBuf::from(want)), "{target}");
    }
    for (target, want) in [
        ("..", FstabProblem::TargetEscapes),
        ("a/../../b", FstabProblem::TargetEscapes),
        ("/srv/root/../../etc", FstabProblem::TargetEscapes),
        (".", FstabProblem::TargetIsRoot),
        ("/", FstabProblem::TargetElsewhere("/".into())),
        ("a/..", FstabProblem::TargetIsRoot),
        ("/var/lib/lxc/c1/rootfs", FstabProblem::TargetIsRoot),
        ("/etc", FstabProblem::TargetElsewhere("/etc".into())),
        ("/srv/root2/x", FstabProblem::TargetElsewhere("/srv/root2/x".into())),
    ] {
        assert_eq!(target_of(&format!("/x {target} none bind"), dir()), Err(want), "{target}");
    }
    // Without a rootfs every target is below the host's root.
    assert_eq!(target_of("/x /etc/y none bind", None), Ok(PathBuf::from("etc/y")));
}

#[test]
fn optional_entries_that_cannot_be_placed_are_warned_about() {
    let plan = plan(&with_entry("/x /etc none bind,optional"), &inputs(dir(), "/m")).unwrap();
    assert!(plan.entries.is_empty());
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.warnings[0].contains("/c/config:7"), "{}", plan.warnings[0]);
}

#[test]
fn idmap_needs_a_user_namespace() {
    let mut config = with_entry("/x mnt none bind,idmap=container");
    let refused = plan(&config, &inputs(dir(), "/m")).unwrap_err();
    assert!(matches!(*refused, Fault::NoIdMap { .. }));
    config.idmap.push(Sourced {
        value: IdMapEntry { kind: IdKind::Uid, ns: 0, host: 100_000, range: 65536 },
        origin: Origin::label("t"),
    });
    let planned = plan(&config, &inputs(dir(), "/m")).unwrap();
    assert!(planned.user_ns);
    assert_eq!(planned.idmapped().count(), 1);
    assert!(planned.root_idmap().is_none());
    config.rootfs.options = Some("idmap=container,ro".into());
    let planned = plan(&config, &inputs(dir(), "/m")).unwrap();
    assert_eq!(planned.root_idmap(), Some(&IdMapFrom::Container));
}

#[test]
fn rootfs_options_are_for_mounts_only() {
    for (options, bad) in [
        ("optional", true),
        ("create=dir", true),
        ("relative", true),
        ("move", true),
        ("size=1", true),
        ("ro,nosuid,rslave", false),
    ] {
        let mut config = Config::default();
        config.rootfs.options = Some(options.into());
        let planned = plan(&config, &inputs(dir(), "/m"));
        assert_eq!(planned.is_err(), bad, "{options}");
    }
}

#[test]
fn every_auto_combination() {
    let kinds = [AutoCgroupKind::Own, AutoCgroupKind::Full, AutoCgroupKind::Unified];
    let modes =
        [None, Some(AutoCgroupMode::Ro), Some(AutoCgroupMode::Mixed), Some(AutoCgroupMode::Rw)];
    for kind in kinds {
        for mode in modes {
            for force in [false, true] {
                for admin in [false, true] {
                    let mut config = Config::default();
                    config.mount_auto.cgroup = Some(AutoCgroup { kind, mode, force });
                    if !admin {
                        let origin = Origin::label("t");
                        config.caps.drop.push(Sourced { value: Cap::SYS_ADMIN, origin });
                    }
                    let got = plan(&config, &inputs(dir(), "/m")).unwrap().cgroup.unwrap();
                    let unified = kind == AutoCgroupKind::Unified;
                    assert_eq!(got.kind, kind);
                    // Who cannot remount gets it mounted, and mixed by default.
                    assert_eq!(got.force, force || unified || !admin);
                    let default = match admin || unified {
                        true => AutoCgroupMode::Rw,
                        false => AutoCgroupMode::Mixed,
                    };
                    assert_eq!(got.mode, mode.unwrap_or(default));
                }
            }
        }
    }
    for proc in [None, Some(AutoProc::Mixed), Some(AutoProc::Rw)] {
        for sys in [None, Some(AutoSys::Ro), Some(AutoSys::Mixed), Some(AutoSys::Rw)] {
            let mut config = Config::default();
            config.mount_auto.proc = proc;
            config.mount_auto.sys = sys;
            let got = plan(&config, &inputs(dir(), "/m")).unwrap();
            assert_eq!((got.proc, got.sys, got.proc_net), (proc, sys, true));
        }
    }
}

#[test]
fn defaults_and_additions() {
    let mut config = Config::default();
    let got = plan(&config, &inputs(dir(), "/m")).unwrap();
    assert_eq!((got.dev, got.cgroup, got.user_ns), (Some(500_000), None, false));
    assert_eq!(got.mount_point(), Path::new("/m"));
    config.autodev = Autodev { enabled: false, tmpfs_size: 0 };
    config.apparmor.allow_nesting = true;
    let origin = Origin::label("t");
    config.caps.drop.push(Sourced { value: Cap::NET_ADMIN, origin });
    let got = plan(&config, &inputs(None, "/m")).unwrap();
    assert_eq!((got.dev, got.proc_net), (None, false));
    assert_eq!(got.mount_point(), Path::new("/"));
    let targets: Vec<_> = got.entries.iter().map(|e| e.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["dev/.lxc/proc", "dev/.lxc/sys"]);
    config.mount_auto.shmounts = Some(ShMounts { host: "/shm".into(), container: "/../up".into() });
    assert!(plan(&config, &inputs(dir(), "/m")).is_err());
}

#[test]
fn the_plan_prints() {
    let mut config = with_entry("/data mnt none rbind,optional,create=dir 0 0");
    config.mount_auto.proc = Some(AutoProc::Mixed);
    config.mount_auto.sys = Some(AutoSys::Mixed);
    config.rootfs.options = Some("ro".into());
    let text = plan(&config, &inputs(dir(), "/m")).unwrap().to_string();
    assert_eq!(
        text,
        "mount / from dir:/srv/root at /m (ro)\n\
         mount /dev tmpfs size=500000\n\
         mount /proc proc, /proc/sys ro, /proc/sys/net rw\n\
         mount /sys sysfs ro, /sys/devices/virtual/net rw\n\
         mount /mnt from /data rbind (optional) [/c/config:7]\n"
    );
}
