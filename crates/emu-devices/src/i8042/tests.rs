//! The controller as BIOS and kernels drive it, with keyboard and mouse behind it.

use super::*;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Key, Sink};

/// IRQ1 shows as INTR of CPU 0, IRQ12 as that of CPU 1.
fn build() -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    rig.bus = emu_core::Bus::new(rig.bus.rate(), 2);
    let wires = KbcWires {
        irq1: rig.bus.wire_to(Sink::Intr(0)),
        irq12: rig.bus.wire_to(Sink::Intr(1)),
        a20: rig.bus.wire_to(Sink::A20),
        reset: rig.bus.wire_to(Sink::CpuReset),
    };
    let id = rig.bus.add(Box::new(I8042::new(wires)));
    rig.bus.map_ports(id, 0x60, 1, REGION_DATA, 1);
    rig.bus.map_ports(id, 0x64, 1, REGION_COMMAND, 1);
    rig.reset();
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface { ports: vec![(0x60, 1), (0x64, 1)], memory: vec![] });

/// As a BIOS leaves it: both cables on, both interrupts, translation.
fn ready(command_byte: u8) -> Rig {
    let (mut rig, _) = build();
    rig.out8(0x64, 0x60);
    rig.out8(0x60, command_byte);
    rig
}

fn key(rig: &mut Rig, key: u16, down: bool) {
    let (now, input) = (rig.now, Input::Key { key: Key(key), down });
    assert!(rig.bus.input(&mut rig.mem, now, &input));
}

fn mouse(rig: &mut Rig, dx: i16, dy: i16, dz: i8, buttons: u8) {
    let (now, input) = (rig.now, Input::Mouse { dx, dy, dz, buttons });
    assert!(rig.bus.input(&mut rig.mem, now, &input));
}

/// All bytes that come within `us` microseconds.
fn bytes(rig: &mut Rig, us: u64) -> Vec<u8> {
    let mut got = vec![];
    for _ in 0..us / 100 {
        if rig.in8(0x64) & 1 != 0 {
            got.push(rig.in8(0x60));
        }
        rig.advance_us(100);
    }
    got
}

fn to_keyboard(rig: &mut Rig, command: &[u8]) -> Vec<u8> {
    command.iter().flat_map(|&b| (rig.out8(0x60, b), bytes(rig, 4_000)).1).collect()
}

fn to_mouse(rig: &mut Rig, command: &[u8]) -> Vec<u8> {
    let send = |&b: &u8| {
        rig.out8(0x64, 0xD4);
        rig.out8(0x60, b);
        bytes(rig, 6_000)
    };
    command.iter().flat_map(send).collect()
}

#[test]
fn self_tests_and_command_byte() {
    let (mut rig, _) = build();
    assert_eq!(rig.in8(0x64), 0x10);
    rig.out8(0x64, 0xAA);
    assert_eq!(rig.in8(0x64), 0x1D, "OBF, SYS, command");
    assert_eq!(rig.in8(0x60), 0x55);
    for (command, answer) in [(0xAB, 0), (0xA9, 0), (0x20, 0x34), (0xA4, 0xF1), (0xD0, 0xC3)] {
        rig.out8(0x64, command);
        assert_eq!(rig.in8(0x60), answer, "{command:x}");
    }
    rig.out8(0x64, 0x65);
    rig.out8(0x60, 0x77);
    rig.out8(0x64, 0x25);
    assert_eq!(rig.in8(0x60), 0x77);
    assert_eq!(rig.in8(0x64) & 0x29, 8);
}

#[test]
fn a20_and_reset() {
    let (mut rig, _) = build();
    let a20 = |rig: &mut Rig| {
        rig.out8(0x64, 0xD0);
        rig.in8(0x60) & 2 != 0
    };
    assert!(a20(&mut rig), "power-on lets it pass");
    rig.out8(0x64, 0xD1);
    rig.out8(0x60, 0xDD);
    assert!(!a20(&mut rig));
    rig.out8(0x64, 0xDF);
    assert!(a20(&mut rig));
    assert!(!rig.bus.cpu_lines(0).reset);
    rig.out8(0x64, 0xFE);
    assert!(core::mem::take(&mut rig.bus.cpu_lines(0).reset));
    rig.out8(0x64, 0xFF);
    assert!(!rig.bus.cpu_lines(0).reset, "pulses nothing");
    rig.out8(0x64, 0xD1);
    rig.out8(0x60, 0xDE);
    assert!(rig.bus.cpu_lines(0).reset);
}

#[test]
fn keys_come_translated_with_irq1_at_cable_speed() {
    let mut rig = ready(0x47);
    key(&mut rig, 0x1E, true);
    key(&mut rig, 0x1E, false);
    key(&mut rig, 0xE048, true);
    rig.advance_us(800);
    assert!(!rig.bus.cpu_lines(0).intr);
    rig.advance_us(100);
    assert!(rig.bus.cpu_lines(0).intr);
    rig.advance_us(10_000);
    assert_eq!(rig.in8(0x60), 0x1E, "held while nobody reads");
    assert!(!rig.bus.cpu_lines(0).intr);
    assert_eq!(rig.in8(0x64) & 1, 0);
    assert_eq!(bytes(&mut rig, 10_000), [0x9E, 0xE0, 0x48]);
    assert!(!rig.bus.cpu_lines(1).intr);
}

