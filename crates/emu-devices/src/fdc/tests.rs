//! The controller as guests use it.

use emu_core::block::RamDisk;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::bus::{DeviceId, DmaController, DmaCycle, DmaKind, Sink};
use emu_core::device_contract_tests;

use super::*;

/// A DMA controller with one channel that the test programs directly.
#[derive(Debug, Default)]
struct OneChannel {
    address: u64,
    left: u32,
    to_memory: bool,
    requested: bool,
    verify: bool,
}

impl Device for OneChannel {
    fn name(&self) -> &str {
        "dma"
    }
    fn reset(&mut self, _cx: &mut DevCx<'_>) {}
    fn dma_controller(&mut self) -> Option<&mut dyn DmaController> {
        Some(self)
    }
}

impl DmaController for OneChannel {
    fn request(&mut self, _channel: u8, level: bool) {
        self.requested = level;
    }
    fn cycle(&mut self, _channel: u8) -> Option<DmaCycle> {
        if !self.requested || self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.address += 1;
        let kind = if self.verify {
            DmaKind::Verify
        } else if self.to_memory {
            DmaKind::ToMemory
        } else {
            DmaKind::FromMemory
        };
        Some(DmaCycle { address: self.address - 1, kind, width: 1, terminal: self.left == 0 })
    }
}

impl State for OneChannel {
    const TAG: [u8; 4] = *b"TDMA";
    const VERSION: u16 = 1;
    fn save(&self, _w: &mut StateWriter) {}
    fn load(&mut self, _r: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
}

fn build_with(drive: FloppyDrive) -> (Rig, DeviceId) {
    build_with_all([Some(drive), None, None, None])
}

fn build_with_all(drives: [Option<FloppyDrive>; 4]) -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let wires = FdcWires { irq: rig.bus.wire_to(Sink::Intr(0)), dreq: rig.bus.wire_to(Sink::DmaRequest(2)) };
    let id = rig.bus.add(Box::new(Fdc::new("fdc", wires, drives)));
    let dma = rig.bus.add(Box::new(OneChannel::default()));
    rig.bus.set_dma_controller(dma);
    rig.bus.set_dma_client(2, id);
    rig.bus.map_ports(id, 0x3F0, 6, REGION_MAIN, 1);
    rig.bus.map_ports(id, 0x3F7, 1, REGION_DIR, 1);
    rig.reset();
    (rig, id)
}

/// Sector `i` of the image is filled with the low byte of `i`, but begins with its high byte.
fn image(sectors: u32, protected: bool) -> Box<RamDisk> {
    let byte = |i: u32| if i.is_multiple_of(512) { (i >> 17) as u8 } else { (i >> 9) as u8 };
    Box::new(RamDisk::new((0..sectors * 512).map(byte).collect(), protected))
}

fn floppy(kind: DriveKind, sectors: u32, protected: bool) -> (Rig, DeviceId) {
    let (mut rig, id) = build_with(FloppyDrive::new("fd0", kind, Some(image(sectors, protected)), None));
    rig.out8(0x3F2, 0x0C);
    rig.advance_us(200);
    rig.out8(0x3F2, 0x1C);
    for i in 0..4 {
        assert_eq!(command(&mut rig, &[0x08]), [0xC0 | i, 0]);
    }
    command(&mut rig, &[0x03, 0xD0, 0x02]); // 3 ms steps, DMA
    (rig, id)
}

fn hd() -> (Rig, DeviceId) {
    let (mut rig, id) = floppy(DriveKind::K1440, 2880, false);
    rig.out8(0x3F7, 0);
    (rig, id)
}

fn small() -> (Rig, DeviceId) {
    let g = Geometry { cylinders: 2, heads: 1, sectors: 2 };
    build_with(FloppyDrive::new("fd0", DriveKind::K1440, Some(image(4, false)), Some(g)))
}

device_contract_tests!(small, || Surface { ports: vec![(0x3F0, 6), (0x3F7, 1)], memory: vec![] });

fn intr(rig: &mut Rig) -> bool {
    rig.bus.cpu_lines(0).intr
}

/// Writes a command; returns its result, if it has one by now.
fn command(rig: &mut Rig, bytes: &[u8]) -> Vec<u8> {
    for &b in bytes {
        assert_eq!(rig.in8(0x3F4) & 0xC0, 0x80, "ready for a command byte");
        rig.out8(0x3F5, b);
    }
    result(rig)
}

fn result(rig: &mut Rig) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rig.in8(0x3F4) & 0xF0 == 0xD0 {
        bytes.push(rig.in8(0x3F5));
    }
    bytes
}

