//! Segment registers with their hidden parts, and the limits that make one access check two compares.

use crate::state::Field;

/// Index of a segment register in [`super::Cpu::seg`], in the order of their encoding.
pub mod seg {
    #![allow(missing_docs, reason = "the names are the SDM's")]
    pub const ES: usize = 0;
    pub const CS: usize = 1;
    pub const SS: usize = 2;
    pub const DS: usize = 3;
    pub const FS: usize = 4;
    pub const GS: usize = 5;
}

/// Bits of [`Segment::attr`]: the access byte in bits 7:0, the flags nibble of the descriptor in bits 15:12
/// [SDM-3 3.4.5].
pub mod attr {
    #![allow(missing_docs, reason = "the names are the SDM's")]
    pub const ACCESSED: u16 = 1;
    /// Readable (code) or writable (data).
    pub const RW: u16 = 2;
    /// Conforming (code) or expand-down (data).
    pub const CE: u16 = 4;
    pub const CODE: u16 = 8;
    /// Code or data, not a system segment.
    pub const S: u16 = 0x10;
    pub const DPL: u16 = 0x60;
    pub const P: u16 = 0x80;
    pub const AVL: u16 = 0x1000;
    pub const L: u16 = 0x2000;
    pub const DB: u16 = 0x4000;
    pub const G: u16 = 0x8000;
}

/// A segment register: selector, and base, limit and rights as they were loaded from its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The selector.
    pub sel: u16,
    /// Rights; see [`attr`].
    pub attr: u16,
    /// Linear base address.
    pub base: u64,
    /// Last valid offset, in bytes (for expand-down segments: last invalid one).
    pub limit: u32,
    /// Holds a null selector (or was invalidated by a privilege change): every use faults.
    pub null: bool,
    // Derived by `refresh`; an access `[ea, last]` is right if `ea >= lo` and `last <= hi_read` (or `hi_write`).
    pub(crate) lo: u64,
    pub(crate) hi_read: u64,
    pub(crate) hi_write: u64,
    /// Base 0 and a limit of 4 GiB, for reads ([`FLAT_READ`]) and writes ([`FLAT_WRITE`]).
    pub(crate) flat: u8,
}

const FLAT_READ: u8 = 1;
const FLAT_WRITE: u8 = 2;

impl Default for Segment {
    fn default() -> Self {
        Segment::real(0)
    }
}

impl Segment {
    /// As a real-mode load of `sel` leaves it on a CPU that was never in protected mode.
    #[must_use]
    pub fn real(sel: u16) -> Segment {
        let mut s = Segment {
            sel,
            attr: attr::P | attr::S | attr::RW | attr::ACCESSED,
            base: u64::from(sel) << 4,
            limit: 0xFFFF,
            null: false,
            lo: 0,
            hi_read: 0,
            hi_write: 0,
            flat: 0,
        };
        s.refresh(false);
        s
    }

    /// From a descriptor's two words [SDM-3 3.4.5]. The derived limits are those of protected mode.
    #[must_use]
    pub fn from_descriptor(sel: u16, low: u32, high: u32) -> Segment {
        let raw = (high & 0xF_0000) | (low & 0xFFFF);
        let attr = (high >> 8) as u16 & 0xF0FF;
        let limit = if attr & attr::G != 0 { raw << 12 | 0xFFF } else { raw };
        let base = (high & 0xFF00_0000) | (high & 0xFF) << 16 | low >> 16;
        let mut s =
            Segment { sel, attr, base: base.into(), limit, null: false, lo: 0, hi_read: 0, hi_write: 0, flat: 0 };
        s.refresh(true);
        s
    }

    /// A null selector's segment.
    #[must_use]
    pub fn null(sel: u16) -> Segment {
        let mut s = Segment { sel, attr: 0, base: 0, limit: 0, null: true, lo: 0, hi_read: 0, hi_write: 0, flat: 0 };
        s.refresh(true);
        s
    }

    /// Descriptor privilege level.
    #[must_use]
    pub fn dpl(&self) -> u8 {
        (self.attr >> 5) as u8 & 3
    }

    /// Whether the D/B bit is set.
    #[must_use]
    pub fn is_32(&self) -> bool {
        self.attr & attr::DB != 0
    }

