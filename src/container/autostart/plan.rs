//! Which containers are meant, in which order, and who waits for whom. Pure: everything is found
//! out before.
//!
//! Start reading at [`Plan::new`].

use crate::config::{Autostart, Readiness, Sourced};
use std::time::Duration;

/// What is done to the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the four words")]
pub enum Action {
    Start,
    Reboot,
    Shutdown,
    Kill,
}

impl Action {
    /// True for those that end containers: they work in reverse order.
    pub fn ends(self) -> bool {
        matches!(self, Self::Shutdown | Self::Kill)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reboot => "reboot",
            Self::Shutdown => "shut down",
            Self::Kill => "kill",
        }
    }
}

/// Which containers the caller means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// What is done to them.
    pub action: Action,
    /// The groups, one after the other; the empty name means containers that are in none.
    pub groups: Vec<String>,
    /// Whatever their groups.
    pub all: bool,
    /// Also those without `lxc.start.auto`.
    pub ignore_auto: bool,
}

/// The groups of the words of `-g`, in their order, each once. Without any it is the empty group.
///
/// LXC drops everything after an empty element, against its own manual.
pub fn groups<'a>(lists: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    for group in lists.flat_map(|list| list.split(',')).map(str::trim) {
        if !groups.iter().any(|have| have == group) {
            groups.push(group.to_owned());
        }
    }
    if groups.is_empty() {
        groups.push(String::new());
    }
    groups
}

/// A container as it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// It is not stopped.
    pub running: bool,
    /// `lxc.start.*`.
    pub start: Autostart,
    /// `lxc.group`.
    pub groups: Vec<String>,
    /// Why its configuration cannot be used.
    pub broken: Option<String>,
    /// What that says of groups and autostart is not known either.
    pub opaque: bool,
}

/// What becomes of a container of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is acted on.
    Act,
    /// It runs already, and others wait until it is ready.
    Await,
    /// It cannot be done, for this reason.
    Refuse(String),
}

/// One container of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub role: Role,
    /// `lxc.start.delay`: how long what comes after it waits when it is done.
    pub delay: Duration,
    /// When it counts as started.
    pub ready: Readiness,
    /// All of lower waves come before it.
    pub wave: usize,
    /// Those that it waits for because of `lxc.start.after`, by their place in the plan.
    pub after: Vec<usize>,
    /// How many steps follow in the longest chain behind it, itself included: what is left of a
    /// time for all is shared by so many.
    pub steps: usize,
}

/// What is done, in the order of the list that `-L` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The containers.
    pub nodes: Vec<Node>,
    /// What is odd and does not keep it from being done.
    pub warnings: Vec<String>,
}

/// Places of the nodes that come right before each.
type Edges = Vec<Vec<usize>>;

impl Plan {
    /// Selects and orders.
    ///
    /// A container whose `lxc.start.after` goes in a circle is refused; one that names what is
    /// not started is started all the same, with a warning, for there is nothing to wait for.
    pub fn new(selection: &Selection, all: &[Candidate]) -> Self {
        let mut plan = Self::default();
        let chosen = choose(selection, all);
        let action = selection.action;
        let mut keys: Vec<Key> = Vec::new();
        for &(candidate, key) in &chosen {
            let start = &candidate.start;
            let broken = candidate.broken.clone().filter(|_| action == Action::Start);
            let role = broken.map_or(Role::Act, Role::Refuse);
            plan.add(&candidate.name, role, start, action);
            keys.push(key);
        }
        for one in all.iter().filter(|_| action == Action::Start) {
            // One that is not meant is no failure, but nothing that is kept quiet about.
            if let Some(why) = one.broken.as_ref().filter(|_| !plan.has(&one.name)) {
                plan.warnings.push(format!("{}: {why}", one.name));
            }
        }
        let mut edges: Edges = vec![Vec::new(); plan.nodes.len()];
        for (at, (candidate, _)) in chosen.iter().enumerate() {
            for after in &candidate.start.after {
                if let Some(other) = plan.find(action, &candidate.name, after, all) {
                    edges.resize(plan.nodes.len(), Vec::new());
                    edges[at].push(other);
                }
            }
        }
        plan.break_circles(&mut edges, action);
        if action.ends() {
            edges = reversed(&edges);
        }
        plan.place(&keys, edges);
        plan
    }

    fn has(&self, name: &str) -> bool {
        self.nodes.iter().any(|node| node.name == name)
    }

    fn add(&mut self, name: &str, role: Role, start: &Autostart, action: Action) {
        let starts = !action.ends();
        self.nodes.push(Node {
            name: name.to_owned(),
            role,
            delay: Duration::from_secs(if starts { start.delay.into() } else { 0 }),
            ready: if starts { start.ready.clone() } else { Readiness::Running },
            wave: 0,
            after: Vec::new(),
            steps: 1,
        });
    }

    /// The place of a container that `who` waits for; adds it if it runs already and may not be
    /// ready.
    fn find(
        &mut self,
        action: Action,
        who: &str,
        after: &Sourced<String>,
        all: &[Candidate],
    ) -> Option<usize> {
        let name = &after.value;
        if let Some(at) = self.nodes.iter().position(|node| &node.name == name) {
            return Some(at);
        }
        if action != Action::Start {
            return None;
        }
        let found = all.iter().find(|candidate| &candidate.name == name);
        let problem = match found {
            Some(other) if other.running && other.start.ready == Readiness::Running => return None,
            Some(other) if other.running => {
                self.add(name, Role::Await, &Autostart { delay: 0, ..other.start.clone() }, action);
                return Some(self.nodes.len() - 1);
            }
            Some(_) => "does not run and is not started here",
            None => "does not exist",
        };
        self.warnings.push(format!(
            "{who}: lxc.start.after names \"{name}\", which {problem} ({})",
            after.origin
        ));
        None
    }

