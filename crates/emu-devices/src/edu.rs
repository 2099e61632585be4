//! QEMU's `edu`, the PCI device that people learn to write drivers on: 1234:11E8, a factorial, interrupts and DMA.
//!
//! - Source: [edu]. PCI function with BAR 0 (1 MiB of registers), INTA# and MSI (one message, 64-bit address, at 40h).
//! - Registers: identification 010000EDh, liveness (inverts), factorial, status, interrupt status, raise and acknowledge, DMA
//!   source, destination, count and command; 4096 bytes of its own at 40000h. Accesses of other sizes than the document allows
//!   read as ones and write nothing.
//! - Addresses of DMA have 28 bits, as without `dma_mask`.
//! - Times are emu's own: a factorial takes 10 µs, a transfer 100 µs. A transfer that does not fit the buffer, or whose access
//!   is blocked, moves nothing, and is over like any other.

use emu_core::bus::{DevCx, Device, InterruptMessage, MmioDevice, PciAddress, PciFunction, Remap, Wire};
use emu_core::mem::Target;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::Ticks;

use crate::pci_config::ConfigSpace;

/// Configuration space.
const COMMAND: u8 = 0x04;
const STATUS: u8 = 0x06;
const BAR0: u8 = 0x10;
const MSI: u8 = 0x40;
const MEMORY_ENABLE: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;
const INTX_DISABLE: u32 = 1 << 10;
/// The capability's control word: MSI is on.
const MSI_ENABLE: u32 = 1 << 16;

const SIZE: u64 = 1 << 20;
/// Nothing is mapped above: the I/O APIC lies there.
const MMIO_END: u64 = 0xFEC0_0000;

const COMPUTING: u32 = 1 << 0;
const INTERRUPT_AFTER: u32 = 1 << 7;

const DMA_RUN: u32 = 1 << 0;
const DMA_TO_MEMORY: u32 = 1 << 1;
const DMA_INTERRUPT: u32 = 1 << 2;

const FACTORIAL_DONE: u32 = 1;
const DMA_DONE: u32 = 0x100;

/// The buffer, and which addresses DMA reaches.
const BUFFER: u64 = 0x4_0000;
const BUFFER_SIZE: u64 = 4096;
const DMA_MASK: u64 = (1 << 28) - 1;

const EVENT_FACTORIAL: u32 = 0;
const EVENT_DMA: u32 = 1;
const FACTORIAL_US: u64 = 10;
const DMA_US: u64 = 100;

/// The device.
#[derive(Debug)]
pub struct Edu {
    // Configuration
    address: PciAddress,
    // Wiring
    /// INTA#, as a positive level.
    inta: Wire,
    // State
    config: ConfigSpace,
    liveness: u32,
    factorial: u32,
    status: u32,
    interrupts: u32,
    /// Source, destination, count.
    dma: [u64; 3],
    dma_command: u32,
    buffer: Vec<u8>,
    // Volatile
    /// Where the registers are mapped now.
    mapped: Option<u64>,
}

impl Edu {
    /// The device at 00:`device`.0.
    #[must_use]
    pub fn new(device: u8, inta: Wire) -> Edu {
        Edu {
            address: PciAddress { bus: 0, device, function: 0 },
            inta,
            config: layout(),
            liveness: 0,
            factorial: 0,
            status: 0,
            interrupts: 0,
            dma: [0; 3],
            dma_command: 0,
            buffer: vec![0; BUFFER_SIZE as usize],
            mapped: None,
        }
    }

    fn command(&self) -> u32 {
        self.config.read(COMMAND, 2)
    }

    /// Maps the registers as BAR 0 says, unless something else answers there: while a guest sizes it, it points anywhere.
    fn map(&mut self, cx: &mut DevCx<'_>) {
        let base = u64::from(self.config.read(BAR0, 4) & !15);
        let wanted = (self.command() & MEMORY_ENABLE != 0 && base != 0).then_some(base);
        if wanted == self.mapped {
            return;
        }
        let own = |at: u64| self.mapped.is_some_and(|m| (m..m + SIZE).contains(&at));
        let open = |at: u64| own(at) || cx.mem.target(at) == (Target::Open, Target::Open);
        let free = |base: u64| base + SIZE <= MMIO_END && (base..base + SIZE).step_by(0x1000).all(open);
        self.mapped = wanted.filter(|&base| free(base));
        cx.remap(match self.mapped {
            Some(base) => Remap::Mmio { base, len: SIZE, region: 0 },
            None => Remap::UnmapMmio { region: 0 },
        });
    }

