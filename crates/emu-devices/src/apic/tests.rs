//! The APICs as a kernel meets them.

use emu_core::bus::rig::{Rig, Surface};
use emu_core::bus::{DeviceId, Sink, Wire};
use emu_core::{Bus, ClockRate, StateReader, Ticks};

use super::*;

const MASK: u64 = 1 << 16;

/// A rig with `cpus` CPUs, and wires to INTIN 2 and 16, LINT0 and LINT1.
fn rig_for(cpus: u8, config: ApicConfig) -> (Rig, DeviceId, [Wire; 4]) {
    let mut rig = Rig::new();
    rig.bus = Bus::new(ClockRate::DEFAULT, cpus.into());
    let id = Apic::install(&mut rig.bus, &mut rig.mem, cpus, config);
    let pins = [2, 16, PIN_LINT0, PIN_LINT1];
    let wires = pins.map(|pin| rig.bus.wire_to(Sink::Pin(id, pin)));
    rig.reset();
    (rig, id, wires)
}

fn build() -> (Rig, DeviceId) {
    let (rig, id, _) = rig_for(1, ApicConfig::default());
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface {
    ports: vec![],
    memory: vec![(LOCAL_BASE, 0x400), (IO_BASE, 0x20)],
});

/// One CPU, its APIC enabled, and the wires.
fn enabled() -> (Rig, DeviceId, [Wire; 4]) {
    let (mut rig, id, wires) = rig_for(1, ApicConfig::default());
    write(&mut rig, 0xF0, 0x1FF);
    (rig, id, wires)
}

fn read(rig: &mut Rig, register: u64) -> u64 {
    rig.read(LOCAL_BASE + register, 4)
}

fn write(rig: &mut Rig, register: u64, value: u64) {
    rig.write(LOCAL_BASE + register, 4, value);
}

fn io_write(rig: &mut Rig, index: u64, value: u64) {
    rig.write(IO_BASE, 4, index);
    rig.write(IO_BASE + 0x10, 4, value);
}

fn io_read(rig: &mut Rig, index: u64) -> u64 {
    rig.write(IO_BASE, 4, index);
    rig.read(IO_BASE + 0x10, 4)
}

fn drive(rig: &mut Rig, id: DeviceId, wire: Wire, level: bool) {
    rig.bus.call(&mut rig.mem, rig.now, id, |_, cx| cx.set_wire(wire, level));
}

fn intr(rig: &mut Rig, cpu: u8) -> bool {
    rig.bus.cpu_lines(cpu).intr
}

fn ack(rig: &mut Rig, cpu: u8) -> Option<u8> {
    rig.bus.acknowledge(&mut rig.mem, rig.now, cpu)
}

fn self_ipi(rig: &mut Rig, vector: u64) {
    write(rig, 0x300, 0x4_4000 | vector);
}

#[test]
fn identity() {
    let (mut rig, ..) = rig_for(1, ApicConfig { io_id: 2, ..ApicConfig::default() });
    assert_eq!(read(&mut rig, 0x30), 0x0005_0014);
    assert_eq!((read(&mut rig, 0x20), read(&mut rig, 0xF0), read(&mut rig, 0xE0)), (0, 0xFF, 0xFFFF_FFFF));
    assert_eq!((read(&mut rig, 0x320), read(&mut rig, 0x350)), (MASK, 0x700));
    assert_eq!((io_read(&mut rig, 0), io_read(&mut rig, 1)), (0x0200_0000, 0x0017_0011));
    assert_eq!((io_read(&mut rig, 0x10), io_read(&mut rig, 0x3E)), (MASK, MASK));
}

#[test]
fn higher_classes_interrupt_lower_ones() {
    let (mut rig, ..) = enabled();
    self_ipi(&mut rig, 0x41);
    assert_eq!(ack(&mut rig, 0), Some(0x41));
    assert_eq!(read(&mut rig, 0xA0), 0x40);
    self_ipi(&mut rig, 0x4F);
    assert!(!intr(&mut rig, 0), "the same class waits");
    assert_eq!(read(&mut rig, 0x220), 1 << 15);
    self_ipi(&mut rig, 0x52);
    assert_eq!(ack(&mut rig, 0), Some(0x52));
    write(&mut rig, 0xB0, 0);
    assert!(!intr(&mut rig, 0));
    write(&mut rig, 0xB0, 0);
    assert_eq!(ack(&mut rig, 0), Some(0x4F));
    write(&mut rig, 0xB0, 0);
    assert_eq!(read(&mut rig, 0xA0), 0);
    assert_eq!(ack(&mut rig, 0), Some(0xFF), "nothing is pending: the spurious vector");
    assert_eq!(read(&mut rig, 0x170), 0, "which is not in service");
}

#[test]
fn task_priority_is_cr8() {
    let (mut rig, ..) = enabled();
    let set = |rig: &mut Rig, class| {
        rig.bus.local_interrupt_controller(&mut rig.mem, rig.now, |c, cx| c.set_task_priority(cx, 0, class)).unwrap();
    };
    self_ipi(&mut rig, 0x61);
    set(&mut rig, 6);
    assert_eq!(read(&mut rig, 0x80), 0x60);
    assert!(!intr(&mut rig, 0));
    set(&mut rig, 5);
    assert!(intr(&mut rig, 0));
}

