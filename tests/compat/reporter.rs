//! The helper that runs inside a container and tells what it sees, one `key: value` per line.
//!
//! It is this test's own program, copied into the root file system: as the container's init, as
//! lxc-execute's command, and under lxc-attach. It asks the kernel and changes nothing. What
//! differs from run to run (numbers of processes, inodes, mounts) is told as a relation or left to
//! the reader, `compare.rs`, who knows the host's side.

use std::ffi::CString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileTypeExt, MetadataExt};
use std::path::Path;

/// Lines of /proc/self/status that say something of the container and not of the moment.
const STATUS: [&str; 25] = [
    "Umask",
    "State",
    "Uid",
    "Gid",
    "Groups",
    "ShdPnd",
    "SigPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Speculation_Store_Bypass",
    "SpeculationIndirectBranch",
    "CoreDumping",
    "THP_enabled",
    "TracerPid",
    "Threads",
    "Mems_allowed_list",
];

/// Files of /proc/self and others that are told as they are.
const FILES: [&str; 15] = [
    "/proc/self/oom_score_adj",
    "/proc/self/personality",
    "/proc/self/timens_offsets",
    "/proc/self/uid_map",
    "/proc/self/gid_map",
    "/proc/self/setgroups",
    "/proc/self/coredump_filter",
    "/proc/self/attr/current",
    "/proc/self/loginuid",
    "/proc/self/cgroup",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/conf/all/forwarding",
];

/// Places that mount.auto and the hooks of a start make writable or not.
const WRITABLE: [&str; 24] = [
    "/",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/etc",
    "/proc",
    "/proc/sys",
    "/proc/sys/kernel/hostname",
    "/proc/sys/net",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/sys",
    "/sys/kernel",
    "/sys/class/net",
    "/sys/devices/virtual/net",
    "/sys/devices/virtual/net/lo/mtu",
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/memory",
    "/sys/fs/cgroup/devices",
];

/// `report FILE [stay]`: writes the report to FILE (`-`: standard output). With `stay` the process
/// then waits to be killed, as a container's init does.
pub fn main(args: &[String]) -> i32 {
    let text = report();
    let target = args.first().map_or("-", String::as_str);
    if target == "-" {
        let _ = std::io::stdout().write_all(text.as_bytes());
        return 0;
    }
    // Whoever waits for the file sees it whole or not at all.
    let fresh = format!("{target}.new");
    if let Err(e) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, target)) {
        eprintln!("{target}: {e}");
        return 1;
    }
    if args.get(1).is_some_and(|word| word == "stay") {
        loop {
            // SAFETY: pause(2) takes nothing and only sleeps.
            unsafe { libc::pause() };
        }
    }
    0
}

struct Report(String);

impl Report {
    fn line(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.0, "{key}: {}", value.trim_end().replace('\n', " ; "));
    }
}

fn report() -> String {
    let mut r = Report(String::new());
    descriptors(&mut r);
    status(&mut r);
    for path in FILES {
        let text = fs::read_to_string(path).unwrap_or_else(|e| format!("<{}>", e.kind()));
        r.line(path.trim_start_matches("/proc/"), &text);
    }
    limits(&mut r);
    process(&mut r);
    for entry in fs::read_dir("/proc/self/ns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        r.line(&format!("ns {name}"), &link(&entry.path()));
    }
    for (key, value) in std::env::vars_os() {
        r.line(&format!("env {}", key.to_string_lossy()), &value.to_string_lossy());
    }
    mounts(&mut r);
    tree(&mut r, Path::new("/dev"), 3);
    tree(&mut r, Path::new("/etc"), 2);
    tree(&mut r, Path::new("/sys/fs/cgroup"), 1);
    for path in WRITABLE {
        r.line(&format!("writable {path}"), writable(path));
    }
    processes(&mut r);
    r.0
}

fn link(path: &Path) -> String {
    match fs::read_link(path) {
        Ok(target) => target.display().to_string(),
        Err(e) => format!("<{}>", e.kind()),
    }
}

fn descriptors(r: &mut Report) {
    for fd in 0..1024 {
        // SAFETY: F_GETFL only asks for a number, of a descriptor that may not be open.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        if flags >= 0 {
            let access = ["r", "w", "rw", "?"][(flags & 3) as usize];
            let append = if flags & libc::O_APPEND == 0 { "" } else { " append" };
            let target = link(Path::new(&format!("/proc/self/fd/{fd}")));
            let kind = target.split(":[").next().unwrap_or_default();
            r.line(&format!("fd {fd}"), &format!("{kind} {access}{append}"));
        }
    }
}

fn status(r: &mut Report) {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if STATUS.contains(&key) {
            r.line(&format!("status {key}"), &value.replace('\t', " "));
        }
    }
}

fn limits(r: &mut Report) {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    for line in text.lines().skip(1) {
        let (name, values) = line.split_at(26.min(line.len()));
        let values: Vec<&str> = values.split_whitespace().collect();
        r.line(&format!("limit {}", name.trim()), &values.join(" "));
    }
}