    fn has_msi(&self) -> bool {
        self.config.read(MSI, 4) & MSI_ENABLE != 0
    }

    /// INTA# is low while something is not acknowledged, unless there is MSI, or it was switched off.
    fn drive_inta(&self, cx: &mut DevCx<'_>) {
        let off = self.has_msi() || self.command() & INTX_DISABLE != 0;
        cx.set_wire(self.inta, self.interrupts != 0 && !off);
    }

    fn raise(&mut self, cx: &mut DevCx<'_>, what: u32) {
        self.interrupts |= what;
        // A message is a write of the bus master's.
        if self.interrupts != 0 && self.has_msi() && self.command() & BUS_MASTER != 0 {
            let (address, upper) = (self.config.read(MSI + 4, 4), self.config.read(MSI + 8, 4));
            let data = self.config.read(MSI + 12, 2);
            if upper == 0 && address >> 20 == 0xFEE {
                cx.interrupt_message(self.address, InterruptMessage { address, data });
            } else {
                let at = u64::from(upper) << 32 | u64::from(address);
                cx.dma_write(self.address, at, &data.to_le_bytes());
            }
        }
        self.drive_inta(cx);
    }

    fn register(&self, offset: u64) -> u32 {
        let half = |value: u64| (value >> (8 * (offset & 4))) as u32;
        match offset {
            0x00 => 0x0100_00ED,
            0x04 => self.liveness,
            0x08 => self.factorial,
            0x20 => self.status,
            0x24 => self.interrupts,
            0x80..=0x97 => half(self.dma[(offset - 0x80) as usize / 8]),
            0x98 => self.dma_command,
            _ => u32::MAX,
        }
    }

    fn write_register(&mut self, cx: &mut DevCx<'_>, offset: u64, value: u32) {
        match offset {
            0x04 => self.liveness = !value,
            0x08 if self.status & COMPUTING == 0 => {
                self.factorial = value;
                self.status |= COMPUTING;
                cx.schedule(EVENT_FACTORIAL, cx.now + cx.rate.ticks_in_us(FACTORIAL_US));
            }
            0x20 => self.status = self.status & !INTERRUPT_AFTER | value & INTERRUPT_AFTER,
            0x60 => self.raise(cx, value),
            0x64 => {
                self.interrupts &= !value;
                self.drive_inta(cx);
            }
            // They stay as they are while a transfer runs.
            0x80..=0x97 if self.dma_command & DMA_RUN == 0 => {
                let (register, shift) = (&mut self.dma[(offset - 0x80) as usize / 8], 8 * (offset & 4));
                *register = *register & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
            }
            0x98 if self.dma_command & DMA_RUN == 0 && value & DMA_RUN != 0 => {
                self.dma_command = value & (DMA_RUN | DMA_TO_MEMORY | DMA_INTERRUPT);
                cx.schedule(EVENT_DMA, cx.now + cx.rate.ticks_in_us(DMA_US));
            }
            _ => {}
        }
    }

    /// Where in the buffer `count` bytes at `offset` of the device are.
    fn in_buffer(offset: u64, count: u64) -> Option<core::ops::Range<usize>> {
        let start = offset.checked_sub(BUFFER)?;
        let end = start.checked_add(count)?;
        (end <= BUFFER_SIZE).then_some(start as usize..end as usize)
    }

    fn transfer(&mut self, cx: &mut DevCx<'_>) {
        let ([source, destination, count], me) = (self.dma, self.address);
        let to_memory = self.dma_command & DMA_TO_MEMORY != 0;
        let (own, theirs) = if to_memory { (source, destination) } else { (destination, source) };
        let Some(range) = Edu::in_buffer(own, count).filter(|_| self.command() & BUS_MASTER != 0) else { return };
        if to_memory {
            cx.dma_write(me, theirs & DMA_MASK, &self.buffer[range]);
        } else {
            let mut bytes = vec![0; range.len()];
            if cx.dma_read(me, theirs & DMA_MASK, &mut bytes) {
                self.buffer[range].copy_from_slice(&bytes);
            }
        }
    }
}

