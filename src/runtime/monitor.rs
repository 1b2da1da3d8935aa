//! The event loop of the supervising process: init, signals, the command socket, the console and
//! seccomp notifications, in one poll(2). Nothing in it sleeps anywhere else.

use super::plan::StartPlan;
use super::start::Live;
use super::sync::{During, Failure, Step};
use crate::cgroup::devices::DeviceLine;
use crate::cgroup::{CgroupTree, LayoutKind};
use crate::config::{Explain, keys};
use crate::control::proto::{CgroupInfo, ConsoleLog, DeviceRule, Layout};
use crate::control::server::{Container, Server, Terminals, Which};
use crate::control::state::State;
use crate::seccomp::notify::Notifier;
use crate::sys::event::{self, ALL_SIGNALS, SignalFd, Watch};
use crate::sys::process::{self, Wait};
use crate::sys::{errno, fd};
use crate::tty::{Console, TtyError, TtyTable};
use crate::util::signames::Signal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What of the loop outlives a boot.
pub struct Monitor {
    server: Server,
    signals: SignalFd,
    console: Console,
    notifier: Option<Notifier>,
}

impl Monitor {
    /// Opens the console's peer and log and connects to the seccomp proxy, where configured.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn new(plan: &StartPlan, server: Server) -> Result<Self, Failure> {
        let config = &plan.config;
        let console = Console::new(config, plan.request.foreground).during(Step::Console)?;
        let origin = config.origin("lxc.seccomp.notify.proxy");
        let notifier = match &plan.seccomp.proxy {
            Some(proxy) => Some(Notifier::connect(proxy, origin).during(Step::Seccomp)?),
            None => None,
        };
        let signals = SignalFd::new(ALL_SIGNALS).during(Step::Monitor)?;
        Ok(Self { server, signals, console, notifier })
    }

    /// Enters a state and tells who waits for it.
    pub fn set_state(&mut self, state: State) {
        self.server.set_state(state);
    }

    /// Gives up the name: from here on the container is STOPPED for everybody who asks.
    pub fn close(&mut self) {
        self.server.close_socket();
    }

    /// Runs until init has ended.
    ///
    /// # Errors
    /// The loop itself cannot go on; the caller then ends the container.
    pub fn run(
        &mut self,
        plan: &StartPlan,
        live: &mut Live,
        cgroups: &mut CgroupTree,
    ) -> Result<Wait, Failure> {
        let (master, slave) = live.console.take().unzip();
        self.console.connect(master, slave);
        if let Some(notifier) = &mut self.notifier {
            notifier.set_init_pid(live.init.pid());
            if let Some(listener) = live.seccomp.take() {
                notifier.add_listener(listener).during(Step::Seccomp)?;
            }
        }
        let mut ttys = TtyTable::new(std::mem::take(&mut live.ttys));
        let how = loop {
            let ready = self.wait(live)?;
            if ready.console {
                self.console.pump();
            }
            if ready.notifier {
                if let Some(notifier) = &mut self.notifier {
                    let _ = notifier.on_readable();
                }
            }
            if ready.signals {
                self.take_signals(live);
            }
            // Every round: a freeze that is under way has its own time.
            let notifier = &mut self.notifier;
            let mut view = View { plan, live: &mut *live, cgroups: &mut *cgroups, notifier };
            let mut terminals = Hands { console: &mut self.console, ttys: &mut ttys };
            if let Err(e) = self.server.serve(&mut view, &mut terminals) {
                log::error!("command socket: {e}");
            }
            if process::peek(live.init.pid()).during(Step::Running)? != Wait::Running {
                break live.init.wait().during(Step::Running)?;
            }
        };
        self.console.disconnect();
        self.server.announce_exit(raw_status(how));
        self.server.keep_for_reboot_if(how, &mut Hands { console: &mut self.console, ttys: &mut ttys });
        Ok(how)
    }

    /// Sleeps until there is something to do.
    fn wait(&self, live: &Live) -> Result<Ready, Failure> {
        let read = |fd| Some(Watch { fd, read: true, write: false });
        let mut watches = [
            read(self.signals.as_fd()),
            read(self.server.as_fd()),
            live.init.pidfd().and_then(read),
            self.notifier.as_ref().and_then(|n| read(n.fd())),
            None,
            None,
            None,
        ];
        for (slot, interest) in watches[4..].iter_mut().zip(self.console.interests()) {
            *slot = interest.map(|i| Watch { fd: i.fd, read: i.read, write: i.write });
        }
        let ready = event::poll_all(&watches, self.server.timeout()).during(Step::Running)?;
        Ok(Ready {
            signals: ready & 1 != 0,
            notifier: ready & 1 << 3 != 0,
            console: ready & 0b111 << 4 != 0,
        })
    }

    /// SIGHUP of the monitor's terminal asks init to end; window changes go to the console; what
    /// else arrives is passed on, as LXC does.
    fn take_signals(&mut self, live: &Live) {
        while let Ok(Some(info)) = self.signals.read() {
            let signal = match info.signo {
                CHLD => continue,
                WINCH => {
                    self.console.resize();
                    continue;
                }
                hup if hup == Signal::HUP.0 => Signal::TERM.0,
                other => other,
            };
            let sent = process::send_signal(live.init.pid(), live.init.pidfd(), signal);
            log::debug!("signal {} passed on to init as {signal}: {sent:?}", info.signo);
        }
    }
}

