//! What the instructions of MMX and SSE need of the machine: registers, memory operands, MXCSR, and the faults that
//! control registers make of them.

use iced_x86::{Instruction, OpKind, Register};

use crate::System;
use crate::cpu::bits::{CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT};
use crate::cpu::{Fault, LazyFlags, Outcome};
use crate::mem::PAGE_SIZE;
use crate::simd::float::Env;
use crate::simd::lane::Lane;

/// The faults common to all instructions on XMM registers: #UD unless the system has enabled SSE, #NM after a task
/// switch [SDM-2A 2.4; SDM-3 13.1].
#[inline]
pub(crate) fn enter(sys: &System) -> Outcome {
    if sys.cpu.cr0 & CR0_EM != 0 || sys.cpu.cr4 & CR4_OSFXSR == 0 {
        return Err(Fault::UD);
    }
    if sys.cpu.cr0 & CR0_TS != 0 {
        return Err(Fault::NM);
    }
    Ok(())
}

/// What the legacy and the VEX encoding of one instruction do differently.
pub(crate) trait Encoding {
    /// Number of the first source operand in forms with two sources: the destination itself, or VEX.vvvv.
    const FIRST: u32;
    /// Number of the second source operand.
    const SECOND: u32 = Self::FIRST + 1;
    /// The faults common to all instructions.
    fn enter(sys: &System) -> Outcome;
    /// Writes an XMM register.
    fn put(sys: &mut System, register: Register, v: [u8; 16]);
}

/// The legacy encoding keeps the upper half of the YMM register.
pub(crate) struct Legacy;

impl Encoding for Legacy {
    const FIRST: u32 = 0;
    #[inline(always)]
    fn enter(sys: &System) -> Outcome {
        enter(sys)
    }
    #[inline(always)]
    fn put(sys: &mut System, register: Register, v: [u8; 16]) {
        set_xmm(sys, register, v);
    }
}

/// MXCSR, to compute under.
#[inline]
pub(crate) fn environment(sys: &System) -> Env {
    Env::new(sys.cpu.mxcsr)
}

/// Records the exceptions of an instruction; an unmasked one is #XM, or #UD if the system handles none.
#[inline]
pub(crate) fn settle(sys: &mut System, env: &Env) -> Outcome {
    let (mxcsr, faults) = env.finish();
    sys.cpu.mxcsr = mxcsr;
    if !faults {
        return Ok(());
    }
    Err(if sys.cpu.cr4 & CR4_OSXMMEXCPT != 0 { Fault::XM } else { Fault::UD })
}

/// Whether operand `op` is in memory.
#[inline]
pub(crate) fn is_memory(insn: &Instruction, op: u32) -> bool {
    insn.op_kind(op) == OpKind::Memory
}

/// An XMM register in memory order.
#[inline]
pub(crate) fn xmm(sys: &System, register: Register) -> [u8; 16] {
    sys.cpu.xmm[register.number() & 15].to_le_bytes()
}

/// Writes an XMM register.
#[inline]
pub(crate) fn set_xmm(sys: &mut System, register: Register, v: [u8; 16]) {
    sys.cpu.xmm[register.number() & 15] = u128::from_le_bytes(v);
}

/// `M` (1, 2, 4, 8 or 16) bytes of the memory operand, at any alignment.
#[inline]
pub(crate) fn load<const M: usize>(sys: &mut System, insn: &Instruction) -> Outcome<[u8; M]> {
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    let mut v = [0; M];
    match M {
        1 => v[0] = sys.read(segment, offset)?,
        2 => v.copy_from_slice(&sys.read::<u16>(segment, offset)?.to_le_bytes()),
        4 => v.copy_from_slice(&sys.read::<u32>(segment, offset)?.to_le_bytes()),
        8 => v.copy_from_slice(&sys.read::<u64>(segment, offset)?.to_le_bytes()),
        _ => {
            sys.linear(segment, offset, M as u64, false)?;
            v[..8].copy_from_slice(&sys.read::<u64>(segment, offset)?.to_le_bytes());
            v[8..].copy_from_slice(&sys.read::<u64>(segment, offset.wrapping_add(8))?.to_le_bytes());
        }
    }
    Ok(v)
}

