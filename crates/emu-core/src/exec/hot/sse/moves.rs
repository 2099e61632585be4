//! Moves between XMM registers, memory and general registers.

use iced_x86::Code;

use super::address::{Address, Form, Source, write_16};
use super::{Shape, Store, enabled, select, select_store, set_xmm, slow, xmm};
use crate::System;
use crate::engine::{Handler, OpRef, next};
use crate::mem::Scalar;

/// All sixteen bytes; `ALIGNED` as MOVAPS wants them.
struct Load<const ALIGNED: bool>;

impl<const ALIGNED: bool> Shape for Load<ALIGNED> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if ALIGNED { S::aligned(sys, op) } else { S::unaligned(sys, op) };
        let Some(v) = source else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        set_xmm(sys, op.a(), v);
        next!(sys, op, 2)
    }
}

struct StoreWhole<const ALIGNED: bool>;

impl<const ALIGNED: bool> Store for StoreWhole<ALIGNED> {
    fn run<A: Address>(sys: &mut System, op: OpRef) {
        let linear = A::linear(sys, op);
        let v = sys.cpu.xmm[op.a() & 15];
        if !enabled(sys) || !write_16(sys, linear, v, if ALIGNED { 16 } else { 1 }) {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

/// MOVSS, MOVSD: from memory with zeros above, from a register into the low element. MOVQ: always zeros above.
struct LoadLow<T, const ZEROS: bool>(core::marker::PhantomData<T>);

/// Bits that an element of type `T` covers.
#[inline(always)]
fn mask<T: Scalar>() -> u128 {
    (1 << (8 * T::SIZE)) - 1
}

impl<T: Scalar, const ZEROS: bool> Shape for LoadLow<T, ZEROS> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = S::low::<T>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let v = u128::from_le_bytes(v) & mask::<T>();
        let kept = if S::REGISTER && !ZEROS { sys.cpu.xmm[op.a() & 15] & !mask::<T>() } else { 0 };
        sys.cpu.xmm[op.a() & 15] = kept | v;
        next!(sys, op, 2)
    }
}

/// An element of type `T` from byte `AT` of the register on.
struct StorePart<T, const AT: u32>(core::marker::PhantomData<T>);

impl<T: Scalar, const AT: u32> Store for StorePart<T, AT> {
    fn run<A: Address>(sys: &mut System, op: OpRef) {
        let v = T::from_u64((sys.cpu.xmm[op.a() & 15] >> (8 * AT)) as u64);
        if !enabled(sys) || !sys.tlb.write(A::linear(sys, op), v) {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

/// MOVLPS, MOVHPS: a quadword of memory into one half.
struct LoadHalf<const HIGH: bool>;

impl<const HIGH: bool> Shape for LoadHalf<HIGH> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = S::low::<u64>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let mut a = xmm(sys, op.a());
        a[if HIGH { 8..16 } else { 0..8 }].copy_from_slice(&v[..8]);
        set_xmm(sys, op.a(), a);
        next!(sys, op, 2)
    }
}

/// MOVD and MOVQ from a general register.
fn from_general<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    sys.cpu.xmm[op.a() & 15] = u128::from(T::from_u64(sys.cpu.regs[op.b() & 15]).to_u64());
    next!(sys, op, 2)
}

/// MOVD and MOVQ to a general register: `a` is that, `b` the XMM register.
fn to_general<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    sys.cpu.regs[op.a() & 15] = T::from_u64(sys.cpu.xmm[op.b() & 15] as u64).to_u64();
    next!(sys, op, 2)
}

pub(super) fn lookup(code: Code, form: Form) -> Option<Handler> {
    loads(code, form).or_else(|| stores(code, form)).or_else(|| general(code, form))
}

fn loads(code: Code, form: Form) -> Option<Handler> {
    use Code::*;
    Some(match code {
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 => select::<Load<true>>(form),
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 | Lddqu_xmm_m128 => select::<Load<false>>(form),
        Movss_xmm_xmmm32 => select::<LoadLow<u32, false>>(form),
        Movsd_xmm_xmmm64 => select::<LoadLow<u64, false>>(form),
        Movq_xmm_xmmm64 => select::<LoadLow<u64, true>>(form),
        Movlps_xmm_m64 | Movlpd_xmm_m64 => select::<LoadHalf<false>>(form),
        Movhps_xmm_m64 | Movhpd_xmm_m64 => select::<LoadHalf<true>>(form),
        _ => return None,
    })
}

fn stores(code: Code, form: Form) -> Option<Handler> {
    use Code::*;
    match code {
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm | Movntps_m128_xmm | Movntpd_m128_xmm
        | Movntdq_m128_xmm => select_store::<StoreWhole<true>>(form),
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm => select_store::<StoreWhole<false>>(form),
        Movss_xmmm32_xmm => select_store::<StorePart<u32, 0>>(form),
        Movsd_xmmm64_xmm | Movq_xmmm64_xmm | Movlps_m64_xmm | Movlpd_m64_xmm => select_store::<StorePart<u64, 0>>(form),
        Movhps_m64_xmm | Movhpd_m64_xmm => select_store::<StorePart<u64, 8>>(form),
        _ => None,
    }
}

/// Between XMM and general registers, or memory in their place.
fn general(code: Code, form: Form) -> Option<Handler> {
    let register = matches!(form, Form::Register);
    match code {
        Code::Movd_xmm_rm32 if register => Some(from_general::<u32>),
        Code::Movq_xmm_rm64 if register => Some(from_general::<u64>),
        Code::Movd_rm32_xmm if register => Some(to_general::<u32>),
        Code::Movq_rm64_xmm if register => Some(to_general::<u64>),
        Code::Movd_xmm_rm32 => Some(select::<LoadLow<u32, true>>(form)),
        Code::Movq_xmm_rm64 => Some(select::<LoadLow<u64, true>>(form)),
        Code::Movd_rm32_xmm => select_store::<StorePart<u32, 0>>(form),
        Code::Movq_rm64_xmm => select_store::<StorePart<u64, 0>>(form),
        _ => None,
    }
}
