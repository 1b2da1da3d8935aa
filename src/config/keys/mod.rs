//! The one table of keys: everything that can be done with a key follows from its row.
//!
//! A row is a `Key`: name, example, one line of documentation and an `Access`, which knows
//! the field. `table.rs` has the rows of a container, `net.rs` those of one network, `legacy.rs`
//! the names of LXC 1 and 2. A new key is one row and one field in `Config`. Exact names win
//! over families (`lxc.cgroup.dir` over `lxc.cgroup.*`). Rows are sorted by name, for they are
//! searched; a test says where one is out of place. Start reading at `find` and `assign`.

mod access;
mod legacy;
mod net;
mod table;

pub use access::Options;
pub(crate) use legacy::today;
pub use legacy::{OLD_NAMES, OldName};

use super::error::ConfigError;
use super::value::ValueError;
use super::{Config, NetConfig, NetKind, Origin};
use access::{Access, Arg, Holds};
use std::fmt::Write as _;

/// One row of the table, of a container (`Config`) or of one network (`NetConfig`).
pub(crate) struct Key<S: 'static> {
    /// `lxc.tty.max`; `lxc.sysctl` for the family `lxc.sysctl.*`; `lxc.net.N.mtu`.
    name: &'static str,
    /// A value that parses. For a family it is `NAME = VALUE`.
    example: &'static str,
    /// One line.
    doc: &'static str,
    access: Access<S>,
    /// What an empty value in a file means, where it is not "back to the default".
    empty: Option<&'static str>,
    /// The network type this key belongs to.
    needs: Option<NetKind>,
    /// How a container that runs takes a new value.
    live: Live,
}

/// How a container that runs takes a new value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// Not at all: a start uses it.
    Restart,
    /// By itself: whoever needs it reads the file then.
    Read,
    /// The file of its cgroup.
    Cgroup,
    /// The limit of each of its processes.
    Prlimit,
    /// The setting of its namespaces.
    Sysctl,
    /// The file in init's /proc directory.
    Proc,
    /// The host name of its namespace.
    HostName,
    /// A property of one of its interfaces.
    Net,
}

impl<S> Key<S> {
    const fn new(
        name: &'static str,
        access: Access<S>,
        example: &'static str,
        doc: &'static str,
    ) -> Self {
        // For the manual pages, which a release does not write.
        let (example, doc) = if cfg!(debug_assertions) { (example, doc) } else { ("", "") };
        Self { name, example, doc, access, empty: None, needs: None, live: Live::Restart }
    }

    const fn empty_means(mut self, value: &'static str) -> Self {
        self.empty = Some(value);
        self
    }

    const fn live(mut self, live: Live) -> Self {
        self.live = live;
        self
    }

    const fn needs(mut self, kind: NetKind) -> Self {
        self.needs = Some(kind);
        self
    }
}

/// The storage type on a line of its own, in old files.
pub(crate) const ROOTFS_BACKEND: &str = "lxc.rootfs.backend";

/// What every network row's name begins with.
const NET: &str = "lxc.net.N";

impl Key<NetConfig> {
    /// `.mtu` of `lxc.net.N.mtu`; empty for the network itself.
    fn tail(&self) -> &'static str {
        self.name.get(NET.len()..).unwrap_or("")
    }
}

