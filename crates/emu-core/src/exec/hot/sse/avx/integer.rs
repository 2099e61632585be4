//! Packed integers.

use core::marker::PhantomData;

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::address::{Form, Source};
use super::{Shape, each, enabled, first, halves, immediate, select, set_halves, slow, source};
use crate::System;
use crate::engine::{Handler, OpRef, next};
use crate::mem::Scalar;
use crate::simd::shift::Shift;
use crate::simd::{Binary, BinaryImm, int, lane, shift, shuffle, widen};

/// First source OP last source.
struct Operation<O, const WIDE: bool>(PhantomData<O>);

impl<O: Binary, const WIDE: bool> Shape for Operation<O, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let a = halves::<WIDE>(sys, first(op));
        set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|h| O::apply(a[h], b[h])));
        next!(sys, op, 2)
    }
}

/// The same under the immediate byte, which serves both halves.
struct Controlled<O, const WIDE: bool>(PhantomData<O>);

impl<O: BinaryImm, const WIDE: bool> Shape for Controlled<O, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let (a, imm) = (halves::<WIDE>(sys, first(op)), immediate(op));
        set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|h| O::apply(a[h], b[h], imm)));
        next!(sys, op, 2)
    }
}

/// The same, of which the upper half takes the immediate's bits from `STEP` on.
struct Stepped<O, const STEP: usize, const WIDE: bool>(PhantomData<O>);

impl<O: BinaryImm, const STEP: usize, const WIDE: bool> Shape for Stepped<O, STEP, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let (a, imm) = (halves::<WIDE>(sys, first(op)), immediate(op));
        set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|h| O::apply(a[h], b[h], imm >> (STEP * h))));
        next!(sys, op, 2)
    }
}

/// An operation on a source that has as much as a `T` for each half.
struct Narrow<O, T, const WIDE: bool>(PhantomData<(O, T)>);

impl<O: Binary, T: Scalar, const WIDE: bool> Shape for Narrow<O, T, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = match (T::SIZE, WIDE) {
            (8, true) => S::unaligned(sys, op),
            (4, true) | (8, false) => S::low::<u64>(sys, op),
            (2, true) | (4, false) => S::low::<u32>(sys, op),
            _ => S::low::<u16>(sys, op),
        };
        let Some(b) = source else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let size = T::SIZE as usize;
        let part = |h: usize| core::array::from_fn(|i| if i < size { b[i + h * size] } else { 0 });
        set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|h| O::apply([0; 16], part(h))));
        next!(sys, op, 2)
    }
}

/// VPBLENDVB, VBLENDVPS, VBLENDVPD: the number of the mask stands where others have their immediate.
struct Blend<T, const WIDE: bool>(PhantomData<T>);

impl<T: lane::Lane, const WIDE: bool> Shape for Blend<T, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(b) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let (a, mask) = (halves::<WIDE>(sys, first(op)), halves::<WIDE>(sys, immediate(op).into()));
        let blended = each::<WIDE>(|h| shuffle::blend_by_sign::<T, 16>(a[h], b[h], mask[h]));
        set_halves::<WIDE>(sys, op.a(), blended);
        next!(sys, op, 2)
    }
}

/// The handler of a blend by a register's signs.
pub(super) fn blend(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<Handler> {
    match (mnemonic, wide) {
        (Mnemonic::Vpblendvb, false) => select::<Blend<u8, false>>(form),
        (Mnemonic::Vpblendvb, true) => select::<Blend<u8, true>>(form),
        (Mnemonic::Vblendvps, false) => select::<Blend<u32, false>>(form),
        (Mnemonic::Vblendvps, true) => select::<Blend<u32, true>>(form),
        (Mnemonic::Vblendvpd, false) => select::<Blend<u64, false>>(form),
        (Mnemonic::Vblendvpd, true) => select::<Blend<u64, true>>(form),
        _ => None,
    }
}

/// What reads less than a register's worth of memory.
fn narrow(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<Handler> {
    macro_rules! narrow {
        ($($m:ident => $op:ident, $t:ty;)*) => {
            match (mnemonic, wide) {
                $((Mnemonic::$m, false) => select::<Narrow<widen::$op, $t, false>>(form),
                  (Mnemonic::$m, true) => select::<Narrow<widen::$op, $t, true>>(form),)*
                _ => None,
            }
        };
    }
    narrow! {
        Vpmovsxbw => Pmovsxbw, u64;
        Vpmovsxwd => Pmovsxwd, u64;
        Vpmovsxdq => Pmovsxdq, u64;
        Vpmovzxbw => Pmovzxbw, u64;
        Vpmovzxwd => Pmovzxwd, u64;
        Vpmovzxdq => Pmovzxdq, u64;
        Vpmovsxbd => Pmovsxbd, u32;
        Vpmovsxwq => Pmovsxwq, u32;
        Vpmovzxbd => Pmovzxbd, u32;
        Vpmovzxwq => Pmovzxwq, u32;
        Vpmovsxbq => Pmovsxbq, u16;
        Vpmovzxbq => Pmovzxbq, u16;
    }
}

/// A shift of register `b` by the immediate.
fn immediate_shift<O: Shift, const WIDE: bool>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let (a, count) = (halves::<WIDE>(sys, op.b()), immediate(op).into());
    set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|h| O::shift(a[h], count)));
    next!(sys, op, 2)
}

