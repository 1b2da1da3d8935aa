//! Asking a monitor: one typed function per command, each with a deadline, so that no tool hangs
//! on a monitor that is stopped or stuck.
//!
//! Works with LXC's monitors and with ours. LXC's closes the connection after each answer, ours
//! keeps it; a connection that is still there is used again. Start reading at `Client::call`
//! in `client/exchange.rs`.

mod exchange;
mod stop;

pub use super::error::ClientError;
pub use super::holder::Holder;

use super::address;
use super::proto::{
    CGROUP_CTX_BYTES, CGROUP_FD_BYTES, CgroupInfo, ConsoleLog, DeviceRule, FrameError, Opcode,
    Request, c_text, state_of,
};
use super::state::{COUNT, NOTICE_BYTES, Notice, State};
use crate::sys::event::{self, Ready};
use crate::sys::unix::{self, Block};
use crate::sys::{SysError, errno};
use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a monitor may take to answer unless the caller says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, ClientError>;

/// One answer.
#[derive(Debug)]
struct Answer {
    ret: i32,
    number: i32,
    data: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// A terminal of the container, ours until the connection is closed.
#[derive(Debug)]
pub struct Tty {
    /// The pty's master.
    pub master: OwnedFd,
    /// Its number; 0 is the console.
    pub number: i32,
    /// Holds the terminal; end of file here means that the monitor is gone.
    pub connection: OwnedFd,
}

/// State and init's pid, as one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Init's pid in the monitor's pid namespace, while there is one.
    pub init_pid: Option<i32>,
}

/// All cgroups of a container.
#[derive(Debug)]
pub struct CgroupCtx {
    /// The host's layout and what is there.
    pub info: CgroupInfo,
    /// One directory per hierarchy.
    pub fds: Vec<OwnedFd>,
}

/// The way to one container's monitor.
pub struct Client {
    address: Vec<u8>,
    name: String,
    timeout: Duration,
    /// A connection whose last answer is complete.
    idle: Cell<Option<OwnedFd>>,
    /// A connection on which two questions are asked already, and when the answers have to be
    /// there.
    asked: Cell<Option<(OwnedFd, Option<Instant>)>>,
    /// It has answered us.
    lives: Cell<bool>,
}

/// The questions of [`Client::status`].
const STATUS: [Opcode; 2] = [Opcode::GetState, Opcode::GetInitPid];
/// The questions of [`Client::init_and_cgroups`].
const INIT_AND_CGROUPS: [Request; 2] =
    [Request::Plain(Opcode::GetInitPidfd), Request::CgroupCtx(CGROUP_CTX_BYTES)];

impl Client {
    /// The monitor of `name` below `lxcpath`; connects when something is asked.
    pub fn new(lxcpath: &Path, name: &str) -> Self {
        Self::at(address::command_socket(lxcpath, name), name)
    }

    /// The monitor behind an address of /proc/net/unix, without its `@`.
    pub fn shown(address: &str) -> Self {
        Self::at(address.as_bytes().to_vec(), address)
    }

    fn at(address: Vec<u8>, name: &str) -> Self {
        let (idle, asked, lives) = (Cell::new(None), Cell::new(None), Cell::new(false));
        Self { address, name: name.to_owned(), timeout: DEFAULT_TIMEOUT, idle, asked, lives }
    }

    /// With another time limit per question.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The state; [`State::Stopped`] if nobody listens.
    pub fn state(&self) -> Result<State> {
        match self.number(Opcode::GetState) {
            Ok(n) => state_of(n).ok_or_else(|| self.malformed(Opcode::GetState)),
            Err(ClientError::NotRunning { .. }) => Ok(State::Stopped),
            Err(e) => Err(e),
        }
    }

    /// Sends the questions of [`Client::status`] now, for many monitors to work at the same time;
    /// those that do not answer then cost one time limit together. Failures show at `status`.
    pub fn ask_status(&self) {
        self.ask(&STATUS.map(Request::Plain));
    }

    /// Sends the questions of [`Client::init_and_cgroups`] now, likewise.
    pub fn ask_init_and_cgroups(&self) {
        self.ask(&INIT_AND_CGROUPS);
    }

