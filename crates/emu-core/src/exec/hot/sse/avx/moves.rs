//! Moves, broadcasts, and VZEROUPPER.

use core::marker::PhantomData;

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

use super::address::{Address, Form, Source, write_16, write_32};
use super::{Shape, Store, ZERO, each, enabled, first, select, select_store, set_halves, slow, source};
use crate::System;
use crate::engine::{Builder, Handler, OpRef, next};
use crate::mem::Scalar;

/// A whole register.
struct Load<const WIDE: bool>;

impl<const WIDE: bool> Shape for Load<WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        set_halves::<WIDE>(sys, op.a(), v);
        next!(sys, op, 2)
    }
}

/// The same from a multiple of its size.
struct LoadAligned<const WIDE: bool>;

impl<const WIDE: bool> Shape for LoadAligned<WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let alignment = if WIDE { 32 } else { 16 };
        let Some(v) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) || !S::is_aligned(sys, op, alignment) {
            return slow(sys, op);
        }
        set_halves::<WIDE>(sys, op.a(), v);
        next!(sys, op, 2)
    }
}

struct StoreWhole<const ALIGNED: bool, const WIDE: bool>;

impl<const ALIGNED: bool, const WIDE: bool> Store for StoreWhole<ALIGNED, WIDE> {
    fn run<A: Address>(sys: &mut System, op: OpRef) {
        let linear = A::linear(sys, op);
        let (low, high) = (sys.cpu.xmm[op.a() & 15], sys.cpu.ymm_high[op.a() & 15]);
        let alignment = if !ALIGNED {
            1
        } else if WIDE {
            32
        } else {
            16
        };
        let stored = enabled(sys)
            && if WIDE { write_32(sys, linear, [low, high], alignment) } else { write_16(sys, linear, low, alignment) };
        if !stored {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

/// VMOVSS, VMOVSD, VMOVD and VMOVQ from memory, VMOVQ from a register: zeros above the element.
struct LoadLow<T>(PhantomData<T>);

impl<T: Scalar> Shape for LoadLow<T> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = S::low::<T>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let v = u128::from_le_bytes(v) & ((1 << (8 * T::SIZE)) - 1);
        set_halves::<false>(sys, op.a(), [v.to_le_bytes(), ZERO]);
        next!(sys, op, 2)
    }
}

/// VMOVSS and VMOVSD between registers.
fn merge<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let mask = (1u128 << (8 * T::SIZE)) - 1;
    let v = sys.cpu.xmm[first(op) & 15] & !mask | sys.cpu.xmm[op.b() & 15] & mask;
    set_halves::<false>(sys, op.a(), [v.to_le_bytes(), ZERO]);
    next!(sys, op, 2)
}

struct StoreLow<T>(PhantomData<T>);

impl<T: Scalar> Store for StoreLow<T> {
    fn run<A: Address>(sys: &mut System, op: OpRef) {
        let v = T::from_u64(sys.cpu.xmm[op.a() & 15] as u64);
        if !enabled(sys) || !sys.tlb.write(A::linear(sys, op), v) {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

/// VMOVD and VMOVQ from a general register.
fn from_general<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    let v = u128::from(T::from_u64(sys.cpu.regs[op.b() & 15]).to_u64());
    set_halves::<false>(sys, op.a(), [v.to_le_bytes(), ZERO]);
    next!(sys, op, 2)
}

/// VMOVD and VMOVQ to a general register: `a` is that, `b` the vector register.
fn to_general<T: Scalar>(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    sys.cpu.regs[op.a() & 15] = T::from_u64(sys.cpu.xmm[op.b() & 15] as u64).to_u64();
    next!(sys, op, 2)
}

/// An element of type `T` to all places.
struct Broadcast<T, const WIDE: bool>(PhantomData<T>);

impl<T: Scalar, const WIDE: bool> Shape for Broadcast<T, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some(v) = S::low::<T>(sys, op) else { return slow(sys, op) };
        if !enabled(sys) {
            return slow(sys, op);
        }
        let size = T::SIZE as usize;
        set_halves::<WIDE>(sys, op.a(), each::<WIDE>(|_| core::array::from_fn(|i| v[i % size])));
        next!(sys, op, 2)
    }
}

fn vzeroupper(sys: &mut System, op: OpRef) {
    if !enabled(sys) {
        return slow(sys, op);
    }
    sys.cpu.ymm_high = [0; 16];
    next!(sys, op, 2)
}

