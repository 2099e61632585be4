//! What VEX-encoded instructions need of the machine: the faults that control registers make, registers as pairs of
//! halves, and memory operands, which may lie at any address.

use iced_x86::{Instruction, OpKind, Register};

use super::super::sse::{self, Encoding, is_memory};
use crate::System;
use crate::cpu::bits::{CR0_TS, CR4_OSXSAVE};
use crate::cpu::{Fault, Mode, Outcome};
use crate::mem::PAGE_SIZE;
use crate::simd::float::packed::Xmm;

/// XCR0's bits of SSE and AVX state.
pub(crate) const XCR0_YMM: u64 = 6;

/// A YMM register, lower half first.
pub(crate) type Halves = [Xmm; 2];

pub(crate) const ZERO: Xmm = [0; 16];

/// The VEX encoding: 128-bit results clear the upper half.
pub(crate) struct Vex;

impl Encoding for Vex {
    const FIRST: u32 = 1;
    #[inline(always)]
    fn enter(sys: &System) -> Outcome {
        enter(sys)
    }
    #[inline(always)]
    fn put(sys: &mut System, register: Register, v: Xmm) {
        set_halves(sys, register, [v, ZERO]);
    }
}

/// The faults common to all: #UD in real and V86 mode and unless the system has enabled AVX state, #NM after a task
/// switch. CR0.EM and CR4.OSFXSR do not concern them [SDM-2A 2.4].
#[inline]
pub(crate) fn enter(sys: &System) -> Outcome {
    let enabled = sys.cpu.cr4 & CR4_OSXSAVE != 0 && sys.cpu.xcr0 & XCR0_YMM == XCR0_YMM;
    if !enabled || !sys.cpu.mode.is_protected() {
        return Err(Fault::UD);
    }
    if sys.cpu.cr0 & CR0_TS != 0 {
        return Err(Fault::NM);
    }
    Ok(())
}

/// How many halves the instruction works on: 2 if any operand is a YMM register, or as large in memory (the source of a
/// narrowing conversion, whose destination is an XMM register).
#[inline]
pub(crate) fn width(insn: &Instruction) -> usize {
    let is_wide = |n| insn.op_kind(n) == OpKind::Register && insn.op_register(n).is_ymm();
    if (0..insn.op_count()).any(is_wide) || insn.memory_size().size() == 32 { 2 } else { 1 }
}

/// Number of the last operand that is not an immediate: the source that may be in memory.
#[inline]
pub(crate) fn last_source(insn: &Instruction) -> u32 {
    let last = insn.op_count() - 1;
    if insn.op_kind(last) == OpKind::Immediate8 { last - 1 } else { last }
}

/// A vector register, whole.
#[inline]
pub(crate) fn halves(sys: &System, register: Register) -> Halves {
    let n = register.number() & 15;
    [sys.cpu.xmm[n].to_le_bytes(), sys.cpu.ymm_high[n].to_le_bytes()]
}

/// Writes a vector register, whole.
#[inline]
pub(crate) fn set_halves(sys: &mut System, register: Register, [low, high]: Halves) {
    let n = register.number() & 15;
    sys.cpu.xmm[n] = u128::from_le_bytes(low);
    sys.cpu.ymm_high[n] = u128::from_le_bytes(high);
}

/// `f` of the number of each half that the instruction works on; zeros above them.
#[inline(always)]
pub(crate) fn each(width: usize, mut f: impl FnMut(usize) -> Xmm) -> Halves {
    let low = f(0);
    [low, if width == 2 { f(1) } else { ZERO }]
}

/// `len` (1, 2, 4, 8, 16 or 32) bytes of the memory operand. What is longer than a quadword is not checked for alignment.
pub(crate) fn load(sys: &mut System, insn: &Instruction, len: usize) -> Outcome<[u8; 32]> {
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let mut v = [0; 32];
    match len {
        1 => v[..1].copy_from_slice(&sse::load::<1>(sys, insn)?),
        2 => v[..2].copy_from_slice(&sse::load::<2>(sys, insn)?),
        4 => v[..4].copy_from_slice(&sse::load::<4>(sys, insn)?),
        8 => v[..8].copy_from_slice(&sse::load::<8>(sys, insn)?),
        _ if sys.cpu.mode.has(Mode::ALIGN) => sys.read_bytes(segment, offset, &mut v[..len])?,
        _ => {
            sys.linear(segment, offset, len as u64, false)?;
            for at in (0..len).step_by(8) {
                let part: u64 = sys.read(segment, offset.wrapping_add(at as u64))?;
                v[at..at + 8].copy_from_slice(&part.to_le_bytes());
            }
        }
    }
    Ok(v)
}

/// Stores the lower `len` (2, 4, 8, 16 or 32) bytes into the memory operand; nothing is stored if any byte faults.
pub(crate) fn store(sys: &mut System, insn: &Instruction, v: Halves, len: usize) -> Outcome {
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&v[0]);
    bytes[16..].copy_from_slice(&v[1]);
    if len == 8 {
        return sse::store::<8>(sys, insn, core::array::from_fn(|i| bytes[i]));
    }
    let linear = sys.linear(segment, offset, len as u64, true)?;
    if len < 8 || linear % PAGE_SIZE > PAGE_SIZE - len as u64 || sys.cpu.mode.has(Mode::ALIGN) {
        return sys.write_bytes(segment, offset, &bytes[..len]);
    }
    // In one page the rest can't fault where the first part did not.
    for at in (0..len).step_by(8) {
        let part = u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
        sys.write(segment, offset.wrapping_add(at as u64), part)?;
    }
    Ok(())
}

/// #GP unless the memory operand lies on a multiple of its `len` bytes.
pub(crate) fn require_alignment(sys: &System, insn: &Instruction, len: usize, write: bool) -> Outcome {
    let linear = sys.linear(sys.operand_segment(insn), sys.operand_offset(insn), len as u64, write)?;
    if linear % len as u64 != 0 { Err(Fault::gp(0)) } else { Ok(()) }
}

/// Source operand `op` in parts of `M` bytes (2, 4, 8 or 16), one for each half, with zeros above each.
#[inline]
pub(crate) fn source<const M: usize>(sys: &mut System, insn: &Instruction, op: u32, width: usize) -> Outcome<Halves> {
    let whole = if is_memory(insn, op) {
        load(sys, insn, M * width)?
    } else {
        let v = halves(sys, insn.op_register(op));
        core::array::from_fn(|i| v[i / 16][i % 16])
    };
    Ok(each(width, |h| {
        let mut part = ZERO;
        part[..M].copy_from_slice(&whole[h * M..][..M]);
        part
    }))
}

/// Writes the destination, operand 0.
#[inline]
pub(crate) fn finish(sys: &mut System, insn: &Instruction, v: Halves) -> Outcome {
    set_halves(sys, insn.op0_register(), v);
    Ok(())
}
