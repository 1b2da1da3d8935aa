//! Templates: finding the script that fills a root file system, and running it by LXC's protocol
//! (`--path --name --rootfs`, mapped ids in a user namespace), so that those of LXC run unchanged.

use super::Container;
use super::interrupts::{Interrupted, Interrupts, SIGTERM};
use crate::config::NsKind;
use crate::config::path::DATADIR;
use crate::idmap::Mapped;
use crate::sys::event::{Ready, poll};
use crate::sys::ns::{setns, unshare};
use crate::sys::process::{self, CStrings, Fork, Pid, Wait};
use crate::sys::{SysError, cred, dirs, fd, prctl, signal, subreaper};
use crate::util::blame::Explain;
use crate::util::quote::quoted;
use crate::util::texts;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The templates in the binary.
pub const EMBEDDED: [&str; 2] = ["busybox", "host"];

/// LXC's own templates, wherever ours are installed.
const LXC_TEMPLATES: &str = "/usr/share/lxc/templates";
const SIGKILL: i32 = 9;
/// How long an interrupted template has before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A template that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// A script on disk.
    File(PathBuf),
    /// One of [`EMBEDDED`], and its script.
    Embedded(&'static str, &'static str),
}

/// Why a container cannot be made from a template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No such template.
    #[error("template {} not found", quoted(name))]
    NotFound {
        /// As asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The file is there and cannot be run.
    #[error("template {} is not executable", quoted(.0))]
    NotExecutable(PathBuf),
    /// It cannot be read for its checksum.
    #[error("reading template {}", quoted(.0))]
    Read(PathBuf, #[source] SysError),
    /// The process cannot be started.
    #[error("running template {0}: {1}")]
    Start(String, &'static str, #[source] SysError),
    /// It said no.
    #[error("template {0} failed with status {1}")]
    Failed(String, i32),
    /// A signal ended it.
    #[error("template {0} was ended by signal {1}")]
    Killed(String, i32),
    /// We were told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for TemplateError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Read(_, e) | Self::Start(_, _, e) => Some(e.errno),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { known, .. } => {
                Some(format!("templates here: {}; none makes a container without", known.join(" ")))
            }
            Self::NotExecutable(path) => Some(format!("chmod +x {}", path.display())),
            Self::Failed(..) => Some("its own messages are above".into()),
            _ => None,
        }
    }
}

impl Template {
    /// Finds a template: an absolute path, or a name looked for in our data directory, LXC's, and
    /// in the binary.
    pub fn find(name: &str) -> Result<Self, TemplateError> {
        if name.starts_with('/') {
            let path = PathBuf::from(name);
            return match (dirs::is_executable_file(&path), path.is_file()) {
                (true, _) => Ok(Self::File(path)),
                (false, true) => Err(TemplateError::NotExecutable(path)),
                _ => Err(not_found(name)),
            };
        }
        // A name with a slash would leave the directories.
        if name.contains('/') || name.is_empty() {
            return Err(not_found(name));
        }
        for dir in directories() {
            let path = dir.join(format!("lxc-{name}"));
            if dirs::is_executable_file(&path) {
                return Ok(Self::File(path));
            }
        }
        let known = EMBEDDED.into_iter().find(|known| *known == name);
        let text = known.and_then(|name| texts::find("templates", &format!("lxc-{name}")));
        known
            .zip(text)
            .map(|(name, text)| Self::Embedded(name, text))
            .ok_or_else(|| not_found(name))
    }

    /// How the container's config names it.
    pub fn label(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Embedded(name, _) => format!("lxc-{name} (built into lxcbox)"),
        }
    }

    /// Runs it with `-h`, which prints what options it has.
    pub fn show_help(&self) -> Result<(), TemplateError> {
        let failed = |e| TemplateError::Start(self.label(), "asking for its help", e);
        let prepared = program(self, &["-h".into()]).map_err(failed)?;
        let exec = || -> Result<SysError, SysError> {
            if let Some(script) = &prepared.script {
                fd::set_cloexec(script.as_fd(), false)?;
            }
            signal::reset_for_exec()?;
            Ok(process::exec(&prepared.path, &prepared.argv, &prepared.env))
        };
        let ended = crate::sys::spawn::in_child(|| {
            let (Ok(e) | Err(e)) = exec();
            log::debug!("{e}");
            127
        });
        ended.map(drop).map_err(failed)
    }

    /// The script's text.
    pub fn text(&self) -> Result<Vec<u8>, TemplateError> {
        match self {
            Self::File(path) => fd::read(path).map_err(|e| TemplateError::Read(path.clone(), e)),
            Self::Embedded(_, text) => Ok(text.as_bytes().to_vec()),
        }
    }
}

