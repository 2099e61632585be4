//! The channel as guests use it.

use emu_core::block::RamDisk;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::bus::{DeviceId, Sink};
use emu_core::device_contract_tests;
use emu_core::input::Input;

use super::*;

const SECTORS: u32 = 2000;

fn pattern(i: u32) -> u8 {
    (i / 512) as u8 ^ (i as u8).rotate_left(3)
}

fn build_with(second: Option<Drive>) -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let irq = rig.bus.wire_to(Sink::Intr(0));
    let image = RamDisk::new((0..SECTORS * 512).map(pattern).collect(), false);
    let geometry = Geometry { cylinders: 25, heads: 5, sectors: 16 };
    let disk = Drive::disk("EMU0001", Box::new(image), Some(geometry));
    let id = rig.bus.add(Box::new(AtaChannel::new("ide0", AtaWires { irq }, [Some(disk), second])));
    rig.bus.map_ports(id, 0x1F0, 8, REGION_COMMAND, 4);
    rig.bus.map_ports(id, 0x3F6, 1, REGION_CONTROL, 1);
    rig.reset();
    (rig, id)
}

fn build() -> (Rig, DeviceId) {
    let disc = RamDisk::new((0..2048 * 50u32).map(|i| (i / 2048) as u8).collect(), true);
    build_with(Some(Drive::cdrom("cd0", Some(Box::new(disc)))))
}

/// Little media, as the contract saves and loads them thousands of times.
fn build_small() -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let wires = AtaWires { irq: rig.bus.wire_to(Sink::Intr(0)) };
    let disk = Drive::disk("EMU0001", Box::new(RamDisk::zeroed(3)), None);
    let cd = Drive::cdrom("cd0", Some(Box::new(RamDisk::zeroed(4))));
    let id = rig.bus.add(Box::new(AtaChannel::new("ide0", wires, [Some(disk), Some(cd)])));
    rig.bus.map_ports(id, 0x1F0, 8, REGION_COMMAND, 4);
    rig.bus.map_ports(id, 0x3F6, 1, REGION_CONTROL, 1);
    rig.reset();
    (rig, id)
}

device_contract_tests!(build_small, || Surface { ports: vec![(0x1F0, 8), (0x3F6, 1)], memory: vec![] });

fn set(rig: &mut Rig, device: u8, count: u8, low: u8, mid: u8, high: u8) {
    for (port, value) in [(0x1F6, device), (0x1F2, count), (0x1F3, low), (0x1F4, mid), (0x1F5, high)] {
        rig.out8(port, value);
    }
}

fn intr(rig: &mut Rig) -> bool {
    rig.bus.cpu_lines(0).intr
}

/// Waits for the interrupt, and takes it by reading the status.
fn wait(rig: &mut Rig) -> u8 {
    assert!(!intr(rig), "no interrupt before its time");
    rig.advance_us(200);
    assert!(intr(rig), "an interrupt");
    let status = rig.in8(0x1F7);
    assert!(!intr(rig), "reading the status takes the interrupt");
    status
}

fn read_sector(rig: &mut Rig) -> Vec<u8> {
    (0..256).flat_map(|_| rig.in16(0x1F0).to_le_bytes()).collect()
}

fn expected(lba: u32) -> Vec<u8> {
    (lba * 512..(lba + 1) * 512).map(pattern).collect()
}

#[test]
fn identify_tells_size_and_translation() {
    let (mut rig, _) = build();
    set(&mut rig, 0xA0, 0, 0, 0, 0);
    rig.out8(0x1F7, 0xEC);
    assert_eq!(rig.in8(0x3F6), 0x80, "busy");
    assert_eq!(wait(&mut rig), 0x58);
    let words: Vec<u16> = (0..256).map(|_| rig.in16(0x1F0)).collect();
    assert_eq!((words[1], words[3], words[6]), (25, 5, 16));
    assert_eq!((words[54], words[55], words[56]), (25, 5, 16));
    assert_eq!(u32::from(words[60]) | u32::from(words[61]) << 16, SECTORS);
    assert_eq!(words[100], SECTORS as u16);
    assert_eq!((words[10], words[11], words[27]), (0x454D, 0x5530, 0x454D), "EMU0…, EM…");
    assert_eq!((words[63], words[49] & 0x100), (0, 0), "no DMA without a bus master");
    assert_eq!(rig.in8(0x1F7), 0x50);
    rig.advance_us(200);
    assert!(!intr(&mut rig), "no interrupt after the last block");
}

