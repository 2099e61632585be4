//! Fused multiply-add. Order and signs stand in the op, so that one handler serves all mnemonics of a shape.

use core::marker::PhantomData;

use iced_x86::Mnemonic;

use super::super::float::ordinary_mode;
use super::address::{Form, Source};
use super::{Shape, ZERO, enabled, first, halves, immediate, select, set_halves, slow, source};
use crate::System;
use crate::engine::{Handler, OpRef, next};
use crate::exec::avx::Halves;
use crate::simd::float::fma::{Signs, fused};
use crate::simd::float::{F32, F64, Format};

/// Bits of an op's control byte: the order 132, 213 or 231 as 0, 1 or 2, and what is negated.
const PRODUCT: u8 = 4;
const ADDEND: u8 = 8;

fn signs(control: u8) -> Signs {
    Signs { product: control & PRODUCT != 0, addend: control & ADDEND != 0 }
}

/// The factors and the addend, from operands 1, 2 and 3.
#[inline(always)]
fn ordered<T: Copy>(control: u8, a: T, b: T, c: T) -> [T; 3] {
    match control & 3 {
        0 => [a, c, b],
        1 => [b, a, c],
        _ => [b, c, a],
    }
}

/// All elements. Its own function, so that the handler's operands need no addresses.
#[inline(never)]
fn compute<F: Format, const WIDE: bool>(sys: &mut System, op: OpRef, low: u128, high: u128) -> bool {
    let (a, b) = (halves::<WIDE>(sys, op.a()), halves::<WIDE>(sys, first(op)));
    let c: Halves = [low.to_le_bytes(), high.to_le_bytes()];
    let [x, y, z] = ordered(immediate(op), a, b, c);
    let signs = signs(immediate(op));
    let mut r = [ZERO; 2];
    for h in 0..1 + usize::from(WIDE) {
        for i in 0..128 / F::WIDTH as usize {
            let Some(v) = fused::<F>(F::get(&x[h], i), F::get(&y[h], i), F::get(&z[h], i), signs) else { return false };
            F::put(v, &mut r[h], i);
        }
    }
    set_halves::<WIDE>(sys, op.a(), r);
    true
}

/// The lowest element; the others are the destination's.
#[inline(never)]
fn compute_lowest<F: Format>(sys: &mut System, op: OpRef, c: u64) -> bool {
    let (mut a, b) = (halves::<false>(sys, op.a())[0], halves::<false>(sys, first(op))[0]);
    let [x, y, z] = ordered(immediate(op), F::get(&a, 0), F::get(&b, 0), c);
    let Some(v) = fused::<F>(x, y, z, signs(immediate(op))) else { return false };
    F::put(v, &mut a, 0);
    set_halves::<false>(sys, op.a(), [a, ZERO]);
    true
}

struct Whole<F, const WIDE: bool>(PhantomData<F>);

impl<F: Format, const WIDE: bool> Shape for Whole<F, WIDE> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let Some([low, high]) = source::<S, WIDE>(sys, op) else { return slow(sys, op) };
        let ordinary = ordinary_mode(sys) & enabled(sys);
        if !ordinary || !compute::<F, WIDE>(sys, op, u128::from_le_bytes(low), u128::from_le_bytes(high)) {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

struct Lowest<F>(PhantomData<F>);

impl<F: Format> Shape for Lowest<F> {
    fn run<S: Source>(sys: &mut System, op: OpRef) {
        let source = if F::WIDTH == 32 { S::low::<u32>(sys, op) } else { S::low::<u64>(sys, op) };
        let Some(c) = source else { return slow(sys, op) };
        if !(ordinary_mode(sys) & enabled(sys)) || !compute_lowest::<F>(sys, op, F::get(&c, 0)) {
            return slow(sys, op);
        }
        next!(sys, op, 2)
    }
}

macro_rules! table {
    ($mnemonic:expr, $form:expr, $wide:expr; $($control:expr => $ps:ident $pd:ident $ss:ident $sd:ident,)*) => {
        match ($mnemonic, $wide) {
            $((Mnemonic::$ps, false) => Some((select::<Whole<F32, false>>($form)?, $control)),
              (Mnemonic::$ps, true) => Some((select::<Whole<F32, true>>($form)?, $control)),
              (Mnemonic::$pd, false) => Some((select::<Whole<F64, false>>($form)?, $control)),
              (Mnemonic::$pd, true) => Some((select::<Whole<F64, true>>($form)?, $control)),
              (Mnemonic::$ss, _) => Some((select::<Lowest<F32>>($form)?, $control)),
              (Mnemonic::$sd, _) => Some((select::<Lowest<F64>>($form)?, $control)),)*
            _ => None,
        }
    };
}

#[rustfmt::skip]
pub(super) fn lookup(mnemonic: Mnemonic, form: Form, wide: bool) -> Option<(Handler, u8)> {
    table!(mnemonic, form, wide;
        0 => Vfmadd132ps Vfmadd132pd Vfmadd132ss Vfmadd132sd,
        1 => Vfmadd213ps Vfmadd213pd Vfmadd213ss Vfmadd213sd,
        2 => Vfmadd231ps Vfmadd231pd Vfmadd231ss Vfmadd231sd,
        ADDEND => Vfmsub132ps Vfmsub132pd Vfmsub132ss Vfmsub132sd,
        1 | ADDEND => Vfmsub213ps Vfmsub213pd Vfmsub213ss Vfmsub213sd,
        2 | ADDEND => Vfmsub231ps Vfmsub231pd Vfmsub231ss Vfmsub231sd,
        PRODUCT => Vfnmadd132ps Vfnmadd132pd Vfnmadd132ss Vfnmadd132sd,
        1 | PRODUCT => Vfnmadd213ps Vfnmadd213pd Vfnmadd213ss Vfnmadd213sd,
        2 | PRODUCT => Vfnmadd231ps Vfnmadd231pd Vfnmadd231ss Vfnmadd231sd,
        PRODUCT | ADDEND => Vfnmsub132ps Vfnmsub132pd Vfnmsub132ss Vfnmsub132sd,
        1 | PRODUCT | ADDEND => Vfnmsub213ps Vfnmsub213pd Vfnmsub213ss Vfnmsub213sd,
        2 | PRODUCT | ADDEND => Vfnmsub231ps Vfnmsub231pd Vfnmsub231ss Vfnmsub231sd,
    )
}
