//! Moves of whole, half and single-element XMM registers, and non-temporal stores [SDM-2B MOV*].

use iced_x86::{Code, Instruction, Register};

use super::super::Exec;
use super::{
    Encoding, Legacy, enter, gpr_source, gpr_store, is_memory, load, masked_store, set_xmm, source, source_unaligned,
    store, store_aligned, xmm,
};
use crate::System;
use crate::cpu::Outcome;

fn load_aligned(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<16>(sys, insn, 1)?;
    set_xmm(sys, insn.op0_register(), b);
    Ok(())
}

fn load_unaligned(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source_unaligned(sys, insn, 1)?;
    set_xmm(sys, insn.op0_register(), b);
    Ok(())
}

/// A whole register to a register or memory of any alignment.
fn store_unaligned(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = xmm(sys, insn.op1_register());
    if is_memory(insn, 0) {
        return store(sys, insn, b);
    }
    set_xmm(sys, insn.op0_register(), b);
    Ok(())
}

/// A whole register to a register or memory on a 16-byte boundary.
fn store_whole(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = xmm(sys, insn.op1_register());
    if is_memory(insn, 0) {
        return store_aligned(sys, insn, b);
    }
    set_xmm(sys, insn.op0_register(), b);
    Ok(())
}

/// MOVSS and MOVSD: from memory the rest becomes zero, from a register it stays.
fn load_element<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<M>(sys, insn, 1)?;
    if is_memory(insn, 1) {
        set_xmm(sys, insn.op0_register(), b);
        return Ok(());
    }
    merge_low::<M>(sys, insn.op0_register(), b);
    Ok(())
}

fn merge_low<const M: usize>(sys: &mut System, register: Register, b: [u8; 16]) {
    let mut a = xmm(sys, register);
    a[..M].copy_from_slice(&b[..M]);
    set_xmm(sys, register, a);
}

fn store_element<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = xmm(sys, insn.op1_register());
    if is_memory(insn, 0) {
        return store::<M>(sys, insn, low(b, 0));
    }
    merge_low::<M>(sys, insn.op0_register(), b);
    Ok(())
}

/// `M` bytes of `v` from byte `at`.
fn low<const M: usize>(v: [u8; 16], at: usize) -> [u8; M] {
    let mut out = [0; M];
    out.copy_from_slice(&v[at..at + M]);
    out
}

/// The low quadword alone: `v` with its upper half zero.
fn quadword(v: [u8; 16]) -> [u8; 16] {
    (u128::from_le_bytes(v) & u128::from(u64::MAX)).to_le_bytes()
}

/// MOVQ xmm, xmm/m64: the upper half becomes zero.
pub(crate) fn movq_load<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let b = source::<8>(sys, insn, 1)?;
    E::put(sys, insn.op0_register(), quadword(b));
    Ok(())
}

pub(crate) fn movq_store<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let b = xmm(sys, insn.op1_register());
    if is_memory(insn, 0) {
        return store::<8>(sys, insn, low(b, 0));
    }
    E::put(sys, insn.op0_register(), quadword(b));
    Ok(())
}

/// MOVLPS, MOVHPS and their kin: a quadword of memory into one half, at byte `AT`.
pub(crate) fn load_half<E: Encoding, const AT: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let b = load::<8>(sys, insn)?;
    let mut a = xmm(sys, insn.op_register(E::FIRST));
    a[AT..AT + 8].copy_from_slice(&b);
    E::put(sys, insn.op0_register(), a);
    Ok(())
}

pub(crate) fn store_half<E: Encoding, const AT: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = xmm(sys, insn.op1_register());
    store::<8>(sys, insn, low(v, AT))
}

pub(crate) fn from_general<E: Encoding, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = gpr_source::<M>(sys, insn, 1)?;
    E::put(sys, insn.op0_register(), u128::from(v).to_le_bytes());
    Ok(())
}

pub(crate) fn to_general<E: Encoding, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = u128::from_le_bytes(xmm(sys, insn.op1_register())) as u64;
    gpr_store::<M>(sys, insn, 0, v)
}

/// MOVNTI is an integer store: neither CR0.TS nor CR4.OSFXSR concerns it.
fn movnti(sys: &mut System, insn: &Instruction) -> Outcome {
    if insn.code() == Code::Movnti_m64_r64 {
        let v = gpr_source::<8>(sys, insn, 1)?;
        return gpr_store::<8>(sys, insn, 0, v);
    }
    let v = gpr_source::<4>(sys, insn, 1)?;
    gpr_store::<4>(sys, insn, 0, v)
}

pub(crate) fn maskmovdqu<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let (data, mask) = (xmm(sys, insn.op1_register()), xmm(sys, insn.op2_register()));
    masked_store(sys, insn, data, mask)
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Movaps_xmm_xmmm128 | Code::Movapd_xmm_xmmm128 | Code::Movdqa_xmm_xmmm128 | Code::Movntdqa_xmm_m128 => {
            load_aligned
        }
        Code::Movups_xmm_xmmm128 | Code::Movupd_xmm_xmmm128 | Code::Movdqu_xmm_xmmm128 | Code::Lddqu_xmm_m128 => {
            load_unaligned
        }
        Code::Movaps_xmmm128_xmm
        | Code::Movapd_xmmm128_xmm
        | Code::Movdqa_xmmm128_xmm
        | Code::Movntps_m128_xmm
        | Code::Movntpd_m128_xmm
        | Code::Movntdq_m128_xmm => store_whole,
        Code::Movups_xmmm128_xmm | Code::Movupd_xmmm128_xmm | Code::Movdqu_xmmm128_xmm => store_unaligned,
        Code::Movss_xmm_xmmm32 => load_element::<4>,
        Code::Movsd_xmm_xmmm64 => load_element::<8>,
        Code::Movss_xmmm32_xmm => store_element::<4>,
        Code::Movsd_xmmm64_xmm => store_element::<8>,
        Code::Movq_xmm_xmmm64 => movq_load::<Legacy>,
        Code::Movq_xmmm64_xmm => movq_store::<Legacy>,
        Code::Movlps_xmm_m64 | Code::Movlpd_xmm_m64 => load_half::<Legacy, 0>,
        Code::Movhps_xmm_m64 | Code::Movhpd_xmm_m64 => load_half::<Legacy, 8>,
        Code::Movlps_m64_xmm | Code::Movlpd_m64_xmm => store_half::<Legacy, 0>,
        Code::Movhps_m64_xmm | Code::Movhpd_m64_xmm => store_half::<Legacy, 8>,
        Code::Movd_xmm_rm32 => from_general::<Legacy, 4>,
        Code::Movq_xmm_rm64 => from_general::<Legacy, 8>,
        Code::Movd_rm32_xmm => to_general::<Legacy, 4>,
        Code::Movq_rm64_xmm => to_general::<Legacy, 8>,
        Code::Movnti_m32_r32 | Code::Movnti_m64_r64 => movnti,
        Code::Maskmovdqu_rDI_xmm_xmm => maskmovdqu::<Legacy>,
        _ => return None,
    })
}
