//! Operand sizes of specialised handlers, and their ways to registers and memory.

use iced_x86::{Instruction, OpKind, Register};

use crate::System;
use crate::engine::OpRef;
use crate::exec::operands::register_place;
use crate::mem::Scalar;

/// An operand size: `u8`, `u16`, `u32` or `u64`.
pub(super) trait Width: Scalar {
    /// Its bits.
    const BITS: u32;
    /// Reads a register by its field (see [`field`]).
    fn get(sys: &System, field: usize) -> u64;
    /// Writes a register by its field.
    fn set(sys: &mut System, field: usize, v: u64);
    /// The low bits of `v`.
    fn cut(v: u64) -> u64;
}

/// How a register stands in an op: its number, plus 16 for AH, CH, DH and BH.
pub(super) fn field(r: Register) -> u8 {
    let (n, high) = register_place(r);
    n as u8 | u8::from(high) << 4
}

impl Width for u8 {
    const BITS: u32 = 8;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 15] >> (field >> 1 & 8) & 0xFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        let shift = field >> 1 & 8;
        let r = &mut sys.cpu.regs[field & 15];
        *r = *r & !(0xFF << shift) | (v & 0xFF) << shift;
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFF
    }
}

/// A byte none of whose registers is AH, CH, DH or BH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Low8(u8);

impl Scalar for Low8 {
    const SIZE: u64 = 1;
    #[inline(always)]
    fn from_u64(v: u64) -> Low8 {
        Low8(v as u8)
    }
    #[inline(always)]
    fn to_u64(self) -> u64 {
        self.0.into()
    }
    #[inline(always)]
    fn le(self) -> Low8 {
        self
    }
}

impl Width for Low8 {
    const BITS: u32 = 8;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 31] & 0xFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        let r = &mut sys.cpu.regs[field & 31];
        *r = *r & !0xFF | v & 0xFF;
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFF
    }
}

/// Which instance of a handler an instruction whose operands have `size` bytes takes from [`by_width`]: its
/// size, or 0 for [`Low8`].
pub(super) fn class(insn: &Instruction, size: usize) -> usize {
    let is_high = |n| insn.op_kind(n) == OpKind::Register && register_place(insn.op_register(n)).1;
    if size == 1 && !(0..insn.op_count()).any(is_high) { 0 } else { size }
}

impl Width for u16 {
    const BITS: u32 = 16;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 31] & 0xFFFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        let r = &mut sys.cpu.regs[field & 31];
        *r = *r & !0xFFFF | v & 0xFFFF;
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFFFF
    }
}

impl Width for u32 {
    const BITS: u32 = 32;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 31] & 0xFFFF_FFFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        sys.cpu.regs[field & 31] = v & 0xFFFF_FFFF;
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v & 0xFFFF_FFFF
    }
}

impl Width for u64 {
    const BITS: u32 = 64;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 31]
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        sys.cpu.regs[field & 31] = v;
    }
    #[inline(always)]
    fn cut(v: u64) -> u64 {
        v
    }
}

/// Reads memory; `None` if it faulted.
#[inline(always)]
pub(super) fn load<T: Scalar>(sys: &mut System, op: OpRef, lin: u64) -> Option<u64> {
    if let Some(v) = sys.tlb.read::<T>(lin) {
        return Some(v.to_u64());
    }
    if sys.slow_load(op, lin, T::SIZE, false) { Some(sys.scratch) } else { None }
}

/// Writes memory; `false` if it faulted.
#[inline(always)]
pub(super) fn store<T: Scalar>(sys: &mut System, op: OpRef, lin: u64, v: u64) -> bool {
    sys.tlb.write(lin, T::from_u64(v)) || sys.slow_store(op, lin, T::SIZE, v)
}

/// The instance of a step for a [`class`] of operands: `by_width!(class, Step, Type, ...)`.
macro_rules! by_width {
    ($size:expr, $handler:ident $(, $t:ty)*) => {
        match $size {
            0 => $crate::exec::hot::step::one::<$handler<$($t,)* $crate::exec::hot::width::Low8>> as $crate::engine::Handler,
            1 => $crate::exec::hot::step::one::<$handler<$($t,)* u8>>,
            2 => $crate::exec::hot::step::one::<$handler<$($t,)* u16>>,
            4 => $crate::exec::hot::step::one::<$handler<$($t,)* u32>>,
            _ => $crate::exec::hot::step::one::<$handler<$($t,)* u64>>,
        }
    };
}
pub(super) use by_width;

/// As [`by_width`], for what is read, written or changed in memory by some addressing mode:
/// `by_width_and_addr!(class, kind, Load, Reader, Type, ...)`.
macro_rules! by_width_and_addr {
    ($size:expr, $kind:expr, $access:ident, $what:ident $(, $t:ty)*) => {
        match $size {
            0 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* $crate::exec::hot::width::Low8>),
            1 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u8>),
            2 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u16>),
            4 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u32>),
            _ => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u64>),
        }
    };
}
pub(super) use by_width_and_addr;

/// As [`by_width_and_addr`], for instructions without a register that could be a high byte.
macro_rules! by_low_width_and_addr {
    ($size:expr, $kind:expr, $access:ident, $what:ident $(, $t:ty)*) => {
        match $size {
            1 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* $crate::exec::hot::width::Low8>),
            2 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u16>),
            4 => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u32>),
            _ => $crate::exec::hot::addr::step_by_addr!($kind, $access, $what<$($t,)* u64>),
        }
    };
}
pub(super) use by_low_width_and_addr;