/// VZEROUPPER, which has no operands.
pub(super) fn lower_zeroupper(insn: &Instruction, b: &mut Builder<'_>) -> bool {
    let exec = crate::exec::avx::lookup(insn.code());
    let (Code::VEX_Vzeroupper, Some(exec)) = (insn.code(), exec) else { return false };
    b.op(vzeroupper, [0; 4], 0);
    let number = b.decoded(exec, insn);
    b.wide(number.into());
    true
}

pub(super) fn lookup(insn: &Instruction, form: Form, wide: bool) -> Option<Handler> {
    if insn.op0_kind() == OpKind::Memory { stores(insn, form, wide) } else { loads(insn, form, wide) }
}

fn loads(insn: &Instruction, form: Form, wide: bool) -> Option<Handler> {
    use Mnemonic::*;
    let register = matches!(form, Form::Register);
    match (insn.mnemonic(), wide) {
        (Vmovups | Vmovupd | Vmovdqu | Vlddqu, false) => select::<Load<false>>(form),
        (Vmovups | Vmovupd | Vmovdqu | Vlddqu, true) => select::<Load<true>>(form),
        (Vmovaps | Vmovapd | Vmovdqa, false) => select::<LoadAligned<false>>(form),
        (Vmovaps | Vmovapd | Vmovdqa, true) => select::<LoadAligned<true>>(form),
        (Vmovss, _) if register => Some(merge::<u32>),
        (Vmovsd, _) if register => Some(merge::<u64>),
        (Vmovss, _) => select::<LoadLow<u32>>(form),
        (Vmovsd, _) => select::<LoadLow<u64>>(form),
        (Vpbroadcastb, false) => select::<Broadcast<u8, false>>(form),
        (Vpbroadcastb, true) => select::<Broadcast<u8, true>>(form),
        (Vpbroadcastw, false) => select::<Broadcast<u16, false>>(form),
        (Vpbroadcastw, true) => select::<Broadcast<u16, true>>(form),
        (Vpbroadcastd | Vbroadcastss, false) => select::<Broadcast<u32, false>>(form),
        (Vpbroadcastd | Vbroadcastss, true) => select::<Broadcast<u32, true>>(form),
        (Vpbroadcastq, false) => select::<Broadcast<u64, false>>(form),
        (Vpbroadcastq | Vbroadcastsd, true) => select::<Broadcast<u64, true>>(form),
        _ => general(insn.code(), form),
    }
}

/// Between vector and general registers, or memory in their place.
fn general(code: Code, form: Form) -> Option<Handler> {
    let register = matches!(form, Form::Register);
    match code {
        Code::VEX_Vmovq_xmm_xmmm64 => select::<LoadLow<u64>>(form),
        Code::VEX_Vmovd_xmm_rm32 if register => Some(from_general::<u32>),
        Code::VEX_Vmovq_xmm_rm64 if register => Some(from_general::<u64>),
        Code::VEX_Vmovd_rm32_xmm if register => Some(to_general::<u32>),
        Code::VEX_Vmovq_rm64_xmm if register => Some(to_general::<u64>),
        Code::VEX_Vmovd_xmm_rm32 => select::<LoadLow<u32>>(form),
        Code::VEX_Vmovq_xmm_rm64 => select::<LoadLow<u64>>(form),
        _ => None,
    }
}

fn stores(insn: &Instruction, form: Form, wide: bool) -> Option<Handler> {
    use Mnemonic::*;
    match (insn.mnemonic(), wide) {
        (Vmovups | Vmovupd | Vmovdqu, false) => select_store::<StoreWhole<false, false>>(form),
        (Vmovups | Vmovupd | Vmovdqu, true) => select_store::<StoreWhole<false, true>>(form),
        (Vmovaps | Vmovapd | Vmovdqa | Vmovntps | Vmovntpd | Vmovntdq, false) => {
            select_store::<StoreWhole<true, false>>(form)
        }
        (Vmovaps | Vmovapd | Vmovdqa | Vmovntps | Vmovntpd | Vmovntdq, true) => {
            select_store::<StoreWhole<true, true>>(form)
        }
        (Vmovss | Vmovd, _) => select_store::<StoreLow<u32>>(form),
        (Vmovsd | Vmovq | Vmovlps | Vmovlpd, _) => select_store::<StoreLow<u64>>(form),
        _ => None,
    }
}
