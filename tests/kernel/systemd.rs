//! A full Debian with systemd, from debootstrap: boots to `running`, gets its address by DHCP,
//! reboots from inside, shuts down cleanly; with and without a user namespace.
//!
//! The root file system is made once and kept beside the build (LXCBOX_TEST_CACHE); every test
//! works on a copy.

use crate::machine::{Machine, eventually, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,udev,procps";
const MIRROR: &str = "http://deb.debian.org/debian";

/// One debootstrap at a time.
static MAKING: Mutex<()> = Mutex::new(());

/// Where root file systems are kept.
pub fn cache() -> PathBuf {
    std::env::var_os("LXCBOX_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).to_path_buf(), PathBuf::from)
}

/// The root file system, made if it is not there yet.
pub fn debian() -> PathBuf {
    let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = cache();
    let root = cache.join("debian-12");
    if root.join("etc/hostname.done").exists() {
        return root;
    }
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&cache).unwrap();
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase").arg(format!("--include={PACKAGES}"));
    command.args(["bookworm"]).arg(&root).arg(MIRROR);
    let mut limited = Command::new("timeout");
    limited.arg("600").arg(command.get_program()).args(command.get_args());
    let out = limited.output().expect("debootstrap is installed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    let network = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n";
    fs::create_dir_all(root.join("etc/systemd/network")).unwrap();
    fs::write(root.join("etc/systemd/network/eth0.network"), network).unwrap();
    let enable = Command::new("chroot")
        .arg(&root)
        .args(["systemctl", "enable", "systemd-networkd"])
        .output()
        .unwrap();
    assert!(enable.status.success());
    fs::write(root.join("etc/hostname.done"), "").unwrap();
    root
}

/// Runs a script in the chroot that installs what it needs, with the time and the network for it.
fn chroot(root: &Path, script: &str) {
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).unwrap();
    // Nothing may be started in the chroot.
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    Command::new("chmod").arg("755").arg(&policy).status().unwrap();
    let mut install = Command::new("timeout");
    install.args(["300", "chroot"]).arg(root).args(["sh", "-c", script]);
    let out = install.output().unwrap();
    let said = [&out.stdout[..], &out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
    fs::remove_file(&policy).unwrap();
}

/// The same with what a script installs in it and `then` writes, made if it is not there yet: one of
/// the name at a time.
pub fn debian_with(name: &str, making: &Mutex<()>, script: &str, then: &dyn Fn(&Path)) -> PathBuf {
    let _one = making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let root = cache().join(format!("debian-12-{name}"));
    let done = root.join("etc").join(format!("{name}.done"));
    if done.exists() {
        return root;
    }
    let _ = fs::remove_dir_all(&root);
    copy(&debian(), &root);
    chroot(&root, script);
    then(&root);
    fs::write(done, "").unwrap();
    root
}

fn with_debian(short: &str, lines: &str) -> (Machine, String) {
    with_copy(&debian(), short, lines)
}

/// A copy of a root file system.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A machine with a bridge, DHCP on it, and a Debian container with a copy of this root.
pub fn with_copy(source: &Path, short: &str, lines: &str) -> (Machine, String) {
    let m = Machine::new();
    m.sh("ip link add br0 type bridge && ip addr add 10.77.0.1/24 dev br0 && ip link set br0 up")
        .ok();
    m.sh(&format!(
        "dnsmasq --conf-file=/dev/null --port=0 --interface=br0 --bind-interfaces \
         --except-interface=lo --dhcp-range=10.77.0.50,10.77.0.99 --dhcp-authoritative \
         --no-ping --dhcp-leasefile={0}/leases --pid-file={0}/dnsmasq.pid",
        m.dir.display()
    ))
    .ok();
    let name = m.name(short);
    let root = m.lxcpath().join(&name).join("rootfs");
    fs::create_dir_all(root.parent().unwrap()).unwrap();
    copy(source, &root);
    let config = format!(
        "lxc.include = /usr/share/lxc/config/debian.common.conf\n{lines}\n\
         lxc.rootfs.path = dir:{}\nlxc.uts.name = {short}\nlxc.net.0.type = veth\n\
         lxc.net.0.link = br0\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 10:66:6a:11:22:33\n",
        root.display()
    );
    fs::write(m.config(&name), config).unwrap();
    (m, name)
}

/// Waits until systemd has started everything, with success.
pub fn until_running(m: &Machine, name: &str) {
    let mut last = String::new();
    eventually(90, "systemctl is-system-running", || {
        let said = m.lxc("attach", &["-n", name, "--", "systemctl", "is-system-running"]);
        last = format!("{}{}", said.stdout, said.stderr);
        assert!(!last.contains("degraded"), "{}", failed_units(m, name));
        (said.stdout.trim() == "running").then_some(())
    });
}

fn failed_units(m: &Machine, name: &str) -> String {
    m.lxc("attach", &["-n", name, "--", "systemctl", "--failed", "--no-pager"]).stdout
}

fn whole_life(m: &Machine, name: &str) {
    m.start(name);
    until_running(m, name);
    until_address(m);

    reboots(m, name, &["systemctl", "reboot"]);
    until_running(m, name);
    stops(m, name);
}

/// Waits until lxc-ls -f shows an address that dnsmasq gave out.
pub fn until_address(m: &Machine) -> String {
    let address = eventually(30, "a DHCP address in lxc-ls -f", || {
        let table = m.lxc("ls", &["-f"]).ok();
        let address = table.split_whitespace().find(|word| word.starts_with("10.77.0."));
        address.map(|word| word.trim_end_matches(',').to_owned())
    });
    let leases = fs::read_to_string(m.dir.join("leases")).unwrap();
    assert!(leases.contains(&address), "{address} is not in {leases}");
    address
}

/// Runs a command inside and waits for the reboot that follows.
pub fn reboots(m: &Machine, name: &str, command: &[&str]) {
    let before = m.init_pid(name);
    m.lxc("attach", &[&["-n", name, "--"], command].concat());
    eventually(60, "the reboot", || {
        let info = m.lxc("info", &["-n", name, "-p", "-H"]);
        info.stdout.trim().parse::<u32>().ok().filter(|&pid| pid != before)
    });
}

/// Stops the container by its own shutdown, after which nothing is left.
pub fn stops(m: &Machine, name: &str) {
    let said = m.lxc("stop", &["-n", name]);
    assert!(!said.stderr.contains("killed"), "{}", said.stderr);
    said.ok();
    assert_eq!(m.state(name), "STOPPED");
    kill_dnsmasq(m);
    assert_eq!(m.settle(), Vec::<String>::new());
}

fn kill_dnsmasq(m: &Machine) {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill $(cat {}/dnsmasq.pid)", m.dir.display())]);
    run(kill);
}

#[test]
fn debian_boots_to_running_reboots_and_shuts_down() {
    let (m, name) = with_debian("deb", "");
    whole_life(&m, &name);
}

#[test]
fn debian_in_a_user_namespace_does_the_same() {
    let (m, name) = with_debian(
        "debuser",
        "lxc.include = /usr/share/lxc/config/debian.userns.conf\n\
         lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
         lxc.rootfs.options = idmap=container\n\
         # Without it systemd mounts debugfs, which no user namespace may.\n\
         lxc.cap.drop = sys_rawio",
    );
    if m.cannot_map_mounts() {
        // The plan knows: nothing has been made.
        let said = m.lxc("start", &["-n", &name, "--dry-run"]).fails(1);
        assert!(said.contains("planning the start: cannot map the ids of "), "{said}");
        assert!(said.contains("config:8") && said.contains("hint: "), "{said}");
        kill_dnsmasq(&m);
        return;
    }
    whole_life(&m, &name);
}
