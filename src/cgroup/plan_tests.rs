use super::super::error::Missing;
use super::super::fixture::{Fixture, hybrid, legacy, unified};
use super::super::layout::Base;
use super::super::tree::CgroupTree;
use super::*;
use crate::util::blame::Explain;

fn sourced(line: u32, value: &str) -> Sourced<String> {
    let origin = Origin { file: Path::new("c1.conf").into(), line };
    Sourced { value: value.into(), origin }
}

/// `1 FILE=VALUE` and `2 FILE=VALUE`, one per line.
fn config(text: &[&str]) -> Config {
    let mut config = Config::default();
    for (n, line) in (1..).zip(text) {
        let (file, value) = line[2..].split_once('=').unwrap();
        let entry = (file.to_owned(), sourced(n, value));
        match line.as_bytes()[0] {
            b'1' => config.cgroup.v1.push(entry),
            _ => config.cgroup.v2.push(entry),
        }
    }
    config
}

fn planned(fixture: &Fixture, text: &[&str]) -> Result<CgroupPlan, CgroupError> {
    plan(&config(text), "c1", &fixture.layout(Base::Init), None)
}

/// `HIERARCHY FILE=VALUE` of each setting.
fn writes(fixture: &Fixture, text: &[&str]) -> Vec<String> {
    let plan = planned(fixture, text).unwrap();
    let line = |s: &Setting| {
        let h = &plan.hierarchies[s.hierarchy];
        let name = if h.version == Version::V2 { "v2" } else { h.controllers[0].as_str() };
        format!("{name} {}={}", s.candidates[0].0, s.candidates[0].1)
    };
    plan.settings.iter().map(line).collect()
}

fn names(change: impl FnOnce(&mut CgroupConfig)) -> Result<CgroupPlan, CgroupError> {
    let mut config = Config::default();
    change(&mut config.cgroup);
    plan_names(&config, "c1", None)
}

#[test]
fn default_names() {
    let plan = names(|_| {}).unwrap();
    assert_eq!(plan.monitor, Name { path: "lxc.monitor.c1".into(), numbered: true });
    assert_eq!(plan.payload, Name { path: "lxc.payload.c1".into(), numbered: true });
    assert_eq!(plan.pivot, "lxc.pivot");
    let plan = plan_names(&Config::default(), "c1", Some("box/%n")).unwrap();
    assert_eq!(plan.monitor.path, "box/c1/monitor");
    assert_eq!(plan.payload.path, "box/c1/payload");
}

#[test]
fn what_cannot_be_prepared_is_not_left_behind() {
    let fixture = legacy();
    let top = fixture.path().join("sys/fs/cgroup/cpuset");
    std::fs::create_dir(top.join("cpuset.cpus")).unwrap();
    for dir in [None, Some("a/b")] {
        let mut config = Config::default();
        config.cgroup.dir = dir.map(Into::into);
        let plan = plan(&config, "c1", &fixture.layout(Base::Init), None).unwrap();
        let failed = CgroupTree::create_monitor(&plan).unwrap_err();
        assert!(matches!(*failed, Fault::Prepare { .. }), "{failed}");
        for hierarchy in std::fs::read_dir(fixture.path().join("sys/fs/cgroup")).unwrap() {
            for below in std::fs::read_dir(hierarchy.unwrap().path()).unwrap() {
                let name = below.unwrap().file_name();
                assert!(["session", "cgroup.procs", "cpuset.cpus"].iter().any(|n| name == *n));
            }
        }
    }
}

#[test]
fn names_from_keys() {
    let plan = names(|c| c.dir = Some("a//b/".into())).unwrap();
    assert_eq!(plan.payload.path, "a/b/lxc.payload.c1");
    assert_eq!(plan.pivot, "a/b/lxc.pivot");
    let plan = names(|c| {
        c.dir_monitor = Some("m/one".into());
        c.dir_container = Some("p/one".into());
        c.dir_container_inner = Some("in".into());
        c.dir_monitor_pivot = Some("piv".into());
    })
    .unwrap();
    assert_eq!(plan.monitor, Name { path: "m/one".into(), numbered: false });
    assert_eq!((plan.inner.as_deref(), plan.pivot.as_str()), (Some("in"), "piv/lxc.pivot"));
}

