//! Where the operand that may be in memory is, and reading and writing it by the TLB.

use iced_x86::{Instruction, OpKind};

use crate::System;
use crate::cpu::{Mode, reg, seg};
use crate::engine::OpRef;
use crate::exec::operands::{address_size, register_place};
use crate::mem::{PAGE_SIZE, Scalar};

/// Form of the operand that may be in memory.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// It is a register.
    Register,
    /// Base, index and displacement in a flat segment, 32 bits wide.
    Flat32,
    /// The same, 64 bits wide.
    Flat64,
    /// Relative to the instruction pointer.
    Relative,
}

/// An instruction's operands as an op has them.
pub(super) struct Place {
    pub(super) form: Form,
    pub(super) registers: [u8; 4],
    pub(super) displacement: u32,
}

impl Place {
    /// The operands of `insn`; `None` for forms that have no handlers.
    pub(super) fn of(insn: &Instruction, mode: Mode) -> Option<Place> {
        let number = |n: u32| match insn.op_kind(n) {
            OpKind::Register => Some(insn.op_register(n).number() as u8),
            _ => None,
        };
        if insn.op_count() < 2 {
            return None;
        }
        let memory = (0..2).find(|&n| insn.op_kind(n) == OpKind::Memory);
        let Some(memory) = memory else {
            let (a, b) = (number(0)?, number(1).unwrap_or(0));
            return Some(Place { form: Form::Register, registers: [a, b, 0, 0], displacement: 0 });
        };
        Place::in_memory(insn, mode, number(1 - memory)?)
    }

    /// Register `a` and the memory operand of `insn`.
    pub(super) fn in_memory(insn: &Instruction, mode: Mode, a: u8) -> Option<Place> {
        let form = Place::memory_form(insn, mode)?;
        let displacement = i32::try_from(insn.memory_displacement64() as i64);
        // In 32-bit code the displacement is unsigned, but wraps all the same.
        let displacement = displacement.map_or_else(|_| insn.memory_displacement64() as u32, |d| d as u32);
        let place = |r: iced_x86::Register| {
            if r == iced_x86::Register::None { reg::ZERO as u8 } else { register_place(r).0 as u8 }
        };
        let registers = match form {
            Form::Relative => [a, 0, 0, 0],
            _ => {
                let scale = insn.memory_index_scale().trailing_zeros() as u8;
                [a, place(insn.memory_base()), place(insn.memory_index()), scale]
            }
        };
        Some(Place { form, registers, displacement })
    }

    fn memory_form(insn: &Instruction, mode: Mode) -> Option<Form> {
        let segment = crate::exec::operands::segment_index(insn.memory_segment());
        if matches!(segment, seg::FS | seg::GS) || !mode.has(Mode::FLAT) {
            return None;
        }
        if mode.has(Mode::CODE64) {
            if insn.is_ip_rel_memory_operand() {
                let fits = i32::try_from(insn.memory_displacement64() as i64).is_ok();
                return (fits && insn.memory_base() == iced_x86::Register::RIP).then_some(Form::Relative);
            }
            return (address_size(insn) == 8).then_some(Form::Flat64);
        }
        // CS is not writable, and this form does not know whether the operand is written.
        (address_size(insn) == 4 && segment != seg::CS).then_some(Form::Flat32)
    }
}

/// A way to compute a linear address.
pub(super) trait Address {
    fn linear(sys: &System, op: OpRef) -> u64;
}

pub(super) struct Flat32;
pub(super) struct Flat64;
pub(super) struct Relative;

#[inline(always)]
fn sum(sys: &System, op: OpRef) -> u64 {
    let index = sys.cpu.regs[op.rc()].wrapping_shl(op.d() as u32);
    sys.cpu.regs[op.rb()].wrapping_add(index).wrapping_add(op.imm() as i32 as u64)
}

impl Address for Flat32 {
    #[inline(always)]
    fn linear(sys: &System, op: OpRef) -> u64 {
        sum(sys, op) & 0xFFFF_FFFF
    }
}

impl Address for Flat64 {
    #[inline(always)]
    fn linear(sys: &System, op: OpRef) -> u64 {
        sum(sys, op)
    }
}

impl Address for Relative {
    #[inline(always)]
    fn linear(sys: &System, op: OpRef) -> u64 {
        // The decoder counts from the block's start, whose address RIP is while the block runs.
        sys.cpu.rip.wrapping_add(op.imm() as i32 as u64)
    }
}