const CHLD: i32 = 17;
const WINCH: i32 = 28;

struct Ready {
    signals: bool,
    notifier: bool,
    console: bool,
}

/// The status word of wait(2).
fn raw_status(how: Wait) -> i32 {
    match how {
        Wait::Exited(code) => (code & 0xff) << 8,
        Wait::Signaled(signal) => signal & 0x7f,
        Wait::Running => 0,
    }
}

/// The terminals as the server asks for them.
struct Hands<'a> {
    console: &'a mut Console,
    ttys: &'a mut TtyTable,
}

fn tty_errno(error: TtyError) -> i32 {
    match error {
        TtyError::Unknown => errno::EINVAL,
        TtyError::Busy => errno::EBUSY,
        TtyError::Failed(errno) => errno,
    }
}

impl Terminals for Hands<'_> {
    fn reserve(&mut self, number: i32, client: u32) -> Result<(i32, OwnedFd), i32> {
        if number == 0 {
            return self.console.reserve_proxy(client).map(|fd| (0, fd)).map_err(tty_errno);
        }
        self.ttys.reserve(number, client).map_err(tty_errno)
    }

    fn release(&mut self, client: u32) {
        self.console.release(client);
        self.ttys.release(client);
    }

    /// As LXC's `lxc_cmd_console_log_callback`: what was read is forgotten.
    fn console_log(&mut self, what: ConsoleLog) -> Result<Vec<u8>, i32> {
        if what.write_logfile {
            self.console.dump_ring().map_err(|()| errno::EINVAL)?;
        }
        let ring = self.console.ring().ok_or(errno::EFAULT)?;
        let max = usize::try_from(what.read_max).unwrap_or(usize::MAX);
        let bytes = ring.peek(max);
        if bytes.is_empty() {
            return Err(errno::ENODATA);
        }
        if what.clear {
            ring.clear();
        } else if what.read {
            ring.forget(bytes.len());
        }
        Ok(if what.read { bytes } else { Vec::new() })
    }
}

/// The container as the server asks for it.
struct View<'a> {
    plan: &'a StartPlan,
    live: &'a mut Live,
    cgroups: &'a mut CgroupTree,
    notifier: &'a mut Option<Notifier>,
}

impl View<'_> {
    fn info(&self, v2: bool) -> CgroupInfo {
        let layout = match self.cgroups.layout() {
            LayoutKind::Legacy => Layout::Legacy,
            LayoutKind::Hybrid => Layout::Hybrid,
            LayoutKind::Unified => Layout::Unified,
        };
        let unified = layout == Layout::Unified;
        CgroupInfo { layout, devices: unified, freezer: unified, v2 }
    }

    /// `lxc.net.N.veth.pair` of the running container is the name that was chosen.
    fn host_device(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix("lxc.net.").or_else(|| key.strip_prefix("lxc.network."))?;
        let index: u32 = rest.strip_suffix(".veth.pair")?.parse().ok()?;
        let made = self.live.network.as_ref()?.devices().iter().find(|d| d.index == index)?;
        made.host.clone()
    }
}

fn number_of(error: &impl Explain) -> i32 {
    error.errno().unwrap_or(errno::EIO)
}