#[test]
fn names_that_conflict() {
    let set = |m: bool, c: bool, d: bool, i: bool| {
        names(|cfg| {
            cfg.dir_monitor = m.then(|| "m".into());
            cfg.dir_container = c.then(|| "c".into());
            cfg.dir = d.then(|| "d".into());
            cfg.dir_container_inner = i.then(|| "i".into());
        })
    };
    assert!(matches!(set(true, true, true, false).map_err(|e| *e), Err(Fault::Conflict { .. })));
    assert!(matches!(set(false, true, true, false).map_err(|e| *e), Err(Fault::Conflict { .. })));
    assert!(matches!(set(true, false, false, false).map_err(|e| *e), Err(Fault::Requires { .. })));
    assert!(matches!(set(false, true, false, false).map_err(|e| *e), Err(Fault::Requires { .. })));
    assert!(matches!(set(false, false, false, true).map_err(|e| *e), Err(Fault::Requires { .. })));
    let same = names(|c| {
        c.dir_monitor = Some("x".into());
        c.dir_container = Some("x/".into());
    });
    assert!(matches!(same.map_err(|e| *e), Err(Fault::Conflict { .. })));
}

#[test]
fn names_that_leave_the_base() {
    for bad in ["/abs", "..", "a/../b", "/", "./."] {
        let got = names(|c| c.dir = Some(bad.into()));
        assert!(matches!(got.map_err(|e| *e), Err(Fault::BadPath { .. })), "{bad}");
    }
    let inner = names(|c| {
        c.dir_monitor = Some("m".into());
        c.dir_container = Some("c".into());
        c.dir_container_inner = Some("a/b".into());
    });
    assert!(matches!(inner.map_err(|e| *e), Err(Fault::BadPath { .. })));
}

#[test]
fn native_settings_are_written_as_they_are() {
    let text = ["1 memory.limit_in_bytes=64M", "1 cpu.shares=10", "1 cpuset.cpus=0"];
    let expected =
        ["memory memory.limit_in_bytes=64M", "cpu cpu.shares=10", "cpuset cpuset.cpus=0"];
    assert_eq!(writes(&legacy(), &text), expected);
    assert_eq!(writes(&hybrid(), &text), expected);
    let text = ["2 memory.high=5M", "2 cgroup.max.depth=3", "2 pids.max=max"];
    assert_eq!(
        writes(&unified(), &text),
        ["v2 memory.high=5M", "v2 cgroup.max.depth=3", "v2 pids.max=max"]
    );
    assert_eq!(writes(&hybrid(), &["2 hugetlb.2MB.max=0"]), ["v2 hugetlb.2MB.max=0"]);
}

#[test]
fn foreign_settings_are_translated() {
    let text = [
        "1 memory.memsw.limit_in_bytes=96M",
        "1 memory.limit_in_bytes=64M",
        "1 cpu.cfs_quota_us=5000",
        "1 cpu.cfs_period_us=10000",
        "1 freezer.state=THAWED",
        "1 blkio.weight=500",
    ];
    assert_eq!(
        writes(&unified(), &text),
        [
            "v2 memory.swap.max=33554432",
            "v2 memory.max=67108864",
            "v2 cpu.max=5000 10000",
            "v2 cgroup.freeze=0",
            "v2 io.weight=default 100",
        ]
    );
    let text = ["2 memory.swap.max=32M", "2 memory.max=64M", "2 cpu.max=1000 9000"];
    assert_eq!(
        writes(&hybrid(), &text),
        [
            "memory memory.limit_in_bytes=67108864",
            "cpu cpu.cfs_period_us=9000",
            "cpu cpu.cfs_quota_us=1000",
            "memory memory.memsw.limit_in_bytes=100663296",
        ]
    );
    assert_eq!(writes(&hybrid(), &["1 hugetlb.2MB.limit_in_bytes=0"]), ["v2 hugetlb.2MB.max=0"]);
}

#[test]
fn the_native_key_wins_over_the_foreign_one() {
    let text = [
        "1 memory.limit_in_bytes=64M",
        "1 memory.memsw.limit_in_bytes=80M",
        "1 cpu.cfs_quota_us=7",
        "2 memory.max=32M",
        "2 memory.swap.max=1M",
        "2 cpu.max=max",
    ];
    assert_eq!(
        writes(&hybrid(), &text),
        [
            "memory memory.limit_in_bytes=64M",
            "memory memory.memsw.limit_in_bytes=80M",
            "cpu cpu.cfs_quota_us=7",
        ]
    );
    assert_eq!(
        writes(&unified(), &text),
        ["v2 memory.max=32M", "v2 memory.swap.max=1M", "v2 cpu.max=max"]
    );
}