#[test]
fn sectors_are_read_in_all_ways_of_addressing() {
    let (mut rig, _) = build();
    set(&mut rig, 0xE0, 2, 0x23, 0x01, 0);
    rig.out8(0x1F7, 0x20);
    for lba in [0x123, 0x124] {
        assert_eq!(wait(&mut rig), 0x58);
        assert_eq!(read_sector(&mut rig), expected(lba));
    }
    assert_eq!((rig.in8(0x1F7), rig.in8(0x1F3), rig.in8(0x1F4), rig.in8(0x1F2)), (0x50, 0x24, 1, 0));

    set(&mut rig, 0xA0 | 2, 1, 3, 4, 0); // cylinder 4, head 2, sector 3
    rig.out8(0x1F7, 0x20);
    assert_eq!(wait(&mut rig), 0x58);
    assert_eq!(read_sector(&mut rig), expected((4 * 5 + 2) * 16 + 2));

    rig.out8(0x1F6, 0xE0);
    for (port, old, new) in [(0x1F2, 0, 1), (0x1F3, 0, 0x67), (0x1F4, 0, 0x04), (0x1F5, 0, 0)] {
        rig.out8(port, old);
        rig.out8(port, new);
    }
    rig.out8(0x1F7, 0x24);
    assert_eq!(wait(&mut rig), 0x58);
    let dwords: Vec<u8> = (0..128).flat_map(|_| rig.in32(0x1F0).to_le_bytes()).collect();
    assert_eq!(dwords, expected(0x467));
}

#[test]
fn sectors_are_written_one_by_one_and_in_blocks() {
    let (mut rig, _) = build();
    set(&mut rig, 0xE0, 2, 10, 0, 0);
    rig.out8(0x1F7, 0x30);
    assert!(!intr(&mut rig));
    assert_eq!(rig.in8(0x1F7), 0x58, "the first block is asked for without an interrupt");
    for n in [1u16, 2] {
        (0..256).for_each(|_| rig.out16(0x1F0, n));
        assert_eq!(wait(&mut rig), if n == 1 { 0x58 } else { 0x50 });
    }
    set(&mut rig, 0xE0, 8, 0, 0, 0);
    rig.out8(0x1F7, 0xC6);
    assert_eq!(wait(&mut rig), 0x50);
    set(&mut rig, 0xE0, 10, 20, 0, 0);
    rig.out8(0x1F7, 0xC5);
    assert_eq!(rig.in8(0x1F7), 0x58);
    (0..8 * 128).for_each(|_| rig.out32(0x1F0, 0x0505_0505));
    assert_eq!(wait(&mut rig), 0x58);
    (0..2 * 128).for_each(|_| rig.out32(0x1F0, 0x0606_0606));
    assert_eq!(wait(&mut rig), 0x50);

    let channel = rig.bus.find_mut::<AtaChannel>().unwrap();
    let (disk, _) = channel.media(0).unwrap();
    let mut back = vec![0; 30 * 512];
    disk.read(0, &mut back).unwrap();
    assert_eq!((back[10 * 512], back[11 * 512], back[12 * 512]), (1, 2, pattern(12 * 512)));
    assert_eq!((back[20 * 512], back[27 * 512 + 511], back[28 * 512], back[29 * 512 + 511]), (5, 5, 6, 6));
}

