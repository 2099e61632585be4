//! The datasheet's interrupts and FIFOs, and the probes of kernels.

use super::*;
use emu_core::bus::rig::{Rig, Surface};
use emu_core::{DeviceId, Sink};

const BASE: u16 = 0x3F8;
/// One frame of 8N1 at 115200 baud, in nanoseconds.
const FRAME_NS: u64 = 86_806;

fn build() -> (Rig, DeviceId) {
    let mut rig = Rig::new();
    let irq = rig.bus.wire_to(Sink::Intr(0));
    let id = rig.bus.add(Box::new(Ns16550::new(0, UartWires { irq })));
    rig.bus.map_ports(id, BASE, 8, 0, 1);
    rig.reset();
    (rig, id)
}

emu_core::device_contract_tests!(build, || Surface { ports: vec![(BASE, 8)], memory: vec![] });

fn put(rig: &mut Rig, register: u16, value: u8) {
    rig.out8(BASE + register, value);
}

fn get(rig: &mut Rig, register: u16) -> u8 {
    rig.in8(BASE + register)
}

/// 115200 8N1, FIFOs with trigger 8, OUT2.
fn open() -> Rig {
    let (mut rig, _) = build();
    for (register, value) in [(3, 0x83), (0, 1), (1, 0), (3, 3), (2, 0x87), (4, 0x0B)] {
        put(&mut rig, register, value);
    }
    rig
}

fn frames(rig: &mut Rig, n: u64) {
    let ticks = rig.bus.rate().ticks_in_ns(n * FRAME_NS + 200);
    rig.advance(ticks);
}

fn send(rig: &mut Rig, bytes: &[u8]) {
    let (now, input) = (rig.now, Input::Serial { port: 0, bytes: bytes.to_vec() });
    assert!(rig.bus.input(&mut rig.mem, now, &input));
}

fn intr(rig: &mut Rig) -> bool {
    rig.bus.cpu_lines(0).intr
}

fn sent(rig: &mut Rig) -> Vec<u8> {
    let byte = |o| if let Output::Serial { port: 0, byte } = o { byte } else { panic!("{o:?}") };
    rig.output().into_iter().map(byte).collect()
}

#[test]
fn linux_finds_a_16550a() {
    let (mut rig, _) = build();
    // autoconfig(): IER keeps its low four bits, the loop shows OUT2 and RTS, the FIFO bits stick, and no register hides
    // behind LCR = BFh or E0h.
    put(&mut rig, 1, 0);
    assert_eq!(get(&mut rig, 1), 0);
    put(&mut rig, 1, 0x0F);
    assert_eq!(get(&mut rig, 1), 0x0F);
    put(&mut rig, 1, 0xF0);
    assert_eq!(get(&mut rig, 1), 0);
    put(&mut rig, 4, 0x1A);
    assert_eq!(get(&mut rig, 6) & 0xF0, 0x90);
    put(&mut rig, 4, 0);
    put(&mut rig, 3, 0xBF);
    put(&mut rig, 2, 0);
    put(&mut rig, 3, 0);
    put(&mut rig, 2, 1);
    assert_eq!(get(&mut rig, 2) >> 6, 3);
    put(&mut rig, 3, 0xBF);
    assert_ne!(get(&mut rig, 2), 0, "no EFR of a 16650");
    put(&mut rig, 3, 0xE0);
    assert_eq!(get(&mut rig, 2) & 0x10, 0, "no EXCR1 of a SuperIO");
    put(&mut rig, 7, 0x5A);
    assert_eq!(get(&mut rig, 7), 0x5A);
}

#[test]
fn sends_at_line_speed_through_the_fifo() {
    let mut rig = open();
    (0..20u8).for_each(|b| put(&mut rig, 0, b));
    assert_eq!(sent(&mut rig), [0], "the first one shifts at once");
    assert_eq!(get(&mut rig, 5) & 0x60, 0);
    frames(&mut rig, 15);
    assert_eq!(sent(&mut rig), (1..16).collect::<Vec<u8>>());
    assert_eq!(get(&mut rig, 5) & 0x60, 0);
    frames(&mut rig, 1);
    assert_eq!(sent(&mut rig), [16], "17 and more found the FIFO full");
    assert_eq!(get(&mut rig, 5) & 0x60, 0x20, "empty, but still shifting");
    frames(&mut rig, 1);
    assert_eq!(get(&mut rig, 5) & 0x60, 0x60);
    assert_eq!(rig.bus.next_deadline(), Ticks::NEVER, "no event once nothing waits");
}

#[test]
fn thre_interrupt_comes_with_ier_and_goes_with_iir() {
    let mut rig = open();
    put(&mut rig, 1, 2);
    assert!(intr(&mut rig), "THR is empty already");
    assert_eq!(get(&mut rig, 2), 0xC2);
    assert!(!intr(&mut rig));
    assert_eq!(get(&mut rig, 2), 0xC1);
    put(&mut rig, 0, b'a');
    assert!(intr(&mut rig), "it moved on to the shift register");
    put(&mut rig, 0, b'b');
    assert!(!intr(&mut rig));
    frames(&mut rig, 1);
    assert!(intr(&mut rig));
    put(&mut rig, 1, 0);
    assert!(!intr(&mut rig));
    put(&mut rig, 1, 2);
    assert_eq!(get(&mut rig, 2), 0xC2, "enabling it again tells again");
}

