//! An ordinary user's containers: ids from /etc/subuid by newuidmap, cgroups of the user's own,
//! no lxc.pty.max. From creation to destruction, with nothing that only root may do.

use crate::machine::{BINARY, Machine, Outcome};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

const UID: u32 = 54321;

/// The user, with a home, ids and cgroups, in a machine.
struct User<'a> {
    m: &'a Machine,
    home: PathBuf,
    cgroup: String,
}

impl<'a> User<'a> {
    fn new(m: &'a Machine) -> Self {
        let home = m.dir.join("home");
        fs::create_dir_all(home.join(".config/lxc")).unwrap();
        fs::copy(BINARY, m.dir.join("lxcbox")).unwrap();
        let ids = "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 200000 65536\n";
        fs::write(home.join(".config/lxc/default.conf"), format!("lxc.net.0.type = empty\n{ids}"))
            .unwrap();
        let cgroup = m.name("user");
        let script = format!(
            r#"
            set -e
            cd {dir}
            echo someone:200000:65536 >subids
            mount --bind subids /etc/subuid
            mount --bind subids /etc/subgid
            (cat /etc/passwd; echo someone:x:{UID}:{UID}::{home}:/bin/sh) >users
            mount --bind users /etc/passwd
            mkdir -p /run/user/{UID}
            chown -R {UID}:{UID} home /run/user/{UID}
            for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                [ -e $h/cgroup.procs ] || continue
                mkdir $h/{cgroup}
                for f in cpuset.cpus cpuset.mems; do
                    [ ! -e $h/$f ] || [ -e $h/cgroup.controllers ] || cat $h/$f >$h/{cgroup}/$f
                done
                chown -R {UID}:{UID} $h/{cgroup}
            done"#,
            dir = m.dir.display(),
            home = home.display(),
        );
        let this = Self { m, home, cgroup };
        m.sh(&script).ok();
        this
    }

    /// A tool, run by the user within the user's cgroups.
    fn lxc(&self, tool: &str, args: &str) -> Outcome {
        let Self { m, home, cgroup } = self;
        let dir = m.dir.display();
        m.sh(&format!(
            "for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                 [ ! -e $h/{cgroup}/cgroup.procs ] || echo $$ >$h/{cgroup}/cgroup.procs
             done
             cd /
             exec setpriv --reuid {UID} --regid {UID} --clear-groups env -i PATH=$PATH \
                 HOME={home} XDG_RUNTIME_DIR=/run/user/{UID} {dir}/lxcbox lxc-{tool} {args}",
            home = home.display(),
        ))
    }

    fn containers(&self) -> PathBuf {
        self.home.join(".local/share/lxc")
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let cgroup = &self.cgroup;
        self.m.sh(&format!(
            "for h in /sys/fs/cgroup /sys/fs/cgroup/*; do
                 [ -d $h/{cgroup} ] && find $h/{cgroup} -depth -type d -exec rmdir {{}} \\;
             done"
        ));
    }
}

/// The user's directory for sockets is nobody else's, as logind makes it; the container's root is
/// somebody else.
#[test]
fn a_users_container_says_when_it_is_ready() {
    let m = Machine::new();
    let user = User::new(&m);
    m.sh(&format!("chmod 700 /run/user/{UID}")).ok();
    let name = m.name("notify");
    user.lxc("create", &format!("-n {name} -t host")).ok();
    let dir = user.containers().join(&name);
    let notify = "use Socket; socket(S, PF_UNIX, SOCK_DGRAM, 0);\n\
        send(S, 'READY=1', 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die;\n\
        $SIG{PWR} = sub { exit 0 }; sleep 1000;\n";
    fs::write(dir.join("rootfs/notify.pl"), notify).unwrap();
    let config = fs::read_to_string(dir.join("config")).unwrap();
    let lines = "lxc.start.auto = 1\nlxc.start.ready = notify\n\
        lxc.init.cmd = /usr/bin/perl /notify.pl\n";
    fs::write(dir.join("config"), config + lines).unwrap();
    let said = user.lxc("autostart", "-t 10").ok();
    assert!(said.starts_with(&format!("{name}: ready (")), "{said}");
    user.lxc("autostart", "-s -t 10").ok();
    assert_eq!(m.sh("ls -A /tmp | grep lxc-notify").stdout, "");
    user.lxc("destroy", &format!("-n {name}")).ok();
}