fn directories() -> [PathBuf; 2] {
    [Path::new(DATADIR).join("lxc/templates"), LXC_TEMPLATES.into()]
}

/// The names of all templates that can be found, sorted.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = EMBEDDED.map(str::to_owned).to_vec();
    for dir in directories() {
        let files = dirs::names(&dir).unwrap_or_default();
        let files = files.iter().filter_map(|name| name.to_str()?.strip_prefix("lxc-"));
        names.extend(files.map(str::to_owned));
    }
    names.sort();
    names.dedup();
    names
}

fn not_found(name: &str) -> TemplateError {
    TemplateError::NotFound { name: name.to_owned(), known: names() }
}

/// What a template is run with.
pub struct Run<'a> {
    /// Which.
    pub template: &'a Template,
    /// For whom.
    pub container: &'a Container,
    /// Where the root file system is to be filled.
    pub rootfs: &'a Path,
    /// A detached mount that belongs on it.
    pub tree: Option<&'a OwnedFd>,
    /// The words after `--`.
    pub args: &'a [OsString],
    /// With `lxc.idmap`.
    pub mapped: Option<&'a Mapped>,
    /// Standard input, output and error are /dev/null.
    pub quiet: bool,
}

/// Runs a template to its end.
///
/// # Errors
/// It failed, or `interrupts` told us to stop: then it and all it started are gone.
pub fn run(job: &Run<'_>, interrupts: &Interrupts) -> Result<(), TemplateError> {
    let label = job.template.label();
    let failed = |what| move |e: SysError| TemplateError::Start(label.clone(), what, e);
    let prepared = prepare(job).map_err(failed.clone()("preparing"))?;
    subreaper::become_subreaper().map_err(failed.clone()("preparing"))?;
    let (reader, writer) = pipe().map_err(failed.clone()("preparing"))?;
    let result = match process::fork().map_err(failed.clone()("starting"))? {
        Fork::Child => {
            let (what, error) = child(job, &prepared);
            // Read back by the parent; it knows the words for the steps.
            let message = format!("{what}\n{}\n{}\n{}", error.call, error.operand, error.errno);
            let _ = fd::write_all(writer.as_fd(), message.as_bytes());
            process::exit_now(127)
        }
        Fork::Parent(pid) => {
            drop(writer);
            let result = wait(pid, interrupts, &job.template.label());
            match exec_failure(&reader) {
                Some((what, error)) => Err(failed(what)(error)),
                None => result,
            }
        }
    };
    if result.is_err() {
        subreaper::end_all(SIGTERM);
    }
    // Fails only for an argument that this is not.
    let _ = subreaper::cease();
    result
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SysError> {
    crate::sys::unix::pair(crate::sys::unix::Kind::Stream)
}

/// What the child wrote before it gave up; nothing if the template was executed.
fn exec_failure(reader: &OwnedFd) -> Option<(&'static str, SysError)> {
    let bytes = fd::read_fd(reader.as_fd(), 16 << 10).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut fields = text.split('\n');
    let (what, call) = (fields.next()?, fields.next()?);
    let (operand, errno) = (fields.next()?, fields.next()?.parse().ok()?);
    let what = STEPS.iter().find(|step| **step == what)?;
    let call = ["setns", "unshare", "mount", "execve", "open"].into_iter().find(|c| *c == call);
    Some((what, SysError::new(call.unwrap_or("preparing"), operand, errno)))
}

/// The steps between fork and exec, in order.
const STEPS: [&str; 5] = [
    "entering the user namespace",
    "making a mount namespace",
    "taking the ids",
    "opening /dev/null",
    "executing",
];

struct Prepared {
    path: CString,
    argv: CStrings,
    env: CStrings,
    /// An embedded script, and how it is named there.
    script: Option<OwnedFd>,
}

fn prepare(job: &Run<'_>) -> Result<Prepared, SysError> {
    let option = |name: &str, value: &OsStr| {
        let mut word = OsString::from(name);
        word.push(value);
        word
    };
    let mut words = vec![
        option("--path=", job.container.dir().as_os_str()),
        option("--name=", job.container.name().as_ref()),
        option("--rootfs=", job.rootfs.as_os_str()),
    ];
    words.extend_from_slice(job.args);
    if let Some(mapped) = job.mapped {
        for (name, id) in [("--mapped-uid", mapped.caller.0), ("--mapped-gid", mapped.caller.1)] {
            words.extend([name.into(), id.to_string().into()]);
        }
    }
    program(job.template, &words)
}

/// A template and its arguments, ready for exec.
fn program(template: &Template, words: &[OsString]) -> Result<Prepared, SysError> {
    let mut argv: Vec<OsString> = Vec::new();
    let script = match template {
        Template::File(path) => {
            argv.push(path.into());
            None
        }
        Template::Embedded(name, text) => {
            let file = dirs::memory_file(&format!("lxc-{name}"), text.as_bytes())?;
            argv.push("/bin/sh".into());
            argv.push(format!("/proc/self/fd/{}", file.as_raw_fd()).into());
            Some(file)
        }
    };
    let path = CString::new(argv.first().map(|word| word.as_bytes()).unwrap_or_default())
        .map_err(|_| SysError::new("execve", "a NUL byte", crate::sys::errno::EINVAL))?;
    argv.extend_from_slice(words);
    // Our own templates use it as the container's init.
    let mut binary = OsString::from("LXCBOX=");
    binary.push(dirs::own_binary()?);
    let env = std::env::vars_os().filter(|(name, _)| name != "LXCBOX").map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        pair
    });
    let env = CStrings::new(env.chain([binary]))?;
    Ok(Prepared { path, argv: CStrings::new(argv)?, env, script })
}