#[test]
fn pause_and_print_screen_translate() {
    let mut rig = ready(0x47);
    key(&mut rig, 0xE11D, true);
    key(&mut rig, 0xE11D, false);
    assert_eq!(bytes(&mut rig, 20_000), [0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5]);
    key(&mut rig, 0xE037, true);
    key(&mut rig, 0xE037, false);
    assert_eq!(bytes(&mut rig, 20_000), [0xE0, 0x2A, 0xE0, 0x37, 0xE0, 0xB7, 0xE0, 0xAA]);
}

#[test]
fn keyboard_answers_its_commands() {
    let mut rig = ready(0x07);
    assert_eq!(to_keyboard(&mut rig, &[0xEE]), [0xEE]);
    assert_eq!(to_keyboard(&mut rig, &[0xF2]), [0xFA, 0xAB, 0x83]);
    assert_eq!(to_keyboard(&mut rig, &[0xED, 2]), [0xFA, 0xFA]);
    assert_eq!(to_keyboard(&mut rig, &[0xF0, 0]), [0xFA, 0xFA, 2]);
    assert_eq!(to_keyboard(&mut rig, &[0xFE]), [2], "resend");
    assert_eq!(to_keyboard(&mut rig, &[0x00]), [0xFE]);
    assert_eq!(to_keyboard(&mut rig, &[0xF5]), [0xFA]);
    key(&mut rig, 0x10, true);
    key(&mut rig, 0x10, false);
    assert_eq!(bytes(&mut rig, 5_000), [], "scanning is off");
    assert_eq!(to_keyboard(&mut rig, &[0xFF]), [0xFA]);
    assert_eq!(bytes(&mut rig, 60_000), [0xAA]);
    key(&mut rig, 0x10, true);
    key(&mut rig, 0x10, false);
    assert_eq!(bytes(&mut rig, 5_000), [0x15, 0xF0, 0x15], "set 2 untranslated");
    assert_eq!(to_keyboard(&mut rig, &[0xF0, 3]), [0xFA, 0xFA]);
    key(&mut rig, 0xE047, true);
    key(&mut rig, 0xE047, false);
    assert_eq!(bytes(&mut rig, 5_000), [0x6E], "Home is make-only in set 3");
    to_keyboard(&mut rig, &[0xF8]);
    key(&mut rig, 0xE047, true);
    key(&mut rig, 0xE047, false);
    assert_eq!(bytes(&mut rig, 5_000), [0x6E, 0xF0, 0x6E]);
}

#[test]
fn keys_repeat_by_guest_time() {
    let mut rig = ready(0x47);
    to_keyboard(&mut rig, &[0xF3, 0x00]); // 250 ms, 30 a second
    key(&mut rig, 0x39, true);
    key(&mut rig, 0x39, true);
    assert_eq!(bytes(&mut rig, 240_000), [0x39], "down twice is down once");
    assert_eq!(bytes(&mut rig, 1_000_000).len(), 30);
    key(&mut rig, 0x39, false);
    assert_eq!(bytes(&mut rig, 100_000), [0xB9]);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER);
}

#[test]
fn a_full_buffer_says_overrun() {
    let mut rig = ready(0x47);
    for code in 1..40 {
        key(&mut rig, code, true);
    }
    let got = bytes(&mut rig, 40_000);
    assert_eq!(got[..16], (1..17).collect::<Vec<u8>>());
    assert_eq!(got[16..], [0xFF]);
}

#[test]
fn disabled_cable_holds_the_keys() {
    let mut rig = ready(0x47);
    rig.out8(0x64, 0xAD);
    key(&mut rig, 0x02, true);
    assert_eq!(bytes(&mut rig, 5_000), []);
    rig.out8(0x64, 0xAE);
    assert_eq!(bytes(&mut rig, 5_000), [0x02]);
}

#[test]
fn mouse_reports_movement_in_packets() {
    let mut rig = ready(0x47);
    mouse(&mut rig, 5, 5, 0, 0);
    assert_eq!(to_mouse(&mut rig, &[0xF2]), [0xFA, 0]);
    assert_eq!(to_mouse(&mut rig, &[0xF4]), [0xFA]);
    mouse(&mut rig, 300, -2, 0, 1);
    rig.advance_us(1_000);
    assert_eq!(rig.in8(0x64) & 0x21, 0x21);
    assert!(rig.bus.cpu_lines(1).intr && !rig.bus.cpu_lines(0).intr);
    assert_eq!(bytes(&mut rig, 9_000), [0x29, 255, 0xFE]);
    assert_eq!(bytes(&mut rig, 20_000), [0x09, 45, 0], "the rest, one sample later");
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER);
    assert_eq!(to_mouse(&mut rig, &[0xE9]), [0xFA, 0x24, 2, 100]);
}

