//! A policy into one BPF program that serves every architecture of the machine's family.
//!
//! Shape: the architecture selects a block; in a block, ranges of call numbers with the same
//! verdict are found by halving; a leaf returns the verdict, after comparing arguments where a
//! rule has conditions. A call without a rule, and any other architecture, gets the default.
//! 32-bit callers get the same rules under their own numbers (seccompiler would kill them).

use super::names::{Arch, Call, X32_BIT};
use super::policy::{Action, Condition, Op, Policy, Rule, Subject};
use crate::sys::seccomp::{Insn, MAX_INSNS};
use std::collections::BTreeMap;

/// A program that is too long for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its length; [`MAX_INSNS`] is allowed.
    pub length: usize,
}

/// Architectures that can call into one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// x86-64 with x32, and 32-bit x86.
    X86,
    /// arm64 and 32-bit arm.
    Arm,
}

impl Family {
    /// The machine's family. A 32-bit program may run on a 64-bit kernel, so all of it counts.
    pub const NATIVE: Self =
        if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { Self::X86 } else { Self::Arm };

    /// Blocks of the program: audit architecture and the ABIs that share it.
    fn blocks(self) -> [(u32, &'static [Arch]); 2] {
        match self {
            Self::X86 => [(0xc000_003e, &[Arch::X86_64, Arch::X32]), (0x4000_0003, &[Arch::X86])],
            Self::Arm => [(0xc000_00b7, &[Arch::Arm64]), (0x4000_0028, &[Arch::Arm])],
        }
    }
}

/// This program's own architecture.
pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
    Arch::X86_64
} else if cfg!(target_arch = "x86") {
    Arch::X86
} else if cfg!(target_arch = "aarch64") {
    Arch::Arm64
} else {
    Arch::Arm
};

// Operations of classic BPF (linux/bpf_common.h): class, size or operator, and source in one.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQ: u16 = 0x15;
const JUMP_GT: u16 = 0x25;
const JUMP_GE: u16 = 0x35;
const RETURN: u16 = 0x06;

// struct seccomp_data.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Stands for "this rule does not apply" in a jump until the length of the rule is known.
const FAIL: u8 = u8::MAX;

fn insn(code: u16, k: u32) -> Insn {
    Insn { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

fn verdict(action: Action) -> Insn {
    let value = match action {
        Action::Kill => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(number) => 0x0005_0000 | u32::from(number),
        Action::Notify => 0x7fc0_0000,
        Action::Allow => 0x7fff_0000,
    };
    insn(RETURN, value)
}

/// A condition on a 32-bit half of an argument is all there is on 32-bit architectures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

/// What happens to one call number: the first rule with conditions that all hold, else the end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    conditional: Vec<(Vec<Test>, Action)>,
    end: Option<Action>,
}

/// A comparison of the program: of an argument, or of the selector of a multiplexed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Argument(Condition),
    Selector { value: u32, mask: u32 },
}

/// Compiles `policy`.
///
/// Several rules for one call: those with conditions are asked first, in the order of the file,
/// then the first one without. (LXC drops conditions when a rule without exists.)
///
/// # Errors
/// Only the length.
pub fn compile(policy: &Policy, family: Family) -> Result<Vec<Insn>, TooLong> {
    let mut program = vec![insn(LOAD, OFFSET_ARCH)];
    for (audit, abis) in family.blocks() {
        let leaves = collect(policy, abis);
        let width = match abis[0] {
            Arch::X86_64 | Arch::X32 | Arch::Arm64 => Width::Bits64,
            Arch::X86 | Arch::Arm => Width::Bits32,
        };
        let mut block = vec![insn(LOAD, OFFSET_NUMBER)];
        block.extend(tree(&ranges(leaves, policy.default), width, policy.default));
        program.push(jump(JUMP_EQ, audit, 1, 0));
        program.push(far(block.len()));
        program.extend(block);
    }
    program.push(verdict(policy.default));
    if program.len() > MAX_INSNS {
        return Err(TooLong { length: program.len() });
    }
    Ok(program)
}