#[derive(Clone, Copy)]
enum Row {
    Container(&'static Key<Config>),
    Net(u32, &'static Key<NetConfig>),
}

/// A key as somebody wrote it, found in the table.
pub(crate) struct Found {
    row: Row,
    /// The spelling of today, with numbers filled in: `lxc.net.0.link`.
    pub(crate) canonical: String,
    /// Where the name within a family begins in `canonical`; its length without one.
    suffix: usize,
    /// Written in the spelling of LXC 1 or 2.
    pub(crate) old: bool,
    /// An old key without any effect today.
    pub(crate) ignored: bool,
}

impl Found {
    fn suffix(&self) -> &str {
        self.canonical.get(self.suffix..).unwrap_or("")
    }

    /// True for a family without a name, `lxc.sysctl`.
    fn whole(&self) -> bool {
        self.suffix >= self.canonical.len()
    }

    /// True if the row is this one; for the few keys that the document treats specially.
    pub(crate) fn is(&self, name: &str) -> bool {
        match self.row {
            _ if self.ignored => false,
            Row::Container(key) => key.name == name,
            Row::Net(_, key) => key.name == name,
        }
    }

    /// True for a key that holds one value, so that its line can be replaced by a new one. A
    /// network's type is not: assigning it resets what is written below.
    pub(crate) fn single(&self) -> bool {
        let holds = match self.row {
            Row::Container(key) => key.access.holds,
            Row::Net(_, key) => key.access.holds,
        };
        holds == Holds::One && !self.is("lxc.net.N.type")
    }

    /// True if clearing this key also takes away what `line`, another key in today's spelling,
    /// says.
    pub(crate) fn covers(&self, line: &str) -> bool {
        if line == self.canonical {
            return true;
        }
        let below = |parent: &str| line.strip_prefix(parent).is_some_and(|r| r.starts_with('.'));
        match self.row {
            Row::Net(n, key) => {
                matches!(key.tail(), "" | ".type") && below(&format!("lxc.net.{n}"))
            }
            Row::Container(key) => match key.access.holds {
                Holds::Nothing if key.name == "lxc.hook" => {
                    below(key.name) && line != "lxc.hook.version"
                }
                Holds::Nothing => below(key.name),
                Holds::One if key.name == "lxc.rootfs.path" => line == ROOTFS_BACKEND,
                Holds::Many if key.name.starts_with("lxc.cap.") => line.starts_with("lxc.cap."),
                Holds::Family if self.whole() => below(key.name) && exact(line).is_none(),
                _ => false,
            },
        }
    }

    /// The value that stands for "cleared" in a file.
    pub(crate) fn cleared_text(&self) -> String {
        match self.row {
            Row::Container(key) if key.empty.is_some() => {
                let mut out = String::new();
                (key.access.get)(&Config::default(), "", &mut out);
                out
            }
            _ => String::new(),
        }
    }
}

fn exact(name: &str) -> Option<&'static Key<Config>> {
    let at = table::KEYS.binary_search_by(|key| key.name.cmp(name)).ok()?;
    table::KEYS.get(at)
}

/// The row of the family that `name` is in, and where its name within the family begins.
fn family(name: &str) -> Option<(&'static Key<Config>, usize)> {
    name.rmatch_indices('.').find_map(|(dot, _)| {
        let key = exact(name.get(..dot)?).filter(|key| key.access.holds == Holds::Family)?;
        Some((key, dot + 1))
    })
}

/// Finds the row for a key in any spelling. `config` tells which network an unnumbered
/// `lxc.network.*` belongs to.
///
/// # Errors
/// `Err(None)` for a name that no row has; `Err(Some(..))` when it cannot be placed.
pub(crate) fn find(config: &Config, name: &str) -> Result<Found, Option<ValueError>> {
    match find_current(name) {
        Some(found) => Ok(found),
        None => legacy::find(config, name),
    }
}

fn find_current(name: &str) -> Option<Found> {
    let found = |row, canonical: &str, suffix| Found {
        row,
        canonical: canonical.to_owned(),
        suffix,
        old: false,
        ignored: false,
    };
    if let Some(rest) = name.strip_prefix("lxc.net.") {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let at = net::KEYS.binary_search_by(|key| key.tail().cmp(tail)).ok()?;
        let key = net::KEYS.get(at)?;
        let canonical = format!("lxc.net.{number}{tail}");
        return Some(found(Row::Net(number, key), &canonical, canonical.len()));
    }
    if let Some(key) = exact(name) {
        return Some(found(Row::Container(key), name, name.len()));
    }
    let (key, at) = family(name)?;
    let suffix = name.get(at..)?;
    // What would not come back from a saved line is no name.
    if suffix.is_empty()
        || suffix.contains(|c: char| c.is_whitespace() || c.is_control() || c == '=')
    {
        return None;
    }
    Some(found(Row::Container(key), name, at))
}

/// Assigns `value` to the key, or clears it when the value is empty. Gives back the value that
/// was stored if it is another than was written (`hwaddr` templates).
///
/// # Errors
/// The value is refused; nothing is changed then.
pub(crate) fn assign(
    config: &mut Config,
    found: &Found,
    value: &str,
    origin: &Origin,
    options: &Options,
) -> Result<Option<String>, ValueError> {
    if found.ignored {
        return Ok(None);
    }
    let empty = match found.row {
        Row::Container(key) => key.empty,
        Row::Net(..) => None,
    };
    let value = if value.is_empty() { empty.unwrap_or("") } else { value };
    if value.is_empty() {
        clear(config, found);
        return Ok(None);
    }
    let mut arg =
        Arg { suffix: found.suffix(), value, origin, options, old: found.old, rewritten: None };
    let holds = match found.row {
        Row::Container(key) => {
            if found.whole() && matches!(key.access.holds, Holds::Family) {
                return Err(ValueError::ClearOnly);
            }
            (key.access.set)(config, &mut arg)?;
            key.access.holds
        }
        Row::Net(n, key) => {
            assign_net(config, n, key, &mut arg)?;
            key.access.holds
        }
    };
    let rewritten = arg.rewritten;
    if holds == Holds::One {
        config.origins.insert(found.canonical.clone(), origin.clone());
    }
    Ok(rewritten)
}

fn assign_net(
    config: &mut Config,
    n: u32,
    key: &'static Key<NetConfig>,
    arg: &mut Arg<'_>,
) -> Result<(), ValueError> {
    if key.tail() == ".type" {
        // A new type starts from nothing (lxc_clear_netdev in set_config_net_type of LXC).
        let mut fresh = NetConfig::default();
        (key.access.set)(&mut fresh, arg)?;
        forget_net(config, n);
        config.net.insert(n, fresh);
        return Ok(());
    }
    let has = config.net.get(&n).and_then(|net| net.kind);
    if let Some(kind) = key.needs.filter(|kind| has != Some(*kind)) {
        return Err(ValueError::NeedsType { index: n, kind: kind.name() });
    }
    match config.net.get_mut(&n) {
        Some(net) => (key.access.set)(net, arg),
        None => {
            let mut net = NetConfig::default();
            (key.access.set)(&mut net, arg)?;
            config.net.insert(n, net);
            Ok(())
        }
    }
}

/// Removes the origins of one network's keys.
fn forget_net(config: &mut Config, n: u32) {
    let prefix = format!("lxc.net.{n}.");
    config.origins.retain(|key, _| !key.starts_with(&prefix));
}

/// Back to the default.
pub(crate) fn clear(config: &mut Config, found: &Found) {
    match found.row {
        Row::Container(key) => {
            if key.name == "lxc.net" {
                config.origins.retain(|key, _| !key.starts_with("lxc.net."));
            }
            (key.access.clear)(config, &mut Config::default(), found.suffix());
        }
        Row::Net(n, key) => match key.tail() {
            "" | ".type" => {
                config.net.remove(&n);
                forget_net(config, n);
            }
            _ => {
                if let Some(net) = config.net.get_mut(&n) {
                    (key.access.clear)(net, &mut NetConfig::default(), "");
                }
            }
        },
    }
    config.origins.remove(&found.canonical);
}

/// [`find`] for a key that a caller asked for; `origin` is where, if it can be told.
///
/// # Errors
/// The key is unknown or cannot be placed.
pub(crate) fn find_asked(
    config: &Config,
    key: &str,
    origin: Option<&Origin>,
) -> Result<Found, ConfigError> {
    let origin = origin.cloned();
    find(config, key).map_err(|cause| match cause {
        Some(cause) => ConfigError::Value { origin, key: key.to_owned(), cause },
        None => ConfigError::UnknownKey { origin, nearest: nearest(key), key: key.to_owned() },
    })
}

/// A key that somebody wants to change while the container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveKey {
    /// How.
    pub live: Live,
    /// Today's spelling.
    pub key: String,
    /// The name within a family.
    pub name: String,
    /// The network it belongs to.
    pub net: Option<u32>,
    /// It has one value.
    pub single: bool,
}

