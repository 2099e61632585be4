//! The test registers of the 80386 and 80486, and the translations that they write and look up.
//!
//! TR6 and TR7 reach the translation cache of a real chip. Here they reach one of their own, of the same shape, so that
//! programs which test the cache with paging off find it good; what they write translates nothing. The 80486's TR3 to TR5,
//! which reach its memory cache, are storage.

use crate::state::Field;

/// Bits of TR6 [80386 PRM 10.6]: the command (1: look up), and the attributes of an entry, each with its complement.
const LOOKUP: u32 = 1;
const VALID: u32 = 1 << 11;
/// D, U and W; the complement of each is the bit below it.
const ATTRIBUTES: [u32; 3] = [1 << 10, 1 << 8, 1 << 6];
/// TR7: the way is given, or was found.
const FOUND: u32 = 1 << 4;
const PAGE: u32 = 0xFFFF_F000;

/// TR3 to TR7 with the entries behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestRegisters {
    tr: [u32; 8],
    /// Eight sets of four entries: TR6 with a valid bit, and the physical page.
    entries: [(u32, u32); 32],
}

impl TestRegisters {
    /// The value of TR `n`.
    #[must_use]
    pub fn read(&self, n: usize) -> u32 {
        self.tr[n & 7]
    }

    /// Writes TR `n`. TR6 does what it asks for: it looks an entry up, or writes one with TR7's page.
    pub fn write(&mut self, n: usize, v: u32) {
        self.tr[n & 7] = v;
        if n == 6 {
            if v & LOOKUP != 0 { self.look_up(v) } else { self.enter(v) }
        }
    }

    fn ways(&self, command: u32) -> core::ops::Range<usize> {
        let set = (command >> 12 & 7) as usize;
        4 * set..4 * set + 4
    }

    fn look_up(&mut self, command: u32) {
        let matches = |entry: u32| {
            entry & VALID != 0
                && (entry ^ command) & PAGE == 0
                && ATTRIBUTES.iter().all(|&a| command & if entry & a != 0 { a } else { a >> 1 } != 0)
        };
        let ways = self.ways(command);
        let found = self.entries[ways].iter().enumerate().find(|(_, e)| matches(e.0));
        self.tr[7] = match found {
            Some((way, entry)) => entry.1 | FOUND | (way as u32) << 2,
            None => self.tr[7] & !FOUND,
        };
    }

    /// Without a way in TR7 the chip chooses one; here it is the first free one, else the first.
    fn enter(&mut self, command: u32) {
        let (ways, target) = (self.ways(command), self.tr[7]);
        let free = self.entries[ways.clone()].iter().position(|e| e.0 & VALID == 0).unwrap_or(0);
        let way = if target & FOUND != 0 { (target >> 2 & 3) as usize } else { free };
        self.entries[ways.start + way] = (command, target & PAGE);
    }
}

impl Field for TestRegisters {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { tr, entries } = self;
        (*tr, *entries).put(out);
    }
    fn get(bytes: &mut &[u8]) -> Option<Self> {
        let (tr, entries) = Field::get(bytes)?;
        Some(TestRegisters { tr, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [80386 PRM 10.6.2]: write an entry, look it up by its page and attributes.
    #[test]
    fn an_entry_is_found_by_page_and_attributes() {
        let mut t = TestRegisters::default();
        let any = 0x7E0;
        t.write(7, 0x0012_3000 | FOUND | 2 << 2);
        t.write(6, 0xABCD_E000 | VALID | 1 << 10 | 1 << 7 | 1 << 6);
        t.write(7, 0);
        t.write(6, 0xABCD_E000 | any | LOOKUP);
        assert_eq!(t.read(7), 0x0012_3000 | FOUND | 2 << 2);
        // Asked for a clean one only, it is not there; nor is another page of the same set.
        t.write(6, 0xABCD_E000 | (any & !(1 << 10)) | LOOKUP);
        assert_eq!(t.read(7) & FOUND, 0);
        t.write(6, 0xABCC_E000 | any | LOOKUP);
        assert_eq!(t.read(7) & FOUND, 0);
        assert_eq!(t.read(6), 0xABCC_E000 | any | LOOKUP);
    }
}
