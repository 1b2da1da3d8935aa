//! The text of a seccomp policy file, version 1 and 2, into rules.
//!
//! Pure: the text comes in, [`Policy`] or the first error with its line goes out. LXC's parser
//! (`parse_config_v1`, `parse_config_v2`) is followed in what it takes; where it is lax by
//! accident (`killer` for `kill`, a mask left out) this one refuses.

use super::names::{Arch, Call};
use std::fmt;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The thread dies of SIGSYS.
    Kill,
    /// The call fails with this number, 0 to 4095; 0 is success without doing anything.
    Errno(u16),
    /// It is carried out.
    Allow,
    /// SIGSYS is sent, which the program may handle.
    Trap,
    /// A supervisor answers.
    Notify,
}

/// How an argument is compared. Arguments are unsigned 64-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel library's words, without SCMP_CMP_")]
pub enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

/// `[index,value,op,mask]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Argument 0 to 5.
    pub index: u8,
    /// How.
    pub op: Op,
    /// With what.
    pub value: u64,
    /// Of [`Op::MaskedEq`]: `argument & mask == value`.
    pub mask: u64,
}

/// The system call of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// By name, on every architecture of the rule that has it.
    Named(Call),
    /// By number, on the native architecture: version 1 with a number that has no name here.
    Native(u32),
}

/// One line of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which call.
    pub subject: Subject,
    /// What happens to it.
    pub action: Action,
    /// All of these must hold; empty: always.
    pub conditions: Vec<Condition>,
    /// Which architectures.
    pub arches: ArchSet,
    /// Line in the file, from 1.
    pub line: u32,
}

/// Which architectures the lines below a `[section]` concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchSet {
    /// `[all]`, and before any section.
    All,
    /// One of those that policies are compiled for.
    One(Arch),
    /// Another one: the lines are skipped unread.
    Foreign,
}

impl ArchSet {
    /// True if `arch` is concerned.
    pub fn has(self, arch: Arch) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == arch,
            Self::Foreign => false,
        }
    }

    /// By the word between the brackets.
    fn of_section(word: &str) -> Option<Self> {
        const FOREIGN: &str = "ppc ppc64 ppc64le mips mips64 mips64n32 mipsel mipsel64 \
            mipsel64n32 s390 s390x loongarch64 riscv64";
        Some(match word {
            "all" => Self::All,
            "x86" => Self::One(Arch::X86),
            "x86_64" => Self::One(Arch::X86_64),
            "x32" => Self::One(Arch::X32),
            "arm" => Self::One(Arch::Arm),
            "arm64" => Self::One(Arch::Arm64),
            _ if FOREIGN.split(' ').any(|known| known == word) => Self::Foreign,
            _ => return None,
        })
    }
}

/// A whole policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What happens to a call without a rule.
    pub default: Action,
    /// In the order of the file.
    pub rules: Vec<Rule>,
    /// Lines that have no effect, with the reason.
    pub warnings: Vec<String>,
}

/// The first bad line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// From 1.
    pub line: u32,
    /// What is wrong with it, a lower-case sentence.
    pub what: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for PolicyError {}

const MNT_FORCE: u64 = 1;
const EACCES: u16 = 13;
const MAX_ERRNO: u16 = 4095;
const MAX_CONDITIONS: usize = 6;

/// Parses a policy file for a system whose native architecture is `native`.
///
/// # Errors
/// The first line that means nothing. A system call that no architecture has is only a warning,
/// as in LXC: policies are written for newer kernels too.
pub fn parse(text: &str, native: Arch) -> Result<Policy, PolicyError> {
    let mut lines = (1u32..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        (!line.is_empty()).then_some((number, line))
    });
    let fail = |line, what: String| Err(PolicyError { line, what });
    let Some((line, version)) = lines.next() else {
        return fail(1, "the policy is empty; its first line is the version, 1 or 2".into());
    };
    if version != "1" && version != "2" {
        return fail(line, format!("'{version}' is no policy version; 1 and 2 are known"));
    }
    let Some((line, words)) = lines.next() else {
        return fail(line, "the policy ends after its version".into());
    };
    if words.contains("debug") {
        return fail(line, "the word 'debug' has no meaning".into());
    }
    if version == "1" {
        if !words.contains("allowlist") && !words.contains("whitelist") {
            return fail(line, format!("'{words}': version 1 is always an allowlist"));
        }
        return parse_v1(lines, native);
    }
    let (word, action) = split_word(words);
    let action = match action {
        "" => None,
        text => Some(parse_action(text, line)?),
    };
    // The action of the second line replaces what a denylist does to the listed calls and an
    // allowlist to the others. `denylist allow` says what is so anyway.
    let (default, listed) = match word {
        "denylist" | "blacklist" => {
            (Action::Allow, action.filter(|a| *a != Action::Allow).unwrap_or(Action::Kill))
        }
        "allowlist" | "whitelist" => (action.unwrap_or(Action::Kill), Action::Allow),
        _ => return fail(line, format!("'{word}' is neither denylist nor allowlist")),
    };
    parse_v2(lines, native, default, listed)
}