    fn ask(&self, questions: &[Request; 2]) {
        let deadline = self.deadline();
        let frames = questions.iter().flat_map(Request::encode).collect::<Vec<_>>();
        let asked = self
            .connect(deadline)
            .and_then(|c| self.send_frame(&c, &frames, &[]).map(|()| (c, deadline)));
        self.asked.set(asked.ok());
    }

    /// State and init's pid in one round trip.
    pub fn status(&self) -> Result<Status> {
        // Init's pid is told when there is one, and then only.
        let early = |answer: &Answer| state_of(answer.number) == Some(State::Starting);
        let [state, pid] = self.pair(STATUS.map(Request::Plain), &early);
        let state = match state {
            Ok(answer) => {
                state_of(answer.number).ok_or_else(|| self.malformed(Opcode::GetState))?
            }
            Err(ClientError::NotRunning { .. }) => State::Stopped,
            Err(e) => return Err(e),
        };
        let init_pid = pid.ok().map(|a| a.number).filter(|pid| *pid > 0);
        Ok(Status { state, init_pid })
    }

    /// True unless the monitor denies this user; an absent monitor denies nothing.
    pub fn may_control(&self) -> bool {
        !matches!(self.number(Opcode::GetInitPid), Err(ClientError::Denied { .. }))
    }

    /// Init's pid in our pid namespace, if the monitor shares it.
    pub fn init_pid(&self) -> Result<i32> {
        match self.number(Opcode::GetInitPid)? {
            pid if pid > 0 => Ok(pid),
            // Its init has ended, and it does so itself.
            _ => Err(ClientError::NotRunning { name: self.name.clone() }),
        }
    }

    /// A pidfd of init; `None` if the monitor or the kernel has none.
    pub fn init_pidfd(&self) -> Result<Option<OwnedFd>> {
        self.maybe_fd(Opcode::GetInitPidfd)
    }

    /// The CLONE_NEW flags of the container's own namespaces.
    pub fn clone_flags(&self) -> Result<u32> {
        self.number(Opcode::GetCloneFlags).map(|n| n as u32)
    }

