//! Compiled policies, run through an interpreter of classic BPF.

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
    let p =
        x86("2\ndenylist\nsocket errno 97\nshmget errno 1\naccept4 kill\nbind errno 2 [0,3,==]");
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
    let p = x86("2\ndenylist\nopen errno 3 [0,0x100000000,<]\nmkdir errno 4 [0,0x100000000,>=]");
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
        let call = Call::numbered(Arch::X86_64, number);
        if let Some(x86) = call.and_then(|call| call.number(Arch::X86)) {
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
    let p =
        x86("2\ndenylist\nreject_force_umount\nkexec_load errno 1\nopen_by_handle_at errno 1\n\
                 init_module errno 1\nfinit_module errno 1\ndelete_module errno 1");
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
