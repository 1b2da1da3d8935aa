//! AppArmor: which profile a container gets, and the loading of a generated one. Its text is
//! made in `profile.rs`.

use super::profile::{self, Wanted};
use super::{Facts, Kind, LsmError, LsmPlan};
use crate::config::{Config, Origin};
use crate::sys::path::Root;
use crate::sys::process::Wait;
use crate::sys::{SysError, dirs, errno, fd, spawn};
use crate::util::sentence::sentence;
use std::path::{Path, PathBuf};

/// LXC's own profile, of its package's /etc/apparmor.d/lxc-containers, for kernels with cgroup
/// namespaces and for older ones.
const DEFAULT_CGNS: &str = "lxc-container-default-cgns";
const DEFAULT: &str = "lxc-container-default";

/// The longest name of a profile with its prefix; longer ones are hashed, as in LXC.
const MAX_NAME: usize = 246;

/// Below /sys.
const POLICY: &str = "kernel/security/apparmor";

/// What the kernel's AppArmor can do, and what is loaded.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// mount(2) is mediated.
    pub mounts: bool,
    /// Profiles can be stacked and have namespaces.
    pub stacking: bool,
    /// Creating a user namespace is mediated (AppArmor 4).
    pub userns: bool,
    /// The kernel has cgroup namespaces.
    pub cgroup_namespaces: bool,
    /// Names of the loaded profiles; `None` when the list cannot be read.
    pub profiles: Option<Vec<String>>,
    /// apparmor_parser, where it is installed.
    pub parser: Option<PathBuf>,
    /// /sys/kernel/security/apparmor.
    pub policy: PathBuf,
}

/// True if the module is there and enabled.
pub(super) fn is_enabled(sys: &Path) -> bool {
    fd::read_to_string(sys.join("module/apparmor/parameters/enabled"))
        .is_ok_and(|text| text.starts_with('Y'))
}

impl Features {
    pub(super) fn probe(sys: &Path) -> Self {
        let policy = sys.join(POLICY);
        let features = policy.join("features");
        let read = |name: &str| fd::read_to_string(features.join(name)).unwrap_or_default();
        // `NAME (MODE)` each.
        let list = |text: String| {
            let name = |line: &str| line.rsplit_once(" (").map(|(name, _)| name.to_owned());
            text.lines().filter_map(name).collect()
        };
        Self {
            mounts: dirs::exists(&features.join("mount/mask")),
            stacking: read("domain/stack").trim() == "yes"
                && dirs::exists(&policy.join("policy/namespaces")),
            userns: read("namespaces/mask").contains("userns_create"),
            cgroup_namespaces: dirs::exists(Path::new("/proc/self/ns/cgroup")),
            profiles: fd::read_to_string(policy.join("profiles")).ok().map(list),
            parser: ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
                .iter()
                .map(|dir| Path::new(dir).join("apparmor_parser"))
                .find(|path| dirs::is_executable_file(path)),
            policy,
        }
    }

    fn has_profile(&self, name: &str) -> bool {
        // A list that cannot be read proves nothing; the kernel will tell.
        self.profiles.as_ref().is_none_or(|list| list.iter().any(|known| known == name))
    }
}

/// `lxc.apparmor.*` on a kernel with AppArmor (LXC: `apparmor_prepare`).
pub(super) fn plan(
    config: &Config,
    facts: &Facts,
    name: &str,
    lxcpath: &Path,
) -> Result<LsmPlan, LsmError> {
    let origin = config.origin("lxc.apparmor.profile").cloned();
    let features = &facts.apparmor;
    let mut plan = LsmPlan { kind: Kind::AppArmor, origin: origin.clone(), ..LsmPlan::default() };
    let wanted = match config.apparmor.profile.as_deref() {
        Some("unchanged") => return Ok(plan),
        Some(profile) => profile,
        None => {
            let default = if features.cgroup_namespaces { DEFAULT_CGNS } else { DEFAULT };
            if !features.has_profile(default) {
                plan.warnings.push(format!(
                    "AppArmor profile {default} is not loaded and does not confine the container; \
                     lxc.apparmor.profile = generated would, unconfined says that it is meant so"
                ));
                return Ok(plan);
            }
            default
        }
    };
    let confined = !facts.own_label.is_empty() && facts.own_label != "unconfined";
    if confined && !features.stacking {
        // Without stacking a confined process cannot change to an unrelated profile.
        if config.apparmor.profile.is_none() || wanted == facts.own_label {
            plan.notes.push(format!("keeping AppArmor profile {}", facts.own_label));
            return Ok(plan);
        }
        let (own, profile) = (facts.own_label.clone(), wanted.to_owned());
        return Err(LsmError::Confined { own, profile, origin });
    }
    if wanted == "unconfined" {
        plan.exec_label = confined.then(|| wanted.to_owned());
        return Ok(plan);
    }
    if !features.mounts && !config.apparmor.allow_incomplete {
        return Err(LsmError::Incomplete { profile: wanted.into(), origin });
    }
    if wanted != "generated" {
        if !features.has_profile(wanted) {
            return Err(LsmError::NotLoaded { profile: wanted.into(), origin });
        }
        plan.exec_label = Some(wanted.to_owned());
        return Ok(plan);
    }
    let Some(parser) = &features.parser else { return Err(LsmError::NoParser { origin }) };
    let generated = Generated::new(config, features, parser, name, lxcpath);
    plan.exec_label = Some(generated.label());
    plan.generated = Some(generated);
    Ok(plan)
}

