//! Containers in a container: this program within one of its own containers, privileged and with
//! a user namespace, with a bridge of its own, and a systemd guest one level down.

use crate::machine::{BINARY, Machine, eventually, libraries};
use crate::systemd;
use std::fs;
use std::path::Path;
use std::process::Command;

const USERNS: &str = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
                      lxc.rootfs.options = idmap=container\n";

/// An outer container with the program and, in its own container path, a busybox that has an
/// address on a bridge of the outer one. `debian` adds a systemd guest with an address by hand.
fn outer(m: &Machine, short: &str, lines: &str, debian: bool) -> String {
    let usual = "lxc.pty.max = 64\nlxc.mount.auto = proc:mixed sys:rw cgroup:rw:force\n";
    let c = m.container(
        short,
        &format!(
            "{lines}{}{}lxc.net.0.type = empty\n\
             lxc.mount.entry = {BINARY} bin/lxcbox none bind,ro,create=file 0 0\n",
            if lines.contains("lxc.pty.max") { "" } else { usual },
            libraries()
        ),
    );
    let root = m.lxcpath().join(&c).join("rootfs");
    for dir in ["tmp", "run", "var/lib/lxc", "var/cache", "etc/lxc", "usr/lib", "usr/share"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("etc/lxc/default.conf"), "lxc.net.0.type = empty\n").unwrap();
    let define = |name: &str, guest: &Path, lines: &str| {
        let dir = root.join("var/lib/lxc").join(name);
        fs::create_dir_all(&dir).unwrap();
        systemd::copy(guest, &dir.join("rootfs"));
        let config = format!(
            "lxc.rootfs.path = dir:/var/lib/lxc/{name}/rootfs\nlxc.uts.name = {name}\n\
             lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n{lines}"
        );
        fs::write(dir.join("config"), config).unwrap();
    };
    let inner = m.lxcpath().join("busybox-inner");
    if !inner.exists() {
        m.rootfs("busybox-inner");
    }
    let busybox = "lxc.net.0.ipv4.address = 10.78.0.2/24\nlxc.signal.halt = SIGUSR1\n";
    define("inner", &inner.join("rootfs"), busybox);
    if debian {
        // Device rules are not for those who are below a user namespace.
        let none = "lxc.cgroup.devices.deny =\nlxc.cgroup.devices.allow =\n\
                    lxc.cgroup2.devices.deny =\nlxc.cgroup2.devices.allow =\n";
        let lines = format!(
            "lxc.include = /usr/share/lxc/config/debian.common.conf\n{}\
             lxc.net.0.ipv4.address = 10.78.0.3/24\n",
            if lines.contains("idmap") { none } else { "" }
        );
        define("d12", &systemd::debian(), &lines);
    }
    c
}

/// The whole life of the busybox within.
fn inner_life(m: &Machine, c: &str) {
    let inside = |script: &str| m.inside(c, script).ok();
    inside("ip link add br0 type bridge && ip addr add 10.78.0.1/24 dev br0 && ip link set br0 up");
    inside("lxcbox lxc-start -n inner");
    assert_eq!(inside("lxcbox lxc-info -n inner -sH"), "RUNNING\n");
    inside("ping -c 1 -w 10 10.78.0.2");
    assert_eq!(inside("lxcbox lxc-attach -n inner -- hostname"), "inner\n");
    let table = inside("lxcbox lxc-ls -f");
    assert!(table.contains("inner RUNNING") && table.contains("10.78.0.2"), "{table}");
    inside("lxcbox lxc-freeze -n inner");
    assert_eq!(inside("lxcbox lxc-info -n inner -sH"), "FROZEN\n");
    inside("lxcbox lxc-unfreeze -n inner");
    from_outside(m, c, "inner", "10.78.0.2");
    // What the host stops takes its containers along; what is stopped inside ends inside.
    inside("lxcbox lxc-stop -n inner -t 20");
    assert_eq!(inside("lxcbox lxc-info -n inner -sH"), "STOPPED\n");
    inside("lxcbox lxc-start -n inner");
    inside("lxcbox lxc-stop -n inner -k");
    // The kernel removes it with the namespace that its other end was in, when it has time.
    eventually(10, "the pair to go", || (!inside("ip link").contains("veth")).then_some(()));
    inside("! find /sys/fs/cgroup -name '*inner*' | grep .");
}

/// The host sees it, with its state and address.
fn from_outside(m: &Machine, c: &str, name: &str, address: &str) {
    let said = m.lxc("ls", &["-f", "--nesting", "-F", "NAME,STATE,IPV4"]);
    let row = said.stdout.lines().find(|line| line.contains(name));
    let words: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words, [&format!("\\{name}"), "RUNNING", address], "{}{}", said.stdout, said.stderr);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(m.lxc("ls", &["-1", "--nesting=1"]).ok().contains(&format!("{c}/{name}\n")));
}

