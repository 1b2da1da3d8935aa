//! Device rules: their text, the list that they make, and the cgroup device program (eBPF) that
//! enforces the list on cgroup v2.
//!
//! The list behaves as LXC's (`lxc.cgroup2.devices.allow` and `.deny`, runtime updates through
//! the command socket): newest rule first, first match decides. Two rules are stricter than
//! LXC's on purpose: a deny rule matches an access of which it forbids any part (LXC lets O_RDWR
//! pass a rule that denies `w`), and a rule that LXC drops because it says the opposite of the
//! list's default is kept where an older rule would otherwise decide.

use crate::sys::bpf::Insn;

/// Which nodes a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    Any,
    /// `b`.
    Block,
    /// `c`.
    Char,
}

/// `r`, `w` and `m` as the kernel's bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;

impl Access {
    /// All three.
    pub const ALL: Self = Self(MKNOD | READ | WRITE);

    /// From a text of the letters r, w and m.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in text.bytes() {
            bits |= match letter {
                b'r' => READ,
                b'w' => WRITE,
                b'm' => MKNOD,
                _ => return None,
            };
        }
        (bits != 0).then_some(Self(bits))
    }

    fn text(self) -> String {
        let letters = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        letters.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, c)| c).collect()
    }
}

/// One rule about some devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Which kind of node.
    pub kind: DeviceKind,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// Which accesses.
    pub access: Access,
    /// The verdict.
    pub allow: bool,
}

/// A line of `devices.allow` or `devices.deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLine {
    /// `a`: the new default; the list is emptied.
    All {
        /// The verdict.
        allow: bool,
    },
    /// Anything else.
    One(DeviceRule),
}

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceLineError {
    /// Not `a` or `TYPE MAJOR:MINOR ACCESS`.
    Syntax,
    /// A path that is no device of the host.
    NoDevice,
}

impl DeviceLine {
    /// Parses `a`, `TYPE MAJOR:MINOR ACCESS` or `/dev/PATH [ACCESS]` (the node is looked at now,
    /// as LXC does).
    pub fn parse(text: &str, allow: bool) -> Result<Self, DeviceLineError> {
        let mut words = text.split_whitespace();
        let first = words.next().ok_or(DeviceLineError::Syntax)?;
        let rule = if first.starts_with('/') {
            let access = words.next().map_or(Some(Access::ALL), Access::parse);
            let (kind, major, minor) = look_at(first).ok_or(DeviceLineError::NoDevice)?;
            let access = access.ok_or(DeviceLineError::Syntax)?;
            DeviceRule { kind, major: Some(major), minor: Some(minor), access, allow }
        } else {
            let kind = match first {
                "a" => DeviceKind::Any,
                "b" => DeviceKind::Block,
                "c" => DeviceKind::Char,
                _ => return Err(DeviceLineError::Syntax),
            };
            let Some(numbers) = words.next() else {
                let all = kind == DeviceKind::Any;
                return if all { Ok(Self::All { allow }) } else { Err(DeviceLineError::Syntax) };
            };
            let (major, minor) = numbers.split_once(':').ok_or(DeviceLineError::Syntax)?;
            let access = words.next().and_then(Access::parse).ok_or(DeviceLineError::Syntax)?;
            DeviceRule { kind, major: number(major)?, minor: number(minor)?, access, allow }
        };
        if words.next().is_some() {
            return Err(DeviceLineError::Syntax);
        }
        let all = DeviceRule { allow, ..DeviceRule::EVERYTHING };
        Ok(if rule == all { Self::All { allow } } else { Self::One(rule) })
    }

    /// The verdict.
    pub fn allow(self) -> bool {
        match self {
            Self::All { allow } => allow,
            Self::One(rule) => rule.allow,
        }
    }

    /// The line as the files of a v1 devices cgroup take it.
    pub fn v1_text(self) -> String {
        let Self::One(rule) = self else { return "a".into() };
        let kind = match rule.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        format!("{kind} {}:{} {}", number(rule.major), number(rule.minor), rule.access.text())
    }
}

impl DeviceRule {
    const EVERYTHING: Self =
        Self { kind: DeviceKind::Any, major: None, minor: None, access: Access::ALL, allow: false };

