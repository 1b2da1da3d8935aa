//! The poll loop: which containers may be worked on now, the processes that do it, what they say.
//! No thread; a container that hangs costs its own process and nothing else.

pub use super::job::Outcome;
use super::job::{self, Job, Message, QUIET};
use super::plan::{Action, Node, Plan, Role};
use crate::container::Container;
use crate::sys::event::{Epoll, Event, Ready};
use crate::sys::process::{self, Fork, Pid};
use crate::sys::{SysError, event};
use crate::util::time::Patience;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How it is to be done.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// What is done.
    pub action: Action,
    /// So many at the same time, at least one.
    pub jobs: usize,
    /// What starts or reboots has so long for each container, what ends has it for all together.
    pub patience: Patience,
}

/// What the caller hears while it goes on.
pub enum News<'a> {
    /// Something odd about a container, or what it waits for.
    Warning(&'a str, &'a str),
    /// It is done with a container, after this time.
    Done(&'a str, &'a Outcome, Duration),
}

/// How many it went well for, and how many not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Well.
    pub good: usize,
    /// Not.
    pub failed: usize,
}

/// Does what is planned.
///
/// # Errors
/// Only the loop's own: what fails for a container is news.
pub fn run(
    lxcpath: &Path,
    plan: &Plan,
    how: How,
    tell: &mut dyn FnMut(&News<'_>),
) -> Result<Tally, SysError> {
    let tasks = plan.nodes.iter().map(|_| Task { phase: Phase::Blocked, told: false }).collect();
    let begun = Instant::now();
    let deadline = how.patience.deadline().filter(|_| how.action.ends());
    let epoll = Epoll::new()?;
    let mut run =
        Run { lxcpath, plan, how, tell, tasks, epoll, begun, deadline, tally: Tally::default() };
    while run.advance()? {
        run.wait()?;
    }
    Ok(run.tally)
}

/// One container's progress.
struct Task {
    phase: Phase,
    /// It was said what it waits for.
    told: bool,
}

enum Phase {
    /// Others come before it.
    Blocked,
    Working(Worker),
    /// Done; those that come after it may go from then on.
    Settled(Instant),
}

struct Worker {
    pid: Pid,
    link: OwnedFd,
    pidfd: Option<OwnedFd>,
    begun: Instant,
    /// When it is given up.
    deadline: Option<Instant>,
    /// When it has to be said what it waits for: it only waits until its container is ready, and does
    /// not count for the cap.
    quiet: Option<Instant>,
}

struct Run<'a> {
    lxcpath: &'a Path,
    plan: &'a Plan,
    how: How,
    tell: &'a mut dyn FnMut(&News<'_>),
    tasks: Vec<Task>,
    epoll: Epoll,
    begun: Instant,
    /// Of all together.
    deadline: Option<Instant>,
    tally: Tally,
}

/// Processes at the same time, those included that only wait until their container is ready: with
/// two descriptors each they stay below the usual limit of 1024.
pub const WORKERS: usize = 400;
const NO_WAIT: Patience = Patience::For(Duration::ZERO);
/// How long a start may take that nobody waits to be ready.
const UNASKED: Patience = Patience::For(Duration::from_secs(60));
/// A process has so much longer than its time to say so itself.
const GRACE: Duration = Duration::from_secs(1);
/// And one that has to kill its container: longer than the monitor may take for that.
const KILL_GRACE: Duration = Duration::from_secs(20);

