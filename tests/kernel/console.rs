//! The terminals of a container: lxc-console on them, several at once, and the ring buffer of the
//! console that LXC's `console_log` reads.

use crate::machine::{Machine, eventually, libraries};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

const TWO: &str = "lxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\nlxc.tty.max = 2\n";

/// A tool, mostly lxc-console, on a terminal of its own.
pub struct Session {
    pub child: Child,
    /// The tool's terminal.
    pub terminal: File,
    typing: File,
    shown: Receiver<Vec<u8>>,
    output: String,
}

impl Session {
    fn new(m: &Machine, container: &str, args: &[&str]) -> Self {
        Self::of("console", m, container, args)
    }

    pub fn of(tool: &str, m: &Machine, container: &str, args: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("a terminal").into_string().expect("name");
        let open = || Stdio::from(File::options().read(true).write(true).open(&name).expect(&name));
        let tool = m.lxc_command(tool, &[&["-n", container], args].concat());
        let mut command = Command::new("setsid");
        command.args(["-c", "-w"]).arg(tool.get_program()).args(tool.get_args());
        command.stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().expect("setsid (util-linux)");
        drop(command);
        let mut master = File::from(master);
        let typing = master.try_clone().expect("dup");
        let (sender, shown) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = master.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let terminal = File::options().read(true).write(true).open(&name).expect(&name);
        Self { child, terminal, typing, shown, output: String::new() }
    }

    /// Types `keys` and waits until `marker` is shown after that.
    #[track_caller]
    pub fn say(&mut self, keys: &[u8], marker: &str) {
        self.output.clear();
        self.typing.write_all(keys).expect("typing");
        eventually(10, &format!("{marker:?} on the terminal"), || {
            for chunk in self.shown.try_iter() {
                self.output.push_str(&String::from_utf8_lossy(&chunk));
            }
            self.output.contains(marker).then_some(())
        });
    }

    /// Types `keys` and waits for the tool's end: its status and what it said.
    #[track_caller]
    pub fn end(mut self, keys: &[u8]) -> (Option<i32>, String) {
        self.typing.write_all(keys).expect("typing");
        let how = eventually(10, "the end of the tool", || self.child.try_wait().expect("wait"));
        while let Ok(chunk) = self.shown.recv_timeout(std::time::Duration::from_secs(5)) {
            self.output.push_str(&String::from_utf8_lossy(&chunk));
        }
        (how.code(), self.output)
    }
}

#[test]
fn lxc_console_lends_each_terminal_once_and_takes_it_back() {
    let m = Machine::new();
    let c = m.container("ttys", TWO);
    let root = m.lxcpath().join(&c).join("rootfs");
    let inittab = "null::sysinit:/bin/true\ntty1::respawn:/bin/sh\ntty2::respawn:/bin/sh\n";
    fs::write(root.join("etc/inittab"), inittab).unwrap();
    m.start(&c);

    let mut first = Session::new(&m, &c, &["-t", "1"]);
    first.say(b"", "Connected to tty 1");
    first.say(b"echo $((40+2)); cat -v\r", "42");
    let (status, said) = Session::new(&m, &c, &["-t", "1"]).end(b"");
    assert!(status == Some(1) && said.contains("tty 1") && said.contains("hint: "), "{said}");
    let mut second = Session::new(&m, &c, &[]);
    second.say(b"", "Connected to tty 2");
    let (status, said) = Session::new(&m, &c, &[]).end(b"");
    assert!(status == Some(1) && said.contains("a tty of") && said.contains("hint: "), "{said}");
    let (status, said) = Session::new(&m, &c, &["-t", "3"]).end(b"");
    assert!(status == Some(1) && said.contains("tty 3") && said.contains("lxc.tty.max"), "{said}");
    let mut console = Session::new(&m, &c, &["-t", "0"]);
    console.say(b"", "Connected to tty 0");
    assert_eq!(console.end(b"\x01q").0, Some(0));

    // The prefix twice types it; the prefix and then something else types both.
    first.say(b"\x01\x01.\r", "^A.");
    first.say(b"\x01x\r", "^Ax");
    // What is given back can be had again, also when the tool was killed. Another prefix.
    assert_eq!(second.end(b"\x01q").0, Some(0));
    let mut again = Session::new(&m, &c, &["-e", "^b"]);
    again.say(b"", "Connected to tty 2");
    again.say(b"echo $((50+2)); cat -v\r\x01q\r", "^Aq");
    again.child.kill().unwrap();
    let _ = again.child.wait();
    let again = eventually(10, "the tty to be free", || {
        let mut session = Session::new(&m, &c, &["-t", "2"]);
        session.say(b"", "tty 2");
        session.output.contains("Connected").then_some(session)
    });
    // The end of the container is the end of the session.
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(again.end(b"").0, Some(0));
    assert_eq!(first.end(b"").0, Some(0));
}

