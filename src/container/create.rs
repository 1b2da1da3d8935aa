//! Making a container: directory, config, root file system, template; undone whole when any of it
//! fails, also by a signal. A kill -9 leaves the unlocked marker, by which the next tool knows.

use super::Container;
use super::destroy::{self, DestroyError};
use super::interrupts::{Interrupted, Interrupts};
use super::lock::{Lock, LockError, Partial, partial};
use super::template::{Run, Template, TemplateError, run};
use crate::config::document::{self, Loaded};
use crate::config::embedded::default_conf;
use crate::config::keys::Options;
use crate::config::path::SystemKey;
use crate::config::{Config, ConfigError, Origin};
use crate::idmap::{IdMap, IdMapError, Mapped, with_rights_over};
use crate::mount::{RootSource, open_source};
use crate::storage::{self, Backend, Kind, Made, StorageError};
use crate::sys::lock::{Wait, create_marker};
use crate::sys::{SysError, cred, dirs, errno, fd};
use crate::util::blame::{Explain, boxed};
use crate::util::quote::quoted;
use crate::util::sentence::sentence;
use crate::util::sha1;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is to be made.
pub struct Request<'a> {
    /// Which container.
    pub container: &'a Container,
    /// `-f`; `None` is the host's default.
    pub config: Option<&'a Path>,
    /// `None` makes the directory and the config only.
    pub template: Option<&'a Template>,
    /// Words for the template.
    pub args: &'a [OsString],
    /// Where the root file system is.
    pub store: &'a Store,
    /// The template is to be silent.
    pub quiet: bool,
}