/// A source operand. `None` asks for the slow path.
pub(super) trait Source {
    /// The operand is a register.
    const REGISTER: bool;
    /// Sixteen bytes; in memory they must be aligned.
    fn aligned(sys: &System, op: OpRef) -> Option<[u8; 16]>;
    /// Sixteen bytes anywhere in a page.
    fn unaligned(sys: &System, op: OpRef) -> Option<[u8; 16]>;
    /// Thirty-two bytes anywhere in a page.
    fn wide(sys: &System, op: OpRef) -> Option<[[u8; 16]; 2]>;
    /// Whether the operand is a register, or lies at a multiple of `alignment`.
    fn is_aligned(sys: &System, op: OpRef, alignment: u64) -> bool;
    /// The low bytes, as wide as `T`, with zeros or the register's other bytes above.
    fn low<T: Scalar>(sys: &System, op: OpRef) -> Option<[u8; 16]>;
}

/// An XMM register.
pub(super) struct Register;

/// Memory at an address.
pub(super) struct Memory<A>(core::marker::PhantomData<A>);

impl Source for Register {
    const REGISTER: bool = true;
    #[inline(always)]
    fn aligned(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        Some(super::xmm(sys, op.b()))
    }
    #[inline(always)]
    fn unaligned(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        Some(super::xmm(sys, op.b()))
    }
    #[inline(always)]
    fn wide(sys: &System, op: OpRef) -> Option<[[u8; 16]; 2]> {
        Some([super::xmm(sys, op.b()), super::vector_of(&sys.cpu.ymm_high[op.b() & 15])])
    }
    #[inline(always)]
    fn is_aligned(_: &System, _: OpRef, _: u64) -> bool {
        true
    }
    #[inline(always)]
    fn low<T: Scalar>(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        Some(super::xmm(sys, op.b()))
    }
}

impl<A: Address> Source for Memory<A> {
    const REGISTER: bool = false;
    #[inline(always)]
    fn aligned(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        let linear = A::linear(sys, op);
        if linear & 15 == 0 { read_16(sys, linear) } else { None }
    }
    #[inline(always)]
    fn unaligned(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        let linear = A::linear(sys, op);
        if linear % PAGE_SIZE <= PAGE_SIZE - 16 { read_16(sys, linear) } else { None }
    }
    #[inline(always)]
    fn wide(sys: &System, op: OpRef) -> Option<[[u8; 16]; 2]> {
        let linear = A::linear(sys, op);
        if linear % PAGE_SIZE > PAGE_SIZE - 32 {
            return None;
        }
        let page = sys.tlb.page(linear, false)?;
        Some([page.read_bytes(linear), page.read_bytes(linear.wrapping_add(16))])
    }
    #[inline(always)]
    fn is_aligned(sys: &System, op: OpRef, alignment: u64) -> bool {
        A::linear(sys, op).is_multiple_of(alignment)
    }
    #[inline(always)]
    fn low<T: Scalar>(sys: &System, op: OpRef) -> Option<[u8; 16]> {
        let v = sys.tlb.read::<T>(A::linear(sys, op))?;
        Some(u128::from(v.to_u64()).to_le_bytes())
    }
}

/// Sixteen bytes that lie in one page.
#[inline(always)]
fn read_16(sys: &System, linear: u64) -> Option<[u8; 16]> {
    Some(sys.tlb.page(linear, false)?.read_bytes(linear))
}

/// Writes sixteen bytes at a multiple of `alignment`. `false` asks for the slow path.
#[inline(always)]
pub(super) fn write_16(sys: &System, linear: u64, v: u128, alignment: u64) -> bool {
    if !linear.is_multiple_of(alignment) || linear % PAGE_SIZE > PAGE_SIZE - 16 {
        return false;
    }
    match sys.tlb.page(linear, true) {
        Some(page) => {
            page.write(linear, v as u64);
            page.write(linear.wrapping_add(8), (v >> 64) as u64);
            true
        }
        None => false,
    }
}

/// Writes thirty-two bytes at a multiple of `alignment`. `false` asks for the slow path.
#[inline(always)]
pub(super) fn write_32(sys: &System, linear: u64, v: [u128; 2], alignment: u64) -> bool {
    if !linear.is_multiple_of(alignment) || linear % PAGE_SIZE > PAGE_SIZE - 32 {
        return false;
    }
    match sys.tlb.page(linear, true) {
        Some(page) => {
            page.write(linear, v[0] as u64);
            page.write(linear.wrapping_add(8), (v[0] >> 64) as u64);
            page.write(linear.wrapping_add(16), v[1] as u64);
            page.write(linear.wrapping_add(24), (v[1] >> 64) as u64);
            true
        }
        None => false,
    }
}
