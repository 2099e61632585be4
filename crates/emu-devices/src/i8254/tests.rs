//! The wave forms of the datasheet's figures 15 to 20, and the timer as a PC uses it.

use super::*;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Sink};

/// Rings OUT0 on INTR and has gate 2 on a wire.
fn wired() -> (Rig, DeviceId, Wire) {
    let mut rig = Rig::new();
    let out0 = rig.bus.wire_to(Sink::Intr(0));
    let out2 = rig.bus.wire_to(Sink::A20);
    let id = rig.bus.add(Box::new(I8254::new(PitWires { out0, out2 })));
    rig.bus.map_ports(id, 0x40, 4, 0, 1);
    let gate2 = rig.bus.wire_to(Sink::Pin(id, 2));
    rig.reset();
    (rig, id, gate2)
}

fn build() -> (Rig, DeviceId) {
    let (rig, id, _) = wired();
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x40, 4)], memory: vec![] });

/// A counter's output over `n` pulses, one character each, as the figures draw it.
fn wave(c: &mut Counter, n: usize) -> String {
    (0..n)
        .map(|_| {
            c.advance(1);
            if c.out { '-' } else { '_' }
        })
        .collect()
}

fn counter(control: u8, count: u8) -> Counter {
    let mut c = Counter::new(true);
    c.write_control(control);
    c.write_count(count);
    c
}

#[test]
fn mode_0_rises_after_n_plus_one_pulses() {
    let mut c = counter(0x10, 4);
    assert_eq!(wave(&mut c, 7), "____---");
    assert_eq!(c.read(), 0xFE, "it counts on through zero");
    c.write_count(2);
    assert!(!c.out);
    c.advance(1);
    c.set_gate(false);
    assert_eq!(wave(&mut c, 5), "_____", "the gate holds the count");
    c.set_gate(true);
    assert_eq!(wave(&mut c, 3), "_--");
}

#[test]
fn mode_1_is_a_retriggerable_one_shot() {
    let mut c = counter(0x12, 3);
    assert_eq!(wave(&mut c, 3), "---", "waits for a trigger");
    c.set_gate(false);
    c.set_gate(true);
    assert_eq!(wave(&mut c, 5), "___--");
    c.set_gate(false);
    c.set_gate(true);
    assert_eq!(wave(&mut c, 2), "__");
    c.set_gate(false);
    c.set_gate(true);
    assert_eq!(wave(&mut c, 5), "___--", "retriggered");
}

#[test]
fn mode_2_is_low_for_one_pulse_of_n() {
    let mut c = counter(0x14, 3);
    assert_eq!(wave(&mut c, 9), "--_--_--_");
    c.write_count(4);
    assert_eq!(wave(&mut c, 8), "---_---_", "a new count is taken at the end of the cycle");
    c.advance(1);
    c.set_gate(false);
    assert_eq!(wave(&mut c, 3), "---");
    c.set_gate(true);
    assert_eq!(wave(&mut c, 4), "---_", "the trigger starts the cycle again");
}

#[test]
fn mode_3_halves_and_favours_high() {
    assert_eq!(wave(&mut counter(0x16, 4), 9), "--__--__-");
    let mut c = counter(0x16, 5);
    assert_eq!(wave(&mut c, 10), "---__---__");
    let reads: Vec<u8> = (0..5).map(|_| (c.advance(1), c.read()).1).collect();
    assert_eq!(reads, [4, 2, 0, 4, 2]);
}

#[test]
fn mode_4_and_5_strobe_once() {
    assert_eq!(wave(&mut counter(0x18, 3), 8), "---_----");
    let mut c = counter(0x1A, 3);
    assert_eq!(wave(&mut c, 6), "------");
    c.set_gate(false);
    c.set_gate(true);
    assert_eq!(wave(&mut c, 7), "---_---");
}

#[test]
fn bcd_counts_in_tens() {
    let mut c = Counter::new(true);
    c.write_control(0x31);
    c.write_count(0x00);
    c.write_count(0x10);
    c.advance(2);
    assert_eq!((c.read(), c.read()), (0x99, 0x09));
    c.advance(1000);
    assert_eq!((c.read(), c.read()), (0x99, 0x99));
}

#[test]
fn any_stride_counts_as_single_steps_do() {
    for control in [0x10u8, 0x12, 0x14, 0x16, 0x18, 0x1A, 0x11, 0x15, 0x17] {
        for count in [0u8, 1, 2, 3, 6, 7, 0x99] {
            let mut slow = counter(control, count);
            slow.set_gate(false);
            slow.set_gate(true);
            let mut fast = slow;
            for stride in [1u64, 2, 5, 300, 7, 70_000, 13] {
                fast.advance(stride);
                (0..stride).for_each(|_| slow.advance(1));
                assert_eq!(format!("{fast:?}"), format!("{slow:?}"), "{control:#x} {count} +{stride}");
            }
        }
    }
}