/// Where the root file system of a new container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The user named a type.
    pub asked: bool,
    /// Types, of which the first that works is taken.
    pub kinds: Vec<Kind>,
    /// Their options.
    pub made: Made,
}

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// It is there.
    #[error("container already exists")]
    Exists,
    /// Another lxc-create is making it.
    #[error("another lxc-create is making it just now")]
    InProgress,
    /// The container path cannot be made.
    #[error("making the container path {}", quoted(.0))]
    Lxcpath(PathBuf, #[source] SysError),
    /// The container's directory or something in it cannot be made.
    #[error("making {}", quoted(.0))]
    Make(PathBuf, #[source] SysError),
    /// An `lxc.rootfs.path` from the config that is not there.
    #[error("the root file system {} does not exist", quoted(path))]
    NoRootfs {
        /// As configured.
        path: PathBuf,
        /// Where.
        origin: Option<Origin>,
    },
    /// `lxc.idmap` and no way to run a template under it.
    #[error("container ids cannot be mapped for the template: every id is in use")]
    NoFreeId,
    /// The lock.
    #[error(transparent)]
    Lock(Box<LockError>),
    /// The config.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// The map.
    #[error(transparent)]
    IdMap(Box<IdMapError>),
    /// The template.
    #[error(transparent)]
    Template(Box<TemplateError>),
    /// The root file system.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The rest of an aborted creation cannot be removed.
    #[error("removing what an aborted lxc-create left")]
    Rest(#[source] Box<DestroyError>),
    /// Waiting for signals.
    #[error("preparing for signals")]
    Signals(#[source] SysError),
    /// We were told to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

boxed! {
    CreateError:
    Lock(LockError), Config(ConfigError), IdMap(IdMapError), Template(TemplateError),
    Rest(DestroyError),
}

impl Explain for CreateError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Lxcpath(_, e) | Self::Make(_, e) | Self::Signals(e) => Some(e.errno),
            Self::Lock(e) => e.errno(),
            Self::Config(e) => e.errno(),
            Self::IdMap(e) => e.errno(),
            Self::Template(e) => e.errno(),
            Self::Rest(e) => e.errno(),
            Self::Storage(e) => e.errno(),
            _ => None,
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Config(e) => e.origin(),
            Self::IdMap(e) => e.origin(),
            Self::NoRootfs { origin, .. } => origin.as_ref(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Make(_, e) if e.is(errno::ENOSYS) => {
                Some("to work on an image needs Linux 5.2; use -B dir".into())
            }
            Self::Exists => Some("lxc-destroy removes it, lxc-ls lists what there is".into()),
            Self::Lock(e) => e.hint(),
            Self::Config(e) => e.hint(),
            Self::IdMap(e) => e.hint(),
            Self::Template(e) => e.hint(),
            Self::Rest(e) => e.hint(),
            Self::Storage(e) => e.hint(),
            _ => None,
        }
    }
}

impl CreateError {
    /// The signal that ended it, if one did.
    pub fn interrupted(&self) -> Option<i32> {
        match self {
            Self::Interrupted(Interrupted(signal)) => Some(*signal),
            Self::Template(error) => match **error {
                TemplateError::Interrupted(Interrupted(signal)) => Some(signal),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A container that was made, and what should be said about its config.
pub struct Created {
    /// Warnings of the config's loader.
    pub warnings: Vec<String>,
}

/// Makes a container.
///
/// # Errors
/// Whatever fails: nothing is left of it then, except what was there before.
pub fn create(request: &Request<'_>) -> Result<Created, CreateError> {
    let container = request.container;
    if let [kind] = request.store.kinds.as_slice() {
        storage::need(*kind)?;
    }
    dirs::make_all(container.lxcpath(), 0o755)
        .map_err(|e| CreateError::Lxcpath(container.lxcpath().to_owned(), e))?;
    let lock = Lock::acquire(container, Wait::No)?;
    let result = create_locked(request);
    match dirs::exists(&container.dir()) {
        true => log::info!("{} is made", quoted(&container.dir())),
        false => lock.remove(),
    }
    result
}

fn create_locked(request: &Request<'_>) -> Result<Created, CreateError> {
    let container = request.container;
    let interrupts = Interrupts::hold().map_err(CreateError::Signals)?;
    clear_the_way(container)?;
    let mut loaded = load_base(request.config)?;
    let map = IdMap::from_config(&loaded.config)?;
    let mut undo = Undo { created: Vec::new(), backend: None, map: map.clone() };
    make_directory(container, map.as_ref(), &mut undo)?;
    let warnings = std::mem::take(&mut loaded.warnings);

    if request.template.is_none() && loaded.config.rootfs.path.is_none() {
        undo.add(container.config_file());
        loaded.save(&container.config_file())?;
        interrupts.check()?;
        undo.disarm();
        return Ok(Created { warnings });
    }

    let marker_path = container.dir().join("partial");
    let marker = create_marker(&marker_path).map_err(|e| made(&marker_path, e))?;
    undo.add(marker_path);
    let (rootfs, tree) = make_rootfs(request, &marker, &mut loaded, map.as_ref(), &mut undo)?;
    undo.add(container.config_file());
    loaded.save(&container.config_file())?;
    if let Some(template) = request.template {
        run_template(request, template, (&rootfs, tree), &loaded.config, &interrupts)?;
    }
    let warnings = finish(request, warnings)?;
    interrupts.check()?;
    undo.disarm();
    remove_marker(container, marker)?;
    Ok(Created { warnings })
}

fn made(path: &Path, e: SysError) -> CreateError {
    CreateError::Make(path.to_owned(), e)
}

/// What is there already: a container, a creation under way, or the rest of one that was killed,
/// which is removed.
pub(super) fn clear_the_way(container: &Container) -> Result<(), CreateError> {
    match partial(container).map_err(|e| made(&container.dir(), e))? {
        Partial::Running => Err(CreateError::InProgress),
        Partial::Aborted => {
            log::info!("removing what an aborted lxc-create left in {}", quoted(&container.dir()));
            Ok(destroy::remove_partial(container)?)
        }
        Partial::None if dirs::exists(&container.config_file()) => Err(CreateError::Exists),
        Partial::None => Ok(()),
    }
}

/// The config that a new container begins with. Without `-f` and without a file of the host's our
/// own default serves.
fn load_base(config: Option<&Path>) -> Result<Loaded, CreateError> {
    let options = Options::default();
    if let Some(path) = config {
        return Ok(document::load(path, &options)?);
    }
    let path = super::system()?.default_config();
    match document::load(&path, &options) {
        Err(ConfigError::Read { cause, .. }) if cause.is(errno::ENOENT) => Ok(document::parse(
            default_conf().into(),
            Path::new("default.conf (built in)"),
            &options,
        )?),
        other => Ok(other?),
    }
}

/// `LXCPATH/NAME`, 0770, owned by the container's root when ids are mapped.
fn make_directory(
    container: &Container,
    map: Option<&IdMap>,
    undo: &mut Undo,
) -> Result<(), CreateError> {
    let dir = container.dir();
    match dirs::make(&dir, 0o770) {
        Ok(()) => undo.add(dir.clone()),
        // A directory without a config, prepared by somebody: only what we add is ours to remove.
        Err(e) if e.is(errno::EEXIST) => {}
        Err(e) => return Err(made(&dir, e)),
    }
    chown_to_root(&dir, map)
}

pub(super) fn chown_to_root(path: &Path, map: Option<&IdMap>) -> Result<(), CreateError> {
    let Some(map) = map else { return Ok(()) };
    match (map.root(), cred::euid()) {
        ((Some(uid), Some(gid)), 0) => dirs::chown(path, uid.0, gid.0),
        ((Some(_), _), user) if user != 0 => {
            // The caller keeps it by its group.
            let mapped = Mapped::with_caller(map)?;
            mapped.run(&mut || dirs::chown(path, 0, mapped.caller.1))
        }
        _ => Ok(()),
    }
    .map_err(|e| made(path, e))
}

/// The root file system, and its line in the config: where it is (or is to be mounted for the
/// template), and the detached mount if it is on a device. One that the config names has to be
/// there.
fn make_rootfs(
    request: &Request<'_>,
    marker: &OwnedFd,
    loaded: &mut Loaded,
    map: Option<&IdMap>,
    undo: &mut Undo,
) -> Result<(PathBuf, Option<OwnedFd>), CreateError> {
    let store = request.store;
    let given = store.asked || store.made.dir.is_some();
    if let (Some(path), false) = (&loaded.config.rootfs.path, given) {
        if !dirs::exists(path) {
            let origin = loaded.config.origin("lxc.rootfs.path").cloned();
            return Err(CreateError::NoRootfs { path: path.clone(), origin });
        }
        return Ok((path.clone(), None));
    }
    let container = request.container.dir();
    let owner = match (map.map(IdMap::root), cred::euid()) {
        (Some((Some(uid), Some(gid))), 0) => (uid.0, gid.0),
        (_, euid) => (euid, cred::egid()),
    };
    let last = store.kinds.len().saturating_sub(1);
    for (n, kind) in store.kinds.iter().enumerate() {
        if *kind == Kind::Btrfs && n < last && !storage::has_subvolumes(&container) {
            continue;
        }
        let mut options = store.made.clone();
        volume_defaults(*kind, &mut options)?;
        let backend = match storage::fresh(*kind, &container, &options) {
            Err(e) if n < last => {
                log::info!("{}; trying the next backing store", sentence(&e));
                continue;
            }
            backend => backend?,
        };
        note_volume(marker, backend.as_ref()).map_err(|e| made(&container, e))?;
        let path = backend.path().to_owned();
        let existed = !kind.is_volume() && dirs::exists(&path);
        let created = backend.create(owner);
        let location = backend.location();
        let source = backend.root_source();
        if !existed {
            undo.backend = Some(backend);
        }
        match created {
            Ok(()) => {}
            Err(e) if n < last => {
                log::info!("{}; trying the next backing store", sentence(&e));
                undo.backend.take().map_or(Ok(()), |backend| backend.destroy())?;
                continue;
            }
            Err(e) => return Err(e.into()),
        }
        if cred::euid() != 0 && matches!(source, RootSource::Dir(_)) {
            chown_to_root(&path, map)?;
        }
        loaded.set("lxc.rootfs.path", &location, &Options::default())?;
        return match source {
            RootSource::Dir(path) => Ok((path, None)),
            source => {
                let point = request.container.rootfs_dir();
                if !dirs::exists(&point) {
                    dirs::make(&point, 0o755).map_err(|e| made(&point, e))?;
                }
                let (tree, _top) = open_source(&source).map_err(|e| made(&path, e))?;
                Ok((point, tree))
            }
        };
    }
    Err(CreateError::NoFreeId)
}

/// What lxc.conf says of volumes, where no option does.
pub(super) fn volume_defaults(kind: Kind, made: &mut Made) -> Result<(), CreateError> {
    if kind.is_volume() {
        let system = super::system()?;
        made.group = made.group.take().or(system.get(SystemKey::LvmVg));
        made.usual_pool = system.get(SystemKey::LvmThinPool);
        made.dataset = made.dataset.take().or(system.get(SystemKey::ZfsRoot));
    }
    Ok(())
}

/// Writes a volume that is about to be made into the marker: whoever finds that left by a killed
/// process knows what else to remove.
pub(super) fn note_volume(marker: &OwnedFd, backend: &dyn Backend) -> Result<(), SysError> {
    fd::set_size(marker.as_fd(), 0)?;
    match backend.kind().is_volume() {
        true => fd::write_all(marker.as_fd(), backend.location().as_bytes()),
        false => Ok(()),
    }
}

fn run_template(
    request: &Request<'_>,
    template: &Template,
    (rootfs, tree): (&Path, Option<OwnedFd>),
    config: &Config,
    interrupts: &Interrupts,
) -> Result<(), CreateError> {
    log::info!("running {}", template.label());
    let mapped = mapped(config)?;
    if let Some(mapped) = &mapped {
        // The template appends to it as the root of the namespace.
        let (uid, gid) = mapped.map.root();
        if let (Some(uid), Some(gid), 0) = (uid, gid, cred::euid()) {
            let file = request.container.config_file();
            dirs::chown(&file, uid.0, gid.0).map_err(|e| made(&file, e))?;
        }
    }
    let job = Run {
        template,
        container: request.container,
        rootfs,
        tree: tree.as_ref(),
        args: request.args,
        mapped: mapped.as_ref(),
        quiet: request.quiet,
    };
    Ok(run(&job, interrupts)?)
}

/// A namespace for the template, in which it can give files back to the caller (`--mapped-uid`).
pub(super) fn mapped(config: &Config) -> Result<Option<Mapped>, CreateError> {
    let map = IdMap::from_config(config)?;
    Ok(map.as_ref().map(Mapped::with_caller).transpose()?)
}

/// Reads what the template wrote, and puts the comments on top that LXC puts there.
fn finish(request: &Request<'_>, warnings: Vec<String>) -> Result<Vec<String>, CreateError> {
    let file = request.container.config_file();
    let Some(template) = request.template else { return Ok(warnings) };
    let mut text = header(template, request.args)?.into_bytes();
    text.extend(fd::read(&file).map_err(|e| made(&file, e))?);
    let loaded = document::parse(text, &file, &Options::default())?;
    if cred::euid() == 0 {
        // The template may have run as the container's root; the config is the caller's.
        dirs::chown(&file, cred::euid(), cred::egid()).map_err(|e| made(&file, e))?;
    }
    loaded.save(&file)?;
    Ok(loaded.warnings)
}

fn header(template: &Template, args: &[OsString]) -> Result<String, CreateError> {
    let mut parameters = String::new();
    for arg in args {
        // An argument with a line break must not become a line of the config.
        let arg = arg.to_string_lossy().replace(|c: char| c.is_control(), " ");
        parameters.push(' ');
        parameters.push_str(&arg);
    }
    Ok(format!(
        "# Template used to create this container: {}\n\
         # Parameters passed to the template:{parameters}\n\
         # Template script checksum (SHA-1): {}\n\
         # For additional config options, please look at lxc.container.conf(5)\n\n\
         # Uncomment the following line to support nesting containers:\n\
         #lxc.include = {}/lxc/config/nesting.conf\n\
         # (Be aware this has security implications)\n\n",
        template.label(),
        sha1::hex(&template.text()?),
        crate::config::path::DATADIR,
    ))
}

/// Removed before its lock is let go: nobody can see it unlocked.
pub(super) fn remove_marker(container: &Container, marker: OwnedFd) -> Result<(), CreateError> {
    let path = container.dir().join("partial");
    let removed = dirs::unlink(&path).map_err(|e| made(&path, e));
    drop(marker);
    removed
}

/// What was made so far; removed again when dropped, last first.
struct Undo {
    created: Vec<PathBuf>,
    backend: Option<Box<dyn Backend>>,
    map: Option<IdMap>,
}

impl Undo {
    fn add(&mut self, path: PathBuf) {
        self.created.push(path);
    }

    fn disarm(&mut self) {
        self.created.clear();
        self.backend = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.created.is_empty() && self.backend.is_none() {
            return;
        }
        let (backend, created) = (self.backend.take(), std::mem::take(&mut self.created));
        let undone = with_rights_over(self.map.as_ref(), &mut || {
            if let Some(Err(e)) = backend.as_ref().map(|backend| backend.destroy()) {
                log::error!("undoing the creation: {}", sentence(&e));
            }
            for path in created.iter().rev() {
                if let Err(e) = destroy::remove_tree(path) {
                    log::error!("undoing the creation: {}", sentence(&e));
                }
            }
            Ok(())
        });
        if let Err(e) = undone {
            log::error!("undoing the creation: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_comments_only() {
        let template = Template::find("host").unwrap();
        let args = ["--x".into(), "a\nlxc.hook.start = evil".into()];
        let text = header(&template, &args).unwrap();
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        assert!(text.contains("# Parameters passed to the template: --x a lxc.hook"), "{text}");
    }
}