fn program_dma(rig: &mut Rig, address: u64, bytes: u32, to_memory: bool) {
    let dma = rig.bus.find_mut::<OneChannel>().unwrap();
    (dma.address, dma.left, dma.to_memory) = (address, bytes, to_memory);
}

fn wait(rig: &mut Rig) -> Vec<u8> {
    assert!(!intr(rig));
    for _ in 0..1000 {
        rig.advance_us(1000);
        if intr(rig) {
            return result(rig);
        }
    }
    panic!("no interrupt");
}

fn seek(rig: &mut Rig, cylinder: u8) {
    assert!(command(rig, &[0x0F, 0, cylinder]).is_empty());
    wait(rig);
    assert_eq!(command(rig, &[0x08]), [0x20, cylinder]);
    assert!(!intr(rig));
}

#[test]
fn reset_interrupts_and_four_polls_tell_it() {
    let (mut rig, _) = build_with(FloppyDrive::new("fd0", DriveKind::K1440, None, None));
    assert_eq!(rig.in8(0x3F4), 0, "in reset");
    rig.out8(0x3F2, 0x0C);
    rig.advance_us(200);
    assert!(intr(&mut rig));
    assert_eq!(rig.in8(0x3F4), 0x80);
    assert_eq!(command(&mut rig, &[0x08]), [0xC0, 0]);
    assert!(!intr(&mut rig), "one interrupt for all four");
    command(&mut rig, &[0x03, 0xCF, 0x06]); // Linux 0.11 goes on here
    (1..4).for_each(|i| assert_eq!(command(&mut rig, &[0x08]), [0xC0 | i, 0]));
    assert_eq!(command(&mut rig, &[0x08]), [0x80]);
    assert_eq!(command(&mut rig, &[0x10]), [0x90]);
    assert_eq!(command(&mut rig, &[0x1F]), [0x80]);
    rig.out8(0x3F4, 0x80);
    assert_eq!(rig.in8(0x3F4), 0);
    rig.advance_us(200);
    assert!(intr(&mut rig), "the reset bit of DSR clears itself");
    rig.out8(0x3F2, 0x04);
    assert!(!intr(&mut rig), "the gate is closed");
}

/// What the driver of Linux 0.11 does: one SENSE INTERRUPT STATUS after a reset, then SPECIFY, a seek, and a read of two
/// sectors with MT, MFM and SK, whose seven result bytes it checks strictly.
#[test]
fn linux_0_11_needs_one_sense_after_reset() {
    let mut drives = [None, None, None, None];
    drives[1] = Some(FloppyDrive::new("fd1", DriveKind::K1440, Some(image(2880, false)), None));
    let (mut rig, _) = build_with_all(drives);
    rig.out8(0x3F2, 0x08);
    rig.out8(0x3F2, 0x2D);
    rig.advance_us(200);
    assert_eq!(command(&mut rig, &[0x08]).len(), 2);
    command(&mut rig, &[0x03, 0xCF, 0x06]);
    rig.out8(0x3F7, 0);
    command(&mut rig, &[0x0F, 1, 20]);
    wait(&mut rig);
    let status = command(&mut rig, &[0x08]);
    assert_eq!((status[0] & 0xF8, status[1]), (0x20, 20));
    program_dma(&mut rig, 0x1_0000, 1024, true);
    command(&mut rig, &[0xE6, 1, 20, 0, 3, 2, 18, 0x1B, 0xFF]);
    let status = wait(&mut rig);
    assert_eq!(status.len(), 7);
    assert_eq!((status[0] & 0xF8, status[1] & 0xBF, status[2] & 0x73), (0, 0, 0));
    assert_eq!((rig.mem.load::<u8>(0x1_0001), rig.mem.load::<u8>(0x1_0201)), (722u16 as u8, 723u16 as u8));
}

