//! The unit as drivers and functions meet it: tables, faults, the queue, interrupts.

use emu_core::Sink;
use emu_core::block::RamDisk;
use emu_core::bus::rig::{Rig, Surface, TestRng};
use emu_core::bus::{DeviceId, InterruptMessage, PciAddress, Wire};
use emu_core::{StateReader, device_contract_tests};

use super::faults::RECORDS;
use super::*;
use crate::apic::{Apic, ApicConfig, IO_BASE, LOCAL_BASE};
use crate::ata::Drive;
use crate::edu::Edu;
use crate::piix3::ide::{IdeWires, Piix3Ide};

/// The function that accesses memory.
const FUNCTION: PciAddress = PciAddress { bus: 0, device: 3, function: 0 };
const SID: u64 = 0x18;

/// Places of the tables, one page each.
const ROOT: u64 = 0x1_0000;
const CONTEXTS: u64 = 0x1_1000;
/// Page tables from the top level down.
const TABLES: [u64; 4] = [0x1_2000, 0x1_3000, 0x1_4000, 0x1_5000];
const QUEUE_AT: u64 = 0x1_6000;
const IRTES: u64 = 0x1_7000;

fn build() -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    Apic::install(&mut rig.bus, &mut rig.mem, 1, ApicConfig { remappable: true, ..ApicConfig::default() });
    let dma_controller = PciAddress { bus: 0, device: 1, function: 0 };
    let id = Vtd::install(&mut rig.bus, &mut rig.mem, dma_controller);
    rig.bus.add(Box::new(Edu::new(FUNCTION.device, Wire::NONE)));
    rig.reset();
    rig.write(LOCAL_BASE + 0xF0, 4, 0x1FF);
    (rig, id)
}

device_contract_tests!(build, || Surface { ports: vec![], memory: vec![(BASE, 0x300)] });

fn read(rig: &mut Rig, register: u64) -> u64 {
    rig.read(BASE + register, 4)
}

fn write(rig: &mut Rig, register: u64, value: u64) {
    rig.write(BASE + register, 8, value);
}

fn command(rig: &mut Rig, value: u32) {
    rig.write(BASE + at::GCMD, 4, value.into());
}

fn edu(rig: &Rig) -> DeviceId {
    rig.bus.devices().find(|(_, name)| *name == "edu").unwrap().0
}

/// The function writes a byte: whether it may.
fn dma_write(rig: &mut Rig, address: u64, byte: u8) -> bool {
    let id = edu(rig);
    rig.bus.call(&mut rig.mem, rig.now, id, |_, cx| cx.dma_write(FUNCTION, address, &[byte]))
}

fn dma_read(rig: &mut Rig, address: u64) -> Option<u8> {
    let (id, mut byte) = (edu(rig), [0]);
    let done = rig.bus.call(&mut rig.mem, rig.now, id, |_, cx| cx.dma_read(FUNCTION, address, &mut byte));
    done.then_some(byte[0])
}

/// The function sends an interrupt message; the vector that comes of it.
fn send(rig: &mut Rig, address: u32, data: u32) -> Option<u8> {
    let id = edu(rig);
    rig.bus.call(&mut rig.mem, rig.now, id, |_, cx| {
        cx.interrupt_message(FUNCTION, InterruptMessage { address, data });
    });
    vector(rig)
}

/// The vector that waits, served.
fn vector(rig: &mut Rig) -> Option<u8> {
    let waits = rig.bus.cpu_lines(0).intr;
    let vector = waits.then(|| rig.bus.acknowledge(&mut rig.mem, rig.now, 0)).flatten();
    rig.write(LOCAL_BASE + 0xB0, 4, 0);
    vector
}

