//! Packed integers.

use core::marker::PhantomData;

use iced_x86::Code;

use super::address::{Form, Source};
use super::{Shape, enabled, immediate, select, set_xmm, slow, xmm};
use crate::System;
use crate::cpu::LazyFlags;
use crate::cpu::bits::{CF, ZF};
use crate::engine::{Handler, OpRef, next};
use crate::mem::Scalar;
use crate::simd::shift::Shift;
use crate::simd::{Binary, BinaryImm, int, lane, shift, shuffle, widen};

/// Destination OP source.
struct Operation<O>(PhantomData<O>);

impl<O: Binary> Shape for Operation<O> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::aligned(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let r = O::apply(xmm(sys, op.a()), b);
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

/// Destination OP source, under the immediate byte.
struct Controlled<O>(PhantomData<O>);

impl<O: BinaryImm> Shape for Controlled<O> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::aligned(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let r = O::apply(xmm(sys, op.a()), b, immediate(op));
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

/// An operation on a source that is as wide as `T` in memory.
struct Narrow<O, T>(PhantomData<(O, T)>);

impl<O: Binary, T: Scalar> Shape for Narrow<O, T> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::low::<T>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let r = O::apply(xmm(sys, op.a()), b);
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

/// PBLENDVB, BLENDVPS, BLENDVPD: the mask is XMM0.
struct Blend<T>(PhantomData<T>);

impl<T: lane::Lane> Shape for Blend<T> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::aligned(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let r = shuffle::blend_by_sign::<T, 16>(xmm(sys, op.a()), b, xmm(sys, 0));
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

/// PTEST. ZF: no common bit; CF: no bit of the source outside of the destination.
struct Test;

impl Shape for Test {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::aligned(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let (a, b) = (sys.cpu.xmm[op.a() & 15], u128::from_le_bytes(b));
        let (zf, cf) = (u32::from(a & b == 0) * ZF, u32::from(!a & b == 0) * CF);
        sys.cpu.flags = LazyFlags::from_bits(zf | cf);
        next!(sys, op, 2)
    }
}

/// Bits from the register's lowest to the element of type `T` that the immediate chooses.
#[inline(always)]
fn element_at<T: Scalar>(op: OpRef) -> u32 {
    u32::from(immediate(op)) * 8 * T::SIZE as u32 & 127
}

/// PINSRB and its kin, from a general register or memory.
struct Insert<T>(PhantomData<T>);

impl<T: Scalar> Shape for Insert<T> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let v = if S::REGISTER { Some(sys.cpu.regs[op.b() & 15]) } else { S::low::<T>(sys, op).map(low_quadword) };
        let Some(v) = v else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let at = element_at::<T>(op);
        let (v, mask) = (u128::from(T::from_u64(v).to_u64()), u128::from(u64::MAX >> (64 - 8 * T::SIZE)));
        let r = &mut sys.cpu.xmm[op.a() & 15];
        *r = *r & !(mask << at) | v << at;
        next!(sys, op, 2)
    }
}

#[inline(always)]
fn low_quadword(v: [u8; 16]) -> u64 {
    lane::Lane::get(&v, 0)
}

/// PEXTRB and its kin to a general register: `a` is that, `b` the XMM register.
fn extract<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let v = T::from_u64((sys.cpu.xmm[op.b() & 15] >> element_at::<T>(op)) as u64);
    sys.cpu.regs[op.a() & 15] = v.to_u64();
    next!(sys, op, 2)
}

/// A shift by the low quadword of the source.
struct VectorShift<O>(PhantomData<O>);

impl<O: Shift> Shape for VectorShift<O> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = S::aligned(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let r = O::shift(xmm(sys, op.a()), lane::Lane::get(&b, 0));
        set_xmm(sys, op.a(), r);
        next!(sys, op, 2)
    }
}

fn immediate_shift<O: Shift>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let r = O::shift(xmm(sys, op.a()), immediate(op).into());
    set_xmm(sys, op.a(), r);
    next!(sys, op, 2)
}

/// MOVMSKPS, MOVMSKPD, PMOVMSKB: `a` is the general register.
fn sign_mask<T: lane::Lane>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    sys.cpu.regs[op.a() & 15] = lane::sign_mask::<T, 16>(xmm(sys, op.b())).into();
    next!(sys, op, 2)
}

