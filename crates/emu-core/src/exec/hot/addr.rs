//! Addressing modes of specialised handlers.
//!
//! A memory operand takes an op's fields `b` (base register), `c` (index register), `d` (scale in bits 1:0, segment in
//! bits 4:2 where the mode looks at it, and out of the way in bits 7:6 where it is a flat one) and `imm` (displacement). Absent registers are [`reg::ZERO`]. Each mode is a type, so that a handler has no
//! test for it.

use iced_x86::{Instruction, Register};

use crate::System;
use crate::cpu::{Mode, reg, seg};
use crate::engine::OpRef;
use crate::exec::operands::{address_size, segment_index};

/// An addressing mode.
pub(super) trait Addr {
    /// The effective address, as an offset in its segment.
    fn ea(sys: &System, op: OpRef) -> u64;
    /// The linear address of an access of `size` bytes; `None` if it faults, which is noted in the CPU's exit then.
    fn lin(sys: &mut System, op: OpRef, size: u64, write: bool) -> Option<u64>;
    /// The operand's segment.
    #[inline(always)]
    fn segment(op: OpRef) -> usize {
        op.d() >> 6
    }
}

#[inline(always)]
fn base(sys: &System, op: OpRef) -> u64 {
    sys.cpu.regs[op.rb()]
}

/// The index, where the segment is out of the way: a shift looks at the low six bits of `d` only.
#[inline(always)]
fn index(sys: &System, op: OpRef) -> u64 {
    sys.cpu.regs[op.rc()].wrapping_shl(op.d() as u32)
}

/// The index, where field `d` holds the segment too.
#[inline(always)]
fn index_beside_segment(sys: &System, op: OpRef) -> u64 {
    sys.cpu.regs[op.rc()] << (op.d() & 3)
}

#[inline(always)]
fn displacement(op: OpRef) -> u64 {
    op.imm() as i32 as i64 as u64
}

/// The segment, where the mode looks at it.
#[inline(always)]
fn segment_beside_scale(op: OpRef) -> usize {
    op.d() >> 2
}

#[inline(always)]
fn segmented(sys: &mut System, op: OpRef, ea: u64, size: u64, write: bool) -> Option<u64> {
    let s = segment_beside_scale(op);
    let segment = &sys.cpu.seg[if s < 6 { s } else { seg::DS }];
    if segment.allows(ea, size, write) {
        Some(segment.base.wrapping_add(ea) & 0xFFFF_FFFF)
    } else {
        sys.segment_fault(op, s);
        None
    }
}

/// 16-bit addresses, any segment.
pub(super) struct A16;
impl Addr for A16 {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(sys.cpu.regs[op.rc()]).wrapping_add(displacement(op)) & 0xFFFF
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, size: u64, write: bool) -> Option<u64> {
        segmented(sys, op, Self::ea(sys, op), size, write)
    }
    #[inline(always)]
    fn segment(op: OpRef) -> usize {
        segment_beside_scale(op)
    }
}

/// 32-bit addresses, any segment.
pub(super) struct A32S;
impl Addr for A32S {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(index_beside_segment(sys, op)).wrapping_add(displacement(op)) & 0xFFFF_FFFF
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, size: u64, write: bool) -> Option<u64> {
        segmented(sys, op, Self::ea(sys, op), size, write)
    }
    #[inline(always)]
    fn segment(op: OpRef) -> usize {
        segment_beside_scale(op)
    }
}

/// 32-bit addresses in a flat segment.
pub(super) struct A32F;
impl Addr for A32F {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(index(sys, op)).wrapping_add(displacement(op)) & 0xFFFF_FFFF
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        Some(Self::ea(sys, op))
    }
}

/// 32-bit addresses in a flat segment, without an index.
pub(super) struct A32B;
impl Addr for A32B {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(displacement(op)) & 0xFFFF_FFFF
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        Some(Self::ea(sys, op))
    }
}

/// 64-bit addresses.
pub(super) struct A64;
impl Addr for A64 {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(index(sys, op)).wrapping_add(displacement(op))
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        Some(Self::ea(sys, op))
    }
}

/// 64-bit addresses without an index.
pub(super) struct A64B;
impl Addr for A64B {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(displacement(op))
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        Some(Self::ea(sys, op))
    }
}

/// 64-bit addresses in FS or GS.
pub(super) struct A64S;
impl Addr for A64S {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        base(sys, op).wrapping_add(index_beside_segment(sys, op)).wrapping_add(displacement(op))
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        let s = segment_beside_scale(op);
        let base = sys.cpu.seg[if s < 6 { s } else { seg::GS }].base;
        Some(Self::ea(sys, op).wrapping_add(base))
    }
    #[inline(always)]
    fn segment(op: OpRef) -> usize {
        segment_beside_scale(op)
    }
}

/// Addresses that count from the block's start, in FS or GS.
pub(super) struct A64RS;
impl Addr for A64RS {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        A64R::ea(sys, op)
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        let s = segment_beside_scale(op);
        let base = sys.cpu.seg[if s < 6 { s } else { seg::GS }].base;
        Some(A64R::ea(sys, op).wrapping_add(base))
    }
    #[inline(always)]
    fn segment(op: OpRef) -> usize {
        segment_beside_scale(op)
    }
}