/// A profile of one container's own.
#[derive(Clone, Debug)]
pub struct Generated {
    profile: String,
    /// A policy namespace of the container's own, in which it may load profiles itself.
    namespace: Option<String>,
    wanted: Wanted,
    parser: PathBuf,
    /// LXCPATH/NAME.
    container: PathBuf,
    /// Name of the file in LXCPATH/NAME/apparmor.
    file: String,
    policy: PathBuf,
}

impl Generated {
    fn new(
        config: &Config,
        features: &Features,
        parser: &Path,
        name: &str,
        lxcpath: &Path,
    ) -> Self {
        let full = format!("lxc-{name}_<{}>", lxcpath.display());
        let profile = if full.len() > MAX_NAME {
            format!("lxc-{:016x}", fnv1a(full.as_bytes()))
        } else {
            full
        };
        // A namespace is a directory, and its name stands between colons.
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || "-_<>.".contains(c) { c } else { '-' };
        let namespace = features.stacking.then(|| profile.chars().map(plain).collect());
        let wanted = Wanted {
            nesting: config.apparmor.allow_nesting,
            unprivileged: !config.idmap.is_empty(),
            userns: features.userns,
            raw: config.apparmor.raw.clone(),
        };
        Self {
            profile,
            namespace,
            wanted,
            parser: parser.to_path_buf(),
            container: lxcpath.join(name),
            file: format!("lxc-{name}"),
            policy: features.policy.clone(),
        }
    }

