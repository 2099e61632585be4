//! Single elements between XMM and general registers or memory, and sign masks [SDM-2B PEXTR*, PINSR*, MOVMSK*].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{Encoding, Legacy, enter, gpr_source, gpr_store, is_memory, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::lane;

/// Offset of the element of `M` bytes that the immediate chooses; its high bits are ignored.
fn offset<const M: usize>(insn: &Instruction) -> usize {
    usize::from(insn.immediate8()) % (16 / M) * M
}

pub(crate) fn insert<E: Encoding, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = gpr_source::<M>(sys, insn, E::SECOND)?;
    let mut a = xmm(sys, insn.op_register(E::FIRST));
    a[offset::<M>(insn)..][..M].copy_from_slice(&v.to_le_bytes()[..M]);
    E::put(sys, insn.op0_register(), a);
    Ok(())
}

/// To memory: the element. To a register: the element zero-extended to all of it.
pub(crate) fn extract<E: Encoding, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let mut v = [0; 8];
    v[..M].copy_from_slice(&xmm(sys, insn.op1_register())[offset::<M>(insn)..][..M]);
    let v = u64::from_le_bytes(v);
    if is_memory(insn, 0) {
        return gpr_store::<M>(sys, insn, 0, v);
    }
    sys.set_register(insn.op0_register(), v);
    Ok(())
}

fn mask<T: lane::Lane>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = lane::sign_mask::<T, 16>(xmm(sys, insn.op1_register()));
    sys.set_register(insn.op0_register(), v.into());
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Pinsrb_xmm_r32m8_imm8 | Code::Pinsrb_xmm_r64m8_imm8 => insert::<Legacy, 1>,
        Code::Pinsrw_xmm_r32m16_imm8 | Code::Pinsrw_xmm_r64m16_imm8 => insert::<Legacy, 2>,
        Code::Pinsrd_xmm_rm32_imm8 => insert::<Legacy, 4>,
        Code::Pinsrq_xmm_rm64_imm8 => insert::<Legacy, 8>,
        Code::Pextrb_r32m8_xmm_imm8 | Code::Pextrb_r64m8_xmm_imm8 => extract::<Legacy, 1>,
        Code::Pextrw_r32_xmm_imm8
        | Code::Pextrw_r64_xmm_imm8
        | Code::Pextrw_r32m16_xmm_imm8
        | Code::Pextrw_r64m16_xmm_imm8 => extract::<Legacy, 2>,
        Code::Pextrd_rm32_xmm_imm8 | Code::Extractps_rm32_xmm_imm8 | Code::Extractps_r64m32_xmm_imm8 => {
            extract::<Legacy, 4>
        }
        Code::Pextrq_rm64_xmm_imm8 => extract::<Legacy, 8>,
        Code::Movmskps_r32_xmm | Code::Movmskps_r64_xmm => mask::<u32>,
        Code::Movmskpd_r32_xmm | Code::Movmskpd_r64_xmm => mask::<u64>,
        Code::Pmovmskb_r32_xmm | Code::Pmovmskb_r64_xmm => mask::<u8>,
        _ => return None,
    })
}