/// Tables of 4 levels that map page 5000h to `leaf`, and translation on.
fn translating(leaf: u64) -> Rig {
    let (mut rig, _) = build();
    rig.mem.store(ROOT, CONTEXTS | 1);
    rig.mem.store(CONTEXTS + 16 * SID, TABLES[0] | 1);
    rig.mem.store(CONTEXTS + 16 * SID + 8, 0x0001_0702u64);
    for pair in TABLES.windows(2) {
        rig.mem.store(pair[0], pair[1] | 3);
    }
    rig.mem.store(TABLES[3] + 8 * 5, leaf);
    write(&mut rig, at::RTADDR, ROOT);
    command(&mut rig, ROOT_TABLE);
    command(&mut rig, TRANSLATION);
    assert_eq!(read(&mut rig, at::GSTS) as u32, ROOT_TABLE | TRANSLATION);
    rig
}

/// The records that are in use, as (reason, source, page, is a read), and frees them.
fn faults(rig: &mut Rig) -> Vec<(u64, u64, u64, bool)> {
    let mut list = Vec::new();
    for record in (at::FRCD..at::FRCD_END).step_by(16) {
        let (low, high) = (rig.read(BASE + record, 8), rig.read(BASE + record + 8, 8));
        if high >> 63 != 0 {
            list.push((high >> 32 & 0xFF, high & 0xFFFF, low, high >> 62 & 1 != 0));
            rig.write(BASE + record + 12, 4, 1 << 31);
        }
    }
    list
}

#[test]
fn pages_are_mapped_with_their_rights() {
    let mut rig = translating(0x2_0000 | 3);
    assert!(dma_write(&mut rig, 0x5123, 0xA5));
    assert_eq!((rig.mem.load::<u8>(0x2_0123), dma_read(&mut rig, 0x5123)), (0xA5, Some(0xA5)));
    rig.mem.store(TABLES[3] + 8 * 5, 0x2_0000u64 | 1);
    assert!(!dma_write(&mut rig, 0x5123, 0));
    assert_eq!((rig.mem.load::<u8>(0x2_0123), dma_read(&mut rig, 0x5123)), (0xA5, Some(0xA5)), "read only");
    rig.mem.store(TABLES[3] + 8 * 5, 0x2_0000u64 | 2);
    assert!(dma_write(&mut rig, 0x5123, 1) && dma_read(&mut rig, 0x5123).is_none(), "write only");
    assert_eq!(faults(&mut rig), [(5, SID, 0x5000, false), (6, SID, 0x5000, true)]);
    command(&mut rig, 0);
    assert_eq!(dma_read(&mut rig, 0x2_0123), Some(1), "switched off");
}

#[test]
fn large_pages_fewer_levels_and_pass_through() {
    let mut rig = translating(0);
    rig.mem.store(TABLES[2], 0x83u64); // 2 MiB from 0 on
    assert!(dma_write(&mut rig, 0x2_1234, 7));
    assert_eq!(rig.mem.load::<u8>(0x2_1234), 7);
    rig.mem.store(TABLES[1], 0x83u64); // 1 GiB
    assert_eq!(dma_read(&mut rig, 0x2_1234), Some(7));
    // The second table as the first of three levels.
    rig.mem.store(CONTEXTS + 16 * SID, TABLES[1] | 1);
    rig.mem.store(CONTEXTS + 16 * SID + 8, 1u64);
    assert_eq!(dma_read(&mut rig, 0x2_1234), Some(7));
    assert!(dma_read(&mut rig, 1 << 39).is_none(), "39 bits");
    rig.mem.store(CONTEXTS + 16 * SID, 1u64 | 2 << 2);
    rig.mem.store(CONTEXTS + 16 * SID + 8, 2u64);
    assert_eq!(dma_read(&mut rig, 0x2_1234), Some(7), "passed through");
    assert_eq!(faults(&mut rig), [(4, SID, 1 << 39, true)]);
}

