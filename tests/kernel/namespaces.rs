//! lxc-unshare and lxc-usernsexec: what the command finds in its namespaces, as root and as an
//! ordinary user, and what is said when it cannot be had.

use crate::machine::{BINARY, Machine, Outcome, run};

/// lxc-unshare, also as another user: a shell line with the tool as `$U`.
fn shell(m: &Machine, tool: &str, line: &str) -> Outcome {
    let mut command = m.command("sh");
    command.args(["-c", line]).env("U", format!("{BINARY} {tool}")).env("HOME", "/tmp");
    run(command)
}

/// Words, and what is printed then with status 0.
#[track_caller]
fn prints(m: &Machine, tool: &str, cases: &[(&str, &str)]) {
    for (line, wanted) in cases {
        assert_eq!(shell(m, tool, line).ok(), *wanted, "{line}");
    }
}

/// Words, and what standard error says with status 1.
#[track_caller]
fn refuses(m: &Machine, tool: &str, cases: &[(&str, &str)]) {
    for (line, wanted) in cases {
        let said = shell(m, tool, line).fails(1);
        assert!(said.contains(wanted), "{line}: {said}");
    }
}

const MAPS: &str =
    "id; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups";

#[test]
fn lxc_unshare_gives_the_namespaces_asked_for() {
    let m = Machine::new();
    for (name, link) in [
        ("MOUNT", "mnt"),
        ("UTSNAME", "uts"),
        ("IPC", "ipc"),
        ("NETWORK", "net"),
        ("CGROUP", "cgroup"),
        ("USER", "user"),
    ] {
        let line = format!(
            "for n in mnt uts ipc net cgroup user pid; do [ $(readlink /proc/self/ns/$n) = \
             $($U -s {name} -- readlink /proc/self/ns/$n) ] || echo $n; done"
        );
        prints(&m, "lxc-unshare", &[(&line, &format!("{link}\n"))]);
    }
    prints(
        &m,
        "lxc-unshare",
        &[
            ("$U -s PID -- sh -c 'echo $$'", "1\n"),
            ("$U -s 'MOUNT|PID' -M -- sh -c 'echo /proc/[0-9]*'", "/proc/1\n"),
            ("before=$(hostname); $U -s UTSNAME -H inner -- hostname; [ $(hostname) = $before ]", "inner\n"),
            ("$U -s 'MOUNT|' -- echo one two", "one two\n"),
            ("echo in | $U -s MOUNT -- cat", "in\n"),
            ("$U -s NETWORK -- ls /proc/self/net/dev_snmp6 2>/dev/null", "lo\n"),
            // Mounts stay inside, also where the outside is shared.
            (
                "unshare -m --propagation shared sh -c \"$U -s MOUNT -- mount -t tmpfs x /mnt; \
                 $U -s 'MOUNT|PID' -M -- true; grep -c ' /mnt ' /proc/self/mounts; \
                 test -e /proc/self && echo kept\"",
                "0\nkept\n",
            ),
            ("$U -s USER -- id -u", "65534\n"),
            (
                "$U -s USER -u 5 -- sh -c 'id -u; tr -s \" \" </proc/self/uid_map; wc -c </proc/self/gid_map'",
                "5\n 5 0 1\n0\n",
            ),
            ("$U -s USER -u daemon -- id -u", "1\n"),
            (
                "setpriv --reuid 1234 --regid 1234 --clear-groups $U -s 'USER|MOUNT' -u root -- \
                 sh -c 'id -u; mount -t tmpfs x /mnt && echo mounted'",
                "0\nmounted\n",
            ),
            // Devices go in; the daemon is not waited for.
            (
                "ip link add v1 type veth peer name v2; $U -s NETWORK -i v1 -i v2 -- \
                 sh -c 'ip link show v1 >/dev/null && ip link show v2 >/dev/null && echo both'; \
                 ip link show v1 2>/dev/null || echo gone",
                "both\ngone\n",
            ),
            ("mkfifo $$.f; $U -s MOUNT -d -- sh -c \"echo late >$$.f\"; cat $$.f; rm $$.f", "late\n"),
        ]
        .map(|(line, wanted)| (line, wanted)),
    );
    refuses(
        &m,
        "lxc-unshare",
        &[
            ("$U", "a command to execute"),
            ("$U -s NETWORK", "a command to execute"),
            ("$U true", "a namespace to execute"),
            ("$U -s '' true", "a namespace to execute"),
            ("$U -s BOGUS -- true", "\"BOGUS\" is no namespace"),
            ("$U -s 'NETWORK|BOGUS' -- true", "\"BOGUS\" is no namespace"),
            ("$U -s IPC -H x -- true", "-H needs -s UTSNAME"),
            ("$U -s IPC -i lo -- true", "-i needs -s NETWORK"),
            ("$U -s IPC -M -- true", "-M needs -s MOUNT"),
            ("$U -s IPC -u daemon -- true", "-u needs -s USER"),
            ("$U -s USER -u nosuchuser -- true", "there is no user \"nosuchuser\""),
            (
                "$U -s NETWORK -i nosuch0 -- touch /run/ran; r=$?; test ! -e /run/ran && exit $r",
                "there is no interface",
            ),
            ("$U -s MOUNT -- /missing", "/missing"),
            ("$U -s MOUNT -- missing", "ENOENT"),
            ("$U -s MOUNT -- sh -c 'exit 3'", "\"sh\" exited with status 3"),
            ("$U -s MOUNT -- sh -c 'kill -9 $$'", "was killed by"),
            ("setpriv --reuid 1234 --regid 1234 --clear-groups $U -s MOUNT -- true", "needs USER"),
        ],
    );
}