    /// A value of the running container's configuration; `None` if unset or not known.
    pub fn config_item(&self, key: &str) -> Result<Option<String>> {
        let request = Request::Text(Opcode::GetConfigItem, key.to_owned());
        match self.text(&request) {
            Ok(text) => Ok(Some(text)),
            // LXC says -1 for "no value", which is also "not permitted".
            Err(ClientError::Denied { .. } | ClientError::Failed { .. }) => Ok(None),
            // LXC's monitor closes the connection on an unknown key.
            Err(ClientError::NoReply { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Has a reboot from inside keep new values of a key; `false` if the monitor cannot (LXC's, and
    /// older ones of ours).
    pub fn set_config_item(&self, key: &str, values: &str) -> Result<bool> {
        let item = format!("{key}\n{values}");
        match self.call(&Request::Text(Opcode::SetConfigItem, item)) {
            Ok(_) => Ok(true),
            Err(ClientError::NoReply { .. }) => Ok(false),
            Err(ClientError::Failed { errno: errno::ENOSYS, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The cgroup of the container in the hierarchy of `controller` (`None`: the first one),
    /// relative to the hierarchy's root; `None` if it has none there.
    pub fn cgroup_path(&self, controller: Option<&str>) -> Result<Option<String>> {
        self.path_of(Opcode::GetCgroup, controller)
    }

    /// As [`Client::cgroup_path`], of the cgroup that holds the limits.
    pub fn limit_cgroup_path(&self, controller: Option<&str>) -> Result<Option<String>> {
        match self.path_of(Opcode::GetLimitCgroup, controller)? {
            // A monitor from before LXC 4.0.6 does not know the command.
            None => self.path_of(Opcode::GetCgroup, controller),
            path => Ok(path),
        }
    }

    /// The cgroup directory in the hierarchy of `controller`.
    pub fn cgroup_fd(&self, controller: &str) -> Result<(OwnedFd, CgroupInfo)> {
        self.info_fd(Opcode::GetCgroupFd, controller)
    }

    /// As [`Client::cgroup_fd`], of the cgroup that holds the limits.
    pub fn limit_cgroup_fd(&self, controller: &str) -> Result<(OwnedFd, CgroupInfo)> {
        self.info_fd(Opcode::GetLimitCgroupFd, controller)
    }

    /// The cgroup on a host that has only cgroup2; `None` on others.
    pub fn cgroup2_fd(&self) -> Result<Option<OwnedFd>> {
        self.maybe_fd(Opcode::GetCgroup2Fd)
    }

    /// As [`Client::cgroup2_fd`], of the cgroup that holds the limits.
    pub fn limit_cgroup2_fd(&self) -> Result<Option<OwnedFd>> {
        self.maybe_fd(Opcode::GetLimitCgroup2Fd)
    }

    /// All cgroups of the container.
    pub fn cgroup_ctx(&self) -> Result<CgroupCtx> {
        let answer = self.call(&Request::CgroupCtx(CGROUP_CTX_BYTES))?;
        decode_ctx(answer).ok_or_else(|| self.malformed(Opcode::GetCgroupCtx))
    }

    /// [`Client::init_pidfd`], and in the same round trip [`Client::cgroup_ctx`] where there is an
    /// answer to that.
    pub fn init_and_cgroups(&self) -> Result<(Option<OwnedFd>, Option<CgroupCtx>)> {
        let [init, ctx] = self.pair(INIT_AND_CGROUPS, &|_| false);
        let init = none_on_refusal(init)?.and_then(|mut answer| answer.fds.pop());
        Ok((init, ctx.ok().and_then(decode_ctx)))
    }

    /// The container's name, for an address that does not tell.
    pub fn name(&self) -> Result<String> {
        self.text(&Request::Plain(Opcode::GetName))
    }

    /// The container path, likewise.
    pub fn lxcpath(&self) -> Result<PathBuf> {
        let answer = self.call(&Request::Plain(Opcode::GetLxcpath))?;
        match answer.data.split_last() {
            Some((0, path)) if !path.is_empty() && !path.contains(&0) => {
                Ok(PathBuf::from(OsString::from_vec(path.to_vec())))
            }
            _ => Err(self.malformed(Opcode::GetLxcpath)),
        }
    }

    /// The systemd scope of the container, if it has one.
    pub fn systemd_scope(&self) -> Result<Option<String>> {
        none_on_refusal(self.text(&Request::Plain(Opcode::GetSystemdScope)))
    }

    /// Asks to be told of the first of `states` that is reached; `keep` survives a reboot of the
    /// container (LXC's value 2).
    pub fn watch(&self, states: &[State], keep: bool) -> Result<Watch> {
        let mut wanted = [0; COUNT];
        for state in states {
            wanted[*state as usize] = if keep { 2 } else { 1 };
        }
        let deadline = self.deadline();
        let request = Request::States(wanted);
        let (answer, connection) = match self.fresh(&request, deadline) {
            Err(ClientError::NotRunning { .. }) if states.contains(&State::Stopped) => {
                return Ok(Watch::Reached(State::Stopped));
            }
            done => done?,
        };
        Ok(match state_of(answer.number) {
            Some(state) => Watch::Reached(state),
            None => Watch::Pending(StateStream {
                connection,
                monitor: Self::at(self.address.clone(), &self.name),
            }),
        })
    }

    /// Freezes the container; the monitor waits `seconds` for it, -1 for ever.
    pub fn freeze(&self, seconds: i32) -> Result<()> {
        self.with_seconds(Opcode::Freeze, seconds)
    }

    /// Thaws the container, likewise.
    pub fn unfreeze(&self, seconds: i32) -> Result<()> {
        self.with_seconds(Opcode::Unfreeze, seconds)
    }

    /// Tells the monitor of a state that the caller has brought about (a freeze on version 1).
    pub fn announce(&self, state: State) -> Result<()> {
        self.call(&Request::Number(Opcode::ServeStateClients, state.number())).map(drop)
    }

    /// A terminal: 0 is the console, -1 the first free one.
    pub fn tty(&self, number: i32) -> Result<Tty> {
        let op = Opcode::GetTtyFd;
        let (mut answer, connection) = self.fresh(&Request::Number(op, number), self.deadline())?;
        match answer.fds.pop() {
            Some(master) => Ok(Tty { master, number: answer.number, connection }),
            // LXC answers a busy terminal with -EBADF, older ones with nothing.
            None => Err(self.failed(op, errno::EBUSY)),
        }
    }

    /// The console's ring buffer; ENODATA when it is empty, EFAULT when there is none.
    pub fn console_log(&self, what: ConsoleLog) -> Result<Vec<u8>> {
        self.call(&Request::ConsoleLog(what)).map(|answer| answer.data)
    }

    /// What the console's ring buffer has, and a socket that gives what comes until the end of the
    /// monitor, or until it has to wait; `None` if the monitor cannot (LXC's, and older ones of ours).
    pub fn follow_console(&self) -> Result<Option<(Vec<u8>, OwnedFd)>> {
        match self.call(&Request::Plain(Opcode::FollowConsole)) {
            Ok(mut answer) => Ok(answer.fds.pop().map(|stream| (answer.data, stream))),
            Err(ClientError::NoReply { .. }) if self.state().is_ok() => Ok(None),
            Err(ClientError::Failed { errno: errno::ENOSYS, .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The root of the container's devpts, if the monitor has it.
    pub fn devpts_fd(&self) -> Result<Option<OwnedFd>> {
        self.maybe_fd(Opcode::GetDevptsFd)
    }

    /// The seccomp notify descriptor, if there is one.
    pub fn seccomp_notify_fd(&self) -> Result<Option<OwnedFd>> {
        self.maybe_fd(Opcode::GetSeccompNotifyFd)
    }

    /// Hands the monitor a seccomp notify descriptor to answer.
    pub fn add_seccomp_listener(&self, notify: BorrowedFd<'_>) -> Result<()> {
        let op = Opcode::SeccompNotifyAddListener;
        let deadline = self.deadline();
        let connection = self.connect(deadline)?;
        self.send(&connection, &Request::Number(op, 0), &[])?;
        // In a message of its own, with one byte to carry it, as LXC's server expects.
        unix::send(connection.as_fd(), &[0], &[notify], None, Block::DontWait)
            .map_err(|e| self.socket(e))?;
        let answer = self.receive(connection.as_fd(), op, deadline)?;
        self.check(op, answer).map(drop)
    }

    /// Adds a rule to the container's device program.
    pub fn add_device_rule(&self, rule: DeviceRule) -> Result<()> {
        self.call(&Request::Device(rule)).map(drop)
    }

    /// Turns a negative `ret` into an error.
    fn check(&self, op: Opcode, answer: Answer) -> Result<Answer> {
        log::debug!("the monitor answered {} with {}", op.row().name, answer.ret);
        match answer.ret {
            n if n >= 0 => Ok(answer),
            // LXC gives -1 for a rule it could not load, not for lack of permission.
            n if n == -errno::EPERM && op != Opcode::AddBpfDeviceCgroup => {
                Err(ClientError::Denied { name: self.name.clone(), command: op.row().name })
            }
            n => Err(self.failed(op, n.saturating_neg())),
        }
    }

    fn number(&self, op: Opcode) -> Result<i32> {
        self.call(&Request::Plain(op)).map(|answer| answer.number)
    }

    fn text(&self, request: &Request) -> Result<String> {
        let answer = self.call(request)?;
        match c_text(&answer.data) {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.malformed(request.opcode())),
        }
    }

    fn path_of(&self, op: Opcode, controller: Option<&str>) -> Result<Option<String>> {
        let request = match controller {
            Some(controller) => Request::Text(op, controller.to_owned()),
            None => Request::Plain(op),
        };
        none_on_refusal(self.text(&request))
    }

    fn maybe_fd(&self, op: Opcode) -> Result<Option<OwnedFd>> {
        match self.call(&Request::Plain(op)) {
            Ok(mut answer) => Ok(answer.fds.pop()),
            Err(e) => none_on_refusal(Err(e)),
        }
    }

    fn info_fd(&self, op: Opcode, controller: &str) -> Result<(OwnedFd, CgroupInfo)> {
        let request = Request::CgroupFd(op, controller.to_owned(), CGROUP_FD_BYTES);
        let mut answer = self.call(&request)?;
        match (answer.fds.pop(), CgroupInfo::decode_fd(&answer.data)) {
            (Some(fd), Some(info)) => Ok((fd, info)),
            _ => Err(self.malformed(op)),
        }
    }

    fn with_seconds(&self, op: Opcode, seconds: i32) -> Result<()> {
        self.is_alive()?;
        // The answer comes when it is done, so the wait is part of the time limit.
        let deadline = u64::try_from(seconds)
            .ok()
            .and_then(|s| self.deadline()?.checked_add(Duration::from_secs(s)));
        self.fresh(&Request::Number(op, seconds), deadline).map(drop)
    }

    /// For commands that do something: a monitor that is stopped would obey them when it goes on,
    /// long after we have said that it does not.
    fn is_alive(&self) -> Result<()> {
        if self.lives.get() { Ok(()) } else { self.number(Opcode::GetState).map(drop) }
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    fn socket(&self, source: SysError) -> ClientError {
        match source.errno {
            errno::ECONNREFUSED | errno::EPIPE | errno::ECONNRESET => {
                ClientError::NotRunning { name: self.name.clone() }
            }
            _ => ClientError::Socket { name: self.name.clone(), source },
        }
    }

    fn timeout(&self, op: Opcode, monitor: Option<Holder>) -> ClientError {
        ClientError::Timeout { name: self.name.clone(), command: op.row().name, monitor }
    }

    fn not_yet(&self, op: Opcode) -> ClientError {
        ClientError::NotYet { name: self.name.clone(), command: op.row().name }
    }

    fn no_reply(&self, op: Opcode) -> ClientError {
        ClientError::NoReply { name: self.name.clone(), command: op.row().name }
    }

    fn failed(&self, op: Opcode, errno: i32) -> ClientError {
        ClientError::Failed { name: self.name.clone(), command: op.row().name, errno }
    }

    fn malformed(&self, op: Opcode) -> ClientError {
        self.bad_frame(op, FrameError::Malformed { what: op.row().name })
    }

    fn bad_frame(&self, op: Opcode, source: FrameError) -> ClientError {
        ClientError::Malformed { name: self.name.clone(), command: op.row().name, source }
    }
}

fn decode_ctx(answer: Answer) -> Option<CgroupCtx> {
    let (info, n) = CgroupInfo::decode_ctx(&answer.data)?;
    (n == answer.fds.len()).then_some(CgroupCtx { info, fds: answer.fds })
}

/// `None` where a monitor says that it has no such thing, or does not know the command.
fn none_on_refusal<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ClientError::Failed { .. } | ClientError::NoReply { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The answer to [`Client::watch`].
pub enum Watch {
    /// The container is in this wanted state already.
    Reached(State),
    /// It will be told.
    Pending(StateStream),
}

/// A connection on which the monitor announces a state once.
pub struct StateStream {
    connection: OwnedFd,
    monitor: Client,
}

impl StateStream {
    /// The announced state; the end of the monitor is [`State::Stopped`]; `None` at the deadline.
    ///
    /// # Errors
    /// The monitor is stopped and was so a second ago: it would never tell.
    pub fn next(self, deadline: Option<Instant>) -> Result<Option<State>> {
        let monitor = &self.monitor;
        let op = Opcode::AddStateClient;
        let mut bytes = [0; NOTICE_BYTES];
        let (mut have, mut holder, mut stopped) = (0, None, false);
        while have < bytes.len() {
            let until = monitor.deadline().into_iter().chain(deadline).min();
            let ready = event::poll(self.connection.as_fd(), Ready::READ, until)
                .map_err(|e| monitor.socket(e))?;
            if !ready.read && !ready.hangup {
                if deadline.is_some_and(|end| end <= Instant::now()) {
                    return Ok(None);
                }
                holder = Holder::again(holder, &monitor.address);
                let before =
                    std::mem::replace(&mut stopped, holder.is_some_and(Holder::is_stopped));
                if before && stopped {
                    return Err(monitor.timeout(op, holder));
                }
                continue;
            }
            match unix::recv(self.connection.as_fd(), &mut bytes[have..], 0, Block::DontWait) {
                Ok(got) if got.len == 0 => return Ok(Some(State::Stopped)),
                Ok(got) => have += got.len,
                Err(e) if e.is(errno::EAGAIN) => {}
                Err(e) if e.is(errno::ECONNRESET) => return Ok(Some(State::Stopped)),
                Err(e) => return Err(monitor.socket(e)),
            }
        }
        match Notice::decode(&bytes) {
            Some(Notice::State(state)) => Ok(Some(state)),
            _ => Err(monitor.malformed(op)),
        }
    }
}

impl AsFd for StateStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