#[test]
fn errors_name_their_sector() {
    let (mut rig, _) = build();
    set(&mut rig, 0xE0, 2, (SECTORS - 1) as u8, (SECTORS >> 8) as u8, 0);
    rig.out8(0x1F7, 0x20);
    assert_eq!(wait(&mut rig), 0x58);
    read_sector(&mut rig);
    assert_eq!(wait(&mut rig), 0x51);
    assert_eq!((rig.in8(0x1F1), rig.in8(0x1F3), rig.in8(0x1F2)), (0x10, SECTORS as u8, 1));
    for bad in [0x00, 0xF9, 0xA1, 0xC8, 0xC4, 0xB0] {
        set(&mut rig, 0xE0, 1, 0, 0, 0);
        rig.out8(0x1F7, bad);
        assert_eq!(wait(&mut rig), 0x51, "command {bad:02X}");
        assert_eq!(rig.in8(0x1F1), 4);
    }
    set(&mut rig, 0xA0, 1, 17, 0, 0); // there are 16 sectors on a track
    rig.out8(0x1F7, 0x40);
    assert_eq!(wait(&mut rig), 0x51);
    set(&mut rig, 0xA0 | 3, 32, 0, 0, 0); // but now a translation of 4 heads and 32 sectors
    rig.out8(0x1F7, 0x91);
    wait(&mut rig);
    set(&mut rig, 0xA0 | 3, 1, 32, 0, 0);
    rig.out8(0x1F7, 0x20);
    assert_eq!(wait(&mut rig), 0x58);
    assert_eq!(read_sector(&mut rig), expected(127));
}

#[test]
fn resets_give_signatures() {
    let (mut rig, _) = build();
    rig.out8(0x3F6, 0x06);
    assert_eq!(rig.in8(0x1F7), 0x80);
    rig.out8(0x3F6, 0x02);
    assert_eq!(rig.in8(0x1F7), 0x80);
    rig.advance_us(2100);
    let regs = |rig: &mut Rig| [1, 2, 3, 4, 5, 7].map(|n| rig.in8(0x1F0 + n));
    assert_eq!(regs(&mut rig), [1, 1, 1, 0, 0, 0x50]);
    rig.out8(0x1F6, 0xB0);
    assert_eq!(regs(&mut rig), [1, 1, 1, 0x14, 0xEB, 0]);
    rig.out8(0x3F6, 0);
    rig.out8(0x1F7, 0xEC); // aborted by packet devices, with the signature
    assert_eq!(wait(&mut rig), 0x51);
    assert_eq!((rig.in8(0x1F4), rig.in8(0x1F5)), (0x14, 0xEB));
    rig.out8(0x1F7, 0x90);
    assert!(intr(&mut rig));
    assert_eq!(regs(&mut rig), [1, 1, 1, 0, 0, 0x50], "device 0 is selected after the diagnostic");
}

#[test]
fn device_zero_answers_for_an_absent_device_one() {
    let (mut rig, _) = build_with(None);
    rig.out8(0x1F6, 0xB0);
    assert_eq!((rig.in8(0x1F7), rig.in8(0x3F6)), (0, 0));
    rig.out8(0x1F2, 0x55);
    rig.out8(0x1F7, 0xEC);
    rig.advance_us(1000);
    assert!(!intr(&mut rig) && rig.in8(0x1F7) == 0);
    rig.out8(0x1F6, 0xA0);
    assert_eq!(rig.in8(0x1F7), 0x50);
}

/// Nothing to wait for: OVMF gives a drive that seems busy half a minute.
#[test]
fn a_channel_without_drives_is_not_busy() {
    let mut rig = Rig::new();
    let irq = rig.bus.wire_to(Sink::Intr(0));
    let id = rig.bus.add(Box::new(AtaChannel::new("ide0", AtaWires { irq }, [None, None])));
    rig.bus.map_ports(id, 0x1F0, 8, REGION_COMMAND, 4);
    rig.bus.map_ports(id, 0x3F6, 1, REGION_CONTROL, 1);
    rig.reset();
    for device in [0xA0, 0xB0] {
        rig.out8(0x1F6, device);
        rig.out8(0x1F7, 0xEC);
        assert_eq!((rig.in8(0x1F7), rig.in8(0x3F6), rig.in8(0x1F4), rig.in16(0x1F0)), (0x7F, 0x7F, 0x7F, 0xFF7F));
        assert!(!intr(&mut rig));
    }
}

#[test]
fn nien_holds_the_interrupt_back() {
    let (mut rig, _) = build();
    rig.out8(0x3F6, 2);
    set(&mut rig, 0xE0, 1, 0, 0, 0);
    rig.out8(0x1F7, 0x20);
    rig.advance_us(200);
    assert!(!intr(&mut rig));
    rig.out8(0x3F6, 0);
    assert!(intr(&mut rig), "it was pending");
    rig.in8(0x3F6);
    assert!(intr(&mut rig), "the alternate status does not take it");
}

