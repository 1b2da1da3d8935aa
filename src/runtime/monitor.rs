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
use crate::sys::{errno, fd, meanwhile, memory};
use crate::tty;
use crate::tty::host::Ground;
use crate::tty::record::Record;
use crate::util::sentence::sentence;
use crate::util::signames::Signal;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What the console of one boot goes to.
pub struct ConsoleEnds {
    peer: Option<OwnedFd>,
    record: Record,
}

/// What of the loop outlives a boot.
pub struct Monitor {
    /// Serves by itself while there is no [`Monitor::run`], see `sys::meanwhile`.
    server: Rc<RefCell<Server>>,
    signals: SignalFd,
    terminals: tty::monitor::Terminals,
    notifier: Option<Notifier>,
}

impl Monitor {
    /// Opens the console's peer and log and connects to the seccomp proxy, where configured.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn new(plan: &StartPlan, server: Server) -> Result<Self, Failure> {
        let config = &plan.config;
        let terminals = tty::monitor::Terminals::new().during(Step::Console)?;
        let origin = config.origin("lxc.seccomp.notify.proxy");
        let notifier = match &plan.seccomp.proxy {
            Some(proxy) => Some(Notifier::connect(proxy, origin).during(Step::Seccomp)?),
            None => None,
        };
        let signals = SignalFd::new(ALL_SIGNALS).during(Step::Monitor)?;
        let server = Rc::new(RefCell::new(server));
        meanwhile::serve(&server);
        Ok(Self { server, signals, terminals, notifier })
    }

    /// Before a boot that follows a reboot: clients of the last one are let go, but for those who
    /// wait for the next RUNNING.
    pub fn between_boots(&mut self) {
        self.server.borrow_mut().keep_for_reboot(&mut Hands(&mut self.terminals));
    }

    /// Enters a state and tells who waits for it.
    pub fn set_state(&mut self, state: State) {
        self.server.borrow_mut().set_state(state);
    }

    /// Connects the console of a boot with its peer, log and ring buffer.
    ///
    /// # Errors
    /// The peer is no terminal, the log cannot be opened.
    pub fn open_console(&mut self, plan: &StartPlan) -> Result<ConsoleEnds, Failure> {
        let ground = if plan.request.foreground { Ground::Foreground } else { Ground::Daemon };
        let peer = tty::host::open_peer(&plan.config, ground).during(Step::Console)?;
        let record = Record::open(&plan.config).during(Step::Console)?;
        Ok(ConsoleEnds { peer, record })
    }

    /// Gives up the name: from here on the container is STOPPED for everybody who asks.
    pub fn close(&mut self) {
        self.server.borrow_mut().close_socket();
    }

    /// Runs until init has ended.
    ///
    /// # Errors
    /// The loop itself cannot go on; the caller then ends the container.
    pub fn run(
        &mut self,
        plan: &mut StartPlan,
        live: &mut Live,
        ends: ConsoleEnds,
        cgroups: &mut CgroupTree,
    ) -> Result<Wait, Failure> {
        if let Some(pty) = live.console.take() {
            self.terminals.set_console(pty, ends.record, ends.peer).during(Step::Console)?;
        }
        self.terminals.set_ttys(std::mem::take(&mut live.ttys));
        if let Some(notifier) = &mut self.notifier {
            notifier.set_init_pid(live.init.pid());
            if let Some(listener) = live.seccomp.take() {
                notifier.add_listener(listener).during(Step::Seccomp)?;
            }
        }
        // The start's deep part is over; from here on little is needed for long.
        if let Err(e) = memory::give_back_stack() {
            log::debug!("memory is kept: {e}");
        }
        let settles = cgroups.is_unsettled().then(|| Instant::now() + UNSETTLED);
        let how = loop {
            let until = settles.filter(|_| cgroups.is_unsettled());
            let ready = self.wait(live, until)?;
            if until.is_some_and(|until| until <= Instant::now()) {
                cgroups.settle().unwrap_or_else(|e| log::warn!("{}", sentence(&e)));
            }
            // Every round: stalled output and a freeze under way have their own times.
            if let Err(e) = self.terminals.serve() {
                log::error!("{}", sentence(&e));
            }
            if ready.notifier {
                if let Some(notifier) = &mut self.notifier {
                    let _ = notifier.on_readable();
                }
            }
            if ready.signals {
                self.take_signals(live);
            }
            let notifier = &mut self.notifier;
            let mut view =
                View { plan: &mut *plan, live: &mut *live, cgroups: &mut *cgroups, notifier };
            let mut server = self.server.borrow_mut();
            if let Err(e) = server.serve(&mut view, &mut Hands(&mut self.terminals)) {
                log::error!("command socket: {e}");
            }
            drop(server);
            if process::peek(live.init.pid()).during(Step::Running)? != Wait::Running {
                break live.init.wait().during(Step::Running)?;
            }
        };
        self.terminals.finish();
        self.server.borrow_mut().announce_exit(raw_status(how));
        Ok(how)
    }

    /// Sleeps until there is something to do, or until then.
    fn wait(&self, live: &Live, until: Option<Instant>) -> Result<Ready, Failure> {
        let read = |fd| Some(Watch { fd, read: true, write: false });
        let server = self.server.borrow();
        let watches = [
            read(self.signals.as_fd()),
            read(server.as_fd()),
            read(self.terminals.as_fd()),
            live.init.pidfd().and_then(read),
            self.notifier.as_ref().and_then(|n| read(n.fd())),
        ];
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeouts = [server.timeout(), self.terminals.timeout(), left];
        let timeout = timeouts.into_iter().flatten().min();
        let ready = event::poll_all(&watches, timeout).during(Step::Running)?;
        Ok(Ready { signals: ready & 1 != 0, notifier: ready & 1 << 4 != 0 })
    }

    /// SIGHUP of the monitor's terminal asks init to end; window changes go to the console; what
    /// else arrives is passed on, as LXC does.
    fn take_signals(&mut self, live: &Live) {
        while let Ok(Some(info)) = self.signals.read() {
            let signal = match info.signo {
                CHLD => continue,
                WINCH => {
                    self.terminals.resize();
                    continue;
                }
                hup if hup == Signal::HUP.0 => Signal::TERM.0,
                other => other,
            };
            let sent = process::send_signal(live.init.pid(), live.init.pidfd(), signal);
            match sent {
                Ok(()) => log::debug!("signal {} passed on to init as {signal}", info.signo),
                Err(e) => log::debug!("signal {} as {signal} to init: {e}", info.signo),
            }
        }
    }
}

