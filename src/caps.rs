//! Capabilities of what runs in a container: the bounding set of `lxc.cap.drop` and
//! `lxc.cap.keep`, and empty ambient and inheritable sets.
//!
//! [`plan`] is pure, [`Bounding::apply`] acts on the calling process. Permitted and effective
//! are left alone, as in LXC: the exec of init cuts them down to the bounding set.

use crate::config::{CapLists, Origin};
use crate::sys::error::errno_name;
use crate::sys::{SysError, prctl, procfs};
use crate::util::blame::Explain;
use crate::util::captab::Cap;

/// The capabilities that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounding {
    /// Bit N is set when capability N stays.
    keep: u64,
    /// The last capability of the running kernel.
    last: u8,
}

/// What is wrong with `lxc.cap.*`.
#[derive(Debug, thiserror::Error)]
pub enum CapError {
    /// A number, or a name, that is newer than the kernel.
    #[error("capability {name} is unknown to this kernel, whose last one is {last}")]
    Unknown {
        /// As written, or its name.
        name: String,
        /// cap_last_cap.
        last: u8,
        /// Where it was written.
        origin: Origin,
    },
    /// The kernel refused.
    #[error("{step}")]
    Apply {
        /// What was being done.
        step: &'static str,
        /// The failed call.
        #[source]
        source: SysError,
    },
}

impl Explain for CapError {
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Unknown { .. } => None,
            Self::Apply { source, .. } => Some(source.errno),
        }
    }

    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Unknown { origin, .. } => Some(origin),
            Self::Apply { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some(
                "remove it: perfmon and bpf came with Linux 5.8, checkpoint_restore with 5.9"
                    .into(),
            ),
            Self::Apply { source, .. } => (errno_name(source.errno) == Some("EPERM"))
                .then(|| "dropping capabilities needs CAP_SETPCAP: run as root".into()),
        }
    }
}

/// The running kernel's last capability (cap_last_cap): the last one whose place in the bounding
/// set it tells. Asked for in halves; a file of /proc would cost more than these calls together.
pub fn last_cap() -> u8 {
    let (mut known, mut unknown) = (0, 64);
    while unknown - known > 1 {
        let middle = (known + unknown) / 2;
        if prctl::bounding_has(middle).is_ok() { known = middle } else { unknown = middle }
    }
    known
}

/// What `lists` leave of the bounding set on a kernel whose last capability is `last`.
///
/// # Errors
/// A capability that the kernel does not have, in either list.
pub fn plan(lists: &CapLists, last: u8) -> Result<Bounding, CapError> {
    let mask = |caps: &[crate::config::Sourced<Cap>]| {
        caps.iter().try_fold(0u64, |mask, cap| {
            if cap.value.0 > last {
                let name = cap.value.name().map_or_else(|| cap.value.0.to_string(), str::to_owned);
                return Err(CapError::Unknown { name, last, origin: cap.origin.clone() });
            }
            Ok(mask | 1 << cap.value.0)
        })
    };
    let keep = match &lists.keep {
        Some(keep) => mask(keep)?,
        None => !mask(&lists.drop)?,
    };
    Ok(Bounding { keep, last })
}

impl Bounding {
    /// The bounding set of a running process from the text of its /proc/PID/status (`CapBnd`),
    /// for a process that joins it. `None` when the line is missing or no number.
    pub fn of_status(status: &str, last: u8) -> Option<Self> {
        let hex = procfs::status_field(status, "CapBnd")?;
        u64::from_str_radix(hex, 16).ok().map(|keep| Self { keep, last })
    }

    /// True if `cap` stays.
    pub fn keeps(self, cap: Cap) -> bool {
        cap.0 <= self.last && self.keep & (1 << cap.0) != 0
    }

    /// The capabilities that go.
    fn dropped(self) -> impl Iterator<Item = u8> {
        (0..=self.last).filter(move |cap| !self.keeps(Cap(*cap)))
    }

    /// Cuts the bounding set down, empties the ambient and the inheritable set (CVE-2022-29162:
    /// an inheritable set that is not empty comes back by file capabilities).
    ///
    /// # In the child
    /// Needs CAP_SETPCAP, so before the user ids change and, for an allow list without prctl,
    /// before seccomp. Leaves nothing open.
    pub fn apply(self) -> Result<(), CapError> {
        for cap in self.dropped() {
            prctl::bounding_drop(cap).map_err(|source| {
                let operand = Cap(cap).name().map_or_else(|| cap.to_string(), str::to_owned);
                let source = source.with_operand(format_args!("PR_CAPBSET_DROP, {operand}"));
                CapError::Apply { step: "dropping a capability from the bounding set", source }
            })?;
        }
        prctl::inheritable_clear().map_err(|source| CapError::Apply {
            step: "emptying the inheritable capabilities",
            source,
        })?;
        match prctl::ambient_clear() {
            // FALLBACK(<4.3): a kernel without ambient capabilities has none to clear.
            Err(e) if errno_name(e.errno) == Some("EINVAL") => Ok(()),
            done => done.map_err(|source| CapError::Apply {
                step: "emptying the ambient capabilities",
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sourced;

    fn caps(names: &[&str]) -> Vec<Sourced<Cap>> {
        let origin = Origin::label("test");
        let cap = |n: &&str| Sourced { value: Cap::parse(n).unwrap(), origin: origin.clone() };
        names.iter().map(cap).collect()
    }

    #[test]
    fn the_last_one_is_the_kernels() {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(last_cap().to_string(), text.trim());
    }

    #[test]
    fn drop_and_keep() {
        let lists = CapLists { drop: caps(&["sys_module", "mac_admin"]), keep: None };
        let plan = super::plan(&lists, 40).unwrap();
        assert!(plan.keeps(Cap::SYS_ADMIN) && !plan.keeps(Cap::SYS_MODULE));
        assert_eq!(plan.dropped().collect::<Vec<_>>(), [16, 33]);
        let lists = CapLists { drop: vec![], keep: Some(caps(&["chown"])) };
        assert_eq!(super::plan(&lists, 5).unwrap().dropped().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let lists = CapLists { drop: vec![], keep: Some(vec![]) };
        assert_eq!(super::plan(&lists, 40).unwrap().dropped().count(), 41);
        assert_eq!(super::plan(&CapLists::default(), 63).unwrap().dropped().count(), 0);
    }

    #[test]
    fn newer_than_the_kernel_is_an_error_with_its_place() {
        let lists = CapLists { drop: caps(&["bpf"]), keep: None };
        let error = super::plan(&lists, 37).unwrap_err();
        assert_eq!(
            error.to_string(),
            "capability bpf is unknown to this kernel, whose last one is 37"
        );
        assert!(error.origin().is_some());
    }

    #[test]
    fn taken_from_a_running_process() {
        let status = "Name:\tinit\nCapInh:\t0000000000000000\nCapBnd:\t0000000000000003\n";
        let set = Bounding::of_status(status, 3).unwrap();
        assert_eq!(set.dropped().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(Bounding::of_status("Name:\tx\n", 3), None);
        assert_eq!(Bounding::of_status("CapBnd:\tzz\n", 3), None);
    }
}