    /// What is written to attr/exec.
    fn label(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{}//&:{namespace}:unconfined", self.profile),
            None => self.profile.clone(),
        }
    }

    fn directory(&self) -> PathBuf {
        self.container.join("apparmor")
    }

    /// Writes the text, if it is not there already (the parser's cache goes by the file's time),
    /// makes the namespace and has the parser load it.
    pub(super) fn load(&self, origin: Option<&Origin>) -> Result<Loaded, LsmError> {
        let failed = |source| LsmError::Prepare { profile: self.profile.clone(), source };
        let root = Root::open(&self.container).map_err(failed)?;
        root.mkdir_all(Path::new("apparmor/cache"), 0o755).map_err(failed)?;
        let loaded = Loaded { generated: self.clone(), armed: true };
        if let Some(namespace) = &self.namespace {
            let namespaces = self.policy.join("policy/namespaces");
            dirs::make_all(&namespaces.join(namespace), 0o755).map_err(failed)?;
        }
        let mut refused = self.write_and_parse(&root, &self.wanted, origin);
        if matches!(refused, Err(LsmError::Parser { .. })) && self.wanted.userns {
            // A kernel with AppArmor 4 and a parser that does not know its rules.
            let wanted = Wanted { userns: false, ..self.wanted.clone() };
            refused = self.write_and_parse(&root, &wanted, origin);
        }
        refused.map(|()| loaded)
    }

    fn write_and_parse(
        &self,
        root: &Root,
        wanted: &Wanted,
        origin: Option<&Origin>,
    ) -> Result<(), LsmError> {
        let failed = |source| LsmError::Prepare { profile: self.profile.clone(), source };
        let text = profile::text(&self.profile, self.namespace.as_deref(), wanted);
        let file = Path::new("apparmor").join(&self.file);
        if root.read(&file, 1 << 20).ok().as_deref() != Some(text.as_bytes()) {
            root.write(&file, text.as_bytes(), 0o600).map_err(failed)?;
        }
        let said = match self.parse("-rWL").map_err(failed)? {
            (Wait::Exited(0), _) => return Ok(()),
            (_, said) => said,
        };
        let said = said.lines().last().unwrap_or("no reason given").trim().to_owned();
        let file = self.directory().join(&self.file).display().to_string();
        Err(LsmError::Parser { file, said, origin: origin.cloned() })
    }

    fn parse(&self, options: &str) -> Result<(Wait, String), SysError> {
        let (parser, dir) = (self.parser.to_string_lossy(), self.directory());
        let (cache, file) = (dir.join("cache"), dir.join(&self.file));
        let (cache, file) = (cache.to_string_lossy(), file.to_string_lossy());
        let env = [("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())];
        let output = spawn::run_program(&[&parser, options, &cache, &file], &env, &[])?;
        Ok((output.status, String::from_utf8_lossy(&output.text).into_owned()))
    }
}

/// A loaded profile; dropping it, or [`Self::unload`], removes profile and namespace.
pub struct Loaded {
    generated: Generated,
    armed: bool,
}

impl Loaded {
    /// Removes the profile and the namespace, at the container's end.
    pub fn unload(mut self) -> Result<(), LsmError> {
        self.armed = false;
        self.remove()
    }

    /// Leaves the profile loaded: it will be loaded again at once, for a reboot.
    pub fn keep(mut self) {
        self.armed = false;
    }

    fn remove(&self) -> Result<(), LsmError> {
        let generated = &self.generated;
        let failed = |source| LsmError::Prepare { profile: generated.profile.clone(), source };
        let parsed = generated.parse("-RWL").map_err(failed);
        if let Some(namespace) = &generated.namespace {
            let namespaces = Root::open(&generated.policy.join("policy/namespaces"));
            match namespaces.and_then(|root| root.rmdir(Path::new(namespace))) {
                Err(e) if e.errno != errno::ENOENT => return Err(failed(e)),
                _ => {}
            }
        }
        parsed.map(drop)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if self.armed {
            self.remove().unwrap_or_else(|e| log::debug!("{}", sentence(&e)));
        }
    }
}

/// FNV-1a, 64 bits, the hash that LXC uses for names that are too long.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::blame::Explain;

    fn facts() -> Facts {
        Facts {
            kind: Kind::AppArmor,
            apparmor: Features {
                mounts: true,
                cgroup_namespaces: true,
                profiles: Some(vec![DEFAULT_CGNS.into(), "mine".into()]),
                parser: Some("/sbin/apparmor_parser".into()),
                ..Features::default()
            },
            own_label: "unconfined".into(),
        }
    }

    fn planned(profile: Option<&str>, facts: &Facts) -> Result<LsmPlan, LsmError> {
        let mut config = Config::default();
        config.apparmor.profile = profile.map(str::to_owned);
        super::super::plan(&config, facts, "c1", Path::new("/var/lib/lxc"))
    }

    fn label(profile: Option<&str>, facts: &Facts) -> Option<String> {
        planned(profile, facts).unwrap().label().map(str::to_owned)
    }

    #[test]
    fn the_label_of_each_word() {
        let mut facts = facts();
        assert_eq!(label(None, &facts).as_deref(), Some(DEFAULT_CGNS));
        assert_eq!(label(Some("mine"), &facts).as_deref(), Some("mine"));
        assert_eq!(label(Some("unconfined"), &facts), None);
        assert_eq!(label(Some("unchanged"), &facts), None);
        assert_eq!(label(Some("generated"), &facts).as_deref(), Some("lxc-c1_</var/lib/lxc>"));
        facts.apparmor.stacking = true;
        assert_eq!(
            label(Some("generated"), &facts).as_deref(),
            Some("lxc-c1_</var/lib/lxc>//&:lxc-c1_<-var-lib-lxc>:unconfined")
        );
        facts.apparmor.profiles = Some(Vec::new());
        let plan = planned(None, &facts).unwrap();
        assert!(plan.label().is_none() && plan.warnings.len() == 1);
        // Whoever says so is not warned.
        assert!(planned(Some("unconfined"), &facts).unwrap().warnings.is_empty());
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let mut facts = facts();
        assert!(matches!(planned(Some("no"), &facts), Err(LsmError::NotLoaded { .. })));
        facts.apparmor.mounts = false;
        let error = planned(Some("mine"), &facts).unwrap_err();
        assert!(error.hint().unwrap().contains("allow_incomplete"));
        facts.apparmor.mounts = true;
        facts.apparmor.parser = None;
        assert!(matches!(planned(Some("generated"), &facts), Err(LsmError::NoParser { .. })));
        facts.own_label = "outer".into();
        assert!(matches!(planned(Some("mine"), &facts), Err(LsmError::Confined { .. })));
        assert_eq!(label(None, &facts), None, "kept");
    }

    #[test]
    fn long_names_are_hashed() {
        let config = Config::default();
        let path = PathBuf::from(format!("/{}", "x".repeat(300)));
        let parser = Path::new("/p");
        let generated = Generated::new(&config, &Features::default(), parser, "c", &path);
        assert_eq!(generated.profile.len(), 4 + 16);
    }

    #[test]
    fn features_are_read_from_securityfs() {
        let sys = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = sys.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert!(!is_enabled(sys.path()));
        put("module/apparmor/parameters/enabled", "Y\n");
        put("kernel/security/apparmor/features/mount/mask", "mount umount\n");
        put("kernel/security/apparmor/features/domain/stack", "yes\n");
        put("kernel/security/apparmor/policy/namespaces/.keep", "");
        put("kernel/security/apparmor/profiles", "a b (enforce)\n/bin/man (complain)\n");
        assert!(is_enabled(sys.path()));
        let features = Features::probe(sys.path());
        assert!(features.mounts && features.stacking && !features.userns);
        assert_eq!(features.profiles.unwrap(), ["a b", "/bin/man"]);
    }
}
