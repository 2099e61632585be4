//! VMASKMOV and VPMASKMOV [SDM-2C]: elements whose mask has its top bit set. What is not chosen is not accessed, and can't
//! fault.

use iced_x86::{Instruction, Mnemonic};

use super::super::Exec;
use super::super::sse::is_memory;
use super::{ZERO, enter, finish, halves, width};
use crate::System;
use crate::cpu::{Mode, Outcome};

/// Places of the elements of `M` bytes that the mask in `register` chooses: half, and offset in it.
fn chosen<const M: usize>(mask: [[u8; 16]; 2], width: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..width).flat_map(|h| (0..16).step_by(M).map(move |at| (h, at)));
    all.filter(move |&(h, at)| mask[h][at + M - 1] & 0x80 != 0)
}

/// One element as a whole, but where its alignment would be checked: these instructions raise no #AC.
fn read<const M: usize>(sys: &mut System, segment: usize, offset: u64, to: &mut [u8]) -> Outcome {
    match M {
        _ if sys.cpu.mode.has(Mode::ALIGN) => sys.read_bytes(segment, offset, to)?,
        4 => to.copy_from_slice(&sys.read::<u32>(segment, offset)?.to_le_bytes()),
        _ => to.copy_from_slice(&sys.read::<u64>(segment, offset)?.to_le_bytes()),
    }
    Ok(())
}

/// As [`read`].
fn write<const M: usize>(sys: &mut System, segment: usize, offset: u64, from: &[u8]) -> Outcome {
    let value = from.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
    match M {
        _ if sys.cpu.mode.has(Mode::ALIGN) => sys.write_bytes(segment, offset, from),
        4 => sys.write(segment, offset, value as u32),
        _ => sys.write(segment, offset, value),
    }
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
            write::<M>(sys, segment, place(p), &v[p.0][p.1..p.1 + M])?;
        }
        return Ok(());
    }
    let mut v = [ZERO; 2];
    for p in chosen::<M>(mask, w) {
        read::<M>(sys, segment, place(p), &mut v[p.0][p.1..p.1 + M])?;
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
