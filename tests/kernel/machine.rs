//! The machine that a test runs on: a mount and network namespace with a sysfs of its own and the
//! host's cgroups bound back, a private lxcpath, and a way to run the tools in there.
//!
//! Nothing of the host's network is ever used. When the machine is dropped every container is
//! stopped and what is left behind (cgroup, process, mount, lock, link) fails the test.

#[path = "missing.rs"]
pub mod missing;

use missing::Missing;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where the binary under test was built.
pub const BINARY: &str = env!("CARGO_BIN_EXE_lxcbox");

/// What a command did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status, or 128 + signal.
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// What was run, for messages.
    pub what: String,
}

impl Outcome {
    /// Fails the test unless the command exited with 0; gives back its standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{} failed\n{}{}", self.what, self.stdout, self.stderr);
        self.stdout
    }

    /// Fails the test unless the exit status is `status`; gives back standard error.
    #[track_caller]
    pub fn fails(self, status: i32) -> String {
        assert_eq!(
            self.status, status,
            "{}: wanted status {status}\n{}{}",
            self.what, self.stdout, self.stderr
        );
        self.stderr
    }
}

/// Signals that the caller of the tests ignores (a shell's background jobs ignore two of them) would be
/// ignored by all that is run, for ever. Those that C libraries keep for themselves, too: LXC hands
/// them on to its containers, and ours does not.
#[allow(unsafe_code, reason = "signal dispositions")]
pub fn hear_signals() {
    // Longer than the kernel's structure; all zero, it is the default. signal(3) refuses three of them.
    let default = [0usize; 8];
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, 32, 33, 34] {
        // SAFETY: sets a default disposition from memory that outlives the call; there is no handler
        // whose data could be in use.
        unsafe {
            let (new, old) = (default.as_ptr(), std::ptr::null_mut::<usize>());
            libc::syscall(libc::SYS_rt_sigaction, signal, new, old, 8usize);
        }
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// See the module's text.
pub struct Machine {
    holder: Child,
    /// A directory of this test's own, on a real file system.
    pub dir: PathBuf,
    tag: String,
    containers: Mutex<Vec<String>>,
    /// System calls that the tools do not have here.
    missing: Vec<Missing>,
}

/// Makes the namespaces usable: private mounts, own sysfs, cgroups bound back, lo up. Prints one
/// line when ready and stays until its input ends.
const SETUP: &str = r#"
set -e
dir=$1
mount --make-rprivate /
mkdir -p $dir/cg
mount --rbind /sys/fs/cgroup $dir/cg
mount -t sysfs sysfs /sys
[ ! -e /sys/kernel/security ] || mount -t securityfs securityfs /sys/kernel/security
mount --rbind $dir/cg /sys/fs/cgroup
umount -l $dir/cg
mount -t tmpfs -o mode=755 run $dir/run
mount --bind $dir/run /run
mkdir -p /run/lock
ip link set lo up
echo ready
read -r _ || true
"#;

impl Machine {
    /// A fresh machine. Needs root. `LXCBOX_TEST_ENOSYS=openat2,clone3` (or `4.9`, see
    /// `missing.rs`) runs every test as on a kernel without these system calls.
    pub fn new() -> Self {
        let missing = std::env::var("LXCBOX_TEST_ENOSYS").unwrap_or_default();
        Self::without(&missing.split(',').filter(|name| !name.is_empty()).collect::<Vec<_>>())
    }

    /// A fresh machine whose kernel, for everything that is run there, lacks these system calls.
    pub fn without(missing: &[&str]) -> Self {
        let missing = missing.iter().flat_map(|name| missing::numbers(name)).collect();
        hear_signals();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // None is the beginning of another: what is left behind is found by it.
        let tag = format!("lt{:x}x{number:03x}", std::process::id());
        let base =
            std::env::var_os("LXCBOX_TEST_DIR").map_or(PathBuf::from("/var/tmp"), PathBuf::from);
        let dir = base.join(&tag);
        fs::create_dir_all(dir.join("lxc")).expect("test directory (are you root?)");
        fs::create_dir_all(dir.join("run")).expect("test directory");
        let mut holder = Command::new("unshare")
            .args(["-n", "-m", "--propagation", "private", "sh", "-c", SETUP, "setup"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare (util-linux)");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(holder.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("setup of the test machine");
        assert_eq!(line, "ready\n", "the test machine could not be set up; root is needed");
        Self { holder, dir, tag, containers: Mutex::new(Vec::new()), missing }
    }

    /// A machine on which the packages of the Makefile's DEBS are there too, laid over /usr and /etc
    /// (whose changes are its own); `None`, with the reason, where they were not fetched.
    pub fn with_debs() -> Option<Self> {
        let tree = std::env::var_os("LXCBOX_TEST_DEBS").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/debs/root"),
            PathBuf::from,
        );
        if !tree.join("usr").exists() {
            assert!(std::env::var_os("LXCBOX_TEST_NO_SKIPS").is_none(), "no {}", tree.display());
            println!("skipped: no packages in {}; `make debs` fetches them", tree.display());
            return None;
        }
        let m = Self::new();
        for dir in ["etc", "work", "log", "lib"] {
            fs::create_dir_all(m.dir.join("over").join(dir)).expect("test directory");
        }
        m.sh(&format!(
            "set -e; cd '{over}'; mount -t overlay -o lowerdir='{tree}/usr':/usr overlay /usr
             mount -t overlay -o lowerdir='{tree}/etc':/etc,upperdir=etc,workdir=work overlay /etc
             mount --bind log /var/log",
            tree = tree.display(),
            over = m.dir.join("over").display(),
        ))
        .ok();
        Some(m)
    }

    /// The private lxcpath.
    pub fn lxcpath(&self) -> PathBuf {
        self.dir.join("lxc")
    }

    /// True, and said, on a kernel that cannot map the ids of mounts: a test that needs it ends.
    pub fn cannot_map_mounts(&self) -> bool {
        let lacks = self.lacks("mount_setattr") || self.lacks("open_tree");
        if lacks {
            println!("skipped: this kernel cannot map the ids of mounts");
        }
        lacks
    }

    /// True on a kernel that lacks this system call, or under a filter as if it did.
    pub fn lacks(&self, name: &str) -> bool {
        missing::numbers(name)
            .iter()
            .any(|call| call.is_in(&self.missing) || call.is_unknown_here())
    }

    /// A process in the machine's namespaces.
    pub fn holder_pid(&self) -> u32 {
        self.holder.id()
    }

    /// A container name that no other test uses.
    pub fn name(&self, short: &str) -> String {
        let name = format!("{}-{short}", self.tag);
        let mut all = self.containers.lock().expect("no panic meanwhile");
        if !all.contains(&name) {
            all.push(name.clone());
        }
        name
    }

    /// A command that will run in the machine.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-m", "-n", "--"]).arg(program);
        command.env_remove("LXC_LOG_LEVEL").stdin(Stdio::null());
        // Debian's attach does without pidfds on no kernel.
        if !program.to_string_lossy().starts_with("/usr/bin/lxc-") {
            missing::forbid(&mut command, &self.missing);
        }
        command
    }

    /// One of our tools: `lxc("start", &["-n", name])`; `-P` is added.
    pub fn lxc(&self, tool: &str, args: &[&str]) -> Outcome {
        run(self.lxc_command(tool, args))
    }

    /// As [`Machine::lxc`], not yet run.
    pub fn lxc_command(&self, tool: &str, args: &[&str]) -> Command {
        let mut command = self.command(BINARY);
        command.arg(format!("lxc-{tool}")).arg("-P").arg(self.lxcpath()).args(args);
        command
    }

    /// Takes system calls from a command that has not been run yet.
    pub fn forbid(command: &mut Command, missing: &[&str]) {
        let missing: Vec<Missing> =
            missing.iter().flat_map(|name| missing::numbers(name)).collect();
        missing::forbid(command, &missing);
    }

    /// A shell script in the machine.
    pub fn sh(&self, script: &str) -> Outcome {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        run(command)
    }

    /// A directory with a static busybox and its applets: the smallest root that boots.
    pub fn rootfs(&self, name: &str) -> PathBuf {
        let root = self.lxcpath().join(name).join("rootfs");
        for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "run", "var", "mnt"] {
            fs::create_dir_all(root.join(dir)).expect("rootfs");
        }
        for link in ["sbin", "usr"] {
            let target = if link == "usr" { "." } else { "bin" };
            std::os::unix::fs::symlink(target, root.join(link)).expect("rootfs");
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        for applet in [
            "sh", "init", "cat", "ls", "ps", "ip", "mount", "umount", "sleep", "kill", "id",
            "echo", "true", "false", "reboot", "halt", "poweroff", "hostname", "mknod", "mkdir",
            "grep", "sed", "awk", "wc", "env", "stat", "readlink", "dd", "touch", "rm", "ln",
            "stty", "tty", "udhcpc", "ping", "head", "tail", "sort", "test", "date", "chmod", "nc",
            "ulimit", "printf", "seq", "cp", "mv", "find", "xargs", "getty", "sync",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("rootfs");
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("rootfs");
        fs::write(root.join("etc/group"), "root:x:0:\ntty:x:5:\n").expect("rootfs");
        // busybox init: halt on SIGUSR1, reboot on SIGTERM, as its manual has it.
        fs::write(root.join("etc/inittab"), "null::sysinit:/bin/true\n").expect("rootfs");
        root
    }

    /// Defines a container with a busybox rootfs and these further configuration lines.
    pub fn container(&self, short: &str, lines: &str) -> String {
        let name = self.name(short);
        let root = self.rootfs(&name);
        let mut config = format!("lxc.rootfs.path = dir:{}\n", root.display());
        let _ = writeln!(config, "lxc.uts.name = {short}");
        config.push_str("lxc.signal.halt = SIGUSR1\nlxc.signal.reboot = SIGTERM\n");
        config.push_str(lines);
        if !config.ends_with('\n') {
            config.push('\n');
        }
        if !self.missing.is_empty() && lines.contains("lxc.seccomp.profile") {
            // What is missing is so by a filter, below which no other would be loaded.
            config.push_str("lxc.seccomp.allow_nesting = 1\n");
        }
        fs::write(self.config(&name), config).expect("config");
        name
    }

    /// The configuration file of a container.
    pub fn config(&self, name: &str) -> PathBuf {
        self.lxcpath().join(name).join("config")
    }

    /// Starts a container and waits until it runs.
    #[track_caller]
    pub fn start(&self, name: &str) {
        self.lxc("start", &["-n", name]).ok();
    }

    /// Runs a shell line inside a container with lxc-attach.
    pub fn inside(&self, name: &str, script: &str) -> Outcome {
        self.lxc("attach", &["-n", name, "--", "/bin/sh", "-c", script])
    }

    /// The init's pid on the host.
    #[track_caller]
    pub fn init_pid(&self, name: &str) -> u32 {
        let text = self.lxc("info", &["-n", name, "-p", "-H"]).ok();
        text.trim().parse().unwrap_or_else(|_| panic!("no pid in {text:?}"))
    }

    /// Reboots from inside, which may end the shell that does it, and waits for the next boot.
    #[track_caller]
    pub fn reboot_inside(&self, name: &str, script: &str) {
        let before = self.init_pid(name);
        drop(self.inside(name, script));
        eventually(20, "the next boot", || {
            let pid = self.lxc("info", &["-n", name, "-p", "-H"]).stdout;
            let new = pid.trim().parse().is_ok_and(|pid: u32| pid != before);
            (new && self.state(name) == "RUNNING").then_some(())
        });
    }

    /// The state as lxc-info prints it.
    #[track_caller]
    pub fn state(&self, name: &str) -> String {
        self.lxc("info", &["-n", name, "-s", "-H"]).ok().trim().to_string()
    }

    /// The pid of the monitor, by its title.
    pub fn monitor_pid(&self, name: &str) -> Option<u32> {
        let title = format!("[lxc monitor] {} {name}", self.lxcpath().display());
        processes().find(|(_, line)| line.starts_with(&title)).map(|(pid, _)| pid)
    }

    /// What this machine's containers have left behind: cgroups, processes, mounts, sockets, links.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (pid, line) in processes() {
            if line.starts_with("[lxc monitor]") && line.contains(&self.tag) {
                found.push(format!("process {pid}: {line}"));
            }
        }
        for mount in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            find_cgroups(&mount.path(), &self.tag, 3, &mut found);
        }
        if Path::new("/sys/fs/cgroup/cgroup.procs").exists() {
            find_cgroups(Path::new("/sys/fs/cgroup"), &self.tag, 3, &mut found);
        }
        if let Ok(sockets) = fs::read_to_string("/proc/net/unix") {
            found.extend(sockets.lines().filter(|l| l.contains(&self.tag)).map(str::to_string));
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mounts", self.holder.id()));
        let lxcpath = self.lxcpath().display().to_string();
        for line in mounts.unwrap_or_default().lines() {
            if line.contains(&lxcpath) {
                found.push(format!("mount {line}"));
            }
        }
        // A network namespace goes, and its devices with it, some time after its last process.
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", self.holder.id()));
        for line in devices.unwrap_or_default().lines() {
            let name = line.split(':').next().unwrap_or_default().trim();
            if name.len() == 10 && name.starts_with("veth") {
                found.push(format!("device {name}"));
            }
        }
        found
    }

    /// The process that holds the machine's namespaces.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// Waits, at most ten seconds, until nothing is left behind; gives back what still is.
    pub fn settle(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.leftovers();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for name in self.containers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if self.lxcpath().join(name).exists() {
                let _ = self.lxc("stop", &["-n", name, "-k"]);
            }
        }
        let left = self.settle();
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
        let _ = fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        }
    }
}

