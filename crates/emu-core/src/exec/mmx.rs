//! MMX, and the instructions of later extensions that work on its registers [SDM-1 chapter 9; SDM-2B].
//!
//! MMn is the significand of physical x87 register n. Every instruction but EMMS marks all x87 registers as in use
//! and sets TOP to 0 [SDM-1 9.5.1].

use iced_x86::{Code, Instruction, OpKind};

use super::Exec;
use super::sse::{
    self, environment, exec_table, gpr_source, gpr_store, is_memory, load, masked_store, set_xmm, settle, source,
    store, xmm,
};
use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_TS};
use crate::cpu::{Fault, Outcome};
use crate::simd::float::packed::{
    DoublesToIntegers, DoublesTruncated, IntegersToDoubles, PairToSingles, SinglesToPair, SinglesTruncatedToPair,
    Vector,
};
use crate::simd::shift::Shift;
use crate::simd::{Binary, BinaryImm, int, lane, shift, shuffle, widen};

/// The faults common to all: #UD if MMX is switched off, #NM after a task switch, #MF if an x87 exception waits.
fn check(sys: &System) -> Outcome {
    if sys.cpu.cr0 & CR0_EM != 0 {
        return Err(Fault::UD);
    }
    if sys.cpu.cr0 & CR0_TS != 0 {
        return Err(Fault::NM);
    }
    sys.x87_pending()
}

/// MM register of operand `op`.
fn register(insn: &Instruction, op: u32) -> u8 {
    insn.op_register(op).number() as u8
}

fn mm(sys: &System, insn: &Instruction, op: u32) -> [u8; 8] {
    sys.cpu.fpu.mm(register(insn, op)).to_le_bytes()
}

/// The end of every instruction that succeeds, writing MMX register operand `op`.
fn set_mm(sys: &mut System, insn: &Instruction, op: u32, v: [u8; 8]) {
    sys.cpu.fpu.enter_mmx();
    sys.cpu.fpu.set_mm(register(insn, op), u64::from_le_bytes(v));
}

/// Operand `op`: an MMX register or `M` bytes of memory.
fn mm_source<const M: usize>(sys: &mut System, insn: &Instruction, op: u32) -> Outcome<[u8; 8]> {
    if !is_memory(insn, op) {
        return Ok(mm(sys, insn, op));
    }
    let mut v = [0; 8];
    v[..M].copy_from_slice(&load::<M>(sys, insn)?);
    Ok(v)
}

fn sized<O: Binary, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let b = mm_source::<M>(sys, insn, 1)?;
    let r = O::apply(mm(sys, insn, 0), b);
    set_mm(sys, insn, 0, r);
    Ok(())
}

fn binary<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 8>(sys, insn)
}

/// PUNPCKLxx reads only half a register's worth of memory.
fn low_half<O: Binary>(sys: &mut System, insn: &Instruction) -> Outcome {
    sized::<O, 4>(sys, insn)
}

fn controlled<O: BinaryImm>(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let b = mm_source::<8>(sys, insn, 1)?;
    let r = O::apply(mm(sys, insn, 0), b, insn.immediate8());
    set_mm(sys, insn, 0, r);
    Ok(())
}

/// The count is an immediate, or a whole MMX register or quadword of memory.
fn shift<O: Shift>(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let count = match insn.op1_kind() {
        OpKind::Immediate8 => insn.immediate8().into(),
        _ => u64::from_le_bytes(mm_source::<8>(sys, insn, 1)?),
    };
    let r = O::shift(mm(sys, insn, 0), count);
    set_mm(sys, insn, 0, r);
    Ok(())
}

/// MOVD and MOVQ from a general register or memory.
fn from_general<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = gpr_source::<M>(sys, insn, 1)?;
    set_mm(sys, insn, 0, v.to_le_bytes());
    Ok(())
}

/// MOVD and MOVQ to a general register or memory.
fn to_general<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = u64::from_le_bytes(mm(sys, insn, 1));
    gpr_store::<M>(sys, insn, 0, v)?;
    sys.cpu.fpu.enter_mmx();
    Ok(())
}

fn movq_load(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = mm_source::<8>(sys, insn, 1)?;
    set_mm(sys, insn, 0, v);
    Ok(())
}

/// MOVQ and MOVNTQ to memory, MOVQ to a register.
fn movq_store(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = mm(sys, insn, 1);
    if is_memory(insn, 0) {
        store::<8>(sys, insn, v)?;
        sys.cpu.fpu.enter_mmx();
    } else {
        set_mm(sys, insn, 0, v);
    }
    Ok(())
}

fn emms(sys: &mut System, _insn: &Instruction) -> Outcome {
    check(sys)?;
    sys.cpu.fpu.empty_mmx();
    Ok(())
}

fn pinsrw(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = gpr_source::<2>(sys, insn, 1)? as u16;
    let mut a = mm(sys, insn, 0);
    lane::Lane::put(v, &mut a, usize::from(insn.immediate8() & 3));
    set_mm(sys, insn, 0, a);
    Ok(())
}

