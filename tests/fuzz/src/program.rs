//! The kernel's side of a seccomp program, for comparing with the policy.

use lxcbox::sys::seccomp::{Insn, MAX_INSNS};

/// What the kernel demands of a seccomp program before it runs it: its length, known instructions,
/// jumps that stay inside, loads inside struct seccomp_data, a verdict at the end.
pub fn verify(program: &[Insn]) {
    assert!((1..=MAX_INSNS).contains(&program.len()));
    for (at, insn) in program.iter().enumerate() {
        let furthest = match insn.code {
            0x20 => {
                assert!(insn.k % 4 == 0 && insn.k < 64, "{insn:?}");
                0
            }
            0x54 => 0,
            0x05 => insn.k as usize,
            0x15 | 0x25 | 0x35 => usize::from(insn.jt.max(insn.jf)),
            0x06 => continue,
            _ => panic!("{insn:?}"),
        };
        assert!(at + 1 + furthest < program.len(), "{insn:?}");
    }
    assert_eq!(program.last().map(|insn| insn.code), Some(0x06));
}

/// Runs a verified program over one system call.
pub fn interpret(program: &[Insn], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let halves = args.iter().flat_map(|arg| [*arg as u32, (arg >> 32) as u32]);
    let data: Vec<u32> = [number, arch, 0, 0].into_iter().chain(halves).collect();
    let (mut at, mut a) = (0, 0);
    loop {
        let insn = program[at];
        let jump = |holds: bool| usize::from(if holds { insn.jt } else { insn.jf });
        at += 1 + match insn.code {
            0x20 => {
                a = data[insn.k as usize / 4];
                0
            }
            0x54 => {
                a &= insn.k;
                0
            }
            0x05 => insn.k as usize,
            0x15 => jump(a == insn.k),
            0x25 => jump(a > insn.k),
            0x35 => jump(a >= insn.k),
            _ => return insn.k,
        };
    }
}
