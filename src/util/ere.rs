//! POSIX extended regular expressions (regex(7)) for lxc-ls and lxc-monitor.
//!
//! A pattern becomes a small program that is run on all its threads at once (Thompson), so that
//! the time is at most pattern size times text length whatever a person types. No back-references
//! (they are not in the standard's extended syntax) and no captures: the answer is yes or no.

use super::blame::Explain;

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say it")]
pub enum EreError {
    #[error("a \"(\" is not closed")]
    OpenGroup,
    #[error("a \"[\" is not closed")]
    OpenBracket,
    #[error("a range in brackets is the wrong way round")]
    BadRange,
    #[error("an unknown character class in brackets")]
    BadClass,
    #[error("a repetition follows nothing")]
    NothingToRepeat,
    #[error("a repetition count in braces is malformed")]
    BadBraces,
    #[error("it ends in a backslash")]
    TrailingBackslash,
    #[error("back-references are not supported")]
    BackReference,
    #[error("it is too large")]
    TooLarge,
}

impl Explain for EreError {}

/// Steps of a program; more is [`EreError::TooLarge`]. `{n,m}` multiplies, so this bounds it.
const MAX_STEPS: usize = 20_000;
/// Deepest nesting of groups, and most repetitions of repetitions: parsing and compiling recurse.
const MAX_DEPTH: usize = 200;
/// RE_DUP_MAX of the standard.
const MAX_REPEAT: u32 = 255;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Ere {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Consumes one character that the set holds.
    Take(Set),
    /// Goes on at both places.
    Fork(usize, usize),
    /// Goes on there.
    Jump(usize),
    /// Only before the first character.
    Start,
    /// Only after the last one.
    End,
    /// Matched.
    Accept,
}

/// A set of characters.
#[derive(Clone, Debug)]
enum Set {
    One(char),
    Any,
    Ranges { ranges: Vec<(char, char)>, negated: bool },
}

impl Set {
    fn holds(&self, c: char) -> bool {
        match self {
            Self::One(one) => *one == c,
            Self::Any => true,
            Self::Ranges { ranges, negated } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    Empty,
    Take(Set),
    Start,
    End,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, min: u32, max: Option<u32> },
}

impl Ere {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self, EreError> {
        let mut parser = Parser { chars: pattern.chars().collect(), at: 0, depth: 0, stacked: 0 };
        let node = parser.alternatives()?;
        let mut ere = Self { steps: Vec::new() };
        ere.emit(&node)?;
        ere.push(Step::Accept)?;
        Ok(ere)
    }

    /// True if the pattern matches anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let mut now = Threads::new(self.steps.len());
        let mut next = Threads::new(self.steps.len());
        let mut chars = text.chars();
        let mut first = true;
        loop {
            let c = chars.next();
            // Unanchored: a match may begin at every character.
            if self.follow(&mut now, 0, first, c.is_none()) {
                return true;
            }
            let Some(c) = c else { return false };
            first = false;
            let last = chars.as_str().is_empty();
            for n in 0..now.list.len() {
                let at = now.list[n];
                if let Step::Take(set) = &self.steps[at] {
                    if set.holds(c) && self.follow(&mut next, at + 1, false, last) {
                        return true;
                    }
                }
            }
            std::mem::swap(&mut now, &mut next);
            next.clear();
        }
    }

    /// Adds the place and all that can be reached from it without a character. True on a match.
    fn follow(&self, threads: &mut Threads, from: usize, first: bool, last: bool) -> bool {
        let mut todo = vec![from];
        while let Some(at) = todo.pop() {
            if threads.seen[at] {
                continue;
            }
            threads.seen[at] = true;
            match &self.steps[at] {
                Step::Accept => return true,
                Step::Jump(to) => todo.push(*to),
                Step::Fork(a, b) => todo.extend([*b, *a]),
                Step::Start if first => todo.push(at + 1),
                Step::End if last => todo.push(at + 1),
                Step::Start | Step::End => {}
                Step::Take(_) => threads.list.push(at),
            }
        }
        false
    }

