//! lxc-user-nic: an ordinary user's container on a bridge of root's. The users, their ids and what
//! they may are in an /etc of the test's own; the helper is a copy that is setuid root.

use crate::machine::{BINARY, Machine, Outcome, eventually, run};
use crate::ovs::Switch;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

const EVA: u32 = 54321;
const BOB: u32 = 54322;
/// The first of eva's 65536 ids.
const IDS: u32 = 200_000;

/// A machine with the users eva and bob, both of the group net, a bridge br0 at 10.9.0.1, and
/// this helper at LXC's place.
struct Users {
    m: Machine,
    /// Eva's cgroup, in each hierarchy.
    cgroups: Vec<std::path::PathBuf>,
}

impl Deref for Users {
    type Target = Machine;
    fn deref(&self) -> &Machine {
        &self.m
    }
}

const SETUP: &str = r#"
set -e
cp -a /etc/. etc/
mount --bind etc /etc
for user in eva:54321 bob:54322; do
	echo "${user%:*}:x:${user#*:}:${user#*:}::$PWD/home:/bin/sh" >>/etc/passwd
	echo "${user%:*}:x:${user#*:}:" >>/etc/group
done
echo net:x:54400:eva,bob >>/etc/group
echo eva:200000:65536 | tee /etc/subuid >/etc/subgid
mkdir -p /etc/lxc
printf 'eva veth br0 2\n@net veth br0 1\neva veth none 1\n' >/etc/lxc/lxc-usernet
ip link add br0 type bridge
ip addr add 10.9.0.1/24 dev br0
ip link set br0 up
"#;

impl Users {
    fn new() -> Self {
        Self::on(Machine::new())
    }

    fn on(m: Machine) -> Self {
        for dir in ["etc", "home/lxc", "bin"] {
            fs::create_dir_all(m.dir.join(dir)).unwrap();
        }
        let tools =
            [(BINARY, "lxcbox", 0o755), (env!("CARGO_BIN_EXE_lxc-user-nic"), "nic", 0o4755)];
        for (from, to, mode) in tools {
            let to = m.dir.join("bin").join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).unwrap();
        }
        for dir in ["home", "home/lxc"] {
            chown(m.dir.join(dir), Some(EVA), Some(EVA)).unwrap();
        }
        m.sh(&format!(
            "cp -p /usr/libexec/lxc/lxc-user-nic '{0}/bin/theirs'; cd '{0}'\n{SETUP}",
            m.dir.display()
        ))
        .ok();
        let users = Self { cgroups: own_cgroups(&m), m };
        users.helper(&users.dir.join("bin/nic"));
        users
    }

    /// Puts a helper at the place where it is looked for.
    fn helper(&self, path: &Path) {
        self.sh(&format!(
            "mkdir -p /usr/libexec/lxc; touch /usr/libexec/lxc/lxc-user-nic
             mount --bind '{}' /usr/libexec/lxc/lxc-user-nic",
            path.display()
        ))
        .ok();
    }

    /// A shell line by a user, in a cgroup of eva's.
    fn by(&self, uid: u32, script: &str) -> Outcome {
        let mut line = String::new();
        for dir in &self.cgroups {
            line.push_str(&format!("echo 0 >'{}/cgroup.procs'; ", dir.display()));
        }
        let mut command = self.command("sh");
        command.env_clear().args(["-c"]).arg(format!(
            "{line} exec setpriv --reuid {uid} --regid {uid} --init-groups env -i \
             PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME={0}/home NIC=/usr/libexec/lxc/lxc-user-nic \
             BOX={0}/bin/lxcbox P={0}/home/lxc sh -c '{script}'",
            self.dir.display()
        ));
        run(command)
    }

    fn nics(&self) -> String {
        self.sh("cat /run/lxc/nics").stdout
    }

    /// A container of eva's with this network.
    fn guest(&self, short: &str, lines: &str) -> String {
        // In the machine's list, so that what it leaves behind is found.
        let name = self.name(short);
        let built = self.rootfs(&name);
        let home = self.dir.join("home/lxc").join(&name);
        fs::create_dir_all(&home).unwrap();
        let root = home.join("rootfs");
        fs::rename(built, &root).unwrap();
        fs::remove_dir(self.lxcpath().join(&name)).unwrap();
        symlink("/bin/busybox", root.join("bin/wget")).unwrap();
        fs::write(
            root.join("etc/dhcp"),
            "#!/bin/sh\n[ \"$1\" = bound ] && ip addr add $ip/24 dev $interface && \
             ip route add default via $router\n",
        )
        .unwrap();
        let config = format!(
            "lxc.rootfs.path = dir:{}\nlxc.uts.name = {short}\nlxc.idmap = u 0 {IDS} 65536\n\
             lxc.idmap = g 0 {IDS} 65536\nlxc.mount.auto = proc:mixed sys:mixed\n{lines}",
            root.display()
        );
        fs::write(home.join("config"), config).unwrap();
        self.sh(&format!(
            "chmod 755 '{0}/rootfs/etc/dhcp'; chown -R {IDS}:{IDS} '{0}/rootfs'; chown {EVA} '{0}' \
             '{0}/config'; chmod -R go+rX '{1}'",
            home.display(),
            self.dir.display()
        ))
        .ok();
        name
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let names = fs::read_dir(self.dir.join("home/lxc")).unwrap();
        for name in names.flatten() {
            let name = name.file_name().to_string_lossy().into_owned();
            let _ = self.by(EVA, &format!("$BOX lxc-stop -P $P -n {name} -k"));
        }
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        for dir in &self.cgroups {
            let script = format!("find '{}' -depth -type d -exec rmdir {{}} \\;", dir.display());
            while dir.exists() && std::time::Instant::now() < end {
                let _ = self.sh(&script);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// A cgroup in each hierarchy that belongs to eva, as a login makes them.
fn own_cgroups(m: &Machine) -> Vec<std::path::PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let mut found = Vec::new();
    let mut hierarchies: Vec<_> = fs::read_dir(top)
        .unwrap()
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    if top.join("cgroup.procs").exists() {
        hierarchies = vec![top.to_owned()];
    }
    let tag = m.dir.file_name().unwrap().to_owned();
    for hierarchy in hierarchies {
        let dir = hierarchy.join(format!("user-{}", tag.to_string_lossy()));
        fs::create_dir(&dir).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(value), true) = (fs::read(hierarchy.join(file)), dir.join(file).exists()) {
                let _ = fs::write(dir.join(file), value);
            }
        }
        m.sh(&format!("chown -R {EVA} '{}'", dir.display())).ok();
        found.push(dir);
    }
    found
}

