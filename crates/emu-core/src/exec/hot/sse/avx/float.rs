//! Floating-point arithmetic by the host's, while MXCSR is in its default mode with PE set.

use core::marker::PhantomData;

use iced_x86::{Code, Mnemonic};

use super::super::float::{integer, ordinary_mode};
use super::address::{Form, Source};
use super::{Shape, ZERO, enabled, first, halves, immediate, select, set_halves, slow, source};
use crate::System;
use crate::cpu::LazyFlags;
use crate::cpu::bits::{CF, ZF};
use crate::engine::{Handler, OpRef, next};
use crate::simd::float::packed::*;
use crate::simd::float::{F32, F64, Format, fast};

/// An operation on all elements.
struct Whole<V, const WIDE: bool>(PhantomData<V>);

impl<V: Quick, const WIDE: bool> Shape for Whole<V, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        let a = halves::<WIDE>(sys, first(op));
        let (low, right_low) = V::quick(a[0], b[0], immediate(op));
        let (high, right_high) = if WIDE { V::quick(a[1], b[1], immediate(op)) } else { (ZERO, true) };
        if !(right_low & right_high & ordinary_mode(sys) & enabled(sys)) {
            return slow(sys, op);
        }
        set_halves::<WIDE>(sys, op.a(), [low, high]);
        next!(sys, op, 2)
    }
}

/// An operation on the lowest element.
struct Lowest<V>(PhantomData<V>);

impl<V: Quick> Shape for Lowest<V> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if V::SOURCE == 4 { S::low::<u32>(sys, op) } else { S::low::<u64>(sys, op) };
        let Some(b) = source else { return slow(sys, op) };
        let (r, right) = V::quick(halves::<false>(sys, first(op))[0], b, immediate(op));
        if !(right & ordinary_mode(sys) & enabled(sys)) {
            return slow(sys, op);
        }
        set_halves::<false>(sys, op.a(), [r, ZERO]);
        next!(sys, op, 2)
    }
}

/// VCOMISS, VUCOMISS and their kin on numbers.
struct Comparison<F>(PhantomData<F>);

impl<F: Format> Shape for Comparison<F> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if F::WIDTH == 32 { S::low::<u32>(sys, op) } else { S::low::<u64>(sys, op) };
        let Some(b) = source else { return slow(sys, op) };
        let a = halves::<false>(sys, op.a())[0];
        let (relation, right) = fast::try_relate::<F>(F::get(&a, 0), F::get(&b, 0));
        if !(right & enabled(sys)) {
            return slow(sys, op);
        }
        sys.cpu.flags = match relation {
            core::cmp::Ordering::Less => LazyFlags::from_bits(CF),
            core::cmp::Ordering::Equal => LazyFlags::from_bits(ZF),
            core::cmp::Ordering::Greater => LazyFlags::from_bits(0),
        };
        next!(sys, op, 2)
    }
}

/// VCVTSI2SS, VCVTSI2SD from a general register or memory of `BITS`; the rest is the first source's.
struct FromGeneral<F, const BITS: u32>(PhantomData<F>);

impl<F: Format, const BITS: u32> Shape for FromGeneral<F, BITS> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = integer::<S, BITS>(sys, op) else { return slow(sys, op) };
        let exact = F::FRAC >= BITS;
        if !enabled(sys) || !(exact || ordinary_mode(sys)) {
            return slow(sys, op);
        }
        let mut a = halves::<false>(sys, first(op))[0];
        F::put(F::host_from_int(v), &mut a, 0);
        set_halves::<false>(sys, op.a(), [a, ZERO]);
        next!(sys, op, 2)
    }
}

/// VCVTTSS2SI, VCVTTSD2SI, and without `TRUNCATE` those that round, to a general register of `BITS`.
struct ToGeneral<F, const BITS: u32, const TRUNCATE: bool>(PhantomData<F>);

impl<F: Format, const BITS: u32, const TRUNCATE: bool> Shape for ToGeneral<F, BITS, TRUNCATE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if F::WIDTH == 32 { S::low::<u32>(sys, op) } else { S::low::<u64>(sys, op) };
        let Some(b) = source else { return slow(sys, op) };
        let a = F::get(&b, 0);
        let (v, right) = if TRUNCATE { fast::try_truncate::<F>(a, BITS) } else { fast::try_to_int::<F>(a, BITS) };
        if !(right & ordinary_mode(sys) & enabled(sys)) {
            return slow(sys, op);
        }
        sys.cpu.regs[op.a() & 15] = if BITS == 32 { u64::from(v as u32) } else { v as u64 };
        next!(sys, op, 2)
    }
}