    fn same_devices(&self, other: &Self) -> bool {
        Self { allow: other.allow, ..*self } == *other
    }
}

fn number(text: &str) -> Result<Option<u32>, DeviceLineError> {
    if text == "*" {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(n) if n <= i32::MAX as u32 => Ok(Some(n)),
        _ => Err(DeviceLineError::Syntax),
    }
}

fn look_at(path: &str) -> Option<(DeviceKind, u32, u32)> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = std::fs::metadata(path).ok()?;
    let kind = match meta.file_type() {
        t if t.is_block_device() => DeviceKind::Block,
        t if t.is_char_device() => DeviceKind::Char,
        _ => return None,
    };
    let (major, minor) = crate::sys::dir::split_device(meta.rdev());
    Some((kind, major, minor))
}

/// All rules of a container in order, with the default for what no rule names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceList {
    default_allow: Option<bool>,
    rules: Vec<DeviceRule>,
}

impl DeviceList {
    /// An empty list with a given default: `true` is how a v1 devices cgroup starts.
    pub fn with_default(allow: bool) -> Self {
        Self { default_allow: Some(allow), rules: Vec::new() }
    }

    /// Adds a line.
    ///
    /// Without a default so far, the first rule sets it to its opposite: a list that begins with
    /// an allow rule allows nothing else (as in LXC), one that begins with a deny rule forbids
    /// nothing else.
    pub fn push(&mut self, line: DeviceLine) {
        match line {
            DeviceLine::All { allow } => {
                self.default_allow = Some(allow);
                self.rules.clear();
            }
            DeviceLine::One(rule) => {
                self.default_allow.get_or_insert(!rule.allow);
                self.rules.retain(|old| !old.same_devices(&rule));
                self.rules.push(rule);
            }
        }
    }

    /// True if nothing is restricted, so that no program is needed.
    pub fn is_permissive(&self) -> bool {
        self.default_allow.unwrap_or(true) && self.rules.iter().all(|rule| rule.allow)
    }

    /// What the list as a whole says when no rule matches.
    pub fn default_allow(&self) -> bool {
        self.default_allow.unwrap_or(true)
    }

    /// The device program for the list.
    pub fn compile(&self) -> Vec<Insn> {
        let default_allow = self.default_allow();
        // The oldest rules are asked last: those that only repeat the default add nothing.
        let first = self.rules.iter().position(|rule| rule.allow != default_allow);
        let rules = first.map_or(&[][..], |at| &self.rules[at..]);
        let mut program = vec![
            load(TYPE, CONTEXT, 0),
            alu32(AND, TYPE, 0xffff),
            load(ACCESS, CONTEXT, 0),
            alu32(RIGHT_SHIFT, ACCESS, 16),
            load(MAJOR, CONTEXT, 4),
            load(MINOR, CONTEXT, 8),
        ];
        for rule in rules.iter().rev() {
            if append_rule(&mut program, rule) == Match::Always {
                // The verifier of older kernels refuses instructions that nothing reaches.
                return program;
            }
        }
        verdict(&mut program, default_allow);
        program
    }
}

const VERDICT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const AND: u8 = 0x50;
const RIGHT_SHIFT: u8 = 0x70;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// `target = *(u32 *)(base + off)`
fn load(target: u8, base: u8, off: i16) -> Insn {
    Insn { code: 0x61, regs: base << 4 | target, off, imm: 0 }
}

/// `target OP= imm` on 32 bits
fn alu32(op: u8, target: u8, imm: i32) -> Insn {
    Insn { code: 0x04 | op, regs: target, off: 0, imm }
}

fn copy32(target: u8, from: u8) -> Insn {
    Insn { code: 0xbc, regs: from << 4 | target, off: 0, imm: 0 }
}

/// A jump whose distance is filled in when the rule is complete.
fn jump(code: u8, reg: u8, imm: i32) -> Insn {
    Insn { code, regs: reg, off: 0, imm }
}

fn verdict(program: &mut Vec<Insn>, allow: bool) {
    program.push(Insn { code: 0xb7, regs: VERDICT, off: 0, imm: allow.into() });
    program.push(Insn { code: EXIT, regs: 0, off: 0, imm: 0 });
}

#[derive(PartialEq, Eq)]
enum Match {
    Sometimes,
    Always,
}