#[test]
fn an_ordinary_users_container_is_on_the_bridge() {
    let m = Users::new();
    // It ends by itself if the test fails.
    m.sh(
        "(timeout 120 dnsmasq -k --conf-file=/dev/null --port=0 --interface=br0 --bind-interfaces \
          --dhcp-range=10.9.0.50,10.9.0.99 --pid-file=/run/d.pid --dhcp-leasefile=/run/leases &) \
          </dev/null >/dev/null 2>&1",
    )
    .ok();
    let veth = "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.flags = up\n";
    let fixed = format!(
        "{veth}lxc.net.0.hwaddr = 02:00:00:00:00:07\nlxc.net.0.mtu = 1400\n\
         lxc.net.0.ipv4.address = 10.9.0.2/24\nlxc.net.0.ipv4.gateway = 10.9.0.1\n"
    );
    let asks = m.guest("asks", veth);
    let fixed = m.guest("fixed", &fixed);
    for name in [&asks, &fixed] {
        m.by(EVA, &format!("$BOX lxc-start -P $P -n {name}")).ok();
    }
    let inside = |name: &str, line: &str| {
        m.by(EVA, &format!("$BOX lxc-attach -P $P -n {name} -- sh -c \"{line}\"")).ok()
    };
    let shown = inside(&fixed, "ip addr show eth0; ip route; ping -c 1 -W 2 10.9.0.1");
    for part in
        ["02:00:00:00:00:07", "mtu 1400", "10.9.0.2/24", "default via 10.9.0.1", " 0% packet"]
    {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    inside(&asks, "udhcpc -n -q -t 5 -i eth0 -s /etc/dhcp");
    inside(&asks, "ping -c 1 -W 2 10.9.0.2");
    m.sh("ping -c 1 -W 2 10.9.0.2").ok();
    let info = m.by(EVA, &format!("$BOX lxc-info -P $P -n {fixed}")).ok();
    assert!(info.contains("10.9.0.2") && info.contains(&format!("veth{EVA}_")), "{info}");
    let both = m.nics();
    assert_eq!(
        both.lines().filter(|l| l.starts_with(&format!("eva veth br0 veth{EVA}_"))).count(),
        2
    );

    // A stop takes the device away, and the next start counts again.
    m.by(EVA, &format!("$BOX lxc-stop -P $P -n {asks} -k")).ok();
    eventually(10, "the device to go", || {
        (m.sh("ip -br link show master br0").ok().lines().count() == 1).then_some(())
    });
    m.by(EVA, &format!("$BOX lxc-start -P $P -n {asks}")).ok();
    assert_eq!(m.nics().lines().count(), 2);

    // Debian's tools call ours, and ours call Debian's.
    m.by(EVA, &format!("lxc-stop -P $P -n {fixed} -k")).ok();
    m.by(EVA, &format!("lxc-start -P $P -n {fixed}")).ok();
    assert!(m.by(EVA, &format!("lxc-info -P $P -n {fixed} -iH")).ok().contains("10.9.0.2"));
    let answers = || {
        eventually(10, "the container to answer", || {
            (m.sh("ping -c 1 -W 1 10.9.0.2").status == 0).then_some(())
        });
    };
    answers();
    m.by(EVA, &format!("lxc-stop -P $P -n {fixed} -k")).ok();
    m.sh("umount /usr/libexec/lxc/lxc-user-nic").ok();
    m.by(EVA, &format!("$BOX lxc-start -P $P -n {fixed}")).ok();
    answers();
    m.sh("kill $(cat /run/d.pid)").ok();
}

#[test]
fn what_an_ordinary_user_may_not_is_told_with_its_line() {
    let m = Users::new();
    let veth = "lxc.net.0.type = veth\nlxc.net.0.link = br0\n";
    let cases = [
        ("lxc.net.0.type = macvlan\nlxc.net.0.link = br0\n".to_owned(), "only veth, empty", ":6)"),
        (format!("{veth}lxc.net.0.veth.pair = mine\n"), "a chosen name on the host", ":8)"),
        (format!("{veth}lxc.net.0.veth.ipv4.route = 10.8.0.0/24\n"), "routes on the host", ":6)"),
        (veth.replace("br0", "br7"), "bridge \"br7\" does not exist", ":7)"),
        (veth.replace("br0", "lo"), "Quota reached: eva may have 0", ":7)"),
    ];
    for (n, (lines, part, place)) in cases.iter().enumerate() {
        let name = m.guest(&format!("no{n}"), lines);
        let said = m.by(EVA, &format!("$BOX lxc-start -P $P -n {name}")).fails(1);
        assert!(said.contains(part) && said.contains(place) && said.contains("hint: "), "{said}");
    }
    assert_eq!(m.nics(), "");
}

/// A network namespace of the user's without a container: its process.
fn namespace(m: &Users, uid: u32) -> String {
    let file = m.dir.join(format!("home/pid{uid}"));
    m.sh(&format!(
        "touch {0}; chmod 666 {0}; setpriv --reuid {uid} --regid {uid} --clear-groups unshare -U -n --map-root-user \
         sh -c 'echo $$ >{0}; exec sleep 120' >/dev/null 2>&1 &",
        file.display()
    ))
    .ok();
    eventually(10, "a namespace", || {
        let pid = fs::read_to_string(&file).ok()?.trim().to_owned();
        (!pid.is_empty()).then_some(pid)
    })
}

/// The quota, and that nobody gets at what is another's.
#[test]
fn the_helper_acts_for_its_caller_alone() {
    let m = Users::new();
    let pid = namespace(&m, EVA);
    let create = format!("$NIC create /p c1 {pid} veth");
    let made = m.by(EVA, &format!("{create} br0 eth5")).ok();
    let parts: Vec<&str> = made.trim_end().split(':').collect();
    assert!(parts[0] == "eth5" && parts[2].starts_with(&format!("veth{EVA}_")), "{made}");
    let index = m.sh(&format!("cat /sys/class/net/{}/ifindex", parts[2])).ok();
    assert_eq!(parts[3], index.trim());
    assert!(m.sh("ip -br link show master br0").ok().contains(parts[2]));
    // Without a name it is the lowest; the third is out of the group's quota.
    for name in ["eth0", "eth1"] {
        assert!(m.by(EVA, &format!("{create} br0")).ok().starts_with(&format!("{name}:")));
    }
    let said = m.by(EVA, &format!("{create} br0")).fails(1);
    assert!(said.contains("Quota reached"), "{said}");
    assert!(m.by(EVA, &format!("{create} none net7")).ok().starts_with("net7:"));
    let nics = m.nics();
    let owners: Vec<&str> = nics.lines().map(|l| l.split(" veth").next().unwrap()).collect();
    assert_eq!(owners, ["eva", "eva", "@net", "eva"], "{nics}");
    // One that is gone is counted no more; a failure on the way leaves neither link nor line.
    m.sh(&format!("ip link del {}", parts[2])).ok();
    m.by(EVA, &format!("{create} br0 eth5")).ok();
    m.sh("ip link set br0 name br1; echo eva veth br9 1 >>/etc/lxc/lxc-usernet").ok();
    let before = (m.nics(), m.sh("ip -br link | cut -d\" \" -f1").ok());
    let said = m.by(EVA, &format!("{create} br9")).fails(1);
    assert!(said.contains("bridge \"br9\" does not exist"), "{said}");
    m.by(EVA, &format!("{create} none eth5")).fails(1);
    assert_eq!((m.nics(), m.sh("ip -br link | cut -d\" \" -f1").ok()), before);
    m.sh("ip link set br1 name br0").ok();

    // A limit of the caller's is lifted, or refused where even root may not lift it; what is written
    // half would lose count of others' devices.
    let nics = m.nics();
    let limited = m.by(EVA, &format!("ulimit -f 0; {create} none"));
    let whole = match limited.status {
        0 => m.nics().starts_with(&nics),
        _ => m.nics() == nics && limited.stderr.contains("becoming root"),
    };
    assert!(whole, "{limited:?}");

    // Another user's namespace, the host's by whatever process, a file that is none: one answer,
    // whether there is such a thing or not (CVE-2017-5985, CVE-2018-6556, CVE-2022-47952).
    let host = m.holder_pid();
    let nic = m.nics().lines().next().unwrap().split(' ').nth(3).unwrap().to_owned();
    m.sh("mkdir -m 700 /run/secret && touch /run/secret/there && mkfifo -m 666 /run/fifo").ok();
    let mut answers = Vec::new();
    for (uid, line) in [
        (BOB, create.clone() + " br0"),
        (BOB, format!("$NIC create /p c1 {host} veth br0")),
        (BOB, "exec $NIC create /p c1 $$ veth br0".into()),
        (BOB, "$NIC create /p c1 4194303 veth br0".into()),
        (BOB, format!("$NIC delete /p c1 /proc/{pid}/ns/net veth br0 {nic}")),
        (BOB, format!("$NIC delete /p c1 /run/secret/there veth br0 {nic}")),
        (BOB, format!("$NIC delete /p c1 /run/secret/not veth br0 {nic}")),
        (BOB, format!("$NIC delete /p c1 /run/fifo veth br0 {nic}")),
        (BOB, format!("$NIC delete /p c1 /proc/self/ns/user veth br0 {nic}")),
        (BOB, format!("$NIC delete /p c1 /proc/1/ns/net veth br0 {nic}")),
    ] {
        answers.push(m.by(uid, &line).fails(1));
    }
    answers.dedup();
    let wanted = format!("lxc-user-nic: uid {BOB} may not use that network namespace\n");
    assert_eq!(answers, [wanted]);
    assert_eq!(m.nics(), before.0);
    // The host's namespace is not even the caller's own to use.
    m.by(EVA, "exec $NIC create /p c1 $$ veth br0").fails(1);
    // Wrong words, and a helper that is not setuid.
    assert!(m.by(EVA, "$NIC create /p c1").fails(1).contains("usage: lxc-user-nic create"));
    m.by(EVA, &format!("$NIC create /p c1 {pid} veth ../x")).fails(1);
    m.sh("chmod u-s /usr/libexec/lxc/lxc-user-nic").ok();
    assert!(m.by(EVA, &format!("{create} br0")).fails(1).contains("setuid"));
    m.sh(&format!("kill {pid}")).ok();
}

/// Two users on the bridges of one switch: neither deletes what is the other's, by no mixture of
/// words (CVE-2026-39402), and a stop deletes the own.
#[test]
fn ports_of_a_switch_are_their_owners() {
    let Some(m) = Machine::with_debs() else { return };
    let m = Users::on(m);
    let s = Switch::on(&m);
    s.tell("add-br ovs1 -- set bridge ovs1 datapath_type=netdev");
    m.sh("printf 'eva veth ovs0 3\n@net veth ovs1 2\nbob veth ovs0 1\nbob veth ovs1 1\n' \
          >/etc/lxc/lxc-usernet")
        .ok();
    let guest = m.guest(
        "ovs",
        "lxc.net.0.type = veth\nlxc.net.0.link = ovs0\nlxc.net.0.flags = up\n\
         lxc.net.0.ipv4.address = 10.8.0.2/24\n",
    );
    m.by(EVA, &format!("$BOX lxc-start -P $P -n {guest}")).ok();
    m.by(EVA, &format!("$BOX lxc-attach -P $P -n {guest} -- ping -c 1 -W 2 10.8.0.1")).ok();
    let (eva, bob) = (namespace(&m, EVA), namespace(&m, BOB));
    let made = |uid, pid: &str, bridge: &str| {
        let line = m.by(uid, &format!("$NIC create /p c1 {pid} veth {bridge}")).ok();
        line.split(':').nth(2).unwrap().to_owned()
    };
    let [evas, groups, bobs] =
        [made(EVA, &eva, "ovs0"), made(EVA, &eva, "ovs1"), made(BOB, &bob, "ovs0")];
    let before = (m.nics(), s.tell("list-ports ovs0"), s.tell("list-ports ovs1"));
    assert!(before.1.contains(&evas) && before.1.contains(&bobs) && before.2.contains(&groups));
    for (bridge, nic) in
        [("ovs0", &evas), ("ovs1", &evas), ("ovs1", &groups), ("ovs1", &bobs), ("ovs0", &groups)]
    {
        let line = format!("$NIC delete /p c1 /proc/{bob}/ns/net veth {bridge} {nic}");
        let said = m.by(BOB, &line).fails(1);
        assert!(said.contains("is not bob"), "{said}");
    }
    let after = (m.nics(), s.tell("list-ports ovs0"), s.tell("list-ports ovs1"));
    assert_eq!(after, before);
    m.by(BOB, &format!("$NIC delete /p c1 /proc/{bob}/ns/net veth ovs0 {bobs}")).ok();
    m.by(EVA, &format!("$NIC delete /p c1 /proc/{eva}/ns/net veth ovs1 {groups}")).ok();
    m.by(EVA, &format!("$NIC delete /p c1 /proc/{eva}/ns/net veth ovs0 {evas}")).ok();
    m.by(EVA, &format!("$BOX lxc-stop -P $P -n {guest} -k")).ok();
    eventually(10, "the ports to go", || {
        let ports = s.tell("list-ports ovs0") + &s.tell("list-ports ovs1") + &m.nics();
        ports.is_empty().then_some(())
    });
    m.sh(&format!("kill {eva} {bob}")).ok();
}

/// What lxc-checkconfig finds of it: the helper, its mode, the lines of the user and of the groups,
/// the bridges that they name.
#[test]
fn checkconfig_knows_what_lacks() {
    let m = Users::new();
    let check = |wanted: [&str; 2]| {
        let said = m.by(EVA, "$BOX lxc-checkconfig --for unprivileged").stdout;
        for line in wanted {
            assert!(said.lines().any(|l| l == line), "{line}\n{said}");
        }
    };
    let fixes = |wanted: &str| {
        let said = m.by(EVA, "$BOX lxc-checkconfig --for unprivileged --fix").stdout;
        assert!(said.lines().any(|l| l == wanted), "{wanted}\n{said}");
    };
    let file = "/etc/lxc/lxc-usernet";
    let nic = "/usr/libexec/lxc/lxc-user-nic";
    let lets = |line: &str| m.sh(&format!("echo '{line}' >{file}")).ok();
    let good = format!("lxc-user-nic: enabled, {nic} is setuid root");
    check(["bridge for ordinary users: enabled, 2 devices on br0 for eva", &good]);
    lets("@net veth br0 3");
    check(["bridge for ordinary users: enabled, 3 devices on br0 for @net", &good]);
    // A helper of no rights; a bridge that is not there; nobody's line.
    m.helper(&m.dir.join("bin/lxcbox"));
    lets("eva veth br7 3");
    let nowhere =
        format!("recommended: bridge for ordinary users: {file} names br7, which is not there");
    check([&nowhere, &format!("recommended: lxc-user-nic: {nic} is not setuid root")]);
    fixes("ip link add br7 type bridge && ip link set br7 up");
    fixes(&format!("chown root {nic} && chmod u+s {nic}"));
    lets("bob veth br0 3");
    fixes(&format!("echo 'eva veth lxcbr0 10' >>{file}"));
    // A session of before the user came into the group.
    lets("@late veth br0 1");
    m.sh("echo late:x:54401:eva >>/etc/group").ok();
    let early = format!(
        "setpriv --reuid {EVA} --regid {EVA} --clear-groups env -i {}/bin/lxcbox lxc-checkconfig \
         --for unprivileged --fix",
        m.dir.display()
    );
    let said = m.sh(&early).stdout;
    assert!(said.lines().any(|l| l == "# log in again"), "{said}");
}

/// Each invocation with Debian's helper and with ours: the status, what is printed on success, and
/// what is in the database after.
#[test]
fn both_helpers_do_the_same() {
    let m = Users::new();
    let pid = namespace(&m, EVA);
    m.sh("echo eva veth br9 1 >>/etc/lxc/lxc-usernet").ok();
    let lines = [
        "",
        "create",
        "frob /p c1 PID veth br0",
        "create /p c1 PID veth br0",
        "create /p c1 PID veth br0 lan7",
        "create /p c1 PID veth br0 lan7",
        "create /p c1 PID veth br0 averyverylongname0",
        "create /p c1 PID veth br8",
        "create /p c1 PID veth br9",
        "create /p c1 PID macvlan br0",
        "create /p c1 word veth br0",
        "create /p c1 4194303 veth br0",
        "create /p c1 1 veth br0",
        "create /p c1 PID veth br0 a b",
        "delete /p c1 /proc/PID/ns/net veth br0 nosuch",
        "delete /p c1 /nonexistent veth br0 nosuch",
        "delete /p c1 /etc/shadow veth br0 nosuch",
    ];
    let answers = |nic: &str| -> Vec<String> {
        m.sh("rm -f /run/lxc/nics; for l in $(ip -br link | grep -o \"^veth[^@]*\"); do \
              ip link del $l; done")
            .ok();
        let mut all = Vec::new();
        for line in lines {
            let done = m.by(EVA, &format!("{nic} {}", line.replace("PID", &pid)));
            let names: Vec<&str> = done.stdout.trim().split(':').step_by(2).collect();
            let host = names.get(1).map(|n| n.split('_').next().unwrap_or_default());
            let first = names.first().copied().unwrap_or_default();
            all.push(format!("{line}: {} {first} {host:?}", done.status));
        }
        for line in m.nics().lines() {
            all.push(line.rsplit_once('_').map_or(line, |(start, _)| start).to_owned());
        }
        all
    };
    let (theirs, ours) = (answers(&format!("{}/bin/theirs", m.dir.display())), answers("$NIC"));
    // A create that fails leaves its line with Debian's, until the next one finds the device gone.
    let group = |line: &String| !line.starts_with("@net");
    assert_eq!(theirs.iter().filter(|l| !group(l)).count(), 1);
    assert_eq!(ours, theirs.into_iter().filter(group).collect::<Vec<_>>());
    m.sh(&format!("kill {pid}")).ok();
}