/// Each way in which the tables can be wrong: what is stored where, and the reason of the fault.
#[test]
fn wrong_tables_fault_with_their_reason() {
    let context = CONTEXTS + 16 * SID;
    let leaf = TABLES[3] + 8 * 5;
    let cases: [(u64, u64, u64); 19] = [
        (ROOT, 0, 0x01),
        (ROOT, CONTEXTS | 3, 0x0A),
        (ROOT + 8, 1, 0x0A),
        (ROOT, 0xFFFF_0000_0000 | 1, 0x09),
        (context, TABLES[0], 0x02),
        (context, TABLES[0] | 0x11, 0x0B),
        (context + 8, 0x0001_0782, 0x0B),
        (context + 8, 1 << 24 | 2, 0x0B),
        (context + 8, 0, 0x03),
        (context + 8, 3, 0x03),
        (context, TABLES[0] | 1 | 1 << 2, 0x03),
        (context, TABLES[0] | 1 | 3 << 2, 0x03),
        (context, 0xF_0000_0000 | 1, 0x07),
        (TABLES[0], TABLES[1] | 0x83, 0x0C),
        (TABLES[1], 0x1000 | 0x83, 0x0C),
        (TABLES[2], 0xF_0000_0000 | 3, 0x07),
        (TABLES[2], 0, 0x06),
        (leaf, 0x2_0000 | 1 << 11 | 3, 0x0C),
        (leaf, 0xFEE0_0000 | 3, 0x0E),
    ];
    for (at, value, reason) in cases {
        let mut rig = translating(0x2_0000 | 3);
        rig.mem.store(at, value);
        assert_eq!(dma_read(&mut rig, 0x5000), None, "{value:x} at {at:x}");
        assert_eq!(faults(&mut rig), [(reason, SID, 0x5000, true)], "{value:x} at {at:x}");
    }
    let mut rig = translating(0x2_0000 | 3);
    write(&mut rig, at::RTADDR, 0xFFFF_FFFF_F000);
    assert!(dma_read(&mut rig, 0x5000).is_some(), "not taken over yet");
    command(&mut rig, TRANSLATION | ROOT_TABLE);
    assert!(dma_read(&mut rig, 0x5000).is_none());
    assert_eq!(faults(&mut rig), [(8, SID, 0x5000, true)]);
}

#[test]
fn a_context_keeps_its_faults_quiet() {
    let mut rig = translating(0);
    rig.mem.store(CONTEXTS + 16 * SID, TABLES[0] | 3);
    assert!(!dma_write(&mut rig, 0x5000, 0));
    assert_eq!((faults(&mut rig), read(&mut rig, at::FSTS)), (vec![], 0));
    rig.mem.store(ROOT, 0u64);
    assert!(!dma_write(&mut rig, 0x5000, 0));
    assert_eq!(faults(&mut rig).len(), 1, "the root table is nobody's");
}

#[test]
fn faults_interrupt_once_and_overflow() {
    let mut rig = translating(0);
    write(&mut rig, at::FECTL + 4, 0xFEE0_0000_0000_0055); // data, address
    dma_read(&mut rig, 0x5000);
    assert_eq!((vector(&mut rig), read(&mut rig, at::FECTL)), (None, 3 << 30), "masked: it waits");
    rig.write(BASE + at::FECTL, 4, 0);
    assert_eq!((vector(&mut rig), read(&mut rig, at::FECTL)), (Some(0x55), 0));
    for page in 1..RECORDS as u64 + 3 {
        dma_read(&mut rig, 0x5000 + 0x1000 * page);
    }
    assert_eq!(vector(&mut rig), None, "software knows already");
    assert_eq!(read(&mut rig, at::FSTS), 3, "records from 0 on, and an overflow");
    let first = faults(&mut rig);
    assert_eq!((first.len(), first[7].2, read(&mut rig, at::FSTS)), (RECORDS, 0xC000, 1));
    dma_read(&mut rig, 0x5000);
    assert_eq!(faults(&mut rig), [], "nothing is recorded before the overflow is cleared");
    rig.write(BASE + at::FSTS, 4, 1);
    for _ in 0..3 {
        dma_read(&mut rig, 0x5000);
        assert_eq!(vector(&mut rig), Some(0x55));
        assert_eq!(faults(&mut rig).len(), 1);
    }
    dma_read(&mut rig, 0x5000);
    assert_eq!(read(&mut rig, at::FSTS), 2 | 3 << 8, "the fourth since then");
}

