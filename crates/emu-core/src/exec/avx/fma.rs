//! FMA3 [SDM-1 14.5; SDM-2C VFMADD132PS and its kin]. The digits tell which operands are multiplied: of 1, 2 and 3 the
//! first two numbers, and the last is added.

use core::marker::PhantomData;

use iced_x86::{Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::{environment, settle};
use super::{Halves, each, enter, finish, halves, mnemonic_table, source, width};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::float::fma::{Signs, fma};
use crate::simd::float::{Env, F32, F64, Format};

/// One mnemonic: its operand order and the sign of the product and, in even and odd lanes, of the addend.
struct Kind<F, const ORDER: u32, const PRODUCT: bool, const EVEN: bool, const ODD: bool>(PhantomData<F>);

trait Fused {
    type F: Format;
    /// One lane, from operands 1, 2 and 3.
    fn lane(operands: [u64; 3], i: usize, env: &mut Env) -> u64;
}

impl<F: Format, const ORDER: u32, const PRODUCT: bool, const EVEN: bool, const ODD: bool> Fused
    for Kind<F, ORDER, PRODUCT, EVEN, ODD>
{
    type F = F;
    #[inline]
    fn lane([a, b, c]: [u64; 3], i: usize, env: &mut Env) -> u64 {
        let signs = Signs { product: PRODUCT, addend: if i & 1 == 0 { EVEN } else { ODD } };
        match ORDER {
            132 => fma::<F>(a, c, b, signs, env),
            213 => fma::<F>(b, a, c, signs, env),
            _ => fma::<F>(b, c, a, signs, env),
        }
    }
}

/// All lanes, or lane 0 alone with the rest of the destination kept.
fn compute<K: Fused>(sys: &mut System, insn: &Instruction, c: Halves, lanes: usize) -> Outcome {
    let (a, b) = (halves(sys, insn.op0_register()), halves(sys, insn.op1_register()));
    let mut env = environment(sys);
    let r = each(width(insn), |h| {
        let mut r = a[h];
        for i in 0..lanes {
            let operands = [K::F::get(&a[h], i), K::F::get(&b[h], i), K::F::get(&c[h], i)];
            K::F::put(K::lane(operands, i, &mut env), &mut r, i);
        }
        r
    });
    settle(sys, &env)?;
    finish(sys, insn, r)
}

fn packed<K: Fused>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let c = source::<16>(sys, insn, 2, width(insn))?;
    compute::<K>(sys, insn, c, 128 / <K::F as crate::simd::float::Layout>::WIDTH as usize)
}

fn scalar<K: Fused>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let single = <K::F as crate::simd::float::Layout>::WIDTH == 32;
    let c = if single { source::<4>(sys, insn, 2, 1)? } else { source::<8>(sys, insn, 2, 1)? };
    compute::<K>(sys, insn, c, 1)
}

#[rustfmt::skip]
pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    mnemonic_table!(mnemonic;
        packed {
            Vfmadd132ps => Kind<F32, 132, false, false, false>,
            Vfmadd132pd => Kind<F64, 132, false, false, false>,
            Vfmadd213ps => Kind<F32, 213, false, false, false>,
            Vfmadd213pd => Kind<F64, 213, false, false, false>,
            Vfmadd231ps => Kind<F32, 231, false, false, false>,
            Vfmadd231pd => Kind<F64, 231, false, false, false>,
            Vfmsub132ps => Kind<F32, 132, false, true, true>,
            Vfmsub132pd => Kind<F64, 132, false, true, true>,
            Vfmsub213ps => Kind<F32, 213, false, true, true>,
            Vfmsub213pd => Kind<F64, 213, false, true, true>,
            Vfmsub231ps => Kind<F32, 231, false, true, true>,
            Vfmsub231pd => Kind<F64, 231, false, true, true>,
            Vfnmadd132ps => Kind<F32, 132, true, false, false>,
            Vfnmadd132pd => Kind<F64, 132, true, false, false>,
            Vfnmadd213ps => Kind<F32, 213, true, false, false>,
            Vfnmadd213pd => Kind<F64, 213, true, false, false>,
            Vfnmadd231ps => Kind<F32, 231, true, false, false>,
            Vfnmadd231pd => Kind<F64, 231, true, false, false>,
            Vfnmsub132ps => Kind<F32, 132, true, true, true>,
            Vfnmsub132pd => Kind<F64, 132, true, true, true>,
            Vfnmsub213ps => Kind<F32, 213, true, true, true>,
            Vfnmsub213pd => Kind<F64, 213, true, true, true>,
            Vfnmsub231ps => Kind<F32, 231, true, true, true>,
            Vfnmsub231pd => Kind<F64, 231, true, true, true>,
            Vfmaddsub132ps => Kind<F32, 132, false, true, false>,
            Vfmaddsub132pd => Kind<F64, 132, false, true, false>,
            Vfmaddsub213ps => Kind<F32, 213, false, true, false>,
            Vfmaddsub213pd => Kind<F64, 213, false, true, false>,
            Vfmaddsub231ps => Kind<F32, 231, false, true, false>,
            Vfmaddsub231pd => Kind<F64, 231, false, true, false>,
            Vfmsubadd132ps => Kind<F32, 132, false, false, true>,
            Vfmsubadd132pd => Kind<F64, 132, false, false, true>,
            Vfmsubadd213ps => Kind<F32, 213, false, false, true>,
            Vfmsubadd213pd => Kind<F64, 213, false, false, true>,
            Vfmsubadd231ps => Kind<F32, 231, false, false, true>,
            Vfmsubadd231pd => Kind<F64, 231, false, false, true>,
        }
        scalar {
            Vfmadd132ss => Kind<F32, 132, false, false, false>,
            Vfmadd132sd => Kind<F64, 132, false, false, false>,
            Vfmadd213ss => Kind<F32, 213, false, false, false>,
            Vfmadd213sd => Kind<F64, 213, false, false, false>,
            Vfmadd231ss => Kind<F32, 231, false, false, false>,
            Vfmadd231sd => Kind<F64, 231, false, false, false>,
            Vfmsub132ss => Kind<F32, 132, false, true, true>,
            Vfmsub132sd => Kind<F64, 132, false, true, true>,
            Vfmsub213ss => Kind<F32, 213, false, true, true>,
            Vfmsub213sd => Kind<F64, 213, false, true, true>,
            Vfmsub231ss => Kind<F32, 231, false, true, true>,
            Vfmsub231sd => Kind<F64, 231, false, true, true>,
            Vfnmadd132ss => Kind<F32, 132, true, false, false>,
            Vfnmadd132sd => Kind<F64, 132, true, false, false>,
            Vfnmadd213ss => Kind<F32, 213, true, false, false>,
            Vfnmadd213sd => Kind<F64, 213, true, false, false>,
            Vfnmadd231ss => Kind<F32, 231, true, false, false>,
            Vfnmadd231sd => Kind<F64, 231, true, false, false>,
            Vfnmsub132ss => Kind<F32, 132, true, true, true>,
            Vfnmsub132sd => Kind<F64, 132, true, true, true>,
            Vfnmsub213ss => Kind<F32, 213, true, true, true>,
            Vfnmsub213sd => Kind<F64, 213, true, true, true>,
            Vfnmsub231ss => Kind<F32, 231, true, true, true>,
            Vfnmsub231sd => Kind<F64, 231, true, true, true>,
        }
    )
}
