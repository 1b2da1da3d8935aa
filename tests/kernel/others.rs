//! Other programs with our containers: python3-lxc, lxcfs, the hooks that LXC ships; and our own
//! binary when it is replaced under its monitors.

use crate::machine::{BINARY, Machine, Outcome, eventually, run};
use crate::protocol::without_lxc;
use crate::systemd;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

const BRIDGE: &str =
    "ip link add br0 type bridge && ip addr add 10.79.0.1/24 dev br0 && ip link set br0 up";
const NET: &str = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n";

static UNPACKING: Mutex<()> = Mutex::new(());

/// The files of a Debian package that is not installed: its service would be started, and its
/// configuration would be that of every container here.
fn unpacked(package: &str) -> PathBuf {
    let _one = UNPACKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = systemd::cache().join(format!("package-{package}"));
    if dir.join("done").exists() {
        return dir;
    }
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let script = format!("apt-get -q=2 download {package} && dpkg -x {package}_*.deb .");
    let out = Command::new("sh").args(["-c", &script]).current_dir(&dir).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    fs::write(dir.join("done"), "").unwrap();
    dir
}

#[test]
fn python_manages_our_containers() {
    if without_lxc() {
        return;
    }
    let m = Machine::new();
    // Our monitor has a pidfd from clone's flag, which the filter leaves, and liblxc then wants the
    // call. No kernel has the one (5.2) without the other (5.1).
    if m.lacks("pidfd_send_signal") {
        println!("skipped: CLONE_PIDFD without pidfd_send_signal is no kernel that there is");
        return;
    }
    m.sh(BRIDGE).ok();
    // What /etc/lxc/default.conf names.
    m.sh("ip link add lxcbr0 type bridge && ip link set lxcbr0 up").ok();
    let c = m.container(
        "python",
        &format!("{NET}lxc.net.0.ipv4.address = 10.79.0.2/24\nlxc.tty.max = 2\nlxc.pty.max = 9\n"),
    );
    let script = m.dir.join("others.py");
    fs::write(&script, include_str!("others.py")).unwrap();
    let python = |name: &str, phase: &str| -> Outcome {
        let mut command = m.command("/usr/bin/python3");
        command.arg(&script).arg(name).arg(m.lxcpath()).arg(phase).arg(m.dir.join("out"));
        run(command)
    };
    m.start(&c);
    let pid = m.init_pid(&c);
    assert_eq!(python(&c, "running").ok(), format!("{pid} python\n"));
    assert_eq!(m.state(&c), "STOPPED");
    // Its liblxc starts it now, and what it has saved is read by us.
    let pid = python(&c, "config").ok();
    assert_eq!(pid.trim(), m.init_pid(&c).to_string());
    assert_eq!(m.lxc("info", &["-n", &c, "-H", "-c", "lxc.start.order"]).ok(), "7\n");
    assert!(m.inside(&c, "env").ok().contains("FROM=python\n"));
    python(&c, "destroy").ok();
    assert!(!m.config(&c).exists());
    // Made by it, run by us.
    let made = m.name("made");
    python(&made, "create").ok();
    m.start(&made);
    m.inside(&made, "true").ok();
    python(&made, "destroy").ok();
    assert!(!m.lxc("ls", &["-1"]).ok().contains(&made));
}

/// A running lxcfs, unmounted and ended when dropped.
struct Lxcfs<'a>(&'a Machine, Child);

