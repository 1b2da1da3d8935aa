use super::*;
use crate::config::Origin;

fn one(name: &str, order: i32, groups: &str, after: &str) -> Candidate {
    let names = after.split_ascii_whitespace();
    let after = names.map(|n| Sourced { value: n.into(), origin: Origin::label("f") }).collect();
    Candidate {
        name: name.into(),
        groups: groups.split_ascii_whitespace().map(str::to_owned).collect(),
        start: Autostart { auto: true, order, after, ..Autostart::default() },
        ..Candidate::default()
    }
}

fn select(action: Action, lists: &[&str], all: bool, ignore_auto: bool) -> Selection {
    Selection { action, groups: groups(lists.iter().copied()), all, ignore_auto }
}

fn names(plan: &Plan) -> String {
    plan.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
}

fn listed(all: &[Candidate], lists: &[&str], every: bool, ignore_auto: bool) -> String {
    names(&Plan::new(&select(Action::Start, lists, every, ignore_auto), all))
}

/// The lists are what Debian's lxc-autostart 5.0.2 prints for the same containers.
#[test]
fn selected_and_sorted_as_lxc_does() {
    let mut all = [
        one("a", 5, "", ""),
        one("b", -5, "", ""),
        one("c", 0, "onboot web", ""),
        one("d", 1, "web", ""),
        one("e", 0, "", ""),
        one("f", 0, "db", ""),
        one("z", 5, "", ""),
    ];
    all[4].start.auto = false;
    assert_eq!(listed(&all, &[], false, false), "b a z");
    assert_eq!(listed(&all, &[], true, false), "b c f d a z");
    assert_eq!(listed(&all, &[], true, true), "b c e f d a z");
    assert_eq!(listed(&all, &["onboot,"], false, false), "c b a z");
    assert_eq!(listed(&all, &["web,onboot", ""], false, false), "c d b a z");
    assert_eq!(listed(&all, &[], false, true), "b e a z");
    assert_eq!(listed(&all, &["db"], true, false), "b c f d a z");
    assert_eq!(listed(&all, &["nosuch"], false, true), "");
    // Where LXC forgets what follows an empty element, the manual is right.
    assert_eq!(listed(&all, &["onboot,,db"], false, false), "c b a z f");
    assert_eq!(listed(&all, &[",onboot"], false, false), "b a z c");
}

#[test]
fn who_runs_is_not_started_and_only_who_runs_is_stopped() {
    let mut all = [one("a", 0, "", ""), one("b", 1, "", ""), one("c", 2, "", "")];
    all[1].running = true;
    all[2].running = true;
    assert_eq!(listed(&all, &[], false, false), "a");
    for action in [Action::Shutdown, Action::Kill] {
        assert_eq!(names(&Plan::new(&select(action, &[], false, false), &all)), "c b");
    }
    let plan = Plan::new(&select(Action::Reboot, &[], false, false), &all);
    assert_eq!(names(&plan), "b c");
}

#[test]
fn equal_orders_are_a_wave() {
    let all = [one("a", 1, "", ""), one("b", 0, "", ""), one("c", 1, "", "")];
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    let waves: Vec<_> = plan.nodes.iter().map(|n| (n.name.as_str(), n.wave, n.steps)).collect();
    assert_eq!(waves, [("b", 0, 2), ("a", 1, 1), ("c", 1, 1)]);
    // The same order in two groups is two waves.
    let all = [one("a", 0, "x", ""), one("b", 0, "y", "")];
    let plan = Plan::new(&select(Action::Start, &["y,x"], false, false), &all);
    assert_eq!(plan.nodes.iter().map(|n| n.wave).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn after_beats_order_and_is_reversed_for_a_stop() {
    let mut all = [one("web", 0, "", "db"), one("db", 10, "", ""), one("x", 10, "", "")];
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    assert_eq!(names(&plan), "db x web");
    let web = plan.nodes.last().unwrap();
    assert_eq!((web.wave, &web.after[..]), (1, &[0][..]));
    all.iter_mut().for_each(|c| c.running = true);
    let plan = Plan::new(&select(Action::Shutdown, &[], false, false), &all);
    assert_eq!(names(&plan), "x web db");
    assert_eq!(plan.nodes[2].after, [1]);
    assert_eq!(plan.nodes.iter().map(|n| n.steps).collect::<Vec<_>>(), [3, 2, 1]);
}

#[test]
fn circles_are_refused_and_hold_up_nobody_else() {
    let all = [
        one("a", 0, "", "b"),
        one("b", 0, "", "c"),
        one("c", 0, "", "a"),
        one("d", 0, "", "d"),
        one("e", 0, "", "a"),
    ];
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    let role = |name: &str| plan.nodes.iter().find(|n| n.name == name).unwrap().role.clone();
    let circle = |text: &str| Role::Refuse(format!("lxc.start.after goes in a circle: {text}"));
    assert_eq!(role("a"), circle("a after b after c after a"));
    assert_eq!(role("c"), circle("c after a after b after c"));
    assert_eq!(role("d"), circle("d after d"));
    assert_eq!(role("e"), Role::Act);
}

#[test]
fn what_cannot_be_waited_for_is_told() {
    let mut all = [
        one("a", 0, "", "nosuch off up slow"),
        one("off", 0, "other", ""),
        one("up", 0, "other", ""),
        one("slow", 0, "other", ""),
    ];
    all[2].running = true;
    all[3].running = true;
    all[3].start.ready = Readiness::Address;
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    assert_eq!(
        plan.warnings,
        [
            "a: lxc.start.after names \"nosuch\", which does not exist (f)",
            "a: lxc.start.after names \"off\", which does not run and is not started here (f)",
        ]
    );
    let roles: Vec<_> = plan.nodes.iter().map(|n| (n.name.as_str(), &n.role)).collect();
    assert_eq!(roles, [("slow", &Role::Await), ("a", &Role::Act)]);
    assert_eq!(plan.nodes[1].after, [0]);
}

#[test]
fn a_broken_configuration_is_a_failed_start() {
    let mut all = [one("a", 0, "", "")];
    all[0].broken = Some("why".into());
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    assert_eq!(plan.nodes[0].role, Role::Refuse("why".into()));
    // Only where it is meant.
    all[0].start.auto = false;
    let plan = Plan::new(&select(Action::Start, &[], false, false), &all);
    assert!(plan.nodes.is_empty());
    assert_eq!(plan.warnings, ["a: why"]);
    all[0].opaque = true;
    let plan = Plan::new(&select(Action::Start, &["x"], false, false), &all);
    assert_eq!(plan.nodes[0].role, Role::Refuse("why".into()));
    all[0].running = true;
    let stop = Plan::new(&select(Action::Shutdown, &[], false, false), &all);
    assert!(stop.nodes.is_empty());
    let stop = Plan::new(&select(Action::Shutdown, &[], true, true), &all);
    assert_eq!(stop.nodes[0].role, Role::Act);
}