fn pextrw(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v: u16 = lane::Lane::get(&mm(sys, insn, 1), usize::from(insn.immediate8() & 3));
    sys.cpu.fpu.enter_mmx();
    sys.set_register(insn.op0_register(), v.into());
    Ok(())
}

fn pmovmskb(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let v = lane::sign_mask::<u8, 8>(mm(sys, insn, 1));
    sys.cpu.fpu.enter_mmx();
    sys.set_register(insn.op0_register(), v.into());
    Ok(())
}

fn maskmovq(sys: &mut System, insn: &Instruction) -> Outcome {
    check(sys)?;
    let (data, mask) = (mm(sys, insn, 1), mm(sys, insn, 2));
    masked_store(sys, insn, data, mask)?;
    sys.cpu.fpu.enter_mmx();
    Ok(())
}

/// An MMX register's worth in the low half of an XMM register's.
fn widened(v: [u8; 8]) -> [u8; 16] {
    u128::from(u64::from_le_bytes(v)).to_le_bytes()
}

fn narrowed(v: [u8; 16]) -> [u8; 8] {
    (u128::from_le_bytes(v) as u64).to_le_bytes()
}

fn movq2dq(sys: &mut System, insn: &Instruction) -> Outcome {
    sse::enter(sys)?;
    check(sys)?;
    let v = widened(mm(sys, insn, 1));
    sys.cpu.fpu.enter_mmx();
    set_xmm(sys, insn.op0_register(), v);
    Ok(())
}

fn movdq2q(sys: &mut System, insn: &Instruction) -> Outcome {
    sse::enter(sys)?;
    check(sys)?;
    let v = narrowed(xmm(sys, insn.op1_register()));
    set_mm(sys, insn, 0, v);
    Ok(())
}

/// CVTPI2PS and CVTPI2PD. Only a source in an MMX register makes the unit enter MMX operation.
fn from_integers<V: Vector>(sys: &mut System, insn: &Instruction) -> Outcome {
    sse::enter(sys)?;
    check(sys)?;
    let b = widened(mm_source::<8>(sys, insn, 1)?);
    if !is_memory(insn, 1) {
        sys.cpu.fpu.enter_mmx();
    }
    let mut env = environment(sys);
    let r = V::apply(xmm(sys, insn.op0_register()), b, 0, &mut env);
    settle(sys, &env)?;
    set_xmm(sys, insn.op0_register(), r);
    Ok(())
}

/// CVTPS2PI, CVTPD2PI and their truncating forms.
fn to_integers<V: Vector>(sys: &mut System, insn: &Instruction) -> Outcome {
    sse::enter(sys)?;
    check(sys)?;
    let b = if V::SOURCE == 8 { source::<8>(sys, insn, 1)? } else { source::<16>(sys, insn, 1)? };
    let mut env = environment(sys);
    let r = V::apply([0; 16], b, 0, &mut env);
    settle(sys, &env)?;
    set_mm(sys, insn, 0, narrowed(r));
    Ok(())
}

/// The function that executes `code`, if it is one of this module's.
pub(crate) fn lookup(code: Code) -> Option<Exec> {
    arithmetic(code).or_else(|| moves(code))
}