/// VPMOVMSKB, VMOVMSKPS, VMOVMSKPD: `a` is the general register.
fn sign_mask<T: lane::Lane, const WIDE: bool>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let v = halves::<WIDE>(sys, op.b());
    let high = if WIDE { lane::sign_mask::<T, 16>(v[1]) << lane::count::<T, 16>() } else { 0 };
    sys.cpu.regs[op.a() & 15] = (lane::sign_mask::<T, 16>(v[0]) | high).into();
    next!(sys, op, 2)
}

pub(super) fn lookup(mnemonic: Mnemonic, insn: &Instruction, form: Form, wide: bool) -> Option<Handler> {
    operations(mnemonic, form, wide)
        .or_else(|| controlled(mnemonic, form, wide))
        .or_else(|| if insn.op2_kind() == OpKind::Immediate8 { shifts(mnemonic, wide) } else { None })
        .or_else(|| masks(mnemonic, wide))
        .or_else(|| narrow(mnemonic, form, wide))
}

macro_rules! table {
    ($mnemonic:expr, $form:expr, $wide:expr, $shape:ident; $($m:ident => $op:ty,)*) => {
        match ($mnemonic, $wide) {
            $((Mnemonic::$m, false) => select::<$shape<$op, false>>($form),
              (Mnemonic::$m, true) => select::<$shape<$op, true>>($form),)*
            _ => None,
        }
    };
}