#[test]
fn receives_at_line_speed_with_trigger_and_timeout() {
    let mut rig = open();
    put(&mut rig, 1, 1);
    send(&mut rig, b"0123456789");
    frames(&mut rig, 7);
    assert!(!intr(&mut rig));
    assert_eq!(get(&mut rig, 5) & 1, 1);
    frames(&mut rig, 1);
    assert_eq!(get(&mut rig, 2), 0xC4, "trigger level 8");
    let first: Vec<u8> = (0..8).map(|_| get(&mut rig, 0)).collect();
    assert_eq!(first, b"01234567");
    assert!(!intr(&mut rig));
    frames(&mut rig, 2);
    assert!(!intr(&mut rig), "2 bytes are below the trigger");
    frames(&mut rig, 4);
    assert_eq!(get(&mut rig, 2), 0xCC, "character timeout");
    assert_eq!(get(&mut rig, 0), b'8');
    assert!(!intr(&mut rig));
    frames(&mut rig, 5);
    assert_eq!((get(&mut rig, 2), get(&mut rig, 0)), (0xCC, b'9'));
    assert_eq!(get(&mut rig, 5) & 1, 0);
}

#[test]
fn the_other_end_waits_for_room_and_overruns_its_queue() {
    let mut rig = open();
    put(&mut rig, 1, 4);
    send(&mut rig, &vec![7; QUEUE - 1]);
    assert!(!intr(&mut rig));
    frames(&mut rig, 100);
    assert_eq!((0..40).take_while(|_| get(&mut rig, 5) & 1 != 0 && get(&mut rig, 0) == 7).count(), 16);
    send(&mut rig, &[8; 100]);
    assert_eq!(get(&mut rig, 2), 0xC6);
    assert_eq!(get(&mut rig, 5) & LSR_OE, LSR_OE);
    assert!(!intr(&mut rig), "reading LSR takes the error");
}

#[test]
fn the_loop_carries_data_and_modem_lines() {
    let mut rig = open();
    get(&mut rig, 6);
    put(&mut rig, 4, 0x1F);
    assert_eq!(get(&mut rig, 6), 0xF0);
    put(&mut rig, 4, 0x13);
    assert_eq!(get(&mut rig, 6), 0x3C, "DCD fell, and RI, whose trailing edge counts");
    put(&mut rig, 0, 0xA5);
    assert_eq!(get(&mut rig, 5) & 1, 0);
    frames(&mut rig, 1);
    assert_eq!((get(&mut rig, 5) & 1, get(&mut rig, 0)), (1, 0xA5));
    assert_eq!(sent(&mut rig), [], "nothing leaves");
}

#[test]
fn without_fifos_one_byte_is_held() {
    let mut rig = open();
    put(&mut rig, 2, 0);
    put(&mut rig, 1, 1);
    assert_eq!(get(&mut rig, 2), 0x01);
    send(&mut rig, b"ab");
    frames(&mut rig, 3);
    assert_eq!((get(&mut rig, 2), get(&mut rig, 0)), (0x04, b'a'));
    frames(&mut rig, 1);
    assert_eq!(get(&mut rig, 0), b'b');
}

#[test]
fn frames_follow_divisor_and_format() {
    let mut rig = open();
    for (register, value) in [(3, 0x80), (0, 0x80), (1, 0x01), (3, 0x1E)] {
        put(&mut rig, register, value); // 300 baud, 7E2
    }
    put(&mut rig, 0, 0xFF);
    assert_eq!(sent(&mut rig), [0x7F]);
    rig.advance_us(36_600);
    assert_eq!(get(&mut rig, 5) & LSR_TEMT, 0, "11 bits at 300 baud take 36.67 ms");
    rig.advance_us(100);
    assert_eq!(get(&mut rig, 5) & LSR_TEMT, LSR_TEMT);
}

#[test]
fn out2_gates_the_interrupt() {
    let mut rig = open();
    put(&mut rig, 1, 2);
    put(&mut rig, 4, 3);
    assert!(!intr(&mut rig));
    put(&mut rig, 4, 0x0B);
    assert!(intr(&mut rig));
}

#[test]
fn reading_iir_takes_only_the_interrupt_that_it_tells() {
    let mut rig = open();
    put(&mut rig, 2, 0x07); // trigger 1
    put(&mut rig, 1, 3);
    send(&mut rig, b"x");
    frames(&mut rig, 1);
    assert_eq!(get(&mut rig, 2), 0xC4);
    assert_eq!(get(&mut rig, 0), b'x');
    assert_eq!(get(&mut rig, 2), 0xC2, "THRE is still to be told");
    assert_eq!(get(&mut rig, 2), 0xC1);
}

#[test]
fn the_loop_shuts_the_other_end_out() {
    let mut rig = open();
    put(&mut rig, 4, 0x10);
    send(&mut rig, b"x");
    frames(&mut rig, 5);
    assert_eq!(get(&mut rig, 5) & 1, 0);
    put(&mut rig, 4, 0x0B);
    frames(&mut rig, 2);
    assert_eq!(get(&mut rig, 0), b'x');
}
