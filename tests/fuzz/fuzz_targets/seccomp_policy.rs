//! Any text is a seccomp policy or is refused; what is accepted compiles, or is too long.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lxcbox::seccomp::compile::{Family, compile};
use lxcbox::seccomp::{names::Arch, policy::parse};

fuzz_target!(|text: &str| {
    for (native, family) in [(Arch::X86_64, Family::X86), (Arch::Arm64, Family::Arm)] {
        if let Ok(policy) = parse(text, native) {
            if let Ok(program) = compile(&policy, family) {
                check(&program);
            }
        }
    }
});

/// What the kernel's verifier demands: jumps stay inside, the last instruction returns.
fn check(program: &[lxcbox::sys::seccomp::Insn]) {
    for (at, insn) in program.iter().enumerate() {
        let furthest = match insn.code {
            0x05 => insn.k as usize,
            0x15 | 0x25 | 0x35 => usize::from(insn.jt.max(insn.jf)),
            _ => continue,
        };
        assert!(at + 1 + furthest < program.len());
    }
    assert_eq!(program.last().map(|insn| insn.code), Some(0x06));
}
