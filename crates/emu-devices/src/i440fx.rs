//! Intel 82441FX (440FX PMC): PCI 00:00.0, id 8086:1237, the bridge between CPU, DRAM and PCI.
//!
//! Ports: CF8h (CONFADD, dword only) and CFCh–CFFh (CONFDATA), configuration mechanism 1. Memory: the attributes of
//! C0000h–FFFFFh (PAM0–6). Source: Intel 82441FX datasheet, order number 290549.
//!
//! Left out: DRAM timing and row boundaries are storage only (memory is sized by the board), as are ECC, the multi-
//! transaction timer and the turbo register. D_CLS, which in SMM would send data
//! accesses to A0000h–BFFFFh to the PCI bus, is storage.

use emu_core::bus::{DevCx, Device, PciAddress, PciFunction, PortDevice};
use emu_core::mem::Target;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::Ticks;

use crate::pci_config::ConfigSpace;

/// Port region of CONFADD, 4 ports at CF8h, width 4.
pub const REGION_ADDRESS: u16 = 0;
/// Port region of CONFDATA, 4 ports at CFCh, width 4.
pub const REGION_DATA: u16 = 1;

/// First of the seven attribute registers [82441FX 3.2.18].
const PAM0: u8 = 0x59;
const PAM6: u8 = 0x5F;
/// System management RAM control [82441FX 3.2.22].
const SMRAM: u8 = 0x72;
const SMRAM_OPEN: u8 = 1 << 6;
const SMRAM_LOCK: u8 = 1 << 4;
const SMRAM_ENABLE: u8 = 1 << 3;
const SMRAM_START: u64 = 0xA_0000;
const SMRAM_END: u64 = 0xC_0000;

/// Number of memory segments that have attributes of their own.
pub const SEGMENTS: usize = 13;

/// First address and length of segment `i`: twelve of 16 KiB from C0000h on, then the 64 KiB at F0000h.
#[must_use]
pub const fn segment(i: usize) -> (u64, u64) {
    if i < 12 { (0xC_0000 + 0x4000 * i as u64, 0x4000) } else { (0xF_0000, 0x1_0000) }
}

/// The host bridge.
#[derive(Debug)]
pub struct I440fx {
    // Configuration
    name: String,
    /// What answers each segment on the PCI/ISA side: ROM in the pool, a device, or nothing.
    rom: [Target; SEGMENTS],
    // State
    config: ConfigSpace,
    config_address: u32,
}

impl I440fx {
    /// A bridge in front of `rom`, the targets of the segments ([`segment`]) when they are not shadowed. The RAM behind a
    /// segment is the pool at the same offset as its physical address.
    #[must_use]
    pub fn new(name: impl Into<String>, rom: [Target; SEGMENTS]) -> I440fx {
        I440fx { name: name.into(), rom, config: layout(), config_address: 0 }
    }

    /// Attribute nibble of segment `i`: bit 0 = reads go to DRAM, bit 1 = writes do [82441FX table 3-5].
    fn attribute(&self, i: usize) -> u8 {
        if i < 12 {
            self.config.byte(PAM0 + 1 + i as u8 / 2) >> (4 * (i as u32 & 1))
        } else {
            self.config.byte(PAM0) >> 4
        }
    }

    fn map_segments(&self, cx: &mut DevCx<'_>) {
        for (i, &rom) in self.rom.iter().enumerate() {
            let (start, len) = segment(i);
            let ram = Target::Pool(start);
            // ROM takes no writes; a flash chip or a card's memory behind a device does.
            let rom_write = if let Target::Mmio(_) = rom { rom } else { Target::Open };
            let attribute = self.attribute(i);
            let read = if attribute & 1 != 0 { ram } else { rom };
            let write = if attribute & 2 != 0 { ram } else { rom_write };
            cx.mem.map_split(start, len, Some(read), Some(write));
        }
    }

    /// SMRAM lies behind the video memory's addresses; without D_OPEN only system management mode reaches it.
    fn map_smram(&self, cx: &mut DevCx<'_>) {
        let value = self.config.byte(SMRAM);
        let enabled = value & SMRAM_ENABLE != 0;
        cx.mem.set_smram(enabled.then_some((SMRAM_START..SMRAM_END, SMRAM_START)), value & SMRAM_OPEN != 0);
    }