#[rustfmt::skip]
fn operations(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<Handler> {
    table!(mnemonic, form, wide, Operation;
        Vpand => int::Pand,
        Vpandn => int::Pandn,
        Vpor => int::Por,
        Vpxor => int::Pxor,
        Vandps => int::Pand,
        Vandpd => int::Pand,
        Vandnps => int::Pandn,
        Vandnpd => int::Pandn,
        Vorps => int::Por,
        Vorpd => int::Por,
        Vxorps => int::Pxor,
        Vxorpd => int::Pxor,
        Vpaddb => int::Paddb,
        Vpaddw => int::Paddw,
        Vpaddd => int::Paddd,
        Vpaddq => int::Paddq,
        Vpsubb => int::Psubb,
        Vpsubw => int::Psubw,
        Vpsubd => int::Psubd,
        Vpsubq => int::Psubq,
        Vpsubusb => int::Psubusb,
        Vpaddusb => int::Paddusb,
        Vpcmpeqb => int::Pcmpeqb,
        Vpcmpeqw => int::Pcmpeqw,
        Vpcmpeqd => int::Pcmpeqd,
        Vpcmpeqq => int::Pcmpeqq,
        Vpcmpgtb => int::Pcmpgtb,
        Vpcmpgtw => int::Pcmpgtw,
        Vpcmpgtd => int::Pcmpgtd,
        Vpminub => int::Pminub,
        Vpminud => int::Pminud,
        Vpminsd => int::Pminsd,
        Vpmaxub => int::Pmaxub,
        Vpmaxsd => int::Pmaxsd,
        Vpmaxsw => int::Pmaxsw,
        Vpminsw => int::Pminsw,
        Vpmullw => int::Pmullw,
        Vpmulld => int::Pmulld,
        Vpmulhw => int::Pmulhw,
        Vpmuludq => widen::Pmuludq,
        Vpmaddwd => widen::Pmaddwd,
        Vpmaddubsw => widen::Pmaddubsw,
        Vpsadbw => widen::Psadbw,
        Vpabsd => int::Pabsd,
        Vpavgb => int::Pavgb,
        Vpshufb => shuffle::Pshufb,
        Vpunpcklbw => shuffle::Punpcklbw,
        Vpunpcklwd => shuffle::Punpcklwd,
        Vpunpckldq => shuffle::Punpckldq,
        Vpunpcklqdq => shuffle::Punpcklqdq,
        Vpunpckhbw => shuffle::Punpckhbw,
        Vpunpckhwd => shuffle::Punpckhwd,
        Vpunpckhdq => shuffle::Punpckhdq,
        Vpunpckhqdq => shuffle::Punpckhqdq,
        Vunpcklps => shuffle::Punpckldq,
        Vunpcklpd => shuffle::Punpcklqdq,
        Vunpckhps => shuffle::Punpckhdq,
        Vunpckhpd => shuffle::Punpckhqdq,
        Vpackuswb => shuffle::Packuswb,
        Vpacksswb => shuffle::Packsswb,
        Vpackssdw => shuffle::Packssdw,
        Vmovhlps => shuffle::Movhlps,
        Vmovlhps => shuffle::Punpcklqdq,
        Vmovshdup => shuffle::Movshdup,
        Vmovsldup => shuffle::Movsldup,
        Vpabsb => int::Pabsb,
        Vpabsw => int::Pabsw,
        Vpackusdw => shuffle::Packusdw,
        Vpaddsb => int::Paddsb,
        Vpaddsw => int::Paddsw,
        Vpaddusw => int::Paddusw,
        Vpavgw => int::Pavgw,
        Vpcmpgtq => int::Pcmpgtq,
        Vphaddw => widen::Phaddw,
        Vphaddd => widen::Phaddd,
        Vpmaxsb => int::Pmaxsb,
        Vpmaxuw => int::Pmaxuw,
        Vpmaxud => int::Pmaxud,
        Vpminsb => int::Pminsb,
        Vpminuw => int::Pminuw,
        Vpmuldq => widen::Pmuldq,
        Vpmulhrsw => int::Pmulhrsw,
        Vpmulhuw => int::Pmulhuw,
        Vpsignb => int::Psignb,
        Vpsignw => int::Psignw,
        Vpsignd => int::Psignd,
        Vpsubsb => int::Psubsb,
        Vpsubsw => int::Psubsw,
        Vpsubusw => int::Psubusw,
        Vpsllvq => int::Psllvq,
        Vpsrlvq => int::Psrlvq,
        Vpsravd => int::Psravd,
        Vpsllvd => int::Psllvd,
        Vpsrlvd => int::Psrlvd,
    )
}

#[rustfmt::skip]
fn controlled(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<Handler> {
    use Mnemonic::{Vblendpd, Vblendps, Vpblendd, Vshufpd};
    let stepped = match (mnemonic, wide) {
        (Vblendps | Vpblendd, false) => select::<Stepped<shuffle::Blendps, 4, false>>(form),
        (Vblendps | Vpblendd, true) => select::<Stepped<shuffle::Blendps, 4, true>>(form),
        (Vblendpd, false) => select::<Stepped<shuffle::Blendpd, 2, false>>(form),
        (Vblendpd, true) => select::<Stepped<shuffle::Blendpd, 2, true>>(form),
        (Vshufpd, false) => select::<Stepped<shuffle::Shufpd, 2, false>>(form),
        (Vshufpd, true) => select::<Stepped<shuffle::Shufpd, 2, true>>(form),
        _ => None,
    };
    stepped.or_else(|| alike(mnemonic, form, wide))
}

/// What does the same in both halves.
#[rustfmt::skip]
fn alike(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<Handler> {
    table!(mnemonic, form, wide, Controlled;
        Vpshufd => shuffle::Pshufd,
        Vpshufhw => shuffle::Pshufhw,
        Vpshuflw => shuffle::Pshuflw,
        Vshufps => shuffle::Shufps,
        Vpalignr => shuffle::Palignr,
        Vpblendw => shuffle::Pblendw,
    )
}

fn shifts(mnemonic: Mnemonic, wide: bool) -> Option<Handler> {
    macro_rules! shifts {
        ($($m:ident => $op:ty,)*) => {
            match (mnemonic, wide) {
                $((Mnemonic::$m, false) => immediate_shift::<$op, false>,
                  (Mnemonic::$m, true) => immediate_shift::<$op, true>,)*
                _ => return None,
            }
        };
    }
    Some(shifts! {
        Vpsllw => shift::Psllw,
        Vpslld => shift::Pslld,
        Vpsllq => shift::Psllq,
        Vpsrlw => shift::Psrlw,
        Vpsrld => shift::Psrld,
        Vpsrlq => shift::Psrlq,
        Vpsraw => shift::Psraw,
        Vpsrad => shift::Psrad,
        Vpslldq => shift::Pslldq,
        Vpsrldq => shift::Psrldq,
    })
}

fn masks(mnemonic: Mnemonic, wide: bool) -> Option<Handler> {
    Some(match (mnemonic, wide) {
        (Mnemonic::Vpmovmskb, false) => sign_mask::<u8, false>,
        (Mnemonic::Vpmovmskb, true) => sign_mask::<u8, true>,
        (Mnemonic::Vmovmskps, false) => sign_mask::<u32, false>,
        (Mnemonic::Vmovmskps, true) => sign_mask::<u32, true>,
        (Mnemonic::Vmovmskpd, false) => sign_mask::<u64, false>,
        (Mnemonic::Vmovmskpd, true) => sign_mask::<u64, true>,
        _ => return None,
    })
}
