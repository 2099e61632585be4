//! Where an interrupt goes: the interrupt remapping table [VT-d 5.1, 9.10].

use emu_core::PhysMem;
use emu_core::bus::InterruptMessage;

use super::entry;
use super::faults::Fault;

/// Reasons of faults [VT-d table 25].
mod why {
    pub(super) const REQUEST_RESERVED: u8 = 0x20;
    pub(super) const INDEX_TOO_LARGE: u8 = 0x21;
    pub(super) const NOT_PRESENT: u8 = 0x22;
    pub(super) const TABLE_ACCESS: u8 = 0x23;
    pub(super) const RESERVED: u8 = 0x24;
    pub(super) const COMPATIBILITY_BLOCKED: u8 = 0x25;
    pub(super) const WRONG_SOURCE: u8 = 0x26;
}

/// A message's address: it has the remappable format.
const REMAPPABLE: u32 = 1 << 4;
/// A message's address: the data's lower half counts from the index.
const HAS_SUBHANDLE: u32 = 1 << 3;

const PRESENT: u64 = 1;
const QUIET: u64 = 2;
/// Bits of an entry that the unit has not: reserved ones, posted interrupts, APIC ids of more than 8 bits.
const RESERVED: (u64, u64) = (0xFFFF_00FF_FF00_F000, 0xFFFF_FFFF_FFF0_0000);

/// What becomes of `message` by the table that `table` (as IRTA has it) tells of; else the fault, and the index that it is
/// about. `pass`: messages of the old format go on as they are. A message without `sid` is not checked for one.
pub(super) fn remap(
    mem: &PhysMem,
    table: u64,
    pass: bool,
    sid: Option<u16>,
    message: InterruptMessage,
) -> Result<InterruptMessage, (Fault, u16)> {
    let InterruptMessage { address, data } = message;
    let loud = |reason| Fault { reason, quiet: false };
    if address & REMAPPABLE == 0 {
        return if pass { Ok(message) } else { Err((loud(why::COMPATIBILITY_BLOCKED), 0)) };
    }
    let subhandle = if address & HAS_SUBHANDLE != 0 { data & 0xFFFF } else { 0 };
    let index = (address >> 5 & 0x7FFF | (address >> 2 & 1) << 15) + subhandle;
    if data != subhandle || address & 3 != 0 {
        return Err((loud(why::REQUEST_RESERVED), index as u16));
    }
    if index >= 2 << (table & 15) {
        return Err((loud(why::INDEX_TOO_LARGE), index as u16));
    }
    let at = (table & !0xFFF) + 16 * u64::from(index);
    let (low, high) = entry(mem, at).ok_or((loud(why::TABLE_ACCESS), index as u16))?;
    remapped(low, high, sid).map_err(|reason| (Fault { reason, quiet: low & QUIET != 0 }, index as u16))
}

/// The message that an entry makes.
fn remapped(low: u64, high: u64, sid: Option<u16>) -> Result<InterruptMessage, u8> {
    if low & PRESENT == 0 {
        return Err(why::NOT_PRESENT);
    }
    let mode = low >> 5 & 7;
    // Delivery modes 3 and 6 mean nothing.
    if low & RESERVED.0 != 0 || high & RESERVED.1 != 0 || matches!(mode, 3 | 6) {
        return Err(why::RESERVED);
    }
    if !source_fits(high, sid)? {
        return Err(why::WRONG_SOURCE);
    }
    let bit = |n: u32| low >> n & 1;
    let dest = low >> 40 & 0xFF;
    let address = 0xFEE0_0000 | dest << 12 | bit(3) << 3 | bit(2) << 2;
    let data = low >> 16 & 0xFF | mode << 8 | bit(4) << 15 | bit(4) << 14;
    Ok(InterruptMessage { address: address as u32, data: data as u32 })
}

/// Whether an entry lets `sid` use it.
fn source_fits(high: u64, sid: Option<u16>) -> Result<bool, u8> {
    let named = high as u16;
    let is = |wanted: &dyn Fn(u16) -> bool| sid.is_none_or(wanted);
    match high >> 18 & 3 {
        0 => Ok(true),
        1 => {
            // How much of the function's number counts.
            let ignored = [0, 4, 6, 7][(high >> 16 & 3) as usize];
            Ok(is(&|sid| (sid ^ named) & !ignored == 0))
        }
        2 => Ok(is(&|sid| (named >> 8..=named & 0xFF).contains(&(sid >> 8)))),
        _ => Err(why::RESERVED),
    }
}
