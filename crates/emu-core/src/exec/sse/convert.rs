//! Conversions between XMM and general registers [SDM-2A CVTSI2SS, CVTSS2SI and their kin].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{Encoding, Legacy, environment, gpr_source, settle, source, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::float::env::Rounding;
use crate::simd::float::{F32, F64, Format, convert};

/// A general register or memory of `M` bytes to the low element of format `F`.
pub(crate) fn from_general<E: Encoding, F: Format, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = gpr_source::<M>(sys, insn, E::SECOND)?;
    let v = if M == 4 { i64::from(v as i32) } else { v as i64 };
    let mut env = environment(sys);
    let r = convert::from_int::<F>(v, &mut env);
    settle(sys, &env)?;
    let mut a = xmm(sys, insn.op_register(E::FIRST));
    F::put(r, &mut a, 0);
    E::put(sys, insn.op0_register(), a);
    Ok(())
}

/// The low element to a general register of `BITS`, rounded by MXCSR or, with `TRUNCATE`, towards zero.
pub(crate) fn to_general<E: Encoding, F: Format, const BITS: u32, const TRUNCATE: bool>(
    sys: &mut System,
    insn: &Instruction,
) -> Outcome {
    E::enter(sys)?;
    let b = if F::WIDTH == 32 { source::<4>(sys, insn, 1)? } else { source::<8>(sys, insn, 1)? };
    let mut env = environment(sys);
    let mode = if TRUNCATE { Rounding::Zero } else { env.rounding() };
    let r = convert::to_int::<F>(F::get(&b, 0), BITS, mode, &mut env);
    settle(sys, &env)?;
    sys.set_register(insn.op0_register(), if BITS == 32 { u64::from(r as u32) } else { r as u64 });
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Cvtsi2ss_xmm_rm32 => from_general::<Legacy, F32, 4>,
        Code::Cvtsi2ss_xmm_rm64 => from_general::<Legacy, F32, 8>,
        Code::Cvtsi2sd_xmm_rm32 => from_general::<Legacy, F64, 4>,
        Code::Cvtsi2sd_xmm_rm64 => from_general::<Legacy, F64, 8>,
        Code::Cvtss2si_r32_xmmm32 => to_general::<Legacy, F32, 32, false>,
        Code::Cvtss2si_r64_xmmm32 => to_general::<Legacy, F32, 64, false>,
        Code::Cvtsd2si_r32_xmmm64 => to_general::<Legacy, F64, 32, false>,
        Code::Cvtsd2si_r64_xmmm64 => to_general::<Legacy, F64, 64, false>,
        Code::Cvttss2si_r32_xmmm32 => to_general::<Legacy, F32, 32, true>,
        Code::Cvttss2si_r64_xmmm32 => to_general::<Legacy, F32, 64, true>,
        Code::Cvttsd2si_r32_xmmm64 => to_general::<Legacy, F64, 32, true>,
        Code::Cvttsd2si_r64_xmmm64 => to_general::<Legacy, F64, 64, true>,
        _ => return None,
    })
}