fn general(code: Code, form: Form) -> Option<Handler> {
    use Code::*;
    match code {
        VEX_Vcvtsi2ss_xmm_xmm_rm32 => select::<FromGeneral<F32, 32>>(form),
        VEX_Vcvtsi2ss_xmm_xmm_rm64 => select::<FromGeneral<F32, 64>>(form),
        VEX_Vcvtsi2sd_xmm_xmm_rm32 => select::<FromGeneral<F64, 32>>(form),
        VEX_Vcvtsi2sd_xmm_xmm_rm64 => select::<FromGeneral<F64, 64>>(form),
        VEX_Vcvtss2si_r32_xmmm32 => select::<ToGeneral<F32, 32, false>>(form),
        VEX_Vcvtss2si_r64_xmmm32 => select::<ToGeneral<F32, 64, false>>(form),
        VEX_Vcvtsd2si_r32_xmmm64 => select::<ToGeneral<F64, 32, false>>(form),
        VEX_Vcvtsd2si_r64_xmmm64 => select::<ToGeneral<F64, 64, false>>(form),
        VEX_Vcvttss2si_r32_xmmm32 => select::<ToGeneral<F32, 32, true>>(form),
        VEX_Vcvttss2si_r64_xmmm32 => select::<ToGeneral<F32, 64, true>>(form),
        VEX_Vcvttsd2si_r32_xmmm64 => select::<ToGeneral<F64, 32, true>>(form),
        VEX_Vcvttsd2si_r64_xmmm64 => select::<ToGeneral<F64, 64, true>>(form),
        _ => None,
    }
}

macro_rules! table {
    ($mnemonic:expr, $form:expr, $wide:expr; $($op:ident: $ps:ident $pd:ident $ss:ident $sd:ident,)*) => {
        match ($mnemonic, $wide) {
            $((Mnemonic::$ps, false) => select::<Whole<Packed<F32, $op>, false>>($form),
              (Mnemonic::$ps, true) => select::<Whole<Packed<F32, $op>, true>>($form),
              (Mnemonic::$pd, false) => select::<Whole<Packed<F64, $op>, false>>($form),
              (Mnemonic::$pd, true) => select::<Whole<Packed<F64, $op>, true>>($form),
              (Mnemonic::$ss, _) => select::<Lowest<Scalar<F32, $op>>>($form),
              (Mnemonic::$sd, _) => select::<Lowest<Scalar<F64, $op>>>($form),)*
            _ => None,
        }
    };
}

pub(super) fn lookup(code: Code, form: Form, wide: bool) -> Option<Handler> {
    let mnemonic = code.mnemonic();
    let arithmetic = table!(mnemonic, form, wide;
        Add: Vaddps Vaddpd Vaddss Vaddsd,
        Sub: Vsubps Vsubpd Vsubss Vsubsd,
        Mul: Vmulps Vmulpd Vmulss Vmulsd,
        Div: Vdivps Vdivpd Vdivss Vdivsd,
        Min: Vminps Vminpd Vminss Vminsd,
        Max: Vmaxps Vmaxpd Vmaxss Vmaxsd,
        Sqrt: Vsqrtps Vsqrtpd Vsqrtss Vsqrtsd,
        CompareVex: Vcmpps Vcmppd Vcmpss Vcmpsd,
        Round: Vroundps Vroundpd Vroundss Vroundsd,
    );
    arithmetic.or_else(|| match (mnemonic, wide) {
        (Mnemonic::Vcomiss | Mnemonic::Vucomiss, _) => select::<Comparison<F32>>(form),
        (Mnemonic::Vcomisd | Mnemonic::Vucomisd, _) => select::<Comparison<F64>>(form),
        (Mnemonic::Vcvtdq2ps, false) => select::<Whole<IntegersToSingles, false>>(form),
        (Mnemonic::Vcvtdq2ps, true) => select::<Whole<IntegersToSingles, true>>(form),
        (Mnemonic::Vcvttps2dq, false) => select::<Whole<SinglesTruncated, false>>(form),
        (Mnemonic::Vcvttps2dq, true) => select::<Whole<SinglesTruncated, true>>(form),
        (Mnemonic::Vcvtps2dq, false) => select::<Whole<SinglesToIntegers, false>>(form),
        (Mnemonic::Vcvtps2dq, true) => select::<Whole<SinglesToIntegers, true>>(form),
        (Mnemonic::Vcvtss2sd, _) => select::<Lowest<SingleToDouble>>(form),
        (Mnemonic::Vcvtsd2ss, _) => select::<Lowest<DoubleToSingle>>(form),
        _ => general(code, form),
    })
}
