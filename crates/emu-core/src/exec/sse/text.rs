//! SSE4.2's string comparisons and CRC32 [SDM-2A CRC32; SDM-2B PCMPESTRI...].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{enter, gpr_source, set_status_flags, set_xmm, source_unaligned, xmm};
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

/// The polynomial 11EDC6F41H, bits reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// CRC-32C of `M` more bytes, without the usual inversions.
fn crc<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    let data = gpr_source::<M>(sys, insn, 1)?;
    let mut crc = sys.register(insn.op0_register()) as u32;
    for byte in &data.to_le_bytes()[..M] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL * (crc & 1));
        }
    }
    sys.set_register(insn.op0_register(), crc.into());
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pcmpestri_xmm_xmmm128_imm8 | Code::Pcmpestri64_xmm_xmmm128_imm8 => pcmpestri,
        Code::Pcmpestrm_xmm_xmmm128_imm8 | Code::Pcmpestrm64_xmm_xmmm128_imm8 => pcmpestrm,
        Code::Pcmpistri_xmm_xmmm128_imm8 => pcmpistri,
        Code::Pcmpistrm_xmm_xmmm128_imm8 => pcmpistrm,
        Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => crc::<1>,
        Code::Crc32_r32_rm16 => crc::<2>,
        Code::Crc32_r32_rm32 => crc::<4>,
        Code::Crc32_r64_rm64 => crc::<8>,
        _ => return None,
    })
}