/// True if some call can end up with a supervisor.
pub fn notifies(policy: &Policy) -> bool {
    policy.default == Action::Notify || policy.rules.iter().any(|r| r.action == Action::Notify)
}

/// A jump over `length` instructions; only conditional ones are limited to 255.
fn far(length: usize) -> Insn {
    insn(JUMP, u32::try_from(length).unwrap_or(u32::MAX))
}

/// The rules by call number, for the ABIs of one block.
fn collect(policy: &Policy, abis: &[Arch]) -> BTreeMap<u32, Leaf> {
    let mut leaves: BTreeMap<u32, Leaf> = BTreeMap::new();
    // A tracer skips a call by setting its number to -1; nothing is left to filter then.
    add(&mut leaves, u32::MAX, &[], Action::Allow);
    for rule in &policy.rules {
        for &abi in abis.iter().filter(|abi| rule.arches.has(**abi)) {
            let tests: Vec<Test> = rule.conditions.iter().copied().map(Test::Argument).collect();
            let call = match &rule.subject {
                Subject::Named(call) => call,
                Subject::Native(number) => {
                    if abi == NATIVE {
                        add(&mut leaves, *number, &tests, rule.action);
                    }
                    continue;
                }
            };
            if let Some(number) = call.number(abi) {
                add(&mut leaves, number, &tests, rule.action);
            }
            if abi == Arch::X32
                && let Some(number) = call.x32_special()
            {
                // Before 5.4 the kernel took these from 64-bit callers, without the bit.
                add(&mut leaves, number & !X32_BIT, &tests, rule.action);
            }
            if abi == Arch::X86 {
                add_multiplexed(&mut leaves, call, rule);
            }
        }
    }
    leaves
}

fn add(leaves: &mut BTreeMap<u32, Leaf>, number: u32, tests: &[Test], action: Action) {
    let leaf = leaves.entry(number).or_insert(Leaf { conditional: Vec::new(), end: None });
    if tests.is_empty() {
        leaf.end.get_or_insert(action);
    } else {
        leaf.conditional.push((tests.to_vec(), action));
    }
}

/// `socket` and its like can be reached through `socketcall` on 32-bit x86. Their own arguments
/// are then in memory, out of reach: a rule with conditions cannot cover that way.
fn add_multiplexed(leaves: &mut BTreeMap<u32, Leaf>, call: &Call, rule: &Rule) {
    if let Some(way) = call.multiplexed().filter(|_| rule.conditions.is_empty()) {
        let test = Test::Selector { value: way.first, mask: way.mask };
        add(leaves, way.call, &[test], rule.action);
    }
}

/// First numbers of ranges that share a leaf, ascending from 0; neighbours differ.
fn ranges(leaves: BTreeMap<u32, Leaf>, default: Action) -> Vec<(u32, Leaf)> {
    let plain = Leaf { conditional: Vec::new(), end: Some(default) };
    let mut out: Vec<(u32, Leaf)> = Vec::with_capacity(leaves.len() * 2 + 1);
    let mut push = |start: u32, leaf: Leaf| match out.last_mut() {
        Some((_, last)) if *last == leaf => {}
        Some((at, last)) if *at == start => *last = leaf,
        _ => out.push((start, leaf)),
    };
    push(0, plain.clone());
    for (number, mut leaf) in leaves {
        leaf.end.get_or_insert(default);
        push(number, leaf);
        if let Some(next) = number.checked_add(1) {
            push(next, plain.clone());
        }
    }
    out
}