pub(super) fn lookup(code: Code, form: Form) -> Option<Handler> {
    operations(code, form)
        .or_else(|| controlled(code, form))
        .or_else(|| shifts(code, form))
        .or_else(|| narrow(code, form))
        .or_else(|| others(code, form))
}

macro_rules! table {
    ($code:expr, $form:expr, $shape:ident; $($c:ident => $op:ty,)*) => {
        match $code {
            $(Code::$c => Some(select::<$shape<$op>>($form)),)*
            _ => None,
        }
    };
}

#[rustfmt::skip]
fn operations(code: Code, form: Form) -> Option<Handler> {
    table!(code, form, Operation;
        Punpcklbw_xmm_xmmm128 => shuffle::Punpcklbw,
        Punpcklwd_xmm_xmmm128 => shuffle::Punpcklwd,
        Punpckldq_xmm_xmmm128 => shuffle::Punpckldq,
        Packsswb_xmm_xmmm128 => shuffle::Packsswb,
        Pcmpgtb_xmm_xmmm128 => int::Pcmpgtb,
        Pcmpgtw_xmm_xmmm128 => int::Pcmpgtw,
        Pcmpgtd_xmm_xmmm128 => int::Pcmpgtd,
        Packuswb_xmm_xmmm128 => shuffle::Packuswb,
        Punpckhbw_xmm_xmmm128 => shuffle::Punpckhbw,
        Punpckhwd_xmm_xmmm128 => shuffle::Punpckhwd,
        Punpckhdq_xmm_xmmm128 => shuffle::Punpckhdq,
        Packssdw_xmm_xmmm128 => shuffle::Packssdw,
        Punpcklqdq_xmm_xmmm128 => shuffle::Punpcklqdq,
        Punpckhqdq_xmm_xmmm128 => shuffle::Punpckhqdq,
        Pcmpeqb_xmm_xmmm128 => int::Pcmpeqb,
        Pcmpeqw_xmm_xmmm128 => int::Pcmpeqw,
        Pcmpeqd_xmm_xmmm128 => int::Pcmpeqd,
        Paddq_xmm_xmmm128 => int::Paddq,
        Pmullw_xmm_xmmm128 => int::Pmullw,
        Psubusb_xmm_xmmm128 => int::Psubusb,
        Psubusw_xmm_xmmm128 => int::Psubusw,
        Pminub_xmm_xmmm128 => int::Pminub,
        Pand_xmm_xmmm128 => int::Pand,
        Paddusb_xmm_xmmm128 => int::Paddusb,
        Paddusw_xmm_xmmm128 => int::Paddusw,
        Pmaxub_xmm_xmmm128 => int::Pmaxub,
        Pandn_xmm_xmmm128 => int::Pandn,
        Pavgb_xmm_xmmm128 => int::Pavgb,
        Pavgw_xmm_xmmm128 => int::Pavgw,
        Pmulhuw_xmm_xmmm128 => int::Pmulhuw,
        Pmulhw_xmm_xmmm128 => int::Pmulhw,
        Psubsb_xmm_xmmm128 => int::Psubsb,
        Psubsw_xmm_xmmm128 => int::Psubsw,
        Pminsw_xmm_xmmm128 => int::Pminsw,
        Por_xmm_xmmm128 => int::Por,
        Paddsb_xmm_xmmm128 => int::Paddsb,
        Paddsw_xmm_xmmm128 => int::Paddsw,
        Pmaxsw_xmm_xmmm128 => int::Pmaxsw,
        Pxor_xmm_xmmm128 => int::Pxor,
        Pmuludq_xmm_xmmm128 => widen::Pmuludq,
        Pmaddwd_xmm_xmmm128 => widen::Pmaddwd,
        Psadbw_xmm_xmmm128 => widen::Psadbw,
        Psubb_xmm_xmmm128 => int::Psubb,
        Psubw_xmm_xmmm128 => int::Psubw,
        Psubd_xmm_xmmm128 => int::Psubd,
        Psubq_xmm_xmmm128 => int::Psubq,
        Paddb_xmm_xmmm128 => int::Paddb,
        Paddw_xmm_xmmm128 => int::Paddw,
        Paddd_xmm_xmmm128 => int::Paddd,
        Pshufb_xmm_xmmm128 => shuffle::Pshufb,
        Phaddw_xmm_xmmm128 => widen::Phaddw,
        Phaddd_xmm_xmmm128 => widen::Phaddd,
        Phaddsw_xmm_xmmm128 => widen::Phaddsw,
        Pmaddubsw_xmm_xmmm128 => widen::Pmaddubsw,
        Phsubw_xmm_xmmm128 => widen::Phsubw,
        Phsubd_xmm_xmmm128 => widen::Phsubd,
        Phsubsw_xmm_xmmm128 => widen::Phsubsw,
        Psignb_xmm_xmmm128 => int::Psignb,
        Psignw_xmm_xmmm128 => int::Psignw,
        Psignd_xmm_xmmm128 => int::Psignd,
        Pmulhrsw_xmm_xmmm128 => int::Pmulhrsw,
        Pabsb_xmm_xmmm128 => int::Pabsb,
        Pabsw_xmm_xmmm128 => int::Pabsw,
        Pabsd_xmm_xmmm128 => int::Pabsd,
        Pmuldq_xmm_xmmm128 => widen::Pmuldq,
        Pcmpeqq_xmm_xmmm128 => int::Pcmpeqq,
        Packusdw_xmm_xmmm128 => shuffle::Packusdw,
        Pcmpgtq_xmm_xmmm128 => int::Pcmpgtq,
        Pminsb_xmm_xmmm128 => int::Pminsb,
        Pminsd_xmm_xmmm128 => int::Pminsd,
        Pminuw_xmm_xmmm128 => int::Pminuw,
        Pminud_xmm_xmmm128 => int::Pminud,
        Pmaxsb_xmm_xmmm128 => int::Pmaxsb,
        Pmaxsd_xmm_xmmm128 => int::Pmaxsd,
        Pmaxuw_xmm_xmmm128 => int::Pmaxuw,
        Pmaxud_xmm_xmmm128 => int::Pmaxud,
        Pmulld_xmm_xmmm128 => int::Pmulld,
        Andps_xmm_xmmm128 => int::Pand,
        Andpd_xmm_xmmm128 => int::Pand,
        Andnps_xmm_xmmm128 => int::Pandn,
        Andnpd_xmm_xmmm128 => int::Pandn,
        Orps_xmm_xmmm128 => int::Por,
        Orpd_xmm_xmmm128 => int::Por,
        Xorps_xmm_xmmm128 => int::Pxor,
        Xorpd_xmm_xmmm128 => int::Pxor,
        Unpcklps_xmm_xmmm128 => shuffle::Punpckldq,
        Unpcklpd_xmm_xmmm128 => shuffle::Punpcklqdq,
        Unpckhps_xmm_xmmm128 => shuffle::Punpckhdq,
        Unpckhpd_xmm_xmmm128 => shuffle::Punpckhqdq,
        Movhlps_xmm_xmm => shuffle::Movhlps,
        Movlhps_xmm_xmm => shuffle::Punpcklqdq,
        Movshdup_xmm_xmmm128 => shuffle::Movshdup,
        Movsldup_xmm_xmmm128 => shuffle::Movsldup,
    )
}