/// How a running container takes a new value of `key`.
///
/// # Errors
/// No such key.
pub fn live(config: &Config, key: &str) -> Result<LiveKey, ConfigError> {
    let found = find_asked(config, key, None)?;
    let (live, net) = match found.row {
        Row::Container(row) => (row.live, None),
        Row::Net(n, row) => (row.live, Some(n)),
    };
    let (name, single) = (found.suffix().to_owned(), found.single());
    Ok(LiveKey { live, key: found.canonical, name, net, single })
}

/// The value of a key as `lxc-info -c` and the command socket give it: a bare value, or for a
/// list each element followed by a line break. Empty when not set.
///
/// # Errors
/// No such key, or one without a value.
pub fn get(config: &Config, key: &str) -> Result<String, ConfigError> {
    let found = find_asked(config, key, None)?;
    let mut out = String::new();
    match found.row {
        Row::Container(row) if row.access.readable => {
            (row.access.get)(config, found.suffix(), &mut out);
        }
        Row::Net(n, row) if row.access.readable => {
            // As in LXC: no network, or one of a type that the key is not for, is no empty value.
            let fits = |net: &&NetConfig| row.needs.is_none_or(|kind| net.kind == Some(kind));
            let net = config.net.get(&n).filter(fits);
            let net = net.ok_or_else(|| ConfigError::Unreadable { key: key.to_owned() })?;
            (row.access.get)(net, "", &mut out);
            // The lists of a network end without a line break, unlike those of the container.
            if row.access.holds == Holds::Many {
                out.pop();
            }
        }
        _ => return Err(ConfigError::Unreadable { key: key.to_owned() }),
    }
    Ok(out)
}

