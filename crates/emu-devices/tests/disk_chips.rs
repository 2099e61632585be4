//! Disk controllers among the real chips of a board: DMA controller, interrupt controllers, host bridge.

use emu_core::block::RamDisk;
use emu_core::bus::rig::Rig;
use emu_core::mem::Target;
use emu_core::{DeviceId, Sink};
use emu_devices::ata::Drive;
use emu_devices::fdc::{self, DriveKind, Fdc, FdcWires, FloppyDrive};
use emu_devices::i440fx::{self, I440fx};
use emu_devices::i8237::{self, Dma, DmaBoard};
use emu_devices::i8259::{self, DualPic, PicKind, PicWires};
use emu_devices::piix3::{IdeWires, Piix3Ide};

fn outs(rig: &mut Rig, writes: &[(u16, u8)]) {
    writes.iter().for_each(|&(port, value)| rig.out8(port, value));
}

fn pic(rig: &mut Rig) -> DeviceId {
    let intr = rig.bus.wire_to(Sink::Intr(0));
    let pic = rig.bus.add(Box::new(DualPic::new(PicKind::Piix, PicWires { intr })));
    rig.bus.map_ports(pic, 0x20, 2, i8259::REGION_MASTER, 1);
    rig.bus.map_ports(pic, 0xA0, 2, i8259::REGION_SLAVE, 1);
    rig.bus.add_interrupt_controller(pic);
    pic
}

fn set_up_pic(rig: &mut Rig) {
    outs(rig, &[(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0x21, 0)]);
    outs(rig, &[(0xA0, 0x11), (0xA1, 0x70), (0xA1, 0x02), (0xA1, 0x01), (0xA1, 0)]);
}

/// Runs until the next interrupt, and takes it; tells its vector.
fn interrupt(rig: &mut Rig) -> u8 {
    for _ in 0..10_000 {
        if rig.bus.cpu_lines(0).intr {
            let vector = rig.bus.acknowledge(&mut rig.mem, rig.now, 0).expect("a vector");
            outs(rig, &[(0xA0, 0x20), (0x20, 0x20)]);
            return vector;
        }
        rig.advance_us(100);
    }
    panic!("no interrupt within a second");
}

fn sector_bytes(sectors: u32) -> Vec<u8> {
    (0..sectors * 512).map(|i| (i / 512) as u8).collect()
}

#[test]
fn a_floppy_is_read_through_channel_two() {
    let mut rig = Rig::new();
    let pic = pic(&mut rig);
    let dma = rig.bus.add(Box::new(Dma::new(DmaBoard::At)));
    rig.bus.map_ports(dma, 0x00, 32, i8237::REGION_BYTE, 1);
    rig.bus.map_ports(dma, 0xC0, 32, i8237::REGION_WORD, 1);
    rig.bus.map_ports(dma, 0x80, 16, i8237::REGION_PAGE, 1);
    rig.bus.set_dma_controller(dma);
    let wires = FdcWires { irq: rig.bus.wire_to(Sink::Pin(pic, 6)), dreq: rig.bus.wire_to(Sink::DmaRequest(2)) };
    let disk = Box::new(RamDisk::new(sector_bytes(2880), false));
    let drive = FloppyDrive::new("fd0", DriveKind::K1440, Some(disk), None);
    let fdc = rig.bus.add(Box::new(Fdc::new("fdc", wires, [Some(drive), None, None, None])));
    rig.bus.map_ports(fdc, 0x3F0, 6, fdc::REGION_MAIN, 1);
    rig.bus.map_ports(fdc, 0x3F7, 1, fdc::REGION_DIR, 1);
    rig.bus.set_dma_client(2, fdc);
    rig.reset();
    set_up_pic(&mut rig);

    outs(&mut rig, &[(0x3F2, 0x1C), (0x3F7, 0)]);
    assert_eq!(interrupt(&mut rig), 0x0E);
    rig.out8(0x3F5, 0x08);
    assert_eq!([rig.in8(0x3F5), rig.in8(0x3F5)], [0xC0, 0]);
    outs(&mut rig, &[(0x3F5, 0x03), (0x3F5, 0xDF), (0x3F5, 0x02)]);

    // 32 sectors over both heads, into 12345h; channel 4 is the cascade.
    outs(&mut rig, &[(0xD6, 0xC0), (0xD4, 0), (0x0A, 6), (0x0C, 0), (0x0B, 0x46), (0x81, 0x01)]);
    outs(&mut rig, &[(0x04, 0x45), (0x04, 0x23), (0x05, 0xFF), (0x05, 0x3F), (0x0A, 2)]);
    for byte in [0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF] {
        rig.out8(0x3F5, byte);
    }
    assert_eq!(interrupt(&mut rig), 0x0E);
    let result: Vec<u8> = (0..7).map(|_| rig.in8(0x3F5)).collect();
    assert_eq!(result, [0x04, 0, 0, 0, 1, 15, 2]);
    for sector in 0..32 {
        assert_eq!(rig.mem.load::<u8>(0x1_2345 + 512 * sector), sector as u8);
    }
    assert_eq!(rig.mem.load::<u8>(0x1_2345 + 512 * 32), 0);
    assert_ne!(rig.in8(0x08) & 4, 0, "terminal count of channel 2");
}

#[test]
fn a_disk_is_found_by_configuration_cycles_and_interrupts_through_both_controllers() {
    let mut rig = Rig::new();
    let pic = pic(&mut rig);
    let host = rig.bus.add(Box::new(I440fx::new("pmc", [Target::Open; i440fx::SEGMENTS])));
    rig.bus.map_ports(host, 0xCF8, 4, i440fx::REGION_ADDRESS, 4);
    rig.bus.map_ports(host, 0xCFC, 4, i440fx::REGION_DATA, 4);
    let wires = IdeWires { irq: [14, 15].map(|n| rig.bus.wire_to(Sink::Pin(pic, n))) };
    let disk = Drive::disk("0", Box::new(RamDisk::new(sector_bytes(64), false)), None);
    let ide = rig.bus.add(Box::new(Piix3Ide::new("ide", 1, wires, [[Some(disk), None], [None, None]])));
    for (base, len, region, width) in [(0x1F0, 8, 0, 4), (0x3F6, 1, 1, 1), (0x170, 8, 2, 4), (0x376, 1, 3, 1)] {
        rig.bus.map_ports(ide, base, len, region, width);
    }
    rig.reset();
    set_up_pic(&mut rig);

    rig.out32(0xCF8, 0x8000_0900);
    assert_eq!(rig.in32(0xCFC), 0x7010_8086);
    rig.out32(0xCF8, 0x8000_0908);
    assert_eq!(rig.in32(0xCFC) >> 8, 0x01_0180);
    rig.out32(0xCF8, 0x8000_0920);
    rig.out32(0xCFC, u32::MAX);
    assert_eq!(rig.in32(0xCFC), 0xFFFF_FFF1, "16 ports");

    assert_eq!(rig.in8(0x177), 0x7F, "nothing on the secondary channel");
    outs(&mut rig, &[(0x1F6, 0xE0), (0x1F2, 1), (0x1F3, 33), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0x20)]);
    assert_eq!(interrupt(&mut rig), 0x76);
    assert_eq!(rig.in8(0x1F7), 0x58);
    assert!((0..128).all(|_| rig.in32(0x1F0) == 0x2121_2121));
    assert_eq!(rig.in8(0x1F7), 0x50);
}
