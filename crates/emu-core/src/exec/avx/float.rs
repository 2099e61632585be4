//! Floating-point arithmetic, comparisons and conversions, those of F16C included [SDM-2].

use iced_x86::{Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::{environment, is_memory, settle};
use super::{Halves, ZERO, each, enter, finish, halves, last_source, mnemonic_table, source, store, width};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::float::packed::*;
use crate::simd::float::{F32, F64, convert};
use crate::simd::lane::{self, Lane};

/// Both sources and the immediate under MXCSR; `M` bytes of the second source for each half.
fn compute<V: Vector, const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome<Halves> {
    enter(sys)?;
    let w = width(insn);
    let b = source::<M>(sys, insn, last_source(insn), w)?;
    let a = halves(sys, insn.op1_register());
    let mut env = environment(sys);
    let imm = insn.immediate8();
    let r = V::both(a, b, w == 2, imm, &mut env);
    settle(sys, &env)?;
    Ok(r)
}

fn vector<V: Vector>(sys: &mut System, insn: &Instruction) -> Outcome {
    let r = match V::SOURCE {
        4 => compute::<V, 4>(sys, insn)?,
        8 => compute::<V, 8>(sys, insn)?,
        _ => compute::<V, 16>(sys, insn)?,
    };
    finish(sys, insn, r)
}

/// The low half of `high` above the low half of `low`.
fn joined([low, high]: Halves) -> Halves {
    [lane::build(|i| u64::get(if i == 0 { &low } else { &high }, 0)), ZERO]
}

/// Conversions to elements of half the size: the results of both halves make up an XMM register.
fn narrowing<V: Vector>(sys: &mut System, insn: &Instruction) -> Outcome {
    let r = compute::<V, 16>(sys, insn)?;
    finish(sys, insn, joined(r))
}

fn from_halves(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let b = source::<8>(sys, insn, 1, w)?;
    let mut env = environment(sys);
    let r = each(w, |h| lane::build(|i| convert::from_half(u16::get(&b[h], i).into(), &mut env) as u32));
    settle(sys, &env)?;
    finish(sys, insn, r)
}

fn to_halves(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let (w, imm) = (width(insn), insn.immediate8());
    let b = halves(sys, insn.op1_register());
    let mut env = environment(sys);
    let r = joined(each(w, |h| {
        lane::build(|i| if i < 4 { convert::to_half(u32::get(&b[h], i).into(), imm, &mut env) as u16 } else { 0 })
    }));
    let memory = is_memory(insn, 0);
    if memory {
        // A fault of the store comes before one of the numbers.
        let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
        sys.probe(segment, offset, 8 * w as u64, true)?;
    }
    settle(sys, &env)?;
    if memory { store(sys, insn, r, 8 * w) } else { finish(sys, insn, r) }
}

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    match mnemonic {
        Mnemonic::Vcvtph2ps => Some(from_halves),
        Mnemonic::Vcvtps2ph => Some(to_halves),
        _ => arithmetic(mnemonic),
    }
}

#[rustfmt::skip]
fn arithmetic(mnemonic: Mnemonic) -> Option<Exec> {
    mnemonic_table!(mnemonic;
        vector {
            Vaddps => Packed<F32, Add>,
            Vaddpd => Packed<F64, Add>,
            Vaddss => Scalar<F32, Add>,
            Vaddsd => Scalar<F64, Add>,
            Vsubps => Packed<F32, Sub>,
            Vsubpd => Packed<F64, Sub>,
            Vsubss => Scalar<F32, Sub>,
            Vsubsd => Scalar<F64, Sub>,
            Vmulps => Packed<F32, Mul>,
            Vmulpd => Packed<F64, Mul>,
            Vmulss => Scalar<F32, Mul>,
            Vmulsd => Scalar<F64, Mul>,
            Vdivps => Packed<F32, Div>,
            Vdivpd => Packed<F64, Div>,
            Vdivss => Scalar<F32, Div>,
            Vdivsd => Scalar<F64, Div>,
            Vminps => Packed<F32, Min>,
            Vminpd => Packed<F64, Min>,
            Vminss => Scalar<F32, Min>,
            Vminsd => Scalar<F64, Min>,
            Vmaxps => Packed<F32, Max>,
            Vmaxpd => Packed<F64, Max>,
            Vmaxss => Scalar<F32, Max>,
            Vmaxsd => Scalar<F64, Max>,
            Vsqrtps => Packed<F32, Sqrt>,
            Vsqrtpd => Packed<F64, Sqrt>,
            Vsqrtss => Scalar<F32, Sqrt>,
            Vsqrtsd => Scalar<F64, Sqrt>,
            Vcmpps => Packed<F32, CompareVex>,
            Vcmppd => Packed<F64, CompareVex>,
            Vcmpss => Scalar<F32, CompareVex>,
            Vcmpsd => Scalar<F64, CompareVex>,
            Vroundps => Packed<F32, Round>,
            Vroundpd => Packed<F64, Round>,
            Vroundss => Scalar<F32, Round>,
            Vroundsd => Scalar<F64, Round>,
            Vrcpps => Packed<F32, Rcp>,
            Vrcpss => Scalar<F32, Rcp>,
            Vrsqrtps => Packed<F32, Rsqrt>,
            Vrsqrtss => Scalar<F32, Rsqrt>,
            Vhaddps => HorizontalAdd<F32>,
            Vhaddpd => HorizontalAdd<F64>,
            Vhsubps => HorizontalSub<F32>,
            Vhsubpd => HorizontalSub<F64>,
            Vaddsubps => AddSub<F32>,
            Vaddsubpd => AddSub<F64>,
            Vdpps => DotProduct<F32>,
            Vdppd => DotProduct<F64>,
            Vcvtps2pd => SinglesToDoubles,
            Vcvtss2sd => SingleToDouble,
            Vcvtsd2ss => DoubleToSingle,
            Vcvtdq2ps => IntegersToSingles,
            Vcvtdq2pd => IntegersToDoubles,
            Vcvtps2dq => SinglesToIntegers,
            Vcvttps2dq => SinglesTruncated,
        }
        narrowing {
            Vcvtpd2ps => DoublesToSingles,
            Vcvtpd2dq => DoublesToIntegers,
            Vcvttpd2dq => DoublesTruncated,
        }
    )
}