    fn write_smram(&mut self, cx: &mut DevCx<'_>, value: u8) {
        let old = self.config.byte(SMRAM);
        if old & SMRAM_LOCK != 0 {
            return; // D_LCK makes the register read-only until reset, and has cleared D_OPEN.
        }
        let open = if value & SMRAM_LOCK != 0 { 0 } else { value & SMRAM_OPEN };
        self.config.write(SMRAM, 1, u32::from(value & !SMRAM_OPEN | open));
        self.map_smram(cx);
    }
}

/// Registers with their reset values and writable bits [82441FX 3.2].
fn layout() -> ConfigSpace {
    let mut c = ConfigSpace::new(0x8086, 0x1237, 0x06_0000, 0x02)
        .with(0x04, 2, 0x0006, 0x0140) // PCICMD: memory and master are hardwired on
        .with(0x06, 2, 0x0280, 0) // PCISTS: medium DEVSEL#, fast back-to-back
        .with_clears(0x06, 0xF900)
        .with(0x0D, 1, 0x00, 0xF8) // MLT
        .with(0x50, 2, 0x0000, 0xFFFC) // PMCCFG
        .with(0x52, 1, 0x00, 0xFF) // DETURBO
        .with(0x53, 1, 0x83, 0xFF) // DBC
        .with(0x54, 1, 0x00, 0x9F) // AXC
        .with(0x55, 2, 0x0000, 0xFFFF) // DRT
        .with(0x57, 1, 0x01, 0xFF) // DRAMC
        .with(0x58, 1, 0x10, 0xFF) // DRAMT
        .with(0x68, 1, 0x00, 0xF0) // FDHC
        .with(0x70, 1, 0x00, 0xF8) // MTT
        .with(0x71, 1, 0x10, 0xF8) // CLT
        .with(SMRAM, 1, 0x02, 0x78)
        .with(0x90, 1, 0x00, 0xFF) // ERRCMD
        .with_clears(0x90, 0x1100) // ERRSTS at 91h: single and multiple bit errors
        .with(0x93, 1, 0x00, 0x06); // TRC
    c = c.with(PAM0, 1, 0, 0x30);
    for i in 1..=6 {
        c = c.with(PAM0 + i, 1, 0, 0x33);
    }
    for i in 0x60..=0x67 {
        c = c.with(i, 1, 0x01, 0xFF); // DRB
    }
    c
}

impl Device for I440fx {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.config.reset();
        self.config_address = 0;
        self.map_segments(cx);
        self.map_smram(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.map_segments(cx);
        self.map_smram(cx);
    }
}

impl I440fx {
    /// Hands an access to CONFDATA on, if CONFADD enables it; returns what an access that goes nowhere reads.
    fn config_cycle(&self, cx: &mut DevCx<'_>, offset: u16) -> u32 {
        let a = self.config_address;
        if a >> 31 != 0 {
            let address =
                PciAddress { bus: (a >> 16) as u8, device: (a >> 11) as u8 & 31, function: (a >> 8) as u8 & 7 };
            cx.forward_to_pci(address, (a as u8 & 0xFC).wrapping_add(offset as u8));
        }
        u32::MAX
    }
}

impl PortDevice for I440fx {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        match region {
            REGION_DATA => self.config_cycle(cx, offset),
            _ => self.peek(cx.now, region, offset, size),
        }
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        match (region, size) {
            (REGION_DATA, _) => _ = self.config_cycle(cx, offset),
            // Narrower writes are ordinary I/O cycles, which nobody on the bus claims [82441FX 3.1.1].
            (REGION_ADDRESS, 4) => self.config_address = value & 0x80FF_FFFC,
            _ => {}
        }
    }

    fn peek(&self, _now: Ticks, region: u16, _offset: u16, size: u8) -> u32 {
        if region == REGION_ADDRESS && size == 4 { self.config_address } else { u32::MAX }
    }
}

impl PciFunction for I440fx {
    fn address(&self) -> PciAddress {
        PciAddress { bus: 0, device: 0, function: 0 }
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        self.config.read(register, size)
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        for i in 0..size.min(4) {
            let (at, byte) = (register.wrapping_add(i), (value >> (8 * u32::from(i))) as u8);
            if at == SMRAM {
                self.write_smram(cx, byte);
            } else {
                self.config.write(at, 1, byte.into());
            }
        }
        if ConfigSpace::touches(register, size, PAM0, PAM6) {
            self.map_segments(cx);
        }
    }
}

