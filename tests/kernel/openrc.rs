//! A Debian without systemd: sysvinit as process 1 and OpenRC's runlevels, as near as Debian's
//! packages come to the boot of Alpine. Boots to its default runlevel, gets its address from
//! udhcpc, reboots from inside and by lxc-stop -r, shuts down cleanly. The same with OpenRC's own
//! process 1.
//!
//! Made once from the root file system of `systemd.rs` and kept beside it.

use crate::machine::eventually;
use crate::systemd::{debian_with, reboots, stops, until_address, with_copy};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::Mutex;

const INSTALL: &str = "export DEBIAN_FRONTEND=noninteractive\n\
    apt-get update -q && apt-get install -y -q --no-install-recommends \
    --allow-remove-essential sysvinit-core openrc ifupdown udhcpc systemd-sysv-";

/// One getty on the console, and what LXC's signals mean: SIGPWR to halt, SIGINT to reboot.
const INITTAB: &str = "\
id:2:initdefault:
si::sysinit:/etc/init.d/rcS
l0:0:wait:/etc/init.d/rc 0
l2:2:wait:/etc/init.d/rc 2
l6:6:wait:/etc/init.d/rc 6
pf::powerwait:/sbin/shutdown -h now
ca::ctrlaltdel:/sbin/shutdown -r now
co:2:respawn:/sbin/getty --noclear 38400 console
";

/// The root file system, made if it is not there yet.
pub fn openrc() -> PathBuf {
    /// Two tests need it.
    static MAKING: Mutex<()> = Mutex::new(());
    debian_with("openrc", &MAKING, INSTALL, &|root| {
        fs::write(root.join("etc/inittab"), INITTAB).unwrap();
        let interfaces = "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n";
        fs::write(root.join("etc/network/interfaces"), interfaces).unwrap();
    })
}

#[test]
fn sysvinit_and_openrc_boot_reboot_and_shut_down() {
    let log = "console.log";
    let (m, name) = with_copy(&openrc(), "openrc", "");
    let log = m.dir.join(log);
    let config = fs::read_to_string(m.config(&name)).unwrap();
    let with_log = format!("{config}lxc.console.logfile = {}\n", log.display());
    fs::write(m.config(&name), with_log).unwrap();
    // As Debian has it: SIGPWR and SIGINT halt and reboot nothing, so init is asked by telinit.
    let told = INITTAB.lines().filter(|line| !line.contains("/sbin/shutdown"));
    let inittab = m.lxcpath().join(&name).join("rootfs/etc/inittab");
    fs::write(inittab, told.flat_map(|line| [line, "\n"]).collect::<String>()).unwrap();
    // A login prompt on the console is the last thing of a boot.
    let prompts = || fs::read_to_string(&log).unwrap_or_default().matches("login:").count();
    let boots = |count| eventually(60, "a login prompt", || (prompts() >= count).then_some(()));

    m.start(&name);
    boots(1);
    let level = m.lxc("attach", &["-n", &name, "--", "/sbin/runlevel"]).ok();
    assert_eq!(level.trim(), "N 2");
    let services = m.lxc("attach", &["-n", &name, "--", "rc-status", "-s"]).ok();
    assert!(!services.contains("crashed"), "{services}");
    let dbus = services.lines().find(|line| line.trim_start().starts_with("dbus "));
    assert!(dbus.is_some_and(|line| line.contains("started")), "{services}");
    until_address(&m);

    reboots(&m, &name, &["/sbin/reboot"]);
    boots(2);
    m.lxc("stop", &["-n", &name, "-r"]).ok();
    boots(3);
    until_address(&m);
    stops(&m, &name);
    assert!(fs::read_to_string(&log).unwrap().contains("Will now halt"));
}

/// Notes each boot in /boots, each end of one in /ends.
const NOTES: &str = "\
#!/sbin/openrc-run
depend() { after *; }
start() { echo >>/boots; }
stop() { echo >>/ends; }
";

#[test]
fn openrc_init_boots_reboots_and_shuts_down() {
    let (m, name) = with_copy(&openrc(), "openrcinit", "");
    let root = m.lxcpath().join(&name).join("rootfs");
    let script = root.join("etc/init.d/notes");
    fs::write(&script, NOTES).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/init.d/notes", root.join("etc/runlevels/default/notes")).unwrap();
    // Four boots: without what takes long and is in the test above.
    for service in ["udev", "networking", "hwclock.sh", "procps", "urandom"] {
        fs::remove_file(root.join("etc/runlevels/sysinit").join(service)).unwrap();
    }
    fs::remove_file(root.join("sbin/init")).unwrap();
    symlink("openrc-init", root.join("sbin/init")).unwrap();
    let count = |file| fs::read(root.join(file)).unwrap_or_default().len();
    // Until then `openrc` still works on the boot; another one for a reboot would end in a boot
    // that stands still.
    let listens = || m.lxc("attach", &["-n", &name, "--", "test", "-p", "/run/openrc/init.ctl"]);
    let boots = |boot| {
        eventually(60, "the boot", || (count("boots") == boot).then_some(()));
        eventually(30, "init's pipe", || (listens().status == 0).then_some(()));
        assert_eq!(count("ends"), boot - 1);
    };

    m.start(&name);
    boots(1);
    reboots(&m, &name, &["openrc-shutdown", "--reboot", "now"]);
    boots(2);
    m.lxc("stop", &["-n", &name, "-r"]).ok();
    boots(3);
    m.lxc("attach", &["-n", &name, "--", "openrc-shutdown", "--poweroff", "now"]);
    eventually(60, "the end", || (m.state(&name) == "STOPPED").then_some(()));
    assert_eq!(count("ends"), 3);
    m.start(&name);
    boots(4);
    stops(&m, &name);
    assert_eq!(count("ends"), 4);
}
