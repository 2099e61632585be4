//! PIIX3 function 1, id 8086:7010: two IDE channels at their legacy ports, with a bus master each.
//!
//! Ports: of each channel, see [`crate::ata`]; 16 at BMIBA (configuration 20h) for the bus masters, while PCICMD enables
//! I/O space. Interrupts: IRQ 14 and 15.
//!
//! Left out: timings are storage only, and the channels answer whether or not IDETIM's decode enable bits (41h and 43h bit
//! 7) are set: firmware sets them, for drivers that look.

use emu_core::block::BlockBackend;
use emu_core::bus::{DevCx, Device, PciAddress, PciFunction, PortDevice, Remap, Wire};
use emu_core::input::Input;
use emu_core::state::{State, StateError, StateReader, StateWriter};
use emu_core::time::{ClockRate, Ticks};

use crate::ata::{Channel, Drive, channel_peek, channel_read, channel_write, registers_stay};
use crate::geometry::Geometry;
use crate::pci_config::ConfigSpace;

/// Port region of the primary command block: 8 ports at 1F0h, width 4.
pub const REGION_PRIMARY: u16 = 0;
/// Port region of the primary control block: 1 port at 3F6h, width 1.
pub const REGION_PRIMARY_CONTROL: u16 = 1;
/// Port region of the secondary command block: 8 ports at 170h, width 4.
pub const REGION_SECONDARY: u16 = 2;
/// Port region of the secondary control block: 1 port at 376h, width 1.
pub const REGION_SECONDARY_CONTROL: u16 = 3;
/// Port region of the bus masters, 16 ports, width 4; mapped by configuration.
pub const REGION_BUS_MASTER: u16 = 4;

const PCICMD: u8 = 0x04;
const BMIBA: u8 = 0x20;

/// Output wires.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdeWires {
    /// INTRQ of the primary and the secondary channel, to IRQ 14 and 15.
    pub irq: [Wire; 2],
}

/// The IDE function.
#[derive(Debug)]
pub struct Piix3Ide {
    // Configuration
    name: String,
    address: PciAddress,
    // Sub-devices
    channels: [Channel; 2],
    // State
    config: ConfigSpace,
}

impl Piix3Ide {
    /// The function at 00:`device`.1, with devices 0 and 1 of the primary and of the secondary channel.
    #[must_use]
    pub fn new(name: impl Into<String>, device: u8, wires: IdeWires, drives: [[Option<Drive>; 2]; 2]) -> Piix3Ide {
        let [primary, secondary] = drives;
        let address = PciAddress { bus: 0, device, function: 1 };
        let channel = |tag, irq, drives| Channel::new(tag, irq, drives, Some(address));
        let channels = [channel(0, wires.irq[0], primary), channel(2, wires.irq[1], secondary)];
        Piix3Ide { name: name.into(), address, channels, config: layout() }
    }

    /// Drive `i` (0 or 1) of channel `channel` (0 or 1).
    pub fn drive(&mut self, channel: usize, i: usize) -> Option<&mut Drive> {
        self.channels.get_mut(channel)?.drive_mut(i)
    }

    /// What lies in drive `i` of `channel`, and the default translation of a disk.
    pub fn media(&mut self, channel: usize, i: usize) -> Option<(&mut dyn BlockBackend, Geometry)> {
        self.drive(channel, i)?.media()
    }

    fn map(&self, cx: &mut DevCx<'_>) {
        let base = self.config.read(BMIBA, 2) as u16 & 0xFFF0;
        let region = REGION_BUS_MASTER;
        cx.remap(if self.config.byte(PCICMD) & 1 != 0 && base != 0 {
            Remap::Ports { base, len: 16, region, width: 4 }
        } else {
            Remap::UnmapPorts { region }
        });
    }
}

/// Registers with their reset values and writable bits [82371SB 2.3].
fn layout() -> ConfigSpace {
    ConfigSpace::new(0x8086, 0x7010, 0x01_0180, 0x00)
        .with(PCICMD, 2, 0x0000, 0x0005)
        .with(0x06, 2, 0x0280, 0)
        .with_clears(0x06, 0x3800)
        .with(0x0D, 1, 0x00, 0xF0)
        // The datasheet hardwires bits 31:16 to zero, which firmware that sizes 32-bit BARs (SeaBIOS) takes for a huge one.
        .with(BMIBA, 4, 0x0000_0001, 0xFFFF_FFF0)
        .with(0x40, 2, 0x0000, 0xF3FF) // IDETIM, primary
        .with(0x42, 2, 0x0000, 0xF3FF) // IDETIM, secondary
        .with(0x44, 1, 0x00, 0xFF) // SIDETIM
}

/// Which channel a port region belongs to, and whether it is the control block.
fn channel_of(region: u16) -> (usize, bool) {
    (usize::from(region >> 1 & 1), region & 1 != 0)
}

impl Device for Piix3Ide {
    fn name(&self) -> &str {
        &self.name
    }