/// Addresses that count from the block's start (which RIP is while the block runs).
pub(super) struct A64R;
impl Addr for A64R {
    #[inline(always)]
    fn ea(sys: &System, op: OpRef) -> u64 {
        sys.cpu.rip.wrapping_add(displacement(op))
    }
    #[inline(always)]
    fn lin(sys: &mut System, op: OpRef, _: u64, _: bool) -> Option<u64> {
        Some(Self::ea(sys, op))
    }
}

/// Which type of [`Addr`] an operand needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A16,
    A32S,
    A32F,
    A32B,
    A64,
    A64B,
    A64S,
    A64R,
    A64RS,
}

/// A memory operand in an op's fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryOperand {
    pub(super) kind: Kind,
    pub(super) b: u8,
    pub(super) c: u8,
    pub(super) d: u8,
    pub(super) imm: u32,
}

fn register_field(r: Register) -> u8 {
    if r == Register::None { reg::ZERO as u8 } else { r.number() as u8 }
}

impl MemoryOperand {
    /// The memory operand of `insn`; `None` if no specialised handler can take it.
    pub(super) fn of(insn: &Instruction, mode: Mode) -> Option<MemoryOperand> {
        let segment = segment_index(insn.memory_segment());
        // CS is never writable outside of 64-bit code, and whether the operand is written is not known here.
        let plain = segment < seg::FS && (segment != seg::CS || mode.has(Mode::CODE64));
        let displacement = insn.memory_displacement64();
        let size = address_size(insn);
        let imm = displacement as u32;
        if mode.has(Mode::CODE64) {
            let fits = imm as i32 as i64 as u64 == displacement;
            if size != 8 || !fits {
                return None;
            }
        } else if size == 8 {
            return None;
        }
        let has_index = insn.memory_index() != Register::None;
        let kind = match (size, mode.has(Mode::CODE64)) {
            (_, true) if insn.is_ip_rel_memory_operand() && plain => Kind::A64R,
            (_, true) if insn.is_ip_rel_memory_operand() => Kind::A64RS,
            (_, true) if !plain => Kind::A64S,
            (_, true) if has_index => Kind::A64,
            (_, true) => Kind::A64B,
            (2, _) => Kind::A16,
            _ if !plain || !mode.has(Mode::FLAT) => Kind::A32S,
            _ if has_index => Kind::A32F,
            _ => Kind::A32B,
        };
        let counted = matches!(kind, Kind::A64R | Kind::A64RS);
        let b = if counted { reg::ZERO as u8 } else { register_field(insn.memory_base()) };
        let scale = insn.memory_index_scale().trailing_zeros() as u8;
        let c = register_field(insn.memory_index());
        let looks_at_segment = matches!(kind, Kind::A16 | Kind::A32S | Kind::A64S | Kind::A64RS);
        let segment = (segment as u8) << if looks_at_segment { 2 } else { 6 };
        Some(MemoryOperand { kind, b, c, d: scale | segment, imm })
    }
}

/// The instance of a generic handler for an addressing mode: `by_addr!(kind, handler, Type, ...)`.
macro_rules! by_addr {
    ($kind:expr, $handler:ident $(, $t:ty)*) => {{
        use $crate::exec::hot::addr::*;
        match $kind {
            Kind::A16 => $handler::<$($t,)* A16>,
            Kind::A32S => $handler::<$($t,)* A32S>,
            Kind::A32F => $handler::<$($t,)* A32F>,
            Kind::A32B => $handler::<$($t,)* A32B>,
            Kind::A64 => $handler::<$($t,)* A64>,
            Kind::A64B => $handler::<$($t,)* A64B>,
            Kind::A64S => $handler::<$($t,)* A64S>,
            Kind::A64R => $handler::<$($t,)* A64R>,
            Kind::A64RS => $handler::<$($t,)* A64RS>,
        }
    }};
}
pub(super) use by_addr;

/// The handler of what is read, written or changed in memory by an addressing mode: `step_by_addr!(kind, Load, Reader)`.
macro_rules! step_by_addr {
    ($kind:expr, $access:ident, $what:ty) => {{
        use $crate::exec::hot::addr::*;
        use $crate::exec::hot::step::one;
        match $kind {
            Kind::A16 => one::<$access<$what, A16>> as $crate::engine::Handler,
            Kind::A32S => one::<$access<$what, A32S>>,
            Kind::A32F => one::<$access<$what, A32F>>,
            Kind::A32B => one::<$access<$what, A32B>>,
            Kind::A64 => one::<$access<$what, A64>>,
            Kind::A64B => one::<$access<$what, A64B>>,
            Kind::A64S => one::<$access<$what, A64S>>,
            Kind::A64R => one::<$access<$what, A64R>>,
            Kind::A64RS => one::<$access<$what, A64RS>>,
        }
    }};
}
pub(super) use step_by_addr;
