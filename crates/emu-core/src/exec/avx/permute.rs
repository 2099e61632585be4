//! What moves elements across the halves: permutations, broadcasts, insertion and extraction of halves [SDM-2C].

use iced_x86::{Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::is_memory;
use super::{Halves, ZERO, each, enter, finish, halves, load, source, store, width};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::lane::{self, Lane};

/// Lane `i` of both halves.
fn lane_of<T: Lane>(v: &Halves, i: usize) -> T {
    let n = lane::count::<T, 16>();
    T::get(&v[i / n & 1], i % n)
}

/// VPERMD and VPERMPS: doublewords of the last operand, chosen by those of the one before.
fn by_vector(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = source::<16>(sys, insn, 2, 2)?;
    let chosen = halves(sys, insn.op1_register());
    let index = |h: usize, i: usize| (u32::get(&chosen[h], i) & 7) as usize;
    finish(sys, insn, each(2, |h| lane::build(|i| lane_of::<u32>(&v, index(h, i)))))
}

/// VPERMQ and VPERMPD: quadwords by two-bit selectors.
fn by_immediate(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = source::<16>(sys, insn, 1, 2)?;
    let imm = usize::from(insn.immediate8());
    finish(sys, insn, each(2, |h| lane::build(|i| lane_of::<u64>(&v, imm >> (4 * h + 2 * i) & 3))))
}

/// VPERM2F128 and VPERM2I128: each half is one of four, or zero.
fn halves_by_immediate(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let b = source::<16>(sys, insn, 2, 2)?;
    let a = halves(sys, insn.op1_register());
    let all = [a[0], a[1], b[0], b[1]];
    let control = |h: usize| usize::from(insn.immediate8() >> (4 * h) & 15);
    finish(sys, insn, each(2, |h| if control(h) & 8 != 0 { ZERO } else { all[control(h) & 3] }))
}

fn insert(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = source::<16>(sys, insn, 2, 1)?[0];
    let mut a = halves(sys, insn.op1_register());
    a[usize::from(insn.immediate8() & 1)] = v;
    finish(sys, insn, a)
}

fn extract(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = [halves(sys, insn.op1_register())[usize::from(insn.immediate8() & 1)], ZERO];
    if is_memory(insn, 0) { store(sys, insn, v, 16) } else { finish(sys, insn, v) }
}

/// One element of `M` bytes to all places.
fn broadcast<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let v = if is_memory(insn, 1) {
        load(sys, insn, M)?
    } else {
        let low = halves(sys, insn.op1_register())[0];
        core::array::from_fn(|i| if i < 16 { low[i] } else { 0 })
    };
    finish(sys, insn, each(width(insn), |_| core::array::from_fn(|i| v[i % M])))
}

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vpermd | Vpermps => by_vector,
        Vpermq | Vpermpd => by_immediate,
        Vperm2f128 | Vperm2i128 => halves_by_immediate,
        Vinsertf128 | Vinserti128 => insert,
        Vextractf128 | Vextracti128 => extract,
        Vpbroadcastb => broadcast::<1>,
        Vpbroadcastw => broadcast::<2>,
        Vpbroadcastd | Vbroadcastss => broadcast::<4>,
        Vpbroadcastq | Vbroadcastsd => broadcast::<8>,
        Vbroadcastf128 | Vbroadcasti128 => broadcast::<16>,
        _ => return None,
    })
}
