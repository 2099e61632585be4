//! Comparisons that answer in EFLAGS [SDM-2A COMISS, SDM-2B PTEST, UCOMISS].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{Encoding, Legacy, enter, environment, set_status_flags, settle, source, xmm};
use crate::System;
use crate::cpu::Outcome;
use crate::cpu::bits::{CF, PF, ZF};
use crate::simd::float::packed::relate_low;
use crate::simd::float::{F32, F64, Format, compare};

/// COMISS (`SIGNALS`: a quiet NaN raises IE) and UCOMISS.
pub(crate) fn comi<E: Encoding, F: Format, const SIGNALS: bool>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let b = if F::WIDTH == 32 { source::<4>(sys, insn, 1)? } else { source::<8>(sys, insn, 1)? };
    let mut env = environment(sys);
    let relation = relate_low::<F>(xmm(sys, insn.op0_register()), b, SIGNALS, &mut env);
    settle(sys, &env)?;
    let (zf, pf, cf) = compare::comparison_flags(relation);
    set_status_flags(sys, (u32::from(zf) * ZF) | (u32::from(pf) * PF) | (u32::from(cf) * CF));
    Ok(())
}

/// ZF: no common bit; CF: no bit of the source outside of the destination.
fn ptest(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = u128::from_le_bytes(source::<16>(sys, insn, 1)?);
    let a = u128::from_le_bytes(xmm(sys, insn.op0_register()));
    set_status_flags(sys, (u32::from(a & b == 0) * ZF) | (u32::from(!a & b == 0) * CF));
    Ok(())
}

pub(super) fn lookup(code: Code) -> Option<Exec> {
    Some(match code {
        Code::Comiss_xmm_xmmm32 => comi::<Legacy, F32, true>,
        Code::Comisd_xmm_xmmm64 => comi::<Legacy, F64, true>,
        Code::Ucomiss_xmm_xmmm32 => comi::<Legacy, F32, false>,
        Code::Ucomisd_xmm_xmmm64 => comi::<Legacy, F64, false>,
        Code::Ptest_xmm_xmmm128 => ptest,
        _ => return None,
    })
}
