//! What init may not do, and what it is told: seccomp, capabilities, limits, settings, hooks. Each
//! container is run in the foreground and writes down what it sees.

use crate::machine::{Machine, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Runs a container whose init is a shell script; gives back what it printed.
#[track_caller]
fn sees(m: &Machine, name: &str, script: &str) -> String {
    let root = root(m, name);
    fs::write(root.join("probe"), format!("exec > /seen 2>&1\n{script}\n"))
        .expect("test directory");
    m.lxc("start", &["-n", name, "-F", "-s", "lxc.init.cmd=/bin/sh /probe"]).ok();
    fs::read_to_string(root.join("seen")).unwrap_or_default()
}

fn root(m: &Machine, name: &str) -> PathBuf {
    m.lxcpath().join(name).join("rootfs")
}

fn policy(m: &Machine, text: &str) -> String {
    let path = m.dir.join("policy");
    fs::write(&path, text).expect("test directory");
    // Without nesting, a caller that is filtered itself (`LXCBOX_TEST_ENOSYS`) loads none.
    let path = path.display();
    format!("lxc.net.0.type = empty\nlxc.seccomp.profile = {path}\nlxc.seccomp.allow_nesting = 1\n")
}

#[test]
fn a_denylist_denies_and_nothing_else() {
    let m = Machine::new();
    let text = "2\ndenylist\nreject_force_umount\n[all]\nmkdir errno 77\nmkdirat errno 77\n\
                chmod errno 79 [1,0700,==]\nfchmodat errno 79 [2,0700,==]\n";
    let c = m.container("deny", &(policy(&m, text) + "lxc.mount.auto = proc:mixed\n"));
    let seen = sees(
        &m,
        &c,
        "mkdir /x; chmod 700 /tmp; chmod 755 /tmp && echo fine\n\
         grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status",
    );
    assert!(seen.contains("can't create directory '/x'"), "{seen}");
    assert!(seen.contains("chmod: /tmp:") && seen.contains("fine\n"), "{seen}");
    assert!(seen.contains("Seccomp:\t2") && seen.contains("NoNewPrivs:\t0"), "{seen}");
}

#[test]
fn a_policy_is_left_out_with_a_word_only_where_the_caller_is_confined() {
    if std::env::var_os("LXCBOX_TEST_ENOSYS").is_some() {
        println!("skipped: everybody is confined");
        return;
    }
    let m = Machine::new();
    let path = m.dir.join("policy");
    fs::write(&path, "2\ndenylist\nmkdir errno 77\nmkdirat errno 77\n").unwrap();
    let lines = format!("lxc.net.0.type = empty\nlxc.seccomp.profile = {}\n", path.display());
    let c = m.container("leftout", &lines);
    let confined = |tool: &str, args: &[&str]| {
        let mut command = m.lxc_command(tool, args);
        Machine::forbid(&mut command, &["openat2"]);
        run(command)
    };
    let attach = ["-n", &c, "--", "/bin/mkdir", "/x"];

    let started = confined("start", &["-n", &c]);
    let told = format!("seccomp policy {} is not loaded: already confined", path.display());
    assert!(started.status == 0 && started.stderr.contains(&told), "{}", started.stderr);
    confined("attach", &attach).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();

    fs::remove_dir(root(&m, &c).join("x")).unwrap();
    m.start(&c);
    let denied = confined("attach", &attach).fails(1);
    assert!(denied.contains("77") || denied.contains("can't create"), "{denied}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn callers_of_32_bits_get_the_same_policy() {
    let m = Machine::new();
    let c = m.container("deny32", &policy(&m, "2\ndenylist\nmkdir errno 77\nsocket errno 78\n"));
    let program = root(&m, &c).join("bin/try32");
    // mkdir("/", 0): its error, then socketcall(SOCKET, …) likewise: each as exit status.
    for (name, call, first) in [("mkdir", 39u8, 0x1000_0001u32), ("socketcall", 102, 1)] {
        fs::write(&program, elf32(call, first)).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let seen = sees(&m, &c, "/bin/try32; echo $?");
        if seen.contains("not found") || seen.contains("126") {
            println!("skipped: this kernel runs no 32-bit programs");
            return;
        }
        let want = if name == "mkdir" { "77\n" } else { "78\n" };
        assert_eq!(seen, want, "{name}");
    }
}

/// A whole program under the policy that every container of LXC's configurations has.
#[cfg(target_arch = "x86_64")]
#[test]
fn programs_of_32_bits_run_under_the_common_policy() {
    let m = Machine::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/i386.c");
    if !std::path::Path::new(source).exists() {
        println!("skipped: neither source nor compiler in an emulated machine");
        return;
    }
    let c = m.container("all32", &policy(&m, include_str!("../../share/config/common.seccomp")));
    let program = root(&m, &c).join("bin/all32");
    let mut cc = std::process::Command::new("cc");
    cc.args(["-m32", "-O1", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-no-pie"]);
    cc.args(["-nostdlib", "-static", "-o"]).arg(&program).arg(source);
    run(cc).ok();
    let seen = sees(&m, &c, "/bin/all32; echo $?");
    if seen.contains("not found") || seen.contains("126") {
        println!("skipped: this kernel runs no 32-bit programs");
        return;
    }
    let does = "page 1\nbyte 120\nchild 5\nfile 1\nmkdir 0\n";
    assert_eq!(seen, format!("{does}init_module -1\nkexec_load -1\n0\n"));
}

/// A 32-bit x86 program that makes one system call and exits with its negated result.
#[cfg(target_arch = "x86_64")]
fn elf32(call: u8, first: u32) -> Vec<u8> {
    const BASE: u32 = 0x1000_0000;
    let mut code = vec![0xb8, call, 0, 0, 0, 0xbb];
    code.extend(first.to_le_bytes());
    // xor ecx,ecx; xor edx,edx; int 80h; neg eax; mov ebx,eax; mov eax,1; int 80h
    code.extend([0x31, 0xc9, 0x31, 0xd2, 0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3]);
    code.extend([0xb8, 1, 0, 0, 0, 0xcd, 0x80]);
    let size = 84 + code.len() as u32;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0];
    // Version, entry, program headers, section headers, flags; sizes; then the one segment.
    for word in [1, BASE + 84, 52, 0, 0, 52 | 32 << 16, 1 | 40 << 16, 0] {
        elf.extend(u32::to_le_bytes(word));
    }
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        elf.extend(u32::to_le_bytes(word));
    }
    elf.extend(code);
    elf
}

#[test]
fn capabilities_are_dropped_and_none_is_inheritable() {
    let m = Machine::new();
    let lines = "lxc.net.0.type = empty\nlxc.cap.drop = sys_module mac_admin\n\
                 lxc.mount.auto = proc:mixed\n";
    let c = m.container("caps", lines);
    let caps = "grep ^Cap /proc/self/status";
    let fields = |seen: &str| -> Vec<(String, u64)> {
        let field = |line: &str| {
            let (name, hex) = line.split_once(":\t").unwrap();
            (name.to_owned(), u64::from_str_radix(hex, 16).unwrap())
        };
        seen.lines().map(field).collect()
    };
    for (name, mask) in fields(&sees(&m, &c, caps)) {
        match name.as_str() {
            "CapInh" | "CapAmb" => assert_eq!(mask, 0, "{name}"),
            _ => {
                assert_eq!(mask & (1 << 16 | 1 << 33), 0, "{name} {mask:x}");
                assert_ne!(mask & (1 << 21), 0, "{name} {mask:x}");
            }
        }
    }
    let config = m.config(&c);
    let text = fs::read_to_string(&config)
        .unwrap()
        .replace("cap.drop = sys_module mac_admin", "cap.keep = chown kill");
    fs::write(&config, text).unwrap();
    let kept = fields(&sees(&m, &c, caps));
    assert_eq!(kept.iter().find(|f| f.0 == "CapBnd").map(|f| f.1), Some(0x21));
}

#[test]
fn limits_and_settings_reach_init() {
    let m = Machine::new();
    let lines = "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\nlxc.prlimit.nofile = 100:200\n\
                 lxc.prlimit.core = 0\nlxc.sysctl.net.ipv4.ip_forward = 1\n\
                 lxc.sysctl.kernel.msgmax = 4242\nlxc.proc.oom_score_adj = 321\nlxc.arch = i686\n\
                 lxc.no_new_privs = 1\n";
    let c = m.container("limits", lines);
    let seen = sees(
        &m,
        &c,
        "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_forward\n\
         cat /proc/sys/kernel/msgmax /proc/self/oom_score_adj; busybox uname -m\n\
         grep NoNewPrivs /proc/self/status; ls /proc/self/fd | wc -l",
    );
    // What a kernel calls its own 32-bit machine.
    let machine = if cfg!(target_arch = "x86_64") { "i686" } else { "armv8l" };
    let wanted = format!("100\n200\n0\n1\n4242\n321\n{machine}\nNoNewPrivs:\t1\n4\n");
    assert_eq!(seen, wanted);
    let host = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    assert_ne!(host.trim(), "4242", "the host's own");
}

#[test]
fn hooks_run_in_order_and_are_told_what_lxc_tells() {
    let m = Machine::new();
    let c = m.container("hooks", "");
    let script = m.dir.join("hook");
    let log = m.dir.join("log");
    let text = format!(
        "#!/bin/sh\n{{ echo \"$* | $LXC_HOOK_TYPE $LXC_HOOK_SECTION $LXC_NAME v$LXC_HOOK_VERSION \
         pid=${{LXC_PID:+set}} target=$LXC_TARGET net=${{LXC_NET_NS:+set}} foo=$FOO bar=$BAR\"; \
         }} >> {}\n",
        log.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let kinds = ["pre-start", "pre-mount", "mount", "autodev", "start-host", "stop", "post-stop"];
    for version in [0, 1] {
        let mut lines = format!(
            "lxc.net.0.type = empty\nlxc.hook.version = {version}\nlxc.environment = FOO=1\n\
             lxc.environment.hooks = BAR=2\n"
        );
        for kind in kinds {
            lines.push_str(&format!("lxc.hook.{kind} = {} one\n", script.display()));
        }
        let text = format!("lxc.rootfs.path = dir:{}\n{lines}", root(&m, &c).display());
        fs::write(m.config(&c), text).unwrap();
        let _ = fs::remove_file(&log);
        sees(&m, &c, "true");
        let told = fs::read_to_string(&log).unwrap();
        let told: Vec<&str> = told.lines().collect();
        assert_eq!(told.len(), kinds.len(), "{told:#?}");
        for (kind, told) in kinds.iter().zip(told) {
            let inside = ["pre-mount", "mount", "autodev"].contains(kind);
            let after = ["start-host", "stop", "post-stop"].contains(kind);
            let end = ["stop", "post-stop"].contains(kind);
            let (arguments, variables) = told.split_once(" | ").unwrap();
            let words = if version == 0 { format!("one {c} lxc {kind}") } else { "one".into() };
            assert!(arguments.starts_with(&words), "{told}");
            assert_eq!(
                arguments.contains(" net:/proc/"),
                version == 0 && *kind == "stop",
                "{told}"
            );
            let typed = if version == 0 { " ".into() } else { format!("{kind} lxc") };
            let set = |yes: bool, value: &'static str| if yes { value } else { "" };
            let want = format!(
                "{typed} {c} v{version} pid={} target={} net={} foo={} bar={}",
                set(after, "set"),
                set(end, "stop"),
                set(end, "set"),
                set(inside, "1"),
                set(inside, "2"),
            );
            assert_eq!(variables, want, "{kind}");
        }
    }
}

#[test]
fn hooks_of_a_reboot_are_told_so() {
    let m = Machine::new();
    let c = m.container("rebooting", "lxc.net.0.type = empty\n");
    let (script, log) = (m.dir.join("hook"), m.dir.join("log"));
    let text = format!("#!/bin/sh\necho $3 $LXC_TARGET ${{LXC_PID:+pid}} >> {}\n", log.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = fs::read_to_string(m.config(&c)).unwrap();
    for kind in ["pre-start", "start-host", "stop", "post-stop"] {
        config.push_str(&format!("lxc.hook.{kind} = {}\n", script.display()));
    }
    fs::write(m.config(&c), config).unwrap();
    m.start(&c);
    m.lxc("stop", &["-n", &c, "-r"]).ok();
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(m.settle(), Vec::<String>::new());
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "pre-start\nstart-host pid\nstop reboot pid\npost-stop reboot pid\n\
         pre-start reboot\nstart-host reboot pid\nstop stop pid\npost-stop stop pid\n"
    );
}

#[test]
fn start_hooks_run_inside_and_confined() {
    let m = Machine::new();
    let mut lines = policy(&m, "2\ndenylist\nmkdir errno 77\nmkdirat errno 77\n");
    lines.push_str("lxc.mount.auto = proc:mixed\nlxc.cap.drop = sys_module\n");
    lines.push_str("lxc.hook.start = /bin/hook\n");
    let c = m.container("starthook", &lines);
    let hook = root(&m, &c).join("bin/hook");
    let text = "#!/bin/sh\n{ mkdir /x; grep -E '^(CapBnd|CapInh|Seccomp):' /proc/self/status; \
                ls /proc/self/fd; } > /hooked 2>&1\n";
    fs::write(&hook, text).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    sees(&m, &c, "true");
    let seen = fs::read_to_string(root(&m, &c).join("hooked")).unwrap();
    assert!(seen.contains("can't create directory '/x'"), "{seen}");
    assert!(seen.contains("Seccomp:\t2") && seen.contains("CapInh:\t0000000000000000"), "{seen}");
    let open: Vec<&str> = seen.lines().skip_while(|l| !l.starts_with("Seccomp:")).skip(1).collect();
    // The fourth is the directory that ls reads.
    assert_eq!(open, ["0", "1", "2", "3"]);
}