#[test]
fn timer_interrupts_at_its_exact_tick() {
    let (mut rig, ..) = enabled();
    write(&mut rig, 0x3E0, 0b0011); // by 16
    write(&mut rig, 0x320, 0x30);
    rig.advance(5);
    write(&mut rig, 0x380, 1000);
    rig.advance(8_000);
    assert_eq!(read(&mut rig, 0x390), 500);
    rig.advance(7_999);
    assert!(!intr(&mut rig, 0));
    rig.advance(1);
    assert!(intr(&mut rig, 0));
    assert_eq!(read(&mut rig, 0x390), 0);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER, "one shot");
    assert_eq!(ack(&mut rig, 0), Some(0x30));
    write(&mut rig, 0xB0, 0);

    write(&mut rig, 0x320, 0x2_0030); // periodic
    write(&mut rig, 0x3E0, 0b1011); // by 1
    write(&mut rig, 0x380, 250);
    for _ in 0..4 {
        rig.advance(249);
        assert!(!intr(&mut rig, 0));
        rig.advance(1);
        assert_eq!(ack(&mut rig, 0), Some(0x30));
        write(&mut rig, 0xB0, 0);
    }
    write(&mut rig, 0x320, 0x3_0030);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER, "masked: nobody can see it");
    rig.advance(1_100);
    assert_eq!(read(&mut rig, 0x390), 150, "but it counts on");
    write(&mut rig, 0x380, 0);
    assert_eq!(read(&mut rig, 0x390), 0);
}

#[test]
fn a_timer_faster_than_the_clock_lets_the_machine_go_on() {
    let (mut rig, ..) = rig_for(1, ApicConfig { bus_hz: 1_000_000_000, ..ApicConfig::default() });
    [(0xF0, 0x1FF), (0x3E0, 0b1011), (0x320, 0x2_0030), (0x380, 1)]
        .into_iter()
        .for_each(|(r, v)| write(&mut rig, r, v));
    rig.advance(100);
    assert_eq!(ack(&mut rig, 0), Some(0x30));
}

#[test]
fn edges_of_the_io_apic() {
    let (mut rig, id, [pin2, ..]) = enabled();
    io_write(&mut rig, 0x14, MASK | 0x31);
    drive(&mut rig, id, pin2, true);
    io_write(&mut rig, 0x14, 0x31);
    assert!(!intr(&mut rig, 0), "the edge came while masked");
    drive(&mut rig, id, pin2, false);
    drive(&mut rig, id, pin2, true);
    assert_eq!(ack(&mut rig, 0), Some(0x31));
    write(&mut rig, 0xB0, 0);
    assert!(!intr(&mut rig, 0));
}

#[test]
fn levels_come_again_until_they_fall() {
    let (mut rig, id, [_, pin16, ..]) = enabled();
    io_write(&mut rig, 0x31, 0xFF00_0000);
    io_write(&mut rig, 0x30, 0xA931); // level, low active, logical, lowest priority
    write(&mut rig, 0xD0, 0x0100_0000);
    drive(&mut rig, id, pin16, true);
    assert_eq!(io_read(&mut rig, 0x30), 0xE931, "remote IRR");
    assert_eq!(ack(&mut rig, 0), Some(0x31));
    assert_eq!(read(&mut rig, 0x190), 1 << 17, "TMR");
    write(&mut rig, 0xB0, 0);
    assert_eq!(ack(&mut rig, 0), Some(0x31), "still asserted");
    drive(&mut rig, id, pin16, false);
    write(&mut rig, 0xB0, 0);
    assert!(!intr(&mut rig, 0));
    assert_eq!(io_read(&mut rig, 0x30), 0xA931);
}

#[test]
fn a_level_waits_for_an_apic_that_takes_it() {
    let (mut rig, id, [_, pin16, ..]) = rig_for(1, ApicConfig::default());
    io_write(&mut rig, 0x30, 0xA031);
    drive(&mut rig, id, pin16, true);
    assert_eq!(io_read(&mut rig, 0x30), 0xA031, "nobody is enabled");
    write(&mut rig, 0xF0, 0x1FF);
    assert_eq!(io_read(&mut rig, 0x30), 0xE031);
    assert_eq!(ack(&mut rig, 0), Some(0x31));
}

