//! Moves of registers, halves and single elements, conversions from and to general registers, and VZEROUPPER
//! [SDM-2B MOV*, SDM-2C VZEROALL].

use iced_x86::{Code, Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::{self, is_memory, xmm};
use super::{Vex, ZERO, enter, finish, halves, require_alignment, source, store, width};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::float::{F32, F64};

/// A whole register from a register or memory, or to one of them. `ALIGNED`: memory must be.
fn whole<const ALIGNED: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    if is_memory(insn, 0) {
        if ALIGNED {
            require_alignment(sys, insn, 16 * w, true)?;
        }
        let v = halves(sys, insn.op1_register());
        return store(sys, insn, v, 16 * w);
    }
    if ALIGNED && is_memory(insn, 1) {
        require_alignment(sys, insn, 16 * w, false)?;
    }
    let v = source::<16>(sys, insn, 1, w)?;
    finish(sys, insn, v)
}

/// VMOVSS and VMOVSD: to or from memory one element, with zeros above it in a register; between registers the element of
/// the third operand in the rest of the second.
fn element<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    if is_memory(insn, 0) {
        let v = xmm(sys, insn.op1_register());
        return sse::store::<M>(sys, insn, core::array::from_fn(|i| v[i]));
    }
    if is_memory(insn, 1) {
        let v = source::<M>(sys, insn, 1, 1)?;
        return finish(sys, insn, v);
    }
    let (mut a, b) = (xmm(sys, insn.op1_register()), xmm(sys, insn.op2_register()));
    a[..M].copy_from_slice(&b[..M]);
    finish(sys, insn, [a, ZERO])
}

/// How many vector registers the mode has.
fn registers(sys: &System) -> usize {
    if sys.cpu.mode.is_64() { 16 } else { 8 }
}

fn vzeroupper(sys: &mut System, _: &Instruction) -> Outcome {
    enter(sys)?;
    let n = registers(sys);
    sys.cpu.ymm_high[..n].fill(0);
    Ok(())
}

fn vzeroall(sys: &mut System, insn: &Instruction) -> Outcome {
    vzeroupper(sys, insn)?;
    let n = registers(sys);
    sys.cpu.xmm[..n].fill(0);
    Ok(())
}

/// Two quadwords of registers, and a half of memory: VMOVLPS, VMOVHPS and their kin.
fn half<const AT: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    if is_memory(insn, 0) {
        sse::moves::store_half::<Vex, AT>(sys, insn)
    } else {
        sse::moves::load_half::<Vex, AT>(sys, insn)
    }
}

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vmovaps | Vmovapd | Vmovdqa | Vmovntps | Vmovntpd | Vmovntdq | Vmovntdqa => whole::<true>,
        Vmovups | Vmovupd | Vmovdqu | Vlddqu => whole::<false>,
        Vmovss => element::<4>,
        Vmovsd => element::<8>,
        Vmovlps | Vmovlpd => half::<0>,
        Vmovhps | Vmovhpd => half::<8>,
        Vzeroupper => vzeroupper,
        Vzeroall => vzeroall,
        Vmaskmovdqu => sse::moves::maskmovdqu::<Vex>,
        Vldmxcsr => sse::control::ldmxcsr::<Vex>,
        Vstmxcsr => sse::control::stmxcsr::<Vex>,
        Vcomiss => sse::compare::comi::<Vex, F32, true>,
        Vcomisd => sse::compare::comi::<Vex, F64, true>,
        Vucomiss => sse::compare::comi::<Vex, F32, false>,
        Vucomisd => sse::compare::comi::<Vex, F64, false>,
        Vpinsrb => sse::element::insert::<Vex, 1>,
        Vpinsrw => sse::element::insert::<Vex, 2>,
        Vpinsrd => sse::element::insert::<Vex, 4>,
        Vpinsrq => sse::element::insert::<Vex, 8>,
        Vpextrb => sse::element::extract::<Vex, 1>,
        Vpextrw => sse::element::extract::<Vex, 2>,
        Vpextrd | Vextractps => sse::element::extract::<Vex, 4>,
        Vpextrq => sse::element::extract::<Vex, 8>,
        _ => return None,
    })
}

/// Mnemonics that stand for several operand sizes.
pub(super) fn by_code(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        VEX_Vmovd_xmm_rm32 => sse::moves::from_general::<Vex, 4>,
        VEX_Vmovq_xmm_rm64 => sse::moves::from_general::<Vex, 8>,
        VEX_Vmovd_rm32_xmm => sse::moves::to_general::<Vex, 4>,
        VEX_Vmovq_rm64_xmm => sse::moves::to_general::<Vex, 8>,
        VEX_Vmovq_xmm_xmmm64 => sse::moves::movq_load::<Vex>,
        VEX_Vmovq_xmmm64_xmm => sse::moves::movq_store::<Vex>,
        VEX_Vcvtsi2ss_xmm_xmm_rm32 => sse::convert::from_general::<Vex, F32, 4>,
        VEX_Vcvtsi2ss_xmm_xmm_rm64 => sse::convert::from_general::<Vex, F32, 8>,
        VEX_Vcvtsi2sd_xmm_xmm_rm32 => sse::convert::from_general::<Vex, F64, 4>,
        VEX_Vcvtsi2sd_xmm_xmm_rm64 => sse::convert::from_general::<Vex, F64, 8>,
        VEX_Vcvtss2si_r32_xmmm32 => sse::convert::to_general::<Vex, F32, 32, false>,
        VEX_Vcvtss2si_r64_xmmm32 => sse::convert::to_general::<Vex, F32, 64, false>,
        VEX_Vcvtsd2si_r32_xmmm64 => sse::convert::to_general::<Vex, F64, 32, false>,
        VEX_Vcvtsd2si_r64_xmmm64 => sse::convert::to_general::<Vex, F64, 64, false>,
        VEX_Vcvttss2si_r32_xmmm32 => sse::convert::to_general::<Vex, F32, 32, true>,
        VEX_Vcvttss2si_r64_xmmm32 => sse::convert::to_general::<Vex, F32, 64, true>,
        VEX_Vcvttsd2si_r32_xmmm64 => sse::convert::to_general::<Vex, F64, 32, true>,
        VEX_Vcvttsd2si_r64_xmmm64 => sse::convert::to_general::<Vex, F64, 64, true>,
        _ => return None,
    })
}
