//! SSE4.2's string comparisons [SDM-2B PCMPESTRI...].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{Encoding, Legacy, set_status_flags, source_unaligned, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::cpu::bits::{CF, OF, SF, ZF};
use crate::simd::text::{Matches, compare};

/// Compare, set the flags, and give the matches. Memory may be unaligned.
fn matches<E: Encoding>(sys: &mut System, insn: &Instruction, lengths: Option<(u64, u64)>) -> Outcome<Matches> {
    E::enter(sys)?;
    let b = source_unaligned(sys, insn, 1)?;
    let m = compare(xmm(sys, insn.op0_register()), b, insn.immediate8(), lengths);
    let (cf, zf, sf, of) = m.flags();
    let bit = |on: bool, flag: u32| if on { flag } else { 0 };
    set_status_flags(sys, bit(cf, CF) | bit(zf, ZF) | bit(sf, SF) | bit(of, OF));
    Ok(m)
}

/// The lengths in EAX and EDX, or in RAX and RDX: their absolute values.
fn lengths(sys: &System, insn: &Instruction) -> (u64, u64) {
    let wide = matches!(
        insn.code(),
        Code::Pcmpestri64_xmm_xmmm128_imm8
            | Code::Pcmpestrm64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestri64_xmm_xmmm128_imm8
            | Code::VEX_Vpcmpestrm64_xmm_xmmm128_imm8
    );
    let length = |register| {
        let v = sys.register(register);
        if wide { (v as i64).unsigned_abs() } else { (v as i32).unsigned_abs().into() }
    };
    (length(Register::RAX), length(Register::RDX))
}

fn to_index(sys: &mut System, insn: &Instruction, m: Matches) {
    sys.set_register(Register::ECX, m.index(insn.immediate8()).into());
}

fn to_mask<E: Encoding>(sys: &mut System, insn: &Instruction, m: Matches) {
    E::put(sys, Register::XMM0, m.mask(insn.immediate8()));
}

pub(crate) fn pcmpestri<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches::<E>(sys, insn, Some(lengths(sys, insn)))?;
    to_index(sys, insn, m);
    Ok(())
}

pub(crate) fn pcmpestrm<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches::<E>(sys, insn, Some(lengths(sys, insn)))?;
    to_mask::<E>(sys, insn, m);
    Ok(())
}

pub(crate) fn pcmpistri<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches::<E>(sys, insn, None)?;
    to_index(sys, insn, m);
    Ok(())
}

pub(crate) fn pcmpistrm<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    let m = matches::<E>(sys, insn, None)?;
    to_mask::<E>(sys, insn, m);
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pcmpestri_xmm_xmmm128_imm8 | Code::Pcmpestri64_xmm_xmmm128_imm8 => pcmpestri::<Legacy>,
        Code::Pcmpestrm_xmm_xmmm128_imm8 | Code::Pcmpestrm64_xmm_xmmm128_imm8 => pcmpestrm::<Legacy>,
        Code::Pcmpistri_xmm_xmmm128_imm8 => pcmpistri::<Legacy>,
        Code::Pcmpistrm_xmm_xmmm128_imm8 => pcmpistrm::<Legacy>,
        _ => return None,
    })
}