/// The flag of a namespace as setns(2) and unshare(2) take it.
fn flag(kind: NsKind) -> i32 {
    i32::try_from(crate::ns::flag(kind)).unwrap_or_default()
}

/// # In the child
/// Takes the template's place; returns only on failure, with the step.
fn child(job: &Run<'_>, prepared: &Prepared) -> (&'static str, SysError) {
    let mut step = STEPS[0];
    let mut steps = || -> Result<(), SysError> {
        if let Some(mapped) = job.mapped {
            setns(mapped.namespace.as_fd(), flag(NsKind::User))?;
        }
        step = STEPS[1];
        // Root's template may mount; what it mounts stays with it. An ordinary user without a
        // map has no such right, and its template does not mount.
        if job.mapped.is_some() || cred::euid() == 0 {
            unshare(flag(NsKind::Mnt))?;
            crate::mount::slave_all()?;
            if let Some(tree) = job.tree {
                let point = crate::sys::path::Root::open(job.rootfs)?;
                crate::sys::mount::attach(tree.as_fd(), point.fd())?;
            }
        }
        step = STEPS[2];
        if job.mapped.is_some() {
            cred::setgroups(&[])?;
            cred::set_gid(0)?;
            cred::set_uid(0)?;
        }
        // After the ids: changing them clears it. If lxc-create is killed the template ends too.
        prctl::set_parent_death_signal(SIGKILL)?;
        step = STEPS[3];
        if job.quiet {
            let null = fd::open("/dev/null", fd::OpenFlags::RDWR, 0)?;
            for number in 0..3 {
                fd::dup_to_stdio(null.as_fd(), number)?;
            }
        }
        step = STEPS[4];
        process::umask(0o022);
        fd::seal_above(3, &[], fd::Seal::CloseOnExec)?;
        if let Some(script) = &prepared.script {
            fd::set_cloexec(script.as_fd(), false)?;
        }
        signal::reset_for_exec()
    };
    match steps() {
        Ok(()) => (STEPS[4], process::exec(&prepared.path, &prepared.argv, &prepared.env)),
        Err(e) => (step, e),
    }
}

fn wait(pid: Pid, interrupts: &Interrupts, label: &str) -> Result<(), TemplateError> {
    let failed = |e| TemplateError::Start(label.to_owned(), "waiting for it", e);
    let mut interrupted: Option<(Interrupted, Instant)> = None;
    loop {
        if let Some(how) = subreaper::ended(pid).map_err(failed)? {
            return match (interrupted, how) {
                (Some((signal, _)), _) => Err(signal.into()),
                (None, Wait::Exited(0)) => Ok(()),
                (None, Wait::Exited(status)) => {
                    Err(TemplateError::Failed(label.to_owned(), status))
                }
                (None, Wait::Signaled(signal)) => {
                    Err(TemplateError::Killed(label.to_owned(), signal))
                }
                (None, Wait::Running) => continue,
            };
        }
        let deadline = interrupted.map(|(_, since)| since + GRACE);
        let ready = poll(interrupts.as_fd(), Ready::READ, deadline).map_err(failed)?;
        if !ready.read {
            let _ = process::kill(pid, SIGKILL);
            interrupted = interrupted.map(|(signal, _)| (signal, Instant::now()));
            continue;
        }
        if let Err(signal) = interrupts.check() {
            // Ctrl-C reached it already; a plain kill of lxc-create did not.
            let _ = process::kill(pid, SIGTERM);
            interrupted = interrupted.or(Some((signal, Instant::now())));
        }
    }
}