    /// Refuses the members of every circle and forgets what they wait for. Who stops does not
    /// care: then only the edges go.
    fn break_circles(&mut self, edges: &mut Edges, action: Action) {
        let circles: Vec<(usize, Vec<usize>)> =
            (0..edges.len()).filter_map(|at| Some((at, circle(edges, at)?))).collect();
        for (at, path) in circles {
            edges[at].clear();
            if action.ends() || self.nodes[at].role != Role::Act {
                continue;
            }
            let names: Vec<&str> = path.iter().map(|&at| self.nodes[at].name.as_str()).collect();
            let text = format!("lxc.start.after goes in a circle: {}", names.join(" after "));
            self.nodes[at].role = Role::Refuse(text);
        }
    }

    /// Waves and the final order. A container that waits for one of a later wave moves there.
    fn place(&mut self, keys: &[Key], edges: Edges) {
        let mut waves: Vec<Key> = Vec::new();
        for key in keys {
            if !waves.contains(key) {
                waves.push(*key);
            }
        }
        let own = |at: usize| keys.get(at).and_then(|k| waves.iter().position(|w| w == k));
        let own: Vec<usize> = (0..edges.len()).map(|at| own(at).unwrap_or(0)).collect();
        let mut placed: Vec<Option<(usize, usize)>> = vec![None; edges.len()];
        for at in 0..edges.len() {
            settle(at, &edges, &own, &mut placed);
        }
        let placed: Vec<(usize, usize)> = placed.into_iter().flatten().collect();
        let mut order: Vec<usize> = (0..edges.len()).collect();
        order.sort_by_key(|&at| (placed[at], at));
        let mut levels = placed.clone();
        levels.sort_unstable();
        levels.dedup();
        let mut old: Vec<Option<Node>> =
            std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        let new_place = |at: usize| order.iter().position(|&o| o == at);
        for &at in &order {
            let Some(mut node) = old.get_mut(at).and_then(Option::take) else { continue };
            node.wave = placed[at].0;
            node.after = edges[at].iter().filter_map(|&other| new_place(other)).collect();
            node.steps = levels.iter().filter(|&&level| level >= placed[at]).count();
            self.nodes.push(node);
        }
    }
}

/// What makes a wave: the pass over a group, and `lxc.start.order` (negated for those that end).
type Key = (usize, i64);

/// The containers that are meant, in LXC's order, each with its wave's key.
fn choose<'a>(selection: &Selection, all: &'a [Candidate]) -> Vec<(&'a Candidate, Key)> {
    let any = [String::new()];
    let passes = if selection.all { &any[..] } else { &selection.groups[..] };
    let ends = selection.action.ends();
    let mut sorted: Vec<&Candidate> = all.iter().collect();
    sorted.sort_by(|a, b| (a.start.order, &a.name).cmp(&(b.start.order, &b.name)));
    if ends {
        sorted.reverse();
    }
    let mut chosen: Vec<(&Candidate, Key)> = Vec::new();
    for (pass, group) in passes.iter().enumerate() {
        for &candidate in &sorted {
            let member = match group.is_empty() {
                true => candidate.groups.is_empty(),
                false => candidate.groups.contains(group),
            };
            // Better said once too often than never.
            let opaque = candidate.opaque && selection.action == Action::Start;
            let meant = (selection.all || member || opaque)
                && (selection.ignore_auto || candidate.start.auto || opaque)
                && candidate.running == (selection.action != Action::Start);
            if meant && !chosen.iter().any(|(have, _)| have.name == candidate.name) {
                let order = i64::from(candidate.start.order);
                chosen.push((candidate, (pass, if ends { -order } else { order })));
            }
        }
    }
    chosen
}

/// The way from `at` back to itself, both ends included.
fn circle(edges: &Edges, at: usize) -> Option<Vec<usize>> {
    let mut from: Vec<Option<usize>> = vec![None; edges.len()];
    let mut queue = vec![at];
    let mut next = 0;
    while let Some(&here) = queue.get(next) {
        next += 1;
        for &other in &edges[here] {
            if other == at {
                let mut path = vec![at, here];
                let mut step = here;
                while let Some(previous) = from[step] {
                    path.push(previous);
                    step = previous;
                }
                path.reverse();
                return Some(path);
            }
            if from[other].is_none() {
                from[other] = Some(here);
                queue.push(other);
            }
        }
    }
    None
}

fn reversed(edges: &Edges) -> Edges {
    let mut back = vec![Vec::new(); edges.len()];
    for (at, before) in edges.iter().enumerate() {
        for &other in before {
            back[other].push(at);
        }
    }
    back
}

/// Wave of a node and its depth in that wave; there are no circles any more.
fn settle(
    at: usize,
    edges: &Edges,
    own: &[usize],
    placed: &mut Vec<Option<(usize, usize)>>,
) -> (usize, usize) {
    if let Some(place) = placed[at] {
        return place;
    }
    let mut place = (own[at], 0);
    for &before in &edges[at] {
        let (wave, depth) = settle(before, edges, own, placed);
        place = place.max((wave, depth + 1));
    }
    placed[at] = Some(place);
    place
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