#[test]
fn lxc_usernsexec_maps_ids() {
    let m = Machine::new();
    let both = "-m u:0:100000:65536 -m g:0:200000:65536";
    let root = "uid=0(root) gid=0(root) groups=0(root)\n";
    let maps = |flags: &str| format!("$U {flags} -- sh -c \"{MAPS}\"");
    let outside = m.dir.join("made").display().to_string();
    m.sh(&format!("mkdir -m 777 {outside}")).ok();
    prints(
        &m,
        "lxc-usernsexec",
        &[
            (&*maps(both), &*format!("{root} 0 100000 65536\n 0 200000 65536\nallow\n")),
            (&maps("-m b:0:100000:10"), &format!("{root} 0 100000 10\n 0 100000 10\nallow\n")),
            (
                &maps("-m b:0:100000:10 -s"),
                &format!("{root} 0 100000 10\n 10 0 1\n 0 100000 10\n 10 0 1\nallow\n"),
            ),
            (&format!("$U {both} -u 1000 -g 1001 -- sh -c 'id -u; id -g; id -G'"), "1000\n1001\n1001\n"),
            (
                &format!("$U {both} -- sh -c 'touch {outside}/f'; stat -c %u:%g {outside}/f"),
                "100000:200000\n",
            ),
            (
                &format!("unshare -m --propagation shared sh -c \"$U {both} -- mount -t tmpfs x /mnt; grep -c ' /mnt ' /proc/self/mounts; true\""),
                "0\n",
            ),
            (&format!("echo 'echo $0' | $U {both}"), "/bin/sh\n"),
        ]
        .map(|(line, wanted)| (line, wanted)),
    );
    for (line, status) in [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(
            shell(&m, "lxc-usernsexec", &format!("$U {both} -- sh -c '{line}'")).status,
            status
        );
    }
    refuses(
        &m,
        "lxc-usernsexec",
        &[
            ("$U -m x", "\"x\" is not of the form"),
            ("$U -m u:0:1", "not of the form"),
            ("$U -m q:0:1:1", "not of the form"),
            ("$U -m u:a:1:1", "not of the form"),
            ("$U -m u:0:1:1:", "not of the form"),
            ("$U -m u:0:1:0 -m g:0:1:1", "range of 0"),
            ("$U -m u:0:100000:10", "no line for groups"),
            ("$U -m b:5:100000:10 -- id", "user 0 is not mapped"),
            ("$U -m b:0:100000:10 -u 10 -- id", "user 10 is not mapped"),
            ("$U -m b:0:100000:10 -m u:5:300000:9 -- id", "container uid 5 twice"),
            ("$U -m b:0:100000:10 -u x -- id", "\"x\" is no id"),
            ("$U -m b:0:100000:10 -- /missing", "/missing"),
            ("$U -m", "-m"),
            ("$U -Z", "unknown option"),
        ],
    );
}

/// The files of subordinate ids are the test's own, in a mount namespace of each line.
#[test]
fn lxc_usernsexec_of_an_ordinary_user_takes_his_subordinate_ids() {
    let m = Machine::new();
    let dir = m.dir.display().to_string();
    m.sh(&format!(
        "chmod 755 {dir}; printf 'root:500000:65536\\ntester:300000:65536\\ntester:400000:10\\n' >{dir}/sub; \
         cp /etc/passwd {dir}/passwd; echo 'tester:x:1234:1234::/tmp:/bin/sh' >>{dir}/passwd; \
         cp {BINARY} {dir}/lxcbox; for f in subuid subgid; do mount --bind {dir}/sub /etc/$f; done; \
         mount --bind {dir}/passwd /etc/passwd"
    ))
    .ok();
    let user = "setpriv --reuid 1234 --regid 1234 --clear-groups";
    let as_user =
        |flags: &str| format!("{user} {dir}/lxcbox usernsexec {flags} -- sh -c \"{MAPS}\"");
    let root = "uid=0(root) gid=0(root) groups=0(root)\n";
    let with_others = "uid=0(root) gid=0(root) groups=0(root)";
    prints(
        &m,
        "lxc-usernsexec",
        &[
            (
                &*format!("$U -- sh -c \"{MAPS}\""),
                &*format!("{root} 0 500000 65536\n 0 500000 65536\nallow\n"),
            ),
            (&as_user(""), &format!("{root} 0 300000 65536\n 0 300000 65536\nallow\n")),
            (
                &as_user("-s"),
                &format!(
                    "{root} 0 300000 65536\n 65536 1234 1\n 0 300000 65536\n 65536 1234 1\nallow\n"
                ),
            ),
            (&as_user("-m b:0:1234:1"), &format!("{with_others}\n 0 1234 1\n 0 1234 1\ndeny\n")),
        ]
        .map(|(line, wanted)| (line, wanted)),
    );
    refuses(&m, "lxc-usernsexec", &[(&as_user("-m b:0:5000:10"), "refused the map")]);
    m.sh(&format!(": >{dir}/sub")).ok();
    refuses(&m, "lxc-usernsexec", &[(&as_user(""), "/etc/subuid gives tester no ids")]);
}