/// Sends a packet; returns status and interrupt reason after it.
fn packet(rig: &mut Rig, limit: u16, bytes: &[u8]) -> (u8, u8) {
    set(rig, 0xB0, 0, 0, limit as u8, (limit >> 8) as u8);
    rig.out8(0x1F1, 0);
    rig.out8(0x1F7, 0xA0);
    assert_eq!((rig.in8(0x1F7), rig.in8(0x1F2)), (0x58, 1));
    let mut all = [0; 12];
    all[..bytes.len()].copy_from_slice(bytes);
    all.chunks(2).for_each(|w| rig.out16(0x1F0, u16::from_le_bytes([w[0], w[1]])));
    let status = wait(rig);
    (status, rig.in8(0x1F2))
}

fn sense(rig: &mut Rig) -> (u8, u8) {
    assert_eq!(packet(rig, 18, &[3, 0, 0, 0, 18]), (0x58, 2));
    let bytes: Vec<u8> = (0..9).flat_map(|_| rig.in16(0x1F0).to_le_bytes()).collect();
    assert_eq!(wait(rig), 0x50);
    (bytes[2], bytes[12])
}

#[test]
fn a_disc_is_read_in_pieces() {
    let (mut rig, _) = build();
    assert_eq!(packet(&mut rig, 0, &[0]), (0x51, 3));
    assert_eq!(rig.in8(0x1F1), 0x64, "unit attention");
    assert_eq!(sense(&mut rig), (6, 0x29));
    assert_eq!(packet(&mut rig, 0, &[0]), (0x50, 3));

    assert_eq!(packet(&mut rig, 3000, &[0x28, 0, 0, 0, 0, 7, 0, 0, 2]), (0x58, 2));
    let mut all = Vec::new();
    loop {
        let n = u16::from_le_bytes([rig.in8(0x1F4), rig.in8(0x1F5)]);
        assert!(n <= 3000 && n.is_multiple_of(2));
        all.extend((0..n / 2).flat_map(|_| rig.in16(0x1F0).to_le_bytes()));
        if wait(&mut rig) == 0x50 {
            break;
        }
    }
    assert_eq!(all.len(), 4096);
    assert_eq!((all[0], all[2047], all[2048], all[4095]), (7, 7, 8, 8));
    assert_eq!(rig.in8(0x1F2), 3);

    assert_eq!(packet(&mut rig, 0, &[0x25]), (0x58, 2));
    let capacity: Vec<u8> = (0..4).flat_map(|_| rig.in16(0x1F0).to_le_bytes()).collect();
    assert_eq!(capacity, [0, 0, 0, 49, 0, 0, 8, 0]);
    wait(&mut rig);
    assert_eq!(packet(&mut rig, 0, &[0x28, 0, 0, 0, 0, 49, 0, 0, 2]), (0x51, 3));
    assert_eq!(sense(&mut rig), (5, 0x21));
    assert_eq!(sense(&mut rig), (0, 0), "sense is reported once");
}

#[test]
fn the_table_of_contents_has_one_track() {
    let (mut rig, _) = build();
    packet(&mut rig, 0, &[0]);
    assert_eq!(packet(&mut rig, 0, &[0x43, 2, 0, 0, 0, 0, 0, 0, 100]), (0x58, 2));
    let toc: Vec<u8> = (0..10).flat_map(|_| rig.in16(0x1F0).to_le_bytes()).collect();
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xAA, 0, 0, 0, 2, 50]);
    wait(&mut rig);
}