fn parse_v1<'a>(
    lines: impl Iterator<Item = (u32, &'a str)>,
    native: Arch,
) -> Result<Policy, PolicyError> {
    let mut policy = Policy { default: Action::Kill, rules: Vec::new(), warnings: Vec::new() };
    for (line, text) in lines {
        let Ok(number) = text.parse::<u32>() else {
            return Err(PolicyError { line, what: format!("'{text}' is no system call number") });
        };
        let subject =
            Call::numbered(native, number).map_or(Subject::Native(number), Subject::Named);
        policy.rules.push(Rule {
            subject,
            action: Action::Allow,
            conditions: Vec::new(),
            arches: ArchSet::All,
            line,
        });
    }
    Ok(policy)
}

fn parse_v2<'a>(
    lines: impl Iterator<Item = (u32, &'a str)>,
    native: Arch,
    default: Action,
    listed: Action,
) -> Result<Policy, PolicyError> {
    let mut policy = Policy { default, rules: Vec::new(), warnings: Vec::new() };
    let mut arches = ArchSet::All;
    for (line, text) in lines {
        let fail = |what: String| Err(PolicyError { line, what });
        if let Some(section) = text.strip_prefix('[') {
            let Some(word) = section.strip_suffix(']') else {
                return fail(format!("'{text}' begins a section but does not end with ']'"));
            };
            arches = match ArchSet::of_section(&word.to_ascii_lowercase()) {
                Some(arches) => arches,
                None => return fail(format!("unknown architecture '[{word}]'")),
            };
            continue;
        }
        if arches == ArchSet::Foreign {
            continue;
        }
        let (name, rest) = split_word(text);
        let (action, conditions) = match rest.find('[') {
            Some(at) => (rest[..at].trim_end(), &rest[at..]),
            None => (rest, ""),
        };
        let mut rule = Rule {
            subject: Subject::Native(0),
            action: if action.is_empty() { listed } else { parse_action(action, line)? },
            conditions: parse_conditions(conditions, line)?,
            arches,
            line,
        };
        let name = if name == "reject_force_umount" {
            if !rest.is_empty() {
                return fail("reject_force_umount takes nothing after it".into());
            }
            rule.action = Action::Errno(EACCES);
            let (index, op) = (1, Op::MaskedEq);
            rule.conditions.push(Condition { index, op, value: MNT_FORCE, mask: MNT_FORCE });
            "umount2"
        } else {
            name
        };
        let Some(call) = Call::named(name) else {
            policy.warnings.push(format!("line {line}: no system call is named '{name}'"));
            continue;
        };
        let exists =
            |arch| call.number(arch).is_some() || arch == Arch::X86 && call.multiplexed().is_some();
        if matches!(arches, ArchSet::One(arch) if !exists(arch)) {
            policy.warnings.push(format!("line {line}: '{name}' does not exist there"));
            continue;
        }
        if rule.conditions.iter().any(|c| c.op == Op::MaskedEq && c.value & !c.mask != 0) {
            policy.warnings.push(format!("line {line}: a value with bits outside its mask"));
        }
        let x86 = matches!(native, Arch::X86 | Arch::X86_64) && arches.has(Arch::X86);
        if x86 && !rule.conditions.is_empty() && call.multiplexed().is_some() {
            policy.warnings.push(format!(
                "line {line}: 32-bit programs can reach '{name}' through socketcall or ipc, where \
                 its arguments cannot be compared"
            ));
        }
        rule.subject = Subject::Named(call);
        policy.rules.push(rule);
    }
    Ok(policy)
}