#[test]
fn a_user_makes_runs_and_destroys_containers() {
    let m = Machine::new();
    let user = User::new(&m);
    let name = m.name("own");
    for template in ["busybox", "host"] {
        user.lxc("create", &format!("-n {name} -t {template}")).ok();
        let file = user.containers().join(&name).join("config");
        let config = fs::read_to_string(&file).unwrap();
        assert!(config.contains("lxc.idmap"), "{config}");
        fs::write(&file, config.replace("lxc.pty.max", "#lxc.pty.max")).unwrap();
        user.lxc("start", &format!("-n {name}")).ok();
        assert_eq!(user.lxc("info", &format!("-n {name} -sH")).ok(), "RUNNING\n");
        let id = user.lxc("attach", &format!("-n {name} -- id -u")).ok();
        assert_eq!(id, "0\n", "{template}");
        let map = user.lxc("attach", &format!("-n {name} -- cat /proc/self/uid_map")).ok();
        assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "200000", "65536"]);
        // In cgroups that are the user's, and that its root may divide.
        let own = user.lxc("info", &format!("-n {name} -pH")).ok();
        let place = fs::read_to_string(format!("/proc/{}/cgroup", own.trim())).unwrap();
        assert!(place.lines().any(|line| line.contains(&user.cgroup)), "{place}");
        let table = user.lxc("ls", "-f -F NAME,STATE,UNPRIVILEGED").ok();
        assert!(table.contains(&format!("{name} RUNNING true")), "{table}");
        user.lxc("freeze", &format!("-n {name}")).ok();
        assert_eq!(user.lxc("info", &format!("-n {name} -sH")).ok(), "FROZEN\n");
        user.lxc("unfreeze", &format!("-n {name}")).ok();
        // Running, it is not destroyed; root's tools see it where it is.
        user.lxc("destroy", &format!("-n {name}")).fails(1);
        let mut root = m.command(BINARY);
        root.args(["lxc-info", "-P"]).arg(user.containers()).args(["-n", &name, "-sH"]);
        assert_eq!(crate::machine::run(root).ok(), "RUNNING\n");
        user.lxc("stop", &format!("-n {name} -t 30")).ok();
        user.lxc("start", &format!("-n {name}")).ok();
        user.lxc("stop", &format!("-n {name} -k")).ok();
        assert_eq!(user.lxc("info", &format!("-n {name} -sH")).ok(), "STOPPED\n");
        user.lxc("destroy", &format!("-n {name}")).ok();
        assert!(!user.containers().join(&name).exists(), "{template}");
    }
}

/// Files go in and out of a user's own container, running or not, and are whose they should be.
#[test]
fn a_user_pushes_and_pulls() {
    let m = Machine::new();
    let user = User::new(&m);
    let name = m.name("files");
    user.lxc("create", &format!("-n {name} -t busybox")).ok();
    let root = user.containers().join(&name).join("rootfs");
    let home = user.home.display();
    m.sh(&format!(
        "cd {home} && mkdir -m 700 tree && echo text >tree/private && chmod 600 tree/private && \
         ln tree/private tree/same && chown -R {UID}:{UID} tree"
    ))
    .ok();
    let ids = |path: &std::path::Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.uid(), meta.gid(), meta.mode() & 0o7777)
    };
    for running in [false, true] {
        if running {
            user.lxc("start", &format!("-n {name}")).ok();
        }
        let inside = format!("/tmp/r{running}");
        let at = |path: &str| root.join(&inside[1..]).join(path);
        user.lxc("push", &format!("-n {name} -p -r {home}/tree {inside}/")).ok();
        user.lxc("push", &format!("-n {name} --uid 7 --gid 8 --mode 640 /bin/sh {inside}/sh")).ok();
        user.lxc("push", &format!("-n {name} /bin/sh {inside}/theirs")).ok();
        assert_eq!(ids(&at("")), (200_000, 200_000, 0o755));
        assert_eq!(ids(&at("tree/private")), (200_000 + UID, 200_000 + UID, 0o600));
        assert_eq!(ids(&at("sh")), (200_007, 200_008, 0o640));
        assert_eq!(ids(&at("theirs")), (200_000, 200_000, 0o755));
        assert_eq!(user.lxc("pull", &format!("-n {name} {inside}/tree/private -")).ok(), "text\n");
        user.lxc("pull", &format!("-n {name} -p -r {inside}/tree {home}/out{running}/")).ok();
        let out = user.home.join(format!("out{running}"));
        assert_eq!(ids(&out), (UID, UID, 0o755));
        assert_eq!(ids(&out.join("tree/private")), (UID, UID, 0o600));
        assert_eq!(fs::metadata(out.join("tree/same")).unwrap().nlink(), 2);
        // Not where the user may not write, nor what the user may not read.
        user.lxc("pull", &format!("-n {name} {inside}/sh /etc/lxcbox-test")).fails(1);
        m.sh(&format!("echo s >{home}/secret && chmod 600 {home}/secret")).ok();
        user.lxc("push", &format!("-n {name} {home}/secret {inside}/secret")).fails(1);
        assert!(!at("secret").exists());
    }
    user.lxc("stop", &format!("-n {name} -k")).ok();
    user.lxc("destroy", &format!("-n {name}")).ok();
}

#[test]
fn a_users_creation_that_fails_leaves_nothing() {
    let m = Machine::new();
    let user = User::new(&m);
    let name = m.name("fails");
    let template = m.dir.join("template");
    let script = "#!/bin/sh\nfor a; do case $a in --rootfs=*) r=${a#*=};; esac; done\n\
                  mkdir -p $r/a/b && chmod 700 $r/a && echo no luck >&2 && exit 3\n";
    fs::write(&template, script).unwrap();
    m.sh(&format!("chmod 755 {}", template.display())).ok();
    let said = user.lxc("create", &format!("-n {name} -t {}", template.display())).fails(1);
    assert!(said.contains("status 3"), "{said}");
    assert!(!user.containers().join(&name).exists(), "{said}");
}