/// What reads less than a register's worth of memory.
fn narrow(code: Code, form: Form) -> Option<Handler> {
    macro_rules! narrow {
        ($($c:ident => $op:ty, $t:ty;)*) => {
            match code {
                $(Code::$c => Some(select::<Narrow<$op, $t>>(form)),)*
                _ => None,
            }
        };
    }
    narrow! {
        Movddup_xmm_xmmm64 => shuffle::Movddup, u64;
        Pmovsxbw_xmm_xmmm64 => widen::Pmovsxbw, u64;
        Pmovsxwd_xmm_xmmm64 => widen::Pmovsxwd, u64;
        Pmovsxdq_xmm_xmmm64 => widen::Pmovsxdq, u64;
        Pmovzxbw_xmm_xmmm64 => widen::Pmovzxbw, u64;
        Pmovzxwd_xmm_xmmm64 => widen::Pmovzxwd, u64;
        Pmovzxdq_xmm_xmmm64 => widen::Pmovzxdq, u64;
        Pmovsxbd_xmm_xmmm32 => widen::Pmovsxbd, u32;
        Pmovsxwq_xmm_xmmm32 => widen::Pmovsxwq, u32;
        Pmovzxbd_xmm_xmmm32 => widen::Pmovzxbd, u32;
        Pmovzxwq_xmm_xmmm32 => widen::Pmovzxwq, u32;
        Pmovsxbq_xmm_xmmm16 => widen::Pmovsxbq, u16;
        Pmovzxbq_xmm_xmmm16 => widen::Pmovzxbq, u16;
    }
}