/// How long a container has run before a monitor in the foreground moves into its unified cgroup: a
/// command that is done by then is spared the kernel's grace periods, there and back.
const UNSETTLED: Duration = Duration::from_secs(1);

const CHLD: i32 = 17;
const WINCH: i32 = 28;

struct Ready {
    signals: bool,
    notifier: bool,
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
struct Hands<'a>(&'a mut tty::monitor::Terminals);

impl Terminals for Hands<'_> {
    fn reserve(&mut self, number: i32, client: u32) -> Result<(i32, OwnedFd), i32> {
        self.0.reserve(number, client)
    }

    fn release(&mut self, client: u32) {
        self.0.release(client);
    }

    fn console_log(&mut self, what: ConsoleLog) -> Result<Vec<u8>, i32> {
        self.0.console_log(what.read, what.clear, what.read_max, what.keep)
    }

    fn follow_console(&mut self) -> Result<(Vec<u8>, OwnedFd), i32> {
        self.0.follow_console()
    }
}

/// The container as the server asks for it.
struct View<'a> {
    plan: &'a mut StartPlan,
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
        let made = self.live.network.as_ref()?.devices().find(|d| d.index == index)?;
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
        // An empty value is an error in LXC's protocol, too; its lxc-info counts on it.
        let value = self.host_device(key).or_else(|| keys::get(&self.plan.config, key).ok());
        value.filter(|value| !value.is_empty())
    }

    fn set_config_item(&mut self, item: &str) -> Result<(), i32> {
        let (key, values) = item.split_once('\n').unwrap_or((item, ""));
        let cgroup = self.plan.take(key, values.lines()).map_err(|failure| {
            log::error!("{key}: {failure}");
            errno::EINVAL
        })?;
        self.cgroups.replan(cgroup);
        // A plan takes more of the stack than the loop.
        let _ = memory::give_back_stack();
        Ok(())
    }

    fn cgroup_path(&self, controller: Option<&str>, which: Which) -> Option<String> {
        let path = |controller: &str| match which {
            Which::Payload => self.cgroups.path(controller),
            Which::Limit => self.cgroups.limit_path(controller),
        };
        // Without a controller the unified hierarchy is meant, or the first where there is none.
        let first = || path(self.cgroups.hierarchies().next()?.query_name()?);
        controller.map_or_else(|| path("").or_else(first), path)
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
        let own: Vec<String> =
            self.cgroups.hierarchies().filter_map(|h| self.cgroups.path(h.query_name()?)).collect();
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
