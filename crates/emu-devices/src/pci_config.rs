//! A PCI function's 256 bytes of configuration space: values, and which of their bits the guest may change.

use emu_core::state::{State, StateError, StateReader, StateWriter};

/// Bytes of configuration space.
const SIZE: usize = 256;

/// Configuration space as storage. A chip lays out its reset values and masks once, and acts on the writes it cares for.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    // Configuration
    reset: [u8; SIZE],
    writable: [u8; SIZE],
    /// Bits that writing 1 clears.
    clears: [u8; SIZE],
    // State
    bytes: [u8; SIZE],
}

impl ConfigSpace {
    /// A space with the header fields that every function has [PCI 2.1 6.2]; `class` is base class, sub-class and
    /// programming interface.
    #[must_use]
    pub fn new(vendor: u16, device: u16, class: u32, revision: u8) -> ConfigSpace {
        let mut space = ConfigSpace { reset: [0; SIZE], writable: [0; SIZE], clears: [0; SIZE], bytes: [0; SIZE] };
        space.set(0x00, 2, vendor.into());
        space.set(0x02, 2, device.into());
        space.set(0x08, 4, class << 8 | u32::from(revision));
        space
    }

    /// Lays out a register of `size` bytes: its value after reset, and the bits that can be written.
    #[must_use]
    pub fn with(mut self, register: u8, size: u8, reset: u32, writable: u32) -> ConfigSpace {
        self.set(register, size, reset);
        for (i, b) in writable.to_le_bytes().iter().enumerate().take(size.into()) {
            self.writable[(register as usize + i) % SIZE] = *b;
        }
        self
    }

    /// Lays out bits of a 16-bit register that writing 1 clears.
    #[must_use]
    pub fn with_clears(mut self, register: u8, bits: u16) -> ConfigSpace {
        let [lo, hi] = bits.to_le_bytes();
        self.clears[register as usize] = lo;
        self.clears[(register as usize + 1) % SIZE] = hi;
        self
    }

    fn set(&mut self, register: u8, size: u8, value: u32) {
        for (i, b) in value.to_le_bytes().iter().enumerate().take(size.into()) {
            self.reset[(register as usize + i) % SIZE] = *b;
            self.bytes[(register as usize + i) % SIZE] = *b;
        }
    }

    /// All registers to their reset values.
    pub fn reset(&mut self) {
        self.bytes = self.reset;
    }

    /// The byte at `register`.
    #[must_use]
    pub fn byte(&self, register: u8) -> u8 {
        self.bytes[register as usize]
    }

    /// `size` bytes at `register`, little-endian, wrapping at the end of the space.
    #[must_use]
    pub fn read(&self, register: u8, size: u8) -> u32 {
        (0..size.min(4)).rev().fold(0, |v, i| v << 8 | u32::from(self.byte(register.wrapping_add(i))))
    }

    /// A guest's write: only writable bits change.
    pub fn write(&mut self, register: u8, size: u8, value: u32) {
        for i in 0..size.min(4) {
            let at = usize::from(register.wrapping_add(i));
            let (new, mask) = ((value >> (8 * u32::from(i))) as u8, self.writable[at]);
            self.bytes[at] = (self.bytes[at] & !mask | new & mask) & !(new & self.clears[at]);
        }
    }

    /// Whether an access of `size` bytes at `register` touches any of `[first, last]`.
    #[must_use]
    pub fn touches(register: u8, size: u8, first: u8, last: u8) -> bool {
        let end = u16::from(register) + u16::from(size);
        u16::from(register) <= u16::from(last) && end > u16::from(first)
    }
}

impl State for ConfigSpace {
    const TAG: [u8; 4] = *b"PCFG";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { reset: _, writable: _, clears: _, bytes } = self;
        w.field(1, bytes);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let bytes: [u8; SIZE] = r.field(1)?;
        let fixed = |i: &usize| (bytes[*i] ^ self.reset[*i]) & !self.writable[*i] & !self.clears[*i] != 0;
        if (0..SIZE).any(|i| fixed(&i)) {
            return Err(r.invalid("a read-only register has another value"));
        }
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_hold_and_ones_clear() {
        let mut c = ConfigSpace::new(0x8086, 0x1237, 0x06_0000, 2).with(0x04, 2, 0x0006, 0x0140).with_clears(6, 0xF900);
        c.write(0x00, 4, 0);
        c.write(0x04, 4, 0xFFFF_FFFF);
        assert_eq!(c.read(0, 4), 0x1237_8086);
        assert_eq!(c.read(4, 4), 0x0000_0146);
        assert_eq!(c.read(8, 4), 0x0600_0002);
        assert!(ConfigSpace::touches(0x58, 4, 0x59, 0x5F) && !ConfigSpace::touches(0x58, 1, 0x59, 0x5F));
    }
}