fn others(code: Code, form: Form) -> Option<Handler> {
    use Code::*;
    let register = matches!(form, Form::Register);
    Some(match code {
        Pblendvb_xmm_xmmm128 => select::<Blend<u8>>(form),
        Blendvps_xmm_xmmm128 => select::<Blend<u32>>(form),
        Blendvpd_xmm_xmmm128 => select::<Blend<u64>>(form),
        Ptest_xmm_xmmm128 => select::<Test>(form),
        Pinsrb_xmm_r32m8_imm8 | Pinsrb_xmm_r64m8_imm8 => select::<Insert<u8>>(form),
        Pinsrw_xmm_r32m16_imm8 | Pinsrw_xmm_r64m16_imm8 => select::<Insert<u16>>(form),
        Pinsrd_xmm_rm32_imm8 => select::<Insert<u32>>(form),
        Pinsrq_xmm_rm64_imm8 => select::<Insert<u64>>(form),
        Pextrb_r32m8_xmm_imm8 | Pextrb_r64m8_xmm_imm8 if register => extract::<u8>,
        Pextrw_r32_xmm_imm8 | Pextrw_r64_xmm_imm8 | Pextrw_r32m16_xmm_imm8 | Pextrw_r64m16_xmm_imm8 if register => {
            extract::<u16>
        }
        Pextrd_rm32_xmm_imm8 | Extractps_rm32_xmm_imm8 if register => extract::<u32>,
        Pextrq_rm64_xmm_imm8 if register => extract::<u64>,
        _ => return None,
    })
}

fn controlled(code: Code, form: Form) -> Option<Handler> {
    table!(code, form, Controlled;
        Pshufd_xmm_xmmm128_imm8 => shuffle::Pshufd,
        Pshufhw_xmm_xmmm128_imm8 => shuffle::Pshufhw,
        Pshuflw_xmm_xmmm128_imm8 => shuffle::Pshuflw,
        Shufps_xmm_xmmm128_imm8 => shuffle::Shufps,
        Shufpd_xmm_xmmm128_imm8 => shuffle::Shufpd,
        Palignr_xmm_xmmm128_imm8 => shuffle::Palignr,
        Pblendw_xmm_xmmm128_imm8 => shuffle::Pblendw,
        Blendps_xmm_xmmm128_imm8 => shuffle::Blendps,
        Blendpd_xmm_xmmm128_imm8 => shuffle::Blendpd,
    )
}

fn shifts(code: Code, form: Form) -> Option<Handler> {
    let by_vector = table!(code, form, VectorShift;
        Psllw_xmm_xmmm128 => shift::Psllw,
        Pslld_xmm_xmmm128 => shift::Pslld,
        Psllq_xmm_xmmm128 => shift::Psllq,
        Psrlw_xmm_xmmm128 => shift::Psrlw,
        Psrld_xmm_xmmm128 => shift::Psrld,
        Psrlq_xmm_xmmm128 => shift::Psrlq,
        Psraw_xmm_xmmm128 => shift::Psraw,
        Psrad_xmm_xmmm128 => shift::Psrad,
    );
    by_vector.or_else(|| {
        Some(match code {
            Code::Psllw_xmm_imm8 => immediate_shift::<shift::Psllw>,
            Code::Pslld_xmm_imm8 => immediate_shift::<shift::Pslld>,
            Code::Psllq_xmm_imm8 => immediate_shift::<shift::Psllq>,
            Code::Psrlw_xmm_imm8 => immediate_shift::<shift::Psrlw>,
            Code::Psrld_xmm_imm8 => immediate_shift::<shift::Psrld>,
            Code::Psrlq_xmm_imm8 => immediate_shift::<shift::Psrlq>,
            Code::Psraw_xmm_imm8 => immediate_shift::<shift::Psraw>,
            Code::Psrad_xmm_imm8 => immediate_shift::<shift::Psrad>,
            Code::Pslldq_xmm_imm8 => immediate_shift::<shift::Pslldq>,
            Code::Psrldq_xmm_imm8 => immediate_shift::<shift::Psrldq>,
            Code::Movmskps_r32_xmm | Code::Movmskps_r64_xmm => sign_mask::<u32>,
            Code::Movmskpd_r32_xmm | Code::Movmskpd_r64_xmm => sign_mask::<u64>,
            Code::Pmovmskb_r32_xmm | Code::Pmovmskb_r64_xmm => sign_mask::<u8>,
            _ => return None,
        })
    })
}