#[test]
fn out_changes_exactly_when_foretold() {
    for control in [0x10u8, 0x12, 0x14, 0x16, 0x18, 0x1A] {
        for count in [2u8, 3, 9, 0] {
            let mut c = counter(control, count);
            c.set_gate(false);
            c.set_gate(true);
            for _ in 0..4 {
                let Some(n) = c.pulses_to_out_change() else { break };
                let before = c.out;
                c.advance(n - 1);
                assert_eq!(c.out, before, "{control:#x} {count}");
                c.advance(1);
                assert_ne!(c.out, before, "{control:#x} {count}");
            }
        }
    }
}

#[test]
fn read_back_latches_status_then_count() {
    let (mut rig, _, _) = wired();
    rig.out8(0x43, 0x34);
    rig.out8(0x40, 0x00);
    rig.out8(0x43, 0xE2);
    assert_eq!(rig.in8(0x40), 0xF4, "OUT, null count, RW 3, mode 2");
    rig.out8(0x40, 0x10);
    rig.advance_us(10);
    rig.out8(0x43, 0xC2);
    rig.advance_us(100);
    assert_eq!(rig.in8(0x40), 0xB4, "no null count any more");
    let count = u16::from_le_bytes([rig.in8(0x40), rig.in8(0x40)]);
    assert_eq!(count, 0x1000 - 10, "11 pulses in 10 us, one of which loaded");
    rig.out8(0x43, 0x00);
    let later = u16::from_le_bytes([rig.in8(0x40), rig.in8(0x40)]);
    assert!(later < count - 100, "the latch was released");
}

#[test]
fn irq0_comes_at_18_2_hz() {
    let (mut rig, _, _) = wired();
    rig.out8(0x43, 0x36);
    rig.out8(0x40, 0);
    rig.out8(0x40, 0);
    let (mut edges, mut level) = (0, rig.bus.cpu_lines(0).intr);
    while rig.bus.next_deadline() <= Ticks(10 * rig.bus.rate().hz()) {
        rig.now = rig.bus.next_deadline();
        rig.bus.run_events(&mut rig.mem, rig.now);
        let now = rig.bus.cpu_lines(0).intr;
        edges += u32::from(now && !level);
        level = now;
    }
    assert_eq!(edges, 182);
}

#[test]
fn gate_2_starts_and_stops_the_speaker_counter() {
    let (mut rig, id, gate2) = wired();
    rig.out8(0x43, 0xB6);
    rig.out8(0x42, 0xA9);
    rig.out8(0x42, 0x04);
    assert_eq!(rig.bus.find::<I8254>().unwrap().frequency(2), 0);
    let now = rig.now;
    rig.bus.call(&mut rig.mem, now, id, |_, cx| cx.set_wire(gate2, true));
    rig.advance_us(1000);
    assert_eq!(rig.bus.find::<I8254>().unwrap().frequency(2), 1_000_152);
}

#[test]
fn the_clock_is_exact_and_invertible() {
    let rate = ClockRate::DEFAULT;
    assert_eq!(clocks_at(rate, Ticks(88 * 100_000_000)), 105_000_000);
    for n in [1u64, 2, 1000, 1 << 40] {
        let t = tick_of_clock(rate, n);
        assert_eq!(clocks_at(rate, t), n);
        assert_eq!(clocks_at(rate, Ticks(t.0 - 1)), n - 1);
    }
}

#[test]
fn gate_forces_the_output_high_and_holds_it() {
    for (control, low_after) in [(0x14, 4), (0x16, 4)] {
        let mut c = counter(control, 4);
        c.advance(low_after);
        assert!(!c.out, "{control:#x}");
        c.set_gate(false);
        assert!(c.out, "{control:#x}: at once");
        assert_eq!(c.pulses_to_out_change(), None);
        c.set_gate(true);
        let cycle = if control == 0x14 { "---_---_" } else { "--__--__" };
        assert_eq!(wave(&mut c, 8), cycle, "{control:#x}: the trigger starts a whole cycle");
    }
}

#[test]
fn an_illegal_count_of_one_can_be_replaced() {
    let mut c = counter(0x14, 1);
    assert_eq!(wave(&mut c, 4), "----");
    c.write_count(3);
    assert_eq!(wave(&mut c, 6), "--_--_");
}

#[test]
fn first_byte_of_a_mode_0_count_stops_it() {
    let mut c = Counter::new(true);
    c.write_control(0x30);
    c.write_count(2);
    c.write_count(0);
    c.advance(3);
    assert!(c.out);
    c.write_count(5);
    assert!(!c.out);
    let before = c.reading();
    c.advance(10);
    assert_eq!(c.reading(), before);
    c.write_count(0);
    assert_eq!(wave(&mut c, 6), "_____-");
}

#[test]
fn a_second_latch_command_is_ignored() {
    let (mut rig, _, _) = wired();
    for (port, value) in [(0x43, 0x34), (0x40, 0), (0x40, 0)] {
        rig.out8(port, value);
    }
    rig.advance_us(100);
    rig.out8(0x43, 0x00);
    rig.advance_us(100);
    rig.out8(0x43, 0x00);
    let count = u16::from_le_bytes([rig.in8(0x40), rig.in8(0x40)]);
    assert_eq!(count, 0u16.wrapping_sub(118), "119 pulses in 100 us, one of which loaded");
}
