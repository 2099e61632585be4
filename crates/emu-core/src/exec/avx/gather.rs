//! Gathers [SDM-2C VGATHERDPS, VPGATHERDD]: elements from addresses that a vector of indices gives.
//!
//! They restart: every element that has arrived is in the destination, and its mask is zero, when a later one faults; the
//! instruction then goes on where it stopped. Elements arrive from the lowest to the highest.

use iced_x86::{Instruction, Mnemonic, Register};

use super::super::Exec;
use super::super::operands::address_size;
use super::{Halves, ZERO, enter, halves, set_halves};
use crate::System;
use crate::cpu::Outcome;
use crate::simd::lane::Lane;

/// Bytes in a vector register.
fn size(r: Register) -> usize {
    if r.is_ymm() { 32 } else { 16 }
}

fn index<const INDEX: usize>(v: &Halves, i: usize) -> u64 {
    let (h, at) = (i * INDEX / 16, i * INDEX % 16 / INDEX);
    if INDEX == 4 { i32::get(&v[h], at) as u64 } else { u64::get(&v[h], at) }
}

/// Elements of `ELEMENT` bytes by indices of `INDEX` bytes.
fn gather<const ELEMENT: usize, const INDEX: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let (to, by, mask_register) = (insn.op0_register(), insn.memory_index(), insn.op2_register());
    let count = (size(to) / ELEMENT).min(size(by) / INDEX);
    let indices = halves(sys, by);
    let (mut v, mut mask) = (halves(sys, to), halves(sys, mask_register));
    // What the elements do not fill becomes zero, also where the instruction faults at its first element.
    clear_above(&mut v, count * ELEMENT);
    clear_above(&mut mask, count * ELEMENT);
    spread_signs::<ELEMENT>(&mut mask);
    let segment = sys.operand_segment(insn);
    let mut outcome = Ok(());
    for i in 0..count {
        let (h, at) = (i * ELEMENT / 16, i * ELEMENT % 16);
        if mask[h][at] == 0 {
            continue;
        }
        let offset = offset(sys, insn, index::<INDEX>(&indices, i));
        outcome = read_element::<ELEMENT>(sys, segment, offset, &mut v[h][at..at + ELEMENT]);
        if outcome.is_err() {
            break;
        }
        mask[h][at..at + ELEMENT].fill(0);
    }
    set_halves(sys, to, v);
    set_halves(sys, mask_register, mask);
    outcome
}

fn read_element<const ELEMENT: usize>(sys: &mut System, segment: usize, offset: u64, to: &mut [u8]) -> Outcome {
    if ELEMENT == 4 {
        to.copy_from_slice(&sys.read::<u32>(segment, offset)?.to_le_bytes());
    } else {
        to.copy_from_slice(&sys.read::<u64>(segment, offset)?.to_le_bytes());
    }
    Ok(())
}

/// Every element of a mask becomes all ones or zeros, as its top bit is.
fn spread_signs<const ELEMENT: usize>(mask: &mut Halves) {
    for element in mask.iter_mut().flat_map(|half| half.chunks_exact_mut(ELEMENT)) {
        let fill = if element[ELEMENT - 1] & 0x80 != 0 { 0xFF } else { 0 };
        element.fill(fill);
    }
}

fn clear_above(v: &mut Halves, len: usize) {
    if len <= 16 {
        v[1] = ZERO;
        v[0][len..].fill(0);
    }
}

/// Base, scaled index and displacement, as wide as the instruction's addresses are.
fn offset(sys: &System, insn: &Instruction, index: u64) -> u64 {
    let scaled = index.wrapping_mul(insn.memory_index_scale().into());
    let base = sys.register(insn.memory_base());
    let ea = base.wrapping_add(scaled).wrapping_add(insn.memory_displacement64());
    if address_size(insn) == 4 { ea & 0xFFFF_FFFF } else { ea }
}

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vpgatherdd | Vgatherdps => gather::<4, 4>,
        Vpgatherdq | Vgatherdpd => gather::<8, 4>,
        Vpgatherqd | Vgatherqps => gather::<4, 8>,
        Vpgatherqq | Vgatherqpd => gather::<8, 8>,
        _ => return None,
    })
}
