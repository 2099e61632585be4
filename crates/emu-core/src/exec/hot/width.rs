//! Operand sizes of specialised handlers, and their ways to registers and memory.

use iced_x86::Register;

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

impl Width for u16 {
    const BITS: u32 = 16;
    #[inline(always)]
    fn get(sys: &System, field: usize) -> u64 {
        sys.cpu.regs[field & 15] & 0xFFFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        let r = &mut sys.cpu.regs[field & 15];
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
        sys.cpu.regs[field & 15] & 0xFFFF_FFFF
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        sys.cpu.regs[field & 15] = v & 0xFFFF_FFFF;
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
        sys.cpu.regs[field & 15]
    }
    #[inline(always)]
    fn set(sys: &mut System, field: usize, v: u64) {
        sys.cpu.regs[field & 15] = v;
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

/// Reads memory that will be written back; `None` if it faulted.
#[inline(always)]
pub(super) fn load_for_write<T: Scalar>(sys: &mut System, op: OpRef, lin: u64) -> Option<u64> {
    if let Some(v) = sys.tlb.read_for_write::<T>(lin) {
        return Some(v.to_u64());
    }
    if sys.slow_load(op, lin, T::SIZE, true) { Some(sys.scratch) } else { None }
}

/// Writes memory; `false` if it faulted.
#[inline(always)]
pub(super) fn store<T: Scalar>(sys: &mut System, op: OpRef, lin: u64, v: u64) -> bool {
    sys.tlb.write(lin, T::from_u64(v)) || sys.slow_store(op, lin, T::SIZE, v)
}

/// The instance of a generic handler for an operand size in bytes: `by_width!(size, handler, Type, ...)`.
macro_rules! by_width {
    ($size:expr, $handler:ident $(, $t:ty)*) => {
        match $size {
            1 => $handler::<$($t,)* u8>,
            2 => $handler::<$($t,)* u16>,
            4 => $handler::<$($t,)* u32>,
            _ => $handler::<$($t,)* u64>,
        }
    };
}
pub(super) use by_width;

/// As [`by_width`], for handlers that also have an addressing mode: `by_width_and_addr!(size, kind, handler, Type, ...)`.
macro_rules! by_width_and_addr {
    ($size:expr, $kind:expr, $handler:ident $(, $t:ty)*) => {
        match $size {
            1 => $crate::exec::hot::addr::by_addr!($kind, $handler $(, $t)*, u8),
            2 => $crate::exec::hot::addr::by_addr!($kind, $handler $(, $t)*, u16),
            4 => $crate::exec::hot::addr::by_addr!($kind, $handler $(, $t)*, u32),
            _ => $crate::exec::hot::addr::by_addr!($kind, $handler $(, $t)*, u64),
        }
    };
}
pub(super) use by_width_and_addr;
