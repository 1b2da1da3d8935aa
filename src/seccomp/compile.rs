//! A policy into one BPF program that serves every architecture of the machine's family.
//!
//! Shape: the architecture selects a block; in a block, ranges of call numbers with the same
//! verdict are found by halving; a leaf returns the verdict, after comparing arguments where a
//! rule has conditions. A call without a rule, and any other architecture, gets the default.
//! 32-bit callers get the same rules under their own numbers (seccompiler would kill them).

use super::names::{Arch, Call, X32_BIT};
use super::policy::{Action, Condition, Op, Policy, Rule, Subject};
use crate::sys::seccomp::{Insn, MAX_INSNS};
use crate::util::sorted::Map;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
fn collect(policy: &Policy, abis: &[Arch]) -> Map<u32, Leaf> {
    let mut leaves: Map<u32, Leaf> = Map::default();
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
            if let Some(number) = call.x32_special().filter(|_| abi == Arch::X32) {
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

fn add(leaves: &mut Map<u32, Leaf>, number: u32, tests: &[Test], action: Action) {
    let leaf = leaves.or_default(number);
    if tests.is_empty() {
        leaf.end.get_or_insert(action);
    } else {
        leaf.conditional.push((tests.to_vec(), action));
    }
}

/// `socket` and its like can be reached through `socketcall` on 32-bit x86. Their own arguments
/// are then in memory, out of reach: a rule with conditions cannot cover that way.
fn add_multiplexed(leaves: &mut Map<u32, Leaf>, call: &Call, rule: &Rule) {
    if let Some(way) = call.multiplexed().filter(|_| rule.conditions.is_empty()) {
        let test = Test::Selector { value: way.first, mask: way.mask };
        add(leaves, way.call, &[test], rule.action);
    }
}

/// First numbers of ranges that share a leaf, ascending from 0; neighbours differ.
fn ranges(leaves: Map<u32, Leaf>, default: Action) -> Vec<(u32, Leaf)> {
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
#[path = "compile_tests.rs"]
mod tests;