/// Stores into the memory operand, at any alignment; nothing is stored if any byte faults.
#[inline]
pub(crate) fn store<const M: usize>(sys: &mut System, insn: &Instruction, v: [u8; M]) -> Outcome {
    let (segment, offset) = (sys.operand_segment(insn), sys.operand_offset(insn));
    match M {
        1 => sys.write(segment, offset, v[0]),
        2 => sys.write::<u16>(segment, offset, Lane::get(&v, 0)),
        4 => sys.write::<u32>(segment, offset, Lane::get(&v, 0)),
        8 => sys.write::<u64>(segment, offset, Lane::get(&v, 0)),
        _ => {
            let linear = sys.linear(segment, offset, M as u64, true)?;
            if linear % PAGE_SIZE > PAGE_SIZE - M as u64 {
                return sys.write_bytes(segment, offset, &v);
            }
            // In one page the second half can't fault where the first did not.
            sys.write::<u64>(segment, offset, Lane::get(&v, 0))?;
            sys.write::<u64>(segment, offset.wrapping_add(8), Lane::get(&v, 1))
        }
    }
}

/// #GP unless the memory operand of 16 bytes lies on a 16-byte boundary.
#[inline]
fn require_alignment(sys: &System, insn: &Instruction, write: bool) -> Outcome {
    let linear = sys.linear(sys.operand_segment(insn), sys.operand_offset(insn), 16, write)?;
    if linear & 15 != 0 { Err(Fault::gp(0)) } else { Ok(()) }
}

/// Source operand `op`: an XMM register whole, or `M` bytes of memory with zeros above. Sixteen bytes must be
/// aligned.
#[inline]
pub(crate) fn source<const M: usize>(sys: &mut System, insn: &Instruction, op: u32) -> Outcome<[u8; 16]> {
    if !is_memory(insn, op) {
        return Ok(xmm(sys, insn.op_register(op)));
    }
    if M == 16 {
        require_alignment(sys, insn, false)?;
    }
    let mut v = [0; 16];
    v[..M].copy_from_slice(&load::<M>(sys, insn)?);
    Ok(v)
}

/// Source operand `op` of 16 bytes, which need not be aligned.
#[inline]
pub(crate) fn source_unaligned(sys: &mut System, insn: &Instruction, op: u32) -> Outcome<[u8; 16]> {
    if is_memory(insn, op) { load::<16>(sys, insn) } else { Ok(xmm(sys, insn.op_register(op))) }
}

/// Stores sixteen bytes into the memory operand, which must be aligned.
#[inline]
pub(crate) fn store_aligned(sys: &mut System, insn: &Instruction, v: [u8; 16]) -> Outcome {
    require_alignment(sys, insn, true)?;
    store(sys, insn, v)
}

/// The bytes of `data` whose mask byte has its top bit set, to DS:rDI (MASKMOVQ, MASKMOVDQU). Bytes that are not
/// stored are not looked at either.
pub(crate) fn masked_store<const M: usize>(
    sys: &mut System,
    insn: &Instruction,
    data: [u8; M],
    mask: [u8; M],
) -> Outcome {
    let segment = sys.operand_segment(insn);
    let (register, width) = match insn.op0_kind() {
        OpKind::MemorySegDI => (Register::DI, 0xffff),
        OpKind::MemorySegEDI => (Register::EDI, 0xffff_ffff),
        _ => (Register::RDI, u64::MAX),
    };
    let start = sys.register(register);
    let place = |i: usize| start.wrapping_add(i as u64) & width;
    let chosen = |i: &usize| mask[*i] & 0x80 != 0;
    for i in (0..M).filter(chosen) {
        sys.probe(segment, place(i), 1, true)?;
    }
    for i in (0..M).filter(chosen) {
        sys.write(segment, place(i), data[i])?;
    }
    Ok(())
}

/// The low `M` bytes of operand `op`, a general register or memory.
#[inline]
pub(crate) fn gpr_source<const M: usize>(sys: &mut System, insn: &Instruction, op: u32) -> Outcome<u64> {
    let mut v = [0; 8];
    if is_memory(insn, op) {
        v[..M].copy_from_slice(&load::<M>(sys, insn)?);
    } else {
        v[..M].copy_from_slice(&sys.register(insn.op_register(op)).to_le_bytes()[..M]);
    }
    Ok(u64::from_le_bytes(v))
}

/// The low `M` bytes of `v` to operand `op`: to memory, or zero-extended to a general register.
#[inline]
pub(crate) fn gpr_store<const M: usize>(sys: &mut System, insn: &Instruction, op: u32, v: u64) -> Outcome {
    if is_memory(insn, op) {
        let mut bytes = [0; M];
        bytes.copy_from_slice(&v.to_le_bytes()[..M]);
        return store(sys, insn, bytes);
    }
    sys.set_register(insn.op_register(op), v & u64::MAX >> (64 - 8 * M));
    Ok(())
}

/// Sets CF, PF, ZF and so on as given and clears the other status flags.
#[inline]
pub(crate) fn set_status_flags(sys: &mut System, flags: u32) {
    sys.cpu.flags = LazyFlags::from_bits(flags);
}