/// The first word and the rest, trimmed. A word ends at a blank or at `[`.
fn split_word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', '[']).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn parse_action(text: &str, line: u32) -> Result<Action, PolicyError> {
    let (word, rest) = split_word(text);
    let fail = |what: String| Err(PolicyError { line, what });
    let action = match word {
        "kill" => Action::Kill,
        "allow" => Action::Allow,
        "trap" => Action::Trap,
        "notify" => Action::Notify,
        "errno" => {
            return match rest.parse::<u16>() {
                Ok(number) if number <= MAX_ERRNO => Ok(Action::Errno(number)),
                _ => fail(format!("'{text}': errno takes a number from 0 to {MAX_ERRNO}")),
            };
        }
        _ => {
            return fail(format!(
                "'{word}' is no action; kill, errno N, allow, trap and notify are"
            ));
        }
    };
    match rest {
        "" => Ok(action),
        _ => fail(format!("'{rest}' after {word} means nothing")),
    }
}

fn parse_conditions(text: &str, line: u32) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let condition = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((body, after)) = condition else {
            return Err(PolicyError {
                line,
                what: format!("'{rest}' is no [index,value,op,mask]"),
            });
        };
        let parsed = parse_condition(body)
            .map_err(|why| PolicyError { line, what: format!("'[{body}]': {why}") })?;
        conditions.push(parsed);
        rest = after.trim();
    }
    if conditions.len() > MAX_CONDITIONS {
        return Err(PolicyError { line, what: "a rule has at most 6 conditions".into() });
    }
    Ok(conditions)
}

fn parse_condition(body: &str) -> Result<Condition, &'static str> {
    let mut parts = body.split(',').map(str::trim);
    let index = parts.next().and_then(parse_number).filter(|n| *n < 6);
    let index = index.and_then(|n| u8::try_from(n).ok());
    let index = index.ok_or("the argument's index is a number from 0 to 5")?;
    let value = parts.next().and_then(parse_number).ok_or("the value is no number")?;
    let op = match parts.next().unwrap_or_default() {
        "SCMP_CMP_NE" | "!=" => Op::Ne,
        "SCMP_CMP_LT" | "<" => Op::Lt,
        "SCMP_CMP_LE" | "<=" => Op::Le,
        "SCMP_CMP_EQ" | "==" => Op::Eq,
        "SCMP_CMP_GE" | ">=" => Op::Ge,
        "SCMP_CMP_GT" | ">" => Op::Gt,
        "SCMP_CMP_MASKED_EQ" | "&=" => Op::MaskedEq,
        _ => return Err("the operator is none of != < <= == >= > &= or their SCMP_CMP_ names"),
    };
    let mask = match parts.next() {
        None if op == Op::MaskedEq => return Err("&= needs a mask after it"),
        None => 0,
        Some(text) => parse_number(text).ok_or("the mask is no number")?,
    };
    match parts.next() {
        None => Ok(Condition { index, op, value, mask }),
        Some(_) => Err("more than [index,value,op,mask]"),
    }
}

