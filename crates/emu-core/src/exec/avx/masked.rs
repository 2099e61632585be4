//! VMASKMOV and VPMASKMOV [SDM-2C]: elements whose mask has its top bit set. What is not chosen is not accessed, and can't
//! fault.

use iced_x86::{Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::is_memory;
use super::{ZERO, enter, finish, halves, width};
use crate::System;
use crate::cpu::Outcome;

/// Places of the elements of `M` bytes that the mask in `register` chooses: half, and offset in it.
fn chosen<const M: usize>(mask: [[u8; 16]; 2], width: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..width).flat_map(|h| (0..16).step_by(M).map(move |at| (h, at)));
    all.filter(move |&(h, at)| mask[h][at + M - 1] & 0x80 != 0)
}

fn masked<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome {
    enter(sys)?;
    let w = width(insn);
    let mask = halves(sys, insn.op1_register());
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let place = |(h, at): (usize, usize)| offset.wrapping_add((16 * h + at) as u64);
    if is_memory(insn, 0) {
        let v = halves(sys, insn.op2_register());
        for p in chosen::<M>(mask, w) {
            sys.probe(segment, place(p), M as u64, true)?;
        }
        for p in chosen::<M>(mask, w) {
            sys.write_bytes(segment, place(p), &v[p.0][p.1..p.1 + M])?;
        }
        return Ok(());
    }
    let mut v = [ZERO; 2];
    for p in chosen::<M>(mask, w) {
        sys.read_bytes(segment, place(p), &mut v[p.0][p.1..p.1 + M])?;
    }
    finish(sys, insn, v)
}

pub(super) fn lookup(mnemonic: Mnemonic) -> Option<Exec> {
    use Mnemonic::*;
    Some(match mnemonic {
        Vmaskmovps | Vpmaskmovd => masked::<4>,
        Vmaskmovpd | Vpmaskmovq => masked::<8>,
        _ => return None,
    })
}