fn append_rule(program: &mut Vec<Insn>, rule: &DeviceRule) -> Match {
    let start = program.len();
    match rule.kind {
        DeviceKind::Any => {}
        DeviceKind::Block => program.push(jump(JUMP_UNEQUAL, TYPE, 1)),
        DeviceKind::Char => program.push(jump(JUMP_UNEQUAL, TYPE, 2)),
    }
    if rule.access != Access::ALL {
        program.push(copy32(SCRATCH, ACCESS));
        let bits = i32::from(rule.access.0);
        if rule.allow {
            // Every requested access must be among the allowed ones.
            program.push(alu32(AND, SCRATCH, i32::from(Access::ALL.0) & !bits));
            program.push(jump(JUMP_UNEQUAL, SCRATCH, 0));
        } else {
            // One forbidden access is enough.
            program.push(alu32(AND, SCRATCH, bits));
            program.push(jump(JUMP_EQUAL, SCRATCH, 0));
        }
    }
    for (register, wanted) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(n) = wanted {
            program.push(jump(JUMP_UNEQUAL, register, i32::try_from(n).unwrap_or(i32::MAX)));
        }
    }
    let conditions = program.len() > start;
    verdict(program, rule.allow);
    let end = program.len();
    for (at, insn) in program.iter_mut().enumerate().skip(start) {
        if matches!(insn.code, JUMP_EQUAL | JUMP_UNEQUAL) {
            insn.off = i16::try_from(end - at - 1).unwrap_or(0);
        }
    }
    if conditions { Match::Sometimes } else { Match::Always }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would for one access.
    fn run(program: &[Insn], kind: char, major: u32, minor: u32, access: &str) -> bool {
        let kind = if kind == 'b' { 1 } else { 2 };
        let access = u32::from(Access::parse(access).unwrap().0);
        let context = [access << 16 | kind, major, minor];
        let mut regs = [0u64; 11];
        let mut at = 0;
        let mut steps = 0;
        loop {
            let insn = program[at];
            let (dst, src) = (usize::from(insn.regs & 15), usize::from(insn.regs >> 4));
            at += 1;
            steps += 1;
            assert!(steps < 5000, "endless");
            let imm = u64::try_from(insn.imm).unwrap();
            match insn.code {
                0x61 => {
                    assert_eq!(src, 1);
                    regs[dst] = context[usize::try_from(insn.off).unwrap() / 4].into();
                }
                0x54 => regs[dst] = (regs[dst] & imm) & 0xffff_ffff,
                0x74 => regs[dst] = (regs[dst] & 0xffff_ffff) >> imm,
                0xbc => regs[dst] = regs[src] & 0xffff_ffff,
                0xb7 => regs[dst] = imm,
                0x55 if regs[dst] != imm => at += usize::try_from(insn.off).unwrap(),
                0x15 if regs[dst] == imm => at += usize::try_from(insn.off).unwrap(),
                0x55 | 0x15 => {}
                0x95 => return regs[0] == 1,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    /// `+LINE` allows, `-LINE` denies.
    fn list(lines: &[&str]) -> DeviceList {
        let mut list = DeviceList::default();
        for line in lines {
            let allow = line.starts_with('+');
            list.push(DeviceLine::parse(&line[1..], allow).unwrap());
        }
        list
    }

    fn check(lines: &[&str], asks: &[(bool, char, u32, u32, &str)]) {
        let program = list(lines).compile();
        for &(expected, kind, major, minor, access) in asks {
            let got = run(&program, kind, major, minor, access);
            assert_eq!(got, expected, "{lines:?}: {kind} {major}:{minor} {access}");
        }
    }

    #[test]
    fn debian_common_conf() {
        let lines = ["-a", "+c *:* m", "+b *:* m", "+c 1:3 rwm", "+c 136:* rwm", "+c 10:229 rwm"];
        check(
            &lines,
            &[
                (true, 'c', 1, 3, "rw"),
                (true, 'c', 1, 3, "rwm"),
                (false, 'c', 1, 1, "r"),
                (true, 'c', 1, 1, "m"),
                (false, 'c', 1, 1, "rm"),
                (true, 'b', 8, 0, "m"),
                (false, 'b', 8, 0, "r"),
                (true, 'c', 136, 77, "rw"),
                (false, 'b', 1, 3, "rw"),
                (false, 'c', 10, 228, "r"),
            ],
        );
        assert!(!list(&lines).is_permissive());
    }

    #[test]
    fn defaults() {
        check(&["-a"], &[(false, 'c', 1, 3, "r"), (false, 'b', 1, 3, "m")]);
        check(&["+a"], &[(true, 'c', 1, 3, "r")]);
        assert!(list(&["+a"]).is_permissive());
        assert!(!list(&["-a"]).is_permissive());
        assert!(DeviceList::default().is_permissive());
        check(&["+c 1:3 rw"], &[(true, 'c', 1, 3, "rw"), (false, 'c', 1, 5, "r")]);
        check(&["-c 1:3 rw"], &[(false, 'c', 1, 3, "rw"), (true, 'c', 1, 5, "r")]);
        check(&["-a *:* rwm", "+c 1:3 r"], &[(false, 'c', 1, 5, "r"), (true, 'c', 1, 3, "r")]);
    }

    #[test]
    fn a_global_line_empties_the_list() {
        check(&["-a", "+c 1:3 rwm", "-a"], &[(false, 'c', 1, 3, "r")]);
        check(&["+a", "-c 1:3 rwm", "+a"], &[(true, 'c', 1, 3, "r")]);
    }

    #[test]
    fn the_opposite_of_a_rule_replaces_it() {
        let flipped = list(&["-a", "+c 1:3 rwm", "-c 1:3 rwm"]);
        assert_eq!(flipped.rules.len(), 1);
        assert!(!run(&flipped.compile(), 'c', 1, 3, "r"));
        check(&["-a", "+c 1:3 rwm", "-c 1:3 rwm", "+c 1:3 rwm"], &[(true, 'c', 1, 3, "r")]);
    }

    #[test]
    fn newest_first() {
        check(
            &["-a", "+c 136:* rwm", "-c 136:5 rwm"],
            &[(true, 'c', 136, 4, "rw"), (false, 'c', 136, 5, "r")],
        );
        check(
            &["+a", "-c 1:* rwm", "+c 1:3 r"],
            &[(true, 'c', 1, 3, "r"), (false, 'c', 1, 3, "rw"), (false, 'c', 1, 5, "r")],
        );
    }

    #[test]
    fn a_denied_part_denies_the_whole() {
        check(
            &["+a", "-b 8:* w"],
            &[(true, 'b', 8, 1, "r"), (false, 'b', 8, 1, "w"), (false, 'b', 8, 1, "rw")],
        );
    }

    #[test]
    fn a_rule_for_everything_ends_the_program() {
        let mut all = DeviceList::with_default(false);
        all.push(DeviceLine::One(DeviceRule { allow: true, ..DeviceRule::EVERYTHING }));
        assert_eq!(all.compile().len(), 8);
        assert!(run(&all.compile(), 'b', 8, 0, "rwm"));
        check(&["-a", "+a *:* rw"], &[(true, 'c', 5, 5, "rw"), (false, 'c', 5, 5, "m")]);
    }

    #[test]
    fn bad_lines() {
        for text in [
            "",
            "x",
            "c",
            "c 1",
            "c 1:3",
            "c 1:3 x",
            "c 1:3 rwm z",
            "c -1:3 r",
            "c 1:99999999999 r",
        ] {
            assert_eq!(DeviceLine::parse(text, true), Err(DeviceLineError::Syntax), "{text}");
        }
        for text in ["/nonexistent", "/etc/passwd"] {
            assert_eq!(DeviceLine::parse(text, true), Err(DeviceLineError::NoDevice), "{text}");
        }
    }

    #[test]
    fn paths_and_v1_text() {
        let null = DeviceLine::parse("/dev/null rw", true).unwrap();
        assert_eq!(null.v1_text(), "c 1:3 rw");
        assert_eq!(DeviceLine::parse("/dev/null", true).unwrap().v1_text(), "c 1:3 rwm");
        assert_eq!(DeviceLine::parse("a", false).unwrap().v1_text(), "a");
        assert_eq!(DeviceLine::parse("b 8:* wm", true).unwrap().v1_text(), "b 8:* wm");
    }
}