    fn reset(&mut self, cx: &mut DevCx<'_>) {
        self.config.reset();
        self.channels.iter_mut().for_each(|c| c.reset(cx));
        self.map(cx);
    }

    #[inline]
    fn ports(&mut self) -> Option<&mut dyn PortDevice> {
        Some(self)
    }

    fn pci(&mut self) -> Option<&mut dyn PciFunction> {
        Some(self)
    }

    fn event(&mut self, cx: &mut DevCx<'_>, tag: u32) {
        self.channels[(tag >> 1 & 1) as usize].event(cx, tag);
    }

    fn restored(&mut self, cx: &mut DevCx<'_>) {
        self.channels.iter_mut().for_each(|c| c.restored(cx));
        self.map(cx);
    }

    fn input(&mut self, cx: &mut DevCx<'_>, input: &Input) -> bool {
        self.channels.iter_mut().any(|c| c.input(cx, input))
    }
}

impl PortDevice for Piix3Ide {
    fn read(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8) -> u32 {
        if region == REGION_BUS_MASTER {
            return self.channels[usize::from(offset >> 3 & 1)].read_bus_master(offset & 7, size);
        }
        let (channel, control) = channel_of(region);
        channel_read(&mut self.channels[channel], cx, control, offset, size)
    }

    fn write(&mut self, cx: &mut DevCx<'_>, region: u16, offset: u16, size: u8, value: u32) {
        if region == REGION_BUS_MASTER {
            return self.channels[usize::from(offset >> 3 & 1)].write_bus_master(cx, offset & 7, size, value);
        }
        let (channel, control) = channel_of(region);
        channel_write(&mut self.channels[channel], cx, control, offset, size, value);
    }

    fn steady_until(&self, _now: Ticks, _rate: ClockRate, region: u16, offset: u16) -> Option<Ticks> {
        if region == REGION_BUS_MASTER { None } else { registers_stay(channel_of(region).1, offset) }
    }

    fn read_run(&mut self, region: u16, offset: u16, size: u8, data: &mut [u8]) -> usize {
        let (channel, control) = channel_of(region);
        let is_data = region != REGION_BUS_MASTER && !control && offset == 0;
        if is_data { self.channels[channel].read_run(size, data) } else { 0 }
    }

    fn write_run(&mut self, region: u16, offset: u16, size: u8, data: &[u8]) -> usize {
        let (channel, control) = channel_of(region);
        let is_data = region != REGION_BUS_MASTER && !control && offset == 0;
        if is_data { self.channels[channel].write_run(size, data) } else { 0 }
    }

    fn peek(&self, _now: Ticks, region: u16, offset: u16, size: u8) -> u32 {
        if region == REGION_BUS_MASTER {
            return self.channels[usize::from(offset >> 3 & 1)].read_bus_master(offset & 7, size);
        }
        let (channel, control) = channel_of(region);
        channel_peek(&self.channels[channel], control, offset)
    }
}

impl PciFunction for Piix3Ide {
    fn address(&self) -> PciAddress {
        self.address
    }

    fn config_read(&mut self, _cx: &mut DevCx<'_>, register: u8, size: u8) -> u32 {
        self.config.read(register, size)
    }

    fn config_write(&mut self, cx: &mut DevCx<'_>, register: u8, size: u8, value: u32) {
        self.config.write(register, size, value);
        if ConfigSpace::touches(register, size, PCICMD, PCICMD)
            || ConfigSpace::touches(register, size, BMIBA, BMIBA + 1)
        {
            self.map(cx);
        }
    }
}

impl State for Piix3Ide {
    const TAG: [u8; 4] = *b"P3ID";
    const VERSION: u16 = 1;

    fn save(&self, w: &mut StateWriter) {
        let Self { name: _, address: _, channels: [primary, secondary], config } = self;
        w.part(1, config);
        w.part(2, primary);
        w.part(3, secondary);
    }