#[test]
fn what_has_no_meaning_is_an_error_with_its_line() {
    let error = planned(&unified(), &["2 pids.max=5", "1 memory.swappiness=0"]).unwrap_err();
    assert!(matches!(*error, Fault::NoMeaning { host: "v2", .. }));
    assert_eq!(error.origin().unwrap().to_string(), "c1.conf:2");
    assert!(error.to_string().starts_with("lxc.cgroup.memory.swappiness: "));
    let error = planned(&hybrid(), &["2 memory.high=1M"]).unwrap_err();
    assert!(matches!(*error, Fault::NoMeaning { host: "v1", .. }));
    assert!(planned(&hybrid(), &["2 memory.high=max"]).unwrap().settings.is_empty());
    let error = planned(&legacy(), &["2 cgroup.max.depth=3"]).unwrap_err();
    assert!(matches!(*error, Fault::NoMeaning { .. }));
    let error = planned(&unified(), &["1 memory.limit_in_bytes=many"]).unwrap_err();
    assert!(matches!(*error, Fault::BadValue { .. }));
    let error = planned(&unified(), &["2 ../memory.max=1"]).unwrap_err();
    assert!(matches!(*error, Fault::BadValue { .. }));
}

#[test]
fn a_missing_controller_is_an_error_with_its_line() {
    let error = planned(&unified(), &["2 rdma.max=x"]).unwrap_err();
    assert!(matches!(*error, Fault::NoController { why: Missing::Disabled, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("cgroup_enable=rdma"));
    let error = planned(&hybrid(), &["1 net_cls.classid=1"]).unwrap_err();
    assert!(matches!(*error, Fault::NoController { why: Missing::NotMounted, .. }));
    let error = planned(&hybrid(), &["1 tasks=1"]).unwrap_err();
    assert!(matches!(*error, Fault::NoController { why: Missing::Unknown, .. }));
    let fixture = hybrid();
    let layout = fixture.layout(Base::Init);
    let error = plan(&config(&["1 blkio.weight=10"]), "c1", &layout, None).unwrap_err();
    assert!(error.to_string().contains("'blkio'"), "{error}");
}

const COMMON: [&str; 6] = [
    "1 devices.deny=a",
    "1 devices.allow=c *:* m",
    "1 devices.allow=c 1:3 rwm",
    "2 devices.deny=a",
    "2 devices.allow=c *:* m",
    "2 devices.allow=c 1:5 rwm",
];

fn v1_device_lines(plan: &CgroupPlan) -> Vec<String> {
    let DevicePlan::V1 { lines, .. } = &plan.devices else { panic!("{:?}", plan.devices) };
    lines.iter().map(|l| format!("{}{}", if l.allow { '+' } else { '-' }, l.line)).collect()
}

#[test]
fn device_lists_go_where_devices_are_restricted() {
    let plan = planned(&hybrid(), &COMMON).unwrap();
    assert_eq!(v1_device_lines(&plan), ["-a", "+c *:* m", "+c 1:3 rwm"]);
    assert!(plan.settings.is_empty());
    let plan = planned(&unified(), &COMMON).unwrap();
    let DevicePlan::Program { list, origin, .. } = &plan.devices else { panic!() };
    let mut expected = DeviceList::default();
    for (text, allow) in [("a", false), ("c *:* m", true), ("c 1:5 rwm", true)] {
        expected.push(DeviceLine::parse(text, allow).unwrap());
    }
    assert_eq!((list, origin.line), (&expected, 4));
}

#[test]
fn device_lists_of_the_other_version() {
    let plan = planned(&legacy(), &["2 devices.allow=c 1:3 rw"]).unwrap();
    assert_eq!(v1_device_lines(&plan), ["-a", "+c 1:3 rw"]);
    let plan = planned(&unified(), &["1 devices.allow=c 1:3 rw"]).unwrap();
    assert_eq!(plan.devices, DevicePlan::None);
    let plan = planned(&unified(), &["1 devices.deny=c 1:3 rw"]).unwrap();
    let DevicePlan::Program { list, .. } = &plan.devices else { panic!() };
    assert!(list.default_allow());
}

#[test]
fn bad_device_lines() {
    for host in [hybrid(), unified()] {
        let error = planned(&host, &["2 devices.allow=c 1 rw"]).unwrap_err();
        assert!(matches!(*error, Fault::BadValue { .. }));
        let error = planned(&host, &["2 devices.allow=/dev/nonesuch"]).unwrap_err();
        assert!(matches!(*error, Fault::NoDevice { .. }));
        let error = planned(&host, &["2 devices.list=a"]).unwrap_err();
        assert!(matches!(*error, Fault::BadValue { .. }));
    }
}

#[test]
fn the_plan_can_be_shown() {
    let plan = planned(&hybrid(), &["1 cpu.shares=7", "1 devices.deny=a"]).unwrap();
    let text = plan.to_string();
    assert!(text.contains("/cpu/lxc.payload.c1/cpu.shares 7 (c1.conf:1)"), "{text}");
    assert!(text.contains("/devices/lxc.payload.c1/devices.deny a (c1.conf:2)"), "{text}");
}