#[test]
fn virtual_wire_mode_passes_the_8259() {
    let (mut rig, id, [_, _, lint0, lint1]) = rig_for(1, ApicConfig::default());
    drive(&mut rig, id, lint0, true);
    assert!(intr(&mut rig, 0));
    assert_eq!(ack(&mut rig, 0), None, "the next controller answers");
    write(&mut rig, 0xF0, 0x1FF);
    assert!(intr(&mut rig, 0));
    write(&mut rig, 0x350, 0x1_0700);
    assert!(!intr(&mut rig, 0));
    drive(&mut rig, id, lint1, true);
    assert!(core::mem::take(&mut rig.bus.cpu_lines(0).nmi));
    // Switched off altogether the pins lead to the CPU.
    let base = |rig: &mut Rig, value| {
        rig.bus.local_interrupt_controller(&mut rig.mem, rig.now, |c, cx| c.set_apic_base(cx, 0, value)).unwrap()
    };
    assert!(!base(&mut rig, 0xFEE0_0D00), "no x2APIC here");
    assert!(base(&mut rig, 0xFEE0_0000));
    assert!(intr(&mut rig, 0));
    assert_eq!(rig.read(LOCAL_BASE + 0x30, 4), 0xFFFF_FFFF);
    assert!(base(&mut rig, 0xFED0_0800));
    assert_eq!(rig.read(0xFED0_0030, 4), 0x0005_0014);

    let (mut rig, id, [_, _, lint0, _]) = rig_for(1, ApicConfig { virtual_wire: false, ..ApicConfig::default() });
    drive(&mut rig, id, lint0, true);
    assert!(!intr(&mut rig, 0));
}

#[test]
fn inter_processor_interrupts() {
    let (mut rig, id, [_, _, lint0, _]) = rig_for(3, ApicConfig::default());
    let icr = |rig: &mut Rig, high, low| {
        write(rig, 0x310, high);
        write(rig, 0x300, low);
    };
    icr(&mut rig, 0, 0xC_4500); // INIT to all but self
    assert!(!rig.bus.cpu_lines(0).init && rig.bus.cpu_lines(1).init && rig.bus.cpu_lines(2).init);
    icr(&mut rig, 0x0200_0000, 0x0000_4608);
    assert_eq!((rig.bus.cpu_lines(1).sipi, rig.bus.cpu_lines(2).sipi), (None, Some(8)));
    icr(&mut rig, 0x0100_0000, 0x0000_4041);
    assert!(!intr(&mut rig, 1), "it is not enabled yet");
    for cpu in 0..3u8 {
        rig.bus.pass_turn(&mut rig.mem, rig.now, cpu);
        write(&mut rig, 0xF0, 0x1FF);
        write(&mut rig, 0xD0, 1 << (24 + cpu));
    }
    icr(&mut rig, 0x0300_0000, 0x0000_4842); // logical, CPUs 0 and 1
    assert_eq!([0, 1, 2].map(|cpu| intr(&mut rig, cpu)), [true, true, false]);
    assert_eq!([0, 1].map(|cpu| ack(&mut rig, cpu)), [Some(0x42); 2]);
    icr(&mut rig, 0x0700_0000, 0x0000_4943); // lowest priority: CPU 2 has nothing in service
    assert_eq!([0, 1, 2].map(|cpu| intr(&mut rig, cpu)), [false, false, true]);
    icr(&mut rig, 0xFF00_0000, 0x0000_4400); // NMI to everyone
    assert!((0..3).all(|cpu| rig.bus.cpu_lines(cpu).nmi));
    icr(&mut rig, 0x0100_0000, 0x0000_4200); // SMI to CPU 1
    assert_eq!([0, 1, 2].map(|cpu| rig.bus.cpu_lines(cpu).smi), [false, true, false]);
    rig.bus.pass_turn(&mut rig.mem, rig.now, 0);
    write(&mut rig, 0x350, 0x200);
    drive(&mut rig, id, lint0, true);
    assert_eq!([0, 1, 2].map(|cpu| rig.bus.cpu_lines(cpu).smi), [true, true, false], "by LINT0");
    let saved = rig.saved(id);
    let (mut other, other_id, _) = rig_for(3, ApicConfig::default());
    other.bus.device(other_id).load_chunk(&mut StateReader::new(&saved)).unwrap();
    assert_eq!(ack(&mut other, 2), Some(0x43));
}

#[test]
fn errors_are_latched_by_a_write() {
    let (mut rig, ..) = enabled();
    write(&mut rig, 0x370, 0xFE);
    self_ipi(&mut rig, 0x08);
    assert_eq!(ack(&mut rig, 0), Some(0xFE));
    assert_eq!(read(&mut rig, 0x280), 0);
    write(&mut rig, 0x280, 0);
    assert_eq!(read(&mut rig, 0x280), 1 << 5);
    read(&mut rig, 0x40);
    write(&mut rig, 0x280, 0);
    assert_eq!(read(&mut rig, 0x280), 1 << 7);
}

#[test]
fn software_disable_masks_the_local_interrupts() {
    let (mut rig, ..) = enabled();
    write(&mut rig, 0x320, 0x30);
    write(&mut rig, 0xF0, 0xFF);
    write(&mut rig, 0x330, 0x40);
    assert_eq!((read(&mut rig, 0x320), read(&mut rig, 0x330), read(&mut rig, 0x350)), (0x1_0030, 0x1_0040, 0x1_0700));
    self_ipi(&mut rig, 0x50);
    assert!(!intr(&mut rig, 0));
}