impl Container for View<'_> {
    fn name(&self) -> &str {
        &self.plan.request.name
    }

    fn lxcpath(&self) -> &Path {
        &self.plan.request.lxcpath
    }

    fn init_pid(&self) -> Option<i32> {
        Some(self.live.init.pid())
    }

    fn init_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.live.init.pidfd()
    }

    fn clone_flags(&self) -> u32 {
        // The flags of namespaces fit in the lower half.
        (self.plan.ns.flags() & u64::from(u32::MAX)) as u32
    }

    fn config_item(&self, key: &str) -> Option<String> {
        self.host_device(key).or_else(|| keys::get(&self.plan.config, key).ok())
    }

    fn cgroup_path(&self, controller: Option<&str>, which: Which) -> Option<String> {
        let first = self.cgroups.hierarchies().next().and_then(|h| h.query_name());
        let controller = controller.or(first)?;
        match which {
            Which::Payload => self.cgroups.path(controller),
            Which::Limit => self.cgroups.limit_path(controller),
        }
    }

    fn cgroup_fd(&self, controller: &str, which: Which) -> Option<(OwnedFd, CgroupInfo)> {
        let fd = match which {
            Which::Payload => self.cgroups.fd(controller),
            Which::Limit => self.cgroups.limit_fd(controller),
        }?;
        let v2 = self.cgroups.is_v2(controller);
        Some((fd, self.info(v2)))
    }

    fn cgroup2_fd(&self, which: Which) -> Option<OwnedFd> {
        if self.cgroups.layout() != LayoutKind::Unified {
            return None;
        }
        match which {
            Which::Payload => self.cgroups.fd("unified"),
            Which::Limit => self.cgroups.limit_fd("unified"),
        }
    }

    fn cgroups(&self) -> (CgroupInfo, Vec<OwnedFd>) {
        let v2 = self.cgroups.layout() == LayoutKind::Unified;
        let fds = self.cgroups.fds().into_iter().map(|(_, fd)| fd).collect();
        (self.info(v2), fds)
    }

    fn holds(&self, pid: i32) -> bool {
        let Ok(text) = fd::read_to_string(format!("/proc/{pid}/cgroup")) else { return false };
        let own: Vec<String> = self
            .cgroups
            .hierarchies()
            .filter_map(|h| self.cgroups.path(h.query_name()?))
            .collect();
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| {
            own.iter().any(|own| {
                path.strip_prefix(own.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
    }

    fn stop(&mut self) -> Result<(), i32> {
        let signal = self.plan.config.signals.stop.unwrap_or(Signal::KILL);
        let sent = process::send_signal(self.live.init.pid(), self.live.init.pidfd(), signal.0);
        if let Some(freezer) = self.cgroups.freezer() {
            // A frozen process dies only once it is thawed (v1).
            let _ = freezer.request(false);
        }
        sent.map_err(|e| e.errno)
    }

    fn request_freeze(&mut self, frozen: bool) -> Result<(), i32> {
        let freezer = self.cgroups.freezer().ok_or(errno::ENOSYS)?;
        freezer.request(frozen).map_err(|e| number_of(&e))
    }

    fn freeze_reached(&self, frozen: bool) -> Result<bool, i32> {
        let freezer = self.cgroups.freezer().ok_or(errno::ENOSYS)?;
        freezer.reached(frozen).map_err(|e| number_of(&e))
    }

    fn add_device_rule(&mut self, rule: DeviceRule) -> Result<(), i32> {
        let number = |n: i32| if n < 0 { "*".to_string() } else { n.to_string() };
        let access: String =
            rule.access.iter().filter(|&&b| b != 0).map(|&b| char::from(b)).collect();
        let kind = char::from(rule.kind);
        let text = format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor));
        let line = DeviceLine::parse(&text, rule.allow).map_err(|_| errno::EINVAL)?;
        self.cgroups.update_devices(line).map_err(|e| number_of(&e))
    }

    fn devpts_fd(&self) -> Option<BorrowedFd<'_>> {
        self.live.devpts.as_ref().map(AsFd::as_fd)
    }

    fn seccomp_notify_fd(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.as_ref().and_then(Notifier::listener)
    }

    fn add_seccomp_listener(&mut self, notify: OwnedFd) -> Result<(), i32> {
        let notifier = self.notifier.as_mut().ok_or(errno::EINVAL)?;
        notifier.add_listener(notify).map_err(|e| number_of(&e))
    }
}