impl Run<'_> {
    /// Gives up what takes too long, begins what may begin. False when all is done.
    fn advance(&mut self) -> Result<bool, SysError> {
        let now = Instant::now();
        for at in 0..self.tasks.len() {
            if let Phase::Working(worker) = &self.tasks[at].phase {
                if worker.deadline.is_some_and(|end| now >= end) {
                    let outcome = self.too_slow(worker.quiet.is_none());
                    self.finish(at, &outcome);
                }
            }
        }
        loop {
            let (before, now) = (self.tally, Instant::now());
            for at in 0..self.tasks.len() {
                if matches!(self.tasks[at].phase, Phase::Blocked) && self.is_free(at, now) {
                    self.begin(at)?;
                }
            }
            // One that failed at once may have set others free.
            if self.tally == before {
                break;
            }
        }
        self.tell_waiting(Instant::now());
        Ok(self.tasks.iter().any(|task| !matches!(task.phase, Phase::Settled(_))))
    }

    fn node(&self, at: usize) -> &Node {
        &self.plan.nodes[at]
    }

    fn is_settled(&self, at: usize, now: Instant) -> bool {
        matches!(self.tasks[at].phase, Phase::Settled(when) if now >= when)
    }

    /// True if nothing that comes before it is left, and the cap allows it.
    fn is_free(&self, at: usize, now: Instant) -> bool {
        let node = self.node(at);
        let counts = |other: &Node| other.role == Role::Act && other.wave < node.wave;
        let workers = || {
            self.tasks.iter().filter_map(|task| match &task.phase {
                Phase::Working(worker) => Some(worker),
                _ => None,
            })
        };
        node.role != Role::Act
            || node.after.iter().all(|&other| self.is_settled(other, now))
                && (0..self.tasks.len())
                    .all(|other| !counts(self.node(other)) || self.is_settled(other, now))
                && workers().filter(|worker| worker.quiet.is_none()).count() < self.how.jobs
                && workers().count() < WORKERS
    }

    fn begin(&mut self, at: usize) -> Result<(), SysError> {
        let node = &self.plan.nodes[at];
        if let Role::Refuse(why) = &node.role {
            self.finish(at, &Outcome::Failed(why.clone(), None));
            return Ok(());
        }
        let acts = node.role == Role::Act;
        let patience = self.share(node);
        let job = Container::new(self.lxcpath.to_owned(), &node.name).map(|container| Job {
            container,
            action: acts.then_some(self.how.action),
            ready: node.ready.clone(),
            patience,
        });
        let started = match job {
            Ok(job) => self.spawn(&job).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match started {
            Ok((pid, link)) => {
                let begun = Instant::now();
                let grace = if self.how.action.ends() { KILL_GRACE } else { GRACE };
                let deadline = patience.deadline().and_then(|end| end.checked_add(grace));
                let pidfd = process::pidfd_open(pid).ok();
                self.epoll.add(link.as_fd(), at as u64, Ready::READ)?;
                if let Some(pidfd) = &pidfd {
                    self.epoll.add(pidfd.as_fd(), at as u64, Ready::READ)?;
                }
                let quiet = Some(begun + QUIET).filter(|_| !acts);
                let worker = Worker { pid, link, pidfd, begun, deadline, quiet };
                self.tasks[at] = Task { phase: Phase::Working(worker), told: false };
            }
            Err(text) => self.finish(at, &Outcome::Failed(text, None)),
        }
        Ok(())
    }

    /// How much time this container has: of a time for all its part.
    fn share(&self, node: &Node) -> Patience {
        match self.deadline {
            Some(end) if self.how.patience != NO_WAIT => {
                let left = end.saturating_duration_since(Instant::now());
                let steps = u32::try_from(node.steps.max(1)).unwrap_or(u32::MAX);
                // Not nothing: that would mean not to wait.
                Patience::For((left / steps).max(Duration::from_millis(1)))
            }
            None if self.how.action == Action::Start && self.how.patience == NO_WAIT => UNASKED,
            _ => self.how.patience,
        }
    }

    fn spawn(&mut self, job: &Job) -> Result<(Pid, OwnedFd), SysError> {
        let (ours, theirs) = job::link()?;
        match process::fork()? {
            Fork::Child => {
                // The monitor that it makes keeps what is open here.
                self.tasks.clear();
                drop(ours);
                process::exit_now(job.run(&theirs))
            }
            Fork::Parent(pid) => Ok((pid, ours)),
        }
    }

    /// What becomes of one whose process has not even said that its time is over.
    fn too_slow(&self, busy: bool) -> Outcome {
        let seconds = self.how.patience.whole_seconds();
        let text = match self.how.action {
            Action::Start if busy => {
                format!("not started after {seconds} seconds; left to go on in the background")
            }
            Action::Start => format!("runs, but is not ready after {seconds} seconds"),
            action => format!("did not {} within {seconds} seconds", action.name()),
        };
        Outcome::Failed(text, None)
    }

    fn wait(&mut self) -> Result<(), SysError> {
        let now = Instant::now();
        let due = self.tasks.iter().filter_map(|task| match &task.phase {
            Phase::Working(worker) => {
                let quiet = worker.quiet.filter(|when| *when > now);
                [worker.deadline, quiet].into_iter().flatten().min()
            }
            Phase::Settled(when) => Some(*when).filter(|when| *when > now),
            Phase::Blocked => Some(self.begun + QUIET).filter(|when| *when > now),
        });
        let left = due.min().map(|when| when.saturating_duration_since(now));
        let mut events = [Event::EMPTY; 8];
        let count = self.epoll.wait(&mut events, left)?;
        for event in events.iter().take(count) {
            self.listen(usize::try_from(event.token).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Takes what the process of a container has said.
    fn listen(&mut self, at: usize) {
        while let Some(Task { phase: Phase::Working(worker), .. }) = self.tasks.get_mut(at) {
            let gone = worker
                .pidfd
                .as_ref()
                .is_some_and(|pidfd| event::pidfd_ended(pidfd.as_fd()) == Ok(true));
            let name = &self.plan.nodes[at].name;
            match job::receive(worker.link.as_fd()) {
                Some(Some(Message::Runs)) => worker.quiet = Some(Instant::now() + QUIET),
                Some(Some(Message::Warning(text))) => (self.tell)(&News::Warning(name, &text)),
                Some(Some(Message::Done(outcome))) => {
                    let pid = worker.pid;
                    self.finish(at, &outcome);
                    let _ = process::wait(pid);
                }
                None if !gone => return,
                None | Some(None) => {
                    let how = process::wait(worker.pid).map(|how| how.to_string());
                    let text = format!("its process {}", how.unwrap_or_else(|e| e.to_string()));
                    self.finish(at, &Outcome::Failed(text, None));
                }
            }
        }
    }

    fn finish(&mut self, at: usize, outcome: &Outcome) {
        let now = Instant::now();
        let node = &self.plan.nodes[at];
        let task = &mut self.tasks[at];
        let mut took = Duration::ZERO;
        if let Phase::Working(worker) = &task.phase {
            took = now.saturating_duration_since(worker.begun);
            for fd in [Some(&worker.link), worker.pidfd.as_ref()].into_iter().flatten() {
                let _ = self.epoll.delete(fd.as_fd());
            }
        }
        let delay = if outcome.is_good() { node.delay } else { Duration::ZERO };
        task.phase = Phase::Settled(now + delay);
        if node.role == Role::Await {
            if let Outcome::Failed(text, _) = outcome {
                (self.tell)(&News::Warning(&node.name, text));
            }
            return;
        }
        if outcome.is_good() {
            self.tally.good += 1;
        } else {
            self.tally.failed += 1;
        }
        (self.tell)(&News::Done(&node.name, outcome, took));
    }

    /// After a while those that wait for others, or to be ready, say for what, once.
    fn tell_waiting(&mut self, now: Instant) {
        for at in 0..self.tasks.len() {
            let (task, node) = (&self.tasks[at], self.node(at));
            let text = match &task.phase {
                Phase::Blocked if !task.told && now >= self.begun + QUIET => {
                    let before = node.after.iter().filter(|&&other| !self.is_settled(other, now));
                    let names = before.map(|&other| self.node(other).name.as_str());
                    let names: Vec<&str> = names.collect();
                    if names.is_empty() {
                        continue;
                    }
                    format!("waits for {}", names.join(", "))
                }
                Phase::Working(worker)
                    if !task.told && worker.quiet.is_some_and(|when| now >= when) =>
                {
                    format!("runs; waiting for {}", job::awaited(&node.ready))
                }
                _ => continue,
            };
            (self.tell)(&News::Warning(&self.plan.nodes[at].name, &text));
            self.tasks[at].told = true;
        }
    }
}
