//! The differences that are on purpose, or where LXC's own behaviour is not fixed, each with its
//! reason. An entry that matches nothing fails the run.

mod seen;
mod tools;

use crate::compare::Difference;

/// One explained difference. Each pattern may hold `*` for any text.
#[derive(Debug)]
pub struct Expected {
    /// Names of rows.
    pub case: &'static str,
    pub key: &'static str,
    pub ours: &'static str,
    pub theirs: &'static str,
    #[allow(dead_code, reason = "printed with the entry, and for whoever reads the table")]
    pub why: &'static str,
}

pub(crate) const fn row(
    case: &'static str,
    key: &'static str,
    ours: &'static str,
    theirs: &'static str,
    why: &'static str,
) -> Expected {
    Expected { case, key, ours, theirs, why }
}

/// The whole table.
pub fn all() -> impl Iterator<Item = &'static Expected> {
    seen::DIFFERENCES.iter().chain(tools::DIFFERENCES)
}

/// The number of the entry that explains a difference.
pub fn explains(case: &str, found: &Difference) -> Option<usize> {
    all().position(|entry| {
        entry.case.split(' ').any(|pattern| matches(pattern, case))
            && entry.key.split(" | ").any(|pattern| matches(pattern, &found.key))
            && matches(entry.ours, &found.ours)
            && matches(entry.theirs, &found.theirs)
    })
}

/// Whether `text` is `pattern`, where `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            (0..=text.len())
                .filter(|i| text.is_char_boundary(*i))
                .any(|i| matches(rest, &text[i..]))
        }),
    }
}