/// Code that ends with a verdict for the number in the accumulator, which is within `ranges`.
fn tree(ranges: &[(u32, Leaf)], width: Width, default: Action) -> Vec<Insn> {
    if let [(_, leaf)] = ranges {
        return leaf_code(leaf, width, default);
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let boundary = right.first().map_or(0, |(start, _)| *start);
    let left = tree(left, width, default);
    let mut out = Vec::new();
    match u8::try_from(left.len()) {
        Ok(over) => out.push(jump(JUMP_GE, boundary, over, 0)),
        Err(_) => out.extend([jump(JUMP_GE, boundary, 0, 1), far(left.len())]),
    }
    out.extend(left);
    out.extend(tree(right, width, default));
    out
}

fn leaf_code(leaf: &Leaf, width: Width, default: Action) -> Vec<Insn> {
    let mut out = Vec::new();
    for (tests, action) in &leaf.conditional {
        let mut rule: Vec<Insn> = Vec::new();
        for test in tests {
            test_code(*test, width, &mut rule);
        }
        rule.push(verdict(*action));
        let length = rule.len();
        for (at, insn) in rule.iter_mut().enumerate() {
            // At most 6 conditions of 6 instructions: the distance always fits.
            let behind = u8::try_from(length - at - 1).unwrap_or(FAIL);
            for target in [&mut insn.jt, &mut insn.jf] {
                if *target == FAIL {
                    *target = behind;
                }
            }
        }
        out.extend(rule);
    }
    out.push(verdict(leaf.end.unwrap_or(default)));
    out
}

/// Falls through when the test holds.
fn test_code(test: Test, width: Width, out: &mut Vec<Insn>) {
    let condition = match test {
        Test::Selector { value, mask } => {
            out.extend([insn(LOAD, OFFSET_ARGS), insn(AND, mask), jump(JUMP_EQ, value, 0, FAIL)]);
            return;
        }
        Test::Argument(condition) => condition,
    };
    let offset = OFFSET_ARGS + 8 * u32::from(condition.index);
    // Every architecture here is little-endian.
    let (load_low, load_high) = (insn(LOAD, offset), insn(LOAD, offset + 4));
    let (low, high) = halves(condition.value);
    let (mask_low, mask_high) = halves(condition.mask);
    if width == Width::Bits32 {
        // Registers have 32 bits. All-ones above is a negative number written in 64; any other
        // upper half is out of reach, so the comparison has one outcome.
        if high != 0 && high != u32::MAX {
            if !matches!(condition.op, Op::Ne | Op::Lt | Op::Le) {
                out.push(jump(JUMP_GE, 0, FAIL, FAIL));
            }
            return;
        }
        out.push(load_low);
        if condition.op == Op::MaskedEq {
            out.push(insn(AND, mask_low));
        }
        out.push(match condition.op {
            Op::Eq | Op::MaskedEq => jump(JUMP_EQ, low, 0, FAIL),
            Op::Ne => jump(JUMP_EQ, low, FAIL, 0),
            Op::Ge => jump(JUMP_GE, low, 0, FAIL),
            Op::Gt => jump(JUMP_GT, low, 0, FAIL),
            Op::Lt => jump(JUMP_GE, low, FAIL, 0),
            Op::Le => jump(JUMP_GT, low, FAIL, 0),
        });
        return;
    }
    match condition.op {
        Op::Eq => out.extend([
            load_high,
            jump(JUMP_EQ, high, 0, FAIL),
            load_low,
            jump(JUMP_EQ, low, 0, FAIL),
        ]),
        Op::Ne => out.extend([
            load_high,
            jump(JUMP_EQ, high, 0, 2),
            load_low,
            jump(JUMP_EQ, low, FAIL, 0),
        ]),
        Op::MaskedEq => out.extend([
            load_high,
            insn(AND, mask_high),
            jump(JUMP_EQ, high, 0, FAIL),
            load_low,
            insn(AND, mask_low),
            jump(JUMP_EQ, low, 0, FAIL),
        ]),
        Op::Ge | Op::Gt => {
            let code = if condition.op == Op::Ge { JUMP_GE } else { JUMP_GT };
            out.extend([
                load_high,
                jump(JUMP_GT, high, 3, 0),
                jump(JUMP_EQ, high, 0, FAIL),
                load_low,
                jump(code, low, 0, FAIL),
            ]);
        }
        Op::Lt | Op::Le => {
            let code = if condition.op == Op::Lt { JUMP_GE } else { JUMP_GT };
            out.extend([
                load_high,
                jump(JUMP_GT, high, FAIL, 0),
                jump(JUMP_EQ, high, 0, 2),
                load_low,
                jump(code, low, FAIL, 0),
            ]);
        }
    }
}

/// Lower and upper 32 bits.
fn halves(value: u64) -> (u32, u32) {
    ((value & u64::from(u32::MAX)) as u32, (value >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::super::policy::parse;
    use super::*;
    use proptest::prelude::*;

    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;
    const ARM64: u32 = 0xc000_00b7;
    const ARM: u32 = 0x4000_0028;
    const ALLOW: u32 = 0x7fff_0000;

    fn errno(n: u32) -> u32 {
        0x5_0000 | n
    }

    /// An interpreter of classic BPF over struct seccomp_data; also checks what the kernel's
    /// verifier checks: jumps forward within the program, loads aligned and inside the struct.
    fn run(program: &[Insn], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = [number, arch, 0, 0].to_vec();
        for arg in args {
            let (low, high) = halves(arg);
            data.extend([low, high]);
        }
        let (mut at, mut a) = (0usize, 0u32);
        loop {
            let i = program[at];
            let mut by = |holds: bool| at += usize::from(if holds { i.jt } else { i.jf });
            match i.code {
                LOAD => {
                    assert_eq!(i.k % 4, 0);
                    a = data[i.k as usize / 4];
                }
                AND => a &= i.k,
                JUMP => at += i.k as usize,
                JUMP_EQ => by(a == i.k),
                JUMP_GT => by(a > i.k),
                JUMP_GE => by(a >= i.k),
                RETURN => return i.k,
                code => panic!("code {code:#x}"),
            }
            at += 1;
        }
    }

    fn program(family: Family, text: &str) -> Vec<Insn> {
        let native = if family == Family::X86 { Arch::X86_64 } else { Arch::Arm64 };
        compile(&parse(text, native).unwrap(), family).unwrap()
    }

    fn x86(text: &str) -> Vec<Insn> {
        program(Family::X86, text)
    }

    #[test]
    fn the_common_policy_on_every_abi() {
        let text = "2\ndenylist\nreject_force_umount\n[all]\nkexec_load errno 1\nmkdir errno 5\n";
        let p = x86(text);
        let none = [0; 6];
        for (arch, mkdir, kexec, umount2) in [
            (X86_64, 83, 246, 166),
            (X86_64, 83 | X32_BIT, 528 | X32_BIT, 166 | X32_BIT),
            (I386, 39, 283, 52),
        ] {
            assert_eq!(run(&p, arch, mkdir, none), errno(5));
            assert_eq!(run(&p, arch, mkdir + 1, none), ALLOW);
            assert_eq!(run(&p, arch, mkdir - 1, none), ALLOW);
            assert_eq!(run(&p, arch, kexec, none), errno(1));
            assert_eq!(run(&p, arch, umount2, none), ALLOW);
            assert_eq!(run(&p, arch, umount2, [0, 3, 0, 0, 0, 0]), errno(13));
            assert_eq!(run(&p, arch, umount2, [0, 2, 0, 0, 0, 0]), ALLOW);
        }
        assert_eq!(run(&p, X86_64, 528, none), errno(1), "the hole before 5.4");
        assert_eq!(run(&p, ARM64, 83, none), ALLOW, "foreign: the default");
        let p = program(Family::Arm, text);
        assert_eq!(run(&p, ARM, 39, none), errno(5));
        assert_eq!(run(&p, ARM64, 39, [0, 1, 0, 0, 0, 0]), errno(13), "arm64 39 is umount2");
        assert_eq!(run(&p, ARM64, 104, none), errno(1));
    }

    #[test]
    fn an_allowlist_kills_the_rest_but_not_skipped_calls() {
        let p = x86("2\nallowlist\nread\nwrite\nexit_group\n[x86]\nwaitpid\n");
        for (arch, number, want) in [
            (X86_64, 0, ALLOW),
            (X86_64, 1, ALLOW),
            (X86_64, 2, 0),
            (X86_64, 231, ALLOW),
            (X86_64, 7, 0),
            (I386, 3, ALLOW),
            (I386, 4, ALLOW),
            (I386, 7, ALLOW),
            (I386, 5, 0),
            (X86_64, X32_BIT, ALLOW),
            (X86_64, X32_BIT | 2, 0),
            (X86_64, u32::MAX, ALLOW),
            (I386, u32::MAX, ALLOW),
            (ARM, 3, 0),
        ] {
            assert_eq!(run(&p, arch, number, [0; 6]), want, "{arch:#x} {number}");
        }
        let p = x86("2\nallowlist errno 38\nread");
        assert_eq!(run(&p, X86_64, 9, [0; 6]), errno(38));
    }

    #[test]
    fn version_1_covers_32_bit_callers_by_name() {
        let p = x86("1\nallowlist\n83\n999\n");
        assert_eq!(run(&p, X86_64, 83, [0; 6]), ALLOW);
        assert_eq!(run(&p, X86_64, 999, [0; 6]), ALLOW);
        assert_eq!(run(&p, I386, 39, [0; 6]), ALLOW);
        assert_eq!(run(&p, I386, 83, [0; 6]), 0);
    }

    #[test]
    fn socketcall_and_ipc_are_looked_into() {
        let p = x86(
            "2\ndenylist\nsocket errno 97\nshmget errno 1\naccept4 kill\nbind errno 2 [0,3,==]",
        );
        let first = |n| [n, 0, 0, 0, 0, 0];
        assert_eq!(run(&p, I386, 102, first(1)), errno(97));
        assert_eq!(run(&p, I386, 359, [0; 6]), errno(97));
        assert_eq!(run(&p, I386, 102, first(18)), 0);
        assert_eq!(run(&p, I386, 102, first(2)), ALLOW);
        assert_eq!(run(&p, I386, 117, first(23)), errno(1));
        assert_eq!(run(&p, I386, 117, first(0x1_0017)), errno(1));
        assert_eq!(run(&p, I386, 117, first(24)), ALLOW);
        assert_eq!(run(&p, X86_64, 41, [0; 6]), errno(97));
        let p = x86("2\nallowlist\nsocket");
        assert_eq!(run(&p, I386, 102, first(1)), ALLOW);
        assert_eq!(run(&p, I386, 102, first(2)), 0);
    }

    #[test]
    fn conditions_come_before_the_rest_and_the_first_rule_wins() {
        let p = x86("2\ndenylist\nchmod errno 6\nchmod errno 5 [1,0x1c0,==]\nchmod errno 9\n\
                     open errno 1 [0,1,==][1,2,==]\nopen errno 2 [0,1,==]\nmkdir allow\n");
        assert_eq!(run(&p, X86_64, 90, [0, 0x1c0, 0, 0, 0, 0]), errno(5));
        assert_eq!(run(&p, X86_64, 90, [0, 0x1c1, 0, 0, 0, 0]), errno(6));
        assert_eq!(run(&p, X86_64, 2, [1, 2, 0, 0, 0, 0]), errno(1));
        assert_eq!(run(&p, X86_64, 2, [1, 3, 0, 0, 0, 0]), errno(2));
        assert_eq!(run(&p, X86_64, 2, [2, 2, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&p, X86_64, 83, [0; 6]), ALLOW);
    }

    fn holds(op: Op, argument: u64, value: u64, mask: u64) -> bool {
        match op {
            Op::Ne => argument != value,
            Op::Lt => argument < value,
            Op::Le => argument <= value,
            Op::Eq => argument == value,
            Op::Ge => argument >= value,
            Op::Gt => argument > value,
            Op::MaskedEq => argument & mask == value,
        }
    }

    const OPS: [(Op, &str); 7] = [
        (Op::Ne, "!="),
        (Op::Lt, "<"),
        (Op::Le, "<="),
        (Op::Eq, "=="),
        (Op::Ge, ">="),
        (Op::Gt, ">"),
        (Op::MaskedEq, "&="),
    ];

    #[test]
    fn every_operator_at_every_edge() {
        let edges = [
            0,
            1,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            1 << 32,
            (1 << 32) + 1,
            u64::MAX - 1,
            u64::MAX,
        ];
        for (op, sign) in OPS {
            for value in edges {
                for mask in [0xff, 0xffff_0000_0000, u64::MAX] {
                    let p = x86(&format!("2\ndenylist\nopen errno 3 [5,{value},{sign},{mask}]"));
                    for argument in edges {
                        let args = [0, 0, 0, 0, 0, argument];
                        let want = if holds(op, argument, value, mask) { errno(3) } else { ALLOW };
                        let found = run(&p, X86_64, 2, args);
                        assert_eq!(found, want, "{argument:#x} {sign} {value:#x} {mask:#x}");
                        if let (Ok(_), Ok(_)) = (u32::try_from(argument), u32::try_from(value)) {
                            assert_eq!(run(&p, I386, 5, args), want);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn negative_numbers_on_32_bits() {
        let p = x86(&format!("2\ndenylist\nopen errno 3 [0,{},==]", u64::MAX));
        assert_eq!(run(&p, I386, 5, [0xffff_ffff, 0, 0, 0, 0, 0]), errno(3));
        let p =
            x86("2\ndenylist\nopen errno 3 [0,0x100000000,<]\nmkdir errno 4 [0,0x100000000,>=]");
        assert_eq!(run(&p, I386, 5, [7, 0, 0, 0, 0, 0]), errno(3));
        assert_eq!(run(&p, I386, 39, [7, 0, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn a_rule_for_every_call_fits_and_jumps_far() {
        let mut text = String::from("2\nallowlist\n");
        for number in 0..470 {
            if let Some(call) = Call::numbered(Arch::X86_64, number) {
                // Different verdicts, so that no two ranges merge.
                text.push_str(&format!("{} errno {}\n", call.name, 1 + number));
            }
        }
        let p = x86(&text);
        assert!(p.len() > 600 && p.len() <= MAX_INSNS, "{}", p.len());
        for number in 0..470 {
            let want = Call::numbered(Arch::X86_64, number).map_or(0, |_| errno(1 + number));
            assert_eq!(run(&p, X86_64, number, [0; 6]), want, "{number}");
            if let Some(call) = Call::numbered(Arch::X86_64, number)
                && let Some(x86) = call.number(Arch::X86)
            {
                assert_eq!(run(&p, I386, x86, [0; 6]), want);
            }
        }
        let mut text = String::from("2\ndenylist\n");
        for n in 0..1200 {
            text.push_str(&format!("open errno 1 [0,{n},==]\n"));
        }
        let policy = parse(&text, Arch::X86_64).unwrap();
        assert!(compile(&policy, Family::X86).is_err());
    }

    #[test]
    fn a_short_policy_stays_short() {
        let p = x86(
            "2\ndenylist\nreject_force_umount\nkexec_load errno 1\nopen_by_handle_at errno 1\n\
                     init_module errno 1\nfinit_module errno 1\ndelete_module errno 1",
        );
        assert!(p.len() < 100, "{}", p.len());
    }

    #[test]
    fn who_needs_a_supervisor() {
        let notifying = |text| notifies(&parse(text, Arch::X86_64).unwrap());
        assert!(notifying("2\ndenylist\nmknod notify"));
        assert!(notifying("2\nallowlist notify\nread"));
        assert!(!notifying("2\ndenylist\nmknod"));
    }

    proptest! {
        #[test]
        fn verdicts_are_those_of_the_rules(
            rules in proptest::collection::vec((0u32..340, 1u32..4, 0usize..8, 0u64..3), 0..12),
            number in 0u32..340,
            argument in 0u64..3,
        ) {
            let mut text = String::from("2\ndenylist\n");
            let mut known = Vec::new();
            for (number, error, op, value) in rules {
                let Some(call) = Call::numbered(Arch::X86_64, number) else { continue };
                text.push_str(&format!("{} errno {error}", call.name));
                if let Some((_, sign)) = OPS.get(op) {
                    text.push_str(&format!(" [0,{value},{sign},1]"));
                }
                text.push('\n');
                known.push((number, error, OPS.get(op).map(|o| o.0), value));
            }
            let p = x86(&text);
            let of_call = || known.iter().filter(|k| k.0 == number);
            let conditional = of_call()
                .find(|k| k.2.is_some_and(|op| holds(op, argument, k.3, 1)));
            let hit = conditional.or_else(|| of_call().find(|k| k.2.is_none()));
            let want = hit.map_or(ALLOW, |k| errno(k.1));
            prop_assert_eq!(run(&p, X86_64, number, [argument, 0, 0, 0, 0, 0]), want);
        }
    }
}