#[test]
fn mouse_shows_its_wheel_to_who_knocks() {
    let mut rig = ready(0x47);
    to_mouse(&mut rig, &[0xF3, 200, 0xF3, 100, 0xF3, 80]);
    assert_eq!(to_mouse(&mut rig, &[0xF2]), [0xFA, 3]);
    to_mouse(&mut rig, &[0xF4]);
    mouse(&mut rig, 0, 1, -1, 4);
    assert_eq!(bytes(&mut rig, 10_000), [0x0C, 0, 1, 0xFF]);
    to_mouse(&mut rig, &[0xF3, 200, 0xF3, 200, 0xF3, 80]);
    assert_eq!(to_mouse(&mut rig, &[0xF2]), [0xFA, 4]);
    mouse(&mut rig, 0, 0, 2, 0x10);
    assert_eq!(bytes(&mut rig, 20_000), [0x08, 0, 0, 0x22]);
    assert_eq!(to_mouse(&mut rig, &[0xFF]), [0xFA]);
    assert_eq!(bytes(&mut rig, 60_000), [0xAA, 0x00]);
    assert_eq!(to_mouse(&mut rig, &[0xF2]), [0xFA, 0]);
}

#[test]
fn mouse_modes_and_errors() {
    let mut rig = ready(0x47);
    assert_eq!(to_mouse(&mut rig, &[0xEE, 0x55, 0xF4, 0xEC]), [0xFA, 0x55, 0xF4, 0xFA]);
    assert_eq!(to_mouse(&mut rig, &[0xF0]), [0xFA]);
    mouse(&mut rig, 3, 4, 0, 0);
    assert_eq!(bytes(&mut rig, 10_000), [], "remote mode speaks only when asked");
    assert_eq!(to_mouse(&mut rig, &[0xEB]), [0xFA, 0x08, 3, 4]);
    assert_eq!(to_mouse(&mut rig, &[0xEA, 0xE7, 0xF4]), [0xFA; 3]);
    mouse(&mut rig, 4, -5, 0, 0);
    assert_eq!(bytes(&mut rig, 10_000), [0x28, 6, 0xF7], "2:1 scaling");
    assert_eq!(to_mouse(&mut rig, &[0xF3, 33]), [0xFA, 0xFE]);
    assert_eq!(to_mouse(&mut rig, &[0xE8, 3]), [0xFA, 0xFA]);
    assert_eq!(to_mouse(&mut rig, &[0xE1]), [0xFE]);
}

#[test]
fn loop_back_commands_fill_the_output_buffer() {
    let mut rig = ready(0x47);
    rig.out8(0x64, 0xD3);
    rig.out8(0x60, 0xA5);
    assert_eq!((rig.in8(0x64) & 0x21, rig.bus.cpu_lines(1).intr), (0x21, true));
    assert_eq!(rig.in8(0x60), 0xA5);
    rig.out8(0x64, 0xD2);
    rig.out8(0x60, 0x1C);
    assert_eq!((rig.in8(0x64) & 0x21, rig.bus.cpu_lines(0).intr), (0x01, true));
    assert_eq!(rig.in8(0x60), 0x1C, "not translated");
}

#[test]
fn a_command_during_the_self_test_is_answered_first() {
    let mut rig = ready(0x07);
    assert_eq!(to_keyboard(&mut rig, &[0xFF]), [0xFA]);
    rig.advance_us(1_000);
    assert_eq!(to_keyboard(&mut rig, &[0xEE]), [0xEE]);
    assert_eq!(bytes(&mut rig, 60_000), [0xAA]);
}

#[test]
fn sending_to_the_keyboard_enables_its_cable() {
    let mut rig = ready(0x47);
    rig.out8(0x64, 0xAD);
    assert_eq!(to_keyboard(&mut rig, &[0xEE]), [0xEE]);
    rig.out8(0x64, 0x20);
    assert_eq!(rig.in8(0x60), 0x47);
}

#[test]
fn a_keyboard_that_does_not_scan_does_not_repeat() {
    let mut rig = ready(0x47);
    to_keyboard(&mut rig, &[0xF5]);
    key(&mut rig, 0x1E, true);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER);
    to_keyboard(&mut rig, &[0xF4]);
    key(&mut rig, 0x1F, true);
    assert_eq!(bytes(&mut rig, 3_000), [0x1F]);
}

#[test]
fn a_command_drops_the_packet_that_waits() {
    let mut rig = ready(0x47);
    to_mouse(&mut rig, &[0xF4]);
    mouse(&mut rig, 1, 1, 0, 0);
    assert_eq!(to_mouse(&mut rig, &[0xF5]), [0xFA]);
}
