//! Time, alarms and interrupts as the datasheet has them and as kernels read them.

use super::*;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Sink};

/// 1999-12-31 23:59:58 UTC, a Friday.
const EVE: u64 = 946_684_798;

fn build_at(start: u64) -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let wires = RtcWires { irq: rig.bus.wire_to(Sink::Intr(0)), nmi_mask: rig.bus.wire() };
    let id = rig.bus.add(Box::new(Mc146818::new(wires, start)));
    rig.bus.map_ports(id, 0x70, 2, 0, 1);
    rig.reset();
    (rig, id)
}

fn build() -> (Rig, DeviceId) {
    build_at(EVE)
}

emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x70, 2)], memory: vec![] });

fn get(rig: &mut Rig, index: u8) -> u8 {
    rig.out8(0x70, index);
    rig.in8(0x71)
}

fn put(rig: &mut Rig, index: u8, value: u8) {
    rig.out8(0x70, index);
    rig.out8(0x71, value);
}

fn date(rig: &mut Rig) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|i| get(rig, i))
}

#[test]
fn the_century_turns() {
    let (mut rig, _) = build();
    assert_eq!(date(&mut rig), [0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x58]);
    rig.advance_us(1_999_999);
    assert_eq!(get(&mut rig, 0), 0x59);
    rig.advance_us(1);
    assert_eq!(date(&mut rig), [0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00]);
}

#[test]
fn start_times_are_civil_dates() {
    let cases = [
        (0, [0x19, 0x70, 0x01, 0x01, 5, 0, 0, 0]),
        (951_782_400, [0x20, 0x00, 0x02, 0x29, 3, 0, 0, 0]),
        (1_700_000_000, [0x20, 0x23, 0x11, 0x14, 3, 0x22, 0x13, 0x20]),
    ];
    for (start, expected) in cases {
        assert_eq!(date(&mut build_at(start).0), expected, "{start}");
    }
    build_at(u64::MAX); // must not overflow
}

#[test]
fn days_unseen_are_counted() {
    let (mut rig, _) = build();
    rig.now = Ticks(rig.bus.rate().hz() * (366 * 86_400 + 2));
    assert_eq!(date(&mut rig), [0x20, 0x01, 0x01, 0x01, 2, 0, 0, 0], "2000 was a leap year");
}

#[test]
fn formats_are_12_hours_and_binary() {
    let (mut rig, _) = build();
    put(&mut rig, 0x0B, 0x86); // SET, binary, 24 h
    for (i, v) in [(0, 59), (2, 59), (4, 11)] {
        put(&mut rig, i, v);
    }
    put(&mut rig, 0x0B, 0x04); // binary, 12 h
    rig.advance_us(1_000_000);
    assert_eq!([4, 2, 0].map(|i| get(&mut rig, i)), [0x8C, 0, 0], "12 PM");
    put(&mut rig, 4, 0x81);
    put(&mut rig, 2, 59);
    put(&mut rig, 0, 59);
    rig.advance_us(1_000_000);
    assert_eq!(get(&mut rig, 4), 0x82, "2 PM");
}

#[test]
fn uip_announces_the_update() {
    let (mut rig, _) = build();
    rig.advance_us(997_000);
    assert_eq!(get(&mut rig, 0x0A), 0x26);
    rig.advance_us(1_000);
    assert_eq!(get(&mut rig, 0x0A), 0xA6);
    assert_eq!(get(&mut rig, 0), 0x58);
    rig.advance_us(2_000);
    assert_eq!(get(&mut rig, 0x0A), 0x26);
    assert_eq!(get(&mut rig, 0), 0x59);
    rig.advance_us(999_000);
    put(&mut rig, 0x0B, 0x82);
    assert_eq!(get(&mut rig, 0x0A), 0x26, "SET inhibits it");
}

#[test]
fn set_freezes_and_the_divider_restarts_at_half_a_second() {
    let (mut rig, _) = build();
    put(&mut rig, 0x0B, 0x82);
    rig.advance_us(3_000_000);
    assert_eq!(get(&mut rig, 0), 0x58);
    put(&mut rig, 0x0A, 0x76);
    put(&mut rig, 0x0B, 0x02);
    rig.advance_us(3_300_000);
    assert_eq!(get(&mut rig, 0), 0x58, "the divider is held");
    put(&mut rig, 0x0A, 0x26);
    rig.advance_us(499_900);
    assert_eq!(get(&mut rig, 0), 0x58);
    rig.advance_us(200);
    assert_eq!(get(&mut rig, 0), 0x59);
}

#[test]
fn periodic_interrupt_has_all_rates() {
    for (rate, hz) in [(1u8, 256u32), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let (mut rig, _) = build();
        put(&mut rig, 0x0A, 0x20 | rate);
        get(&mut rig, 0x0C);
        put(&mut rig, 0x0B, 0x42);
        let mut count = 0;
        while rig.bus.next_deadline() <= Ticks(rig.bus.rate().hz()) {
            rig.now = rig.bus.next_deadline();
            rig.bus.run_events(&mut rig.mem, rig.now);
            assert!(rig.bus.cpu_lines(0).intr);
            assert_eq!(get(&mut rig, 0x0C) & 0xC0, 0xC0);
            assert!(!rig.bus.cpu_lines(0).intr, "reading C releases IRQ8");
            count += 1;
        }
        assert_eq!(count, hz, "rate {rate}");
    }
}

#[test]
fn update_and_alarm_interrupts() {
    let (mut rig, _) = build();
    put(&mut rig, 0x0B, 0x12);
    rig.advance_us(1_000_000);
    assert!(rig.bus.cpu_lines(0).intr);
    assert_eq!(get(&mut rig, 0x0C) & 0x90, 0x90);
    put(&mut rig, 0x0B, 0x22);
    for (i, v) in [(1, 0x05), (3, 0xFF), (5, 0xC0)] {
        put(&mut rig, i, v);
    }
    rig.advance_us(5_500_000);
    assert!(!rig.bus.cpu_lines(0).intr);
    rig.advance_us(1_000_000);
    assert!(rig.bus.cpu_lines(0).intr, "at second 5 of any minute");
    assert_eq!(get(&mut rig, 0x0C) & 0xB0, 0xB0, "UF too, which is set without being enabled");
}

#[test]
fn memory_survives_reset_and_checks_out() {
    let (mut rig, _) = build();
    put(&mut rig, 0x0B, 0x72);
    let rtc = rig.bus.find_mut::<Mc146818>().unwrap();
    rtc.set_cmos(0x15, 0x80);
    rtc.set_cmos(0x16, 0x02);
    rtc.update_checksum();
    rig.reset();
    assert_eq!((get(&mut rig, 0x2E), get(&mut rig, 0x2F)), (0x00, 0x82));
    assert_eq!(get(&mut rig, 0x0B), 0x02);
    assert_eq!(get(&mut rig, 0x0D), 0x80);
    put(&mut rig, 0x0D, 0);
    assert_eq!(get(&mut rig, 0x0D), 0x80, "read-only");
}

#[test]
fn set_clears_the_update_enable() {
    let (mut rig, _) = build();
    put(&mut rig, 0x0B, 0x92);
    assert_eq!(get(&mut rig, 0x0B), 0x82);
    put(&mut rig, 0x0B, 0x12);
    assert_eq!(get(&mut rig, 0x0B), 0x12);
}