/// Fills the queue from the start, and moves its tail.
fn queue(rig: &mut Rig, descriptors: &[(u64, u64)]) {
    command(rig, 0);
    for (i, &(low, high)) in descriptors.iter().enumerate() {
        rig.mem.store(QUEUE_AT + 16 * i as u64, low);
        rig.mem.store(QUEUE_AT + 16 * i as u64 + 8, high);
    }
    write(rig, at::IQA, QUEUE_AT);
    write(rig, at::IQH + 8, 0);
    command(rig, QUEUE);
    write(rig, at::IQH + 8, 16 * descriptors.len() as u64);
}

#[test]
fn the_queue_is_done_at_once() {
    let (mut rig, _) = build();
    write(&mut rig, at::IECTL + 4, 0xFEE0_0000_0000_0066);
    rig.write(BASE + at::IECTL, 4, 0);
    let all = [
        (0x11, 0),
        (0x21 | 7 << 16, 0),
        (0x31 | 3 << 48, 0),
        (0x12, 0),
        (0xE2 | 7 << 16, 0),
        (0x32, 0x5_0000 | 0x40 | 18),
        (0x04, 0),
        (0x14 | 15 << 27 | 9 << 32, 0),
        (0x75 | 0xABCD << 32, 0x2_0000),
    ];
    queue(&mut rig, &all);
    assert_eq!(read(&mut rig, at::IQH), 16 * all.len() as u64);
    assert_eq!((rig.mem.load::<u32>(0x2_0000), vector(&mut rig)), (0xABCD, Some(0x66)));
    assert_eq!((read(&mut rig, at::ICS), read(&mut rig, at::FSTS)), (1, 0));
    rig.write(BASE + at::ICS, 4, 1);
    assert_eq!(read(&mut rig, at::ICS), 0);
    command(&mut rig, 0);
    assert_eq!(read(&mut rig, at::IQH), 0);
}

#[test]
fn the_queue_stands_before_what_it_can_not_do() {
    let wrong = [
        (0x01, 0),
        (0x1041, 0),
        (0x11, 1),
        (0x02, 0),
        (0x32, 19),
        (0x12, 0x80),
        (0x03, 0),
        (0x14 | 16 << 27, 0),
        (0x25, 2),
        (0x205, 0),
        (0x06, 0),
        (0x00, 0),
    ];
    for (low, high) in wrong {
        let (mut rig, _) = build();
        queue(&mut rig, &[(0x11, 0), (low, high), (0x11, 0)]);
        assert_eq!((read(&mut rig, at::IQH), read(&mut rig, at::FSTS)), (16, 16), "{low:x} {high:x}");
        // As drivers get over it: another descriptor in its place, then the error is cleared.
        rig.mem.store(QUEUE_AT + 16, 0x25u64 | 1 << 32);
        rig.mem.store(QUEUE_AT + 24, 0x2_0000u64);
        rig.write(BASE + at::FSTS, 4, 16);
        assert_eq!((read(&mut rig, at::IQH), read(&mut rig, at::FSTS)), (48, 0));
        assert_eq!(rig.mem.load::<u32>(0x2_0000), 1);
    }
    let (mut rig, _) = build();
    queue(&mut rig, &[]);
    write(&mut rig, at::IQH + 8, 0x1000);
    assert_eq!(read(&mut rig, at::FSTS), 16, "the tail lies behind the queue's end");
    write(&mut rig, at::IQH + 8, 0x10);
    write(&mut rig, at::IQA, 0xFFFF_FFFF_F007);
    rig.write(BASE + at::FSTS, 4, 16);
    assert_eq!(read(&mut rig, at::FSTS), 16, "no memory there");
}