    fn load(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        r.part(1, &mut self.config)?;
        r.part(2, &mut self.channels[0])?;
        r.part(3, &mut self.channels[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::block::RamDisk;
    use emu_core::bus::rig::{Rig, Surface};
    use emu_core::bus::{DeviceId, Sink};
    use emu_core::device_contract_tests;

    const AT: PciAddress = PciAddress { bus: 0, device: 1, function: 1 };
    const BM: u16 = 0xC000;
    const TABLE: u64 = 0x1000;

    fn build() -> (Rig, DeviceId) {
        build_with(300, 40)
    }

    fn build_with(sectors: u32, blocks: u32) -> (Rig, DeviceId) {
        let mut rig = Rig::new();
        let wires = IdeWires { irq: [rig.bus.wire_to(Sink::Intr(0)), rig.bus.wire_to(Sink::Nmi(0))] };
        let bytes = (0..512 * sectors).map(|i| (i / 512) as u8 ^ i as u8).collect();
        let disk = Drive::disk("D0", Box::new(RamDisk::new(bytes, false)), None);
        let disc = RamDisk::new((0..2048 * blocks).map(|i| (i / 2048) as u8).collect(), true);
        let cd = Drive::cdrom("cd0", Some(Box::new(disc)));
        let id = rig.bus.add(Box::new(Piix3Ide::new("ide", 1, wires, [[Some(disk), None], [Some(cd), None]])));
        for (base, len, region, width) in [(0x1F0, 8, 0, 4), (0x3F6, 1, 1, 1), (0x170, 8, 2, 4), (0x376, 1, 3, 1)] {
            rig.bus.map_ports(id, base, len, region, width);
        }
        rig.reset();
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, BMIBA, 4, BM.into());
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, PCICMD, 2, 5);
        (rig, id)
    }

    fn surface() -> Surface {
        Surface { ports: vec![(0x1F0, 8), (0x3F6, 1), (0x170, 8), (0x376, 1), (BM, 16)], memory: vec![] }
    }

    device_contract_tests!(|| build_with(3, 1), surface);

    fn table(rig: &mut Rig, base: u16, regions: &[(u32, u16, bool)]) {
        for (i, &(address, count, last)) in regions.iter().enumerate() {
            rig.mem.store(TABLE + 8 * i as u64, address);
            rig.mem.store(TABLE + 8 * i as u64 + 4, u32::from(count) | u32::from(last) << 31);
        }
        rig.out32(base + 4, TABLE as u32);
    }

    fn command(rig: &mut Rig, lba: u8, count: u8, command: u8) {
        for (port, value) in [(0x1F6, 0xE0), (0x1F2, count), (0x1F3, lba), (0x1F4, 0), (0x1F5, 0), (0x1F7, command)] {
            rig.out8(port, value);
        }
    }

    #[test]
    fn read_dma_scatters_over_regions() {
        let (mut rig, _) = build();
        table(&mut rig, BM, &[(0x2_0000, 0x300, false), (0x3_0000, 0x100, true)]);
        command(&mut rig, 7, 2, 0xC8);
        rig.out8(BM, 0x09);
        assert_eq!(rig.in8(BM + 2) & 7, 1, "active");
        rig.advance_us(1000);
        assert!(rig.bus.cpu_lines(0).intr);
        assert_eq!(rig.in8(BM + 2) & 7, 4, "interrupt, no longer active");
        assert_eq!(rig.in8(0x1F7), 0x50);
        assert!(!rig.bus.cpu_lines(0).intr);
        assert_eq!(rig.mem.load::<u8>(0x2_0001), 7 ^ 1);
        assert_eq!(rig.mem.load::<u8>(0x2_02FF), 8 ^ 0xFF);
        assert_eq!(rig.mem.load::<u8>(0x3_0000), 8);
        rig.out8(BM, 0);
        rig.out8(BM + 2, 4);
        assert_eq!(rig.in8(BM + 2), 0);
    }

    #[test]
    fn write_dma_and_an_engine_started_first() {
        let (mut rig, _) = build();
        rig.mem.write(0x2_0000, &[0xA5; 1024]);
        table(&mut rig, BM, &[(0x2_0000, 0x800, true)]);
        rig.out8(BM, 0x01);
        command(&mut rig, 0, 2, 0xCA);
        rig.advance_us(1000);
        assert_eq!(rig.in8(BM + 2) & 7, 5, "regions are left: still active");
        let ide = rig.bus.find_mut::<Piix3Ide>().unwrap();
        let mut back = [0; 1536];
        ide.media(0, 0).unwrap().0.read(0, &mut back).unwrap();
        assert!(back[..1024].iter().all(|&b| b == 0xA5) && back[1024] == 2);
    }

    #[test]
    fn packets_read_by_dma() {
        let (mut rig, _) = build();
        for attempt in 0..2 {
            table(&mut rig, BM + 8, &[(0x4_0000, 4096, true)]);
            rig.out8(0x176, 0xA0);
            rig.out8(0x171, 1);
            rig.out8(0x177, 0xA0);
            assert_eq!((rig.in8(0x376) & 0x88, rig.in8(0x172)), (0x08, 1));
            for word in [0x0028u16, 0, 0x0500, 0, 0x0002, 0] {
                rig.out16(0x170, word);
            }
            rig.out8(BM + 8, 0x09);
            rig.advance_us(1000);
            assert_eq!((rig.in8(0x177) & 1, rig.in8(0x172)), (1 - attempt, 3), "first the unit attention");
            rig.out8(BM + 8, 0);
        }
        assert_eq!((rig.mem.load::<u8>(0x4_0000), rig.mem.load::<u8>(0x4_0800)), (5, 6));
    }

    #[test]
    fn the_bus_master_answers_only_when_enabled() {
        let (mut rig, _) = build();
        rig.out32(BM + 4, 0x1234_5677);
        assert_eq!(rig.in32(BM + 4), 0x1234_5674);
        rig.bus.pci_write(&mut rig.mem, rig.now, AT, PCICMD, 2, 0);
        assert_eq!(rig.in32(BM + 4), u32::MAX);
        assert_eq!(rig.bus.pci_read(&mut rig.mem, rig.now, AT, BMIBA, 4), u32::from(BM) | 1);
    }
}