fn systemd_guest(m: &Machine, c: &str) {
    let inside = |script: &str| m.inside(c, script);
    inside("lxcbox lxc-start -n d12").ok();
    let mut last = String::new();
    eventually(120, "systemd", || {
        let said = inside("lxcbox lxc-attach -n d12 -- systemctl is-system-running");
        last = format!("{}{}", said.stdout, said.stderr);
        let units = "lxcbox lxc-attach -n d12 -- systemctl --failed --no-pager";
        assert!(!last.contains("degraded"), "{}", inside(units).stdout);
        (said.stdout.trim() == "running").then_some(())
    });
    inside("ping -c 1 -w 10 10.78.0.3").ok();
    from_outside(m, c, "d12", "10.78.0.3");
    inside("lxcbox lxc-stop -n d12 -t 90").ok();
    assert_eq!(inside("lxcbox lxc-info -n d12 -sH").ok(), "STOPPED\n");
}

#[test]
fn a_privileged_container_has_containers() {
    let m = Machine::new();
    let c = outer(&m, "outer", "", true);
    m.start(&c);
    inner_life(&m, &c);
    systemd_guest(&m, &c);
}

#[test]
fn a_container_with_a_user_namespace_has_containers() {
    let m = Machine::new();
    if m.cannot_map_mounts() {
        return;
    }
    let c = outer(&m, "outer", USERNS, true);
    m.start(&c);
    inner_life(&m, &c);
    systemd_guest(&m, &c);
}

#[test]
fn the_example_has_containers() {
    let m = Machine::new();
    if m.cannot_map_mounts() {
        return;
    }
    let own = |line: &&str| !line.starts_with("lxc.rootfs.path") && !line.starts_with("lxc.uts");
    let example = include_str!("../../config-examples/nested.conf").lines().filter(own);
    let lines = format!("{}\n", example.collect::<Vec<_>>().join("\n"));
    let c = outer(&m, "example", &lines.replace("lxc/outer", &m.name("cg")), false);
    m.start(&c);
    inner_life(&m, &c);
}

/// The end of the outer one is the end of all, and nothing of theirs is left on the host.
#[test]
fn the_outer_end_is_the_end_of_all() {
    let m = Machine::new();
    if m.cannot_map_mounts() {
        return;
    }
    for (short, lines) in [("privileged", ""), ("userns", USERNS)] {
        let c = outer(&m, short, lines, false);
        m.start(&c);
        m.inside(&c, "ip link add br0 type bridge && ip link set br0 up").ok();
        m.inside(&c, "lxcbox lxc-start -n inner").ok();
        let pids = m.inside(&c, "lxcbox lxc-info -n inner -pH").ok();
        assert!(pids.trim().parse::<u32>().is_ok(), "{pids}");
        m.lxc("stop", &["-n", &c, "-k"]).ok();
        assert_eq!(m.settle(), Vec::<String>::new(), "{short}");
        m.start(&c);
        m.inside(&c, "ip link add br0 type bridge && ip link set br0 up").ok();
        m.inside(&c, "lxcbox lxc-start -n inner").ok();
        m.lxc("stop", &["-n", &c, "-t", "30"]).ok();
        assert_eq!(m.settle(), Vec::<String>::new(), "{short}");
    }
}

/// Root of a container in the container, however it looks, does not command the monitors of the
/// one around it: it is in another pid namespace or in no cgroup above.
#[test]
fn the_inner_root_does_not_command_outer_monitors() {
    let m = Machine::new();
    if m.cannot_map_mounts() {
        return;
    }
    let c = outer(&m, "outer", USERNS, false);
    let dir = m.lxcpath().join(&c).join("rootfs/var/lib/lxc");
    // A program that its root may not read, so that nobody there may look at who runs it.
    let secret = m.dir.join("secret");
    fs::copy(BINARY, &secret).unwrap();
    let mode = Command::new("chmod").arg("0711").arg(&secret).status();
    assert!(mode.unwrap().success());
    let config = fs::read_to_string(m.config(&c)).unwrap();
    let line =
        format!("lxc.mount.entry = {} bin/secret none bind,ro,create=file 0 0\n", secret.display());
    fs::write(m.config(&c), config + &line).unwrap();
    for (name, more) in [("spy", ""), ("peer", "lxc.namespace.keep = net pid user cgroup\n")] {
        let spy = dir.join(name);
        systemd::copy(&dir.join("inner"), &spy);
        let config = format!(
            "lxc.rootfs.path = dir:/var/lib/lxc/{name}/rootfs\nlxc.net.0.type = none\n{more}\
             lxc.mount.entry = /bin/secret bin/secret none bind,ro,create=file 0 0\n\
             lxc.mount.auto = proc:rw\nlxc.init.cmd = /bin/sleep 1000\n{}",
            libraries()
        );
        fs::write(spy.join("config"), config).unwrap();
    }
    m.start(&c);
    let inside = |script: &str| m.inside(&c, script);
    inside("ip link add br0 type bridge && ip link set br0 up").ok();
    inside("lxcbox lxc-start -n inner").ok();
    for name in ["spy", "peer"] {
        inside(&format!("lxcbox lxc-start -n {name}")).ok();
        for words in ["lxc-stop -k -n inner", "lxc-freeze -n inner", "lxc-info -s -n inner"] {
            let script = format!("lxcbox lxc-attach -n {name} -- /bin/secret {words}");
            let said = inside(&script);
            assert_ne!(said.status, 0, "{name}: {words}: {}{}", said.stdout, said.stderr);
            assert!(said.stderr.contains("denies"), "{name}: {words}: {}", said.stderr);
        }
        assert_eq!(inside("lxcbox lxc-info -n inner -sH").ok(), "RUNNING\n");
    }
}