#[test]
fn register_based_invalidations_end_at_once() {
    let (mut rig, _) = build();
    write(&mut rig, at::CCMD, 1 << 63 | 2 << 61);
    assert_eq!(rig.read(BASE + at::CCMD, 8), 2 << 61 | 2 << 59);
    write(&mut rig, at::IOTLB, 1 << 63 | 1 << 60);
    assert_eq!(rig.read(BASE + at::IOTLB, 8), 1 << 60 | 1 << 57);
    write(&mut rig, at::IVA, 19);
    write(&mut rig, at::IOTLB, 1 << 63 | 3 << 60);
    assert_eq!(rig.read(BASE + at::IOTLB, 8), 3 << 60, "too many pages: nothing was done");
}

/// Interrupt remapping on, with 256 entries; entry 5 is `low` and `high`.
fn remapping(low: u64, high: u64) -> Rig {
    let (mut rig, _) = build();
    rig.mem.store(IRTES + 16 * 5, low);
    rig.mem.store(IRTES + 16 * 5 + 8, high);
    write(&mut rig, at::IRTA, IRTES | 7);
    command(&mut rig, INTERRUPT_TABLE);
    command(&mut rig, INTERRUPTS);
    rig
}

const INDEX_5: u32 = 0xFEE0_0010 | 5 << 5;

#[test]
fn messages_go_where_their_entry_says() {
    let mut rig = remapping(0x44 << 16 | 1, 1 << 18 | SID);
    assert_eq!(send(&mut rig, INDEX_5, 0), Some(0x44));
    assert_eq!(send(&mut rig, 0xFEE0_0018 | 3 << 5, 2), Some(0x44), "3, and 2 from the data");
    assert_eq!(send(&mut rig, 0xFEE0_0000, 0x33), None, "the old format is blocked");
    command(&mut rig, INTERRUPTS | COMPATIBILITY);
    assert_eq!(send(&mut rig, 0xFEE0_0000, 0x33), Some(0x33), "unless it is let through");
    command(&mut rig, 0);
    assert_eq!(send(&mut rig, 0xFEE0_0000, 0x33), Some(0x33));
    assert_eq!(faults(&mut rig), [(0x25, SID, 0, false)]);
}

#[test]
fn wrong_interrupts_fault_with_their_reason() {
    let good = 0x44 << 16 | 1;
    let index = 5 << 48;
    let cases: [(u64, u64, u32, u32, u64, u64); 12] = [
        (good, 0, INDEX_5, 1 << 16, 0x20, index),
        (good, 0, INDEX_5, 1, 0x20, index),
        (good, 0, 0xFEE0_0010 | 0x100 << 5, 0, 0x21, 0x100 << 48),
        (0, 0, INDEX_5, 0, 0x22, index),
        (good | 1 << 12, 0, INDEX_5, 0, 0x24, index),
        (good | 1 << 15, 0, INDEX_5, 0, 0x24, index),
        (good | 3 << 5, 0, INDEX_5, 0, 0x24, index),
        (good | 1 << 32, 0, INDEX_5, 0, 0x24, index),
        (good, 3 << 18, INDEX_5, 0, 0x24, index),
        (good, 1 << 20, INDEX_5, 0, 0x24, index),
        (good, 1 << 18 | 0x19, INDEX_5, 0, 0x26, index),
        (good, 2 << 18 | 0x0103, INDEX_5, 0, 0x26, index),
    ];
    for (low, high, address, data, reason, info) in cases {
        let mut rig = remapping(low, high);
        assert_eq!(send(&mut rig, address, data), None, "{low:x} {high:x} {address:x} {data:x}");
        assert_eq!(faults(&mut rig), [(reason, SID, info, false)], "{low:x} {high:x} {address:x} {data:x}");
    }
    let mut rig = remapping(2, 0);
    assert_eq!((send(&mut rig, INDEX_5, 0), faults(&mut rig)), (None, vec![]), "absent, and quiet");
    write(&mut rig, at::IRTA, 0xFFFF_FFFF_F000 | 7);
    command(&mut rig, INTERRUPTS | INTERRUPT_TABLE);
    assert_eq!(send(&mut rig, INDEX_5, 0), None);
    assert_eq!(faults(&mut rig), [(0x23, SID, index, false)]);
}

