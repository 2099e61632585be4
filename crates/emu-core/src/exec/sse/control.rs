//! MXCSR, fences and prefetches [SDM-2A LDMXCSR, LFENCE; SDM-2B PREFETCHh, STMXCSR].

use iced_x86::{Code, Instruction};

use super::super::Exec;
use super::{Encoding, Legacy, load, store};
use crate::System;
use crate::cpu::{Fault, Outcome};
use crate::simd::float::env::WRITABLE;

pub(crate) fn ldmxcsr<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = u32::from_le_bytes(load(sys, insn)?);
    if v & !WRITABLE != 0 {
        return Err(Fault::gp(0));
    }
    // A flag that is loaded together with its exception unmasked raises nothing [SDM-1 10.2.3].
    sys.cpu.mxcsr = v;
    Ok(())
}

pub(crate) fn stmxcsr<E: Encoding>(sys: &mut System, insn: &Instruction) -> Outcome {
    E::enter(sys)?;
    let v = sys.cpu.mxcsr;
    store(sys, insn, v.to_le_bytes())
}

/// Memory is always in program order here, and prefetching changes nothing that a program can see.
fn nothing(_sys: &mut System, _insn: &Instruction) -> Outcome {
    Ok(())
}

#[rustfmt::skip]
pub(super) fn lookup(code: Code) -> Option<Exec> {
    use Code::*;
    Some(match code {
        Ldmxcsr_m32 => ldmxcsr::<Legacy>,
        Stmxcsr_m32 => stmxcsr::<Legacy>,
        Lfence | Lfence_E9 | Lfence_EA | Lfence_EB | Lfence_EC | Lfence_ED | Lfence_EE | Lfence_EF
        | Mfence | Mfence_F1 | Mfence_F2 | Mfence_F3 | Mfence_F4 | Mfence_F5 | Mfence_F6 | Mfence_F7
        | Sfence | Sfence_F9 | Sfence_FA | Sfence_FB | Sfence_FC | Sfence_FD | Sfence_FE | Sfence_FF
        | Prefetchnta_m8 | Prefetcht0_m8 | Prefetcht1_m8 | Prefetcht2_m8 => nothing,
        _ => return None,
    })
}