#[rustfmt::skip]
fn arithmetic(code: Code) -> Option<Exec> {
    exec_table!(code;
        low_half {
            Punpcklbw_mm_mmm32 => shuffle::Punpcklbw,
            Punpcklwd_mm_mmm32 => shuffle::Punpcklwd,
            Punpckldq_mm_mmm32 => shuffle::Punpckldq,
        }
        binary {
            Packsswb_mm_mmm64 => shuffle::Packsswb,
            Pcmpgtb_mm_mmm64 => int::Pcmpgtb,
            Pcmpgtw_mm_mmm64 => int::Pcmpgtw,
            Pcmpgtd_mm_mmm64 => int::Pcmpgtd,
            Packuswb_mm_mmm64 => shuffle::Packuswb,
            Punpckhbw_mm_mmm64 => shuffle::Punpckhbw,
            Punpckhwd_mm_mmm64 => shuffle::Punpckhwd,
            Punpckhdq_mm_mmm64 => shuffle::Punpckhdq,
            Packssdw_mm_mmm64 => shuffle::Packssdw,
            Pcmpeqb_mm_mmm64 => int::Pcmpeqb,
            Pcmpeqw_mm_mmm64 => int::Pcmpeqw,
            Pcmpeqd_mm_mmm64 => int::Pcmpeqd,
            Paddq_mm_mmm64 => int::Paddq,
            Pmullw_mm_mmm64 => int::Pmullw,
            Psubusb_mm_mmm64 => int::Psubusb,
            Psubusw_mm_mmm64 => int::Psubusw,
            Pminub_mm_mmm64 => int::Pminub,
            Pand_mm_mmm64 => int::Pand,
            Paddusb_mm_mmm64 => int::Paddusb,
            Paddusw_mm_mmm64 => int::Paddusw,
            Pmaxub_mm_mmm64 => int::Pmaxub,
            Pandn_mm_mmm64 => int::Pandn,
            Pavgb_mm_mmm64 => int::Pavgb,
            Pavgw_mm_mmm64 => int::Pavgw,
            Pmulhuw_mm_mmm64 => int::Pmulhuw,
            Pmulhw_mm_mmm64 => int::Pmulhw,
            Psubsb_mm_mmm64 => int::Psubsb,
            Psubsw_mm_mmm64 => int::Psubsw,
            Pminsw_mm_mmm64 => int::Pminsw,
            Por_mm_mmm64 => int::Por,
            Paddsb_mm_mmm64 => int::Paddsb,
            Paddsw_mm_mmm64 => int::Paddsw,
            Pmaxsw_mm_mmm64 => int::Pmaxsw,
            Pxor_mm_mmm64 => int::Pxor,
            Pmuludq_mm_mmm64 => widen::Pmuludq,
            Pmaddwd_mm_mmm64 => widen::Pmaddwd,
            Psadbw_mm_mmm64 => widen::Psadbw,
            Psubb_mm_mmm64 => int::Psubb,
            Psubw_mm_mmm64 => int::Psubw,
            Psubd_mm_mmm64 => int::Psubd,
            Psubq_mm_mmm64 => int::Psubq,
            Paddb_mm_mmm64 => int::Paddb,
            Paddw_mm_mmm64 => int::Paddw,
            Paddd_mm_mmm64 => int::Paddd,
            Pshufb_mm_mmm64 => shuffle::Pshufb,
            Phaddw_mm_mmm64 => widen::Phaddw,
            Phaddd_mm_mmm64 => widen::Phaddd,
            Phaddsw_mm_mmm64 => widen::Phaddsw,
            Pmaddubsw_mm_mmm64 => widen::Pmaddubsw,
            Phsubw_mm_mmm64 => widen::Phsubw,
            Phsubd_mm_mmm64 => widen::Phsubd,
            Phsubsw_mm_mmm64 => widen::Phsubsw,
            Psignb_mm_mmm64 => int::Psignb,
            Psignw_mm_mmm64 => int::Psignw,
            Psignd_mm_mmm64 => int::Psignd,
            Pmulhrsw_mm_mmm64 => int::Pmulhrsw,
            Pabsb_mm_mmm64 => int::Pabsb,
            Pabsw_mm_mmm64 => int::Pabsw,
            Pabsd_mm_mmm64 => int::Pabsd,
        }
        controlled {
            Pshufw_mm_mmm64_imm8 => shuffle::Pshufw,
            Palignr_mm_mmm64_imm8 => shuffle::Palignr,
        }
        shift {
            Psllw_mm_mmm64 => shift::Psllw,
            Psllw_mm_imm8 => shift::Psllw,
            Pslld_mm_mmm64 => shift::Pslld,
            Pslld_mm_imm8 => shift::Pslld,
            Psllq_mm_mmm64 => shift::Psllq,
            Psllq_mm_imm8 => shift::Psllq,
            Psrlw_mm_mmm64 => shift::Psrlw,
            Psrlw_mm_imm8 => shift::Psrlw,
            Psrld_mm_mmm64 => shift::Psrld,
            Psrld_mm_imm8 => shift::Psrld,
            Psrlq_mm_mmm64 => shift::Psrlq,
            Psrlq_mm_imm8 => shift::Psrlq,
            Psraw_mm_mmm64 => shift::Psraw,
            Psraw_mm_imm8 => shift::Psraw,
            Psrad_mm_mmm64 => shift::Psrad,
            Psrad_mm_imm8 => shift::Psrad,
        }
        from_integers {
            Cvtpi2ps_xmm_mmm64 => PairToSingles,
            Cvtpi2pd_xmm_mmm64 => IntegersToDoubles,
        }
        to_integers {
            Cvtps2pi_mm_xmmm64 => SinglesToPair,
            Cvttps2pi_mm_xmmm64 => SinglesTruncatedToPair,
            Cvtpd2pi_mm_xmmm128 => DoublesToIntegers,
            Cvttpd2pi_mm_xmmm128 => DoublesTruncated,
        }
    )
}

fn moves(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Movd_mm_rm32 => from_general::<4>,
        Code::Movq_mm_rm64 => from_general::<8>,
        Code::Movd_rm32_mm => to_general::<4>,
        Code::Movq_rm64_mm => to_general::<8>,
        Code::Movq_mm_mmm64 => movq_load,
        Code::Movq_mmm64_mm | Code::Movntq_m64_mm => movq_store,
        Code::Emms => emms,
        Code::Pinsrw_mm_r32m16_imm8 | Code::Pinsrw_mm_r64m16_imm8 => pinsrw,
        Code::Pextrw_r32_mm_imm8 | Code::Pextrw_r64_mm_imm8 => pextrw,
        Code::Pmovmskb_r32_mm | Code::Pmovmskb_r64_mm => pmovmskb,
        Code::Maskmovq_rDI_mm_mm => maskmovq,
        Code::Movq2dq_xmm_mm => movq2dq,
        Code::Movdq2q_mm_xmm => movdq2q,
        _ => return None,
    })
}