impl State for I440fx {
    const TAG: [u8; 4] = *b"440F";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { name: _, rom: _, config, config_address } = self;
        w.part(1, config);
        w.field(2, config_address);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.config)?;
        self.config_address = r.field::<u32>(2)? & 0x80FF_FFFC;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::bus::DeviceId;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::device_contract_tests;

    const ROM: u64 = 0x20_0000;

    fn build() -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let at = rig.mem.allocate(0x4_0000).expect("room for ROM");
        assert_eq!(at, ROM);
        rig.mem.pool_write(ROM, &[0x55; 0x4_0000]);
        let rom = core::array::from_fn(|i| Target::Pool(ROM + segment(i).0 - 0xC_0000));
        let id = rig.bus.add(Box::new(I440fx::new("pmc", rom)));
        rig.bus.map_ports(id, 0xCF8, 4, REGION_ADDRESS, 4);
        rig.bus.map_ports(id, 0xCFC, 4, REGION_DATA, 4);
        rig.reset();
        (rig, id)
    }

    device_contract_tests!(build, || Surface { ports: vec![(0xCF8, 8)], memory: vec![] });

    #[test]
    fn mechanism_one_takes_dwords_only() {
        let (mut rig, _) = build();
        rig.out32(0xCF8, 0x8000_0000);
        assert_eq!(rig.in32(0xCF8), 0x8000_0000);
        assert_eq!(rig.in32(0xCFC), 0x1237_8086);
        assert_eq!(rig.in16(0xCFE), 0x1237);
        rig.out8(0xCFB, 1); // the test for mechanism 2 that Linux makes
        assert_eq!(rig.in32(0xCF8), 0x8000_0000);
        rig.out32(0xCF8, 0x8000_0800);
        assert_eq!(rig.in32(0xCFC), u32::MAX, "no such function");
        rig.out32(0xCF8, 0);
        assert_eq!(rig.in32(0xCFC), u32::MAX, "disabled");
    }

    #[test]
    fn shadowing_reads_and_writes_apart() {
        let (mut rig, id) = build();
        rig.write(0xF_0000, 1, 0xAA);
        assert_eq!(rig.read(0xF_0000, 1), 0x55);
        rig.out32(0xCF8, 0x8000_0058);
        rig.out8(0xCFD, 0x20); // PAM0: write DRAM, read ROM
        rig.write(0xF_0000, 1, 0xAA);
        assert_eq!(rig.read(0xF_0000, 1), 0x55);
        rig.out8(0xCFD, 0x10); // read DRAM, write-protected
        rig.write(0xF_0000, 1, 0x77);
        assert_eq!(rig.read(0xF_0000, 1), 0xAA);
        assert_eq!(rig.read(0xE_C000, 1), 0x55);
        rig.out32(0xCF8, 0x8000_005C);
        rig.out8(0xCFF, 0x10); // PAM6: EC000h–EFFFFh
        assert_eq!((rig.read(0xE_C000, 1), rig.read(0xE_8000, 1)), (0, 0x55));

        let saved = rig.saved(id);
        let (mut other, other_id) = build();
        other.bus.device(other_id).load_chunk(&mut StateReader::new(&saved)).unwrap();
        other.bus.restored(&mut other.mem, Ticks(0));
        assert_eq!(other.read(0xE_C000, 1), 0, "the map follows loaded state");
    }

    #[test]
    fn a_locked_smram_register_stays() {
        let (mut rig, _) = build();
        rig.out32(0xCF8, 0x8000_0070);
        assert_eq!(rig.in8(0xCFE), 0x02);
        rig.out8(0xCFE, 0x5A);
        assert_eq!(rig.in8(0xCFE), 0x1A, "locking closes");
        rig.out8(0xCFE, 0x42);
        assert_eq!(rig.in8(0xCFE), 0x1A);
    }

    #[test]
    fn open_smram_lies_over_the_video_memory() {
        let (mut rig, _) = build();
        rig.mem.pool_write(0xA_0000, &[0x77]);
        rig.mem.map(0xA_0000, 0x2_0000, Target::Open); // where a board has its video memory
        rig.out32(0xCF8, 0x8000_0070);
        rig.out8(0xCFE, 0x0A); // enabled, closed
        assert_eq!(rig.read(0xA_0000, 1), 0xFF);
        rig.out8(0xCFE, 0x4A); // open
        assert_eq!(rig.read(0xA_0000, 1), 0x77);
        rig.out8(0xCFE, 0x1A); // locked, hence closed
        assert_eq!(rig.read(0xA_0000, 1), 0xFF);
    }
}
