//! Whether this kernel and host run containers, and what is to be changed if not: what
//! lxc-checkconfig prints.
//!
//! [`table::ITEMS`] has a row for each thing that is looked at; to look at another is to add a row.
//! The kernel is asked by trials in throw-away processes (`answer`), never by its version. Its
//! .config (`kconfig`) and the lists of its modules (`modules`) say what cannot be tried, and all
//! that there is to say about another kernel. Nothing is changed on the host, no module is loaded.
//! Start reading at [`examine`].

mod answer;
pub mod boot;
mod capacity;
mod cgroups;
mod culprit;
mod files;
mod host;
mod kconfig;
mod kernel;
mod modules;
pub mod table;
pub mod text;
mod trial;

pub use capacity::{Capacity, Room, capacity};
pub use host::{ConfigSource, Host};

use table::{How, ITEMS, Item};

/// What a machine is to be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Containers that root starts.
    Plain,
    /// Containers of an ordinary user, and those of root with an id map.
    Unprivileged,
    /// A distribution with systemd in a container.
    SystemdGuest,
    /// Docker or Podman in a container.
    DockerInside,
}

impl Purpose {
    /// All of them with the word that `--for` takes.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("plain", Self::Plain),
        ("unprivileged", Self::Unprivileged),
        ("systemd-guest", Self::SystemdGuest),
        ("docker-inside", Self::DockerInside),
    ];
}

/// How much a purpose needs an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Of no concern.
    None,
    /// Some configurations use it.
    Optional,
    /// Most installations want it.
    Recommended,
    /// Nothing runs without.
    Required,
}

impl Need {
    /// The word for it.
    pub fn word(self) -> &'static str {
        ["not concerned", "optional", "recommended", "required"][self as usize]
    }
}

/// What was found about an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works for the caller.
    Works,
    /// The kernel has it, and the caller may not use it without root.
    RootOnly,
    /// It is there, and something keeps it from working: the detail names what.
    Blocked,
    /// The kernel or the host does not have it.
    Absent,
    /// It could not be found out.
    Unknown,
}

const STATES: [(State, &str); 5] = [
    (State::Works, "works"),
    (State::RootOnly, "root-only"),
    (State::Blocked, "blocked"),
    (State::Absent, "absent"),
    (State::Unknown, "unknown"),
];

impl State {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        STATES[self as usize].1
    }
}

/// The answer about one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub state: State,
    /// What a person wants to know beside; may be empty. Of a blocked one: what blocks it.
    pub detail: String,
    /// The command that mends it; may be empty.
    pub mend: String,
}

impl Verdict {
    fn new(state: State, detail: impl Into<String>) -> Self {
        Self { state, detail: detail.into(), mend: String::new() }
    }

    fn works(detail: impl Into<String>) -> Self {
        Self::new(State::Works, detail)
    }

    fn absent(detail: impl Into<String>) -> Self {
        Self::new(State::Absent, detail)
    }

    fn blocked(by: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(State::Blocked, by).mend(mend)
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self::new(State::Unknown, why)
    }

    fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend = command.into();
        self
    }

    /// It is there for those who may use it.
    pub fn is_there(&self) -> bool {
        matches!(self.state, State::Works | State::RootOnly)
    }
}

/// One item with its answer.
pub struct Answer {
    /// The row.
    pub item: &'static Item,
    /// How much the purpose needs it.
    pub need: Need,
    /// What was found.
    pub verdict: Verdict,
    /// Of what is a module: whether it is loaded.
    pub loaded: Option<bool>,
}

impl Answer {
    /// True if the purpose cannot be had because of this.
    pub fn fails(&self, purpose: Purpose) -> bool {
        let bad = match self.verdict.state {
            State::Works | State::Unknown => false,
            State::RootOnly => purpose == Purpose::Unprivileged,
            State::Blocked | State::Absent => true,
        };
        bad && self.need == Need::Required
    }

    /// True if it is to be told: the purpose fails for it, or wants it and has it not.
    pub fn lacks(&self, purpose: Purpose) -> bool {
        self.fails(purpose) || self.need >= Need::Recommended && !self.verdict.is_there()
    }

    /// True if nobody can tell whether the purpose can be had because of this.
    pub fn is_open(&self) -> bool {
        self.need == Need::Required && self.verdict.state == State::Unknown
    }
}

/// Looks at every item of the table that can be looked at here: at a kernel that does not run only
/// its configuration.
pub fn examine(host: &Host, purpose: Purpose) -> Vec<Answer> {
    let wanted = ITEMS.iter().filter(|item| host.live || !item.symbols.is_empty());
    let mut answers: Vec<Answer> = wanted
        .filter(|item| !matches!(item.how, How::V1(_)) || host.has_v1())
        .map(|item| Answer {
            item,
            need: item.needs[purpose as usize],
            verdict: answer::verdict(host, item),
            loaded: answer::loaded(host, item),
        })
        .collect();
    stand_in(&mut answers);
    if host.live && host.is_real() {
        cgroups::clean_up();
    }
    answers
}

/// One of a kind is enough: a missing way to do NAT is no fault where the other works.
fn stand_in(answers: &mut [Answer]) {
    for pair in table::EITHER {
        let works = |answers: &[Answer], id: &str| {
            answers.iter().any(|a| a.item.id == id && a.verdict.is_there())
        };
        let [one, other] = *pair;
        for (id, instead) in [(one, other), (other, one)] {
            if !works(answers, id) && works(answers, instead) {
                for answer in answers.iter_mut().filter(|a| a.item.id == id) {
                    answer.need = answer.need.min(Need::Optional);
                }
            }
        }
    }
}

/// What the whole comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that is required works.
    Fit,
    /// Something that is required does not.
    Unfit,
    /// Something that is required could not be checked.
    Open,
}

/// Sums up.
pub fn outcome(answers: &[Answer], purpose: Purpose) -> Outcome {
    if answers.iter().any(|answer| answer.fails(purpose)) {
        Outcome::Unfit
    } else if answers.iter().any(Answer::is_open) {
        Outcome::Open
    } else {
        Outcome::Fit
    }
}

#[cfg(test)]
mod tests;