/// Mounts of the host's libraries, which our own binary needs inside when it is not static.
pub fn libraries() -> String {
    let mut lines = String::new();
    for (from, to) in [("/usr/lib", "lib"), ("/usr/lib64", "lib64")] {
        if Path::new(from).exists() {
            let _ = writeln!(lines, "lxc.mount.entry = {from} {to} none bind,ro,create=dir 0 0");
        }
    }
    lines
}

/// Every process with its command line.
fn processes() -> impl Iterator<Item = (u32, String)> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let raw = fs::read(entry.path().join("cmdline")).ok()?;
        let text = String::from_utf8_lossy(&raw).replace('\0', " ").trim().to_string();
        Some((pid, text))
    })
}

fn find_cgroups(dir: &Path, tag: &str, depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(tag) {
            found.push(format!("cgroup {}", entry.path().display()));
        } else if depth > 0 {
            find_cgroups(&entry.path(), tag, depth - 1, found);
        }
    }
}

/// How much longer than usual to wait: `LXCBOX_TEST_PATIENCE=5` on an emulated machine.
fn patience() -> u32 {
    std::env::var("LXCBOX_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Runs a command to its end, at most two minutes.
pub fn run(mut command: Command) -> Outcome {
    let what = format!("{command:?}");
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let pid = child.id();
    let (done, timer) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if timer.recv_timeout(Duration::from_secs(120) * patience()).is_err() {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let output = child.wait_with_output().expect("wait");
    let _ = done.send(());
    let _ = watchdog.join();
    Outcome {
        status: output.status.code().unwrap_or(128 + output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        what,
    }
}

/// Waits, at most `seconds`, until `check` gives something.
#[track_caller]
pub fn eventually<T>(seconds: u64, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds) * patience();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