    fn push(&mut self, step: Step) -> Result<usize, EreError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(EreError::TooLarge);
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn emit(&mut self, node: &Node) -> Result<(), EreError> {
        match node {
            Node::Empty => {}
            Node::Take(set) => {
                self.push(Step::Take(set.clone()))?;
            }
            Node::Start => {
                self.push(Step::Start)?;
            }
            Node::End => {
                self.push(Step::End)?;
            }
            Node::Sequence(nodes) => {
                for node in nodes {
                    self.emit(node)?;
                }
            }
            Node::Either(nodes) => {
                let mut jumps = Vec::new();
                for (n, node) in nodes.iter().enumerate() {
                    if n + 1 == nodes.len() {
                        self.emit(node)?;
                        break;
                    }
                    let fork = self.push(Step::Fork(0, 0))?;
                    self.emit(node)?;
                    jumps.push(self.push(Step::Jump(0))?);
                    self.steps[fork] = Step::Fork(fork + 1, self.steps.len());
                }
                for jump in jumps {
                    self.steps[jump] = Step::Jump(self.steps.len());
                }
            }
            Node::Repeat { node, min, max } => self.emit_repeat(node, *min, *max)?,
        }
        Ok(())
    }

    fn emit_repeat(&mut self, node: &Node, min: u32, max: Option<u32>) -> Result<(), EreError> {
        for _ in 0..min {
            let before = self.steps.len();
            self.emit(node)?;
            // Nothing, however often: `(){255}{255}{255}` would count for ever.
            if self.steps.len() == before {
                break;
            }
        }
        match max {
            None => {
                let fork = self.push(Step::Fork(0, 0))?;
                self.emit(node)?;
                self.push(Step::Jump(fork))?;
                self.steps[fork] = Step::Fork(fork + 1, self.steps.len());
            }
            Some(max) => {
                let mut forks = Vec::new();
                for _ in min..max {
                    forks.push(self.push(Step::Fork(0, 0))?);
                    self.emit(node)?;
                }
                for fork in forks {
                    self.steps[fork] = Step::Fork(fork + 1, self.steps.len());
                }
            }
        }
        Ok(())
    }
}

struct Threads {
    list: Vec<usize>,
    seen: Vec<bool>,
}

