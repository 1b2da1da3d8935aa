//! The database of devices, /run/lxc/nics: `OWNER TYPE BRIDGE NIC` line by line, locked as a whole
//! by whoever reads it (LXC's too) until it is closed.

use super::policy::Grant;
use crate::sys::{Result, fd, lock};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Largest file that is read, in bytes; no line is longer than a hundred.
const MAX: usize = 4 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry(String);

impl Entry {
    /// None of the four holds a blank: they are names of interfaces, users and groups.
    pub fn new(owner: &str, kind: &str, bridge: &str, nic: &str) -> Self {
        Self(format!("{owner} {kind} {bridge} {nic}"))
    }
}

/// The locked database.
pub struct Nics {
    file: Option<OwnedFd>,
    lines: Vec<String>,
    changed: bool,
}

impl Nics {
    /// Opens it, which makes it, and waits for its lock.
    ///
    /// # Errors
    /// The file's or the lock's.
    pub fn open() -> Result<Self> {
        let file = lock::open_lock_file(Path::new("/run"), Path::new("lxc"), OsStr::new("nics"))?;
        lock::lock(file.as_fd(), lock::Wait::Yes)?;
        let bytes = fd::read_fd(file.as_fd(), MAX)?;
        Ok(Self { file: Some(file), ..Self::parse(&String::from_utf8_lossy(&bytes)) })
    }

    /// Of a text, in no file.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect();
        Self { file: None, lines, changed: false }
    }

    /// What [`Self::save`] writes.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }

    /// Writes it back if there is something new.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save(&mut self) -> Result<()> {
        match &self.file {
            Some(file) if self.changed => fd::rewrite(file.as_fd(), self.text().as_bytes())?,
            _ => {}
        }
        self.changed = false;
        Ok(())
    }

    /// True if that very line is in it.
    pub fn has(&self, entry: &Entry) -> bool {
        self.lines.contains(&entry.0)
    }

    /// One more line.
    pub fn add(&mut self, entry: &Entry) {
        self.lines.push(entry.0.clone());
        self.changed = true;
    }

    /// Takes a line out.
    pub fn remove(&mut self, entry: &Entry) {
        self.keep(&mut |line| line != entry.0);
    }

    fn keep(&mut self, wanted: &mut dyn FnMut(&str) -> bool) {
        let before = self.lines.len();
        self.lines.retain(|line| wanted(line));
        self.changed |= self.lines.len() != before;
    }

    /// How many devices of that type `owner` has on the bridge.
    pub fn count(&self, owner: &str, kind: &str, bridge: &str) -> usize {
        let start = Entry::new(owner, kind, bridge, "").0;
        self.lines.iter().filter(|line| line.starts_with(&start)).count()
    }

    /// Forgets the devices that are gone, of those that the caller may have.
    pub fn cull(
        &mut self,
        grants: &[Grant],
        kind: &str,
        bridge: &str,
        exists: &mut dyn FnMut(&str) -> bool,
    ) {
        let starts: Vec<String> =
            grants.iter().map(|g| Entry::new(&g.owner, kind, bridge, "").0).collect();
        self.keep(&mut |line| {
            let nic = starts.iter().find_map(|start| line.strip_prefix(start.as_str()));
            nic.is_none_or(&mut *exists)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "eva veth br0 veth1_a\neva veth br00 veth1_b\nevan veth br0 veth2_a\n\
                        @net veth br0 veth1_c\neva veth br0 veth1_d\nodd line\n";

    fn grant(owner: &str) -> Grant {
        Grant { owner: owner.into(), limit: 1 }
    }

    #[test]
    fn lines_are_counted_by_all_their_fields() {
        let nics = Nics::parse(TEXT);
        assert_eq!(nics.count("eva", "veth", "br0"), 2);
        assert_eq!(nics.count("ev", "veth", "br0"), 0);
        assert_eq!(nics.count("@net", "veth", "br0"), 1);
        assert_eq!(nics.count("net", "veth", "br0"), 0);
        assert!(nics.has(&Entry::new("eva", "veth", "br00", "veth1_b")));
        assert!(!nics.has(&Entry::new("eva", "veth", "br0", "veth1_b")));
        assert!(!nics.has(&Entry::new("eva", "veth", "br0", "veth2_a")));
    }

    #[test]
    fn what_is_gone_is_culled_and_the_rest_stays_as_it_is() {
        let mut nics = Nics::parse(TEXT);
        let mut asked = Vec::new();
        nics.cull(&[grant("eva"), grant("@net")], "veth", "br0", &mut |nic| {
            asked.push(nic.to_owned());
            nic != "veth1_a"
        });
        assert_eq!(asked, ["veth1_a", "veth1_c", "veth1_d"]);
        assert_eq!(nics.text(), TEXT.split_once('\n').unwrap().1);
        nics.remove(&Entry::new("eva", "veth", "br0", "veth1_d"));
        nics.add(&Entry::new("eva", "veth", "br9", "veth1_e"));
        assert!(nics.text().ends_with("odd line\neva veth br9 veth1_e\n"));
        assert!(nics.changed);
    }

    proptest::proptest! {
        #[test]
        fn owners_are_never_mixed_up(owner in "[a-z@]{1,6}", other in "[a-z@]{1,6}",
                                     nic in "[a-z0-9_]{1,6}") {
            let mut nics = Nics::parse("");
            nics.add(&Entry::new(&owner, "veth", "br0", &nic));
            proptest::prop_assert_eq!(nics.count(&other, "veth", "br0") == 1, owner == other);
            let asked = Entry::new(&other, "veth", "br0", &nic);
            proptest::prop_assert_eq!(nics.has(&asked), owner == other);
        }
    }
}