#[test]
fn sources_are_checked_as_far_as_the_entry_says() {
    for (qualifier, named, good) in
        [(0, 0x18, true), (1, 0x1C, true), (2, 0x1E, true), (3, 0x1F, true), (1, 0x1A, false)]
    {
        let mut rig = remapping(0x44 << 16 | 1, 1 << 18 | qualifier << 16 | named);
        assert_eq!(send(&mut rig, INDEX_5, 0).is_some(), good, "{qualifier} {named:x}");
    }
    let mut rig = remapping(0x44 << 16 | 1, 2 << 18 | 0x0003);
    assert_eq!(send(&mut rig, INDEX_5, 0), Some(0x44), "buses 0 to 3");
}

#[test]
fn the_io_apic_asks_too() {
    let mut rig = remapping(0x44 << 16 | 1 << 4 | 1, 0);
    let apic = rig.bus.devices().find(|(_, name)| *name == "apic").unwrap().0;
    let wire = rig.bus.wire_to(Sink::Pin(apic, 16));
    let drive = |rig: &mut Rig, level| rig.bus.call(&mut rig.mem, rig.now, apic, |_, cx| cx.set_wire(wire, level));
    let entry = |rig: &mut Rig, value: u64| {
        for (i, half) in [(0x31, value >> 32), (0x30, value & 0xFFFF_FFFF)] {
            rig.write(IO_BASE, 4, i);
            rig.write(IO_BASE + 0x10, 4, half);
        }
    };
    entry(&mut rig, 5 << 49 | 1 << 48 | 1 << 15 | 0x44);
    drive(&mut rig, true);
    assert_eq!(vector(&mut rig), Some(0x44), "level: its end brings it again");
    drive(&mut rig, false);
    assert_eq!((vector(&mut rig), vector(&mut rig)), (Some(0x44), None));
    entry(&mut rig, 0x55);
    drive(&mut rig, true);
    assert_eq!(vector(&mut rig), None, "the old format");
    assert_eq!(faults(&mut rig), [(0x25, 0, 0, false)]);
}

#[test]
fn edu_moves_bytes_through_it() {
    let mut rig = translating(0x2_0000 | 3);
    const BAR: u64 = 0xE000_0000;
    rig.bus.pci_write(&mut rig.mem, rig.now, FUNCTION, 0x10, 4, BAR as u32);
    rig.bus.pci_write(&mut rig.mem, rig.now, FUNCTION, 0x04, 2, 6);
    rig.mem.write(0x2_0FFE, b"ab");
    let transfer = |rig: &mut Rig, source: u64, destination: u64, count: u64, command: u64| {
        for (i, value) in [source, destination, count].into_iter().enumerate() {
            rig.write(BAR + 0x80 + 8 * i as u64, 8, value);
        }
        rig.write(BAR + 0x98, 4, command);
        assert_eq!(rig.read(BAR + 0x98, 4) & 1, 1);
        rig.advance_us(200);
        assert_eq!(rig.read(BAR + 0x98, 4) & 1, 0);
    };
    transfer(&mut rig, 0x5FFE, 0x4_0000, 2, 1);
    transfer(&mut rig, 0x4_0000, 0x5000, 2, 3);
    assert_eq!(rig.mem.load::<u16>(0x2_0000), u16::from_le_bytes(*b"ab"));
    // Across the end of what is mapped: the page before is written, as its access came first.
    transfer(&mut rig, 0x4_0000, 0x5FFF, 2, 3);
    assert_eq!(rig.mem.load::<u8>(0x2_0FFF), b'a');
    transfer(&mut rig, 0x7000, 0x4_0000, 2, 1);
    transfer(&mut rig, 0x4_0000, 0x5100, 2, 3);
    assert_eq!(rig.mem.load::<u16>(0x2_0100), u16::from_le_bytes(*b"ab"), "a blocked read moves nothing");
    assert_eq!(faults(&mut rig), [(5, SID, 0x6000, false), (6, SID, 0x7000, true)]);
}