impl Threads {
    fn new(steps: usize) -> Self {
        Self { list: Vec::new(), seen: vec![false; steps] }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.seen.fill(false);
    }
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    /// Repetitions that follow a repetition.
    stacked: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn eat(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn alternatives(&mut self) -> Result<Node, EreError> {
        let mut nodes = vec![self.sequence()?];
        while self.eat('|') {
            nodes.push(self.sequence()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Either(nodes) })
    }

    fn sequence(&mut self) -> Result<Node, EreError> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            // Outside of a group a ")" is an ordinary character, as the standard allows.
            if c == '|' || (c == ')' && self.depth > 0) {
                break;
            }
            let atom = self.atom()?;
            nodes.push(self.repeated(atom)?);
        }
        Ok(if nodes.is_empty() { Node::Empty } else { Node::Sequence(nodes) })
    }

    fn atom(&mut self) -> Result<Node, EreError> {
        let Some(c) = self.next() else { return Ok(Node::Empty) };
        Ok(match c {
            '.' => Node::Take(Set::Any),
            '^' => Node::Start,
            '$' => Node::End,
            '[' => Node::Take(self.bracket()?),
            '*' | '+' | '?' | '{' => return Err(EreError::NothingToRepeat),
            '(' => {
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(EreError::TooLarge);
                }
                let node = self.alternatives()?;
                if !self.eat(')') {
                    return Err(EreError::OpenGroup);
                }
                self.depth -= 1;
                node
            }
            '\\' => match self.next() {
                None => return Err(EreError::TrailingBackslash),
                Some('1'..='9') => return Err(EreError::BackReference),
                Some(c) => Node::Take(escape(c)),
            },
            c => Node::Take(Set::One(c)),
        })
    }

    fn repeated(&mut self, atom: Node) -> Result<Node, EreError> {
        let mut node = atom;
        while let Some(c @ ('*' | '+' | '?' | '{')) = self.peek() {
            self.at += 1;
            let (min, max) = match c {
                '*' => (0, None),
                '+' => (1, None),
                '?' => (0, Some(1)),
                _ => self.braces()?,
            };
            if matches!(node, Node::Repeat { .. }) {
                self.stacked += 1;
                if self.stacked > MAX_DEPTH {
                    return Err(EreError::TooLarge);
                }
            }
            node = Node::Repeat { node: Box::new(node), min, max };
        }
        Ok(node)
    }

    /// `{3}`, `{3,}`, `{3,5}`, and the C library's `{,5}`, after the brace.
    fn braces(&mut self) -> Result<(u32, Option<u32>), EreError> {
        let min = match self.peek() {
            Some(',') => 0,
            _ => self.number().ok_or(EreError::BadBraces)?,
        };
        let max = if self.eat(',') { self.number() } else { Some(min) };
        let ordered = max.is_none_or(|max| min <= max && max <= MAX_REPEAT);
        if min > MAX_REPEAT || !ordered || !self.eat('}') {
            return Err(EreError::BadBraces);
        }
        Ok((min, max))
    }

    fn number(&mut self) -> Option<u32> {
        let mut value = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.at += 1;
            value = Some(value.unwrap_or(0u32).saturating_mul(10).saturating_add(digit));
        }
        value
    }

    /// A bracket expression, after the bracket. A "]" that comes first is one of the characters.
    fn bracket(&mut self) -> Result<Set, EreError> {
        let negated = self.eat('^');
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let c = self.next().ok_or(EreError::OpenBracket)?;
            if c == ']' && !first {
                return Ok(Set::Ranges { ranges, negated });
            }
            first = false;
            if c == '[' && self.peek() == Some(':') {
                ranges.extend_from_slice(self.class()?);
                continue;
            }
            let low = self.bracket_char(c)?;
            let is_range = self.peek() == Some('-')
                && self.chars.get(self.at + 1).is_some_and(|after| *after != ']');
            if !is_range {
                ranges.push((low, low));
                continue;
            }
            self.at += 1;
            let high = self.next().ok_or(EreError::OpenBracket)?;
            let high = self.bracket_char(high)?;
            if low > high {
                return Err(EreError::BadRange);
            }
            ranges.push((low, high));
        }
    }

    /// `[.x.]` and `[=x=]` of one character are that character.
    fn bracket_char(&mut self, c: char) -> Result<char, EreError> {
        match (c, self.peek()) {
            ('[', Some(kind @ ('.' | '='))) => {
                self.at += 1;
                let inner = self.next().ok_or(EreError::OpenBracket)?;
                if self.eat(kind) && self.eat(']') { Ok(inner) } else { Err(EreError::BadClass) }
            }
            _ => Ok(c),
        }
    }

    fn class(&mut self) -> Result<&'static [(char, char)], EreError> {
        let rest: String = self.chars.iter().skip(self.at + 1).take(8).collect();
        let (name, _) = rest.split_once(":]").ok_or(EreError::BadClass)?;
        let found = CLASSES.iter().find(|(known, _)| *known == name).ok_or(EreError::BadClass)?;
        self.at += name.len() + 3;
        Ok(found.1)
    }
}

