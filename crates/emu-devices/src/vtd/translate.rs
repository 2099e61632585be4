//! Where an access goes: root table, context table, pages [VT-d 3.4, 3.6, 9.1, 9.3, 9.8].

use emu_core::PhysMem;

use super::faults::Fault;
use super::{entry, is_memory};

/// Reasons of faults [VT-d table 25].
mod why {
    pub(super) const ROOT_NOT_PRESENT: u8 = 0x01;
    pub(super) const CONTEXT_NOT_PRESENT: u8 = 0x02;
    pub(super) const CONTEXT_INVALID: u8 = 0x03;
    pub(super) const ADDRESS_TOO_WIDE: u8 = 0x04;
    pub(super) const NO_WRITE: u8 = 0x05;
    pub(super) const NO_READ: u8 = 0x06;
    pub(super) const PAGE_TABLE_ACCESS: u8 = 0x07;
    pub(super) const ROOT_ACCESS: u8 = 0x08;
    pub(super) const CONTEXT_ACCESS: u8 = 0x09;
    pub(super) const ROOT_RESERVED: u8 = 0x0A;
    pub(super) const CONTEXT_RESERVED: u8 = 0x0B;
    pub(super) const PAGE_RESERVED: u8 = 0x0C;
    pub(super) const INTERRUPT_RANGE: u8 = 0x0E;
}

const PRESENT: u64 = 1;
const ADDRESS: u64 = !0xFFF;

/// Bits of a page table's entry: access, a large page, bits that need capabilities which the unit has not (snooping, device
/// TLBs).
const READ: u64 = 1;
const WRITE: u64 = 2;
const LARGE: u64 = 1 << 7;
const UNSUPPORTED: u64 = 1 << 11 | 1 << 62;
/// An address in it; what is above is ignored.
const PAGE_ADDRESS: u64 = 0xF_FFFF_FFFF_F000;

/// A context entry that translates, or passes through.
struct Context {
    table: u64,
    levels: u32,
    pass_through: bool,
    /// It says not to tell of faults.
    quiet: bool,
}

/// The physical page of an access of `sid` to `page`.
pub(super) fn walk(mem: &PhysMem, root: u64, sid: u16, page: u64, is_write: bool) -> Result<u64, Fault> {
    let context = context(mem, root, sid)?;
    let fault = |reason| Fault { reason, quiet: context.quiet };
    if page >> (12 + 9 * context.levels) != 0 {
        return Err(fault(why::ADDRESS_TOO_WIDE));
    }
    let to = if context.pass_through { page } else { pages(mem, &context, page, is_write).map_err(fault)? };
    if to >> 20 == 0xFEE {
        return Err(fault(why::INTERRUPT_RANGE));
    }
    Ok(to)
}

/// The context entry of `sid`.
fn context(mem: &PhysMem, root: u64, sid: u16) -> Result<Context, Fault> {
    let loud = |reason| Fault { reason, quiet: false };
    let (low, high) = entry(mem, root + 16 * u64::from(sid >> 8)).ok_or(loud(why::ROOT_ACCESS))?;
    if low & PRESENT == 0 {
        return Err(loud(why::ROOT_NOT_PRESENT));
    }
    if low & !ADDRESS & !PRESENT != 0 || high != 0 {
        return Err(loud(why::ROOT_RESERVED));
    }
    let at = (low & ADDRESS) + 16 * u64::from(sid & 0xFF);
    let (low, high) = entry(mem, at).ok_or(loud(why::CONTEXT_ACCESS))?;
    let quiet = low & 2 != 0;
    let fault = |reason| Err(Fault { reason, quiet });
    if low & PRESENT == 0 {
        return fault(why::CONTEXT_NOT_PRESENT);
    }
    // Bits 11:4; 71, and 87 upward.
    if low & 0xFF0 != 0 || high & !0xFF_FF7F != 0 {
        return fault(why::CONTEXT_RESERVED);
    }
    let levels = match high & 7 {
        1 => 3,
        2 => 4,
        _ => return fault(why::CONTEXT_INVALID),
    };
    let pass_through = match low >> 2 & 3 {
        0 => false,
        // Pass-through wants the widest addresses that the unit has [VT-d 9.3].
        2 if levels == 4 => true,
        _ => return fault(why::CONTEXT_INVALID),
    };
    Ok(Context { table: low & ADDRESS, levels, pass_through, quiet })
}

/// Walks the page tables.
fn pages(mem: &PhysMem, context: &Context, page: u64, is_write: bool) -> Result<u64, u8> {
    let mut table = context.table & PAGE_ADDRESS;
    for level in (0..context.levels).rev() {
        let shift = 12 + 9 * level;
        let at = table + (page >> shift & 0x1FF) * 8;
        if !is_memory(mem, at) {
            return Err(why::PAGE_TABLE_ACCESS);
        }
        let entry: u64 = mem.load(at);
        if entry & (READ | WRITE) == 0 {
            return Err(if is_write { why::NO_WRITE } else { why::NO_READ });
        }
        let inside = (1 << shift) - 1;
        let leaf = level == 0 || entry & LARGE != 0;
        let misplaced = level == 3 && entry & LARGE != 0 || leaf && entry & inside & PAGE_ADDRESS != 0;
        if entry & UNSUPPORTED != 0 || misplaced {
            return Err(why::PAGE_RESERVED);
        }
        match is_write {
            true if entry & WRITE == 0 => return Err(why::NO_WRITE),
            false if entry & READ == 0 => return Err(why::NO_READ),
            _ => {}
        }
        if leaf {
            return Ok(entry & PAGE_ADDRESS & !inside | page & inside & ADDRESS);
        }
        table = entry & PAGE_ADDRESS;
    }
    Err(why::PAGE_TABLE_ACCESS)
}