impl<'a> Lxcfs<'a> {
    fn new(m: &'a Machine, files: &Path) -> Self {
        // Its place on the host is not ours to make.
        m.sh("mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/lxcfs").ok();
        let library = files.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        let mut command = m.command(files.join("usr/bin/lxcfs"));
        command.env("LD_LIBRARY_PATH", library.join("lxcfs"));
        command.args(["-f", "--pidfile=/run/lxcfs.pid", "/var/lib/lxcfs"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let this = Self(m, child);
        eventually(15, "lxcfs", || {
            (m.sh("test -e /var/lib/lxcfs/proc/meminfo").status == 0).then_some(())
        });
        this
    }
}

impl Drop for Lxcfs<'_> {
    fn drop(&mut self) {
        self.0.sh("kill $(cat /run/lxcfs.pid)");
        let _ = self.1.wait();
        self.0.sh("umount -l /var/lib/lxcfs");
    }
}

#[test]
fn lxcfs_is_mounted_by_its_hook() {
    if !Path::new("/dev/fuse").exists() {
        assert!(std::env::var_os("LXCBOX_TEST_NO_SKIPS").is_none(), "no /dev/fuse");
        println!("skipped: this kernel has no /dev/fuse");
        return;
    }
    let files = unpacked("lxcfs");
    let m = Machine::new();
    let _lxcfs = Lxcfs::new(&m, &files);
    // The file that the package puts where common.conf includes it, with the place of its hooks.
    let conf = files.join("usr/share/lxc/config/common.conf.d/00-lxcfs.conf");
    let place = files.join("usr/share/lxcfs").display().to_string();
    let conf = fs::read_to_string(conf).unwrap().replace("/usr/share/lxcfs", &place);
    let include = m.dir.join("lxcfs.conf");
    fs::write(&include, conf).unwrap();
    let host = m.sh("grep MemTotal /proc/meminfo").ok();
    let userns = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
                  lxc.rootfs.options = idmap=container\n";
    for (short, lines) in [("lxcfs", ""), ("lxcfsuser", userns)] {
        if lines == userns && m.cannot_map_mounts() {
            break;
        }
        let c = m.container(
            short,
            &format!(
                "lxc.include = {}\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed sys:ro\n\
                 lxc.cgroup.memory.limit_in_bytes = 100M\n{lines}",
                include.display()
            ),
        );
        m.start(&c);
        let inside = |script: &str| m.inside(&c, script).ok();
        assert!(inside("grep lxcfs /proc/mounts").contains(" /proc/meminfo "), "{short}");
        assert_eq!(inside("sed -n 's/^MemTotal: *//p' /proc/meminfo"), "102400 kB\n", "{short}");
        let up: f64 = inside("sed 's/[. ].*//' /proc/uptime").trim().parse().unwrap();
        assert!(up < 600.0, "{short}: up for {up} s");
        assert!(inside("cat /proc/stat /proc/cpuinfo /proc/loadavg").contains("cpu0"), "{short}");
        m.lxc("stop", &["-n", &c, "-k"]).ok();
    }
    assert_eq!(m.sh("grep MemTotal /proc/meminfo").ok(), host);
}

#[test]
fn the_hooks_of_lxc_do_their_work() {
    let hooks = Path::new("/usr/share/lxc/hooks");
    if without_lxc() {
        return;
    }
    let hook = |name: &str| hooks.join(name).display().to_string();
    let m = Machine::new();
    m.sh(BRIDGE).ok();
    // Names in the files of a clone, and a data source for cloud-init.
    let c = m.container(
        "first",
        &format!(
            "{NET}lxc.hook.clone = {}\nlxc.hook.clone = {}\n",
            hook("clonehostname"),
            hook("ubuntu-cloud-prep")
        ),
    );
    let root = |name: &str| m.lxcpath().join(name).join("rootfs");
    fs::write(root(&c).join("etc/hosts"), format!("127.0.1.1 {c}\n")).unwrap();
    fs::create_dir_all(root(&c).join("var/lib/cloud/seed")).unwrap();
    let copy = m.name("second");
    m.lxc("copy", &["-n", &c, "-N", &copy, "--", "--hostid=number", "--nolocales=yes"]).ok();
    let hosts = fs::read_to_string(root(&copy).join("etc/hosts")).unwrap();
    assert_eq!(hosts, format!("127.0.1.1 {copy}\n"));
    let seed = root(&copy).join("var/lib/cloud/seed/nocloud-net/meta-data");
    assert!(fs::read_to_string(&seed).unwrap().contains("instance-id"), "{}", seed.display());
    // The proxy of the host's apt, which is looked for from the rootfs' path.
    let c = m.container(
        "proxy",
        &format!(
            "lxc.net.0.type = empty\nlxc.hook.version = 1\nlxc.hook.pre-start = {}\n\
             lxc.hook.mount = {}\nlxc.environment = NVIDIA_VISIBLE_DEVICES=void\n",
            hook("squid-deb-proxy-client"),
            hook("nvidia")
        ),
    );
    m.start(&c);
    // A DHCP client that holds the address from outside, for a guest that has none.
    let client = unpacked("isc-dhcp-client");
    m.sh(&format!("mount -t overlay -o lowerdir={}/sbin:/usr/sbin o /usr/sbin", client.display()))
        .ok();
    m.sh(&format!(
        "dnsmasq --conf-file=/dev/null --port=0 --interface=br0 --bind-interfaces \
         --except-interface=lo --dhcp-range=10.79.0.50,10.79.0.99 --dhcp-authoritative \
         --no-ping --dhcp-leasefile={0}/leases --pid-file={0}/dnsmasq.pid",
        m.dir.display()
    ))
    .ok();
    for version in ["0", "1"] {
        let c = m.container(
            &format!("dhcp{version}"),
            &format!(
                "{NET}lxc.hook.version = {version}\nlxc.hook.start-host = {0}\n\
                 lxc.hook.stop = {0}\n",
                hook("dhclient")
            ),
        );
        m.start(&c);
        let info = m.lxc("info", &["-n", &c, "-iH"]).ok();
        assert!(info.starts_with("10.79.0."), "{info}");
        let pidfile = m.lxcpath().join(&c).join("hook/dhclient.pid");
        let pid = fs::read_to_string(&pidfile).unwrap();
        m.lxc("stop", &["-n", &c, "-k"]).ok();
        assert!(!pidfile.exists());
        eventually(10, "the end of dhclient", || {
            (!Path::new("/proc").join(pid.trim()).exists()).then_some(())
        });
    }
    m.sh(&format!("kill $(cat {}/dnsmasq.pid)", m.dir.display()));
}

/// A newer binary talks to the monitors of an older one, and a monitor whose file is gone or is
/// another now goes on as if nothing had happened.
#[test]
fn the_binary_is_replaced_under_running_containers() {
    let m = Machine::new();
    m.sh(BRIDGE).ok();
    let hook = m.dir.join("hook.sh");
    let seen = m.dir.join("seen");
    let script = format!("#!/bin/sh\necho $3 >>{}\n", seen.display());
    fs::write(&hook, script).unwrap();
    std::os::unix::fs::symlink("/bin/sh", m.dir.join("sh")).unwrap();
    assert!(Command::new("chmod").arg("755").arg(&hook).status().unwrap().success());
    let lines = format!(
        "{NET}lxc.net.0.ipv4.address = 10.79.0.2/24\nlxc.tty.max = 2\nlxc.pty.max = 9\n\
         lxc.hook.stop = {0}\nlxc.hook.post-stop = {0}\nlxc.execute.cmd = /bin/sleep 1000\n",
        hook.display()
    );
    let old = m.dir.join("lxcbox");
    let start = |name: &str| {
        let _ = fs::remove_file(&old);
        fs::copy(BINARY, &old).unwrap();
        let mut command = m.command(&old);
        command.args(["lxc-start", "-P"]).arg(m.lxcpath()).args(["-n", name]);
        run(command).ok();
    };
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("gone", |old| fs::remove_file(old).unwrap()),
        ("other", |old| {
            fs::remove_file(old).unwrap();
            fs::copy("/bin/false", old).unwrap();
        }),
        ("newer", |old| {
            // As dpkg does it: beside, then over.
            let beside = old.with_extension("new");
            fs::copy(BINARY, &beside).unwrap();
            fs::rename(&beside, old).unwrap();
        }),
    ];
    for (short, change) in changes {
        let c = m.container(short, &lines);
        start(&c);
        change(&old);
        let _ = fs::remove_file(&seen);
        let all = m.lxc("ls", &["-f", "-F", "NAME,STATE,IPV4"]).ok();
        assert!(all.contains("RUNNING 10.79.0.2"), "{short}: {all}");
        m.inside(&c, "true").ok();
        m.lxc("freeze", &["-n", &c]).ok();
        m.lxc("unfreeze", &["-n", &c]).ok();
        let before = m.init_pid(&c);
        // From inside: its monitor makes a new container out of what it has in memory.
        m.inside(&c, "kill -TERM 1");
        eventually(20, "the reboot", || {
            let said = m.lxc("info", &["-n", &c, "-pH"]);
            let pid: Option<u32> = said.stdout.trim().parse().ok();
            (said.status == 0 && pid.is_some_and(|pid| pid != before)).then_some(())
        });
        m.lxc("wait", &["-n", &c, "-s", "RUNNING", "-t", "20"]).ok();
        m.inside(&c, "ip addr").ok();
        m.lxc("stop", &["-n", &c, "-t", "20"]).ok();
        assert_eq!(m.state(&c), "STOPPED");
        let seen = fs::read_to_string(&seen).unwrap();
        assert_eq!(seen, "stop\npost-stop\nstop\npost-stop\n", "{short}");
    }
}
