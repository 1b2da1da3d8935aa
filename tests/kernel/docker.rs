//! Docker in a container, privileged and with a user namespace: images on overlayfs, limits by
//! cgroups, ports through NAT.
//!
//! The emulated machine of `make vm` runs the first, as most hosts are: cgroup v2 alone, AppArmor.
//! Its root is made once from the root file system of `systemd.rs` and kept beside it.

use crate::machine::{Machine, eventually};
use crate::systemd::{debian_with, stops, until_address, until_running, with_copy};
use std::path::PathBuf;
use std::sync::Mutex;

const INSTALL: &str = "export DEBIAN_FRONTEND=noninteractive\n\
    apt-get update -q && apt-get install -y -q --no-install-recommends \
    docker.io iptables busybox-static && apt-get clean && \
    rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/locale/*";

/// What config-examples/nested.conf has besides the device.
const NESTING: &str = "lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n\
    lxc.mount.auto = proc:mixed sys:rw cgroup:rw:force\n";

/// An image out of busybox alone.
const IMAGE: &str = "mkdir -p /image/bin /image/www && cp /bin/busybox /image/bin && \
    echo from the inside >/image/www/index.html && ln -s busybox /image/bin/sh && \
    tar -C /image -c . | docker import - box";

/// The root file system, made if it is not there yet.
fn docker() -> PathBuf {
    /// Two tests need it.
    static MAKING: Mutex<()> = Mutex::new(());
    debian_with("docker", &MAKING, INSTALL, &|_| {})
}

fn runs_docker(short: &str, lines: &str) {
    let (m, name) = with_copy(&docker(), short, &format!("{NESTING}{lines}"));
    m.start(&name);
    until_running(&m, &name);
    let address = until_address(&m);
    let inside = |script: &str| {
        m.lxc("attach", &["--clear-env", "-n", &name, "--", "sh", "-c", script]).ok()
    };
    inside(IMAGE);
    assert!(inside("docker info").contains("Storage Driver: overlay2"));

    let said = inside(
        "docker run --rm -m 64m box /bin/sh -c \
        'busybox id -u; busybox cat /sys/fs/cgroup/memory/memory.limit_in_bytes || \
         busybox cat /sys/fs/cgroup/memory.max'",
    );
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "67108864"]);

    inside("docker run -d --name web -p 8080:80 box /bin/busybox httpd -f -h /www");
    eventually(20, "the program in Docker's container", || {
        inside("docker exec web /bin/busybox ps").contains("httpd").then_some(())
    });
    let page = eventually(20, "the published port", || {
        let page = m.sh(&format!("busybox wget -qO - http://{address}:8080/"));
        (page.status == 0).then_some(page.stdout)
    });
    assert_eq!(page, "from the inside\n");
    inside("docker rm -f web");
    stops(&m, &name);
}

#[test]
fn docker_runs_in_a_privileged_container() {
    runs_docker("docker", "lxc.cgroup.devices.allow = c 10:200 rwm\n");
}

#[test]
fn docker_runs_in_a_user_namespace() {
    if Machine::new().cannot_map_mounts() {
        return;
    }
    runs_docker(
        "udocker",
        "lxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 1000000 65536\n\
         lxc.rootfs.options = idmap=container\n",
    );
}
