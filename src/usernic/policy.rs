//! /etc/lxc/lxc-usernet: `USER TYPE BRIDGE COUNT` or `@GROUP TYPE BRIDGE COUNT`. Pure.

/// The names of a caller.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "as in /etc/passwd and /etc/group")]
pub struct Named {
    pub user: String,
    pub groups: Vec<String>,
}

/// One line that speaks of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the four fields")]
pub struct Line<'a> {
    pub owner: &'a str,
    pub kind: &'a str,
    pub bridge: &'a str,
    pub count: u32,
}

/// The lines of `text` that speak of the caller, in their order. A line that has not four fields,
/// or no number, allows nothing.
pub fn lines<'a>(text: &'a str, named: &Named) -> impl Iterator<Item = Line<'a>> {
    text.lines().filter_map(move |line| {
        let line = line.split('#').next().unwrap_or_default();
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [owner, kind, bridge, count] = fields[..] else { return None };
        let count = count.parse().ok()?;
        let mine = match owner.strip_prefix('@') {
            Some(group) => named.groups.iter().any(|own| own == group),
            None => owner == named.user,
        };
        mine.then_some(Line { owner, kind, bridge, count })
    })
}

/// What the lines of one owner come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `USER` or `@GROUP`, as it is in the database too.
    pub owner: String,
    /// How many devices.
    pub limit: u32,
}

/// What `text` allows on `bridge`, in the order of its lines; lines of one owner are added up.
pub fn grants(text: &str, named: &Named, kind: &str, bridge: &str) -> Vec<Grant> {
    let mut found: Vec<Grant> = Vec::new();
    for line in lines(text, named).filter(|line| line.kind == kind && line.bridge == bridge) {
        match found.iter_mut().find(|grant| grant.owner == line.owner) {
            Some(grant) => grant.limit = grant.limit.saturating_add(line.count),
            None => found.push(Grant { owner: line.owner.to_owned(), limit: line.count }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_user_and_of_the_groups_count() {
        let named = Named { user: "eva".into(), groups: vec!["users".into(), "net".into()] };
        let text = "# comment\neva veth br0 2\n@net veth br0 3 # more\neva veth br1 9\n\
                    evan veth br0 9\n@nets veth br0 9\nnet veth br0 9\neva macvlan br0 9\n\
                    eva veth br0\neva veth br0 -1\neva veth br0 x\neva veth br0 1 1\n\
                    @users veth br0 0\neva\tveth  br0\t4\n@eva veth br0 9\n";
        let found = grants(text, &named, "veth", "br0");
        let got: Vec<_> = found.iter().map(|g| (g.owner.as_str(), g.limit)).collect();
        assert_eq!(got, [("eva", 6), ("@net", 3), ("@users", 0)]);
        assert!(grants(text, &named, "veth", "none").is_empty());
        let much = "eva veth br0 4294967295\neva veth br0 1\n";
        assert_eq!(grants(much, &named, "veth", "br0")[0].limit, u32::MAX);
    }
}
