//! SSE4.2's string comparisons [SDM-2B PCMPESTRI...].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{enter, set_status_flags, set_xmm, source_unaligned, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::cpu::bits::{CF, OF, SF, ZF};
use crate::simd::text::{Matches, compare};

/// Compare, set the flags, and give the matches. Memory may be unaligned.
fn matches(sys: &mut System, insn: &Instruction, lengths: Option<(u64, u64)>) -> Outcome<Matches> {
    enter(sys)?;
    let b = source_unaligned(sys, insn, 1)?;
    let m = compare(xmm(sys, insn.op0_register()), b, insn.immediate8(), lengths);
    let (cf, zf, sf, of) = m.flags();
    let bit = |on: bool, flag: u32| if on { flag } else { 0 };
    set_status_flags(sys, bit(cf, CF) | bit(zf, ZF) | bit(sf, SF) | bit(of, OF));
    Ok(m)
}

/// The lengths in EAX and EDX, or in RAX and RDX: their absolute values.
fn lengths(sys: &System, insn: &Instruction) -> (u64, u64) {
    let wide = matches!(insn.code(), Code::Pcmpestri64_xmm_xmmm128_imm8 | Code::Pcmpestrm64_xmm_xmmm128_imm8);
    let length = |register| {
        let v = sys.register(register);
        if wide { (v as i64).unsigned_abs() } else { (v as i32).unsigned_abs().into() }
    };
    (length(Register::RAX), length(Register::RDX))
}

fn to_index(sys: &mut System, insn: &Instruction, m: Matches) {
    sys.set_register(Register::ECX, m.index(insn.immediate8()).into());
}

fn to_mask(sys: &mut System, insn: &Instruction, m: Matches) {
    set_xmm(sys, Register::XMM0, m.mask(insn.immediate8()));
}

fn pcmpestri(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches(sys, insn, Some(lengths(sys, insn)))?;
    to_index(sys, insn, m);
    Ok(())
}

fn pcmpestrm(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches(sys, insn, Some(lengths(sys, insn)))?;
    to_mask(sys, insn, m);
    Ok(())
}

fn pcmpistri(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches(sys, insn, None)?;
    to_index(sys, insn, m);
    Ok(())
}

fn pcmpistrm(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches(sys, insn, None)?;
    to_mask(sys, insn, m);
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pcmpestri_xmm_xmmm128_imm8 | Code::Pcmpestri64_xmm_xmmm128_imm8 => pcmpestri,
        Code::Pcmpestrm_xmm_xmmm128_imm8 | Code::Pcmpestrm64_xmm_xmmm128_imm8 => pcmpestrm,
        Code::Pcmpistri_xmm_xmmm128_imm8 => pcmpistri,
        Code::Pcmpistrm_xmm_xmmm128_imm8 => pcmpistrm,
        _ => return None,
    })
}
