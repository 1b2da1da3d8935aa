//! Tools that watch or need no container, beside Debian's: lxc-monitor, lxc-top, lxc-unshare,
//! lxc-usernsexec, lxc-checkpoint. See `scene.rs`.

use crate::scene::{EMPTY, NOTHING, Scene};

/// The scenes.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "tools-watch",
        containers: &[EMPTY, EMPTY],
        setup: "mkdir /run/other; lxc-start -n $a",
        lines: &[
            "lxc-monitor -Q",
            "lxc-monitor -n '['",
            "lxc-monitor --bogus",
            "lxc-monitor -P",
            "timeout 2 lxc-monitor -l BOGUS",
            "timeout 1 lxc-monitor",
            "lxc-monitor -Q; sleep 0.3; lxc-monitor -Q",
            "timeout 12 lxc-monitor >/run/m & sleep 0.7; lxc-freeze -n $a; lxc-unfreeze -n $a; \
             lxc-start -n $b; lxc-stop -n $b -k; \
             for i in $(seq 60); do grep -q 'b.*STOPPED' /run/m && break; sleep 0.1; done; uniq /run/m; kill $!; wait",
            "timeout 12 lxc-monitor -n $b >/run/m & sleep 0.7; lxc-freeze -n $a; lxc-unfreeze -n $a; \
             lxc-start -n $b; lxc-stop -n $b -k; \
             for i in $(seq 60); do grep -q 'b.*STOPPED' /run/m && break; sleep 0.1; done; uniq /run/m; kill $!; wait",
            "timeout 12 lxc-monitor -n '.*-[ab]' -P /var/lib/lxc -P /run/other >/run/m & sleep 0.7; \
             lxc-execute -n $b -- sh -c 'exit 3'; \
             for i in $(seq 60); do grep -q 'b.*STOPPED' /run/m && break; sleep 0.1; done; uniq /run/m; kill $!; wait",
            "lxc-monitor -Q -P /var/lib/lxc -P /run/other",
            "lxc-top",
            "lxc-top -d x",
            "lxc-top --bogus",
            "lxc-top -s",
            "lxc-top -b -d 1 | head -1",
            "timeout 2 script -qec 'stty rows 9 cols 140; lxc-top' /dev/null </dev/null | tr -d '\\r' \
             | sed 's/\\x1b[[][0-9;]*[HJ]/\\n/g; s/\\x1b[[][^A-Za-z]*[A-Za-z]//g; s/[0-9]//g; s/[KM]iB/B/g; s/  */ /g; s/ $//' \
             | grep . | grep -v terminated | sort -u",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-namespaces",
        containers: &[EMPTY],
        setup: "echo root:500000:65536 | tee /run/sub; for f in subuid subgid; do \
                mount --bind /run/sub /etc/$f; done",
        lines: &[
            "lxc-unshare",
            "lxc-unshare -s NETWORK",
            "lxc-unshare true",
            "lxc-unshare -s BOGUS -- true",
            "lxc-unshare -s 'NETWORK|BOGUS' -- true",
            "lxc-unshare -s '' -- true",
            "lxc-unshare -s CGROUP -- true",
            "lxc-unshare -s UTSNAME -H foo -- hostname",
            "lxc-unshare -H foo -- hostname",
            "lxc-unshare -s IPC -H foo -- hostname",
            "lxc-unshare -s IPC -i lo -- hostname",
            "lxc-unshare -s IPC -M -- hostname",
            "lxc-unshare -s NETWORK -i nope -- true",
            "lxc-unshare -s PID -- sh -c 'echo $$'",
            "lxc-unshare -s MOUNT -- sh -c 'exit 3'",
            "lxc-unshare -s MOUNT -- sh -c 'kill -9 $$'",
            "lxc-unshare -s MOUNT -- /missing",
            "lxc-unshare -s MOUNT -- missing",
            "lxc-unshare -s USER -- sh -c 'id -u; cat /proc/self/uid_map /proc/self/gid_map'",
            "lxc-unshare -s USER -u daemon -- sh -c 'id; cat /proc/self/uid_map /proc/self/gid_map'",
            "lxc-unshare -s USER -u 5 -- sh -c 'id; cat /proc/self/uid_map /proc/self/setgroups'",
            "lxc-unshare -s USER -u 5555 -- id -u",
            "lxc-unshare -s USER -u nosuchuser -- id -u",
            "lxc-unshare -s 'USER|NETWORK' -- ip -o link show lo | cut -d, -f1",
            "lxc-unshare -s NETWORK -d -- true",
            "lxc-unshare -s MOUNT -n foo -- true",
            "lxc-unshare -s MOUNT -P /none true",
            "lxc-unshare -s MOUNT true -x",
            "lxc-unshare -s 'MOUNT|' -- true",
            "echo input | lxc-unshare -s MOUNT -- cat",
            "cd /tmp; export HOME=/tmp; setpriv --reuid 1234 --regid 1234 --clear-groups lxc-unshare -s MOUNT -- true",
            "cd /tmp; export HOME=/tmp; setpriv --reuid 1234 --regid 1234 --clear-groups lxc-unshare \
             -s 'USER|MOUNT|PID' -M -u 0 -- sh -c 'id -u; ls -d /proc/[0-9]*'",
            "lxc-usernsexec -h",
            "lxc-usernsexec -- sh -c 'id; cat /proc/self/uid_map /proc/self/gid_map'",
            "lxc-usernsexec sh -c id",
            "lxc-usernsexec -s -- sh -c 'id; cat /proc/self/uid_map /proc/self/gid_map'",
            "lxc-usernsexec -m u:0:100000:65536 -m g:0:200000:65536 -- id",
            "lxc-usernsexec -m b:0:500000:1000 -- sh -c 'id; cat /proc/self/uid_map'",
            "lxc-usernsexec -m b:0:100000:1000 -s -- sh -c 'id; cat /proc/self/uid_map'",
            "lxc-usernsexec -m b:5:500000:10 -- id",
            "lxc-usernsexec -m x -- id",
            "lxc-usernsexec -m u:0:1 -- id",
            "lxc-usernsexec -m u:0:500000:0 -m g:0:500000:1 -- id",
            "lxc-usernsexec -m q:0:500000:1 -- id",
            "lxc-usernsexec -m u:a:500000:1 -- id",
            "lxc-usernsexec -m '' -- id",
            "lxc-usernsexec -- sh -c 'exit 3'",
            "lxc-usernsexec -- sh -c 'kill -9 $$'",
            "lxc-usernsexec -- sh -c 'kill -TERM $$'",
            "lxc-usernsexec -- /missing",
            "lxc-usernsexec -- missing",
            "lxc-usernsexec -- /etc/passwd",
            "lxc-usernsexec -Z",
            "lxc-usernsexec -m",
            "echo 'echo $0; exit 4' | lxc-usernsexec",
            "echo input | lxc-usernsexec -- cat",
        ],
        ..NOTHING
    },
    Scene {
        name: "tools-checkpoint",
        containers: &[EMPTY, EMPTY],
        setup: "lxc-start -n $a; mkdir -p /run/cp",
        lines: &[
            "lxc-checkpoint",
            "lxc-checkpoint -n $a",
            "lxc-checkpoint -n $a --bogus",
            "lxc-checkpoint -n $a -D",
            "lxc-checkpoint -n missing -D /run/cp",
            "lxc-checkpoint -n missing -r -D /run/cp",
            "lxc-checkpoint -n $b -D /run/cp",
            "lxc-checkpoint -n $b -p -D /run/cp",
            "lxc-checkpoint -n $a -r -D /run/cp",
            "lxc-checkpoint -n $a -r -s -D /run/cp",
            "lxc-checkpoint -n $a -r -p -D /run/cp",
            "lxc-checkpoint -n $a -d -D /run/cp",
            "lxc-checkpoint -n $a -F -D /run/cp",
            "lxc-checkpoint -n $a -D /run/cp",
            "lxc-info -n $a -sH",
            "lxc-checkpoint -n $b -r -D /run/cp",
            "lxc-info -n $b -sH",
        ],
        ..NOTHING
    },
];