/// The header and the MSI capability [PCI 2.2 6.2, 6.8.1].
fn layout() -> ConfigSpace {
    ConfigSpace::new(0x1234, 0x11E8, 0x00_FF00, 0x10)
        .with(COMMAND, 2, 0, 0x0406)
        .with(STATUS, 2, 0x0010, 0)
        .with(BAR0, 4, 0, !(SIZE as u32 - 1))
        .with(0x2C, 4, 0x1100_1AF4, 0)
        .with(0x34, 1, MSI.into(), 0)
        .with(0x3C, 2, 0x0100, 0x00FF)
        .with(MSI, 4, 0x0080_0005, MSI_ENABLE)
        .with(MSI + 4, 4, 0, !3)
        .with(MSI + 8, 4, 0, !0)
        .with(MSI + 12, 2, 0, 0xFFFF)
}

/// n! in 32 bits; from 34 on it is a multiple of 2^32.
fn factorial(n: u32) -> u32 {
    if n >= 34 { 0 } else { (1..=n).fold(1, u32::wrapping_mul) }
}

/// Whether the document allows an access.
fn allowed(offset: u64, size: u8) -> bool {
    size == 4 && offset.is_multiple_of(4) || size == 8 && offset >= 0x80 && offset.is_multiple_of(8)
}

impl Device for Edu {
    fn name(&self) -> &'static str {
        "edu"
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.config.reset();
        (self.liveness, self.factorial, self.status, self.interrupts) = (0, 0, 0, 0);
        (self.dma, self.dma_command) = ([0; 3], 0);
        self.buffer.fill(0);
        cx.cancel(EVENT_FACTORIAL);
        cx.cancel(EVENT_DMA);
        self.map(cx);
        self.drive_inta(cx);
    }

    fn mmio(&mut self) -> Option<&mut dyn MmioDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        if tag == EVENT_FACTORIAL {
            self.factorial = factorial(self.factorial);
            self.status &= !COMPUTING;
            if self.status & INTERRUPT_AFTER != 0 {
                self.raise(cx, FACTORIAL_DONE);
            }
        } else if tag == EVENT_DMA && self.dma_command & DMA_RUN != 0 {
            self.transfer(cx);
            self.dma_command &= !DMA_RUN;
            if self.dma_command & DMA_INTERRUPT != 0 {
                self.raise(cx, DMA_DONE);
            }
        }
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.map(cx);
    }
}

impl MmioDevice for Edu {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u64, size: u8) -> u64 {
        MmioDevice::peek(self, cx.now, region, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, _region: u16, offset: u64, size: u8, value: u64) {
        if !allowed(offset, size) {
            return;
        }
        self.write_register(cx, offset, value as u32);
        if size == 8 {
            self.write_register(cx, offset + 4, (value >> 32) as u32);
        }
    }

    fn peek(&self, _now: Ticks, _region: u16, offset: u64, size: u8) -> u64 {
        let mask = u64::MAX >> (64 - 8 * u32::from(size));
        if !allowed(offset, size) {
            return mask;
        }
        (u64::from(self.register(offset)) | u64::from(self.register(offset + 4)) << 32) & mask
    }
}

impl PciFunction for Edu {
    fn address(&self) -> PciAddress {
        self.address
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        let value = self.config.read(register, size);
        // The status register's bit 3: an interrupt waits.
        if ConfigSpace::touches(register, size, STATUS, STATUS) && self.interrupts != 0 {
            return value | 8 << (8 * u32::from(STATUS - register));
        }
        value
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        self.config.write(register, size, value);
        self.map(cx);
        self.drive_inta(cx);
    }
}