#[test]
fn a_verifying_dma_channel_counts_without_moving() {
    let (mut rig, _) = hd();
    program_dma(&mut rig, 0x1_0000, 1024, true);
    rig.bus.find_mut::<OneChannel>().unwrap().verify = true;
    command(&mut rig, &[0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(wait(&mut rig), [0, 0, 0, 0, 0, 3, 2], "two sectors");
    assert_eq!(rig.mem.load::<u8>(0x1_0201), 0, "memory is as it was");
}

#[test]
fn seeking_takes_its_steps() {
    let (mut rig, _) = hd();
    assert_eq!(rig.in8(0x3F7) & 0x80, 0x80, "changed since power-on");
    command(&mut rig, &[0x0F, 0x04, 10]);
    assert_eq!(rig.in8(0x3F4), 0x81, "drive 0 is busy, the controller is not");
    rig.advance_us(29_900);
    assert!(!intr(&mut rig));
    rig.advance_us(200);
    assert!(intr(&mut rig));
    assert_eq!(command(&mut rig, &[0x08]), [0x24, 10]);
    assert_eq!(rig.in8(0x3F7) & 0x80, 0, "stepping clears the change line");
    assert_eq!(command(&mut rig, &[0x04, 0]), [0x28]);
    command(&mut rig, &[0x07, 0]);
    wait(&mut rig);
    assert_eq!(command(&mut rig, &[0x08]), [0x20, 0]);
    assert_eq!(command(&mut rig, &[0x04, 0]), [0x38], "track 0");
    command(&mut rig, &[0x07, 1]);
    wait(&mut rig);
    assert_eq!(command(&mut rig, &[0x08]), [0x71, 0], "there is no drive 1");
}

#[test]
fn reading_crosses_to_the_other_head_until_terminal_count() {
    let (mut rig, _) = hd();
    seek(&mut rig, 3);
    program_dma(&mut rig, 0x1_0000, 2048, true);
    assert!(command(&mut rig, &[0xE6, 0, 3, 0, 17, 2, 18, 0x1B, 0xFF]).is_empty());
    assert_eq!(rig.in8(0x3F4), 0x10, "busy, by DMA");
    let t = rig.now;
    assert_eq!(wait(&mut rig), [0x04, 0, 0, 3, 1, 3, 2]);
    assert!((44..47).contains(&(rig.bus.rate().ns_at(Ticks(rig.now - t)) / 1_000_000)), "four sectors of 11 ms");
    for (i, lba) in (124u64..128).enumerate() {
        assert_eq!(rig.mem.load::<u8>(0x1_0001 + 512 * i as u64), lba as u8);
    }
    assert_eq!(rig.mem.load::<u8>(0x1_0800), 0);
    assert_eq!(rig.in8(0x3F4), 0x80);
}

#[test]
fn the_end_of_the_cylinder_without_terminal_count() {
    let (mut rig, _) = hd();
    program_dma(&mut rig, 0x1_0000, 4096, true);
    command(&mut rig, &[0x46, 0, 0, 0, 18, 2, 18, 0x1B, 0xFF]);
    assert_eq!(wait(&mut rig), [0x40, 0x80, 0, 1, 0, 1, 2]);
}

#[test]
fn writing_fills_up_a_short_sector() {
    let (mut rig, _) = hd();
    rig.mem.write(0x1_0000, &[0x77; 1024]);
    program_dma(&mut rig, 0x1_0000, 700, false);
    command(&mut rig, &[0x45, 4, 0, 1, 1, 2, 18, 0x1B, 0xFF]);
    assert_eq!(wait(&mut rig), [0x04, 0, 0, 0, 1, 3, 2]);
    let mut back = [0; 1536];
    rig.bus.find_mut::<Fdc>().unwrap().media(0).unwrap().0.read(18, &mut back).unwrap();
    assert!(back[..700].iter().all(|&b| b == 0x77) && back[700..1024].iter().all(|&b| b == 0));
    assert_eq!(back[1025], 20);
}

#[test]
fn errors_tell_what_is_wrong() {
    let (mut rig, _) = hd();
    let mut read = |rate: u8, bytes: [u8; 9]| {
        rig.out8(0x3F7, rate);
        program_dma(&mut rig, 0x1_0000, 512, true);
        command(&mut rig, &bytes);
        let r = wait(&mut rig);
        [r[0], r[1], r[2]]
    };
    assert_eq!(read(2, [0x46, 0, 0, 0, 1, 2, 18, 27, 255]), [0x40, 0x01, 0], "another data rate");
    assert_eq!(read(0, [0x06, 0, 0, 0, 1, 2, 18, 27, 255]), [0x40, 0x01, 0], "FM");
    assert_eq!(read(0, [0x46, 0, 5, 0, 1, 2, 18, 27, 255]), [0x40, 0x04, 0x10], "another cylinder");
    assert_eq!(read(0, [0x46, 0, 0, 0, 19, 2, 36, 27, 255]), [0x40, 0x04, 0], "no such sector");
    assert_eq!(read(0, [0x46, 0, 0, 0, 1, 3, 18, 27, 255]), [0x40, 0x04, 0], "another size");
    assert_eq!(read(0, [0x46, 0, 0, 1, 1, 2, 18, 27, 255]), [0x40, 0x04, 0], "another head's identifier");
    assert_eq!(read(0, [0x4C, 0, 0, 0, 1, 2, 18, 27, 255]), [0x00, 0x00, 0x40], "not deleted");
    assert_eq!(read(0, [0x46, 0, 0, 0, 1, 2, 18, 27, 255]), [0, 0, 0]);

    let (mut rig, _) = floppy(DriveKind::K1440, 2880, true);
    rig.out8(0x3F7, 0);
    assert_eq!(command(&mut rig, &[0x04, 0]), [0x78], "write-protected");
    command(&mut rig, &[0x45, 0, 0, 0, 1, 2, 18, 27, 255]);
    assert_eq!(wait(&mut rig)[..3], [0x40, 0x02, 0]);
}

#[test]
fn without_dma_cycles_the_data_overrun() {
    let (mut rig, _) = hd();
    for read_or_write in [0x46, 0x45] {
        program_dma(&mut rig, 0, 0, true);
        command(&mut rig, &[read_or_write, 0, 0, 0, 1, 2, 18, 27, 255]);
        assert_eq!(wait(&mut rig)[..3], [0x40, 0x10, 0]);
    }
}

#[test]
fn no_disk_no_end() {
    let (mut rig, _) = hd();
    rig.bus.input(&mut rig.mem, rig.now, &Input::Eject { drive: "fd0".into() });
    assert_eq!(rig.in8(0x3F7) & 0x80, 0x80);
    command(&mut rig, &[0x46, 0, 0, 0, 1, 2, 18, 27, 255]);
    rig.advance_us(5_000_000);
    assert_eq!((rig.in8(0x3F4), intr(&mut rig)), (0x10, false));
    rig.out8(0x3F2, 0x18);
    rig.out8(0x3F2, 0x1C);
    rig.advance_us(200);
    assert_eq!(command(&mut rig, &[0x08]), [0xC0, 0], "a reset gets it back");
    let disk = rig.bus.attach_image(image(1440, false));
    rig.bus.input(&mut rig.mem, rig.now, &Input::Insert { drive: "fd0".into(), image: disk });
    rig.out8(0x3F7, 2);
    program_dma(&mut rig, 0x1_0000, 512, true);
    command(&mut rig, &[0x46, 0, 0, 0, 9, 2, 9, 27, 255]);
    assert_eq!(wait(&mut rig), [0, 0, 0, 1, 0, 1, 2]);
    assert_eq!(rig.mem.load::<u8>(0x1_0001), 8);
}

#[test]
fn pio_reads_by_the_data_port() {
    let (mut rig, _) = hd();
    command(&mut rig, &[0x03, 0xD0, 0x03]);
    command(&mut rig, &[0x46, 0, 0, 0, 17, 2, 18, 27, 255]);
    for lba in 16..18 {
        assert_eq!(rig.in8(0x3F4), 0x30);
        rig.advance_us(12_000);
        for i in 0..512 {
            assert_eq!(rig.in8(0x3F4), 0xF0);
            assert!(intr(&mut rig), "byte {i}");
            assert_eq!(rig.in8(0x3F5), if i == 0 { 0 } else { lba });
            assert!(!intr(&mut rig), "the byte takes its interrupt");
            rig.advance_us(16);
        }
    }
    assert_eq!(wait(&mut rig)[..3], [0x40, 0x80, 0], "without TC it ends at the end of the cylinder");
}

#[test]
fn a_track_is_formatted() {
    let (mut rig, _) = hd();
    for r in 0..18u64 {
        rig.mem.write(0x1_0000 + 4 * r, &[0, 1, r as u8 + 1, 2]);
    }
    program_dma(&mut rig, 0x1_0000, 72, false);
    command(&mut rig, &[0x4D, 4, 2, 18, 0x54, 0xF6]);
    assert_eq!(wait(&mut rig)[..3], [0x04, 0, 0]);
    let mut back = vec![0; 37 * 512];
    rig.bus.find_mut::<Fdc>().unwrap().media(0).unwrap().0.read(0, &mut back).unwrap();
    assert!(back[18 * 512..36 * 512].iter().all(|&b| b == 0xF6));
    assert_eq!((back[17 * 512 + 1], back[36 * 512 + 1]), (17, 36));
}

#[test]
fn identifiers_pass_under_the_head() {
    let (mut rig, _) = hd();
    seek(&mut rig, 7);
    command(&mut rig, &[0x4A, 4]);
    let id = wait(&mut rig);
    assert_eq!((&id[..5], id[6]), (&[0x04, 0, 0, 7, 1][..], 2));
    assert!((1..=18).contains(&id[5]));
}

#[test]
fn forty_tracks_in_a_drive_of_eighty() {
    let (mut rig, _) = floppy(DriveKind::K1200, 720, false);
    rig.out8(0x3F7, 1);
    seek(&mut rig, 10);
    program_dma(&mut rig, 0x1_0000, 512, true);
    command(&mut rig, &[0x46, 0, 5, 0, 1, 2, 9, 27, 255]);
    assert_eq!(wait(&mut rig)[..3], [0, 0, 0]);
    assert_eq!(rig.mem.load::<u8>(0x1_0001), 90);
}

#[test]
fn an_image_that_is_cut_short_ends_in_zeros() {
    let (mut rig, _) = floppy(DriveKind::K1440, 20, false);
    rig.out8(0x3F7, 0);
    rig.mem.write(0x1_0000, &[0xAA; 2048]);
    program_dma(&mut rig, 0x1_0000, 2048, true);
    command(&mut rig, &[0xE6, 4, 0, 1, 1, 2, 18, 27, 255]);
    assert_eq!(wait(&mut rig)[..3], [0x04, 0, 0]);
    assert_eq!([1, 513, 1025, 2047].map(|at| rig.mem.load::<u8>(0x1_0000 + at)), [18, 19, 0, 0]);
}

#[test]
fn scans_compare_and_verify_only_looks() {
    let (mut rig, _) = hd();
    let mut scan = |byte: u8, code: u8| {
        rig.mem.write(0x1_0000, &[byte; 512]);
        rig.mem.write(0x1_0000, &[0xFF]); // a byte of ones equals anything
        program_dma(&mut rig, 0x1_0000, 512, false);
        command(&mut rig, &[code, 0, 0, 0, 6, 2, 18, 27, 1]);
        let r = wait(&mut rig);
        (r[0], r[2])
    };
    assert_eq!(scan(5, 0x51), (0, 0x08), "equal");
    assert_eq!(scan(6, 0x51), (0, 0x04), "not satisfied");
    assert_eq!(scan(6, 0x59), (0, 0x00), "the disk has less");
    assert_eq!(scan(4, 0x5D), (0, 0x00), "the disk has more");
    command(&mut rig, &[0xF6, 0x80, 0, 0, 17, 2, 18, 27, 4]);
    assert_eq!(wait(&mut rig), [0x04, 0, 0, 0, 1, 3, 2], "four sectors");
}

#[test]
fn locked_configuration_outlives_a_software_reset() {
    let (mut rig, _) = hd();
    command(&mut rig, &[0x13, 0, 0x57, 7]); // implied seek, FIFO on, no polling
    assert_eq!(command(&mut rig, &[0x94]), [0x10]);
    rig.out8(0x3F2, 0x18);
    rig.out8(0x3F2, 0x1C);
    rig.advance_us(200);
    (0..4).for_each(|_| _ = command(&mut rig, &[0x08]));
    assert_eq!(command(&mut rig, &[0x0E]), [0, 0, 0, 0, 0xD0, 0x02, 0, 0x80, 0x07, 7]);
    command(&mut rig, &[0x13, 0, 0x40, 0]);
    program_dma(&mut rig, 0x1_0000, 512, true);
    command(&mut rig, &[0x46, 0, 20, 0, 1, 2, 18, 27, 255]);
    assert_eq!(wait(&mut rig)[..4], [0, 0, 0, 20], "the seek was implied");
    assert_eq!(rig.mem.load::<u8>(0x1_0001), (20 * 36) as u8);
}
