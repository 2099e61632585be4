//! Floating-point arithmetic by the host's, while MXCSR is in its default mode with PE set.

use core::marker::PhantomData;

use iced_x86::Code;

use super::address::{Form, Source};
use super::{Shape, enabled, immediate, select, set_xmm, slow, xmm};
use crate::System;
use crate::cpu::LazyFlags;
use crate::cpu::bits::{CF, ZF};
use crate::engine::{Handler, OpRef, next};
use crate::simd::float::env::{DEFAULT, FLAGS, PE};
use crate::simd::float::packed::*;
use crate::simd::float::{F32, F64, Format, fast};
use crate::simd::lane;

/// Whether MXCSR masks everything, rounds to nearest, knows no DAZ and FTZ, and has PE set: then ordinary results are the
/// host's, and change no flag.
#[inline(always)]
pub(super) fn ordinary_mode(sys: &System) -> bool {
    sys.cpu.mxcsr & (!FLAGS | PE) == DEFAULT | PE
}

/// An operation on vectors.
struct Arithmetic<V>(PhantomData<V>);

impl<V: Quick> Shape for Arithmetic<V> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = match V::SOURCE {
            4 => S::low::<u32>(sys, op),
            8 => S::low::<u64>(sys, op),
            _ => S::aligned(sys, op),
        };
        let Some(b) = source else { return slow(sys, op) };
        let (r, right) = V::quick(xmm(sys, op.a()), b, immediate(op));
        if !(right & ordinary_mode(sys) & enabled(sys)) {
            return slow(sys, op);
        }
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

/// COMISS, UCOMISS and their kin on numbers.
struct Comparison<F>(PhantomData<F>);

impl<F: Format> Shape for Comparison<F> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if F::WIDTH == 32 { S::low::<u32>(sys, op) } else { S::low::<u64>(sys, op) };
        let Some(b) = source else { return slow(sys, op) };
        let (relation, right) = fast::try_relate::<F>(F::get(&xmm(sys, op.a()), 0), F::get(&b, 0));
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

/// CVTSI2SS, CVTSI2SD from a general register or memory of `BITS`.
struct FromGeneral<F, const BITS: u32>(PhantomData<F>);

impl<F: Format, const BITS: u32> Shape for FromGeneral<F, BITS> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = integer::<S, BITS>(sys, op) else { return slow(sys, op) };
        let exact = F::FRAC >= BITS;
        if !enabled(sys) || !(exact || ordinary_mode(sys)) {
            return slow(sys, op);
        }
        let mut a = xmm(sys, op.a());
        F::put(F::host_from_int(v), &mut a, 0);
        set_xmm(sys, op.a(), a);
        next!(sys, op, 2)
    }
}

/// A source operand of `BITS` that is a general register or memory.
#[inline(always)]
pub(super) fn integer<S: Source, const BITS: u32>(sys: &System, op: OpRef) -> Option<i64> {
    let v = if S::REGISTER {
        sys.cpu.regs[op.b() & 15]
    } else if BITS == 32 {
        lane::Lane::get(&S::low::<u32>(sys, op)?, 0)
    } else {
        lane::Lane::get(&S::low::<u64>(sys, op)?, 0)
    };
    Some(if BITS == 32 { i64::from(v as i32) } else { v as i64 })
}

/// CVTTSS2SI, CVTTSD2SI, and without `TRUNCATE` those that round, to a general register of `BITS`.
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

pub(super) fn lookup(code: Code, form: Form) -> Option<Handler> {
    arithmetic(code, form).or_else(|| others(code, form))
}

macro_rules! table {
    ($code:expr, $form:expr; $($c:ident => $v:ty,)*) => {
        match $code {
            $(Code::$c => Some(select::<Arithmetic<$v>>($form)),)*
            _ => None,
        }
    };
}