    /// Recomputes the derived limits. `checked`: protected mode's type checks hold (not real or V86 mode, whose segments
    /// are all readable and writable).
    pub fn refresh(&mut self, checked: bool) {
        let code = self.attr & attr::CODE != 0;
        let rw = self.attr & attr::RW != 0;
        let (lo, hi) = if !code && self.attr & attr::CE != 0 && self.attr & attr::S != 0 {
            (u64::from(self.limit) + 1, if self.is_32() { 0xFFFF_FFFF } else { 0xFFFF })
        } else {
            (0, u64::from(self.limit))
        };
        let readable = !self.null && (!checked || !code || rw);
        let writable = !self.null && (!checked || (!code && rw));
        self.lo = if readable || writable { lo } else { u64::MAX };
        // An `hi` of 0 with a `lo` above it refuses everything; one that is only unwritable gets a `hi_write` below any.
        self.hi_read = if readable { hi } else { 0 };
        self.hi_write = if writable { hi } else { 0 };
        if readable && !writable {
            self.hi_write = 0;
        }
        let whole = |hi| self.base == 0 && self.lo == 0 && hi == 0xFFFF_FFFF;
        let (read, write) = (whole(self.hi_read), whole(self.hi_read) && whole(self.hi_write));
        self.flat = if read { FLAT_READ } else { 0 } | if write { FLAT_WRITE } else { 0 };
    }

    /// Whether an access of `size` bytes at `ea` is inside of the limits and allowed.
    #[inline(always)]
    #[must_use]
    pub fn allows(&self, ea: u64, size: u64, write: bool) -> bool {
        let hi = if write { self.hi_write } else { self.hi_read };
        ea >= self.lo && ea + (size - 1) <= hi && (hi != 0 || self.allows_only_byte_zero(write))
    }

    #[cold]
    fn allows_only_byte_zero(&self, write: bool) -> bool {
        !self.null && self.limit == 0 && (!write || self.attr & (attr::CODE | attr::RW) == attr::RW)
    }

    /// Whether this is a flat 32-bit segment: base 0, limit 4 GiB, readable, and writable if `write`.
    #[must_use]
    pub fn is_flat(&self, write: bool) -> bool {
        self.flat & if write { FLAT_WRITE } else { FLAT_READ } != 0
    }
}

/// The derived limits are not saved: the CPU refreshes them.
impl Field for Segment {
    fn put(&self, out: &mut Vec<u8>) {
        (self.sel, self.attr, self.base, self.limit, self.null).put(out);
    }
    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let (sel, attr, base, limit, null) = Field::get(bytes)?;
        Some(Segment { sel, attr, base, limit, null, lo: u64::MAX, hi_read: 0, hi_write: 0, flat: 0 })
    }
}

/// GDTR or IDTR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableRegister {
    /// Linear base address.
    pub base: u64,
    /// Last valid offset.
    pub limit: u16,
}

impl Field for TableRegister {
    fn put(&self, out: &mut Vec<u8>) {
        (self.base, self.limit).put(out);
    }
    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let (base, limit) = Field::get(bytes)?;
        Some(TableRegister { base, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_each_kind_of_segment() {
        let flat = Segment::from_descriptor(8, 0x0000_FFFF, 0x00CF_9300);
        assert!(flat.is_flat(true) && flat.allows(0xFFFF_FFFC, 4, true) && !flat.allows(0xFFFF_FFFD, 4, false));
        let code = Segment::from_descriptor(8, 0x0000_FFFF, 0x00CF_9B00);
        assert!(code.allows(0, 4, false) && !code.allows(0, 4, true) && !code.allows(0, 1, true));
        let execute_only = Segment::from_descriptor(8, 0x0000_FFFF, 0x00CF_9900);
        assert!(!execute_only.allows(0, 1, false));
        let down = Segment::from_descriptor(8, 0x0000_0FFF, 0x0040_9700);
        assert!(!down.allows(0xFFF, 1, true) && down.allows(0x1000, 4, true) && down.allows(0xFFFF_FFFF, 1, true));
        let byte = Segment::from_descriptor(8, 0, 0x0040_9300);
        assert!(byte.allows(0, 1, true) && !byte.allows(0, 2, true) && !byte.allows(1, 1, false));
        assert!(!Segment::null(0).allows(0, 1, false));
        assert!(Segment::real(0x1234).allows(0xFFFE, 2, true) && !Segment::real(0x1234).allows(0xFFFF, 2, true));
    }
}
