//! Any text is a seccomp policy or is refused; what is accepted compiles, or is too long; and the
//! program says of every call what the rules say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::config::embedded;
use lxcbox::seccomp::compile::{Family, NATIVE, compile};
use lxcbox::seccomp::names::{Arch, X32_BIT};
use lxcbox::seccomp::policy::{Action, Condition, Op, Policy, Subject, parse};
use lxcbox_fuzz::{interpret, seed, verify};
use std::collections::BTreeSet;
use std::path::Path;

/// Calls that are looked at beside those of the rules: ordinary ones, those that hide others on
/// 32-bit x86, the numbers that are x32's own, and "skipped".
const NUMBERS: [u32; 8] = [0, 1, 39, 102, 117, 520, X32_BIT | 1, u32::MAX];
/// Most programs' runs for one input.
const RUNS: usize = 600;

fn seeds() -> Vec<String> {
    let common = embedded::find(Path::new("/usr/share/lxc/config/common.seccomp"));
    let mut seeds = vec![common.expect("it is in the program").to_owned()];
    for list in ["denylist", "blacklist errno 7", "allowlist trap", "whitelist notify"] {
        seeds.push(format!("2\n{list}\n[all]\nreject_force_umount\nsocket\nshmget errno 1\n"));
        for op in ["!=", "<", "<=", "==", ">=", ">", "&=", "SCMP_CMP_MASKED_EQ"] {
            seeds.push(format!(
                "2\n{list}\n[x86_64]\nopen errno 5 [0,0x1ffffffff,{op},0xff]\n[x86]\nopen kill \
                 [1,0100,{op},1][2,-1,{op},1]\n[x32]\nioctl allow\n[arm]\nchmod trap [5,1,{op},3]\n\
                 [arm64]\nbind errno 0 [0,18446744073709551615,{op},7]\n[ppc64]\nanything\n"
            ));
        }
    }
    seeds.push("1\nallowlist\n0\n83\n999\n".to_owned());
    seeds
}

fuzz_target!(init: seed(seeds()), |text: &str| {
    for (native, family) in [(Arch::X86_64, Family::X86), (Arch::Arm64, Family::Arm)] {
        let Ok(policy) = parse(text, native) else { continue };
        match compile(&policy, family) {
            Ok(program) => {
                verify(&program);
                compare(&policy, family, &program);
            }
            Err(e) => assert!(e.length > lxcbox::sys::seccomp::MAX_INSNS),
        }
    }
});

fn compare(policy: &Policy, family: Family, program: &[lxcbox::sys::seccomp::Insn]) {
    let abis: &[(u32, &[Arch])] = match family {
        Family::X86 => &[(0xc000_003e, &[Arch::X86_64, Arch::X32]), (0x4000_0003, &[Arch::X86])],
        Family::Arm => &[(0xc000_00b7, &[Arch::Arm64]), (0x4000_0028, &[Arch::Arm])],
    };
    let mut runs = 0;
    for &(audit, abis) in abis {
        let mut numbers: BTreeSet<u32> = NUMBERS.into();
        for rule in &policy.rules {
            for &abi in abis {
                numbers.extend(match &rule.subject {
                    Subject::Named(call) => call.number(abi),
                    Subject::Native(number) => Some(*number),
                });
            }
        }
        for number in numbers {
            for args in arguments(policy) {
                runs += 1;
                if runs > RUNS {
                    return;
                }
                let found = interpret(program, audit, number, args);
                let wanted = verdict(expected(policy, abis, number, args));
                assert_eq!(found, wanted, "{audit:#x} {number:#x} {args:x?} {policy:?}");
            }
        }
    }
    let foreign = interpret(program, 0x1234, 0, [0; 6]);
    assert_eq!(foreign, verdict(policy.default));
}

/// Arguments at the edges of the first conditions.
fn arguments(policy: &Policy) -> Vec<[u64; 6]> {
    let mut out = vec![[0; 6], [1, 2, 3, 4, 5, 6], [u64::MAX; 6]];
    for condition in policy.rules.iter().flat_map(|rule| &rule.conditions).take(6) {
        for value in [
            condition.value,
            condition.value.wrapping_sub(1),
            condition.value.wrapping_add(1),
            condition.value ^ 1 << 32,
            condition.value & 0xffff_ffff,
        ] {
            let mut args = [0; 6];
            args[usize::from(condition.index)] = value;
            out.push(args);
        }
    }
    out
}

/// The rules as their documentation reads: those with conditions in the order of the file, then
/// the first without, then the default.
fn expected(policy: &Policy, abis: &[Arch], number: u32, args: [u64; 6]) -> Action {
    let mut end = (number == u32::MAX).then_some(Action::Allow);
    for rule in &policy.rules {
        for &abi in abis.iter().filter(|abi| rule.arches.has(**abi)) {
            let call = match &rule.subject {
                Subject::Native(n) => {
                    if abi == NATIVE && *n == number {
                        end = end.or(Some(rule.action));
                    }
                    continue;
                }
                Subject::Named(call) => call,
            };
            let hole = call.x32_special().filter(|_| abi == Arch::X32).map(|n| n & !X32_BIT);
            if call.number(abi) == Some(number) || hole == Some(number) {
                let narrow = matches!(abi, Arch::X86 | Arch::Arm);
                let mut tests = rule.conditions.iter();
                if rule.conditions.is_empty() {
                    end = end.or(Some(rule.action));
                } else if tests.all(|c| holds(c, args[usize::from(c.index)], narrow)) {
                    return rule.action;
                }
            }
            match call.multiplexed() {
                Some(way)
                    if abi == Arch::X86
                        && rule.conditions.is_empty()
                        && way.call == number
                        && args[0] as u32 & way.mask == way.first =>
                {
                    return rule.action;
                }
                _ => {}
            }
        }
    }
    end.unwrap_or(policy.default)
}

fn holds(condition: &Condition, argument: u64, narrow: bool) -> bool {
    let (mut argument, mut value, mut mask) = (argument, condition.value, condition.mask);
    if narrow {
        match value >> 32 {
            // A negative number is as good in 32 bits; other large ones no register can hold.
            0 | 0xffff_ffff => {}
            _ => return matches!(condition.op, Op::Ne | Op::Lt | Op::Le),
        }
        argument &= 0xffff_ffff;
        value &= 0xffff_ffff;
        mask &= 0xffff_ffff;
    }
    match condition.op {
        Op::Ne => argument != value,
        Op::Lt => argument < value,
        Op::Le => argument <= value,
        Op::Eq => argument == value,
        Op::Ge => argument >= value,
        Op::Gt => argument > value,
        Op::MaskedEq => argument & mask == value,
    }
}

/// SECCOMP_RET_* of `linux/seccomp.h`.
fn verdict(action: Action) -> u32 {
    match action {
        Action::Kill => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno(number) => 0x0005_0000 | u32::from(number),
        Action::Notify => 0x7fc0_0000,
        Action::Allow => 0x7fff_0000,
    }
}