#[rustfmt::skip]
fn arithmetic(code: Code, form: Form) -> Option<Handler> {
    table!(code, form;
        Addps_xmm_xmmm128 => Packed<F32, Add>,
        Addpd_xmm_xmmm128 => Packed<F64, Add>,
        Addss_xmm_xmmm32 => Scalar<F32, Add>,
        Addsd_xmm_xmmm64 => Scalar<F64, Add>,
        Subps_xmm_xmmm128 => Packed<F32, Sub>,
        Subpd_xmm_xmmm128 => Packed<F64, Sub>,
        Subss_xmm_xmmm32 => Scalar<F32, Sub>,
        Subsd_xmm_xmmm64 => Scalar<F64, Sub>,
        Mulps_xmm_xmmm128 => Packed<F32, Mul>,
        Mulpd_xmm_xmmm128 => Packed<F64, Mul>,
        Mulss_xmm_xmmm32 => Scalar<F32, Mul>,
        Mulsd_xmm_xmmm64 => Scalar<F64, Mul>,
        Divps_xmm_xmmm128 => Packed<F32, Div>,
        Divpd_xmm_xmmm128 => Packed<F64, Div>,
        Divss_xmm_xmmm32 => Scalar<F32, Div>,
        Divsd_xmm_xmmm64 => Scalar<F64, Div>,
        Minps_xmm_xmmm128 => Packed<F32, Min>,
        Minpd_xmm_xmmm128 => Packed<F64, Min>,
        Minss_xmm_xmmm32 => Scalar<F32, Min>,
        Minsd_xmm_xmmm64 => Scalar<F64, Min>,
        Maxps_xmm_xmmm128 => Packed<F32, Max>,
        Maxpd_xmm_xmmm128 => Packed<F64, Max>,
        Maxss_xmm_xmmm32 => Scalar<F32, Max>,
        Maxsd_xmm_xmmm64 => Scalar<F64, Max>,
        Sqrtps_xmm_xmmm128 => Packed<F32, Sqrt>,
        Sqrtpd_xmm_xmmm128 => Packed<F64, Sqrt>,
        Sqrtss_xmm_xmmm32 => Scalar<F32, Sqrt>,
        Sqrtsd_xmm_xmmm64 => Scalar<F64, Sqrt>,
        Cvtss2sd_xmm_xmmm32 => SingleToDouble,
        Cvtsd2ss_xmm_xmmm64 => DoubleToSingle,
        Cvtps2pd_xmm_xmmm64 => SinglesToDoubles,
        Cvtpd2ps_xmm_xmmm128 => DoublesToSingles,
        Cvttps2dq_xmm_xmmm128 => SinglesTruncated,
        Cvtps2dq_xmm_xmmm128 => SinglesToIntegers,
        Cmpps_xmm_xmmm128_imm8 => Packed<F32, Compare>,
        Cmppd_xmm_xmmm128_imm8 => Packed<F64, Compare>,
        Cmpss_xmm_xmmm32_imm8 => Scalar<F32, Compare>,
        Cmpsd_xmm_xmmm64_imm8 => Scalar<F64, Compare>,
        Roundps_xmm_xmmm128_imm8 => Packed<F32, Round>,
        Roundpd_xmm_xmmm128_imm8 => Packed<F64, Round>,
        Roundss_xmm_xmmm32_imm8 => Scalar<F32, Round>,
        Roundsd_xmm_xmmm64_imm8 => Scalar<F64, Round>,
        Cvtdq2pd_xmm_xmmm64 => IntegersToDoubles,
        Cvtdq2ps_xmm_xmmm128 => IntegersToSingles,
    )
}

fn others(code: Code, form: Form) -> Option<Handler> {
    Some(match code {
        Code::Comiss_xmm_xmmm32 | Code::Ucomiss_xmm_xmmm32 => select::<Comparison<F32>>(form),
        Code::Comisd_xmm_xmmm64 | Code::Ucomisd_xmm_xmmm64 => select::<Comparison<F64>>(form),
        Code::Cvttss2si_r32_xmmm32 => select::<ToGeneral<F32, 32, true>>(form),
        Code::Cvtss2si_r32_xmmm32 => select::<ToGeneral<F32, 32, false>>(form),
        Code::Cvttss2si_r64_xmmm32 => select::<ToGeneral<F32, 64, true>>(form),
        Code::Cvtss2si_r64_xmmm32 => select::<ToGeneral<F32, 64, false>>(form),
        Code::Cvttsd2si_r32_xmmm64 => select::<ToGeneral<F64, 32, true>>(form),
        Code::Cvtsd2si_r32_xmmm64 => select::<ToGeneral<F64, 32, false>>(form),
        Code::Cvttsd2si_r64_xmmm64 => select::<ToGeneral<F64, 64, true>>(form),
        Code::Cvtsd2si_r64_xmmm64 => select::<ToGeneral<F64, 64, false>>(form),
        Code::Cvtsi2ss_xmm_rm32 => select::<FromGeneral<F32, 32>>(form),
        Code::Cvtsi2ss_xmm_rm64 => select::<FromGeneral<F32, 64>>(form),
        Code::Cvtsi2sd_xmm_rm32 => select::<FromGeneral<F64, 32>>(form),
        Code::Cvtsi2sd_xmm_rm64 => select::<FromGeneral<F64, 64>>(form),
        _ => return None,
    })
}