impl State for Edu {
    const TAG: [u8; 4] = *b"EDU ";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self {
            address: _,
            inta: _,
            config,
            liveness,
            factorial,
            status,
            interrupts,
            dma,
            dma_command,
            buffer,
            mapped: _,
        } = self;
        w.part(1, config);
        w.field(2, &[*liveness, *factorial, *status, *interrupts, *dma_command]);
        w.field(3, dma);
        w.field(4, buffer);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.config)?;
        [self.liveness, self.factorial, self.status, self.interrupts, self.dma_command] = r.field(2)?;
        self.dma = r.field(3)?;
        self.buffer = r.field(4)?;
        if self.buffer.len() as u64 != BUFFER_SIZE || self.status & !(COMPUTING | INTERRUPT_AFTER) != 0 {
            return Err(r.invalid("its buffer has another size, or its status bits that do not exist"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::bus::{DeviceId, Sink};
    use emu_core::device_contract_tests;

    const AT: PciAddress = PciAddress { bus: 0, device: 3, function: 0 };
    const BAR: u64 = 0xE000_0000;

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let inta = rig.bus.wire_to(Sink::Intr(0));
        let id = rig.bus.add(Box::new(Edu::new(3, inta)));
        rig.reset();
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, BAR0, 4, BAR as u32);
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, COMMAND, 2, MEMORY_ENABLE | BUS_MASTER);
        (rig, id)
    }

    device_contract_tests!(build, || Surface { ports: vec![], memory: vec![(BAR, 0xA0)] });

    fn intr(rig: &mut Rig) -> bool {
        rig.bus.cpu_lines(0).intr
    }

    #[test]
    fn liveness_and_factorials() {
        let (mut rig, _) = build();
        assert_eq!((rig.read(BAR, 4), rig.read(BAR, 2)), (0x0100_00ED, 0xFFFF));
        rig.write(BAR + 4, 4, 0x1234_5678);
        assert_eq!(rig.read(BAR + 4, 4), 0xEDCB_A987);
        for (n, is) in [(0, 1), (5, 120), (13, 1_932_053_504), (34, 0), (u32::MAX, 0)] {
            rig.write(BAR + 8, 4, n.into());
            assert_eq!(rig.read(BAR + 0x20, 4), 1);
            rig.advance_us(FACTORIAL_US + 1);
            assert_eq!((rig.read(BAR + 0x20, 4), rig.read(BAR + 8, 4)), (0, is), "{n}!");
        }
        assert!(!intr(&mut rig));
        rig.write(BAR + 0x20, 4, 0x81);
        rig.write(BAR + 8, 4, 3);
        rig.advance_us(FACTORIAL_US + 1);
        assert_eq!((intr(&mut rig), rig.read(BAR + 0x24, 4)), (true, 1));
        rig.write(BAR + 0x64, 4, 1);
        assert!(!intr(&mut rig));
    }

    #[test]
    fn interrupts_are_raised_and_acknowledged() {
        let (mut rig, _) = build();
        rig.write(BAR + 0x60, 4, 6);
        assert!(intr(&mut rig));
        assert_eq!(rig.bus.pci_read(&mut rig.mem, rig.now, AT, STATUS, 2) & 8, 8);
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, COMMAND, 2, MEMORY_ENABLE | INTX_DISABLE);
        assert!(!intr(&mut rig));
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, COMMAND, 2, MEMORY_ENABLE);
        rig.write(BAR + 0x64, 4, 2);
        assert!(intr(&mut rig), "4 is left");
        rig.write(BAR + 0x64, 4, 4);
        assert!(!intr(&mut rig));
    }

    #[test]
    fn dma_stays_in_the_buffer_and_in_28_bits() {
        let (mut rig, _) = build();
        rig.mem.write(0x5000, b"hello");
        let mut transfer = |source: u64, destination: u64, count: u64, command: u64| {
            rig.write(BAR + 0x80, 8, source);
            rig.write(BAR + 0x88, 8, destination);
            rig.write(BAR + 0x90, 8, count);
            rig.write(BAR + 0x98, 4, command);
            rig.advance_us(DMA_US + 1);
            let done = rig.read(BAR + 0x24, 4);
            rig.write(BAR + 0x64, 4, done);
            (done, rig.mem.load::<u32>(0x6000))
        };
        assert_eq!(transfer(0x5000, BUFFER, 5, 1).0, 0);
        assert_eq!(transfer(BUFFER + 1, 0x1000_6000, 4, 7), (0x100, u32::from_le_bytes(*b"ello")));
        for (offset, count) in [(BUFFER, 4097), (BUFFER + 4095, 2), (BUFFER - 1, 4), (u64::MAX, 2), (BUFFER, u64::MAX)]
        {
            assert_eq!(transfer(offset, 0x6000, count, 7), (0x100, u32::from_le_bytes(*b"ello")));
            transfer(0x5000, offset, count, 1);
        }
    }

    #[test]
    fn it_covers_nothing_that_is_there() {
        let (mut rig, _) = build();
        for base in [0x0010_0000, 0xFEC0_0000] {
            rig.bus.pci_write(&mut rig.mem, rig.now, AT, BAR0, 4, base);
            assert_eq!(rig.read(BAR, 4), 0xFFFF_FFFF, "moved away");
        }
        rig.mem.store(0x0010_0000, 0x55u8);
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, BAR0, 4, BAR as u32);
        assert_eq!((rig.read(BAR, 4), rig.mem.load::<u8>(0x0010_0000)), (0x0100_00ED, 0x55));
    }
}
