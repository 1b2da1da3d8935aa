//! AppArmor: the profiles that the boot scripts load, the one of a container's own, and what is said
//! where there is none. Profiles are the whole kernel's, so only in the emulated machine.

use crate::machine::Machine;
use std::fs;

/// What LXC's packages have there, as short as it can be.
const PROFILES: &str = "\
profile lxc-container-default-cgns flags=(attach_disconnected,mediate_deleted) {
  file, capability, network, signal, ptrace, umount, pivot_root,
  mount fstype=tmpfs,
}
";

#[test]
fn profiles_are_loaded_at_the_boot_and_confine() {
    let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if std::env::var_os("LXCBOX_TEST_VM").is_none() || on.trim() != "Y" {
        println!("skipped: no emulated machine with AppArmor");
        return;
    }
    let m = Machine::new();
    let etc = m.dir.join("etc");
    fs::create_dir_all(etc.join("apparmor.d/disable")).unwrap();
    let helper = m.dir.join("lxc-containers");
    let text = include_str!("../../share/boot/lxc-containers");
    fs::write(&helper, text.replace("@SYSCONFDIR@", &etc.display().to_string())).unwrap();
    let reload = || m.sh(&format!("sh {} reload", helper.display()));
    let file = etc.join("apparmor.d/lxc-containers");
    let loaded = || m.sh("cat /sys/kernel/security/apparmor/profiles").ok();

    let c = m.container("armor", "lxc.net.0.type = empty\n");
    let start = |profile: &str| {
        let config = fs::read_to_string(m.config(&c)).unwrap();
        let lines = config.lines().filter(|line| !line.starts_with("lxc.apparmor.profile"));
        let mut lines: String = lines.flat_map(|line| [line, "\n"]).collect();
        if !profile.is_empty() {
            lines.push_str(&format!("lxc.apparmor.profile = {profile}\n"));
        }
        fs::write(m.config(&c), lines).unwrap();
        m.lxc("start", &["-n", &c])
    };
    let label = || {
        let label = m.sh(&format!("cat /proc/{}/attr/current", m.init_pid(&c))).ok();
        let mounts = |kind| m.inside(&c, &format!("mount -t {kind} none /mnt")).status == 0;
        // Each takes the label anew, in a race of two processes.
        for _ in 0..10 {
            m.inside(&c, "true").ok();
        }
        let seen = (label.trim().to_owned(), mounts("tmpfs"), mounts("securityfs"));
        m.lxc("stop", &["-n", &c, "-k"]).ok();
        seen
    };

    // Nobody has loaded anything: it runs, and whoever started it knows.
    reload().ok();
    assert_eq!(loaded(), "");
    let said = start("");
    assert!(said.stderr.contains("profile lxc-container-default-cgns is not loaded"), "{said:?}");
    said.ok();
    assert_eq!(label(), ("unconfined".into(), true, true));
    assert_eq!(start("unconfined").stderr, "");
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    let said = start("nosuch").fails(1);
    assert!(said.contains("AppArmor profile 'nosuch' is not loaded") && said.contains("hint: "));

    // An administrator's link in `disable` keeps them out.
    fs::write(&file, PROFILES).unwrap();
    fs::write(etc.join("apparmor.d/disable/lxc-containers"), "").unwrap();
    reload().ok();
    assert_eq!(loaded(), "");
    fs::remove_file(etc.join("apparmor.d/disable/lxc-containers")).unwrap();
    reload().ok();
    assert_eq!(loaded(), "lxc-container-default-cgns (enforce)\n");
    assert_eq!(start("").stderr, "");
    assert_eq!(label(), ("lxc-container-default-cgns (enforce)".into(), true, false));

    // One of its own, which goes with it.
    assert_eq!(start("generated").stderr, "");
    let (own, tmpfs, securityfs) = label();
    assert!(own.starts_with(&format!("lxc-{c}_<")) && own.ends_with("(enforce)"), "{own}");
    assert!(tmpfs && !securityfs);
    assert_eq!(loaded(), "lxc-container-default-cgns (enforce)\n");

    // What the parser does not take is told, and is no success.
    fs::write(&file, "profile lxc-container-default-cgns {\n").unwrap();
    assert_ne!(reload().status, 0);
}