/// The keys below `prefix` that have another value than the default, in the order of the table:
/// `lxc.net.0.link`, `lxc.sysctl.kernel.shmmax`. An empty prefix gives all.
pub fn list(config: &Config, prefix: &str) -> Vec<String> {
    let mut out = Vec::new();
    let default = Config::default();
    for key in table::KEYS.iter().filter(|key| key.access.readable && key.name != "lxc.net") {
        if key.access.holds == Holds::Family {
            (key.access.names)(config, &mut |name| {
                let full = format!("{}.{name}", key.name);
                if !out.contains(&full) {
                    out.push(full);
                }
            });
        } else if shown(&key.access, config) != shown(&key.access, &default) {
            out.push(key.name.to_owned());
        }
    }
    let default = NetConfig::default();
    for (n, net) in &config.net {
        // The type first, because it resets the others.
        let is_type = |key: &&Key<NetConfig>| key.tail() == ".type";
        let others = net::KEYS.iter().filter(|key| !is_type(key) && key.access.readable);
        for key in net::KEYS.iter().filter(is_type).chain(others) {
            if shown(&key.access, net) != shown(&key.access, &default) {
                out.push(format!("lxc.net.{n}{}", key.tail()));
            }
        }
    }
    out.retain(|key| {
        let rest = key.strip_prefix(prefix.trim_end_matches('.'));
        prefix.is_empty() || rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
    });
    out
}

fn shown<S>(access: &Access<S>, holder: &S) -> String {
    let mut out = String::new();
    (access.get)(holder, "", &mut out);
    out
}

/// One key as the manual page and README describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The key, with `N` for a number and `.NAME` for a family.
    pub key: String,
    /// What can be written.
    pub value: &'static str,
    /// What holds when nothing is written; empty for nothing.
    pub default: String,
    /// A line that can stand in a file.
    pub example: String,
    /// One line.
    pub doc: &'static str,
    /// Each line adds to the ones before.
    pub repeats: bool,
    /// What a container that runs does with a new value.
    pub live: Live,
}

/// The whole reference, empty of words in a release: rows of the container, then those of a network.
pub fn reference() -> Vec<Reference> {
    let container = table::KEYS.iter().map(|key| describe(key, &Config::default()));
    container.chain(net::KEYS.iter().map(|key| describe(key, &NetConfig::default()))).collect()
}

fn describe<S>(key: &Key<S>, default: &S) -> Reference {
    let family = matches!(key.access.holds, Holds::Family);
    let name = key.name;
    let shape = key.access.shape;
    Reference {
        key: if family { format!("{name}.NAME") } else { name.to_owned() },
        value: shape,
        default: if key.access.readable { shown(&key.access, default) } else { String::new() },
        example: example_line(key),
        doc: key.doc,
        repeats: key.access.repeats,
        live: key.live,
    }
}

/// The row's example as a line of a file, for network 0.
fn example_line<S>(key: &Key<S>) -> String {
    let name = key.name.replacen(NET, "lxc.net.0", 1);
    match (key.access.holds, key.example) {
        (Holds::Family, example) => format!("{name}.{example}"),
        (_, "") => format!("{name} ="),
        (_, example) => format!("{name} = {example}"),
    }
}

/// Every name for completion: today's spellings only, `N` standing for a network's number.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::KEYS.iter().map(|key| key.name).chain(net::KEYS.iter().map(|key| key.name))
}

/// The known key that is spelled most like `key`, if any is near enough to be meant.
pub fn nearest(key: &str) -> Option<String> {
    // Compare networks with their number in place, so that it costs nothing.
    let number = key.strip_prefix("lxc.net.").map_or("0", |rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).filter(|n| n.parse::<u32>().is_ok()).unwrap_or("0")
    });
    let mut best: Option<(usize, String)> = None;
    let mut candidate = String::new();
    for name in names() {
        candidate.clear();
        match name.strip_prefix(NET) {
            Some(tail) => {
                let _ = write!(candidate, "lxc.net.{number}{tail}");
            }
            None => candidate.push_str(name),
        }
        let distance = edit_distance(key, &candidate);
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate.clone()));
        }
    }
    // "lxc." is in all of them; a third of the rest may be wrong.
    let allowed = (key.len().saturating_sub(4) / 3).clamp(1, 6);
    best.filter(|(distance, _)| *distance <= allowed).map(|(_, name)| name)
}

/// How many single-letter edits lead from one to the other; a transposition counts two. Long
/// texts count as far away.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > 128 {
        return usize::MAX;
    }
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            let change = diagonal + usize::from(x != *y);
            row[j + 1] = change.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