/// A disk whose bus master reads its table and writes its sectors behind the unit; where it may not, it stops with an error.
#[test]
fn ide_goes_through_it() {
    let mut rig = translating(0x2_0000 | 3);
    let disk = Drive::disk("D0", Box::new(RamDisk::new((0..2048u32).map(|i| i as u8).collect(), false)), None);
    let drives = [[Some(disk), None], [None, None]];
    let id = rig.bus.add(Box::new(Piix3Ide::new("ide", 1, IdeWires::default(), drives)));
    rig.bus.map_ports(id, 0x1F0, 8, 0, 4);
    rig.bus.call(&mut rig.mem, rig.now, id, |d, cx| d.reset(cx));
    let function = PciAddress { bus: 0, device: 1, function: 1 };
    rig.bus.pci_write(&mut rig.mem, rig.now, function, 0x20, 4, 0xC000);
    rig.bus.pci_write(&mut rig.mem, rig.now, function, 0x04, 2, 5);
    let mut read = |allowed: bool| {
        // The same page tables for the function, or none.
        rig.mem.store(CONTEXTS + 16 * 9, TABLES[0] | u64::from(allowed));
        rig.mem.store(CONTEXTS + 16 * 9 + 8, 2u64);
        rig.mem.store(0x2_0000, 0x5100u32);
        rig.mem.store(0x2_0004, 512u32 | 1 << 31);
        rig.out32(0xC004, 0x5000);
        for (port, value) in [(0x1F6, 0xE0), (0x1F2, 1), (0x1F3, 0), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0xC8)] {
            rig.out8(port, value);
        }
        rig.out8(0xC000, 9);
        rig.advance_us(1000);
        let (status, byte) = (rig.in8(0xC002) & 7, rig.mem.load::<u8>(0x2_0105));
        rig.out8(0xC000, 0);
        rig.out8(0xC002, 6);
        rig.mem.store(0x2_0105, 0u8);
        (status, byte, faults(&mut rig))
    };
    assert_eq!(read(true), (4, 5, vec![]), "it is over, and interrupts");
    assert_eq!(read(false), (2, 0, vec![(2, 9, 0x5000, true)]), "an error, and no longer active");
}

/// Random tables, registers and accesses: nothing stops, and a saved state goes on alike.
#[test]
fn garbage_is_survived_and_saved() {
    for seed in 0..60 {
        let mut rng = TestRng(seed);
        let mut rig = translating(0x2_0000 | 3);
        for _ in 0..400 {
            let (r, value) = (rng.next(), rng.next());
            let page = [ROOT, CONTEXTS, TABLES[0], TABLES[3], QUEUE_AT, IRTES][r as usize % 6];
            match r >> 8 & 7 {
                0 => rig.mem.store(page + (r >> 16 & 0x1FF) * 8, value & 0x1F_F7FF),
                1 => write(&mut rig, r >> 16 & 0x2F8, value),
                2 => command(&mut rig, value as u32),
                3 => write(&mut rig, at::RTADDR, page),
                4 => write(&mut rig, at::IRTA, page | value & 15),
                5 => _ = dma_write(&mut rig, value & 0xFFFF, 1),
                6 => _ = dma_read(&mut rig, value >> (r >> 16 & 63)),
                _ => _ = send(&mut rig, value as u32 & 0xF_FFFC | 0xFEE0_0000, (value >> 32) as u32 & 0xFF),
            }
        }
        let id = rig.bus.devices().find(|(_, name)| *name == "vtd").unwrap().0;
        let saved = rig.saved(id);
        let (mut other, other_id) = build();
        other.bus.device(other_id).load_chunk(&mut StateReader::new(&saved)).expect("it loads");
        let mut ram = vec![0; 0x20_0000];
        rig.mem.read(0, &mut ram);
        other.mem.write(0, &ram);
        for page in 0..16 {
            assert_eq!(dma_read(&mut rig, page << 12), dma_read(&mut other, page << 12), "seed {seed}");
        }
        assert_eq!(rig.saved(id), other.saved(other_id), "seed {seed}");
    }
}