/// As C reads numbers: `0x` hexadecimal, a leading 0 octal, else decimal.
fn parse_number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    // from_str_radix takes a sign.
    if digits.starts_with(['+', '-']) { None } else { u64::from_str_radix(digits, radix).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(body: &str) -> Result<Policy, PolicyError> {
        parse(&format!("2\ndenylist\n{body}\n"), Arch::X86_64)
    }

    fn what(body: &str) -> (u32, String) {
        v2(body).map_err(|e| (e.line, e.what)).unwrap_err()
    }

    #[test]
    fn the_common_policy() {
        let text = "2\ndenylist\nreject_force_umount  # comment\n[all]\nkexec_load errno 1\n\n\
                    open_by_handle_at errno 1\n# x\ninit_module errno 1\n";
        let policy = parse(text, Arch::X86_64).unwrap();
        assert_eq!(policy.default, Action::Allow);
        assert_eq!(policy.rules.len(), 4);
        assert_eq!(policy.rules[0].action, Action::Errno(13));
        assert_eq!(policy.rules[0].conditions[0].mask, 1);
        assert_eq!((policy.rules[3].action, policy.rules[3].line), (Action::Errno(1), 9));
        assert!(policy.warnings.is_empty());
    }

    #[test]
    fn both_list_kinds_and_their_old_words() {
        for (second, default, listed) in [
            ("denylist", Action::Allow, Action::Kill),
            ("blacklist errno 7", Action::Allow, Action::Errno(7)),
            ("denylist allow", Action::Allow, Action::Kill),
            ("allowlist", Action::Kill, Action::Allow),
            ("whitelist trap", Action::Trap, Action::Allow),
            ("allowlist errno 38", Action::Errno(38), Action::Allow),
        ] {
            let policy = parse(&format!("2\n{second}\nmkdir\n"), Arch::X86_64).unwrap();
            assert_eq!((policy.default, policy.rules[0].action), (default, listed), "{second}");
        }
    }

    #[test]
    fn version_1_numbers_are_native() {
        let policy = parse("1\nallowlist\n83\n999\n", Arch::X86_64).unwrap();
        assert_eq!(policy.default, Action::Kill);
        assert_eq!(policy.rules[0].subject, Subject::Named(Call::named("mkdir").unwrap()));
        assert_eq!(policy.rules[1].subject, Subject::Native(999));
        assert_eq!(parse("1\nwhitelist\nread\n", Arch::X86_64).unwrap_err().line, 3);
        assert_eq!(parse("1\ndenylist\n1\n", Arch::X86_64).unwrap_err().line, 2);
    }

    #[test]
    fn conditions_of_every_operator() {
        let rule = &v2("ioctl errno 1 [1,0x5412,SCMP_CMP_EQ][0,010,>=] [2, 6, &=, 0xff]").unwrap();
        let of = |c: &Condition| (c.index, c.op, c.value, c.mask);
        let found: Vec<_> = rule.rules[0].conditions.iter().map(of).collect();
        let want = [(1, Op::Eq, 0x5412, 0), (0, Op::Ge, 8, 0), (2, Op::MaskedEq, 6, 0xff)];
        assert_eq!(found, want);
        assert_eq!(v2("socket[0,16,==]").unwrap().rules[0].action, Action::Kill);
    }

    #[test]
    fn sections() {
        let policy =
            v2("[x86]\nmkdir\n[ARM64]\nmkdirat\n[ppc64le]\n[[nonsense\nx y\n[all]\nopen\n");
        assert_eq!(policy.unwrap_err().line, 8);
        let policy = v2("[x86]\nmkdir\n[ARM64]\nmkdirat\n[s390x]\nx y z\n[all]\nopen\n").unwrap();
        let arches: Vec<_> = policy.rules.iter().map(|r| r.arches).collect();
        assert_eq!(arches, [ArchSet::One(Arch::X86), ArchSet::One(Arch::Arm64), ArchSet::All]);
        assert_eq!(what("[quux]"), (3, "unknown architecture '[quux]'".into()));
        assert_eq!(what("[x86"), (3, "'[x86' begins a section but does not end with ']'".into()));
    }

    #[test]
    fn unknown_names_warn_and_bad_lines_fail() {
        let policy = v2("foobar errno 3\nmkdir\n[arm64]\nmkdir").unwrap();
        assert_eq!(policy.rules.len(), 1);
        assert_eq!(policy.warnings.len(), 2);
        for (body, part) in [
            ("mkdir blah", "'blah' is no action"),
            ("mkdir killer", "'killer' is no action"),
            ("mkdir errno", "errno takes a number"),
            ("mkdir errno 5000", "errno takes a number"),
            ("mkdir errno -1", "errno takes a number"),
            ("mkdir allow it", "'it' after allow"),
            ("mkdir [6,0,==]", "from 0 to 5"),
            ("mkdir [0,-1,==]", "the value is no number"),
            ("mkdir [0,0x,==]", "the value is no number"),
            ("mkdir [0,1,=]", "the operator is none"),
            ("mkdir [0,1,&=]", "needs a mask"),
            ("mkdir [0,1,==,1,1]", "more than"),
            ("mkdir [0,1,==", "is no [index,value,op,mask]"),
            ("mkdir [0,1,==] x", "is no [index,value,op,mask]"),
            ("reject_force_umount kill", "takes nothing"),
        ] {
            let (line, text) = what(body);
            assert_eq!(line, 3);
            assert!(text.contains(part), "{body}: {text}");
        }
        for (text, line) in [("", 1), ("3\nx", 1), ("2", 1), ("2\ngreylist", 2), ("2\n\ndebug", 3)]
        {
            assert_eq!(parse(text, Arch::X86_64).unwrap_err().line, line, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[12\n]{0,3}(deny|allow)?list?[ \n]([a-z_0-9 \n,=\\[\\]#&<-]|é){0,80}") {
            let _ = parse(&text, Arch::X86_64);
        }
    }
}
