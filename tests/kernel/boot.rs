//! The host's boot: units and scripts of share/boot in a guest that is the host of further
//! containers. They start with it, the service tells of them, and they halt when it does.

use crate::machine::{BINARY, Machine, eventually};
use crate::openrc::openrc;
use crate::systemd::{debian, debian_with, reboots, stops, with_copy};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// What the outer container needs for containers in it.
const NESTING: &str = "lxc.include = /usr/share/lxc/config/nesting.conf\n\
                       lxc.mount.auto = cgroup:rw:force\n";

/// A file of share/boot with the places filled in, as `make install` does.
fn install(root: &Path, file: &str, mode: u32, to: &str) {
    let text = fs::read_to_string(Path::new("share/boot").join(file)).unwrap();
    let text = text
        .replace("@BINDIR@", "/usr/local/bin")
        .replace("@LIBEXECDIR@", "/usr/local/libexec")
        .replace("@SYSCONFDIR@", "/etc");
    let to = root.join(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(&to, text).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts our tools and the helper into the guest, and three containers: one to start with it, one
/// that cannot start, one that nobody asked for. Gives back where they are.
fn host(m: &Machine, name: &str) -> PathBuf {
    let root = m.lxcpath().join(name).join("rootfs");
    let bin = root.join("usr/local/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(BINARY, bin.join("lxcbox")).unwrap();
    for tool in ["start", "stop", "autostart", "ls", "info", "attach", "net", "wait"] {
        std::os::unix::fs::symlink("lxcbox", bin.join(format!("lxc-{tool}"))).unwrap();
    }
    install(&root, "lxc-containers", 0o755, "usr/local/libexec/lxc/lxc-containers");
    let all = root.join("var/lib/lxc");
    for (inner, lines) in [
        ("first", "lxc.start.auto = 1\nlxc.net.0.type = empty\n"),
        ("broken", "lxc.start.auto = 1\nlxc.net.0.type = veth\nlxc.net.0.link = nosuch0\n"),
        ("idle", "lxc.net.0.type = empty\n"),
    ] {
        // The smallest root that boots, made where the machine makes it.
        let made = m.rootfs(&format!("made-{inner}"));
        fs::create_dir_all(all.join(inner)).unwrap();
        fs::rename(&made, all.join(inner).join("rootfs")).unwrap();
        fs::remove_dir(made.parent().unwrap()).unwrap();
        let inittab = "::sysinit:/bin/true\n::shutdown:/bin/touch /halted\n";
        fs::write(all.join(inner).join("rootfs/etc/inittab"), inittab).unwrap();
        let config = format!("lxc.rootfs.path = dir:/var/lib/lxc/{inner}/rootfs\n{lines}");
        fs::write(all.join(inner).join("config"), config).unwrap();
    }
    all
}

fn inside(m: &Machine, name: &str, command: &str) -> crate::machine::Outcome {
    m.lxc("attach", &["-n", name, "--", "/bin/sh", "-c", command])
}

fn running(m: &Machine, name: &str) -> String {
    let listed = inside(m, name, "/usr/local/bin/lxc-ls -1 --running").stdout;
    listed.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn systemd_starts_containers_with_the_host_and_stops_them() {
    let (m, name) = with_copy(&debian(), "sdhost", NESTING);
    let inner = host(&m, &name);
    let root = m.lxcpath().join(&name).join("rootfs");
    for unit in ["lxc.service", "lxc@.service", "lxc-net.service"] {
        install(&root, unit, 0o644, &format!("usr/local/lib/systemd/system/{unit}"));
    }
    // lxc.service is not enabled: the container's own unit wants it.
    let wanted = root.join("etc/systemd/system/multi-user.target.wants/lxc@idle.service");
    std::os::unix::fs::symlink("/usr/local/lib/systemd/system/lxc@.service", wanted).unwrap();
    m.start(&name);
    eventually(90, "the end of the boot", || {
        let state = inside(&m, &name, "systemctl is-system-running").stdout;
        assert_ne!(state.trim(), "degraded", "{}", inside(&m, &name, "systemctl --failed").stdout);
        (state.trim() == "running").then_some(())
    });
    eventually(10, "the one of its own unit", || {
        (running(&m, &name) == "first idle").then_some(())
    });
    // One container of two failed: the service is active, and says which.
    let status = inside(&m, &name, "systemctl status lxc.service; journalctl -u lxc.service");
    assert!(status.stdout.contains("status=2"), "{}", status.stdout);
    assert!(status.stdout.contains("first: started"), "{}", status.stdout);
    assert!(status.stdout.contains("bridge \"nosuch0\" does not exist"), "{}", status.stdout);
    assert_eq!(inside(&m, &name, "systemctl is-active lxc.service").ok().trim(), "active");

    let units = "lxc.service lxc@idle.service lxc-net.service";
    let verified = inside(&m, &name, &format!("systemd-analyze verify --man=no {units} 2>&1")).ok();
    assert_eq!(verified, "");
    // What the unit brings is stopped after it.
    let order = inside(&m, &name, "systemctl show -p After lxc@idle.service").ok();
    assert!(order.contains("lxc.service"), "{order}");
    // There is nothing to load on this kernel, and nobody notices.
    inside(&m, &name, "systemctl reload lxc.service").ok();
    assert_eq!(running(&m, &name), "first idle");
    let reloads = "/usr/local/libexec/lxc/lxc-containers reload 2>&1";
    assert_eq!(inside(&m, &name, reloads).ok(), "");
    // One that halts by itself has not failed.
    inside(&m, &name, "/usr/local/bin/lxc-stop -n idle").ok();
    eventually(20, "the end of its unit", || {
        let state = inside(&m, &name, "systemctl is-active lxc@idle.service").stdout;
        assert_ne!(state.trim(), "failed");
        (state.trim() == "inactive").then_some(())
    });
    inside(&m, &name, "systemctl start lxc@idle.service").ok();
    eventually(10, "its start", || (running(&m, &name) == "first idle").then_some(()));

    // One that the other service started is left to it.
    inside(&m, &name, "systemctl start lxc@first.service").ok();
    let state = "systemctl show -p ActiveState -p SubState lxc@first.service";
    eventually(20, "the end of its unit", || {
        inside(&m, &name, state).stdout.contains("SubState=dead").then_some(())
    });
    assert_eq!(running(&m, &name), "first idle");

    // It wants the network, which in a container is not made.
    let condition = "systemctl show -p ConditionResult -p ActiveState lxc-net.service";
    let condition = inside(&m, &name, condition).ok();
    assert!(condition.contains("ConditionResult=no"), "{condition}");
    assert!(condition.contains("ActiveState=inactive"), "{condition}");

    // Stopping the service stops them, starting it starts them.
    inside(&m, &name, "systemctl stop lxc.service lxc@idle.service").ok();
    assert_eq!(running(&m, &name), "");
    assert!(
        inner.join("first/rootfs/halted").exists() && inner.join("idle/rootfs/halted").exists()
    );
    fs::remove_file(inner.join("first/rootfs/halted")).unwrap();
    inside(&m, &name, "systemctl start lxc.service").ok();
    assert_eq!(running(&m, &name), "first");
    // A stop that comes while it still starts some: those that run halt, and nobody goes on.
    inside(&m, &name, "systemctl stop lxc.service").ok();
    let config = fs::read_to_string(inner.join("idle/config")).unwrap();
    let slow = "lxc.start.auto = 1\nlxc.start.ready = /bin/false\n";
    fs::write(inner.join("idle/config"), format!("{config}{slow}")).unwrap();
    for halted in ["first/rootfs/halted", "idle/rootfs/halted"] {
        fs::remove_file(inner.join(halted)).unwrap();
    }
    inside(&m, &name, "systemctl start --no-block lxc.service").ok();
    eventually(20, "both", || (running(&m, &name) == "first idle").then_some(()));
    let state = inside(&m, &name, "systemctl is-active lxc.service").stdout;
    assert_eq!(state.trim(), "activating");
    inside(&m, &name, "systemctl stop lxc.service").ok();
    assert_eq!(running(&m, &name), "");
    assert!(
        inner.join("first/rootfs/halted").exists() && inner.join("idle/rootfs/halted").exists()
    );
    let state = inside(&m, &name, "systemctl is-active lxc.service").stdout;
    assert_eq!(state.trim(), "inactive");
    let rest = || inside(&m, &name, "pgrep -x lxc-autostart").stdout;
    eventually(5, "the end of all its processes", || rest().is_empty().then_some(()));
    fs::write(inner.join("idle/config"), config).unwrap();

    // With none that can start the service has failed.
    fs::write(inner.join("first/config"), "lxc.start.auto = 1\nlxc.nonsense = 1\n").unwrap();
    inside(&m, &name, "systemctl start lxc.service").fails(1);
    assert_eq!(inside(&m, &name, "systemctl is-failed lxc.service").ok().trim(), "failed");
    stops(&m, &name);
}

/// USE_LXC_BRIDGE: what default.conf links to is waited for.
fn waits_for_links(m: &Machine, name: &str) {
    let etc = m.lxcpath().join(name).join("rootfs/etc");
    fs::create_dir_all(etc.join("lxc")).unwrap();
    let links = "lxc.net.0.type = veth\n  lxc.net.0.link=brlate\n# lxc.net.1.link = none\n\
                 lxc.net.12.link = \"lo\"\nlxc.net.2.link =\n";
    fs::write(etc.join("lxc/default.conf"), links).unwrap();
    let helper = "/usr/local/libexec/lxc/lxc-containers start";
    let start = |settings: &str, before: &str| {
        fs::write(etc.join("default/lxc"), settings).unwrap();
        inside(m, name, &format!("{before} {helper} 2>&1")).stdout
    };
    // Not asked for: no wait for what never comes.
    assert!(!start("USE_LXC_BRIDGE=false\n", "").contains("brlate"));
    // It comes first, and is up a second later.
    let make = "{ sleep 1; ip link add brlate type bridge; sleep 1; ip link set brlate up; } &";
    let said = start("USE_LXC_BRIDGE=true\n", make);
    let told = "waiting for: brlate \n";
    assert!(said.contains(told) && !said.contains("not up after"), "{said}");
    let up = inside(m, name, "ip -o link show up dev brlate").ok();
    assert!(up.contains("brlate"), "{up}");
    // There already.
    let said = start("USE_LXC_BRIDGE=true\n", "");
    assert!(!said.contains("brlate"), "{said}");
    // It does not come: what starts without it is started all the same, and somebody says so.
    inside(m, name, "ip link del brlate").ok();
    let said = start("USE_LXC_BRIDGE=true\nsleep() { :; }\n", "");
    assert!(said.contains("not up after 30 seconds, of default.conf: brlate"), "{said}");
    assert!(said.contains("broken: failed"), "{said}");
}

#[test]
fn openrc_and_sysvinit_scripts_do_the_same() {
    let (m, name) = with_copy(&openrc(), "rchost", NESTING);
    let inner = host(&m, &name);
    let root = m.lxcpath().join(&name).join("rootfs");
    install(&root, "lxc.openrc", 0o755, "etc/init.d/lxc");
    install(&root, "lxc.sysvinit", 0o755, "usr/local/sbin/lxc-sysvinit");
    std::os::unix::fs::symlink("/etc/init.d/lxc", root.join("etc/runlevels/default/lxc")).unwrap();
    m.start(&name);
    eventually(90, "the container in it", || (running(&m, &name) == "first").then_some(()));
    let status = |script: &str| inside(&m, &name, &format!("{script} status"));
    eventually(30, "the service", || (status("rc-service lxc").status == 0).then_some(()));
    let services = inside(&m, &name, "rc-status").stdout;
    let line = services.lines().find(|line| line.trim_start().starts_with("lxc "));
    assert!(line.is_some_and(|line| line.contains("started")), "{services}");

    inside(&m, &name, "rc-service lxc reload").ok();
    assert_eq!(running(&m, &name), "first");
    let stop = inside(&m, &name, "rc-service lxc stop");
    assert!(inner.join("first/rootfs/halted").exists(), "{}{}", stop.stdout, stop.stderr);
    stop.ok();
    assert_eq!(running(&m, &name), "");
    assert_eq!(status("rc-service lxc").status, 3);

    // The other script, by hand: the status is the containers'.
    let script = "/usr/local/sbin/lxc-sysvinit";
    status(script).fails(3);
    inside(&m, &name, &format!("{script} start")).fails(2);
    assert_eq!(status(script).ok().trim(), "first");
    let before = inside(&m, &name, "/usr/local/bin/lxc-info -n first -p -H").ok();
    inside(&m, &name, &format!("{script} reload")).ok();
    assert_eq!(inside(&m, &name, "/usr/local/bin/lxc-info -n first -p -H").ok(), before);
    inside(&m, &name, &format!("{script} restart")).fails(2);
    inside(&m, &name, &format!("{script} stop")).ok();
    inside(&m, &name, &format!("{script} sing")).fails(2);
    fs::write(root.join("etc/default/lxc"), "LXC_AUTO=false\n").unwrap();
    inside(&m, &name, &format!("{script} start")).ok();
    assert_eq!(running(&m, &name), "");
    fs::write(root.join("etc/default/lxc"), "BOOTGROUPS=none\nOPTIONS='-A -g ,'\n").unwrap();
    inside(&m, &name, &format!("{script} start"));
    assert_eq!(running(&m, &name), "first idle");
    waits_for_links(&m, &name);

    // They halt with the host.
    fs::remove_file(inner.join("broken/config")).unwrap();
    inside(&m, &name, "rc-service lxc start").ok();
    fs::remove_file(inner.join("first/rootfs/halted")).unwrap();
    stops(&m, &name);
    assert!(inner.join("first/rootfs/halted").exists());
}

/// What systemd needs for the units of somebody who has not logged in, and a user with ids.
const USER: &str = "export DEBIAN_FRONTEND=noninteractive\n\
    apt-get update -q && apt-get install -y -q --no-install-recommends libpam-systemd \
    dbus-user-session uidmap && useradd -m -s /bin/sh alice &&\n\
    echo alice:100000:65536 | tee /etc/subuid >/etc/subgid && chmod 711 /home/alice";

/// The root file system, made if it is not there yet.
fn with_user() -> PathBuf {
    debian_with("user", &Mutex::new(()), USER, &|_| {})
}

#[test]
fn a_users_unit_starts_containers_with_the_host_and_stops_them() {
    let (m, name) = with_copy(&with_user(), "userhost", NESTING);
    host(&m, &name);
    let root = m.lxcpath().join(&name).join("rootfs");
    install(&root, "lxc-user.service", 0o644, "usr/local/lib/systemd/user/lxc.service");
    let home = root.join("home/alice");
    let own = home.join(".local/share/lxc");
    fs::create_dir_all(&own).unwrap();
    fs::rename(root.join("var/lib/lxc/first"), own.join("first")).unwrap();
    let config = "lxc.start.auto = 1\nlxc.net.0.type = empty\n\
                  lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
                  lxc.rootfs.path = dir:/home/alice/.local/share/lxc/first/rootfs\n";
    fs::write(own.join("first/config"), config).unwrap();
    let chown = |ids: &str, of: &Path| {
        assert!(Command::new("chown").args(["-R", ids]).arg(of).status().unwrap().success());
    };
    chown("1000:1000", &home);
    chown("100000:100000", &own.join("first/rootfs"));
    let halted = own.join("first/rootfs/halted");

    m.start(&name);
    let alice = |command: &str| {
        let env = "export XDG_RUNTIME_DIR=/run/user/1000 PATH=/usr/local/bin:/usr/bin:/bin";
        inside(&m, &name, &format!("su - alice -c '{env}; {command}'"))
    };
    let booted = || {
        eventually(90, "alice's systemd", || {
            (alice("systemctl --user is-system-running").stdout.trim() == "running").then_some(())
        });
    };
    eventually(90, "logind", || {
        (inside(&m, &name, "loginctl enable-linger alice").status == 0).then_some(())
    });
    booted();
    alice("systemctl --user enable --now lxc").ok();
    // Its processes are the unit's.
    let status = alice("systemctl --user status lxc").ok();
    assert!(status.contains("Active: active (exited)"), "{status}");
    assert!(status.contains("lxc.service\n") && status.contains("lxc.payload.first"), "{status}");
    assert_eq!(alice("lxc-ls -1 --running").ok().trim(), "first");
    alice("systemctl --user stop lxc").ok();
    assert_eq!(alice("lxc-ls -1 --running").ok().trim(), "");
    assert!(halted.exists());

    // Nobody logs in: it starts with the host, and halts with it.
    fs::remove_file(&halted).unwrap();
    reboots(&m, &name, &["systemctl", "reboot"]);
    booted();
    assert_eq!(alice("lxc-ls -1 --running").ok().trim(), "first");
    stops(&m, &name);
    assert!(halted.exists());
}