/// Starts something that does not end, interrupts it, and has an answer.
#[track_caller]
fn interrupts(session: &mut Session) {
    session.say(b"echo $((20+2)); sleep 1000\r", "\n22");
    // A shell that is just starting it hears the key itself, and stays.
    std::thread::sleep(std::time::Duration::from_millis(500));
    session.say(b"\x03", "^C");
    session.say(b"echo $((30+3))\r", "\n33");
}

#[test]
fn keys_interrupt_what_runs_on_the_console() {
    let m = Machine::new();
    let c = m.container("job", TWO);
    let root = m.lxcpath().join(&c).join("rootfs");
    let inittab = "null::sysinit:/bin/true\nconsole::respawn:-/bin/sh\n";
    fs::write(root.join("etc/inittab"), inittab).unwrap();
    m.start(&c);
    let mut session = Session::new(&m, &c, &["-t", "0"]);
    session.say(b"", "Connected");
    session.say(b"\r", "#");
    interrupts(&mut session);
    m.lxc("stop", &["-n", &c, "-k"]).ok();
    assert_eq!(session.end(b"").0, Some(0));

    let c = m.container("byhand", &format!("{TWO}{}", libraries()));
    let mut session = Session::of("execute", &m, &c, &["--", "/bin/sh"]);
    session.say(b"", "#");
    interrupts(&mut session);
    assert_eq!(session.end(b"exit 5\r").0, Some(5));
}

/// A connection to a container's monitor, made in the machine's network namespace.
fn connect(m: &Machine, name: &str) -> UnixStream {
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::os::fd::AsFd;
    let file = File::open(format!("/proc/{}/ns/net", m.holder_pid())).unwrap();
    let address = format!("{}/{name}/command", m.lxcpath().display());
    let there = std::thread::spawn(move || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let address = SocketAddr::from_abstract_name(address).unwrap();
        UnixStream::connect_addr(&address).unwrap()
    });
    there.join().unwrap()
}

/// CONSOLE_LOG as liblxc sends it: the answer's number and data.
fn console_log(m: &Machine, name: &str, clear: bool, read: bool, max: u64) -> (i32, Vec<u8>) {
    const CONSOLE_LOG: i32 = 11;
    let mut stream = connect(m, name);
    let mut frame = CONSOLE_LOG.to_ne_bytes().to_vec();
    frame.extend_from_slice(&24_i32.to_ne_bytes());
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&[u8::from(clear), u8::from(read), 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&max.to_ne_bytes());
    frame.extend_from_slice(&[0; 8]);
    stream.write_all(&frame).unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).unwrap();
    let number = |at: usize| i32::from_ne_bytes(answer[at..at + 4].try_into().unwrap());
    let mut data = vec![0; usize::try_from(number(4)).unwrap()];
    stream.read_exact(&mut data).unwrap();
    (number(0), data)
}

#[test]
fn the_ring_buffer_gives_the_newest_bytes_once() {
    let m = Machine::new();
    let log = m.dir.join("log");
    let lines = format!(
        "lxc.net.0.type = empty\nlxc.console.logfile = {}\nlxc.console.buffer.size = 4096\n\
         lxc.init.cmd = /bin/sh /say\n",
        log.display()
    );
    let c = m.container("ring", &lines);
    let script = "seq 1 3000\nread -r line\necho heard $line\nexec sleep 1000\n";
    fs::write(m.lxcpath().join(&c).join("rootfs/say"), script).unwrap();
    m.start(&c);
    let all = |marker: &str| {
        eventually(10, marker, || {
            let log = fs::read(&log).unwrap_or_default();
            log.ends_with(format!("{marker}\r\n").as_bytes()).then_some(log)
        })
    };
    let printed = all("3000");
    let newest = &printed[printed.len() - 4096..];
    let (status, head) = console_log(&m, &c, false, true, 10);
    assert_eq!((status, &head[..]), (0, &newest[..10]));
    let (status, rest) = console_log(&m, &c, false, true, 0);
    assert_eq!((status, &rest[..]), (0, &newest[10..]));
    assert_eq!(console_log(&m, &c, false, true, 0), (-libc::ENODATA, vec![]));

    let mut session = Session::new(&m, &c, &["-t", "0"]);
    session.say(b"", "Connected");
    session.say(b"you\r", "heard you");
    assert_eq!(session.end(b"\x01q").0, Some(0));
    all("heard you");
    assert_eq!(console_log(&m, &c, true, false, 0), (0, vec![]));
    assert_eq!(console_log(&m, &c, false, true, 0), (-libc::ENODATA, vec![]));

    let c = m.container("noring", "lxc.net.0.type = empty\n");
    m.start(&c);
    assert_eq!(console_log(&m, &c, false, true, 0), (-libc::EFAULT, vec![]));
}