/// What the kernel keeps for each process beside its status file.
fn process(r: &mut Report) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    // The list begins with an empty word; then the state, which is field 3 of proc(5).
    let field = |number: usize| fields.get(number - 2).and_then(|f| f.parse().ok()).unwrap_or(-9);
    let own = i64::from(std::process::id());
    let relation = |id: i64| match id {
        0 => "outside".to_string(),
        _ if id == own => "own".to_string(),
        1 => "init's".to_string(),
        -1 => "none".to_string(),
        _ => "another's".to_string(),
    };
    r.line("parent", &relation(field(4)));
    r.line("process group", &relation(field(5)));
    r.line("session", &relation(field(6)));
    let tty: i64 = field(7);
    let major = (tty >> 8) & 0xfff;
    let minor = (tty & 0xff) | ((tty >> 12) & 0xfff00);
    r.line("controlling terminal", &format!("{major}:{minor}"));
    r.line("foreground group", &relation(field(8)));
    r.line("nice", &field(19).to_string());
    r.line("policy", &field(41).to_string());
    r.line("exit signal", &field(38).to_string());
    let ask = |option: i32| {
        // SAFETY: these options of prctl(2) take no pointer and only ask.
        unsafe { libc::prctl(option, 0, 0, 0, 0) }
    };
    r.line("securebits", &format!("{:#x}", ask(libc::PR_GET_SECUREBITS)));
    r.line("dumpable", &ask(libc::PR_GET_DUMPABLE).to_string());
    r.line("timer slack", &ask(libc::PR_GET_TIMERSLACK).to_string());
    let mut number = 0i32;
    // SAFETY: both options write one int through the pointer, which outlives the calls.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut number) };
    r.line("parent death signal", &number.to_string());
    number = 0;
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut number) };
    r.line("subreaper", &number.to_string());
    // KEYCTL_GET_KEYRING_ID of the session keyring (-3), not created when missing.
    // SAFETY: this operation of keyctl(2) takes numbers only.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 0) };
    r.line("session keyring", &key.to_string());
    let mut text = [0u8; 256];
    // KEYCTL_DESCRIBE.
    // SAFETY: the kernel writes at most the length that is given, into `text`.
    unsafe { libc::syscall(libc::SYS_keyctl, 6, -3, text.as_mut_ptr(), text.len()) };
    let text: Vec<u8> = text.into_iter().take_while(|b| *b != 0).collect();
    r.line("session keyring is", &String::from_utf8_lossy(&text));
    r.line("working directory", &link(Path::new("/proc/self/cwd")));
    r.line("root", &link(Path::new("/proc/self/root")));
    r.line("program", &link(Path::new("/proc/self/exe")));
    let first = |name: &str| {
        let text = fs::read(format!("/proc/1/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&text).replace('\0', " ").trim().to_string()
    };
    r.line("init comm", &first("comm"));
    r.line("init cmdline", &first("cmdline"));
    for fd in 0..3 {
        // SAFETY: isatty(3) only asks about the number.
        let terminal = unsafe { libc::isatty(fd) } == 1;
        r.line(&format!("terminal {fd}"), &terminal.to_string());
    }
}

fn mounts(r: &mut Report) {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points = std::collections::HashMap::new();
    let mut seen: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        points.insert(words[0], words[4]);
    }
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|w| *w == "-").unwrap_or(words.len() - 4);
        let propagation: Vec<&str> =
            words[6..dash].iter().map(|w| w.split(':').next().unwrap_or_default()).collect();
        let point = words[4];
        let earlier = seen.iter().filter(|p| **p == point).count();
        seen.push(point);
        let device = words[2].strip_prefix("0:").map_or(words[2], |_| "0:anonymous");
        let key = match earlier {
            0 => format!("mount {point}"),
            n => format!("mount {point} #{}", n + 1),
        };
        let parent = points.get(words[1]).copied().unwrap_or("-");
        let value = format!(
            "{} source={} root={} {} super={} [{}] on {parent} {device}",
            words[dash + 1],
            words[dash + 2],
            words[3],
            words[5],
            words[dash + 3],
            propagation.join(","),
        );
        r.line(&key, &value);
    }
    r.line("mount order", &seen.join(" "));
}

/// Everything below a directory: kind, mode, owner, device numbers, target.
fn tree(r: &mut Report, dir: &Path, depth: u32) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(|e| (e.file_name(), e.ino()));
    if let Ok(meta) = fs::metadata(dir) {
        let text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        r.line(&format!("file {}/", dir.display()), &text);
    }
    for entry in entries {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        if kind.is_dir() {
            let shown = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
            if depth > 1 {
                tree(r, &path, depth - 1);
            } else {
                r.line(&format!("file {}/", path.display()), &shown);
            }
            continue;
        }
        let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if kind.is_symlink() {
            let _ = write!(text, " -> {}", link(&path));
        } else if kind.is_char_device() || kind.is_block_device() {
            let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
            let _ = write!(text, " device {major}:{minor}");
        }
        r.line(&format!("file {}", path.display()), &text);
    }
}

fn writable(path: &str) -> &'static str {
    let Ok(path) = CString::new(Path::new(path).as_os_str().as_bytes()) else { return "?" };
    // SAFETY: `path` is a C string that outlives the call.
    if unsafe { libc::access(path.as_ptr(), libc::W_OK) } == 0 {
        return "yes";
    }
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOENT) => "missing",
        Some(libc::EROFS) => "read-only",
        _ => "denied",
    }
}

/// The commands that run beside this one, without their numbers.
fn processes(r: &mut Report) {
    let mut names = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if pid != std::process::id() {
            names.push(name.trim().to_string());
        }
    }
    names.sort();
    // In the host's own process namespace the list is nobody's business here.
    if names.len() < 20 {
        r.line("processes", &names.join(" "));
    }
}