#[test]
fn discs_come_and_go() {
    let (mut rig, _) = build();
    packet(&mut rig, 0, &[0]);
    let image = rig.bus.attach_image(Box::new(RamDisk::new(vec![9; 4096], true)));
    assert_eq!(packet(&mut rig, 0, &[0x1E, 0, 0, 0, 1]), (0x50, 3));
    assert_eq!(packet(&mut rig, 0, &[0x1B, 0, 0, 0, 2]), (0x51, 3));
    assert_eq!(sense(&mut rig), (5, 0x53), "removal is prevented");
    packet(&mut rig, 0, &[0x1E]);
    assert_eq!(packet(&mut rig, 0, &[0x1B, 0, 0, 0, 2]), (0x50, 3));
    assert_eq!(packet(&mut rig, 0, &[0]), (0x51, 3));
    assert_eq!(sense(&mut rig), (2, 0x3A));
    assert!(rig.bus.input(&mut rig.mem, rig.now, &Input::Insert { drive: "cd0".into(), image }));
    assert_eq!(packet(&mut rig, 8, &[0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8]), (0x58, 2));
    let event: Vec<u8> = (0..4).flat_map(|_| rig.in16(0x1F0).to_le_bytes()).collect();
    assert_eq!(event, [0, 6, 4, 0x10, 2, 2, 0, 0]);
    wait(&mut rig);
    assert_eq!(packet(&mut rig, 0, &[0]), (0x51, 3));
    assert_eq!(sense(&mut rig), (6, 0x28));
    assert_eq!(packet(&mut rig, 0, &[0]), (0x50, 3));
}

#[test]
fn a_loaded_state_brings_its_disc_back() {
    let (mut rig, id) = build();
    let before = rig.saved(id);
    let image = rig.bus.attach_image(Box::new(RamDisk::new(vec![9; 4096], true)));
    rig.bus.input(&mut rig.mem, rig.now, &Input::Insert { drive: "cd0".into(), image });
    let after = rig.saved(id);
    for (state, sectors) in [(&before, 200), (&after, 8), (&before, 200)] {
        rig.bus.device(id).load_chunk(&mut StateReader::new(state)).unwrap();
        rig.bus.restored(&mut rig.mem, rig.now);
        assert_eq!(&rig.saved(id), state);
        let channel = rig.bus.find_mut::<AtaChannel>().unwrap();
        assert_eq!(channel.media(1).unwrap().0.sectors(), sectors);
    }
}

/// Two drives that have swapped their discs, and a disc on the table, come back to how they were.
#[test]
fn swapped_discs_find_back() {
    let mut rig = Rig::new();
    let drives = [Some(Drive::cdrom("cd0", None)), Some(Drive::cdrom("cd1", None))];
    rig.bus.add(Box::new(AtaChannel::new("ide0", AtaWires::default(), drives)));
    rig.reset();
    let images = [4, 8, 12].map(|sectors| rig.bus.attach_image(Box::new(RamDisk::zeroed(sectors))));
    let insert = |rig: &mut Rig, drive: &str, i: usize| {
        rig.bus.input(&mut rig.mem, rig.now, &Input::Eject { drive: drive.into() });
        rig.bus.input(&mut rig.mem, rig.now, &Input::Insert { drive: drive.into(), image: images[i] });
    };
    let whole = |rig: &Rig| {
        let mut w = StateWriter::new();
        rig.bus.save(&mut w);
        rig.bus.save_volumes(&mut w);
        w.into_bytes()
    };
    let load = |rig: &mut Rig, bytes: &[u8]| {
        let mut r = StateReader::new(bytes);
        rig.bus.load(&mut r).unwrap();
        rig.bus.restored(&mut rig.mem, rig.now);
        rig.bus.load_volumes(&mut r).unwrap();
    };
    insert(&mut rig, "cd0", 0);
    insert(&mut rig, "cd1", 1);
    let first = whole(&rig);
    let channel = rig.bus.find_mut::<AtaChannel>().unwrap();
    channel.media(0).unwrap().0.write(0, &[1; 512]).unwrap();
    insert(&mut rig, "cd0", 2);
    insert(&mut rig, "cd1", 0);
    insert(&mut rig, "cd0", 1);
    let second = whole(&rig);
    load(&mut rig, &first);
    assert!(whole(&rig) == first);
    load(&mut rig, &second);
    assert!(whole(&rig) == second);
    let channel = rig.bus.find_mut::<AtaChannel>().unwrap();
    let mut back = [0; 512];
    channel.media(1).unwrap().0.read(0, &mut back).unwrap();
    assert_eq!(back, [1; 512], "what was written comes with the disc");
}