/// What a backslash makes of a character: GNU's `\w \W \s \S`, else the character itself.
fn escape(c: char) -> Set {
    let class = |ranges: &[(char, char)], negated| Set::Ranges { ranges: ranges.to_vec(), negated };
    match c {
        'w' | 'W' => class(&[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')], c == 'W'),
        's' | 'S' => class(SPACE, c == 'S'),
        c => Set::One(c),
    }
}

const SPACE: &[(char, char)] = &[(' ', ' '), ('\t', '\r')];

/// The classes of the C locale, in which LXC's tools run.
const CLASSES: [(&str, &[(char, char)]); 12] = [
    ("alnum", &[('a', 'z'), ('A', 'Z'), ('0', '9')]),
    ("alpha", &[('a', 'z'), ('A', 'Z')]),
    ("blank", &[(' ', ' '), ('\t', '\t')]),
    ("cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    ("digit", &[('0', '9')]),
    ("graph", &[('!', '~')]),
    ("lower", &[('a', 'z')]),
    ("print", &[(' ', '~')]),
    ("punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    ("space", SPACE),
    ("upper", &[('A', 'Z')]),
    ("xdigit", &[('0', '9'), ('a', 'f'), ('A', 'F')]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Ere::new(pattern).unwrap().is_match(text)
    }

    #[test]
    fn patterns_match_as_grep_e_does() {
        for (pattern, yes, no) in [
            ("web", "my-web-1", "we"),
            ("^web", "web1", "xweb"),
            ("web$", "xweb", "web1"),
            ("^web[0-9]+$", "web42", "web"),
            ("^(a|bc)*d$", "abcbcad", "abcb"),
            ("^a{2,3}$", "aaa", "aaaa"),
            ("^a{2}$", "aa", "a"),
            ("^a{2,}$", "aaaaa", "a"),
            ("^a{,2}$", "aa", "aaa"),
            ("^x?y$", "y", "xxy"),
            ("^[]x]$", "]", "y"),
            ("^[^]x]$", "y", "]"),
            ("^[a-]$", "-", "b"),
            ("^[[:alpha:]_]+$", "ab_c", "a1"),
            ("^[[.-.]x]$", "-", "y"),
            ("a\\.b", "a.b", "axb"),
            ("^\\w+$", "a_1", "a-1"),
            ("a)", "a)", "a"),
            ("^(|x)y$", "y", "zy"),
            ("ü.é", "aüxé", "ué"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
        assert!(matches("", "") && matches("", "x") && matches("^$", "") && !matches("^$", "x"));
        assert!(matches("^*", "") || Ere::new("^*").is_ok());
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for (pattern, error) in [
            ("(a", EreError::OpenGroup),
            ("[a", EreError::OpenBracket),
            ("[]", EreError::OpenBracket),
            ("[b-a]", EreError::BadRange),
            ("[[:nope:]]", EreError::BadClass),
            ("*a", EreError::NothingToRepeat),
            ("a|+", EreError::NothingToRepeat),
            ("a{x}", EreError::BadBraces),
            ("a{3,2}", EreError::BadBraces),
            ("a{256}", EreError::BadBraces),
            ("a\\", EreError::TrailingBackslash),
            ("(a)\\1", EreError::BackReference),
            ("((a{200}){200}){200}", EreError::TooLarge),
        ] {
            assert_eq!(Ere::new(pattern).unwrap_err(), error, "{pattern}");
        }
        assert_eq!(Ere::new(&"(".repeat(5000)).unwrap_err(), EreError::TooLarge);
    }

    #[test]
    fn a_repetition_of_nothing_ends() {
        assert!(matches("^(){255}{255}{255}{255}{255}$", ""));
        assert!(matches("^((){255}){255}{255}{255}a$", "a"));
    }

    #[test]
    fn stacked_repetitions_do_not_exhaust_the_stack() {
        let stacked = |n| format!("^a{}$", "{1}".repeat(n));
        assert!(matches(&stacked(200), "a"));
        assert_eq!(Ere::new(&stacked(100_000)).unwrap_err(), EreError::TooLarge);
        assert_eq!(Ere::new(&format!("a{}", "*".repeat(100_000))).unwrap_err(), EreError::TooLarge);
    }

    #[test]
    fn no_pattern_takes_exponential_time() {
        let text = "a".repeat(5_000);
        assert!(!matches("^(a*)*b$", &text));
        assert!(!matches("(a|aa)+$b", &text));
        assert!(!matches(&format!("^{}{}$", "a?".repeat(50), "b".repeat(50)), &text));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_typed_panics(pattern in "[a-c().*+?|\\[\\]{},0-9^$\\\\-]{0,24}", text in ".{0,32}") {
            if let Ok(ere) = Ere::new(&pattern) {
                ere.is_match(&text);
            }
        }

        #[test]
        fn a_name_matches_itself(name in "[a-z0-9-]{1,20}") {
            let pattern = format!("^{name}$");
            proptest::prop_assert!(matches(&pattern, &name));
        }
    }
}
